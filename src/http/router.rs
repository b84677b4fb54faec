//! The routes of all paths.

use axum::{Router, routing::get};

use super::{assets, health};
use crate::shutdown::Shutdown;

/// All routes except the upgrade. `/readyz` depends on `shutdown`.
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
