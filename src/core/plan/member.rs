//! Members: which containers a resource means, and what connects them as declared.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Context;
use super::addresses::Reservations;
use super::applied::{self, Family};
use super::host::{self, Attached, COMPOSE_PROJECT, COMPOSE_SERVICE, Host, STACK_NAMESPACE, SWARM_SERVICE};
use super::operation::{
    Call, Cause, ContainerTarget, Group, Journal, JournalEndpoint, JournalPurpose, NetworkCreate, NetworkTarget, Note,
    Operation, Reason, Reserved, ServerType,
};
use super::ownership::{self, Mark, Purpose};
use super::{addresses, route, service};
use crate::core::api::{ContainerSelector, DestinationType, ObjectKey};
use crate::core::desired::{DesiredDestination, DesiredEndpoint, DesiredMember};
use crate::core::observed::{
    ContainerId, EndpointSettings, NetworkId, NetworkScope, ObservedContainer, ObservedEndpoint, ObservedNetwork,
    ObservedService, ServiceAttachment,
};
use crate::core::workload::stack;

/// A container that belongs on a destination's network, and how it should appear there.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    /// The resource, or the destination where the container is the proxy.
    pub(super) object: &'a ObjectKey,
    pub(super) container: &'a ObservedContainer,
    pub(super) endpoint: DesiredEndpoint,
    pub(super) start_after_repair: bool,
    pub(super) made_for: BTreeSet<Purpose>,
}

/// A Swarm service whose tasks belong on a destination's network.
#[derive(Debug, Clone)]
pub(super) struct WantedService<'a> {
    /// The resource, or the destination where the service is the proxy.
    pub(super) object: &'a ObjectKey,
    pub(super) service: &'a ObservedService,
    pub(super) aliases: Vec<String>,
    pub(super) made_for: BTreeSet<Purpose>,
}

/// The containers and Swarm services of a destination's resources.
#[derive(Debug, Default)]
pub(super) struct Members<'a> {
    /// To be on the network; in the order of the resources and their containers' names.
    pub(super) wanted: Vec<Wanted<'a>>,
    /// Belongs on the network, whether or not it can be connected as declared.
    pub(super) declared: BTreeSet<&'a ContainerId>,
    /// Stopped beside the one container that runs and that the resource's static address is for. They stay as they are.
    pub(super) leftovers: BTreeSet<&'a ContainerId>,
    /// Who declares which address.
    pub(super) reservations: Reservations<'a>,
    /// Belongs to the destination without being on its network.
    pub(super) apart: BTreeSet<&'a ContainerId>,
    /// Started by `docker compose run` for a declared service: they are left where Compose puts them.
    pub(super) one_offs: BTreeSet<&'a ContainerId>,
    /// Of resources that are being deleted: not declared any more, and not foreign yet.
    pub(super) leaving: BTreeSet<&'a ContainerId>,
    /// Every container of every resource, those apart included.
    pub(super) all: Vec<(&'a ObjectKey, &'a ObservedContainer)>,
    /// To be on the network; in the order of the resources.
    pub(super) services: Vec<WantedService<'a>>,
    /// Names of services of resources that are being deleted.
    pub(super) leaving_services: BTreeSet<&'a str>,
    pub(super) notes: Vec<Note>,
}

/// Finds the containers of the destination's resources on this server.
pub(super) fn resolve<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    network: Option<&ObservedNetwork>,
) -> Members<'a> {
    let mut members = Members::default();
    let mut index: BTreeMap<&ContainerId, usize> = BTreeMap::new();
    addresses::declare_elsewhere(ctx, destination, &mut members.reservations);
    // A standalone server has no services to be put anywhere: they are waited for.
    let class = match ctx.host.server_type() {
        ServerType::Standalone => DestinationType::Swarm,
        _ => super::destination::class(ctx, destination),
    };
    for member in &destination.members {
        let mut found = matching(&ctx.host, &member.selector);
        if member.workload.is_some() {
            // Of another set, or with labels that were copied: not what Landfall runs for this one.
            found.retain(|it| ctx.host.identities.get(it).is_some_and(|identity| identity.set == ctx.set));
        }
        if member.stack.is_some() {
            found.retain(|it| stack::owner(&it.labels).is_some_and(|owner| owner.set == ctx.set));
        }
        if ctx.is_deleted(&member.resource) {
            members.leaving.extend(found.iter().map(|container| &container.id));
            members.leaving_services.extend(member.selector.swarm_services.iter().map(String::as_str));
            let own = super::workload::services_of(ctx, destination, member);
            members.leaving_services.extend(own.into_iter().map(|service| service.name.as_str()));
            continue;
        }
        members.all.extend(found.iter().map(|container| (&member.resource, *container)));
        let one_offs =
            ctx.host.state.containers.iter().filter(|it| host::is_one_off(it) && describes(&member.selector, it));
        members.one_offs.extend(one_offs.map(|container| &container.id));
        if !member.connect {
            members.apart.extend(found.iter().map(|container| &container.id));
            continue;
        }
        members.declared.extend(found.iter().map(|container| &container.id));
        // They stay as they are until their successors have taken over.
        let before = super::workload::predecessors(ctx, destination, member);
        members.declared.extend(before.into_iter().map(|(container, _)| &container.id));
        // What Landfall runs itself it makes rather than waits for.
        if member.workload.is_none() && member.stack.is_none() {
            members.notes.extend(missing(ctx, member, &found));
        }
        members.reservations.declare(&member.endpoint, &found);
        let static_address = member.endpoint.ipv4_address.is_some() || member.endpoint.ipv6_address.is_some();
        services(ctx, class, member, static_address, &mut members);
        for service in super::workload::services_of(ctx, destination, member) {
            members.services.push(WantedService {
                object: &member.resource,
                service,
                aliases: member.endpoint.aliases.clone(),
                made_for: [Purpose::Resource(member.resource.clone())].into(),
            });
        }
        if static_address && found.iter().filter(|container| container.state.is_live()).count() == 1 {
            let leftovers = found.extract_if(.., |container| !container.state.is_live());
            members.leftovers.extend(leftovers.map(|container| &container.id));
        }
        if static_address && member.workload.is_none() && found.len() > 1 && member.selector.swarm_services.is_empty() {
            let names: Vec<_> = found.iter().map(|container| format!("{:?}", container.name)).collect();
            members.notes.push(
                Note::refused(
                    Reason::NameAmbiguous,
                    &member.resource,
                    format!("One static address is declared for {} containers: {}.", found.len(), names.join(", ")),
                )
                .hint("choose one container, or leave the address to the daemon"),
            );
            continue;
        }
        for container in found {
            if host::is_task(container) {
                if ctx.host.attachment(container, network, network.map_or("", |network| &network.name)).is_none()
                    && member.selector.swarm_services.is_empty()
                {
                    members.notes.push(service::task_note(destination, &member.resource, container));
                }
                continue;
            }
            if let Some(note) = ctx.host.unconnectable_note(&member.resource, container, false) {
                members.notes.push(note);
                continue;
            }
            let endpoint = declared_endpoint(member, container);
            match index.get(&container.id) {
                // Two resources may mean one container: it gets what both declare.
                Some(&at) => {
                    merge(&mut members.wanted[at].endpoint, &endpoint);
                    members.wanted[at].start_after_repair |= member.start_after_repair;
                    members.wanted[at].made_for.insert(Purpose::Resource(member.resource.clone()));
                }
                None => {
                    index.insert(&container.id, members.wanted.len());
                    members.wanted.push(Wanted {
                        object: &member.resource,
                        container,
                        endpoint,
                        start_after_repair: member.start_after_repair,
                        made_for: [Purpose::Resource(member.resource.clone())].into(),
                    });
                }
            }
        }
    }
    for wanted in &mut members.wanted {
        members.notes.extend(route::refused(ctx, network, wanted));
        wanted.endpoint = route::possible(ctx, &wanted.endpoint);
    }
    members
}

/// A container of a stack also answers to the name of its service, with the project's behind it.
fn declared_endpoint(member: &DesiredMember, container: &ObservedContainer) -> DesiredEndpoint {
    let mut endpoint = member.endpoint.clone();
    if let (Some(of), Some(service)) = (&member.stack, container.labels.get(COMPOSE_SERVICE)) {
        endpoint.aliases.insert(0, stack::alias(service, &of.project));
    }
    endpoint
}

fn merge(endpoint: &mut DesiredEndpoint, other: &DesiredEndpoint) {
    for alias in &other.aliases {
        if !endpoint.aliases.contains(alias) {
            endpoint.aliases.push(alias.clone());
        }
    }
    endpoint.ipv4_address = endpoint.ipv4_address.or(other.ipv4_address);
    endpoint.ipv6_address = endpoint.ipv6_address.or(other.ipv6_address);
    endpoint.gw_priority = endpoint.gw_priority.or(other.gw_priority);
    endpoint.mac_address = endpoint.mac_address.take().or_else(|| other.mac_address.clone());
    for (name, value) in &other.driver_opts {
        endpoint.driver_opts.entry(name.clone()).or_insert_with(|| value.clone());
    }
}

/// The containers a selector means, by name, but for those on their way out.
pub(super) fn matching<'a>(host: &Host<'a>, selector: &ContainerSelector) -> Vec<&'a ObservedContainer> {
    if *selector == ContainerSelector::default() {
        return Vec::new();
    }
    let candidates: Vec<&ObservedContainer> = if selector.names.is_empty() {
        host.state.containers.iter().collect()
    } else {
        selector.names.iter().filter_map(|name| host.container_named(name)).collect()
    };
    let mut found: Vec<_> =
        candidates.into_iter().filter(|container| selects(selector, container) && !host::is_going(container)).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
    found.dedup_by(|a, b| a.id == b.id);
    found
}

/// Whether the selector means the container. One that `docker compose run` started is meant by its name only: it carries the labels of a service
/// whose alias it must not answer for.
pub fn selects(selector: &ContainerSelector, container: &ObservedContainer) -> bool {
    describes(selector, container) && (selector.names.contains(&container.name) || !host::is_one_off(container))
}

fn describes(selector: &ContainerSelector, container: &ObservedContainer) -> bool {
    let ContainerSelector { names, labels, compose_project, compose_service, swarm_services } = selector;
    let has = |key: &str, value: &String| container.labels.get(key) == Some(value);
    *selector != ContainerSelector::default()
        && (names.is_empty() || names.contains(&container.name))
        && labels.iter().all(|(key, value)| has(key, value))
        && compose_project.as_ref().is_none_or(|project| has(COMPOSE_PROJECT, project))
        && compose_service.as_ref().is_none_or(|service| has(COMPOSE_SERVICE, service))
        && (swarm_services.is_empty() || swarm_services.iter().any(|service| has(SWARM_SERVICE, service)))
}

fn missing(ctx: &Context<'_>, member: &DesiredMember, found: &[&ObservedContainer]) -> Vec<Note> {
    let selector = &member.selector;
    let waiting = |message: String| {
        Note::waiting(Reason::ContainerMissing, &member.resource, message)
            .hint("it is connected as soon as it is there; correct `spec.containers` if it goes by another name")
    };
    let unnamed: Vec<Note> = selector
        .names
        .iter()
        .filter_map(|name| match ctx.host.container_named(name) {
            None => {
                let note = waiting(format!("There is no container named {name:?}."));
                Some(match ctx.host.container_of_id(name) {
                    Some(meant) => note.hint(format!(
                        "that is the id of the container {:?}, and another one has another: write `names: [{}]`",
                        meant.name, meant.name
                    )),
                    None => note,
                })
            }
            Some(container) if host::is_going(container) => {
                Some(waiting(format!("The container {name:?} is in state {}.", container.state.as_str())))
            }
            Some(_) => None,
        })
        .collect();
    let by_service = !selector.swarm_services.is_empty();
    if !unnamed.is_empty() || !found.is_empty() || by_service {
        unnamed
    } else {
        vec![waiting(format!("No container matches {}.", describe(selector)))]
    }
}

fn describe(selector: &ContainerSelector) -> String {
    let ContainerSelector { names, labels, compose_project, compose_service, swarm_services } = selector;
    let mut parts = Vec::new();
    if !names.is_empty() {
        parts.push(format!("names {}", names.join(", ")));
    }
    parts.extend(labels.iter().map(|(key, value)| format!("label {key}={value}")));
    parts.extend(compose_project.iter().map(|project| format!("Compose project {project}")));
    parts.extend(compose_service.iter().map(|service| format!("Compose service {service}")));
    if !swarm_services.is_empty() {
        parts.push(format!("Swarm services {}", swarm_services.join(", ")));
    }
    if parts.is_empty() { "an empty selector".to_owned() } else { parts.join(" and ") }
}

/// Finds the Swarm services that a resource means.
fn services<'a>(
    ctx: &Context<'a>,
    class: DestinationType,
    member: &'a DesiredMember,
    static_address: bool,
    members: &mut Members<'a>,
) {
    for name in &member.selector.swarm_services {
        if class == DestinationType::Standalone {
            members.notes.push(service::on_bridge(&member.resource, name));
            continue;
        }
        let Some(service) = ctx.host.service_named(name) else {
            members.notes.push(
                Note::waiting(
                    Reason::ContainerMissing,
                    &member.resource,
                    format!("There is no Swarm service named {name:?}."),
                )
                .hint("it is put on the network as soon as it is there; correct `spec.containers` if it goes by another name"),
            );
            continue;
        };
        if static_address {
            members.notes.push(
                Note::refused(
                    Reason::AddressUnavailable,
                    &member.resource,
                    format!("A static address is declared for the Swarm service {name:?}, whose tasks get theirs from the Swarm."),
                )
                .hint("remove `endpoint.ipv4Address` and `endpoint.ipv6Address`; a service is found by its name and aliases"),
            );
            continue;
        }
        let aliases = &member.endpoint.aliases;
        // Two resources may mean one service: it gets what both declare.
        if let Some(known) = members.services.iter_mut().find(|known| known.service.id == service.id) {
            let new: Vec<String> = aliases.iter().filter(|alias| !known.aliases.contains(alias)).cloned().collect();
            known.aliases.extend(new);
            known.made_for.insert(Purpose::Resource(member.resource.clone()));
        } else {
            members.services.push(WantedService {
                object: &member.resource,
                service,
                aliases: aliases.clone(),
                made_for: [Purpose::Resource(member.resource.clone())].into(),
            });
        }
    }
}

/// The network that a destination's endpoints belong on.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// `None`: the plan creates it.
    pub(super) network: Option<&'a ObservedNetwork>,
    /// What it is, or will be created as.
    pub(super) create: NetworkCreate,
}

impl Target<'_> {
    pub(super) fn call(&self) -> NetworkTarget {
        match self.network {
            Some(network) => NetworkTarget::existing(network),
            None => NetworkTarget { name: self.create.name.clone(), id: None },
        }
    }
}

/// Settings with which the endpoint could be connected again as it is. `None` where it was not inspected: never guessed.
pub(super) fn restorable(attached: &Attached<'_>) -> Option<EndpointSettings> {
    let mut settings = attached.endpoint.settings.clone()?;
    // The engine adds the container's short id by itself.
    settings.aliases.retain(|alias| alias != attached.container.id.short());
    let of_swarm = attached.endpoint.network_id.as_ref().is_some_and(NetworkId::is_of_swarm);
    if of_swarm && attached.container.state.is_live() {
        applied::forget_given(&mut settings);
    }
    // A hardware address derived from an address that the daemon chose must not be pinned: the next holder of that address would get the same.
    if settings.ipv4_address.is_none()
        && settings.mac_address.as_deref().is_some_and(|mac| is_derived(mac, attached.endpoint))
    {
        settings.mac_address = None;
    }
    Some(settings)
}

fn is_derived(mac: &str, endpoint: &ObservedEndpoint) -> bool {
    address(&endpoint.ipv4_address).is_some_and(|address| match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            mac.eq_ignore_ascii_case(&format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}"))
        }
        IpAddr::V6(_) => false,
    })
}

/// Tolerates the prefix length that some engine versions append.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}

/// What the engine is asked for: `base` as it was, with everything that is declared and without what no longer is, marked as the set's.
pub(super) fn declared_settings(
    base: EndpointSettings,
    endpoint: &DesiredEndpoint,
    mark: &Mark<'_>,
) -> EndpointSettings {
    let mut settings = base;
    applied::unpark(&mut settings, mark.set);
    let EndpointSettings { aliases, ipv4_address, ipv6_address, driver_opts, .. } = &mut settings;
    applied::apply_aliases(aliases, driver_opts, &endpoint.aliases, mark.set);
    let declared = endpoint.ipv4_address.map(IpAddr::V4);
    applied::apply_address(Family::V4, ipv4_address, driver_opts, declared, mark.set);
    let declared = endpoint.ipv6_address.map(IpAddr::V6);
    applied::apply_address(Family::V6, ipv6_address, driver_opts, declared, mark.set);
    applied::apply_mac_address(&mut settings, endpoint.mac_address.as_ref(), mark.set);
    applied::apply_gw_priority(&mut settings, endpoint.gw_priority, mark.set);
    applied::apply_driver_opts(&mut settings.driver_opts, &endpoint.driver_opts, mark.set);
    mark.write(&mut settings.driver_opts);
    settings
}

/// The settings of somebody who comes back to the network: as before, with whatever is declared.
pub(super) fn returning_settings(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    members: &Members<'_>,
    container: &ObservedContainer,
    before: EndpointSettings,
) -> EndpointSettings {
    let declared = members.wanted.iter().find(|wanted| wanted.container.id == container.id);
    let proxy = destination.proxy && host::is_proxy(container, ctx.server.proxy.as_ref());
    match declared {
        Some(wanted) => {
            let mut made_for = wanted.made_for.clone();
            made_for.extend(proxy.then_some(Purpose::Proxy));
            declared_again(before, &wanted.endpoint, &ctx.mark(&made_for, container))
        }
        None if proxy => {
            let made_for = [Purpose::Proxy].into();
            declared_again(before, &DesiredEndpoint::default(), &ctx.mark(&made_for, container))
        }
        None => before,
    }
}

/// The same as [`declared_settings`], for an endpoint that there was before, whoever made it.
fn declared_again(before: EndpointSettings, endpoint: &DesiredEndpoint, mark: &Mark<'_>) -> EndpointSettings {
    let options = before.driver_opts.clone();
    let mut settings = declared_settings(before, endpoint, mark);
    applied::keep_found(&options, &mut settings.driver_opts, mark.set);
    settings
}

/// Whether an endpoint lacks something that is declared, or has something of Landfall's that no longer is. One that was not inspected is taken
/// to be as declared.
pub(super) fn differs(attached: &Attached<'_>, endpoint: &DesiredEndpoint, set: &str) -> bool {
    let Some(settings) = &attached.endpoint.settings else { return false };
    let EndpointSettings { aliases, ipv4_address, ipv6_address, driver_opts, .. } = settings;
    let address_differs = |family, declared: Option<IpAddr>, configured: Option<&String>, in_use: &str| {
        let has = configured.map_or(in_use, String::as_str);
        match declared {
            Some(declared) => address(has) != Some(declared),
            None => configured.is_some_and(|it| applied::is_own_address(family, it, driver_opts, set)),
        }
    };
    let ObservedEndpoint { ipv4_address: v4_in_use, ipv6_address: v6_in_use, .. } = attached.endpoint;
    // A spare address might be taken while the container is stopped, and then it would not start.
    let is_parked = !attached.container.state.is_live() && applied::is_parked(driver_opts, set);
    is_parked
        || applied::aliases_differ(aliases, driver_opts, &endpoint.aliases, set)
        || applied::mac_address_differs(settings, endpoint.mac_address.as_ref(), set)
        || applied::gw_priority_differs(settings, endpoint.gw_priority, set)
        || applied::driver_opts_differ(driver_opts, &endpoint.driver_opts, set)
        || address_differs(Family::V4, endpoint.ipv4_address.map(IpAddr::V4), ipv4_address.as_ref(), v4_in_use)
        || address_differs(Family::V6, endpoint.ipv6_address.map(IpAddr::V6), ipv6_address.as_ref(), v6_in_use)
}

/// What brings one container onto the network as declared: nothing, a connect, or a disconnect and a connect.
pub(super) fn converge<'a>(
    ctx: &Context<'a>,
    destination: &DesiredDestination,
    target: &Target<'_>,
    members: &Members<'a>,
    wanted: &Wanted<'a>,
    detached: Cause,
) -> Result<Option<Group>, Note> {
    let container = wanted.container;
    let attachment = ctx.host.attachment(container, target.network, &target.create.name);
    let cause = match &attachment {
        None => Some(detached),
        Some(attached) if attached.stale => Some(Cause::EndpointStale),
        Some(attached) if differs(attached, &wanted.endpoint, ctx.set) => Some(Cause::EndpointDiffers),
        Some(attached) if addresses::trespasses(ctx, target, members, attached, &wanted.endpoint) => {
            Some(Cause::AddressReserved)
        }
        Some(_) => None,
    };
    // One that is not running needs its address when it starts.
    if cause.is_none() && container.state.is_live() {
        return Ok(None);
    }
    if cause != Some(Cause::AddressReserved) {
        addresses::check(ctx, destination, target, members, wanted, attachment.as_ref())?;
    }
    let Some(cause) = cause else { return Ok(None) };
    check_attachable(target, wanted)?;
    let reserved = addresses::reserved(ctx, target, members, &container.id);
    let connect = |settings, reserved| Call::ConnectEndpoint {
        network: target.call(),
        container: ContainerTarget::of(container),
        settings,
        reserved,
    };
    let operation =
        |call, cause, disruptive, undo| Operation { object: wanted.object.clone(), call, cause, disruptive, undo };
    let settings = |before: Option<EndpointSettings>| {
        let existed = before.is_some();
        let mut base = before.unwrap_or_default();
        addresses::let_go(&mut base, &reserved, ctx.set);
        let mark = ctx.mark(&wanted.made_for, container);
        let mut settings = match existed {
            true => declared_again(base, &wanted.endpoint, &mark),
            false => declared_settings(base, &wanted.endpoint, &mark),
        };
        settings.gw_priority = settings.gw_priority.or_else(|| route::below_the_others(ctx, target, container));
        settings
    };
    let Some(attached) = attachment else {
        let journals = ctx.journals_listing(&destination.key, &container.id);
        let journalled = journals.last().and_then(|journal| journalled_settings(journal, &container.id));
        let cause = if journalled.is_some() { Cause::JournalRestore } else { cause };
        let settings = settings(journalled);
        return Ok(Some(Group {
            object: wanted.object.clone(),
            operations: vec![operation(connect(settings, reserved.clone()), cause, false, None)],
            journal: None,
            completes: journals.into_iter().cloned().collect(),
            needs: Vec::new(),
        }));
    };
    let Some(before) = restorable(&attached) else {
        return Err(unknown(wanted.object, container, &target.create.name));
    };
    let live = container.state.is_live();
    // What a stale endpoint was connected to cannot be brought back; the journal remembers how.
    let undo = (!attached.stale).then(|| connect(before.clone(), Reserved::default()));
    let disconnect = Call::DisconnectEndpoint {
        network: target.call(),
        container: ContainerTarget::of(container),
        force: attached.stale && live,
    };
    let connect = connect(settings(Some(before.clone())), reserved.clone());
    Ok(Some(Group {
        object: wanted.object.clone(),
        operations: vec![operation(disconnect, cause, live, undo), operation(connect, cause, false, None)],
        journal: Some(Journal {
            services: Vec::new(),
            server: ctx.server.key.clone(),
            destination: destination.key.clone(),
            purpose: JournalPurpose::Reattach,
            network: target.create.clone(),
            endpoints: vec![JournalEndpoint {
                container: ContainerTarget::of(container),
                settings: before,
                was_running: live,
            }],
        }),
        completes: Vec::new(),
        needs: Vec::new(),
    }))
}

pub(super) fn journalled_settings(journal: &Journal, container: &ContainerId) -> Option<EndpointSettings> {
    journal.endpoints.iter().find(|listed| listed.container.id == *container).map(|listed| listed.settings.clone())
}

pub(super) fn unknown(object: &ObjectKey, container: &ObservedContainer, network: &str) -> Note {
    Note::refused(
        Reason::EndpointUnknown,
        object,
        format!(
            "How {:?} is connected to {network:?} was not observed, so it could not be connected again as it was.",
            container.name
        ),
    )
    .hint("observe the server again")
}

/// Containers of their own get onto the networks of a Swarm only where those are attachable, which is decided when a network is made.
fn check_attachable(target: &Target<'_>, wanted: &Wanted<'_>) -> Result<(), Note> {
    let Some(network) = target.network.filter(|it| it.scope == NetworkScope::Swarm && !it.attachable) else {
        return Ok(());
    };
    // The manager has not filled in its properties yet.
    if network.is_unallocated() {
        return Ok(());
    }
    let message = format!(
        "The network {:?} is not attachable: only Swarm services can be on it, and {:?} is a container.",
        network.name, wanted.container.name
    );
    let hint = match network.labels.get(STACK_NAMESPACE) {
        Some(stack) => {
            let own = network.name.strip_prefix(&format!("{stack}_")).unwrap_or(&network.name);
            format!(
                "in the stack file, under `networks:` and `{own}:`, write `attachable: true`; Docker makes the network anew after \
                 docker stack rm {stack}"
            )
        }
        None => format!(
            "remove the network and make it anew: docker network create --driver overlay --attachable {}",
            network.name
        ),
    };
    Err(Note::refused(Reason::WrongScope, wanted.object, message).hint(hint))
}

/// One alias, several owners: whoever asks for it gets either.
pub(super) fn alias_notes(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    network: Option<&ObservedNetwork>,
    members: &Members<'_>,
) -> Vec<Note> {
    let wanted: BTreeSet<&ContainerId> = members.wanted.iter().map(|wanted| &wanted.container.id).collect();
    // What Landfall put on a member is taken off by this very plan.
    let stays = |other: &Attached<'_>, alias: &str| {
        let settings = other.endpoint.settings.as_ref().filter(|_| wanted.contains(&other.container.id));
        other.container.name == alias
            || !settings.is_some_and(|it| applied::is_own_alias(alias, &it.driver_opts, ctx.set))
    };
    // It was one of the resource's own containers and is there until another one serves.
    let precedes = |other: &Attached<'_>, resources: &BTreeSet<&ObjectKey>| {
        let options = other.endpoint.settings.as_ref().map(|settings| &settings.driver_opts);
        let options = options.filter(|options| applied::is_own(options, ctx.set));
        options.and_then(ownership::made_for).is_some_and(|made_for| {
            made_for.iter().any(|it| matches!(it, Purpose::Resource(resource) if resources.contains(resource)))
        })
    };
    let mut owners: BTreeMap<&str, BTreeSet<&ObjectKey>> = BTreeMap::new();
    let mut own: BTreeMap<&str, BTreeSet<&ContainerId>> = BTreeMap::new();
    for member in &destination.members {
        if !member.connect || member.endpoint.aliases.is_empty() || ctx.is_deleted(&member.resource) {
            continue;
        }
        let containers = matching(&ctx.host, &member.selector);
        for alias in &member.endpoint.aliases {
            owners.entry(alias).or_default().insert(&member.resource);
            own.entry(alias).or_default().extend(containers.iter().map(|container| &container.id));
        }
    }
    let attached = network.map(|network| ctx.host.attached(network)).unwrap_or_default();
    // A service answers to its name wherever it is, and is there by this very plan at the latest.
    let mut services: BTreeMap<&str, Option<&ServiceAttachment>> =
        members.services.iter().map(|wanted| (wanted.service.name.as_str(), None)).collect();
    if let Some(network) = network {
        let on = ctx.host.services_on(network).into_iter();
        services.extend(on.map(|service| (service.name.as_str(), service.attachment(network))));
    }
    let mut notes = Vec::new();
    for (alias, resources) in owners {
        let mut claims: Vec<String> = resources.iter().map(ToString::to_string).collect();
        claims.extend(
            attached
                .iter()
                .filter(|other| {
                    !own[alias].contains(&other.container.id)
                        && answers(other, alias)
                        && stays(other, alias)
                        && !precedes(other, &resources)
                })
                .map(|other| format!("the container {:?}", other.container.name)),
        );
        let means = |service: &str| {
            let meaning = destination.members.iter().filter(|member| resources.contains(&member.resource));
            meaning.flat_map(|member| &member.selector.swarm_services).any(|name| name == service)
        };
        let answering = services.iter().filter(|(name, attachment)| {
            let aliases = attachment.map(|it| it.aliases.as_slice()).unwrap_or_default();
            let taken_off = attachment.is_some_and(|it| {
                members.services.iter().any(|wanted| wanted.service.name == **name)
                    && applied::is_own_alias(alias, &it.driver_opts, ctx.set)
            });
            **name == alias || (aliases.iter().any(|it| it == alias) && !taken_off)
        });
        claims
            .extend(answering.filter(|(name, _)| !means(name)).map(|(name, _)| format!("the Swarm service {name:?}")));
        if claims.len() > 1 {
            notes.push(
                Note::warning(
                    Reason::AliasTakenTwice,
                    &destination.key,
                    format!(
                        "The alias {alias:?} belongs to {}: whoever asks for it gets any of them.",
                        claims.join(" and ")
                    ),
                )
                .hint("give each its own alias, or put them on different destinations"),
            );
        }
    }
    notes
}

/// It has the name, on the network that it is attached to.
pub(super) fn answers(attached: &Attached<'_>, alias: &str) -> bool {
    attached.container.name == alias
        || attached
            .endpoint
            .settings
            .as_ref()
            .is_some_and(|settings| settings.aliases.iter().any(|known| known == alias))
}
