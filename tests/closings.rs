//! How connections end: with the answer, the Close frame and the close_notify of TLS, and without a reset.
#![allow(clippy::unwrap_used)]

mod common;

use std::{io, time::Duration};

use common::{Options, Server, patient, wire::self_signed};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const UPGRADE: &str = "GET /?room=r HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A Binding request.
const BINDING: [u8; 20] = *b"\x00\x01\x00\x00\x21\x12\xA4\x42123456789012";

async fn server(options: Options) -> (Server, TlsConnector) {
    let (config, connector) = self_signed();
    (Server::with(Options { tls: Some(config), ..options }).await, connector)
}

async fn tls(server: &Server, connector: &TlsConnector) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(server.address).await.unwrap();
    patient(connector.connect(ServerName::try_from("localhost").unwrap(), tcp)).await.unwrap()
}

/// Returns everything that comes until the server has sent close_notify, and checks that the server then ends the
/// connection without a reset.
async fn ends_in_order(mut tls: TlsStream<TcpStream>) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    // Without close_notify this is an error of TLS.
    patient(tls.read_to_end(&mut answer)).await?;
    ends_without_reset(tls.into_inner().0).await?;
    Ok(answer)
}

async fn ends_without_reset(mut tcp: TcpStream) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    patient(tcp.read_to_end(&mut answer)).await?;
    tcp.shutdown().await?;
    tcp.take_error()?.map_or(Ok(answer), Err)
}

/// A masked frame.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0xA5, 0x03, 0xF6, 0x11];
    let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn close(code: u16) -> Vec<u8> {
    frame(8, &code.to_be_bytes())
}

async fn upgraded<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> S {
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(patient(stream.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// Some clients send their Close frame, end TLS, and only then read.
#[tokio::test]
async fn rfc8446_6_1_a_websocket_closed_by_the_client_ends_in_order_every_time() {
    let (server, connector) = server(Options::default()).await;
    for round in 0..150 {
        let mut ws = upgraded(tls(&server, &connector).await).await;
        match round % 3 {
            0 => ws.write_all(&close(1000)).await.unwrap(),
            1 => ws.write_all(&[frame(1, br#"{"eventName":"__join"}"#), close(1001)].concat()).await.unwrap(),
            _ => {
                // Data after the Close frame is ignored, but a reset would destroy the answer.
                ws.write_all(&close(1000)).await.unwrap();
                ws.write_all(&vec![0; 100_000]).await.unwrap();
            }
        }
        if round % 2 == 0 {
            ws.get_mut().1.send_close_notify();
        }
        ws.flush().await.unwrap();
        let answer = ends_in_order(ws).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        let code: u16 = if round % 3 == 1 { 1001 } else { 1000 };
        assert!(answer.ends_with(&[&[0x88, 2][..], &code.to_be_bytes()].concat()), "round {round}: {answer:?}");
    }
    server.metric_becomes("connections_closed_total{reason=\"client\"}", 150).await;
    server.all_gauges_become_zero().await;
}

#[tokio::test]
async fn rfc8446_6_1_a_websocket_whose_client_ends_tls_alone_ends_in_order() {
    let (server, connector) = server(Options::default()).await;
    let mut ws = upgraded(tls(&server, &connector).await).await;
    ws.shutdown().await.unwrap();
    ends_in_order(ws).await.unwrap();
    server.metric_becomes("connections_closed_total{reason=\"connection_lost\"}", 1).await;
}

/// A request, followed by much data that nobody reads.
fn with_more(request: &str) -> Vec<u8> {
    [request.as_bytes(), &vec![b'x'; 200_000]].concat()
}

fn assert_answer(answer: &[u8], status: &str, what: &str) {
    let answer = String::from_utf8_lossy(answer);
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{what:?}: {answer:?}");
    assert_eq!(answer.matches(&format!("HTTP/1.1 {status}")).count(), 1, "{what:?}: {answer:?}");
}

#[tokio::test]
async fn rfc8446_6_1_http_ends_in_order() {
    let mut options = Options::default();
    options.http.timeouts.handshake = Duration::from_secs(1);
    options.http.timeouts.first_byte = Duration::from_secs(1);
    let (secure, connector) = server(options.clone()).await;
    let plain = Server::with(options).await;
    for (request, status) in [
        (with_more("GET / HTTP/1.1\r\n\r\n"), "400"),
        (with_more("GET / HTTP/9\r\nHost: h\r\n\r\n"), "400"),
        (with_more("bad request\r\n\r\n"), "400"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n".to_vec(), "400"),
        (with_more(&UPGRADE.replace("Key:", "Kee:")), "400"),
        (with_more("GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), "404"),
        (with_more("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\nConnection: close\r\n\r\n"), "405"),
        (with_more(&UPGRADE.replace("13", "12")), "426"),
        (with_more("GET / HTTP/1.1\r\nHost: h\r\nX: "), "431"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: ".to_vec(), "408"),
        (b"G".to_vec(), "408"),
        (b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_vec(), "200"),
    ] {
        let what = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        let mut stream = tls(&secure, &connector).await;
        stream.write_all(&request).await.unwrap();
        stream.flush().await.unwrap();
        let answer = ends_in_order(stream).await.unwrap_or_else(|error| panic!("{what:?}: {error}"));
        assert_answer(&answer, status, &what);
        let mut stream = TcpStream::connect(plain.address).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let answer = ends_without_reset(stream).await.unwrap_or_else(|error| panic!("{what:?}: {error}"));
        assert_answer(&answer, status, &what);
    }
}

#[tokio::test]
async fn rfc8446_6_1_what_is_refused_by_its_first_byte_ends_in_order() {
    let mut options = Options::default();
    options.http.timeouts.first_byte = Duration::from_secs(1);
    let (server, connector) = server(options).await;
    for first in ["\u{7f}", "\u{4}", "\u{16}\u{3}\u{1}", "\r\n\u{7f}", "\r\n\u{0}\u{1}"] {
        let mut stream = tls(&server, &connector).await;
        stream.write_all(&with_more(first)).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(ends_in_order(stream).await.unwrap(), b"", "{first:?} within TLS");
        if first.starts_with('\u{16}') {
            continue;
        }
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        tcp.write_all(&with_more(first)).await.unwrap();
        assert_eq!(ends_without_reset(tcp).await.unwrap(), b"", "{first:?}");
    }
    // One client sends nothing, the other ends at once.
    let silent = tls(&server, &connector).await;
    let mut ended = tls(&server, &connector).await;
    ended.shutdown().await.unwrap();
    for stream in [ended, silent] {
        assert_eq!(ends_in_order(stream).await.unwrap(), b"");
    }
    server.metric_becomes("connections_refused_total{reason=\"handshake_timeout\"}", 1).await;
}

#[tokio::test]
async fn rfc8446_6_2_a_handshake_that_fails_ends_with_its_alert() {
    let (server, _) = server(Options::default()).await;
    for hello in [&b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"[..], b"\x16\x03\x01\x00\x04\x0b\x00\x00\x00"] {
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        tcp.write_all(&[hello, &[0; 100_000]].concat()).await.unwrap();
        let answer = ends_without_reset(tcp).await.unwrap();
        assert!(answer.starts_with(&[0x15, 3]), "{answer:?}");
    }
}

/// Ends one TURN client over TLS by `end`, and checks the closing.
async fn turn_ends(end: impl AsyncFnOnce(&Server, &mut TlsStream<TcpStream>)) {
    let (server, connector) = server(Options::default()).await;
    let mut turn = tls(&server, &connector).await;
    turn.write_all(&BINDING).await.unwrap();
    let mut answer = [0; 20];
    patient(turn.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer[..2], [1, 1]);
    end(&server, &mut turn).await;
    turn.flush().await.unwrap();
    ends_in_order(turn).await.unwrap();
}

#[tokio::test]
async fn rfc8446_6_1_turn_over_tls_ends_in_order_when_the_client_ends_it() {
    turn_ends(async |_, turn| turn.shutdown().await.unwrap()).await;
}

#[tokio::test]
async fn rfc8446_6_1_turn_over_tls_ends_in_order_when_it_is_not_turn() {
    turn_ends(async |_, turn| turn.write_all(&[0xFF; 100_000]).await.unwrap()).await;
}

#[tokio::test]
async fn rfc8446_6_1_turn_over_tls_ends_in_order_with_the_server() {
    turn_ends(async |server, _| server.begin_shutdown()).await;
}

#[tokio::test]
async fn rfc8446_6_1_one_turn_client_too_many_ends_in_order() {
    let mut options = Options::default();
    options.http.max_turn_streams = 0;
    let (server, connector) = server(options).await;
    let mut turn = tls(&server, &connector).await;
    turn.write_all(&BINDING).await.unwrap();
    assert_eq!(ends_in_order(turn).await.unwrap(), b"");
    assert_eq!(server.metric("connections_refused_total{reason=\"too_many_turn_streams\"}"), 1);
}

/// Registered codes and codes of applications are answered with the same code or with 1000; codes that must not be sent
/// are answered with 1002.
#[tokio::test]
async fn rfc6455_7_4_close_codes_are_answered_as_they_should() {
    let (server, connector) = server(Options::default()).await;
    for (codes, is_good) in [
        (vec![1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014], true),
        (vec![3000, 3003, 3008, 3999, 4000, 4321, 4999], true),
        (vec![0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535], false),
    ] {
        for code in codes {
            for read_ahead in [false, true] {
                let answer = if read_ahead {
                    // The Close frame comes with the request.
                    let mut ws = tls(&server, &connector).await;
                    ws.write_all(&[UPGRADE.as_bytes(), &close(code)].concat()).await.unwrap();
                    ends_in_order(ws).await.unwrap()
                } else {
                    let mut ws = upgraded(tls(&server, &connector).await).await;
                    ws.write_all(&close(code)).await.unwrap();
                    ends_in_order(ws).await.unwrap()
                };
                let at = answer.windows(2).rposition(|bytes| bytes[0] == 0x88 && bytes[1] >= 2).unwrap();
                let answered = u16::from_be_bytes([answer[at + 2], answer[at + 3]]);
                if is_good {
                    assert!(answered == code || answered == 1000, "{code} is answered by {answered}");
                } else {
                    assert_eq!(answered, 1002, "{code}");
                }
            }
        }
    }
}

/// A client that has sent everything, closes its sending side, and reads.
async fn ends_its_side(request: &[&[u8]], server: &Server, connector: Option<&TlsConnector>, says_so: bool) -> String {
    let mut answer = Vec::new();
    let Some(connector) = connector else {
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        for piece in request {
            tcp.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        tcp.shutdown().await.unwrap();
        patient(tcp.read_to_end(&mut answer)).await.unwrap();
        return String::from_utf8(answer).unwrap();
    };
    let mut stream = tls(server, connector).await;
    for piece in request {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    if says_so {
        stream.get_mut().1.send_close_notify();
        stream.flush().await.unwrap();
    }
    stream.get_mut().0.shutdown().await.unwrap();
    patient(stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn rfc9112_9_6_a_client_that_ends_its_side_gets_its_answer() {
    let (secure, connector) = server(Options::default()).await;
    let plain = Server::start().await;
    let get = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
    let missing = b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n";
    let post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde";
    for round in 0..40 {
        let cut = round % get.len();
        for (server, connector, says_so) in
            [(&plain, None, true), (&secure, Some(&connector), true), (&secure, Some(&connector), false)]
        {
            let what = format!("round {round}, TLS: {}, close_notify: {says_so}", connector.is_some());
            let answer = ends_its_side(&[&get[..cut], &get[cut..]], server, connector, says_so).await;
            assert_answer(answer.as_bytes(), "200", &what);
            let answer = ends_its_side(&[&[&get[..], missing].concat()], server, connector, says_so).await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("HTTP/1.1 404"), "{what}: {answer}");
            let answer = ends_its_side(&[post], server, connector, says_so).await;
            assert_answer(answer.as_bytes(), "405", &what);
            // Half a request is no request.
            let answer = ends_its_side(&[&get[..get.len() - 1 - cut]], server, connector, says_so).await;
            assert!(!answer.contains("200"), "{what}: {answer}");
        }
    }
    secure.all_gauges_become_zero().await;
}
