//! Hundreds of TURN clients: their sockets, and the requests that give them allocations and channels.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail, ensure};
use bimcc_rtc::{
    credentials::{Credential, Secret, User, mint},
    turn::wire::keys::long_term_key,
};
use mio::{Events, Poll, Token};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use stun::{
    agent::TransactionId,
    attributes::{
        ATTR_CHANNEL_NUMBER, ATTR_NONCE, ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS,
        ATTR_XOR_RELAYED_ADDRESS,
    },
    error_code::ErrorCodeAttribute,
    integrity::MessageIntegrity,
    message::{
        CLASS_REQUEST, Getter, METHOD_ALLOCATE, METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, Message, MessageType,
        Method, Setter,
    },
    xoraddr::XorMappedAddress,
};

use crate::{
    link::{Link, Transport},
    program::{REALM, SECRET},
    report::REFUSED,
    server::Server,
};

/// The number of requests in flight while clients are set up.
const WINDOW: usize = 16;

/// After this much silence, everything in flight is sent again.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often requests are sent again before the bench gives up.
const TRIES: usize = 8;

/// REQUESTED-TRANSPORT: UDP.
const UDP: [u8; 4] = [17, 0, 0, 0];

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) link: Link,
    pub(crate) channel: u16,
    pub(crate) relayed: Option<SocketAddr>,
    nonce: Vec<u8>,
}

/// Clients with one credential, and the poll that watches their sockets. The token of a client is its index.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) all: Vec<Client>,
    pub(crate) poll: Poll,
    credential: Credential,
    key: [u8; 16],
}

impl Clients {
    /// `count` clients of `server`, spread over `hosts` loopback addresses, because servers limit their answers per
    /// address.
    pub(crate) fn new(server: &Server, transport: Transport, count: usize, hosts: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let tls = (transport == Transport::Tls).then(|| trusting(server)).transpose()?;
        let address = server.address(transport);
        let mut all = Vec::with_capacity(count);
        for index in 0..count {
            let mut link = Link::open(client_host(index % hosts), address, transport, tls.as_ref())?;
            link.register(poll.registry(), Token(index))?;
            let channel = 0x4000 + (index % 0x1000) as u16;
            all.push(Client { link, channel, relayed: None, nonce: Vec::new() });
        }
        let tomorrow = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 86_400;
        let credential = mint(&Secret::new(SECRET.as_bytes()), &User::api("bench")?, tomorrow);
        let key = long_term_key(&credential.username, REALM, &credential.password);
        Ok(Self { all, poll, credential, key })
    }

    /// The first half of the long-term credential mechanism: every client gets a nonce.
    pub(crate) fn challenge(&mut self) -> anyhow::Result<()> {
        let responses = self.exchange(METHOD_ALLOCATE, false, |_, _, request| {
            request.add(ATTR_REQUESTED_TRANSPORT, &UDP);
        })?;
        for (client, response) in self.all.iter_mut().zip(responses) {
            ensure!(error_code(&response) == Some(401), "no challenge: {}", told(&response));
            client.nonce = response.get(ATTR_NONCE)?;
        }
        Ok(())
    }

    /// The second half: every client gets an allocation.
    pub(crate) fn allocate(&mut self) -> anyhow::Result<()> {
        let responses = self.exchange(METHOD_ALLOCATE, true, |_, _, request| {
            request.add(ATTR_REQUESTED_TRANSPORT, &UDP);
        })?;
        for (client, response) in self.all.iter_mut().zip(responses) {
            ensure!(error_code(&response).is_none(), "Allocate {REFUSED}: {}", told(&response));
            let mut relayed = XorMappedAddress::default();
            relayed.get_from_as(&response, ATTR_XOR_RELAYED_ADDRESS)?;
            client.relayed = Some(SocketAddr::new(relayed.ip, relayed.port));
        }
        Ok(())
    }

    /// Binds the channel of every client to the peer that `peer` returns for the client's index.
    pub(crate) fn bind_channels(&mut self, peer: impl Fn(usize, &[Client]) -> SocketAddr) -> anyhow::Result<()> {
        let responses = self.exchange(METHOD_CHANNEL_BIND, true, |index, clients, request| {
            let [high, low] = clients[index].channel.to_be_bytes();
            request.add(ATTR_CHANNEL_NUMBER, &[high, low, 0, 0]);
            let peer = peer(index, clients);
            // Never fails for a typed address.
            let _ = XorMappedAddress { ip: peer.ip(), port: peer.port() }.add_to_as(request, ATTR_XOR_PEER_ADDRESS);
        })?;
        for response in responses {
            ensure!(error_code(&response).is_none(), "ChannelBind {REFUSED}: {}", told(&response));
        }
        Ok(())
    }

    /// Permits the peer that `peer` returns for the client's index.
    pub(crate) fn permit(&mut self, peer: impl Fn(usize) -> SocketAddr) -> anyhow::Result<()> {
        let responses = self.exchange(METHOD_CREATE_PERMISSION, true, |index, _, request| {
            let peer = peer(index);
            // Never fails for a typed address.
            let _ = XorMappedAddress { ip: peer.ip(), port: peer.port() }.add_to_as(request, ATTR_XOR_PEER_ADDRESS);
        })?;
        for response in responses {
            ensure!(error_code(&response).is_none(), "CreatePermission {REFUSED}: {}", told(&response));
        }
        Ok(())
    }

    /// Sends a request for every client, a few at a time, and returns the responses in the order of the clients.
    fn exchange(
        &mut self,
        method: Method,
        sign: bool,
        body: impl Fn(usize, &[Client], &mut Message),
    ) -> anyhow::Result<Vec<Message>> {
        let mut responses: Vec<Option<Message>> = vec![None; self.all.len()];
        let mut in_flight: Vec<(usize, Message)> = Vec::new();
        let mut next = 0;
        let mut tries = 0;
        let mut heard = Instant::now();
        let mut events = Events::with_capacity(256);
        while next < self.all.len() || !in_flight.is_empty() {
            while in_flight.len() < WINDOW && next < self.all.len() {
                let mut request = Message::new();
                request.typ = MessageType::new(method, CLASS_REQUEST);
                request.transaction_id = TransactionId::new();
                request.write_header();
                body(next, &self.all, &mut request);
                if sign {
                    request.add(ATTR_USERNAME, self.credential.username.as_bytes());
                    request.add(stun::attributes::ATTR_REALM, REALM.as_bytes());
                    request.add(ATTR_NONCE, &self.all[next].nonce);
                    MessageIntegrity(self.key.to_vec()).add_to(&mut request)?;
                }
                self.all[next].link.send(&request.raw)?;
                in_flight.push((next, request));
                next += 1;
            }
            self.poll.poll(&mut events, Some(PATIENCE))?;
            for event in &events {
                let Token(index) = event.token();
                self.all[index].link.receive(|message| {
                    let mut response = Message { raw: message.to_vec(), ..Message::new() };
                    let awaited = response.decode().ok().and_then(|()| {
                        let id = response.transaction_id;
                        in_flight.iter().position(|(_, request)| request.transaction_id == id)
                    });
                    if let Some(position) = awaited {
                        in_flight.swap_remove(position);
                        responses[index] = Some(response);
                        (heard, tries) = (Instant::now(), 0);
                    }
                })?;
            }
            if heard.elapsed() >= PATIENCE {
                tries += 1;
                if tries > TRIES {
                    bail!("{} of {} clients got no answer", in_flight.len(), self.all.len());
                }
                for (index, request) in &in_flight {
                    self.all[*index].link.send(&request.raw)?;
                }
                heard = Instant::now();
            }
        }
        responses.into_iter().collect::<Option<_>>().context("every client has its response by now")
    }
}

/// The n-th address that clients come from. It is never the server's, where the relay ports are.
pub(crate) fn client_host(n: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 1, 1)) + n as u32)
}

/// Trusts the certificate that the server was started with.
fn trusting(server: &Server) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(server.certificate())?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The code of an error response.
pub(crate) fn error_code(response: &Message) -> Option<u16> {
    let mut code = ErrorCodeAttribute::default();
    code.get_from(response).ok().map(|()| code.code.0)
}

/// The text of an error response.
fn told(response: &Message) -> String {
    let mut code = ErrorCodeAttribute::default();
    match code.get_from(response) {
        Ok(()) => format!("{} {}", code.code.0, String::from_utf8_lossy(&code.reason)).trim_end().to_owned(),
        Err(_) => response.to_string(),
    }
}
