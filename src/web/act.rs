//! What may be asked of the loop.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::answer::Asked;
use super::{Problem, WebState};
use crate::api::{Kind, ObjectKey};
use crate::controller::run::Command;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Where {
    /// `[namespace/]name`; absent: all of them.
    server: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Accepted {
    accepted: bool,
}

/// A pass over one server or over all, as soon as the ones that run have ended.
pub(super) async fn reconcile(
    State(state): State<WebState>,
    Asked(at): Asked<Where>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let server = match at.server {
        Some(name) => Some(declared(&state, &name)?),
        None => None,
    };
    send(&state, Command::Reconcile { server })
}

/// The deletions and disconnections that wait for an approval.
pub(super) async fn pending(State(state): State<WebState>) -> Json<serde_json::Value> {
    let board = state.board.read();
    let items: Vec<_> = board
        .pending()
        .map(|(server, withheld)| {
            serde_json::json!({
                "server": server,
                "fingerprint": withheld.fingerprint,
                "deletions": withheld.deletions,
                "disconnections": withheld.disconnections,
            })
        })
        .collect();
    Json(serde_json::json!({ "kind": "List", "items": items }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approval {
    fingerprint: String,
}

/// Agrees to exactly the deletions that the fingerprint stands for.
pub(super) async fn approve(
    State(state): State<WebState>,
    body: Result<Json<Approval>, JsonRejection>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let Json(Approval { fingerprint }) = body.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(error.status(), "TooLarge", "The body is longer than 64 KiB."),
        _ => Problem::bad_request(error.body_text()),
    })?;
    let waits = state.board.read().pending().any(|(_, withheld)| withheld.fingerprint == fingerprint);
    if !waits {
        let message = format!("Nothing that waits for an approval has the fingerprint {fingerprint:?}.");
        return Err(Problem::new(StatusCode::NOT_FOUND, "NotFound", message));
    }
    send(&state, Command::Approve { fingerprint })
}

fn declared(state: &WebState, name: &str) -> Result<ObjectKey, Problem> {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    let key = ObjectKey::new(Kind::Server, namespace, name);
    if state.board.read().declared.servers.contains_key(&key) {
        return Ok(key);
    }
    Err(Problem::new(StatusCode::NOT_FOUND, "NotFound", format!("No server {:?} is declared.", key.path())))
}

/// Never waits: a loop that does not take commands is a loop that more commands do not help.
fn send(state: &WebState, command: Command) -> Result<(StatusCode, Json<Accepted>), Problem> {
    state.commands.try_send(command).map_err(|_| {
        let message = "The loop has not taken the commands before this one yet; try again in a moment.";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Busy", message)
    })?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { accepted: true })))
}
