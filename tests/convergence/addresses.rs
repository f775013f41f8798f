//! Declared addresses, on an engine that gives the lowest free one to whoever asks first.

use landfall::observed::EndpointSettings;

use super::world::{Town, trouble};
use crate::support::memory::World;
use crate::support::scenario::{Scenario, application, destination};

/// `second` and the proxy are given addresses, and `api` declares the one that the engine gives first.
fn web() -> Scenario {
    let web = destination("web").named("web-net").subnet("10.77.0.0/24");
    let web = web.member(application("second")).member(application("zapi").containers(&["api"]).address("10.77.0.2"));
    Scenario::new().destination(web)
}

fn town() -> Town {
    let town = Town::new(web());
    town.world().run_container("second");
    town.world().run_container("api");
    town
}

fn address(world: &World, container: &str) -> String {
    world.container_named(container).endpoints["web-net"].address.clone()
}

/// The address that the container is to have whenever it starts.
fn pinned(world: &World, container: &str) -> Option<String> {
    world.container_named(container).endpoints["web-net"].settings.ipv4_address.clone()
}

fn stop(town: &Town, container: &str) {
    let mut world = town.world();
    let id = world.container_named(container).id.clone();
    world.stop_container(&id).expect("stops");
}

fn start(town: &Town, container: &str) {
    let mut world = town.world();
    let id = world.container_named(container).id.clone();
    world.start_container(&id).expect("starts");
}

/// Applies, and then again: the second time there is nothing to do.
async fn apply(town: &mut Town) {
    let done = town.apply().await;
    assert_eq!(trouble(&done), [""; 0]);
    town.reconnect();
    town.apply().await;
    assert_eq!(town.engine.mutations(), [], "a second apply does nothing");
    town.reconnect();
}

#[tokio::test]
async fn who_declares_an_address_gets_it_and_nobody_else_is_pinned_to_one() {
    let mut town = town();
    apply(&mut town).await;
    let world = town.world();
    assert_eq!(address(&world, "api"), "10.77.0.2");
    for name in ["traefik", "second"] {
        assert_eq!((pinned(&world, name), address(&world, name) == "10.77.0.2"), (None, false), "{name}");
    }
}

#[tokio::test]
async fn the_address_of_a_stopped_member_is_given_to_nobody_and_it_starts_with_it() {
    let mut town = town();
    stop(&town, "api");
    apply(&mut town).await;
    for name in ["traefik", "second"] {
        assert_ne!(address(&town.world(), name), "10.77.0.2", "{name}");
    }
    start(&town, "api");
    assert_eq!(address(&town.world(), "api"), "10.77.0.2");
    apply(&mut town).await;
}

#[tokio::test]
async fn an_address_that_was_given_away_while_its_owner_was_stopped_is_taken_back() {
    let mut town = town();
    apply(&mut town).await;
    stop(&town, "api");
    stop(&town, "second");
    // The first free one.
    start(&town, "second");
    assert_eq!(address(&town.world(), "second"), "10.77.0.2");
    apply(&mut town).await;
    assert_ne!(address(&town.world(), "second"), "10.77.0.2");
    start(&town, "api");
    apply(&mut town).await;
}

#[tokio::test]
async fn a_spare_address_is_given_back_once_the_container_has_stopped() {
    let mut town = town();
    stop(&town, "api");
    apply(&mut town).await;
    assert!(pinned(&town.world(), "traefik").is_some(), "the engine would give it the address of api");
    stop(&town, "traefik");
    apply(&mut town).await;
    assert_eq!(pinned(&town.world(), "traefik"), None);
    let options = town.world().container_named("traefik").endpoints["web-net"].settings.driver_opts.clone();
    assert!(!options.contains_key("landfall.parked-addresses"), "{options:?}");
}

#[tokio::test]
async fn where_no_other_address_is_left_the_report_says_who_is_in_whose_place() {
    let full = || {
        let web =
            destination("web").named("web-net").subnet("10.77.0.0/30").member(application("api").address("10.77.0.2"));
        Scenario::new().destination(web)
    };
    let mut town = Town::new(full());
    let api = town.world().run_container("api");
    town.world().stop_container(&api).expect("stops");
    let done = town.apply().await;
    assert_eq!(trouble(&done), [""; 0]);
    let notes = &done.report.servers[0].notes;
    assert!(notes.iter().any(|note| note.message.contains("No other could be had")), "{notes:?}");
    town.reconnect();
    let again = town.apply().await;
    assert_eq!(town.engine.mutations(), [], "nothing is tried again and again");
    let notes = &again.report.servers[0].notes;
    assert!(notes.iter().any(|note| note.message.contains("which the container \"traefik\" holds")), "{notes:?}");
}

#[tokio::test]
async fn an_undeclared_stranger_in_the_way_is_named_and_left() {
    let mut town = town();
    stop(&town, "api");
    apply(&mut town).await;
    {
        let mut world = town.world();
        let stranger = world.run_container("stranger");
        let network = world.network_named("web-net").id.clone();
        world.connect(&network, &stranger, &EndpointSettings::default()).expect("connects");
        assert_eq!(address(&world, "stranger"), "10.77.0.2");
    }
    let seen = town.apply().await;
    assert_eq!(town.engine.mutations(), []);
    let notes = &seen.report.servers[0].notes;
    assert!(notes.iter().any(|note| note.message.contains("which the container \"stranger\" holds")), "{notes:?}");
}
