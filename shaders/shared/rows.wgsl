// The row list of an entropy-coded tile; codec::ctx::Rows. For each row that is really coded: tile row, coded blocks << 8,
// the last row that repeats it << 16.
var<workgroup> rows: array<u32, 64>;

// Bit y for each row of the tile that has coded blocks: rows 0 to 31, then 32 to 63.
fn held_rows(coded: u32) -> vec2<u32> {
    let bands = vec4<u32>(coded, coded >> 4u, coded >> 8u, coded >> 12u) & vec4<u32>(15u);
    let rows_of = select(vec4<u32>(0u), vec4<u32>(0xffffu), bands != vec4<u32>(0u));
    return vec2<u32>(rows_of.x | (rows_of.y << 16u), rows_of.z | (rows_of.w << 16u));
}

// The held rows that are on the list. The first of them repeats nothing.
fn listed_rows(held: vec2<u32>, repeats: vec2<u32>) -> vec2<u32> {
    var listed = held & ~repeats;
    if held.x != 0u {
        listed.x |= held.x & (0u - held.x);
    } else {
        listed.y |= held.y & (0u - held.y);
    }
    return listed;
}

// Makes the row list; one lane does it.
fn list_rows(coded: u32, listed: vec2<u32>, held: vec2<u32>) {
    var count = 0u;
    for (var y = 0u; y < 64u; y++) {
        let bit = 1u << (y & 31u);
        if (select(listed.x, listed.y, y >= 32u) & bit) != 0u {
            rows[count & 63u] = y | (((coded >> ((y >> 4u) * 4u)) & 15u) << 8u) | (y << 16u);
            count += 1u;
        } else if (select(held.x, held.y, y >= 32u) & bit) != 0u {
            let before = (count - 1u) & 63u;
            rows[before] = (rows[before] & 0xffffu) | (y << 16u);
        }
    }
}
