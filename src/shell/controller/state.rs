//! The decisions of the loop: what happened comes in, what to do comes out. Synchronous, without IO or clock.
//!
//! Flow: a hint (a file, a Docker event, a timer, a person) makes a server *dirty*. A dirty server without a running pass gets one. What
//! arrives while the pass runs makes it dirty again, so it gets one more afterwards and never two at once: one mutator a server.
//!
//! Guarantees: every hint is followed by a pass that began after it; a server without hints gets a pass within the interval; what fails or is
//! being fought over waits, and keeps nothing else waiting: not another container of the same resource, nor its own successor
//! (`subject.rs`). A wait after a failure ends with any event about the same thing, when the server answers again, with a new manifest, and
//! with the next resync.
//!
//! What may take minutes, such as pulling an image and waiting for health, has a lane of its own beside the passes: one rollout a server at a
//! time, begun when a pass finds something for it, and followed by another pass.
//!
//! A proxy that has to look again does so once a burst of passes, beside them: no repair waits for it.
//!
//! What is absent: what a pass does. The loop decides *when*, never *what*.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::backoff::{FIGHT, FIGHT_OF_ROLLOUTS, History, Jitter, LONGEST_RETRY};
pub use super::subject::{About, Subject, Touched};
use crate::core::api::ObjectKey;

/// Events of a pass's own that come so long after its end are known as such.
const ECHO: Duration = Duration::from_millis(500);
/// Events during one pass that are looked at when it has ended. Others bring nothing forward.
const HEARD: usize = 256;
/// Things of one server whose failures and repairs are remembered.
const REMEMBERED: usize = 20_000;
/// Passes that follow each other so soon are of one burst, after which the proxy looks again once.
const QUIET: Duration = Duration::from_millis(100);
/// It looks after so long a burst at the latest.
const LONGEST_BURST: Duration = Duration::from_millis(600);
/// A server whose look failed and that tells of something is looked at again so long after the failure.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Files or the repository may have changed.
    SourceChanged,
    /// The manifests were read again.
    Loaded(Loaded),
    /// Something happened at a server: an event of its daemon, or its stream was (re)established.
    Hint {
        server: ObjectKey,
        /// `None`: anything may have happened.
        about: Option<About>,
    },
    /// It answers after it did not: the next look need not wait.
    ServerBack {
        server: ObjectKey,
    },
    /// A person or a tool asks for a pass; `None` means all servers. Waiting destinations are tried at once.
    ReconcileRequested {
        server: Option<ObjectKey>,
    },
    /// Somebody agrees to the deletions that a fingerprint stands for.
    Approved {
        fingerprint: String,
    },
    /// Time passed.
    Tick,
    PassFinished {
        server: ObjectKey,
        outcome: PassOutcome,
    },
    RolloutFinished {
        server: ObjectKey,
        outcome: PassOutcome,
    },
    /// Of several controllers: the servers that this one has, and those on which it only ends what it has begun. From all others it keeps off.
    Shared {
        kept: BTreeSet<ObjectKey>,
        leaving: BTreeSet<ObjectKey>,
    },
    /// The proxy of the server has looked again.
    Refreshed {
        server: ObjectKey,
    },
    /// A signal to stop.
    StopRequested,
}

/// The result of reading the manifests.
#[derive(Debug, Clone, PartialEq)]
pub enum Loaded {
    /// Same content as before.
    Unchanged,
    /// A new valid set; these are the servers it declares, and those of them that what is new has something to do with.
    Valid { servers: BTreeSet<ObjectKey>, concerned: BTreeSet<ObjectKey> },
    /// The last good set stays desired.
    Invalid,
}

/// What a pass over one server came to.
#[derive(Debug, Clone, PartialEq)]
pub enum PassOutcome {
    /// It ended before anything was known: an error of its own or a panic.
    Broken,
    /// The server could not be looked at.
    NotObserved,
    Observed(Observed),
}

/// A pass that has seen the server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// What the pass dealt with; what is absent had nothing to do.
    pub subjects: BTreeMap<Subject, Judged>,
    pub touched: Touched,
    /// Fingerprint of the deletions that wait for somebody to agree.
    pub withheld: Option<String>,
    /// There is something for a rollout to do, and nothing holds it back.
    pub rollout: bool,
    /// The proxy has to look again at what the pass has connected.
    pub refresh: bool,
    /// So long after the pass, time alone may have put an end to something that is waited for.
    pub again: Option<Duration>,
}

/// What something keeps undoing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fought {
    /// In words.
    pub name: String,
    /// What puts an end to it.
    pub advice: Option<String>,
    /// So many times within a minute, or more.
    pub times: usize,
}

/// What became of one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The declared object that it is for.
    pub object: ObjectKey,
    /// In words.
    pub name: String,
    /// What keeps others from undoing it.
    pub advice: Option<String>,
    /// A try breaks connections.
    pub disruptive: bool,
    pub outcome: SubjectOutcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectOutcome {
    /// Everything planned was done, for the first time since the manifest changed.
    Converged,
    /// Its object had converged before, and something moved since: drift, put back.
    Repaired,
    /// It was put back, and undone again before that could be seen.
    Undone,
    /// A rollout that began then has undone it, and it is put back when that is over.
    UndoneBy(jiff::Timestamp),
    /// An operation failed.
    Failed,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// Read the manifests and send [`Event::Loaded`].
    Load,
    /// Observe, plan and execute one server, leaving out what has to do with the subjects on hold; send [`Event::PassFinished`].
    StartPass {
        server: ObjectKey,
        pass: u64,
        hold: BTreeSet<Subject>,
        /// Fingerprint of deletions that somebody has agreed to.
        approved: Option<String>,
    },
    /// The same for what may take minutes, beside the passes; send [`Event::RolloutFinished`].
    StartRollout { server: ObjectKey, pass: u64, hold: BTreeSet<Subject> },
    /// Have the proxy look again, for all passes since it last did, beside whatever pass runs; send [`Event::Refreshed`].
    Refresh { server: ObjectKey, pass: u64 },
    /// Something keeps undoing what is repaired, from now on.
    Contended { server: ObjectKey, object: ObjectKey, fought: Fought },
    /// Start no more; end when the running passes have ended.
    Drain,
    /// End at once.
    Abort,
    /// Nothing runs any more.
    Finished,
}

#[derive(Debug, Clone, Default)]
struct Server {
    dirty: bool,
    running: bool,
    /// A rollout is under way.
    rolling: bool,
    /// Consecutive rollouts that broke, or came to nothing.
    rollouts: History,
    /// The proxy has to look again.
    stale: Option<Stale>,
    /// It is about to.
    refreshing: bool,
    resync_at: Duration,
    /// When something that is waited for may be over, though nothing tells of that.
    again_at: Option<Duration>,
    /// What waits for somebody to agree, as the last pass found it.
    withheld: Option<String>,
    /// Agreed to, and good for one pass that sees the server.
    approved: Option<String>,
    /// Handed to the pass that runs.
    in_use: Option<String>,
    /// Consecutive passes that could not observe it, or that broke.
    unreachable: History,
    subjects: BTreeMap<Subject, Watched>,
    /// What the last pass has changed, and until when events are taken for its own.
    touched: Touched,
    echo_until: Duration,
    /// Events since the pass began that runs.
    heard: Vec<About>,
    /// It answers again after it did not.
    anew: bool,
    /// Another controller gets it, or has it: nothing is begun here any more.
    leaving: bool,
}

/// Since when the proxy does not know what was connected.
#[derive(Debug, Clone, Copy)]
struct Stale {
    first: Duration,
    last: Duration,
}

impl Stale {
    /// A pass that runs may connect some more of what a burst has taken off.
    fn due(self, running: bool) -> Duration {
        let longest = self.first + LONGEST_BURST;
        if running { longest } else { longest.min(self.last + QUIET) }
    }
}

#[derive(Debug, Clone)]
struct Watched {
    object: ObjectKey,
    name: String,
    advice: Option<String>,
    /// So many undoings within a minute are contention.
    fight: usize,
    history: History,
    /// The latest rollout that has undone it, and whether it has been put back since.
    undone_by: Option<(jiff::Timestamp, bool)>,
}

impl Watched {
    fn fought(&self) -> Fought {
        Fought { name: self.name.clone(), advice: self.advice.clone(), times: self.fight }
    }

    /// Remembers the rollout; whether it was counted before.
    fn is_known(&mut self, rollout: jiff::Timestamp) -> bool {
        let before = self.undone_by.replace((rollout, false));
        before.is_some_and(|(known, _)| known == rollout)
    }

    /// Whether this puts back what a rollout has undone that was counted.
    fn is_put_back(&mut self) -> bool {
        self.undone_by.as_mut().is_some_and(|(_, done)| !std::mem::replace(done, true))
    }
}

impl Server {
    fn is_idle(&self) -> bool {
        !self.running && !self.rolling && !self.refreshing && self.stale.is_none()
    }

    /// Something has failed, or waits for somebody to agree.
    fn is_stuck(&self) -> bool {
        let mut histories = self.subjects.values().map(|it| &it.history).chain([&self.unreachable, &self.rollouts]);
        self.withheld.is_some() || histories.any(History::has_failed)
    }

    /// Something happened: what failed may succeed now.
    fn hear(&mut self, about: &About) {
        for (subject, watched) in &mut self.subjects {
            if subject.concerns(about) {
                watched.history.bring_forward();
            }
        }
    }

    /// Remembers what became of each thing.
    fn watch(
        &mut self,
        now: Duration,
        longest: Duration,
        key: &ObjectKey,
        subjects: BTreeMap<Subject, Judged>,
        jitter: &mut Jitter,
        responses: &mut Vec<Response>,
    ) {
        for (subject, Judged { object, name, advice, disruptive, outcome }) in subjects {
            if self.subjects.len() >= REMEMBERED && !self.subjects.contains_key(&subject) {
                continue;
            }
            let fight = if matches!(subject, Subject::Attachment { .. }) { FIGHT_OF_ROLLOUTS } else { FIGHT };
            let history = History::default();
            let fresh = Watched { object: object.clone(), name, advice: None, fight, history, undone_by: None };
            let watched = self.subjects.entry(subject).or_insert(fresh);
            (watched.object, watched.advice) = (object, advice);
            match outcome {
                SubjectOutcome::Converged => watched.history.succeeded(),
                // Each undoing counts once: when the rollout that has done it is seen, or when it is put back.
                SubjectOutcome::Repaired if watched.is_put_back() => watched.history.succeeded(),
                SubjectOutcome::UndoneBy(rollout) if watched.is_known(rollout) => {}
                SubjectOutcome::Repaired | SubjectOutcome::Undone | SubjectOutcome::UndoneBy(_) => {
                    self.dirty |= outcome == SubjectOutcome::Undone;
                    if watched.history.undone(now, watched.fight) {
                        let fought = watched.fought();
                        let object = watched.object.clone();
                        responses.push(Response::Contended { server: key.clone(), object, fought });
                    }
                }
                SubjectOutcome::Failed => watched.history.failed(now, longest, disruptive, jitter),
            }
        }
    }

    /// What the next pass leaves alone.
    fn hold(&self, now: Duration) -> BTreeSet<Subject> {
        // A resync and a server that is back are a new chance for what failed.
        let anew = now >= self.resync_at || self.anew;
        let held = |history: &History| match anew {
            true => history.is_guarded(now),
            false => history.held_until(now).is_some(),
        };
        self.subjects.iter().filter(|(_, it)| held(&it.history)).map(|(subject, _)| subject.clone()).collect()
    }
}

/// The loop's memory.
#[derive(Debug)]
pub struct State {
    interval: Duration,
    jitter: Jitter,
    servers: BTreeMap<ObjectKey, Server>,
    loading: bool,
    load_again: bool,
    stopping: bool,
    next_pass: u64,
}

impl State {
    /// `interval`: time between two resyncs of a server, give or take a tenth. `seed`: for the jitter.
    /// `next_pass`: number of the first pass, beyond those that are in the history.
    pub fn new(interval: Duration, seed: u64, next_pass: u64) -> Self {
        Self {
            interval,
            jitter: Jitter::new(seed),
            servers: BTreeMap::new(),
            loading: false,
            load_again: false,
            stopping: false,
            next_pass,
        }
    }

    /// Whether something on the server has failed, or waits for somebody to agree.
    pub fn is_stuck(&self, server: &ObjectKey) -> bool {
        self.servers.get(server).is_some_and(Server::is_stuck)
    }

    /// `now`: time since the controller started.
    pub fn handle_event(&mut self, now: Duration, event: Event) -> Vec<Response> {
        let mut responses = Vec::new();
        match event {
            Event::StopRequested if self.stopping => return vec![Response::Abort],
            Event::StopRequested => {
                self.stopping = true;
                responses.push(Response::Drain);
            }
            Event::SourceChanged if self.stopping => {}
            Event::SourceChanged if self.loading => self.load_again = true,
            Event::SourceChanged => {
                self.loading = true;
                responses.push(Response::Load);
            }
            Event::Loaded(loaded) => {
                self.loading = false;
                if std::mem::take(&mut self.load_again) && !self.stopping {
                    self.loading = true;
                    responses.push(Response::Load);
                }
                if let Loaded::Valid { servers, concerned } = loaded {
                    self.take_servers(now, servers, &concerned);
                }
            }
            Event::Hint { server, about } => {
                if let Some(server) = self.servers.get_mut(&server) {
                    server.dirty = true;
                    if let Some(about) = about {
                        server.unreachable.bring_forward_to(SIGN_OF_LIFE);
                        let echo = now < server.echo_until && server.touched.explains(&about);
                        if server.running && !echo && server.heard.len() < HEARD {
                            server.heard.push(about);
                        } else if !server.running && !echo {
                            server.hear(&about);
                        }
                    }
                }
            }
            Event::ServerBack { server } => {
                if let Some(server) = self.servers.get_mut(&server) {
                    server.dirty = true;
                    server.unreachable.succeeded();
                    server.anew = true;
                }
            }
            Event::ReconcileRequested { server } => {
                for (key, state) in &mut self.servers {
                    if server.as_ref().is_none_or(|wanted| wanted == key) {
                        state.dirty = true;
                        state.unreachable.succeeded();
                        state.subjects.clear();
                    }
                }
            }
            Event::Approved { fingerprint } => {
                for server in self.servers.values_mut() {
                    if server.withheld.as_ref() == Some(&fingerprint) {
                        server.approved = Some(fingerprint.clone());
                        server.dirty = true;
                    }
                }
            }
            Event::Shared { kept, leaving } => self.take_share(now, &kept, &leaving),
            Event::Tick => {}
            Event::PassFinished { server, outcome } => self.pass_finished(now, &server, outcome, &mut responses),
            Event::RolloutFinished { server, outcome } => self.rollout_finished(now, &server, outcome, &mut responses),
            Event::Refreshed { server } => {
                if let Some(server) = self.servers.get_mut(&server) {
                    server.refreshing = false;
                }
            }
        }
        self.start_passes(now, &mut responses);
        self.start_refreshes(now, &mut responses);
        self.servers.retain(|_, server| !server.leaving || !server.is_idle());
        self.finish(&mut responses);
        responses
    }

    /// Whether anything is under way there.
    pub fn is_busy(&self, server: &ObjectKey) -> bool {
        self.servers.get(server).is_some_and(|server| !server.is_idle())
    }

    /// Nothing new begins where it is leaving; and where it has no say any more, nothing is owed either.
    fn take_share(&mut self, now: Duration, kept: &BTreeSet<ObjectKey>, leaving: &BTreeSet<ObjectKey>) {
        for (key, server) in &mut self.servers {
            server.leaving = !kept.contains(key);
            if server.leaving && !leaving.contains(key) {
                server.stale = None;
            }
        }
        for key in kept.iter().filter(|key| !self.servers.contains_key(*key)).cloned().collect::<Vec<_>>() {
            self.servers.insert(key, Server { dirty: true, resync_at: now, ..Server::default() });
        }
    }

    /// What something keeps undoing on the server, by the object that it is for.
    pub fn contended(&self, now: Duration, server: &ObjectKey) -> BTreeMap<ObjectKey, Vec<Fought>> {
        let mut contended: BTreeMap<ObjectKey, Vec<Fought>> = BTreeMap::new();
        for watched in self.servers.get(server).into_iter().flat_map(|server| server.subjects.values()) {
            if watched.history.is_contended(now) {
                contended.entry(watched.object.clone()).or_default().push(watched.fought());
            }
        }
        contended
    }

    /// Servers that are known to need a pass and wait for one.
    pub fn waiting(&self) -> usize {
        self.servers.values().filter(|server| server.dirty && !server.leaving).count()
    }

    /// When [`Event::Tick`] is due next; `None` while there is nothing to wait for.
    pub fn wake_at(&self, now: Duration) -> Option<Duration> {
        if self.stopping {
            return None;
        }
        let stale = self.servers.values().filter(|server| !server.refreshing);
        let refreshes = stale.filter_map(|server| Some(server.stale?.due(server.running)));
        self.servers
            .values()
            .filter(|server| !server.running && !server.leaving)
            .map(|server| {
                let held = server.subjects.values().filter_map(|it| it.history.due_at(now)).min();
                // What a rollout waits for is found again by a pass.
                let rollouts = server.rollouts.due_at(now).filter(|_| !server.rolling);
                let due = held.into_iter().chain(rollouts).chain(server.again_at).fold(server.resync_at, Duration::min);
                server.unreachable.held_until(now).unwrap_or(due)
            })
            .chain(refreshes)
            .min()
    }

    /// A new manifest is a new chance: every wait begins from nothing.
    fn take_servers(&mut self, now: Duration, declared: BTreeSet<ObjectKey>, concerned: &BTreeSet<ObjectKey>) {
        for (_, server) in self.servers.iter_mut().filter(|(key, server)| !declared.contains(key) && !server.leaving) {
            server.stale = None;
        }
        self.servers.retain(|key, server| declared.contains(key) || !server.is_idle());
        for key in declared {
            if !concerned.contains(&key) && self.servers.contains_key(&key) {
                continue;
            }
            let server = self.servers.entry(key).or_default();
            server.dirty = true;
            server.resync_at = now;
            server.unreachable = History::default();
            server.rollouts = History::default();
            server.subjects.clear();
            server.approved = None;
        }
    }

    fn pass_finished(&mut self, now: Duration, key: &ObjectKey, outcome: PassOutcome, responses: &mut Vec<Response>) {
        let Some(server) = self.servers.get_mut(key) else { return };
        server.running = false;
        let used = server.in_use.take();
        server.resync_at = now + self.jitter.tenth(self.interval);
        let heard = std::mem::take(&mut server.heard);
        let longest = self.interval.min(LONGEST_RETRY);
        match outcome {
            PassOutcome::Broken | PassOutcome::NotObserved => {
                server.unreachable.failed(now, longest, false, &mut self.jitter);
                server.dirty = true;
                server.anew = true;
            }
            PassOutcome::Observed(Observed { subjects, touched, withheld, rollout, refresh, again }) => {
                server.unreachable.succeeded();
                server.again_at = again.map(|after| now + after);
                if refresh {
                    let first = server.stale.map_or(now, |stale| stale.first);
                    server.stale = Some(Stale { first, last: now });
                }
                server.withheld = withheld;
                server.approved.take_if(|approved| used.as_ref() == Some(approved));
                server.watch(now, longest, key, subjects, &mut self.jitter, responses);
                for about in heard.iter().filter(|about| !touched.explains(about)) {
                    server.hear(about);
                }
                server.touched = touched;
                server.echo_until = now + ECHO;
                server.subjects.retain(|_, watched| !watched.history.is_past(now, longest));
                if rollout
                    && !server.rolling
                    && !self.stopping
                    && !server.leaving
                    && server.rollouts.held_until(now).is_none()
                {
                    server.rolling = true;
                    let (server, hold) = (key.clone(), server.hold(now));
                    responses.push(Response::StartRollout { server, pass: self.next_pass, hold });
                    self.next_pass += 1;
                }
            }
        }
    }

    /// Whatever it came to, a pass looks at what there is now, and finds what is left to do.
    fn rollout_finished(
        &mut self,
        now: Duration,
        key: &ObjectKey,
        outcome: PassOutcome,
        responses: &mut Vec<Response>,
    ) {
        let Some(server) = self.servers.get_mut(key) else { return };
        server.rolling = false;
        server.dirty = true;
        let longest = self.interval.min(LONGEST_RETRY);
        match outcome {
            PassOutcome::Observed(Observed { subjects, .. }) if !subjects.is_empty() => {
                server.rollouts.succeeded();
                server.watch(now, longest, key, subjects, &mut self.jitter, responses);
            }
            // Begun again at once, it would go on like that.
            _ => server.rollouts.failed(now, longest, false, &mut self.jitter),
        }
    }

    /// Has proxies look again whose burst is over. What is stopped leaves none behind that does not know what was connected last.
    fn start_refreshes(&mut self, now: Duration, responses: &mut Vec<Response>) {
        for (key, server) in &mut self.servers {
            let Some(stale) = server.stale.filter(|_| !server.refreshing) else { continue };
            if now >= stale.due(server.running) || (self.stopping && !server.running) {
                server.stale = None;
                server.refreshing = true;
                responses.push(Response::Refresh { server: key.clone(), pass: self.next_pass });
                self.next_pass += 1;
            }
        }
    }

    /// Whether there is nothing left to wait for.
    fn finish(&self, responses: &mut Vec<Response>) {
        if self.stopping && self.servers.values().all(Server::is_idle) {
            responses.push(Response::Finished);
        }
    }

    fn start_passes(&mut self, now: Duration, responses: &mut Vec<Response>) {
        if self.stopping {
            return;
        }
        for (key, server) in &mut self.servers {
            // Events neither shorten the wait for an unreachable server nor count as failures of their own.
            if server.running || server.leaving || server.unreachable.held_until(now).is_some() {
                continue;
            }
            let due = server.subjects.values_mut().map(|it| usize::from(it.history.take_due(now))).sum::<usize>()
                + usize::from(!server.rolling && server.rollouts.take_due(now))
                + usize::from(server.again_at.take_if(|at| *at <= now).is_some());
            if !server.dirty && due == 0 && now < server.resync_at {
                continue;
            }
            server.dirty = false;
            server.running = true;
            let hold = server.hold(now);
            server.anew = false;
            server.in_use.clone_from(&server.approved);
            let approved = server.approved.clone();
            responses.push(Response::StartPass { server: key.clone(), pass: self.next_pass, hold, approved });
            self.next_pass += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::subject::OnNetwork;
    use super::*;
    use crate::core::api::Kind;
    use crate::core::observed::{ContainerId, NetworkId};

    const INTERVAL: Duration = Duration::from_secs(60);

    fn server(name: &str) -> ObjectKey {
        ObjectKey::new(Kind::Server, "default", name)
    }

    fn destination(name: &str) -> ObjectKey {
        ObjectKey::new(Kind::Destination, "default", name)
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn loaded(names: &[&str]) -> Event {
        let servers: BTreeSet<ObjectKey> = names.iter().map(|name| server(name)).collect();
        Event::Loaded(Loaded::Valid { concerned: servers.clone(), servers })
    }

    fn network(number: u8) -> NetworkId {
        format!("{number:064x}").try_into().unwrap()
    }

    fn container(number: u8) -> ContainerId {
        format!("{number:064x}").try_into().unwrap()
    }

    /// The endpoint of that container on the first network.
    fn endpoint(number: u8) -> Subject {
        Subject::Endpoint { network: OnNetwork::Id(network(1)), container: container(number) }
    }

    /// Of one resource all of them.
    fn judged(outcome: SubjectOutcome) -> Judged {
        Judged { object: destination("web"), name: "a on web".to_owned(), advice: None, disruptive: false, outcome }
    }

    fn finished(name: &str, outcomes: &[(Subject, SubjectOutcome)]) -> Event {
        let subjects = outcomes.iter().map(|(subject, outcome)| (subject.clone(), judged(*outcome))).collect();
        seen(name, Observed { subjects, ..Observed::default() })
    }

    fn seen(name: &str, observed: Observed) -> Event {
        Event::PassFinished { server: server(name), outcome: PassOutcome::Observed(observed) }
    }

    fn unreachable(name: &str) -> Event {
        Event::PassFinished { server: server(name), outcome: PassOutcome::NotObserved }
    }

    fn hint() -> Event {
        Event::Hint { server: server("edge"), about: None }
    }

    fn hint_about(network: Option<NetworkId>, container: Option<ContainerId>) -> Event {
        Event::Hint { server: server("edge"), about: Some(About { network, container }) }
    }

    fn started(responses: &[Response]) -> Vec<(String, Vec<Subject>)> {
        responses
            .iter()
            .filter_map(|response| match response {
                Response::StartPass { server, hold, .. } => {
                    Some((server.name.to_string(), hold.iter().cloned().collect()))
                }
                _ => None,
            })
            .collect()
    }

    fn contended(responses: &[Response]) -> usize {
        responses.iter().filter(|response| matches!(response, Response::Contended { .. })).count()
    }

    fn idle(names: &[&str]) -> State {
        let mut state = State::new(INTERVAL, 1, 1);
        state.handle_event(at(0), Event::SourceChanged);
        state.handle_event(at(0), loaded(names));
        for name in names {
            state.handle_event(at(0), finished(name, &[]));
        }
        state
    }

    #[test]
    fn a_hint_starts_a_pass_and_hints_during_it_start_exactly_one_more() {
        let mut state = idle(&["edge"]);
        assert_eq!(started(&state.handle_event(at(1), hint())), [("edge".to_owned(), vec![])]);
        assert!(started(&state.handle_event(at(1), hint())).is_empty());
        assert!(started(&state.handle_event(at(1), hint())).is_empty());
        assert_eq!(started(&state.handle_event(at(2), finished("edge", &[]))).len(), 1);
        assert!(started(&state.handle_event(at(3), finished("edge", &[]))).is_empty());
    }

    #[test]
    fn what_is_only_a_matter_of_time_is_looked_at_again_when_that_is_over() {
        let mut state = idle(&["edge"]);
        assert_eq!(started(&state.handle_event(at(1), hint())).len(), 1);
        let waits = seen("edge", Observed { again: Some(at(5)), ..Observed::default() });
        assert!(started(&state.handle_event(at(2), waits)).is_empty());
        assert_eq!(state.wake_at(at(2)), Some(at(7)));
        assert!(started(&state.handle_event(at(6), Event::Tick)).is_empty());
        assert_eq!(started(&state.handle_event(at(7), Event::Tick)).len(), 1);
        state.handle_event(at(7), finished("edge", &[]));
        assert!(state.wake_at(at(7)) > Some(at(30)), "nothing is waited for any more");
    }

    fn connected(name: &str) -> Event {
        seen(name, Observed { refresh: true, ..Observed::default() })
    }

    fn refreshes(responses: &[Response]) -> usize {
        responses.iter().filter(|response| matches!(response, Response::Refresh { .. })).count()
    }

    #[test]
    fn the_proxy_looks_again_once_a_burst_of_passes_and_no_pass_waits_for_it() {
        let millis = Duration::from_millis;
        let mut state = idle(&["edge"]);
        let begin = at(1);
        assert_eq!(started(&state.handle_event(begin, hint())).len(), 1);
        for step in 1..=4_u32 {
            // The next one begins as soon as this one has ended, and the proxy waits for what that connects.
            state.handle_event(begin + millis(100) * step, hint());
            let responses = state.handle_event(begin + millis(100) * step, connected("edge"));
            assert_eq!((started(&responses).len(), refreshes(&responses)), (1, 0), "{step}");
        }
        let end = begin + millis(450);
        assert_eq!(refreshes(&state.handle_event(end, finished("edge", &[]))), 0);
        let due = state.wake_at(end).expect("it is to look again");
        assert_eq!(due, begin + millis(500));
        let responses = state.handle_event(due, Event::Tick);
        assert!(matches!(responses.as_slice(), [Response::Refresh { .. }]), "{responses:?}");
        // Meanwhile repairs go on, and what they connect is for another look, after this one.
        assert_eq!(started(&state.handle_event(due, hint())).len(), 1);
        assert_eq!(refreshes(&state.handle_event(due, connected("edge"))), 0);
        assert_eq!(refreshes(&state.handle_event(due + at(5), Event::Tick)), 0);
        assert_eq!(refreshes(&state.handle_event(due + at(6), Event::Refreshed { server: server("edge") })), 1);
        state.handle_event(due + at(7), Event::Refreshed { server: server("edge") });
        assert_eq!(refreshes(&state.handle_event(due + at(8), Event::Tick)), 0);
    }

    #[test]
    fn a_burst_without_end_does_not_keep_the_proxy_from_looking_again() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), hint());
        state.handle_event(at(1), hint());
        assert_eq!(refreshes(&state.handle_event(at(1), connected("edge"))), 0);
        let due = state.wake_at(at(1)).expect("it is to look again");
        assert_eq!(due, at(1) + LONGEST_BURST);
        assert_eq!(refreshes(&state.handle_event(due, Event::Tick)), 1);
    }

    #[test]
    fn a_loop_that_is_stopped_ends_when_the_proxy_has_looked_again() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), hint());
        assert!(state.handle_event(at(1), Event::StopRequested).contains(&Response::Drain));
        let responses = state.handle_event(at(2), connected("edge"));
        assert_eq!((refreshes(&responses), responses.contains(&Response::Finished)), (1, false), "{responses:?}");
        let responses = state.handle_event(at(3), Event::Refreshed { server: server("edge") });
        assert_eq!(responses, [Response::Finished]);
    }

    #[test]
    fn servers_do_not_wait_for_each_other() {
        let mut state = idle(&["a", "b"]);
        state.handle_event(at(1), Event::Hint { server: server("a"), about: None });
        assert_eq!(started(&state.handle_event(at(1), Event::Hint { server: server("b"), about: None })).len(), 1);
    }

    #[test]
    fn an_idle_server_is_looked_at_again_after_the_interval_give_or_take_a_tenth() {
        let mut state = idle(&["edge"]);
        let due = state.wake_at(at(0)).expect("a resync is due");
        assert!(due >= at(54) && due <= at(66), "{due:?}");
        assert!(started(&state.handle_event(due - at(1), Event::Tick)).is_empty());
        assert_eq!(started(&state.handle_event(due, Event::Tick)).len(), 1);
    }

    #[test]
    fn what_failed_waits_and_another_container_of_the_same_resource_does_not() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), hint());
        state.handle_event(at(1), finished("edge", &[(endpoint(7), SubjectOutcome::Failed)]));
        assert_eq!(started(&state.handle_event(at(1), hint())), [("edge".to_owned(), vec![endpoint(7)])]);
        state.handle_event(at(1), finished("edge", &[(endpoint(8), SubjectOutcome::Converged)]));
        let retry = state.wake_at(at(1)).expect("a retry is due");
        assert!(retry <= at(2), "{retry:?}");
        assert_eq!(started(&state.handle_event(retry, Event::Tick)), [("edge".to_owned(), vec![])]);
    }

    /// Lets the endpoint fail until its wait is long; the last failure is at the time returned.
    fn long_wait(state: &mut State) -> Duration {
        let mut now = at(1);
        state.handle_event(now, hint());
        for _ in 0..5 {
            state.handle_event(now, finished("edge", &[(endpoint(7), SubjectOutcome::Failed)]));
            now = state.wake_at(now).expect("a retry is due");
            assert_eq!(started(&state.handle_event(now, Event::Tick)), [("edge".to_owned(), vec![])]);
        }
        state.handle_event(now, finished("edge", &[(endpoint(7), SubjectOutcome::Failed)]));
        assert!(state.wake_at(now).unwrap() > now + at(15));
        now
    }

    #[test]
    fn a_wait_after_a_failure_ends_with_any_event_about_the_container_or_the_network_and_with_no_other() {
        for (about, ends) in [
            (hint_about(None, Some(container(7))), true),
            (hint_about(Some(network(1)), Some(container(8))), true),
            (hint_about(Some(network(1)), None), true),
            (hint_about(None, Some(container(8))), false),
            (hint_about(Some(network(2)), Some(container(8))), false),
            (hint(), false),
        ] {
            let mut state = idle(&["edge"]);
            let now = long_wait(&mut state) + at(2);
            let held = if ends { vec![] } else { vec![endpoint(7)] };
            assert_eq!(started(&state.handle_event(now, about.clone())), [("edge".to_owned(), held)], "{about:?}");
        }
    }

    #[test]
    fn a_pass_that_fails_does_not_call_itself_back_by_the_events_it_causes() {
        let mut state = idle(&["edge"]);
        let now = long_wait(&mut state);
        let mut touched = Touched::default();
        touched.add(&connect(7));
        let own = || hint_about(Some(network(1)), Some(container(7)));
        state.handle_event(now + at(2), hint_about(None, Some(container(7))));
        state.handle_event(now + at(2), own());
        let subjects = [(endpoint(7), judged(SubjectOutcome::Failed))].into();
        let again =
            state.handle_event(now + at(3), seen("edge", Observed { subjects, touched, ..Observed::default() }));
        assert_eq!(started(&again), [("edge".to_owned(), vec![endpoint(7)])], "heard while it ran");
        state.handle_event(now + at(3), finished("edge", &[]));
    }

    fn connect(number: u8) -> crate::core::plan::Call {
        crate::core::plan::Call::StartContainer {
            container: crate::core::plan::ContainerTarget { name: "a".to_owned(), id: container(number) },
        }
    }

    #[test]
    fn a_wait_after_a_failure_ends_when_the_server_answers_again_and_with_the_next_resync() {
        let mut state = idle(&["edge"]);
        let now = long_wait(&mut state);
        let back = state.handle_event(now + at(1), Event::ServerBack { server: server("edge") });
        assert_eq!(started(&back), [("edge".to_owned(), vec![])]);
        state.handle_event(now + at(1), finished("edge", &[]));

        let mut state = idle(&["edge"]);
        let now = long_wait(&mut state);
        state.handle_event(now, hint());
        state.handle_event(now, unreachable("edge"));
        assert_eq!(started(&state.handle_event(now + at(1), Event::Tick)), [("edge".to_owned(), vec![])]);

        let mut state = State::new(at(4), 1, 1);
        state.handle_event(at(0), Event::SourceChanged);
        state.handle_event(at(0), loaded(&["edge"]));
        for round in 0..20 {
            state.handle_event(at(10 * round), finished("edge", &[(endpoint(7), SubjectOutcome::Failed)]));
            let next = state.wake_at(at(10 * round)).expect("a retry is due");
            assert!(next <= at(10 * round + 4), "never longer than the interval: {next:?}");
            assert_eq!(started(&state.handle_event(at(10 * round + 4), Event::Tick)), [("edge".to_owned(), vec![])]);
        }
    }

    #[test]
    fn a_new_manifest_ends_every_wait() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), hint());
        state.handle_event(at(1), finished("edge", &[(endpoint(7), SubjectOutcome::Failed)]));
        state.handle_event(at(1), Event::SourceChanged);
        assert_eq!(started(&state.handle_event(at(1), loaded(&["edge"]))), [("edge".to_owned(), vec![])]);
    }

    #[test]
    fn a_reload_begins_passes_where_it_concerns_something_and_leaves_the_others_as_they_are() {
        let mut state = idle(&["edge", "other"]);
        let failed = [(endpoint(7), judged(SubjectOutcome::Failed))].into();
        state.handle_event(at(1), seen("other", Observed { subjects: failed, ..Observed::default() }));
        assert!(state.is_stuck(&server("other")) && !state.is_stuck(&server("edge")));
        let only = |names: &[&str]| {
            let of = |names: &[&str]| names.iter().map(|name| server(name)).collect();
            Event::Loaded(Loaded::Valid { servers: of(&["edge", "other", "new"]), concerned: of(names) })
        };
        let begun = |responses: Vec<Response>| {
            let server = |it| {
                if let Response::StartPass { server, hold, .. } = it {
                    Some((server.name.to_string(), hold))
                } else {
                    None
                }
            };
            responses.into_iter().filter_map(server).collect::<Vec<_>>()
        };
        // One that has not been there before is looked at in any case.
        assert_eq!(begun(state.handle_event(at(1), only(&[]))), [("new".to_owned(), BTreeSet::new())]);
        assert!(state.is_stuck(&server("other")), "what failed there waits for its next try");
        let tried = begun(state.handle_event(at(1), only(&["other"])));
        assert_eq!(tried, [("other".to_owned(), BTreeSet::new())], "at once, and with what had failed");
    }

    #[test]
    fn an_invalid_or_unchanged_manifest_starts_nothing() {
        let mut state = idle(&["edge"]);
        for loaded in [Loaded::Invalid, Loaded::Unchanged] {
            assert_eq!(state.handle_event(at(1), Event::SourceChanged), [Response::Load]);
            assert_eq!(state.handle_event(at(1), Event::Loaded(loaded)), []);
        }
    }

    #[test]
    fn changes_while_manifests_are_read_lead_to_one_more_reading() {
        let mut state = idle(&["edge"]);
        assert_eq!(state.handle_event(at(1), Event::SourceChanged), [Response::Load]);
        assert_eq!(state.handle_event(at(1), Event::SourceChanged), []);
        assert_eq!(state.handle_event(at(1), Event::SourceChanged), []);
        assert_eq!(state.handle_event(at(1), Event::Loaded(Loaded::Unchanged)), [Response::Load]);
        assert_eq!(state.handle_event(at(1), Event::Loaded(Loaded::Unchanged)), []);
    }

    #[test]
    fn events_do_not_shorten_the_wait_for_an_unreachable_server() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), hint());
        state.handle_event(at(1), unreachable("edge"));
        assert!(started(&state.handle_event(at(1), hint())).is_empty());
        let retry = state.wake_at(at(1)).expect("a retry is due");
        assert!(retry > at(1) && retry <= at(2), "{retry:?}");
        assert_eq!(started(&state.handle_event(retry, Event::Tick)).len(), 1);
    }

    #[test]
    fn a_server_that_is_back_is_looked_at_at_once() {
        let mut state = idle(&["edge"]);
        let mut now = at(1);
        state.handle_event(now, hint());
        for _ in 0..8 {
            state.handle_event(now, unreachable("edge"));
            now = state.wake_at(now).expect("a retry is due");
            assert_eq!(started(&state.handle_event(now, Event::Tick)).len(), 1);
        }
        state.handle_event(now, unreachable("edge"));
        assert!(started(&state.handle_event(now + at(1), hint())).is_empty());
        assert_eq!(started(&state.handle_event(now + at(1), Event::ServerBack { server: server("edge") })).len(), 1);
    }

    #[test]
    fn an_unreachable_server_is_tried_again_without_any_event() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), hint());
        state.handle_event(at(1), unreachable("edge"));
        let retry = state.wake_at(at(1)).expect("a retry is due");
        assert!(retry <= at(2), "not only at the next resync: {retry:?}");
        assert_eq!(started(&state.handle_event(retry, Event::Tick)).len(), 1);
    }

    #[test]
    fn an_unreachable_server_that_tells_of_something_is_looked_at_again_after_some_seconds() {
        let mut state = idle(&["edge"]);
        let mut now = at(1);
        state.handle_event(now, hint());
        for _ in 0..6 {
            state.handle_event(now, unreachable("edge"));
            now = state.wake_at(now).expect("a retry is due");
            state.handle_event(now, Event::Tick);
        }
        state.handle_event(now, unreachable("edge"));
        assert!(state.wake_at(now).unwrap() > now + at(20));
        assert!(started(&state.handle_event(now + at(1), hint_about(None, Some(container(7))))).is_empty());
        assert_eq!(state.wake_at(now + at(1)), Some(now + SIGN_OF_LIFE));
    }

    #[test]
    fn the_same_endpoint_is_repaired_twenty_times_at_once_and_its_successor_starts_fresh() {
        let mut state = idle(&["edge"]);
        let repaired = || finished("edge", &[(endpoint(7), SubjectOutcome::Repaired)]);
        for round in 0..21 {
            assert_eq!(started(&state.handle_event(at(round), hint())), [("edge".to_owned(), vec![])], "{round}");
            let said = contended(&state.handle_event(at(round), repaired()));
            assert_eq!(said, usize::from(round == 4), "{round}");
        }
        assert_eq!(
            state.contended(at(21), &server("edge")),
            [(destination("web"), vec![Fought { name: "a on web".to_owned(), advice: None, times: FIGHT }])].into()
        );
        // Of the container that takes its place, and of any other, nothing is held back.
        assert_eq!(started(&state.handle_event(at(21), hint())), [("edge".to_owned(), vec![endpoint(7)])]);
        state.handle_event(at(21), finished("edge", &[(endpoint(8), SubjectOutcome::Repaired)]));
        assert_eq!(started(&state.handle_event(at(23), Event::Tick)), [("edge".to_owned(), vec![])]);
        state.handle_event(at(23), finished("edge", &[]));
        // It is looked at once more when it has been in peace for a minute.
        let mut now = at(23);
        while now < at(80) {
            now = state.wake_at(now).unwrap();
            state.handle_event(now, Event::Tick);
            state.handle_event(now, finished("edge", &[]));
        }
        assert_eq!(now, at(80));
        assert_eq!(state.contended(now, &server("edge")), BTreeMap::new());
    }

    #[test]
    fn each_deployment_that_takes_a_service_off_a_network_counts_once_whether_or_not_it_is_put_back_meanwhile() {
        let mut state = idle(&["edge"]);
        let attachment =
            || Subject::Attachment { network: OnNetwork::Id(network(1)), service: "s".repeat(25).try_into().unwrap() };
        let rollout = |number: u64| {
            let began = jiff::Timestamp::from_second(i64::try_from(number).unwrap()).unwrap();
            SubjectOutcome::UndoneBy(began)
        };
        let mut said = Vec::new();
        for number in 0..6 {
            let now = at(9 * number + 1);
            // It is looked at more than once while the rollout lasts.
            for _ in 0..3 {
                state.handle_event(now, hint());
                let seen = finished("edge", &[(attachment(), rollout(number))]);
                said.extend(
                    state
                        .handle_event(now, seen)
                        .into_iter()
                        .filter(|it| matches!(it, Response::Contended { .. }))
                        .map(|_| number),
                );
            }
            // Some are over before the next begins, and it is put back.
            if number % 2 == 0 {
                state.handle_event(now, hint());
                let back = finished("edge", &[(attachment(), SubjectOutcome::Repaired)]);
                assert_eq!(contended(&state.handle_event(now, back)), 0, "{number}");
            }
        }
        assert_eq!(said, [2], "with the third, and once");
        // What is put back without that a rollout was seen counts as well.
        let mut state = idle(&["edge"]);
        let mut count = 0;
        for number in 0..5 {
            state.handle_event(at(number), hint());
            let back = finished("edge", &[(attachment(), SubjectOutcome::Repaired)]);
            count += contended(&state.handle_event(at(number), back));
        }
        assert_eq!(count, 1);
    }

    #[test]
    fn what_is_undone_before_it_can_be_seen_is_no_failure_that_waits() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), hint());
        for round in 1..20 {
            let undone = finished("edge", &[(endpoint(7), SubjectOutcome::Undone)]);
            assert_eq!(started(&state.handle_event(at(round), undone)), [("edge".to_owned(), vec![])]);
        }
    }

    #[test]
    fn a_pass_that_breaks_is_tried_again_like_one_that_saw_nothing() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), hint());
        let broken = Event::PassFinished { server: server("edge"), outcome: PassOutcome::Broken };
        state.handle_event(at(1), broken);
        let retry = state.wake_at(at(1)).expect("a retry is due");
        assert!(retry > at(1) && retry <= at(2), "{retry:?}");
    }

    fn with_rollout(name: &str) -> Event {
        seen(name, Observed { rollout: true, ..Observed::default() })
    }

    fn rolled_out(outcome: SubjectOutcome) -> Event {
        let subjects = [(Subject::Workload(destination("app")), judged(outcome))].into();
        let outcome = PassOutcome::Observed(Observed { subjects, ..Observed::default() });
        Event::RolloutFinished { server: server("edge"), outcome }
    }

    fn rollouts(responses: &[Response]) -> usize {
        responses.iter().filter(|it| matches!(it, Response::StartRollout { .. })).count()
    }

    #[test]
    fn a_rollout_holds_up_no_pass_there_is_one_at_a_time_and_a_pass_follows_it() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), hint());
        let responses = state.handle_event(at(2), with_rollout("edge"));
        assert_eq!(rollouts(&responses), 1);
        // Repairs go on meanwhile, and nothing is begun twice.
        let during = state.handle_event(at(3), hint());
        assert_eq!(started(&during).len(), 1);
        assert_eq!(rollouts(&state.handle_event(at(4), with_rollout("edge"))), 0);
        let after = state.handle_event(at(60), rolled_out(SubjectOutcome::Converged));
        assert_eq!(started(&after).len(), 1);
        assert_eq!(rollouts(&state.handle_event(at(61), with_rollout("edge"))), 1);
    }

    #[test]
    fn what_failed_in_a_rollout_waits_and_a_rollout_that_comes_to_nothing_is_not_begun_again_at_once() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), hint());
        state.handle_event(at(2), with_rollout("edge"));
        let after = state.handle_event(at(3), rolled_out(SubjectOutcome::Failed));
        assert_eq!(started(&after)[0].1, [Subject::Workload(destination("app"))]);
        state.handle_event(at(4), finished("edge", &[]));

        let mut state = idle(&["edge"]);
        state.handle_event(at(1), hint());
        state.handle_event(at(2), with_rollout("edge"));
        let broken = Event::RolloutFinished { server: server("edge"), outcome: PassOutcome::Broken };
        assert_eq!(started(&state.handle_event(at(2), broken)).len(), 1, "repairs go on");
        assert_eq!(rollouts(&state.handle_event(at(2), with_rollout("edge"))), 0);
        let due = state.wake_at(at(2)).unwrap();
        assert_eq!(started(&state.handle_event(due, Event::Tick)).len(), 1);
        assert_eq!(rollouts(&state.handle_event(due, with_rollout("edge"))), 1);
    }

    #[test]
    fn stopping_waits_for_a_rollout_and_begins_none() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), hint());
        state.handle_event(at(2), with_rollout("edge"));
        assert_eq!(state.handle_event(at(3), Event::StopRequested), [Response::Drain]);
        let ended = state.handle_event(at(4), rolled_out(SubjectOutcome::Converged));
        assert_eq!(ended, [Response::Finished]);
    }

    fn withheld(fingerprint: &str) -> Event {
        seen("edge", Observed { withheld: Some(fingerprint.to_owned()), ..Observed::default() })
    }

    fn approved(responses: &[Response]) -> Vec<Option<&str>> {
        let starts = responses.iter().filter_map(|response| match response {
            Response::StartPass { approved, .. } => Some(approved.as_deref()),
            _ => None,
        });
        starts.collect()
    }

    #[test]
    fn a_deletion_that_is_agreed_to_gets_one_pass_that_sees_the_server() {
        let mut state = idle(&["edge"]);
        let agree = |what: &str| Event::Approved { fingerprint: what.to_owned() };
        assert_eq!(approved(&state.handle_event(at(1), hint())), [None]);
        state.handle_event(at(1), withheld("abc"));
        assert!(approved(&state.handle_event(at(2), agree("another list"))).is_empty());
        assert_eq!(approved(&state.handle_event(at(2), agree("abc"))), [Some("abc")]);
        state.handle_event(at(3), unreachable("edge"));
        assert_eq!(approved(&state.handle_event(at(10), Event::Tick)), [Some("abc")], "it has not been seen yet");
        state.handle_event(at(11), finished("edge", &[]));
        assert_eq!(approved(&state.handle_event(at(12), hint())), [None]);
    }

    #[test]
    fn agreeing_while_a_pass_runs_counts_for_the_next_and_a_new_manifest_ends_it() {
        let mut state = idle(&["edge"]);
        let agree = || Event::Approved { fingerprint: "abc".to_owned() };
        state.handle_event(at(1), hint());
        state.handle_event(at(1), withheld("abc"));
        state.handle_event(at(2), hint());
        assert!(state.handle_event(at(2), agree()).is_empty());
        assert_eq!(approved(&state.handle_event(at(3), withheld("abc"))), [Some("abc")]);
        state.handle_event(at(4), withheld("abc"));

        state.handle_event(at(5), hint());
        state.handle_event(at(5), agree());
        state.handle_event(at(5), loaded(&["edge"]));
        assert_eq!(approved(&state.handle_event(at(6), finished("edge", &[]))), [None]);
    }

    #[test]
    fn the_first_signal_drains_and_the_second_aborts() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), hint());
        assert_eq!(state.handle_event(at(1), Event::StopRequested), [Response::Drain]);
        assert_eq!(state.handle_event(at(1), hint()), []);
        assert_eq!(state.handle_event(at(2), finished("edge", &[])), [Response::Finished]);
        assert_eq!(state.handle_event(at(2), Event::StopRequested), [Response::Abort]);
    }

    #[test]
    fn a_signal_while_nothing_runs_finishes_at_once() {
        let mut state = idle(&["edge"]);
        assert_eq!(state.handle_event(at(1), Event::StopRequested), [Response::Drain, Response::Finished]);
    }

    #[test]
    fn a_server_that_is_no_longer_declared_gets_no_more_passes() {
        let mut state = idle(&["a", "b"]);
        state.handle_event(at(1), loaded(&["a"]));
        assert!(started(&state.handle_event(at(1), Event::Hint { server: server("b"), about: None })).is_empty());
    }

    fn shared(kept: &[&str], leaving: &[&str]) -> Event {
        let keys = |names: &[&str]| names.iter().map(|name| server(name)).collect();
        Event::Shared { kept: keys(kept), leaving: keys(leaving) }
    }

    #[test]
    fn a_server_that_is_given_up_ends_its_pass_and_gets_no_other_until_it_comes_back() {
        let mut state = idle(&["edge", "b"]);
        assert_eq!(started(&state.handle_event(at(1), hint())).len(), 1);
        assert!(state.handle_event(at(1), shared(&["b"], &["edge"])).is_empty());
        assert!(state.is_busy(&server("edge")));
        assert!(state.handle_event(at(2), hint()).is_empty());
        assert!(state.handle_event(at(2), finished("edge", &[])).is_empty());
        assert!(!state.is_busy(&server("edge")));
        assert!(started(&state.handle_event(at(500), Event::Tick)).iter().all(|(name, _)| name == "b"));
        assert_eq!(started(&state.handle_event(at(501), shared(&["edge", "b"], &[])))[0].0, "edge");
    }

    const NAMES: [&str; 2] = ["a", "b"];

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Hint(usize),
        Back(usize),
        Ask,
        Load,
        Wait(u64),
        Converge(usize),
        Fail(usize),
        Repair(usize),
        Lose(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let which = 0..NAMES.len();
        prop_oneof![
            4 => which.clone().prop_map(Step::Hint),
            1 => which.clone().prop_map(Step::Back),
            1 => Just(Step::Ask),
            1 => Just(Step::Load),
            3 => (0..900u64).prop_map(Step::Wait),
            3 => which.clone().prop_map(Step::Converge),
            1 => which.clone().prop_map(Step::Fail),
            1 => which.clone().prop_map(Step::Repair),
            1 => which.prop_map(Step::Lose),
        ]
    }

    /// The loop, and whether each server has a pass under way and is still owed one.
    struct Watched {
        state: State,
        running: [bool; NAMES.len()],
        owed: [bool; NAMES.len()],
    }

    impl Watched {
        fn handle(&mut self, now: Duration, event: Event) -> Result<(), TestCaseError> {
            let index = |server: &ObjectKey| NAMES.iter().position(|name| *name == server.name).unwrap();
            match &event {
                Event::Hint { server, .. } => self.owed[index(server)] = true,
                // Not every step finds one to end.
                Event::PassFinished { server, .. } if !self.running[index(server)] => return Ok(()),
                Event::PassFinished { server, .. } => self.running[index(server)] = false,
                _ => {}
            }
            for response in self.state.handle_event(now, event) {
                if let Response::StartPass { server, .. } = response {
                    let server = index(&server);
                    prop_assert!(!self.running[server], "two passes at once");
                    (self.running[server], self.owed[server]) = (true, false);
                }
            }
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn every_hint_is_followed_by_a_pass_that_begins_after_it_and_no_server_has_two_at_once(steps in prop::collection::vec(step(), 1..80)) {
            let mut watched = Watched { state: idle(&NAMES), running: [false; NAMES.len()], owed: [false; NAMES.len()] };
            let mut now = at(0);
            for step in steps {
                let event = match step {
                    Step::Hint(which) => Event::Hint { server: server(NAMES[which]), about: None },
                    Step::Back(which) => Event::ServerBack { server: server(NAMES[which]) },
                    Step::Ask => Event::ReconcileRequested { server: None },
                    Step::Load => loaded(&NAMES),
                    Step::Wait(seconds) => {
                        now += at(seconds);
                        Event::Tick
                    }
                    Step::Converge(which) => finished(NAMES[which], &[(endpoint(7), SubjectOutcome::Converged)]),
                    Step::Fail(which) => finished(NAMES[which], &[(endpoint(7), SubjectOutcome::Failed)]),
                    Step::Repair(which) => finished(NAMES[which], &[(endpoint(7), SubjectOutcome::Repaired)]),
                    Step::Lose(which) => unreachable(NAMES[which]),
                };
                watched.handle(now, event)?;
            }
            // Nothing more happens, and nobody tells it when to look.
            let end = now + at(20 * 60);
            while now < end {
                for name in NAMES {
                    watched.handle(now, finished(name, &[]))?;
                }
                let due = watched.state.wake_at(now);
                prop_assert!(due.is_some() || watched.running.contains(&true), "it sleeps for ever");
                now = due.unwrap_or(now).max(now);
                watched.handle(now, Event::Tick)?;
            }
            prop_assert_eq!(watched.owed, [false; NAMES.len()]);
        }
    }
}
