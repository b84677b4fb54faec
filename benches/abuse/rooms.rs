//! What members can do to others by what they do not read, and by what they have read to them again and again.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use crate::{
    Bench, SOURCES,
    common::{join_over, patient},
};

type Connection = WebSocketStream<TlsStream<TcpStream>>;

/// As much metadata as a member may have, or nearly.
const METADATA: usize = 16_000;
/// In each room of those who do not read, beside the one that talks to each of them.
const DEAF_PER_ROOM: usize = 3;
/// For each of them: nearly as many messages of this size as its queue takes.
const MESSAGES: usize = 65;
const MESSAGE_BYTES: usize = 32_000;
/// What all queues may take together, what each may take beyond that, and what it may cost to have so much.
const QUEUES: u64 = 128 << 20;
const SLACK: u64 = 64 << 20;

impl Bench {
    async fn member(&self, source: usize, room: &str) -> (Connection, Value) {
        let socket = TcpSocket::new_v4().unwrap();
        // The kernel takes in little for who does not read.
        socket.set_recv_buffer_size(65_536).unwrap();
        let host = IpAddr::from(Ipv4Addr::new(127, 0, 4, 1 + (source % SOURCES) as u8));
        socket.bind(SocketAddr::from((host, 0))).unwrap();
        let tcp = patient(socket.connect(self.honest.one_port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = tokio_rustls::TlsConnector::from(self.honest.tls.clone());
        join_over(patient(connector.connect(name, tcp)).await.unwrap(), room).await
    }

    /// Members with much metadata in `room`, who read what they get as long as they are held.
    async fn residents(&self, room: &str, count: usize) -> JoinSet<()> {
        let mut residents = JoinSet::new();
        for index in 0..count {
            let (mut connection, _) = self.member(index, room).await;
            say(&mut connection, "__update", json!({"metadata": "m".repeat(METADATA)})).await;
            residents.spawn(connection.for_each(|_| async {}));
        }
        residents
    }

    /// Many members that do not read are sent much, each something of its own. Honest clients join a room of which they
    /// are told more than their own share of a queue holds.
    pub(crate) fn deaf(&self, count: usize) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let closed = || self.server.metric("connections_closed_total{reason=\"slow_reader\"}");
        let (closed_before, memory_before) = (closed(), self.server.resident_memory());
        let fill = || {
            runtime.block_on(async {
                let residents = self.residents("honest", 8).await;
                let mut all = Vec::new();
                for index in 0..count.div_ceil(DEAF_PER_ROOM) {
                    let room = format!("deaf{index}");
                    let mut ids = Vec::new();
                    for _ in 0..DEAF_PER_ROOM {
                        let (connection, peers) = self.member(index, &room).await;
                        ids.push(peers["you"].clone());
                        all.push(connection);
                    }
                    let (mut sender, _) = self.member(index, &room).await;
                    for _ in 0..MESSAGES {
                        for id in &ids {
                            let data = json!({"socketId": id, "data": "x".repeat(MESSAGE_BYTES)});
                            say(&mut sender, "__message", data).await;
                        }
                    }
                    all.push(sender);
                    let grown = self.server.resident_memory().saturating_sub(memory_before);
                    assert!(grown < QUEUES + SLACK, "{grown} bytes more");
                }
                (residents, all)
            })
        };
        let name = format!("{count} members that do not read are sent 2 MB each");
        self.abused(&name, ("128 MiB for what waits", 2 * count), fill, drop);
        println!("<!-- {} of them were closed for it -->", closed() - closed_before);
    }

    /// Members of a full room join it again and again.
    pub(crate) fn rejoins(&self, count: usize) {
        const FLOODERS: usize = 8;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let flooder = async |index: usize| {
            let (mut connection, _) = self.member(index, "full").await;
            for _ in 0..count / FLOODERS {
                say(&mut connection, "__join", json!({"room": "full"})).await;
                loop {
                    let answer = patient(connection.next()).await.unwrap().unwrap();
                    let text = answer.to_text().unwrap_or_default();
                    if text.contains("\"_peers\"") {
                        answered.fetch_add(text.len(), Ordering::Relaxed);
                        break;
                    }
                    if text.contains("rate_limited") {
                        refused.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                }
            }
        };
        let flood = || {
            runtime.block_on(async {
                let residents = self.residents("full", 32 - FLOODERS).await;
                futures_util::future::join_all((0..FLOODERS).map(flooder)).await;
                residents
            })
        };
        let name = format!("{count} times a member joins its full room again");
        self.abused(&name, ("the size of the answer counts", 64), flood, drop);
        let (answered, refused) = (answered.into_inner() as f64 / f64::from(1 << 20), refused.into_inner());
        println!("<!-- {refused} refused, {answered:.0} MiB answered -->");
    }
}

async fn say(connection: &mut Connection, event: &str, data: Value) {
    let text = json!({"eventName": event, "data": data}).to_string();
    // Who has been closed has nothing to say.
    let _ = patient(connection.send(Message::text(text))).await;
}
