//! `drift` against a real daemon: what it finds, since when, and with which exit code.

use std::fs;

use crate::cli::run::landfall;
use crate::support::Host;

#[test]
fn drift_dates_what_was_done_to_the_networks() {
    let host = Host::start();
    let directory = tempfile::tempdir().unwrap();
    let manifests = format!(
        "\
apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge-1 }}
spec: {{ endpoint: '{}', proxy: {{ container: proxy }} }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web }}
spec: {{ server: edge-1, adopt: true, network: {{ name: web }} }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: gone }}
spec: {{ server: edge-1, proxy: false, network: {{ name: gone }} }}
",
        host.endpoint()
    );
    fs::create_dir(directory.path().join("manifests")).unwrap();
    fs::write(directory.path().join("manifests/all.yaml"), manifests).unwrap();
    let state = directory.path().join("state");
    let drift = |arguments: &[&str]| {
        let mut command = crate::cli::run::command();
        command.env("XDG_STATE_HOME", &state).current_dir(directory.path()).arg("drift").args(arguments);
        crate::cli::run::finish(&mut command, "")
    };
    host.create_network("web");
    host.create_network("gone");
    host.container("proxy").network("web").running();
    host.container("guest").network("web").running();
    host.remove_network("gone");
    host.disconnect("web", "proxy");

    let report = drift(&["-o", "json"]).expect(1).json();
    let findings: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["object"].as_str().unwrap(), it["reason"].as_str().unwrap(), it["since"]["event"].as_str()))
        .collect();
    assert_eq!(
        findings,
        [
            ("Destination/default/gone", "NetworkMissing", Some("network removed")),
            ("Destination/default/web", "ProxyDetached", Some("container disconnected")),
        ]
    );
    assert_eq!(report["unmanaged"][0]["name"], "guest");
    assert!(drift(&[]).expect(1).stdout.contains("ProxyDetached"));
    assert!(drift(&["-o", "junit"]).expect(1).stdout.contains("failures=\"2\""));
    assert!(drift(&["-o", "sarif"]).expect(1).json()["runs"][0]["results"][0]["ruleId"] == "NetworkMissing");
    assert!(drift(&["-o", "markdown"]).expect(1).stdout.starts_with("## Drift\n"));

    host.create_network("gone");
    // Somebody else made it: that is for a person to decide.
    drift(&[]).expect(3);
    host.remove_network("gone");
    host.connect("web", "proxy");
    assert!(drift(&["-n", "elsewhere"]).expect(0).stdout.contains("No drift"));
    host.stop_daemon();
    let absent = drift(&["-o", "json"]).expect(2);
    assert_eq!(absent.json()["servers"][0]["reachable"], false);
    assert!(!absent.stderr.is_empty());
    landfall(directory.path(), ["drift", "-o", "xml"]).expect(2);
}
