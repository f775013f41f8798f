//! What became of a plan.

pub mod json;
mod markdown;

use crate::core::api::ObjectKey;
use crate::core::plan::{Note, NoteKind, Operation, Plan, Reason, ServerPlan, ServerType};

/// A plan with the outcome of every operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub set: String,
    /// Revision of the manifests, where they come from a repository.
    pub revision: Option<String>,
    /// In the order of the plan.
    pub servers: Vec<ServerReport>,
    /// Notes that concern no single server.
    pub notes: Vec<Note>,
    /// What pruning would do besides, with the server; empty where it was asked for, or nobody asked.
    pub prune: Vec<(ObjectKey, Operation)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ServerReport {
    pub server: ObjectKey,
    /// `None`: the server could not be observed.
    pub server_type: Option<ServerType>,
    /// The manager that got the calls which are for one, where that is another server.
    pub manager: Option<ObjectKey>,
    pub operations: Vec<OperationReport>,
    pub notes: Vec<Note>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OperationReport {
    pub operation: Operation,
    pub outcome: Outcome,
}

impl OperationReport {
    /// See [`Operation::parts`]. All of them end alike.
    pub fn parts(&self) -> Vec<OperationReport> {
        let parts = self.operation.parts().into_iter();
        parts.map(|operation| OperationReport { operation, outcome: self.outcome.clone() }).collect()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Not executed: a dry run.
    Planned,
    Done,
    Failed(Failure),
    /// An earlier operation of its group failed.
    Skipped,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The contract's word for it, where there is one.
    pub reason: Option<Reason>,
    pub message: String,
    pub hint: Option<String>,
}

impl Failure {
    /// It did not go wrong: what was found since the plan was made is not Landfall's to touch.
    pub fn is_refusal(&self) -> bool {
        matches!(self.reason, Some(Reason::AdoptionRequired | Reason::OwnershipConflict))
    }
}

/// What a report comes to, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub planned: usize,
    pub done: usize,
    pub failed: usize,
    pub skipped: usize,
    /// Notes, and operations that were called off on finding what a plan would have refused.
    pub refused: usize,
    /// Servers that could not be observed.
    pub unreachable: usize,
}

impl Report {
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for server in &self.servers {
            tally.unreachable += usize::from(server.server_type.is_none());
            for operation in &server.operations {
                *match &operation.outcome {
                    Outcome::Planned => &mut tally.planned,
                    Outcome::Done => &mut tally.done,
                    Outcome::Failed(failure) if failure.is_refusal() => &mut tally.refused,
                    Outcome::Failed(_) => &mut tally.failed,
                    Outcome::Skipped => &mut tally.skipped,
                } += 1;
            }
        }
        let notes = self.servers.iter().flat_map(|server| &server.notes).chain(&self.notes);
        tally.refused += notes.filter(|note| note.kind == NoteKind::Refused).count();
        tally
    }

    /// One line for people: `3 operations, 1 refused`.
    pub fn summary(&self) -> String {
        let Tally { planned, done, failed, skipped, refused, unreachable } = self.tally();
        let operations = |count, word| match count {
            1 => format!("1 operation {word}"),
            count => format!("{count} operations {word}"),
        };
        let mut parts = Vec::new();
        if planned > 0 {
            parts.push(format!("{} ({})", operations(planned, "planned"), self.kinds()));
        }
        if done > 0 {
            parts.push(operations(done, "done"));
        }
        for (count, word) in [(failed, "failed"), (skipped, "skipped"), (refused, "refused")] {
            if count > 0 {
                parts.push(format!("{count} {word}"));
            }
        }
        match unreachable {
            0 => {}
            1 => parts.push("1 server not reachable".to_owned()),
            count => parts.push(format!("{count} servers not reachable")),
        }
        if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") }
    }

    /// The report of a dry run.
    pub fn planned(plan: Plan) -> Self {
        let planned = |operation| OperationReport { operation, outcome: Outcome::Planned };
        let servers = plan.servers.into_iter().map(|server| ServerReport {
            manager: server.manager().cloned(),
            server: server.server,
            server_type: server.server_type,
            operations: server.groups.into_iter().flat_map(|group| group.operations).map(planned).collect(),
            notes: server.notes,
        });
        Self { set: plan.set, revision: None, servers: servers.collect(), notes: plan.notes, prune: Vec::new() }
    }

    /// Adds what the same plan with pruning does besides.
    #[must_use]
    pub fn with_prune(mut self, pruning: Plan) -> Self {
        for ServerPlan { server, groups, .. } in pruning.servers {
            let own = self.servers.iter().find(|it| it.server == server);
            let known: Vec<&Operation> = own.iter().flat_map(|it| &it.operations).map(|it| &it.operation).collect();
            let operations = groups.into_iter().flat_map(|group| group.operations);
            let besides = operations.filter(|operation| !known.contains(&operation));
            self.prune.extend(besides.map(|operation| (server.clone(), operation)));
        }
        self
    }

    /// Adds the report of other servers.
    pub fn extend(&mut self, other: Report) {
        self.servers.extend(other.servers);
        self.servers.sort_by(|one, other| one.server.cmp(&other.server));
        self.prune.extend(other.prune);
        self.prune.sort_by(|(one, _), (other, _)| one.cmp(other));
        for note in other.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// `3 to create, 1 to remove, 2 disruptive`: of what is planned.
    pub fn kinds(&self) -> String {
        let planned = self.servers.iter().flat_map(|server| &server.operations);
        let planned: Vec<&Operation> =
            planned.filter(|it| it.outcome == Outcome::Planned).map(|it| &it.operation).collect();
        let count = |sign| planned.iter().filter(|it| it.call.sign() == sign).count();
        let disruptive = planned.iter().filter(|it| it.disruptive).count();
        let words = [
            (count('+'), "to create"),
            (count('~'), "to change"),
            (count('-'), "to remove"),
            (disruptive, "disruptive"),
        ];
        let words = words.into_iter().filter(|(count, _)| *count > 0);
        words.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
    }
}
