//! What a controller tells the others of a server that it has: all that a page shows of it.
//!
//! It is written when it says something else than before, and so neither when a pass ended nor how many there were is part of it: with nothing to do,
//! nothing is written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::board::{Found, Levels, ServerState};
use super::reported::Reported;
use crate::core::api::{Condition, ObjectKey};
use crate::core::plan::Withheld;
use crate::core::plan::facts::{DestinationFacts, ServerFacts};
use crate::shell::engine::fence::Fence;
use crate::shell::store::etcd::pack::packed;
use crate::shell::store::etcd::{EtcdError, Views};

/// Views that are written at once.
const AT_ONCE: usize = 8;
/// After one that could not be.
const AGAIN: Duration = Duration::from_secs(1);

/// [`ServerState`] as it is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Told {
    /// When it began to say this.
    changed: jiff::Timestamp,
    reachable: bool,
    broken: bool,
    report: Reported,
    /// Of its operations and of those of `--prune`, as they are printed: the form of the API has them not.
    texts: Vec<String>,
    facts: Option<Facts>,
    last_known: Option<(jiff::Timestamp, Facts)>,
    conditions: BTreeMap<ObjectKey, Arc<[Condition]>>,
    pending: Option<Withheld>,
    usage: Option<Levels>,
    /// Commands beside any controller plan with what this one has given up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    failed_attempts: BTreeMap<String, String>,
}

/// Whole, which the form of the API is not.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Facts {
    server: ServerFacts,
    destinations: Vec<(ObjectKey, DestinationFacts)>,
}

impl Facts {
    fn of(found: &Found) -> Self {
        let mut server = found.whole();
        Self { destinations: std::mem::take(&mut server.destinations), server }
    }

    fn found(self) -> Arc<Found> {
        Arc::new(Found::new(ServerFacts { destinations: self.destinations, ..self.server }))
    }
}

impl Told {
    fn of(state: &ServerState) -> Self {
        Self {
            changed: state.finished,
            reachable: state.reachable,
            broken: state.broken > 0,
            report: state.report.clone(),
            texts: state.report.texts().cloned().collect(),
            facts: state.facts.as_deref().map(Facts::of),
            last_known: state.last_known.as_ref().map(|(time, found)| (*time, Facts::of(found))),
            conditions: state.conditions.clone(),
            pending: state.pending.clone(),
            usage: state.usage.clone(),
            failed_attempts: state.failed_attempts.clone(),
        }
    }

    pub(super) fn state(self) -> ServerState {
        let mut report = self.report;
        report.set_texts(self.texts);
        ServerState {
            pass: 0,
            finished: self.changed,
            reachable: self.reachable,
            broken: u32::from(self.broken),
            last_success: None,
            report,
            facts: self.facts.map(Facts::found),
            last_known: self.last_known.map(|(time, facts)| (time, facts.found())),
            conditions: self.conditions,
            pending: self.pending,
            usage: self.usage,
            failed_attempts: self.failed_attempts,
            digest: None,
        }
    }
}

/// Has what passes find told to the others. A state that is overtaken by a later one is not.
#[derive(Clone, Default)]
pub(super) struct Teller(Arc<Queue>);

#[derive(Default)]
struct Queue {
    waiting: Mutex<BTreeMap<ObjectKey, (Fence, Arc<ServerState>)>>,
    told: Notify,
}

impl Teller {
    pub(super) fn tell(&self, server: &ObjectKey, fence: &Fence, state: Arc<ServerState>) {
        self.waiting().insert(server.clone(), (fence.clone(), state));
        self.0.told.notify_one();
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<ObjectKey, (Fence, Arc<ServerState>)>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what it is told, for as long as it is not dropped.
    pub(super) async fn run(self, views: Views) {
        // What was written last, under which lock.
        let mut written: BTreeMap<ObjectKey, (Fence, Arc<ServerState>)> = BTreeMap::new();
        loop {
            self.0.told.notified().await;
            let waiting = std::mem::take(&mut *self.waiting());
            written.retain(|_, (fence, _)| fence.is_open());
            let mut news = Vec::new();
            for (server, (fence, state)) in waiting {
                match written.get_mut(&server) {
                    // The later one of two that say the same, for the board has let go of the other.
                    Some((held, before)) if held.is_same(&fence) && says_the_same(before, &state) => *before = state,
                    _ => news.push((server, fence, state)),
                }
            }
            let views = &views;
            let outcomes: Vec<_> = futures::stream::iter(news)
                .map(async |(server, fence, state)| {
                    let outcome = write(views, &server, &fence, &state).await;
                    (server, fence, state, outcome)
                })
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            let mut failed = false;
            for (server, fence, state, outcome) in outcomes {
                match outcome {
                    Ok(true) => drop(written.insert(server, (fence, state))),
                    Ok(false) => {}
                    Err(error) => {
                        failed = true;
                        tracing::debug!(server = %server.path(), %error, "what is there is told later");
                        self.waiting().entry(server).or_insert((fence, state));
                    }
                }
            }
            if failed {
                tokio::time::sleep(AGAIN).await;
                self.0.told.notify_one();
            }
        }
    }
}

/// `false`: it is another's to tell by now.
async fn write(views: &Views, server: &ObjectKey, fence: &Fence, state: &ServerState) -> Result<bool, EtcdError> {
    if !fence.is_open() {
        return Ok(false);
    }
    let mut told = Told::of(state);
    let value = packed(&told).or_else(|| {
        tracing::warn!(server = %server.path(), "there is more on it than etcd takes: others show its conditions only");
        (told.facts, told.last_known) = (None, None);
        packed(&told)
    });
    match value {
        Some(value) => views.write(server, value).await,
        None => Ok(true),
    }
}

fn says_the_same(one: &ServerState, other: &ServerState) -> bool {
    let short = |it: &ServerState| (it.reachable, it.broken > 0);
    short(one) == short(other)
        && one.report == other.report
        && one.facts == other.facts
        && one.last_known == other.last_known
        && one.conditions == other.conditions
        && one.pending == other.pending
        && one.usage == other.usage
        && one.failed_attempts == other.failed_attempts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::api::{ConditionStatus, DestinationType, Kind, Statement};
    use crate::core::plan::facts::EngineFacts;
    use crate::core::plan::{ServerType, WithheldRemoval};
    use crate::core::report::Report;
    use crate::core::report::json::OperationDocument;
    use crate::core::status::Status;
    use crate::shell::store::etcd::pack::unpacked;

    fn state() -> ServerState {
        let server = ObjectKey::new(Kind::Server, "infra", "edge-1");
        let web = ObjectKey::new(Kind::Destination, "shop", "web");
        let destination = DestinationFacts {
            destination_type: DestinationType::Standalone,
            network: None,
            proxy: None,
            members: Vec::new(),
            missing: Vec::new(),
            unmanaged: Vec::new(),
        };
        let facts = ServerFacts {
            server_type: ServerType::Standalone,
            engine: EngineFacts { name: "host".to_owned(), version: "28.3.0".to_owned() },
            proxy: None,
            networks: 4,
            containers: 2,
            destinations: vec![(web.clone(), destination)],
        };
        let ready = Condition::from(Statement {
            condition_type: "Ready".into(),
            status: ConditionStatus::False,
            reason: "NetworkMissing".into(),
            message: "There is none.".into(),
            observed_generation: Some(2),
            last_transition_time: Some("2026-01-01T00:00:00Z".into()),
        });
        let report = Report {
            set: "default".to_owned(),
            revision: None,
            servers: Vec::new(),
            notes: Vec::new(),
            prune: Vec::new(),
        };
        let mut document = report.document();
        document.operations.push(OperationDocument {
            op: "CreateNetwork".into(),
            server: server.path(),
            via: None,
            object: web.to_string(),
            network: Some("web-net".to_owned()),
            container: None,
            service: None,
            changes: Vec::new(),
            cause: "NetworkMissing".into(),
            differences: Vec::new(),
            disruptive: false,
            outcome: "Failed".into(),
            reason: None,
            message: Some("no".to_owned()),
            hint: None,
            text: "+ create network web-net".to_owned(),
        });
        let status =
            Status { servers: [(server.clone(), Some(facts))].into(), conditions: [(web.clone(), vec![ready])].into() };
        let mut state = ServerState::new(&server, 7, jiff::Timestamp::from_second(70).unwrap(), status, document);
        let removal = WithheldRemoval { object: web, name: "old".to_owned(), id: "c0".to_owned() };
        state.pending = Some(Withheld {
            declared: String::new(),
            fingerprint: "abc".to_owned(),
            deletions: Vec::new(),
            disconnections: Vec::new(),
            removals: vec![removal],
        });
        state.usage = Some(Levels { low: Vec::new(), fewest: Some(3), networks_left: 9 });
        state
    }

    #[test]
    fn what_is_told_is_shown_as_its_controller_shows_it_but_for_when_that_one_looked() {
        let state = state();
        let told: Told = unpacked(&packed(&Told::of(&state)).unwrap()).unwrap();
        let shown = told.state();
        assert!(says_the_same(&state, &shown));
        assert_eq!((shown.pass, shown.last_success), (0, None));
    }

    #[test]
    fn another_pass_that_finds_the_same_says_the_same_and_one_that_finds_something_else_does_not() {
        let before = state();
        let finished = jiff::Timestamp::from_second(90).unwrap();
        let mut later = ServerState { pass: 8, finished, last_success: Some(finished), ..state() };
        assert!(says_the_same(&before, &later));
        later.failed_attempts = [("0a1b".to_owned(), "no".to_owned())].into();
        assert!(!says_the_same(&before, &later));
        later = ServerState { pending: None, ..state() };
        assert!(!says_the_same(&before, &later));
    }
}
