//! `graph`: mermaid, DOT and SVG.

use std::process::{Command, Stdio};

use landfall::core::graph::{Graph, dot, mermaid, svg};
use proptest::prelude::*;

use super::objects;

const SHOP: &str = r"
kind: Server
metadata: { name: edge-1, namespace: infra }
spec:
  endpoint: ssh://deploy@edge-1.example.com
  proxy: { container: traefik }
---
kind: Server
metadata: { name: edge-2, namespace: infra }
spec: { endpoint: ssh://deploy@edge-2.example.com, suspend: true }
---
kind: Server
metadata: { name: builder, namespace: infra }
spec: { role: Build }
---
kind: Destination
metadata: { name: web, namespace: shop }
spec: { server: infra/edge-1, displayName: Web tier, network: { name: web-net } }
---
kind: Destination
metadata: { name: data, namespace: shop }
spec: { server: infra/edge-1, proxy: false }
---
kind: Destination
metadata: { name: old, namespace: shop }
spec: { server: infra/edge-1, active: false, network: { name: old-net } }
---
kind: Destination
metadata: { name: second, namespace: shop }
spec: { server: infra/edge-2, network: { name: web-net } }
---
kind: Application
metadata: { name: frontend, namespace: shop }
spec: { destination: web, additionalDestinations: [second], containers: { names: [frontend] } }
---
kind: Database
metadata: { name: orders, namespace: shop }
spec: { destination: data, containers: { names: [pg] } }
---
kind: Service
metadata: { name: metrics, namespace: shop }
spec: { destination: web, compose: { project: metrics } }
---
kind: Service
metadata: { name: blog, namespace: shop }
spec: { destination: web, compose: { project: blog }, connectToDestination: true }
";

#[test]
fn mermaid_shows_servers_destinations_proxies_and_members() {
    assert_eq!(
        mermaid(&Graph::new(&objects(SHOP))),
        r#"flowchart LR
  subgraph s0["infra/builder<br/>build server, unix:///var/run/docker.so…"]
    e0["no destinations"]:::inactive
  end
  subgraph s1["infra/edge-1<br/>ssh://deploy#64;edge-1.example.com"]
    p1{{"proxy<br/>traefik"}}:::proxy
    d0["shop/data<br/>generated name"]:::destination
    d1["shop/old<br/>old-net, deactivated"]:::inactive
    d2["shop/web<br/>web-net"]:::destination
  end
  subgraph s2["infra/edge-2<br/>suspended, ssh://deploy#64;edge-2.example.…"]
    d3["shop/second<br/>web-net"]:::destination
  end
  m0(["Application<br/>shop/frontend"]):::application
  m1[("Database<br/>shop/orders")]:::database
  m2(["Service<br/>shop/blog"]):::service
  m3(["Service<br/>shop/metrics"]):::isolated
  p1 ==> d2
  d2 --- m0
  d3 ---|additional| m0
  d0 --- m1
  d2 --- m2
  d2 -.- m3
  classDef proxy fill:#fef3c7,stroke:#b45309,color:#1f2937
  classDef destination fill:#ffffff,stroke:#475569,color:#1f2937
  classDef inactive fill:#f1f5f9,stroke:#94a3b8,color:#64748b
  classDef application fill:#dbeafe,stroke:#1d4ed8,color:#1f2937
  classDef database fill:#dcfce7,stroke:#15803d,color:#1f2937
  classDef service fill:#ede9fe,stroke:#6d28d9,color:#1f2937
  classDef isolated fill:#ffffff,stroke:#6d28d9,color:#1f2937,stroke-dasharray:4 3
"#
    );
}

#[test]
fn dot_shows_the_same() {
    assert_eq!(
        dot(&Graph::new(&objects(SHOP))),
        r##"digraph landfall {
  graph [rankdir=LR, bgcolor=white, fontname="sans-serif", nodesep=0.25, ranksep=0.9];
  node [shape=box, style="rounded,filled", fillcolor=white, color="#475569", fontname="sans-serif", fontsize=11];
  edge [arrowhead=none, color="#475569"];
  subgraph cluster_0 {
    label="infra/builder\nbuild server, unix:///var/run/docker.so…"; labeljust=l; style="rounded,filled"; color="#cbd5e1"; fillcolor="#f8fafc";
    tooltip="Server/infra/builder (build server, unix:///var/run/docker.sock)";
    e0 [label="no destinations", shape=plaintext, style=""];
  }
  subgraph cluster_1 {
    label="infra/edge-1\nssh://deploy@edge-1.example.com"; labeljust=l; style="rounded,filled"; color="#cbd5e1"; fillcolor="#f8fafc";
    tooltip="Server/infra/edge-1 (ssh://deploy@edge-1.example.com)";
    p1 [label="proxy\ntraefik", shape=hexagon, style=filled, fillcolor="#fef3c7", color="#b45309", tooltip="proxy traefik"];
    d0 [label="shop/data\ngenerated name", tooltip="Destination/shop/data (generated name)"];
    d1 [label="shop/old\nold-net, deactivated", tooltip="Destination/shop/old (old-net, deactivated)", fillcolor="#f1f5f9", color="#94a3b8", fontcolor="#64748b"];
    d2 [label="shop/web\nweb-net", tooltip="Destination/shop/web: Web tier (web-net)"];
  }
  subgraph cluster_2 {
    label="infra/edge-2\nsuspended, ssh://deploy@edge-2.example.…"; labeljust=l; style="rounded,filled"; color="#cbd5e1"; fillcolor="#f8fafc";
    tooltip="Server/infra/edge-2 (suspended, ssh://deploy@edge-2.example.com)";
    d3 [label="shop/second\nweb-net", tooltip="Destination/shop/second (web-net)"];
  }
  m0 [label="Application\nshop/frontend", fillcolor="#dbeafe", color="#1d4ed8", tooltip="Application/shop/frontend"];
  m1 [label="Database\nshop/orders", shape=cylinder, style=filled, fillcolor="#dcfce7", color="#15803d", tooltip="Database/shop/orders"];
  m2 [label="Service\nshop/blog", fillcolor="#ede9fe", color="#6d28d9", tooltip="Service/shop/blog"];
  m3 [label="Service\nshop/metrics", style="rounded,dashed", color="#6d28d9", tooltip="Service/shop/metrics (keeps to its own network)"];
  p1 -> d2 [color="#b45309", penwidth=1.5];
  d2 -> m0 [style=solid];
  d3 -> m0 [style=solid, color="#0891b2", tooltip="additional destination"];
  d0 -> m1 [style=solid];
  d2 -> m2 [style=solid];
  d2 -> m3 [style=dashed];
}
"##
    );
}

#[test]
fn svg_has_every_object_with_its_full_name_in_a_tooltip() {
    let text = svg(&Graph::new(&objects(SHOP)));
    let document = roxmltree::Document::parse(&text).unwrap();
    let mut titles: Vec<&str> =
        document.descendants().filter(|node| node.has_tag_name("title")).filter_map(|node| node.text()).collect();
    titles.sort_unstable();
    assert_eq!(
        titles,
        [
            "Application/shop/frontend",
            "Database/shop/orders",
            "Destination/shop/data (generated name)",
            "Destination/shop/old (old-net, deactivated)",
            "Destination/shop/second (web-net)",
            "Destination/shop/second is an additional destination of Application/shop/frontend",
            "Destination/shop/web: Web tier (web-net)",
            "Server/infra/builder (build server, unix:///var/run/docker.sock)",
            "Server/infra/edge-1 (ssh://deploy@edge-1.example.com)",
            "Server/infra/edge-2 (suspended, ssh://deploy@edge-2.example.com)",
            "Service/shop/blog",
            "Service/shop/metrics (keeps to its own network)",
            "proxy traefik of Server/infra/edge-1",
        ]
    );
}

/// A picture in which boxes lie on each other is not a picture of anything.
#[test]
fn no_two_boxes_of_an_svg_overlap() {
    let text = svg(&Graph::new(&objects(SHOP)));
    let document = roxmltree::Document::parse(&text).unwrap();
    let number = |node: roxmltree::Node<'_, '_>, name: &str| node.attribute(name).unwrap().parse::<u32>().unwrap();
    let boxes: Vec<(u32, u32, u32, u32)> = document
        .descendants()
        .filter(|node| node.has_tag_name("rect") && node.attribute("height") == Some("42"))
        .map(|node| (number(node, "x"), number(node, "y"), number(node, "width"), number(node, "height")))
        .collect();
    assert_eq!(boxes.len(), 9);
    for (i, a) in boxes.iter().enumerate() {
        for b in &boxes[i + 1..] {
            let apart = a.0 + a.2 <= b.0 || b.0 + b.2 <= a.0 || a.1 + a.3 <= b.1 || b.1 + b.3 <= a.1;
            assert!(apart, "{a:?} and {b:?}");
        }
    }
}

#[test]
fn nothing_declared_is_still_a_picture() {
    let graph = Graph::new(&objects("kind: Destination\nmetadata: { name: lost }\nspec: { server: nowhere }\n"));
    assert!(roxmltree::Document::parse(&svg(&graph)).is_ok());
    assert!(mermaid(&graph).starts_with("flowchart LR\n  classDef"));
    assert!(dot(&graph).ends_with("}\n"));
}

/// Graphviz itself reads what is written, where it is installed.
fn graphviz_reads(text: &str) -> Option<String> {
    let mut child = Command::new("dot")
        .arg("-Tsvg")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn graphviz_accepts_the_dot() {
    for graph in [Graph::new(&objects(SHOP)), strange("a\"b\\N\\G&<>\n{}|#;%%`é漢字🦀")] {
        let Some(drawn) = graphviz_reads(&dot(&graph)) else { return };
        assert!(drawn.contains("</svg>"));
    }
}

#[test]
fn long_names_are_cut_and_the_tooltip_has_them_whole() {
    let long = "n".repeat(63);
    let graph = strange(&long);
    let text = svg(&graph);
    assert!(text.contains(&format!(">{}…</text>", "n".repeat(10))) || text.contains("n…</text>"), "{text}");
    assert!(text.contains(&format!("<title>Destination/default/d: {long} ({long})</title>")), "{text}");
    assert!(mermaid(&graph).contains(&format!("{}…", "n".repeat(39))));
}

/// A graph in which everything that can hold free text holds this one.
fn strange(text: &str) -> Graph {
    let mut objects = objects(
        r"
kind: Server
metadata: { name: s }
spec: { proxy: { container: p } }
---
kind: Destination
metadata: { name: d }
spec: { server: s }
---
kind: Application
metadata: { name: a }
spec: { destination: d, containers: { names: [a] } }
",
    );
    for object in &mut objects {
        match &mut object.spec {
            landfall::core::api::Spec::Server(spec) => {
                text.clone_into(&mut spec.endpoint);
                spec.proxy.as_mut().unwrap().container = Some(text.to_owned());
            }
            landfall::core::api::Spec::Destination(spec) => {
                spec.display_name = Some(text.to_owned());
                spec.network.name = Some(text.to_owned());
            }
            _ => {}
        }
    }
    Graph::new(&objects)
}

/// What a label of mermaid may hold besides letters and digits of any script.
fn harmless_to_mermaid(label: &str) -> bool {
    label.replace("<br/>", "").chars().all(|c| c.is_alphanumeric() || " -./:,…#;".contains(c))
}

proptest! {
    #[test]
    fn no_text_breaks_a_format(text in any::<String>()) {
        let graph = strange(&text);
        let drawn = svg(&graph);
        prop_assert!(roxmltree::Document::parse(&drawn).is_ok(), "{}", drawn);

        for line in mermaid(&graph).lines().filter(|line| line.contains('"')) {
            let (_, rest) = line.split_once('"').unwrap();
            let (label, _) = rest.rsplit_once('"').unwrap();
            prop_assert!(harmless_to_mermaid(label), "{}", label);
        }
        // Strings in DOT end at the first quote that no backslash precedes; outside of them nothing may be left of the text.
        let plain = dot(&strange("x"));
        prop_assert_eq!(outside_of_strings(&dot(&graph)), outside_of_strings(&plain));
    }
}

fn outside_of_strings(text: &str) -> String {
    let mut outside = String::new();
    let mut inside = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if inside => _ = characters.next(),
            '"' => inside = !inside,
            other if !inside => outside.push(other),
            _ => {}
        }
    }
    outside
}
