//! What the loop shows of itself: the state of every server as last seen, and counts of what was done. Written by the loop, read by anyone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smol_str::format_smolstr;
use tokio::sync::watch;

use super::kept::Kept;
use super::reported::Reported;
use crate::core::api::{Condition, ConditionStatus, ObjectKey, Statement};
use crate::core::desired::{DesiredDestination, DesiredServer, DesiredState};
use crate::core::manifest::Diagnostic;
use crate::core::plan::Withheld;
use crate::core::plan::facts::{DestinationFacts, ServerFacts};
use crate::core::report::json::Document;
use crate::core::report::{OperationReport, Outcome, Report};
use crate::core::standing::Tally;
use crate::core::status::Status;
use crate::core::subnets::{ServerUse, is_low};
use crate::shell::git::Commit;
use crate::shell::packed::Packed;
use crate::shell::store::etcd::keeper::Fleet;
use crate::shell::store::etcd::live::server_of;
use crate::shell::store::records::{CONTENDED, EventRecord};

/// What was done last that is shown without asking the history.
pub(super) const RECENT: usize = 200;

/// Shared view of the loop.
#[derive(Clone)]
pub struct Board {
    content: Arc<RwLock<Content>>,
    /// Counts changes, so that readers can wait for the next.
    revision: watch::Sender<u64>,
}

/// What is on the board.
#[derive(Debug, Clone, Serialize)]
pub struct Content {
    pub set: String,
    pub manifests: ManifestState,
    /// What the manifests declare: the last good ones.
    #[serde(skip)]
    pub declared: Arc<DesiredState>,
    /// The manifests themselves, for the commands of whoever may act.
    #[serde(skip)]
    pub sources: Arc<Kept>,
    pub servers: BTreeMap<String, Arc<ServerState>>,
    pub counts: Counts,
    /// Of the controller itself.
    pub conditions: Vec<Condition>,
    /// Of resources whose backups `run` makes, by object and server.
    #[serde(skip)]
    pub backups: BTreeMap<(ObjectKey, ObjectKey), BackupState>,
    /// What happened last, newest first.
    #[serde(skip)]
    pub recent: VecDeque<EventRecord>,
    /// What is left as it is because somebody asked for it, and not because the manifests say so.
    pub suspended: BTreeSet<ObjectKey>,
    pub started: jiff::Timestamp,
    pub stopping: bool,
    /// Where there are several controllers: all of them, and who has which server.
    #[serde(skip)]
    pub fleet: Option<Arc<Fleet>>,
}

/// How it stands with the backups of one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupState {
    /// Of the newest archive.
    pub last_success: Option<jiff::Timestamp>,
    /// Why there is no newer one.
    pub problem: Option<String>,
    pub next: Option<jiff::Timestamp>,
}

/// The manifests as last read.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ManifestState {
    /// Counts the valid sets that were read; 0 before the first.
    pub generation: u64,
    /// What is wrong with the files as they are now. The last good set stays desired.
    pub problems: Vec<Diagnostic>,
    /// `Ready` and `Stalled`, with the reason `ManifestInvalid` while something is wrong; empty before the first reading.
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded: Option<jiff::Timestamp>,
    /// The revision whose manifests are in force, where they come from a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The repository, where they come from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceState>,
}

/// A repository as last fetched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceState {
    /// Without credentials.
    pub url: String,
    /// `None`: the repository's own.
    pub branch: Option<String>,
    /// Within the repository.
    pub path: String,
    /// The last good one. Its manifests may still be wrong, which the problems say.
    pub revision: Option<String>,
    /// The latest that were taken, the newest last.
    pub commits: Vec<Commit>,
    /// The last time that the repository had nothing else to offer.
    pub fetched: Option<jiff::Timestamp>,
    /// Why that is not now.
    pub problem: Option<SourceProblem>,
}

impl SourceState {
    /// What is known of a revision.
    pub fn commit(&self, revision: &str) -> Option<&Commit> {
        self.commits.iter().find(|it| it.revision == revision)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceProblem {
    /// One word in CamelCase.
    pub reason: &'static str,
    pub message: String,
    pub hint: Option<&'static str>,
    pub since: jiff::Timestamp,
}

/// One server as last seen.
#[derive(Debug, Clone, Serialize)]
pub struct ServerState {
    /// The last pass that ended; 0 of another controller's server, of which only what was found is told.
    pub pass: u64,
    /// When, or since when another controller shows this.
    pub finished: jiff::Timestamp,
    pub reachable: bool,
    /// So many passes in a row ended before anything was known; 0 after any that did not.
    #[serde(skip_serializing_if = "is_zero")]
    pub broken: u32,
    /// The last pass that saw the server, and in which nothing failed.
    pub last_success: Option<jiff::Timestamp>,
    /// The report of the last pass, as `apply -o json` has it; what waits for another try is planned in it.
    pub report: Reported,
    /// `None`: not observed.
    #[serde(skip)]
    pub facts: Option<Arc<Found>>,
    /// Of a server that does not answer: when it last did, and what was there.
    #[serde(skip)]
    pub last_known: Option<(jiff::Timestamp, Arc<Found>)>,
    pub conditions: BTreeMap<ObjectKey, Arc<[Condition]>>,
    /// Deletions that wait for somebody to agree: [`Command::Approve`](super::run::Command::Approve) with their fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Withheld>,
    /// How much of its addresses is used.
    #[serde(skip)]
    pub usage: Option<Levels>,
    /// Attempts to run something that have failed and are not made again, with what was said of them.
    #[serde(skip)]
    pub failed_attempts: BTreeMap<String, String>,
    /// Of its conditions, what the page and the metrics want of every server each time.
    #[serde(skip)]
    pub digest: Option<Digest>,
}

/// What a look at a server has found. A fleet's is too much to be kept as it is, and little of it is read at a time.
#[derive(Debug, PartialEq)]
pub struct Found {
    /// Without the destinations.
    pub server: ServerFacts,
    destinations: Packed<Vec<(ObjectKey, DestinationFacts)>>,
    /// Of the networks and containers on them, in lower case, a line each.
    names: Box<str>,
    /// Destinations with a network that nobody is on but the proxy.
    pub unused: usize,
}

impl Found {
    pub fn new(mut facts: ServerFacts) -> Self {
        let destinations = std::mem::take(&mut facts.destinations);
        let mut names = String::new();
        for (_, DestinationFacts { network, members, unmanaged, .. }) in &destinations {
            let containers = members.iter().map(|it| &it.endpoint).chain(unmanaged).map(|it| &it.container);
            for name in network.iter().map(|it| &it.name).chain(containers) {
                names.push_str(&name.to_lowercase());
                names.push('\n');
            }
        }
        Self {
            server: facts,
            unused: destinations.iter().filter(|(_, it)| it.is_unused()).count(),
            destinations: Packed::new(&destinations),
            names: names.into(),
        }
    }

    /// As it was found.
    pub fn whole(&self) -> ServerFacts {
        ServerFacts { destinations: self.destinations.unpack().unwrap_or_default(), ..self.server.clone() }
    }

    /// Whether the name of a network or a container may hold the text, which is in lower case.
    pub fn mentions(&self, text: &str) -> bool {
        self.names.contains(text)
    }
}

/// What is counted once a pass: a page that counts the conditions of a thousand servers each time takes most of a second.
#[derive(Debug, Clone)]
pub struct Digest {
    /// What was declared then. It holds for nothing else.
    pub of: Arc<DesiredServer>,
    /// How the declared destinations stand.
    pub destinations: Tally,
    /// Objects that do not run, or not well, and those that something keeps undoing.
    pub attention: Vec<ObjectKey>,
}

impl Digest {
    pub fn new(of: &Arc<DesiredServer>, conditions: &BTreeMap<ObjectKey, Arc<[Condition]>>) -> Self {
        let of_destination = |it: &DesiredDestination| conditions.get(&it.key).map_or(&[][..], AsRef::as_ref);
        let attention = conditions.iter().filter(|(_, all)| all.iter().any(|it| is_down(it) || is_contended(it)));
        Self {
            of: Arc::clone(of),
            destinations: Tally::count(of.destinations.iter().map(of_destination)),
            attention: attention.map(|(object, _)| object.clone()).collect(),
        }
    }
}

/// Whether it says that a container does not run, or not well.
pub fn is_down(condition: &Condition) -> bool {
    condition.condition_type == "Healthy" && matches!(&*condition.reason, "NotRunning" | "Unhealthy")
}

/// Whether it says that something keeps undoing what is repaired.
pub fn is_contended(condition: &Condition) -> bool {
    condition.condition_type == CONTENDED && condition.status == ConditionStatus::True
}

/// How much of a server's addresses is left.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Levels {
    /// Of the networks of declared destinations that have little left: the destination, the range, used and free.
    pub low: Vec<(String, String, u64, u64)>,
    /// The fewest that any of them has left.
    pub fewest: Option<u64>,
    /// Networks that the daemon's own pools have room for.
    pub networks_left: u64,
}

impl Levels {
    pub fn of(usage: &ServerUse) -> Self {
        let declared = usage.networks.iter().filter_map(|it| Some((it, it.destination.as_ref()?)));
        let low = declared.clone().filter(|(it, _)| is_low(it.free, it.total));
        Self {
            low: low
                .map(|(it, destination)| (destination.clone(), it.subnet.clone(), it.used, it.free.unwrap_or_default()))
                .collect(),
            fewest: declared.filter_map(|(it, _)| it.free).min(),
            networks_left: usage.pools.iter().map(|pool| pool.free).sum(),
        }
    }
}

impl ServerState {
    /// `status` and `report`: of a pass over that server alone.
    pub fn new(server: &ObjectKey, pass: u64, finished: jiff::Timestamp, mut status: Status, report: Document) -> Self {
        let facts = status.servers.remove(server).flatten().map(Found::new).map(Arc::new);
        let conditions = status.conditions.into_iter().map(|(key, conditions)| (key, conditions.into()));
        Self { conditions: conditions.collect(), ..Self::of(pass, finished, facts, Reported::new(report)) }
    }

    /// Without conditions.
    pub fn of(pass: u64, finished: jiff::Timestamp, facts: Option<Arc<Found>>, report: Reported) -> Self {
        Self {
            pass,
            finished,
            reachable: facts.is_some(),
            broken: 0,
            last_success: None,
            report,
            facts,
            last_known: None,
            conditions: BTreeMap::new(),
            pending: None,
            usage: None,
            failed_attempts: BTreeMap::new(),
            digest: None,
        }
    }
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Counts since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub passes: u64,
    pub failed_passes: u64,
    /// Operations by call and outcome, such as `("ConnectEndpoint", "Done")`.
    #[serde(skip)]
    pub operations: BTreeMap<(&'static str, &'static str), u64>,
    /// What had been as declared and no longer was, by cause.
    pub drift: BTreeMap<String, u64>,
    /// Operations that put back something that had been as declared before, by cause.
    pub repairs: BTreeMap<String, u64>,
    pub events: u64,
    /// Events that were not taken because too many waited: the resync stands in for them.
    pub lost_events: u64,
    pub lost_streams: u64,
    /// Notices by what became of them: `sent`, `failed` after all attempts, `dropped` because there were too many.
    pub notices: BTreeMap<&'static str, u64>,
    /// Servers that wait for a pass.
    pub waiting: usize,
    /// How long passes took.
    #[serde(skip)]
    pub took: Durations,
}

/// How often something took how long.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Durations {
    /// By the first of [`Durations::BOUNDS`] that it did not exceed; the last one is for whatever took longer.
    pub counts: [u64; Self::BOUNDS.len() + 1],
    pub sum: Duration,
}

impl Eq for Durations {}

impl Durations {
    /// Seconds: an idle pass takes milliseconds, one over SSH to a loaded server its timeout.
    pub const BOUNDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

    pub fn add(&mut self, took: Duration) {
        let within = Self::BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound);
        self.counts[within.unwrap_or(Self::BOUNDS.len())] += 1;
        self.sum += took;
    }
}

impl Content {
    /// Who has the server and since when, where there are several controllers.
    pub fn keeper(&self, server: &ObjectKey) -> Option<(&str, jiff::Timestamp)> {
        let lock = self.fleet.as_ref()?.live.locks.get(server)?;
        Some((lock.holder.controller.as_str(), lock.holder.since))
    }

    /// Whether this controller looks after the server, and not another one.
    pub fn is_own(&self, server: &str) -> bool {
        self.fleet.as_ref().is_none_or(|fleet| server_of(server).is_some_and(|server| fleet.is_own(&server)))
    }

    /// Of all servers: what an attempt is called tells them apart.
    pub fn failed_attempts(&self) -> BTreeMap<String, String> {
        let all = self.servers.values().flat_map(|server| &server.failed_attempts);
        all.map(|(attempt, said)| (attempt.clone(), said.clone())).collect()
    }

    /// The deletions that wait for somebody to agree, and the server that they are on.
    pub fn pending(&self) -> impl Iterator<Item = (&str, &Withheld)> {
        self.servers.iter().filter_map(|(name, server)| Some((name.as_str(), server.pending.as_ref()?)))
    }
}

impl Board {
    pub fn new(set: &str) -> Self {
        let content = Content {
            set: set.to_owned(),
            manifests: ManifestState::default(),
            declared: Arc::new(DesiredState::new(set, BTreeMap::new())),
            sources: Arc::default(),
            servers: BTreeMap::new(),
            counts: Counts::default(),
            conditions: Vec::new(),
            backups: BTreeMap::new(),
            recent: VecDeque::new(),
            suspended: BTreeSet::new(),
            started: jiff::Timestamp::now(),
            stopping: false,
            fleet: None,
        };
        Self { content: Arc::new(RwLock::new(content)), revision: watch::Sender::new(0) }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every reader that waits.
    pub fn update<T>(&self, change: impl FnOnce(&mut Content) -> T) -> T {
        let changed = change(&mut self.content.write().unwrap_or_else(PoisonError::into_inner));
        self.revision.send_modify(|revision| *revision += 1);
        changed
    }

    /// Sets a condition of the controller itself.
    pub fn set_condition(&self, condition_type: &str, status: ConditionStatus, reason: &str, message: &str) {
        self.update(|content| {
            let before = content.conditions.iter().position(|it| it.condition_type == condition_type);
            let before = before.map(|at| content.conditions.remove(at));
            let since = before.filter(|it| it.status == status).and_then(|it| it.last_transition_time.clone());
            content.conditions.push(Condition::from(Statement {
                condition_type: condition_type.into(),
                status,
                reason: reason.into(),
                message: message.into(),
                observed_generation: None,
                last_transition_time: since.or_else(|| Some(format_smolstr!("{:.0}", jiff::Timestamp::now()))),
            }));
        });
    }

    /// Takes what happened into the list of what happened last.
    pub fn tell(&self, events: &[EventRecord]) {
        if events.is_empty() {
            return;
        }
        self.update(|content| {
            for event in events {
                content.recent.push_front(event.clone());
            }
            content.recent.truncate(RECENT);
        });
    }

    /// The same of what is written down for all controllers, by this one as well.
    pub fn tell_of_others(&self, events: &[EventRecord]) {
        let known = |board: &Content, event: &EventRecord| {
            let same =
                |it: &&EventRecord| (it.time, &it.object, &it.message) == (event.time, &event.object, &event.message);
            board.recent.iter().find(same).is_some()
        };
        let new: Vec<EventRecord> = {
            let board = self.read();
            events.iter().filter(|event| !known(&board, event)).cloned().collect()
        };
        self.tell(&new);
    }

    /// Changes numbers that nobody waits for: a reader finds them with the next change of something else.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.content.write().unwrap_or_else(PoisonError::into_inner).counts);
    }

    /// The content as it is now. What is large in it is shared rather than copied.
    pub fn snapshot(&self) -> Content {
        self.read().clone()
    }

    /// Shows what a pass over the server came to.
    pub fn passed(&self, server: &ObjectKey, mut shown: ServerState, report: &Report) -> Arc<ServerState> {
        let name = server.path();
        self.update(|board| {
            let mut failed = false;
            for OperationReport { operation, outcome } in report.servers.iter().flat_map(|it| &it.operations) {
                if *outcome != Outcome::Planned {
                    failed |= *outcome != Outcome::Done;
                    *board.counts.operations.entry((operation.call.name(), outcome.name())).or_default() += 1;
                }
            }
            let before = board.servers.remove(&name);
            shown.last_success = Some(shown.finished)
                .filter(|_| shown.reachable && !failed)
                .or_else(|| before.as_ref().and_then(|before| before.last_success));
            if shown.broken > 0 {
                shown.broken += before.as_ref().map_or(0, |before| before.broken);
            }
            if shown.facts.is_none() {
                shown.last_known = before.as_ref().and_then(|before| match &before.facts {
                    Some(facts) => Some((before.finished, Arc::clone(facts))),
                    None => before.last_known.clone(),
                });
            }
            if !shown.reachable {
                shown.pending = before.and_then(|before| before.pending.clone());
            }
            shown.digest = board.declared.servers.get(server).map(|declared| Digest::new(declared, &shown.conditions));
            let shown = Arc::new(shown);
            board.servers.insert(name, Arc::clone(&shown));
            shown
        })
    }

    /// Counts what was done beside the passes.
    pub fn refreshed(&self, report: &Report) {
        self.count(|counts| {
            for OperationReport { operation, outcome } in report.servers.iter().flat_map(|it| &it.operations) {
                *counts.operations.entry((operation.call.name(), outcome.name())).or_default() += 1;
            }
        });
    }

    /// Resolves with every change from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}
