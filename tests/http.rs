//! The HTTP side of the `--listen` port: pages, handshakes, TLS on the same port, proxies, limits per address.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{Options, Server, member, patient, wire::self_signed};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{Error, Message};

const HANDSHAKE: &str = "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn health_and_unknown_paths() {
    let server = Server::start().await;
    assert!(get(&server, "/healthz", "").await.starts_with("HTTP/1.1 200"));
    assert!(get(&server, "/readyz", "").await.starts_with("HTTP/1.1 200"));
    for path in
        ["/nothing", "/r/a/b", "/assets/", "/assets/../index.html", "/../Cargo.toml", "/%2e%2e/Cargo.toml", "//"]
    {
        let answer = get(&server, path, "").await;
        assert!(answer.starts_with("HTTP/1.1 404") && header(&answer, "content-type") == "text/plain; charset=utf-8");
    }
    assert!(server.raw("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.starts_with("HTTP/1.1 405"));
    assert_eq!(server.metric("connections_opened_total"), 0);
}

#[cfg(not(feature = "pages"))]
#[tokio::test]
async fn without_pages_the_server_says_so() {
    let server = Server::start().await;
    for (path, status) in [("/", 200), ("/r/room", 404), ("/check", 404), ("/client.js", 404)] {
        let answer = get(&server, path, "").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains("without its pages"), "{answer}");
    }
    member(&server, "r").await;
}

#[cfg(feature = "pages")]
#[tokio::test]
async fn pages_may_load_from_this_server_alone() {
    let server = Server::start().await;
    for path in ["/", "/r/any%20room", "/r/r?x=y", "/r/r/", "/check", "/check/"] {
        let page = get(&server, path, "").await;
        assert!(page.starts_with("HTTP/1.1 200"), "{path}: {page}");
        assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
        assert_eq!(
            (header(&page, "x-content-type-options"), header(&page, "referrer-policy")),
            ("nosniff", "no-referrer")
        );
        assert!(page.to_ascii_lowercase().contains("<!doctype html"), "{page}");
        let policy = header(&page, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'; ") && policy.ends_with("connect-src 'self' ws://h wss://h"));
        for source in policy.split([' ', ';']) {
            let is_host = source.contains("//") && !source.ends_with("//h");
            assert!(!is_host && !["*", "http:", "https:", "ws:", "wss:"].contains(&source), "{policy}");
        }
    }
}

/// The path of the first script in a page.
#[cfg(feature = "pages")]
fn script_of(page: &str) -> &str {
    page.split('"').find(|part| part.contains("assets/") && part.ends_with(".js")).unwrap()
}

#[cfg(feature = "pages")]
#[tokio::test]
async fn pages_load_from_where_they_are_however_deep() {
    let server = Server::start().await;
    let mut scripts = Vec::new();
    for (path, up) in [
        ("/", "./"),
        ("/r/room", "../"),
        ("/r/%2F?relay=1", "../"),
        ("/r/room/", "../../"),
        ("/check", "./"),
        ("/check/", "../"),
    ] {
        let page = get(&server, path, "").await;
        let script = script_of(&page).strip_prefix(up).unwrap_or_else(|| panic!("{path}: {page}"));
        for attribute in ["src=\"", "href=\""] {
            for target in page.split(attribute).skip(1) {
                assert!(target.starts_with(up) || target.starts_with("data:"), "{path}: {target}");
            }
        }
        assert!(get(&server, &format!("/{script}"), "").await.starts_with("HTTP/1.1 200"), "{path}: {script}");
        scripts.push(script.to_owned());
    }
    assert!(scripts[..4].iter().all(|script| *script == scripts[0]), "one app: {scripts:?}");
    assert_eq!(scripts[4], scripts[5]);
}

#[cfg(feature = "pages")]
#[tokio::test]
async fn r9_5_pages_may_open_sockets_to_the_host_that_a_trusted_proxy_names() {
    let mut options = Options::default();
    options.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    for (options, expected) in
        [(options, "ws://a.example:8443 wss://a.example:8443"), (Options::default(), "ws://h wss://h")]
    {
        let server = Server::with(options).await;
        let page = get(&server, "/r/room", "X-Forwarded-Host: b.example, a.example:8443\r\n").await;
        assert!(header(&page, "content-security-policy").ends_with(expected), "{page}");
    }
}

#[cfg(feature = "pages")]
#[tokio::test]
async fn hashed_names_are_kept_for_ever_and_others_by_tag() {
    let server = Server::start().await;
    let page = get(&server, "/", "").await;
    let script = script_of(&page).strip_prefix('.').unwrap().to_owned();
    for (path, caching) in [("/", "no-cache"), (&script, "public, max-age=31536000, immutable")] {
        let mut tags = Vec::new();
        for (accept, encoding) in [("", ""), ("Accept-Encoding: br, gzip\r\n", "gzip")] {
            let answer = get(&server, path, accept).await;
            assert_eq!((header(&answer, "cache-control"), header(&answer, "vary")), (caching, "accept-encoding"));
            assert_eq!(header(&answer, "content-encoding"), encoding);
            let length: usize = header(&answer, "content-length").parse().unwrap();
            assert!(length > 0);

            let tag = header(&answer, "etag").to_owned();
            let again = get(&server, path, &format!("{accept}If-None-Match: \"other\", {tag}\r\n")).await;
            assert!(again.starts_with("HTTP/1.1 304") && again.ends_with("\r\n\r\n"), "{again}");
            assert_eq!((header(&again, "etag"), header(&again, "cache-control")), (tag.as_str(), caching));

            let head =
                server.raw(&format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n{accept}Connection: close\r\n\r\n")).await;
            assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
            assert_eq!(
                (header(&head, "content-length"), header(&head, "etag")),
                (length.to_string().as_str(), tag.as_str())
            );
            tags.push((tag, length));
        }
        assert!(tags[0].0 != tags[1].0 && tags[0].1 > tags[1].1, "{tags:?}");
    }
}

#[cfg(feature = "pages")]
#[tokio::test]
async fn pages_of_any_origin_may_import_the_client() {
    let server = Server::start().await;
    for (path, kind) in [
        ("/client.js", "text/javascript; charset=utf-8"),
        ("/BimccWebRTC.js", "text/javascript; charset=utf-8"),
        ("/client.d.ts", "text/plain; charset=utf-8"),
    ] {
        let client = get(&server, path, "Origin: https://elsewhere.example\r\n").await;
        assert!(client.starts_with("HTTP/1.1 200"), "{path}: {client}");
        assert_eq!((header(&client, "content-type"), header(&client, "cache-control")), (kind, "no-cache"));
        assert_eq!(header(&client, "access-control-allow-origin"), "*");
        assert_eq!(header(&client, "cross-origin-resource-policy"), "cross-origin");
    }
    assert_eq!(header(&get(&server, "/", "").await, "access-control-allow-origin"), "");
}

#[tokio::test]
async fn r9_2_a_wrong_handshake_is_told_what_is_wrong() {
    let server = Server::start().await;
    for (request, status, word) in [
        (format!("GET / HTTP/1.1\r\n{}\r\n", HANDSHAKE.replace("13", "8")), 426, "Version"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", HANDSHAKE.replace("Connection: Upgrade\r\n", "")), 400, "Connection"),
        (format!("POST / HTTP/1.1\r\n{HANDSHAKE}\r\n"), 405, "GET"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", HANDSHAKE.replace("dGhl", "")), 400, "Key"),
    ] {
        let answer = server.raw(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(word), "{answer}");
    }
    assert_eq!(server.metric("connections_refused_total{reason=\"bad_handshake\"}"), 4);
}

#[tokio::test]
async fn rfc9112_3_2_a_second_host_is_a_bad_request() {
    let server = Server::start().await;
    for request in [
        "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nhost: other\r\nConnection: close\r\n\r\n",
        &format!("GET / HTTP/1.1\r\nHost: other\r\n{HANDSHAKE}\r\n"),
    ] {
        let answer = server.raw(request).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("`Host`"), "{answer}");
    }
    assert_eq!(server.metric("connections_refused_total{reason=\"bad_handshake\"}"), 1);
}

#[tokio::test]
async fn rfc9112_3_2_a_request_without_host_is_a_bad_request() {
    let server = Server::start().await;
    let without = HANDSHAKE.replace("Host: h\r\n", "");
    for request in [
        "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        "GET http://h/ HTTP/1.1\r\nConnection: close\r\n\r\n",
        "POST /nothing HTTP/1.1\r\nConnection: close\r\n\r\n",
        &format!("GET / HTTP/1.1\r\n{without}\r\n"),
        &format!("GET ?room=r HTTP/1.1\r\n{without}\r\n"),
    ] {
        let answer = server.raw(request).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("`Host`"), "{request}: {answer}");
    }
    assert_eq!(server.metric("connections_refused_total{reason=\"bad_handshake\"}"), 2);
    assert!(server.raw("GET /healthz HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200"), "it knows no Host");
    assert!(get(&server, "/healthz", "").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn rfc6455_4_1_what_stands_once_in_a_handshake_stands_once() {
    let server = Server::start().await;
    for (more, word) in [
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "Key"),
        ("sec-websocket-key: AAECAwQFBgcICQoLDA0ODw==\r\n", "Key"),
        ("Sec-WebSocket-Key:\r\n", "Key"),
        ("Sec-WebSocket-Version: 13\r\n", "Version"),
        ("Sec-WebSocket-Version: 8\r\n", "Version"),
        ("Origin: https://a.example\r\nOrigin: https://b.example\r\n", "Origin"),
        ("Host: h\r\n", "Host"),
    ] {
        let answer = server.raw(&format!("GET / HTTP/1.1\r\n{HANDSHAKE}{more}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(word), "{more}: {answer}");
    }
    assert_eq!(server.metric("connections_opened_total"), 0);
}

/// Some clients send a line end after the body of a request, which then precedes the next request.
#[tokio::test]
async fn rfc9112_2_2_empty_lines_before_a_request_are_skipped() {
    let (config, connector) = self_signed();
    let plain = Server::start().await;
    let secure = Server::with(Options { tls: Some(config), ..Options::default() }).await;
    for lines in ["\r\n", "\n", "\r\n\r\n", "\r\n\r\n\r\n\n\n"] {
        for (request, status) in [
            ("GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_owned(), "200"),
            (format!("GET /?room=r HTTP/1.1\r\n{HANDSHAKE}\r\n"), "101"),
            (format!("GET ?room=r HTTP/1.1\r\n{HANDSHAKE}\r\n"), "101"),
        ] {
            for cut in [0, 1, lines.len()] {
                let tcp = TcpStream::connect(plain.address).await.unwrap();
                assert_eq!(
                    status_of(tcp, [&lines[..cut], &lines[cut..], &request]).await,
                    status,
                    "{lines:?} {request}"
                );
                let tcp = TcpStream::connect(secure.address).await.unwrap();
                let tls = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
                assert_eq!(
                    status_of(tls, [&lines[..cut], &lines[cut..], &request]).await,
                    status,
                    "{lines:?} {request}"
                );
            }
        }
    }
    let between =
        "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n\r\n\r\nGET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert_eq!(plain.raw(between).await.matches("HTTP/1.1 200").count(), 2);
}

/// The status of the answer to a request that comes in pieces.
async fn status_of<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, pieces: [&str; 3]) -> String {
    for piece in pieces {
        stream.write_all(piece.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        // This makes the pieces arrive separately in most cases; the result must be the same either way.
        tokio::task::yield_now().await;
    }
    let mut status = [0; 12];
    patient(stream.read_exact(&mut status)).await.unwrap();
    String::from_utf8_lossy(&status[9..]).into_owned()
}

#[tokio::test]
async fn r9_2_pages_of_other_origins_stay_out() {
    let mut options = Options::default();
    options.http.origins = vec!["https://app.example".into()];
    let server = Server::with(options).await;
    let connect = async |origin: &'static str| {
        let mut request = server.request("/");
        request.headers_mut().insert("origin", origin.parse().unwrap());
        server.connect_with(request).await
    };
    assert!(connect("https://app.example").await.is_ok());
    let Err(Error::Http(refused)) = connect("https://evil.example").await else { panic!("it was let in") };
    assert_eq!(refused.status(), 403);
    assert_eq!(server.metric("connections_refused_total{reason=\"origin\"}"), 1);
    server.connect().await;
}

#[tokio::test]
async fn r9_4_half_open_handshakes_disturb_nobody_and_end() {
    let mut options = Options::default();
    options.http.timeouts.handshake = Duration::from_secs(1);
    options.http.timeouts.first_byte = Duration::from_secs(1);
    let server = Server::with(options).await;
    let mut half_open = Vec::new();
    for i in 0..400 {
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        let part = [&b""[..], b"G", b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nX: ", b"GET ?"][i % 4];
        tcp.write_all(part).await.unwrap();
        half_open.push(tcp);
    }
    let (mut client, _) = member(&server, "r").await;
    client.expect_nothing().await;
    for mut tcp in half_open {
        let mut rest = Vec::new();
        let _ = patient(tcp.read_to_end(&mut rest)).await;
    }
    server.metric_becomes("connections_refused_total{reason=\"handshake_timeout\"}", 400).await;
    client.expect_nothing().await;
    assert_eq!(server.metric("connections"), 1);
}

#[tokio::test]
async fn what_is_neither_http_nor_tls_nor_stun_is_closed() {
    let mut options = Options::default();
    options.http.timeouts.handshake = Duration::from_secs(1);
    let server = Server::with(options).await;
    for bytes in [
        "\u{0}\u{1}HTTP, not STUN; long enough",
        "\u{4}",
        "\u{16}\u{3}\u{1}",
        "\r\n",
        "\r\n\u{0}\u{1}",
        "\n\u{16}\u{3}\u{1}",
        "\u{7f}",
    ] {
        assert_eq!(server.raw(bytes).await, "", "{bytes:?}");
    }
}

#[tokio::test]
async fn r9_3_with_tls_plain_http_is_redirected_and_plain_websocket_refused() {
    let (config, _) = self_signed();
    let server = Server::with(Options { tls: Some(config), ..Options::default() }).await;
    let port = server.address.port();
    for (host, path, location) in [
        (format!("a.example:{port}"), "/r/x?y=1", format!("https://a.example:{port}/r/x?y=1")),
        ("a.example".to_owned(), "/", "https://a.example:80/".to_owned()),
        ("a.example:443".to_owned(), "/", "https://a.example/".to_owned()),
        ("evil\"@x".to_owned(), "/", format!("https://127.0.0.1:{port}/")),
    ] {
        let answer = server.raw(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
        assert!(answer.contains(&format!("location: {location}\r\n")), "{location} is not in {answer}");
    }
    let Err(Error::Http(refused)) = server.connect_with(server.request("/")).await else { panic!("it was let in") };
    assert_eq!(refused.status(), 426);
    assert!(String::from_utf8_lossy(refused.body().as_ref().unwrap()).contains("wss://"));
    assert_eq!(server.metric("connections_refused_total{reason=\"tls_required\"}"), 1);
}

#[tokio::test]
async fn r9_3_over_tls_all_is_as_without() {
    let (config, connector) = self_signed();
    let server = Server::with(Options { tls: Some(config), ..Options::default() }).await;
    for target in ["/?room=r", "?room=r"] {
        let tls = async {
            let tcp = TcpStream::connect(server.address).await.unwrap();
            connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
        };
        let request = server.request(target);
        let (mut ws, _) = tokio_tungstenite::client_async(request, tls.await).await.unwrap();
        ws.send(Message::text(r#"{"eventName":"__join"}"#)).await.unwrap();
        let text = patient(ws.next()).await.unwrap().unwrap().into_text().unwrap();
        let peers: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&peers["eventName"], &peers["data"]["room"]), (&"_peers".into(), &"r".into()));
        patient(ws.close(None)).await.unwrap();
        patient(async { while let Some(Ok(_)) = ws.next().await {} }).await;
    }
    server.all_gauges_become_zero().await;
}

#[tokio::test]
async fn r9_5_a_trusted_proxy_speaks_for_its_clients() {
    let mut options = Options::default();
    options.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    options.http.max_connections_per_ip = 2;
    let (config, _) = self_signed();
    options.tls = Some(config);
    let server = Server::with(options).await;
    let connect = async |address: &'static str| {
        let mut request = server.request("/");
        for (name, value) in
            [("x-forwarded-for", address), ("x-forwarded-proto", "https"), ("x-forwarded-host", "rtc.example:443")]
        {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        server.connect_with(request).await
    };
    let mut clients = [connect("192.0.2.1").await.unwrap(), connect("192.0.2.1").await.unwrap()];
    let Err(Error::Http(refused)) = connect("192.0.2.1").await else { panic!("it was let in") };
    assert_eq!(refused.status(), 429);
    let _other = connect("192.0.2.2").await.unwrap();

    let peers = clients[0].join("r").await;
    assert_eq!(peers["iceServers"][0]["urls"][0], "stun:rtc.example:3478");
    assert!(server.directory.is_connected_from("192.0.2.1".parse().unwrap()));
    assert!(!server.directory.is_connected_from("127.0.0.1".parse().unwrap()));
    // A client that has joined makes room for another one.
    connect("192.0.2.1").await.unwrap();
}

/// A header of the PROXY protocol, version 2, for a client at `source` that connected to 203.0.113.5:443.
fn proxy_header(source: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C".to_vec();
    header.extend_from_slice(&source);
    header.extend_from_slice(&[203, 0, 113, 5, 4, 210, 1, 187]);
    header
}

#[tokio::test]
async fn r9_5_a_trusted_proxy_may_say_first_whose_connection_it_is() {
    let mut options = Options::default();
    options.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    options.http.max_connections_per_ip = 1;
    let server = Server::with(options).await;
    let connect = async |source: [u8; 4]| {
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        tcp.write_all(&proxy_header(source)).await.unwrap();
        tokio_tungstenite::client_async(server.request("/"), tcp).await
    };
    let (mut ws, _) = connect([192, 0, 2, 1]).await.unwrap();
    let Err(Error::Http(refused)) = connect([192, 0, 2, 1]).await else { panic!("it was let in") };
    assert_eq!(refused.status(), 429, "it counts for the client's address");
    ws.send(Message::text(r#"{"eventName":"__join"}"#)).await.unwrap();
    patient(ws.next()).await.unwrap().unwrap();
    assert!(server.directory.is_connected_from("192.0.2.1".parse().unwrap()));
    assert!(!server.directory.is_connected_from("127.0.0.1".parse().unwrap()));
    let _second = connect([192, 0, 2, 1]).await.expect("who joined makes place for another");
}

#[tokio::test]
async fn r9_5_nobody_else_may_say_so() {
    let server = Server::start().await;
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    tcp.write_all(&proxy_header([192, 0, 2, 1])).await.unwrap();
    tcp.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // The connection is closed, possibly with a reset because of unread data.
    let _ = patient(tcp.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"");
}

#[tokio::test]
async fn r9_5_a_broken_introduction_ends_the_connection() {
    let mut options = Options::default();
    options.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let server = Server::with(options).await;
    let good = proxy_header([192, 0, 2, 1]);
    let mut wrong_signature = good.clone();
    wrong_signature[3] = b'x';
    let mut too_long = good.clone();
    too_long[14] = 0xFF;
    let mut of_unix_sockets = good.clone();
    (of_unix_sockets[13], of_unix_sockets[15]) = (0x31, 216);
    of_unix_sockets.resize(16 + 216, 0);
    for header in [wrong_signature, too_long, of_unix_sockets] {
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        tcp.write_all(&header).await.unwrap();
        let mut answer = Vec::new();
        let _ = patient(tcp.read_to_end(&mut answer)).await;
        assert_eq!(answer, b"");
    }
}

#[tokio::test]
async fn r9_5_marks_of_an_unknown_proxy_leave_the_address_unverified() {
    let server = Server::start().await;
    let mut request = server.request("/");
    request.headers_mut().insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
    request.headers_mut().insert("x-forwarded-host", "evil.example".parse().unwrap());
    let mut client = server.connect_with(request).await.unwrap();
    let peers = client.join("r").await;
    assert_eq!(peers["iceServers"][0]["urls"][0], "stun:127.0.0.1:3478");
    assert_eq!(server.directory.len(), 1);
    for address in ["192.0.2.1", "127.0.0.1"] {
        assert!(!server.directory.is_connected_from(address.parse().unwrap()), "{address}");
    }
    let _direct = member(&server, "r").await;
    assert!(server.directory.is_connected_from("127.0.0.1".parse().unwrap()));
}

#[tokio::test]
async fn a_host_that_is_none_does_not_get_into_ice_servers() {
    let server = Server::start().await;
    for (host, written) in [("a.example:99", "a.example"), ("x\"y", "127.0.0.1"), ("[::1]:5", "[::1]")] {
        let mut request = server.request("/");
        request.headers_mut().insert("host", host.parse().unwrap());
        let mut client = server.connect_with(request).await.unwrap();
        let peers = client.join("r").await;
        assert_eq!(peers["iceServers"][0]["urls"][0], format!("stun:{written}:3478"));
    }
}

async fn get(server: &Server, path: &str, headers: &str) -> String {
    server.raw(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n{headers}Connection: close\r\n\r\n")).await
}

/// The value of a header in the text of an answer, or an empty text.
fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let head = answer.split("\r\n\r\n").next().unwrap();
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).next().unwrap_or_default()
}
