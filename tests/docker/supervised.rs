//! What a service manager is told, and what is left after one that kills.

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::{Duration, Instant};

use landfall::shell::controller::run::Ended;

use super::controller::{Controller, until};
use super::running::Running;
use crate::cli::run::command;
use crate::cli::world::{SHOP, World, server};
use crate::support::Host;

/// Everything that is said until `wanted` has been said.
#[track_caller]
fn heard(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while Instant::now() < deadline {
        if let Ok(length) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).trim().to_owned();
            all.push(text.clone());
            if text == wanted {
                return all;
            }
        }
    }
    panic!("{wanted} is not said: {all:?}");
}

#[test]
fn systemd_is_told_ready_alive_and_stopping() {
    let host = Host::start();
    let world = World::new(&server(&host.endpoint()));
    let path = world.path().join("notify.socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut command = command();
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
    let mut controller = Controller::spawn(&world, command, &[]);
    heard(&socket, "READY=1");
    for _ in 0..3 {
        heard(&socket, "WATCHDOG=1");
    }
    controller.signal("TERM");
    heard(&socket, "STOPPING=1");
    assert_eq!(controller.ended(), 0);
}

#[test]
fn manifests_that_are_wrong_from_the_start_are_said_and_no_reason_not_to_be_ready() {
    let world = World::new("kind: Nothing\n");
    let path = world.path().join("notify.socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut command = command();
    command.env("NOTIFY_SOCKET", &path);
    let mut controller = Controller::spawn(&world, command, &[]);
    heard(&socket, "READY=1");
    controller.says("the manifests are invalid");
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
}

/// The daemon takes requests and never answers, so that a pass is under way.
#[test]
fn the_first_signal_waits_for_what_is_under_way_and_the_second_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("docker.sock");
    let _mute = UnixListener::bind(&path).unwrap();
    let world = World::new(&server(&format!("unix://{}", path.display())));
    let mut controller = Controller::start(&world, &["--timeout", "5m"]);
    controller.says("manifests read");
    controller.signal("TERM");
    controller.says("passes that run are waited for");
    controller.signal("TERM");
    assert_eq!(controller.ended(), 130, "0: there was nothing to wait for");
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_waited_for_no_longer_than_thirty_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("docker.sock");
    let _mute = UnixListener::bind(&path).unwrap();
    let world = World::new(&server(&format!("unix://{}", path.display())));
    let hour = Duration::from_secs(3600);
    let running = Running::start_with(world.path(), |options| {
        options.connect.read_timeout = hour;
        options.observe.per_server = hour;
    });
    running.shows("the manifests", |board| (board.manifests.generation == 1).then_some(())).await;
    let asked = tokio::time::Instant::now();
    assert_eq!(running.stop().await, Ended::Aborted);
    let waited = asked.elapsed();
    assert!(waited >= Duration::from_secs(30) && waited < Duration::from_secs(31), "{waited:?}");
}

/// The power is cut: the daemon and all containers are killed, and so is the controller.
#[test]
fn pain_1_9_a_reboot_is_healed_whether_or_not_the_controller_lived_through_it() {
    let host = Host::start();
    for name in ["traefik", "frontend"] {
        host.container(name).restart("always").running();
    }
    let world = World::new(&(server(&host.endpoint()) + SHOP));
    let is_on = |container: &str, network: &str| {
        host.state(container) == "running" && host.networks_of(container).iter().any(|name| name == network)
    };
    let whole = || is_on("traefik", "web-net") && is_on("frontend", "web-net");
    let mut controller = Controller::start(&world, &[]);
    until("convergence", &mut controller, whole);

    host.reboot_ungracefully();
    // What other versions of the engine lose on the way, this one keeps: taken away by hand.
    until("the reboot", &mut controller, || host.state("traefik") == "running" && host.state("frontend") == "running");
    if is_on("traefik", "web-net") {
        host.disconnect("web-net", "traefik");
    }
    until("healing after the reboot", &mut controller, whole);

    controller.signal("KILL");
    controller.ended();
    host.reboot_ungracefully();
    let mut controller = Controller::start(&world, &[]);
    until("the reboot", &mut controller, || host.state("traefik") == "running" && host.state("frontend") == "running");
    until("healing by a new controller", &mut controller, whole);
    host.disconnect("web-net", "frontend");
    until("healing as before", &mut controller, whole);
}
