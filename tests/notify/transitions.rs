//! What a pass after another is worth telling.

use std::collections::{BTreeSet, HashSet};

use landfall::core::api::NotifierEvent::{Blocked, DriftFound, Healed, ServerBack, ServerDown};
use landfall::core::api::{Condition, ConditionStatus, NotifierEvent, ObjectKey, Statement};
use landfall::core::changes::{Change, Seen, Standing, changes};
use landfall::core::notice::notice;
use landfall::core::observed::{Unobserved, UnobservedReason};
use landfall::core::plan::{Call, Cause, NetworkTarget, Note, Operation, Reason, ServerType};
use landfall::core::report::{Failure, OperationReport, Outcome, Report, ServerReport};

use proptest::collection::vec;
use proptest::prelude::*;

use super::{destination, server};

fn failed() -> Outcome {
    Outcome::Failed(Failure { reason: None, message: "no".to_owned(), hint: None })
}

/// What a pass did about destinations, and what it refused.
fn report(operations: &[(&str, Outcome)], refused: &[(&str, Reason)]) -> Report {
    let operation = |(name, outcome): &(&str, Outcome)| OperationReport {
        operation: Operation {
            object: destination(name),
            call: Call::RemoveNetwork { network: NetworkTarget { name: format!("{name}-net"), id: None } },
            cause: Cause::ProxyDetached,
            disruptive: false,
            undo: None,
        },
        outcome: outcome.clone(),
    };
    Report {
        prune: Vec::new(),
        set: "default".to_owned(),
        revision: None,
        servers: vec![ServerReport {
            server: server(),
            server_type: Some(ServerType::Standalone),
            manager: None,
            operations: operations.iter().map(operation).collect(),
            notes: refused.iter().map(|(name, reason)| Note::refused(*reason, &destination(name), "No.")).collect(),
        }],
        notes: Vec::new(),
    }
}

/// The passes over one server, one after the other.
#[derive(Default)]
struct Passes {
    standing: Standing,
    settled: HashSet<ObjectKey>,
    held: BTreeSet<ObjectKey>,
}

impl Passes {
    fn settled(names: &[&str]) -> Self {
        Self { settled: names.iter().map(|name| destination(name)).collect(), ..Self::default() }
    }

    fn changes(&mut self, unobserved: Option<&Unobserved>, report: &Report, partial: bool) -> Vec<Change> {
        let (settled, held) = (&self.settled, &self.held);
        let seen = Seen { server: &server(), unobserved, report, withheld: None, settled, held, partial };
        let (standing, changes) = changes(&self.standing, seen);
        self.standing = standing;
        changes
    }

    fn pass(&mut self, unobserved: Option<&Unobserved>, report: &Report) -> Vec<(NotifierEvent, String)> {
        let changes = self.changes(unobserved, report, false);
        let notices = changes.iter().filter_map(|change| notice(&server(), change));
        notices.map(|notice| (notice.event, notice.object.unwrap().name.to_string())).collect()
    }

    fn seen(&mut self, operations: &[(&str, Outcome)], refused: &[(&str, Reason)]) -> Vec<(NotifierEvent, String)> {
        self.pass(None, &report(operations, refused))
    }

    fn down(&mut self) -> Vec<(NotifierEvent, String)> {
        self.pass(Some(&unobserved(UnobservedReason::ServerUnreachable)), &report(&[], &[]))
    }
}

fn unobserved(reason: UnobservedReason) -> Unobserved {
    Unobserved { reason, message: "Gone.".to_owned(), hint: None }
}

fn told(events: &[(NotifierEvent, &str)]) -> Vec<(NotifierEvent, String)> {
    events.iter().map(|(event, name)| (*event, (*name).to_owned())).collect()
}

#[test]
fn what_is_made_for_the_first_time_is_no_drift() {
    let mut passes = Passes::default();
    assert_eq!(passes.seen(&[("web", Outcome::Done)], &[]), told(&[]));
    assert_eq!(passes.seen(&[], &[]), told(&[]));
}

#[test]
fn what_moves_and_is_put_back_at_once_is_found_and_healed() {
    let mut passes = Passes::settled(&["web"]);
    assert_eq!(passes.seen(&[("web", Outcome::Done)], &[]), told(&[(DriftFound, "web"), (Healed, "web")]));
    assert_eq!(passes.seen(&[], &[]), told(&[]));
}

#[test]
fn what_cannot_be_put_back_is_told_once_and_healed_when_it_is() {
    let mut passes = Passes::settled(&["web"]);
    assert_eq!(passes.seen(&[("web", failed())], &[]), told(&[(DriftFound, "web")]));
    assert_eq!(passes.seen(&[("web", failed()), ("web", Outcome::Skipped)], &[]), told(&[]));
    // On hold: the pass leaves it alone, which does not make it well.
    passes.held.insert(destination("web"));
    assert_eq!(passes.seen(&[], &[]), told(&[]));
    passes.held.clear();
    assert_eq!(passes.seen(&[("web", Outcome::Done)], &[]), told(&[(Healed, "web")]));
    // Or somebody else has put it back.
    assert_eq!(passes.seen(&[("web", failed())], &[]), told(&[(DriftFound, "web")]));
    assert_eq!(passes.seen(&[], &[]), told(&[(Healed, "web")]));
}

#[test]
fn half_healed_is_not_healed() {
    let mut passes = Passes::settled(&["web"]);
    assert_eq!(passes.seen(&[("web", Outcome::Done), ("web", failed())], &[]), told(&[(DriftFound, "web")]));
}

#[test]
fn each_refusal_is_told_once_until_it_is_over() {
    let mut passes = Passes::default();
    let blocked = [("old", Reason::ResourcesRemain)];
    assert_eq!(passes.seen(&[], &blocked), told(&[(Blocked, "old")]));
    assert_eq!(passes.seen(&[], &blocked), told(&[]));
    let two = [blocked[0], ("old", Reason::ImmutableField)];
    assert_eq!(passes.seen(&[], &two), told(&[(Blocked, "old")]));
    assert_eq!(passes.seen(&[], &[]), told(&[]));
    assert_eq!(passes.seen(&[], &blocked), told(&[(Blocked, "old")]));
}

#[test]
fn a_server_goes_and_comes_back_once_each_and_what_was_known_before_is_not_told_again() {
    let mut passes = Passes::settled(&["web"]);
    let blocked = [("old", Reason::ResourcesRemain)];
    assert_eq!(passes.seen(&[("web", failed())], &blocked), told(&[(DriftFound, "web"), (Blocked, "old")]));
    assert_eq!(passes.down(), told(&[(ServerDown, "edge")]));
    assert_eq!(passes.down(), told(&[]));
    assert_eq!(passes.seen(&[("web", failed())], &blocked), told(&[(ServerBack, "edge")]));
    assert_eq!(Passes::default().down(), told(&[(ServerDown, "edge")]), "the first look counts");
}

#[test]
fn a_server_that_was_down_before_the_controller_was_started_is_told_to_be_back_and_not_to_go_again() {
    let down = Condition::from(Statement {
        condition_type: "Reachable".into(),
        status: ConditionStatus::False,
        reason: "ServerUnreachable".into(),
        message: "Gone.".into(),
        observed_generation: None,
        last_transition_time: None,
    });
    let mut passes = Passes { standing: Standing::recalled(&[down], None), ..Passes::default() };
    assert_eq!(passes.down(), told(&[]));
    assert_eq!(passes.seen(&[], &[]), told(&[(ServerBack, "edge")]));
}

/// One pass of many, at random.
#[derive(Debug, Clone)]
enum Step {
    Down(bool),
    Look { operations: Vec<(usize, u8)>, refused: Vec<(usize, bool)>, held: bool, partial: bool },
}

const NAMES: [&str; 3] = ["web", "db", "old"];

fn step() -> impl Strategy<Value = Step> {
    let operations = vec((0..NAMES.len(), 0..3_u8), 0..4);
    let refused = vec((0..NAMES.len(), any::<bool>()), 0..3);
    let look = (operations, refused, any::<bool>(), any::<bool>());
    let look = look.prop_map(|(operations, refused, held, partial)| Step::Look { operations, refused, held, partial });
    prop_oneof![1 => any::<bool>().prop_map(Step::Down), 4 => look]
}

fn outcome(number: u8) -> Outcome {
    match number {
        0 => Outcome::Done,
        1 => Outcome::Planned,
        _ => failed(),
    }
}

fn reason(other: bool) -> Reason {
    if other { Reason::ImmutableField } else { Reason::ResourcesRemain }
}

proptest! {
    /// Whatever passes see: a server that is said to be down is said to be back before it is down again, what moved is healed before it moves
    /// again, and what is refused is said anew only after a pass that did not refuse it.
    #[test]
    fn everything_is_said_once_for_as_long_as_it_lasts(steps in vec(step(), 1..30)) {
        let mut passes = Passes::settled(&NAMES);
        let mut down = false;
        let mut moved = BTreeSet::new();
        let mut refused: BTreeSet<(String, Reason)> = BTreeSet::new();
        for step in steps {
            let (unobserved, report, partial, seen) = match step {
                Step::Down(denied) => {
                    let reason = if denied { UnobservedReason::PermissionDenied } else { UnobservedReason::ServerUnreachable };
                    (Some(unobserved(reason)), report(&[], &[]), false, None)
                }
                Step::Look { operations, refused, held, partial } => {
                    passes.held = held.then(|| destination("web")).into_iter().collect();
                    let operations: Vec<_> = operations.iter().map(|(name, it)| (NAMES[*name], outcome(*it))).collect();
                    let refused: Vec<_> = refused.iter().map(|(name, other)| (NAMES[*name], reason(*other))).collect();
                    let now: BTreeSet<_> = refused.iter().map(|(name, reason)| (destination(name).to_string(), *reason)).collect();
                    (None, report(&operations, &refused), partial, Some(now))
                }
            };
            let changes = passes.changes(unobserved.as_ref(), &report, partial);
            for change in &changes {
                match change {
                    Change::Down { first, .. } => {
                        prop_assert_eq!(*first, !down);
                        down = true;
                    }
                    Change::Back => prop_assert!(std::mem::take(&mut down)),
                    Change::Drifted { operation, first: true } => prop_assert!(moved.insert(operation.object.clone())),
                    Change::Drifted { operation, first: false } => prop_assert!(moved.contains(&operation.object)),
                    Change::Healed { object, .. } => prop_assert!(moved.remove(object)),
                    Change::Noted { note, first: true, .. } => {
                        prop_assert!(refused.insert((note.object.to_string(), note.reason)));
                    }
                    Change::Noted { note, .. } => prop_assert!(refused.contains(&(note.object.to_string(), note.reason))),
                    Change::PutBack { .. } | Change::Withheld(_) => {}
                }
            }
            prop_assert_eq!(down, unobserved.is_some(), "what is down is said to be, and nothing else");
            if let Some(now) = seen {
                prop_assert!(now.is_subset(&refused), "what is refused has been said");
                refused.retain(|it| partial || now.contains(it));
            }
        }
    }
}
