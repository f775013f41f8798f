//! The document of `diff -o json`.

use landfall::core::api::Kind;
use landfall::core::plan::Reason;
use landfall::core::report::{Failure, Outcome, Report};
use serde_json::json;

use crate::support::scenario::{Scenario, container, destination, network};

#[test]
fn the_document_is_that_of_the_contract() {
    let scenario = Scenario::without_proxy()
        .destination(destination("web").named("web-net"))
        .network(network("old-net").of("old"))
        .container(container("db-1").on("old-net").exited())
        .prune();
    let document = serde_json::to_string_pretty(&Report::planned(scenario.plan()).document()).unwrap();
    assert_eq!(
        document,
        r#"{
  "format_version": "1.0",
  "set": "default",
  "servers": [
    {
      "name": "default/edge-1",
      "reachable": true,
      "type": "standalone"
    }
  ],
  "operations": [
    {
      "op": "CreateNetwork",
      "server": "default/edge-1",
      "object": "Destination/shop/web",
      "network": "web-net",
      "container": null,
      "cause": "NetworkMissing",
      "disruptive": false,
      "outcome": "Planned"
    }
  ],
  "notes": [
    {
      "kind": "Refused",
      "reason": "ResourcesRemain",
      "server": "default/edge-1",
      "object": "Destination/shop/old",
      "message": "You must delete all resources before deleting this destination.",
      "hint": "remove what is listed, or stop and disconnect it all: landfall delete destination old -n shop --force",
      "blockers": [
        {
          "kind": "Container",
          "name": "db-1",
          "state": "exited"
        }
      ]
    }
  ],
  "summary": {
    "operations": 1,
    "refused": 1,
    "unreachable": 0,
    "failed": 0
  }
}"#
    );
}

#[test]
fn an_unreachable_server_has_no_type_and_is_counted() {
    let scenario = Scenario::new().destination(destination("web").named("web-net")).unreachable();
    let document = serde_json::to_value(Report::planned(scenario.plan()).document()).unwrap();
    assert_eq!(document["servers"], json!([{ "name": "default/edge-1", "reachable": false, "type": null }]));
    assert_eq!(document["summary"], json!({ "operations": 0, "refused": 0, "unreachable": 1, "failed": 0 }));
    assert_eq!(document["notes"][0]["reason"], "ServerUnreachable");
    assert_eq!(document["notes"][0]["object"], "Server/default/edge-1");
}

#[test]
fn a_failed_operation_says_why() {
    let scenario = Scenario::new().destination(destination("web").named("web-net"));
    let mut report = Report::planned(scenario.plan());
    report.servers[0].operations[0].outcome = Outcome::Failed(Failure {
        reason: Some(Reason::AddressPoolExhausted),
        message: "no pool has room".to_owned(),
        hint: Some("prune".to_owned()),
    });
    report.servers[0].operations[1].outcome = Outcome::Skipped;
    let document = serde_json::to_value(report.document()).unwrap();
    let operation = &document["operations"][0];
    assert_eq!(operation["outcome"], "Failed");
    assert_eq!(operation["reason"], "AddressPoolExhausted");
    assert_eq!(operation["message"], "no pool has room");
    assert_eq!(operation["hint"], "prune");
    assert_eq!(document["operations"][1]["outcome"], "Skipped");
    assert_eq!(document["operations"][1]["container"], "traefik");
    assert!(document["operations"][1].get("reason").is_none());
    assert_eq!(document["summary"]["failed"], 1);
}

#[test]
fn a_dry_run_shows_the_same_name_each_time_for_a_network_without_one() {
    let scenario = Scenario::without_proxy().destination(destination("web"));
    let plan = scenario.plan_with(&landfall::core::plan::FreshIds::default());
    let document = Report::planned(plan).document();
    assert_eq!(document.operations[0].network.as_deref(), Some("(generated)"));
}

#[test]
fn a_note_that_concerns_no_server_names_none() {
    let scenario = Scenario::new().delete(Kind::Destination, "gone");
    let document = serde_json::to_value(Report::planned(scenario.plan()).document()).unwrap();
    assert_eq!(document["notes"][0]["reason"], "NetworkNotFound");
    assert!(document["notes"][0].get("server").is_none());
}
