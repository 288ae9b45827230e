//! The picture on the CPU: a screen of pixels that plans are applied to, with the cache and the copies' scratch.
//!
//! The decoder of machines without a GPU, the oracle for the shaders, and the host's own copy of what a viewer holds.

use crate::codec::ctx::dictionary::Dictionary;
use crate::codec::ctx::model;
use crate::codec::plan::{CACHE_SIZE, Plan, Round};
use crate::codec::stage::{ctx, fill, harvest, raw, transfer, unpack, wave};
use crate::geom::Size;

/// Pixels in rows without gaps, each 0x00RRGGBB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Width and height.
    pub size: Size,
    /// `size.w * size.h` pixels in row order.
    pub pixels: Vec<u32>,
}

/// A screen that frames are applied to.
#[derive(Clone, Debug, Default)]
pub struct Canvas {
    /// What is shown.
    pub screen: Picture,
    /// The tile cache; no memory before the first STORE.
    cache: Picture,
    scratch: Picture,
    dictionary: Dictionary,
    /// Memory for entropy-coded tiles.
    walk: model::Canvas,
}

impl Picture {
    /// A black picture.
    pub fn new(size: Size) -> Self {
        Self { size, pixels: vec![0; size.area() as usize] }
    }

    /// Makes it a black one of this size, in the same memory if that fits.
    fn reset(&mut self, size: Size) {
        self.pixels.clear();
        self.pixels.resize(size.area() as usize, 0);
        self.pixels.shrink_to_fit();
        self.size = size;
    }

    /// One row of pixels.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, y: u32) -> &[u32] {
        let w = self.size.w as usize;
        &self.pixels[y as usize * w..][..w]
    }
}

impl Canvas {
    /// A canvas without a screen; the first key frame gives it one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a plan's jobs, the stages in order.
    ///
    /// # Panics
    /// If the plan was made for a screen of another size.
    pub fn apply(&mut self, plan: &Plan) {
        if let Some(size) = plan.key {
            self.screen.reset(size);
            self.cache = Picture::default();
            self.scratch = Picture::default();
            self.dictionary.forget();
        }
        if !plan.stores.is_empty() {
            self.reserve_cache();
            transfer::run(&plan.stores, &self.screen, &mut self.cache);
        }
        let outward = plan.outward();
        if !outward.is_empty() {
            if self.scratch.size != self.screen.size {
                self.scratch = Picture::new(self.screen.size);
            }
            transfer::run(&outward, &self.screen, &mut self.scratch);
        }
        if !plan.uncovers.is_empty() {
            self.reserve_cache();
            transfer::run(&plan.uncovers, &self.cache, &mut self.screen);
        }
        transfer::run(&plan.copies, &self.scratch, &mut self.screen);
        if !plan.recalls.is_empty() {
            self.reserve_cache();
            transfer::run(&plan.recalls, &self.cache, &mut self.screen);
        }
        fill::run(&plan.fills, &mut self.screen);
        unpack::run(&plan.unpacks, &plan.bytes, &mut self.screen);
        raw::run(&plan.raws, &plan.bytes, &mut self.screen);
        wave::run(&plan.waves, &plan.bytes, &mut self.screen);
        let mut done = Round::default();
        for round in &plan.rounds {
            ctx::run(
                &plan.ctxs[done.ctxs..round.ctxs],
                &plan.bytes,
                &self.dictionary,
                &mut self.walk,
                &mut self.screen,
            );
            let harvests = &plan.harvests[done.harvests..round.harvests];
            harvest::run(harvests, &self.screen, &mut self.walk, &mut self.dictionary);
            done = *round;
        }
        ctx::run(&plan.ctxs[done.ctxs..], &plan.bytes, &self.dictionary, &mut self.walk, &mut self.screen);
        if !plan.amends.is_empty() {
            self.reserve_cache();
            transfer::run(&plan.amends, &self.screen, &mut self.cache);
            transfer::run(&plan.restored(), &self.scratch, &mut self.screen);
        }
    }

    fn reserve_cache(&mut self) {
        if self.cache.size != CACHE_SIZE {
            self.cache = Picture::new(CACHE_SIZE);
        }
    }
}
