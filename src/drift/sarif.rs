//! SARIF 2.1.0, for code scanning: a result points to the line of the manifest that is not what the server is like.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Drift, Finding};

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
    let rules: Vec<Value> = rules
        .iter()
        .map(|rule| json!({ "id": rule, "name": rule, "shortDescription": { "text": describe(rule) } }))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "landfall", "version": version, "semanticVersion": version, "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": unreachable.is_empty(),
                "toolExecutionNotifications": unreachable,
            }],
            "results": results,
        }],
    })
}

fn result(finding: &Finding, rules: &[&str]) -> Value {
    let Finding { server, object, reason, refused, disruptive, message, hint, network, container, since, location } =
        finding;
    let mut text = message.clone();
    if let Some(since) = since {
        text.push_str(&format!(" Since {:.0} ({}).", since.time, since.event));
    }
    if let Some(hint) = hint {
        text.push_str(&format!(" Hint: {hint}"));
    }
    let server = server.as_deref().unwrap_or_default();
    let mut place = Map::new();
    if let Some(at) = location {
        place.insert(
            "physicalLocation".to_owned(),
            json!({
                "artifactLocation": { "uri": uri(&at.file) },
                "region": { "startLine": at.line, "startColumn": at.column },
            }),
        );
    }
    place.insert(
        "logicalLocations".to_owned(),
        json!([{ "fullyQualifiedName": object.to_string(), "name": object.name, "kind": "resource" }]),
    );
    // What it is the same finding by, from one run to the next.
    let parts =
        [server, &object.to_string(), reason, network.as_deref().unwrap_or(""), container.as_deref().unwrap_or("")];
    json!({
        "ruleId": reason,
        "ruleIndex": rules.iter().position(|rule| rule == reason),
        "level": if *refused { "error" } else { "warning" },
        "message": { "text": text },
        "locations": [place],
        "partialFingerprints": { "landfall/v1": parts.join("|") },
        "properties": { "server": server, "network": network, "container": container, "disruptive": disruptive },
    })
}

/// A path as a URI reference: relative paths stay relative, so that a viewer finds them in its own checkout.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut uri = String::new();
    if path.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~') {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

fn describe(rule: &str) -> &'static str {
    match rule {
        "NetworkMissing" => "The network of a destination does not exist",
        "NetworkReplaced" | "ImmutableField" => "A field of a network that cannot be changed differs",
        "ProxyDetached" => "The proxy is not on the network of an active destination",
        "ProxyUnwanted" => "The proxy is on the network of a destination that is deactivated or asks for none",
        "MemberDetached" => "A declared member is not on the network",
        "AddressReserved" => "An endpoint has an address that is declared for another",
        "AddressTaken" => "A declared address is held by another container",
        "EndpointDiffers" => "An endpoint lacks something that is declared, or has what is no longer declared",
        "EndpointStale" => "A container is pinned to a network that no longer exists",
        "MembershipExclusive" => "An undeclared container is on an exclusive destination",
        "MemberUndeclared" => "A container is connected for a resource that is no longer declared",
        "Deactivated" => "A container of a deactivated destination runs",
        "JournalRestore" => "An interrupted replacement has left a container disconnected",
        "AdoptionRequired" => "A network of that name exists and was not created by Landfall",
        "OwnershipConflict" => "A network belongs to another set or destination",
        "NameAmbiguous" => "A name means several networks or containers",
        "WrongScope" => "A network is of another kind than its server gives",
        "NotASwarmManager" => "A Swarm's networks are made by its managers",
        "SubnetOverlap" => "A declared range overlaps that of another network",
        _ => "The server is not as the manifests say",
    }
}
