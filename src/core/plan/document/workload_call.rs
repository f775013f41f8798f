//! Calls for what Landfall runs itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::target::{ContainerTarget, NetworkTarget, ServiceTarget};
use crate::core::api::ObjectKey;
use crate::core::observed::EndpointSettings;
use crate::core::workload::compare::Difference;
use crate::core::workload::database::Written;
use crate::core::workload::service::ServiceCreate;
use crate::core::workload::stack::Stack;
use crate::core::workload::{ContainerCreate, ContainerUpdate, Value};

/// A container that exists, or one that an earlier operation of the plan makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerRef {
    Existing(ContainerTarget),
    /// By the name that it is made with.
    Created(String),
}

impl ContainerRef {
    pub fn name(&self) -> &str {
        match self {
            ContainerRef::Existing(container) => &container.name,
            ContainerRef::Created(name) => name,
        }
    }

    pub fn existing(&self) -> Option<&ContainerTarget> {
        match self {
            ContainerRef::Existing(container) => Some(container),
            ContainerRef::Created(_) => None,
        }
    }
}

/// When a container that was started counts as serving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Seconds that it has to become healthy.
    pub timeout: u32,
    /// Seconds that one without a health check has to run without a restart.
    pub stable: u32,
}

/// How requests are kept from a container before it stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// The file that makes its health check fail.
    pub file: String,
    /// Seconds that the check may take to fail.
    pub unhealthy: u32,
    /// Seconds from then on: what the proxy takes to notice, and what requests in flight take.
    pub then: u32,
}

/// One call for a managed resource. Carries all that the executor needs.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkloadCall {
    PullImage {
        reference: String,
    },
    CreateVolume {
        name: String,
        labels: BTreeMap<String, String>,
    },
    /// A one-shot container: made, started and waited for.
    RunJob {
        container: ContainerCreate,
        /// What starts once it has ended well. The job's container is removed then, and at once where nothing does: so long as it is there, another
        /// applier sees what it came to, and does not run it again.
        before: Option<ContainerRef>,
        network: NetworkTarget,
        settings: EndpointSettings,
        /// Seconds.
        timeout: u32,
    },
    /// A one-shot container that reads from a database's volume what wrote the data there. Fails where that is not what is `declared`.
    CheckData {
        container: ContainerCreate,
        declared: Written,
        /// It would begin empty where the volume has a dump and nothing else.
        needs_log: bool,
    },
    CreateContainer {
        container: ContainerCreate,
        network: NetworkTarget,
        settings: EndpointSettings,
        /// Further networks that it is on from the start.
        also: Vec<(NetworkTarget, EndpointSettings)>,
        /// The container that it takes the place of.
        replaces: Option<ContainerTarget>,
        /// What of that one differs.
        differences: Vec<Difference>,
        /// Resources that have to be in place first: where an earlier operation for one of them failed, this one is skipped.
        after: Vec<ObjectKey>,
    },
    StartContainer {
        container: ContainerRef,
        ready: Readiness,
        /// Stands for exactly this attempt: what failed is not tried again before something changes.
        attempt: String,
        /// The container of the job that ran before it, by name: not needed any more.
        job: Option<String>,
    },
    StopContainer {
        container: ContainerTarget,
        drain: Option<Drain>,
    },
    RemoveContainer {
        container: ContainerRef,
        /// Killed if it runs: one that never served.
        force: bool,
    },
    /// Removes what an interrupted rollout has left behind, unless another process is about to go on with it.
    ClearContainer {
        container: ContainerTarget,
        /// It had never been started when it was looked at.
        fresh: bool,
    },
    RenameContainer {
        container: ContainerRef,
        to: String,
    },
    UpdateContainer {
        container: ContainerTarget,
        update: ContainerUpdate,
        differences: Vec<Difference>,
    },
    /// Docker Compose makes the containers, networks and volumes of a stack, and waits until its services are healthy.
    ComposeUp(Box<ComposeUp>),
    /// Docker Compose stops and removes the containers of a stack, and its networks. Its volumes stay.
    ComposeDown {
        project: String,
        /// The containers that it removes.
        stack: Vec<ContainerTarget>,
    },
    /// The services, networks, secrets and configs of a stack on a Swarm are made as its file says, and the tasks waited for.
    StackDeploy(Box<StackDeploy>),
    /// The services of a stack go, their tasks are waited for, and its networks, secrets and configs go. Its volumes stay.
    StackRemove {
        project: String,
        services: Vec<ServiceTarget>,
        /// Ids of the networks that their tasks are on.
        networks: Vec<String>,
    },
    /// A file of a Swarm service's tasks.
    CreateSecret {
        name: String,
        labels: BTreeMap<String, String>,
        content: Value,
    },
    /// Gone, unless a service refers to it.
    RemoveSecret {
        name: String,
        /// Of the label: another one of that name is left alone.
        uid: String,
    },
    /// A Swarm service is made, and its tasks are waited for.
    CreateService(Box<ServiceRollout>),
    /// The definition of a Swarm service is changed, and the replacement of its tasks waited for: where one of the new ones fails, the Swarm rolls
    /// back.
    UpdateService {
        service: ServiceTarget,
        rollout: Box<ServiceRollout>,
        /// Tasks are replaced although nothing differs.
        anew: bool,
    },
    /// A Swarm service is left without tasks, which are waited for: others are about to have their volumes.
    StopService {
        service: ServiceTarget,
    },
    /// A Swarm service goes, and its tasks are waited for.
    RemoveService {
        service: ServiceRef,
        /// They stay.
        volumes: Vec<String>,
        /// Ids of the networks that its tasks are on.
        networks: Vec<String>,
    },
}

impl WorkloadCall {
    /// As in the plan's JSON.
    pub fn name(&self) -> &'static str {
        match self {
            WorkloadCall::PullImage { .. } => "PullImage",
            WorkloadCall::CreateVolume { .. } => "CreateVolume",
            WorkloadCall::RunJob { .. } => "RunJob",
            WorkloadCall::CheckData { .. } => "CheckData",
            WorkloadCall::CreateContainer { .. } => "CreateContainer",
            WorkloadCall::StartContainer { .. } => "StartContainer",
            WorkloadCall::StopContainer { .. } => "StopContainer",
            WorkloadCall::RemoveContainer { .. } | WorkloadCall::ClearContainer { .. } => "RemoveContainer",
            WorkloadCall::RenameContainer { .. } => "RenameContainer",
            WorkloadCall::UpdateContainer { .. } => "UpdateContainer",
            WorkloadCall::ComposeUp(_) => "ComposeUp",
            WorkloadCall::ComposeDown { .. } => "ComposeDown",
            WorkloadCall::StackDeploy(_) => "StackDeploy",
            WorkloadCall::StackRemove { .. } => "StackRemove",
            WorkloadCall::CreateSecret { .. } => "CreateSecret",
            WorkloadCall::RemoveSecret { .. } => "RemoveSecret",
            WorkloadCall::CreateService(_) => "CreateService",
            WorkloadCall::UpdateService { .. } | WorkloadCall::StopService { .. } => "UpdateService",
            WorkloadCall::RemoveService { .. } => "RemoveService",
        }
    }

    /// As a sign before a line of the plan.
    pub fn sign(&self) -> char {
        match self {
            WorkloadCall::RemoveContainer { .. }
            | WorkloadCall::ClearContainer { .. }
            | WorkloadCall::StopContainer { .. }
            | WorkloadCall::ComposeDown { .. }
            | WorkloadCall::StackRemove { .. }
            | WorkloadCall::StopService { .. }
            | WorkloadCall::RemoveService { .. }
            | WorkloadCall::RemoveSecret { .. } => '-',
            WorkloadCall::UpdateContainer { .. }
            | WorkloadCall::RenameContainer { .. }
            | WorkloadCall::UpdateService { .. } => '~',
            WorkloadCall::ComposeUp(up) if is_change(&up.differences) => '~',
            WorkloadCall::StackDeploy(deploy) if is_change(&deploy.differences) => '~',
            _ => '+',
        }
    }
}

/// A Swarm service that exists, or one that an earlier operation of the plan makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceRef {
    Existing(ServiceTarget),
    /// By its name, and its uid of the label.
    Created {
        name: String,
        uid: String,
    },
}

impl ServiceRef {
    pub fn name(&self) -> &str {
        match self {
            ServiceRef::Existing(service) => &service.name,
            ServiceRef::Created { name, .. } => name,
        }
    }
}

/// What a Swarm service is to be, and how that comes about.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRollout {
    pub create: ServiceCreate,
    pub network: NetworkTarget,
    /// What of the service that there is, or of what it takes the place of, differs.
    pub differences: Vec<Difference>,
    /// Resources that have to be in place first, as of [`WorkloadCall::CreateContainer`].
    pub after: Vec<ObjectKey>,
    /// Of each task.
    pub ready: Readiness,
    /// How many tasks an update replaces at once; 0: all.
    pub parallelism: u64,
    /// Stands for exactly this attempt.
    pub attempt: String,
}

impl ServiceRollout {
    /// Its tasks are replaced by new ones.
    pub fn restarts(&self) -> bool {
        self.differences.iter().any(|difference| !difference.in_place)
    }
}

/// What Compose is to bring up.
#[derive(Debug, Clone, PartialEq)]
pub struct ComposeUp {
    pub stack: Arc<Stack>,
    /// The destination's, where the services are on it.
    pub network: Option<NetworkTarget>,
    /// Why it is run.
    pub differences: Vec<Difference>,
    /// Containers of the project whose services are not in the file go; not where any of them is somebody else's.
    pub orphans: bool,
    /// Every container is made anew.
    pub anew: bool,
    /// Stands for exactly this attempt.
    pub attempt: String,
}

/// What is to be deployed on a Swarm.
#[derive(Debug, Clone, PartialEq)]
pub struct StackDeploy {
    pub stack: Arc<Stack>,
    /// The destination's, where the services are on it.
    pub network: Option<NetworkTarget>,
    /// Why it is run.
    pub differences: Vec<Difference>,
    /// Those of the stack that are there.
    pub services: Vec<ServiceTarget>,
    /// The registry is asked what each tag stands for; else those stay that run.
    pub moved: bool,
    /// Services that are not in the file go; not where any of the stack's is somebody else's.
    pub prune: bool,
    /// Every task is replaced.
    pub anew: bool,
    /// Stands for exactly this attempt.
    pub attempt: String,
}

/// Something that is there becomes different.
fn is_change(differences: &[Difference]) -> bool {
    differences.iter().any(|it| it.from.as_deref() != Some("none"))
}
