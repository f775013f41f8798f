//! Before and after a deletion: what depends on a destination from outside of it, and what is left when it is gone.

use super::workloads::names;
use crate::cli::run::Ran;
use crate::cli::world::World;
use crate::support::{Host, wait_for};

fn manifests(host: &Host, proxy: &str) -> String {
    format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge }}
spec: {{ endpoint: '{}', proxy: {{ container: proxy, type: {proxy} }} }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web }}
spec: {{ server: edge, network: {{ name: web-net, subnets: [{{ subnet: 10.42.0.0/24 }}] }} }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: jobs }}
spec: {{ server: edge, network: {{ name: jobs-net }}, proxy: false }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: shop }}
spec: {{ destination: web, containers: {{ names: [shop] }}, endpoint: {{ aliases: [shop-api] }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: worker }}
spec:
  destination: jobs
  image: landfall/busybox:test
  command: [sleep, '1000000']
  stopSignal: SIGKILL
  env: [{{ name: SHOP_URL, value: 'http://user:hunter2@shop-api:8080/' }}]
",
        host.endpoint()
    )
}

#[track_caller]
fn says(ran: &Ran, texts: &[&str]) {
    for text in texts {
        assert!(ran.to_string().contains(text), "{text:?} is not in it:\n{ran}");
    }
}

/// A shop on the destination, and everything outside of it that has to do with it.
fn street(host: &Host, proxy: &str) -> World {
    host.container("shop")
        .label("traefik.http.routers.shop.rule", "Host(`shop.example.com`)")
        .label("traefik.docker.network", "web-net")
        .running();
    host.create_network("elsewhere");
    host.container("legacy").network("elsewhere").env("SHOP=http://10.42.0.99:8080").running();
    let world = World::new(&manifests(host, proxy));
    world.write("lb.caddyfile", "shop.example.com {\n  # was shop-api\n  reverse_proxy shop-api:8080\n}\n");
    world.run("apply --yes").expect(0);
    world
}

const OUTSIDE: [&str; 5] = [
    "removing Destination/default/web also concerns:",
    "container legacy (running), whose environment variable SHOP mentions 10.42.0.99",
    "Application/default/worker on default/jobs, whose env SHOP_URL mentions shop-api",
    "lb.caddyfile:3, which names shop-api",
    "DNS name shop.example.com, which leads to it",
];

#[test]
fn what_depends_on_a_destination_is_listed_before_it_goes_and_traefik_is_asked_afterwards() {
    let host = super::traefik::host();
    // A route that no label makes stays when the destination goes.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("routes.yml");
    let stays = "http:\n  routers:\n    old: { rule: 'Host(`old.example.com`)', service: old }\n  services:\n    old: { loadBalancer: { servers: [{ url: 'http://10.42.0.200:80' }] } }\n";
    std::fs::write(&file, stays).unwrap();
    host.container("proxy")
        .image("landfall/traefik:test")
        .bind(&host.socket(), "/var/run/docker.sock")
        .bind(&file, "/routes.yml")
        .command(&[
            "traefik",
            "--entrypoints.web.address=:80",
            "--api.insecure=true",
            "--providers.docker=true",
            "--providers.file.filename=/routes.yml",
            "--providers.providersthrottleduration=100ms",
        ])
        .running();
    let world = street(&host, "Traefik");
    let refused = world.run("delete destination web --yes --proxy-config lb.caddyfile").expect(3);
    says(&refused, &OUTSIDE[1..]);
    says(&refused, &["You must delete all resources before deleting this destination."]);
    says(&refused, &["removing Destination/default/web would also concern:"]);
    let answers = || host.exec("proxy", &["wget", "-q", "-O", "-", "http://127.0.0.1:8080/api/http/services"]);
    wait_for("Traefik's API", || answers().contains("10.42.0.200").then_some(()));

    let forced = world.run("delete destination web --force --yes --proxy-config lb.caddyfile").expect(0);
    says(&forced, &OUTSIDE);
    says(
        &forced,
        &["the proxy of Server/default/edge still sends requests to 10.42.0.200, which was on Destination/default/web"],
    );
    assert!(!forced.to_string().contains("hunter2"), "{forced}");
    assert_eq!(host.network_ids("web-net"), Vec::<String>::new());
    assert!(!host.networks_of("shop").contains(&"web-net".to_owned()));
    let missing = world.run("delete destination jobs --yes --proxy-config nowhere").expect(2);
    says(&missing, &["nowhere cannot be read"]);
}

#[test]
fn caddy_is_asked_afterwards_and_says_nothing_where_nothing_is_left() {
    let host = Host::start();
    host.import_image("landfall/caddy:test", &["/usr/bin/caddy"]);
    let config = r#"{"apps":{"http":{"servers":{"s":{"listen":[":80"],"routes":[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"shop-api:8080"}]}]}]}}}}}"#;
    let start = format!("echo '{config}' > /tmp/c.json && exec caddy run --config /tmp/c.json");
    host.container("proxy")
        .image("landfall/caddy:test")
        .env("HOME=/tmp")
        .command(&["sh", "-c", &format!("PATH=$PATH:/usr/bin; {start}")])
        .running();
    let world = street(&host, "Caddy");
    let admin = || host.exec("proxy", &["wget", "-q", "-O", "-", "http://127.0.0.1:2019/config/"]);
    wait_for("Caddy's admin API", || admin().contains("shop-api").then_some(()));
    let forced = world.run("delete destination web --force --yes").expect(0);
    says(&forced, &["still sends requests to shop-api, which was on Destination/default/web"]);
    let forced = world.run("delete destination jobs --force --yes").expect(0);
    assert!(!forced.to_string().contains("still sends requests"), "{forced}");
}

/// Force is asked for by name where it does harm, and only there.
#[test]
fn force_asks_for_the_name_where_something_would_be_removed() {
    let host = Host::start();
    host.create_network("old-net");
    host.container("guest").network("old-net").running();
    let destination = |name: &str, further: &str| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name} }}\nspec: {{ server: edge, proxy: false, network: {{ name: {name}-net }}{further} }}\n"
        )
    };
    let server = format!(
        "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: edge }}\nspec: {{ endpoint: '{}' }}\n",
        host.endpoint()
    );
    let world = World::new(
        &(server.clone() + &destination("old", ", adopt: true") + &destination("web", "") + &destination("empty", "")),
    );
    world.run("apply").expect(0);
    host.container("shop").network("web-net").running();

    let adopted = world.run_with_input("delete destination old --force", "").expect(0);
    says(&adopted, &["The network \"old-net\" is adopted"]);
    assert!(
        !adopted.stderr.contains("Type the destination's name") && !adopted.stderr.contains("removes its network"),
        "{adopted}"
    );
    assert!(host.networks_of("guest").contains(&"old-net".to_owned()));

    let unsaid = world.run_with_input("delete destination web --force", "").expect(2);
    says(&unsaid, &["This stops and disconnects every container on Destination/default/web, and removes its network."]);
    let wrong = world.run_with_input("delete destination web --force", "wbe\n").expect(2);
    says(&wrong, &["was not typed; nothing was done"]);
    assert_eq!(host.state("shop"), "running");
    let typed = world.run_with_input("delete destination web --force", "web\n").expect(0);
    assert_eq!((host.state("shop"), host.network_ids("web-net").len()), ("exited".to_owned(), 0), "{typed}");
    let empty = world.run_with_input("delete destination empty --force", "empty\n").expect(0);
    says(&empty, &["This removes the network of Destination/default/empty, which no container is on."]);

    let gone = World::new(&(server.replace(&host.endpoint(), "unix:///nonexistent.sock") + &destination("web", "")));
    let unsaid = gone.run_with_input("delete destination web --force", "").expect(2);
    says(
        &unsaid,
        &["Server/default/edge cannot be reached. This forgets Destination/default/web, and removes nothing there."],
    );
}

#[test]
fn volumes_of_what_was_deleted_are_named() {
    let host = Host::start();
    let stack = "---
apiVersion: landfall/v1
kind: Service
metadata: { name: cms, namespace: shop }
spec: { destination: web, compose: { project: cms, file: ../stack.yaml } }
";
    let world = super::compose::world(&host, stack);
    world.run("apply").expect(0);
    let deleted = world.run("delete service cms -n shop --yes").expect(0);
    says(&deleted, &["Volumes remain on infra/edge: cms_data."]);
    assert_eq!(names(&host), Vec::<String>::new());
}

#[test]
fn unused_destinations_are_reported_with_how_long_they_are() {
    let host = Host::start();
    let _ = host.container("none");
    let world =
        World::new(&manifests(&host, "Other").replace("container: proxy, ", "container: proxy, refresh: false, "));
    host.container("proxy").running();
    world.run("apply --yes").expect(0);
    // The record begins with the first look at which nothing had to be done.
    world.run("apply --yes").expect(0);
    let unused = world.run("drift --unused").expect(0);
    says(&unused, &["Unused", "Destination/default/web", "web-net"]);
    assert!(!unused.stdout.contains("Destination/default/jobs  "), "it has a member: {unused}");
    let json = world.run("drift --unused --unused-for 0 -o json").expect(1).json();
    let web = &json["unused"][0];
    assert_eq!((&web["object"], &web["due"]), (&"Destination/default/web".into(), &true.into()));
    assert!(web["since"].is_string(), "{json}");
    assert_eq!(json["unused"].as_array().unwrap().len(), 1, "{json}");
    assert!(world.run("drift -o json").expect(0).json().get("unused").is_none());
    host.container("shop").running();
    world.run("apply --yes").expect(0);
    says(&world.run("drift --unused --unused-for 0").expect(0), &["No drift"]);
    world.run("drift --unused-for 3d").expect(2);
}
