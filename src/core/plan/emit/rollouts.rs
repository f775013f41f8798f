//! Nothing about a Swarm service is changed while a rollout of it is under way, and one update a pass.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::api::ObjectKey;
use crate::core::observed::{NodeAvailability, ObservedService, Rollout, ServiceId};
use crate::core::plan::document::call::{Call, NetworkChange};
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::cut::{Stranded, cut};
use crate::core::plan::document::note::{Note, NoteKind, Undone};
use crate::core::plan::document::plan::ServerPlan;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::{NetworkTarget, OVERLAY, ServiceTarget};
use crate::core::plan::world::context::Context;

/// Takes out whatever would change a service of which a rollout is under way: an update in the middle of it aborts it, has a rollback go to
/// a definition that never ran, and resumes one that is paused. So does a second update in the same pass.
pub(crate) fn wait_for_rollouts(ctx: &Context<'_>, plan: &mut ServerPlan) {
    let busy = |id: &ServiceId| {
        let service = ctx.host.state.services.iter().find(|service| service.id == *id)?;
        Some((service, service.rollout?))
    };
    let rollouts = |group: &Group| {
        let services = group.operations.iter().filter_map(|operation| operation.call.updated());
        services.filter_map(|service| busy(&service.id)).next()
    };
    if !plan.groups.iter().any(|group| rollouts(group).is_some()) {
        return;
    }
    let out = cut(plan, |group| rollouts(group).is_some());
    for group in &out.asked {
        let Some((service, rollout)) = rollouts(group) else { continue };
        for operation in &group.operations {
            let note = rollout_note(&operation.object, service, rollout, operation.cause);
            let undone = undone(operation, service);
            let same = |it: &&mut Note| {
                (it.kind, it.reason, &it.object, &it.message) == (note.kind, note.reason, &note.object, &note.message)
            };
            match plan.notes.iter_mut().find(same) {
                Some(known) => known.undone.extend(undone),
                None => plan.notes.push(Note { undone: undone.into_iter().collect(), ..note }),
            }
        }
    }
    let waits = |Stranded { group, creator, .. }: Stranded| {
        let message =
            format!("It is left as it is until {creator} is as declared, for which a rollout has to be over.");
        Note::waiting(Reason::RolloutInProgress, &group.object, message)
    };
    plan.notes.extend(out.stranded.into_iter().map(waits));
}

/// The network that the operation was to put the service on again.
fn undone(operation: &Operation, service: &ObservedService) -> Option<Undone> {
    let Call::UpdateService { service: target, changes } = &operation.call else { return None };
    let rollout = service.rollout_started.clone()?;
    let lacks = |change: &&NetworkChange| {
        change.attachment.is_some() && matches!(change.cause, Cause::MemberDetached | Cause::ProxyDetached)
    };
    let change = changes.iter().find(lacks)?;
    Some(Undone { service: target.clone(), network: change.network.clone(), rollout })
}

/// Nodes of a Swarm share its services, and each has a plan of its own: what is updated for one of them is not updated for another in the same
/// pass.
pub(crate) fn once_a_pass(plans: &mut [ServerPlan]) {
    let mut updating: BTreeMap<ServiceId, ObjectKey> = BTreeMap::new();
    for plan in plans {
        let elsewhere = |group: &Group| {
            let mut services = group.operations.iter().filter_map(|operation| operation.call.updated());
            services.find_map(|service| Some((service.name.clone(), updating.get(&service.id)?.path())))
        };
        let out = cut(plan, |group| elsewhere(group).is_some());
        for group in out.groups() {
            let (reason, message) = match elsewhere(group) {
                Some((service, server)) => (
                    Reason::RolloutInProgress,
                    format!("The Swarm service {service:?} is updated for {server} first: once a pass."),
                ),
                None => (Reason::RolloutInProgress, "It waits for an update of a Swarm service.".to_owned()),
            };
            let note = Note::waiting(reason, &group.object, message)
                .hint("apply again when that rollout is over; `landfall run` does so by itself");
            if !plan.notes.contains(&note) {
                plan.notes.push(note);
            }
        }
        let operations = plan.groups.iter().flat_map(|group| &group.operations);
        for service in operations.filter_map(|operation| operation.call.updated()) {
            updating.entry(service.id.clone()).or_insert_with(|| plan.server.clone());
        }
    }
}

fn rollout_note(object: &ObjectKey, service: &ObservedService, rollout: Rollout, cause: Cause) -> Note {
    let name = &service.name;
    let (what, hint) = match rollout {
        Rollout::Updating => (
            format!("A rollout of the Swarm service {name:?} is under way"),
            format!("it is done as soon as the rollout is over; how far that is: docker service ps {name}"),
        ),
        Rollout::Paused => (
            format!("The rollout of the Swarm service {name:?} is paused, and any update would resume it"),
            format!("docker service rollback {name}, or have it go on: docker service update {name}"),
        ),
        Rollout::RollbackStarted => (
            format!("The Swarm service {name:?} is being rolled back"),
            format!("it is done as soon as the rollback is over; how far that is: docker service ps {name}"),
        ),
        Rollout::RollbackPaused => (
            format!("The rollback of the Swarm service {name:?} is paused, and any update would resume it"),
            format!(
                "see what keeps its tasks from running: docker service ps --no-trunc {name}; then update the service"
            ),
        ),
    };
    // Asked for by name, it is not done; everything else is done later.
    let kind = if cause == Cause::DeletionRequested { NoteKind::Refused } else { NoteKind::Waiting };
    let message = format!("{what}: nothing about the service is changed until that is over.");
    Note::new(kind, Reason::RolloutInProgress, object, message).hint(hint)
}

/// Said before any update of a service that can be rolled back.
pub(crate) fn rollback_notes(ctx: &Context<'_>, plan: &ServerPlan) -> Vec<Note> {
    let mut seen: BTreeSet<&ServiceId> = BTreeSet::new();
    let operations = plan.groups.iter().flat_map(|group| &group.operations);
    let updates = operations.filter_map(|operation| Some((operation, operation.call.updated()?)));
    let known = |id: &ServiceId| ctx.host.state.services.iter().any(|it| it.id == *id && it.has_previous);
    let first = updates.filter(|(_, service)| known(&service.id) && seen.insert(&service.id));
    let note = |(operation, service): (&Operation, &ServiceTarget)| {
        let message = format!(
            "After the update of the Swarm service {name:?}, `docker service rollback {name}` undoes that update only, and no earlier deployment.",
            name = service.name
        );
        Note::warning(Reason::RollbackChanges, &operation.object, message)
    };
    first.map(note).collect()
}

/// Takes out whatever would connect a container to a network of the Swarm, or start one that is on such a network, while the Swarm lets none of
/// the node's onto any: the daemon tries for 20 s, in vain.
pub(crate) fn wait_for_node(ctx: &Context<'_>, plan: &mut ServerPlan) {
    let Some(node) = ctx.node().filter(|node| node.availability != NodeAvailability::Active) else { return };
    let made: BTreeSet<String> = plan.groups.iter().flat_map(|group| &group.operations).filter_map(overlay).collect();
    let of_swarm = |network: &NetworkTarget| match &network.id {
        Some(id) => id.is_of_swarm(),
        None => made.contains(&network.name),
    };
    let attaches = |operation: &Operation| match &operation.call {
        Call::ConnectEndpoint { network, .. } => of_swarm(network),
        Call::StartContainer { container } => ctx.host.container(&container.id).is_some_and(|it| {
            it.endpoints.iter().any(|endpoint| endpoint.network_id.as_ref().is_some_and(|id| id.is_of_swarm()))
        }),
        _ => false,
    };
    if !plan.groups.iter().flat_map(|group| &group.operations).any(attaches) {
        return;
    }
    let state = if node.availability == NodeAvailability::Drain { "is drained" } else { "is paused" };
    let hint = format!("on a manager: docker node update --availability active {}", node.id);
    let out = cut(plan, |group: &Group| group.operations.iter().any(attaches));
    for operation in out.asked.iter().flat_map(|group| &group.operations).filter(|operation| attaches(operation)) {
        let container = operation.call.container().unwrap_or_default();
        let what = match operation.call.network() {
            Some(network) => format!("{container:?} is not connected to {network:?}"),
            None => format!("{container:?} is not started"),
        };
        let message =
            format!("The node {} {state}, and the Swarm lets no container of it onto its networks: {what}.", node.name);
        let note = Note::refused(Reason::NodeUnavailable, &operation.object, message).hint(hint.clone());
        if !plan.notes.contains(&note) {
            plan.notes.push(note);
        }
    }
    let waits = |Stranded { group, creator, .. }: Stranded| {
        let message =
            format!("It is left as it is until {creator} is as declared, for which the node has to take part.");
        Note::waiting(Reason::NodeUnavailable, &group.object, message)
    };
    plan.notes.extend(out.stranded.into_iter().map(waits));
}

fn overlay(operation: &Operation) -> Option<String> {
    match &operation.call {
        Call::CreateNetwork(create) if create.driver == OVERLAY => Some(create.name.clone()),
        _ => None,
    }
}
