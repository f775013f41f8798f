//! Engine 29 speaks no API older than 1.44. Engine 28 can be told to do the same, and then every command has to get by.

use serde_json::Value;

use super::controller::{Controller, until};
use super::keep::is_on;
use crate::cli::world::{SHOP, World, server};
use crate::support::Host;
use crate::support::faults::Faulty;
use crate::support::host::Engine;

const MINIMUM: (u32, u32) = (1, 44);

#[test]
fn nothing_is_sent_below_the_oldest_version_that_a_daemon_speaks() {
    let host = Host::builder().engine(Engine::V28).variable("DOCKER_MIN_API_VERSION", "1.44").start();
    assert_eq!(host.get("/version")["MinAPIVersion"], "1.44");
    assert_eq!(host.api("GET", "/v1.43/networks", &Value::Null).status, 400);
    for name in ["traefik", "frontend"] {
        host.container(name).running();
    }
    let faulty = Faulty::before(host.socket());
    let declared = server(&faulty.endpoint()) + SHOP;
    let world = World::new(&declared);

    world.run("diff").expect(1);
    world.run("apply --yes").expect(0);
    world.run("diff").expect(0);
    for command in ["drift", "get all", "describe destination web -n shop", "subnets", "doctor", "graph"] {
        let ran = world.run(command);
        assert!(!ran.to_string().contains("too old"), "{command}: {ran}");
    }

    let mut controller = Controller::start(&world, &[]);
    for container in ["traefik", "frontend"] {
        host.disconnect("web-net", container);
        until("healing", &mut controller, || is_on(&host, container, "web-net"));
    }
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);

    world.write("manifests/all.yaml", &declared.replace("name: web-net", "name: web-net, mtu: 1400"));
    world.run("diff").expect(3);
    world.run("delete destination web -n shop --yes --force").expect(0);
    assert!(host.network_ids("web-net").is_empty());

    let asked = faulty.take_asked();
    let versions: Vec<(u32, u32)> = asked.iter().filter_map(|asked| asked.version).collect();
    assert!(versions.contains(&host.api_version()) && versions.len() > asked.len() / 2, "{versions:?}");
    let older: Vec<_> = asked.iter().filter(|asked| asked.version.is_some_and(|it| it < MINIMUM)).collect();
    assert!(older.is_empty(), "{older:?}");
}
