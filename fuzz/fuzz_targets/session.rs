//! A client with an allocation, a permission and a channel that then sends anything at all.
#![no_main]

use std::{
    hash::RandomState,
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use bimcc_rtc::{
    credentials::{self, Secret},
    membership::{AllocationRef, Directory},
    metrics::TurnCounters,
    turn::{
        Shared,
        auth::{Authority, NonceKeys},
        limiter::AnswerLimiter,
        message::{Family, HEADROOM, TAILROOM, long_term_key},
        peer_policy::{HostAddresses, Mode, PeerPolicy, PeerRules, RelayAddress},
        quota::Quotas,
        session::{Bound, Context, FiveTuple, Now, Output, Session, Via},
    },
};
use libfuzzer_sys::fuzz_target;

const USERNAME: &str = "2000000000:fuzz";
const PEER: ([u8; 4], u16) = ([203, 0, 113, 1], 7000);

/// Relayed addresses fill a megabyte: made once.
static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let relay = RelayAddress { advertised: [198, 51, 100, 1].into(), bind: [198, 51, 100, 1].into() };
    let rules = PeerRules {
        members: Mode::Members,
        api: Mode::Any,
        allow: Vec::new(),
        deny: Vec::new(),
        trusted_proxies: Vec::new(),
        dangerously_allow_loopback: false,
    };
    let host = HostAddresses { own: vec![relay.advertised], relay_v4: Some(relay), ..HostAddresses::default() };
    Shared::new(
        NonceKeys::new(&[1; 32], None),
        Authority::new("fuzz".into(), vec![secret()]),
        PeerPolicy::new(rules, host),
        Arc::new(Directory::new()),
        Quotas::new(1, 1),
    )
});

fn secret() -> Secret {
    Secret::new(*b"fuzz")
}

/// A request of the honest client: attributes, each with its number.
fn request(kind: u16, attributes: &[(u16, &[u8])], client: SocketAddr, unix: u64) -> Vec<u8> {
    use stun::{attributes::AttrType, integrity::MessageIntegrity, message::*};
    let mut message = Message::new();
    message.typ.read_value(kind);
    message.write_header();
    let nonce = SHARED.nonces.make(client, unix);
    let proof = [(0x06, USERNAME.as_bytes()), (0x14, b"fuzz"), (0x15, &nonce)];
    attributes.iter().chain(&proof).for_each(|(number, value)| message.add(AttrType(*number), value));
    let key = long_term_key(USERNAME, "fuzz", &credentials::password(&secret(), USERNAME));
    MessageIntegrity(key.to_vec()).add_to(&mut message).expect("there is no FINGERPRINT yet");
    message.raw
}

fuzz_target!(|input: &[u8]| {
    let client = SocketAddr::from(([192, 0, 2, 1], 1000));
    let mut now = Now { instant: Instant::now(), unix: 1_700_000_000 };
    let counters = Arc::new(TurnCounters::default());
    let mut limiter = AnswerLimiter::new(RandomState::new(), now.instant);
    let mut session = Session::new(FiveTuple { client, server: SocketAddr::from(([198, 51, 100, 1], 3478)) });
    let entry = AllocationRef { worker: 0, key: 0 };
    let relayed = SocketAddr::from(([198, 51, 100, 1], 50_000));
    let transport: &[u8] = &[17, 0, 0, 0];
    let peer: &[u8] = &[0, 1, 0x3A, 0x4A, 203 ^ 0x21, 0x12, 113 ^ 0xA4, 1 ^ 0x42];
    let setup = [
        request(0x0003, &[(0x19, transport)], client, now.unix),
        request(0x0009, &[(0x0C, &[0x40, 0, 0, 0]), (0x12, peer)], client, now.unix),
    ];
    let mut rest = input;
    let mut datagrams = setup.iter().map(Vec::as_slice).collect::<Vec<_>>();
    while let Some((head, tail)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*head)) % 2048;
        let (datagram, more) = tail.split_at(len.min(tail.len()));
        datagrams.push(datagram);
        rest = more;
    }
    for (index, datagram) in datagrams.into_iter().enumerate() {
        let mut cx = Context { now, shared: &SHARED, counters: &counters, limiter: &mut limiter };
        if let Output::BindRelay(_) = session.handle_client(datagram, &mut cx) {
            let mut bound = Bound::default();
            bound.relayed[Family::V4] = Some(relayed);
            session.handle_relay_bound(bound, entry, &mut cx);
        }
        assert!(index > 1 || session.is_allocated(), "the set-up makes an allocation");
        let mut buffer = [vec![0; HEADROOM], datagram.to_vec(), vec![0; TAILROOM]].concat();
        let passed =
            session.handle_peer((PEER.into(), Via::Network), &mut buffer, HEADROOM, HEADROOM + datagram.len(), &cx);
        assert!(index != 1 || passed.is_ok(), "the set-up makes a permission");
        now.instant += Duration::from_secs(datagram.len() as u64 % 64);
        cx.now = now;
        if session.next_deadline().is_some_and(|deadline| deadline <= now.instant) {
            session.handle_timeout(&cx);
        }
        assert!(session.next_deadline().is_none_or(|deadline| deadline > now.instant));
    }
    let cx = Context { now, shared: &SHARED, counters: &counters, limiter: &mut limiter };
    session.end(&cx);
    assert!(!session.is_allocated());
});
