//! Stacks on a Swarm that leave: when `docker stack rm` has to run.

use std::collections::BTreeMap;

use super::stack::{group, of_stack, without_proxy};
use crate::core::api::ObjectKey;
use crate::core::observed::{ObservedNetwork, ObservedService};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::ServiceTarget;
use crate::core::plan::document::workload_call::WorkloadCall;
use crate::core::plan::workload::compose_leaving::other_source;
use crate::core::plan::workload::leaving::{cause_of_leaving, unsaved_with, what_prune_does};
use crate::core::plan::world::context::Context;
use crate::core::plan::world::predecessors::is_left_alone;
use crate::core::plan::world::service::{identity_of_service, is_of_own_stack};
use crate::core::workload::identity::Identity;
use crate::core::workload::stack_file::NAMESPACE;

/// Stacks that the set has deployed for resources that no longer are on their destinations, each with what becomes of it.
pub(crate) fn leaving(ctx: &Context<'_>) -> (Vec<Group>, Vec<Note>) {
    let (mut groups, mut notes) = (Vec::new(), Vec::new());
    let mut stacks: BTreeMap<String, Identity> = BTreeMap::new();
    for service in ctx.host.state.services.iter().filter(|it| is_of_own_stack(it)) {
        let own = identity_of_service(service).filter(|it| it.set == ctx.set);
        let Some(identity) = own.filter(|it| ctx.looks_after_service(&it.destination)) else { continue };
        if let Some(project) = service.labels.get(NAMESPACE) {
            stacks.entry(project.clone()).or_insert(identity);
        }
    }
    for (project, identity) in stacks {
        let object = &identity.object;
        if is_declared(ctx, &project, &identity) || is_left_alone(ctx, &identity) {
            continue;
        }
        if !ctx.is_deleted(object)
            && let Some((source, hint)) = other_source(ctx, &identity.destination)
        {
            let message = format!("The stack {project:?} of {object} was deployed from {source}, and is left alone.");
            notes.push(Note::unmanaged(Reason::OwnershipConflict, object, message).hint(hint));
            continue;
        }
        let Some(cause) = cause_of_leaving(ctx, &identity) else {
            // The note on what is withheld names it.
            if !ctx.withheld {
                let message = format!("No manifest declares {object} any more, and its stack {project:?} exists.");
                let labels = of_stack(ctx, &project).into_iter().map(|it| &it.labels);
                let hint = what_prune_does(unsaved_with(ctx, object, labels), "removes it");
                notes.push(Note::unmanaged(Reason::Undeclared, object, message).hint(hint));
            }
            continue;
        };
        let services = of_stack(ctx, &project);
        let others = services.iter().find(|it| identity_of_service(it).is_none_or(|it| it.set != ctx.set));
        if let Some(other) = others {
            let message = format!(
                "`docker stack rm` would remove {:?} with the stack {project:?}, and Landfall did not make it.",
                other.name
            );
            let hint = format!("remove it first, or remove the stack yourself: docker stack rm {project}");
            notes.push(Note::refused(Reason::OwnershipConflict, object, message).hint(hint));
            continue;
        }
        let labels = services.iter().map(|it| &it.labels);
        let refused = unsaved_with(ctx, object, labels).or_else(|| holds_a_destination(ctx, &project, object));
        if let Some(note) = refused {
            notes.push(note);
            continue;
        }
        groups.extend(remove(ctx, &project, object, &services, cause));
    }
    (groups, notes)
}

fn is_declared(ctx: &Context<'_>, project: &str, identity: &Identity) -> bool {
    let servers = ctx.input.desired.all_servers().filter(|it| it.key == ctx.server.key || ctx.is_node(&it.key));
    let mut members = servers
        .flat_map(|server| &server.destinations)
        .filter(|it| it.key == identity.destination)
        .flat_map(|destination| &destination.members);
    members.any(|member| {
        member.resource == identity.object
            && !ctx.is_deleted(&member.resource)
            && member.stack.as_ref().is_some_and(|stack| stack.project == project)
    })
}

/// The networks of a stack go with it, and one of them may be the network of a destination that stays.
fn holds_a_destination(ctx: &Context<'_>, project: &str, object: &ObjectKey) -> Option<Note> {
    let staying = ctx.located.iter().filter(|(destination, _)| !ctx.is_deleted(&destination.key));
    let is_of = |network: &&ObservedNetwork| network.labels.get(NAMESPACE).is_some_and(|of| of == project);
    let (destination, network) =
        staying.filter_map(|(it, located)| Some((&it.key, located.network().filter(is_of)?))).next()?;
    let message = format!(
        "`docker stack rm` would remove the network {:?} with the stack {project:?}, and {destination} declares it.",
        network.name
    );
    let hint =
        format!("delete {destination} as well; to keep the network: docker service rm the services of {project}");
    Some(Note::refused(Reason::OwnershipConflict, object, message).hint(hint))
}

fn remove(
    ctx: &Context<'_>,
    project: &str,
    object: &ObjectKey,
    services: &[&ObservedService],
    cause: Cause,
) -> Vec<Group> {
    let networks = ctx.host.state.networks.iter();
    let own = networks.filter(|it| it.labels.get(NAMESPACE).is_some_and(|of| of == project));
    // A network that the proxy is on cannot be removed.
    let mut groups: Vec<Group> = own.filter_map(|network| without_proxy(ctx, object, network)).collect();
    let call = WorkloadCall::StackRemove {
        project: project.to_owned(),
        services: services.iter().map(|it| ServiceTarget::of(it)).collect(),
        networks: services.iter().flat_map(|it| &it.networks).map(|network| network.target.clone()).collect(),
    };
    let operation = Operation {
        object: object.clone(),
        call: Call::Workload(Box::new(call)),
        cause,
        disruptive: services.iter().any(|it| it.replicas != Some(0)),
        undo: None,
    };
    groups.push(group(object, vec![operation]));
    groups
}
