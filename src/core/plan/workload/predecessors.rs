//! Containers that a resource's own take the place of: those of its former name, and those that ran it while it was adopted.

use super::{Context, DesiredDestination, DesiredMember, Managed, Note, ObservedContainer, Reason, host};
use crate::core::api::ObjectKey;
use crate::core::observed::ObservedService;
use crate::core::plan::host::Attached;
use crate::core::plan::ownership::{self, Purpose};
use crate::core::plan::{applied, member};
use crate::core::workload::identity::{self, OBJECT};

/// How a container came to be a resource's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core::plan) enum Origin {
    /// Landfall made it for the resource.
    Own,
    /// Landfall made it, as this replica, for the resource under its former name or on the destination that it was on before.
    Former(u32),
    /// Something else made it, and the resource was adopted: Landfall has connected it for the resource, or the manifest names it.
    Foreign,
}

/// The containers on this server that those of a managed resource take the place of; by name.
pub(in crate::core::plan) fn predecessors<'a>(
    ctx: &Context<'a>,
    destination: &DesiredDestination,
    member: &DesiredMember,
) -> Vec<(&'a ObservedContainer, Origin)> {
    if member.workload.is_none() || ctx.is_deleted(&member.resource) {
        return Vec::new();
    }
    let containers = ctx.host.state.containers.iter().filter(|container| !host::is_going(container));
    let mut found: Vec<_> =
        containers.filter_map(|container| Some((container, origin(ctx, destination, member, container)?))).collect();
    found.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    found
}

/// Whether a container that Landfall made is one of them.
pub(super) fn takes_the_place_of(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    member: &DesiredMember,
    container: &ObservedContainer,
    identity: &identity::Identity,
) -> bool {
    // Asked of every container for every member: what the names tell comes first.
    (member.resource == identity.object || member.was.as_ref() == Some(&identity.object))
        && !host::is_going(container)
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
    let is_proxy = host::is_proxy(container, ctx.server.proxy.as_ref());
    // Its name is on the Server, and it was the proxy until now.
    let was_proxy =
        is_proxy && member.workload.as_ref().is_some_and(|workload| workload.is_proxy) && is_marked(ctx, container);
    let named = member.replaces.contains(&container.name) || was_proxy;
    if host::is_task(container) || host::is_one_off(container) || (is_proxy && !named) || is_anothers(ctx, container) {
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

impl Managed<'_, '_> {
    /// What nothing tells to have run the resource until now, and looks like it: beside it the new one would be a second one. Before the first is made.
    pub(super) fn may_have_run_it(&self, replica: u32) -> Option<Note> {
        let network = self.target.network.filter(|_| replica == 1 && self.held().is_empty())?;
        let aliases = || self.member.endpoint.aliases.iter().map(String::as_str);
        let names = || std::iter::once(self.resource().name.as_str()).chain(aliases());
        let repository =
            |image: &str| image.split('@').next().and_then(|it| it.rsplit_once(':')).map(|it| it.0.to_owned());
        let looks_like_it = |attached: &&Attached<'_>| {
            let container = attached.container;
            let service = container.labels.get(host::COMPOSE_SERVICE);
            names().any(|name| member::answers(attached, name) || service.is_some_and(|it| it == name))
                || (repository(&container.image).is_some()
                    && repository(&container.image) == repository(&self.workload.image))
        };
        let is_strange = |attached: &&Attached<'_>| {
            let container = attached.container;
            !container.labels.contains_key(OBJECT)
                && !host::is_task(container)
                && !host::is_one_off(container)
                && !host::is_going(container)
                && !host::is_proxy(container, self.ctx.server.proxy.as_ref())
                && !is_anothers(self.ctx, container)
        };
        let attached = self.ctx.host.attached(network);
        let found = attached.iter().filter(is_strange).filter(looks_like_it);
        let found: Vec<&str> = found.map(|it| it.container.name.as_str()).collect();
        if found.is_empty() {
            return None;
        }
        let (names, verb) = (found.join(", "), if found.len() == 1 { "runs" } else { "run" });
        let message = format!(
            "{names} on {:?} {verb} beside it: whether that was this resource until now, nothing on the server tells.",
            network.name
        );
        Some(Note::warning(Reason::MembershipForeign, self.resource(), message).hint(format!(
            "to have a rollout put Landfall's container in its place: `metadata.annotations: {{ landfall/replaces: \"{names}\" }}`"
        )))
    }
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
pub(super) fn has_moved_to(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    resource: &ObjectKey,
    identity: &identity::Identity,
) -> bool {
    if identity.object != *resource || super::leaving::is_left_alone(ctx, identity) {
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
            && !host::is_going(container)
            && ctx.host.identities.get(container).is_some_and(|it| {
                it.set == ctx.set
                    && it.object == *resource
                    && it.destination == destination.key
                    && it.replica == replica
            })
    })
}

/// Another resource, an adopted one, means the container.
fn is_anothers(ctx: &Context<'_>, container: &ObservedContainer) -> bool {
    let members = ctx.server.destinations.iter().flat_map(|destination| &destination.members);
    members.filter(|member| member.workload.is_none()).any(|member| member::selects(&member.selector, container))
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
        && !host::is_task(container)
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
