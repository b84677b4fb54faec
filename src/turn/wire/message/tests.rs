use stun::{
    integrity::MessageIntegrity,
    message::{CLASS_INDICATION, METHOD_SEND},
};

use super::*;
use crate::turn::wire::{data::*, header::*};

/// RFC 5769 section 2.1: a request with short-term authentication.
const SAMPLE_REQUEST: &str = "
    000100582112a442b7e7a701bc34d686fa87dfae
    802200105354554e207465737420636c69656e74
    002400046e0001ff
    80290008932ff9b151263b36
    000600096576746a3a68367659202020
    000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
    80280004e57a3bcf";

/// RFC 5769 section 2.2: the answer over IPv4.
const SAMPLE_RESPONSE_V4: &str = "
    0101003c2112a442b7e7a701bc34d686fa87dfae
    8022000b7465737420766563746f7220
    002000080001a147e112a643
    000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7
    80280004c07d4c96";

/// RFC 5769 section 2.3: the answer over IPv6.
const SAMPLE_RESPONSE_V6: &str = "
    010100482112a442b7e7a701bc34d686fa87dfae
    8022000b7465737420766563746f7220
    002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9
    00080014a382954e4be67bf11784c97c8292c275bfe3ed41
    80280004c8fb0b4c";

/// RFC 5769 section 2.4: a request with long-term authentication.
const SAMPLE_LONG_TERM: &str = "
    000100602112a44278ad3433c6ad72c029da412e
    00060012e3839ee38388e383aae38383e382afe382b90000
    0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341
    0014000b6578616d706c652e6f726700
    00080014f67024656dd64a3e02b8e0712e85c9a28ca89666";

/// The password of the short-term samples.
const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn rfc5769_2_1_sample_request() {
    let sample = bytes(SAMPLE_REQUEST);
    let request = Request::decode(&sample).unwrap();
    assert_eq!(request.method(), TurnMethod::Binding);
    assert_eq!(request.username(), Some("evtj:h6vY"));
    assert_eq!(request.integrity(), Some(Integrity::Sha1));
    assert_eq!(request.unknown_attributes(), [0x0024], "PRIORITY is ICE's");
    assert!(MessageIntegrity(PASSWORD.into()).check(&mut request.message.clone()).is_ok());
    assert!(!request.is_signed_with(&Key::new(PasswordAlgorithm::Md5, "evtj:h6vY", "", PASSWORD)));
}

#[test]
fn rfc5769_2_1_every_flipped_bit_breaks_the_fingerprint() {
    let sample = bytes(SAMPLE_REQUEST);
    for bit in 0..sample.len() * 8 {
        let mut flipped = sample.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // The flip may also hide the attribute itself.
        let is_gone = Request::decode(&flipped).is_ok_and(|request| !request.has_fingerprint);
        assert!(is_gone || Request::decode(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn rfc5769_2_2_sample_response_over_ipv4() {
    let sample = bytes(SAMPLE_RESPONSE_V4);
    assert_eq!(Request::decode(&sample).unwrap_err(), NotARequest::OtherClass);
    let transaction = sample[8..20].try_into().unwrap();
    assert_eq!(xor_address(&sample[40..48], transaction), Some("192.0.2.1:32853".parse().unwrap()));
    assert_eq!(sample_answer("192.0.2.1:32853"), sample);
}

#[test]
fn rfc5769_2_3_sample_response_over_ipv6() {
    let sample = bytes(SAMPLE_RESPONSE_V6);
    let client = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
    let transaction = sample[8..20].try_into().unwrap();
    assert_eq!(xor_address(&sample[40..60], transaction), Some(client.parse().unwrap()));
    assert_eq!(sample_answer(client), sample);
}

/// The answer to the sample request, made like this server's answers, except for SOFTWARE and the key, which are those
/// of the RFC.
fn sample_answer(client: &str) -> Vec<u8> {
    let request = Request::decode(&bytes(SAMPLE_REQUEST)).unwrap();
    let mut response = Response::success(&request);
    response.message.add(ATTR_SOFTWARE, b"test vector");
    let mut response = response.mapped(client.parse().unwrap());
    // The samples use spaces as padding.
    response.message.raw[35] = b' ';
    MessageIntegrity(PASSWORD.into()).add_to(&mut response.message).unwrap();
    response.finish()
}

#[test]
fn rfc5769_2_4_sample_request_with_long_term_authentication() {
    let request = Request::decode(&bytes(SAMPLE_LONG_TERM)).unwrap();
    let username = request.username().unwrap().to_owned();
    assert_eq!(username, "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}");
    assert_eq!(request.realm(), Some("example.org"));
    assert_eq!(request.nonce(), Some(&b"f//499k954d6OL34oL9FSTvy64sA"[..]));
    assert!(request.is_signed_with(&Key::new(PasswordAlgorithm::Md5, &username, "example.org", "TheMatrIX")));
    assert!(!request.is_signed_with(&Key::new(PasswordAlgorithm::Md5, &username, "example.org", "TheMatrix")));
    assert!(!request.is_signed_with(&Key::new(PasswordAlgorithm::Md5, &username, "example.com", "TheMatrIX")));
}

#[test]
fn rfc8656_11_3_data_indications_are_written_in_place() {
    let transaction = TransactionId([9; 12]);
    for peer in ["192.0.2.1:32853", "[2001:db8::1]:1"] {
        for len in 0..9 {
            let peer = peer.parse().unwrap();
            let mut buffer = vec![0xEE; HEADROOM + len + TAILROOM];
            buffer[HEADROOM..HEADROOM + len].fill(b'x');
            let written = write_data_indication(&mut buffer, HEADROOM, HEADROOM + len, peer, transaction);
            let (begin, end) = written.unwrap();
            let mut message = Message::new();
            message.unmarshal_binary(&buffer[begin..end]).unwrap();
            assert_eq!(stun_len(&buffer[begin..end]), Some(end - begin));
            assert_eq!(message.get(ATTR_DATA).unwrap(), vec![b'x'; len]);
            assert_eq!(xor_address(&message.get(ATTR_XOR_PEER_ADDRESS).unwrap(), &transaction.0), Some(peer));
            assert!(buffer[HEADROOM + len..end].iter().all(|byte| *byte == 0), "padding");
            assert!(buffer[end..].iter().all(|byte| *byte == 0xEE), "nothing behind is touched");
        }
    }
}

#[test]
fn without_room_no_data_indication_is_written() {
    let (v4, v6) = ("192.0.2.1:1".parse().unwrap(), "[::1]:1".parse().unwrap());
    let transaction = TransactionId([0; 12]);
    let mut buffer = [0; HEADROOM + 1];
    assert_eq!(write_data_indication(&mut buffer, HEADROOM, HEADROOM + 1, v6, transaction), None, "no tailroom");
    assert_eq!(write_data_indication(&mut buffer, HEADROOM - 1, HEADROOM - 1, v6, transaction), None, "no headroom");
    assert_eq!(write_data_indication(&mut buffer, HEADROOM, HEADROOM - 1, v4, transaction), None, "upside down");
    assert!(write_data_indication(&mut buffer, HEADROOM - 12, HEADROOM - 12, v4, transaction).is_some());
}

#[test]
fn send_indications_are_read_without_their_request_attributes() {
    let mut message = Message::new();
    message.typ = MessageType::new(METHOD_SEND, CLASS_INDICATION);
    message.write_header();
    let peer = XorMappedAddress { ip: [192, 0, 2, 1].into(), port: 7 };
    peer.add_to_as(&mut message, ATTR_XOR_PEER_ADDRESS).unwrap();
    message.add(ATTR_DATA, b"payload");
    assert_eq!(
        SendIndication::decode(&message.raw),
        Some(SendIndication { peer: "192.0.2.1:7".parse().unwrap(), payload: b"payload", dont_fragment: false })
    );
    for len in 0..message.raw.len() {
        assert_eq!(SendIndication::decode(&message.raw[..len]), None, "{len}");
    }
}
