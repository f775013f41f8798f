//! `doctor` over many servers: nothing is found where everything works, and each container is asked for once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use super::stand_in::{Answer, ok, stand_in};
use crate::cli::run::landfall;

const SERVERS: usize = 50;
const CONTAINERS: usize = 50;
const NETWORKS: usize = 5;

fn id(kind: &str, number: usize) -> String {
    format!("{kind:0<8}{number:056}")
}

fn networks() -> Value {
    let network = |number: usize| {
        json!({
            "Id": id("a", number), "Name": format!("net-{number}"), "Driver": "bridge", "Scope": "local",
            "IPAM": { "Config": [{ "Subnet": format!("10.1.{number}.0/24") }] },
        })
    };
    Value::from_iter((0..NETWORKS).map(network))
}

/// As a list and an inspection both show it. The first is Traefik, on all networks.
fn container(number: usize) -> Value {
    let on = |network: usize| {
        let endpoint = json!({
            "NetworkID": id("a", network), "EndpointID": id("e", number), "IPAddress": format!("10.1.{network}.{}", number + 2),
            "Aliases": [format!("app-{number}")],
        });
        (format!("net-{network}"), endpoint)
    };
    let networks: serde_json::Map<String, Value> =
        if number == 0 { (0..NETWORKS).map(on).collect() } else { [on(number % NETWORKS)].into_iter().collect() };
    let labels = match number {
        0 => json!({}),
        number => json!({
            "traefik.enable": "true",
            format!("traefik.http.routers.app-{number}.rule"): format!("Host(`app-{number}.example.com`)"),
            format!("traefik.http.services.app-{number}.loadbalancer.server.port"): "80",
        }),
    };
    let name = if number == 0 { "/traefik".to_owned() } else { format!("/app-{number}") };
    let ports = if number == 0 { json!({ "80/tcp": [{ "HostPort": "80" }] }) } else { json!({}) };
    json!({
        "Id": id("c", number), "Name": name, "Names": [name], "Image": if number == 0 { "traefik:v3.6" } else { "app" }, "Labels": labels,
        "HostConfig": { "NetworkMode": "net-0", "PortBindings": ports }, "NetworkSettings": { "Networks": networks },
        "Config": { "Image": "app", "Labels": labels, "ExposedPorts": { "80/tcp": {} } },
    })
}

fn listed(number: usize) -> Value {
    let mut container = container(number);
    container["State"] = json!("running");
    container["Status"] = json!("Up 1 hour");
    container
}

fn inspected(path: &str) -> Value {
    let asked = path.split('/').find(|part| part.len() == 64).unwrap();
    let mut container = container(asked.trim_start_matches(['c', '0']).parse().unwrap_or(0));
    container["State"] = json!({ "Status": "running", "Running": true });
    container
}

#[test]
fn fifty_healthy_servers_of_fifty_containers_have_no_finding_and_are_asked_once_each() {
    let directory = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let (networks, containers) = (networks().to_string(), Value::from_iter((0..CONTAINERS).map(listed)).to_string());
    let mut manifests = String::new();
    for server in 0..SERVERS {
        let socket = directory.path().join(format!("{server}.sock"));
        manifests += &format!(
            "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: edge-{server} }}\n\
             spec: {{ endpoint: \"unix://{}\", proxy: {{ container: traefik }} }}\n---\n",
            socket.display()
        );
        let (asked, networks, containers) = (Arc::clone(&asked), networks.clone(), containers.clone());
        stand_in(&socket, move |_, path| {
            asked.fetch_add(1, Ordering::Relaxed);
            match path {
                "/info" => ok(json!({ "ID": format!("ENGINE:{server}"), "Name": "host", "ServerVersion": "20.10.24" })),
                "/networks" => ok(&networks),
                path if path.starts_with("/containers/json") => ok(&containers),
                path if path.starts_with("/containers/") => ok(inspected(path)),
                path if path.starts_with("/events") => ok(""),
                path => Answer::Body(404, json!({ "message": format!("nothing at {path}") }).to_string()),
            }
        });
    }
    std::fs::write(directory.path().join("all.yaml"), manifests).unwrap();
    let since = Instant::now();
    let ran = landfall(directory.path(), ["doctor", "-f", "all.yaml", "-o", "json", "--possible"]).expect(0);
    let (took, asked) = (since.elapsed(), asked.load(Ordering::Relaxed));
    println!("{SERVERS} servers of {CONTAINERS} containers: {} ms, {asked} requests", took.as_millis());
    let diagnosis = ran.json();
    assert_eq!(diagnosis["findings"], json!([]));
    let examined = diagnosis["servers"].as_array().unwrap().iter().map(|server| server["examined"].as_u64().unwrap());
    assert_eq!(examined.sum::<u64>(), (SERVERS * CONTAINERS) as u64);
    // Three lists, the events, every container, and the proxy's variables.
    assert_eq!(asked, SERVERS * (4 + CONTAINERS + 1));
}
