// Decodes wavelet tiles. PROTOCOL.md, mode WAVE; twins: codec::stage::wave, codec::wave::lift.
//
//   0 jobs    array<Wave>, one a workgroup
//   1 screen  r32uint texture of the screen's size, 0x00RRGGBB; pixels beyond its edge are left out
//   2 frame   array<u32>, the frame's bytes, low byte first, with zeroes up to a whole word
//   3 tables  array<u32>, codec::wave::LOOK_UP: for each of 8 tables 256 bytes, width | length << 4
//
// One component after the other: four lanes read its coefficients, each to where its value will be once the bands are
// joined, then all lanes join level by level. Two values share a word: those of rows y and y + 32, which belong to one band
// on every level; so no two lanes write a word between two barriers, nor does one read what another writes. Loops end at
// constants; no index depends on data without a mask.

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

// Rows 0 to 31 of a component in the low halves, rows 32 to 63 in the high halves.
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
    let index = ((y & 31u) * 64u + x) & 2047u;
    let half = select(0u, 16u, y >= 32u);
    plane[index] |= (u32(value) & 0xffffu) << half;
}

// Both values of a word without the quarter of their neighbours', or with their mean.
fn without_quarter(word: u32, a: u32, b: u32) -> u32 {
    return packed(low(word) - quarter(low(a), low(b)), high(word) - quarter(high(a), high(b)));
}

fn with_mean(word: u32, a: u32, b: u32) -> u32 {
    return packed(low(word) + mean(low(a), low(b)), high(word) + mean(high(a), high(b)));
}

// Reads one lane into the plane, which is all 0: kind 0 has all bands but the finest three.
fn read_lane(kind: u32, coarse: u32) {
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
        let width = width_of(min(left + ((above >> (4u * column)) & 15u), 7u));
        left = width;
        above = (above & ~(15u << (4u * column))) | (width << (4u * column));

        let shift = coarse - min(coarse, min(level, 2u) + (level >> 2u));
        let step = select(2u << level, 16u, level == 4u);
        let right = select(select(0u, 1u << level, direction != 1u), 0u, level == 4u);
        let below = select(select(0u, 1u << level, direction != 0u), 0u, level == 4u);
        if width == 0u {
            continue;
        }
        for (var quad = 0u; quad < 4u; quad++) {
            let values = read_quad(width, shift);
            if all(values == vec4<i32>(0)) {
                continue;
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
    // This lane's pixels: column `x`, eight rows from `8 part` on, and those 32 rows below.
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
        for (var k = lane; k < 2048u; k += LANES) {
            plane[k] = 0u;
        }
        workgroupBarrier();
        if lane < 4u && length > 0u {
            read_lane(lane, coarse);
        }
        workgroupBarrier();

        for (var step = 4u; step > 0u; step--) {
            let level = step - 1u;
            let stride = 1u << level;
            // Along the rows `32 >> level` pairs in so many lines of words; along the columns half as many pairs in twice
            // as many lines. Low values first, then high ones.
            let count = 1024u >> (2u * level);
            let last = (32u >> level) - 1u;
            for (var k = lane; k < count; k += LANES) {
                let even = ((k >> (5u - level)) * 64u + 2u * (k & last)) * stride;
                let before = select(even - stride, even + stride, (k & last) == 0u) & 2047u;
                plane[even] = without_quarter(plane[even], plane[before], plane[even + stride]);
            }
            workgroupBarrier();
            for (var k = lane; k < count; k += LANES) {
                let even = ((k >> (5u - level)) * 64u + 2u * (k & last)) * stride;
                let after = select(even + 2u * stride, even, (k & last) == last) & 2047u;
                plane[even + stride] = with_mean(plane[even + stride], plane[even], plane[after]);
            }
            workgroupBarrier();
            let down = 64u * stride;
            for (var k = lane; k < count; k += LANES) {
                let column = (k & (2u * last + 1u)) * stride;
                let even = (k >> (6u - level)) * 2u * down + column;
                let odd = plane[even + down];
                // Above row 0 is row 1 of this level again; above row 32 is the last of the low halves.
                let above = packed(low(odd), low(plane[2048u - down + column]));
                let before = select(plane[(even - down) & 2047u], above, even < down);
                plane[even] = without_quarter(plane[even], before, odd);
            }
            workgroupBarrier();
            for (var k = lane; k < count; k += LANES) {
                let column = (k & (2u * last + 1u)) * stride;
                let even = (k >> (6u - level)) * 2u * down + column;
                // Below the low halves is row 32; below the high ones is their last even row again.
                let below = packed(high(plane[column]), high(plane[even]));
                let after = select(plane[(even + 2u * down) & 2047u], below, even + 2u * down >= 2048u);
                plane[even + down] = with_mean(plane[even + down], plane[even], after);
            }
            workgroupBarrier();
        }

        let origin = unpacked(job.origin);
        for (var i = 0u; i < 8u; i++) {
            let row = part * 8u + i;
            let word = plane[row * 64u + x];
            for (var j = 0u; j < 2u; j++) {
                let value = clamp(select(low(word), high(word), j == 1u) + base[component], -COEFFICIENT_MAX, COEFFICIENT_MAX);
                let y = row + 32u * j;
                if component < 2u {
                    let shift = 16u * component;
                    let kept = select(pixels[2u * i + j], 0u, component == 0u);
                    pixels[2u * i + j] = kept | ((u32(value) & 0xffffu) << shift);
                } else {
                    let place = origin + vec2<u32>(x, y);
                    if has_block(write, (y >> 4u) * 4u + (x >> 4u)) && all(place < size) {
                        let others = pixels[2u * i + j];
                        let color = color_of(low(others), high(others), value);
                        textureStore(screen, place, vec4<u32>(color, 0u, 0u, 0u));
                    }
                }
            }
        }
        workgroupBarrier();
    }
}

fn color_of(y: i32, orange: i32, green: i32) -> u32 {
    let t = y - (green >> 1u);
    let g = green + t;
    let b = t - (orange >> 1u);
    let r = b + orange;
    let channels = vec3<u32>(clamp(vec3<i32>(r, g, b), vec3<i32>(0), vec3<i32>(255)));
    return (channels.x << 16u) | (channels.y << 8u) | channels.z;
}
