// Decodes wavelet tiles. PROTOCOL.md, mode WAVE; twins: codec::stage::wave, codec::wave::lift.
//
//   0 jobs    array<Wave>, one a workgroup
//   1 screen  r32uint texture of the screen's size, 0x00RRGGBB; pixels beyond its edge are left out
//   2 frame   array<u32>, the frame's bytes, low byte first, with zeroes up to a whole word
//   3 tables  array<u32>, codec::wave::LOOK_UP: for each of 8 tables 256 bytes, width | length << 4
//
// One component after the other: four lanes read its coefficients, each to where its value will be once the bands are
// joined, then all lanes join level by level. Two values share a word, an even row below the odd one after it; no two
// lanes write a word between two barriers. Loops end at constants; no index depends on data without a mask.

struct Wave {
    origin: u32,
    blocks: u32,
    quantiser: u32,
    base: u32,
    streams: u32,
    lengths: array<u32, 6>,
    pad: u32,
}

@group(0) @binding(0) var<storage, read> jobs: array<Wave>;
@group(0) @binding(1) var screen: texture_storage_2d<r32uint, write>;
@group(0) @binding(2) var<storage, read> frame: array<u32>;
@group(0) @binding(3) var<storage, read> tables: array<u32>;

const LANES: u32 = 256u;
const GROUPS: u32 = 64u;
const WIDTH_MAX: u32 = 10u;
const COEFFICIENT_MAX: i32 = 1023;

// Row 2 j of a component in the low halves of row j, row 2 j + 1 in the high halves.
var<workgroup> plane: array<u32, 2048>;

// Bits of the frame: the next of this lane, and the end of its stream.
var<private> at: u32;
var<private> end: u32;

fn low(word: u32) -> i32 {
    return i32(word << 16u) >> 16u;
}

fn high(word: u32) -> i32 {
    return i32(word) >> 16u;
}

fn packed(l: i32, h: i32) -> u32 {
    return (u32(l) & 0xffffu) | (u32(h) << 16u);
}

fn mean(a: i32, b: i32) -> i32 {
    return (a + b) >> 1u;
}

fn quarter(a: i32, b: i32) -> i32 {
    return (a + b + 2) >> 2u;
}

// The next 32 bits of the lane, zeroes past its end.
fn peek() -> u32 {
    let shift = at & 31u;
    let first = frame_word(at >> 5u) >> shift;
    let second = frame_word((at >> 5u) + 1u) << ((32u - shift) & 31u);
    let word = first | select(0u, second, shift > 0u);
    let left = end - min(at, end);
    return select(word, word & ((1u << (left & 31u)) - 1u), left < 32u);
}

fn take(count: u32) -> u32 {
    let word = peek() & ((1u << count) - 1u);
    at += count;
    return word;
}

fn width_of(table: u32) -> u32 {
    let index = table * 256u + (peek() & 0xffu);
    let entry = (tables[min(index >> 2u, arrayLength(&tables) - 1u)] >> ((index & 3u) * 8u)) & 0xffu;
    at += entry >> 4u;
    return min(entry & 15u, WIDTH_MAX);
}

// Reads the 2x2 coefficients of a quad of a group of this width.
fn read_quad(width_max: u32, shift: u32) -> vec4<i32> {
    let narrower = min(countTrailingZeros(~peek()), width_max);
    let width = width_max - narrower;
    at += narrower + u32(width > 0u);
    if width == 0u {
        return vec4<i32>(0);
    }
    var sizes: vec4<u32>;
    for (var i = 0u; i < 4u; i++) {
        sizes[i] = take(width);
    }
    let some = min(sizes, vec4<u32>(1u));
    let signs = take(some.x + some.y + some.z + some.w);
    let places = vec4<u32>(0u, some.x, some.x + some.y, some.x + some.y + some.z);
    let negative = vec4<i32>((vec4<u32>(signs) >> places) & some);
    let half = i32((1u << shift) >> 1u);
    let values = min(vec4<i32>(sizes << vec4<u32>(shift)) + half, vec4<i32>(COEFFICIENT_MAX)) * vec4<i32>(some);
    return values * (1 - 2 * negative);
}

fn put(x: u32, y: u32, value: i32) {
    let index = ((y >> 1u) * 64u + x) & 2047u;
    if (y & 1u) == 0u {
        plane[index] = u32(value) & 0xffffu;
    } else {
        plane[index] |= u32(value) << 16u;
    }
}

// Reads one lane: kind 0 has all bands but the finest three.
fn read_lane(kind: u32, coarse: u32, is_there: bool) {
    var left = 0u;
    // Widths of the row of groups above, four bits each.
    var above = 0u;
    for (var group = 0u; group < GROUPS; group++) {
        // The band's level and direction (0 right, 1 below, 2 both), and the group's number in it.
        var level = 0u;
        var direction = kind - 1u;
        var number = group;
        var side = 3u;
        if kind == 0u {
            if group >= 16u {
                level = 1u;
                direction = (group - 16u) >> 4u;
                number = group & 15u;
                side = 2u;
            } else if group >= 4u {
                level = 2u;
                direction = (group - 4u) >> 2u;
                number = group & 3u;
                side = 1u;
            } else {
                level = select(3u, 4u, group == 0u);
                direction = (group - 1u) & 3u;
                number = 0u;
                side = 0u;
            }
        }
        let column = number & ((1u << side) - 1u);
        let row = number >> side;
        above = select(above, 0u, number == 0u);
        left = select(left, 0u, column == 0u);
        var width = 0u;
        if is_there {
            width = width_of(min(left + ((above >> (4u * column)) & 15u), 7u));
        }
        left = width;
        above = (above & ~(15u << (4u * column))) | (width << (4u * column));

        let shift = coarse - min(coarse, min(level, 2u) + (level >> 2u));
        let step = select(2u << level, 16u, level == 4u);
        let right = select(select(0u, 1u << level, direction != 1u), 0u, level == 4u);
        let below = select(select(0u, 1u << level, direction != 0u), 0u, level == 4u);
        for (var quad = 0u; quad < 4u; quad++) {
            var values = vec4<i32>(0);
            if width > 0u {
                values = read_quad(width, shift);
            }
            let x = (column * 4u + (quad & 1u) * 2u) * step + right;
            let y = (row * 4u + (quad >> 1u) * 2u) * step + below;
            put(x, y, values.x);
            put(x + step, y, values.y);
            put(x, y + step, values.z);
            put(x + step, y + step, values.w);
        }
    }
}

fn set_low(index: u32, value: i32) {
    plane[index] = (plane[index] & 0xffff0000u) | (u32(value) & 0xffffu);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = job_index(group);
    if index >= arrayLength(&jobs) {
        return;
    }
    let job = jobs[index];
    let write = job.blocks >> 16u;
    let size = textureDimensions(screen);
    let quantiser = min(job.quantiser, 7u);
    let base = tone(job.base);
    // This lane's pixels: column `x`, and the 16 rows from `8 part` words on.
    let x = lane & 63u;
    let part = lane >> 6u;
    var pixels: array<u32, 16>;

    for (var component = 0u; component < 3u; component++) {
        // Where this lane's stream is: those before it have come first.
        var start = job.streams;
        let stream = component * 4u + (lane & 3u);
        var length = 0u;
        for (var i = 0u; i < 12u; i++) {
            let bytes = (job.lengths[i >> 1u] >> ((i & 1u) * 16u)) & 0xffffu;
            start += select(0u, bytes, i < stream);
            length = select(length, bytes, i == stream);
        }
        at = start * 8u;
        end = at + length * 8u;
        let coarse = quantiser + min(component, 1u);
        // The even rows first, the odd ones into the same words then.
        for (var phase = 0u; phase < 2u; phase++) {
            if lane < 4u && (lane >> 1u) == phase {
                read_lane(lane, coarse, length > 0u);
            }
            workgroupBarrier();
        }

        for (var level = 3u; level >= 1u; level--) {
            // Of this level's values there are `1 << bits` pairs in each of twice as many lines.
            let bits = 5u - level;
            let last = (1u << bits) - 1u;
            let count = 2u << (2u * bits);
            for (var turn = 0u; turn < 4u; turn++) {
                // Along the rows, low values then high ones; along the columns likewise.
                let stride = select(32u, 1u, turn < 2u) << level;
                let across = select(1u, 32u, turn < 2u) << level;
                for (var k = lane; k < count; k += LANES) {
                    let i = k & last;
                    let line = (k >> bits) * across;
                    let even = (line + 2u * i * stride) & 2047u;
                    let odd = (even + stride) & 2047u;
                    if (turn & 1u) == 0u {
                        let before = select((even - stride) & 2047u, odd, i == 0u);
                        set_low(even, low(plane[even]) - quarter(low(plane[before]), low(plane[odd])));
                    } else {
                        let after = select((odd + stride) & 2047u, even, i == last);
                        set_low(odd, low(plane[odd]) + mean(low(plane[even]), low(plane[after])));
                    }
                }
                workgroupBarrier();
            }
        }
        // The finest level's rows, both halves of a word at once.
        for (var turn = 0u; turn < 2u; turn++) {
            for (var k = lane; k < 1024u; k += LANES) {
                let i = k & 31u;
                let even = (k >> 5u) * 64u + 2u * i;
                let e = plane[even];
                let o = plane[even + 1u];
                if turn == 0u {
                    let b = plane[select(even - 1u, even + 1u, i == 0u)];
                    plane[even] = packed(low(e) - quarter(low(b), low(o)), high(e) - quarter(high(b), high(o)));
                } else {
                    let a = plane[select(even + 2u, even, i == 31u)];
                    plane[even + 1u] = packed(low(o) + mean(low(e), low(a)), high(o) + mean(high(e), high(a)));
                }
            }
            workgroupBarrier();
        }
        // Its columns, where the rows of a pair share a word: read by all before anybody writes.
        var words: array<u32, 8>;
        for (var i = 0u; i < 8u; i++) {
            let row = part * 8u + i;
            let word = plane[row * 64u + x];
            let before = plane[(row - min(row, 1u)) * 64u + x];
            words[i] = packed(low(word) - quarter(high(before), high(word)), high(word));
        }
        workgroupBarrier();
        for (var i = 0u; i < 8u; i++) {
            plane[(part * 8u + i) * 64u + x] = words[i];
        }
        workgroupBarrier();
        let origin = unpacked(job.origin);
        for (var i = 0u; i < 8u; i++) {
            let row = part * 8u + i;
            let even = low(words[i]);
            let odd = high(words[i]) + mean(even, low(plane[min(row + 1u, 31u) * 64u + x]));
            for (var j = 0u; j < 2u; j++) {
                let value = clamp(select(even, odd, j == 1u) + base[component], -COEFFICIENT_MAX, COEFFICIENT_MAX);
                let y = 2u * row + j;
                if component < 2u {
                    let shift = 16u * component;
                    let kept = select(pixels[2u * i + j], 0u, component == 0u);
                    pixels[2u * i + j] = kept | ((u32(value) & 0xffffu) << shift);
                } else {
                    let place = origin + vec2<u32>(x, y);
                    if has_block(write, (y >> 4u) * 4u + (x >> 4u)) && all(place < size) {
                        let word = pixels[2u * i + j];
                        textureStore(screen, place, vec4<u32>(color_of(low(word), high(word), value), 0u, 0u, 0u));
                    }
                }
            }
        }
        workgroupBarrier();
    }
}

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

fn color_of(y: i32, orange: i32, green: i32) -> u32 {
    let t = y - (green >> 1u);
    let g = green + t;
    let b = t - (orange >> 1u);
    let r = b + orange;
    let channels = vec3<u32>(clamp(vec3<i32>(r, g, b), vec3<i32>(0), vec3<i32>(255)));
    return (channels.x << 16u) | (channels.y << 8u) | channels.z;
}
