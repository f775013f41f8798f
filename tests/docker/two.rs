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

/// What an application is made of: two that begin on a server with nothing on it make the network and the container once.
#[test]
fn two_that_make_a_network_and_its_first_application_at_once_both_succeed() {
    let host = Host::start();
    // Makes the image.
    let _ = host.container("none");
    let (without_a_job, _) = WRITER.split_once("  hooks:").unwrap();
    for round in 0..8 {
        let spec = if round % 2 == 0 { without_a_job } else { WRITER };
        // Without one of its own, Docker 20.10 makes as many networks of the name as it is asked for.
        let subnet = if round % 4 < 2 { ", subnets: [{ subnet: 10.42.0.0/24 }]" } else { "" };
        let declared = [
            ("web-net", "web-net-N"),
            ("10.42.0", "10.42.N"),
            ("name: web,", "name: web-N,"),
            ("destination: web", "destination: web-N"),
        ]
        .iter()
        .fold(manifests(&host, spec).replace(subnet, ""), |text, (from, to)| {
            text.replace(from, &to.replace('N', &round.to_string()))
        })
        .replace("name: frontend", &format!("name: frontend-{round}"));
        let worlds = [World::new(&declared), World::new(&declared), World::new(&declared)];
        let apply = |world: &World| {
            let mut apply = world.command("apply");
            apply.args(["--source", "one"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let applies = worlds.each_ref().map(apply);
        for apply in applies {
            let ended = apply.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&ended.stdout);
            let errors = String::from_utf8_lossy(&ended.stderr);
            assert!(
                ended.status.success() && !said.contains("failed") && !said.contains("rollback"),
                "round {round}: {said}{errors}"
            );
        }
        assert_eq!(host.network_ids(&format!("web-net-{round}")).len(), 1);
        worlds[0].run("diff --source one").expect(0);
    }
}

/// A controller declares the old version, and somebody applies a new one.
fn disagreement(job: &str, up: &str) -> (Host, World) {
    let host = Host::start();
    let _ = host.container("none");
    let world = World::new(&version_of(&host, "old", "true", "true"));
    world.run("apply").expect(0);
    world.write("newer.yaml", &version_of(&host, "new", job, up));
    (host, world)
}

fn version_of(host: &Host, version: &str, job: &str, up: &str) -> String {
    manifests(
        host,
        &format!(
            "  image: landfall/busybox:test
  command: [sh, -c, '{up}; touch /tmp/up; trap exit TERM; while :; do sleep 0.1; done']
  healthcheck: {{ command: [test, -e, /tmp/up], intervalSeconds: 1, retries: 30 }}
  env: [{{ name: VERSION, value: '{version}' }}]
  hooks: {{ preDeploy: {{ command: [sh, -c, '{job}'] }} }}
"
        ),
    )
}

fn version_that_runs(host: &Host) -> String {
    let seen = host.api("GET", "/containers/shop-frontend-1/json", &json!(null));
    let env = seen.body["Config"]["Env"].as_array().cloned().unwrap_or_default();
    let version = env.iter().filter_map(Value::as_str).find_map(|it| it.strip_prefix("VERSION="));
    if seen.body["State"]["Health"]["Status"] == "healthy" {
        version.unwrap_or_default().to_owned()
    } else {
        String::new()
    }
}

#[test]
fn a_rollout_of_one_version_is_not_torn_by_a_controller_that_declares_another() {
    for (job, up) in [("sleep 4", "true"), ("true", "sleep 4")] {
        let (host, world) = disagreement(job, up);
        let mut controller = Controller::start(&world, &["--state", "kept"]);
        controller.says("manifests read");
        let applied = world.run("apply -f newer.yaml");
        assert_eq!(applied.code, 0, "{job}, {up}: {applied}");
        // It has had its rollout, and then the one who stays has the last word.
        until("the version of the controller", &mut controller, || version_that_runs(&host) == "old");
        until("nothing else", &mut controller, || names(&host) == ["shop-frontend-1"]);
        controller.signal("TERM");
        assert_eq!(controller.ended(), 0);
    }
}

#[test]
fn another_version_waits_for_the_rollout_that_is_under_way_and_is_rolled_out_then() {
    let (host, world) = disagreement("sleep 3", "sleep 3");
    world.write("newest.yaml", &version_of(&host, "newest", "true", "true"));
    let new = world.command("apply -f newer.yaml").stdout(Stdio::piped()).spawn().unwrap();
    crate::support::wait_for("the rollout", || names(&host).contains(&"shop-frontend-1-next".to_owned()).then_some(()));
    let newest = world.run("apply -f newest.yaml").expect(0);
    assert_eq!(version_that_runs(&host), "newest", "{newest}");
    assert_eq!(names(&host), ["shop-frontend-1"]);
    let new = new.wait_with_output().unwrap();
    assert!(new.status.success(), "{}", String::from_utf8_lossy(&new.stdout));
    world.run("diff -f newest.yaml").expect(0);
}

#[test]
fn what_a_rollout_has_left_behind_goes_and_one_that_loses_its_container_says_so() {
    let (host, world) = disagreement("sleep 60", "true");
    let begun = || {
        let apply = world.command("apply -f newer.yaml").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        crate::support::wait_for("the job", || {
            let job = host.api("GET", "/containers/shop-frontend-predeploy/json", &json!(null));
            (job.body["State"]["Running"] == true).then_some(())
        });
        apply
    };
    // Taken away in the middle.
    let apply = begun();
    host.remove_container("shop-frontend-1-next");
    host.remove_container("shop-frontend-predeploy");
    let ended = apply.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(!said.contains("No such container"), "{said}");
    assert!(said.contains("was removed by something else before it was started"), "{said}");
    assert_eq!((names(&host), version_that_runs(&host)), (vec!["shop-frontend-1".to_owned()], "old".to_owned()));

    // Killed, and nothing of the newer version has been started.
    let mut apply = begun();
    apply.kill().unwrap();
    apply.wait().unwrap();
    let waits = world.run("diff").expect(0);
    assert!(waits.stdout.contains("(RolloutInProgress)"), "as long as the job runs: {waits}");
    host.remove_container("shop-frontend-predeploy");
    assert_eq!(host.inspect("shop-frontend-1-next")["State"]["Status"], "created");
    let planned = world.run("diff").expect(1);
    assert!(planned.stdout.contains("- remove container shop-frontend-1-next"), "{planned}");
    assert!(!planned.stdout.contains("MemberDetached"), "it is on its network as soon as it starts: {planned}");
    world.run("apply").expect(0);
    assert_eq!((names(&host), version_that_runs(&host)), (vec!["shop-frontend-1".to_owned()], "old".to_owned()));
    world.run("diff").expect(0);
}
