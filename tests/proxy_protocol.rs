//! Headers of the PROXY protocol on the `--listen` port: which client a connection belongs to, and what is refused.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{
    Options, Server, patient,
    turn_client::TurnClient,
    wire::{Wire, self_signed},
};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{Error, Message, client::IntoClientRequest};

const LINE: &str = "PROXY TCP4 192.0.2.1 203.0.113.5 1234 443\r\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const PREFIX_OF_2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

fn behind_loopback() -> Options {
    let mut options = Options::default();
    options.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    options
}

fn refused(server: &Server, reason: &str) -> i64 {
    server.metric(&format!("connections_refused_total{{reason=\"{reason}\"}}"))
}

async fn answer(server: &Server, pieces: &[&[u8]]) -> String {
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    for piece in pieces {
        if tcp.write_all(piece).await.is_err() {
            break;
        }
        // Gives the server time to look at the bytes so far.
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }
    let mut answer = Vec::new();
    // The connection is closed, possibly with a reset because of unread data.
    let _ = patient(tcp.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn r9_5_a_line_of_version_1_names_the_client() {
    let mut options = behind_loopback();
    options.http.max_connections_per_ip = 1;
    let server = Server::with(options).await;
    let connect = async |line: &'static str| {
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        tcp.write_all(line.as_bytes()).await.unwrap();
        tokio_tungstenite::client_async(server.request("/"), tcp).await
    };
    let (mut ws, _) = connect(LINE).await.unwrap();
    for same in [LINE, "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:203.0.113.5 9 443\r\n"] {
        let Err(Error::Http(refused)) = connect(same).await else { panic!("it was let in: {same}") };
        assert_eq!(refused.status(), 429, "it counts for the client's address: {same}");
    }
    let _another = connect("PROXY TCP4 192.0.2.2 203.0.113.5 1234 443\r\n").await.unwrap();
    let _of_another_family = connect("PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n").await.unwrap();
    ws.send(Message::text(r#"{"eventName":"__join"}"#)).await.unwrap();
    patient(ws.next()).await.unwrap().unwrap();
    assert!(server.directory.is_connected_from("192.0.2.1".parse().unwrap()));
    assert!(!server.directory.is_connected_from("127.0.0.1".parse().unwrap()));
}

#[tokio::test]
async fn r9_5_a_header_may_come_in_pieces_or_with_what_follows() {
    let server = Server::with(behind_loopback()).await;
    let mut of_version_2 = [&PREFIX_OF_2[..], b"\x21\x11\0\x0C"].concat();
    of_version_2.extend_from_slice(&[192, 0, 2, 1, 203, 0, 113, 5, 4, 210, 1, 187]);
    for header in [LINE.as_bytes(), &of_version_2, b"PROXY UNKNOWN\r\n"] {
        let whole = [header, HEALTH.as_bytes()].concat();
        let single: Vec<_> = whole.chunks(1).collect();
        for pieces in [vec![&whole[..]], single, vec![header, HEALTH.as_bytes()], vec![&whole[..5], &whole[5..]]] {
            let answer = answer(&server, &pieces).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{} pieces: {answer}", pieces.len());
        }
    }
}

#[tokio::test]
async fn r9_5_tls_and_turn_may_follow_at_once() {
    let mut options = behind_loopback();
    let (config, connector) = self_signed();
    options.tls = Some(config);
    let server = Server::with(options).await;
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    tcp.write_all(LINE.as_bytes()).await.unwrap();
    let mut tls = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
    tls.write_all(HEALTH.as_bytes()).await.unwrap();
    let mut answer = String::new();
    patient(tls.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let address = server.address;
    let mapped = tokio::task::spawn_blocking(move || {
        let mut wire = Wire::tcp(address);
        wire.send_raw(LINE.as_bytes()).unwrap();
        TurnClient::by(wire, address, None).binding()
    });
    assert_eq!(mapped.await.unwrap(), "192.0.2.1:1234".parse().unwrap());
}

#[tokio::test]
async fn r9_5_requests_with_the_same_letters_are_requests() {
    let server = Server::with(behind_loopback()).await;
    let stranger = Server::start().await;
    for server in [&server, &stranger] {
        for method in ["POST", "PUT", "PATCH", "PROPFIND", "PROPPATCH", "PRO", "PROXYS"] {
            let request = format!("{method} /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            let single: Vec<_> = request.as_bytes().chunks(1).collect();
            for pieces in [vec![request.as_bytes()], single] {
                let answer = answer(server, &pieces).await;
                assert!(answer.starts_with("HTTP/1.1 405"), "{method}: {answer}");
            }
        }
        assert_eq!((refused(server, "bad_proxy_header"), refused(server, "untrusted_proxy_header")), (0, 0));
    }
}

#[tokio::test]
async fn r9_5_a_client_that_goes_within_a_header_is_let_go() {
    for (options, len) in [(behind_loopback(), 3), (behind_loopback(), 20), (Options::default(), 3)] {
        let server = Server::with(options).await;
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        tcp.write_all(&LINE.as_bytes()[..len]).await.unwrap();
        tcp.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = patient(tcp.read_to_end(&mut answer)).await;
    }
}

#[tokio::test]
async fn r9_5_a_bad_header_is_counted_and_answered() {
    let server = Server::with(behind_loopback()).await;
    let overlong = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    let of_text = [
        "PROXY /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.5 1234 443\n",
        "PROXY TCP4 2001:db8::1 203.0.113.5 1234 443\r\n",
        "PROXY TCP4 0.0.0.0 203.0.113.5 1234 443\r\n",
        "PROXY UDP4 192.0.2.1 203.0.113.5 1234 443\r\n",
        &overlong,
    ];
    for (before, line) in of_text.iter().enumerate() {
        let answer = answer(&server, &[line.as_bytes()]).await;
        assert!(answer.is_empty() || answer.contains("version 1 or 2"), "{answer}");
        assert_eq!(refused(&server, "bad_proxy_header"), before as i64 + 1, "{line}");
    }
    let broken = [&PREFIX_OF_2[..], b"\x21\x12\0\x00"].concat();
    assert_eq!(answer(&server, &[&broken]).await, "");
    assert_eq!(refused(&server, "bad_proxy_header"), of_text.len() as i64 + 1);
}

/// A rest of 4,096 bytes is enough for the names of certificates. The server does not wait for a longer one.
#[tokio::test]
async fn r9_5_a_header_that_is_announced_too_long_is_refused_at_once() {
    let mut options = behind_loopback();
    options.http.timeouts.handshake = Duration::from_secs(3600);
    let server = Server::with(options).await;
    let header = |rest: u16| [&PREFIX_OF_2[..], b"\x21\x11", &rest.to_be_bytes()].concat();
    let ends = [192, 0, 2, 1, 203, 0, 113, 5, 4, 210, 1, 187];
    // Another field that proxies add, of a kind that this server ignores.
    let added = [&[0xE0][..], &(4096_u16 - 12 - 3).to_be_bytes(), &[0; 4096 - 12 - 3]].concat();
    let longest = [&header(4096)[..], &ends, &added, HEALTH.as_bytes()].concat();
    let answer_to_longest = answer(&server, &[&longest]).await;
    assert!(answer_to_longest.starts_with("HTTP/1.1 200"), "{answer_to_longest}");
    for (before, rest) in [4097, u16::MAX].into_iter().enumerate() {
        assert_eq!(answer(&server, &[&[&header(rest)[..], &ends].concat()]).await, "");
        assert_eq!(refused(&server, "bad_proxy_header"), before as i64 + 1, "{rest}");
    }
}

#[tokio::test]
async fn r9_5_a_header_of_a_stranger_is_counted_and_never_believed() {
    let server = Server::start().await;
    let answer_to_text = answer(&server, &[LINE.as_bytes()]).await;
    assert!(answer_to_text.starts_with("HTTP/1.1 400") && answer_to_text.contains("--trusted-proxy"));
    let _ = answer(&server, &[LINE.as_bytes(), HEALTH.as_bytes()]).await;
    let _ = answer(&server, &[b"PROXY UNKNOWN\r\n", HEALTH.as_bytes()]).await;
    assert_eq!(answer(&server, &[&[&PREFIX_OF_2[..], b"\x20\0\0\0"].concat()]).await, "");
    assert_eq!(refused(&server, "untrusted_proxy_header"), 4);
}

#[tokio::test]
async fn r9_5_what_a_client_writes_behind_the_header_is_not_the_proxys_word() {
    let server = Server::with(behind_loopback()).await;
    // A second header comes from the client itself.
    let twice = format!("{LINE}PROXY TCP4 198.51.100.7 203.0.113.5 1 443\r\n{HEALTH}");
    let answer = answer(&server, &[twice.as_bytes()]).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    // Forwarding headers of HTTP also come from the client, even if the proxy does not name the client.
    for introduction in [LINE, "PROXY UNKNOWN\r\n"] {
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        tcp.write_all(introduction.as_bytes()).await.unwrap();
        let mut request = format!("ws://{}/", server.address).into_client_request().unwrap();
        for (name, value) in [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-host", "evil.example")] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (mut ws, _) = tokio_tungstenite::client_async(request, tcp).await.unwrap();
        ws.send(Message::text(r#"{"eventName":"__join"}"#)).await.unwrap();
        let Message::Text(peers) = patient(ws.next()).await.unwrap().unwrap() else { panic!("no text") };
        assert!(peers.contains("_peers") && !peers.contains("evil.example"), "{peers}");
        for unverified in ["198.51.100.7", "127.0.0.1"] {
            assert!(!server.directory.is_connected_from(unverified.parse().unwrap()), "{introduction}: {unverified}");
        }
    }
}
