//! TURN clients over TCP and TLS. Each has one task, one session and (with an allocation) one relay socket.
//!
//! Other modules accept connections and find out that they carry STUN; [`Streams::serve`] does the rest. For UDP
//! workers, the directory and the table of relayed addresses, all streams together are one more worker, and the
//! datagrams for each client wait in its [`Inbox`](super::inbox::Inbox).

mod client;
mod desk;
mod outgoing;
pub(super) mod paced;
pub(super) mod stream_client;

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::timeout;

use self::{client::PolledClient, desk::DESK, paced::Paced, stream_client::StreamClient};
use super::driver::WorkerCommon;
use crate::{
    farewell,
    observe::metrics::{LabelValue, StreamCloseLabel, StreamMetrics, TransportLabel},
    turn::core::{
        event::EndReason,
        transport::{StreamClose, Transport},
    },
};

/// How long closing a connection may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// What all clients on streams share.
#[derive(Debug)]
pub struct Streams {
    tcp: Arc<WorkerCommon>,
    tls: Arc<WorkerCommon>,
    metrics: Arc<StreamMetrics>,
}

impl Streams {
    /// Clients over TCP and over TLS share everything except the counters.
    pub(super) fn new(tcp: WorkerCommon, tls: WorkerCommon, metrics: Arc<StreamMetrics>) -> Self {
        Self { tcp: Arc::new(tcp), tls: Arc::new(tls), metrics }
    }

    /// Serves one client until its connection ends, or until `must_go` is ready. Dropping the future ends the
    /// allocation too.
    pub async fn serve<S>(self: Arc<Self>, stream: S, client: StreamClient, must_go: impl Future<Output = ()>)
    where
        S: Paced,
    {
        let counted = Counted::new(self.metrics.clone(), client.transport);
        let common = match client.transport {
            Transport::Tls => self.tls.clone(),
            Transport::Tcp | Transport::Udp => self.tcp.clone(),
        };
        let mut client = PolledClient::new(common, stream, client);
        let ended = std::future::poll_fn(|cx| DESK.with_borrow_mut(|desk| client.poll(cx, desk)));
        let reason = tokio::select! {
            reason = ended => reason,
            () = must_go => StreamClose::Server,
        };
        let mut stream = client.into_stream(match reason {
            StreamClose::Server => EndReason::Server,
            _ => EndReason::TransportGone,
        });
        counted.end(reason);
        // Without a proper close, a client over TLS could not distinguish the end from an attack.
        let _ = timeout(FAREWELL, farewell::end(&mut stream)).await;
    }

    /// Whether a member's signaling connection comes from `address`.
    pub fn knows(&self, address: IpAddr) -> bool {
        self.tcp.shared.directory.is_connected_from(address)
    }
}

/// Counts a connection in the metrics, until the end even if its future is dropped.
struct Counted {
    metrics: Arc<StreamMetrics>,
    transport: Transport,
    reason: StreamClose,
}

impl Counted {
    fn new(metrics: Arc<StreamMetrics>, transport: Transport) -> Self {
        let label = TransportLabel { transport: LabelValue(transport) };
        metrics.connections.get_or_create(&label).inc();
        metrics.opened.get_or_create(&label).inc();
        Self { metrics, transport, reason: StreamClose::Server }
    }

    fn end(mut self, reason: StreamClose) {
        self.reason = reason;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let (transport, reason) = (LabelValue(self.transport), LabelValue(self.reason));
        self.metrics.connections.get_or_create(&TransportLabel { transport }).dec();
        self.metrics.closed.get_or_create(&StreamCloseLabel { transport, reason }).inc();
    }
}
