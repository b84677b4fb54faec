//! The events of sessions: each input, and the exact list of its events.

use std::net::SocketAddr;

use bimcc_rtc::{
    turn::{
        core::{
            event::{EndReason, Ended, Objection, SessionEvent},
            reach::Reach,
            totals::{Total, Totals},
        },
        shared::{auth::CredentialRefusal, peer_policy::PeerRefusal, relayed::OwnerTag},
        wire::code::{ErrorCode, TurnMethod},
    },
    values::{family::Family, member::MemberId},
};

use crate::harness::*;

const PEER: &str = "203.0.113.1:7";
const NETWORK: Reach = Reach::Network { because_of: None };

fn told(world: &mut World) -> Vec<SessionEvent> {
    std::mem::take(&mut world.told).into_iter().map(|(_, event)| event).collect()
}

/// The events of a granted request: those of the request itself around those of its effects.
fn granted(method: TurnMethod, effects: &[SessionEvent]) -> Vec<SessionEvent> {
    [&[SessionEvent::Requested(method)], effects, &[SessionEvent::Answered { method, outcome: Ok(()) }]].concat()
}

fn refused(method: TurnMethod, because: &[Objection], code: ErrorCode) -> Vec<SessionEvent> {
    let mut events = vec![SessionEvent::Requested(method)];
    events.extend(because.iter().map(|objection| SessionEvent::Refused(*objection)));
    events.push(SessionEvent::Answered { method, outcome: Err(code) });
    events
}

fn relay_ended(address: SocketAddr) -> SessionEvent {
    SessionEvent::RelayEnded { family: Family::of(address.ip()), address }
}

fn permitted(is_new: bool) -> SessionEvent {
    SessionEvent::Permitted { ip: addr(PEER).ip(), reach: NETWORK, is_new }
}

#[track_caller]
fn the_end(world: &mut World) -> (Vec<SessionEvent>, Ended) {
    let mut events = told(world);
    let Some(SessionEvent::Ended(ended)) = events.pop() else {
        panic!("the end comes last: {events:?}");
    };
    (events, *ended)
}

#[test]
fn an_allocation_is_told_with_all_that_there_is_to_know_of_it() {
    let mut world = World::new();
    world.enter(7, 1, Some("192.0.2.1"));
    let member = world.member_client(7, "192.0.2.1:1000");
    told(&mut world);
    let (member, relayed) = world.allocated(member);
    let events = told(&mut world);
    let [requested, SessionEvent::Allocated(allocated), answered] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!([requested.clone(), answered.clone()].to_vec(), granted(TurnMethod::Allocate, &[]));
    assert_eq!(*allocated.holder.username, *member.credential.username);
    assert_eq!(allocated.holder.owner, OwnerTag::Room(room(1)));
    assert_eq!(allocated.holder.member.unwrap().id, MemberId::from_bits(7));
    assert_eq!(allocated.holder.tuple.client, member.at);
    assert_eq!((allocated.relayed[Family::V4], allocated.relayed[Family::V6]), (Some(relayed), None));
    assert_eq!(allocated.lifetime, seconds(600));
}

#[test]
fn permissions_and_channels_are_told_new_or_not_and_when_they_end() {
    let mut world = World::new();
    let alice = world.alice();
    told(&mut world);
    for is_new in [true, false] {
        assert_eq!(world.request(&alice, Req::permission(&[PEER])).code(), 0);
        assert_eq!(told(&mut world), granted(TurnMethod::CreatePermission, &[permitted(is_new)]));
    }
    let (number, peer) = (0x4000, addr(PEER));
    for is_new in [true, false] {
        assert_eq!(world.request(&alice, Req::channel_bind(number, PEER)).code(), 0);
        let bound = SessionEvent::ChannelBound { number, peer, is_new };
        assert_eq!(told(&mut world), granted(TurnMethod::ChannelBind, &[bound, permitted(false)]));
    }
    world.pass(seconds(300));
    assert_eq!(told(&mut world), [SessionEvent::PermissionEnded { ip: peer.ip() }]);
    assert_eq!(world.request(&alice, Req::refresh(3600)).code(), 0);
    let refreshed = SessionEvent::Refreshed { lifetime: seconds(3600), is_after_expiry: false };
    assert_eq!(told(&mut world), granted(TurnMethod::Refresh, &[refreshed]));
    world.pass(seconds(300));
    assert_eq!(told(&mut world), [SessionEvent::ChannelEnded { number, peer }]);
    world.pass(seconds(300));
    assert_eq!(told(&mut world), [], "a channel's rest is nobody's business");
}

#[test]
fn the_end_is_told_with_sums_and_a_reason() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let (alice, relayed) = world.allocated(alice);
    world.request(&alice, Req::channel_bind(0x4000, PEER));
    for _ in 0..3 {
        world.send(alice.at, &channel_data(0x4000, &[1; 100])).over_the_network();
    }
    world.send(alice.at, Req::send(addr(PEER), &[1; 11]).bytes()).over_the_network();
    world.send(alice.at, Req::send(addr("203.0.113.2:1"), &[1; 1000]).bytes()).silence();
    world.peer_sends(alice.at, addr(PEER), &[2; 50]).unwrap();
    assert_eq!(world.peer_sends(alice.at, addr("203.0.113.2:1"), &[2; 50]), None);
    world.pass(seconds(10));
    told(&mut world);
    assert_eq!(world.request(&alice, Req::refresh(0)).code(), 0);
    let answered = world.told.pop().unwrap().1;
    assert_eq!(answered, SessionEvent::Answered { method: TurnMethod::Refresh, outcome: Ok(()) });
    let (before, ended) = the_end(&mut world);
    let expected = [
        SessionEvent::Requested(TurnMethod::Refresh),
        SessionEvent::PermissionEnded { ip: addr(PEER).ip() },
        SessionEvent::ChannelEnded { number: 0x4000, peer: addr(PEER) },
        relay_ended(relayed),
    ];
    assert_eq!(before, expected);
    let totals = Totals { from_client: Total { packets: 4, bytes: 311 }, to_client: Total { packets: 1, bytes: 50 } };
    assert_eq!((ended.reason, ended.totals, ended.duration), (EndReason::GivenUp, totals, seconds(10)));
    assert_eq!((&*ended.holder.username, ended.holder.tuple.client), (&*alice.credential.username, alice.at));
}

#[test]
fn each_end_has_its_reason() {
    let mut world = World::new();
    world.enter(7, 1, Some("192.0.2.1"));
    let member = world.member_client(7, "192.0.2.1:1000");
    let (_, relayed) = world.allocated(member.clone());
    told(&mut world);
    world.leave(7);
    let (before, ended) = the_end(&mut world);
    assert_eq!((before, ended.reason), (vec![relay_ended(relayed)], EndReason::MemberLeft));

    // The session notices this at its next packet, before it is told.
    world.enter(7, 1, Some("192.0.2.1"));
    let (_, relayed) = world.allocated(member);
    world.directory.leave(MemberId::from_bits(7));
    told(&mut world);
    world.send(addr("192.0.2.1:1000"), &channel_data(0x4000, b"hi")).silence();
    let (before, ended) = the_end(&mut world);
    assert_eq!((before, ended.reason), (vec![relay_ended(relayed)], EndReason::MemberLeft));

    let alice = world.alice();
    told(&mut world);
    world.pass(seconds(600));
    let (_, ended) = the_end(&mut world);
    assert_eq!((ended.reason, ended.duration), (EndReason::Expired, seconds(600)));

    let alice = world.allocated(alice).0;
    told(&mut world);
    world.end(alice.at);
    assert_eq!(the_end(&mut world).1.reason, EndReason::TransportGone);
}

#[test]
fn one_of_two_relayed_addresses_ends_by_itself() {
    let mut world = World::new();
    let alice = world.api_client("alice", "192.0.2.1:1000");
    let both = Req::allocate().with(ATTR_ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    let relayed = world.request(&alice, both).reply().all_relayed();
    told(&mut world);
    assert_eq!(world.request(&alice, Req::refresh(0).family(2)).code(), 0);
    assert_eq!(told(&mut world), granted(TurnMethod::Refresh, &[relay_ended(relayed[1])]));
    world.end(alice.at);
    assert_eq!(the_end(&mut world).0, [relay_ended(relayed[0])]);
}

#[test]
fn refusals_are_told_with_their_reason() {
    let mut world = World::with(Setup {
        rules: bimcc_rtc::turn::shared::peer_policy::PeerRules {
            deny: vec!["203.0.113.0/24".parse().unwrap()],
            ..Setup::default().rules
        },
        ..Setup::default()
    });
    let alice = world.alice();
    told(&mut world);
    assert_eq!(world.request(&alice, Req::permission(&[PEER])).code(), 403);
    let denied = Objection::Peer { ip: addr(PEER).ip(), reason: PeerRefusal::DeniedByConfig };
    assert_eq!(told(&mut world), refused(TurnMethod::CreatePermission, &[denied], ErrorCode::Forbidden));

    let mut mallory = world.api_client("mallory", "192.0.2.9:1");
    mallory.credential.password = "guessed".into();
    told(&mut world);
    assert_eq!(world.request(&mallory, Req::allocate()).code(), 401);
    let wrong = Objection::Credential(CredentialRefusal::WrongPassword);
    assert_eq!(told(&mut world), refused(TurnMethod::Allocate, &[wrong], ErrorCode::Unauthenticated));
}

#[test]
fn a_relay_that_was_bound_for_nothing_is_told_to_have_ended() {
    let mut world = World::new();
    world.enter(7, 1, Some("192.0.2.1"));
    let member = world.member_client(7, "192.0.2.1:1000");
    let directory = world.directory.clone();
    world.while_binding = Some(Box::new(move |_, _| directory.leave(MemberId::from_bits(7))));
    told(&mut world);
    assert_eq!(world.request(&member, Req::allocate()).code(), 401);
    let events = told(&mut world);
    let not_here = SessionEvent::Refused(Objection::Credential(CredentialRefusal::NotHere));
    let [.., SessionEvent::Withdrawn(entry), SessionEvent::RelayEnded { .. }, because, _] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((entry.id, because), (MemberId::from_bits(7), &not_here));
}
