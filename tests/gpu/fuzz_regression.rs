//! Every input that fuzzing has kept for whole frames, on each adapter; `tests/it/fuzz_regression` has them on the CPU.

use crate::fuzz_gpu::gpu_frames;
use crate::gpus;
use kachel::io::gpu::Tier;
use kachel::io::gpu::decode::Decoder;
use std::fs;
use std::path::Path;

#[test]
fn kept_frames_decode_alike_on_the_gpu() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz/frames");
    for gpu in gpus(Tier::Compute) {
        let mut decoder = Decoder::new(&gpu).expect("the shaders compile");
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            // The panic's message does not say which input it was.
            println!("{} on {}", path.display(), gpu.kind);
            gpu_frames(&fs::read(&path).expect("an input"), &mut decoder);
        }
    }
}
