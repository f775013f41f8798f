//! Overlay networks on the local daemon of a Swarm.

use landfall::core::api::{DestinationType, Kind, Replacement};
use landfall::core::observed::SwarmState;

use crate::support::scenario::{DestinationBuilder, Scenario, application, container, destination, network};

#[test]
fn a_manager_gives_an_attachable_overlay() {
    let scenario = Scenario::new()
        .swarm_manager()
        .destination(destination("web").named("web-net").with(|it| it.network.encrypted = true));
    let planned = scenario.plan();
    let landfall::core::plan::Call::CreateNetwork(create) = &planned.servers[0].groups[0].operations[0].call else {
        panic!("{planned}")
    };
    assert!(create.attachable);
    assert_eq!(create.options["encrypted"], "");
    scenario.expect(
        "
        default/edge-1
          + create network web-net (overlay) for Destination/shop/web (NetworkMissing)
          + connect traefik to web-net for Destination/shop/web (ProxyDetached)
        ",
    );
}

#[test]
fn pain_37_a_worker_is_not_taken_for_a_manager() {
    let mut scenario = Scenario::without_proxy()
        .container(container("app"))
        .destination(destination("web").named("web-net").member(application("app")));
    scenario.state().engine.swarm = SwarmState::Worker {
        node_id: "n".to_owned(),
        manager_addresses: vec!["10.0.0.1:2377".to_owned(), "10.0.0.2:2377".to_owned()],
        managers: ["m".to_owned()].into(),
    };
    // A manager of another Swarm is none of its own.
    scenario.and("m1", Scenario::without_proxy().swarm_manager()).expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: Server/default/edge-1 is a worker of a Swarm, whose networks are made by its managers, and none of them is declared. Its managers are 10.0.0.1:2377, 10.0.0.2:2377. (NotASwarmManager)
              hint: declare a manager of that Swarm as a server
          ? waiting Application/shop/app: Destination/shop/web was refused; its members are left as they are until that is resolved. (NotASwarmManager)
        ",
    );
}

#[test]
fn a_locked_swarm_says_what_unlocks_it() {
    let mut scenario = Scenario::without_proxy().destination(destination("web").named("web-net"));
    scenario.state().engine.swarm = SwarmState::Locked;
    scenario.expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: The Swarm that Server/default/edge-1 is part of is locked. (NotASwarmManager)
              hint: docker swarm unlock, on that server
        ",
    );
}

#[test]
fn what_the_server_is_not_is_refused() {
    Scenario::without_proxy()
        .network(network("c-net").overlay())
        .destination(destination("a").named("a-net").asserting(DestinationType::Swarm))
        .destination(destination("b").named("b-net").with(|it| it.network.encrypted = true))
        .destination(destination("c").named("c-net").adopt())
        .destination(destination("d").named("d-net").asserting(DestinationType::Standalone))
        .expect(
            "
            default/edge-1
              + create network d-net for Destination/shop/d (NetworkMissing)
              ! refused Destination/shop/a: spec.type is swarm, and Server/default/edge-1 is a standalone server. (WrongScope)
                  hint: set `type: standalone`, or leave it out
              ! refused Destination/shop/b: spec.network.encrypted needs an overlay network, and Server/default/edge-1 is a standalone server. (WrongScope)
                  hint: remove `encrypted`, or make the server a Swarm manager: docker swarm init
              ? waiting Destination/shop/c: Server/default/edge-1 is not part of a Swarm now, and the network of Destination/shop/c is one of a Swarm (the server still lists it): nothing is made, moved or removed. (RoleChanged)
                  hint: it goes on when the server is a node of that Swarm again; should it stay out of it, set `type: standalone`
            ",
        );
}

#[test]
fn pain_15_a_bridge_on_a_manager_is_of_the_wrong_scope() {
    let adopting = |it: DestinationBuilder| {
        Scenario::without_proxy().swarm_manager().network(network("web-net")).destination(it.named("web-net").adopt())
    };
    adopting(destination("web")).prune().expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: The network \"web-net\" is of driver \"bridge\" and scope local, and a destination on Server/default/edge-1 is an overlay network of the Swarm. (WrongScope)
              hint: choose another network name, or set `type: standalone`
        ",
    );
    adopting(destination("web").asserting(DestinationType::Standalone)).prune().expect("");
}

/// `docker swarm init` on a server that has bridges, and `docker swarm join`, whether or not a manager is declared.
#[test]
fn a_bridge_that_landfall_made_stays_managed_when_its_server_joins_a_swarm() {
    let scenario = |name: &str| {
        Scenario::new()
            .network(network("web-net").of("web"))
            .network(network("theirs"))
            .container(container("app"))
            .container(container("mine").on("theirs").marked())
            .destination(destination("web").named(name).member(application("app")))
            .destination(destination("b").named("theirs").adopt().member(application("mine")))
    };
    let joined = [
        scenario("web-net").swarm_manager(),
        scenario("web-net").swarm_worker("node2"),
        scenario("web-net").swarm_worker("node2").and("m1", Scenario::without_proxy().swarm_manager_of(2)),
    ];
    for scenario in joined {
        scenario.expect(
            "
            default/edge-1
              + connect traefik to theirs for Destination/shop/b (ProxyDetached)
              + connect traefik to web-net for Destination/shop/web (ProxyDetached)
              + connect app to web-net for Application/shop/app (MemberDetached)
            ",
        );
    }
    let mut locked = scenario("web-net").delete(Kind::Destination, "web").delete(Kind::Application, "app");
    locked.state().engine.swarm = SwarmState::Locked;
    assert!(locked.plan().to_string().contains("- remove network web-net"), "{}", locked.plan());
}

#[test]
fn a_bridge_can_be_asked_for_on_a_node_of_a_swarm() {
    let bridge = || destination("web").named("web-net").asserting(DestinationType::Standalone);
    for scenario in [Scenario::new().swarm_manager(), Scenario::new().swarm_worker("node2")] {
        scenario
            .container(container("app"))
            .service("api", &[], 1)
            .destination(bridge().member(application("app")).member(application("api").swarm_service("api")))
            .expect(
                "
                default/edge-1
                  + create network web-net for Destination/shop/web (NetworkMissing)
                  + connect traefik to web-net for Destination/shop/web (ProxyDetached)
                  + connect app to web-net for Application/shop/app (MemberDetached)
                  ! refused Application/shop/api: \"api\" is a Swarm service, and the destination is a bridge of one node, which no service can be on. (WrongScope)
                      hint: leave out `type: standalone` for an overlay (a destination of another name), or choose containers
                ",
            );
    }
}

/// A daemon that is going down answers for some seconds that it is standalone, and a node that is repaired leaves its Swarm and joins again.
#[test]
fn what_was_an_overlay_never_becomes_a_bridge() {
    let web = || destination("web").named("web-net").member(application("app"));
    let waits = |scenario: Scenario, told: &str| {
        scenario.prune().allow_mass_delete().expect_nothing_but(&format!(
            "
            default/edge-1
              ? waiting Destination/shop/web: Server/default/edge-1 is not part of a Swarm now, and the network of Destination/shop/web is one of a Swarm ({told}): nothing is made, moved or removed. (RoleChanged)
                  hint: it goes on when the server is a node of that Swarm again; should it stay out of it, set `type: standalone`
              ? waiting Application/shop/app: Destination/shop/web waits; its members are left as they are until that is resolved. (RoleChanged)
            "
        ));
    };
    let overlay = || network("web-net").of("web").overlay();
    let on_it = container("app").on("web-net").marked();
    // It is still listed, as by a daemon that is going down.
    waits(Scenario::new().network(overlay()).container(on_it.clone()).destination(web()), "the server still lists it");
    // It is gone, and who was on it has the id.
    let mut left = Scenario::new().network(overlay()).container(on_it.clone()).destination(web());
    left.state().networks.clear();
    waits(left.clone(), "the container \"app\" is on it by an id that a Swarm gave out");
    // Nothing is left here, and a manager has it.
    let repaired = || {
        Scenario::new()
            .container(container("app"))
            .destination(web())
            .and("m1", Scenario::without_proxy().swarm_manager_of(2).network(overlay()))
    };
    waits(repaired(), "Server/default/m1 lists it");
    // Nobody else is declared, and the set has a record.
    let mut recorded = Scenario::new().container(container("app")).destination(web());
    recorded.request.overlays = std::sync::Arc::new(["Destination/shop/web".parse().unwrap()].into());
    waits(recorded, "it was one when it was last seen");

    // It is to be a bridge from now on.
    let standalone = |scenario: Scenario| {
        scenario.redeclare("web", |it| it.asserting(DestinationType::Standalone)).prune().allow_mass_delete().plan()
    };
    let plan = standalone(repaired()).to_string();
    assert!(plan.contains("+ create network web-net for Destination/shop/web (NetworkMissing)"), "{plan}");
    assert!(plan.contains("- remove network web-net for Destination/shop/web (Undeclared)"), "{plan}");
    let plan = standalone(left).to_string();
    assert!(plan.contains("+ create network web-net for Destination/shop/web (NetworkMissing)"), "{plan}");
}

#[test]
fn pain_25_swarm_services_block_deletion_even_without_a_task_and_even_by_force() {
    let scenario = Scenario::without_proxy()
        .swarm_manager()
        .network(network("web-net").of("web").overlay())
        .container(container("api.1.x").on("web-net").label("com.docker.swarm.task.id", "t"))
        .service("api", &["web-net"], 0)
        .destination(destination("web").named("web-net"));
    scenario.clone().delete(Kind::Destination, "web").expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
              SwarmService api, 0 replicas
              SwarmTask api.1.x, running
              hint: remove what else is listed; remove the Swarm services, or take the network out of them: docker service update --network-rm
        ",
    );
    scenario.force_delete("web").expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
              SwarmService api, 0 replicas
              SwarmTask api.1.x, running
              hint: remove the Swarm services, or take the network out of them: docker service update --network-rm
        ",
    );
}

#[test]
fn a_network_with_swarm_services_is_not_replaced() {
    Scenario::without_proxy()
        .swarm_manager()
        .network(network("web-net").of("web").overlay().mtu("1500"))
        .service("api", &["web-net"], 1)
        .destination(
            destination("web")
                .named("web-net")
                .mtu(1450)
                .replacement(Replacement::Reattach)
                .member(application("api").swarm_service("api")),
        )
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: spec.network.mtu is 1500 on the server and 1450 in the manifest. Swarm services are on the network, and whether they are is up to their definitions. (ImmutableField)
                  SwarmService api, 1 replica
                  hint: declare `proxy: false` and leave the services out of the manifests until the network is replaced; what Landfall did not put there goes with docker service update --network-rm
            ",
        );
}

#[test]
fn tasks_are_not_connected_or_disconnected() {
    Scenario::without_proxy()
        .swarm_manager()
        .network(network("web-net").of("web").overlay())
        .container(container("in").on("web-net").label("com.docker.swarm.task.id", "t"))
        .container(container("out").label("com.docker.swarm.task.id", "t"))
        .destination(destination("web").named("web-net").exclusive().member(application("out")))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Application/shop/out: The container \"out\" is a task of a Swarm service, which decides on its networks; it is not on that of Destination/shop/web. (WrongScope)
                  hint: choose the service instead: `containers: { swarmServices: [NAME] }`
              . unmanaged Destination/shop/web: No resource declares the container \"in\", which is on \"web-net\". (MembershipForeign)
                  hint: declare it, or set `membership: Exclusive` to have it disconnected
            ",
        );
}

/// A manager lists a network before it has given it a driver, options and subnets.
#[test]
fn fact_11_a_network_that_is_not_allocated_yet_is_no_bridge() {
    let declared = || destination("web").named("web-net").subnet("10.42.0.0/24").mtu(1450);
    Scenario::without_proxy()
        .network(network("web-net").of("web").unallocated())
        .destination(declared())
        .expect_nothing_but(
            "
            default/edge-1
              ? waiting Destination/shop/web: Server/default/edge-1 is not part of a Swarm now, and the network of Destination/shop/web is one of a Swarm (the server still lists it): nothing is made, moved or removed. (RoleChanged)
                  hint: it goes on when the server is a node of that Swarm again; should it stay out of it, set `type: standalone`
            ",
        );
}

#[test]
fn containers_are_not_connected_to_an_overlay_that_takes_none_and_the_line_for_the_stack_file_is_named() {
    Scenario::new()
        .swarm_manager()
        .network(network("shop_front").overlay().not_attachable().label("com.docker.stack.namespace", "shop"))
        .network(network("by-hand").overlay().not_attachable())
        .container(container("app"))
        .destination(destination("a").named("shop_front").adopt())
        .destination(destination("b").named("by-hand").adopt().without_proxy().member(application("app")))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/a: The network \"shop_front\" is not attachable: only Swarm services can be on it, and \"traefik\" is a container. (WrongScope)
                  hint: in the stack file, under `networks:` and `front:`, write `attachable: true`; Docker makes the network anew after docker stack rm shop
              ! refused Application/shop/app: The network \"by-hand\" is not attachable: only Swarm services can be on it, and \"app\" is a container. (WrongScope)
                  hint: remove the network and make it anew: docker network create --driver overlay --attachable by-hand
            ",
        );
}
