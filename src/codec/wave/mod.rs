//! The lossy mode for photos: what both ends share of it. PROTOCOL.md, "Mode WAVE".
//!
//! YCoCg-R, a reversible wavelet ([`lift`]), a quantiser of shifts, and widths of groups in short fixed codes: cheap
//! enough for a whole screen in a frame's time. Encoder: [`encode`]; decoder: `codec::stage::wave`.

pub mod encode;
pub mod lift;

/// Lanes of a payload: for each of Y, Co and Cg one of the coarse bands and three of the finest.
pub const LANES: usize = 12;
/// Groups of 4×4 coefficients in a lane.
pub const LANE_GROUPS: usize = 64;
/// Largest size of a coefficient that is written and that a decoder makes. Only noise has larger ones.
pub const COEFFICIENT_MAX: i16 = 1023;
/// Widest group: ten bits hold [`COEFFICIENT_MAX`].
pub const WIDTH_MAX: usize = 10;
/// Longest code of a width, in bits.
pub const CODE_BITS: usize = 8;
/// Code tables of widths; the sum of two neighbours' widths chooses one, the last for all larger sums.
pub const TABLES: usize = 8;
/// Coarsest quantiser that a payload can name.
pub const QUANTISER_MAX: u8 = 7;

/// Length of each width's code in bits, for each table. Fitted to photographs; CODEC.md.
pub const CODE_LENGTHS: [[u8; WIDTH_MAX + 1]; TABLES] = [
    [1, 2, 4, 4, 5, 5, 5, 6, 7, 8, 8],
    [1, 2, 3, 4, 5, 7, 7, 8, 8, 8, 8],
    [3, 1, 2, 4, 5, 7, 7, 8, 8, 8, 8],
    [3, 2, 2, 2, 4, 5, 6, 8, 8, 8, 8],
    [5, 3, 1, 3, 3, 4, 6, 8, 8, 8, 8],
    [5, 3, 2, 2, 3, 3, 4, 6, 7, 8, 8],
    [6, 4, 3, 1, 3, 4, 4, 5, 7, 8, 8],
    [8, 6, 4, 2, 2, 2, 3, 5, 8, 8, 8],
];

/// Each width's code in each table, its first bit lowest, as it stands in the stream.
pub const CODES: [[u8; WIDTH_MAX + 1]; TABLES] = codes();

/// For each table and the next eight bits: the width whose code they begin with, `width | length << 4`.
pub static LOOK_UP: [[u8; 1 << CODE_BITS]; TABLES] = look_up();

/// A part of a plane whose coefficients belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// Column of its first coefficient in the plane.
    pub x: usize,
    /// Row of its first coefficient.
    pub y: usize,
    /// Its width and height.
    pub side: usize,
    /// 0 for the finest level; 4 for what is left after the last.
    pub level: usize,
}

/// The bands of a component's four lanes, in their order in the lane.
pub const LANE_BANDS: [&[Band]; 4] = [
    &[
        band(0, 0, 4, 4),
        band(4, 0, 4, 3),
        band(0, 4, 4, 3),
        band(4, 4, 4, 3),
        band(8, 0, 8, 2),
        band(0, 8, 8, 2),
        band(8, 8, 8, 2),
        band(16, 0, 16, 1),
        band(0, 16, 16, 1),
        band(16, 16, 16, 1),
    ],
    &[band(32, 0, 32, 0)],
    &[band(0, 32, 32, 0)],
    &[band(32, 32, 32, 0)],
];

/// The front of a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// 0 to [`QUANTISER_MAX`].
    pub quantiser: u8,
    /// Bit `i` is set if lane `i` has bytes; without, all its coefficients are zero.
    pub lanes: u16,
    /// The colour that the values are differences from, 0xRRGGBB.
    pub base: u32,
}

/// Bits that the quantiser takes off a coefficient of this component (0 is Y) and level.
pub const fn shift(quantiser: u8, component: usize, level: usize) -> u32 {
    let coarser = quantiser as u32 + if component == 0 { 0 } else { 1 };
    coarser.saturating_sub([0, 1, 2, 2, 3][level])
}

/// A colour as brightness and two differences, without loss.
#[inline(always)]
pub const fn tone(color: u32) -> [i16; 3] {
    let (r, g, b) = ((color >> 16 & 0xff) as i16, (color >> 8 & 0xff) as i16, (color & 0xff) as i16);
    let orange = r - b;
    let t = b + (orange >> 1);
    let green = g - t;
    [t + (green >> 1), orange, green]
}

/// The colour of three values that may lie anywhere; each channel ends at 0 and 255.
#[inline(always)]
pub fn color(values: [i16; 3]) -> u32 {
    // Beyond it no colour has a value, and the sums below stay inside 16 bits.
    let [y, orange, green] = values.map(|v| v.clamp(-COEFFICIENT_MAX, COEFFICIENT_MAX));
    let t = y.wrapping_sub(green >> 1);
    let g = green.wrapping_add(t);
    let b = t.wrapping_sub(orange >> 1);
    let r = b.wrapping_add(orange);
    let channel = |v: i16| v.clamp(0, 255) as u32;
    channel(r) << 16 | channel(g) << 8 | channel(b)
}

const fn band(x: usize, y: usize, side: usize, level: usize) -> Band {
    Band { x, y, side, level }
}

/// Canonical codes: shorter ones first, equal lengths in ascending order of the width; each is the one before plus 1.
const fn codes() -> [[u8; WIDTH_MAX + 1]; TABLES] {
    let mut codes = [[0; WIDTH_MAX + 1]; TABLES];
    let mut table = 0;
    while table < TABLES {
        let (mut next, mut length) = (0u32, 1);
        while length <= CODE_BITS {
            let mut width = 0;
            while width <= WIDTH_MAX {
                if CODE_LENGTHS[table][width] as usize == length {
                    codes[table][width] = (next.reverse_bits() >> (32 - length)) as u8;
                    next += 1;
                }
                width += 1;
            }
            next <<= 1;
            length += 1;
        }
        table += 1;
    }
    codes
}

const fn look_up() -> [[u8; 1 << CODE_BITS]; TABLES] {
    let mut found = [[0; 1 << CODE_BITS]; TABLES];
    let mut table = 0;
    while table < TABLES {
        let mut width = 0;
        while width <= WIDTH_MAX {
            let length = CODE_LENGTHS[table][width] as usize;
            let mut bits = CODES[table][width] as usize;
            while bits < 1 << CODE_BITS {
                found[table][bits] = width as u8 | (length as u8) << 4;
                bits += 1 << length;
            }
            width += 1;
        }
        table += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_table_is_complete() {
        for lengths in CODE_LENGTHS {
            assert_eq!(lengths.iter().map(|l| 1 << (CODE_BITS - usize::from(*l))).sum::<usize>(), 1 << CODE_BITS);
        }
    }

    #[test]
    fn a_lane_has_64_groups() {
        for bands in LANE_BANDS {
            assert_eq!(bands.iter().map(|b| (b.side / 4) * (b.side / 4)).sum::<usize>(), LANE_GROUPS);
        }
    }

    #[test]
    fn every_colour_survives_the_change_of_form() {
        for c in (0..1 << 24).step_by(7) {
            assert_eq!(color(tone(c)), c);
        }
    }
}
