//! The executor is stopped before and after every single call and started again: the end, and what it took to get there, are those of an
//! undisturbed run. Sieve (OSDI 2022) found 45 of 46 bugs in ten controllers by comparing just these.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall::core::api::{Kind, ObjectKey, Replacement};
use landfall::core::manifest::Source;
use landfall::core::observed::EndpointSettings;
use landfall::shell::engine::EngineErrorKind;

use super::world::{Look, Town, trouble};
use crate::support::memory::{What, When};
use crate::support::scenario::{Scenario, application, database, destination};

fn web() -> Scenario {
    let web = destination("web").named("web-net").subnet("10.42.0.0/24");
    let web = web.member(application("app").alias("frontend")).member(database("db").address("10.42.0.10"));
    Scenario::new().destination(web)
}

fn web_and_two_more() -> Scenario {
    web().destination(destination("other").named("other-net")).destination(destination("generated"))
}

/// The containers of `web`: one running, one stopped.
fn with_containers(town: &Town) {
    let mut world = town.world();
    world.run_container("app");
    let db = world.run_container("db");
    world.stop_container(&db).expect("stops");
}

async fn applied(scenario: Scenario) -> Town {
    let mut town = Town::new(scenario);
    with_containers(&town);
    let done = town.apply().await;
    assert_eq!(trouble(&done), [""; 0]);
    town.reconnect();
    town
}

async fn creation() -> Town {
    let town = Town::new(web_and_two_more());
    with_containers(&town);
    town
}

/// The proxy fell off one network, a member off another, and one network was removed under a stopped container.
async fn repair() -> Town {
    let town = applied(web_and_two_more()).await;
    {
        let mut world = town.world();
        let (traefik, app) = (world.container_named("traefik").id.clone(), world.container_named("app").id.clone());
        let (web, other) = (world.network_named("web-net").id.clone(), world.network_named("other-net").id.clone());
        world.disconnect(&other, &traefik, false).expect("disconnects");
        world.disconnect(&web, &traefik, false).expect("disconnects");
        world.disconnect(&web, &app, false).expect("disconnects");
        let db = world.container_named("db").id.clone();
        world.start_container(&db).expect("starts");
        world.stop_container(&db).expect("stops");
        world.remove_network(&web).expect("only a stopped container is on it");
    }
    town
}

async fn deletion() -> Town {
    let mut town = applied(web_and_two_more()).await;
    town.declare(web_and_two_more().delete(Kind::Destination, "other"));
    town
}

async fn pruning() -> Town {
    let mut town = applied(web_and_two_more()).await;
    town.declare(web_and_two_more().undeclare("other").undeclare("generated").prune().allow_mass_delete());
    town
}

async fn reattachment() -> Town {
    let mut town = applied(web()).await;
    {
        let mut world = town.world();
        let web = world.network_named("web-net").id.clone();
        let foreign = world.run_container("foreign");
        let settings = EndpointSettings { aliases: vec!["foreign.internal".to_owned()], ..EndpointSettings::default() };
        world.connect(&web, &foreign, &settings).expect("connects");
    }
    town.declare(web().redeclare("web", |web| web.mtu(1400).replacement(Replacement::Reattach)));
    town
}

/// The network gets another name: what is there, and what comes to be there, are beside each other for a while.
async fn renaming() -> Town {
    let other = || {
        let other = destination("web").named("old-net");
        let other = other.member(application("app").alias("frontend")).member(database("db").alias("db"));
        Scenario::new().destination(other).destination(destination("other").named("other-net"))
    };
    let mut town = applied(other()).await;
    {
        let mut world = town.world();
        let old = world.network_named("old-net").id.clone();
        let settings = EndpointSettings { aliases: vec!["foreign.internal".to_owned()], ..EndpointSettings::default() };
        for name in ["foreign", "pinned"] {
            let foreign = world.run_container(name);
            world.connect(&old, &foreign, &settings).expect("connects");
        }
        let pinned = world.container_named("pinned").id.clone();
        world.stop_container(&pinned).expect("stops");
    }
    town.declare(other().redeclare("web", |web| web.named("new-net").replacement(Replacement::Reattach)));
    town
}

/// Two members that run and declare an address each, and one that is given one.
fn addresses(api: &str, shop: Option<&str>) -> Scenario {
    let shop_member = application("shop").alias("shop");
    let web = destination("web").named("web-net").subnet("10.42.0.0/24");
    let web = web.member(application("api").alias("api").address(api));
    let web = web.member(match shop {
        Some(address) => shop_member.address(address),
        None => shop_member,
    });
    Scenario::new().destination(web)
}

async fn with_addresses(shop: Option<&str>) -> Town {
    let mut town = Town::new(addresses("10.42.0.10", shop));
    town.world().run_container("api");
    town.world().run_container("shop");
    assert_eq!(trouble(&town.apply().await), [""; 0]);
    town.reconnect();
    town
}

/// Each takes the address of the other.
async fn exchange() -> Town {
    let mut town = with_addresses(Some("10.42.0.11")).await;
    town.declare(addresses("10.42.0.11", Some("10.42.0.10")));
    town
}

/// One takes the address that the other no longer declares.
async fn handover() -> Town {
    let mut town = with_addresses(Some("10.42.0.11")).await;
    town.declare(addresses("10.42.0.11", None));
    town
}

async fn forced_deletion() -> Town {
    let mut town = applied(web()).await;
    town.declare(web().force_delete("web"));
    town
}

/// A proxy and a member that are Swarm services.
fn swarm() -> Scenario {
    Scenario::without_proxy()
        .proxy_service("edge")
        .destination(
            destination("web").named("web-net").member(application("api").swarm_service("api").alias("backend")),
        )
        .destination(destination("other").named("other-net"))
}

async fn service_updates() -> Town {
    let town = Town::new(swarm());
    town.world().add_service("edge");
    town.world().add_service("api");
    town
}

async fn deletion_with_a_service() -> Town {
    let mut town = service_updates().await;
    let done = town.apply().await;
    assert_eq!(trouble(&done), [""; 0]);
    town.reconnect();
    town.declare(swarm().delete(Kind::Destination, "other"));
    town
}

/// Deactivated, and active again: the tasks are taken and given back.
async fn service_activation() -> Town {
    let mut town = service_updates().await;
    town.world().services[1].replicas = Some(3);
    assert_eq!(trouble(&town.apply().await), [""; 0]);
    town.declare(swarm().redeclare("web", |web| web.with(|it| it.active = false)));
    assert_eq!(trouble(&town.apply().await), [""; 0]);
    assert_eq!(town.world().services[1].replicas, Some(0));
    town.reconnect();
    town.declare(swarm());
    town
}

/// A destination of a Swarm with an application and a database that Landfall runs there, both with files.
fn managed(version: &str, more: &str) -> Scenario {
    let manifests = format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge-1 }}
spec: {{ allowedNamespaces: [shop] }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web, namespace: shop }}
spec: {{ server: default/edge-1, network: {{ name: web-net }} }}
{more}---
apiVersion: landfall/v1
kind: Database
metadata: {{ name: orders, namespace: shop }}
spec: {{ destination: web, engine: Redis, credentials: {{ password: {{ env: PASSWORD }} }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: frontend, namespace: shop }}
spec:
  destination: web
  image: web:{version}
  replicas: 2
  env: [{{ name: VERSION_{version}, value: x }}]
  files: [{{ path: /etc/key, value: '{version}' }}]
  healthcheck: {{ command: ['true'] }}
  dependsOn: [Database/orders]
"
    );
    let sources = [Source { name: "m.yaml".to_owned(), bytes: manifests.into_bytes() }];
    let loaded = landfall::core::manifest::load(&sources).unwrap_or_else(|found| panic!("{found:#?}"));
    let mut scenario = Scenario::without_proxy();
    scenario.desired = loaded.desired("default");
    let servers = scenario.desired.servers.values_mut().map(Arc::make_mut);
    for member in servers.flat_map(|it| &mut it.destinations).flat_map(|it| &mut it.members) {
        for secret in member.workload.iter_mut().flat_map(|it| Arc::make_mut(it).container.secrets_mut()) {
            secret.set(Ok("hunter2".to_owned()));
        }
    }
    scenario
}

async fn managed_services() -> Town {
    let town = Town::new(managed("1", ""));
    // That makes a manager of it.
    town.world().add_service("bystander");
    town
}

async fn change_of_a_managed_service() -> Town {
    let mut town = managed_services().await;
    assert_eq!(trouble(&town.apply().await), [""; 0]);
    town.reconnect();
    town.declare(managed("2", ""));
    town
}

/// With everything that refers to one another: services, secrets, and the network.
async fn deletion_of_managed_services() -> Town {
    let mut town = managed_services().await;
    assert_eq!(trouble(&town.apply().await), [""; 0]);
    town.reconnect();
    let gone = managed("1", "").delete(Kind::Application, "shop/frontend").delete(Kind::Database, "shop/orders");
    town.declare(gone.delete(Kind::Destination, "shop/web"));
    town
}

/// Calls `check` for every point at which a call can be cut off.
async fn at_every_call<F: Future<Output = Town>>(
    make: impl Fn() -> F,
    mut check: impl AsyncFnMut(Town, usize, When, &Look, &BTreeMap<&'static str, usize>),
) {
    let undisturbed = make().await;
    let done = undisturbed.apply().await;
    assert_eq!(trouble(&done), [""; 0]);
    let (look, counts) = (undisturbed.look(), undisturbed.engine.counts());
    let calls = undisturbed.engine.mutations().len();
    assert!(calls >= 2, "{calls} calls make a poor scenario");
    for nth in 1..=calls {
        for when in [When::Before, When::After] {
            check(make().await, nth, when, &look, &counts).await;
        }
    }
}

async fn killed_anywhere<F: Future<Output = Town>>(make: impl Fn() -> F) {
    let check = async |mut town: Town, nth: usize, when: When, look: &Look, counts: &BTreeMap<&'static str, usize>| {
        town.engine.fault(nth, when, What::Hang);
        assert_eq!(town.apply_until_killed().await, None, "killed {when:?} call {nth}");
        let before = town.engine.counts();
        town.reconnect();
        let again = town.apply().await;
        assert_eq!(trouble(&again), [""; 0], "killed {when:?} call {nth}");
        assert_eq!(town.look(), *look, "killed {when:?} call {nth}");
        let mut total = before;
        for (call, count) in town.engine.counts() {
            *total.entry(call).or_default() += count;
        }
        assert_eq!(total, *counts, "killed {when:?} call {nth}");
        town.reconnect();
        town.apply().await;
        assert!(
            town.engine.mutations().is_empty(),
            "killed {when:?} call {nth}, third pass: {:?}",
            town.engine.mutations()
        );
    };
    at_every_call(make, check).await;
}

/// The daemon did it and the answer was lost: it is found out, and nothing is done twice.
async fn unanswered_anywhere<F: Future<Output = Town>>(make: impl Fn() -> F) {
    let check = async |town: Town, nth: usize, when: When, look: &Look, counts: &BTreeMap<&'static str, usize>| {
        if when == When::Before {
            return;
        }
        town.engine.fault(nth, when, What::Fail(EngineErrorKind::Unreachable));
        let done = town.apply().await;
        assert_eq!(trouble(&done), [""; 0], "no answer to call {nth}");
        assert_eq!(town.look(), *look, "no answer to call {nth}");
        assert_eq!(town.engine.counts(), *counts, "no answer to call {nth}");
    };
    at_every_call(make, check).await;
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(
            mod $name {
                #[tokio::test(start_paused = true)]
                async fn killed_anywhere_ends_as_if_it_had_not_been() {
                    super::killed_anywhere(super::$name).await;
                }

                #[tokio::test(start_paused = true)]
                async fn unanswered_anywhere_ends_as_if_it_had_been_answered() {
                    super::unanswered_anywhere(super::$name).await;
                }
            }
        )*
    };
}
scenarios! {
    creation repair deletion pruning reattachment renaming exchange handover forced_deletion service_updates deletion_with_a_service service_activation
    managed_services change_of_a_managed_service deletion_of_managed_services
}

/// A replacement was interrupted when nobody was back, and one of those who are to come back waits for another reason.
#[tokio::test(start_paused = true)]
async fn a_journal_outlives_a_pass_that_leaves_a_part_of_it_for_later() {
    let undisturbed = reattachment().await;
    undisturbed.apply().await;
    let mut town = reattachment().await;
    {
        let mut world = town.world();
        let (web, app) = (world.network_named("web-net").id.clone(), world.container_named("app").id.clone());
        world
            .containers
            .get_mut(&app)
            .expect("app")
            .endpoints
            .get_mut("web-net")
            .expect("on it")
            .settings
            .aliases
            .push("by-hand".to_owned());
        assert!(world.networks.contains_key(&web));
    }
    // Four are taken off, the network goes and is made anew.
    town.engine.fault(6, When::After, What::Hang);
    assert_eq!(town.apply_until_killed().await, None);
    town.reconnect();
    let app = ObjectKey::new(Kind::Application, "shop", "app");
    town.apply_but(|group| group.object == app).await;
    assert_eq!(town.journals().load().expect("they can be read").journals.len(), 1, "app is still to come");
    town.apply().await;
    let world = town.world();
    let aliases = &world.container_named("app").endpoints["web-net"].settings.aliases;
    assert!(aliases.contains(&"by-hand".to_owned()), "{aliases:?}");
    drop(world);
    assert_eq!(town.journals().load().expect("they can be read").journals, []);
}
