//! Declared addresses, on an engine that gives the lowest free one to whoever asks first.

use landfall::core::api::{DeletionPolicy, Kind, ObjectKey};
use landfall::core::observed::{EndpointSettings, ObservedSubnet};
use landfall::core::plan::{NetworkCreate, NoteKind, ownership};
use proptest::prelude::*;

use super::world::{Town, trouble};
use crate::support::memory::{World, network};
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
async fn members_that_declare_an_address_get_it_and_others_are_not_pinned() {
    let mut town = town();
    apply(&mut town).await;
    let world = town.world();
    assert_eq!(address(&world, "api"), "10.77.0.2");
    for name in ["traefik", "second"] {
        assert_eq!((pinned(&world, name), address(&world, name) == "10.77.0.2"), (None, false), "{name}");
    }
}

#[tokio::test]
async fn the_address_of_a_stopped_member_is_kept_and_it_starts_with_it() {
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

/// Of one container at the beginning: how it is on the network, and whether it runs.
#[derive(Debug, Clone)]
struct Before {
    on: Option<On>,
    live: bool,
}

#[derive(Debug, Clone)]
struct On {
    /// The last byte of its static address.
    fixed: Option<u8>,
    /// Landfall connected it.
    own: bool,
    /// With a record of what it put there.
    recorded: bool,
}

const NAMES: [&str; 5] = ["traefik", "c1", "c2", "c3", "c4"];

fn befores() -> impl Strategy<Value = Vec<Before>> {
    let on = (prop::option::weighted(0.4, 2..7u8), prop::bool::weighted(0.7), any::<bool>());
    let on = on.prop_map(|(fixed, own, recorded)| On { fixed, own, recorded });
    let one = (prop::option::weighted(0.7, on), prop::bool::weighted(0.7)).prop_map(|(on, live)| Before { on, live });
    prop::collection::vec(one, NAMES.len())
}

/// Who declares which address: the proxy none, and no two the same.
fn declarations() -> impl Strategy<Value = Vec<Option<u8>>> {
    (Just((2..7u8).collect::<Vec<_>>()).prop_shuffle(), prop::collection::vec(prop::bool::weighted(0.6), 4))
        .prop_map(|(bytes, declares)| declares.into_iter().zip(bytes).map(|(it, byte)| it.then_some(byte)).collect())
}

fn settings(on: &On) -> EndpointSettings {
    let fixed = on.fixed.map(|byte| format!("10.77.0.{byte}"));
    let mut options = Vec::new();
    if on.own {
        options.push(("landfall.set".to_owned(), "default".to_owned()));
        if let Some(fixed) = fixed.as_ref().filter(|_| on.recorded) {
            options.push(("landfall.ipv4-address".to_owned(), fixed.clone()));
        }
    }
    EndpointSettings { ipv4_address: fixed, driver_opts: options.into_iter().collect(), ..EndpointSettings::default() }
}

/// The network is there, and everyone on it as they were before.
fn begun(befores: &[Before], declared: &[Option<u8>]) -> Town {
    let mut web = destination("web").named("web-net").subnet("10.77.0.0/24");
    for (name, byte) in NAMES.iter().skip(1).zip(declared) {
        let member = application(name);
        web = web.member(match byte {
            Some(byte) => member.address(&format!("10.77.0.{byte}")),
            None => member,
        });
    }
    let town = Town::new(Scenario::new().destination(web));
    {
        let mut world = town.world();
        let subnets = vec![ObservedSubnet { subnet: "10.77.0.0/24".to_owned(), ..ObservedSubnet::default() }];
        let key = ObjectKey::new(Kind::Destination, "shop", "web");
        let labels = ownership::labels("uid", "default", &key, "web-net", DeletionPolicy::Delete, None);
        let create = NetworkCreate { subnets, labels, ..network("web-net", "bridge") };
        let network = world.create_network(&create).expect("creates");
        for (name, before) in NAMES.iter().zip(befores) {
            let id = match *name {
                "traefik" => world.container_named(name).id.clone(),
                name => world.run_container(name),
            };
            if let Some(on) = &before.on {
                // Taken already: it is on the network in another way.
                let given = world.connect(&network, &id, &settings(on));
                let _ = given.or_else(|_| world.connect(&network, &id, &settings(&On { fixed: None, ..on.clone() })));
            }
        }
        for (name, _) in NAMES.iter().zip(befores).filter(|(_, before)| !before.live) {
            let id = world.container_named(name).id.clone();
            world.stop_container(&id).expect("stops");
        }
    }
    town
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_owner_gets_its_address_or_is_told_the_holder_from_any_starting_state(
        befores in befores(),
        declared in declarations(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (refused, town) = runtime.block_on(async {
            let mut town = begun(&befores, &declared);
            let done = town.apply().await;
            prop_assert_eq!(trouble(&done), [""; 0]);
            town.reconnect();
            let again = town.apply().await;
            prop_assert_eq!(town.engine.mutations(), [], "a second apply does nothing");
            let notes = &again.report.servers[0].notes;
            let refused: Vec<String> = notes
                .iter()
                .filter(|note| note.kind == NoteKind::Refused)
                .map(|note| note.object.name.to_string())
                .collect();
            Ok((refused, town))
        })?;
        let world = town.world();
        let reserved: Vec<String> = declared.iter().flatten().map(|byte| format!("10.77.0.{byte}")).collect();
        let on = |name: &str| world.container_named(name).endpoints.get("web-net").cloned();
        for (name, byte) in NAMES.iter().zip(std::iter::once(&None).chain(&declared)) {
            let endpoint = on(name);
            match byte {
                Some(byte) if !refused.iter().any(|it| it == name) => {
                    let endpoint = endpoint.expect("it is on the network");
                    let own = format!("10.77.0.{byte}");
                    prop_assert!(endpoint.address == own || endpoint.address.is_empty(), "{name}: {endpoint:?}");
                    let has = endpoint.settings.ipv4_address.as_ref();
                    prop_assert!(has.is_none_or(|has| *has == own), "{name}: {endpoint:?}");
                }
                Some(_) => {}
                None => {
                    let endpoint = endpoint.expect("it is on the network");
                    let ours = endpoint.settings.driver_opts.contains_key("landfall.set");
                    let pinned = endpoint.settings.ipv4_address.is_some();
                    let recorded = endpoint.settings.driver_opts.keys().any(|key| key.ends_with("-addresses"));
                    // What people chose, or what is from before there was a record, stays theirs.
                    if ours && !pinned || recorded {
                        prop_assert!(!reserved.contains(&endpoint.address), "{name}: {endpoint:?}");
                    }
                }
            }
        }
    }
}
