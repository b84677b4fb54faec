//! Reasons to refuse a request.

use std::net::SocketAddr;

use crate::turn::wire::{code::ErrorCode, message::MalformedAttribute};

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum RequestRefusal {
    /// The client has not proven who it is. The answer is this error with REALM and NONCE, and it is limited like all
    /// answers to strangers.
    Unproven(ErrorCode),
    /// An error for a client that has proven who it is.
    Code(ErrorCode),
    /// 420 with the list of these attributes.
    UnknownAttributes(Vec<u16>),
    /// 300: the client shall try this server.
    Alternate(SocketAddr),
}

impl From<MalformedAttribute> for RequestRefusal {
    fn from(_: MalformedAttribute) -> Self {
        Self::Code(ErrorCode::BadRequest)
    }
}
