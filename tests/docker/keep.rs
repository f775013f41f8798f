//! `landfall run` against a real daemon: what falls off is put back, and nothing that is wrong takes anything down.

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::json;

use super::controller::{Controller, until};
use crate::cli::run::command;
use crate::cli::world::{SHOP, World, server};
use crate::support::Host;
use crate::support::host::IMAGE;

/// What is noticed only because the files are compared now and then takes longer than this.
const TOLD: Duration = Duration::from_secs(15);

pub(super) fn shop() -> (Host, World) {
    let host = Host::start();
    for name in ["traefik", "frontend"] {
        host.container(name).running();
    }
    let world = World::new(&(server(&host.endpoint()) + SHOP));
    (host, world)
}

pub(super) fn is_on(host: &Host, container: &str, network: &str) -> bool {
    host.networks_of(container).iter().any(|name| name == network)
}

#[test]
fn pain_1_to_9_whatever_is_disconnected_is_put_back_because_the_daemon_tells() {
    let (host, world) = shop();
    let mut controller = Controller::start(&world, &["-v"]);
    until("convergence", &mut controller, || is_on(&host, "frontend", "web-net") && is_on(&host, "traefik", "web-net"));
    until("convergence", &mut controller, || is_on(&host, "frontend", "data-net"));

    // Every line of a pass names it: what it asks, and what it came to.
    controller.says("connect frontend to web-net");
    for said in [r#""method":"POST""#, "connect frontend to web-net"] {
        assert!(controller.said(said) > 0, "{said}");
        assert_eq!(controller.said(said), controller.said_of_passes(said), "{said}");
    }

    for container in ["traefik", "frontend"] {
        host.disconnect("web-net", container);
        until("healing", &mut controller, || is_on(&host, container, "web-net"));
    }
    let aliases = host.endpoint_of("frontend", "web-net")["Aliases"].to_string();
    assert!(aliases.contains("www"), "{aliases}");

    // A container that was not there is connected when it comes.
    host.container("orders").label("app", "orders").running();
    until("connecting a new container", &mut controller, || is_on(&host, "orders", "data-net"));

    // A recreated proxy has lost its networks.
    host.remove_container("traefik");
    host.container("traefik").running();
    until("connecting a recreated proxy", &mut controller, || is_on(&host, "traefik", "web-net"));

    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
}

#[test]
fn a_service_is_put_back_because_its_manager_tells() {
    let host = Host::start();
    host.swarm_init();
    host.import_image(IMAGE, &[]);
    // Without tasks, so that no container says anything.
    let spec = json!({
        "Name": "traefik", "Mode": { "Replicated": { "Replicas": 0 } }, "EndpointSpec": { "Mode": "dnsrr" },
        "TaskTemplate": { "ContainerSpec": { "Image": IMAGE } }
    });
    host.post("/services/create", spec);
    let networks = || host.get("/services/traefik")["Spec"]["TaskTemplate"]["Networks"].clone();
    let web = "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: { name: web }\nspec: { server: infra/edge, network: { name: web-net } }\n";
    let manifests = server(&host.endpoint()).replace("container: traefik", "service: traefik") + web;
    let world = World::new(&manifests);
    let mut controller = Controller::start(&world, &[]);
    until("convergence", &mut controller, || !networks().is_null());
    let options = networks()[0]["DriverOpts"].clone();
    assert_eq!((&options["landfall.set"], &options["landfall.for"]), (&json!("default"), &json!("Proxy")));
    assert!(options["landfall.source"].as_str().is_some_and(|source| source.ends_with("/manifests")), "{options}");
    let seen = host.get("/services/traefik");
    let mut spec = seen["Spec"].clone();
    spec["TaskTemplate"].as_object_mut().unwrap().remove("Networks");
    host.post(&format!("/services/traefik/update?version={}", seen["Version"]["Index"]), spec);
    until("healing", &mut controller, || !networks().is_null());
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
}

/// Both servers are told of everything, and look after everything. One destination: more would be too many to be pruned unasked.
#[test]
fn one_daemon_under_two_names_is_no_battlefield() {
    let host = Host::start();
    host.container("traefik").running();
    let web = "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: { name: web }\nspec: { server: infra/edge, network: { name: web-net } }\n";
    let world = World::new(&(server(&host.endpoint()) + web));
    world.write("manifests/twin.yaml", &server(&host.endpoint()).replace("name: edge", "name: twin"));
    let mut controller = Controller::start(&world, &[]);
    until("convergence", &mut controller, || is_on(&host, "traefik", "web-net"));
    let made = host.network_ids("web-net");
    for _ in 0..3 {
        host.disconnect("web-net", "traefik");
        until("healing", &mut controller, || is_on(&host, "traefik", "web-net"));
    }
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
    assert_eq!(host.network_ids("web-net"), made);
}

#[test]
fn a_daemon_that_restarts_is_found_again() {
    let (host, world) = shop();
    // The attempts are in the log of whoever looks for them.
    let mut controller = Controller::start(&world, &["-vv"]);
    until("convergence", &mut controller, || is_on(&host, "frontend", "web-net"));
    host.stop_daemon();
    controller.says("the stream of events is lost");
    controller.says("still lost");
    host.start_daemon();
    controller.says("the stream of events is open again");
    let told = controller.said("the stream of events is lost");
    assert_eq!(told, 1, "a loss is told once, however long it lasts");
    host.start_container("frontend");
    host.disconnect("web-net", "frontend");
    until("healing", &mut controller, || is_on(&host, "frontend", "web-net"));
}

#[test]
fn pain_43_manifests_are_followed_without_a_restart_and_wrong_ones_change_nothing() {
    let (host, world) = shop();
    let mut controller = Controller::start(&world, &[]);
    until("convergence", &mut controller, || is_on(&host, "frontend", "web-net"));

    world.write(
        "manifests/broken.yaml",
        "apiVersion: landfall/v1\nkind: Destination\nmetadata: { name: x }\nspec: { servr: edge }\n",
    );
    controller.says("the last good ones stay in force");
    host.disconnect("web-net", "frontend");
    until("healing by the last good manifests", &mut controller, || is_on(&host, "frontend", "web-net"));

    let begun = Instant::now();
    std::fs::remove_file(world.path().join("manifests/broken.yaml")).unwrap();
    world.write(
        "manifests/more.yaml",
        "apiVersion: landfall/v1\nkind: Destination\nmetadata: { name: more, namespace: shop }\nspec: { server: infra/edge, network: { name: more-net } }\n",
    );
    until("a new destination", &mut controller, || host.network_ids("more-net").len() == 1);

    // Undeclared: removed, since nothing but the proxy is on it.
    std::fs::remove_file(world.path().join("manifests/more.yaml")).unwrap();
    until("pruning", &mut controller, || host.network_ids("more-net").is_empty());

    assert!(begun.elapsed() < TOLD, "the files are not watched: {:?}", begun.elapsed());

    // Everything gone is no wish to have everything removed.
    std::fs::remove_file(world.path().join("manifests/all.yaml")).unwrap();
    controller.says("the last good ones stay in force");
    assert!(is_on(&host, "frontend", "web-net"));
    assert_eq!(host.network_ids("data-net").len(), 1);
}

#[test]
fn a_deletion_beside_the_controller_is_not_undone_halfway_and_says_what_comes_back() {
    let (host, world) = shop();
    let mut controller = Controller::start(&world, &[]);
    let converged = || is_on(&host, "frontend", "web-net") && is_on(&host, "traefik", "web-net");
    until("convergence", &mut controller, converged);
    let before = host.network_ids("web-net");

    let ran = world.run("delete destination web -n shop --force --yes").expect(0);
    assert!(ran.to_string().contains("`landfall run`, which looks after it, makes it again at once"), "{ran}");
    assert!(!ran.to_string().contains("failed"), "{ran}");
    until("the destination again", &mut controller, || {
        let ids = host.network_ids("web-net");
        ids.len() == 1 && ids != before
    });
    // Nothing is left suspended. The force has stopped `frontend`, so there is another one.
    host.container("frontend-2").label("app", "frontend").running();
    world.run("wait destination/web -n shop --for condition=Ready --timeout 60s").expect(0);
    let ran = world.run("get destination web -n shop -o json").expect(0);
    assert!(!ran.to_string().contains("Suspended"), "{ran}");
}

#[test]
fn a_file_that_is_away_for_a_moment_deletes_nothing_and_one_that_stays_away_does() {
    let (host, world) = shop();
    world.write(
        "manifests/more.yaml",
        "apiVersion: landfall/v1\nkind: Destination\nmetadata: { name: more, namespace: shop }\nspec: { server: infra/edge, network: { name: more-net } }\n",
    );
    let mut controller = Controller::start(&world, &[]);
    until("convergence", &mut controller, || {
        host.network_ids("more-net").len() == 1 && is_on(&host, "frontend", "web-net")
    });
    let before = host.network_ids("more-net");
    let (there, away) = (world.path().join("manifests/more.yaml"), world.path().join("more.yaml"));

    std::fs::rename(&there, &away).unwrap();
    controller.says("the files do not declare these objects any more");
    std::fs::rename(&away, &there).unwrap();
    // What is healed after it was back was healed by a pass that could have pruned.
    host.disconnect("web-net", "frontend");
    until("a repair", &mut controller, || is_on(&host, "frontend", "web-net"));
    world.write(
        "manifests/other.yaml",
        "apiVersion: landfall/v1\nkind: Destination\nmetadata: { name: other, namespace: shop }\nspec: { server: infra/edge, network: { name: other-net } }\n",
    );
    until("a reading after it was back", &mut controller, || host.network_ids("other-net").len() == 1);
    assert_eq!(host.network_ids("more-net"), before, "it was away for a moment only");

    std::fs::remove_file(&there).unwrap();
    until("pruning", &mut controller, || host.network_ids("more-net").is_empty());
    assert_eq!(host.network_ids("other-net").len(), 1);
}

/// In a user namespace of its own that allows no inotify instance, the files cannot be watched.
#[test]
fn files_that_cannot_be_watched_are_compared_instead() {
    let (host, world) = shop();
    let plain = command();
    let mut command = std::process::Command::new("unshare");
    command.env_clear().envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.args(["--user", "--map-root-user", "sh", "-c"]);
    command.arg("echo 0 > /proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"").arg(plain.get_program());
    let mut controller = Controller::spawn(&world, command, &[]);
    controller.says("the manifests cannot be watched");
    world.write(
        "manifests/more.yaml",
        "apiVersion: landfall/v1\nkind: Destination\nmetadata: { name: more, namespace: shop }\nspec: { server: infra/edge, network: { name: more-net } }\n",
    );
    until("a new destination", &mut controller, || host.network_ids("more-net").len() == 1);
}

#[test]
fn a_deletion_that_is_blocked_goes_on_when_the_last_blocker_leaves() {
    let (host, world) = shop();
    world.write(
        "manifests/old.yaml",
        "apiVersion: landfall/v1\nkind: Destination\nmetadata: { name: old, namespace: shop }\nspec: { server: infra/edge, network: { name: old-net } }\n",
    );
    let mut controller = Controller::start(&world, &[]);
    until("convergence", &mut controller, || host.network_ids("old-net").len() == 1);
    host.container("job").network("old-net").exited();
    std::fs::remove_file(world.path().join("manifests/old.yaml")).unwrap();
    controller.says("manifests read");
    controller.says("refused: You must delete all resources before deleting this destination.");
    host.disconnect("web-net", "frontend");
    until("another repair", &mut controller, || is_on(&host, "frontend", "web-net"));
    assert_eq!(host.network_ids("old-net").len(), 1, "a stopped container needs it");
    host.remove_container("job");
    until("the deletion", &mut controller, || host.network_ids("old-net").is_empty());
}

#[test]
fn one_controller_a_set_on_one_machine() {
    let (_host, world) = shop();
    let mut first = Controller::start(&world, &[]);
    first.says("manifests read");
    let mut second = Controller::start(&world, &[]);
    second.says("keeps the set");
    second.says(&format!("process {}", first.child.id()));
    assert_eq!(second.ended(), 2);
    let mut rest = String::new();
    let _ = second.child.stdout.take().map(|mut out| out.read_to_string(&mut rest));
    assert_eq!(rest, "");
}
