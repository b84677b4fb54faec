//! A small STUN/TURN client over UDP, TCP or TLS that does one thing at a time and shows what comes back.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use stun::{
    attributes::*, error_code::ErrorCodeAttribute, integrity::MessageIntegrity, message::*, xoraddr::XorMappedAddress,
};

use super::{process::PATIENCE, wire::Wire};

/// RTO and Rc of RFC 8489 section 6.2.1.
const FIRST_TIMEOUT: Duration = Duration::from_millis(500);
const TRANSMISSIONS: u32 = 7;

pub const ATTR_ADDITIONAL_ADDRESS_FAMILY: AttrType = AttrType(0x8000);
pub const ATTR_ICMP: AttrType = AttrType(0x8004);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

/// Data from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub via: Via,
    pub payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The data came in a Data indication.
    Peer(SocketAddr),
    /// The data came in ChannelData.
    Channel(u16),
    /// No data, but an error about data to this peer: the value of ICMP.
    Icmp(SocketAddr),
}

pub struct TurnClient {
    pub wire: Wire,
    server: SocketAddr,
    credentials: Option<Credentials>,
    pub realm: String,
    pub nonce: Vec<u8>,
    inbox: VecDeque<Received>,
    relayed: Option<SocketAddr>,
}

impl TurnClient {
    /// A client on any port of the loopback address of the server's family.
    pub fn new(server: SocketAddr, credentials: Option<&Credentials>) -> Self {
        let local = match server {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        Self::over(UdpSocket::bind((local, 0)).unwrap(), server, credentials)
    }

    /// A client with the caller's socket. Only the address of the server may answer.
    pub fn over(socket: UdpSocket, server: SocketAddr, credentials: Option<&Credentials>) -> Self {
        socket.connect(server).unwrap();
        Self::by(Wire::Udp(socket), server, credentials)
    }

    /// A client on a connection.
    pub fn by(wire: Wire, server: SocketAddr, credentials: Option<&Credentials>) -> Self {
        Self {
            wire,
            server,
            credentials: credentials.cloned(),
            realm: String::new(),
            nonce: Vec::new(),
            inbox: VecDeque::new(),
            relayed: None,
        }
    }

    /// A client with an allocation.
    pub fn allocated(server: SocketAddr, credentials: &Credentials) -> Self {
        let mut client = Self::new(server, Some(credentials));
        client.allocate().unwrap();
        client
    }

    /// Acts as another user from now on, from the same transport address.
    pub fn act_as(&mut self, credentials: &Credentials) {
        self.credentials = Some(credentials.clone());
    }

    pub fn local(&self) -> SocketAddr {
        self.wire.local_addr().unwrap()
    }

    /// The relayed address.
    pub fn relayed(&self) -> SocketAddr {
        self.relayed.expect("allocate first")
    }

    pub fn binding(&mut self) -> SocketAddr {
        let mut request = new_message(METHOD_BINDING, CLASS_REQUEST);
        request.encode();
        let answer = self.transact(&request);
        assert_eq!(answer.typ.class, CLASS_SUCCESS_RESPONSE, "{answer}");
        address(&answer, ATTR_XORMAPPED_ADDRESS)
    }

    /// Whether the server still answers on this stream.
    pub fn is_in_step(&mut self) -> bool {
        let mut request = new_message(METHOD_BINDING, CLASS_REQUEST);
        request.encode();
        if self.wire.send(&request.raw).is_err() || self.wire.set_read_timeout(FIRST_TIMEOUT).is_err() {
            return false;
        }
        loop {
            let Ok(answer) = self.wire.recv() else {
                return false;
            };
            if answer.get(8..20) == Some(&request.transaction_id.0[..]) {
                return true;
            }
        }
    }

    pub fn allocate(&mut self) -> Result<SocketAddr, u16> {
        self.allocate_with(|_| ())
    }

    pub fn allocate_v6(&mut self) -> Result<SocketAddr, u16> {
        self.allocate_with(|request| request.add(ATTR_REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]))
    }

    pub fn allocate_with(&mut self, add: impl Fn(&mut Message)) -> Result<SocketAddr, u16> {
        self.allocate_in_full(add)?;
        Ok(self.relayed())
    }

    /// The same with the whole answer.
    pub fn allocate_in_full(&mut self, add: impl Fn(&mut Message)) -> Result<Message, u16> {
        let answer = self.request(METHOD_ALLOCATE, |request| {
            request.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            add(request);
        })?;
        assert_eq!(address(&answer, ATTR_XORMAPPED_ADDRESS), self.local(), "there is no NAT here");
        let relayed = address(&answer, ATTR_XOR_RELAYED_ADDRESS);
        self.relayed = Some(relayed);
        Ok(answer)
    }

    /// The granted lifetime.
    pub fn refresh(&mut self, lifetime: u32) -> Result<u32, u16> {
        let answer = self.request(METHOD_REFRESH, |request| request.add(ATTR_LIFETIME, &lifetime.to_be_bytes()))?;
        Ok(u32::from_be_bytes(answer.get(ATTR_LIFETIME).unwrap().try_into().unwrap()))
    }

    pub fn permit(&mut self, peers: &[SocketAddr]) -> Result<(), u16> {
        let request = |request: &mut Message| peers.iter().for_each(|peer| add_peer(request, *peer));
        self.request(METHOD_CREATE_PERMISSION, request).map(drop)
    }

    pub fn bind_channel(&mut self, number: u16, peer: SocketAddr) -> Result<(), u16> {
        let request = |request: &mut Message| {
            request.add(ATTR_CHANNEL_NUMBER, &[(number >> 8) as u8, number as u8, 0, 0]);
            add_peer(request, peer);
        };
        self.request(METHOD_CHANNEL_BIND, request).map(drop)
    }

    pub fn send(&mut self, peer: SocketAddr, payload: &[u8]) {
        self.send_indication(peer, payload, false);
    }

    pub fn send_unfragmented(&mut self, peer: SocketAddr, payload: &[u8]) {
        self.send_indication(peer, payload, true);
    }

    fn send_indication(&mut self, peer: SocketAddr, payload: &[u8], dont_fragment: bool) {
        let mut message = new_message(METHOD_SEND, CLASS_INDICATION);
        add_peer(&mut message, peer);
        if dont_fragment {
            message.add(ATTR_DONT_FRAGMENT, &[]);
        }
        message.add(ATTR_DATA, payload);
        message.encode();
        self.wire.send(&message.raw).unwrap();
    }

    pub fn send_channel(&mut self, number: u16, payload: &[u8]) {
        let mut message = [number.to_be_bytes(), (payload.len() as u16).to_be_bytes()].concat();
        message.extend_from_slice(payload);
        self.wire.send(&message).unwrap();
    }

    /// The next data from a peer, which must arrive.
    pub fn recv(&mut self) -> Received {
        let deadline = Instant::now() + PATIENCE;
        while self.inbox.is_empty() {
            self.take_one(deadline).expect("data should have come by now");
        }
        self.inbox.pop_front().unwrap()
    }

    pub fn expect_data(&mut self, peer: SocketAddr, payload: &[u8]) {
        assert_is(&self.recv(), Via::Peer(peer), payload);
    }

    pub fn expect_icmp(&mut self, peer: SocketAddr, icmp: [u8; 8]) {
        assert_is(&self.recv(), Via::Icmp(peer), &icmp);
    }

    pub fn expect_channel_data(&mut self, number: u16, payload: &[u8]) {
        assert_is(&self.recv(), Via::Channel(number), payload);
    }

    /// Checks that nothing came before: everything that the server sent earlier arrives before the answer to this
    /// request.
    pub fn expect_nothing(&mut self) {
        self.binding();
        assert_eq!(self.inbox, [], "nothing should have come");
    }

    /// Makes one authenticated request, including the challenge. Fails with the error code if it is refused.
    pub fn request(&mut self, method: Method, add: impl Fn(&mut Message)) -> Result<Message, u16> {
        for challenged in [false, true] {
            let answer = self.transact(&self.signed(method, &add));
            if answer.typ.class == CLASS_SUCCESS_RESPONSE {
                let mut answer = answer;
                let key = self.integrity().expect("success takes credentials");
                key.check(&mut answer).expect("the server proves that it knows the password");
                return Ok(answer);
            }
            let code = error_code(&answer);
            let may_retry = !challenged && matches!(code, 401 | 438) && self.credentials.is_some();
            let had_nonce = !self.nonce.is_empty();
            if let (Ok(realm), Ok(nonce)) = (answer.get(ATTR_REALM), answer.get(ATTR_NONCE)) {
                (self.realm, self.nonce) = (String::from_utf8(realm).unwrap(), nonce);
            }
            if !may_retry || (code == 401 && had_nonce) {
                return Err(code);
            }
        }
        unreachable!("the second answer is final")
    }

    /// The request as it is sent, with integrity once there is a nonce.
    pub fn signed(&self, method: Method, add: impl Fn(&mut Message)) -> Message {
        let mut request = new_message(method, CLASS_REQUEST);
        add(&mut request);
        if let (Some(integrity), false) = (self.integrity(), self.nonce.is_empty()) {
            let username = &self.credentials.as_ref().unwrap().username;
            request.add(ATTR_USERNAME, username.as_bytes());
            request.add(ATTR_REALM, self.realm.as_bytes());
            request.add(ATTR_NONCE, &self.nonce);
            request.encode();
            integrity.add_to(&mut request).unwrap();
        } else {
            request.encode();
        }
        request
    }

    fn integrity(&self) -> Option<MessageIntegrity> {
        let Credentials { username, password } = self.credentials.clone()?;
        Some(MessageIntegrity::new_long_term_integrity(username, self.realm.clone(), password))
    }

    /// Sends a request, with retransmissions as in the RFC, until its response comes.
    pub fn transact(&mut self, request: &Message) -> Message {
        // On a stream nothing is lost, so nothing is sent again.
        let (mut timeout, transmissions) =
            if self.wire.is_stream() { (PATIENCE, 1) } else { (FIRST_TIMEOUT, TRANSMISSIONS) };
        for _ in 0..transmissions {
            // This may report an error about an earlier packet, which says nothing about this one.
            let _ = self.wire.send(&request.raw);
            let deadline = Instant::now() + timeout;
            while let Some(answer) = self.take_one(deadline) {
                if let Some(answer) = answer.filter(|answer| answer.transaction_id == request.transaction_id) {
                    return answer;
                }
            }
            timeout *= 2;
        }
        panic!("no answer from {} to {request}", self.server);
    }

    /// Takes one datagram: a response is returned, data goes to the inbox. Returns `None` at the deadline.
    fn take_one(&mut self, deadline: Instant) -> Option<Option<Message>> {
        let datagram = loop {
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            self.wire.set_read_timeout(left).unwrap();
            match self.wire.recv() {
                Ok(datagram) => break datagram,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return None;
                }
                // ICMP reports that nobody is listening there at the moment.
                Err(_) if !self.wire.is_stream() => {}
                Err(error) => panic!("the connection to {} broke: {error}", self.server),
            }
        };
        if datagram[0] & 0xC0 == 0x40 {
            let number = u16::from_be_bytes([datagram[0], datagram[1]]);
            let len = usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
            let payload = datagram[4..4 + len].to_vec();
            self.inbox.push_back(Received { via: Via::Channel(number), payload });
            return Some(None);
        }
        let mut message = Message::new();
        message.unmarshal_binary(&datagram).unwrap();
        assert_clean_padding(&datagram);
        if message.typ != MessageType::new(METHOD_DATA, CLASS_INDICATION) {
            return Some(Some(message));
        }
        let peer = address(&message, ATTR_XOR_PEER_ADDRESS);
        let (via, payload) = match message.get(ATTR_ICMP) {
            Ok(icmp) => (Via::Icmp(peer), icmp),
            Err(_) => (Via::Peer(peer), message.get(ATTR_DATA).unwrap()),
        };
        self.inbox.push_back(Received { via, payload });
        Some(None)
    }
}

/// Checks that the padding of attributes is empty.
fn assert_clean_padding(message: &[u8]) {
    let mut rest = &message[20..];
    while let [_, _, high, low, ..] = rest {
        let len = 4 + usize::from(u16::from_be_bytes([*high, *low]));
        let (attribute, more) = rest.split_at(len.next_multiple_of(4));
        assert!(attribute[len..].iter().all(|byte| *byte == 0), "padding that holds something: {attribute:?}");
        rest = more;
    }
}

/// Says what differs without printing kilobytes.
fn assert_is(received: &Received, via: Via, payload: &[u8]) {
    let text = |payload: &[u8]| {
        format!("{} bytes: {}", payload.len(), String::from_utf8_lossy(&payload[..payload.len().min(60)]))
    };
    assert_eq!((received.via, text(&received.payload)), (via, text(payload)));
    assert!(received.payload == payload, "contents differ");
}

pub fn new_message(method: Method, class: MessageClass) -> Message {
    let mut message = Message::new();
    message.typ = MessageType::new(method, class);
    message.transaction_id.0 = rand::random();
    message.write_header();
    message
}

pub fn error_code(answer: &Message) -> u16 {
    assert_eq!(answer.typ.class, CLASS_ERROR_RESPONSE, "{answer}");
    let mut error = ErrorCodeAttribute::default();
    stun::message::Getter::get_from(&mut error, answer).unwrap();
    error.code.0
}

fn add_peer(message: &mut Message, peer: SocketAddr) {
    XorMappedAddress { ip: peer.ip(), port: peer.port() }.add_to_as(message, ATTR_XOR_PEER_ADDRESS).unwrap();
}

pub fn address(message: &Message, attribute: AttrType) -> SocketAddr {
    let mut address = XorMappedAddress::default();
    address.get_from_as(message, attribute).unwrap();
    SocketAddr::new(address.ip, address.port)
}
