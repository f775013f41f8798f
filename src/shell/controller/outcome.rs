//! What a pass came to: judged for the loop, shown on the board, and written down.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use smol_str::format_smolstr;

use super::backoff::{FIGHT, FREE_REPAIRS, LONGEST_REPAIR_WAIT};
use super::board::{Found, Levels, ManifestState, ServerState};
use super::pass::{Done, PassEnded};
use super::reported::Reported;
use super::run::{Loop, Options};
use super::sinks::{self, waiting};
use super::state::{Fought, Judged, Observed, PassOutcome, SubjectOutcome};
use super::subject::{InWords, Subject, Touched};
use crate::core::api::{Condition, ConditionStatus, ObjectKey, Statement};
use crate::core::changes::{Change, Seen, Standing, changes};
use crate::core::desired::DesiredState;
use crate::core::manifest::Diagnostic;
use crate::core::observed::{Observations, Unobserved, UnobservedReason};
use crate::core::plan::facts::{NetworkUse, ServerFacts};
use crate::core::plan::{Call, Cause, Note, Operation, Reason, Undone, Withheld};
use crate::core::report::{OperationReport, Outcome, Report, ServerReport};
use crate::core::standing::ConditionType;
use crate::core::status::Status;
use crate::core::subnets::{self, ServerUse};
use crate::shell::reconcile::Applied;
use crate::shell::store::approval;
use crate::shell::store::records::{APPROVAL_PENDING, CONTENDED, EventType};

/// Of what is fought over, in one sentence.
const FOUGHT: usize = 5;

/// What a pass shows of its server, before the loop has judged it.
pub(super) struct Shown {
    /// `false`: the server was not observed.
    reachable: bool,
    facts: Option<Arc<Found>>,
    uses: Vec<NetworkUse>,
    conditions: BTreeMap<ObjectKey, Vec<Condition>>,
    report: Reported,
    /// The report in a line.
    summary: String,
    usage: Option<ServerUse>,
}

impl Shown {
    /// `desired` is of one server. What waits has not gone away: conditions and diff go on showing it.
    pub(super) fn new(
        options: &Options,
        desired: &DesiredState,
        observed: &Observations,
        report: &Report,
        withheld: Option<&Withheld>,
        waiting: Vec<Operation>,
    ) -> Self {
        let mut whole = report.clone();
        let declared = desired.servers.first_key_value();
        if let Some((server, _)) = declared
            && let Some(own) = whole.servers.iter_mut().find(|own| own.server == *server)
        {
            let waiting = waiting.into_iter().map(|operation| OperationReport { operation, outcome: Outcome::Planned });
            own.operations.extend(waiting);
            // There is a controller to agree to it here, to that and nothing else.
            let hint = withheld.map(|it| format!("{} If not, bring the manifests back.", options.way_to_agree(it)));
            let asked = |note: &&mut Note| note.reason == Reason::MassDeletionRefused && note.object == *server;
            if let Some(hint) = hint {
                own.notes.iter_mut().filter(asked).for_each(|note| note.hint = Some(hint.clone()));
            }
        }
        let mut status = Status::new(desired, observed, &whole);
        let facts = declared.and_then(|(server, _)| status.servers.remove(server).flatten());
        let state = declared.and_then(|(server, declared)| Some((declared, observed.get(server)?.as_ref().ok()?)));
        Self {
            reachable: state.is_some(),
            uses: facts.as_ref().map(ServerFacts::uses).unwrap_or_default(),
            facts: facts.map(Found::new).map(Arc::new),
            conditions: status.conditions,
            report: Reported::new(whole.document()),
            summary: whole.summary().to_string(),
            usage: state.map(|(declared, state)| subnets::of_server(declared, state)),
        }
    }

    /// What the server says of itself; empty where it was not looked at.
    fn engine(&self, server: &ObjectKey) -> &str {
        let reachable = |it: &&Condition| it.condition_type == ConditionType::Reachable.as_str();
        let condition = self.conditions.get(server).and_then(|all| all.iter().find(reachable));
        condition.map_or("", |it| it.message.as_str())
    }
}

/// What is shown of a pass once the loop has judged it.
pub(super) struct Showing {
    server: ObjectKey,
    pass: u64,
    took: Duration,
    broken: bool,
    shown: Shown,
    report: Report,
    withheld: Option<Withheld>,
}

impl Showing {
    pub(super) fn server(&self) -> &ObjectKey {
        &self.server
    }
}

impl Options {
    fn way_to_agree(&self, withheld: &Withheld) -> String {
        let Self { set, state, .. } = self;
        format!("`{}`, if that is meant.", approval(&withheld.fingerprint, set, state.as_deref()))
    }
}

impl Loop {
    /// What the pass came to, and what is to be shown of it.
    pub(super) fn take_pass(&mut self, server: &ObjectKey, ended: PassEnded) -> (PassOutcome, Showing) {
        let PassEnded { pass, took, result, fence: _ } = ended;
        self.shared.board.count(|counts| {
            counts.passes += 1;
            counts.took.add(took);
        });
        let broken = result.is_err();
        let Done { desired, report, unobserved, withheld, ended, held, shown, rollout, refresh } =
            result.unwrap_or_else(|message| self.broken(server, pass, message));
        if let (Some(revision), Some(sharing)) = (ended, &mut self.sharing) {
            sharing.withdraw(server, revision);
        }
        let is_stale = refresh.is_some();
        if let Some(refresh) = refresh {
            self.refreshes.insert(server.clone(), refresh);
        }
        let reachable = shown.reachable;
        // What is settled is so from before this pass: what of it differs has moved.
        let settled = self.settled_on(server);
        let seen = Seen {
            server,
            unobserved: unobserved.as_ref(),
            report: &report,
            withheld: withheld.as_ref(),
            settled: &settled,
            held: &held,
            partial: false,
        };
        let (standing, changes) = changes(&self.standing_of(server), seen);
        self.tell(server, pass, standing, &changes, shown.engine(server));
        let (subjects, touched, failed) = judge(&report, &settled);
        if reachable {
            self.settle(server, settled, &desired, |object| failed.contains(object) || held.contains(object));
        }
        let notes = report.servers.iter().flat_map(|it| &it.notes);
        let again = notes.filter_map(|note| note.again).min().map(|seconds| Duration::from_secs(seconds.into()));
        let outcome = match reachable {
            true => PassOutcome::Observed(Observed {
                again,
                subjects,
                touched,
                withheld: withheld.as_ref().map(|withheld| withheld.fingerprint.clone()),
                rollout,
                refresh: is_stale,
            }),
            false if broken => PassOutcome::Broken,
            false => PassOutcome::NotObserved,
        };
        self.memory.pass(server, pass, took, self.revision.clone(), &report);
        if let Some(usage) = &shown.usage {
            self.keep_levels(server, usage);
        }
        let server = server.clone();
        (outcome, Showing { server, pass, took, broken, shown, report, withheld })
    }

    /// What stood on the server after the last pass over it; before the first, as far as it was written down or another controller has shown it.
    fn standing_of(&self, server: &ObjectKey) -> Cow<'_, Standing> {
        match self.standings.get(server) {
            Some(standing) => Cow::Borrowed(standing),
            None => {
                let board = self.shared.board.read();
                let withheld = board.servers.get(&server.path()).and_then(|state| state.pending.as_ref());
                Cow::Owned(Standing::recalled(&self.memory.said_of(server), withheld))
            }
        }
    }

    /// Tells everyone whom it concerns what has changed.
    fn tell(&mut self, server: &ObjectKey, pass: u64, standing: Standing, changes: &[Change], engine: &str) {
        self.standings.insert(server.clone(), standing);
        if changes.is_empty() {
            return;
        }
        for change in changes {
            if let Change::Drifted { operation, .. } = change {
                self.record_deed(server, operation);
            }
        }
        let agree = |withheld: &Withheld| self.shared.options.way_to_agree(withheld);
        let of = sinks::Of { server, pass, engine, agree: &agree };
        let now = jiff::Timestamp::now();
        changes.iter().for_each(|change| sinks::log(&of, change));
        self.memory.events(changes.iter().filter_map(|change| sinks::event(&of, change, now)).collect());
        self.shared.board.count(|counts| changes.iter().for_each(|change| sinks::count(counts, change)));
        self.shared.notifiers.tell(sinks::notices(&of, changes));
    }

    /// Keeps how much of the server's addresses is used, twice a day, for forecasts.
    fn keep_levels(&self, server: &ObjectKey, usage: &ServerUse) {
        let now = jiff::Timestamp::now().as_second();
        if let Some(kept) = self.shared.usage.as_ref().filter(|kept| kept.is_due(server, now)) {
            let levels: Vec<_> = usage.levels().collect();
            kept.add(Some(server), now, levels.into_iter());
        }
    }

    /// A pass of which nothing came: the server is as unknown as one that does not answer, and that is said in the same places.
    fn broken(&self, server: &ObjectKey, pass: u64, message: String) -> Done {
        tracing::error!(server = %server.path(), pass, "{message}");
        self.shared.board.count(|counts| counts.failed_passes += 1);
        let desired = self.desired.focused(server);
        let note = Note::warning(Reason::PassFailed, server, message.clone());
        let report = Report {
            set: desired.set.clone(),
            revision: self.revision.clone(),
            servers: vec![ServerReport {
                server: server.clone(),
                server_type: None,
                manager: None,
                operations: Vec::new(),
                notes: vec![note],
            }],
            notes: Vec::new(),
            prune: Vec::new(),
        };
        let unobserved = Unobserved { reason: UnobservedReason::PassFailed, message, hint: None };
        let observed = [(server.clone(), Err(unobserved))].into();
        let applied = Applied { observed, report };
        Done::new(&self.shared.options, desired, applied, None, Vec::new(), false, None)
    }

    /// What a rollout came to. What there is now is shown by the pass that follows.
    pub(super) fn take_rollout(&mut self, server: &ObjectKey, ended: PassEnded) -> PassOutcome {
        let PassEnded { pass, took, result, fence: _ } = ended;
        let broken = result.is_err();
        let Done { report, unobserved, shown, .. } =
            result.unwrap_or_else(|message| self.broken(server, pass, message));
        let (reachable, unobserved) = (shown.reachable, unobserved.as_ref());
        // It looks after one lane only: of everything else nothing follows.
        let held = BTreeSet::from([server.clone()]);
        let settled = &self.settled_on(server);
        let seen = Seen { server, unobserved, report: &report, withheld: None, settled, held: &held, partial: true };
        let (standing, changes) = changes(&self.standing_of(server), seen);
        self.tell(server, pass, standing, &changes, shown.engine(server));
        let (subjects, touched, _) = judge(&report, settled);
        self.memory.pass(server, pass, took, self.revision.clone(), &report);
        if report.servers.iter().any(|it| !it.operations.is_empty()) {
            tracing::info!(server = %server.path(), pass, ?took, "rollout: {}", report.summary());
        }
        match reachable {
            true => PassOutcome::Observed(Observed { subjects, touched, ..Observed::default() }),
            false if broken => PassOutcome::Broken,
            false => PassOutcome::NotObserved,
        }
    }

    /// The proxy of a server has looked again.
    pub(super) fn take_refresh(&mut self, server: &ObjectKey, pass: u64, took: Duration, report: &Report) {
        self.memory.pass(server, pass, took, self.revision.clone(), report);
        for operation in report.servers.iter().flat_map(|it| &it.operations) {
            let outcome = operation.outcome.name();
            tracing::info!(server = %server.path(), pass, ?took, operation = %operation.operation, "{outcome}");
        }
        for note in report.servers.iter().flat_map(|it| &it.notes) {
            tracing::warn!(server = %server.path(), pass, reason = note.reason.as_str(), "{}", note.message);
        }
        self.shared.board.refreshed(report);
    }

    /// What happened to it, besides what is done about it: by the daemon's own time. Where it has not told, nobody knows.
    fn record_deed(&mut self, server: &ObjectKey, operation: &Operation) {
        let Call::ConnectEndpoint { network, container, .. } = &operation.call else { return };
        if !matches!(operation.cause, Cause::MemberDetached | Cause::ProxyDetached) {
            return;
        }
        let told = network.id.clone().and_then(|id| self.deeds.remove(&(server.clone(), id, container.id.clone())));
        // A container that was made anew was not there before.
        let Some(time) = told else { return };
        let message = format!("{} was disconnected from {}.", container.name, network.name);
        self.memory.happened_at(time, EventType::Warning, server, &operation.object, "Disconnected", &message);
    }

    /// What of what is declared on the server has been as declared since that last changed: what moves now is drift.
    fn settled_on(&self, server: &ObjectKey) -> HashSet<ObjectKey> {
        let (Some(open), Some(declared)) = (self.open.get(server), self.desired.servers.get(server)) else {
            return HashSet::new();
        };
        declared.on_it().filter(|object| !open.contains(*object)).cloned().collect()
    }

    /// Adds to that what the pass has found or made as declared. `passed`: what it went by. `lacking`: what is not as it should be yet.
    fn settle(
        &mut self,
        server: &ObjectKey,
        mut settled: HashSet<ObjectKey>,
        passed: &DesiredState,
        lacking: impl Fn(&ObjectKey) -> bool,
    ) {
        let Some(declared) = self.desired.servers.get(server) else { return };
        settled.extend(objects(passed).into_iter().filter(|object| !lacking(object)));
        let open = declared.on_it().filter(|object| !settled.contains(*object)).cloned().collect();
        self.open.insert(server.clone(), open);
    }

    /// Shows a pass. `contended`: what something keeps undoing on the server.
    pub(super) fn show(&mut self, showing: Showing, contended: &BTreeMap<ObjectKey, Vec<Fought>>) {
        let Showing { server, pass, took, broken, shown, report, withheld } = showing;
        let Shown { reachable, facts, uses, mut conditions, report: reported, summary, usage } = shown;
        let (server, report) = (&server, &report);
        if !reported.operations().is_empty() || !reachable {
            tracing::info!(server = %server.path(), pass, ?took, "{summary}");
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
        mark_contended(&mut conditions, contended);
        if let (Some(withheld), Some(conditions)) = (&withheld, conditions.get_mut(server)) {
            conditions.push(Condition::from(Statement {
                condition_type: APPROVAL_PENDING.into(),
                status: ConditionStatus::True,
                reason: Reason::MassDeletionRefused.as_str().into(),
                message: format!("{}. {}", waiting(withheld), self.shared.options.way_to_agree(withheld)).into(),
                observed_generation: None,
                last_transition_time: None,
            }));
        }
        let conditions = self.memory.conditions(server, finished, conditions);
        self.memory.networks(server, &uses);
        let mut shown = ServerState::of(pass, finished, facts, reported);
        shown.conditions = conditions;
        shown.pending = withheld;
        shown.usage = usage.as_ref().map(Levels::of);
        shown.failed_attempts = self.shared.attempts.of(server);
        shown.broken = u32::from(broken);
        let shown = self.shared.board.passed(server, shown, report);
        if let Some(sharing) = &self.sharing {
            sharing.show_to_others(server, shown);
        }
    }
}

/// The condition `Contended` on what something keeps undoing.
fn mark_contended(conditions: &mut BTreeMap<ObjectKey, Vec<Condition>>, contended: &BTreeMap<ObjectKey, Vec<Fought>>) {
    for (object, names) in contended {
        if let Some(conditions) = conditions.get_mut(object) {
            conditions.push(Condition::from(Statement {
                condition_type: CONTENDED.into(),
                status: ConditionStatus::True,
                reason: CONTENDED.into(),
                message: fought_over(names).into(),
                observed_generation: None,
                last_transition_time: None,
            }));
        }
    }
}

/// What is said of things that something keeps undoing.
pub(super) fn fought_over(fought: &[Fought]) -> String {
    let names: Vec<&str> = fought.iter().map(|it| it.name.as_str()).collect();
    let more = names.len().saturating_sub(FOUGHT);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let names = names.into_iter().take(FOUGHT).collect::<Vec<_>>().join(", ");
    let times = fought.iter().map(|it| it.times).min().unwrap_or(FIGHT);
    let advice: BTreeSet<&str> = fought.iter().take(FOUGHT).filter_map(|it| it.advice.as_deref()).collect();
    let advice = advice.into_iter().map(|it| format!(" To end it, {it}.")).collect::<String>();
    format!(
        "Something keeps undoing what is repaired, {times} times or more within a minute: {names}{more}. It is put back each time, \
         and after {FREE_REPAIRS} times in a row every {} seconds.{advice}",
        LONGEST_REPAIR_WAIT.as_secs()
    )
}

/// What a note says that keeps others from undoing it.
fn advice(report: &Report, object: &ObjectKey, operation: &Operation) -> Option<String> {
    let Call::UpdateService { changes, .. } = &operation.call else { return None };
    changes.iter().find_map(|change| advice_for(report, object, &change.network.name))
}

fn advice_for(report: &Report, object: &ObjectKey, network: &str) -> Option<String> {
    let network = format!("{network:?}");
    let notes = report.servers.iter().flat_map(|server| &server.notes);
    let mut lacks = notes.filter(|note| note.reason == Reason::StackFileLacks && note.object == *object);
    lacks.find(|note| note.message.contains(&network)).and_then(|note| note.hint.clone())
}

/// What became of everything that the pass dealt with, and the objects of which something was not done. `settled`: what was as declared before.
fn judge(report: &Report, settled: &HashSet<ObjectKey>) -> (BTreeMap<Subject, Judged>, Touched, BTreeSet<ObjectKey>) {
    let mut subjects: BTreeMap<Subject, Judged> = BTreeMap::new();
    let mut touched = Touched::default();
    let mut failed = BTreeSet::new();
    for OperationReport { operation, outcome } in
        report.servers.iter().flat_map(|server| &server.operations).flat_map(OperationReport::parts)
    {
        let (operation, outcome) = (&operation, &outcome);
        // It follows from repairs, and is none: nobody undoes it.
        if matches!(operation.call, Call::RefreshProxy { .. }) {
            continue;
        }
        let object = &operation.object;
        if matches!(outcome, Outcome::Failed(_) | Outcome::Done) {
            touched.add(&operation.call);
        }
        let judged = match outcome {
            Outcome::Failed(_) | Outcome::Skipped => {
                failed.insert(object.clone());
                // What was skipped or undone waits with what failed.
                match operation.cause {
                    Cause::Rollback => continue,
                    _ if *outcome == Outcome::Skipped => continue,
                    // Done, and undone before it could be seen.
                    _ if is_undone(outcome) => SubjectOutcome::Undone,
                    _ => SubjectOutcome::Failed,
                }
            }
            Outcome::Planned => continue,
            Outcome::Done if operation.cause == Cause::Rollback => continue,
            Outcome::Done if settled.contains(object) => SubjectOutcome::Repaired,
            Outcome::Done => SubjectOutcome::Converged,
        };
        let fresh = Judged {
            object: object.clone(),
            name: InWords(operation).to_string(),
            advice: advice(report, object, operation),
            disruptive: operation.disruptive,
            outcome: judged,
        };
        let repaired = judged == SubjectOutcome::Repaired;
        let subject = if repaired { Subject::undone(operation) } else { Subject::of(operation) };
        let known = subjects.entry(subject).or_insert(fresh);
        known.disruptive |= operation.disruptive;
        if matches!(judged, SubjectOutcome::Failed | SubjectOutcome::Undone) {
            known.outcome = judged;
        }
    }
    for note in report.servers.iter().flat_map(|server| &server.notes) {
        if !settled.contains(&note.object) {
            continue;
        }
        for Undone { service, network, rollout } in &note.undone {
            let Ok(began) = rollout.parse() else { continue };
            let judged = Judged {
                object: note.object.clone(),
                name: format!("the Swarm service {} on {}", service.name, network.name),
                advice: advice_for(report, &note.object, &network.name),
                disruptive: true,
                outcome: SubjectOutcome::UndoneBy(began),
            };
            subjects.insert(Subject::attachment(&service.id, network), judged);
        }
    }
    (subjects, touched, failed)
}

fn is_undone(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(failure) if failure.reason == Some(Reason::Contended))
}

/// The destinations of the state and the resources on them.
pub(super) fn objects(desired: &DesiredState) -> BTreeSet<ObjectKey> {
    desired.servers.values().flat_map(|server| server.on_it()).cloned().collect()
}

/// Says in conditions what is wrong with the manifests, or that nothing is.
pub(super) fn judge_manifests(manifests: &mut ManifestState, now: jiff::Timestamp) {
    let problems = &manifests.problems;
    let rest = match manifests.loaded {
        Some(_) => "The last good manifests stay in force.",
        None => "There were no good ones before, so nothing is done.",
    };
    let message = match (problems.first(), problems.len()) {
        (None, _) => String::new(),
        (Some(problem), 1) => format!("{} {rest}", sentence(problem)),
        (Some(problem), count) => format!("{count} problems; the first: {} {rest}", sentence(problem)),
    };
    let valid = problems.is_empty();
    let condition = |name: &str, holds: bool| {
        let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
        let same = manifests.conditions.iter().find(|it| it.condition_type == name && it.status == status);
        Condition::from(Statement {
            condition_type: name.into(),
            status,
            reason: if valid { "ManifestValid".into() } else { Reason::ManifestInvalid.as_str().into() },
            message: message.as_str().into(),
            observed_generation: Some(manifests.generation),
            // To the second, as Kubernetes has it.
            last_transition_time: same
                .map_or_else(|| Some(format_smolstr!("{now:.0}")), |it| it.last_transition_time.clone()),
        })
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
    use crate::core::api::Kind;

    fn at(seconds: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_something_keeps_undoing_has_a_condition_that_names_it_and_nothing_else_has() {
        let key = |name| ObjectKey::new(Kind::Destination, "shop", name);
        let mut conditions: BTreeMap<_, _> = ["web", "api"].map(|name| (key(name), Vec::new())).into();
        let fought = |number| Fought { name: format!("app-{number} on web-net"), advice: None, times: FIGHT };
        let names = (1..=7).map(fought).collect();
        mark_contended(&mut conditions, &[(key("web"), names)].into());
        let found = &conditions[&key("web")][0];
        assert_eq!((found.condition_type.as_str(), found.status), ("Contended", ConditionStatus::True));
        assert!(found.message.contains("app-1 on web-net, app-2 on web-net"), "{}", found.message);
        assert!(found.message.contains("app-5 on web-net and 2 more."), "{}", found.message);
        assert_eq!(conditions[&key("api")], []);
    }

    #[test]
    fn wrong_manifests_are_a_condition_whose_time_moves_only_when_it_changes() {
        let mut manifests = ManifestState { generation: 1, ..ManifestState::default() };
        judge_manifests(&mut manifests, at(1));
        let said = |manifests: &ManifestState| {
            let [ready, stalled] = manifests.conditions.as_slice() else { panic!("two conditions") };
            let since = stalled.last_transition_time.as_ref().map(ToString::to_string);
            (ready.status, stalled.status, stalled.reason.to_string(), since)
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
