//! What a pass came to: judged for the loop, shown on the board, and written down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::board::ServerState;
use super::pass::{Done, PassEnded};
use super::run::Loop;
use super::state::{DestinationOutcome, PassOutcome};
use crate::api::ObjectKey;
use crate::desired::DesiredState;
use crate::notice::Seen;
use crate::plan::{Reason, Withheld};
use crate::reconcile::Applied;
use crate::report::json::Document;
use crate::report::{Outcome, Report};
use crate::status::Status;
use crate::store::records::EventType;

impl Loop {
    pub(super) fn take_pass(&mut self, server: &ObjectKey, ended: PassEnded) -> PassOutcome {
        let PassEnded { pass, took, held, result } = ended;
        self.shared.board.update(|board| board.counts.passes += 1);
        let Done { desired, applied: Applied { observed, report }, withheld } = match result {
            Ok(done) => done,
            Err(message) => {
                tracing::error!(server = %server.path(), pass, "{message}");
                self.shared.board.update(|board| board.counts.failed_passes += 1);
                self.memory.event(EventType::Warning, Some(server), "PassFailed", &message, Some(pass));
                return PassOutcome { unreachable: true, ..PassOutcome::default() };
            }
        };
        let reachable = matches!(observed.get(server), Some(Ok(_)));
        // What is settled is so from before this pass: what of it differs has moved.
        let unobserved = observed.get(server).and_then(|seen| seen.as_ref().err());
        let settled = &self.settled;
        self.shared.notifiers.passed(Seen { server, unobserved, report: &report, settled, held: &held });
        let destinations = self.judge(&desired, &report, reachable, &held);
        let fingerprint = withheld.as_ref().map(|withheld| withheld.fingerprint.clone());
        let document = report.document();
        self.memory.pass(server, pass, took, self.revision.clone(), &report, &document);
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
        let reason = Reason::MassDeletionRefused.as_str();
        self.memory.event(EventType::Warning, Some(server), reason, &message, Some(pass));
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
        &mut self,
        server: &ObjectKey,
        pass: u64,
        took: Duration,
        reachable: bool,
        mut status: Status,
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
        let finished = jiff::Timestamp::now();
        self.memory.conditions(server, finished, &mut status.conditions);
        let mut shown = ServerState {
            pass,
            finished,
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
            let before = board.servers.remove(&server.path());
            if !reachable {
                shown.pending = before.and_then(|before| before.pending);
            }
            board.servers.insert(server.path(), shown);
        });
    }
}
