//! What holds whatever the manifests say and whatever is on the server.

use std::collections::{BTreeMap, BTreeSet};

use landfall::core::api::{Kind, Membership, Replacement};
use landfall::core::observed::{ContainerState, EndpointSettings, ObservedState};
use landfall::core::plan::{Call, Cause, DeleteMode, Plan, ownership};
use proptest::prelude::*;

use crate::support::scenario::{
    ContainerBuilder, DestinationBuilder, MemberBuilder, NetworkBuilder, Scenario, application, container, destination,
    key, network, operations,
};
use crate::support::simulator;

const DESTINATIONS: [&str; 4] = ["a", "b", "c", "d"];
const NETWORKS: [&str; 5] = ["a-net", "b-net", "c-net", "d-net", "other"];
const CONTAINERS: [&str; 6] = ["c0", "c1", "c2", "c3", "c4", "traefik"];

fn states() -> impl Strategy<Value = ContainerState> {
    prop_oneof![
        4 => Just(ContainerState::Running),
        2 => Just(ContainerState::Exited),
        1 => Just(ContainerState::Created),
        1 => Just(ContainerState::Paused),
        1 => Just(ContainerState::Removing),
    ]
}

/// Indexes of containers, an alias, an address, and whether it keeps to itself.
type Member = (BTreeSet<usize>, Option<u8>, Option<u8>, bool);

fn members() -> impl Strategy<Value = Vec<MemberBuilder>> {
    let member = (
        prop::collection::btree_set(0..CONTAINERS.len(), 1..3),
        prop::option::of(0..3u8),
        prop::option::weighted(0.2, 10..13u8),
        prop::bool::weighted(0.1),
    );
    prop::collection::vec(member, 0..3).prop_map(|members| {
        let build = |(at, (names, alias, address, apart)): (usize, Member)| {
            let names: Vec<&str> = names.into_iter().map(|name| CONTAINERS[name]).collect();
            let mut member = application(&format!("app-{at}")).containers(&names);
            if let Some(alias) = alias {
                member = member.alias(&format!("alias-{alias}"));
            }
            if let Some(address) = address {
                member = member.address(&format!("10.1.0.{address}"));
            }
            if apart { member.apart() } else { member }
        };
        members.into_iter().enumerate().map(build).collect()
    })
}

fn declared(path: &'static str, index: usize) -> impl Strategy<Value = DestinationBuilder> {
    let policies = (
        prop_oneof![Just(Replacement::Never), Just(Replacement::WhenEmpty), Just(Replacement::Reattach)],
        prop_oneof![3 => Just(Membership::Shared), 1 => Just(Membership::Exclusive)],
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.85),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    );
    let network = (prop::bool::weighted(0.9), prop::option::of(1400..1402u32), prop::option::weighted(0.4, 0..4u8));
    (policies, network, members()).prop_map(move |(policies, (named, mtu, subnet), members)| {
        let (replacement, membership, proxy, active, adopt, suspend, orphan) = policies;
        let mut built = destination(path).with(|it| {
            it.replacement = replacement;
            it.membership = membership;
            it.proxy = proxy;
            it.active = active;
            it.adopt = adopt;
            it.suspend = suspend;
            it.network.mtu = mtu;
        });
        if orphan {
            built = built.orphan();
        }
        if named {
            built = built.named(NETWORKS[index]);
        }
        if let Some(subnet) = subnet {
            // Disjoint among the destinations, as validation demands.
            built = built.subnet(&format!("10.{}.0.0/24", usize::from(subnet) * 4 + index + 1));
        }
        members.into_iter().fold(built, DestinationBuilder::member)
    })
}

fn there() -> impl Strategy<Value = Vec<NetworkBuilder>> {
    let one = (
        0..NETWORKS.len(),
        0..7u8,
        0..DESTINATIONS.len(),
        prop::option::of(1400..1402u32),
        prop::option::weighted(0.4, 1..17u8),
        prop::bool::weighted(0.1),
    );
    prop::collection::vec(one, 0..6).prop_map(|networks| {
        let build = |(name, labels, of, mtu, subnet, orphan): (usize, u8, usize, Option<u32>, Option<u8>, bool)| {
            let of = if labels < 3 && name < 4 { DESTINATIONS[name] } else { DESTINATIONS[of] };
            let mut built = network(NETWORKS[name]);
            built = match labels {
                0..=3 => built.of(of),
                4 => built.of_set("others", of),
                5 => built.labels_of(network("elsewhere").of(of)),
                _ => built,
            };
            if let Some(mtu) = mtu {
                built = built.mtu(&mtu.to_string());
            }
            if let Some(subnet) = subnet {
                built = built.subnet(&format!("10.{subnet}.0.0/24"));
            }
            if orphan { built.label("landfall.deletion-policy", "Orphan") } else { built }
        };
        networks.into_iter().map(build).collect()
    })
}

type Attachment = (usize, bool, bool, Option<u8>, Option<u8>);

/// Containers, each with indexes into whatever networks there will be.
fn containers() -> impl Strategy<Value = Vec<(usize, ContainerState, Vec<Attachment>)>> {
    let attachment = (
        0..NETWORKS.len(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.4),
        prop::option::of(0..3u8),
        prop::option::weighted(0.2, 10..13u8),
    );
    let one = (0..CONTAINERS.len(), states(), prop::collection::vec(attachment, 0..3));
    prop::collection::vec(one, 0..7)
}

fn built(
    state: &ObservedState,
    (name, status, attachments): (usize, ContainerState, Vec<Attachment>),
) -> ContainerBuilder {
    let mut built = container(CONTAINERS[name]).state(status);
    let mut seen = BTreeSet::new();
    for (network, pinned, marked, alias, address) in attachments {
        let network = NETWORKS[network];
        let exists = state.networks.iter().any(|it| it.name == network);
        if !seen.insert(network) || (!exists && !pinned && status != ContainerState::Created) {
            continue;
        }
        // A network in use cannot be removed: nobody who runs is pinned.
        built = if pinned && !status.is_live() {
            built.pinned(network)
        } else if exists {
            built.on(network)
        } else {
            continue;
        };
        if marked {
            built = built.marked();
        }
        if let Some(alias) = alias {
            built = built.alias(&format!("alias-{alias}"));
        }
        if let Some(address) = address {
            built = built.static_address(&format!("10.1.0.{address}"));
        }
    }
    built
}

pub(super) fn worlds() -> impl Strategy<Value = Scenario> {
    let destinations = (
        prop::option::weighted(0.8, declared("a", 0)),
        prop::option::weighted(0.6, declared("b", 1)),
        prop::option::weighted(0.4, declared("c", 2)),
        prop::option::weighted(0.4, declared("d", 3)),
    );
    let request = (
        prop::bool::weighted(0.5),
        prop::bool::weighted(0.5),
        prop::collection::btree_map(0..DESTINATIONS.len(), prop::bool::weighted(0.3), 0..2),
        prop::bool::weighted(0.5),
    );
    (destinations, there(), containers(), request).prop_map(|((a, b, c, d), networks, containers, request)| {
        let (prune, allow_mass_delete, delete, only_delete) = request;
        let mut world = Scenario::without_proxy().proxy("traefik");
        for network in networks {
            world = world.network(network);
        }
        for container in containers {
            let container = built(world.state(), container);
            world = world.container(container);
        }
        for destination in [a, b, c, d].into_iter().flatten() {
            world = world.destination(destination);
        }
        world.request.prune = prune;
        world.request.allow_mass_delete = allow_mass_delete;
        world.request.only_delete = only_delete && !delete.is_empty();
        for (index, forced) in delete {
            let mode = if forced { DeleteMode::Forced } else { DeleteMode::Guarded };
            world.request.delete.insert(key(Kind::Destination, DESTINATIONS[index]), mode);
        }
        world
    })
}

/// Who is on which network, and how; by names, since ids change when a network is replaced.
pub(super) fn attachments(state: &ObservedState) -> BTreeMap<(String, String), EndpointSettings> {
    state
        .containers
        .iter()
        .flat_map(|container| {
            container.endpoints.iter().map(|endpoint| {
                let mut settings = endpoint.settings.clone().unwrap();
                settings.aliases.sort();
                ((container.name.clone(), endpoint.network_name.clone()), settings)
            })
        })
        .collect()
}

/// Applies until there is nothing left to do.
fn converge(world: &mut Scenario) -> Vec<Plan> {
    let mut plans = Vec::new();
    loop {
        let planned = world.apply();
        if operations(&planned) == 0 {
            return plans;
        }
        plans.push(planned);
        assert!(plans.len() <= 6, "no end: {}", plans.iter().map(ToString::to_string).collect::<String>());
    }
}

fn is_unmanaged(world: &Scenario, network: &landfall::core::observed::ObservedNetwork) -> bool {
    let adopted = world
        .desired
        .destinations()
        .any(|(_, it)| it.adopt && it.network.name.as_deref() == Some(network.name.as_str()));
    match ownership::of(network) {
        Some(owner) => owner.set != "default",
        None => !adopted,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn every_world_converges_and_what_is_unmanaged_is_not_touched(world in worlds()) {
        let mut after = world.clone();
        let plans = converge(&mut after);
        let before = world.clone().state().clone();
        let now = after.state().clone();
        for network in before.networks.iter().filter(|it| is_unmanaged(&world, it)) {
            prop_assert!(now.networks.contains(network), "{} is gone", network.name);
            let on = |state: &ObservedState| -> Vec<_> {
                let all = state.containers.iter().map(|container| {
                    let endpoints = container.endpoints.iter().filter(|it| it.network_id.as_ref() == Some(&network.id));
                    endpoints.map(|it| it.settings.clone()).collect::<Vec<_>>()
                });
                all.collect()
            };
            prop_assert_eq!(on(&before), on(&now), "somebody joined or left {}", &network.name);
        }
        for network in before.networks.iter().filter(|it| !now.networks.contains(it)) {
            let owner = ownership::of(network).unwrap();
            prop_assert_eq!(owner.set, "default");
        }
        for (then, now) in before.containers.iter().zip(&now.containers) {
            prop_assert_eq!(&then.id, &now.id);
            let stopped = plans.iter().flat_map(|it| &it.servers).flat_map(|it| &it.groups).flat_map(|it| &it.operations)
                .any(|it| matches!(&it.call, Call::StopContainer { container } if container.id == now.id));
            let started = plans.iter().flat_map(|it| &it.servers).flat_map(|it| &it.groups).flat_map(|it| &it.operations)
                .any(|it| matches!(&it.call, Call::StartContainer { container } if container.id == now.id));
            prop_assert!(then.state == now.state || stopped || started);
        }
    }

    #[test]
    fn a_network_is_removed_only_when_nobody_is_on_it(world in worlds()) {
        // The simulated engine and the lint both look: this makes sure that deletions do occur, unforced, with the proxy and without.
        let planned = world.plan();
        let state = world.clone().state().clone();
        let is_marked = |name: &str, network: &str| {
            let container = state.container_named(name).unwrap();
            let endpoint = container.endpoints.iter().find(|it| it.network_name == network).unwrap();
            endpoint.settings.as_ref().is_some_and(|it| it.driver_opts.contains_key(ownership::SET))
        };
        for group in planned.servers.iter().flat_map(|it| &it.groups) {
            let removal = group.operations.iter().any(|it| matches!(it.call, Call::RemoveNetwork { .. }));
            let creates = group.operations.iter().any(|it| matches!(it.call, Call::CreateNetwork(_)));
            let forced = world.request.delete.get(&group.object) == Some(&DeleteMode::Forced);
            if removal && !creates && !forced {
                for operation in &group.operations {
                    let reattach = matches!(operation.cause, Cause::Undeclared | Cause::NetworkReplaced | Cause::MembershipExclusive);
                    let call = &operation.call;
                    let ours = call.container().is_none_or(|name| {
                        name == "traefik" || is_marked(name, call.network().unwrap()) || reattach
                    });
                    prop_assert!(ours, "{}", operation);
                }
            }
        }
    }

    #[test]
    fn a_crash_at_any_point_loses_nobody(world in worlds(), at in 0..40usize) {
        // With two networks made for one destination, neither of the name that it declares, whichever is left is the one.
        let twice = world.desired.destinations().any(|(_, it)| {
            let state = world.observed.values().next().unwrap().as_ref().unwrap();
            let of = |network| ownership::of(network).and_then(|owner| owner.destination);
            let former = state.networks.iter().filter(|network| it.network.name.as_ref() != Some(&network.name));
            former.filter(|network| of(network).as_ref() == Some(&it.key)).count() > 1
        });
        prop_assume!(!twice);
        // Emptied by the crash, such a network is replaced, and whoever is put back is put where the manifest says.
        let when_empty = world.desired.destinations().any(|(_, it)| {
            let state = world.observed.values().next().unwrap().as_ref().unwrap();
            let is_former = |network: &&landfall::core::observed::ObservedNetwork| {
                ownership::of(network).and_then(|owner| owner.destination).as_ref() == Some(&it.key)
                    && it.network.name.as_ref() != Some(&network.name)
            };
            it.replacement == Replacement::WhenEmpty && state.networks.iter().any(|network| is_former(&network))
        });
        prop_assume!(!when_empty);
        // A network that all have left before the crash is left over afterwards, and counts for the limits: an approval may be needed then.
        let world = world.allow_mass_delete();
        let mut undisturbed = world.clone();
        converge(&mut undisturbed);
        let mut crashed = world.clone();
        let planned = crashed.plan();
        let mut left = at;
        for group in planned.servers.iter().flat_map(|it| &it.groups) {
            if left == 0 {
                break;
            }
            let whole = left >= group.operations.len();
            for operation in group.operations.iter().take(left) {
                simulator::call(crashed.state(), &operation.call);
                left -= 1;
            }
            if !whole {
                crashed.journals.extend(group.journal.clone());
            }
        }
        let again = converge(&mut crashed);
        prop_assert_eq!(
            attachments(undisturbed.state()),
            attachments(crashed.state()),
            "planned\n{}\nand after the crash {:?}",
            planned,
            again.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
        let names = |world: &mut Scenario| world.state().networks.iter().map(|it| it.name.clone()).collect::<BTreeSet<_>>();
        prop_assert_eq!(names(&mut undisturbed), names(&mut crashed));
    }
}
