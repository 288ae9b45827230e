// Brightness, and two colour differences of nine bits.
fn tone(color: u32) -> vec3<i32> {
    let r = i32((color >> 16u) & 0xffu);
    let g = i32((color >> 8u) & 0xffu);
    let b = i32(color & 0xffu);
    let orange = r - b;
    let t = b + (orange >> 1u);
    let green = g - t;
    return vec3<i32>(t + (green >> 1u), orange, green);
}
