//! One datagram, read in every way that the TURN core reads one, and compared with a plain reading of the RFCs.
//!
//! The first byte says what is done to the rest before it is read: 1 corrects cookie and length, 2 adds
//! MESSAGE-INTEGRITY, 8 adds MESSAGE-INTEGRITY-SHA256, 4 adds FINGERPRINT. Without it nearly nothing would get past the
//! checks.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
};

use bimcc_rtc::turn::wire::{
    channel_data::{self, CHANNEL_HEADER_LEN},
    code::ErrorCode,
    data::{HEADROOM, SendIndication, TAILROOM, write_data_indication},
    header::{HEADER_LEN, TransactionId},
    keys::{Integrity, Key, PasswordAlgorithm, long_term_key},
    message::{LONGEST_REQUEST, Request, Response},
};
use ring::hmac;
use stun::{
    attributes::{ATTR_DATA, ATTR_ERROR_CODE, ATTR_FINGERPRINT, ATTR_XOR_PEER_ADDRESS, AttrType},
    fingerprint::FINGERPRINT,
    integrity::MessageIntegrity,
    message::{MAGIC_COOKIE, Message, Setter},
    xoraddr::XorMappedAddress,
};

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new(PasswordAlgorithm::Md5, "alice", "realm", "password"));
static KEY_BYTES: LazyLock<[u8; 16]> = LazyLock::new(|| long_term_key("alice", "realm", "password"));
static OTHER_KEY: LazyLock<Key> = LazyLock::new(|| Key::new(PasswordAlgorithm::Sha256, "alice", "realm", "password"));

const MEND: u8 = 1;
const SIGN: u8 = 2;
const ADD_FINGERPRINT: u8 = 4;
const SIGN_BY_SHA256: u8 = 8;

const USERNAME: u16 = 0x0006;
const INTEGRITY: u16 = 0x0008;
const LIFETIME: u16 = 0x000D;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const DATA: u16 = 0x0013;
const INTEGRITY_SHA256: u16 = 0x001C;
const FINGERPRINT_TYPE: u16 = 0x8028;

pub fn run(input: &[u8]) {
    let Some((how, rest)) = input.split_first() else {
        return;
    };
    let datagram = prepared(*how, rest);
    read_as_channel_data(&datagram);
    read_as_send_indication(&datagram);
    let request = read_as_request(&datagram);
    if let Some(request) = request {
        let mut kinds: Vec<_> = attributes(&datagram).into_iter().flatten().map(|(kind, _)| kind).collect();
        kinds.retain(|kind| *kind != FINGERPRINT_TYPE);
        let is_stronger = kinds.contains(&INTEGRITY_SHA256);
        let (kind, by) = if is_stronger { (INTEGRITY_SHA256, SIGN_BY_SHA256) } else { (INTEGRITY, SIGN) };
        let is_last = kinds.iter().position(|one| *one == kind).is_some_and(|at| at + 1 == kinds.len());
        assert_eq!(request.is_signed_with(&KEY), how & by != 0 && is_last, "made with this key or not");
        assert!(!request.is_signed_with(&OTHER_KEY), "nobody knows this key");
        answer(&request, &datagram);
    }
}

fn prepared(how: u8, rest: &[u8]) -> Vec<u8> {
    let mut datagram = rest.to_vec();
    if how & (MEND | SIGN | SIGN_BY_SHA256 | ADD_FINGERPRINT) != 0 {
        let len = datagram.len().next_multiple_of(4).clamp(HEADER_LEN, HEADER_LEN + 0xFF00);
        datagram.resize(len, 0);
        datagram[2..4].copy_from_slice(&((len - HEADER_LEN) as u16).to_be_bytes());
        datagram[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    }
    let mut message = Message::new();
    message.length = datagram.len().saturating_sub(HEADER_LEN) as u32;
    message.raw = datagram;
    if how & SIGN != 0 {
        MessageIntegrity(KEY_BYTES.to_vec()).add_to(&mut message).expect("no attribute is known to be there");
    }
    if how & SIGN_BY_SHA256 != 0 {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*KEY_BYTES);
        let mut signed = message.raw.clone();
        signed[2..4].copy_from_slice(&((message.raw.len() - HEADER_LEN + 36) as u16).to_be_bytes());
        message.add(AttrType(INTEGRITY_SHA256), hmac::sign(&key, &signed).as_ref());
    }
    if how & ADD_FINGERPRINT != 0 {
        FINGERPRINT.add_to(&mut message).expect("never fails");
    }
    message.raw
}

fn read_as_channel_data(datagram: &[u8]) {
    let expected = datagram.first_chunk::<CHANNEL_HEADER_LEN>().and_then(|[a, b, c, d]| {
        let payload = datagram[CHANNEL_HEADER_LEN..].get(..usize::from(u16::from_be_bytes([*c, *d])))?;
        (a & 0xC0 == 0x40).then_some((u16::from_be_bytes([*a, *b]), payload))
    });
    let decoded = channel_data::decode(datagram);
    assert_eq!(decoded, expected);
    if let Some((number, payload)) = decoded {
        let end = CHANNEL_HEADER_LEN + payload.len();
        let mut again = [&[0; CHANNEL_HEADER_LEN], payload].concat();
        assert_eq!(channel_data::encode_before(&mut again, CHANNEL_HEADER_LEN, end, number), Some(0));
        assert_eq!(again, datagram[..end]);
    }
}

fn read_as_send_indication(datagram: &[u8]) {
    let decoded = SendIndication::decode(datagram);
    let attributes = attributes(datagram).filter(|_| datagram.starts_with(&[0x00, 0x16]));
    let first = |wanted| attributes.as_ref()?.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    let expected = first(XOR_PEER_ADDRESS).and_then(|value| xor_address(value, datagram)).zip(first(DATA));
    if let Some(SendIndication { peer, payload, .. }) = decoded {
        assert_eq!(Some((peer, payload)), expected);
        let mut buffer = [&[0; HEADROOM], payload, &[0xFF; TAILROOM]].concat();
        let end = HEADROOM + payload.len();
        let written = write_data_indication(&mut buffer, HEADROOM, end, peer, TransactionId([7; 12]));
        let (begin, end) = written.expect("there is room, and so much fits into a Send indication");
        let mut indication = Message::new();
        indication.unmarshal_binary(&buffer[begin..end]).expect("a STUN message");
        let mut from = XorMappedAddress::default();
        from.get_from_as(&indication, ATTR_XOR_PEER_ADDRESS).expect("it says from whom it is");
        assert_eq!((SocketAddr::new(from.ip, from.port), indication.transaction_id.0), (peer, [7; 12]));
        assert_eq!(indication.get(ATTR_DATA).expect("it has data"), payload);
    } else if let Some(attributes) = attributes {
        let is_harmless = |kind: u16| kind >= 0x8000 || [XOR_PEER_ADDRESS, DATA].contains(&kind);
        let has_odd = attributes.iter().any(|(kind, _)| !is_harmless(*kind));
        assert!(expected.is_none() || has_odd, "a good Send indication was refused");
    }
}

fn read_as_request(datagram: &[u8]) -> Option<Request> {
    let request = Request::decode(datagram);
    let is_request = datagram.first_chunk::<2>().is_some_and(|[high, low]| high & 0xC1 == 0 && low & 0x10 == 0);
    let Some(attributes) = attributes(datagram).filter(|_| is_request && datagram.len() <= LONGEST_REQUEST) else {
        assert!(request.is_err(), "this is no STUN request");
        return None;
    };
    let of = |wanted: &'static [u16]| attributes.iter().position(|(kind, _)| wanted.contains(kind));
    let visible = &attributes[..of(&[INTEGRITY, INTEGRITY_SHA256, FINGERPRINT_TYPE]).unwrap_or(attributes.len())];
    let first = |wanted| visible.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    let Ok(request) = request else {
        assert!(visible.len() < attributes.len(), "only what comes last may be at fault");
        return None;
    };
    assert_eq!(request.transaction_id().0, datagram[8..HEADER_LEN]);
    assert_eq!(request.integrity().is_some(), of(&[INTEGRITY, INTEGRITY_SHA256]).is_some());
    assert_eq!(request.username().map(str::as_bytes), first(USERNAME).filter(|name| str::from_utf8(name).is_ok()));
    let lifetime = first(LIFETIME).map(|value| value.try_into().map(u32::from_be_bytes));
    assert_eq!(request.lifetime().ok(), lifetime.transpose().ok());
    let peers = visible.iter().filter(|(kind, _)| *kind == XOR_PEER_ADDRESS);
    assert!(request.peers().map(Result::ok).eq(peers.map(|(_, value)| xor_address(value, datagram))));
    let unknown = request.unknown_attributes();
    assert!(unknown.iter().collect::<HashSet<_>>().len() == unknown.len(), "each once");
    for kind in &unknown {
        assert!(*kind < 0x8000 && first(*kind).is_some() && ![USERNAME, LIFETIME, XOR_PEER_ADDRESS].contains(kind));
    }
    for (kind, _) in visible {
        assert!(!(0x4000..0x8000).contains(kind) || unknown.contains(kind), "nobody knows {kind:04x}");
    }
    let _ = (request.requested_transport(), request.channel_number(), request.requested_family());
    let _ = (request.even_port(), request.realm(), request.nonce(), request.may_be_an_allocate());
    let _ = (request.additional_family(), request.reservation_token(), request.password_algorithm());
    Some(request)
}

/// Checks that every answer is a response to this request and not a request.
fn answer(request: &Request, datagram: &[u8]) {
    let has_fingerprint = attributes(datagram).is_some_and(|all| all.iter().any(|(kind, _)| *kind == FINGERPRINT_TYPE));
    let client = SocketAddr::from(([192, 0, 2, 1], 1000));
    let relayed = SocketAddr::from((IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), 50_000));
    let granted = Response::success(request).relayed(relayed).lifetime(600).mapped(client).software();
    let refused =
        Response::error(request, ErrorCode::UnknownAttribute).unknown_attributes(&request.unknown_attributes());
    for (bytes, is_signed) in [
        (granted.signed(&KEY, Integrity::Sha1).finish(), true),
        (refused.finish(), false),
        (Response::error(request, ErrorCode::Unauthenticated).challenge("realm", &[b'n'; 24]).finish(), false),
    ] {
        assert!(Request::decode(&bytes).is_err(), "an answer is no request");
        let mut answer = Message::new();
        answer.unmarshal_binary(&bytes).expect("a STUN message");
        assert_eq!(answer.transaction_id.0, datagram[8..HEADER_LEN]);
        assert_eq!(answer.contains(ATTR_ERROR_CODE), !is_signed);
        assert_eq!(answer.contains(ATTR_FINGERPRINT), has_fingerprint);
        assert!(!has_fingerprint || FINGERPRINT.check(&answer).is_ok());
        assert!(!is_signed || MessageIntegrity(KEY_BYTES.to_vec()).check(&mut answer).is_ok());
    }
}

/// Number and value of each attribute, if this is one STUN message and nothing else (RFC 8489 sections 5 and 14).
fn attributes(bytes: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let head = bytes.first_chunk::<HEADER_LEN>()?;
    let mut rest = &bytes[HEADER_LEN..];
    let announced = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if head[0] & 0xC0 != 0
        || head[4..8] != MAGIC_COOKIE.to_be_bytes()
        || announced != rest.len()
        || !announced.is_multiple_of(4)
    {
        return None;
    }
    let mut attributes = Vec::new();
    while let Some(([a, b, c, d], tail)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([*c, *d]));
        attributes.push((u16::from_be_bytes([*a, *b]), tail.get(..len)?));
        rest = tail.get(len.next_multiple_of(4)..)?;
    }
    Some(attributes)
}

/// RFC 8489 section 14.2.
fn xor_address(value: &[u8], datagram: &[u8]) -> Option<SocketAddr> {
    let pad = &datagram[4..HEADER_LEN];
    let unmasked: Vec<u8> = value.get(4..)?.iter().zip(pad).map(|(byte, pad)| byte ^ pad).collect();
    let port = u16::from_be_bytes([value[2] ^ pad[0], value[3] ^ pad[1]]);
    let ip = match (value[1], value.len()) {
        (1, 8) => IpAddr::from(<[u8; 4]>::try_from(unmasked).ok()?),
        (2, 20) => IpAddr::from(<[u8; 16]>::try_from(unmasked).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}
