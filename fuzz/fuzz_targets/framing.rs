#![no_main]

#[path = "../../tests/fuzz_targets/framing.rs"]
mod framing;

libfuzzer_sys::fuzz_target!(|input: &[u8]| framing::run(input));
