//! Rollouts that are in the way of something, on a real daemon: a port that is taken, and a version that crashes after it has taken over.

use std::process::{Child, Stdio};

use serde_json::json;

use super::workloads::{manifests, names};
use crate::cli::world::World;
use crate::support::{Host, wait_for};

/// Serves, and publishes a port of the host.
fn publishing(port: u16, version: &str) -> String {
    format!(
        "  image: landfall/busybox:test
  command: [sh, -c, 'mkdir -p /www && echo {version} > /www/index.html && exec httpd -f -p 8080 -h /www']
  stopSignal: SIGKILL
  ports: [{{ containerPort: 8080, hostPort: {port} }}]
  healthcheck: {{ command: [wget, -q, -O, /dev/null, 'http://127.0.0.1:8080/'], intervalSeconds: 1, retries: 2 }}
"
    )
}

fn answer(host: &Host, port: u16) -> String {
    let said = host.run(&["busybox", "wget", "-q", "-O", "-", &format!("http://127.0.0.1:{port}/")]);
    String::from_utf8_lossy(&said.stdout).trim().to_owned()
}

/// A program of the host's own that listens, until its input ends.
fn listening(host: &Host, port: u16) -> Child {
    let line = format!("busybox nc -ll -p {port} -e true & read line; kill $!");
    let program = host.inside(&["sh", "-c", &line]).stdin(Stdio::piped()).spawn().unwrap();
    wait_for("a program listens", || {
        let sockets = host.run(&["busybox", "netstat", "-ltn"]);
        String::from_utf8_lossy(&sockets.stdout).contains(&format!(":{port} ")).then_some(())
    });
    program
}

fn ends(mut program: Child) {
    drop(program.stdin.take());
    program.wait().unwrap();
}

#[test]
fn a_port_that_is_taken_never_leaves_an_application_stopped() {
    let host = Host::start();
    host.container("legacy").publish(80, 9090).running();
    let world = World::new(&manifests(&host, &publishing(9080, "one")));
    world.run("apply").expect(0);
    assert_eq!(answer(&host, 9080), "one");
    let before = host.inspect("shop-frontend-1")["Id"].clone();

    // A container's: seen before anything is stopped.
    world.write("manifests/all.yaml", &manifests(&host, &publishing(9090, "two")));
    for command in ["diff", "apply"] {
        let refused = world.run(command).expect(3);
        assert!(
            refused.stdout.contains("The host port 9090/tcp is published by the container \"legacy\". (PortTaken)"),
            "{refused}"
        );
    }
    assert_eq!(host.inspect("shop-frontend-1")["Id"], before);

    // One of a program of the server, which the daemon does not know of: the old container comes back.
    let listener = listening(&host, 9091);
    world.write("manifests/all.yaml", &manifests(&host, &publishing(9091, "three")));
    let failed = world.run("apply").expect(2);
    ends(listener);
    assert!(failed.to_string().contains("PortTaken"), "{failed}");
    assert_eq!(names(&host), ["legacy", "shop-frontend-1"]);
    assert_eq!((host.inspect("shop-frontend-1")["Id"].clone(), answer(&host, 9080)), (before, "one".to_owned()));

    // The first start of all: nothing is left of it, and its own name is not said to be taken.
    world.run("delete application frontend -n shop --yes").expect(0);
    let listener = listening(&host, 9091);
    for _ in 0..2 {
        let failed = world.run("apply").expect(2).to_string();
        assert!(failed.contains("PortTaken") && !failed.contains("NameTaken"), "{failed}");
    }
    ends(listener);
    assert_eq!(names(&host), ["legacy"]);
    world.run("apply").expect(0);
    assert_eq!(answer(&host, 9091), "three");
}

/// Healthy until it is asked a second time after it has taken over.
#[test]
fn a_version_that_crashes_once_it_has_taken_over_replaces_no_other_replica() {
    let host = Host::start();
    // Makes the image.
    let _ = host.container("none");
    let version = |command: &str| {
        format!(
            "  image: landfall/busybox:test
  command: [sh, -c, '{command}']
  stopSignal: SIGKILL
  healthcheck: {{ command: [test, -e, /tmp/up], intervalSeconds: 1, retries: 1 }}
  replicas: 3
"
        )
    };
    let world = World::new(&manifests(&host, &version("touch /tmp/up; exec sleep 1000000")));
    world.run("apply").expect(0);
    let ids = || ["shop-frontend-1", "shop-frontend-2", "shop-frontend-3"].map(|name| host.inspect(name)["Id"].clone());
    let before = ids();
    // Healthy, and then not any more: the first one has its place by then.
    let crashing = version("touch /tmp/up; sleep 3; rm /tmp/up; exec sleep 1000000");
    world.write("manifests/all.yaml", &manifests(&host, &crashing));
    let failed = world.run("apply").expect(2);
    let after = ids();
    assert!(failed.to_string().contains("HealthCheckFailed"), "{failed}");
    assert_ne!(before[0], after[0], "{failed}");
    assert_eq!(before[2], after[2], "the last one is never reached: {failed}");
    // A pass after it waits for the sick one, and replaces none.
    let again = world.run("apply").expect(2);
    assert!(again.to_string().contains("HealthCheckFailed"), "{again}");
    let state = |name: &str| host.inspect(name)["State"]["Health"]["Status"].clone();
    assert_eq!((&ids()[2], state("shop-frontend-3")), (&before[2], json!("healthy")));

    let good = version("touch /tmp/up; sleep 1000000; true");
    world.write("manifests/all.yaml", &manifests(&host, &good));
    world.run("apply").expect(0);
    assert!(ids().iter().all(|id| !before.contains(id)));
    world.run("diff").expect(0);
}

/// Whoever looks for the containers of a resource finds the one that a person has renamed.
#[test]
fn a_renamed_container_is_its_resources_for_every_command() {
    let host = Host::start();
    // Makes the image.
    let _ = host.container("none");
    let spec = "  image: landfall/busybox:test\n  command: [sh, -c, 'echo hello; exec sleep 1000000']\n  stopSignal: SIGKILL\n  volumes: [{ volume: uploads, mountPath: /data }]\n";
    let world = World::new(&manifests(&host, spec));
    world.run("apply").expect(0);
    host.api("POST", "/containers/shop-frontend-1/rename?name=by-hand", &json!(null));
    let status = world.run("rollout status application/frontend --no-wait").expect(2);
    assert!(status.stdout.contains("1 of 1 run, 1 operation outstanding"), "{status}");
    assert_eq!(world.run("logs application/frontend").expect(0).stdout, "by-hand | hello\n");
    let volumes = world.run("get volumes --no-headers").expect(0);
    assert!(volumes.stdout.contains("Application/shop/frontend"), "{volumes}");
    let used = world.run("top destinations").expect(0);
    assert!(used.stdout.contains("web"), "{used}");
    world.run("apply").expect(0);
    assert_eq!(names(&host), ["shop-frontend-1"]);
}

#[test]
fn an_additional_destination_becomes_the_main_one_and_no_container_is_touched() {
    let host = Host::start();
    // Makes the image.
    let _ = host.container("none");
    let on = |main: &str, additional: &str| {
        let spec = "  image: landfall/busybox:test\n  command: [sleep, '1000000']\n  stopSignal: SIGKILL\n";
        let more = "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: { name: far, namespace: shop }\nspec: { server: infra/edge, network: { name: far-net } }\n";
        manifests(&host, spec).replace(
            "  destination: web\n",
            &format!("  destination: {main}\n  additionalDestinations: [{additional}]\n"),
        ) + more
    };
    let world = World::new(&on("web", "far"));
    world.run("apply").expect(0);
    let containers = names(&host);
    assert_eq!(containers.len(), 2, "{containers:?}");
    let ids = || containers.iter().map(|name| host.inspect(name)["Id"].clone()).collect::<Vec<_>>();
    let before = ids();
    world.write("manifests/all.yaml", &on("far", "web"));
    let swapped = world.run("diff").expect(0);
    world.run("apply --prune").expect(0);
    assert_eq!(ids(), before, "{swapped}");
}
