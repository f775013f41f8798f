//! Attempts to run something that failed: the planner makes none of them again before something changes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::api::ObjectKey;
use crate::core::plan::workload::call::WorkloadCall;
use crate::core::plan::{Call, Operation, Reason};
use crate::core::report::{Outcome, Report, ServerReport};

/// Of one server. Beyond it the oldest names are forgotten, and may be tried once more.
const MOST: usize = 1000;

/// By server and by what an attempt stands for, with what was said of it.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<BTreeMap<ObjectKey, BTreeMap<String, String>>>);

/// Whether what could not be started has had a container stopped that served. Trying again would stop that each time.
fn stops_another(server: &ServerReport, failed: &Operation) -> bool {
    let stops =
        |call: &Call| matches!(call, Call::Workload(call) if matches!(**call, WorkloadCall::StopContainer { .. }));
    server.operations.iter().any(|it| it.operation.object == failed.object && stops(&it.operation.call))
}

impl Attempts {
    pub(super) fn of(&self, server: &ObjectKey) -> BTreeMap<String, String> {
        self.lock().get(server).cloned().unwrap_or_default()
    }

    /// Remembers the failures of a pass.
    pub(super) fn learn(&self, report: &Report) {
        for server in &report.servers {
            for operation in &server.operations {
                if let (Outcome::Failed(failure), Some(attempt)) =
                    (&operation.outcome, operation.operation.call.attempt())
                    && (failure.reason == Some(Reason::HealthCheckFailed)
                        || stops_another(server, &operation.operation))
                {
                    let mut all = self.lock();
                    let known = all.entry(server.server.clone()).or_default();
                    if known.len() >= MOST {
                        known.pop_first();
                    }
                    known.insert(attempt.to_owned(), failure.message.clone());
                }
            }
        }
    }

    /// Asked for another try.
    pub(super) fn forget(&self, server: Option<&ObjectKey>) {
        self.lock().retain(|key, _| server.is_some_and(|server| server != key));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, BTreeMap<String, String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::api::Kind;
    use crate::core::observed::ContainerId;
    use crate::core::plan::workload::call::{ContainerRef, Readiness};
    use crate::core::plan::{Cause, ContainerTarget, Plan};
    use crate::core::report::{Failure, OperationReport};

    fn key(kind: Kind, name: &str) -> ObjectKey {
        ObjectKey::new(kind, "shop", name)
    }

    fn operation(object: &str, call: WorkloadCall, outcome: Outcome) -> OperationReport {
        let object = key(Kind::Application, object);
        let call = Call::Workload(Box::new(call));
        let operation = Operation { object, call, cause: Cause::WorkloadDiffers, disruptive: false, undo: None };
        OperationReport { operation, outcome }
    }

    /// What could not be started, and perhaps another container that was stopped for it.
    fn learned(reason: Option<Reason>, stopped: Option<&str>) -> BTreeMap<String, String> {
        let target =
            || ContainerTarget { name: "frontend".to_owned(), id: ContainerId::try_from("4f".repeat(32)).unwrap() };
        let stop =
            |object| operation(object, WorkloadCall::StopContainer { container: target(), drain: None }, Outcome::Done);
        let failure = Failure { reason, message: "port is already allocated".to_owned(), hint: None };
        let start = WorkloadCall::StartContainer {
            container: ContainerRef::Existing(target()),
            ready: Readiness { timeout: 5, stable: 5 },
            attempt: "0a1b".to_owned(),
            job: None,
        };
        let start = operation("frontend", start, Outcome::Failed(failure));
        let server = ServerReport {
            server: key(Kind::Server, "edge"),
            server_type: None,
            manager: None,
            operations: stopped.map(stop).into_iter().chain([start]).collect(),
            notes: Vec::new(),
        };
        let attempts = Attempts::default();
        let plan = Plan { set: "default".to_owned(), servers: Vec::new(), notes: Vec::new() };
        attempts.learn(&Report { servers: vec![server], ..Report::planned(plan) });
        attempts.of(&key(Kind::Server, "edge"))
    }

    #[test]
    fn what_stopped_another_in_vain_is_not_tried_again_and_what_stopped_nothing_is() {
        assert_eq!(learned(None, Some("frontend"))["0a1b"], "port is already allocated");
        assert!(learned(None, None).is_empty(), "the port may be free the next time");
        assert!(learned(None, Some("backend")).is_empty(), "of another resource");
        assert!(learned(Some(Reason::ContainerMissing), None).is_empty(), "a removal in between says nothing");
        assert_eq!(learned(Some(Reason::HealthCheckFailed), None).len(), 1);
    }
}
