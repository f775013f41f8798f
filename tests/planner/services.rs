//! Swarm services as the proxy and as members: on networks by their definitions.

use landfall::core::api::Kind;
use landfall::core::observed::{ContainerState, Rollout, TaskCount};
use landfall::core::plan::Group;
use landfall::core::plan::cut::cut;
use landfall::core::report::Report;
use landfall::core::status::Status;

use crate::support::scenario::{ContainerBuilder, Scenario, application, container, destination, network};

fn manager() -> Scenario {
    Scenario::without_proxy().swarm_manager()
}

fn task(name: &str, service: &str) -> ContainerBuilder {
    container(name).label("com.docker.swarm.service.name", service).label("com.docker.swarm.task.id", "t")
}

#[test]
fn a_service_is_put_on_the_network_by_an_update_which_is_disruptive_and_comes_last() {
    let scenario = manager()
        .proxy_service("edge")
        .container(container("db"))
        .service("edge", &[], 2)
        .service("api", &[], 1)
        .service("idle", &[], 0)
        .destination(destination("a").named("a-net"))
        .destination(
            destination("web")
                .named("web-net")
                .member(application("api").swarm_service("api").alias("backend"))
                .member(application("db"))
                .member(application("idle").swarm_service("idle")),
        );
    let document = landfall::core::report::Report::planned(scenario.plan()).document();
    let update = document.operations.iter().find(|it| it.op == "UpdateService").unwrap();
    assert_eq!(
        (update.network.as_deref(), update.container.as_deref(), update.service.as_deref(), update.disruptive),
        (None, None, Some("edge"), true)
    );
    let changes: Vec<_> =
        update.changes.iter().map(|it| (it.object.as_str(), it.network.as_str(), it.attached)).collect();
    assert_eq!(changes, [("Destination/shop/a", "a-net", true), ("Destination/shop/web", "web-net", true)]);
    scenario.expect(
        "
        default/edge-1
          + create network a-net (overlay) for Destination/shop/a (NetworkMissing)
          + create network web-net (overlay) for Destination/shop/web (NetworkMissing)
          + connect db to web-net for Application/shop/db (MemberDetached)
          + update service edge: add network a-net; add network web-net for Destination/shop/a, Destination/shop/web (ProxyDetached), disruptive
          + update service api: add network web-net as backend for Application/shop/api (MemberDetached), disruptive
          + update service idle: add network web-net for Application/shop/idle (MemberDetached)
        ",
    );
}

/// Each update has all tasks replaced, and one in the middle of a rollout has it begin anew.
#[test]
fn a_pass_updates_a_service_once_whatever_it_changes() {
    let api = |alias: &str| application("api").swarm_service("api").alias(alias);
    let scenario = manager()
        .proxy_service("edge")
        .network(network("a-net").of("a").overlay())
        .network(network("old-net").of("old").overlay())
        .network(network("web-net").of("web").overlay())
        .service("edge", &["a-net", "old-net"], 4)
        .put_there("a-net", &[])
        .put_there("old-net", &[])
        .service("api", &["a-net"], 1)
        .put_there("a-net", &[])
        .destination(destination("a").named("a-net").member(api("www")))
        .destination(destination("b").named("b-net").member(api("backend")))
        .destination(destination("old").named("old-net").with(|it| it.proxy = false))
        .destination(destination("web").named("web-net"));
    scenario.expect(
        "
        default/edge-1
          + create network b-net (overlay) for Destination/shop/b (NetworkMissing)
          + update service api: add network a-net as www; add network b-net as backend for Application/shop/api (EndpointDiffers), \
            Application/shop/api (MemberDetached), disruptive
          + update service edge: add network b-net; remove network old-net; add network web-net for Destination/shop/b, \
            Destination/shop/web (ProxyDetached), Destination/shop/old (ProxyUnwanted), disruptive
        ",
    );
}

/// An update aborts a rollout, has a rollback go to a definition that never ran, and resumes what is paused.
#[test]
fn nothing_of_a_service_changes_while_a_rollout_of_it_is_under_way() {
    let scenario = |rollout: Option<Rollout>| {
        let mut scenario = manager()
            .network(network("a-net").of("a").overlay())
            .network(network("old-net").of("old").overlay())
            .container(container("db"))
            .service("idle", &[], 1)
            .service("api", &["old-net"], 3)
            .put_there_for("old-net", "Application/shop/api")
            .destination(
                destination("a")
                    .named("a-net")
                    .member(application("api").swarm_service("api"))
                    .member(application("db"))
                    .member(application("idle").swarm_service("idle")),
            )
            .destination(destination("old").named("old-net").exclusive());
        let api = scenario.state().services.last_mut().unwrap();
        (api.rollout, api.has_previous) = (rollout, true);
        scenario
    };
    let said = |rollout, what: &str, hint: &str| {
        scenario(Some(rollout)).prune().expect(&format!(
            "
            default/edge-1
              + connect db to a-net for Application/shop/db (MemberDetached)
              + update service idle: add network a-net for Application/shop/idle (MemberDetached), disruptive
              ? waiting Application/shop/api: {what}: nothing about the service is changed until that is over. (RolloutInProgress)
                  hint: {hint}
            "
        ));
    };
    said(
        Rollout::Updating,
        "A rollout of the Swarm service \"api\" is under way",
        "it is done as soon as the rollout is over; how far that is: docker service ps api",
    );
    said(
        Rollout::Paused,
        "The rollout of the Swarm service \"api\" is paused, and any update would resume it",
        "docker service rollback api, or have it go on: docker service update api",
    );
    said(
        Rollout::RollbackStarted,
        "The Swarm service \"api\" is being rolled back",
        "it is done as soon as the rollback is over; how far that is: docker service ps api",
    );
    said(
        Rollout::RollbackPaused,
        "The rollback of the Swarm service \"api\" is paused, and any update would resume it",
        "see what keeps its tasks from running: docker service ps --no-trunc api; then update the service",
    );
    scenario(None).prune().expect(
        "
        default/edge-1
          + connect db to a-net for Application/shop/db (MemberDetached)
          + update service api: add network a-net; remove network old-net for Application/shop/api (MemberDetached), \
            Application/shop/api (MemberMoved), disruptive
          + update service idle: add network a-net for Application/shop/idle (MemberDetached), disruptive
          * warning Application/shop/api: After the update of the Swarm service \"api\", `docker service rollback api` undoes that update only, \
            and no earlier deployment. (RollbackChanges)
        ",
    );
}

#[test]
fn what_a_rollout_of_others_has_undone_is_named_with_that_rollout() {
    let mut scenario = manager()
        .network(network("web-net").of("web").overlay())
        .service("shop_api", &[], 3)
        .destination(destination("web").named("web-net").member(application("api").swarm_service("shop_api")));
    let api = scenario.state().services.last_mut().unwrap();
    (api.rollout, api.rollout_started) = (Some(Rollout::Updating), Some("2026-01-01T00:00:00Z".to_owned()));
    let plan = scenario.plan();
    let notes =
        plan.servers[0].notes.iter().filter(|note| note.reason == landfall::core::plan::Reason::RolloutInProgress);
    let undone: Vec<_> = notes.flat_map(|note| &note.undone).collect();
    let [undone] = undone.as_slice() else { panic!("{plan}") };
    assert_eq!((undone.service.name.as_str(), undone.network.name.as_str()), ("shop_api", "web-net"));
    assert_eq!(undone.rollout, "2026-01-01T00:00:00Z");
}

#[test]
fn a_deletion_that_would_change_a_service_in_the_middle_of_a_rollout_is_refused() {
    let mut scenario = manager()
        .proxy_service("edge")
        .network(network("web-net").of("web").overlay())
        .service("edge", &["web-net"], 1)
        .put_there("web-net", &[])
        .destination(destination("web").named("web-net"));
    scenario.state().services[0].rollout = Some(Rollout::Updating);
    scenario.delete(Kind::Destination, "web").expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: A rollout of the Swarm service \"edge\" is under way: nothing about the service is changed until that is \
            over. (RolloutInProgress)
              hint: it is done as soon as the rollout is over; how far that is: docker service ps edge
        ",
    );
}

/// Each node has a plan of its own, and the Swarm has one definition of the service.
#[test]
fn a_service_is_updated_for_one_node_a_pass() {
    let scenario = Scenario::without_proxy()
        .swarm_manager_of(2)
        .network(network("web-net").of("web").overlay())
        .network(network("far-net").of("far").overlay())
        .service("api", &[], 2)
        .destination(destination("web").named("web-net").member(application("api").swarm_service("api")))
        .and(
            "w1",
            Scenario::without_proxy()
                .swarm_worker("node2")
                .destination(destination("far").named("far-net").member(application("api").swarm_service("api"))),
        );
    assert_eq!(
        scenario.plan().to_string(),
        "default/edge-1\n  \
         + update service api: add network web-net for Application/shop/api (MemberDetached), disruptive\n\
         default/w1\n  \
         ? waiting Application/shop/api: The Swarm service \"api\" is updated for default/edge-1 first: once a pass. (RolloutInProgress)\n      \
         hint: apply again when that rollout is over; `landfall run` does so by itself\n"
    );
}

/// What is on hold, or belongs to another team, does not hold up what is changed in the same update.
#[test]
fn a_part_of_a_services_update_can_be_left_out() {
    let scenario = manager()
        .proxy_service("edge")
        .network(network("a-net").of("a").overlay())
        .service("edge", &["a-net"], 1)
        .destination(destination("a").named("a-net").member(application("edge").swarm_service("edge").alias("www")))
        .destination(destination("b").named("b-net"))
        .destination(destination("c").named("c-net"));
    let mut plan = scenario.plan();
    let held = |group: &Group| group.object.name == "b";
    let out = cut(&mut plan.servers[0], held);
    assert_eq!(out.asked.len(), 2, "{out:?}");
    assert_eq!(
        plan.to_string(),
        "default/edge-1\n  + create network c-net (overlay) for Destination/shop/c (NetworkMissing)\n  \
         + update service edge: add network a-net as www; add network c-net for Destination/shop/a (EndpointDiffers), \
         Destination/shop/c (ProxyDetached), disruptive\n"
    );
}

/// Nobody is let go before somebody else serves, in one update as in two.
#[test]
fn a_service_that_moves_is_on_both_networks_changed_at_once() {
    manager()
        .network(network("a-net").of("a").overlay())
        .network(network("b-net").of("b").overlay())
        .service("api", &["a-net"], 1)
        .put_there_for("a-net", "Application/shop/api")
        .destination(destination("a").named("a-net"))
        .destination(destination("b").named("b-net").member(application("api").swarm_service("api")))
        .prune()
        .expect(
            "
            default/edge-1
              + update service api: add network b-net; remove network a-net for Application/shop/api (MemberDetached), \
            Application/shop/api (MemberMoved), disruptive
            ",
        );
}

#[test]
fn a_service_that_is_as_declared_is_left_alone_whoever_put_it_there() {
    manager()
        .proxy_service("edge")
        .network(network("web-net").of("web").overlay())
        // Tasks that have ended are kept for a while, on the networks of their time.
        .container(task("api.1.old", "api").state(ContainerState::Exited))
        .container(task("api.1.new", "api").on("web-net"))
        .service("edge", &["web-net"], 1)
        .service("api", &["web-net"], 1)
        .put_there("web-net", &["backend", "other"])
        .destination(
            destination("web").named("web-net").member(application("api").swarm_service("api").alias("backend")),
        )
        .expect("");
}

#[test]
fn an_alias_that_a_service_lacks_is_added_to_those_it_has() {
    manager()
        .network(network("web-net").of("web").overlay())
        .service("api", &["web-net"], 1)
        .put_there("web-net", &["old"])
        .destination(
            destination("web").named("web-net").member(application("api").swarm_service("api").alias("backend")),
        )
        .expect(
            "
            default/edge-1
              + update service api: add network web-net as old, backend for Application/shop/api (EndpointDiffers), disruptive
            ",
        );
}

#[test]
fn an_alias_that_is_no_longer_declared_is_taken_off_a_service_as_off_a_container() {
    let scenario = |aliases: &'static [&'static str]| {
        let member = aliases.iter().fold(application("api").swarm_service("api"), |it, alias| it.alias(alias));
        let mut scenario = manager()
            .network(network("web-net").of("web").overlay())
            .service("api", &["web-net"], 1)
            .put_there("web-net", &["by-hand", "old", "backend"])
            .destination(destination("web").named("web-net").member(member));
        let options = &mut scenario.state().services[0].networks[0].attachment.driver_opts;
        options.insert("landfall.aliases".to_owned(), "old,backend".to_owned());
        scenario
    };
    scenario(&["old", "backend"]).expect("");
    scenario(&["backend"]).expect(
        "
        default/edge-1
          + update service api: add network web-net as by-hand, backend for Application/shop/api (EndpointDiffers), disruptive
        ",
    );
    scenario(&[]).expect(
        "
        default/edge-1
          + update service api: add network web-net as by-hand for Application/shop/api (EndpointDiffers), disruptive
        ",
    );
    // Declared by a destination on another node that shares the network.
    let shared = |alias| {
        scenario(&["backend"]).and(
            "w1",
            Scenario::without_proxy().swarm_worker("node2").destination(
                destination("web-w1")
                    .named("web-net")
                    .adopt()
                    .member(application("api").swarm_service("api").alias(alias)),
            ),
        )
    };
    shared("old").expect("");
}

#[test]
fn an_alias_that_is_the_name_of_another_service_is_taken_twice() {
    let scenario = |alias| {
        manager()
            .network(network("web-net").of("web").overlay())
            .service("db", &["web-net"], 1)
            .service("api", &["web-net"], 1)
            .put_there("web-net", &["api", "backend", alias])
            .destination(
                destination("web")
                    .named("web-net")
                    .member(application("api").swarm_service("api").alias("api").alias("backend").alias(alias))
                    .member(application("db").swarm_service("db")),
            )
    };
    scenario("www").expect("");
    scenario("db").expect_nothing_but(
        "
        default/edge-1
          * warning Destination/shop/web: The alias \"db\" belongs to Application/shop/api and the Swarm service \"db\": whoever asks for it gets any of them. (AliasTakenTwice)
              hint: give each its own alias, or put them on different destinations
        ",
    );
}

/// Each `docker stack deploy` writes the definition anew.
#[test]
fn a_service_of_a_stack_is_told_of_with_the_lines_for_its_stack_file() {
    let scenario = |networks: &[&str], marked: bool| {
        let mut scenario =
            manager().network(network("web-net").of("web").overlay()).service("shop_api", networks, 1).destination(
                destination("web")
                    .named("web-net")
                    .member(application("api").swarm_service("shop_api").alias("backend")),
            );
        if !networks.is_empty() {
            scenario = scenario.put_there("web-net", &["backend"]);
        }
        let service = &mut scenario.state().services[0];
        service.labels.insert("com.docker.stack.namespace".to_owned(), "shop".to_owned());
        if !marked {
            service.networks.iter_mut().for_each(|it| it.attachment.driver_opts.clear());
        }
        scenario
    };
    let told = "
          * warning Application/shop/api: The Swarm service \"shop_api\" is of the stack \"shop\": each `docker stack deploy` takes it off \"web-net\", and its tasks restart twice, unless the stack file names the network. (StackFileLacks)
              hint: in the stack file: `networks: { web-net: { external: true } }`, and in its service api: `networks: { default: {}, web-net: { aliases: [backend] } }`
        ";
    let update = "
          + update service shop_api: add network web-net as backend for Application/shop/api (MemberDetached), disruptive";
    let head = "
        default/edge-1";
    scenario(&[], false).expect(&format!("{head}{update}{told}"));
    scenario(&["web-net"], true).expect_nothing_but(&format!("{head}{told}"));
    // The stack file names it: what it writes carries no mark.
    scenario(&["web-net"], false).expect("");
}

/// By its definition alone a service serves nobody.
#[test]
fn a_service_whose_tasks_do_not_run_is_not_connected() {
    let scenario = |running, failure: Option<&str>| {
        let mut scenario = manager()
            .network(network("web-net").of("web").overlay())
            .service("api", &["web-net"], 6)
            .put_there("web-net", &[])
            .destination(destination("web").named("web-net").member(application("api").swarm_service("api")));
        let service = &mut scenario.state().services[0];
        service.tasks = Some(TaskCount { desired: 6, running });
        service.failure = failure.map(str::to_owned);
        scenario
    };
    scenario(6, None).expect("");
    let broken = scenario(0, Some("rejected: could not find an available IP while allocating VIP."));
    broken.clone().expect_nothing_but(
        "
        default/edge-1
          ? waiting Application/shop/api: 0 of 6 tasks of the Swarm service \"api\" run; the latest failure: rejected: could not find an available IP while allocating VIP. (TasksNotRunning)
              hint: docker service ps --no-trunc api
        ",
    );
    let status = |scenario: &Scenario| {
        let report = Report::planned(scenario.plan());
        let status = Status::new(&scenario.desired, &scenario.observed, &report);
        let of = |object: &str, condition: &str| {
            let condition = status.condition(&object.parse().unwrap(), condition).unwrap();
            format!("{:?} {}", condition.status, condition.reason)
        };
        [
            of("Destination/shop/web", "MembersConnected"),
            of("Destination/shop/web", "Ready"),
            of("Application/shop/api", "Ready"),
        ]
    };
    assert_eq!(status(&scenario(6, None)), ["True AllConnected", "True AsDeclared", "True Connected"]);
    assert_eq!(status(&broken), ["False TasksNotRunning", "False TasksNotRunning", "False TasksNotRunning"]);
}

#[test]
fn a_service_is_put_on_no_network_that_has_not_enough_addresses_for_it() {
    let scenario = |subnet: &str, replicas| {
        manager()
            .network(network("web-net").of("web").overlay().subnet(subnet))
            .container(container("app").on("web-net").marked())
            .service("db", &["web-net"], 1)
            .service("api", &[], replicas)
            .destination(
                destination("web")
                    .named("web-net")
                    .subnet(subnet)
                    .member(application("app"))
                    .member(application("db").swarm_service("db"))
                    .member(application("api").swarm_service("api")),
            )
    };
    scenario("10.42.0.0/29", 6).expect_nothing_but(
        "
        default/edge-1
          ! refused Application/shop/api: The Swarm service \"api\" takes 8 addresses (7 for its tasks while they are replaced, and a virtual one), and the network \"web-net\" has 1 left: of its 5, 3 are taken and 1 kept for the load balancers of the nodes. (AddressPoolExhausted)
              hint: declare a larger subnet in `spec.network.subnets`, or fewer replicas
        ",
    );
    // 13 addresses: one for the node, three are taken, and 9 are left for 8 tasks at most and a virtual address.
    assert!(scenario("10.42.0.0/28", 8).plan().to_string().contains("refused"));
    scenario("10.42.0.0/28", 7).expect(
        "
        default/edge-1
          + update service api: add network web-net for Application/shop/api (MemberDetached), disruptive
        ",
    );
}

#[test]
fn a_service_that_does_not_exist_is_waited_for() {
    manager()
        .proxy_service("edge")
        .network(network("web-net").of("web").overlay())
        .destination(destination("web").named("web-net").member(application("api").swarm_service("api")))
        .expect_nothing_but(
            "
            default/edge-1
              ? waiting Server/default/edge-1: The proxy, a Swarm service named \"edge\", does not exist. (ContainerMissing)
                  hint: it is connected as soon as it is there; correct `spec.proxy.service` if it goes by another name
              ? waiting Application/shop/api: There is no Swarm service named \"api\". (ContainerMissing)
                  hint: it is put on the network as soon as it is there; correct `spec.containers` if it goes by another name
            ",
        );
}

#[test]
fn tasks_have_no_static_address() {
    manager()
        .network(network("web-net").of("web").overlay().subnet("10.42.0.0/24"))
        .service("api", &[], 1)
        .destination(
            destination("web")
                .named("web-net")
                .subnet("10.42.0.0/24")
                .member(application("api").swarm_service("api").address("10.42.0.10")),
        )
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Application/shop/api: A static address is declared for the Swarm service \"api\", whose tasks get theirs from the Swarm. (AddressUnavailable)
                  hint: remove `endpoint.ipv4Address` and `endpoint.ipv6Address`; a service is found by its name and aliases
            ",
        );
}

#[test]
fn a_proxy_goes_where_it_is_not_wanted_and_stays_where_somebody_else_put_it() {
    let on = |marked: bool| {
        let scenario = manager()
            .proxy_service("edge")
            .network(network("web-net").of("web").overlay())
            .container(task("edge.1.x", "edge").on("web-net"))
            .service("edge", &["web-net"], 1);
        if marked { scenario.put_there("web-net", &[]) } else { scenario }
    };
    let web = || destination("web").named("web-net");
    on(true).destination(web().with(|it| it.proxy = false)).expect(
        "
        default/edge-1
          - update service edge: remove network web-net for Destination/shop/web (ProxyUnwanted), disruptive
        ",
    );
    on(false).destination(web().with(|it| it.proxy = false)).expect_nothing_but(
        "
        default/edge-1
          . unmanaged Destination/shop/web: The proxy, the Swarm service \"edge\", is on \"web-net\", which asks for none; Landfall did not put it there. (MembershipForeign)
              hint: docker service update --network-rm web-net edge
        ",
    );
    on(false).destination(web().with(|it| it.active = false)).expect(
        "
        default/edge-1
          - update service edge: remove network web-net for Destination/shop/web (ProxyUnwanted), disruptive
        ",
    );
}

#[test]
fn deactivation_takes_the_tasks_and_activation_gives_them_back() {
    let web = |active| {
        destination("web")
            .named("web-net")
            .with(|it| it.active = active)
            .member(application("api").swarm_service("api"))
            .member(application("idle").swarm_service("idle"))
    };
    let stopped = manager()
        .network(network("web-net").of("web").overlay())
        .service("api", &["web-net"], 3)
        .service("idle", &["web-net"], 0)
        .destination(web(false))
        .expect(
            "
            default/edge-1
              - scale service api to 0 replicas for Application/shop/api (Deactivated), disruptive
            ",
        );
    stopped.clone().redeclare("web", |_| web(false)).expect("");
    let active = stopped.redeclare("web", |_| web(true));
    active.clone().expect(
        "
        default/edge-1
          + scale service api to 3 replicas for Application/shop/api (Activated)
        ",
    );
    // Somebody was faster.
    let mut scaled = active;
    scaled.state().services[0].replicas = Some(1);
    scaled.expect("");
}

#[test]
fn what_cannot_be_scaled_or_serves_elsewhere_runs_on() {
    let web =
        |name: &str| destination(name).named(&format!("{name}-net")).member(application("api").swarm_service("api"));
    let mut scenario = manager()
        .network(network("a-net").of("a").overlay())
        .network(network("b-net").of("b").overlay())
        .service("api", &["a-net", "b-net"], 1)
        .service("agent", &["a-net"], 1)
        .destination(web("a").with(|it| it.active = false).member(application("agent").swarm_service("agent")))
        .destination(web("b"));
    scenario.state().services[1].replicas = None;
    scenario.expect_nothing_but(
        "
        default/edge-1
          * warning Application/shop/agent: Destination/shop/a is deactivated, and the Swarm service \"agent\" is global: it is left running. (ResourcesRemain)
              hint: docker service rm agent
          * warning Application/shop/api: The Swarm service \"api\" also belongs to Destination/shop/b, which is active, and is left running. (ResourcesRemain)
              hint: docker service scale api=0, or deactivate Destination/shop/b as well
        ",
    );
}

#[test]
fn what_nobody_declares_any_more_is_taken_off_by_prune_if_landfall_put_it_there() {
    let scenario = || {
        manager()
            .network(network("web-net").of("web").overlay())
            .container(task("mine.1.x", "mine").on("web-net"))
            .container(task("theirs.1.x", "theirs").on("web-net"))
            .service("theirs", &["web-net"], 1)
            .service("mine", &["web-net"], 1)
            .put_there("web-net", &[])
            .destination(destination("web").named("web-net").exclusive())
    };
    scenario().expect_nothing_but(
        "
        default/edge-1
          . unmanaged Destination/shop/web: Landfall put the Swarm service \"mine\" on \"web-net\" for a resource that is no longer declared there. (Undeclared)
              hint: `--prune` takes it off
          . unmanaged Destination/shop/web: No resource declares the Swarm service \"theirs\", which is on \"web-net\". (MembershipForeign)
              hint: declare it: `containers: { swarmServices: [theirs] }`, or take it off: docker service update --network-rm web-net theirs
        ",
    );
    scenario().prune().expect(
        "
        default/edge-1
          - update service mine: remove network web-net for Destination/shop/web (MemberUndeclared), disruptive
          . unmanaged Destination/shop/web: No resource declares the Swarm service \"theirs\", which is on \"web-net\". (MembershipForeign)
              hint: declare it: `containers: { swarmServices: [theirs] }`, or take it off: docker service update --network-rm web-net theirs
        ",
    );
}

#[test]
fn deleting_a_resource_takes_its_service_off() {
    let scenario = manager()
        .network(network("web-net").of("web").overlay())
        .service("theirs", &["web-net"], 1)
        .service("mine", &["web-net"], 1)
        .put_there("web-net", &[])
        .destination(
            destination("web")
                .named("web-net")
                .member(application("mine").swarm_service("mine"))
                .member(application("theirs").swarm_service("theirs")),
        );
    scenario.delete(Kind::Application, "mine").delete(Kind::Application, "theirs").expect(
        "
        default/edge-1
          - update service mine: remove network web-net for Application/shop/mine (DeletionRequested), disruptive
          . unmanaged Application/shop/theirs: The Swarm service \"theirs\" is left on \"web-net\": Landfall did not put it there. (MembershipForeign)
              hint: docker service update --network-rm web-net theirs
        ",
    );
}

#[test]
fn a_proxy_that_is_a_service_leaves_before_the_network_goes_and_comes_back_if_that_fails() {
    let scenario = manager()
        .proxy_service("edge")
        .network(network("web-net").of("web").overlay())
        .container(task("edge.1.old", "edge").state(ContainerState::Exited).on("web-net"))
        .container(task("edge.1.x", "edge").on("web-net"))
        .service("edge", &["web-net"], 1)
        .put_there("web-net", &["www"])
        .destination(destination("web").named("web-net"));
    let planned = scenario.clone().delete(Kind::Destination, "web").plan();
    let undo = planned.servers[0].groups[0].operations[0].undo.as_ref().unwrap();
    assert_eq!(undo.to_string(), "update service edge: add network web-net as www");
    let removed = "
        default/edge-1
          - update service edge: remove network web-net for Destination/shop/web (DeletionRequested), disruptive
          - remove network web-net for Destination/shop/web (DeletionRequested)
        ";
    scenario.clone().delete(Kind::Destination, "web").expect(removed);
    scenario.clone().force_delete("web").expect(removed);
    scenario.undeclare("web").prune().allow_mass_delete().expect(&removed.replace("DeletionRequested", "Undeclared"));
}

#[test]
fn tasks_that_have_ended_hold_nothing_up_once_their_service_has_left() {
    let scenario = |networks: &[&str]| {
        manager()
            .network(network("web-net").of("web").overlay())
            .container(task("api.1.old", "api").state(ContainerState::Exited).on("web-net"))
            .container(task("gone.1.old", "gone").state(ContainerState::Exited).on("web-net"))
            .service("api", networks, 1)
            .destination(destination("web").named("web-net"))
            .delete(Kind::Destination, "web")
    };
    scenario(&[]).expect(
        "
        default/edge-1
          - remove network web-net for Destination/shop/web (DeletionRequested)
        ",
    );
    scenario(&["web-net"]).expect_nothing_but(
        "
        default/edge-1
          ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
              SwarmService api, 1 replica
              hint: remove what else is listed; remove the Swarm services, or take the network out of them: docker service update --network-rm
        ",
    );
    // While it is being replaced it holds the network.
    manager()
        .network(network("web-net").of("web").overlay())
        .container(task("api.1.x", "api").on("web-net"))
        .service("api", &[], 1)
        .destination(destination("web").named("web-net"))
        .delete(Kind::Destination, "web")
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
                  SwarmTask api.1.x, running
                  hint: their service has left the network, and Swarm is replacing them: try again when they are gone
            ",
        );
}

/// A Swarm has one set of services, and each of its nodes a plan of its own.
#[test]
fn nodes_that_share_a_network_do_not_undo_each_others_work() {
    let overlay = || network("web-net").of("web").overlay();
    let worker = || Scenario::without_proxy().swarm_worker("node2");
    let shared = || destination("web-w1").named("web-net").adopt().exclusive();
    Scenario::without_proxy()
        .swarm_manager_of(2)
        .proxy_service("edge")
        .network(overlay())
        .service("edge", &["web-net"], 1)
        .put_there("web-net", &[])
        .service("api", &["web-net"], 1)
        .put_there("web-net", &[])
        .destination(destination("web").named("web-net").member(application("api").swarm_service("api")))
        .and(
            "w1",
            worker()
                .proxy_service("edge")
                .container(task("api.1.x", "api"))
                .destination(shared().with(|it| it.proxy = false)),
        )
        .prune()
        .expect("");
}

#[test]
fn a_workers_services_are_updated_by_way_of_a_manager() {
    Scenario::without_proxy()
        .swarm_worker("node2")
        .proxy_service("edge")
        .destination(destination("web").named("web-net"))
        .and("m1", Scenario::without_proxy().swarm_manager_of(2).service("edge", &[], 1))
        .expect(
            "
            default/edge-1
              + create network web-net (overlay) for Destination/shop/web (NetworkMissing), by way of default/m1
              + update service edge: add network web-net for Destination/shop/web (ProxyDetached), disruptive, by way of default/m1
            ",
        );
}

#[test]
fn a_container_with_the_labels_of_a_task_is_a_container_on_a_bridge() {
    Scenario::without_proxy()
        .network(network("web-net").of("web"))
        .container(task("copy", "api").state(ContainerState::Exited).on("web-net"))
        .destination(destination("web").named("web-net"))
        .delete(Kind::Destination, "web")
        .expect_nothing_but(
            "
            default/edge-1
              ! refused Destination/shop/web: You must delete all resources before deleting this destination. (ResourcesRemain)
                  SwarmTask copy, exited
                  hint: remove what is listed, or stop and disconnect it all: landfall delete destination web -n shop --force
            ",
        );
}
