//! Refused requests, with texts for people who set up clients and proxies, and the one rule for all requests.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) why: &'static str,
}

impl Refused {
    pub(crate) const fn new(status: StatusCode, why: &'static str) -> Self {
        Self { status, why }
    }

    pub(crate) fn response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(format!("{}\n", self.why)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if self.status == StatusCode::UPGRADE_REQUIRED {
            // RFC 9110 section 15.5.22 requires this, and RFC 6455 section 4.4 for the version.
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade, close"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

/// RFC 9112 section 3.2: a request has one host. If it had two, a proxy in between might have judged by the other one.
pub(crate) fn check_host(version: Version, headers: &HeaderMap) -> Result<(), Refused> {
    let why = match headers.get_all(header::HOST).iter().count() {
        0 if version >= Version::HTTP_11 => "A request of HTTP/1.1 has a `Host`.",
        0 | 1 => return Ok(()),
        _ => "A request has one `Host`, not several.",
    };
    Err(Refused::new(StatusCode::BAD_REQUEST, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9112_3_2_a_host_is_needed_since_http_1_1() {
        let host = |version, hosts: &[&'static str]| {
            let hosts = hosts.iter().map(|host| (header::HOST, HeaderValue::from_static(host)));
            check_host(version, &hosts.collect()).is_ok()
        };
        for (version, without) in [(Version::HTTP_10, true), (Version::HTTP_11, false)] {
            assert_eq!(host(version, &[]), without);
            assert!(host(version, &["h"]) && host(version, &[""]));
            assert!(!host(version, &["h", "h"]) && !host(version, &["", "h"]));
        }
    }
}
