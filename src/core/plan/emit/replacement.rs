//! Replacing a network, because Docker cannot change one.
//!
//! Under its own name, or with the addresses that it has, the new one can be there only when the old one is gone: everyone off, the old one away,
//! the new one in its place, everyone on again. Under another name it is made beside the old one, and nobody leaves that before everybody is on
//! the new one. What is left of it when that is interrupted is the network of a former name, and is dealt with alike: nothing has to be written
//! down for that, since everyone is on the one or the other at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::crowd::{Change, Returning};
use super::draft::Replaced;
use super::prune::is_former;
use crate::core::desired::DesiredDestination;
use crate::core::observed::{NetworkId, ObservedContainer, ObservedNetwork};
use crate::core::plan::decide::feasible::{overlap, uncreatable};
use crate::core::plan::decide::replaceable::Why;
use crate::core::plan::decide::{addresses, settings};
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::target::NetworkCreate;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::members::Members;
use crate::core::plan::world::target::{Target, recreation};
use crate::core::plan::world::{applied, container};

/// The operations that replace a network by `create`, or why it is not replaced.
pub(crate) fn replace<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    network: &'a ObservedNetwork,
    (why, create): (Why<'_>, NetworkCreate),
    members: &Members<'a>,
    removed: &BTreeSet<&NetworkId>,
) -> Result<Replaced<'a>, Note> {
    let cause = if why.is_taken_over() { Cause::OwnershipTaken } else { Cause::NetworkReplaced };
    let made = Target { network: None, create: create.clone() };
    let change = Change { ctx, destination, network, made: &made, members, cause };
    let mut crowd = change.crowd()?;
    // Whoever an interrupted replacement has left behind comes back as well, and is not lost should this one be interrupted too.
    let target = Target { network: Some(network), create: recreation(network) };
    for (container, journals) in ctx.left_behind(destination, &target, members) {
        let Some(before) = journals.last().and_then(|journal| settings::journalled_settings(journal, &container.id))
        else {
            continue;
        };
        let after = change.settings(container, before.clone());
        let cause = Cause::JournalRestore;
        crowd.returning.push(Returning { container, before, after, cause, journals });
    }
    if create.name != network.name
        && let Some(it) = crowd.pinned_to(&create.name)
    {
        return Err(why
            .refuse(format_args!(", and {:?} is pinned to another network of that name.", it.name))
            .hint(format!("docker network disconnect {} {}", create.name, it.name)));
    }
    if let Some(note) =
        displaced(destination, &create, &crowd.returning).or_else(|| collision(destination, &crowd.returning))
    {
        return Err(note);
    }
    crowd.in_order(ctx);
    let beside = create.name != network.name
        && uncreatable(ctx, destination, &create, removed).is_none()
        && overlap(ctx, destination, removed).is_none();
    let create = NetworkCreate { replaces: why.differences.to_vec(), ..create };
    let renumbered = renumbered(destination, network, &create, &crowd.returning);
    let mut replaced = if beside { change.beside(crowd, Some(create)) } else { change.in_turn(crowd, create) };
    replaced.notes.extend(renumbered);
    Ok(replaced)
}

/// Goes on with a change of the name that was interrupted: whoever is on the network of a former name comes to be on the present one, and it goes. One
/// a pass.
pub(crate) fn succeed<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    current: &'a ObservedNetwork,
    members: &Members<'a>,
) -> Option<Result<Replaced<'a>, Note>> {
    let mut formers: Vec<&ObservedNetwork> = ctx
        .host
        .verified_of(ctx.set, &destination.key)
        .filter(|network| is_former(ctx, network, &destination.key))
        .collect();
    formers.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
    let former = formers.into_iter().next()?;
    Some(succeed_one(ctx, destination, former, current, members))
}

fn succeed_one<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    former: &'a ObservedNetwork,
    current: &'a ObservedNetwork,
    members: &Members<'a>,
) -> Result<Replaced<'a>, Note> {
    let made = Target { network: Some(current), create: recreation(current) };
    let stays = |why: String| {
        let message = format!(
            "The network {:?} was made for {}, which uses {:?} now. {why}",
            former.name, destination.key, current.name
        );
        Note::refused(Reason::ImmutableField, &destination.key, message)
    };
    let attached = ctx.host.attached(former);
    if !ctx.host.services_on(former).is_empty() || attached.iter().any(|it| container::is_task(it.container)) {
        let note = stays("Swarm services are on it, and whether they are is up to their definitions.".to_owned());
        return Err(note
            .blockers(ctx.host.blockers(former, ctx.server.proxy.as_ref()))
            .hint(format!("take them off: docker service update --network-rm {} NAME", former.name)));
    }
    let bound = ctx.host.bound_blockers(former);
    if !bound.is_empty() {
        let why = "Containers were created on it, and this Docker Engine starts none of them without it.";
        return Err(stays(why.to_owned())
            .blockers(bound)
            .hint(format!("create what is listed anew on {:?}, or remove it", current.name)));
    }
    let unlisted = ctx.host.unlisted_on(former);
    if !unlisted.is_empty() {
        let note = stays("Something between hides who is on it.".to_owned());
        return Err(note.blockers(unlisted).hint("let Landfall see what is listed, or remove it"));
    }
    let change = Change { ctx, destination, network: former, made: &made, members, cause: Cause::NetworkReplaced };
    let mut crowd = change.crowd()?;
    let stale = |it: &&ObservedContainer| {
        ctx.host.attachment(it, Some(current), &current.name).is_some_and(|attached| attached.stale)
    };
    if let Some(pinned) = crowd.returning.iter().map(|it| it.container).find(stale) {
        return Err(stays(format!("{:?} is pinned to another network of that name.", pinned.name))
            .hint(format!("docker network disconnect {} {}", current.name, pinned.name)));
    }
    if let Some(note) =
        displaced(destination, &made.create, &crowd.returning).or_else(|| collision(destination, &crowd.returning))
    {
        return Err(note);
    }
    crowd.in_order(ctx);
    Ok(change.beside(crowd, None))
}

/// The daemon chooses the range of the new network, and with it the addresses of all who are on it.
fn renumbered(
    destination: &DesiredDestination,
    network: &ObservedNetwork,
    create: &NetworkCreate,
    returning: &[Returning<'_>],
) -> Option<Note> {
    if !create.subnets.is_empty() || network.subnets.is_empty() || returning.is_empty() {
        return None;
    }
    let ranges: Vec<&str> = network.subnets.iter().map(|it| it.subnet.as_str()).collect();
    let message = format!(
        "The network {:?} has {} now, and is made anew without a declared subnet: the daemon may choose another, and the addresses of all containers on it change.",
        network.name,
        ranges.join(", ")
    );
    let kept: Vec<String> = ranges.iter().map(|range| format!("{{ subnet: {range} }}")).collect();
    let hint = format!("to keep it, declare it: `network: {{ subnets: [{}] }}`", kept.join(", "));
    Some(Note::warning(Reason::ImmutableField, &destination.key, message).hint(hint))
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
                    applied::address(text).is_some_and(|address| !ranges.iter().any(|range| range.contains(&address)))
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
