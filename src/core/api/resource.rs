//! `kind: Application`, `Database` and `Service`: what lives on a destination.
//!
//! A resource is *adopted*, its containers run by something else and found by `containers`, or *managed*, run by Landfall.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::meta::{
    DOCKER_NAME_PATTERN, HOST_NAME_PATTERN, MAC_PATTERN, ObjectRef, PROJECT_PATTERN, PROTOCOL_PATTERN, VARIABLE_PATTERN,
};
use super::workload::{
    BackupSpec, FileSpec, HooksSpec, LoggingSpec, ResourcesSpec, RolloutSpec, SopsSource, ValueFrom,
};

/// Finds the containers of an adopted resource. Every criterion given must hold; `names` and `swarmServices` hold when any entry does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerSelector {
    /// Container names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = DOCKER_NAME_PATTERN)))]
    pub names: Vec<String>,
    /// Container labels that must all be there with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Project of Docker Compose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub compose_project: Option<String>,
    /// Service within the project of Docker Compose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub compose_service: Option<String>,
    /// Names of Swarm services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = DOCKER_NAME_PATTERN)))]
    pub swarm_services: Vec<String>,
}

/// How the containers appear on the destination's network. Kept across every reconnect.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointSpec {
    /// Further DNS names on this network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(
        length(min = 1, max = 253),
        regex(pattern = HOST_NAME_PATTERN)
    ))]
    pub aliases: Vec<String>,
    /// Static IPv4 address. The network needs a declared subnet.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "ipv4Address")]
    #[schemars(example = &"10.42.0.10")]
    pub ipv4_address: Option<String>,
    /// Static IPv6 address. The network needs a declared IPv6 subnet.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "ipv6Address")]
    pub ipv6_address: Option<String>,
    /// MAC address. Needs a daemon that takes one on connecting, API 1.54 (Docker 29).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = MAC_PATTERN), example = &"02:42:0a:2a:00:0a")]
    pub mac_address: Option<String>,
    /// The network with the highest number gives the container its default route. Needs Docker 28. Absent: a network that Landfall connects the
    /// container to does not change the default route, as far as the daemon can be told so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -2147483648, max = 2147483647))]
    pub gw_priority: Option<i64>,
    /// Options of the network driver for this endpoint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
}

/// What an application is for, beside its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApplicationRole {
    /// The proxy of its server.
    Proxy,
}

/// When to pull an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

/// When the daemon restarts a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    No,
    Always,
    OnFailure,
    UnlessStopped,
}

/// One environment variable: a literal `value`, or `valueFrom` elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvVar {
    /// Name of the variable.
    #[schemars(regex(pattern = VARIABLE_PATTERN))]
    pub name: String,
    /// The value, written out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-secret" = true))]
    pub value: Option<String>,
    /// Where the value is read from when Landfall runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortSpec {
    /// Port within the container.
    #[schemars(range(min = 1, max = 65535))]
    pub container_port: u32,
    /// Port on the server. Absent: an arbitrary one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub host_port: Option<u32>,
    /// Address on the server. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_address: Option<String>,
    /// `tcp`, `udp` or `sctp`.
    #[serde(default = "tcp")]
    #[schemars(regex(pattern = PROTOCOL_PATTERN))]
    #[schemars(extend("default" = "tcp"))]
    pub protocol: String,
}

fn tcp() -> String {
    "tcp".to_owned()
}

/// A volume or a host directory, mounted into the container: one of `volume` and `hostPath`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSpec {
    /// Name of a Docker volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Directory or file on the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// Where it appears in the container.
    pub mount_path: String,
    /// Not writable from the container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub read_only: bool,
}

/// How the daemon finds out whether a container is healthy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthcheckSpec {
    /// Command and arguments run within the container; exit code 0 is healthy. `[NONE]`: none, not even that of the image.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// Seconds between two checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub interval_seconds: Option<u32>,
    /// Seconds after which a check counts as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub timeout_seconds: Option<u32>,
    /// Failures in a row after which the container is unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub retries: Option<u32>,
    /// Seconds after the start in which failures do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period_seconds: Option<u32>,
}

/// An application on a destination, and optionally on further ones.
// What few of them have is boxed: there may be a hundred thousand, most of them adopted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationSpec {
    /// The destination it is deployed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<ObjectRef>,
    /// In place of `destination`: the server whose `defaultDestination` it is deployed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ObjectRef>,
    /// Further destinations, on the same server or on others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_destinations: Vec<ObjectRef>,
    /// Adopted: finds the containers, which something else runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<ContainerSelector>,
    /// How the containers appear on the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointSpec>,
    /// Start a container again that exited because its network or attachment was missing, once that is repaired.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub start_after_repair: bool,
    /// Managed: `Proxy` makes it the proxy of its server, Traefik or Caddy, on the networks of all active destinations that ask for one. Image,
    /// command, ports 80 and 443, a volume for certificates and the Docker socket (read-only) are then set where they are not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<ApplicationRole>,
    /// Managed: the image to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub image: Option<String>,
    /// When to pull the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// Command and arguments in place of the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Entry point in place of the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Directory that the command runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// User, and optionally group, that the command runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Host name within the containers. Default: the container's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = HOST_NAME_PATTERN))]
    pub hostname: Option<String>,
    /// Runs an init process that forwards signals and reaps processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// Signal that asks the container to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(SIG)?[A-Z0-9+]+$"), example = &"SIGQUIT")]
    pub stop_signal: Option<String>,
    /// Seconds between that signal and being killed. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 3600))]
    pub stop_grace_period_seconds: Option<u32>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Files within the containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileSpec>,
    /// Ports published on the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortSpec>,
    /// Volumes and host directories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeSpec>,
    /// When the daemon restarts the containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartPolicy>,
    /// How health is found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Box<HealthcheckSpec>>,
    /// How many containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000))]
    pub replicas: Option<u32>,
    /// Limits of each container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Box<ResourcesSpec>>,
    /// The root file system is not writable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub read_only_root_filesystem: bool,
    /// Paths of temporary file systems in memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<String>,
    /// Linux capabilities to add.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = "^[A-Z_]+$")))]
    pub cap_add: Vec<String>,
    /// Linux capabilities to drop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = "^[A-Z_]+$")))]
    pub cap_drop: Vec<String>,
    /// Further entries of `/etc/hosts`: `name:address`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = "^[A-Za-z0-9_.-]+:.+$")))]
    pub extra_hosts: Vec<String>,
    /// Labels of the containers. Those of a domain are Landfall's unless they are given here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where the daemon sends what the containers write. Default: as the daemon is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Box<LoggingSpec>>,
    /// Host names, or URLs with a path, that the proxy routes to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub domains: Vec<String>,
    /// Port within the container that the proxy talks to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u32>,
    /// How a new version takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutSpec>,
    /// Jobs around a rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Box<HooksSpec>>,
    /// Resources that have to be available first: `Database/orders`, `Application/shop/frontend`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = super::meta::RESOURCE_REFERENCE_PATTERN)))]
    pub depends_on: Vec<String>,
    /// Name of the container. Default: `<namespace>-<name>-<number>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 128), regex(pattern = DOCKER_NAME_PATTERN))]
    pub container_name: Option<String>,
    /// Copies of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Box<BackupSpec>>,
}

/// Database engines that Landfall knows how to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DatabaseEngine {
    PostgreSQL,
    MySQL,
    MariaDB,
    MongoDB,
    Redis,
    KeyDB,
    Dragonfly,
    ClickHouse,
}

impl DatabaseEngine {
    /// As in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PostgreSQL => "PostgreSQL",
            Self::MySQL => "MySQL",
            Self::MariaDB => "MariaDB",
            Self::MongoDB => "MongoDB",
            Self::Redis => "Redis",
            Self::KeyDB => "KeyDB",
            Self::Dragonfly => "Dragonfly",
            Self::ClickHouse => "ClickHouse",
        }
    }
}

/// Where a database keeps its data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StorageSpec {
    /// Name of the Docker volume.
    #[schemars(length(min = 2, max = 128), regex(pattern = DOCKER_NAME_PATTERN))]
    pub volume: String,
}

/// Credentials of a database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CredentialsSpec {
    /// User name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Name of the first database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The password; never written in the manifest itself.
    pub password: PasswordSpec,
}

/// Where a password comes from: exactly one of `env`, `file` and `sops`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PasswordSpec {
    /// Environment variable of the Landfall process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// File, relative to the manifest: with `--git` one of the commit, else of the machine that Landfall runs on, as is any absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Key of a file that is encrypted with SOPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sops: Option<SopsSource>,
    /// With `file`: `apply` and `run` write a random password there once, readable by their user only, where the file does not exist.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub generate: bool,
}

/// A database on a destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseSpec {
    /// The destination it is deployed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<ObjectRef>,
    /// In place of `destination`: the server whose `defaultDestination` it is deployed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ObjectRef>,
    /// Further destinations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_destinations: Vec<ObjectRef>,
    /// Adopted: finds the containers, which something else runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<ContainerSelector>,
    /// How the containers appear on the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointSpec>,
    /// Start a container again that exited because its network or attachment was missing, once that is repaired.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub start_after_repair: bool,
    /// Managed: the engine to run. On an adopted database it is information only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<DatabaseEngine>,
    /// Managed: version of the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub version: Option<String>,
    /// Managed: where the data is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageSpec>,
    /// Managed: user, database and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsSpec>,
    /// Managed: the image, in place of the one that the engine and its version stand for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub image: Option<String>,
    /// Managed: limits of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesSpec>,
    /// Managed: port on the server at which the database is published. Absent: it is reached on its destination only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub host_port: Option<u32>,
    /// Managed: further arguments of the server process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Managed: a configuration file of the engine, written out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Managed: seconds between the signal to end and being killed. Default: 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 3600))]
    pub stop_grace_period_seconds: Option<u32>,
    /// Copies of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupSpec>,
}

/// A stack of Docker Compose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComposeSpec {
    /// Name of the project.
    #[schemars(regex(pattern = PROJECT_PATTERN))]
    pub project: String,
    /// Managed: the compose file, relative to the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Managed: a file of variables for the compose file, relative to the manifest. Absent: `.env` beside the compose file, as with Compose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_file: Option<String>,
    /// Managed: containers of the project that something else has brought up are made anew as Landfall's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub take_ownership: bool,
    /// Managed: seconds that the services have to become healthy. Default: 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub health_timeout_seconds: Option<u32>,
}

/// A service stack. It keeps to its own isolated network unless `connectToDestination` is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// The destination it is deployed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<ObjectRef>,
    /// In place of `destination`: the server whose `defaultDestination` it is deployed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ObjectRef>,
    /// Further destinations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_destinations: Vec<ObjectRef>,
    /// Adopted: finds the containers, which something else runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<ContainerSelector>,
    /// How the containers appear on the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointSpec>,
    /// Start a container again that exited because its network or attachment was missing, once that is repaired.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub start_after_repair: bool,
    /// The compose stack: its project alone adopts a running one, a file makes it managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compose: Option<ComposeSpec>,
    /// Also join the stack's containers to the destination (Coolify: "Connect to Predefined Network").
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub connect_to_destination: bool,
    /// Managed: host names, or URLs with a path, that the proxy routes to a service of the stack, by the service's name. The proxy is connected to
    /// the stack's own network for that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub domains: BTreeMap<String, Vec<String>>,
    /// Managed: port within the containers of a service that the proxy talks to, by the service's name. Absent: the only one that it exposes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub target_ports: BTreeMap<String, u32>,
    /// Copies of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupSpec>,
}

impl ApplicationSpec {
    /// An application that something else runs, with nothing else said.
    pub fn adopted(destination: ObjectRef, containers: ContainerSelector) -> Self {
        Self {
            destination: Some(destination),
            server: None,
            additional_destinations: Vec::new(),
            containers: Some(containers),
            endpoint: None,
            start_after_repair: false,
            role: None,
            image: None,
            pull_policy: None,
            command: Vec::new(),
            entrypoint: Vec::new(),
            working_dir: None,
            user: None,
            hostname: None,
            init: None,
            stop_signal: None,
            stop_grace_period_seconds: None,
            env: Vec::new(),
            files: Vec::new(),
            ports: Vec::new(),
            volumes: Vec::new(),
            restart: None,
            healthcheck: None,
            replicas: None,
            resources: None,
            read_only_root_filesystem: false,
            tmpfs: Vec::new(),
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            extra_hosts: Vec::new(),
            labels: BTreeMap::new(),
            logging: None,
            domains: Vec::new(),
            port: None,
            rollout: None,
            hooks: None,
            depends_on: Vec::new(),
            container_name: None,
            backup: None,
        }
    }
}

impl DatabaseSpec {
    /// A database that something else runs, with nothing else said.
    pub fn adopted(destination: ObjectRef, containers: ContainerSelector) -> Self {
        Self {
            destination: Some(destination),
            server: None,
            additional_destinations: Vec::new(),
            containers: Some(containers),
            endpoint: None,
            start_after_repair: false,
            engine: None,
            version: None,
            storage: None,
            credentials: None,
            image: None,
            resources: None,
            host_port: None,
            args: Vec::new(),
            config: None,
            stop_grace_period_seconds: None,
            backup: None,
        }
    }
}
