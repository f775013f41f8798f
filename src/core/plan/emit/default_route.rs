//! What an endpoint gives the container beside a name and an address: its default route, and a hardware address.
//!
//! A container has one default route. Docker takes a network with IPv4 and IPv6 before any other, then from Docker 28 on the one with the highest
//! `GwPriority`, and then the one whose name sorts first. Connecting a container must not move its default route, so a new endpoint is given a
//! priority below what is there; where that is not enough, the plan says what will happen.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::core::api::ObjectKey;
use crate::core::observed::{ContainerId, EndpointSettings, NetworkId, ObservedContainer, ObservedEndpoint};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::{NetworkTarget, OVERLAY};
use crate::core::plan::world::applied;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::route::priority;

/// What Docker goes by when it chooses the network of a container's default route, the first first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Gateway<'a> {
    /// Docker prefers a network with IPv4 and IPv6 to any other, regardless of priorities.
    single: bool,
    /// The highest; engines before API 1.48 have none.
    priority: Reverse<i64>,
    name: &'a str,
}

/// The containers whose default route moves when the plan connects them.
pub(crate) fn notes(ctx: &Context<'_>, groups: &[Group]) -> Vec<Note> {
    let operations: Vec<&Operation> = groups.iter().flat_map(|group| &group.operations).collect();
    let mut moved: BTreeMap<&ContainerId, (Gateway<'_>, &ObjectKey)> = BTreeMap::new();
    for operation in &operations {
        let Call::ConnectEndpoint { network, container, settings, .. } = &operation.call else { continue };
        let is_new = matches!(operation.cause, Cause::MemberDetached | Cause::ProxyDetached);
        // A declared priority asks for the route that it gives.
        if !is_new || applied::has_gw_priority(settings) {
            continue;
        }
        let Some(gateway) = gateway_to(ctx, network, settings, &operations) else { continue };
        let to = (gateway, &operation.object);
        moved.entry(&container.id).and_modify(|first| *first = to.min(*first)).or_insert(to);
    }
    moved.into_iter().filter_map(|(id, (to, object))| moves(ctx, id, to, object)).collect()
}

fn moves(ctx: &Context<'_>, container: &ContainerId, to: Gateway<'_>, object: &ObjectKey) -> Option<Note> {
    let container = ctx.host.container(container)?;
    let engine = &ctx.host.state.engine;
    let from = container.endpoints.iter().filter_map(|endpoint| gateway_of(ctx, container, endpoint)).min()?;
    if from < to {
        return None;
    }
    let (why, hint) = if to.single == from.single {
        (
            format!("whose name sorts before; Docker Engine {} cannot be told otherwise", engine.version),
            "give the network a name that sorts after; Docker 28 and newer leave the route where it is",
        )
    } else {
        (
            "which has IPv4 and IPv6: Docker prefers that to anything else".to_owned(),
            "leave out `ipv6`, or have the container on another network of both kinds whose name sorts before, or with a higher `gwPriority`",
        )
    };
    let (name, from, to) = (&container.name, from.name, to.name);
    let message = format!("The default route of {name:?} moves from {from:?} to {to:?}, {why}.");
    Some(Note::warning(Reason::DefaultRouteMoves, object, message).hint(hint))
}

/// The network to which a container is to be connected. `None`: it gives no default route, as none of a Swarm does.
fn gateway_to<'o>(
    ctx: &Context<'_>,
    network: &'o NetworkTarget,
    settings: &EndpointSettings,
    operations: &[&Operation],
) -> Option<Gateway<'o>> {
    let (inner, ipv4, ipv6) = match &network.id {
        Some(id) => ctx.host.state.network(id).map(|it| (it.internal || it.driver == OVERLAY, it.ipv4, it.ipv6))?,
        None => operations.iter().find_map(|operation| match &operation.call {
            Call::CreateNetwork(it) if it.name == network.name => {
                Some((it.internal || it.driver == OVERLAY, it.ipv4, it.ipv6))
            }
            _ => None,
        })?,
    };
    let priority = Reverse(settings.gw_priority.unwrap_or_default());
    (!inner && ipv4).then_some(Gateway { single: !ipv6, priority, name: &network.name })
}

/// A network that the container is on.
fn gateway_of<'e>(
    ctx: &Context<'_>,
    container: &ObservedContainer,
    endpoint: &'e ObservedEndpoint,
) -> Option<Gateway<'e>> {
    let network = endpoint.network_id.as_ref().and_then(|id| ctx.host.state.network(id));
    let of_swarm = endpoint.network_id.as_ref().is_some_and(NetworkId::is_of_swarm);
    let gives_none = of_swarm || network.is_some_and(|network| network.internal || !network.ipv4);
    (!gives_none && !container.is_leftover(endpoint)).then(|| Gateway {
        single: !network.is_some_and(|network| network.ipv6),
        priority: Reverse(priority(endpoint)),
        name: &endpoint.network_name,
    })
}
