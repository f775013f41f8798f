//! One of two servers is in trouble. Always: the right reason, the exit code, everything done on the other, and a next run that converges to
//! one network.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::fleet::{Fleet, over_ssh};
use crate::cli::run::Ran;
use crate::support::relay::{Moment, Relay};
use crate::support::wait_for;

/// `edge-1` could not be looked at, for this reason; `edge-2` has what it should.
#[track_caller]
fn expect_only_edge_2(fleet: &Fleet, ran: Ran, reason: &str, words: &str) {
    let ran = ran.expect(2);
    let report = ran.json();
    let server = |number: usize| report["servers"][number - 1]["reachable"].clone();
    assert_eq!((server(1), server(2)), (false.into(), true.into()), "{ran}");
    let note = report["notes"].as_array().unwrap().iter().find(|note| note["reason"] == reason);
    assert!(note.is_some(), "no note says {reason}\n{ran}");
    assert!(ran.stderr.contains(words), "{words:?} is not said\n{ran}");
    assert_eq!((fleet.edges[0].networks(), fleet.edges[1].networks()), (0, 1), "{ran}");
    let seen = fleet.run("get destinations -o json --timeout 3s").json();
    let ready = |number: usize| {
        let conditions = seen["items"][number - 1]["status"]["conditions"].as_array().unwrap().iter();
        let ready = conditions.clone().find(|condition| condition["type"] == "Ready").unwrap();
        (ready["status"].as_str().unwrap().to_owned(), ready["reason"].as_str().unwrap().to_owned())
    };
    assert_eq!(ready(1), ("Unknown".to_owned(), reason.to_owned()));
    assert_eq!(ready(2).0, "True");
}

#[track_caller]
fn expect_recovery(fleet: &Fleet) {
    fleet.run("apply").expect(0);
    fleet.expect_converged();
}

#[test]
fn a_partition_before_the_first_look_costs_one_timeout() {
    let fleet = Fleet::start(2, &[]);
    fleet.edges[0].host.seat().cut();
    let started = Instant::now();
    // One turn at a time: the one that hangs holds up nobody.
    let ran = fleet.run("apply -o json --timeout 3s --concurrency 1");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    expect_only_edge_2(&fleet, ran, "ServerUnreachable", "edge-1");
    fleet.edges[0].host.seat().mend();
    expect_recovery(&fleet);
}

#[test]
fn a_partition_in_the_middle_of_a_look_is_no_look_at_all() {
    let fleet = Fleet::start(2, &[]);
    let seat = fleet.edges[0].host.seat().clone();
    fleet.edges[0].tap.at("/networks", Moment::After, move || seat.cut());
    let ran = fleet.run("apply -o json --timeout 3s");
    assert!(fleet.edges[0].tap.forget(), "{ran}");
    expect_only_edge_2(&fleet, ran, "ServerUnreachable", "edge-1");
    fleet.edges[0].host.seat().mend();
    expect_recovery(&fleet);
}

/// What becomes of a creation whose answer never comes. Until TCP gives up, half a minute later, nobody knows that there is none.
#[test]
fn a_partition_between_the_creation_and_its_answer_leaves_one_network() {
    for moment in [Moment::Before, Moment::After] {
        let fleet = Fleet::start(2, &[]);
        let seat = fleet.edges[0].host.seat().clone();
        fleet.edges[0].tap.at("POST", moment, move || seat.cut());
        let ran = fleet.run("apply -o json --timeout 3s").expect(2);
        assert!(fleet.edges[0].tap.forget(), "{ran}");
        let operations = ran.json()["operations"].clone();
        let outcome = |server: &str| {
            let operation = operations.as_array().unwrap().iter().find(|it| it["server"] == server).unwrap();
            operation["outcome"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            (outcome("default/edge-1"), outcome("default/edge-2")),
            ("Failed".to_owned(), "Done".to_owned()),
            "{ran}"
        );
        assert_eq!(fleet.edges[0].networks(), usize::from(moment == Moment::After));
        assert_eq!(fleet.edges[1].networks(), 1);
        fleet.edges[0].host.seat().mend();
        expect_recovery(&fleet);
    }
}

/// The connection dies, another one is made, and a look there tells what became of the creation.
#[test]
fn a_session_killed_between_the_creation_and_its_answer_is_looked_into() {
    let fleet = Fleet::start(2, &[]);
    for (moment, made) in [(Moment::After, "Done"), (Moment::Before, "Failed")] {
        let killer = fleet.edges[0].sshd.killer();
        fleet.edges[0].tap.at("POST", moment, move || killer.kill_sessions());
        let ran = fleet.run("apply -o json");
        assert!(fleet.edges[0].tap.forget(), "{ran}");
        let outcome = ran.json()["operations"][0]["outcome"].clone();
        assert_eq!(outcome, made, "{moment:?}\n{ran}");
        ran.expect(if made == "Done" { 0 } else { 2 });
        assert_eq!(fleet.edges[0].networks(), usize::from(moment == Moment::After));
        expect_recovery(&fleet);
        for edge in &fleet.edges {
            edge.host.remove_network("web-net");
        }
    }
}

#[test]
fn a_reset_between_the_creation_and_its_answer_is_looked_into() {
    let mut fleet = Fleet::start(2, &[]);
    let edge = &mut fleet.edges[0];
    let relay = Arc::new(Relay::start(&fleet.lan, (edge.host.address(), edge.sshd.port())));
    edge.endpoint = over_ssh(relay.address(), &edge.tap);
    fleet.client.trust(relay.address(), &fleet.edges[0].sshd);
    fleet.declare();
    let weather = Arc::clone(&relay);
    fleet.edges[0].tap.at("POST", Moment::After, move || weather.reset());
    let ran = fleet.run("apply -o json").expect(0);
    assert!(fleet.edges[0].tap.forget(), "{ran}");
    assert_eq!(ran.json()["operations"][0]["outcome"], "Done");
    fleet.expect_converged();
}

#[test]
fn sshd_killed_in_the_middle_of_a_look_and_not_started_again() {
    let mut fleet = Fleet::start(2, &[]);
    let killer = fleet.edges[0].sshd.killer();
    fleet.edges[0].tap.at("/networks", Moment::After, move || killer.kill_everything());
    let ran = fleet.run("apply -o json --timeout 5s");
    expect_only_edge_2(&fleet, ran, "ServerUnreachable", "edge-1");
    fleet.edges[0].sshd.restart();
    expect_recovery(&fleet);
}

#[test]
fn a_daemon_restarted_while_it_creates_a_network() {
    let fleet = Fleet::start(2, &[]);
    let restarted = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (at, done) = std::sync::mpsc::channel();
        let flag = Arc::clone(&restarted);
        fleet.edges[0].tap.at("POST", Moment::Before, move || {
            at.send(()).unwrap();
            wait_for("the daemon is back", || flag.load(Ordering::Relaxed).then_some(()));
        });
        let host = &fleet.edges[0].host;
        let flag = Arc::clone(&restarted);
        scope.spawn(move || {
            if done.recv().is_ok() {
                host.restart_daemon();
                flag.store(true, Ordering::Relaxed);
            }
        });
        let ran = fleet.run("apply -o json");
        assert!(fleet.edges[0].tap.forget(), "{ran}");
        let ran = ran.expect(2);
        let failed = ran.json()["operations"][0].clone();
        assert_eq!((&failed["server"], &failed["outcome"]), (&"default/edge-1".into(), &"Failed".into()), "{ran}");
    });
    assert_eq!((fleet.edges[0].networks(), fleet.edges[1].networks()), (0, 1));
    expect_recovery(&fleet);
}

#[test]
fn two_hundred_milliseconds_of_latency_are_slow_and_nothing_else() {
    let mut fleet = Fleet::start(2, &[]);
    let edge = &mut fleet.edges[0];
    let relay = Relay::start(&fleet.lan, (edge.host.address(), edge.sshd.port()));
    relay.delay(Duration::from_millis(100));
    edge.endpoint = over_ssh(relay.address(), &edge.tap);
    fleet.client.trust(relay.address(), &fleet.edges[0].sshd);
    fleet.declare();
    let started = Instant::now();
    fleet.run("apply").expect(0);
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    fleet.expect_converged();
}

#[test]
fn a_stall_in_the_middle_of_a_look_costs_one_timeout() {
    let mut fleet = Fleet::start(2, &[]);
    let edge = &mut fleet.edges[0];
    let relay = Arc::new(Relay::start(&fleet.lan, (edge.host.address(), edge.sshd.port())));
    edge.endpoint = over_ssh(relay.address(), &edge.tap);
    fleet.client.trust(relay.address(), &fleet.edges[0].sshd);
    fleet.declare();
    let weather = Arc::clone(&relay);
    fleet.edges[0].tap.at("/networks", Moment::Before, move || weather.stall());
    let started = Instant::now();
    let ran = fleet.run("apply -o json --timeout 3s");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    expect_only_edge_2(&fleet, ran, "ServerUnreachable", "edge-1");
    relay.resume();
    expect_recovery(&fleet);
}
