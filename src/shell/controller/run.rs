//! The shell around [`State`]: turns files, events, timers and signals into [`Event`]s, and carries out the [`Response`]s.
//!
//! Nothing is decided here. What a pass does is in `reconcile.rs`; when there is one is in `state.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tracing::Instrument;

use super::attempts::Attempts;
use super::board::{Board, Digest, ServerState};
use super::gone::Gone;
use super::kept::Kept;
use super::memory::Memory;
use super::notify::{Notifiers, Pace};
use super::outcome::{Showing, fought_over, judge_manifests, objects};
use super::pass::{self, Lane, PassEnded};
use super::sharing::{self, Learned, News, Sharing, Together};
use super::source::{Said, Source};
use super::state::{Event, Loaded, PassOutcome, Response, State};
use super::stream::listen;
use super::subject::{About, Subject};
use super::supervisor;
use crate::core::api::ObjectKey;
use crate::core::changes::Standing;
use crate::core::desired::{DesiredServer, DesiredState, Endpoint};
use crate::core::manifest::{self, Diagnostic};
use crate::core::notice::Notifier;
use crate::core::observed::{ContainerId, NetworkId};
use crate::core::plan::{Group, Reason, ServerType, Withheld};
use crate::core::reload;
use crate::core::report::Report;
use crate::shell::compose;
use crate::shell::engine::connect::{self, ConnectOptions};
use crate::shell::engine::fence::Fence;
use crate::shell::engine::{DockerWriter, EngineError};
use crate::shell::execute::Limits;
use crate::shell::git::{Checkout, Named};
use crate::shell::observe::ObserveLimits;
use crate::shell::secrets::{self, Generate};
use crate::shell::sources;

use crate::shell::slots::Turns;
use crate::shell::store::known::Known;
use crate::shell::store::records::{CONTENDED, EventRecord, EventType, ObjectRecord};
use crate::shell::store::usage::Usage;
use crate::shell::store::{Journals, Records, state_directory};

/// Events that wait to be handled. Hints beyond it are dropped: each says the same as the next resync.
const BACKLOG: usize = 1024;
/// Bytes of a file that is no manifest.
const MAX_INPUT: u64 = 8 << 20;
/// Problems of one reading of the manifests that are logged one by one; the status and `validate` have them all.
const LOGGED_PROBLEMS: usize = 20;
/// Disconnections that are remembered for the record. Those that nothing is put back for are forgotten with the others.
const DEEDS: usize = 4_096;
/// How long running passes may take to end after the first signal.
const GRACE: Duration = Duration::from_secs(30);
/// Threads for passes at most: each has memory of its own.
const THREADS: usize = 8;
/// How long the loop sleeps with nothing to wait for.
const IDLE: Duration = Duration::from_secs(60);

/// How the loop runs.
#[derive(Debug, Clone)]
pub struct Options {
    pub manifests: Source,
    pub set: String,
    /// The directory of `--state` where it is not the usual one: commands that are shown have to find this controller.
    pub state: Option<PathBuf>,
    /// Which manifests these are.
    pub source: Option<String>,
    /// Between two resyncs of a server, and two fetches of a repository, give or take a tenth.
    pub interval: Duration,
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
    /// Somebody agrees to the deletions that a fingerprint stands for, and to no others. One that stands for nothing that is pending is
    /// ignored: the [`Board`] says what is.
    Approve { fingerprint: String },
    /// Every container of a resource that Landfall runs is replaced by a new one.
    Restart { resource: ObjectKey },
    /// Leaves a destination or a server as it is, as `suspend: true` does, until this is taken back or the controller ends.
    Suspend { object: ObjectKey, suspend: bool },
    /// The same, with who asks for it: that is written down.
    By { who: String, command: Box<Command> },
    /// A backup that was due has ended: where it is, or why there is none.
    BackedUp { object: ObjectKey, server: ObjectKey, outcome: Result<String, String> },
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
    journals: Arc<dyn Journals>,
    store: Option<Arc<dyn Records>>,
    board: Board,
    mut commands: mpsc::Receiver<Command>,
    together: Option<Together>,
) -> Ended {
    let (inbox, mut events) = mpsc::channel(BACKLOG);
    let (hints, mut heard) = mpsc::channel(BACKLOG);
    let mut changes = options.manifests.changes(&board, options.interval, options.seed);
    let (memory, first_pass) = Memory::begin(store.clone(), &board).await;
    let background = Background::start();
    let sharing = together.map(|together| Sharing::new(together, background.handle(), inbox.clone()));
    let notifiers = Notifiers::new(board.clone(), Pace::default());
    let started = Instant::now();
    let usage = state_directory(options.state.as_deref()).ok().map(|directory| Usage::in_state(&directory));
    let mut loop_ = Loop {
        state: State::new(options.interval, options.seed, first_pass),
        memory,
        shared: Arc::new(Shared {
            turns: Turns::new(options.observe.concurrency),
            options,
            journals,
            known: Known::watched(),
            usage,
            attempts: Attempts::default(),
            notifiers,
            board,
            inbox,
            hints,
        }),
        background,
        hinted: BTreeSet::new(),
        desired: DesiredState::default(),
        content: None,
        inputs: Inputs::default(),
        gone: Gone::default(),
        revision: None,
        links: BTreeMap::new(),
        writers: Arc::default(),
        passes: BTreeMap::new(),
        open: BTreeMap::new(),
        contended: BTreeMap::new(),
        showing: None,
        standings: BTreeMap::new(),
        deeds: BTreeMap::new(),
        agreed: BTreeMap::new(),
        restarts: BTreeSet::new(),
        suspended: BTreeSet::new(),
        refreshes: BTreeMap::new(),
        deadline: None,
        ended: None,
        store,
        sharing,
    };
    let mut alive = supervisor::SignsOfLife::from_environment();
    let mut ready = false;
    loop_.handle(started.elapsed(), Event::SourceChanged);
    loop {
        if let Some(ended) = loop_.ended {
            loop_.memory.close().await;
            return ended;
        }
        let now = started.elapsed();
        let wake = loop_.state.wake_at(now).into_iter().chain(loop_.deadline).min().unwrap_or(now + IDLE);
        let event = tokio::select! {
            // Commands first: a flood of events must not delay a signal, nor the sign of life.
            biased;
            () = alive.due() => {
                supervisor::tell(&[supervisor::Fact::Watchdog]);
                continue;
            }
            command = commands.recv() => {
                for event in loop_.commanded(command.unwrap_or(Command::Stop)) {
                    loop_.handle(started.elapsed(), event);
                }
                continue;
            }
            news = Sharing::news(&mut loop_.sharing) => {
                for event in loop_.learned(news) {
                    loop_.handle(started.elapsed(), event);
                }
                continue;
            }
            Some(message) = either(&mut heard, &mut events) => match loop_.take(message) {
                Some(event) => event,
                None => continue,
            },
            Some(()) = changes.recv() => Event::SourceChanged,
            () = tokio::time::sleep_until(started + wake) => Event::Tick,
        };
        // Whatever the manifests say: it is at work from here on.
        if matches!(event, Event::Loaded(_)) && !std::mem::replace(&mut ready, true) {
            supervisor::tell(&[supervisor::Fact::Ready]);
        }
        loop_.handle(started.elapsed(), event);
    }
}

/// The next of both, whichever there is more of: what has happened does not wait behind a thousand passes that have ended, nor these for a flood.
async fn either(one: &mut mpsc::Receiver<Message>, other: &mut mpsc::Receiver<Message>) -> Option<Message> {
    tokio::select! {
        Some(message) = one.recv() => Some(message),
        Some(message) = other.recv() => Some(message),
        else => None,
    }
}

/// Threads for passes that are not urgent. The loop, and what heals, have one of their own, and wait for none of a thousand servers that are
/// looked at again.
struct Background(Option<Runtime>);

impl Background {
    /// One thread for each processor but the loop's. Where they cannot be had, everything is done on the loop's.
    fn start() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads((threads - 1).clamp(1, THREADS)).thread_name("passes").enable_all();
        let runtime = runtime.build().inspect_err(|error| tracing::warn!(%error, "there are no threads for passes"));
        Self(runtime.ok())
    }

    fn handle(&self) -> Handle {
        self.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // It may be dropped where nothing may be waited for.
            runtime.shutdown_background();
        }
    }
}

/// Every object that is declared.
fn declared(desired: &DesiredState) -> BTreeSet<ObjectKey> {
    desired.servers.keys().cloned().chain(objects(desired)).collect()
}

/// What every task needs.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) journals: Arc<dyn Journals>,
    /// For as long as the loop runs.
    pub(super) known: Known,
    /// Where the use of addresses is kept.
    pub(super) usage: Option<Usage>,
    /// What failed and is not to be tried again as it is.
    pub(super) attempts: Attempts,
    pub(super) notifiers: Notifiers,
    pub(super) board: Board,
    pub(super) inbox: mpsc::Sender<Message>,
    /// For what servers tell.
    hints: mpsc::Sender<Message>,
    pub(super) turns: Turns,
}

/// From a task to the loop.
pub(super) enum Message {
    Loaded {
        /// `None`: as read before.
        reading: Option<Box<Reading>>,
        /// Of the repository.
        revision: Option<String>,
    },
    /// What was read is to be confirmed.
    ReadAgain,
    Hint {
        server: ObjectKey,
        /// `None`: anything may have happened.
        about: Option<About>,
        /// Somebody was taken off a network, at that time of the daemon's.
        deed: Option<jiff::Timestamp>,
    },
    /// After a loss.
    StreamBack {
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
    RolloutEnded {
        server: ObjectKey,
        ended: Box<PassEnded>,
    },
    /// What was kept of a server whose lock is new.
    Recalled {
        server: ObjectKey,
        fence: Fence,
        objects: BTreeMap<ObjectKey, ObjectRecord>,
    },
    /// What other controllers show of their servers.
    Others {
        shown: Vec<(ObjectKey, ServerState)>,
    },
    /// At any controller.
    Happened {
        events: Vec<EventRecord>,
    },
    Refreshed {
        server: ObjectKey,
        pass: u64,
        took: Duration,
        done: Box<Result<Report, String>>,
    },
}

/// Files that are no manifests, and that the desired state is made of as well.
#[derive(Debug, Clone, Default)]
struct Inputs {
    /// Of this machine.
    files: Vec<PathBuf>,
    /// Of the commit.
    named: BTreeSet<String>,
}

impl Inputs {
    fn of(good: &Good, checkout: Option<&Checkout>) -> Self {
        let named = checkout.map(Checkout::provided).unwrap_or_default();
        let of_commit = |path: &Path| good.sources.base().is_of_commit(&path.to_string_lossy());
        let values = secrets::files(&good.desired).into_iter().map(PathBuf::from);
        let files = compose::inputs(&good.desired).into_iter().chain(values).filter(|path| !of_commit(path)).collect();
        Self { files, named }
    }

    fn hash(&self, checkout: Option<&Checkout>, hasher: &mut DefaultHasher) {
        for path in &self.files {
            // As much as is read of any of them, and of nothing that is not a file.
            let mut bytes = Vec::new();
            let read = std::fs::metadata(path).is_ok_and(|it| it.is_file())
                && std::fs::File::open(path).and_then(|file| file.take(MAX_INPUT).read_to_end(&mut bytes)).is_ok();
            (path, read.then_some(bytes)).hash(hasher);
        }
        for path in &self.named {
            (path, checkout.and_then(|it| it.object(path))).hash(hasher);
        }
    }
}

/// What the files say.
pub(super) struct Reading {
    /// Hash of their names and bytes, and of what could not be read.
    content: u64,
    inputs: Inputs,
    result: Result<Good, Wrong>,
}

/// Manifests that can be in force.
struct Good {
    desired: DesiredState,
    /// What tells the forms of the manifests apart.
    fingerprints: BTreeMap<ObjectKey, String>,
    notifiers: Vec<Notifier>,
    sources: Kept,
}

/// Manifests that cannot.
struct Wrong {
    problems: Vec<Diagnostic>,
    /// What was in force before this process, and its revision; where nothing is in this one.
    before: Option<(Good, Option<String>)>,
}

/// The way to one server, kept between passes.
struct Link {
    declared: Arc<DesiredServer>,
    writer: DockerWriter,
    /// Over connections that are not served by the threads of the background.
    urgent: Option<DockerWriter>,
    events: JoinHandle<()>,
    /// Has the stream of events opened anew.
    doubt: Arc<Notify>,
    /// With which its connections end.
    fence: Option<Fence>,
}

impl Link {
    fn urgent(&mut self) -> DockerWriter {
        self.urgent.get_or_insert_with(|| self.writer.beside()).clone()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.events.abort();
    }
}

pub(super) struct Loop {
    state: State,
    pub(super) memory: Memory,
    pub(super) shared: Arc<Shared>,
    /// The last good set.
    pub(super) desired: DesiredState,
    /// Hash of what was read last, good or bad.
    content: Option<u64>,
    inputs: Inputs,
    /// What is in force and in no file any more.
    gone: Gone,
    /// Of the repository, where the last good set is from one.
    pub(super) revision: Option<String>,
    links: BTreeMap<ObjectKey, Link>,
    /// Of all links, for the passes.
    writers: Arc<BTreeMap<ObjectKey, DockerWriter>>,
    /// Passes that are started, with what has one begin at once that still waits for its turn.
    passes: BTreeMap<ObjectKey, Arc<Notify>>,
    background: Background,
    /// Servers that have told of something since their last pass was started.
    hinted: BTreeSet<ObjectKey>,
    /// Of each server that a pass has seen since what is declared on it last changed: the objects on it that have not been as declared since.
    /// Few, where a list of those that have been is as long as the manifests.
    pub(super) open: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// Objects that something keeps changing back, by server.
    contended: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// The pass that has just ended.
    showing: Option<Showing>,
    /// When somebody was taken off a network, by the clock of the daemon that told of it; for the record of what is put back.
    pub(super) deeds: BTreeMap<(ObjectKey, NetworkId, ContainerId), jiff::Timestamp>,
    /// What stands on each server, for what is new after the next pass.
    pub(super) standings: BTreeMap<ObjectKey, Standing>,
    /// What was approved, until the manifests change.
    agreed: BTreeMap<ObjectKey, Arc<Withheld>>,
    /// Resources whose containers are to be replaced by the next rollout.
    restarts: BTreeSet<ObjectKey>,
    /// What is left as it is although the manifests do not say so.
    suspended: BTreeSet<ObjectKey>,
    /// What has the proxy of a server look again.
    pub(super) refreshes: BTreeMap<ObjectKey, Group>,
    deadline: Option<Duration>,
    ended: Option<Ended>,
    store: Option<Arc<dyn Records>>,
    /// `None`: every declared server is this controller's.
    pub(super) sharing: Option<Sharing>,
}

impl Loop {
    /// What a command is to the loop.
    fn commanded(&mut self, command: Command) -> Vec<Event> {
        match command {
            Command::By { who, command } => {
                self.audit(&who, &command);
                self.commanded(*command)
            }
            Command::Approve { fingerprint } if self.sharing.is_some() => {
                self.approve(&fingerprint);
                Vec::new()
            }
            // It comes back, to this controller as well.
            command if self.sharing.as_ref().is_some_and(|sharing| sharing.tell(&command)) => Vec::new(),
            command => self.obey(command),
        }
    }

    fn obey(&mut self, command: Command) -> Vec<Event> {
        match command {
            Command::By { command, .. } => self.obey(*command),
            Command::Reconcile { server } => {
                self.shared.attempts.forget(server.as_ref());
                vec![Event::ReconcileRequested { server }]
            }
            Command::Approve { fingerprint } => {
                tracing::info!(fingerprint, "deletions are approved");
                self.agree(&fingerprint);
                vec![Event::Approved { fingerprint }]
            }
            Command::BackedUp { object, server, outcome } => {
                match outcome {
                    Ok(message) => {
                        self.memory.happened(EventType::Normal, &server, &object, "BackedUp", &message);
                    }
                    Err(message) => {
                        self.memory.happened(EventType::Warning, &server, &object, "BackupFailed", &message);
                        self.shared.notifiers.backup_failed(object, server, &message);
                    }
                }
                Vec::new()
            }
            Command::Restart { resource } => {
                let events = self.looks_at(|server| server.has(&resource));
                self.restarts.insert(resource);
                events
            }
            Command::Suspend { object, suspend } => {
                let events = self.looks_at(|server| server.key == object || server.has(&object));
                match suspend {
                    true => self.suspended.insert(object),
                    false => self.suspended.remove(&object),
                };
                let suspended = self.suspended.clone();
                self.shared.board.update(|board| board.suspended = suspended);
                events
            }
            Command::Reload => {
                self.shared.options.manifests.refresh();
                vec![Event::SourceChanged]
            }
            Command::Stop => vec![Event::StopRequested],
        }
    }

    /// What there is of the other controllers.
    fn learned(&mut self, news: News) -> Vec<Event> {
        let Some(sharing) = &mut self.sharing else { return Vec::new() };
        match news {
            News::Held => {
                let new = sharing.take_held();
                if let Some(store) = self.store.clone().filter(|_| !new.is_empty()) {
                    tokio::spawn(sharing::recall(store, new, self.shared.inbox.clone()));
                }
                vec![self.take_share()]
            }
            News::Fleet => {
                let Learned { suspended, approved } = sharing.show(&self.shared.board);
                let approved = approved.into_iter().map(|fingerprint| {
                    tracing::info!(fingerprint, "deletions are approved");
                    Event::Approved { fingerprint }
                });
                let mut events: Vec<Event> = approved.collect();
                events.extend(suspended.into_iter().flat_map(|command| self.obey(command)));
                events
            }
            News::Heard(command) => self.obey(command),
            News::Ended => {
                tracing::error!("the thread that keeps the locks has ended; this is a bug in Landfall");
                vec![Event::StopRequested]
            }
        }
    }

    /// Remembers what was agreed to: a part of it is done by one lane, and the rest by the other.
    fn agree(&mut self, fingerprint: &str) {
        for (server, pending) in self.pending(fingerprint) {
            self.agreed.insert(server, Arc::new(pending));
        }
    }

    /// Writes down for all controllers what was agreed to.
    fn approve(&self, fingerprint: &str) {
        let Some(sharing) = &self.sharing else { return };
        for (server, pending) in self.pending(fingerprint) {
            sharing.approve(&server, &pending);
        }
    }

    /// What waits for an approval under that fingerprint.
    fn pending(&self, fingerprint: &str) -> Vec<(ObjectKey, Withheld)> {
        let board = self.shared.board.read();
        let pending = |server: &ObjectKey| {
            let pending = board.servers.get(&server.path())?.pending.clone()?;
            (pending.fingerprint == fingerprint).then(|| (server.clone(), pending))
        };
        self.desired.servers.keys().filter_map(pending).collect()
    }

    /// What is this controller's from here on.
    fn take_share(&mut self) -> Event {
        self.lay_links();
        let (kept, leaving) = self.kept();
        Event::Shared { kept, leaving }
    }

    /// Declared servers that get passes, and those that only end what they have begun.
    fn kept(&self) -> (BTreeSet<ObjectKey>, BTreeSet<ObjectKey>) {
        let declared = self.desired.servers.keys();
        let Some(sharing) = &self.sharing else { return (declared.cloned().collect(), BTreeSet::new()) };
        let (kept, leaving) = sharing.kept();
        (declared.filter(|server| kept.contains(*server)).cloned().collect(), leaving)
    }

    /// Whether that lock is held still; without others there is none to be held.
    fn is_current(&self, server: &ObjectKey, fence: Option<&Fence>) -> bool {
        let Some(sharing) = &self.sharing else { return true };
        sharing.fence(server).zip(fence).is_some_and(|(held, of_pass)| held.is_same(of_pass) && of_pass.is_open())
    }

    /// Gives up what is to be given up and on which nothing is under way, once what was found there is written.
    fn let_go(&mut self) {
        let (state, Some(sharing)) = (&self.state, &mut self.sharing) else { return };
        for (server, fence) in sharing.let_go(|server| state.is_busy(server)) {
            let (shares, written) = (sharing.shares(), self.memory.written());
            tokio::spawn(async move {
                written.await;
                shares.idle(&server, fence.token());
            });
        }
    }

    /// A pass over each of these servers.
    fn looks_at(&self, takes: impl Fn(&DesiredServer) -> bool) -> Vec<Event> {
        let servers = self.desired.servers.iter().filter(|(_, server)| takes(server));
        servers
            .map(|(key, _)| {
                self.shared.attempts.forget(Some(key));
                Event::ReconcileRequested { server: Some(key.clone()) }
            })
            .collect()
    }

    /// Writes down who has asked for what.
    fn audit(&self, who: &str, command: &Command) {
        let (object, reason, message) = match command {
            Command::Reconcile { server: None } => {
                (None, "ReconcileRequested", format!("{who} asked for a pass over every server"))
            }
            Command::Reconcile { server } => (server.as_ref(), "ReconcileRequested", format!("{who} asked for a pass")),
            Command::Approve { fingerprint } => {
                (None, "Approved", format!("{who} approved what {fingerprint} stands for"))
            }
            Command::Restart { resource } => {
                (Some(resource), "RestartRequested", format!("{who} asked for new containers"))
            }
            Command::Suspend { object, suspend: true } => {
                (Some(object), "SuspendRequested", format!("{who} suspended it"))
            }
            Command::Suspend { object, .. } => (Some(object), "ResumeRequested", format!("{who} resumed it")),
            Command::By { .. } | Command::BackedUp { .. } | Command::Reload | Command::Stop => return,
        };
        tracing::info!(who, reason, object = object.map(ObjectKey::to_string), "asked for");
        self.memory.event(EventType::Normal, object, reason, &message, None);
    }

    /// What is declared on the server, with what is suspended from outside of the manifests.
    fn focused(&self, server: &ObjectKey) -> DesiredState {
        let mut desired = self.desired.focused(server);
        if !self.suspended.is_empty()
            && let Some(declared) = desired.servers.get_mut(server)
            && (self.suspended.contains(server) || self.suspended.iter().any(|it| declared.has(it)))
        {
            let declared = Arc::make_mut(declared);
            declared.suspend |= self.suspended.contains(server);
            let destinations = declared.destinations.iter_mut();
            destinations.for_each(|it| it.suspend |= self.suspended.contains(&it.key));
        }
        desired
    }

    /// The resources of the server that are to be restarted.
    fn restarts_on(&self, server: &ObjectKey) -> BTreeSet<ObjectKey> {
        let declared = self.desired.servers.get(server);
        self.restarts.iter().filter(|it| declared.is_some_and(|server| server.has(it))).cloned().collect()
    }

    fn handle(&mut self, now: Duration, event: Event) {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            tracing::warn!("passes have outlasted {GRACE:?}; they are cut off");
            self.ended = Some(Ended::Aborted);
            return;
        }
        let responses = self.state.handle_event(now, event);
        if let Some(showing) = self.showing.take() {
            self.show_pass(now, showing);
        }
        for response in responses {
            match response {
                Response::Load => self.load(),
                Response::StartPass { server, pass, hold, approved } => self.start_pass(server, pass, hold, approved),
                Response::StartRollout { server, pass, hold } => self.start_rollout(server, pass, hold),
                Response::Refresh { server, pass } => self.start_refresh(server, pass),
                Response::Contended { server, object, fought } => {
                    let message = fought_over(&[fought]);
                    tracing::warn!(server = %server.path(), %object, "{message}");
                    self.memory.happened(EventType::Warning, &server, &object, CONTENDED, &message);
                    self.shared.notifiers.contended(object, Some(server), &message);
                }
                Response::Drain => {
                    supervisor::tell(&[supervisor::Fact::Stopping]);
                    tracing::info!("stopping: passes that run are waited for, new ones do not begin");
                    self.deadline = Some(now + GRACE);
                    self.shared.board.update(|board| board.stopping = true);
                }
                Response::Abort => self.ended = Some(Ended::Aborted),
                Response::Finished => self.ended = self.ended.or(Some(Ended::Drained)),
            }
        }
        self.let_go();
        let waiting = self.state.waiting();
        self.shared.board.count(|counts| counts.waiting = waiting);
    }

    /// Takes what a task has found; what is left for [`State`] to decide on is returned.
    fn take(&mut self, message: Message) -> Option<Event> {
        match message {
            Message::Hint { server, about, deed } => {
                self.shared.board.count(|counts| counts.events += 1);
                if let (Some(time), Some(About { network: Some(network), container: Some(container) })) = (deed, &about)
                {
                    if self.deeds.len() >= DEEDS {
                        self.deeds.clear();
                    }
                    self.deeds.insert((server.clone(), network.clone(), container.clone()), time);
                }
                match about.as_ref() {
                    Some(about) => {
                        self.hinted.insert(server.clone());
                        self.passes.get(&server).into_iter().for_each(|urgent| urgent.notify_one());
                        about.container.iter().for_each(|id| self.shared.known.suspect(&server, id.clone()));
                    }
                    None => self.shared.known.doubt(&server),
                }
                Some(Event::Hint { server, about })
            }
            Message::StreamBack { server } => {
                self.shared.known.doubt(&server);
                Some(Event::ServerBack { server })
            }
            Message::StreamLost { server, error } => {
                if let Some(error) = error {
                    tracing::warn!(server = %server.path(), %error, "the stream of events is lost; it is opened again");
                }
                self.shared.board.update(|board| board.counts.lost_streams += 1);
                Some(Event::Hint { server, about: None })
            }
            Message::Loaded { reading, revision } => {
                let loaded = match reading {
                    Some(reading) => self.take_manifests(*reading),
                    None => {
                        self.gone.clear();
                        Loaded::Unchanged
                    }
                };
                self.take_revision(revision);
                Some(Event::Loaded(loaded))
            }
            Message::ReadAgain => Some(Event::SourceChanged),
            Message::Recalled { server, fence, objects } => {
                if !self.sharing.as_mut().is_some_and(|sharing| sharing.recalled(&server, fence)) {
                    return None;
                }
                self.memory.recalled(&server, objects);
                // Another controller has told what was new since.
                self.standings.remove(&server);
                Some(self.take_share())
            }
            Message::Others { shown } => {
                self.show_others(shown);
                None
            }
            Message::Happened { events } => {
                self.shared.board.tell_of_others(&events);
                None
            }
            Message::PassEnded { server, ended } if !self.is_current(&server, ended.fence.as_ref()) => {
                self.passes.remove(&server);
                // What it found, and what became of what it did, is for whoever has the server now to see for itself.
                tracing::warn!(server = %server.path(), pass = ended.pass, "the server's lock was lost during a pass over it");
                Some(Event::PassFinished { server, outcome: PassOutcome::NotObserved })
            }
            Message::RolloutEnded { server, ended } if !self.is_current(&server, ended.fence.as_ref()) => {
                tracing::warn!(server = %server.path(), pass = ended.pass, "the server's lock was lost during a rollout on it");
                Some(Event::RolloutFinished { server, outcome: PassOutcome::NotObserved })
            }
            Message::PassEnded { server, ended } => {
                self.passes.remove(&server);
                let (outcome, showing) = self.take_pass(&server, *ended);
                self.showing = Some(showing);
                // One that is only slow has not lost its stream of events, and what was learned of it counts.
                let doubted = outcome == PassOutcome::NotObserved && !self.shared.known.is_learning(&server);
                if let Some(link) = self.links.get(&server).filter(|_| doubted) {
                    link.doubt.notify_one();
                }
                Some(Event::PassFinished { server, outcome })
            }
            Message::RolloutEnded { server, ended } => {
                let outcome = self.take_rollout(&server, *ended);
                Some(Event::RolloutFinished { server, outcome })
            }
            Message::Refreshed { server, pass, took, done } => {
                match *done {
                    Ok(report) => self.take_refresh(&server, pass, took, &report),
                    Err(error) => {
                        tracing::warn!(server = %server.path(), pass, "the proxy does not look again: {error}")
                    }
                }
                Some(Event::Refreshed { server })
            }
        }
    }

    /// Shows a pass with what the loop has made of it.
    fn show_pass(&mut self, now: Duration, showing: Showing) {
        let server = showing.server().clone();
        let contended = self.state.contended(now, &server);
        self.show(showing, &contended);
        let objects: BTreeSet<ObjectKey> = contended.into_keys().collect();
        for object in self.contended.remove(&server).unwrap_or_default().difference(&objects) {
            let message = "What was put back has held for a minute.";
            tracing::info!(server = %server.path(), %object, "{message}");
            self.memory.happened(EventType::Normal, &server, object, "ContentionEnded", message);
        }
        self.contended.insert(server, objects);
    }

    /// Reads and validates the manifests off the loop.
    fn load(&self) {
        let shared = Arc::clone(&self.shared);
        let (known, inputs) = (self.content, self.inputs.clone());
        let first = shared.board.read().manifests.loaded.is_none();
        tokio::spawn(async move {
            let reading = Arc::clone(&shared);
            let read =
                tokio::task::spawn_blocking(move || read_manifests(&reading.options, known, &inputs, first)).await;
            let (reading, revision) = read.unwrap_or_else(|panic| {
                let problems = vec![Diagnostic::of_file("manifests", format!("reading them failed: {panic}"))];
                let result = Err(Wrong { problems, before: None });
                (Some(Reading { content: 0, inputs: Inputs::default(), result }), None)
            });
            let _ = shared.inbox.send(Message::Loaded { reading: reading.map(Box::new), revision }).await;
        });
    }

    /// A revision is in force once its manifests are, also when they say the same as before.
    fn take_revision(&mut self, revision: Option<String>) {
        let good = self.shared.board.read().manifests.problems.is_empty();
        if let Some(revision) = revision.filter(|it| good && self.revision.as_ref() != Some(it)) {
            self.shared.options.manifests.accept(&revision);
            self.revision = Some(revision.clone());
            self.shared.board.update(|board| board.manifests.revision = Some(revision));
        }
    }

    fn take_manifests(&mut self, Reading { content, inputs, result }: Reading) -> Loaded {
        if let Ok(good) = &result
            && self.is_too_soon(&good.desired)
        {
            return Loaded::Unchanged;
        }
        self.gone.clear();
        self.content = Some(content);
        self.inputs = inputs;
        match result {
            Ok(good) => {
                let again = !self.shared.board.read().manifests.problems.is_empty();
                let loaded = self.put_in_force(good, Vec::new());
                if again {
                    let message = "The manifests are valid again, and in force.";
                    tracing::info!("{message}");
                    self.memory.event(EventType::Normal, None, "ManifestValid", message, None);
                    self.shared.notifiers.manifests(None, message);
                }
                loaded
            }
            Err(Wrong { problems, before }) => {
                for problem in problems.iter().take(LOGGED_PROBLEMS) {
                    tracing::error!("{problem}");
                }
                let loaded = match before {
                    Some((good, revision)) => {
                        let loaded = self.put_in_force(good, problems.clone());
                        self.revision.clone_from(&revision);
                        self.shared.board.update(|board| board.manifests.revision = revision);
                        loaded
                    }
                    None => Loaded::Invalid,
                };
                let rest = match self.shared.board.read().manifests.loaded {
                    Some(_) => "the last good ones stay in force",
                    None => "there were no good ones before, so nothing is done",
                };
                tracing::error!(problems = manifest::count(&problems), "the manifests are invalid; {rest}");
                let first = problems.first().map(ToString::to_string).unwrap_or_default();
                let message = format!("{} in the manifests; {rest}. {first}", count(&problems));
                let reason = Reason::ManifestInvalid.as_str();
                self.memory.event(EventType::Warning, None, reason, &message, None);
                self.shared.notifiers.manifests(Some(reason), &message);
                self.shared.board.update(|board| {
                    board.manifests.problems = problems;
                    judge_manifests(&mut board.manifests, jiff::Timestamp::now());
                });
                loaded
            }
        }
    }

    /// Whether files declare less than what is in force, and have not done so for long. They are read again when they have.
    fn is_too_soon(&mut self, desired: &DesiredState) -> bool {
        if matches!(self.shared.options.manifests, Source::Git(_)) {
            return false;
        }
        let (before, now) = (declared(&self.desired), declared(desired));
        let gone: BTreeSet<ObjectKey> = before.difference(&now).cloned().collect();
        let Some(wait) = self.gone.wait(&gone, Instant::now()) else { return false };
        let first = gone.first().map(ToString::to_string).unwrap_or_default();
        tracing::info!(
            objects = gone.len(),
            first,
            "the files do not declare these objects any more; they are read again in {wait:.1?} before that is believed"
        );
        let inbox = self.shared.inbox.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = inbox.send(Message::ReadAgain).await;
        });
        true
    }

    /// From here on these are kept, whatever is wrong with those that there are now.
    fn put_in_force(&mut self, good: Good, problems: Vec<Diagnostic>) -> Loaded {
        let Good { desired, fingerprints, notifiers, sources } = good;
        let objects = self.memory.declared(&desired, &fingerprints);
        self.shared.notifiers.declare(&notifiers);
        tracing::info!(
            servers = desired.servers.len(),
            destinations = desired.destinations().count(),
            "manifests read"
        );
        if let Some(sharing) = &mut self.sharing {
            sharing.withdraw_outdated(&self.desired, &desired);
        }
        let concerned = self.concerned(&desired, &objects);
        let is_as_before = |server: &ObjectKey| desired.servers.contains_key(server) && !concerned.contains(server);
        self.open.retain(|server, _| is_as_before(server));
        self.agreed.retain(|server, _| is_as_before(server));
        self.contended.retain(|server, _| is_as_before(server));
        self.desired = desired;
        self.desired.share();
        self.lay_links();
        let servers: BTreeSet<_> = self.desired.servers.keys().cloned().collect();
        self.standings.retain(|server, _| servers.contains(server));
        if let Some(sharing) = &mut self.sharing {
            sharing.declare(&servers);
        }
        let declared = Arc::new(self.desired.clone());
        self.shared.board.update(|board| {
            board.declared = declared;
            board.sources = Arc::new(sources);
            board.manifests.generation += 1;
            board.manifests.problems = problems;
            let now = jiff::Timestamp::now();
            board.manifests.loaded = Some(now);
            judge_manifests(&mut board.manifests, now);
            board.servers.retain(|name, _| servers.iter().any(|server| server.path() == *name));
        });
        Loaded::Valid { servers: self.kept().0, concerned }
    }

    /// The servers to plan for anew now that something else is declared. `objects`: those whose manifests have another form.
    fn concerned(&self, desired: &DesiredState, objects: &BTreeSet<ObjectKey>) -> BTreeSet<ObjectKey> {
        let board = self.shared.board.read();
        let shown = |server: &ObjectKey| board.servers.get(&server.path());
        let alone = |server: &ObjectKey| {
            let found = shown(server).and_then(|state| state.facts.as_ref());
            found.is_some_and(|found| found.server.server_type == ServerType::Standalone)
        };
        let mut concerned = reload::concerned(&self.desired, desired, objects, alone);
        // What failed, waits or was refused on a server may be possible now for what has changed on another one.
        let asks = |server: &ObjectKey| shown(server).is_none_or(|state| !state.report.asking().is_empty());
        let further = desired.servers.keys().filter(|server| self.state.is_stuck(server) || asks(server));
        concerned.extend(further.cloned());
        concerned
    }

    /// Shows the servers that other controllers have as those show them.
    fn show_others(&mut self, shown: Vec<(ObjectKey, ServerState)>) {
        let Some(sharing) = &self.sharing else { return };
        let servers = &self.desired.servers;
        let is_of_others = |server: &ObjectKey| servers.contains_key(server) && sharing.fence(server).is_none();
        let mut others: Vec<_> = shown.into_iter().filter(|(server, _)| is_of_others(server)).collect();
        others.iter_mut().for_each(|(_, state)| self.memory.share(&mut state.conditions));
        self.shared.board.update(|board| {
            for (server, mut state) in others {
                state.digest = board.declared.servers.get(&server).map(|it| Digest::new(it, &state.conditions));
                board.servers.insert(server.path(), Arc::new(state));
            }
        });
    }

    /// Connections for the servers that are declared now; those of servers that are declared as before are kept.
    fn lay_links(&mut self) {
        let fence = |key: &ObjectKey| self.sharing.as_ref().map(|sharing| sharing.fence(key));
        let same = |key: &ObjectKey, link: &Link, server: &DesiredServer| {
            link.declared.endpoint == server.endpoint
                && match (fence(key), &link.fence) {
                    (None, _) => true,
                    (Some(held), of_link) => held.zip(of_link.as_ref()).is_some_and(|(one, other)| one.is_same(other)),
                }
        };
        self.links.retain(|key, link| self.desired.servers.get(key).is_some_and(|server| same(key, link, server)));
        for (key, server) in &self.desired.servers {
            // What is another controller's is left alone.
            if self.links.contains_key(key) || fence(key).is_some_and(|held| held.is_none()) {
                continue;
            }
            let fence = fence(key).flatten().cloned();
            let connect = ConnectOptions { fence: fence.clone(), ..self.shared.options.connect.clone() };
            match connect::writer(server, &connect) {
                Ok(writer) => {
                    let doubt = Arc::new(Notify::new());
                    let inbox = self.shared.hints.clone();
                    let local = matches!(server.endpoint, Endpoint::Unix { .. });
                    let events = tokio::spawn(listen(
                        key.clone(),
                        local,
                        writer.clone(),
                        Arc::clone(&doubt),
                        inbox,
                        self.shared.board.clone(),
                    ));
                    self.links.insert(
                        key.clone(),
                        Link { declared: Arc::clone(server), writer, urgent: None, events, doubt, fence },
                    );
                }
                // The pass says so in its report.
                Err(error) => tracing::error!(server = %key.path(), %error, "no connection"),
            }
        }
        let writers = self.links.iter().map(|(key, link)| (key.clone(), link.writer.clone()));
        self.writers = Arc::new(writers.collect());
    }

    /// What a pass over the server starts from, in either lane.
    fn start(&self, server: &ObjectKey, pass: u64, hold: BTreeSet<Subject>, lane: Lane) -> pass::Start {
        let declared = self.desired.servers.get(server);
        pass::Start {
            pass,
            desired: self.focused(server),
            writers: Arc::clone(&self.writers),
            own: None,
            hold,
            protected: self.memory.protected(),
            overlays: self.memory.overlays(),
            guarded: self.memory.guarded(),
            approved: None,
            agreed: self.agreed.get(server).cloned(),
            given: self.sharing.as_ref().zip(declared).and_then(|(sharing, declared)| sharing.approval(declared)),
            restart: self.restarts_on(server),
            lane,
            fence: self.links.get(server).and_then(|link| link.fence.clone()),
        }
    }

    fn start_pass(&mut self, server: ObjectKey, pass: u64, hold: BTreeSet<Subject>, approved: Option<String>) {
        let shared = Arc::clone(&self.shared);
        let start = pass::Start { approved, ..self.start(&server, pass, hold, Lane::Repairs) };
        let own = self.links.get_mut(&server).map(Link::urgent);
        let urgent = Arc::new(Notify::new());
        if self.hinted.remove(&server) {
            urgent.notify_one();
        }
        let background = self.background.handle();
        self.passes.insert(server.clone(), Arc::clone(&urgent));
        tokio::spawn(async move {
            // What the engines are asked and what is done meanwhile is logged as this pass's.
            let span = tracing::info_span!("pass", server = %server.path(), pass);
            let (turn, is_urgent) = shared.turns.turn(&urgent).await;
            let ended = if is_urgent {
                let start = pass::Start { own, ..start };
                turn.work(pass::run(&shared, start)).instrument(span).await
            } else {
                let working = Arc::clone(&shared);
                let work = async move { turn.work(pass::run(&working, start)).await };
                // Ends with this task.
                let mut tasks = JoinSet::new();
                tasks.spawn_on(work.instrument(span), &background);
                match tasks.join_next().await {
                    Some(Ok(ended)) => ended,
                    // The threads are gone, and so is the loop.
                    Some(Err(_)) | None => return,
                }
            };
            let _ = shared.inbox.send(Message::PassEnded { server, ended: Box::new(ended) }).await;
        });
    }

    /// Beside the passes, and in nobody's turn: it mostly waits.
    fn start_rollout(&mut self, server: ObjectKey, pass: u64, hold: BTreeSet<Subject>) {
        let shared = Arc::clone(&self.shared);
        let start = self.start(&server, pass, hold, Lane::Rollout);
        // Once: what has been replaced is not replaced again.
        self.restarts.retain(|resource| !start.restart.contains(resource));
        self.background.handle().spawn(async move {
            let span = tracing::info_span!("rollout", server = %server.path(), pass);
            let ended = pass::run(&shared, start).instrument(span).await;
            let _ = shared.inbox.send(Message::RolloutEnded { server, ended: Box::new(ended) }).await;
        });
    }

    /// Beside the passes as well: the proxy's container takes its time, and no repair is to wait for it.
    fn start_refresh(&mut self, server: ObjectKey, pass: u64) {
        let shared = Arc::clone(&self.shared);
        let refresh = self.refreshes.remove(&server);
        let writer = self.writers.get(&server).cloned();
        tokio::spawn(async move {
            let span = tracing::info_span!("refresh", server = %server.path(), pass);
            let started = Instant::now();
            let done = match refresh.zip(writer) {
                Some((group, writer)) => pass::refresh(&shared, &server, writer, group).instrument(span).await,
                None => Err("its server is not declared any more".to_owned()),
            };
            let (took, done) = (started.elapsed(), Box::new(done));
            let _ = shared.inbox.send(Message::Refreshed { server, pass, took, done }).await;
        });
    }
}

fn count(problems: &[Diagnostic]) -> String {
    match manifest::count(problems) {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    }
}

/// Reads the source, and its revision. `None` where it says what it said when its hash was `known`. `first`: nothing is in force yet.
fn read_manifests(
    options: &Options,
    known: Option<u64>,
    inputs: &Inputs,
    first: bool,
) -> (Option<Reading>, Option<String>) {
    let Some(said) = options.manifests.read() else { return (None, None) };
    let mut hasher = DefaultHasher::new();
    for source in &said.sources {
        (&source.name, &source.bytes).hash(&mut hasher);
    }
    for problem in &said.problems {
        problem.to_string().hash(&mut hasher);
    }
    let checkout = said.checkout.clone();
    let content = |inputs: &Inputs| {
        let mut hasher = hasher.clone();
        inputs.hash(checkout.as_deref(), &mut hasher);
        hasher.finish()
    };
    let revision = said.revision.clone();
    if known == Some(content(inputs)) {
        return (None, revision);
    }
    let result = judge(options, said).map_err(|problems| {
        let before = options.manifests.before().filter(|_| first);
        let before = before.and_then(|before| {
            let revision = before.revision.clone();
            judge(options, before).ok().map(|good| (good, revision))
        });
        Wrong { problems, before }
    });
    let inputs = match &result {
        Ok(good) => Inputs::of(good, checkout.as_deref()),
        // Where it was refused for a file that it names, the next commit may have that as it should be.
        Err(_) => Inputs { named: checkout.as_deref().map(Checkout::provided).unwrap_or_default(), files: Vec::new() },
    };
    (Some(Reading { content: content(&inputs), inputs, result }), revision)
}

/// What there is to keep, or what is wrong.
fn judge(options: &Options, said: Said) -> Result<Good, Vec<Diagnostic>> {
    let manifests = sources::validate(&said.names, &said.sources, said.problems)?;
    let mut desired = manifests.desired(&options.set);
    let manifests = match &said.checkout {
        None => manifests,
        Some(checkout) => {
            // This thread is one that may wait.
            let provided = Handle::current().block_on(checkout.provide(&Named::by(&desired)));
            provided.map_err(|error| vec![error.diagnostic()])?;
            manifests.with_base(checkout.base())
        }
    };
    secrets::read(&mut desired, manifests.base(), Generate::Yes);
    compose::read(&mut desired, manifests.base());
    desired.source.clone_from(&options.source);
    let (fingerprints, notifiers) = (manifests.fingerprints(), manifests.notifiers());
    Ok(Good { desired, fingerprints, notifiers, sources: Kept::new(&said.sources, manifests.base().clone()) })
}
