//! Markdown, for comments on pull requests and job summaries.

use std::fmt::Write;

use super::{Drift, Since};
use crate::core::printable::is_obeyed;

/// The report as Markdown.
pub fn markdown(drift: &Drift) -> String {
    let mut text = String::from("## Drift\n\n");
    let summary = &drift.summary;
    let objects: usize = drift.servers.iter().map(|server| server.objects.len()).sum();
    if summary.findings == 0 && summary.unreachable == 0 {
        let _ = writeln!(text, "None: all {objects} declared objects are as the manifests say.");
    } else {
        let _ = writeln!(
            text,
            "**{}** of {} from the manifests in {}, {} of which Landfall will not repair by itself.",
            differing(drift),
            if objects == 1 {
                "1 declared object differs".to_owned()
            } else {
                format!("{objects} declared objects differ")
            },
            if summary.findings == 1 { "1 way".to_owned() } else { format!("{} ways", summary.findings) },
            summary.refused
        );
    }
    for server in drift.servers.iter().filter(|server| !server.reachable) {
        let message = server.message.as_deref().unwrap_or("It could not be observed.");
        let _ = writeln!(text, "\n> **{}** could not be observed: {}", cell(&server.name), cell(message));
    }
    if !drift.findings.is_empty() {
        text.push_str("\n| Server | Object | Reason | Since | What |\n|---|---|---|---|---|\n");
        for finding in &drift.findings {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                cell(finding.server.as_deref().unwrap_or("")),
                cell(&finding.object.to_string()),
                finding.reason,
                since(finding.since.as_ref()),
                cell(&finding.message)
            );
        }
    }
    if !drift.unmanaged.is_empty() {
        text.push_str("\n### Unmanaged\n\n| Server | What | Since |\n|---|---|---|\n");
        for unmanaged in &drift.unmanaged {
            let place = unmanaged.network.as_ref().map(|network| format!(" It is on {network:?}.")).unwrap_or_default();
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                cell(&unmanaged.server),
                cell(&format!("{}{place}", unmanaged.message)),
                since(unmanaged.since.as_ref())
            );
        }
    }
    if !drift.notes.is_empty() {
        text.push_str("\n### Notes\n\n");
        for (kind, line) in drift.note_lines() {
            let _ = writeln!(text, "- {kind}: {}", cell(&line));
        }
    }
    text
}

fn differing(drift: &Drift) -> usize {
    let objects: std::collections::BTreeSet<_> = drift.findings.iter().map(|finding| &finding.object).collect();
    objects.len()
}

/// To the second: nobody reads more in a table.
fn since(since: Option<&Since>) -> String {
    since.map_or_else(|| "unknown".to_owned(), |since| format!("{:.0} ({})", since.time, since.event))
}

/// Text that is nothing but text: neither Markdown nor HTML, and on one line.
fn cell(text: &str) -> String {
    let mut escaped = String::new();
    for (at, character) in text.char_indices() {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '@' => escaped.push_str("&#64;"),
            // What looks like an address becomes a link by itself.
            ':' if text[at..].starts_with("://") => escaped.push_str("&#58;"),
            'w' if text[at..].starts_with("www.") => escaped.push_str("&#119;"),
            other if other.is_control() || is_obeyed(other) => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}
