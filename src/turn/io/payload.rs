//! A waiting datagram, with room around it so that it can become a message for a client.

use crate::turn::wire::data::{HEADROOM, TAILROOM};

/// A payload that becomes a message for a client without being moved: it has [`crate::turn::wire::data::HEADROOM`]
/// before it and [`TAILROOM`] behind it. The bytes before it are no longer needed; the bytes behind it are kept.
#[derive(Debug)]
pub(super) struct InPlace<'b> {
    pub(super) buffer: &'b mut [u8],
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The payload of a datagram, with the room that a message made of it needs.
#[derive(Debug)]
pub(super) struct Payload(Vec<u8>);

impl Payload {
    /// A copy of `payload` that uses the memory of `buffer`.
    pub(super) fn copy_of(payload: &[u8], mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.reserve(HEADROOM + payload.len() + TAILROOM);
        buffer.extend_from_slice(&[0; HEADROOM]);
        buffer.extend_from_slice(payload);
        buffer.extend_from_slice(&[0; TAILROOM]);
        Self(buffer)
    }

    /// The length of the payload.
    pub(super) fn len(&self) -> usize {
        self.0.len() - HEADROOM - TAILROOM
    }

    /// The place where it can become a message.
    pub(super) fn in_place(&mut self) -> InPlace<'_> {
        let end = HEADROOM + self.len();
        InPlace { buffer: &mut self.0, start: HEADROOM, end }
    }

    /// Returns the memory, to be used again.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.0
    }
}
