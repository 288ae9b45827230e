// Sums up tiles so that two ends can see whether they hold the same pixels. PROTOCOL.md, "Marks of exactness"; twin:
// codec::stage::mark.
//
//   0 jobs    array<Mark>, one a workgroup
//   1 marks   r32uint texture, two words a mark
//   2 screen  r32uint texture of the screen's size, 0x00RRGGBB

struct Mark {
    origin: u32,
    size: u32,
    place: u32,
    pad: u32,
}

@group(0) @binding(0) var<storage, read> jobs: array<Mark>;
@group(0) @binding(1) var marks: texture_storage_2d<r32uint, write>;
@group(0) @binding(2) var screen: texture_2d<u32>;

const LANES: u32 = 256u;
const PIXELS: u32 = 4096u;

var<workgroup> sums: array<vec2<u32>, LANES>;

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = job_index(group);
    if index >= arrayLength(&jobs) {
        return;
    }
    let job = jobs[index];
    let size = min(unpacked(job.size), textureDimensions(screen));
    var sum = vec2<u32>(0u);
    for (var place = lane; place < PIXELS; place += LANES) {
        let within = vec2<u32>(place & 63u, place >> 6u);
        if all(within < size) {
            let pixel = textureLoad(screen, unpacked(job.origin) + within, 0).x;
            var a = (pixel ^ (place * 0x9e3779b1u)) * 0x85ebca6bu;
            a = (a ^ (a >> 15u)) * 0xc2b2ae35u;
            var b = (pixel + place * 0x27d4eb2fu) * 0x165667b1u;
            b = (b ^ (b >> 16u)) * 0xd3a2646du;
            sum += vec2<u32>(a ^ (a >> 13u), b ^ (b >> 15u));
        }
    }
    sums[lane] = sum;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half >>= 1u) {
        if lane < half {
            sums[lane] += sums[lane + half];
        }
        workgroupBarrier();
    }
    if lane == 0u {
        let at = unpacked(job.place);
        textureStore(marks, at, vec4<u32>(sums[0].x, 0u, 0u, 0u));
        textureStore(marks, at + vec2<u32>(1u, 0u), vec4<u32>(sums[0].y, 0u, 0u, 0u));
    }
}
