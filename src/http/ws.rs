//! The opening handshake of RFC 6455 section 4.2, on any path.
//!
//! A request for a WebSocket is either accepted, or refused with a text that says what is wrong. The owner of the
//! connection passes an accepted one on to signaling, once the 101 is sent.

use axum::body::Body;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::refused::Refused;
use crate::signaling::room_name::{self, MAX_ROOM_BYTES};

/// Headers that a handshake has only once (RFC 6455 sections 11.3.1 and 11.3.5, RFC 6454 section 7.3). If there were
/// two, a proxy in between might have judged by the other one. `Upgrade` and `Connection` are lists, which may be split
/// over lines.
const SINGLE: [(HeaderName, &str); 3] = [
    (header::SEC_WEBSOCKET_KEY, "A handshake has one `Sec-WebSocket-Key`, not several."),
    (header::SEC_WEBSOCKET_VERSION, "A handshake has one `Sec-WebSocket-Version`, not several."),
    (header::ORIGIN, "A request has one `Origin`, not several."),
];

/// Whether the request is meant as a WebSocket handshake, valid or not.
pub(crate) fn is_attempt(headers: &HeaderMap) -> bool {
    has_token(headers, &header::UPGRADE, "websocket") || headers.contains_key(header::SEC_WEBSOCKET_KEY)
}

/// Checks the handshake and makes the 101.
pub(crate) fn accept<B>(request: &Request<B>) -> Result<Response<Body>, Refused> {
    const BAD: StatusCode = StatusCode::BAD_REQUEST;
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "A WebSocket is opened by GET."));
    }
    if request.version() < Version::HTTP_11 {
        return Err(Refused::new(BAD, "A WebSocket needs HTTP/1.1."));
    }
    for (name, why) in SINGLE {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(Refused::new(BAD, why));
        }
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(Refused::new(
            BAD,
            "`Connection: Upgrade` is missing. A proxy in between may have removed it: see its settings for WebSocket.",
        ));
    }
    if !has_token(headers, &header::UPGRADE, "websocket") {
        return Err(Refused::new(BAD, "`Upgrade: websocket` is missing."));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refused::new(StatusCode::UPGRADE_REQUIRED, "`Sec-WebSocket-Version` must be 13."));
    }
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
        return Err(Refused::new(BAD, "`Sec-WebSocket-Key` is missing."));
    };
    // RFC 6455 section 4.2.1 item 5: 16 bytes in base64.
    if BASE64_STANDARD.decode(key.as_bytes()).map_or(0, |nonce| nonce.len()) != 16 {
        return Err(Refused::new(BAD, "`Sec-WebSocket-Key` is not 16 bytes in base64."));
    }
    // This server would read it as frames, and a proxy in between as a body.
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get_all(header::CONTENT_LENGTH).iter().any(|length| length != "0");
    if has_body {
        return Err(Refused::new(BAD, "A WebSocket handshake has no body."));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept_key = derive_accept_key(key.as_bytes());
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(value) = accept_key.parse() {
        answer.insert(header::SEC_WEBSOCKET_ACCEPT, value);
    }
    Ok(response)
}

/// Whether a page of this Origin may open a WebSocket.
pub(crate) fn is_origin_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    allowed.is_empty() || allowed.iter().any(|known| origin.as_bytes().eq_ignore_ascii_case(known.as_bytes()))
}

/// `?room=` of the URL, decoded. It is cut if it is too long for a room's name, but stays too long, so that it is still
/// refused.
pub fn room_in_query(query: Option<&str>) -> Option<Box<str>> {
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(name, _)| *name == "room")?;
    let mut room = room_name::canonical(&percent_decoded(value)).into_owned();
    if room.len() > MAX_ROOM_BYTES {
        room.truncate(room.ceil_char_boundary(MAX_ROOM_BYTES + 1));
    }
    (!room.is_empty()).then(|| room.into())
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let escaped = match tail {
            [high, low, ..] if *first == b'%' => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        bytes.push(match (escaped, *first) {
            (Some((high, low)), _) => {
                rest = &tail[2..];
                high << 4 | low
            }
            (None, b'+') => b' ',
            (None, byte) => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|entry| entry.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut Request<()>)) -> Request<()> {
        let mut request = Request::new(());
        for (name, value) in [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        change(&mut request);
        request
    }

    #[test]
    fn rfc6455_1_3_sample_handshake() {
        let response = accept(&request(|_| ())).unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn rfc6455_4_2_1_what_is_missing_is_named() {
        type Change = fn(&mut Request<()>);
        let cases: [(Change, u16, &str); 14] = [
            (|r| again(r, "sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), 400, "one `Sec-WebSocket-Key"),
            (|r| again(r, "sec-websocket-key", "AAECAwQFBgcICQoLDA0ODw=="), 400, "one `Sec-WebSocket-Key"),
            (|r| again(r, "sec-websocket-version", "13"), 400, "one `Sec-WebSocket-Version"),
            (
                |r| ["https://a.example", "null"].into_iter().for_each(|origin| again(r, "origin", origin)),
                400,
                "one `Origin",
            ),
            (|r| *r.method_mut() = Method::POST, 405, "GET"),
            (|r| *r.version_mut() = Version::HTTP_10, 400, "HTTP/1.1"),
            (|r| drop(r.headers_mut().remove("connection")), 400, "Connection"),
            (|r| drop(r.headers_mut().remove("upgrade")), 400, "`Upgrade"),
            (|r| drop(r.headers_mut().remove("sec-websocket-version")), 426, "Version"),
            (|r| drop(r.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("8"))), 426, "Version"),
            (|r| drop(r.headers_mut().remove("sec-websocket-key")), 400, "Key"),
            (|r| drop(r.headers_mut().insert("sec-websocket-key", HeaderValue::from_static("c2hvcnQ="))), 400, "Key"),
            (|r| drop(r.headers_mut().insert("content-length", HeaderValue::from_static("5"))), 400, "body"),
            (|r| drop(r.headers_mut().insert("transfer-encoding", HeaderValue::from_static("chunked"))), 400, "body"),
        ];
        for (change, status, word) in cases {
            let refused = accept(&request(change)).unwrap_err();
            assert_eq!(refused.status.as_u16(), status, "{}", refused.why);
            assert!(refused.why.contains(word), "{}", refused.why);
            let response = refused.response();
            let names_protocol = response.headers().get("upgrade").is_some_and(|upgrade| upgrade == "websocket");
            assert_eq!(names_protocol, status == 426, "RFC 9110 section 15.5.22");
        }
    }

    fn again(request: &mut Request<()>, name: &'static str, value: &'static str) {
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }

    #[test]
    fn rfc9110_7_8_upgrade_is_a_list_and_may_be_split() {
        for (name, value) in [("upgrade", "websocket"), ("upgrade", "h2c"), ("connection", "keep-alive")] {
            assert!(accept(&request(|r| again(r, name, value))).is_ok(), "{name}: {value}");
        }
    }

    #[test]
    fn origins_are_checked_where_listed() {
        let with = |origin: &'static str| {
            request(|r| drop(r.headers_mut().insert("origin", HeaderValue::from_static(origin))))
        };
        let allowed = ["https://a.example".to_owned()];
        assert!(is_origin_allowed(with("https://a.example").headers(), &allowed));
        assert!(!is_origin_allowed(with("https://a.example.evil").headers(), &allowed));
        assert!(!is_origin_allowed(with("http://a.example").headers(), &allowed));
        assert!(!is_origin_allowed(with("null").headers(), &allowed));
        assert!(is_origin_allowed(with("null").headers(), &[]));
        assert!(is_origin_allowed(request(|_| ()).headers(), &allowed));
    }

    #[test]
    fn rooms_are_decoded() {
        let room = |query| room_in_query(Some(query)).map(String::from);
        assert_eq!(room("room=room1").as_deref(), Some("room1"));
        assert_eq!(room("a=b&room=%E6%88%BF%20x+y%2B").as_deref(), Some("房 x y+"));
        assert_eq!(room("room=%zz%4").as_deref(), Some("%zz%4"));
        assert_eq!(room("room=%ff").as_deref(), Some("\u{fffd}"));
        assert_eq!(room("room="), None);
        assert_eq!(room("rooms=x"), None);
        let decomposed = format!("room={}", "e%CC%81".repeat(64));
        assert_eq!(room(&decomposed), Some("é".repeat(64)), "not cut before it is composed");
        let long = format!("room={}", "é".repeat(5000));
        assert_eq!(room(&long).unwrap().len(), 130, "still too long for a room");
    }
}
