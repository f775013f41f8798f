//! What is remembered of a real daemon: by a controller over its restarts, by `apply`, and by whoever waits or watches.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use super::controller::{Controller, until};
use super::keep::{is_on, shop};
use crate::cli::run::command;
use crate::cli::world::{World, server};
use crate::support::{Host, wait_for};

fn ready(world: &World) -> Value {
    let object = world.run("get destination web -o json").json();
    object["status"]["conditions"].as_array().unwrap().iter().find(|it| it["type"] == "Ready").unwrap().clone()
}

#[test]
fn rule_17_conditions_keep_their_time_and_generation_over_restarts_of_the_controller() {
    let (host, world) = shop();
    assert_eq!(ready(&world)["lastTransitionTime"], Value::Null, "nobody has recorded any");
    let mut controller = Controller::start(&world, &[]);
    let met = world.run("wait destination/web --for=condition=Ready --timeout 60s").expect(0);
    assert_eq!(met.stdout, "destination/web condition met\n");
    let recorded = || Some(ready(&world)).filter(|it| it["lastTransitionTime"].is_string() && it["status"] == "True");
    let first = wait_for("the record of it", recorded);
    assert_eq!(first["observedGeneration"], json!(1));

    // Healed, and written down.
    host.disconnect("web-net", "traefik");
    until("healing", &mut controller, || is_on(&host, "traefik", "web-net"));
    wait_for("the event", || {
        let events = world.run("events --for destination/web -o json").json();
        let all = events["items"].as_array().unwrap().clone();
        // The deed comes before what was done about it, by the daemon's time.
        let deed = all.iter().position(|it| it["message"] == "traefik was disconnected from web-net.")?;
        assert_eq!((&all[deed]["reason"], &all[deed]["type"]), (&json!("Disconnected"), &json!("Warning")));
        let time = |it: &Value| it["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let repair = all[deed..].iter().find(|it| it["reason"] == "ProxyDetached")?;
        assert!(time(&all[deed]) <= time(repair), "{all:#?}");
        (all.iter().filter(|it| it["reason"] == "ProxyDetached").count() >= 2).then_some(())
    });
    let history = world.run("history -o json").expect(0).json();
    let last = history["items"].as_array().unwrap().last().unwrap()["pass"].to_string();
    let page = world.run(&format!("history {last}")).expect(0).stdout;
    assert!(page.contains("ConnectEndpoint") && page.contains("traefik"), "{page}");
    world.run("wait destination/web --for=condition=Ready --timeout 60s").expect(0);
    let before = wait_for("the record of it", recorded);

    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
    assert_eq!(ready(&world), before, "without the controller");
    let mut controller = Controller::start(&world, &[]);
    controller.says("manifests read");
    controller.signal("HUP");
    // Another form of the manifest: the next generation, seen by the controller.
    let text = std::fs::read_to_string(world.path().join("manifests/all.yaml")).unwrap();
    world.write("manifests/all.yaml", &text.replace("name: web-net,", "name: web-net, labels: {},"));
    controller.says("manifests read");
    let text = text.replace(
        "server: infra/edge\n  network: { name: web-net",
        "server: infra/edge\n  displayName: Web\n  network: { name: web-net",
    );
    world.write("manifests/all.yaml", &text);
    let after = wait_for("the next generation", || {
        Some(ready(&world)).filter(|it| it["observedGeneration"].as_u64() > before["observedGeneration"].as_u64())
    });
    assert_eq!((&after["status"], &after["lastTransitionTime"]), (&before["status"], &before["lastTransitionTime"]));
    let page = world.run("describe destination web").expect(0);
    assert!(page.stdout.contains("SINCE"), "{page}");
}

pub(super) struct Watching {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Watching {
    pub(super) fn start(world: &World, arguments: &[&str]) -> Self {
        let mut command = command();
        command.current_dir(world.path()).env("XDG_STATE_HOME", world.path().join("state")).args(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads until a line holds all of `words`. The runner's timeout ends a wait in vain.
    pub(super) fn reads(&mut self, words: &[&str]) {
        let found = self.lines.by_ref().map_while(Result::ok).any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "it ended without {words:?}");
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn with_a_controller_watching_shows_what_it_heals_and_what_it_says() {
    let (host, world) = shop();
    let mut controller = Controller::start(&world, &[]);
    world.run("wait destination/web --for=condition=Ready --timeout 60s").expect(0);
    let mut watching = Watching::start(&world, &["get", "destinations", "-w"]);
    watching.reads(&["web", "web-net", "True"]);
    let mut events = Watching::start(&world, &["events", "-w", "--for", "destination/web"]);
    events.reads(&["web", "NetworkMissing"]);
    host.disconnect("web-net", "traefik");
    events.reads(&["web", "ProxyDetached"]);
    until("healing", &mut controller, || is_on(&host, "traefik", "web-net"));
    // It goes for good: what is seen of it is not ready until it is back.
    host.remove_container("frontend");
    watching.reads(&["web", "web-net", "False", "ContainerMissing"]);
    let ran = world.run("wait destination/web --for=condition=Ready --timeout 1s").expect(2);
    assert!(ran.stderr.contains("ContainerMissing"), "{ran}");
    host.container("frontend").running();
    watching.reads(&["web", "web-net", "True"]);
    world.run("wait destination/web --for=condition=Ready --timeout 60s").expect(0);
}

#[test]
fn without_a_controller_watching_and_waiting_look_for_themselves() {
    let (host, world) = shop();
    world.run("apply").expect(0);
    let mut watching = Watching::start(&world, &["get", "destinations", "-w"]);
    watching.reads(&["NAMESPACE", "NAME", "READY"]);
    watching.reads(&["web", "web-net", "True"]);
    host.disconnect("web-net", "frontend");
    watching.reads(&["web", "web-net", "False", "MemberDetached"]);

    let mut waiting = Watching::start(&world, &["wait", "destination/web", "--for=condition=Ready", "--timeout=60s"]);
    host.connect_with("web-net", "frontend", json!({ "Aliases": ["www"] }));
    waiting.reads(&["destination/web condition met"]);
    watching.reads(&["web", "web-net", "True"]);

    let mut gone = Watching::start(&world, &["wait", "destination/data", "--for=delete", "--timeout=60s"]);
    host.disconnect("data-net", "frontend");
    host.remove_network("data-net");
    gone.reads(&["destination/data condition met"]);
    // What `apply` did is on record as well.
    let history = world.run("history -o json").expect(0).json();
    assert_eq!(history["items"][0]["by"], json!("apply"));
    assert_eq!(
        world.run("wait destination/old -n shop --for=delete --timeout 0").expect(0).stdout,
        "destination/old condition met\n"
    );
}

fn destinations(names: &[&str], policy: &str) -> String {
    let one = |name: &&str| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name}, namespace: shop }}\n\
             spec: {{ server: infra/edge, network: {{ name: {name}-net }}, deletionPolicy: {policy} }}\n"
        )
    };
    names.iter().map(one).collect()
}

#[test]
fn a_mass_deletion_is_shown_and_approved() {
    let host = Host::start();
    let world = World::new(&(server(&host.endpoint()) + &destinations(&["a", "b", "c"], "Delete")));
    let mut controller = Controller::start(&world, &[]);
    until("convergence", &mut controller, || {
        ["a-net", "b-net", "c-net"].iter().all(|it| host.network_ids(it).len() == 1)
    });
    let nothing = world.run("approve").expect(0);
    assert!(nothing.stderr.contains("Nothing waits for an approval."), "{nothing}");
    world.write("manifests/all.yaml", &(server(&host.endpoint()) + &destinations(&["c"], "Delete")));
    controller.says("2 deletions wait for an approval");
    let refused = wait_for("what waits", || Some(world.run("approve")).filter(|ran| ran.code == 2));
    for said in ["infra/edge", "remove network a-net", "remove network b-net", "--yes"] {
        assert!(refused.stderr.contains(said), "{said}: {refused}");
    }
    assert!(world.run("approve 0123456789").expect(2).stderr.contains("nothing that waits has the fingerprint"));
    world.run("approve --yes").expect(0);
    until("the deletions", &mut controller, || ["a-net", "b-net"].iter().all(|it| host.network_ids(it).is_empty()));
    assert_eq!(host.network_ids("c-net").len(), 1);
    wait_for("nothing waiting", || world.run("approve").stderr.contains("Nothing waits").then_some(()));
}

/// The containers go in the other lane than their network: both go on the one approval, the containers first.
#[test]
fn an_approval_holds_for_containers_and_for_the_network_that_they_are_on() {
    let host = Host::start();
    // Makes the image.
    let _ = host.container("none");
    let application = |number: usize| {
        format!(
            "---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: app{number}, namespace: shop }}
spec: {{ destination: a, image: 'landfall/busybox:test', command: [sleep, '1000000'], stopSignal: SIGKILL, stopGracePeriodSeconds: 1 }}
"
        )
    };
    let all: String = (0..6).map(application).collect();
    let world = World::new(&(server(&host.endpoint()) + &destinations(&["a"], "Delete") + &all));
    let mut controller = Controller::start(&world, &[]);
    let containers = || super::workloads::names(&host).into_iter().filter(|name| name.starts_with("shop-app")).count();
    until("convergence", &mut controller, || containers() == 6);
    world.run("wait application --all --for condition=Ready --timeout 60s").expect(0);
    world.write("manifests/all.yaml", &server(&host.endpoint()));
    controller.says("wait for an approval");
    world.run("approve --yes").expect(0);
    until("the deletions", &mut controller, || host.network_ids("a-net").is_empty() && containers() == 0);
    wait_for("nothing waiting", || world.run("approve").stderr.contains("Nothing waits").then_some(()));
}

/// The label on the network was given at creation and says Delete.
#[test]
fn rule_05_a_policy_declared_since_is_remembered_when_its_manifest_is_gone() {
    let host = Host::start();
    let declare = |world: &World, text: &str| world.write("manifests/all.yaml", &(server(&host.endpoint()) + text));
    let world = World::new(&(server(&host.endpoint()) + &destinations(&["a", "b"], "Delete")));
    world.run("apply").expect(0);
    declare(&world, &(destinations(&["a"], "Delete") + &destinations(&["b"], "Orphan")));
    world.run("apply").expect(0);
    declare(&world, &destinations(&["a"], "Delete"));
    let applied = world.run("apply --prune --yes").expect(0);
    assert!(applied.stdout.contains("Orphan"), "{applied}");
    assert_eq!(host.network_ids("b-net").len(), 1);
    // Declared again as Delete, it is that.
    declare(&world, &destinations(&["a", "b"], "Delete"));
    world.run("apply").expect(0);
    declare(&world, &destinations(&["a"], "Delete"));
    world.run("apply --prune --yes").expect(0);
    assert!(host.network_ids("b-net").is_empty());
}
