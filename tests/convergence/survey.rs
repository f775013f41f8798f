//! Many servers, each planned for and let go as soon as it has answered: the plan is the one that a look at all of them together gives.

use std::collections::BTreeMap;

use landfall::core::desired::DesiredServer;
use landfall::core::plan::{Plan, Request};
use landfall::core::report::Report;
use landfall::shell::engine::{EngineError, EngineErrorKind};
use landfall::shell::execute::Limits;
use landfall::shell::observe::ObserveLimits;
use landfall::shell::reconcile::Pass;
use landfall::shell::store::file::FileJournals;
use landfall::shell::store::known::Known;

use crate::support::memory::MemoryEngine;
use crate::support::scenario::{Scenario, application, destination};

const SERVERS: [&str; 5] = ["calm", "drifted", "empty", "silent", "still"];

fn scenario() -> Scenario {
    let of = |name: &str| {
        Scenario::new().destination(
            destination(&format!("{name}-web")).named("web-net").member(application(&format!("{name}-app"))),
        )
    };
    SERVERS.iter().fold(Scenario::without_proxy(), |all, name| all.and(name, of(name)))
}

#[tokio::test]
async fn one_after_the_other_they_have_the_plan_that_all_together_have() {
    let engines: BTreeMap<&str, MemoryEngine> = SERVERS.map(|name| (name, MemoryEngine::new())).into();
    for (name, engine) in &engines {
        engine.world().run_container("traefik");
        engine.world().run_container(&format!("{name}-app"));
    }
    let state = tempfile::tempdir().unwrap();
    let (journals, known) = (FileJournals::in_state(state.path()), Known::default());
    let (desired, request) = (scenario().desired, Request::default());
    let pass = Pass {
        desired: &desired,
        request: &request,
        journals: &journals,
        known: &known,
        observe: ObserveLimits::default(),
        execute: Limits::default(),
    };
    let gone = || EngineError {
        kind: EngineErrorKind::Unreachable,
        attempted: "asking".to_owned(),
        message: "nobody answers".to_owned(),
        hint: None,
    };
    let answering = |without: &'static [&'static str]| {
        let engines = &engines;
        move |server: &DesiredServer| {
            let name = server.key.name.as_str();
            engines.get(name).filter(|_| !without.contains(&name)).cloned().ok_or_else(gone)
        }
    };
    pass.apply(answering(&["empty"]), |_, plan| Some(plan), &()).await.unwrap();
    let app = engines["drifted"].world().container_named("drifted-app").id.clone();
    engines["drifted"].world().disconnect_by_name("web-net", &app).unwrap();

    let together = pass.preview(answering(&["silent"])).await.unwrap();
    let mut report = Report::planned(Plan { set: desired.set.clone(), servers: Vec::new(), notes: Vec::new() });
    let mut alone = Vec::new();
    let each = |_: &_, preview: landfall::shell::reconcile::Preview| {
        alone.push(preview.observed.keys().map(|key| key.name.to_string()).collect::<Vec<_>>());
        report.extend(Report::planned(preview.plan));
    };
    pass.survey(answering(&["silent"]), each).await.unwrap();
    assert_eq!(report, Report::planned(together.plan));
    assert!(report.servers.iter().any(|server| !server.operations.is_empty()), "something differs");
    // What lacks a network may have left a Swarm, which others would tell; who does not answer may be anything.
    let last = alone.pop().unwrap();
    alone.sort();
    assert_eq!(alone, [["calm"], ["drifted"], ["still"]]);
    assert!(["empty", "silent"].iter().all(|name| last.iter().any(|it| it == name)), "{last:?}");
}
