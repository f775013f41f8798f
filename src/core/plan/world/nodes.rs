//! What other nodes of the Swarm have to do with a server's destinations.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::container;
use super::context::Context;
use super::swarm::node_id;
use crate::core::api::{DestinationType, ObjectKey};
use crate::core::desired::{DesiredDestination, DesiredServer, DesiredSubnet};
use crate::core::observed::{NetworkScope, ObservedNetwork, ObservedNode, ObservedState, OwnAddress, SwarmState};
use crate::core::plan::document::note::{Blocker, BlockerKind, Note, declared_blocker, in_set};
use crate::core::plan::document::plan;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::input::DeleteMode;

impl<'a> Context<'a> {
    /// Whether a network that no destination of this server is about is this server's to look after: one of a Swarm is listed by all managers.
    pub(crate) fn looks_after(&self, network: &ObservedNetwork) -> bool {
        let first = || self.swarm.is_some_and(|swarm| swarm.first_manager == &self.server.key);
        network.scope != NetworkScope::Swarm || first()
    }

    /// Whether a service that was made for that destination is this server's to look after: that of the destination, or else the first manager.
    pub(crate) fn looks_after_service(&self, destination: &ObjectKey) -> bool {
        let Some(swarm) = self.swarm else { return self.host.server_type() == plan::ServerType::Manager };
        match self.input.desired.destination(destination) {
            Some((server, _)) if server.key == self.server.key => true,
            Some((server, _)) if swarm.has(&server.key) => false,
            _ => swarm.first_manager == &self.server.key,
        }
    }

    /// The destination is declared on another server, which is part of the same Swarm for all that is known. One that has left it may be about to
    /// come back, unless the manifest says that the destination is none of a Swarm any more.
    pub(crate) fn declared_in_swarm(&self, network: &ObservedNetwork, destination: &ObjectKey) -> bool {
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
    pub(crate) fn joins(&self, destination: &DesiredDestination, network: &ObservedNetwork, of: &ObjectKey) -> bool {
        destination.adopt
            && *of != destination.key
            && of.namespace == destination.key.namespace
            && self.declared_in_swarm(network, of)
    }

    /// The destination on another node of the Swarm that makes the network which this one is to share.
    pub(crate) fn made_for(&self, destination: &DesiredDestination) -> Option<&'a ObjectKey> {
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
    pub(crate) fn joined(&self, destination: &ObjectKey, network: &ObservedNetwork) -> Vec<Blocker> {
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
    pub(crate) fn is_node(&self, server: &ObjectKey) -> bool {
        self.swarm.is_some_and(|swarm| swarm.has(server))
    }

    /// Whoever is on a network of the Swarm on its other declared nodes, stopped or not. Tasks of the proxy leave with it.
    pub(crate) fn elsewhere_on(&self, network: &ObservedNetwork) -> Vec<Blocker> {
        let Some(swarm) = self.swarm.filter(|_| network.scope == NetworkScope::Swarm) else {
            return Vec::new();
        };
        let mut blockers = Vec::new();
        for (server, state) in swarm.others(&self.server.key) {
            for container in state.containers.iter().filter(|container| !container::is_going(container)) {
                let on = container.endpoints.iter().any(|endpoint| match &endpoint.network_id {
                    Some(id) => *id == network.id,
                    None => endpoint.network_name == network.name,
                });
                let proxy = self.server.proxy.as_ref();
                let leaves = container::is_task(container) && container::is_proxy(container, proxy);
                if on && !leaves && !self.host.is_bygone(container, network) {
                    let kind =
                        if container::is_task(container) { BlockerKind::SwarmTask } else { BlockerKind::Container };
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
    pub(crate) fn attached_unseen(&self, network: &ObservedNetwork) -> Vec<Blocker> {
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
    pub(crate) fn node_with_volume<'v>(&self, volumes: impl Iterator<Item = &'v str>) -> Option<&'a str> {
        let volumes: Vec<&str> = volumes.collect();
        let has = |state: &ObservedState| volumes.iter().any(|volume| state.volumes.contains_key(*volume));
        let own = Some(self.host.state).filter(|state| has(state)).and_then(node_id);
        let mut nodes = self.swarm.into_iter().flat_map(|swarm| &swarm.nodes);
        own.or_else(|| nodes.find(|(_, state)| has(state)).and_then(|(_, state)| node_id(state)))
    }

    /// What the managers say of the server's own node.
    pub(crate) fn own_node(&self) -> Option<&'a ObservedNode> {
        self.node()
    }

    pub(crate) fn node(&self) -> Option<&'a ObservedNode> {
        let id = node_id(self.host.state)?;
        self.host.state.nodes.iter().find(|node| node.id == id)
    }

    /// Ranges that an overlay must not have for the sake of the nodes that it may reach, with what they are of.
    pub(crate) fn taken_on_nodes(
        &self,
        subnet: &IpNet,
        ignored: &BTreeSet<&crate::core::observed::NetworkId>,
    ) -> Option<String> {
        let own = [(&self.server.key, self.host.state)];
        let nodes: &[(&ObjectKey, &ObservedState)] = self.swarm.map_or(&own, |swarm| &swarm.nodes);
        for (server, state) in nodes {
            let local = state.networks.iter().filter(|it| it.scope == NetworkScope::Local && !ignored.contains(&it.id));
            for network in local {
                if let Some(range) =
                    container::subnets(network).into_iter().find(|range| container::overlap(range, subnet))
                {
                    return Some(format!("overlaps {range} of the network {:?} on {server}", network.name));
                }
            }
            let on_a_network = |own: &OwnAddress| {
                let local = state.networks.iter().filter(|network| network.scope == NetworkScope::Local);
                local.flat_map(container::subnets).any(|range| range.contains(&own.address))
            };
            // Its own are looked at for any kind of network.
            let others = state.engine.addresses.iter().filter(|_| **server != self.server.key);
            let addresses = others.filter(|own| subnet.contains(&own.address));
            if let Some(own) = addresses.filter(|own| !on_a_network(own)).min_by_key(|own| own.of) {
                let what = own.of.describe();
                return Some(format!("contains {}, {what} ({server})", own.address));
            }
            for pool in &state.engine.address_pools {
                if let Some(range) = next_of(pool).filter(|range| container::overlap(range, subnet)) {
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
    pub(crate) fn declared_overlap(&self, destination: &DesiredDestination) -> Option<String> {
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
            let (mine, theirs) = both.find(|(mine, theirs)| container::overlap(mine, theirs))?;
            Some(format!(
                "The subnet {mine} overlaps {theirs} of {}, which is declared for {server}, a node of the same Swarm.",
                other.key
            ))
        })
    }

    /// Whether another node's destination of the team is about the same network.
    pub(crate) fn is_shared(&self, destination: &DesiredDestination, network: &ObservedNetwork) -> bool {
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
    pub(crate) fn unseen_nodes(
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
