//! Writes log lines to standard error, which may be a pipe that nobody reads, without ever blocking the code that logs.
//!
//! Lines are copied into a buffer of limited size, and one thread writes what has been collected. Lines that do not fit
//! are dropped and counted, and their number is reported once there is room again. A channel of lines would be limited
//! by their number and not by bytes, would write each line separately, and could not be waited for at the end.
#![allow(clippy::disallowed_methods, reason = "it reads the clocks")]

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

/// How many bytes may wait: thousands of lines.
const CAPACITY: usize = 1 << 20;

/// Lines that come within this time of the first one are written together.
const GATHERED: Duration = Duration::from_millis(10);

/// How much of a larger buffer is kept for later.
const KEPT: usize = 64 * 1024;

/// The buffer in which lines wait. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Lines(Arc<WriterShared>);

#[derive(Debug)]
struct WriterShared {
    state: Mutex<WriterState>,
    /// Notified when there is something to write, or when it must be written at once.
    filled: Condvar,
    /// Notified when nothing is left to write.
    emptied: Condvar,
    capacity: usize,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct WriterState {
    waiting: Vec<u8>,
    is_writing: bool,
    is_urgent: bool,
    dropped_untold: u64,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self(Arc::new(WriterShared {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            capacity,
            dropped: AtomicU64::new(0),
        }))
    }

    /// Starts the thread that writes to `sink`. `tell` is called with the number of dropped lines once there is room
    /// again.
    pub(super) fn write_to(&self, sink: impl Write + Send + 'static, tell: fn(u64)) -> io::Result<()> {
        let lines = self.clone();
        std::thread::Builder::new().name("log".into()).spawn(move || lines.run(sink, tell)).map(drop)
    }

    /// Adds a line, or counts it as dropped.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.waiting.len() + line.len() > self.0.capacity {
            state.dropped_untold += 1;
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let before = state.waiting.len();
        state.waiting.extend_from_slice(line);
        // The thread is woken only once for many lines.
        let half = self.0.capacity / 2;
        if before == 0 || (before < half && state.waiting.len() >= half) {
            self.0.filled.notify_one();
        }
    }

    /// How many lines have been dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, but no longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut state = self.lock();
        while !state.waiting.is_empty() || state.is_writing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state.is_urgent = true;
            self.0.filled.notify_one();
            state = self.0.emptied.wait_timeout(state, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    fn run(&self, mut sink: impl Write, tell: fn(u64)) {
        let mut lines = Vec::new();
        loop {
            self.take(&mut lines);
            // A closed standard error is no reason to stop, and the error cannot be reported anywhere.
            let _closed = sink.write_all(&lines).and_then(|()| sink.flush());
            lines.clear();
            lines.shrink_to(KEPT);
            let untold = {
                let mut state = self.lock();
                state.is_writing = false;
                if state.waiting.is_empty() {
                    state.is_urgent = false;
                    self.0.emptied.notify_all();
                }
                std::mem::take(&mut state.dropped_untold)
            };
            if untold > 0 {
                tell(untold);
            }
        }
    }

    /// Waits for lines, and for more that come with them.
    fn take(&self, lines: &mut Vec<u8>) {
        let half = self.0.capacity / 2;
        let first = self.0.filled.wait_while(self.lock(), |state| state.waiting.is_empty());
        let first = first.unwrap_or_else(std::sync::PoisonError::into_inner);
        let more =
            self.0.filled.wait_timeout_while(first, GATHERED, |state| !state.is_urgent && state.waiting.len() < half);
        let mut state = more.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        std::mem::swap(&mut state.waiting, lines);
        state.is_writing = true;
    }

    /// Nothing panics while the lock is held, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, WriterState> {
        self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Tracing writes each event by one call.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::AtomicBool,
        mpsc::{Receiver, Sender, channel},
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A writer that passes each text to the receiver after the sender has allowed it.
    fn gate() -> (Gate, Sender<()>, Receiver<String>) {
        let (allow, allowed) = channel();
        let (write, written) = channel();
        (Gate { allowed, write }, allow, written)
    }

    struct Gate {
        allowed: Receiver<()>,
        write: Sender<String>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.allowed.recv().map_err(io::Error::other)?;
            self.write.send(String::from_utf8_lossy(bytes).into_owned()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_and_many_at_once() {
        let lines = Lines::new();
        for n in 0..1000 {
            lines.push(format!("{n}\n").as_bytes());
        }
        let (sink, allow, written) = gate();
        lines.write_to(sink, |_| ()).unwrap();
        allow.send(()).unwrap();
        let all: String = (0..1000).map(|n| format!("{n}\n")).collect();
        assert_eq!(written.recv_timeout(PATIENCE).unwrap(), all);
        lines.flush(PATIENCE);
        assert_eq!(lines.dropped(), 0);
    }

    static TOLD: AtomicU64 = AtomicU64::new(0);

    #[test]
    fn what_does_not_fit_is_dropped_counted_and_told_and_nobody_waits() {
        let lines = Lines::with_capacity(100);
        let (sink, allow, written) = gate();
        lines
            .write_to(sink, |dropped| {
                TOLD.fetch_add(dropped, Ordering::Relaxed);
            })
            .unwrap();
        // The first line is being written, which takes as long as the other side wants.
        lines.push(&[b'a'; 100]);
        while !lines.lock().is_writing {
            std::thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..30 {
            lines.push(&[b'b'; 50]);
        }
        assert_eq!(lines.dropped(), 28);
        assert_eq!(TOLD.load(Ordering::Relaxed), 0);
        for expected in ["a".repeat(100), "b".repeat(100)] {
            allow.send(()).unwrap();
            assert_eq!(written.recv_timeout(PATIENCE).unwrap(), expected);
        }
        lines.flush(PATIENCE);
        assert_eq!((lines.dropped(), TOLD.load(Ordering::Relaxed)), (28, 28));
    }

    #[test]
    fn a_flush_ends_although_nobody_reads() {
        let lines = Lines::new();
        let (sink, _allow, _written) = gate();
        lines.write_to(sink, |_| ()).unwrap();
        lines.push(b"line\n");
        let done = Arc::new(AtomicBool::new(false));
        let flushed = std::thread::spawn({
            let (lines, done) = (lines.clone(), done.clone());
            move || {
                lines.flush(Duration::from_millis(20));
                done.store(true, Ordering::Relaxed);
            }
        });
        flushed.join().unwrap();
        assert!(done.load(Ordering::Relaxed));
    }

    #[test]
    fn a_sink_that_fails_harms_nobody() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::new();
        lines.write_to(Closed, |_| ()).unwrap();
        for _ in 0..3 {
            lines.push(b"line\n");
            lines.flush(PATIENCE);
        }
        assert!(lines.lock().waiting.is_empty());
    }
}
