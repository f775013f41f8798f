//! Attempts to run something that failed: the planner makes none of them again before something changes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::api::ObjectKey;
use crate::plan::Reason;
use crate::report::{Outcome, Report};

/// Of one server. Beyond it the oldest names are forgotten, and may be tried once more.
const MOST: usize = 1000;

/// By server and by what an attempt stands for, with what was said of it.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<BTreeMap<ObjectKey, BTreeMap<String, String>>>);

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
                    && failure.reason == Some(Reason::HealthCheckFailed)
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

    /// Somebody asks for another try.
    pub(super) fn forget(&self, server: Option<&ObjectKey>) {
        self.lock().retain(|key, _| server.is_some_and(|server| server != key));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, BTreeMap<String, String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
