//! A real Docker daemon.
//!
//! Changing goes through bollard; reading does not: its models refuse an answer for an unknown word in a field that nobody here
//! looks at, and a newer daemon would become unreadable. Reading takes what [`wire`] needs and ignores the rest. Swarm services are the
//! exception on both sides: see [`service`].
//!
//! Ids alone go into paths, and only as the checked types: bollard escapes nothing.

mod classify;
mod events;
mod service;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::models::NetworkDisconnectRequest;
use bollard::models::{EndpointIpamConfig, Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use futures::stream::BoxStream;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use serde::de::DeserializeOwned;

use super::connect::{ConnectOptions, Dialer};
use super::transport::{Transport, TransportError};
use super::{ContainerDetail, EngineError, EngineErrorKind, EngineEvent, Reader, ServiceUpdate, Watcher, Writer};
use crate::observed::{
    ContainerId, EndpointSettings, EngineInfo, NetworkId, ObservedContainer, ObservedNetwork, ObservedService,
    ObservedTask, ServiceId,
};
use crate::plan::NetworkCreate;
use classify::{Failure, Operation};

/// An answer larger than this is refused: ten thousand containers take about twenty megabytes.
const LARGEST_ANSWER: usize = 256 << 20;

/// Looks at a daemon and cannot change it.
#[derive(Clone)]
pub struct DockerReader {
    transport: Arc<Transport>,
    dialer: Arc<dyn Dialer>,
    /// `default/edge-1 (unix:///var/run/docker.sock)`
    server: String,
    options: ConnectOptions,
}

/// Looks at a daemon and changes it.
#[derive(Clone)]
pub struct DockerWriter {
    reader: DockerReader,
    docker: Docker,
}

impl DockerReader {
    /// Opens nothing yet. `server` is for messages.
    pub fn new(server: &str, dialer: Arc<dyn Dialer>, options: &ConnectOptions) -> Self {
        Self {
            server: format!("{server} ({})", dialer.endpoint()),
            transport: Arc::new(Transport::new(Arc::clone(&dialer), Arc::clone(&options.requests))),
            dialer,
            options: options.clone(),
        }
    }

    /// Something about the way to the daemon that is worth saying, once there has been a call.
    pub fn transport_note(&self) -> Option<String> {
        self.dialer.note()
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, what: impl FnOnce() -> String) -> Result<T, EngineError> {
        let answer = self.get_bytes(path).await;
        let decoded = answer
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| Failure::Unreadable(error.to_string())));
        decoded.map_err(|failure| failure.explain(Operation::Read, &self.server, &what()))
    }

    async fn get_bytes(&self, path: &str) -> Result<Bytes, Failure> {
        let exchange = async {
            match self.get_once(path).await {
                // A pooled connection may have been closed by a daemon that was restarted since. Asking twice does no harm.
                Err(Failure::Transport(TransportError::Client(error))) if !error.is_connect() => {
                    self.get_once(path).await
                }
                Err(Failure::Transport(TransportError::Forsaken)) => self.get_once(path).await,
                answer => answer,
            }
        };
        within(self.options.read_timeout, exchange).await
    }

    async fn get_once(&self, path: &str) -> Result<Bytes, Failure> {
        let request: BollardRequest = http::Request::get(format!("http://docker{path}"))
            .body(bollard::body_full(Bytes::new()))
            .map_err(TransportError::from)?;
        succeeded(self.transport.send(request).await?).await
    }
}

/// The whole answer, if it is a success.
async fn succeeded(response: http::Response<Incoming>) -> Result<Bytes, Failure> {
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
    let bytes = body.map_err(|error| Failure::Broken(error.to_string()))?.to_bytes();
    if status.is_success() { Ok(bytes) } else { Err(Failure::refused(status, &bytes)) }
}

async fn within<T>(limit: Duration, exchange: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(limit, exchange).await.unwrap_or(Err(Failure::TimedOut(limit)))
}

#[async_trait]
impl Reader for DockerReader {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        let info: wire::Info = self.get("/info", || "asking for information about the engine".to_owned()).await?;
        Ok(info.into())
    }

    async fn networks(&self) -> Result<Vec<ObservedNetwork>, EngineError> {
        let networks: Vec<wire::Network> = self.get("/networks", || "listing the networks".to_owned()).await?;
        let networks = networks.into_iter().map(ObservedNetwork::try_from).collect();
        let mut networks: Vec<ObservedNetwork> = self.understood(networks, "listing the networks")?;
        networks.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(networks)
    }

    async fn containers(&self) -> Result<Vec<ObservedContainer>, EngineError> {
        let containers: Vec<wire::ListedContainer> =
            self.get("/containers/json?all=1", || "listing the containers".to_owned()).await?;
        let containers = containers.into_iter().map(ObservedContainer::try_from).collect();
        let mut containers: Vec<ObservedContainer> = self.understood(containers, "listing the containers")?;
        containers.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(containers)
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerDetail>, EngineError> {
        let what = || format!("inspecting container {}", id.short());
        let container: wire::InspectedContainer = match self.get(&format!("/containers/{id}/json"), what).await {
            Ok(container) => container,
            Err(error) if error.kind == EngineErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        self.understood(container.try_into(), &what()).map(Some)
    }

    async fn services(&self) -> Result<Vec<ObservedService>, EngineError> {
        match self.get::<Vec<wire::Service>>("/services", || "listing the Swarm services".to_owned()).await {
            Ok(services) => {
                let services = services.into_iter().map(ObservedService::try_from).collect();
                let mut services: Vec<ObservedService> = self.understood(services, "listing the Swarm services")?;
                services.sort_by(|one, other| one.id.cmp(&other.id));
                Ok(services)
            }
            Err(error) if error.kind == EngineErrorKind::NotASwarmManager => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn task(&self, id: &str) -> Result<Option<ObservedTask>, EngineError> {
        let what = || format!("looking at the task {id}");
        // The id comes from a message of the daemon, and goes into a path.
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric()) {
            let odd = wire::Odd(format!("{id:?} is not the id of a task"));
            return self.understood(Err(odd), &what());
        }
        match self.get::<wire::Task>(&format!("/tasks/{id}"), what).await {
            Ok(task) => Ok(Some(task.into())),
            Err(error) if error.kind == EngineErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn recent_events(&self, since: i64) -> Result<Vec<EngineEvent>, EngineError> {
        let what = "reading recent events";
        // Without an end the daemon would go on for ever, and an end in its future it would wait for. The answer to the ping
        // tells its time.
        let explain = |failure: Failure| failure.explain(Operation::Read, &self.server, what);
        self.get_bytes("/_ping").await.map_err(explain)?;
        let until = self.transport.daemon_time();
        if i64::try_from(until.as_secs()).is_ok_and(|now| since > now) {
            return Ok(Vec::new());
        }
        let path = format!(
            "/events?since={since}&until={}.{:09}&filters=%7B%22type%22%3A%5B%22network%22%2C%22container%22%5D%7D",
            until.as_secs(),
            until.subsec_nanos()
        );
        let bytes = self.get_bytes(&path).await.map_err(explain)?;
        Ok(wire::events(&bytes))
    }
}

#[async_trait]
impl Watcher for DockerReader {
    async fn subscribe(&self) -> Result<BoxStream<'static, Result<EngineEvent, EngineError>>, EngineError> {
        events::subscribe(self).await
    }

    async fn ping(&self) -> Result<(), EngineError> {
        let explain =
            |failure: Failure| failure.explain(Operation::Read, &self.server, "asking whether the daemon answers");
        self.get_bytes("/_ping").await.map(|_| ()).map_err(explain)
    }
}

#[async_trait]
impl Watcher for DockerWriter {
    async fn subscribe(&self) -> Result<BoxStream<'static, Result<EngineEvent, EngineError>>, EngineError> {
        events::subscribe(&self.reader).await
    }

    async fn ping(&self) -> Result<(), EngineError> {
        self.reader.ping().await
    }
}

impl DockerReader {
    fn understood<T>(&self, answer: Result<T, wire::Odd>, what: &str) -> Result<T, EngineError> {
        answer.map_err(|odd| Failure::Unreadable(odd.0).explain(Operation::Read, &self.server, what))
    }
}

impl DockerWriter {
    /// Opens nothing yet. `server` is for messages.
    pub fn new(server: &str, dialer: Arc<dyn Dialer>, options: &ConnectOptions) -> Result<Self, EngineError> {
        let reader = DockerReader::new(server, dialer, options);
        let transport = Arc::clone(&reader.transport);
        let send = move |request: BollardRequest| {
            let transport = Arc::clone(&transport);
            async move { transport.send(request).await.map_err(classify::through_bollard) }
        };
        // bollard's own timeout covers the headers only, and not below a second: ours comes first.
        let seconds = options.write_timeout.as_secs().saturating_add(60);
        let docker = Docker::connect_with_custom_transport(send, Some("http://docker"), seconds, API_DEFAULT_VERSION)
            .map_err(|error| {
            Failure::from(error).explain(Operation::Read, &reader.server, "preparing the connection")
        })?;
        Ok(Self { reader, docker })
    }

    async fn change<T>(
        &self,
        operation: Operation,
        what: String,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        let exchange = async {
            // Nothing is changed through an API that has not been heard to be new enough.
            if self.reader.transport.version().is_none() {
                self.reader.get_bytes("/_ping").await?;
            }
            if self.reader.transport.is_podman() && operation.is_beyond_podman() {
                return Err(Failure::Podman);
            }
            within(self.reader.options.write_timeout, async { call.await.map_err(Failure::from) }).await
        };
        exchange.await.map_err(|failure| failure.explain(operation, &self.reader.server, &what))
    }

    /// Names the pools: without them the advice would be to search for them.
    async fn with_pools(&self, error: EngineError) -> EngineError {
        let pools = match self.reader.info().await {
            Ok(info) if info.address_pools.is_empty() => {
                "the daemon has Docker's built-in pools, which give about 30 networks".to_owned()
            }
            Ok(info) => {
                let pools = info.address_pools.iter().map(|pool| format!("{} cut into /{}", pool.base, pool.size));
                format!("the daemon's pools are {}", pools.collect::<Vec<_>>().join(", "))
            }
            Err(_) => return error,
        };
        let advice = error.hint.unwrap_or_default();
        EngineError { hint: Some(format!("{pools}; {advice}")), ..error }
    }
}

#[async_trait]
impl Reader for DockerWriter {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        self.reader.info().await
    }

    async fn networks(&self) -> Result<Vec<ObservedNetwork>, EngineError> {
        self.reader.networks().await
    }

    async fn containers(&self) -> Result<Vec<ObservedContainer>, EngineError> {
        self.reader.containers().await
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerDetail>, EngineError> {
        self.reader.container(id).await
    }

    async fn services(&self) -> Result<Vec<ObservedService>, EngineError> {
        self.reader.services().await
    }

    async fn task(&self, id: &str) -> Result<Option<ObservedTask>, EngineError> {
        self.reader.task(id).await
    }

    async fn recent_events(&self, since: i64) -> Result<Vec<EngineEvent>, EngineError> {
        self.reader.recent_events(since).await
    }
}

#[async_trait]
impl Writer for DockerWriter {
    async fn create_network(&self, network: &NetworkCreate) -> Result<NetworkId, EngineError> {
        let what = format!("creating network {:?}", network.name);
        let call = self.docker.create_network(create_request(network));
        match self.change(Operation::CreateNetwork, what.clone(), call).await {
            Ok(created) => {
                let id = NetworkId::try_from(created.id).map_err(|odd| wire::Odd(odd.to_string()));
                self.reader.understood(id, &what)
            }
            Err(error) if error.kind == EngineErrorKind::AddressPoolExhausted => Err(self.with_pools(error).await),
            Err(error) => Err(error),
        }
    }

    async fn connect(
        &self,
        network: &NetworkId,
        container: &ContainerId,
        settings: &EndpointSettings,
    ) -> Result<(), EngineError> {
        let what = format!("connecting container {} to network {}", container.short(), network.short());
        let request = NetworkConnectRequest {
            container: container.to_string(),
            endpoint_config: Some(endpoint_request(settings)),
        };
        self.change(Operation::Connect, what, self.docker.connect_network(network.as_str(), request)).await
    }

    async fn disconnect(&self, network: &NetworkId, container: &ContainerId, force: bool) -> Result<(), EngineError> {
        let what = format!("disconnecting container {} from network {}", container.short(), network.short());
        let request = NetworkDisconnectRequest { container: container.to_string(), force: Some(force) };
        self.change(Operation::Disconnect, what, self.docker.disconnect_network(network.as_str(), request)).await
    }

    async fn disconnect_by_name(&self, network: &str, container: &ContainerId) -> Result<(), EngineError> {
        let what = format!("disconnecting container {} from network {network}", container.short());
        // A name goes into the path, and bollard does not escape it.
        if !network.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
            || network.starts_with('.')
        {
            let odd = wire::Odd(format!("the network name {network:?} cannot be put into a request"));
            return self.reader.understood(Err(odd), &what);
        }
        let request = NetworkDisconnectRequest { container: container.to_string(), force: Some(false) };
        self.change(Operation::Disconnect, what, self.docker.disconnect_network(network, request)).await
    }

    async fn remove_network(&self, network: &NetworkId) -> Result<(), EngineError> {
        let what = format!("removing network {}", network.short());
        self.change(Operation::RemoveNetwork, what, self.docker.remove_network(network.as_str())).await
    }

    async fn start_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        let what = format!("starting container {}", container.short());
        self.change(Operation::StartContainer, what, self.docker.start_container(container.as_str(), None)).await
    }

    async fn stop_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        let what = format!("stopping container {}", container.short());
        self.change(Operation::StopContainer, what, self.docker.stop_container(container.as_str(), None)).await
    }

    async fn update_service(&self, service: &ServiceId, update: ServiceUpdate<'_>) -> Result<(), EngineError> {
        service::update(self, service, update).await
    }
}

fn create_request(network: &NetworkCreate) -> NetworkCreateRequest {
    let NetworkCreate { name, driver, attachable, internal, ipv6, subnets, options, labels } = network;
    let subnets: Vec<IpamConfig> = subnets
        .iter()
        .map(|subnet| IpamConfig {
            subnet: Some(subnet.subnet.clone()),
            gateway: subnet.gateway.clone(),
            ip_range: subnet.ip_range.clone(),
            auxiliary_addresses: None,
        })
        .collect();
    NetworkCreateRequest {
        name: name.clone(),
        driver: Some(driver.clone()),
        attachable: Some(*attachable),
        internal: Some(*internal),
        enable_ipv6: Some(*ipv6),
        ipam: (!subnets.is_empty()).then(|| Ipam { config: Some(subnets), ..Ipam::default() }),
        options: Some(options.clone().into_iter().collect()),
        labels: Some(labels.clone().into_iter().collect()),
        ..NetworkCreateRequest::default()
    }
}

/// `MacAddress` is for engines from API 1.44 on; older ones ignore it here and give back only what the container itself was
/// created with, on the network it was created on.
fn endpoint_request(settings: &EndpointSettings) -> bollard::models::EndpointSettings {
    let EndpointSettings {
        aliases,
        links,
        ipv4_address,
        ipv6_address,
        link_local_ips,
        mac_address,
        driver_opts,
        gw_priority,
    } = settings;
    let fixed = ipv4_address.is_some() || ipv6_address.is_some() || !link_local_ips.is_empty();
    bollard::models::EndpointSettings {
        ipam_config: fixed.then(|| EndpointIpamConfig {
            ipv4_address: ipv4_address.clone(),
            ipv6_address: ipv6_address.clone(),
            link_local_ips: (!link_local_ips.is_empty()).then(|| link_local_ips.clone()),
        }),
        aliases: (!aliases.is_empty()).then(|| aliases.clone()),
        links: (!links.is_empty()).then(|| links.clone()),
        mac_address: mac_address.clone(),
        driver_opts: (!driver_opts.is_empty()).then(|| driver_opts.clone().into_iter().collect()),
        gw_priority: *gw_priority,
        ..bollard::models::EndpointSettings::default()
    }
}
