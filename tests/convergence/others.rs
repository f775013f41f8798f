//! Others act on the same daemon: a second applier, a person with the docker CLI, a proxy in front of the daemon that answers late.

use landfall::core::api::{Kind, Replacement};
use landfall::core::observed::{EndpointSettings, ObservedSubnet};
use landfall::core::plan::{NetworkCreate, Reason};
use landfall::core::report::Outcome;
use landfall::shell::engine::EngineErrorKind;

use super::world::{Look, Town, trouble, turns};
use crate::support::memory::{What, When, network};
use crate::support::scenario::{Scenario, application, destination};

fn web() -> Scenario {
    let web = destination("web").named("web-net").subnet("10.42.0.0/24");
    let web = web.member(application("app").alias("frontend"));
    Scenario::new()
        .destination(web)
        .destination(destination("other").named("other-net"))
        .destination(destination("generated"))
}

fn replaced() -> Scenario {
    web().redeclare("web", |web| web.mtu(1400).replacement(Replacement::Reattach))
}

fn renamed() -> Scenario {
    let web = destination("web").named("new-net").subnet("10.43.0.0/24").replacement(Replacement::Reattach);
    self::web().undeclare("web").destination(web.member(application("app").alias("frontend")))
}

async fn applied() -> Town {
    let mut town = Town::new(web());
    town.world().run_container("app");
    assert_eq!(trouble(&town.apply().await), [""; 0]);
    town.reconnect();
    town
}

/// What one applier alone makes of it.
async fn alone(make: impl AsyncFn() -> Town) -> Look {
    let town = make().await;
    assert_eq!(trouble(&town.apply().await), [""; 0]);
    town.look()
}

/// Two at once, interleaved in many ways: the end is that of one alone, nobody reports a failure, and nothing is left to do.
/// Returns how often a network was made and withdrawn again.
async fn two_at_once(make: impl AsyncFn() -> Town, unique_names: bool) -> usize {
    let look = alone(&make).await;
    let mut withdrawn = 0;
    for seed in 0..100 {
        let mut town = make().await;
        town.world().unique_names = unique_names;
        let (one, two) = (town.engine.another(), town.engine.another());
        one.dither(seed);
        two.dither(seed.wrapping_mul(0x9e37_79b9) + 1);
        let (first, second) = tokio::join!(town.apply_through(&one), town.apply_through(&two));
        assert_eq!([trouble(&first), trouble(&second)], [[""; 0]; 2], "seed {seed}");
        assert_eq!(town.look(), look, "seed {seed}");
        withdrawn += [one, two].iter().filter(|it| it.counts().contains_key("RemoveNetwork")).count();
        town.reconnect();
        town.apply().await;
        assert_eq!(town.engine.mutations(), [], "seed {seed}: a third pass had something to do");
    }
    withdrawn
}

async fn empty() -> Town {
    let town = Town::new(web());
    town.world().run_container("app");
    town
}

async fn damaged() -> Town {
    let town = applied().await;
    {
        let mut world = town.world();
        let web = world.network_named("web-net").id.clone();
        for name in ["traefik", "app"] {
            let id = world.container_named(name).id.clone();
            world.disconnect(&web, &id, false).expect("disconnects");
        }
    }
    town
}

async fn condemned() -> Town {
    let mut town = applied().await;
    town.declare(web().delete(Kind::Destination, "other"));
    town
}

async fn replacing() -> Town {
    with_a_stranger(replaced()).await
}

async fn renaming() -> Town {
    with_a_stranger(renamed()).await
}

async fn with_a_stranger(declared: Scenario) -> Town {
    let mut town = applied().await;
    {
        let mut world = town.world();
        let web = world.network_named("web-net").id.clone();
        let foreign = world.run_container("foreign");
        world.connect(&web, &foreign, &EndpointSettings::default()).expect("connects");
    }
    town.declare(declared);
    town
}

#[tokio::test(start_paused = true)]
async fn two_appliers_create_one_network_each() {
    let withdrawn = two_at_once(empty, false).await;
    assert!(withdrawn > 10, "the two hardly ever met: {withdrawn}");
}

#[tokio::test(start_paused = true)]
async fn two_appliers_create_one_network_each_where_names_are_unique() {
    two_at_once(empty, true).await;
}

#[tokio::test(start_paused = true)]
async fn two_appliers_repair_the_same_damage() {
    two_at_once(damaged, false).await;
}

#[tokio::test(start_paused = true)]
async fn two_appliers_delete_the_same_destination() {
    two_at_once(condemned, false).await;
}

/// A daemon can show a network long after the moment of its creation, and an applier can be slow: whatever the order, one is left.
#[tokio::test(start_paused = true)]
async fn the_maker_of_the_oldest_gives_way_to_one_in_use() {
    let mut town = Town::new(web());
    let theirs = town.preview().await;
    assert!(theirs.plan.servers[0].groups.len() >= 2);
    town.engine.interfere(|call, world| {
        // While ours is being made, another applier's network comes up, younger and already in use.
        if call.name == "CreateNetwork" && call.subject == "web-net" && world.networks_named("web-net").is_empty() {
            let labels =
                [("landfall.set", "default"), ("landfall.destination", "shop/web"), ("landfall.uid", "theirs")];
            let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
            let id = world.create_network(&NetworkCreate { labels, ..network("web-net", "bridge") }).expect("creates");
            let traefik = world.container_named("traefik").id.clone();
            world.connect(&id, &traefik, &super::by_hand::marked()).expect("connects");
        }
    });
    let done = town.apply().await;
    assert_eq!(trouble(&done), [""; 0]);
    assert_eq!(town.world().network_named("web-net").labels["landfall.uid"], "theirs");
    town.reconnect();
}

/// Nobody is lost, though one may undo what the other does.
#[tokio::test(start_paused = true)]
async fn two_appliers_replace_the_same_network_and_nobody_is_lost() {
    two_replace(replacing, "web-net", "1400").await;
}

#[tokio::test(start_paused = true)]
async fn two_appliers_change_the_name_of_the_same_network_and_nobody_is_lost() {
    two_replace(renaming, "new-net", "").await;
}

async fn two_replace(make: impl AsyncFn() -> Town, network: &str, mtu: &str) {
    for seed in 0..60 {
        let mut town = make().await;
        let (one, two) = (town.engine.another(), town.engine.another());
        one.dither(seed);
        two.dither(seed.wrapping_mul(0x9e37_79b9) + 1);
        tokio::join!(town.apply_through(&one), town.apply_through(&two));
        town.reconnect();
        // Either may have found the other's half-done work and given up; the next pass has the rest.
        assert_eq!(trouble(&town.apply().await), [""; 0], "seed {seed}");
        {
            let world = town.world();
            let web = world.network_named(network);
            let has = web.options.get("com.docker.network.driver.mtu").map(String::as_str).unwrap_or_default();
            assert_eq!(has, mtu, "seed {seed}");
            for name in ["traefik", "app", "foreign"] {
                let endpoint = world.container_named(name).endpoints.get(network);
                assert_eq!(endpoint.and_then(|it| it.network_id.as_ref()), Some(&web.id), "seed {seed}: {name}");
            }
        }
        town.reconnect();
        town.apply().await;
        assert_eq!(town.engine.mutations(), [], "seed {seed}");
        assert_eq!(town.journals().load().expect("readable").journals, [], "seed {seed}");
    }
}

/// One of two appliers is killed before or after any of its calls while the other is at work, interleaved in several ways: nothing that the
/// killed one has left stands in anybody's way, and one more pass ends as one applier alone would have. `settled`: the survivor meets no
/// trouble either. `prunes`: a network of a name nobody chose may be left over, unused, and is for pruning to remove.
async fn one_of_two_is_killed(make: impl AsyncFn() -> Town, settled: bool, prunes: bool) {
    let look = alone(&make).await;
    let calls = {
        let town = make().await;
        town.apply().await;
        town.engine.mutations().len()
    };
    let mut killed = 0;
    for nth in 1..=calls {
        for (when, seed) in
            [When::Before, When::After].into_iter().flat_map(|when| (0..12).map(move |seed| (when, seed)))
        {
            let told = format!("killed {when:?} call {nth}, seed {seed}");
            let mut town = make().await;
            let (one, two) = (town.engine.another(), town.engine.another());
            one.dither(seed);
            two.dither(seed.wrapping_mul(0x9e37_79b9) + 1);
            one.fault(nth, when, What::Hang);
            let dies = async {
                tokio::select! {
                    _ = town.apply_through(&one) => false,
                    () = one.hung() => true,
                }
            };
            let (died, survivor) = tokio::join!(dies, town.apply_through(&two));
            killed += usize::from(died);
            if settled {
                assert_eq!(trouble(&survivor), [""; 0], "{told}");
            }
            town.reconnect();
            town.request.prune |= prunes;
            assert_eq!(trouble(&town.apply().await), [""; 0], "{told}");
            assert_eq!(town.look(), look, "{told}");
            town.reconnect();
            town.apply().await;
            assert_eq!(town.engine.mutations(), [], "{told}: a further pass had something to do");
        }
    }
    assert!(killed > calls, "hardly any was killed: {killed}");
}

/// One applier is killed between the writing of its journal and the end of what it is for, while another that shares its state directory begins at any
/// moment: who was taken off is known, whatever the other makes of it.
#[tokio::test(start_paused = true)]
async fn a_journal_that_is_in_use_is_not_taken_for_done_with_by_another_applier() {
    for (make, network) in [(true, "web-net"), (false, "new-net")] {
        let town = || async { if make { replacing().await } else { renaming().await } };
        let calls = {
            let town = town().await;
            town.apply().await;
            town.engine.mutations().len()
        };
        for nth in 1..=calls {
            for (when, late) in [When::Before, When::After]
                .into_iter()
                .flat_map(|when| (0..80).step_by(8).map(move |late| (when, late)))
            {
                let told = format!("{network}: killed {when:?} call {nth}, the other {late} turns later");
                let mut town = town().await;
                let (one, two) = (town.engine.another(), town.engine.another());
                one.fault(nth, when, What::Hang);
                let dies = async {
                    tokio::select! {
                        _ = town.apply_slowly_through(&one, 30) => {}
                        () = one.hung() => {}
                    }
                };
                let other = async {
                    turns(late).await;
                    town.apply_slowly_through(&two, 1).await
                };
                tokio::join!(dies, other);
                town.reconnect();
                assert_eq!(trouble(&town.apply().await), [""; 0], "{told}");
                {
                    let world = town.world();
                    let web = &world.network_named(network).id;
                    for name in ["traefik", "app", "foreign"] {
                        let endpoint = world.container_named(name).endpoints.get(network);
                        assert_eq!(endpoint.and_then(|it| it.network_id.as_ref()), Some(web), "{told}: {name}");
                    }
                }
                town.apply().await;
                assert_eq!(town.journals().load().expect("readable").journals, [], "{told}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_two_appliers_is_killed_while_both_create() {
    one_of_two_is_killed(empty, true, true).await;
}

#[tokio::test(start_paused = true)]
async fn one_of_two_appliers_is_killed_while_both_repair() {
    one_of_two_is_killed(damaged, true, false).await;
}

#[tokio::test(start_paused = true)]
async fn one_of_two_appliers_is_killed_while_both_delete() {
    one_of_two_is_killed(condemned, true, false).await;
}

/// Here the survivor may find the other's half-done work and give up.
#[tokio::test(start_paused = true)]
async fn one_of_two_appliers_is_killed_while_both_replace() {
    one_of_two_is_killed(replacing, false, false).await;
}

#[tokio::test(start_paused = true)]
async fn one_of_two_appliers_is_killed_while_both_change_the_name() {
    one_of_two_is_killed(renaming, false, false).await;
}

#[tokio::test]
async fn a_network_created_by_a_person_between_look_and_creation_is_his() {
    let town = empty().await;
    town.engine.interfere(|call, world| {
        if call.name == "CreateNetwork" && call.subject == "web-net" {
            world.create_network(&network("web-net", "bridge")).expect("creates");
        }
    });
    let done = town.apply().await;
    let failures: Vec<_> = done.report.servers[0]
        .operations
        .iter()
        .filter_map(|it| match &it.outcome {
            Outcome::Failed(failure) => failure.reason,
            _ => None,
        })
        .collect();
    assert_eq!(failures, [Reason::AdoptionRequired]);
    // A plan would have refused it: so the exit code is 3, and nothing has failed.
    let tally = done.report.tally();
    assert_eq!((tally.failed, tally.refused), (0, 1));
    let summary = done.report.document().summary;
    assert_eq!((summary.failed, summary.refused), (1, 1));
    let world = town.world();
    assert!(world.network_named("web-net").labels.is_empty());
    assert!(world.container_named("app").endpoints.keys().all(|name| name != "web-net"));
    // The other destination is none the worse for it.
    assert!(world.container_named("traefik").endpoints.contains_key("other-net"));
}

/// Sieve's MongoDB bug: what was recreated under the same name was deleted, because the name was trusted.
#[tokio::test]
async fn a_network_recreated_between_look_and_deletion_lives() {
    let mut town = applied().await;
    town.declare(web().delete(Kind::Destination, "other"));
    town.engine.interfere({
        let mut done = false;
        move |call, world| {
            if call.name != "DisconnectEndpoint" || std::mem::replace(&mut done, true) {
                return;
            }
            let (old, traefik) =
                (world.network_named("other-net").id.clone(), world.container_named("traefik").id.clone());
            world.disconnect(&old, &traefik, false).expect("disconnects");
            world.remove_network(&old).expect("removes");
            let new = world.create_network(&network("other-net", "bridge")).expect("creates");
            world.connect(&new, &traefik, &EndpointSettings::default()).expect("connects");
        }
    });
    town.apply().await;
    let world = town.world();
    let new = &world.network_named("other-net").id;
    assert_eq!(world.container_named("traefik").endpoints["other-net"].network_id.as_ref(), Some(new));
}

/// A plan made from an old look: what is gone is not missed, what has come is not harmed.
#[tokio::test]
async fn a_stale_look_does_no_harm() {
    let mut town = applied().await;
    town.engine.stale_reads();
    {
        let mut world = town.world();
        let (web, app) = (world.network_named("web-net").id.clone(), world.container_named("app").id.clone());
        let other = world.network_named("other-net").id.clone();
        let traefik = world.container_named("traefik").id.clone();
        world.disconnect(&web, &app, false).expect("disconnects");
        world.disconnect(&other, &traefik, false).expect("disconnects");
        world.remove_network(&other).expect("removes");
        let again = world.create_network(&network("other-net", "bridge")).expect("creates");
        world.connect(&again, &app, &EndpointSettings::default()).expect("connects");
    }
    town.declare(web().delete(Kind::Destination, "other"));
    town.apply().await;
    {
        let world = town.world();
        let again = &world.network_named("other-net").id;
        assert_eq!(world.container_named("app").endpoints["other-net"].network_id.as_ref(), Some(again));
    }
    town.engine.fresh_reads();
}

/// Said of the types already: a preview takes readers. Counted here as well.
#[tokio::test]
async fn pain_40_a_preview_changes_nothing() {
    let mut town = applied().await;
    for scenario in [web(), replaced(), web().undeclare("other").prune(), web().force_delete("web")] {
        town.declare(scenario);
        let before = town.look();
        town.preview().await;
        assert_eq!(town.engine.mutations(), []);
        assert_eq!(town.look(), before);
    }
}

/// A pass with nothing to do makes as many reads for many destinations as for one, but for the inspection of members.
#[tokio::test]
async fn a_second_pass_reads_three_lists_and_inspects_members_once() {
    let mut town = applied().await;
    town.apply().await;
    let mut calls: Vec<_> = town.engine.calls().into_iter().map(|call| call.name).collect();
    calls.sort_unstable();
    assert_eq!(calls, ["container", "container", "containers", "info", "networks"]);
    town.reconnect();
}

#[tokio::test]
async fn nothing_is_repeated_for_a_server_that_went_away() {
    let town = empty().await;
    town.engine.fault(1, When::Before, What::Fail(EngineErrorKind::HostKeyMismatch));
    let done = town.apply().await;
    assert_eq!(town.engine.mutations().len(), 1);
    let operations = &done.report.servers[0].operations;
    assert!(operations.iter().skip(1).all(|it| it.outcome == Outcome::Skipped), "{:?}", trouble(&done));
}

/// coolify#4943, dokploy#2590: one destination without room for it leaves the others alone.
#[tokio::test]
async fn what_cannot_be_created_does_not_hold_up_the_rest() {
    let town = Town::new(web());
    town.world().run_container("app");
    let mut looks = 0;
    town.engine.interfere(move |call, world| {
        looks += usize::from(call.name == "networks");
        // After the look that the plan is made from.
        if call.name == "networks" && looks == 2 {
            let subnet = ObservedSubnet { subnet: "10.42.0.0/25".to_owned(), ..ObservedSubnet::default() };
            let create = NetworkCreate { subnets: vec![subnet], ..network("in-the-way", "bridge") };
            world.create_network(&create).expect("creates");
        }
    });
    let done = town.apply().await;
    let failed = done.report.servers[0].operations.iter().filter(|it| matches!(it.outcome, Outcome::Failed(_))).count();
    assert_eq!(failed, 1, "{:?}", trouble(&done));
    assert!(town.world().container_named("traefik").endpoints.contains_key("other-net"));
}

/// Two repositories and one daemon, pass by pass in turn: both have what they declare, and nothing is done twice.
#[tokio::test]
async fn two_sources_of_one_set_take_nothing_from_each_other() {
    let declaring = |source: &str, names: &[&str]| {
        let mut scenario = Scenario::new().source(source).prune();
        for name in names {
            scenario = scenario.destination(destination(name).named(&format!("{name}-net")));
        }
        scenario
    };
    let mut ours = Town::new(declaring("ours", &["a", "b", "c"]));
    let mut theirs = Town::new(declaring("theirs", &["x", "y"]));
    theirs.engine = ours.engine.another();
    for _ in 0..3 {
        assert_eq!(trouble(&ours.apply().await), [""; 0]);
        assert_eq!(trouble(&theirs.apply().await), [""; 0]);
    }
    assert_eq!(ours.engine.counts()["CreateNetwork"], 3);
    assert_eq!(theirs.engine.counts()["CreateNetwork"], 2);
    ours.declare(declaring("ours", &["a", "b"]));
    ours.apply().await;
    theirs.apply().await;
    assert_eq!(ours.engine.counts()["RemoveNetwork"], 1);
    assert!(!theirs.engine.counts().contains_key("RemoveNetwork"));
    let left: Vec<String> =
        ours.world().networks.values().map(|it| it.name.clone()).filter(|it| it.ends_with("-net")).collect();
    assert_eq!(left.len(), 4, "{left:?}");
}
