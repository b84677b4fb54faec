//! How workers and streams reach each other: datagrams for clients of others, and commands from the rest of the
//! process.
//!
//! Datagrams travel in bounded lock-free queues, in buffers that return to the sender's pool, so passing one on needs
//! no lock and (once the pool is filled) allocates no memory. If a queue is full, the datagram is dropped, as a network
//! would do.

use std::{
    io,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
};

use crossbeam_queue::ArrayQueue;
use mio::Waker;

use super::{inbox::Inboxes, payload::Payload};
use crate::{
    membership::AllocationRef,
    turn::shared::relayed::Home,
    values::addresses::{PeerAddr, RelayedAddr},
};

/// Datagrams that may wait for one worker.
const QUEUE: usize = 1024;

/// Bytes that may wait for one worker: more than a full queue of datagrams that each fit into one packet.
const QUEUED_BYTES: usize = 4 << 20;

/// Buffers that a worker keeps for sending.
const POOL: usize = 256;

/// Buffers that grew beyond this are not kept.
const POOLED_CAPACITY: usize = 4096;

/// A relayed datagram on its way to the worker of its receiver.
#[derive(Debug)]
pub(super) struct Parcel {
    /// The relayed address of the sender.
    pub(super) from: PeerAddr,
    /// The relayed address of the receiver.
    pub(super) to: RelayedAddr,
    /// The receiver when it was looked up. It may be gone by now.
    pub(super) home: Home,
    /// The worker of the sender, to which the buffer belongs.
    sender: u16,
    /// The data.
    pub(super) payload: Payload,
}

/// A command for a worker.
#[derive(Clone, Copy, Debug)]
pub(super) enum WorkerCommand {
    /// The owner of this allocation is gone.
    End(AllocationRef),
    /// A relayed address is held for a later allocation, so there may be a new deadline.
    Held,
    /// The process is shutting down.
    Stop,
}

/// The receiving side of one worker, as the others see it.
#[derive(Debug)]
pub(super) struct Mailbox {
    parcels: ArrayQueue<Parcel>,
    /// The number of payload bytes in `parcels`, increased before a parcel is added and decreased after it is removed.
    queued_bytes: AtomicUsize,
    pool: ArrayQueue<Vec<u8>>,
    commands: mpsc::Sender<WorkerCommand>,
    waker: Waker,
    /// Whether the owner may be waiting in the kernel.
    asleep: AtomicBool,
}

impl Mailbox {
    /// A mailbox whose owner is woken by `waker` and reads commands from the receiver.
    pub(super) fn new(waker: Waker) -> (Self, mpsc::Receiver<WorkerCommand>) {
        let (commands, receiver) = mpsc::channel();
        let mailbox = Self {
            parcels: ArrayQueue::new(QUEUE),
            queued_bytes: AtomicUsize::new(0),
            pool: ArrayQueue::new(POOL),
            commands,
            waker,
            asleep: AtomicBool::new(false),
        };
        (mailbox, receiver)
    }

    /// Gives a command, which the owner sees soon.
    pub(super) fn command(&self, command: WorkerCommand) {
        // This fails only if the owner is gone, and then the command is of no use. The owner is always woken, because
        // before it falls asleep it checks for datagrams but not for commands.
        if self.commands.send(command).is_ok() {
            let _: io::Result<()> = self.waker.wake();
        }
    }

    /// Must be called when the owner is about to wait in the kernel. `false` if it must not wait, because a datagram is
    /// already here.
    pub(super) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        self.parcels.is_empty()
    }

    /// Must be called when the owner is awake, so that senders need not wake it.
    pub(super) fn wake_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// The next datagram.
    pub(super) fn next(&self) -> Option<Parcel> {
        let parcel = self.parcels.pop()?;
        self.leave(parcel.payload.len());
        Some(parcel)
    }

    /// Reserves room for `bytes`, if there is enough.
    fn enter(&self, bytes: usize) -> bool {
        let fits = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= QUEUED_BYTES;
        if !fits {
            self.leave(bytes);
        }
        fits
    }

    fn leave(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // This fails only if the owner's poll is gone.
            let _: io::Result<()> = self.waker.wake();
        }
    }
}

/// The mailboxes of all workers, and the inboxes of the clients that have no worker: those on streams.
#[derive(Debug)]
pub(super) struct Mailboxes {
    workers: Box<[Mailbox]>,
    streams: Inboxes,
}

impl Mailboxes {
    pub(super) fn new(mailboxes: Vec<Mailbox>) -> Self {
        Self { workers: mailboxes.into(), streams: Inboxes::default() }
    }

    pub(super) fn of(&self, worker: u16) -> &Mailbox {
        &self.workers[usize::from(worker)]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Mailbox> {
        self.workers.iter()
    }

    /// The clients on streams. In the addresses of clients and allocations, they count as one more worker, the last.
    pub(super) fn streams(&self) -> &Inboxes {
        &self.streams
    }

    /// The number of that worker.
    pub(super) fn index_of_streams(&self) -> u16 {
        u16::try_from(self.workers.len()).expect("there are no more than MAX_WORKERS")
    }

    /// Tells the first worker that a relayed address is held, because that worker ends what has expired.
    pub(super) fn holds(&self) {
        if let Some(first) = self.workers.first() {
            first.command(WorkerCommand::Held);
        }
    }

    /// Tells the worker or the stream that the owner of this allocation is gone.
    pub(super) fn end(&self, allocation: AllocationRef) {
        match self.workers.get(usize::from(allocation.worker)) {
            Some(mailbox) => mailbox.command(WorkerCommand::End(allocation)),
            None => self.streams.end(allocation),
        }
    }

    /// Hands `payload` to another worker or to a stream. `false` if the queue of the worker is full, or the stream is
    /// gone.
    pub(super) fn send(&self, sender: u16, home: Home, (from, to): (PeerAddr, RelayedAddr), payload: &[u8]) -> bool {
        let Some(receiver) = self.workers.get(usize::from(home.worker)) else {
            return self.streams.send(home, (from, to), payload);
        };
        if !receiver.enter(payload.len()) {
            return false;
        }
        let pooled = self.workers.get(usize::from(sender)).and_then(|sender| sender.pool.pop());
        let payload = Payload::copy_of(payload, pooled.unwrap_or_default());
        match receiver.parcels.push(Parcel { from, to, home, sender, payload }) {
            Ok(()) => {
                receiver.wake();
                true
            }
            Err(refused) => {
                receiver.leave(refused.payload.len());
                self.give_back(refused);
                false
            }
        }
    }

    /// Returns the buffer of a delivered datagram to its sender, if the sender keeps buffers.
    pub(super) fn give_back(&self, parcel: Parcel) {
        let buffer = parcel.payload.into_buffer();
        if buffer.capacity() <= POOLED_CAPACITY
            && let Some(sender) = self.workers.get(usize::from(parcel.sender))
        {
            // If the pool is full, the buffer is freed.
            let _ = sender.pool.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use mio::{Poll, Token};

    use super::*;

    use crate::turn::shared::relayed::OwnerTag;

    const HOME: Home = Home { worker: 1, slot: 0, owner: OwnerTag::Api };

    /// Two workers, and the polls that keep their wakers alive.
    fn two() -> (Mailboxes, [Poll; 2]) {
        let polls = [(); 2].map(|()| Poll::new().unwrap());
        let mailbox = |poll: &Poll| Mailbox::new(Waker::new(poll.registry(), Token(0)).unwrap()).0;
        (Mailboxes::new(polls.iter().map(mailbox).collect()), polls)
    }

    /// Sends datagrams of `len` bytes from the first worker to the second until one is refused.
    fn fill(mailboxes: &Mailboxes, len: usize) -> usize {
        let at = std::net::SocketAddr::from(([192, 0, 2, 1], 1));
        (0..).take_while(|_| mailboxes.send(0, HOME, (PeerAddr(at), RelayedAddr(at)), &vec![0; len])).count()
    }

    #[test]
    fn datagrams_and_bytes_that_wait_are_bounded() {
        let (mailboxes, _polls) = two();
        for _ in 0..3 {
            for (len, expected) in [(0, QUEUE), (1500, QUEUE), (60_000, QUEUED_BYTES / 60_000)] {
                assert_eq!(fill(&mailboxes, len), expected, "of {len} bytes");
                while let Some(parcel) = mailboxes.of(1).next() {
                    mailboxes.give_back(parcel);
                }
            }
        }
    }
}
