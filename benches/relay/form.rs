//! How clients wrap what they send, and unwrap what they receive.

use std::net::SocketAddr;

use bimcc_rtc::turn::wire::channel_data;
use stun::{
    agent::TransactionId,
    attributes::{ATTR_DATA, ATTR_XOR_PEER_ADDRESS},
    message::{CLASS_INDICATION, METHOD_DATA, METHOD_SEND, Message, MessageType},
    xoraddr::XorMappedAddress,
};

use crate::{ledger::Origin, stamp::Stamp};

/// No header is longer than this, including padding and optional attributes.
pub(crate) const HEAD_ROOM: usize = 128;

const STUN_HEADER_LEN: usize = 20;
const CHANNEL_HEADER_LEN: usize = 4;
const ATTRIBUTE_HEADER_LEN: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// ChannelData.
    Channel,
    /// Send and Data indications.
    Indication,
}

impl Form {
    /// The bytes before each payload of a client. The lengths are filled in later.
    pub(crate) fn head(self, channel: u16, peer: Option<SocketAddr>) -> anyhow::Result<Vec<u8>> {
        let Some(peer) = peer.filter(|_| self == Self::Indication) else {
            let [high, low] = channel.to_be_bytes();
            return Ok(vec![high, low, 0, 0]);
        };
        let mut message = Message::new();
        message.typ = MessageType::new(METHOD_SEND, CLASS_INDICATION);
        message.transaction_id = TransactionId::new();
        message.write_header();
        XorMappedAddress { ip: peer.ip(), port: peer.port() }.add_to_as(&mut message, ATTR_XOR_PEER_ADDRESS)?;
        let mut head = message.raw;
        head.extend_from_slice(&ATTR_DATA.value().to_be_bytes());
        head.extend_from_slice(&[0, 0]);
        Ok(head)
    }

    /// The length of the padding behind a payload, over UDP.
    fn padding(self, len: usize) -> usize {
        match self {
            Self::Channel => 0,
            Self::Indication => len.next_multiple_of(4) - len,
        }
    }

    fn write_len(self, head: &mut [u8], len: usize) {
        let end = head.len();
        head[end - 2..].copy_from_slice(&(len as u16).to_be_bytes());
        if self == Self::Indication {
            let whole = end - STUN_HEADER_LEN + len.next_multiple_of(4);
            head[2..4].copy_from_slice(&(whole as u16).to_be_bytes());
        }
    }

    /// The origin of the data in a message, and the data. `None` if the message has another form, or a wrong length.
    pub(crate) fn read(self, message: &[u8]) -> Option<(Origin, &[u8])> {
        if self == Self::Channel {
            let (number, payload) = channel_data::decode(message)?;
            // Servers may add padding over UDP too; this project's server and coturn do not.
            return (message.len() == CHANNEL_HEADER_LEN + payload.len()).then_some((Origin::Channel(number), payload));
        }
        let (head, mut rest) = message.split_at_checked(STUN_HEADER_LEN)?;
        let kind = MessageType::new(METHOD_DATA, CLASS_INDICATION).value().to_be_bytes();
        if head[..2] != kind || usize::from(u16::from_be_bytes([head[2], head[3]])) != rest.len() {
            return None;
        }
        let (mut peer, mut data) = (None, None);
        while let Some((attribute, behind)) = rest.split_at_checked(ATTRIBUTE_HEADER_LEN) {
            let number = u16::from_be_bytes([attribute[0], attribute[1]]);
            let len = usize::from(u16::from_be_bytes([attribute[2], attribute[3]]));
            let value = behind.get(..len)?;
            if number == ATTR_DATA.value() {
                data = Some(value);
            } else if number == ATTR_XOR_PEER_ADDRESS.value() {
                peer = xor_address(value);
            }
            rest = behind.get(len.next_multiple_of(4)..)?;
        }
        Some((Origin::Address(peer?), data?))
    }
}

/// Only for IPv4.
fn xor_address(value: &[u8]) -> Option<SocketAddr> {
    let &[0, 1, p0, p1, a, b, c, d] = value else {
        return None;
    };
    let [m0, m1, m2, m3] = stun::message::MAGIC_COOKIE.to_be_bytes();
    let port = u16::from_be_bytes([p0 ^ m0, p1 ^ m1]);
    Some(SocketAddr::from(([a ^ m0, b ^ m1, c ^ m2, d ^ m3], port)))
}

/// Makes runs of packets.
#[derive(Debug)]
pub(crate) struct Frames {
    pub(crate) form: Form,
    /// The headers, by client.
    heads: Vec<Vec<u8>>,
    payload: Vec<u8>,
    run: Vec<u8>,
}

impl Frames {
    pub(crate) fn new(form: Form, heads: Vec<Vec<u8>>, longest: usize) -> Self {
        Self { form, heads, payload: (0..longest).map(|index| index as u8).collect(), run: Vec::new() }
    }

    /// Packets with `len` bytes of payload, one for each stamp, from a client or (without a header) from a peer.
    /// Returns them and the length of each.
    pub(crate) fn run(
        &mut self,
        client: Option<usize>,
        len: usize,
        stamps: impl Iterator<Item = Stamp>,
    ) -> (&[u8], usize) {
        let Self { form, heads, payload, run } = self;
        run.clear();
        let head = match client {
            Some(index) => {
                form.write_len(&mut heads[index], len);
                &heads[index][..]
            }
            None => &[],
        };
        let padding = if client.is_some() { form.padding(len) } else { 0 };
        for stamp in stamps {
            stamp.write(&mut payload[..len]);
            run.extend_from_slice(head);
            run.extend_from_slice(&payload[..len]);
            run.extend_from_slice(&[0; 3][..padding]);
        }
        (run, head.len() + len + padding)
    }
}
