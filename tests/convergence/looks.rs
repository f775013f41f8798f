//! What a running controller asks of a daemon: no more than it has to, and never the same in vain.

use std::sync::Arc;
use std::time::Duration;

use landfall::core::api::{Kind, ObjectKey};
use landfall::core::desired::DesiredServer;
use landfall::core::observed::{ContainerId, ContainerState, EndpointSettings, NetworkScope, Observations};
use landfall::shell::execute::Limits;
use landfall::shell::observe::{Interest, ObserveLimits, observe, observe_all};
use landfall::shell::reconcile::Pass;
use landfall::shell::store::known::Known;
use proptest::prelude::*;
use tokio::time::Instant;

use super::hints::{Act, Step, act, on_a_runtime, steps, town as busy_town};
use super::world::Town;
use crate::support::memory::{MemoryEngine, network};
use crate::support::scenario::{Scenario, destination, edge};

const STOPPED: usize = 120;

/// A network that many stopped containers are on, and one that runs.
async fn town() -> Town {
    let town = Town::new(Scenario::new().destination(destination("web").named("web-net")));
    town.apply().await;
    let mut world = town.world();
    let web = world.network_named("web-net").id.clone();
    for number in 0..STOPPED {
        let id = world.create_container(&format!("job-{number}"), "bridge");
        world.connect(&web, &id, &EndpointSettings::default()).unwrap();
        world.start_container(&id).unwrap();
        world.stop_container(&id).unwrap();
    }
    let restarting = world.run_container("restarting");
    world.connect(&web, &restarting, &EndpointSettings::default()).unwrap();
    drop(world);
    town
}

async fn look(town: &Town, known: &Known, per_server: Duration) -> Observations {
    let limits = ObserveLimits { per_server, ..ObserveLimits::default() };
    observe_all(
        town.desired.servers.values().map(AsRef::as_ref),
        Interest::declared,
        |_| Ok(town.engine.clone()),
        known,
        limits,
    )
    .await
}

fn inspections(town: &Town) -> usize {
    town.engine.calls().iter().filter(|call| call.name == "container").count()
}

#[tokio::test(start_paused = true)]
async fn a_slow_daemon_is_seen_in_the_end_although_no_single_look_is_long_enough() {
    let town = town().await;
    let known = Known::watched();
    // As when the stream of events has just been opened.
    known.doubt(&edge());
    // Eight at a time, so a look from nothing takes sixteen seconds.
    town.engine.inspections_take(Duration::from_secs(1));
    let mut looks = 1;
    while look(&town, &known, Duration::from_secs(6)).await[&edge()].is_err() {
        looks += 1;
        assert!(known.is_learning(&edge()), "it is slow, and not away");
        assert!(looks < 10, "it never comes to an end");
    }
    assert_eq!(looks, 4);
    assert!(inspections(&town) < STOPPED + 3 * 8 + 8, "{} inspections", inspections(&town));
}

#[tokio::test]
async fn stopped_containers_are_not_asked_about_again_because_another_one_restarts() {
    let town = town().await;
    let known = Known::watched();
    let limit = Duration::from_secs(30);
    look(&town, &known, limit).await[&edge()].as_ref().unwrap();
    let restarting = town.world().container_named("restarting").id.clone();
    let before = inspections(&town);
    for _ in 0..20 {
        town.world().stop_container(&restarting).unwrap();
        town.world().start_container(&restarting).unwrap();
        known.suspect(&edge(), restarting.clone());
        look(&town, &known, limit).await[&edge()].as_ref().unwrap();
    }
    let asked = inspections(&town) - before;
    assert!(asked <= 20, "{asked} inspections in 20 looks");
}

#[tokio::test]
async fn a_command_that_hears_no_events_asks_about_stopped_containers_each_time() {
    let town = town().await;
    let known = Known::default();
    look(&town, &known, Duration::from_secs(30)).await[&edge()].as_ref().unwrap();
    let before = inspections(&town);
    look(&town, &known, Duration::from_secs(30)).await[&edge()].as_ref().unwrap();
    assert_eq!(inspections(&town) - before, STOPPED);
}

/// Commands remember nothing of it from one to the next, and most have nothing to do with it.
#[tokio::test(start_paused = true)]
async fn a_network_that_a_swarm_gives_no_addresses_is_waited_for_while_it_is_new_and_delays_no_look_later() {
    let town = town().await;
    let id = town.world().create_network(&network("stuck", "bridge")).unwrap();
    let limit = Duration::from_secs(30);
    for (age, waits) in [(0, true), (3_600, false), (-3_600, true)] {
        {
            let mut world = town.world();
            let stuck = world.networks.get_mut(&id).unwrap();
            stuck.scope = NetworkScope::Swarm;
            stuck.driver.clear();
            stuck.created = (jiff::Timestamp::now() - jiff::SignedDuration::from_secs(age)).to_string();
        }
        for _ in 0..3 {
            let begun = Instant::now();
            look(&town, &Known::default(), limit).await[&edge()].as_ref().unwrap();
            let took = begun.elapsed();
            // A clock that is wrong costs as much as a network that is new, and no more.
            let expected = if waits {
                Duration::from_secs(3)..Duration::from_secs(4)
            } else {
                Duration::ZERO..Duration::from_millis(1)
            };
            assert!(expected.contains(&took), "made {age} s ago: {took:?}");
        }
    }
}

/// A manager that is down may have made what is about to be made as a bridge here. Nothing of this server waits for it at every pass.
#[tokio::test(start_paused = true)]
async fn a_manager_that_does_not_answer_delays_one_pass_of_another_server_and_not_every_one() {
    let mut town = Town::new(Scenario::new().destination(destination("web").named("web-net")));
    let other = ObjectKey::new(Kind::Server, "default", "manager");
    let mut manager = (*town.desired.servers[&edge()]).clone();
    manager.key = other.clone();
    manager.destinations.clear();
    town.desired.servers.insert(other.clone(), Arc::new(manager));
    town.desired.share();
    let desired = town.desired.focused(&edge());
    // It takes an hour to tell of who is on this.
    let down = MemoryEngine::new();
    {
        let mut world = down.world();
        let web = world.create_network(&network("landfall-web", "bridge")).unwrap();
        world.networks.get_mut(&web).unwrap().labels.insert("landfall.set".to_owned(), "default".to_owned());
        let app = world.run_container("app");
        world.connect(&web, &app, &EndpointSettings::default()).unwrap();
    }
    down.inspections_take(Duration::from_secs(3_600));
    let known = Known::watched();
    known.keep_in_swarm(&other, true);
    let journals = town.journals();
    let pass = Pass {
        desired: &desired,
        request: &town.request,
        journals: &journals,
        known: &known,
        observe: ObserveLimits::default(),
        execute: Limits::default(),
    };
    let took = async || {
        let begun = Instant::now();
        let connect = |server: &DesiredServer| Ok(if server.key == other { down.clone() } else { town.engine.clone() });
        let seen = pass.preview(connect).await.unwrap();
        assert_eq!(seen.plan.servers[0].groups.len(), 2, "the network is made, and the proxy connected");
        begun.elapsed().as_secs()
    };
    assert_eq!(took().await, 5);
    assert_eq!((took().await, took().await), (0, 0));
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!((took().await, took().await), (5, 0));
    // What is never made by Landfall is no reason to ask at all.
    tokio::time::advance(Duration::from_secs(31)).await;
    let adopted = Town::new(Scenario::new().destination(destination("web").named("web-net").adopt()));
    let mut desired = adopted.desired.clone();
    desired.servers.insert(other.clone(), Arc::clone(&town.desired.servers[&other]));
    desired.share();
    let desired = desired.focused(&edge());
    let pass = Pass { desired: &desired, request: &adopted.request, ..pass };
    let begun = Instant::now();
    let connect = |server: &DesiredServer| Ok(if server.key == other { down.clone() } else { adopted.engine.clone() });
    pass.preview(connect).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 0);
}

/// Of what the daemon tells of what happened: connecting a container that does not run is told to nobody.
fn is_told(act: Act, state: ContainerState) -> bool {
    !matches!(act, Act::Connect) || state.is_live()
}

async fn shows_what_there_is(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let town = busy_town();
    let server = &town.desired.servers[&edge()];
    let known = Known::watched();
    for (what, container, network, ..) in steps {
        let (name, network) = (super::hints::CONTAINERS[container], super::hints::NETWORKS[network]);
        let about = |town: &Town| -> (ContainerId, ContainerState) {
            let world = town.world();
            let container = world.container_named(name);
            (container.id.clone(), container.state)
        };
        let (before, state) = about(&town);
        act(&mut town.world(), what, name, network);
        if is_told(what, state) {
            known.suspect(&edge(), before);
            known.suspect(&edge(), about(&town).0);
        }
        let seen = look(&town, &known, Duration::from_secs(30)).await;
        let anew = observe(&town.engine.another(), &Interest::declared(server)).await;
        prop_assert_eq!(seen.get(&edge()), Some(&anew));
        town.apply().await;
        // What an operation touches is forgotten, and told.
        known.doubt(&edge());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_remembered_of_stopped_containers_shows_what_a_fresh_look_shows_where_events_are_heard(steps in steps()) {
        on_a_runtime(shows_what_there_is(steps))?;
    }
}
