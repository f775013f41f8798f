//! Whether a network may be made anew: as `replacement` allows, and as those who are on it do.

use std::collections::BTreeSet;

use super::creation::creation;
use super::feasible::{overlap, uncreatable};
use crate::core::api::Replacement;
use crate::core::desired::DesiredDestination;
use crate::core::observed::{NetworkId, ObservedNetwork};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::target::{FieldDifference, NetworkCreate};
use crate::core::plan::world::container;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::target::recreation;

/// Why a network is to be replaced.
#[derive(Clone, Copy)]
pub(crate) struct Why<'d> {
    pub(crate) destination: &'d DesiredDestination,
    pub(crate) network: &'d ObservedNetwork,
    /// The fields that differ, each with both values.
    pub(crate) differences: &'d [FieldDifference],
    pub(crate) adopted: bool,
}

impl Why<'_> {
    pub(crate) fn is_taken_over(&self) -> bool {
        self.adopted && self.destination.take_ownership
    }

    /// `differ`, and the rest of the sentence.
    pub(crate) fn refuse(&self, rest: impl std::fmt::Display) -> Note {
        let differ = match self.differences {
            [] => format!("The network {:?} is adopted and is to be Landfall's own", self.network.name),
            differences => differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        };
        Note::refused(Reason::ImmutableField, &self.destination.key, format!("{differ}{rest}"))
    }
}

/// What the network is made anew as, or what speaks against that. Whether those who are on it can come along is looked at when they are led over.
pub(crate) fn replaceable(
    ctx: &Context<'_>,
    why: Why<'_>,
    removed: &BTreeSet<&NetworkId>,
) -> Result<NetworkCreate, Note> {
    let Why { destination, network, .. } = why;
    permitted(ctx, why)?;
    movable(ctx, why)?;
    let mut ignored = removed.clone();
    ignored.insert(&network.id);
    let mut create = creation(ctx, destination, Some(&network.name));
    if destination.network.auto {
        // It is removed before the new one is made, and nobody else is given what it had.
        create.subnets = recreation(network).subnets;
    }
    if let Some(note) = uncreatable(ctx, destination, &create, &ignored).or_else(|| overlap(ctx, destination, &ignored))
    {
        return Err(note);
    }
    if create.name != network.name && !ctx.host.networks_named(&create.name).is_empty() {
        return Err(why.refuse(", and a network of that name exists already.").hint("choose another name"));
    }
    let bound = ctx.host.bound_blockers(network);
    if create.name != network.name && !bound.is_empty() {
        return Err(why
            .refuse(". Containers were created on the network, and this Docker Engine starts none of them without it.")
            .blockers(bound)
            .hint(format!(
                "keep the name {:?}; or declare another destination, and create what is listed anew there",
                network.name
            )));
    }
    Ok(create)
}

/// What the manifest says.
fn permitted(ctx: &Context<'_>, why: Why<'_>) -> Result<(), Note> {
    if why.is_taken_over() {
        return Ok(());
    }
    if why.adopted {
        return Err(why.refuse(". The network is adopted, and Landfall removes none that it did not create.").hint(
            "change the manifest to what the network is, or have it made anew as Landfall's own: `takeOwnership: true`",
        ));
    }
    let proxy = ctx.server.proxy.as_ref();
    let is_in_use = || {
        let attached = ctx.host.attached(why.network);
        attached.iter().any(|it| !container::is_going(it.container) && !container::is_proxy(it.container, proxy))
    };
    match why.destination.replacement {
        Replacement::Never => Err(why
            .refuse(". Docker cannot change a network.")
            .hint("change the manifest back, or allow to replace the network: `replacement: WhenEmpty` or `Reattach`")),
        Replacement::WhenEmpty if is_in_use() => Err(why
            .refuse(". The network is replaced when nothing but the proxy is on it, and something is.")
            .blockers(ctx.host.blockers(why.network, proxy))
            .hint("disconnect what is on it, or allow to reconnect it: `replacement: Reattach`")),
        Replacement::WhenEmpty | Replacement::Reattach => Ok(()),
    }
}

/// Whether everyone on it can be seen, and led over.
fn movable(ctx: &Context<'_>, why: Why<'_>) -> Result<(), Note> {
    let attached = ctx.host.attached(why.network);
    let is_task = attached.iter().any(|it| !container::is_going(it.container) && container::is_task(it.container));
    if is_task || !ctx.host.services_on(why.network).is_empty() {
        return Err(why
            .refuse(". Swarm services are on the network, and whether they are is up to their definitions.")
            .blockers(ctx.host.blockers(why.network, ctx.server.proxy.as_ref()))
            .hint(
                "declare `proxy: false` and leave the services out of the manifests until the network is replaced; what Landfall did not put there \
                 goes with docker service update --network-rm",
            ));
    }
    let unlisted = ctx.host.unlisted_on(why.network);
    if unlisted.is_empty() {
        return Ok(());
    }
    Err(why
        .refuse(". Something between hides who is on the network.")
        .blockers(unlisted)
        .hint("let Landfall see what is listed, or remove it"))
}
