// Moves rectangles of at most 64x64 pixels between two pictures: screen, scratch and cache. PROTOCOL.md, STORE, COPY and
// mode CACHE; twin: codec::stage::transfer.
//
//   0 jobs         array<Transfer>, one a workgroup
//   1 destination  r32uint texture, 0x00RRGGBB; pixels beyond its edge are left out
//   2 source       r32uint texture, another one; positions are clamped to its last pixel

struct Transfer {
    source: u32,
    destination: u32,
    size: u32,
    pad: u32,
}

@group(0) @binding(0) var<storage, read> jobs: array<Transfer>;
@group(0) @binding(1) var destination: texture_storage_2d<r32uint, write>;
@group(0) @binding(2) var source: texture_2d<u32>;

const SIDE: u32 = 16u;
const PARTS: u32 = 16u;

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) lane: vec3<u32>) {
    let index = job_index(group);
    if index >= arrayLength(&jobs) {
        return;
    }
    let job = jobs[index];
    let size = unpacked(job.size);
    let edge = textureDimensions(destination);
    let last = textureDimensions(source) - 1u;
    for (var part = 0u; part < PARTS; part++) {
        let offset = vec2<u32>(part & 3u, part >> 2u) * SIDE + lane.xy;
        let to = unpacked(job.destination) + offset;
        if all(offset < size) && all(to < edge) {
            let color = textureLoad(source, min(unpacked(job.source) + offset, last), 0).x;
            textureStore(destination, to, vec4<u32>(color, 0u, 0u, 0u));
        }
    }
}
