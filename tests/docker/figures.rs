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
    let events = world.run("events -o json").expect(0).json();
    let items = events["items"].as_array().unwrap_or_else(|| panic!("{events}"));
    let message = |it: &Value| text(&it["message"]).trim_start_matches(['+', '-', '~', ' ']).to_owned();
    let done = |what: &str| items.iter().filter(|it| message(it).starts_with(what)).count();
    let (made, gone) = (done("create network"), done("remove network") + done("disconnect "));
    assert!(made >= 2, "{events}");
    wrong += made - 2 + gone;
    figure(&format!(
        "{rounds} restarts each of a manager and a worker under `run`: {wrong} wrong operations ({made} networks made, {gone} removals and disconnections, {} repairs by connecting)",
        done("connect ").saturating_sub(2)
    ));
    assert_eq!(wrong, 0);
}

fn service(host: &Host, name: &str, replicas: u64, action: &str) -> Value {
    let spec = json!({
        "Name": name, "Mode": { "Replicated": { "Replicas": replicas } }, "EndpointSpec": { "Mode": "dnsrr" },
        "UpdateConfig": { "Parallelism": 1, "Order": "stop-first", "Monitor": 10_000_000_000_u64, "FailureAction": action },
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": IMAGE, "Command": ["/bin/sh", "-c", "trap exit TERM; while :; do sleep 0.1; done"],
                "StopGracePeriod": 2_000_000_000_u64
            },
            "RestartPolicy": { "Condition": "any", "Delay": 1_000_000 }
        }
    });
    host.post("/services/create", spec);
    host.get(&format!("/services/{name}"))["Spec"].clone()
}

fn running(host: &Host, service: &str) -> usize {
    let id = text(&host.get(&format!("/services/{service}"))["ID"]);
    let path = format!("/tasks?filters=%7B%22service%22%3A%5B%22{id}%22%5D%7D");
    host.get(&path).as_array().unwrap().iter().filter(|task| task["Status"]["State"] == "running").count()
}

fn state(host: &Host, service: &str) -> String {
    host.get(&format!("/services/{service}"))["UpdateStatus"]["State"].as_str().unwrap_or_default().to_owned()
}

/// Runs `act` while the service's tasks are counted ten times a second, and gives the fewest.
fn fewest(host: &Host, service: &str, act: impl FnOnce()) -> (usize, usize) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counted = scope.spawn(|| {
            let (mut fewest, mut counts) = (usize::MAX, 0);
            while !stop.load(Ordering::Relaxed) {
                fewest = fewest.min(running(host, service));
                counts += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            (fewest, counts)
        });
        // Also where it panics: the other thread would count for ever.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        stop.store(true, Ordering::Relaxed);
        let counted = counted.join().unwrap();
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
        counted
    })
}

#[test]
fn five_networks_are_attached_to_a_service_of_four_in_one_rollout() {
    let host = Host::start();
    host.swarm_init();
    host.import_image(IMAGE, &[]);
    service(&host, "edge", 4, "pause");
    wait_for("the tasks run", || (running(&host, "edge") == 4).then_some(()));
    let networks: String = (1..=5)
        .map(|number| destination(&format!("d{number}"), "m1", &format!("network: {{ name: net-{number} }}")))
        .collect();
    let server = server("m1", &host).replace("allowedNamespaces", "proxy: { service: edge }, allowedNamespaces");
    let world = World::new(&(server + &networks));
    let (fewest, counts) = fewest(&host, "edge", || {
        world.run("apply --yes").expect(0);
        wait_for_at_most(Duration::from_secs(120), "the rollout is over", || {
            (state(&host, "edge") == "completed").then_some(())
        });
    });
    figure(&format!(
        "5 networks attached to a service of 4: fewest running tasks {fewest} ({counts} counts, one each 100 ms)"
    ));
    assert!(fewest >= 3, "{fewest} tasks ran");
}

/// The definition that fails is rolled back by Swarm, with Landfall's `apply` each second or without.
#[test]
fn rollouts_that_fail_end_with_landfall_as_they_do_without() {
    let host = Host::start();
    host.swarm_init();
    host.import_image(IMAGE, &[]);
    let ends = |name: &str, world: Option<&World>| {
        let seen = host.get(&format!("/services/{name}"));
        let mut spec = seen["Spec"].clone();
        spec["TaskTemplate"]["ContainerSpec"]["Command"] = json!(["/bin/sh", "-c", "exit 1"]);
        host.post(&format!("/services/{name}/update?version={}", seen["Version"]["Index"]), spec);
        let deadline = Instant::now() + Duration::from_secs(120);
        let mut last = Instant::now();
        while state(&host, name) != "rollback_completed" || running(&host, name) < 3 {
            if Instant::now() > deadline {
                return Err(format!("{} with {} tasks", state(&host, name), running(&host, name)));
            }
            if let Some(world) = world {
                let applied = world.run("apply --yes");
                // The rollback is over: now it is Landfall's turn.
                if applied.stdout.contains("update service") {
                    break;
                }
                assert!(applied.stdout.contains("RolloutInProgress"), "{applied}");
            }
            std::thread::sleep(Duration::from_secs(1).saturating_sub(last.elapsed()));
            last = Instant::now();
        }
        wait_for_at_most(Duration::from_secs(120), "everything is over", || {
            (state(&host, name).ends_with("completed") && running(&host, name) == 3).then_some(())
        });
        let spec = host.get(&format!("/services/{name}"))["Spec"]["TaskTemplate"]["ContainerSpec"]["Command"].clone();
        Ok((spec, running(&host, name)))
    };
    let rounds = rounds(1);
    let (mut same, mut otherwise) = (0, Vec::new());
    let good = json!(["/bin/sh", "-c", "trap exit TERM; while :; do sleep 0.1; done"]);
    for round in 0..rounds {
        let (alone, tended) = (format!("alone-{round}"), format!("tended-{round}"));
        for name in [&alone, &tended] {
            service(&host, name, 3, "rollback");
            wait_for("the tasks run", || (running(&host, name) == 3).then_some(()));
        }
        let without = ends(&alone, None);
        // There is something to do about the service all the time.
        let manifests = server("m1", &host)
            + &destination("web", "m1", &format!("network: {{ name: net-{round} }}"))
            + &application(&tended, "web")
                .replace(&format!("names: [{tended}]"), &format!("swarmServices: [{tended}]"));
        let world = World::new(&manifests);
        let with = ends(&tended, Some(&world));
        // Swarm by itself does not always come to an end in time: that says nothing of Landfall.
        match without == Ok((good.clone(), 3)) {
            // That `apply` changed nothing until the rollback was over is asserted for each: what keeps it from ending is Swarm's as well.
            true if with.is_err() => otherwise.push(format!("without {without:?}, with {with:?}")),
            true => {
                same += usize::from(with == without);
                assert_eq!(with, without, "round {round}");
            }
            false => otherwise.push(format!("without {without:?}, with {with:?}")),
        }
        for name in [&alone, &tended] {
            host.delete(&format!("/services/{name}"));
        }
    }
    figure(&format!(
        "{rounds} rollouts with automatic rollback while `apply` runs each second: {same} end as without, and {} are not compared, for Swarm \
         by itself did not end with the former definition: {otherwise:?}",
        otherwise.len()
    ));
    assert_eq!(same + otherwise.len(), rounds);
    assert!(same > 0, "nothing was compared");
}

/// `docker stack deploy` writes the definition anew, without the network: Landfall puts it back when the rollout of each is over, and never into it.
#[test]
fn stack_deployments_and_landfall_do_not_take_a_service_down_between_them() {
    let host = Host::start();
    host.swarm_init();
    host.import_image(IMAGE, &[]);
    service(&host, "shop_api", 2, "pause");
    wait_for("the tasks run", || (running(&host, "shop_api") == 2).then_some(()));
    let manifests = server("m1", &host)
        + &destination("web", "m1", "network: { name: web-net }")
        + &application("api", "web").replace("names: [api]", "swarmServices: [shop_api]");
    let world = World::new(&manifests);
    let mut controller = Controller::start(&world, &[]);
    let on = || {
        host.get("/services/shop_api")["Spec"]["TaskTemplate"]["Networks"].as_array().is_some_and(|it| !it.is_empty())
    };
    let over = || on() && state(&host, "shop_api") != "updating" && running(&host, "shop_api") == 2;
    until("convergence", &mut controller, over);
    let deployments = rounds(2).min(6);
    let (fewest, counts) = fewest(&host, "shop_api", || {
        for number in 0..deployments {
            let begun = Instant::now();
            wait_for("somebody else's update is taken", || {
                let seen = host.get("/services/shop_api");
                let mut spec = seen["Spec"].clone();
                spec["Labels"] = json!({ "com.docker.stack.namespace": "shop", "deployment": number.to_string() });
                spec["TaskTemplate"].as_object_mut().unwrap().remove("Networks");
                let path = format!("/services/shop_api/update?version={}", seen["Version"]["Index"]);
                (host.api("POST", &path, &spec).status == 200).then_some(())
            });
            std::thread::sleep(Duration::from_secs(9).saturating_sub(begun.elapsed()));
        }
        until("everything is over", &mut controller, over);
    });
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
    if deployments >= 6 {
        let events = world.run("events -o json").expect(0).stdout;
        for expected in [
            "\"Contended\"",
            "the Swarm service shop_api on web-net",
            "in the stack file: `networks: { web-net: { external: true } }`",
        ] {
            assert!(events.contains(expected), "{expected} is not in {events}");
        }
    }
    let told = world.run("diff").expect(0);
    assert!(told.stdout.contains("(StackFileLacks)") && told.stdout.contains("external: true"), "{told}");
    figure(&format!(
        "{deployments} stack deployments, one each 9 s, under `run`: fewest running tasks of 2: {fewest} ({counts} counts)"
    ));
    assert!(fewest >= 1, "{fewest} tasks ran");
}
