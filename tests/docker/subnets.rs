//! `subnets` against a daemon.

use serde_json::json;

use crate::cli::world::World;
use crate::support::Host;

#[test]
fn what_is_used_and_free_is_what_the_daemon_gives_out() {
    let host = Host::builder().pools(&[("10.200.0.0/26", 28)]).start();
    host.create_network_with(json!({
        "Name": "web", "IPAM": { "Config": [{ "Subnet": "10.42.0.0/29", "AuxiliaryAddresses": { "printer": "10.42.0.6" } }] },
    }));
    host.create_network("other");
    for name in ["one", "two"] {
        host.container(name).network("web").running();
    }
    host.container("stopped").network("web").exited();
    let world = World::new(&format!(
        "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: edge }}\nspec: {{ endpoint: '{}' }}\n---\n\
         apiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: web }}\n\
         spec: {{ server: edge, network: {{ name: web }}, adopt: true }}\n",
        host.endpoint()
    ));
    let map = world.run("subnets -o json").expect(0).json();
    let web = map["servers"][0]["networks"].as_array().unwrap().iter().find(|it| it["network"] == "web").unwrap();
    assert_eq!(
        *web,
        json!({
            "network": "web", "driver": "bridge", "destination": "default/web", "subnet": "10.42.0.0/29",
            "total": 6, "used": 4, "free": 2,
        })
    );
    // The default bridge, and `other`.
    let pool = &map["servers"][0]["pools"][0];
    assert_eq!((&pool["used"], &pool["free"], &pool["next"]), (&json!(2), &json!(2), &json!("10.200.0.32/28")));
    let text = world.run("subnets edge").expect(0).stdout;
    assert!(text.contains("10.42.0.0/29") && text.contains("default/web") && text.contains("Address pools"), "{text}");
    // As many as are free can be had, and no more.
    for name in ["three", "four"] {
        host.container(name).network("web").running();
    }
    let id = host.container("five").network("web").created();
    assert_ne!(host.api("POST", &format!("/containers/{id}/start"), &json!(null)).status, 204);
    let full = world.run("subnets -o json").expect(0).json();
    let web = full["servers"][0]["networks"].as_array().unwrap().iter().find(|it| it["network"] == "web").unwrap();
    assert_eq!(web["free"], 0);
}
