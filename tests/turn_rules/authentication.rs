//! RFC 8489 section 9.2: the long-term credential mechanism, from the server's side.

use bimcc_rtc::{
    credentials::{self, MemberKey, Secret, User},
    turn::shared::auth::NONCE_LIFETIME,
    values::member::MemberId,
};

use crate::harness::*;

const AT: &str = "192.0.2.1:1000";

/// Every request that needs authentication.
fn requests() -> [Req; 4] {
    [
        Req::allocate(),
        Req::refresh(600),
        Req::permission(&["203.0.113.1:1"]),
        Req::channel_bind(0x4000, "203.0.113.1:1"),
    ]
}

#[test]
fn rfc8489_9_2_4_without_integrity_401_with_realm_and_nonce() {
    let mut world = World::new();
    let at = addr(AT);
    for request in requests() {
        let reply = world.send(at, request.bytes()).reply();
        assert_eq!(reply.code(), 401);
        assert!(!reply.nonce().is_empty());
        assert_eq!(reply.value(attr::ATTR_MESSAGE_INTEGRITY), None);
        assert_eq!(reply.value(attr::ATTR_USERNAME), None);
    }
    // A name without a signature proves nothing.
    let alice = world.api_client("alice", AT);
    let unsigned = Req::allocate().with(attr::ATTR_USERNAME, alice.credential.username.as_bytes());
    assert_eq!(world.send(at, unsigned.bytes()).code(), 401);
}

#[test]
fn rfc8489_9_2_4_integrity_without_username_realm_or_nonce_is_400() {
    let mut world = World::new();
    let alice = world.api_client("alice", AT);
    let (username, realm) = (alice.credential.username.as_bytes(), REALM.as_bytes());
    let all = [(attr::ATTR_USERNAME, username), (attr::ATTR_REALM, realm), (attr::ATTR_NONCE, &alice.nonce[..])];
    for missing in 0..3 {
        let present = all.iter().enumerate().filter(|(index, _)| *index != missing);
        let request = present.fold(Req::allocate(), |request, (_, (attribute, value))| request.with(*attribute, value));
        let reply = world.send(alice.at, request.integrity(&alice).bytes()).reply();
        assert_eq!(reply.code(), 400, "without attribute {missing}");
    }
    assert_eq!(world.clients(), []);
}

#[test]
fn rfc8489_9_2_4_a_username_that_is_no_text_is_400() {
    let mut world = World::new();
    let alice = world.api_client("alice", AT);
    let request = Req::allocate()
        .with(attr::ATTR_USERNAME, &[0xFF, 0xFE])
        .with(attr::ATTR_REALM, REALM.as_bytes())
        .with(attr::ATTR_NONCE, &alice.nonce)
        .integrity(&alice);
    assert_eq!(world.send(alice.at, request.bytes()).code(), 400);
}

#[test]
fn rfc8489_9_2_4_a_wrong_password_is_401() {
    let mut world = World::new();
    let mut alice = world.api_client("alice", AT);
    alice.credential.password.push('x');
    for request in requests() {
        let reply = world.request(&alice, request).reply();
        assert_eq!(reply.code(), 401);
        assert!(!reply.nonce().is_empty());
    }
    assert_eq!(world.clients(), []);
}

#[test]
fn rfc8489_9_2_4_a_wrong_password_is_401_for_an_allocation_as_well() {
    let mut world = World::new();
    let mut alice = world.alice();
    alice.credential.password.push('x');
    for request in requests() {
        assert_eq!(world.request(&alice, request).code(), 401);
    }
    assert!(world.relayed(alice.at).is_some());
}

#[test]
fn rfc8489_9_2_4_unknown_users_are_401() {
    let mut world = World::new();
    for username in ["", "alice", "-1:alice", "+9999999999:alice", "99999999999999999999999:alice", "never:alice"] {
        let mut client = world.api_client("alice", AT);
        // The right password for a name that is not of the server's form.
        client.credential.username = username.into();
        client.credential.password = credentials::password(&Secret::new(SECRET), username);
        assert_eq!(world.request(&client, Req::allocate()).code(), 401, "{username:?}");
    }
    let mut nobody = world.api_client("alice", AT);
    nobody.credential.username = nobody.credential.username.replace("alice", "nobody");
    assert_eq!(world.request(&nobody, Req::allocate()).code(), 401);
}

#[test]
fn rfc8489_9_2_4_the_expiry_may_stand_behind_the_name() {
    let (good, over) = (UNIX_START + 100, UNIX_START);
    for (username, code) in [
        (format!("{good}:alice"), 0),
        (format!("alice:{good}"), 0),
        (format!("{good}"), 0),
        (format!("{good}:{over}"), 0),
        (format!("alice:{good}:room"), 0),
        (format!("{over}:alice"), 401),
        (format!("alice:{over}"), 401),
        // Of two numbers, the first one counts.
        (format!("{over}:{good}"), 401),
        (format!("5:{good}"), 401),
    ] {
        let mut world = World::new();
        let client = world.client_named(&username, AT);
        assert_eq!(world.request(&client, Req::allocate()).code(), code, "{username}");
        let expired = world.metric("credential_refusals_total{reason=\"expired\"}");
        assert_eq!(expired, u64::from(code == 401), "{username}");
    }
}

#[test]
fn rfc8489_9_2_4_why_credentials_are_refused_is_counted() {
    let mut world = World::new();
    let milliseconds = (UNIX_START + 100) * 1000;
    for (username, reason) in [
        ("alice".to_owned(), "no_expiry"),
        ("alice:bob".to_owned(), "no_expiry"),
        (format!("{milliseconds}:alice"), "not_seconds"),
        (format!("alice:{milliseconds}"), "not_seconds"),
        (format!("{milliseconds}"), "not_seconds"),
        (format!("{milliseconds}000:alice"), "not_seconds"),
        ("99999999999999999999999:alice".to_owned(), "not_seconds"),
    ] {
        let count = |world: &World| world.metric(&format!("credential_refusals_total{{reason=\"{reason}\"}}"));
        let before = count(&world);
        let client = world.client_named(&username, AT);
        assert_eq!(world.request(&client, Req::allocate()).code(), 401, "{username}");
        assert_eq!(count(&world), before + 1, "{username}");
    }
    let mut client = world.api_client("alice", AT);
    client.credential.password.push('x');
    world.request(&client, Req::allocate());
    assert_eq!(world.metric("credential_refusals_total{reason=\"wrong_password\"}"), 1);
    let nobody = world.member_client(1, AT);
    assert_eq!(world.request(&nobody, Req::allocate()).code(), 401);
    assert_eq!(world.metric("credential_refusals_total{reason=\"not_here\"}"), 1);
}

#[test]
fn rfc8489_9_2_4_who_shares_the_secret_cannot_mint_for_a_member() {
    let mut world = World::new();
    world.enter(7, 1, None);
    let (id, good) = (MemberId::from_bits(7), UNIX_START + 100);
    for username in [
        format!("{good}:{id}"),
        format!("{id}:{good}"),
        format!("{id}:{good}:x"),
        format!("{id}:0{good}"),
        format!("0{good}:{id}"),
    ] {
        let forged = world.client_named(&username, AT);
        for request in requests() {
            assert_eq!(world.request(&forged, request).code(), 401, "{username}");
        }
    }
    assert_eq!(world.metric("credential_refusals_total{reason=\"wrong_password\"}"), 5 * 4);
    assert_eq!(world.clients(), []);

    // It may not act on a member's allocation either.
    let member = world.member_client(7, AT);
    let (member, _) = world.allocated(member);
    let forged = world.client_named(&member.credential.username, AT);
    assert_eq!(world.request(&forged, Req::refresh(0)).code(), 401);
    assert!(world.relayed(member.at).is_some());
    // A name that only looks like a member's is an ordinary name.
    for (port, name) in (1..).zip(["m-7", "M-00000000000000000000000000000007", "m-0000000000000000000000000000000G"]) {
        let client = world.client_named(&format!("{name}:{good}"), &format!("192.0.2.3:{port}"));
        world.allocated(client);
    }
}

#[test]
fn rfc8489_9_2_4_members_verify_by_each_of_several_secrets_and_by_no_other_servers() {
    let secrets = vec![Secret::new(*b"new"), Secret::new(SECRET)];
    let mut world = World::with(Setup { secrets, ..Setup::default() });
    world.enter(7, 1, None);
    let user = User::Member(MemberId::from_bits(7));
    let mint =
        |key: MemberKey, secret: &[u8]| credentials::mint(&key.secret(&Secret::new(secret)), &user, UNIX_START + 100);
    for (port, credential, code) in [
        (1, mint(member_key(), b"new"), 0),
        (2, mint(member_key(), SECRET), 0),
        (3, mint(member_key(), b"gone"), 401),
        (4, mint(MemberKey::new(&[6; 32]), b"new"), 401),
    ] {
        let client = Client { credential, ..world.client(&user, &format!("192.0.2.1:{port}"), 0) };
        assert_eq!(world.request(&client, Req::allocate()).code(), code, "{port}");
    }
}

#[test]
fn rfc8489_9_2_4_one_cannot_prolong_ones_own_credential() {
    let mut world = World::new();
    let mut alice = world.api_client("alice", AT);
    alice.credential.username = alice.credential.username.replacen('1', "2", 1);
    assert_eq!(world.request(&alice, Req::allocate()).code(), 401);
}

#[test]
fn rfc8489_9_2_4_another_clients_nonce_is_438() {
    let mut world = World::new();
    let alice = world.api_client("alice", AT);
    for at in ["192.0.2.1:1001", "192.0.2.2:1000", "[2001:db8::1]:1000"] {
        let thief = Client { at: addr(at), ..alice.clone() };
        let reply = world.request(&thief, Req::allocate()).reply();
        assert_eq!(reply.code(), 438, "{at}");
        let honest = Client { nonce: reply.nonce(), ..thief };
        assert_eq!(world.request(&honest, Req::allocate()).code(), 0, "the fresh nonce is good");
    }
}

#[test]
fn rfc8489_9_2_4_an_old_nonce_is_438_and_the_fresh_one_is_good() {
    let mut world = World::new();
    let alice = world.client(&User::api("alice").unwrap(), AT, UNIX_START + 10_000);
    let (mut alice, _) = world.allocated(alice);
    assert_eq!(world.request(&alice, Req::refresh(3600)).code(), 0);
    for _ in 0..6 {
        world.pass(seconds(NONCE_LIFETIME / 6));
        assert_eq!(world.request(&alice, Req::refresh(3600)).code(), 0, "good for its whole life");
    }
    world.pass(seconds(1));
    let reply = world.request(&alice, Req::refresh(600)).reply();
    assert_eq!(reply.code(), 438);
    assert_eq!(reply.value(attr::ATTR_MESSAGE_INTEGRITY), None);
    alice.nonce = reply.nonce();
    assert_eq!(world.request(&alice, Req::refresh(600)).code(), 0);
}

#[test]
fn rfc8489_9_2_4_a_changed_nonce_is_438() {
    let mut world = World::new();
    let alice = world.api_client("alice", AT);
    let mut nonces: Vec<Vec<u8>> = (0..alice.nonce.len())
        .map(|index| {
            let mut nonce = alice.nonce.clone();
            nonce[index] = if nonce[index] == b'A' { b'B' } else { b'A' };
            nonce
        })
        .collect();
    nonces.extend([vec![], alice.nonce[1..].to_vec(), [&alice.nonce[..], b"A"].concat(), vec![b'A'; 763]]);
    for nonce in nonces {
        let changed = Client { nonce: nonce.clone(), ..alice.clone() };
        assert_eq!(world.request(&changed, Req::allocate()).code(), 438, "{nonce:?}");
    }
}

#[test]
fn rfc8489_9_2_4_a_nonce_serves_many_requests() {
    let mut world = World::new();
    let alice = world.alice();
    for _ in 0..10 {
        assert_eq!(world.request(&alice, Req::refresh(600)).code(), 0);
    }
}

#[test]
fn rfc8489_9_2_4_every_changed_byte_spoils_a_request() {
    let mut world = World::new();
    let alice = world.api_client("alice", AT);
    let request = Req::allocate().auth(&alice);
    for index in 0..request.bytes().len() {
        for bit in 0..8 {
            let mut changed = request.bytes().to_vec();
            changed[index] ^= 1 << bit;
            world.send(alice.at, &changed);
            assert_eq!(world.clients(), [], "byte {index}, bit {bit}");
        }
    }
    assert_eq!(world.send(alice.at, request.bytes()).code(), 0);
}

#[test]
fn rfc8489_14_5_attributes_behind_the_integrity_are_ignored() {
    let mut world = World::new();
    let alice = world.api_client("alice", AT);
    let transport = Req::new(METHOD_ALLOCATE).auth(&alice).with(attr::ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    assert_eq!(world.send(alice.at, transport.bytes()).code(), 400);
    let lifetime = Req::allocate().auth(&alice).lifetime(3600);
    assert_eq!(world.send(alice.at, lifetime.bytes()).reply().lifetime(), 600);
    let peer = Req::permission(&["203.0.113.1:1"]).auth(&alice).peer(addr("203.0.113.2:1"));
    assert_eq!(world.send(alice.at, peer.bytes()).code(), 0);
    assert_eq!(world.metric("permissions"), 1);
    let unknown = Req::refresh(600).auth(&alice).with(attr::AttrType(0x7777), b"");
    assert_eq!(world.send(alice.at, unknown.bytes()).code(), 0);
    let deletes = Req::new(METHOD_REFRESH).auth(&alice).lifetime(0).fingerprint();
    assert_eq!(world.send(alice.at, deletes.bytes()).reply().lifetime(), 600);
}

#[test]
fn rfc8489_14_5_names_behind_the_integrity_do_not_count() {
    let mut world = World::new();
    let alice = world.api_client("alice", AT);
    let request = Req::allocate()
        .integrity(&alice)
        .with(attr::ATTR_USERNAME, alice.credential.username.as_bytes())
        .with(attr::ATTR_REALM, REALM.as_bytes())
        .with(attr::ATTR_NONCE, &alice.nonce);
    assert_eq!(world.send(alice.at, request.bytes()).code(), 400);
}

#[test]
fn rfc8489_9_2_4_answers_to_the_proven_are_signed() {
    let mut world = World::new();
    let alice = world.alice();
    let codes = [
        (Req::allocate(), 437),
        (Req::refresh(600).family(2), 443),
        (Req::refresh(600).with(attr::AttrType(0x7777), b""), 420),
        (Req::new(METHOD_CREATE_PERMISSION), 400),
        (Req::permission(&["127.0.0.1:1"]), 403),
        (Req::channel_bind(0x3FFF, "203.0.113.1:1"), 400),
        (Req::permission(&["203.0.113.1:1"]), 0),
        (Req::channel_bind(0x4000, "203.0.113.1:1"), 0),
        (Req::refresh(0), 0),
        (Req::refresh(0), 437),
    ];
    for (request, code) in codes {
        let reply = world.request(&alice, request).reply();
        assert_eq!(reply.code(), code);
        assert!(reply.is_signed_for(&alice), "{code}");
    }
}

#[test]
fn every_configured_secret_verifies() {
    let setup = Setup { secrets: vec![Secret::new(*b"new"), Secret::new(SECRET)], ..Setup::default() };
    let mut world = World::with(setup);
    let old = world.api_client("alice", AT);
    let (old, _) = world.allocated(old);
    assert_eq!(world.request(&old, Req::refresh(600)).code(), 0);
    let mut new = world.api_client("bob", "192.0.2.2:1");
    new.credential = credentials::mint(&Secret::new(*b"new"), &User::api("bob").unwrap(), UNIX_START + 100);
    world.allocated(new.clone());
    new.credential = credentials::mint(&Secret::new(*b"other"), &User::api("bob").unwrap(), UNIX_START + 100);
    assert_eq!(world.request(&new, Req::refresh(600)).code(), 401);
}
