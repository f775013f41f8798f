//! Commands on the host of a controller, with no manifests of their own.

use super::controller::{Controller, until};
use super::keep::is_on;
use crate::cli::run::{Ran, command, finish};
use crate::cli::world::{SHOP, World, server};
use crate::support::repository::Upstream;
use crate::support::{Host, wait_for};

/// A directory without manifests, on the machine of a controller.
struct Elsewhere<'a> {
    directory: tempfile::TempDir,
    world: &'a World,
}

impl<'a> Elsewhere<'a> {
    fn new(world: &'a World) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), world }
    }

    /// With the state directory of the controller.
    fn run(&self, arguments: &str) -> Ran {
        let state = self.world.path().join("state/landfall");
        self.run_anyhow(&format!("{arguments} --state {}", state.display()))
    }

    fn run_anyhow(&self, arguments: &str) -> Ran {
        let mut command = command();
        command.current_dir(self.directory.path()).env("XDG_STATE_HOME", self.directory.path().join("state"));
        finish(command.args(arguments.split_whitespace()), "")
    }
}

#[test]
fn commands_beside_a_controller_that_follows_a_repository_ask_it_for_its_manifests() {
    let host = Host::start();
    for name in ["traefik", "frontend"] {
        host.container(name).running();
    }
    let upstream = Upstream::with(&[("prod/all.yaml", &(server(&host.endpoint()) + SHOP))]);
    let world = World::new("");
    std::fs::remove_dir_all(world.path().join("manifests")).unwrap();
    let bare = upstream.bare().display().to_string();
    let mut controller = Controller::start(&world, &["--git", &bare, "--path", "prod"]);
    until("convergence", &mut controller, || {
        is_on(&host, "traefik", "web-net") && is_on(&host, "frontend", "data-net")
    });
    let elsewhere = Elsewhere::new(&world);

    let ran = elsewhere.run("get destinations").expect(0);
    assert!(ran.stdout.contains("web-net") && ran.stdout.contains("data-net"), "{ran}");
    let ran = elsewhere.run("describe destination web").expect(0);
    assert!(ran.stdout.contains("prod/all.yaml:"), "named as in the repository: {ran}");
    assert!(ran.stdout.contains("NetworkMissing"), "with what the controller has on record: {ran}");
    elsewhere.run("wait destination/web --for=condition=Ready --timeout 60s").expect(0);
    assert!(elsewhere.run("graph").expect(0).stdout.contains("frontend"));
    elsewhere.run("diff").expect(0);
    elsewhere.run("drift").expect(0);
    elsewhere.run("subnets").expect(0);
    elsewhere.run("logs application/frontend").expect(0);
    elsewhere.run("doctor").expect(0);
    let ran = elsewhere.run("delete destination data --dry-run").expect(3);
    assert!(ran.stdout.contains("frontend"), "what blocks it is known: {ran}");
    let ran = elsewhere.run("get application nope").expect(2);
    assert!(ran.stderr.contains("no manifest declares an application \"nope\""), "{ran}");
    // A file of the repository, given as it is there, in the context of the others.
    let file = upstream.work_tree().join("prod/all.yaml").display().to_string();
    let ran = elsewhere.run(&format!("delete --dry-run -f {file}")).expect(0);
    assert!(ran.stdout.contains("remove network data-net"), "{ran}");

    let validate = format!("validate --git {bare} --path prod -o json");
    assert_eq!(elsewhere.run(&validate).expect(0).json()["valid"], true);

    // The newest is not in force: what is, is shown, and that it is not the newest.
    upstream.commit(&[("prod/more.yaml", "apiVersion: landfall/v1\nkind: Destinaton\n")]);
    controller.signal("HUP");
    controller.says("the manifests are invalid");
    let found = elsewhere.run(&validate).expect(2).json();
    assert!(found["diagnostics"][0]["file"].as_str().unwrap().ends_with("more.yaml"), "{found}");
    let ran = elsewhere.run("get destinations").expect(0);
    assert!(ran.stdout.contains("web-net"), "{ran}");
    assert!(
        ran.stderr.contains("the newest manifests are not in force, the last good ones are: prod/more.yaml"),
        "{ran}"
    );

    // With another directory, and then with none that could be asked.
    let ran = elsewhere.run_anyhow("get destinations").expect(2);
    let state = world.path().join("state/landfall");
    assert!(ran.stderr.contains("there is no ./manifests, and no `landfall run` keeps the set \"default\""), "{ran}");
    assert!(ran.stderr.contains(&format!("--state {}", state.display())), "the way to it: {ran}");
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
    let ran = elsewhere.run("get destinations").expect(2);
    assert!(ran.stderr.contains(&format!("in {}", state.join("sets/default").display())), "{ran}");
    assert!(ran.stderr.contains("-f, --git or $LANDFALL_MANIFESTS"), "{ran}");
}

#[test]
fn commands_beside_a_controller_that_follows_files_find_what_lies_beside_them() {
    let host = Host::start();
    for name in ["traefik", "frontend"] {
        host.container(name).running();
    }
    let world = World::new(&(server(&host.endpoint()) + SHOP));
    let mut controller = Controller::start(&world, &[]);
    until("convergence", &mut controller, || is_on(&host, "frontend", "web-net"));
    let elsewhere = Elsewhere::new(&world);
    let ran = elsewhere.run("describe destination web").expect(0);
    let file = world.path().join("manifests/all.yaml");
    assert!(ran.stdout.contains(&format!("{}:", file.display())), "{ran}");
    let ran = elsewhere.run("delete destination web --yes").expect(3);
    assert!(ran.stdout.contains("traefik") || ran.stdout.contains("frontend"), "{ran}");
}

#[test]
fn while_a_mass_deletion_waits_controller_and_commands_say_the_same_of_the_server() {
    let host = Host::start();
    let destination = |name: &str| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name}, namespace: shop }}\n\
             spec: {{ server: infra/edge, network: {{ name: {name}-net }}, proxy: false }}\n"
        )
    };
    let declare = |names: &[&str]| {
        let server = server(&host.endpoint()).replace("  proxy: { container: traefik }\n", "");
        names.iter().fold(server, |text, name| text + &destination(name))
    };
    let world = World::new(&declare(&["a", "b", "c", "d"]));
    let mut controller = Controller::start(&world, &["--state", "kept"]);
    until("convergence", &mut controller, || !host.network_ids("d-net").is_empty());
    world.write("manifests/all.yaml", &declare(&["d"]));
    let state = world.path().join("kept").display().to_string();
    // With where it is, as a shell takes it, and not with a flag that would remove whatever there is.
    controller.says(&format!("`landfall approve --state {state} "));
    assert_eq!(controller.said("allow-mass-delete"), 0);

    let condition = |object: &serde_json::Value, name: &str| {
        let all = object["status"]["conditions"].as_array().unwrap().clone();
        all.into_iter().find(|it| it["type"] == name)
    };
    let object = wait_for("the condition", || {
        let object = world.run("get server edge -n infra -o json --state kept").expect(0).json();
        condition(&object, "ApprovalPending").map(|_| object)
    });
    let waiting = condition(&object, "ApprovalPending").unwrap();
    assert_eq!((&waiting["status"], &waiting["reason"]), (&"True".into(), &"MassDeletionRefused".into()));
    let said = waiting["message"].as_str().unwrap();
    assert!(said.contains("3 deletions wait for an approval. `landfall approve --state "), "{said}");
    let table = world.run("get servers --state kept").expect(0).stdout;
    assert!(table.contains("True") && table.contains("MassDeletionRefused"), "{table}");

    // What the controller itself answers, over its socket.
    let asked = finish(
        std::process::Command::new("curl")
            .args(["--silent", "--unix-socket", &format!("{state}/sets/default/landfall.sock")])
            .arg("http://localhost/api/v1/objects/server/infra/edge"),
        "",
    );
    let told = asked.json();
    for name in ["Ready", "Stalled", "Reconciling", "ApprovalPending"] {
        let (own, other) = (condition(&object, name).unwrap(), condition(&told, name).unwrap());
        assert_eq!(
            (&own["status"], &own["reason"], &own["message"]),
            (&other["status"], &other["reason"], &other["message"]),
            "{name}"
        );
    }

    // Without manifests of its own a command plans for the controller's, and for what is made from them.
    let own = world.run("diff --state kept").expect(0);
    assert!(own.stdout.contains("MassDeletionRefused") || own.stdout.contains("allow-mass-delete"), "{own}");
    let beside =
        finish(command().current_dir(Elsewhere::new(&world).directory.path()).args(["diff", "--state", &state]), "");
    assert_eq!((beside.code, &beside.stdout), (own.code, &own.stdout), "{beside}");

    let ran = world.run("approve --yes").expect(2);
    assert!(ran.stderr.contains(&format!("--state {state}")) && !ran.stderr.contains("allow-mass-delete"), "{ran}");
    world.run("approve --yes --state kept").expect(0);
    until("the deletion", &mut controller, || host.network_ids("a-net").is_empty());
    wait_for("no condition", || {
        let object = world.run("get server edge -n infra -o json --state kept").expect(0).json();
        condition(&object, "ApprovalPending").is_none().then_some(())
    });
}

#[test]
fn what_is_known_is_shown_and_deleted_and_the_rest_is_named() {
    let host = Host::start();
    let world = World::new(
        &(server(&host.endpoint()).replace("  proxy: { container: traefik }\n", "")
            + "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: { name: web }\n\
               spec: { server: infra/edge, network: { name: web-net } }\n"),
    );
    world.run("apply").expect(0);
    for command in ["get destination web nope", "describe destination web nope", "get dest nope web nether -o json"] {
        let ran = world.run(command).expect(2);
        assert!(ran.stdout.contains("web-net"), "{ran}");
        assert!(ran.stderr.contains("no manifest declares a destination \"nope\""), "{ran}");
        assert_eq!(ran.stderr.contains("\"nether\""), command.contains("nether"), "{ran}");
    }
    for command in ["get destination nope nether", "describe destination nope nether"] {
        let ran = world.run(command).expect(2);
        assert!(ran.stdout.is_empty() && ran.stderr.contains("\"nope\"") && ran.stderr.contains("\"nether\""), "{ran}");
    }
    let ran = world.run("delete destination web nope").expect(2);
    assert!(ran.stderr.contains("no manifest declares Destination/default/nope, and no server knows it"), "{ran}");
    assert_eq!(host.network_ids("web-net"), Vec::<String>::new(), "{ran}");
    world.run("apply").expect(0);
    world.run("delete destination nope web --ignore-not-found").expect(0);
    assert_eq!(host.network_ids("web-net"), Vec::<String>::new());
    world.run("delete destination nope").expect(2);
}

/// What only the controller knows of a rollout, the commands beside it say as well, and in its words.
#[test]
fn a_rollout_that_the_controller_has_given_up_is_given_up_in_every_view() {
    let host = Host::start();
    let _ = host.container("none");
    let declare = |check: &str| {
        format!(
            "{}---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web, namespace: shop }}
spec: {{ server: infra/edge, network: {{ name: web-net }}, proxy: false }}
---
apiVersion: landfall/v1
kind: Application
metadata: {{ name: shop, namespace: shop }}
spec:
  destination: web
  image: landfall/busybox:test
  command: [sleep, '1000000']
  stopSignal: SIGKILL
  healthcheck: {{ command: [{check}], intervalSeconds: 1, retries: 1 }}
  rollout: {{ healthTimeoutSeconds: 20 }}
",
            server(&host.endpoint()).replace("  proxy: { container: traefik }\n", "")
        )
    };
    let world = World::new(&declare("'true'"));
    let mut controller = Controller::start(&world, &[]);
    let healthy = || {
        let found = host.api("GET", "/containers/shop-shop-1/json", &serde_json::Value::Null);
        found.status == 200 && found.body["State"]["Health"]["Status"] == "healthy"
    };
    until("the first version", &mut controller, healthy);
    let first = host.inspect("shop-shop-1")["Id"].clone();
    world.write("manifests/all.yaml", &declare("'false'"));
    controller.says("is not tried again until something changes");

    let object = "/api/v1/objects/Application/shop/shop";
    let socket = world.path().join("state/landfall/sets/default/landfall.sock");
    let asked = std::process::Command::new("curl")
        .args(["-sf", "--unix-socket", socket.to_str().unwrap(), &format!("http://localhost{object}")])
        .output()
        .unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
    let ready = |object: &serde_json::Value| {
        let conditions = object["status"]["conditions"].as_array().unwrap().clone();
        let of = |name: &str| conditions.iter().find(|it| it["type"] == name).cloned().unwrap_or_default();
        ["Ready", "Progressing", "Stalled"].map(|name| [of(name)["status"].clone(), of(name)["reason"].clone()])
    };
    assert_eq!(ready(&shown)[0], ["False", "HealthCheckFailed"], "{shown}");
    let got = world.run("get application shop -n shop -o json").expect(0).json();
    assert_eq!(ready(&got), ready(&shown), "{got}\n{shown}");
    for (command, code) in [("diff", 3), ("drift", 3), ("apply", 3), ("apply --dry-run", 3)] {
        let said = world.run(command).expect(code);
        assert!(
            said.to_string().contains("(HealthCheckFailed)") || said.to_string().contains("HealthCheckFailed"),
            "{said}"
        );
        assert!(said.to_string().contains("landfall rollout restart application/shop -n shop"), "{said}");
    }
    let said = world.run("rollout status application/shop -n shop").expect(3);
    assert!(said.stderr.contains("It did not become healthy, and is not tried again"), "{said}");
    assert_eq!(host.inspect("shop-shop-1")["Id"], first, "what served goes on serving");

    // Asked for beside the controller, it is the controller that tries again.
    let restarted = world.run("rollout restart application/shop -n shop --yes").expect(0);
    assert!(restarted.stderr.contains("`landfall run` does it."), "{restarted}");
    controller.says("RestartRequested");

    // Nobody remembers it once the controller is gone, and another manifest is another attempt.
    let text = declare("'true'").replace("retries: 1", "retries: 2");
    world.write("manifests/all.yaml", &text);
    until("another version", &mut controller, || healthy() && host.inspect("shop-shop-1")["Id"] != first);
    world.run("diff").expect(0);
    world.write("manifests/all.yaml", &declare("'false'"));
    controller.says("is not tried again until something changes");
    controller.signal("TERM");
    assert_eq!(controller.ended(), 0);
    world.run("diff").expect(1);
}
