//! Swarm services on a destination's network. A service is on networks by its definition, and its tasks are restarted when that changes.

use ipnet::IpNet;

use super::draft::Draft;
use crate::core::api::ObjectKey;
use crate::core::observed::{ObservedNetwork, ObservedService, ObservedSubnet, ServiceAttachment, SwarmState};
use crate::core::plan::decide::seat::{self, Now, SeatDecision, SeatFacts, Wish};
use crate::core::plan::document::call::{Call, NetworkChange};
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::{BlockerKind, Note};
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::{NetworkTarget, ServiceTarget};
use crate::core::plan::world::context::Context;
use crate::core::plan::world::elsewhere::aliases_elsewhere;
use crate::core::plan::world::ownership::Mark;
use crate::core::plan::world::service::is_of_own_stack;
use crate::core::plan::world::target::{Target, WantedService};
use crate::core::plan::world::{applied, container};

/// Puts the service on the destination's network as declared, where it is not so, and says how many of its tasks run.
pub(crate) fn attach(
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
    let differs = before.is_some_and(|it| applied::aliases_differ(&it.aliases, &it.driver_opts, &aliases, ctx.set));
    let now = if before.is_some() { Now::On } else { Now::Off };
    let facts = SeatFacts { wish: Wish::Present(detached), now, differs, trespasses: false };
    let (SeatDecision::Attach(cause) | SeatDecision::Reattach(cause)) = seat::seat(facts) else {
        draft.notes.extend(lacking_tasks(wanted));
        if before.is_some_and(|it| applied::is_own(&it.driver_opts, ctx.set)) {
            draft.notes.extend(stack_file(target, wanted, &aliases));
        }
        return;
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
    let stack = wanted.service.labels.get(container::STACK_NAMESPACE)?;
    if is_of_own_stack(wanted.service) {
        return None;
    }
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
        let by_hand = ctx.host.attached(network).into_iter().filter(|it| !container::is_task(it.container)).count();
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
pub(crate) fn detach(object: &ObjectKey, service: &ObservedService, network: &ObservedNetwork, cause: Cause) -> Group {
    update(object, service, NetworkTarget::existing(network), None, cause)
}

fn update(
    object: &ObjectKey,
    service: &ObservedService,
    network: NetworkTarget,
    attachment: Option<ServiceAttachment>,
    cause: Cause,
) -> Group {
    Group::new(object, vec![operation(object, service, network, attachment, cause)])
}

/// A service that is scaled to zero has no task to restart.
pub(crate) fn operation(
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

pub(crate) fn change(
    object: &ObjectKey,
    service: &ObservedService,
    network: NetworkTarget,
    attachment: Option<ServiceAttachment>,
    cause: Cause,
) -> Call {
    let change = NetworkChange { object: object.clone(), cause, network, attachment, needs: Vec::new() };
    Call::UpdateService { service: ServiceTarget::of(service), changes: vec![change] }
}
