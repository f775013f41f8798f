//! Mermaid, which GitHub, GitLab and many wikis draw.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Graph, LONGEST_LABEL, State, Tone, shorten};
use crate::core::api::Kind;

/// The graph as a mermaid flowchart.
pub fn mermaid(graph: &Graph) -> String {
    let mut text = String::from("flowchart LR\n");
    let mut ids = BTreeMap::new();
    let mut edges = String::new();
    for (s, server) in graph.servers.iter().enumerate() {
        let name = label(&[&server.key.path(), &server.subtitle()]);
        let _ = writeln!(text, "  subgraph s{s}[\"{name}\"]");
        if let Some(proxy) = &server.proxy {
            let _ = writeln!(text, "    p{s}{{{{\"{}\"}}}}:::proxy", label(&["proxy", proxy]));
        } else if server.destinations.is_empty() {
            // Mermaid draws an empty subgraph as if it were a node.
            let _ = writeln!(text, "    e{s}[\"no destinations\"]:::inactive");
        }
        for destination in &server.destinations {
            let id = format!("d{}", ids.len());
            let class = match destination.state.map(State::tone) {
                Some(tone @ (Tone::Bad | Tone::Unsure)) => tone.class(),
                _ if destination.remark().is_some() => "inactive",
                _ => "destination",
            };
            let name = label(&[&destination.key.path(), &destination.subtitle()]);
            let _ = writeln!(text, "    {id}[\"{name}\"]:::{class}");
            if destination.proxied {
                let _ = match destination.proxy.filter(|state| !state.is_attached()) {
                    Some(state) => writeln!(edges, "  p{s} -. {} .-> {id}", state.word()),
                    None => writeln!(edges, "  p{s} ==> {id}"),
                };
            }
            ids.insert(&destination.key, id);
        }
        text.push_str("  end\n");
    }
    for (m, member) in graph.members.iter().enumerate() {
        let tone = member.state.as_ref().map(|(state, _)| state.tone());
        let class = match (member.isolated, member.key.kind) {
            _ if let Some(tone @ (Tone::Bad | Tone::Unsure)) = tone => tone.class(),
            (true, _) => "isolated",
            (false, Kind::Database) => "database",
            (false, Kind::Service) => "service",
            (false, _) => "application",
        };
        let says = member.state.as_ref().map(|(_, says)| says.as_str());
        let path = member.key.path();
        let lines: Vec<&str> = [member.key.kind.as_str(), &path].into_iter().chain(says).collect();
        let name = label(&lines);
        let off = member.state.as_ref().is_some_and(|(state, _)| !state.is_attached());
        let shape = if member.key.kind == Kind::Database { ("[(", ")]") } else { ("([", "])") };
        let _ = writeln!(text, "  m{m}{}\"{name}\"{}:::{class}", shape.0, shape.1);
        let line = if member.isolated || off { "-.-" } else { "---" };
        if let Some(id) = ids.get(&member.destination) {
            let _ = writeln!(edges, "  {id} {line} m{m}");
        }
        for id in member.additional.iter().filter_map(|key| ids.get(key)) {
            let _ = writeln!(edges, "  {id} {line}|additional| m{m}");
        }
    }
    text.push_str(&edges);
    text.push_str(
        "  classDef proxy fill:#fef3c7,stroke:#b45309,color:#1f2937\n  \
           classDef destination fill:#ffffff,stroke:#475569,color:#1f2937\n  \
           classDef inactive fill:#f1f5f9,stroke:#94a3b8,color:#64748b\n  \
           classDef application fill:#dbeafe,stroke:#1d4ed8,color:#1f2937\n  \
           classDef database fill:#dcfce7,stroke:#15803d,color:#1f2937\n  \
           classDef service fill:#ede9fe,stroke:#6d28d9,color:#1f2937\n  \
           classDef isolated fill:#ffffff,stroke:#6d28d9,color:#1f2937,stroke-dasharray:4 3\n",
    );
    if graph.servers.iter().any(|server| server.state.is_some()) {
        text.push_str(
            "  classDef bad fill:#fdf0ee,stroke:#b3261e,color:#7f1d1d,stroke-dasharray:4 3\n  \
               classDef unsure fill:#fdf6e6,stroke:#b7791f,color:#5c3900\n",
        );
    }
    text
}

/// Lines of a label. Everything that could mean something to mermaid, its Markdown or HTML is written as a character code.
fn label(lines: &[&str]) -> String {
    let escape = |line: &&str| {
        let mut escaped = String::new();
        for character in shorten(line, LONGEST_LABEL).chars() {
            if character.is_alphanumeric() || matches!(character, ' ' | '-' | '.' | '/' | ':' | ',' | '…') {
                escaped.push(character);
            } else {
                let _ = write!(escaped, "#{};", u32::from(character));
            }
        }
        escaped
    };
    lines.iter().map(escape).collect::<Vec<_>>().join("<br/>")
}
