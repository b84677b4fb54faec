//! Ports of relayed addresses.

/// The range of ports for relayed addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayPorts {
    /// No port is opened. Clients of this server reach each other in process.
    None,
    /// A range that includes both ends; `first <= last`.
    Range {
        /// The lowest port.
        first: u16,
        /// The highest port.
        last: u16,
    },
}

impl RelayPorts {
    /// The lowest and the highest port of relayed addresses. If no port is opened, any range would do, so these are the
    /// dynamic ports (RFC 6335 section 6).
    pub fn bounds(self) -> (u16, u16) {
        match self {
            Self::None => (49_152, 65_535),
            Self::Range { first, last } => (first, last),
        }
    }

    /// How many relayed addresses each address family can have at the same time.
    pub fn count(self) -> usize {
        let (first, last) = self.bounds();
        usize::from(last.saturating_sub(first)) + 1
    }
}
