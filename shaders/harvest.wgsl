// Puts pixels of decoded tiles into the dictionary. PROTOCOL.md, HARVEST; twin: codec::stage::harvest.
//
//   0 jobs        array<Harvest>, one a workgroup; all of one phase
//   1 dictionary  array<atomic<u32>>, two tables of DICTIONARY_SLOTS entries: check << 24 | colour, 0 for none
//   2 screen      r32uint texture, 0x00RRGGBB; positions are clamped to its last pixel
//
// First all places are emptied, then the largest entry for a place stays, so that the order of lanes does not matter.

struct Harvest {
    origin: u32,
    blocks: u32,
    back: u32,
    phase: u32,
    repeats: array<u32, 2>,
    pad: vec2<u32>,
}

@group(0) @binding(0) var<storage, read> jobs: array<Harvest>;
@group(0) @binding(1) var<storage, read_write> dictionary: array<atomic<u32>>;
@group(0) @binding(2) var screen: texture_2d<u32>;

const LEARN: u32 = 1u;
const PARTS: u32 = 16u;

// A pixel of the row list; blocks that are not coded have the background colour.
fn listed(job: Harvest, row: u32, x: u32) -> u32 {
    let entry = rows[row & 63u];
    let at = unpacked(job.origin) + vec2<u32>(x, entry & 63u);
    let color = textureLoad(screen, min(at, textureDimensions(screen) - 1u), 0).x;
    return select(job.back, color, ((entry >> (8u + (x >> 4u))) & 1u) == 1u);
}

// The same with the margins: background above, left of a row the first pixel of the row above, right of it its last.
fn around(job: Harvest, row: i32, x: i32) -> u32 {
    let shown = select(row, row - 1, x < 0);
    let color = listed(job, u32(max(shown, 0)), u32(clamp(x, 0, 63)));
    return select(color, job.back, shown < 0);
}

fn put(index: u32, check: u32, color: u32, phase: u32) {
    let at = min(index, arrayLength(&dictionary) - 1u);
    if phase == LEARN {
        atomicMax(&dictionary[at], (check << 24u) | color);
    } else {
        atomicStore(&dictionary[at], 0u);
    }
}

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = job_index(group);
    if index >= arrayLength(&jobs) {
        return;
    }
    let job = jobs[index];
    let coded = job.blocks & 0xffffu;
    let held = held_rows(coded);
    let on_list = listed_rows(held, vec2<u32>(job.repeats[0], job.repeats[1]));
    let count = countOneBits(on_list.x) + countOneBits(on_list.y);
    if lane == 0u {
        list_rows(coded, on_list, held);
    }
    workgroupBarrier();
    for (var part = 0u; part < PARTS; part++) {
        let y = part * 4u + (lane >> 6u);
        let x = i32(lane & 63u);
        let is_coded = y < count && ((rows[y & 63u] >> (8u + (u32(x) >> 4u))) & 1u) == 1u;
        if is_coded {
            let row = i32(y);
            let w = around(job, row, x - 1);
            let ww = around(job, row, x - 2);
            let n = around(job, row - 1, x);
            let nw = around(job, row - 1, x - 1);
            let ne = around(job, row - 1, x + 1);
            let nee = around(job, row - 1, x + 2);
            if !(w == n && n == nw && n == ne && w == ww && n == nee) {
                let nn = around(job, row - 2, x);
                let far = hash_of_seven(hash_of_three(w, n, ne), nw, nee, ww, nn);
                let wide = hash_of_twelve(far, around(job, row - 1, x + 3), around(job, row - 1, x - 2),
                    around(job, row - 2, x + 1), around(job, row - 2, x - 1), around(job, row, x - 3));
                let color = around(job, row, x) & 0xffffffu;
                let first = dictionary_place(wide);
                put(first.x, first.y, color, job.phase);
                let second = dictionary_place(far);
                put(second.x + DICTIONARY_SLOTS, second.y, color, job.phase);
            }
        }
    }
}
