//! What clients are told when their connection is closed.

use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::close_reason::CloseReason;

/// The client should not come back by itself, because it is already here on another connection.
const REPLACED: CloseCode = CloseCode::Library(4001);
/// The client should not come back by itself, because it was removed.
const KICKED: CloseCode = CloseCode::Library(4002);

/// The code and text of the Close frame for a reason; `None` if the connection ends without one.
pub(crate) fn close_frame(reason: CloseReason) -> Option<(CloseCode, &'static str)> {
    match reason {
        CloseReason::Client | CloseReason::ConnectionLost => None,
        CloseReason::Idle => Some((CloseCode::Away, "nothing heard for too long")),
        CloseReason::TooManyErrors => Some((CloseCode::Policy, "too many bad messages")),
        CloseReason::MessageTooLarge => Some((CloseCode::Size, "message too large")),
        CloseReason::SlowReader => Some((CloseCode::Again, "too slow at reading")),
        CloseReason::MadeRoom => Some((CloseCode::Again, "not in a room, and others came")),
        CloseReason::Shutdown => Some((CloseCode::Away, "server is shutting down")),
        CloseReason::ProtocolError => Some((CloseCode::Protocol, "not valid WebSocket")),
        CloseReason::Replaced => Some((REPLACED, "another connection has taken over")),
        CloseReason::Kicked => Some((KICKED, "removed from the room")),
        CloseReason::InvalidText => Some((CloseCode::Invalid, "text is not UTF-8")),
    }
}
