//! What a resource has on a server: its containers, and the volumes that they keep data in.

use std::collections::BTreeMap;

use super::TransferError;
use crate::core::api::{DatabaseEngine, Kind, ObjectKey};
use crate::core::backup::database::engine_of_image;
use crate::core::desired::{DesiredMember, DesiredServer};
use crate::core::observed::ObservedContainer;
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
        let services = Services::of(reader, &listed, set).await?;
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
        };
        resource.take_mounts();
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

    /// A task of a Swarm that is stopped is replaced by another one.
    pub(super) fn can_be_stopped(&self) -> Result<(), TransferError> {
        match self.containers.iter().find(|it| service_of(&it.container).is_some()) {
            None => Ok(()),
            Some(task) => Err(TransferError::refused(
                format!(
                    "{} is a task of a Swarm service, which starts another one when it is stopped",
                    task.container.name
                ),
                "copy while it runs: --live, or `backup.live`; or scale the service to 0 first",
            )),
        }
    }

    pub(super) fn absent(&self) -> TransferError {
        TransferError::failed(
            format!("there is no container of {} on {}", self.object, self.server),
            "`landfall describe` shows what it looks for; `landfall apply` makes one that is managed",
        )
    }
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
pub struct Services(BTreeMap<String, ObjectKey>);

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
        let made = reader.services().await?.into_iter().filter_map(|service| {
            let identity = identity::of(&service.name, &service.labels).filter(|it| it.set == set)?;
            Some((service.name, identity.object))
        });
        Ok(Self(made.collect()))
    }

    fn made_for(&self, container: &ObservedContainer) -> Option<&ObjectKey> {
        self.0.get(service_of(container)?)
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
