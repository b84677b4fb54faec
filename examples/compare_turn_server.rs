//! Compares how `turn::server::Server` (webrtc-rs 0.17.2) and other servers handle a dozen small exchanges.
//!
//! This shows why this project has its own TURN core; see docs/ARCHITECTURE.md.
//!
//! ```text
//! cargo run --example compare_turn_server -- [--server 127.0.0.1:3478 --secret SECRET]…
//! ```
//!
//! Servers named on the command line must run on this machine with a TURN REST secret, relay on 127.0.0.1 and accept
//! loopback peers; for example this project's own:
//!
//! ```text
//! bimcc-rtc --secret SECRET --public-ip 127.0.0.1 --dangerously-allow-loopback-peers
//! ```

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use bimcc_rtc::credentials::{Credential, Secret, User, mint};
use stun::{
    attributes::*, error_code::ErrorCodeAttribute, integrity::MessageIntegrity, message::*, xoraddr::XorMappedAddress,
};
use turn::{
    auth::LongTermAuthHandler,
    relay::relay_static::RelayAddressGeneratorStatic,
    server::{
        Server,
        config::{ConnConfig, ServerConfig},
    },
};
use webrtc_util::vnet::net::Net;

const PATIENCE: Duration = Duration::from_millis(400);
const HOUR: i64 = 3600;

/// What is done, what the RFCs require, and how to test it.
type Probe = (&'static str, &'static str, fn(&Target) -> Result<String>);

const PROBES: [Probe; 12] = [
    ("two XOR-PEER-ADDRESS in one CreatePermission", "both permitted", two_peers),
    ("CreatePermission without an allocation", "437", |t| t.client(HOUR)?.code(permission(&["127.0.0.1:9"]))),
    ("Refresh 0 without an allocation", "437", |t| t.client(HOUR)?.code(refresh(0))),
    ("retransmitted Allocate", "same answer", retransmission),
    ("wrong password", "401", wrong_password),
    ("expired user", "401", |t| t.client(-HOUR)?.code(allocate())),
    ("Refresh by another user", "441", other_user),
    ("lifetime of two hours", "3600 s or less, over 600 s", long_lifetime),
    ("channel number 0x3FFF", "400", |t| t.allocated()?.code(channel_bind(0x3FFF, "127.0.0.1:9"))),
    ("unknown comprehension-required attribute", "420", unknown_attribute),
    ("datagram of 4000 bytes to a peer", "whole", large_datagram),
    ("another client's nonce", "438", other_nonce),
];

#[tokio::main]
async fn main() -> Result<()> {
    let secret = "compared";
    let address = start_webrtc_rs(secret).await?;
    let mut targets = vec![Target { name: "turn::server".into(), address, secret: secret.into() }];
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        match (flag.as_str(), arguments.next(), arguments.next().as_deref(), arguments.next()) {
            ("--server", Some(name), Some("--secret"), Some(secret)) => {
                let address = name.parse().with_context(|| format!("{name} is no address and port"))?;
                targets.push(Target { name, address, secret });
            }
            _ => bail!("usage: compare_turn_server [--server ADDRESS:PORT --secret SECRET]…"),
        }
    }
    // The clients block, and the server under test needs its threads.
    tokio::task::spawn_blocking(move || print_table(&targets)).await?;
    Ok(())
}

fn print_table(targets: &[Target]) {
    let row = |what: &str, wanted: &str, cells: &[String]| {
        let cells: String = cells.iter().map(|cell| format!(" {cell:<22}")).collect();
        println!("{what:<46} {wanted:<28}{cells}");
    };
    row("", "RFC", &targets.iter().map(|target| target.name.clone()).collect::<Vec<_>>());
    for (what, wanted, probe) in PROBES {
        let run = |target: &Target| probe(target).unwrap_or_else(|error| format!("failed: {error}"));
        row(what, wanted, &targets.iter().map(run).collect::<Vec<_>>());
    }
}

async fn start_webrtc_rs(secret: &str) -> Result<SocketAddr> {
    let conn = Arc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await?);
    let address = conn.local_addr()?;
    let relay = RelayAddressGeneratorStatic {
        relay_address: [127, 0, 0, 1].into(),
        address: "127.0.0.1".into(),
        net: Arc::new(Net::new(None)),
    };
    let config = ServerConfig {
        conn_configs: vec![ConnConfig { conn, relay_addr_generator: Box::new(relay) }],
        realm: "compared".into(),
        auth_handler: Arc::new(LongTermAuthHandler::new(secret.into())),
        channel_bind_timeout: Duration::ZERO,
        alloc_close_notify: None,
    };
    // The server stops when it is dropped, but must run as long as the program.
    std::mem::forget(Server::new(config).await?);
    Ok(address)
}

fn two_peers(target: &Target) -> Result<String> {
    let mut client = target.client(HOUR)?;
    let relayed = client.exchange(allocate())?.map(|answer| address(&answer, ATTR_XOR_RELAYED_ADDRESS));
    let relayed = relayed.context("silence to Allocate")??;
    let peers = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.2:0")?];
    let code = client.code(permission(&["127.0.0.1:1", "127.0.0.2:1"]))?;
    let mut permitted = Vec::new();
    for (name, peer) in ["first", "second"].iter().zip(&peers) {
        peer.send_to(b"hello", relayed)?;
        if client.receive()?.is_some() {
            permitted.push(*name);
        }
    }
    Ok(match permitted[..] {
        [_, _] => "both permitted".into(),
        [one] => format!("{code}, {one} only"),
        [] => format!("{code}, none"),
        _ => unreachable!("there are two"),
    })
}

fn retransmission(target: &Target) -> Result<String> {
    let client = target.client(HOUR)?;
    let request = client.sign(allocate());
    let first = client.round_trip(&request)?.context("silence")?;
    let again = client.round_trip(&request)?.context("silence")?;
    if first.raw == again.raw { Ok("same answer".into()) } else { code(&again) }
}

fn wrong_password(target: &Target) -> Result<String> {
    let mut client = target.client(HOUR)?;
    client.credential.password = "wrong".into();
    client.code(allocate())
}

fn other_user(target: &Target) -> Result<String> {
    let mut client = target.allocated()?;
    client.credential = target.credential(2 * HOUR);
    client.code(refresh(600))
}

fn long_lifetime(target: &Target) -> Result<String> {
    let mut client = target.client(HOUR)?;
    let answer = client.exchange(with(allocate(), ATTR_LIFETIME, &7200_u32.to_be_bytes()))?.context("silence")?;
    let seconds = answer.get(ATTR_LIFETIME)?.try_into().ok().map(u32::from_be_bytes).context("malformed LIFETIME")?;
    Ok(format!("{seconds} s"))
}

fn unknown_attribute(target: &Target) -> Result<String> {
    target.client(HOUR)?.code(with(allocate(), AttrType(0x7777), b"what"))
}

fn large_datagram(target: &Target) -> Result<String> {
    let mut client = target.allocated()?;
    let peer = UdpSocket::bind("127.0.0.1:0")?;
    peer.set_read_timeout(Some(PATIENCE))?;
    client.code(permission(&["127.0.0.1:1"]))?;
    let indication = xor(new(METHOD_SEND, CLASS_INDICATION), peer.local_addr()?);
    client.socket.send_to(&with(indication, ATTR_DATA, &[0x5A; 4000]).raw, target.address)?;
    Ok(match peer.recv(&mut [0; 8000]) {
        Ok(4000) => "whole".into(),
        Ok(len) => format!("{len} bytes"),
        Err(_) => "lost".into(),
    })
}

fn other_nonce(target: &Target) -> Result<String> {
    let mut client = target.client(HOUR)?;
    client.nonce = target.client(HOUR)?.nonce;
    client.code(allocate())
}

/// A server to test.
struct Target {
    name: String,
    address: SocketAddr,
    secret: String,
}

impl Target {
    /// A user whose credential expires in this number of seconds. Another number means another user.
    fn credential(&self, ends_in: i64) -> Credential {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let user = User::Api("".into());
        mint(&Secret::new(self.secret.as_bytes()), &user, now.saturating_add_signed(ends_in))
    }

    /// A client with a nonce, on a socket of its own.
    fn client(&self, ends_in: i64) -> Result<Client> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(self.address).and_then(|()| socket.set_read_timeout(Some(PATIENCE)))?;
        let mut client = Client { socket, credential: self.credential(ends_in), realm: Vec::new(), nonce: Vec::new() };
        let challenge = client.round_trip(&allocate().raw)?.context("silence instead of a challenge")?;
        (client.realm, client.nonce) = (challenge.get(ATTR_REALM)?, challenge.get(ATTR_NONCE)?);
        Ok(client)
    }

    fn allocated(&self) -> Result<Client> {
        let mut client = self.client(HOUR)?;
        client.code(allocate())?;
        Ok(client)
    }
}

struct Client {
    socket: UdpSocket,
    credential: Credential,
    realm: Vec<u8>,
    nonce: Vec<u8>,
}

impl Client {
    fn sign(&self, request: Message) -> Vec<u8> {
        let Credential { username, password, .. } = self.credential.clone();
        let request = with(request, ATTR_USERNAME, username.as_bytes());
        let mut request = with(with(request, ATTR_REALM, &self.realm), ATTR_NONCE, &self.nonce);
        let realm = String::from_utf8_lossy(&self.realm).into_owned();
        // This fails only after a FINGERPRINT.
        let _ = MessageIntegrity::new_long_term_integrity(username, realm, password).add_to(&mut request);
        request.raw
    }

    fn receive(&self) -> Result<Option<Message>> {
        let mut buffer = [0; 2000];
        let Ok(len) = self.socket.recv(&mut buffer) else {
            return Ok(None);
        };
        let mut message = Message::new();
        message.unmarshal_binary(&buffer[..len])?;
        Ok(Some(message))
    }

    fn round_trip(&self, request: &[u8]) -> Result<Option<Message>> {
        self.socket.send(request)?;
        self.receive()
    }

    fn exchange(&mut self, request: Message) -> Result<Option<Message>> {
        self.round_trip(&self.sign(request))
    }

    fn code(&mut self, request: Message) -> Result<String> {
        self.exchange(request)?.map_or_else(|| Ok("silence".into()), |answer| code(&answer))
    }
}

fn code(answer: &Message) -> Result<String> {
    if answer.typ.class == CLASS_SUCCESS_RESPONSE {
        return Ok("success".into());
    }
    let mut error = ErrorCodeAttribute::default();
    error.get_from(answer)?;
    Ok(error.code.0.to_string())
}

fn address(answer: &Message, attribute: AttrType) -> Result<SocketAddr> {
    let mut address = XorMappedAddress::default();
    address.get_from_as(answer, attribute)?;
    Ok(SocketAddr::new(address.ip, address.port))
}

fn new(method: Method, class: MessageClass) -> Message {
    let mut message = Message::new();
    message.typ = MessageType::new(method, class);
    // This fails only without a source of randomness, and then nothing would work.
    let _ = message.new_transaction_id();
    message.write_header();
    message
}

fn with(mut message: Message, attribute: AttrType, value: &[u8]) -> Message {
    message.add(attribute, value);
    message
}

fn xor(mut message: Message, peer: SocketAddr) -> Message {
    // This never fails for an address of this type.
    let _ = XorMappedAddress { ip: peer.ip(), port: peer.port() }.add_to_as(&mut message, ATTR_XOR_PEER_ADDRESS);
    message
}

fn allocate() -> Message {
    with(new(METHOD_ALLOCATE, CLASS_REQUEST), ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0])
}

fn refresh(seconds: u32) -> Message {
    with(new(METHOD_REFRESH, CLASS_REQUEST), ATTR_LIFETIME, &seconds.to_be_bytes())
}

fn permission(peers: &[&str]) -> Message {
    let peers = peers.iter().filter_map(|peer| peer.parse().ok());
    peers.fold(new(METHOD_CREATE_PERMISSION, CLASS_REQUEST), xor)
}

fn channel_bind(number: u16, peer: &str) -> Message {
    let [high, low] = number.to_be_bytes();
    let request = with(new(METHOD_CHANNEL_BIND, CLASS_REQUEST), ATTR_CHANNEL_NUMBER, &[high, low, 0, 0]);
    peer.parse().into_iter().fold(request, xor)
}
