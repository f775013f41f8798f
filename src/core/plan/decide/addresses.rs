//! Declared addresses are reserved for the members that declare them.
//!
//! Docker gives the lowest free address of a network, and keeps none for a container that is not running. So members that declare an address are
//! connected before those that are given one; an address is freed before it is taken, also where two members exchange theirs; and no endpoint that
//! Landfall connects stays on an address that is declared for another. Where the daemon gives out such an address all the same, because its
//! owner is not running, the endpoint is connected again at a spare address ([`Reserved`]), from the end of the range that Docker reaches last.
//! The spare address is on record as such, and given back once the container is seen stopped: another container might take it meanwhile, and this
//! one would not start.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::core::desired::{DesiredEndpoint, implied_gateway, is_host};
use crate::core::observed::{ContainerId, EndpointSettings, ObservedSubnet};
use crate::core::plan::document::target::Reserved;
use crate::core::plan::world::applied::{self, Family};
use crate::core::plan::world::context::Context;
use crate::core::plan::world::members::Members;
use crate::core::plan::world::ownership;
use crate::core::plan::world::reservations::declared;
use crate::core::plan::world::server::Attached;
use crate::core::plan::world::target::Target;

/// The addresses that an endpoint has at present.
pub(crate) fn in_use(attached: &Attached<'_>) -> impl Iterator<Item = IpAddr> + use<> {
    let endpoint = attached.endpoint;
    [applied::address(&endpoint.ipv4_address), applied::address(&endpoint.ipv6_address)].into_iter().flatten()
}

/// The addresses that it was asked to have.
pub(crate) fn configured(settings: &EndpointSettings) -> impl Iterator<Item = IpAddr> + use<> {
    let v4 = settings.ipv4_address.as_deref().and_then(applied::address);
    v4.into_iter().chain(settings.ipv6_address.as_deref().and_then(applied::address))
}

/// Whether it has an address of its own.
pub(crate) fn is_static(settings: &EndpointSettings) -> bool {
    configured(settings).next().is_some()
}

pub(crate) fn subnets<'t>(target: &'t Target<'_>) -> &'t [ObservedSubnet] {
    match target.network {
        Some(network) => &network.subnets,
        None => &target.create.subnets,
    }
}

pub(crate) fn range(subnet: &ObservedSubnet) -> Option<IpNet> {
    subnet.subnet.parse::<IpNet>().ok().map(|range| range.trunc())
}

/// What the daemon gives addresses from, where that is not the whole subnet.
fn given_out(subnet: &ObservedSubnet) -> Option<IpNet> {
    subnet.ip_range.as_deref().and_then(|text| text.parse().ok())
}

pub(crate) fn gateway(subnet: &ObservedSubnet, range: &IpNet) -> IpAddr {
    let told = subnet.gateway.as_deref().and_then(applied::address);
    told.unwrap_or_else(|| implied_gateway(range, given_out(subnet).as_ref()))
}

/// An address outside of the network's ranges is never given out.
fn is_given_out(target: &Target<'_>, address: IpAddr) -> bool {
    subnets(target).iter().filter_map(range).any(|range| range.contains(&address))
}

/// What a connection of the container must keep off.
pub(crate) fn reserved(
    ctx: &Context<'_>,
    target: &Target<'_>,
    members: &Members<'_>,
    container: &ContainerId,
) -> Reserved {
    let addresses: Vec<IpAddr> =
        members.reservations.against(container).filter(|ip| is_given_out(target, *ip)).collect();
    let spare = if addresses.is_empty() { Vec::new() } else { spares(ctx, target, members, container) };
    Reserved { addresses, spare }
}

/// How many addresses are tried.
const SPARES: usize = 4;

/// How far they are looked for.
const REACH: usize = 1024;

/// Free addresses of the network, as far as can be seen, those that Docker gives last first. Others for each container: a daemon that finds
/// the IPv6 address of a connection taken may keep the IPv4 address that it had reserved for it.
fn spares(ctx: &Context<'_>, target: &Target<'_>, members: &Members<'_>, container: &ContainerId) -> Vec<IpAddr> {
    let rank = members.wanted.iter().position(|wanted| wanted.container.id == *container);
    let rank = rank.map_or(0, |rank| rank + 1);
    let mut taken: BTreeSet<IpAddr> = members.reservations.0.keys().copied().collect();
    for attached in target.network.map(|network| ctx.host.attached(network)).unwrap_or_default() {
        taken.extend(in_use(&attached));
        taken.extend(attached.endpoint.settings.iter().flat_map(configured));
    }
    let mut spares = Vec::new();
    for subnet in subnets(target) {
        let Some(range) = range(subnet) else { continue };
        let given_out = given_out(subnet);
        let gateway = gateway(subnet, &range);
        taken.extend(subnet.aux_addresses.values().filter_map(|text| applied::address(text)));
        let is_free = |ip: &IpAddr| *ip != gateway && is_host(&range, *ip) && !taken.contains(ip);
        let (outside, inside): (Vec<IpAddr>, Vec<IpAddr>) = downwards(&range)
            .filter(is_free)
            .partition(|ip| given_out.as_ref().is_some_and(|given_out| !given_out.contains(ip)));
        let free: Vec<IpAddr> = outside.into_iter().chain(inside).collect();
        for round in 0..SPARES {
            let at = (rank + round * (members.wanted.len() + 1)).checked_rem(free.len());
            let spare = at.and_then(|at| free.get(at)).copied().filter(|spare| !spares.contains(spare));
            spares.extend(spare);
        }
    }
    spares
}

/// Beyond as many addresses, engines before Docker 27 do not know their way in a range of IPv6.
const KNOWN: u128 = 0xffff;

/// The last addresses of the range, the very last first.
fn downwards(range: &IpNet) -> impl Iterator<Item = IpAddr> + use<> {
    let first = range.network();
    let last = match (first, range.broadcast()) {
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            Ipv6Addr::from_bits(last.to_bits().min(first.to_bits().saturating_add(KNOWN))).into()
        }
        (_, last) => last,
    };
    (0..REACH).map_while(move |back| {
        let address = match last {
            IpAddr::V4(last) => Ipv4Addr::from_bits(last.to_bits().checked_sub(u32::try_from(back).ok()?)?).into(),
            IpAddr::V6(last) => Ipv6Addr::from_bits(last.to_bits().checked_sub(u128::try_from(back).ok()?)?).into(),
        };
        (address >= first).then_some(address)
    })
}

/// Whether a member is on an address that is declared for another and gives it up: the endpoint is Landfall's own, and the address neither declared for it nor chosen by people.
pub(crate) fn trespasses(
    ctx: &Context<'_>,
    target: &Target<'_>,
    members: &Members<'_>,
    attached: &Attached<'_>,
    endpoint: &DesiredEndpoint,
) -> bool {
    let mut on = in_use(attached).filter(|ip| {
        members.reservations.is_of_another(*ip, &attached.container.id)
            && is_given_out(target, *ip)
            && declared(endpoint).all(|(_, own)| own.is_ipv4() != ip.is_ipv4())
            && is_unclaimed(ctx, attached, *ip)
    });
    let spare = |ip: IpAddr| {
        let spares = spares(ctx, target, members, &attached.container.id);
        spares.iter().any(|spare| spare.is_ipv4() == ip.is_ipv4())
    };
    on.any(spare)
}

/// Takes out of an endpoint's settings what is declared for another, unless people chose it.
pub(crate) fn let_go(settings: &mut EndpointSettings, reserved: &Reserved, set: &str) {
    let EndpointSettings { ipv4_address, ipv6_address, driver_opts, .. } = settings;
    for (family, address) in [(Family::V4, ipv4_address), (Family::V6, ipv6_address)] {
        let Some(text) = address.as_deref() else { continue };
        let of_another = applied::address(text).is_some_and(|ip| reserved.addresses.contains(&ip));
        if of_another && applied::may_be_own_address(family, text, driver_opts, set) {
            *address = None;
        }
    }
}

/// The endpoint is Landfall's own, and has the address from the daemon or from a manifest that no longer says so.
pub(crate) fn is_unclaimed(ctx: &Context<'_>, attached: &Attached<'_>, ip: IpAddr) -> bool {
    let Some(settings) = attached.endpoint.settings.as_ref().filter(|it| ownership::is_marked(it, ctx.set)) else {
        return false;
    };
    let (family, configured) = match ip {
        IpAddr::V4(_) => (Family::V4, &settings.ipv4_address),
        IpAddr::V6(_) => (Family::V6, &settings.ipv6_address),
    };
    match configured {
        None => true,
        Some(text) => applied::may_be_own_address(family, text, &settings.driver_opts, ctx.set),
    }
}
