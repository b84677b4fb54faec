//! UDP sockets as TURN needs them: replies are sent from the address that received the request, and the server decides
//! about DF.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd, RawFd},
    sync::Arc,
    task::{Context, Poll},
};

use mio::{Interest, Registry, Token};
use nix::{
    libc,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
    },
};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rustix::net::{
    MMsgHdr, SendAncillaryBuffer, SendFlags,
    addr::SocketAddrArg,
    sendmmsg,
    sockopt::{
        Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ip_recvtos, set_ipv6_mtu_discover,
        set_ipv6_recvtclass,
    },
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::ReadBuf;

#[cfg(test)]
use crate::turn::io::faults;
use crate::turn::{
    io::{datagram_queue::DatagramSocket, relay_socket::RelaySocket},
    wire::data::{HEADROOM, IcmpError, TAILROOM},
};

/// The maximum number of buffers that are filled by one call.
pub(super) const LISTENER_BATCH: usize = 32;

/// The same for a relayed address that has not yet shown that it receives many datagrams.
pub(super) const RELAY_BATCH: usize = 4;

/// With GRO the kernel may hand over many datagrams of one sender in one buffer.
const BUFFER: usize = HEADROOM + 65_536 + TAILROOM;

/// How many reports about sent datagrams are taken by one call.
const REPORTS_AT_ONCE: usize = 16;

/// The size of the receive buffer that a listener asks the kernel for. The kernel grants what its limit allows.
const LISTENER_RECV_BUFFER: usize = 4 << 20;

/// A non-blocking UDP socket that is bound to one address, possibly a wildcard.
#[derive(Debug)]
pub(super) struct UdpSocket {
    socket: mio::net::UdpSocket,
    /// The state of a listener, which its relay sockets share.
    state: Arc<UdpSocketState>,
    local: SocketAddr,
}

impl UdpSocket {
    /// Binds one of several sockets on the same address. The kernel distributes the clients among them.
    pub(super) fn listen(address: SocketAddr) -> io::Result<Self> {
        let socket = Self::adopt(bind(address, |socket| socket.set_reuse_port(true))?)?;
        // An error is ignored: a smaller buffer works too.
        let _ = SockRef::from(&socket.socket).set_recv_buffer_size(LISTENER_RECV_BUFFER);
        Ok(socket)
    }

    /// Binds the only socket on its address.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::adopt(bind(address, |_| Ok(()))?)
    }

    fn adopt(socket: Socket) -> io::Result<Self> {
        let local = local_address(&socket)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?.into();
        switch_off_unread(&socket, local)?;
        // quinn-udp forbids fragmentation, as QUIC requires. TURN relays what it is given (RFC 8656 section 14).
        if local.is_ipv6() {
            setsockopt(&socket, sockopt::Ipv6DontFrag, &false)?;
        }
        set_dont_fragment(&socket, local.is_ipv4(), false)?;
        Ok(Self { local, socket: mio::net::UdpSocket::from_std(socket.into()), state })
    }

    /// Makes a relay socket for a client of this listener.
    ///
    /// What quinn-udp sets up is for sockets that learn and choose addresses; it costs a dozen calls, and as many to
    /// undo it. Of all that, a relay socket only needs runs of datagrams.
    pub(super) fn adopt_relay(&self, relay: BoundRelay) -> io::Result<Self> {
        let BoundRelay { socket, local } = relay;
        // An error is ignored: without this option, datagrams come one by one.
        let _ = setsockopt(&socket, sockopt::UdpGroSegment, &true);
        set_dont_fragment(&socket, local.is_ipv4(), false)?;
        Ok(Self { socket: mio::net::UdpSocket::from_std(socket.into()), state: self.state.clone(), local })
    }

    /// Asks `registry` for read events.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    /// The address that the socket is bound to.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Fills up to `N` buffers with datagrams, [`LISTENER_BATCH`] at most. If fewer are filled, there are no more
    /// datagrams.
    pub(super) fn recv<const N: usize>(&self, buffers: &mut Buffers) -> io::Result<usize> {
        let mut memory = buffers.memory.chunks_exact_mut(BUFFER);
        let mut slices: [IoSliceMut<'_>; N] = std::array::from_fn(|_| {
            let buffer = memory.next().expect("there is memory for each buffer");
            IoSliceMut::new(&mut buffer[HEADROOM..BUFFER - TAILROOM])
        });
        self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut buffers.metas)
    }

    /// Sends one datagram with DF set. If it is too large for the path, it is lost (RFC 8656 section 14).
    fn send_unfragmented(&self, to: SocketAddr, contents: &[u8]) -> io::Result<()> {
        set_dont_fragment(&self.socket, self.local.is_ipv4(), true)?;
        let sent = self.send(to, None, contents, None);
        set_dont_fragment(&self.socket, self.local.is_ipv4(), false)?;
        sent
    }
}

impl DatagramSocket for UdpSocket {
    fn send(&self, to: SocketAddr, source: Option<IpAddr>, bytes: &[u8], segment: Option<u16>) -> io::Result<()> {
        #[cfg(test)]
        faults::befall(self.local)?;
        let source = source.filter(|_| self.local.ip().is_unspecified());
        if source.is_none() && segment.is_none() {
            // Without control messages the kernel has less to copy and to check.
            return self.socket.send_to(bytes, to).map(|_| ());
        }
        send_with_control(self.socket.as_raw_fd(), to, source, bytes, segment)
    }

    fn send_each(&self, datagrams: &[(SocketAddr, Option<IpAddr>, &[u8])]) -> io::Result<usize> {
        #[cfg(test)]
        faults::befall(self.local)?;
        if self.local.ip().is_unspecified() && datagrams.iter().any(|(_, source, _)| source.is_some()) {
            return send_in_turn(self, datagrams);
        }
        let receivers: Vec<_> = datagrams.iter().map(|(to, ..)| to.as_any()).collect();
        let slices: Vec<_> = datagrams.iter().map(|(.., bytes)| [IoSlice::new(bytes)]).collect();
        let mut control: Vec<_> = datagrams.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let messages = receivers.iter().zip(&slices).zip(&mut control);
        let mut messages: Vec<_> =
            messages.map(|((to, slices), control)| MMsgHdr::new_with_addr(to, slices, control)).collect();
        Ok(sendmmsg(&self.socket, &mut messages, SendFlags::DONTWAIT)?)
    }

    fn takes_runs(&self) -> bool {
        self.state.max_gso_segments() > 1
    }

    fn take_icmp(&self) -> Vec<(SocketAddr, IcmpError)> {
        take_icmp(self.socket.as_raw_fd())
    }
}

impl RelaySocket for UdpSocket {
    fn send_unfragmented(&self, peer: SocketAddr, payload: &[u8]) -> io::Result<()> {
        Self::send_unfragmented(self, peer, payload)
    }
}

/// For a socket that cannot send to several receivers in one call.
fn send_in_turn(socket: &impl DatagramSocket, datagrams: &[(SocketAddr, Option<IpAddr>, &[u8])]) -> io::Result<usize> {
    for (sent, (to, source, bytes)) in datagrams.iter().enumerate() {
        match socket.send(*to, *source, bytes, None) {
            Err(error) if sent == 0 => return Err(error),
            Err(_) => return Ok(sent),
            Ok(()) => {}
        }
    }
    Ok(datagrams.len())
}

/// Sends with control messages that say where to send from, and how long each datagram is.
fn send_with_control(
    socket: RawFd,
    to: SocketAddr,
    source: Option<IpAddr>,
    bytes: &[u8],
    segment: Option<u16>,
) -> io::Result<()> {
    let (v4, v6);
    let source = match source {
        Some(IpAddr::V4(ip)) => {
            let ipi_spec_dst = libc::in_addr { s_addr: u32::from(ip).to_be() };
            v4 = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst, ipi_addr: libc::in_addr { s_addr: 0 } };
            Some(ControlMessage::Ipv4PacketInfo(&v4))
        }
        Some(IpAddr::V6(ip)) => {
            v6 = libc::in6_pktinfo { ipi6_ifindex: 0, ipi6_addr: libc::in6_addr { s6_addr: ip.octets() } };
            Some(ControlMessage::Ipv6PacketInfo(&v6))
        }
        None => None,
    };
    let segment = segment.as_ref().map(ControlMessage::UdpGsoSegments);
    let slices = [IoSlice::new(bytes)];
    let to = SockaddrStorage::from(to);
    let send = |control: &[ControlMessage<'_>]| sendmsg(socket, &slices, control, MsgFlags::MSG_DONTWAIT, Some(&to));
    match (source, segment) {
        (Some(source), Some(segment)) => send(&[source, segment])?,
        (Some(only), None) | (None, Some(only)) => send(&[only])?,
        (None, None) => send(&[])?,
    };
    Ok(())
}

/// A socket for a relayed address that is not read yet. It keeps the port from other programs.
#[derive(Debug)]
pub(super) struct BoundRelay {
    socket: Socket,
    local: SocketAddr,
}

impl BoundRelay {
    /// Binds a socket to `local`. Errors that the network reports about its datagrams are kept for [`take_icmp`].
    pub(super) fn bind(local: SocketAddr) -> io::Result<Self> {
        let socket = bind(local, |socket| match local {
            SocketAddr::V4(_) => Ok(setsockopt(socket, sockopt::Ipv4RecvErr, &true)?),
            SocketAddr::V6(_) => Ok(setsockopt(socket, sockopt::Ipv6RecvErr, &true)?),
        })?;
        Ok(Self { socket, local })
    }
}

fn bind(address: SocketAddr, prepare: impl FnOnce(&Socket) -> io::Result<()>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    prepare(&socket)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Takes the network's reports about datagrams that a relay socket sent: their receivers, and what happened to them.
/// Errors that this host itself has found are left out. While a report waits, the next call on the socket fails because
/// of it; after a failed call, the caller therefore takes the reports and tries again.
fn take_icmp(socket: RawFd) -> Vec<(SocketAddr, IcmpError)> {
    let mut reports = Vec::new();
    for _ in 0..REPORTS_AT_ONCE {
        // The content of the datagram itself is not needed.
        let mut nothing = [IoSliceMut::new(&mut [])];
        let mut control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let Ok(report) = recvmsg::<SockaddrStorage>(socket, &mut nothing, Some(&mut control), flags) else {
            break;
        };
        let peer =
            report.address.as_ref().and_then(|address| match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                (Some(v4), _) => Some(SocketAddr::V4((*v4).into())),
                (_, Some(v6)) => Some(SocketAddr::V6((*v6).into())),
                _ => None,
            });
        let error = report.cmsgs().into_iter().flatten().find_map(|message| match message {
            ControlMessageOwned::Ipv4RecvErr(error, _) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP => Some(error),
            ControlMessageOwned::Ipv6RecvErr(error, _) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP6 => Some(error),
            _ => None,
        });
        if let Some((peer, error)) = peer.zip(error) {
            let is_too_big = error.ee_errno == libc::EMSGSIZE as u32;
            let data = if is_too_big { error.ee_info } else { 0 };
            reports.push((peer, IcmpError { kind: error.ee_type, code: error.ee_code, data }));
        }
    }
    reports
}

fn set_dont_fragment(socket: impl AsFd, is_ipv4: bool, on: bool) -> io::Result<()> {
    if is_ipv4 {
        let value = if on { Ipv4PathMtuDiscovery::DO } else { Ipv4PathMtuDiscovery::DONT };
        set_ip_mtu_discover(socket, value)?;
    } else {
        let value = if on { Ipv6PathMtuDiscovery::DO } else { Ipv6PathMtuDiscovery::DONT };
        set_ipv6_mtu_discover(socket, value)?;
    }
    Ok(())
}

/// A relay socket that is owned by a task.
#[derive(Debug)]
pub(super) struct TaskSocket {
    socket: tokio::net::UdpSocket,
    is_ipv4: bool,
}

impl TaskSocket {
    /// Takes over a relay socket. This needs a runtime.
    pub(super) fn adopt(relay: BoundRelay) -> io::Result<Self> {
        let BoundRelay { socket, local } = relay;
        let is_ipv4 = local.is_ipv4();
        // The default depends on the configuration of the system.
        set_dont_fragment(&socket, is_ipv4, false)?;
        Ok(Self { socket: tokio::net::UdpSocket::from_std(socket.into())?, is_ipv4 })
    }

    /// Reads one datagram.
    pub(super) fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<SocketAddr>> {
        self.socket.poll_recv_from(cx, buffer)
    }
}

impl DatagramSocket for TaskSocket {
    /// This bypasses the runtime, which does not yet know whether a new socket is writable.
    fn send(&self, to: SocketAddr, _: Option<IpAddr>, bytes: &[u8], segment: Option<u16>) -> io::Result<()> {
        match segment {
            None => SockRef::from(&self.socket).send_to(bytes, &to.into()).map(|_| ()),
            Some(_) => send_with_control(self.socket.as_raw_fd(), to, None, bytes, segment),
        }
    }

    fn send_each(&self, datagrams: &[(SocketAddr, Option<IpAddr>, &[u8])]) -> io::Result<usize> {
        send_in_turn(self, datagrams)
    }

    fn takes_runs(&self) -> bool {
        true
    }

    fn take_icmp(&self) -> Vec<(SocketAddr, IcmpError)> {
        take_icmp(self.socket.as_raw_fd())
    }
}

impl RelaySocket for TaskSocket {
    fn send_unfragmented(&self, peer: SocketAddr, payload: &[u8]) -> io::Result<()> {
        set_dont_fragment(&self.socket, self.is_ipv4, true)?;
        let sent = self.send(peer, None, payload, None);
        set_dont_fragment(&self.socket, self.is_ipv4, false)?;
        sent
    }
}

/// quinn-udp asks for ECN, the time of arrival and the destination address of each datagram. These are costly to
/// deliver, and only the destination address is read, on sockets that have more than one address.
fn switch_off_unread(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    setsockopt(socket, sockopt::ReceiveTimestampns, &false)?;
    let has_one_address = !address.ip().is_unspecified();
    if address.is_ipv4() {
        set_ip_recvtos(socket, false)?;
        if has_one_address {
            setsockopt(socket, sockopt::Ipv4PacketInfo, &false)?;
        }
    } else {
        set_ipv6_recvtclass(socket, false)?;
        if has_one_address {
            setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &false)?;
        }
    }
    Ok(())
}

/// Memory for the datagrams that a worker receives, with room around each to turn it into a message for a client.
pub(super) struct Buffers {
    memory: Box<[u8]>,
    metas: [RecvMeta; LISTENER_BATCH],
}

/// One datagram in [`Buffers`], or a run of datagrams of the same length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    /// The sender.
    pub(super) from: SocketAddr,
    /// The server address that it was sent to, if the socket is bound to a wildcard.
    pub(super) to_ip: Option<IpAddr>,
    /// The total number of bytes.
    len: usize,
    /// The length of each datagram except the last.
    stride: usize,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self { memory: vec![0; BUFFER * LISTENER_BATCH].into(), metas: [RecvMeta::default(); LISTENER_BATCH] }
    }

    /// What the buffer `index` contains after [`UdpSocket::recv`].
    pub(super) fn received(&self, index: usize) -> Received {
        let meta = &self.metas[index];
        let to_ip = meta.dst_ip.map(|ip| ip.to_canonical());
        Received { from: meta.addr, to_ip, len: meta.len, stride: meta.stride.max(1) }
    }

    /// The buffer `index`, with its headroom and tailroom.
    pub(super) fn buffer(&mut self, index: usize) -> &mut [u8] {
        &mut self.memory[index * BUFFER..(index + 1) * BUFFER]
    }
}

impl Received {
    /// The beginning and end of each datagram in its buffer.
    pub(super) fn datagrams(self) -> impl Iterator<Item = (usize, usize)> {
        let one_empty = (self.len == 0).then_some((HEADROOM, HEADROOM));
        let many = (0..self.len).step_by(self.stride);
        one_empty.into_iter().chain(many.map(move |at| (HEADROOM + at, HEADROOM + (at + self.stride).min(self.len))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_taken_apart() {
        let run = Received { from: ([0, 0, 0, 0], 0).into(), to_ip: None, len: 25, stride: 10 };
        let lengths: Vec<_> = run.datagrams().map(|(start, end)| end - start).collect();
        assert_eq!(lengths, [10, 10, 5]);
        let empty = Received { len: 0, stride: 1, ..run };
        assert_eq!(empty.datagrams().count(), 1);
    }

    #[test]
    fn wildcard_sockets_learn_and_choose_their_address() {
        for (wildcard, ips) in [("0.0.0.0:0", ["127.0.0.1", "127.0.0.2"]), ("[::]:0", ["::1", "::1"])] {
            let wildcard = UdpSocket::bind(wildcard.parse().unwrap()).unwrap();
            for ip in ips {
                let ip: IpAddr = ip.parse().unwrap();
                let address = SocketAddr::new(ip, wildcard.local().port());
                let client = UdpSocket::bind(SocketAddr::new(ip, 0)).unwrap();
                let mut buffers = Buffers::new();
                client.send(address, None, b"request", None).unwrap();
                assert_eq!(wildcard.recv::<RELAY_BATCH>(&mut buffers).unwrap(), 1);
                assert_eq!(buffers.received(0).to_ip, Some(ip));
                wildcard.send(client.local(), Some(ip), b"response", None).unwrap();
                assert_eq!(client.recv::<RELAY_BATCH>(&mut buffers).unwrap(), 1);
                assert_eq!(buffers.received(0).from, address);
                // The socket is bound to the only address at which it can receive.
                assert_eq!(buffers.received(0).to_ip, None);
            }
        }
    }

    /// A count below the number of datagrams would mean that one failed.
    #[test]
    fn every_socket_sends_to_several_receivers() {
        let receivers: [_; 3] = std::array::from_fn(|_| UdpSocket::bind(([127, 0, 0, 1], 0).into()).unwrap());
        for bound in ["127.0.0.1:0", "0.0.0.0:0"] {
            let sender = UdpSocket::bind(bound.parse().unwrap()).unwrap();
            let source = Some([127, 0, 0, 1].into());
            let datagrams: Vec<_> = receivers.iter().map(|to| (to.local(), source, &b"datagram"[..])).collect();
            assert_eq!(sender.send_each(&datagrams).unwrap(), 3, "{bound}");
            for receiver in &receivers {
                assert_eq!(receiver.recv::<RELAY_BATCH>(&mut Buffers::new()).unwrap(), 1);
            }
        }
    }

    #[test]
    fn large_datagrams_pass_whole() {
        let receiver = UdpSocket::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let sender = UdpSocket::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let payload = vec![7; 40_000];
        sender.send(receiver.local(), None, &payload, None).unwrap();
        let mut buffers = Buffers::new();
        // Loopback delivers before send returns.
        assert_eq!(receiver.recv::<RELAY_BATCH>(&mut buffers).unwrap(), 1);
        let received = buffers.received(0);
        assert_eq!(received.from, sender.local());
        let (start, end) = received.datagrams().next().unwrap();
        assert_eq!(buffers.buffer(0)[start..end], payload);
    }
}
