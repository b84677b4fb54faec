//! ChannelData: what is read can be written again.
#![no_main]

use bimcc_rtc::turn::channel_data::{CHANNEL_HEADER_LEN, decode, encode_before};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((number, payload)) = decode(bytes) {
        let end = CHANNEL_HEADER_LEN + payload.len();
        let mut again = [&[0; CHANNEL_HEADER_LEN], payload].concat();
        assert_eq!(encode_before(&mut again, CHANNEL_HEADER_LEN, end, number), Some(0));
        assert_eq!(again, bytes[..end]);
    }
});
