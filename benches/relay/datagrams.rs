//! Sends and receives datagrams in batches, so that the load costs less than what it measures: one system call, or one
//! segmented buffer, sends a run, and everything that a socket holds is taken at once.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::AsRawFd,
};

use mio::net::UdpSocket;
use nix::{
    cmsg_space,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, sendmsg,
        setsockopt, sockopt,
    },
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// The number of datagrams for one system call.
const BATCH: usize = 32;

/// The maximum number of segments in a buffer, and of bytes. These are the kernel's limits.
const SEGMENTS: usize = 64;
const SEGMENTED_BYTES: usize = 65_000;

/// The receive buffer of a socket, if the system allows it. A load that does not run for a moment must not count as
/// loss.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A socket on any port of `host`.
pub(crate) fn udp_socket(host: Ipv4Addr) -> anyhow::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((host, 0)).into())?;
    let socket = UdpSocket::from_std(socket.into());
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        SockRef::from(&socket).set_recv_buffer_size(1 << 20)?;
    }
    Ok(socket)
}

/// Sends runs of datagrams of one length.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Whether runs are sent as one buffer (UDP_SEGMENT).
    segmented: bool,
    headers: MultiHeaders<SockaddrIn>,
}

impl Outbox {
    pub(crate) fn new(segmented: bool) -> Self {
        Self { segmented, headers: MultiHeaders::preallocate(BATCH, None) }
    }

    /// Sends `run`, which consists of consecutive datagrams of `len` bytes, from a connected socket or to `to`. Returns
    /// how many of them were sent.
    pub(crate) fn send(
        &mut self,
        socket: &UdpSocket,
        to: Option<SocketAddrV4>,
        run: &[u8],
        len: usize,
    ) -> io::Result<usize> {
        let to = to.map(SockaddrIn::from);
        let at_once = if self.segmented { SEGMENTS.min(SEGMENTED_BYTES / len).max(1) } else { BATCH };
        let mut left = 0;
        for part in run.chunks(at_once * len) {
            let sent = if self.segmented || part.len() == len {
                send_segmented(socket, to, part, len)
            } else {
                self.send_each(socket, to, part, len)
            };
            match sent {
                Ok(count) => left += count,
                Err(nix::Error::EAGAIN | nix::Error::ENOBUFS) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(left)
    }

    fn send_each(&mut self, socket: &UdpSocket, to: Option<SockaddrIn>, run: &[u8], len: usize) -> nix::Result<usize> {
        let slices: Vec<_> = run.chunks(len).map(|datagram| [IoSlice::new(datagram)]).collect();
        let sent = sendmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            &slices,
            vec![to; slices.len()],
            [],
            MsgFlags::MSG_DONTWAIT,
        )?;
        Ok(sent.count())
    }
}

/// Sends one buffer, with one segment or several.
fn send_segmented(socket: &UdpSocket, to: Option<SockaddrIn>, run: &[u8], len: usize) -> nix::Result<usize> {
    let segment = len as u16;
    let segments = [ControlMessage::UdpGsoSegments(&segment)];
    let control = if run.len() > len { &segments[..] } else { &[] };
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(run)], control, MsgFlags::MSG_DONTWAIT, to.as_ref())?;
    Ok(run.len() / len)
}

/// Takes the datagrams that sockets hold.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Whether the kernel may return runs as one buffer (UDP_GRO).
    merged: bool,
    room: usize,
    bytes: Vec<u8>,
    headers: MultiHeaders<SockaddrIn>,
}

impl Inbox {
    /// A receiver for datagrams of at most `longest` bytes.
    pub(crate) fn new(longest: usize, merged: bool) -> Self {
        let room = if merged { usize::from(u16::MAX) } else { longest };
        Self { merged, room, bytes: vec![0; room * BATCH], headers: MultiHeaders::preallocate(BATCH, None) }
    }

    /// Must be called once for every socket.
    pub(crate) fn prepare(&self, socket: &UdpSocket) -> io::Result<()> {
        Ok(setsockopt(socket, sockopt::UdpGroSegment, &self.merged)?)
    }

    /// Takes everything that the socket holds.
    pub(crate) fn receive(&mut self, socket: &UdpSocket, mut take: impl FnMut(&[u8], SocketAddr)) -> io::Result<bool> {
        let mut any = false;
        loop {
            if self.merged {
                // Space for control messages can be used only once.
                self.headers = MultiHeaders::preallocate(BATCH, Some(cmsg_space!(i32)));
            }
            let mut slices: Vec<_> = self.bytes.chunks_mut(self.room).map(|chunk| [IoSliceMut::new(chunk)]).collect();
            let flags = MsgFlags::MSG_DONTWAIT;
            let received = match recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), flags, None) {
                Ok(received) => received,
                Err(nix::Error::EAGAIN) => return Ok(any),
                Err(error) => return Err(error.into()),
            };
            let mut count = 0;
            for message in received {
                count += 1;
                let from =
                    message.address.map_or(SocketAddr::from(([0; 4], 0)), |from| SocketAddrV4::from(from).into());
                let datagram = message.iovs().next().unwrap_or_default();
                let segment = self.merged.then(|| message.cmsgs().ok()?.find_map(segment_of)).flatten();
                for datagram in datagram.chunks(segment.unwrap_or(datagram.len()).max(1)) {
                    take(datagram, from);
                }
            }
            any = true;
            // The socket is empty now, and becomes readable again when more arrives.
            if count < BATCH {
                return Ok(any);
            }
        }
    }
}

fn segment_of(control: ControlMessageOwned) -> Option<usize> {
    match control {
        ControlMessageOwned::UdpGroSegments(len) => usize::try_from(len).ok(),
        _ => None,
    }
}
