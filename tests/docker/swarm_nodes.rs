//! A real Swarm of three nodes: hooks, services that were adopted until now, and who reaches whom from node to node.

use serde_json::json;

use super::on_swarm::{tasks, version};
use super::workloads::manifests;
use crate::cli::world::World;
use crate::support::host::text;
use crate::support::{Cluster, Host, wait_for};

/// One manager and two workers, each with the image of the tests.
fn three() -> Cluster {
    let cluster = Cluster::start(3);
    for node in &cluster.nodes {
        // Makes the image.
        let _ = node.container("none");
    }
    cluster
}

/// The tasks of a service by node.
fn spread(cluster: &Cluster, service: &str) -> Vec<Vec<String>> {
    cluster.nodes.iter().map(|node| tasks(node, service)).collect()
}

fn counts(cluster: &Cluster, service: &str) -> Vec<usize> {
    spread(cluster, service).iter().map(Vec::len).collect()
}

/// What one of the tasks answers to itself.
fn says(node: &Host, task: &str) -> String {
    node.exec(task, &["wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]).trim().to_owned()
}

fn said_everywhere(cluster: &Cluster, service: &str) -> Vec<String> {
    let of_node = |(node, tasks): (&Host, Vec<String>)| tasks.iter().map(|it| says(node, it)).collect::<Vec<_>>();
    cluster.nodes.iter().zip(spread(cluster, service)).flat_map(of_node).collect()
}

/// Everything but the application.
fn ground(manager: &Host) -> String {
    let all = manifests(manager, "");
    all.split("---\napiVersion: landfall/v1\nkind: Application").next().unwrap().to_owned()
}

/// The hook is a container of the manager; it tells a web server on another node that it was there, which counts.
#[test]
fn a_hook_runs_once_a_version_before_any_node_replaces_a_task_and_its_failure_leaves_them_all() {
    let cluster = three();
    let [manager, worker, _] = &cluster.nodes[..] else { unreachable!() };
    let world = World::new(&ground(manager));
    world.run("apply").expect(0);
    let log = ["sh", "-c", "mkdir -p /www && touch /www/one /www/two /www/three && exec httpd -f -vv -p 8080 -h /www"];
    worker.container("log").command(&log).network("web-net").running();
    let hooks = |version: &str| {
        let printed = worker.get("/containers/log/logs?stdout=1&stderr=1").to_string();
        printed.matches(&format!("url:/{version}")).count()
    };
    let declared = |number: &str, then: &str, more: &str| {
        // Names of other nodes are known a moment after the container is there.
        let tell = "until wget -q -O /dev/null http://log:8080/$VERSION; do sleep 0.1; done";
        let hook = format!("  hooks: {{ preDeploy: {{ command: [sh, -c, '{tell}; {then}'] }} }}\n");
        let spread = "  rollout: { strategy: StartFirst }\n";
        manifests(manager, &(version(number) + &hook + spread + more))
    };
    world.write("manifests/all.yaml", &declared("one", "true", "  replicas: 3\n"));
    world.run("apply").expect(0);
    assert_eq!((hooks("one"), counts(&cluster, "shop-frontend")), (1, vec![1, 1, 1]));

    // It fails: what runs on all nodes serves on, and no task is another.
    let before = spread(&cluster, "shop-frontend");
    world.write("manifests/all.yaml", &declared("two", "echo migrating; exit 3", "  replicas: 3\n"));
    let failed = world.run("apply").expect(2).to_string();
    for said in ["HookFailed", "exited with code 3", "migrating"] {
        assert!(failed.contains(said), "{said}: {failed}");
    }
    assert_eq!((hooks("two"), spread(&cluster, "shop-frontend")), (1, before.clone()));
    assert_eq!(said_everywhere(&cluster, "shop-frontend"), ["one", "one", "one"]);
    let changed = manager.get("/services/shop-frontend")["UpdateStatus"].clone();
    assert!(changed.is_null(), "the Swarm was told nothing: {changed}");

    // While it runs, each request is answered by the version before: by the tasks of whatever node.
    let old =
        "n=0; while [ $n -lt 20 ]; do [ $(wget -q -O - http://frontend:8080/) = one ] || exit 4; n=$((n + 1)); done";
    world.write("manifests/all.yaml", &declared("three", old, "  replicas: 3\n"));
    world.run("apply").expect(0);
    let after = spread(&cluster, "shop-frontend");
    assert!(after.iter().flatten().all(|it| !before.iter().flatten().any(|old| old == it)), "{before:?} {after:?}");
    assert_eq!(said_everywhere(&cluster, "shop-frontend"), ["three", "three", "three"]);
    assert_eq!((hooks("one"), hooks("two"), hooks("three")), (1, 1, 1));
    world.run("diff").expect(0);

    // More of the same version is no other version.
    world.write("manifests/all.yaml", &declared("three", old, "  replicas: 4\n"));
    world.run("apply").expect(0);
    assert_eq!((hooks("three"), counts(&cluster, "shop-frontend").iter().sum::<usize>()), (1, 4));
    for node in &cluster.nodes {
        let left = super::workloads::names(node);
        assert!(left.iter().all(|name| !name.contains("predeploy")), "{left:?}");
    }
}

/// As a deploy script of others has made it, on the destination.
fn foreign(manager: &Host, name: &str, replicas: u64) {
    let spec = json!({
        "Name": name, "Mode": { "Replicated": { "Replicas": replicas } }, "EndpointSpec": { "Mode": "dnsrr" },
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "landfall/busybox:test", "StopSignal": "SIGKILL",
                "Command": ["sh", "-c", "mkdir -p /www && echo old > /www/index.html && exec httpd -f -p 8080 -h /www"],
            },
            "Networks": [{ "Target": "web-net", "Aliases": [name] }],
        }
    });
    manager.post("/services/create", spec);
    wait_for("its tasks run", || {
        let path = format!("/tasks?filters=%7B%22service%22%3A%5B%22{name}%22%5D%7D");
        let seen = manager.get(&path);
        let running = seen.as_array().unwrap().iter().filter(|it| it["Status"]["State"] == "running").count();
        (running as u64 == replicas).then_some(())
    });
}

/// Asks a Redis for something that takes no password, over the network.
fn asks(node: &Host, container: &str, at: &str) -> String {
    node.exec(container, &["sh", "-c", &format!("echo PING | nc -w 2 {at} 6379")]).trim().to_owned()
}

#[test]
fn an_adopted_service_of_three_nodes_becomes_landfalls_and_reaches_its_database_which_another_overlay_does_not() {
    let cluster = three();
    let [manager, worker, stranger] = &cluster.nodes[..] else { unreachable!() };
    manager.import_image("landfall/redis:test", &["/usr/bin/redis-server", "/usr/bin/redis-cli"]);
    let database = "---
apiVersion: landfall/v1
kind: Database
metadata: { name: orders, namespace: shop }
spec:
  destination: web
  engine: Redis
  version: '7'
  image: landfall/redis:test
  credentials: { password: { file: ../secrets/orders, generate: true } }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: other, namespace: shop }
spec: { server: infra/edge, network: { name: other-net } }
";
    let world = World::new(&(ground(manager) + database));
    world.run("apply").expect(0);
    foreign(manager, "legacy", 3);
    foreign(manager, "shop-api", 1);
    let adopted = "  containers: { swarmServices: [legacy] }\n";
    let declare = |application: &str| {
        let replaced = "metadata: { name: frontend, namespace: shop, annotations: { landfall/replaces: legacy } }";
        let all = manifests(manager, application).replace("metadata: { name: frontend, namespace: shop }", replaced);
        world.write("manifests/all.yaml", &(all + database));
    };
    world.write("manifests/all.yaml", &(manifests(manager, adopted) + database));
    world.run("apply").expect(0);
    world.run("diff").expect(0);
    let before = spread(&cluster, "legacy");
    assert_eq!(counts(&cluster, "legacy"), [1, 1, 1]);

    // The recreation is shown, and nothing happens without leave.
    declare(&(version("one") + "  replicas: 3\n"));
    let planned = world.run("diff").expect(1);
    let recreation = planned.stdout.lines().find(|it| it.contains("create service shop-frontend"));
    let recreation = recreation.unwrap_or_else(|| panic!("{planned}"));
    assert!(recreation.contains("run by: something else as legacy -> Landfall"), "{planned}");
    assert!(recreation.contains(", disruptive"), "{planned}");
    assert!(planned.stdout.contains("remove service legacy"), "{planned}");
    let asked = world.on_a_terminal("apply", "n\n").to_string();
    assert!(asked.contains("create service shop-frontend") && asked.contains('?'), "{asked}");
    assert_eq!(spread(&cluster, "legacy"), before, "{asked}");
    world.run("apply --yes").expect(0);
    wait_for("the tasks of what it was have ended", || (counts(&cluster, "legacy") == [0, 0, 0]).then_some(()));
    assert_eq!(counts(&cluster, "shop-frontend"), [1, 1, 1]);
    assert_eq!(said_everywhere(&cluster, "shop-frontend"), ["one", "one", "one"]);
    world.run("diff").expect(0);

    // By name from each of the nodes; from another overlay neither by name nor by address.
    for (node, tasks) in cluster.nodes.iter().zip(spread(&cluster, "shop-frontend")) {
        // A node hears a moment later who is on the network elsewhere.
        wait_for("the database answers to its name", || {
            asks(node, &tasks[0], "orders").contains("NOAUTH").then_some(())
        });
    }
    stranger.container("stranger").network("other-net").running();
    let beside = ["httpd", "-f", "-p", "6379"];
    manager.container("beside").command(&beside).network("other-net").running();
    wait_for("who is on its own overlay answers", || {
        asks(stranger, "stranger", "beside").contains("HTTP").then_some(())
    });
    let none = asks(stranger, "stranger", "orders");
    assert!(none.contains("bad address") || none.contains("timed out"), "{none}");
    let endpoint = manager.endpoint_of(&tasks(manager, "shop-orders")[0], "web-net");
    let address = text(&endpoint["IPAddress"]);
    let reached = asks(worker, &tasks(worker, "shop-frontend")[0], &address);
    assert!(reached.contains("NOAUTH"), "{reached}");
    let none = asks(stranger, "stranger", &address);
    assert!(none.contains("timed out") || none.contains("can't connect"), "{none}");

    // Of the name that an application would have, and another's: it is neither adopted nor touched.
    let theirs = manager.get("/services/shop-api");
    let api = format!(
        "---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: api, namespace: shop }}\nspec:\n  destination: web\n{}",
        version("one")
    );
    let all = std::fs::read_to_string(world.path().join("manifests/all.yaml")).unwrap();
    world.write("manifests/all.yaml", &(all + &api));
    let refused = world.run("apply --yes").expect(3);
    assert!(refused.stdout.contains("(NameTaken)") && refused.stdout.contains("\"shop-api\""), "{refused}");
    assert_eq!(manager.get("/services/shop-api"), theirs);
    world.run("delete application api -n shop --yes");
    assert_eq!(manager.get("/services/shop-api"), theirs);
}
