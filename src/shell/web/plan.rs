//! What manifests would come to: manifests in, plan out, nothing changed.
//!
//! The controller lends its way to its own servers and nothing else: a server that it does not keep, or that the manifests reach in another
//! way, is not asked, and no file or variable of this machine is read because a request names it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::answer::Asked;
use super::{Problem, WebState};
use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::manifest::{self, Diagnostic, Source};
use crate::core::plan::Request;
use crate::core::report::Report;
use crate::shell::compose;
use crate::shell::engine::connect::{self, ConnectOptions};
use crate::shell::engine::{EngineError, EngineErrorKind};
use crate::shell::execute::Limits;
use crate::shell::observe::ObserveLimits;
use crate::shell::reconcile::Pass;
use crate::shell::secrets;
use crate::shell::store::Journals;
use crate::shell::store::known::Known;
use crate::shell::store::records::{ObjectRecord, guarded, overlays, protected};

/// Manifests of one request. A thousand destinations take a third of it.
pub(super) const BODY: usize = 1 << 20;
/// Requests that are planned at the same time.
const AT_ONCE: usize = 2;
/// Problems that are told.
const PROBLEMS: usize = 100;
/// How long a server may take: less than an answer may.
const PATIENCE: Duration = Duration::from_secs(10);

/// With which it is planned.
#[derive(Clone)]
pub struct Planner {
    pub connect: ConnectOptions,
    pub observe: ObserveLimits,
    pub journals: Arc<dyn Journals>,
    turns: Arc<Semaphore>,
}

impl Planner {
    pub fn new(connect: ConnectOptions, observe: ObserveLimits, journals: Arc<dyn Journals>) -> Self {
        let per_server = observe.per_server.min(PATIENCE);
        Self {
            connect,
            observe: ObserveLimits { per_server, ..observe },
            journals,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    #[serde(default)]
    prune: bool,
}

/// Whether a type of content is one of manifests. A page of somebody else cannot send one of these unasked.
fn is_manifest(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    ["application/yaml", "application/x-yaml", "application/json"].iter().any(|it| it.eq_ignore_ascii_case(given))
}

pub(super) async fn plan(
    State(state): State<WebState>,
    Asked(how): Asked<How>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    if !is_manifest(&headers) {
        let message = "Send manifests with the content type application/yaml or application/json.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message).into());
    }
    let body = body.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(error.status(), "TooLarge", "The manifests are longer than 1 MiB.")
        }
        _ => Problem::bad_request(error.body_text()),
    })?;
    let (declared, set, failed_attempts) = {
        let board = state.board.read();
        (Arc::clone(&board.declared), board.set.clone(), board.failed_attempts())
    };
    let busy = || {
        let message = format!("{AT_ONCE} plans are being made already; try again in a moment.");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Busy", message)
    };
    let planner = state.planner.clone();
    let turn = Arc::clone(&planner.turns).try_acquire_owned().map_err(|_| busy())?;
    // Without a record nothing but labels and manifests protects from pruning.
    let objects = state.store.objects().await.unwrap_or_default();
    // The loop has the runtime to itself: reading and planning are work for a processor.
    let made = tokio::task::spawn_blocking(move || {
        let made = make(
            &planner,
            &objects,
            &declared,
            &set,
            &body,
            Request { prune: how.prune, failed_attempts, ..Request::default() },
        );
        drop(turn);
        made
    });
    let document = made.await.map_err(|error| Problem::internal(&error))??;
    Ok(Json(document))
}

fn make(
    planner: &Planner,
    objects: &BTreeMap<ObjectKey, ObjectRecord>,
    declared: &DesiredState,
    set: &str,
    body: &[u8],
    request: Request,
) -> Result<Value, Refusal> {
    let source = Source { name: "request".to_owned(), bytes: body.to_vec() };
    let manifests = manifest::load(&[source]).map_err(|problems| Refusal::invalid(&problems))?;
    if manifests.objects().len() == 0 {
        return Err(
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "ManifestInvalid", "No objects are declared.").into()
        );
    }
    let mut desired = manifests.desired(set);
    desired.source.clone_from(&declared.source);
    secrets::lend(&mut desired, declared);
    compose::lend(&mut desired, declared);
    let request = Request {
        protected: Arc::new(protected(objects).cloned().collect()),
        overlays: Arc::new(overlays(objects).cloned().collect()),
        guarded: Arc::new(guarded(objects).map(|(key, _)| key.clone()).collect()),
        ..request
    };
    let pass = Pass {
        desired: &desired,
        request: &request,
        journals: &*planner.journals,
        known: &Known::default(),
        observe: planner.observe,
        execute: Limits::default(),
    };
    let internal = |error: &dyn std::error::Error| Refusal::from(Problem::internal(error));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| internal(&error))?;
    let connect = |server: &DesiredServer| {
        if is_kept(server, declared) {
            return connect::reader(server, &planner.connect);
        }
        Err(EngineError {
            kind: EngineErrorKind::PermissionDenied,
            attempted: format!("planning for {}", server.key),
            message: "this controller keeps no server of that name with that endpoint, so it is not asked".to_owned(),
            hint: Some("a new server is planned for by `landfall diff`, where its credentials are".to_owned()),
        })
    };
    let preview = runtime.block_on(pass.preview(connect)).map_err(|error| internal(&error))?;
    serde_json::to_value(Report::planned(preview.plan).document()).map_err(|error| internal(&error))
}

/// The same server by the same way.
fn is_kept(server: &DesiredServer, declared: &DesiredState) -> bool {
    declared.servers.get(&server.key).is_some_and(|known| known.endpoint == server.endpoint)
}

/// What was wrong, and where in the manifests if it was there.
pub(super) struct Refusal {
    problem: Problem,
    problems: Vec<Value>,
}

impl Refusal {
    fn invalid(problems: &[Diagnostic]) -> Self {
        let count = manifest::count(problems);
        let message = format!(
            "{count} {} in the manifests; nothing was planned.",
            if count == 1 { "problem" } else { "problems" }
        );
        Self {
            problem: Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "ManifestInvalid", message),
            problems: problems.iter().take(PROBLEMS).map(|it| json!(it)).collect(),
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, problems: Vec::new() }
    }
}

impl axum::response::IntoResponse for Refusal {
    fn into_response(self) -> axum::response::Response {
        if self.problems.is_empty() {
            return self.problem.into_response();
        }
        let Problem { status, reason, message } = self.problem;
        (status, Json(json!({ "reason": reason, "message": message, "problems": self.problems }))).into_response()
    }
}
