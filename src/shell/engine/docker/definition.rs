//! The definition of a Swarm service that Landfall runs: what a manager's JSON says of it, and how it is written.
//!
//! Written into what there is: fields that are not Landfall's stay as they are found, also where they are not known here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json, json};

use super::budget::Part;
use super::classify::Failure;
use super::seen::{HealthConfig, SeenMountPoint};
use super::workload::{health_body, variables};
use crate::core::api::RestartPolicy;
use crate::core::workload::compare::{given_by_others, is_own};
use crate::core::workload::identity::{Applied, OBJECT};
use crate::core::workload::secret::fingerprint;
use crate::core::workload::seen::{SeenConfig, SeenMount, SeenValue};
use crate::core::workload::service::{MONITOR, NODE, SecretFile, SeenService, ServiceCreate, bound_to};
use crate::core::workload::{Healthcheck, HostPort, Logging, MountSource, Order, Port, Resources};

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
    ContainerSpec {
        "Image" image: String,
        "Command" entrypoint: Vec<String>,
        "Args" command: Vec<String>,
        "Dir" working_dir: String,
        "User" user: String,
        "Hostname" hostname: String,
        "Init" init: Option<bool>,
        "StopSignal" stop_signal: String,
        "StopGracePeriod" stop_grace: Option<u64>,
        "Env" env: Vec<String>,
        "Mounts" mounts: Vec<Mount>,
        "Healthcheck" healthcheck: Option<HealthConfig>,
        "ReadOnly" read_only: bool,
        "CapabilityAdd" cap_add: Vec<String>,
        "CapabilityDrop" cap_drop: Vec<String>,
        "Hosts" hosts: Vec<String>,
        "Secrets" secrets: Vec<SecretReference>,
    }
    Mount { "Type" kind: String, "Source" source: String, "Target" target: String, "ReadOnly" read_only: bool, }
    SecretReference { "File" file: Option<SecretTarget>, "SecretName" name: String, }
    SecretTarget { "Name" path: String, "Mode" mode: u64, }
    TaskResources { "Limits" limits: Limits, }
    Limits { "NanoCPUs" nano_cpus: i64, "MemoryBytes" memory: i64, "Pids" pids: i64, }
    Restart { "Condition" condition: String, }
    Placement { "Constraints" constraints: Vec<String>, }
    LogDriver { "Name" name: String, "Options" options: BTreeMap<String, String>, }
    PublishedPort { "Protocol" protocol: String, "TargetPort" target: u64, "PublishedPort" published: u64, "PublishMode" mode: String, }
}

impl PublishedPort {
    /// `None`: the Swarm chooses it, or only the nodes with tasks have it.
    pub(super) fn of_all_nodes(&self) -> Option<HostPort> {
        let PublishedPort { protocol, published, mode, .. } = self;
        let number = u16::try_from(*published).ok().filter(|number| *number != 0 && mode != "host")?;
        Some(HostPort { address: None, number, protocol: protocol_or_tcp(protocol) })
    }
}

fn protocol_or_tcp(protocol: &str) -> String {
    if protocol.is_empty() { "tcp" } else { protocol }.to_owned()
}

/// What a definition says of the tasks.
pub(super) struct Told {
    pub(super) container: ContainerSpec,
    pub(super) resources: TaskResources,
    pub(super) restart: Restart,
    pub(super) placement: Placement,
    pub(super) logging: Option<LogDriver>,
    pub(super) ports: Vec<PublishedPort>,
}

impl Told {
    /// `id` is the service's: fingerprints of variables are keyed with it.
    pub(super) fn seen(self, id: &str, labels: &BTreeMap<String, String>) -> SeenService {
        let Told { container, resources, restart, placement, logging, ports } = self;
        let applied = Applied::read(labels);
        let (tmpfs, mounts): (Vec<Mount>, Vec<Mount>) = container.mounts.into_iter().partition(|it| it.kind == "tmpfs");
        let files = container.secrets.into_iter().filter_map(|reference| {
            let SecretTarget { path, mode } = reference.file?;
            // The daemon puts what has no path of its own there.
            let path = if path.starts_with('/') { path } else { format!("{SECRETS}/{path}") };
            Some((path, SecretFile { secret: reference.name, mode: u32::try_from(mode).ok()? }))
        });
        let limits = resources.limits;
        let config = SeenConfig {
            entrypoint: container.entrypoint,
            command: container.command,
            working_dir: container.working_dir,
            user: container.user,
            hostname: container.hostname,
            init: container.init,
            stop_signal: container.stop_signal,
            stop_grace: container.stop_grace.and_then(|nanos| u32::try_from(nanos / NANOS).ok()),
            env: container
                .env
                .iter()
                .map(|line| {
                    let (name, value) = line.split_once('=').unwrap_or((line, ""));
                    let literal = applied.env.contains(name).then(|| value.to_owned());
                    (name.to_owned(), SeenValue { fingerprint: Some(fingerprint(value, id)), literal })
                })
                .collect(),
            ports: ports.into_iter().filter_map(port).collect(),
            mounts: mounts
                .into_iter()
                .filter_map(|Mount { kind, source, target, read_only }| {
                    SeenMountPoint { kind: &kind, source, target, writable: !read_only }.seen()
                })
                .collect::<Vec<SeenMount>>(),
            tmpfs: tmpfs.into_iter().map(|mount| mount.target).collect(),
            restart: match restart.condition.as_str() {
                "none" => Some(RestartPolicy::No),
                "on-failure" => Some(RestartPolicy::OnFailure),
                _ => Some(RestartPolicy::UnlessStopped),
            },
            resources: Resources { nano_cpus: limits.nano_cpus, memory: limits.memory, pids: limits.pids },
            healthcheck: container.healthcheck.map(Healthcheck::from),
            read_only: container.read_only,
            cap_add: container.cap_add,
            cap_drop: container.cap_drop,
            extra_hosts: container.hosts.iter().map(|line| host(line)).collect(),
            logging: logging.map(|it| Logging { driver: it.name, options: it.options }),
            ..SeenConfig::default()
        };
        SeenService {
            config,
            image: container.image,
            files: files.collect(),
            constraints: placement.constraints,
            ..SeenService::default()
        }
    }
}

const SECRETS: &str = "/run/secrets";
const NANOS: u64 = 1_000_000_000;

fn port(port: PublishedPort) -> Option<Port> {
    let PublishedPort { protocol, target, published, mode: _ } = port;
    Some(Port {
        container_port: u16::try_from(target).ok()?,
        protocol: protocol_or_tcp(&protocol),
        host_port: u16::try_from(published).ok().filter(|port| *port != 0),
        host_address: None,
    })
}

/// `address name` as `name:address`.
fn host(line: &str) -> String {
    match line.split_once(char::is_whitespace) {
        Some((address, name)) => format!("{}:{address}", name.trim()),
        None => line.to_owned(),
    }
}

/// Where the definition refers to others by their ids.
pub(super) struct Ids<'a> {
    /// Of secrets, by their names.
    pub(super) secrets: &'a BTreeMap<String, String>,
}

/// Writes what is declared into a definition: the empty one, or the one that there is. What was declared before and no longer is goes, and
/// what nobody declared stays. Fields that are as declared are left as they are written, for what is written otherwise restarts tasks.
pub(super) fn write(spec: &mut Map<String, Json>, create: &ServiceCreate, ids: &Ids<'_>) -> Result<(), Failure> {
    let is_new = spec.is_empty();
    let before = labels_of(spec);
    let applied = if is_new || before.contains_key(OBJECT) {
        Applied::read(&before)
    } else {
        // It is taken over, and what the plan says of it is that nothing undeclared stays.
        let container = spec.get("TaskTemplate").and_then(|it| it["ContainerSpec"]["Env"].as_array());
        let lines = container.into_iter().flatten().filter_map(Json::as_str);
        given_by_others(&before, lines.map(|line| line.split('=').next().unwrap_or_default()))
    };
    if is_new {
        spec.insert("Name".to_owned(), json!(create.name));
    }
    let mut labels = before;
    labels.retain(|key, _| !is_own(key) && !applied.labels.contains(key));
    labels.extend(create.labels.clone());
    spec.insert("Labels".to_owned(), json!(labels));
    spec.insert("Mode".to_owned(), json!({ "Replicated": { "Replicas": create.replicas } }));
    updates(spec, create.order);
    endpoint(spec, create);
    let template = object(spec, "TaskTemplate");
    container(object(template, "ContainerSpec"), create, &applied, ids)?;
    let declared = create.template.resources;
    let rows =
        [("NanoCPUs", "resources.cpus", declared.nano_cpus), ("MemoryBytes", "resources.memory", declared.memory)];
    for (key, field, value) in rows.into_iter().chain([("Pids", "resources.pids", declared.pids)]) {
        let value = (value != 0).then(|| json!(value));
        if value.is_some() || applied.fields.contains(field) {
            set(object(object(template, "Resources"), "Limits"), key, value);
        }
    }
    if let Some(policy) = create.template.restart {
        let condition = match policy {
            RestartPolicy::No => "none",
            RestartPolicy::OnFailure => "on-failure",
            RestartPolicy::Always | RestartPolicy::UnlessStopped => "any",
        };
        let known = object(template, "RestartPolicy");
        // Without a word it is `any`.
        if known.get("Condition").and_then(Json::as_str).filter(|it| !it.is_empty()).unwrap_or("any") != condition {
            known.insert("Condition".to_owned(), json!(condition));
        }
    }
    placement(template, create, applied.fields.contains(NODE));
    match &create.template.logging {
        Some(Logging { driver, options }) => {
            template.insert("LogDriver".to_owned(), json!({ "Name": driver, "Options": options }));
        }
        None if applied.fields.contains("logging") => {
            template.remove("LogDriver");
        }
        None => {}
    }
    Ok(())
}

fn labels_of(spec: &Map<String, Json>) -> BTreeMap<String, String> {
    let labels = spec.get("Labels").and_then(Json::as_object).into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// The object at that key, made where there is none.
fn object<'a>(map: &'a mut Map<String, Json>, key: &str) -> &'a mut Map<String, Json> {
    let entry = map.entry(key).or_insert_with(|| json!({}));
    if !entry.is_object() {
        *entry = json!({});
    }
    match entry {
        Json::Object(object) => object,
        _ => unreachable!("it was made one above"),
    }
}

/// `None`: it is taken out.
fn set(map: &mut Map<String, Json>, key: &str, value: Option<Json>) {
    match value {
        Some(value) => map.insert(key.to_owned(), value),
        None => map.remove(key),
    };
}

/// A task that fails has the update rolled back. What was chosen otherwise stays, but for the order, which data may depend on.
fn updates(spec: &mut Map<String, Json>, order: Order) {
    for (key, on_failure) in [("UpdateConfig", "rollback"), ("RollbackConfig", "pause")] {
        let config = object(spec, key);
        for (field, value) in [
            ("Parallelism", json!(1)),
            ("FailureAction", json!(on_failure)),
            ("Monitor", json!(u64::from(MONITOR) * NANOS)),
            ("MaxFailureRatio", json!(0)),
        ] {
            config.entry(field).or_insert(value);
        }
        config.insert("Order".to_owned(), json!(order.as_str()));
    }
}

fn endpoint(spec: &mut Map<String, Json>, create: &ServiceCreate) {
    let wanted: Vec<Json> = create
        .template
        .ports
        .iter()
        .map(|port| {
            let mut entry =
                json!({ "Protocol": port.protocol, "TargetPort": port.container_port, "PublishMode": "ingress" });
            if let Some(published) = port.host_port {
                entry["PublishedPort"] = json!(published);
            }
            entry
        })
        .collect();
    let endpoint = object(spec, "EndpointSpec");
    // As elsewhere, its name stands for those who serve, and not for an address before them, which drops connections that are quiet for long.
    let mode = if wanted.is_empty() { "dnsrr" } else { "vip" };
    let known = endpoint.entry("Mode").or_insert_with(|| json!(mode));
    // The Swarm's own ports need an address of the service's own.
    if !wanted.is_empty() && known.as_str() != Some("vip") {
        *known = json!("vip");
    }
    let have = endpoint.get("Ports").and_then(Json::as_array).cloned().unwrap_or_default();
    let key = |port: &Json| {
        let protocol = port["Protocol"].as_str().unwrap_or("tcp").to_owned();
        (port["TargetPort"].as_u64(), port["PublishedPort"].as_u64().filter(|it| *it != 0), protocol)
    };
    let same = have.iter().map(key).collect::<BTreeSet<_>>() == wanted.iter().map(key).collect::<BTreeSet<_>>();
    if !same {
        set(endpoint, "Ports", (!wanted.is_empty()).then(|| json!(wanted)));
    }
}

fn container(
    container: &mut Map<String, Json>,
    create: &ServiceCreate,
    applied: &Applied,
    ids: &Ids<'_>,
) -> Result<(), Failure> {
    let template = &create.template;
    container.insert("Image".to_owned(), json!(create.image));
    for (key, field, value) in [
        ("Command", "entrypoint", template.entrypoint.as_ref().map(|it| json!(it))),
        ("Args", "command", template.command.as_ref().map(|it| json!(it))),
        ("Dir", "workingDir", template.working_dir.as_ref().map(|it| json!(it))),
        ("User", "user", template.user.as_ref().map(|it| json!(it))),
        ("Hostname", "hostname", template.hostname.as_ref().map(|it| json!(it))),
        ("Init", "init", template.init.map(|it| json!(it))),
        ("StopSignal", "stopSignal", template.stop_signal.as_ref().map(|it| json!(it))),
        ("StopGracePeriod", "stopGracePeriodSeconds", template.stop_grace.map(|it| json!(u64::from(it) * NANOS))),
        ("Healthcheck", "healthcheck", template.healthcheck.as_ref().map(health_body)),
    ] {
        if value.is_some() || applied.fields.contains(field) {
            set(container, key, value);
        }
    }
    environment(container, create, applied)?;
    mounts(container, create);
    let hosts = |lines: Vec<String>| (!lines.is_empty()).then(|| json!(lines));
    let extra = template.extra_hosts.iter().map(|entry| match entry.split_once(':') {
        Some((name, address)) => format!("{address} {name}"),
        None => entry.clone(),
    });
    list(container, "Hosts", hosts(extra.collect()));
    list(container, "CapabilityAdd", hosts(template.cap_add.clone()));
    list(container, "CapabilityDrop", hosts(template.cap_drop.clone()));
    set(container, "ReadOnly", template.read_only.then(|| json!(true)));
    secrets(container, create, ids)
}

/// A list whose order means nothing.
fn list(container: &mut Map<String, Json>, key: &str, wanted: Option<Json>) {
    let words = |value: Option<&Json>| -> BTreeSet<String> {
        let words = value.and_then(Json::as_array).into_iter().flatten();
        words.filter_map(|it| it.as_str().map(str::to_owned)).collect()
    };
    if words(container.get(key)) != words(wanted.as_ref()) {
        set(container, key, wanted);
    }
}

fn environment(container: &mut Map<String, Json>, create: &ServiceCreate, applied: &Applied) -> Result<(), Failure> {
    let have: Vec<String> = container
        .get("Env")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .map(str::to_owned)
        .collect();
    let name = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
    let declared = variables(&create.template)?;
    let ours = |line: &String| {
        let name = name(line);
        create.template.env.contains_key(&name) || applied.env.contains(&name) || applied.secret.contains(&name)
    };
    let mut wanted: Vec<String> = have.iter().filter(|line| !ours(line)).cloned().collect();
    wanted.extend(declared);
    let all = |lines: &[String]| lines.iter().cloned().collect::<BTreeSet<String>>();
    if all(&have) != all(&wanted) {
        set(container, "Env", (!wanted.is_empty()).then(|| json!(wanted)));
    }
    Ok(())
}

fn mounts(container: &mut Map<String, Json>, create: &ServiceCreate) {
    let template = &create.template;
    let declared = template.mounts.iter().map(|mount| match &mount.source {
        MountSource::Volume(name) => json!({
            "Type": "volume", "Source": name, "Target": mount.target, "ReadOnly": mount.read_only,
            "VolumeOptions": { "Labels": create.volume_labels }
        }),
        MountSource::Path(path) => {
            json!({ "Type": "bind", "Source": path, "Target": mount.target, "ReadOnly": mount.read_only })
        }
    });
    let tmpfs = template.tmpfs.iter().map(|path| json!({ "Type": "tmpfs", "Target": path }));
    let declared: Vec<Json> = declared.chain(tmpfs).collect();
    let have: Vec<Json> = container.get("Mounts").and_then(Json::as_array).cloned().unwrap_or_default();
    let key = |mount: &Json| {
        let text = |key: &str| mount[key].as_str().unwrap_or_default().to_owned();
        (text("Type"), text("Source"), text("Target"), mount["ReadOnly"].as_bool().unwrap_or_default())
    };
    let ours = |mount: &Json| matches!(mount["Type"].as_str(), Some("volume" | "bind" | "tmpfs"));
    let seen: BTreeSet<_> = have.iter().filter(|it| ours(it)).map(key).collect();
    if seen == declared.iter().map(key).collect() {
        return;
    }
    // Those that are as declared stay as they are written: a volume keeps its options.
    let keeps = |wanted: Json| have.iter().find(|it| key(it) == key(&wanted)).cloned().unwrap_or(wanted);
    let others: Vec<Json> = have.iter().filter(|it| !ours(it)).cloned().collect();
    let all: Vec<Json> = others.into_iter().chain(declared.into_iter().map(keeps)).collect();
    set(container, "Mounts", (!all.is_empty()).then(|| json!(all)));
}

fn secrets(container: &mut Map<String, Json>, create: &ServiceCreate, ids: &Ids<'_>) -> Result<(), Failure> {
    let have: Vec<Json> = container.get("Secrets").and_then(Json::as_array).cloned().unwrap_or_default();
    let ours = |reference: &Json| {
        let name = reference["SecretName"].as_str().unwrap_or_default();
        let path = reference["File"]["Name"].as_str().unwrap_or_default();
        create.former_secrets.contains(name)
            || create.files.contains_key(path)
            || create.files.values().any(|it| it.secret == name)
    };
    let mut all: Vec<Json> = have.iter().filter(|it| !ours(it)).cloned().collect();
    for (path, SecretFile { secret, mode }) in &create.files {
        let same = |it: &&Json| {
            it["SecretName"] == json!(secret) && it["File"]["Name"] == json!(path) && it["File"]["Mode"] == json!(mode)
        };
        if let Some(known) = have.iter().find(same) {
            all.push(known.clone());
            continue;
        }
        let Some(id) = ids.secrets.get(secret) else {
            let message = format!("secret {secret} not found");
            return Err(Failure::Refused { status: 404, message });
        };
        all.push(json!({
            "File": { "Name": path, "UID": "0", "GID": "0", "Mode": mode }, "SecretID": id, "SecretName": secret
        }));
    }
    let names = |all: &[Json]| all.iter().map(ToString::to_string).collect::<BTreeSet<String>>();
    if names(&have) != names(&all) {
        set(container, "Secrets", (!all.is_empty()).then(|| json!(all)));
    }
    Ok(())
}

fn placement(template: &mut Map<String, Json>, create: &ServiceCreate, was_bound: bool) {
    if create.node.is_none() && !was_bound {
        return;
    }
    let placement = object(template, "Placement");
    let have: Vec<String> = placement
        .get("Constraints")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .map(str::to_owned)
        .collect();
    let bound = have.iter().find_map(|it| bound_to(it));
    if bound == create.node.as_ref().map(|node| node.id.as_str()) {
        return;
    }
    let mut wanted: Vec<String> = have.iter().filter(|it| bound_to(it).is_none()).cloned().collect();
    wanted.extend(create.node.as_ref().map(|node| node.constraint()));
    set(placement, "Constraints", (!wanted.is_empty()).then(|| json!(wanted)));
}
