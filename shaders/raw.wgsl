// Writes pixels that came as three bytes each. PROTOCOL.md, mode RAW; twin: codec::stage::raw.
//
//   0 jobs    array<Raw>, one a workgroup
//   1 screen  r32uint texture of the screen's size, 0x00RRGGBB; pixels beyond its edge are left out
//   2 frame   array<u32>, the frame's bytes, low byte first, with zeroes up to a whole word

struct Raw {
    origin: u32,
    blocks: u32,
    pixels: u32,
    pad: u32,
}

@group(0) @binding(0) var<storage, read> jobs: array<Raw>;
@group(0) @binding(1) var screen: texture_storage_2d<r32uint, write>;
@group(0) @binding(2) var<storage, read> frame: array<u32>;

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) lane: vec3<u32>) {
    let index = job_index(group);
    if index >= arrayLength(&jobs) {
        return;
    }
    let job = jobs[index];
    let coded = job.blocks & 0xffffu;
    let size = textureDimensions(screen);
    let pixel = lane.y * BLOCK + lane.x;
    for (var block = 0u; block < BLOCKS; block++) {
        let at = block_pixel(job.origin, block, lane.xy);
        if has_block(job.blocks >> 16u, block) && all(at < size) {
            let color = frame_color(job.pixels + (rank(coded, block) * BLOCK_PIXELS + pixel) * 3u);
            textureStore(screen, at, vec4<u32>(color, 0u, 0u, 0u));
        }
    }
}
