//! Rollouts over several replicas: what is sick is not multiplied; and what may have run a resource before it is told.

use landfall::core::observed::{ContainerState, Health, ObservedContainer};

use super::workloads::{CHECK, application, containers, declare, execute, have_images, settle, world};
use crate::support::scenario::{Scenario, container};

fn version(tag: &str) -> String {
    application(&format!("  image: shop/frontend:{tag}\n  replicas: 3\n{CHECK}"))
}

/// Three replicas of which the first has the new version.
fn interrupted() -> Scenario {
    let mut world = world(&version("1"));
    settle(&mut world);
    declare(&mut world, &version("2"));
    have_images(&mut world);
    let plan = world.plan();
    // Create, start, stop, remove and rename.
    assert!(!execute(&mut world, &plan, &mut 5, &mut |_| {}));
    assert_eq!(containers(&world)[0], "shop-frontend-1 shop/frontend:2 running");
    world
}

fn set_health(world: &mut Scenario, health: Health) {
    world.state().containers.iter_mut().find(|it| it.name == "shop-frontend-1").unwrap().health = Some(health);
}

#[test]
fn a_replica_that_was_replaced_and_is_sick_is_waited_for_before_the_next_one_goes() {
    let mut world = interrupted();
    set_health(&mut world, Health::Unhealthy);
    let plan = world.plan();
    let first = plan.servers[0].groups[0].operations[0].to_string();
    assert_eq!(first, "+ start shop-frontend-1 for Application/shop/frontend (WorkloadDiffers)");
    // It does not get healthy, and is not asked again: the others are left as they are.
    let attempt = plan.attempts().next().expect("an attempt").to_owned();
    world.request.failed_attempts.insert(attempt, "The container was unhealthy.".to_owned());
    world.expect_plan(
        "
        default/edge-1
          ! refused Application/shop/frontend: It did not become healthy, and is not tried again until something changes. The container was unhealthy. (HealthCheckFailed)
              hint: change the manifest or the image, or ask for another try: landfall rollout restart application/frontend -n shop
        ",
    );
    // Another version begins with the sick one.
    declare(&mut world, &version("3"));
    have_images(&mut world);
    let plan = world.plan();
    assert!(plan.to_string().contains("+ create container shop-frontend-1-next of shop/frontend:3"), "{plan}");
    settle(&mut world);
    assert!(containers(&world).iter().all(|it| it.contains("shop/frontend:3 running")), "{:?}", containers(&world));
}

#[test]
fn one_that_has_become_healthy_holds_up_nothing() {
    let mut world = interrupted();
    set_health(&mut world, Health::Starting);
    let plan = world.plan();
    assert!(plan.to_string().contains("+ start shop-frontend-1 for"), "{plan}");
    assert!(execute(&mut world, &plan, &mut usize::MAX.clone(), &mut |_| {}));
    world.expect_plan("");
    // Without anything to replace, a sick one is the daemon's and the page's matter.
    set_health(&mut world, Health::Unhealthy);
    world.expect_plan("");
}

#[test]
fn a_version_that_failed_on_one_replica_is_not_tried_on_the_next() {
    let mut world = world(&version("1"));
    settle(&mut world);
    declare(&mut world, &version("sick"));
    have_images(&mut world);
    let plan = world.plan();
    assert!(!execute(&mut world, &plan, &mut usize::MAX.clone(), &mut |_| {}));
    let attempt = plan.attempts().next().expect("an attempt").to_owned();
    world.request.failed_attempts.insert(attempt, "The container was unhealthy.".to_owned());
    let plan = world.plan();
    assert_eq!(plan.servers[0].groups.len(), 0, "{plan}");
    assert_eq!(plan.servers[0].notes.len(), 1, "{plan}");
    assert!(containers(&world).iter().all(|it| it.contains("shop/frontend:1 running")), "{:?}", containers(&world));
    // One that does not serve has nothing to lose: it is tried, as replica 2 of its own.
    world.state().containers.iter_mut().find(|it| it.name == "shop-frontend-2").unwrap().health =
        Some(Health::Unhealthy);
    assert!(world.plan().to_string().contains("create container shop-frontend-2-next"), "{}", world.plan());
}

#[test]
fn what_may_have_run_an_application_until_now_is_named_before_a_second_one_is_made_beside_it() {
    let manifests = application(&format!("  image: shop/frontend:2\n{CHECK}"));
    for legacy in [
        container("frontend").on("web-net"),
        container("old-frontend-1").label("com.docker.compose.service", "frontend").on("web-net"),
        container("old").image("shop/frontend:1").on("web-net"),
        container("web").on("web-net").alias("frontend"),
    ] {
        let mut world = world(&manifests).container(legacy);
        have_images(&mut world);
        let plan = world.plan().to_string();
        assert!(plan.contains("whether that was this resource until now"), "{plan}");
        assert!(plan.contains("landfall/replaces: \""), "{plan}");
        settle(&mut world);
        let after = world.plan().to_string();
        assert!(!after.contains("landfall/replaces"), "said once: {after}");
    }
    // A database beside it, and the proxy, are none of it.
    let mut world = world(&manifests).container(container("postgres").image("postgres:17").on("web-net"));
    have_images(&mut world);
    assert!(!world.plan().to_string().contains("landfall/replaces"), "{}", world.plan());
}

/// The job runs once for a version, whoever completes the rollout.
#[test]
fn a_job_before_a_rollout_is_completed_by_whoever_finds_it_and_what_is_left_of_it_goes() {
    let version = |tag: &str| {
        application(&format!(
            "  image: shop/frontend:{tag}\n{CHECK}  hooks: {{ preDeploy: {{ command: [migrate] }} }}\n"
        ))
    };
    let mut world = world(&version("1"));
    settle(&mut world);
    assert_eq!(containers(&world), ["shop-frontend-1 shop/frontend:1 running"]);
    declare(&mut world, &version("2"));
    have_images(&mut world);
    let lines = |world: &Scenario| -> Vec<String> {
        let plan = world.plan().to_string();
        let is_call = |line: &&str| ["  + ", "  - ", "  ~ ", "  ? "].iter().any(|mark| line.starts_with(mark));
        plan.lines().filter(is_call).map(|line| line.trim().split(" for ").next().unwrap().to_owned()).collect()
    };
    let job = "+ run \"migrate\" once as shop-frontend-predeploy on web-net";
    // Made before the job runs, and the job before it is started.
    let planned = lines(&world);
    assert!(planned[0].starts_with("+ create container shop-frontend-1-next"), "{planned:?}");
    assert_eq!(planned[1..3], [job, "+ start shop-frontend-1-next"]);

    // Cut off before the job, and after it.
    let cut_off = |most: usize| {
        let mut world = world.clone();
        let plan = world.plan();
        execute(&mut world, &plan, &mut most.clone(), &mut |_| {});
        world
    };
    let is_job = |it: &&ObservedContainer| it.name == "shop-frontend-predeploy";
    let ended = cut_off(2).state().containers.iter().find(is_job).unwrap().clone();
    for most in [1, 2] {
        let mut world = cut_off(most);
        assert_eq!(lines(&world)[..2], [job, "+ start shop-frontend-1-next"], "after {most}");
        // It runs elsewhere: that one goes on.
        let mut elsewhere = world.clone();
        elsewhere.state().containers.retain(|it| !is_job(&it));
        elsewhere.state().containers.push(ObservedContainer {
            state: ContainerState::Running,
            up: Some(3),
            ..ended.clone()
        });
        assert!(lines(&elsewhere)[0].starts_with("? waiting"), "{:?}", lines(&elsewhere));
        settle(&mut world);
        assert_eq!(containers(&world), ["shop-frontend-1 shop/frontend:2 running"]);
    }

    // The version is taken back, and nothing of it stays.
    let plan = world.plan();
    execute(&mut world, &plan, &mut 2, &mut |_| {});
    declare(&mut world, &version("1"));
    have_images(&mut world);
    settle(&mut world);
    assert_eq!(containers(&world), ["shop-frontend-1 shop/frontend:1 running"]);
}

/// A version is on its way, and the manifests declare the one before it.
fn taken_back(most: usize) -> Scenario {
    let one = |tag: &str| application(&format!("  image: shop/frontend:{tag}\n{CHECK}"));
    let mut world = world(&one("1"));
    settle(&mut world);
    declare(&mut world, &one("2"));
    have_images(&mut world);
    let plan = world.plan();
    assert!(!execute(&mut world, &plan, &mut most.clone(), &mut |_| {}));
    declare(&mut world, &one("1"));
    world
}

fn next(world: &mut Scenario) -> &mut ObservedContainer {
    world.state().containers.iter_mut().find(|it| it.name == "shop-frontend-1-next").expect("the next one")
}

#[test]
fn what_another_process_is_rolling_out_is_left_to_it_and_goes_once_it_was_left_behind() {
    let removal = "- remove container shop-frontend-1-next for Application/shop/frontend (WorkloadDiffers)";
    let planned = |world: &Scenario| {
        let plan = world.plan();
        let operations = plan.servers[0].groups.iter().flat_map(|group| &group.operations);
        operations.map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    // Made and started.
    let mut world = taken_back(2);
    let waits = |world: &mut Scenario, again: Option<u32>| {
        let plan = world.plan();
        let server = &plan.servers[0];
        assert_eq!(server.groups.len(), 0, "{plan}");
        let told: Vec<_> = server.notes.iter().map(|note| (note.reason.as_str(), note.turn, note.again)).collect();
        assert_eq!(told, [("RolloutInProgress", true, again)], "{plan}");
    };
    (next(&mut world).health, next(&mut world).up) = (Some(Health::Starting), Some(3));
    waits(&mut world, Some(57));
    next(&mut world).up = None;
    waits(&mut world, None);
    (next(&mut world).health, next(&mut world).up) = (Some(Health::Healthy), Some(40));
    waits(&mut world, Some(20));
    // Nobody has had it take over in a minute, or it will not get healthy.
    next(&mut world).up = None;
    assert_eq!(planned(&world), removal);
    (next(&mut world).health, next(&mut world).up) = (Some(Health::Unhealthy), Some(3));
    assert_eq!(planned(&world), removal);
    (next(&mut world).health, next(&mut world).up, next(&mut world).restarts) = (None, Some(1), 4);
    assert_eq!(planned(&world), removal);
    next(&mut world).state = ContainerState::Exited;
    assert_eq!(planned(&world), removal);
    // Without one that it is to take the place of, there is nothing to undo: another takes its place.
    world.state().containers.retain(|it| it.name != "shop-frontend-1");
    assert!(planned(&world).contains("rename shop-frontend-1-next to shop-frontend-1"), "{}", planned(&world));
    // Made and not started: only whoever is to remove it can see for how long that stays so.
    let mut world = taken_back(1);
    assert_eq!(next(&mut world).state, ContainerState::Created);
    assert_eq!(planned(&world), removal);
}
