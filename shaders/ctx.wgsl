// Decodes entropy-coded tiles. PROTOCOL.md, mode CTX; twin: codec::stage::ctx, codec::ctx::model.
//
//   0 jobs    array<Ctx>, one a workgroup
//   1 screen  r32uint texture of the screen's size, 0x00RRGGBB; pixels beyond its edge are left out. Where a pixel may
//             be what it was, its own lane reads it, and then writes it: no row of such a job repeats another
//   2 frame   array<u32>, the frame's bytes, low byte first, with zeroes up to a whole word
//   3 tables  array<u32>, assets/tables/ctx.bin
//   4 dictionary  array<u32>, two tables of DICTIONARY_SLOTS entries: check << 24 | colour, 0 for none
//
// One lane decodes one row of the row list, eight pixels behind the lane above it; a step is one pixel of every lane.
// What lanes remember in a step is written after it, so that all read the same. Loops end at constants or at the number
// of steps, which is at most 4096; no index depends on data without a mask.

struct Ctx {
    origin: u32,
    blocks: u32,
    shape: u32,
    colors: array<u32, 3>,
    repeats: array<u32, 2>,
    streams: u32,
    lengths: array<u32, 4>,
    pad: array<u32, 3>,
}

@group(0) @binding(0) var<storage, read> jobs: array<Ctx>;
@group(0) @binding(1) var screen: texture_storage_2d<r32uint, read_write>;
@group(0) @binding(2) var<storage, read> frame: array<u32>;
@group(0) @binding(3) var<storage, read> tables: array<u32>;
@group(0) @binding(4) var<storage, read> dictionary: array<u32>;

// Also the workgroup's size: where a shader runs in software, lanes without a row cost as much as those with one.
const LANES_MAX: u32 = 8u;
// Eight rows in work and the two above them; 16, so that a place is found by a mask.
const RING_ROWS: u32 = 16u;
const SLOTS: u32 = 1024u;
const ONE: u32 = 4096u;
const STAGGER: u32 = 8u;

// What is decided next about a pixel. The order is the only one possible, so a pixel takes at most nine rounds.
const AS_BEFORE: u32 = 0u;
const FLAT_RUN: u32 = 1u;
const LOOK_UP: u32 = 2u;
const SEEN: u32 = 3u;
const NEIGHBOUR: u32 = 4u;
const LUMA: u32 = 5u;
const SAME_TINT: u32 = 6u;
const ORANGE_OFF: u32 = 7u;
const GREEN_OFF: u32 = 8u;
const DONE: u32 = 9u;

// Places in a table set, in 16-bit halves; codec::ctx::tables.
const SETS: u32 = 8u;
const HIT: u32 = 4u;
const TINT: u32 = 260u;
const SAME: u32 = 268u;
const FLAGS: u32 = 284u;
const PIXELS: u32 = 1024u;
const LITERALS: u32 = 100u;
const ORANGE: u32 = 40u;
const GREEN: u32 = 70u;
const SET_HALVES: u32 = FLAGS + PIXELS * 8u + LITERALS * 32u;

var<workgroup> ring: array<u32, 1024>;
// For each eight pixels of the ring: their colour with bit 24 set if they have only one, else 0.
var<workgroup> octets: array<u32, 128>;
var<workgroup> seen_long: array<u32, SLOTS>;
var<workgroup> seen_short: array<u32, SLOTS>;
var<workgroup> tints: array<u32, 256>;
// For each row of the ring a bit for each eight pixels that are not what they were; bit 0 is the margin at the left.
var<workgroup> changed: array<u32, RING_ROWS>;
// What each lane remembers: slots, entry, tint, luma.
var<workgroup> notes: array<vec4<u32>, LANES_MAX>;

// The state of this lane.
var<private> state: u32;
var<private> next: u32;
var<private> end: u32;
var<private> set_start: u32;

fn half(index: u32) -> u32 {
    let word = tables[min((set_start + index) >> 1u, arrayLength(&tables) - 1u)];
    return (word >> (((set_start + index) & 1u) * 16u)) & 0xffffu;
}

// The next 16 bits of the lane, zeroes past its end.
fn frame_half() -> u32 {
    let value = frame_byte(next) | (frame_byte(next + 1u) << 8u);
    let is_there = next < end;
    next = select(next, next + 2u, is_there);
    return select(0u, value, is_there);
}

fn refill() {
    if state < 0x10000u {
        state = (state << 16u) | frame_half();
    }
}

fn take(start: u32, stop: u32) {
    state = (stop - start) * (state >> 12u) + (state & 4095u) - start;
    refill();
}

// Which of `count` symbols, whose starts are in the table from `first` on; that of symbol 0 is always 0 and not read.
fn choice(first: u32, count: u32) -> u32 {
    let slot = state & 4095u;
    var which = 0u;
    var start = 0u;
    var stop = ONE;
    for (var part = count >> 1u; part > 0u; part >>= 1u) {
        let middle = half(first + which + part);
        if middle <= slot {
            which += part;
            start = middle;
        } else {
            stop = middle;
        }
    }
    take(start, stop);
    return which;
}

fn raw_bits(count: u32) -> u32 {
    let value = state & ((1u << count) - 1u);
    state >>= count;
    refill();
    return value;
}

fn color_of(t: vec3<i32>) -> u32 {
    let base = t.x - (t.z >> 1u);
    let g = t.z + base;
    let b = base - (t.y >> 1u);
    let r = b + t.y;
    return (u32(r & 0xff) << 16u) | (u32(g & 0xff) << 8u) | u32(b & 0xff);
}

fn median(w: i32, n: i32, nw: i32) -> i32 {
    return clamp(w + n - nw, min(w, n), max(w, n));
}

// The low nine bits as a signed number.
fn wrapped(value: i32) -> i32 {
    return (value << 23u) >> 23u;
}

// A number from -256 to 256 by its token.
fn residual(token: u32) -> i32 {
    let bucket = ((token + 1u) >> 1u) & 15u;
    // Buckets 0 to 4 hold one size; then two buckets each have 1, 2, 3, 4 and 5 bits, and the last has 7.
    var size = i32(bucket);
    if bucket > 4u {
        let bits = select((bucket - 3u) >> 1u, 7u, bucket == 15u);
        let start = select((1u << (bits + 1u)) + ((bucket + 1u) & 1u) * (1u << bits) + 1u, 129u, bucket == 15u);
        size = i32(start + raw_bits(bits));
    }
    return select(-size, size, (token & 1u) == 1u);
}

fn spread_class(v: i32) -> u32 {
    return u32(v > 0) + u32(v > 2) + u32(v > 5) + u32(v > 10) + u32(v > 18) + u32(v > 32) + u32(v > 60) + u32(v > 110)
        + u32(v > 200);
}

fn tint_class(v: i32) -> u32 {
    return u32(v > 0) + u32(v > 2) + u32(v > 6) + u32(v > 14) + u32(v > 40);
}

fn run_class(run: u32) -> u32 {
    return min(run, 2u) + u32(run > 2u) + u32(run > 4u) + u32(run > 8u) + u32(run > 16u);
}

// Kinds of candidates; codec::ctx::model.
const LONG: u32 = 0u;
const SHORT: u32 = 1u;
const WIDE_AND_LONG: u32 = 2u;
const DISPUTED: u32 = 3u;
const WIDE_AND_FAR: u32 = 4u;
const WIDE: u32 = 5u;
const LONG_AND_FAR: u32 = 6u;
const FAR: u32 = 7u;

// The dictionary's entry of a neighbourhood, in the table that starts at `start`; 0 for none.
fn entry(start: u32, hash: u32) -> u32 {
    let place = dictionary_place(hash);
    let word = dictionary[min(start + place.x, arrayLength(&dictionary) - 1u)];
    return select(0u, word, (word >> 24u) == place.y);
}

fn agree(a: u32, b: u32) -> bool {
    return ((a ^ b) & 0xffffffu) == 0u;
}

// A pixel of the row list; rows 0 and 1 are the background above it.
fn ring_at(row: u32, x: u32) -> u32 {
    return ring[(row % RING_ROWS) * 64u + (x & 63u)];
}

fn set_ring(row: u32, x: u32, color: u32) {
    ring[(row % RING_ROWS) * 64u + (x & 63u)] = color;
}

// Whether the eight pixels of which this is the first have this colour.
fn is_flat(row: u32, x: u32, color: u32) -> bool {
    return octets[(row % RING_ROWS) * 8u + ((x >> 3u) & 7u)] == (color | 0x1000000u);
}

@compute @workgroup_size(LANES_MAX)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = job_index(group);
    if index >= arrayLength(&jobs) {
        return;
    }
    let job = jobs[index];
    let coded = job.blocks & 0xffffu;
    let write = job.blocks >> 16u;
    let lanes = 1u << (job.shape & 3u);
    let recall = (job.shape & 8u) != 0u;
    let looks_up = (job.shape & 16u) != 0u;
    let has_former = (job.shape & 32u) != 0u;
    let back = job.colors[0];
    let size = textureDimensions(screen);

    let held = held_rows(coded);
    let listed = listed_rows(held, vec2<u32>(job.repeats[0], job.repeats[1]));
    let count = countOneBits(listed.x) + countOneBits(listed.y);
    let steps = 64u * ((count + lanes - 1u) / lanes) + STAGGER * (lanes - 1u);

    if lane == 0u {
        list_rows(coded, listed, held);
    }
    for (var i = lane; i < 128u; i += LANES_MAX) {
        ring[i] = back;
        octets[i] = back | 0x1000000u;
    }
    for (var i = lane; i < RING_ROWS; i += LANES_MAX) {
        changed[i] = 0u;
    }
    if recall {
        for (var i = lane; i < SLOTS; i += LANES_MAX) {
            seen_long[i] = 0u;
            seen_short[i] = 0u;
        }
        for (var i = lane; i < 256u; i += LANES_MAX) {
            tints[i] = 0u;
        }
    }

    set_start = ((job.shape >> 8u) % SETS + select(0u, SETS, looks_up) + select(0u, SETS, has_former)) * SET_HALVES;
    next = job.streams;
    for (var i = 0u; i < lanes; i++) {
        let length = 2u * ((job.lengths[i >> 1u] >> ((i & 1u) * 16u)) & 0xffffu);
        next += select(0u, length, i < lane);
        if i == lane {
            end = next + length;
        }
    }
    state = frame_half() << 16u;
    state |= frame_half();
    var run = 0u;
    var skip = 0u;
    // What is left out is what was there, not what is at its left.
    var as_before = false;
    // Whether the pixels since the last multiple of eight have one colour.
    var same = true;
    workgroupBarrier();

    for (var step = 0u; step < steps; step++) {
        let since = step - STAGGER * lane;
        let x = since & 63u;
        let row = (since >> 6u) * lanes + lane;
        var note = vec4<u32>(0u);
        if lane < lanes && step >= STAGGER * lane && row < count {
            let n = ring_at(row + 1u, x);
            let nn = ring_at(row, x);
            let nw = select(ring_at(row + 1u, x - 1u), nn, x == 0u);
            let ne = ring_at(row + 1u, min(x + 1u, 63u));
            let nee = ring_at(row + 1u, min(x + 2u, 63u));
            let w = select(ring_at(row + 2u, x - 1u), n, x == 0u);
            let ww = select(select(ring_at(row + 2u, x - 2u), nw, x == 1u), n, x == 0u);
            // Left of a row's first pixel: the first pixel of the row above it.
            let above_left = ring_at(row, 0u);
            let above_above_left = select(ring_at(row - 1u, 0u), back, row == 0u);
            if x == 0u {
                run = 0u;
                changed[(row + 2u) % RING_ROWS] = 0u;
            }
            var color = back;
            var part = DONE;
            var first = 0u;
            var count = 2u;
            let is_flat_above = (x & 7u) == 0u && w == nw && is_flat(row + 1u, x, w);
            let first_flat = u32(is_flat(row, x, w)) + 2u * u32(ww == w);
            var before = w;
            if ((rows[row & 63u] >> (8u + (x >> 4u))) & 1u) == 1u {
                color = w;
                if has_former {
                    let at = unpacked(job.origin) + vec2<u32>(x, rows[row & 63u] & 63u);
                    // Beyond the screen's edge its last pixels go on.
                    before = select(w, n, at.x < size.x);
                    if all(at < size) {
                        before = textureLoad(screen, at).x;
                    }
                }
                if skip > 0u {
                    skip -= 1u;
                    color = select(w, before, as_before);
                } else {
                    part = select(LOOK_UP, FLAT_RUN, is_flat_above);
                    first = first_flat;
                    as_before = false;
                    if has_former && (x & 7u) == 0u {
                        part = AS_BEFORE;
                        let octet = x >> 3u;
                        let above_above = (changed[row % RING_ROWS] >> octet) & 2u;
                        let above = (changed[(row + 1u) % RING_ROWS] >> octet) & 3u;
                        let left = (changed[(row + 2u) % RING_ROWS] >> octet) & 1u;
                        first = SAME + (above | (left << 2u) | (above_above << 2u));
                    }
                }
            }
            let equal = u32(w == n) | (u32(w == nw) << 1u) | (u32(n == nw) << 2u) | (u32(n == ne) << 3u)
                | (u32(w == ww) << 4u) | (u32(n == nn) << 5u) | (u32(ne == w) << 6u) | (u32(ne == nee) << 7u);
            var relation = 0u;
            var known = 0u;
            var off = 0;
            let tw = tone(w);
            let tn = tone(n);
            let tnw = tone(nw);
            var found = vec3<i32>(0);
            // One loop around one decoder of choices: some drivers take minutes to compile it in seven places.
            while part < DONE {
                if part == LOOK_UP {
                    part = NEIGHBOUR;
                    if recall && !(w == n && n == nw && n == ne && w == ww && n == nee) {
                        let near = hash_of_three(w, n, ne);
                        let far = hash_of_seven(near, nw, nee, ww, nn);
                        let check = ((far >> 14u) & 0xffu) | 1u;
                        let own = seen_long[far >> 22u];
                        let long = select(0u, own, (own >> 24u) == check);
                        let short = seen_short[near >> 22u];
                        var seen = select(short, long, long != 0u);
                        var kind = select(SHORT, LONG, long != 0u);
                        if looks_up {
                            let neee = ring_at(row + 1u, min(x + 3u, 63u));
                            let nww = select(ring_at(row + 1u, x - 2u), above_left, x < 2u);
                            let nne = ring_at(row, min(x + 1u, 63u));
                            let nnw = select(ring_at(row, x - 1u), above_above_left, x == 0u);
                            let www = select(ring_at(row + 2u, x - 3u), ring_at(row + 1u, 0u), x < 3u);
                            let wide = entry(0u, hash_of_twelve(far, neee, nww, nne, nnw, www));
                            let known_far = entry(DICTIONARY_SLOTS, far);
                            if wide != 0u {
                                seen = wide;
                                kind = select(WIDE, WIDE_AND_FAR, known_far != 0u && agree(wide, known_far));
                                kind = select(kind, select(DISPUTED, WIDE_AND_LONG, agree(wide, long)), long != 0u);
                            } else if known_far != 0u {
                                seen = select(known_far, long, long != 0u);
                                kind = select(FAR, select(DISPUTED, LONG_AND_FAR, agree(long, known_far)), long != 0u);
                            }
                        }
                        if seen != 0u {
                            part = SEEN;
                            known = seen & 0xffffffu;
                            relation = select(select(3u, 2u, known == n), 1u, known == w);
                            first = HIT + kind * 32u + run_class(run) * 4u + relation;
                        }
                        note = vec4<u32>((far >> 22u) | ((near >> 22u) << 16u), check << 24u, 0u, 0u);
                    }
                }
                if part == NEIGHBOUR {
                    first = FLAGS + (equal | (relation << 8u)) * 8u;
                    count = 8u;
                }
                // The start of symbol 1 is all that the table has of a choice of two.
                let which = choice(select(first, first - 1u, count == 2u), count);
                if part == LUMA || part > SAME_TINT {
                    off = residual(which);
                }
                switch part {
                    case AS_BEFORE: {
                        as_before = which == 1u;
                        part = select(select(LOOK_UP, FLAT_RUN, is_flat_above), DONE, as_before);
                        first = first_flat;
                        skip = select(0u, 7u, as_before);
                        run = select(run, 0u, as_before);
                        color = select(color, before, as_before);
                        let bit = select(2u << (x >> 3u), 0u, as_before);
                        changed[(row + 2u) % RING_ROWS] |= bit;
                    }
                    case FLAT_RUN: {
                        part = select(LOOK_UP, DONE, which == 1u);
                        skip = select(0u, 7u, which == 1u);
                        run = select(run, 0u, which == 1u);
                    }
                    case SEEN: {
                        part = select(NEIGHBOUR, DONE, which == 1u);
                        color = select(w, known, which == 1u);
                        run = select(0u, run + 1u, which == 1u);
                    }
                    case NEIGHBOUR: {
                        part = select(DONE, LUMA, which == 7u);
                        color = select(color, n, which == 1u);
                        color = select(color, nw, which == 2u);
                        color = select(color, ne, which == 3u);
                        color = select(color, back, which == 4u);
                        color = select(color, job.colors[1], which == 5u);
                        color = select(color, job.colors[2], which == 6u);
                        let spread = abs(tw.x - tnw.x) + abs(tn.x - tnw.x) + abs(tn.x - tone(ne).x);
                        first = spread_class(spread) * 4u + (u32(median(tw.x, tn.x, tnw.x)) >> 6u);
                    }
                    case LUMA: {
                        found.x = (median(tw.x, tn.x, tnw.x) + off) & 0xff;
                        color = u32(found.x) * 0x10101u;
                        known = select(0u, tints[u32(found.x)], recall);
                        part = select(select(ORANGE_OFF, SAME_TINT, known != 0u), DONE, (job.shape & 4u) != 0u);
                        first = TINT + tint_class(abs(tw.y - tn.y) + abs(tw.z - tn.z));
                    }
                    case SAME_TINT: {
                        part = select(ORANGE_OFF, DONE, which == 1u);
                        color = known & 0xffffffu;
                    }
                    case ORANGE_OFF: {
                        part = GREEN_OFF;
                        found.y = wrapped(median(tw.y, tn.y, tnw.y) + off);
                    }
                    default: {
                        part = DONE;
                        found.z = wrapped(median(tw.z, tn.z, tnw.z) + off);
                        color = color_of(found);
                        note.z = select(0u, color | 0x1000000u, recall);
                        note.w = u32(found.x);
                    }
                }
                count = select(2u, 32u, part >= LUMA && part != SAME_TINT);
                if part == ORANGE_OFF {
                    first = ORANGE + tint_class(abs(tw.y - tnw.y) + abs(tn.y - tnw.y)) * 5u;
                }
                if part == GREEN_OFF {
                    first = GREEN + tint_class(abs(tw.z - tnw.z) + abs(tn.z - tnw.z)) * 5u;
                }
                if part == ORANGE_OFF || part == GREEN_OFF {
                    first += min(tint_class(abs(off)), 4u);
                }
                first = select(first, FLAGS + PIXELS * 8u + first * 32u, count == 32u);
            }
            note.y |= select(0u, color, note.y != 0u);
            same = (same || (x & 7u) == 0u) && (color == w || (x & 7u) == 0u);
            if (x & 7u) == 7u {
                octets[((row + 2u) % RING_ROWS) * 8u + (x >> 3u)] = select(0u, color | 0x1000000u, same);
            }
            set_ring(row + 2u, x, color);
            let y_first = rows[row & 63u] & 63u;
            let y_last = (rows[row & 63u] >> 16u) & 63u;
            for (var y = y_first; y <= y_last; y++) {
                let at = unpacked(job.origin) + vec2<u32>(x, y);
                if has_block(write, (y >> 4u) * 4u + (x >> 4u)) && all(at < size) {
                    textureStore(screen, at, vec4<u32>(color, 0u, 0u, 0u));
                }
            }
        }
        if recall {
            notes[lane] = note;
            workgroupBarrier();
            // Later lanes overwrite what earlier ones remember.
            if lane < 3u {
                for (var i = 0u; i < lanes; i++) {
                    let other = notes[i];
                    if lane == 0u && other.y != 0u {
                        seen_long[other.x & 1023u] = other.y;
                    }
                    if lane == 1u && other.y != 0u {
                        seen_short[(other.x >> 16u) & 1023u] = (other.y & 0xffffffu) | 0x1000000u;
                    }
                    if lane == 2u && other.z != 0u {
                        tints[other.w & 255u] = other.z;
                    }
                }
            }
        }
        workgroupBarrier();
    }
}
