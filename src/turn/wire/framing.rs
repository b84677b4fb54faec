//! Where one message ends and the next begins on a TCP or TLS connection (RFC 8656 sections 3.1 and 12.5).
//!
//! STUN messages announce their length, which is a multiple of 4. ChannelData does too, and is padded to a multiple of
//! 4 on streams. Bytes that begin like neither cannot be skipped, because nothing says where they end, so the
//! connection must be closed.
//!
//! Sans-IO. Bytes come in pieces as the network has cut them. A [`Deframer`] keeps only the bytes of a message that is
//! not complete yet, and never more than the longest message that the caller accepts.

use crate::turn::wire::{
    channel_data::{CHANNEL_HEADER_LEN, is_channel_data},
    header::{HEADER_LEN, stun_len},
};

/// The longest possible message: a STUN header and the largest length that its length field can announce.
pub const LONGEST_MESSAGE: usize = HEADER_LEN + 0xFFFC;

/// A buffer that grew beyond this size is freed after its message was taken.
const KEPT_CAPACITY: usize = 4096;

/// Why no message can be found in a stream any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The bytes begin neither like a STUN message nor like ChannelData.
    #[error("neither STUN nor ChannelData")]
    NotTurn,
    /// The message announces more bytes than the caller accepts.
    #[error("a message that is too long")]
    TooLong,
}

/// What the first bytes of a message say about its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measured {
    /// This many bytes are needed to know the length.
    Needs(usize),
    /// The length is known, and so is the length with padding.
    Whole { len: usize, padded: usize },
}

fn measure(bytes: &[u8]) -> Result<Measured, FramingError> {
    let Some(first) = bytes.first() else {
        return Ok(Measured::Needs(1));
    };
    if is_channel_data(*first) {
        return Ok(match bytes.first_chunk::<CHANNEL_HEADER_LEN>() {
            None => Measured::Needs(CHANNEL_HEADER_LEN),
            Some(head) => {
                let len = CHANNEL_HEADER_LEN + usize::from(u16::from_be_bytes([head[2], head[3]]));
                Measured::Whole { len, padded: len.next_multiple_of(4) }
            }
        });
    }
    if *first & 0xC0 != 0 {
        return Err(FramingError::NotTurn);
    }
    if bytes.len() < HEADER_LEN {
        return Ok(Measured::Needs(HEADER_LEN));
    }
    let len = stun_len(bytes).ok_or(FramingError::NotTurn)?;
    Ok(Measured::Whole { len, padded: len })
}

/// Assembles the messages of one connection. See the module's header.
#[derive(Debug, Default)]
pub struct Deframer {
    /// The beginning of a message, or all of it if `is_taken`.
    partial: Vec<u8>,
    /// Whether the message in `partial` was returned to the caller.
    is_taken: bool,
}

impl Deframer {
    /// A deframer at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next complete message (without padding), where `bytes` are the next bytes of the stream. Removes the bytes
    /// that it has used from the front of `bytes`; when it returns `None` it has used all of them.
    ///
    /// # Errors
    /// [`FramingError`]. A message of more than `longest` bytes is refused as soon as it announces its length.
    pub fn next_message<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
        longest: usize,
    ) -> Result<Option<&'a [u8]>, FramingError> {
        if self.is_taken {
            self.is_taken = false;
            self.partial.clear();
            self.partial.shrink_to(KEPT_CAPACITY);
        }
        if self.partial.is_empty()
            && let Measured::Whole { len, padded } = measure(bytes)?
            && padded <= bytes.len()
            && len <= longest
        {
            // The usual case: nothing is copied.
            let (message, rest) = bytes.split_at(padded);
            *bytes = rest;
            return Ok(Some(&message[..len]));
        }
        loop {
            let wanted = match measure(&self.partial)? {
                Measured::Needs(wanted) => wanted,
                Measured::Whole { len, .. } if len > longest => return Err(FramingError::TooLong),
                Measured::Whole { len, padded } if self.partial.len() == padded => {
                    self.is_taken = true;
                    return Ok(Some(&self.partial[..len]));
                }
                Measured::Whole { padded, .. } => padded,
            };
            let (now, rest) = bytes.split_at(bytes.len().min(wanted - self.partial.len()));
            if now.is_empty() {
                return Ok(None);
            }
            self.partial.extend_from_slice(now);
            *bytes = rest;
        }
    }

    /// How many bytes are kept of a message that is not complete.
    pub fn kept(&self) -> usize {
        if self.is_taken { 0 } else { self.partial.len() }
    }
}

/// Appends `message` to `out`, padded as it must be on a stream.
pub fn frame(message: &[u8], out: &mut Vec<u8>) {
    let padding = message.len().next_multiple_of(4) - message.len();
    out.extend_from_slice(message);
    out.extend_from_slice(&[0; 3][..padding]);
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    /// All messages that come out when a stream is cut at `cuts`, and the error at its end.
    fn deframe(stream: &[u8], cuts: &[usize], longest: usize) -> (Vec<Vec<u8>>, Option<FramingError>) {
        let mut deframer = Deframer::new();
        let mut messages = Vec::new();
        let mut cuts: Vec<_> = cuts.iter().copied().chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        for piece in cuts.windows(2) {
            let mut bytes = &stream[piece[0]..piece[1]];
            loop {
                match deframer.next_message(&mut bytes, longest) {
                    Ok(Some(message)) => messages.push(message.to_vec()),
                    Ok(None) => break,
                    Err(error) => return (messages, Some(error)),
                }
            }
            assert!(bytes.is_empty(), "all is used");
            assert!(deframer.kept() <= longest + 3, "{} bytes are kept", deframer.kept());
        }
        (messages, None)
    }

    fn stun(kind: u16, body: &[u8]) -> Vec<u8> {
        assert!(body.len().is_multiple_of(4));
        let len = (body.len() as u16).to_be_bytes();
        [&kind.to_be_bytes()[..], &len, &[0x21, 0x12, 0xA4, 0x42], &[7; 12], body].concat()
    }

    fn channel(number: u16, payload: &[u8]) -> Vec<u8> {
        [&number.to_be_bytes()[..], &(payload.len() as u16).to_be_bytes(), payload].concat()
    }

    fn any_message() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            (0..0x4000_u16, vec(any::<[u8; 4]>(), 0..30)).prop_map(|(kind, body)| stun(kind, body.as_flattened())),
            (0x4000..0x8000_u16, vec(any::<u8>(), 0..120)).prop_map(|(number, data)| channel(number, &data)),
        ]
    }

    proptest! {
        #[test]
        fn rfc8656_12_5_messages_come_out_as_they_went_in(
            messages in vec(any_message(), 0..12),
            cuts in vec(any::<Index>(), 0..24),
        ) {
            let mut stream = Vec::new();
            messages.iter().for_each(|message| frame(message, &mut stream));
            prop_assert!(stream.len().is_multiple_of(4));
            let cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            prop_assert_eq!(deframe(&stream, &cuts, LONGEST_MESSAGE), (messages, None));
        }

        #[test]
        fn how_a_stream_is_cut_makes_no_difference(
            stream in vec(prop_oneof![3 => 0..0x50_u8, 1 => any::<u8>()], 0..400),
            cuts in vec(any::<Index>(), 0..12),
            longest in 20..200_usize,
        ) {
            let cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            let every_byte: Vec<_> = (0..stream.len()).collect();
            let whole = deframe(&stream, &[], longest);
            prop_assert_eq!(&deframe(&stream, &cuts, longest), &whole);
            prop_assert_eq!(&deframe(&stream, &every_byte, longest), &whole);
        }
    }

    #[test]
    fn the_longest_messages_pass() {
        let data = channel(0x7FFF, &[1; 0xFFFF]);
        let message = stun(0x0016, &vec![2; 0xFFFC]);
        let mut stream = Vec::new();
        frame(&data, &mut stream);
        frame(&message, &mut stream);
        assert_eq!(message.len(), LONGEST_MESSAGE);
        let cuts: Vec<_> = (0..stream.len()).step_by(1000).collect();
        assert_eq!(deframe(&stream, &cuts, LONGEST_MESSAGE), (vec![data, message], None));
    }

    #[test]
    fn what_is_neither_ends_the_stream_at_once() {
        for first in [0x80, 0xC0, 0xFF] {
            assert_eq!(deframe(&[first], &[], 100).1, Some(FramingError::NotTurn));
        }
        let mut wrong_cookie = stun(1, &[]);
        wrong_cookie[4] ^= 1;
        assert_eq!(deframe(&wrong_cookie, &[], 100).1, Some(FramingError::NotTurn));
        let mut odd_length = stun(1, &[]);
        odd_length[3] = 2;
        assert_eq!(deframe(&odd_length, &[], 100).1, Some(FramingError::NotTurn));
        let first_is_good = [channel(0x4000, b"data"), vec![0xFF]].concat();
        assert_eq!(deframe(&first_is_good, &[], 100), (vec![channel(0x4000, b"data")], Some(FramingError::NotTurn)));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_by_its_header() {
        let long = stun(1, &[0; 84]);
        assert_eq!(deframe(&long[..20], &[], 103), (vec![], Some(FramingError::TooLong)));
        assert_eq!(deframe(&long, &[], 103), (vec![], Some(FramingError::TooLong)));
        assert_eq!(deframe(&long, &[], 104).0, [long]);
        assert_eq!(deframe(&[0x40, 0, 0xFF, 0xFF], &[], 100).1, Some(FramingError::TooLong));
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let mut deframer = Deframer::new();
        let data = channel(0x4000, &[0; 60_000]);
        for piece in data.chunks(1000) {
            let mut bytes = piece;
            while deframer.next_message(&mut bytes, LONGEST_MESSAGE).unwrap().is_some() {}
        }
        assert_eq!(deframer.kept(), 0);
        assert!(deframer.partial.capacity() <= KEPT_CAPACITY);
    }
}
