//! Members whose peer connections gather candidates by three TURN URLs: over UDP, over TCP, and over TLS on the one port.

use std::{
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    sync::Arc,
};

use futures_util::StreamExt;
use rustls::pki_types::ServerName;
use tokio::task::JoinHandle;

use super::{
    join_over, patient,
    process::find_credentials,
    turn_client::{Credentials, TurnClient},
    wire::Wire,
};

/// The address of the members, and how they reach the server.
pub struct Class {
    pub ip: IpAddr,
    pub turn: SocketAddr,
    pub one_port: SocketAddr,
    pub tls: Arc<rustls::ClientConfig>,
}

/// The connection of a member, which is read as long as this value exists, so that the server's pings are answered.
pub struct Presence(JoinHandle<()>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Class {
    /// Joins `room` over this connection to the one port.
    pub async fn join(&self, tcp: TcpStream, room: &str) -> (Presence, Credentials) {
        tcp.set_nonblocking(true).unwrap();
        let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = patient(tokio_rustls::TlsConnector::from(self.tls.clone()).connect(name, tcp)).await.unwrap();
        let (mut connection, peers) = join_over(stream, room).await;
        let reading = tokio::spawn(async move { while let Some(Ok(_)) = connection.next().await {} });
        (Presence(reading), find_credentials(&peers).unwrap())
    }

    /// Makes a TURN client for each URL.
    pub fn clients(&self, credentials: &Credentials) -> [TurnClient; 3] {
        let udp = UdpSocket::bind((self.ip, 0)).unwrap();
        [
            TurnClient::over(udp, self.turn, Some(credentials)),
            TurnClient::by(Wire::tcp(self.turn), self.turn, Some(credentials)),
            TurnClient::by(Wire::tls(self.one_port, self.tls.clone()), self.one_port, Some(credentials)),
        ]
    }

    /// The TURN clients of one member's peer connections.
    pub fn gather(&self, credentials: &Credentials, peer_connections: usize) -> Vec<TurnClient> {
        let mut clients: Vec<_> = (0..peer_connections).flat_map(|_| self.clients(credentials)).collect();
        for client in &mut clients {
            assert_eq!(client.binding(), client.local());
            client.allocate().unwrap();
        }
        clients
    }

    /// The TURN clients of all members, which start at the same time; each member has a peer connection to each other
    /// member.
    pub fn gather_all(&self, members: &[Credentials]) -> Vec<TurnClient> {
        std::thread::scope(|scope| {
            let member = |credentials| scope.spawn(move || self.gather(credentials, members.len() - 1));
            let threads: Vec<_> = members.iter().map(member).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        })
    }
}
