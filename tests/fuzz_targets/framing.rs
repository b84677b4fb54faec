//! A stream of STUN messages and ChannelData: what comes out does not depend on how the stream was cut, nothing is lost or
//! made up, and no more is kept than one message.
//!
//! The first byte says how many of the next bytes are lengths of pieces (repeated until everything is cut); the rest is
//! the stream.

use bimcc_rtc::turn::wire::framing::{Deframer, FramingError, LONGEST_MESSAGE, frame};

pub fn run(input: &[u8]) {
    let Some((count, rest)) = input.split_first() else {
        return;
    };
    let (lengths, stream) = rest.split_at(rest.len().min(usize::from(count % 16)));
    let pieces = cut(stream, lengths);
    for longest in [64, LONGEST_MESSAGE] {
        let whole = deframe(&[stream], longest);
        assert_eq!(deframe(&pieces, longest), whole);
        let singles: Vec<_> = stream.chunks(1).collect();
        assert_eq!(deframe(&singles, longest), whole);
        is_what_came(&whole, stream, longest);
    }
}

fn cut<'a>(mut stream: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let mut lengths = lengths.iter().map(|len| usize::from(*len).max(1)).collect::<Vec<_>>().into_iter().cycle();
    let mut pieces = Vec::new();
    while !stream.is_empty() {
        let (piece, rest) = stream.split_at(lengths.next().unwrap_or(stream.len()).min(stream.len()));
        pieces.push(piece);
        stream = rest;
    }
    pieces
}

/// The messages, and what was kept or went wrong at the end.
type Deframed = (Vec<Vec<u8>>, Result<usize, FramingError>);

fn deframe(pieces: &[&[u8]], longest: usize) -> Deframed {
    let mut deframer = Deframer::new();
    let mut messages = Vec::new();
    for piece in pieces {
        let mut bytes = *piece;
        loop {
            match deframer.next_message(&mut bytes, longest) {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break,
                Err(error) => return (messages, Err(error)),
            }
        }
        assert!(bytes.is_empty(), "all is used when nothing more comes out");
        assert!(deframer.kept() <= longest + 3);
    }
    (messages, Ok(deframer.kept()))
}

/// Checks that the messages, framed again, are the stream, except for its end and the content of the padding.
fn is_what_came((messages, end): &Deframed, stream: &[u8], longest: usize) {
    let mut at = 0;
    for message in messages {
        assert!(message.len() <= longest);
        assert_eq!(stream[at..at + message.len()], message[..]);
        let mut framed = Vec::new();
        frame(message, &mut framed);
        assert_eq!((framed.len(), &framed[..message.len()]), (message.len().next_multiple_of(4), &message[..]));
        at += framed.len();
    }
    match (end, &stream[at..]) {
        (Ok(kept), rest) => assert_eq!(rest.len(), *kept),
        (Err(FramingError::NotTurn), [first, ..]) => {
            assert!(first & 0xC0 != 0x40, "ChannelData can be long, not wrong")
        }
        (Err(FramingError::TooLong), [_, _, high, low, ..]) => {
            assert!(usize::from(u16::from_be_bytes([*high, *low])) + 20 > longest);
        }
        (Err(error), rest) => panic!("{error} after {at} bytes, before {rest:?}"),
    }
}
