//! RFC 8489 sections 9.2 and 14.6: password algorithms and MESSAGE-INTEGRITY-SHA256, for clients that ask for them.

use ring::{digest, hmac};

use crate::harness::*;

/// The algorithms that every challenge offers: SHA-256, MD5.
const OFFERED: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];
const MD5: [u8; 4] = [0, 1, 0, 0];
const SHA256: [u8; 4] = [0, 2, 0, 0];

/// The key by SHA-256 (RFC 8489 section 9.2.2).
fn sha256_key(client: &Client) -> Vec<u8> {
    let text = format!("{}:{REALM}:{}", client.credential.username, client.credential.password);
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().to_vec()
}

/// The attribute's value for `message` without it (RFC 8489 section 14.6).
fn signature(message: &[u8], key: &[u8]) -> Vec<u8> {
    let mut signed = message.to_vec();
    let len = u16::from_be_bytes([signed[2], signed[3]]) + 4 + 32;
    signed[2..4].copy_from_slice(&len.to_be_bytes());
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &signed).as_ref().to_vec()
}

fn identified(request: Req, client: &Client) -> Req {
    request
        .with(attr::ATTR_USERNAME, client.credential.username.as_bytes())
        .with(attr::ATTR_REALM, REALM.as_bytes())
        .with(attr::ATTR_NONCE, &client.nonce)
}

fn sha256_signed(request: Req, key: &[u8]) -> Req {
    let value = signature(request.bytes(), key);
    request.with(attr::ATTR_MESSAGE_INTEGRITY_SHA256, &value)
}

/// A request of a client of RFC 8489 that has chosen SHA-256 for both.
fn modern(request: Req, client: &Client) -> Req {
    let request = identified(request, client)
        .with(attr::ATTR_PASSWORD_ALGORITHMS, &OFFERED)
        .with(attr::ATTR_PASSWORD_ALGORITHM, &SHA256);
    sha256_signed(request, &sha256_key(client))
}

/// Whether the response is signed by MESSAGE-INTEGRITY-SHA256, and by nothing else.
fn is_signed(reply: &Reply, key: &[u8]) -> bool {
    let bytes = reply.bytes();
    let mut before = bytes[..bytes.len() - 36].to_vec();
    let len = (before.len() - 20) as u16;
    before[2..4].copy_from_slice(&len.to_be_bytes());
    reply.value(attr::ATTR_MESSAGE_INTEGRITY).is_none()
        && reply.value(attr::ATTR_MESSAGE_INTEGRITY_SHA256) == Some(signature(&before, key))
}

#[test]
fn rfc8489_9_2_4_challenges_offer_algorithms_and_say_so_in_the_nonce() {
    let mut world = World::new();
    let at = addr("192.0.2.1:1000");
    let challenge = world.send(at, Req::allocate().bytes()).reply();
    assert_eq!(challenge.value(attr::ATTR_PASSWORD_ALGORITHMS).unwrap(), OFFERED);
    // The cookie, and only the first bit of the security features (password algorithms).
    assert!(challenge.nonce().starts_with(b"obMatJos2gAAA"));
    let mut alice = world.api_client("alice", "192.0.2.1:1000");
    alice.nonce = b"stale".to_vec();
    let stale = world.request(&alice, Req::allocate()).reply();
    assert_eq!(stale.code(), 438);
    assert_eq!(stale.value(attr::ATTR_PASSWORD_ALGORITHMS).unwrap(), OFFERED);
}

#[test]
fn rfc8489_9_2_4_sha256_from_allocating_to_the_end() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let key = sha256_key(&alice);
    for request in [
        Req::allocate(),
        Req::permission(&["203.0.113.1:7"]),
        Req::channel_bind(0x4000, "203.0.113.1:7"),
        Req::refresh(600),
        Req::refresh(0),
    ] {
        let reply = world.send(alice.at, modern(request, &alice).bytes()).reply();
        assert_eq!(reply.code(), 0);
        assert!(is_signed(&reply, &key));
    }
    // Errors are signed in the same way.
    let reply = world.send(alice.at, modern(Req::refresh(600), &alice).bytes()).reply();
    assert_eq!(reply.code(), 437);
    assert!(is_signed(&reply, &key));
    let with_fingerprint = modern(Req::allocate(), &alice).fingerprint();
    let reply = world.send(alice.at, with_fingerprint.bytes()).reply();
    assert_eq!(reply.code(), 0);
    assert!(reply.has_right_fingerprint());
}

#[test]
fn rfc8489_9_2_4_algorithm_and_signature_are_chosen_apart() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let named_md5 = identified(Req::allocate(), &alice)
        .with(attr::ATTR_PASSWORD_ALGORITHMS, &OFFERED)
        .with(attr::ATTR_PASSWORD_ALGORITHM, &MD5)
        .integrity(&alice);
    let reply = world.send(alice.at, named_md5.bytes()).reply();
    assert_eq!(reply.code(), 0);
    assert!(reply.is_signed_for(&alice));
    // The same user may change the algorithm during an allocation.
    assert_eq!(world.send(alice.at, modern(Req::refresh(600), &alice).bytes()).code(), 0);
    assert_eq!(world.request(&alice, Req::refresh(600)).code(), 0);
    let md5_key = alice.key().0;
    let sha256_over_md5 = sha256_signed(identified(Req::refresh(600), &alice), &md5_key);
    let reply = world.send(alice.at, sha256_over_md5.bytes()).reply();
    assert_eq!(reply.code(), 0);
    assert!(is_signed(&reply, &md5_key));
}

#[test]
fn rfc8489_9_2_4_a_wrong_signature_is_401() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let good = modern(Req::allocate(), &alice);
    for (what, at) in [("the attributes", 24), ("the signature", good.bytes().len() - 1), ("the transaction", 10)] {
        let mut broken = good.bytes().to_vec();
        broken[at] ^= 1;
        let code = world.send(alice.at, &broken).code();
        assert!(matches!(code, 400 | 401), "{what}: {code}");
    }
    let wrong_key = sha256_signed(identified(Req::allocate(), &alice), &sha256_key(&alice));
    assert_eq!(world.send(alice.at, wrong_key.bytes()).code(), 401, "nobody said SHA-256");
    assert_eq!(world.send(alice.at, good.bytes()).code(), 0);
}

#[test]
fn rfc8489_14_6_a_truncated_signature_is_dropped() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    for len in [0, 4, 16, 28] {
        let request = identified(Req::allocate(), &alice);
        let value = signature(request.bytes(), &sha256_key(&alice));
        let request = request.with(attr::ATTR_MESSAGE_INTEGRITY_SHA256, &value[..len]);
        world.send(alice.at, request.bytes()).silence();
    }
}

#[test]
fn rfc8489_9_2_4_of_two_signatures_the_stronger_counts() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let sha1 = || identified(Req::allocate(), &alice).integrity(&alice);
    let key = alice.key().0;
    let wrong = sha1().with(attr::ATTR_MESSAGE_INTEGRITY_SHA256, &[0; 32]);
    assert_eq!(world.send(alice.at, wrong.bytes()).code(), 401);
    let both = sha256_signed(sha1(), &key);
    let reply = world.send(alice.at, both.bytes()).reply();
    assert_eq!(reply.code(), 0);
    assert!(is_signed(&reply, &key));
}

#[test]
fn rfc8489_9_2_4_bidding_down_is_400() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let (offered, chosen) = (attr::ATTR_PASSWORD_ALGORITHMS, attr::ATTR_PASSWORD_ALGORITHM);
    let cases = [
        ("an algorithm without the offer", vec![(chosen, &SHA256[..])]),
        ("the offer without an algorithm", vec![(offered, &OFFERED[..])]),
        ("an offer that somebody shortened", vec![(offered, &MD5[..]), (chosen, &MD5)]),
        ("an offer turned around", vec![(offered, &[0, 1, 0, 0, 0, 2, 0, 0][..]), (chosen, &MD5)]),
        ("an algorithm that was not offered", vec![(offered, &OFFERED[..]), (chosen, &[0, 3, 0, 0])]),
        ("parameters that SHA-256 has not", vec![(offered, &OFFERED[..]), (chosen, &[0, 2, 0, 4, 0, 0, 0, 0])]),
    ];
    for (what, attributes) in cases {
        let identified = identified(Req::allocate(), &alice);
        let request = attributes.into_iter().fold(identified, |request, (number, value)| request.with(number, value));
        assert_eq!(world.send(alice.at, request.clone().integrity(&alice).bytes()).code(), 400, "{what}");
        let sha256 = sha256_signed(request, &sha256_key(&alice));
        assert_eq!(world.send(alice.at, sha256.bytes()).code(), 400, "{what}");
    }
}

#[test]
fn rfc8489_9_2_a_name_without_its_hash_is_all_we_take() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let text = format!("{}:{REALM}", alice.credential.username);
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let request = Req::allocate()
        .with(attr::ATTR_USER_HASH, hash.as_ref())
        .with(attr::ATTR_REALM, REALM.as_bytes())
        .with(attr::ATTR_NONCE, &alice.nonce);
    assert_eq!(world.send(alice.at, request.integrity(&alice).bytes()).code(), 400);
}
