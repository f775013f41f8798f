//! Much that goes at the same time: it takes as long as what is slowest to stop, and not as long as all of it together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::workloads::names;
use crate::cli::world::World;
use crate::support::Host;
use crate::support::faults::{Asked, Fate, Faulty};
use crate::support::host::text;

const APPLICATIONS: usize = 10;
/// Seconds until the daemon kills one of them.
const GRACE: u32 = 4;
/// Far from what all of them would take one after another, and from what the slowest two take.
const SOON: Duration = Duration::from_secs(25);

fn ground(endpoint: &str) -> String {
    format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge, namespace: infra }}
spec: {{ endpoint: '{endpoint}', allowedNamespaces: ['*'] }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web, namespace: shop }}
spec: {{ server: infra/edge, network: {{ name: web-net }} }}
"
    )
}

/// As first processes they do not hear the signal that asks them to end. The last one depends on the first.
fn applications() -> String {
    let one = |number: usize| {
        let needs = if number + 1 == APPLICATIONS { "Application/app-0" } else { "" };
        format!(
            "---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: app-{number}, namespace: shop }}
spec:
  destination: web
  image: landfall/busybox:test
  command: [sleep, '1000000']
  stopGracePeriodSeconds: {GRACE}
  dependsOn: [{needs}]
"
        )
    };
    (0..APPLICATIONS).map(one).collect()
}

/// Ten applications that run, and what stands between them and Landfall.
fn shop() -> (Host, Faulty, World) {
    let host = Host::start();
    // Makes the image.
    let _ = host.container("none");
    let faulty = Faulty::before(host.socket());
    let world = World::new(&(ground(&faulty.endpoint()) + &applications()));
    world.run("apply --yes").expect(0);
    assert_eq!(names(&host).len(), APPLICATIONS);
    (host, faulty, world)
}

fn name(number: usize) -> String {
    format!("shop-app-{number}-1")
}

fn ids(host: &Host) -> BTreeMap<String, String> {
    names(host).into_iter().map(|name| (text(&host.inspect(&name)["Id"]), name)).collect()
}

/// Where among the requests something was asked of a container.
fn at(asked: &[Asked], ids: &BTreeMap<String, String>, what: &str, container: &str) -> usize {
    let (id, _) = ids.iter().find(|(_, name)| *name == container).unwrap();
    let is = |asked: &Asked| match what {
        "stop" => asked.is("POST", &format!("/containers/{id}/stop")),
        _ => asked.is("DELETE", &format!("/containers/{id}")),
    };
    asked.iter().position(is).unwrap_or_else(|| panic!("nothing asked to {what} {container}"))
}

#[test]
fn ten_that_are_slow_to_stop_are_deleted_in_the_time_of_the_slowest_and_what_depends_on_one_goes_before_it() {
    let (host, faulty, world) = shop();
    let ids = ids(&host);
    faulty.take_asked();
    let started = Instant::now();
    let deleted = world.run("delete -f manifests/all.yaml --yes").expect(0);
    let took = started.elapsed();
    assert_eq!(names(&host), Vec::<String>::new(), "{deleted}");
    assert_eq!(host.network_ids("web-net"), Vec::<String>::new());
    assert!(took < SOON, "{took:?} for {APPLICATIONS} that take {GRACE} s each:\n{deleted}");
    let asked = faulty.take_asked();
    let (first, last) = (name(0), name(APPLICATIONS - 1));
    assert!(at(&asked, &ids, "remove", &last) < at(&asked, &ids, "stop", &first), "{deleted}");
    // All but the one that waits are asked to stop before the first of them has stopped.
    let stops = (1..APPLICATIONS).map(|number| at(&asked, &ids, "stop", &name(number)));
    let removals = (1..APPLICATIONS).map(|number| at(&asked, &ids, "remove", &name(number)));
    assert!(stops.max() < removals.min(), "{asked:?}");
}

#[test]
fn one_that_cannot_be_removed_keeps_what_it_depends_on_and_nothing_else() {
    let (host, faulty, world) = shop();
    let stuck = name(APPLICATIONS - 1);
    let path = format!("/containers/{}", text(&host.inspect(&stuck)["Id"]));
    faulty.rule(move |asked| if asked.is("DELETE", &path) { Fate::Refused(500) } else { Fate::Pass });
    world.write("manifests/all.yaml", &ground(&faulty.endpoint()));
    let started = Instant::now();
    let pruned = world.run("apply --prune --yes --allow-mass-delete").expect(2);
    let took = started.elapsed();
    assert_eq!(names(&host), [name(0), stuck.clone()], "{pruned}");
    assert_eq!((host.state(&name(0)).as_str(), host.state(&stuck).as_str()), ("running", "exited"), "{pruned}");
    assert!(took < SOON, "{took:?}:\n{pruned}");

    faulty.heal();
    world.run("apply --prune --yes --allow-mass-delete").expect(0);
    assert_eq!(names(&host), Vec::<String>::new());
    assert_eq!(world.run("diff --prune").code, 0);
}

/// Members that are not Landfall's are stopped with their destination, and another one is repaired meanwhile.
#[test]
fn members_of_a_deactivated_destination_stop_together_and_hold_up_no_repair() {
    let host = Host::start();
    let members: Vec<String> = (0..5).map(|number| format!("member-{number}")).collect();
    for member in &members {
        host.container(member).slow_to_stop(6).running();
    }
    host.container("other").running();
    let faulty = Faulty::before(host.socket());
    let manifests = |active: bool| {
        format!(
            "{}---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: api, namespace: shop }}
spec: {{ server: infra/edge, network: {{ name: api-net }}, active: {active} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: members, namespace: shop }}
spec: {{ destination: api, containers: {{ names: [{}] }} }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: other, namespace: shop }}
spec: {{ destination: web, containers: {{ names: [other] }} }}
",
            ground(&faulty.endpoint()),
            members.join(", ")
        )
    };
    let world = World::new(&manifests(true));
    world.run("apply --yes").expect(0);
    host.disconnect("web-net", "other");
    world.write("manifests/all.yaml", &manifests(false));
    faulty.take_asked();
    let started = Instant::now();
    let stopped = world.run("apply --yes").expect(0);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}:\n{stopped}");
    let states: BTreeSet<String> = members.iter().map(|member| host.state(member)).collect();
    assert_eq!(states, BTreeSet::from(["exited".to_owned()]), "{stopped}");
    assert!(host.networks_of("other").contains(&"web-net".to_owned()), "{stopped}");
    world.write("manifests/all.yaml", &manifests(true));
    world.run("apply --yes").expect(0);
    let states: BTreeSet<String> = members.iter().map(|member| host.state(member)).collect();
    assert_eq!(states, BTreeSet::from(["running".to_owned()]));
}
