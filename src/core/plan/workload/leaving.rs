//! Containers of resources that are not declared any more, or that are to be deleted.

use std::collections::BTreeMap;

use crate::core::api::ObjectKey;
use crate::core::observed::{ObservedContainer, ObservedService};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::{ContainerTarget, ServiceTarget};
use crate::core::plan::document::workload_call::{ContainerRef, ServiceRef, WorkloadCall};
use crate::core::plan::workload::on_swarm::rollout;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::ownership;
use crate::core::plan::world::predecessors::{self, is_left_alone, takes_the_place_of};
use crate::core::plan::world::service::{identity_of_service, is_of_own_stack};
use crate::core::workload::identity::{self, Identity};

/// Containers that the set runs on this server for resources that no longer are on their destinations, each with what becomes of it.
pub(crate) fn leaving(ctx: &Context<'_>) -> (Vec<Group>, Vec<Note>) {
    let (mut groups, mut notes) = (Vec::new(), Vec::new());
    let mut containers: Vec<&ObservedContainer> = ctx.host.state.containers.iter().collect();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    for container in containers {
        let identity = ctx.host.identities.get(container);
        let Some(identity) = identity.filter(|it| it.set == ctx.set && !is_declared(ctx, it, container)) else {
            continue;
        };
        if is_left_alone(ctx, identity) {
            continue;
        }
        if !ctx.is_deleted(&identity.object)
            && let Some((source, hint)) = other_source(ctx, container)
        {
            let message = format!(
                "The container {:?} of {} was made from {source}, and is left alone.",
                container.name, identity.object
            );
            notes.push(Note::unmanaged(Reason::OwnershipConflict, &identity.object, message).hint(hint));
            continue;
        }
        let cause = cause_of_leaving(ctx, identity);
        if cause.is_some()
            && let Some(note) = unsaved(ctx, &identity.object, [container])
        {
            if !notes.contains(&note) {
                notes.push(note);
            }
            continue;
        }
        match cause {
            Some(cause) => groups.push(remove(ctx, container, identity, cause)),
            // The note on what is withheld names it.
            None if ctx.withheld => {}
            None => notes.push(
                Note::unmanaged(
                    Reason::Undeclared,
                    &identity.object,
                    format!(
                        "No manifest declares {} any more, and its container {:?} exists.",
                        identity.object, container.name
                    ),
                )
                .hint(what_prune_does(unsaved(ctx, &identity.object, [container]), "stops and removes it")),
            ),
        }
    }
    services(ctx, &mut groups, &mut notes);
    groups.extend(left_secrets(ctx));
    (groups, notes)
}

/// Of something that is left over, given why it is not removed without a backup.
pub(crate) fn what_prune_does(unsaved: Option<Note>, does: &str) -> String {
    match unsaved {
        Some(_) => {
            format!("`--prune` makes the backup that `backup.beforeDelete` asks for, then {does}; its volumes stay")
        }
        None => format!("`--prune` {does}; its volumes stay"),
    }
}

/// It is removed only after a backup, and nobody says that there is one.
pub(crate) fn unsaved<'c>(
    ctx: &Context<'_>,
    object: &ObjectKey,
    containers: impl IntoIterator<Item = &'c ObservedContainer>,
) -> Option<Note> {
    unsaved_with(ctx, object, containers.into_iter().map(|it| &it.labels))
}

/// The same, of whatever carries these labels.
pub(crate) fn unsaved_with<'c>(
    ctx: &Context<'_>,
    object: &ObjectKey,
    labels: impl IntoIterator<Item = &'c BTreeMap<String, String>>,
) -> Option<Note> {
    let members = ctx.server.destinations.iter().flat_map(|it| &it.members).filter(|it| it.resource == *object);
    let mut policies = members.map(|it| it.backup.as_ref().is_some_and(|policy| policy.spec.before_delete)).peekable();
    let guarded = match policies.peek() {
        // The manifest is there, and says it.
        Some(_) => policies.any(|guarded| guarded),
        None => {
            ctx.request.guarded.contains(object)
                || labels.into_iter().any(|it| it.contains_key(identity::BEFORE_DELETE))
        }
    };
    (guarded && !ctx.request.saved.contains(object)).then(|| {
        let message = format!("{object} is removed only after a backup (`backup.beforeDelete`), and none was made.");
        Note::refused(Reason::BackupFailed, object, message).hint(format!(
            "`landfall delete` and `landfall apply --prune` make it first; without one: landfall delete {} {}/{} --no-backup",
            object.kind.as_str().to_lowercase(),
            object.namespace,
            object.name
        ))
    })
}

/// Secrets of services that are gone: a removal was interrupted between the two.
fn left_secrets(ctx: &Context<'_>) -> Vec<Group> {
    let same = |one: &Identity, other: &Identity| {
        (&one.set, &one.object, &one.destination) == (&other.set, &other.object, &other.destination)
    };
    let served = |identity: &Identity| {
        let mut services = ctx.host.state.services.iter().filter_map(identity_of_service);
        services.any(|other| same(identity, &other))
    };
    let mut groups = Vec::new();
    for secret in &ctx.host.state.secrets {
        let own = identity::of(&secret.name, &secret.labels).filter(|it| it.set == ctx.set);
        let Some(identity) = own.filter(|it| ctx.looks_after_service(&it.destination) && !served(it)) else { continue };
        let source = secret.labels.get(ownership::SOURCE);
        let others = source.is_some_and(|source| ctx.another_source(source).is_some());
        let Some(cause) = cause_of_leaving(ctx, &identity) else { continue };
        if is_declared_service(ctx, &identity)
            || is_left_alone(ctx, &identity)
            || (others && !ctx.is_deleted(&identity.object))
        {
            continue;
        }
        let uid = secret.labels.get(identity::UID).cloned().unwrap_or_default();
        let call = WorkloadCall::RemoveSecret { name: secret.name.clone(), uid };
        let operation = Operation {
            object: identity.object.clone(),
            call: Call::Workload(Box::new(call)),
            cause,
            disruptive: false,
            undo: None,
        };
        groups.push(Group::of(operation));
    }
    groups
}

/// Services of resources that no longer are on their destinations. All managers of a Swarm list them, and one of them looks after each.
fn services(ctx: &Context<'_>, groups: &mut Vec<Group>, notes: &mut Vec<Note>) {
    let mut services: Vec<&ObservedService> = ctx.host.state.services.iter().collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    for service in services {
        let own = identity_of_service(service).filter(|it| it.set == ctx.set);
        let Some(identity) = own.filter(|it| ctx.looks_after_service(&it.destination)) else { continue };
        if is_of_own_stack(service) || is_declared_service(ctx, &identity) || is_left_alone(ctx, &identity) {
            continue;
        }
        let (name, object) = (&service.name, &identity.object);
        let source = service.labels.get(ownership::SOURCE);
        let other = source.and_then(|source| Some((source, ctx.another_source(source)?)));
        if let Some((source, hint)) = other.filter(|_| !ctx.is_deleted(object)) {
            let message = format!("The Swarm service {name:?} of {object} was made from {source}, and is left alone.");
            notes.push(Note::unmanaged(Reason::OwnershipConflict, object, message).hint(hint));
            continue;
        }
        let Some(cause) = cause_of_leaving(ctx, &identity) else {
            // The note on what is withheld names it.
            if ctx.withheld {
                continue;
            }
            let message = format!("No manifest declares {object} any more, and its Swarm service {name:?} exists.");
            let hint = what_prune_does(unsaved_with(ctx, object, [&service.labels]), "removes it");
            notes.push(Note::unmanaged(Reason::Undeclared, object, message).hint(hint));
            continue;
        };
        if let Some(note) = unsaved_with(ctx, object, [&service.labels]) {
            notes.push(note);
            continue;
        }
        let definition = service.definition.as_ref();
        let mounts = definition.into_iter().flat_map(|it| &it.config.mounts).filter(|it| !it.anonymous);
        let volumes = mounts.filter_map(|it| match &it.mount.source {
            crate::core::workload::MountSource::Volume(volume) => Some(volume.clone()),
            crate::core::workload::MountSource::Path(_) => None,
        });
        let target = ServiceRef::Existing(ServiceTarget::of(service));
        let networks = service.networks.iter().map(|network| network.target.clone()).collect();
        let remove = WorkloadCall::RemoveService { service: target, volumes: volumes.collect(), networks };
        let calls = std::iter::once(remove).chain(rollout::secrets_of(ctx, service));
        let operation = |call: WorkloadCall| Operation {
            object: object.clone(),
            disruptive: service.replicas != Some(0) && matches!(call, WorkloadCall::RemoveService { .. }),
            call: Call::Workload(Box::new(call)),
            cause,
            undo: None,
        };
        groups.push(Group::new(object, calls.map(operation).collect()));
    }
}

/// On its destination, or under another name or on another destination where its own service has not taken over yet.
fn is_declared_service(ctx: &Context<'_>, identity: &Identity) -> bool {
    let servers = ctx.input.desired.all_servers().filter(|it| it.key == ctx.server.key || ctx.is_node(&it.key));
    servers.flat_map(|server| &server.destinations).any(|destination| {
        let here = destination.key == identity.destination;
        destination.members.iter().any(|member| {
            let was = here && member.was.as_ref() == Some(&identity.object);
            let own = member.resource == identity.object;
            let moved = || own && predecessors::has_moved_to(ctx, destination, &member.resource, identity);
            (member.workload.is_some() || member.stack.is_some())
                && !ctx.is_deleted(&member.resource)
                && ((here && own) || was || moved())
        })
    })
}

/// Other manifests of the same set, which may well declare it.
fn other_source<'c>(ctx: &Context<'_>, container: &'c ObservedContainer) -> Option<(&'c String, String)> {
    let source = container.labels.get(ownership::SOURCE)?;
    Some((source, ctx.another_source(source)?))
}

/// On its destination, or under another name or on another destination where its own container has not taken over yet.
fn is_declared(ctx: &Context<'_>, identity: &Identity, container: &ObservedContainer) -> bool {
    ctx.server.destinations.iter().any(|destination| {
        let here = destination.key == identity.destination;
        destination.members.iter().any(|member| {
            member.workload.is_some()
                && !ctx.is_deleted(&member.resource)
                && ((here && member.resource == identity.object)
                    || takes_the_place_of(ctx, destination, member, container, identity))
        })
    })
}

pub(crate) fn cause_of_leaving(ctx: &Context<'_>, identity: &Identity) -> Option<Cause> {
    if ctx.is_deleted(&identity.object) {
        Some(Cause::DeletionRequested)
    } else {
        (ctx.request.prune && !ctx.request.only_delete && !ctx.withheld).then_some(Cause::Undeclared)
    }
}

fn remove(ctx: &Context<'_>, container: &ObservedContainer, identity: &Identity, cause: Cause) -> Group {
    let target = ContainerTarget::of(container);
    let operation = |call, disruptive| Operation {
        object: identity.object.clone(),
        call: Call::Workload(Box::new(call)),
        cause,
        disruptive,
        undo: None,
    };
    let mut operations = Vec::new();
    if container.state.is_live() {
        operations.push(operation(WorkloadCall::StopContainer { container: target.clone(), drain: None }, true));
    }
    let remove = WorkloadCall::RemoveContainer { container: ContainerRef::Existing(target), force: false };
    operations.push(operation(remove, false));
    if let Some(holder) = holder(ctx, container) {
        let holder = ContainerRef::Existing(ContainerTarget::of(holder));
        operations.push(operation(WorkloadCall::RemoveContainer { container: holder, force: false }, false));
    }
    Group::new(&identity.object, operations)
}

/// What holds it stopped because the resource was moved.
pub(crate) fn held_as_moved<'a>(ctx: &Context<'a>, container: &ObservedContainer) -> Option<&'a ObservedContainer> {
    let mut containers = ctx.host.state.containers.iter();
    containers
        .find(|it| it.labels.contains_key(identity::MOVED_TO) && identity::holds(&it.labels, container.id.as_str()))
}

/// The same, where it has nothing to hold after it.
fn holder<'a>(ctx: &Context<'a>, container: &ObservedContainer) -> Option<&'a ObservedContainer> {
    let holder = held_as_moved(ctx, container)?;
    let containers = &ctx.host.state.containers;
    // In the order in which they are removed.
    let last = containers.iter().filter(|it| identity::holds(&holder.labels, it.id.as_str())).max_by_key(|it| &it.name);
    last.is_some_and(|last| last.id == container.id).then_some(holder)
}
