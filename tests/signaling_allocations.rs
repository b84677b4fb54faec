//! A message to a room takes as much memory for many receivers as for one: proven with a counting allocator, in a
//! separate program.
#![allow(clippy::unwrap_used)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bimcc_rtc::{
    credentials::Secret,
    ice_servers::{Issuer, Transports},
    membership::Directory,
    observe::metrics::SignalingMetrics,
    shutdown::Shutdown,
    signaling::{
        Limits, ResumeKey,
        close_reason::CloseReason,
        frame::Frame,
        outbox::{Outbox, QueueFull},
        service::{Client, Clocks, Outcome, Service},
    },
    values::{host::Host, member::MemberId},
};

/// The outbox of a client that reads everything at once.
#[derive(Clone)]
struct Read;

impl Outbox for Read {
    fn try_send(&self, _: Frame) -> Result<(), QueueFull> {
        Ok(())
    }

    fn end(&self, _: CloseReason) {}
}

/// How often the allocator is asked for memory while one of this many members sends a message to all others.
fn allocations(members: usize) -> u64 {
    let issuer =
        Issuer { secret: Secret::new(*b"s"), ttl: Duration::from_secs(600), transports: Transports::default() };
    let (metrics, directory) = (SignalingMetrics::default(), Arc::new(Directory::new()));
    let limits = Limits { max_peers_per_room: members, ..Limits::default() };
    let service =
        Service::new(limits, "this run", issuer, ResumeKey::new(&[7; 32]), directory, &metrics, Shutdown::never());
    let now = Clocks { instant: Instant::now(), unix: 1_000_000 };
    let join = |number| {
        let mut client =
            Client::new(MemberId::from_bits(number), Read, None, Host::parse("192.0.2.1").unwrap().into(), None);
        let verdict = service.handle_text(&mut client, r#"{"eventName":"__join","data":{}}"#, now);
        assert_eq!(verdict, Outcome::CredentialsIssued);
        client
    };
    let mut clients: Vec<_> = (1..=members as u128).map(join).collect();
    let mut say = || {
        let verdict = service.handle_text(
            &mut clients[0],
            r#"{"eventName":"__message","data":{"data":"hello, all of you"}}"#,
            now,
        );
        assert_eq!(verdict, Outcome::Fine);
    };
    say();
    allocation_counter::measure(say).count_total
}

#[test]
fn a_broadcast_takes_no_memory_for_its_receivers() {
    let one = allocations(2);
    assert!(one > 0);
    for members in [3, 32, 500] {
        assert_eq!(allocations(members), one, "{members}");
    }
}
