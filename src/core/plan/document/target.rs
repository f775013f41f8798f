//! What calls are about: networks, containers and services by id, and what a network is made as.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::core::observed::{
    ContainerId, NetworkId, ObservedContainer, ObservedNetwork, ObservedService, ObservedSubnet, ServiceId,
};

/// A network to act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkTarget {
    pub name: String,
    /// `None`: the one created under `name` earlier in this server's plan. If that failed, what was to be done with it is skipped.
    pub id: Option<NetworkId>,
}

impl NetworkTarget {
    pub fn existing(network: &ObservedNetwork) -> Self {
        Self { name: network.name.clone(), id: Some(network.id.clone()) }
    }
}

/// A container to act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerTarget {
    pub name: String,
    pub id: ContainerId,
}

impl ContainerTarget {
    pub fn of(container: &ObservedContainer) -> Self {
        Self { name: container.name.clone(), id: container.id.clone() }
    }
}

/// A Swarm service to act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTarget {
    pub name: String,
    pub id: ServiceId,
}

impl ServiceTarget {
    pub fn of(service: &ObservedService) -> Self {
        Self { name: service.name.clone(), id: service.id.clone() }
    }

    pub(crate) fn on(&self, network: &NetworkTarget) -> Connection {
        Connection { party: PartyId::Service(self.id.clone()), network: network.clone() }
    }
}

/// Somebody on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub party: PartyId,
    pub network: NetworkTarget,
}

/// Who can be on a network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartyId {
    Container(ContainerId),
    /// Its tasks.
    Service(ServiceId),
}

/// Each of them once, in their order.
pub fn distinct(needs: Vec<Connection>) -> Vec<Connection> {
    let mut distinct: Vec<Connection> = Vec::with_capacity(needs.len());
    for need in needs {
        if !distinct.contains(&need) {
            distinct.push(need);
        }
    }
    distinct
}

/// The body of `POST /networks/create`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkCreate {
    pub name: String,
    pub driver: String,
    pub attachable: bool,
    pub internal: bool,
    /// False is for engines from API 1.48 on.
    #[serde(default = "yes")]
    pub ipv4: bool,
    pub ipv6: bool,
    pub subnets: Vec<ObservedSubnet>,
    pub options: BTreeMap<String, String>,
    /// Landfall's own included.
    pub labels: BTreeMap<String, String>,
    /// Why it is made in the place of another: for people, and no part of the call.
    #[serde(skip)]
    pub replaces: Vec<FieldDifference>,
    /// Networks of its destination under other names that are there as well, as the plan has it.
    #[serde(skip)]
    pub beside: Vec<NetworkId>,
    /// No manifest says the name: another applier makes the network of the same destination under another one.
    #[serde(skip)]
    pub generated: bool,
}

fn yes() -> bool {
    true
}

/// A field that Docker cannot change, with what the server has and what the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDifference {
    /// `spec.network.mtu`
    pub field: String,
    pub observed: String,
    pub declared: String,
}

impl std::fmt::Display for FieldDifference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { field, observed, declared } = self;
        write!(f, "{field} is {observed} on the server and {declared} in the manifest")
    }
}

/// What an endpoint must not be given, because it is declared for others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reserved {
    pub addresses: Vec<IpAddr>,
    /// Free ones to choose from where the daemon chooses one of `addresses` all the same, the first first.
    pub spare: Vec<IpAddr>,
}

/// The driver of networks that span the nodes of a Swarm.
pub const OVERLAY: &str = "overlay";
