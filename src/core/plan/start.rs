//! Stopping and starting containers: with a destination's `active`, and after a repair where that is declared. Nothing else is ever started.
//!
//! What was stopped is remembered in journals, written before the container is stopped. Without them nothing is started: a container that is
//! not running may be just as somebody wants it.

use std::collections::BTreeSet;

use super::destination::recreation;
use super::host;
use super::member::{Members, Target, Wanted};
use super::operation::{
    Call, Cause, ContainerTarget, Group, Journal, JournalEndpoint, JournalPurpose, Note, Operation, Reason,
};
use super::{Context, Draft, service};
use crate::core::desired::DesiredDestination;
use crate::core::observed::{ContainerState, EndpointSettings};

/// Stops what belongs to a deactivated destination, unless it also serves one that is active.
pub(super) fn stop(
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
            || host::is_proxy(container, ctx.server.proxy.as_ref())
            || host::is_task(container)
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
        draft.groups.push(Group {
            object: resource.clone(),
            operations: vec![Operation {
                object: resource.clone(),
                call: Call::StopContainer { container: ContainerTarget::of(container) },
                cause: Cause::Deactivated,
                disruptive: true,
                undo: None,
            }],
            journal: Some(Journal {
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
            }),
            completes: Vec::new(),
            needs: Vec::new(),
        });
    }
}

/// Starts what was stopped when the destination was deactivated, as far as it still belongs to it.
pub(super) fn resume(ctx: &Context<'_>, destination: &DesiredDestination, members: &Members<'_>, draft: &mut Draft) {
    let mut remembered = BTreeSet::new();
    for journal in stopped(ctx).filter(|journal| journal.destination == destination.key) {
        for listed in &journal.services {
            match service::resume(members, journal, listed) {
                Some(group) => draft.groups.push(group),
                None => draft.settled.push(journal.clone()),
            }
        }
        for listed in &journal.endpoints {
            remembered.insert(&listed.container.id);
            let container = ctx.host.container(&listed.container.id).filter(|it| !host::is_going(it));
            // Gone, or started by somebody meanwhile.
            let Some(container) = container.filter(|it| !it.state.is_live()) else {
                draft.settled.push(journal.clone());
                continue;
            };
            let member = members.all.iter().find(|(_, member)| member.id == container.id);
            let Some((resource, _)) = member else {
                draft.notes.push(
                    Note::warning(
                        Reason::LeftStopped,
                        &destination.key,
                        format!(
                            "Landfall stopped {:?} with the destination, and no resource declares it any more: it is left stopped.",
                            container.name
                        ),
                    )
                    .hint(format!("docker start {}", container.name)),
                );
                continue;
            };
            let resource = (*resource).clone();
            let start = Operation {
                object: resource.clone(),
                call: Call::StartContainer { container: ContainerTarget::of(container) },
                cause: Cause::Activated,
                disruptive: false,
                undo: None,
            };
            // After it is connected, and only if that works.
            let connecting = draft.groups.iter_mut().find(|group| {
                group.operations.iter().any(
                    |it| matches!(&it.call, Call::ConnectEndpoint { container: other, .. } if other.id == container.id),
                )
            });
            match connecting {
                Some(group) => {
                    if !group.operations.iter().any(|it| matches!(it.call, Call::StartContainer { .. })) {
                        group.operations.push(start);
                    }
                    group.completes.push(journal.clone());
                }
                None => draft.groups.push(Group {
                    object: resource,
                    operations: vec![start],
                    journal: None,
                    completes: vec![journal.clone()],
                    needs: Vec::new(),
                }),
            }
        }
    }
    // A proxy that comes back to a network is what activation looks like when the journals are lost.
    let activation =
        draft.groups.iter().flat_map(|group| &group.operations).any(|it| {
            it.cause == Cause::ProxyDetached && it.call.container().is_some() && it.object == destination.key
        });
    if !activation {
        return;
    }
    // Deactivating leaves the members' endpoints as they are: who has none was not stopped by it.
    let connected = draft.connected();
    for (resource, container) in &members.all {
        let left = container.state == ContainerState::Exited
            && !remembered.contains(&container.id)
            && !connected.contains(&container.id);
        let started = draft
            .groups
            .iter()
            .flat_map(|group| &group.operations)
            .any(|it| matches!(&it.call, Call::StartContainer { container: other } if other.id == container.id));
        if left && !started && !host::is_task(container) {
            draft.notes.push(
                Note::warning(
                    Reason::LeftStopped,
                    resource,
                    format!(
                        "{:?} is not running, and nothing says that Landfall stopped it: it is left as it is.",
                        container.name
                    ),
                )
                .hint(format!("docker start {}", container.name)),
            );
        }
    }
}

/// Adds the start of a member whose attachment the group repairs, or says why it is left as it is.
pub(super) fn after_repair(wanted: &Wanted<'_>, group: &mut Group) -> Option<Note> {
    let container = wanted.container;
    let repairs = group.operations.iter().any(|it| {
        matches!(it.call, Call::ConnectEndpoint { .. })
            && matches!(it.cause, Cause::MemberDetached | Cause::EndpointStale | Cause::JournalRestore)
    });
    let ended = matches!(container.state, ContainerState::Exited | ContainerState::Created);
    let exit = container.exit.as_ref().filter(|exit| exit.is_for_want_of_a_network())?;
    if !repairs || !ended || host::is_task(container) {
        return None;
    }
    if wanted.start_after_repair {
        group.operations.push(Operation {
            object: wanted.object.clone(),
            call: Call::StartContainer { container: ContainerTarget::of(container) },
            cause: Cause::StartAfterRepair,
            disruptive: false,
            undo: None,
        });
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
pub(super) fn forgotten(ctx: &Context<'_>) -> Vec<Journal> {
    let declared = |journal: &Journal| ctx.server.destinations.iter().any(|it| it.key == journal.destination);
    let left = |journal: &Journal| {
        journal.endpoints.iter().any(|it| ctx.host.container(&it.container.id).is_some())
            || journal.services.iter().any(|it| ctx.host.service_named(&it.service.name).is_some())
    };
    stopped(ctx).filter(|journal| !declared(journal) && !left(journal)).cloned().collect()
}
