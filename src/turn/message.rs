//! Bytes to typed STUN/TURN requests and back. The only file that knows the `stun` and `turn` crates.
//!
//! Two speeds. Requests and responses (rare, authenticated) go through `stun::message::Message`. What a call is made of
//! (ChannelData is in [`super::channel_data`]; Send and Data indications are here) is read and written in place, without
//! allocating. Nothing here decides anything: refusals are made in [`super::session`].
//!
//! RFC 8489 sections 5, 6 and 14; RFC 8656 section 18.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use stun::{
    attributes::{
        ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_DONT_FRAGMENT, ATTR_ERROR_CODE, ATTR_EVEN_PORT, ATTR_FINGERPRINT,
        ATTR_LIFETIME, ATTR_MAPPED_ADDRESS, ATTR_MESSAGE_INTEGRITY, ATTR_NONCE, ATTR_REALM,
        ATTR_REQUESTED_ADDRESS_FAMILY, ATTR_REQUESTED_TRANSPORT, ATTR_SOFTWARE, ATTR_UNKNOWN_ATTRIBUTES, ATTR_USERNAME,
        ATTR_XOR_PEER_ADDRESS, ATTR_XOR_RELAYED_ADDRESS, ATTR_XORMAPPED_ADDRESS, AttrType,
    },
    error_code::{ErrorCode, ErrorCodeAttribute},
    fingerprint::FINGERPRINT,
    integrity::MessageIntegrity,
    message::{
        CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, MAGIC_COOKIE, METHOD_ALLOCATE,
        METHOD_BINDING, METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_REFRESH, METHOD_SEND, Message,
        MessageType, Setter,
    },
    xoraddr::XorMappedAddress,
};

use crate::metrics::TurnMethod;

/// Length of the fixed STUN header (RFC 8489 section 5).
pub const HEADER_LEN: usize = 20;

/// The shortest message that can be a legal Allocate: a header and REQUESTED-TRANSPORT.
pub const SHORTEST_ALLOCATE: usize = HEADER_LEN + 8;

const FINGERPRINT_LEN: usize = 8;

/// The longest request that is read. The longest that makes sense permits 256 IPv6 peers and has a long username; a
/// stranger must not have us take apart the 16,000 attributes that fit into a datagram.
pub const LONGEST_REQUEST: usize = 8192;

/// Bytes before a payload that turning it into a Data indication may need: header, an IPv6 XOR-PEER-ADDRESS and the
/// header of DATA. A channel header needs 4 of them.
pub const HEADROOM: usize = HEADER_LEN + 24 + 4;

/// Bytes behind a payload that padding DATA may need.
pub const TAILROOM: usize = 3;

const TYPE_SEND_INDICATION: u16 = 0x0016;
const TYPE_DATA_INDICATION: u16 = 0x0017;

/// Attributes below this are comprehension-required (RFC 8489 section 14).
const COMPREHENSION_OPTIONAL: u16 = 0x8000;

/// Correlates a request with its response (RFC 8489 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// An address family that a client can ask for (RFC 8656 section 18.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// 0x01
    V4,
    /// 0x02
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// The attribute is there but does not have the form its type says: answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed attribute")]
pub struct MalformedAttribute;

/// The bytes are no request of ours: dropped without an answer (RFC 8489 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARequest {
    /// Broken STUN: lengths, cookie or FINGERPRINT are wrong.
    #[error("malformed STUN message")]
    Malformed,
    /// A response, or an indication that has no meaning for a server.
    #[error("not a request")]
    OtherClass,
}

/// A well-formed STUN request. Attributes behind MESSAGE-INTEGRITY are not visible (RFC 8489 section 14.5).
#[derive(Debug)]
pub struct Request {
    message: Message,
    method: TurnMethod,
    /// How many attributes count: those before MESSAGE-INTEGRITY.
    visible: usize,
    has_integrity: bool,
    has_fingerprint: bool,
}

impl Request {
    /// Reads one datagram (or one message of a stream), which must be exactly one STUN message.
    ///
    /// # Errors
    /// [`NotARequest`]: nothing must be answered.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotARequest> {
        if stun_len(bytes) != Some(bytes.len()) || bytes.len() > LONGEST_REQUEST {
            return Err(NotARequest::Malformed);
        }
        let mut message = Message::default();
        message.unmarshal_binary(bytes).map_err(|_| NotARequest::Malformed)?;
        if message.typ.class != CLASS_REQUEST {
            return Err(NotARequest::OtherClass);
        }
        let method = match message.typ.method {
            METHOD_BINDING => TurnMethod::Binding,
            METHOD_ALLOCATE => TurnMethod::Allocate,
            METHOD_REFRESH => TurnMethod::Refresh,
            METHOD_CREATE_PERMISSION => TurnMethod::CreatePermission,
            METHOD_CHANNEL_BIND => TurnMethod::ChannelBind,
            _ => TurnMethod::Other,
        };
        let attributes = &message.attributes.0;
        let fingerprint = attributes.iter().position(|a| a.typ == ATTR_FINGERPRINT);
        if let Some(position) = fingerprint {
            let is_last = position + 1 == attributes.len();
            if !is_last || FINGERPRINT.check(&message).is_err() {
                return Err(NotARequest::Malformed);
            }
        }
        let integrity = attributes.iter().position(|a| a.typ == ATTR_MESSAGE_INTEGRITY);
        if integrity.is_some_and(|i| attributes[i].value.len() != 20) {
            return Err(NotARequest::Malformed);
        }
        let visible = integrity.or(fingerprint).unwrap_or(attributes.len());
        Ok(Self {
            method,
            visible,
            has_integrity: integrity.is_some(),
            has_fingerprint: fingerprint.is_some(),
            message,
        })
    }

    /// Which method is asked for.
    pub fn method(&self) -> TurnMethod {
        self.method
    }

    /// The request's transaction id.
    pub fn transaction_id(&self) -> TransactionId {
        TransactionId(self.message.transaction_id.0)
    }

    /// Whether it is as long as the shortest legal Allocate. FINGERPRINT does not count: the answer has one too.
    pub fn may_be_an_allocate(&self) -> bool {
        let fingerprint = if self.has_fingerprint { FINGERPRINT_LEN } else { 0 };
        self.message.raw.len() >= SHORTEST_ALLOCATE + fingerprint
    }

    /// Whether MESSAGE-INTEGRITY is there (not whether it is right).
    pub fn has_integrity(&self) -> bool {
        self.has_integrity
    }

    /// Whether MESSAGE-INTEGRITY was made with `key`. Compared in constant time.
    pub fn integrity_is(&mut self, key: &[u8; 16]) -> bool {
        self.has_integrity && MessageIntegrity(key.to_vec()).check(&mut self.message).is_ok()
    }

    /// USERNAME, if it is there and UTF-8.
    pub fn username(&self) -> Option<&str> {
        self.text(ATTR_USERNAME)
    }

    /// REALM, if it is there and UTF-8.
    pub fn realm(&self) -> Option<&str> {
        self.text(ATTR_REALM)
    }

    /// NONCE, if it is there.
    pub fn nonce(&self) -> Option<&[u8]> {
        self.value(ATTR_NONCE)
    }

    /// The protocol number of REQUESTED-TRANSPORT.
    ///
    /// # Errors
    /// If the attribute's length is wrong.
    pub fn requested_transport(&self) -> Result<Option<u8>, MalformedAttribute> {
        Ok(self.fixed::<4>(ATTR_REQUESTED_TRANSPORT)?.map(|value| value[0]))
    }

    /// LIFETIME in seconds.
    ///
    /// # Errors
    /// If the attribute's length is wrong.
    pub fn lifetime(&self) -> Result<Option<u32>, MalformedAttribute> {
        Ok(self.fixed(ATTR_LIFETIME)?.map(u32::from_be_bytes))
    }

    /// REQUESTED-ADDRESS-FAMILY: the outer `None` if absent, the inner one if it names no family we know.
    ///
    /// # Errors
    /// If the attribute's length is wrong.
    pub fn requested_family(&self) -> Result<Option<Option<Family>>, MalformedAttribute> {
        Ok(self.fixed::<4>(ATTR_REQUESTED_ADDRESS_FAMILY)?.map(|value| match value[0] {
            1 => Some(Family::V4),
            2 => Some(Family::V6),
            _ => None,
        }))
    }

    /// Whether EVEN-PORT is there.
    ///
    /// # Errors
    /// If the attribute's length is wrong.
    pub fn even_port(&self) -> Result<bool, MalformedAttribute> {
        Ok(self.fixed::<1>(ATTR_EVEN_PORT)?.is_some())
    }

    /// CHANNEL-NUMBER.
    ///
    /// # Errors
    /// If the attribute's length is wrong.
    pub fn channel_number(&self) -> Result<Option<u16>, MalformedAttribute> {
        Ok(self.fixed::<4>(ATTR_CHANNEL_NUMBER)?.map(|value| u16::from_be_bytes([value[0], value[1]])))
    }

    /// Every XOR-PEER-ADDRESS, in order.
    pub fn peers(&self) -> impl Iterator<Item = Result<SocketAddr, MalformedAttribute>> {
        let transaction = &self.message.transaction_id.0;
        self.visible()
            .filter(|a| a.typ == ATTR_XOR_PEER_ADDRESS)
            .map(|a| xor_address(&a.value, transaction).ok_or(MalformedAttribute))
    }

    /// Comprehension-required attributes that this server does not know, each once (RFC 8489 section 6.3.1).
    pub fn unknown_attributes(&self) -> Vec<u16> {
        // Those that belong into responses are known as well: unexpected, and so ignored.
        const KNOWN: [AttrType; 16] = [
            ATTR_MAPPED_ADDRESS,
            ATTR_USERNAME,
            ATTR_MESSAGE_INTEGRITY,
            ATTR_ERROR_CODE,
            ATTR_UNKNOWN_ATTRIBUTES,
            ATTR_REALM,
            ATTR_NONCE,
            ATTR_XOR_RELAYED_ADDRESS,
            // The decoder also takes the optional 0x8020 of old drafts for this one.
            ATTR_XORMAPPED_ADDRESS,
            ATTR_CHANNEL_NUMBER,
            ATTR_LIFETIME,
            ATTR_XOR_PEER_ADDRESS,
            ATTR_DATA,
            ATTR_REQUESTED_ADDRESS_FAMILY,
            ATTR_REQUESTED_TRANSPORT,
            ATTR_DONT_FRAGMENT,
        ];
        let mut unknown = Vec::new();
        let mut listed = HashSet::new();
        for attribute in self.visible() {
            let number = attribute.typ.value();
            let is_required = number < COMPREHENSION_OPTIONAL;
            // EVEN-PORT is known but for its R bit, which asks to reserve the next port as well.
            let is_even_port = attribute.typ == ATTR_EVEN_PORT && attribute.value.first().is_none_or(|r| r & 0x80 == 0);
            let is_known = is_even_port || KNOWN.contains(&attribute.typ);
            if is_required && !is_known && listed.insert(number) {
                unknown.push(number);
            }
        }
        unknown
    }

    fn visible(&self) -> impl Iterator<Item = &stun::attributes::RawAttribute> {
        self.message.attributes.0[..self.visible].iter()
    }

    fn value(&self, wanted: AttrType) -> Option<&[u8]> {
        self.visible().find(|a| a.typ == wanted).map(|a| &a.value[..])
    }

    fn text(&self, wanted: AttrType) -> Option<&str> {
        str::from_utf8(self.value(wanted)?).ok()
    }

    fn fixed<const N: usize>(&self, wanted: AttrType) -> Result<Option<[u8; N]>, MalformedAttribute> {
        self.value(wanted).map(|value| value.try_into().map_err(|_| MalformedAttribute)).transpose()
    }
}

/// A response in the making. Call [`Self::finish`] last.
#[derive(Debug)]
pub struct Response {
    message: Message,
    fingerprint: bool,
}

impl Response {
    /// A success response to `request`.
    pub fn success(request: &Request) -> Self {
        Self::new(request, CLASS_SUCCESS_RESPONSE)
    }

    /// An error response to `request`, with the reason phrase of the code (RFC 8489 section 14.8).
    pub fn error(request: &Request, code: u16) -> Self {
        let mut response = Self::new(request, CLASS_ERROR_RESPONSE);
        let reason = reason_phrase(code).as_bytes().to_vec();
        // Fails only for reasons over 763 bytes.
        let _ = ErrorCodeAttribute { code: ErrorCode(code), reason }.add_to(&mut response.message);
        response
    }

    fn new(request: &Request, class: stun::message::MessageClass) -> Self {
        let mut message = Message::new();
        message.typ = MessageType::new(request.message.typ.method, class);
        message.transaction_id = request.message.transaction_id;
        message.write_header();
        Self { message, fingerprint: request.has_fingerprint }
    }

    /// Adds REALM and NONCE.
    #[must_use]
    pub fn challenge(mut self, realm: &str, nonce: &[u8]) -> Self {
        self.message.add(ATTR_REALM, realm.as_bytes());
        self.message.add(ATTR_NONCE, nonce);
        self
    }

    /// Adds UNKNOWN-ATTRIBUTES.
    #[must_use]
    pub fn unknown_attributes(mut self, numbers: &[u16]) -> Self {
        let value: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.message.add(ATTR_UNKNOWN_ATTRIBUTES, &value);
        self
    }

    /// Adds XOR-MAPPED-ADDRESS.
    #[must_use]
    pub fn mapped(self, address: SocketAddr) -> Self {
        self.xor_address(ATTR_XORMAPPED_ADDRESS, address)
    }

    /// Adds XOR-RELAYED-ADDRESS.
    #[must_use]
    pub fn relayed(self, address: SocketAddr) -> Self {
        self.xor_address(ATTR_XOR_RELAYED_ADDRESS, address)
    }

    /// Adds LIFETIME in seconds.
    #[must_use]
    pub fn lifetime(mut self, seconds: u32) -> Self {
        self.message.add(ATTR_LIFETIME, &seconds.to_be_bytes());
        self
    }

    /// Adds SOFTWARE: only for clients that have proven who they are, as it makes answers larger.
    #[must_use]
    pub fn software(mut self) -> Self {
        self.message.add(ATTR_SOFTWARE, b"bimcc-rtc");
        self
    }

    /// Adds MESSAGE-INTEGRITY over all before.
    #[must_use]
    pub fn integrity(mut self, key: &[u8; 16]) -> Self {
        // Fails only behind a FINGERPRINT, which only `finish` adds.
        let _ = MessageIntegrity(key.to_vec()).add_to(&mut self.message);
        self
    }

    /// The bytes to send, with FINGERPRINT if the request had one.
    pub fn finish(mut self) -> Vec<u8> {
        if self.fingerprint {
            // Never fails.
            let _ = FINGERPRINT.add_to(&mut self.message);
        }
        self.message.raw
    }

    fn xor_address(mut self, attribute: AttrType, address: SocketAddr) -> Self {
        let value = XorMappedAddress { ip: address.ip(), port: address.port() };
        // Never fails for a typed address.
        let _ = value.add_to_as(&mut self.message, attribute);
        self
    }
}

/// The reason phrases of RFC 8489 section 14.8 and RFC 8656 section 19, shortened where they are long.
fn reason_phrase(code: u16) -> &'static str {
    match code {
        300 => "Try Alternate",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        // Short: this one also answers strangers, whose requests may be small.
        420 => "Unknown",
        437 => "Allocation Mismatch",
        438 => "Stale Nonce",
        440 => "Address Family not Supported",
        441 => "Wrong Credentials",
        442 => "Unsupported Transport Protocol",
        443 => "Peer Address Family Mismatch",
        446 => "Connection Already Exists",
        486 => "Allocation Quota Reached",
        508 => "Insufficient Capacity",
        _ => "Error",
    }
}

/// The key of the long-term credential mechanism: MD5(username ":" realm ":" password) (RFC 8489 section 9.2.2).
pub fn long_term_key(username: &str, realm: &str, password: &str) -> [u8; 16] {
    let key = turn::auth::generate_auth_key(username, realm, password);
    key.try_into().expect("MD5 has 16 bytes")
}

/// A Send indication, borrowed from its datagram (RFC 8656 section 11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendIndication<'a> {
    /// XOR-PEER-ADDRESS.
    pub peer: SocketAddr,
    /// DATA.
    pub payload: &'a [u8],
    /// DONT-FRAGMENT is there.
    pub dont_fragment: bool,
}

/// Whether the bytes begin as a Send indication does; [`SendIndication::decode`] tells whether they are one.
pub fn is_send_indication(bytes: &[u8]) -> bool {
    bytes.starts_with(&TYPE_SEND_INDICATION.to_be_bytes())
}

impl<'a> SendIndication<'a> {
    /// Reads a Send indication without allocating. `None` if it is malformed, lacks an attribute or has a
    /// comprehension-required one that is unknown: to be dropped (RFC 8656 section 11.2).
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
/// Returns where the indication begins and ends. Needs [`HEADROOM`] before and [`TAILROOM`] behind; `None` without.
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

/// The length that the header of a STUN message announces, header included, if these bytes begin like one.
pub fn stun_len(bytes: &[u8]) -> Option<usize> {
    let head: &[u8; HEADER_LEN] = bytes.first_chunk()?;
    let body = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let is_stun = head[0] & 0xC0 == 0 && head[4..8] == MAGIC_COOKIE.to_be_bytes() && body.is_multiple_of(4);
    is_stun.then_some(HEADER_LEN + body)
}

fn xor_pad(transaction: &[u8; 12]) -> u128 {
    let mut pad = [0; 16];
    pad[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    pad[4..].copy_from_slice(transaction);
    u128::from_be_bytes(pad)
}

fn xor_address(value: &[u8], transaction: &[u8; 12]) -> Option<SocketAddr> {
    let (head, address) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([head[2], head[3]]) ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match head[1] {
        1 => IpAddr::V4(Ipv4Addr::from(u32::from_be_bytes(address.try_into().ok()?) ^ MAGIC_COOKIE)),
        2 => IpAddr::V6(Ipv6Addr::from(u128::from_be_bytes(address.try_into().ok()?) ^ xor_pad(transaction))),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Whether these bytes begin as a STUN indication that is no Send indication: silently ignored.
pub fn is_other_indication(request: &[u8]) -> bool {
    let mut kind = MessageType::default();
    if let Some(head) = request.first_chunk::<2>() {
        kind.read_value(u16::from_be_bytes(*head));
        return kind.class == CLASS_INDICATION && kind.method != METHOD_SEND;
    }
    false
}

#[cfg(test)]
mod tests;
