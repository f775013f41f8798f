//! Managed applications and databases on a Swarm: from nothing, through changes, to nothing; undisturbed and interrupted anywhere.

use landfall::core::api::Kind;
use landfall::core::observed::{NodeAvailability, ObservedNode, TaskCount};
use landfall::core::plan::{Call, Plan};
use landfall::core::workload::seen::SeenValue;

use super::workloads::{DESTINATION, application, declare, execute, settle};
use crate::support::scenario::{Scenario, container, edge, key, network};

/// A manager on which the destination's network exists already.
fn world(manifests: &str) -> Scenario {
    let overlay = network("web-net").overlay().subnet("10.42.0.0/24").of("shop/web");
    let mut scenario = Scenario::without_proxy().swarm_manager().network(overlay);
    declare(&mut scenario, &manifests.replace("proxy: { container: traefik, type: Traefik }, ", ""));
    super::workloads::have_images(&mut scenario);
    scenario
}

fn redeclare(scenario: &mut Scenario, manifests: &str) {
    declare(scenario, &manifests.replace("proxy: { container: traefik, type: Traefik }, ", ""));
    super::workloads::have_images(scenario);
}

fn database(spec: &str) -> String {
    format!(
        "{DESTINATION}---\napiVersion: landfall/v1\nkind: Database\nmetadata: {{ name: orders, namespace: shop }}\nspec:\n  destination: web\n  credentials: {{ password: {{ env: PASSWORD }} }}\n{spec}"
    )
}

/// Names, images and replicas of what runs, and the secrets that there are without what stands for their content.
fn runs(scenario: &Scenario) -> Vec<String> {
    let state = scenario.observed[&edge()].as_ref().unwrap();
    let services = state.services.iter().map(|it| {
        let image = it.definition.as_ref().map(|it| it.image.clone()).unwrap_or_default();
        format!("{} {image} {}", it.name, it.replicas.unwrap_or_default())
    });
    let secrets = state.secrets.iter().map(|it| format!("secret {}", it.name));
    let mut all: Vec<String> = services.chain(secrets).collect();
    all.sort();
    all
}

fn operations(plan: &Plan) -> Vec<String> {
    let groups = plan.servers.iter().flat_map(|server| &server.groups).flat_map(|group| &group.operations);
    groups.map(|operation| operation.call.to_string()).collect()
}

fn reasons(plan: &Plan) -> Vec<String> {
    plan.servers
        .iter()
        .flat_map(|it| &it.notes)
        .map(|note| format!("{:?} {}", note.kind, note.reason.as_str()))
        .collect()
}

#[test]
fn an_application_is_a_service_that_is_changed_in_one_update() {
    let spec = "  image: web:1\n  replicas: 3\n  env: [{ name: LOG, value: info }, { name: OLD, value: x }]\n";
    let mut scenario = world(&application(spec));
    assert_eq!(operations(&scenario.plan()), ["create service shop-frontend of web:1 on web-net, 3 replicas"]);
    settle(&mut scenario);
    assert_eq!(runs(&scenario), ["shop-frontend web:1 3"]);
    let changed = "  image: web:2\n  replicas: 2\n  env: [{ name: LOG, value: debug }]\n";
    redeclare(&mut scenario, &application(changed));
    assert_eq!(
        operations(&scenario.plan()),
        ["update service shop-frontend (env LOG: changed; env OLD: removed; image: web:1 -> web:2; replicas: 3 -> 2)"]
    );
    settle(&mut scenario);
    assert_eq!(runs(&scenario), ["shop-frontend web:2 2"]);
}

#[test]
fn what_operators_change_of_what_is_declared_is_drift_and_what_they_add_stays() {
    let mut scenario = world(&application("  image: web:1\n  env: [{ name: LOG, value: info }]\n  restart: always\n"));
    settle(&mut scenario);
    let service = scenario.state().services.last_mut().unwrap();
    service.replicas = Some(5);
    let definition = service.definition.as_mut().unwrap();
    definition.image = "web:0@sha256:aa".to_owned();
    definition.config.resources.memory = 1 << 20;
    definition.config.env.insert("ADDED".to_owned(), SeenValue::default());
    assert_eq!(
        operations(&scenario.plan()),
        ["update service shop-frontend (image: web:0@sha256:aa -> web:1; replicas: 5 -> 1)"]
    );
    settle(&mut scenario);
    let service = scenario.state().services.last().unwrap();
    assert!(service.definition.as_ref().unwrap().config.env.contains_key("ADDED"));
}

#[test]
fn files_are_secrets_with_a_version_and_the_old_one_goes_when_nothing_refers_to_it() {
    let spec = |content: &str| {
        format!("  image: web:1\n  files: [{{ path: /etc/web/key.pem, value: '{content}', mode: '0400' }}]\n")
    };
    let mut scenario = world(&application(&spec("one")));
    let planned = operations(&scenario.plan());
    assert!(planned[0].starts_with("create secret shop-frontend-key-pem-"), "{planned:?}");
    settle(&mut scenario);
    let before = runs(&scenario);
    assert_eq!(before.len(), 2);
    redeclare(&mut scenario, &application(&spec("two")));
    let planned = operations(&scenario.plan());
    let words: Vec<&str> = planned.iter().map(|it| it.rsplit_once('-').map_or(it.as_str(), |(word, _)| word)).collect();
    assert_eq!(
        (words[0], planned[1].as_str(), words[2]),
        (
            "create secret shop-frontend-key-pem",
            "update service shop-frontend (file /etc/web/key.pem: changed)",
            "remove secret shop-frontend-key-pem"
        )
    );
    settle(&mut scenario);
    assert_ne!(runs(&scenario), before);
    assert_eq!(runs(&scenario).len(), 2);
    // No longer declared: the reference goes, and then the secret.
    redeclare(&mut scenario, &application("  image: web:1\n"));
    assert_eq!(operations(&scenario.plan())[0], "update service shop-frontend (file /etc/web/key.pem: removed)");
}

#[test]
fn a_version_that_fails_leaves_what_ran_and_nothing_of_its_own() {
    let spec = |image: &str| format!("  image: {image}\n  files: [{{ path: /key, value: '{image}' }}]\n");
    let mut scenario = world(&application(&spec("web:1")));
    settle(&mut scenario);
    let before = runs(&scenario);
    redeclare(&mut scenario, &application(&spec("web:sick")));
    let plan = scenario.plan();
    assert!(!execute(&mut scenario, &plan, &mut usize::MAX.clone(), &mut |_| {}));
    assert_eq!(runs(&scenario), before);
    // What the Swarm did is said, and the same is not tried again where it is known to have failed.
    let plan = scenario.plan();
    assert!(reasons(&plan).contains(&"Warning HealthCheckFailed".to_owned()), "{plan}");
    let attempt = plan.attempts().next().unwrap().to_owned();
    scenario.request.failed_attempts.insert(attempt, "It was rolled back.".to_owned());
    let plan = scenario.plan();
    assert_eq!((operations(&plan).len(), reasons(&plan)), (0, vec!["Refused HealthCheckFailed".to_owned()]));
    // A first version that fails is taken away.
    let mut scenario = world(&application(&spec("web:sick")));
    let plan = scenario.plan();
    assert!(!execute(&mut scenario, &plan, &mut usize::MAX.clone(), &mut |_| {}));
    assert_eq!(runs(&scenario), Vec::<String>::new());
}

#[test]
fn volumes_bind_to_the_servers_own_node_and_stay_where_they_are() {
    let mut scenario = world(&application("  image: web:1\n  volumes: [{ volume: uploads, mountPath: /data }]\n"));
    let node = |id: &str, availability| ObservedNode {
        id: id.to_owned(),
        name: format!("host-{id}"),
        availability,
        up: true,
        address: None,
    };
    scenario.state().nodes = vec![node("node1", NodeAvailability::Active), node("node2", NodeAvailability::Active)];
    assert_eq!(
        operations(&scenario.plan()),
        ["create service shop-frontend of web:1 on web-net, on the node host-node1 with uploads"]
    );
    // A manager that takes no tasks: the first by name that does.
    scenario.state().nodes[0].availability = NodeAvailability::Drain;
    assert_eq!(
        operations(&scenario.plan()),
        ["create service shop-frontend of web:1 on web-net, on the node host-node2 with uploads"]
    );
    settle(&mut scenario);
    // The data does not move because a node is available again.
    scenario.state().nodes[0].availability = NodeAvailability::Active;
    assert_eq!(operations(&scenario.plan()), Vec::<String>::new());
    // The node is gone, and the data with it.
    scenario.state().nodes.truncate(1);
    assert_eq!(reasons(&scenario.plan()), ["Refused NodeUnavailable"]);
}

#[test]
fn a_database_is_bound_to_a_node_and_guards_its_data() {
    let mut scenario = world(&database("  engine: PostgreSQL\n  version: '16'\n"));
    let planned = operations(&scenario.plan());
    assert!(planned[0].starts_with("create secret shop-orders-password-"), "{planned:?}");
    assert_eq!(
        planned[1],
        "create service shop-orders of postgres:16 on web-net, on the node node1 with shop-orders-data"
    );
    settle(&mut scenario);
    redeclare(&mut scenario, &database("  engine: PostgreSQL\n  version: '17'\n"));
    assert_eq!(reasons(&scenario.plan()), ["Refused DataIncompatible"]);
    redeclare(&mut scenario, &database("  engine: PostgreSQL\n  version: '16'\n  storage: { volume: other }\n"));
    assert_eq!(reasons(&scenario.plan()), ["Refused VolumeChanged"]);
}

#[test]
fn a_service_of_the_same_name_and_copied_labels_are_left_alone() {
    let mut scenario = world(&application("  image: web:1\n"));
    scenario = scenario.service("shop-frontend", &[], 1);
    assert_eq!(
        (operations(&scenario.plan()).len(), reasons(&scenario.plan())),
        (0, vec!["Refused NameTaken".to_owned()])
    );
    // One that carries the labels of another.
    let mut scenario = world(&application("  image: web:1\n"));
    settle(&mut scenario);
    let mut copy = scenario.state().services[0].clone();
    copy.name = "copy-of-frontend".to_owned();
    copy.id = crate::support::workloads::service_id("copy");
    copy.networks.clear();
    scenario.state().services.push(copy);
    redeclare(&mut scenario, DESTINATION);
    let scenario = scenario.prune();
    assert_eq!(operations(&scenario.plan()), ["remove service shop-frontend"]);
    // Another set's.
    let scenario = scenario.set("other");
    assert_eq!(operations(&scenario.plan()), Vec::<String>::new());
}

#[test]
fn an_adopted_service_becomes_landfalls_own_in_place_where_it_has_the_name() {
    let annotated = application("  image: web:1\n  containerName: api\n").replace(
        "{ name: frontend, namespace: shop }",
        "{ name: frontend, namespace: shop, annotations: { landfall/replaces: api } }",
    );
    let mut scenario = world(&annotated).service("api", &["web-net"], 1);
    let plan = scenario.plan();
    let planned = operations(&plan);
    assert!(
        planned[0].starts_with("update service api (") && planned[0].contains("run by: something else -> Landfall"),
        "{planned:?}"
    );
    let groups = plan.servers.iter().flat_map(|server| &server.groups);
    assert!(groups.flat_map(|it| &it.operations).all(|it| it.disruptive), "it asks: {plan}");
    settle(&mut scenario);
    // Under another name, the new one serves before the old one goes.
    let annotated = annotated.replace("  containerName: api\n", "");
    let mut scenario = world(&annotated).service("api", &["web-net"], 1);
    let planned = operations(&scenario.plan());
    assert_eq!(
        planned,
        [
            "create service shop-frontend of web:1 on web-net (run by: something else as api -> Landfall)",
            "remove service api"
        ]
    );
    settle(&mut scenario);
    assert_eq!(runs(&scenario), ["shop-frontend web:1 1"]);
}

#[test]
fn what_is_undeclared_goes_with_its_secrets_and_its_volumes_are_named() {
    let spec =
        "  image: web:1\n  files: [{ path: /key, value: x }]\n  volumes: [{ volume: uploads, mountPath: /data }]\n";
    let mut scenario = world(&application(spec));
    settle(&mut scenario);
    redeclare(&mut scenario, DESTINATION);
    assert_eq!(reasons(&scenario.plan()), ["Unmanaged Undeclared"]);
    let mut scenario = scenario.prune();
    let planned = operations(&scenario.plan());
    assert_eq!(planned[0], "remove service shop-frontend (uploads stays)");
    assert!(planned[1].starts_with("remove secret shop-frontend-key-"), "{planned:?}");
    settle(&mut scenario);
    assert_eq!(runs(&scenario), Vec::<String>::new());
}

#[test]
fn a_resource_and_its_destination_are_deleted_in_that_order() {
    let mut scenario = world(&application("  image: web:1\n"));
    settle(&mut scenario);
    let mut scenario = scenario.delete(Kind::Application, "shop/frontend").delete(Kind::Destination, "shop/web");
    assert_eq!(operations(&scenario.plan()), ["remove service shop-frontend", "remove network web-net"]);
    let plan = scenario.plan();
    assert!(execute(&mut scenario, &plan, &mut usize::MAX.clone(), &mut |_| {}));
    assert_eq!(runs(&scenario), Vec::<String>::new());
}

#[test]
fn an_update_waits_for_a_rollout_that_is_under_way() {
    let mut scenario = world(&application("  image: web:1\n"));
    settle(&mut scenario);
    scenario.state().services[0].rollout = Some(landfall::core::observed::Rollout::Updating);
    redeclare(&mut scenario, &application("  image: web:2\n"));
    let plan = scenario.plan();
    assert_eq!((operations(&plan).len(), reasons(&plan)), (0, vec!["Waiting RolloutInProgress".to_owned()]));
}

#[test]
fn what_a_swarm_has_nothing_for_is_refused() {
    for (spec, reason) in [
        ("  image: web:1\n  endpoint: { ipv4Address: 10.42.0.9 }\n", "AddressUnavailable"),
        ("  image: web:1\n  ports: [{ containerPort: 80, hostPort: 8080, hostAddress: 127.0.0.1 }]\n", "WrongScope"),
        ("  image: web:1\n  role: Proxy\n", "WrongScope"),
        ("  image: web:absent\n  pullPolicy: Never\n", "ImageUnavailable"),
    ] {
        let mut scenario = world(&application(spec));
        scenario.state().images.remove("web:absent");
        let plan = scenario.plan();
        assert_eq!(operations(&plan), Vec::<String>::new(), "{spec}");
        assert!(reasons(&plan).contains(&format!("Refused {reason}")), "{spec}: {plan}");
    }
    // A worker is not asked.
    let mut scenario = Scenario::without_proxy();
    declare(
        &mut scenario,
        &application("  image: web:1\n").replace("proxy: { container: traefik, type: Traefik }, ", ""),
    );
    let scenario = scenario.swarm_worker("node2");
    let plan = scenario.plan();
    assert!(reasons(&plan).contains(&"Refused NotASwarmManager".to_owned()), "{plan}");
}

#[test]
fn routes_are_labels_of_the_service() {
    let overlay = network("web-net").overlay().subnet("10.42.0.0/24").of("shop/web");
    let mut scenario = Scenario::new().swarm_manager().network(overlay);
    scenario = scenario.container(container("traefik").on("bridge").on("web-net").marked());
    declare(&mut scenario, &application("  image: web:1\n  domains: [shop.example.com]\n  port: 8080\n"));
    settle(&mut scenario);
    let labels = &scenario.state().services[0].labels;
    for (key, value) in [
        ("traefik.http.routers.shop-frontend-0.rule", "Host(`shop.example.com`)"),
        ("traefik.swarm.network", "web-net"),
        ("traefik.docker.network", "web-net"),
        ("traefik.http.services.shop-frontend.loadbalancer.server.port", "8080"),
    ] {
        assert_eq!(labels.get(key).map(String::as_str), Some(value), "{key}");
    }
    // Another domain replaces no task.
    declare(&mut scenario, &application("  image: web:1\n  domains: [www.example.com]\n  port: 8080\n"));
    let plan = scenario.plan();
    let operations = plan.servers.iter().flat_map(|it| &it.groups).flat_map(|it| &it.operations);
    assert!(operations.into_iter().all(|it| !it.disruptive), "{plan}");
}

#[test]
fn a_restart_replaces_the_tasks_although_nothing_differs() {
    let mut scenario = world(&application("  image: web:1\n"));
    settle(&mut scenario);
    scenario.request.restart.insert(key(Kind::Application, "shop/frontend"));
    assert_eq!(operations(&scenario.plan()), ["update service shop-frontend (tasks: as they are -> anew)"]);
}

#[test]
fn a_service_that_a_deactivation_left_without_tasks_gets_them_back_once() {
    let mut scenario = world(&application("  image: web:1\n  replicas: 2\n"));
    settle(&mut scenario);
    let mut scenario = scenario.redeclare("shop/web", |it| it.deactivated());
    assert_eq!(operations(&scenario.plan()), ["scale service shop-frontend to 0 replicas"]);
    settle(&mut scenario);
    let service = &mut scenario.state().services[0];
    service.tasks = Some(TaskCount { desired: 0, running: 0 });
    assert_eq!(operations(&scenario.plan()), Vec::<String>::new());
}

/// Ended after each call in turn: the next passes come to the same.
#[test]
fn an_interrupted_rollout_ends_as_an_undisturbed_one() {
    let spec =
        |image: &str| format!("  image: {image}\n  files: [{{ path: /key, value: '{image}' }}]\n  replicas: 2\n");
    let start = |first: bool| {
        let mut scenario = world(&application(&spec("web:1")));
        if !first {
            settle(&mut scenario);
            redeclare(&mut scenario, &application(&spec("web:2")));
        }
        scenario
    };
    for first in [true, false] {
        let mut undisturbed = start(first);
        settle(&mut undisturbed);
        for calls in 0.. {
            let mut scenario = start(first);
            let plan = scenario.plan();
            let done = execute(&mut scenario, &plan, &mut calls.clone(), &mut |_| {});
            settle(&mut scenario);
            assert_eq!(runs(&scenario), runs(&undisturbed), "after {calls} calls");
            if done {
                break;
            }
        }
    }
}

#[test]
fn what_depends_on_a_service_waits_for_its_tasks() {
    let both = database("  engine: Redis\n")
        + "---\napiVersion: landfall/v1\nkind: Application\nmetadata: { name: frontend, namespace: shop }\nspec: { destination: web, image: 'web:1', dependsOn: [Database/orders] }\n";
    let scenario = world(&both);
    let planned = operations(&scenario.plan());
    let at = |words: &str| planned.iter().position(|it| it.starts_with(words)).unwrap();
    assert!(at("create service shop-orders") < at("create service shop-frontend"), "{planned:?}");
    let after = scenario.plan();
    let calls = after.servers.iter().flat_map(|it| &it.groups).flat_map(|it| &it.operations);
    let waits = calls.filter_map(|it| match &it.call {
        Call::Workload(call) => Some(call.after().to_vec()),
        _ => None,
    });
    assert!(waits.flatten().any(|it| it == key(Kind::Database, "shop/orders")));
}

/// While its volumes are copied a service is at no replicas; a copy that is over, or of another service, holds nothing.
#[test]
fn a_service_that_is_scaled_to_zero_for_a_copy_is_left_so_until_that_is_done() {
    let spec = "  image: web:1\n  replicas: 3\n";
    let mut scenario = world(&application(spec));
    settle(&mut scenario);
    let id = scenario.state().services[0].id.to_string();
    scenario.state().services[0].replicas = Some(0);
    let held = |by: &str| container("landfall-hold-1").exited().label("landfall.holds", by);
    let other = scenario.clone().container(held("another"));
    assert_eq!(operations(&other.plan()).len(), 1, "{}", other.plan());
    let copied = scenario.clone().container(held(&format!("another,{id}")));
    assert_eq!(operations(&copied.plan()), [""; 0], "{}", copied.plan());
    assert_eq!(reasons(&copied.plan()), ["Waiting LeftStopped"]);
    assert_eq!(operations(&scenario.plan()).len(), 1, "{}", scenario.plan());
}
