//! Two controllers with the same server: on different machines with the same manifests, and of two repositories. Neither fights the other.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::controller::{Controller, until};
use super::keep::{is_on, shop};
use crate::cli::world::{World, server};
use crate::support::Host;

/// Without anything happening: a fight would be a few operations a second.
const QUIET: Duration = Duration::from_secs(3);

fn operations(world: &World, state: &str) -> Vec<Value> {
    let history = world.run(&format!("history -o json --state {state}")).expect(0).json();
    let passes = history["items"].as_array().unwrap().clone();
    passes.iter().flat_map(|pass| pass["operations"].as_array().unwrap().clone()).collect()
}

fn churn(lasting: Duration) {
    let (host, world) = shop();
    host.container("orders").label("app", "orders").running();
    let states = ["one", "two"];
    // At the same moment, on a server with nothing on it: both make the networks.
    let mut controllers = states.map(|state| Controller::start(&world, &["--state", state]));
    let converged = |host: &Host| {
        [("traefik", "web-net"), ("frontend", "web-net"), ("frontend", "data-net"), ("orders", "data-net")]
            .iter()
            .all(|(container, network)| is_on(host, container, network))
    };
    for controller in &mut controllers {
        controller.says("manifests read");
    }
    until("convergence", &mut controllers[0], || converged(&host));
    let networks = || ["web-net", "data-net"].map(|name| host.network_ids(name));
    until("one network of each name", &mut controllers[0], || networks().iter().all(|ids| ids.len() == 1));
    let made = networks();

    let begun = Instant::now();
    let mut disturbed = 0;
    while begun.elapsed() < lasting {
        match disturbed % 4 {
            0 => host.disconnect("web-net", "traefik"),
            1 => host.disconnect("web-net", "frontend"),
            2 => host.disconnect("data-net", "orders"),
            _ => {
                host.remove_container("orders");
                host.container("orders").label("app", "orders").running();
            }
        }
        disturbed += 1;
        until("healing", &mut controllers[0], || converged(&host));
    }
    assert_eq!(networks(), made, "the networks are those of the beginning, and there are no others");

    let count = || states.map(|state| operations(&world, state).len());
    let settled = {
        let mut last = (count(), Instant::now());
        let deadline = Instant::now() + Duration::from_secs(60);
        while last.1.elapsed() < QUIET {
            assert!(Instant::now() < deadline, "they go on and on: {:?}", count());
            std::thread::sleep(Duration::from_millis(200));
            let now = count();
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        last.0
    };
    assert!(converged(&host));
    let all: Vec<Value> = states.iter().flat_map(|state| operations(&world, state)).collect();
    let of = |op: &str, outcome: &str| all.iter().filter(|it| it["op"] == op && it["outcome"] == outcome).count();
    let told = format!("{disturbed} disturbances, operations of each {settled:?}: {all:#?}");
    // One of the two heals, and the other finds it done or loses the race for it: never more than both once.
    assert!(all.len() <= 2 * (disturbed + 6), "{told}");
    assert!(of("ConnectEndpoint", "Done") >= disturbed, "{told}");
    assert_eq!(of("DisconnectEndpoint", "Done"), 0, "nobody takes away what the other has connected: {told}");
    assert!(of("RemoveNetwork", "Done") <= 2, "only a network made twice at the beginning goes again: {told}");
    for controller in &mut controllers {
        controller.signal("TERM");
        assert_eq!(controller.ended(), 0);
    }
}

#[test]
fn fact_18_two_controllers_do_no_harm() {
    churn(Duration::from_secs(12));
}

#[test]
#[ignore = "a minute of what the test above does for some seconds"]
fn fact_18_two_controllers_do_no_harm_for_a_minute() {
    churn(Duration::from_secs(60));
}

/// Two repositories that know nothing of each other, and one daemon: neither prunes what the other has made, whatever set they are.
#[test]
fn two_controllers_with_different_manifests_leave_each_others_networks() {
    let host = Host::start();
    host.container("traefik").running();
    let declared = |names: &[&str]| {
        let destination = |name: &&str| {
            format!(
                "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name} }}\nspec: {{ server: infra/edge, network: {{ name: {name}-net }} }}\n"
            )
        };
        server(&host.endpoint()) + &names.iter().map(destination).collect::<String>()
    };
    let worlds = [World::new(&declared(&["a", "b", "c"])), World::new(&declared(&["x", "y", "z"]))];
    let mut controllers = [0, 1].map(|at| Controller::start(&worlds[at], &[]));
    let there = |names: &[&str]| names.iter().all(|name| is_on(&host, "traefik", &format!("{name}-net")));
    until("convergence", &mut controllers[0], || there(&["a", "b", "c", "x", "y", "z"]));
    let removed = |world: &World| {
        let operations = operations(world, "state/landfall");
        operations.iter().filter(|it| it["op"] == "RemoveNetwork").map(|it| it["network"].clone()).collect::<Vec<_>>()
    };
    // Each looks at what the other has made, and again after its own manifests have changed.
    worlds[0].write("manifests/all.yaml", &declared(&["a", "b"]));
    until("removal", &mut controllers[0], || host.network_ids("c-net").is_empty());
    worlds[1].write("manifests/all.yaml", &declared(&["x", "y", "z", "w"]));
    until("creation", &mut controllers[1], || there(&["w"]));
    std::thread::sleep(QUIET);
    assert!(there(&["a", "b", "x", "y", "z", "w"]));
    assert_eq!(removed(&worlds[0]), ["c-net"]);
    assert_eq!(removed(&worlds[1]), [""; 0]);
    for controller in &mut controllers {
        controller.signal("TERM");
        assert_eq!(controller.ended(), 0);
    }
    // Who is at home in the manifests of another says so, and by name.
    let diff = worlds[0].run("diff -f manifests --prune").expect(0);
    assert!(diff.stdout.contains("was made from") && diff.stdout.contains("--source"), "{}", diff.stdout);
    let source = worlds[1].run("diff -f manifests --prune").expect(0);
    assert!(
        source.stdout.contains("The network \"a-net\" of Destination/default/a was made from"),
        "{}",
        source.stdout
    );
}
