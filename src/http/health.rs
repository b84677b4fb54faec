//! Answers for supervisors and load balancers.

use axum::extract::State;
use http::StatusCode;

use crate::shutdown::Shutdown;

pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

pub(crate) async fn readyz(State(shutdown): State<Shutdown>) -> (StatusCode, &'static str) {
    if shutdown.has_begun() { (StatusCode::SERVICE_UNAVAILABLE, "draining\n") } else { (StatusCode::OK, "ready\n") }
}
