//! The server's proxy: on the networks of active destinations that ask for it, and off those it was taken from.

use std::collections::BTreeSet;

use super::host;
use super::member::{self, Members, Target, Wanted, WantedService};
use super::operation::{Call, Cause, ContainerTarget, Group, Note, Operation, Reason};
use super::ownership::{self, Purpose};
use super::{Context, Draft, applied, leaving, service};
use crate::core::api::DestinationType;
use crate::core::desired::{DesiredDestination, ProxyInstance};
use crate::core::observed::{ContainerId, ObservedContainer, ObservedService};

/// The proxy's container, where the proxy is one and can be connected to networks.
pub(super) fn container<'a>(ctx: &Context<'a>) -> Option<&'a ObservedContainer> {
    match &ctx.server.proxy.as_ref()?.instance {
        ProxyInstance::Container(name) => ctx
            .host
            .container_named(name)
            .filter(|container| !host::is_going(container) && host::unconnectable(container).is_none()),
        ProxyInstance::Service(_) => None,
    }
}

/// Why the proxy cannot be connected at present. One note a server: it concerns all of its destinations alike.
pub(super) fn server_note(ctx: &Context<'_>) -> Option<Note> {
    let wanting = ctx.server.destinations.iter().filter(|it| it.proxy && it.active && !it.suspend).count();
    if wanting == 0 {
        return None;
    }
    let proxy = ctx.server.proxy.as_ref()?;
    // What Landfall runs itself it makes rather than waits for.
    if proxy.run_by.as_ref().is_some_and(|resource| !ctx.is_deleted(resource)) {
        return None;
    }
    let waiting = |message: String, field: &str| {
        Note::waiting(Reason::ContainerMissing, &ctx.server.key, message).hint(format!(
            "it is connected as soon as it is there; correct `spec.proxy.{field}` if it goes by another name"
        ))
    };
    let name = match &proxy.instance {
        ProxyInstance::Container(name) => name,
        ProxyInstance::Service(name) if ctx.host.service_named(name).is_some() => return None,
        ProxyInstance::Service(name) => {
            let message = format!("The proxy, a Swarm service named {name:?}, does not exist.");
            return Some(waiting(message, "service"));
        }
    };
    let waiting = |message| waiting(message, "container");
    match ctx.host.container_named(name) {
        None => Some(waiting(format!("The proxy {name:?} does not exist."))),
        Some(container) if host::is_going(container) => {
            Some(waiting(format!("The proxy {name:?} is in state {}.", container.state.as_str())))
        }
        Some(container) => ctx.host.unconnectable_note(&ctx.server.key, container, true),
    }
}

/// Whether the proxy is to be on the destination's network; `None`: it may stay where it is.
pub(super) fn belongs(ctx: &Context<'_>, destination: &DesiredDestination, marked: bool) -> Option<bool> {
    debug_assert!(ctx.server.proxy.is_some());
    match (destination.active, destination.proxy) {
        (true, true) => Some(true),
        (true, false) if !marked => None,
        (true, false) | (false, _) => Some(false),
    }
}

/// The proxy may be declared as a member too.
fn made_for(declared: Option<&BTreeSet<Purpose>>) -> BTreeSet<Purpose> {
    declared.into_iter().flatten().cloned().chain([Purpose::Proxy]).collect()
}

/// Connects or disconnects the proxy.
pub(super) fn converge<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    target: &Target<'_>,
    members: &Members<'a>,
    handled: &BTreeSet<&'a ContainerId>,
    draft: &mut Draft,
) {
    if let Some(service) = service::proxy(ctx) {
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
            match member::converge(ctx, destination, target, members, &wanted, Cause::ProxyDetached) {
                Ok(group) => draft.groups.extend(group),
                Err(note) => draft.notes.push(note),
            }
        }
        // Declared as a member as well: it belongs there in that capacity.
        Some(false) | None if declared.is_some() && destination.active => {
            if let Some(wanted) = declared {
                match member::converge(ctx, destination, target, members, wanted, Cause::MemberDetached) {
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
    if super::destination::class(ctx, destination) == DestinationType::Standalone {
        if destination.proxy && destination.active {
            draft.notes.push(
                service::on_bridge(&destination.key, &service.name)
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
            service::attach(ctx, &destination.key, target, &wanted, Cause::ProxyDetached, draft);
        }
        // Declared as a member as well: it belongs there in that capacity.
        (_, Some(wanted), _) if destination.active => {
            service::attach(ctx, &destination.key, target, wanted, Cause::MemberDetached, draft);
        }
        (_, _, Some(network)) if service::wanted_elsewhere(ctx, &destination.key, network, service) => {}
        (Some(false), _, Some(network)) => {
            draft.groups.push(service::detach(&destination.key, service, network, Cause::ProxyUnwanted));
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
