//! Findings as forges read them: annotations of GitHub Actions, the code quality report of GitLab, and the frame of a SARIF log.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::core::digest::digest;
use crate::core::drift::{Drift, Finding};
use crate::core::manifest::{Diagnostic, Severity};
use crate::core::reasons;

/// One finding, and the line of a manifest that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    pub severity: Severity,
    /// A reason, a cause, or what the tool calls the check.
    pub rule: String,
    pub message: String,
    pub file: Option<String>,
    /// From 1.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// What makes it the same finding from one run to the next.
    identity: String,
}

/// What is wrong with manifests.
pub fn of_diagnostics(diagnostics: &[Diagnostic]) -> Vec<Annotation> {
    diagnostics
        .iter()
        .map(|found| Annotation {
            severity: found.severity,
            rule: "ManifestInvalid".to_owned(),
            message: with_hint(&found.message, found.hint.as_deref()),
            file: (found.file != "<stdin>").then(|| found.file.clone()),
            line: found.line,
            column: found.column,
            // Lines move when something above them changes.
            identity: format!("{}|{}", found.file, found.message),
        })
        .collect()
}

/// What drifted, and which servers could not be asked.
pub fn of_drift(drift: &Drift) -> Vec<Annotation> {
    let silent = drift.servers.iter().filter(|server| !server.reachable).map(|server| {
        let message = server.message.as_deref().unwrap_or("it could not be observed");
        Annotation {
            severity: Severity::Error,
            rule: server.reason.map_or_else(|| "ServerUnreachable".to_owned(), |reason| reason.to_string()),
            message: with_hint(&format!("{}: {message}", server.name), server.hint.as_deref()),
            file: None,
            line: None,
            column: None,
            identity: server.name.clone(),
        }
    });
    drift.findings.iter().map(of_finding).chain(silent).collect()
}

fn of_finding(finding: &Finding) -> Annotation {
    let at = finding.location.as_ref();
    Annotation {
        severity: if finding.refused { Severity::Error } else { Severity::Warning },
        rule: finding.reason.to_owned(),
        message: format!("{}: {}", finding.object, finding.text()),
        file: at.map(|at| at.file.clone()).filter(|file| file != "<stdin>"),
        line: at.map(|at| at.line),
        column: at.map(|at| at.column),
        identity: finding.identity(),
    }
}

fn with_hint(message: &str, hint: Option<&str>) -> String {
    hint.map_or_else(|| message.to_owned(), |hint| format!("{message} Hint: {hint}"))
}

/// Workflow commands of GitHub Actions, one a line: what a job prints becomes an annotation of the pull request.
pub fn github(annotations: &[Annotation]) -> String {
    let mut text = String::new();
    for annotation in annotations {
        let command = annotation.severity.as_str();
        let mut properties = Vec::new();
        if let Some(file) = &annotation.file {
            properties.push(format!("file={}", property(relative(file))));
            properties.extend(annotation.line.map(|line| format!("line={line}")));
            properties.extend(annotation.column.map(|column| format!("col={column}")));
        }
        properties.push(format!("title={}", property(&annotation.rule)));
        let _ = writeln!(text, "::{command} {}::{}", properties.join(","), data(&annotation.message));
    }
    text
}

/// The escapes of a message: it ends with the line.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Of a property, which also ends with a comma or a colon.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// GitLab's code quality report, as an artifact of a job gives it. Only what has a place can be shown; the rest is at the manifests as a whole.
pub fn gitlab(annotations: &[Annotation]) -> Value {
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    annotations
        .iter()
        .map(|annotation| {
            // GitLab takes what has the same fingerprint for the same finding.
            let times = seen.entry(format!("{}|{}", annotation.rule, annotation.identity)).or_default();
            *times += 1;
            let fingerprint = digest(format!("{}|{}|{times}", annotation.rule, annotation.identity), 16);
            json!({
                "description": annotation.message,
                "check_name": annotation.rule,
                "fingerprint": fingerprint,
                "severity": match annotation.severity { Severity::Error => "critical", Severity::Warning => "minor" },
                "location": {
                    "path": annotation.file.as_deref().map_or(".", relative),
                    "lines": { "begin": annotation.line.unwrap_or(1) },
                },
            })
        })
        .collect()
}

/// As the forge names the files of its checkout.
fn relative(path: &str) -> &str {
    path.strip_prefix("./").unwrap_or(path)
}

/// What is wrong with manifests, as a SARIF log.
pub fn sarif_of_diagnostics(diagnostics: &[Diagnostic], version: &str) -> Value {
    let annotations = of_diagnostics(diagnostics);
    let results: Vec<Value> = annotations
        .iter()
        .map(|annotation| {
            let mut result = json!({
                "ruleId": annotation.rule,
                "ruleIndex": 0,
                "level": annotation.severity.as_str(),
                "message": { "text": annotation.message },
                "partialFingerprints": { "landfall/v1": annotation.identity },
            });
            if let Some(file) = &annotation.file {
                let mut place = json!({ "artifactLocation": { "uri": uri(file) } });
                if let Some(line) = annotation.line {
                    place["region"] = json!({ "startLine": line, "startColumn": annotation.column.unwrap_or(1) });
                }
                result["locations"] = json!([{ "physicalLocation": place }]);
            }
            result
        })
        .collect();
    let rules = if results.is_empty() { Vec::new() } else { vec![rule("ManifestInvalid", version)] };
    sarif_log(version, &rules, &json!({ "executionSuccessful": true }), &results)
}

/// A rule, and where it is explained.
pub fn rule(id: &str, version: &str) -> Value {
    let explained = reasons::explain(id);
    let means = explained.as_ref().and_then(|it| it.means.first().cloned());
    let means = means.unwrap_or_else(|| "The server is not as the manifests say.".to_owned());
    let mut rule = json!({
        "id": id,
        "name": id,
        "shortDescription": { "text": means },
        "helpUri": reasons::address(id, version),
    });
    if let Some(remedy) = explained.and_then(|it| it.remedy) {
        rule["help"] = json!({ "text": remedy, "markdown": remedy });
    }
    rule
}

/// A log of SARIF 2.1.0 with one run.
pub fn sarif_log(version: &str, rules: &[Value], invocation: &Value, results: &[Value]) -> Value {
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "landfall", "version": version, "semanticVersion": version, "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "invocations": [invocation],
            "results": results,
        }],
    })
}

/// A path as a URI reference: relative paths stay relative, so that a viewer finds them in its own checkout.
pub fn uri(path: &str) -> String {
    let path = relative(path);
    let mut uri = String::new();
    if path.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~') {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(message: &str, file: &str) -> Diagnostic {
        let mut found = Diagnostic::of_file(file, message);
        (found.line, found.column) = (Some(3), Some(7));
        found
    }

    #[test]
    fn github_s_commands_end_where_they_should() {
        let found = [found("100% wrong:\nreally", "./a,b:c.yaml").with_hint("mend it"), found("x", "<stdin>")];
        assert_eq!(
            github(&of_diagnostics(&found)),
            "::error file=a%2Cb%3Ac.yaml,line=3,col=7,title=ManifestInvalid::100%25 wrong:%0Areally Hint: mend it\n\
             ::error title=ManifestInvalid::x\n"
        );
    }

    #[test]
    fn gitlab_s_fingerprints_stay_when_lines_move_and_differ_where_findings_do() {
        let one = found("x", "a.yaml");
        let mut moved = one.clone();
        moved.line = Some(9);
        let fingerprints = |found: &[Diagnostic]| -> Vec<String> {
            let report = gitlab(&of_diagnostics(found));
            report.as_array().unwrap().iter().map(|it| it["fingerprint"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(fingerprints(std::slice::from_ref(&one)), fingerprints(&[moved]));
        let twice = fingerprints(&[one.clone(), one]);
        assert_ne!(twice[0], twice[1]);
    }

    #[test]
    fn a_rule_leads_to_its_explanation() {
        let log = sarif_of_diagnostics(&[found("x", "dir/a b.yaml")], "0.2.0");
        let run = &log["runs"][0];
        let rule = &run["tool"]["driver"]["rules"][0];
        assert_eq!(rule["helpUri"], "https://docs.rs/landfall/0.2.0/landfall/reasons/index.html#manifestinvalid");
        assert!(rule["shortDescription"]["text"].as_str().unwrap().contains("do not parse"));
        let place = &run["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "dir/a%20b.yaml");
        assert_eq!(sarif_of_diagnostics(&[], "0.2.0")["runs"][0]["results"], json!([]));
    }
}
