//! What can be wrong with a frame.

use crate::codec::bytes::ReadError;
use thiserror::Error;

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// A value is cut off or malformed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The frame is longer than [`FRAME_BYTES_MAX`](super::FRAME_BYTES_MAX).
    #[error("frame of {0} bytes is too long")]
    Length(usize),
    /// The header has a flag that this version does not know.
    #[error("frame flags {0:#04x} are unknown")]
    Flags(u8),
    /// The frame's number is above [`SEQUENCE_MAX`](super::SEQUENCE_MAX).
    #[error("frame {0} has no next one")]
    Sequence(u32),
    /// Sequence 0, or a dependency on this frame, a later one, or one before the first.
    #[error("frame {sequence} cannot depend on the frame {distance} before it")]
    Dependency {
        /// The frame's number.
        sequence: u32,
        /// How far back it depends.
        distance: u32,
    },
    /// STORE, COPY, UNCOVER, CACHE and HARVEST read what is there, so such a frame must follow the one before.
    #[error("frame {0} reads the previous picture but does not depend on it")]
    Unordered(u32),
    /// The screen is empty or larger than [`SCREEN_SIDE_MAX`](super::SCREEN_SIDE_MAX).
    #[error("screen of {w}x{h} pixels is not possible")]
    Screen {
        /// Width in pixels.
        w: u32,
        /// Height in pixels.
        h: u32,
    },
    /// A section is unknown, or not in ascending order.
    #[error("section {0} is unknown or out of order")]
    Section(u8),
    /// More records than there can be.
    #[error("section {section} cannot have {count} records")]
    Count {
        /// Its number.
        section: u8,
        /// What the frame says.
        count: u32,
    },
    /// The tile is not on the screen.
    #[error("tile {0} lies outside the screen")]
    Tile(u32),
    /// The slot is not in the cache.
    #[error("cache slot {0} does not exist")]
    Slot(u32),
    /// A copy's source or destination leaves the screen or is empty.
    #[error("copy {0} leaves the screen")]
    Copy(usize),
    /// Two copies write the same pixel.
    #[error("copies {0} and {1} overlap")]
    Overlap(usize, usize),
    /// The mode is reserved or unknown.
    #[error("tile mode {0} is unknown")]
    Mode(u8),
    /// The mask is empty, names invisible blocks, blocks already written, or stands where none is allowed.
    #[error("block mask {mask:#06x} is not possible in tile {tile}")]
    Mask {
        /// The tile.
        tile: u32,
        /// The mask.
        mask: u16,
    },
    /// PACK has 2 to 16 colours.
    #[error("a palette of {0} colours is not possible")]
    Palette(usize),
    /// A CTX payload names a fourth colour, or has the dictionary without recall.
    #[error("flags {0:#04x} of an entropy-coded tile are not possible")]
    Ctx(u8),
    /// The first row of a CTX payload has none before it that it could repeat.
    #[error("the first row of tile {0} cannot repeat another")]
    Repeat(u32),
    /// A lane of a CTX payload is shorter than a coder's state, or longer than 65535 words.
    #[error("a lane of {0} words is not possible")]
    Lane(u32),
    /// A WAVE payload has flags that this version does not know.
    #[error("flags {0:#06x} of a wavelet tile are unknown")]
    Wave(u16),
    /// A lane of a WAVE payload that is there is empty, or longer than [`WAVE_LANE_BYTES_MAX`](super::WAVE_LANE_BYTES_MAX).
    #[error("a wavelet lane of {0} bytes is not possible")]
    WaveLane(u32),
}
