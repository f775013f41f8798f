//! The network that a destination's endpoints belong on.

use std::collections::BTreeSet;

use super::applied;
use super::ownership::Purpose;
use crate::core::api::ObjectKey;
use crate::core::desired::DesiredEndpoint;
use crate::core::observed::{ObservedContainer, ObservedNetwork, ObservedService, ObservedSubnet};
use crate::core::plan::document::target::{NetworkCreate, NetworkTarget};

/// The network that a destination's endpoints belong on.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// `None`: the plan creates it.
    pub(crate) network: Option<&'a ObservedNetwork>,
    /// What it is, or will be created as.
    pub(crate) create: NetworkCreate,
}

impl Target<'_> {
    pub(crate) fn call(&self) -> NetworkTarget {
        match self.network {
            Some(network) => NetworkTarget::existing(network),
            None => NetworkTarget { name: self.create.name.clone(), id: None },
        }
    }
}

/// An observed network as the body of the call that would create it again.
pub(crate) fn recreation(network: &ObservedNetwork) -> NetworkCreate {
    let mut options = network.options.clone();
    // Numbers that the Swarm has assigned.
    options.remove("com.docker.network.driver.overlay.vxlanid_list");
    NetworkCreate {
        replaces: Vec::new(),
        beside: Vec::new(),
        generated: false,
        name: network.name.clone(),
        driver: network.driver.clone(),
        attachable: network.attachable,
        internal: network.internal,
        ipv4: network.ipv4,
        ipv6: network.ipv6,
        subnets: network
            .subnets
            .iter()
            .map(|subnet| ObservedSubnet {
                gateway: subnet.gateway.as_deref().and_then(applied::address).map(|gateway| gateway.to_string()),
                ..subnet.clone()
            })
            .collect(),
        options,
        labels: network.labels.clone(),
    }
}

/// A container that belongs on a destination's network, and how it should appear there.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    /// The resource, or the destination where the container is the proxy.
    pub(crate) object: &'a ObjectKey,
    pub(crate) container: &'a ObservedContainer,
    pub(crate) endpoint: DesiredEndpoint,
    pub(crate) start_after_repair: bool,
    pub(crate) made_for: BTreeSet<Purpose>,
}

/// A Swarm service whose tasks belong on a destination's network.
#[derive(Debug, Clone)]
pub(crate) struct WantedService<'a> {
    /// The resource, or the destination where the service is the proxy.
    pub(crate) object: &'a ObjectKey,
    pub(crate) service: &'a ObservedService,
    pub(crate) aliases: Vec<String>,
    pub(crate) made_for: BTreeSet<Purpose>,
}
