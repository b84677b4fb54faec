//! ChannelData: the 4-byte framing that carries most of a call (RFC 8656 section 12.4).

/// Bytes of the channel header.
pub const CHANNEL_HEADER_LEN: usize = 4;

/// Channel numbers that may be bound.
///
/// RFC 8656 section 12 narrowed the range to 0x4000-0x4FFF so that other protocols can share the socket (RFC 7983). No
/// other protocol shares this socket, and clients of RFC 5766 use the whole range, so the whole range is accepted.
pub const CHANNEL_NUMBERS: std::ops::RangeInclusive<u16> = 0x4000..=0x7FFF;

/// Whether a datagram that begins with this byte is ChannelData and not STUN.
pub fn is_channel_data(first_byte: u8) -> bool {
    first_byte & 0xC0 == 0x40
}

/// Channel number and payload of one datagram. Padding is allowed over UDP, and so are other bytes behind the payload;
/// a length that exceeds the datagram is not (RFC 8656 section 12.6).
pub fn decode(datagram: &[u8]) -> Option<(u16, &[u8])> {
    let (head, rest) = datagram.split_first_chunk::<CHANNEL_HEADER_LEN>()?;
    let number = u16::from_be_bytes([head[0], head[1]]);
    let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if !CHANNEL_NUMBERS.contains(&number) {
        return None;
    }
    Some((number, rest.get(..len)?))
}

/// Writes the channel header before the payload at `buffer[start..end]`; returns where the message begins.
/// `None` if there is no room or the payload is too long for the length field.
pub fn encode_before(buffer: &mut [u8], start: usize, end: usize, number: u16) -> Option<usize> {
    let begin = start.checked_sub(CHANNEL_HEADER_LEN)?;
    let len = u16::try_from(end.checked_sub(start)?).ok()?;
    let head = buffer.get_mut(begin..start)?;
    head[..2].copy_from_slice(&number.to_be_bytes());
    head[2..].copy_from_slice(&len.to_be_bytes());
    Some(begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let mut buffer = *b"....payload!!!!";
        let begin = encode_before(&mut buffer, 4, 11, 0x4001).unwrap();
        assert_eq!(decode(&buffer[begin..]), Some((0x4001, &b"payload"[..])));
    }

    #[test]
    fn lengths_beyond_the_datagram_are_refused() {
        assert_eq!(decode(&[0x40, 0, 0, 2, 1]), None);
        assert_eq!(decode(&[0x40, 0, 0]), None);
        assert_eq!(decode(&[0x40, 0, 0, 0]), Some((0x4000, &[][..])));
        assert_eq!(decode(&[0x80, 0, 0, 0]), None);
    }
}
