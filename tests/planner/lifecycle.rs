//! Suspending, deactivating, and servers that cannot be looked at.

use landfall::core::api::Kind;
use landfall::core::desired::{Endpoint, TcpSecurity};
use landfall::core::observed::{Unobserved, UnobservedReason};
use landfall::core::plan::Reason;

use crate::support::scenario::{Scenario, application, container, destination, edge, network, service};

#[test]
fn nothing_is_planned_for_a_server_that_was_not_observed() {
    for (reason, word) in [
        (UnobservedReason::ServerUnreachable, "ServerUnreachable"),
        (UnobservedReason::PermissionDenied, "PermissionDenied"),
        (UnobservedReason::HostKeyMismatch, "HostKeyMismatch"),
    ] {
        let mut scenario = Scenario::new().destination(destination("web").named("web-net")).prune();
        let unobserved = Unobserved { reason, message: "It did not work.".to_owned(), hint: None };
        scenario.observed.insert(edge(), Err(unobserved));
        assert_eq!(scenario.plan().servers[0].server_type, None);
        scenario.expect_nothing_but(&format!(
            "
            default/edge-1
              * warning Server/default/edge-1: It did not work. ({word})
            "
        ));
    }
}

#[test]
fn a_server_that_nobody_looked_at_is_not_an_empty_one() {
    let mut scenario = Scenario::new().destination(destination("web").named("web-net"));
    scenario.observed.clear();
    assert_eq!(scenario.plan().servers[0].server_type, None);
    scenario.clone().expect_nothing_but(
        "
        default/edge-1
          * warning Server/default/edge-1: Server/default/edge-1 was not observed. (ServerUnreachable)
        ",
    );
    // It is not concerned by a deletion elsewhere.
    assert!(scenario.delete(Kind::Destination, "other").plan().servers.is_empty());
}

#[test]
fn a_suspended_server_is_left_as_it_is() {
    Scenario::new()
        .network(network("old-net").of("old"))
        .destination(destination("web").named("web-net"))
        .prune()
        .suspended()
        .expect_nothing_but(
            "
            default/edge-1
              . suspended Server/default/edge-1: Server/default/edge-1 is suspended: everything on it is left as it is. (Suspended)
                  hint: remove `suspend: true` to have it looked after again
            ",
        );
}

#[test]
fn a_suspended_destination_is_left_as_it_is_and_not_pruned() {
    let scenario = Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("app"))
        .destination(destination("web").named("web-net").suspended().member(application("app")))
        .destination(destination("api").suspended())
        .prune();
    scenario.clone().expect_nothing_but(
        "
        default/edge-1
          . suspended Destination/shop/api: Destination/shop/api is suspended and left as it is. (Suspended)
              hint: remove `suspend: true` to have it looked after again
          . suspended Destination/shop/web: Destination/shop/web is suspended and left as it is. (Suspended)
              hint: remove `suspend: true` to have it looked after again
          ? waiting Application/shop/app: Destination/shop/web is suspended; its members are left as they are until that is resolved. (Suspended)
        ",
    );
    scenario.delete(Kind::Destination, "web").expect_nothing_but(
        "
        default/edge-1
          . suspended Destination/shop/web: Destination/shop/web is suspended and left as it is. (Suspended)
              hint: remove `suspend: true`, then delete it
        ",
    );
}

#[test]
fn deactivating_disconnects_the_proxy_and_stops_what_is_declared_and_keeps_the_rest() {
    let scenario = Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("traefik").on("bridge").on("web-net"))
        .container(container("app").on("web-net").alias("front"))
        .container(container("wiki"))
        .container(container("stranger").on("web-net"))
        .container(container("done").on("web-net").exited())
        .destination(
            destination("web")
                .named("web-net")
                .deactivated()
                .member(application("app"))
                .member(application("done"))
                .member(application("missing"))
                .member(service("wiki").apart()),
        )
        .expect(
            "
            default/edge-1
              - disconnect traefik from web-net for Destination/shop/web (ProxyUnwanted), disruptive
              - stop app for Application/shop/app (Deactivated), disruptive
              - stop wiki for Service/shop/wiki (Deactivated), disruptive
              . unmanaged Destination/shop/web: No resource declares the container \"stranger\", which is on \"web-net\". (MembershipForeign)
                  hint: declare it, or set `membership: Exclusive` to have it disconnected
            ",
        );
    let active = scenario.redeclare("web", |it| it.with(|it| it.active = true));
    let mut forgetful = active.clone();
    forgetful.journals.clear();
    active.expect(
        "
        default/edge-1
          + connect traefik to web-net for Destination/shop/web (ProxyDetached)
          + start app for Application/shop/app (Activated)
          + start wiki for Service/shop/wiki (Activated)
          ? waiting Application/shop/missing: There is no container named \"missing\". (ContainerMissing)
              hint: it is connected as soon as it is there; correct `spec.containers` if it goes by another name
          * warning Application/shop/done: \"done\" is not running, and nothing says that Landfall stopped it: it is left as it is. (LeftStopped)
              hint: docker start done
          . unmanaged Destination/shop/web: No resource declares the container \"stranger\", which is on \"web-net\". (MembershipForeign)
              hint: declare it, or set `membership: Exclusive` to have it disconnected
        ",
    );
    // Without the memory of who was stopped nothing is started, and that is said.
    forgetful.expect(
        "
        default/edge-1
          + connect traefik to web-net for Destination/shop/web (ProxyDetached)
          ? waiting Application/shop/missing: There is no container named \"missing\". (ContainerMissing)
              hint: it is connected as soon as it is there; correct `spec.containers` if it goes by another name
          * warning Application/shop/app: \"app\" is not running, and nothing says that Landfall stopped it: it is left as it is. (LeftStopped)
              hint: docker start app
          * warning Application/shop/done: \"done\" is not running, and nothing says that Landfall stopped it: it is left as it is. (LeftStopped)
              hint: docker start done
          * warning Service/shop/wiki: \"wiki\" is not running, and nothing says that Landfall stopped it: it is left as it is. (LeftStopped)
              hint: docker start wiki
          . unmanaged Destination/shop/web: No resource declares the container \"stranger\", which is on \"web-net\". (MembershipForeign)
              hint: declare it, or set `membership: Exclusive` to have it disconnected
        ",
    );
}

#[test]
fn what_was_started_removed_or_recreated_meanwhile_is_not_started() {
    let world = || {
        Scenario::without_proxy()
            .network(network("web-net").of("web"))
            .container(container("started").on("web-net"))
            .container(container("recreated").on("web-net"))
            .container(container("undeclared").on("web-net"))
            .destination(
                destination("web")
                    .named("web-net")
                    .deactivated()
                    .member(application("started"))
                    .member(application("recreated"))
                    .member(application("undeclared")),
            )
    };
    let mut scenario = world();
    scenario.apply();
    assert_eq!(scenario.journals.len(), 3);
    for (name, state) in [("started", "running"), ("recreated", "exited")] {
        let Some(Ok(observed)) = scenario.observed.values_mut().next() else { panic!("observed") };
        let container = observed.containers.iter_mut().find(|it| it.name == name).unwrap();
        match state {
            "running" => *container = world().state().container_named(name).unwrap().clone(),
            _ => container.id = "f".repeat(64).try_into().unwrap(),
        }
    }
    scenario
        .redeclare("web", |it| {
            it.with(|it| {
                it.active = true;
                it.members.retain(|member| member.resource.name != "undeclared");
            })
        })
        .expect(
            "
            default/edge-1
              * warning Destination/shop/web: Landfall stopped \"undeclared\" with the destination, and no resource declares it any more: it is left stopped. (LeftStopped)
                  hint: docker start undeclared
              . unmanaged Destination/shop/web: No resource declares the container \"undeclared\", which is on \"web-net\". (MembershipForeign)
                  hint: declare it, or set `membership: Exclusive` to have it disconnected
            ",
        );
}

#[test]
fn pain_9_what_ended_for_want_of_its_network_is_started_again_only_where_that_is_declared() {
    let gone = "network 0f1e not found";
    let member = |name: &str| application(name).start_after_repair();
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("again").pinned("web-net").ended(137, gone))
        .container(container("busy").pinned("web-net").ended(128, "Bind for 0.0.0.0:80 failed: port is already allocated"))
        .container(container("crashed").ended(1, ""))
        .container(container("done").on("web-net").ended(255, ""))
        .container(container("left").pinned("web-net").ended(0, gone))
        .container(container("reboot").ended(255, ""))
        .destination(
            destination("web")
                .named("web-net")
                .member(member("again"))
                .member(member("busy"))
                .member(member("crashed"))
                .member(member("done"))
                .member(application("left"))
                .member(member("reboot")),
        )
        .expect(
            "
            default/edge-1
              - disconnect again from web-net for Application/shop/again (EndpointStale)
              + connect again to web-net for Application/shop/again (EndpointStale)
              + start again for Application/shop/again (StartAfterRepair)
              - disconnect busy from web-net for Application/shop/busy (EndpointStale)
              + connect busy to web-net for Application/shop/busy (EndpointStale)
              + connect crashed to web-net for Application/shop/crashed (MemberDetached)
              - disconnect left from web-net for Application/shop/left (EndpointStale)
              + connect left to web-net for Application/shop/left (EndpointStale)
              + connect reboot to web-net for Application/shop/reboot (MemberDetached)
              + start reboot for Application/shop/reboot (StartAfterRepair)
              * warning Application/shop/left: \"left\" ended with \"network 0f1e not found\"; its attachment is repaired, and it is left stopped. (LeftStopped)
                  hint: docker start left, or `startAfterRepair: true` for the next time
            ",
        );
}

#[test]
fn deactivating_spares_the_proxy_and_whoever_serves_another_destination() {
    Scenario::new()
        .network(network("api-net").of("api"))
        .network(network("web-net").of("web"))
        .container(container("traefik").on("api-net"))
        .container(container("app").on("api-net").on("web-net"))
        .destination(destination("api").named("api-net").member(application("app")))
        .destination(
            destination("web").named("web-net").deactivated().member(application("app")).member(application("traefik")),
        )
        .expect_nothing_but(
            "
            default/edge-1
              * warning Application/shop/app: \"app\" also belongs to Destination/shop/api, which is active, and is left running. (ResourcesRemain)
            ",
        );
}

#[test]
fn a_deactivated_destination_keeps_its_network_in_being() {
    Scenario::new().destination(destination("web").named("web-net").deactivated()).expect(
        "
        default/edge-1
          + create network web-net for Destination/shop/web (NetworkMissing)
        ",
    );
}

#[test]
fn a_server_without_encryption_is_warned_about_in_every_report() {
    let expected = "
        default/edge-1
          * warning Server/default/edge-1: tcp://10.0.0.7:2375 has neither encryption nor authentication: whoever reaches it owns the machine. (InsecureTransport)
              hint: give the daemon certificates and the server `tls`, or reach it over `ssh://`
    ";
    let insecure = |mut scenario: Scenario| {
        scenario.server().endpoint =
            Endpoint::Tcp { host: "10.0.0.7".to_owned(), port: 2375, security: TcpSecurity::Plain };
        scenario
    };
    insecure(Scenario::new()).expect_nothing_but(expected);
    let mut suspended = insecure(Scenario::new());
    suspended.server().suspend = true;
    let plan = suspended.plan();
    assert_eq!(plan.servers[0].notes[0].reason, Reason::InsecureTransport);
    let unreachable = insecure(Scenario::new()).unreachable().plan();
    assert_eq!(unreachable.servers[0].notes[0].reason, Reason::InsecureTransport);
}
