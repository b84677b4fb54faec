//! Framing on streams: what comes out does not depend on how the stream was cut, and no more is kept than one message.
//!
//! The first byte says into how many pieces, the rest is the stream.
#![no_main]

use bimcc_rtc::turn::framing::{Deframer, FramingError, LONGEST_MESSAGE};
use libfuzzer_sys::fuzz_target;

fn deframe(pieces: &[&[u8]], longest: usize) -> (Vec<Vec<u8>>, Option<FramingError>) {
    let mut deframer = Deframer::new();
    let mut messages = Vec::new();
    for piece in pieces {
        let mut bytes = *piece;
        loop {
            match deframer.next_message(&mut bytes, longest) {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(deframer.kept() <= longest + 3);
    }
    (messages, None)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((step, stream)) = bytes.split_first() else {
        return;
    };
    let pieces: Vec<_> = stream.chunks(usize::from(*step).max(1)).collect();
    for longest in [64, LONGEST_MESSAGE] {
        assert_eq!(deframe(&pieces, longest), deframe(&[stream], longest));
    }
});
