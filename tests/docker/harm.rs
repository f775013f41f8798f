//! What deploy tools and people do beside Landfall, and nobody is cut off by.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::controller::{Controller, until};
use super::keep::{is_on, shop};
use crate::cli::world::{World, server};
use crate::support::Host;

fn rename(host: &Host, container: &str, to: &str) {
    host.post(&format!("/containers/{container}/rename?name={to}"), Value::Null);
}

/// The old container and the old proxy are renamed, and the new ones end a moment after they were started.
#[test]
fn a_successor_that_crashes_again_and_again_takes_nobodys_place_and_one_that_runs_does_after_five_seconds() {
    let (host, world) = shop();
    let mut controller = Controller::start(&world, &[]);
    let on = |container: &str| is_on(&host, container, "web-net");
    until("convergence", &mut controller, || on("frontend") && on("traefik"));
    for name in ["frontend", "traefik"] {
        rename(&host, name, &format!("{name}-old"));
        host.container(name).command(&["sh", "-c", "sleep 0.7; exit 3"]).restart("always").running();
    }
    until("connecting the new ones", &mut controller, || on("frontend") && on("traefik"));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) {
        assert!(on("frontend-old") && on("traefik-old"), "after {:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
    let drift = world.run("drift").expect(1);
    for text in
        ["The container \"frontend\" ends again and again", "The proxy \"traefik\" ends again and again", "Restarting"]
    {
        assert!(drift.to_string().contains(text), "{text:?} is not in it:\n{drift}");
    }
    let told = world.run("describe application frontend -n shop").expect(0);
    assert!(told.to_string().contains("Restarting"), "{told}");
    let told = world.run("get destination web -n shop").expect(0);
    assert!(!told.to_string().contains("True"), "{told}");

    // What is put in their place runs, and is let take over when that is known.
    for name in ["frontend", "traefik"] {
        host.remove_container(name);
        host.container(name).running();
    }
    let begun = Instant::now();
    until("connecting the new ones", &mut controller, || on("frontend") && on("traefik"));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(on("frontend-old") && on("traefik-old"));
    until("letting go the old ones", &mut controller, || !on("frontend-old") && !on("traefik-old"));
    let took = begun.elapsed();
    assert!(Duration::from_secs(4) < took && took < Duration::from_secs(12), "{took:?}");
    world.run("drift").expect(0);
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
}

fn destination(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name} }}\nspec: {{ server: infra/edge, {spec} }}\n"
    )
}

const APP: &str = "---
apiVersion: landfall/v1
kind: Application
metadata: { name: app }
spec: { destination: web, containers: { labels: { com.docker.compose.project: shop } }, endpoint: { aliases: [app-web] } }
";

/// What Compose has made on its own network, which was made anew as Landfall's, or which Landfall has given an alias on a network of its own that was
/// made anew since.
#[test]
fn what_something_else_runs_on_a_network_keeps_it_when_its_manifests_go() {
    let host = Host::start();
    host.container("traefik").running();
    let compose = |name: &str, network: &str| {
        host.container(name).label("com.docker.compose.project", "shop").network(network).running();
    };
    host.create_network("shop_default");
    compose("adopted", "shop_default");
    let on = |container: &str, network: &str| is_on(&host, container, network);
    let adopted = destination("web", "network: { name: shop_default }, adopt: true, takeOwnership: true");
    let aside = destination("aside", "network: { name: aside-net }, proxy: false");
    let world = World::new(&(server(&host.endpoint()) + &adopted + &aside + APP));
    world.run("apply --yes").expect(0);
    assert!(host.inspect_network("shop_default")["Labels"]["landfall.set"].is_string());

    // The resource goes, then the destination.
    world.write("manifests/all.yaml", &(server(&host.endpoint()) + &adopted + &aside));
    let said = world.run("apply --prune --yes").expect(0);
    assert!(said.to_string().contains("before Landfall connected it: it stays there"), "{said}");
    assert!(on("adopted", "shop_default"));
    world.write("manifests/all.yaml", &(server(&host.endpoint()) + &aside));
    let said = world.run("apply --prune --yes --allow-mass-delete").expect(3);
    assert!(said.to_string().contains("Container adopted, running"), "{said}");
    assert!(on("adopted", "shop_default") && on("traefik", "shop_default"));
    let mut controller = Controller::start(&world, &[]);
    controller.says("You must delete all resources");
    assert!(on("adopted", "shop_default"));

    // One of Landfall's own, on which Compose has put its container, and that is made anew.
    let own = |subnet: &str| {
        destination(
            "web",
            &format!("network: {{ name: web-net, subnets: [{{ subnet: {subnet} }}] }}, replacement: Reattach"),
        )
    };
    let declare = |manifests: &str| {
        world.write("manifests/all.yaml", &(server(&host.endpoint()) + manifests + &aside));
    };
    declare(&own("10.42.0.0/24"));
    if host.api_version() >= (1, 44) {
        // It could never be started again.
        controller.says("starts none of them without it");
        assert!(on("adopted", "shop_default"));
        host.remove_container("adopted");
    }
    until("making the network", &mut controller, || !host.network_ids("web-net").is_empty());
    compose("own", "web-net");
    declare(&(own("10.42.0.0/24") + APP));
    let aliased = || host.endpoint_of("own", "web-net")["Aliases"].to_string().contains("app-web");
    until("giving it the alias", &mut controller, aliased);
    declare(&(own("10.43.0.0/24") + APP));
    // For a moment there is none of the name.
    let made = || host.api("GET", "/networks/web-net", &json!(null)).body["IPAM"].to_string().contains("10.43.0.0/24");
    until("making the network anew", &mut controller, || made() && on("own", "web-net"));
    declare("");
    controller.says("You must delete all resources");
    world.run("apply --prune --yes --allow-mass-delete").expect(3);
    assert!(on("own", "web-net"));
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
}

const MANAGED: &str = "---
apiVersion: landfall/v1
kind: Application
metadata: { name: api }
spec: { destination: web, image: 'landfall/busybox:test', command: [sleep, '1000000'], stopSignal: SIGKILL }
---
apiVersion: landfall/v1
kind: Application
metadata: { name: other }
spec: { destination: web, containers: { names: [default-api-1] } }
";

#[test]
fn a_container_that_landfall_runs_and_a_person_renames_serves_on_and_gets_its_name_back() {
    let host = Host::start();
    host.container("traefik").running();
    let web = destination("web", "network: { name: web-net }");
    let world = World::new(&(server(&host.endpoint()) + &web + MANAGED));
    world.run("apply --yes").expect(0);
    let validated = world.run("validate").expect(0);
    let drift = world.run("drift").expect(1);
    for told in [validated, drift] {
        assert!(told.to_string().contains("the container \"default-api-1\""), "{told}");
        assert!(told.to_string().contains("Application/default/api"), "{told}");
    }
    let made = host.inspect("default-api-1")["Id"].clone();
    rename(&host, "default-api-1", "mine");
    let plan = world.run("diff").expect(1);
    assert!(plan.stdout.contains("rename mine to default-api-1") && !plan.stdout.contains("disconnect"), "{plan}");
    // A copy of its labels is somebody else's, whatever becomes of the original.
    let labels = host.inspect("mine")["Config"]["Labels"].as_object().unwrap().clone();
    let copy = labels
        .iter()
        .fold(host.container("copy").network("web-net"), |it, (key, value)| it.label(key, value.as_str().unwrap()));
    copy.running();
    let mut controller = Controller::start(&world, &[]);
    let is_back = || host.api("GET", "/containers/default-api-1/json", &Value::Null).status == 200;
    until("giving it its name back", &mut controller, is_back);
    assert_eq!(host.inspect("default-api-1")["Id"], made);
    assert!(is_on(&host, "default-api-1", "web-net") && is_on(&host, "copy", "web-net"));
    let told = world.run("drift").expect(1);
    assert!(
        told.to_string().contains("The container \"copy\" carries the labels of Application/default/api"),
        "{told}"
    );
    // Renamed and no longer declared, it goes as any other.
    rename(&host, "default-api-1", "mine");
    world.write("manifests/all.yaml", &(server(&host.endpoint()) + &web));
    let there = |name: &str| host.api("GET", &format!("/containers/{name}/json"), &Value::Null).status == 200;
    let gone = || !there("mine") && !there("default-api-1");
    until("removing it", &mut controller, gone);
    assert_eq!(host.state("copy"), "running");
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
}
