//! From bytes to the desired state: what is accepted, and what is said about the rest.

mod robustness;
mod schedules;
mod schema;
mod sources;
mod verdicts;

use std::fs;
use std::path::{Path, PathBuf};

use landfall::core::api::{Kind, ObjectKey};
use landfall::core::desired::{DesiredState, Endpoint};
use landfall::core::manifest::{self, Diagnostic, Manifests, Source};

fn source(name: &str, text: &str) -> Source {
    Source { name: name.to_owned(), bytes: text.as_bytes().to_vec() }
}

fn load(text: &str) -> Result<Manifests, Vec<Diagnostic>> {
    manifest::load(&[source("test.yaml", text)])
}

fn desired(text: &str) -> DesiredState {
    load(text).unwrap_or_else(|found| panic!("{found:#?}")).desired("default")
}

fn key(text: &str) -> ObjectKey {
    text.parse().expect("a key")
}

const SERVER: &str = "
apiVersion: landfall/v1
kind: Server
metadata: { name: edge-1 }
spec: { proxy: { container: traefik } }
";

#[test]
fn a_server_a_destination_and_a_member_become_the_desired_state() {
    let state = desired(&format!(
        "{SERVER}---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web }}
spec:
  server: edge-1
  network: {{ name: web-net, subnets: [{{ subnet: 10.42.0.0/24, gateway: 10.42.0.1 }}] }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: frontend }}
spec:
  destination: web
  containers: {{ names: [frontend] }}
  endpoint: {{ aliases: [www], ipv4Address: 10.42.0.10 }}
"
    ));
    let (server, destination) = state.destination(&key("Destination/default/web")).expect("declared");
    assert_eq!(server.endpoint, Endpoint::Unix { path: "/var/run/docker.sock".to_owned() });
    assert_eq!(destination.network.name.as_deref(), Some("web-net"));
    assert!(destination.proxy && destination.active && destination.network.icc && !destination.adopt);
    let [member] = destination.members.as_slice() else { panic!("one member") };
    assert_eq!(member.resource, ObjectKey::new(Kind::Application, "default", "frontend"));
    assert_eq!(member.endpoint.ipv4_address, Some("10.42.0.10".parse().expect("an address")));
    assert!(member.connect);
}

/// The files' names say what is wrong with them; the snapshot is all that a user sees.
#[test]
fn every_fault_is_reported_where_it_is() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifest/invalid");
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).expect("the samples").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("invalid-says");
    for file in &files {
        let name = file.file_stem().expect("a name").to_string_lossy();
        let text = fs::read_to_string(file).expect("a sample");
        let found = load(&text).expect_err(&name);
        let rendered: Vec<String> = found.iter().map(|diagnostic| diagnostic.render(false)).collect();
        settings.bind(|| insta::assert_snapshot!(&*name, rendered.join("\n\n")));
    }
}

/// What is said beside a mistake must lead somewhere.
#[test]
fn a_mistake_is_told_once_and_nothing_is_proposed_that_cannot_be() {
    let found = load(
        "
apiVersion: landfall/v1
kind: Server
metadata: { name: b1, namespace: infra }
spec: { role: Build, allowedNamespaces: ['*'] }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: web }
spec: { server: b1, network: { name: web-net } }
",
    )
    .expect_err("no such server");
    let said: Vec<_> = found.iter().map(|it| (it.message.as_str(), it.hint.as_deref())).collect();
    assert_eq!(said, [("there is no server `b1` in namespace `default`", None)]);
    for kind in ["Destinaton", "destination", "[Destination]"] {
        let found = load(&format!(
            "{SERVER}---\napiVersion: landfall/v1\nkind: {kind}\nmetadata: {{ name: web }}\nspec: {{ server: edge-1 }}\n---\n\
             apiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: a }}\nspec: {{ destination: web, containers: {{ names: [a] }} }}\n"
        ))
        .expect_err(kind);
        assert_eq!(found.len(), 1, "{kind}: {found:?}");
    }
    // Both ways out of it, and neither leads to the other.
    let document = "apiVersion: landfall/v1\nkind: Server\nmetadata: { name: a }\n";
    for text in [document.to_owned(), format!("{document}spec:\n")] {
        let found = load(&text).expect_err("no spec");
        assert!(found[0].hint.as_ref().unwrap().contains("{}`"), "{found:?}");
    }
    load(&format!("{document}spec: {{}}\n")).expect("that is one");
}

/// As people write them for Docker, where everything is text.
#[test]
fn options_of_a_network_need_no_quotes() {
    let state = desired(&format!(
        "{SERVER}---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web }}
spec:
  server: edge-1
  network:
    options: {{ com.docker.network.bridge.enable_ip_masquerade: false, com.example.number: 7, com.example.text: \"true\" }}
"
    ));
    let (_, destination) = state.destination(&key("Destination/default/web")).expect("declared");
    let options: Vec<_> = destination.network.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let expected =
        ["com.docker.network.bridge.enable_ip_masquerade=false", "com.example.number=7", "com.example.text=true"];
    assert_eq!(options, expected);
}
