//! Refuses requests that pages of other origins make through a browser.

use std::net::IpAddr;

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, header};

use crate::http::refused::check_host;

/// Passes on a request that may come from an operator, and refuses any other.
pub(super) async fn require_operator(request: Request, next: Next) -> Response {
    if let Err(refused) = check_host(request.version(), request.headers()) {
        return refused.response();
    }
    let refusal = match header_text(request.headers(), header::HOST.as_str()) {
        Some(host) if is_plain(host) => {
            if is_of_other_page(request.method(), request.headers(), host) {
                "Pages of other origins may not ask here.\n"
            } else {
                return next.run(request).await;
            }
        }
        _ => "Ask with an IP address or localhost as host.\n",
    };
    (StatusCode::FORBIDDEN, refusal).into_response()
}

/// Whether a browser made the request for a page that this listener did not serve. Following a link is allowed.
fn is_of_other_page(method: &Method, headers: &HeaderMap, host: &str) -> bool {
    let is_ours = |origin: &str| origin.strip_prefix("http://").is_some_and(|origin| origin.eq_ignore_ascii_case(host));
    let has_other_origin =
        headers.contains_key(header::ORIGIN) && !header_text(headers, header::ORIGIN.as_str()).is_some_and(is_ours);
    let site = header_text(headers, "sec-fetch-site");
    has_other_origin || (!method.is_safe() && site.is_some_and(|site| !["same-origin", "none"].contains(&site)))
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn is_plain(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn names_of_other_sites_are_not_plain() {
        for host in ["127.0.0.1:9641", "127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:9641", "[::1]"] {
            assert!(is_plain(host), "{host}");
        }
        for host in ["evil.example", "evil.example:9641", "127.0.0.1.evil.example", "", "localhost.evil.example"] {
            assert!(!is_plain(host), "{host}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_told_from_programs_and_links() {
        let is_other = |method: Method, fields: &[(&'static str, &str)]| {
            let fields = fields.iter().map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
            });
            is_of_other_page(&method, &fields.collect(), "127.0.0.1:9641")
        };
        assert!(!is_other(Method::DELETE, &[]));
        assert!(!is_other(Method::DELETE, &[("origin", "http://127.0.0.1:9641"), ("sec-fetch-site", "same-origin")]));
        assert!(!is_other(Method::GET, &[("sec-fetch-site", "cross-site")]), "a link");
        for origin in ["https://evil.example", "null", "http://127.0.0.1:3000", "http://127.0.0.1", "", "\u{e4}"] {
            assert!(is_other(Method::GET, &[("origin", origin)]), "{origin}");
            assert!(is_other(Method::DELETE, &[("origin", origin)]), "{origin}");
        }
        assert!(is_other(Method::POST, &[("sec-fetch-site", "cross-site")]));
        assert!(is_other(Method::DELETE, &[("sec-fetch-site", "same-site")]), "another port of this host");
    }
}
