#![no_main]

#[path = "../../tests/fuzz_targets/arrival.rs"]
mod arrival;

libfuzzer_sys::fuzz_target!(|input: &[u8]| arrival::run(input));
