//! What is known while one observed server is planned for.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use super::located::Located;
use super::ownership::{self, Mark, Purpose};
use super::server::Host;
use super::service::identity_of_service;
use super::swarm::{Swarm, View};
use super::{container, selector};
use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredDestination, DesiredServer, ProxyInstance};
use crate::core::observed::{ContainerId, NetworkScope, ObservedContainer, ObservedService};
use crate::core::plan::document::journal::{Journal, JournalPurpose};
use crate::core::plan::input::{PlanInput, Request};

impl<'a> Context<'a> {
    pub(crate) fn new(input: &'a PlanInput<'a>, server: &'a DesiredServer, view: &'a View<'a>) -> Self {
        let (request, set) = (input.request, input.desired.set.as_str());
        let (host, swarm) = (Host::new(&view.state), view.swarm.as_ref());
        Context {
            input,
            request,
            set,
            server,
            host,
            swarm,
            located: Vec::new(),
            withheld: false,
            overlays: OnceCell::new(),
        }
    }

    /// Destinations with networks of a Swarm that other servers list, each with one of those servers.
    pub(crate) fn overlays_elsewhere(&self) -> &BTreeMap<ObjectKey, ObjectKey> {
        self.overlays.get_or_init(|| {
            let states = self.input.observed.iter().filter_map(|(server, seen)| Some((server, seen.as_ref().ok()?)));
            let others = states.filter(|(server, _)| **server != self.server.key);
            let networks = others.flat_map(|(server, state)| state.networks.iter().map(move |it| (server, it)));
            let own =
                networks.filter(|(_, network)| network.scope == NetworkScope::Swarm).filter_map(|(server, it)| {
                    let owner = ownership::of(it).filter(|owner| owner.sealed && owner.set == self.set)?;
                    Some((owner.destination?, server.clone()))
                });
            own.collect()
        })
    }

    /// The next step, where a network or an endpoint was made from these manifests, and `None` where it was from ours.
    pub(crate) fn another_source(&self, source: &str) -> Option<String> {
        let unknown = self.source().is_none() && !self.request.prune;
        let another = self.source() != Some(source) && !unknown;
        another.then(|| format!("if these are the manifests that it was made from: `--source {source}`"))
    }

    /// The manifests that are planned for.
    pub(crate) fn source(&self) -> Option<&'a str> {
        self.input.desired.source.as_deref()
    }

    /// What an endpoint of this container is marked with.
    pub(crate) fn mark<'m>(&self, made_for: &'m BTreeSet<Purpose>, container: &'m ObservedContainer) -> Mark<'m>
    where
        'a: 'm,
    {
        Mark { set: self.set, source: self.source(), made_for, name: Some(&container.name) }
    }

    pub(crate) fn is_deleted(&self, key: &ObjectKey) -> bool {
        self.request.delete.contains_key(key)
    }

    /// Journals of the destination that are the planner's to act on.
    pub(crate) fn journals(&self, destination: &ObjectKey) -> impl Iterator<Item = &'a Journal> {
        let journals: &'a [Journal] = self.input.journals;
        journals.iter().filter(move |journal| {
            journal.purpose == JournalPurpose::Reattach
                && journal.server == self.server.key
                && journal.destination == *destination
        })
    }

    pub(crate) fn journals_listing(&self, destination: &ObjectKey, container: &ContainerId) -> Vec<&'a Journal> {
        self.journals(destination)
            .filter(|journal| journal.endpoints.iter().any(|listed| listed.container.id == *container))
            .collect()
    }
}

/// What is known while one observed server is planned for.
pub(crate) struct Context<'a> {
    pub(crate) input: &'a PlanInput<'a>,
    pub(crate) request: &'a Request,
    pub(crate) set: &'a str,
    pub(crate) server: &'a DesiredServer,
    pub(crate) host: Host<'a>,
    pub(crate) swarm: Option<&'a Swarm<'a>>,
    /// The server's destinations, each with its network. Empty until they have been looked for.
    pub(crate) located: Vec<(&'a DesiredDestination, Located<'a>)>,
    /// What pruning would do is more than it may unasked: it leaves undone what the limits count.
    pub(crate) withheld: bool,
    /// See [`Context::overlays_elsewhere`].
    overlays: OnceCell<BTreeMap<ObjectKey, ObjectKey>>,
}

impl Context<'_> {
    /// When a container of the resource that has just been started counts, in seconds.
    pub(crate) fn settles_in(&self, resource: &ObjectKey) -> Option<u32> {
        let members = self.input.desired.all_servers().flat_map(|server| {
            let members = server.destinations.iter().flat_map(|it| &it.members);
            members.filter(|it| it.resource == *resource).map(move |member| (&server.key, member))
        });
        let containers = members.filter_map(|(server, member)| {
            let state = self.input.observed.get(server)?.as_ref().ok()?;
            Some(state.containers.iter().filter(|it| selector::selects(&member.selector, it)))
        });
        containers.flatten().filter_map(ObservedContainer::settles_in).max()
    }

    /// Whether a resource serves: each of its replicas runs, and is healthy where it has a health check or has run for a moment where it has none.
    pub(crate) fn is_available(&self, resource: &ObjectKey) -> bool {
        let servers = self.input.desired.all_servers();
        let mut found = false;
        for server in servers {
            for member in server.destinations.iter().flat_map(|it| &it.members).filter(|it| it.resource == *resource) {
                let Some(Ok(state)) = self.input.observed.get(&server.key) else { return false };
                let serving = state
                    .containers
                    .iter()
                    .filter(|container| selector::selects(&member.selector, container) && container.has_settled())
                    .count();
                let wanted = member.workload.as_ref().map_or(1, |workload| workload.replicas as usize);
                found = true;
                if serving < wanted && !runs_as_service(state, self.set, resource) {
                    return false;
                }
            }
        }
        found
    }
}

/// Its service has all of its tasks.
fn runs_as_service(state: &crate::core::observed::ObservedState, set: &str, resource: &ObjectKey) -> bool {
    let its = |it: &&ObservedService| {
        identity_of_service(it).is_some_and(|identity| identity.set == set && identity.object == *resource)
    };
    let mut services = state.services.iter().filter(its).peekable();
    services.peek().is_some()
        && services
            .all(|it| it.rollout.is_none() && it.tasks.is_some_and(|tasks| tasks.running >= tasks.desired.max(1)))
}

/// The container is the proxy of the server, run by Landfall, whatever it is called at this moment.
pub(crate) fn is_own_proxy(ctx: &Context<'_>, container: &ObservedContainer) -> bool {
    let run_by = ctx.server.proxy.as_ref().and_then(|proxy| proxy.run_by.as_ref());
    run_by.is_some_and(|resource| {
        let identity = ctx.host.identities.get(container);
        identity.is_some_and(|identity| identity.set == ctx.set && identity.object == *resource)
    })
}

/// The proxy's container, where the proxy is one and can be connected to networks.
pub(crate) fn container<'a>(ctx: &Context<'a>) -> Option<&'a ObservedContainer> {
    match &ctx.server.proxy.as_ref()?.instance {
        ProxyInstance::Container(name) => ctx
            .host
            .container_named(name)
            .filter(|container| !container::is_going(container) && container::unconnectable(container).is_none()),
        ProxyInstance::Service(_) => None,
    }
}

/// The server's proxy, where it is a service that exists.
pub(crate) fn proxy<'a>(ctx: &Context<'a>) -> Option<&'a ObservedService> {
    match &ctx.server.proxy.as_ref()?.instance {
        ProxyInstance::Service(name) => ctx.host.service_named(name),
        ProxyInstance::Container(_) => None,
    }
}
