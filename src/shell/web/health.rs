//! For whoever starts and stops the controller: does it live, and has it looked at everything once?

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::WebState;

/// So many passes in a row that broke off are no accident.
const LASTING: u32 = 3;

#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
    /// What is missing for a better one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

/// The loop takes commands.
pub(super) async fn alive(State(state): State<WebState>) -> (StatusCode, Json<Health>) {
    if state.commands.is_closed() {
        let reasons = vec!["The reconcile loop has ended.".to_owned()];
        return (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: "dead", reasons }));
    }
    (StatusCode::OK, Json(Health { status: "alive", reasons: Vec::new() }))
}

/// Manifests are in force, and every server has been looked at once, whatever came of it; no pass breaks off again and again.
pub(super) async fn ready(State(state): State<WebState>) -> (StatusCode, Json<Health>) {
    let board = state.board.read();
    let mut reasons = Vec::new();
    if board.stopping {
        reasons.push("The controller is stopping.".to_owned());
    }
    if board.manifests.generation == 0 {
        reasons.push(match board.manifests.problems.len() {
            0 => "The manifests have not been read yet.".to_owned(),
            1 => "The manifests have a problem, and there were no good ones before.".to_owned(),
            count => format!("The manifests have {count} problems, and there were no good ones before."),
        });
    }
    let waiting = board.declared.servers.keys().filter(|server| !board.servers.contains_key(&server.path()));
    reasons.extend(waiting.take(10).map(|server| format!("{server} has not been looked at yet.")));
    let broken = board.servers.iter().filter(|(_, state)| state.broken >= LASTING);
    reasons.extend(broken.take(10).map(|(server, state)| {
        let why = state.report.asking().first().map_or("", |note| note.message.as_str());
        format!("The last {} passes over Server/{server} broke off: {why}", state.broken)
    }));
    let (code, status) = match reasons.is_empty() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "waiting"),
    };
    (code, Json(Health { status, reasons }))
}
