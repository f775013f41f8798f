//! DOT, the language of Graphviz.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Graph, LONGEST_LABEL, State, Tone, printable, shorten};
use crate::core::api::Kind;

/// The graph as a Graphviz digraph.
pub fn dot(graph: &Graph) -> String {
    let mut text = String::from(
        "digraph landfall {\n  \
           graph [rankdir=LR, bgcolor=white, fontname=\"sans-serif\", nodesep=0.25, ranksep=0.9];\n  \
           node [shape=box, style=\"rounded,filled\", fillcolor=white, color=\"#475569\", fontname=\"sans-serif\", fontsize=11];\n  \
           edge [arrowhead=none, color=\"#475569\"];\n",
    );
    let mut ids = BTreeMap::new();
    let mut edges = String::new();
    for (s, server) in graph.servers.iter().enumerate() {
        let _ = writeln!(text, "  subgraph cluster_{s} {{");
        let name = label(&[&server.key.path(), &server.subtitle()]);
        let _ = writeln!(
            text,
            "    label={name}; labeljust=l; style=\"rounded,filled\"; color=\"#cbd5e1\"; fillcolor=\"#f8fafc\";"
        );
        let _ = writeln!(text, "    tooltip={};", quote(&format!("{} ({})", server.key, server.subtitle())));
        if let Some(proxy) = &server.proxy {
            let _ = writeln!(
                text,
                "    p{s} [label={}, shape=hexagon, style=filled, fillcolor=\"#fef3c7\", color=\"#b45309\", tooltip={}];",
                label(&["proxy", proxy]),
                quote(&format!("proxy {proxy}"))
            );
        } else if server.destinations.is_empty() {
            // Graphviz does not draw an empty cluster.
            let _ = writeln!(text, "    e{s} [label=\"no destinations\", shape=plaintext, style=\"\"];");
        }
        for destination in &server.destinations {
            let id = format!("d{}", ids.len());
            let look = match destination.remark() {
                _ if let Some(look) = destination.state.and_then(look_of) => look,
                Some(_) => ", fillcolor=\"#f1f5f9\", color=\"#94a3b8\", fontcolor=\"#64748b\"",
                None => "",
            };
            let name = label(&[&destination.key.path(), &destination.subtitle()]);
            let _ = writeln!(text, "    {id} [label={name}, tooltip={}{look}];", quote(&destination.title()));
            if destination.proxied {
                let off = destination.proxy.filter(|state| !state.is_attached());
                let style = off.map(|state| format!(", style=dashed, label=\"{}\"", state.word())).unwrap_or_default();
                let _ = writeln!(edges, "  p{s} -> {id} [color=\"#b45309\", penwidth=1.5{style}];");
            }
            ids.insert(&destination.key, id);
        }
        text.push_str("  }\n");
    }
    for (m, member) in graph.members.iter().enumerate() {
        let look = match member.key.kind {
            Kind::Database => "shape=cylinder, style=filled, fillcolor=\"#dcfce7\", color=\"#15803d\"",
            Kind::Service if member.isolated => "style=\"rounded,dashed\", color=\"#6d28d9\"",
            Kind::Service => "fillcolor=\"#ede9fe\", color=\"#6d28d9\"",
            _ => "fillcolor=\"#dbeafe\", color=\"#1d4ed8\"",
        };
        let says = member.state.as_ref().map(|(_, says)| says.as_str());
        let path = member.key.path();
        let lines: Vec<&str> = [member.key.kind.as_str(), &path].into_iter().chain(says).collect();
        let name = label(&lines);
        let state = member.state.as_ref().and_then(|(state, _)| look_of(*state)).unwrap_or_default();
        let _ = writeln!(text, "  m{m} [label={name}, {look}{state}, tooltip={}];", quote(&member.title()));
        let off = member.state.as_ref().is_some_and(|(state, _)| !state.is_attached());
        let style = if member.isolated || off { "dashed" } else { "solid" };
        if let Some(id) = ids.get(&member.destination) {
            let _ = writeln!(edges, "  {id} -> m{m} [style={style}];");
        }
        for id in member.additional.iter().filter_map(|key| ids.get(key)) {
            let _ = writeln!(
                edges,
                "  {id} -> m{m} [style={style}, color=\"#0891b2\", tooltip=\"additional destination\"];"
            );
        }
    }
    text.push_str(&edges);
    text.push_str("}\n");
    text
}

/// Of what is not as it should be; Graphviz takes the last of equal attributes.
fn look_of(state: State) -> Option<&'static str> {
    match state.tone() {
        Tone::Bad => Some(", fillcolor=\"#fdf0ee\", color=\"#b3261e\", fontcolor=\"#7f1d1d\""),
        Tone::Unsure => Some(", fillcolor=\"#fdf6e6\", color=\"#b7791f\", fontcolor=\"#5c3900\""),
        Tone::Plain | Tone::Good => None,
    }
}

/// Lines of a label, as a quoted string.
fn label(lines: &[&str]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| escape(&shorten(line, LONGEST_LABEL))).collect();
    format!("\"{}\"", lines.join("\\n"))
}

fn quote(text: &str) -> String {
    format!("\"{}\"", escape(text))
}

/// The backslash begins escapes that Graphviz replaces by names; `&` begins an entity.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match printable(character) {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '&' => escaped.push_str("&amp;"),
            other => escaped.push(other),
        }
    }
    escaped
}
