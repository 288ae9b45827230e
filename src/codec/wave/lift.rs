//! The reversible 5/3 wavelet on 64×64 values, four levels, mirrored at the tile's edges.
//!
//! Written so that every inner loop is the same sum on neighbouring 16-bit values, which compilers turn into vectors.
//! Values are kept in bands: a level's low half lies before its high half, in both directions. Of what comes in and goes
//! out each row's even values lie before its odd ones: whoever turns colours into values moves them there once for all
//! three components.

/// 64 rows of 64 values or coefficients of one component.
pub type Plane = [[i16; 64]; 64];

/// Where the value of column `x` lies in a row of values.
pub const fn place(x: usize) -> usize {
    x / 2 + x % 2 * 32
}

/// Splits a plane of values into bands, in place. Of colours come coefficients that stay inside 16 bits, in noise above
/// `COEFFICIENT_MAX`.
#[inline(always)]
pub fn forward(plane: &mut Plane) {
    let mut other = [[0; 64]; 64];
    split_columns::<64, 32>(plane, &mut other);
    split_parted_rows(plane, &mut other);
    split_columns::<32, 16>(plane, &mut other);
    split_rows::<32, 16>(plane);
    split_columns::<16, 8>(plane, &mut other);
    split_rows::<16, 8>(plane);
    split_columns::<8, 4>(plane, &mut other);
    split_rows::<8, 4>(plane);
}

/// Joins the bands again, in place. Coefficients of at most `COEFFICIENT_MAX` in size never leave 16 bits: each level adds
/// at most 1.5 + 1.5 + 2.25 times the largest one, so four levels make 22 times of it.
#[inline(always)]
pub fn inverse(plane: &mut Plane) {
    let mut other = [[0; 64]; 64];
    join_rows::<8, 4>(plane);
    join_columns::<8, 4>(plane, &mut other);
    join_rows::<16, 8>(plane);
    join_columns::<16, 8>(plane, &mut other);
    join_rows::<32, 16>(plane);
    join_columns::<32, 16>(plane, &mut other);
    join_parted_rows(plane, &mut other);
    join_columns::<64, 32>(plane, &mut other);
}

/// What a high value takes off: the mean of its two low neighbours.
#[inline(always)]
fn mean(a: i16, b: i16) -> i16 {
    // Their sum may need a 17th bit.
    (a & b).wrapping_add((a ^ b) >> 1)
}

/// What a low value gains: a quarter of its two high neighbours, rounded.
#[inline(always)]
fn quarter(a: i16, b: i16) -> i16 {
    a.wrapping_add(b).wrapping_add(2) >> 2
}

/// Splits rows of 64, whose even values lie before their odd ones. In two sweeps over the plane: a row's neighbours read
/// back right after they were written would wait for the writing.
#[inline(always)]
fn split_parted_rows(plane: &mut Plane, high: &mut Plane) {
    for (row, high) in plane.iter().zip(high.iter_mut()) {
        for i in 0..32 {
            high[32 + i] = row[32 + i].wrapping_sub(mean(row[i], row[i + 1]));
        }
        // The row's mirrored ends.
        high[63] = row[63].wrapping_sub(row[31]);
        high[31] = high[32];
    }
    for (row, high) in plane.iter_mut().zip(high.iter()) {
        for i in 0..32 {
            row[i] = row[i].wrapping_add(quarter(high[31 + i], high[32 + i]));
        }
        row[32..].copy_from_slice(&high[32..]);
    }
}

#[inline(always)]
fn split_rows<const N: usize, const HALF: usize>(plane: &mut Plane) {
    for row in plane.iter_mut().take(N) {
        let (mut low, mut odd, mut high) = ([0; 17], [0; 16], [0; 17]);
        for i in 0..HALF {
            low[i] = row[2 * i];
            odd[i] = row[2 * i + 1];
        }
        low[HALF] = low[HALF - 1];
        for i in 0..HALF {
            high[i + 1] = i16::wrapping_sub(odd[i], mean(low[i], low[i + 1]));
        }
        high[0] = high[1];
        for i in 0..HALF {
            row[i] = low[i].wrapping_add(quarter(high[i], high[i + 1]));
        }
        row[HALF..N].copy_from_slice(&high[1..=HALF]);
    }
}

#[inline(always)]
fn split_columns<const N: usize, const HALF: usize>(plane: &mut Plane, high: &mut Plane) {
    for i in 0..HALF {
        let after = if i + 1 < HALF { 2 * i + 2 } else { 2 * i };
        let (low, odd, next) = (&plane[2 * i], &plane[2 * i + 1], &plane[after]);
        for x in 0..N {
            high[i][x] = odd[x].wrapping_sub(mean(low[x], next[x]));
        }
    }
    for i in 0..HALF {
        let low = plane[2 * i];
        let (before, after) = (&high[i.saturating_sub(1)], &high[i]);
        for x in 0..N {
            plane[i][x] = low[x].wrapping_add(quarter(before[x], after[x]));
        }
    }
    for i in 0..HALF {
        plane[HALF + i][..N].copy_from_slice(&high[i][..N]);
    }
}

/// The inverse of [`split_parted_rows`], in two sweeps as well.
#[inline(always)]
fn join_parted_rows(plane: &mut Plane, low: &mut Plane) {
    for (row, low) in plane.iter().zip(low.iter_mut()) {
        for i in 0..32 {
            low[i] = row[i].wrapping_sub(quarter(row[31 + i], row[32 + i]));
        }
        // The row's mirrored ends.
        low[0] = row[0].wrapping_sub(quarter(row[32], row[32]));
        low[32] = low[31];
    }
    for (row, low) in plane.iter_mut().zip(low.iter()) {
        for i in 0..32 {
            row[32 + i] = row[32 + i].wrapping_add(mean(low[i], low[i + 1]));
        }
        row[..32].copy_from_slice(&low[..32]);
    }
}

#[inline(always)]
fn join_rows<const N: usize, const HALF: usize>(plane: &mut Plane) {
    for row in plane.iter_mut().take(N) {
        let (mut low, mut odd, mut high) = ([0; 17], [0; 16], [0; 17]);
        high[1..=HALF].copy_from_slice(&row[HALF..N]);
        high[0] = high[1];
        for i in 0..HALF {
            low[i] = i16::wrapping_sub(row[i], quarter(high[i], high[i + 1]));
        }
        low[HALF] = low[HALF - 1];
        for i in 0..HALF {
            odd[i] = i16::wrapping_add(high[i + 1], mean(low[i], low[i + 1]));
        }
        for i in 0..HALF {
            row[2 * i] = low[i];
            row[2 * i + 1] = odd[i];
        }
    }
}

#[inline(always)]
fn join_columns<const N: usize, const HALF: usize>(plane: &mut Plane, joined: &mut Plane) {
    for i in 0..HALF {
        let (before, after) = (&plane[HALF + i.saturating_sub(1)], &plane[HALF + i]);
        for x in 0..N {
            joined[2 * i][x] = plane[i][x].wrapping_sub(quarter(before[x], after[x]));
        }
    }
    for i in 0..HALF {
        let after = if i + 1 < HALF { 2 * i + 2 } else { 2 * i };
        let (low, next) = (joined[2 * i], joined[after]);
        for x in 0..N {
            joined[2 * i + 1][x] = plane[HALF + i][x].wrapping_add(mean(low[x], next[x]));
        }
    }
    for (row, joined) in plane.iter_mut().zip(joined.iter()).take(N) {
        row[..N].copy_from_slice(&joined[..N]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::wave::COEFFICIENT_MAX;

    #[test]
    fn what_was_split_is_joined_without_loss() {
        let mut seed = 1u32;
        let mut plane = [[0; 64]; 64];
        for value in plane.iter_mut().flatten() {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *value = if seed & 0x8000_0000 == 0 { -510 } else { 510 };
        }
        let before = plane;
        forward(&mut plane);
        inverse(&mut plane);
        assert!(plane == before);
    }

    /// The GPU counts in 32 bits: both agree only because nothing wraps.
    #[test]
    fn the_largest_coefficients_stay_inside_16_bits() {
        for signs in 0..16u32 {
            let mut plane = [[0i16; 64]; 64];
            let mut wide = [[0i64; 64]; 64];
            for y in 0..64 {
                for x in 0..64 {
                    let negative = [x & 1, y & 1, (x >> 3) & 1, (x + y) & 1];
                    let negative = (0..4).map(|i| (signs as usize >> i & 1) * negative[i]).sum::<usize>() & 1;
                    plane[y][x] = if negative == 1 { -COEFFICIENT_MAX } else { COEFFICIENT_MAX };
                    wide[y][x] = plane[y][x].into();
                }
            }
            inverse(&mut plane);
            for half in [4, 8, 16, 32] {
                wide_inverse(&mut wide, half);
            }
            let equal = |(y, x): (usize, usize)| i64::from(plane[y][place(x)]) == wide[y][x];
            assert!((0..64).all(|y| (0..64).all(|x| equal((y, x)))), "{signs}");
        }
    }

    fn wide_inverse(plane: &mut [[i64; 64]; 64], half: usize) {
        let line = |values: Vec<i64>| {
            let (low, high) = values.split_at(half);
            let even: Vec<i64> = (0..half).map(|i| low[i] - ((high[i.saturating_sub(1)] + high[i] + 2) >> 2)).collect();
            let odd = |i: usize| high[i] + ((even[i] + even[(i + 1).min(half - 1)]) >> 1);
            (0..half).flat_map(|i| [even[i], odd(i)]).collect::<Vec<_>>()
        };
        for row in plane.iter_mut().take(2 * half) {
            let joined = line(row[..2 * half].to_vec());
            row[..2 * half].copy_from_slice(&joined);
        }
        for x in 0..2 * half {
            let joined = line(plane.iter().take(2 * half).map(|row| row[x]).collect());
            plane.iter_mut().zip(joined).for_each(|(row, value)| row[x] = value);
        }
    }
}
