//! `drift`: findings, their dates and every format, literally.

use std::collections::{BTreeMap, BTreeSet};

use landfall::core::annotations::{github, gitlab, of_drift};
use landfall::core::api::ObjectKey;
use landfall::core::drift::{Drift, DriftInput, DriftNote, drift, junit, markdown, sarif};
use landfall::core::manifest::{Source, load};
use landfall::core::observed::{
    ContainerState, EngineEvent, Observations, ObservedContainer, ObservedState, Unobserved, UnobservedReason,
};
use landfall::core::plan::{FreshIds, NoteKind, PlanInput, Request, plan};
use proptest::prelude::*;

use super::observed::{container, container_id, network, network_id, server, subnet};

const MANIFESTS: &str = "\
apiVersion: landfall/v1
kind: Server
metadata: { name: edge-1 }
spec: { proxy: { container: traefik } }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: web }
spec: { server: edge-1, adopt: true, network: { name: web-net, mtu: 1450 } }
---
apiVersion: landfall/v1
kind: Application
metadata: { name: front }
spec: { destination: web, containers: { names: [front] }, endpoint: { aliases: [www] } }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: data }
spec: { server: edge-1, proxy: false, adopt: true, network: { name: data-net } }
---
apiVersion: landfall/v1
kind: Database
metadata: { name: orders }
spec: { destination: data, containers: { names: [pg, replica] } }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: gone }
spec: { server: edge-1, network: { name: gone-net } }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: paused }
spec: { server: edge-1, suspend: true, network: { name: paused-net } }
---
apiVersion: landfall/v1
kind: Server
metadata: { name: edge-2 }
spec: { endpoint: unix:///run/edge-2.sock }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: far }
spec: { server: edge-2, network: { name: far-net } }
";

/// 2026-03-01T12:00:00Z and so many seconds.
fn event(second: i64, object_type: &str, action: &str, id: &str, name: &str, container: Option<&str>) -> EngineEvent {
    EngineEvent {
        time_nanos: (1_772_366_400 + second) * 1_000_000_000,
        object_type: object_type.to_owned(),
        action: action.to_owned(),
        id: id.to_owned(),
        name: name.to_owned(),
        container: container.map(|name| container_id(name).as_str().to_owned()),
    }
}

fn on_network(second: i64, action: &str, network: &str, container: &str) -> EngineEvent {
    event(second, "network", action, network_id(network).as_str(), network, Some(container))
}

fn of_container(second: i64, action: &str, name: &str) -> EngineEvent {
    event(second, "container", action, container_id(name).as_str(), name, None)
}

fn of_network(second: i64, action: &str, name: &str) -> EngineEvent {
    event(second, "network", action, network_id(name).as_str(), name, None)
}

fn report(manifests: &str, state: ObservedState, events: Vec<EngineEvent>) -> Drift {
    let sources = [Source { name: "manifests/shop team.yaml".to_owned(), bytes: manifests.as_bytes().to_vec() }];
    let manifests = load(&sources).unwrap();
    let desired = manifests.desired("default");
    let mut observed = Observations::new();
    let mut remembered = BTreeMap::new();
    for (number, key) in desired.servers.keys().enumerate() {
        if number == 0 {
            observed.insert(key.clone(), Ok(state.clone()));
            remembered.insert(key.clone(), events.clone());
        } else {
            let unobserved = Unobserved {
                reason: UnobservedReason::ServerUnreachable,
                message: "nobody listens at /run/edge-2.sock".to_owned(),
                hint: None,
            };
            observed.insert(key.clone(), Err(unobserved));
        }
    }
    let request = Request::default();
    let input = PlanInput {
        desired: &desired,
        observed: &observed,
        request: &request,
        ids: &FreshIds::default(),
        journals: &[],
    };
    let plan = plan(&input);
    let locations = manifests.objects().map(|it| (it.object.key(), it.location.clone())).collect();
    drift(&DriftInput {
        desired: &desired,
        observed: &observed,
        plan: &plan,
        events: &remembered,
        locations: &locations,
    })
}

fn aliased(mut container: ObservedContainer, alias: &str) -> ObservedContainer {
    container.endpoints[0].settings.as_mut().unwrap().aliases.push(alias.to_owned());
    container
}

fn shop() -> (ObservedState, Vec<EngineEvent>) {
    let mut web = network("web-net");
    web.options.insert("com.docker.network.driver.mtu".to_owned(), "1500".to_owned());
    let mut other = network("left|over");
    other.created = "2026-02-01T08:00:00.123456789Z".to_owned();
    let mut stopped = container("guest", "busybox", &["web-net"]);
    stopped.state = ContainerState::Exited;
    let mut state = server(
        vec![web, network("data-net"), other],
        vec![
            container("traefik", "traefik:v3", &["bridge"]),
            aliased(container("front", "front", &["web-net"]), "front"),
            container("pg", "postgres", &["bridge"]),
            stopped,
        ],
    );
    state.networks[3].subnets.push(subnet("10.1.0.0/24", "10.1.0.1"));
    let events = vec![
        on_network(10, "connect", "web-net", "traefik"),
        on_network(20, "connect", "web-net", "guest"),
        on_network(30, "disconnect", "web-net", "traefik"),
        // It was only stopped and started: when it was taken off the network is not known.
        on_network(40, "disconnect", "data-net", "pg"),
        of_container(40, "die", "pg"),
        of_network(50, "destroy", "gone-net"),
    ];
    (state, events)
}

fn since(report: &Drift, object: &str, reason: &str) -> Option<String> {
    let finding = report.findings.iter().find(|it| it.object.to_string() == object && it.reason == reason).unwrap();
    finding.since.as_ref().map(|since| format!("{} {}", since.time, since.event))
}

#[test]
fn pain_41_drift_names_what_moved_since_when_and_where_it_is_declared() {
    let (state, events) = shop();
    let report = report(MANIFESTS, state, events);
    assert_eq!(
        serde_json::to_string_pretty(&report).unwrap(),
        r#"{
  "format_version": "1.0",
  "set": "default",
  "drifted": true,
  "servers": [
    {
      "name": "default/edge-1",
      "reachable": true,
      "type": "standalone",
      "objects": [
        "Destination/default/data",
        "Destination/default/gone",
        "Destination/default/paused",
        "Destination/default/web",
        "Application/default/front",
        "Database/default/orders"
      ]
    },
    {
      "name": "default/edge-2",
      "reachable": false,
      "type": null,
      "reason": "ServerUnreachable",
      "message": "nobody listens at /run/edge-2.sock",
      "objects": [
        "Destination/default/far"
      ]
    }
  ],
  "findings": [
    {
      "server": "default/edge-1",
      "object": "Database/default/orders",
      "reason": "MemberDetached",
      "refused": false,
      "disruptive": false,
      "message": "The container \"pg\" is not on the network \"data-net\".",
      "network": "data-net",
      "container": "pg",
      "since": null,
      "file": "manifests/shop team.yaml",
      "line": 21,
      "column": 1
    },
    {
      "server": "default/edge-1",
      "object": "Destination/default/gone",
      "reason": "NetworkMissing",
      "refused": false,
      "disruptive": false,
      "message": "The network \"gone-net\" does not exist.",
      "network": "gone-net",
      "container": null,
      "since": {
        "time": "2026-03-01T12:00:50Z",
        "event": "network removed"
      },
      "file": "manifests/shop team.yaml",
      "line": 26,
      "column": 1
    },
    {
      "server": "default/edge-1",
      "object": "Destination/default/gone",
      "reason": "ProxyDetached",
      "refused": false,
      "disruptive": false,
      "message": "The proxy \"traefik\" is not on the network \"gone-net\".",
      "network": "gone-net",
      "container": "traefik",
      "since": {
        "time": "2026-03-01T12:00:50Z",
        "event": "network removed"
      },
      "file": "manifests/shop team.yaml",
      "line": 26,
      "column": 1
    },
    {
      "server": "default/edge-1",
      "object": "Destination/default/web",
      "reason": "ProxyDetached",
      "refused": false,
      "disruptive": false,
      "message": "The proxy \"traefik\" is not on the network \"web-net\".",
      "network": "web-net",
      "container": "traefik",
      "since": {
        "time": "2026-03-01T12:00:30Z",
        "event": "container disconnected"
      },
      "file": "manifests/shop team.yaml",
      "line": 6,
      "column": 1
    },
    {
      "server": "default/edge-1",
      "object": "Application/default/front",
      "reason": "EndpointDiffers",
      "refused": false,
      "disruptive": true,
      "message": "The container \"front\" is on the network \"web-net\" otherwise than declared.",
      "network": "web-net",
      "container": "front",
      "since": null,
      "file": "manifests/shop team.yaml",
      "line": 11,
      "column": 1
    },
    {
      "server": "default/edge-1",
      "object": "Destination/default/web",
      "reason": "ImmutableField",
      "refused": true,
      "disruptive": false,
      "message": "spec.network.mtu is 1500 on the server and 1450 in the manifest. The network is adopted, and Landfall removes none that it did not create.",
      "hint": "change the manifest to what the network is, or have it made anew as Landfall's own: `takeOwnership: true`",
      "network": "web-net",
      "container": null,
      "since": null,
      "file": "manifests/shop team.yaml",
      "line": 6,
      "column": 1
    }
  ],
  "unmanaged": [
    {
      "server": "default/edge-1",
      "kind": "Container",
      "name": "guest",
      "network": "web-net",
      "object": "Destination/default/web",
      "state": "exited",
      "message": "No resource declares the container \"guest\".",
      "since": {
        "time": "2026-03-01T12:00:20Z",
        "event": "container connected"
      }
    },
    {
      "server": "default/edge-1",
      "kind": "Network",
      "name": "left|over",
      "network": null,
      "object": null,
      "state": null,
      "message": "No manifest declares the network \"left|over\".",
      "since": {
        "time": "2026-02-01T08:00:00.123456789Z",
        "event": "network created"
      }
    }
  ],
  "notes": [
    {
      "kind": "Waiting",
      "reason": "ContainerMissing",
      "server": "default/edge-1",
      "object": "Database/default/orders",
      "message": "There is no container named \"replica\".",
      "hint": "it is connected as soon as it is there; correct `spec.containers` if it goes by another name"
    },
    {
      "kind": "Suspended",
      "reason": "Suspended",
      "server": "default/edge-1",
      "object": "Destination/default/paused",
      "message": "Destination/default/paused is suspended and left as it is.",
      "hint": "remove `suspend: true` to have it looked after again"
    }
  ],
  "summary": {
    "findings": 6,
    "refused": 1,
    "unmanaged": 2,
    "unreachable": 1
  }
}"#
    );
}

#[test]
fn drift_as_markdown() {
    let (state, events) = shop();
    assert_eq!(
        markdown(&report(MANIFESTS, state, events)),
        r#"## Drift

**4** of 7 declared objects differ from the manifests in 6 ways, 1 of which Landfall will not repair by itself.

> **default/edge-2** could not be observed: nobody listens at /run/edge-2.sock

| Server | Object | Reason | Since | What |
|---|---|---|---|---|
| default/edge-1 | Database/default/orders | MemberDetached | unknown | The container "pg" is not on the network "data-net". |
| default/edge-1 | Destination/default/gone | NetworkMissing | 2026-03-01T12:00:50Z (network removed) | The network "gone-net" does not exist. |
| default/edge-1 | Destination/default/gone | ProxyDetached | 2026-03-01T12:00:50Z (network removed) | The proxy "traefik" is not on the network "gone-net". |
| default/edge-1 | Destination/default/web | ProxyDetached | 2026-03-01T12:00:30Z (container disconnected) | The proxy "traefik" is not on the network "web-net". |
| default/edge-1 | Application/default/front | EndpointDiffers | unknown | The container "front" is on the network "web-net" otherwise than declared. |
| default/edge-1 | Destination/default/web | ImmutableField | unknown | spec.network.mtu is 1500 on the server and 1450 in the manifest. The network is adopted, and Landfall removes none that it did not create. |

### Unmanaged

| Server | What | Since |
|---|---|---|
| default/edge-1 | No resource declares the container "guest". It is on "web-net". | 2026-03-01T12:00:20Z (container connected) |
| default/edge-1 | No manifest declares the network "left\|over". | 2026-02-01T08:00:00Z (network created) |

### Notes

- Waiting: Database/default/orders: There is no container named "replica". (ContainerMissing)
- Suspended: Destination/default/paused is suspended and left as it is. (Suspended)
"#
    );
}

#[test]
fn what_is_waited_for_is_told_of_each_object_once() {
    let (state, events) = shop();
    let mut drift = report(MANIFESTS, state, events);
    let note = drift.notes.iter().find(|note| note.kind == NoteKind::Waiting).unwrap().clone();
    let other = DriftNote { object: "Application/default/other".parse().unwrap(), ..note.clone() };
    let elsewhere = DriftNote { server: Some("default/edge-2".to_owned()), ..note.clone() };
    drift.notes = vec![note, elsewhere, other];
    let told: Vec<String> = drift.note_lines().into_iter().map(|(kind, line)| format!("{kind}: {line}")).collect();
    assert_eq!(
        told,
        [
            "Waiting: Database/default/orders: There is no container named \"replica\". (ContainerMissing)",
            "Waiting: Application/default/other: There is no container named \"replica\". (ContainerMissing)",
        ]
    );
    assert_eq!(markdown(&drift).matches("- Waiting: ").count(), 2);
}

#[test]
fn what_is_one_is_not_counted_as_many() {
    let (state, events) = shop();
    let mut drift = report(MANIFESTS, state, events);
    drift.findings.truncate(1);
    (drift.summary.findings, drift.summary.refused) = (1, 0);
    drift.servers.truncate(1);
    drift.servers[0].objects.truncate(1);
    let said = markdown(&drift);
    assert!(said.contains("**1** of 1 declared object differs from the manifests in 1 way, 0 of which"), "{said}");
}

#[test]
fn drift_as_junit() {
    let (state, events) = shop();
    assert_eq!(
        junit(&report(MANIFESTS, state, events)).unwrap(),
        r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="landfall drift" tests="7" skipped="1" failures="4" errors="1" time="0.000">
    <testsuite name="default/edge-1" tests="6" skipped="1" errors="0" failures="4" time="0.000">
        <testcase name="Destination/default/data" classname="default/edge-1" time="0.000"/>
        <testcase name="Destination/default/gone" classname="default/edge-1" time="0.000" file="manifests/shop team.yaml" line="26">
            <failure message="The network &quot;gone-net&quot; does not exist." type="NetworkMissing">NetworkMissing: The network &quot;gone-net&quot; does not exist. Since 2026-03-01T12:00:50Z (network removed).
ProxyDetached: The proxy &quot;traefik&quot; is not on the network &quot;gone-net&quot;. Since 2026-03-01T12:00:50Z (network removed).</failure>
        </testcase>
        <testcase name="Destination/default/paused" classname="default/edge-1" time="0.000">
            <skipped message="Destination/default/paused is suspended and left as it is."/>
        </testcase>
        <testcase name="Destination/default/web" classname="default/edge-1" time="0.000" file="manifests/shop team.yaml" line="6">
            <failure message="The proxy &quot;traefik&quot; is not on the network &quot;web-net&quot;." type="ProxyDetached">ProxyDetached: The proxy &quot;traefik&quot; is not on the network &quot;web-net&quot;. Since 2026-03-01T12:00:30Z (container disconnected).
ImmutableField: spec.network.mtu is 1500 on the server and 1450 in the manifest. The network is adopted, and Landfall removes none that it did not create. Hint: change the manifest to what the network is, or have it made anew as Landfall&apos;s own: `takeOwnership: true`</failure>
        </testcase>
        <testcase name="Application/default/front" classname="default/edge-1" time="0.000" file="manifests/shop team.yaml" line="11">
            <failure message="The container &quot;front&quot; is on the network &quot;web-net&quot; otherwise than declared." type="EndpointDiffers">EndpointDiffers: The container &quot;front&quot; is on the network &quot;web-net&quot; otherwise than declared.</failure>
        </testcase>
        <testcase name="Database/default/orders" classname="default/edge-1" time="0.000" file="manifests/shop team.yaml" line="21">
            <failure message="The container &quot;pg&quot; is not on the network &quot;data-net&quot;." type="MemberDetached">MemberDetached: The container &quot;pg&quot; is not on the network &quot;data-net&quot;.</failure>
        </testcase>
        <system-out>Unmanaged: No resource declares the container &quot;guest&quot;. It is on &quot;web-net&quot;.
Unmanaged: No manifest declares the network &quot;left|over&quot;.</system-out>
    </testsuite>
    <testsuite name="default/edge-2" tests="1" skipped="0" errors="1" failures="0" time="0.000">
        <testcase name="Destination/default/far" classname="default/edge-2" time="0.000">
            <error message="nobody listens at /run/edge-2.sock" type="ServerUnreachable"/>
        </testcase>
    </testsuite>
</testsuites>
"#
    );
}

#[test]
fn drift_as_sarif() {
    let (state, events) = shop();
    let sarif = sarif(&report(MANIFESTS, state, events), "0.1.0");
    assert_eq!(
        serde_json::to_string_pretty(&sarif["runs"][0]["results"][0]).unwrap(),
        r#"{
  "ruleId": "MemberDetached",
  "ruleIndex": 2,
  "level": "warning",
  "message": {
    "text": "The container \"pg\" is not on the network \"data-net\"."
  },
  "locations": [
    {
      "physicalLocation": {
        "artifactLocation": {
          "uri": "manifests/shop%20team.yaml"
        },
        "region": {
          "startLine": 21,
          "startColumn": 1
        }
      },
      "logicalLocations": [
        {
          "fullyQualifiedName": "Database/default/orders",
          "name": "orders",
          "kind": "resource"
        }
      ]
    }
  ],
  "partialFingerprints": {
    "landfall/v1": "default/edge-1|Database/default/orders|MemberDetached|data-net|pg"
  },
  "properties": {
    "server": "default/edge-1",
    "network": "data-net",
    "container": "pg",
    "disruptive": false
  }
}"#
    );
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    for result in run["results"].as_array().unwrap() {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        let rule = &run["tool"]["driver"]["rules"][index];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(rule["helpUri"].as_str().unwrap().starts_with("https://docs.rs/landfall/0.1.0/"), "{rule}");
        let location = &result["locations"][0]["physicalLocation"];
        assert_eq!(location["artifactLocation"]["uri"], "manifests/shop%20team.yaml");
        assert!(location["region"]["startLine"].as_u64() >= Some(1));
    }
}

#[test]
fn drift_as_annotations_of_github() {
    let (state, events) = shop();
    let text = github(&of_drift(&report(MANIFESTS, state, events)));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "::warning file=manifests/shop team.yaml,line=21,col=1,title=MemberDetached::Database/default/orders: The container \"pg\" is not on \
         the network \"data-net\"."
    );
    let refused = "::error file=manifests/shop team.yaml,line=6,col=1,title=ImmutableField::Destination/default/web: ";
    assert!(lines.iter().any(|line| line.starts_with(refused)), "what is refused is an error: {text}");
    let silent = "::error title=ServerUnreachable::default/edge-2: nobody listens at /run/edge-2.sock";
    assert!(lines.iter().any(|line| line.starts_with(silent)), "a server that cannot be asked is an error: {text}");
}

#[test]
fn drift_as_the_code_quality_report_of_gitlab() {
    let (state, events) = shop();
    let drift = report(MANIFESTS, state, events);
    let report = gitlab(&of_drift(&drift));
    let entries = report.as_array().unwrap();
    assert_eq!(entries.len(), drift.findings.len() + 1, "each finding, and the server that cannot be asked");
    let fingerprints: BTreeSet<&str> = entries.iter().map(|it| it["fingerprint"].as_str().unwrap()).collect();
    assert_eq!(fingerprints.len(), entries.len(), "{report:#}");
    assert_eq!(entries[0]["location"]["path"], "manifests/shop team.yaml");
    assert_eq!((&entries[0]["severity"], &entries[0]["check_name"]), (&"minor".into(), &"MemberDetached".into()));
}

/// Everything is as declared: no finding, whatever else is on the server.
#[test]
fn no_drift_is_an_empty_report() {
    let manifests = MANIFESTS.split("---\n").take(3).collect::<Vec<_>>().join("---\n").replace(", mtu: 1450", "");
    let state = server(
        vec![network("web-net"), network("foreign")],
        vec![
            container("traefik", "traefik:v3", &["web-net"]),
            aliased(container("front", "front", &["web-net"]), "www"),
            container("guest", "busybox", &["web-net"]),
        ],
    );
    let report = report(&manifests, state, Vec::new());
    assert!(!report.drifted && report.findings.is_empty(), "{report:#?}");
    let names: Vec<_> = report.unmanaged.iter().map(|it| (it.name.as_str(), it.network.as_deref())).collect();
    assert_eq!(names, [("guest", Some("web-net")), ("foreign", None)]);
    assert_eq!(markdown(&report).lines().nth(2), Some("None: all 2 declared objects are as the manifests say."));
}

#[test]
fn who_can_be_on_no_network_is_a_finding() {
    let manifests = "
apiVersion: landfall/v1
kind: Server
metadata: { name: edge-1 }
spec: { proxy: { container: traefik } }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: web }
spec: { server: edge-1, network: { name: web-net }, adopt: true }
---
apiVersion: landfall/v1
kind: Application
metadata: { name: app }
spec: { destination: web, containers: { names: [app] } }
";
    let mut proxy = container("traefik", "traefik:v3", &[]);
    proxy.network_mode = "host".to_owned();
    let mut app = container("app", "app", &[]);
    app.network_mode = "none".to_owned();
    let report = report(manifests, server(vec![network("web-net")], vec![proxy, app]), Vec::new());
    let found: Vec<_> = report.findings.iter().map(|it| (it.object.to_string(), it.reason, it.refused)).collect();
    assert_eq!(
        found,
        [
            ("Server/default/edge-1".to_owned(), "WrongScope", true),
            ("Application/default/app".to_owned(), "WrongScope", true)
        ]
    );
    assert!(report.drifted);
}

#[test]
fn a_date_is_given_only_where_the_events_prove_it() {
    let (state, _) = shop();
    let with = |events: Vec<EngineEvent>| report(MANIFESTS, state.clone(), events);
    let web = "Destination/default/web";
    assert_eq!(since(&with(vec![]), web, "ProxyDetached"), None);
    // A later connect without its disconnect: events are missing.
    let gap = vec![on_network(10, "disconnect", "web-net", "traefik"), on_network(20, "connect", "web-net", "traefik")];
    assert_eq!(since(&with(gap), web, "ProxyDetached"), None);
    // Another container's, another network's.
    let others =
        vec![on_network(10, "disconnect", "web-net", "pg"), on_network(20, "disconnect", "data-net", "traefik")];
    assert_eq!(since(&with(others), web, "ProxyDetached"), None);
    let recreated = vec![on_network(10, "disconnect", "web-net", "traefik"), of_container(15, "create", "traefik")];
    assert_eq!(
        since(&with(recreated), web, "ProxyDetached").as_deref(),
        Some("2026-03-01T12:00:15Z container created")
    );
    let removed = vec![of_network(7, "destroy", "gone-net"), of_network(3, "destroy", "gone-net")];
    assert_eq!(
        since(&with(removed), "Destination/default/gone", "NetworkMissing").as_deref(),
        Some("2026-03-01T12:00:07Z network removed")
    );
}

proptest! {
    /// Whatever a finding says, the XML is well-formed, and Markdown keeps to its tables.
    #[test]
    fn no_text_breaks_a_format(text in any::<String>()) {
        let (state, events) = shop();
        let mut report = report(MANIFESTS, state, events);
        for finding in &mut report.findings {
            finding.message.clone_from(&text);
            finding.hint = Some(text.clone());
            if let Some(location) = &mut finding.location {
                location.file.clone_from(&text);
            }
        }
        for unmanaged in &mut report.unmanaged {
            unmanaged.message.clone_from(&text);
        }
        for server in &mut report.servers {
            server.message = server.message.as_ref().map(|_| text.clone());
        }
        let xml = junit(&report).unwrap();
        prop_assert!(roxmltree::Document::parse(&xml).is_ok(), "{}", xml);
        let table = markdown(&report);
        for line in table.lines().filter(|line| line.starts_with("| default/edge-1 | Destination")) {
            let bars = line.replace("\\\\", "").replace("\\|", "").matches('|').count();
            prop_assert_eq!(bars, 6, "{}", line);
        }
        let uri = sarif(&report, "0")["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].clone();
        prop_assert!(uri.as_str().unwrap().bytes().all(|byte| byte.is_ascii_graphic()), "{}", uri);
    }
}

#[test]
fn the_objects_of_a_server_are_those_on_its_destinations() {
    let (state, events) = shop();
    let report = report(MANIFESTS, state, events);
    let objects: Vec<String> = report.servers[1].objects.iter().map(ObjectKey::to_string).collect();
    assert_eq!(objects, ["Destination/default/far"]);
}

#[test]
fn a_replacement_names_the_fields_that_differ() {
    let manifests = MANIFESTS.split("---\n").take(2).collect::<Vec<_>>().join("---\n");
    let manifests = manifests.replace(
        "adopt: true, network: { name: web-net, mtu: 1450 }",
        "replacement: Reattach, network: { name: web-net, mtu: 1450, internal: true }",
    );
    let key = ObjectKey::new(landfall::core::api::Kind::Destination, "default", "web");
    let mut web = network("web-net");
    let uid = landfall::core::plan::ownership::seal("ck0", "default", &key, "web-net");
    let labels = [("landfall.set", "default"), ("landfall.destination", "default/web"), ("landfall.uid", &uid)];
    web.labels.extend(labels.map(|(label, value)| (label.to_owned(), value.to_owned())));
    let report =
        report(&manifests, server(vec![web], vec![container("traefik", "traefik:v3", &["web-net"])]), Vec::new());
    let findings: Vec<_> = report.findings.iter().map(|it| (it.reason, it.disruptive, it.message.as_str())).collect();
    let fields = "spec.network.internal is false on the server and true in the manifest; spec.network.mtu is unset on the server and 1450 in the manifest";
    assert_eq!(
        findings,
        [("NetworkReplaced", true, format!("The network \"web-net\" would be replaced: {fields}.").as_str())]
    );
}

#[test]
fn a_network_is_left_over_for_a_reason() {
    let manifests = MANIFESTS.split("---\n").take(2).collect::<Vec<_>>().join("---\n");
    let manifests = manifests.replace("adopt: true, network: { name: web-net, mtu: 1450 }", "");
    let of = |name: &str, destination: &str| {
        let key = ObjectKey::new(landfall::core::api::Kind::Destination, "default", destination);
        let uid = landfall::core::plan::ownership::seal(name, "default", &key, name);
        let mut network = network(name);
        let labels = [("landfall.set", "default"), ("landfall.destination", &key.path()), ("landfall.uid", &uid)];
        network.labels.extend(labels.map(|(label, value)| (label.to_owned(), value.to_owned())));
        network
    };
    let state = server(vec![of("net-a", "web"), of("net-b", "web"), of("net-c", "former")], Vec::new());
    let report = report(&manifests, state, Vec::new());
    let messages: Vec<_> = report.unmanaged.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "The network \"net-b\" was made for Destination/default/web, which uses another one.",
            "No manifest declares Destination/default/former any more, and its network \"net-c\" exists.",
        ]
    );
}
