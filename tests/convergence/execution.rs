//! The executor by itself, on plans written by hand.

use std::collections::BTreeMap;

use landfall::core::observed::{ContainerState, EndpointSettings, ObservedSubnet};
use landfall::core::plan::{Call, Cause, Group, NetworkCreate, Reason};
use landfall::core::report::Outcome;
use landfall::shell::engine::EngineErrorKind;
use landfall::shell::store::file::FileJournals;

use super::by_hand::*;
use crate::support::memory::{MemoryEngine, What, When, network, subnets_of};

/// `web-net` with the proxy on it.
async fn with_proxy() -> MemoryEngine {
    let engine = MemoryEngine::new();
    engine.world().run_container("proxy");
    let plan = setting_up(&engine.world(), "first", &["proxy"]);
    carry_out(&engine, &plan).await;
    engine.another()
}

/// `web-net` with the proxy, a running and a stopped container, each with an alias, on it.
async fn populated() -> MemoryEngine {
    let engine = with_proxy().await;
    {
        let mut world = engine.world();
        let network = world.network_named("web-net").id.clone();
        for name in ["app", "stopped"] {
            let id = world.run_container(name);
            let settings = EndpointSettings { aliases: vec![format!("{name}.internal")], ..marked() };
            world.connect(&network, &id, &settings).expect("connects");
        }
        let id = id_of(&world, "stopped");
        world.stop_container(&id).expect("stops");
    }
    engine
}

fn to_web_net(engine: &MemoryEngine, container: &str, settings: EndpointSettings) -> Call {
    let world = engine.world();
    connect(at(&world, "web-net"), who(&world, container), settings)
}

#[tokio::test]
async fn a_network_is_created_and_everyone_connected() {
    let engine = MemoryEngine::new();
    engine.world().run_container("proxy");
    engine.world().create_container("app", "default");
    let plan = setting_up(&engine.world(), "one", &["proxy", "app"]);
    let report = carry_out(&engine, &plan).await;
    assert_eq!(
        lines(&report),
        ["CreateNetwork web-net: done", "ConnectEndpoint web-net proxy: done", "ConnectEndpoint web-net app: done"]
    );
    assert_eq!(on(&engine.world(), "web-net"), ["app", "proxy"]);
}

#[tokio::test]
async fn a_member_that_cannot_be_connected_does_not_hold_up_the_others() {
    let engine = MemoryEngine::new();
    engine.world().run_container("proxy");
    engine.world().create_container("on-host", "host");
    let plan = setting_up(&engine.world(), "one", &["on-host", "proxy"]);
    let report = carry_out(&engine, &plan).await;
    assert_eq!(
        lines(&report),
        [
            "CreateNetwork web-net: done",
            "ConnectEndpoint web-net on-host: failed, WrongScope",
            "ConnectEndpoint web-net proxy: done"
        ]
    );
}

#[tokio::test]
async fn what_was_to_be_done_with_a_network_that_could_not_be_created_is_skipped() {
    let engine = MemoryEngine::new();
    engine.world().run_container("proxy");
    engine.world().pools = subnets_of("10.200.0.0/24", 24);
    let plan = setting_up(&engine.world(), "one", &["proxy"]);
    let report = carry_out(&engine, &plan).await;
    assert_eq!(
        lines(&report),
        ["CreateNetwork web-net: failed, AddressPoolExhausted", "ConnectEndpoint web-net proxy: skipped"]
    );
}

/// `app` is to leave `web-net` for a new network, `next-net`.
fn moving(engine: &MemoryEngine) -> landfall::core::plan::Plan {
    let world = engine.world();
    let app = who(&world, "app");
    let next = Call::CreateNetwork(NetworkCreate { name: "next-net".to_owned(), ..web_net("next") });
    let make = connect(created("next-net"), app.clone(), marked());
    let leave = disconnect(at(&world, "web-net"), app);
    let needs = make.connections();
    plan(vec![
        group(vec![operation(next, Cause::NetworkMissing, None)]),
        group(vec![operation(make, Cause::MemberDetached, None)]),
        Group { needs, ..group(vec![operation(leave, Cause::MemberUndeclared, None)]) },
    ])
}

#[tokio::test]
async fn nobody_is_let_go_before_the_connection_that_takes_over_is_in_place() {
    let engine = populated().await;
    let report = carry_out(&engine, &moving(&engine)).await;
    assert_eq!(
        lines(&report),
        ["CreateNetwork next-net: done", "ConnectEndpoint next-net app: done", "DisconnectEndpoint web-net app: done"]
    );
    for nth in [1, 2] {
        let engine = populated().await.another();
        let plan = moving(&engine);
        engine.fault(nth, When::Before, What::Fail(EngineErrorKind::Protocol));
        let report = carry_out(&engine, &plan).await;
        assert_eq!(lines(&report).last().map(String::as_str), Some("DisconnectEndpoint web-net app: skipped"));
        assert!(on(&engine.world(), "web-net").contains(&"app".to_owned()), "call {nth}");
    }
}

#[tokio::test]
async fn a_network_that_another_applier_of_the_set_created_meanwhile_is_used() {
    let engine = MemoryEngine::new();
    engine.world().run_container("proxy");
    let plan = setting_up(&engine.world(), "mine", &["proxy"]);
    engine.world().create_network(&web_net("theirs")).expect("creates");
    let report = carry_out(&engine, &plan).await;
    assert_eq!(lines(&report), ["CreateNetwork web-net: done", "ConnectEndpoint web-net proxy: done"]);
    assert_eq!(engine.world().network_named("web-net").labels["landfall.uid"], "theirs");
    assert_eq!(on(&engine.world(), "web-net"), ["proxy"]);
}

#[tokio::test]
async fn a_network_that_a_stranger_created_meanwhile_is_left_alone() {
    let engine = MemoryEngine::new();
    engine.world().run_container("proxy");
    let plan = setting_up(&engine.world(), "mine", &["proxy"]);
    engine.world().create_network(&network("web-net", "bridge")).expect("creates");
    let report = carry_out(&engine, &plan).await;
    assert_eq!(
        lines(&report),
        ["CreateNetwork web-net: failed, AdoptionRequired", "ConnectEndpoint web-net proxy: skipped"]
    );
    assert!(engine.mutations().is_empty());
}

#[tokio::test]
async fn a_network_created_by_a_stranger_at_the_same_moment_leaves_his_only() {
    let engine = MemoryEngine::new();
    engine.world().run_container("proxy");
    let plan = setting_up(&engine.world(), "mine", &["proxy"]);
    engine.interfere(|call, world| {
        if call.name == "CreateNetwork" {
            world.create_network(&network("web-net", "bridge")).expect("creates");
        }
    });
    let report = carry_out(&engine, &plan).await;
    assert_eq!(
        lines(&report),
        ["CreateNetwork web-net: failed, AdoptionRequired", "ConnectEndpoint web-net proxy: skipped"]
    );
    assert!(engine.world().network_named("web-net").labels.is_empty());
}

#[tokio::test]
async fn an_engine_that_keeps_names_unique_says_so_and_the_others_network_is_used() {
    let engine = MemoryEngine::new();
    engine.world().unique_names = true;
    engine.world().run_container("proxy");
    let plan = setting_up(&engine.world(), "mine", &["proxy"]);
    engine.interfere(|call, world| {
        if call.name == "CreateNetwork" {
            world.create_network(&web_net("theirs")).expect("creates");
        }
    });
    let report = carry_out(&engine, &plan).await;
    assert_eq!(lines(&report), ["CreateNetwork web-net: done", "ConnectEndpoint web-net proxy: done"]);
    assert_eq!(engine.world().network_named("web-net").labels["landfall.uid"], "theirs");
}

#[tokio::test(start_paused = true)]
async fn a_creation_without_an_answer_is_looked_for_before_anything_else() {
    let engine = MemoryEngine::new();
    engine.world().run_container("proxy");
    let plan = setting_up(&engine.world(), "mine", &["proxy"]);
    engine.fault(1, When::After, What::Fail(EngineErrorKind::Unreachable));
    let report = carry_out(&engine, &plan).await;
    assert_eq!(lines(&report), ["CreateNetwork web-net: done", "ConnectEndpoint web-net proxy: done"]);
    assert_eq!(engine.counts()["CreateNetwork"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_ends_and_its_outcome_is_looked_for() {
    let engine = MemoryEngine::new();
    engine.world().run_container("proxy");
    engine.fault(1, When::After, What::Hang);
    engine.fault(2, When::Before, What::Hang);
    let plan = setting_up(&engine.world(), "mine", &["proxy"]);
    let report = carry_out(&engine, &plan).await;
    assert_eq!(
        lines(&report),
        ["CreateNetwork web-net: done", "ConnectEndpoint web-net proxy: failed, ServerUnreachable"]
    );
}

#[tokio::test]
async fn connected_by_somebody_else_as_wanted_is_done_and_otherwise_is_said() {
    let engine = MemoryEngine::new();
    for name in ["as-wanted", "otherwise", "by-another"] {
        engine.world().run_container(name);
    }
    for name in ["otherwise-stopped", "by-another-stopped"] {
        engine.world().create_container(name, "default");
    }
    let wanted = EndpointSettings { aliases: vec!["shop".to_owned()], ..marked() };
    // As `docker compose up` does it while it brings a container up.
    let unmarked = EndpointSettings { driver_opts: BTreeMap::new(), ..wanted.clone() };
    let names = ["as-wanted", "otherwise", "otherwise-stopped", "by-another", "by-another-stopped"];
    let network = engine.world().create_network(&web_net("mine")).expect("creates");
    let groups = names.map(|name| {
        let world = engine.world();
        let call = connect(at(&world, "web-net"), who(&world, name), wanted.clone());
        group(vec![operation(call, Cause::MemberDetached, None)])
    });
    let by_others = [wanted.clone(), marked(), marked(), unmarked.clone(), unmarked];
    for (name, settings) in names.into_iter().zip(by_others) {
        let id = id_of(&engine.world(), name);
        engine.world().connect(&network, &id, &settings).expect("connects");
    }
    let report = carry_out(&engine, &plan(groups.into())).await;
    assert_eq!(
        lines(&report),
        [
            "ConnectEndpoint web-net as-wanted: done",
            "ConnectEndpoint web-net otherwise: failed, EndpointDiffers",
            "ConnectEndpoint web-net otherwise-stopped: failed, EndpointDiffers",
            "ConnectEndpoint web-net by-another: done",
            "ConnectEndpoint web-net by-another-stopped: done",
        ]
    );
}

/// The daemon accepts the id for a stopped container, which can never start then.
#[tokio::test]
async fn nobody_is_connected_to_a_network_that_was_removed_meanwhile() {
    let engine = MemoryEngine::new();
    engine.world().create_container("app", "default");
    let id = engine.world().create_network(&web_net("mine")).expect("creates");
    let call = to_web_net(&engine, "app", marked());
    engine.world().remove_network(&id).expect("removes");
    let report = carry_out(&engine, &plan(vec![group(vec![operation(call, Cause::MemberDetached, None)])])).await;
    assert_eq!(lines(&report), ["ConnectEndpoint web-net app: failed, NetworkNotFound"]);
    assert!(engine.mutations().is_empty());
}

/// A failed connect leaves an entry on a running container that keeps it from starting the next time.
#[tokio::test]
async fn a_failed_connect_leaves_a_container_that_still_starts() {
    let engine = MemoryEngine::new();
    let subnets = vec![ObservedSubnet { subnet: "10.42.0.0/24".to_owned(), ..ObservedSubnet::default() }];
    let create = landfall::core::plan::NetworkCreate { subnets, ..web_net("mine") };
    let network = engine.world().create_network(&create).expect("creates");
    let fixed = EndpointSettings { ipv4_address: Some("10.42.0.9".to_owned()), ..marked() };
    for name in ["first", "second"] {
        engine.world().run_container(name);
    }
    let first = id_of(&engine.world(), "first");
    engine.world().connect(&network, &first, &fixed).expect("connects");
    let call = to_web_net(&engine, "second", fixed);
    let report = carry_out(&engine, &plan(vec![group(vec![operation(call, Cause::MemberDetached, None)])])).await;
    assert_eq!(
        lines(&report),
        [
            "ConnectEndpoint web-net second: failed, AddressTaken",
            "rollback: ConnectEndpoint web-net second: done",
            "rollback: DisconnectEndpoint web-net second: done",
        ]
    );
    let second = id_of(&engine.world(), "second");
    engine.world().stop_container(&second).expect("stops");
    engine.world().start_container(&second).expect("starts again");
}

#[tokio::test]
async fn a_destination_with_only_the_proxy_is_deleted() {
    let engine = with_proxy().await;
    let plan = deleting(&engine.world());
    let report = carry_out(&engine, &plan).await;
    assert_eq!(lines(&report), ["DisconnectEndpoint web-net proxy: done", "RemoveNetwork web-net: done"]);
    assert!(engine.world().networks_named("web-net").is_empty());
}

#[tokio::test]
async fn whoever_came_since_the_plan_keeps_the_network_and_the_proxy_stays_connected() {
    // Also if it carries the labels of a Swarm's task, which somebody has copied.
    for (start, copied) in [(true, false), (false, false), (true, true), (false, true)] {
        let engine = with_proxy().await;
        let plan = deleting(&engine.world());
        {
            let mut world = engine.world();
            let network = world.network_named("web-net").id.clone();
            let late = world.create_container("late", "default");
            world.connect(&network, &late, &EndpointSettings::default()).expect("connects");
            if start {
                world.start_container(&late).expect("starts");
            }
            if copied {
                let labels = &mut world.containers.get_mut(&late).expect("just created").labels;
                labels.insert("com.docker.swarm.service.name".to_owned(), "api".to_owned());
                labels.insert("com.docker.swarm.task.id".to_owned(), "t".to_owned());
            }
        }
        let report = carry_out(&engine, &plan).await;
        assert_eq!(
            lines(&report),
            ["DisconnectEndpoint web-net proxy: failed, NetworkInUse", "RemoveNetwork web-net: skipped"]
        );
        let Outcome::Failed(failure) = &report.servers[0].operations[0].outcome else { panic!("failed above") };
        let state = if start { "running" } else { "created" };
        assert!(failure.message.contains(&format!("container late ({state})")), "{}", failure.message);
        assert!(engine.mutations().is_empty());
    }
}

#[tokio::test]
async fn the_proxy_is_reconnected_as_it_was_when_the_removal_fails() {
    let engine = with_proxy().await;
    let plan = deleting(&engine.world());
    engine.interfere(|call, world| {
        if call.name == "RemoveNetwork" {
            let network = world.network_named("web-net").id.clone();
            let late = world.run_container("late");
            world.connect(&network, &late, &EndpointSettings::default()).expect("connects");
        }
    });
    let report = carry_out(&engine, &plan).await;
    assert_eq!(
        lines(&report),
        [
            "DisconnectEndpoint web-net proxy: done",
            "RemoveNetwork web-net: failed, NetworkInUse",
            "rollback: ConnectEndpoint web-net proxy: done",
        ]
    );
    assert_eq!(on(&engine.world(), "web-net"), ["late", "proxy"]);
}

#[tokio::test]
async fn a_network_recreated_under_the_same_name_is_not_touched() {
    let engine = with_proxy().await;
    let plan = deleting(&engine.world());
    {
        let mut world = engine.world();
        let (network, proxy) = (world.network_named("web-net").id.clone(), id_of(&world, "proxy"));
        world.disconnect(&network, &proxy, false).expect("disconnects");
        world.remove_network(&network).expect("removes");
        let network = world.create_network(&network_of_a_stranger()).expect("creates");
        world.connect(&network, &proxy, &EndpointSettings::default()).expect("connects");
    }
    let report = carry_out(&engine, &plan).await;
    assert_eq!(lines(&report), ["DisconnectEndpoint web-net proxy: done", "RemoveNetwork web-net: done"]);
    assert_eq!(on(&engine.world(), "web-net"), ["proxy"]);
}

fn network_of_a_stranger() -> landfall::core::plan::NetworkCreate {
    network("web-net", "bridge")
}

#[tokio::test]
async fn whoever_slips_in_while_the_network_is_removed_is_named() {
    let engine = with_proxy().await;
    let plan = deleting(&engine.world());
    engine.interfere(|call, world| {
        if call.name == "RemoveNetwork" {
            let network = world.network_named("web-net").id.clone();
            let late = world.run_container("late");
            world.connect(&network, &late, &EndpointSettings::default()).expect("connects");
            world.stop_container(&late).expect("stops");
        }
    });
    let report = carry_out(&engine, &plan).await;
    assert_eq!(lines(&report), ["DisconnectEndpoint web-net proxy: done", "RemoveNetwork web-net: done"]);
    let [note] = report.servers[0].notes.as_slice() else { panic!("one note") };
    assert_eq!(note.reason, Reason::NetworkInUse);
    assert!(note.message.contains("container late (exited)"), "{}", note.message);
}

#[tokio::test]
async fn a_replacement_puts_everyone_back_as_they_were() {
    let engine = populated().await;
    let state = tempfile::tempdir().unwrap();
    let plan = reattaching(&engine.world(), "second");
    let report = carry_out_with(&engine, &plan, state.path()).await;
    assert!(report.servers[0].operations.iter().all(|operation| operation.outcome == Outcome::Done), "{report:#?}");
    let world = engine.world();
    assert_eq!(world.network_named("web-net").labels["landfall.uid"], "second");
    assert_eq!(on(&world, "web-net"), ["app", "proxy", "stopped"]);
    let stopped = &world.container_named("stopped").endpoints["web-net"];
    assert_eq!(stopped.settings.aliases[0], "stopped.internal");
    assert_eq!(FileJournals::in_state(state.path()).load().unwrap().journals, []);
}

/// At whichever call it fails.
#[tokio::test]
async fn a_replacement_that_fails_puts_the_old_network_back_with_everyone_on_it() {
    let calls = reattaching(&populated().await.world(), "second").servers[0].groups[0].operations.len();
    for nth in 1..=calls {
        let engine = populated().await;
        let state = tempfile::tempdir().unwrap();
        let before = everyone(&engine);
        let plan = reattaching(&engine.world(), "second");
        engine.fault(nth, When::Before, What::Fail(EngineErrorKind::Other));
        let report = carry_out_with(&engine, &plan, state.path()).await;
        let failed = report.servers[0].operations.iter().filter(|o| matches!(o.outcome, Outcome::Failed(_))).count();
        assert_eq!(failed, 1, "call {nth}: {:#?}", lines(&report));
        assert_eq!(everyone(&engine), before, "call {nth}: {:#?}", lines(&report));
        assert_eq!(engine.world().network_named("web-net").labels["landfall.uid"], "first", "call {nth}");
        assert_eq!(FileJournals::in_state(state.path()).load().unwrap().journals, [], "call {nth}");
    }
}

/// Name, state and settings of whoever is on `web-net`.
fn everyone(engine: &MemoryEngine) -> Vec<(String, ContainerState, EndpointSettings)> {
    let world = engine.world();
    on(&world, "web-net")
        .into_iter()
        .map(|name| {
            let container = world.container_named(&name);
            let settings = container.endpoints["web-net"].settings.clone();
            (name, container.state, EndpointSettings { mac_address: None, ..settings })
        })
        .collect()
}

#[tokio::test]
async fn a_journal_stays_when_not_everyone_could_be_put_back() {
    let engine = populated().await;
    let state = tempfile::tempdir().unwrap();
    let plan = reattaching(&engine.world(), "second");
    engine.fault(3, When::Before, What::Fail(EngineErrorKind::Other));
    engine.fault(4, When::Before, What::Fail(EngineErrorKind::Other));
    let report = carry_out_with(&engine, &plan, state.path()).await;
    let rollbacks: Vec<String> = lines(&report).into_iter().filter(|line| line.starts_with("rollback")).collect();
    assert_eq!(rollbacks.len(), 2, "{rollbacks:?}");
    assert!(rollbacks[0].contains("failed") && rollbacks[1].ends_with("done"), "{rollbacks:?}");
    assert_eq!(
        FileJournals::in_state(state.path()).load().unwrap().journals,
        [plan.servers[0].groups[0].journal.clone().unwrap()]
    );
}

#[tokio::test]
async fn nothing_is_begun_without_its_journal() {
    let engine = populated().await;
    let state = tempfile::tempdir().unwrap();
    std::fs::write(state.path().join("journal"), "a file where the directory should be").unwrap();
    let plan = reattaching(&engine.world(), "second");
    let report = carry_out_with(&engine, &plan, state.path()).await;
    assert!(lines(&report)[0].contains("writing the journal"), "{:?}", lines(&report));
    assert!(engine.mutations().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_answering_is_not_asked_again_for_every_operation() {
    let engine = MemoryEngine::new();
    engine.world().run_container("proxy");
    engine.fault(1, When::Before, What::Fail(EngineErrorKind::Unreachable));
    engine.fail_reads_after_mutation(1);
    let plan = setting_up(&engine.world(), "mine", &["proxy"]);
    let before = tokio::time::Instant::now();
    let report = carry_out(&engine, &plan).await;
    assert_eq!(
        lines(&report),
        ["CreateNetwork web-net: failed, ServerUnreachable", "ConnectEndpoint web-net proxy: skipped"]
    );
    assert!(before.elapsed() < std::time::Duration::from_secs(5));
}

#[tokio::test]
async fn stopping_and_starting_are_calls_like_others() {
    let engine = MemoryEngine::new();
    engine.world().run_container("app");
    let target = who(&engine.world(), "app");
    let stop = operation(Call::StopContainer { container: target.clone() }, Cause::Deactivated, None);
    let report = carry_out(&engine, &plan(vec![group(vec![stop])])).await;
    assert_eq!(lines(&report), ["StopContainer app: done"]);
    assert_eq!(engine.world().container_named("app").state, ContainerState::Exited);
    let id = id_of(&engine.world(), "app");
    engine.world().remove_container(&id);
    let start = operation(Call::StartContainer { container: target }, Cause::Deactivated, None);
    let report = carry_out(&engine, &plan(vec![group(vec![start])])).await;
    assert_eq!(lines(&report), ["StartContainer app: failed, ContainerMissing"]);
}
