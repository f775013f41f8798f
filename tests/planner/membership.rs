//! Containers that no resource declares.

use crate::support::scenario::{ContainerBuilder, Scenario, application, container, destination, network, service};

#[test]
fn on_a_shared_destination_undeclared_containers_are_reported_and_left() {
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("cron").on("web-net"))
        .destination(destination("web").named("web-net"))
        .prune()
        .expect_nothing_but(
            "
            default/edge-1
              . unmanaged Destination/shop/web: No resource declares the container \"cron\", which is on \"web-net\". (MembershipForeign)
                  hint: declare it, or set `membership: Exclusive` to have it disconnected
            ",
        );
}

#[test]
fn pain_35_on_an_exclusive_destination_they_are_disconnected_and_the_proxy_stays() {
    Scenario::new()
        .network(network("web-net").of("web"))
        .container(container("traefik").on("web-net"))
        .container(container("app").on("web-net"))
        .container(container("cron").on("web-net"))
        .container(container("old").on("web-net").exited())
        .destination(destination("web").named("web-net").exclusive().member(application("app")))
        .expect(
            "
            default/edge-1
              - disconnect cron from web-net for Destination/shop/web (MembershipExclusive), disruptive
              - disconnect old from web-net for Destination/shop/web (MembershipExclusive)
            ",
        );
}

#[test]
fn what_landfall_connected_for_a_resource_that_is_gone_is_disconnected_by_prune() {
    let scenario = Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("app").on("web-net").marked())
        .destination(destination("web").named("web-net"))
        .expect_nothing_but(
            "
            default/edge-1
              . unmanaged Destination/shop/web: Landfall connected \"app\" to \"web-net\" for a resource that is no longer declared there. (Undeclared)
                  hint: `--prune` disconnects it
            ",
        );
    scenario.prune().expect(
        "
        default/edge-1
          - disconnect app from web-net for Destination/shop/web (MemberUndeclared), disruptive
        ",
    );
}

#[test]
fn a_stack_that_keeps_to_its_own_network_is_no_stranger_on_the_destination() {
    let scenario = Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(container("wiki").on("web-net"))
        .destination(destination("web").named("web-net").exclusive().member(service("wiki").apart()))
        .expect("");
    // Connected by Landfall when it was still to be: now it is not.
    scenario.container(container("wiki").on("web-net").marked()).expect(
        "
        default/edge-1
          - disconnect wiki from web-net for Destination/shop/web (MembershipExclusive), disruptive
        ",
    );
}

#[test]
fn pain_30_a_container_on_an_unmanaged_network_is_nobodys_business() {
    Scenario::without_proxy()
        .network(network("other-net"))
        .network(network("web-net").of("web"))
        .container(container("app").on("other-net").on("web-net"))
        .container(container("stranger").on("other-net"))
        .destination(destination("web").named("web-net").exclusive().member(application("app")))
        .prune()
        .expect("");
}

/// As Compose labels the containers of its project `wiki`, those of `docker compose run` included.
fn of_wiki(name: &str, one_off: &str) -> ContainerBuilder {
    container(name)
        .label("com.docker.compose.project", "wiki")
        .label("com.docker.compose.service", "app")
        .label("com.docker.compose.oneoff", one_off)
}

#[test]
fn what_docker_compose_run_starts_is_no_member_and_is_left_where_compose_puts_it() {
    let wiki = || application("wiki").labelled("com.docker.compose.project", "wiki").alias("wiki");
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(of_wiki("wiki-app-1", "False"))
        .container(of_wiki("wiki-app-run-1", "True"))
        .container(of_wiki("wiki-app-run-2", "True").on("web-net"))
        .destination(destination("web").named("web-net").exclusive().member(wiki()))
        .expect(
            "
            default/edge-1
              + connect wiki-app-1 to web-net as wiki for Application/shop/wiki (MemberDetached)
            ",
        );
    // An earlier version of Landfall took it for a member and had it answer for the service.
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(of_wiki("wiki-app-1", "False").on("web-net").alias("wiki").marked())
        .container(of_wiki("wiki-app-run-1", "True").on("web-net").alias("wiki").marked())
        .destination(destination("web").named("web-net").member(wiki()))
        .prune()
        .expect(
            "
            default/edge-1
              - disconnect wiki-app-run-1 from web-net for Destination/shop/web (MemberUndeclared), disruptive
              * warning Destination/shop/web: The alias \"wiki\" belongs to Application/shop/wiki and the container \"wiki-app-run-1\": whoever asks for it gets any of them. (AliasTakenTwice)
                  hint: give each its own alias, or put them on different destinations
            ",
        );
}

#[test]
fn what_docker_compose_run_started_is_a_member_by_its_name() {
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(of_wiki("wiki-app-run-1", "True"))
        .destination(destination("web").named("web-net").member(application("one-off").containers(&["wiki-app-run-1"])))
        .expect(
            "
            default/edge-1
              + connect wiki-app-run-1 to web-net for Application/shop/one-off (MemberDetached)
            ",
        );
}

#[test]
fn an_id_in_the_place_of_a_name_is_told_with_the_name() {
    let scenario = Scenario::without_proxy().network(network("web-net").of("web")).container(container("app"));
    let member = |name: &str| destination("web").named("web-net").member(application("app").containers(&[name]));
    let container = scenario.observed.values().next().unwrap().as_ref().unwrap().containers[0].id.to_string();
    for text in [&container[..12], &container, &container[..12].to_uppercase()] {
        let plan = Scenario::without_proxy()
            .network(network("web-net").of("web"))
            .container(crate::support::scenario::container("app"))
            .destination(member(text))
            .plan()
            .to_string();
        assert!(
            plan.contains("that is the id of the container \"app\", and another one has another: write `names: [app]`"),
            "{plan}"
        );
    }
    let plan = scenario.destination(member("another")).plan().to_string();
    assert!(plan.contains("correct `spec.containers` if it goes by another name"), "{plan}");
}

#[test]
fn a_selector_that_means_the_container_of_another_resource_is_obeyed_and_told() {
    let world = |members: [crate::support::scenario::MemberBuilder; 2]| {
        let [one, other] = members;
        Scenario::without_proxy()
            .network(network("web-net").of("web"))
            .container(container("api").label("tier", "back").on("web-net").marked())
            .destination(destination("web").named("web-net").member(one).member(other))
    };
    let told = "
        default/edge-1
          * warning Application/shop/shop: Application/shop/shop selects the container \"api\", which Application/shop/api names as its own. (OwnershipConflict)
              hint: have one resource declare it, with the aliases and destinations of both; correct `spec.containers` if another container is meant
        ";
    world([application("api"), application("shop").labelled("tier", "back")]).expect_nothing_but(told);
    // Of two that both name it, one is told.
    world([application("api"), application("shop").containers(&["api"])]).expect_nothing_but(told);
    // Labels that several have in common are no claim to a container.
    let common = [application("web").labelled("tier", "back"), application("shop").labelled("tier", "back")];
    assert_eq!(world(common).plan().to_string(), "");
}
