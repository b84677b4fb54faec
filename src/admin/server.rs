//! Answers operators: the routes, and the end of connections.

use std::{io, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use http::header;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tower_service::Service;

use super::{
    guard::require_operator,
    operators::{Operator, Operators},
    rooms,
};
use crate::{files::Limit, observe::metrics::Metrics, shutdown::Shutdown, signaling::Signaling};

/// How long the end of the process waits for requests in progress, which may never complete.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves operators until `shutdown`.
///
/// # Errors
/// There are none: whatever operators do only ends their own connections.
pub async fn serve(
    listener: TcpListener,
    files: Limit,
    metrics: Arc<Metrics>,
    signaling: Arc<Signaling>,
    shutdown: Shutdown,
) -> io::Result<()> {
    let operators = Operators::new(listener, files);
    let router = router(metrics, signaling);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            operator = operators.accept() => drop(connections.spawn(answer(operator, router.clone(), shutdown.clone()))),
            Some(_) = connections.join_next() => {}
            () = shutdown.begun() => break,
        }
    }
    drop(operators);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(FAREWELL_TIMEOUT, all_ended).await;
    Ok(())
}

/// Answers requests until the connection ends, or until the request in progress at shutdown is answered.
async fn answer(operator: Operator, router: Router, shutdown: Shutdown) {
    let service = service_fn(|request| router.clone().call(request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // A client that has closed its sending side may still read.
        .half_close(true)
        .serve_connection(TokioIo::new(operator), service);
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = shutdown.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "an operator's connection");
    }
}

fn router(metrics: Arc<Metrics>, signaling: Arc<Signaling>) -> Router {
    Router::new()
        .route("/metrics", get(metrics_text))
        .with_state(metrics)
        .merge(rooms::router(signaling))
        .layer(middleware::from_fn(require_operator))
}

async fn metrics_text(State(metrics): State<Arc<Metrics>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.encode()).into_response()
}
