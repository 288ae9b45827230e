//! Target `ctx`; what must hold stands at the function of the same name in `tests/support/fuzz.rs`.

#![no_main]

#[path = "../../tests/support/fuzz.rs"]
mod fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::ctx(data));
