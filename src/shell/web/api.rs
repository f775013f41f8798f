//! The JSON API that reads. `schemas/openapi.yaml` describes it.
//!
//! Objects look as `get -o json` prints them, without the `spec`: a manifest may hold what is nobody's business here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Asked;
use super::view::{DestinationView, Filter, ResourceView, ServerView, Standing, View, kind};
use super::{Problem, WebState};
use crate::core::api::{Kind, ObjectKey};
use crate::core::manifest::{Base, Source};
use crate::core::report::json::Document;
use crate::shell::controller::board::ManifestState;

/// How much one answer holds at most.
const MOST: usize = 1000;
const USUAL: usize = 100;

const OPENAPI: &str = include_str!("../../../schemas/openapi.yaml");

/// Of lists.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Part of a name.
    q: Option<String>,
    server: Option<String>,
    /// `true`, `false` or `unknown`
    ready: Option<String>,
    offset: Option<usize>,
    limit: Option<usize>,
}

impl Which {
    fn filter(&self) -> Result<Filter, Problem> {
        let standing = match &self.ready {
            None => Vec::new(),
            Some(word) => match Standing::ALL.into_iter().find(|it| it.label() == word) {
                Some(standing) => vec![standing],
                None => return Err(Problem::bad_request("`ready` is true, false or unknown.")),
            },
        };
        let text = self.q.as_deref().unwrap_or_default().trim().to_lowercase();
        Ok(Filter { text, server: self.server.as_deref().map(path), standing })
    }
}

/// `name` alone is in the namespace `default`.
fn path(name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { format!("default/{name}") }
}

/// Part of a list.
#[derive(Serialize)]
pub(super) struct List {
    kind: &'static str,
    /// How many there are in all.
    total: usize,
    offset: usize,
    items: Vec<Value>,
}

fn page<T>(which: &Which, found: impl Iterator<Item = T>, document: impl Fn(&T) -> Value) -> Json<List> {
    let found: Vec<T> = found.collect();
    let offset = which.offset.unwrap_or(0);
    let limit = which.limit.unwrap_or(USUAL).min(MOST);
    let items = found.iter().skip(offset).take(limit).map(document).collect();
    Json(List { kind: "List", total: found.len(), offset, items })
}

fn snapshot(state: &WebState) -> View {
    View::new(state.board.snapshot())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Overview {
    set: String,
    version: &'static str,
    started: jiff::Timestamp,
    stopping: bool,
    manifests: ManifestState,
    servers: Counted,
    destinations: Counted,
    /// Where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    controllers: Vec<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    total: usize,
    ready: usize,
    not_ready: usize,
    unknown: usize,
}

pub(super) async fn status(State(state): State<WebState>) -> Json<Overview> {
    let view = snapshot(&state);
    let tally = view.total();
    let servers: Vec<Standing> = view.servers().map(|server| server.standing()).collect();
    let stand = |standing| servers.iter().filter(|it| **it == standing).count();
    let content = view.content();
    Json(Overview {
        set: content.set.clone(),
        version: env!("CARGO_PKG_VERSION"),
        started: content.started,
        stopping: content.stopping,
        manifests: content.manifests.clone(),
        servers: Counted {
            total: servers.len(),
            ready: stand(Standing::Ready),
            not_ready: stand(Standing::NotReady),
            unknown: stand(Standing::Unknown),
        },
        destinations: Counted {
            total: tally.total(),
            ready: tally.of(Standing::Ready),
            not_ready: tally.of(Standing::NotReady),
            unknown: tally.of(Standing::Unknown),
        },
        controllers: content
            .fleet
            .iter()
            .flat_map(|fleet| fleet.live.members.keys().map(|id| fleet.live.document(id)))
            .collect(),
    })
}

/// Attempts to run something that the controller does not make again, with what was said of them: what commands beside it plan with.
pub(super) async fn attempts(State(state): State<WebState>) -> Json<BTreeMap<String, String>> {
    Json(state.board.read().failed_attempts())
}

pub(super) async fn manifests(State(state): State<WebState>) -> Json<ManifestState> {
    Json(state.board.read().manifests.clone())
}

/// The manifests that are in force, whole.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InForce {
    /// Counts the sets of manifests that were in force; 0: none was.
    pub generation: u64,
    /// Of the repository that they are from.
    pub revision: Option<String>,
    pub sources: Vec<Text>,
    /// What is wrong with those that there are now, where these are older.
    pub problems: Vec<String>,
    /// Why the repository cannot be followed.
    pub source_problem: Option<String>,
    /// What is made from them is marked with this.
    #[serde(default)]
    pub identity: Option<String>,
    /// Where the files are that they name, if they are of a repository.
    #[serde(default)]
    pub commit: Option<CommitFiles>,
}

/// Files of the commit that is in force, on the controller's machine.
#[derive(Debug, Serialize, Deserialize)]
pub struct CommitFiles {
    /// They are named as in the repository from here.
    root: PathBuf,
    /// The part of the repository that is read; empty: all of it.
    part: PathBuf,
    /// A directory that stays when the commit is not in force any more.
    lasting: PathBuf,
}

impl CommitFiles {
    fn of(base: &Base) -> Option<Self> {
        let (part, lasting) = (base.part()?.to_owned(), base.lasting()?.to_owned());
        Some(Self { root: base.root().to_owned(), part, lasting })
    }

    /// For as long as the commit stays in force.
    pub fn base(self) -> Base {
        Base::of_commit(self.root, self.part, self.lasting, None)
    }
}

/// A file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Text {
    pub name: String,
    pub text: String,
}

/// Of problems that are told with manifests.
const PROBLEMS: usize = 20;

pub(super) async fn sources(State(state): State<WebState>) -> Result<Json<InForce>, Problem> {
    let (manifests, kept, identity) = {
        let board = state.board.read();
        (board.manifests.clone(), Arc::clone(&board.sources), board.declared.source.clone())
    };
    let commit = CommitFiles::of(kept.base());
    let unpacked = tokio::task::spawn_blocking(move || kept.sources()).await;
    let sources = unpacked.map_err(|error| error.to_string()).and_then(|it| it.map_err(|error| error.to_string()));
    let sources = sources.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Unreadable", error))?;
    // Valid manifests are UTF-8.
    let is_repository = manifests.source.is_some();
    let text = |source: Source| Text {
        // What a manifest names lies beside it, wherever the command is run.
        name: match std::path::absolute(&source.name) {
            Ok(path) if !is_repository => path.display().to_string(),
            _ => source.name,
        },
        text: String::from_utf8_lossy(&source.bytes).into_owned(),
    };
    let problem = manifests.source.as_ref().and_then(|source| source.problem.as_ref());
    Ok(Json(InForce {
        generation: manifests.generation,
        revision: manifests.revision.clone(),
        sources: sources.into_iter().map(text).collect(),
        problems: manifests.problems.iter().take(PROBLEMS).map(ToString::to_string).collect(),
        source_problem: problem.map(|problem| problem.message.clone()),
        identity,
        commit,
    }))
}

pub(super) async fn diff(State(state): State<WebState>) -> Json<Document> {
    Json(snapshot(&state).diff())
}

pub(super) async fn servers(State(state): State<WebState>, Asked(which): Asked<Which>) -> Result<Json<List>, Problem> {
    let view = snapshot(&state);
    let filter = which.filter()?;
    let found = view.servers().filter(|server| {
        let path = server.declared.key.path();
        filter.server.as_ref().is_none_or(|wanted| path == *wanted)
            && path.to_lowercase().contains(&filter.text)
            && (filter.standing.is_empty() || filter.standing.contains(&server.standing()))
    });
    Ok(page(&which, found, |server| server_document(&view, server)))
}

pub(super) async fn destinations(
    State(state): State<WebState>,
    Asked(which): Asked<Which>,
) -> Result<Json<List>, Problem> {
    let view = snapshot(&state);
    let filter = which.filter()?;
    Ok(page(&which, view.destinations().filter(|it| filter.takes(it)), destination_document))
}

pub(super) async fn resources(
    State(state): State<WebState>,
    Asked(which): Asked<Which>,
) -> Result<Json<List>, Problem> {
    let view = snapshot(&state);
    let filter = which.filter()?;
    Ok(page(&which, view.resources().into_iter().filter(|it| filter.takes_resource(it)), resource_document))
}

pub(super) async fn object(
    State(state): State<WebState>,
    Path((of, namespace, name)): Path<(String, String, String)>,
) -> Result<Json<Value>, Problem> {
    let view = snapshot(&state);
    let missing = || Problem::new(StatusCode::NOT_FOUND, "NotFound", "No such object is declared.");
    let key = ObjectKey::new(kind(&of).ok_or_else(missing)?, &namespace, &name);
    let document = match key.kind {
        Kind::Server => view.server(&key).as_ref().map(|server| server_document(&view, server)),
        Kind::Destination => view.destination(&key).as_ref().map(destination_document),
        Kind::Application | Kind::Database | Kind::Service => view.resource(&key).as_ref().map(resource_document),
        // Its address is a secret, and it has no status.
        Kind::Notifier => None,
    };
    document.map(Json).ok_or_else(missing)
}

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/yaml")], OPENAPI).into_response()
}

fn document(key: &ObjectKey, status: Map<String, Value>) -> Value {
    json!({ "kind": key.kind.as_str(), "metadata": { "name": key.name, "namespace": key.namespace }, "status": status })
}

fn value(it: &impl Serialize) -> Value {
    // Plain data: there is nothing in it that JSON has no form for.
    serde_json::to_value(it).unwrap_or_default()
}

fn extend(status: &mut Map<String, Value>, facts: Option<&impl Serialize>) {
    if let Some(Value::Object(facts)) = facts.map(value) {
        status.extend(facts);
    }
}

fn server_document(view: &View, server: &ServerView<'_>) -> Value {
    let key = &server.declared.key;
    let mut status = Map::new();
    status.insert("conditions".to_owned(), value(&server.conditions(key)));
    extend(&mut status, server.about());
    let destinations: Vec<String> = server.declared.destinations.iter().map(|it| it.key.path()).collect();
    status.insert("destinations".to_owned(), value(&destinations));
    if let Some((controller, since)) = view.content().keeper(key) {
        status.insert("controller".to_owned(), json!({ "name": controller, "since": since }));
    }
    // When another controller looked last is known to that one.
    if let Some(state) = server.state.filter(|_| view.content().is_own(&key.path())) {
        status.insert("lastPass".to_owned(), json!({ "pass": state.pass, "finished": state.finished }));
        status.insert("lastSuccess".to_owned(), value(&state.last_success));
    }
    document(key, status)
}

fn destination_document(destination: &DestinationView<'_>) -> Value {
    let mut status = Map::new();
    status.insert("conditions".to_owned(), value(&destination.conditions()));
    status.insert("server".to_owned(), value(&destination.server.declared.key.path()));
    if let Some(name) = destination.display_name() {
        status.insert("displayName".to_owned(), json!(name));
    }
    extend(&mut status, destination.facts());
    document(destination.key(), status)
}

fn resource_document(resource: &ResourceView<'_>) -> Value {
    let mut status = Map::new();
    status.insert("conditions".to_owned(), value(&resource.conditions()));
    let on = resource.destinations.iter().map(|destination| {
        let containers = destination.facts().map(|facts| {
            let own = facts.members.iter().filter(|member| member.resource == *resource.key);
            own.map(|member| value(&member.endpoint)).collect::<Vec<_>>()
        });
        json!({
            "destination": destination.key().path(),
            "server": destination.server.declared.key.path(),
            "containers": containers,
        })
    });
    status.insert("destinations".to_owned(), Value::Array(on.collect()));
    let mut members = resource.destinations.iter().flat_map(|destination| &destination.declared.members);
    let connection = members.find(|member| member.resource == *resource.key).and_then(|member| member.connection());
    status.extend(connection.map(|connection| ("connectionUrl".to_owned(), json!(connection.masked_url()))));
    document(resource.key, status)
}
