//! The daemon's JSON of a container's configuration and of an image, as far as a managed resource is compared with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::budget::Part;
use super::wire::{InspectedContainer, Odd, decoded};
use crate::core::api::RestartPolicy;
use crate::core::workload::identity::Applied;
use crate::core::workload::secret::fingerprint;
use crate::core::workload::seen::{
    SeenConfig, SeenImage, SeenMount, SeenValue, StoredImage, StoredVolume, User, is_anonymous,
};
use crate::core::workload::{Healthcheck, Logging, Mount, MountSource, Port, Resources};
use crate::shell::engine::{ContainerDetail, WorkloadDetail};

/// Characters of a health check's output that are worth keeping.
const OUTPUT: usize = 2000;

fn or_default<'de, D: Deserializer<'de>, T: Part>(deserializer: D) -> Result<T, D::Error> {
    T::or_default(deserializer)
}

macro_rules! wire {
    ($($name:ident { $($key:literal $field:ident: $type:ty,)* })*) => { $(
        #[derive(Debug, Default, Deserialize)]
        #[serde(default)]
        pub(super) struct $name {
            $(#[serde(rename = $key, deserialize_with = "or_default")] $field: $type,)*
        }

        impl Part for $name {}
    )* };
}

wire! {
    Container {
        "Image" image: String,
        "RestartCount" restarts: u64,
        "State" state: State,
        "Config" config: Config,
        "HostConfig" host: HostConfig,
        "Mounts" mounts: Vec<MountPoint>,
    }
    ListedImage {
        "Id" id: String,
        "RepoTags" tags: Vec<String>,
        "RepoDigests" digests: Vec<String>,
        "Size" size: u64,
        "Created" created: i64,
    }
    ListedVolumes { "Volumes" volumes: Vec<ListedVolume>, }
    ListedVolume {
        "Name" name: String,
        "Driver" driver: String,
        "Labels" labels: BTreeMap<String, String>,
        "CreatedAt" created: String,
    }
    ListedContainer { "Id" id: String, "ImageID" image_id: String, "Mounts" mounts: Vec<MountPoint>, }
    State { "Health" health: Health, "StartedAt" started: String, }
    Health { "Log" log: Vec<HealthLog>, }
    HealthLog { "Output" output: String, }
    Config {
        "Env" env: Vec<String>,
        "Cmd" command: Vec<String>,
        "Entrypoint" entrypoint: Vec<String>,
        "WorkingDir" working_dir: String,
        "User" user: String,
        "Hostname" hostname: String,
        "StopSignal" stop_signal: String,
        "StopTimeout" stop_grace: Option<u32>,
        "Healthcheck" healthcheck: Option<HealthConfig>,
        "Labels" labels: BTreeMap<String, String>,
        "Volumes" volumes: BTreeMap<String, serde_json::Value>,
        "ExposedPorts" exposed: BTreeMap<String, serde_json::Value>,
    }
    HealthConfig {
        "Test" test: Vec<String>,
        "Interval" interval: u64,
        "Timeout" timeout: u64,
        "StartPeriod" start_period: u64,
        "Retries" retries: u64,
    }
    HostConfig {
        "PortBindings" ports: BTreeMap<String, Option<Vec<Binding>>>,
        "RestartPolicy" restart: Restart,
        "NanoCpus" nano_cpus: i64,
        "Memory" memory: i64,
        "PidsLimit" pids: i64,
        "ReadonlyRootfs" read_only: bool,
        "Init" init: Option<bool>,
        "CapAdd" cap_add: Vec<String>,
        "CapDrop" cap_drop: Vec<String>,
        "ExtraHosts" extra_hosts: Vec<String>,
        "Tmpfs" tmpfs: BTreeMap<String, String>,
        "LogConfig" logging: LogConfig,
    }
    Binding { "HostIp" address: String, "HostPort" port: String, }
    Restart { "Name" name: String, }
    LogConfig { "Type" driver: String, "Config" options: BTreeMap<String, String>, }
    MountPoint {
        "Type" kind: String,
        "Name" name: String,
        "Source" source: String,
        "Destination" target: String,
        "RW" writable: bool,
    }
    Image { "Id" id: String, "RepoDigests" digests: Vec<String>, "Config" config: Config, }
}

impl From<ListedImage> for StoredImage {
    fn from(image: ListedImage) -> Self {
        let ListedImage { id, mut tags, mut digests, size, created } = image;
        // What has no name is listed under one that means none.
        tags.retain(|tag| !tag.contains("<none>"));
        digests.retain(|digest| !digest.contains("<none>"));
        Self { id, tags, digests, size, created }
    }
}

impl From<ListedVolumes> for Vec<StoredVolume> {
    fn from(list: ListedVolumes) -> Self {
        list.volumes
            .into_iter()
            .map(|ListedVolume { name, driver, labels, created }| StoredVolume { name, driver, labels, created })
            .collect()
    }
}

impl From<ListedContainer> for User {
    fn from(container: ListedContainer) -> Self {
        let ListedContainer { id, image_id, mounts } = container;
        let volumes = mounts.into_iter().filter(|mount| mount.kind == "volume").map(|mount| mount.name).collect();
        Self { id, image_id, volumes }
    }
}

/// One container with its configuration.
pub(super) fn workload(bytes: &[u8]) -> Result<WorkloadDetail, Odd> {
    let odd = |error: serde_json::Error| Odd(error.to_string());
    let inspected: InspectedContainer = decoded(bytes).map_err(odd)?;
    let ContainerDetail { container, .. } = inspected.try_into()?;
    let seen: Container = decoded(bytes).map_err(odd)?;
    let output = seen.state.health.log.last().map(|log| log.output.trim().chars().take(OUTPUT).collect::<String>());
    let exposed = seen.config.exposed.keys().cloned().collect();
    let config = config(seen, container.id.as_str());
    Ok(WorkloadDetail { container, config, health_output: output.filter(|output| !output.is_empty()), exposed })
}

fn config(seen: Container, id: &str) -> SeenConfig {
    let Container { image, restarts, state, config, host, mounts } = seen;
    let applied = Applied::read(&config.labels);
    SeenConfig {
        image_id: image,
        entrypoint: config.entrypoint,
        command: config.command,
        working_dir: config.working_dir,
        user: config.user,
        hostname: config.hostname,
        init: host.init,
        stop_signal: config.stop_signal,
        stop_grace: config.stop_grace,
        env: config
            .env
            .iter()
            .map(|line| {
                let (name, value) = line.split_once('=').unwrap_or((line, ""));
                let literal = applied.env.contains(name).then(|| value.to_owned());
                (name.to_owned(), SeenValue { fingerprint: Some(fingerprint(value, id)), literal })
            })
            .collect(),
        ports: ports(host.ports),
        mounts: mounts.into_iter().filter_map(mount).collect(),
        tmpfs: host.tmpfs.into_keys().collect(),
        restart: restart(&host.restart.name),
        resources: Resources { nano_cpus: host.nano_cpus, memory: host.memory, pids: host.pids.max(0) },
        healthcheck: config.healthcheck.map(Healthcheck::from),
        read_only: host.read_only,
        cap_add: host.cap_add,
        cap_drop: host.cap_drop,
        extra_hosts: host.extra_hosts,
        logging: (!host.logging.driver.is_empty())
            .then_some(Logging { driver: host.logging.driver, options: host.logging.options }),
        restarts,
        started: state.started,
    }
}

fn ports(bindings: BTreeMap<String, Option<Vec<Binding>>>) -> Vec<Port> {
    let mut ports = Vec::new();
    for (key, bindings) in bindings {
        let (port, protocol) = key.split_once('/').unwrap_or((&key, "tcp"));
        let Ok(container_port) = port.parse() else { continue };
        ports.extend(bindings.unwrap_or_default().into_iter().map(|binding| Port {
            container_port,
            protocol: protocol.to_owned(),
            host_port: binding.port.parse().ok().filter(|port| *port != 0),
            host_address: Some(binding.address).filter(|address| !address.is_empty()),
        }));
    }
    ports
}

fn mount(point: MountPoint) -> Option<SeenMount> {
    let MountPoint { kind, name, source, target, writable } = point;
    let source = if kind == "volume" { name } else { source };
    SeenMountPoint { kind: &kind, source, target, writable }.seen()
}

/// A mount, of a container or in the definition of a service.
pub(super) struct SeenMountPoint<'a> {
    pub(super) kind: &'a str,
    /// Name of the volume, or a path.
    pub(super) source: String,
    pub(super) target: String,
    pub(super) writable: bool,
}

impl SeenMountPoint<'_> {
    pub(super) fn seen(self) -> Option<SeenMount> {
        let Self { kind, source, target, writable } = self;
        let is_id = is_anonymous(&source);
        let (source, anonymous) = match kind {
            // In a definition, one without a name is made for each task.
            "volume" => (MountSource::Volume(source.clone()), is_id || source.is_empty()),
            "bind" => (MountSource::Path(source), false),
            _ => return None,
        };
        Some(SeenMount { mount: Mount { target, source, read_only: !writable }, anonymous })
    }
}

fn restart(name: &str) -> Option<RestartPolicy> {
    Some(match name {
        "always" => RestartPolicy::Always,
        "on-failure" => RestartPolicy::OnFailure,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "" | "no" => RestartPolicy::No,
        _ => return None,
    })
}

impl From<HealthConfig> for Healthcheck {
    fn from(check: HealthConfig) -> Self {
        let seconds = |nanos: u64| u32::try_from(nanos / 1_000_000_000).ok().filter(|seconds| *seconds > 0);
        Self {
            test: check.test,
            interval: seconds(check.interval),
            timeout: seconds(check.timeout),
            retries: u32::try_from(check.retries).ok().filter(|retries| *retries > 0),
            start_period: seconds(check.start_period),
        }
    }
}

impl From<Image> for SeenImage {
    fn from(image: Image) -> Self {
        let Image { id, digests, config } = image;
        let env = config.env.iter().filter_map(|line| line.split_once('='));
        Self {
            id,
            digests,
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            entrypoint: config.entrypoint,
            command: config.command,
            working_dir: config.working_dir,
            user: config.user,
            stop_signal: config.stop_signal,
            healthcheck: config.healthcheck.map(Healthcheck::from),
            labels: config.labels,
            volumes: config.volumes.into_keys().collect(),
            exposed: config.exposed.into_keys().collect(),
        }
    }
}
