//! A server that is cut off while it changes something that takes long.

use std::time::{Duration, Instant};

use crate::cli::run::{clean, finish};
use crate::cli::world::World;
use crate::support::{Host, Lan, wait_for};

/// A change may take two minutes to be answered.
const WELL_BEFORE: Duration = Duration::from_secs(45);

fn manifests(host: &Host, active: bool) -> String {
    format!(
        "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: edge }}\n\
         spec: {{ endpoint: 'tcp://{}:2375', insecure: true }}\n\
         ---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: web }}\n\
         spec: {{ server: edge, network: {{ name: web-net }}, active: {active} }}\n\
         ---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: worker }}\n\
         spec: {{ destination: web, containers: {{ names: [worker] }} }}\n",
        host.address()
    )
}

#[test]
fn a_server_that_is_cut_off_while_it_stops_a_container_is_given_up_long_before_it_could_have_been_done() {
    let lan = Lan::new();
    let host = Host::builder().on(&lan).argument("--tls=false").argument("--host=tcp://0.0.0.0:2375").start();
    // Takes the ten seconds that it is given, and says when they have begun.
    let stubborn = "trap 'touch /tmp/stopping' TERM; while true; do sleep 0.1; done";
    host.container("worker").stop_signal("SIGTERM").command(&["sh", "-c", stubborn]).running();
    let world = World::new(&manifests(&host, true));
    let apply = || {
        let mut command = clean(lan.inside(env!("CARGO_BIN_EXE_landfall")));
        command.current_dir(world.path()).env("XDG_STATE_HOME", world.path().join("state"));
        finish(command.args(["apply", "-o", "json", "--timeout", "3s"]), "")
    };
    apply().expect(0);

    world.write("manifests/all.yaml", &manifests(&host, false));
    let ran = std::thread::scope(|scope| {
        let applied = scope.spawn(apply);
        let stopping = || host.exec("worker", &["ls", "/tmp"]).contains("stopping").then_some(());
        wait_for("the container is asked to stop", stopping);
        host.seat().cut();
        let cut = Instant::now();
        let ran = applied.join().unwrap();
        assert!(cut.elapsed() < WELL_BEFORE, "{:?}\n{ran}", cut.elapsed());
        ran
    });
    let ran = ran.expect(2);
    let operation = &ran.json()["operations"][0];
    assert_eq!(
        (operation["op"].as_str(), operation["outcome"].as_str()),
        (Some("StopContainer"), Some("Failed")),
        "{ran}"
    );
}
