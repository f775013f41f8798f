//! JUnit's XML, as CI systems read it: a test suite a server, a test case a declared object.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Drift, DriftServer, Finding};
use crate::core::api::ObjectKey;
use crate::core::plan::{NoteKind, Reason};

/// The report as JUnit XML.
pub fn junit(drift: &Drift) -> String {
    let suites: Vec<Suite> = drift.servers.iter().map(|server| suite(drift, server)).collect();
    let total = |count: fn(&Suite) -> usize| suites.iter().map(count).sum::<usize>();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        text,
        "<testsuites name=\"landfall drift\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"0\">",
        total(|suite| suite.tests),
        total(|suite| suite.failures),
        total(|suite| suite.errors)
    );
    for (suite, server) in suites.iter().zip(&drift.servers) {
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"0\">",
            escape(&server.name),
            suite.tests,
            suite.failures,
            suite.errors,
            suite.skipped
        );
        text.push_str(&suite.cases);
        text.push_str(&unmanaged(drift, server));
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

#[derive(Default)]
struct Suite {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
    cases: String,
}

fn suite(drift: &Drift, server: &DriftServer) -> Suite {
    let mut suite = Suite::default();
    let of_server = |finding: &&Finding| finding.server.as_deref() == Some(&server.name);
    let findings: Vec<&Finding> = drift.findings.iter().filter(of_server).collect();
    // What is found may concern an object that is not on the server's list, such as the server itself.
    let mut objects: BTreeSet<&ObjectKey> = server.objects.iter().collect();
    objects.extend(findings.iter().map(|finding| &finding.object));
    for object in objects {
        let found: Vec<&&Finding> = findings.iter().filter(|finding| finding.object == *object).collect();
        let suspended = drift.notes.iter().find(|note| note.kind == NoteKind::Suspended && note.object == *object);
        suite.tests += 1;
        let location = found.iter().find_map(|finding| finding.location.as_ref());
        let place =
            location.map(|at| format!(" file=\"{}\" line=\"{}\"", escape(&at.file), at.line)).unwrap_or_default();
        let name = escape(&object.to_string());
        let _ = write!(
            suite.cases,
            "    <testcase name=\"{name}\" classname=\"{}\"{place} time=\"0\"",
            escape(&server.name)
        );
        let body = if !server.reachable {
            suite.errors += 1;
            let message = server.message.as_deref().unwrap_or("The server could not be observed.");
            let reason = server.reason.unwrap_or(Reason::ServerUnreachable);
            format!("      <error type=\"{reason}\" message=\"{}\"/>\n", escape(message))
        } else if let Some(first) = found.first() {
            suite.failures += 1;
            let lines: Vec<String> = found.iter().map(|finding| line(finding)).collect();
            format!(
                "      <failure type=\"{}\" message=\"{}\">{}</failure>\n",
                first.reason,
                escape(&first.message),
                escape(&lines.join("\n"))
            )
        } else if let Some(note) = suspended {
            suite.skipped += 1;
            format!("      <skipped message=\"{}\"/>\n", escape(&note.message))
        } else {
            String::new()
        };
        if body.is_empty() {
            suite.cases.push_str("/>\n");
        } else {
            let _ = write!(suite.cases, ">\n{body}    </testcase>\n");
        }
    }
    suite
}

fn line(finding: &Finding) -> String {
    let since = finding.since.as_ref();
    let since = since.map(|since| format!(" Since {:.0} ({}).", since.time, since.event)).unwrap_or_default();
    let hint = finding.hint.as_ref().map(|hint| format!(" Hint: {hint}")).unwrap_or_default();
    format!("{}: {}{since}{hint}", finding.reason, finding.message)
}

fn unmanaged(drift: &Drift, server: &DriftServer) -> String {
    let lines: Vec<String> = drift
        .unmanaged
        .iter()
        .filter(|unmanaged| unmanaged.server == server.name)
        .map(|unmanaged| match &unmanaged.network {
            Some(network) => format!("Unmanaged: {} It is on {network:?}.", unmanaged.message),
            None => format!("Unmanaged: {}", unmanaged.message),
        })
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("    <system-out>{}</system-out>\n", escape(&lines.join("\n")))
}

/// For text and attributes. XML has no way at all to write most control characters.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push('\n'),
            other if other.is_control() || matches!(other, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}
