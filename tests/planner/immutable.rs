//! Fields that Docker cannot change, and replacing the network.

use landfall::core::api::Replacement;
use landfall::core::plan::Call;

use crate::support::scenario::{Scenario, application, container, database, destination, network};
use crate::support::simulator;

#[test]
fn every_field_that_differs_is_named_with_both_values() {
    Scenario::without_proxy()
        .network(
            network("web-net")
                .of("web")
                .mtu("1500")
                .subnet("10.0.0.0/24")
                .option("com.docker.network.bridge.enable_icc", "false")
                .option("com.example", "x"),
        )
        .destination(destination("web").named("web-net").mtu(1450).subnet("10.42.0.0/24").with(|it| {
            it.network.internal = true;
            it.network.ipv6 = true;
            it.network.options.insert("com.example".to_owned(), "y".to_owned());
            it.network.labels.insert("team".to_owned(), "shop".to_owned());
        }))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: spec.network.subnets[0].subnet is 10.0.0.0/24 on the server and 10.42.0.0/24 in the manifest; spec.network.internal is false on the server and true in the manifest; spec.network.ipv6 is false on the server and true in the manifest; spec.network.icc is false on the server and true in the manifest; spec.network.mtu is 1500 on the server and 1450 in the manifest; spec.network.options.com.example is x on the server and y in the manifest; spec.network.labels.team is unset on the server and shop in the manifest. Docker cannot change a network. (ImmutableField)
                  hint: change the manifest back, or allow to replace the network: `replacement: WhenEmpty` or `Reattach`
            ",
        );
}

#[test]
fn pain_29_what_is_not_declared_is_not_compared() {
    Scenario::without_proxy()
        .network(
            network("web-net")
                .of("web")
                .subnet("172.18.0.0/16")
                .gateway("172.18.0.1")
                .mtu("1400")
                .option("com.docker.network.bridge.name", "br-web")
                .label("team", "shop"),
        )
        .destination(destination("web").named("web-net"))
        .expect("");
}

#[test]
fn pain_29_the_same_range_written_otherwise_is_the_same() {
    Scenario::without_proxy()
        .network(
            network("web-net")
                .of("web")
                .subnet("10.42.0.0/24")
                .gateway("10.42.0.1/24")
                .subnet("fd00:0::/64")
                .option("com.docker.network.bridge.enable_icc", "true"),
        )
        .destination(destination("web").named("web-net").subnet("10.42.0.7/24").with(|it| {
            it.network.subnets[0].gateway = Some("10.42.0.1".parse().unwrap());
        }))
        .expect("");
}

#[test]
fn gateways_and_ranges_are_compared_where_declared() {
    Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24").gateway("10.42.0.254"))
        .destination(destination("web").named("web-net").subnet("10.42.0.0/24").with(|it| {
            it.network.subnets[0].gateway = Some("10.42.0.1".parse().unwrap());
            it.network.subnets[0].ip_range = Some("10.42.0.128/25".parse().unwrap());
        }))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: spec.network.subnets[0].gateway is 10.42.0.254 on the server and 10.42.0.1 in the manifest; spec.network.subnets[0].ipRange is unset on the server and 10.42.0.128/25 in the manifest. Docker cannot change a network. (ImmutableField)
                  hint: change the manifest back, or allow to replace the network: `replacement: WhenEmpty` or `Reattach`
            ",
        );
}

/// A subnet that stands in the place of another is compared with that one, field by field; what stays as it is, is not named.
#[test]
fn a_subnet_that_changes_names_every_field_of_it_that_differs_and_no_other() {
    Scenario::without_proxy()
        .network(
            network("web-net")
                .of("web")
                .subnet("10.42.0.0/24")
                .gateway("10.42.0.1")
                .subnet("fd00:42::/64")
                .gateway("fd00:42::1"),
        )
        .destination(destination("web").named("web-net").subnet("fd00:42::/64").subnet("10.43.0.0/24").with(|it| {
            it.network.ipv6 = false;
            it.network.subnets[0].gateway = Some("fd00:42::1".parse().unwrap());
            it.network.subnets[1].gateway = Some("10.43.0.254".parse().unwrap());
            it.network.subnets[1].ip_range = Some("10.43.0.128/25".parse().unwrap());
        }))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: spec.network.subnets[1].subnet is 10.42.0.0/24 on the server and 10.43.0.0/24 in the manifest; spec.network.subnets[1].gateway is 10.42.0.1 on the server and 10.43.0.254 in the manifest; spec.network.subnets[1].ipRange is unset on the server and 10.43.0.128/25 in the manifest. Docker cannot change a network. (ImmutableField)
                  hint: change the manifest back, or allow to replace the network: `replacement: WhenEmpty` or `Reattach`
            ",
        );
}

#[test]
fn a_refused_change_does_not_keep_the_network_from_being_healed() {
    Scenario::new()
        .network(network("web-net").of("web").mtu("1500"))
        .container(container("app"))
        .destination(destination("web").named("web-net").mtu(1450).member(application("app")))
        .expect(
            "
            default/edge-1
              + connect traefik to web-net for Destination/shop/web (ProxyDetached)
              + connect app to web-net for Application/shop/app (MemberDetached)
              ! refused Destination/shop/web: spec.network.mtu is 1500 on the server and 1450 in the manifest. Docker cannot change a network. (ImmutableField)
                  hint: change the manifest back, or allow to replace the network: `replacement: WhenEmpty` or `Reattach`
            ",
        );
}

#[test]
fn a_changed_name_is_an_immutable_field_like_any_other() {
    let scenario = Scenario::new()
        .network(network("old-net").of("web"))
        .container(container("traefik").on("old-net"))
        .destination(destination("web").named("new-net"))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: spec.network.name is old-net on the server and new-net in the manifest. Docker cannot change a network. (ImmutableField)
                  hint: change the manifest back, or allow to replace the network: `replacement: WhenEmpty` or `Reattach`
            ",
        );
    scenario.redeclare("web", |it| it.replacement(Replacement::WhenEmpty)).expect(
        "
        default/edge-1
          + create network new-net for Destination/shop/web (NetworkReplaced)
          + connect traefik to new-net for Destination/shop/web (NetworkReplaced)
          - disconnect traefik from old-net for Destination/shop/web (NetworkReplaced), disruptive
          - remove network old-net for Destination/shop/web (NetworkReplaced)
        ",
    );
}

/// A destination with another name for its network, and everyone there is on that.
fn renamed(subnets: Option<(&str, &str)>) -> Scenario {
    let made = network("old-net").of("web");
    let declared = destination("web").named("new-net").replacement(Replacement::Reattach);
    let (made, declared) = match subnets {
        Some((old, new)) => (made.subnet(old), declared.subnet(new)),
        None => (made, declared),
    };
    Scenario::new()
        .network(made)
        .container(container("traefik").on("bridge").on("old-net").made_for("Proxy"))
        .container(container("app").on("old-net").alias("front"))
        .container(container("db").on("old-net").exited())
        .container(container("job").on("old-net").created())
        .container(container("old").pinned("old-net").exited())
        .container(container("guest").on("old-net").alias("x"))
        .destination(
            declared
                .member(application("app").alias("web"))
                .member(application("job"))
                .member(database("db"))
                .member(application("late")),
        )
        .container(container("late"))
}

const RENAMED: &str = "
    default/edge-1
      + create network new-net for Destination/shop/web (NetworkReplaced)
      + connect traefik to new-net for Destination/shop/web (NetworkReplaced)
      + connect app to new-net as front, web for Destination/shop/web (NetworkReplaced)
      + connect db to new-net for Destination/shop/web (NetworkReplaced)
      + connect guest to new-net as x for Destination/shop/web (NetworkReplaced)
      + connect job to new-net for Destination/shop/web (NetworkReplaced)
      + connect late to new-net for Application/shop/late (MemberDetached)
      - disconnect app from old-net for Destination/shop/web (NetworkReplaced), disruptive
      - disconnect db from old-net for Destination/shop/web (NetworkReplaced)
      - disconnect guest from old-net for Destination/shop/web (NetworkReplaced), disruptive
      - disconnect job from old-net for Destination/shop/web (NetworkReplaced)
      - disconnect traefik from old-net for Destination/shop/web (NetworkReplaced), disruptive
      - remove network old-net for Destination/shop/web (NetworkReplaced)
      . unmanaged Destination/shop/web: No resource declares the container \"guest\", which is on \"old-net\": it moves to \"new-net\" with the others. (MembershipForeign)
          hint: what runs it names \"old-net\": write \"new-net\" there before it is run anew
    ";

#[test]
fn everyone_is_on_the_network_of_another_name_before_anybody_leaves_the_old_one() {
    renamed(None).expect(RENAMED);
}

#[test]
fn where_the_networks_of_both_names_cannot_be_the_old_one_goes_first() {
    renamed(Some(("10.1.0.0/24", "10.1.0.0/24"))).expect(
        "
        default/edge-1
          - disconnect app from old-net for Destination/shop/web (NetworkReplaced), disruptive
          - disconnect db from old-net for Destination/shop/web (NetworkReplaced)
          - disconnect guest from old-net for Destination/shop/web (NetworkReplaced), disruptive
          - disconnect job from old-net for Destination/shop/web (NetworkReplaced)
          - disconnect traefik from old-net for Destination/shop/web (NetworkReplaced), disruptive
          - remove network old-net for Destination/shop/web (NetworkReplaced)
          + create network new-net (10.1.0.0/24) for Destination/shop/web (NetworkReplaced)
          + connect traefik to new-net for Destination/shop/web (NetworkReplaced)
          + connect app to new-net as front, web for Destination/shop/web (NetworkReplaced)
          + connect db to new-net for Destination/shop/web (NetworkReplaced)
          + connect guest to new-net as x for Destination/shop/web (NetworkReplaced)
          + connect job to new-net for Destination/shop/web (NetworkReplaced)
          + connect late to new-net for Application/shop/late (MemberDetached)
          . unmanaged Destination/shop/web: No resource declares the container \"guest\", which is on \"old-net\": it moves to \"new-net\" with the others. (MembershipForeign)
              hint: what runs it names \"old-net\": write \"new-net\" there before it is run anew
        ",
    );
    let plan = renamed(Some(("10.1.0.0/24", "10.2.0.0/24"))).plan().to_string();
    assert!(plan.starts_with("default/edge-1\n  + create network new-net (10.2.0.0/24)"), "{plan}");
}

/// Nothing has to be written down: everyone is on one of the two at any time, and the former one is known by its labels.
#[test]
fn a_change_of_the_name_that_is_killed_at_any_step_is_completed_by_the_next_plan() {
    let undisturbed = {
        let mut world = renamed(None);
        world.apply();
        world
    };
    let planned = renamed(None).plan();
    let groups = &planned.servers[0].groups;
    assert!(groups.iter().all(|group| group.journal.is_none()));
    let calls: Vec<&Call> =
        groups.iter().flat_map(|group| &group.operations).map(|operation| &operation.call).collect();
    for killed in 0..=calls.len() {
        let mut world = renamed(None);
        for call in &calls[..killed] {
            simulator::call(world.state(), call);
        }
        for container in &world.clone().state().containers {
            let mut names = container.endpoints.iter().map(|it| it.network_name.as_str());
            let on_either = names.any(|name| ["old-net", "new-net"].contains(&name));
            assert!(on_either || container.name == "late", "{} after {killed}", container.name);
        }
        world.apply();
        world.settled();
        let names: Vec<_> = world.state().networks.iter().map(|it| it.name.clone()).collect();
        assert!(!names.contains(&"old-net".to_owned()), "killed after {killed} operations: {names:?}");
        for (now, then) in world.state().containers.iter().zip(&undisturbed.clone().state().containers) {
            let settings = |it: &landfall::core::observed::ObservedContainer| {
                let mut all: Vec<_> =
                    it.endpoints.iter().map(|it| (it.network_name.clone(), it.settings.clone().unwrap())).collect();
                all.sort_by(|a, b| a.0.cmp(&b.0));
                for (_, settings) in &mut all {
                    settings.aliases.sort();
                }
                all
            };
            assert_eq!(settings(now), settings(then), "killed after {killed} operations");
        }
    }
}

/// Killed when both are there.
fn both_there() -> Scenario {
    let mut world = renamed(None);
    let planned = world.plan();
    for group in &planned.servers[0].groups[..3] {
        simulator::call(world.state(), &group.operations[0].call);
    }
    world
}

#[test]
fn what_an_interrupted_change_of_the_name_left_is_completed_without_pruning() {
    both_there().expect(
        "
        default/edge-1
          + connect db to new-net for Destination/shop/web (NetworkReplaced)
          + connect guest to new-net as x for Destination/shop/web (NetworkReplaced)
          + connect job to new-net for Destination/shop/web (NetworkReplaced)
          + connect late to new-net for Application/shop/late (MemberDetached)
          - disconnect app from old-net for Destination/shop/web (NetworkReplaced), disruptive
          - disconnect db from old-net for Destination/shop/web (NetworkReplaced)
          - disconnect guest from old-net for Destination/shop/web (NetworkReplaced), disruptive
          - disconnect job from old-net for Destination/shop/web (NetworkReplaced)
          - disconnect traefik from old-net for Destination/shop/web (NetworkReplaced), disruptive
          - remove network old-net for Destination/shop/web (NetworkReplaced)
          . unmanaged Destination/shop/web: No resource declares the container \"guest\", which is on \"old-net\": it moves to \"new-net\" with the others. (MembershipForeign)
              hint: what runs it names \"old-net\": write \"new-net\" there before it is run anew
        ",
    );
    // The leave was taken back meanwhile.
    let never = both_there().redeclare("web", |it| it.replacement(Replacement::Never)).plan().to_string();
    assert!(!never.contains("old-net for") && never.contains("`--prune` removes it"), "{never}");
    // It is back to the former name: the other way round.
    let mut back = both_there().redeclare("web", |it| it.named("old-net"));
    back.apply();
    back.settled();
    let names: Vec<_> = back.state().networks.iter().map(|it| it.name.clone()).collect();
    assert!(names.contains(&"old-net".to_owned()) && !names.contains(&"new-net".to_owned()), "{names:?}");
}

#[test]
fn the_network_of_a_former_name_that_other_manifests_made_is_left_to_them() {
    let mut world = both_there().source("git.example.com/shop");
    let old = world.state().networks.iter_mut().find(|it| it.name == "old-net").unwrap();
    old.labels.insert("landfall.source".to_owned(), "git.example.com/other".to_owned());
    let plan = world.plan().to_string();
    assert!(!plan.contains("from old-net") && plan.contains("was made from git.example.com/other"), "{plan}");
}

#[test]
fn one_who_cannot_be_connected_keeps_everybody_on_the_network_of_the_old_name_and_nobody_off_the_new_one() {
    let planned = renamed(None).plan();
    let groups = &planned.servers[0].groups;
    let last = groups.last().unwrap();
    let made: Vec<_> = groups.iter().flat_map(|it| &it.operations).flat_map(|it| it.call.connections()).collect();
    assert!(matches!(last.operations.last().unwrap().call, Call::RemoveNetwork { .. }));
    assert_eq!(last.needs.len(), 5, "app, db, guest, job and traefik");
    assert!(last.needs.iter().all(|need| made.contains(need)));
    for group in &groups[..groups.len() - 1] {
        assert_eq!((group.operations.len(), group.needs.len()), (1, 0), "{}", group.operations[0]);
    }
}

#[test]
fn a_name_that_is_taken_cannot_be_changed_to() {
    Scenario::without_proxy()
        .network(network("old-net").of("web"))
        .network(network("new-net"))
        .destination(destination("web").named("new-net").adopt().replacement(Replacement::Reattach))
        .prune()
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: spec.network.name is \"old-net\" on the server and \"new-net\" in the manifest, and \"new-net\" exists already. (ImmutableField)
                  hint: delete the destination first, then adopt \"new-net\"
            ",
        );
}

#[test]
fn when_empty_replaces_only_what_nothing_but_the_proxy_is_on() {
    let scenario = Scenario::new()
        .network(network("web-net").of("web").mtu("1500"))
        .container(container("traefik").on("bridge").on("web-net"))
        .container(container("app").on("web-net").exited())
        .destination(
            destination("web")
                .named("web-net")
                .mtu(1450)
                .replacement(Replacement::WhenEmpty)
                .member(application("app")),
        )
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: spec.network.mtu is 1500 on the server and 1450 in the manifest. The network is replaced when nothing but the proxy is on it, and something is. (ImmutableField)
                  Container app, exited
                  hint: disconnect what is on it, or allow to reconnect it: `replacement: Reattach`
            ",
        );
    scenario.container(container("app").exited()).expect(
        "
        default/edge-1
          - disconnect traefik from web-net for Destination/shop/web (NetworkReplaced), disruptive
          - remove network web-net for Destination/shop/web (NetworkReplaced)
          + create network web-net for Destination/shop/web (NetworkReplaced)
          + connect traefik to web-net for Destination/shop/web (NetworkReplaced)
          + connect app to web-net for Application/shop/app (MemberDetached)
        ",
    );
}

/// Everyone there is: the proxy, members running, stopped and created, and a stranger.
fn crowded() -> Scenario {
    Scenario::new()
        .network(network("web-net").of("web").mtu("1500").subnet("10.42.0.0/24"))
        .container(container("traefik").on("bridge").on("web-net").marked())
        .container(container("app").on("web-net").alias("front"))
        .container(container("db").on("web-net").static_address("10.42.0.10").exited())
        .container(container("job").on("web-net").created())
        .container(container("stranger").on("web-net").alias("x"))
        .destination(
            destination("web")
                .named("web-net")
                .mtu(1450)
                .subnet("10.42.0.0/24")
                .replacement(Replacement::Reattach)
                .member(application("app").alias("web"))
                .member(application("job"))
                .member(database("db").address("10.42.0.10")),
        )
}

const REATTACHED: &str = "
    default/edge-1
      - disconnect app from web-net for Destination/shop/web (NetworkReplaced), disruptive
      - disconnect job from web-net for Destination/shop/web (NetworkReplaced)
      - disconnect stranger from web-net for Destination/shop/web (NetworkReplaced), disruptive
      - disconnect traefik from web-net for Destination/shop/web (NetworkReplaced), disruptive
      - disconnect db from web-net for Destination/shop/web (NetworkReplaced)
      - remove network web-net for Destination/shop/web (NetworkReplaced)
      + create network web-net (10.42.0.0/24) for Destination/shop/web (NetworkReplaced)
      + connect db to web-net as 10.42.0.10 for Destination/shop/web (NetworkReplaced)
      + connect traefik to web-net for Destination/shop/web (NetworkReplaced)
      + connect app to web-net as front, web for Destination/shop/web (NetworkReplaced)
      + connect job to web-net for Destination/shop/web (NetworkReplaced)
      + connect stranger to web-net as x for Destination/shop/web (NetworkReplaced)
      . unmanaged Destination/shop/web: No resource declares the container \"stranger\", which is on \"web-net\". (MembershipForeign)
          hint: declare it, or set `membership: Exclusive` to have it disconnected
    ";

#[test]
fn pain_26_reattach_replaces_the_network_and_brings_everyone_back_as_they_were() {
    crowded().expect(REATTACHED);
}

#[test]
fn a_replacement_that_fails_at_any_step_puts_everything_back() {
    let scenario = crowded();
    let planned = scenario.plan();
    let group = &planned.servers[0].groups[0];
    for failing in 0..=group.operations.len() {
        let mut world = scenario.clone();
        for operation in &group.operations[..failing] {
            simulator::call(world.state(), &operation.call);
        }
        for operation in group.operations[..failing].iter().rev() {
            let mut undo = operation.undo.clone().unwrap();
            // The old id stands for the network that has been created again.
            if let Call::ConnectEndpoint { network, .. } = &mut undo {
                network.id = world.state().networks.iter().find(|it| it.name == network.name).map(|it| it.id.clone());
            }
            simulator::call(world.state(), &undo);
        }
        for (now, then) in world.state().containers.iter().zip(&scenario.clone().state().containers) {
            let settings = |it: &landfall::core::observed::ObservedContainer| {
                it.endpoints.iter().map(|it| (it.network_name.clone(), it.settings.clone())).collect::<Vec<_>>()
            };
            assert_eq!(settings(now), settings(then), "undone after {failing} operations");
        }
        let restored = world.state().networks.last().unwrap().clone();
        assert_eq!(restored.options["com.docker.network.driver.mtu"], "1500");
    }
}

#[test]
fn a_replacement_that_is_killed_at_any_step_is_completed_by_the_next_plan() {
    let undisturbed = {
        let mut world = crowded();
        world.apply();
        world
    };
    let planned = crowded().plan();
    let group = &planned.servers[0].groups[0];
    for killed in 0..=group.operations.len() {
        let mut world = crowded();
        for operation in &group.operations[..killed] {
            simulator::call(world.state(), &operation.call);
        }
        world = world.journal(group.journal.clone().unwrap());
        world.apply();
        world.settled();
        // The journal goes now, or is found to have nothing left in it.
        world.apply();
        assert!(world.journals.is_empty(), "killed after {killed} operations");
        for (now, then) in world.state().containers.iter().zip(&undisturbed.clone().state().containers) {
            let settings = |it: &landfall::core::observed::ObservedContainer| {
                let mut all: Vec<_> =
                    it.endpoints.iter().map(|it| (it.network_name.clone(), it.settings.clone().unwrap())).collect();
                for (_, settings) in &mut all {
                    settings.aliases.sort();
                }
                all
            };
            assert_eq!(settings(now), settings(then), "killed after {killed} operations");
        }
    }
}

#[test]
fn a_container_that_was_recreated_since_is_not_reconnected_from_a_journal() {
    let scenario = crowded();
    let journal = scenario.plan().servers[0].groups[0].journal.clone().unwrap();
    let healed = scenario
        .redeclare("web", |it| it.mtu(1500))
        .container(container("stranger").recreated().on("bridge"))
        .container(container("app").on("web-net").alias("front").alias("web"))
        .journal(journal);
    assert_eq!(healed.plan().servers[0].settled.len(), 1);
    healed.expect("");
}

#[test]
fn a_journal_of_a_destination_that_is_not_declared_any_more_is_kept_and_mentioned() {
    let scenario = crowded();
    let journal = scenario.plan().servers[0].groups[0].journal.clone().unwrap();
    let world = scenario.undeclare("web").journal(journal).expect_nothing_but(
        "
        default/edge-1
          * warning Destination/shop/web: An interrupted change may have left db, traefik, app, job, stranger off the network \"web-net\", and no manifest declares Destination/shop/web any more. (Orphaned)
              hint: declare the destination again to have them reconnected
          . unmanaged Destination/shop/web: No manifest declares Destination/shop/web any more, and its network \"web-net\" exists. (Undeclared)
              hint: `--prune` removes it
        ",
    );
    assert_eq!(world.journals.len(), 1);
}

#[test]
fn whoever_is_to_leave_does_not_come_back() {
    let world = crowded().container(container("job").on("web-net").exited());
    world.redeclare("web", |it| it.exclusive().without_proxy()).expect(
        "
        default/edge-1
          - disconnect app from web-net for Destination/shop/web (NetworkReplaced), disruptive
          - disconnect job from web-net for Destination/shop/web (NetworkReplaced)
          - disconnect stranger from web-net for Destination/shop/web (MembershipExclusive), disruptive
          - disconnect traefik from web-net for Destination/shop/web (ProxyUnwanted), disruptive
          - disconnect db from web-net for Destination/shop/web (NetworkReplaced)
          - remove network web-net for Destination/shop/web (NetworkReplaced)
          + create network web-net (10.42.0.0/24) for Destination/shop/web (NetworkReplaced)
          + connect db to web-net as 10.42.0.10 for Destination/shop/web (NetworkReplaced)
          + connect app to web-net as front, web for Destination/shop/web (NetworkReplaced)
          + connect job to web-net for Destination/shop/web (NetworkReplaced)
        ",
    );
}

#[test]
fn pain_28_a_network_is_not_replaced_if_someone_would_lose_a_static_address() {
    Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/24"))
        .container(container("db").on("web-net").static_address("10.42.0.10"))
        .destination(
            destination("web").named("web-net").subnet("10.43.0.0/24").replacement(Replacement::Reattach).member(database("db")),
        )
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: The network is not replaced: static addresses would be outside of its declared subnets: 10.42.0.10 of \"db\". (AddressUnavailable)
                  hint: declare the subnets and, for its members, `endpoint.ipv4Address`
            ",
        );
}

#[test]
fn a_network_is_not_replaced_by_one_whose_subnet_is_taken() {
    Scenario::without_proxy()
        .network(network("legacy").subnet("10.43.0.0/16"))
        .network(network("web-net").of("web").subnet("10.42.0.0/24"))
        .destination(destination("web").named("web-net").subnet("10.43.0.0/24").replacement(Replacement::Reattach))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: The subnet 10.43.0.0/24 overlaps 10.43.0.0/16 of the network \"legacy\". (SubnetOverlap)
                  hint: choose another subnet; `docker network ls` and `docker network inspect` show those in use
            ",
        );
}

#[test]
fn an_interrupted_replacement_is_not_mistaken_for_a_new_name() {
    let scenario = Scenario::new()
        .network(network("other-net").of("web"))
        .network(network("web-net").of("web").mtu("1500"))
        .container(container("traefik").on("web-net"))
        .destination(destination("web").named("web-net").mtu(1450).replacement(Replacement::WhenEmpty));
    let planned = scenario.plan();
    let group = &planned.servers[0].groups[0];
    let mut killed = scenario.clone();
    for operation in &group.operations[..2] {
        simulator::call(killed.state(), &operation.call);
    }
    let mut killed = killed.journal(group.journal.clone().unwrap());
    killed.expect_plan(
        "
        default/edge-1
          + create network web-net for Destination/shop/web (NetworkMissing)
          + connect traefik to web-net for Destination/shop/web (JournalRestore)
        ",
    );
    killed.apply();
    // Of two, one is what it has been renamed from.
    killed.expect(
        "
        default/edge-1
          - remove network other-net for Destination/shop/web (NetworkReplaced)
        ",
    );
}

#[test]
fn an_interrupted_replacement_keeps_its_name_from_whoever_declares_it() {
    let scenario = Scenario::new()
        .network(network("web-net").of("nameless").mtu("1500"))
        .container(container("traefik").on("web-net"))
        .destination(destination("nameless").mtu(1450).replacement(Replacement::WhenEmpty))
        .destination(destination("web").named("web-net"));
    let planned = scenario.plan();
    let group = &planned.servers[0].groups[0];
    let mut killed = scenario.clone();
    for operation in &group.operations[..2] {
        simulator::call(killed.state(), &operation.call);
    }
    let refused = killed.journal(group.journal.clone().unwrap()).plan().to_string();
    let refused: Vec<&str> = refused.lines().collect();
    assert_eq!(
        refused,
        [
            "default/edge-1",
            "  + create network web-net for Destination/shop/nameless (NetworkMissing)",
            "  + connect traefik to web-net for Destination/shop/nameless (JournalRestore)",
            "  ! refused Destination/shop/web: The network \"web-net\" belongs to Destination/shop/nameless, and its replacement was interrupted. (OwnershipConflict)",
            "      hint: choose another network name, or delete that destination first",
        ]
    );
}

/// The network cannot be what the manifest says, and neither can the address: cutting the member off for it would be for nothing, again and again.
#[test]
fn an_address_that_the_network_as_it_is_cannot_give_disconnects_nobody() {
    let scenario = |replacement| {
        Scenario::without_proxy()
            .network(network("web-net").of("web").subnet("10.43.0.0/24"))
            .container(container("app").on("web-net").static_address("10.43.0.10"))
            .container(container("late"))
            .destination(
                destination("web")
                    .named("web-net")
                    .subnet("10.44.0.0/24")
                    .replacement(replacement)
                    .member(application("app").address("10.44.0.10"))
                    .member(application("late").address("10.44.0.11")),
            )
    };
    scenario(Replacement::Never).expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: spec.network.subnets[0].subnet is 10.43.0.0/24 on the server and 10.44.0.0/24 in the manifest. Docker cannot change a network. (ImmutableField)
              hint: change the manifest back, or allow to replace the network: `replacement: WhenEmpty` or `Reattach`
          ! refused Application/shop/app: spec.endpoint.ipv4Address is 10.44.0.10, and the network \"web-net\" on the server has 10.43.0.0/24. (AddressUnavailable)
              hint: it is connected as declared once the network is; `replacement` says whether that may happen
          ! refused Application/shop/late: spec.endpoint.ipv4Address is 10.44.0.11, and the network \"web-net\" on the server has 10.43.0.0/24. (AddressUnavailable)
              hint: it is connected as declared once the network is; `replacement` says whether that may happen
        ",
    );
    scenario(Replacement::Reattach).expect(
        "
        default/edge-1
          - disconnect app from web-net for Destination/shop/web (NetworkReplaced), disruptive
          - remove network web-net for Destination/shop/web (NetworkReplaced)
          + create network web-net (10.44.0.0/24) for Destination/shop/web (NetworkReplaced)
          + connect app to web-net as 10.44.0.10 for Destination/shop/web (NetworkReplaced)
          + connect late to web-net as 10.44.0.11 for Application/shop/late (MemberDetached)
        ",
    );
}

/// As other tools have it: fewer labels, another order of subnets and another form of a value change nothing, more labels do.
#[test]
fn a_field_in_another_order_or_form_is_no_difference() {
    let world = |labels: &[(&str, &str)]| {
        let made = network("web-net").of("web").subnet("fdd1:ac8c:557:7ce2::/64").subnet("10.26.120.0/24");
        let made =
            made.label("one", "hello").label("two", "world").option("com.docker.network.bridge.enable_icc", "false");
        let declared = destination("web").named("web-net").subnet("10.26.120.0/24").subnet("fdd1:ac8c:0557:7ce2::/64");
        Scenario::without_proxy().network(made).destination(declared.with(|it| {
            it.network.icc = false;
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            it.network.labels.extend(labels);
        }))
    };
    world(&[("two", "world"), ("one", "hello")]).expect("");
    world(&[("one", "hello")]).expect("");
    let plan = world(&[("one", "hello"), ("three", "more")]).plan().to_string();
    assert!(plan.contains("spec.network.labels.three is unset on the server and more in the manifest"), "{plan}");
}

#[test]
fn a_name_that_is_the_beginning_of_another_one_is_another_network() {
    Scenario::without_proxy()
        .network(network("shop-foobar").of("long"))
        .destination(destination("long").named("shop-foobar"))
        .destination(destination("short").named("shop-foo"))
        .expect(
            "
            default/edge-1
              + create network shop-foo for Destination/shop/short (NetworkMissing)
            ",
        );
}
