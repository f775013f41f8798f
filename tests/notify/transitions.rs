//! What a pass after another is worth telling.

use std::collections::{BTreeSet, HashSet};

use landfall::core::api::NotifierEvent::{Blocked, DriftFound, Healed, ServerBack, ServerDown};
use landfall::core::api::{NotifierEvent, ObjectKey};
use landfall::core::notice::{Seen, Standing, follow};
use landfall::core::observed::{Unobserved, UnobservedReason};
use landfall::core::plan::{Call, Cause, NetworkTarget, Note, Operation, Reason, ServerType};
use landfall::core::report::{Failure, OperationReport, Outcome, Report, ServerReport};

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
    standing: Option<Standing>,
    settled: HashSet<ObjectKey>,
    held: BTreeSet<ObjectKey>,
}

impl Passes {
    fn settled(names: &[&str]) -> Self {
        Self { settled: names.iter().map(|name| destination(name)).collect(), ..Self::default() }
    }

    fn pass(&mut self, unobserved: Option<&Unobserved>, report: &Report) -> Vec<(NotifierEvent, String)> {
        let server = server();
        let seen = Seen { server: &server, unobserved, report, settled: &self.settled, held: &self.held };
        let (standing, notices) = follow(self.standing.as_ref(), seen);
        self.standing = Some(standing);
        notices.into_iter().map(|notice| (notice.event, notice.object.unwrap().name.to_string())).collect()
    }

    fn seen(&mut self, operations: &[(&str, Outcome)], refused: &[(&str, Reason)]) -> Vec<(NotifierEvent, String)> {
        self.pass(None, &report(operations, refused))
    }

    fn down(&mut self) -> Vec<(NotifierEvent, String)> {
        let unobserved =
            Unobserved { reason: UnobservedReason::ServerUnreachable, message: "Gone.".to_owned(), hint: None };
        self.pass(Some(&unobserved), &report(&[], &[]))
    }
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
