//! The order of a plan's operations as far as addresses go: members that declare one are connected before those that are given one, an address is
//! free before it is taken, and members that take addresses from each other are all disconnected before the first is connected again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::core::observed::{ContainerId, NetworkId, ObservedNetwork};
use crate::core::plan::decide::addresses::{configured, in_use, is_static};
use crate::core::plan::decide::settings;
use crate::core::plan::document::call::Call;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::{Connection, NetworkTarget, Reserved};
use crate::core::plan::world::context::Context;
use crate::core::plan::world::members::Members;
use crate::core::plan::world::target::Target;

/// Puts those who declare an address before those who are given one, and makes one group of those that take addresses from each other.
pub(crate) fn statics_first(ctx: &Context<'_>, target: &Target<'_>, members: &Members<'_>, groups: &mut Vec<Group>) {
    // A container that is started takes the address it was connected with.
    let starts = |group: &Group| {
        let mut calls = group.operations.iter().map(|operation| &operation.call);
        calls.any(|call| matches!(call, Call::StartContainer { container } if members.reservations.has(&container.id)))
    };
    let claims = |group: &Group| takes(group).next().is_some() || starts(group);
    if !groups.iter().any(claims) {
        return;
    }
    if let Some(network) = target.network {
        join(groups, &holders(ctx, network));
    }
    groups.sort_by_key(|group| {
        let makes = |it: &Operation| matches!(it.call, Call::CreateNetwork(_) | Call::RemoveNetwork { .. });
        if group.operations.iter().any(makes) {
            0
        } else if claims(group) {
            1
        } else {
            2
        }
    });
}

/// Where somebody is let go only after another one is connected, at the very address that he has, the two are one: off, on, and back should that fail.
pub(crate) fn hand_over(ctx: &Context<'_>, groups: &mut [Group], departures: &mut Vec<Group>) {
    departures.retain_mut(|departure| {
        let Some((leaver, network)) = departed(departure) else { return true };
        let Some(observed) = ctx.host.state.network(&network) else { return true };
        let attached = ctx.host.attached(observed);
        let Some(attached) = attached.iter().find(|it| it.container.id == leaver) else { return true };
        let held: BTreeSet<IpAddr> = in_use(attached).collect();
        let successor = groups.iter_mut().find(|group| {
            let made = group.operations.iter().flat_map(|operation| operation.call.connections());
            let needed = made
                .filter(|made| made.network.id.as_ref() == Some(&network))
                .any(|made| departure.needs.contains(&made));
            needed && takes_on(group, &network).any(|(_, ip)| held.contains(&ip))
        });
        let (Some(successor), Some(before)) = (successor, settings::restorable(attached)) else { return true };
        let undo = |call: &Call| match call {
            Call::DisconnectEndpoint { network, container, .. } => Some(Call::ConnectEndpoint {
                network: network.clone(),
                container: container.clone(),
                settings: before.clone(),
                reserved: Reserved::default(),
            }),
            _ => None,
        };
        let off =
            departure.operations.drain(..).map(|operation| Operation { undo: undo(&operation.call), ..operation });
        successor.operations.splice(0..0, off.collect::<Vec<_>>());
        let made: Vec<Connection> = successor.operations.iter().flat_map(|it| it.call.connections()).collect();
        successor.needs.extend(departure.needs.drain(..).filter(|need| !made.contains(need)));
        false
    });
}

/// Who leaves which network.
fn departed(group: &Group) -> Option<(ContainerId, NetworkId)> {
    group.operations.iter().find_map(|operation| match &operation.call {
        Call::DisconnectEndpoint { network, container, .. } => Some((container.id.clone(), network.id.clone()?)),
        _ => None,
    })
}

/// Puts a disconnection that frees an address before the connection that takes it.
pub(crate) fn free_first(ctx: &Context<'_>, groups: &mut Vec<Group>) {
    let mut taken: BTreeSet<(&NetworkId, IpAddr)> = BTreeSet::new();
    for operation in groups.iter().flat_map(|group| &group.operations) {
        if let Call::ConnectEndpoint { network: NetworkTarget { id: Some(id), .. }, settings, .. } = &operation.call {
            taken.extend(configured(settings).map(|ip| (id, ip)));
        }
    }
    let networks: BTreeSet<&NetworkId> = taken.iter().map(|(network, _)| *network).collect();
    let mut held: BTreeMap<(NetworkId, IpAddr), ContainerId> = BTreeMap::new();
    for network in networks.into_iter().filter_map(|id| ctx.host.state.network(id)) {
        let holders = holders(ctx, network).into_iter().filter(|(ip, _)| taken.contains(&(&network.id, *ip)));
        held.extend(holders.map(|(ip, container)| ((network.id.clone(), ip), container.clone())));
    }
    for ((network, ip), holder) in held {
        let leaves = groups.iter().position(|group| !returns(group) && leaves(group, &network, &holder));
        let takes = groups.iter().position(|group| {
            takes_on(group, &network).any(|(container, address)| address == ip && *container != holder)
        });
        let (Some(leaves), Some(takes)) = (leaves, takes) else { continue };
        if leaves < takes {
            continue;
        }
        if groups.get(leaves).is_some_and(|group| group.needs.is_empty()) {
            let group = groups.remove(leaves);
            groups.insert(takes, group);
        } else {
            // It waits for something itself.
            let group = groups.remove(takes);
            groups.insert(leaves, group);
        }
    }
}

/// Whether it connects a container.
fn returns(group: &Group) -> bool {
    group.operations.iter().any(|it| matches!(it.call, Call::ConnectEndpoint { .. }))
}

fn leaves(group: &Group, network: &NetworkId, who: &ContainerId) -> bool {
    group.operations.iter().any(|operation| match &operation.call {
        Call::DisconnectEndpoint { network: of, container, .. } => {
            of.id.as_ref() == Some(network) && container.id == *who
        }
        _ => false,
    })
}

fn takes_on<'g>(group: &'g Group, network: &NetworkId) -> impl Iterator<Item = (&'g ContainerId, IpAddr)> {
    let on = |operation: &&Operation| match &operation.call {
        Call::ConnectEndpoint { network: of, .. } => of.id.as_ref() == Some(network),
        _ => false,
    };
    group.operations.iter().filter(on).flat_map(taken_by)
}

/// Who has which address on the network.
fn holders<'a>(ctx: &Context<'a>, network: &ObservedNetwork) -> BTreeMap<IpAddr, &'a ContainerId> {
    let attached = ctx.host.attached(network);
    attached.iter().flat_map(|it| in_use(it).map(|ip| (ip, &it.container.id))).collect()
}

/// The static addresses with which a group connects containers.
fn takes(group: &Group) -> impl Iterator<Item = (&ContainerId, IpAddr)> {
    group.operations.iter().flat_map(taken_by)
}

fn taken_by(operation: &Operation) -> Vec<(&ContainerId, IpAddr)> {
    match &operation.call {
        Call::ConnectEndpoint { container, settings, .. } => {
            configured(settings).map(|ip| (&container.id, ip)).collect()
        }
        _ => Vec::new(),
    }
}

fn frees(group: &Group) -> impl Iterator<Item = &ContainerId> {
    group.operations.iter().filter_map(|operation| match &operation.call {
        Call::DisconnectEndpoint { container, .. } => Some(&container.id),
        _ => None,
    })
}

/// Makes one group of those that take addresses from each other: everyone concerned is off before the first is on again.
fn join(groups: &mut Vec<Group>, holders: &BTreeMap<IpAddr, &ContainerId>) {
    loop {
        let freed: BTreeMap<&ContainerId, usize> = groups
            .iter()
            .enumerate()
            .filter(|(_, group)| returns(group))
            .flat_map(|(at, group)| frees(group).map(move |container| (container, at)))
            .collect();
        let pair = groups.iter().enumerate().find_map(|(at, group)| {
            takes(group).find_map(|(container, ip)| {
                let holder = holders.get(&ip).filter(|holder| **holder != container)?;
                let other = *freed.get(holder)?;
                (other != at).then_some((at.min(other), at.max(other)))
            })
        });
        let Some((first, second)) = pair else { return };
        let second = groups.remove(second);
        if let Some(first) = groups.get_mut(first) {
            *first = joined(first.clone(), second);
        }
    }
}

fn joined(one: Group, other: Group) -> Group {
    let has_address = |call: &Call| match call {
        Call::ConnectEndpoint { settings, .. } => is_static(settings),
        _ => false,
    };
    let (mut off, mut on, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for mut operation in one.operations.into_iter().chain(other.operations) {
        match &operation.call {
            Call::DisconnectEndpoint { .. } => off.push(operation),
            Call::ConnectEndpoint { network, container, .. } => {
                let (network, container) = (network.clone(), container.clone());
                operation.undo = Some(Call::DisconnectEndpoint { network, container, force: false });
                on.push(operation);
            }
            _ => after.push(operation),
        }
    }
    // Undone in reverse: who had an address of their own gets it before the others are given one.
    off.sort_by_key(|operation| operation.undo.as_ref().is_some_and(has_address));
    on.sort_by_key(|operation| !has_address(&operation.call));
    let mut completes = one.completes;
    completes.extend(other.completes);
    let journal = match (one.journal, other.journal) {
        (Some(mut one), Some(other)) => {
            one.endpoints.extend(other.endpoints);
            Some(one)
        }
        (one, other) => one.or(other),
    };
    off.extend(on);
    off.extend(after);
    let mut needs = one.needs;
    needs.extend(other.needs);
    Group { operations: off, journal, completes, needs, ..Group::new(&one.object, Vec::new()) }
}
