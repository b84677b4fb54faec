//! Ports of relayed addresses.

/// Where relayed addresses get their ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayPorts {
    /// No port is opened; clients of this server reach each other in process.
    None,
    /// Both ends included; `first <= last`.
    Range {
        /// The lowest port.
        first: u16,
        /// The highest port.
        last: u16,
    },
}

impl RelayPorts {
    /// The lowest and the highest port of relayed addresses. Where none is opened any would do, so it is the dynamic
    /// ones (RFC 6335 section 6).
    pub fn bounds(self) -> (u16, u16) {
        match self {
            Self::None => (49_152, 65_535),
            Self::Range { first, last } => (first, last),
        }
    }

    /// How many relayed addresses there can be at once of each address family.
    pub fn count(self) -> usize {
        let (first, last) = self.bounds();
        usize::from(last.saturating_sub(first)) + 1
    }
}
