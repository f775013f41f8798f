//! Stopping and starting containers: with a destination's `active`, and after a repair where that is declared. Nothing else is ever started.
//!
//! What was stopped is remembered in journals, written before the container is stopped. Without them nothing is started: a container that is
//! not running may be just as somebody wants it.

use std::collections::BTreeSet;

use super::draft::Draft;
use crate::core::api::ObjectKey;
use crate::core::desired::DesiredDestination;
use crate::core::observed::{ContainerId, ContainerState, EndpointSettings, ObservedContainer};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::journal::{Journal, JournalEndpoint, JournalPurpose, JournalService};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::{ContainerTarget, ServiceTarget};
use crate::core::plan::world::context::Context;
use crate::core::plan::world::elsewhere::active_elsewhere;
use crate::core::plan::world::members::Members;
use crate::core::plan::world::party::Party;
use crate::core::plan::world::target::{Target, Wanted, recreation};
use crate::core::plan::world::{container, service};

/// Stops what belongs to a deactivated destination, containers and then services, unless it also serves one that is active.
pub(crate) fn stop(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    target: &Target<'_>,
    members: &Members<'_>,
    draft: &mut Draft,
) {
    for (resource, who) in running(ctx, members) {
        if let Some(active) = active_elsewhere(ctx, destination, who) {
            draft.notes.push(serves_elsewhere(resource, who, active));
            continue;
        }
        let mut journal = Journal {
            server: ctx.server.key.clone(),
            destination: destination.key.clone(),
            purpose: JournalPurpose::Deactivated,
            network: target.network.map_or_else(|| target.create.clone(), recreation),
            endpoints: Vec::new(),
            services: Vec::new(),
        };
        let call = match who {
            Party::Container(container) => {
                let container = ContainerTarget::of(container);
                let (settings, was_running) = (EndpointSettings::default(), true);
                journal.endpoints.push(JournalEndpoint { container: container.clone(), settings, was_running });
                Call::StopContainer { container }
            }
            Party::Service(service) => {
                let Some(replicas) = service.replicas else {
                    let name = &service.name;
                    let message = format!(
                        "{} is deactivated, and the Swarm service {name:?} is global: it is left running.",
                        destination.key
                    );
                    let note = Note::warning(Reason::ResourcesRemain, resource, message);
                    draft.notes.push(note.hint(format!("docker service rm {name}")));
                    continue;
                };
                let service = ServiceTarget::of(service);
                journal.services.push(JournalService { service: service.clone(), replicas });
                Call::ScaleService { service, replicas: 0 }
            }
        };
        let stop = Operation::new(resource, call, Cause::Deactivated).disruptive(true);
        draft.groups.push(Group::of(stop).journal(journal));
    }
}

/// Whatever of the members runs, each once, without the proxy. A service speaks for its tasks.
fn running<'a>(ctx: &Context<'_>, members: &Members<'a>) -> Vec<(&'a ObjectKey, Party<'a>)> {
    let proxy = ctx.server.proxy.as_ref();
    let mut seen = BTreeSet::new();
    let containers = members.all.iter().filter(|(_, container)| {
        container.state.is_live()
            && !container::is_proxy(container, proxy)
            && !container::is_task(container)
            && seen.insert(&container.id)
    });
    let mut running: Vec<_> =
        containers.map(|(resource, container)| (*resource, Party::Container(container))).collect();
    let services = members.services.iter();
    let services = services.filter(|it| it.service.replicas != Some(0) && !service::is_proxy(it.service, proxy));
    running.extend(services.map(|wanted| (wanted.object, Party::Service(wanted.service))));
    running
}

fn serves_elsewhere(resource: &ObjectKey, who: Party<'_>, active: &ObjectKey) -> Note {
    let name = who.name();
    let what = match who {
        Party::Container(_) => "",
        Party::Service(_) => "The Swarm service ",
    };
    let message = format!("{what}{name:?} also belongs to {active}, which is active, and is left running.");
    let note = Note::warning(Reason::ResourcesRemain, resource, message);
    match who {
        Party::Container(_) => note,
        Party::Service(_) => note.hint(format!("docker service scale {name}=0, or deactivate {active} as well")),
    }
}

/// Starts what was stopped when the destination was deactivated, as far as it still belongs to it.
pub(crate) fn resume(ctx: &Context<'_>, destination: &DesiredDestination, members: &Members<'_>, draft: &mut Draft) {
    let mut remembered = BTreeSet::new();
    for journal in stopped(ctx).filter(|journal| journal.destination == destination.key) {
        for listed in &journal.services {
            match scale_back(members, journal, listed) {
                Some(group) => draft.groups.push(group),
                None => draft.settled.push(journal.clone()),
            }
        }
        for listed in &journal.endpoints {
            remembered.insert(&listed.container.id);
            start_again(ctx, destination, members, (journal, listed), draft);
        }
    }
    left_stopped(destination, members, &remembered, draft);
}

fn start_again(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    members: &Members<'_>,
    (journal, listed): (&Journal, &JournalEndpoint),
    draft: &mut Draft,
) {
    let container = ctx.host.container(&listed.container.id).filter(|it| !container::is_going(it));
    // Gone, or started by somebody meanwhile.
    let Some(container) = container.filter(|it| !it.state.is_live()) else {
        draft.settled.push(journal.clone());
        return;
    };
    let Some((resource, _)) = members.all.iter().find(|(_, member)| member.id == container.id) else {
        let message = format!(
            "Landfall stopped {:?} with the destination, and no resource declares it any more: it is left stopped.",
            container.name
        );
        let note = Note::warning(Reason::LeftStopped, &destination.key, message);
        draft.notes.push(note.hint(format!("docker start {}", container.name)));
        return;
    };
    let call = Call::StartContainer { container: ContainerTarget::of(container) };
    let start = Operation::new(resource, call, Cause::Activated);
    // After it is connected, and only if that works.
    let connects =
        |it: &Operation| matches!(&it.call, Call::ConnectEndpoint { container: other, .. } if other.id == container.id);
    match draft.groups.iter_mut().find(|group| group.operations.iter().any(connects)) {
        Some(group) => {
            if !group.operations.iter().any(|it| matches!(it.call, Call::StartContainer { .. })) {
                group.operations.push(start);
            }
            group.completes.push(journal.clone());
        }
        None => draft.groups.push(Group::of(start).completes(vec![journal.clone()])),
    }
}

/// Members that do not run and that no journal tells of. A proxy that comes back to a network is what activation looks like when the journals are
/// lost.
fn left_stopped(
    destination: &DesiredDestination,
    members: &Members<'_>,
    remembered: &BTreeSet<&ContainerId>,
    draft: &mut Draft,
) {
    let operations = || draft.groups.iter().flat_map(|group| &group.operations);
    let activates = |it: &Operation| {
        it.cause == Cause::ProxyDetached && it.call.container().is_some() && it.object == destination.key
    };
    if !operations().any(activates) {
        return;
    }
    // Deactivating leaves the members' endpoints as they are: who has none was not stopped by it.
    let connected = draft.connected();
    let starts = |id: &ContainerId| {
        operations().any(|it| matches!(&it.call, Call::StartContainer { container } if container.id == *id))
    };
    let left = members.all.iter().filter(|(_, container)| {
        container.state == ContainerState::Exited
            && !remembered.contains(&container.id)
            && !connected.contains(&container.id)
            && !starts(&container.id)
            && !container::is_task(container)
    });
    let note = |(resource, container): &(&ObjectKey, &ObservedContainer)| {
        let message = format!(
            "{:?} is not running, and nothing says that Landfall stopped it: it is left as it is.",
            container.name
        );
        Note::warning(Reason::LeftStopped, resource, message).hint(format!("docker start {}", container.name))
    };
    let notes: Vec<Note> = left.map(note).collect();
    draft.notes.extend(notes);
}

/// Adds the start of a member whose attachment the group repairs, or says why it is left as it is.
pub(crate) fn after_repair(wanted: &Wanted<'_>, group: &mut Group) -> Option<Note> {
    let container = wanted.container;
    let repairs = group.operations.iter().any(|it| {
        matches!(it.call, Call::ConnectEndpoint { .. })
            && matches!(it.cause, Cause::MemberDetached | Cause::EndpointStale | Cause::JournalRestore)
    });
    let ended = matches!(container.state, ContainerState::Exited | ContainerState::Created);
    let exit = container.exit.as_ref().filter(|exit| exit.is_for_want_of_a_network())?;
    if !repairs || !ended || container::is_task(container) {
        return None;
    }
    if wanted.start_after_repair {
        let call = Call::StartContainer { container: ContainerTarget::of(container) };
        group.operations.push(Operation::new(wanted.object, call, Cause::StartAfterRepair));
        return None;
    }
    let why = if exit.error.is_empty() { format!("with code {}", exit.code) } else { format!("with {:?}", exit.error) };
    Some(
        Note::warning(
            Reason::LeftStopped,
            wanted.object,
            format!("{:?} ended {why}; its attachment is repaired, and it is left stopped.", container.name),
        )
        .hint(format!("docker start {}, or `startAfterRepair: true` for the next time", container.name)),
    )
}

/// Journals of this server's deactivations.
fn stopped<'a>(ctx: &Context<'a>) -> impl Iterator<Item = &'a Journal> {
    let journals: &'a [Journal] = ctx.input.journals;
    let server = &ctx.server.key;
    journals.iter().filter(move |journal| journal.purpose == JournalPurpose::Deactivated && journal.server == *server)
}

/// Journals of deactivations that nobody can come back to: neither the destination nor the container is left.
pub(crate) fn forgotten(ctx: &Context<'_>) -> Vec<Journal> {
    let declared = |journal: &Journal| ctx.server.destinations.iter().any(|it| it.key == journal.destination);
    let left = |journal: &Journal| {
        journal.endpoints.iter().any(|it| ctx.host.container(&it.container.id).is_some())
            || journal.services.iter().any(|it| ctx.host.service_named(&it.service.name).is_some())
    };
    stopped(ctx).filter(|journal| !declared(journal) && !left(journal)).cloned().collect()
}

/// Gives a service that was left without tasks by a deactivation as many as it had. `None`: somebody has changed that meanwhile, or it is gone.
fn scale_back(members: &Members<'_>, journal: &Journal, listed: &JournalService) -> Option<Group> {
    let wanted = members.services.iter().find(|wanted| wanted.service.id == listed.service.id);
    let wanted = wanted.filter(|wanted| wanted.service.replicas == Some(0))?;
    let call = Call::ScaleService { service: listed.service.clone(), replicas: listed.replicas };
    Some(Group::of(Operation::new(wanted.object, call, Cause::Activated)).completes(vec![journal.clone()]))
}
