//! Deleting and pruning: nothing that anybody still needs, and nothing that is not ours.

use landfall::core::api::{Kind, Replacement};
use landfall::core::observed::ContainerState;
use landfall::core::plan::{Call, NoteKind, Reason};

use crate::support::scenario::{ContainerBuilder, Scenario, application, container, database, destination, network};

#[test]
fn an_empty_destination_is_deleted_and_the_proxy_disconnected_before() {
    let scenario = Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("traefik").on("web-net").alias("gateway").marked())
        .destination(destination("web").named("web-net"))
        .delete(Kind::Destination, "web");
    let planned = scenario.plan();
    let undo = planned.servers[0].groups[0].operations[0].undo.clone().unwrap();
    assert_eq!(undo.to_string(), "connect traefik to web-net as gateway");
    let Call::ConnectEndpoint { settings, .. } = undo else { panic!("{undo}") };
    assert_eq!(settings.driver_opts["landfall.set"], "default");
    scenario.expect(
        "
        default/edge-1
          - disconnect traefik from web-net for Destination/shop/web (DeletionRequested)
          - remove network web-net for Destination/shop/web (DeletionRequested)
        ",
    );
}

#[test]
fn pain_24_a_container_in_any_state_blocks_deletion() {
    for state in [
        ContainerState::Created,
        ContainerState::Running,
        ContainerState::Paused,
        ContainerState::Restarting,
        ContainerState::Removing,
        ContainerState::Exited,
        ContainerState::Dead,
    ] {
        let word = state.as_str();
        Scenario::new()
            .network(network("web-net").of("web"))
            .container(container("traefik").on("web-net"))
            .container(container("db-1").on("web-net").state(state))
            .destination(destination("web").named("web-net"))
            .delete(Kind::Destination, "web")
            .expect_nothing_but(&format!(
                "
                default/edge-1
                  ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
                      Container db-1, {word}
                      hint: remove what is listed, or stop and disconnect it all: landfall delete destination web -n shop --force
                ",
            ));
    }
}

#[test]
fn a_container_that_may_be_reattached_blocks_a_deletion_all_the_same() {
    Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("db-1").on("web-net"))
        .destination(destination("web").named("web-net").replacement(Replacement::Reattach))
        .delete(Kind::Destination, "web")
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
                  Container db-1, running
                  hint: remove what is listed, or stop and disconnect it all: landfall delete destination web -n shop --force
            ",
        );
}

#[test]
fn what_a_request_names_is_no_part_of_what_pruning_is_measured_by() {
    let mut scenario = Scenario::new()
        .network(network("web-net").of("web"))
        .network(network("old-net").of("old"))
        .destination(destination("web").named("web-net"))
        .delete(Kind::Destination, "web")
        .prune();
    scenario.request.only_delete = false;
    scenario.expect(
            "
            default/edge-1
              - remove network web-net for Destination/shop/web (DeletionRequested)
              ! refused Server/default/edge-1: Pruning would remove 1 of the 1 destinations of the set \"default\", which is all of them: Destination/shop/old (\"old-net\"). (MassDeletionRefused)
                  hint: if that is meant: `--allow-mass-delete`; if not, look for manifests that are missing
            ",
        );
}

#[test]
fn declared_resources_and_everyone_attached_are_named_in_order() {
    Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("frontend").on("web-net"))
        .container(container("cron").on("web-net").created())
        .container(container("pinned").pinned("web-net").exited())
        .destination(
            destination("web")
                .named("web-net")
                .member(application("frontend"))
                .member(application("team/backend"))
                .member(database("db")),
        )
        .delete(Kind::Destination, "web")
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
                  Application frontend, declared
                  Application team/backend, declared
                  Database db, declared
                  Container cron, created
                  Container frontend, running
                  Container pinned, exited
                  hint: delete the resources that are listed as well, or give them another `destination`
            ",
        );
}

#[test]
fn a_destination_goes_with_its_resources_what_depends_on_it_first() {
    let world = |app: ContainerBuilder| {
        Scenario::new()
            .network(network("web-net").of("web"))
            .container(container("traefik").on("web-net").made_for("Proxy"))
            .container(app)
            .destination(destination("web").named("web-net").member(application("app")))
            .delete(Kind::Destination, "web")
            .delete(Kind::Application, "app")
    };
    let gone = "
        default/edge-1
          - disconnect app from web-net for Destination/shop/web (DeletionRequested), disruptive
          - disconnect traefik from web-net for Destination/shop/web (DeletionRequested)
          - remove network web-net for Destination/shop/web (DeletionRequested)
        ";
    world(container("app").on("web-net").made_for("Application/shop/app")).expect(gone);
    world(container("app").on("web-net").marked()).expect(gone);
    // A deploy tool is at work: what it has renamed was connected for the same application.
    let renamed = container("app_old").on("web-net").made_for_as("Application/shop/app", "app");
    world(renamed).expect(&gone.replace("disconnect app ", "disconnect app_old "));
    // Whoever was put there by others blocks.
    world(container("app").on("web-net")).expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
              Container app, running
              hint: Landfall did not connect what is listed: remove it, or take it off: docker network disconnect web-net NAME
          * warning Application/shop/app: \"app\" is left on \"web-net\", since Destination/shop/web is not deleted. (ResourcesRemain)
        ",
    );
}

#[test]
fn deleting_a_resource_disconnects_what_landfall_connected_and_nothing_else() {
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("a").on("web-net").marked().label("app", "a"))
        .container(container("b").on("web-net").label("app", "a"))
        .container(container("shared").on("web-net").marked().label("app", "a"))
        .container(container("other"))
        .destination(
            destination("web")
                .named("web-net")
                .member(application("app").labelled("app", "a"))
                .member(application("other"))
                .member(application("shared")),
        )
        .delete(Kind::Application, "app")
        .expect(
            "
            default/edge-1
              - disconnect a from web-net for Application/shop/app (DeletionRequested), disruptive
              . unmanaged Application/shop/app: \"b\" is left on \"web-net\": Landfall did not connect it. (MembershipForeign)
                  hint: docker network disconnect web-net b
            ",
        );
}

#[test]
fn a_network_that_was_removed_by_hand_is_nothing_to_delete() {
    Scenario::new()
        .destination(destination("web").named("web-net").member(application("app")))
        .delete(Kind::Destination, "web")
        .expect_nothing_but(
            "
            default/edge-1
              * warning Destination/shop/web: The network \"web-net\" of Destination/shop/web is gone already; there is nothing to delete. (NetworkNotFound)
            ",
        );
}

#[test]
fn an_adopted_network_and_one_that_is_not_ours_are_left() {
    Scenario::new()
        .network(network("web-net"))
        .network(network("api-net"))
        .destination(destination("web").named("web-net").adopt())
        .destination(destination("api").named("api-net"))
        .delete(Kind::Destination, "web")
        .delete(Kind::Destination, "api")
        .expect_nothing_but(&format!(
            "
            default/edge-1
              * warning Destination/shop/api: A network named \"api-net\" exists already, and Landfall did not create it. It stays as it is. (Orphaned)
              * warning Destination/shop/web: The network \"web-net\" is adopted: it is forgotten, with everything on it left as it is. (Orphaned)
                  hint: once nothing is attached to it: docker network rm {}
            ",
            &crate::support::scenario::hex_id("web-net 1")[..12]
        ));
}

#[test]
fn the_deletion_policy_orphan_protects_in_the_manifest_and_in_the_label() {
    let hint = format!(
        "hint: once nothing is attached to it: docker network rm {}",
        &crate::support::scenario::hex_id("web-net 1")[..12]
    );
    let expected = format!(
        "
        default/edge-1
          * warning Destination/shop/web: The network \"web-net\" has the deletion policy Orphan: it is forgotten, with everything on it left as it is. (Orphaned)
              {hint}
        "
    );
    let labelled = network("web-net").of("web").label("landfall.deletion-policy", "Orphan");
    Scenario::new()
        .network(network("web-net").of("web"))
        .destination(destination("web").named("web-net").orphan())
        .delete(Kind::Destination, "web")
        .expect_nothing_but(&expected);
    Scenario::new()
        .network(labelled.clone())
        .destination(destination("web").named("web-net"))
        .delete(Kind::Destination, "web")
        .expect_nothing_but(&expected);
    Scenario::new().network(labelled.clone()).delete(Kind::Destination, "web").expect_nothing_but(&expected);
    Scenario::new().network(labelled.clone()).prune().expect_nothing_but(&expected);
    Scenario::new()
        .network(labelled)
        .destination(destination("web").named("web-net"))
        .force_delete("web")
        .expect_nothing_but(&expected);
}

/// rule 5: the label was given at creation, and the manifest said Orphan since.
#[test]
fn rule_05_a_policy_that_was_declared_later_protects_after_its_manifest_is_gone() {
    let labelled = network("web-net").of("web").label("landfall.deletion-policy", "Delete");
    Scenario::new().network(labelled).prune().remembered_orphan("web").expect_nothing_but(&format!(
        "
        default/edge-1
          * warning Destination/shop/web: The network \"web-net\" has the deletion policy Orphan: it is forgotten, with everything on it left as it is. (Orphaned)
              hint: once nothing is attached to it: docker network rm {}
        ",
        &crate::support::scenario::hex_id("web-net 1")[..12]
    ));
}

#[test]
fn a_destination_known_by_its_labels_only_can_be_deleted() {
    Scenario::new()
        .network(network("old-net").of("old"))
        .network(network("fake-net").labels_of(network("x").of("other")))
        .container(container("traefik").on("old-net"))
        .delete(Kind::Destination, "old")
        .delete(Kind::Destination, "other")
        .expect(
            "
            default/edge-1
              - disconnect traefik from old-net for Destination/shop/old (DeletionRequested)
              - remove network old-net for Destination/shop/old (DeletionRequested)
            * warning Destination/shop/other: No manifest declares Destination/shop/other, and no server has a network of it; there is nothing to delete. (NetworkNotFound)
            ",
        );
}

#[test]
fn a_destination_of_another_set_is_not_deleted() {
    Scenario::new()
        .network(network("web-net").of_set("other", "web"))
        .destination(destination("web").named("web-net"))
        .delete(Kind::Destination, "web")
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: The network \"web-net\" belongs to the set \"other\", and this is \"default\". (OwnershipConflict)
                  hint: choose another network name, or apply with `--set other`
            ",
        );
}

#[test]
fn force_stops_and_disconnects_everyone_writes_it_down_and_removes_the_network() {
    let scenario = Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("traefik").on("web-net").marked())
        .container(container("app").on("web-net").alias("front"))
        .container(container("db").on("web-net").exited())
        .container(container("pinned").pinned("web-net").exited())
        .destination(destination("web").named("web-net").member(application("app")))
        .force_delete("web");
    let planned = scenario.plan();
    let group = &planned.servers[0].groups[0];
    let journal = group.journal.as_ref().unwrap();
    let listed: Vec<_> = journal.endpoints.iter().map(|it| (it.container.name.as_str(), it.was_running)).collect();
    assert_eq!(listed, [("app", true), ("db", false), ("pinned", false)]);
    assert_eq!(journal.endpoints[0].settings.aliases, ["front"]);
    let undo: Vec<_> = group.operations.iter().filter_map(|it| it.undo.as_ref()).map(ToString::to_string).collect();
    assert_eq!(
        undo,
        ["start app", "connect app to web-net as front", "connect db to web-net", "connect traefik to web-net"]
    );
    scenario.expect(
        "
        default/edge-1
          - stop app for Destination/shop/web (DeletionRequested), disruptive
          - disconnect app from web-net for Destination/shop/web (DeletionRequested)
          - disconnect db from web-net for Destination/shop/web (DeletionRequested)
          - disconnect pinned from web-net for Destination/shop/web (DeletionRequested)
          - disconnect traefik from web-net for Destination/shop/web (DeletionRequested)
          - remove network web-net for Destination/shop/web (DeletionRequested)
        ",
    );
}

#[test]
fn pain_21_a_destination_on_an_unreachable_server_is_forgotten_by_force_only() {
    let scenario = Scenario::new().destination(destination("web").named("web-net")).unreachable();
    scenario.clone().delete(Kind::Destination, "web").expect_nothing_but(
        "
        default/edge-1
          * warning Server/default/edge-1: It does not answer. (ServerUnreachable)
              hint: start it
          * warning Destination/shop/web: Whether anything is on Destination/shop/web is unknown, so it is not deleted. (ServerUnreachable)
              hint: if the server is gone for good: landfall delete destination web -n shop --force
        ",
    );
    scenario.force_delete("web").expect_nothing_but(
        "
        default/edge-1
          * warning Server/default/edge-1: It does not answer. (ServerUnreachable)
              hint: start it
          * warning Destination/shop/web: Destination/shop/web is forgotten; should Server/default/edge-1 come back, its network is still there. (Orphaned)
        ",
    );
}

#[test]
fn deleting_plans_for_nothing_but_the_named_objects() {
    Scenario::new()
        .network(network("web-net").of("web"))
        .network(network("old-net").of("old"))
        .destination(destination("web").named("web-net"))
        .destination(destination("new").named("new-net"))
        .delete(Kind::Destination, "web")
        .prune()
        .expect(
            "
            default/edge-1
              - remove network web-net for Destination/shop/web (DeletionRequested)
            ",
        );
}

#[test]
fn a_server_is_not_deleted_before_its_destinations() {
    let scenario =
        Scenario::new().network(network("web-net").of("web")).destination(destination("web").named("web-net"));
    scenario.clone().delete(Kind::Server, "default/edge-1").expect_nothing_but(
        "
        default/edge-1
          ! refused Server/default/edge-1: You must delete all destinations before deleting this server. (ResourcesRemain)
              Destination shop/web, declared
              hint: delete the destinations that are listed
        ",
    );
    scenario.delete(Kind::Server, "default/edge-1").delete(Kind::Destination, "web").expect(
        "
        default/edge-1
          - remove network web-net for Destination/shop/web (DeletionRequested)
        ",
    );
}

#[test]
fn pain_13_19_20_pruning_removes_what_the_set_owns_and_no_manifest_declares() {
    let scenario = Scenario::new()
        .network(network("foreign"))
        .network(network("old-net").of("old"))
        .network(network("web-net").of("web"))
        .destination(destination("web").named("web-net").without_proxy())
        .container(container("traefik").on("old-net").on("foreign"))
        .expect_nothing_but(
            "
            default/edge-1
              . unmanaged Destination/shop/old: No manifest declares Destination/shop/old any more, and its network \"old-net\" exists. (Undeclared)
                  hint: `--prune` removes it
            ",
        );
    scenario.prune().expect(
        "
        default/edge-1
          - disconnect traefik from old-net for Destination/shop/old (Undeclared)
          - remove network old-net for Destination/shop/old (Undeclared)
        ",
    );
}

#[test]
fn pruning_refuses_what_anybody_is_still_on() {
    Scenario::new()
        .network(network("old-net").of("old"))
        .container(container("db").on("old-net").exited())
        .prune()
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/old: You must delete all resources before deleting this destination. (ResourcesRemain)
                  Container db, exited
                  hint: remove what is listed, or stop and disconnect it all: landfall delete destination old -n shop --force
            ",
        );
}

#[test]
fn pruning_more_than_a_fifth_is_refused_as_a_whole() {
    let world = |declared: usize, undeclared: usize| {
        let mut scenario = Scenario::without_proxy();
        for index in 0..declared {
            let (path, name) = (format!("web-{index}"), format!("web-{index}-net"));
            scenario = scenario.network(network(&name).of(&path)).destination(destination(&path).named(&name));
        }
        for index in 0..undeclared {
            let (path, name) = (format!("old-{index}"), format!("old-{index}-net"));
            scenario = scenario.network(network(&name).of(&path));
        }
        scenario.prune()
    };
    let count = |scenario: &Scenario| crate::support::scenario::operations(&scenario.plan());
    assert_eq!(count(&world(1, 1)), 1, "one may go");
    assert_eq!(count(&world(0, 1)), 0, "but not if it is the only one");
    assert_eq!(count(&world(0, 1).allow_mass_delete()), 1);
    assert_eq!(count(&world(8, 2)), 2, "a fifth may go");
    assert_eq!(count(&world(7, 2)), 0, "a little more than a fifth may not");
    assert_eq!(count(&world(0, 2).allow_mass_delete()), 2);
    world(1, 2).expect_nothing_but(
        "
        default/edge-1
          ! refused Server/default/edge-1: Pruning would remove 2 of the 3 destinations of the set \"default\", more than 1: Destination/shop/old-0 (\"old-0-net\"), Destination/shop/old-1 (\"old-1-net\"). (MassDeletionRefused)
              hint: if that is meant: `--allow-mass-delete`; if not, look for manifests that are missing
        ",
    );
}

#[test]
fn what_one_agreed_to_lets_exactly_that_list_through() {
    let world = |old: &[&str]| {
        let mut scenario = Scenario::without_proxy();
        for path in old {
            scenario = scenario.network(network(&format!("{path}-net")).of(path));
        }
        scenario.prune()
    };
    let count = |scenario: &Scenario| crate::support::scenario::operations(&scenario.plan());
    let two = world(&["a", "b"]);
    let withheld = two.plan().servers[0].withheld.clone().expect("withheld");
    let destinations: Vec<_> = withheld.deletions.iter().map(|it| it.destination.to_string()).collect();
    assert_eq!(destinations, ["Destination/shop/a", "Destination/shop/b"]);
    let agreed = two.approve(&withheld.fingerprint);
    assert_eq!(count(&agreed), 2);
    assert_eq!(agreed.plan().servers[0].withheld, None);
    // It is used up with the last of them.
    let mut there = world(&["a", "b", "c"]);
    let mut left = |gone: &str| {
        there.state().networks.retain(|it| it.name != gone);
        withheld.is_left_on(there.state())
    };
    assert_eq!(["", "a-net", "b-net"].map(&mut left), [true, true, false]);

    let more = world(&["a", "b", "c"]).approve(&withheld.fingerprint);
    assert_eq!(count(&more), 0, "nobody agreed to c");
    assert_ne!(more.plan().servers[0].withheld.clone().expect("withheld").fingerprint, withheld.fingerprint);
    assert_eq!(count(&world(&["b", "c"]).approve(&withheld.fingerprint)), 0);
    assert_eq!(count(&world(&["a", "b"]).set("other").approve(&withheld.fingerprint)), 0);
}

#[test]
fn a_pruned_network_makes_room_for_one_of_the_same_range() {
    Scenario::without_proxy()
        .network(network("a-old").of("a-old"))
        .network(network("old-net").of("old").subnet("10.42.0.0/24"))
        .destination(destination("new").named("new-net").subnet("10.42.0.0/25"))
        .prune()
        .allow_mass_delete()
        .expect(
            "
            default/edge-1
              - remove network old-net for Destination/shop/old (Undeclared)
              + create network new-net (10.42.0.0/25) for Destination/shop/new (NetworkMissing)
              - remove network a-old for Destination/shop/a-old (Undeclared)
            ",
        );
}

#[test]
fn pain_22_23_a_network_held_by_a_ghost_is_planned_for_like_any_other() {
    // The daemon will refuse; nobody is visible, so there is nobody to name.
    Scenario::new().network(network("old-net").of("old")).prune().allow_mass_delete().expect(
        "
        default/edge-1
          - remove network old-net for Destination/shop/old (Undeclared)
        ",
    );
}

#[test]
fn an_adopted_destination_is_not_forgotten_while_a_resource_names_it() {
    let mut scenario = Scenario::without_proxy()
        .network(network("web-net"))
        .container(container("app").on("web-net"))
        .destination(destination("web").named("web-net").adopt().member(application("app")))
        .delete(Kind::Destination, "web");
    let plan = scenario.apply();
    assert_eq!(plan.servers[0].groups, []);
    let note = &plan.servers[0].notes[0];
    assert_eq!((note.kind, note.reason), (NoteKind::Refused, Reason::ResourcesRemain));
    let blockers: Vec<_> = note.blockers.iter().map(|it| (it.name.as_str(), it.state.as_str())).collect();
    assert_eq!(blockers, [("app", "declared")]);
}
