//! Guards never punish the innocent: what waits is the one endpoint that keeps being undone, or that failed, and for no longer than is said.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::controller::{Controller, until};
use super::keep::{is_on, shop};
use crate::cli::world::{World, server};
use crate::support::Host;
use crate::support::faults::{Fate, Faulty};

/// How many times as long as the goal a loaded machine may take.
const LENIENCE: u32 = 5;

pub(super) const STACK: &str = "---
apiVersion: landfall/v1
kind: Destination
metadata: { name: web }
spec: { server: infra/edge, network: { name: web-net }, proxy: false }
---
apiVersion: landfall/v1
kind: Service
metadata: { name: shop }
spec:
  destination: web
  containers: { composeProject: shop }
  connectToDestination: true
";

fn member(host: &Host, number: usize) -> String {
    host.container(&format!("shop-{number}")).label("com.docker.compose.project", "shop").running()
}

/// Field case 18.
#[test]
fn each_of_ten_containers_that_are_redeployed_one_after_another_is_connected_at_once() {
    let host = Host::start();
    let world = World::new(&(server(&host.endpoint()) + STACK));
    for number in 0..10 {
        member(&host, number);
    }
    let mut controller = Controller::start(&world, &[]);
    until("convergence", &mut controller, || (0..10).all(|number| is_on(&host, &format!("shop-{number}"), "web-net")));
    let mut longest = Duration::ZERO;
    for number in 0..10 {
        let name = format!("shop-{number}");
        host.remove_container(&name);
        member(&host, number);
        let started = Instant::now();
        until("connecting the new container", &mut controller, || is_on(&host, &name, "web-net"));
        longest = longest.max(started.elapsed());
    }
    println!("longest time to connected of ten: {longest:?}");
    assert!(longest < Duration::from_secs(1) * LENIENCE, "{longest:?}");
}

/// Field case 19.
#[test]
fn a_proxy_that_is_disconnected_by_hand_again_and_again_is_put_back_each_time_and_so_is_its_successor() {
    let (host, world) = shop();
    let mut controller = Controller::start(&world, &[]);
    until("convergence", &mut controller, || {
        is_on(&host, "traefik", "web-net") && is_on(&host, "frontend", "data-net")
    });
    let condition = |arguments: &str| {
        let told: Value = serde_json::from_str(&world.run(arguments).stdout).unwrap();
        let all = told["status"]["conditions"].as_array().unwrap().clone();
        all.into_iter().find(|it| it["type"] == "Contended")
    };
    let mut longest = Duration::ZERO;
    for _ in 0..8 {
        host.disconnect("web-net", "traefik");
        let started = Instant::now();
        until("healing", &mut controller, || is_on(&host, "traefik", "web-net"));
        longest = longest.max(started.elapsed());
    }
    assert!(longest < Duration::from_secs(1) * LENIENCE, "{longest:?}");

    // Everywhere it is said that something undoes it, and where.
    controller.says("traefik on web-net");
    until("the condition", &mut controller, || condition("get destination web -n shop -o json").is_some());
    let contended = condition("get destination web -n shop -o json").unwrap();
    assert_eq!(contended["status"], "True");
    let message = contended["message"].as_str().unwrap();
    assert!(message.contains("traefik on web-net"), "{message}");
    let drift: Value = serde_json::from_str(&world.run("drift -o json").stdout).unwrap();
    let note = drift["notes"].as_array().unwrap().iter().find(|note| note["reason"] == "Contended").unwrap();
    assert_eq!((&note["server"], &note["object"]), (&"infra/edge".into(), &"Destination/shop/web".into()));
    let table = world.run("get destinations -A").stdout;
    assert!(table.lines().any(|line| line.contains("web-net") && line.contains("Contended")), "{table}");
    let events = world.run("events -o json").stdout;
    assert!(events.contains("Contended") && events.contains("infra/edge"), "{events}");
    // Nothing else is said to be fought over.
    assert_eq!(condition("get destination data -n shop -o json"), None);

    host.remove_container("traefik");
    host.container("traefik").running();
    let started = Instant::now();
    until("connecting the successor", &mut controller, || is_on(&host, "traefik", "web-net"));
    assert!(started.elapsed() < Duration::from_secs(1) * LENIENCE, "{:?}", started.elapsed());

    // Only the one who keeps repairing knows, and is asked for no longer than it runs.
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
    assert_eq!(condition("get destination web -n shop -o json"), None);
}

/// Field case 20.
#[test]
fn one_container_that_cannot_be_connected_holds_back_no_other_of_its_stack() {
    let host = Host::start();
    let faulty = Faulty::before(host.socket());
    let world = World::new(&(server(&faulty.endpoint()) + STACK));
    member(&host, 0);
    let bad = member(&host, 1);
    let refused = bad.clone();
    faulty.rule(move |asked| match asked.path.ends_with("/connect") && asked.container() == refused {
        true => Fate::Refused(500),
        false => Fate::Pass,
    });
    let mut controller = Controller::start(&world, &[]);
    until("convergence", &mut controller, || is_on(&host, "shop-0", "web-net"));
    for _ in 0..5 {
        host.remove_container("shop-0");
        member(&host, 0);
        let started = Instant::now();
        until("connecting the healthy one", &mut controller, || is_on(&host, "shop-0", "web-net"));
        assert!(started.elapsed() < Duration::from_secs(1) * LENIENCE, "{:?}", started.elapsed());
    }
    assert!(!is_on(&host, "shop-1", "web-net"));
    // Its wait ends with an event about it.
    faulty.heal();
    host.stop_container("shop-1");
    host.start_container("shop-1");
    until("connecting the other", &mut controller, || is_on(&host, "shop-1", "web-net"));
}

/// The journal directory of a world, with a file that is no journal.
fn break_journal(world: &World, name: &str) -> PathBuf {
    let directory = world.path().join("state/landfall/journal");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join(name), "{").unwrap();
    directory.join(name)
}

/// Field case 24.
#[test]
fn a_journal_that_cannot_be_read_stops_its_own_destination_and_is_said_everywhere() {
    let (host, world) = shop();
    let file = break_journal(&world, "reattach-shop.web-0123456789abcdef.json");
    let mut controller = Controller::start(&world, &[]);
    until("the other destination", &mut controller, || is_on(&host, "frontend", "data-net"));
    assert_eq!(host.network_ids("web-net"), Vec::<String>::new());
    controller.says("JournalUnreadable");
    let ready = |told: &str| {
        let told: Value = serde_json::from_str(told).unwrap();
        let all = told["status"]["conditions"].as_array().unwrap().clone();
        all.into_iter().find(|it| it["type"] == "Ready").unwrap()
    };
    let told = ready(&world.run("get destination web -n shop -o json").stdout);
    assert_eq!((&told["status"], &told["reason"]), (&"False".into(), &"JournalUnreadable".into()), "{told}");
    let drift = world.run("drift");
    assert!(drift.code == 3 && drift.stdout.contains("JournalUnreadable"), "{}", drift.stdout);
    let applied = world.run("apply --yes");
    assert!(applied.code == 3, "{}", applied.stderr);
    assert_eq!(host.network_ids("web-net"), Vec::<String>::new());
    // Nothing has to be restarted once the file is gone.
    std::fs::remove_file(file).unwrap();
    host.disconnect("data-net", "frontend");
    until("the destination", &mut controller, || {
        is_on(&host, "frontend", "web-net") && is_on(&host, "traefik", "web-net")
    });
}

/// The directory of journals itself cannot be read: nothing is known, and that is no secret.
#[test]
fn a_pass_that_breaks_off_is_told_and_shown_and_makes_the_controller_unready_while_it_lasts() {
    let (host, world) = shop();
    let directory = world.path().join("state/landfall");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("journal"), "a file where the directory would be").unwrap();
    let mut controller = Controller::start(&world, &[]);
    controller.says("no pass is possible");
    let ask = |path: &str| {
        let socket = directory.join("sets/default/landfall.sock");
        let mut stream = UnixStream::connect(socket).unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    until("unreadiness", &mut controller, || ask("/readyz").contains("broke off"));
    assert!(ask("/readyz").starts_with("HTTP/1.1 503"));
    let objects = ask("/api/v1/destinations");
    assert!(objects.contains(r#""reason":"PassFailed""#), "{objects}");
    assert!(!objects.contains(r#""type":"Ready","status":"True""#), "{objects}");
    assert!(ask("/metrics").contains("landfall_server_broken_passes"));
    std::fs::remove_file(directory.join("journal")).unwrap();
    until("convergence", &mut controller, || is_on(&host, "frontend", "web-net"));
    until("readiness", &mut controller, || ask("/readyz").starts_with("HTTP/1.1 200"));
}

#[test]
fn the_state_directory_is_made_again_when_it_is_removed_and_keeps_a_second_controller_away() {
    let (host, world) = shop();
    let state = world.path().join("state");
    let socket = state.join("landfall/sets/default/landfall.sock");
    let mut controller = Controller::start(&world, &[]);
    until("convergence", &mut controller, || is_on(&host, "frontend", "web-net"));
    // At once, or the controller would write into what is half removed.
    std::fs::rename(&state, world.path().join("gone")).unwrap();
    controller.says("was removed and is made again");
    until("the socket", &mut controller, || socket.exists());
    let second = world.run("run --listen none");
    assert!(second.code == 2 && second.stderr.contains("keeps the set"), "{}", second.stderr);
    host.disconnect("web-net", "frontend");
    until("healing", &mut controller, || is_on(&host, "frontend", "web-net"));
    until("history", &mut controller, || world.run("events").stdout.contains("frontend"));
    std::fs::remove_file(&socket).unwrap();
    until("the socket", &mut controller, || socket.exists());
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
}

#[test]
fn a_change_whose_answer_never_comes_takes_no_longer_than_the_timeout() {
    let host = Host::start();
    let faulty = Faulty::before(host.socket());
    let world = World::new(&(server(&faulty.endpoint()) + STACK));
    let silent = |method: &'static str, end: &'static str| {
        faulty.rule(move |asked| match asked.method == method && asked.path.ends_with(end) {
            true => Fate::Silence,
            false => Fate::Pass,
        });
    };
    let late = |arguments: &str| {
        let started = Instant::now();
        let ran = world.run(&format!("{arguments} --timeout 2s"));
        assert!(ran.code >= 2, "{ran}");
        assert!(started.elapsed() < Duration::from_secs(20), "{arguments}: {:?}", started.elapsed());
    };
    silent("POST", "/networks/create");
    late("apply --yes");
    faulty.heal();
    world.run("apply --yes").expect(0);
    silent("POST", "/connect");
    member(&host, 0);
    late("apply --yes");
    host.remove_container("shop-0");
    silent("DELETE", "");
    std::fs::remove_file(world.path().join("manifests/all.yaml")).unwrap();
    world.write("manifests/server.yaml", &(server(&faulty.endpoint()) + STACK.split("---\n").nth(1).unwrap()));
    late("delete destination web --yes");
}
