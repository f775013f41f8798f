//! Beside the loop of `run`: backups that are due. The loop waits for none of them, and no repair does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::core::api::{ConditionStatus, ObjectKey};
use crate::core::backup::address::Address;
use crate::core::backup::policy::Policy;
use crate::core::desired::DesiredServer;
use crate::shell::controller::board::{BackupState, Board};
use crate::shell::controller::run::Command;
use crate::shell::engine::connect::{self, ConnectOptions};
use crate::shell::transfer::backup::{self, Options};
use crate::shell::transfer::helpers;
use crate::shell::transfer::shelf::Shelf;
use crate::shell::transfer::source::Resource;
use crate::shell::transfer::{Encryption, TransferError, Watch};

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_secs(1);
/// Backups at a time, each of another server.
const AT_ONCE: usize = 4;
/// Between two looks at what archives there are, for what others have written: a place that is not of this machine is asked over the network.
const FRESH: Duration = Duration::from_secs(600);
/// The same where it could not be asked.
const AGAIN: Duration = Duration::from_secs(60);
/// Places that are asked at a time.
const LOOKS_AT_ONCE: usize = 4;
/// Type of the controller's own condition about them.
const BACKED_UP: &str = "BackedUp";

/// What backups are made with.
pub(super) struct Scheduler {
    /// For what is stopped.
    pub(super) state: PathBuf,
    pub(super) set: String,
    pub(super) board: Board,
    pub(super) options: ConnectOptions,
    pub(super) commands: mpsc::Sender<Command>,
}

/// A resource on a server.
type Key = (ObjectKey, ObjectKey);

/// Which archives there are, as far as that is known.
#[derive(Default)]
struct Known {
    /// By resource: the newest one, and until when that is taken to be so.
    latest: BTreeMap<Key, (Option<Timestamp>, Instant)>,
    looking: BTreeSet<Key>,
}

/// One that is due.
struct Job {
    key: Key,
    server: Arc<DesiredServer>,
    policy: Arc<Policy>,
}

/// Never ends. Ended with the loop, it starts again what it has stopped as after a crash.
pub(super) async fn keep(scheduler: Scheduler) {
    let scheduler = Arc::new(scheduler);
    let began = Timestamp::now();
    let mut tried: BTreeMap<Key, Timestamp> = BTreeMap::new();
    let mut busy: BTreeSet<Key> = BTreeSet::new();
    let mut jobs: JoinSet<(Key, Result<String, String>)> = JoinSet::new();
    let mut known = Known::default();
    let mut looks: JoinSet<(Key, Duration, Result<Option<Timestamp>, TransferError>)> = JoinSet::new();
    loop {
        tokio::select! {
            Some(looked) = looks.join_next(), if !looks.is_empty() => match looked {
                Ok((key, fresh, found)) => known.take(key, fresh, found),
                Err(_) => known.looking.clear(),
            },
            Some(ended) = jobs.join_next(), if !jobs.is_empty() => match ended {
                Ok((key, outcome)) => {
                    busy.remove(&key);
                    known.expire(&key);
                    scheduler.ended(key, outcome).await;
                }
                // It panicked, which says of which one nobody knows.
                Err(error) => {
                    tracing::error!(%error, "a backup broke off");
                    busy.clear();
                }
            },
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = Timestamp::now();
        let (due, unknown) = scheduler.due(&tried, &known, began, now);
        for (key, root) in unknown {
            if looks.len() < LOOKS_AT_ONCE && known.looking.insert(key.clone()) {
                looks.spawn(async move {
                    let fresh = if matches!(root, Address::Directory(_)) { LOOK } else { FRESH };
                    let latest = async { Shelf::of(&root, &key.0)?.latest().await };
                    (key.clone(), fresh, latest.await)
                });
            }
        }
        for job in due {
            let same_server = |key: &Key| key.1 == job.key.1;
            if jobs.len() >= AT_ONCE || busy.iter().any(same_server) {
                continue;
            }
            busy.insert(job.key.clone());
            tried.insert(job.key.clone(), now);
            let scheduler = Arc::clone(&scheduler);
            jobs.spawn(async move {
                let outcome = scheduler.back_up(&job).await;
                (job.key, outcome.map_err(|error| told(&error)))
            });
        }
    }
}

fn told(error: &TransferError) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

impl Scheduler {
    /// What is due, and where is to be looked for archives first; for the board when the others are due.
    fn due(
        &self,
        tried: &BTreeMap<Key, Timestamp>,
        known: &Known,
        began: Timestamp,
        now: Timestamp,
    ) -> (Vec<Job>, Vec<(Key, Address)>) {
        let (declared, suspended, fleet) = {
            let content = self.board.read();
            (Arc::clone(&content.declared), content.suspended.clone(), content.fleet.clone())
        };
        // What another controller has, that one backs up.
        let is_own = |server: &ObjectKey| fleet.as_ref().is_none_or(|fleet| fleet.is_own(server));
        let (mut due, mut unknown, mut states) = (Vec::new(), Vec::new(), BTreeMap::new());
        for server in declared.servers.values().filter(|server| is_own(&server.key)) {
            for destination in &server.destinations {
                for member in &destination.members {
                    let Some(policy) = &member.backup else { continue };
                    let Some(schedule) = policy.schedule() else { continue };
                    let key = (member.resource.clone(), server.key.clone());
                    // What is no address is reported with the manifest.
                    let Ok(root) = root(&policy.spec.to, &key, &declared.servers) else { continue };
                    let latest = known.latest.get(&key);
                    if latest.is_none_or(|(_, until)| Instant::now() > *until) {
                        unknown.push((key.clone(), root));
                    }
                    // Before that is known, nothing is due.
                    let Some(&(latest, _)) = latest else { continue };
                    // One that was missed while nothing ran is made up for; where there has never been one, the first is that of the schedule.
                    let last = latest.max(tried.get(&key).copied()).unwrap_or(began);
                    let next = schedule.due(&member.resource, last);
                    states.insert(key.clone(), (latest, next));
                    let is_suspended = server.suspend
                        || destination.suspend
                        || [&server.key, &destination.key].into_iter().any(|it| suspended.contains(it));
                    if next.is_some_and(|next| next <= now) && !is_suspended {
                        due.push(Job { key, server: Arc::clone(server), policy: Arc::clone(policy) });
                    }
                }
            }
        }
        self.show(states);
        (due, unknown)
    }

    fn show(&self, states: BTreeMap<Key, (Option<Timestamp>, Option<Timestamp>)>) {
        let state = |before: Option<&BackupState>, (last_success, next)| BackupState {
            last_success,
            problem: before.and_then(|it| it.problem.clone()),
            next,
        };
        let shown: BTreeMap<Key, BackupState> = {
            let content = self.board.read();
            states.into_iter().map(|(key, times)| (key.clone(), state(content.backups.get(&key), times))).collect()
        };
        if self.board.read().backups != shown {
            self.board.update(|content| content.backups = shown);
        }
    }

    async fn back_up(&self, job: &Job) -> Result<String, TransferError> {
        let Job { key: (object, server), policy, .. } = job;
        tracing::info!(%object, server = server.path(), "a backup is due");
        let failed = |error: crate::shell::engine::EngineError| TransferError::Engine(error);
        let reader = connect::reader(&job.server, &self.options).map_err(failed)?;
        let writer = connect::writer(&job.server, &self.options).map_err(failed)?;
        helpers::register(&self.state)?;
        helpers::sweep(&writer).await?;
        let resource = Resource::find(&reader, &job.server, object, &self.set, policy.engine).await?;
        let declared = Arc::clone(&self.board.read().declared);
        let encryption = Encryption::parse(&policy.spec.encrypt_to)
            .map_err(|message| TransferError::Failed { message, hint: None })?;
        let root = root(&policy.spec.to, &job.key, &declared.servers)
            .map_err(|message| TransferError::Failed { message, hint: None })?;
        let options = Options {
            root,
            state: self.state.clone(),
            live: policy.spec.live,
            encryption,
            keep: policy.spec.keep,
            unmeasured: false,
            before_restore: false,
        };
        let done = backup::backup(&writer, &resource, &options, &Said, std::future::pending()).await?;
        for warning in &done.archive.manifest.warnings {
            tracing::warn!(%object, "{warning}");
        }
        Ok(format!("backed up to {}", done.archive.address))
    }

    async fn ended(&self, key: Key, outcome: Result<String, String>) {
        let (object, server) = &key;
        match &outcome {
            Ok(message) => tracing::info!(%object, server = server.path(), "{message}"),
            Err(problem) => tracing::error!(%object, server = server.path(), "no backup was written: {problem}"),
        }
        self.board.update(|content| {
            let state = content.backups.entry(key.clone()).or_default();
            state.problem = outcome.as_ref().err().cloned();
        });
        let failing: Vec<String> = {
            let content = self.board.read();
            let failing = content.backups.iter().filter(|(_, state)| state.problem.is_some());
            failing.map(|((object, server), _)| format!("{object} on {}", server.path())).collect()
        };
        match failing.is_empty() {
            true => self.board.set_condition(
                BACKED_UP,
                ConditionStatus::True,
                "BackedUp",
                "The backups that were due are written.",
            ),
            false => {
                let message = format!("The last backup that was due was not written: {}.", failing.join(", "));
                self.board.set_condition(BACKED_UP, ConditionStatus::False, "BackupFailed", &message);
            }
        }
        let _ = self.commands.send(Command::BackedUp { object: key.0, server: key.1, outcome }).await;
    }
}

/// Where its archives are: where a resource is on several servers, one place for each server, for their data is not the same.
fn root(
    to: &str,
    (object, server): &Key,
    servers: &BTreeMap<ObjectKey, Arc<DesiredServer>>,
) -> Result<Address, String> {
    let to = Address::parse(to)?;
    let has = |it: &&Arc<DesiredServer>| {
        it.destinations.iter().flat_map(|it| &it.members).any(|member| member.resource == *object)
    };
    Ok(match servers.values().filter(has).count() {
        0 | 1 => to,
        _ => to.join("servers").join(&server.path()),
    })
}

impl Known {
    /// What was written just now is to be seen.
    fn expire(&mut self, key: &Key) {
        if let Some((_, until)) = self.latest.get_mut(key) {
            *until = Instant::now();
        }
    }

    /// `fresh`: for how long that is taken to be so.
    fn take(&mut self, key: Key, fresh: Duration, found: Result<Option<Timestamp>, TransferError>) {
        self.looking.remove(&key);
        let before = self.latest.get(&key).and_then(|(latest, _)| *latest);
        let (latest, fresh) = match found {
            Ok(latest) => (latest, fresh),
            Err(error) => {
                tracing::warn!(object = %key.0, "which backups there are is not known: {error}");
                (before, AGAIN)
            }
        };
        self.latest.insert(key, (latest, Instant::now() + fresh));
    }
}

/// To the log.
struct Said;

impl Watch for Said {
    fn step(&self, text: &str) {
        tracing::debug!("{text}");
    }

    fn warn(&self, text: &str) {
        tracing::warn!("{text}");
    }
}
