// Where a pixel's neighbourhood is remembered: in the tile's own tables, and in the dictionary; codec::ctx::dictionary.
// All sums and products modulo 2^32.

// Entries of each of the dictionary's two tables: by twelve neighbours, then by seven.
const DICTIONARY_SLOTS: u32 = 262144u;

fn hash_of_three(w: u32, n: u32, ne: u32) -> u32 {
    return w * 0x9e3779b1u + n * 0x85ebca6bu + ne * 0xc2b2ae35u;
}

// `near` is the hash of three.
fn hash_of_seven(near: u32, nw: u32, nee: u32, ww: u32, nn: u32) -> u32 {
    return near + nw * 0x27d4eb2fu + nee * 0x165667b1u + ww * 0xd3a2646du + nn * 0xfd7046c5u;
}

// `far` is the hash of seven.
fn hash_of_twelve(far: u32, neee: u32, nww: u32, nne: u32, nnw: u32, www: u32) -> u32 {
    return far + neee * 0xb5297a4du + nww * 0x68e31da5u + nne * 0x1b56c4e9u + nnw * 0x7fed7fd7u + www * 0x4d2cba97u;
}

// Index in a table, and what an entry carries above its colour.
fn dictionary_place(hash: u32) -> vec2<u32> {
    let mixed = (hash ^ (hash >> 15u)) * 0x2c1b3c6du;
    return vec2<u32>(mixed >> 14u, ((mixed >> 6u) & 0xffu) | 1u);
}
