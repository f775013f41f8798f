//! Alive, and ready.

use std::sync::Arc;

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
