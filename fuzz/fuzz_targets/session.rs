#![no_main]

#[path = "../../tests/fuzz_targets/session/mod.rs"]
mod session;

libfuzzer_sys::fuzz_target!(|input: &[u8]| session::run(input));
