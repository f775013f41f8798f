//! What the loop shows of itself: the state of every server as last seen, and counts of what was done. Written by the loop, read by anyone.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use serde::Serialize;
use tokio::sync::watch;

use crate::api::{Condition, ConditionStatus};
use crate::desired::DesiredState;
use crate::manifest::Diagnostic;
use crate::plan::Withheld;
use crate::report::json::Document;

/// Shared view of the loop.
#[derive(Clone)]
pub struct Board {
    content: Arc<RwLock<Content>>,
    /// Counts changes, so that readers can wait for the next.
    revision: watch::Sender<u64>,
}

/// What is on the board.
#[derive(Debug, Clone, Serialize)]
pub struct Content {
    pub set: String,
    pub manifests: ManifestState,
    /// What the manifests declare: the last good ones.
    #[serde(skip)]
    pub declared: Arc<DesiredState>,
    pub servers: BTreeMap<String, ServerState>,
    pub counts: Counts,
    /// Of the controller itself.
    pub conditions: Vec<Condition>,
    pub stopping: bool,
}

/// The manifests as last read.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ManifestState {
    /// Counts the valid sets that were read; 0 before the first.
    pub generation: u64,
    /// What is wrong with the files as they are now. The last good set stays desired.
    pub problems: Vec<Diagnostic>,
    /// `Ready` and `Stalled`, with the reason `ManifestInvalid` while something is wrong; empty before the first reading.
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded: Option<jiff::Timestamp>,
    /// The revision whose manifests are in force, where they come from a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The repository, where they come from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceState>,
}

/// A repository as last fetched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceState {
    /// Without credentials.
    pub url: String,
    /// `None`: the repository's own.
    pub branch: Option<String>,
    /// Within the repository.
    pub path: String,
    /// The last good one. Its manifests may still be wrong, which the problems say.
    pub revision: Option<String>,
    /// The last time that the repository had nothing else to offer.
    pub fetched: Option<jiff::Timestamp>,
    /// Why that is not now.
    pub problem: Option<SourceProblem>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceProblem {
    /// One word in CamelCase.
    pub reason: &'static str,
    pub message: String,
    pub hint: Option<&'static str>,
    pub since: jiff::Timestamp,
}

/// One server as last seen.
#[derive(Debug, Clone, Serialize)]
pub struct ServerState {
    /// The last pass that ended.
    pub pass: u64,
    pub finished: jiff::Timestamp,
    pub reachable: bool,
    /// The report of the last pass, as `apply -o json` has it.
    pub report: Document,
    pub conditions: BTreeMap<String, Vec<Condition>>,
    /// Deletions that wait for somebody to agree: [`Command::Approve`](super::run::Command::Approve) with their fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Withheld>,
}

/// Counts since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub passes: u64,
    pub failed_passes: u64,
    /// Operations by call and outcome, such as `("ConnectEndpoint", "Done")`.
    #[serde(skip)]
    pub operations: BTreeMap<(&'static str, &'static str), u64>,
    /// Operations that put back something that had been as declared before, by cause.
    pub repairs: BTreeMap<String, u64>,
    pub events: u64,
    pub lost_streams: u64,
    /// Notices by what became of them: `sent`, `failed` after all attempts, `dropped` because there were too many.
    pub notices: BTreeMap<&'static str, u64>,
}

impl Content {
    /// The deletions that wait for somebody to agree, and the server that they are on.
    pub fn pending(&self) -> impl Iterator<Item = (&str, &Withheld)> {
        self.servers.iter().filter_map(|(name, server)| Some((name.as_str(), server.pending.as_ref()?)))
    }
}

impl Board {
    pub fn new(set: &str) -> Self {
        let content = Content {
            set: set.to_owned(),
            manifests: ManifestState::default(),
            declared: Arc::new(DesiredState { set: set.to_owned(), ..DesiredState::default() }),
            servers: BTreeMap::new(),
            counts: Counts::default(),
            conditions: Vec::new(),
            stopping: false,
        };
        Self { content: Arc::new(RwLock::new(content)), revision: watch::Sender::new(0) }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every reader that waits.
    pub fn update(&self, change: impl FnOnce(&mut Content)) {
        change(&mut self.content.write().unwrap_or_else(PoisonError::into_inner));
        self.revision.send_modify(|revision| *revision += 1);
    }

    /// Sets a condition of the controller itself.
    pub fn set_condition(&self, condition_type: &str, status: ConditionStatus, reason: &str, message: &str) {
        self.update(|content| {
            let before = content.conditions.iter().position(|it| it.condition_type == condition_type);
            let before = before.map(|at| content.conditions.remove(at));
            let since = before.filter(|it| it.status == status).and_then(|it| it.last_transition_time);
            content.conditions.push(Condition {
                condition_type: condition_type.to_owned(),
                status,
                reason: reason.to_owned(),
                message: message.to_owned(),
                observed_generation: None,
                last_transition_time: since.or_else(|| Some(format!("{:.0}", jiff::Timestamp::now()))),
            });
        });
    }

    /// Resolves with every change from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}
