//! What the shaders expect: their text, bindings, job structs and constants, in one table.
//!
//! The pipelines are made from this table, and a test parses the shaders and compares them with it. The job structs
//! themselves are `codec::plan`'s.

use crate::codec::plan::{Ctx, Fill, Harvest, Mark, Raw, Transfer, Unpack, Wave};
use bytemuck::{Pod, Zeroable};
use std::mem::{offset_of, size_of};

/// Workgroups in one row of a dispatch; further jobs go to further rows. `shared/jobs.wgsl` has the same number.
pub const JOBS_PER_ROW: u32 = 32768;

/// Lanes of a workgroup along each side where each writes a pixel of a block; one workgroup runs one job.
pub const WORKGROUP_SIDE: u32 = 16;

/// A shader and what is bound to it, in group 0; a binding's number is its place in the list.
#[derive(Clone, Copy, Debug)]
pub struct Shader {
    /// Stem of its file in `shaders/`.
    pub name: &'static str,
    /// Its whole text, with the shared parts before it.
    pub source: &'static str,
    /// What it wants, in order.
    pub bindings: &'static [Binding],
    /// Lanes of a workgroup in x and y; none where nothing is dispatched.
    pub lanes: [u32; 2],
}

const BLOCK_LANES: [u32; 2] = [WORKGROUP_SIDE, WORKGROUP_SIDE];

/// One resource of a shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// A storage buffer with an array of these structs, read only.
    Jobs(&'static Struct),
    /// A storage buffer of words, read only.
    Words,
    /// A storage buffer of words that all lanes change, one word at a time.
    Shared,
    /// A uniform buffer with this struct.
    Uniform(&'static Struct),
    /// An R32Uint texture that is written pixel by pixel.
    Written,
    /// An R32Uint texture of which each pixel is read and written by one lane.
    Changed,
    /// An R32Uint texture that is read pixel by pixel.
    Read,
}

/// A struct that both sides see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Struct {
    /// Its name, on both sides.
    pub name: &'static str,
    /// Bytes of one.
    pub size: usize,
    /// Name, byte offset and size of each member.
    pub members: &'static [(&'static str, usize, usize)],
}

/// What [`PRESENT`] draws; all positions and sizes in pixels of the window.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Scene {
    /// Left edge of the picture.
    pub viewport_x: u32,
    /// Top edge of the picture.
    pub viewport_y: u32,
    /// Its width in the window.
    pub viewport_w: u32,
    /// Its height in the window.
    pub viewport_h: u32,
    /// The picture's own width.
    pub picture_w: u32,
    /// The picture's own height.
    pub picture_h: u32,
    /// Width of the overlay; it starts at the window's top left corner.
    pub overlay_w: u32,
    /// Height of the overlay.
    pub overlay_h: u32,
    /// 0 takes the nearest pixel, 1 the average over the area.
    pub area: u32,
    /// Zeroes; these keep the struct at a multiple of 16 bytes.
    pub pad: u32,
    /// Likewise.
    pub pads: [u32; 2],
}

/// `shaders/fill.wgsl`.
pub const FILL: Shader = Shader {
    name: "fill",
    source: concat!(
        include_str!("../../../shaders/shared/jobs.wgsl"),
        include_str!("../../../shaders/shared/blocks.wgsl"),
        include_str!("../../../shaders/fill.wgsl")
    ),
    bindings: &[Binding::Jobs(&FILL_JOB), Binding::Written],
    lanes: BLOCK_LANES,
};

/// `shaders/unpack.wgsl`.
pub const UNPACK: Shader = Shader {
    name: "unpack",
    source: concat!(
        include_str!("../../../shaders/shared/jobs.wgsl"),
        include_str!("../../../shaders/shared/blocks.wgsl"),
        include_str!("../../../shaders/shared/bytes.wgsl"),
        include_str!("../../../shaders/unpack.wgsl")
    ),
    bindings: &[Binding::Jobs(&UNPACK_JOB), Binding::Written, Binding::Words],
    lanes: BLOCK_LANES,
};

/// `shaders/raw.wgsl`.
pub const RAW: Shader = Shader {
    name: "raw",
    source: concat!(
        include_str!("../../../shaders/shared/jobs.wgsl"),
        include_str!("../../../shaders/shared/blocks.wgsl"),
        include_str!("../../../shaders/shared/bytes.wgsl"),
        include_str!("../../../shaders/raw.wgsl")
    ),
    bindings: &[Binding::Jobs(&RAW_JOB), Binding::Written, Binding::Words],
    lanes: BLOCK_LANES,
};

/// `shaders/ctx.wgsl`; the second words are the probability tables, the third the dictionary.
pub const CTX: Shader = Shader {
    name: "ctx",
    source: concat!(
        include_str!("../../../shaders/shared/jobs.wgsl"),
        include_str!("../../../shaders/shared/blocks.wgsl"),
        include_str!("../../../shaders/shared/bytes.wgsl"),
        include_str!("../../../shaders/shared/rows.wgsl"),
        include_str!("../../../shaders/shared/tone.wgsl"),
        include_str!("../../../shaders/shared/dictionary.wgsl"),
        include_str!("../../../shaders/ctx.wgsl")
    ),
    bindings: &[Binding::Jobs(&CTX_JOB), Binding::Changed, Binding::Words, Binding::Words, Binding::Words],
    lanes: [8, 1],
};

/// `shaders/wave.wgsl`; the second words are the look-up tables of widths.
pub const WAVE: Shader = Shader {
    name: "wave",
    source: concat!(
        include_str!("../../../shaders/shared/jobs.wgsl"),
        include_str!("../../../shaders/shared/blocks.wgsl"),
        include_str!("../../../shaders/shared/bytes.wgsl"),
        include_str!("../../../shaders/shared/tone.wgsl"),
        include_str!("../../../shaders/wave.wgsl")
    ),
    bindings: &[Binding::Jobs(&WAVE_JOB), Binding::Written, Binding::Words, Binding::Words],
    lanes: [256, 1],
};

/// `shaders/harvest.wgsl`.
pub const HARVEST: Shader = Shader {
    name: "harvest",
    source: concat!(
        include_str!("../../../shaders/shared/jobs.wgsl"),
        include_str!("../../../shaders/shared/rows.wgsl"),
        include_str!("../../../shaders/shared/dictionary.wgsl"),
        include_str!("../../../shaders/harvest.wgsl")
    ),
    bindings: &[Binding::Jobs(&HARVEST_JOB), Binding::Shared, Binding::Read],
    lanes: BLOCK_LANES,
};

/// `shaders/transfer.wgsl`.
pub const TRANSFER: Shader = Shader {
    name: "transfer",
    source: concat!(include_str!("../../../shaders/shared/jobs.wgsl"), include_str!("../../../shaders/transfer.wgsl")),
    bindings: &[Binding::Jobs(&TRANSFER_JOB), Binding::Written, Binding::Read],
    lanes: BLOCK_LANES,
};

/// `shaders/mark.wgsl`; what it writes are marks, what it reads is the screen.
pub const MARK: Shader = Shader {
    name: "mark",
    source: concat!(include_str!("../../../shaders/shared/jobs.wgsl"), include_str!("../../../shaders/mark.wgsl")),
    bindings: &[Binding::Jobs(&MARK_JOB), Binding::Written, Binding::Read],
    lanes: BLOCK_LANES,
};

/// `shaders/present.wgsl`, the only one that draws.
pub const PRESENT: Shader = Shader {
    name: "present",
    source: include_str!("../../../shaders/present.wgsl"),
    bindings: &[Binding::Uniform(&SCENE), Binding::Read, Binding::Read],
    lanes: [0, 0],
};

/// The decoding shaders; each has its twin in `codec::stage`.
pub const STAGES: [Shader; 8] = [FILL, UNPACK, RAW, CTX, WAVE, TRANSFER, HARVEST, MARK];

/// Describes a struct by its members.
macro_rules! describe {
    ($type:ident: $($member:ident),+) => {
        Struct {
            name: stringify!($type),
            size: size_of::<$type>(),
            members: &[$((stringify!($member), offset_of!($type, $member), size_of_member(|s: &$type| &s.$member))),+],
        }
    };
}

const FILL_JOB: Struct = describe!(Fill: origin, blocks, color, pad);
const UNPACK_JOB: Struct = describe!(Unpack: origin, blocks, palette, indices, bits, index_max, pad);
const RAW_JOB: Struct = describe!(Raw: origin, blocks, pixels, pad);
const CTX_JOB: Struct = describe!(Ctx: origin, blocks, shape, colors, repeats, streams, lengths, pad);
const WAVE_JOB: Struct = describe!(Wave: origin, blocks, quantiser, base, streams, lengths, pad);
const HARVEST_JOB: Struct = describe!(Harvest: origin, blocks, back, phase, repeats, pad);
const TRANSFER_JOB: Struct = describe!(Transfer: source, destination, size, pad);
const MARK_JOB: Struct = describe!(Mark: origin, size, place, pad);
const SCENE: Struct = describe!(
    Scene: viewport_x, viewport_y, viewport_w, viewport_h, picture_w, picture_h, overlay_w, overlay_h, area, pad, pads
);

// Arrays of jobs have no gaps, and a uniform buffer is made of 16-byte rows.
const _: () = assert!(size_of::<Fill>() == 16 && size_of::<Raw>() == 16 && size_of::<Transfer>() == 16);
const _: () = assert!(size_of::<Mark>() == 16);
const _: () = assert!(
    size_of::<Wave>() == 48
        && size_of::<Ctx>() == 64
        && size_of::<Unpack>() == 32
        && size_of::<Scene>().is_multiple_of(16)
);

const fn size_of_member<S, M>(_: fn(&S) -> &M) -> usize {
    size_of::<M>()
}
