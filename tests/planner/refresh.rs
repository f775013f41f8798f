//! Traefik looks again where it would not notice by itself.

use crate::support::scenario::{Scenario, application, container, destination, network};

fn world() -> Scenario {
    Scenario::new()
        .network(network("web-net").of("web").subnet("10.1.0.0/24"))
        .container(container("traefik").image("docker.io/library/traefik:v3.1").on("web-net"))
        .container(container("app"))
        .destination(destination("web").named("web-net").member(application("app").containers(&["app"])))
}

#[test]
fn a_member_that_is_connected_while_it_runs_goes_unnoticed() {
    world().expect(
        "
        default/edge-1
          + connect app to web-net for Application/shop/app (MemberDetached)
          ~ have traefik look again for Server/default/edge-1 (ProxyStale)
        ",
    );
}

#[test]
fn once_however_many_are_connected() {
    world().container(container("db")).redeclare("web", |it| it.member(application("db").containers(&["db"]))).expect(
        "
            default/edge-1
              + connect app to web-net for Application/shop/app (MemberDetached)
              + connect db to web-net for Application/shop/db (MemberDetached)
              ~ have traefik look again for Server/default/edge-1 (ProxyStale)
            ",
    );
}

#[test]
fn one_that_does_not_run_is_noticed_when_it_starts() {
    Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("traefik").image("traefik").on("web-net"))
        .container(container("app").exited())
        .destination(destination("web").named("web-net").member(application("app").containers(&["app"])))
        .expect(
            "
            default/edge-1
              + connect app to web-net for Application/shop/app (MemberDetached)
            ",
        );
}

#[test]
fn another_proxy_reads_networks_by_itself() {
    let mut scenario = world();
    scenario.server().proxy.as_mut().unwrap().proxy_type = landfall::core::api::ProxyType::Caddy;
    scenario.expect(
        "
        default/edge-1
          + connect app to web-net for Application/shop/app (MemberDetached)
        ",
    );
}

#[test]
fn the_manifest_decides_where_it_says_so() {
    let mut scenario = world();
    scenario.server().proxy.as_mut().unwrap().refresh = Some(false);
    scenario.expect(
        "
        default/edge-1
          + connect app to web-net for Application/shop/app (MemberDetached)
        ",
    );
    let mut scenario = Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("traefik").image("registry.example.com/edge:7").on("web-net"))
        .container(container("app"))
        .destination(destination("web").named("web-net").member(application("app").containers(&["app"])));
    scenario.server().proxy.as_mut().unwrap().refresh = Some(true);
    scenario.expect(
        "
        default/edge-1
          + connect app to web-net for Application/shop/app (MemberDetached)
          ~ have traefik look again for Server/default/edge-1 (ProxyStale)
        ",
    );
}

#[test]
fn a_destination_without_the_proxy_needs_none() {
    Scenario::new()
        .container(container("traefik").image("traefik:3"))
        .container(container("app"))
        .destination(
            destination("web").named("web-net").without_proxy().member(application("app").containers(&["app"])),
        )
        .expect(
            "
            default/edge-1
              + create network web-net for Destination/shop/web (NetworkMissing)
              + connect app to web-net for Application/shop/app (MemberDetached)
            ",
        );
}

#[test]
fn a_proxy_that_was_away_has_missed_what_happened_and_one_on_an_empty_network_has_not() {
    Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("traefik").image("traefik:3"))
        .container(container("app").on("web-net"))
        .destination(destination("web").named("web-net").member(application("app").containers(&["app"])))
        .expect(
            "
            default/edge-1
              + connect traefik to web-net for Destination/shop/web (ProxyDetached)
              ~ have traefik look again for Server/default/edge-1 (ProxyStale)
            ",
        );
    Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("traefik").image("traefik:3"))
        .destination(destination("web").named("web-net"))
        .expect(
            "
            default/edge-1
              + connect traefik to web-net for Destination/shop/web (ProxyDetached)
            ",
        );
}

#[test]
fn a_member_that_keeps_its_address_is_where_it_was() {
    Scenario::new()
        .network(network("web-net").of("web").subnet("10.1.0.0/24"))
        .container(container("traefik").image("traefik:3").on("web-net"))
        .container(container("app").on("web-net").static_address("10.1.0.9").address("10.1.0.9"))
        .destination(
            destination("web")
                .named("web-net")
                .subnet("10.1.0.0/24")
                .member(application("app").containers(&["app"]).address("10.1.0.9").alias("api")),
        )
        .expect(
            "
            default/edge-1
              - disconnect app from web-net for Application/shop/app (EndpointDiffers), disruptive
              + connect app to web-net as api, 10.1.0.9 for Application/shop/app (EndpointDiffers)
            ",
        );
}
