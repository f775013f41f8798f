//! The server's proxy: on the networks of active destinations that ask for it, and off those it was taken from.

use std::collections::BTreeSet;

use super::host;
use super::member::{self, Members, Target, Wanted};
use super::operation::{Call, Cause, ContainerTarget, Group, Note, Operation, Reason};
use super::{Context, Draft, ownership};
use crate::desired::{DesiredDestination, ProxyInstance};
use crate::observed::{ContainerId, ObservedContainer, ObservedNetwork};

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
    let ProxyInstance::Container(name) = &ctx.server.proxy.as_ref()?.instance else { return None };
    let waiting = |message: String| {
        Note::waiting(Reason::ContainerMissing, &ctx.server.key, message)
            .hint("it is connected as soon as it is there; correct `spec.proxy.container` if it goes by another name")
    };
    match ctx.host.container_named(name) {
        None => Some(waiting(format!("The proxy {name:?} does not exist."))),
        Some(container) if host::is_going(container) => {
            Some(waiting(format!("The proxy {name:?} is in state {}.", container.state.as_str())))
        }
        Some(container) => host::unconnectable(container).map(|mode| {
            Note::warning(
                Reason::WrongScope,
                &ctx.server.key,
                format!("The proxy {name:?} runs with network mode {mode:?} and cannot be connected to a network."),
            )
            .hint("run the proxy on a bridge network, with its ports published")
        }),
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

/// Connects or disconnects the proxy.
pub(super) fn converge<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    target: &Target<'_>,
    members: &Members<'a>,
    handled: &BTreeSet<&'a ContainerId>,
    draft: &mut Draft,
) {
    if let Some(note) = service_note(ctx, destination, target.network) {
        draft.notes.push(note);
    }
    let Some(container) = container(ctx).filter(|container| !handled.contains(&container.id)) else { return };
    let declared = members.wanted.iter().find(|wanted| wanted.container.id == container.id);
    let attached = ctx.host.attachment(container, target.network, &target.create.name);
    let marked = attached
        .as_ref()
        .and_then(|attached| attached.endpoint.settings.as_ref())
        .is_some_and(|settings| ownership::is_marked(settings, ctx.set));
    match belongs(ctx, destination, marked) {
        Some(true) => {
            let wanted = Wanted {
                object: &destination.key,
                container,
                endpoint: declared.map(|wanted| wanted.endpoint.clone()).unwrap_or_default(),
                start_after_repair: false,
            };
            match member::converge(ctx, destination, target, &wanted, Cause::ProxyDetached) {
                Ok(group) => draft.groups.extend(group),
                Err(note) => draft.notes.push(note),
            }
        }
        // Declared as a member as well: it belongs there in that capacity.
        Some(false) | None if declared.is_some() && destination.active => {
            if let Some(wanted) = declared {
                match member::converge(ctx, destination, target, wanted, Cause::MemberDetached) {
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

/// A proxy that is a Swarm service joins a network by its definition, and that restarts its tasks.
fn service_note(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    network: Option<&ObservedNetwork>,
) -> Option<Note> {
    let ProxyInstance::Service(name) = &ctx.server.proxy.as_ref()?.instance else { return None };
    if !destination.proxy || !destination.active {
        return None;
    }
    let Some(service) = ctx.host.state.services.iter().find(|service| service.name == *name) else {
        return Some(Note::waiting(
            Reason::ContainerMissing,
            &destination.key,
            format!("The proxy, a Swarm service named {name:?}, does not exist."),
        ));
    };
    if network.is_some_and(|network| service.is_on(network)) {
        return None;
    }
    let network = network.map_or("NETWORK", |network| &network.name);
    Some(
        Note::warning(
            Reason::WrongScope,
            &destination.key,
            format!("The proxy, the Swarm service {name:?}, is not on the destination's network."),
        )
        .hint(format!("docker service update --network-add {network} {name}")),
    )
}
