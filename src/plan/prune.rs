//! Pruning: removing what the set owns and no manifest declares, if nothing speaks against it.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::deletion::{self, Removal};
use super::destination::Located;
use super::operation::{Cause, Note, Reason, Withheld, WithheldDeletion};
use super::{Context, DeleteMode};
use crate::api::{DeletionPolicy, ObjectKey};
use crate::desired::{DesiredDestination, DesiredState};
use crate::observed::ObservedNetwork;

#[derive(Default)]
pub(super) struct Pruned<'a> {
    pub(super) removals: Vec<Removal<'a>>,
    pub(super) withheld: Option<Withheld>,
    pub(super) notes: Vec<Note>,
}

/// How many networks one pass may remove from a server on which the set owns `owned`: a fifth, and one in any case.
fn limit(owned: usize) -> usize {
    (owned / 5).max(1)
}

/// The removals of networks that no manifest declares; without `--prune`, notes on them.
pub(super) fn prune<'a>(ctx: &Context<'a>, located: &[(&'a DesiredDestination, Located<'a>)]) -> Pruned<'a> {
    let mut pruned = Pruned::default();
    for network in &ctx.host.state.networks {
        pruned.notes.extend(copied(ctx, network, located));
    }
    for (network, destination) in leftovers(ctx, located) {
        if let Some(note) = declared_elsewhere(ctx, network, destination) {
            pruned.notes.push(note);
            continue;
        }
        let protected = ctx.host.owner(network).is_none_or(|owner| owner.deletion_policy == DeletionPolicy::Orphan);
        let remembered = ctx.request.protected.contains(destination);
        if protected || remembered {
            pruned.notes.push(deletion::orphaned(destination, network, "has the deletion policy Orphan"));
        } else if !ctx.request.prune {
            pruned.notes.push(
                Note::unmanaged(
                    Reason::Undeclared,
                    destination,
                    left_over(ctx.input.desired, &ctx.server.key, destination, &network.name),
                )
                .hint("`--prune` removes it"),
            );
        } else {
            match deletion::removal(ctx, destination, network, Cause::Undeclared, DeleteMode::Guarded, Vec::new()) {
                Ok(removal) => pruned.removals.push(removal),
                Err(note) => pruned.notes.push(note),
            }
        }
    }
    let owned = ctx.host.verified(ctx.set).count();
    if pruned.removals.len() > limit(owned) && !ctx.request.allow_mass_delete {
        let withheld = withheld(ctx, &pruned.removals);
        if ctx.request.approved.contains(&withheld.fingerprint) {
            return pruned;
        }
        pruned.removals.clear();
        let names: Vec<_> =
            withheld.deletions.iter().map(|it| format!("{} ({:?})", it.destination, it.network)).collect();
        pruned.withheld = Some(withheld);
        pruned.notes.push(
            Note::refused(
                Reason::MassDeletionRefused,
                &ctx.server.key,
                format!(
                    "Pruning would remove {} of the {owned} destinations of the set {:?}, more than {}: {}.",
                    names.len(),
                    ctx.set,
                    limit(owned),
                    names.join(", ")
                ),
            )
            .hint("if that is meant: `--allow-mass-delete`; if not, look for manifests that are missing"),
        );
    }
    pruned
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

fn withheld(ctx: &Context<'_>, removals: &[Removal<'_>]) -> Withheld {
    let mut deletions: Vec<_> = removals
        .iter()
        .map(|removal| WithheldDeletion {
            destination: removal.group.object.clone(),
            network: removal.network.name.clone(),
            network_id: removal.network.id.clone(),
        })
        .collect();
    deletions.sort_by(|a, b| (&a.destination, &a.network_id).cmp(&(&b.destination, &b.network_id)));
    let mut hasher = Sha256::new();
    hasher.update(format!("{}\n{}\n", ctx.set, ctx.server.key));
    for deletion in &deletions {
        hasher.update(format!("{} {}\n", deletion.destination, deletion.network_id));
    }
    let digits = hasher.finalize();
    Withheld { fingerprint: digits.iter().take(8).map(|byte| format!("{byte:02x}")).collect(), deletions }
}

/// Networks that the set verifiably owns and no declared destination of this server uses.
fn leftovers<'h, 'a>(
    ctx: &'h Context<'a>,
    located: &'h [(&'a DesiredDestination, Located<'a>)],
) -> impl Iterator<Item = (&'a ObservedNetwork, &'h ObjectKey)> {
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
            && ctx.looks_after(network)
            && !ctx.declared_in_swarm(network, destination)
    })
}

/// Labels of the set on a network they were not made for: copied by somebody, and worth nothing.
fn copied(
    ctx: &Context<'_>,
    network: &ObservedNetwork,
    located: &[(&DesiredDestination, Located<'_>)],
) -> Option<Note> {
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
