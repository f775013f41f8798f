//! Finding a destination's network, by its name or by its labels.

use super::creation::interrupted_name;
use super::suitable::unsuitable;
use crate::core::api::{DestinationType, ObjectKey};
use crate::core::desired::DesiredDestination;
use crate::core::observed::{NetworkScope, ObservedNetwork};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::target::OVERLAY;
use crate::core::plan::world::class::{class, scope_word};
use crate::core::plan::world::context::Context;
use crate::core::plan::world::located::Located;
use crate::core::plan::world::server::Host;

/// Finds the destination's network by its name, or by its labels where the manifest names none.
pub(crate) fn locate<'a>(ctx: &Context<'a>, destination: &DesiredDestination) -> Located<'a> {
    if let Some(note) = unsuitable(ctx, destination) {
        return Located::Refused(note);
    }
    let mut own: Vec<&ObservedNetwork> = ctx.host.verified_of(ctx.set, &destination.key).collect();
    // Two appliers may have created one each: everyone settles on the older.
    own.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
    let Some(name) = &destination.network.name else {
        return match own.first() {
            Some(network) => ambiguous(ctx, &destination.key, &network.name)
                .or_else(|| in_scope(ctx, destination, network))
                .map_or(Located::Owned(network), Located::Refused),
            None => Located::Missing,
        };
    };
    let refuse = |reason, message: String| Note::refused(reason, &destination.key, message);
    if let Some(other) = prefixed(&ctx.host, name) {
        let message = format!(
            "The name {name:?} is also the beginning of the id of the network {:?}, which the daemon may take it for.",
            other.name
        );
        return Located::Refused(refuse(Reason::NameAmbiguous, message).hint("choose another spec.network.name"));
    }
    if let Some((kept, _)) = twins(ctx, destination) {
        return in_scope(ctx, destination, kept).map_or(Located::Owned(kept), Located::Refused);
    }
    let network = match (ctx.host.networks_named(name), own.first()) {
        ([], None) => {
            let interrupted = |other| {
                let message = format!("The network {name:?} belongs to {other}, and its replacement was interrupted.");
                refuse(Reason::OwnershipConflict, message)
                    .hint("choose another network name, or delete that destination first")
            };
            return promised(ctx, destination, name).map_or(Located::Missing, |it| Located::Refused(interrupted(it)));
        }
        // Its replacement was interrupted while there was none: another network of the destination is not what it was renamed from.
        ([], Some(_)) if interrupted_name(ctx, &destination.key).as_ref() == Some(name) => return Located::Missing,
        // The name differs: an immutable field like any other.
        ([], Some(network)) => network,
        ([network, ..], _) => network,
    };
    if let Some(note) = ambiguous(ctx, &destination.key, &network.name) {
        return Located::Refused(note);
    }
    whose(ctx, destination, network, own.first().copied())
}

/// Whose the network is that has the declared name. `own`: one that was made for the destination under another name.
fn whose<'a>(
    ctx: &Context<'a>,
    destination: &DesiredDestination,
    network: &'a ObservedNetwork,
    own: Option<&ObservedNetwork>,
) -> Located<'a> {
    let name = &network.name;
    let refuse = |reason, message: String, hint: &str| {
        Located::Refused(Note::refused(reason, &destination.key, message).hint(hint))
    };
    let in_scope = |located: fn(&'a ObservedNetwork) -> Located<'a>| {
        in_scope(ctx, destination, network).map_or_else(|| located(network), Located::Refused)
    };
    match ctx.host.owner(network) {
        Some(owner) if owner.set != ctx.set => refuse(
            Reason::OwnershipConflict,
            format!("The network {name:?} belongs to the set {:?}, and this is {:?}.", owner.set, ctx.set),
            &format!("choose another network name, or apply with `--set {}`", owner.set),
        ),
        Some(owner) if owner.destination.as_ref().is_some_and(|of| ctx.joins(destination, network, of)) => {
            in_scope(Located::Adopted)
        }
        Some(owner) if owner.destination.as_ref() != Some(&destination.key) => {
            let other = owner.destination.as_ref().map_or("no destination".to_owned(), ToString::to_string);
            refuse(
                Reason::OwnershipConflict,
                format!("By its labels, the network {name:?} belongs to {other}."),
                "choose another network name, and members move there without a gap; deleting that destination first takes them off meanwhile",
            )
        }
        Some(_) => in_scope(Located::Owned),
        None if destination.adopt => match own {
            Some(own) => refuse(
                Reason::ImmutableField,
                format!(
                    "spec.network.name is {:?} on the server and {name:?} in the manifest, and {name:?} exists already.",
                    own.name
                ),
                &format!("delete the destination first, then adopt {name:?}"),
            ),
            None => in_scope(Located::Adopted),
        },
        None => refuse(
            Reason::AdoptionRequired,
            format!("A network named {name:?} exists already, and Landfall did not create it."),
            "set `adopt: true` on the destination to take it over, or choose another network name",
        ),
    }
}

/// Appliers at work together have made a network of that name each, and one of them was stopped before it could remove its own. All of them are
/// this very destination's: the one in use stays, else the oldest, as the appliers would have agreed, and the others go. `None` where there is
/// one network only, or it cannot be told for certain which is needed.
pub(crate) fn twins<'a>(
    ctx: &Context<'a>,
    destination: &DesiredDestination,
) -> Option<(&'a ObservedNetwork, Vec<&'a ObservedNetwork>)> {
    let named = ctx.host.networks_named(destination.network.name.as_ref()?);
    let is_own = |network: &ObservedNetwork| {
        let owner = ctx.host.owner(network);
        ctx.host.is_verified(network)
            && owner.is_some_and(|it| it.set == ctx.set && it.destination.as_ref() == Some(&destination.key))
    };
    if named.len() < 2 || !named.iter().all(|network| is_own(network)) {
        return None;
    }
    let mut used = Vec::new();
    for network in named {
        let attached = ctx.host.attached(network);
        // Known by its name only: of which of them nobody can say.
        if attached.iter().any(|it| it.endpoint.network_id.is_none()) {
            return None;
        }
        if !attached.is_empty() {
            used.push(*network);
        }
    }
    let kept = match used.as_slice() {
        [] => named.iter().copied().min_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)))?,
        [used] => used,
        _ => return None,
    };
    Some((kept, named.iter().copied().filter(|network| network.id != kept.id).collect()))
}

/// The destination without a declared name whose network had that name when its replacement was interrupted.
fn promised<'a>(ctx: &Context<'a>, destination: &DesiredDestination, name: &str) -> Option<&'a ObjectKey> {
    let others = ctx.server.destinations.iter().filter(|other| other.key != destination.key);
    let mut nameless = others.filter(|other| other.network.name.is_none() && !ctx.is_deleted(&other.key));
    let has_one = |key: &ObjectKey| ctx.host.verified_of(ctx.set, key).next().is_some();
    nameless
        .find(|other| interrupted_name(ctx, &other.key).is_some_and(|of| of == name) && !has_one(&other.key))
        .map(|other| &other.key)
}

/// Containers that are not running know their networks by name: with two of a name, nobody can tell who belongs where.
pub(crate) fn ambiguous(ctx: &Context<'_>, destination: &ObjectKey, name: &str) -> Option<Note> {
    let several = ctx.host.networks_named(name);
    (several.len() > 1).then(|| {
        let ids: Vec<_> = several.iter().map(|network| describe_short(network)).collect();
        Note::refused(
            Reason::NameAmbiguous,
            destination,
            format!("{} networks are named {name:?}: {}.", several.len(), ids.join(", ")),
        )
        .hint("remove the one that is not needed by its id: docker network rm ID")
    })
}

/// A name shorter than this is the beginning of somebody's id by chance, and the daemon looks for names first.
const SHORTEST_PREFIX: usize = 4;

fn prefixed<'a>(host: &Host<'a>, name: &str) -> Option<&'a ObservedNetwork> {
    if name.len() < SHORTEST_PREFIX {
        return None;
    }
    host.state.networks.iter().find(|network| network.id.as_str().starts_with(name) && network.name != name)
}

fn describe_short(network: &ObservedNetwork) -> String {
    format!("{} ({}, {})", network.id.short(), network.driver, scope_word(network.scope))
}

/// A network of another kind than the server gives: taken for something else, it would only do harm.
fn in_scope(ctx: &Context<'_>, destination: &DesiredDestination, network: &ObservedNetwork) -> Option<Note> {
    let (driver, scope, expected) = match class(ctx, destination) {
        DestinationType::Standalone => ("bridge", NetworkScope::Local, "a bridge network"),
        DestinationType::Swarm => (OVERLAY, NetworkScope::Swarm, "an overlay network of the Swarm"),
    };
    // Where the manifest does not say which, the network could be had as it is.
    let bridge = network.driver == "bridge" && network.scope == NetworkScope::Local;
    let hint = match destination.asserted_type {
        None if bridge => "choose another network name, or set `type: standalone`",
        _ => "choose another network name",
    };
    let driver_fits = network.driver == driver || network.is_unallocated();
    let fits = driver_fits && network.scope == scope && !network.ingress;
    (!fits).then(|| {
        Note::refused(
            Reason::WrongScope,
            &destination.key,
            format!(
                "The network {:?} is of driver {:?} and scope {}, and a destination on {} is {expected}.",
                network.name,
                network.driver,
                scope_word(network.scope),
                ctx.server.key
            ),
        )
        .hint(hint)
    })
}
