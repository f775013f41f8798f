//! SARIF 2.1.0, for code scanning: a result points to the line of the manifest that is not what the server is like.
//!
//! By hand: it is one object of JSON, for which a crate with the types of the whole schema would be the larger part.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Drift, Finding};
use crate::core::annotations;

/// The report as a SARIF log with one run.
pub fn sarif(drift: &Drift, version: &str) -> Value {
    let rules: BTreeSet<&str> = drift.findings.iter().map(|finding| finding.reason).collect();
    let rules: Vec<&str> = rules.into_iter().collect();
    let results: Vec<Value> = drift.findings.iter().map(|finding| result(finding, &rules)).collect();
    let unreachable: Vec<Value> = drift
        .servers
        .iter()
        .filter(|server| !server.reachable)
        .map(|server| {
            let message = server.message.as_deref().unwrap_or("It could not be observed.");
            json!({ "level": "error", "message": { "text": format!("{}: {message}", server.name) } })
        })
        .collect();
    let rules: Vec<Value> = rules.iter().map(|id| annotations::rule(id, version)).collect();
    let invocation = json!({
        "executionSuccessful": unreachable.is_empty(),
        "toolExecutionNotifications": unreachable,
    });
    annotations::sarif_log(version, &rules, &invocation, &results)
}

fn result(finding: &Finding, rules: &[&str]) -> Value {
    let Finding { server, object, reason, refused, disruptive, network, container, location, .. } = finding;
    let server = server.as_deref().unwrap_or_default();
    let mut place = Map::new();
    if let Some(at) = location {
        place.insert(
            "physicalLocation".to_owned(),
            json!({
                "artifactLocation": { "uri": annotations::uri(&at.file) },
                "region": { "startLine": at.line, "startColumn": at.column },
            }),
        );
    }
    place.insert(
        "logicalLocations".to_owned(),
        json!([{ "fullyQualifiedName": object.to_string(), "name": object.name, "kind": "resource" }]),
    );
    json!({
        "ruleId": reason,
        "ruleIndex": rules.iter().position(|rule| rule == reason),
        "level": if *refused { "error" } else { "warning" },
        "message": { "text": finding.text() },
        "locations": [place],
        "partialFingerprints": { "landfall/v1": finding.identity() },
        "properties": { "server": server, "network": network, "container": container, "disruptive": disruptive },
    })
}
