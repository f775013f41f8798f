//! One observed server, indexed for the questions that planning asks: who is attached to a network, and whose it is.

use std::collections::{BTreeSet, HashMap};

use super::container::{
    self, has_nothing_else, is_going, is_one_off, is_proxy, is_task, overlap, subnets, unconnectable,
};
use super::identities::Identities;
use super::ownership::{self, Ownership};
use super::service;
use crate::core::api::ObjectKey;
use crate::core::desired::Proxy;
use crate::core::observed::{
    ApiVersion, NetworkScope, ObservedContainer, ObservedEndpoint, ObservedNetwork, ObservedService, ObservedState,
    OwnAddress, SwarmState,
};
use crate::core::plan::document::note::{Blocker, BlockerKind, Note};
use crate::core::plan::document::plan::ServerType;
use crate::core::plan::document::reason::Reason;
use crate::core::workload::stack;

pub(crate) fn bound_blocker(container: &ObservedContainer) -> Blocker {
    Blocker {
        kind: BlockerKind::Container,
        name: container.name.clone(),
        state: format!("{}, created on it", container.state.as_str()),
        server: None,
    }
}

/// A container's attachment to a network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attached<'a> {
    pub(crate) container: &'a ObservedContainer,
    pub(crate) endpoint: &'a ObservedEndpoint,
    /// Pinned to a network of the same name that no longer exists: the container cannot start.
    pub(crate) stale: bool,
}

pub(crate) struct Host<'a> {
    pub(crate) state: &'a ObservedState,
    networks_by_name: HashMap<&'a str, Vec<&'a ObservedNetwork>>,
    networks_by_id: HashMap<&'a str, &'a ObservedNetwork>,
    owners: HashMap<&'a str, Ownership>,
    /// By the destination that their labels name.
    networks_by_destination: HashMap<ObjectKey, Vec<&'a ObservedNetwork>>,
    uid_uses: HashMap<String, usize>,
    endpoints_by_network: HashMap<&'a str, Vec<Attached<'a>>>,
    /// Endpoints that carry no id, or the id of a network that does not exist.
    endpoints_by_name: HashMap<&'a str, Vec<Attached<'a>>>,
    containers_by_name: HashMap<&'a str, &'a ObservedContainer>,
    /// Started by `docker compose run`.
    pub(crate) one_offs: Vec<&'a ObservedContainer>,
    /// Whose the containers are that Landfall runs.
    pub(crate) identities: Identities<'a>,
}

impl<'a> Host<'a> {
    /// Whether the set runs the resource here: as containers, as a Swarm service, or as a stack.
    pub(crate) fn runs(&self, set: &str, resource: &ObjectKey) -> bool {
        let containers = &self.state.containers;
        containers.iter().filter_map(|it| self.identities.get(it)).any(|it| it.set == set && it.object == *resource)
            || containers
                .iter()
                .filter_map(|it| stack::owner(&it.labels))
                .any(|it| it.set == set && it.object == *resource)
            || self
                .state
                .services
                .iter()
                .filter_map(service::identity_of_service)
                .any(|it| it.set == set && it.object == *resource)
    }

    pub(crate) fn new(state: &'a ObservedState) -> Self {
        let mut host = Host {
            state,
            networks_by_name: HashMap::new(),
            networks_by_id: HashMap::new(),
            owners: HashMap::new(),
            networks_by_destination: HashMap::new(),
            uid_uses: HashMap::new(),
            endpoints_by_network: HashMap::new(),
            endpoints_by_name: HashMap::new(),
            containers_by_name: HashMap::new(),
            one_offs: state.containers.iter().filter(|it| is_one_off(it)).collect(),
            identities: Identities::of(&state.containers),
        };
        for network in &state.networks {
            host.networks_by_name.entry(&network.name).or_default().push(network);
            host.networks_by_id.insert(network.id.as_str(), network);
            if let Some(owner) = ownership::of(network) {
                if let Some(uid) = &owner.uid {
                    *host.uid_uses.entry(uid.clone()).or_default() += 1;
                }
                if let Some(destination) = &owner.destination {
                    host.networks_by_destination.entry(destination.clone()).or_default().push(network);
                }
                host.owners.insert(network.id.as_str(), owner);
            }
        }
        for container in &state.containers {
            host.containers_by_name.insert(&container.name, container);
            for endpoint in &container.endpoints {
                match &endpoint.network_id {
                    Some(id) if host.networks_by_id.contains_key(id.as_str()) => {
                        let attached = Attached { container, endpoint, stale: false };
                        host.endpoints_by_network.entry(id.as_str()).or_default().push(attached);
                    }
                    id => {
                        let attached = Attached { container, endpoint, stale: id.is_some() };
                        host.endpoints_by_name.entry(&endpoint.network_name).or_default().push(attached);
                    }
                }
            }
        }
        host
    }

    pub(crate) fn server_type(&self) -> ServerType {
        match &self.state.engine.swarm {
            SwarmState::Inactive => ServerType::Standalone,
            SwarmState::Manager { .. } => ServerType::Manager,
            SwarmState::Worker { .. } => ServerType::Worker,
            SwarmState::Pending => ServerType::Pending,
            SwarmState::Locked => ServerType::Locked,
            SwarmState::Error { manager: true, .. } => ServerType::Leaderless,
            SwarmState::Error { .. } => ServerType::Error,
        }
    }

    pub(crate) fn networks_named(&self, name: &str) -> &[&'a ObservedNetwork] {
        self.networks_by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// The one whose id, or the beginning of whose id as Docker shows it, is given in the place of a name.
    pub(crate) fn container_of_id(&self, text: &str) -> Option<&'a ObservedContainer> {
        let is_id = text.len() >= 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.state
            .containers
            .iter()
            .find(|container| is_id && container.id.as_str().starts_with(&text.to_ascii_lowercase()))
    }

    pub(crate) fn container_named(&self, name: &str) -> Option<&'a ObservedContainer> {
        self.containers_by_name.get(name).copied()
    }

    pub(crate) fn service_named(&self, name: &str) -> Option<&'a ObservedService> {
        self.state.services.iter().find(|service| service.name == name)
    }

    /// A task that has ended. Swarm keeps a few of them for its history and starts none again, so it needs nothing: what holds the network is
    /// its service. On any other network it is a container to which somebody has copied the labels.
    pub(crate) fn is_bygone(&self, container: &ObservedContainer, network: &ObservedNetwork) -> bool {
        network.scope == NetworkScope::Swarm && is_task(container) && !container.state.is_live()
    }

    pub(crate) fn container(&self, id: &crate::core::observed::ContainerId) -> Option<&'a ObservedContainer> {
        // Observed containers are in the order of their ids, but a saved observation may have been edited.
        self.state.containers.iter().find(|container| container.id == *id)
    }

    /// The container whose network another one shares; Docker keeps its id or, from the API, what was given.
    fn shared(&self, mode: &str) -> Option<&'a ObservedContainer> {
        let of = mode.strip_prefix("container:")?;
        self.state.containers.iter().find(|container| container.id.as_str() == of || container.name == of)
    }

    /// Why the container cannot be on any network, and what to do about it. `None` where it can.
    pub(crate) fn unconnectable_note(
        &self,
        object: &ObjectKey,
        container: &ObservedContainer,
        is_proxy: bool,
    ) -> Option<Note> {
        let mode = unconnectable(container)?;
        let shared = self.shared(mode);
        let mode = shared.map_or_else(|| mode.to_owned(), |shared| format!("container:{}", shared.name));
        let (who, name) = (if is_proxy { "The proxy" } else { "The container" }, &container.name);
        let message = format!("{who} {name:?} runs with network mode {mode:?} and cannot be connected to a network.");
        let otherwise = if is_proxy { "set `proxy: false` on the destinations" } else { "take it out of the manifest" };
        let hint = match shared {
            Some(shared) if is_proxy => {
                format!("declare {:?}, whose network it uses, as the proxy's `container`, or {otherwise}", shared.name)
            }
            Some(shared) => format!("declare {:?}, whose network it uses, in its place", shared.name),
            None => format!("run {name:?} on a bridge network, with its ports published, or {otherwise}"),
        };
        Some(Note::refused(Reason::WrongScope, object, message).hint(hint))
    }

    pub(crate) fn owner(&self, network: &ObservedNetwork) -> Option<&Ownership> {
        self.owners.get(network.id.as_str())
    }

    /// The labels are the network's own: its check digits fit, and no other network carries the same uid.
    pub(crate) fn is_verified(&self, network: &ObservedNetwork) -> bool {
        self.owner(network).is_some_and(|owner| {
            owner.sealed && owner.uid.as_ref().is_some_and(|uid| self.uid_uses.get(uid) == Some(&1))
        })
    }

    /// The networks that the set verifiably owns, with the destinations they were made for.
    pub(crate) fn verified(&self, set: &str) -> impl Iterator<Item = (&'a ObservedNetwork, &ObjectKey)> {
        self.state.networks.iter().filter_map(move |network| {
            let owner = self.owner(network).filter(|owner| owner.set == set)?;
            let destination = owner.destination.as_ref()?;
            self.is_verified(network).then_some((network, destination))
        })
    }

    /// Those of them that were made for one destination.
    pub(crate) fn verified_of(&self, set: &str, destination: &ObjectKey) -> impl Iterator<Item = &'a ObservedNetwork> {
        let named = self.networks_by_destination.get(destination).into_iter().flatten().copied();
        named.filter(move |network| {
            self.owner(network).is_some_and(|owner| owner.set == set) && self.is_verified(network)
        })
    }

    /// Everyone on the network, whatever their state; by container name.
    pub(crate) fn attached(&self, network: &ObservedNetwork) -> Vec<Attached<'a>> {
        let by_name = self.endpoints_by_name.get(network.name.as_str()).into_iter().flatten();
        let mut all: Vec<_> = self
            .endpoints_by_network
            .get(network.id.as_str())
            .into_iter()
            .flatten()
            .chain(by_name.filter(|attached| !attached.stale))
            .copied()
            .collect();
        all.sort_by(|a, b| a.container.name.cmp(&b.container.name));
        all.dedup_by(|a, b| a.container.id == b.container.id);
        all
    }

    /// Containers that know a network of this name by the id of one that is gone; by container name.
    pub(crate) fn stale(&self, name: &str) -> Vec<Attached<'a>> {
        let by_name = self.endpoints_by_name.get(name).into_iter().flatten();
        let mut all: Vec<_> = by_name.filter(|attached| attached.stale).copied().collect();
        all.sort_by(|a, b| a.container.name.cmp(&b.container.name));
        all
    }

    /// The container's attachment to `network`, or, where there is none yet, to the one that will have the name.
    pub(crate) fn attachment(
        &self,
        container: &'a ObservedContainer,
        network: Option<&ObservedNetwork>,
        name: &str,
    ) -> Option<Attached<'a>> {
        let mut stale = None;
        for endpoint in &container.endpoints {
            match &endpoint.network_id {
                Some(id) if network.is_some_and(|network| network.id == *id) => {
                    return Some(Attached { container, endpoint, stale: false });
                }
                None if endpoint.network_name == name && !container.is_leftover(endpoint) => {
                    return Some(Attached { container, endpoint, stale: false });
                }
                Some(id) if endpoint.network_name == name && !self.networks_by_id.contains_key(id.as_str()) => {
                    stale = Some(Attached { container, endpoint, stale: true });
                }
                _ => {}
            }
        }
        stale
    }

    /// Whether the container is on the network, running or not.
    pub(crate) fn is_on(&self, container: &'a ObservedContainer, network: &ObservedNetwork) -> bool {
        self.attachment(container, Some(network), &network.name)
            .is_some_and(|attached| !attached.stale && !container.is_leftover(attached.endpoint))
    }

    /// Those that this engine would neither start nor connect again without the network, for they were made on it; by name. They need not be on it.
    pub(crate) fn bound_to(&self, network: &ObservedNetwork) -> Vec<&'a ObservedContainer> {
        if !self.state.engine.knows(ApiVersion::NEEDS_FIRST_NETWORK) {
            return Vec::new();
        }
        let containers = self.state.containers.iter().filter(|it| !is_going(it) && !is_task(it));
        let mut bound: Vec<_> = containers.filter(|it| container::was_made_on(it, network)).collect();
        bound.sort_by(|a, b| a.name.cmp(&b.name));
        bound
    }

    /// The same, as what stands in the way of removing the network.
    pub(crate) fn bound_blockers(&self, network: &ObservedNetwork) -> Vec<Blocker> {
        self.bound_to(network).into_iter().map(bound_blocker).collect()
    }

    /// The network that the container was made on, where this engine would not connect the container again once the one that goes is gone and
    /// another one of that name is made. What it was made on may be gone already.
    pub(crate) fn bereft(
        &self,
        container: &'a ObservedContainer,
        going: &ObservedNetwork,
        made: &str,
    ) -> Option<&'a str> {
        let first = container::first_network(container)?;
        let stays = |network: &ObservedNetwork| network.id != going.id && container::was_made_on(container, network);
        // A network of a Swarm is listed only where somebody is on it.
        let alone = matches!(self.state.engine.swarm, SwarmState::Inactive);
        let bereft = self.state.engine.knows(ApiVersion::NEEDS_FIRST_NETWORK) && alone && first != made;
        (bereft && !self.state.networks.iter().any(stays)).then_some(first)
    }

    /// Swarm services whose tasks are put on the network.
    pub(crate) fn services_on(&self, network: &ObservedNetwork) -> Vec<&'a ObservedService> {
        let mut services: Vec<_> = self.state.services.iter().filter(|service| service.is_on(network)).collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        services
    }

    /// Whatever stands in the way of removing the network: everything on it but the proxy, and that too where it would be on no network then.
    pub(crate) fn blockers(&self, network: &ObservedNetwork, proxy: Option<&Proxy>) -> Vec<Blocker> {
        let mut blockers: BTreeSet<Blocker> = BTreeSet::new();
        for Attached { container, .. } in self.attached(network).into_iter().chain(self.stale(&network.name)) {
            let is_led_off = is_proxy(container, proxy) && !has_nothing_else(container, network);
            if !is_led_off && !self.is_bygone(container, network) {
                let kind = if is_task(container) { BlockerKind::SwarmTask } else { BlockerKind::Container };
                let state = container.state.as_str().to_owned();
                blockers.insert(Blocker { kind, name: container.name.clone(), state, server: None });
            }
        }
        for service in self.services_on(network).into_iter().filter(|it| !service::is_proxy(it, proxy)) {
            let state = match service.replicas {
                Some(1) => "1 replica".to_owned(),
                Some(count) => format!("{count} replicas"),
                None => "global".to_owned(),
            };
            let (kind, name) = (BlockerKind::SwarmService, service.name.clone());
            blockers.insert(Blocker { kind, name, state, server: None });
        }
        blockers.into_iter().collect()
    }

    /// Those on the network whom no list shows: they stand in the way of its removal, whoever connected them.
    pub(crate) fn unlisted_on(&self, network: &ObservedNetwork) -> Vec<Blocker> {
        let on = |container: &&ObservedContainer| {
            let mut endpoints = container.endpoints.iter();
            !is_going(container)
                && endpoints.any(|endpoint| match &endpoint.network_id {
                    Some(id) => *id == network.id,
                    None => endpoint.network_name == network.name || endpoint.network_name == network.id.as_str(),
                })
        };
        let blocker = |container: &ObservedContainer| Blocker {
            kind: BlockerKind::Container,
            name: container.name.clone(),
            state: format!("{}, hidden from lists", container.state.as_str()),
            server: None,
        };
        self.state.unlisted.iter().filter(on).map(blocker).collect()
    }

    /// Networks of the same address space, with what they occupy.
    pub(crate) fn overlapping(
        &self,
        subnet: &ipnet::IpNet,
        scope: NetworkScope,
        ignored: &BTreeSet<&crate::core::observed::NetworkId>,
    ) -> Option<(&'a ObservedNetwork, ipnet::IpNet)> {
        self.state
            .networks
            .iter()
            .filter(|network| network.scope == scope && !ignored.contains(&network.id))
            .flat_map(|network| subnets(network).into_iter().map(move |occupied| (network, occupied)))
            .find(|(_, occupied)| overlap(occupied, subnet))
    }

    /// An address in the range that the server's connections depend on. One that is on a network of the engine already depends on that
    /// network, and not on what is beside it.
    pub(crate) fn own_address_in(&self, subnet: &ipnet::IpNet) -> Option<&'a OwnAddress> {
        let on_a_network = |own: &OwnAddress| {
            let local = self.state.networks.iter().filter(|network| network.scope == NetworkScope::Local);
            local.flat_map(subnets).any(|occupied| occupied.contains(&own.address))
        };
        let within = self.state.engine.addresses.iter().filter(|own| subnet.contains(&own.address));
        within.filter(|own| !on_a_network(own)).min_by_key(|own| own.of)
    }
}
