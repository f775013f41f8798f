//! What may be asked of the loop.

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::answer::Asked;
use super::guard::Actor;
use super::{Problem, WebState};
use crate::core::api::{Kind, ObjectKey};
use crate::shell::controller::run::Command;

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
    Extension(actor): Extension<Actor>,
    Asked(at): Asked<Where>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let server = match at.server {
        Some(name) => Some(declared(&state, &name)?),
        None => None,
    };
    send(&state, actor, Command::Reconcile { server })
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
                "removals": withheld.removals,
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
    Extension(actor): Extension<Actor>,
    body: Result<Json<Approval>, JsonRejection>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let Approval { fingerprint } = read(body)?;
    let waits = state.board.read().pending().any(|(_, withheld)| withheld.fingerprint == fingerprint);
    if !waits {
        let message = format!("Nothing that waits for an approval has the fingerprint {fingerprint:?}.");
        return Err(Problem::new(StatusCode::NOT_FOUND, "NotFound", message));
    }
    send(&state, actor, Command::Approve { fingerprint })
}

fn read<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    body.map(|Json(body)| body).map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(error.status(), "TooLarge", "The body is longer than 64 KiB."),
        _ => Problem::bad_request(error.body_text()),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct What {
    /// `Kind/namespace/name`
    object: String,
}

/// New containers for a resource that Landfall runs, one after another.
pub(super) async fn restart(
    State(state): State<WebState>,
    Extension(actor): Extension<Actor>,
    body: Result<Json<What>, JsonRejection>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let resource = object(&read(body)?.object)?;
    let (declared, run) = {
        let board = state.board.read();
        let members = board.declared.destinations().flat_map(|(_, destination)| &destination.members);
        let own = members.filter(|member| member.resource == resource);
        own.fold((false, false), |(_, run), member| (true, run || member.workload.is_some()))
    };
    match (declared, run) {
        (_, true) => send(&state, actor, Command::Restart { resource }),
        (true, false) => {
            let message = format!("{resource} is adopted: something else runs its containers.");
            Err(Problem::new(StatusCode::CONFLICT, "NotManaged", message))
        }
        (false, false) => Err(undeclared(&resource)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Suspension {
    /// `Destination/namespace/name` or `Server/namespace/name`
    object: String,
    suspend: bool,
}

/// Leaves a destination or a server as it is for a while, or no longer.
pub(super) async fn suspend(
    State(state): State<WebState>,
    Extension(actor): Extension<Actor>,
    body: Result<Json<Suspension>, JsonRejection>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let Suspension { object: named, suspend } = read(body)?;
    let object = object(&named)?;
    let declared = {
        let board = state.board.read();
        match object.kind {
            Kind::Server => board.declared.servers.contains_key(&object),
            Kind::Destination => board.declared.destination(&object).is_some(),
            _ => return Err(Problem::bad_request("Only a destination or a server can be suspended.")),
        }
    };
    match declared {
        true => send(&state, actor, Command::Suspend { object, suspend }),
        false => Err(undeclared(&object)),
    }
}

fn object(text: &str) -> Result<ObjectKey, Problem> {
    text.parse().map_err(|_| Problem::bad_request("`object` is KIND/NAMESPACE/NAME, such as Destination/shop/web."))
}

fn undeclared(object: &ObjectKey) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "NotFound", format!("{object} is not declared."))
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
fn send(state: &WebState, Actor(who): Actor, command: Command) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let command = Command::By { who, command: Box::new(command) };
    state.commands.try_send(command).map_err(|_| {
        let message = "The loop has not taken the commands before this one yet; try again in a moment.";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Busy", message)
    })?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { accepted: true })))
}
