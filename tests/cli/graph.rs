//! `graph`: needs no server, and draws what is asked for.

use std::fs;

use super::run::landfall;

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
