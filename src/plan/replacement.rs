//! Replacing a network, because Docker cannot change one: everyone off, the old one away, the new one in its place, everyone on again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::destination::{creation, overlap, recreation};
use super::feasible::uncreatable;
use super::host::{self, Attached};
use super::leaving::{self, Fate, Outlook};
use super::member::{self, Members};
use super::operation::{
    Call, Cause, ContainerTarget, FieldDifference, Group, Journal, JournalEndpoint, JournalPurpose, NetworkCreate,
    NetworkTarget, Note, Operation, Reason, Reserved, WithheldDisconnection,
};
use super::{Context, addresses, ownership, proxy};
use crate::api::Replacement;
use crate::desired::DesiredDestination;
use crate::observed::{ContainerId, EndpointSettings, NetworkId, ObservedContainer, ObservedNetwork};

pub(super) struct Replaced<'a> {
    pub(super) group: Group,
    /// Who the group has dealt with.
    pub(super) handled: BTreeSet<&'a ContainerId>,
    /// Who does not come back, as far as the limits of pruning count it.
    pub(super) counted: Vec<WithheldDisconnection>,
}

/// Somebody to be connected to the new network.
struct Returning<'a> {
    container: &'a ObservedContainer,
    before: EndpointSettings,
    after: EndpointSettings,
    cause: Cause,
}

impl Returning<'_> {
    fn is_static(&self) -> bool {
        addresses::is_static(&self.after)
    }
}

/// Why a network is to be replaced.
#[derive(Clone, Copy)]
pub(super) struct Why<'d> {
    /// The fields that differ, each with both values.
    pub(super) differences: &'d [FieldDifference],
    pub(super) adopted: bool,
}

/// The operations that replace `network`, or why it is not replaced.
pub(super) fn replace<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    network: &'a ObservedNetwork,
    why: Why<'_>,
    members: &Members<'a>,
    removed: &BTreeSet<&NetworkId>,
) -> Result<Replaced<'a>, Note> {
    let taken_over = why.adopted && destination.take_ownership;
    let cause = if taken_over { Cause::OwnershipTaken } else { Cause::NetworkReplaced };
    let differ = match why.differences {
        [] => format!("The network {:?} is adopted and is to be Landfall's own", network.name),
        differences => differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    };
    let refuse = |message: String| Note::refused(Reason::ImmutableField, &destination.key, message);
    if why.adopted && !taken_over {
        return Err(refuse(format!(
            "{differ}. The network is adopted, and Landfall removes none that it did not create."
        ))
        .hint(
            "change the manifest to what the network is, or have it made anew as Landfall's own: `takeOwnership: true`",
        ));
    }
    let attached: Vec<Attached<'a>> =
        ctx.host.attached(network).into_iter().filter(|attached| !host::is_going(attached.container)).collect();
    let is_proxy = |container: &ObservedContainer| host::is_proxy(container, ctx.server.proxy.as_ref());
    let blockers = ctx.host.blockers(network, ctx.server.proxy.as_ref());
    match destination.replacement {
        _ if taken_over => {}
        Replacement::Never => {
            return Err(refuse(format!("{differ}. Docker cannot change a network.")).hint(
                "change the manifest back, or allow to replace the network: `replacement: WhenEmpty` or `Reattach`",
            ));
        }
        Replacement::WhenEmpty if attached.iter().any(|attached| !is_proxy(attached.container)) => {
            return Err(refuse(format!(
                "{differ}. The network is replaced when nothing but the proxy is on it, and something is."
            ))
            .blockers(blockers)
            .hint("disconnect what is on it, or allow to reconnect it: `replacement: Reattach`"));
        }
        Replacement::WhenEmpty | Replacement::Reattach => {}
    }
    let services = !ctx.host.services_on(network).is_empty();
    if services || attached.iter().any(|attached| host::is_task(attached.container)) {
        return Err(refuse(format!(
            "{differ}. Swarm services are on the network, and whether they are is up to their definitions."
        ))
        .blockers(blockers)
        .hint(
            "declare `proxy: false` and leave the services out of the manifests until the network is replaced; what Landfall did not put there \
             goes with docker service update --network-rm",
        ));
    }
    let mut ignored = removed.clone();
    ignored.insert(&network.id);
    let mut create = creation(ctx, destination, Some(&network.name));
    if destination.network.auto {
        // It is removed before the new one is made, and nobody else is given what it had.
        create.subnets = recreation(network).subnets;
    }
    if let Some(note) = uncreatable(ctx, destination, &create, &ignored).or_else(|| overlap(ctx, destination, &ignored))
    {
        return Err(note);
    }
    if create.name != network.name && !ctx.host.networks_named(&create.name).is_empty() {
        return Err(refuse(format!("{differ}, and a network of that name exists already.")).hint("choose another name"));
    }

    let made = member::Target { network: None, create: create.clone() };
    let returns_with = |container: &ObservedContainer, mut before: EndpointSettings| {
        let reserved = addresses::reserved(ctx, &made, members, &container.id);
        addresses::let_go(&mut before, &reserved, ctx.set);
        member::returning_settings(ctx, destination, members, container, before)
    };
    let mut counted = Vec::new();
    let mut leaving: Vec<(Attached<'a>, Cause)> = Vec::new();
    let mut returning: Vec<Returning<'a>> = Vec::new();
    for it in &attached {
        let container = it.container;
        let declared = members.wanted.iter().find(|wanted| wanted.container.id == container.id);
        let marked = it.endpoint.settings.as_ref().is_some_and(|settings| ownership::is_marked(settings, ctx.set));
        let gone = if is_proxy(container) {
            (declared.is_none() && proxy::belongs(ctx, destination, marked) == Some(false))
                .then_some(Cause::ProxyUnwanted)
        } else {
            // Whoever leaves in the same plan, after somebody else has been connected, leaves the new network.
            match leaving::fate(ctx, &Outlook::default(), destination, network, members, it) {
                Fate::Leaves(departure) => {
                    counted.extend(departure.counted);
                    Some(departure.cause)
                }
                Fate::Stays | Fate::Reported(_) => None,
            }
        };
        let before =
            member::restorable(it).ok_or_else(|| member::unknown(&destination.key, container, &network.name))?;
        leaving.push((*it, gone.unwrap_or(cause)));
        if gone.is_none() {
            let after = returns_with(container, before.clone());
            returning.push(Returning { container, before, after, cause });
        }
    }
    // Whoever an interrupted replacement has left behind comes back as well, and is not lost should this one be interrupted too.
    let target = member::Target { network: Some(network), create: recreation(network) };
    let mut completes: Vec<Journal> = Vec::new();
    for (container, journals) in ctx.left_behind(destination, &target, members) {
        let Some(before) = journals.last().and_then(|journal| member::journalled_settings(journal, &container.id))
        else {
            continue;
        };
        let after = returns_with(container, before.clone());
        returning.push(Returning { container, before, after, cause: Cause::JournalRestore });
        for journal in journals {
            if !completes.contains(journal) {
                completes.push(journal.clone());
            }
        }
    }
    if create.name != network.name
        && let Some(it) =
            returning.iter().find(|it| it.container.endpoints.iter().any(|known| known.network_name == create.name))
    {
        return Err(refuse(format!(
            "{differ}, and {:?} is pinned to another network of that name.",
            it.container.name
        ))
        .hint(format!("docker network disconnect {} {}", create.name, it.container.name)));
    }
    if let Some(note) = displaced(destination, &create, &returning).or_else(|| collision(destination, &returning)) {
        return Err(note);
    }
    // Who has an address of their own first, as the others are given what is free then; and then the proxy, which serves everyone.
    returning.sort_by_key(|it| (!it.is_static(), !is_proxy(it.container), it.container.name.clone()));
    // Undone in reverse.
    leaving.sort_by_key(|(it, _)| it.endpoint.settings.as_ref().is_some_and(addresses::is_static));

    let old = NetworkTarget::existing(network);
    let new = NetworkTarget { name: create.name.clone(), id: None };
    let connect = |network: &NetworkTarget, container: &ObservedContainer, settings: &EndpointSettings| {
        let reserved = match &network.id {
            // As it was.
            Some(_) => Reserved::default(),
            None => addresses::reserved(ctx, &made, members, &container.id),
        };
        let (network, settings) = (network.clone(), settings.clone());
        Call::ConnectEndpoint { network, container: ContainerTarget::of(container), settings, reserved }
    };
    let disconnect = |network: &NetworkTarget, container: &ObservedContainer| Call::DisconnectEndpoint {
        network: network.clone(),
        container: ContainerTarget::of(container),
        force: false,
    };
    let operation = |call, cause, disruptive, undo| Operation {
        object: destination.key.clone(),
        call,
        cause,
        disruptive,
        undo: Some(undo),
    };
    let mut operations = Vec::new();
    for (it, cause) in &leaving {
        let before =
            member::restorable(it).ok_or_else(|| member::unknown(&destination.key, it.container, &network.name))?;
        let live = it.container.state.is_live();
        operations.push(operation(disconnect(&old, it.container), *cause, live, connect(&old, it.container, &before)));
    }
    operations.push(operation(
        Call::RemoveNetwork { network: old.clone() },
        cause,
        false,
        Call::CreateNetwork(recreation(network)),
    ));
    let create = NetworkCreate { replaces: why.differences.to_vec(), ..create };
    operations.push(operation(Call::CreateNetwork(create), cause, false, Call::RemoveNetwork { network: new.clone() }));
    for it in &returning {
        operations.push(operation(
            connect(&new, it.container, &it.after),
            it.cause,
            false,
            disconnect(&new, it.container),
        ));
    }
    let handled = leaving.iter().map(|(it, _)| &it.container.id).chain(returning.iter().map(|it| &it.container.id));
    Ok(Replaced {
        handled: handled.collect(),
        counted,
        group: Group {
            object: destination.key.clone(),
            operations,
            journal: Some(Journal {
                services: Vec::new(),
                server: ctx.server.key.clone(),
                destination: destination.key.clone(),
                purpose: JournalPurpose::Reattach,
                network: recreation(network),
                endpoints: returning
                    .iter()
                    .map(|it| JournalEndpoint {
                        container: ContainerTarget::of(it.container),
                        settings: it.before.clone(),
                        was_running: it.container.state.is_live(),
                    })
                    .collect(),
            }),
            completes,
            needs: Vec::new(),
        },
    })
}

/// A static address that two of them are to have.
fn collision(destination: &DesiredDestination, returning: &[Returning<'_>]) -> Option<Note> {
    let mut owners: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for it in returning {
        for address in addresses::configured(&it.after) {
            let Some(other) = owners.insert(address, &it.container.name) else { continue };
            let name = &it.container.name;
            let message =
                format!("The network is not replaced: {other:?} and {name:?} would both have the address {address}.");
            return Some(
                Note::refused(Reason::AddressTaken, &destination.key, message)
                    .hint("declare another address, or reconnect the one that people gave it to without it"),
            );
        }
    }
    None
}

/// Static addresses that the new network will not have.
fn displaced(destination: &DesiredDestination, create: &NetworkCreate, returning: &[Returning<'_>]) -> Option<Note> {
    let ranges: Vec<IpNet> = create.subnets.iter().filter_map(|it| it.subnet.parse().ok()).collect();
    let lost: Vec<String> = returning
        .iter()
        .flat_map(|it| {
            [&it.after.ipv4_address, &it.after.ipv6_address]
                .into_iter()
                .flatten()
                .filter(|text| {
                    member::address(text).is_some_and(|address| !ranges.iter().any(|range| range.contains(&address)))
                })
                .map(|address| format!("{address} of {:?}", it.container.name))
        })
        .collect();
    (!lost.is_empty()).then(|| {
        Note::refused(
            Reason::AddressUnavailable,
            &destination.key,
            format!(
                "The network is not replaced: static addresses would be outside of its declared subnets: {}.",
                lost.join(", ")
            ),
        )
        .hint("declare the subnets and, for its members, `endpoint.ipv4Address`")
    })
}
