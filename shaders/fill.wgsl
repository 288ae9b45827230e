// Fills blocks of tiles with one colour. PROTOCOL.md, mode SOLID; twin: codec::stage::fill.
//
//   0 jobs    array<Fill>, one a workgroup
//   1 screen  r32uint texture of the screen's size, 0x00RRGGBB; pixels beyond its edge are left out

struct Fill {
    origin: u32,
    blocks: u32,
    color: u32,
    pad: u32,
}

@group(0) @binding(0) var<storage, read> jobs: array<Fill>;
@group(0) @binding(1) var screen: texture_storage_2d<r32uint, write>;

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) lane: vec3<u32>) {
    let index = job_index(group);
    if index >= arrayLength(&jobs) {
        return;
    }
    let job = jobs[index];
    let size = textureDimensions(screen);
    for (var block = 0u; block < BLOCKS; block++) {
        let at = block_pixel(job.origin, block, lane.xy);
        if has_block(job.blocks, block) && all(at < size) {
            textureStore(screen, at, vec4<u32>(job.color & 0xffffffu, 0u, 0u, 0u));
        }
    }
}
