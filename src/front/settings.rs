//! What the operator decides about the TCP ports.

use std::time::Duration;

use ipnet::IpNet;

use super::shares::WebSocketLimits;
use crate::values::host::Host;

/// What the operator decides about connections and their requests.
#[derive(Clone, Debug)]
pub struct FrontSettings {
    /// Origins whose pages may open a WebSocket, as browsers write them; empty means any. A client without an Origin
    /// is no browser and could write any, so it is let in.
    pub origins: Vec<String>,
    /// Proxies whose X-Forwarded headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// Stands in iceServers, whatever host the client used.
    pub public_host: Option<Host>,
    /// Connections per address that have not joined a room.
    pub max_connections_per_ip: usize,
    /// Connections in all that are neither WebSockets nor TURN clients with an allocation.
    pub max_half_open: usize,
    /// TURN connections over TCP and TLS.
    pub max_turn_streams: usize,
    /// WebSockets.
    pub web_sockets: WebSocketLimits,
    /// How long things may take.
    pub timeouts: Timeouts,
}

impl Default for FrontSettings {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            public_host: None,
            max_connections_per_ip: 256,
            max_half_open: 4096,
            max_turn_streams: 100_000,
            web_sockets: WebSocketLimits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Silence before the first byte: browsers open connections in advance.
    pub first_byte: Duration,
    /// From the first byte to the end of the TLS handshake, and again to the end of the request's headers.
    pub handshake: Duration,
    /// The life of a connection that is not upgraded.
    pub http_connection: Duration,
    /// The life of a TURN connection without an allocation.
    pub without_allocation: Duration,
    /// For the other side to end a connection that is over for us.
    pub farewell: Duration,
    /// For all connections to end on shutdown.
    pub shutdown: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
            http_connection: Duration::from_secs(600),
            without_allocation: Duration::from_secs(60),
            farewell: Duration::from_secs(3),
            shutdown: Duration::from_secs(5),
        }
    }
}
