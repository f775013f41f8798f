//! The server's proxy: on the networks of active destinations that ask for it, and off those it was taken from.

use std::collections::BTreeSet;

use super::draft::Draft;
use super::{attachment, endpoint};
use crate::core::api::DestinationType;
use crate::core::desired::DesiredDestination;
use crate::core::observed::{ContainerId, ObservedService};
use crate::core::plan::decide::leaving;
use crate::core::plan::decide::seat::{belongs, made_for};
use crate::core::plan::document::call::Call;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::ContainerTarget;
use crate::core::plan::world::context::{self, Context, container};
use crate::core::plan::world::members::{self, Members};
use crate::core::plan::world::target::{Target, Wanted, WantedService};
use crate::core::plan::world::{applied, class, elsewhere, ownership};

/// Connects or disconnects the proxy.
pub(crate) fn converge<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    target: &Target<'_>,
    members: &Members<'a>,
    handled: &BTreeSet<&'a ContainerId>,
    draft: &mut Draft,
) {
    if let Some(service) = context::proxy(ctx) {
        converge_service(ctx, destination, target, members, service, draft);
        return;
    }
    let Some(container) = container(ctx).filter(|container| !handled.contains(&container.id)) else { return };
    let declared = members.wanted.iter().find(|wanted| wanted.container.id == container.id);
    let attached = ctx.host.attachment(container, target.network, &target.create.name);
    let options = attached.as_ref().and_then(|attached| Some(&attached.endpoint.settings.as_ref()?.driver_opts));
    let marked = options.is_some_and(|options| applied::is_own(options, ctx.set))
        && !leaving::is_at_home(&ctx.host, container, options, &target.create.name, target.network);
    match belongs(ctx, destination, marked) {
        Some(true) => {
            let wanted = Wanted {
                object: &destination.key,
                container,
                endpoint: declared.map(|wanted| wanted.endpoint.clone()).unwrap_or_default(),
                start_after_repair: false,
                made_for: made_for(declared.map(|wanted| &wanted.made_for)),
            };
            match endpoint::converge(ctx, destination, target, members, &wanted, Cause::ProxyDetached) {
                Ok(group) => draft.groups.extend(group),
                Err(note) => draft.notes.push(note),
            }
        }
        // Declared as a member as well: it belongs there in that capacity.
        Some(false) | None if declared.is_some() && destination.active => {
            if let Some(wanted) = declared {
                match endpoint::converge(ctx, destination, target, members, wanted, Cause::MemberDetached) {
                    Ok(group) => draft.groups.extend(group),
                    Err(note) => draft.notes.push(note),
                }
            }
        }
        Some(false) => {
            if attached.is_some_and(|attached| !attached.stale) && target.network.is_some() {
                draft.groups.push(Group {
                    object: destination.key.clone(),
                    operations: vec![Operation {
                        object: destination.key.clone(),
                        call: Call::DisconnectEndpoint {
                            network: target.call(),
                            container: ContainerTarget::of(container),
                            force: false,
                        },
                        cause: Cause::ProxyUnwanted,
                        disruptive: container.state.is_live(),
                        undo: None,
                    }],
                    journal: None,
                    completes: Vec::new(),
                    needs: Vec::new(),
                });
            }
        }
        None => {
            if attached.is_some_and(|attached| !attached.stale) && target.network.is_some() {
                draft.notes.push(
                    Note::unmanaged(
                        Reason::MembershipForeign,
                        &destination.key,
                        format!(
                            "The proxy {:?} is on {:?}, which asks for none; Landfall did not connect it.",
                            container.name, target.create.name
                        ),
                    )
                    .hint(format!("docker network disconnect {} {}", target.create.name, container.name)),
                );
            }
        }
    }
}

/// Puts a proxy that is a Swarm service on the network, or takes it off.
fn converge_service<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    target: &Target<'_>,
    members: &Members<'a>,
    service: &'a ObservedService,
    draft: &mut Draft,
) {
    if class::class(ctx, destination) == DestinationType::Standalone {
        if destination.proxy && destination.active {
            draft.notes.push(
                members::on_bridge(&destination.key, &service.name)
                    .hint("set `proxy: false`, or leave out `type: standalone`"),
            );
        }
        return;
    }
    let on = target.network.filter(|network| service.is_on(network));
    let attachment = on.and_then(|network| service.attachment(network));
    let marked = attachment.is_some_and(|attachment| {
        ownership::is_marked_service(attachment, ctx.set) && !applied::is_found(&attachment.driver_opts)
    });
    let declared = members.services.iter().find(|wanted| wanted.service.id == service.id);
    match (belongs(ctx, destination, marked), declared, on) {
        (Some(true), _, _) => {
            let aliases = declared.map(|wanted| wanted.aliases.clone()).unwrap_or_default();
            let made_for = made_for(declared.map(|wanted| &wanted.made_for));
            let wanted = WantedService { object: &destination.key, service, aliases, made_for };
            attachment::attach(ctx, &destination.key, target, &wanted, Cause::ProxyDetached, draft);
        }
        // Declared as a member as well: it belongs there in that capacity.
        (_, Some(wanted), _) if destination.active => {
            attachment::attach(ctx, &destination.key, target, wanted, Cause::MemberDetached, draft);
        }
        (_, _, Some(network)) if elsewhere::wanted_elsewhere(ctx, &destination.key, network, service) => {}
        (Some(false), _, Some(network)) => {
            draft.groups.push(attachment::detach(&destination.key, service, network, Cause::ProxyUnwanted));
        }
        (None, _, Some(network)) => draft.notes.push(
            Note::unmanaged(
                Reason::MembershipForeign,
                &destination.key,
                format!(
                    "The proxy, the Swarm service {:?}, is on {:?}, which asks for none; Landfall did not put it there.",
                    service.name, network.name
                ),
            )
            .hint(format!("docker service update --network-rm {} {}", network.name, service.name)),
        ),
        (_, _, None) => {}
    }
}
