//! The server's proxy, a container or a Swarm service: on the networks of active destinations that ask for it, and off those it was taken from.

use std::collections::BTreeSet;

use super::draft::Draft;
use super::{attachment, endpoint};
use crate::core::api::DestinationType;
use crate::core::desired::DesiredDestination;
use crate::core::observed::ContainerId;
use crate::core::plan::decide::leaving;
use crate::core::plan::decide::seat::{self, Now, SeatDecision, SeatFacts, Wish, made_for};
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::world::context::{self, Context};
use crate::core::plan::world::members::{self, Members};
use crate::core::plan::world::party::Party;
use crate::core::plan::world::target::{Target, Wanted, WantedService};
use crate::core::plan::world::{applied, class, elsewhere, ownership};

/// The proxy, and where it is.
struct Proxy<'a> {
    who: Party<'a>,
    now: Now,
    /// Landfall put it there.
    ours: bool,
}

impl<'a> Proxy<'a> {
    fn of(ctx: &Context<'a>, target: &Target<'_>) -> Option<Self> {
        if let Some(service) = context::proxy(ctx) {
            let on = target.network.filter(|network| service.is_on(network));
            let ours = on.and_then(|network| service.attachment(network)).is_some_and(|attachment| {
                ownership::is_marked_service(attachment, ctx.set) && !applied::is_found(&attachment.driver_opts)
            });
            let now = if on.is_some() { Now::On } else { Now::Off };
            return Some(Self { who: Party::Service(service), now, ours });
        }
        let container = context::container(ctx)?;
        let attached = ctx.host.attachment(container, target.network, &target.create.name);
        let options = attached.as_ref().and_then(|attached| Some(&attached.endpoint.settings.as_ref()?.driver_opts));
        let ours = options.is_some_and(|options| applied::is_own(options, ctx.set))
            && !leaving::is_at_home(&ctx.host, container, options, &target.create.name, target.network);
        let now = match attached {
            Some(attached) if attached.stale => Now::Stale,
            Some(_) if target.network.is_some() => Now::On,
            Some(_) | None => Now::Off,
        };
        Some(Self { who: Party::Container(container), now, ours })
    }
}

/// Connects or disconnects the proxy.
pub(crate) fn converge<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    target: &Target<'_>,
    members: &Members<'a>,
    handled: &BTreeSet<&'a ContainerId>,
    draft: &mut Draft,
) {
    let Some(Proxy { who, now, ours }) = Proxy::of(ctx, target) else { return };
    let member = match who {
        Party::Container(container) if handled.contains(&container.id) => return,
        Party::Container(container) => members.wanted.iter().any(|wanted| wanted.container.id == container.id),
        Party::Service(service) if class::class(ctx, destination) == DestinationType::Standalone => {
            if destination.proxy && destination.active {
                let note = members::on_bridge(&destination.key, &service.name);
                draft.notes.push(note.hint("set `proxy: false`, or leave out `type: standalone`"));
            }
            return;
        }
        Party::Service(service) => members.services.iter().any(|wanted| wanted.service.id == service.id),
    };
    let wish = seat::proxy(destination, ours, member);
    if let Wish::Present(cause) = wish {
        attach(ctx, destination, target, members, (who, cause), draft);
        return;
    }
    let decision = seat::seat(SeatFacts { wish, now, differs: false, trespasses: false });
    let Some(network) = target.network else { return };
    match (decision, who) {
        (_, Party::Service(service)) if elsewhere::wanted_elsewhere(ctx, &destination.key, network, service) => {}
        (SeatDecision::Detach(cause), Party::Container(container)) => {
            draft.groups.push(endpoint::detach(&destination.key, container, network, cause));
        }
        (SeatDecision::Detach(cause), Party::Service(service)) => {
            draft.groups.push(attachment::detach(&destination.key, service, network, cause));
        }
        (SeatDecision::Report, _) => draft.notes.push(uninvited(destination, who, &network.name)),
        _ => {}
    }
}

/// Puts it on the network: as what the proxy needs, with whatever a resource that means it declares, or as that resource's alone.
fn attach<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    target: &Target<'_>,
    members: &Members<'a>,
    (who, cause): (Party<'a>, Cause),
    draft: &mut Draft,
) {
    let as_proxy = cause == Cause::ProxyDetached;
    match who {
        Party::Container(container) => {
            let declared = members.wanted.iter().find(|wanted| wanted.container.id == container.id);
            let own = Wanted {
                object: &destination.key,
                container,
                endpoint: declared.map(|wanted| wanted.endpoint.clone()).unwrap_or_default(),
                start_after_repair: false,
                made_for: made_for(declared.map(|wanted| &wanted.made_for)),
            };
            let wanted = declared.filter(|_| !as_proxy).unwrap_or(&own);
            match endpoint::converge(ctx, destination, target, members, wanted, cause) {
                Ok(group) => draft.groups.extend(group),
                Err(note) => draft.notes.push(note),
            }
        }
        Party::Service(service) => {
            let declared = members.services.iter().find(|wanted| wanted.service.id == service.id);
            let own = WantedService {
                object: &destination.key,
                service,
                aliases: declared.map(|wanted| wanted.aliases.clone()).unwrap_or_default(),
                made_for: made_for(declared.map(|wanted| &wanted.made_for)),
            };
            let wanted = declared.filter(|_| !as_proxy).unwrap_or(&own);
            attachment::attach(ctx, &destination.key, target, wanted, cause, draft);
        }
    }
}

/// It is on the network of a destination that asks for none, and Landfall did not put it there.
fn uninvited(destination: &DesiredDestination, who: Party<'_>, network: &str) -> Note {
    let name = who.name();
    let (message, off) = match who {
        Party::Container(_) => (
            format!("The proxy {name:?} is on {network:?}, which asks for none; Landfall did not connect it."),
            format!("docker network disconnect {network} {name}"),
        ),
        Party::Service(_) => (
            format!(
                "The proxy, the Swarm service {name:?}, is on {network:?}, which asks for none; Landfall did not put it there."
            ),
            format!("docker service update --network-rm {network} {name}"),
        ),
    };
    Note::unmanaged(Reason::MembershipForeign, &destination.key, message).hint(off)
}
