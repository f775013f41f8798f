//! Operations, and the groups of those that belong together.

use super::call::{Call, NetworkChange};
use super::cause::Cause;
use super::journal::Journal;
use super::target::{Connection, FieldDifference};
use super::workload_call::WorkloadCall;
use crate::core::api::ObjectKey;

/// Operations that belong together because a later one relies on an earlier one.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub object: ObjectKey,
    pub operations: Vec<Operation>,
    /// What to write down durably before the first operation, because a crash midway would otherwise lose it. It goes when the group is done
    /// or completely undone; that of a forced deletion stays, for people.
    pub journal: Option<Journal>,
    /// Journals of interrupted groups that this one helps to restore. One of them goes when every group that names it is done; undoing is
    /// not enough.
    pub completes: Vec<Journal>,
    /// Connections that earlier groups make and that have to be seen in place before the first operation. Without one of them the group is
    /// skipped: nobody is let go before somebody else serves.
    pub needs: Vec<Connection>,
    /// Resources whose groups, as far as the plan has them before this one, have to be done first: those that depend on one that goes.
    pub after: Vec<ObjectKey>,
}

impl Group {
    /// Operations that nothing has to be written down for, and that wait for nothing.
    pub(crate) fn new(object: &ObjectKey, operations: Vec<Operation>) -> Self {
        let (completes, needs, after) = (Vec::new(), Vec::new(), Vec::new());
        Self { object: object.clone(), operations, journal: None, completes, needs, after }
    }

    /// One operation by itself.
    pub(crate) fn of(operation: Operation) -> Self {
        Self::new(&operation.object.clone(), vec![operation])
    }

    pub(crate) fn journal(self, journal: Journal) -> Self {
        Self { journal: Some(journal), ..self }
    }

    pub(crate) fn needs(self, needs: Vec<Connection>) -> Self {
        Self { needs, ..self }
    }

    pub(crate) fn completes(self, completes: Vec<Journal>) -> Self {
        Self { completes, ..self }
    }
}

/// One Docker API call.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// The declared object it serves.
    pub object: ObjectKey,
    pub call: Call,
    pub cause: Cause,
    /// Existing connections break or tasks restart.
    pub disruptive: bool,
    /// What puts things back, as they were observed, when a later operation of the group fails. Run in reverse order. Where undoing has
    /// created a removed network again, its old id stands for the new one from there on.
    pub undo: Option<Call>,
}

impl Operation {
    /// One that breaks nothing, and that nothing puts back.
    pub(crate) fn new(object: &ObjectKey, call: Call, cause: Cause) -> Self {
        Self { object: object.clone(), call, cause, disruptive: false, undo: None }
    }

    pub(crate) fn disruptive(self, disruptive: bool) -> Self {
        Self { disruptive, ..self }
    }

    pub(crate) fn undone_by(self, undo: Option<Call>) -> Self {
        Self { undo, ..self }
    }

    /// Of one that makes a network anew: what differs.
    pub fn replaces(&self) -> &[FieldDifference] {
        match &self.call {
            Call::CreateNetwork(create) => &create.replaces,
            _ => &[],
        }
    }
}

impl Operation {
    /// The operation as it would be for each thing that it does by itself: the changes of a service are of several objects, for causes of their own.
    pub fn parts(&self) -> Vec<Operation> {
        let Call::UpdateService { service, changes } = &self.call else { return vec![self.clone()] };
        let part = |change: &NetworkChange| Operation {
            object: change.object.clone(),
            call: Call::UpdateService { service: service.clone(), changes: vec![change.clone()] },
            cause: if self.cause == Cause::Rollback { self.cause } else { change.cause },
            ..self.clone()
        };
        changes.iter().map(part).collect()
    }

    /// The declared objects it serves.
    pub fn objects(&self) -> Vec<&ObjectKey> {
        match &self.call {
            Call::UpdateService { changes, .. } => changes.iter().map(|change| &change.object).collect(),
            _ => vec![&self.object],
        }
    }
}

impl Group {
    /// Whether it makes, changes or removes what Landfall runs.
    pub fn is_of_workload(&self) -> bool {
        self.operations.iter().any(|operation| matches!(operation.call, Call::Workload(_)))
    }
}

impl Group {
    pub(crate) fn makes_container(&self) -> bool {
        self.operations.iter().any(|operation| {
            matches!(&operation.call, Call::Workload(call) if matches!(**call, WorkloadCall::CreateContainer { .. }))
        })
    }
}
