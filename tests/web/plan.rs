//! `POST /api/v1/plan`: manifests in, plan out, nothing changed.

use serde_json::Value;

use super::api::{check, described};
use super::client::{self, Answer};
use super::live::Running;
use super::served::{Served, TOKEN};
use crate::cli::world::{SHOP, World, server};
use crate::support::{Host, wait_for};

const PLAN: &str = "/api/v1/plan";

fn post(address: std::net::SocketAddr, query: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let host = address.to_string();
    let headers: Vec<_> = [("Host", host.as_str())].into_iter().chain(headers.iter().copied()).collect();
    client::send(client::connect(address), &format!("POST {PLAN}{query}"), &headers, body)
}

const YAML: (&str, &str) = ("Content-Type", "application/yaml");

fn manifests(endpoint: &str) -> String {
    server(endpoint) + SHOP
}

#[test]
fn what_is_not_manifests_is_refused_and_says_why() {
    let served = Served::new();
    let description = described();
    let ask = |headers: &[(&str, &str)], body: &str, status: u16| {
        let answer = post(served.address, "", headers, body).expect(status).json();
        check(&description, PLAN, "post", status, &answer);
        answer
    };
    // What a page of somebody else may send without asking.
    for unasked in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        ask(&[("Content-Type", unasked)], "kind: Server", 415);
    }
    let typo = manifests("unix:///nonexistent").replace("subnets:", "subnet:");
    let refused = ask(&[YAML], &typo, 422);
    assert_eq!(refused["reason"], "ManifestInvalid", "{refused:#}");
    let problems = refused["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{refused:#}");
    let said = problems[0].to_string();
    assert!(said.contains("subnet") && said.contains("request") && said.contains("\"line\""), "{said}");
    assert_eq!(ask(&[YAML], "# nothing\n", 422)["reason"], "ManifestInvalid");
    assert_eq!(ask(&[YAML], &"#\n".repeat(600_000), 413)["reason"], "TooLarge");
    assert_eq!(post(served.address, "?purge=true", &[YAML], "").expect(400).json()["reason"], "BadRequest");
    client::get(served.address, PLAN).expect(405);
}

#[test]
fn a_server_that_is_not_kept_is_not_asked_and_no_file_is_read_for_a_request() {
    let served = Served::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let endpoint = format!("tcp://{}\n  insecure: true", listener.local_addr().unwrap());
    let managed = "---
apiVersion: landfall/v1
kind: Application
metadata: { name: curious, namespace: shop }
spec:
  destination: web
  image: example/app:1
  env: [{ name: HOSTNAME_OF_HOST, valueFrom: { file: /etc/hostname } }]
";
    let answer = post(served.address, "", &[YAML], &(manifests(&endpoint) + managed)).expect(200).json();
    assert_eq!(answer["servers"][0]["reachable"], false, "{answer:#}");
    assert!(answer.to_string().contains("keeps no server of that name with that endpoint"), "{answer:#}");
    assert!(listener.accept().is_err(), "it was asked");
}

#[test]
fn planning_is_for_whoever_may_read() {
    let served = Served::with_read_token("a-token-to-read-with");
    let beyond = ("X-Forwarded-For", "203.0.113.7");
    let body = manifests("unix:///nonexistent");
    post(served.address, "", &[YAML, beyond], &body).expect(401);
    for token in ["a-token-to-read-with", TOKEN] {
        post(served.address, "", &[YAML, beyond, ("Authorization", &format!("Bearer {token}"))], &body).expect(200);
    }
    post(served.address, "", &[YAML], &body).expect(200);
}

#[test]
fn the_plan_is_that_of_the_servers_as_they_are_and_nothing_is_changed() {
    let host = Host::start();
    for name in ["traefik", "frontend"] {
        host.container(name).running();
    }
    host.container("orders").label("app", "orders").running();
    let declared = manifests(&host.endpoint());
    let world = World::new(&declared);
    let running = Running::start(&world, &[]);
    let settled = || (running.get("/readyz").status == 200).then_some(());
    wait_for("it is ready", settled);
    wait_for("both networks are there", || {
        (host.network_ids("web-net").len() + host.network_ids("data-net").len() == 2).then_some(())
    });
    let plan = |query: &str, body: &str| -> Value {
        let answer = post(running.address, query, &[YAML], body).expect(200).json();
        check(&described(), PLAN, "post", 200, &answer);
        answer
    };
    wait_for("nothing differs", || plan("", &declared)["operations"].as_array().unwrap().is_empty().then_some(()));
    let more = format!(
        "{declared}---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: cache, namespace: shop }}
spec: {{ server: infra/edge, network: {{ name: cache-net }} }}
"
    );
    let planned = plan("", &more);
    let operations = planned["operations"].as_array().unwrap();
    assert_eq!(operations[0]["op"], "CreateNetwork", "{planned:#}");
    assert!(operations.iter().all(|it| it["object"] == "Destination/shop/cache"), "{planned:#}");
    let gone = |it: &&str| it.contains("data-net") || it.contains("destination: data");
    let less: Vec<&str> = declared.split("---\n").filter(|it| !gone(it)).collect();
    let pruned = plan("?prune=true", &less.join("---\n").replace("additionalDestinations: [data]", ""));
    assert!(pruned.to_string().contains("data-net"), "{pruned:#}");
    assert_eq!(
        (host.network_ids("web-net").len(), host.network_ids("data-net").len(), host.network_ids("cache-net").len()),
        (1, 1, 0)
    );
}
