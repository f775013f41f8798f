//! Whether a declared address can be had: one that cannot is refused before anything is disconnected for it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::addresses::{configured, gateway, in_use, is_unclaimed, range, subnets, trespasses};
use super::seat::{self, Wish};
use super::{leaving, settings};
use crate::core::desired::{DesiredDestination, DesiredEndpoint};
use crate::core::observed::{ApiVersion, ContainerId, ObservedContainer, STABLE};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::members::Members;
use crate::core::plan::world::reservations::declared;
use crate::core::plan::world::server::Attached;
use crate::core::plan::world::target::{Target, Wanted};
use crate::core::plan::world::{applied, container, ownership};

/// An address that cannot be had is refused before anything is disconnected for it.
pub(crate) fn check<'a>(
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
            let actual = container::subnets(network);
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
            let aux = subnet.aux_addresses.iter().find(|(_, text)| applied::address(text) == Some(ip));
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
        let leaves = own && !declared && !container::is_proxy(holder.container, self.ctx.server.proxy.as_ref());
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
                && (settings::differs(holder, endpoint, ctx.set) || trespasses(ctx, target, members, holder, endpoint))
        };
        if let Some(wanted) = members.wanted.iter().find(|wanted| wanted.container.id == container.id) {
            return match declared(&wanted.endpoint).find(|(_, own)| own.is_ipv4() == ip.is_ipv4()) {
                Some((_, own)) => own != ip && self.obtainable(wanted, Some(holder), asking).is_ok(),
                None => moves_on(&wanted.endpoint),
            };
        }
        if container::is_proxy(container, proxy) {
            return match seat::proxy(destination, ownership::is_marked(settings, ctx.set), false) {
                Wish::Present(_) => moves_on(&DesiredEndpoint::default()),
                Wish::Absent(_) => true,
                Wish::Tolerated => false,
            };
        }
        // A predecessor hands over what he has.
        target.network.is_some_and(|network| leaving::gives_way(ctx, destination, network, members, holder, taker))
    }
}
