//! Networks that an engine can never make: they are refused before anything is tried.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::Context;
use super::operation::{NetworkCreate, Note, OVERLAY, Reason};
use crate::core::api::DestinationType;
use crate::core::desired::DesiredDestination;
use crate::core::observed::{ApiVersion, NetworkId, NetworkScope, ObservedNetwork};

const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

/// What the server's engine can never make.
pub(super) fn impossible(ctx: &Context<'_>, destination: &DesiredDestination, actual: DestinationType) -> Option<Note> {
    let network = &destination.network;
    let refuse = |message: String| Note::refused(Reason::WrongScope, &destination.key, message);
    let engine = &ctx.host.state.engine;
    if !network.ipv4 && !engine.knows(ApiVersion::WITHOUT_IPV4) {
        let message =
            format!("spec.network.ipv4 is false, and Docker Engine {} makes none without IPv4.", engine.version);
        return Some(refuse(message).hint("it takes Docker 28 or newer (API 1.48)"));
    }
    if actual != DestinationType::Standalone {
        return None;
    }
    let (v4, v6): (Vec<IpNet>, Vec<IpNet>) =
        network.subnets.iter().map(|it| it.subnet).partition(|subnet| matches!(subnet, IpNet::V4(_)));
    let (family, several) = [("IPv4", v4), ("IPv6", v6)].into_iter().find(|(_, subnets)| subnets.len() > 1)?;
    let several: Vec<String> = several.iter().map(ToString::to_string).collect();
    let message =
        format!("A bridge network has one {family} subnet, and the manifest declares {}.", several.join(", "));
    Some(
        refuse(message).hint("declare one of them; members that are to be kept apart go to a destination of their own"),
    )
}

/// What the server cannot make as it is, where a network has to be made.
pub(super) fn uncreatable(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    create: &NetworkCreate,
    ignored: &BTreeSet<&NetworkId>,
) -> Option<Note> {
    if create.driver == OVERLAY {
        return None;
    }
    let engine = &ctx.host.state.engine;
    let is_v6 = |cidr: &str| matches!(cidr.parse::<IpNet>(), Ok(IpNet::V6(_)));
    let pools = engine.knows(ApiVersion::IPV6_POOLS) || engine.address_pools.iter().any(|pool| is_v6(&pool.base));
    if create.ipv6 && !pools && !create.subnets.iter().any(|subnet| is_v6(&subnet.subnet)) {
        let message = format!(
            "spec.network.ipv6 is true without an IPv6 subnet, and Docker Engine {} has no pool to take one from.",
            engine.version
        );
        return Some(
            Note::refused(Reason::AddressPoolExhausted, &destination.key, message).hint(
                "declare one in `spec.network.subnets`, such as a /64 of fd00::/8, or add one to `default-address-pools` of the daemon",
            ),
        );
    }
    let name = create.options.get(BRIDGE_NAME)?;
    let bridge = |network: &ObservedNetwork| match network.options.get(BRIDGE_NAME) {
        Some(name) => name.clone(),
        None => format!("br-{}", network.id.short()),
    };
    let local = ctx.host.state.networks.iter().filter(|it| it.scope == NetworkScope::Local && it.driver == "bridge");
    let mut others = local.filter(|network| !ignored.contains(&network.id));
    let other = others.find(|network| bridge(network) == *name)?;
    let message = format!("The bridge {name:?} is that of the network {:?}.", other.name);
    Some(
        Note::refused(Reason::NameTaken, &destination.key, message)
            .hint(format!("choose another `{BRIDGE_NAME}`, or leave it to Docker")),
    )
}
