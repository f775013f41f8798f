//! Stopping and starting containers: with a destination's `active`, and after a repair where that is declared. Nothing else is ever started.
//!
//! What was stopped is remembered in journals, written before the container is stopped. Without them nothing is started: a container that is
//! not running may be just as somebody wants it.

use std::collections::BTreeSet;

use super::draft::Draft;
use super::tasks;
use crate::core::api::ObjectKey;
use crate::core::desired::DesiredDestination;
use crate::core::observed::{ContainerId, ContainerState, EndpointSettings, ObservedContainer};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::journal::{Journal, JournalEndpoint, JournalPurpose};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::ContainerTarget;
use crate::core::plan::world::container;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::members::Members;
use crate::core::plan::world::target::{Target, Wanted, recreation};

/// Stops what belongs to a deactivated destination, unless it also serves one that is active.
pub(crate) fn stop(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    target: &Target<'_>,
    members: &Members<'_>,
    draft: &mut Draft,
) {
    let mut seen = BTreeSet::new();
    for (resource, container) in &members.all {
        let (resource, container) = (*resource, *container);
        if !container.state.is_live()
            || container::is_proxy(container, ctx.server.proxy.as_ref())
            || container::is_task(container)
            || !seen.insert(&container.id)
        {
            continue;
        }
        if let Some(active) = ctx.active_elsewhere(destination, container) {
            draft.notes.push(Note::warning(
                Reason::ResourcesRemain,
                resource,
                format!("{:?} also belongs to {active}, which is active, and is left running.", container.name),
            ));
            continue;
        }
        let call = Call::StopContainer { container: ContainerTarget::of(container) };
        let stop = Operation::new(resource, call, Cause::Deactivated).disruptive(true);
        draft.groups.push(Group::of(stop).journal(Journal {
            services: Vec::new(),
            server: ctx.server.key.clone(),
            destination: destination.key.clone(),
            purpose: JournalPurpose::Deactivated,
            network: target.network.map_or_else(|| target.create.clone(), recreation),
            endpoints: vec![JournalEndpoint {
                container: ContainerTarget::of(container),
                settings: EndpointSettings::default(),
                was_running: true,
            }],
        }));
    }
}

/// Starts what was stopped when the destination was deactivated, as far as it still belongs to it.
pub(crate) fn resume(ctx: &Context<'_>, destination: &DesiredDestination, members: &Members<'_>, draft: &mut Draft) {
    let mut remembered = BTreeSet::new();
    for journal in stopped(ctx).filter(|journal| journal.destination == destination.key) {
        for listed in &journal.services {
            match tasks::resume(members, journal, listed) {
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
