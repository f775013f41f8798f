//! Containers that are stopped for a copy, and that are started again whatever becomes of it.
//!
//! The record is on disk before anything is stopped, and locked by the process that will start it again. One that is not locked was left by a
//! process that is no more.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::helpers::HELPER;
use super::source::Resource;
use super::volume::create;
use super::{TransferError, Watch};
use crate::core::api::ObjectKey;
use crate::core::observed::{ContainerId, ServiceId};
use crate::core::workload::identity::{HELD_REPLICAS, HELD_UNTIL, HOLDS, MOVED_TO, held_replicas, holds};
use crate::core::workload::service::ServiceTask;
use crate::shell::engine::{EngineError, EngineErrorKind, ServiceUpdate, Writer};

const DIRECTORY: &str = "halted";
const LARGEST: u64 = 1 << 20;
/// Longest copy for which a controller leaves containers stopped.
const HELD: Duration = Duration::from_secs(12 * 3600);
/// The same for what was moved: until the manifests say so, and it goes.
const MOVED: Duration = Duration::from_secs(365 * 24 * 3600);
/// Longest wait for the tasks of a service to end, beyond which their node is taken to be out of reach.
const ENDING: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(200);

/// What was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halted {
    /// The resource that is copied.
    pub object: ObjectKey,
    pub server: ObjectKey,
    pub containers: Vec<HaltedContainer>,
    /// Swarm services, whose tasks stop with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<HaltedService>,
    /// An image of the server, for the container that keeps others from starting them.
    pub image: String,
    /// What that container is called.
    pub holder: String,
    /// Where the resource is moved to. They stay stopped once that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<String>,
}

impl Halted {
    /// Of those that run.
    pub fn of(resource: &Resource) -> Self {
        let live = resource.containers.iter().filter(|it| it.container.state.is_live());
        let running = live.filter(|it| resource.scaled(&it.container).is_none());
        let services = resource.services.iter().filter_map(|it| {
            let replicas = it.replicas.filter(|replicas| *replicas > 0)?;
            Some(HaltedService { id: it.id.clone(), name: it.name.clone(), replicas })
        });
        Self {
            object: resource.object.clone(),
            server: resource.server.clone(),
            containers: running
                .map(|it| HaltedContainer { id: it.container.id.clone(), name: it.container.name.clone() })
                .collect(),
            services: services.collect(),
            image: resource.image().unwrap_or_default(),
            holder: format!("landfall-hold-{}", cuid2::create_id()),
            moved_to: None,
        }
    }

    /// Of those that run, and of what a restore without success has left stopped: it is stopped for want of this one.
    pub async fn with_left(engine: &dyn Writer, resource: &Resource) -> Result<Self, TransferError> {
        let mut halted = Self::of(resource);
        let all = engine.containers().await?;
        let is_left = |labels: &BTreeMap<String, String>| labels.contains_key(HOLDS) && !labels.contains_key(MOVED_TO);
        for holder in all.iter().map(|it| &it.labels).filter(|labels| is_left(labels)) {
            let stopped = resource.containers.iter().map(|it| &it.container).filter(|it| !it.state.is_live());
            for container in stopped.filter(|it| holds(holder, it.id.as_str())) {
                halted.containers.push(HaltedContainer { id: container.id.clone(), name: container.name.clone() });
            }
            for service in resource.services.iter().filter(|it| it.replicas == Some(0)) {
                if let Some(replicas) = held_replicas(holder, service.id.as_str()) {
                    let (id, name) = (service.id.clone(), service.name.clone());
                    halted.services.push(HaltedService { id, name, replicas });
                }
            }
        }
        Ok(halted)
    }

    /// Nothing of it runs.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.services.is_empty()
    }

    /// Of containers and services.
    pub fn names(&self) -> Vec<String> {
        let containers = self.containers.iter().map(|it| it.name.clone());
        containers.chain(self.services.iter().map(|it| it.name.clone())).collect()
    }

    fn ids(&self) -> Vec<&str> {
        let containers = self.containers.iter().map(|it| it.id.as_str());
        containers.chain(self.services.iter().map(|it| it.id.as_str())).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltedContainer {
    pub id: ContainerId,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltedService {
    pub id: ServiceId,
    pub name: String,
    /// How many it gets back.
    pub replicas: u64,
}

/// A record, and the lock on it.
#[derive(Debug)]
pub struct Record {
    pub halted: Halted,
    path: PathBuf,
    _lock: File,
}

impl Record {
    /// Durable when it returns.
    pub fn write(state: &Path, halted: Halted) -> Result<Self, TransferError> {
        let directory = state.join(DIRECTORY);
        fs::create_dir_all(&directory).map_err(TransferError::file("making", &directory))?;
        let path = directory.join(format!("{}.json", cuid2::create_id()));
        let write = || {
            let content = serde_json::to_vec(&halted)?;
            let file = crate::shell::store::replace(&path, |file| {
                file.try_lock().map_err(io::Error::from)?;
                file.write_all(&content).and_then(|()| file.sync_all())
            })?;
            File::open(&directory)?.sync_all()?;
            Ok(file)
        };
        let lock = write().map_err(TransferError::file("writing", &path))?;
        Ok(Self { halted, path, _lock: lock })
    }

    /// Records that processes have left behind which are no more, each locked from now on.
    pub fn left_behind(state: &Path) -> Result<Vec<Self>, TransferError> {
        let directory = state.join(DIRECTORY);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(TransferError::file("listing", &directory)(error)),
        };
        let mut records = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|it| it != "json") {
                continue;
            }
            let failed = |error| TransferError::file("reading", &path)(error);
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            let mut text = String::new();
            (&file).take(LARGEST).read_to_string(&mut text).map_err(failed)?;
            let halted = serde_json::from_str(&text).map_err(|error| failed(io::Error::other(error)))?;
            records.push(Self { halted, path, _lock: file });
        }
        Ok(records)
    }

    /// Stops what is on record, and keeps a controller from starting it again.
    pub async fn stop(&self, engine: &dyn Writer, watch: &dyn Watch) -> Result<(), TransferError> {
        let Halted { image, holder, moved_to, .. } = &self.halted;
        let ids = self.halted.ids();
        if ids.is_empty() {
            return Ok(());
        }
        // One that a restore without success has left goes.
        for other in engine.containers().await? {
            if ids.iter().any(|id| holds(&other.labels, id)) {
                engine.discard_container(&other.id).await?;
            }
        }
        let until = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let until = until + if moved_to.is_some() { MOVED } else { HELD };
        let mut labels = BTreeMap::from([
            (HELPER.to_owned(), "hold".to_owned()),
            (HOLDS.to_owned(), ids.join(",")),
            (HELD_UNTIL.to_owned(), until.as_secs().to_string()),
        ]);
        if !self.halted.services.is_empty() {
            let replicas = self.halted.services.iter().map(|it| format!("{}={}", it.id, it.replicas));
            labels.insert(HELD_REPLICAS.to_owned(), replicas.collect::<Vec<_>>().join(","));
        }
        labels.extend(moved_to.iter().map(|to| (MOVED_TO.to_owned(), to.clone())));
        create(engine, holder.clone(), labels, image, Vec::new(), None).await?;
        for container in &self.halted.containers {
            watch.step(&format!("stopping {}", container.name));
            engine.stop_container(&container.id).await?;
        }
        for service in &self.halted.services {
            watch.step(&format!("scaling {} to 0", service.name));
            engine.update_service(&service.id, ServiceUpdate::Replicas(0)).await?;
        }
        for service in &self.halted.services {
            tasks_end(engine, service).await?;
        }
        Ok(())
    }

    /// Does something while all of it is stopped, which is an error if that did not last.
    pub async fn while_stopped<T>(
        &self,
        engine: &dyn Writer,
        watch: &dyn Watch,
        work: impl Future<Output = Result<T, TransferError>>,
    ) -> Result<T, TransferError> {
        self.stop(engine, watch).await?;
        let before = self.starts(engine).await?;
        let done = work.await?;
        if self.starts(engine).await? != before {
            return Err(TransferError::failed(
                "something started a container again while its volumes were copied",
                "suspend the resource in `landfall run`, or copy while it runs with --live",
            ));
        }
        Ok(done)
    }

    /// When each of them was last started, and whether it runs.
    async fn starts(&self, engine: &dyn Writer) -> Result<Vec<(String, String, bool)>, TransferError> {
        let mut starts = Vec::new();
        for container in &self.halted.containers {
            let Some(detail) = engine.workload(&container.id).await? else { continue };
            starts.push((container.id.to_string(), detail.config.started, detail.container.state.is_live()));
        }
        for service in &self.halted.services {
            let Some(seen) = engine.service(&service.id).await? else { continue };
            starts.push((service.id.to_string(), String::new(), seen.replicas != Some(0)));
        }
        Ok(starts)
    }

    /// Starts everything that is on record again and forgets it. What cannot be started stays on record.
    pub async fn start(self, engine: &dyn Writer, watch: &dyn Watch) -> Result<(), TransferError> {
        let mut failure = None;
        let mut take = |started: Result<(), EngineError>| match started {
            Ok(()) => {}
            // Whoever removed it meanwhile knows why.
            Err(error) if error.kind == EngineErrorKind::NotFound => {}
            Err(error) => failure = Some(error),
        };
        for container in &self.halted.containers {
            watch.step(&format!("starting {}", container.name));
            take(engine.start_container(&container.id).await);
        }
        for service in &self.halted.services {
            watch.step(&format!("scaling {} to {}", service.name, service.replicas));
            take(engine.update_service(&service.id, ServiceUpdate::Replicas(service.replicas)).await);
        }
        if let Some(error) = failure {
            return Err(error.into());
        }
        self.let_go(engine).await?;
        fs::remove_file(&self.path).map_err(TransferError::file("removing", &self.path))
    }

    /// Removes the container that keeps others from starting them.
    async fn let_go(&self, engine: &dyn Writer) -> Result<(), TransferError> {
        if self.halted.is_empty() {
            return Ok(());
        }
        for container in engine.containers().await?.iter().filter(|it| it.name == self.halted.holder) {
            engine.discard_container(&container.id).await?;
        }
        Ok(())
    }
}

impl Record {
    /// They stay stopped, and a controller does not start them either as long as that counts.
    pub fn forget(self) -> Result<(), TransferError> {
        fs::remove_file(&self.path).map_err(TransferError::file("removing", &self.path))
    }
}

/// What they write is on the volume once they have ended, and not before.
async fn tasks_end(engine: &dyn Writer, service: &HaltedService) -> Result<(), TransferError> {
    let deadline = Instant::now() + ENDING;
    while engine.service_tasks(&service.id).await?.iter().any(ServiceTask::is_there) {
        if Instant::now() >= deadline {
            return Err(TransferError::failed(
                format!("the tasks of the Swarm service {} have not ended within {} s", service.name, ENDING.as_secs()),
                "see whether their node is up: docker node ls",
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::api::Kind;

    #[test]
    fn a_record_is_found_once_its_process_is_no_more_and_not_before() {
        let state = tempfile::tempdir().unwrap();
        let halted = Halted {
            object: ObjectKey::new(Kind::Application, "shop", "web"),
            server: ObjectKey::new(Kind::Server, "default", "edge"),
            containers: Vec::new(),
            services: Vec::new(),
            image: String::new(),
            holder: String::new(),
            moved_to: None,
        };
        assert!(Record::left_behind(state.path()).unwrap().is_empty());
        let record = Record::write(state.path(), halted.clone()).unwrap();
        assert!(Record::left_behind(state.path()).unwrap().is_empty());
        // The kernel lets go of the lock as it does when the process is killed.
        drop(record);
        let found = Record::left_behind(state.path()).unwrap();
        assert_eq!(found.iter().map(|it| &it.halted).collect::<Vec<_>>(), [&halted]);
        assert!(Record::left_behind(state.path()).unwrap().is_empty(), "one process deals with it");
    }
}
