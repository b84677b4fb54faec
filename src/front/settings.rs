//! The operator's settings for the TCP ports.

use std::time::Duration;

use ipnet::IpNet;

use super::shares::WebSocketLimits;
use crate::values::host::Host;

/// The operator's settings for connections and their requests.
#[derive(Clone, Debug)]
pub struct FrontSettings {
    /// Origins whose pages may open a WebSocket, as browsers write them; empty means any. A client without an Origin is
    /// not a browser and could send any Origin, so it is accepted.
    pub origins: Vec<String>,
    /// Proxies whose X-Forwarded headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// The host in iceServers, whatever host the client used.
    pub public_host: Option<Host>,
    /// How many connections of one address may be outside a room.
    pub max_connections_per_ip: usize,
    /// How many connections in total may be neither WebSockets nor TURN clients with an allocation.
    pub max_half_open: usize,
    /// How many TURN connections there may be over TCP and TLS.
    pub max_turn_streams: usize,
    /// Limits on WebSockets.
    pub web_sockets: WebSocketLimits,
    /// Time limits.
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

/// Time limits.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the first byte. It is long, because browsers open connections in advance.
    pub first_byte: Duration,
    /// From the first byte to the end of the TLS handshake, and again to the end of the request's headers.
    pub handshake: Duration,
    /// For the whole life of a connection that is not upgraded.
    pub http_connection: Duration,
    /// For a TURN connection without an allocation.
    pub without_allocation: Duration,
    /// For the client to close a connection that this server has ended.
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
