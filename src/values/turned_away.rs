//! Why connections are turned away.

use crate::values::label::labels;

labels! {
    /// Why a connection was turned away before it was a WebSocket, or had an allocation.
    #[allow(missing_docs, reason = "the names say it")]
    pub enum TurnedAway {
        Origin = "origin",
        TooManyFromAddress = "too_many_from_address",
        TlsRequired = "tls_required",
        HandshakeTimeout = "handshake_timeout",
        BadHandshake = "bad_handshake",
        UnknownProtocol = "unknown_protocol",
        TooManyHalfOpen = "too_many_half_open",
        TooManyTurnStreams = "too_many_turn_streams",
        BadProxyHeader = "bad_proxy_header",
        UntrustedProxyHeader = "untrusted_proxy_header",
        TooManyWebsockets = "too_many_websockets",
    }
}
