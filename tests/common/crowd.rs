//! A server within a network namespace, and clients that come from any address of both families.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
};

use futures_util::StreamExt;
use tokio::task::JoinHandle;

use super::{
    Client,
    netns::Namespace,
    process::{PATIENCE, Process, Start, free_port},
    turn_client::{Credentials, TurnClient},
    wire::Wire,
};

const SERVER_V4: &str = "10.79.0.1";
const SERVER_V6: &str = "fd79::1";

/// Honest clients: a host of IPv4 and one of IPv6.
pub const HONEST: [&str; 2] = ["192.0.2.1", "2001:db8:9:9::1"];

/// A server within a namespace in which clients can come from any address.
pub struct World {
    namespace: Namespace,
    pub server: Process,
    turn_port: u16,
}

impl World {
    /// Returns `None`, and reports it, if no namespace can be made.
    pub fn with_files(files: usize, args: &str) -> Option<Self> {
        let namespace = Namespace::new()?;
        namespace.ip(&format!("address add {SERVER_V4}/32 dev lo"));
        namespace.ip(&format!("address add {SERVER_V6}/128 dev lo nodad"));
        for network in ["192.0.2.0/24", "198.18.0.0/15"] {
            namespace.ip(&format!("route add local {network} dev lo"));
        }
        namespace.ip("-6 route add local 2001:db8::/32 dev lo");
        let turn_port = free_port();
        let args = format!(
            "{args} --workers 1 --listen 0.0.0.0:{port} --listen [::]:{port} --turn-listen {SERVER_V4}:{turn_port} \
             --turn-listen [{SERVER_V6}]:{turn_port} --public-ip {SERVER_V4} --public-ip {SERVER_V6}",
            port = free_port()
        );
        let start = Start::with(&args).turn_port(turn_port).files(files).within(&namespace);
        Some(Self { server: start.serve(), namespace, turn_port })
    }

    pub fn http_at(&self, client: IpAddr) -> SocketAddr {
        let server = if client.is_ipv4() { SERVER_V4 } else { SERVER_V6 };
        SocketAddr::new(server.parse().unwrap(), self.server.http.port())
    }

    /// A connection from `client` to a port of the server.
    fn connect(&self, client: IpAddr, port: u16) -> std::io::Result<TcpStream> {
        let server = SocketAddr::new(self.http_at(client).ip(), port);
        let connect = || {
            let socket = socket2::Socket::new(socket2::Domain::for_address(server), socket2::Type::STREAM, None)?;
            if client.is_ipv6() {
                // A route alone does not make the address local, so binding needs this option.
                socket.set_freebind_v6(true)?;
            }
            socket.bind(&SocketAddr::new(client, 0).into())?;
            socket.connect_timeout(&server.into(), PATIENCE)?;
            Ok::<_, std::io::Error>(socket.into())
        };
        self.namespace.run(connect)
    }

    pub fn connect_http(&self, client: IpAddr) -> std::io::Result<TcpStream> {
        self.connect(client, self.server.http.port())
    }

    /// Connects, joins and allocates, like a browser that has opened `spare` unused connections.
    pub async fn honest_client(&self, address: &str, spare: usize) -> (Member, Vec<TcpStream>) {
        let address = address.parse().unwrap();
        let spare = (0..spare).map(|_| self.connect_http(address).unwrap()).collect();
        let tcp = self.connect_http(address).unwrap();
        let (client, credentials) = Process::joined(self.server.connect_over(tcp).await, "honest").await;
        self.allocate(address, &credentials);
        (Member::new(client), spare)
    }

    /// Allocates over TCP and gives the allocation back.
    pub fn allocate(&self, address: IpAddr, credentials: &Credentials) {
        let mut turn = self.turn_over_tcp(address, credentials);
        turn.allocate().unwrap();
        turn.refresh(0).unwrap();
    }

    pub fn turn_over_tcp(&self, address: IpAddr, credentials: &Credentials) -> TurnClient {
        let server = SocketAddr::new(self.http_at(address).ip(), self.turn_port);
        let tcp = self.connect(address, self.turn_port).unwrap();
        TurnClient::by(Wire::over_tcp(tcp), server, Some(credentials))
    }

    /// A client over UDP from an IPv4 address.
    pub fn turn_over_udp(&self, address: Ipv4Addr, credentials: &Credentials) -> TurnClient {
        let server = SocketAddr::new(self.http_at(address.into()).ip(), self.turn_port);
        let socket = self.namespace.run(|| UdpSocket::bind((address, 0)).unwrap());
        TurnClient::over(socket, server, Some(credentials))
    }

    /// The status of a handshake from `address`, and the connection.
    pub fn upgrade(&self, address: IpAddr) -> (String, TcpStream) {
        let mut tcp = self.connect_http(address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.write_all(
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
        let mut status = [0; 12];
        tcp.read_exact(&mut status).unwrap();
        (String::from_utf8_lossy(&status[9..]).into_owned(), tcp)
    }

    /// Joins from these addresses until one is refused. Returns the members and the status of the refusal.
    pub fn join_all(&self, addresses: impl Iterator<Item = IpAddr>) -> (Vec<TcpStream>, String) {
        let mut members = Vec::new();
        for (index, address) in addresses.enumerate() {
            let (status, mut tcp) = self.upgrade(address);
            if status != "101" {
                return (members, status);
            }
            let join = format!(r#"{{"eventName":"__join","data":{{"room":"crowd {}"}}}}"#, index / 32);
            let frame = [&[0x81, 0x80 | join.len() as u8, 0, 0, 0, 0], join.as_bytes()].concat();
            tcp.write_all(&frame).unwrap();
            members.push(tcp);
        }
        unreachable!("they go on until somebody is refused")
    }
}

/// A member whose connection is read as long as this value exists.
pub struct Member(JoinHandle<()>);

impl Member {
    pub fn new(mut client: Client) -> Self {
        Self(tokio::spawn(async move { while let Some(Ok(_)) = client.ws.next().await {} }))
    }

    pub fn is_there(&self) -> bool {
        !self.0.is_finished()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The address with this number at the end of the first `bits` bits.
pub fn v6(prefix: &str, bits: u32, index: u128) -> IpAddr {
    let prefix: Ipv6Addr = prefix.parse().unwrap();
    Ipv6Addr::from_bits(prefix.to_bits() | index << (128 - bits)).into()
}
