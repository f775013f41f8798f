//! The commands against real Swarms: what one node shows is what its managers know.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::world::World;
use crate::support::faults::Faulty;
use crate::support::host::{IMAGE, text};
use crate::support::{Cluster, Host, wait_for, wait_for_at_most};

pub(super) fn server(name: &str, host: &Host) -> String {
    format!(
        "---\napiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: {name}, namespace: infra }}\n\
         spec: {{ endpoint: {}, allowedNamespaces: ['*'] }}\n",
        host.endpoint()
    )
}

pub(super) fn destination(name: &str, server: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name}, namespace: shop }}\n\
         spec: {{ server: infra/{server}, {spec} }}\n"
    )
}

pub(super) fn application(name: &str, destination: &str) -> String {
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
        let refused = world.run("apply --yes").expect(3);
        assert_eq!(refused.stdout.matches("(NodeUnavailable)").count(), 2, "{refused}");
        assert_eq!(w1.networks_of("made"), ["bridge"]);
    }
    availability(m1, w1, "active");
    // A node that is busy may be told late that it takes part again.
    wait_for_at_most(Duration::from_secs(120), "the node takes part again", || {
        (world.run("apply --yes").code == 0).then_some(())
    });
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
    wait_for_at_most(Duration::from_secs(120), "the Swarm has forgotten the node's containers", || {
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
    let faulty = Faulty::before(host.socket());
    let m1 = server("m1", &host).replace(&host.endpoint(), &faulty.endpoint());
    let world = World::new(&(m1.clone() + &web(1)));
    world.run("apply --yes").expect(0);
    world.write("manifests/more.yaml", &(web(2) + &application("app", "d2")));
    let failed = world.run("apply --yes").expect(2);
    assert!(failed.stdout.contains("AddressPoolExhausted"), "{failed}");
    for command in ["diff", "apply --yes"] {
        faulty.take_asked();
        let refused = world.run(command).expect(3);
        let lists = faulty.take_asked().iter().filter(|asked| asked.is("GET", "/networks")).count();
        assert!(lists <= 2, "a command waits for addresses that never come: {lists} lists");
        assert!(refused.stdout.contains("no addresses. (AddressPoolExhausted)"), "{refused}");
        assert!(
            !refused.to_string().contains("Nothing to do") && !refused.to_string().contains("No differences"),
            "{refused}"
        );
    }
    assert_eq!(host.networks_of("app"), ["bridge"]);
    // Room again.
    host.remove_network("net-1");
    world.write("manifests/all.yaml", &m1);
    wait_for_at_most(Duration::from_secs(120), "the Swarm gives the network addresses", || {
        (world.run("apply --yes").code == 0).then_some(())
    });
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
    wait_for_at_most(Duration::from_secs(120), "the manager that is left notices", || {
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
    wait_for_at_most(Duration::from_secs(120), "there is a leader again", || {
        (world.run("diff").code == 0).then_some(())
    });
    assert_eq!(ready(&get("server m1 -n infra", 0)), "True Reachable");
}

/// Everything about the server itself says that it is standalone, and nobody has a record: a manager has the network.
#[test]
fn a_node_that_has_left_its_swarm_gets_no_bridge_also_where_it_is_planned_for_alone() {
    let cluster = Cluster::start(2);
    let [m1, w1] = &cluster.nodes[..] else { unreachable!() };
    let own = destination("own", "w1", "network: { name: own-net }");
    let manifests =
        server("m1", m1) + &server("w1", w1) + &own.replace("metadata: {", "metadata: { labels: { on: w1 },");
    World::new(&manifests).run("apply --yes").expect(0);
    w1.post("/swarm/leave?force=true", Value::Null);
    wait_for("the node is none any more", || (w1.get("/info")["Swarm"]["LocalNodeState"] == "inactive").then_some(()));
    // From another machine: nothing is known of what was.
    let world = World::new(&manifests);
    let waits = world.run("apply --yes -l on=w1");
    assert!(waits.stdout.contains("Server/infra/m1 lists it") && waits.stdout.contains("(RoleChanged)"), "{waits}");
    assert_eq!((w1.network_ids("own-net").len(), m1.network_ids("own-net").len()), (0, 1));
    cluster.rejoin(w1);
    wait_for_at_most(Duration::from_secs(120), "the node is one again", || {
        (world.run("diff -l on=w1").code == 0).then_some(())
    });
}

fn service(host: &Host, name: &str, replicas: u64) {
    host.post(
        "/services/create",
        json!({
            "Name": name, "Mode": { "Replicated": { "Replicas": replicas } }, "EndpointSpec": { "Mode": "dnsrr" },
            "UpdateConfig": { "Parallelism": 1, "Monitor": 1_000_000 },
            "TaskTemplate": {
                "ContainerSpec": { "Image": IMAGE, "Command": ["/bin/sh", "-c", "trap exit TERM; while :; do sleep 0.1; done"] },
                "RestartPolicy": { "Condition": "any", "Delay": 1_000_000 }
            }
        }),
    );
}

fn running(host: &Host, service: &str) -> usize {
    let id = text(&host.get(&format!("/services/{service}"))["ID"]);
    let path = format!("/tasks?filters=%7B%22service%22%3A%5B%22{id}%22%5D%7D");
    host.get(&path).as_array().unwrap().iter().filter(|task| task["Status"]["State"] == "running").count()
}

#[test]
fn deactivation_and_exclusive_membership_with_services() {
    let host = Host::start();
    host.swarm_init();
    host.import_image(IMAGE, &[]);
    service(&host, "api", 3);
    service(&host, "stray", 1);
    let manifests = |active: bool| {
        let spec = format!("network: {{ name: web-net }}, membership: Exclusive, active: {active}");
        server("m1", &host)
            + &destination("web", "m1", &spec)
            + &application("api", "web").replace("names: [api]", "swarmServices: [api]")
    };
    let world = World::new(&manifests(true));
    world.run("apply --yes").expect(0);
    let id = host.network_ids("web-net").remove(0);
    let seen = host.get("/services/stray");
    let mut spec = seen["Spec"].clone();
    spec["TaskTemplate"]["Networks"] = json!([{ "Target": id }]);
    host.post(&format!("/services/stray/update?version={}", seen["Version"]["Index"]), spec);
    let settled = |replicas: usize| {
        wait_for_at_most(Duration::from_secs(120), "the tasks are as they should be", || {
            let rolls = |name: &str| host.get(&format!("/services/{name}"))["UpdateStatus"]["State"] == "updating";
            let quiet = !rolls("api") && !rolls("stray") && world.run("diff").code == 0;
            (quiet && running(&host, "api") == replicas && running(&host, "stray") == 1).then_some(())
        });
    };
    settled(3);
    // It is told of and left: what a service is on is up to its definition.
    let told = world.run("apply --yes").expect(0);
    assert!(told.stdout.contains("No resource declares the Swarm service \"stray\""), "{told}");
    for _ in 0..2 {
        world.write("manifests/all.yaml", &manifests(false));
        let off = world.run("apply --yes").expect(0);
        assert!(off.stdout.contains("scale service api to 0 replicas"), "{off}");
        settled(0);
        world.write("manifests/all.yaml", &manifests(true));
        let on = world.run("apply --yes").expect(0);
        assert!(on.stdout.contains("scale service api to 3 replicas"), "{on}");
        settled(3);
    }
    assert_eq!(host.get("/services/stray")["Spec"]["TaskTemplate"]["Networks"][0]["Target"], id.as_str());
}

#[test]
fn a_node_that_is_renamed_or_found_at_another_address_is_the_same() {
    let cluster = Cluster::start(2);
    let [m1, w1] = &cluster.nodes[..] else { unreachable!() };
    let manifests = server("m1", m1)
        + &server("w1", w1)
        + &destination("web", "m1", "network: { name: web-net }")
        + &destination("own", "w1", "network: { name: own-net }");
    let world = World::new(&manifests);
    world.run("apply --yes").expect(0);
    let ids = || [m1.network_ids("web-net"), m1.network_ids("own-net")];
    let before = ids();
    for host in [m1, w1] {
        assert!(host.run(&["hostname", &format!("renamed-{}", host.address().octets()[3])]).status.success());
        host.restart_daemon();
        wait_for_at_most(Duration::from_secs(120), "the node takes part again", || {
            (host.get("/info")["Swarm"]["LocalNodeState"] == "active").then_some(())
        });
        wait_for_at_most(Duration::from_secs(120), "nothing differs", || (world.run("diff").code == 0).then_some(()));
    }
    // As after a move to another network: the manager is found elsewhere, and the worker joins it there.
    assert!(m1.run(&["ip", "address", "add", "10.99.0.77/24", "dev", "eth0"]).status.success());
    let body = json!({ "ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "10.99.0.77", "ForceNewCluster": true });
    m1.post("/swarm/init", body);
    w1.post("/swarm/leave?force=true", Value::Null);
    let join = || {
        let token = &m1.get("/swarm")["JoinTokens"]["Worker"];
        let body = json!({
            "ListenAddr": format!("{}:2377", w1.address()), "AdvertiseAddr": w1.address(),
            "RemoteAddrs": ["10.99.0.77:2377"], "JoinToken": token
        });
        (w1.api("POST", "/swarm/join", &body).status == 200).then_some(())
    };
    wait_for_at_most(Duration::from_secs(120), "the worker joins", join);
    wait_for_at_most(Duration::from_secs(120), "nothing differs", || (world.run("diff").code == 0).then_some(()));
    assert_eq!(ids(), before);
    let planned = world.run("describe server w1 -n infra").expect(0);
    assert!(planned.stdout.contains("worker"), "{planned}");
}
