//! What became of a plan.

pub mod json;

use crate::api::ObjectKey;
use crate::plan::{Note, Operation, Plan, Reason, ServerType};

/// A plan with the outcome of every operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub set: String,
    /// In the order of the plan.
    pub servers: Vec<ServerReport>,
    /// Notes that concern no single server.
    pub notes: Vec<Note>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ServerReport {
    pub server: ObjectKey,
    /// `None`: the server could not be observed.
    pub server_type: Option<ServerType>,
    pub operations: Vec<OperationReport>,
    pub notes: Vec<Note>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OperationReport {
    pub operation: Operation,
    pub outcome: Outcome,
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

impl Report {
    /// The report of a dry run.
    pub fn planned(plan: &Plan) -> Self {
        Self {
            set: plan.set.clone(),
            servers: plan
                .servers
                .iter()
                .map(|server| ServerReport {
                    server: server.server.clone(),
                    server_type: server.server_type,
                    operations: server
                        .groups
                        .iter()
                        .flat_map(|group| &group.operations)
                        .map(|operation| OperationReport { operation: operation.clone(), outcome: Outcome::Planned })
                        .collect(),
                    notes: server.notes.clone(),
                })
                .collect(),
            notes: plan.notes.clone(),
        }
    }
}
