//! Bytes to typed STUN/TURN requests and back. The only module that knows the `stun` and `turn` crates.
//!
//! Requests and responses are rare and authenticated; they are here, their keys in `keys`, and they go through
//! `stun::message::Message`. The data of a call must be fast, so it is read and written in place: ChannelData in
//! [`super::channel_data`], Send and Data indications in `data`. Nothing here decides anything: refusals are made in
//! [`crate::turn::core::session`].
//!
//! RFC 8489 sections 5, 6, 9.2 and 14; RFC 8656 section 18.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use stun::{
    attributes::{
        ATTR_ALTERNATE_SERVER, ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_DONT_FRAGMENT, ATTR_ERROR_CODE, ATTR_EVEN_PORT,
        ATTR_FINGERPRINT, ATTR_LIFETIME, ATTR_MAPPED_ADDRESS, ATTR_MESSAGE_INTEGRITY, ATTR_MESSAGE_INTEGRITY_SHA256,
        ATTR_NONCE, ATTR_PASSWORD_ALGORITHM, ATTR_PASSWORD_ALGORITHMS, ATTR_REALM, ATTR_REQUESTED_ADDRESS_FAMILY,
        ATTR_REQUESTED_TRANSPORT, ATTR_RESERVATION_TOKEN, ATTR_SOFTWARE, ATTR_UNKNOWN_ATTRIBUTES, ATTR_USERNAME,
        ATTR_XOR_PEER_ADDRESS, ATTR_XOR_RELAYED_ADDRESS, ATTR_XORMAPPED_ADDRESS, AttrType,
    },
    error_code::ErrorCodeAttribute,
    fingerprint::FINGERPRINT,
    message::{
        CLASS_ERROR_RESPONSE, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, METHOD_ALLOCATE, METHOD_BINDING,
        METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_REFRESH, Message, MessageType, Setter,
    },
    xoraddr::XorMappedAddress,
};

use crate::{
    turn::wire::{
        code::{ErrorCode, TurnMethod},
        header::{COMPREHENSION_OPTIONAL, HEADER_LEN, TransactionId, stun_len, xor_address},
        keys::{self, Integrity, Key, PasswordAlgorithm},
    },
    values::family::Family,
};

/// The shortest message that can be a legal Allocate: a header and REQUESTED-TRANSPORT.
pub const SHORTEST_ALLOCATE: usize = HEADER_LEN + 8;

const FINGERPRINT_LEN: usize = 8;

/// The longest request that is read. The longest useful request permits 256 IPv6 peers and has a long username. A
/// stranger must not make the server parse the 16,000 attributes that fit into a datagram.
pub const LONGEST_REQUEST: usize = 8192;

/// Attributes that the crates do not know (RFC 8656 section 18).
const ATTR_ADDITIONAL_ADDRESS_FAMILY: AttrType = AttrType(0x8000);
/// The number of a draft (draft-martinsen-tram-ssoda), which coturn and its tools used up to version 4.6.
const ATTR_ADDITIONAL_ADDRESS_FAMILY_OF_DRAFT: AttrType = AttrType(0x8032);
const ATTR_ADDRESS_ERROR_CODE: AttrType = AttrType(0x8001);

/// Value of PASSWORD-ALGORITHMS in every challenge, in order of preference: SHA-256 and MD5, neither with parameters
/// (RFC 8489 sections 14.11 and 18.5).
const PASSWORD_ALGORITHMS: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

/// The number of an address family in attributes (RFC 8656 section 18.8).
fn number_of(family: Family) -> u8 {
    match family {
        Family::V4 => 1,
        Family::V6 => 2,
    }
}

/// `None` for an unknown family.
fn family_of(number: u8) -> Option<Family> {
    Family::BOTH.into_iter().find(|family| number_of(*family) == number)
}

/// What a client requires of the port of its relayed address (RFC 8656 section 18.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvenPort {
    /// The R bit: the next port is to be reserved for a later allocation.
    pub reserves_next: bool,
}

/// Names a reserved relayed address (RFC 8656 section 18.11).
pub type ReservationToken = [u8; 8];

/// The attribute is present but does not have the form of its type; the answer is 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed attribute")]
pub struct MalformedAttribute;

/// The bytes are not a request that this server answers; they are dropped (RFC 8489 section 6.3).
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
    /// The number of attributes that count: those before MESSAGE-INTEGRITY.
    visible: usize,
    integrity: Option<Integrity>,
    has_fingerprint: bool,
}

impl Request {
    /// Reads one datagram (or one message of a stream), which must be exactly one STUN message.
    ///
    /// # Errors
    /// [`NotARequest`], which must not be answered.
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
        let position = |integrity: Integrity| attributes.iter().position(|a| a.typ == integrity.attribute());
        let sha1 = position(Integrity::Sha1);
        let sha256 = position(Integrity::Sha256);
        let has_length = |at: Option<usize>, integrity: Integrity| {
            at.is_none_or(|at| attributes[at].value.len() == integrity.value_len())
        };
        if !has_length(sha1, Integrity::Sha1) || !has_length(sha256, Integrity::Sha256) {
            return Err(NotARequest::Malformed);
        }
        // If both are present, the stronger one counts (RFC 8489 section 9.2.4).
        let integrity = sha256.map(|_| Integrity::Sha256).or(sha1.map(|_| Integrity::Sha1));
        let visible = sha1.into_iter().chain(sha256).min().or(fingerprint).unwrap_or(attributes.len());
        Ok(Self { method, visible, integrity, has_fingerprint: fingerprint.is_some(), message })
    }

    /// The requested method.
    pub fn method(&self) -> TurnMethod {
        self.method
    }

    /// The request's transaction id.
    pub fn transaction_id(&self) -> TransactionId {
        TransactionId(self.message.transaction_id.0)
    }

    /// Whether it is as long as the shortest legal Allocate. FINGERPRINT does not count, because then the answer has
    /// one too.
    pub fn may_be_an_allocate(&self) -> bool {
        let fingerprint = if self.has_fingerprint { FINGERPRINT_LEN } else { 0 };
        self.message.raw.len() >= SHORTEST_ALLOCATE + fingerprint
    }

    /// The attribute that signs it, if any. The signature may be wrong.
    pub fn integrity(&self) -> Option<Integrity> {
        self.integrity
    }

    /// Whether its signature was made with `key`. Compared in constant time.
    pub fn is_signed_with(&self, key: &Key) -> bool {
        self.integrity.is_some_and(|integrity| keys::verify(&self.message, key, integrity))
    }

    /// PASSWORD-ALGORITHM, which comes together with the PASSWORD-ALGORITHMS of the challenge, or not at all (RFC 8489
    /// section 9.2.4).
    ///
    /// # Errors
    /// If one is present without the other, or they differ from what this server's challenge offers: somebody on the
    /// path may be trying to make the client use the weaker algorithm.
    pub fn password_algorithm(&self) -> Result<PasswordAlgorithm, MalformedAttribute> {
        match (self.value(ATTR_PASSWORD_ALGORITHM), self.value(ATTR_PASSWORD_ALGORITHMS)) {
            (None, None) => Ok(PasswordAlgorithm::Md5),
            (Some([0, 1, 0, 0]), Some(offered)) if offered == PASSWORD_ALGORITHMS => Ok(PasswordAlgorithm::Md5),
            (Some([0, 2, 0, 0]), Some(offered)) if offered == PASSWORD_ALGORITHMS => Ok(PasswordAlgorithm::Sha256),
            _ => Err(MalformedAttribute),
        }
    }

    /// USERNAME, if it is present and UTF-8.
    pub fn username(&self) -> Option<&str> {
        self.text(ATTR_USERNAME)
    }

    /// REALM, if it is present and UTF-8.
    pub fn realm(&self) -> Option<&str> {
        self.text(ATTR_REALM)
    }

    /// NONCE, if it is present.
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

    /// REQUESTED-ADDRESS-FAMILY: the outer `Option` is `None` if it is absent, the inner one if the family is unknown.
    ///
    /// # Errors
    /// If the attribute's length is wrong.
    pub fn requested_family(&self) -> Result<Option<Option<Family>>, MalformedAttribute> {
        Ok(self.fixed::<4>(ATTR_REQUESTED_ADDRESS_FAMILY)?.map(|value| family_of(value[0])))
    }

    /// ADDITIONAL-ADDRESS-FAMILY, in the same form.
    ///
    /// # Errors
    /// If the attribute's length is wrong.
    pub fn additional_family(&self) -> Result<Option<Option<Family>>, MalformedAttribute> {
        let named = match self.fixed::<4>(ATTR_ADDITIONAL_ADDRESS_FAMILY)? {
            None => self.fixed::<4>(ATTR_ADDITIONAL_ADDRESS_FAMILY_OF_DRAFT)?,
            named => named,
        };
        Ok(named.map(|value| family_of(value[0])))
    }

    /// EVEN-PORT.
    ///
    /// # Errors
    /// If the attribute's length is wrong.
    pub fn even_port(&self) -> Result<Option<EvenPort>, MalformedAttribute> {
        Ok(self.fixed::<1>(ATTR_EVEN_PORT)?.map(|[bits]| EvenPort { reserves_next: bits & 0x80 != 0 }))
    }

    /// RESERVATION-TOKEN.
    ///
    /// # Errors
    /// If the attribute's length is wrong.
    pub fn reservation_token(&self) -> Result<Option<ReservationToken>, MalformedAttribute> {
        self.fixed(ATTR_RESERVATION_TOKEN)
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
        // Attributes of responses are known as well; they are unexpected here, so they are ignored.
        const KNOWN: [AttrType; 20] = [
            ATTR_MAPPED_ADDRESS,
            ATTR_USERNAME,
            ATTR_MESSAGE_INTEGRITY,
            ATTR_MESSAGE_INTEGRITY_SHA256,
            ATTR_PASSWORD_ALGORITHM,
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
            ATTR_EVEN_PORT,
            ATTR_RESERVATION_TOKEN,
        ];
        let mut unknown = Vec::new();
        let mut listed = BTreeSet::new();
        for attribute in self.visible() {
            let number = attribute.typ.value();
            let is_required = number < COMPREHENSION_OPTIONAL;
            if is_required && !KNOWN.contains(&attribute.typ) && listed.insert(number) {
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

/// A response that is being built. Call [`Self::finish`] last.
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
    pub fn error(request: &Request, code: ErrorCode) -> Self {
        let mut response = Self::new(request, CLASS_ERROR_RESPONSE);
        let reason = code.reason_phrase().as_bytes().to_vec();
        let code = stun::error_code::ErrorCode(code.number());
        // This fails only for a reason over 763 bytes.
        let _ = ErrorCodeAttribute { code, reason }.add_to(&mut response.message);
        response
    }

    fn new(request: &Request, class: stun::message::MessageClass) -> Self {
        let mut message = Message::new();
        message.typ = MessageType::new(request.message.typ.method, class);
        message.transaction_id = request.message.transaction_id;
        message.write_header();
        Self { message, fingerprint: request.has_fingerprint }
    }

    /// Adds REALM, NONCE and PASSWORD-ALGORITHMS.
    #[must_use]
    pub fn challenge(mut self, realm: &str, nonce: &[u8]) -> Self {
        self.message.add(ATTR_REALM, realm.as_bytes());
        self.message.add(ATTR_NONCE, nonce);
        self.message.add(ATTR_PASSWORD_ALGORITHMS, &PASSWORD_ALGORITHMS);
        self
    }

    /// Adds ADDRESS-ERROR-CODE: why no address of this family was given in addition to the other.
    #[must_use]
    pub fn address_error(mut self, family: Family, code: ErrorCode) -> Self {
        let (class, number) = ((code.number() / 100) as u8, (code.number() % 100) as u8);
        let mut value = vec![number_of(family), 0, class, number];
        value.extend_from_slice(code.reason_phrase().as_bytes());
        self.message.add(ATTR_ADDRESS_ERROR_CODE, &value);
        self
    }

    /// Adds RESERVATION-TOKEN.
    #[must_use]
    pub fn reservation_token(mut self, token: &ReservationToken) -> Self {
        self.message.add(ATTR_RESERVATION_TOKEN, token);
        self
    }

    /// Adds ALTERNATE-SERVER, which has the form of MAPPED-ADDRESS (RFC 8489 section 14.15).
    #[must_use]
    pub fn alternate_server(mut self, address: SocketAddr) -> Self {
        let mut value = vec![0, number_of(Family::of(address.ip()))];
        value.extend_from_slice(&address.port().to_be_bytes());
        match address.ip() {
            IpAddr::V4(ip) => value.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => value.extend_from_slice(&ip.octets()),
        }
        self.message.add(ATTR_ALTERNATE_SERVER, &value);
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

    /// Adds SOFTWARE. It makes answers larger, so only clients that have proven who they are get it.
    #[must_use]
    pub fn software(mut self) -> Self {
        self.message.add(ATTR_SOFTWARE, b"bimcc-rtc");
        self
    }

    /// Signs everything that was added before.
    #[must_use]
    pub fn signed(mut self, key: &Key, integrity: Integrity) -> Self {
        keys::sign(&mut self.message, key, integrity);
        self
    }

    /// The bytes to send, with FINGERPRINT if the request had one.
    pub fn finish(mut self) -> Vec<u8> {
        if self.fingerprint {
            // This never fails.
            let _ = FINGERPRINT.add_to(&mut self.message);
        }
        self.message.raw
    }

    fn xor_address(mut self, attribute: AttrType, address: SocketAddr) -> Self {
        let value = XorMappedAddress { ip: address.ip(), port: address.port() };
        // This never fails for an address of this type.
        let _ = value.add_to_as(&mut self.message, attribute);
        self
    }
}

#[cfg(test)]
mod tests;
