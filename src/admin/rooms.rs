//! `/api/rooms`: lists rooms and members, and removes them.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use http::{StatusCode, header};
use serde::Serialize;

use crate::signaling::{MemberSummary, Signaling, room_name};

pub(super) fn router(signaling: Arc<Signaling>) -> Router {
    Router::new()
        .route("/api/rooms", get(rooms))
        .route("/api/rooms/{room}", get(room).delete(close_room))
        .route("/api/rooms/{room}/peers/{id}", delete(kick))
        .with_state(signaling)
}

#[derive(Serialize)]
struct OneRoom<'a> {
    room: &'a str,
    peers: Vec<MemberSummary>,
}

async fn rooms(State(signaling): State<Arc<Signaling>>) -> Response {
    json_answer(&signaling.rooms())
}

async fn room(State(signaling): State<Arc<Signaling>>, Path(room): Path<String>) -> Response {
    match signaling.members(&room) {
        Some(peers) => json_answer(&OneRoom { room: &room_name::canonical(&room), peers }),
        None => no_such_room(),
    }
}

/// A member that enters while the others are removed stays.
async fn close_room(State(signaling): State<Arc<Signaling>>, Path(room): Path<String>) -> Response {
    let Some(members) = signaling.members(&room) else {
        return no_such_room();
    };
    for member in members {
        if let Ok(id) = member.socket_id.parse() {
            signaling.kick(&room, id);
        }
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn kick(State(signaling): State<Arc<Signaling>>, Path((room, id)): Path<(String, String)>) -> Response {
    if id.parse().is_ok_and(|id| signaling.kick(&room, id)) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        (StatusCode::NOT_FOUND, "There is no such member in this room.\n").into_response()
    }
}

fn no_such_room() -> Response {
    (StatusCode::NOT_FOUND, "There is no such room.\n").into_response()
}

/// The JSON is written in one pass, with the metadata of members as the text that came in. A tree of values could not
/// hold all of it, for example numbers beyond the range of a float.
fn json_answer(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer to an operator could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
