//! What a pass came to: judged for the loop, shown on the board, and written down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::board::{ManifestState, ServerState};
use super::pass::{Done, PassEnded};
use super::run::Loop;
use super::state::{DestinationOutcome, PassOutcome};
use crate::api::{Condition, ConditionStatus, ObjectKey};
use crate::desired::DesiredState;
use crate::manifest::Diagnostic;
use crate::notice::Seen;
use crate::plan::{NoteKind, Reason, Withheld};
use crate::reconcile::Applied;
use crate::report::json::Document;
use crate::report::{OperationReport, Outcome, Report};
use crate::status::Status;
use crate::store::records::EventType;

pub(super) const CONTENDED: &str = "Something keeps undoing what is repaired; it is put back every few minutes only.";

/// Of what waits for an approval, in a line of the log.
const NAMED: usize = 20;

impl Loop {
    pub(super) fn take_pass(&mut self, server: &ObjectKey, ended: PassEnded) -> PassOutcome {
        let PassEnded { pass, took, held, result } = ended;
        self.shared.board.count(|counts| {
            counts.passes += 1;
            counts.took.add(took);
        });
        let Done { desired, applied: Applied { observed, mut report }, withheld, waiting } = match result {
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
        if reachable {
            // It has held until the next look: nobody undoes it any more.
            let seen = objects(&desired);
            let fought = |object: &ObjectKey| {
                held.contains(object) || destinations.get(object) == Some(&DestinationOutcome::Repaired)
            };
            self.contended.retain(|object| !seen.contains(object) || fought(object));
        }
        let fingerprint = withheld.as_ref().map(|withheld| withheld.fingerprint.clone());
        self.memory.pass(server, pass, took, self.revision.clone(), &report, &report.document());
        // What waits for another try has not gone away: conditions and diff go on showing it.
        let waiting = waiting.into_iter().map(|operation| OperationReport { operation, outcome: Outcome::Planned });
        if let Some(own) = report.servers.iter_mut().find(|own| own.server == *server) {
            own.operations.extend(waiting);
        }
        let document = report.document();
        if let Some(withheld) = &withheld {
            self.ask(server, pass, withheld);
        }
        self.explain(server, pass, &report, &document);
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

    /// Says, once for each list, that deletions or disconnections wait for an approval.
    fn ask(&self, server: &ObjectKey, pass: u64, withheld: &Withheld) {
        let known = {
            let board = self.shared.board.read();
            let before = board.servers.get(&server.path()).and_then(|state| state.pending.as_ref());
            before.is_some_and(|before| before.fingerprint == withheld.fingerprint)
        };
        if known {
            return;
        }
        let deletions = withheld.deletions.iter().map(|it| it.destination.to_string());
        let disconnections = withheld.disconnections.iter().map(|it| format!("{:?} from {:?}", it.name, it.network));
        let names: Vec<_> = deletions.chain(disconnections).take(NAMED).collect();
        let more = (withheld.deletions.len() + withheld.disconnections.len()).saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let set = match self.shared.options.set.as_str() {
            "default" => String::new(),
            set => format!(" --set {set}"),
        };
        let message = format!(
            "{} wait for somebody to agree: {}{more}. `landfall approve{set} {}`, if they are meant.",
            Withheld::counts(withheld.deletions.len(), withheld.disconnections.len()),
            names.join(", "),
            withheld.fingerprint
        );
        tracing::warn!(server = %server.path(), pass, fingerprint = withheld.fingerprint, "{message}");
        let reason = Reason::MassDeletionRefused.as_str();
        self.memory.event(EventType::Warning, Some(server), reason, &message, Some(pass));
    }

    /// Says in the log what is refused or waited for, once for as long as it lasts.
    fn explain(&self, server: &ObjectKey, pass: u64, report: &Report, document: &Document) {
        let notes = report.servers.iter().flat_map(|it| &it.notes).chain(&report.notes);
        let said = {
            let board = self.shared.board.read();
            board.servers.get(&server.path()).map(|state| state.report.notes.clone()).unwrap_or_default()
        };
        for (note, shown) in notes.zip(&document.notes).filter(|(_, shown)| !said.contains(shown)) {
            let (server, object, message) = (server.path(), &shown.object, &note.message);
            let reason = note.reason.as_str();
            match note.kind {
                // What waits for approval is asked for, with what it takes to give it.
                _ if note.reason == Reason::MassDeletionRefused => {}
                NoteKind::Refused => tracing::warn!(server, pass, object, reason, "refused: {message}"),
                NoteKind::Waiting => tracing::info!(server, pass, object, reason, "waiting: {message}"),
                NoteKind::Unmanaged | NoteKind::Suspended | NoteKind::Warning => {}
            }
        }
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
        for operation in report.servers.iter().flat_map(|server| &server.operations).flat_map(OperationReport::parts) {
            let object = &operation.operation.object;
            let drift = (object.clone(), operation.operation.cause);
            if self.settled.contains(object) && self.drifting.insert(drift.clone()) {
                self.shared.board.count(|counts| *counts.drift.entry(drift.1.to_string()).or_default() += 1);
            }
            if operation.outcome == Outcome::Done {
                self.drifting.remove(&drift);
            }
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
                        self.shared.board.count(|counts| *counts.repairs.entry(cause).or_default() += 1);
                    }
                    let outcome = if repaired { DestinationOutcome::Repaired } else { DestinationOutcome::Converged };
                    destinations.insert(object.clone(), outcome);
                }
            }
        }
        if reachable {
            let settled = objects(desired).into_iter();
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
            if operation.outcome == Outcome::Planned {
                continue;
            }
            if let Outcome::Failed(failure) = &operation.outcome {
                tracing::warn!(server = %server.path(), pass, operation = %operation.operation, error = failure.message, "failed");
            } else {
                tracing::info!(server = %server.path(), pass, operation = %operation.operation, "{}", operation.outcome.name());
            }
        }
        let finished = jiff::Timestamp::now();
        mark_contended(&mut status.conditions, &self.contended);
        self.memory.conditions(server, finished, &mut status.conditions);
        let mut shown = ServerState::new(server, pass, finished, status, document);
        shown.pending = withheld;
        self.shared.board.passed(server, shown, report);
    }
}

/// `Stalled`, with the reason `Contended`, on what something keeps changing back.
fn mark_contended(conditions: &mut BTreeMap<ObjectKey, Vec<Condition>>, contended: &BTreeSet<ObjectKey>) {
    let fought = conditions.iter_mut().filter(|(key, _)| contended.contains(key));
    for condition in fought.flat_map(|(_, conditions)| conditions).filter(|it| it.condition_type == "Stalled") {
        condition.status = ConditionStatus::True;
        condition.reason = "Contended".to_owned();
        condition.message = CONTENDED.to_owned();
    }
}

/// The destinations of the state and the resources on them.
fn objects(desired: &DesiredState) -> BTreeSet<ObjectKey> {
    let destinations = desired.destinations().map(|(_, destination)| destination);
    destinations.flat_map(|it| it.members.iter().map(|member| &member.resource).chain([&it.key])).cloned().collect()
}

/// Says in conditions what is wrong with the manifests, or that nothing is.
pub(super) fn judge_manifests(manifests: &mut ManifestState, now: jiff::Timestamp) {
    let problems = &manifests.problems;
    let message = match (problems.first(), problems.len()) {
        (None, _) => String::new(),
        (Some(problem), 1) => format!("{} The last good manifests stay in force.", sentence(problem)),
        (Some(problem), count) => {
            format!("{count} problems; the first: {} The last good manifests stay in force.", sentence(problem))
        }
    };
    let valid = problems.is_empty();
    let condition = |name: &str, holds: bool| {
        let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
        let same = manifests.conditions.iter().find(|it| it.condition_type == name && it.status == status);
        Condition {
            condition_type: name.to_owned(),
            status,
            reason: if valid { "ManifestValid".to_owned() } else { Reason::ManifestInvalid.to_string() },
            message: message.clone(),
            observed_generation: Some(manifests.generation),
            // To the second, as Kubernetes has it.
            last_transition_time: same.map_or_else(|| Some(format!("{now:.0}")), |it| it.last_transition_time.clone()),
        }
    };
    manifests.conditions = vec![condition("Ready", valid), condition("Stalled", !valid)];
}

/// The first line of a diagnostic, as a sentence.
fn sentence(problem: &Diagnostic) -> String {
    let text = problem.to_string();
    let line = text.lines().next().unwrap_or_default().trim_end_matches('.');
    format!("{line}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;

    fn at(seconds: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(seconds).unwrap()
    }

    fn stalled(status: ConditionStatus) -> Condition {
        Condition {
            condition_type: "Stalled".to_owned(),
            status,
            reason: "NothingRefused".to_owned(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: None,
        }
    }

    #[test]
    fn what_something_keeps_changing_back_is_stalled_with_that_reason_and_nothing_else_is() {
        let key = |name| ObjectKey::new(Kind::Destination, "shop", name);
        let mut conditions: BTreeMap<_, _> =
            ["web", "api"].map(|name| (key(name), vec![stalled(ConditionStatus::False)])).into();
        mark_contended(&mut conditions, &[key("web")].into());
        let found = &conditions[&key("web")][0];
        assert_eq!((found.status, found.reason.as_str()), (ConditionStatus::True, "Contended"));
        assert_eq!(conditions[&key("api")], [stalled(ConditionStatus::False)]);
    }

    #[test]
    fn wrong_manifests_are_a_condition_whose_time_moves_only_when_it_changes() {
        let mut manifests = ManifestState { generation: 1, ..ManifestState::default() };
        judge_manifests(&mut manifests, at(1));
        let said = |manifests: &ManifestState| {
            let [ready, stalled] = manifests.conditions.as_slice() else { panic!("two conditions") };
            (ready.status, stalled.status, stalled.reason.clone(), stalled.last_transition_time.clone())
        };
        let (yes, no) = (ConditionStatus::True, ConditionStatus::False);
        assert_eq!(said(&manifests), (yes, no, "ManifestValid".to_owned(), Some(at(1).to_string())));
        for time in [2, 3] {
            manifests.problems = vec![Diagnostic::of_file("web.yaml", format!("wrong in way {time}"))];
            judge_manifests(&mut manifests, at(time));
            assert_eq!(said(&manifests), (no, yes, "ManifestInvalid".to_owned(), Some(at(2).to_string())));
            assert!(manifests.conditions[0].message.contains(&format!("wrong in way {time}")));
        }
        manifests.problems.clear();
        judge_manifests(&mut manifests, at(4));
        assert_eq!(said(&manifests), (yes, no, "ManifestValid".to_owned(), Some(at(4).to_string())));
    }
}
