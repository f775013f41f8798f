//! Stacks of services that are not declared any more, or that are to be deleted.

use std::collections::BTreeMap;

use super::compose::{disconnect_proxy, is_marked, of_project};
use super::leaving::{self, cause_of_leaving, held_as_moved};
use crate::core::api::ObjectKey;
use crate::core::desired::DesiredMember;
use crate::core::observed::{ObservedContainer, ObservedNetwork};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::ContainerTarget;
use crate::core::plan::document::workload_call::{ContainerRef, WorkloadCall};
use crate::core::plan::world::context::{self, Context};
use crate::core::plan::world::ownership;
use crate::core::plan::world::predecessors::is_left_alone;
use crate::core::workload::identity::Identity;
use crate::core::workload::stack::{self, Owner};

/// Stacks that the set has brought up on this server for resources that no longer are on their destinations, each with what becomes of it.
pub(crate) fn leaving(ctx: &Context<'_>) -> (Vec<Group>, Vec<Note>) {
    let (mut groups, mut notes) = (Vec::new(), Vec::new());
    let mut stacks: BTreeMap<String, Owner> = BTreeMap::new();
    for container in &ctx.host.state.containers {
        if let Some(owner) = stack::owner(&container.labels).filter(|owner| owner.set == ctx.set) {
            stacks.entry(owner.project.clone()).or_insert(owner);
        }
    }
    let declared = |project: &str| {
        let members = ctx.server.destinations.iter().flat_map(|it| &it.members);
        let mut stacks = members.filter(|member| !ctx.is_deleted(&member.resource)).filter_map(|it| it.stack.as_ref());
        stacks.any(|stack| stack.project == project)
    };
    for (project, owner) in stacks.into_iter().filter(|(project, _)| !declared(project)) {
        let Owner { set, object, destination, .. } = owner;
        let identity = Identity { set, object, destination, replica: 0, uid: String::new() };
        if is_left_alone(ctx, &identity) {
            continue;
        }
        let containers = of_project(ctx, &project);
        if !ctx.is_deleted(&identity.object)
            && let Some((source, hint)) = other_source(ctx, &identity.destination)
        {
            let message = format!(
                "The stack {project:?} of {} was brought up from {source}, and is left alone.",
                identity.object
            );
            notes.push(Note::unmanaged(Reason::OwnershipConflict, &identity.object, message).hint(hint));
            continue;
        }
        let Some(cause) = cause_of_leaving(ctx, &identity) else {
            // The note on what is withheld names it.
            if ctx.withheld {
                continue;
            }
            let message =
                format!("No manifest declares {} any more, and its stack {project:?} exists.", identity.object);
            let unsaved = leaving::unsaved(ctx, &identity.object, containers.iter().copied());
            notes.push(
                Note::unmanaged(Reason::Undeclared, &identity.object, message)
                    .hint(leaving::what_prune_does(unsaved, "stops and removes it")),
            );
            continue;
        };
        let unsaved = || leaving::unsaved(ctx, &identity.object, containers.iter().copied());
        let hindrance = removes_anothers(ctx, &project, &identity.object, &containers)
            .or_else(unsaved)
            .or_else(|| removes_a_destination(ctx, &project, &identity.object));
        if let Some(note) = hindrance {
            notes.push(note);
            continue;
        }
        groups.extend(down(ctx, &project, &identity.object, &containers, cause));
    }
    (groups, notes)
}

/// Compose removes all containers of a project, and one of them is not Landfall's.
fn removes_anothers(
    ctx: &Context<'_>,
    project: &str,
    object: &ObjectKey,
    containers: &[&ObservedContainer],
) -> Option<Note> {
    let is_own = |it: &&&ObservedContainer| stack::owner(&it.labels).is_some_and(|owner| owner.set == ctx.set);
    let other = containers.iter().find(|it| !is_own(it))?;
    let message =
        format!("Compose would remove {:?} with the stack {project:?}, and Landfall did not make it.", other.name);
    let hint = format!("remove it first, or remove the stack yourself: docker compose -p {project} down");
    Some(Note::refused(Reason::OwnershipConflict, object, message).hint(hint))
}

/// Compose removes the networks of a project with its containers, and one of them may be the network of a destination that stays.
fn removes_a_destination(ctx: &Context<'_>, project: &str, object: &ObjectKey) -> Option<Note> {
    let is_of_project = |network: &&ObservedNetwork| network.labels.get(stack::PROJECT).is_some_and(|of| of == project);
    let staying = ctx.located.iter().filter(|(destination, _)| !ctx.is_deleted(&destination.key));
    let (destination, network) = staying
        .filter_map(|(destination, located)| Some((&destination.key, located.network().filter(is_of_project)?)))
        .next()?;
    let message = format!(
        "Compose would remove the network {:?} with the stack {project:?}, and {destination} declares it.",
        network.name
    );
    let hint = format!(
        "delete {destination} as well; to keep the network, remove the containers yourself: docker compose -p {project} rm --stop --force"
    );
    Some(Note::refused(Reason::OwnershipConflict, object, message).hint(hint))
}

/// The manifests that the destination's network was made from, where those are not ours.
pub(crate) fn other_source(ctx: &Context<'_>, destination: &ObjectKey) -> Option<(String, String)> {
    let network = ctx.host.verified_of(ctx.set, destination).next()?;
    let source = network.labels.get(ownership::SOURCE)?;
    Some((source.clone(), ctx.another_source(source)?))
}

fn down(
    ctx: &Context<'_>,
    project: &str,
    object: &ObjectKey,
    containers: &[&ObservedContainer],
    cause: Cause,
) -> Vec<Group> {
    let mut groups = Vec::new();
    // A network that the proxy is on cannot be removed.
    if let Some(proxy) = context::container(ctx) {
        for network in
            ctx.host.state.networks.iter().filter(|it| it.labels.get(stack::PROJECT).is_some_and(|of| of == project))
        {
            let attached = ctx.host.attachment(proxy, Some(network), &network.name);
            if attached.is_some_and(|attached| is_marked(&attached, ctx.set)) {
                groups.push(disconnect_proxy(object, network, proxy));
            }
        }
    }
    let stack = containers.iter().map(|container| ContainerTarget::of(container)).collect();
    let operation = |call, disruptive| Operation {
        object: object.clone(),
        call: Call::Workload(Box::new(call)),
        cause,
        disruptive,
        undo: None,
    };
    let is_live = containers.iter().any(|container| container.state.is_live());
    let mut operations = vec![operation(WorkloadCall::ComposeDown { project: project.to_owned(), stack }, is_live)];
    // What has held it stopped since it was moved has nothing to hold any more.
    let mut holders: Vec<_> = containers.iter().filter_map(|it| held_as_moved(ctx, it)).collect();
    holders.sort_by(|one, other| one.id.cmp(&other.id));
    holders.dedup_by(|one, other| one.id == other.id);
    for holder in holders {
        let container = ContainerRef::Existing(ContainerTarget::of(holder));
        operations.push(operation(WorkloadCall::RemoveContainer { container, force: false }, false));
    }
    groups.push(Group::new(object, operations));
    groups
}

/// Whether the network is one that a declared stack has for itself: nobody's record is needed to put somebody back on it.
pub(crate) fn is_of_stack(
    members: impl Iterator<Item = impl std::borrow::Borrow<DesiredMember>>,
    network: &str,
) -> bool {
    let mut members = members;
    members.any(|member| {
        let made = member.borrow().stack.as_ref().and_then(|stack| stack.made.as_ref().ok());
        made.is_some_and(|made| made.networks.values().any(|it| it.name == network))
    })
}
