//! Commands that talk to servers, where the server does not answer or its answer was saved before.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::world::{SHOP, World, server};

fn unreachable() -> World {
    World::new(&(server("unix:///nowhere/docker.sock") + SHOP))
}

/// A saved observation with the two containers and the proxy, on no network but the default one.
fn snapshot(networks: &Value) -> String {
    let container = |digit: &str, name: &str, labels: Value| {
        json!({
            "id": digit.repeat(64), "name": name, "image": "busybox", "state": "running", "labels": labels,
            "network_mode": "bridge", "endpoints": [],
        })
    };
    let document = json!({
        "format": "landfall.observed", "format_version": "1.0", "server": "infra/edge",
        "observed": {
            "engine": { "id": "E", "name": "edge", "version": "20.10.24", "swarm": { "state": "inactive" } },
            "networks": networks,
            "containers": [
                container("a", "frontend", json!({})),
                container("b", "orders", json!({ "app": "orders" })),
                container("c", "traefik", json!({})),
            ],
        },
    });
    document.to_string()
}

#[test]
fn pain_42_an_absent_daemon_is_exit_code_2_with_server_attempt_and_hint_for_every_command() {
    let world = unreachable();
    for arguments in [
        "diff",
        "drift",
        "scan edge",
        "apply",
        "apply --dry-run",
        "apply --prune --yes",
        "get servers",
        "get destination web",
        "get all -o json",
        "describe destination web",
        "describe server edge",
        "delete destination web",
        "get server edge -o json --observed",
    ] {
        let ran = world.run(arguments).expect(2);
        for expected in ["infra/edge", "/nowhere/docker.sock", "there is no socket", "hint:"] {
            assert!(ran.stderr.contains(expected), "{arguments}: {expected}\n{ran}");
        }
    }
}

#[test]
fn a_socket_that_denies_access_names_the_group() {
    let world = World::new("");
    let socket = world.path().join("docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).unwrap();
    world.write("manifests/all.yaml", &server(&format!("unix://{}", socket.display())));
    // Root may do anything, so this is nobody, who has to get at the program: the checkout may be in a home of root's.
    std::fs::set_permissions(world.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = world.path().join("landfall");
    std::fs::copy(env!("CARGO_BIN_EXE_landfall"), &program).unwrap();
    let mut nobody = std::process::Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).arg("diff");
    nobody.current_dir(world.path()).env("XDG_STATE_HOME", world.path().join("state")).env_remove("LANDFALL_MANIFESTS");
    let ran = super::run::finish(&mut nobody, "").expect(2);
    for expected in ["Server/infra/edge denies access", "docker.sock", "hint:", "group"] {
        assert!(ran.stderr.contains(expected), "{expected}: {ran}");
    }
}

#[test]
fn an_unreachable_server_makes_its_objects_unknown() {
    let world = unreachable();
    let table = world.run("get destinations").expect(2);
    assert_eq!(table.stdout.matches("Unknown").count(), 2, "{table}");
    assert_eq!(table.stdout.matches("ServerUnreachable").count(), 2, "{table}");
    let document = world.run("get destination web -o json").expect(2).json();
    assert_eq!(document["kind"], "Destination");
    assert_eq!(document["status"]["conditions"][0]["type"], "Ready");
    assert_eq!(document["status"]["conditions"][0]["status"], "Unknown");
    let plan = world.run("diff -o json").expect(2).json();
    assert_eq!(plan["servers"][0], json!({ "name": "infra/edge", "reachable": false, "type": null }));
    assert_eq!(plan["summary"]["unreachable"], 1);
    assert_eq!(plan["notes"][0]["reason"], "ServerUnreachable");
}

#[test]
fn a_concurrency_of_none_is_refused() {
    let world = unreachable();
    for arguments in ["apply", "diff", "drift", "get servers", "delete destination web", "scan edge", "run"] {
        for (count, says) in [("0", "at least one server"), ("many", "not a number of servers")] {
            let ran = world.run(&format!("{arguments} --concurrency {count}")).expect(2);
            assert!(ran.stderr.contains(says), "{arguments}: {ran}");
        }
    }
    let ran = world.run("diff --concurrency 1").expect(2);
    assert!(ran.stderr.contains("cannot be reached"), "{ran}");
}

#[test]
fn force_forgets_a_destination_on_a_server_that_is_gone() {
    let world = unreachable();
    let ran = world.run("delete destination data --force --yes").expect(0);
    assert!(ran.stdout.contains("(Orphaned)"), "{ran}");
    let refused = world.run_with_input("delete destination data --force", "web\n").expect(2);
    assert!(refused.stderr.contains("was not typed; nothing was done"), "{refused}");
    world.run_with_input("delete destination data --force", "data\n").expect(0);
}

#[test]
fn bad_manifests_are_exit_code_2_before_any_server_is_asked() {
    let world = unreachable();
    world.write("manifests/bad.yaml", "apiVersion: landfall/v1\nkind: Destinaton\nmetadata: { name: x }\n");
    for arguments in ["diff", "apply", "get servers", "describe server edge", "delete destination web", "drift"] {
        let ran = world.run(arguments).expect(2);
        assert!(ran.stderr.contains("manifests/bad.yaml"), "{arguments}: {ran}");
        assert!(!ran.stderr.contains("cannot be reached"), "{arguments}: {ran}");
        assert_eq!(ran.stdout, "", "{arguments}");
    }
}

#[test]
fn a_plan_is_reproduced_from_a_saved_observation() {
    let world = unreachable();
    world.write("observed.json", &snapshot(&json!([])));
    let ran = world.run("diff --observed observed.json").expect(1);
    assert_eq!(
        ran.stdout,
        "infra/edge
  + create network data-net for Destination/shop/data (NetworkMissing)
  + connect frontend to data-net as www for Application/shop/frontend (MemberDetached)
  + connect orders to data-net for Database/shop/orders (MemberDetached)
  + create network web-net (10.42.0.0/24) for Destination/shop/web (NetworkMissing)
  + connect traefik to web-net for Destination/shop/web (ProxyDetached)
  + connect frontend to web-net as www for Application/shop/frontend (MemberDetached)
"
    );
    assert_eq!(ran.stderr, "6 operations planned (6 to create).\n");

    let json = world.run("diff --observed observed.json -o json").expect(1).json();
    assert_eq!(json["format_version"], "1.0");
    assert_eq!(json["summary"]["operations"], 6);
    assert_eq!(json["operations"][0]["outcome"], "Planned");
    let yaml = world.run("diff --observed observed.json -o yaml").expect(1);
    assert!(yaml.stdout.starts_with("format_version: '1.0'\n"), "{yaml}");
    let markdown = world.run("diff --observed observed.json -o markdown").expect(1);
    assert!(markdown.stdout.starts_with("### Landfall: 6 operations planned (6 to create)\n"), "{markdown}");
    assert!(markdown.stdout.contains("```diff\n+ create network data-net"), "{markdown}");
}

/// A network of the set's own, made for that destination.
fn owned(name: &str, destination: &str, id: &str, subnet: &str, options: Value) -> Value {
    let destination = landfall::core::api::ObjectKey::new(landfall::core::api::Kind::Destination, "shop", destination);
    let policy = landfall::core::api::DeletionPolicy::Delete;
    let labels = landfall::core::plan::ownership::labels("uid", "default", &destination, name, policy, None);
    json!({
        "id": id.repeat(64), "name": name, "driver": "bridge", "scope": "local", "internal": false, "attachable": false,
        "ingress": false, "ipv6": false, "subnets": [{ "subnet": subnet }], "options": options, "created": "",
        "labels": labels,
    })
}

#[test]
fn a_diff_without_prune_says_what_pruning_would_do() {
    let world = unreachable();
    world.write("observed.json", &snapshot(&json!([owned("old-net", "old", "d", "10.43.0.0/24", json!({}))])));
    let ran = world.run("diff --observed observed.json").expect(1);
    let line = "infra/edge: - remove network old-net for Destination/shop/old (Undeclared)\n";
    assert!(ran.stdout.ends_with(&format!("only with --prune\n  {line}")), "{ran}");
    assert!(ran.stderr.ends_with("(6 to create); `--prune` would do 1 operation more.\n"), "{ran}");
    let markdown = world.run("diff --observed observed.json -o markdown").expect(1);
    assert!(markdown.stdout.ends_with(&format!("\n#### Only with `--prune`\n\n```diff\n{line}```\n")), "{markdown}");
    let json = world.run("diff --observed observed.json -o json").expect(1).json();
    assert_eq!(json["prune"][0]["op"], "RemoveNetwork");
    assert_eq!(json["summary"]["operations"], 6);
    // Asked for, it is part of the plan, and nothing is only with it.
    let ran = world.run("diff --observed observed.json --prune --allow-mass-delete -o json").expect(1).json();
    assert_eq!((ran["summary"]["operations"].as_u64(), ran.get("prune")), (Some(7), None));
}

#[test]
fn a_replacement_names_the_fields_that_differ_with_both_values() {
    let world = unreachable();
    let manifests = server("unix:///nowhere/docker.sock")
        + &SHOP
            .replace("name: web-net,", "name: web-net, mtu: 1450,")
            .replace("  server: infra/edge", "  server: infra/edge\n  replacement: Reattach");
    world.write("manifests/all.yaml", &manifests);
    world.write(
        "observed.json",
        &snapshot(&json!([owned(
            "web-net",
            "web",
            "d",
            "10.42.0.0/24",
            json!({ "com.docker.network.driver.mtu": "1500" })
        )])),
    );
    let words = "spec.network.mtu is 1500 on the server and 1450 in the manifest";
    let ran = world.run("diff --observed observed.json").expect(1);
    let line = "  + create network web-net (10.42.0.0/24) for Destination/shop/web (NetworkReplaced)\n";
    assert!(ran.stdout.contains(&format!("{line}      {words}\n")), "{ran}");
    let markdown = world.run("diff --observed observed.json -o markdown").expect(1);
    assert!(markdown.stdout.contains(&format!("(NetworkReplaced)\n#   {words}\n")), "{markdown}");
    let json = world.run("diff --observed observed.json -o json").expect(1).json();
    let create = json["operations"].as_array().unwrap().iter().find(|it| !it["differences"].is_null()).unwrap();
    let expected = json!([{ "field": "spec.network.mtu", "observed": "1500", "declared": "1450" }]);
    assert_eq!((&create["op"], &create["differences"]), (&json!("CreateNetwork"), &expected));
    assert!(ran.stderr.contains("to remove"), "{ran}");
}

#[test]
fn a_selection_narrows_the_plan_and_nothing_is_said_of_the_rest() {
    let world = unreachable();
    world.write("observed.json", &snapshot(&json!([])));
    let selected = world.run("diff --observed observed.json -l tier=front").expect(1);
    assert_eq!(
        selected.stdout,
        "infra/edge
  + create network web-net (10.42.0.0/24) for Destination/shop/web (NetworkMissing)
  + connect traefik to web-net for Destination/shop/web (ProxyDetached)
  + connect frontend to web-net as www for Application/shop/frontend (MemberDetached)
  ? waiting Application/shop/frontend: The network of Destination/shop/data does not exist, and Destination/shop/data is not selected. (NetworkNotFound)
      hint: apply Destination/shop/data first, or leave out `-n` and `-l`
"
    );
    let none = world.run("diff --observed observed.json -n blog").expect(0);
    assert_eq!(
        (none.stdout.as_str(), none.stderr.as_str()),
        (
            "",
            "warning: no object in the namespace \"blog\" is declared; `landfall get all` lists what is declared\nNo differences.\n"
        )
    );
    world.run("diff --prune -l tier=front").expect(2);
    world.run("diff -n shop -A").expect(2);
}

#[test]
fn a_refusal_outranks_differences() {
    let world = unreachable();
    let foreign = json!([{
        "id": "d".repeat(64), "name": "web-net", "driver": "bridge", "scope": "local", "internal": false,
        "attachable": false, "ingress": false, "ipv6": false, "subnets": [], "options": {}, "labels": {}, "created": "",
    }]);
    world.write("observed.json", &snapshot(&foreign));
    let ran = world.run("diff --observed observed.json").expect(3);
    assert!(ran.stdout.contains("(AdoptionRequired)"), "{ran}");
    assert!(ran.stdout.contains("+ create network data-net"), "{ran}");
}

#[test]
fn what_is_not_a_saved_observation_is_told() {
    let world = unreachable();
    world.write("other.json", "{}");
    world.write("text.json", "hello");
    world.write("future.json", &snapshot(&json!([])).replace("\"1.0\"", "\"2.0\""));
    world.write("elsewhere.json", &snapshot(&json!([])).replace("infra/edge", "infra/other"));
    for (file, message) in [
        ("missing.json", "cannot read the observation"),
        ("other.json", "is not a saved observation"),
        ("text.json", "cannot read the observation"),
        ("future.json", "has the format version \"2.0\""),
        ("elsewhere.json", "which no manifest declares"),
    ] {
        let ran = world.run(&format!("diff --observed {file}")).expect(2);
        assert!(ran.stderr.contains(message), "{file}: {ran}");
    }
}

#[test]
fn a_scan_writes_nothing_that_would_not_be_valid_beside_the_manifests() {
    let world = unreachable();
    world.write("manifests/all.yaml", &server("unix:///nowhere/docker.sock").replace("'*'", "shop"));
    for named in ["edge", "unix:///nowhere/docker.sock"] {
        let ran = world.run(&format!("scan {named} -n blog")).expect(2);
        assert!(ran.stderr.contains("Server/infra/edge may not be used by the namespace blog"), "{ran}");
        assert_eq!(ran.stdout, "");
        let ran = world.run(&format!("scan {named} -n shop")).expect(2);
        assert!(ran.stderr.contains("there is no socket"), "{ran}");
    }
}

#[test]
fn names_that_are_not_declared_get_a_hint() {
    let world = unreachable();
    for (arguments, message) in [
        ("get destination wbe", "no manifest declares a destination \"wbe\""),
        ("get destinaton web", "unknown kind \"destinaton\""),
        ("describe application frontend -n blog", "there is one in the namespace \"shop\""),
        ("get destinations -l =", "has no valid label name"),
        ("delete destination", "No name is given"),
        ("delete server edge", "a server is not Landfall's to delete"),
        ("get destination web --observed -o json", "--observed saves the observation of one server"),
    ] {
        let ran = world.run(arguments).expect(2);
        assert!(ran.stderr.contains(message), "{arguments}: {ran}");
        assert_eq!(ran.stdout, "", "{arguments}");
    }
    world.run("delete").expect(2);
}

#[test]
fn names_are_listed_without_asking_a_server() {
    let world = unreachable();
    assert_eq!(world.run("get dest -o name").expect(0).stdout, "destination/data\ndestination/web\n");
    assert_eq!(world.run("get all -o name --server edge").expect(0).stdout.lines().count(), 5);
    let empty = world.run("get svc -o json").expect(0);
    assert_eq!(empty.json(), json!({ "apiVersion": "landfall/v1", "kind": "List", "items": [] }));
    assert_eq!(empty.stderr, "No services found.\n");
}

#[test]
fn several_kinds_are_listed_at_once() {
    let world = unreachable();
    let names = |arguments: &str| world.run(&format!("get {arguments} -o name")).expect(0).stdout;
    assert_eq!(names("dest,db"), "destination/data\ndestination/web\ndatabase/orders\n");
    assert_eq!(names("databases,dest/web"), "destination/web\ndatabase/orders\n");
    assert_eq!(names("dest/web,dest/data"), "destination/data\ndestination/web\n");
    assert_eq!(names("all,dest"), names("all"));
    let table = world.run("get db,app").expect(2).stdout;
    assert_eq!(table.matches("NAMESPACE").count(), 2, "{table}");
    assert!(table.contains("database/orders") && table.contains("application/frontend"), "{table}");
    for (arguments, message) in [("get dest,nonsense", "unknown kind \"nonsense\""), ("get dest,", "unknown kind \"\"")]
    {
        let ran = world.run(arguments).expect(2);
        assert!(ran.stderr.contains(message), "{ran}");
    }
}

#[test]
fn tables_without_headings_are_for_scripts() {
    let world = unreachable();
    let rows = world.run("get destinations --no-headers").expect(2).stdout;
    assert_eq!(rows.lines().count(), 2, "{rows}");
    assert!(rows.starts_with("shop   data   infra/edge   data-net"), "{rows}");
    assert_eq!(world.run("get all --no-headers").expect(2).stdout.matches("NAME").count(), 0);
}

#[test]
fn an_observation_is_saved_as_json_and_nothing_else() {
    let world = unreachable();
    for format in ["yaml", "table", "name"] {
        let ran = world.run(&format!("get server edge --observed -o {format}")).expect(2);
        let hint = "landfall get server edge -n infra -o json --observed > edge.json";
        assert!(ran.stderr.contains("--observed needs `-o json`") && ran.stderr.contains(hint), "{ran}");
    }
}

#[test]
fn why_a_server_does_not_answer_is_said_once() {
    let world = unreachable();
    for object in ["server edge", "destination web", "application frontend"] {
        let ran = world.run(&format!("describe {object}")).expect(2);
        assert_eq!(ran.to_string().matches("there is no socket").count(), 1, "{ran}");
        assert!(ran.stdout.contains("ServerUnreachable"), "{ran}");
    }
}

#[test]
fn manifests_come_from_standard_input_and_from_the_environment() {
    let world = unreachable();
    let manifests = server("unix:///nowhere/docker.sock");
    assert_eq!(world.run_with_input("get servers -o name -f -", &manifests).expect(0).stdout, "server/edge\n");
    let mut command = super::run::command();
    command.current_dir("/").env("LANDFALL_MANIFESTS", world.path().join("manifests"));
    let ran = super::run::finish(command.args(["get", "dest", "-o", "name"]), "");
    assert_eq!(ran.expect(0).stdout, "destination/data\ndestination/web\n");
}

#[test]
fn the_environment_makes_no_flag_required() {
    for arguments in [&["get"][..], &["describe"], &["scan"], &["get", "dest", "--nope"]] {
        let mut command = super::run::command();
        let ran = super::run::finish(command.env("LANDFALL_MANIFESTS", "manifests").args(arguments), "").expect(2);
        assert!(ran.stderr.contains("Usage: landfall") && !ran.stderr.contains("--filename"), "{ran}");
    }
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let world = unreachable();
    let mut command = super::run::command();
    let ran = super::run::finish(command.current_dir(world.path()).env("LANDFALL_MANIFESTS", "").arg("validate"), "");
    assert_eq!(ran.expect(0).stdout, "5 objects are valid\n");
}

#[test]
fn names_are_in_the_order_in_which_people_count_and_servers_may_be_several() {
    let mut manifests = String::new();
    for server in ["a", "b", "c"] {
        manifests += &format!(
            "---\napiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: {server} }}\nspec: {{ endpoint: unix:///nowhere/{server}.sock }}\n"
        );
        for number in [1, 2, 10] {
            manifests += &format!(
                "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {server}-net-{number} }}\nspec: {{ server: {server}, network: {{ name: net-{number} }} }}\n"
            );
        }
    }
    let world = World::new(&manifests);
    let names = |arguments: &str| world.run(arguments).expect(0).stdout.lines().map(str::to_owned).collect::<Vec<_>>();
    let of = |server: &str| ["1", "2", "10"].map(|number| format!("destination/{server}-net-{number}"));
    assert_eq!(names("get dest -o name"), [of("a"), of("b"), of("c")].concat());
    assert_eq!(names("get dest -o name --server a,c"), [of("a"), of("c")].concat());
    assert_eq!(names("get dest -o name --server b"), of("b"));
    assert!(world.run("get dest --server a,nope").expect(2).stderr.contains("nope"));
    // Wherever many are looked at: of servers that are left out nothing is said.
    for command in ["apply --dry-run", "diff", "drift", "top"] {
        let ran = world.run(&format!("{command} --server a,c")).expect(2);
        let said = ran.stdout.clone() + &ran.stderr;
        assert!(said.contains("default/a") && said.contains("default/c") && !said.contains("default/b"), "{ran}");
        assert!(world.run(&format!("{command} --server nope")).expect(2).stderr.contains("nope"), "{command}");
    }
    let graph = world.run("graph --server b").expect(0).stdout;
    assert!(graph.contains("b-net-10") && !graph.contains("a-net") && !graph.contains("c-net"), "{graph}");
}
