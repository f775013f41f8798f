//! Who can be on no network, and what every command says of it.

use serde_json::json;

use crate::cli::world::{World, server};
use crate::support::Host;

const WEB: &str = "---
apiVersion: landfall/v1
kind: Destination
metadata: { name: web }
spec: { server: infra/edge, network: { name: web-net } }
---
apiVersion: landfall/v1
kind: Application
metadata: { name: alone }
spec: { destination: web, containers: { names: [alone] } }
---
apiVersion: landfall/v1
kind: Application
metadata: { name: behind }
spec: { destination: web, containers: { names: [behind] } }
";

#[test]
fn a_proxy_or_a_member_without_a_network_is_a_finding_of_every_command() {
    let host = Host::start();
    host.container("traefik").network_mode("host").running();
    host.container("alone").network_mode("none").running();
    let vpn = host.container("vpn").running();
    host.container("behind").network_mode(&format!("container:{vpn}")).running();
    let world = World::new(&(server(&host.endpoint()) + WEB));
    world.run("apply").expect(3);
    for (command, code) in [("apply", 3), ("diff", 3), ("drift", 3)] {
        let ran = world.run(command).expect(code);
        for said in ["\"traefik\" runs with network mode \"host\"", "`proxy: false`", "\"alone\"", "container:vpn"] {
            assert!(ran.stdout.contains(said), "{command}: {said}\n{ran}");
        }
        assert!(!ran.stdout.contains(&vpn) && !ran.stdout.to_lowercase().contains("no drift"), "{ran}");
    }
    for object in ["application alone", "application behind", "destination web", "server edge -n infra"] {
        let ran = world.run(&format!("get {object} -o json")).expect(0);
        let seen: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let conditions = seen["status"]["conditions"].as_array().or(seen["conditions"].as_array()).unwrap();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").unwrap();
        assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("WrongScope")), "{object}: {ran}");
        let ran = world.run(&format!("describe {object}")).expect(0);
        assert!(ran.stdout.contains("WrongScope"), "{object}: {ran}");
    }
    // Said to be as it is, it is as declared.
    let manifests = (server(&host.endpoint()) + WEB).replace("name: web-net }", "name: web-net }, proxy: false");
    let manifests = manifests.split("---\n").take(2).collect::<Vec<_>>().join("---\n");
    world.write("manifests/all.yaml", &manifests);
    world.run("apply").expect(0);
    world.run("drift").expect(0);
}

#[test]
fn an_overlay_that_takes_no_containers_is_refused_before_anything_is_tried() {
    let host = Host::start();
    host.swarm_init();
    host.container("traefik").running();
    let labels = json!({ "com.docker.stack.namespace": "shop" });
    host.create_network_with(
        json!({ "Name": "shop_front", "Driver": "overlay", "Attachable": false, "Labels": labels }),
    );
    let front = "---
apiVersion: landfall/v1
kind: Destination
metadata: { name: front }
spec: { server: infra/edge, adopt: true, network: { name: shop_front } }
";
    let world = World::new(&(server(&host.endpoint()) + front));
    for (command, code) in [("diff", 3), ("apply", 3), ("drift", 3)] {
        let ran = world.run(command).expect(code);
        for said in ["not attachable", "`front:`", "attachable: true"] {
            assert!(ran.stdout.contains(said), "{command}: {said}\n{ran}");
        }
        assert!(!ran.stdout.contains("connect traefik"), "{ran}");
    }
}
