//! A real Docker daemon.
//!
//! Requests are the generated models of the API. Answers are not: the models refuse an answer for an unknown word in a field that nobody here
//! looks at, and a newer daemon would become unreadable. Reading takes what [`wire`] needs and ignores the rest. Swarm services are the
//! exception on both sides: see [`service`].
//!
//! bollard's client is not used: it reads answers whole, however long they are, and logs them. Here every answer has a bound, by what it
//! is an answer to, and none is logged.
//!
//! Ids alone go into paths, and only as the checked types: nothing is escaped.

mod budget;
mod classify;
mod definition;
mod events;
mod logs;
mod pipe;
mod registry;
mod seen;
mod service;
mod stats;
mod wire;
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard_stubs::models::{
    EndpointIpamConfig, Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
};
use futures::stream::BoxStream;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::connect::{BoxedStream, ConnectOptions, DialError, Dialer};
use super::fence::{Fence, FencedDialer};
use super::transport::{Answer, Transport, TransportError};
use super::{
    Chunks, ContainerDetail, EngineError, EngineErrorKind, EngineEvent, LogLine, LogRequest, NetworkDetail, Piped,
    Reader, ServiceUpdate, Watcher, WorkloadDetail, Writer,
};
use crate::core::observed::{
    ContainerId, EndpointSettings, EngineInfo, NetworkId, ObservedContainer, ObservedNetwork, ObservedNode,
    ObservedService, ObservedTask, ServiceId, SwarmAttachment,
};
use crate::core::plan::NetworkCreate;
use crate::core::usage::Sample;
use crate::core::workload::seen::{SeenImage, SeenVolume, Storage};
use crate::core::workload::service::{SeenSecret, ServiceCreate, ServiceTask};
use crate::core::workload::{ContainerCreate, ContainerUpdate, Value};
use classify::{Failure, Operation};

/// Of a list: ten thousand containers take about twenty megabytes.
const LARGEST_LIST: usize = 64 << 20;
/// Of what is about one object, or the engine itself. A Swarm keeps no definition that is as large.
const LARGEST_OBJECT: usize = 4 << 20;
/// Of the events that a daemon remembers, which are 256.
const LARGEST_EVENTS: usize = 4 << 20;
/// Of an answer that has nothing to say but an id.
const LARGEST_RECEIPT: usize = 64 << 10;

/// Looks at a daemon and cannot change it.
#[derive(Clone)]
pub struct DockerReader {
    transport: Arc<Transport>,
    dialer: Arc<dyn Dialer>,
    /// The dialer without a fence.
    bare: Arc<dyn Dialer>,
    /// `default/edge-1 (unix:///var/run/docker.sock)`
    server: String,
    options: ConnectOptions,
}

/// Looks at a daemon and changes it.
#[derive(Clone)]
pub struct DockerWriter {
    reader: DockerReader,
}

impl DockerReader {
    /// Opens nothing yet. `server` is for messages.
    pub fn new(server: &str, dialer: Arc<dyn Dialer>, options: &ConnectOptions) -> Self {
        let (bare, fence) = (dialer, options.fence.clone());
        let dialer = fenced(&bare, fence.as_ref());
        Self {
            server: format!("{server} ({})", dialer.endpoint()),
            transport: Arc::new(Transport::new(Arc::clone(&dialer), Arc::clone(&options.requests), fence)),
            dialer,
            bare,
            options: options.clone(),
        }
    }

    /// Something about the way to the daemon that is worth saying, once there has been a call.
    pub fn transport_note(&self) -> Option<String> {
        self.dialer.note()
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        most: usize,
        what: impl FnOnce() -> String,
    ) -> Result<T, EngineError> {
        let decoded = self.get_bytes(path, most).await.and_then(|bytes| decoded(&bytes));
        decoded.map_err(|failure| failure.explain(Operation::Read, &self.server, &what()))
    }

    async fn list<W, T>(&self, path: &str, what: &str) -> Result<Vec<T>, EngineError>
    where
        W: DeserializeOwned,
        T: TryFrom<W, Error = wire::Odd>,
    {
        let list = self.get::<wire::List<W, T>>(path, LARGEST_LIST, || what.to_owned()).await?;
        Ok(list.entries)
    }

    async fn get_bytes(&self, path: &str, most: usize) -> Result<Bytes, Failure> {
        let exchange = async {
            match self.get_once(path, most).await {
                // A pooled connection may have been closed by a daemon that was restarted since. Asking twice does no harm.
                Err(Failure::Transport(TransportError::Client(error))) if !error.is_connect() => {
                    self.get_once(path, most).await
                }
                Err(Failure::Transport(TransportError::Forsaken)) => self.get_once(path, most).await,
                answer => answer,
            }
        };
        within(self.options.read_timeout, exchange).await
    }

    async fn get_once(&self, path: &str, most: usize) -> Result<Bytes, Failure> {
        let answer = self.transport.send(request(Method::GET, path, &())?).await?;
        Ok(succeeded(answer).await?.whole(most).await?)
    }

    async fn probe(&self) -> Result<(), Failure> {
        self.get_bytes("/_ping", LARGEST_RECEIPT).await.map(|_| ())
    }
}

fn fenced(bare: &Arc<dyn Dialer>, fence: Option<&Fence>) -> Arc<dyn Dialer> {
    match fence {
        Some(fence) => Arc::new(FencedDialer { inner: Arc::clone(bare), fence: fence.clone() }),
        None => Arc::clone(bare),
    }
}

/// What a manager tells of its Swarm beside services. It may have ceased to be one meanwhile, and what stands before it may keep that back: then
/// less is known, as of a Swarm that never told.
fn where_told<T>(listed: Result<Vec<T>, EngineError>) -> Result<Vec<T>, EngineError> {
    match listed {
        Err(error) if matches!(error.kind, EngineErrorKind::NotASwarmManager | EngineErrorKind::PermissionDenied) => {
            Ok(Vec::new())
        }
        listed => listed,
    }
}

/// `()` for no body.
fn request(method: Method, path: &str, body: &impl Serialize) -> Result<Request<Full<Bytes>>, Failure> {
    let body = serde_json::to_vec(body).map_err(|error| Failure::Unreadable(error.to_string()))?;
    let request = Request::builder().method(method).uri(format!("http://docker{path}"));
    let request = if body == b"null" {
        request.body(Full::default())
    } else {
        request.header(http::header::CONTENT_TYPE, "application/json").body(Full::new(body.into()))
    };
    request.map_err(|error| TransportError::from(error).into())
}

/// The answer, if it is a success. That something is so already is one.
async fn succeeded(answer: Answer) -> Result<Answer, Failure> {
    let status = answer.status();
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(answer);
    }
    Err(Failure::refused(status, &answer.refusal().await?))
}

fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    wire::decoded(bytes).map_err(|error| Failure::Unreadable(error.to_string()))
}

async fn within<T>(limit: Duration, exchange: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(limit, exchange).await.unwrap_or(Err(Failure::TimedOut(limit)))
}

/// A container is given as long to stop as it was made with, which may be longer than anything else takes.
const STOPPING: Duration = Duration::from_secs(120);

#[async_trait]
impl Reader for DockerReader {
    fn renew(&self) {
        self.transport.renew();
    }

    fn now(&self) -> Duration {
        self.transport.daemon_time()
    }

    async fn info(&self) -> Result<EngineInfo, EngineError> {
        let info: wire::Info =
            self.get("/info", LARGEST_OBJECT, || "asking for information about the engine".to_owned()).await?;
        let mut info = EngineInfo { api_version: self.transport.spoken(), ..EngineInfo::from(info) };
        info.addresses.extend(self.dialer.addresses());
        info.addresses.sort();
        info.addresses.dedup();
        Ok(info)
    }

    async fn networks(&self) -> Result<Vec<ObservedNetwork>, EngineError> {
        let mut networks = self.list::<wire::Network, ObservedNetwork>("/networks", "listing the networks").await?;
        networks.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(networks)
    }

    async fn network(&self, id: &NetworkId) -> Result<Option<NetworkDetail>, EngineError> {
        self.inspect_network(id.as_str(), || format!("inspecting network {}", id.short())).await
    }

    async fn network_named(&self, name: &str) -> Result<Option<NetworkDetail>, EngineError> {
        // A name goes into the path, and nothing is escaped there.
        if !is_plain(name) {
            return Ok(None);
        }
        let found = match self.inspect_network(name, || format!("inspecting network {name}")).await {
            // There are several; the list is what tells them apart.
            Err(error) if error.kind == EngineErrorKind::Ambiguous => None,
            found => found?,
        };
        // The daemon also finds what has an id that begins so.
        Ok(found.filter(|detail| detail.network.name == name))
    }

    async fn containers_on(&self, id: &NetworkId) -> Result<Vec<ObservedContainer>, EngineError> {
        let path = format!("/containers/json?all=1&filters=%7B%22network%22%3A%5B%22{id}%22%5D%7D");
        let what = format!("listing the containers on network {}", id.short());
        self.list::<wire::ListedContainer, ObservedContainer>(&path, &what).await
    }

    async fn containers(&self) -> Result<Vec<ObservedContainer>, EngineError> {
        let (path, what) = ("/containers/json?all=1", "listing the containers");
        let mut containers = self.list::<wire::ListedContainer, ObservedContainer>(path, what).await?;
        containers.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(containers)
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerDetail>, EngineError> {
        let what = || format!("inspecting container {}", id.short());
        let container: wire::InspectedContainer =
            match self.get(&format!("/containers/{id}/json"), LARGEST_OBJECT, what).await {
                Ok(container) => container,
                Err(error) if error.kind == EngineErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
        self.understood(container.try_into(), &what()).map(Some)
    }

    async fn services(&self) -> Result<Vec<ObservedService>, EngineError> {
        match self.list::<wire::Service, ObservedService>("/services?status=true", "listing the Swarm services").await {
            Ok(mut services) => {
                services.sort_by(|one, other| one.id.cmp(&other.id));
                Ok(services)
            }
            Err(error) if error.kind == EngineErrorKind::NotASwarmManager => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn nodes(&self) -> Result<Vec<ObservedNode>, EngineError> {
        let listed =
            self.get::<Vec<wire::Node>>("/nodes", LARGEST_LIST, || "listing the Swarm's nodes".to_owned()).await;
        let mut nodes: Vec<ObservedNode> = where_told(listed)?.into_iter().map(Into::into).collect();
        nodes.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(nodes)
    }

    async fn attachments(&self) -> Result<Vec<SwarmAttachment>, EngineError> {
        let path = "/tasks?filters=%7B%22runtime%22%3A%5B%22attachment%22%5D%7D";
        let what = || "listing the containers on networks of the Swarm".to_owned();
        let listed = self.get::<Vec<wire::Task>>(path, LARGEST_LIST, what).await;
        let mut found: Vec<SwarmAttachment> =
            where_told(listed)?.into_iter().filter_map(wire::Task::into_attachment).collect();
        found.sort_by(|one, other| one.container.cmp(&other.container));
        Ok(found)
    }

    async fn service(&self, id: &ServiceId) -> Result<Option<ObservedService>, EngineError> {
        self.seen_service(id).await
    }

    async fn service_tasks(&self, id: &ServiceId) -> Result<Vec<ServiceTask>, EngineError> {
        self.tasks_of(id).await
    }

    async fn secrets(&self) -> Result<Vec<SeenSecret>, EngineError> {
        self.secrets_of_swarm().await
    }

    async fn task_log_tail(&self, id: &str, lines: usize) -> Result<Vec<String>, EngineError> {
        self.last_lines_of_task(id, lines).await
    }

    async fn task_logs(
        &self,
        id: &str,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<LogLine, EngineError>>, EngineError> {
        logs::of_task(self, id, request).await
    }

    async fn failure(&self, service: &ServiceId) -> Result<Option<String>, EngineError> {
        // The id is of letters and digits alone.
        let path = format!("/tasks?filters=%7B%22service%22%3A%5B%22{service}%22%5D%7D");
        let what = || format!("listing the tasks of the Swarm service {}", service.short());
        let tasks: Vec<wire::Task> = self.get(&path, LARGEST_LIST, what).await?;
        let pending = tasks.iter().find_map(wire::Task::is_pending);
        let latest = tasks.iter().filter_map(wire::Task::failure).max();
        Ok(pending.or(latest.map(|(_, text)| text)))
    }

    async fn task(&self, id: &str) -> Result<Option<ObservedTask>, EngineError> {
        let what = || format!("looking at the task {id}");
        // The id comes from a message of the daemon, and goes into a path.
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric()) {
            let odd = wire::Odd(format!("{id:?} is not the id of a task"));
            return self.understood(Err(odd), &what());
        }
        match self.get::<wire::Task>(&format!("/tasks/{id}"), LARGEST_OBJECT, what).await {
            Ok(task) => Ok(Some(task.into())),
            Err(error) if error.kind == EngineErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn workload(&self, id: &ContainerId) -> Result<Option<WorkloadDetail>, EngineError> {
        self.seen_workload(id).await
    }

    async fn image(&self, reference: &str) -> Result<Option<SeenImage>, EngineError> {
        self.seen_image(reference).await
    }

    async fn remote_digest(&self, reference: &str) -> Result<String, EngineError> {
        self.registry_digest(reference).await
    }

    async fn log_tail(&self, id: &ContainerId, lines: usize) -> Result<Vec<String>, EngineError> {
        self.last_lines(id, lines).await
    }

    async fn logs(
        &self,
        id: &ContainerId,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<LogLine, EngineError>>, EngineError> {
        logs::logs(self, id, request).await
    }

    async fn usage(&self, container: &ContainerId) -> Result<Option<Sample>, EngineError> {
        self.sampled(container).await
    }

    async fn archive(&self, container: &ContainerId, path: &str) -> Result<Chunks, EngineError> {
        self.packed(container, path).await
    }

    async fn volume_sizes(&self) -> Result<BTreeMap<String, u64>, EngineError> {
        self.sizes_of_volumes().await
    }

    async fn volumes(&self) -> Result<Vec<SeenVolume>, EngineError> {
        let volumes: wire::Volumes = self.get("/volumes", LARGEST_LIST, || "listing the volumes".to_owned()).await?;
        Ok(volumes.into())
    }

    async fn storage(&self) -> Result<Storage, EngineError> {
        self.stored().await
    }

    async fn recent_events(&self, since: i64) -> Result<Vec<EngineEvent>, EngineError> {
        let what = "reading recent events";
        // Without an end the daemon would go on for ever, and an end in its future it would wait for. The answer to the ping
        // tells its time.
        let explain = |failure: Failure| failure.explain(Operation::Read, &self.server, what);
        self.probe().await.map_err(explain)?;
        let until = self.transport.daemon_time();
        if i64::try_from(until.as_secs()).is_ok_and(|now| since > now) {
            return Ok(Vec::new());
        }
        let path = format!(
            "/events?since={since}&until={}.{:09}&filters=%7B%22type%22%3A%5B%22network%22%2C%22container%22%5D%7D",
            until.as_secs(),
            until.subsec_nanos()
        );
        let bytes = self.get_bytes(&path, LARGEST_EVENTS).await.map_err(explain)?;
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
        self.probe().await.map_err(explain)
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
    async fn inspect_network(
        &self,
        which: &str,
        what: impl Fn() -> String,
    ) -> Result<Option<NetworkDetail>, EngineError> {
        let detail: wire::InspectedNetwork = match self.get(&format!("/networks/{which}"), LARGEST_OBJECT, &what).await
        {
            Ok(detail) => detail,
            Err(error) if error.kind == EngineErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        self.understood(detail.try_into(), &what()).map(Some)
    }

    fn understood<T>(&self, answer: Result<T, wire::Odd>, what: &str) -> Result<T, EngineError> {
        answer.map_err(|odd| Failure::Unreadable(odd.0).explain(Operation::Read, &self.server, what))
    }
}

impl DockerWriter {
    /// Opens nothing yet. `server` is for messages.
    pub fn new(server: &str, dialer: Arc<dyn Dialer>, options: &ConnectOptions) -> Self {
        Self { reader: DockerReader::new(server, dialer, options) }
    }

    /// The same daemon over connections of its own, of which nothing is opened yet.
    pub fn beside(&self) -> Self {
        let transport = Arc::new(self.reader.transport.beside());
        Self { reader: DockerReader { transport, ..self.reader.clone() } }
    }

    /// The same daemon over connections of its own, which end with that fence.
    pub fn within(&self, fence: &Fence) -> Self {
        let dialer = fenced(&self.reader.bare, Some(fence));
        let transport = Arc::new(self.reader.transport.over(Arc::clone(&dialer), Some(fence.clone())));
        let options = ConnectOptions { fence: Some(fence.clone()), ..self.reader.options.clone() };
        Self { reader: DockerReader { transport, dialer, options, ..self.reader.clone() } }
    }

    /// A call that changes something, and whose answer has nothing to say but that it did.
    async fn change(
        &self,
        operation: Operation,
        what: String,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(), EngineError> {
        // Read to its end, for the sake of the connection, if the end comes soon.
        self.exchange(operation, what, request(method, path, body), async |answer| {
            let _ = answer.whole(LARGEST_RECEIPT).await;
            Ok(())
        })
        .await
    }

    async fn exchange<T>(
        &self,
        operation: Operation,
        what: String,
        request: Result<Request<Full<Bytes>>, Failure>,
        read: impl AsyncFnOnce(Answer) -> Result<T, Failure>,
    ) -> Result<T, EngineError> {
        let exchange = async {
            // Nothing is changed through an API that has not been heard to be new enough.
            if self.reader.transport.version().is_none() {
                self.reader.probe().await?;
            }
            if self.reader.transport.is_podman() && operation.is_beyond_podman() {
                return Err(Failure::Podman);
            }
            let limit = match operation {
                Operation::StopContainer => self.reader.options.write_timeout.max(STOPPING),
                _ => self.reader.options.write_timeout,
            };
            within(limit, async { read(succeeded(self.reader.transport.send(request?).await?).await?).await }).await
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
    fn renew(&self) {
        self.reader.renew();
    }

    fn now(&self) -> Duration {
        self.reader.now()
    }

    async fn info(&self) -> Result<EngineInfo, EngineError> {
        self.reader.info().await
    }

    async fn networks(&self) -> Result<Vec<ObservedNetwork>, EngineError> {
        self.reader.networks().await
    }

    async fn network(&self, id: &NetworkId) -> Result<Option<NetworkDetail>, EngineError> {
        self.reader.network(id).await
    }

    async fn network_named(&self, name: &str) -> Result<Option<NetworkDetail>, EngineError> {
        self.reader.network_named(name).await
    }

    async fn containers_on(&self, id: &NetworkId) -> Result<Vec<ObservedContainer>, EngineError> {
        self.reader.containers_on(id).await
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

    async fn nodes(&self) -> Result<Vec<ObservedNode>, EngineError> {
        self.reader.nodes().await
    }

    async fn attachments(&self) -> Result<Vec<SwarmAttachment>, EngineError> {
        self.reader.attachments().await
    }

    async fn failure(&self, service: &ServiceId) -> Result<Option<String>, EngineError> {
        self.reader.failure(service).await
    }

    async fn service(&self, id: &ServiceId) -> Result<Option<ObservedService>, EngineError> {
        self.reader.service(id).await
    }

    async fn service_tasks(&self, id: &ServiceId) -> Result<Vec<ServiceTask>, EngineError> {
        self.reader.service_tasks(id).await
    }

    async fn secrets(&self) -> Result<Vec<SeenSecret>, EngineError> {
        self.reader.secrets().await
    }

    async fn task_log_tail(&self, id: &str, lines: usize) -> Result<Vec<String>, EngineError> {
        self.reader.task_log_tail(id, lines).await
    }

    async fn task_logs(
        &self,
        id: &str,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<LogLine, EngineError>>, EngineError> {
        self.reader.task_logs(id, request).await
    }

    async fn task(&self, id: &str) -> Result<Option<ObservedTask>, EngineError> {
        self.reader.task(id).await
    }

    async fn workload(&self, id: &ContainerId) -> Result<Option<WorkloadDetail>, EngineError> {
        self.reader.workload(id).await
    }

    async fn image(&self, reference: &str) -> Result<Option<SeenImage>, EngineError> {
        self.reader.image(reference).await
    }

    async fn remote_digest(&self, reference: &str) -> Result<String, EngineError> {
        self.reader.remote_digest(reference).await
    }

    async fn log_tail(&self, id: &ContainerId, lines: usize) -> Result<Vec<String>, EngineError> {
        self.reader.log_tail(id, lines).await
    }

    async fn volumes(&self) -> Result<Vec<SeenVolume>, EngineError> {
        self.reader.volumes().await
    }

    async fn usage(&self, container: &ContainerId) -> Result<Option<Sample>, EngineError> {
        self.reader.usage(container).await
    }

    async fn archive(&self, container: &ContainerId, path: &str) -> Result<Chunks, EngineError> {
        self.reader.archive(container, path).await
    }

    async fn volume_sizes(&self) -> Result<BTreeMap<String, u64>, EngineError> {
        self.reader.volume_sizes().await
    }

    async fn storage(&self) -> Result<Storage, EngineError> {
        self.reader.storage().await
    }

    async fn recent_events(&self, since: i64) -> Result<Vec<EngineEvent>, EngineError> {
        self.reader.recent_events(since).await
    }
}

#[async_trait]
impl Writer for DockerWriter {
    async fn create_network(&self, network: &NetworkCreate) -> Result<NetworkId, EngineError> {
        let what = format!("creating network {:?}", network.name);
        let request = request(
            Method::POST,
            "/networks/create",
            &Unique { check_duplicate: true, request: create_request(network) },
        );
        let created = self.exchange(Operation::CreateNetwork, what.clone(), request, async |answer| {
            decoded::<wire::Created>(&answer.whole(LARGEST_RECEIPT).await?)
        });
        match created.await {
            Ok(created) => self.reader.understood(created.try_into(), &what),
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
        let path = format!("/networks/{network}/connect");
        self.change(Operation::Connect, what, Method::POST, &path, &request).await
    }

    async fn disconnect(&self, network: &NetworkId, container: &ContainerId, force: bool) -> Result<(), EngineError> {
        let what = format!("disconnecting container {} from network {}", container.short(), network.short());
        let request = NetworkDisconnectRequest { container: container.to_string(), force: Some(force) };
        let path = format!("/networks/{network}/disconnect");
        self.change(Operation::Disconnect, what, Method::POST, &path, &request).await
    }

    async fn disconnect_by_name(&self, network: &str, container: &ContainerId) -> Result<(), EngineError> {
        let what = format!("disconnecting container {} from network {network}", container.short());
        // A name goes into the path, and nothing is escaped there.
        if !is_plain(network) {
            let odd = wire::Odd(format!("the network name {network:?} cannot be put into a request"));
            return self.reader.understood(Err(odd), &what);
        }
        let request = NetworkDisconnectRequest { container: container.to_string(), force: Some(false) };
        let path = format!("/networks/{network}/disconnect");
        self.change(Operation::Disconnect, what, Method::POST, &path, &request).await
    }

    async fn remove_network(&self, network: &NetworkId) -> Result<(), EngineError> {
        let what = format!("removing network {}", network.short());
        self.change(Operation::RemoveNetwork, what, Method::DELETE, &format!("/networks/{network}"), &()).await
    }

    async fn start_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        let what = format!("starting container {}", container.short());
        let path = format!("/containers/{container}/start");
        self.change(Operation::StartContainer, what, Method::POST, &path, &()).await
    }

    async fn stop_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        let what = format!("stopping container {}", container.short());
        let path = format!("/containers/{container}/stop");
        self.change(Operation::StopContainer, what, Method::POST, &path, &()).await
    }

    async fn pull_image(&self, reference: &str, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<(), EngineError> {
        self.pull(reference, progress).await
    }

    async fn create_container(
        &self,
        container: &ContainerCreate,
        network: &str,
        settings: &EndpointSettings,
    ) -> Result<ContainerId, EngineError> {
        self.create(container, network, settings).await
    }

    async fn remove_container(&self, container: &ContainerId, force: bool) -> Result<(), EngineError> {
        self.remove(container, force).await
    }

    async fn discard_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.discard(container).await
    }

    async fn rename_container(&self, container: &ContainerId, name: &str) -> Result<(), EngineError> {
        self.rename(container, name).await
    }

    async fn update_container(&self, container: &ContainerId, update: &ContainerUpdate) -> Result<(), EngineError> {
        self.update_limits(container, update).await
    }

    async fn create_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), EngineError> {
        self.make_volume(name, labels).await
    }

    async fn exec(&self, container: &ContainerId, command: &[&str]) -> Result<i64, EngineError> {
        self.run_in(container, command).await
    }

    async fn exec_output(&self, container: &ContainerId, command: &[&str], most: usize) -> Result<String, EngineError> {
        self.printed_by(container, command, most).await
    }

    async fn pipe(
        &self,
        container: &ContainerId,
        command: &[&str],
        input: Option<Chunks>,
        output: mpsc::Sender<Bytes>,
    ) -> Result<Piped, EngineError> {
        self.piped(container, command, input, output).await
    }

    async fn unpack(&self, container: &ContainerId, path: &str, content: Chunks) -> Result<(), EngineError> {
        self.unpacked(container, path, content).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        self.drop_volume(name).await
    }

    async fn stream(&self) -> Result<BoxedStream, EngineError> {
        let attempted = "opening a stream to the daemon";
        let dialled = tokio::time::timeout(self.reader.options.read_timeout, self.reader.dialer.dial()).await;
        let failed = |kind, message, hint| EngineError {
            kind,
            attempted: format!("{attempted} of {}", self.reader.server),
            message,
            hint,
        };
        match dialled {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(DialError { kind, message, hint })) => Err(failed(kind, message, hint)),
            Err(_) => {
                let message = format!("no answer within {:?}", self.reader.options.read_timeout);
                Err(failed(EngineErrorKind::Unreachable, message, None))
            }
        }
    }

    async fn create_secret(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        content: &Value,
    ) -> Result<(), EngineError> {
        self.make_secret(name, labels, content).await
    }

    async fn remove_secret(&self, id: &str) -> Result<bool, EngineError> {
        self.drop_secret(id).await
    }

    async fn create_service(&self, service: &ServiceCreate, network: &NetworkId) -> Result<ServiceId, EngineError> {
        service::create(self, service, network).await
    }

    async fn remove_service(&self, service: &ServiceId) -> Result<(), EngineError> {
        self.drop_service(service).await
    }

    async fn update_service(&self, service: &ServiceId, update: ServiceUpdate<'_>) -> Result<(), EngineError> {
        service::update(self, service, update).await
    }
}

/// Whether a name can be put into a path as it is.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// Engines that know the field refuse a second network of the same name; newer ones do so by themselves, and older lists may not show the first.
#[derive(Serialize)]
struct Unique {
    #[serde(rename = "CheckDuplicate")]
    check_duplicate: bool,
    #[serde(flatten)]
    request: NetworkCreateRequest,
}

fn create_request(network: &NetworkCreate) -> NetworkCreateRequest {
    let NetworkCreate {
        name,
        driver,
        attachable,
        internal,
        ipv4,
        ipv6,
        subnets,
        options,
        labels,
        replaces: _,
        beside: _,
        generated: _,
    } = network;
    let subnets: Vec<IpamConfig> = subnets
        .iter()
        .map(|subnet| IpamConfig {
            subnet: Some(subnet.subnet.clone()),
            gateway: subnet.gateway.clone(),
            ip_range: subnet.ip_range.clone(),
            auxiliary_addresses: (!subnet.aux_addresses.is_empty())
                .then(|| subnet.aux_addresses.clone().into_iter().collect()),
        })
        .collect();
    NetworkCreateRequest {
        name: name.clone(),
        driver: Some(driver.clone()),
        attachable: Some(*attachable),
        internal: Some(*internal),
        // Engines that do not know the field make one with IPv4 without a word.
        enable_ipv4: (!ipv4).then_some(false),
        enable_ipv6: Some(*ipv6),
        ipam: (!subnets.is_empty()).then(|| Ipam { config: Some(subnets), ..Ipam::default() }),
        options: Some(options.clone().into_iter().collect()),
        labels: Some(labels.clone().into_iter().collect()),
        ..NetworkCreateRequest::default()
    }
}

/// `MacAddress` is for engines from API 1.54 on; older ones ignore it here and give back only what the container itself was
/// created with, on the network it was created on.
fn endpoint_request(settings: &EndpointSettings) -> bollard_stubs::models::EndpointSettings {
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
    bollard_stubs::models::EndpointSettings {
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
        ..bollard_stubs::models::EndpointSettings::default()
    }
}
