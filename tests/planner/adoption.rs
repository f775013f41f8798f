//! Networks that other tools made: waited for, never made in their stead, and made one's own where that is asked for.

use landfall::core::plan::Call;

use crate::support::scenario::{Scenario, application, container, destination, network};
use crate::support::simulator;

const COMPOSE: &str = "com.docker.compose.project";

#[test]
fn an_adopted_network_that_does_not_exist_is_waited_for_and_the_project_is_named_that_makes_it() {
    Scenario::new()
        .container(container("traefik"))
        .container(container("app").label(COMPOSE, "shop"))
        .destination(destination("web").named("shop_default").adopt().member(application("app").containers(&["app"])))
        .expect_nothing_but(
            "
            default/edge-1
              ? waiting Destination/shop/web: There is no network \"shop_default\" to adopt. (NetworkMissing)
                  hint: bring the compose project \"shop\" up, which makes it: docker compose -p shop up -d; or set `createIfMissing: true`
              ? waiting Application/shop/app: Destination/shop/web has no network yet; its members are left as they are until that is resolved. (NetworkMissing)
            ",
        );
}

#[test]
fn after_compose_down_the_name_tells_the_project() {
    Scenario::new().destination(destination("web").named("shop_default").adopt()).expect_nothing_but(
        "
        default/edge-1
          ? waiting Destination/shop/web: There is no network \"shop_default\" to adopt. (NetworkMissing)
              hint: bring the compose project \"shop\" up, which makes it: docker compose -p shop up -d; or set `createIfMissing: true`
        ",
    );
}

#[test]
fn on_a_swarm_it_is_a_stack() {
    Scenario::without_proxy()
        .swarm_manager()
        .destination(destination("web").named("shop_default").adopt())
        .expect_nothing_but(
            "
            default/edge-1
              ? waiting Destination/shop/web: There is no network \"shop_default\" to adopt. (NetworkMissing)
                  hint: deploy the stack \"shop\", which makes it: docker stack deploy -c FILE shop; or set `createIfMissing: true`
            ",
        );
}

#[test]
fn a_name_that_tells_nothing() {
    Scenario::without_proxy().destination(destination("web").named("frontend").adopt()).expect_nothing_but(
        "
        default/edge-1
          ? waiting Destination/shop/web: There is no network \"frontend\" to adopt. (NetworkMissing)
              hint: start what makes it, or set `createIfMissing: true`
        ",
    );
}

#[test]
fn a_near_name_is_pointed_out() {
    Scenario::without_proxy()
        .network(network("shop_frontend").label(COMPOSE, "shop"))
        .network(network("Frontend"))
        .network(network("frontends"))
        .destination(destination("web").named("frontend").adopt())
        .expect_nothing_but(
            "
            default/edge-1
              ? waiting Destination/shop/web: There is no network \"frontend\" to adopt; there are \"shop_frontend\" of the compose project \"shop\", \"Frontend\". (NetworkMissing)
                  hint: set `network.name: shop_frontend` if that is the one
            ",
        );
}

#[test]
fn create_if_missing_creates() {
    Scenario::without_proxy().destination(destination("web").named("frontend").adopt().create_if_missing()).expect(
        "
        default/edge-1
          + create network frontend for Destination/shop/web (NetworkMissing)
        ",
    );
}

#[test]
fn ownership_is_taken_as_a_replacement_with_reattachment() {
    let scenario = Scenario::new()
        .network(network("shop_default").label(COMPOSE, "shop"))
        .container(container("traefik").on("shop_default"))
        .container(container("app").on("shop_default").alias("app"))
        .container(container("cron").on("shop_default"))
        .destination(
            destination("web")
                .named("shop_default")
                .adopt()
                .take_ownership()
                .member(application("app").containers(&["app"])),
        );
    let plan = scenario.plan();
    let created = plan.servers[0].groups[0].operations.iter().find_map(|it| match &it.call {
        Call::CreateNetwork(create) => Some(create.clone()),
        _ => None,
    });
    assert_eq!(created.unwrap().labels["landfall.destination"], "shop/web");
    assert!(plan.servers[0].groups[0].journal.is_some());
    scenario.expect(
        "
        default/edge-1
          - disconnect app from shop_default for Destination/shop/web (OwnershipTaken), disruptive
          - disconnect cron from shop_default for Destination/shop/web (OwnershipTaken), disruptive
          - disconnect traefik from shop_default for Destination/shop/web (OwnershipTaken), disruptive
          - remove network shop_default for Destination/shop/web (OwnershipTaken)
          + create network shop_default for Destination/shop/web (OwnershipTaken)
          + connect traefik to shop_default for Destination/shop/web (OwnershipTaken)
          + connect app to shop_default as app for Destination/shop/web (OwnershipTaken)
          + connect cron to shop_default for Destination/shop/web (OwnershipTaken)
          * warning Destination/shop/web: The compose project \"shop\" made the network \"shop_default\", and refuses one that it did not make. (OwnershipConflict)
              hint: write it into its file before the next deployment: networks: { NAME: { name: shop_default, external: true } }
          . unmanaged Destination/shop/web: No resource declares the container \"cron\", which is on \"shop_default\". (MembershipForeign)
              hint: declare it, or set `membership: Exclusive` to have it disconnected
        ",
    );
}

#[test]
fn that_addresses_change_because_no_subnet_is_declared_is_told_beforehand() {
    let world = |subnets: &[&str]| {
        let web = destination("web").named("shop_default").adopt().take_ownership();
        let web = subnets.iter().fold(web, |web, subnet| web.subnet(subnet));
        let world = Scenario::without_proxy().network(network("shop_default").subnet("172.30.0.0/16"));
        world.container(container("app").on("shop_default")).destination(web).plan().to_string()
    };
    let told = world(&[]);
    assert!(
        told.contains("The network \"shop_default\" has 172.30.0.0/16 now, and is made anew without a declared subnet"),
        "{told}"
    );
    assert!(
        told.contains("hint: to keep it, declare it: `network: { subnets: [{ subnet: 172.30.0.0/16 }] }`"),
        "{told}"
    );
    assert!(!world(&["172.30.0.0/16"]).contains("without a declared subnet"));
}

#[test]
fn services_on_it_keep_an_adopted_network_as_it_is() {
    Scenario::without_proxy()
        .swarm_manager()
        .network(network("shop_default").overlay())
        .service("api", &["shop_default"], 2)
        .destination(destination("web").named("shop_default").adopt().take_ownership())
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: The network \"shop_default\" is adopted and is to be Landfall's own. Swarm services are on the network, and whether they are is up to their definitions. (ImmutableField)
                  SwarmService api, 2 replicas
                  hint: declare `proxy: false` and leave the services out of the manifests until the network is replaced; what Landfall did not put there goes with docker service update --network-rm
              . unmanaged Destination/shop/web: No resource declares the Swarm service \"api\", which is on \"shop_default\". (MembershipForeign)
                  hint: declare it: `containers: { swarmServices: [api] }`, or take it off: docker service update --network-rm shop_default api
            ",
        );
}

#[test]
fn a_change_that_was_interrupted_after_the_removal_goes_on() {
    let mut scenario = Scenario::without_proxy()
        .network(network("shop_default"))
        .container(container("app").on("shop_default").alias("web"))
        .destination(destination("web").named("shop_default").adopt().take_ownership());
    let group = scenario.plan().servers[0].groups[0].clone();
    for operation in &group.operations[..2] {
        simulator::call(scenario.state(), &operation.call);
    }
    scenario.journal(group.journal.unwrap()).expect(
        "
        default/edge-1
          + create network shop_default for Destination/shop/web (NetworkMissing)
          + connect app to shop_default as web for Destination/shop/web (JournalRestore)
        ",
    );
}
