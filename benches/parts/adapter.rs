//! The GPU at hand: the best adapter that can run the decoding shaders, one in software where there is no other.

use std::time::Duration;

use kachel::codec::canvas::Picture;
use kachel::codec::plan::{Fill, Plan, packed};
use kachel::geom::{Size, TileGrid, TileIndex};
use kachel::io::gpu::decode::Decoder;
use kachel::io::gpu::{self, Gpu, Renderer, Tier};

/// An open adapter that decodes.
pub struct Adapter {
    /// Name, interface and kind, as the driver says.
    pub name: String,
    decoder: Decoder,
}

impl Adapter {
    /// Opens it; none where no adapter can decode. Says why one that is there cannot be used.
    pub fn open() -> Option<Self> {
        let choice = gpu::choose(&gpu::instance(None), Renderer::Gpu, None).ok()?;
        let opened = Gpu::new(choice.adapter?, Tier::Compute).and_then(|gpu| {
            let name = gpu.kind.to_string();
            Ok(Self { name, decoder: Decoder::new(&gpu)? })
        });
        opened.inspect_err(|error| println!("the graphics adapter is left out: {error}")).ok()
    }

    /// From handing over to the last pixel.
    ///
    /// # Panics
    /// If the device fails.
    pub fn decode(&mut self, plans: &[Plan]) {
        plans.iter().for_each(|plan| self.decoder.apply(plan).expect("a sound plan is decoded"));
        self.decoder.wait().expect("the device is there");
    }

    /// The screen's pixels.
    ///
    /// # Panics
    /// If the device fails.
    pub fn picture(&self) -> Picture {
        self.decoder.read_back().expect("the device is there")
    }

    /// The floor below any frame that repaints the screen: every pixel written once, each tile in one colour.
    pub fn floor(&mut self, size: Size, time: impl Fn(&mut dyn FnMut()) -> Duration) -> Duration {
        let grid = TileGrid::new(size);
        let fill = |tile| Fill { origin: packed(grid.origin(tile)), blocks: 0xffff_ffff, color: 0x20_4060, pad: 0 };
        let fills = (0..grid.count()).map(|tile| fill(TileIndex(tile))).collect();
        let plan = [Plan { fills, ..Plan::default() }];
        time(&mut || self.decode(&plan))
    }
}
