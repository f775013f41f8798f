//! From a push to the network, with everything between: a forge's delivery, the fetch, the pass, and what the history says of it.

use serde_json::Value;

use crate::cli::world::{World, server};
use crate::support::repository::{GitDaemon, Upstream};
use crate::support::{Host, wait_for};
use crate::web::client;
use crate::web::live::Running;

const SECRET: &str = "a-secret-of-the-forge";

fn destination(name: &str) -> String {
    format!(
        "apiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name} }}\n\
         spec: {{ server: infra/edge, network: {{ name: {name}-net }}, proxy: false }}\n"
    )
}

fn deliver(running: &Running, secret: &str, body: &str) -> client::Answer {
    use hmac::Mac;
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = format!("sha256={signature}");
    let headers = [("Host", "localhost"), ("X-GitHub-Event", "push"), ("X-Hub-Signature-256", signature.as_str())];
    client::send(client::connect(running.address), "POST /api/v1/webhook/git", &headers, body)
}

#[test]
fn a_push_that_the_forge_tells_of_is_a_network_and_a_line_of_the_history() {
    let host = Host::start();
    let upstream = Upstream::with(&[("server.yaml", &server(&host.endpoint())), ("web.yaml", &destination("web"))]);
    let daemon = GitDaemon::serve(&upstream.bare());
    let world = World::new("");
    world.write("secret", SECRET);
    // An hour between two fetches: what comes sooner was told.
    let arguments = ["--git", &daemon.url, "--branch", "main", "--webhook-secret-file", "secret"];
    let running = Running::start(&world, &arguments);
    let exists = |name: &str| wait_for(name, || (!host.network_ids(name).is_empty()).then_some(()));
    exists("web-net");
    let first = upstream.head();

    let second = upstream.commit(&[("data.yaml", &destination("data"))]);
    let push = format!(r#"{{"ref":"refs/heads/main","after":"{second}"}}"#);
    deliver(&running, "another-secret-altogether", &push).expect(403);
    deliver(&running, SECRET, &push).expect(202);
    exists("data-net");
    let history = wait_for("both passes are on record", || {
        let items = running.get("/api/v1/history").expect(200).json()["items"].as_array().unwrap().clone();
        (items.len() >= 2).then_some(items)
    });
    let revisions: Vec<&Value> = history.iter().map(|pass| &pass["revision"]).collect();
    assert_eq!(revisions, [second.as_str(), first.as_str()]);
    let manifests = running.get("/api/v1/manifests").expect(200).json();
    assert_eq!(manifests["revision"], second);
    assert_eq!((&manifests["source"]["branch"], &manifests["source"]["problem"]), (&"main".into(), &Value::Null));
    // The same from the record, without the controller.
    let shown = world.run("history -o json").expect(0).json();
    assert_eq!(shown["items"].as_array().unwrap().last().unwrap()["revision"], second, "{shown:#}");
}
