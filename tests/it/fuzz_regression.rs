//! Every input that fuzzing has kept, through the same oracles again: seeds, and whatever once was a crash.
//!
//! How to fuzz: `fuzz/README.md`. A new crash becomes a file in `tests/data/fuzz/TARGET/`.

use crate::fuzz::ORACLES;
use std::fs;
use std::path::Path;

#[test]
fn kept_inputs_hold_all_promises() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz");
    let mut folders: Vec<String> = fs::read_dir(&root)
        .expect("tests/data/fuzz")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    let names: Vec<&str> = ORACLES.iter().map(|(name, _)| *name).collect();
    assert_eq!(folders, names, "left the folders of inputs, right the targets");
    for (name, oracle) in ORACLES {
        let mut count = 0;
        for entry in fs::read_dir(root.join(name)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let data = fs::read(&path).expect("an input");
            // The panic's message does not say which input it was.
            println!("{}", path.display());
            oracle(&data);
            count += 1;
        }
        assert!(count > 0, "{name} has no input");
    }
}

#[test]
fn every_oracle_has_its_fuzz_target() {
    let manifest =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml")).expect("a manifest");
    for (name, _) in ORACLES {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is missing in fuzz/Cargo.toml");
    }
}

#[test]
fn what_cups_sends_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz/ipp_head");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cups-")) {
            let request = fs::read(&path).expect("a request");
            let head = kachel::io::ipp::head(&request).expect("CUPS knows the RFC").expect("all of it");
            assert!(head.length <= request.len() && head.operation().is_some(), "{}", path.display());
            count += 1;
        }
    }
    assert!(count > 0, "there are requests of CUPS");
}
