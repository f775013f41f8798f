//! Networks, the proxy and members on one server.

use landfall::core::observed::ContainerState;

use crate::support::scenario::{Scenario, application, container, database, destination, hex_id, network, service};

#[test]
fn a_server_with_nothing_declared_needs_nothing() {
    Scenario::new().expect("");
}

#[test]
fn pain_11_a_missing_network_is_created_and_the_proxy_and_the_members_are_connected() {
    Scenario::new()
        .container(container("frontend").on("bridge"))
        .destination(
            destination("web")
                .named("web-net")
                .subnet("10.42.0.0/24")
                .member(application("frontend").alias("front").address("10.42.0.10")),
        )
        .expect(
            "
            default/edge-1
              + create network web-net (10.42.0.0/24) for Destination/shop/web (NetworkMissing)
              + connect frontend to web-net as front, 10.42.0.10 for Application/shop/frontend (MemberDetached)
              + connect traefik to web-net for Destination/shop/web (ProxyDetached)
            ",
        );
}

#[test]
fn a_network_without_a_name_gets_one_and_is_found_again() {
    Scenario::new().destination(destination("web")).expect(
        "
        default/edge-1
          + create network generated-web for Destination/shop/web (NetworkMissing)
          + connect traefik to generated-web for Destination/shop/web (ProxyDetached)
        ",
    );
}

#[test]
fn pain_33_every_declared_property_reaches_the_network() {
    let planned = Scenario::without_proxy()
        .engine("28.5.2")
        .destination(destination("web").named("web-net").subnet("10.42.0.0/24").mtu(1400).with(|it| {
            it.network.subnets[0].gateway = Some("10.42.0.1".parse().unwrap());
            it.network.subnets[0].ip_range = Some("10.42.0.128/25".parse().unwrap());
            it.network.aux_addresses.insert("router".to_owned(), "10.42.0.5".parse().unwrap());
            it.network.internal = true;
            it.network.ipv6 = true;
            it.network.icc = false;
            it.network.options.insert("com.example".to_owned(), "x".to_owned());
            it.network.labels.insert("team".to_owned(), "shop".to_owned());
        }))
        .plan();
    let landfall::core::plan::Call::CreateNetwork(create) = &planned.servers[0].groups[0].operations[0].call else {
        panic!("{planned}")
    };
    assert_eq!(
        serde_json::to_value(create).unwrap(),
        serde_json::json!({
            "name": "web-net",
            "driver": "bridge",
            "attachable": false,
            "internal": true,
            "ipv4": true,
            "ipv6": true,
            "subnets": [{
                "subnet": "10.42.0.0/24",
                "gateway": "10.42.0.1",
                "ip_range": "10.42.0.128/25",
                "aux_addresses": { "router": "10.42.0.5" },
            }],
            "options": {
                "com.docker.network.bridge.enable_icc": "false",
                "com.docker.network.driver.mtu": "1400",
                "com.example": "x",
            },
            "labels": {
                "landfall.deletion-policy": "Delete",
                "landfall.destination": "shop/web",
                "landfall.set": "default",
                "landfall.uid": "freshweb-11d4bc9d",
                "team": "shop",
            },
        })
    );
}

#[test]
fn pain_1_2_3_5_6_a_detached_proxy_is_connected_to_every_destination() {
    Scenario::new()
        .network(network("api-net").of("api"))
        .network(network("web-net").of("web"))
        .destination(destination("api").named("api-net"))
        .destination(destination("web").named("web-net"))
        .expect(
            "
            default/edge-1
              + connect traefik to api-net for Destination/shop/api (ProxyDetached)
              + connect traefik to web-net for Destination/shop/web (ProxyDetached)
              * warning Destination/shop/api: The default route of \"traefik\" moves from \"bridge\" to \"api-net\", whose name sorts before; Docker Engine 20.10.24 cannot be told otherwise. (DefaultRouteMoves)
                  hint: give the network a name that sorts after; Docker 28 and newer leave the route where it is
            ",
        );
}

#[test]
fn pain_7_8_a_proxy_that_was_recreated_is_connected_again() {
    Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("frontend").on("web-net"))
        .container(container("traefik").recreated().on("bridge"))
        .destination(destination("web").named("web-net").member(application("frontend")))
        .expect(
            "
            default/edge-1
              + connect traefik to web-net for Destination/shop/web (ProxyDetached)
            ",
        );
}

#[test]
fn pain_9_members_that_lost_their_attachments_in_a_reboot_are_connected_even_though_they_have_exited() {
    Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("traefik").on("bridge").exited())
        .container(container("frontend").on("bridge").exited())
        .destination(destination("web").named("web-net").member(application("frontend").alias("front")))
        .expect(
            "
            default/edge-1
              + connect traefik to web-net for Destination/shop/web (ProxyDetached)
              + connect frontend to web-net as front for Application/shop/frontend (MemberDetached)
            ",
        );
}

#[test]
fn a_proxy_that_does_not_exist_is_waited_for_and_the_networks_are_made() {
    Scenario::without_proxy()
        .proxy("traefik")
        .destination(destination("api").named("api-net"))
        .destination(destination("web").named("web-net"))
        .expect(
            "
            default/edge-1
              + create network api-net for Destination/shop/api (NetworkMissing)
              + create network web-net for Destination/shop/web (NetworkMissing)
              ? waiting Server/default/edge-1: The proxy \"traefik\" does not exist. (ContainerMissing)
                  hint: it is connected as soon as it is there; correct `spec.proxy.container` if it goes by another name
            ",
        );
}

#[test]
fn a_proxy_in_the_hosts_network_is_not_connected_and_the_report_says_why() {
    Scenario::new()
        .container(container("traefik").network_mode("host"))
        .network(network("web-net").of("web"))
        .destination(destination("web").named("web-net"))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Server/default/edge-1: The proxy \"traefik\" runs with network mode \"host\" and cannot be connected to a network. (WrongScope)
                  hint: run \"traefik\" on a bridge network, with its ports published, or set `proxy: false` on the destinations
            ",
        );
}

#[test]
fn a_destination_that_asks_for_no_proxy_gets_none_and_loses_the_one_that_landfall_connected() {
    Scenario::new()
        .network(network("api-net").of("api"))
        .network(network("web-net").of("web"))
        .container(container("traefik").on("api-net").marked().on("web-net"))
        .destination(destination("api").named("api-net").without_proxy())
        .destination(destination("web").named("web-net").without_proxy())
        .destination(destination("new").named("new-net").without_proxy())
        .expect(
            "
            default/edge-1
              - disconnect traefik from api-net for Destination/shop/api (ProxyUnwanted), disruptive
              + create network new-net for Destination/shop/new (NetworkMissing)
              . unmanaged Destination/shop/web: The proxy \"traefik\" is on \"web-net\", which asks for none; Landfall did not connect it. (MembershipForeign)
                  hint: docker network disconnect web-net traefik
            ",
        );
}

#[test]
fn a_proxy_that_is_also_declared_as_an_application_is_connected_once_with_its_aliases() {
    Scenario::new()
        .destination(destination("web").named("web-net").member(application("traefik").alias("gateway")))
        .expect(
            "
            default/edge-1
              + create network web-net for Destination/shop/web (NetworkMissing)
              + connect traefik to web-net as gateway for Destination/shop/web (ProxyDetached)
            ",
        );
}

#[test]
fn a_proxy_that_a_destination_asks_not_to_have_is_a_member_there_if_declared_as_one() {
    Scenario::new()
        .destination(
            destination("web").named("web-net").without_proxy().member(application("traefik").alias("gateway")),
        )
        .expect(
            "
            default/edge-1
              + create network web-net for Destination/shop/web (NetworkMissing)
              + connect traefik to web-net as gateway for Application/shop/traefik (MemberDetached)
            ",
        );
}

#[test]
fn one_resource_may_have_several_containers_and_several_kinds_may_share_a_destination() {
    Scenario::without_proxy()
        .container(container("web-2").label("app", "web"))
        .container(container("web-1").label("app", "web"))
        .container(container("db"))
        .container(container("wiki").label("com.docker.compose.project", "wiki"))
        .network(network("shop-net").of("shop"))
        .destination(
            destination("shop")
                .named("shop-net")
                .member(application("web").labelled("app", "web"))
                .member(database("db"))
                .member(service("wiki").labelled("com.docker.compose.project", "wiki")),
        )
        .expect(
            "
            default/edge-1
              + connect web-1 to shop-net for Application/shop/web (MemberDetached)
              + connect web-2 to shop-net for Application/shop/web (MemberDetached)
              + connect db to shop-net for Database/shop/db (MemberDetached)
              + connect wiki to shop-net for Service/shop/wiki (MemberDetached)
            ",
        );
}

#[test]
fn every_criterion_of_a_selector_must_hold() {
    Scenario::without_proxy()
        .container(
            container("web-1").label("com.docker.compose.project", "web").label("com.docker.compose.service", "app"),
        )
        .container(
            container("web-2").label("com.docker.compose.project", "web").label("com.docker.compose.service", "db"),
        )
        .network(network("web-net").of("web"))
        .destination(destination("web").named("web-net").member({
            let mut member = application("app").containers(&[]);
            member.0.selector.compose_project = Some("web".to_owned());
            member.0.selector.compose_service = Some("app".to_owned());
            member
        }))
        .expect(
            "
            default/edge-1
              + connect web-1 to web-net for Application/shop/app (MemberDetached)
            ",
        );
}

#[test]
fn an_empty_selector_means_nothing_rather_than_everything() {
    Scenario::without_proxy()
        .container(container("app"))
        .network(network("web-net").of("web"))
        .destination(destination("web").named("web-net").member(application("app").containers(&[])))
        .expect_nothing_but(
            "
            default/edge-1
              ? waiting Application/shop/app: No container matches an empty selector. (ContainerMissing)
                  hint: it is connected as soon as it is there; correct `spec.containers` if it goes by another name
            ",
        );
}

#[test]
fn a_member_that_does_not_exist_is_waited_for_while_the_others_are_connected() {
    Scenario::without_proxy()
        .container(container("b"))
        .container(container("c").state(ContainerState::Removing))
        .network(network("web-net").of("web"))
        .destination(
            destination("web")
                .named("web-net")
                .member(application("app").containers(&["a", "b", "c"]))
                .member(database("db").labelled("app", "db")),
        )
        .expect(
            "
            default/edge-1
              + connect b to web-net for Application/shop/app (MemberDetached)
              ? waiting Application/shop/app: There is no container named \"a\". (ContainerMissing)
                  hint: it is connected as soon as it is there; correct `spec.containers` if it goes by another name
              ? waiting Application/shop/app: The container \"c\" is in state removing. (ContainerMissing)
                  hint: it is connected as soon as it is there; correct `spec.containers` if it goes by another name
              ? waiting Database/shop/db: No container matches label app=db. (ContainerMissing)
                  hint: it is connected as soon as it is there; correct `spec.containers` if it goes by another name
            ",
        );
}

#[test]
fn members_that_can_be_on_no_network_are_refused_by_the_names_of_those_concerned() {
    let vpn = hex_id("container vpn");
    Scenario::new()
        .container(container("vpn").on("bridge"))
        .container(container("alone").network_mode("none"))
        .container(container("behind").network_mode(&format!("container:{vpn}")))
        .container(container("lost").network_mode("container:0123"))
        .container(container("traefik").network_mode(&format!("container:{vpn}")))
        .network(network("web-net").of("web"))
        .destination(
            destination("web")
                .named("web-net")
                .member(application("alone"))
                .member(application("behind"))
                .member(application("lost")),
        )
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Server/default/edge-1: The proxy \"traefik\" runs with network mode \"container:vpn\" and cannot be connected to a network. (WrongScope)
                  hint: declare \"vpn\", whose network it uses, as the proxy's `container`, or set `proxy: false` on the destinations
              ! refused Application/shop/alone: The container \"alone\" runs with network mode \"none\" and cannot be connected to a network. (WrongScope)
                  hint: run \"alone\" on a bridge network, with its ports published, or take it out of the manifest
              ! refused Application/shop/behind: The container \"behind\" runs with network mode \"container:vpn\" and cannot be connected to a network. (WrongScope)
                  hint: declare \"vpn\", whose network it uses, in its place
              ! refused Application/shop/lost: The container \"lost\" runs with network mode \"container:0123\" and cannot be connected to a network. (WrongScope)
                  hint: run \"lost\" on a bridge network, with its ports published, or take it out of the manifest
            ",
        );
}

#[test]
fn pain_32_34_a_member_of_two_destinations_is_on_both_and_on_no_other() {
    Scenario::without_proxy()
        .container(container("app").on("bridge"))
        .network(network("a-net").of("a"))
        .network(network("b-net").of("b"))
        .network(network("c-net").of("c"))
        .destination(destination("a").named("a-net").member(application("app").alias("one")))
        .destination(destination("b").named("b-net").member(application("app").alias("two")))
        .destination(destination("c").named("c-net"))
        .expect(
            "
            default/edge-1
              + connect app to a-net as one for Application/shop/app (MemberDetached)
              + connect app to b-net as two for Application/shop/app (MemberDetached)
              * warning Application/shop/app: The default route of \"app\" moves from \"bridge\" to \"a-net\", whose name sorts before; Docker Engine 20.10.24 cannot be told otherwise. (DefaultRouteMoves)
                  hint: give the network a name that sorts after; Docker 28 and newer leave the route where it is
            ",
        );
}

#[test]
fn a_service_stack_that_keeps_to_its_own_network_is_not_connected() {
    Scenario::without_proxy()
        .container(container("wiki"))
        .network(network("web-net").of("web"))
        .destination(destination("web").named("web-net").member(service("wiki").apart()))
        .expect("");
}

#[test]
fn a_container_that_two_resources_mean_gets_what_both_declare() {
    Scenario::without_proxy()
        .container(container("app"))
        .network(network("web-net").of("web"))
        .destination(
            destination("web")
                .named("web-net")
                .member(application("app").alias("one"))
                .member(service("app").alias("two")),
        )
        .expect(
            "
            default/edge-1
              + connect app to web-net as one, two for Application/shop/app (MemberDetached)
              * warning Service/shop/app: Service/shop/app selects the container \"app\", which Application/shop/app names as its own. (OwnershipConflict)
                  hint: have one resource declare it, with the aliases and destinations of both; correct `spec.containers` if another container is meant
            ",
        );
}

#[test]
fn a_container_created_and_never_started_is_on_a_network_by_name() {
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("app").created().on("web-net"))
        .destination(destination("web").named("web-net").member(application("app")))
        .expect("");
}

#[test]
fn an_entry_that_a_failed_connect_left_on_a_running_container_is_no_attachment_but_blocks_the_deletion() {
    let mut scenario = Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("app").on("web-net"))
        .destination(destination("web").named("web-net").member(application("app")));
    for endpoint in scenario.state().containers.iter_mut().flat_map(|container| &mut container.endpoints) {
        endpoint.network_id = None;
        endpoint.endpoint_id = String::new();
    }
    let blocked = scenario.clone().undeclare("web").prune();
    let blocked = blocked.plan();
    assert_eq!(blocked.servers[0].groups, []);
    assert_eq!(blocked.servers[0].notes[0].blockers[0].name, "app");
    scenario.expect(
        "
        default/edge-1
          + connect app to web-net for Application/shop/app (MemberDetached)
        ",
    );
}

#[test]
fn pain_31_the_same_alias_of_two_resources_on_one_destination_is_reported() {
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("db-a").on("web-net").alias("db"))
        .container(container("db-b").on("web-net").alias("db"))
        .destination(
            destination("web")
                .named("web-net")
                .member(database("db-a").alias("db"))
                .member(database("db-b").alias("db")),
        )
        .expect_nothing_but(
            "
            default/edge-1
              * warning Destination/shop/web: The alias \"db\" belongs to Database/shop/db-a and Database/shop/db-b: whoever asks for it gets any of them. (AliasTakenTwice)
                  hint: give each its own alias, or put them on different destinations
            ",
        );
}

#[test]
fn pain_31_an_undeclared_container_that_answers_to_a_declared_alias_is_reported() {
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("db-a").on("web-net").alias("db"))
        .container(container("db").on("web-net"))
        .destination(destination("web").named("web-net").member(database("db-a").alias("db")))
        .expect_nothing_but(
            "
            default/edge-1
              * warning Destination/shop/web: The alias \"db\" belongs to Database/shop/db-a and the container \"db\": whoever asks for it gets any of them. (AliasTakenTwice)
                  hint: give each its own alias, or put them on different destinations
              . unmanaged Destination/shop/web: No resource declares the container \"db\", which is on \"web-net\". (MembershipForeign)
                  hint: declare it, or set `membership: Exclusive` to have it disconnected
            ",
        );
}

#[test]
fn pain_14_a_subnet_that_another_network_has_is_refused_before_anything_is_tried() {
    Scenario::new()
        .network(network("legacy").subnet("10.42.0.0/16"))
        .container(container("app"))
        .destination(destination("web").named("web-net").subnet("10.42.7.0/24").member(application("app")))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: The subnet 10.42.7.0/24 overlaps 10.42.0.0/16 of the network \"legacy\". (SubnetOverlap)
                  hint: choose another subnet; `docker network ls` and `docker network inspect` show those in use
              ? waiting Application/shop/app: Destination/shop/web was refused; its members are left as they are until that is resolved. (SubnetOverlap)
            ",
        );
}
