//! The decisions of the loop: what happened comes in, what to do comes out. Synchronous, without IO or clock.
//!
//! Flow: a hint (a file, a Docker event, a timer, a person) makes a server *dirty*. A dirty server without a running pass gets one. What
//! arrives while the pass runs makes it dirty again, so it gets one more afterwards and never two at once: one mutator a server.
//!
//! Guarantees: every hint is followed by a pass that began after it; a server without hints gets a pass within the interval; a destination
//! that fails or is being fought over waits, and does not keep others waiting.
//!
//! What is absent: what a pass does. The loop decides *when*, never *what*.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::backoff::{History, Jitter};
use crate::api::ObjectKey;
use crate::observed::{ContainerId, EngineEvent, NetworkId};

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
    /// A signal to stop.
    StopRequested,
}

/// What an event of a server was about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    pub network: Option<NetworkId>,
    pub container: Option<ContainerId>,
}

impl About {
    pub fn of(event: &EngineEvent) -> Self {
        match event.object_type.as_str() {
            "network" => Self {
                network: event.id.clone().try_into().ok(),
                container: event.container.clone().and_then(|id| id.try_into().ok()),
            },
            "container" => Self { network: None, container: event.id.clone().try_into().ok() },
            _ => Self::default(),
        }
    }
}

/// The result of reading the manifests.
#[derive(Debug, Clone, PartialEq)]
pub enum Loaded {
    /// Same content as before.
    Unchanged,
    /// A new valid set; these are the servers it declares.
    Valid { servers: BTreeSet<ObjectKey> },
    /// The last good set stays desired.
    Invalid,
}

/// What a pass over one server came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PassOutcome {
    /// The server could not be observed.
    pub unreachable: bool,
    /// Destinations that the pass dealt with; those absent had nothing to do.
    pub destinations: BTreeMap<ObjectKey, DestinationOutcome>,
    /// Fingerprint of the deletions that wait for somebody to agree.
    pub withheld: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationOutcome {
    /// Everything planned was done, for the first time since the manifest changed.
    Converged,
    /// It had converged before, and something moved since: drift, put back.
    Repaired,
    /// An operation failed.
    Failed,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// Read the manifests and send [`Event::Loaded`].
    Load,
    /// Observe, plan and execute one server, leaving out the operations of the destinations on hold; send [`Event::PassFinished`].
    StartPass {
        server: ObjectKey,
        pass: u64,
        hold: BTreeSet<ObjectKey>,
        /// Fingerprint of deletions that somebody has agreed to.
        approved: Option<String>,
    },
    /// Something keeps undoing what is repaired.
    Contended { destination: ObjectKey },
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
    resync_at: Duration,
    /// What waits for somebody to agree, as the last pass found it.
    withheld: Option<String>,
    /// Agreed to, and good for one pass that sees the server.
    approved: Option<String>,
    /// Handed to the pass that runs.
    in_use: Option<String>,
    /// Consecutive passes that could not observe it.
    unreachable: History,
    destinations: BTreeMap<ObjectKey, History>,
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
                if let Loaded::Valid { servers } = loaded {
                    self.take_servers(now, servers);
                }
            }
            Event::Hint { server, about: _ } => {
                if let Some(server) = self.servers.get_mut(&server) {
                    server.dirty = true;
                }
            }
            Event::ServerBack { server } => {
                if let Some(server) = self.servers.get_mut(&server) {
                    server.dirty = true;
                    server.unreachable.succeeded();
                }
            }
            Event::ReconcileRequested { server } => {
                for (key, state) in &mut self.servers {
                    if server.as_ref().is_none_or(|wanted| wanted == key) {
                        state.dirty = true;
                        state.unreachable.succeeded();
                        state.destinations.clear();
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
            Event::Tick => {}
            Event::PassFinished { server, outcome } => self.pass_finished(now, &server, outcome, &mut responses),
        }
        self.start_passes(now, &mut responses);
        responses
    }

    /// Servers that are known to need a pass and wait for one.
    pub fn waiting(&self) -> usize {
        self.servers.values().filter(|server| server.dirty).count()
    }

    /// When [`Event::Tick`] is due next; `None` while there is nothing to wait for.
    pub fn wake_at(&self, now: Duration) -> Option<Duration> {
        if self.stopping {
            return None;
        }
        self.servers
            .values()
            .filter(|server| !server.running)
            .map(|server| {
                let held = server.destinations.values().filter_map(|history| history.held_until(now)).min();
                let due = held.map_or(server.resync_at, |held| held.min(server.resync_at));
                server.unreachable.held_until(now).unwrap_or(due)
            })
            .min()
    }

    /// A new manifest is a new chance: every wait begins from nothing.
    fn take_servers(&mut self, now: Duration, declared: BTreeSet<ObjectKey>) {
        self.servers.retain(|key, server| declared.contains(key) || server.running);
        for key in declared {
            let server = self.servers.entry(key).or_default();
            server.dirty = true;
            server.resync_at = now;
            server.unreachable = History::default();
            server.destinations.clear();
            server.approved = None;
        }
    }

    fn pass_finished(&mut self, now: Duration, key: &ObjectKey, outcome: PassOutcome, responses: &mut Vec<Response>) {
        let Some(server) = self.servers.get_mut(key) else { return };
        server.running = false;
        let used = server.in_use.take();
        server.resync_at = now + self.jitter.tenth(self.interval);
        if outcome.unreachable {
            server.unreachable.failed(now, &mut self.jitter);
            server.dirty = true;
        } else {
            server.unreachable.succeeded();
            server.withheld = outcome.withheld;
            server.approved.take_if(|approved| used.as_ref() == Some(approved));
            for (destination, outcome) in outcome.destinations {
                let history = server.destinations.entry(destination.clone()).or_default();
                match outcome {
                    DestinationOutcome::Converged => history.succeeded(),
                    DestinationOutcome::Repaired => {
                        history.repaired(now);
                        if history.contended(now) {
                            responses.push(Response::Contended { destination });
                        }
                    }
                    DestinationOutcome::Failed => history.failed(now, &mut self.jitter),
                }
            }
        }
        if self.stopping && self.servers.values().all(|server| !server.running) {
            responses.push(Response::Finished);
        }
    }

    fn start_passes(&mut self, now: Duration, responses: &mut Vec<Response>) {
        if self.stopping {
            if responses.contains(&Response::Drain) && self.servers.values().all(|server| !server.running) {
                responses.push(Response::Finished);
            }
            return;
        }
        for (key, server) in &mut self.servers {
            // Events neither shorten the wait for an unreachable server nor count as failures of their own.
            if server.running || server.unreachable.held_until(now).is_some() {
                continue;
            }
            let due = server.destinations.values_mut().map(|history| usize::from(history.take_due(now))).sum::<usize>();
            if !server.dirty && due == 0 && now < server.resync_at {
                continue;
            }
            server.dirty = false;
            server.running = true;
            let hold = server
                .destinations
                .iter()
                .filter(|(_, history)| history.held_until(now).is_some())
                .map(|(destination, _)| destination.clone())
                .collect();
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

    use super::*;
    use crate::api::Kind;

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
        Event::Loaded(Loaded::Valid { servers: names.iter().map(|name| server(name)).collect() })
    }

    fn finished(name: &str, outcomes: &[(&str, DestinationOutcome)]) -> Event {
        let destinations = outcomes.iter().map(|(name, outcome)| (destination(name), *outcome)).collect();
        Event::PassFinished { server: server(name), outcome: PassOutcome { destinations, ..PassOutcome::default() } }
    }

    fn unreachable(name: &str) -> Event {
        Event::PassFinished {
            server: server(name),
            outcome: PassOutcome { unreachable: true, ..PassOutcome::default() },
        }
    }

    fn started(responses: &[Response]) -> Vec<(String, Vec<String>)> {
        responses
            .iter()
            .filter_map(|response| match response {
                Response::StartPass { server, hold, .. } => {
                    Some((server.name.clone(), hold.iter().map(|key| key.name.clone()).collect()))
                }
                _ => None,
            })
            .collect()
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
        let hint = || Event::Hint { server: server("edge"), about: None };
        assert_eq!(started(&state.handle_event(at(1), hint())), [("edge".to_owned(), vec![])]);
        assert!(started(&state.handle_event(at(1), hint())).is_empty());
        assert!(started(&state.handle_event(at(1), hint())).is_empty());
        assert_eq!(started(&state.handle_event(at(2), finished("edge", &[]))).len(), 1);
        assert!(started(&state.handle_event(at(3), finished("edge", &[]))).is_empty());
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
    fn a_failed_destination_waits_and_the_others_do_not() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), Event::Hint { server: server("edge"), about: None });
        state.handle_event(at(1), finished("edge", &[("web", DestinationOutcome::Failed)]));
        let pass = state.handle_event(at(1), Event::Hint { server: server("edge"), about: None });
        assert_eq!(started(&pass), [("edge".to_owned(), vec!["web".to_owned()])]);
        state.handle_event(at(1), finished("edge", &[]));
        let retry = state.wake_at(at(1)).expect("a retry is due");
        assert!(retry <= at(2), "{retry:?}");
        assert_eq!(started(&state.handle_event(retry, Event::Tick)), [("edge".to_owned(), vec![])]);
    }

    #[test]
    fn a_new_manifest_ends_every_wait() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), Event::Hint { server: server("edge"), about: None });
        state.handle_event(at(1), finished("edge", &[("web", DestinationOutcome::Failed)]));
        state.handle_event(at(1), Event::SourceChanged);
        assert_eq!(started(&state.handle_event(at(1), loaded(&["edge"]))), [("edge".to_owned(), vec![])]);
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
        state.handle_event(at(1), Event::Hint { server: server("edge"), about: None });
        state.handle_event(at(1), unreachable("edge"));
        assert!(started(&state.handle_event(at(1), Event::Hint { server: server("edge"), about: None })).is_empty());
        let retry = state.wake_at(at(1)).expect("a retry is due");
        assert!(retry > at(1) && retry <= at(2), "{retry:?}");
        assert_eq!(started(&state.handle_event(retry, Event::Tick)).len(), 1);
    }

    #[test]
    fn a_server_that_is_back_is_looked_at_at_once() {
        let mut state = idle(&["edge"]);
        let mut now = at(1);
        state.handle_event(now, Event::Hint { server: server("edge"), about: None });
        for _ in 0..8 {
            state.handle_event(now, unreachable("edge"));
            now = state.wake_at(now).expect("a retry is due");
            assert_eq!(started(&state.handle_event(now, Event::Tick)).len(), 1);
        }
        state.handle_event(now, unreachable("edge"));
        assert!(
            started(&state.handle_event(now + at(1), Event::Hint { server: server("edge"), about: None })).is_empty()
        );
        assert_eq!(started(&state.handle_event(now + at(1), Event::ServerBack { server: server("edge") })).len(), 1);
    }

    #[test]
    fn an_unreachable_server_is_tried_again_without_any_event() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), Event::Hint { server: server("edge"), about: None });
        state.handle_event(at(1), unreachable("edge"));
        let retry = state.wake_at(at(1)).expect("a retry is due");
        assert!(retry <= at(2), "not only at the next resync: {retry:?}");
        assert_eq!(started(&state.handle_event(retry, Event::Tick)).len(), 1);
    }

    #[test]
    fn somebody_who_keeps_undoing_repairs_is_named_once_waiting_reaches_its_limit() {
        let mut state = idle(&["edge"]);
        let mut now = at(1);
        let mut contended = 0;
        for _ in 0..12 {
            state.handle_event(now, Event::Hint { server: server("edge"), about: None });
            let responses = state.handle_event(now, finished("edge", &[("web", DestinationOutcome::Repaired)]));
            contended += responses.iter().filter(|r| matches!(r, Response::Contended { .. })).count();
            now += at(301);
        }
        assert!(contended > 0);
    }

    fn withheld(fingerprint: &str) -> Event {
        let outcome = PassOutcome { withheld: Some(fingerprint.to_owned()), ..PassOutcome::default() };
        Event::PassFinished { server: server("edge"), outcome }
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
        let hint = || Event::Hint { server: server("edge"), about: None };
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
        state.handle_event(at(1), Event::Hint { server: server("edge"), about: None });
        state.handle_event(at(1), withheld("abc"));
        state.handle_event(at(2), Event::Hint { server: server("edge"), about: None });
        assert!(state.handle_event(at(2), agree()).is_empty());
        assert_eq!(approved(&state.handle_event(at(3), withheld("abc"))), [Some("abc")]);
        state.handle_event(at(4), withheld("abc"));

        state.handle_event(at(5), Event::Hint { server: server("edge"), about: None });
        state.handle_event(at(5), agree());
        state.handle_event(at(5), loaded(&["edge"]));
        assert_eq!(approved(&state.handle_event(at(6), finished("edge", &[]))), [None]);
    }

    #[test]
    fn the_first_signal_drains_and_the_second_aborts() {
        let mut state = idle(&["edge"]);
        state.handle_event(at(1), Event::Hint { server: server("edge"), about: None });
        assert_eq!(state.handle_event(at(1), Event::StopRequested), [Response::Drain]);
        assert_eq!(state.handle_event(at(1), Event::Hint { server: server("edge"), about: None }), []);
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
                    Step::Converge(which) => finished(NAMES[which], &[("web", DestinationOutcome::Converged)]),
                    Step::Fail(which) => finished(NAMES[which], &[("web", DestinationOutcome::Failed)]),
                    Step::Repair(which) => finished(NAMES[which], &[("web", DestinationOutcome::Repaired)]),
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
