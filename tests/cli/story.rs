//! The whole product on a real daemon, by its exit codes and what it prints.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use serde_json::json;

use super::run::Ran;
use super::world::{SHOP, World, server};
use crate::support::{Host, wait_for};

struct Story {
    host: Host,
    world: World,
}

impl Story {
    fn new() -> Self {
        let host = Host::start();
        for name in ["traefik", "frontend"] {
            host.container(name).running();
        }
        host.container("orders").label("app", "orders").running();
        let world = World::new(&(server(&host.endpoint()) + SHOP));
        Self { host, world }
    }

    fn run(&self, arguments: &str) -> Ran {
        self.world.run(arguments)
    }

    fn on_a_terminal(&self, arguments: &str, answer: &str) -> Ran {
        self.world.on_a_terminal(arguments, answer)
    }

    fn networks(&self) -> usize {
        ["web-net", "data-net"].iter().map(|name| self.host.network_ids(name).len()).sum()
    }
}

#[test]
fn from_nothing_to_converged_and_back() {
    let story = Story::new();

    let dry = story.run("apply --dry-run").expect(0);
    assert!(dry.stdout.contains("+ create network web-net"), "{dry}");
    assert_eq!(story.networks(), 0, "a dry run writes nothing");
    story.run("diff").expect(1);

    let applied = story.run("apply -o json").expect(0).json();
    assert_eq!(applied["summary"], json!({ "operations": 6, "refused": 0, "unreachable": 0, "failed": 0 }));
    assert!(applied["operations"].as_array().unwrap().iter().all(|operation| operation["outcome"] == "Done"));
    let nothing = story.run("diff").expect(0);
    assert_eq!((nothing.stdout.as_str(), nothing.stderr.as_str()), ("", "No differences.\n"));
    assert_eq!(story.run("apply -o json").expect(0).json()["summary"]["operations"], 0);

    let table = story.run("get destinations").expect(0);
    assert!(table.stdout.starts_with("NAMESPACE   NAME   SERVER       NETWORK"), "{table}");
    assert_eq!(table.stdout.matches("AsDeclared").count(), 2, "{table}");
    let web = story.run("get destination/web -o json").expect(0).json();
    assert_eq!(web["apiVersion"], "landfall/v1");
    assert_eq!(web["metadata"]["namespace"], "shop");
    assert_eq!(web["spec"]["network"]["name"], "web-net");
    assert_eq!(web["status"]["network"]["subnets"], json!(["10.42.0.0/24"]));
    assert_eq!(web["status"]["members"][0]["aliases"], json!(["www"]));
    assert_eq!(web["status"]["conditions"][0]["status"], "True");
    let all = story.run("get all -A -o json").expect(0).json();
    assert_eq!((&all["kind"], all["items"].as_array().unwrap().len()), (&json!("List"), 5));
    let described = story.run("describe destination web").expect(0);
    for expected in ["Subnets:        10.42.0.0/24", "Deletion blocked by:", "Application frontend, declared"] {
        assert!(described.stdout.contains(expected), "{expected}: {described}");
    }

    // Who is connected and does not run is connected, and seen not to run.
    story.host.api("POST", "/containers/orders/stop?t=0", &json!(null));
    let stopped = story.run("get destinations,databases").expect(0);
    assert_eq!(stopped.stdout.matches("(1 exited)").count(), 2, "{stopped}");
    let described = story.run("describe destination data").expect(0);
    assert!(described.stdout.contains("2 containers are connected; orders is exited."), "{described}");
    story.host.api("POST", "/containers/orders/start", &json!(null));

    // A saved observation gives the same plan as the server, also after the server has moved on.
    let saved = story.run("get server edge -o json --observed").expect(0);
    story.world.write("observed.json", &saved.stdout);
    let web_net = story.host.network_ids("web-net").remove(0);
    story.host.api("POST", &format!("/networks/{web_net}/disconnect"), &json!({ "Container": "traefik" }));
    story.run("diff --observed observed.json").expect(0);
    let detached = story.run("diff").expect(1);
    assert!(detached.stdout.contains("+ connect traefik to web-net for Destination/shop/web (ProxyDetached)"));
    story.run("apply").expect(0);

    let refused = story.run("delete destination web").expect(3);
    for expected in ["You must delete all resources", "Application frontend, declared"] {
        assert!(refused.stdout.contains(expected), "{expected}: {refused}");
    }
    assert_eq!(story.networks(), 2);
    story.run("apply --set other").expect(3);

    story.run("delete destination nope").expect(2);
    let ignored = story.run("delete destination nope --ignore-not-found").expect(0);
    assert_eq!(ignored.stderr, "Nothing to delete.\n");

    let wrong = story.world.run_with_input("delete destination data --force", "web\n").expect(2);
    assert!(wrong.stderr.contains("nothing was done"), "{wrong}");
    assert_eq!(story.networks(), 2);
    let forced = story.world.run_with_input("delete destination data --force", "data\n").expect(0);
    assert!(forced.stdout.contains("- remove network data-net"), "{forced}");
    assert!(forced.stderr.contains("container frontend (running), which is also on web-net"), "{forced}");
    assert_eq!(story.networks(), 1);
    assert_eq!(story.host.state("orders"), "exited", "the containers stay");
}

#[test]
fn prune_removes_what_is_no_longer_declared_and_nothing_that_is_only_not_selected() {
    let story = Story::new();
    story.run("apply").expect(0);
    story.run("apply --prune -n infra --yes").expect(0);
    assert_eq!(story.networks(), 2, "the namespace shop was not selected");

    // Without the database and its destination, and with the application on one destination only.
    let documents: Vec<&str> = SHOP.split("---\n").collect();
    let shop = [documents[1], &documents[3].replace("  additionalDestinations: [data]\n", "")].join("---\n");
    story.world.write("manifests/all.yaml", &format!("{}---\n{shop}", server(&story.host.endpoint())));
    let unmanaged = story.run("diff").expect(0);
    assert!(unmanaged.stdout.contains("(Undeclared)"), "{unmanaged}");
    // What Landfall connected itself is in nobody's way; somebody else's container is.
    story.host.container("stranger").running();
    let data_net = story.host.network_ids("data-net").remove(0);
    story.host.api("POST", &format!("/networks/{data_net}/connect"), &json!({ "Container": "stranger" }));
    let blocked = story.run("apply --prune").expect(3);
    assert!(blocked.stdout.contains("Container stranger, running"), "{blocked}");
    assert!(!blocked.stdout.contains("- disconnect"), "nobody is let go of for a removal that is refused: {blocked}");
    for name in ["orders", "frontend", "stranger"] {
        story.host.api("DELETE", &format!("/containers/{name}?force=1"), &json!(null));
    }
    story.run("diff --prune").expect(1);
    let asked = story.on_a_terminal("apply --prune", "n\n").expect(2);
    // The terminal has shown the answer before the question was asked.
    let question = "This removes 1 network. Go on? [y/N] Nothing was done.\r\n";
    for expected in ["infra/edge\r\n  - remove network data-net", "1 operation planned (1 to remove).\r\n", question] {
        assert!(asked.stdout.contains(expected), "{expected:?}: {asked}");
    }
    assert!(!asked.stdout.contains("error"), "no is an answer: {asked}");
    assert_eq!(story.networks(), 2);
    story.run("apply --prune").expect(0);
    assert_eq!(story.networks(), 1);
    let waiting = story.run("apply --wait --timeout 2s").expect(2);
    assert!(waiting.stderr.contains("something is still waited for after 2s"), "{waiting}");
}

#[test]
fn environment_variables_are_named_before_a_deletion_and_their_values_never() {
    let story = Story::new();
    story.run("apply").expect(0);
    story.host.container("worker").env("DATABASE_URL=postgres://u:hunter2@orders/x").running();
    let ran = story.run("-vvv delete database orders").expect(0);
    assert!(!ran.to_string().contains("hunter2"), "{ran}");
    let ran = story.run("-vvv delete destination data --force --yes").expect(0);
    assert!(ran.stderr.contains("environment variable DATABASE_URL mentions orders"), "{ran}");
    assert!(!ran.to_string().contains("hunter2"), "{ran}");
}

#[test]
fn ctrl_c_completes_what_is_under_way_and_begins_nothing_new() {
    let host = Host::start();
    host.container("traefik").running();
    let mut manifests = server(&host.endpoint());
    for number in 0..40 {
        write!(
            manifests,
            "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: d{number} }}\n\
             spec: {{ server: infra/edge, network: {{ name: many-{number} }} }}\n"
        )
        .unwrap();
    }
    let world = World::new(&manifests);
    let created = || {
        let networks = host.get("/networks");
        let mine = |name: &str| name.starts_with("many-");
        networks.as_array().unwrap().iter().filter(|network| mine(network["Name"].as_str().unwrap())).count()
    };
    let child = super::run::command()
        .current_dir(world.path())
        .env("XDG_STATE_HOME", world.path().join("state"))
        .args(["apply", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the first network", || (created() > 0).then_some(()));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("completing what is under way"), "{stderr}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |outcome: &str| {
        let operations = report["operations"].as_array().unwrap().iter();
        operations.filter(|it| it["op"] == "CreateNetwork" && it["outcome"] == outcome).count()
    };
    assert_eq!((count("Done"), count("Done") + count("Skipped")), (created(), 40), "the report is true");
    assert!(count("Skipped") > 0);
    world.run("apply").expect(0);
    assert_eq!(created(), 40);
    world.run("diff").expect(0);
}
