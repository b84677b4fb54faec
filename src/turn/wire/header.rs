//! The header of all STUN messages (RFC 8489 section 5), and the addresses that are XORed with parts of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use stun::message::MAGIC_COOKIE;

/// Length of the fixed STUN header (RFC 8489 section 5).
pub const HEADER_LEN: usize = 20;

/// Attributes with numbers below this are comprehension-required (RFC 8489 section 14).
pub(super) const COMPREHENSION_OPTIONAL: u16 = 0x8000;

/// Correlates a request with its response (RFC 8489 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// The length that the header of a STUN message announces, header included, if these bytes begin like one.
pub fn stun_len(bytes: &[u8]) -> Option<usize> {
    let head: &[u8; HEADER_LEN] = bytes.first_chunk()?;
    let body = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let is_stun = head[0] & 0xC0 == 0 && head[4..8] == MAGIC_COOKIE.to_be_bytes() && body.is_multiple_of(4);
    is_stun.then_some(HEADER_LEN + body)
}

pub(super) fn xor_pad(transaction: &[u8; 12]) -> u128 {
    let mut pad = [0; 16];
    pad[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    pad[4..].copy_from_slice(transaction);
    u128::from_be_bytes(pad)
}

pub(super) fn xor_address(value: &[u8], transaction: &[u8; 12]) -> Option<SocketAddr> {
    let (head, address) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([head[2], head[3]]) ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match head[1] {
        1 => IpAddr::V4(Ipv4Addr::from(u32::from_be_bytes(address.try_into().ok()?) ^ MAGIC_COOKIE)),
        2 => IpAddr::V6(Ipv6Addr::from(u128::from_be_bytes(address.try_into().ok()?) ^ xor_pad(transaction))),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}
