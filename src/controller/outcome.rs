//! What a pass came to: judged for the loop, shown on the board, and written down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::board::ServerState;
use super::pass::{Done, PassEnded};
use super::run::Loop;
use super::state::{DestinationOutcome, PassOutcome};
use crate::api::ObjectKey;
use crate::desired::DesiredState;
use crate::plan::Withheld;
use crate::reconcile::Applied;
use crate::report::json::Document;
use crate::report::{Outcome, Report};
use crate::status::Status;
use crate::store::history::{EventRecord, EventType, PassRecord};

impl Loop {
    pub(super) fn take_pass(&mut self, server: &ObjectKey, ended: PassEnded) -> PassOutcome {
        let PassEnded { pass, took, held, result } = ended;
        self.shared.board.update(|board| board.counts.passes += 1);
        let Done { desired, applied: Applied { observed, report }, withheld } = match result {
            Ok(done) => done,
            Err(message) => {
                tracing::error!(server = %server.path(), pass, "{message}");
                self.shared.board.update(|board| board.counts.failed_passes += 1);
                let event = event_record(EventType::Warning, server, Some(server), "PassFailed", &message, Some(pass));
                self.record(&[], &[event]);
                return PassOutcome { unreachable: true, ..PassOutcome::default() };
            }
        };
        let reachable = matches!(observed.get(server), Some(Ok(_)));
        let destinations = self.judge(&desired, &report, reachable, &held);
        let fingerprint = withheld.as_ref().map(|withheld| withheld.fingerprint.clone());
        let document = report.document();
        self.remember(server, pass, took, &report, &document);
        if let Some(withheld) = &withheld {
            self.ask(server, pass, withheld);
        }
        self.show(
            server,
            pass,
            took,
            reachable,
            Status::new(&desired, &observed, &report),
            &report,
            document,
            withheld,
        );
        PassOutcome { unreachable: !reachable, destinations, withheld: fingerprint }
    }

    /// Says, once for each list, that deletions wait for somebody to agree.
    fn ask(&self, server: &ObjectKey, pass: u64, withheld: &Withheld) {
        let known = {
            let board = self.shared.board.read();
            let before = board.servers.get(&server.path()).and_then(|state| state.pending.as_ref());
            before.is_some_and(|before| before.fingerprint == withheld.fingerprint)
        };
        if known {
            return;
        }
        let names: Vec<_> = withheld.deletions.iter().map(|it| it.destination.to_string()).collect();
        let message = format!(
            "{} deletions wait for somebody to agree: {}. `landfall approve {}`, if they are meant.",
            names.len(),
            names.join(", "),
            withheld.fingerprint
        );
        tracing::warn!(server = %server.path(), pass, fingerprint = withheld.fingerprint, "{message}");
        let reason = "MassDeletionRefused";
        let event = event_record(EventType::Warning, server, Some(server), reason, &message, Some(pass));
        self.record(&[], &[event]);
    }

    /// What the pass came to, object by object.
    fn judge(
        &mut self,
        desired: &DesiredState,
        report: &Report,
        reachable: bool,
        held: &BTreeSet<ObjectKey>,
    ) -> BTreeMap<ObjectKey, DestinationOutcome> {
        let mut destinations: BTreeMap<ObjectKey, DestinationOutcome> = BTreeMap::new();
        let mut failed = BTreeSet::new();
        for operation in report.servers.iter().flat_map(|server| &server.operations) {
            let object = &operation.operation.object;
            match &operation.outcome {
                Outcome::Failed(_) | Outcome::Skipped => {
                    failed.insert(object.clone());
                    destinations.insert(object.clone(), DestinationOutcome::Failed);
                }
                Outcome::Planned => {}
                Outcome::Done if failed.contains(object) => {}
                Outcome::Done => {
                    let repaired = self.settled.contains(object);
                    if repaired {
                        let cause = operation.operation.cause.to_string();
                        self.shared.board.update(|board| *board.counts.repairs.entry(cause).or_default() += 1);
                    }
                    let outcome = if repaired { DestinationOutcome::Repaired } else { DestinationOutcome::Converged };
                    destinations.insert(object.clone(), outcome);
                }
            }
        }
        if reachable {
            let members = |it: &crate::desired::DesiredDestination| {
                it.members.iter().map(|member| member.resource.clone()).chain([it.key.clone()]).collect::<Vec<_>>()
            };
            let settled = desired.destinations().flat_map(|(_, destination)| members(destination));
            self.settled.extend(settled.filter(|object| !failed.contains(object) && !held.contains(object)));
        }
        destinations
    }

    #[allow(clippy::too_many_arguments, reason = "all that a pass brought, shown once")]
    fn show(
        &self,
        server: &ObjectKey,
        pass: u64,
        took: Duration,
        reachable: bool,
        status: Status,
        report: &Report,
        document: Document,
        withheld: Option<Withheld>,
    ) {
        if report.servers.iter().any(|it| !it.operations.is_empty()) || !reachable {
            tracing::info!(server = %server.path(), pass, ?took, "{}", report.summary());
        } else {
            tracing::debug!(server = %server.path(), pass, ?took, "nothing to do");
        }
        for operation in report.servers.iter().flat_map(|it| &it.operations) {
            if let Outcome::Failed(failure) = &operation.outcome {
                tracing::warn!(server = %server.path(), pass, operation = %operation.operation, error = failure.message, "failed");
            } else {
                tracing::info!(server = %server.path(), pass, operation = %operation.operation, "{}", operation.outcome.name());
            }
        }
        let shown = ServerState {
            pass,
            finished: jiff::Timestamp::now(),
            reachable,
            report: document,
            conditions: status.conditions.into_iter().map(|(key, conditions)| (key.to_string(), conditions)).collect(),
            pending: withheld,
        };
        self.shared.board.update(|board| {
            for operation in report.servers.iter().flat_map(|it| &it.operations) {
                let key = (operation.operation.call.name(), operation.outcome.name());
                *board.counts.operations.entry(key).or_default() += 1;
            }
            // The moment of a condition's last change outlives the pass that found it unchanged.
            let mut shown = shown;
            let before = board.servers.remove(&server.path());
            keep_transition_times(&mut shown, before.as_ref());
            if !reachable {
                shown.pending = before.and_then(|before| before.pending);
            }
            board.servers.insert(server.path(), shown);
        });
    }

    /// Writes down what the pass did. A pass that did nothing leaves no trace.
    fn remember(&self, server: &ObjectKey, pass: u64, took: Duration, report: &Report, document: &Document) {
        if document.operations.is_empty() {
            return;
        }
        let record = PassRecord {
            time: jiff::Timestamp::now(),
            pass,
            server: server.clone(),
            revision: None,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            operations: document.operations.iter().filter_map(|it| serde_json::to_value(it).ok()).collect(),
        };
        let events: Vec<_> = report
            .servers
            .iter()
            .flat_map(|it| &it.operations)
            .map(|it| {
                let operation = &it.operation;
                let (event_type, message) = match &it.outcome {
                    Outcome::Failed(failure) => (EventType::Warning, format!("{operation}: {}", failure.message)),
                    _ => (EventType::Normal, operation.to_string()),
                };
                event_record(
                    event_type,
                    &operation.object,
                    Some(server),
                    operation.cause.as_str(),
                    &message,
                    Some(pass),
                )
            })
            .collect();
        self.record(&[record], &events);
    }

    pub(super) fn record(&self, passes: &[PassRecord], events: &[EventRecord]) {
        if let Some(history) = &self.shared.history
            && let Err(error) = history.record(passes, events)
        {
            tracing::warn!(%error, "the history cannot be written; the loop goes on without");
        }
    }
}

pub(super) fn event_record(
    event_type: EventType,
    object: &ObjectKey,
    server: Option<&ObjectKey>,
    reason: &str,
    message: &str,
    pass: Option<u64>,
) -> EventRecord {
    EventRecord {
        time: jiff::Timestamp::now(),
        event_type,
        object: object.clone(),
        server: server.cloned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        pass,
    }
}

fn keep_transition_times(shown: &mut ServerState, before: Option<&ServerState>) {
    let now = shown.finished.to_string();
    for (object, conditions) in &mut shown.conditions {
        let before = before.and_then(|before| before.conditions.get(object));
        for condition in conditions {
            let same = before
                .into_iter()
                .flatten()
                .find(|it| it.condition_type == condition.condition_type && it.status == condition.status);
            condition.last_transition_time =
                same.and_then(|it| it.last_transition_time.clone()).or_else(|| Some(now.clone()));
        }
    }
}
