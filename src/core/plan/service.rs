//! Swarm services as proxy or members. A service is on networks by its definition, and its tasks are restarted when that changes: one update
//! of a service a pass, with everything that is to change. A second one would meet the rollout of the first and have it begin anew.
//!
//! Nodes of a Swarm share its services and its overlays, and each has a plan of its own. A service is therefore taken off a network only where
//! no destination that shares the network wants it there; otherwise two plans would undo each other's work for ever.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::applied;
use super::cut::{Stranded, cut};
use super::destination::recreation;
use super::host;
use super::leaving::{Fate, Outlook, Question, Somebody};
use super::member::{Members, Target, WantedService};
use super::operation::{
    BlockerKind, Call, Cause, Connection, Group, Journal, JournalPurpose, JournalService, NetworkChange, NetworkTarget,
    Note, NoteKind, Operation, Reason, ServerPlan, ServiceTarget, Undone,
};
use super::ownership::Mark;
use super::{Context, Draft};
use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredDestination, DesiredMember, DesiredServer, Proxy, ProxyInstance};
use crate::core::observed::{
    NetworkScope, ObservedNetwork, ObservedService, ObservedSubnet, Rollout, ServiceAttachment, ServiceId, SwarmState,
};

/// The server's proxy, where it is a service that exists.
pub(super) fn proxy<'a>(ctx: &Context<'a>) -> Option<&'a ObservedService> {
    match &ctx.server.proxy.as_ref()?.instance {
        ProxyInstance::Service(name) => ctx.host.service_named(name),
        ProxyInstance::Container(_) => None,
    }
}

pub(super) fn is_proxy(service: &ObservedService, proxy: Option<&Proxy>) -> bool {
    matches!(proxy, Some(Proxy { instance: ProxyInstance::Service(name), .. }) if service.name == *name)
}

/// Puts the service on the destination's network as declared, where it is not so, and says how many of its tasks run.
pub(super) fn attach(
    ctx: &Context<'_>,
    destination: &ObjectKey,
    target: &Target<'_>,
    wanted: &WantedService<'_>,
    detached: Cause,
    draft: &mut Draft,
) {
    let before = target.network.and_then(|network| wanted.service.attachment(network));
    let mut aliases = wanted.aliases.clone();
    aliases.extend(aliases_elsewhere(ctx, destination, target, wanted.service));
    let cause = match before {
        None => detached,
        Some(before) if applied::aliases_differ(&before.aliases, &before.driver_opts, &aliases, ctx.set) => {
            Cause::EndpointDiffers
        }
        Some(before) => {
            draft.notes.extend(lacking_tasks(wanted));
            if applied::is_own(&before.driver_opts, ctx.set) {
                draft.notes.extend(stack_file(target, wanted, &aliases));
            }
            return;
        }
    };
    if before.is_none()
        && let Some(note) = crowded(ctx, target, wanted)
    {
        draft.notes.push(note);
        return;
    }
    let mut attachment = before.cloned().unwrap_or_default();
    let ServiceAttachment { aliases: has, driver_opts } = &mut attachment;
    applied::apply_aliases(has, driver_opts, &aliases, ctx.set);
    let mark = Mark { set: ctx.set, source: ctx.source(), made_for: &wanted.made_for, name: None };
    mark.write(&mut attachment.driver_opts);
    if let Some(before) = before {
        applied::keep_found(&before.driver_opts, &mut attachment.driver_opts, ctx.set);
    }
    draft.notes.extend(stack_file(target, wanted, &aliases));
    draft.groups.push(update(wanted.object, wanted.service, target.call(), Some(attachment), cause));
}

/// `docker stack deploy` writes definitions anew, without the networks that the stack file does not name. Where it does name them, it leaves no
/// mark of Landfall's on them.
fn stack_file(target: &Target<'_>, wanted: &WantedService<'_>, aliases: &[String]) -> Option<Note> {
    let stack = wanted.service.labels.get(host::STACK_NAMESPACE)?;
    let (name, network) = (&wanted.service.name, &target.create.name);
    let short = name.strip_prefix(&format!("{stack}_")).unwrap_or(name);
    let message = format!(
        "The Swarm service {name:?} is of the stack {stack:?}: each `docker stack deploy` takes it off {network:?}, and its tasks restart twice, unless \
         the stack file names the network."
    );
    let on = if aliases.is_empty() { "{}".to_owned() } else { format!("{{ aliases: [{}] }}", aliases.join(", ")) };
    Some(Note::warning(Reason::StackFileLacks, wanted.object, message).hint(format!(
        "in the stack file: `networks: {{ {network}: {{ external: true }} }}`, and in its service {short}: `networks: {{ default: {{}}, {network}: {on} }}`"
    )))
}

/// A service is connected when its tasks run: its definition alone serves nobody.
fn lacking_tasks(wanted: &WantedService<'_>) -> Option<Note> {
    let service = wanted.service;
    let tasks = service.tasks.filter(|_| service.lacks_tasks())?;
    let name = &service.name;
    let why = match (&service.failure, service.rollout) {
        (Some(failure), _) => format!("; the latest failure: {}", failure.trim_end_matches('.')),
        (None, Some(_)) => ", and a rollout of it is under way".to_owned(),
        (None, None) => String::new(),
    };
    let message = format!("{} of {} tasks of the Swarm service {name:?} run{why}.", tasks.running, tasks.desired);
    let note = Note::waiting(Reason::TasksNotRunning, wanted.object, message);
    Some(note.hint(format!("docker service ps --no-trunc {name}")))
}

/// The network has fewer addresses left than the service takes: its tasks would be rejected, one after another, while Swarm replaces them.
fn crowded(ctx: &Context<'_>, target: &Target<'_>, wanted: &WantedService<'_>) -> Option<Note> {
    let subnets = target.network.map_or(&target.create.subnets, |network| &network.subnets);
    let capacities: Vec<u64> = subnets.iter().filter_map(capacity).collect();
    if capacities.is_empty() {
        return None;
    }
    let all = capacities.into_iter().fold(0, u64::saturating_add);
    let virtual_address = |service: &ObservedService| u64::from(!service.round_robin);
    let tasks = |service: &ObservedService| {
        service.replicas.or(service.tasks.map(|tasks| tasks.desired)).unwrap_or_default() + virtual_address(service)
    };
    let nodes = match &ctx.host.state.engine.swarm {
        SwarmState::Manager { nodes, .. } => nodes.unwrap_or(1),
        _ => 1,
    };
    let (services, containers) = target.network.map_or((0, 0), |network| {
        let services = ctx.host.services_on(network).into_iter().map(tasks).fold(0, u64::saturating_add);
        let by_hand = ctx.host.attached(network).into_iter().filter(|it| !host::is_task(it.container)).count();
        (
            services,
            (by_hand + ctx.elsewhere_on(network).iter().filter(|it| it.kind == BlockerKind::Container).count()) as u64,
        )
    });
    let service = wanted.service;
    let needs = service.most_tasks().saturating_add(virtual_address(service));
    let nodes = nodes.min(service.most_tasks().saturating_add(services).saturating_add(containers));
    let free = all.saturating_sub(services.saturating_add(containers).saturating_add(nodes));
    if needs <= free {
        return None;
    }
    let message = format!(
        "The Swarm service {:?} takes {needs} addresses ({} for its tasks while they are replaced{}), and the network {:?} has {free} left: of its {all}, \
         {} are taken and {nodes} kept for the load balancers of the nodes.",
        service.name,
        service.most_tasks(),
        if service.round_robin { "" } else { ", and a virtual one" },
        target.create.name,
        services.saturating_add(containers),
    );
    Some(
        Note::refused(Reason::AddressPoolExhausted, wanted.object, message)
            .hint("declare a larger subnet in `spec.network.subnets`, or fewer replicas"),
    )
}

/// How many addresses of a subnet there are to give, without its own three. Of IPv6 there are always enough.
fn capacity(subnet: &ObservedSubnet) -> Option<u64> {
    let range = subnet.ip_range.as_ref().unwrap_or(&subnet.subnet);
    match range.parse::<IpNet>().ok()? {
        IpNet::V4(net) => {
            let addresses = 1_u64 << (32 - net.prefix_len());
            let own = if subnet.ip_range.is_some() { 0 } else { 3 };
            Some(addresses.saturating_sub(own + subnet.aux_addresses.len() as u64))
        }
        IpNet::V6(_) => None,
    }
}

/// What takes the service off a network.
pub(super) fn detach(object: &ObjectKey, service: &ObservedService, network: &ObservedNetwork, cause: Cause) -> Group {
    update(object, service, NetworkTarget::existing(network), None, cause)
}

fn update(
    object: &ObjectKey,
    service: &ObservedService,
    network: NetworkTarget,
    attachment: Option<ServiceAttachment>,
    cause: Cause,
) -> Group {
    Group {
        object: object.clone(),
        operations: vec![operation(object, service, network, attachment, cause)],
        journal: None,
        completes: Vec::new(),
        needs: Vec::new(),
    }
}

/// A service that is scaled to zero has no task to restart.
pub(super) fn operation(
    object: &ObjectKey,
    service: &ObservedService,
    network: NetworkTarget,
    attachment: Option<ServiceAttachment>,
    cause: Cause,
) -> Operation {
    Operation {
        object: object.clone(),
        call: change(object, service, network, attachment, cause),
        cause,
        disruptive: service.replicas != Some(0),
        undo: None,
    }
}

pub(super) fn change(
    object: &ObjectKey,
    service: &ObservedService,
    network: NetworkTarget,
    attachment: Option<ServiceAttachment>,
    cause: Cause,
) -> Call {
    let change = NetworkChange { object: object.clone(), cause, network, attachment, needs: Vec::new() };
    Call::UpdateService { service: ServiceTarget::of(service), changes: vec![change] }
}

/// Whether a group does nothing but update a service's networks.
pub(super) fn is_update(group: &Group) -> bool {
    let updates = |operation: &Operation| matches!(operation.call, Call::UpdateService { .. });
    !group.operations.is_empty() && group.operations.iter().all(updates)
}

/// One group for each service, with all that is to change about it.
pub(super) fn merged(groups: Vec<Group>) -> Vec<Group> {
    let mut merged: Vec<Group> = Vec::new();
    for group in groups {
        let Group { object, operations, needs, journal, completes } = group;
        for operation in operations {
            let Call::UpdateService { service, changes: mut new } = operation.call else { continue };
            for change in &mut new {
                change.needs.extend(needs.iter().cloned());
            }
            let known =
                merged.iter_mut().flat_map(|group| &mut group.operations).find_map(|known| match &mut known.call {
                    Call::UpdateService { service: of, changes } if of.id == service.id => {
                        Some((changes, &mut known.disruptive))
                    }
                    _ => None,
                });
            match known {
                Some((changes, disruptive)) => {
                    changes.extend(new);
                    *disruptive |= operation.disruptive;
                }
                None => merged.push(Group {
                    object: object.clone(),
                    operations: vec![Operation { call: Call::UpdateService { service, changes: new }, ..operation }],
                    journal: journal.clone(),
                    completes: completes.clone(),
                    needs: Vec::new(),
                }),
            }
        }
    }
    in_order(merged)
}

/// Whoever waits for another service's connection after that service, as far as they do not wait for each other.
fn in_order(mut groups: Vec<Group>) -> Vec<Group> {
    let mut ordered = Vec::with_capacity(groups.len());
    while !groups.is_empty() {
        let makes = |group: &Group| group.operations.iter().flat_map(|it| it.call.connections()).collect::<Vec<_>>();
        let free = groups.iter().position(|group| {
            let needs = needs(group);
            let others = groups.iter().filter(|other| !std::ptr::eq(*other, group)).flat_map(makes);
            !others.into_iter().any(|made| needs.contains(&&made))
        });
        ordered.push(groups.remove(free.unwrap_or(0)));
    }
    ordered
}

/// What the group's changes wait for.
fn needs(group: &Group) -> Vec<&Connection> {
    let changes = group.operations.iter().flat_map(|operation| match &operation.call {
        Call::UpdateService { changes, .. } => changes.as_slice(),
        _ => &[],
    });
    changes.flat_map(|change| &change.needs).collect()
}

/// Groups of which some have been taken [`apart`], as one for each service again.
pub(super) fn rejoined(groups: Vec<Group>) -> Vec<Group> {
    let (mut rejoined, mut updates) = (Vec::with_capacity(groups.len()), Vec::new());
    for group in groups {
        if is_update(&group) {
            updates.push(group);
        } else {
            rejoined.append(&mut merged(std::mem::take(&mut updates)));
            rejoined.push(group);
        }
    }
    rejoined.append(&mut merged(updates));
    rejoined
}

/// Takes out whatever would change a service of which a rollout is under way: an update in the middle of it aborts it, has a rollback go to
/// a definition that never ran, and resumes one that is paused. So does a second update in the same pass.
pub(super) fn wait_for_rollouts(ctx: &Context<'_>, plan: &mut ServerPlan) {
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
pub(super) fn once_a_pass(plans: &mut [ServerPlan]) {
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
pub(super) fn rollback_notes(ctx: &Context<'_>, plan: &ServerPlan) -> Vec<Note> {
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

/// The groups as they were before they were merged.
pub(super) fn apart(groups: Vec<Group>) -> Vec<Group> {
    let split = |group: Group| {
        if !is_update(&group) {
            return vec![group];
        }
        let parts = group.operations.iter().flat_map(Operation::parts);
        let parts = parts.map(|mut operation| {
            let mut needs = group.needs.clone();
            if let Call::UpdateService { changes, .. } = &mut operation.call {
                needs.extend(changes.iter_mut().flat_map(|change| change.needs.drain(..)));
            }
            Group { object: operation.object.clone(), operations: vec![operation], needs, ..group.clone() }
        });
        parts.collect()
    };
    groups.into_iter().flat_map(split).collect()
}

/// Aliases that other destinations which share the network declare for the service: it has one set of them there.
fn aliases_elsewhere(
    ctx: &Context<'_>,
    destination: &ObjectKey,
    target: &Target<'_>,
    service: &ObservedService,
) -> Vec<String> {
    let Some(network) = target.network.filter(|network| network.scope == NetworkScope::Swarm) else {
        return Vec::new();
    };
    let servers = ctx.input.desired.all_servers().filter(|server| ctx.is_node(&server.key));
    let others = servers.flat_map(|server| &server.destinations).filter(|other| {
        other.key != *destination
            && other.active
            && other.network.name.as_deref() == Some(network.name.as_str())
            && !ctx.is_deleted(&other.key)
    });
    let members = others.flat_map(|other| &other.members).filter(|member| {
        member.connect && !ctx.is_deleted(&member.resource) && member.selector.swarm_services.contains(&service.name)
    });
    members.flat_map(|member| member.endpoint.aliases.clone()).collect()
}

/// Whether another destination that shares the network has the service as its proxy or as a member.
pub(super) fn wanted_elsewhere(
    ctx: &Context<'_>,
    destination: &ObjectKey,
    network: &ObservedNetwork,
    service: &ObservedService,
) -> bool {
    let shares = |other: &DesiredDestination| {
        other.key != *destination
            && other.network.name.as_deref() == Some(network.name.as_str())
            && !ctx.is_deleted(&other.key)
    };
    let wants = |server: &DesiredServer, other: &DesiredDestination| {
        let member = |member: &DesiredMember| {
            member.connect
                && !ctx.is_deleted(&member.resource)
                && member.selector.swarm_services.contains(&service.name)
        };
        (other.active && other.proxy && is_proxy(service, server.proxy.as_ref())) || other.members.iter().any(member)
    };
    network.scope == NetworkScope::Swarm
        && ctx
            .input
            .desired
            .all_servers()
            .filter(|server| ctx.is_node(&server.key))
            .any(|server| server.destinations.iter().any(|other| shares(other) && wants(server, other)))
}

/// Services that are on the destination's network without being declared there.
pub(super) fn undeclared<'a>(
    ctx: &Context<'a>,
    outlook: &Outlook,
    destination: &'a DesiredDestination,
    network: &'a ObservedNetwork,
    members: &Members<'_>,
    draft: &mut Draft,
) {
    for service in ctx.host.services_on(network) {
        let declared = members.services.iter().any(|wanted| wanted.service.id == service.id);
        let leaving = members.leaving_services.contains(service.name.as_str());
        // What Landfall runs itself goes as a whole, or is somebody else's to speak of.
        let managed = super::workload::identity_of_service(service).is_some_and(|it| it.set == ctx.set);
        if declared
            || managed
            || leaving
            || is_proxy(service, ctx.server.proxy.as_ref())
            || wanted_elsewhere(ctx, &destination.key, network, service)
        {
            continue;
        }
        let options = service.attachment(network).map(|attachment| &attachment.driver_opts);
        let (name, on) = (&service.name, &network.name);
        if options.is_some_and(|options| applied::is_own(options, ctx.set)) {
            let who = Somebody::Service(service);
            let question =
                Question { ctx, outlook, who, options, network: Some(network), name: on, home: Some(destination) };
            match question.fate(destination, false) {
                Fate::Stays => {}
                Fate::Reported(note) => draft.notes.push(note),
                Fate::Leaves(departure) => {
                    let target = NetworkTarget::existing(network);
                    let call = change(&departure.object, service, target, None, departure.cause);
                    draft.leave(departure, call, service.replicas != Some(0));
                }
            }
        } else {
            draft.notes.push(
                Note::unmanaged(
                    Reason::MembershipForeign,
                    &destination.key,
                    format!("No resource declares the Swarm service {name:?}, which is on {on:?}."),
                )
                .hint(format!(
                    "declare it: `containers: {{ swarmServices: [{name}] }}`, or take it off: docker service update --network-rm {on} {name}"
                )),
            );
        }
    }
}

/// Takes their tasks from the services of a deactivated destination, unless they also serve one that is active.
pub(super) fn stop(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    target: &Target<'_>,
    members: &Members<'_>,
    draft: &mut Draft,
) {
    for WantedService { object, service, .. } in &members.services {
        if service.replicas == Some(0) || is_proxy(service, ctx.server.proxy.as_ref()) {
            continue;
        }
        let stays = |why: String, hint: String| Note::warning(Reason::ResourcesRemain, object, why).hint(hint);
        if let Some(active) = active_elsewhere(ctx, destination, service) {
            draft.notes.push(stays(
                format!(
                    "The Swarm service {:?} also belongs to {active}, which is active, and is left running.",
                    service.name
                ),
                format!("docker service scale {}=0, or deactivate {active} as well", service.name),
            ));
            continue;
        }
        let Some(replicas) = service.replicas else {
            draft.notes.push(stays(
                format!(
                    "{} is deactivated, and the Swarm service {:?} is global: it is left running.",
                    destination.key, service.name
                ),
                format!("docker service rm {}", service.name),
            ));
            continue;
        };
        draft.groups.push(Group {
            object: (*object).clone(),
            operations: vec![Operation {
                object: (*object).clone(),
                call: Call::ScaleService { service: ServiceTarget::of(service), replicas: 0 },
                cause: Cause::Deactivated,
                disruptive: true,
                undo: None,
            }],
            journal: Some(Journal {
                server: ctx.server.key.clone(),
                destination: destination.key.clone(),
                purpose: JournalPurpose::Deactivated,
                network: target.network.map_or_else(|| target.create.clone(), recreation),
                endpoints: Vec::new(),
                services: vec![JournalService { service: ServiceTarget::of(service), replicas }],
            }),
            completes: Vec::new(),
            needs: Vec::new(),
        });
    }
}

/// Gives a service that was left without tasks by a deactivation as many as it had. `None`: somebody has changed that meanwhile, or it is gone.
pub(super) fn resume(members: &Members<'_>, journal: &Journal, listed: &JournalService) -> Option<Group> {
    let wanted = members.services.iter().find(|wanted| wanted.service.id == listed.service.id);
    let wanted = wanted.filter(|wanted| wanted.service.replicas == Some(0))?;
    Some(Group {
        object: wanted.object.clone(),
        operations: vec![Operation {
            object: wanted.object.clone(),
            call: Call::ScaleService { service: listed.service.clone(), replicas: listed.replicas },
            cause: Cause::Activated,
            disruptive: false,
            undo: None,
        }],
        journal: None,
        completes: vec![journal.clone()],
        needs: Vec::new(),
    })
}

/// Another destination of the server, or of its Swarm, that the service serves and that is not deactivated.
fn active_elsewhere<'a>(
    ctx: &Context<'a>,
    destination: &DesiredDestination,
    service: &ObservedService,
) -> Option<&'a ObjectKey> {
    let desired = ctx.input.desired;
    let servers = desired.all_servers().filter(|server| server.key == ctx.server.key || ctx.is_node(&server.key));
    let mut others = servers.flat_map(|server| &server.destinations);
    let serves = |member: &DesiredMember| {
        !ctx.is_deleted(&member.resource) && member.selector.swarm_services.contains(&service.name)
    };
    others
        .find(|it| it.key != destination.key && it.active && !ctx.is_deleted(&it.key) && it.members.iter().any(serves))
        .map(|it| &it.key)
}

/// Docker puts the tasks of services on networks of the Swarm alone.
pub(super) fn on_bridge(object: &ObjectKey, name: &str) -> Note {
    let message = format!(
        "{name:?} is a Swarm service, and the destination is a bridge of one node, which no service can be on."
    );
    Note::refused(Reason::WrongScope, object, message)
        .hint("leave out `type: standalone` for an overlay (a destination of another name), or choose containers")
}

/// Why a task is not connected to a network itself, and what to declare instead.
pub(super) fn task_note(
    destination: &DesiredDestination,
    resource: &ObjectKey,
    task: &crate::core::observed::ObservedContainer,
) -> Note {
    let service = task.labels.get(host::SWARM_SERVICE).map_or("NAME", String::as_str);
    Note::refused(
        Reason::WrongScope,
        resource,
        format!(
            "The container {:?} is a task of a Swarm service, which decides on its networks; it is not on that of {}.",
            task.name, destination.key
        ),
    )
    .hint(format!("choose the service instead: `containers: {{ swarmServices: [{service}] }}`"))
}
