//! The default route, hardware addresses and driver options of endpoints.

use landfall::core::observed::EndpointSettings;

use crate::support::scenario::{
    ContainerBuilder, NetworkBuilder, Scenario, application, connected, container, destination, network,
};

/// `app` is on the network `zz` and is to be on `aa`, whose name sorts before.
fn on_zz(version: &str, app: fn(ContainerBuilder) -> ContainerBuilder) -> Scenario {
    Scenario::without_proxy()
        .engine(version)
        .network(network("zz"))
        .network(network("inside").internal())
        .network(network("aa").of("web"))
        .container(app(container("app")))
        .destination(destination("web").named("aa").member(application("app")))
}

#[test]
fn an_engine_that_knows_priorities_leaves_the_default_route_where_it_is() {
    let priority = |app: fn(ContainerBuilder) -> ContainerBuilder| {
        let scenario = on_zz("28.5.2", app);
        let priority = connected(&scenario.plan(), "app").gw_priority;
        scenario.expect(
            "
            default/edge-1
              + connect app to aa for Application/shop/app (MemberDetached)
            ",
        );
        priority
    };
    assert_eq!(priority(|app| app.on("zz")), Some(-1));
    assert_eq!(priority(|app| app.on("zz").settings(|it| it.gw_priority = Some(-5))), Some(-6));
    assert_eq!(priority(|app| app.on("zz").not_inspected().listed_priority(7).on("inside")), Some(-1));
    assert_eq!(priority(|app| app), None, "there is none to keep");
}

#[test]
fn an_older_engine_moves_the_default_route_to_the_network_that_sorts_first_and_the_plan_says_so() {
    on_zz("27.5.1", |app| app.on("zz")).expect(
        "
        default/edge-1
          + connect app to aa for Application/shop/app (MemberDetached)
          * warning Application/shop/app: The default route of \"app\" moves from \"zz\" to \"aa\", whose name sorts before; Docker Engine 27.5.1 cannot be told otherwise. (DefaultRouteMoves)
              hint: give the network a name that sorts after; Docker 28 and newer leave the route where it is
        ",
    );
    // It has none that could move, or it stays.
    for app in [(|app| app.on("inside")) as fn(ContainerBuilder) -> ContainerBuilder, |app| app] {
        on_zz("27.5.1", app).expect(
            "
            default/edge-1
              + connect app to aa for Application/shop/app (MemberDetached)
            ",
        );
    }
    Scenario::without_proxy()
        .network(network("zz").of("web"))
        .container(container("app").on("bridge"))
        .destination(destination("web").named("zz").member(application("app")))
        .expect(
            "
            default/edge-1
              + connect app to zz for Application/shop/app (MemberDetached)
            ",
        );
}

#[test]
fn a_network_of_both_kinds_takes_the_default_route_on_any_engine_unless_there_is_one_already() {
    let both = |version: &str, other: NetworkBuilder| {
        Scenario::without_proxy()
            .engine(version)
            .network(other)
            .network(network("zz").of("web").subnet("fd01::/64").ipv6())
            .container(container("app").on("aa"))
            .destination(
                destination("web")
                    .named("zz")
                    .subnet("fd01::/64")
                    .with(|it| it.network.ipv6 = true)
                    .member(application("app")),
            )
    };
    for version in ["20.10.24", "28.5.2"] {
        both(version, network("aa")).expect(
            "
            default/edge-1
              + connect app to zz for Application/shop/app (MemberDetached)
              * warning Application/shop/app: The default route of \"app\" moves from \"aa\" to \"zz\", which has IPv4 and IPv6: Docker prefers that to anything else. (DefaultRouteMoves)
                  hint: leave out `ipv6`, or have the container on another network of both kinds whose name sorts before, or with a higher `gwPriority`
            ",
        );
        both(version, network("aa").ipv6()).expect(
            "
            default/edge-1
              + connect app to zz for Application/shop/app (MemberDetached)
            ",
        );
    }
}

#[test]
fn a_declared_priority_is_given_kept_and_taken_back() {
    let declared =
        |priority| destination("web").named("aa").member(application("app").with(|it| it.gw_priority = priority));
    let scenario = on_zz("28.5.2", |app| app.on("zz")).undeclare("web").destination(declared(Some(10)));
    assert_eq!(connected(&scenario.plan(), "app").gw_priority, Some(10));
    let scenario = scenario
        .expect(
            "
            default/edge-1
              + connect app to aa for Application/shop/app (MemberDetached)
            ",
        )
        .undeclare("web")
        .destination(declared(None));
    assert_eq!(connected(&scenario.plan(), "app").gw_priority, Some(-1), "as if it had never been declared");
    scenario.expect(
        "
        default/edge-1
          - disconnect app from aa for Application/shop/app (EndpointDiffers), disruptive
          + connect app to aa for Application/shop/app (EndpointDiffers)
        ",
    );
}

#[test]
fn what_the_engine_is_too_old_for_is_refused_and_the_member_is_connected_without() {
    let scenario = Scenario::without_proxy()
        .engine("27.5.1")
        .network(network("web-net").of("web"))
        .container(container("app"))
        .destination(destination("web").named("web-net").member(application("app").with(|it| {
            it.gw_priority = Some(10);
            it.mac_address = Some("02:00:00:00:00:01".to_owned());
        })));
    let settings = connected(&scenario.plan(), "app");
    assert_eq!((settings.gw_priority, settings.mac_address), (None, None));
    scenario.expect(
        "
        default/edge-1
          + connect app to web-net for Application/shop/app (MemberDetached)
          ! refused Application/shop/app: spec.endpoint.gwPriority is 10, and Docker Engine 27.5.1 takes the default route from the network whose name sorts first. (WrongScope)
              hint: it takes Docker 28 or newer (API 1.48)
          ! refused Application/shop/app: spec.endpoint.macAddress is 02:00:00:00:00:01, and Docker Engine 27.5.1 sets none on connecting; \"app\" is connected without it. (WrongScope)
              hint: give it to the container when that is made (`docker run --mac-address`, `mac_address` in Compose); on connecting it takes API 1.54 (Docker 29)
        ",
    );
}

#[test]
fn a_hardware_address_that_the_container_has_already_is_no_difference_on_any_engine() {
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("app").on("web-net").mac("02:00:00:00:00:0A"))
        .destination(
            destination("web")
                .named("web-net")
                .member(application("app").with(|it| it.mac_address = Some("02:00:00:00:00:0a".to_owned()))),
        )
        .expect("");
}

#[test]
fn an_engine_that_sets_hardware_addresses_is_asked_for_the_declared_one() {
    let mut scenario = Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("app").on("web-net").mac("0e:00:00:00:00:09"))
        .destination(
            destination("web")
                .named("web-net")
                .member(application("app").with(|it| it.mac_address = Some("02:00:00:00:00:0a".to_owned()))),
        );
    scenario.state().engine.api_version = Some("1.54".to_owned().try_into().unwrap());
    assert_eq!(connected(&scenario.plan(), "app").mac_address.as_deref(), Some("02:00:00:00:00:0a"));
    scenario.expect(
        "
        default/edge-1
          - disconnect app from web-net for Application/shop/app (EndpointDiffers), disruptive
          + connect app to web-net for Application/shop/app (EndpointDiffers)
        ",
    );
}

#[test]
fn declared_driver_options_are_given_and_taken_back_and_those_of_people_stay() {
    let declared = |options: &[(&str, &str)]| {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        destination("web").named("web-net").member(application("app").with(|it| it.driver_opts = options))
    };
    let people = |it: &mut EndpointSettings| {
        it.driver_opts.insert("com.example.theirs".to_owned(), "1".to_owned());
    };
    let reconnected = "
        default/edge-1
          - disconnect app from web-net for Application/shop/app (EndpointDiffers), disruptive
          + connect app to web-net for Application/shop/app (EndpointDiffers)
        ";
    let scenario = Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("app").on("web-net").settings(people))
        .destination(declared(&[("com.example.ours", "2")]))
        .expect(reconnected)
        .undeclare("web")
        .destination(declared(&[]));
    let options = connected(&scenario.plan(), "app").driver_opts;
    assert!(!options.contains_key("landfall.driver-opts"));
    let options: Vec<&str> = options.keys().map(String::as_str).filter(|name| !name.starts_with("landfall.")).collect();
    assert_eq!(options, ["com.example.theirs"]);
    scenario.expect(reconnected);
}
