//! `scan` against a real daemon: what it writes is valid, and the next plan has nothing to do.

use std::fs;

use landfall::core::manifest::{Manifests, Source, load};
use landfall::core::plan::{FreshIds, NoteKind, Plan, PlanInput, Request, plan};
use landfall::shell::engine::connect::{ConnectOptions, reader};
use landfall::shell::observe::{Interest, ObserveLimits, observe_all};
use landfall::shell::store::known::Known;
use serde_json::json;

use crate::cli::run::landfall;
use crate::support::Host;

fn planned(manifests: &Manifests) -> Plan {
    let desired = manifests.desired("default");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connect = |server: &_| reader(server, &ConnectOptions::default());
    let known = Known::default();
    let look = observe_all(
        desired.servers.values().map(AsRef::as_ref),
        Interest::declared,
        connect,
        &known,
        ObserveLimits::default(),
    );
    let observed = runtime.block_on(look);
    let (request, ids) = (Request::default(), FreshIds::default());
    plan(&PlanInput { desired: &desired, observed: &observed, request: &request, ids: &ids, journals: &[] })
}

/// Containers of every state and origin, networks with every property.
fn furnish(host: &Host) {
    host.create_network_with(json!({
        "Name": "web",
        "IPAM": { "Config": [{ "Subnet": "10.42.0.0/24", "Gateway": "10.42.0.254", "IPRange": "10.42.0.128/25",
            "AuxiliaryAddresses": { "router": "10.42.0.5" } }] },
        "Options": {
            "com.docker.network.driver.mtu": "1400",
            "com.docker.network.bridge.enable_icc": "false",
            "com.docker.network.bridge.name": "br-scan",
        },
        "Labels": { "team": "shop", "answer": "yes" },
    }));
    host.create_network_with(json!({
        "Name": "six", "EnableIPv6": true,
        "IPAM": { "Config": [{ "Subnet": "10.43.0.0/24" }, { "Subnet": "fd00:43::/64" }] },
    }));
    host.create_network_with(json!({ "Name": "inner", "Internal": true }));
    host.create_network("empty_Net.1");
    host.create_network_with(json!({
        "Name": "blog_default",
        "Labels": { "com.docker.compose.project": "blog", "com.docker.compose.network": "default" },
    }));
    host.container("traefik").network("web").running();
    host.container("fixed")
        .network_with("web", json!({
            "Aliases": ["api", "backend"], "IPAMConfig": { "IPv4Address": "10.42.0.10" }, "DriverOpts": { "com.example.one": "1" }
        }))
        .network("inner")
        .running();
    host.container("both")
        .network_with("six", json!({ "IPAMConfig": { "IPv4Address": "10.43.0.9", "IPv6Address": "fd00:43::9" } }))
        .exited();
    host.container("never-started").network_with("web", json!({ "Aliases": ["later"] })).created();
    host.container("paused").network("inner").paused();
    for (service, name) in [("web", "blog-web-1"), ("web", "blog-web-2"), ("db", "blog-db-1")] {
        host.container(name)
            .label("com.docker.compose.project", "blog")
            .label("com.docker.compose.service", service)
            .network_with("blog_default", json!({ "Aliases": [service] }))
            .running();
    }
    host.container("blog-web-run-1")
        .label("com.docker.compose.project", "blog")
        .label("com.docker.compose.service", "web")
        .label("com.docker.compose.oneoff", "True")
        .network("blog_default")
        .running();
    host.container("u1-101010")
        .label("coolify.managed", "true")
        .label("coolify.type", "application")
        .label("coolify.applicationId", "3")
        .label("coolify.pullRequestId", "0")
        .label("coolify.resourceName", "shop-front")
        .network("web")
        .exited();
    host.container("on-the-bridge").running();
}

#[test]
fn after_a_scan_there_is_nothing_to_do() {
    let host = Host::start();
    furnish(&host);
    let directory = tempfile::tempdir().unwrap();
    let scan = landfall(directory.path(), ["scan", &host.endpoint()]).expect(0);
    let manifests =
        load(&[Source { name: "scanned.yaml".to_owned(), bytes: scan.stdout.clone().into_bytes() }]).unwrap();
    let objects: Vec<String> = manifests.objects().map(|located| located.object.key().to_string()).collect();
    let server = objects[0].rsplit('/').next().unwrap().to_owned();
    assert_eq!(
        objects[1..],
        [
            "Destination/default/blog-default",
            "Destination/default/empty-net-1",
            "Destination/default/inner",
            "Destination/default/six",
            "Destination/default/web",
            "Application/default/both",
            "Application/default/fixed",
            "Application/default/fixed-inner",
            "Application/default/never-started",
            "Application/default/paused",
            "Application/default/shop-front",
            "Application/default/traefik",
            "Service/default/blog",
        ]
    );
    for kept in ["router: 10.42.0.5", "com.example.one: '1'"] {
        assert!(scan.stdout.contains(kept), "{kept}\n{scan}");
    }
    let plan = planned(&manifests);
    let notes = plan.servers.iter().flat_map(|server| &server.notes);
    assert!(plan.servers.iter().all(|server| server.server_type.is_some() && server.groups.is_empty()), "{plan:#?}");
    assert!(notes.clone().all(|note| note.kind == NoteKind::Warning), "{:#?}", notes.collect::<Vec<_>>());

    // The same server, now declared: nothing is left to scan.
    fs::create_dir(directory.path().join("manifests")).unwrap();
    fs::write(directory.path().join("manifests/scanned.yaml"), &scan.stdout).unwrap();
    let again = landfall(directory.path(), ["scan", &server]).expect(0);
    assert_eq!(again.stdout, format!("# Every network on default/{server} that can be a destination is declared.\n"));
    let by_endpoint = landfall(directory.path(), ["scan", &host.endpoint()]).expect(0);
    assert_eq!(by_endpoint.stdout, again.stdout);
}

#[test]
fn overlays_of_a_swarm_are_scanned() {
    let host = Host::start();
    host.swarm_init();
    host.create_network_with(json!({
        "Name": "over", "Driver": "overlay", "Attachable": true,
        "IPAM": { "Config": [{ "Subnet": "10.77.0.0/24" }] },
    }));
    host.create_network("local-bridge");
    host.container("plain").network("over").running();
    let directory = tempfile::tempdir().unwrap();
    let scan = landfall(directory.path(), ["scan", &host.endpoint()]).expect(0);
    assert!(scan.stderr.contains("local-bridge") && !scan.stdout.contains("ingress"), "{scan}");
    let manifests =
        load(&[Source { name: "scanned.yaml".to_owned(), bytes: scan.stdout.clone().into_bytes() }]).unwrap();
    assert!(scan.stdout.contains("10.77.0.0/24") && scan.stdout.contains("- plain"), "{scan}");
    let plan = planned(&manifests);
    assert!(plan.servers.iter().all(|server| server.groups.is_empty() && server.notes.is_empty()), "{plan:#?}");
}

#[test]
fn a_scan_of_a_server_that_is_not_there_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let unknown = landfall(directory.path(), ["scan", "edge-1"]).expect(2);
    assert!(unknown.stdout.is_empty() && unknown.stderr.contains("no manifest declares a server"), "{unknown}");
    let absent = landfall(directory.path(), ["scan", "unix:///nowhere/docker.sock"]).expect(2);
    assert!(absent.stdout.is_empty() && absent.stderr.contains("/nowhere/docker.sock"), "{absent}");
    landfall(directory.path(), ["scan", "ftp://x"]).expect(2);
}
