//! What an endpoint gives the container beside a name and an address: its default route, and a hardware address.
//!
//! A container has one default route. Docker 28 takes the network with the highest `GwPriority`, and the one whose name sorts first among equals;
//! older engines know the name only. Connecting a container must not move it, so a new endpoint is given a priority below what is there; where
//! the engine cannot be told, the plan says what will happen.

use std::collections::BTreeMap;

use super::Context;
use super::member::{Target, Wanted};
use super::operation::{Call, Cause, Group, NetworkTarget, Note, Operation, Reason};
use crate::api::ObjectKey;
use crate::desired::DesiredEndpoint;
use crate::observed::{
    ApiVersion, ContainerId, EndpointSettings, ObservedContainer, ObservedEndpoint, ObservedNetwork,
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

/// The containers whose default route moves when the plan connects them.
pub(super) fn notes(ctx: &Context<'_>, groups: &[Group]) -> Vec<Note> {
    let engine = &ctx.host.state.engine;
    if engine.knows(ApiVersion::GATEWAY_PRIORITY) {
        return Vec::new();
    }
    let operations = || groups.iter().flat_map(|group| &group.operations);
    let mut moved: BTreeMap<&ContainerId, (&str, &ObjectKey)> = BTreeMap::new();
    for operation in operations() {
        let Call::ConnectEndpoint { network, container, .. } = &operation.call else { continue };
        let is_new = matches!(operation.cause, Cause::MemberDetached | Cause::ProxyDetached);
        if !is_new || is_internal(ctx, network, operations()) {
            continue;
        }
        let to = (network.name.as_str(), &operation.object);
        moved.entry(&container.id).and_modify(|first| *first = to.min(*first)).or_insert(to);
    }
    let note = |(id, (to, object)): (&ContainerId, (&str, &ObjectKey))| {
        let container = ctx.host.container(id)?;
        let from = default_route(ctx, container).filter(|from| to < *from)?;
        let message = format!(
            "The default route of {:?} moves from {from:?} to {to:?}, whose name sorts before: Docker Engine {} cannot be told otherwise.",
            container.name, engine.version
        );
        let hint = "give the network a name that sorts after; Docker 28 and newer leave the route where it is";
        Some(Note::warning(Reason::DefaultRouteMoves, object, message).hint(hint))
    };
    moved.into_iter().filter_map(note).collect()
}

/// It has no way to the outside, and gives no default route.
fn is_internal<'a>(
    ctx: &Context<'_>,
    network: &NetworkTarget,
    mut operations: impl Iterator<Item = &'a Operation>,
) -> bool {
    match &network.id {
        Some(id) => ctx.host.state.network(id).is_some_and(|network| network.internal),
        None => operations.any(
            |it| matches!(&it.call, Call::CreateNetwork(create) if create.name == network.name && create.internal),
        ),
    }
}

/// The network that gives the container its default route, on an engine that goes by names.
fn default_route<'a>(ctx: &Context<'_>, container: &'a ObservedContainer) -> Option<&'a str> {
    let gives = |endpoint: &&ObservedEndpoint| {
        let network = endpoint.network_id.as_ref().and_then(|id| ctx.host.state.network(id));
        !container.is_leftover(endpoint) && network.is_none_or(|network| !network.internal)
    };
    container.endpoints.iter().filter(gives).map(|endpoint| endpoint.network_name.as_str()).min()
}
