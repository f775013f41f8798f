//! The shell around [`State`]: turns files, events, timers and signals into [`Event`]s, and carries out the [`Response`]s.
//!
//! Nothing is decided here. What a pass does is in `reconcile.rs`; when there is one is in `state.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::board::{Board, ServerState};
use super::files;
use super::state::{DestinationOutcome, Event, Loaded, PassOutcome, Response, State};
use crate::api::{Kind, ObjectKey};
use crate::desired::{DesiredServer, DesiredState};
use crate::engine::connect::{self, ConnectOptions};
use crate::engine::{DockerWriter, EngineError, Watcher};
use crate::execute::Limits;
use crate::manifest::Diagnostic;
use crate::observe::ObserveLimits;
use crate::plan::{Call, Group, NetworkTarget, Plan, Request};
use crate::reconcile::{Applied, Pass};
use crate::report::json::Document;
use crate::report::{Outcome, Report};
use crate::sources;
use crate::status::Status;
use crate::store::history::{EventRecord, EventType, History, PassRecord};
use crate::store::journal::Journals;

/// Events that wait to be handled. Hints beyond it are dropped: each says the same as the next resync.
const BACKLOG: usize = 1024;
/// How long running passes may take to end after the first signal.
const GRACE: Duration = Duration::from_secs(30);
/// How long the loop sleeps with nothing to wait for.
const IDLE: Duration = Duration::from_secs(60);
/// Wait before a lost event stream is opened again. The pass that the loss causes says whether the server is there at all.
const REOPEN: Duration = Duration::from_secs(1);

/// How the loop runs.
#[derive(Debug, Clone)]
pub struct Options {
    pub manifests: Vec<PathBuf>,
    pub set: String,
    /// Between two resyncs of a server, give or take a tenth.
    pub interval: Duration,
    /// Between two comparisons of the files that nobody asked for; `None`: as the file system needs it.
    pub poll: Option<Duration>,
    /// Remove what the set owns and the manifests no longer declare.
    pub prune: bool,
    pub allow_mass_delete: bool,
    pub connect: ConnectOptions,
    pub observe: ObserveLimits,
    pub execute: Limits,
    /// For the jitter.
    pub seed: u64,
}

/// Something from outside of the loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A pass over one server, or over all.
    Reconcile { server: Option<ObjectKey> },
    /// Read the manifests now.
    Reload,
    /// The first drains, the second aborts.
    Stop,
}

/// How the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every pass had ended.
    Drained,
    /// Passes were cut off, by a second signal or because they outlasted the grace.
    Aborted,
}

/// Runs until told to stop.
pub async fn run(
    options: Options,
    journals: Journals,
    history: Option<Arc<History>>,
    board: Board,
    mut commands: mpsc::Receiver<Command>,
) -> Ended {
    let (inbox, mut events) = mpsc::channel(BACKLOG);
    let mut files = files::watch(options.manifests.clone(), options.poll);
    let started = Instant::now();
    let mut loop_ = Loop {
        state: State::new(options.interval, options.seed),
        shared: Arc::new(Shared { options, journals, history, board, inbox }),
        desired: DesiredState { set: String::new(), servers: BTreeMap::new() },
        content: None,
        links: BTreeMap::new(),
        passes: BTreeMap::new(),
        settled: BTreeSet::new(),
        deadline: None,
        ended: None,
    };
    loop_.handle(started.elapsed(), Event::SourceChanged);
    loop {
        if let Some(ended) = loop_.ended {
            return ended;
        }
        let now = started.elapsed();
        let wake = loop_.state.wake_at(now).into_iter().chain(loop_.deadline).min().unwrap_or(now + IDLE);
        let event = tokio::select! {
            // Commands first: a flood of events must not delay a signal.
            biased;
            command = commands.recv() => match command {
                Some(Command::Reconcile { server }) => Event::ReconcileRequested { server },
                Some(Command::Reload) => Event::SourceChanged,
                Some(Command::Stop) | None => Event::StopRequested,
            },
            Some(message) = events.recv() => match loop_.take(message) {
                Some(event) => event,
                None => continue,
            },
            Some(()) = files.recv() => Event::SourceChanged,
            () = tokio::time::sleep_until((started + wake).into()) => Event::Tick,
        };
        loop_.handle(started.elapsed(), event);
    }
}

/// What every task needs.
struct Shared {
    options: Options,
    journals: Journals,
    /// `None`: it could not be opened, and the loop goes on without memory.
    history: Option<Arc<History>>,
    board: Board,
    inbox: mpsc::Sender<Message>,
}

/// From a task to the loop.
enum Message {
    /// `None`: as read before.
    Loaded(Option<Reading>),
    Hint {
        server: ObjectKey,
    },
    StreamLost {
        server: ObjectKey,
        error: Option<EngineError>,
    },
    PassEnded {
        server: ObjectKey,
        ended: Box<PassEnded>,
    },
}

/// What the files say.
struct Reading {
    /// Hash of their names and bytes, and of what could not be read.
    content: u64,
    result: Result<DesiredState, Vec<Diagnostic>>,
}

struct PassEnded {
    pass: u64,
    took: Duration,
    held: BTreeSet<ObjectKey>,
    /// `None`: the pass panicked or could not begin.
    applied: Option<(DesiredState, Applied)>,
}

/// The way to one server, kept between passes.
struct Link {
    declared: DesiredServer,
    writer: DockerWriter,
    events: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.events.abort();
    }
}

struct Loop {
    state: State,
    shared: Arc<Shared>,
    /// The last good set.
    desired: DesiredState,
    /// Hash of what was read last, good or bad.
    content: Option<u64>,
    links: BTreeMap<ObjectKey, Link>,
    passes: BTreeMap<ObjectKey, JoinHandle<()>>,
    /// Objects that have been as declared since the manifests last changed: what moves now is drift.
    settled: BTreeSet<ObjectKey>,
    deadline: Option<Duration>,
    ended: Option<Ended>,
}

impl Loop {
    fn handle(&mut self, now: Duration, event: Event) {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            tracing::warn!("passes have outlasted {GRACE:?}; they are cut off");
            self.ended = Some(Ended::Aborted);
            return;
        }
        for response in self.state.handle_event(now, event) {
            match response {
                Response::Load => self.load(),
                Response::StartPass { server, pass, hold } => self.start_pass(server, pass, hold),
                Response::Contended { destination } => {
                    tracing::warn!(%destination, "something keeps undoing what is repaired");
                    let message = "Something keeps undoing what is repaired; waiting longer between repairs.";
                    self.record(
                        &[],
                        &[event_record(EventType::Warning, &destination, None, "Contended", message, None)],
                    );
                }
                Response::Drain => {
                    tracing::info!("stopping: passes that run are waited for, new ones do not begin");
                    self.deadline = Some(now + GRACE);
                    self.shared.board.update(|board| board.stopping = true);
                }
                Response::Abort => self.ended = Some(Ended::Aborted),
                Response::Finished => self.ended = self.ended.or(Some(Ended::Drained)),
            }
        }
    }

    /// Takes what a task has found; what is left for [`State`] to decide on is returned.
    fn take(&mut self, message: Message) -> Option<Event> {
        match message {
            Message::Hint { server } => {
                self.shared.board.update(|board| board.counts.events += 1);
                Some(Event::Hint { server })
            }
            Message::StreamLost { server, error } => {
                if let Some(error) = error {
                    tracing::warn!(server = %server.path(), %error, "the stream of events is lost; it is opened again");
                }
                self.shared.board.update(|board| board.counts.lost_streams += 1);
                Some(Event::Hint { server })
            }
            Message::Loaded(reading) => {
                Some(Event::Loaded(reading.map_or(Loaded::Unchanged, |reading| self.take_manifests(reading))))
            }
            Message::PassEnded { server, ended } => {
                self.passes.remove(&server);
                let outcome = self.take_pass(&server, *ended);
                Some(Event::PassFinished { server, outcome })
            }
        }
    }

    /// Reads and validates the manifests off the loop.
    fn load(&self) {
        let shared = Arc::clone(&self.shared);
        let known = self.content;
        tokio::spawn(async move {
            let reading = Arc::clone(&shared);
            let read = tokio::task::spawn_blocking(move || read_manifests(&reading.options, known)).await;
            let reading = read.unwrap_or_else(|panic| {
                let problem = Diagnostic::of_file("manifests", format!("reading them failed: {panic}"));
                Some(Reading { content: 0, result: Err(vec![problem]) })
            });
            let _ = shared.inbox.send(Message::Loaded(reading)).await;
        });
    }

    fn take_manifests(&mut self, Reading { content, result }: Reading) -> Loaded {
        self.content = Some(content);
        match result {
            Ok(desired) => {
                tracing::info!(
                    servers = desired.servers.len(),
                    destinations = desired.destinations().count(),
                    "manifests read"
                );
                self.desired = desired;
                self.settled.clear();
                self.lay_links();
                let servers: BTreeSet<_> = self.desired.servers.keys().cloned().collect();
                let declared = Arc::new(self.desired.clone());
                self.shared.board.update(|board| {
                    board.declared = declared;
                    board.manifests.generation += 1;
                    board.manifests.problems.clear();
                    board.manifests.loaded = Some(jiff::Timestamp::now());
                    board.servers.retain(|name, _| servers.iter().any(|server| server.path() == *name));
                });
                Loaded::Valid { servers }
            }
            Err(problems) => {
                for problem in &problems {
                    tracing::error!("{problem}");
                }
                tracing::error!(
                    problems = problems.len(),
                    "the manifests are invalid; the last good ones stay in force"
                );
                self.shared.board.update(|board| board.manifests.problems = problems);
                Loaded::Invalid
            }
        }
    }

    /// Connections for the servers that are declared now; those of servers that are declared as before are kept.
    fn lay_links(&mut self) {
        let same = |link: &Link, server: &DesiredServer| link.declared.endpoint == server.endpoint;
        self.links.retain(|key, link| self.desired.servers.get(key).is_some_and(|server| same(link, server)));
        for (key, server) in &self.desired.servers {
            if self.links.contains_key(key) {
                continue;
            }
            match connect::writer(server, &self.shared.options.connect) {
                Ok(writer) => {
                    let events = tokio::spawn(listen(key.clone(), writer.clone(), self.shared.inbox.clone()));
                    self.links.insert(key.clone(), Link { declared: server.clone(), writer, events });
                }
                // The pass says so in its report.
                Err(error) => tracing::error!(server = %key.path(), %error, "no connection"),
            }
        }
    }

    fn start_pass(&mut self, server: ObjectKey, pass: u64, hold: BTreeSet<ObjectKey>) {
        let shared = Arc::clone(&self.shared);
        let writer = self.links.get(&server).map(|link| link.writer.clone());
        let declared = self.desired.servers.get(&server).cloned();
        let desired = DesiredState {
            set: self.desired.set.clone(),
            servers: declared.into_iter().map(|declared| (server.clone(), declared)).collect(),
        };
        let key = server.clone();
        let task = tokio::spawn(async move {
            let started = Instant::now();
            let work = one_pass(&shared, desired, writer, &hold);
            // A panic in one pass is one failed pass, and not the end of the loop.
            let applied = std::panic::AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(server = %server.path(), pass, "the pass panicked; this is a bug in Landfall");
                None
            });
            let ended = PassEnded { pass, took: started.elapsed(), held: hold, applied };
            let _ = shared.inbox.send(Message::PassEnded { server, ended: Box::new(ended) }).await;
        });
        self.passes.insert(key, task);
    }

    fn take_pass(&mut self, server: &ObjectKey, ended: PassEnded) -> PassOutcome {
        let PassEnded { pass, took, held, applied } = ended;
        self.shared.board.update(|board| board.counts.passes += 1);
        let Some((desired, Applied { observed, report })) = applied else {
            self.shared.board.update(|board| board.counts.failed_passes += 1);
            return PassOutcome { unreachable: true, destinations: BTreeMap::new() };
        };
        let reachable = matches!(observed.get(server), Some(Ok(_)));
        let outcome = self.judge(&desired, &report, reachable, &held);
        let document = report.document();
        self.remember(server, pass, took, &report, &document);
        self.show(server, pass, took, reachable, Status::new(&desired, &observed, &report), &report, document);
        outcome
    }

    /// What the pass came to, object by object.
    fn judge(
        &mut self,
        desired: &DesiredState,
        report: &Report,
        reachable: bool,
        held: &BTreeSet<ObjectKey>,
    ) -> PassOutcome {
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
        PassOutcome { unreachable: !reachable, destinations }
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

    fn record(&self, passes: &[PassRecord], events: &[EventRecord]) {
        if let Some(history) = &self.shared.history
            && let Err(error) = history.record(passes, events)
        {
            tracing::warn!(%error, "the history cannot be written; the loop goes on without");
        }
    }
}

fn event_record(
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

/// Reads the files. `None` where they say what they said when their hash was `known`.
fn read_manifests(options: &Options, known: Option<u64>) -> Option<Reading> {
    let (read, problems) = sources::read(&options.manifests, &mut std::io::empty());
    let mut hasher = DefaultHasher::new();
    for source in &read {
        (&source.name, &source.bytes).hash(&mut hasher);
    }
    for problem in &problems {
        problem.to_string().hash(&mut hasher);
    }
    let content = hasher.finish();
    if known == Some(content) {
        return None;
    }
    let result = sources::validate(&options.manifests, &read, problems).and_then(|it| it.desired(&options.set));
    Some(Reading { content, result })
}

/// Observes, plans and executes one server. `None` when it could not begin.
async fn one_pass(
    shared: &Shared,
    desired: DesiredState,
    writer: Option<DockerWriter>,
    hold: &BTreeSet<ObjectKey>,
) -> Option<(DesiredState, Applied)> {
    let request = Request {
        prune: shared.options.prune,
        allow_mass_delete: shared.options.allow_mass_delete,
        ..Request::default()
    };
    let pass = Pass {
        desired: &desired,
        request: &request,
        journals: &shared.journals,
        observe: shared.options.observe,
        execute: shared.options.execute,
    };
    let connect = |server: &DesiredServer| match &writer {
        Some(writer) => Ok(writer.clone()),
        None => connect::writer(server, &shared.options.connect),
    };
    let applied = pass
        .apply(
            connect,
            |_, mut plan| {
                leave_out(&mut plan, hold);
                Some(plan)
            },
            &(),
        )
        .await;
    match applied {
        Ok(applied) => applied.map(|applied| (desired, applied)),
        Err(error) => {
            tracing::error!(%error, "no pass is possible");
            None
        }
    }
}

/// Takes what is on hold out of the plan, and whatever relies on a network that is therefore not created.
fn leave_out(plan: &mut Plan, hold: &BTreeSet<ObjectKey>) {
    if hold.is_empty() {
        return;
    }
    for server in &mut plan.servers {
        server.groups.retain(|group| {
            !hold.contains(&group.object) && !group.operations.iter().any(|it| hold.contains(&it.object))
        });
        let created: BTreeSet<String> = server.groups.iter().flat_map(created).collect();
        server.groups.retain(|group| awaited(group).all(|name| created.contains(name)));
    }
}

fn created(group: &Group) -> impl Iterator<Item = String> {
    group.operations.iter().filter_map(|operation| match &operation.call {
        Call::CreateNetwork(create) => Some(create.name.clone()),
        _ => None,
    })
}

/// Names of the networks that have to be created before the group can do its work.
fn awaited(group: &Group) -> impl Iterator<Item = &String> {
    group.operations.iter().filter_map(|operation| match &operation.call {
        Call::ConnectEndpoint { network: NetworkTarget { name, id: None }, .. }
        | Call::DisconnectEndpoint { network: NetworkTarget { name, id: None }, .. }
        | Call::RemoveNetwork { network: NetworkTarget { name, id: None } } => Some(name),
        _ => None,
    })
}

/// Drains the events of one server. Subscribes first, then has it listed: what happened in between is in the list.
async fn listen(server: ObjectKey, writer: DockerWriter, inbox: mpsc::Sender<Message>) {
    debug_assert_eq!(server.kind, Kind::Server);
    loop {
        let error = match writer.subscribe().await {
            Ok(mut stream) => {
                let _ = inbox.try_send(Message::Hint { server: server.clone() });
                loop {
                    match stream.next().await {
                        // Never wait: a slow listener slows the daemon, and one hint that is underway stands for all.
                        Some(Ok(event)) => {
                            tracing::trace!(server = %server.path(), action = event.action, object = event.name, "event");
                            let _ = inbox.try_send(Message::Hint { server: server.clone() });
                        }
                        Some(Err(error)) => break Some(error),
                        None => break None,
                    }
                }
            }
            Err(error) => Some(error),
        };
        if inbox.send(Message::StreamLost { server: server.clone(), error }).await.is_err() {
            return;
        }
        tokio::time::sleep(REOPEN).await;
    }
}
