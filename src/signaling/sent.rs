//! What a message costs.

use std::ops::AddAssign;

/// What one message had queued, to whoever sent it and to others.
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
