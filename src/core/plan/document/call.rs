//! One call of the Engine's API, complete.

use super::cause::Cause;
use super::target::{
    Connection, ContainerTarget, NetworkCreate, NetworkTarget, OVERLAY, PartyId, Reserved, ServiceTarget,
};
use super::workload_call::WorkloadCall;
use crate::core::api::ObjectKey;
use crate::core::observed::{EndpointSettings, NetworkId, ServiceAttachment};

/// The call itself, complete: the executor adds nothing but the id of a network created earlier in the plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    CreateNetwork(NetworkCreate),
    ConnectEndpoint {
        network: NetworkTarget,
        container: ContainerTarget,
        settings: EndpointSettings,
        reserved: Reserved,
    },
    DisconnectEndpoint {
        network: NetworkTarget,
        container: ContainerTarget,
        force: bool,
    },
    /// Nobody refers to the network when it is removed, stopped containers included: look again right before.
    RemoveNetwork {
        network: NetworkTarget,
    },
    StartContainer {
        container: ContainerTarget,
    },
    StopContainer {
        container: ContainerTarget,
    },
    /// A Swarm service is on networks by its definition, and its tasks are restarted when that changes. The rest of the definition is as it is
    /// found.
    UpdateService {
        service: ServiceTarget,
        /// All that a pass changes, in one: each update restarts the tasks. At least one.
        changes: Vec<NetworkChange>,
    },
    /// A service has no state of its own to be stopped in: it is given no tasks, and later as many as it had.
    ScaleService {
        service: ServiceTarget,
        replicas: u64,
    },
    /// A short-lived container of the proxy's own image starts and goes: that has the proxy look again.
    RefreshProxy {
        proxy: ContainerTarget,
        image: String,
        set: String,
    },
    /// Something for a resource that Landfall runs.
    Workload(Box<WorkloadCall>),
}

impl Call {
    /// Whether it goes to a manager of the Swarm that the server is part of, and not to the server's own daemon.
    pub fn is_for_manager(&self) -> bool {
        match self {
            Call::CreateNetwork(create) => create.driver == OVERLAY,
            Call::RemoveNetwork { network } => network.id.as_ref().is_some_and(NetworkId::is_of_swarm),
            Call::UpdateService { .. } | Call::ScaleService { .. } => true,
            Call::ConnectEndpoint { .. }
            | Call::DisconnectEndpoint { .. }
            | Call::StartContainer { .. }
            | Call::StopContainer { .. }
            | Call::RefreshProxy { .. } => false,
            Call::Workload(call) => call.is_for_manager(),
        }
    }

    /// As in the plan's JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Call::CreateNetwork(_) => "CreateNetwork",
            Call::ConnectEndpoint { .. } => "ConnectEndpoint",
            Call::DisconnectEndpoint { .. } => "DisconnectEndpoint",
            Call::RemoveNetwork { .. } => "RemoveNetwork",
            Call::StartContainer { .. } => "StartContainer",
            Call::StopContainer { .. } => "StopContainer",
            Call::UpdateService { .. } | Call::ScaleService { .. } => "UpdateService",
            Call::RefreshProxy { .. } => "RefreshProxy",
            Call::Workload(call) => call.name(),
        }
    }

    /// The container it changes.
    pub fn container_target(&self) -> Option<&ContainerTarget> {
        match self {
            Call::ConnectEndpoint { container, .. }
            | Call::DisconnectEndpoint { container, .. }
            | Call::StartContainer { container }
            | Call::StopContainer { container } => Some(container),
            Call::Workload(call) => call.target(),
            Call::CreateNetwork(_)
            | Call::RemoveNetwork { .. }
            | Call::UpdateService { .. }
            | Call::RefreshProxy { .. }
            | Call::ScaleService { .. } => None,
        }
    }

    /// It makes what another applier may be making at the same time, and waits for that.
    pub fn takes_a_turn(&self) -> bool {
        matches!(self, Call::Workload(call) if call.takes_a_turn())
    }

    /// The Swarm service that it changes.
    pub fn updated(&self) -> Option<&ServiceTarget> {
        match self {
            Call::UpdateService { service, .. } | Call::ScaleService { service, .. } => Some(service),
            Call::Workload(call) => call.updated(),
            _ => None,
        }
    }

    /// The connections that are there once it is done.
    pub fn connections(&self) -> Vec<Connection> {
        match self {
            Call::ConnectEndpoint { network, container, .. } => {
                vec![Connection { party: PartyId::Container(container.id.clone()), network: network.clone() }]
            }
            Call::UpdateService { service, changes } => {
                let made = changes.iter().filter(|change| change.attachment.is_some());
                made.map(|change| service.on(&change.network)).collect()
            }
            Call::CreateNetwork(_)
            | Call::DisconnectEndpoint { .. }
            | Call::RemoveNetwork { .. }
            | Call::StartContainer { .. }
            | Call::StopContainer { .. }
            | Call::ScaleService { .. }
            | Call::RefreshProxy { .. }
            | Call::Workload(_) => Vec::new(),
        }
    }

    /// The connections that are not there any more once it is done.
    pub fn disconnections(&self) -> Vec<Connection> {
        match self {
            Call::DisconnectEndpoint { network, container, .. } => {
                vec![Connection { party: PartyId::Container(container.id.clone()), network: network.clone() }]
            }
            Call::UpdateService { service, changes } => {
                let gone = changes.iter().filter(|change| change.attachment.is_none());
                gone.map(|change| service.on(&change.network)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The networks that have to be created earlier in the plan for the call to be possible.
    pub fn awaits(&self) -> Vec<&str> {
        let networks: Vec<&NetworkTarget> = match self {
            Call::ConnectEndpoint { network, .. }
            | Call::DisconnectEndpoint { network, .. }
            | Call::RemoveNetwork { network } => vec![network],
            Call::UpdateService { changes, .. } => changes.iter().map(|change| &change.network).collect(),
            Call::Workload(call) => call.network().into_iter().collect(),
            Call::CreateNetwork(_)
            | Call::StartContainer { .. }
            | Call::StopContainer { .. }
            | Call::RefreshProxy { .. }
            | Call::ScaleService { .. } => Vec::new(),
        };
        networks.into_iter().filter(|network| network.id.is_none()).map(|network| network.name.as_str()).collect()
    }
}

/// A network that the tasks of a Swarm service are put on, or taken off.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkChange {
    /// The declared object it serves.
    pub object: ObjectKey,
    pub cause: Cause,
    pub network: NetworkTarget,
    /// How the tasks are put on the network; `None`: they are taken off it.
    pub attachment: Option<ServiceAttachment>,
    /// As of a group: without one of them in place, this change is left out of the update.
    pub needs: Vec<Connection>,
}

impl Call {
    /// The managed container that is ready once it is done.
    pub fn made_ready(&self) -> Option<&ContainerTarget> {
        match self {
            Call::Workload(call) => match &**call {
                WorkloadCall::StartContainer { container, attempt, .. } if !attempt.is_empty() => container.existing(),
                _ => None,
            },
            _ => None,
        }
    }

    /// What a start of a managed container stands for.
    pub fn attempt(&self) -> Option<&str> {
        match self {
            Call::Workload(call) => match &**call {
                WorkloadCall::StartContainer { attempt, .. } if !attempt.is_empty() => Some(attempt),
                WorkloadCall::ComposeUp(up) => Some(&up.attempt),
                WorkloadCall::StackDeploy(deploy) => Some(&deploy.attempt),
                WorkloadCall::CreateService(rollout) | WorkloadCall::UpdateService { rollout, .. } => {
                    Some(&rollout.attempt)
                }
                _ => None,
            },
            _ => None,
        }
    }
}
