//! What is not done, or should be known.

use serde::{Deserialize, Serialize};

use super::reason::Reason;
use super::target::{NetworkTarget, ServiceTarget};
use crate::core::api::{Kind, ObjectKey};

/// Something that is not done, or that somebody should know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub kind: NoteKind,
    pub reason: Reason,
    pub object: ObjectKey,
    /// A full sentence; differences name both values.
    pub message: String,
    /// The command or change that would resolve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default)]
    pub blockers: Vec<Blocker>,
    /// What a rollout of others has undone, and what is put back when it is over.
    #[serde(skip)]
    pub undone: Vec<Undone>,
    /// In so many seconds it may be over, though nothing tells of that.
    #[serde(skip)]
    pub again: Option<u32>,
    /// Another process is at work on the same at the moment, and a pass after its end goes on.
    #[serde(skip)]
    pub turn: bool,
    /// Name of a container with which something is wrong that no operation puts right: `drift` counts it.
    #[serde(skip)]
    pub finding: Option<String>,
}

impl Note {
    pub fn new(kind: NoteKind, reason: Reason, object: &ObjectKey, message: impl Into<String>) -> Self {
        Self {
            kind,
            reason,
            object: object.clone(),
            message: message.into(),
            hint: None,
            blockers: Vec::new(),
            undone: Vec::new(),
            again: None,
            turn: false,
            finding: None,
        }
    }

    pub fn refused(reason: Reason, object: &ObjectKey, message: impl Into<String>) -> Self {
        Self::new(NoteKind::Refused, reason, object, message)
    }

    pub fn waiting(reason: Reason, object: &ObjectKey, message: impl Into<String>) -> Self {
        Self::new(NoteKind::Waiting, reason, object, message)
    }

    pub fn unmanaged(reason: Reason, object: &ObjectKey, message: impl Into<String>) -> Self {
        Self::new(NoteKind::Unmanaged, reason, object, message)
    }

    pub fn warning(reason: Reason, object: &ObjectKey, message: impl Into<String>) -> Self {
        Self::new(NoteKind::Warning, reason, object, message)
    }

    /// A warning about a container that `drift` counts.
    pub fn finding(reason: Reason, object: &ObjectKey, container: &str, message: impl Into<String>) -> Self {
        Self { finding: Some(container.to_owned()), ..Self::warning(reason, object, message) }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn again(mut self, seconds: Option<u32>) -> Self {
        self.again = seconds;
        self
    }

    #[must_use]
    pub fn for_turn(self) -> Self {
        Self { turn: true, ..self }
    }

    #[must_use]
    pub fn blockers(mut self, blockers: Vec<Blocker>) -> Self {
        self.blockers = blockers;
        self
    }
}

/// A network that a Swarm service lacks while a rollout of it is under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Undone {
    pub service: ServiceTarget,
    pub network: NetworkTarget,
    /// When the rollout began, as the engine says it.
    pub rollout: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NoteKind {
    Refused,
    Waiting,
    Unmanaged,
    Suspended,
    Warning,
}

/// What stands in the way of a deletion.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Blocker {
    pub kind: BlockerKind,
    pub name: String,
    /// `running`, `exited`, …; `declared` for a resource in the manifests.
    pub state: String,
    /// `namespace/name` of the server it is on, where that is another node of the destination's Swarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BlockerKind {
    Destination,
    Application,
    Database,
    Service,
    Container,
    SwarmService,
    SwarmTask,
}

/// A declared resource, as a blocker.
pub(crate) fn declared_blocker(destination: &ObjectKey, resource: &ObjectKey) -> Blocker {
    let kind = match resource.kind {
        Kind::Application => BlockerKind::Application,
        Kind::Database => BlockerKind::Database,
        Kind::Service => BlockerKind::Service,
        Kind::Destination | Kind::Server | Kind::Notifier => BlockerKind::Destination,
    };
    let name = if resource.namespace == destination.namespace { resource.name.to_string() } else { resource.path() };
    Blocker { kind, name, state: "declared".to_owned(), server: None }
}

/// What `--set` is without being given.
const DEFAULT_SET: &str = "default";

/// The option of a command for this set.
pub(crate) fn in_set(set: &str) -> String {
    if set == DEFAULT_SET { String::new() } else { format!(" --set {set}") }
}
