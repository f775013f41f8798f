//! What deploy tools and people do beside Landfall, and nobody is cut off by.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::controller::{Controller, until};
use super::keep::{is_on, shop};
use crate::support::Host;

fn rename(host: &Host, container: &str, to: &str) {
    host.post(&format!("/containers/{container}/rename?name={to}"), Value::Null);
}

/// The old container and the old proxy are renamed, and the new ones end a moment after they were started.
#[test]
fn a_successor_that_crashes_again_and_again_takes_nobodys_place_and_one_that_runs_does_after_five_seconds() {
    let (host, world) = shop();
    let mut controller = Controller::start(&world, &[]);
    let on = |container: &str| is_on(&host, container, "web-net");
    until("convergence", &mut controller, || on("frontend") && on("traefik"));
    for name in ["frontend", "traefik"] {
        rename(&host, name, &format!("{name}-old"));
        host.container(name).command(&["sh", "-c", "sleep 0.7; exit 3"]).restart("always").running();
    }
    until("connecting the new ones", &mut controller, || on("frontend") && on("traefik"));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) {
        assert!(on("frontend-old") && on("traefik-old"), "after {:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
    let drift = world.run("drift").expect(1);
    for text in
        ["The container \"frontend\" ends again and again", "The proxy \"traefik\" ends again and again", "Restarting"]
    {
        assert!(drift.to_string().contains(text), "{text:?} is not in it:\n{drift}");
    }
    let told = world.run("describe application frontend -n shop").expect(0);
    assert!(told.to_string().contains("Restarting"), "{told}");
    let told = world.run("get destination web -n shop").expect(0);
    assert!(!told.to_string().contains("True"), "{told}");

    // What is put in their place runs, and is let take over when that is known.
    for name in ["frontend", "traefik"] {
        host.remove_container(name);
        host.container(name).running();
    }
    let begun = Instant::now();
    until("connecting the new ones", &mut controller, || on("frontend") && on("traefik"));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(on("frontend-old") && on("traefik-old"));
    until("letting go the old ones", &mut controller, || !on("frontend-old") && !on("traefik-old"));
    let took = begun.elapsed();
    assert!(Duration::from_secs(4) < took && took < Duration::from_secs(12), "{took:?}");
    world.run("drift").expect(0);
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
}
