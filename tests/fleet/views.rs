//! Any controller shows all of the fleet, and what is asked of one is done by whichever has the server.

use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use super::controllers::{Fleet, healed};
use super::engines::Engine;
use crate::cli::run::landfall;
use crate::support::wait_for;
use crate::web::client::{self, Answer};

/// The list behind that path, as a controller has it.
fn list(fleet: &Fleet, number: usize, path: &str) -> Vec<Value> {
    let answer = client::over_socket(&fleet.socket(number), &format!("GET {path}")).expect(200);
    answer.json()["items"].as_array().unwrap().clone()
}

fn ask(fleet: &Fleet, number: usize, path: &str, body: &Value) -> Answer {
    let stream = UnixStream::connect(fleet.socket(number)).unwrap();
    let headers = [("Host", "localhost"), ("Content-Type", "application/json")];
    client::send(stream, &format!("POST {path}"), &headers, &body.to_string())
}

/// Names of the containers that are connected, over all applications.
fn connected(fleet: &Fleet, number: usize) -> usize {
    let applications = list(fleet, number, "/api/v1/resources?limit=1000");
    let on = applications.iter().flat_map(|it| it["status"]["destinations"].as_array().unwrap().clone());
    let containers = on.filter_map(|it| it["containers"].as_array().cloned()).flatten();
    containers.filter(|it| it["connected"] == true && it["container"] == "app-0").count()
}

#[test]
fn each_controller_shows_what_is_on_all_servers_and_who_has_them_since_when() {
    let mut fleet = Fleet::start(14, 2, 1);
    fleet.settled();
    for number in 0..2 {
        wait_for("it shows every container", || (connected(&fleet, number) == 14).then_some(()));
        let own = fleet.id(number);
        let servers = list(&fleet, number, "/api/v1/servers?limit=1000");
        assert_eq!(servers.len(), 14);
        for server in &servers {
            let status = &server["status"];
            let keeper = status["controller"]["name"].as_str().unwrap();
            assert!(status["controller"]["since"].is_string(), "{server}");
            assert_eq!(status["engine"]["version"], "28.3.0", "{server}");
            // When another one looked last is for that one to say.
            assert_eq!(status["lastPass"].is_object(), keeper == own, "{server}");
        }
        assert!(servers.iter().any(|it| it["status"]["controller"]["name"] != own.as_str()));
        let metrics = client::over_socket(&fleet.socket(number), "GET /metrics").expect(200).body;
        let reachable = metrics.lines().filter(|it| it.starts_with("landfall_server_reachable{")).count();
        assert_eq!(reachable, fleet.held_by(number).len(), "servers are counted once, by whoever has them");
    }
    // What changes at one is seen at the other, and so is what was done.
    let server = fleet.held_by(0)[0];
    healed(&fleet.engines[server]);
    let name = format!("default/edge-{server}");
    wait_for("the other one tells of the repair", || {
        let events = list(&fleet, 1, "/api/v1/events?limit=100");
        events.iter().any(|it| it["server"].as_str().is_some_and(|it| it.ends_with(&name))).then_some(())
    });
    let page = client::over_socket(&fleet.socket(1), &format!("GET /objects/Server/{name}")).expect(200).body;
    assert!(page.contains("app-0") && page.contains(&fleet.id(0)), "{page}");
    // One that was not there before shows what has not changed since as well.
    fleet.kill(1);
    fleet.run(1);
    fleet.answers(1);
    wait_for("it shows every container", || (connected(&fleet, 1) == 14).then_some(()));
    assert!(fleet.verdict().is_empty(), "{:#?}", fleet.verdict());
}

#[test]
fn what_waits_for_an_approval_at_one_controller_is_listed_and_approved_at_another() {
    let fleet = Fleet::start(14, 2, 1);
    fleet.settled();
    let server = fleet.held_by(0)[0];
    let engine = &fleet.engines[server];
    engine.leave_a_network();
    client::over_socket(&fleet.socket(1), "POST /api/v1/reconcile").expect(202);
    let waiting = wait_for("it is listed at the other one", || {
        let pending = list(&fleet, 1, "/api/v1/pending");
        (!pending.is_empty()).then_some(pending)
    });
    assert_eq!(waiting[0]["server"], format!("default/edge-{server}"));
    assert_eq!(waiting[0]["deletions"][0]["network"], "old-net");
    let page = client::over_socket(&fleet.socket(1), "GET /").expect(200).body;
    assert!(page.contains("old-net"), "{page}");
    assert!(engine.has_left_network());
    let approved = landfall(fleet.directory.path(), ["approve", "--yes", "--state", "state-1"]).expect(0);
    assert!(approved.stderr.contains("Approved"), "{approved}");
    wait_for("whoever has the server removes it", || (!engine.has_left_network()).then_some(()));
    assert!(fleet.verdict().is_empty(), "{:#?}", fleet.verdict());
}

/// What etcd has of approvals.
fn approvals(fleet: &Fleet) -> Vec<String> {
    let output = fleet.etcd.ctl_output(&["get", "--prefix", "landfall/default/live/approvals/", "--keys-only"]);
    let keys = String::from_utf8(output.stdout).unwrap();
    keys.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// A network of one server, held by the first controller, waits to be removed, and that is approved at the second one while the first one does not
/// reach the server.
fn approved_and_not_used(fleet: &Fleet) -> usize {
    fleet.settled();
    let server = fleet.held_by(0)[0];
    fleet.engines[server].leave_a_network();
    client::over_socket(&fleet.socket(1), "POST /api/v1/reconcile").expect(202);
    wait_for("it is listed", || (!list(fleet, 1, "/api/v1/pending").is_empty()).then_some(()));
    fleet.engines[server].cut(0, true);
    landfall(fleet.directory.path(), ["approve", "--yes", "--state", "state-1"]).expect(0);
    wait_for("it is in etcd", || (approvals(fleet).len() == 1).then_some(()));
    server
}

#[test]
fn what_was_approved_is_done_once_by_whoever_has_the_server_when_all_who_heard_of_it_are_dead() {
    let mut fleet = Fleet::start(14, 2, 1);
    let server = approved_and_not_used(&fleet);
    fleet.kill(0);
    fleet.kill(1);
    let engine = std::sync::Arc::clone(&fleet.engines[server]);
    assert!(engine.has_left_network());
    fleet.run(1);
    wait_for("it is removed", || (!engine.has_left_network()).then_some(()));
    client::over_socket(&fleet.socket(1), "POST /api/v1/reconcile").expect(202);
    wait_for("it is used up", || approvals(&fleet).is_empty().then_some(()));
    // The same once more is asked for once more.
    engine.leave_a_network();
    client::over_socket(&fleet.socket(1), "POST /api/v1/reconcile").expect(202);
    wait_for("it is listed", || (!list(&fleet, 1, "/api/v1/pending").is_empty()).then_some(()));
    healed(&engine);
    assert!(engine.has_left_network());
    assert_eq!(engine.calls().iter().filter(|it| it.is_removal()).count(), 1, "{:#?}", engine.calls());
    assert!(fleet.verdict().is_empty(), "{:#?}", fleet.verdict());
}

#[test]
fn an_approval_ends_when_the_manifests_declare_something_else_before_it_is_used() {
    let fleet = Fleet::start(14, 2, 1);
    let server = approved_and_not_used(&fleet);
    for number in 0..2 {
        let declared = format!(
            "apiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: another }}\n\
             spec: {{ server: edge-{server}, adopt: true, network: {{ name: another-net }} }}\n"
        );
        std::fs::write(fleet.directory.path().join(format!("manifests-{number}/another.yaml")), declared).unwrap();
    }
    wait_for("it is not in etcd any more", || approvals(&fleet).is_empty().then_some(()));
    let engine = &fleet.engines[server];
    engine.cut(0, false);
    healed(engine);
    healed(engine);
    assert!(engine.has_left_network());
    assert_eq!(list(&fleet, 1, "/api/v1/pending").len(), 1);
    assert!(fleet.verdict().is_empty(), "{:#?}", fleet.verdict());
}

#[test]
fn what_is_suspended_at_one_controller_stays_so_with_whoever_has_the_server_afterwards() {
    let mut fleet = Fleet::start(14, 2, 1);
    fleet.settled();
    let server = fleet.held_by(0)[0];
    let object = format!("Server/default/edge-{server}");
    ask(&fleet, 1, "/api/v1/suspend", &json!({ "object": object, "suspend": true })).expect(202);
    let shown = |fleet: &Fleet, number: usize| {
        let status = client::over_socket(&fleet.socket(number), "GET /api/v1/diff").expect(200).json();
        let notes = status["notes"].as_array().unwrap().clone();
        notes.iter().any(|it| it["kind"] == "Suspended" && it["object"] == object.as_str())
    };
    wait_for("it is suspended", || shown(&fleet, 0).then_some(()));
    let untouched = |fleet: &Fleet| {
        let engine: &Engine = &fleet.engines[server];
        engine.disconnect();
        // The others are looked after meanwhile.
        for other in (0..14).filter(|it| *it != server) {
            healed(&fleet.engines[other]);
        }
        !engine.is_attached()
    };
    assert!(untouched(&fleet));
    // Neither of those that heard of it is there any more in the end.
    for number in 0..2 {
        fleet.kill(number);
        fleet.run(number);
        fleet.settled();
        assert!(untouched(&fleet), "{}", fleet.logs());
    }
    ask(&fleet, 0, "/api/v1/suspend", &json!({ "object": object, "suspend": false })).expect(202);
    wait_for("it is repaired", || fleet.engines[server].is_attached().then_some(()));
    assert!(fleet.verdict().is_empty(), "{:#?}", fleet.verdict());
}
