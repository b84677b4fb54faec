//! Which locks are taken while somebody leaves.

use std::sync::{
    Weak,
    atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::membership::AllocationRef;

const MEMBERS: usize = 10_000;
const PER_ROOM: usize = 25;
const ALLOCATIONS: usize = 200;

/// The outbox of clients whose frames do not matter.
#[derive(Clone)]
struct Nowhere;

impl Outbox for Nowhere {
    fn try_send(&self, _: Frame) -> Result<(), QueueFull> {
        Ok(())
    }

    fn end(&self, _: CloseReason) {}
}

fn service(directory: Arc<Directory>) -> Arc<Service<Nowhere>> {
    let issuer =
        Issuer { secret: Secret::new(*b"s"), ttl: Duration::from_secs(TTL), transports: Transports::default() };
    let metrics = Metrics::new();
    let key = ResumeKey::new(&[7; 32]);
    Arc::new(Service::new(Limits::default(), "this-run", issuer, key, directory, &metrics.signaling, Shutdown::never()))
}

fn say(service: &Service<Nowhere>, client: &mut Client<Nowhere>, event: &str, room: usize) {
    let text = json!({"eventName": event, "data": {"room": room.to_string()}}).to_string();
    let verdict = service.handle_text(client, &text, Clocks { instant: Instant::now(), unix: NOW });
    assert!(matches!(verdict, Outcome::Fine | Outcome::CredentialsIssued), "{verdict:?}");
}

fn members(service: &Service<Nowhere>, count: usize) -> Vec<Client<Nowhere>> {
    let join = |number: usize| {
        let id = MemberId::from_bits(number as u128 + 1);
        let mut client = Client::new(id, Nowhere, None, Host::parse("192.0.2.1").unwrap().into(), None);
        say(service, &mut client, "__join", number / PER_ROOM);
        client
    };
    (0..count).map(join).collect()
}

#[test]
fn nothing_is_locked_while_the_allocations_of_one_who_leaves_end() {
    let directory = Arc::new(Directory::new());
    let service = service(directory.clone());
    let mut members = members(&service, MEMBERS);
    let ended = Arc::new(AtomicUsize::new(0));
    let (count, all): (_, Weak<Service<Nowhere>>) = (ended.clone(), Arc::downgrade(&service));
    directory.on_end_allocation(Box::new(move |_| {
        let service = all.upgrade().unwrap();
        assert!(service.shards.iter().all(|shard| shard.owned.try_lock().is_some()));
        assert!(service.rosters.iter().all(|roster| roster.try_lock().is_some()));
        assert_eq!(service.directory.len(), MEMBERS - 1, "can be asked, and knows that it is gone");
        count.fetch_add(1, Ordering::Relaxed);
    }));
    let leaver = &mut members[MEMBERS / 2];
    for key in 0..ALLOCATIONS as u64 {
        assert!(directory.allocation_opened(leaver.id(), AllocationRef { worker: 0, key }));
    }
    say(&service, leaver, "__leave", 0);
    assert_eq!(ended.load(Ordering::Relaxed), ALLOCATIONS);
}

#[cfg(debug_assertions)]
#[test]
fn who_leaves_takes_the_locks_of_its_own_shards_only_one_after_another() {
    let service = service(Arc::new(Directory::new()));
    let mut members = members(&service, MEMBERS / 10);
    let leaver = &mut members[MEMBERS / 20];
    let shard = leaver.room.as_ref().unwrap().shard;
    let ids = (leaver.id().to_bits() % ROSTERS as u128) as usize;
    let ((), taken) = locks::taken_by(|| say(&service, leaver, "__leave", 0));
    assert_eq!(taken, [LockName("rooms", shard), LockName("directory", 0), LockName("ids", ids)]);

    // Talking takes only the lock of its room's shard.
    let speaker = &mut members[0];
    let shard = speaker.room.as_ref().unwrap().shard;
    let text = json!({"eventName": "__message", "data": {"data": 1}}).to_string();
    let now = Clocks { instant: Instant::now(), unix: NOW };
    let (_, taken) = locks::taken_by(|| service.handle_text(speaker, &text, now));
    assert_eq!(taken, [LockName("rooms", shard)]);
}
