//! Servers that are nodes of one Swarm. Its networks are made and listed by its managers, and containers on any of its nodes may be on them, so
//! what one server's plan is made from takes a look at the others.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::ownership;
use crate::core::api::{DestinationType, ObjectKey};
use crate::core::desired::{DesiredDestination, DesiredState};
use crate::core::observed::{NetworkScope, Observations, ObservedNetwork, ObservedState, SwarmState, Unobserved};
use crate::core::plan::document::plan::Cluster;
use crate::core::plan::input;

/// The Swarm of a server, as far as declared servers are part of it and could be observed.
#[derive(Debug, Clone)]
pub(crate) struct Swarm<'a> {
    /// Whose daemon is asked for the networks: the server's own if it is a manager.
    pub(crate) manager: &'a ObjectKey,
    /// Looks after what belongs to no destination: one for all.
    pub(crate) first_manager: &'a ObjectKey,
    /// In the order of their keys, the server itself and the manager among them.
    pub(crate) nodes: Vec<(&'a ObjectKey, &'a ObservedState)>,
    /// How many nodes it has beside these; `None`: the manager does not say.
    pub(crate) unseen: Option<u64>,
}

impl<'a> Swarm<'a> {
    pub(crate) fn cluster(&self, server: &ObjectKey) -> Cluster {
        let others = self.nodes.iter().map(|(key, _)| *key).filter(|key| *key != server && *key != self.manager);
        Cluster { manager: self.manager.clone(), nodes: others.cloned().collect() }
    }

    pub(crate) fn has(&self, server: &ObjectKey) -> bool {
        self.nodes.iter().any(|(key, _)| *key == server)
    }

    /// The other declared nodes. A daemon that is declared twice is one node.
    pub(crate) fn others(&self, server: &ObjectKey) -> impl Iterator<Item = (&'a ObjectKey, &'a ObservedState)> {
        let own = self.nodes.iter().find(|(key, _)| *key == server).map(|(_, state)| &state.engine.id);
        let mut seen: BTreeSet<&str> = own.into_iter().map(String::as_str).collect();
        let mut others = Vec::new();
        for (key, state) in &self.nodes {
            if seen.insert(&state.engine.id) {
                others.push((*key, *state));
            }
        }
        others.into_iter()
    }
}

/// An observed server as planning sees it.
#[derive(Debug, Clone)]
pub(crate) struct View<'a> {
    pub(crate) state: Cow<'a, ObservedState>,
    pub(crate) swarm: Option<Swarm<'a>>,
}

impl<'a> View<'a> {
    pub(crate) fn new(observed: &'a Observations, server: &'a ObjectKey, state: &'a ObservedState) -> Self {
        let swarm = swarm_of(observed, server, state);
        let manager = swarm.as_ref().filter(|swarm| swarm.manager != server);
        let manager = manager.and_then(|swarm| swarm.nodes.iter().find(|(key, _)| *key == swarm.manager));
        let state = match manager {
            Some((_, manager)) => Cow::Owned(on_worker(state, manager)),
            None => Cow::Borrowed(state),
        };
        Self { state, swarm }
    }
}

pub(crate) fn node_id(state: &ObservedState) -> Option<&str> {
    match &state.engine.swarm {
        SwarmState::Manager { node_id, .. } | SwarmState::Worker { node_id, .. } => Some(node_id),
        SwarmState::Inactive | SwarmState::Pending | SwarmState::Locked | SwarmState::Error { .. } => None,
    }
}

/// A worker knows its managers by their node ids, and nothing of the Swarm's own id.
fn serves(manager: &ObservedState, worker: &ObservedState) -> bool {
    match (&manager.engine.swarm, &worker.engine.swarm) {
        (SwarmState::Manager { node_id, managers, .. }, SwarmState::Worker { managers: known, .. }) => {
            known.contains(node_id) || !known.is_disjoint(managers)
        }
        _ => false,
    }
}

fn cluster(state: &ObservedState) -> Option<&str> {
    match &state.engine.swarm {
        SwarmState::Manager { cluster_id, .. } => Some(cluster_id),
        _ => None,
    }
}

fn swarm_of<'a>(observed: &'a Observations, server: &'a ObjectKey, state: &'a ObservedState) -> Option<Swarm<'a>> {
    let states = || observed.iter().filter_map(|(key, seen)| Some((key, seen.as_ref().ok()?)));
    let id =
        cluster(state).or_else(|| states().find(|(_, other)| serves(other, state)).and_then(|(_, it)| cluster(it)));
    let id = id?;
    let managers: Vec<_> = states().filter(|(_, other)| cluster(other) == Some(id)).collect();
    let mut nodes: Vec<_> = states()
        .filter(|(_, other)| cluster(other) == Some(id) || managers.iter().any(|(_, manager)| serves(manager, other)))
        .collect();
    if !nodes.iter().any(|(key, _)| *key == server) {
        nodes.push((server, state));
        nodes.sort_by_key(|(key, _)| *key);
    }
    let first_manager = managers.first().map_or(server, |(key, _)| *key);
    let manager = if cluster(state).is_some() { server } else { first_manager };
    let known: BTreeSet<&str> = nodes.iter().filter_map(|(_, state)| node_id(state)).collect();
    let counted = managers.iter().map(|(_, it)| *it).chain([state]).find_map(|manager| match &manager.engine.swarm {
        SwarmState::Manager { nodes, .. } => *nodes,
        _ => None,
    });
    let unseen = counted.map(|all| all.saturating_sub(known.len() as u64));
    Some(Swarm { manager, first_manager, nodes, unseen })
}

/// What a worker would show if it knew the networks of its Swarm.
fn on_worker(worker: &ObservedState, manager: &ObservedState) -> ObservedState {
    let of_swarm = |network: &&ObservedNetwork| network.scope == NetworkScope::Swarm;
    let mut networks: BTreeMap<_, &ObservedNetwork> =
        worker.networks.iter().map(|network| (network.id.clone(), network)).collect();
    networks.extend(manager.networks.iter().filter(of_swarm).map(|network| (network.id.clone(), network)));
    let mut containers = worker.containers.clone();
    for endpoint in containers.iter_mut().flat_map(|container| &mut container.endpoints) {
        // A container that was connected while it did not run knows the network by its id alone.
        if endpoint.network_id.as_ref().is_some_and(|id| id.as_str() == endpoint.network_name)
            && let Some(network) = endpoint.network_id.as_ref().and_then(|id| networks.get(id))
        {
            endpoint.network_name.clone_from(&network.name);
        }
    }
    ObservedState {
        networks: networks.into_values().cloned().collect(),
        containers,
        unlisted: worker.unlisted.clone(),
        services: manager.services.clone(),
        nodes: manager.nodes.clone(),
        attachments: manager.attachments.clone(),
        engine: worker.engine.clone(),
        workloads: worker.workloads.clone(),
        images: worker.images.clone(),
        volumes: worker.volumes.clone(),
        secrets: manager.secrets.clone(),
    }
}

/// Whether what is known of the other declared servers matters to a plan for these.
pub fn wants_elsewhere(desired: &DesiredState, observed: &Observations, request: &input::Request) -> bool {
    if request.prune && observed.iter().any(|(server, state)| has_others(desired, observed, server, state)) {
        return true;
    }
    observed.values().flatten().any(|state| match &state.engine.swarm {
        SwarmState::Worker { .. } => true,
        SwarmState::Manager { nodes, .. } => {
            *nodes != Some(1) && (request.prune || request.whole_swarms || !request.delete.is_empty())
        }
        SwarmState::Inactive | SwarmState::Pending | SwarmState::Locked | SwarmState::Error { .. } => false,
    })
}

/// Whether a server without a part in a Swarm lacks networks that would be made as bridges, as far as it is for the server alone to say.
pub fn makes_bridges(desired: &DesiredState, observed: &Observations, request: &input::Request) -> bool {
    let servers =
        desired.servers.values().filter_map(|server| Some((server, observed.get(&server.key)?.as_ref().ok()?)));
    let mut standalone = servers.filter(|(_, state)| state.engine.swarm == SwarmState::Inactive);
    standalone.any(|(server, state)| {
        server.destinations.iter().any(|destination| {
            let is_its = |network: &ObservedNetwork| {
                destination.network.name.as_deref() == Some(network.name.as_str())
                    || ownership::of(network).is_some_and(|it| it.destination.as_ref() == Some(&destination.key))
            };
            // What is adopted is somebody else's to make, and may be missing for long.
            let is_made = !destination.adopt || destination.create_if_missing;
            is_made
                && destination.asserted_type != Some(DestinationType::Standalone)
                && !destination.suspend
                && !request.overlays.contains(&destination.key)
                && !request.delete.contains_key(&destination.key)
                && !state.networks.iter().any(is_its)
        })
    })
}

/// Whether it has networks of destinations that are declared on a server which was not looked at.
fn has_others(
    desired: &DesiredState,
    observed: &Observations,
    server: &ObjectKey,
    state: &Result<ObservedState, Unobserved>,
) -> bool {
    let networks = state.iter().flat_map(|state| &state.networks);
    let mut owners = networks.filter_map(ownership::of).filter(|owner| owner.set == desired.set);
    owners.any(|owner| {
        let on = owner.destination.as_ref().and_then(|destination| desired.destination(destination));
        on.is_some_and(|(on, _)| on.key != *server && !observed.contains_key(&on.key))
    })
}

/// Whether a network that a server lists is another node's matter: one of the Swarm is listed by every manager, and by a worker that uses it.
pub fn is_of_another_node(
    desired: &DesiredState,
    observed: &Observations,
    server: &ObjectKey,
    network: &ObservedNetwork,
) -> bool {
    let Some(Ok(state)) = observed.get(server).filter(|_| network.scope == NetworkScope::Swarm) else { return false };
    let Some((server, swarm)) =
        observed.get_key_value(server).and_then(|(key, _)| Some((key, swarm_of(observed, key, state)?)))
    else {
        // Without a manager that answers nobody can say whose it is.
        return state.engine.swarm != SwarmState::Inactive;
    };
    let others = desired.all_servers().filter(|other| other.key != *server && swarm.has(&other.key));
    let named = |destination: &DesiredDestination| destination.network.name.as_deref() == Some(network.name.as_str());
    // What belongs to nobody, one manager reports for all.
    swarm.first_manager != server || others.flat_map(|other| &other.destinations).any(named)
}
