//! What must hold for any frames on a graphics adapter; shared by the target `gpu_frames` and `tests/gpu/fuzz_regression`.

#![allow(unreachable_pub, reason = "shared with the fuzz target")]

use crate::fuzz::frames;
use kachel::io::gpu::decode::Decoder;

/// Sound frames of every kind, with damaged payloads, and those of a desktop: after each the adapter has the pixels that the
/// CPU has, and nothing was refused.
pub fn gpu_frames(data: &[u8], decoder: &mut Decoder) {
    frames::play(data, &mut |plan, screen| {
        decoder.apply(plan).expect("a sound plan is decoded");
        let found = decoder.read_back().expect("the screen can be read");
        assert_eq!(found.size, screen.size);
        if let Some(i) = (0..found.pixels.len()).find(|i| found.pixels[*i] != screen.pixels[*i]) {
            let (x, y) = (i % screen.size.w as usize, i / screen.size.w as usize);
            panic!("pixel {x},{y} is {:06x} on the adapter, {:06x} on the CPU", found.pixels[i], screen.pixels[i]);
        }
    });
}
