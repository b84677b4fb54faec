//! Pages and scripts, embedded in the binary, so that they work on a LAN without Internet.
//!
//! | request | answer |
//! |---|---|
//! | `/`, `/r/{room}`, with or without a slash at the end | the app |
//! | `/check`, with or without a slash at the end | the connection test |
//! | `/client.js`, `/client.d.ts`, `/BimccWebRTC.js` | the browser client, for pages of any origin |
//! | any other path | the file that the build of `web/` put there, else 404 |
//!
//! The files are stored compressed by gzip, the one encoding that every browser accepts also over plain http; a client
//! that does not accept it gets them unpacked. Browsers may keep files whose names change with their content for ever;
//! they ask again for the others, with the ETag.

mod table;

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use self::table::Page;
use super::client_info;
use crate::values::host::Host;

/// What pages may load: only what this server serves. Excalidraw needs WebAssembly (for font subsets), styles set by
/// scripts, and images and workers made in the page. WebSockets to this host are added separately (see
/// [`content_security_policy`]).
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; \
    media-src 'self' blob: mediastream:; worker-src 'self' data: blob:; manifest-src 'self'; base-uri 'none'; \
    form-action 'self'; frame-ancestors 'self'; connect-src 'self'";

/// The browser client, which pages of other origins import.
const FOR_ALL_ORIGINS: [&str; 3] = ["/client.js", "/client.d.ts", "/BimccWebRTC.js"];

const NO_PAGES: &str = "This server was built without its pages (feature `pages`). Signaling, STUN and TURN work.\n";

const NOT_FOUND: &str = "There is nothing here. The rooms are at /, the connection test is at /check.\n";

/// `GET /`, `GET /r/{room}` and `GET /r/{room}/`
pub(crate) async fn app(request: Request) -> Response {
    let path = request.uri().path();
    if table::is_empty() {
        let status = if path == "/" { StatusCode::OK } else { StatusCode::NOT_FOUND };
        return text(status, NO_PAGES);
    }
    // Pages load their files by relative paths, so there is one page for each depth.
    let page = match (path, path.ends_with('/')) {
        ("/", _) => "/index.html",
        (_, false) => "/index.1.html",
        (_, true) => "/index.2.html",
    };
    serve(page, request.headers())
}

/// `GET /check` and `GET /check/`
pub(crate) async fn check(request: Request) -> Response {
    let page = if request.uri().path().ends_with('/') { "/check.1.html" } else { "/check.html" };
    serve(page, request.headers())
}

/// `GET` of every path without a route
pub(crate) async fn file(request: Request) -> Response {
    serve(request.uri().path(), request.headers())
}

fn serve(path: &str, headers: &HeaderMap) -> Response {
    match table::find(path) {
        Some(page) => response(page, path, headers),
        None if table::is_empty() => text(StatusCode::NOT_FOUND, NO_PAGES),
        None => text(StatusCode::NOT_FOUND, NOT_FOUND),
    }
}

fn response(page: &'static Page, path: &str, request: &HeaderMap) -> Response {
    let is_gzip = page.is_gzip && accepts_gzip(request);
    // Each encoding of the content has its own tag, because a strong tag stands for exact bytes.
    let tag = if is_gzip { format!("\"{}-gzip\"", page.tag) } else { format!("\"{}\"", page.tag) };
    let mut response = if has_tag(request, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let bytes = if is_gzip { Bytes::from_static(page.bytes) } else { page.plain() };
        let mut response = Response::new(Body::from(bytes));
        insert(&mut response, header::CONTENT_TYPE, page.content_type);
        if is_gzip {
            insert(&mut response, header::CONTENT_ENCODING, "gzip");
        }
        response
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    let caching = if page.is_hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
    insert(&mut response, header::CACHE_CONTROL, caching);
    if page.is_gzip {
        insert(&mut response, header::VARY, "accept-encoding");
    }
    insert(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    insert(&mut response, header::REFERRER_POLICY, "no-referrer");
    if page.content_type.starts_with("text/html") {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, content_security_policy(request));
    }
    if FOR_ALL_ORIGINS.contains(&path) {
        insert(&mut response, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        response.headers_mut().insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    }
    response
}

/// The policy, with WebSockets to the host that the browser asked, because not every browser includes them in `'self'`.
/// Forwarded headers from strangers are removed before.
fn content_security_policy(request: &HeaderMap) -> HeaderValue {
    let forwarded = request.get_all(client_info::X_FORWARDED_HOST).iter().next_back();
    let host = forwarded.or_else(|| request.get(header::HOST)).and_then(|host| host.to_str().ok());
    let sockets =
        host.and_then(|host| host.rsplit(',').next()).map(str::trim).and_then(Host::parse_authority).and_then(
            |(host, port)| {
                let port = port.map_or_else(String::new, |port| format!(":{port}"));
                HeaderValue::try_from(format!("{CONTENT_SECURITY_POLICY} ws://{host}{port} wss://{host}{port}")).ok()
            },
        );
    sockets.unwrap_or(HeaderValue::from_static(CONTENT_SECURITY_POLICY))
}

/// Whether the client understands gzip, by RFC 9110 section 12.5.3. A client that does not say so gets the content
/// unpacked.
fn accepts_gzip(request: &HeaderMap) -> bool {
    let mut by_star = false;
    for line in request.get_all(header::ACCEPT_ENCODING) {
        for entry in line.to_str().unwrap_or_default().split(',') {
            let (coding, weight) = entry.split_once(';').unwrap_or((entry, ""));
            let weight = weight.trim().trim_start_matches(['q', 'Q']).trim().trim_start_matches('=').trim();
            let is_wanted = weight.is_empty() || weight.parse::<f32>().is_ok_and(|weight| weight > 0.0);
            match coding.trim() {
                coding if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") => {
                    return is_wanted;
                }
                "*" => by_star = is_wanted,
                _ => {}
            }
        }
    }
    by_star
}

/// Whether the client already has the content of `tag` (RFC 9110 section 13.1.2; weak comparison).
fn has_tag(request: &HeaderMap, tag: &str) -> bool {
    let lines = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|entry| entry == "*" || entry.strip_prefix("W/").unwrap_or(entry) == tag)
}

fn text(status: StatusCode, text: &'static str) -> Response {
    let mut response = (status, text).into_response();
    insert(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    insert(&mut response, header::CACHE_CONTROL, "no-cache");
    response
}

fn insert(response: &mut Response, name: http::HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (http::HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn rfc9110_12_5_3_gzip_is_for_those_who_accept_it() {
        for values in
            [&["gzip"][..], &["br, gzip, deflate"], &["GZIP;q=0.5"], &["br", "x-gzip"], &["*"], &["*;q=0, gzip"]]
        {
            assert!(accepts_gzip(&headers("accept-encoding", values)), "{values:?}");
        }
        for values in
            [&[][..], &[""], &["br"], &["gzip;q=0"], &["gzip;q=0.000, *"], &["*;q=0"], &["gzip;q=x"], &["gzipped"]]
        {
            assert!(!accepts_gzip(&headers("accept-encoding", values)), "{values:?}");
        }
    }

    #[test]
    fn rfc9110_13_1_2_a_tag_is_found_in_a_list() {
        for values in [&["\"a\""][..], &["W/\"a\""], &["\"b\", \"a\""], &["\"b\"", "\"a\""], &["*"]] {
            assert!(has_tag(&headers("if-none-match", values), "\"a\""), "{values:?}");
        }
        for values in [&[][..], &[""], &["a"], &["\"b\""], &["\"a"]] {
            assert!(!has_tag(&headers("if-none-match", values), "\"a\""), "{values:?}");
        }
    }

    #[test]
    fn only_a_valid_host_gets_into_the_policy() {
        let policy = |host: &'static str| {
            content_security_policy(&headers("host", &[host]))
                .to_str()
                .unwrap()
                .rsplit_once("connect-src ")
                .unwrap()
                .1
                .to_owned()
        };
        assert_eq!(policy("a.example:3000"), "'self' ws://a.example:3000 wss://a.example:3000");
        assert_eq!(policy("[::1]"), "'self' ws://[::1] wss://[::1]");
        assert_eq!(policy("evil.example; script-src *"), "'self'");
        assert_eq!(policy("*"), "'self'");
    }
}
