//! Journals of changes that were interrupted: what they list is put back, and then they go.

use std::collections::BTreeSet;

use super::draft::Draft;
use crate::core::desired::DesiredDestination;
use crate::core::plan::decide::{addresses, creation, settings};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::journal::{Journal, JournalPurpose};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::ContainerTarget;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::located::Located;
use crate::core::plan::world::members::{self, Members};
use crate::core::plan::world::target::Target;

/// Finds the journals of the destination that have done their duty, and keeps those open that list somebody who cannot be connected now.
pub(crate) fn settle<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    located: &Located<'a>,
    part: &mut Draft,
    settled: &mut Vec<Journal>,
) {
    let mut journals = ctx.journals(&destination.key).peekable();
    if destination.suspend || matches!(located, Located::Refused(_)) || journals.peek().is_none() {
        return;
    }
    let network = located.network();
    let members = members::resolve(ctx, destination, network);
    let create = creation::creation(ctx, destination, network.map(|network| network.name.as_str()));
    let left_behind = ctx.left_behind(destination, &Target { network, create }, &members);
    let connected = part.connected();
    let stuck: Vec<&Journal> = left_behind
        .iter()
        .filter(|(container, _)| !connected.contains(&container.id))
        .flat_map(|(_, journals)| journals.iter().copied())
        .collect();
    for group in &mut part.groups {
        group.completes.retain(|journal| !stuck.contains(&journal));
    }
    if network.is_none() {
        // Until it exists they are all that knows of it.
        return;
    }
    let open: Vec<&Journal> = left_behind.iter().flat_map(|(_, journals)| journals.iter().copied()).collect();
    settled.extend(journals.filter(|journal| !open.contains(journal)).cloned());
}

/// Journals of destinations that are not declared on this server any more: kept, and mentioned.
pub(crate) fn stranded(ctx: &Context<'_>) -> Vec<Note> {
    ctx.input
        .journals
        .iter()
        .filter(|journal| {
            journal.purpose == JournalPurpose::Reattach
                && journal.server == ctx.server.key
                && !ctx.server.destinations.iter().any(|it| it.key == journal.destination)
        })
        .map(|journal| {
            let names: Vec<_> = journal.endpoints.iter().map(|listed| listed.container.name.as_str()).collect();
            Note::warning(
                Reason::Orphaned,
                &journal.destination,
                format!(
                    "An interrupted change may have left {} off the network {:?}, and no manifest declares {} any more.",
                    names.join(", "),
                    journal.network.name,
                    journal.destination
                ),
            )
            .hint("declare the destination again to have them reconnected")
        })
        .collect()
}

/// Connects whoever an interrupted replacement left behind and nobody else has connected by now.
pub(crate) fn restore<'a>(
    ctx: &Context<'a>,
    destination: &DesiredDestination,
    target: &Target<'_>,
    members: &Members<'_>,
    handled: &BTreeSet<&'a crate::core::observed::ContainerId>,
    draft: &mut Draft,
) {
    let planned: BTreeSet<_> = draft.connected();
    for (container, journals) in ctx.left_behind(destination, target, members) {
        if handled.contains(&container.id) || planned.contains(&container.id) {
            continue;
        }
        let Some(settings) = journals.last().and_then(|journal| settings::journalled_settings(journal, &container.id))
        else {
            continue;
        };
        let settings = settings::returning_settings(ctx, destination, members, container, settings);
        let call = Call::ConnectEndpoint {
            network: target.call(),
            container: ContainerTarget::of(container),
            settings,
            reserved: addresses::reserved(ctx, target, members, &container.id),
        };
        let connect = Group::of(Operation::new(&destination.key, call, Cause::JournalRestore));
        draft.groups.push(connect.completes(journals.into_iter().cloned().collect()));
    }
}
