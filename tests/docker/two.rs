//! Two controllers on different machines, with the same manifests and the same server: neither fights the other.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::controller::{Controller, until};
use super::keep::{is_on, shop};
use super::workloads::{manifests, names};
use crate::cli::world::{World, server};
use crate::support::Host;

/// Without anything happening: a fight would be a few operations a second.
const QUIET: Duration = Duration::from_secs(3);

fn operations(world: &World, state: &str) -> Vec<Value> {
    let history = world.run(&format!("history -o json --state {state}")).expect(0).json();
    let passes = history["items"].as_array().unwrap().clone();
    passes.iter().flat_map(|pass| pass["operations"].as_array().unwrap().clone()).collect()
}

fn churn(lasting: Duration) {
    let (host, world) = shop();
    host.container("orders").label("app", "orders").running();
    let states = ["one", "two"];
    // At the same moment, on a server with nothing on it: both make the networks.
    let mut controllers = states.map(|state| Controller::start(&world, &["--state", state]));
    let converged = |host: &Host| {
        [("traefik", "web-net"), ("frontend", "web-net"), ("frontend", "data-net"), ("orders", "data-net")]
            .iter()
            .all(|(container, network)| is_on(host, container, network))
    };
    for controller in &mut controllers {
        controller.says("manifests read");
    }
    until("convergence", &mut controllers[0], || converged(&host));
    let networks = || ["web-net", "data-net"].map(|name| host.network_ids(name));
    until("one network of each name", &mut controllers[0], || networks().iter().all(|ids| ids.len() == 1));
    let made = networks();

    let begun = Instant::now();
    let mut disturbed = 0;
    while begun.elapsed() < lasting {
        match disturbed % 4 {
            0 => host.disconnect("web-net", "traefik"),
            1 => host.disconnect("web-net", "frontend"),
            2 => host.disconnect("data-net", "orders"),
            _ => {
                host.remove_container("orders");
                host.container("orders").label("app", "orders").running();
            }
        }
        disturbed += 1;
        until("healing", &mut controllers[0], || converged(&host));
    }
    assert_eq!(networks(), made, "the networks are those of the beginning, and there are no others");

    let count = || states.map(|state| operations(&world, state).len());
    let settled = {
        let mut last = (count(), Instant::now());
        let deadline = Instant::now() + Duration::from_secs(60);
        while last.1.elapsed() < QUIET {
            assert!(Instant::now() < deadline, "they go on and on: {:?}", count());
            std::thread::sleep(Duration::from_millis(200));
            let now = count();
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        last.0
    };
    assert!(converged(&host));
    let all: Vec<Value> = states.iter().flat_map(|state| operations(&world, state)).collect();
    let of = |op: &str, outcome: &str| all.iter().filter(|it| it["op"] == op && it["outcome"] == outcome).count();
    let told = format!("{disturbed} disturbances, operations of each {settled:?}: {all:#?}");
    // One of the two heals, and the other finds it done or loses the race for it: never more than both once.
    assert!(all.len() <= 2 * (disturbed + 6), "{told}");
    assert!(of("ConnectEndpoint", "Done") >= disturbed, "{told}");
    assert_eq!(of("DisconnectEndpoint", "Done"), 0, "nobody takes away what the other has connected: {told}");
    assert!(of("RemoveNetwork", "Done") <= 2, "only a network made twice at the beginning goes again: {told}");
    for controller in &mut controllers {
        controller.signal("TERM");
        assert_eq!(controller.ended(), 0);
    }
}

#[test]
fn rule_18_two_controllers_do_no_harm() {
    churn(Duration::from_secs(12));
}

#[test]
#[ignore = "a minute of what the test above does for some seconds"]
fn rule_18_two_controllers_do_no_harm_for_a_minute() {
    churn(Duration::from_secs(60));
}

/// Two repositories that know nothing of each other: the same set, other manifests, and one of them has a member on the network of the other.
#[test]
fn two_controllers_with_different_manifests_leave_alone_what_the_other_has_made() {
    let host = Host::start();
    for name in ["traefik", "frontend", "orders"] {
        host.container(name).running();
    }
    let repository = |network: &str, member: &str| {
        let destination = format!(
            "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {network} }}\nspec: {{ server: infra/edge, network: {{ name: {network} }} }}\n"
        );
        let application = format!(
            "---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: {member} }}\nspec: {{ destination: {network}, containers: {{ names: [{member}] }} }}\n"
        );
        World::new(&(server(&host.endpoint()) + &destination + &application))
    };
    let worlds = [repository("web-net", "frontend"), repository("data-net", "orders")];
    let mut controllers: Vec<Controller> =
        worlds.iter().map(|world| Controller::start(world, &["--allow-mass-delete"])).collect();
    let wanted = [("traefik", "web-net"), ("frontend", "web-net"), ("traefik", "data-net"), ("orders", "data-net")];
    let converged = || wanted.iter().all(|(container, network)| is_on(&host, container, network));
    until("convergence", &mut controllers[0], converged);
    let made = ["web-net", "data-net"].map(|name| host.network_ids(name));
    assert_eq!(made.each_ref().map(Vec::len), [1, 1]);
    // Whatever moves is put back by the one whose it is, and the other, which looks each time, takes nothing away.
    for round in 0..8 {
        let (container, network) = wanted[round % wanted.len()];
        host.disconnect(network, container);
        until("healing", &mut controllers[0], converged);
    }
    assert_eq!(["web-net", "data-net"].map(|name| host.network_ids(name)), made);
    for (world, other) in [(&worlds[0], "data-net"), (&worlds[1], "web-net")] {
        let history = world.run("history -o json").expect(0).json();
        let passes = history["items"].as_array().unwrap().iter();
        let done: Vec<Value> = passes.flat_map(|pass| pass["operations"].as_array().unwrap().clone()).collect();
        let harm = |it: &&Value| ["RemoveNetwork", "DisconnectEndpoint"].iter().any(|op| it["op"] == *op);
        assert_eq!(done.iter().filter(harm).count(), 0, "{done:#?}");
        assert!(done.iter().all(|it| !it.to_string().contains(other)), "it has to do with {other}: {done:#?}");
        let told = world.run("diff --prune --allow-mass-delete").expect(0);
        assert!(told.stdout.contains("(OwnershipConflict)") && told.stdout.contains(other), "{told}");
        assert!(told.stdout.contains("`--source "), "{told}");
    }
    for controller in &mut controllers {
        controller.signal("TERM");
        assert_eq!(controller.ended(), 0);
    }
}

/// Says on its volume when it begins beside another one, and when the job before it runs.
const WRITER: &str = "  image: landfall/busybox:test
  command: [sh, -c, 'mkdir /data/lock || echo $VERSION >> /data/conflicts; trap \"rmdir /data/lock; exit 0\" TERM; touch /tmp/up; while :; do sleep 0.1; done']
  healthcheck: { command: [test, -e, /tmp/up], intervalSeconds: 1 }
  volumes: [{ volume: data, mountPath: /data }]
  hooks: { preDeploy: { command: [sh, -c, 'echo $VERSION >> /data/hooks; sleep 1'] } }
";

/// A controller follows the manifests that commands are given too: whoever is first rolls out, and the others find it done.
#[test]
fn a_rollout_that_several_are_asked_for_is_done_once_and_no_two_are_on_one_volume() {
    let host = Host::start();
    // Makes the image.
    let _ = host.container("none");
    let version =
        |number: usize| manifests(&host, &format!("{WRITER}  env: [{{ name: VERSION, value: '{number}' }}]\n"));
    // Several that make one network are another test's.
    let declared = version(0);
    let (destination, _) = declared.rsplit_once("---\n").unwrap();
    let world = World::new(destination);
    world.run("apply").expect(0);
    world.write("manifests/all.yaml", &declared);
    let mut controller = Controller::start(&world, &["--state", "kept"]);
    let serves = |number: usize| {
        let seen = host.api("GET", "/containers/shop-frontend-1/json", &json!(null));
        let env = seen.body["Config"]["Env"].as_array().cloned().unwrap_or_default();
        seen.status == 200
            && seen.body["State"]["Health"]["Status"] == "healthy"
            && env.contains(&json!(format!("VERSION={number}")))
    };
    let rounds = 4;
    // The first version is made from nothing, the others take its place.
    for number in 0..=rounds {
        if number > 0 {
            world.write("manifests/all.yaml", &version(number));
        }
        // With the version before in force it would take away what the others make.
        controller.says("manifests read");
        let applies: Vec<_> = (0..2).map(|_| world.command("apply").stdout(Stdio::piped()).spawn().unwrap()).collect();
        for apply in applies {
            let ended = apply.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&ended.stdout);
            assert!(
                ended.status.success() && !said.contains("failed") && !said.contains("rollback"),
                "round {number}: {said}"
            );
        }
        until("the version", &mut controller, || serves(number) && names(&host) == ["shop-frontend-1"]);
    }
    let read =
        |file: &str| host.exec("shop-frontend-1", &["sh", "-c", &format!("cat /data/{file} 2> /dev/null || true")]);
    assert_eq!(read("conflicts"), "", "two wrote at once");
    let hooks: Vec<String> = read("hooks").split_whitespace().map(str::to_owned).collect();
    assert_eq!(hooks, (0..=rounds).map(|number| number.to_string()).collect::<Vec<_>>());
    world.run("diff").expect(0);
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
}
