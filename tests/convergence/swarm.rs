//! Whole passes against a real Swarm.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use landfall::core::api::{DestinationType, Kind};
use landfall::core::desired::DesiredServer;
use landfall::core::observed::SwarmState;
use landfall::core::plan::{Call, NoteKind, Reason};
use landfall::shell::engine::{DockerWriter, EngineError, Reader, Writer};
use landfall::shell::execute::Limits;
use landfall::shell::observe::{Interest, ObserveLimits, observe_all};
use landfall::shell::reconcile::{Applied, Pass};
use landfall::shell::store::file::FileJournals;
use landfall::shell::store::known::Known;
use serde_json::{Value, json};

use super::real::{apply, engine, preview};
use super::world::trouble;
use crate::support::host::{IMAGE, text};
use crate::support::scenario::{Scenario, application, database, destination};
use crate::support::{Cluster, Engine, Host, wait_for, wait_for_at_most};

/// A manager lists a network before it has given it a driver, options and subnets.
#[tokio::test]
async fn fact_11_an_apply_right_after_the_first_takes_the_network_for_what_it_is() {
    let host = Host::start();
    host.swarm_init();
    let engine = engine(&host);
    let scenario = Scenario::without_proxy().swarm_manager().destination(
        destination("web").named("web-net").subnet("10.42.0.0/24").mtu(1400).with(|it| it.network.encrypted = true),
    );
    for round in 0..5 {
        let planned = preview(&engine, &scenario.desired, &scenario.request).await.plan;
        let Call::CreateNetwork(create) = &planned.servers[0].groups[0].operations[0].call else { panic!("{planned}") };
        let id = engine.create_network(create).await.unwrap();
        let planned = preview(&engine, &scenario.desired, &scenario.request).await.plan;
        assert!(planned.servers[0].groups.is_empty(), "round {round}: {planned}");
        assert!(planned.servers[0].notes.iter().all(|note| note.kind == NoteKind::Waiting), "round {round}: {planned}");
        engine.remove_network(&id).await.unwrap();
        let first = apply(&engine, &scenario.desired, &scenario.request).await;
        assert_eq!(trouble(&first), [""; 0], "round {round}");
        let second = apply(&engine, &scenario.desired, &scenario.request).await.report;
        assert_eq!((second.servers[0].operations.len(), &second.servers[0].notes[..]), (0, &[][..]), "round {round}");
        host.remove_network("web-net");
    }
}

/// Servers by name, each with the host that it is.
struct Fleet<'a>(Vec<(&'a str, &'a Host)>);

impl Fleet<'_> {
    fn engine(&self, server: &DesiredServer) -> Result<DockerWriter, EngineError> {
        let (_, host) = self.0.iter().find(|(name, _)| *name == server.key.name).expect("every server has a host");
        Ok(engine(host))
    }

    async fn apply(&self, scenario: &Scenario) -> Applied {
        let state = tempfile::tempdir().unwrap();
        let (journals, known) = (FileJournals::in_state(state.path()), Known::default());
        let pass = Pass {
            desired: &scenario.desired,
            request: &scenario.request,
            journals: &journals,
            known: &known,
            observe: ObserveLimits { per_server: Duration::from_secs(5), ..ObserveLimits::default() },
            execute: Limits::default(),
        };
        pass.apply(|server| self.engine(server), |_, plan| Some(plan), &()).await.unwrap().unwrap()
    }
}

/// Operations with outcomes, and notes: as a user sees them.
fn said(applied: &Applied) -> String {
    let document = applied.report.document();
    let operations = document.operations.iter().map(|it| {
        let via = it.via.as_ref().map_or(String::new(), |via| format!(" via {via}"));
        let message = it.message.as_ref().map_or(String::new(), |message| format!(": {message}"));
        format!("{}: {} {}{via} {}{message}\n", it.server, it.op, it.container.as_deref().unwrap_or("-"), it.outcome)
    });
    let notes = document.notes.iter().map(|it| format!("{:?} {} {}: {}\n", it.kind, it.reason, it.object, it.message));
    operations.chain(notes).collect()
}

fn settled(applied: &Applied) {
    assert_eq!(said(applied), "");
}

fn talks(host: &Host, container: &str, to: &str) {
    wait_for("containers reach each other over the overlay", || {
        host.exec(container, &["ping", "-c", "1", "-W", "1", to]).contains(" 1 packets received").then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pain_36_containers_of_several_nodes_talk_and_a_manager_that_dies_is_replaced() {
    let cluster = Cluster::start(4);
    let [m1, w1, w2, w3] = &cluster.nodes[..] else { unreachable!() };
    m1.container("front").running();
    w1.container("app").running();
    let db = w2.container("db").exited();
    let fleet = Fleet(vec![("edge-1", m1), ("w1", w1), ("w2", w2), ("w3", w3)]);
    let web = || destination("web").named("web-net").subnet("10.42.0.0/24").member(application("front"));
    let on = |name: &str, member| {
        let destination = destination(name).named("web-net").subnet("10.42.0.0/24").adopt();
        Scenario::without_proxy().destination(destination.member(member))
    };
    let everyone = || {
        Scenario::without_proxy()
            .destination(web())
            .and("w1", on("web-w1", application("app").alias("www")))
            .and("w2", on("web-w2", database("db").alias("orders")))
            .and("w3", Scenario::without_proxy())
    };
    let first = fleet.apply(&everyone()).await;
    assert_eq!(trouble(&first), [""; 0]);
    let second = fleet.apply(&everyone()).await;
    assert_eq!(said(&second), "default/w1: ConnectEndpoint app Done\ndefault/w2: ConnectEndpoint db Done\n");
    // That is asked of a manager: the worker does not have the network while its only container there is stopped.
    assert_eq!(w2.network_ids("web-net"), [""; 0]);
    settled(&fleet.apply(&everyone()).await);
    w2.start_container(&db);
    talks(m1, "front", "www");
    talks(w1, "app", "orders");
    talks(w2, "db", "front");
    settled(&fleet.apply(&everyone()).await);

    // A destination of a worker's own, first by way of one manager and then by way of another.
    for node in [w2, w3] {
        cluster.promote(node);
    }
    let own = || {
        everyone()
            .and("w1", on("web-w1", application("app").alias("www")).destination(destination("own").named("own-net")))
    };
    let made = fleet.apply(&own()).await;
    assert_eq!(said(&made), "default/w1: CreateNetwork - via default/edge-1 Done\n");
    m1.stop_daemon();
    wait_for("the managers that are left have a leader", || {
        [w2, w3]
            .iter()
            .all(|node| node.get("/info")["Swarm"]["Cluster"]["ID"].as_str().is_some_and(|id| !id.is_empty()))
            .then_some(())
    });
    let after = fleet.apply(&own().and("w3", Scenario::without_proxy()).delete(Kind::Destination, "own")).await;
    let text = said(&after);
    assert!(text.contains("Refused ServerUnreachable Destination/shop/own"), "{text}");
    assert_eq!(w2.network_ids("own-net").len(), 1);
    let after = fleet.apply(&own().force_delete("own")).await;
    let text = said(&after);
    assert!(text.contains("default/w1: RemoveNetwork - via default/w2 Done"), "{text}");
    assert_eq!(w2.network_ids("own-net"), [""; 0]);
    let again = fleet.apply(&own()).await;
    assert!(said(&again).contains("default/w1: CreateNetwork - via default/w2 Done"), "{}", said(&again));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fact_01_a_stopped_container_of_another_node_keeps_its_overlay() {
    let cluster = Cluster::start(2);
    let [m1, w1] = &cluster.nodes[..] else { unreachable!() };
    let fleet = Fleet(vec![("edge-1", m1), ("w1", w1)]);
    let web = || Scenario::without_proxy().destination(destination("web").named("web-net"));
    let scenario = || web().and("w1", Scenario::without_proxy());
    assert_eq!(trouble(&fleet.apply(&scenario()).await), [""; 0]);
    let id = m1.network_ids("web-net").remove(0);
    let db = w1.container("db").running();
    w1.connect(&id, &db);
    w1.stop_container(&db);
    let refused = said(&fleet.apply(&scenario().delete(Kind::Destination, "web")).await);
    assert!(refused.contains("ResourcesRemain"), "{refused}");
    w1.start_container(&db);

    // Nobody declares the worker: what runs there holds the network all the same, and the refusal says who it is.
    let alone = Fleet(vec![("edge-1", m1)]);
    let failed = said(&alone.apply(&web().delete(Kind::Destination, "web")).await);
    assert!(failed.starts_with("Refused ResourcesRemain Destination/shop/web"), "{failed}");
    assert_eq!(m1.network_ids("web-net").len(), 1);

    // A stopped container on a worker that does not have the network: disconnected all the same.
    w1.stop_container(&db);
    let exclusive = Scenario::without_proxy().destination(destination("web-w1").named("web-net").adopt().exclusive());
    let exclusive = fleet.apply(&web().and("w1", exclusive)).await;
    assert_eq!(said(&exclusive), "default/w1: DisconnectEndpoint db Done\n");
    assert_eq!(w1.networks_of(&db), ["bridge"]);
    let removed = fleet.apply(&scenario().delete(Kind::Destination, "web")).await;
    assert_eq!(said(&removed), "default/edge-1: RemoveNetwork - Done\n");
    assert_eq!(m1.network_ids("web-net"), [""; 0]);
}

#[tokio::test]
async fn a_bridge_and_an_overlay_of_one_name_are_left_alone() {
    let host = Host::start();
    host.swarm_init();
    let engine = engine(&host);
    let scenario = Scenario::without_proxy().destination(destination("web").named("web-net"));
    let bridge = host.create_network("web-net");
    let refused = apply(&engine, &scenario.desired, &scenario.request).await;
    assert!(said(&refused).starts_with("Refused AdoptionRequired"), "{}", said(&refused));
    let adopting = Scenario::without_proxy().destination(destination("web").named("web-net").adopt());
    let refused = apply(&engine, &adopting.desired, &adopting.request).await;
    assert!(said(&refused).starts_with("Refused WrongScope"), "{}", said(&refused));
    let overlay = json!({ "Name": "web-net", "Driver": "overlay", "Attachable": true });
    // Since Docker 23 the daemon itself does not let it come to that.
    if host.api_version() >= (1, 42) {
        assert_eq!(host.api("POST", "/networks/create", &overlay).status, 409);
        return;
    }
    let overlay = host.create_network_with(overlay);
    for scenario in [&scenario, &adopting] {
        let refused = apply(&engine, &scenario.desired, &scenario.request).await;
        assert!(said(&refused).starts_with("Refused NameAmbiguous"), "{}", said(&refused));
    }
    let mut there = host.network_ids("web-net");
    there.sort();
    let mut expected = vec![bridge, overlay];
    expected.sort();
    assert_eq!(there, expected);
}

/// A node is repaired: it leaves the Swarm and joins again. Its overlay stays, and so does whoever is on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_its_swarm_and_comes_back_finds_everything_as_it_was() {
    let cluster = Cluster::start(2);
    let [m1, w1] = &cluster.nodes[..] else { unreachable!() };
    let app = w1.container("app").running();
    let fleet = Fleet(vec![("edge-1", m1), ("w1", w1)]);
    let own = || destination("own").named("own-net").subnet("10.42.0.0/24").member(application("app"));
    let scenario = |own| Scenario::without_proxy().and("w1", Scenario::without_proxy().destination(own)).prune();
    assert_eq!(trouble(&fleet.apply(&scenario(own())).await), [""; 0]);
    let id = m1.network_ids("own-net").remove(0);
    assert_eq!(w1.networks_of(&app), ["bridge", "own-net"]);

    w1.stop_container(&app);
    w1.post("/swarm/leave?force=true", Value::Null);
    for round in 0..2 {
        let text = said(&fleet.apply(&scenario(own())).await);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "round {round}: {text}");
        assert!(lines[0].starts_with("Waiting RoleChanged Destination/shop/own"), "{text}");
        assert!(lines[1].starts_with("Waiting RoleChanged Application/shop/app"), "{text}");
    }
    assert_eq!((w1.network_ids("own-net"), m1.network_ids("own-net")), (Vec::<String>::new(), vec![id.clone()]));
    cluster.rejoin(w1);
    settled(&fleet.apply(&scenario(own())).await);
    w1.start_container(&app);
    settled(&fleet.apply(&scenario(own())).await);
    assert_eq!(w1.endpoint_of(&app, "own-net")["NetworkID"], id.as_str());
}

/// Docker 20.10 answers, on the connections that it has, that it is no node of a Swarm, for as long as its containers take to stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_daemon_says_while_it_goes_down_is_asked_again_on_a_new_connection() {
    let host = Host::builder().engine(Engine::V20).start();
    host.swarm_init();
    // Its first process ignores the signal, and is given ten seconds.
    host.container("slow").stop_signal("SIGTERM").running();
    let scenario = Scenario::without_proxy().swarm_manager().destination(destination("web").named("web-net"));
    let server = scenario.desired.servers.values().next().unwrap();
    let (mine, theirs, known) = (engine(&host), engine(&host), Known::default());
    let look = async || {
        let connect = |_: &DesiredServer| Ok(mine.clone());
        let seen = observe_all([&**server], Interest::declared, connect, &known, ObserveLimits::default()).await;
        seen.into_values().next().unwrap().map(|state| state.engine.swarm)
    };
    assert!(matches!(look().await, Ok(SwarmState::Manager { .. })));
    // Who has a connection is lied to; who only then makes one is not let in.
    assert!(matches!(theirs.info().await, Ok(info) if matches!(info.swarm, SwarmState::Manager { .. })));
    let stopped = AtomicBool::new(false);
    let (lies, believed) = std::thread::scope(|scope| {
        scope.spawn(|| {
            host.stop_daemon();
            stopped.store(true, Ordering::Relaxed);
        });
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            runtime.block_on(async {
                // Side by side: a look may take its time, and the daemon does not wait for it.
                let lies = async {
                    let mut lies = 0;
                    while !stopped.load(Ordering::Relaxed) {
                        lies +=
                            usize::from(matches!(theirs.info().await, Ok(info) if info.swarm == SwarmState::Inactive));
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    lies
                };
                let believed = async {
                    let mut believed = 0;
                    while !stopped.load(Ordering::Relaxed) {
                        believed += usize::from(matches!(look().await, Ok(SwarmState::Inactive)));
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    believed
                };
                futures::join!(lies, believed)
            })
        })
    });
    assert!(lies > 0, "the daemon went down without a lie");
    assert_eq!(believed, 0, "of {lies}");
}

#[tokio::test]
async fn a_server_that_becomes_a_node_of_a_swarm_keeps_its_bridges() {
    let host = Host::start();
    let app = host.container("app").running();
    let engine = engine(&host);
    let scenario = || {
        Scenario::without_proxy().destination(destination("web").named("web-net").member(application("app"))).prune()
    };
    let apply = async |scenario: &Scenario| apply(&engine, &scenario.desired, &scenario.request).await;
    assert_eq!(trouble(&apply(&scenario()).await), [""; 0]);
    let id = host.network_ids("web-net");
    host.swarm_init();
    settled(&apply(&scenario()).await);
    host.disconnect(&id[0], &app);
    assert_eq!(said(&apply(&scenario()).await), "default/edge-1: ConnectEndpoint app Done\n");
    assert_eq!(host.network_ids("web-net"), id);
    // One more of them, and an overlay beside it.
    let more = scenario()
        .destination(destination("b").named("b-net").asserting(DestinationType::Standalone))
        .destination(destination("c").named("c-net"));
    assert_eq!(trouble(&apply(&more).await), [""; 0]);
    let driver = |name: &str| text(&host.inspect_network(name)["Driver"]);
    assert_eq!((driver("b-net"), driver("c-net")), ("bridge".to_owned(), "overlay".to_owned()));
    settled(&apply(&more).await);
    // All of it can go.
    let gone = apply(&Scenario::without_proxy().prune().allow_mass_delete()).await;
    assert_eq!(trouble(&gone), [""; 0], "{}", said(&gone));
    assert_eq!((host.network_ids("b-net"), host.network_ids("c-net")), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_locked_swarm_is_explained() {
    let host = Host::start();
    let body = json!({
        "ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1",
        "Spec": { "EncryptionConfig": { "AutoLockManagers": true } }
    });
    host.post("/swarm/init", body);
    host.restart_daemon();
    let scenario = Scenario::without_proxy().destination(destination("web").named("web-net"));
    let refused = apply(&engine(&host), &scenario.desired, &scenario.request).await;
    let document = refused.report.document();
    assert_eq!(
        (document.notes[0].reason, document.notes[0].hint.as_deref()),
        (Reason::NotASwarmManager, Some("docker swarm unlock, on that server"))
    );
    assert!(document.notes[0].message.ends_with("is locked."), "{}", document.notes[0].message);
}

/// A service whose tasks run until they are told to stop. Virtual addresses do not work without IPVS.
fn service(host: &Host, name: &str, replicas: u64) -> Value {
    let spec = json!({
        "Name": name, "Labels": { "kept": "yes" }, "Mode": { "Replicated": { "Replicas": replicas } },
        "EndpointSpec": { "Mode": "dnsrr" }, "UpdateConfig": { "Parallelism": 1, "Order": "stop-first", "Monitor": 1_000_000 },
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": IMAGE, "Command": ["/bin/sh", "-c", "trap exit TERM; while :; do sleep 0.1; done"], "Env": ["SECRET=kept"],
                "StopGracePeriod": 2_000_000_000_u64
            },
            "Resources": { "Limits": { "MemoryBytes": 67_108_864 } }, "RestartPolicy": { "Condition": "any", "Delay": 1_000_000 }
        }
    });
    host.post("/services/create", spec);
    host.get(&format!("/services/{name}"))["Spec"].clone()
}

/// Names of the containers of the service's tasks that run on the host and are on the network.
fn tasks_on(host: &Host, service: &str, network: &str) -> Vec<String> {
    let containers = host.get("/containers/json");
    let is_one = |container: &&Value| {
        container["Labels"]["com.docker.swarm.service.name"] == service
            && container["NetworkSettings"]["Networks"].get(network).is_some()
    };
    let containers = containers.as_array().unwrap().iter().filter(is_one);
    containers.map(|container| text(&container["Names"][0])[1..].to_owned()).collect()
}

/// The tasks of a service, by their states.
fn tasks(host: &Host, service: &str) -> Vec<String> {
    let tasks = host.get("/tasks");
    let id = &host.get(&format!("/services/{service}"))["ID"];
    let own = tasks.as_array().unwrap().iter().filter(|task| task["ServiceID"] == *id);
    own.map(|task| text(&task["Status"]["State"])).collect()
}

fn running(host: &Host, service: &str) -> usize {
    tasks(host, service).iter().filter(|state| *state == "running").count()
}

fn rolled_out(host: &Host, service: &str) {
    wait_for_at_most(Duration::from_secs(120), "the rollout is over", || {
        (host.get(&format!("/services/{service}"))["UpdateStatus"]["State"] == "completed").then_some(())
    });
}

/// Each update replaces all tasks, and one after another would have Swarm stop those that the one before has just started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_updated_once_for_five_networks_and_never_has_fewer_tasks_than_a_rollout_takes() {
    let host = Host::start();
    host.swarm_init();
    host.import_image(IMAGE, &[]);
    service(&host, "edge", 4);
    wait_for("the tasks run", || (running(&host, "edge") == 4).then_some(()));
    let scenario = (1..=5).fold(Scenario::without_proxy().swarm_manager().proxy_service("edge"), |scenario, number| {
        scenario.destination(destination(&format!("d{number}")).named(&format!("net-{number}")))
    });
    let engine = engine(&host);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let (fewest, applied) = std::thread::scope(|scope| {
        let watched = scope.spawn(|| {
            let stopped = stopped;
            let mut fewest = 4;
            // Until the other end is dropped, be it by a panic.
            while stopped.recv_timeout(Duration::from_millis(50)) == Err(RecvTimeoutError::Timeout) {
                fewest = fewest.min(running(&host, "edge"));
            }
            fewest
        });
        let stop = stop;
        let runtime = tokio::runtime::Handle::current();
        let applied =
            tokio::task::block_in_place(|| runtime.block_on(apply(&engine, &scenario.desired, &scenario.request)));
        rolled_out(&host, "edge");
        drop(stop);
        (watched.join().unwrap(), applied)
    });
    assert_eq!(trouble(&applied), [""; 0]);
    let document = applied.report.document();
    let updates: Vec<_> = document.operations.iter().filter(|it| it.op == "UpdateService").collect();
    assert_eq!((updates.len(), updates[0].changes.len()), (1, 5), "{}", said(&applied));
    // Those of before, and one for each.
    assert_eq!(tasks(&host, "edge").len(), 8);
    assert!(fewest >= 3, "{fewest} tasks ran");
}

/// Gives the service another definition, as `docker service update` does.
fn update(host: &Host, service: &str, change: impl FnOnce(&mut Value)) {
    let seen = host.get(&format!("/services/{service}"));
    let mut spec = seen["Spec"].clone();
    change(&mut spec);
    host.post(&format!("/services/{service}/update?version={}", seen["Version"]["Index"]), spec);
}

/// The definition that a rollback goes back to is the one of before the latest update: Landfall's must not come in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_that_fails_is_rolled_back_as_if_landfall_were_not_there_and_one_that_is_paused_stays_so() {
    let host = Host::start();
    host.swarm_init();
    host.import_image(IMAGE, &[]);
    let good = service(&host, "api", 3)["TaskTemplate"]["ContainerSpec"]["Command"].clone();
    wait_for("the tasks run", || (running(&host, "api") == 3).then_some(()));
    let engine = engine(&host);
    for (network, action) in [("a-net", "rollback"), ("b-net", "pause")] {
        let web = destination(&network[..1]).named(network).member(application("api").swarm_service("api"));
        let scenario = Scenario::without_proxy().swarm_manager().destination(web);
        let break_it = |spec: &mut Value| {
            spec["TaskTemplate"]["ContainerSpec"]["Command"] = json!(["/bin/sh", "-c", "exit 1"]);
            spec["UpdateConfig"] = json!({ "Parallelism": 1, "FailureAction": action, "Monitor": 10_000_000_000_u64 });
        };
        update(&host, "api", break_it);
        let over = |state: &str| host.get("/services/api")["UpdateStatus"]["State"] == state;
        let mut waited = 0;
        loop {
            let applied = apply(&engine, &scenario.desired, &scenario.request).await;
            let text = said(&applied);
            if text.contains("UpdateService - Done") {
                break;
            }
            assert!(text.contains("Waiting RolloutInProgress Application/shop/api"), "{text}");
            waited += 1;
            if action == "pause" && over("paused") && waited > 3 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(waited > 0);
        if action == "pause" {
            // Still so after all these passes.
            let text = said(&apply(&engine, &scenario.desired, &scenario.request).await);
            assert!(text.contains("is paused, and any update would resume it"), "{text}");
            assert!(over("paused"));
            break;
        }
        wait_for_at_most(Duration::from_secs(120), "Landfall's own rollout is over", || {
            over("completed").then_some(())
        });
        assert_eq!(host.get("/services/api")["Spec"]["TaskTemplate"]["ContainerSpec"]["Command"], good);
        assert_eq!((running(&host, "api"), tasks_on(&host, "api", network).len()), (3, 3));
        settled(&apply(&engine, &scenario.desired, &scenario.request).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_connected_when_its_tasks_run_and_stays_off_a_network_without_room_for_them() {
    let host = Host::start();
    host.swarm_init();
    host.import_image(IMAGE, &[]);
    service(&host, "api", 6);
    wait_for("the tasks run", || (running(&host, "api") == 6).then_some(()));
    let engine = engine(&host);
    let scenario = |subnet: &str, name: &str| {
        let web = destination(name).named(name).subnet(subnet).member(application("api").swarm_service("api"));
        Scenario::without_proxy().swarm_manager().destination(web)
    };
    let apply = async |scenario: &Scenario| said(&apply(&engine, &scenario.desired, &scenario.request).await);
    let small = scenario("10.42.0.0/29", "small");
    let refused = apply(&small).await;
    assert!(
        refused
            .contains("Refused AddressPoolExhausted Application/shop/api: The Swarm service \"api\" takes 7 addresses"),
        "{refused}"
    );
    assert_eq!((apply(&small).await.matches("UpdateService").count(), running(&host, "api")), (0, 6));

    host.remove_network("small");
    let large = scenario("10.43.0.0/28", "large");
    let put = apply(&large).await;
    assert!(put.contains("UpdateService - Done"), "{put}");
    rolled_out(&host, "api");
    wait_for("the tasks run", || (tasks_on(&host, "api", "large").len() == 6).then_some(()));
    assert_eq!(apply(&large).await, "");

    // No node will do for it.
    update(&host, "api", |spec| spec["TaskTemplate"]["Placement"] = json!({ "Constraints": ["node.role==worker"] }));
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let said = loop {
        let said = apply(&large).await;
        if said.contains("no suitable node") || std::time::Instant::now() > deadline {
            break said;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(
        said.starts_with("Waiting TasksNotRunning Application/shop/api: ") && said.contains("of 6 tasks"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_and_members_that_are_services_are_put_on_the_network_and_taken_off() {
    let cluster = Cluster::start(2);
    let [m1, w1] = &cluster.nodes[..] else { unreachable!() };
    for node in [m1, w1] {
        node.import_image(IMAGE, &[]);
    }
    let edge = service(m1, "edge", 2);
    let api = service(m1, "api", 1);
    let client = w1.container("client").running();
    let fleet = Fleet(vec![("edge-1", m1), ("w1", w1)]);
    let member = || application("api").swarm_service("api").alias("backend");
    let web = |member| destination("web").named("web-net").subnet("10.42.0.0/24").member(member);
    let scenario = |member| {
        let client = destination("web-w1").named("web-net").adopt().member(application("client"));
        Scenario::without_proxy()
            .proxy_service("edge")
            .destination(web(member))
            .destination(destination("side").named("side-net"))
            .and("w1", Scenario::without_proxy().destination(client))
    };
    let first = fleet.apply(&scenario(member())).await;
    assert_eq!(trouble(&first), [""; 0], "{}", said(&first));
    let operations = first.report.document().operations;
    let updates = operations.iter().filter(|it| it.op == "UpdateService");
    let updates: Vec<_> = updates.map(|it| (it.service.as_deref(), it.network.as_deref(), it.disruptive)).collect();
    assert_eq!(updates, [(Some("edge"), None, true), (Some("api"), Some("web-net"), true)], "{}", said(&first));
    rolled_out(m1, "edge");
    rolled_out(m1, "api");
    let second = fleet.apply(&scenario(member())).await;
    assert_eq!(said(&second), "default/w1: ConnectEndpoint client Done\n");
    settled(&fleet.apply(&scenario(member())).await);

    // The tasks are there, by their aliases, and nothing else of the definitions has changed.
    let everywhere =
        |service: &str, network: &str| tasks_on(m1, service, network).len() + tasks_on(w1, service, network).len();
    wait_for("the tasks are on the network", || {
        (everywhere("edge", "web-net") == 2 && everywhere("edge", "side-net") == 2 && everywhere("api", "web-net") == 1)
            .then_some(())
    });
    talks(w1, &client, "backend");
    for (name, before) in [("edge", &edge), ("api", &api)] {
        let mut after = m1.get(&format!("/services/{name}"))["Spec"].clone();
        after["TaskTemplate"].as_object_mut().unwrap().remove("Networks").unwrap();
        assert_eq!(after, *before);
    }

    // Somebody takes it off by hand.
    let seen = m1.get("/services/edge");
    let mut spec = seen["Spec"].clone();
    spec["TaskTemplate"].as_object_mut().unwrap().remove("Networks");
    m1.post(&format!("/services/edge/update?version={}", seen["Version"]["Index"]), spec);
    rolled_out(m1, "edge");
    let healed = fleet.apply(&scenario(member())).await;
    let line = "default/edge-1: UpdateService - Done\n";
    let warned = "Warning RollbackChanges Destination/shop/side: After the update of the Swarm service \"edge\", `docker service rollback edge` \
                  undoes that update only, and no earlier deployment.\n";
    assert_eq!(said(&healed), format!("{line}{warned}"));
    rolled_out(m1, "edge");

    // In use it stays; then everyone leaves by themselves, and it goes while tasks of old definitions are still being replaced.
    let refused = said(&fleet.apply(&scenario(member()).delete(Kind::Destination, "web")).await);
    assert!(refused.contains("ResourcesRemain"), "{refused}");
    let side = fleet.apply(&scenario(member()).delete(Kind::Destination, "side")).await;
    assert_eq!(said(&side), format!("{line}default/edge-1: RemoveNetwork - Done\n{warned}"));
    assert_eq!(m1.network_ids("side-net"), [""; 0]);
    rolled_out(m1, "api");
    let off =
        fleet.apply(&scenario(member()).delete(Kind::Application, "api").delete(Kind::Application, "client")).await;
    assert_eq!(trouble(&off), [""; 0]);
    // Swarm replaces the task that was on it, and keeps the old one, which holds nothing up.
    wait_for("the task of the service has left", || (everywhere("api", "web-net") == 0).then_some(()));
    let without = || {
        Scenario::without_proxy()
            .proxy_service("edge")
            .destination(destination("web").named("web-net"))
            .and("w1", Scenario::without_proxy())
    };
    rolled_out(m1, "edge");
    let gone = fleet.apply(&without().delete(Kind::Destination, "web")).await;
    assert_eq!(said(&gone), format!("{line}default/edge-1: RemoveNetwork - Done\n{}", warned.replace("/side", "/web")));
    assert_eq!(m1.network_ids("web-net"), [""; 0]);
    for (name, before) in [("edge", &edge), ("api", &api)] {
        let mut after = m1.get(&format!("/services/{name}"))["Spec"].clone();
        after["TaskTemplate"].as_object_mut().unwrap().remove("Networks");
        assert_eq!(after, *before);
    }
}
