//! What Landfall runs: the containers of managed resources as values, from what a manifest declares to what a daemon is asked for, and the
//! comparison of that with what a daemon has.
//!
//! Values only. [`Secret`] is the one type that holds something which must never be shown.

pub mod compare;
pub mod database;
pub mod identity;
pub mod routes;
pub mod secret;
pub mod seen;
pub mod service;
pub mod stack;
pub mod stack_file;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::core::api::{ObjectKey, PullPolicy, RestartPolicy};
pub use secret::{Secret, SecretSource};

/// The network of a container that needs none.
pub const NOWHERE: &str = "none";

/// What a managed resource runs on one of its destinations.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Reference of the image as declared: `name[:tag]` or `name@sha256:…`.
    pub image: String,
    pub pull_policy: PullPolicy,
    pub replicas: u32,
    pub container: ContainerTemplate,
    /// As declared; `None`: `<namespace>-<name>-<number>`.
    pub container_name: Option<String>,
    pub rollout: Rollout,
    pub pre_deploy: Option<Hook>,
    pub depends_on: Vec<ObjectKey>,
    /// Hosts and paths that the proxy routes to it.
    pub routes: Vec<routes::Route>,
    /// Port within the container that the proxy talks to.
    pub port: Option<u16>,
    /// Of a Database: how it is reached.
    pub database: Option<database::Connection>,
    /// It is the proxy of its server.
    pub is_proxy: bool,
}

/// How a new version takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    pub order: Order,
    /// Why the order is what it is, where `Auto` chose it.
    pub why: Option<String>,
    /// Seconds that a new container has to become healthy.
    pub health_timeout: u32,
    /// Seconds between the moment that the proxy lets go of the old container and its stop.
    pub drain: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    StartFirst,
    StopFirst,
}

/// A one-shot container before a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub command: Vec<String>,
    /// Seconds that it may take.
    pub timeout: u32,
}

/// Everything about a container but its name, its image, its labels and its networks. `None` and empty: as the image and the daemon have it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerTemplate {
    pub entrypoint: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    pub working_dir: Option<String>,
    pub user: Option<String>,
    pub hostname: Option<String>,
    pub init: Option<bool>,
    pub stop_signal: Option<String>,
    /// Seconds.
    pub stop_grace: Option<u32>,
    pub env: BTreeMap<String, Value>,
    pub files: BTreeMap<String, File>,
    pub ports: Vec<Port>,
    pub mounts: Vec<Mount>,
    pub tmpfs: Vec<String>,
    pub restart: Option<RestartPolicy>,
    pub resources: Resources,
    pub healthcheck: Option<Healthcheck>,
    pub read_only: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub extra_hosts: Vec<String>,
    /// The user's own.
    pub labels: BTreeMap<String, String>,
    pub logging: Option<Logging>,
}

/// A value of the manifest, or one that comes from elsewhere and is never shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Literal(String),
    Secret(Secret),
}

impl Value {
    pub fn is_secret(&self) -> bool {
        matches!(self, Value::Secret(_))
    }

    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Value::Literal(_) => None,
            Value::Secret(secret) => Some(secret),
        }
    }

    pub fn secret_mut(&mut self) -> Option<&mut Secret> {
        match self {
            Value::Literal(_) => None,
            Value::Secret(secret) => Some(secret),
        }
    }

    /// Why there is no value, where it could not be read.
    pub fn missing(&self) -> Option<&str> {
        match self {
            Value::Literal(_) => None,
            Value::Secret(secret) => secret.problem(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct File {
    pub content: Value,
    /// Permission bits.
    pub mode: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    pub host_port: Option<u16>,
    pub host_address: Option<String>,
}

/// A port of a server, as one binding has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostPort {
    /// `None`: on all addresses, of IPv4 and of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    pub number: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

impl HostPort {
    /// Whether the server can give only one of the two: an address that stands for all of its family includes each of them.
    pub fn collides_with(&self, other: &HostPort) -> bool {
        let addresses = match (self.address, other.address) {
            (Some(one), Some(other)) => {
                one.is_ipv4() == other.is_ipv4() && (one == other || one.is_unspecified() || other.is_unspecified())
            }
            (None, _) | (_, None) => true,
        };
        self.number == other.number && self.protocol == other.protocol && addresses
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostPort { address, number, protocol } = self;
        match address {
            Some(address) => write!(f, "{}/{protocol}", SocketAddr::new(*address, *number)),
            None => write!(f, "{number}/{protocol}"),
        }
    }
}

impl Port {
    /// The port of the server that it takes; `None` where the daemon chooses one.
    pub fn taken(&self) -> Option<HostPort> {
        Some(HostPort {
            address: self.host_address.as_ref().and_then(|address| address.parse().ok()),
            number: self.host_port?,
            protocol: self.protocol.clone(),
        })
    }

    /// As the engine names it: `80/tcp`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.container_port, self.protocol)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mount {
    /// Path within the container.
    pub target: String,
    pub source: MountSource,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MountSource {
    /// A Docker volume of that name.
    Volume(String),
    /// A path on the server.
    Path(String),
}

/// Limits. Zero: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Billionths of a processor.
    pub nano_cpus: i64,
    /// Bytes.
    pub memory: i64,
    pub pids: i64,
}

/// Seconds throughout; `None`: the engine's default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// As the engine takes it: `["CMD", …]`, `["CMD-SHELL", line]` or `["NONE"]`.
    pub test: Vec<String>,
    pub interval: Option<u32>,
    pub timeout: Option<u32>,
    pub retries: Option<u32>,
    pub start_period: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    pub driver: String,
    /// Written out without their values: drivers that send elsewhere take their tokens there.
    #[serde(serialize_with = "without_values")]
    pub options: BTreeMap<String, String>,
}

/// In the place of a value that is not written out.
pub const NOT_SHOWN: &str = "***";

fn without_values<S: serde::Serializer>(options: &BTreeMap<String, String>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(options.keys().map(|name| (name, NOT_SHOWN)))
}

impl Logging {
    /// Whether these options are those; what is not shown of them is taken for the same.
    pub fn same_options(&self, seen: &Self) -> bool {
        let same = |(name, value): (&String, &String)| {
            seen.options.get(name).is_some_and(|seen| seen == value || seen == NOT_SHOWN)
        };
        self.options.len() == seen.options.len() && self.options.iter().all(same)
    }
}

impl Workload {
    /// What the container of a replica is called. `apart`: the resource is on several destinations of the server.
    pub fn container_name(&self, resource: &ObjectKey, destination: &ObjectKey, apart: bool, replica: u32) -> String {
        if let Some(name) = &self.container_name {
            return name.clone();
        }
        let ObjectKey { namespace, name, .. } = resource;
        if self.database.is_some() {
            return format!("{namespace}-{name}");
        }
        if apart {
            format!("{namespace}-{name}-{}-{replica}", destination.name)
        } else {
            format!("{namespace}-{name}-{replica}")
        }
    }
}

impl ContainerTemplate {
    /// Every secret in it.
    pub fn secrets_mut(&mut self) -> impl Iterator<Item = &mut Secret> {
        let files = self.files.values_mut().map(|file| &mut file.content);
        self.env.values_mut().chain(files).filter_map(Value::secret_mut)
    }

    /// Every value, with where it is declared.
    pub fn values(&self) -> impl Iterator<Item = (String, &Value)> {
        let env = self.env.iter().map(|(name, value)| (format!("env {name}"), value));
        env.chain(self.files.iter().map(|(path, file)| (format!("file {path}"), &file.content)))
    }

    /// A volume or host directory that a container writes to.
    pub fn writable_mount(&self) -> Option<&Mount> {
        self.mounts.iter().find(|mount| !mount.read_only)
    }
}

/// The body of `POST /containers/create`, complete but for what the image says.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerCreate {
    pub name: String,
    pub image: String,
    /// All of them, Landfall's own included.
    pub labels: BTreeMap<String, String>,
    pub template: ContainerTemplate,
    /// Anonymous volumes of the container before it: `(name, path)`.
    pub inherited: Vec<(String, String)>,
    /// Wraps the health check, declared or the image's, so that Landfall can make it fail and the proxy lets go of the container.
    pub drainable: bool,
}

/// What the daemon changes on a running container. `None`: left as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerUpdate {
    pub restart: Option<RestartPolicy>,
    /// Billionths of a processor.
    pub nano_cpus: Option<i64>,
    /// Bytes; swap is not granted beyond it.
    pub memory: Option<i64>,
    /// Zero: no limit.
    pub pids: Option<i64>,
}
