//! The report as the document of `diff -o json` and `apply -o json`. Field names and words are part of the contract; so is their order.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{OperationReport, Outcome, Report};
use crate::core::api::ObjectKey;
use crate::core::plan::{Blocker, Call, FieldDifference, NetworkChange, Note, NoteKind, Reason, ServerType};

/// Raised in its first part when a reader of the former version would misread the document.
pub const FORMAT_VERSION: &str = "1.0";

/// A plan and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub format_version: SmolStr,
    pub set: String,
    /// Of the manifests, where they come from a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    pub servers: Vec<ServerDocument>,
    /// In the order of execution on each server.
    pub operations: Vec<OperationDocument>,
    pub notes: Vec<NoteDocument>,
    /// What `--prune` would do besides, of a `diff` without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prune: Vec<OperationDocument>,
    pub summary: Summary,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerDocument {
    /// `namespace/name`.
    pub name: String,
    pub reachable: bool,
    /// `null` where the server could not be observed.
    #[serde(rename = "type")]
    pub server_type: Option<ServerType>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationDocument {
    pub op: SmolStr,
    pub server: String,
    /// The server whose daemon is called, where that is another one: networks of a Swarm are made by its managers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// `Kind/namespace/name`.
    pub object: String,
    pub network: Option<String>,
    pub container: Option<String>,
    /// Of `UpdateService`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Of an `UpdateService` that changes the networks of the service: all of them, in one call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangeDocument>,
    pub cause: SmolStr,
    /// Of a `CreateNetwork` in the place of another network: the fields that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<FieldDifference>,
    pub disruptive: bool,
    pub outcome: SmolStr,
    /// Of a failed operation, where the contract has a word for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Of a failed operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// As `diff` prints it.
    #[serde(skip)]
    pub text: String,
}

impl OperationDocument {
    /// Whether it serves the object.
    pub fn concerns(&self, object: &str) -> bool {
        self.object == object || self.changes.iter().any(|change| change.object == object)
    }
}

/// A network that the tasks of a service are put on, or taken off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeDocument {
    pub object: String,
    pub cause: SmolStr,
    pub network: String,
    /// `false`: they are taken off it.
    pub attached: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NoteDocument {
    pub kind: NoteKind,
    pub reason: Reason,
    /// Absent where the note concerns no single server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    pub object: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    pub blockers: Vec<Blocker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub operations: usize,
    /// Notes of the kind Refused, and operations that found what a plan would have refused.
    pub refused: usize,
    /// Servers that could not be observed.
    pub unreachable: usize,
    pub failed: usize,
}

impl Outcome {
    /// As in the document.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Planned => "Planned",
            Outcome::Done => "Done",
            Outcome::Failed(_) => "Failed",
            Outcome::Skipped => "Skipped",
        }
    }
}

impl Report {
    pub fn document(&self) -> Document {
        let mut operations = Vec::new();
        let mut notes = Vec::new();
        for server in &self.servers {
            let name = server.server.path();
            let manager = server.manager.as_ref();
            operations.extend(server.operations.iter().map(|it| operation(&name, manager, it)));
            notes.extend(server.notes.iter().map(|it| note(Some(&name), it)));
        }
        notes.extend(self.notes.iter().map(|it| note(None, it)));
        let summary = Summary {
            operations: operations.len(),
            refused: self.tally().refused,
            unreachable: self.servers.iter().filter(|it| it.server_type.is_none()).count(),
            failed: operations.iter().filter(|it| it.outcome == "Failed").count(),
        };
        let manager = |server: &ObjectKey| self.servers.iter().find(|it| it.server == *server)?.manager.as_ref();
        let prune = self.prune.iter().map(|(server, it)| {
            let planned = OperationReport { operation: it.clone(), outcome: Outcome::Planned };
            operation(&server.path(), manager(server), &planned)
        });
        let prune = prune.collect();
        let servers = self.servers.iter().map(|server| ServerDocument {
            name: server.server.path(),
            reachable: server.server_type.is_some(),
            server_type: server.server_type,
        });
        Document {
            format_version: FORMAT_VERSION.into(),
            set: self.set.clone(),
            revision: self.revision.clone(),
            servers: servers.collect(),
            operations,
            notes,
            prune,
            summary,
        }
    }
}

fn operation(server: &str, manager: Option<&ObjectKey>, report: &OperationReport) -> OperationDocument {
    let OperationReport { operation, outcome } = report;
    let (reason, message, hint) = match outcome {
        Outcome::Failed(failure) => (failure.reason, Some(failure.message.clone()), failure.hint.clone()),
        Outcome::Planned | Outcome::Done | Outcome::Skipped => (None, None, None),
    };
    OperationDocument {
        op: operation.call.name().into(),
        server: server.to_owned(),
        via: manager.filter(|_| operation.call.is_for_manager()).map(ObjectKey::path),
        object: operation.object.to_string(),
        network: operation.call.network().map(str::to_owned),
        container: operation.call.container().map(str::to_owned),
        service: operation.call.service().map(str::to_owned),
        changes: changes(&operation.call),
        cause: operation.cause.as_str().into(),
        differences: operation.replaces().to_vec(),
        disruptive: operation.disruptive,
        outcome: outcome.name().into(),
        reason,
        message,
        hint,
        text: operation.to_string(),
    }
}

fn changes(call: &Call) -> Vec<ChangeDocument> {
    let Call::UpdateService { changes, .. } = call else { return Vec::new() };
    let document = |change: &NetworkChange| ChangeDocument {
        object: change.object.to_string(),
        cause: change.cause.as_str().into(),
        network: change.network.name.clone(),
        attached: change.attachment.is_some(),
        aliases: change.attachment.iter().flat_map(|attachment| attachment.aliases.clone()).collect(),
    };
    changes.iter().map(document).collect()
}

fn note(server: Option<&str>, note: &Note) -> NoteDocument {
    let Note { kind, reason, object, message, hint, blockers, undone: _, again: _, turn: _, finding: _ } = note;
    NoteDocument {
        kind: *kind,
        reason: *reason,
        server: server.map(str::to_owned),
        object: object.to_string(),
        message: message.clone(),
        hint: hint.clone(),
        blockers: blockers.clone(),
    }
}
