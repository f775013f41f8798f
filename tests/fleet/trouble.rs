//! What etcd and machines do to controllers: certificates, slowness, members that do not reach each other, a database that was set back, clocks that
//! jump, and a process that stands still in the middle of a pass.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use landfall::shell::store::etcd::wire::Change;
use landfall::shell::store::etcd::{Client, EtcdAddress, EtcdError, Held, TlsFiles};
use rustix::process::Signal;

use super::controllers::{Fleet, healed};
use super::store::{PATIENCE, TTL, holds, join, join_for, server};
use crate::cli::run::landfall;
use crate::support::etcd::{Etcd, Setup};
use crate::support::relay::Relay;
use crate::support::{wait_for, wait_for_at_most};

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_a_client_shows_its_certificate_and_one_that_has_none_is_told_so() {
    let etcd = Etcd::start_with(Setup { members: 1, tls: true, ..Setup::default() });
    let one = join(&etcd.client());
    one.declare([server("edge-1")]);
    holds(&one, &["edge-1"]).await;
    let at = |tls: TlsFiles| Client::new(EtcdAddress::parse(&etcd.url(), tls, None).unwrap());
    let bare = at(TlsFiles { certificate: None, key: None, ..etcd.tls() });
    let EtcdError::Unavailable(why) = bare.get("any").await.unwrap_err() else { panic!() };
    assert!(why.to_lowercase().contains("certificate"), "{why}");
    // Of an authority that has not signed the member's.
    let other = crate::support::authority::Authority::new();
    let stranger = at(TlsFiles { ca: Some(other.certificate()), ..etcd.tls() });
    let EtcdError::Unavailable(why) = stranger.get("any").await.unwrap_err() else { panic!() };
    assert!(why.to_lowercase().contains("certificate"), "{why}");
    // The same as flags.
    let (url, tls) = (etcd.url(), etcd.tls());
    let [ca, certificate, key] = [tls.ca, tls.certificate, tls.key].map(|it| it.unwrap().display().to_string());
    let directory = tempfile::tempdir().unwrap();
    let arguments =
        ["get", "controllers", "-o", "name", "--store", &url, "--store-ca", &ca, "--store-cert", &certificate];
    let ran = landfall(directory.path(), arguments.into_iter().chain(["--store-key", &key, "--set", "test"])).expect(0);
    assert!(ran.stdout.starts_with("controller/host-"), "{ran}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_cut_off_from_the_others_is_left_and_locks_stay_where_they_are() {
    let etcd = Etcd::start_with(Setup { members: 3, apart: true, ..Setup::default() });
    // The others need up to two seconds to agree on a leader.
    let ttl = Duration::from_secs(6);
    let one = join_for(&etcd.client(), ttl);
    one.declare([server("edge-1")]);
    let fence = holds(&one, &["edge-1"]).await[&server("edge-1")].fence.clone();
    for alone in 0..3 {
        (1..3).for_each(|step| etcd.part(alone, (alone + step) % 3));
        // Longer than a lease lives: whichever of them led, it is kept through the others.
        let until = Instant::now() + ttl + ttl / 2;
        while Instant::now() < until {
            assert!(fence.is_open(), "with member {alone} cut off");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        (1..3).for_each(|step| etcd.join(alone, (alone + step) % 3));
        wait_for("all members are of one mind", || etcd.ctl(&["endpoint", "health"]).then_some(()));
    }
    one.declare([server("edge-1"), server("edge-2")]);
    holds(&one, &["edge-1", "edge-2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_set_back_gives_no_lock_to_two_and_tokens_go_on_growing() {
    let mut etcd = Etcd::start(1);
    let (one, other) = (join(&etcd.client()), join(&etcd.client()));
    one.declare([server("edge-1")]);
    let first = holds(&one, &["edge-1"]).await[&server("edge-1")].fence.clone();
    let snapshot = etcd.snapshot();
    // Since then it is another's, and the lease of the first is in the snapshot with the lock.
    one.declare([]);
    let mut leaving = one.held();
    let is_leaving = |held: &Held| held.get(&server("edge-1")).is_some_and(|it| it.leaving);
    tokio::time::timeout(PATIENCE, leaving.wait_for(is_leaving)).await.unwrap().unwrap();
    one.idle(&server("edge-1"), first.token());
    holds(&one, &[]).await;
    other.declare([server("edge-1")]);
    let second = holds(&other, &["edge-1"]).await[&server("edge-1")].fence.clone();
    for number in 0..50 {
        etcd.client().txn(&[], &[Change::put(format!("other/{number}"), b"1".to_vec())]).await.unwrap();
    }
    one.declare([server("edge-1")]);
    let began = Instant::now();
    etcd.restore(&snapshot);
    let both = [one.held(), other.held()];
    let next = loop {
        let open: Vec<_> = both
            .iter()
            .filter_map(|held| Some(held.borrow().get(&server("edge-1"))?.fence.clone()))
            .chain([second.clone()])
            .filter(landfall::shell::engine::fence::Fence::is_open)
            .collect();
        let mut tokens: Vec<i64> = open.iter().map(landfall::shell::engine::fence::Fence::token).collect();
        tokens.dedup();
        assert!(tokens.len() <= 1, "two have it at once: {tokens:?}");
        if let Some(fence) = open.into_iter().find(|it| !it.is_same(&second)) {
            break fence;
        }
        assert!(began.elapsed() < PATIENCE, "nobody takes it");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(began.elapsed() >= TTL, "whoever had it may have been at work: {:?}", began.elapsed());
    assert!(
        next.token() > second.token() && second.token() > first.token(),
        "{} after {}",
        next.token(),
        second.token()
    );
    // It is said.
    let said = [one.fleet(), other.fleet()].map(|fleet| fleet.borrow().set_back.is_some());
    assert_eq!(said, [true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_missed_what_was_compacted_away_reads_everything_anew() {
    let etcd = Etcd::start(1);
    let client = etcd.client();
    let from = client.list("live/").await.unwrap().1 + 1;
    for number in 0..5 {
        client.txn(&[], &[Change::put(format!("live/{number}"), b"1".to_vec())]).await.unwrap();
    }
    let now = client.list("live/").await.unwrap().1;
    assert!(etcd.ctl(&["compact", &now.to_string()]));
    let mut watch = client.watch("live/", from).await.unwrap();
    assert_eq!(watch.next().await.unwrap_err(), EtcdError::Compacted);
}

#[test]
fn a_controller_that_stands_still_between_its_look_and_its_change_makes_no_change_when_it_goes_on() {
    let fleet = Fleet::start(14, 2, 1);
    fleet.settled();
    let held = fleet.held_by(0);
    let engine = &fleet.engines[held[0]];
    // It sees that the container is off, and does not hear of it before it is stopped.
    engine.hold();
    engine.disconnect();
    wait_for("it looks", || (engine.waiting() > 0).then_some(()));
    fleet.signal(0, Signal::STOP);
    wait_for("the other one has everything", || (fleet.share(1) == 14).then_some(()));
    engine.release();
    wait_for("the other one repairs", || engine.is_attached().then_some(()));
    let before = engine.calls().len();
    fleet.signal(0, Signal::CONT);
    wait_for_at_most(Duration::from_secs(60), "it takes part again", || (fleet.share(0) > 0).then_some(()));
    let late: Vec<_> = engine.calls().into_iter().skip(before).filter(|call| call.controller == 0).collect();
    let held = fleet.held_by(0);
    assert!(late.is_empty() || held.iter().any(|it| std::ptr::eq(&raw const *fleet.engines[*it], &raw const **engine)));
    assert!(fleet.verdict().is_empty(), "{:#?}", fleet.verdict());
    for engine in &fleet.engines {
        healed(engine);
    }
    assert!(fleet.verdict().is_empty(), "{:#?}", fleet.verdict());
}

/// Shifts the clock on the wall, as a program sees it, by what a file says.
const SHIFT: &str = r#"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    char text[32] = {0};
    const char *path = getenv("SHIFT");
    int file;
    if (result == 0 && clock == CLOCK_REALTIME && path && (file = open(path, O_RDONLY | O_CLOEXEC)) >= 0) {
        if (read(file, text, sizeof text - 1) > 0) time->tv_sec += atol(text);
        close(file);
    }
    return result;
}
"#;

#[test]
fn a_clock_that_jumps_moves_no_lock_and_stops_no_repair() {
    let tools = tempfile::tempdir().unwrap();
    let [source, library, shift] = ["shift.c", "shift.so", "shift"].map(|it| tools.path().join(it));
    fs::write(&source, SHIFT).unwrap();
    let made = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).status().unwrap();
    assert!(made.success());
    let environment = [("LD_PRELOAD", &library), ("SHIFT", &shift)];
    let environment = environment.map(|(name, path)| (name.to_owned(), path.display().to_string()));
    let fleet = Fleet::start_in(Etcd::start(1), 14, 2, environment.into());
    fleet.settled();
    let held = [fleet.held_by(0), fleet.held_by(1)];
    // A day on, and two back.
    for seconds in ["86400", "-172800"] {
        fs::write(&shift, seconds).unwrap();
        let until = Instant::now() + Duration::from_secs(8);
        let all_healed = || fleet.engines.iter().for_each(|engine| assert!(healed(engine) < Duration::from_secs(3)));
        // Not more often: what is undone twenty times in a row is put back less often, and a fast machine comes to that.
        (0..8).for_each(|_| all_healed());
        // Longer than a lock lasts that is not kept, and they are put back still.
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        all_healed();
        assert_eq!([fleet.held_by(0), fleet.held_by(1)], held, "after a jump by {seconds} s");
    }
    assert!(fleet.verdict().is_empty(), "{:#?}", fleet.verdict());
}

/// A client of an etcd that is as slow as the relay.
fn behind(etcd: &Etcd) -> (Relay, Client) {
    let relay = Relay::start_here((std::net::Ipv4Addr::LOCALHOST, etcd.ports()[0]));
    let (host, port) = relay.address();
    let address = EtcdAddress::parse(&format!("etcd://{host}:{port}/landfall"), TlsFiles::default(), None);
    (relay, Client::new(address.unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_held_without_a_gap_while_keepalives_take_as_long_as_they_may() {
    let etcd = Etcd::start(1);
    let (relay, client) = behind(&etcd);
    let ttl = Duration::from_secs(6);
    let one = join_for(&client, ttl);
    one.declare([server("edge-1")]);
    let fence = holds(&one, &["edge-1"]).await[&server("edge-1")].fence.clone();
    // Each way. A keepalive is waited for for half of the time to live.
    relay.delay(Duration::from_millis(1250));
    let until = Instant::now() + ttl * 3;
    while Instant::now() < until {
        assert!(fence.is_open(), "{:?} before the end", until - Instant::now());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_etcd_that_is_too_slow_for_locks_none_are_taken_and_lost_again_and_that_is_said() {
    let etcd = Etcd::start(1);
    let (relay, client) = behind(&etcd);
    // Longer than a keepalive may take, and not as long as any other request may.
    relay.delay(Duration::from_millis(950));
    let one = join_for(&client, TTL);
    one.declare([server("edge-1")]);
    let direct = etcd.client();
    let until = Instant::now() + TTL * 4;
    while Instant::now() < until {
        let (members, _) = direct.list(&format!("{}live/", direct.base("test"))).await.unwrap();
        assert!(members.is_empty(), "{members:?}");
        assert!(one.held().borrow().is_empty());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let trouble = one.fleet().borrow().trouble.clone().expect("it is said").0;
    assert!(trouble.contains("--store-ttl"), "{trouble}");
    relay.delay(Duration::ZERO);
    holds(&one, &["edge-1"]).await;
    assert_eq!(one.fleet().borrow().trouble, None);
}

#[test]
fn with_a_slow_etcd_repairs_go_on_and_with_one_that_is_too_slow_they_stop_and_that_is_said() {
    let fleet = Fleet::start(6, 1, 1);
    wait_for("it has everything", || (fleet.share(0) == 6).then_some(()));
    let relay = &fleet.controllers[0].relays[0];
    relay.delay(Duration::from_millis(300));
    let until = Instant::now() + Duration::from_secs(12);
    while Instant::now() < until {
        for engine in &fleet.engines {
            assert!(healed(engine) < Duration::from_secs(2));
        }
    }
    // The round trip is longer than anything that is asked of etcd may take.
    relay.delay(Duration::from_secs(10));
    wait_for("it says so", || fleet.logs().contains("etcd does not do what is asked of it").then_some(()));
    // What was sent before keeps the lease for its whole time.
    wait_for_at_most(Duration::from_secs(60), "it has no locks any more", || (fleet.share(0) == 0).then_some(()));
    let calls: usize = fleet.engines.iter().map(|engine| engine.calls().len()).sum();
    for engine in &fleet.engines {
        engine.disconnect();
    }
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(fleet.engines.iter().map(|engine| engine.calls().len()).sum::<usize>(), calls);
    relay.delay(Duration::ZERO);
    for engine in &fleet.engines {
        wait_for_at_most(Duration::from_secs(60), "it goes on", || engine.is_attached().then_some(()));
    }
    assert!(fleet.verdict().is_empty(), "{:#?}", fleet.verdict());
}
