//! What calls for managed resources change, and where they go.

use super::target::{ContainerTarget, NetworkTarget, ServiceTarget};
use super::workload_call::{ContainerRef, ServiceRef, WorkloadCall};
use crate::core::api::ObjectKey;
use crate::core::observed::ContainerId;

impl WorkloadCall {
    /// It is about a Swarm service, or what that refers to: a manager's to do.
    pub fn is_for_manager(&self) -> bool {
        let stack = matches!(self, Self::StackDeploy(_) | Self::StackRemove { .. });
        stack || self.service().is_some() || matches!(self, Self::CreateSecret { .. } | Self::RemoveSecret { .. })
    }

    /// The Swarm service that it is about, by name.
    pub fn service(&self) -> Option<&str> {
        match self {
            WorkloadCall::CreateService(rollout) => Some(&rollout.create.name),
            WorkloadCall::UpdateService { service, .. } | WorkloadCall::StopService { service } => Some(&service.name),
            WorkloadCall::RemoveService { service, .. } => Some(service.name()),
            _ => None,
        }
    }

    /// It makes a container that is to take another's place: the daemon gives its name to one applier at a time.
    pub fn takes_a_turn(&self) -> bool {
        matches!(self, WorkloadCall::CreateContainer { replaces: Some(_), .. })
    }

    /// The Swarm service that it changes.
    pub fn updated(&self) -> Option<&ServiceTarget> {
        match self {
            WorkloadCall::UpdateService { service, .. } | WorkloadCall::StopService { service } => Some(service),
            _ => None,
        }
    }

    /// The Swarm service that it changes or removes, where that exists.
    pub fn service_target(&self) -> Option<&ServiceTarget> {
        match self {
            WorkloadCall::RemoveService { service: ServiceRef::Existing(service), .. } => Some(service),
            _ => self.updated(),
        }
    }

    /// Resources that have to be in place first.
    pub fn after(&self) -> &[ObjectKey] {
        match self {
            WorkloadCall::CreateContainer { after, .. } => after,
            WorkloadCall::CreateService(rollout) | WorkloadCall::UpdateService { rollout, .. } => &rollout.after,
            _ => &[],
        }
    }

    /// Containers that were there before the plan and that it removes.
    pub fn removed(&self) -> Vec<&ContainerTarget> {
        match self {
            WorkloadCall::RemoveContainer { container, .. } => container.existing().into_iter().collect(),
            WorkloadCall::ClearContainer { container, .. } => vec![container],
            WorkloadCall::ComposeDown { stack, .. } => stack.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The container that it is about, by name.
    pub fn container(&self) -> Option<&str> {
        match self {
            WorkloadCall::PullImage { .. }
            | WorkloadCall::CreateVolume { .. }
            | WorkloadCall::ComposeUp(_)
            | WorkloadCall::ComposeDown { .. }
            | WorkloadCall::StackDeploy(_)
            | WorkloadCall::StackRemove { .. }
            | WorkloadCall::CreateSecret { .. }
            | WorkloadCall::RemoveSecret { .. }
            | WorkloadCall::CreateService(_)
            | WorkloadCall::UpdateService { .. }
            | WorkloadCall::StopService { .. }
            | WorkloadCall::RemoveService { .. } => None,
            WorkloadCall::RunJob { container, .. }
            | WorkloadCall::CheckData { container, .. }
            | WorkloadCall::CreateContainer { container, .. } => Some(&container.name),
            WorkloadCall::StartContainer { container, .. }
            | WorkloadCall::RemoveContainer { container, .. }
            | WorkloadCall::RenameContainer { container, .. } => Some(container.name()),
            WorkloadCall::StopContainer { container, .. }
            | WorkloadCall::ClearContainer { container, .. }
            | WorkloadCall::UpdateContainer { container, .. } => Some(&container.name),
        }
    }

    /// The container that it changes, where that exists.
    pub fn target(&self) -> Option<&ContainerTarget> {
        match self {
            WorkloadCall::StartContainer { container, .. }
            | WorkloadCall::RemoveContainer { container, .. }
            | WorkloadCall::RenameContainer { container, .. } => container.existing(),
            WorkloadCall::StopContainer { container, .. }
            | WorkloadCall::ClearContainer { container, .. }
            | WorkloadCall::UpdateContainer { container, .. } => Some(container),
            _ => None,
        }
    }

    /// The network that it puts a container on.
    pub fn network(&self) -> Option<&NetworkTarget> {
        match self {
            WorkloadCall::RunJob { network, .. } | WorkloadCall::CreateContainer { network, .. } => Some(network),
            WorkloadCall::ComposeUp(up) => up.network.as_ref(),
            WorkloadCall::StackDeploy(deploy) => deploy.network.as_ref(),
            WorkloadCall::CreateService(rollout) | WorkloadCall::UpdateService { rollout, .. } => {
                Some(&rollout.network)
            }
            _ => None,
        }
    }

    pub fn network_mut(&mut self) -> Option<&mut NetworkTarget> {
        match self {
            WorkloadCall::RunJob { network, .. } | WorkloadCall::CreateContainer { network, .. } => Some(network),
            WorkloadCall::ComposeUp(up) => up.network.as_mut(),
            WorkloadCall::StackDeploy(deploy) => deploy.network.as_mut(),
            WorkloadCall::CreateService(rollout) | WorkloadCall::UpdateService { rollout, .. } => {
                Some(&mut rollout.network)
            }
            _ => None,
        }
    }

    pub fn container_mut(&mut self) -> Option<&mut ContainerRef> {
        match self {
            WorkloadCall::StartContainer { container, .. }
            | WorkloadCall::RemoveContainer { container, .. }
            | WorkloadCall::RenameContainer { container, .. } => Some(container),
            WorkloadCall::RunJob { before, .. } => before.as_mut(),
            _ => None,
        }
    }

    /// The container that is gone once it is done.
    pub fn removes(&self) -> Option<&ContainerId> {
        match self {
            WorkloadCall::RemoveContainer { container: ContainerRef::Existing(container), .. }
            | WorkloadCall::ClearContainer { container, .. } => Some(&container.id),
            _ => None,
        }
    }

    /// It may take minutes.
    pub fn is_slow(&self) -> bool {
        matches!(
            self,
            WorkloadCall::PullImage { .. }
                | WorkloadCall::RunJob { .. }
                | WorkloadCall::CheckData { .. }
                | WorkloadCall::StartContainer { .. }
                | WorkloadCall::StopContainer { .. }
                | WorkloadCall::ClearContainer { .. }
                | WorkloadCall::ComposeUp(_)
                | WorkloadCall::ComposeDown { .. }
                | WorkloadCall::StackDeploy(_)
                | WorkloadCall::StackRemove { .. }
                | WorkloadCall::CreateService(_)
                | WorkloadCall::UpdateService { .. }
                | WorkloadCall::StopService { .. }
                | WorkloadCall::RemoveService { .. }
        )
    }
}
