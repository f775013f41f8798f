//! Whose a network is: adoption, sets, names that mean two things, and labels that were copied.

use landfall::core::api::Kind;

use crate::support::scenario::{
    DestinationBuilder, Scenario, application, container, destination, edge, hex_id, network, operations,
};

#[test]
fn a_network_that_landfall_did_not_create_is_left_alone_until_adoption_is_asked_for() {
    let scenario = Scenario::new()
        .network(network("web-net"))
        .container(container("app").on("bridge"))
        .destination(destination("web").named("web-net").member(application("app")))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: A network named \"web-net\" exists already, and Landfall did not create it. (AdoptionRequired)
                  hint: set `adopt: true` on the destination to take it over, or choose another network name
              ? waiting Application/shop/app: Destination/shop/web was refused; its members are left as they are until that is resolved. (AdoptionRequired)
            ",
        );
    scenario.redeclare("web", |it| it.adopt()).expect(
        "
        default/edge-1
          + connect traefik to web-net for Destination/shop/web (ProxyDetached)
          + connect app to web-net for Application/shop/app (MemberDetached)
        ",
    );
}

#[test]
fn an_adopted_network_that_differs_is_refused_and_never_replaced() {
    Scenario::without_proxy()
        .network(network("web-net").mtu("1500"))
        .destination(
            destination("web")
                .named("web-net")
                .adopt()
                .mtu(1450)
                .replacement(landfall::core::api::Replacement::Reattach),
        )
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: spec.network.mtu is 1500 on the server and 1450 in the manifest. The network is adopted, and Landfall removes none that it did not create. (ImmutableField)
                  hint: change the manifest to what the network is, or have it made anew as Landfall's own: `takeOwnership: true`
            ",
        );
}

#[test]
fn a_network_of_another_set_is_an_ownership_conflict() {
    let scenario = Scenario::without_proxy()
        .network(network("web-net").of_set("other", "web"))
        .destination(destination("web").named("web-net").adopt())
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: The network \"web-net\" belongs to the set \"other\", and this is \"default\". (OwnershipConflict)
                  hint: choose another network name, or apply with `--set other`
            ",
        );
    scenario.set("other").expect("");
}

#[test]
fn a_set_never_prunes_what_another_owns() {
    Scenario::without_proxy().network(network("web-net").of_set("other", "web")).prune().expect("");
}

#[test]
fn a_network_of_another_destination_is_an_ownership_conflict_and_is_not_pruned_from_under_it() {
    Scenario::without_proxy()
        .network(network("web-net").of("old"))
        .destination(destination("web").named("web-net"))
        .prune()
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: By its labels, the network \"web-net\" belongs to Destination/shop/old. (OwnershipConflict)
                  hint: choose another network name, and members move there without a gap; deleting that destination first takes them off meanwhile
            ",
        );
}

#[test]
fn copied_labels_count_for_nothing() {
    // Somebody has recreated a network under another name, labels and all.
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .network(network("copy-net").labels_of(network("web-net").of("web")))
        .destination(destination("web").named("web-net"))
        .prune()
        .expect_nothing_but(
            "
            default/edge-1
              . unmanaged Destination/shop/web: The network \"copy-net\" carries the labels of Destination/shop/web, which were not made for it: it is left alone. (OwnershipConflict)
                  hint: remove the network, or create it again without these labels
            ",
        );
}

#[test]
fn edited_labels_count_for_nothing() {
    Scenario::without_proxy()
        .network(network("web-net").of("web").label("landfall.destination", "shop/gone"))
        .prune()
        .expect_nothing_but(
            "
            default/edge-1
              . unmanaged Destination/shop/gone: The network \"web-net\" carries the labels of Destination/shop/gone, which were not made for it: it is left alone. (OwnershipConflict)
                  hint: remove the network, or create it again without these labels
            ",
        );
}

#[test]
fn copied_labels_do_not_make_a_network_that_of_a_destination_without_a_name() {
    Scenario::without_proxy()
        .network(network("copy-net").labels_of(network("generated").of("web")))
        .destination(destination("web"))
        .expect(
            "
            default/edge-1
              + create network generated-web for Destination/shop/web (NetworkMissing)
              . unmanaged Destination/shop/web: The network \"copy-net\" carries the labels of Destination/shop/web, which were not made for it: it is left alone. (OwnershipConflict)
                  hint: remove the network, or create it again without these labels
            ",
        );
}

#[test]
fn pain_15_17_two_networks_of_one_name_are_ambiguous_and_nothing_is_touched() {
    Scenario::new()
        .network(network("web-net").of("web").id(&"a".repeat(64)))
        .network(network("web-net").id(&"b".repeat(64)))
        .container(container("app").on("bridge"))
        .destination(destination("web").named("web-net").member(application("app")))
        .prune()
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: 2 networks are named \"web-net\": aaaaaaaaaaaa (bridge, local), bbbbbbbbbbbb (bridge, local). (NameAmbiguous)
                  hint: remove the one that is not needed by its id: docker network rm ID
              ? waiting Application/shop/app: Destination/shop/web was refused; its members are left as they are until that is resolved. (NameAmbiguous)
            ",
        );
}

#[test]
fn pain_18_a_name_that_begins_another_networks_id_is_ambiguous() {
    let id = hex_id("other");
    Scenario::without_proxy()
        .network(network("other").id(&id))
        .destination(destination("web").named(&id[..12]))
        .expect_nothing_but(&format!(
            "
            default/edge-1
              ! refused Destination/shop/web: The name {:?} is also the beginning of the id of the network \"other\", which the daemon may take it for. (NameAmbiguous)
                  hint: choose another spec.network.name
            ",
            &id[..12]
        ));
}

#[test]
fn a_short_name_is_not_taken_for_the_beginning_of_an_id_it_happens_to_be() {
    Scenario::without_proxy()
        .network(network("other").id(&format!("db{}", "0".repeat(62))))
        .destination(destination("web").named("db"))
        .expect(
            "
            default/edge-1
              + create network db for Destination/shop/web (NetworkMissing)
            ",
        );
}

#[test]
fn a_network_of_the_engine_itself_is_no_destination() {
    Scenario::without_proxy().destination(destination("web").named("bridge").adopt()).expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: \"bridge\" is a network of the Docker Engine itself. (WrongScope)
              hint: choose another spec.network.name
        ",
    );
}

#[test]
fn two_networks_made_for_one_nameless_destination_settle_on_the_older() {
    Scenario::without_proxy()
        .network(network("first").of("web"))
        .network(network("second").label("x", "y").of_set("default", "web").label("landfall.uid", &uid("second")))
        .destination(destination("web"))
        .prune()
        .expect(
            "
            default/edge-1
              - remove network second for Destination/shop/web (Undeclared)
            ",
        );
}

/// Two appliers made one each, and one of them was killed before it could remove its own.
#[test]
fn two_networks_of_one_name_made_for_one_destination_settle_on_the_one_that_is_needed() {
    let twins = Scenario::without_proxy()
        .network(network("web-net").of("web").id(&"a".repeat(64)))
        .network(network("web-net").of("web").label("landfall.uid", &uid("web-net")).id(&"b".repeat(64)))
        .destination(destination("web").named("web-net").member(application("app")));
    let settled = twins.clone().container(container("app").on("bridge")).expect(
        "
        default/edge-1
          - remove network web-net for Destination/shop/web (NetworkDuplicate)
          + connect app to web-net for Application/shop/app (MemberDetached)
        ",
    );
    assert_eq!(
        settled.observed.values().next().unwrap().as_ref().unwrap().networks.len(),
        2,
        "one and the default bridge"
    );
    // Which of them a container knows that was never started, nobody can say.
    twins.container(container("app").on("web-net").created()).expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: 2 networks are named \"web-net\": aaaaaaaaaaaa (bridge, local), bbbbbbbbbbbb (bridge, local). (NameAmbiguous)
              hint: remove the one that is not needed by its id: docker network rm ID
          ? waiting Application/shop/app: Destination/shop/web was refused; its members are left as they are until that is resolved. (NameAmbiguous)
        ",
    );
}

fn uid(network: &str) -> String {
    let destination = crate::support::scenario::key(Kind::Destination, "web");
    landfall::core::plan::ownership::seal("another", "default", &destination, network)
}

#[test]
fn pain_16_a_network_recreated_by_hand_under_the_same_name_is_not_taken_for_the_former() {
    Scenario::new()
        .network(network("web-net"))
        .container(container("app").pinned("web-net").exited())
        .destination(destination("web").named("web-net").member(application("app")))
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: A network named \"web-net\" exists already, and Landfall did not create it. (AdoptionRequired)
                  hint: set `adopt: true` on the destination to take it over, or choose another network name
              ? waiting Application/shop/app: Destination/shop/web was refused; its members are left as they are until that is resolved. (AdoptionRequired)
            ",
        );
}

#[test]
fn the_check_digits_fit_one_set_destination_and_name_only() {
    use landfall::core::plan::ownership::{of, seal};

    let web = crate::support::scenario::key(Kind::Destination, "web");
    let api = crate::support::scenario::key(Kind::Destination, "api");
    let uid = seal("ck0", "default", &web, "web-net");
    assert_eq!(uid, "ck0-11d4bc9d");
    assert_ne!(uid, seal("ck0", "other", &web, "web-net"));
    assert_ne!(uid, seal("ck0", "default", &api, "web-net"));
    assert_ne!(uid, seal("ck0", "default", &web, "net"));
    let scenario = Scenario::without_proxy().network(network("web-net").of("web")).clone();
    let state = scenario.observed.values().next().unwrap().as_ref().unwrap();
    assert!(of(&state.networks[1]).unwrap().sealed);
    assert!(of(&state.networks[0]).is_none());
}

#[test]
fn a_network_and_an_endpoint_say_which_manifests_they_were_made_from() {
    let mut world =
        Scenario::new().source("git.example.com/acme/infra//prod").destination(destination("web").named("web-net"));
    world.apply();
    let source = "git.example.com/acme/infra//prod";
    assert_eq!(world.state().networks[1].labels["landfall.source"], source);
    let endpoint = &world.state().containers[0].endpoints[1];
    assert_eq!(endpoint.settings.as_ref().unwrap().driver_opts["landfall.source"], source);
    // Nothing but pruning looks at it: from elsewhere nothing differs.
    world.source("git.example.com/acme/other").settled();
}

#[test]
fn pruning_leaves_what_other_manifests_of_the_same_set_have_made() {
    let theirs = network("old-net").of("old").label("landfall.source", "git.example.com/acme/shop");
    let world = Scenario::new()
        .source("git.example.com/acme/infra")
        .network(network("web-net").of("web"))
        .network(theirs)
        .destination(destination("web").named("web-net").without_proxy())
        .prune();
    let left = "
        default/edge-1
          . unmanaged Destination/shop/old: The network \"old-net\" of Destination/shop/old was made from git.example.com/acme/shop, and is left alone. (OwnershipConflict)
              hint: if these are the manifests that it was made from: `--source git.example.com/acme/shop`
        ";
    world.clone().expect_nothing_but(left);
    let mut looking = world.clone();
    looking.request.prune = false;
    looking.expect_nothing_but(left);
    world.clone().source("git.example.com/acme/shop").expect(
        "
        default/edge-1
          - remove network old-net for Destination/shop/old (Undeclared)
        ",
    );
    // Asked for by name, it goes whoever made it.
    world.clone().delete(Kind::Destination, "old").expect(
        "
        default/edge-1
          - remove network old-net for Destination/shop/old (DeletionRequested)
        ",
    );
    // One from before there was such a label is the set's own.
    let before = world.network(network("older-net").of("older"));
    assert_eq!(operations(&before.plan()), 1, "{}", before.plan());
}

#[test]
fn an_endpoint_that_other_manifests_have_made_is_left_unless_its_resource_is_declared_here() {
    let world = |source: &str, web: DestinationBuilder| {
        Scenario::without_proxy()
            .source("ours")
            .network(network("web-net").of("web").label("landfall.source", "theirs"))
            .network(network("next-net").of("next"))
            .container(container("app").on("web-net").made_for("Application/shop/app").settings(|it| {
                it.driver_opts.insert("landfall.source".to_owned(), source.to_owned());
            }))
            .destination(web)
            .destination(destination("next").named("next-net"))
            .prune()
    };
    let web = || destination("web").named("web-net");
    world("theirs", web()).expect_nothing_but(
        "
        default/edge-1
          . unmanaged Destination/shop/web: \"app\" was put on \"web-net\" from theirs, and is left alone. (OwnershipConflict)
              hint: if these are the manifests that it was made from: `--source theirs`
        ",
    );
    assert_eq!(operations(&world("ours", web()).plan()), 1);
    let moved = world("theirs", web()).redeclare("next", |next| next.member(application("app")));
    assert_eq!(operations(&moved.plan()), 2, "{}", moved.plan());
}

/// One daemon, declared as two servers: what one of them makes, the other must not prune.
#[test]
fn a_network_of_the_same_engine_under_another_name_is_not_pruned() {
    let scenario = |engine: &str| {
        let mut other = Scenario::without_proxy().network(network("web-net").of("web"));
        let declaring = Scenario::without_proxy()
            .network(network("web-net").of("web"))
            .destination(destination("web").named("web-net"));
        other = other.and("twin", declaring).prune();
        for state in other.observed.values_mut().flatten() {
            engine.clone_into(&mut state.engine.id);
        }
        other
    };
    scenario("ONE").expect_nothing_but(
        "
        default/edge-1
          * warning Destination/shop/web: Server/default/edge-1 and Server/default/twin are the same Docker Engine: the network \"web-net\" is left to Server/default/twin. (OwnershipConflict)
              hint: declare it as one server
        ",
    );
    // It has moved to another machine.
    let mut moved = scenario("ONE");
    moved.state().engine.id = "ANOTHER".to_owned();
    moved.clone().allow_mass_delete().expect(
        "
        default/edge-1
          - remove network web-net for Destination/shop/web (Undeclared)
        ",
    );
    // Which of the two it is, nobody knows.
    moved.observed.retain(|server, _| *server == edge());
    moved.only("edge-1").expect_nothing_but(
        "
        default/edge-1
          ? waiting Destination/shop/web: The network \"web-net\" was made for Destination/shop/web, which is on Server/default/twin now, and Server/default/twin did not answer: it stays until that does. (ServerUnreachable)
              hint: it may be the same Docker Engine under another name
        ",
    );
}
