#![no_main]

#[path = "../../tests/fuzz_targets/message.rs"]
mod message;

libfuzzer_sys::fuzz_target!(|input: &[u8]| message::run(input));
