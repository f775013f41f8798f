//! Nobody is let go before somebody else serves.

use landfall::core::api::DestinationType;
use landfall::core::observed::{ContainerState, Health};
use landfall::core::plan::{Call, Plan};

use crate::support::scenario::{
    ContainerBuilder, DestinationBuilder, Scenario, application, container, destination, network, operations, service,
};

fn web() -> DestinationBuilder {
    destination("web").named("web-net").member(application("app").alias("app-web"))
}

/// `app`, which Landfall has connected, and the proxy.
fn running() -> Scenario {
    Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("traefik").on("web-net").made_for("Proxy"))
        .container(app())
        .destination(web())
        .prune()
}

fn app() -> ContainerBuilder {
    container("app").on("web-net").alias("app-web").made_for("Application/shop/app")
}

/// The container that was `app` has been renamed.
fn renamed() -> Scenario {
    let mut world = running();
    world.state().containers.retain(|it| it.name != "app");
    world.container(app().renamed("app_replaced_ab12"))
}

fn disconnected(plan: &Plan) -> Vec<String> {
    let operations = plan.servers.iter().flat_map(|server| &server.groups).flat_map(|group| &group.operations);
    let names = operations.filter_map(|it| match &it.call {
        Call::DisconnectEndpoint { network, container, .. } => Some(format!("{} {}", container.name, network.name)),
        _ => None,
    });
    names.collect()
}

#[test]
fn a_container_that_a_deploy_tool_has_renamed_stays_until_the_new_one_serves() {
    renamed().expect_nothing_but(
        "
        default/edge-1
          ? waiting Application/shop/app: There is no container named \"app\". (ContainerMissing)
              hint: it is connected as soon as it is there; correct `spec.containers` if it goes by another name
          ? waiting Application/shop/app: \"app_replaced_ab12\" stays on \"web-net\" until another container takes its place: there is no container \"app\". (ContainerMissing)
              hint: it is disconnected once what Application/shop/app declares runs and is connected
        ",
    );
    for (new, lack) in [
        (container("app").recreated().created(), "\"app\" is created"),
        (container("app").recreated().exited(), "\"app\" is exited"),
        (container("app").recreated().health(Health::Starting), "the health check of \"app\" says starting"),
        (container("app").recreated().health(Health::Unhealthy), "the health check of \"app\" says unhealthy"),
    ] {
        renamed().container(new).expect(&format!(
            "
            default/edge-1
              + connect app to web-net as app-web for Application/shop/app (MemberDetached)
              ? waiting Application/shop/app: \"app_replaced_ab12\" stays on \"web-net\" until another container takes its place: {lack}. (ContainerMissing)
                  hint: it is disconnected once what Application/shop/app declares runs and is connected
            "
        ));
    }
    for new in [container("app").recreated(), container("app").recreated().health(Health::Healthy)] {
        let plan = renamed().container(new).plan();
        let groups = &plan.servers[0].groups;
        let made = groups[0].operations[0].call.connections();
        assert_eq!(groups[1].needs, made, "{plan}");
        assert_eq!(disconnected(&plan), ["app_replaced_ab12 web-net"]);
    }
    renamed().container(container("app").recreated()).expect(
        "
        default/edge-1
          + connect app to web-net as app-web for Application/shop/app (MemberDetached)
          - disconnect app_replaced_ab12 from web-net for Application/shop/app (MemberReplaced), disruptive
        ",
    );
}

/// What ends as soon as it starts runs for a moment as well.
#[test]
fn a_successor_is_connected_at_once_and_the_old_one_goes_when_the_new_one_has_run_for_five_seconds() {
    let stays = |lack: &str, reason: &str| {
        format!(
            "
            default/edge-1
              + connect app to web-net as app-web for Application/shop/app (MemberDetached)
              ? waiting Application/shop/app: \"app_replaced_ab12\" stays on \"web-net\" until another container takes its place: {lack}. ({reason})
                  hint: it is disconnected once what Application/shop/app declares runs and is connected
            "
        )
    };
    let again = |new: ContainerBuilder| renamed().container(new.recreated()).plan().servers[0].notes[0].again;
    let new = || container("app").recreated();
    for up in [0, 1, 4] {
        let stays = stays("\"app\" has not run for 5 s yet", "RolloutInProgress");
        renamed().container(new().up(up)).expect(&stays);
        assert_eq!(again(new().up(up)), Some(5 - up));
    }
    for settled in [new().up(5), new().up(59), new().restarts(40), new().up(0).health(Health::Healthy)] {
        let plan = renamed().container(settled).plan();
        assert_eq!(disconnected(&plan), ["app_replaced_ab12 web-net"], "{plan}");
    }
    // A long time ago it was restarted, and now it restarts.
    for restarting in [new().up(4).restarts(3), new().state(ContainerState::Restarting)] {
        let plan = renamed().container(restarting).plan();
        assert_eq!(disconnected(&plan), [""; 0], "{plan}");
        assert!(plan.to_string().contains("its place: \"app\" restarts again and again. (ContainerMissing)"), "{plan}");
    }
    let unhealthy = new().up(2).health(Health::Starting);
    renamed().container(unhealthy).expect(&stays("the health check of \"app\" says starting", "ContainerMissing"));
}

#[test]
fn a_container_without_a_rival_is_connected_and_waits_for_nothing() {
    let world = running().redeclare("web", |_| web().member(application("job"))).container(container("job").up(0));
    world.expect(
        "
        default/edge-1
          + connect job to web-net for Application/shop/job (MemberDetached)
        ",
    );
}

#[test]
fn a_proxy_takes_over_when_it_has_run_for_five_seconds() {
    let world = |new: ContainerBuilder| running().proxy("caddy").container(new);
    world(container("caddy").up(3)).expect(
        "
        default/edge-1
          + connect caddy to web-net for Destination/shop/web (ProxyDetached)
          ? waiting Destination/shop/web: \"traefik\" stays on \"web-net\" as a proxy of the server: \"caddy\" has not run for 5 s yet. (RolloutInProgress)
              hint: it is disconnected once \"caddy\" runs and is connected
        ",
    );
    let plan = world(container("caddy").on("web-net").made_for("Proxy").up(5)).plan();
    assert_eq!(disconnected(&plan), ["traefik web-net"], "{plan}");
    let plan = world(container("caddy").on("web-net").made_for("Proxy").state(ContainerState::Restarting)).plan();
    assert_eq!(operations(&plan), 0, "{plan}");
}

/// It is as declared as far as Landfall can see to it, and serves nobody.
#[test]
fn a_declared_container_that_restarts_again_and_again_is_told() {
    let mut world = running();
    world.state().containers.clear();
    let world = world
        .container(container("traefik").on("web-net").made_for("Proxy").up(1).restarts(7))
        .container(app().state(ContainerState::Restarting));
    world.expect_nothing_but(
        "
        default/edge-1
          * warning Server/default/edge-1: The proxy \"traefik\" ends again and again after it was started. (Restarting)
              hint: docker logs traefik
          * warning Application/shop/app: The container \"app\" ends again and again after it was started. (Restarting)
              hint: docker logs app
        ",
    );
    // A container that has ended, well or not, and one that was restarted once and runs are none of these.
    let calm =
        running().container(app().exited()).container(container("traefik").on("web-net").made_for("Proxy").restarts(7));
    assert_eq!(calm.plan().to_string(), "");
}

#[test]
fn a_new_container_that_its_tool_has_connected_itself_is_given_its_alias_before_the_old_one_goes() {
    renamed().container(container("app").recreated().on("web-net")).expect(
        "
        default/edge-1
          - disconnect app from web-net for Application/shop/app (EndpointDiffers), disruptive
          + connect app to web-net as app-web for Application/shop/app (EndpointDiffers)
          - disconnect app_replaced_ab12 from web-net for Application/shop/app (MemberReplaced), disruptive
        ",
    );
}

/// Nobody can be connected at an address that another one has: the predecessor is off for as long as it takes, and back if it fails.
#[test]
fn a_static_address_is_handed_over_to_a_successor_that_serves() {
    let world = |new: ContainerBuilder| {
        Scenario::without_proxy()
            .network(network("web-net").of("web").subnet("10.42.0.0/24"))
            .container(
                container("app")
                    .on("web-net")
                    .static_address("10.42.0.10")
                    .made_for("Application/shop/app")
                    .renamed("app_old"),
            )
            .container(new.recreated())
            .destination(
                destination("web")
                    .named("web-net")
                    .subnet("10.42.0.0/24")
                    .member(application("app").address("10.42.0.10")),
            )
            .prune()
    };
    let handed_over = world(container("app"));
    let group = &handed_over.plan().servers[0].groups[0];
    let undo: Vec<_> = group.operations.iter().map(|it| it.undo.as_ref().map(ToString::to_string)).collect();
    assert_eq!(undo[0].as_deref(), Some("connect app_old to web-net as 10.42.0.10"));
    handed_over.expect(
        "
        default/edge-1
          - disconnect app_old from web-net for Application/shop/app (MemberReplaced), disruptive
          + connect app to web-net as 10.42.0.10 for Application/shop/app (MemberDetached)
        ",
    );
    let plan = world(container("app").health(Health::Starting)).plan();
    assert_eq!(operations(&plan), 0, "{plan}");
    assert!(plan.to_string().contains("waiting Application/shop/app: spec.endpoint.ipv4Address is 10.42.0.10, which the container \"app_old\" holds"), "{plan}");
}

#[test]
fn a_proxy_that_was_renamed_or_misspelt_stays_until_its_successor_is_connected() {
    let notes = "
        default/edge-1
          ? waiting Server/default/edge-1: The proxy \"traefk\" does not exist. (ContainerMissing)
              hint: it is connected as soon as it is there; correct `spec.proxy.container` if it goes by another name
          ? waiting Destination/shop/web: \"traefik\" stays on \"web-net\" as a proxy of the server: there is no \"traefk\". (ContainerMissing)
              hint: it is disconnected once \"traefk\" runs and is connected
        ";
    running().proxy("traefk").expect_nothing_but(notes);
    // Also on an exclusive destination, and whoever connected it.
    running().proxy("traefk").redeclare("web", DestinationBuilder::exclusive).expect_nothing_but(notes);
    let by_hand = running().container(container("traefik").on("web-net")).proxy("traefk");
    by_hand.redeclare("web", DestinationBuilder::exclusive).expect_nothing_but(notes);
    running().proxy("caddy").container(container("caddy")).expect(
        "
        default/edge-1
          + connect caddy to web-net for Destination/shop/web (ProxyDetached)
          - disconnect traefik from web-net for Destination/shop/web (MemberReplaced), disruptive
        ",
    );
    let starting = running().proxy("caddy").container(container("caddy").health(Health::Starting));
    assert_eq!(disconnected(&starting.plan()), [""; 0]);
}

#[test]
fn a_selector_that_finds_nothing_cuts_nobody_off() {
    for misspelt in [
        application("app").containers(&["ap1"]),
        application("app").labelled("app", "fronted"),
        application("app").containers(&["app", "ap1"]).labelled("app", "frontend"),
        application("app").swarm_service("fronted"),
    ] {
        for membership in [|it: DestinationBuilder| it, DestinationBuilder::exclusive] {
            for marked in [app(), container("app").on("web-net").marked()] {
                let world = running().container(marked.label("app", "front"));
                let web = membership(destination("web").named("web-net").member(misspelt.clone()));
                let plan = world.undeclare("web").destination(web).plan();
                assert_eq!(operations(&plan), 0, "{plan}");
            }
        }
    }
}

#[test]
fn what_is_dropped_from_the_manifests_goes_whatever_else_is_waited_for() {
    let world = running().redeclare("web", |_| destination("web").named("web-net").member(application("other")));
    world.expect(
        "
        default/edge-1
          - disconnect app from web-net for Destination/shop/web (MemberUndeclared), disruptive
          ? waiting Application/shop/other: There is no container named \"other\". (ContainerMissing)
              hint: it is connected as soon as it is there; correct `spec.containers` if it goes by another name
        ",
    );
    let without_proxy = |mut world: Scenario| {
        world.server().proxy = None;
        world
    };
    without_proxy(running()).expect(
        "
        default/edge-1
          - disconnect traefik from web-net for Destination/shop/web (MemberUndeclared), disruptive
        ",
    );
}

/// The resource has been renamed in the manifests, which changes nothing; then a deploy tool renames its container.
#[test]
fn a_resource_that_was_renamed_is_recognised_by_the_name_of_its_container() {
    let world = renamed()
        .redeclare("web", |_| destination("web").named("web-net").member(application("shop-app").containers(&["app"])));
    assert_eq!(disconnected(&world.plan()), [""; 0], "{}", world.plan());
    assert_eq!(disconnected(&world.container(container("app").recreated()).plan()), ["app_replaced_ab12 web-net"]);
}

#[test]
fn an_endpoint_that_does_not_say_what_it_is_for_stays_while_anything_is_waited_for() {
    let old = || {
        Scenario::new()
            .network(network("web-net").of("web"))
            .container(container("traefik").on("web-net").marked())
            .container(container("app").on("web-net").marked())
            .container(container("who").on("web-net").marked())
            .prune()
    };
    let waiting =
        old().destination(destination("web").named("web-net").member(application("app")).member(application("db")));
    assert_eq!(operations(&waiting.plan()), 0, "{}", waiting.plan());
    old().destination(destination("web").named("web-net").member(application("app"))).expect(
        "
        default/edge-1
          - disconnect who from web-net for Destination/shop/web (MemberUndeclared), disruptive
        ",
    );
}

#[test]
fn a_stranger_leaves_an_exclusive_destination_unless_a_declaration_finds_nothing() {
    let world = |member| {
        Scenario::without_proxy()
            .network(network("web-net").of("web"))
            .container(container("app").on("web-net"))
            .container(container("job").on("web-net").exited())
            .container(container("stranger").on("web-net"))
            .destination(destination("web").named("web-net").exclusive().member(application("job")).member(member))
    };
    world(application("app")).expect(
        "
        default/edge-1
          - disconnect stranger from web-net for Destination/shop/web (MembershipExclusive), disruptive
        ",
    );
    assert_eq!(operations(&world(application("ap1")).plan()), 0);
}

/// `app` is on `a` by Landfall's doing, and declared on `b`.
fn moving(b: DestinationBuilder) -> Scenario {
    Scenario::new()
        .network(network("a-net").of("a").subnet("10.1.0.0/24"))
        .container(container("traefik").on("a-net").made_for("Proxy"))
        .container(container("app").on("a-net").made_for("Application/shop/app"))
        .destination(destination("a").named("a-net"))
        .destination(b.named("b-net").member(application("app")))
        .prune()
}

#[test]
fn a_member_that_moves_is_connected_there_before_it_is_disconnected_here() {
    let world = moving(destination("b"));
    let plan = world.plan();
    let leaves = plan.servers[0].groups.last().unwrap();
    let needed: Vec<_> = leaves.needs.iter().map(|need| need.network.name.as_str()).collect();
    assert_eq!(needed, ["b-net", "b-net"], "the application and the proxy: {plan}");
    world.expect(
        "
        default/edge-1
          + create network b-net for Destination/shop/b (NetworkMissing)
          + connect traefik to b-net for Destination/shop/b (ProxyDetached)
          + connect app to b-net for Application/shop/app (MemberDetached)
          - disconnect app from a-net for Application/shop/app (MemberMoved), disruptive
        ",
    );
}

#[test]
fn a_member_stays_where_it_is_while_it_cannot_be_where_it_is_declared() {
    let taken = |world: Scenario| world.network(network("b-net"));
    let worlds = [
        (moving(destination("b").suspended()), "It is suspended.", "Suspended"),
        (moving(destination("b").deactivated()), "It is deactivated.", "Suspended"),
        (taken(moving(destination("b"))), "It was refused.", "AdoptionRequired"),
        (moving(destination("b").asserting(DestinationType::Swarm)), "It was refused.", "WrongScope"),
        (moving(destination("b").subnet("10.1.0.0/25")), "Its network does not exist.", "NetworkNotFound"),
    ];
    for (world, lack, reason) in worlds {
        let plan = world.plan();
        assert_eq!(disconnected(&plan), [""; 0], "{plan}");
        let said = format!(
            "? waiting Application/shop/app: \"app\" stays on \"a-net\" until it is on Destination/shop/b, where Application/shop/app is \
             declared now. {lack} ({reason})"
        );
        assert!(plan.to_string().contains(&said), "{plan}");
    }
    // Its address is outside of what the network gives.
    let b = destination("b").subnet("10.2.0.0/24");
    let mut world = moving(b).network(network("b-net").of("b").subnet("10.3.0.0/24"));
    world.server().destinations[1].members[0].endpoint.ipv4_address = Some("10.2.0.9".parse().unwrap());
    assert_eq!(disconnected(&world.plan()), [""; 0], "{}", world.plan());
}

#[test]
fn members_move_one_by_one() {
    let b = destination("b").subnet("10.2.0.0/24").member(application("fixed").address("10.2.0.9"));
    let world = moving(b)
        .network(network("b-net").of("b").subnet("10.2.0.0/24"))
        .container(container("fixed").on("a-net").made_for("Application/shop/fixed"))
        .container(container("holder").on("b-net").address("10.2.0.9"));
    assert_eq!(disconnected(&world.plan()), ["app a-net"], "{}", world.plan());
}

#[test]
fn nobody_leaves_the_destination_where_the_proxy_serves_him_for_one_where_it_does_not() {
    // The proxy is pinned to another network of that name, which was not looked at.
    let world = moving(destination("b"))
        .container(container("traefik").on("a-net").made_for("Proxy").pinned("b-net").not_inspected());
    let plan = world.plan();
    assert_eq!(disconnected(&plan), [""; 0], "{plan}");
    let said = "\"app\" stays on \"a-net\" until the proxy \"traefik\" is on Destination/shop/b as well.";
    assert!(plan.to_string().contains(said), "{plan}");
}

#[test]
fn a_destination_is_renamed_in_one_commit() {
    let world = Scenario::new()
        .network(network("blue-net").of("blue"))
        .container(container("traefik").on("blue-net").made_for("Proxy"))
        .container(container("app").on("blue-net").made_for("Application/shop/app"))
        .container(container("db").on("blue-net").made_for("Application/shop/db").exited())
        .destination(
            destination("green").named("green-net").member(application("app")).member(application("db").alias("db")),
        )
        .prune();
    world.clone().expect(
        "
        default/edge-1
          + create network green-net for Destination/shop/green (NetworkMissing)
          + connect traefik to green-net for Destination/shop/green (ProxyDetached)
          + connect app to green-net for Application/shop/app (MemberDetached)
          + connect db to green-net as db for Application/shop/db (MemberDetached)
          - disconnect app from blue-net for Destination/shop/blue (Undeclared), disruptive
          - disconnect db from blue-net for Destination/shop/blue (Undeclared)
          - disconnect traefik from blue-net for Destination/shop/blue (Undeclared)
          - remove network blue-net for Destination/shop/blue (Undeclared)
        ",
    );
    let needs = world.plan().servers[0].groups.last().unwrap().needs.clone();
    assert_eq!(needs.len(), 3, "{needs:#?}");
    let blocked = world.clone().container(container("stranger").on("blue-net"));
    let plan = blocked.plan();
    assert_eq!(disconnected(&plan), [""; 0], "{plan}");
    assert!(plan.to_string().contains("Container stranger, running"), "{plan}");
    // As long as one cannot move, nobody is sent away to an empty place, and force is no way out.
    let suspended = world.redeclare("green", DestinationBuilder::suspended).plan();
    assert_eq!(operations(&suspended), 0);
    let text = suspended.to_string();
    assert!(text.contains("hint: \"app\" stays on \"blue-net\" until it is on Destination/shop/green"), "{text}");
    assert!(!text.contains("--force") && text.contains("? waiting Destination/shop/blue"), "{text}");
}

#[test]
fn the_new_name_of_a_destination_cannot_have_the_subnet_of_the_old_one() {
    let world = |proxy_only: bool| {
        let mut world = Scenario::new()
            .network(network("blue-net").of("blue").subnet("10.42.0.0/24"))
            .network(network("other-net").of("other"))
            .container(container("traefik").on("blue-net").made_for("Proxy"))
            .destination(destination("other").named("other-net").without_proxy())
            .destination(destination("green").named("green-net").subnet("10.42.0.0/24").member(application("app")))
            .prune();
        if !proxy_only {
            world = world.container(container("app").on("blue-net").made_for("Application/shop/app"));
        }
        world
    };
    let plan = world(false).plan();
    assert_eq!(operations(&plan), 0, "{plan}");
    assert!(plan.to_string().contains("overlaps 10.42.0.0/24 of the network \"blue-net\""), "{plan}");
    assert_eq!(operations(&world(true).plan()), 4);
}

#[test]
fn more_than_five_endpoints_are_not_disconnected_unasked() {
    let world = |gone: usize, kept: usize| {
        let mut world = Scenario::without_proxy().network(network("web-net").of("web")).prune();
        let mut web = destination("web").named("web-net");
        for at in 0..gone + kept {
            let name = format!("app-{at}");
            world = world.container(container(&name).on("web-net").made_for(&format!("Application/shop/{name}")));
            if at >= gone {
                web = web.member(application(&name));
            }
        }
        world.destination(web)
    };
    assert_eq!(disconnected(&world(5, 0).plan()).len(), 5);
    assert_eq!(disconnected(&world(6, 0).plan()).len(), 0);
    assert_eq!(disconnected(&world(6, 24).plan()).len(), 6, "a fifth");
    assert_eq!(disconnected(&world(7, 24).plan()).len(), 0);
    // Of a list that was agreed to something is left while one of them is on the network.
    let mut asked = world(7, 24);
    let list = asked.plan().servers[0].withheld.clone().expect("withheld");
    for left in (0..7).rev() {
        assert!(list.is_left_on(asked.state()), "{left}");
        asked.state().containers.iter_mut().find(|it| it.name == format!("app-{left}")).unwrap().endpoints.clear();
    }
    assert!(!list.is_left_on(asked.state()), "the others stay on it");
    assert_eq!(disconnected(&world(7, 0).allow_mass_delete().plan()).len(), 7);
    let withheld = world(6, 1).plan().servers[0].withheld.clone().unwrap();
    assert_eq!((withheld.deletions.len(), withheld.disconnections.len()), (0, 6));
    assert_eq!(disconnected(&world(6, 1).approve(&withheld.fingerprint).plan()).len(), 6);
    assert_eq!(disconnected(&world(7, 0).approve(&withheld.fingerprint).plan()).len(), 0, "another list");
    world(6, 1).expect_nothing_but(
        "
        default/edge-1
          ! refused Server/default/edge-1: Pruning would disconnect 6 of the 7 endpoints of the set \"default\", more than 5: \"app-0\" from \"web-net\", \"app-1\" from \"web-net\", \"app-2\" from \"web-net\", \"app-3\" from \"web-net\", \"app-4\" from \"web-net\", \"app-5\" from \"web-net\". (MassDeletionRefused)
              hint: if that is meant: `--allow-mass-delete`; if not, look for manifests that are missing
        ",
    );
}

#[test]
fn moves_are_not_counted_however_many_and_what_a_removed_network_takes_along_is() {
    let world = |declared: bool| {
        let mut world = Scenario::without_proxy()
            .network(network("blue-net").of("blue"))
            .network(network("other-net").of("other"))
            .destination(destination("other").named("other-net"))
            .prune();
        let mut green = destination("green").named("green-net");
        for at in 0..8 {
            let name = format!("app-{at}");
            world = world.container(container(&name).on("blue-net").made_for(&format!("Application/shop/{name}")));
            green = green.member(application(&name));
        }
        if declared { world.destination(green) } else { world }
    };
    assert_eq!(disconnected(&world(true).plan()).len(), 8, "{}", world(true).plan());
    let plan = world(false).plan();
    assert_eq!(operations(&plan), 0, "{plan}");
    let withheld = plan.servers[0].withheld.clone().unwrap();
    assert_eq!((withheld.deletions.len(), withheld.disconnections.len()), (1, 8));
}

#[test]
fn what_is_withheld_holds_up_no_move() {
    let mut world = moving(destination("b"));
    for at in 0..8 {
        let name = format!("gone-{at}");
        world = world.container(container(&name).on("a-net").made_for(&format!("Application/shop/{name}")));
    }
    let plan = world.plan();
    assert_eq!(disconnected(&plan), ["app a-net"], "{plan}");
    assert_eq!(plan.servers[0].withheld.as_ref().unwrap().disconnections.len(), 8);
}

#[test]
fn a_member_that_moves_to_another_server_stays_until_it_runs_there() {
    let there = |app: Option<ContainerBuilder>| {
        let mut there = Scenario::without_proxy()
            .network(network("b-net").of("b"))
            .destination(destination("b").named("b-net").member(application("app")));
        if let Some(app) = app {
            there = there.container(app);
        }
        there
    };
    let world = |there: Scenario| {
        Scenario::without_proxy()
            .network(network("a-net").of("a"))
            .container(container("app").on("a-net").made_for("Application/shop/app"))
            .destination(destination("a").named("a-net"))
            .prune()
            .and("far", there)
    };
    for waits in [
        there(None),
        there(Some(container("app"))),
        there(Some(container("app").on("b-net").exited())),
        there(None).unreachable(),
    ] {
        let plan = world(waits).plan();
        assert_eq!(disconnected(&plan), [""; 0], "{plan}");
        assert!(
            plan.to_string().contains("stays on \"a-net\" until Application/shop/app runs on Destination/shop/b"),
            "{plan}"
        );
    }
    let plan = world(there(Some(container("app").on("b-net")))).plan();
    assert_eq!(disconnected(&plan), ["app a-net"], "{plan}");
}

#[test]
fn swarm_services_stay_as_containers_do() {
    let manager = |name: &str| {
        Scenario::without_proxy()
            .swarm_manager()
            .network(network("web-net").of("web").overlay())
            .network(network("next-net").of("next").overlay())
            .service("api", &["web-net"], 1)
            .put_there_for("web-net", "Service/shop/api")
            .destination(destination("web").named("web-net").member(service("api").swarm_service(name)))
            .destination(destination("next").named("next-net"))
            .prune()
    };
    let misspelt = manager("apl");
    assert_eq!(operations(&misspelt.plan()), 0, "{}", misspelt.plan());
    let moved = manager("api")
        .redeclare("web", |it| it.with(|it| it.members.clear()))
        .redeclare("next", |it| it.member(service("api").swarm_service("api")));
    moved.clone().expect(
        "
        default/edge-1
          + update service api: add network next-net; remove network web-net for Service/shop/api (MemberDetached), \
            Service/shop/api (MemberMoved), disruptive
        ",
    );
    let suspended = moved.redeclare("next", DestinationBuilder::suspended);
    assert_eq!(operations(&suspended.plan()), 0, "{}", suspended.plan());
    let dropped = manager("api").redeclare("web", |it| it.with(|it| it.members.clear()));
    assert_eq!(operations(&dropped.plan()), 1);
}

/// Compose made it on that network, which Landfall made anew later, or gave it an alias there.
fn at_home() -> ContainerBuilder {
    app().network_mode("web-net")
}

#[test]
fn who_was_on_the_network_before_landfall_connected_him_stays_there_when_nobody_declares_him_any_more() {
    let unmade =
        |it: ContainerBuilder| it.settings(|it| drop(it.driver_opts.insert("landfall.found".into(), "true".into())));
    for there in [at_home(), unmade(app()), app().network_mode("shop_default")] {
        let world = running().container(there).redeclare("web", |_| destination("web").named("web-net"));
        world.expect_nothing_but(
            "
            default/edge-1
              . unmanaged Destination/shop/web: No resource declares the container \"app\" any more, which was on \"web-net\" before Landfall connected it: it stays there. (MembershipForeign)
                  hint: declare it, or take it off: docker network disconnect web-net app
            ",
        );
    }
    // With another network beside, the one that Landfall has added goes.
    let elsewhere = running()
        .network(network("shop_default"))
        .container(app().network_mode("shop_default").on("shop_default"))
        .redeclare("web", |_| destination("web").named("web-net"));
    assert_eq!(disconnected(&elsewhere.plan()), ["app web-net"]);
    // Whoever has taken its place does so here as well.
    let mut replaced = running();
    replaced.state().containers.retain(|it| it.name != "app");
    let replaced = replaced.container(at_home().renamed("app-old")).container(container("app").recreated());
    assert_eq!(disconnected(&replaced.plan()), ["app-old web-net"]);
}

#[test]
fn a_network_stays_while_somebody_is_on_it_who_was_there_before_landfall_connected_him() {
    let world = || {
        running()
            .network(network("other-net").of("other"))
            .destination(destination("other").named("other-net").without_proxy())
    };
    world().container(at_home()).undeclare("web").expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
              Container app, running
              hint: remove what is listed, or stop and disconnect it all: landfall delete destination web -n shop --force
        ",
    );
    let gone = world().container(app()).undeclare("web");
    assert_eq!(disconnected(&gone.plan()), ["app web-net", "traefik web-net"]);
    // The proxy of a compose file that names no other network.
    let proxy = || container("traefik").on("web-net").made_for("Proxy").network_mode("web-net");
    let plan = world().container(app()).container(proxy()).undeclare("web").plan();
    assert!(plan.to_string().contains("Container traefik, running"), "{plan}");
    assert_eq!(operations(&plan), 0, "{plan}");
}

#[test]
fn what_is_connected_again_keeps_in_mind_who_made_the_endpoint() {
    let world = |app: ContainerBuilder| {
        Scenario::without_proxy().network(network("web-net").of("web")).container(app).destination(web())
    };
    let found = |plan: &Plan| {
        let operations = plan.servers.iter().flat_map(|server| &server.groups).flat_map(|group| &group.operations);
        let mut connections = operations.filter_map(|it| match &it.call {
            Call::ConnectEndpoint { settings, .. } => Some(settings.driver_opts.contains_key("landfall.found")),
            _ => None,
        });
        connections.next()
    };
    assert_eq!(found(&world(container("app").on("web-net")).plan()), Some(true));
    assert_eq!(found(&world(container("app").on("web-net").made_for("Application/shop/app")).plan()), Some(false));
    assert_eq!(found(&world(container("app")).plan()), Some(false));
    assert_eq!(found(&world(container("app").pinned("web-net")).plan()), Some(true));
    let taken = Scenario::without_proxy()
        .network(network("web-net"))
        .container(container("app").on("web-net").alias("app-web"))
        .destination(web().adopt().take_ownership());
    assert_eq!(found(&taken.plan()), Some(true));
}

#[test]
fn who_is_kept_until_another_takes_his_place_is_shown_as_that() {
    let kept = |world: Scenario| {
        let server = &world.desired.servers[&crate::support::scenario::edge()];
        let facts = landfall::core::plan::facts::facts(&world.desired, server, &world.observed).unwrap();
        let (_, web) = &facts.destinations[0];
        let kept = web.unmanaged.iter().map(|it| (it.container.clone(), it.kept_for.clone().unwrap_or_default()));
        kept.collect::<Vec<_>>()
    };
    let said = |name: &str, purpose: &str| vec![(name.to_owned(), purpose.to_owned())];
    assert_eq!(kept(renamed()), said("app_replaced_ab12", "Application/shop/app"));
    assert_eq!(kept(running().proxy("caddy")), said("traefik", "Proxy"));
    assert_eq!(kept(running().redeclare("web", |_| destination("web").named("web-net"))), said("app", ""));
}
