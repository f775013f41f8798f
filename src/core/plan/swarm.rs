//! Servers that are nodes of one Swarm. Its networks are made and listed by its managers, and containers on any of its nodes may be on them, so
//! what one server's plan is made from takes a look at the others.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::cut::{Stranded, cut};
use super::deletion::in_set;
use super::destination::declared_blocker;
use super::operation::{
    Blocker, BlockerKind, Call, Cluster, Group, NetworkTarget, Note, OVERLAY, Operation, Reason, ServerPlan,
};
use super::{Context, DeleteMode, PlanInput, host, ownership};
use crate::core::api::{DestinationType, ObjectKey};
use crate::core::desired::{DesiredDestination, DesiredServer, DesiredState, DesiredSubnet};
use crate::core::observed::{
    NetworkScope, NodeAvailability, Observations, ObservedNetwork, ObservedNode, ObservedState, OwnAddress, SwarmState,
    Unobserved,
};

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
        SwarmState::Manager { nodes, .. } => {
            *nodes != Some(1) && (request.prune || request.whole_swarms || !request.delete.is_empty())
        }
        SwarmState::Inactive | SwarmState::Pending | SwarmState::Locked | SwarmState::Error { .. } => false,
    })
}

/// Whether a server without a part in a Swarm lacks networks that would be made as bridges, as far as it is for the server alone to say.
pub fn makes_bridges(desired: &DesiredState, observed: &Observations, request: &super::Request) -> bool {
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

impl<'a> Context<'a> {
    /// Whether a network that no destination of this server is about is this server's to look after: one of a Swarm is listed by all managers.
    pub(super) fn looks_after(&self, network: &ObservedNetwork) -> bool {
        let first = || self.swarm.is_some_and(|swarm| swarm.first_manager == &self.server.key);
        network.scope != NetworkScope::Swarm || first()
    }

    /// Whether a service that was made for that destination is this server's to look after: that of the destination, or else the first manager.
    pub(super) fn looks_after_service(&self, destination: &ObjectKey) -> bool {
        let Some(swarm) = self.swarm else { return self.host.server_type() == super::ServerType::Manager };
        match self.input.desired.destination(destination) {
            Some((server, _)) if server.key == self.server.key => true,
            Some((server, _)) if swarm.has(&server.key) => false,
            _ => swarm.first_manager == &self.server.key,
        }
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
        blockers.extend(self.attached_unseen(network));
        blockers
    }

    /// Containers on a network of the Swarm on nodes that were not looked at, as the managers know them. As long as they do, Docker does not
    /// remove the network, also where the node is down.
    pub(super) fn attached_unseen(&self, network: &ObservedNetwork) -> Vec<Blocker> {
        let Some(swarm) = self.swarm.filter(|_| network.scope == NetworkScope::Swarm) else { return Vec::new() };
        let seen: BTreeSet<&str> = swarm.nodes.iter().filter_map(|(_, state)| node_id(state)).collect();
        let state: &ObservedState = self.host.state;
        let on_it = state.attachments.iter().filter(|it| it.networks.iter().any(|id| id == network.id.as_str()));
        let unseen = on_it.filter(|it| !seen.contains(it.node.as_str()));
        let blocker = |it: &crate::core::observed::SwarmAttachment| {
            let state = match state.nodes.iter().find(|node| node.id == it.node) {
                Some(node) if node.up => format!("on the node {}, which was not looked at", node.name),
                Some(node) => format!("on the node {}, which is down", node.name),
                None => format!("on the node {}, which is gone", it.node),
            };
            let name = it.container.get(..12).unwrap_or(&it.container).to_owned();
            Blocker { kind: BlockerKind::Container, name, state, server: None }
        };
        unseen.map(blocker).collect()
    }

    /// The declared node that has one of the volumes, as far as volumes were looked at: this server's own first.
    pub(super) fn node_with_volume<'v>(&self, volumes: impl Iterator<Item = &'v str>) -> Option<&'a str> {
        let volumes: Vec<&str> = volumes.collect();
        let has = |state: &ObservedState| volumes.iter().any(|volume| state.volumes.contains_key(*volume));
        let own = Some(self.host.state).filter(|state| has(state)).and_then(node_id);
        let mut nodes = self.swarm.into_iter().flat_map(|swarm| &swarm.nodes);
        own.or_else(|| nodes.find(|(_, state)| has(state)).and_then(|(_, state)| node_id(state)))
    }

    /// What the managers say of the server's own node.
    pub(super) fn own_node(&self) -> Option<&'a ObservedNode> {
        self.node()
    }

    fn node(&self) -> Option<&'a ObservedNode> {
        let id = node_id(self.host.state)?;
        self.host.state.nodes.iter().find(|node| node.id == id)
    }

    /// Ranges that an overlay must not have for the sake of the nodes that it may reach, with what they are of.
    pub(super) fn taken_on_nodes(
        &self,
        subnet: &IpNet,
        ignored: &BTreeSet<&crate::core::observed::NetworkId>,
    ) -> Option<String> {
        let own = [(&self.server.key, self.host.state)];
        let nodes: &[(&ObjectKey, &ObservedState)] = self.swarm.map_or(&own, |swarm| &swarm.nodes);
        for (server, state) in nodes {
            let local = state.networks.iter().filter(|it| it.scope == NetworkScope::Local && !ignored.contains(&it.id));
            for network in local {
                if let Some(range) = host::subnets(network).into_iter().find(|range| host::overlap(range, subnet)) {
                    return Some(format!("overlaps {range} of the network {:?} on {server}", network.name));
                }
            }
            let on_a_network = |own: &OwnAddress| {
                let local = state.networks.iter().filter(|network| network.scope == NetworkScope::Local);
                local.flat_map(host::subnets).any(|range| range.contains(&own.address))
            };
            // Its own are looked at for any kind of network.
            let others = state.engine.addresses.iter().filter(|_| **server != self.server.key);
            let addresses = others.filter(|own| subnet.contains(&own.address));
            if let Some(own) = addresses.filter(|own| !on_a_network(own)).min_by_key(|own| own.of) {
                let what = own.of.describe();
                return Some(format!("contains {}, {what} ({server})", own.address));
            }
            for pool in &state.engine.address_pools {
                if let Some(range) = next_of(pool).filter(|range| host::overlap(range, subnet)) {
                    return Some(format!("overlaps {range}, from which {server} takes the next bridges"));
                }
            }
        }
        let node =
            self.host.state.nodes.iter().find(|it| it.address.is_some_and(|address| subnet.contains(&address)))?;
        Some(format!("contains {}, the address of the node {}", node.address?, node.name))
    }

    /// A destination on another node of the Swarm that is to have some of the same addresses, and whose network is not there either: the one that
    /// comes first has them.
    pub(super) fn declared_overlap(&self, destination: &DesiredDestination) -> Option<String> {
        let swarm = self.swarm?;
        let own = (&self.server.key, &destination.key);
        let servers = self.input.desired.all_servers();
        let servers = servers.filter(|server| server.key != self.server.key && swarm.has(&server.key));
        let others = servers.flat_map(|server| server.destinations.iter().map(move |it| (&server.key, it)));
        let mut others = others.filter(|(server, other)| {
            (*server, &other.key) < own
                && !other.adopt
                && !other.suspend
                && other.asserted_type != Some(DestinationType::Standalone)
                && !self.is_deleted(&other.key)
        });
        let ranges = |it: &'a DesiredDestination| it.network.subnets.iter().map(|subnet: &DesiredSubnet| subnet.subnet);
        others.find_map(|(server, other)| {
            let mut both = destination
                .network
                .subnets
                .iter()
                .flat_map(|mine| ranges(other).map(move |theirs| (mine.subnet, theirs)));
            let (mine, theirs) = both.find(|(mine, theirs)| host::overlap(mine, theirs))?;
            Some(format!(
                "The subnet {mine} overlaps {theirs} of {}, which is declared for {server}, a node of the same Swarm.",
                other.key
            ))
        })
    }

    /// Whether another node's destination of the team is about the same network.
    pub(super) fn is_shared(&self, destination: &DesiredDestination, network: &ObservedNetwork) -> bool {
        let Some(swarm) = self.swarm.filter(|_| network.scope == NetworkScope::Swarm && destination.adopt) else {
            return false;
        };
        let servers = self.input.desired.all_servers();
        let servers = servers.filter(|server| server.key != self.server.key && swarm.has(&server.key));
        servers.flat_map(|server| &server.destinations).any(|other| {
            other.key.namespace == destination.key.namespace
                && other.network.name.as_deref() == Some(network.name.as_str())
        })
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

/// The ranges of a pool that the daemon takes next, the lowest first.
fn next_of(pool: &crate::core::observed::AddressPool) -> Option<IpNet> {
    /// As many are looked at.
    const NEXT: u8 = 8;
    let base: IpNet = pool.base.parse().ok()?;
    let base = base.trunc();
    let size = u8::try_from(pool.size).ok()?;
    let prefix = size.saturating_sub(NEXT).max(base.prefix_len());
    IpNet::new(base.network(), prefix).ok()
}

/// Takes out whatever would connect a container to a network of the Swarm, or start one that is on such a network, while the Swarm lets none of
/// the node's onto any: the daemon tries for 20 s, in vain.
pub(super) fn wait_for_node(ctx: &Context<'_>, plan: &mut ServerPlan) {
    let Some(node) = ctx.node().filter(|node| node.availability != NodeAvailability::Active) else { return };
    let made: BTreeSet<String> = plan.groups.iter().flat_map(|group| &group.operations).filter_map(overlay).collect();
    let of_swarm = |network: &NetworkTarget| match &network.id {
        Some(id) => id.is_of_swarm(),
        None => made.contains(&network.name),
    };
    let attaches = |operation: &Operation| match &operation.call {
        Call::ConnectEndpoint { network, .. } => of_swarm(network),
        Call::StartContainer { container } => ctx.host.container(&container.id).is_some_and(|it| {
            it.endpoints.iter().any(|endpoint| endpoint.network_id.as_ref().is_some_and(|id| id.is_of_swarm()))
        }),
        _ => false,
    };
    if !plan.groups.iter().flat_map(|group| &group.operations).any(attaches) {
        return;
    }
    let state = if node.availability == NodeAvailability::Drain { "is drained" } else { "is paused" };
    let hint = format!("on a manager: docker node update --availability active {}", node.id);
    let out = cut(plan, |group: &Group| group.operations.iter().any(attaches));
    for operation in out.asked.iter().flat_map(|group| &group.operations).filter(|operation| attaches(operation)) {
        let container = operation.call.container().unwrap_or_default();
        let what = match operation.call.network() {
            Some(network) => format!("{container:?} is not connected to {network:?}"),
            None => format!("{container:?} is not started"),
        };
        let message =
            format!("The node {} {state}, and the Swarm lets no container of it onto its networks: {what}.", node.name);
        let note = Note::refused(Reason::NodeUnavailable, &operation.object, message).hint(hint.clone());
        if !plan.notes.contains(&note) {
            plan.notes.push(note);
        }
    }
    let waits = |Stranded { group, creator, .. }: Stranded| {
        let message =
            format!("It is left as it is until {creator} is as declared, for which the node has to take part.");
        Note::waiting(Reason::NodeUnavailable, &group.object, message)
    };
    plan.notes.extend(out.stranded.into_iter().map(waits));
}

fn overlay(operation: &Operation) -> Option<String> {
    match &operation.call {
        Call::CreateNetwork(create) if create.driver == OVERLAY => Some(create.name.clone()),
        _ => None,
    }
}
