//! The observed state of one server: a serializable snapshot that makes no choices.
//!
//! `get server NAME -o json --observed` prints it and `diff --observed FILE` reads it back, so a plan can be reproduced without the server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::api::ObjectKey;
use crate::core::workload::HostPort;
use crate::core::workload::seen::{ImageState, SeenConfig};
use crate::core::workload::service::{SeenSecret, SeenService};

/// What was seen of every declared server. A server that could not be looked at is an [`Unobserved`], never an empty state.
pub type Observations = BTreeMap<ObjectKey, Result<ObservedState, Unobserved>>;

/// A server that was not, or not completely, observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unobserved {
    pub reason: UnobservedReason,
    /// What was attempted and what came of it, for people.
    pub message: String,
    /// What to try next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnobservedReason {
    ServerUnreachable,
    PermissionDenied,
    HostKeyMismatch,
    /// The look was not tried, or is lost: Landfall itself failed.
    PassFailed,
}

/// A complete look at one Docker Engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedState {
    pub engine: EngineInfo,
    /// In the order of their ids.
    pub networks: Vec<ObservedNetwork>,
    /// All containers, whatever their state, in the order of their ids.
    pub containers: Vec<ObservedContainer>,
    /// Containers that are there, as was told by their ids, and that no list shows: something between hides them. Nothing is done to them, and nothing that they are on is removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlisted: Vec<ObservedContainer>,
    /// Swarm services; empty unless the engine is a manager.
    #[serde(default)]
    pub services: Vec<ObservedService>,
    /// Nodes of the Swarm, in the order of their ids; empty unless the engine is a manager that says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<ObservedNode>,
    /// Containers that were connected by hand to networks of the Swarm, on whichever node; empty unless the engine is a manager of several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<SwarmAttachment>,
    /// How containers that carry the labels of a managed resource were made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub workloads: BTreeMap<ContainerId, SeenConfig>,
    /// Images that resources declare, by reference.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, ImageState>,
    /// Labels of the volumes, where a database is declared, by the volume's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, BTreeMap<String, String>>,
    /// Secrets of the Swarm, where something that Landfall runs on it has files; in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SeenSecret>,
}

impl ObservedState {
    /// An engine with nothing on it.
    pub fn of(engine: EngineInfo) -> Self {
        Self {
            engine,
            networks: Vec::new(),
            containers: Vec::new(),
            unlisted: Vec::new(),
            services: Vec::new(),
            nodes: Vec::new(),
            attachments: Vec::new(),
            workloads: BTreeMap::new(),
            images: BTreeMap::new(),
            volumes: BTreeMap::new(),
            secrets: Vec::new(),
        }
    }

    pub fn network(&self, id: &NetworkId) -> Option<&ObservedNetwork> {
        self.networks.iter().find(|network| network.id == *id)
    }

    pub fn container_named(&self, name: &str) -> Option<&ObservedContainer> {
        self.containers.iter().find(|container| container.name == name)
    }
}

/// An observation as a document of its own: `get server NAME -o json --observed` writes it, `diff --observed FILE` reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// [`Snapshot::FORMAT`]: what this document is.
    pub format: String,
    /// [`Snapshot::FORMAT_VERSION`]. The number before the point changes when older readers can no longer make sense of it.
    pub format_version: String,
    /// `namespace/name` of the server.
    pub server: String,
    pub observed: ObservedState,
}

impl Snapshot {
    pub const FORMAT: &str = "landfall.observed";
    pub const FORMAT_VERSION: &str = "1.0";

    pub fn new(server: &ObjectKey, observed: ObservedState) -> Self {
        Self {
            format: Self::FORMAT.to_owned(),
            format_version: Self::FORMAT_VERSION.to_owned(),
            server: server.path(),
            observed,
        }
    }
}

/// From `GET /info`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// The daemon's own id.
    pub id: String,
    /// Host name.
    pub name: String,
    /// Engine version, such as `20.10.24`.
    pub version: String,
    /// The version of the API that it is spoken to in; `None` in snapshots that are older than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<ApiVersion>,
    pub swarm: SwarmState,
    /// Address pools configured on the daemon; empty where it uses its built-in ones.
    #[serde(default)]
    pub address_pools: Vec<AddressPool>,
    /// Addresses that the server would lose its way to, or be lost at, if a network took them over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<OwnAddress>,
}

/// An address outside of all networks of the engine that the server's connections depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OwnAddress {
    pub address: IpAddr,
    pub of: AddressOf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AddressOf {
    /// By which the server is reached.
    Server,
    /// From which it is reached: Landfall's own end of the connection, or the jump host.
    Client,
    /// Of a manager of its Swarm.
    SwarmManager,
}

impl AddressOf {
    /// Whose it is.
    pub fn describe(self) -> &'static str {
        match self {
            AddressOf::Server => "the address by which the server is reached",
            AddressOf::Client => "the address from which the server is reached",
            AddressOf::SwarmManager => "the address of a manager of its Swarm",
        }
    }
}

impl OwnAddress {
    /// A loopback address is of no interest: it is the same on every machine.
    pub fn new(address: IpAddr, of: AddressOf) -> Option<Self> {
        let address = address.to_canonical();
        (!address.is_loopback() && !address.is_unspecified()).then_some(Self { address, of })
    }
}

impl EngineInfo {
    /// Whether it does what came with that version of the API.
    pub fn knows(&self, feature: ApiVersion) -> bool {
        self.api_version.or_else(|| self.api_of_release()).is_some_and(|version| version >= feature)
    }

    /// By its own version, the oldest that there is of each.
    fn api_of_release(&self) -> Option<ApiVersion> {
        let minor = match self.version.split('.').next()?.parse::<u32>().ok()? {
            0..=18 => return None,
            19 => 40,
            20..=22 => 41,
            23 => 42,
            24 => 43,
            25 => 44,
            26 => 45,
            27 => 46,
            28 => 48,
            _ => 52,
        };
        Some(ApiVersion { major: 1, minor })
    }
}

/// A version of the Docker Engine API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiVersion {
    pub major: u16,
    pub minor: u16,
}

impl ApiVersion {
    /// A container is started, or connected while it runs, only where the network exists that it was made on, whether it is on that one or not
    /// (Docker 25, for the MAC address of a container became that of its endpoint there).
    pub const NEEDS_FIRST_NETWORK: Self = Self { major: 1, minor: 44 };
    /// Networks of IPv6 get their addresses from a pool that the engine has of itself (Docker 27).
    pub const IPV6_POOLS: Self = Self { major: 1, minor: 46 };
    /// `GwPriority` of an endpoint, and networks without IPv4 (Docker 28).
    pub const GATEWAY_PRIORITY: Self = Self { major: 1, minor: 48 };
    pub const WITHOUT_IPV4: Self = Self { major: 1, minor: 48 };
    /// A static address on a network that took its subnet from a pool (Docker 29).
    pub const STATIC_IN_POOL: Self = Self { major: 1, minor: 52 };
    /// A MAC address that is asked for on connecting (Docker 29).
    pub const MAC_ADDRESS: Self = Self { major: 1, minor: 54 };

    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl TryFrom<String> for ApiVersion {
    type Error = InvalidVersion;

    fn try_from(text: String) -> Result<Self, InvalidVersion> {
        Self::parse(&text).ok_or(InvalidVersion(text))
    }
}

impl From<ApiVersion> for String {
    fn from(version: ApiVersion) -> Self {
        version.to_string()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version of the Docker Engine API")]
pub struct InvalidVersion(pub String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddressPool {
    /// CIDR.
    pub base: String,
    /// Prefix length of the networks cut from it.
    pub size: i64,
}

/// The engine's part in a Swarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum SwarmState {
    Inactive,
    Manager {
        node_id: String,
        cluster_id: String,
        /// Nodes that the Swarm has, whatever their state.
        #[serde(default)]
        nodes: Option<u64>,
        /// Node ids of the managers, its own among them.
        #[serde(default)]
        managers: BTreeSet<String>,
    },
    Worker {
        node_id: String,
        manager_addresses: Vec<String>,
        /// Node ids of the managers.
        #[serde(default)]
        managers: BTreeSet<String>,
    },
    Pending,
    Locked,
    Error {
        message: String,
        /// It is a manager, and so few of them are left that none of them can say anything of the Swarm.
        #[serde(default)]
        manager: bool,
    },
}

/// Full id of a network: 64 hexadecimal digits, or 25 lower-case letters and digits for one of a Swarm.
///
/// Checked on construction: ids go into URL paths, which the client library does not escape.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkId(Arc<str>);

/// Full id of a container: 64 hexadecimal digits. Checked on construction, as [`NetworkId`] is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(Arc<str>);

/// Full id of a Swarm service: 25 lower-case letters and digits. Checked on construction, as [`NetworkId`] is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceId(Arc<str>);

/// An id that is not of the form the engine gives out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a full id of the Docker Engine")]
pub struct InvalidId(pub String);

fn is_hex64(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_swarm_id(text: &str) -> bool {
    text.len() == 25 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
}

impl TryFrom<String> for NetworkId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        if is_hex64(&text) || is_swarm_id(&text) { Ok(Self(text.into())) } else { Err(InvalidId(text)) }
    }
}

impl TryFrom<String> for ContainerId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        if is_hex64(&text) { Ok(Self(text.into())) } else { Err(InvalidId(text)) }
    }
}

impl TryFrom<String> for ServiceId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        if is_swarm_id(&text) { Ok(Self(text.into())) } else { Err(InvalidId(text)) }
    }
}

impl NetworkId {
    /// Given out by a Swarm, and not by one daemon for itself.
    pub fn is_of_swarm(&self) -> bool {
        is_swarm_id(&self.0)
    }
}

macro_rules! id_text {
    ($name:ident) => {
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first twelve characters, as the docker CLI shows it.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
id_text!(NetworkId);
id_text!(ContainerId);
id_text!(ServiceId);

/// From `GET /networks`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedNetwork {
    pub id: NetworkId,
    /// Not unique.
    pub name: String,
    pub driver: String,
    pub scope: NetworkScope,
    pub internal: bool,
    pub attachable: bool,
    /// The routing mesh of a Swarm.
    pub ingress: bool,
    #[serde(default = "yes")]
    pub ipv4: bool,
    pub ipv6: bool,
    pub subnets: Vec<ObservedSubnet>,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// RFC 3339 time of creation as the daemon gives it.
    pub created: String,
}

fn yes() -> bool {
    true
}

impl ObservedNetwork {
    /// A Swarm's manager answers before it has given a new network its driver, options and subnets. Until then the network shows none of
    /// them, whatever it was asked to have.
    pub fn is_unallocated(&self) -> bool {
        self.scope == NetworkScope::Swarm && self.driver.is_empty()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkScope {
    Local,
    Swarm,
    Global,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedSubnet {
    /// CIDR, as the daemon writes it.
    pub subnet: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<String>,
    /// Addresses that the daemon gives to no container, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aux_addresses: BTreeMap<String, String>,
}

/// Seconds that a container without a health check has to run without a restart before it counts as serving in the place of another.
pub const STABLE: u32 = 5;

/// From `GET /containers/json?all=1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedContainer {
    pub id: ContainerId,
    /// Without the leading slash.
    pub name: String,
    pub image: String,
    pub state: ContainerState,
    /// How it ended; `None` while it runs and where the daemon does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// What its health check says; `None` where it has none, and while it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// For how many seconds it has run since it was last started. `None` where it does not run, where that is a minute ago or longer, and where
    /// the daemon does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<u32>,
    /// How often the daemon has restarted it by itself; from container inspect.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u64,
    pub labels: BTreeMap<String, String>,
    /// `HostConfig.NetworkMode`: `host`, `none` and `container:…` cannot be connected to a network.
    pub network_mode: String,
    /// Ports of the server that it has while it runs; from the list of containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<HostPort>,
    /// One per network, in the order of the networks' names.
    pub endpoints: Vec<ObservedEndpoint>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What a container's health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Starting,
    Healthy,
    Unhealthy,
}

impl Health {
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Starting => "starting",
            Health::Healthy => "healthy",
            Health::Unhealthy => "unhealthy",
        }
    }
}

/// How a container ended, or why it could not start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub code: i64,
    /// What the daemon says of a start that failed; from container inspect, and empty without.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom_killed: bool,
}

impl Exit {
    /// Its network or its attachment to one was missing, as far as the daemon lets on. It says so where a start failed; where the machine
    /// went down there are only the codes 128 and 255, which programs that fail by themselves and the kernel's memory killer do not use.
    pub fn is_for_want_of_a_network(&self) -> bool {
        let error = self.error.to_lowercase();
        if error.is_empty() {
            return !self.oom_killed && matches!(self.code, 128 | 255);
        }
        let network = error.contains("network");
        network && ["not found", "no such network", "could not find"].iter().any(|words| error.contains(words))
    }
}

impl ObservedContainer {
    /// Takes over how it is from an inspection that is later than the list.
    pub fn take_state(&mut self, later: ObservedContainer) {
        // Only the list tells for how long it has run: of one that was started since, that it is a moment.
        self.up = match (self.state, later.state) {
            (ContainerState::Running, ContainerState::Running) => self.up,
            (_, ContainerState::Running) => Some(0),
            _ => None,
        };
        self.restarts = later.restarts;
        self.state = later.state;
        self.exit = later.exit;
        self.health = later.health;
    }

    /// It runs, and its health check, if it has one, has passed.
    pub fn is_serving(&self) -> bool {
        self.state == ContainerState::Running
            && matches!(self.health, None | Some(Health::Healthy))
            && !self.is_restarting()
    }

    /// It serves, and has done so for long enough to take the place of another: one that ends as soon as it is started runs for a moment as well.
    pub fn has_settled(&self) -> bool {
        self.is_serving() && self.settles_in().is_none()
    }

    /// For how many seconds it has to go on running before it counts as settled. `None`: it has run for long enough, its health check has passed,
    /// or it does not run.
    pub fn settles_in(&self) -> Option<u32> {
        let runs = self.state == ContainerState::Running && self.health != Some(Health::Healthy);
        let up = self.up.filter(|_| runs)?;
        STABLE.checked_sub(up).filter(|left| *left > 0)
    }

    /// It ends again and again, and the daemon starts it again: it is between two starts, or has just been started for another time.
    pub fn is_restarting(&self) -> bool {
        self.state == ContainerState::Restarting || (self.restarts > 0 && self.settles_in().is_some())
    }

    /// The entry was left behind by a connect that failed while the container ran: the container is not on the network, and the entry
    /// stands in the way of its next start.
    pub fn is_leftover(&self, endpoint: &ObservedEndpoint) -> bool {
        endpoint.network_id.is_none() && self.state.is_live()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

impl ContainerState {
    pub fn as_str(self) -> &'static str {
        match self {
            ContainerState::Created => "created",
            ContainerState::Running => "running",
            ContainerState::Paused => "paused",
            ContainerState::Restarting => "restarting",
            ContainerState::Removing => "removing",
            ContainerState::Exited => "exited",
            ContainerState::Dead => "dead",
        }
    }

    /// Its endpoints exist in the kernel and packets flow.
    pub fn is_live(self) -> bool {
        matches!(self, ContainerState::Running | ContainerState::Paused | ContainerState::Restarting)
    }
}

/// A container's attachment to one network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedEndpoint {
    /// The name under which the container knows the network.
    pub network_name: String,
    /// `None` where the container was created by the network's name and never started: which one has the name is decided at its start.
    /// The id of a network that no longer exists where the container is pinned to a removed one.
    pub network_id: Option<NetworkId>,
    /// Empty while the container is not running. An endpoint's settings cannot change without a new endpoint id.
    pub endpoint_id: String,
    /// Addresses in use at present; empty while the container is not running.
    pub ipv4_address: String,
    pub ipv6_address: String,
    /// Which endpoint gives the default route; engines before API 1.48 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw_priority: Option<i64>,
    /// From container inspect. `None` where the container was not inspected.
    pub settings: Option<EndpointSettings>,
}

/// What an endpoint was connected with, and what has to be passed again when it is reconnected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSettings {
    pub aliases: Vec<String>,
    /// Links to other containers (`--link`), as `container:alias`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// Static IPv4 address; `None` where the daemon chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4_address: Option<String>,
    /// Static IPv6 address; `None` where the daemon chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_address: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link_local_ips: Vec<String>,
    /// MAC address; `None` where there is none at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// Which endpoint gives the default route; engines before API 1.48 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw_priority: Option<i64>,
}

/// From `GET /services`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedService {
    pub id: ServiceId,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// What its tasks are put on, in the order of the definition.
    pub networks: Vec<ServiceNetwork>,
    /// `None` for a global service.
    pub replicas: Option<u64>,
    /// `None`: no rollout is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// When that rollout began, RFC 3339: what tells it from the one before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_started: Option<String>,
    /// `docker service rollback` has a definition to go back to.
    #[serde(default)]
    pub has_previous: bool,
    /// `None`: the engine does not count them, or the snapshot is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TaskCount>,
    /// What became of the latest task that failed or was rejected, where not as many run as should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// How many tasks an update replaces at once; 0: all.
    #[serde(default = "one")]
    pub parallelism: u64,
    /// It has no virtual address: its name stands for the addresses of its tasks.
    #[serde(default)]
    pub round_robin: bool,
    /// Ports that every node of the Swarm has for it. Those of single tasks are their containers'.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<HostPort>,
    /// How it is defined, where it carries the labels of a managed resource, or may be taken over by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Box<SeenService>>,
}

fn one() -> u64 {
    1
}

/// How far the Swarm is with giving the tasks of a service its latest definition, while it is not through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rollout {
    Updating,
    Paused,
    RollbackStarted,
    RollbackPaused,
}

impl Rollout {
    /// From `UpdateStatus.State`; `None` for what is over.
    pub fn of(state: &str) -> Option<Self> {
        match state {
            "updating" => Some(Self::Updating),
            "paused" => Some(Self::Paused),
            "rollback_started" => Some(Self::RollbackStarted),
            "rollback_paused" => Some(Self::RollbackPaused),
            _ => None,
        }
    }
}

/// From `ServiceStatus`, engines from API 1.41 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCount {
    pub desired: u64,
    pub running: u64,
}

impl ObservedService {
    /// Fewer tasks run than should.
    pub fn lacks_tasks(&self) -> bool {
        self.tasks.is_some_and(|tasks| tasks.running < tasks.desired)
    }

    /// The most tasks that it has at a time, those included that an update starts before it has let go of others.
    pub fn most_tasks(&self) -> u64 {
        let tasks = self.replicas.or(self.tasks.map(|tasks| tasks.desired)).unwrap_or_default();
        let more = if self.parallelism == 0 { tasks } else { self.parallelism.min(tasks) };
        tasks.saturating_add(more)
    }

    /// Whether its tasks are put on the network.
    pub fn is_on(&self, network: &ObservedNetwork) -> bool {
        self.attachment(network).is_some()
    }

    /// How its tasks are put on the network, if they are.
    pub fn attachment(&self, network: &ObservedNetwork) -> Option<&ServiceAttachment> {
        let on = self.networks.iter().find(|known| known.is(&network.id, &network.name));
        on.map(|known| &known.attachment)
    }
}

/// A network in the definition of a Swarm service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ServiceNetworkForm")]
pub struct ServiceNetwork {
    /// Id or name of the network.
    pub target: String,
    #[serde(flatten)]
    pub attachment: ServiceAttachment,
}

impl ServiceNetwork {
    pub fn is(&self, id: &NetworkId, name: &str) -> bool {
        self.target == id.as_str() || self.target == name
    }
}

/// How the tasks of a service are put on a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAttachment {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
}

/// Snapshots of format 1.0 that are older than `aliases` and `driver_opts` have a bare string.
#[derive(Deserialize)]
#[serde(untagged)]
enum ServiceNetworkForm {
    Target(String),
    Full {
        target: String,
        #[serde(flatten)]
        attachment: ServiceAttachment,
    },
}

impl From<ServiceNetworkForm> for ServiceNetwork {
    fn from(form: ServiceNetworkForm) -> Self {
        match form {
            ServiceNetworkForm::Target(target) => Self { target, attachment: ServiceAttachment::default() },
            ServiceNetworkForm::Full { target, attachment } => Self { target, attachment },
        }
    }
}

/// From `GET /nodes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedNode {
    pub id: String,
    /// Host name.
    pub name: String,
    pub availability: NodeAvailability,
    /// The managers hear of it.
    pub up: bool,
    /// By which the managers know it, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

/// Whether the Swarm gives a node anything to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeAvailability {
    Active,
    Pause,
    Drain,
}

/// From `GET /tasks`: a container that is on networks of the Swarm without being a task of a service, as the managers know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmAttachment {
    /// Id of the container.
    pub container: String,
    /// Id of the node.
    pub node: String,
    /// Ids of the networks.
    pub networks: Vec<String>,
}

/// From `GET /tasks/{id}`: what a Swarm counts for everyone who is on one of its networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedTask {
    /// Id of the node it is on.
    pub node: String,
    /// Id of the service that it is of.
    pub service: Option<String>,
    /// Id of the container that was attached by hand, if it is there for that.
    pub container: Option<String>,
    /// `running`, `shutdown`, …
    pub state: String,
    pub desired_state: String,
}

impl ObservedTask {
    /// The Swarm keeps it running.
    pub fn is_wanted(&self) -> bool {
        self.desired_state == "running" && self.state == "running"
    }
}

/// A network or container event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEvent {
    /// Nanoseconds since the epoch, by the daemon's clock.
    pub time_nanos: i64,
    /// `network` or `container`.
    pub object_type: String,
    /// `connect`, `disconnect`, `create`, `destroy`, `die`, …
    pub action: String,
    /// Id of the network or the container.
    pub id: String,
    /// Name of the network or the container.
    pub name: String,
    /// For a network event, the container it concerns.
    pub container: Option<String>,
}
