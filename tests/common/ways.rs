//! Every way to reach TURN, on a server that has them all.

use std::{net::SocketAddr, sync::Arc};

use super::{
    Client,
    process::Process,
    turn_client::{Credentials, TurnClient},
    wire::{Wire, tls_config},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Udp,
    Tcp,
    Tls,
    /// On the port of HTTP.
    OnePortTcp,
    OnePortTls,
}

pub const WAYS: [Way; 5] = [Way::Udp, Way::Tcp, Way::Tls, Way::OnePortTcp, Way::OnePortTls];

/// A server with TLS, and what a client needs to know about it.
pub struct World {
    pub server: Process,
    pub tls: Arc<rustls::ClientConfig>,
}

impl World {
    pub fn start(args: &str) -> Self {
        let server = Process::start(&format!("--tls --trusted-proxy 127.0.0.1 {args}"));
        let tls = tls_config(&server.ca(), &[]);
        Self { server, tls }
    }

    pub fn address(&self, way: Way) -> SocketAddr {
        match way {
            Way::Udp | Way::Tcp => self.server.turn(),
            Way::Tls => self.server.turns.unwrap(),
            Way::OnePortTcp | Way::OnePortTls => self.server.http,
        }
    }

    pub fn client(&self, way: Way, credentials: &Credentials) -> TurnClient {
        let address = self.address(way);
        let wire = match way {
            Way::Udp => return TurnClient::new(address, Some(credentials)),
            Way::Tcp | Way::OnePortTcp => Wire::tcp(address),
            Way::Tls | Way::OnePortTls => Wire::tls(address, self.tls.clone()),
        };
        TurnClient::by(wire, address, Some(credentials))
    }

    pub fn allocated(&self, way: Way, credentials: &Credentials) -> TurnClient {
        let mut client = self.client(way, credentials);
        client.allocate().unwrap();
        client
    }

    /// A member whose connection appears to come over TLS.
    pub async fn member(&self, room: &str) -> (Client, Credentials) {
        let secure = |headers: &mut http::HeaderMap| {
            headers.insert("x-forwarded-proto", "https".parse().unwrap());
        };
        Process::joined(self.server.connect_with(secure).await, room).await
    }
}
