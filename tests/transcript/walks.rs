//! Guides, and pages of commands that look, walked through on a daemon of their own.

use serde_json::json;

use super::place::Place;
use crate::support::repository::Upstream;
use crate::support::{Host, wait_for};

/// The yaml of a page that contains a text, without what comments say of it.
fn yaml(page: &str, containing: &str) -> String {
    crate::documents::block(page, "yaml", containing)
}

#[test]
fn the_tutorial_is_walked_through() {
    const PAGE: &str = "docs/tutorial.md";
    let host = Host::start();
    host.container("traefik").running();
    host.container("frontend").running();
    host.create_network("legacy");
    host.container("old").network("legacy").running();
    let mut place = Place::new("the_tutorial_is_walked_through", &host.endpoint());
    place.stands_for("unix:///var/run/docker.sock", &host.endpoint());
    place.declare("local.yaml", &yaml(PAGE, "kind: Server"));
    place.run(PAGE, "landfall scan local", &[0]);
    let found = std::fs::read_to_string(place.path().join("manifests/found.yaml")).unwrap();
    assert!(found.contains("name: legacy") && found.contains("adopt: true"), "{found}");
    place.command("landfall diff").expect(0);

    place.declare("web.yaml", &yaml(PAGE, "name: web-net"));
    place.command("landfall validate").expect(0);
    place.command("landfall explain destination.spec.network").expect(0);
    place.run(PAGE, "landfall diff          # exit code 1", &[1, 0, 0]);
    let drift = &place.run(PAGE, "docker network disconnect", &[0, 1, 0])[1];
    assert!(drift.stdout.contains("ProxyDetached"), "{drift}");
    assert!(host.networks_of("traefik").contains(&"web-net".to_owned()));

    let refused = &place.run(PAGE, "landfall delete destination web", &[3])[0];
    assert!(refused.stdout.contains("You must delete all resources before deleting this destination."), "{refused}");
    std::fs::remove_file(place.path().join("manifests/web.yaml")).unwrap();
    host.remove_container("frontend");
    let ran = place.run(PAGE, "landfall diff                                # says", &[0, 3, 0]);
    assert!(format!("{}", ran[0]).contains("web-net"), "{}", ran[0]);
    assert!(host.network_ids("web-net").is_empty(), "{}", ran[2]);
    assert_eq!(host.network_ids("legacy").len(), 1);
    place.done();
}

#[test]
fn the_guide_from_coolify_is_walked_through() {
    const PAGE: &str = "docs/guides/from-coolify.md";
    let host = Host::start();
    host.create_network("coolify");
    host.container("coolify-proxy").network("coolify").running();
    host.container("hs0kkcw8kw4gw0c0c8sgw4o8-081530123456")
        .label("coolify.managed", "true")
        .label("coolify.type", "application")
        .label("coolify.applicationId", "3")
        .label("coolify.pullRequestId", "0")
        .label("coolify.resourceName", "storefront")
        .network_with("coolify", json!({ "Aliases": ["storefront"] }))
        .running();
    let mut place = Place::new("the_guide_from_coolify_is_walked_through", &host.endpoint());
    place.stands_for("ssh://root@coolify-1.example.com", &host.endpoint());
    place.declare("server.yaml", &yaml(PAGE, "coolify-proxy"));
    place.run(PAGE, "landfall scan coolify-1", &[0, 0]);
    let found = std::fs::read_to_string(place.path().join("manifests/coolify-1.yaml")).unwrap();
    assert!(found.contains("name: storefront") && found.contains("coolify.applicationId"), "{found}");
    place.run(PAGE, "landfall apply", &[0]);
    place.command("landfall diff").expect(0);
    place.done();
}

/// Servers with regions and tiers, as the guide to a fleet has them, and a destination on each.
fn fleet(endpoints: [&str; 2]) -> String {
    let one = |(number, endpoint): (usize, &str)| {
        format!(
            "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge-{number}, labels: {{ region: {}, tier: edge }} }}
spec: {{ endpoint: '{endpoint}', proxy: {{ container: traefik, type: Traefik }} }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web-{number}, labels: {{ region: {}, tier: edge }} }}
spec: {{ server: edge-{number}, network: {{ name: web-net, subnets: [{{ subnet: 10.4{number}.0.0/24 }}] }} }}
---
",
            ["eu", "us"][number - 1],
            ["eu", "us"][number - 1],
        )
    };
    (1..).zip(endpoints).map(one).collect()
}

#[test]
fn the_guide_to_a_fleet_is_walked_through() {
    const PAGE: &str = "docs/guides/fleet-over-ssh.md";
    let hosts = [Host::start(), Host::start()];
    for host in &hosts {
        host.container("traefik").running();
    }
    let mut place = Place::new("the_guide_to_a_fleet_is_walked_through", &hosts[0].endpoint());
    let declared = fleet([&hosts[0].endpoint(), &hosts[1].endpoint()]);
    place.declare("fleet.yaml", &declared);
    let upstream = Upstream::with(&[("clusters/prod/fleet.yaml", &declared)]);
    place.stands_for("git@git.example.com:acme/infra.git", upstream.bare().to_str().unwrap());
    std::fs::create_dir(place.path().join("home/.ssh")).unwrap();
    place.run(PAGE, "ssh-keygen", &[0]);
    assert!(place.path().join("home/.ssh/landfall.pub").is_file());
    let ran = place.run(PAGE, "landfall diff -l region=eu", &[1, 0, 0, 0]);
    assert!(ran[0].stdout.contains("edge-1") && !ran[0].stdout.contains("edge-2"), "{}", ran[0]);
    assert!(ran[2].stdout.contains("web-1") && ran[2].stdout.contains("web-2"), "{}", ran[2]);
    assert!(hosts.iter().all(|host| host.network_ids("web-net").len() == 1), "{}", ran[3]);
    place.run(PAGE, "landfall run --git", &[0]);
    place.command("landfall get servers").expect(0);
    place.done();
}

const SHOP: &str = "apiVersion: landfall/v1
kind: Server
metadata: { name: edge-1 }
spec: { endpoint: 'unix:///var/run/docker.sock', proxy: { container: traefik, type: Traefik } }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: web }
spec: { server: edge-1, network: { name: web-net, subnets: [{ subnet: 10.42.0.0/24 }] } }
---
apiVersion: landfall/v1
kind: Application
metadata: { name: shop }
spec: { destination: web, containers: { names: [shop] } }
";

/// The shop of the reference, on a daemon with two pools of addresses.
fn shop(test: &str) -> (Host, Place) {
    let host = Host::builder()
        .pools(&[("172.17.0.0/16", 16), ("172.18.0.0/16", 16), ("172.19.0.0/16", 16), ("172.20.0.0/16", 16)])
        .start();
    host.container("traefik").running();
    host.container("shop").running();
    let mut place = Place::new(test, &host.endpoint());
    place.stands_for("unix:///var/run/docker.sock", &host.endpoint());
    place.declare("shop.yaml", SHOP);
    (host, place)
}

#[test]
fn the_pages_of_what_looks_show_what_it_prints() {
    let (host, place) = shop("the_pages_of_what_looks_show_what_it_prints");
    place.run("docs/reference/graph.md", "$ landfall graph", &[0]);
    let picture = std::fs::read_to_string(place.path().join("destinations.svg")).unwrap();
    assert!(roxmltree::Document::parse(&picture).unwrap().root_element().has_tag_name("svg"), "{picture}");
    place.command("landfall apply").expect(0);
    place.run("docs/reference/status.md", "$ landfall get dest -o jsonpath", &[0, 0]);
    place.run("docs/reference/subnets.md", "$ landfall subnets", &[0]);

    host.disconnect("web-net", "traefik");
    place.run("docs/reference/drift.md", "$ landfall drift", &[1, 1]);
    let junit = std::fs::read_to_string(place.path().join("drift.xml")).unwrap();
    assert!(junit.contains("<failure"), "{junit}");
    place.command("landfall apply").expect(0);

    host.create_network("cellar");
    host.container("wine").network("cellar").running();
    place.run("docs/reference/scan.md", "$ landfall scan", &[0, 0]);
    let found = std::fs::read_to_string(place.path().join("manifests/scanned.yaml")).unwrap();
    assert!(found.contains("name: cellar") && found.contains("name: wine"), "{found}");
    place.done();
}

#[test]
fn the_page_of_the_doctor_shows_what_it_finds() {
    let host = Host::start();
    host.create_network("shop-net");
    host.container("traefik").running();
    host.container("shop")
        .network("shop-net")
        .label("traefik.enable", "true")
        .label("traefik.http.routers.shop.rule", "Host(`shop.example.com`)")
        .label("traefik.http.services.shop.loadbalancer.server.port", "80")
        .running();
    let place = Place::new("the_page_of_the_doctor_shows_what_it_finds", &host.endpoint());
    place.declare(
        "shop.yaml",
        &SHOP.replace("edge-1", "edge").replace("unix:///var/run/docker.sock", &host.endpoint()).replace(
            "network: { name: web-net, subnets: [{ subnet: 10.42.0.0/24 }] }",
            "adopt: true, network: { name: shop-net }",
        ),
    );
    place.run("docs/reference/doctor.md", "$ landfall doctor shop", &[1]);
    place.command("landfall apply").expect(0);
    place.command("landfall doctor shop").expect(0);
    place.done();
}

#[test]
fn commands_for_ci_do_what_operating_says() {
    const PAGE: &str = "docs/operating.md";
    let (host, place) = shop("commands_for_ci_do_what_operating_says");
    let ran = place.run(PAGE, "landfall validate -f manifests", &[0, 1, 0]);
    assert!(ran[1].stdout.contains("create network web-net"), "{}", ran[1]);
    assert_eq!(host.network_ids("web-net").len(), 1);
    place.done();
}

#[test]
fn the_page_about_swarms_shows_what_diff_prints() {
    let host = Host::start();
    let _ = host.container("none");
    host.swarm_init();
    for name in ["traefik", "api"] {
        let container =
            json!({ "Image": crate::support::host::IMAGE, "Command": ["sleep", "1000000"], "StopGracePeriod": 1 });
        let service =
            host.post("/services/create", json!({ "Name": name, "TaskTemplate": { "ContainerSpec": container } }));
        let id = service["ID"].as_str().unwrap().to_owned();
        wait_for("its task runs", || {
            let tasks = host.get(&format!("/tasks?filters={{\"service\":[\"{id}\"]}}"));
            tasks.as_array()?.iter().any(|task| task["Status"]["State"] == "running").then_some(())
        });
    }
    let place = Place::new("the_page_about_swarms_shows_what_diff_prints", &host.endpoint());
    place.declare(
        "all.yaml",
        &format!(
            "apiVersion: landfall/v1
kind: Server
metadata: {{ name: m1, namespace: infra }}
spec: {{ endpoint: '{}', proxy: {{ service: traefik, type: Traefik }}, allowedNamespaces: [shop] }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web, namespace: shop }}
spec: {{ server: infra/m1, network: {{ name: web-net }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: api, namespace: shop }}
spec: {{ destination: web, containers: {{ swarmServices: [api] }}, endpoint: {{ aliases: [backend] }} }}
",
            host.endpoint()
        ),
    );
    place.run("docs/swarm.md", "$ landfall diff", &[1]);
    place.done();
}
