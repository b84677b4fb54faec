//! Methods of requests, and the error codes with which they may be refused.

use crate::values::label::labels;

labels! {
    /// STUN methods (RFC 8489 section 18.2, RFC 8656 section 17).
    #[allow(missing_docs, reason = "the names of the RFCs")]
    pub enum TurnMethod {
        Binding = "binding",
        Allocate = "allocate",
        Refresh = "refresh",
        CreatePermission = "create_permission",
        ChannelBind = "channel_bind",
        Other = "other",
    }
}

labels! {
    /// The error codes that this server answers with (RFC 8489 section 14.8, RFC 8656 section 19).
    #[allow(missing_docs, reason = "the names of the RFCs")]
    pub enum ErrorCode {
        TryAlternate = "300",
        BadRequest = "400",
        Unauthenticated = "401",
        Forbidden = "403",
        UnknownAttribute = "420",
        AllocationMismatch = "437",
        StaleNonce = "438",
        AddressFamilyNotSupported = "440",
        WrongCredentials = "441",
        UnsupportedTransport = "442",
        PeerFamilyMismatch = "443",
        AllocationQuotaReached = "486",
        InsufficientCapacity = "508",
    }
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::TryAlternate => 300,
            Self::BadRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::UnknownAttribute => 420,
            Self::AllocationMismatch => 437,
            Self::StaleNonce => 438,
            Self::AddressFamilyNotSupported => 440,
            Self::WrongCredentials => 441,
            Self::UnsupportedTransport => 442,
            Self::PeerFamilyMismatch => 443,
            Self::AllocationQuotaReached => 486,
            Self::InsufficientCapacity => 508,
        }
    }

    /// The RFC's reason phrase, shortened where it is long.
    pub(super) const fn reason_phrase(self) -> &'static str {
        match self {
            Self::TryAlternate => "Try Alternate",
            Self::BadRequest => "Bad Request",
            Self::Unauthenticated => "Unauthorized",
            Self::Forbidden => "Forbidden",
            // Short, because strangers get this answer too, and their requests may be small.
            Self::UnknownAttribute => "Unknown",
            Self::AllocationMismatch => "Allocation Mismatch",
            Self::StaleNonce => "Stale Nonce",
            Self::AddressFamilyNotSupported => "Address Family not Supported",
            Self::WrongCredentials => "Wrong Credentials",
            Self::UnsupportedTransport => "Unsupported Transport Protocol",
            Self::PeerFamilyMismatch => "Peer Address Family Mismatch",
            Self::AllocationQuotaReached => "Allocation Quota Reached",
            Self::InsufficientCapacity => "Insufficient Capacity",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_called_by_its_number() {
        for code in ErrorCode::ALL {
            assert_eq!(code.as_str(), code.number().to_string());
        }
    }
}
