//! `subnets` against a daemon.

use serde_json::json;

use super::record::Watching;
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
    let mut watching = Watching::start(&world, &["subnets", "-w", "-o", "json"]);
    watching.reads(&["\"subnet\": \"10.42.0.0/29\""]);
    watching.reads(&["\"free\": 2"]);
    for name in ["three", "four"] {
        host.container(name).network("web").running();
    }
    let id = host.container("five").network("web").created();
    assert_ne!(host.api("POST", &format!("/containers/{id}/start"), &json!(null)).status, 204);
    let full = world.run("subnets -o json").expect(0).json();
    let web = full["servers"][0]["networks"].as_array().unwrap().iter().find(|it| it["network"] == "web").unwrap();
    assert_eq!(web["free"], 0);
    watching.reads(&["\"subnet\": \"10.42.0.0/29\""]);
    watching.reads(&["\"free\": 0"]);
}

#[test]
fn two_servers_share_a_pool_and_get_ranges_that_nobody_else_has() {
    let (one, two) = (Host::start(), Host::start());
    let manifests = |further: &str| {
        let server = |name: &str, host: &Host| {
            format!(
                "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: {name} }}\n\
                 spec: {{ endpoint: '{}', subnetPool: {{ ranges: [10.64.0.0/21] }}, reservedRanges: [10.64.7.0/24], defaultDestination: {name}-0 }}\n---\n",
                host.endpoint()
            )
        };
        let destination = |server: &str, number: usize| {
            format!(
                "apiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {server}-{number} }}\n\
                 spec: {{ server: {server}, network: {{ name: net-{number}, subnets: auto }} }}\n---\n"
            )
        };
        let destinations: String = (0..3).flat_map(|at| [destination("one", at), destination("two", at)]).collect();
        server("one", &one) + &server("two", &two) + &destinations + further
    };
    // Somebody's own network is in the pool as well.
    one.create_network_with(json!({ "Name": "theirs", "IPAM": { "Config": [{ "Subnet": "10.64.2.0/25" }] } }));
    one.container("app").running();
    let app = "apiVersion: landfall/v1\nkind: Application\nmetadata: { name: app }\n\
               spec: { server: one, containers: { names: [app] } }\n";
    let world = World::new(&manifests(app));
    world.run("apply").expect(0);
    world.run("diff").expect(0);
    let range = |host: &Host, number: usize| {
        let network = host.get(&format!("/networks/net-{number}"));
        network["IPAM"]["Config"][0]["Subnet"].as_str().unwrap().to_owned()
    };
    let mut ranges: Vec<String> = (0..3).flat_map(|at| [range(&one, at), range(&two, at)]).collect();
    assert!(ranges.iter().all(|it| it.starts_with("10.64.") && it.ends_with(".0/24")), "{ranges:?}");
    ranges.extend(["10.64.2.0/24".to_owned(), "10.64.7.0/24".to_owned()]);
    ranges.sort();
    ranges.dedup();
    assert_eq!(ranges.len(), 8, "six, somebody's, and the reserved one: {ranges:?}");
    let networks = &one.inspect("app")["NetworkSettings"]["Networks"];
    assert!(networks.get("net-0").is_some(), "on the server's default: {networks}");

    let map = world.run("subnets -o json").expect(0).json();
    assert_eq!(map["sharedPools"][0]["servers"], json!(["default/one", "default/two"]));
    assert_eq!((&map["sharedPools"][0]["used"], &map["sharedPools"][0]["free"]), (&json!(8), &json!(0)));
    assert_eq!(map["collisions"], json!([]));
    let text = world.run("subnets").expect(0).stdout;
    assert!(text.contains("Pools of servers") && text.contains("default/one, default/two"), "{text}");
    assert!(std::fs::read_dir(world.path().join("state/landfall/usage")).unwrap().count() >= 2, "for forecasts");

    // One more does not fit, and everything else stays.
    let more = "apiVersion: landfall/v1\nkind: Destination\nmetadata: { name: one-more }\n\
                spec: { server: one, network: { name: net-more, subnets: auto } }\n";
    world.write("manifests/all.yaml", &manifests(&format!("{app}---\n{more}")));
    let refused = world.run("apply").expect(3);
    assert!(refused.stdout.contains("AddressPoolExhausted"), "{refused}");
    let low = world.run("diff").expect(3);
    assert!(low.stdout.contains("0 of 8 networks of /24 of its subnetPool 10.64.0.0/21"), "{low}");
}
