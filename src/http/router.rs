//! Which path is answered by what.

use axum::{Router, routing::get};

use super::{assets, health};
use crate::shutdown::Shutdown;

/// Everything but the upgrade. `shutdown` is asked by `/readyz`.
pub(super) fn router(shutdown: Shutdown) -> Router {
    Router::new()
        .route("/", get(assets::app))
        .route("/r/{room}", get(assets::app))
        .route("/r/{room}/", get(assets::app))
        .route("/check", get(assets::check))
        .route("/check/", get(assets::check))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz).with_state(shutdown))
        .fallback(get(assets::file))
}
