//! `top` against a real daemon: a container that is busy, and one beside it that no manifest declares.

use super::record::Watching;
use crate::cli::world::World;
use crate::support::Host;

fn manifests(host: &Host) -> String {
    format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge }}
spec: {{ endpoint: '{}' }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web }}
spec: {{ server: edge, network: {{ name: web-net }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: shop }}
spec:
  destination: web
  image: landfall/busybox:test
  command: [sh, -c, 'while :; do :; done']
  stopSignal: SIGKILL
",
        host.endpoint()
    )
}

#[test]
fn what_is_used_is_shown_by_destination_resource_and_container() {
    let host = Host::start();
    let _ = host.container("none");
    let world = World::new(&manifests(&host));
    world.run("apply").expect(0);
    host.container("beside").network("web-net").running();
    let top = |by: &str| world.run(&format!("top {by} -o json")).expect(0).json();
    let containers = top("containers");
    let names: Vec<_> = containers["containers"].as_array().unwrap().iter().map(|it| &it["container"]).collect();
    assert_eq!(names, ["beside", "default-shop-1"], "{containers}");
    let busy = &containers["containers"][1];
    assert!(busy["cpu"].as_f64().unwrap() > 0.05 && busy["memory"].as_u64().unwrap() > 0, "{busy}");
    assert_eq!(busy["resource"], "Application/default/shop");
    assert_eq!(top("")["destinations"][0]["containers"], 2);
    assert_eq!(top("resources")["resources"][0]["name"], "Application/default/shop");
    let mut watching = Watching::start(&world, &["top", "containers", "-w", "--interval", "100ms"]);
    watching.reads(&["beside"]);
    host.remove_container("beside");
    host.container("later").network("web-net").running();
    watching.reads(&["later"]);
    let table = world.run("top").expect(0).stdout;
    assert!(table.starts_with("DESTINATION") && table.contains("default/web"), "{table}");
}
