//! A frame on its way to clients: one text, even if it waits in many queues.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A text frame to a client. Clones share the text.
#[derive(Clone)]
pub struct Frame(Arc<FrameText>);

struct FrameText {
    text: Utf8Bytes,
    /// How many queues count it as common bytes.
    holders: AtomicUsize,
}

/// A text with more spare capacity than this is shrunk before it waits in a queue.
const MAX_SPARE: usize = 4096;

impl Frame {
    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    pub(crate) fn into_inner(self) -> Utf8Bytes {
        self.0.text.clone()
    }

    /// Adds a holder. Returns whether it is the only one.
    pub(crate) fn hold(&self) -> bool {
        self.0.holders.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// Takes back a [`Self::hold`]. Returns whether no holder is left.
    pub(crate) fn release(&self) -> bool {
        self.0.holders.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

impl From<String> for Frame {
    fn from(mut text: String) -> Self {
        if text.capacity() - text.len() > MAX_SPARE {
            text.shrink_to_fit();
        }
        Self(Arc::new(FrameText { text: text.into(), holders: AtomicUsize::new(0) }))
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Frame").field(&self.as_str()).finish()
    }
}
