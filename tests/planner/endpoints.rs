//! Reconnecting: what an endpoint had is passed again, and nobody is disconnected for something that cannot be had.

use landfall::core::observed::EndpointSettings;

use crate::support::scenario::{
    Scenario, application, connected, container, database, destination, network, operations,
};

#[test]
fn what_landfall_connects_carries_its_mark() {
    let scenario = Scenario::new()
        .container(container("app"))
        .destination(destination("web").named("web-net").member(application("app")));
    for name in ["traefik", "app"] {
        let settings = connected(&scenario.plan(), name);
        assert_eq!(settings.driver_opts["landfall.set"], "default");
        assert!(settings.aliases.is_empty(), "no alias is added by default");
    }
}

#[test]
fn pain_27_28_a_reconnect_keeps_aliases_addresses_mac_and_driver_options() {
    let scenario = Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24"))
        .container(
            container("db").on("web-net").static_address("10.42.0.10").mac("02:00:00:00:00:01").alias("old").settings(
                |it| {
                    it.links = vec!["cache:cache".to_owned()];
                    it.driver_opts.insert("com.example".to_owned(), "x".to_owned());
                    it.ipv6_address = Some("fd00::10".to_owned());
                    it.link_local_ips = vec!["169.254.1.1".to_owned()];
                    it.gw_priority = Some(7);
                },
            ),
        )
        .destination(destination("web").named("web-net").subnet("10.42.0.0/24").member(database("db").alias("new")));
    let settings = connected(&scenario.plan(), "db");
    assert_eq!(
        serde_json::to_value(settings).unwrap(),
        serde_json::json!({
            "aliases": ["old", "new"],
            "links": ["cache:cache"],
            "ipv4_address": "10.42.0.10",
            "ipv6_address": "fd00::10",
            "link_local_ips": ["169.254.1.1"],
            "mac_address": "02:00:00:00:00:01",
            "driver_opts": {
                "com.example": "x", "landfall.aliases": "new", "landfall.set": "default", "landfall.for": "Database/shop/db",
                "landfall.name": "db", "landfall.found": "true"
            },
            "gw_priority": 7,
        })
    );
    scenario.expect(
        "
        default/edge-1
          - disconnect db from web-net for Database/shop/db (EndpointDiffers), disruptive
          + connect db to web-net as old, new, 10.42.0.10, fd00::10 for Database/shop/db (EndpointDiffers)
        ",
    );
}

#[test]
fn a_hardware_address_that_follows_from_a_dynamic_address_is_not_pinned() {
    let scenario = |mac: &str| {
        let scenario = Scenario::without_proxy()
            .network(network("web-net").of("web"))
            .container(container("db").on("web-net").address("172.18.0.2").mac(mac))
            .destination(destination("web").named("web-net").member(database("db").alias("new")));
        connected(&scenario.plan(), "db").mac_address
    };
    assert_eq!(scenario("02:42:ac:12:00:02"), None);
    assert_eq!(scenario("02:42:ac:12:00:03"), Some("02:42:ac:12:00:03".to_owned()));
}

#[test]
fn a_failed_reconnect_can_be_undone_and_a_crash_midway_can_be_healed() {
    let scenario = Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("db").on("web-net").alias("old"))
        .destination(destination("web").named("web-net").member(database("db").alias("new")));
    let planned = scenario.plan();
    let group = &planned.servers[0].groups[0];
    assert_eq!(group.operations[0].undo.as_ref().unwrap().to_string(), "connect db to web-net as old");

    // The process dies after the disconnect.
    let mut crashed = scenario.clone();
    crate::support::simulator::call(crashed.state(), &group.operations[0].call);
    crashed = crashed.journal(group.journal.clone().unwrap());
    let healed = crashed.expect(
        "
        default/edge-1
          + connect db to web-net as old, new for Database/shop/db (JournalRestore)
        ",
    );
    assert!(healed.journals.is_empty());
}

#[test]
fn a_journal_that_cannot_be_read_keeps_its_own_destination_as_it_is_and_no_other() {
    let scenario = || {
        Scenario::without_proxy()
            .network(network("web-net").of("web"))
            .network(network("old-net").of("old"))
            .container(container("app"))
            .container(container("db"))
            .destination(destination("web").named("web-net").member(application("app")).member(database("db")))
            .destination(destination("data").named("data-net").member(database("db")))
            .prune()
    };
    scenario().unreadable_journal(Some("web")).expect(
        "
        default/edge-1
          + create network data-net for Destination/shop/data (NetworkMissing)
          + connect db to data-net for Database/shop/db (MemberDetached)
          - remove network old-net for Destination/shop/old (Undeclared)
          ! refused Destination/shop/web: Reading x.json: not a journal. Until then Destination/shop/web is left as it is. (JournalUnreadable)
              hint: look at the file, put back by hand what it lists and is not there, and move the file away
        ",
    );
    // One that the manifests do not have any more is not removed either.
    scenario().unreadable_journal(Some("old")).expect(
        "
        default/edge-1
          + create network data-net for Destination/shop/data (NetworkMissing)
          + connect db to data-net for Database/shop/db (MemberDetached)
          + connect app to web-net for Application/shop/app (MemberDetached)
          + connect db to web-net for Database/shop/db (MemberDetached)
          ! refused Destination/shop/old: Reading x.json: not a journal. Until then Destination/shop/old is left as it is. (JournalUnreadable)
              hint: look at the file, put back by hand what it lists and is not there, and move the file away
        ",
    );
    // Whose it is, is not known: nothing waits for it.
    let plan = scenario().unreadable_journal(None).plan();
    assert_eq!(operations(&plan), 5, "{plan}");
    assert!(plan.to_string().contains("Whose it is, its name does not tell. (JournalUnreadable)"), "{plan}");
}

#[test]
fn an_address_that_is_missing_is_given_and_a_stopped_container_is_not_disturbed_by_it() {
    Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24"))
        .container(container("db").on("web-net").exited())
        .container(container("app").on("web-net").address("10.42.0.3"))
        .destination(
            destination("web")
                .named("web-net")
                .subnet("10.42.0.0/24")
                .member(database("db").address("10.42.0.10"))
                .member(application("app").address("10.42.0.11")),
        )
        .expect(
            "
            default/edge-1
              - disconnect app from web-net for Application/shop/app (EndpointDiffers), disruptive
              + connect app to web-net as 10.42.0.11 for Application/shop/app (EndpointDiffers)
              - disconnect db from web-net for Database/shop/db (EndpointDiffers)
              + connect db to web-net as 10.42.0.10 for Database/shop/db (EndpointDiffers)
            ",
        );
}

#[test]
fn more_than_is_declared_is_no_difference() {
    Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24"))
        .container(container("db").on("web-net").static_address("10.42.0.10").alias("db").alias("other"))
        .destination(destination("web").named("web-net").member(database("db").alias("db")))
        .expect("");
}

/// Two applications on one network, connected by Landfall: `old` as `api` and `www`, at an address of its own.
fn two_applications() -> Scenario {
    let mut scenario = Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24"))
        .container(container("old"))
        .container(container("new"))
        .destination(
            destination("web")
                .named("web-net")
                .subnet("10.42.0.0/24")
                .member(application("old").alias("api").alias("www").address("10.42.0.10"))
                .member(application("new")),
        );
    scenario.apply();
    scenario.settled();
    scenario
}

fn endpoint(scenario: &mut Scenario, name: &str) -> EndpointSettings {
    let containers = &mut scenario.state().containers;
    let container = containers.iter_mut().find(|it| it.name == name).unwrap();
    container.endpoints[0].settings.clone().unwrap()
}

#[test]
fn an_alias_that_is_no_longer_declared_is_taken_off_and_answers_for_its_new_owner_only() {
    let mut after = two_applications()
        .redeclare("web", |web| {
            let old = application("old").alias("www").address("10.42.0.10");
            web.with(|it| it.members.clear()).member(old).member(application("new").alias("api"))
        })
        .expect(
            "
            default/edge-1
              - disconnect old from web-net for Application/shop/old (EndpointDiffers), disruptive
              + connect old to web-net as www, 10.42.0.10 for Application/shop/old (EndpointDiffers)
              - disconnect new from web-net for Application/shop/new (EndpointDiffers), disruptive
              + connect new to web-net as api for Application/shop/new (EndpointDiffers)
            ",
        );
    assert!(!endpoint(&mut after, "old").aliases.contains(&"api".to_owned()));
}

#[test]
fn an_alias_that_people_added_stays_when_others_are_taken_off() {
    let mut scenario = two_applications();
    let old = scenario.state().containers.iter_mut().find(|it| it.name == "old").unwrap();
    old.endpoints[0].settings.as_mut().unwrap().aliases.push("by-hand".to_owned());
    let mut after = scenario
        .redeclare("web", |web| {
            web.with(|it| it.members.retain(|it| it.resource.name == "new")).member(application("old"))
        })
        .expect(
            "
            default/edge-1
              - disconnect old from web-net for Application/shop/old (EndpointDiffers), disruptive
              + connect old to web-net as by-hand for Application/shop/old (EndpointDiffers)
            ",
        );
    assert!(!endpoint(&mut after, "old").driver_opts.contains_key("landfall.aliases"));
}

#[test]
fn a_static_address_that_is_no_longer_declared_is_given_back_and_one_that_people_chose_stays() {
    two_applications()
        .redeclare("web", |web| {
            let old = application("old").alias("api").alias("www");
            web.with(|it| it.members.retain(|it| it.resource.name == "new")).member(old)
        })
        .expect(
            "
            default/edge-1
              - disconnect old from web-net for Application/shop/old (EndpointDiffers), disruptive
              + connect old to web-net as api, www for Application/shop/old (EndpointDiffers)
            ",
        );
    Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24"))
        .container(container("app").on("web-net").static_address("10.42.0.10"))
        .destination(destination("web").named("web-net").subnet("10.42.0.0/24").member(application("app")))
        .expect("");
}

#[test]
fn an_endpoint_that_was_connected_before_there_was_a_record_is_not_reconnected_to_be_given_one() {
    Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24"))
        .container(container("app").on("web-net").alias("api").alias("www").static_address("10.42.0.10").marked())
        .destination(destination("web").named("web-net").subnet("10.42.0.0/24").member(application("app").alias("www")))
        .expect("");
}

#[test]
fn an_address_outside_of_the_declared_subnets_is_refused() {
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("db"))
        .destination(destination("web").named("web-net").member(database("db").address("10.42.0.10")))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Database/shop/db: spec.endpoint.ipv4Address is 10.42.0.10, and the declared subnets of Destination/shop/web are none. (AddressUnavailable)
                  hint: the daemon gives a static address only within a declared subnet
            ",
        );
}

#[test]
fn one_static_address_for_several_containers_connects_none_of_them() {
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("db-1").label("app", "db"))
        .container(container("db-2").label("app", "db"))
        .destination(
            destination("web")
                .named("web-net")
                .subnet("10.42.0.0/24")
                .with(|it| it.network.subnets.clear())
                .member(database("db").labelled("app", "db").address("10.42.0.10")),
        )
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Database/shop/db: One static address is declared for 2 containers: \"db-1\", \"db-2\". (NameAmbiguous)
                  hint: choose one container, or leave the address to the daemon
            ",
        );
}

#[test]
fn an_endpoint_that_was_not_inspected_is_never_guessed() {
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("ok").on("web-net").not_inspected())
        .container(container("stale").exited().pinned("web-net").not_inspected())
        .destination(
            destination("web").named("web-net").member(application("ok").alias("x")).member(application("stale")),
        )
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Application/shop/stale: How \"stale\" is connected to \"web-net\" was not observed, so it could not be connected again as it was. (EndpointUnknown)
                  hint: observe the server again
            ",
        );
}

#[test]
fn pain_12_24_containers_pinned_to_a_network_that_vanished_are_repaired_with_their_settings() {
    Scenario::new()
        .container(container("traefik").exited().on("bridge").pinned("web-net"))
        .container(container("app").exited().pinned("web-net").alias("front").static_address("10.42.0.10"))
        .destination(
            destination("web").named("web-net").subnet("10.42.0.0/24").member(application("app").address("10.42.0.10")),
        )
        .expect(
            "
            default/edge-1
              + create network web-net (10.42.0.0/24) for Destination/shop/web (NetworkMissing)
              - disconnect app from web-net for Application/shop/app (EndpointStale)
              + connect app to web-net as front, 10.42.0.10 for Application/shop/app (EndpointStale)
              - disconnect traefik from web-net for Destination/shop/web (EndpointStale)
              + connect traefik to web-net for Destination/shop/web (EndpointStale)
            ",
        );
}

#[test]
fn a_stale_endpoint_on_a_network_that_exists_again_is_repaired() {
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("app").exited().pinned("web-net").alias("front"))
        .destination(destination("web").named("web-net").member(application("app")))
        .expect(
            "
            default/edge-1
              - disconnect app from web-net for Application/shop/app (EndpointStale)
              + connect app to web-net as front for Application/shop/app (EndpointStale)
            ",
        );
}

#[test]
fn pain_29_30_what_the_engine_adds_by_itself_is_no_difference() {
    let mut scenario = Scenario::new().container(container("app").on("bridge")).destination(
        destination("web").named("web-net").subnet("10.42.0.0/24").member(application("app").alias("front")),
    );
    scenario.apply();
    // Gateways, auxiliary options, and short ids among the aliases.
    let state = scenario.state();
    let network = state.networks.iter_mut().find(|it| it.name == "web-net").unwrap();
    network.subnets[0].gateway = Some("10.42.0.1/24".to_owned());
    network.options.insert("com.docker.network.enable_ipv4".to_owned(), "true".to_owned());
    scenario.settled();
}
