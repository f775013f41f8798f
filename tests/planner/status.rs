//! Conditions: what is so, and if not, why not.

use landfall::core::api::{ConditionStatus, Kind};
use landfall::core::observed::{ContainerState, Health, ObservedContainer};
use landfall::core::report::Report;
use landfall::core::standing::ConditionType;
use landfall::core::status::Status;

use crate::support::scenario::{Scenario, application, assert_same, container, destination, edge, key, network};

fn conditions(scenario: &Scenario, kind: Kind, path: &str) -> String {
    let report = Report::planned(scenario.plan());
    let status = Status::new(&scenario.desired, &scenario.observed, &report);
    let object = if kind == Kind::Server { edge() } else { key(kind, path) };
    let mut text = String::new();
    for condition in &status.conditions[&object] {
        let truth = match condition.status {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        };
        text.push_str(&format!("{}={truth} {}\n", condition.condition_type, condition.reason));
    }
    text
}

fn healthy() -> Scenario {
    let mut scenario = Scenario::new()
        .container(container("frontend").on("bridge"))
        .destination(destination("web").named("web-net").member(application("frontend")));
    scenario.apply();
    scenario
}

#[test]
fn a_converged_destination_is_ready() {
    assert_same(
        &conditions(&healthy(), Kind::Destination, "web"),
        "
        Ready=True AsDeclared
        Reconciling=False NothingOutstanding
        Stalled=False NothingRefused
        NetworkExists=True Found
        ProxyConnected=True Connected
        MembersConnected=True AllConnected
        InSync=True AsDeclared
        Deleting=False NotRequested
        Active=True Declared
        ",
    );
    assert_same(
        &conditions(&healthy(), Kind::Application, "frontend"),
        "
        Ready=True Connected
        Reconciling=False NothingOutstanding
        Stalled=False NothingRefused
        Healthy=True Serving
        ",
    );
    assert_same(
        &conditions(&healthy(), Kind::Server, ""),
        "
        Ready=True Reachable
        Reconciling=False NothingOutstanding
        Stalled=False NothingRefused
        Reachable=True Answered
        ",
    );
}

#[test]
fn before_the_first_apply_the_network_is_missing() {
    let scenario = Scenario::new().destination(destination("web").named("web-net"));
    assert_same(
        &conditions(&scenario, Kind::Destination, "web"),
        "
        Ready=False NetworkMissing
        Reconciling=True NetworkMissing
        Stalled=False NothingRefused
        NetworkExists=False NetworkMissing
        ProxyConnected=False ProxyDetached
        MembersConnected=True NoMembers
        InSync=False NetworkMissing
        Deleting=False NotRequested
        Active=True Declared
        ",
    );
}

#[test]
fn a_refusal_stalls_and_names_its_reason() {
    let scenario = Scenario::new().network(network("web-net")).destination(destination("web").named("web-net"));
    assert_same(
        &conditions(&scenario, Kind::Destination, "web"),
        "
        Ready=False AdoptionRequired
        Reconciling=False NothingOutstanding
        Stalled=True AdoptionRequired
        NetworkExists=False AdoptionRequired
        ProxyConnected=False ProxyDetached
        MembersConnected=True NoMembers
        InSync=False AdoptionRequired
        Deleting=False NotRequested
        Active=True Declared
        ",
    );
}

#[test]
fn an_unreachable_server_makes_its_objects_unknown_and_never_missing() {
    let scenario = healthy().unreachable();
    assert_same(
        &conditions(&scenario, Kind::Destination, "web"),
        "
        Ready=Unknown ServerUnreachable
        Reconciling=Unknown ServerUnreachable
        Stalled=True ServerUnreachable
        NetworkExists=Unknown ServerUnreachable
        ProxyConnected=Unknown ServerUnreachable
        MembersConnected=Unknown ServerUnreachable
        InSync=Unknown ServerUnreachable
        Deleting=False NotRequested
        Active=True Declared
        ",
    );
    assert!(conditions(&scenario, Kind::Application, "frontend").starts_with("Ready=Unknown ServerUnreachable"));
    assert!(conditions(&scenario, Kind::Server, "").starts_with("Ready=Unknown ServerUnreachable"));
    assert!(conditions(&scenario, Kind::Server, "").ends_with("Reachable=False ServerUnreachable\n"));
}

#[test]
fn a_member_that_does_not_exist_is_waited_for() {
    let scenario = Scenario::new()
        .network(network("web-net").of("web"))
        .destination(destination("web").named("web-net").member(application("late")));
    let conditions = |kind, path| conditions(&scenario, kind, path);
    assert!(conditions(Kind::Application, "late").starts_with("Ready=False ContainerMissing\n"));
    let web = conditions(Kind::Destination, "web");
    assert!(web.contains("MembersConnected=False ContainerMissing\n"), "{web}");
    assert!(web.contains("NetworkExists=True Found\n"), "{web}");
}

#[test]
fn a_blocked_deletion_is_a_state() {
    let scenario = healthy().delete(Kind::Destination, "web");
    let web = conditions(&scenario, Kind::Destination, "web");
    assert!(web.contains("Deleting=True ResourcesRemain\n"), "{web}");
    assert!(web.contains("Stalled=True ResourcesRemain\n"), "{web}");
}

#[test]
fn a_suspended_destination_is_unknown() {
    let scenario = healthy().redeclare("web", |web| web.suspended());
    let web = conditions(&scenario, Kind::Destination, "web");
    assert!(web.starts_with("Ready=Unknown Suspended\n"), "{web}");
}

#[test]
fn every_condition_is_documented() {
    let page = include_str!("../../docs/reference/status.md");
    let healthy = healthy();
    let status = Status::new(&healthy.desired, &healthy.observed, &Report::planned(healthy.plan()));
    for condition in status.conditions.values().flatten() {
        let known = ConditionType::ALL.iter().any(|it| it.as_str() == condition.condition_type);
        assert!(known, "{} has no meaning", condition.condition_type);
    }
    for condition_type in ConditionType::ALL {
        assert!(page.contains(&format!("| `{}` |", condition_type.as_str())), "{condition_type:?}");
    }
}

#[test]
fn who_can_be_on_no_network_is_said_of_everyone_it_concerns() {
    let scenario = Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("traefik").network_mode("host"))
        .container(container("frontend").network_mode("none"))
        .destination(destination("web").named("web-net").member(application("frontend")));
    let of = |kind, path| {
        let all = conditions(&scenario, kind, path);
        all.lines()
            .filter(|line| !line.contains("=True") || line.contains("Stalled"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of(Kind::Destination, "web"),
        [
            "Ready=False WrongScope",
            "Reconciling=False NothingOutstanding",
            "Stalled=True WrongScope",
            "ProxyConnected=False WrongScope",
            "MembersConnected=False MemberDetached",
            "InSync=False WrongScope",
            "Deleting=False NotRequested",
        ]
    );
    let refused = ["Ready=False WrongScope", "Reconciling=False NothingOutstanding", "Stalled=True WrongScope"];
    assert_eq!(of(Kind::Application, "frontend"), refused);
    assert_eq!(of(Kind::Server, ""), refused);
}

#[test]
fn what_does_not_run_is_ready_and_not_healthy() {
    let of = |change: &dyn Fn(&mut ObservedContainer)| {
        let mut scenario = healthy();
        change(scenario.state().containers.iter_mut().find(|it| it.name == "frontend").unwrap());
        conditions(&scenario, Kind::Application, "frontend")
    };
    let ends = |text: &str, reason: &str| assert!(text.starts_with("Ready=True") && text.ends_with(reason), "{text}");
    ends(&of(&|it| it.state = ContainerState::Exited), "Healthy=False NotRunning\n");
    ends(&of(&|it| it.state = ContainerState::Paused), "Healthy=False NotRunning\n");
    ends(&of(&|it| it.health = Some(Health::Unhealthy)), "Healthy=False Unhealthy\n");
    ends(&of(&|it| it.health = Some(Health::Starting)), "Healthy=False Starting\n");
    ends(&of(&|it| it.health = Some(Health::Healthy)), "Healthy=True Serving\n");
    let mut gone = healthy();
    gone.state().containers.retain(|it| it.name != "frontend");
    assert!(conditions(&gone, Kind::Application, "frontend").ends_with("Healthy=False ContainerMissing\n"));
    let inactive = healthy().redeclare("web", |it| it.deactivated());
    assert!(conditions(&inactive, Kind::Application, "frontend").ends_with("Healthy=Unknown Deactivated\n"));
    assert!(
        conditions(&healthy().unreachable(), Kind::Application, "frontend")
            .ends_with("Healthy=Unknown ServerUnreachable\n")
    );
}
