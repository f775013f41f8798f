//! Alive, and ready.

use std::sync::Arc;

use landfall::core::observed::{Observations, Unobserved, UnobservedReason};
use landfall::core::plan::{FreshIds, PlanInput, Request, plan};
use landfall::core::report::Report;
use landfall::core::status::Status;
use landfall::shell::controller::board::ServerState;

use crate::support::scenario::{Scenario, destination};

use super::served::Served;

#[test]
fn it_lives_while_the_loop_takes_commands() {
    let mut served = Served::new();
    assert_eq!(served.get("/healthz").expect(200).json()["status"], "alive");
    served.commands.close();
    assert_eq!(served.get("/healthz").expect(503).json()["status"], "dead");
}

#[test]
fn it_is_ready_once_every_declared_server_was_looked_at() {
    let served = Served::new();
    let answer = served.get("/readyz").expect(503).json();
    assert_eq!(answer["reasons"][0], "The manifests have not been read yet.");

    let scenario = Scenario::new().destination(destination("web").named("web-net"));
    served.board.update(|board| {
        board.manifests.generation = 1;
        board.declared = Arc::new(scenario.desired.clone());
    });
    let answer = served.get("/readyz").expect(503).json();
    assert_eq!(answer["reasons"][0], "Server/default/edge-1 has not been looked at yet.");
}

#[test]
fn it_is_not_ready_while_one_pass_after_another_breaks_off() {
    let served = Served::new();
    let scenario = Scenario::new().destination(destination("web").named("web-net"));
    served.board.update(|board| {
        board.manifests.generation = 1;
        board.declared = Arc::new(scenario.desired.clone());
    });
    let server = scenario.desired.servers.keys().next().unwrap();
    let observed = Observations::from([(
        server.clone(),
        Err(Unobserved { reason: UnobservedReason::PassFailed, message: "The pass panicked.".to_owned(), hint: None }),
    )]);
    let request = Request::default();
    let input = PlanInput {
        desired: &scenario.desired,
        observed: &observed,
        request: &request,
        ids: &FreshIds::default(),
        journals: &[],
    };
    let report = Report::planned(plan(&input));
    let pass = |broken: u32| {
        let status = Status::new(&scenario.desired, &observed, &report);
        let mut state = ServerState::new(server, 1, jiff::Timestamp::now(), status, report.document());
        state.broken = broken;
        served.board.passed(server, state, &report);
        served.get("/readyz")
    };
    assert_eq!(pass(1).status, 200, "once is no reason");
    assert_eq!(pass(1).status, 200);
    let answer = pass(1).expect(503).json();
    assert_eq!(answer["reasons"][0], "The last 3 passes over Server/default/edge-1 broke off: The pass panicked.");
    let metrics = served.get("/metrics").expect(200).body;
    assert!(metrics.contains("landfall_server_broken_passes{server=\"default/edge-1\"} 3"), "{metrics}");
    assert_eq!(pass(0).status, 200);
}
