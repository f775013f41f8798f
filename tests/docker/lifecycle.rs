//! Stopping and starting against a real daemon: `active`, and `startAfterRepair`.

use super::controller::{Controller, until};
use crate::cli::world::{World, server};
use crate::support::Host;

fn manifests(host: &Host, active: bool, extra: &str) -> String {
    format!(
        "{}---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: web, namespace: shop }}\n\
         spec: {{ server: infra/edge, network: {{ name: web-net }}, active: {active} }}\n\
         ---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: app, namespace: shop }}\n\
         spec: {{ destination: web, containers: {{ names: [app, idle] }}{extra} }}\n",
        server(&host.endpoint())
    )
}

fn is_on(host: &Host, container: &str, network: &str) -> bool {
    host.networks_of(container).iter().any(|name| name == network)
}

fn host() -> Host {
    let host = Host::start();
    for name in ["traefik", "app"] {
        host.container(name).running();
    }
    host.container("idle").exited();
    host
}

#[test]
fn deactivating_stops_and_activating_starts_what_was_stopped_and_nothing_else() {
    let host = host();
    let world = World::new(&manifests(&host, true, ""));
    world.run("apply").expect(0);
    world.write("manifests/all.yaml", &manifests(&host, false, ""));
    world.run("apply --yes").expect(0);
    assert_eq!(host.state("app"), "exited");
    assert!(!is_on(&host, "traefik", "web-net"));
    world.run("diff").expect(0);

    // What apply stopped, run starts: one memory for both.
    world.write("manifests/all.yaml", &manifests(&host, true, ""));
    let mut controller = Controller::start(&world, &[]);
    until("starting", &mut controller, || host.state("app") == "running" && is_on(&host, "traefik", "web-net"));
    assert_eq!(host.state("idle"), "exited", "Landfall did not stop it");

    world.write("manifests/all.yaml", &manifests(&host, false, ""));
    until("stopping", &mut controller, || host.state("app") == "exited" && !is_on(&host, "traefik", "web-net"));
    // Somebody starts it all the same: it is stopped again.
    host.start_container("app");
    until("stopping again", &mut controller, || host.state("app") == "exited");
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);

    // Without the memory nothing is started.
    std::fs::remove_dir_all(world.path().join("state")).unwrap();
    world.write("manifests/all.yaml", &manifests(&host, true, ""));
    let ran = world.run("apply").expect(0);
    assert!(ran.stdout.contains("nothing says that Landfall stopped it"), "{ran}");
    assert_eq!(host.state("app"), "exited");
}

#[test]
fn fact_01_a_container_that_cannot_start_without_its_network_is_repaired_and_started_where_that_is_declared() {
    let host = host();
    let world = World::new(&manifests(&host, true, ""));
    let broken = || {
        host.stop_container("app");
        for container in ["app", "traefik", "idle"] {
            if container != "app" && is_on(&host, container, "web-net") {
                host.disconnect("web-net", container);
            }
        }
        host.remove_network("web-net");
        let answer = host.api("POST", "/containers/app/start", &serde_json::Value::Null);
        assert!(answer.message().contains("not found"), "{}", answer.message());
    };
    world.run("apply").expect(0);
    broken();
    let ran = world.run("apply").expect(0);
    assert!(ran.stdout.contains("it is left stopped"), "{ran}");
    assert_eq!(host.state("app"), "exited");
    host.start_container("app");

    world.write("manifests/all.yaml", &manifests(&host, true, ", startAfterRepair: true"));
    world.run("apply").expect(0);
    broken();
    world.run("apply").expect(0);
    assert_eq!(host.state("app"), "running");
    assert!(is_on(&host, "app", "web-net"));
    world.run("diff").expect(0);
}
