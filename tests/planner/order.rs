//! Which groups of a plan wait for which: any order that the waits allow ends in the same, and what has nothing to do with each other waits for nothing.

use std::collections::{BTreeMap, BTreeSet};

use landfall::core::api::Kind;
use landfall::core::observed::{ContainerId, Observations};
use landfall::core::plan::order::{Waits, waits};
use landfall::core::plan::workload::call::WorkloadCall;
use landfall::core::plan::{Call, Cause, Group, Plan, ServerPlan};
use proptest::prelude::*;

use super::properties::{attachments, worlds};
use super::workloads::{DESTINATION, declare, perform, settle, world};
use crate::support::scenario::{Scenario, application, container, destination, edge, key, network};
use crate::support::simulator;

const APPLICATIONS: usize = 5;

/// An application: how many replicas, of which version, and on which of those before it it depends.
type Sketch = (u32, u8, BTreeSet<usize>);

fn manifests<'a>(applications: impl IntoIterator<Item = (usize, &'a Sketch)>) -> String {
    let applications: Vec<_> = applications.into_iter().collect();
    let there: Vec<usize> = applications.iter().map(|(number, _)| *number).collect();
    let one = |(number, (replicas, version, needs)): &(usize, &Sketch)| {
        let needs: Vec<String> = needs
            .iter()
            .filter(|it| *it < number && there.contains(it))
            .map(|it| format!("Application/app-{it}"))
            .collect();
        format!(
            "---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: app-{number}, namespace: shop }}\nspec: {{ destination: web, image: 'app:{version}', replicas: {replicas}, dependsOn: [{}] }}\n",
            needs.join(", ")
        )
    };
    DESTINATION.to_owned() + &applications.iter().map(one).collect::<String>()
}

/// Applications with what becomes of each: it stays, its version changes, it is deleted, or no manifest declares it any more.
fn managed() -> impl Strategy<Value = Scenario> {
    let sketch = || (1..4u32, 1..3u8, prop::collection::btree_set(0..APPLICATIONS, 0..3));
    let fate =
        (prop::option::weighted(0.8, sketch()), prop::option::weighted(0.7, sketch()), prop::bool::weighted(0.4));
    prop::collection::vec(fate, APPLICATIONS).prop_map(|fates| {
        let before = fates.iter().enumerate().filter_map(|(at, (before, ..))| Some((at, before.as_ref()?)));
        let mut scenario = world(&manifests(before));
        settle(&mut scenario);
        let after = fates.iter().enumerate().filter_map(|(at, (_, after, _))| Some((at, after.as_ref()?)));
        declare(&mut scenario, &manifests(after));
        scenario = scenario.prune().allow_mass_delete();
        for at in
            fates.iter().enumerate().filter(|(_, (_, after, deleted))| after.is_some() && *deleted).map(|(at, _)| at)
        {
            scenario = scenario.delete(Kind::Application, &format!("shop/app-{at}"));
        }
        scenario
    })
}

/// One of the orders that the waits allow.
fn shuffled(groups: &[Group], choices: &[usize]) -> Vec<Group> {
    let waits = waits(groups);
    let mut done: BTreeSet<usize> = BTreeSet::new();
    let mut choices = choices.iter().cycle();
    let mut order = Vec::new();
    while done.len() < groups.len() {
        let is_free = |Waits { first, others, .. }: &Waits| {
            (0..*first).chain(others.iter().copied()).all(|at| done.contains(&at))
        };
        let free: Vec<usize> = (0..groups.len()).filter(|at| !done.contains(at) && is_free(&waits[*at])).collect();
        assert!(!free.is_empty(), "groups wait for each other: {waits:?}");
        let next = free[choices.next().unwrap() % free.len()];
        done.insert(next);
        order.push(groups[next].clone());
    }
    order
}

fn in_another_order(plan: &Plan, choices: &[usize]) -> Vec<ServerPlan> {
    let shuffled = |server: &ServerPlan| ServerPlan { groups: shuffled(&server.groups, choices), ..server.clone() };
    plan.servers.iter().map(shuffled).collect()
}

type Look = (Vec<String>, Vec<String>, BTreeMap<(String, String), String>);

/// Networks, containers and who is on which, without ids.
fn look(observed: &Observations) -> Look {
    let state = observed[&edge()].as_ref().unwrap();
    let mut networks: Vec<String> = state.networks.iter().map(|it| format!("{} {:?}", it.name, it.options)).collect();
    let mut containers: Vec<String> =
        state.containers.iter().map(|it| format!("{} {} {}", it.name, it.image, it.state.as_str())).collect();
    networks.sort();
    containers.sort();
    let on = attachments(state).into_iter().map(|(at, mut settings)| {
        // The beginning of an id.
        settings.aliases.retain(|alias| alias.len() != 12 || !alias.chars().all(|digit| digit.is_ascii_hexdigit()));
        let addresses = (settings.ipv4_address, settings.ipv6_address, settings.aliases);
        (at, format!("{addresses:?}"))
    });
    (networks, containers, on.collect())
}

/// Whether `later` comes to wait for `earlier`, directly or through others.
fn is_path(waits: &[Waits], earlier: usize, later: usize) -> bool {
    let mut seen = BTreeSet::from([later]);
    let mut open = vec![later];
    while let Some(at) = open.pop() {
        for before in (0..waits[at].first).chain(waits[at].others.iter().copied()) {
            if before == earlier {
                return true;
            }
            if seen.insert(before) {
                open.push(before);
            }
        }
    }
    false
}

fn calls(group: &Group) -> impl Iterator<Item = &Call> {
    group.operations.iter().map(|operation| &operation.call)
}

fn containers_of(group: &Group) -> BTreeSet<&ContainerId> {
    calls(group).filter_map(|call| call.container_target()).map(|it| &it.id).collect()
}

/// Why the two must not change places, in words of what they do.
fn conflict(earlier: &Group, later: &Group) -> Option<&'static str> {
    let networks = |group: &Group| {
        calls(group).any(|call| {
            matches!(
                call,
                Call::CreateNetwork(_)
                    | Call::ConnectEndpoint { .. }
                    | Call::DisconnectEndpoint { .. }
                    | Call::RemoveNetwork { .. }
            )
        })
    };
    let goes = |group: &Group| {
        group.is_of_workload()
            && group.operations.iter().all(|it| matches!(it.cause, Cause::DeletionRequested | Cause::Undeclared))
    };
    let removes_network = |group: &Group| calls(group).any(|call| matches!(call, Call::RemoveNetwork { .. }));
    if !containers_of(earlier).is_disjoint(&containers_of(later)) {
        return Some("they change one container");
    }
    if networks(earlier) && networks(later) {
        return Some("both change networks");
    }
    if networks(earlier) && later.is_of_workload() {
        return Some("repairs go before rollouts");
    }
    if goes(earlier) && removes_network(later) {
        return Some("what is on a network goes before it");
    }
    if goes(later) && earlier.is_of_workload() && !goes(earlier) {
        return Some("what may serve in its place comes before it goes");
    }
    if earlier.is_of_workload() && later.is_of_workload() {
        if earlier.object == later.object && !(goes(earlier) && goes(later)) {
            return Some("one goes on with the other");
        }
        let after = calls(later).filter_map(|call| match call {
            Call::Workload(call) => Some(call.after()),
            _ => None,
        });
        if after.flatten().chain(&later.after).any(|it| *it == earlier.object) {
            return Some("one depends on the other");
        }
    }
    None
}

fn unordered(plan: &Plan) -> Option<String> {
    for server in &plan.servers {
        let waits = waits(&server.groups);
        for (second, later) in server.groups.iter().enumerate() {
            for (first, earlier) in server.groups[..second].iter().enumerate() {
                if let Some(why) = conflict(earlier, later).filter(|_| !is_path(&waits, first, second)) {
                    return Some(format!("{second} does not wait for {first}, and {why}:\n{plan}"));
                }
            }
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn any_order_that_the_waits_allow_ends_in_the_same_world(world in worlds(), choices in prop::collection::vec(0..64usize, 8)) {
        let plan = world.plan();
        let mut undisturbed = world.clone();
        undisturbed.apply();
        let mut other = world.observed.clone();
        for server in in_another_order(&plan, &choices) {
            simulator::apply(&mut other, &server);
        }
        prop_assert_eq!(look(&other), look(&undisturbed.observed), "{}", plan);
        let unordered = unordered(&plan);
        prop_assert!(unordered.is_none(), "{}", unordered.unwrap_or_default());
    }

    #[test]
    fn managed_resources_end_the_same_in_any_order_that_the_waits_allow(scenario in managed(), choices in prop::collection::vec(0..64usize, 8)) {
        let plan = scenario.plan();
        let unordered = unordered(&plan);
        prop_assert!(unordered.is_none(), "{}", unordered.unwrap_or_default());
        let carried_out = |servers: &[ServerPlan]| {
            let mut scenario = scenario.clone();
            for group in servers.iter().flat_map(|it| &it.groups) {
                assert_eq!(perform(&mut scenario, group, &mut usize::MAX.clone(), &mut |_| {}), Some(true));
            }
            look(&scenario.observed)
        };
        prop_assert_eq!(carried_out(&in_another_order(&plan, &choices)), carried_out(&plan.servers), "{}", plan);
    }
}

fn apps(needs: &[&[usize]]) -> Vec<Sketch> {
    needs.iter().map(|needs| (1, 1, needs.iter().copied().collect())).collect()
}

/// The groups of the only server, by the application, with the applications that each waits for.
fn who_waits(plan: &Plan) -> Vec<(String, Vec<String>)> {
    let [server] = plan.servers.as_slice() else { panic!("{plan}") };
    let name = |at: usize| server.groups[at].object.name.to_string();
    let all = waits(&server.groups);
    let waits = |at: usize| (0..at).filter(|before| is_path(&all, *before, at)).map(name).collect();
    (0..server.groups.len()).map(|at| (name(at), waits(at))).collect()
}

fn waits_of(expected: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let text = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
    expected.iter().map(|(name, waits)| ((*name).to_owned(), text(waits))).collect()
}

/// 0 is a database, say; 1 and 2 depend on it, 3 on 2, and 4 on nothing.
fn shop() -> (Scenario, Vec<Sketch>) {
    let sketches = apps(&[&[], &[0], &[0], &[2], &[]]);
    let mut shop = world(&manifests(sketches.iter().enumerate()));
    settle(&mut shop);
    (shop, sketches)
}

const LEAVING: &[(&str, &[&str])] =
    &[("app-3", &[]), ("app-1", &[]), ("app-2", &["app-3"]), ("app-0", &["app-3", "app-1", "app-2"]), ("app-4", &[])];

#[test]
fn what_is_deleted_goes_before_what_it_depends_on_and_waits_for_nothing_else() {
    let (mut shop, sketches) = shop();
    for at in 0..sketches.len() {
        shop = shop.delete(Kind::Application, &format!("shop/app-{at}"));
    }
    assert_eq!(who_waits(&shop.allow_mass_delete().plan()), waits_of(LEAVING));
}

#[test]
fn what_is_pruned_goes_in_the_order_that_its_manifests_said_when_it_was_made() {
    let (mut shop, _) = shop();
    declare(&mut shop, DESTINATION);
    assert_eq!(who_waits(&shop.prune().allow_mass_delete().plan()), waits_of(LEAVING));
}

#[test]
fn records_that_make_a_circle_are_no_reason_to_keep_anything() {
    let (mut shop, _) = shop();
    for container in &mut shop.state().containers {
        if container.name == "shop-app-0" {
            container.labels.insert(
                "landfall.depends-on".to_owned(),
                "Application/shop/app-3,no object,Application/shop/gone".to_owned(),
            );
        }
    }
    declare(&mut shop, DESTINATION);
    let plan = shop.prune().allow_mass_delete().plan();
    let [server] = plan.servers.as_slice() else { panic!("{plan}") };
    assert_eq!(server.groups.len(), 5);
    assert_eq!(shuffled(&server.groups, &[3, 1]).len(), 5);
}

#[test]
fn replicas_that_go_wait_for_none_of_each_other_and_those_of_a_rollout_follow_each_other() {
    let three = [(3, 1, BTreeSet::new())];
    let mut shop = world(&manifests(three.iter().enumerate()));
    let base =
        |plan: &Plan| -> Vec<usize> { waits(&plan.servers[0].groups).iter().map(|waits| waits.base.len()).collect() };
    assert_eq!(base(&shop.plan()), [0, 1, 2], "a replica follows the one before");
    settle(&mut shop);
    declare(&mut shop, DESTINATION);
    let plan = shop.prune().allow_mass_delete().plan();
    assert_eq!(base(&plan), [0, 0, 0], "{plan}");
    assert_eq!(who_waits(&plan), waits_of(&[("app-0", &[] as &[&str]); 3]));
}

#[test]
fn repairs_go_in_turn_and_stops_hold_up_none_of_them() {
    let plan = Scenario::new()
        .network(network("a-net").of("a"))
        .network(network("b-net").of("b"))
        .container(container("traefik").on("a-net").made_for("Proxy"))
        .container(container("slow").on("a-net").made_for("Application/shop/slow"))
        .container(container("slower").on("a-net").made_for("Application/shop/slow"))
        .container(container("member"))
        .destination(
            destination("a").named("a-net").deactivated().member(application("slow").containers(&["slow", "slower"])),
        )
        .destination(destination("b").named("b-net").member(application("member")))
        .plan();
    let [server] = plan.servers.as_slice() else { panic!("{plan}") };
    let all = waits(&server.groups);
    let named = |group: &Group| {
        calls(group).map(|call| format!("{} {}", call.name(), call.container().unwrap_or_default())).collect::<String>()
    };
    let names: Vec<String> = server.groups.iter().map(named).collect();
    let paths: Vec<Vec<usize>> =
        (0..names.len()).map(|at| (0..at).filter(|before| is_path(&all, *before, at)).collect()).collect();
    assert_eq!(
        names,
        [
            "DisconnectEndpoint traefik",
            "StopContainer slow",
            "StopContainer slower",
            "ConnectEndpoint traefik",
            "ConnectEndpoint member"
        ],
        "{plan}"
    );
    assert_eq!(paths, [vec![], vec![0], vec![0], vec![0], vec![0, 3]], "{plan}");
}

#[test]
fn a_network_goes_after_everything_that_leaves_it() {
    let (shop, sketches) = shop();
    let mut shop = shop.delete(Kind::Destination, "shop/web");
    for at in 0..sketches.len() {
        shop = shop.delete(Kind::Application, &format!("shop/app-{at}"));
    }
    let plan = shop.allow_mass_delete().plan();
    let [server] = plan.servers.as_slice() else { panic!("{plan}") };
    let last = server.groups.last().unwrap();
    assert_eq!(last.object, key(Kind::Destination, "shop/web"), "{plan}");
    assert!(calls(last).any(|call| matches!(call, Call::RemoveNetwork { .. })));
    assert_eq!(waits(&server.groups).last().unwrap().first, 5);
    let removes =
        |call: &Call| matches!(call, Call::Workload(call) if matches!(**call, WorkloadCall::RemoveContainer { .. }));
    assert_eq!(server.groups.iter().flat_map(calls).filter(|call| removes(call)).count(), 5);
}
