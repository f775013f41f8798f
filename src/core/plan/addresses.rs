//! Declared addresses are reserved for the members that declare them.
//!
//! Docker gives the lowest free address of a network, and keeps none for a container that is not running. So members that declare an address are
//! connected before those that are given one; an address is freed before it is taken, also where two members exchange theirs; and no endpoint that
//! Landfall connects stays on an address that is declared for another. Where the daemon gives out such an address all the same, because its
//! owner is not running, the endpoint is connected again at a spare address ([`Reserved`]), from the end of the range that Docker reaches last.
//! The spare address is on record as such, and given back once the container is seen stopped: another container might take it meanwhile, and this
//! one would not start.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::applied::{self, Family};
use super::host::{self, Attached};
use super::leaving;
use super::member::{self, Members, Target, Wanted};
use super::operation::{Note, Reason, Reserved};
use super::{Context, ownership, proxy};
use crate::core::desired::{DesiredDestination, DesiredEndpoint, implied_gateway, is_host};
use crate::core::observed::{ApiVersion, ContainerId, EndpointSettings, ObservedContainer, ObservedSubnet, STABLE};

/// Who declares which address.
#[derive(Debug, Default)]
pub(super) struct Reservations<'a>(BTreeMap<IpAddr, BTreeSet<&'a ContainerId>>);

impl<'a> Reservations<'a> {
    /// `containers`: those that the resource means, if there are any yet.
    pub(super) fn declare(&mut self, endpoint: &DesiredEndpoint, containers: &[&'a ObservedContainer]) {
        for (_, address) in declared(endpoint) {
            self.0.entry(address).or_default().extend(containers.iter().map(|container| &container.id));
        }
    }

    fn is_of_another(&self, address: IpAddr, container: &ContainerId) -> bool {
        self.0.get(&address).is_some_and(|owners| !owners.contains(container))
    }

    /// Whether the container has an address declared.
    pub(super) fn has(&self, container: &ContainerId) -> bool {
        self.0.values().any(|owners| owners.contains(container))
    }

    /// Addresses that are declared for others than the container.
    fn against(&self, container: &ContainerId) -> impl Iterator<Item = IpAddr> {
        self.0.iter().filter(move |(_, owners)| !owners.contains(container)).map(|(address, _)| *address)
    }
}

/// Adds what is declared on other nodes of the Swarm for the same network.
pub(super) fn declare_elsewhere(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    reservations: &mut Reservations<'_>,
) {
    let Some(name) = &destination.network.name else { return };
    let servers = ctx.input.desired.all_servers().filter(|server| server.key != ctx.server.key);
    let nodes = servers.filter(|server| ctx.is_node(&server.key)).flat_map(|server| &server.destinations);
    for member in nodes.filter(|it| it.network.name.as_ref() == Some(name)).flat_map(|it| &it.members) {
        if member.connect && !ctx.is_deleted(&member.resource) {
            reservations.declare(&member.endpoint, &[]);
        }
    }
}

/// The static addresses that are declared, with the names of their fields.
fn declared(endpoint: &DesiredEndpoint) -> impl Iterator<Item = (&'static str, IpAddr)> + use<> {
    let v4 = endpoint.ipv4_address.map(|ip| ("ipv4Address", IpAddr::V4(ip)));
    let v6 = endpoint.ipv6_address.map(|ip| ("ipv6Address", IpAddr::V6(ip)));
    v4.into_iter().chain(v6)
}

/// The addresses that an endpoint has at present.
pub(super) fn in_use(attached: &Attached<'_>) -> impl Iterator<Item = IpAddr> + use<> {
    let endpoint = attached.endpoint;
    [member::address(&endpoint.ipv4_address), member::address(&endpoint.ipv6_address)].into_iter().flatten()
}

/// The addresses that it was asked to have.
pub(super) fn configured(settings: &EndpointSettings) -> impl Iterator<Item = IpAddr> + use<> {
    let v4 = settings.ipv4_address.as_deref().and_then(member::address);
    v4.into_iter().chain(settings.ipv6_address.as_deref().and_then(member::address))
}

/// Whether it has an address of its own.
pub(super) fn is_static(settings: &EndpointSettings) -> bool {
    configured(settings).next().is_some()
}

fn subnets<'t>(target: &'t Target<'_>) -> &'t [ObservedSubnet] {
    match target.network {
        Some(network) => &network.subnets,
        None => &target.create.subnets,
    }
}

fn range(subnet: &ObservedSubnet) -> Option<IpNet> {
    subnet.subnet.parse::<IpNet>().ok().map(|range| range.trunc())
}

/// What the daemon gives addresses from, where that is not the whole subnet.
fn given_out(subnet: &ObservedSubnet) -> Option<IpNet> {
    subnet.ip_range.as_deref().and_then(|text| text.parse().ok())
}

fn gateway(subnet: &ObservedSubnet, range: &IpNet) -> IpAddr {
    let told = subnet.gateway.as_deref().and_then(member::address);
    told.unwrap_or_else(|| implied_gateway(range, given_out(subnet).as_ref()))
}

/// An address outside of the network's ranges is never given out.
fn is_given_out(target: &Target<'_>, address: IpAddr) -> bool {
    subnets(target).iter().filter_map(range).any(|range| range.contains(&address))
}

/// What a connection of the container must keep off.
pub(super) fn reserved(
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
        taken.extend(subnet.aux_addresses.values().filter_map(|text| member::address(text)));
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
pub(super) fn trespasses(
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
pub(super) fn let_go(settings: &mut EndpointSettings, reserved: &Reserved, set: &str) {
    let EndpointSettings { ipv4_address, ipv6_address, driver_opts, .. } = settings;
    for (family, address) in [(Family::V4, ipv4_address), (Family::V6, ipv6_address)] {
        let Some(text) = address.as_deref() else { continue };
        let of_another = member::address(text).is_some_and(|ip| reserved.addresses.contains(&ip));
        if of_another && applied::may_be_own_address(family, text, driver_opts, set) {
            *address = None;
        }
    }
}

/// The endpoint is Landfall's own, and has the address from the daemon or from a manifest that no longer says so.
fn is_unclaimed(ctx: &Context<'_>, attached: &Attached<'_>, ip: IpAddr) -> bool {
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

/// An address that cannot be had is refused before anything is disconnected for it.
pub(super) fn check<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    target: &Target<'a>,
    members: &Members<'a>,
    wanted: &Wanted<'_>,
    attachment: Option<&Attached<'_>>,
) -> Result<(), Note> {
    Check { ctx, destination, target, members }.obtainable(wanted, attachment, &mut BTreeSet::new())
}

/// What it takes to tell whether an address can be had.
struct Check<'c, 'a> {
    ctx: &'c Context<'a>,
    destination: &'a DesiredDestination,
    target: &'c Target<'a>,
    members: &'c Members<'a>,
}

impl<'a> Check<'_, 'a> {
    /// `asking`: whose addresses depend on the answer.
    fn obtainable(
        &self,
        wanted: &Wanted<'_>,
        attachment: Option<&Attached<'_>>,
        asking: &mut BTreeSet<ContainerId>,
    ) -> Result<(), Note> {
        asking.insert(wanted.container.id.clone());
        let settings = attachment.and_then(|attached| attached.endpoint.settings.as_ref());
        let has: Vec<IpAddr> = settings.into_iter().flat_map(configured).collect();
        for (field, ip) in declared(&wanted.endpoint) {
            if !has.contains(&ip) {
                self.within(wanted, field, ip)?;
                self.left_by_the_network(wanted, field, ip)?;
            }
            self.unheld(wanted, field, ip, asking)?;
        }
        Ok(())
    }

    fn within(&self, wanted: &Wanted<'_>, field: &str, ip: IpAddr) -> Result<(), Note> {
        let list = |subnets: &[IpNet], none: &str| match subnets {
            [] => none.to_owned(),
            subnets => subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        let refuse = |message: String| Note::refused(Reason::AddressUnavailable, wanted.object, message);
        let declared: Vec<IpNet> = self.destination.network.subnets.iter().map(|subnet| subnet.subnet).collect();
        let from_pool = declared.iter().all(|subnet| subnet.addr().is_ipv4() != ip.is_ipv4());
        if from_pool && self.ctx.host.state.engine.knows(ApiVersion::STATIC_IN_POOL) {
            if self.target.network.is_none() {
                let network = &self.target.create.name;
                let message =
                    format!("spec.endpoint.{field} is {ip}, and the subnet of {network:?} is chosen when it is made.");
                return Err(Note::waiting(Reason::AddressUnavailable, wanted.object, message)
                    .hint("apply again when it is, or declare `spec.network.subnets`"));
            }
        } else if !declared.iter().any(|subnet| subnet.contains(&ip)) {
            return Err(refuse(format!(
                "spec.endpoint.{field} is {ip}, and the declared subnets of {} are {}.",
                self.destination.key,
                list(&declared, "none")
            ))
            .hint("the daemon gives a static address only within a declared subnet"));
        }
        // The network may be another than declared, and stay so: no endpoint is disconnected for an address that it cannot give.
        let network = self.target.network.filter(|network| !network.is_unallocated());
        if let Some(network) = network {
            let actual = host::subnets(network);
            if !actual.iter().any(|subnet| subnet.contains(&ip)) {
                return Err(refuse(format!(
                    "spec.endpoint.{field} is {ip}, and the network {:?} on the server has {}.",
                    network.name,
                    list(&actual, "no subnets")
                ))
                .hint("it is connected as declared once the network is; `replacement` says whether that may happen"));
            }
        }
        Ok(())
    }

    /// The network keeps some for itself: its gateways, and `auxAddresses`.
    fn left_by_the_network(&self, wanted: &Wanted<'_>, field: &str, ip: IpAddr) -> Result<(), Note> {
        for subnet in subnets(self.target) {
            let Some(range) = range(subnet).filter(|range| range.contains(&ip)) else { continue };
            let aux = subnet.aux_addresses.iter().find(|(_, text)| member::address(text) == Some(ip));
            let what = match aux {
                Some((name, _)) => format!("`auxAddresses.{name}`"),
                None if gateway(subnet, &range) == ip => "the gateway".to_owned(),
                None => continue,
            };
            let message =
                format!("spec.endpoint.{field} is {ip}, which is {what} of the network {:?}.", self.target.create.name);
            return Err(Note::refused(Reason::AddressTaken, wanted.object, message).hint("declare another address"));
        }
        Ok(())
    }

    fn unheld(
        &self,
        wanted: &Wanted<'_>,
        field: &str,
        ip: IpAddr,
        asking: &mut BTreeSet<ContainerId>,
    ) -> Result<(), Note> {
        let Some(network) = self.target.network else { return Ok(()) };
        let attached = self.ctx.host.attached(network);
        let holds =
            |other: &&Attached<'a>| other.container.id != wanted.container.id && in_use(other).any(|held| held == ip);
        let Some(holder) = attached.iter().find(holds) else { return Ok(()) };
        if self.gives_up(holder, ip, wanted.container, asking) {
            return Ok(());
        }
        let (name, on) = (&holder.container.name, &network.name);
        let message = format!("spec.endpoint.{field} is {ip}, which the container {name:?} holds.");
        let settings = holder.endpoint.settings.as_ref();
        let own = settings.is_some_and(|it| ownership::is_marked(it, self.ctx.set));
        let declared = self.members.declared.contains(&holder.container.id);
        let leaves = own && !declared && !host::is_proxy(holder.container, self.ctx.server.proxy.as_ref());
        if leaves && self.ctx.request.prune {
            // An ordinary deployment: nothing is wrong, and nobody has to do anything.
            let hint = format!(
                "{name} leaves as soon as {} has run for {STABLE} s, or is healthy if it has a health check",
                wanted.container.name
            );
            let again = wanted.container.settles_in();
            return Err(Note::waiting(Reason::AddressTaken, wanted.object, message).hint(hint).again(again));
        }
        let hint = match leaves {
            true => format!("`--prune` disconnects {name}, which no resource declares any more"),
            false => format!("declare another address, or free it: docker network disconnect {on} {name}"),
        };
        Err(Note::refused(Reason::AddressTaken, wanted.object, message).hint(hint))
    }

    /// Whether the plan takes the holder off the address.
    fn gives_up(
        &self,
        holder: &Attached<'a>,
        ip: IpAddr,
        taker: &ObservedContainer,
        asking: &mut BTreeSet<ContainerId>,
    ) -> bool {
        let Self { ctx, destination, target, members } = self;
        let (container, proxy) = (holder.container, ctx.server.proxy.as_ref());
        let Some(settings) = &holder.endpoint.settings else { return false };
        // It waits for ours in turn.
        if asking.contains(&container.id) {
            return true;
        }
        let moves_on = |endpoint: &DesiredEndpoint| {
            is_unclaimed(ctx, holder, ip)
                && (member::differs(holder, endpoint, ctx.set) || trespasses(ctx, target, members, holder, endpoint))
        };
        if let Some(wanted) = members.wanted.iter().find(|wanted| wanted.container.id == container.id) {
            return match declared(&wanted.endpoint).find(|(_, own)| own.is_ipv4() == ip.is_ipv4()) {
                Some((_, own)) => own != ip && self.obtainable(wanted, Some(holder), asking).is_ok(),
                None => moves_on(&wanted.endpoint),
            };
        }
        if host::is_proxy(container, proxy) {
            return match proxy::belongs(ctx, destination, ownership::is_marked(settings, ctx.set)) {
                Some(true) => moves_on(&DesiredEndpoint::default()),
                Some(false) => true,
                None => false,
            };
        }
        // A predecessor hands over what he has.
        target.network.is_some_and(|network| leaving::gives_way(ctx, destination, network, members, holder, taker))
    }
}
