//! Target `gpu_frames`; what must hold stands at the function of the same name in `tests/support/fuzz_gpu.rs`.
//!
//! It decodes on the best adapter that is there, which may be one in software.

#![no_main]

#[path = "../../tests/support/fuzz.rs"]
mod fuzz;
#[path = "../../tests/support/fuzz_gpu.rs"]
mod fuzz_gpu;

use kachel::io::gpu::decode::Decoder;
use kachel::io::gpu::{Gpu, Renderer, choose, instance};
use std::sync::{LazyLock, Mutex};

/// One for all inputs: it takes longer to make than an input does, and a key frame is to forget all that was before.
static DECODER: LazyLock<Mutex<Decoder>> = LazyLock::new(|| {
    let choice = choose(&instance(None), Renderer::Gpu, None).expect("this target needs an adapter that can decode");
    let adapter = choice.adapter.expect("the renderer asked for has one");
    let gpu = Gpu::new(adapter, choice.tier).expect("an adapter that is listed opens");
    eprintln!("decoding on {}", gpu.kind);
    Mutex::new(Decoder::new(&gpu).expect("the shaders compile"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz_gpu::gpu_frames(data, &mut DECODER.lock().expect("a panic ends the fuzzer"));
});
