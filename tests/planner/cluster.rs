//! What the other nodes of a Swarm have to do with a plan: their addresses, whether they take part, and who is on networks there.

use landfall::core::api::{ConditionStatus, DestinationType, Kind};
use landfall::core::drift::{DriftInput, drift};
use landfall::core::observed::{
    AddressOf, AddressPool, ContainerState, NodeAvailability, ObservedNode, OwnAddress, SwarmAttachment, SwarmState,
    TaskCount,
};
use landfall::core::report::Report;
use landfall::core::status::Status;

use crate::support::scenario::{Scenario, application, container, destination, edge, hex_id, key, network};

fn manager() -> Scenario {
    Scenario::without_proxy().swarm_manager_of(3)
}

fn worker() -> Scenario {
    Scenario::without_proxy().swarm_worker("node2")
}

/// What the manager says of a node.
fn node(mut scenario: Scenario, id: &str, availability: NodeAvailability, up: bool) -> Scenario {
    let address = format!("10.9.0.{}", id.trim_start_matches("node")).parse().ok();
    let node = ObservedNode { id: id.to_owned(), name: format!("host-{id}"), availability, up, address };
    scenario.state().nodes.push(node);
    scenario
}

fn by_hand(mut scenario: Scenario, container: &str, on: &str, name: &str) -> Scenario {
    let networks = scenario.state().networks.iter().filter(|it| it.name == name).map(|it| it.id.to_string()).collect();
    let container = hex_id(container);
    scenario.state().attachments.push(SwarmAttachment { container, node: on.to_owned(), networks });
    scenario
}

#[test]
fn nobody_is_connected_to_a_network_of_the_swarm_on_a_node_that_it_gives_nothing_to() {
    let cluster = |availability, up| {
        let m1 = node(manager(), "node2", availability, up);
        worker()
            .container(container("app"))
            .container(container("new").state(ContainerState::Created))
            .destination(destination("web").named("web-net").member(application("app")).member(application("new")))
            .destination(
                destination("local")
                    .named("local-net")
                    .asserting(DestinationType::Standalone)
                    .member(application("app")),
            )
            .and("m1", m1)
    };
    let bridge = "default/edge-1
          + create network local-net for Destination/shop/local (NetworkMissing)
          + connect app to local-net for Application/shop/app (MemberDetached)
          + create network web-net (overlay) for Destination/shop/web (NetworkMissing), by way of default/m1";
    cluster(NodeAvailability::Active, true).expect(&format!(
        "
        {bridge}
          + connect app to web-net for Application/shop/app (MemberDetached)
          + connect new to web-net for Application/shop/new (MemberDetached)
        "
    ));
    let node = |state: &str, kind: &str, hint: &str| {
        let said = |name: &str| {
            format!(
                "{kind} Application/shop/{name}: The node host-node2 {state}, and the Swarm lets no container of it onto its networks: \"{name}\" is not connected to \"web-net\". (NodeUnavailable)
              hint: {hint}"
            )
        };
        format!("\n        {bridge}\n          {}\n          {}\n        ", said("app"), said("new"))
    };
    let active = "on a manager: docker node update --availability active node2";
    cluster(NodeAvailability::Drain, true).expect(&node("is drained", "! refused", active));
    cluster(NodeAvailability::Pause, true).expect(&node("is paused", "! refused", active));
}

#[test]
fn who_is_on_a_network_on_a_node_that_nobody_looked_at_blocks_its_deletion_as_the_managers_know() {
    let cluster = |up| {
        let scenario = node(manager(), "node1", NodeAvailability::Active, true);
        let scenario =
            node(node(scenario, "node2", NodeAvailability::Active, true), "node3", NodeAvailability::Active, up);
        let scenario = scenario.network(network("web-net").of("web").overlay());
        // What is on a declared node is seen there, and may be on its way out.
        let scenario = by_hand(by_hand(scenario, "gone", "node2", "web-net"), "app", "node3", "web-net");
        scenario.destination(destination("web").named("web-net")).and("w1", worker())
    };
    let id = &hex_id("app")[..12];
    for (up, state) in [(true, "which was not looked at"), (false, "which is down")] {
        let refused = format!(
            "
            default/edge-1
              ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
                  Container {id}, on the node host-node3, {state}
                  hint: take them off there, or declare that node as a server; if it is gone for good: docker node rm --force NODE, on a manager
            "
        );
        cluster(up).delete(Kind::Destination, "web").expect_nothing_but(&refused);
        cluster(up).force_delete("web").expect_nothing_but(&refused);
        cluster(up).undeclare("web").prune().allow_mass_delete().expect_nothing_but(&refused);
    }
}

#[test]
fn an_overlay_has_no_address_that_a_node_of_its_swarm_has_another_use_for() {
    let cluster = |subnet: &str| {
        let mut own = node(manager(), "node3", NodeAvailability::Active, true);
        own.state().engine.address_pools = vec![AddressPool { base: "10.60.0.0/16".to_owned(), size: 24 }];
        let mut other = worker().network(network("legacy").subnet("10.43.0.0/16"));
        let address = OwnAddress::new("192.168.7.4".parse().unwrap(), AddressOf::Server).unwrap();
        other.state().engine.addresses.push(address);
        other.state().engine.address_pools = vec![AddressPool { base: "10.0.0.0/8".to_owned(), size: 24 }];
        own.network(network("mine").subnet("10.42.0.0/16"))
            .destination(destination("web").named("web-net").subnet(subnet))
            .and("w1", other)
    };
    let refused = |subnet: &str, why: &str| {
        let said = cluster(subnet).plan().to_string();
        let words = format!("! refused Destination/shop/web: The subnet {subnet} {why}. (SubnetOverlap)");
        assert!(said.contains(&words), "{said}");
        assert!(!said.contains("+ create"), "{said}");
    };
    refused("10.42.0.0/24", "overlaps 10.42.0.0/16 of the network \"mine\" on Server/default/edge-1");
    refused("10.43.7.0/24", "overlaps 10.43.0.0/16 of the network \"legacy\" on Server/default/w1");
    refused("192.168.7.0/24", "contains 192.168.7.4, the address by which the server is reached (Server/default/w1)");
    // Of a node that nobody declares.
    refused("10.9.0.0/24", "contains 10.9.0.3, the address of the node host-node3");
    refused("10.60.9.0/24", "overlaps 10.60.0.0/16, from which Server/default/edge-1 takes the next bridges");
    refused("10.0.9.0/24", "overlaps 10.0.0.0/16, from which Server/default/w1 takes the next bridges");
    // Far from those that it takes next.
    cluster("10.200.0.0/24").expect(
        "
        default/edge-1
          + create network web-net (overlay, 10.200.0.0/24) for Destination/shop/web (NetworkMissing)
        ",
    );
}

#[test]
fn a_bridge_of_a_node_has_no_address_of_an_overlay() {
    manager()
        .network(network("theirs").overlay().subnet("10.42.0.0/16"))
        .destination(destination("web").named("web-net").subnet("10.42.1.0/24").asserting(DestinationType::Standalone))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: The subnet 10.42.1.0/24 overlaps 10.42.0.0/16 of the network \"theirs\". (SubnetOverlap)
                  hint: choose another subnet; `docker network ls` and `docker network inspect` show those in use
            ",
        );
}

#[test]
fn overlapping_overlays_that_are_declared_on_two_nodes_are_one_conflict() {
    let other = worker().destination(destination("b").named("b-net").subnet("10.42.0.128/25"));
    manager().destination(destination("a").named("a-net").subnet("10.42.0.0/24")).and("w1", other).expect(
        "
        default/edge-1
          + create network a-net (overlay, 10.42.0.0/24) for Destination/shop/a (NetworkMissing)
        default/w1
          ! refused Destination/shop/b: The subnet 10.42.0.128/25 overlaps 10.42.0.0/24 of Destination/shop/a, which is declared for Server/default/edge-1, a node of the same Swarm. (SubnetOverlap)
              hint: choose another subnet for one of the two
        ",
    );
}

#[test]
fn a_network_that_stays_without_addresses_is_refused_and_nobody_is_connected_to_it() {
    manager()
        .network(network("web-net").of("web").unallocated())
        .container(container("app"))
        .destination(destination("web").named("web-net").subnet("10.42.0.0/24").member(application("app")))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: The Swarm has given the network \"web-net\" no driver and no addresses. (AddressPoolExhausted)
                  hint: the Swarm's address pools are used up, or another network has the declared subnet (its managers log it): remove unused overlay networks, or remove this one and declare another `spec.network.subnets`
              ? waiting Application/shop/app: Destination/shop/web has no addresses; its members are left as they are until that is resolved. (AddressPoolExhausted)
            ",
        );
}

#[test]
fn whoever_shares_a_network_need_not_say_again_what_it_is_like() {
    let shared = |adopted: bool| {
        let mut overlay = network("web-net").overlay();
        if !adopted {
            overlay = overlay.of("web");
        }
        let mut own = manager().network(overlay);
        let made = own.state().networks.last_mut().unwrap();
        made.options.insert("encrypted".to_owned(), String::new());
        made.internal = true;
        let web =
            destination("web").named("web-net").with(|it| (it.network.encrypted, it.network.internal) = (true, true));
        let web = if adopted { web.adopt() } else { web };
        let on = worker()
            .container(container("app"))
            .destination(destination("web-w1").named("web-net").adopt().member(application("app")));
        own.destination(web).and("w1", on)
    };
    for adopted in [false, true] {
        shared(adopted).expect(
            "
            default/w1
              + connect app to web-net for Application/shop/app (MemberDetached)
            ",
        );
    }
}

/// Conditions of an object, as `Type=Status Reason`.
fn conditions(scenario: &Scenario, kind: Kind, path: &str, of: &[&str]) -> Vec<String> {
    let status = Status::new(&scenario.desired, &scenario.observed, &Report::planned(scenario.plan()));
    let object = if kind == Kind::Server { edge() } else { key(kind, path) };
    let word = |status| match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    };
    let of = of.iter().map(|name| status.condition(&object, name).unwrap_or_else(|| panic!("{name} of {object}")));
    of.map(|it| format!("{}={} {}", it.condition_type, word(it.status), it.reason)).collect()
}

#[test]
fn a_server_is_ready_when_every_destination_on_it_is() {
    let scenario = |named: &str| {
        Scenario::without_proxy()
            .network(network("web-net").of("web"))
            .container(container("app").on("web-net").marked())
            .destination(destination("web").named("web-net").member(application("app")))
            .destination(destination("later").named(named).suspended())
    };
    assert_eq!(conditions(&scenario("b-net"), Kind::Server, "", &["Ready"]), ["Ready=True Reachable"]);
    let waits = scenario("b-net").redeclare("web", |it| it.member(application("gone")));
    assert_eq!(conditions(&waits, Kind::Server, "", &["Ready"]), ["Ready=False ContainerMissing"]);
    let differs = scenario("b-net").redeclare("web", |it| it.mtu(1400));
    assert_eq!(conditions(&differs, Kind::Server, "", &["Ready"]), ["Ready=False ImmutableField"]);
}

#[test]
fn a_manager_that_is_locked_or_without_a_leader_is_shown_as_such_and_what_it_cannot_tell_is_unknown() {
    for (swarm, server_type) in [
        (SwarmState::Locked, "locked"),
        (SwarmState::Error { message: "The swarm does not have a leader.".to_owned(), manager: true }, "leaderless"),
        (SwarmState::Error { message: "certificate expired".to_owned(), manager: false }, "error"),
        (SwarmState::Pending, "pending"),
    ] {
        let mut scenario = Scenario::without_proxy()
            .network(network("web-net").of("web").overlay())
            .network(network("w1-net").of("on-w1").overlay())
            .container(container("app").on("web-net").marked())
            .destination(destination("web").named("web-net").member(application("app")))
            .and("w1", worker().destination(destination("on-w1").named("w1-net")));
        scenario.state().engine.swarm = swarm;
        let plan = scenario.plan();
        assert_eq!(serde_json::json!(plan.servers[0].server_type), server_type);
        assert_eq!(
            conditions(&scenario, Kind::Destination, "web", &["Ready", "NetworkExists", "MembersConnected", "InSync"]),
            [
                "Ready=Unknown NotASwarmManager",
                "NetworkExists=Unknown NotASwarmManager",
                "MembersConnected=Unknown NotASwarmManager",
                "InSync=Unknown NotASwarmManager"
            ],
            "{server_type}"
        );
        assert_eq!(conditions(&scenario, Kind::Server, "", &["Ready"]), ["Ready=Unknown NotASwarmManager"]);
        // Networks of the Swarm that it still lists are somebody's, for all that anybody knows.
        assert_eq!(unmanaged(&scenario), [""; 0], "{server_type}");
    }
}

fn unmanaged(scenario: &Scenario) -> Vec<String> {
    let plan = scenario.plan();
    let drift = drift(&DriftInput {
        desired: &scenario.desired,
        observed: &scenario.observed,
        plan: &plan,
        events: &std::collections::BTreeMap::new(),
        locations: &std::collections::BTreeMap::new(),
    });
    drift.unmanaged.iter().map(|it| format!("{}: {:?} {}", it.server, it.kind, it.name)).collect()
}

#[test]
fn containers_of_a_worker_on_another_nodes_network_are_reported_where_they_are() {
    let overlay = || network("web-net").of("web").overlay();
    let on = |destination: Option<_>| {
        let w1 = worker().network(overlay()).container(container("app").on("web-net")).container(
            container("api.1.x")
                .on("web-net")
                .label("com.docker.swarm.service.name", "api")
                .label("com.docker.swarm.task.id", "t"),
        );
        let w1 = match destination {
            Some(it) => w1.destination(it),
            None => w1,
        };
        manager()
            .network(overlay())
            .service("api", &["web-net"], 1)
            .put_there("web-net", &[])
            .destination(destination_web().member(application("api").swarm_service("api")))
            .and("w1", w1)
    };
    assert_eq!(unmanaged(&on(None)), ["default/w1: Container app"]);
    let shared = destination("web-w1").named("web-net").adopt().member(application("app"));
    assert_eq!(unmanaged(&on(Some(shared))), [""; 0]);
}

fn destination_web() -> crate::support::scenario::DestinationBuilder {
    destination("web").named("web-net")
}

/// A proxy that is a service is on the network by its definition, and lets nobody in while its tasks do not run.
#[test]
fn health_speaks_of_tasks() {
    let scenario = |edge_tasks, api_tasks| {
        let mut scenario = Scenario::without_proxy()
            .swarm_manager()
            .proxy_service("edge")
            .network(network("web-net").of("web").overlay())
            .service("edge", &["web-net"], 2)
            .put_there("web-net", &[])
            .service("api", &["web-net"], 2)
            .put_there("web-net", &[])
            .destination(destination_web().member(application("api").swarm_service("api")));
        for (service, running) in scenario.state().services.iter_mut().zip([edge_tasks, api_tasks]) {
            service.tasks = Some(TaskCount { desired: 2, running });
            service.failure = (running < 2).then(|| "rejected: no address".to_owned());
        }
        scenario
    };
    let of = |scenario: &Scenario| {
        let mut all = conditions(scenario, Kind::Destination, "web", &["ProxyConnected", "MembersConnected", "Ready"]);
        all.extend(conditions(scenario, Kind::Application, "api", &["Ready", "Healthy"]));
        all.extend(conditions(scenario, Kind::Server, "", &["Ready"]));
        all
    };
    assert_eq!(
        of(&scenario(2, 2)),
        [
            "ProxyConnected=True Connected",
            "MembersConnected=True AllConnected",
            "Ready=True AsDeclared",
            "Ready=True Connected",
            "Healthy=True Serving",
            "Ready=True Reachable"
        ]
    );
    assert_eq!(
        of(&scenario(2, 0)),
        [
            "ProxyConnected=True Connected",
            "MembersConnected=False TasksNotRunning",
            "Ready=False TasksNotRunning",
            "Ready=False TasksNotRunning",
            "Healthy=False TasksNotRunning",
            "Ready=False TasksNotRunning"
        ]
    );
    assert_eq!(
        of(&scenario(1, 2)),
        [
            "ProxyConnected=False TasksNotRunning",
            "MembersConnected=True AllConnected",
            "Ready=False TasksNotRunning",
            "Ready=True Connected",
            "Healthy=True Serving",
            "Ready=False TasksNotRunning"
        ]
    );
    let broken = scenario(2, 0);
    let status = Status::new(&broken.desired, &broken.observed, &Report::planned(broken.plan()));
    let message =
        |condition: &str| status.condition(&key(Kind::Application, "api"), condition).unwrap().message.clone();
    assert_eq!(message("Healthy"), "0 of 2 tasks of api run: rejected: no address.");
    let fine = scenario(2, 2);
    let status = Status::new(&fine.desired, &fine.observed, &Report::planned(fine.plan()));
    let connected = &status.condition(&key(Kind::Destination, "web"), "MembersConnected").unwrap().message;
    assert_eq!(connected, "1 Swarm service with 2 tasks is connected.");
}
