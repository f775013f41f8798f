//! Pruning: removing what the set owns and no manifest declares, if nothing speaks against it.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::deletion::{self, Doomed, Removal};
use super::leaving::Outlook;
use super::operation::{
    Call, Cause, ContainerTarget, Note, Reason, Withheld, WithheldDeletion, WithheldDisconnection, WithheldRemoval,
};
use super::workload::call::{ServiceRef, WorkloadCall};
use super::workload::identity_of_service;
use super::{Context, DeleteMode, Parts, applied, ownership, replacement};
use crate::core::api::{DeletionPolicy, ObjectKey};
use crate::core::desired::DesiredState;
use crate::core::observed::{ObservedContainer, ObservedNetwork};
use crate::core::workload::stack;

#[derive(Default)]
pub(super) struct Pruned<'a> {
    pub(super) removals: Vec<Removal<'a>>,
    pub(super) notes: Vec<Note>,
}

/// The removals of networks that no manifest declares; without `--prune`, notes on them.
pub(super) fn prune<'a>(ctx: &Context<'a>, outlook: &Outlook) -> Pruned<'a> {
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
            let doomed = Doomed { destination, network, cause: Cause::Undeclared, mode: DeleteMode::Guarded };
            match deletion::removal(ctx, outlook, doomed, Vec::new()) {
                Ok(removal) if ctx.withheld && !removal.succeeded => {}
                Ok(removal) => pruned.removals.push(removal),
                Err(note) => pruned.notes.push(note),
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

/// How many of `owned` networks one pass may remove unasked: a fifth, and one in any case, but never all.
fn networks_unasked(owned: usize) -> usize {
    (owned / 5).max(1).min(owned.saturating_sub(1))
}

/// How many of `made` endpoints one pass may take off unasked: a fifth, and five in any case.
fn endpoints_unasked(made: usize) -> usize {
    (made / 5).max(5)
}

/// How many of `run` containers one pass may remove unasked: as many as endpoints.
fn containers_unasked(run: usize) -> usize {
    endpoints_unasked(run)
}

/// What pruning does not do unasked, and the note that says so.
pub(super) struct TooMuch {
    pub(super) list: Withheld,
    pub(super) note: Note,
}

/// What pruning would do beyond its limits and what nobody has agreed to. Whoever has a successor is not counted.
pub(super) fn withheld(ctx: &Context<'_>, parts: &Parts<'_>) -> Option<TooMuch> {
    let counted = parts.removals.iter().filter(|it| it.group.operations.iter().any(|it| it.cause == Cause::Undeclared));
    let removals: Vec<&Removal<'_>> = counted.clone().filter(|removal| !removal.succeeded).collect();
    let disconnections: Vec<&WithheldDisconnection> =
        counted.flat_map(|removal| &removal.counted).chain(&parts.draft.counted).collect();
    let retired = retired(parts);
    let (owned, made, run) = (owned(ctx), made(ctx), run(ctx));
    let networks = removals.len() > networks_unasked(owned);
    let endpoints = disconnections.len() > endpoints_unasked(made);
    let containers = retired.len() > containers_unasked(run);
    if ctx.request.allow_mass_delete || !(networks || endpoints || containers) {
        return None;
    }
    let list = list(ctx, &removals, &disconnections, retired);
    let agreed = ctx.request.agreed.as_ref().is_some_and(|agreed| agreed.covers(&list));
    if agreed || ctx.request.approved.contains(&list.fingerprint) {
        return None;
    }
    let mut excess = Vec::new();
    if networks {
        let names: Vec<_> = list.deletions.iter().map(|it| format!("{} ({:?})", it.destination, it.network)).collect();
        let limit = match networks_unasked(owned) {
            _ if removals.len() == owned => "which is all of them".to_owned(),
            limit => format!("more than {limit}"),
        };
        excess.push(format!(
            "remove {} of the {owned} destinations of the set {:?}, {limit}: {}",
            names.len(),
            ctx.set,
            some(&names)
        ));
    }
    if endpoints {
        let names: Vec<_> =
            list.disconnections.iter().map(|it| format!("{:?} from {:?}", it.name, it.network)).collect();
        excess.push(format!(
            "disconnect {} of the {made} endpoints of the set {:?}, more than {}: {}",
            names.len(),
            ctx.set,
            endpoints_unasked(made),
            some(&names)
        ));
    }
    if containers {
        let names: Vec<_> = list.removals.iter().map(|it| format!("{:?} of {}", it.name, it.object)).collect();
        excess.push(format!(
            "remove {} of the {run} containers that the set {:?} runs, more than {}: {}",
            names.len(),
            ctx.set,
            containers_unasked(run),
            some(&names)
        ));
    }
    let message = format!("Pruning would {}.", excess.join(", and "));
    let note = Note::refused(Reason::MassDeletionRefused, &ctx.server.key, message)
        .hint("if that is meant: `--allow-mass-delete`; if not, look for manifests that are missing");
    Some(TooMuch { list, note })
}

/// Enough to see what it is about.
const NAMED: usize = 20;

fn some(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// Networks of the set that pruning may touch at all, without those that a request names: they go in any case, and what is left decides what
/// is too much.
fn owned(ctx: &Context<'_>) -> usize {
    let ours = |network: &ObservedNetwork| {
        network.labels.get(ownership::SOURCE).is_none_or(|source| ctx.another_source(source).is_none())
    };
    ctx.host.verified(ctx.set).filter(|(network, key)| ours(network) && !ctx.is_deleted(key)).count()
}

/// Endpoints that the set has made, whatever network they are on.
fn made(ctx: &Context<'_>) -> usize {
    let containers = ctx.host.state.containers.iter().flat_map(|container| &container.endpoints);
    let settings = containers.filter_map(|endpoint| endpoint.settings.as_ref()).map(|settings| &settings.driver_opts);
    let services = ctx.host.state.services.iter().flat_map(|service| &service.networks);
    let attachments = services.map(|network| &network.attachment.driver_opts);
    settings.chain(attachments).filter(|options| applied::is_own(options, ctx.set)).count()
}

/// Containers and Swarm services that the set runs.
fn run(ctx: &Context<'_>) -> usize {
    let of_stack = |it: &ObservedContainer| stack::owner(&it.labels).is_some_and(|owner| owner.set == ctx.set);
    let of_resource =
        |it: &ObservedContainer| ctx.host.identities.get(it).is_some_and(|identity| identity.set == ctx.set);
    let services = ctx.host.state.services.iter();
    // A service counts as one, however many tasks it has, and for the server that looks after it.
    let services = services.filter(|it| {
        identity_of_service(it)
            .is_some_and(|identity| identity.set == ctx.set && ctx.looks_after_service(&identity.destination))
    });
    ctx.host.state.containers.iter().filter(|it| of_resource(it) || of_stack(it)).count() + services.count()
}

/// Containers and Swarm services that go because no manifest declares what they run.
fn retired(parts: &Parts<'_>) -> Vec<WithheldRemoval> {
    let operations = parts.retired.iter().flat_map(|group| &group.operations);
    let undeclared = operations.filter(|operation| operation.cause == Cause::Undeclared);
    let mut retired: Vec<_> = undeclared
        .flat_map(|operation| {
            let of_container = |it: &ContainerTarget| (it.name.clone(), it.id.to_string());
            let removed: Vec<(String, String)> = match &operation.call {
                Call::Workload(call) => match call.as_ref() {
                    WorkloadCall::RemoveService { service: ServiceRef::Existing(service), .. } => {
                        vec![(service.name.clone(), service.id.to_string())]
                    }
                    call => call.removed().into_iter().map(of_container).collect(),
                },
                _ => Vec::new(),
            };
            removed.into_iter().map(|(name, id)| WithheldRemoval { object: operation.object.clone(), name, id })
        })
        .collect();
    retired.sort();
    retired
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

fn list(
    ctx: &Context<'_>,
    removals: &[&Removal<'_>],
    disconnections: &[&WithheldDisconnection],
    retired: Vec<WithheldRemoval>,
) -> Withheld {
    let mut deletions: Vec<_> = removals
        .iter()
        .map(|removal| WithheldDeletion {
            destination: removal.group.object.clone(),
            network: removal.network.name.clone(),
            network_id: removal.network.id.clone(),
        })
        .collect();
    deletions.sort_by(|a, b| (&a.destination, &a.network_id).cmp(&(&b.destination, &b.network_id)));
    let mut disconnections: Vec<_> = disconnections.iter().copied().cloned().collect();
    disconnections.sort();
    let mut hasher = Sha256::new();
    hasher.update(format!("{}\n{}\n", ctx.set, ctx.server.key));
    for deletion in &deletions {
        hasher.update(format!("{} {}\n", deletion.destination, deletion.network_id));
    }
    for disconnection in &disconnections {
        hasher.update(format!("{} {} {}\n", disconnection.destination, disconnection.network_id, disconnection.id));
    }
    for removal in &retired {
        hasher.update(format!("{} {}\n", removal.object, removal.id));
    }
    let digits = hasher.finalize();
    let fingerprint = digits.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Withheld { fingerprint, declared: ctx.server.declares(), deletions, disconnections, removals: retired }
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
            && !replacement::is_former(ctx, network, destination)
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
