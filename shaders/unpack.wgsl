// Turns palette indices into pixels. PROTOCOL.md, mode PACK; twin: codec::stage::unpack.
//
//   0 jobs    array<Unpack>, one a workgroup
//   1 screen  r32uint texture of the screen's size, 0x00RRGGBB; pixels beyond its edge are left out
//   2 frame   array<u32>, the frame's bytes, low byte first, with zeroes up to a whole word
//
// An index has 1, 2 or 4 bits, so it never crosses a byte. One above the palette counts as its last colour.

struct Unpack {
    origin: u32,
    blocks: u32,
    palette: u32,
    indices: u32,
    bits: u32,
    index_max: u32,
    pad: vec2<u32>,
}

@group(0) @binding(0) var<storage, read> jobs: array<Unpack>;
@group(0) @binding(1) var screen: texture_storage_2d<r32uint, write>;
@group(0) @binding(2) var<storage, read> frame: array<u32>;

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) lane: vec3<u32>) {
    let index = job_index(group);
    if index >= arrayLength(&jobs) {
        return;
    }
    let job = jobs[index];
    let bits = min(job.bits, 8u);
    let coded = job.blocks & 0xffffu;
    let size = textureDimensions(screen);
    let pixel = lane.y * BLOCK + lane.x;
    for (var block = 0u; block < BLOCKS; block++) {
        let at = block_pixel(job.origin, block, lane.xy);
        if has_block(job.blocks >> 16u, block) && all(at < size) {
            let bit = (rank(coded, block) * BLOCK_PIXELS + pixel) * bits;
            let entry = (frame_byte(job.indices + (bit >> 3u)) >> (bit & 7u)) & ((1u << bits) - 1u);
            let color = frame_color(job.palette + min(entry, job.index_max) * 3u);
            textureStore(screen, at, vec4<u32>(color, 0u, 0u, 0u));
        }
    }
}
