//! Declared addresses: who gets them, in which order, and who makes room.

use std::net::IpAddr;

use landfall::core::api::Replacement;
use landfall::core::desired::DesiredDestination;
use landfall::core::observed::ContainerState;
use landfall::core::plan::park;

use crate::support::scenario::{
    ContainerBuilder, DestinationBuilder, Scenario, application, connection, container, database, destination, network,
};

/// A network of Landfall's, on a server with a proxy.
fn addressed() -> Scenario {
    Scenario::new().network(network("web-net").of("web").subnet("10.42.0.0/24"))
}

fn web() -> DestinationBuilder {
    destination("web").named("web-net").subnet("10.42.0.0/24")
}

#[test]
fn who_declares_an_address_is_connected_before_those_who_are_given_one() {
    let scenario = Scenario::new().container(container("second")).container(container("api")).destination(
        web().member(application("second")).member(application("zapi").containers(&["api"]).address("10.42.0.2")),
    );
    let connected = connection(&scenario.plan(), "second").1;
    assert_eq!(connected.addresses, ["10.42.0.2".parse::<IpAddr>().unwrap()]);
    assert_eq!(connected.spare[0], "10.42.0.253".parse::<IpAddr>().unwrap(), "the first is for the proxy");
    scenario.expect(
        "
        default/edge-1
          + create network web-net (10.42.0.0/24) for Destination/shop/web (NetworkMissing)
          + connect api to web-net as 10.42.0.2 for Application/shop/zapi (MemberDetached)
          + connect traefik to web-net for Destination/shop/web (ProxyDetached)
          + connect second to web-net for Application/shop/second (MemberDetached)
        ",
    );
}

#[test]
fn spare_addresses_are_free_such_that_docker_does_not_give_and_others_for_each() {
    let spare = |change: fn(&mut DesiredDestination)| {
        let scenario = Scenario::new()
            .container(container("db"))
            .destination(web().with(change).member(database("db").address("10.42.0.10")));
        let spare = connection(&scenario.plan(), "traefik").1.spare;
        spare.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(spare(|_| {}), "10.42.0.254 10.42.0.252 10.42.0.250 10.42.0.248");
    assert_eq!(
        spare(|it| it.network.subnets[0].gateway = Some("10.42.0.254".parse().unwrap())),
        "10.42.0.253 10.42.0.251 10.42.0.249 10.42.0.247"
    );
    assert_eq!(
        spare(|it| it.network.subnets[0].ip_range = Some("10.42.0.128/25".parse().unwrap())),
        "10.42.0.127 10.42.0.125 10.42.0.123 10.42.0.121"
    );
    assert_eq!(spare(|it| it.network.subnets[0].subnet = "10.42.0.8/29".parse().unwrap()), "10.42.0.14 10.42.0.12");
}

#[test]
fn an_address_that_a_stranger_holds_is_refused_before_anyone_is_disconnected() {
    let squatted = |db: ContainerBuilder| {
        Scenario::without_proxy()
            .network(network("web-net").of("web").subnet("10.42.0.0/24"))
            .container(db)
            .container(container("squatter").on("web-net").address("10.42.0.10"))
            .destination(web().member(database("db").address("10.42.0.10")))
            .expect_nothing_but(
                "
                default/edge-1
                  ! refused Database/shop/db: spec.endpoint.ipv4Address is 10.42.0.10, which the container \"squatter\" holds. (AddressTaken)
                      hint: declare another address, or free it: docker network disconnect web-net squatter
                  . unmanaged Destination/shop/web: No resource declares the container \"squatter\", which is on \"web-net\". (MembershipForeign)
                      hint: declare it, or set `membership: Exclusive` to have it disconnected
                ",
            );
    };
    squatted(container("db").on("web-net").address("10.42.0.2"));
    squatted(container("db"));
    // It would not start.
    squatted(container("db").on("web-net").static_address("10.42.0.10").exited());
    squatted(container("db").on("web-net").static_address("10.42.0.10").created());
}

#[test]
fn a_member_that_people_connected_is_not_moved_off_an_address() {
    addressed()
        .container(container("traefik").on("web-net").marked())
        .container(container("app").on("web-net").address("10.42.0.10"))
        .container(container("db"))
        .destination(web().member(application("app")).member(database("db").address("10.42.0.10")))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Database/shop/db: spec.endpoint.ipv4Address is 10.42.0.10, which the container \"app\" holds. (AddressTaken)
                  hint: declare another address, or free it: docker network disconnect web-net app
            ",
        );
}

#[test]
fn an_endpoint_of_landfalls_makes_room_for_the_owner_of_its_address() {
    addressed()
        .container(container("traefik").on("web-net").address("10.42.0.2").marked())
        .container(container("api"))
        .destination(web().member(application("api").address("10.42.0.2")))
        .expect(
            "
            default/edge-1
              - disconnect traefik from web-net for Destination/shop/web (AddressReserved), disruptive
              + connect api to web-net as 10.42.0.2 for Application/shop/api (MemberDetached)
              + connect traefik to web-net for Destination/shop/web (AddressReserved)
            ",
        );
}

#[test]
fn an_endpoint_of_landfalls_is_moved_off_the_address_of_a_member_that_is_stopped_or_missing() {
    let moved = "
        default/edge-1
          - disconnect traefik from web-net for Destination/shop/web (AddressReserved), disruptive
          + connect traefik to web-net for Destination/shop/web (AddressReserved)
        ";
    let proxy = || addressed().container(container("traefik").on("web-net").address("10.42.0.2").marked());
    let api = container("api").on("web-net").static_address("10.42.0.2").exited();
    let scenario = proxy().container(api).destination(web().member(application("api").address("10.42.0.2")));
    assert_eq!(connection(&scenario.plan(), "traefik").1.addresses, ["10.42.0.2".parse::<IpAddr>().unwrap()]);
    scenario.expect(moved);
    let waited_for = "  ? waiting Application/shop/api: There is no container named \"api\". (ContainerMissing)
              hint: it is connected as soon as it is there; correct `spec.containers` if it goes by another name";
    proxy()
        .destination(web().member(application("api").address("10.42.0.2")))
        .expect(&format!("{}\n        {waited_for}", moved.trim_end()));
}

#[test]
fn members_exchange_their_addresses() {
    let mut scenario = Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24"))
        .container(container("a"))
        .container(container("b"))
        .destination(
            web().member(application("a").address("10.42.0.10")).member(application("b").address("10.42.0.11")),
        );
    scenario.apply();
    let scenario = scenario.undeclare("web").destination(
        web().member(application("a").address("10.42.0.11")).member(application("b").address("10.42.0.10")),
    );
    let planned = scenario.plan();
    let group = &planned.servers[0].groups[0];
    let undo: Vec<_> = group.operations.iter().map(|it| it.undo.as_ref().unwrap().to_string()).collect();
    assert_eq!(
        undo,
        [
            "connect a to web-net as 10.42.0.10",
            "connect b to web-net as 10.42.0.11",
            "disconnect a from web-net",
            "disconnect b from web-net"
        ]
    );
    assert_eq!(group.journal.as_ref().unwrap().endpoints.len(), 2);
    scenario.expect(
        "
        default/edge-1
          - disconnect a from web-net for Application/shop/a (EndpointDiffers), disruptive
          - disconnect b from web-net for Application/shop/b (EndpointDiffers), disruptive
          + connect a to web-net as 10.42.0.11 for Application/shop/a (EndpointDiffers)
          + connect b to web-net as 10.42.0.10 for Application/shop/b (EndpointDiffers)
        ",
    );
}

#[test]
fn an_address_is_handed_over_along_a_chain_and_no_further_than_a_stranger_lets_it() {
    let declared = |a: &str, b: &str| {
        let a = application("a").address(a);
        let b = application("b").address(b);
        web().member(a).member(b).member(application("c"))
    };
    let mut scenario = Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24"))
        .container(container("a"))
        .container(container("b"))
        .container(container("c"))
        .destination(
            declared("10.42.0.10", "10.42.0.11").with(|it| it.members[2] = application("c").address("10.42.0.12").0),
        );
    scenario.apply();
    let scenario = scenario.undeclare("web").destination(declared("10.42.0.11", "10.42.0.12"));
    scenario.clone().expect(
        "
        default/edge-1
          - disconnect a from web-net for Application/shop/a (EndpointDiffers), disruptive
          - disconnect b from web-net for Application/shop/b (EndpointDiffers), disruptive
          - disconnect c from web-net for Application/shop/c (EndpointDiffers), disruptive
          + connect a to web-net as 10.42.0.11 for Application/shop/a (EndpointDiffers)
          + connect b to web-net as 10.42.0.12 for Application/shop/b (EndpointDiffers)
          + connect c to web-net for Application/shop/c (EndpointDiffers)
        ",
    );
    scenario
        .container(container("stranger").on("web-net").address("10.42.0.13"))
        .redeclare("web", |it| it.with(|it| it.members[1] = application("b").address("10.42.0.13").0))
        .expect(
            "
            default/edge-1
              - disconnect c from web-net for Application/shop/c (EndpointDiffers), disruptive
              + connect c to web-net for Application/shop/c (EndpointDiffers)
              ! refused Application/shop/a: spec.endpoint.ipv4Address is 10.42.0.11, which the container \"b\" holds. (AddressTaken)
                  hint: declare another address, or free it: docker network disconnect web-net b
              ! refused Application/shop/b: spec.endpoint.ipv4Address is 10.42.0.13, which the container \"stranger\" holds. (AddressTaken)
                  hint: declare another address, or free it: docker network disconnect web-net stranger
              . unmanaged Destination/shop/web: No resource declares the container \"stranger\", which is on \"web-net\". (MembershipForeign)
                  hint: declare it, or set `membership: Exclusive` to have it disconnected
            ",
        );
}

#[test]
fn an_endpoint_from_before_the_record_hands_its_address_over_too() {
    Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24"))
        .container(container("old").on("web-net").static_address("10.42.0.10").marked())
        .container(container("new"))
        .destination(web().member(application("new").address("10.42.0.10")).member(application("old")))
        .expect(
            "
            default/edge-1
              - disconnect old from web-net for Application/shop/old (AddressReserved), disruptive
              + connect new to web-net as 10.42.0.10 for Application/shop/new (MemberDetached)
              + connect old to web-net for Application/shop/old (AddressReserved)
            ",
        );
}

#[test]
fn who_leaves_the_network_frees_its_address_first() {
    Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24"))
        .container(container("old").on("web-net").static_address("10.42.0.10").marked())
        .container(container("new"))
        .destination(web().member(application("new").address("10.42.0.10")))
        .prune()
        .expect(
            "
            default/edge-1
              - disconnect old from web-net for Destination/shop/web (MemberUndeclared), disruptive
              + connect new to web-net as 10.42.0.10 for Application/shop/new (MemberDetached)
            ",
        );
}

#[test]
fn a_spare_address_is_given_back_by_a_container_that_is_stopped() {
    let parked = |proxy: ContainerBuilder| {
        let proxy = proxy.on("web-net").marked().settings(|it| *it = park(it, "10.42.0.254".parse().unwrap()));
        addressed()
            .container(proxy.address("10.42.0.254"))
            .container(container("api").on("web-net").static_address("10.42.0.2").exited())
            .destination(web().member(application("api").address("10.42.0.2")))
    };
    parked(container("traefik")).expect("");
    parked(container("traefik").exited()).expect(
        "
        default/edge-1
          - disconnect traefik from web-net for Destination/shop/web (EndpointDiffers)
          + connect traefik to web-net for Destination/shop/web (EndpointDiffers)
        ",
    );
}

#[test]
fn a_stopped_leftover_does_not_keep_the_one_that_runs_from_its_address() {
    let db = || database("db").labelled("app", "db").alias("db").address("10.42.0.10");
    Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24"))
        .container(
            container("db-1")
                .label("app", "db")
                .on("web-net")
                .alias("db")
                .static_address("10.42.0.10")
                .marked()
                .exited(),
        )
        .container(container("db-2").label("app", "db"))
        .destination(web().member(db()))
        .prune()
        .expect(
            "
            default/edge-1
              + connect db-2 to web-net as db, 10.42.0.10 for Database/shop/db (MemberDetached)
            ",
        );
    for state in [ContainerState::Exited, ContainerState::Running] {
        Scenario::without_proxy()
            .network(network("web-net").of("web").subnet("10.42.0.0/24"))
            .container(container("db-1").label("app", "db").state(state))
            .container(container("db-2").label("app", "db").state(state))
            .destination(web().member(db()))
            .expect_nothing_but(
                "
                default/edge-1
                  ! refused Database/shop/db: One static address is declared for 2 containers: \"db-1\", \"db-2\". (NameAmbiguous)
                      hint: choose one container, or leave the address to the daemon
                ",
            );
    }
}

#[test]
fn an_address_that_the_network_keeps_for_itself_is_refused() {
    let declared = |address: &str| {
        Scenario::without_proxy()
            .network(
                network("web-net").of("web").subnet("10.42.0.0/24").gateway("10.42.0.9").aux("router", "10.42.0.5"),
            )
            .container(container("db"))
            .destination(web().member(database("db").address(address)))
    };
    declared("10.42.0.5").expect_nothing_but(
        "
        default/edge-1
          ! refused Database/shop/db: spec.endpoint.ipv4Address is 10.42.0.5, which is `auxAddresses.router` of the network \"web-net\". (AddressTaken)
              hint: declare another address
        ",
    );
    declared("10.42.0.9").expect_nothing_but(
        "
        default/edge-1
          ! refused Database/shop/db: spec.endpoint.ipv4Address is 10.42.0.9, which is the gateway of the network \"web-net\". (AddressTaken)
              hint: declare another address
        ",
    );
}

#[test]
fn an_address_of_a_range_that_docker_chose_is_asked_for_where_the_engine_gives_it() {
    let scenario = |version: &str| {
        Scenario::without_proxy()
            .engine(version)
            .network(network("web-net").of("web").subnet("10.200.0.0/26"))
            .container(container("db"))
            .destination(destination("web").named("web-net").member(database("db").address("10.200.0.10")))
    };
    scenario("28.5.2").expect_nothing_but(
        "
        default/edge-1
          ! refused Database/shop/db: spec.endpoint.ipv4Address is 10.200.0.10, and the declared subnets of Destination/shop/web are none. (AddressUnavailable)
              hint: the daemon gives a static address only within a declared subnet
        ",
    );
    scenario("29.0.1").expect(
        "
        default/edge-1
          + connect db to web-net as 10.200.0.10 for Database/shop/db (MemberDetached)
        ",
    );
    let mut not_made = scenario("29.0.1");
    not_made.state().networks.retain(|network| network.name != "web-net");
    not_made.expect(
        "
        default/edge-1
          + create network web-net for Destination/shop/web (NetworkMissing)
          ? waiting Database/shop/db: spec.endpoint.ipv4Address is 10.200.0.10, and the subnet of \"web-net\" is chosen when it is made. (AddressUnavailable)
              hint: apply again when it is, or declare `spec.network.subnets`
        ",
    );
}

#[test]
fn who_declares_an_address_is_started_before_those_who_are_given_one() {
    let app = container("app").on("web-net").marked();
    let db = container("db").on("web-net").static_address("10.42.0.2").marked();
    let active = || web().member(application("app")).member(database("db").address("10.42.0.2"));
    let mut scenario = Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24"))
        .container(app)
        .container(db)
        .destination(active().deactivated());
    scenario.apply();
    scenario.undeclare("web").destination(active()).expect(
        "
        default/edge-1
          + start db for Database/shop/db (Activated)
          + start app for Application/shop/app (Activated)
        ",
    );
}

#[test]
fn what_landfall_connected_and_nobody_declares_any_more_is_named_with_the_flag_that_takes_it_off() {
    Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24"))
        .container(container("old").on("web-net").static_address("10.42.0.10").made_for("Application/shop/old"))
        .container(container("new"))
        .destination(web().member(application("new").address("10.42.0.10")))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Application/shop/new: spec.endpoint.ipv4Address is 10.42.0.10, which the container \"old\" holds. (AddressTaken)
                  hint: `--prune` disconnects old, which no resource declares any more
              . unmanaged Destination/shop/web: Landfall connected \"old\" to \"web-net\" for a resource that is no longer declared there. (Undeclared)
                  hint: `--prune` disconnects it
            ",
        );
}

/// `old` has the address that `new` declares; the network is to be made anew.
fn replaced(old: ContainerBuilder) -> Scenario {
    Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24").mtu("1500"))
        .container(old)
        .container(container("new").on("web-net").address("10.42.0.3"))
        .destination(
            web()
                .mtu(1400)
                .replacement(Replacement::Reattach)
                .member(application("new").address("10.42.0.10"))
                .member(application("old")),
        )
}

#[test]
fn an_address_changes_hands_while_the_network_is_made_anew() {
    replaced(container("old").on("web-net").static_address("10.42.0.10").marked()).expect(
        "
        default/edge-1
          - disconnect new from web-net for Destination/shop/web (NetworkReplaced), disruptive
          - disconnect old from web-net for Destination/shop/web (NetworkReplaced), disruptive
          - remove network web-net for Destination/shop/web (NetworkReplaced)
          + create network web-net (10.42.0.0/24) for Destination/shop/web (NetworkReplaced)
          + connect new to web-net as 10.42.0.10 for Destination/shop/web (NetworkReplaced)
          + connect old to web-net for Destination/shop/web (NetworkReplaced)
        ",
    );
}

#[test]
fn a_network_is_not_made_anew_where_people_gave_a_declared_address_to_another() {
    replaced(container("old").on("web-net").static_address("10.42.0.10")).expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: The network is not replaced: \"new\" and \"old\" would both have the address 10.42.0.10. (AddressTaken)
              hint: declare another address, or reconnect the one that people gave it to without it
          ! refused Application/shop/new: spec.endpoint.ipv4Address is 10.42.0.10, which the container \"old\" holds. (AddressTaken)
              hint: declare another address, or free it: docker network disconnect web-net old
        ",
    );
}
