//! Who declares which address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::context::Context;
use crate::core::desired::{DesiredDestination, DesiredEndpoint};
use crate::core::observed::{ContainerId, ObservedContainer};

/// Who declares which address.
#[derive(Debug, Default)]
pub(crate) struct Reservations<'a>(pub(crate) BTreeMap<IpAddr, BTreeSet<&'a ContainerId>>);

impl<'a> Reservations<'a> {
    /// `containers`: those that the resource means, if there are any yet.
    pub(crate) fn declare(&mut self, endpoint: &DesiredEndpoint, containers: &[&'a ObservedContainer]) {
        for (_, address) in declared(endpoint) {
            self.0.entry(address).or_default().extend(containers.iter().map(|container| &container.id));
        }
    }

    pub(crate) fn is_of_another(&self, address: IpAddr, container: &ContainerId) -> bool {
        self.0.get(&address).is_some_and(|owners| !owners.contains(container))
    }

    /// Whether the container has an address declared.
    pub(crate) fn has(&self, container: &ContainerId) -> bool {
        self.0.values().any(|owners| owners.contains(container))
    }

    /// Addresses that are declared for others than the container.
    pub(crate) fn against(&self, container: &ContainerId) -> impl Iterator<Item = IpAddr> {
        self.0.iter().filter(move |(_, owners)| !owners.contains(container)).map(|(address, _)| *address)
    }
}

/// Adds what is declared on other nodes of the Swarm for the same network.
pub(crate) fn declare_elsewhere(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    reservations: &mut Reservations<'_>,
) {
    // Not a thousand servers for each of fifty destinations, where there is no Swarm.
    let (Some(name), Some(swarm)) = (&destination.network.name, ctx.swarm) else { return };
    let servers = ctx.input.desired.all_servers().filter(|server| server.key != ctx.server.key);
    let nodes = servers.filter(|server| swarm.has(&server.key)).flat_map(|server| &server.destinations);
    for member in nodes.filter(|it| it.network.name.as_ref() == Some(name)).flat_map(|it| &it.members) {
        if member.connect && !ctx.is_deleted(&member.resource) {
            reservations.declare(&member.endpoint, &[]);
        }
    }
}

/// The static addresses that are declared, with the names of their fields.
pub(crate) fn declared(endpoint: &DesiredEndpoint) -> impl Iterator<Item = (&'static str, IpAddr)> + use<> {
    let v4 = endpoint.ipv4_address.map(|ip| ("ipv4Address", IpAddr::V4(ip)));
    let v6 = endpoint.ipv6_address.map(|ip| ("ipv6Address", IpAddr::V6(ip)));
    v4.into_iter().chain(v6)
}
