//! Send and Data indications, which carry the data of a call where ChannelData does not. They are read and written in
//! place, without allocating. (Data indications that carry an ICMP error are rare, and allocate.)
//!
//! RFC 8656 section 11.

use std::net::{IpAddr, SocketAddr};

use stun::{
    attributes::{
        ATTR_DATA, ATTR_DONT_FRAGMENT, ATTR_MESSAGE_INTEGRITY, ATTR_MESSAGE_INTEGRITY_SHA256, ATTR_NONCE, ATTR_REALM,
        ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS, AttrType,
    },
    message::{CLASS_INDICATION, MAGIC_COOKIE, METHOD_DATA, Message, MessageType},
    xoraddr::XorMappedAddress,
};

use crate::turn::wire::header::{COMPREHENSION_OPTIONAL, HEADER_LEN, TransactionId, stun_len, xor_address, xor_pad};

/// The bytes before a payload that are needed to turn it into a Data indication: header, an IPv6 XOR-PEER-ADDRESS and
/// the header of DATA. A channel header needs 4 of them.
pub const HEADROOM: usize = HEADER_LEN + 24 + 4;

/// The bytes behind a payload that the padding of DATA may need.
pub const TAILROOM: usize = 3;

const TYPE_SEND_INDICATION: u16 = 0x0016;
const TYPE_DATA_INDICATION: u16 = 0x0017;

const ATTR_ICMP: AttrType = AttrType(0x8004);

/// What an ICMP message says about a datagram that a client sent to a peer (RFC 8656 section 18.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// The type: of ICMPv6 if the peer has an IPv6 address, else of ICMP.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// The MTU of the next hop if the datagram was too big, else 0.
    pub data: u32,
}

/// A Send indication, borrowed from its datagram (RFC 8656 section 11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendIndication<'a> {
    /// XOR-PEER-ADDRESS.
    pub peer: SocketAddr,
    /// DATA.
    pub payload: &'a [u8],
    /// Whether DONT-FRAGMENT is present.
    pub dont_fragment: bool,
}

/// Whether the bytes begin like a Send indication. [`SendIndication::decode`] checks whether they are one.
pub fn is_send_indication(bytes: &[u8]) -> bool {
    bytes.starts_with(&TYPE_SEND_INDICATION.to_be_bytes())
}

impl<'a> SendIndication<'a> {
    /// Reads a Send indication without allocating. `None` if it is malformed, lacks an attribute or has an unknown
    /// attribute that is comprehension-required; then it must be dropped (RFC 8656 section 11.2).
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        if !is_send_indication(bytes) || stun_len(bytes)? != bytes.len() {
            return None;
        }
        let transaction: &[u8; 12] = bytes[8..HEADER_LEN].try_into().ok()?;
        let (mut peer, mut payload, mut dont_fragment) = (None, None, false);
        let mut rest = &bytes[HEADER_LEN..];
        while !rest.is_empty() {
            let (head, tail) = rest.split_first_chunk::<4>()?;
            let kind = AttrType(u16::from_be_bytes([head[0], head[1]]));
            let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let value = tail.get(..len)?;
            rest = tail.get(len.next_multiple_of(4)..)?;
            match kind {
                ATTR_XOR_PEER_ADDRESS if peer.is_none() => peer = Some(xor_address(value, transaction)?),
                ATTR_DATA if payload.is_none() => payload = Some(value),
                ATTR_DONT_FRAGMENT => dont_fragment = true,
                ATTR_XOR_PEER_ADDRESS
                | ATTR_DATA
                | ATTR_MESSAGE_INTEGRITY
                | ATTR_MESSAGE_INTEGRITY_SHA256
                | ATTR_USERNAME
                | ATTR_REALM
                | ATTR_NONCE => {}
                other if other.value() < COMPREHENSION_OPTIONAL => return None,
                _ => {}
            }
        }
        Some(Self { peer: peer?, payload: payload?, dont_fragment })
    }
}

/// Turns the payload at `buffer[start..end]` into a Data indication from `peer`, in place (RFC 8656 section 11.3).
/// Returns where the indication begins and ends. The buffer needs [`HEADROOM`] before and [`TAILROOM`] behind the
/// payload; without them the result is `None`.
pub fn write_data_indication(
    buffer: &mut [u8],
    start: usize,
    end: usize,
    peer: SocketAddr,
    transaction: TransactionId,
) -> Option<(usize, usize)> {
    let len = end.checked_sub(start)?;
    let padded = len.next_multiple_of(4);
    let address_len = if peer.is_ipv4() { 8 } else { 20 };
    let body = 4 + address_len + 4 + padded;
    let begin = start.checked_sub(HEADER_LEN + 4 + address_len + 4)?;
    buffer.get_mut(end..start + padded)?.fill(0);
    let head = &mut buffer[begin..start];
    head[0..2].copy_from_slice(&TYPE_DATA_INDICATION.to_be_bytes());
    head[2..4].copy_from_slice(&u16::try_from(body).ok()?.to_be_bytes());
    head[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    head[8..20].copy_from_slice(&transaction.0);
    head[20..22].copy_from_slice(&ATTR_XOR_PEER_ADDRESS.value().to_be_bytes());
    head[22..24].copy_from_slice(&(address_len as u16).to_be_bytes());
    head[24] = 0;
    head[25] = if peer.is_ipv4() { 1 } else { 2 };
    head[26..28].copy_from_slice(&(peer.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes());
    match peer.ip() {
        IpAddr::V4(ip) => head[28..32].copy_from_slice(&(u32::from(ip) ^ MAGIC_COOKIE).to_be_bytes()),
        IpAddr::V6(ip) => head[28..44].copy_from_slice(&(u128::from(ip) ^ xor_pad(&transaction.0)).to_be_bytes()),
    }
    let data = 24 + address_len;
    head[data..data + 2].copy_from_slice(&ATTR_DATA.value().to_be_bytes());
    head[data + 2..data + 4].copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
    Some((begin, start + padded))
}

/// A Data indication that reports an ICMP error about a datagram to `peer` (RFC 8656 section 11.5).
pub fn icmp_indication(peer: SocketAddr, error: IcmpError, transaction: TransactionId) -> Vec<u8> {
    let mut message = Message::new();
    message.typ = MessageType { method: METHOD_DATA, class: CLASS_INDICATION };
    message.transaction_id.0 = transaction.0;
    message.write_header();
    // Never fails for a typed address.
    let _ = XorMappedAddress { ip: peer.ip(), port: peer.port() }.add_to_as(&mut message, ATTR_XOR_PEER_ADDRESS);
    // 16 reserved bits, 7 of the type, 9 of the code.
    let [high, low] = (u16::from(error.kind) << 9 | u16::from(error.code)).to_be_bytes();
    let [a, b, c, d] = error.data.to_be_bytes();
    message.add(ATTR_ICMP, &[0, 0, high, low, a, b, c, d]);
    message.raw
}
