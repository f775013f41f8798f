//! Several servers that are nodes of one Swarm: `edge-1` is a worker or a manager, and what is declared beside it decides what can be done.

use landfall::core::api::Kind;
use landfall::core::observed::ContainerState;

use crate::support::scenario::{Scenario, application, assert_same, container, database, destination, network};

fn manager() -> Scenario {
    Scenario::without_proxy().swarm_manager_of(3)
}

fn worker() -> Scenario {
    Scenario::without_proxy().swarm_worker("node2")
}

#[test]
fn a_workers_network_is_made_by_a_declared_manager() {
    let scenario = worker()
        .container(container("app"))
        .destination(destination("web").named("web-net").member(application("app")))
        .and("m1", manager());
    let document = landfall::core::report::Report::planned(scenario.plan()).document();
    let routes: Vec<_> =
        document.operations.iter().map(|it| (it.op.as_str(), it.server.as_str(), it.via.as_deref())).collect();
    assert_eq!(
        routes,
        [("CreateNetwork", "default/edge-1", Some("default/m1")), ("ConnectEndpoint", "default/edge-1", None)]
    );
    scenario.expect(
        "
        default/edge-1
          + create network web-net (overlay) for Destination/shop/web (NetworkMissing), by way of default/m1
          + connect app to web-net for Application/shop/app (MemberDetached)
        ",
    );
}

#[test]
fn pain_36_a_worker_that_does_not_list_a_network_yet_lacks_nothing() {
    worker()
        .destination(destination("web").named("web-net"))
        .and("m1", manager().network(network("web-net").of("web").overlay()))
        .expect("");
}

#[test]
fn another_manager_takes_the_place_of_one_that_cannot_be_reached() {
    let cluster = || {
        worker()
            .destination(destination("web").named("web-net"))
            .and("m1", manager().unreachable())
            .and("m2", Scenario::without_proxy().swarm_manager_named("node3", 3))
    };
    cluster().expect(
        "
        default/edge-1
          + create network web-net (overlay) for Destination/shop/web (NetworkMissing), by way of default/m2
        default/m1
          * warning Server/default/m1: It does not answer. (ServerUnreachable)
              hint: start it
        ",
    );
    // Whichever of them is planned for.
    cluster().only("edge-1").expect(
        "
        default/edge-1
          + create network web-net (overlay) for Destination/shop/web (NetworkMissing), by way of default/m2
        ",
    );
}

#[test]
fn without_a_manager_that_answers_the_addresses_are_named() {
    worker()
        .destination(destination("web").named("web-net"))
        .and("m1", manager().unreachable())
        .only("edge-1")
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: Server/default/edge-1 is a worker of a Swarm, whose networks are made by its managers, and none that is declared could be reached (default/m1 did not answer). Its manager is 10.0.0.1:2377. (NotASwarmManager)
                  hint: declare a further manager of that Swarm as a server, or try again when they answer
            ",
        );
}

#[test]
fn whoever_is_on_the_network_on_another_node_blocks_its_deletion_even_by_force() {
    let cluster = || {
        let overlay = || network("web-net").of("web").overlay();
        let db = container("db-1").state(ContainerState::Exited).on("web-net");
        manager()
            .network(overlay())
            .destination(destination("web").named("web-net"))
            .and("w1", worker().network(overlay()).container(db))
            .and("w2", Scenario::without_proxy().swarm_worker("node3"))
    };
    cluster().delete(Kind::Destination, "web").expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
              Container db-1, exited, on default/w1
              hint: remove what is listed, or stop and disconnect it all: landfall delete destination web -n shop --force
        ",
    );
    cluster().force_delete("web").expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
              Container db-1, exited, on default/w1
              hint: disconnect or remove what is on other servers, such as default/w1, there; remove the Swarm services, or take the network out of them: docker service update --network-rm
        ",
    );
    cluster().undeclare("web").prune().expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
              Container db-1, exited, on default/w1
              hint: remove what is listed, or stop and disconnect it all: landfall delete destination web -n shop --force
        ",
    );
}

#[test]
fn a_declared_node_that_does_not_answer_stands_in_the_way_of_a_deletion() {
    let cluster = || {
        manager()
            .network(network("web-net").of("web").overlay())
            .destination(destination("web").named("web-net"))
            .and("w1", worker())
            .and("w2", Scenario::without_proxy().unreachable())
            .only("edge-1")
    };
    cluster().delete(Kind::Destination, "web").expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: 1 node of the Swarm was not looked at, and default/w2 did not answer: whether a container there needs the network \"web-net\" is unknown. (ServerUnreachable)
              hint: delete it when they answer; if nothing there needs it: landfall delete destination web -n shop --force
        ",
    );
    cluster().force_delete("web").expect(
        "
        default/edge-1
          - remove network web-net for Destination/shop/web (DeletionRequested)
          * warning Destination/shop/web: 1 node of the Swarm was not looked at: a stopped container there that is on the network \"web-net\" could not start again. (ServerUnreachable)
              hint: declare every node of the Swarm as a server
        ",
    );
}

#[test]
fn nodes_that_nobody_declares_are_mentioned_and_no_more() {
    manager()
        .network(network("web-net").of("web").overlay())
        .destination(destination("web").named("web-net"))
        .delete(Kind::Destination, "web")
        .expect(
            "
            default/edge-1
              - remove network web-net for Destination/shop/web (DeletionRequested)
              * warning Destination/shop/web: 2 nodes of the Swarm were not looked at: a stopped container there that is on the network \"web-net\" could not start again. (ServerUnreachable)
                  hint: declare every node of the Swarm as a server
            ",
        );
}

#[test]
fn with_every_node_seen_a_server_that_does_not_answer_is_none_of_them() {
    Scenario::without_proxy()
        .swarm_manager_of(2)
        .network(network("web-net").of("web").overlay())
        .destination(destination("web").named("web-net"))
        .and("other", Scenario::without_proxy().unreachable())
        .and("w1", worker())
        .only("edge-1")
        .delete(Kind::Destination, "web")
        .expect(
            "
            default/edge-1
              - remove network web-net for Destination/shop/web (DeletionRequested)
            ",
        );
}

#[test]
fn a_workers_network_is_no_leftover_of_its_manager() {
    let cluster = || {
        worker()
            .destination(destination("web").named("web-net"))
            .and("m1", manager().network(network("web-net").of("web").overlay()))
    };
    cluster().prune().expect("");
    cluster().prune().only("m1").expect("");
    // Not even while the worker does not answer.
    let mut silent = cluster().prune().only("m1");
    silent = silent.unreachable();
    silent.expect("");
}

#[test]
fn what_is_left_over_is_removed_once_however_many_managers_list_it() {
    let overlay = || network("old-net").of("old").overlay();
    let second = Scenario::without_proxy().swarm_manager_named("node2", 2).network(overlay());
    Scenario::without_proxy()
        .swarm_manager_of(2)
        .network(overlay())
        .and("m2", second)
        .prune()
        .allow_mass_delete()
        .expect(
            "
        default/edge-1
          - remove network old-net for Destination/shop/old (Undeclared)
        ",
        );
}

#[test]
fn pain_15_a_bridge_of_a_worker_and_an_overlay_of_one_name_are_left_alone() {
    worker()
        .network(network("web-net"))
        .destination(destination("web").named("web-net"))
        .and("m1", manager().network(network("web-net").of("web").overlay()))
        .only("edge-1")
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: 2 networks are named \"web-net\": e2586ecbcd3f (overlay, swarm), e2586ecbcd3f (bridge, local). (NameAmbiguous)
                  hint: remove the one that is not needed by its id: docker network rm ID
            ",
        );
}

#[test]
fn destinations_of_one_team_on_several_nodes_share_a_network_that_one_of_them_makes() {
    let shared = || {
        worker()
            .container(container("db"))
            .destination(destination("web-w1").named("web-net").adopt().member(database("db")))
    };
    let mut both = manager().destination(destination("web").named("web-net")).and("w1", shared());
    assert_same(
        &both.apply().to_string(),
        "
        default/edge-1
          + create network web-net (overlay) for Destination/shop/web (NetworkMissing)
        default/w1
          ? waiting Destination/shop/web-w1: Destination/shop/web, on another node of the Swarm, has not made the network yet. (NetworkNotFound)
              hint: apply again when it has
          ? waiting Database/shop/db: Destination/shop/web-w1 has no network yet; its members are left as they are until that is resolved. (NetworkNotFound)
        ",
    );
    both.expect(
        "
        default/w1
          + connect db to web-net for Database/shop/db (MemberDetached)
        ",
    );
    let made =
        || manager().network(network("web-net").of("web").overlay()).destination(destination("web").named("web-net"));
    made().and("w1", shared()).prune().expect(
        "
        default/w1
          + connect db to web-net for Database/shop/db (MemberDetached)
        ",
    );
    // It is shared, so it does not go with either of them.
    made().and("w1", shared()).delete(Kind::Destination, "web").expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
              Destination web-w1, declared, on default/w1
              hint: remove what is listed, or stop and disconnect it all: landfall delete destination web -n shop --force
        ",
    );
    // Nobody else's, whatever they say.
    let foreign = worker().destination(destination("other/web").named("web-net").adopt());
    made().and("w1", foreign).expect_nothing_but(
        "
        default/w1
          ! refused Destination/other/web: By its labels, the network \"web-net\" belongs to Destination/shop/web. (OwnershipConflict)
              hint: choose another network name, and members move there without a gap; deleting that destination first takes them off meanwhile
        ",
    );
}

#[test]
fn a_network_of_the_swarm_is_reported_as_unmanaged_once_and_only_if_nobody_declares_it() {
    let networks = |scenario: Scenario| {
        scenario.network(network("web-net").of("web").overlay()).network(network("stray-net").overlay())
    };
    let scenario = networks(manager())
        .destination(destination("web").named("web-net"))
        .and("m2", networks(Scenario::without_proxy().swarm_manager_named("node2", 3)))
        .and("w1", networks(Scenario::without_proxy().swarm_worker("node3")));
    let plan = scenario.plan();
    let drift = landfall::core::drift::drift(&landfall::core::drift::DriftInput {
        desired: &scenario.desired,
        observed: &scenario.observed,
        plan: &plan,
        events: &std::collections::BTreeMap::new(),
        locations: &std::collections::BTreeMap::new(),
    });
    let unmanaged: Vec<_> = drift.unmanaged.iter().map(|it| (it.server.as_str(), it.name.as_str())).collect();
    assert_eq!(unmanaged, [("default/edge-1", "stray-net")]);
}
