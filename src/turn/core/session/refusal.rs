//! Why a request is not granted.

use std::net::SocketAddr;

use crate::turn::wire::{code::ErrorCode, message::MalformedAttribute};

/// Why a request is not granted.
#[derive(Debug)]
pub(super) enum RequestRefusal {
    /// The client has not proven who it is: 401 or 438 with REALM and NONCE, and only as often as strangers are
    /// answered.
    Unproven(ErrorCode),
    /// An error for a client that has.
    Code(ErrorCode),
    /// 420 with the list.
    UnknownAttributes(Vec<u16>),
    /// 300: try there.
    Alternate(SocketAddr),
}

impl From<MalformedAttribute> for RequestRefusal {
    fn from(_: MalformedAttribute) -> Self {
        Self::Code(ErrorCode::BadRequest)
    }
}
