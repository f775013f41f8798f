//! What the network of a destination is made as.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::differences::options;
use super::pool;
use crate::core::api::{DestinationType, ObjectKey};
use crate::core::desired::{DesiredDestination, DesiredNetwork};
use crate::core::observed::ObservedSubnet;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::target::{NetworkCreate, OVERLAY};
use crate::core::plan::world::class::class;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::ownership;

/// The body of the call that creates the destination's network.
pub(crate) fn creation(ctx: &Context<'_>, destination: &DesiredDestination, name: Option<&str>) -> NetworkCreate {
    let fresh = ctx.input.ids.get(&destination.key);
    let DesiredNetwork {
        name: declared,
        subnets,
        auto: _,
        aux_addresses,
        internal,
        ipv4,
        ipv6,
        icc: _,
        mtu: _,
        encrypted: _,
        options: _,
        labels,
    } = &destination.network;
    // A network without a declared name keeps the one it has, also if its replacement was interrupted while there was none.
    let name = declared
        .clone()
        .or_else(|| name.map(str::to_owned))
        .or_else(|| interrupted_name(ctx, &destination.key))
        .unwrap_or(fresh.network_name);
    let overlay = class(ctx, destination) == DestinationType::Swarm;
    let mut labels = labels.clone();
    let policy = destination.deletion_policy;
    labels.extend(ownership::labels(&fresh.uid, ctx.set, &destination.key, &name, policy, ctx.source()));
    let others = ctx.host.verified_of(ctx.set, &destination.key).filter(|network| network.name != name);
    NetworkCreate {
        replaces: Vec::new(),
        beside: others.map(|network| network.id.clone()).collect(),
        generated: declared.is_none(),
        name,
        driver: if overlay { OVERLAY } else { "bridge" }.to_owned(),
        attachable: overlay,
        internal: *internal,
        ipv4: *ipv4,
        ipv6: *ipv6,
        subnets: subnets
            .iter()
            .map(|subnet| ObservedSubnet {
                subnet: subnet.subnet.to_string(),
                gateway: subnet.gateway.map(|gateway| gateway.to_string()),
                ip_range: subnet.ip_range.map(|range| range.to_string()),
                aux_addresses: aux_addresses_of(aux_addresses, &subnet.subnet),
            })
            .collect(),
        options: options(&destination.network),
        labels,
    }
}

/// Those within one subnet.
fn aux_addresses_of(all: &BTreeMap<String, IpAddr>, subnet: &IpNet) -> BTreeMap<String, String> {
    let within = all.iter().filter(|(_, address)| subnet.contains(*address));
    within.map(|(name, address)| (name.clone(), address.to_string())).collect()
}

pub(crate) fn interrupted_name(ctx: &Context<'_>, destination: &ObjectKey) -> Option<String> {
    let name = &ctx.journals(destination).last()?.network.name;
    ctx.host.networks_named(name).is_empty().then(|| name.clone())
}

/// With ranges of the server's pool, where the destination leaves them to Landfall.
pub(crate) fn placed(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    create: NetworkCreate,
) -> Result<NetworkCreate, Note> {
    if !destination.network.auto {
        return Ok(create);
    }
    let subnet = |range: IpNet| ObservedSubnet { subnet: range.to_string(), ..ObservedSubnet::default() };
    let subnets = pool::ranges(ctx, destination)?.into_iter().map(subnet).collect();
    Ok(NetworkCreate { subnets, ..create })
}
