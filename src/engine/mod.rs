//! Access to a Docker Engine. Reading and writing are different types: who holds a [`Reader`] cannot change anything.

pub mod connect;
pub mod docker;
pub mod error;
mod transport;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use crate::observed::EngineEvent;
use crate::observed::{
    ContainerId, EndpointSettings, EngineInfo, NetworkId, ObservedContainer, ObservedNetwork, ObservedService,
    ObservedTask, ServiceAttachment, ServiceId,
};
use crate::plan::NetworkCreate;
pub use docker::{DockerReader, DockerWriter};
pub use error::{EngineError, EngineErrorKind};
pub use transport::RequestCounter;

/// What can be asked of an engine.
#[async_trait]
pub trait Reader: Send + Sync {
    /// `GET /info`.
    async fn info(&self) -> Result<EngineInfo, EngineError>;

    /// `GET /networks`: every network, in the order of the ids.
    async fn networks(&self) -> Result<Vec<ObservedNetwork>, EngineError>;

    /// `GET /containers/json?all=1`: every container in every state, in the order of the ids, endpoints without settings.
    async fn containers(&self) -> Result<Vec<ObservedContainer>, EngineError>;

    /// `GET /containers/{id}/json`: one container, endpoints with settings. `Ok(None)` when it is gone.
    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerDetail>, EngineError>;

    /// `GET /services`: empty unless the engine is a Swarm manager.
    async fn services(&self) -> Result<Vec<ObservedService>, EngineError>;

    /// `GET /tasks/{id}`, of a Swarm manager. `Ok(None)` when it is gone.
    async fn task(&self, id: &str) -> Result<Option<ObservedTask>, EngineError>;

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

    /// `POST /services/{id}/update`, of a Swarm manager. What the update does not name stays as it is at that moment. Where nothing has to
    /// change, nothing is sent.
    async fn update_service(&self, service: &ServiceId, update: ServiceUpdate<'_>) -> Result<(), EngineError>;
}

/// What is to be other than it is in the definition of a Swarm service.
#[derive(Debug, Clone, Copy)]
pub enum ServiceUpdate<'a> {
    /// Its tasks are put on the network, or taken off it, and restart for that.
    Network {
        id: &'a NetworkId,
        /// By which the definition may know it as well.
        name: &'a str,
        /// `None`: off.
        attachment: Option<&'a ServiceAttachment>,
    },
    /// How many tasks it is to have. A global service, or a job, is refused.
    Replicas(u64),
}

/// A container as inspect shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerDetail {
    /// Endpoints have their settings.
    pub container: ObservedContainer,
    /// `NAME=value`. Never serialized or logged: values are often secrets.
    pub env: Vec<String>,
}
