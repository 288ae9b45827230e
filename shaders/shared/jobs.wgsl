// One workgroup of 16x16 lanes runs one job. A dispatch has at most JOBS_PER_ROW groups in x and as many rows in y as the
// jobs need, because no adapter has to allow more than 65535 groups in one direction.

const JOBS_PER_ROW: u32 = 32768u;

fn job_index(group: vec3<u32>) -> u32 {
    return group.y * JOBS_PER_ROW + group.x;
}

// A position in one word, x | y << 16; codec::plan::packed.
fn unpacked(word: u32) -> vec2<u32> {
    return vec2<u32>(word & 0xffffu, word >> 16u);
}
