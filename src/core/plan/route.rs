//! What an endpoint gives the container beside a name and an address: its default route, and a hardware address.
//!
//! A container has one default route. Docker takes a network with IPv4 and IPv6 before any other, then from Docker 28 on the one with the highest
//! `GwPriority`, and then the one whose name sorts first. Connecting a container must not move its default route, so a new endpoint is given a
//! priority below what is there; where that is not enough, the plan says what will happen.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Context;
use super::applied;
use super::member::{Target, Wanted};
use super::operation::{Call, Cause, Group, NetworkTarget, Note, OVERLAY, Operation, Reason};
use crate::core::api::ObjectKey;
use crate::core::desired::DesiredEndpoint;
use crate::core::observed::{
    ApiVersion, ContainerId, EndpointSettings, NetworkId, ObservedContainer, ObservedEndpoint, ObservedNetwork,
};

/// What the engine can be asked for. The rest is declared in vain, and said so.
pub(super) fn possible(ctx: &Context<'_>, endpoint: &DesiredEndpoint) -> DesiredEndpoint {
    let engine = &ctx.host.state.engine;
    let mut endpoint = endpoint.clone();
    endpoint.gw_priority = endpoint.gw_priority.filter(|_| engine.knows(ApiVersion::GATEWAY_PRIORITY));
    endpoint.mac_address = endpoint.mac_address.filter(|_| engine.knows(ApiVersion::MAC_ADDRESS));
    endpoint
}

/// What is declared and cannot be had from this engine. The container is connected without.
pub(super) fn refused(ctx: &Context<'_>, network: Option<&ObservedNetwork>, wanted: &Wanted<'_>) -> Vec<Note> {
    let engine = &ctx.host.state.engine;
    let refuse = |what: String, hint: &str| Note::refused(Reason::WrongScope, wanted.object, what).hint(hint);
    let declared = &wanted.endpoint;
    let mut notes = Vec::new();
    if let Some(priority) = declared.gw_priority.filter(|_| !engine.knows(ApiVersion::GATEWAY_PRIORITY)) {
        notes.push(refuse(
            format!(
                "spec.endpoint.gwPriority is {priority}, and Docker Engine {} takes the default route from the network whose name sorts \
                 first.",
                engine.version
            ),
            "it takes Docker 28 or newer (API 1.48)",
        ));
    }
    let mac_address = declared.mac_address.as_ref().filter(|_| !engine.knows(ApiVersion::MAC_ADDRESS));
    let attached = ctx.host.attachment(wanted.container, network, network.map_or("", |network| &network.name));
    let shown = attached.and_then(|it| it.endpoint.settings.as_ref()?.mac_address.clone());
    // One that is connected and not running shows none.
    let unknown = attached.is_some() && shown.is_none();
    if let Some(mac) = mac_address.filter(|mac| !unknown && !shown.is_some_and(|shown| shown.eq_ignore_ascii_case(mac)))
    {
        notes.push(refuse(
            format!(
                "spec.endpoint.macAddress is {mac}, and Docker Engine {} sets none on connecting; {:?} is connected without it.",
                engine.version, wanted.container.name
            ),
            "give it to the container when that is made (`docker run --mac-address`, `mac_address` in Compose); on connecting it takes API 1.54 \
             (Docker 29)",
        ));
    }
    notes
}

/// A priority with which a new endpoint leaves the default route where it is.
pub(super) fn below_the_others(ctx: &Context<'_>, target: &Target<'_>, container: &ObservedContainer) -> Option<i64> {
    if !ctx.host.state.engine.knows(ApiVersion::GATEWAY_PRIORITY) {
        return None;
    }
    let others = container.endpoints.iter().filter(|endpoint| !is_on(target, endpoint));
    let lowest = others.map(priority).min()?;
    lowest.checked_sub(1)
}

fn priority(endpoint: &ObservedEndpoint) -> i64 {
    let inspected = endpoint.settings.as_ref().and_then(|settings: &EndpointSettings| settings.gw_priority);
    inspected.or(endpoint.gw_priority).unwrap_or_default()
}

fn is_on(target: &Target<'_>, endpoint: &ObservedEndpoint) -> bool {
    let is = |network: &ObservedNetwork| endpoint.network_id.as_ref() == Some(&network.id);
    target.network.is_some_and(is) || endpoint.network_name == target.create.name
}

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
pub(super) fn notes(ctx: &Context<'_>, groups: &[Group]) -> Vec<Note> {
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
