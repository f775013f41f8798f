//! Containers that a resource's own take the place of: those of its former name, and those that ran it while it was adopted.

use super::context::Context;
use super::ownership::{self, Purpose};
use super::service::identity_of_service;
use super::{applied, container, selector};
use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredDestination, DesiredMember};
use crate::core::observed::{ObservedContainer, ObservedService};
use crate::core::workload::identity::{self, Identity, OBJECT};

/// How a container came to be a resource's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Landfall made it for the resource.
    Own,
    /// Landfall made it, as this replica, for the resource under its former name or on the destination that it was on before.
    Former(u32),
    /// Something else made it, and the resource was adopted: Landfall has connected it for the resource, or the manifest names it.
    Foreign,
}

/// The containers on this server that those of a managed resource take the place of; by name.
pub(crate) fn predecessors<'a>(
    ctx: &Context<'a>,
    destination: &DesiredDestination,
    member: &DesiredMember,
) -> Vec<(&'a ObservedContainer, Origin)> {
    if member.workload.is_none() || ctx.is_deleted(&member.resource) {
        return Vec::new();
    }
    let containers = ctx.host.state.containers.iter().filter(|container| !container::is_going(container));
    let mut found: Vec<_> =
        containers.filter_map(|container| Some((container, origin(ctx, destination, member, container)?))).collect();
    found.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    found
}

/// Whether a container that Landfall made is one of them.
pub(crate) fn takes_the_place_of(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    member: &DesiredMember,
    container: &ObservedContainer,
    identity: &identity::Identity,
) -> bool {
    // Asked of every container for every member: what the names tell comes first.
    (member.resource == identity.object || member.was.as_ref() == Some(&identity.object))
        && !container::is_going(container)
        && former(ctx, destination, member, container, identity).is_some()
}

fn origin(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    member: &DesiredMember,
    container: &ObservedContainer,
) -> Option<Origin> {
    if container.labels.contains_key(OBJECT) {
        let identity = ctx.host.identities.get(container).filter(|it| it.set == ctx.set)?;
        return former(ctx, destination, member, container, identity);
    }
    let is_proxy = container::is_proxy(container, ctx.server.proxy.as_ref());
    // Its name is on the Server, and it was the proxy until now.
    let was_proxy =
        is_proxy && member.workload.as_ref().is_some_and(|workload| workload.is_proxy) && is_marked(ctx, container);
    let named = member.replaces.contains(&container.name) || was_proxy;
    if container::is_task(container)
        || container::is_one_off(container)
        || (is_proxy && !named)
        || is_anothers(ctx, container)
    {
        return None;
    }
    let connected = || {
        let settings = container.endpoints.iter().filter_map(|endpoint| endpoint.settings.as_ref());
        let mut options = settings.map(|settings| &settings.driver_opts);
        options.any(|options| {
            // Whoever renamed it meant another to have its place.
            options.get(ownership::NAME).is_none_or(|name| *name == container.name)
                && applied::is_own(options, ctx.set)
                && ownership::made_for(options)
                    .is_some_and(|made_for| made_for.contains(&Purpose::Resource(member.resource.clone())))
        })
    };
    (named || connected()).then_some(Origin::Foreign)
}

/// Made for the resource under its former name or on its former destination, and serving until its own one does.
fn former(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    member: &DesiredMember,
    container: &ObservedContainer,
    identity: &identity::Identity,
) -> Option<Origin> {
    // One that had not taken over by then never will.
    let served = identity::base_name(&container.name) == container.name;
    let renamed = identity.destination == destination.key && member.was.as_ref() == Some(&identity.object);
    let former = served && (renamed || has_moved_to(ctx, destination, &member.resource, identity));
    (former && !is_replaced(ctx, destination, &member.resource, identity.replica))
        .then_some(Origin::Former(identity.replica))
}

/// The resource is no longer declared on the destination that the container was made for, and this is the first one that it is on.
pub(crate) fn has_moved_to(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    resource: &ObjectKey,
    identity: &identity::Identity,
) -> bool {
    if identity.object != *resource || is_left_alone(ctx, identity) {
        return false;
    }
    let runs = |it: &&DesiredDestination| {
        it.members.iter().any(|member| member.resource == *resource && member.workload.is_some())
    };
    let on: Vec<&ObjectKey> = ctx.server.destinations.iter().filter(runs).map(|it| &it.key).collect();
    on.first() == Some(&&destination.key) && !on.contains(&&identity.destination)
}

/// Landfall has connected it as the server's proxy.
fn is_marked(ctx: &Context<'_>, container: &ObservedContainer) -> bool {
    let settings = container.endpoints.iter().filter_map(|endpoint| endpoint.settings.as_ref());
    settings.map(|settings| &settings.driver_opts).any(|options| {
        applied::is_own(options, ctx.set)
            && ownership::made_for(options).is_some_and(|made_for| made_for.contains(&Purpose::Proxy))
    })
}

/// The resource has a container of its own in the place of that replica.
fn is_replaced(ctx: &Context<'_>, destination: &DesiredDestination, resource: &ObjectKey, replica: u32) -> bool {
    ctx.host.state.containers.iter().any(|container| {
        identity::base_name(&container.name) == container.name
            && !container::is_going(container)
            && ctx.host.identities.get(container).is_some_and(|it| {
                it.set == ctx.set
                    && it.object == *resource
                    && it.destination == destination.key
                    && it.replica == replica
            })
    })
}

/// Another resource, an adopted one, means the container.
pub(crate) fn is_anothers(ctx: &Context<'_>, container: &ObservedContainer) -> bool {
    let members = ctx.server.destinations.iter().flat_map(|destination| &destination.members);
    members.filter(|member| member.workload.is_none()).any(|member| selector::selects(&member.selector, container))
}

/// Whether a container that something else made may be one that a managed resource takes the place of: how it was made is then worth knowing.
pub fn may_be_replaced(container: &ObservedContainer, member: &DesiredMember) -> bool {
    let settings = container.endpoints.iter().filter_map(|endpoint| endpoint.settings.as_ref());
    let connected =
        |made_for: std::collections::BTreeSet<Purpose>| made_for.contains(&Purpose::Resource(member.resource.clone()));
    let Some(workload) = &member.workload else { return false };
    let as_proxy = workload.is_proxy && workload.container_name.as_ref() == Some(&container.name);
    // What a task is on a network for is said by its service, which is its own matter.
    !container.labels.contains_key(OBJECT)
        && !container::is_task(container)
        && (member.replaces.contains(&container.name)
            || as_proxy
            || settings.filter_map(|settings| ownership::made_for(&settings.driver_opts)).any(connected))
}

/// Whether a Swarm service that something else made may be one that a managed resource takes the place of.
pub fn service_may_be_replaced(service: &ObservedService, member: &DesiredMember) -> bool {
    let purpose = Purpose::Resource(member.resource.clone());
    let put_there = || {
        let mut options = service.networks.iter().map(|network| &network.attachment.driver_opts);
        options.any(|options| ownership::made_for(options).is_some_and(|made_for| made_for.contains(&purpose)))
    };
    member.workload.is_some()
        && !service.labels.contains_key(OBJECT)
        && (member.replaces.contains(&service.name) || put_there())
}

/// A suspended destination is left as it is, with everything on it.
pub(crate) fn is_left_alone(ctx: &Context<'_>, identity: &Identity) -> bool {
    ctx.server.destinations.iter().any(|it| it.key == identity.destination && it.suspend)
}

/// The services that run a managed resource on a destination, or run it until its own does.
pub(crate) fn services_of<'a>(
    ctx: &Context<'a>,
    destination: &DesiredDestination,
    member: &DesiredMember,
) -> Vec<&'a ObservedService> {
    let is_its = |it: &&ObservedService| {
        identity_of_service(it).is_some_and(|identity| {
            identity.set == ctx.set && identity.object == member.resource && identity.destination == destination.key
        })
    };
    let runs = member.workload.is_some() || member.stack.is_some();
    if runs { ctx.host.state.services.iter().filter(is_its).collect() } else { Vec::new() }
}
