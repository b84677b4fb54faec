#![no_main]

#[path = "../../tests/fuzz_targets/signaling.rs"]
mod signaling;

libfuzzer_sys::fuzz_target!(|input: &[u8]| signaling::run(input));
