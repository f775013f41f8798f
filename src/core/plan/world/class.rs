//! What kind of network a destination is.

use super::context::Context;
use super::{applied, server};
use crate::core::api::DestinationType;
use crate::core::desired::DesiredDestination;
use crate::core::observed::{NetworkId, NetworkScope};
use crate::core::plan::document::plan;

/// What kind of network the destination is: as the manifest says, else as the network is that was made for it, else as the server gives. That the
/// server joins a Swarm or leaves one makes nothing of another kind.
pub(crate) fn class(ctx: &Context<'_>, destination: &DesiredDestination) -> DestinationType {
    if let Some(asserted) = destination.asserted_type {
        return asserted;
    }
    let of_scope = |scope: NetworkScope| match scope {
        NetworkScope::Swarm => DestinationType::Swarm,
        NetworkScope::Local | NetworkScope::Global => DestinationType::Standalone,
    };
    let own = ctx.host.verified_of(ctx.set, &destination.key);
    if let Some(network) = own.min_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id))) {
        return of_scope(network.scope);
    }
    // One that was adopted has no labels; that Landfall has connected somebody to it tells as well.
    let name = destination.network.name.as_deref().filter(|_| destination.adopt);
    if let Some([network]) = name.map(|name| ctx.host.networks_named(name)) {
        let marked = |attached: &server::Attached<'_>| {
            let settings = attached.endpoint.settings.as_ref();
            settings.is_some_and(|settings| applied::is_own(&settings.driver_opts, ctx.set))
        };
        if ctx.host.owner(network).is_none() && ctx.host.attached(network).iter().any(marked) {
            return of_scope(network.scope);
        }
    }
    if was_overlay(ctx, destination).is_some() {
        return DestinationType::Swarm;
    }
    ctx.host.server_type().destination_type()
}

/// What tells that the destination's network is one of a Swarm, though the server gives none now: a daemon that is going down takes itself for
/// standalone for some seconds, and a node that is repaired leaves its Swarm and joins it again.
pub(crate) fn was_overlay(ctx: &Context<'_>, destination: &DesiredDestination) -> Option<String> {
    let key = &destination.key;
    if ctx.host.verified_of(ctx.set, key).any(|it| it.scope == NetworkScope::Swarm) {
        return Some("the server still lists it".to_owned());
    }
    if let Some(name) = &destination.network.name {
        if ctx.host.networks_named(name).iter().any(|network| network.scope == NetworkScope::Swarm) {
            return Some("the server still lists it".to_owned());
        }
        for container in &ctx.host.state.containers {
            let mut endpoints = container.endpoints.iter();
            if endpoints
                .any(|it| it.network_name == *name && it.network_id.as_ref().is_some_and(NetworkId::is_of_swarm))
            {
                return Some(format!("the container {:?} is on it by an id that a Swarm gave out", container.name));
            }
        }
    }
    if ctx.request.overlays.contains(key) {
        return Some("it was one when it was last seen".to_owned());
    }
    ctx.overlays_elsewhere().get(key).map(|server| format!("{server} lists it"))
}

pub(crate) fn scope_word(scope: NetworkScope) -> &'static str {
    match scope {
        NetworkScope::Local => "local",
        NetworkScope::Swarm => "swarm",
        NetworkScope::Global => "global",
    }
}

/// What runs on the destination are services: its network is the Swarm's.
pub(crate) fn is_on_swarm(ctx: &Context<'_>, destination: &DesiredDestination) -> bool {
    ctx.host.server_type() != plan::ServerType::Standalone && class(ctx, destination) == DestinationType::Swarm
}
