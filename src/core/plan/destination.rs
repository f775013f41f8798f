//! One destination: everything that brings it to what the manifest says.

use std::collections::BTreeSet;

use crate::core::desired::DesiredDestination;
use crate::core::observed::{ContainerId, NetworkId, ObservedNetwork};
use crate::core::plan::decide::creation::creation;
use crate::core::plan::decide::locate::twins;
use crate::core::plan::decide::network::{self, Decided, NetworkDecision};
use crate::core::plan::decide::replaceable::Why;
use crate::core::plan::decide::{adoption, aliases};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::NetworkTarget;
use crate::core::plan::emit::draft::Draft;
use crate::core::plan::emit::journals::restore;
use crate::core::plan::emit::{arrange, attachment, endpoint, lifecycle, proxy, replacement};
use crate::core::plan::workload::converge;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::located::Located;
use crate::core::plan::world::members::{self, Members};
use crate::core::plan::world::target::{Target, recreation};
use crate::core::plan::world::{container, service};

/// Everything that brings one destination to what the manifest says.
pub(crate) fn converge<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    located: &Located<'a>,
    removed: &BTreeSet<&NetworkId>,
) -> Draft {
    let mut draft = Draft::default();
    let decided = network::declared(ctx, destination, located, removed);
    if !destination.suspend {
        draft.groups.extend(without_twins(ctx, destination, located));
    }
    draft.notes.extend(decided.note.clone());
    if let Some(rests) = decided.rests {
        let reason = decided.note.as_ref().map_or(Reason::Suspended, |note| note.reason);
        wait_for(ctx, destination, reason, rests, &mut draft);
        return draft;
    }
    let members = members::resolve(ctx, destination, located.network());
    let (network, handled) = network_steps(ctx, destination, located, decided, &members, removed, &mut draft);
    let create = match (network, located.network()) {
        (Some(current), _) => recreation(current),
        (None, replaced) => creation(ctx, destination, replaced.map(|network| network.name.as_str())),
    };
    let target = Target { network, create };
    proxy::converge(ctx, destination, &target, &members, &handled, &mut draft);
    if destination.active {
        seats(ctx, destination, &target, &members, &handled, &mut draft);
        draft.notes.extend(aliases::alias_notes(ctx, destination, located.network(), &members));
    }
    restore(ctx, destination, &target, &members, &handled, &mut draft);
    if destination.active {
        converge::converge(ctx, destination, &target, &mut draft);
        lifecycle::resume(ctx, destination, &members, &mut draft);
    }
    arrange::statics_first(ctx, &target, &members, &mut draft.groups);
    if !destination.active {
        lifecycle::stop(ctx, destination, &target, &members, &mut draft);
    }
    draft
}

/// Other networks of the same name that the destination's own appliers have made.
fn without_twins(ctx: &Context<'_>, destination: &DesiredDestination, located: &Located<'_>) -> Vec<Group> {
    let twins = located.network().and_then(|_| twins(ctx, destination)).into_iter().flat_map(|(_, others)| others);
    let removal = |twin| {
        let call = Call::RemoveNetwork { network: NetworkTarget::existing(twin) };
        Group::of(Operation::new(&destination.key, call, Cause::NetworkDuplicate))
    };
    twins.map(removal).collect()
}

/// What brings the network about. Says on which network everyone is to be, `None` for one that the plan makes, and who is dealt with already.
fn network_steps<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    located: &Located<'a>,
    decided: Decided,
    members: &Members<'a>,
    removed: &BTreeSet<&NetworkId>,
    draft: &mut Draft,
) -> (Option<&'a ObservedNetwork>, BTreeSet<&'a ContainerId>) {
    let Some(current) = located.network() else {
        draft.groups.extend(decided.create.map(|create| {
            let create = Operation::new(&destination.key, Call::CreateNetwork(create), Cause::NetworkMissing);
            Group::of(create).completes(ctx.journals(&destination.key).cloned().collect())
        }));
        return (None, BTreeSet::new());
    };
    if let (NetworkDecision::Replace, Some(create)) = (decided.decision, decided.create) {
        let adopted = matches!(located, Located::Adopted(_));
        let why = Why { destination, network: current, differences: &decided.differences, adopted };
        match replacement::replace(ctx, destination, current, (why, create), members, removed) {
            Ok(replaced) => {
                if adopted {
                    draft.notes.extend(adoption::farewell(destination, current));
                }
                return (None, draft.replace(replaced));
            }
            Err(note) => draft.notes.push(note),
        }
    }
    let handled = match replacement::succeed(ctx, destination, current, members) {
        None => BTreeSet::new(),
        Some(Ok(succeeded)) => draft.replace(succeeded),
        Some(Err(note)) => {
            draft.notes.push(note);
            BTreeSet::new()
        }
    };
    (Some(current), handled)
}

/// The members of an active destination, but for the proxy, on its network.
fn seats<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    target: &Target<'_>,
    members: &Members<'a>,
    handled: &BTreeSet<&'a ContainerId>,
    draft: &mut Draft,
) {
    let proxy = ctx.server.proxy.as_ref();
    draft.notes.extend(members.notes.iter().cloned());
    for wanted in &members.wanted {
        if handled.contains(&wanted.container.id) || container::is_proxy(wanted.container, proxy) {
            continue;
        }
        match endpoint::converge(ctx, destination, target, members, wanted, Cause::MemberDetached) {
            Ok(None) => {}
            Ok(Some(mut group)) => {
                draft.notes.extend(lifecycle::after_repair(wanted, &mut group));
                draft.groups.push(group);
            }
            Err(note) => draft.notes.push(note),
        }
    }
    for wanted in members.services.iter().filter(|it| !service::is_proxy(it.service, proxy)) {
        attachment::attach(ctx, &destination.key, target, wanted, Cause::MemberDetached, draft);
    }
}

/// The members of a destination that is left alone are not connected to it; each says so.
fn wait_for(ctx: &Context<'_>, destination: &DesiredDestination, reason: Reason, why: &str, draft: &mut Draft) {
    for member in &destination.members {
        if member.connect && !ctx.is_deleted(&member.resource) {
            draft.notes.push(Note::waiting(
                reason,
                &member.resource,
                format!("{} {why}; its members are left as they are until that is resolved.", destination.key),
            ));
        }
    }
}
