//! JUnit's XML, as CI systems read it: a test suite a server, a test case a declared object.

use std::collections::BTreeSet;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite, XmlString};

use super::{Drift, DriftServer, Finding};
use crate::core::api::ObjectKey;
use crate::core::plan::{NoteKind, Reason};
use crate::core::printable::printable;

/// The report as JUnit XML.
pub fn junit(drift: &Drift) -> Result<String, SerializeError> {
    let mut report = Report::new("landfall drift");
    // Readers of the format want a time, and a look at a server has none for each object.
    report.set_time(Duration::ZERO).add_test_suites(drift.servers.iter().map(|server| suite(drift, server)));
    report.to_string()
}

fn suite(drift: &Drift, server: &DriftServer) -> TestSuite {
    let mut suite = TestSuite::new(text(&server.name));
    suite.set_time(Duration::ZERO);
    let of_server = |finding: &&Finding| finding.server.as_deref() == Some(&server.name);
    let findings: Vec<&Finding> = drift.findings.iter().filter(of_server).collect();
    // What is found may concern an object that is not on the server's list, such as the server itself.
    let mut objects: BTreeSet<&ObjectKey> = server.objects.iter().collect();
    objects.extend(findings.iter().map(|finding| &finding.object));
    for object in objects {
        let found: Vec<&Finding> = findings.iter().filter(|finding| finding.object == *object).copied().collect();
        let mut case = TestCase::new(text(&object.to_string()), status(drift, server, object, &found));
        case.set_classname(text(&server.name)).set_time(Duration::ZERO);
        if let Some(at) = found.iter().find_map(|finding| finding.location.as_ref()) {
            case.extra.insert("file".into(), text(&at.file));
            case.extra.insert("line".into(), at.line.to_string().into());
        }
        suite.add_test_case(case);
    }
    let unmanaged = unmanaged(drift, server);
    if !unmanaged.is_empty() {
        suite.set_system_out(text(&unmanaged));
    }
    suite
}

fn status(drift: &Drift, server: &DriftServer, object: &ObjectKey, found: &[&Finding]) -> TestCaseStatus {
    if !server.reachable {
        let message = server.message.as_deref().unwrap_or("The server could not be observed.");
        let reason = server.reason.unwrap_or(Reason::ServerUnreachable);
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type(reason.to_string()).set_message(text(message));
        return status;
    }
    if let Some(first) = found.first() {
        let lines: Vec<String> = found.iter().map(|finding| line(finding)).collect();
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_type(first.reason.to_string()).set_message(text(&first.message));
        status.set_description(text(&lines.join("\n")));
        return status;
    }
    if let Some(note) = drift.notes.iter().find(|note| note.kind == NoteKind::Suspended && note.object == *object) {
        let mut status = TestCaseStatus::skipped();
        status.set_message(text(&note.message));
        return status;
    }
    TestCaseStatus::success()
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
    lines.join("\n")
}

/// As escapes, what XML has no way to write: the library leaves most of it out, and lets noncharacters through.
fn text(text: &str) -> XmlString {
    XmlString::new(printable(text))
}
