//! The commands against real Swarms: what one node shows is what its managers know.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::controller::{Controller, until};
use crate::cli::world::World;
use crate::support::host::text;
use crate::support::{Cluster, Host, wait_for, wait_for_at_most};

fn server(name: &str, host: &Host) -> String {
    format!(
        "---\napiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: {name}, namespace: infra }}\n\
         spec: {{ endpoint: {}, allowedNamespaces: ['*'] }}\n",
        host.endpoint()
    )
}

fn destination(name: &str, server: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name}, namespace: shop }}\n\
         spec: {{ server: infra/{server}, {spec} }}\n"
    )
}

fn application(name: &str, destination: &str) -> String {
    format!(
        "---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: {name}, namespace: shop }}\n\
         spec: {{ destination: {destination}, containers: {{ names: [{name}] }} }}\n"
    )
}

fn node_of(host: &Host) -> String {
    text(&host.get("/info")["Swarm"]["NodeID"])
}

fn availability(manager: &Host, node: &Host, to: &str) {
    let id = node_of(node);
    wait_for("the managers take another availability", || {
        let seen = manager.get(&format!("/nodes/{id}"));
        let mut spec = seen["Spec"].clone();
        spec["Availability"] = json!(to);
        let path = format!("/nodes/{id}/update?version={}", seen["Version"]["Index"]);
        (manager.api("POST", &path, &spec).status == 200).then_some(())
    });
}

#[test]
fn what_a_worker_has_is_shown_scanned_and_in_the_way_of_a_deletion_alike() {
    let cluster = Cluster::start(2);
    let [m1, w1] = &cluster.nodes[..] else { unreachable!() };
    let servers = server("m1", m1) + &server("w1", w1);
    let web =
        destination("web", "m1", "network: { name: web-net, subnets: [{ subnet: 10.42.0.0/24 }], encrypted: true }");
    let world = World::new(&(servers.clone() + &web));
    world.run("apply --yes").expect(0);
    w1.container("app").network("web-net").running();

    let drift = world.run("drift -o json").expect(0).json();
    let unmanaged: Vec<String> = drift["unmanaged"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{} {}", text(&it["server"]), text(&it["name"])))
        .collect();
    assert_eq!(unmanaged, ["infra/w1 app"], "{drift}");
    let described = world.run("describe destination web -n shop").expect(0);
    assert!(described.stdout.contains("Deletion blocked by:\n  Container app, running, on infra/w1\n"), "{described}");
    let refused = world.run("delete destination web -n shop --yes").expect(3);
    assert!(refused.stdout.contains("Container app, running, on infra/w1"), "{refused}");

    // What is written adopts, as the documentation has it, and is all that there is to say.
    let scanned = world.run("scan infra/w1 -n shop").expect(0);
    assert!(scanned.stdout.contains("adopt: true") && scanned.stdout.contains("name: web-w1"), "{scanned}");
    assert!(!scanned.stdout.contains("encrypted"), "{scanned}");
    world.write("manifests/scanned.yaml", &scanned.stdout);
    world.run("diff").expect(0);
    let drift = world.run("drift -o json").expect(0).json();
    assert_eq!(drift["unmanaged"], json!([]), "{drift}");
    // Adopted, it is forgotten and not removed: so says whoever describes it.
    let described = world.run("describe destination web-w1 -n shop").expect(0);
    assert!(!described.stdout.contains("nothing stands in the way"), "{described}");
    let again = world.run("scan infra/w1 -n shop").expect(0);
    assert!(!again.stdout.contains("kind: Destination"), "{again}");

    // An overlay over the addresses of the nodes, and over a bridge of one.
    w1.create_network_with(json!({ "Name": "local-net", "IPAM": { "Config": [{ "Subnet": "10.44.0.0/24" }] } }));
    let taken = w1.address();
    for (subnet, why) in [
        (format!("{taken}/24").replace(&format!(".{}/", taken.octets()[3]), ".0/"), "contains"),
        ("10.44.0.0/16".to_owned(), "overlaps 10.44.0.0/24 of the network \"local-net\" on Server/infra/w1"),
    ] {
        let other =
            destination("other", "w1", &format!("network: {{ name: other-net, subnets: [{{ subnet: {subnet} }}] }}"));
        world.write("manifests/other.yaml", &other);
        let refused = world.run("apply --yes").expect(3);
        assert!(refused.stdout.contains("SubnetOverlap") && refused.stdout.contains(why), "{refused}");
        assert_eq!(m1.network_ids("other-net"), [""; 0]);
    }
    // Made on a worker, by way of the manager that the plan names.
    world.write("manifests/other.yaml", &destination("other", "w1", "network: { name: other-net }"));
    let planned = world.run("diff").expect(1);
    assert!(planned.stdout.contains("by way of infra/m1"), "{planned}");
    // Of another cluster's address space nothing is known; of this one's, the second of two is refused.
    let both = destination("a", "m1", "network: { name: a-net, subnets: [{ subnet: 10.45.0.0/24 }] }")
        + &destination("b", "w1", "network: { name: b-net, subnets: [{ subnet: 10.45.0.0/25 }] }");
    world.write("manifests/other.yaml", &both);
    let refused = world.run("apply --yes").expect(3);
    assert_eq!(refused.stdout.matches("(SubnetOverlap)").count(), 1, "{refused}");
    assert_eq!((m1.network_ids("a-net").len(), m1.network_ids("b-net").len()), (1, 0));
}

#[test]
fn a_node_that_takes_no_tasks_is_refused_in_the_plan_and_not_tried_for_twenty_seconds() {
    let cluster = Cluster::start(2);
    let [m1, w1] = &cluster.nodes[..] else { unreachable!() };
    let manifests = server("m1", m1)
        + &server("w1", w1)
        + &destination("web", "w1", "network: { name: web-net }")
        + &application("made", "web")
        + &application("app", "web");
    let world = World::new(&manifests);
    w1.container("made").created();
    w1.container("app").running();
    for to in ["drain", "pause"] {
        availability(m1, w1, to);
        let begun = Instant::now();
        let refused = world.run("apply --yes").expect(3);
        assert_eq!(refused.stdout.matches("(NodeUnavailable)").count(), 2, "{refused}");
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}\n{refused}", begun.elapsed());
        assert_eq!(w1.networks_of("made"), ["bridge"]);
    }
    availability(m1, w1, "active");
    world.run("apply --yes").expect(0);
    assert_eq!(w1.networks_of("made"), ["bridge", "web-net"]);
    assert_eq!(world.run("diff").expect(0).stdout.matches("NodeUnavailable").count(), 0);
    // Whoever is there, started or not, is in the way of a deletion: of the plan, and before any call.
    w1.container("by-hand").network("web-net").created();
    for to in ["drain", "active"] {
        availability(m1, w1, to);
        let refused = world.run("delete destination web -n shop --yes").expect(3);
        assert!(refused.stdout.contains("Container by-hand, created"), "{refused}");
    }
}

#[test]
fn a_container_on_a_node_that_is_down_and_declared_by_nobody_keeps_its_network() {
    let cluster = Cluster::start(2);
    let [m1, w1] = &cluster.nodes[..] else { unreachable!() };
    let world = World::new(&(server("m1", m1) + &destination("web", "m1", "network: { name: web-net }")));
    world.run("apply --yes").expect(0);
    let app = w1.container("app").network("web-net").running();
    let refused = world.run("delete destination web -n shop --yes").expect(3);
    let on = format!("Container {}, on the node {}", &app[..12], w1.name());
    assert!(refused.stdout.contains(&format!("{on}, which was not looked at")), "{refused}");
    let id = node_of(w1);
    w1.kill_daemon();
    wait_for_at_most(Duration::from_secs(120), "the managers miss the node", || {
        (m1.get(&format!("/nodes/{id}"))["Status"]["State"] == "down").then_some(())
    });
    for force in ["", " --force"] {
        let refused = world.run(&format!("delete destination web -n shop --yes{force}")).expect(3);
        assert!(refused.stdout.contains(&format!("{on}, which is down")), "{refused}");
        assert!(refused.stdout.contains("docker node rm --force NODE"), "{refused}");
    }
    let described = world.run("describe destination web -n shop").expect(0);
    assert!(described.stdout.contains(&format!("{on}, which is down")), "{described}");
    // The hint leads somewhere.
    m1.delete(&format!("/nodes/{id}?force=true"));
    wait_for("the Swarm has forgotten the node's containers", || {
        (world.run("delete destination web -n shop --yes").code == 0).then_some(())
    });
    assert_eq!(m1.network_ids("web-net"), [""; 0]);
}

#[test]
fn a_swarm_without_addresses_says_so_each_time() {
    let host = Host::start();
    let body = json!({
        "ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1", "DefaultAddrPool": ["10.77.0.0/24"], "SubnetSize": 25
    });
    host.post("/swarm/init", body);
    host.container("app").running();
    let web = |number: u32| destination(&format!("d{number}"), "m1", &format!("network: {{ name: net-{number} }}"));
    let world = World::new(&(server("m1", &host) + &web(1)));
    world.run("apply --yes").expect(0);
    world.write("manifests/more.yaml", &(web(2) + &application("app", "d2")));
    let failed = world.run("apply --yes").expect(2);
    assert!(failed.stdout.contains("AddressPoolExhausted"), "{failed}");
    for command in ["diff", "apply --yes"] {
        let refused = world.run(command).expect(3);
        assert!(refused.stdout.contains("no addresses. (AddressPoolExhausted)"), "{refused}");
        assert!(
            !refused.to_string().contains("Nothing to do") && !refused.to_string().contains("No differences"),
            "{refused}"
        );
    }
    assert_eq!(host.networks_of("app"), ["bridge"]);
    // Room again.
    host.remove_network("net-1");
    world.write("manifests/all.yaml", &server("m1", &host));
    wait_for("the Swarm gives the network addresses", || (world.run("apply --yes").code == 0).then_some(()));
    assert_eq!(host.networks_of("app"), ["bridge", "net-2"]);
}

#[test]
fn managers_that_cannot_manage_are_shown_as_what_they_are() {
    let cluster = Cluster::start(2);
    let [m1, m2] = &cluster.nodes[..] else { unreachable!() };
    cluster.promote(m2);
    let manifests = server("m1", m1)
        + &server("m2", m2)
        + &destination("web", "m1", "network: { name: web-net }")
        + &destination("own", "m2", "network: { name: own-net }")
        + &application("app", "web");
    let world = World::new(&manifests);
    m1.container("app").running();
    world.run("apply --yes").expect(0);
    m2.kill_daemon();
    wait_for_at_most(Duration::from_secs(60), "the manager that is left notices", || {
        let cluster = &m1.get("/info")["Swarm"]["Cluster"];
        (cluster.is_null() || cluster["ID"] == "").then_some(())
    });
    let ready = |object: &Value| {
        let conditions = object["status"]["conditions"].as_array().unwrap();
        let ready = conditions.iter().find(|it| it["type"] == "Ready").unwrap();
        format!("{} {}", text(&ready["status"]), text(&ready["reason"]))
    };
    let get = |what: &str, code: i32| world.run(&format!("get {what} -o json")).expect(code).json();
    let seen = get("server m1 -n infra", 0);
    assert_eq!(
        (&seen["status"]["type"], ready(&seen).as_str()),
        (&json!("leaderless"), "Unknown NotASwarmManager"),
        "{seen}"
    );
    assert_eq!(ready(&get("destination web -n shop", 0)), "Unknown NotASwarmManager");
    let described = world.run("describe destination web -n shop").expect(0);
    assert!(described.stdout.contains("web-net (unknown)"), "{described}");
    assert!(described.stdout.contains("refused: The Swarm that Server/infra/m1 is part of"), "{described}");
    let drift = world.run("drift -o json").json();
    assert_eq!(drift["unmanaged"], json!([]), "{drift}");

    m2.start_daemon();
    wait_for_at_most(Duration::from_secs(60), "there is a leader again", || {
        (world.run("diff").code == 0).then_some(())
    });
    assert_eq!(ready(&get("server m1 -n infra", 0)), "True Reachable");
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
    let mut controller = Controller::start(&world, &["-v"]);
    let on = |host: &Host, name: &str, network: &str| host.networks_of(name).contains(&network.to_owned());
    until("convergence", &mut controller, || on(m1, "front", "web-net") && on(w1, "app", "own-net"));
    let before = [m1.network_ids("web-net"), m1.network_ids("own-net")];
    for host in [m1, w1] {
        host.restart_daemon();
        wait_for_at_most(Duration::from_secs(60), "the node takes part again", || {
            let swarm = &host.get("/info")["Swarm"];
            (swarm["LocalNodeState"] == "active").then_some(())
        });
        until("healing", &mut controller, || on(m1, "front", "web-net") && on(w1, "app", "own-net"));
    }
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
    assert_eq!([m1.network_ids("web-net"), m1.network_ids("own-net")], before);
    for host in [m1, w1] {
        let networks = host.get("/networks");
        let bridges = networks.as_array().unwrap().iter().filter(|it| it["Driver"] == "bridge");
        let bridges: Vec<String> = bridges.map(|it| text(&it["Name"])).collect();
        assert!(bridges.iter().all(|name| name == "bridge" || name == "docker_gwbridge"), "{bridges:?}");
    }
}
