//! Events are hints. Told, told twice, told late or not at all: a resync later everything is as declared, and what is remembered of earlier
//! looks never shows anything that a fresh look would not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use landfall::core::observed::{ContainerId, EndpointSettings, NetworkId};
use landfall::core::report::Outcome;
use landfall::shell::controller::state::{
    Event, Judged, Loaded, Observed, PassOutcome, Response, State, Subject, SubjectOutcome, Touched,
};
use landfall::shell::controller::subject::is_about_any;
use landfall::shell::observe::{Interest, observe};
use proptest::prelude::*;

use super::world::Town;
use crate::support::memory::World;
use crate::support::scenario::{Scenario, application, database, destination, edge};

const INTERVAL: Duration = Duration::from_secs(60);
/// The longest that anything waits: the guard against fights, and a resync on top.
const PATIENCE: Duration = Duration::from_secs(100);

pub(super) const CONTAINERS: [&str; 4] = ["traefik", "app", "db", "stranger"];
pub(super) const NETWORKS: [&str; 2] = ["web-net", "data-net"];

#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Disconnect,
    Connect,
    Stop,
    Start,
    Recreate,
    RemoveNetwork,
    Nothing,
}

/// What becomes of the event that the daemon sends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Told,
    Twice,
    Late,
    Lost,
}

pub(super) type Step = (Act, usize, usize, Fate, u64);

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let act = prop_oneof![
        4 => Just(Act::Disconnect),
        1 => Just(Act::Connect),
        1 => Just(Act::Stop),
        1 => Just(Act::Start),
        1 => Just(Act::Recreate),
        1 => Just(Act::RemoveNetwork),
        1 => Just(Act::Nothing),
    ];
    let fate = prop_oneof![Just(Fate::Told), Just(Fate::Twice), Just(Fate::Late), Just(Fate::Lost)];
    prop::collection::vec((act, 0..CONTAINERS.len(), 0..NETWORKS.len(), fate, 0..90u64), 1..12)
}

pub(super) fn town() -> Town {
    let town = Town::new(
        Scenario::new()
            .destination(destination("web").named("web-net").member(application("app").alias("www")))
            .destination(destination("data").named("data-net").member(application("app")).member(database("db"))),
    );
    for name in &CONTAINERS[1..] {
        town.world().run_container(name);
    }
    town
}

/// What somebody does to the server; what the daemon refuses is not done.
pub(super) fn act(world: &mut World, act: Act, container: &str, network: &str) {
    let id: ContainerId = world.container_named(container).id.clone();
    let on: Option<NetworkId> = world.networks_named(network).first().map(|network| network.id.clone());
    let _ = match (act, on) {
        (Act::Disconnect, Some(network)) => world.disconnect(&network, &id, false),
        (Act::Connect, Some(network)) => world.connect(&network, &id, &EndpointSettings::default()),
        (Act::RemoveNetwork, Some(network)) => world.remove_network(&network),
        (Act::Stop, _) => world.stop_container(&id),
        (Act::Start, _) => world.start_container(&id),
        (Act::Recreate, _) => {
            world.remove_container(&id);
            world.run_container(container);
            Ok(())
        }
        (Act::Nothing | Act::Disconnect | Act::Connect | Act::RemoveNetwork, _) => Ok(()),
    };
}

/// The loop's decisions over passes that take no time.
struct Controller {
    state: State,
    town: Town,
    now: Duration,
}

impl Controller {
    async fn handle(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for response in self.state.handle_event(self.now, event) {
                if let Response::StartPass { server, hold, .. } = response {
                    let outcome = self.pass(&hold).await;
                    events.push_back(Event::PassFinished { server, outcome });
                }
            }
        }
    }

    async fn pass(&self, hold: &BTreeSet<Subject>) -> PassOutcome {
        let applied = self.town.apply_but(|group| is_about_any(group, hold)).await;
        let mut subjects: BTreeMap<Subject, Judged> = BTreeMap::new();
        let mut touched = Touched::default();
        for it in applied.report.servers.iter().flat_map(|server| &server.operations) {
            let outcome = match it.outcome {
                Outcome::Done => SubjectOutcome::Repaired,
                _ => SubjectOutcome::Failed,
            };
            touched.add(&it.operation.call);
            let (object, name) = (it.operation.object.clone(), it.operation.to_string());
            let judged = Judged { object, name, advice: None, disruptive: it.operation.disruptive, outcome };
            let known = subjects.entry(Subject::of(&it.operation)).or_insert(judged);
            if outcome == SubjectOutcome::Failed {
                known.outcome = outcome;
            }
        }
        PassOutcome::Observed(Observed { subjects, touched, ..Observed::default() })
    }

    async fn let_time_pass(&mut self, until: Duration) {
        while let Some(due) = self.state.wake_at(self.now).filter(|due| *due <= until) {
            self.now = due.max(self.now);
            self.handle(Event::Tick).await;
        }
        self.now = until;
    }
}

async fn converges(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut controller = Controller { state: State::new(INTERVAL, 7, 1), town: town(), now: Duration::ZERO };
    let hint = || Event::Hint { server: edge(), about: None };
    controller.handle(Event::Loaded(Loaded::Valid { servers: [edge()].into(), concerned: [edge()].into() })).await;
    let mut late = 0;
    for (what, container, network, fate, seconds) in steps {
        act(&mut controller.town.world(), what, CONTAINERS[container], NETWORKS[network]);
        match fate {
            Fate::Told => controller.handle(hint()).await,
            Fate::Twice => {
                controller.handle(hint()).await;
                controller.handle(hint()).await;
            }
            Fate::Late => late += 1,
            Fate::Lost => {}
        }
        let next = controller.now + Duration::from_secs(seconds);
        controller.let_time_pass(next).await;
    }
    for _ in 0..late {
        controller.handle(hint()).await;
    }
    let end = controller.now + PATIENCE;
    controller.let_time_pass(end).await;
    let left = controller.town.preview().await.plan;
    prop_assert!(left.servers.iter().all(|server| server.groups.is_empty()), "left undone:\n{left}");
    Ok(())
}

async fn remembers(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let town = town();
    let server = &town.desired.servers[&edge()];
    for (what, container, network, fate, _) in steps {
        let about = town.world().container_named(CONTAINERS[container]).id.clone();
        act(&mut town.world(), what, CONTAINERS[container], NETWORKS[network]);
        let told = !matches!(fate, Fate::Lost);
        let seen = town.preview_after(told.then_some((&edge(), about))).await.observed;
        let anew = observe(&town.engine.another(), &Interest::declared(server)).await;
        prop_assert_eq!(seen.get(&edge()), Some(&anew));
        if matches!(fate, Fate::Told) {
            town.apply().await;
        }
    }
    Ok(())
}

pub(super) fn on_a_runtime(test: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn fact_07_whatever_becomes_of_the_hints_everything_is_as_declared_in_the_end(steps in steps()) {
        on_a_runtime(converges(steps))?;
    }

    #[test]
    fn fact_02_what_is_remembered_of_earlier_looks_shows_what_a_fresh_look_shows(steps in steps()) {
        on_a_runtime(remembers(steps))?;
    }
}
