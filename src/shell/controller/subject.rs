//! What waits, and what is fought over: the one endpoint, container or network, and never what merely belongs to the same object.

use std::collections::BTreeSet;
use std::fmt;

use crate::core::api::ObjectKey;
use crate::core::observed::{ContainerId, EngineEvent, NetworkId, ServiceId};
use crate::core::plan::{Call, Group, NetworkTarget, Operation};

/// What an operation is about. Another container or another network is another subject, which nothing is held against.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Endpoint {
        network: OnNetwork,
        container: ContainerId,
    },
    Container(ContainerId),
    Network(NetworkId),
    Service(ServiceId),
    /// A Swarm service on a network: what a deployment of others undoes.
    Attachment {
        network: OnNetwork,
        service: ServiceId,
    },
    /// The network of a destination, which does not exist yet. Its name may be drawn anew each time.
    Creation(ObjectKey),
    /// What is run for a resource.
    Workload(ObjectKey),
}

/// The network that an endpoint is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnNetwork {
    Id(NetworkId),
    /// It was to be created in the same plan.
    Name(String),
}

impl From<&NetworkTarget> for OnNetwork {
    fn from(network: &NetworkTarget) -> Self {
        network.id.clone().map_or_else(|| Self::Name(network.name.clone()), Self::Id)
    }
}

impl Subject {
    pub fn of(operation: &Operation) -> Self {
        match &operation.call {
            Call::ConnectEndpoint { network, container, .. } | Call::DisconnectEndpoint { network, container, .. } => {
                Self::Endpoint { network: network.into(), container: container.id.clone() }
            }
            Call::StartContainer { container } | Call::StopContainer { container } => {
                Self::Container(container.id.clone())
            }
            Call::RefreshProxy { proxy, .. } => Self::Container(proxy.id.clone()),
            Call::RemoveNetwork { network: NetworkTarget { id: Some(id), .. } } => Self::Network(id.clone()),
            Call::CreateNetwork(_) | Call::RemoveNetwork { .. } => Self::Creation(operation.object.clone()),
            Call::UpdateService { service, .. } | Call::ScaleService { service, .. } => {
                Self::Service(service.id.clone())
            }
            Call::Workload(_) => Self::Workload(operation.object.clone()),
        }
    }

    /// What is fought over: as [`Subject::of`], but for a Swarm service the network that it is put on.
    pub fn undone(operation: &Operation) -> Self {
        match &operation.call {
            Call::UpdateService { service, changes } => match changes.as_slice() {
                [change] if change.attachment.is_some() => Self::attachment(&service.id, &change.network),
                _ => Self::of(operation),
            },
            _ => Self::of(operation),
        }
    }

    pub fn attachment(service: &ServiceId, network: &NetworkTarget) -> Self {
        Self::Attachment { network: network.into(), service: service.clone() }
    }

    /// Whether what happened may have changed what becomes of it.
    pub fn concerns(&self, about: &About) -> bool {
        match self {
            Self::Endpoint { network, container } => {
                about.container.as_ref() == Some(container)
                    || about.network.as_ref().is_some_and(|id| *network == OnNetwork::Id(id.clone()))
            }
            Self::Container(container) => about.container.as_ref() == Some(container),
            Self::Network(network) => about.network.as_ref() == Some(network),
            // A network that came or went: it may have had the name, the subnet or the last of the pool.
            Self::Creation(_) => about.is_network_itself(),
            Self::Service(_) | Self::Attachment { .. } | Self::Workload(_) => false,
        }
    }
}

/// Whether the group has to do with one of them.
pub fn is_about_any(group: &Group, subjects: &BTreeSet<Subject>) -> bool {
    let is_one = |operation: &Operation| {
        subjects.contains(&Subject::of(operation))
            || operation.parts().iter().any(|part| subjects.contains(&Subject::undone(part)))
    };
    !subjects.is_empty() && group.operations.iter().any(is_one)
}

/// In a sentence: `frontend on web-net`.
pub struct InWords<'a>(pub &'a Operation);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.call {
            Call::ConnectEndpoint { network, container, .. } | Call::DisconnectEndpoint { network, container, .. } => {
                write!(f, "{} on {}", container.name, network.name)
            }
            Call::StartContainer { container } | Call::StopContainer { container } => {
                write!(f, "the container {}", container.name)
            }
            Call::CreateNetwork(create) => write!(f, "the network {}", create.name),
            Call::RemoveNetwork { network } => write!(f, "the network {}", network.name),
            Call::UpdateService { service, changes } if changes.len() == 1 => {
                let network = changes.iter().map(|change| change.network.name.as_str()).collect::<String>();
                write!(f, "the Swarm service {} on {network}", service.name)
            }
            Call::UpdateService { service, .. } | Call::ScaleService { service, .. } => {
                write!(f, "the Swarm service {}", service.name)
            }
            Call::RefreshProxy { proxy, .. } => write!(f, "the container {}", proxy.name),
            Call::Workload(_) => write!(f, "what runs for {}", self.0.object),
        }
    }
}

/// What an event of a server was about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    pub network: Option<NetworkId>,
    pub container: Option<ContainerId>,
}

impl About {
    pub fn of(event: &EngineEvent) -> Self {
        match event.object_type.as_str() {
            "network" => Self {
                network: event.id.clone().try_into().ok(),
                container: event.container.clone().and_then(|id| id.try_into().ok()),
            },
            "container" => Self { network: None, container: event.id.clone().try_into().ok() },
            _ => Self::default(),
        }
    }

    /// A network was made or removed.
    fn is_network_itself(&self) -> bool {
        self.network.is_some() && self.container.is_none()
    }
}

/// What a pass has changed, by which the events that it caused itself are known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Touched {
    containers: BTreeSet<ContainerId>,
    /// Networks were made or removed.
    networks: bool,
}

impl Touched {
    pub fn add(&mut self, call: &Call) {
        self.containers.extend(call.container_target().map(|target| target.id.clone()));
        self.networks |= matches!(call, Call::CreateNetwork(_) | Call::RemoveNetwork { .. });
    }

    /// Whether the event may be the pass's own doing.
    pub fn explains(&self, about: &About) -> bool {
        match &about.container {
            Some(container) => self.containers.contains(container),
            None => self.networks && about.is_network_itself(),
        }
    }
}
