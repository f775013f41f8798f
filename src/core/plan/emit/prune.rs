//! Pruning: removing what the set owns and no manifest declares, if nothing speaks against it.

use std::collections::BTreeSet;

use super::crowd::is_proxy;
use super::deletion;
use super::removal::{self, Doomed, Removal};
use crate::core::api::{DeletionPolicy, ObjectKey, Replacement};
use crate::core::desired::DesiredState;
use crate::core::observed::ObservedNetwork;
use crate::core::plan::decide::network::{Asked, Found, NetworkDecision, NetworkFacts, network as decide_network};
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::input::DeleteMode;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::located::Located;
use crate::core::plan::world::ownership;
use crate::core::plan::world::party::Outlook;

#[derive(Default)]
pub(crate) struct Pruned<'a> {
    pub(crate) removals: Vec<Removal<'a>>,
    pub(crate) notes: Vec<Note>,
}

/// The removals of networks that no manifest declares; without `--prune`, notes on them.
pub(crate) fn prune<'a>(ctx: &Context<'a>, outlook: &Outlook) -> Pruned<'a> {
    let mut pruned = Pruned::default();
    for network in &ctx.host.state.networks {
        pruned.notes.extend(copied(ctx, network));
    }
    for (network, destination) in leftovers(ctx) {
        if let Some(note) = declared_elsewhere(ctx, network, destination).or_else(|| foreign(ctx, network, destination))
        {
            pruned.notes.push(note);
            continue;
        }
        let label = ctx.host.owner(network).map(|owner| owner.deletion_policy);
        let protected =
            label.is_none_or(|policy| policy == DeletionPolicy::Orphan) || ctx.request.protected.contains(destination);
        let asked = if ctx.request.prune || protected { Asked::Absent } else { Asked::Nothing };
        let facts = NetworkFacts { protected, ..NetworkFacts::new(asked, Found::Owned) };
        match decide_network(facts) {
            NetworkDecision::Forget => {
                pruned.notes.push(deletion::orphaned(destination, network, "has the deletion policy Orphan"));
            }
            NetworkDecision::Remove => {
                let doomed = Doomed { destination, network, cause: Cause::Undeclared, mode: DeleteMode::Guarded };
                match removal::removal(ctx, outlook, doomed, Vec::new()) {
                    Ok(removal) if ctx.withheld && !removal.succeeded => {}
                    Ok(removal) => pruned.removals.push(removal),
                    Err(note) => pruned.notes.push(note),
                }
            }
            _ => {
                let message = left_over(ctx.input.desired, &ctx.server.key, destination, &network.name);
                let note = Note::unmanaged(Reason::Undeclared, destination, message);
                pruned.notes.push(note.hint("`--prune` removes it"));
            }
        }
    }
    pruned
}

/// A network that was made from other manifests of the same set, which may well declare it.
fn foreign(ctx: &Context<'_>, network: &ObservedNetwork, destination: &ObjectKey) -> Option<Note> {
    let source = network.labels.get(ownership::SOURCE)?;
    let hint = ctx.another_source(source)?;
    let message = format!("The network {:?} of {destination} was made from {source}, and is left alone.", network.name);
    Some(Note::unmanaged(Reason::OwnershipConflict, destination, message).hint(hint))
}

/// Why a network that was made for `destination` is left over: not every destination is gone because its network is.
pub fn left_over(desired: &DesiredState, server: &ObjectKey, destination: &ObjectKey, network: &str) -> String {
    match desired.destination(destination) {
        None => format!("No manifest declares {destination} any more, and its network {network:?} exists."),
        Some((on, _)) if on.key == *server => {
            format!("The network {network:?} was made for {destination}, which uses another one.")
        }
        Some((on, _)) => format!("The network {network:?} was made for {destination}, which is on {} now.", on.key),
    }
}

/// Why a network stays that was made for a destination on another server: that server may be this very engine under another name.
fn declared_elsewhere(ctx: &Context<'_>, network: &ObservedNetwork, destination: &ObjectKey) -> Option<Note> {
    let (on, _) = ctx.input.desired.destination(destination)?;
    if on.key == ctx.server.key {
        return None;
    }
    match ctx.input.observed.get(&on.key) {
        Some(Ok(other)) if other.engine.id == ctx.host.state.engine.id => Some(
            Note::warning(
                Reason::OwnershipConflict,
                destination,
                format!(
                    "{} and {} are the same Docker Engine: the network {:?} is left to {}.",
                    ctx.server.key, on.key, network.name, on.key
                ),
            )
            .hint("declare it as one server"),
        ),
        Some(Ok(_)) => None,
        Some(Err(_)) | None if ctx.request.prune => Some(
            Note::waiting(
                Reason::ServerUnreachable,
                destination,
                format!(
                    "The network {:?} was made for {destination}, which is on {} now, and {} did not answer: it stays until that does.",
                    network.name, on.key, on.key
                ),
            )
            .hint("it may be the same Docker Engine under another name"),
        ),
        Some(Err(_)) | None => None,
    }
}

/// Networks that the set verifiably owns and no declared destination of this server uses.
fn leftovers<'h, 'a>(ctx: &'h Context<'a>) -> impl Iterator<Item = (&'a ObservedNetwork, &'h ObjectKey)> {
    let located = &ctx.located;
    let used: BTreeSet<_> = located.iter().filter_map(|(_, it)| it.network()).map(|network| &network.id).collect();
    // Its name is spoken for, or it may be what a destination that could not be located is about.
    let claimed: BTreeSet<_> = located.iter().filter_map(|(it, _)| it.network.name.as_deref()).collect();
    let unclear: BTreeSet<_> =
        located.iter().filter(|(_, it)| it.network().is_none()).map(|(destination, _)| &destination.key).collect();
    ctx.host.verified(ctx.set).filter(move |(network, destination)| {
        !used.contains(&network.id)
            && !claimed.contains(network.name.as_str())
            && !unclear.contains(destination)
            && !ctx.is_deleted(destination)
            && !is_former(ctx, network, destination)
            && ctx.looks_after(network)
            && !ctx.declared_in_swarm(network, destination)
    })
}

/// Labels of the set on a network they were not made for: copied by somebody, and worth nothing.
fn copied(ctx: &Context<'_>, network: &ObservedNetwork) -> Option<Note> {
    let located = &ctx.located;
    let owner = ctx.host.owner(network).filter(|owner| owner.set == ctx.set)?;
    let destination = owner.destination.as_ref()?;
    let used = located.iter().any(|(_, it)| it.network().is_some_and(|used| used.id == network.id));
    let claimed = located.iter().any(|(it, _)| it.network.name.as_deref() == Some(network.name.as_str()));
    if ctx.host.is_verified(network) || used || claimed || !ctx.looks_after(network) {
        return None;
    }
    Some(
        Note::unmanaged(
            Reason::OwnershipConflict,
            destination,
            format!(
                "The network {:?} carries the labels of {destination}, which were not made for it: it is left alone.",
                network.name
            ),
        )
        .hint("remove the network, or create it again without these labels"),
    )
}

/// Whether the network is one that its destination had under a former name, with the leave of `replacement` to make it anew: of a change of the name
/// that was interrupted.
pub(crate) fn is_former(ctx: &Context<'_>, network: &ObservedNetwork, of: &ObjectKey) -> bool {
    let Some((destination, located)) = ctx.located.iter().find(|(it, _)| it.key == *of) else { return false };
    let Located::Owned(current) = located else { return false };
    let may_go = match destination.replacement {
        Replacement::Never => false,
        Replacement::WhenEmpty => ctx.host.attached(network).iter().all(|it| is_proxy(ctx, it.container)),
        Replacement::Reattach => true,
    };
    let foreign = network.labels.get(ownership::SOURCE).is_some_and(|source| ctx.another_source(source).is_some());
    may_go
        && !foreign
        && !destination.suspend
        && !ctx.is_deleted(of)
        && destination.network.name.as_deref() == Some(current.name.as_str())
        && current.name != network.name
        && (current.scope, &current.driver) == (network.scope, &network.driver)
        && ctx.looks_after(network)
        && !ctx.declared_in_swarm(network, of)
        && !ctx.located.iter().any(|(_, other)| other.network().is_some_and(|used| used.id == network.id))
}
