//! Managed applications and databases: from nothing, through changes, to nothing; undisturbed and interrupted anywhere.

use landfall::core::api::Kind;
use landfall::core::manifest::{self, Source};
use landfall::core::observed::Health;
use landfall::core::plan::{Call, Group, Operation, Plan};
use landfall::core::workload::seen::{ImageState, SeenConfig, SeenValue};
use std::sync::Arc;

use crate::support::scenario::{Scenario, container, edge, key, network};
use crate::support::{simulator, workloads};

pub(super) const DESTINATION: &str = "
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

pub(super) fn application(spec: &str) -> String {
    format!(
        "{DESTINATION}---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: frontend, namespace: shop }}\nspec:\n  destination: web\n{spec}"
    )
}

/// A server on which the destination's network exists already, with the proxy on it.
pub(super) fn world(manifests: &str) -> Scenario {
    let mut scenario = Scenario::new().network(network("web-net").subnet("10.42.0.0/24").of("shop/web"));
    scenario = scenario.container(container("traefik").on("bridge").on("web-net").marked());
    declare(&mut scenario, manifests);
    scenario
}

pub(super) fn declare(scenario: &mut Scenario, manifests: &str) {
    let sources = [Source { name: "m.yaml".to_owned(), bytes: manifests.as_bytes().to_vec() }];
    let loaded = manifest::load(&sources).unwrap_or_else(|found| panic!("{found:#?}"));
    scenario.desired = loaded.desired("default");
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
pub(super) fn have_images(scenario: &mut Scenario) {
    let members = scenario.desired.servers.values().flat_map(|it| &it.destinations).flat_map(|it| &it.members);
    let images: Vec<String> = members.filter_map(|it| Some(it.workload.as_ref()?.image.clone())).collect();
    for reference in images {
        let seen = ImageState { local: Some(workloads::image(&reference)), ..ImageState::default() };
        scenario.state().images.insert(reference, seen);
    }
}

/// Carries out groups as the executor does: a failed operation undoes its group and skips what goes on with it. Ends after `most` calls, as a
/// crash would. Returns whether all was done.
pub(super) fn execute(
    scenario: &mut Scenario,
    plan: &Plan,
    most: &mut usize,
    watch: &mut dyn FnMut(&Scenario),
) -> bool {
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
pub(super) fn perform(
    scenario: &mut Scenario,
    group: &Group,
    most: &mut usize,
    watch: &mut dyn FnMut(&Scenario),
) -> Option<bool> {
    let mut done: Vec<&Operation> = Vec::new();
    for operation in &group.operations {
        *most = most.checked_sub(1)?;
        if one(scenario, &operation.call).is_err() {
            // What failed did something all the same: that is undone first.
            let mut undone: Vec<&Call> = Vec::new();
            for undo in operation.undo.iter().chain(done.iter().rev().filter_map(|it| it.undo.as_ref())) {
                if undone.contains(&undo) {
                    continue;
                }
                undone.push(undo);
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

pub(super) fn settle(scenario: &mut Scenario) {
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
pub(super) fn containers(scenario: &Scenario) -> Vec<String> {
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

pub(super) const CHECK: &str = "  healthcheck: { command: [wget, -qO-, http://127.0.0.1/], intervalSeconds: 5 }\n";

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
              hint: change the manifest or the image, or ask for another try: landfall rollout restart application/frontend -n shop
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
          + create container shop-frontend-1-next of shop/frontend:sick on web-net (image: shop/frontend:1 -> shop/frontend:sick) for Application/shop/frontend (ImageMoved)
          - stop shop-frontend-1 for Application/shop/frontend (ImageMoved), disruptive
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
    assert!(plan.contains("(env LOG: changed; env OLD: removed)"), "{plan}");
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

fn several(count: usize) -> String {
    let application = |number: usize| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: app{number}, namespace: shop }}\nspec: {{ destination: web, image: \"shop/app:1\" }}\n"
        )
    };
    DESTINATION.to_owned() + &(0..count).map(application).collect::<String>()
}

#[test]
fn more_containers_than_a_pass_removes_unasked_wait_for_an_approval_that_names_each() {
    let mut few = world(&several(8)).prune();
    settle(&mut few);
    declare(&mut few, &several(3));
    settle(&mut few);
    assert_eq!(containers(&few).len(), 3, "five are not too many: {:?}", containers(&few));

    let mut many = world(&several(8)).prune();
    settle(&mut many);
    declare(&mut many, &several(2));
    let plan = many.plan();
    let withheld = plan.servers[0].withheld.clone().unwrap();
    let names: Vec<_> = withheld.removals.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["shop-app2-1", "shop-app3-1", "shop-app4-1", "shop-app5-1", "shop-app6-1", "shop-app7-1"]);
    assert_eq!(plan.servers[0].groups, [], "all of it or nothing: {plan}");
    let text = plan.to_string();
    assert!(text.contains("remove 6 of the 8 containers that the set \"default\" runs, more than 5: "), "{text}");
    assert!(!text.contains("`--prune` stops"), "that is what was asked for: {text}");

    settle(&mut many);
    assert_eq!(containers(&many).len(), 8);
    let mut agreed = many.approve(&withheld.fingerprint);
    assert!(withheld.is_left_on(agreed.state()));
    let mut without = agreed.state().clone();
    without.containers.retain(|it| !withheld.removals.iter().any(|removal| removal.id == it.id.as_str()));
    assert!(!withheld.is_left_on(&without));
    settle(&mut agreed);
    assert_eq!(containers(&agreed), ["shop-app0-1 shop/app:1 running", "shop-app1-1 shop/app:1 running"]);
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

/// What Landfall runs goes as a whole: it has its network until it is stopped, and keeps it where its removal is refused. Nothing but its labels
/// tells that it was declared.
#[test]
fn what_is_no_longer_declared_keeps_its_network_until_it_is_stopped() {
    let mut running = world(&application("  image: shop/frontend:1\n"));
    have_images(&mut running);
    settle(&mut running);
    declare(&mut running, DESTINATION);
    let pruned = running.clone().prune().plan();
    let words = |plan: &Plan| {
        let operations = plan.servers.iter().flat_map(|it| &it.groups).flat_map(|it| &it.operations);
        operations.map(|it| it.call.to_string()).collect::<Vec<_>>()
    };
    let [stop, remove] = words(&pruned).try_into().unwrap_or_else(|_| panic!("{pruned}"));
    assert!(
        stop.starts_with("stop shop-frontend-1") && remove.starts_with("remove container shop-frontend-1"),
        "{pruned}"
    );

    let mut guarded = running.clone().prune();
    guarded.request.guarded = Arc::new([key(Kind::Application, "frontend")].into());
    let refused = guarded.plan();
    assert!(words(&refused).is_empty() && refused.to_string().contains("BackupFailed"), "{refused}");

    let deleted = running.clone().delete(Kind::Application, "frontend").plan();
    assert_eq!(words(&deleted), [stop, remove], "{deleted}");
    assert!(!deleted.to_string().contains("nothing to delete"), "{deleted}");
    let unknown = running.delete(Kind::Application, "frontent").plan().to_string();
    assert!(unknown.contains("no server has anything of it; there is nothing to delete"), "{unknown}");
}

/// What the manifests of others run, and these had adopted onto a destination of their own, is taken off that one, and nothing else is done to it.
#[test]
fn what_others_run_leaves_a_destination_that_no_longer_adopts_it() {
    const OTHER: &str = "
---
apiVersion: landfall/v1
kind: Server
metadata: { name: edge-1 }
spec: { allowedNamespaces: [shop] }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: other, namespace: shop }
spec: { server: default/edge-1, network: { name: other-net }, proxy: false }
";
    let adopting = format!(
        "{OTHER}---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: guest, namespace: shop }}\nspec: {{ destination: other, containers: {{ names: [shop-frontend-1] }} }}\n"
    );
    let mut world = world(&application("  image: shop/frontend:1\n")).network(network("other-net").of("shop/other"));
    let from = |world: &mut Scenario, source: &str, manifests: &str| {
        declare(world, manifests);
        world.desired.source = Some(source.to_owned());
        have_images(world);
    };
    from(&mut world, "theirs", &application("  image: shop/frontend:1\n"));
    settle(&mut world);
    from(&mut world, "ours", &adopting);
    settle(&mut world);
    from(&mut world, "ours", OTHER);
    let plan = world.prune().plan().to_string();
    assert!(plan.contains("- disconnect shop-frontend-1 from other-net"), "{plan}");
    assert!(!plan.contains("from web-net") && !plan.contains("- stop") && !plan.contains("- remove"), "{plan}");
}

/// One that this plan brings up does not hide another that nothing brings up.
#[test]
fn every_dependency_is_waited_for() {
    let resource = |kind: &str, name: &str, spec: &str| {
        format!(
            "---\napiVersion: landfall/v1\nkind: {kind}\nmetadata: {{ name: {name}, namespace: shop }}\nspec: {{ destination: web, {spec} }}\n"
        )
    };
    let manifests = application("  image: shop/frontend:1\n  dependsOn: [Application/queue, Application/legacy]\n")
        + &resource("Application", "queue", "image: 'shop/queue:1'")
        + &resource("Application", "legacy", "containers: { names: [legacy] }");
    let mut world = world(&manifests);
    have_images(&mut world);
    let plan = world.plan().to_string();
    assert!(plan.contains("Application/shop/legacy, which it depends on, is not available."), "{plan}");
    assert!(plan.contains("create container shop-queue-1"), "{plan}");
    assert!(!plan.contains("create container shop-frontend-1"), "{plan}");
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

/// As a hint has it: the data of a container whose volume nobody named is in one that the daemon gave 64 digits.
#[test]
fn a_volume_that_the_daemon_named_is_one_like_any_other_once_it_is_declared() {
    let mut world = running_database(&format!("  engine: Redis\n  storage: {{ volume: {} }}\n", "7c98fb95".repeat(8)));
    world.expect_plan("");
    settle(&mut world);
    world.expect_plan("");
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

fn renamed(name: &str, was: &str, spec: &str) -> String {
    let metadata = match was {
        "" => format!("{{ name: {name}, namespace: shop }}"),
        was => format!("{{ name: {name}, namespace: shop, annotations: {{ landfall/was: {was} }} }}"),
    };
    format!(
        "{DESTINATION}---\napiVersion: landfall/v1\nkind: Application\nmetadata: {metadata}\nspec:\n  destination: web\n{spec}"
    )
}

#[test]
fn a_renamed_application_is_moved_by_a_rollout_and_killed_anywhere_in_it_somebody_serves() {
    let spec = format!("  image: shop/frontend:1\n  domains: [shop.example.com]\n  port: 80\n{CHECK}");
    let mut crashed = 0;
    for calls in 0..20 {
        let mut world = world(&renamed("frontend", "", &spec));
        settle(&mut world);
        declare(&mut world, &renamed("storefront", "frontend", &spec));
        have_images(&mut world);
        // Whoever prunes at once does not take the old one away first.
        let mut world = world.prune();
        if calls == 0 {
            let plan = world.plan().to_string();
            let at = |text: &str| plan.find(text).unwrap_or_else(|| panic!("{text}: {plan}"));
            assert!(plan.contains("resource: Application/shop/frontend -> Application/shop/storefront"), "{plan}");
            assert!(at("start shop-storefront-1-next") < at("drain and stop shop-frontend-1"), "{plan}");
            assert!(!plan.contains("disconnect") && !plan.contains("refused") && !plan.contains("unmanaged"), "{plan}");
        }
        let plan = world.plan();
        let mut left = calls;
        let watch = &mut |world: &Scenario| assert!(serving(world) >= 1, "after {calls} calls nobody serves");
        if execute(&mut world, &plan, &mut left, watch) {
            break;
        }
        crashed += 1;
        settle(&mut world);
        assert_eq!(containers(&world), ["shop-storefront-1 shop/frontend:1 running"], "killed after {calls} calls");
        // The annotation has done its duty, and is not needed any more.
        declare(&mut world, &renamed("storefront", "", &spec));
        have_images(&mut world);
        world.expect_plan("");
    }
    assert_eq!(crashed, 5, "create, start, stop, remove and rename");
}

const TWO: &str = "apiVersion: landfall/v1
kind: Destination
metadata: { name: other, namespace: shop }
spec: { server: default/edge-1, network: { name: other-net, subnets: [{ subnet: 10.43.0.0/24 }] } }
---
";

fn on(destination: &str) -> String {
    let spec = format!("  image: shop/frontend:1\n  port: 80\n{CHECK}");
    TWO.to_owned()
        + &renamed("frontend", "", &spec).replace("destination: web\n", &format!("destination: {destination}\n"))
}

#[test]
fn an_application_that_moves_is_replaced_there_and_killed_anywhere_in_it_somebody_serves() {
    let mut crashed = 0;
    for calls in 0..20 {
        let mut world = world(&on("web"));
        settle(&mut world);
        declare(&mut world, &on("other"));
        have_images(&mut world);
        let mut world = world.prune();
        if calls == 0 {
            let plan = world.plan().to_string();
            let at = |text: &str| plan.find(text).unwrap_or_else(|| panic!("{text}: {plan}"));
            assert!(plan.contains("destination: shop/web -> shop/other"), "{plan}");
            assert!(at("start shop-frontend-1-next") < at("stop shop-frontend-1"), "{plan}");
            assert!(!plan.contains("refused") && !plan.contains("unmanaged"), "{plan}");
        }
        let plan = world.plan();
        let mut left = calls;
        let watch = &mut |world: &Scenario| assert!(serving(world) >= 1, "after {calls} calls nobody serves");
        if execute(&mut world, &plan, &mut left, watch) {
            break;
        }
        crashed += 1;
        settle(&mut world);
        assert_eq!(containers(&world), ["shop-frontend-1 shop/frontend:1 running"], "killed after {calls} calls");
        world.expect_plan("");
    }
    assert!(crashed >= 5, "create, start, stop, remove and rename: {crashed}");
}

/// Whoever cannot be where it is declared stays where it is.
#[test]
fn an_application_stays_while_the_destination_that_it_moves_to_is_refused() {
    for renamed in [false, true] {
        let mut world = world(&on("web").replace("other-net", "former-net"));
        settle(&mut world);
        let manifests = if renamed {
            // The destination has another name, and keeps the network, which is another destination's by its labels.
            on("other")
                .replace("name: web, namespace: shop", "name: gone, namespace: shop")
                .replace("web-net, subnets: [{ subnet: 10.42.0.0/24 }]", "gone-net")
                .replace("other-net, subnets: [{ subnet: 10.43.0.0/24 }]", "web-net")
        } else {
            world = world.network(network("other-net").subnet("10.43.0.0/24"));
            on("other")
        };
        declare(&mut world, &manifests);
        have_images(&mut world);
        let world = world.prune();
        let plan = world.plan().to_string();
        assert!(plan.contains("refused Destination/shop/other"), "{plan}");
        assert!(!plan.contains("stop shop-frontend-1") && !plan.contains("remove container"), "{plan}");
    }
}

#[test]
fn a_renamed_application_that_runs_under_both_names_keeps_the_new_one_and_prunes_the_old() {
    let spec = "  image: shop/frontend:1\n";
    let both = renamed("frontend", "", spec) + &renamed("storefront", "", spec)[DESTINATION.len()..];
    let mut world = world(&both);
    settle(&mut world);
    declare(&mut world, &renamed("storefront", "frontend", spec));
    have_images(&mut world);
    let plan = world.plan().to_string();
    assert!(plan.contains("unmanaged Application/shop/frontend") && !plan.contains("- "), "{plan}");
    let mut world = world.prune();
    settle(&mut world);
    assert_eq!(containers(&world), ["shop-storefront-1 shop/frontend:1 running"]);
}

#[test]
fn a_renamed_database_keeps_its_volume_and_two_are_never_on_it() {
    let database = |name: &str, was: &str, volume: &str| {
        let annotations =
            if was.is_empty() { String::new() } else { format!(", annotations: {{ landfall/was: {was} }}") };
        format!(
            "{DESTINATION}---\napiVersion: landfall/v1\nkind: Database\nmetadata: {{ name: {name}, namespace: shop{annotations} }}\nspec:\n  destination: web\n  engine: Redis\n{volume}  credentials: {{ password: {{ env: PASSWORD }} }}\n"
        )
    };
    let volume = "  storage: { volume: orders }\n";
    let mut world = world(&database("orders", "", volume));
    have_images(&mut world);
    settle(&mut world);
    // Without a word about it, it is another database, and the volume is taken.
    declare(&mut world, &database("sales", "", volume));
    have_images(&mut world);
    let plan = world.plan().to_string();
    assert!(plan.contains("The volume \"orders\" is in use by the container \"shop-orders\""), "{plan}");
    assert!(!plan.contains("create container"), "{plan}");
    // Without its volume it would begin empty.
    declare(&mut world, &database("sales", "orders", ""));
    have_images(&mut world);
    let plan = world.plan().to_string();
    assert!(plan.contains("the data is in the volume \"orders\". (VolumeChanged)"), "{plan}");
    declare(&mut world, &database("sales", "orders", volume));
    have_images(&mut world);
    let plan = world.plan();
    let text = plan.to_string();
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
    assert!(at("create container shop-sales-next") < at("stop shop-orders "), "nothing is stopped in vain: {text}");
    assert!(at("stop shop-orders ") < at("start shop-sales-next"), "{text}");
    let both = &mut |world: &Scenario| {
        let running = containers(world).iter().filter(|it| it.ends_with("running")).count();
        assert!(running <= 1, "{:?}", containers(world));
    };
    assert!(execute(&mut world, &plan, &mut usize::MAX.clone(), both));
    settle(&mut world);
    assert_eq!(containers(&world), ["shop-sales redis:7.4-alpine running"]);
    declare(&mut world, &database("sales", "", volume));
    have_images(&mut world);
    world.expect_plan("");
}

/// A container that something else made, connected by Landfall for the application while it was adopted.
fn adopted(scenario: &mut Scenario) {
    let made =
        container("legacy").image("shop/frontend:1").on("bridge").on("web-net").made_for("Application/shop/frontend");
    let made = made.label("com.docker.compose.project", "old").label("traefik.enable", "true");
    let built = std::mem::replace(scenario, Scenario::new()).container(made);
    *scenario = built;
    let state = scenario.state();
    let id = state.containers.iter().find(|it| it.name == "legacy").unwrap().id.clone();
    let seen = SeenConfig {
        image_id: workloads::image("shop/frontend:1").id,
        env: [("TOKEN".to_owned(), SeenValue { fingerprint: Some("x".to_owned()), literal: None })].into(),
        ..SeenConfig::default()
    };
    state.workloads.insert(id, seen);
}

#[test]
fn what_was_adopted_is_replaced_with_every_field_named_and_asked_for() {
    let mut world = world(&application(&format!("  image: shop/frontend:1\n{CHECK}")));
    have_images(&mut world);
    adopted(&mut world);
    world.expect_plan(
        "
        default/edge-1
          + create container shop-frontend-1-next of shop/frontend:1 on web-net (env TOKEN: removed; restart: no -> unless-stopped; healthcheck: none -> \
         wget -qO- http://127.0.0.1/ every 5; label traefik.enable: true -> unset; run by: Compose project old -> Landfall; networks: bridge, web-net -> web-net) for \
         Application/shop/frontend (WorkloadDiffers)
          + start shop-frontend-1-next for Application/shop/frontend (WorkloadDiffers)
          - stop legacy for Application/shop/frontend (WorkloadDiffers), disruptive
          - remove container legacy for Application/shop/frontend (WorkloadDiffers), disruptive
          ~ rename shop-frontend-1-next to shop-frontend-1 for Application/shop/frontend (WorkloadDiffers)
        ",
    );
    // Pruning does not take it off its network before.
    let mut world = world.prune();
    assert!(!world.plan().to_string().contains("disconnect"), "{}", world.plan());
    settle(&mut world);
    assert_eq!(containers(&world), ["shop-frontend-1 shop/frontend:1 running"]);
    assert!(world.state().containers.iter().all(|it| it.name != "legacy"));
}

#[test]
fn a_container_that_another_set_made_or_whose_labels_were_copied_is_never_touched() {
    let mut world = world(&application("  image: shop/frontend:1\n"));
    settle(&mut world);
    // Labels and all, by a tool that clones containers.
    let (mut copy, config) = {
        let state = world.state();
        let own = state.containers.iter().find(|it| it.name == "shop-frontend-1").unwrap().clone();
        let config = state.workloads[&own.id].clone();
        (own, config)
    };
    copy.name = "shop-frontend-1-copy".to_owned();
    copy.id = landfall::core::observed::ContainerId::try_from(crate::support::scenario::hex_id("copy")).unwrap();
    world.state().workloads.insert(copy.id.clone(), config);
    world.state().containers.push(copy);
    let touched = |plan: &Plan| plan.to_string().contains("shop-frontend-1-copy") && !plan.servers[0].groups.is_empty();
    assert!(!touched(&world.plan()), "{}", world.plan());
    declare(&mut world, &application("  image: shop/frontend:2\n"));
    have_images(&mut world);
    let plan = world.plan().to_string();
    assert!(
        !plan.contains("stop shop-frontend-1-copy") && !plan.contains("remove container shop-frontend-1-copy"),
        "{plan}"
    );
    settle(&mut world);
    assert_eq!(
        containers(&world),
        ["shop-frontend-1 shop/frontend:2 running", "shop-frontend-1-copy shop/frontend:1 running"]
    );

    // Another set: its name is taken, and what it runs is left alone, undeclared and pruned for all that.
    let mut world = world.set("other");
    world.state().networks.iter_mut().for_each(|network| network.labels.clear());
    let theirs =
        |text: &str| text.replace("spec: { server: default/edge-1,", "spec: { server: default/edge-1, adopt: true,");
    declare(&mut world, &theirs(&application("  image: shop/frontend:2\n")));
    let mut world = world.set("other");
    let plan = world.plan().to_string();
    assert!(plan.contains("NameTaken") && !plan.contains("create container") && !plan.contains("- "), "{plan}");
    assert!(plan.contains("which Landfall runs for Application/shop/frontend of the set \"default\""), "{plan}");
    declare(&mut world, &theirs(DESTINATION));
    let plan = world.set("other").prune().plan().to_string();
    assert!(!plan.contains("container shop-frontend-1"), "{plan}");
}

fn rename(world: &mut Scenario, name: &str, to: &str) {
    let container = world.state().containers.iter_mut().find(|it| it.name == name).unwrap();
    to.clone_into(&mut container.name);
}

#[test]
fn a_container_that_a_person_has_renamed_stays_connected_and_gets_its_name_back() {
    let mut world = world(&application("  image: shop/frontend:1\n"));
    settle(&mut world);
    rename(&mut world, "shop-frontend-1", "experiment");
    assert_eq!(
        world.plan().to_string(),
        "default/edge-1\n  ~ rename experiment to shop-frontend-1 for Application/shop/frontend (WorkloadDiffers)\n"
    );
    // Somebody else has the name by now: it serves on as it is.
    let mut taken = world.clone().container(container("shop-frontend-1"));
    let plan = taken.plan().to_string();
    assert!(
        plan.contains(
            "refused Application/shop/frontend: The container \"shop-frontend-1\" was renamed to \"experiment\""
        ),
        "{plan}"
    );
    assert_eq!(crate::support::scenario::operations(&taken.plan()), 0, "{plan}");
    declare(&mut taken, &application("  image: shop/frontend:2\n"));
    have_images(&mut taken);
    assert_eq!(crate::support::scenario::operations(&taken.plan()), 0, "{}", taken.plan());
    // Changed as well, it is replaced as any other.
    let mut changed = world.clone();
    declare(&mut changed, &application("  image: shop/frontend:2\n"));
    have_images(&mut changed);
    settle(&mut changed);
    assert_eq!(containers(&changed), ["shop-frontend-1 shop/frontend:2 running"]);
    // Nobody declares it any more, and it is not forgotten.
    let mut gone = world.clone();
    declare(&mut gone, DESTINATION);
    let plan = gone.prune().plan().to_string();
    assert!(plan.contains("stop experiment") && plan.contains("remove container experiment"), "{plan}");
    settle(&mut world);
    assert_eq!(containers(&world), ["shop-frontend-1 shop/frontend:1 running"]);
}

#[test]
fn a_renamed_container_that_no_longer_proves_whose_it_is_is_told_and_stays_until_its_successor_serves() {
    let mut world = world(&application("  image: shop/frontend:1\n"));
    settle(&mut world);
    rename(&mut world, "shop-frontend-1", "experiment");
    let own = world.state().containers.iter_mut().find(|it| it.name == "experiment").unwrap();
    for endpoint in &mut own.endpoints {
        endpoint.settings.as_mut().unwrap().driver_opts.remove("landfall.name");
    }
    let plan = world.clone().prune().plan().to_string();
    assert!(!plan.contains("disconnect experiment"), "{plan}");
    assert!(plan.contains("The container \"experiment\" carries the labels of Application/shop/frontend"), "{plan}");
    assert!(plan.contains("create container shop-frontend-1"), "{plan}");
    let mut world = world.prune();
    settle(&mut world);
    let seen: Vec<String> = containers(&world);
    assert_eq!(seen, ["experiment shop/frontend:1 running", "shop-frontend-1 shop/frontend:1 running"]);
    assert!(world.plan().to_string().contains("carries the labels of"), "it is not forgotten");
}

#[test]
fn an_adopted_resource_that_means_what_landfall_runs_for_another_one_is_told() {
    let other = "---\napiVersion: landfall/v1\nkind: Application\nmetadata: { name: second, namespace: shop }\nspec: { destination: web, containers: { names: [shop-frontend-1] } }\n";
    let manifests = application("  image: shop/frontend:1\n") + other;
    let mut world = world(&manifests);
    settle(&mut world);
    let plan = world.plan().to_string();
    let told = "warning Application/shop/second: Application/shop/second selects the container \"shop-frontend-1\", which Landfall runs for Application/shop/frontend. (OwnershipConflict)";
    assert!(plan.contains(told), "{plan}");
    let named = landfall::core::plan::named_twice(&world.desired);
    let said: Vec<String> = named.into_iter().map(|(resource, what)| format!("{resource}: {what}")).collect();
    assert_eq!(
        said,
        [
            "Application/shop/second: Application/shop/second names the container \"shop-frontend-1\", which Landfall is to run for Application/shop/frontend"
        ]
    );
}

#[test]
fn swapping_the_main_destination_with_an_additional_one_plans_nothing() {
    let second = "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: { name: far, namespace: shop }\nspec: { server: default/edge-1, network: { name: far-net } }\n";
    let on = |main: &str, additional: &str| {
        let text = application(&format!("  image: shop/frontend:1\n  replicas: 2\n{CHECK}"));
        let text = text.replace(
            "  destination: web\n",
            &format!("  destination: {main}\n  additionalDestinations: [{additional}]\n"),
        );
        text.replace(
            "---\napiVersion: landfall/v1\nkind: Application",
            &format!("{second}---\napiVersion: landfall/v1\nkind: Application"),
        )
    };
    let mut world = world(&on("web", "far")).network(network("far-net").of("shop/far"));
    let traefik = world.state().containers.iter().position(|it| it.name == "traefik").unwrap();
    world.state().containers.remove(traefik);
    let mut world = world.container(container("traefik").on("bridge").on("web-net").marked().on("far-net").marked());
    settle(&mut world);
    assert_eq!(containers(&world).len(), 4, "{:?}", containers(&world));
    world.expect_plan("");
    declare(&mut world, &on("far", "web"));
    have_images(&mut world);
    world.expect_plan("");
    // From two destinations to one, the container on that keeps its name.
    declare(
        &mut world,
        &application(&format!("  image: shop/frontend:1\n  replicas: 2\n{CHECK}")).replace(
            "---\napiVersion: landfall/v1\nkind: Application",
            &format!("{second}---\napiVersion: landfall/v1\nkind: Application"),
        ),
    );
    have_images(&mut world);
    let plan = world.plan().to_string();
    assert!(!plan.contains("create container") && !plan.contains("rename"), "{plan}");
}
