//! What no pass sees and somebody wants to know: asked of the servers with the request, for a few requests at a time.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use futures::StreamExt;
use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::answer::Asked;
use super::guard::Trusted;
use super::{Problem, WebState};
use crate::core::api::{Kind, ObjectKey};
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::printable::one_line;
use crate::core::usage::ContainerUsage;
use crate::shell::engine::connect;
use crate::shell::engine::{DockerReader, EngineError, LogRequest};
use crate::shell::inquiry::doctor::{Complaint, Diagnosis, diagnose};
use crate::shell::inquiry::logs::{Source, sources};
use crate::shell::inquiry::usage::of_server;
use crate::shell::observe::ObserveLimits;

/// Requests at the same time.
pub(super) const AT_ONCE: usize = 4;
/// Servers of one request.
const SERVERS: usize = 16;
/// For a server: two looks within what an answer may take.
const PATIENCE: Duration = Duration::from_secs(6);
/// Containers whose logs are in one answer, of lines and of bytes of each.
const CONTAINERS: usize = 32;
const LINES: usize = 200;
const MOST_LINES: usize = 1000;
const BYTES: usize = 64 << 10;
/// Between two looks at the counters of a container.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    /// `Kind/namespace/name`
    object: String,
    /// Also what may be a cause and may be none.
    #[serde(default)]
    possible: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Of {
    /// `Kind/namespace/name`
    object: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    object: String,
    tail: Option<usize>,
}

/// What a container has printed last.
#[derive(Debug, Serialize)]
pub(super) struct Printed {
    pub(super) server: String,
    pub(super) container: String,
    pub(super) lines: Vec<String>,
    /// Why there is no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Logs {
    containers: Vec<Printed>,
}

/// What containers use, and which servers did not say.
#[derive(Debug, Default, Serialize)]
pub(super) struct Used {
    pub(super) containers: Vec<ContainerUsage>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) problems: Vec<String>,
}

pub(super) async fn doctor(
    State(state): State<WebState>,
    Asked(about): Asked<About>,
) -> Result<Json<Diagnosis>, Problem> {
    Ok(Json(examine(&state, &declared(&state, &about.object)?, about.possible).await?))
}

pub(super) async fn logs(
    State(state): State<WebState>,
    Extension(trusted): Extension<Trusted>,
    Asked(which): Asked<Which>,
) -> Result<Json<Logs>, Problem> {
    let object = declared(&state, &which.object)?;
    let tail = which.tail.unwrap_or(LINES);
    Ok(Json(Logs { containers: printed(&state, &object, trusted, tail).await? }))
}

pub(super) async fn usage(State(state): State<WebState>, Asked(of): Asked<Of>) -> Result<Json<Used>, Problem> {
    Ok(Json(used(&state, &declared(&state, &of.object)?).await?))
}

fn declared(state: &WebState, object: &str) -> Result<ObjectKey, Problem> {
    let malformed = || Problem::bad_request("`object` is KIND/NAMESPACE/NAME, such as Application/shop/web.");
    let key: ObjectKey = object.parse().map_err(|_| malformed())?;
    let board = state.board.read();
    match board.declared.servers.iter().any(|(server, it)| *server == key || it.has(&key)) {
        true => Ok(key),
        false => Err(Problem::new(StatusCode::NOT_FOUND, "NotFound", format!("{key} is not declared."))),
    }
}

/// What is declared on the servers that the object is on, as many as are asked for one answer.
fn concerned(state: &WebState, object: &ObjectKey) -> DesiredState {
    let mut desired = DesiredState::clone(&*state.board.read().declared);
    desired.narrow(|key, server| key == object || server.has(object));
    let further: BTreeSet<ObjectKey> = desired.servers.keys().skip(SERVERS).cloned().collect();
    desired.narrow(|key, _| !further.contains(key));
    desired
}

fn busy() -> Problem {
    let message = format!("{AT_ONCE} requests ask servers already; try again in a moment.");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Busy", message)
}

fn reader(state: &WebState) -> impl Fn(&DesiredServer) -> Result<DockerReader, EngineError> {
    move |server| connect::reader(server, &state.planner.connect)
}

pub(super) async fn examine(state: &WebState, object: &ObjectKey, possible: bool) -> Result<Diagnosis, Problem> {
    let _turn = Arc::clone(&state.inquiries).try_acquire_owned().map_err(|_| busy())?;
    let limits = ObserveLimits { per_server: state.planner.observe.per_server.min(PATIENCE), ..state.planner.observe };
    let complaint = Complaint { object: Some(object), possible, asked: None };
    Ok(diagnose(&concerned(state, object), complaint, reader(state), limits).await.0)
}

/// Of each of the servers.
async fn ask<T, F: Future<Output = Result<T, EngineError>>>(
    desired: &DesiredState,
    asking: impl Fn(Arc<DesiredServer>) -> F,
) -> Vec<(ObjectKey, Result<T, String>)> {
    let asked = desired.servers.iter().map(|(key, server)| {
        let asking = tokio::time::timeout(PATIENCE, asking(Arc::clone(server)));
        async move {
            let answered = match asking.await {
                Ok(answered) => answered.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer within {PATIENCE:?}")),
            };
            (key.clone(), answered)
        }
    });
    join_all(asked.collect::<Vec<_>>()).await
}

/// Whether whoever asks may read logs, which may hold anything: with a token, or over the socket, and from nowhere without.
pub(super) fn may_read_logs(state: &WebState, Trusted(trusted): Trusted) -> Result<(), Problem> {
    if trusted {
        return Ok(());
    }
    Err(match state.read_token.is_some() || state.token.is_some() {
        true => {
            let message = "Logs need `Authorization: Bearer TOKEN`, or the token as the password of any user, from this machine as well.";
            Problem::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
        }
        false => {
            let message = "The controller has no token, so it shows no logs over TCP; give it one with --read-token, or use the \
                           socket in its state directory.";
            Problem::new(StatusCode::FORBIDDEN, "NoToken", message)
        }
    })
}

/// What the containers of a resource have printed last.
pub(super) async fn printed(
    state: &WebState,
    object: &ObjectKey,
    trusted: Trusted,
    tail: usize,
) -> Result<Vec<Printed>, Problem> {
    may_read_logs(state, trusted)?;
    if !matches!(object.kind, Kind::Application | Kind::Database | Kind::Service) {
        return Err(Problem::bad_request(
            "An application, a database or a service has containers that print something.",
        ));
    }
    let _turn = Arc::clone(&state.inquiries).try_acquire_owned().map_err(|_| busy())?;
    let desired = concerned(state, object);
    let tail = tail.min(MOST_LINES);
    let keys: BTreeSet<ObjectKey> = [object.clone()].into();
    let (set, keys) = (desired.set.as_str(), &keys);
    let of = |server: Arc<DesiredServer>| async move {
        let reader = connect::reader(&server, &state.planner.connect)?;
        let found = sources(&reader, set, &server, keys).await?;
        let mut printed = Vec::new();
        for (name, source) in found.into_iter().take(CONTAINERS) {
            let (lines, problem) = match last(&reader, &source, tail).await {
                Ok(lines) => (lines, None),
                Err(error) => (Vec::new(), Some(error.to_string())),
            };
            printed.push(Printed { server: server.key.path(), container: name, lines, problem });
        }
        Ok(printed)
    };
    let answered = ask(&desired, of).await;
    let all = answered.into_iter().flat_map(|(server, answered)| {
        let failed = |why| {
            vec![Printed { server: server.path(), container: String::new(), lines: Vec::new(), problem: Some(why) }]
        };
        answered.unwrap_or_else(failed)
    });
    Ok(all.take(CONTAINERS).collect())
}

async fn last(reader: &DockerReader, source: &Source, tail: usize) -> Result<Vec<String>, EngineError> {
    let request = LogRequest { tail: u32::try_from(tail).ok(), timestamps: true, ..LogRequest::default() };
    let mut stream = source.open(reader, request).await?;
    let (mut lines, mut size) = (VecDeque::new(), 0);
    while let Some(line) = stream.next().await {
        let line = one_line(&line?.text).into_owned();
        size += line.len();
        lines.push_back(line);
        while size > BYTES || lines.len() > tail {
            size -= lines.pop_front().map_or(0, |oldest| oldest.len());
        }
    }
    Ok(lines.into())
}

/// What the containers of an object use, measured now.
pub(super) async fn used(state: &WebState, object: &ObjectKey) -> Result<Used, Problem> {
    if !state.usage {
        let message = "The controller was not asked to show what containers use: `landfall run --usage`.";
        return Err(Problem::new(StatusCode::NOT_FOUND, "NotShown", message));
    }
    let _turn = Arc::clone(&state.inquiries).try_acquire_owned().map_err(|_| busy())?;
    let desired = concerned(state, object);
    let set = desired.set.as_str();
    let of = |server: Arc<DesiredServer>| async move {
        let reader = connect::reader(&server, &state.planner.connect)?;
        let wanted = |destination: &ObjectKey, resource: Option<&ObjectKey>| match object.kind {
            Kind::Server => true,
            Kind::Destination => destination == object,
            _ => resource == Some(object),
        };
        of_server(&reader, &server, set, INTERVAL, wanted).await
    };
    let mut used = Used::default();
    for (server, answered) in ask(&desired, of).await {
        match answered {
            Ok(containers) => used.containers.extend(containers),
            Err(why) => used.problems.push(format!("{} was not looked at: {why}", server.path())),
        }
    }
    Ok(used)
}
