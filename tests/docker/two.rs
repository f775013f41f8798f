//! Two controllers on different machines, with the same manifests and the same server: neither fights the other.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::controller::{Controller, until};
use super::keep::{is_on, shop};
use crate::cli::world::World;
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
