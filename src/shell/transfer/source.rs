//! What a resource has on a server: its containers, and the volumes that they keep data in.

use std::collections::BTreeMap;

use super::TransferError;
use crate::core::api::{DatabaseEngine, Kind, ObjectKey};
use crate::core::backup::database::engine_of_image;
use crate::core::desired::{DesiredMember, DesiredServer};
use crate::core::observed::{ObservedContainer, ObservedService, ServiceId, SwarmState};
use crate::core::plan::workload::identity_of;
use crate::core::plan::{SWARM_SERVICE, selects};
use crate::core::workload::identity::{self, NEXT};
use crate::core::workload::{MountSource, stack};
use crate::shell::engine::{EngineError, Reader, WorkloadDetail};
use crate::shell::observe;

/// A resource on one server.
#[derive(Debug, Clone)]
pub struct Resource {
    pub object: ObjectKey,
    pub server: ObjectKey,
    /// In the order of their names.
    pub containers: Vec<WorkloadDetail>,
    /// Of a database.
    pub engine: Option<DatabaseEngine>,
    /// Volumes with data, by name.
    pub volumes: BTreeMap<String, Volume>,
    /// What holds data and is no volume.
    pub not_covered: Vec<String>,
    /// Containers of others that run and write to the same volumes: `(container, volume)`.
    pub others: Vec<(String, String)>,
    /// Swarm services whose tasks are of the resource, where the server is a manager.
    pub services: Vec<OfSwarm>,
    /// Volumes that tasks of these have on other nodes.
    pub elsewhere: Vec<Elsewhere>,
}

/// A Swarm service of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfSwarm {
    pub id: ServiceId,
    pub name: String,
    /// `None` for a global service.
    pub replicas: Option<u64>,
    /// Its tasks come back to where their volumes are: to this node, or it has none.
    pub comes_back: bool,
}

/// The node of a Swarm that the server is.
struct Here {
    node: String,
    /// It has no others.
    alone: bool,
}

/// A volume that a task has on another node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Elsewhere {
    pub volume: String,
    pub node: String,
    pub service: String,
}

impl std::fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { volume, node, service } = self;
        write!(f, "the volume {volume} on the node {node}, where a task of the service {service} is")
    }
}

/// A volume of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// `sha256:…` of a container that has it: an image that is on the server.
    pub image: String,
}

impl Resource {
    /// Looks for it. `engine`: what the manifest says of an adopted database.
    pub async fn find(
        reader: &dyn Reader,
        server: &DesiredServer,
        object: &ObjectKey,
        set: &str,
        engine: Option<DatabaseEngine>,
    ) -> Result<Self, TransferError> {
        let members: Vec<&DesiredMember> =
            server.destinations.iter().flat_map(|it| &it.members).filter(|it| it.resource == *object).collect();
        let mut listed = observe::containers(reader).await?;
        // A Swarm keeps tasks that have ended for a while.
        listed.retain(|it| service_of(it).is_none() || it.state.is_live());
        let here = match reader.info().await?.swarm {
            SwarmState::Manager { node_id, nodes, .. } => Some(Here { node: node_id, alone: nodes == Some(1) }),
            _ => None,
        };
        let services = match &here {
            Some(_) => Services::of_swarm(reader, set).await?,
            None => Services::of(reader, &listed, set).await?,
        };
        let is_ours = |container: &ObservedContainer| match members.as_slice() {
            // Its manifest is gone; what Landfall made says whose it is.
            [] => is_made_for(container, object, set) || services.made_for(container) == Some(object),
            members => members.iter().any(|member| services.is_of(member, container, object, set)),
        };
        let (ours, others): (Vec<_>, Vec<_>) = listed.into_iter().partition(is_ours);
        let mut containers = Vec::new();
        for container in ours.into_iter().filter(|it| !it.name.ends_with(NEXT)) {
            containers.extend(reader.workload(&container.id).await?);
        }
        containers.sort_by(|one, other| one.container.name.cmp(&other.container.name));
        let managed = members.iter().find_map(|member| member.connection()).map(|connection| connection.engine);
        let of_image = || containers.iter().find_map(|it| engine_of_image(&it.container.image));
        let engine = (object.kind == Kind::Database).then(|| managed.or(engine).or_else(of_image)).flatten();
        let mut resource = Self {
            object: object.clone(),
            server: server.key.clone(),
            containers,
            engine,
            volumes: BTreeMap::new(),
            not_covered: Vec::new(),
            others: Vec::new(),
            services: Vec::new(),
            elsewhere: Vec::new(),
        };
        resource.take_mounts();
        if let Some(here) = here {
            let ours = |service: &&ObservedService| match members.as_slice() {
                [] => services.made.get(&service.name) == Some(object),
                members => members.iter().any(|member| services.is_service_of(member, service, object)),
            };
            resource.take_services(reader, &here, services.all.iter().filter(ours)).await?;
        }
        resource.look_for_others(reader, others).await?;
        Ok(resource)
    }

    fn take_mounts(&mut self) {
        for detail in &self.containers {
            for seen in &detail.config.mounts {
                match &seen.mount.source {
                    MountSource::Volume(name) => {
                        self.volumes
                            .entry(name.clone())
                            .or_insert_with(|| Volume { image: detail.config.image_id.clone() });
                    }
                    // Sockets and the like are the server's own.
                    MountSource::Path(path) if !seen.mount.read_only => {
                        self.not_covered.push(format!("{path}, a directory of the server at {}", seen.mount.target));
                    }
                    MountSource::Path(_) => {}
                }
            }
        }
        self.not_covered.sort();
        self.not_covered.dedup();
    }

    /// Of services: what their tasks have on other nodes, and what those have here that are scaled to zero.
    async fn take_services(
        &mut self,
        reader: &dyn Reader,
        here: &Here,
        services: impl Iterator<Item = &ObservedService>,
    ) -> Result<(), TransferError> {
        let nodes = reader.nodes().await?;
        let name_of = |id: &str| nodes.iter().find(|it| it.id == id).map_or(id, |it| it.name.as_str()).to_owned();
        for service in services {
            let Some(definition) = reader.service(&service.id).await?.and_then(|it| it.definition) else { continue };
            let volumes = definition.config.mounts.iter().filter_map(|seen| match &seen.mount.source {
                MountSource::Volume(name) => Some(name.clone()),
                MountSource::Path(_) => None,
            });
            let volumes: Vec<String> = volumes.collect();
            let is_bound = here.alone || is_bound_to(&definition.constraints, &here.node, &name_of(&here.node));
            if !volumes.is_empty() {
                for task in reader.service_tasks(&service.id).await? {
                    if task.is_there() && !task.node.is_empty() && task.node != here.node {
                        let node = name_of(&task.node);
                        let of_volume = |volume: &String| Elsewhere {
                            volume: volume.clone(),
                            node: node.clone(),
                            service: service.name.clone(),
                        };
                        self.elsewhere.extend(volumes.iter().map(of_volume));
                    }
                }
            }
            if service.replicas == Some(0) && is_bound {
                let image = definition.image.split('@').next().unwrap_or_default();
                if let Some(image) = reader.image(image).await? {
                    for volume in &volumes {
                        self.volumes.entry(volume.clone()).or_insert_with(|| Volume { image: image.id.clone() });
                    }
                }
            }
            self.services.push(OfSwarm {
                id: service.id.clone(),
                name: service.name.clone(),
                replicas: service.replicas,
                comes_back: volumes.is_empty() || is_bound,
            });
        }
        self.elsewhere.sort();
        self.elsewhere.dedup();
        Ok(())
    }

    /// Neither a container of it is here, nor a volume.
    pub fn is_absent(&self) -> bool {
        self.containers.is_empty() && self.volumes.is_empty()
    }

    /// Any image of it that is on the server.
    pub(super) fn image(&self) -> Option<String> {
        let of_container = self.containers.first().map(|it| it.config.image_id.clone());
        of_container.or_else(|| self.volumes.values().next().map(|it| it.image.clone()))
    }

    /// The service that a container of the resource is a task of, where that can be scaled.
    pub(super) fn scaled(&self, container: &ObservedContainer) -> Option<&OfSwarm> {
        let name = service_of(container)?;
        self.services.iter().find(|it| it.name == *name && it.replicas.is_some())
    }

    async fn look_for_others(
        &mut self,
        reader: &dyn Reader,
        others: Vec<ObservedContainer>,
    ) -> Result<(), TransferError> {
        if self.volumes.is_empty() {
            return Ok(());
        }
        let users: BTreeMap<String, Vec<String>> =
            reader.storage().await?.users.into_iter().map(|user| (user.id, user.volumes)).collect();
        for container in others.into_iter().filter(|it| it.state.is_live()) {
            let volumes = users.get(container.id.as_str()).into_iter().flatten();
            if !volumes.clone().any(|it| self.volumes.contains_key(it)) {
                continue;
            }
            let Some(detail) = reader.workload(&container.id).await? else { continue };
            for seen in detail.config.mounts.iter().filter(|it| !it.mount.read_only) {
                let MountSource::Volume(name) = &seen.mount.source else { continue };
                if self.volumes.contains_key(name) {
                    self.others.push((container.name.clone(), name.clone()));
                }
            }
        }
        Ok(())
    }

    /// The container of a database, which has to run to be asked.
    pub(super) fn database(&self) -> Result<&WorkloadDetail, TransferError> {
        let mut running = self.containers.iter().filter(|it| it.container.is_serving() || it.container.state.is_live());
        match (running.next(), running.next(), self.containers.first()) {
            (Some(one), None, _) => Ok(one),
            (Some(_), Some(_), _) => Err(TransferError::failed(
                format!("{} has several containers that run, and only one of a database can be asked", self.object),
                "let `spec.containers` choose the one with the data",
            )),
            (None, _, Some(stopped)) => Err(TransferError::failed(
                format!("{} does not run, and its own tools are needed to reach the data", stopped.container.name),
                format!("docker start {}", stopped.container.name),
            )),
            (None, _, None) => Err(self.absent()),
        }
    }

    /// Tasks of a Swarm stop with their service, which is scaled to zero and back: that takes a number of replicas, and that they come back to where
    /// their volumes are.
    pub(super) fn can_be_stopped(&self) -> Result<(), TransferError> {
        let hint = "copy while it runs: --live, or `backup.live`";
        let is_stuck =
            |it: &&WorkloadDetail| service_of(&it.container).is_some() && self.scaled(&it.container).is_none();
        if let Some(task) = self.containers.iter().find(is_stuck) {
            return Err(TransferError::refused(
                format!(
                    "{} is a task of a Swarm service, which starts another one when it is stopped, and cannot be scaled to zero from here",
                    task.container.name
                ),
                hint,
            ));
        }
        let strays = |it: &&OfSwarm| !it.comes_back && it.replicas.is_some_and(|replicas| replicas > 0);
        match self.services.iter().find(strays) {
            None => Ok(()),
            Some(service) => Err(TransferError::refused(
                format!(
                    "the Swarm service {} is not bound to the node of {}: when it is started again, that may be where its volumes are not",
                    service.name, self.server
                ),
                format!("{hint}; or bind it to the node of the server: a placement constraint `node.hostname == …`"),
            )),
        }
    }

    /// What a volume of that name here would not be: it is on another node.
    pub(super) fn is_here(&self, volume: &str) -> Result<(), TransferError> {
        match self.elsewhere.iter().find(|it| it.volume == volume && !self.volumes.contains_key(volume)) {
            None => Ok(()),
            Some(elsewhere) => Err(self.out_of_reach(elsewhere)),
        }
    }

    pub(super) fn out_of_reach(&self, elsewhere: &Elsewhere) -> TransferError {
        TransferError::refused(
            format!("{} has {elsewhere}, and not on {}", self.object, self.server),
            "bind the service to the node of the server by a placement constraint, or copy the volume on its own node",
        )
    }

    pub fn absent(&self) -> TransferError {
        if let Some(elsewhere) = self.elsewhere.first() {
            return self.out_of_reach(elsewhere);
        }
        TransferError::failed(
            format!("there is no container of {} on {}", self.object, self.server),
            "`landfall describe` shows what it looks for; `landfall apply` makes one that is managed",
        )
    }
}

/// Whether constraints of a service leave it that node alone.
fn is_bound_to(constraints: &[String], id: &str, name: &str) -> bool {
    constraints.iter().any(|constraint| {
        let equal = constraint.split_once("==").map(|(key, value)| (key.trim(), value.trim()));
        equal == Some(("node.id", id)) || equal == Some(("node.hostname", name))
    })
}

fn is_made_for(container: &ObservedContainer, object: &ObjectKey, set: &str) -> bool {
    let of_stack = || stack::owner(&container.labels).is_some_and(|it| it.object == *object && it.set == set);
    identity_of(container).is_some_and(|it| it.object == *object && it.set == set) || of_stack()
}

/// The Swarm service that a container is a task of, by its name.
fn service_of(container: &ObservedContainer) -> Option<&String> {
    container.labels.get(SWARM_SERVICE)
}

/// What Swarm services are of: their tasks say no more than which service they belong to.
#[derive(Debug, Default)]
pub struct Services {
    /// By name, those that Landfall has made.
    made: BTreeMap<String, ObjectKey>,
    all: Vec<ObservedService>,
}

impl Services {
    /// Asks only where there are tasks among the containers.
    pub async fn of(
        reader: &(impl Reader + ?Sized),
        listed: &[ObservedContainer],
        set: &str,
    ) -> Result<Self, EngineError> {
        if listed.iter().all(|it| service_of(it).is_none()) {
            return Ok(Self::default());
        }
        Self::of_swarm(reader, set).await
    }

    /// Those of which no task is here included.
    async fn of_swarm(reader: &(impl Reader + ?Sized), set: &str) -> Result<Self, EngineError> {
        let all = reader.services().await?;
        let made = all.iter().filter_map(|service| {
            let identity = identity::of(&service.name, &service.labels).filter(|it| it.set == set)?;
            Some((service.name.clone(), identity.object))
        });
        Ok(Self { made: made.collect(), all })
    }

    /// Whether it is a service of the resource, which is declared as `member`.
    fn is_service_of(&self, member: &DesiredMember, service: &ObservedService, object: &ObjectKey) -> bool {
        if member.workload.is_some() || member.stack.is_some() {
            return self.made.get(&service.name) == Some(object);
        }
        member.selector.swarm_services.contains(&service.name)
    }

    fn made_for(&self, container: &ObservedContainer) -> Option<&ObjectKey> {
        self.made.get(service_of(container)?)
    }

    /// Whether a container is of the resource, which is declared as `member`.
    pub fn is_of(&self, member: &DesiredMember, container: &ObservedContainer, object: &ObjectKey, set: &str) -> bool {
        if member.workload.is_some() {
            return identity_of(container).is_some_and(|it| it.object == *object && it.set == set)
                || self.made_for(container) == Some(object);
        }
        if let Some(stack) = &member.stack {
            return container.labels.get(stack::PROJECT) == Some(&stack.project)
                || self.made_for(container) == Some(object);
        }
        selects(&member.selector, container)
            || service_of(container).is_some_and(|name| member.selector.swarm_services.contains(name))
    }
}
