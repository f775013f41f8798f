//! Members: which containers a resource means, and what connects them as declared.

use std::collections::{BTreeMap, BTreeSet};

use super::container::{self, COMPOSE_SERVICE};
use super::context::Context;
use super::ownership::Purpose;
use super::reservations::{self, Reservations};
use super::selector::{describe, describes, matching};
use super::target::{Wanted, WantedService};
use super::{class, predecessors, route};
use crate::core::api::{DestinationType, ObjectKey};
use crate::core::desired::{DesiredDestination, DesiredEndpoint, DesiredMember};
use crate::core::observed::{ContainerId, ObservedContainer, ObservedNetwork, ObservedService};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::plan::ServerType;
use crate::core::plan::document::reason::Reason;
use crate::core::workload::{stack, stack_file};

/// The containers and Swarm services of a destination's resources.
#[derive(Debug, Default)]
pub(crate) struct Members<'a> {
    /// To be on the network; in the order of the resources and their containers' names.
    pub(crate) wanted: Vec<Wanted<'a>>,
    /// Where in `wanted` a container is.
    places: BTreeMap<&'a ContainerId, usize>,
    /// Belongs on the network, whether or not it can be connected as declared.
    pub(crate) declared: BTreeSet<&'a ContainerId>,
    /// Stopped beside the one container that runs and that the resource's static address is for. They stay as they are.
    pub(crate) leftovers: BTreeSet<&'a ContainerId>,
    /// Who declares which address.
    pub(crate) reservations: Reservations<'a>,
    /// Belongs to the destination without being on its network.
    pub(crate) apart: BTreeSet<&'a ContainerId>,
    /// Started by `docker compose run` for a declared service: they are left where Compose puts them.
    pub(crate) one_offs: BTreeSet<&'a ContainerId>,
    /// Of resources that are being deleted: not declared any more, and not foreign yet.
    pub(crate) leaving: BTreeSet<&'a ContainerId>,
    /// Every container of every resource, those apart included.
    pub(crate) all: Vec<(&'a ObjectKey, &'a ObservedContainer)>,
    /// To be on the network; in the order of the resources.
    pub(crate) services: Vec<WantedService<'a>>,
    /// Names of services of resources that are being deleted.
    pub(crate) leaving_services: BTreeSet<&'a str>,
    pub(crate) notes: Vec<Note>,
}

/// Finds the containers of the destination's resources on this server.
pub(crate) fn resolve<'a>(
    ctx: &Context<'a>,
    destination: &'a DesiredDestination,
    network: Option<&ObservedNetwork>,
) -> Members<'a> {
    let mut members = Members::default();
    reservations::declare_elsewhere(ctx, destination, &mut members.reservations);
    // A standalone server has no services to be put anywhere: they are waited for.
    let class = match ctx.host.server_type() {
        ServerType::Standalone => DestinationType::Swarm,
        _ => class::class(ctx, destination),
    };
    for member in &destination.members {
        let found = found(ctx, member);
        if ctx.is_deleted(&member.resource) {
            members.leaving.extend(found.iter().map(|container| &container.id));
            members.leaving_services.extend(member.selector.swarm_services.iter().map(String::as_str));
            let own = predecessors::services_of(ctx, destination, member);
            members.leaving_services.extend(own.into_iter().map(|service| service.name.as_str()));
            continue;
        }
        members.all.extend(found.iter().map(|container| (&member.resource, *container)));
        let one_offs = ctx.host.one_offs.iter().filter(|it| describes(&member.selector, it));
        members.one_offs.extend(one_offs.map(|container| &container.id));
        if !member.connect {
            members.apart.extend(found.iter().map(|container| &container.id));
            continue;
        }
        for container in members.declare(ctx, (destination, class), member, found) {
            members.take_seat(ctx, (destination, network), member, container);
        }
    }
    for wanted in &mut members.wanted {
        members.notes.extend(route::refused(ctx, network, wanted));
        wanted.endpoint = route::possible(ctx, &wanted.endpoint);
    }
    members
}

/// The containers that a resource means, those that carry its labels without being its own left out.
fn found<'a>(ctx: &Context<'a>, member: &DesiredMember) -> Vec<&'a ObservedContainer> {
    let mut found = matching(&ctx.host, &member.selector);
    if member.workload.is_some() {
        // Of another set, or with labels that were copied: not what Landfall runs for this one.
        found.retain(|it| ctx.host.identities.get(it).is_some_and(|identity| identity.set == ctx.set));
    }
    if member.stack.is_some() {
        found.retain(|it| stack::owner(&it.labels).is_some_and(|owner| owner.set == ctx.set));
    }
    found
}

impl<'a> Members<'a> {
    /// Takes down what a resource declares, and says which of its containers are to be on the network.
    fn declare(
        &mut self,
        ctx: &Context<'a>,
        (destination, class): (&'a DesiredDestination, DestinationType),
        member: &'a DesiredMember,
        mut found: Vec<&'a ObservedContainer>,
    ) -> Vec<&'a ObservedContainer> {
        self.declared.extend(found.iter().map(|container| &container.id));
        // They stay as they are until their successors have taken over.
        let before = predecessors::predecessors(ctx, destination, member);
        self.declared.extend(before.into_iter().map(|(container, _)| &container.id));
        // What Landfall runs itself it makes rather than waits for.
        if member.workload.is_none() && member.stack.is_none() {
            self.notes.extend(missing(ctx, member, &found));
        }
        self.reservations.declare(&member.endpoint, &found);
        let static_address = member.endpoint.ipv4_address.is_some() || member.endpoint.ipv6_address.is_some();
        services(ctx, class, member, static_address, self);
        let own = predecessors::services_of(ctx, destination, member).into_iter().map(|service| WantedService {
            object: &member.resource,
            service,
            aliases: service_aliases(member, service),
            made_for: [Purpose::Resource(member.resource.clone())].into(),
        });
        self.services.extend(own);
        if static_address && found.iter().filter(|container| container.state.is_live()).count() == 1 {
            let leftovers = found.extract_if(.., |container| !container.state.is_live());
            self.leftovers.extend(leftovers.map(|container| &container.id));
        }
        if static_address && member.workload.is_none() && found.len() > 1 && member.selector.swarm_services.is_empty() {
            let names: Vec<_> = found.iter().map(|container| format!("{:?}", container.name)).collect();
            let message =
                format!("One static address is declared for {} containers: {}.", found.len(), names.join(", "));
            let note = Note::refused(Reason::NameAmbiguous, &member.resource, message);
            self.notes.push(note.hint("choose one container, or leave the address to the daemon"));
            return Vec::new();
        }
        found
    }

    /// Has a container be on the network, or says why it cannot.
    fn take_seat(
        &mut self,
        ctx: &Context<'a>,
        (destination, network): (&DesiredDestination, Option<&ObservedNetwork>),
        member: &'a DesiredMember,
        container: &'a ObservedContainer,
    ) {
        let resource = &member.resource;
        if container::is_task(container) {
            let attachment = ctx.host.attachment(container, network, network.map_or("", |network| &network.name));
            if attachment.is_none() && member.selector.swarm_services.is_empty() {
                self.notes.push(task_note(destination, resource, container));
            }
            return;
        }
        if let Some(note) = ctx.host.unconnectable_note(resource, container, false) {
            self.notes.push(note);
            return;
        }
        let endpoint = declared_endpoint(member, container);
        let at = self.places.get(&container.id).copied();
        match at.and_then(|at| self.wanted.get_mut(at)) {
            // Two resources may mean one container: it gets what both declare.
            Some(wanted) => {
                merge(&mut wanted.endpoint, &endpoint);
                wanted.start_after_repair |= member.start_after_repair;
                wanted.made_for.insert(Purpose::Resource(resource.clone()));
            }
            None => {
                self.places.insert(&container.id, self.wanted.len());
                self.wanted.push(Wanted {
                    object: resource,
                    container,
                    endpoint,
                    start_after_repair: member.start_after_repair,
                    made_for: [Purpose::Resource(resource.clone())].into(),
                });
            }
        }
    }
}

/// A container of a stack also answers to the name of its service, with the project's behind it.
fn declared_endpoint(member: &DesiredMember, container: &ObservedContainer) -> DesiredEndpoint {
    let mut endpoint = member.endpoint.clone();
    if let (Some(of), Some(service)) = (&member.stack, container.labels.get(COMPOSE_SERVICE)) {
        endpoint.aliases.insert(0, stack::alias(service, &of.project));
    }
    endpoint
}

/// The same of a service of a stack on a Swarm.
fn service_aliases(member: &DesiredMember, service: &ObservedService) -> Vec<String> {
    let of = member.stack.as_ref().and_then(|of| Some((of, stack_file::service_of(&service.name, &of.project)?)));
    let own = of.map(|(of, service)| stack::alias(service, &of.project));
    own.into_iter().chain(member.endpoint.aliases.iter().cloned()).collect()
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
            Some(container) if container::is_going(container) => {
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

/// Finds the Swarm services that a resource means.
pub(crate) fn services<'a>(
    ctx: &Context<'a>,
    class: DestinationType,
    member: &'a DesiredMember,
    static_address: bool,
    members: &mut Members<'a>,
) {
    for name in &member.selector.swarm_services {
        if class == DestinationType::Standalone {
            members.notes.push(on_bridge(&member.resource, name));
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

/// Docker puts the tasks of services on networks of the Swarm alone.
pub(crate) fn on_bridge(object: &ObjectKey, name: &str) -> Note {
    let message = format!(
        "{name:?} is a Swarm service, and the destination is a bridge of one node, which no service can be on."
    );
    Note::refused(Reason::WrongScope, object, message)
        .hint("leave out `type: standalone` for an overlay (a destination of another name), or choose containers")
}

/// Why a task is not connected to a network itself, and what to declare instead.
pub(crate) fn task_note(
    destination: &DesiredDestination,
    resource: &ObjectKey,
    task: &crate::core::observed::ObservedContainer,
) -> Note {
    let service = task.labels.get(container::SWARM_SERVICE).map_or("NAME", String::as_str);
    Note::refused(
        Reason::WrongScope,
        resource,
        format!(
            "The container {:?} is a task of a Swarm service, which decides on its networks; it is not on that of {}.",
            task.name, destination.key
        ),
    )
    .hint(format!("choose the service instead: `containers: {{ swarmServices: [{service}] }}`"))
}
