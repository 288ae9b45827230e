// Draws the screen into a window: black bars, the picture at its viewport, the viewer's own pages on top. Draw-only; twin
// of the arithmetic: io::soft::compose. Entry points: cover (vertex), main and scaled (fragment).
//
//   0 scene    uniform Scene, positions and sizes in pixels of the window
//   1 screen   r32uint texture, 0x00RRGGBB
//   2 overlay  r32uint texture, 0xAARRGGBB, colours multiplied by alpha
//
// All arithmetic is in integers up to the last step, v / 255, which an 8-bit target without sRGB stores exactly.

struct Scene {
    viewport_x: u32,
    viewport_y: u32,
    viewport_w: u32,
    viewport_h: u32,
    picture_w: u32,
    picture_h: u32,
    overlay_w: u32,
    overlay_h: u32,
    // 0 takes the nearest pixel, 1 the average over the area.
    area: u32,
    pad: u32,
    pads: vec2<u32>,
}

@group(0) @binding(0) var<uniform> scene: Scene;
@group(0) @binding(1) var screen: texture_2d<u32>;
@group(0) @binding(2) var overlay: texture_2d<u32>;

@vertex
fn cover(@builtin(vertex_index) vertex: u32) -> @builtin(position) vec4<f32> {
    let corner = vec2<f32>(f32((vertex << 1u) & 2u), f32(vertex & 2u));
    return vec4<f32>(corner * 2.0 - 1.0, 0.0, 1.0);
}

fn channels(word: u32) -> vec3<u32> {
    return vec3<u32>((word >> 16u) & 0xffu, (word >> 8u) & 0xffu, word & 0xffu);
}

fn screen_pixel(at: vec2<u32>) -> vec3<u32> {
    return channels(textureLoad(screen, min(at, textureDimensions(screen) - 1u), 0).x);
}

// The square root, rounded to the nearest; of at most 255 * 255.
fn root(square: u32) -> u32 {
    var r = u32(sqrt(f32(square)));
    // The hardware's root may be off by a little; these two make it exact.
    if r * r > square {
        r -= 1u;
    }
    if (r + 1u) * (r + 1u) <= square {
        r += 1u;
    }
    return select(r, r + 1u, square > r * r + r);
}

// How much of source pixel `i` lies in the window pixel that starts at `start`, in units of 1 / (viewport side).
fn overlap(i: u32, source_unit: u32, start: u32, length: u32) -> u32 {
    return min((i + 1u) * source_unit, start + length) - max(i * source_unit, start);
}

// The average over the source area of one window pixel. Averages squares, as light adds up, not as numbers do.
fn area_pixel(at: vec2<u32>) -> vec3<u32> {
    let viewport = vec2<u32>(scene.viewport_w, scene.viewport_h);
    let picture = vec2<u32>(scene.picture_w, scene.picture_h);
    let start = at * picture;
    let first = start / viewport;
    let last = (start + picture - 1u) / viewport;
    var sum = vec3<u32>(0u);
    for (var y = first.y; y <= last.y; y++) {
        var row = vec3<u32>(0u);
        for (var x = first.x; x <= last.x; x++) {
            let c = screen_pixel(vec2<u32>(x, y));
            row += c * c * overlap(x, viewport.x, start.x, picture.x);
        }
        sum += (row + picture.x / 2u) / picture.x * overlap(y, viewport.y, start.y, picture.y);
    }
    let mean = (sum + picture.y / 2u) / picture.y;
    return vec3<u32>(root(mean.x), root(mean.y), root(mean.z));
}

fn nearest_pixel(at: vec2<u32>) -> vec3<u32> {
    let viewport = vec2<u32>(scene.viewport_w, scene.viewport_h);
    return screen_pixel((at * 2u + 1u) * vec2<u32>(scene.picture_w, scene.picture_h) / (viewport * 2u));
}

// The position in the viewport, and whether it is one.
struct Place {
    at: vec2<u32>,
    inside: bool,
}

fn place(at: vec2<u32>) -> Place {
    let corner = vec2<u32>(scene.viewport_x, scene.viewport_y);
    let inner = at - min(corner, at);
    return Place(inner, all(at >= corner) && inner.x < scene.viewport_w && inner.y < scene.viewport_h);
}

fn with_overlay(at: vec2<u32>, below: vec3<u32>) -> vec4<f32> {
    var color = below;
    if at.x < scene.overlay_w && at.y < scene.overlay_h {
        let word = textureLoad(overlay, at, 0).x;
        let v = color * (255u - (word >> 24u)) + 127u;
        // v / 255 for all v below 65535, without a division.
        color = min(channels(word) + ((v + 1u + (v >> vec3<u32>(8u))) >> vec3<u32>(8u)), vec3<u32>(255u));
    }
    return vec4<f32>(vec3<f32>(color) / 255.0, 1.0);
}

// One pixel of the picture is one of the window: the usual case, without a division.
@fragment
fn main(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let at = vec2<u32>(position.xy);
    let to = place(at);
    return with_overlay(at, select(vec3<u32>(0u), screen_pixel(to.at), to.inside));
}

@fragment
fn scaled(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let at = vec2<u32>(position.xy);
    let to = place(at);
    var color = vec3<u32>(0u);
    if to.inside {
        if scene.area == 1u {
            color = area_pixel(to.at);
        } else {
            color = nearest_pixel(to.at);
        }
    }
    return with_overlay(at, color);
}
