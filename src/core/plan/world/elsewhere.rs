//! Nodes of a Swarm share its services and its overlays, and each has a plan of its own. A service is therefore taken off a network only where
//! no destination that shares the network wants it there; otherwise two plans would undo each other's work for ever.

use super::context::Context;
use super::party::Party;
use super::service::is_proxy;
use super::target::Target;
use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredDestination, DesiredMember, DesiredServer};
use crate::core::observed::{NetworkScope, ObservedNetwork, ObservedService};

/// Aliases that other destinations which share the network declare for the service: it has one set of them there.
pub(crate) fn aliases_elsewhere(
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
pub(crate) fn wanted_elsewhere(
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

/// Another destination that somebody serves and that is not deactivated: of the server, for a service of its Swarm too.
pub(crate) fn active_elsewhere<'a>(
    ctx: &Context<'a>,
    destination: &DesiredDestination,
    who: Party<'_>,
) -> Option<&'a ObjectKey> {
    let serves = |member: &DesiredMember| !ctx.is_deleted(&member.resource) && who.is_meant_by(&member.selector);
    let is_active = |it: &&DesiredDestination| {
        it.key != destination.key && it.active && !ctx.is_deleted(&it.key) && it.members.iter().any(serves)
    };
    let within = |server: &&DesiredServer| {
        server.key == ctx.server.key || (matches!(who, Party::Service(_)) && ctx.is_node(&server.key))
    };
    let servers = ctx.input.desired.all_servers().filter(within);
    servers.flat_map(|server| &server.destinations).find(is_active).map(|it| &it.key)
}
