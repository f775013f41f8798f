//! Figures of a Swarm under a controller, by counting: a sample with every run of the tests, as many rounds as `SWARM_ROUNDS` says from
//! `scripts/swarm`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cluster::{application, destination, server};
use super::controller::{Controller, until};
use crate::cli::world::World;
use crate::support::host::{IMAGE, text};
use crate::support::{Cluster, Host, wait_for, wait_for_at_most};

fn rounds(sample: usize) -> usize {
    std::env::var("SWARM_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(sample)
}

/// For `scripts/swarm`, which prints these lines.
fn figure(text: &str) {
    eprintln!("figure: {text}");
}

/// What differs from before in the networks of the host and in who is on them: no daemon that is going down or coming up may cause any.
fn picture(hosts: &[&Host]) -> Value {
    let of = |host: &&Host| {
        let networks = host.get("/networks");
        let networks =
            networks.as_array().unwrap().iter().filter(|it| it["Scope"] == "swarm" || it["Driver"] == "bridge");
        let mut networks: Vec<String> = networks
            .map(|it| format!("{} {} {}", text(&it["Name"]), text(&it["Scope"]), text(&it["Driver"])))
            .collect();
        networks.sort();
        networks
    };
    json!(hosts.iter().map(of).collect::<Vec<_>>())
}

/// A daemon that is going down, and one that is coming up, says what it is not. Nothing is made, removed or moved for that.
#[test]
fn restarts_of_daemons_under_run_leave_everything_as_it_was() {
    let cluster = Cluster::start(2);
    let [m1, w1] = &cluster.nodes[..] else { unreachable!() };
    let manifests = server("m1", m1)
        + &server("w1", w1)
        + &destination("web", "m1", "network: { name: web-net }")
        + &application("front", "web")
        + &destination("own", "w1", "network: { name: own-net }")
        + &application("app", "own");
    let world = World::new(&manifests);
    for (host, name) in [(m1, "front"), (w1, "app")] {
        host.container(name).restart("always").running();
    }
    let on = |host: &Host, name: &str, network: &str| {
        host.endpoint_of(name, network)["NetworkID"].as_str().is_some_and(|id| id.len() == 25)
    };
    let well = || on(m1, "front", "web-net") && on(w1, "app", "own-net");
    let mut controller = Controller::start(&world, &["-v"]);
    until("convergence", &mut controller, well);
    let (ids, before) = ([m1.network_ids("web-net"), m1.network_ids("own-net")], picture(&[m1, w1]));
    let (rounds, mut wrong) = (rounds(1), 0);
    for round in 0..rounds {
        for host in [m1, w1] {
            host.restart_daemon();
            wait_for_at_most(Duration::from_secs(120), "the node takes part again", || {
                (host.get("/info")["Swarm"]["LocalNodeState"] == "active").then_some(())
            });
            until("healing", &mut controller, well);
            wait_for("the Swarm knows its networks", || (m1.network_ids("web-net") == ids[0]).then_some(()));
            let after = picture(&[m1, w1]);
            if after != before || [m1.network_ids("web-net"), m1.network_ids("own-net")] != ids {
                wrong += 1;
                eprintln!("round {round}: {after}\nafter\n{before}");
            }
        }
    }
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
    // By the record of what was done, there was nothing to make but in the beginning, and nobody to be taken off.
    let told = world.run("diff").expect(0);
    assert!(told.stdout.contains("(StackFileLacks)") && told.stdout.contains("external: true"), "{told}");
    figure(&format!(
        "{deployments} stack deployments, one each 9 s, under `run`: fewest running tasks of 2: {fewest} ({counts} counts)"
    ));
    assert!(fewest >= 1, "{fewest} tasks ran");
}
