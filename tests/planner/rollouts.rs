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
