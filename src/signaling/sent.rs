//! What the server sends because of a message.

use std::ops::AddAssign;

/// The bytes that were queued because of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Bytes to the sender.
    pub answered: usize,
    /// Bytes to all others together.
    pub to_others: usize,
}

impl AddAssign for Sent {
    fn add_assign(&mut self, more: Self) {
        self.answered += more.answered;
        self.to_others += more.to_others;
    }
}
