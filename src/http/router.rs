//! Which path is answered by what.

use axum::{Router, routing::get};

use super::{assets, health};

/// Everything but the upgrade. `is_draining` is asked by `/readyz`.
pub(crate) fn router(is_draining: health::IsDraining) -> Router {
    Router::new()
        .route("/", get(assets::app))
        .route("/r/{room}", get(assets::app))
        .route("/r/{room}/", get(assets::app))
        .route("/check", get(assets::check))
        .route("/check/", get(assets::check))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz).with_state(is_draining))
        .fallback(get(assets::file))
}
