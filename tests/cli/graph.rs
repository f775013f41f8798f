//! `graph`: needs no server unless `--observed` says so, and draws what is asked for.

use std::fs;

use super::run::landfall;
use super::world::{SHOP, World, server};
use crate::support::Host;

const MANIFEST: &str = "\
apiVersion: landfall/v1
kind: Server
metadata: { name: edge-1 }
spec: { proxy: { container: traefik }, allowedNamespaces: [shop] }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: web }
spec: { server: edge-1, network: { name: web } }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: carts, namespace: shop }
spec: { server: default/edge-1 }
---
apiVersion: landfall/v1
kind: Application
metadata: { name: front, namespace: shop }
spec: { destination: carts, containers: { names: [front] } }
";

#[test]
fn graph_draws_mermaid_unless_another_format_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("manifests")).unwrap();
    fs::write(directory.path().join("manifests/all.yaml"), MANIFEST).unwrap();
    let graph = |arguments: &[&str]| landfall(directory.path(), [&["graph"], arguments].concat()).expect(0);
    assert!(graph(&[]).stdout.starts_with("flowchart LR\n"));
    assert_eq!(graph(&["-o", "mermaid"]).stdout, graph(&[]).stdout);
    assert!(graph(&["--format", "dot"]).stdout.starts_with("digraph landfall {\n"));
    let svg = graph(&["--output", "svg"]).stdout;
    assert!(roxmltree::Document::parse(&svg).is_ok(), "{svg}");
    landfall(directory.path(), ["graph", "-o", "png"]).expect(2);
}

#[test]
fn graph_of_a_namespace_keeps_what_its_objects_are_on() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("all.yaml"), MANIFEST).unwrap();
    let drawn = landfall(directory.path(), ["graph", "-f", "all.yaml", "-n", "shop"]).expect(0).stdout;
    assert!(
        drawn.contains("default/edge-1") && drawn.contains("shop/carts") && drawn.contains("shop/front"),
        "{drawn}"
    );
    assert!(!drawn.contains("default/web"), "{drawn}");
}

#[test]
fn graph_of_what_is_observed_says_how_everything_is() {
    let host = Host::start();
    for name in ["traefik", "frontend"] {
        host.container(name).running();
    }
    host.container("orders").label("app", "orders").running();
    let world = World::new(&(server(&host.endpoint()) + SHOP));
    world.run("apply").expect(0);
    host.container("stranger").network("web-net").running();
    host.disconnect("data-net", "orders");
    let drawn = world.run("graph --observed -o svg").expect(0).stdout;
    let picture = roxmltree::Document::parse(&drawn).unwrap();
    let titles: Vec<&str> =
        picture.descendants().filter(|it| it.has_tag_name("title")).filter_map(|it| it.text()).collect();
    let says = |words: &str| titles.iter().any(|title| title.contains(words));
    for words in [
        "Server infra/edge: reachable",
        "Proxy traefik: ready",
        "Destination shop/web: ready",
        "container frontend: connected, 10.42.0.",
        "container orders: detached",
        "Undeclared container stranger: unmanaged",
    ] {
        assert!(says(words), "{words} is missing: {titles:#?}");
    }
    for format in ["mermaid", "dot"] {
        let drawn = world.run(&format!("graph --observed -o {format}")).expect(0).stdout;
        assert!(drawn.contains("10.42.0.") && drawn.contains("reachable"), "{drawn}");
        assert!(!world.run(&format!("graph -o {format}")).expect(0).stdout.contains("reachable"));
    }
    let away = World::new(&(server("unix:///nonexistent.sock") + SHOP));
    let ran = away.run("graph --observed").expect(2);
    assert!(ran.stdout.contains("unreachable"), "{ran}");
}
