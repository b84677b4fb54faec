//! Answers for supervisors and load balancers.

use axum::extract::State;
use http::StatusCode;
use tokio::sync::watch;

/// True once the server is about to go.
pub(crate) type IsDraining = watch::Receiver<bool>;

pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

pub(crate) async fn readyz(State(is_draining): State<IsDraining>) -> (StatusCode, &'static str) {
    if *is_draining.borrow() { (StatusCode::SERVICE_UNAVAILABLE, "draining\n") } else { (StatusCode::OK, "ready\n") }
}
