//! What precedes a rollout on a Swarm, and what a service takes the place of: hooks, and services that were adopted until now.

use serde_json::json;

use super::on_swarm::{SPEC, answer, services, swarm, tasks, version};
use super::workloads::manifests;
use crate::cli::world::World;
use crate::support::{Host, wait_for};

#[test]
fn a_hook_precedes_the_rollout_of_a_service_and_its_failure_changes_nothing() {
    let host = swarm();
    let hook = |command: &str| format!("  hooks: {{ preDeploy: {{ command: [sh, -c, '{command}'] }} }}\n");
    let world = World::new(&manifests(&host, &(version("one") + &hook("true"))));
    world.run("apply").expect(0);
    let before = tasks(&host, "shop-frontend");

    world.write("manifests/all.yaml", &manifests(&host, &(version("two") + &hook("echo migrating; exit 3"))));
    let failed = world.run("apply").expect(2).to_string();
    for said in ["HookFailed", "exited with code 3", "migrating"] {
        assert!(failed.contains(said), "{said}: {failed}");
    }
    assert_eq!((tasks(&host, "shop-frontend"), answer(&host)), (before, "one".to_owned()));

    // On the destination, with the new version's variables, while the old one serves.
    let asks = hook("[ $VERSION = two ] && [ $(wget -q -O - http://frontend:8080/) = one ]");
    world.write("manifests/all.yaml", &manifests(&host, &(version("two") + &asks)));
    world.run("apply").expect(0);
    assert_eq!(answer(&host), "two");
    let left = super::workloads::names(&host);
    assert!(left.iter().all(|name| !name.contains("predeploy")), "{left:?}");
    world.run("diff").expect(0);
}

/// As somebody's deploy script has made it.
fn foreign(host: &Host, name: &str) {
    let spec = json!({
        "Name": name, "Mode": { "Replicated": { "Replicas": 1 } }, "EndpointSpec": { "Mode": "dnsrr" },
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "landfall/busybox:test",
                "Command": ["sh", "-c", "mkdir -p /www && echo old > /www/index.html && exec httpd -f -p 8080 -h /www"],
                "Env": ["TOKEN=hunter2"],
            },
            "Networks": [{ "Target": "web-net", "Aliases": ["frontend"] }],
        }
    });
    host.post("/services/create", spec);
}

#[test]
fn an_adopted_service_becomes_landfalls_in_place_or_under_another_name() {
    for (name, more) in [("api", "  containerName: api\n"), ("legacy", "")] {
        let host = swarm();
        let empty =
            manifests(&host, "").split("---\napiVersion: landfall/v1\nkind: Application").next().unwrap().to_owned();
        let world = World::new(&empty);
        world.run("apply").expect(0);
        foreign(&host, name);
        world.write("manifests/all.yaml", &manifests(&host, &format!("  containers: {{ swarmServices: [{name}] }}\n")));
        world.run("apply --yes").expect(0);

        let annotated = manifests(&host, &(version("one") + more)).replace(
            "metadata: { name: frontend, namespace: shop }",
            &format!("metadata: {{ name: frontend, namespace: shop, annotations: {{ landfall/replaces: {name} }} }}"),
        );
        world.write("manifests/all.yaml", &annotated);
        let planned = world.run("diff").expect(1);
        let said = if more.is_empty() { "run by: something else as legacy -> Landfall" } else { "env TOKEN: removed" };
        assert!(planned.stdout.contains(said) && planned.stdout.contains(", disruptive"), "{planned}");
        assert!(!planned.to_string().contains("hunter2"), "{planned}");
        world.run("apply --yes").expect(0);
        let expected = if more.is_empty() { "shop-frontend" } else { "api" };
        assert_eq!(services(&host), [expected], "{name}");
        // The task of a service that is removed answers until it has ended.
        wait_for("the new version alone answers", || (answer(&host) == "one").then_some(()));
        world.run("diff").expect(0);
    }
}

#[test]
fn an_application_waits_for_another_service_and_is_not_made_where_that_fails() {
    let host = swarm();
    let api = |check: &str| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: api, namespace: shop }}\nspec:\n  destination: web\n{}",
            SPEC.replace("http://127.0.0.1:8080/", check)
        )
    };
    let frontend = format!("{SPEC}  dependsOn: [Application/api]\n");
    let world = World::new(&(manifests(&host, &frontend) + &api("http://127.0.0.1:9/")));
    world.run("apply").expect(2);
    assert_eq!(services(&host), Vec::<String>::new(), "what it depends on has failed");
    world.write("manifests/all.yaml", &(manifests(&host, &frontend) + &api("http://127.0.0.1:8080/")));
    let applied = world.run("apply").expect(0);
    let at = |text: &str| applied.stdout.find(text).unwrap_or_else(|| panic!("{text}: {applied}"));
    assert!(at("create service shop-api") < at("create service shop-frontend"), "{applied}");
    world.run("diff").expect(0);
}
