//! Managed applications and databases: from nothing, through changes, to nothing; undisturbed and interrupted anywhere.

use landfall::api::Kind;
use landfall::manifest::{self, Source};
use landfall::observed::Health;
use landfall::plan::{Call, Group, Operation, Plan};
use landfall::workload::seen::ImageState;
use std::sync::Arc;

use crate::support::scenario::{Scenario, container, edge, key, network};
use crate::support::{simulator, workloads};

const DESTINATION: &str = "
---
apiVersion: landfall/v1
kind: Server
metadata: { name: edge-1 }
spec: { proxy: { container: traefik, type: Traefik }, allowedNamespaces: [shop] }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: web, namespace: shop }
spec: { server: default/edge-1, network: { name: web-net, subnets: [{ subnet: 10.42.0.0/24 }] } }
";

fn application(spec: &str) -> String {
    format!(
        "{DESTINATION}---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: frontend, namespace: shop }}\nspec:\n  destination: web\n{spec}"
    )
}

/// A server on which the destination's network exists already, with the proxy on it.
fn world(manifests: &str) -> Scenario {
    let mut scenario = Scenario::new().network(network("web-net").subnet("10.42.0.0/24").of("shop/web"));
    scenario = scenario.container(container("traefik").on("bridge").on("web-net").marked());
    declare(&mut scenario, manifests);
    scenario
}

fn declare(scenario: &mut Scenario, manifests: &str) {
    let sources = [Source { name: "m.yaml".to_owned(), bytes: manifests.as_bytes().to_vec() }];
    let loaded = manifest::load(&sources).unwrap_or_else(|found| panic!("{found:#?}"));
    scenario.desired = loaded.desired("default").unwrap();
    for member in scenario
        .desired
        .servers
        .values_mut()
        .map(Arc::make_mut)
        .flat_map(|it| &mut it.destinations)
        .flat_map(|it| &mut it.members)
    {
        let Some(workload) = &mut member.workload else { continue };
        for secret in std::sync::Arc::make_mut(workload).container.secrets_mut() {
            secret.set(Ok("hunter2".to_owned()));
        }
    }
}

/// What the daemon has of the images that are declared: all of them, as if they had been pulled.
fn have_images(scenario: &mut Scenario) {
    let members = scenario.desired.servers.values().flat_map(|it| &it.destinations).flat_map(|it| &it.members);
    let images: Vec<String> = members.filter_map(|it| Some(it.workload.as_ref()?.image.clone())).collect();
    for reference in images {
        let seen = ImageState { local: Some(workloads::image(&reference)), ..ImageState::default() };
        scenario.state().images.insert(reference, seen);
    }
}

/// Carries out groups as the executor does: a failed operation undoes its group and skips what goes on with it. Ends after `most` calls, as a
/// crash would. Returns whether all was done.
fn execute(scenario: &mut Scenario, plan: &Plan, most: &mut usize, watch: &mut dyn FnMut(&Scenario)) -> bool {
    let mut failed = false;
    for group in plan.servers.iter().flat_map(|server| &server.groups) {
        if failed && group.is_of_workload() {
            continue;
        }
        match perform(scenario, group, most, watch) {
            Some(ok) => failed |= !ok,
            None => return false,
        }
    }
    !failed
}

/// `None`: the crash.
fn perform(scenario: &mut Scenario, group: &Group, most: &mut usize, watch: &mut dyn FnMut(&Scenario)) -> Option<bool> {
    let mut done: Vec<&Operation> = Vec::new();
    for operation in &group.operations {
        *most = most.checked_sub(1)?;
        if one(scenario, &operation.call).is_err() {
            for undo in done.iter().rev().filter_map(|it| it.undo.as_ref()).chain(operation.undo.as_ref()) {
                *most = most.checked_sub(1)?;
                one(scenario, undo).unwrap();
            }
            return Some(false);
        }
        done.push(operation);
        watch(scenario);
    }
    Some(true)
}

fn one(scenario: &mut Scenario, call: &Call) -> Result<(), String> {
    match call {
        Call::Workload(call) => workloads::perform(scenario.state(), call),
        call => {
            simulator::call(scenario.state(), call);
            Ok(())
        }
    }
}

fn settle(scenario: &mut Scenario) {
    for _ in 0..10 {
        let plan = scenario.plan();
        if plan.servers.iter().all(|server| server.groups.is_empty()) {
            return;
        }
        execute(scenario, &plan, &mut usize::MAX.clone(), &mut |_| {});
    }
    panic!("it does not come to rest:\n{}", scenario.plan());
}

/// Names, images and states of what runs for the application.
fn containers(scenario: &Scenario) -> Vec<String> {
    let state = scenario.observed[&edge()].as_ref().unwrap();
    let mut all: Vec<String> = state
        .containers
        .iter()
        .filter(|it| it.labels.contains_key("landfall.object"))
        .map(|it| format!("{} {} {}", it.name, it.image, it.state.as_str()))
        .collect();
    all.sort();
    all
}

fn serving(scenario: &Scenario) -> usize {
    let state = scenario.observed[&edge()].as_ref().unwrap();
    let ours = state.containers.iter().filter(|it| it.labels.contains_key("landfall.object"));
    ours.filter(|it| it.is_serving() && it.health != Some(Health::Unhealthy)).count()
}

const CHECK: &str = "  healthcheck: { command: [wget, -qO-, http://127.0.0.1/], intervalSeconds: 5 }\n";

#[test]
fn an_application_is_pulled_made_and_started_and_then_nothing_is_left_to_do() {
    let mut world = world(&application(&format!(
        "  image: shop/frontend:1\n  replicas: 2\n  env: [{{ name: LOG, value: info }}]\n  volumes: [{{ volume: uploads, mountPath: /data }}]\n{CHECK}"
    )));
    world.expect_plan(
        "
        default/edge-1
          + pull image shop/frontend:1 for Application/shop/frontend (WorkloadMissing)
          + create volume uploads for Application/shop/frontend (WorkloadMissing)
          + create container shop-frontend-1 of shop/frontend:1 on web-net for Application/shop/frontend (WorkloadMissing)
          + start shop-frontend-1 for Application/shop/frontend (WorkloadMissing)
          + create container shop-frontend-2 of shop/frontend:1 on web-net for Application/shop/frontend (WorkloadMissing)
          + start shop-frontend-2 for Application/shop/frontend (WorkloadMissing)
        ",
    );
    settle(&mut world);
    assert_eq!(
        containers(&world),
        ["shop-frontend-1 shop/frontend:1 running", "shop-frontend-2 shop/frontend:1 running"]
    );
    world.expect_plan("");
}

#[test]
fn a_new_image_starts_first_and_the_old_container_goes_when_the_new_one_is_healthy() {
    let mut world =
        world(&application(&format!("  image: shop/frontend:1\n  domains: [shop.example.com]\n  port: 80\n{CHECK}")));
    settle(&mut world);
    declare(
        &mut world,
        &application(&format!("  image: shop/frontend:2\n  domains: [shop.example.com]\n  port: 80\n{CHECK}")),
    );
    have_images(&mut world);
    world.expect_plan(
        "
        default/edge-1
          + create container shop-frontend-1-next of shop/frontend:2 on web-net (image: shop/frontend:1 -> shop/frontend:2) for Application/shop/frontend (ImageMoved)
          + start shop-frontend-1-next for Application/shop/frontend (ImageMoved)
          - drain and stop shop-frontend-1 for Application/shop/frontend (ImageMoved)
          - remove container shop-frontend-1 for Application/shop/frontend (ImageMoved)
          ~ rename shop-frontend-1-next to shop-frontend-1 for Application/shop/frontend (ImageMoved)
        ",
    );
    settle(&mut world);
    assert_eq!(containers(&world), ["shop-frontend-1 shop/frontend:2 running"]);
}

#[test]
fn killed_after_any_call_of_a_rollout_the_next_pass_ends_where_an_undisturbed_one_does_and_somebody_always_serves() {
    let (one, two) = (
        application(&format!("  image: shop/frontend:1\n{CHECK}")),
        application(&format!("  image: shop/frontend:2\n  env: [{{ name: LOG, value: debug }}]\n{CHECK}")),
    );
    let mut crashed = 0;
    for calls in 0..20 {
        let mut world = world(&one);
        settle(&mut world);
        declare(&mut world, &two);
        have_images(&mut world);
        let plan = world.plan();
        let mut left = calls;
        let watch = &mut |world: &Scenario| assert!(serving(world) >= 1, "after {calls} calls nobody serves");
        if execute(&mut world, &plan, &mut left, watch) {
            break;
        }
        crashed += 1;
        settle(&mut world);
        assert_eq!(containers(&world), ["shop-frontend-1 shop/frontend:2 running"], "killed after {calls} calls");
    }
    assert_eq!(crashed, 5, "create, start, stop, remove and rename");
}

#[test]
fn a_version_that_never_gets_healthy_leaves_the_old_one_serving_and_is_not_tried_again() {
    let mut world = world(&application(&format!("  image: shop/frontend:1\n{CHECK}")));
    settle(&mut world);
    declare(&mut world, &application(&format!("  image: shop/frontend:sick\n{CHECK}")));
    have_images(&mut world);
    let plan = world.plan();
    assert!(!execute(&mut world, &plan, &mut usize::MAX.clone(), &mut |_| {}));
    assert_eq!(containers(&world), ["shop-frontend-1 shop/frontend:1 running"]);
    let attempt = plan.attempts().next().expect("an attempt").to_owned();
    world.request.failed_attempts.insert(attempt, "The container was unhealthy.".to_owned());
    world.expect_plan(
        "
        default/edge-1
          ! refused Application/shop/frontend: It did not become healthy, and is not tried again until something changes. The container was unhealthy. (HealthCheckFailed)
              hint: change the manifest or the image, or ask for another try: landfall reconcile
        ",
    );
    declare(&mut world, &application(&format!("  image: shop/frontend:3\n{CHECK}")));
    have_images(&mut world);
    settle(&mut world);
    assert_eq!(containers(&world), ["shop-frontend-1 shop/frontend:3 running"]);
}

#[test]
fn what_cannot_be_there_twice_stops_first_says_why_and_comes_back_if_its_successor_is_sick() {
    let with = |tag: &str| {
        application(&format!(
            "  image: shop/frontend:{tag}\n  ports: [{{ containerPort: 80, hostPort: 8080 }}]\n{CHECK}"
        ))
    };
    let mut world = world(&with("1"));
    settle(&mut world);
    declare(&mut world, &with("sick"));
    have_images(&mut world);
    world.expect_plan(
        "
        default/edge-1
          - stop shop-frontend-1 for Application/shop/frontend (ImageMoved), disruptive
          + create container shop-frontend-1-next of shop/frontend:sick on web-net (image: shop/frontend:1 -> shop/frontend:sick) for Application/shop/frontend (ImageMoved)
          + start shop-frontend-1-next for Application/shop/frontend (ImageMoved)
          - remove container shop-frontend-1 for Application/shop/frontend (ImageMoved)
          ~ rename shop-frontend-1-next to shop-frontend-1 for Application/shop/frontend (ImageMoved)
          * warning Application/shop/frontend: \"shop-frontend-1\" stops before its successor starts, because it publishes the port 8080->80/tcp: requests fail until that is healthy. (RolloutInterrupts)
              hint: `rollout: { strategy: StartFirst }` starts the new one first, where two at once do no harm
        ",
    );
    let plan = world.plan();
    execute(&mut world, &plan, &mut usize::MAX.clone(), &mut |_| {});
    assert_eq!(containers(&world), ["shop-frontend-1 shop/frontend:1 running"]);
}

#[test]
fn limits_change_in_place_and_a_variable_that_is_taken_out_is_seen_as_removed() {
    let mut world = world(&application(
        "  image: shop/frontend:1\n  env: [{ name: LOG, value: info }, { name: OLD, value: yes }]\n  resources: { memory: 64Mi }\n",
    ));
    settle(&mut world);
    declare(
        &mut world,
        &application(
            "  image: shop/frontend:1\n  env: [{ name: LOG, value: info }, { name: OLD, value: yes }]\n  restart: always\n  resources: { memory: 128Mi }\n",
        ),
    );
    world.expect_plan(
        "
        default/edge-1
          ~ update shop-frontend-1 in place (restart: unless-stopped -> always; resources.memory: 67108864 -> 134217728) for Application/shop/frontend (WorkloadDiffers)
        ",
    );
    settle(&mut world);
    declare(
        &mut world,
        &application(
            "  image: shop/frontend:1\n  env: [{ name: LOG, value: debug }]\n  restart: always\n  resources: { memory: 128Mi }\n",
        ),
    );
    let plan = world.plan().to_string();
    assert!(plan.contains("(env LOG: info -> debug; env OLD: yes -> unset)"), "{plan}");
}

#[test]
fn a_secret_is_never_shown_and_a_changed_one_is_a_change() {
    let spec = "  image: shop/frontend:1\n  env: [{ name: TOKEN, valueFrom: { env: TOKEN } }]\n";
    let mut world = world(&application(spec));
    settle(&mut world);
    world.expect_plan("");
    for member in world.server().destinations.iter_mut().flat_map(|it| &mut it.members) {
        let workload = std::sync::Arc::make_mut(member.workload.as_mut().unwrap());
        workload.container.secrets_mut().for_each(|secret| secret.set(Ok("correct horse".to_owned())));
    }
    let plan = world.plan();
    let (text, debug) = (plan.to_string(), format!("{plan:?}"));
    assert!(text.contains("(env TOKEN: changed)"), "{text}");
    for secret in ["hunter2", "correct horse"] {
        assert!(!text.contains(secret) && !debug.contains(secret));
    }
    for member in world.server().destinations.iter_mut().flat_map(|it| &mut it.members) {
        let workload = std::sync::Arc::make_mut(member.workload.as_mut().unwrap());
        workload
            .container
            .secrets_mut()
            .for_each(|secret| secret.set(Err("the environment variable TOKEN is not set".to_owned())));
    }
    let plan = world.plan().to_string();
    assert!(
        plan.contains("! refused Application/shop/frontend: The value of env TOKEN is missing")
            && plan.contains("SecretMissing"),
        "{plan}"
    );
    assert!(!plan.contains("stop shop-frontend-1"), "{plan}");
}

#[test]
fn a_container_of_the_same_name_that_is_somebody_elses_is_never_touched() {
    let world = world(&application("  image: shop/frontend:1\n")).container(container("shop-frontend-1").on("bridge"));
    let plan = world.plan().to_string();
    assert!(plan.contains("! refused Application/shop/frontend") && plan.contains("NameTaken"), "{plan}");
    assert!(!plan.contains("create container"), "{plan}");
}

#[test]
fn what_is_no_longer_declared_is_stopped_and_removed_by_prune_only() {
    let mut world = world(&application("  image: shop/frontend:1\n"));
    settle(&mut world);
    declare(&mut world, DESTINATION);
    world.expect_plan(
        "
        default/edge-1
          . unmanaged Destination/shop/web: Landfall connected \"shop-frontend-1\" to \"web-net\" for a resource that is no longer declared there. (Undeclared)
              hint: `--prune` disconnects it
          . unmanaged Application/shop/frontend: No manifest declares Application/shop/frontend any more, and its container \"shop-frontend-1\" exists. (Undeclared)
              hint: `--prune` stops and removes it; its volumes stay
        ",
    );
    let mut world = world.prune();
    let plan = world.plan().to_string();
    assert!(plan.contains("- stop shop-frontend-1") && plan.contains("- remove container shop-frontend-1"), "{plan}");
    settle(&mut world);
    assert!(containers(&world).is_empty());
}

#[test]
fn an_application_waits_for_its_database_and_is_started_after_it() {
    let database = "---\napiVersion: landfall/v1\nkind: Database\nmetadata: { name: orders, namespace: shop }\nspec:\n  destination: web\n  engine: PostgreSQL\n  version: \"16\"\n  credentials: { password: { env: PASSWORD } }\n";
    let manifests = format!(
        "{}{database}",
        application(
            "  image: shop/frontend:1\n  dependsOn: [Database/orders]\n  env: [{ name: URL, valueFrom: { database: { name: orders, field: url } } }]\n"
        )
    );
    let mut world = world(&manifests);
    let plan = world.plan().to_string();
    let at = |text: &str| plan.find(text).unwrap_or_else(|| panic!("{text}: {plan}"));
    assert!(at("start shop-orders") < at("create container shop-frontend-1"), "{plan}");
    assert!(plan.contains("create volume shop-orders-data"), "{plan}");
    settle(&mut world);
    world.expect_plan("");
    let delete = world.delete(Kind::Application, "frontend").plan().to_string();
    assert!(delete.contains("remove container shop-frontend-1") && !delete.contains("shop-orders"), "{delete}");
    let _ = key(Kind::Application, "frontend");
}

fn database(spec: &str) -> String {
    format!(
        "{DESTINATION}---\napiVersion: landfall/v1\nkind: Database\nmetadata: {{ name: orders, namespace: shop }}\nspec:\n  destination: web\n  credentials: {{ password: {{ env: PASSWORD }} }}\n{spec}"
    )
}

/// A database that runs, with its data.
fn running_database(spec: &str) -> Scenario {
    let mut scenario = world(&database(spec));
    have_images(&mut scenario);
    let plan = scenario.plan();
    let mut all = usize::MAX;
    assert!(execute(&mut scenario, &plan, &mut all, &mut |_| {}));
    assert_eq!(scenario.plan().servers[0].groups, []);
    scenario
}

/// What is refused when the manifest says this instead; nothing is planned.
fn refused(scenario: &mut Scenario, spec: &str) -> String {
    declare(scenario, &database(spec));
    have_images(scenario);
    let plan = scenario.plan();
    assert_eq!(plan.servers[0].groups, [], "{plan}");
    plan.to_string()
}

#[test]
fn another_major_version_never_touches_the_data_and_another_minor_one_may() {
    let postgres = |version: &str| format!("  engine: PostgreSQL\n  version: '{version}'\n");
    let mut scenario = running_database(&postgres("15-alpine"));
    let said = refused(&mut scenario, &postgres("16"));
    assert!(
        said.contains("The data on the volume \"shop-orders-data\" was written by PostgreSQL 15-alpine, and the manifest declares PostgreSQL 16. (DataIncompatible)"),
        "{said}"
    );
    declare(&mut scenario, &database(&postgres("15.4")));
    have_images(&mut scenario);
    assert_ne!(scenario.plan().servers[0].groups, []);

    // The container is gone, the volume tells.
    scenario.state().containers.retain(|it| !it.name.starts_with("shop-orders"));
    assert!(!scenario.state().volumes.is_empty());
    let said = refused(&mut scenario, "  engine: MariaDB\n  version: '11'\n  storage: { volume: shop-orders-data }\n");
    assert!(said.contains("was written by PostgreSQL 15-alpine, and the manifest declares MariaDB 11"), "{said}");
    declare(&mut scenario, &database(&postgres("15-alpine")));
    have_images(&mut scenario);
    assert_ne!(scenario.plan().servers[0].groups, []);
}

#[test]
fn data_is_not_left_behind_in_the_old_volume_and_that_of_another_resource_is_not_taken() {
    let redis = |volume: &str| format!("  engine: Redis\n  storage: {{ volume: {volume} }}\n");
    let mut scenario = running_database(&redis("first"));
    let said = refused(&mut scenario, &redis("second"));
    assert!(
        said.contains("spec.storage.volume is \"second\" in the manifest, and the data is in the volume \"first\". (VolumeChanged)"),
        "{said}"
    );
    let mut scenario = world(&database(&redis("first")));
    let labels = [("landfall.object".to_owned(), "Database/shop/sessions".to_owned())].into();
    scenario.state().volumes.insert("first".to_owned(), labels);
    let said = refused(&mut scenario, &redis("first"));
    assert!(
        said.contains("The volume \"first\" holds the data of Database/shop/sessions. (DataIncompatible)"),
        "{said}"
    );
}
