//! Networks that an engine can never make: they are refused before anything is tried.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::core::api::DestinationType;
use crate::core::desired::DesiredDestination;
use crate::core::observed::{ApiVersion, NetworkId, NetworkScope, ObservedNetwork, OwnAddress};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::target::{NetworkCreate, OVERLAY};
use crate::core::plan::world::class::class;
use crate::core::plan::world::context::Context;

const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

/// What the server's engine can never make.
pub(crate) fn impossible(ctx: &Context<'_>, destination: &DesiredDestination, actual: DestinationType) -> Option<Note> {
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
pub(crate) fn uncreatable(
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

/// The declared range that cannot be had, because another network has it.
pub(crate) fn overlap(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    ignored: &BTreeSet<&NetworkId>,
) -> Option<Note> {
    let scope = match class(ctx, destination) {
        DestinationType::Standalone => NetworkScope::Local,
        DestinationType::Swarm => NetworkScope::Swarm,
    };
    let refused = |words: String| Note::refused(Reason::SubnetOverlap, &destination.key, words);
    let in_use = "choose another subnet; `docker network ls` and `docker network inspect` show those in use";
    // An overlay reaches every node of its Swarm, and whoever is on it is on a bridge of its node as well.
    if scope == NetworkScope::Swarm {
        if let Some(words) = ctx.declared_overlap(destination) {
            return Some(refused(words).hint("choose another subnet for one of the two"));
        }
        let subnets = destination.network.subnets.iter().map(|it| it.subnet);
        let mut taken = subnets.filter(|subnet| ctx.host.overlapping(subnet, scope, ignored).is_none());
        let found = taken.find_map(|subnet| Some((subnet, ctx.taken_on_nodes(&subnet, ignored)?)));
        if let Some((subnet, words)) = found {
            return Some(refused(format!("The subnet {subnet} {words}.")).hint(in_use));
        }
    }
    destination.network.subnets.iter().map(|subnet| &subnet.subnet).find_map(|subnet| {
        let overlay = || ctx.host.overlapping(subnet, NetworkScope::Swarm, ignored);
        if let Some((network, occupied)) = ctx.host.overlapping(subnet, scope, ignored).or_else(overlay) {
            let words = format!("The subnet {subnet} overlaps {occupied} of the network {:?}.", network.name);
            return Some(refused(words).hint(in_use));
        }
        let OwnAddress { address, of } = ctx.host.own_address_in(subnet)?;
        let what = of.describe();
        let hint = "the server would be lost with the network; choose a subnet that is nowhere else in use";
        Some(refused(format!("The subnet {subnet} contains {address}, {what}.")).hint(hint))
    })
}
