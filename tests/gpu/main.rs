//! What needs a graphics adapter, be it one in software: shaders against their twins, whole frames, drawing.
//!
//! Every test runs on each Vulkan and each GL adapter. Where there is none it says so and passes, unless
//! `KACHEL_TEST_GPU=require` is set.

mod frames;
#[path = "../support/fuzz.rs"]
mod fuzz;
#[path = "../support/fuzz_gpu.rs"]
mod fuzz_gpu;
mod fuzz_regression;
mod layout;
mod present;
mod speed;
mod twins;
#[cfg(target_os = "linux")]
mod window;

use kachel::io::gpu::{AdapterKind, Gpu, Tier};

/// A device on each of [`adapters`].
fn gpus(tier: Tier) -> Vec<Gpu> {
    let open = |adapter| Gpu::new(adapter, tier).expect("an adapter that is listed opens");
    adapters(tier).into_iter().map(open).collect()
}

/// All adapters; for the compute tier those that can decode.
fn adapters(tier: Tier) -> Vec<wgpu::Adapter> {
    let instance = kachel::io::gpu::instance(None);
    let mut found = Vec::new();
    for backend in [wgpu::Backends::VULKAN, wgpu::Backends::GL] {
        let before = found.len();
        for adapter in pollster::block_on(instance.enumerate_adapters(backend)) {
            if tier == Tier::Compute && !AdapterKind::of(&adapter).can_decode {
                continue;
            }
            found.push(adapter);
        }
        if found.len() == before {
            let is_required = std::env::var("KACHEL_TEST_GPU").is_ok_and(|v| v == "require");
            assert!(!is_required, "no {backend:?} adapter for {tier:?}, but KACHEL_TEST_GPU=require");
            eprintln!("SKIPPED: no {backend:?} adapter for {tier:?}");
        }
    }
    found
}

/// Numbers that are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) as u32
    }

    /// A number from 0 to `end - 1`.
    fn below(&mut self, end: u32) -> u32 {
        self.next() % end
    }

    fn color(&mut self) -> u32 {
        self.next() & 0x00ff_ffff
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}
