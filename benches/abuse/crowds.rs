//! Crowds: half-open connections from everywhere in a network, and members from one address. Each has a server of its own
//! in a network namespace, where clients come from any address, and honest clients come meanwhile.

use std::{
    net::{IpAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::common::crowd::{HONEST, World, v6};

/// What honest clients are: where they come from, and how many connections they open besides.
const KINDS: [(&str, usize); 3] = [(HONEST[0], 0), (HONEST[1], 0), (HONEST[1], 2)];

/// The address of each of a crowd.
type ByNumber = fn(u128) -> IpAddr;

/// Each row of `docs/BENCHMARKS.md`, for half-open connections so many, and for so many files.
pub(crate) fn run(files: usize, half_open: usize) {
    println!(
        "\n| crowd | files most | who had to make room, or was refused | honest clients: IPv4, IPv6, browser | p50, most |"
    );
    println!("|---|---|---|---|---|");
    let floods: [(&str, ByNumber); 4] = [
        ("a /48, one for each /64", |index| v6("2001:db8:7::", 64, index % 65_536)),
        ("a /32, one for each /48", |index| v6("2001:db8::", 48, 0x1000 + index % 50_000)),
        ("a /15 of IPv4, one for each address", |index| {
            IpAddr::from((0xC612_0000 + index as u32 % 131_072).to_be_bytes())
        }),
        ("both families", |index| {
            if index % 2 == 0 {
                IpAddr::from([198, 18, 7, index as u8])
            } else {
                v6("2001:db8:7::", 64, index % 65_536)
            }
        }),
    ];
    for (name, address) in floods {
        let Some(world) = World::with_files(files, "--log error") else { return };
        let reason = "connections_refused_total{reason=\"too_many_half_open\"}";
        let most = files - 500;
        let flood = |is_over: &AtomicBool| {
            let mut held = std::collections::VecDeque::<TcpStream>::new();
            for index in 0_u128.. {
                if is_over.load(Ordering::Relaxed) && index >= half_open as u128 {
                    break;
                }
                held.extend(world.connect_http(address(index)));
                if held.len() > most {
                    held.pop_front();
                }
            }
        };
        row(&world, &format!("half-open connections from {name}"), reason, flood);
    }
    let Some(world) = World::with_files(files, "--log error") else { return };
    let reason = "connections_refused_total{reason=\"too_many_from_address\"}";
    let greedy = |is_over: &AtomicBool| {
        let (members, status) = world.join_all(std::iter::repeat(IpAddr::from([198, 18, 0, 1])));
        println!("<!-- {} members, then {status} -->", members.len());
        while !is_over.load(Ordering::Relaxed) {
            assert_eq!(world.upgrade(IpAddr::from([198, 18, 0, 1])).0, "429");
            thread::sleep(Duration::from_millis(1));
        }
    };
    row(&world, "members from one address, as many as it gets", reason, greedy);
}

/// Lets honest clients come while the crowd does, until each kind has come often enough, and prints what became of it.
fn row(world: &World, name: &str, reason: &str, crowd: impl Fn(&AtomicBool) + Sync) {
    const EACH: usize = 40;
    let (is_over, most_files) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mut served, mut took) = ([0; KINDS.len()], Vec::new());
    let outcome = thread::scope(|scope| {
        let crowding = scope.spawn(|| crowd(&is_over));
        let looking = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                most_files.fetch_max(world.server.open_files(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let deadline = Instant::now() + 4 * crate::common::process::PATIENCE;
        while world.server.metric(reason) == 0 {
            assert!(Instant::now() < deadline, "the limit has not shown");
            thread::sleep(Duration::from_millis(5));
        }
        let honest = scope.spawn(move || {
            for _ in 0..EACH {
                for (kind, (address, spare)) in KINDS.iter().enumerate() {
                    let started = Instant::now();
                    let (member, _spare) = runtime.block_on(world.honest_client(address, *spare));
                    took.push(started.elapsed());
                    assert!(member.is_there());
                    served[kind] += 1;
                }
            }
            (served, took)
        });
        let outcome = honest.join();
        is_over.store(true, Ordering::Relaxed);
        crowding.join().unwrap();
        looking.join().unwrap();
        outcome
    });
    let (served, mut took) = outcome.expect("honest clients failed");
    took.sort_unstable();
    let [v4, v6, browser] = served.map(|served| format!("{served} of {EACH}"));
    println!(
        "| {name} | {} | {} | {v4}, {v6}, {browser} | {:.1?}, {:.1?} |",
        most_files.into_inner(),
        world.server.metric(reason),
        took[took.len() / 2],
        took[took.len() - 1]
    );
}
