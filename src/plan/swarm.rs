//! Servers that are nodes of one Swarm. Its networks are made and listed by its managers, and containers on any of its nodes may be on them, so
//! what one server's plan is made from takes a look at the others.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::deletion::in_set;
use super::destination::declared_blocker;
use super::operation::{Blocker, BlockerKind, Cluster, Note, Reason};
use super::{Context, DeleteMode, PlanInput, host, ownership};
use crate::api::{DestinationType, ObjectKey};
use crate::desired::{DesiredDestination, DesiredServer, DesiredState};
use crate::observed::{NetworkScope, Observations, ObservedNetwork, ObservedState, SwarmState, Unobserved};

/// The Swarm of a server, as far as declared servers are part of it and could be observed.
#[derive(Debug, Clone)]
pub(super) struct Swarm<'a> {
    /// Whose daemon is asked for the networks: the server's own if it is a manager.
    pub(super) manager: &'a ObjectKey,
    /// Looks after what belongs to no destination: one for all.
    first_manager: &'a ObjectKey,
    /// In the order of their keys, the server itself and the manager among them.
    nodes: Vec<(&'a ObjectKey, &'a ObservedState)>,
    /// How many nodes it has beside these; `None`: the manager does not say.
    unseen: Option<u64>,
}

/// An observed server as planning sees it.
#[derive(Debug, Clone)]
pub(super) struct View<'a> {
    pub(super) state: Cow<'a, ObservedState>,
    pub(super) swarm: Option<Swarm<'a>>,
}

impl<'a> View<'a> {
    pub(super) fn new(observed: &'a Observations, server: &'a ObjectKey, state: &'a ObservedState) -> Self {
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

fn node_id(state: &ObservedState) -> Option<&str> {
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
        services: manager.services.clone(),
        workloads: worker.workloads.clone(),
        images: worker.images.clone(),
        ..ObservedState::of(worker.engine.clone())
    }
}

impl<'a> Swarm<'a> {
    pub(super) fn cluster(&self, server: &ObjectKey) -> Cluster {
        let others = self.nodes.iter().map(|(key, _)| *key).filter(|key| *key != server && *key != self.manager);
        Cluster { manager: self.manager.clone(), nodes: others.cloned().collect() }
    }

    fn has(&self, server: &ObjectKey) -> bool {
        self.nodes.iter().any(|(key, _)| *key == server)
    }

    /// The other declared nodes. A daemon that is declared twice is one node.
    fn others(&self, server: &ObjectKey) -> impl Iterator<Item = (&'a ObjectKey, &'a ObservedState)> {
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

/// Whether what is known of the other declared servers matters to a plan for these.
pub fn wants_elsewhere(desired: &DesiredState, observed: &Observations, request: &super::Request) -> bool {
    if request.prune && observed.iter().any(|(server, state)| has_others(desired, observed, server, state)) {
        return true;
    }
    observed.values().flatten().any(|state| match &state.engine.swarm {
        SwarmState::Worker { .. } => true,
        SwarmState::Manager { nodes, .. } => *nodes != Some(1) && (request.prune || !request.delete.is_empty()),
        SwarmState::Inactive | SwarmState::Pending | SwarmState::Locked | SwarmState::Error { .. } => false,
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
        return false;
    };
    let others = desired.all_servers().filter(|other| other.key != *server && swarm.has(&other.key));
    let named = |destination: &DesiredDestination| destination.network.name.as_deref() == Some(network.name.as_str());
    // What belongs to nobody, one manager reports for all.
    swarm.first_manager != server || others.flat_map(|other| &other.destinations).any(named)
}

impl<'a> Context<'a> {
    /// Whether a network that no destination of this server is about is this server's to look after: one of a Swarm is listed by all managers.
    pub(super) fn looks_after(&self, network: &ObservedNetwork) -> bool {
        let first = || self.swarm.is_some_and(|swarm| swarm.first_manager == &self.server.key);
        network.scope != NetworkScope::Swarm || first()
    }

    /// The destination is declared on another server, which is part of the same Swarm for all that is known. One that has left it may be about to
    /// come back, unless the manifest says that the destination is none of a Swarm any more.
    pub(super) fn declared_in_swarm(&self, network: &ObservedNetwork, destination: &ObjectKey) -> bool {
        let Some(swarm) = self.swarm.filter(|_| network.scope == NetworkScope::Swarm) else { return false };
        let on_it = |server: &ObjectKey| match self.input.observed.get(server) {
            Some(Ok(state)) => swarm.has(server) || state.engine.swarm == SwarmState::Inactive,
            Some(Err(_)) | None => true,
        };
        let declared = self.input.desired.destination(destination);
        declared.is_some_and(|(server, declared)| {
            server.key != self.server.key
                && declared.asserted_type != Some(DestinationType::Standalone)
                && on_it(&server.key)
        })
    }

    /// Whether the destination shares a network with the one that it was made for, on another node of the Swarm: as `adopt: true` says, and within
    /// one team alone, for whoever is on it reaches everyone there.
    pub(super) fn joins(&self, destination: &DesiredDestination, network: &ObservedNetwork, of: &ObjectKey) -> bool {
        destination.adopt
            && *of != destination.key
            && of.namespace == destination.key.namespace
            && self.declared_in_swarm(network, of)
    }

    /// The destination on another node of the Swarm that makes the network which this one is to share.
    pub(super) fn made_for(&self, destination: &DesiredDestination) -> Option<&'a ObjectKey> {
        let swarm = self.swarm.filter(|_| destination.adopt)?;
        let desired = self.input.desired;
        let others = desired.all_servers().filter(|server| server.key != self.server.key && swarm.has(&server.key));
        let mut others = others.flat_map(|server| &server.destinations);
        let makes = |other: &&DesiredDestination| {
            !other.adopt
                && other.key.namespace == destination.key.namespace
                && other.network.name.is_some()
                && other.network.name == destination.network.name
        };
        others.find(makes).map(|other| &other.key)
    }

    /// Destinations on other nodes of the Swarm that share the network of this one.
    pub(super) fn joined(&self, destination: &ObjectKey, network: &ObservedNetwork) -> Vec<Blocker> {
        let Some(swarm) = self.swarm.filter(|_| network.scope == NetworkScope::Swarm) else { return Vec::new() };
        let servers = self.input.desired.all_servers().filter(|server| swarm.has(&server.key));
        let sharing =
            servers.flat_map(|server| server.destinations.iter().map(move |it| (server, it))).filter(|(_, it)| {
                it.adopt
                    && it.key != *destination
                    && it.key.namespace == destination.namespace
                    && it.network.name.as_deref() == Some(network.name.as_str())
                    && !self.is_deleted(&it.key)
            });
        let blocker = |(server, it): (&DesiredServer, &DesiredDestination)| Blocker {
            server: Some(server.key.path()),
            ..declared_blocker(destination, &it.key)
        };
        sharing.map(blocker).collect()
    }

    /// Whether the server is a node of this server's Swarm, this server itself included.
    pub(super) fn is_node(&self, server: &ObjectKey) -> bool {
        self.swarm.is_some_and(|swarm| swarm.has(server))
    }

    /// Whoever is on a network of the Swarm on its other declared nodes, stopped or not. Tasks of the proxy leave with it.
    pub(super) fn elsewhere_on(&self, network: &ObservedNetwork) -> Vec<Blocker> {
        let Some(swarm) = self.swarm.filter(|_| network.scope == NetworkScope::Swarm) else {
            return Vec::new();
        };
        let mut blockers = Vec::new();
        for (server, state) in swarm.others(&self.server.key) {
            for container in state.containers.iter().filter(|container| !host::is_going(container)) {
                let on = container.endpoints.iter().any(|endpoint| match &endpoint.network_id {
                    Some(id) => *id == network.id,
                    None => endpoint.network_name == network.name,
                });
                let proxy = self.server.proxy.as_ref();
                let leaves = host::is_task(container) && host::is_proxy(container, proxy);
                if on && !leaves && !self.host.is_bygone(container, network) {
                    let kind = if host::is_task(container) { BlockerKind::SwarmTask } else { BlockerKind::Container };
                    let state = container.state.as_str().to_owned();
                    blockers.push(Blocker { kind, name: container.name.clone(), state, server: Some(server.path()) });
                }
            }
        }
        blockers
    }

    /// What cannot be known before a network of the Swarm is removed. A declared node that does not answer stands in the way, for Docker would
    /// remove the network from under a stopped container there. Nodes that nobody declares are mentioned: whatever runs there holds the
    /// network, whatever is stopped does not.
    pub(super) fn unseen_nodes(
        &self,
        destination: &ObjectKey,
        network: &ObservedNetwork,
        mode: DeleteMode,
    ) -> Result<Option<Note>, Note> {
        let Some(swarm) = self.swarm.filter(|_| network.scope == NetworkScope::Swarm) else { return Ok(None) };
        if swarm.unseen == Some(0) {
            return Ok(None);
        }
        let silent = self.input.desired.all_servers().map(|server| &server.key);
        let silent: Vec<_> =
            silent.filter(|key| !matches!(self.input.observed.get(*key), Some(Ok(_)))).map(|key| key.path()).collect();
        let nodes = match swarm.unseen {
            Some(1) => "1 node of the Swarm was".to_owned(),
            Some(count) => format!("{count} nodes of the Swarm were"),
            None => "Nodes of the Swarm may have been".to_owned(),
        };
        if !silent.is_empty() && mode == DeleteMode::Guarded {
            return Err(Note::refused(
                Reason::ServerUnreachable,
                destination,
                format!(
                    "{nodes} not looked at, and {} did not answer: whether a container there needs the network {:?} is unknown.",
                    silent.join(", "),
                    network.name
                ),
            )
            .hint(format!(
                "delete it when they answer; if nothing there needs it: landfall delete destination {} -n {}{} --force",
                destination.name,
                destination.namespace,
                in_set(self.set)
            )));
        }
        if swarm.unseen.is_none() {
            return Ok(None);
        }
        Ok(Some(
            Note::warning(
                Reason::ServerUnreachable,
                destination,
                format!(
                    "{nodes} not looked at: a stopped container there that is on the network {:?} could not start again.",
                    network.name
                ),
            )
            .hint("declare every node of the Swarm as a server"),
        ))
    }
}

/// Why a worker's networks cannot be made: no manager of its Swarm is declared, or none answers.
pub(super) fn without_manager(
    input: &PlanInput<'_>,
    server: &ObjectKey,
    destination: &ObjectKey,
    addresses: &[String],
) -> Note {
    let managers = match addresses {
        [] => String::new(),
        [one] => format!(" Its manager is {one}."),
        several => format!(" Its managers are {}.", several.join(", ")),
    };
    let silent = input.desired.all_servers().map(|server| &server.key);
    let silent: Vec<_> =
        silent.filter(|key| matches!(input.observed.get(*key), Some(Err(_)))).map(|key| key.path()).collect();
    let (why, hint) = if silent.is_empty() {
        ("none of them is declared".to_owned(), "declare a manager of that Swarm as a server")
    } else {
        let why = format!("none that is declared could be reached ({} did not answer)", silent.join(", "));
        (why, "declare a further manager of that Swarm as a server, or try again when they answer")
    };
    Note::refused(
        Reason::NotASwarmManager,
        destination,
        format!("{server} is a worker of a Swarm, whose networks are made by its managers, and {why}.{managers}"),
    )
    .hint(hint)
}
