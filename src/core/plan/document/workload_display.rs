//! Calls for what Landfall runs, as people read them.

use std::fmt;

use super::target::ServiceTarget;
use super::workload_call::{ServiceRollout, StackDeploy, WorkloadCall};
use crate::core::workload::compare::Difference;
use crate::core::workload::{ContainerCreate, MountSource};

/// More than these are counted.
const SHOWN: usize = 8;

fn list(f: &mut fmt::Formatter<'_>, differences: &[Difference]) -> fmt::Result {
    if differences.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = differences.iter().take(SHOWN).map(ToString::to_string).collect();
    write!(f, " ({}", shown.join("; "))?;
    match differences.len().saturating_sub(SHOWN) {
        0 => f.write_str(")"),
        more => write!(f, "; and {more} more)"),
    }
}

impl fmt::Display for WorkloadCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkloadCall::PullImage { reference } => write!(f, "pull image {reference}"),
            WorkloadCall::CreateVolume { name, .. } => write!(f, "create volume {name}"),
            WorkloadCall::RunJob { container, network, .. } => {
                let command = container.template.command.as_deref().unwrap_or_default().join(" ");
                write!(f, "run {:?} once as {} on {}", command, container.name, network.name)
            }
            WorkloadCall::CheckData { container, declared, .. } => {
                write!(f, "check that the data on {} is {declared}'s", volumes(container))
            }
            WorkloadCall::CreateContainer { container, network, also, differences, .. } => {
                write!(f, "create container {} of {} on {}", container.name, container.image, network.name)?;
                for (network, _) in also {
                    write!(f, ", {}", network.name)?;
                }
                list(f, differences)
            }
            WorkloadCall::StartContainer { container, .. } => write!(f, "start {}", container.name()),
            WorkloadCall::StopContainer { container, drain: None } => write!(f, "stop {}", container.name),
            WorkloadCall::StopContainer { container, drain: Some(_) } => {
                write!(f, "drain and stop {}", container.name)
            }
            WorkloadCall::RemoveContainer { container, .. } => write!(f, "remove container {}", container.name()),
            WorkloadCall::ClearContainer { container, .. } => write!(f, "remove container {}", container.name),
            WorkloadCall::RenameContainer { container, to } => write!(f, "rename {} to {to}", container.name()),
            WorkloadCall::UpdateContainer { container, differences, .. } => {
                write!(f, "update {} in place", container.name)?;
                list(f, differences)
            }
            WorkloadCall::ComposeUp(up) => {
                write!(f, "compose up {}", up.stack.project)?;
                if let Some(network) = &up.network {
                    write!(f, " on {}", network.name)?;
                }
                list(f, &up.differences)
            }
            WorkloadCall::ComposeDown { project, stack } => {
                let names: Vec<&str> = stack.iter().map(|container| container.name.as_str()).collect();
                write!(f, "compose down {project} ({})", names.join(", "))
            }
            WorkloadCall::StackDeploy(deploy) => stack_deploy(f, deploy),
            WorkloadCall::StackRemove { project, services, .. } => stack_remove(f, project, services),
            WorkloadCall::CreateSecret { name, .. } => write!(f, "create secret {name}"),
            WorkloadCall::RemoveSecret { name, .. } => write!(f, "remove secret {name}"),
            WorkloadCall::CreateService(rollout) => create_service(f, rollout),
            WorkloadCall::UpdateService { service, rollout, .. } => {
                write!(f, "update service {}", service.name)?;
                list(f, &rollout.differences)
            }
            WorkloadCall::StopService { service } => write!(f, "stop service {}", service.name),
            WorkloadCall::RemoveService { service, volumes, .. } => {
                write!(f, "remove service {}", service.name())?;
                if !volumes.is_empty() {
                    write!(f, " ({} stays)", volumes.join(", "))?;
                }
                Ok(())
            }
        }
    }
}

fn stack_deploy(f: &mut fmt::Formatter<'_>, deploy: &StackDeploy) -> fmt::Result {
    write!(f, "deploy stack {}", deploy.stack.project)?;
    if let Some(network) = &deploy.network {
        write!(f, " on {}", network.name)?;
    }
    list(f, &deploy.differences)
}

fn stack_remove(f: &mut fmt::Formatter<'_>, project: &str, services: &[ServiceTarget]) -> fmt::Result {
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    write!(f, "remove stack {project} ({})", names.join(", "))
}

fn create_service(f: &mut fmt::Formatter<'_>, rollout: &ServiceRollout) -> fmt::Result {
    let create = &rollout.create;
    write!(f, "create service {} of {} on {}", create.name, create.image, rollout.network.name)?;
    if create.replicas != 1 {
        write!(f, ", {} replicas", create.replicas)?;
    }
    if let Some(node) = &create.node {
        let volumes: Vec<&str> = create.volumes().collect();
        write!(f, ", on the node {}", node.name)?;
        if !volumes.is_empty() {
            write!(f, " with {}", volumes.join(", "))?;
        }
    }
    list(f, &rollout.differences)
}

/// What a container mounts, by name.
fn volumes(container: &ContainerCreate) -> String {
    let volumes = container.template.mounts.iter().map(|mount| match &mount.source {
        MountSource::Volume(name) | MountSource::Path(name) => name.as_str(),
    });
    volumes.collect::<Vec<_>>().join(", ")
}
