//! Managed applications and databases on a real Swarm of one node: made, changed, rolled back, kept and removed.

use serde_json::{Value, json};

use super::workloads::manifests;
use crate::cli::world::World;
use crate::support::host::text;
use crate::support::{Cluster, Host, wait_for};

/// A web server that says who it is.
pub(super) const SPEC: &str = "  image: landfall/busybox:test
  command: [sh, -c, 'mkdir -p /www && echo $VERSION > /www/index.html && exec httpd -f -p 8080 -h /www']
  stopSignal: SIGKILL
  healthcheck: { command: [wget, -q, -O, /dev/null, 'http://127.0.0.1:8080/'], intervalSeconds: 1, retries: 2 }
";

pub(super) fn swarm() -> Host {
    let host = Host::start();
    host.swarm_init();
    // Makes the image.
    let _ = host.container("none");
    host
}

pub(super) fn version(number: &str) -> String {
    format!("{SPEC}  env: [{{ name: VERSION, value: '{number}' }}]\n")
}

/// The containers of a service's tasks that run.
pub(super) fn tasks(host: &Host, service: &str) -> Vec<String> {
    let list = host.get("/containers/json");
    let of = |it: &&Value| it["Labels"]["com.docker.swarm.service.name"] == json!(service);
    list.as_array().unwrap().iter().filter(of).map(|it| text(&it["Id"])).collect()
}

pub(super) fn services(host: &Host) -> Vec<String> {
    host.get("/services").as_array().unwrap().iter().map(|it| text(&it["Spec"]["Name"])).collect()
}

fn secrets(host: &Host) -> Vec<String> {
    let list = host.get("/secrets");
    let mut names: Vec<String> = list.as_array().unwrap().iter().map(|it| text(&it["Spec"]["Name"])).collect();
    names.sort();
    names
}

/// What the application answers on its destination, by its name.
pub(super) fn answer(host: &Host) -> String {
    host.container("client").network("web-net").running();
    let said = host.exec("client", &["wget", "-q", "-O", "-", "http://frontend:8080/"]);
    host.api("DELETE", "/containers/client?force=1", &json!(null));
    said.trim().to_owned()
}

#[test]
fn an_application_is_a_service_that_is_changed_rolled_back_and_removed() {
    let host = swarm();
    let world = World::new(&manifests(&host, &(version("one") + "  replicas: 2\n")));
    let applied = world.run("apply").expect(0);
    assert!(
        applied.stdout.contains("+ create service shop-frontend of landfall/busybox:test on web-net, 2 replicas"),
        "{applied}"
    );
    assert_eq!(answer(&host), "one");
    assert_eq!(tasks(&host, "shop-frontend").len(), 2);
    world.run("diff").expect(0);
    let described = world.run("describe application frontend -n shop").expect(0);
    assert!(described.stdout.contains("2 of 2"), "{described}");

    // A changed variable: the Swarm replaces the tasks, and the update is waited for.
    world.write("manifests/all.yaml", &manifests(&host, &(version("two") + "  replicas: 2\n")));
    let planned = world.run("diff").expect(1);
    assert!(planned.stdout.contains("~ update service shop-frontend (env VERSION: changed)"), "{planned}");
    world.run("apply").expect(0);
    assert_eq!(answer(&host), "two");
    world.run("diff").expect(0);

    // A version that never gets healthy: the Swarm rolls back, which is a failure with its cause.
    let before = tasks(&host, "shop-frontend");
    let sick = version("three").replace("http://127.0.0.1:8080/", "http://127.0.0.1:9/") + "  replicas: 2\n";
    world.write("manifests/all.yaml", &manifests(&host, &sick));
    let failed = world.run("apply").expect(2);
    assert!(failed.to_string().contains("the Swarm has rolled it back: it runs as it did before"), "{failed}");
    assert!(failed.to_string().contains("(HealthCheckFailed)") && failed.to_string().contains("unhealthy"), "{failed}");
    assert_eq!(answer(&host), "two");
    assert_eq!(tasks(&host, "shop-frontend"), before, "none of those that serve was replaced");

    // What an operator changes is drift, and what one adds is not.
    world.write("manifests/all.yaml", &manifests(&host, &(version("two") + "  replicas: 2\n")));
    let seen = host.get("/services/shop-frontend");
    let mut spec = seen["Spec"].clone();
    spec["Mode"]["Replicated"]["Replicas"] = json!(1);
    spec["TaskTemplate"]["ContainerSpec"]["Env"].as_array_mut().unwrap().push(json!("ADDED=by hand"));
    host.post(&format!("/services/shop-frontend/update?version={}", seen["Version"]["Index"]), spec);
    wait_for("the operator's update is through", || {
        (host.get("/services/shop-frontend")["UpdateStatus"]["State"] == json!("completed")).then_some(())
    });
    let drift = world.run("diff").expect(1);
    assert!(drift.stdout.contains("(replicas: 1 -> 2)"), "{drift}");
    world.run("apply").expect(0);
    let spec = host.get("/services/shop-frontend")["Spec"].clone();
    assert!(spec["TaskTemplate"]["ContainerSpec"]["Env"].as_array().unwrap().contains(&json!("ADDED=by hand")));
    world.run("diff").expect(0);

    // A variable that is no longer declared goes.
    world.write("manifests/all.yaml", &manifests(&host, &(SPEC.to_owned() + "  replicas: 2\n")));
    let removed = world.run("apply").expect(0);
    assert!(removed.stdout.contains("env VERSION: removed"), "{removed}");

    // With its destination, which is removed once its tasks are gone.
    world.write("manifests/all.yaml", manifests(&host, "").split("---").next().unwrap());
    world.run("apply --prune --yes --allow-mass-delete").expect(0);
    assert_eq!((services(&host), host.network_ids("web-net")), (Vec::new(), Vec::new()));
}

#[test]
fn secrets_are_a_swarms_and_have_versions_and_are_shown_nowhere() {
    let host = swarm();
    let spec = "  image: landfall/busybox:test\n  command: [sleep, '1000000']\n  stopSignal: SIGKILL\n  files: [{ path: /etc/app/key, valueFrom: { file: ../token }, mode: '0400' }]\n";
    let world = World::new(&manifests(&host, spec));
    let missing = world.run("apply").expect(3);
    assert!(missing.stdout.contains("(SecretMissing)"), "{missing}");
    world.write("token", "hunter2\n");
    let applied = world.run("-vvv apply").expect(0);
    assert!(
        applied.stdout.contains("+ create secret shop-frontend-key-") && !applied.to_string().contains("hunter2"),
        "{applied}"
    );
    let before = secrets(&host);
    assert_eq!(before.len(), 1);
    let labels = host.get("/secrets")[0]["Spec"]["Labels"].clone();
    assert_eq!(
        (&labels["landfall.set"], &labels["landfall.object"]),
        (&json!("default"), &json!("Application/shop/frontend"))
    );
    assert_eq!(host.exec(&tasks(&host, "shop-frontend")[0], &["cat", "/etc/app/key"]), "hunter2");
    world.run("diff").expect(0);
    world.write("token", "correct horse\n");
    let changed = world.run("-vvv apply").expect(0);
    assert!(changed.stdout.contains("(file /etc/app/key: changed)"), "{changed}");
    assert!(!changed.to_string().contains("hunter2") && !changed.to_string().contains("horse"), "{changed}");
    assert_eq!(host.exec(&tasks(&host, "shop-frontend")[0], &["cat", "/etc/app/key"]), "correct horse");
    let after = secrets(&host);
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
    let observed = world.run("get server edge -n infra -o json --observed").expect(0);
    assert!(!observed.to_string().contains("horse"), "{observed}");
    world.run("delete application frontend -n shop --yes").expect(0);
    assert_eq!((services(&host), secrets(&host)), (Vec::new(), Vec::new()));
}

#[test]
fn a_first_version_that_fails_is_taken_away_and_a_foreign_service_left_alone() {
    let host = swarm();
    let sick = SPEC.replace("http://127.0.0.1:8080/", "http://127.0.0.1:9/");
    let world = World::new(&manifests(&host, &sick));
    let failed = world.run("apply").expect(2);
    assert!(failed.to_string().contains("unhealthy") && failed.to_string().contains("(HealthCheckFailed)"), "{failed}");
    assert_eq!(services(&host), Vec::<String>::new());
    // An image that no registry gives.
    world.write("manifests/all.yaml", &manifests(&host, "  image: landfall/absent:1\n"));
    let failed = world.run("apply").expect(2);
    assert!(
        failed.to_string().contains("No such image") && failed.to_string().contains("(ImageUnavailable)"),
        "{failed}"
    );
    let spec = json!({
        "Name": "shop-frontend", "Mode": { "Replicated": { "Replicas": 0 } }, "EndpointSpec": { "Mode": "dnsrr" },
        "TaskTemplate": { "ContainerSpec": { "Image": "landfall/busybox:test" } }
    });
    host.post("/services/create", spec);
    world.write("manifests/all.yaml", &manifests(&host, SPEC));
    let refused = world.run("apply").expect(3);
    assert!(refused.stdout.contains("(NameTaken)"), "{refused}");
}

/// A real Redis on a volume of the node, found by name by the application that waits for it.
#[test]
fn a_database_is_bound_to_its_node_and_keeps_its_data() {
    let host = swarm();
    host.import_image("landfall/redis:test", &["/usr/bin/redis-server", "/usr/bin/redis-cli"]);
    let node = text(&host.get("/info")["Swarm"]["NodeID"]);
    let database = |args: &str| {
        format!(
            "---
apiVersion: landfall/v1
kind: Database
metadata: {{ name: orders, namespace: shop }}
spec:
  destination: web
  engine: Redis
  version: '7'
  image: landfall/redis:test
  credentials: {{ password: {{ file: ../secrets/orders, generate: true }} }}
{args}"
        )
    };
    let application = "  image: landfall/redis:test\n  command: [sleep, '1000000']\n  stopSignal: SIGKILL\n  dependsOn: [Database/orders]\n";
    let all = |args: &str| manifests(&host, application) + &database(args);
    let world = World::new(&all(""));
    let planned = world.run("diff").expect(1);
    assert!(planned.stdout.contains("on the node") && planned.stdout.contains("with shop-orders-data"), "{planned}");
    let applied = world.run("apply").expect(0);
    let order =
        ["create service shop-orders", "create service shop-frontend"].map(|it| applied.stdout.find(it).unwrap());
    assert!(order[0] < order[1], "{applied}");
    let spec = host.get("/services/shop-orders")["Spec"].clone();
    assert_eq!(spec["TaskTemplate"]["Placement"]["Constraints"], json!([format!("node.id=={node}")]));
    assert_eq!(spec["UpdateConfig"]["Order"], json!("stop-first"));
    let volume = host.get("/volumes/shop-orders-data");
    assert_eq!(volume["Labels"]["landfall.object"], json!("Database/shop/orders"));
    let ask = |words: &str| {
        let line = format!("REDISCLI_AUTH=$(cat /landfall/password) redis-cli {words}");
        host.exec(&tasks(&host, "shop-orders")[0], &["sh", "-c", &line]).trim().to_owned()
    };
    assert_eq!(ask("set order 1"), "OK");
    let by_name = host.exec(&tasks(&host, "shop-frontend")[0], &["redis-cli", "-h", "orders", "ping"]);
    assert!(by_name.contains("NOAUTH"), "{by_name}");
    world.run("diff").expect(0);
    // Another argument: the old one ends before the new one has the volume.
    world.write("manifests/all.yaml", &all("  args: ['--maxclients', '500']\n"));
    world.run("apply --yes").expect(0);
    assert_eq!(ask("get order"), "1");
    assert!(ask("config get maxclients").contains("500"));
    world.run("diff").expect(0);
    let removed = world.run("delete database orders -n shop --yes").expect(0);
    assert!(removed.stdout.contains("remove service shop-orders (shop-orders-data stays)"), "{removed}");
    assert_eq!(host.get("/volumes/shop-orders-data")["Name"], json!("shop-orders-data"));
}

#[test]
fn a_rollout_is_asked_for_and_followed_and_the_logs_of_all_tasks_are_read() {
    let host = swarm();
    let spec = "  image: landfall/busybox:test\n  command: [sh, -c, 'echo here I am; exec sleep 1000000']\n  stopSignal: SIGKILL\n  replicas: 2\n";
    let world = World::new(&manifests(&host, spec));
    world.run("apply").expect(0);
    let before = tasks(&host, "shop-frontend");
    world.run("rollout restart application/frontend -n shop --yes").expect(0);
    let after = tasks(&host, "shop-frontend");
    assert!(after.len() == 2 && after.iter().all(|it| !before.contains(it)), "{before:?} {after:?}");
    let status = world.run("rollout status application/frontend -n shop").expect(0);
    assert!(status.stdout.contains("rolled out"), "{status}");
    let logs = world.run("logs application/frontend -n shop").expect(0);
    let of = |slot: u32| {
        logs.stdout.lines().any(|it| it.starts_with(&format!("shop-frontend.{slot}")) && it.contains("here I am"))
    };
    assert!(of(1) && of(2), "{logs}");
}

/// Tasks wherever the Swarm puts them, and where their volumes are.
#[test]
fn tasks_run_on_all_nodes_and_are_seen_through_the_manager() {
    let cluster = Cluster::start(3);
    for node in &cluster.nodes {
        // Makes the image.
        let _ = node.container("none");
    }
    let manager = &cluster.nodes[0];
    let counts = || cluster.nodes.iter().map(|node| tasks(node, "shop-frontend").len()).collect::<Vec<_>>();
    let spec = "  image: landfall/busybox:test\n  command: [sh, -c, 'echo here I am; exec sleep 1000000']\n  stopSignal: SIGKILL\n  replicas: 3\n";
    let world = World::new(&manifests(manager, spec));
    world.run("apply").expect(0);
    assert_eq!(counts(), [1, 1, 1]);
    let logs = world.run("logs application/frontend -n shop").expect(0);
    assert_eq!(logs.stdout.matches("here I am").count(), 3, "{logs}");
    let bound = format!("{spec}  volumes: [{{ volume: uploads, mountPath: /data }}]\n");
    world.write("manifests/all.yaml", &manifests(manager, &bound));
    let planned = world.run("diff").expect(1);
    let node = text(&manager.get("/info")["Swarm"]["NodeID"]);
    assert!(planned.stdout.contains(&format!("node: any -> {node}")), "{planned}");
    world.run("apply --yes").expect(0);
    assert_eq!(counts(), [3, 0, 0]);
    world.run("diff").expect(0);
    world.write("manifests/all.yaml", manifests(manager, "").split("---").next().unwrap());
    world.run("apply --prune --yes --allow-mass-delete").expect(0);
    assert_eq!((counts(), manager.network_ids("web-net")), (vec![0, 0, 0], Vec::new()));
}

/// The tasks of a service are those of the resource: what they use is shown, their data is copied, and nothing is removed without the backup that has to
/// be there first.
#[test]
fn what_a_service_keeps_is_copied_and_saved_before_it_is_removed() {
    let host = swarm();
    let uploads =
        "  volumes: [{ volume: uploads, mountPath: /data }]\n  backup: { to: /nowhere, beforeDelete: true }\n";
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let spec = |live: bool| {
        let backup = format!("{}, live: {live}", kept.display());
        manifests(&host, &(version("one") + &uploads.replace("/nowhere", &backup)))
    };
    let world = World::new(&spec(false));
    world.run("apply").expect(0);
    let task = || tasks(&host, "shop-frontend")[0].clone();
    host.exec(&task(), &["sh", "-c", "echo text >/data/file"]);
    let used = world.run("top resources -o json").expect(0);
    assert!(used.stdout.contains("Application/shop/frontend"), "{used}");
    let live = world.run("backup app frontend -n shop --live --to kept").expect(0);
    assert!(live.stdout.contains("while it was running: volume uploads"), "{live}");
    let verified = world.run("backup verify app frontend -n shop --from kept").expect(0);
    assert!(verified.stdout.contains("volume uploads: 1 entry"), "{verified}");

    // A task that is stopped is replaced by another: the service is scaled to zero, and gets its tasks back.
    let before = task();
    let stopped = world.run("backup app frontend -n shop --to kept").expect(0);
    assert!(stopped.stdout.contains("while it was stopped: volume uploads"), "{stopped}");
    wait_for("its task is back", || {
        tasks(&host, "shop-frontend").first().is_some_and(|it| *it != before).then_some(())
    });
    wait_for("neither the former task nor a helper is left", || {
        (super::workloads::names(&host).len() == 1).then_some(())
    });
    world.run("diff").expect(0);

    // What cannot be copied is not removed.
    std::fs::write(&kept, "").unwrap();
    let refused = world.run("delete app frontend -n shop --yes").expect(3);
    assert!(refused.stderr.contains("(BackupFailed), and is not removed"), "{refused}");
    assert_eq!(services(&host), ["shop-frontend"]);
    std::fs::remove_file(&kept).unwrap();
    world.write("manifests/all.yaml", &spec(true));
    let deleted = world.run("delete app frontend -n shop --yes").expect(0);
    assert!(deleted.stderr.contains("Application/shop/frontend backed up to"), "{deleted}");
    assert_eq!(services(&host), Vec::<String>::new());
    assert_eq!(host.get("/volumes/uploads")["Name"], json!("uploads"));
    assert!(kept.join("application/shop/frontend").is_dir());
}

/// Its tasks would be replaced if they were stopped: the service is scaled to zero for the copy, and gets its replicas back.
#[test]
fn a_service_is_cloned_while_it_is_scaled_to_zero_and_is_not_moved_while_it_runs() {
    let (host, far) = (swarm(), Host::start());
    let _ = far.container("none");
    let spec = version("one") + "  volumes: [{ volume: uploads, mountPath: /data }]\n";
    let others = format!(
        "---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: other, namespace: shop }}
spec: {{ server: infra/edge, network: {{ name: other-net }} }}
---
apiVersion: landfall/v1
kind: Server
metadata: {{ name: far, namespace: infra }}
spec: {{ endpoint: '{}', allowedNamespaces: [shop] }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: far, namespace: shop }}
spec: {{ server: infra/far, network: {{ name: far-net }} }}
",
        far.endpoint()
    );
    let world = World::new(&(manifests(&host, &spec) + &others));
    world.run("apply").expect(0);
    let task = || tasks(&host, "shop-frontend").first().cloned();
    let before = task().unwrap();
    host.exec(&before, &["sh", "-c", "echo text >/data/file && chown 1234:70000 /data/file"]);

    let cloned = world.run("clone app frontend -n shop --to other --name second --with-volumes").expect(0);
    assert!(cloned.stderr.contains("volume uploads copied to second-uploads"), "{cloned}");
    let after = wait_for("the original has a task again", || task().filter(|it| *it != before));
    wait_for("neither the former task nor a helper is left", || {
        (super::workloads::names(&host).len() == 1).then_some(())
    });
    assert_eq!(host.exec(&after, &["cat", "/data/file"]).trim(), "text");
    world.write("manifests/second.yaml", &cloned.stdout);
    world.run("apply").expect(0);
    let second = tasks(&host, "shop-second")[0].clone();
    let look = ["sh", "-c", "echo $(cat /data/file) $(stat -c %u:%g /data/file)"];
    assert_eq!(host.exec(&second, &look).trim(), "text 1234:70000");
    assert_eq!(services(&host).len(), 2);
    world.run("diff").expect(0);

    // A copy that fails leaves the original with its task.
    std::fs::remove_file(world.path().join("manifests/second.yaml")).unwrap();
    let refused = world.run("clone app frontend -n shop --to other --name second --with-volumes").expect(3);
    assert!(refused.stderr.contains("second-uploads"), "{refused}");
    assert_eq!(task().as_ref(), Some(&after));
    let refused = world.run("move app frontend -n shop --to far --with-volumes").expect(3);
    assert!(refused.stderr.contains("is a Swarm service, which `move` does not leave stopped"), "{refused}");
    assert_eq!((task(), far.get("/volumes")["Volumes"].as_array().map_or(0, Vec::len)), (Some(after), 0));
    // To a server that is no Swarm it is an application of containers.
    let cloned = world.run("clone app frontend -n shop --to far --name third --with-volumes").expect(0);
    world.write("manifests/third.yaml", &cloned.stdout);
    world.run("apply").expect(0);
    assert_eq!(far.exec("shop-third-1", &look).trim(), "text 1234:70000");
    wait_for("the original has a task again", task);
}
