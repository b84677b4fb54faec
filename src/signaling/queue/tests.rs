//! What queues hold, and who pays when they hold too much.

use super::*;

fn frame(len: usize) -> Frame {
    "x".repeat(len).into()
}

fn a_queue() -> Arc<Queue> {
    Arc::new(Queue::new(Arc::default()))
}

#[test]
fn frames_and_bytes_are_bounded() {
    let queue = a_queue();
    assert!((0..MAX_FRAMES).all(|_| queue.try_send(frame(1)).is_ok()));
    assert_eq!(queue.try_send(frame(1)), Err(QueueFull));
    assert_eq!(queue.ended(), Some(CloseReason::SlowReader));

    let queue = a_queue();
    assert_eq!(queue.try_send(frame(MAX_BYTES + 1)), Ok(()), "one long frame");
    assert_eq!(queue.try_send(frame(1)), Err(QueueFull));
}

#[test]
fn after_a_lost_frame_nothing_follows() {
    let queue = a_queue();
    while queue.try_send(frame(1000)).is_ok() {}
    while queue.pop().is_some() {}
    assert_eq!(queue.try_send(frame(1)), Err(QueueFull), "a gap must not go unnoticed");
}

#[test]
fn who_is_replaced_is_told_so_even_if_it_does_not_read() {
    let queue = a_queue();
    while queue.try_send(frame(1000)).is_ok() {}
    queue.end(CloseReason::Replaced);
    queue.end(CloseReason::Kicked);
    assert_eq!(queue.ended(), Some(CloseReason::Replaced), "the first reason counts");
}

#[test]
fn an_idle_queue_is_small() {
    let queue = a_queue();
    for _ in 0..1000 {
        queue.try_send(frame(1)).unwrap();
    }
    while queue.pop().is_some() {}
    assert!(queue.state.lock().frames.capacity() <= KEPT_FRAMES);
    assert_eq!(queue.state.lock().bytes, 0);
}

fn queues(common: &Arc<CommonQueue>, count: usize) -> Vec<Arc<Queue>> {
    (0..count).map(|_| Arc::new(Queue::new(common.clone()))).collect()
}

fn used(common: &CommonQueue) -> usize {
    common.used.load(Ordering::Relaxed).try_into().unwrap()
}

fn is_as_new(common: &CommonQueue) -> bool {
    let counts = [&common.used, &common.forgiven].map(|count| count.load(Ordering::Relaxed));
    counts == [0, 0] && common.debtors.lock().is_empty()
}

fn open(queues: &[Arc<Queue>]) -> usize {
    queues.iter().filter(|queue| queue.ended().is_none()).count()
}

#[test]
fn r6_3_all_queues_together_are_bounded_and_give_back() {
    let common = Arc::new(CommonQueue::default());
    let stalled = queues(&common, 100);
    for queue in &stalled {
        for _ in 0..20 {
            let _ = queue.try_send(frame(100_000));
            assert!(used(&common) <= COMMON_BYTES);
        }
    }
    let left = open(&stalled);
    assert!((60..75).contains(&left), "{left}: as many as fit, or nearly");
    for queue in &stalled[..50] {
        while queue.pop().is_some() {}
    }
    stalled[99].clear();
    drop(stalled);
    assert!(is_as_new(&common));
}

#[test]
fn r6_3_a_shared_frame_counts_once() {
    let common = Arc::new(CommonQueue::default());
    let rooms: Vec<_> = (0..10).map(|_| queues(&common, 31)).collect();
    for members in &rooms {
        for _ in 0..20 {
            let frame = frame(100_000);
            assert!(members.iter().all(|queue| queue.try_send(frame.clone()).is_ok()));
        }
    }
    assert!(used(&common) <= 10 * 20 * cost(100_000));
    // A frame counts as long as one queue keeps it.
    let before = used(&common);
    for members in &rooms {
        members[..30].iter().for_each(|queue| queue.clear());
    }
    assert_eq!(used(&common), before);
    drop(rooms);
    assert!(is_as_new(&common));
}

#[test]
fn r6_3_each_sockets_copy_counts() {
    let common = Arc::new(CommonQueue::default());
    let members = queues(&common, 10);
    let shared = frame(100_000);
    for queue in &members {
        queue.try_send(shared.clone()).unwrap();
        assert!(queue.pop().is_some());
    }
    assert_eq!(used(&common), 10 * cost(100_000));
    members.iter().for_each(|queue| assert!(queue.pop().is_none()));
    assert!(is_as_new(&common));
}

#[tokio::test(start_paused = true)]
async fn r6_3_who_stalls_pays_and_never_who_comes_next() {
    const MIB: usize = 1024 * 1024;
    for size in [OWN_BYTES + 10, 300_000, MAX_BYTES] {
        let common = Arc::new(CommonQueue::with_limit(16 * MIB));
        let early = queues(&common, 1).remove(0);
        let stalled = queues(&common, 16 * MIB / size + 20);
        for queue in &stalled {
            let _ = (0..4).try_for_each(|_| queue.try_send(frame(size / 4)));
        }
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        for _ in 0..500 {
            let late = Arc::new(Queue::new(common.clone()));
            for honest in [&early, &late] {
                assert_eq!(honest.try_send(frame(470_000)), Ok(()), "size {size}");
            }
            assert!(used(&common) <= 16 * MIB);
            for honest in [&early, &late] {
                while honest.pop().is_some() {}
                assert_eq!(honest.ended(), None);
            }
        }
        drop(early);
        drop(stalled);
        assert!(is_as_new(&common));
    }
}

#[tokio::test(start_paused = true)]
async fn r6_3_who_reads_a_little_now_and_then_stalls_nevertheless() {
    let common = Arc::new(CommonQueue::with_limit(1_000_000));
    let [trickling, slow] = std::array::from_fn(|_| Arc::new(Queue::new(common.clone())));
    for _ in 0..900 {
        trickling.try_send(frame(1000)).unwrap();
    }
    for _ in 0..10 {
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        trickling.pop();
    }
    slow.try_send(frame(200_000)).unwrap();
    slow.try_send(frame(200_000)).unwrap();
    assert_eq!([&trickling, &slow].map(|queue| queue.ended().is_some()), [true, false]);
    assert!(used(&common) <= 400_200);
}

#[test]
fn r6_3_one_that_paid_holds_nothing_and_only_its_copy_is_awaited() {
    let common = Arc::new(CommonQueue::with_limit(1_000_000));
    let stalled = Arc::new(Queue::new(common.clone()));
    stalled.try_send(frame(600_000)).unwrap();
    assert!(stalled.pop().is_some());
    stalled.try_send(frame(300_000)).unwrap();
    let other = Arc::new(Queue::new(common.clone()));
    other.try_send(frame(500_000)).unwrap();
    assert_eq!((stalled.ended(), other.ended()), (Some(CloseReason::SlowReader), None));
    assert_eq!(used(&common), cost(500_000));
    assert!(stalled.is_empty() && stalled.must_go_at_once(), "600,000 bytes are in its socket's buffer");
    assert!(stalled.pop().is_none());
    assert_eq!(used(&common), cost(500_000));
    drop(stalled);
    drop(other);
    assert!(is_as_new(&common));
}

#[test]
fn r6_3_nothing_is_left_over_when_all_happens_at_once() {
    let common = Arc::new(CommonQueue::with_limit(2_000_000));
    let shared: Vec<_> = (0..8).map(|_| frame(40_000)).collect();
    let members = queues(&common, 12);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (members, shared, common) = (&members, &shared, &common);
            scope.spawn(move || {
                let mut own = queues(common, 3);
                for step in 0..5000_usize {
                    let queue = &members[(step * 7 + thread) % members.len()];
                    match (step * 13 + thread * 5) % 8 {
                        0..4 => drop(queue.try_send(shared[step % 8].clone())),
                        4 => drop(own[step % 3].try_send(frame(50_000))),
                        5 => own[step % 3] = Arc::new(Queue::new(common.clone())),
                        6 if step % 11 == 0 => queue.clear(),
                        _ => drop(queue.pop()),
                    }
                }
            });
        }
    });
    drop(members);
    assert!(is_as_new(&common), "{common:?}");
}

#[test]
fn a_frame_counts_until_it_is_written() {
    let common = Arc::new(CommonQueue::default());
    let queue = Arc::new(Queue::new(common.clone()));
    queue.try_send(frame(OWN_BYTES + 10)).unwrap();
    assert!(queue.pop().is_some());
    assert_eq!(used(&common), cost(OWN_BYTES + 10));
    assert!(queue.pop().is_none());
    assert!(is_as_new(&common));
}

#[test]
fn what_fits_its_own_share_is_never_counted() {
    let common = Arc::new(CommonQueue::with_limit(0));
    let queue = Arc::new(Queue::new(common.clone()));
    for _ in 0..3 {
        for _ in 0..60 {
            queue.try_send(frame(1000)).unwrap();
        }
        assert!(is_as_new(&common));
        while queue.pop().is_some() {}
    }
}
