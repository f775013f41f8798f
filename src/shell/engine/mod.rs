//! Access to a Docker Engine. Reading and writing are different types: who holds a [`Reader`] cannot change anything.

pub mod connect;
pub mod docker;
pub mod error;
pub mod fence;
mod transport;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::stream::BoxStream;
use hyper::body::Bytes;
use tokio::sync::mpsc;

pub use crate::core::observed::EngineEvent;
use crate::core::observed::{
    ContainerId, EndpointSettings, EngineInfo, NetworkId, ObservedContainer, ObservedNetwork, ObservedNode,
    ObservedService, ObservedTask, ServiceAttachment, ServiceId, SwarmAttachment,
};
use crate::core::plan::NetworkCreate;
use crate::core::usage::Sample;
use crate::core::workload::seen::{SeenConfig, SeenImage, SeenVolume, Storage};
use crate::core::workload::service::{SeenSecret, ServiceCreate, ServiceTask};
use crate::core::workload::{ContainerCreate, ContainerUpdate, Value};
pub use connect::BoxedStream;
pub use docker::{DockerReader, DockerWriter};
pub use error::{EngineError, EngineErrorKind};
pub use transport::RequestCounter;

/// What can be asked of an engine.
#[async_trait]
pub trait Reader: Send + Sync {
    /// `GET /info`.
    async fn info(&self) -> Result<EngineInfo, EngineError>;

    /// What is asked from here on is asked over new connections: a daemon that is going down answers those it has for a while.
    fn renew(&self) {}

    /// Since the epoch, by the server's clock as far as its answers tell.
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// `GET /networks`: every network, in the order of the ids.
    async fn networks(&self) -> Result<Vec<ObservedNetwork>, EngineError>;

    /// `GET /networks/{id}`: one network, whether or not the list shows it. `Ok(None)` when the daemon says that there is none: the only proof.
    async fn network(&self, id: &NetworkId) -> Result<Option<NetworkDetail>, EngineError> {
        let network = self.networks().await?.into_iter().find(|network| network.id == *id);
        Ok(network.map(|network| NetworkDetail { network, containers: BTreeSet::new() }))
    }

    /// `GET /networks/{name}`: one of that name, whether or not the list shows it.
    async fn network_named(&self, name: &str) -> Result<Option<NetworkDetail>, EngineError> {
        let network = self.networks().await?.into_iter().find(|network| network.name == name);
        Ok(network.map(|network| NetworkDetail { network, containers: BTreeSet::new() }))
    }

    /// `GET /containers/json` for those on one network, in every state: the question of the list in other words.
    async fn containers_on(&self, id: &NetworkId) -> Result<Vec<ObservedContainer>, EngineError> {
        let mut containers = self.containers().await?;
        containers.retain(|container| container.endpoints.iter().any(|it| it.network_id.as_ref() == Some(id)));
        Ok(containers)
    }

    /// `GET /containers/json?all=1`: every container in every state, in the order of the ids, endpoints without settings.
    async fn containers(&self) -> Result<Vec<ObservedContainer>, EngineError>;

    /// `GET /containers/{id}/json`: one container, endpoints with settings. `Ok(None)` when it is gone.
    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerDetail>, EngineError>;

    /// `GET /services`: empty unless the engine is a Swarm manager.
    async fn services(&self) -> Result<Vec<ObservedService>, EngineError>;

    /// `GET /nodes`: empty unless the engine is a Swarm manager that may be asked.
    async fn nodes(&self) -> Result<Vec<ObservedNode>, EngineError> {
        Ok(Vec::new())
    }

    /// `GET /tasks`, of a Swarm manager: containers that were connected by hand. Empty where that may not be asked.
    async fn attachments(&self) -> Result<Vec<SwarmAttachment>, EngineError> {
        Ok(Vec::new())
    }

    /// `GET /tasks`, of a Swarm manager: what became of the service's latest task that failed or was rejected, or why one cannot be placed.
    async fn failure(&self, _service: &ServiceId) -> Result<Option<String>, EngineError> {
        Ok(None)
    }

    /// `GET /services/{id}`, of a Swarm manager: one service with its definition, its tasks not counted. `Ok(None)` when it is gone.
    async fn service(&self, _id: &ServiceId) -> Result<Option<ObservedService>, EngineError> {
        Err(EngineError::unsupported("inspecting a Swarm service"))
    }

    /// `GET /tasks` of a service, of a Swarm manager: those that have ended and are still known included, the latest first.
    async fn service_tasks(&self, _id: &ServiceId) -> Result<Vec<ServiceTask>, EngineError> {
        Err(EngineError::unsupported("listing the tasks of a Swarm service"))
    }

    /// `GET /secrets`, of a Swarm manager: by name.
    async fn secrets(&self) -> Result<Vec<SeenSecret>, EngineError> {
        Err(EngineError::unsupported("listing the secrets of a Swarm"))
    }

    /// `GET /tasks/{id}/logs`, of a Swarm manager: the last lines, oldest first.
    async fn task_log_tail(&self, _id: &str, _lines: usize) -> Result<Vec<String>, EngineError> {
        Err(EngineError::unsupported("reading the log of a task"))
    }

    /// `GET /tasks/{id}/logs`, of a Swarm manager: line by line.
    async fn task_logs(
        &self,
        _id: &str,
        _request: LogRequest,
    ) -> Result<BoxStream<'static, Result<LogLine, EngineError>>, EngineError> {
        Err(EngineError::unsupported("reading the log of a task"))
    }

    /// `GET /tasks/{id}`, of a Swarm manager. `Ok(None)` when it is gone.
    async fn task(&self, id: &str) -> Result<Option<ObservedTask>, EngineError>;

    /// `GET /containers/{id}/json`: one container with its configuration. `Ok(None)` when it is gone.
    async fn workload(&self, _id: &ContainerId) -> Result<Option<WorkloadDetail>, EngineError> {
        Err(EngineError::unsupported("inspecting a container's configuration"))
    }

    /// `GET /images/{reference}/json`. `Ok(None)` when the daemon does not have it.
    async fn image(&self, _reference: &str) -> Result<Option<SeenImage>, EngineError> {
        Err(EngineError::unsupported("inspecting an image"))
    }

    /// `GET /distribution/{reference}/json`: the digest that the registry has for it now.
    async fn remote_digest(&self, _reference: &str) -> Result<String, EngineError> {
        Err(EngineError::unsupported("asking a registry for a digest"))
    }

    /// `GET /containers/{id}/logs`: the last lines, oldest first.
    async fn log_tail(&self, _id: &ContainerId, _lines: usize) -> Result<Vec<String>, EngineError> {
        Err(EngineError::unsupported("reading a container's log"))
    }

    /// `GET /containers/{id}/logs`: line by line, until the container ends where it is followed.
    async fn logs(
        &self,
        _id: &ContainerId,
        _request: LogRequest,
    ) -> Result<BoxStream<'static, Result<LogLine, EngineError>>, EngineError> {
        Err(EngineError::unsupported("reading the log of a container"))
    }

    /// `GET /containers/{id}/archive`: what is at that path, as a tar archive that comes piece by piece. Also of a container that was never started.
    async fn archive(&self, _id: &ContainerId, _path: &str) -> Result<Chunks, EngineError> {
        Err(EngineError::unsupported("reading files of a container"))
    }

    /// `GET /system/df`: bytes that each volume takes, by name. The daemon walks through all of them.
    async fn volume_sizes(&self) -> Result<BTreeMap<String, u64>, EngineError> {
        Err(EngineError::unsupported("measuring the volumes"))
    }

    /// `GET /containers/{id}/stats`: what it has used so far. `Ok(None)` where it is gone or does not run.
    async fn usage(&self, _id: &ContainerId) -> Result<Option<Sample>, EngineError> {
        Err(EngineError::unsupported("measuring a container"))
    }

    /// `GET /volumes`: every volume, by name.
    async fn volumes(&self) -> Result<Vec<SeenVolume>, EngineError> {
        Err(EngineError::unsupported("listing the volumes"))
    }

    /// `GET /images/json`, `GET /volumes` and `GET /containers/json?all=1`: what the daemon keeps, and who uses it.
    async fn storage(&self) -> Result<Storage, EngineError> {
        Err(EngineError::unsupported("listing images and volumes"))
    }

    /// Network and container events that the daemon still remembers since `since` (seconds since the epoch), oldest first.
    /// The daemon keeps 256 of all types: absence proves nothing.
    async fn recent_events(&self, since: i64) -> Result<Vec<EngineEvent>, EngineError>;
}

/// What an engine tells by itself.
#[async_trait]
pub trait Watcher: Reader {
    /// `GET /events`: network and container events from now on. Ends with an error, whatever the cause. Who listens has to keep up:
    /// a slow listener loses events and slows the daemon. Subscribe first, then list.
    async fn subscribe(&self) -> Result<BoxStream<'static, Result<EngineEvent, EngineError>>, EngineError>;

    /// `GET /_ping`: whether it answers at all.
    async fn ping(&self) -> Result<(), EngineError>;
}

/// What can be done to an engine. Every method is one call of the API and takes full ids.
#[async_trait]
pub trait Writer: Reader {
    /// `POST /networks/create`.
    async fn create_network(&self, network: &NetworkCreate) -> Result<NetworkId, EngineError>;

    /// `POST /networks/{id}/connect`.
    async fn connect(
        &self,
        network: &NetworkId,
        container: &ContainerId,
        settings: &EndpointSettings,
    ) -> Result<(), EngineError>;

    /// `POST /networks/{id}/disconnect`.
    async fn disconnect(&self, network: &NetworkId, container: &ContainerId, force: bool) -> Result<(), EngineError>;

    /// `POST /networks/{name}/disconnect`: for a container that does not run, of a network that the daemon does not know by its id at present.
    async fn disconnect_by_name(&self, network: &str, container: &ContainerId) -> Result<(), EngineError>;

    /// `DELETE /networks/{id}`.
    async fn remove_network(&self, network: &NetworkId) -> Result<(), EngineError>;

    /// `POST /containers/{id}/start`. A container that runs already is no error.
    async fn start_container(&self, container: &ContainerId) -> Result<(), EngineError>;

    /// `POST /containers/{id}/stop`. A container that is stopped already is no error.
    async fn stop_container(&self, container: &ContainerId) -> Result<(), EngineError>;

    /// `POST /images/create`: pulls an image, with the credentials that the Docker configuration has for its registry. `progress` is told of the
    /// bytes that have come and those that are to come.
    async fn pull_image(&self, _reference: &str, _progress: &(dyn Fn(u64, u64) + Sync)) -> Result<(), EngineError> {
        Err(EngineError::unsupported("pulling an image"))
    }

    /// `POST /containers/create`, and what goes into the container before it is started. Attached to `network` as `settings` say.
    async fn create_container(
        &self,
        _container: &ContainerCreate,
        _network: &str,
        _settings: &EndpointSettings,
    ) -> Result<ContainerId, EngineError> {
        Err(EngineError::unsupported("creating a container"))
    }

    /// `DELETE /containers/{id}`, its anonymous volumes kept. `force`: killed if it runs.
    async fn remove_container(&self, _container: &ContainerId, _force: bool) -> Result<(), EngineError> {
        Err(EngineError::unsupported("removing a container"))
    }

    /// `DELETE /containers/{id}` by force, with its anonymous volumes: for one that was made for a single run. One that is gone is no error.
    async fn discard_container(&self, _container: &ContainerId) -> Result<(), EngineError> {
        Err(EngineError::unsupported("removing a container"))
    }

    /// `POST /containers/{id}/rename`.
    async fn rename_container(&self, _container: &ContainerId, _name: &str) -> Result<(), EngineError> {
        Err(EngineError::unsupported("renaming a container"))
    }

    /// `POST /containers/{id}/update`.
    async fn update_container(&self, _container: &ContainerId, _update: &ContainerUpdate) -> Result<(), EngineError> {
        Err(EngineError::unsupported("updating a container"))
    }

    /// `POST /volumes/create`. A volume of that name is no error, and stays as it is.
    async fn create_volume(&self, _name: &str, _labels: &BTreeMap<String, String>) -> Result<(), EngineError> {
        Err(EngineError::unsupported("creating a volume"))
    }

    /// `POST /containers/{id}/exec` and its start: runs a command as root, and answers with its exit code.
    async fn exec(&self, _container: &ContainerId, _command: &[&str]) -> Result<i64, EngineError> {
        Err(EngineError::unsupported("running a command in a container"))
    }

    /// The same, and answers with what it prints, of which so many bytes are taken.
    async fn exec_output(
        &self,
        _container: &ContainerId,
        _command: &[&str],
        _most: usize,
    ) -> Result<String, EngineError> {
        Err(EngineError::unsupported("running a command in a container"))
    }

    /// The same, with streams: `input` is what the command reads, to its end, and what it prints goes to `output` as fast as that is taken.
    async fn pipe(
        &self,
        _container: &ContainerId,
        _command: &[&str],
        _input: Option<Chunks>,
        _output: mpsc::Sender<Bytes>,
    ) -> Result<Piped, EngineError> {
        Err(EngineError::unsupported("running a command in a container"))
    }

    /// `PUT /containers/{id}/archive`: unpacks a tar archive at that path, owners as numbers. Also of a container that was never started.
    async fn unpack(&self, _container: &ContainerId, _path: &str, _content: Chunks) -> Result<(), EngineError> {
        Err(EngineError::unsupported("writing files of a container"))
    }

    /// `DELETE /volumes/{name}`. One that is gone is no error.
    async fn remove_volume(&self, _name: &str) -> Result<(), EngineError> {
        Err(EngineError::unsupported("removing a volume"))
    }

    /// A stream of bytes to the daemon, for a program that speaks to it by itself.
    async fn stream(&self) -> Result<BoxedStream, EngineError> {
        Err(EngineError::unsupported("opening a stream to the daemon"))
    }

    /// `POST /secrets/create`, of a Swarm manager.
    async fn create_secret(
        &self,
        _name: &str,
        _labels: &BTreeMap<String, String>,
        _content: &Value,
    ) -> Result<(), EngineError> {
        Err(EngineError::unsupported("creating a Swarm secret"))
    }

    /// `DELETE /secrets/{id}`, of a Swarm manager. `Ok(false)`: a service refers to it, and it stays. One that is gone is no error.
    async fn remove_secret(&self, _id: &str) -> Result<bool, EngineError> {
        Err(EngineError::unsupported("removing a Swarm secret"))
    }

    /// `POST /services/create`, of a Swarm manager, with the credentials for its image. The secrets that it refers to are there.
    async fn create_service(&self, _service: &ServiceCreate, _network: &NetworkId) -> Result<ServiceId, EngineError> {
        Err(EngineError::unsupported("creating a Swarm service"))
    }

    /// `DELETE /services/{id}`, of a Swarm manager. Its tasks end after it. One that is gone is no error.
    async fn remove_service(&self, _service: &ServiceId) -> Result<(), EngineError> {
        Err(EngineError::unsupported("removing a Swarm service"))
    }

    /// `POST /services/{id}/update`, of a Swarm manager. What the update does not name stays as it is at that moment. Where nothing has to
    /// change, nothing is sent; nor is it while a rollout of the service is under way, which the update would abort, or resume if it is paused.
    async fn update_service(&self, service: &ServiceId, update: ServiceUpdate<'_>) -> Result<(), EngineError>;
}

/// What is to be other than it is in the definition of a Swarm service.
#[derive(Debug, Clone, Copy)]
pub enum ServiceUpdate<'a> {
    /// What Landfall has a say in, on that network. `anew`: its tasks are replaced although nothing differs.
    Definition { create: &'a ServiceCreate, network: &'a NetworkId, anew: bool },
    /// As it was before its latest update, which is under way, or has come to a stop.
    RolledBack,
    /// Its tasks are put on networks, or taken off them, and restart for that: once, whatever the number.
    Networks(&'a [ServiceNetworkUpdate<'a>]),
    /// The same, to put back what was changed before, which is to be done even while that is being rolled out.
    Restored(&'a [ServiceNetworkUpdate<'a>]),
    /// How many tasks it is to have. A global service, or a job, is refused.
    Replicas(u64),
}

/// A network that the tasks of a Swarm service are put on, or taken off.
#[derive(Debug, Clone, Copy)]
pub struct ServiceNetworkUpdate<'a> {
    pub id: &'a NetworkId,
    /// By which the definition may know it as well.
    pub name: &'a str,
    /// `None`: off.
    pub attachment: Option<&'a ServiceAttachment>,
}

/// Bytes as they come. Ends with the first error.
pub type Chunks = BoxStream<'static, std::io::Result<Bytes>>;

/// How a command ended whose input and output were streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piped {
    pub code: i64,
    /// The last of what it printed on standard error.
    pub complaint: String,
}

/// Which part of a container's log is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogRequest {
    pub follow: bool,
    /// So many of the latest lines; `None`: all.
    pub tail: Option<u32>,
    /// What was printed within that time before now.
    pub since: Option<std::time::Duration>,
    /// Each line begins with the time of it, RFC 3339.
    pub timestamps: bool,
}

/// One line that a container has printed, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub text: String,
}

/// A container as inspect shows it, with how it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkloadDetail {
    /// Endpoints have their settings.
    pub container: ObservedContainer,
    pub config: SeenConfig,
    /// What the last health check printed.
    pub health_output: Option<String>,
    /// Ports that the container exposes, such as `80/tcp`.
    pub exposed: Vec<String>,
}

/// A network as inspect shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkDetail {
    pub network: ObservedNetwork,
    /// Those that run on it.
    pub containers: BTreeSet<ContainerId>,
}

/// A container as inspect shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerDetail {
    /// Endpoints have their settings.
    pub container: ObservedContainer,
    /// `NAME=value`. Never serialized or logged: values are often secrets.
    pub env: Vec<String>,
}
