//! A stack on a Swarm: the stack file that `docker stack deploy` reads, from the model that Compose makes of the file.
//!
//! The Docker CLI refuses what its schema does not have, and leaves out in silence some of what it has. So what it knows is written, and what it
//! does not know is said. Files of `configs` and `secrets` are read here: a Swarm does not let their content change, so each is named after what is
//! in it, and the content goes to the program through a pipe.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::identity;
use super::routes::{self, TRAEFIK_NETWORK, TRAEFIK_SWARM_NETWORK};
use super::stack::{
    self, Additions, DEFAULT, Finding, Model, ON_DESTINATION, Stack, alias, escaped, network_name, object, plain,
};
use crate::core::api::ObjectKey;
use crate::core::digest::{SHORT, digest, hex};
use crate::core::plan::Reason;

/// The stack that a service, a network, a secret or a config of a Swarm is of.
pub const NAMESPACE: &str = "com.docker.stack.namespace";
/// Stands for the service as it was given to the Swarm.
pub const HASH: &str = "landfall.hash";
/// Which replica the labels of a service are sealed for.
const REPLICA: u32 = super::service::NO_REPLICA;
/// Of the name of a secret or a config.
const LONGEST_NAME: usize = 64;
/// What the schema of stack files has for a service.
const KNOWN: &[&str] = &[
    "cap_add",
    "cap_drop",
    "command",
    "configs",
    "credential_spec",
    "deploy",
    "dns",
    "dns_search",
    "domainname",
    "entrypoint",
    "environment",
    "extra_hosts",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "isolation",
    "labels",
    "logging",
    "networks",
    "ports",
    "read_only",
    "secrets",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "user",
    "volumes",
    "working_dir",
];
/// What is turned into something else, or means nothing to a Swarm without anything being lost.
const TURNED: &[&str] = &[
    "build",
    "cpus",
    "depends_on",
    "expose",
    "mem_limit",
    "mem_reservation",
    "network_mode",
    "pids_limit",
    "platform",
    "profiles",
    "pull_policy",
    "restart",
    "scale",
];

/// What a Swarm is given of a stack.
#[derive(Debug, Clone, PartialEq)]
pub struct StackFile {
    pub model: Model,
    pub services: BTreeMap<String, StackFileService>,
    /// Names of the networks that `docker stack deploy` makes, or that are there already.
    pub networks: BTreeSet<String>,
    /// The files of `configs` and `secrets`.
    pub files: Vec<StackFileContent>,
    pub findings: Vec<Finding>,
    /// The resource that it is of, as its labels say.
    pub object: String,
}

/// One service of a stack on a Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackFileService {
    /// As the Swarm knows it.
    pub name: String,
    pub hash: String,
    pub image: String,
    /// The registry is asked whether the tag has moved.
    pub always_pulled: bool,
    /// `None`: one task on each node.
    pub replicas: Option<u64>,
    /// Real names of its networks but for the destination's.
    pub networks: BTreeSet<String>,
    /// It may end by itself, with success.
    pub ends: bool,
    /// A task of it runs once a check has passed.
    pub checked: bool,
}

/// The content of one secret or config.
#[derive(Clone)]
pub struct StackFileContent {
    /// `secrets` or `configs`.
    pub kind: &'static str,
    /// Within the file.
    pub key: String,
    /// As the Swarm knows it.
    pub name: String,
    content: SecretSlice<u8>,
}

impl StackFileContent {
    pub fn expose(&self) -> &[u8] {
        self.content.expose_secret()
    }
}

impl fmt::Debug for StackFileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

impl PartialEq for StackFileContent {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.key, &self.name) == (other.kind, &other.key, &other.name) && self.expose() == other.expose()
    }
}

impl StackFile {
    /// What the program is given. `network`: the destination's, where the services are on it; `directory`: where the files are; `recent`: the
    /// program is of version 25 or later.
    pub fn expose(&self, network: Option<&str>, directory: &Path, recent: bool) -> String {
        let Ok(mut model) = serde_json::from_str::<Value>(&self.model.expose(network)) else { return String::new() };
        for (number, file) in self.files.iter().enumerate() {
            if let Some(entry) = model.pointer_mut(&format!("/{}/{}", file.kind, pointer(&file.key))) {
                entry["file"] = json!(directory.join(number.to_string()).display().to_string());
            }
        }
        model["version"] = json!(if recent { "3.12" } else { "3.9" });
        for (_, service) in model.get_mut("services").and_then(Value::as_object_mut).into_iter().flatten() {
            if let Some(check) = service.get_mut("healthcheck").and_then(Value::as_object_mut).filter(|_| !recent) {
                check.remove("start_interval");
            }
            let labels = service.pointer_mut("/deploy/labels").and_then(Value::as_object_mut);
            for (key, value) in labels.into_iter().flatten() {
                let names_network =
                    [TRAEFIK_NETWORK, TRAEFIK_SWARM_NETWORK, "caddy_ingress_network"].contains(&key.as_str());
                if let Some(network) = network.filter(|_| names_network && value == ON_DESTINATION) {
                    *value = json!(escaped(network));
                }
            }
        }
        model.to_string()
    }
}

/// The services of a stack on a Swarm, by its labels: the name within the file.
pub fn service_of<'n>(name: &'n str, namespace: &str) -> Option<&'n str> {
    name.strip_prefix(namespace)?.strip_prefix('_')
}

/// Where the content of a secret or a config is.
#[derive(Debug, Clone, Copy)]
pub enum ContentOrigin<'a> {
    /// Absolute path of this machine.
    File(&'a str),
    /// Of the environment.
    Variable(&'a str),
}

/// Reads the bytes, or says why there are none.
pub type ReadContent<'a> = dyn Fn(ContentOrigin<'_>) -> Result<Vec<u8>, String> + 'a;

impl Stack {
    /// The stack file, from the model that Compose makes of the file. `read`: how files of this machine are read.
    pub fn for_swarm(&self, text: &str, model: &Value, additions: &Additions<'_>, read: &ReadContent<'_>) -> StackFile {
        let mut making = Making { stack: self, text, additions, findings: Vec::new(), files: Vec::new() };
        let mut file = json!({});
        for kind in ["configs", "secrets"] {
            let section = making.contents(kind, model, read);
            if !section.is_empty() {
                file[kind] = Value::Object(section);
            }
        }
        file["networks"] = Value::Object(making.networks(model));
        let volumes = making.volumes(model);
        if !volumes.is_empty() {
            file["volumes"] = Value::Object(volumes);
        }
        let mut services = Map::new();
        let mut read = BTreeMap::new();
        for (name, service) in model.get("services").and_then(Value::as_object).into_iter().flatten() {
            let Some(declared) = service.as_object() else { continue };
            let mut written = making.service(name, declared);
            let seen = making.seen(name, declared, &mut written, &file);
            read.insert(name.clone(), seen);
            services.insert(name.clone(), Value::Object(written));
        }
        file["services"] = Value::Object(services);
        let networks = names(&file["networks"]).filter(|name| name != ON_DESTINATION).collect();
        let Making { findings, files, .. } = making;
        let object = additions.object.to_string();
        StackFile { model: Model::new(&file), services: read, networks, files, findings, object }
    }
}

struct Making<'a> {
    stack: &'a Stack,
    text: &'a str,
    additions: &'a Additions<'a>,
    findings: Vec<Finding>,
    files: Vec<StackFileContent>,
}

impl Making<'_> {
    fn find(&mut self, refused: bool, reason: Reason, message: String, hint: &str, path: &[&str]) {
        let line = stack::line_of(self.text, path);
        self.findings.push(Finding { reason, refused, message, hint: hint.to_owned(), line });
    }

    /// Labels by which what is called `name` is known as Landfall's.
    fn labels(&self, name: &str) -> BTreeMap<String, String> {
        let Additions { set, object, destination, .. } = *self.additions;
        identity::labels("stack", set, object, destination, REPLICA, name)
    }

    /// The `secrets` or `configs` of the file, named after what is in them.
    fn contents(&mut self, kind: &'static str, model: &Value, read: &ReadContent<'_>) -> Map<String, Value> {
        let mut section = Map::new();
        for (key, declared) in model.get(kind).and_then(Value::as_object).into_iter().flatten() {
            let text = |field: &str| declared.get(field).and_then(Value::as_str);
            let name = text("name").unwrap_or(key);
            if is_external(declared) {
                section.insert(key.clone(), json!({ "external": true, "name": name }));
                continue;
            }
            // Compose writes `$` twice, as the program reads it.
            let content = match (text("file"), text("content"), text("environment")) {
                (Some(file), ..) => read(ContentOrigin::File(file)),
                (_, Some(content), _) => Ok(content.replace("$$", "$").into_bytes()),
                (.., Some(name)) => read(ContentOrigin::Variable(name)),
                _ => Err("it has neither `file` nor `content` nor `environment`".to_owned()),
            };
            let content = match content {
                Ok(content) => content,
                Err(why) => {
                    let message = format!("the content of `{key}` in `{kind}` cannot be read: {why}");
                    self.find(
                        true,
                        Reason::ComposeInvalid,
                        message,
                        "correct the path, or make it `external`",
                        &[kind, key],
                    );
                    continue;
                }
            };
            let default = format!("{}_{key}", self.stack.project);
            let name = if name == default { named(&default, &content) } else { name.to_owned() };
            section.insert(key.clone(), json!({ "name": name, "labels": self.labels(&name) }));
            self.files.push(StackFileContent { kind, key: key.clone(), name, content: content.into() });
        }
        section
    }

    fn networks(&mut self, model: &Value) -> Map<String, Value> {
        let mut section = Map::new();
        for (key, declared) in model.get("networks").and_then(Value::as_object).into_iter().flatten() {
            let name = network_name(model, key).unwrap_or_else(|| key.clone());
            if is_external(declared) {
                section.insert(key.clone(), json!({ "external": true, "name": name }));
                continue;
            }
            let mut network = kept(declared, &["driver", "driver_opts", "internal", "attachable", "labels"]);
            network.insert("name".to_owned(), json!(name));
            if network.get("driver").is_some_and(|driver| driver == "bridge") {
                network.remove("driver");
            }
            let subnets = declared.pointer("/ipam/config").and_then(Value::as_array).into_iter().flatten();
            let subnets: Vec<Value> = subnets.filter_map(|it| Some(json!({ "subnet": it.get("subnet")? }))).collect();
            if !subnets.is_empty() {
                network.insert("ipam".to_owned(), json!({ "config": subnets }));
            }
            section.insert(key.clone(), Value::Object(network));
        }
        // What is no service, such as a proxy that is a container, can come to it.
        let home =
            section.entry(DEFAULT).or_insert_with(|| json!({ "name": format!("{}_{DEFAULT}", self.stack.project) }));
        if let Some(home) = home.as_object_mut().filter(|home| !home.contains_key("external")) {
            home.entry("attachable").or_insert(json!(true));
        }
        if self.additions.aliases.is_some() {
            section.insert(ON_DESTINATION.to_owned(), json!({ "external": true, "name": ON_DESTINATION }));
        }
        section
    }

    fn volumes(&self, model: &Value) -> Map<String, Value> {
        let all = model.get("volumes").and_then(Value::as_object).into_iter().flatten();
        all.map(|(key, declared)| {
            let name = declared.get("name").and_then(Value::as_str).unwrap_or(key);
            let mut volume = match is_external(declared) {
                true => Map::from_iter([("external".to_owned(), json!(true))]),
                false => kept(declared, &["driver", "driver_opts", "labels"]),
            };
            volume.insert("name".to_owned(), json!(name));
            (key.clone(), Value::Object(volume))
        })
        .collect()
    }

    fn service(&mut self, name: &str, declared: &Map<String, Value>) -> Map<String, Value> {
        self.complain(name, declared);
        let mut service: Map<String, Value> = declared
            .iter()
            .filter(|(key, value)| KNOWN.contains(&key.as_str()) && !value.is_null())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if let Some(environment) = service.get_mut("environment").and_then(Value::as_object_mut) {
            // The program would take their values from its own environment.
            environment.retain(|_, value| !value.is_null());
        }
        for port in entries(&mut service, "ports") {
            *port = kept(&Value::Object(std::mem::take(port)), &["mode", "target", "published", "protocol"]);
            number(port, "published");
        }
        for mount in entries(&mut service, "volumes") {
            if let Some(bind) = mount.get_mut("bind") {
                *bind = Value::Object(kept(bind, &["propagation"]));
            }
            if let Some(tmpfs) = mount.get_mut("tmpfs").and_then(Value::as_object_mut) {
                number(tmpfs, "size");
            }
        }
        for key in ["configs", "secrets"] {
            for file in entries(&mut service, key) {
                let mode = file.get("mode").and_then(Value::as_str).and_then(|mode| u32::from_str_radix(mode, 8).ok());
                if let Some(mode) = mode {
                    file.insert("mode".to_owned(), json!(mode));
                }
            }
        }
        if let Some(hosts) = service.get_mut("extra_hosts").and_then(Value::as_array_mut) {
            for host in hosts {
                let text = host.as_str().map(|text| text.replacen('=', ":", 1));
                *host = text.map_or(Value::Null, Value::String);
            }
        }
        deploy(object(&mut service, "deploy"), declared);
        self.on_networks(name, &mut service);
        self.routed(name, &mut service);
        service
    }

    /// What of the service a Swarm has nothing for.
    fn complain(&mut self, name: &str, declared: &Map<String, Value>) {
        let there = |key: &str| declared.get(key).is_some_and(|value| !value.is_null());
        let ignored: Vec<&str> = declared
            .keys()
            .map(String::as_str)
            .filter(|key| there(key) && !KNOWN.contains(key) && !TURNED.contains(key) && !key.starts_with("x-"))
            .collect();
        if !ignored.is_empty() {
            let message = format!("a Swarm has nothing for {} of the service `{name}`", stack::list(&ignored));
            let hint = "it runs without: leave it out of the file, or run the stack on a server that is no Swarm";
            self.find(false, Reason::ComposeInvalid, message, hint, &["services", name, ignored[0]]);
        }
        let ports = declared.get("ports").and_then(Value::as_array).into_iter().flatten();
        if ports.filter_map(|port| port.get("host_ip")?.as_str()).any(|address| !address.is_empty()) {
            let message = format!(
                "the service `{name}` publishes a port on one address, and a Swarm publishes on all of its nodes"
            );
            let hint = "leave the address out, or route to the service with `domains`";
            self.find(true, Reason::ComposeInvalid, message, hint, &["services", name, "ports"]);
        }
        if let Some(mode) = declared.get("network_mode").and_then(Value::as_str) {
            let message = format!("the service `{name}` has `network_mode: {mode}`, which a Swarm has nothing for");
            let hint = "leave it out; a port of each node is published with `mode: host` in `ports`";
            self.find(true, Reason::ComposeNetworks, message, hint, &["services", name, "network_mode"]);
        }
        if !there("image") {
            let message = format!("the service `{name}` has no `image`, and a Swarm builds none");
            let hint = "build the image elsewhere, push it to a registry, and name it with `image`";
            self.find(true, Reason::ComposeInvalid, message, hint, &["services", name]);
        }
    }

    fn on_networks(&self, name: &str, service: &mut Map<String, Value>) {
        let networks = object(service, "networks");
        if networks.is_empty() {
            networks.insert(DEFAULT.to_owned(), Value::Null);
        }
        if self.is_routed(name) && self.additions.aliases.is_none() {
            networks.entry(DEFAULT).or_insert(Value::Null);
        }
        for (_, on) in networks.iter_mut().filter(|(_, on)| !on.is_null()) {
            *on = Value::Object(kept(on, &["aliases"]));
        }
        if let Some(further) = self.additions.aliases {
            let aliases: Vec<String> =
                std::iter::once(alias(name, &self.stack.project)).chain(further.iter().cloned()).collect();
            networks.insert(ON_DESTINATION.to_owned(), json!({ "aliases": aliases }));
        }
    }

    fn is_routed(&self, service: &str) -> bool {
        self.stack.routes.get(service).is_some_and(|routes| !routes.is_empty())
    }

    /// The proxy of a Swarm reads the labels of services: on the destination it is there already, and else it comes to the stack's own network.
    fn routed(&mut self, name: &str, service: &mut Map<String, Value>) {
        let Some(proxy) = self.additions.proxy.filter(|_| self.is_routed(name)) else { return };
        let Additions { object: resource, aliases, .. } = *self.additions;
        let id = ObjectKey { name: format!("{}-{}", resource.name, plain(name)).into(), ..resource.clone() };
        let home = format!("{}_{DEFAULT}", self.stack.project);
        let network = if aliases.is_some() { ON_DESTINATION } else { home.as_str() };
        let (routes, port) = (&self.stack.routes[name], self.stack.target_ports.get(name).copied());
        let mut given = routes::labels(proxy, &id, network, routes, port);
        if let Some(network) = given.get(TRAEFIK_NETWORK).cloned() {
            // Traefik 3 has a word of its own for services, and 2 has not.
            given.insert(TRAEFIK_SWARM_NETWORK.to_owned(), network);
        }
        if given.contains_key(TRAEFIK_NETWORK) && port.is_none() {
            let message = format!(
                "Traefik is not told the ports of Swarm services, and none is declared for `{name}`: nothing is routed to it"
            );
            self.find(false, Reason::ProxyUnsupported, message, "declare it under `targetPorts`", &["services", name]);
        }
        // What the file says of the routes is meant as it is.
        let declared = object(object(service, "deploy"), "labels");
        given.retain(|key, _| !declared.contains_key(key));
        declared.extend(given.into_iter().map(|(key, value)| (key, Value::String(escaped(&value)))));
    }

    /// Seals the service, and reads what is planned by.
    fn seen(
        &self,
        name: &str,
        declared: &Map<String, Value>,
        service: &mut Map<String, Value>,
        file: &Value,
    ) -> StackFileService {
        let full = format!("{}_{name}", self.stack.project);
        let text = |key: &str| service.get(key).and_then(Value::as_str).map(str::to_owned);
        let used = |kind: &str| -> Vec<String> {
            let sources = service.get(kind).and_then(Value::as_array).into_iter().flatten();
            sources
                .filter_map(|it| file[kind][it.get("source")?.as_str()?]["name"].as_str().map(str::to_owned))
                .collect()
        };
        let keys = service.get("networks").and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key);
        let networks = keys.filter_map(|key| file["networks"][key]["name"].as_str());
        let networks: BTreeSet<String> = networks.filter(|name| *name != ON_DESTINATION).map(str::to_owned).collect();
        let of = json!([service, used("configs"), used("secrets"), networks, file.get("volumes")]);
        let hash = digest(of.to_string(), 16);
        let condition = service["deploy"].pointer("/restart_policy/condition").and_then(Value::as_str);
        let check = service.get("healthcheck");
        let disabled = |check: &Value| {
            check.get("disable").and_then(Value::as_bool).unwrap_or_default()
                || check.pointer("/test/0").is_some_and(|kind| kind == "NONE")
        };
        let mode = service["deploy"].get("mode").and_then(Value::as_str).unwrap_or("replicated");
        let seen = StackFileService {
            image: text("image").unwrap_or_default(),
            always_pulled: declared.get("pull_policy").is_some_and(|policy| policy == "always"),
            replicas: (!mode.starts_with("global"))
                .then(|| service["deploy"].get("replicas").and_then(Value::as_u64).unwrap_or(1)),
            networks,
            ends: mode.ends_with("job") || condition.is_some_and(|condition| condition != "any"),
            checked: check.is_some_and(|check| !disabled(check)),
            hash: hash.clone(),
            name: full.clone(),
        };
        let labels = object(object(service, "deploy"), "labels");
        labels.extend(self.labels(&full).into_iter().map(|(key, value)| (key, Value::String(escaped(&value)))));
        labels.insert(HASH.to_owned(), Value::String(hash));
        seen
    }
}

/// What Compose has beside `deploy`, and what a Swarm has otherwise.
fn deploy(deploy: &mut Map<String, Value>, declared: &Map<String, Value>) {
    *deploy = kept(
        &Value::Object(std::mem::take(deploy)),
        &[
            "mode",
            "endpoint_mode",
            "replicas",
            "labels",
            "update_config",
            "rollback_config",
            "resources",
            "restart_policy",
            "placement",
        ],
    );
    let of = |key: &str| declared.get(key).filter(|value| !value.is_null()).cloned();
    if let Some(scale) = of("scale") {
        deploy.entry("replicas").or_insert(scale);
    }
    let resources = object(deploy, "resources");
    for (part, key, from) in [
        ("limits", "cpus", "cpus"),
        ("limits", "memory", "mem_limit"),
        ("limits", "pids", "pids_limit"),
        ("reservations", "memory", "mem_reservation"),
    ] {
        if let Some(value) = of(from) {
            object(resources, part).entry(key).or_insert(value);
        }
    }
    for part in ["limits", "reservations"] {
        let Some(part) = resources.get_mut(part).and_then(Value::as_object_mut) else { continue };
        part.remove("devices");
        if let Some(cpus) = part.get_mut("cpus").filter(|cpus| cpus.is_number()) {
            *cpus = Value::String(cpus.to_string());
        }
        number(part, "pids");
    }
    if let Some(restart) =
        declared.get("restart").and_then(Value::as_str).filter(|_| !deploy.contains_key("restart_policy"))
    {
        let (word, attempts) = restart.split_once(':').unwrap_or((restart, ""));
        let condition = match word {
            "no" => "none",
            "on-failure" => "on-failure",
            _ => "any",
        };
        let mut policy = json!({ "condition": condition });
        if let Ok(attempts) = attempts.parse::<u64>() {
            policy["max_attempts"] = json!(attempts);
        }
        deploy.insert("restart_policy".to_owned(), policy);
    }
    // What ran before comes back, unless the file wants otherwise: a Swarm would leave the update half done.
    object(deploy, "update_config").entry("failure_action").or_insert(json!("rollback"));
}

/// The default name with digits that stand for the content.
fn named(default: &str, content: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(default.as_bytes()) else { return default.to_owned() };
    mac.update(content);
    let digits = hex(&mac.finalize().into_bytes()[..SHORT]);
    let most = LONGEST_NAME - digits.len() - 1;
    format!("{}-{digits}", default.chars().take(most).collect::<String>())
}

fn is_external(declared: &Value) -> bool {
    declared.get("external").and_then(Value::as_bool).unwrap_or_default()
}

fn names(section: &Value) -> impl Iterator<Item = String> {
    let all = section.as_object().into_iter().flatten();
    all.filter_map(|(_, it)| it.get("name")?.as_str().map(str::to_owned))
}

/// The entries of a mapping that the schema has.
fn kept(declared: &Value, keys: &[&str]) -> Map<String, Value> {
    let all = declared.as_object().into_iter().flatten();
    all.filter(|(key, value)| keys.contains(&key.as_str()) && !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The mappings of a list.
fn entries<'v>(service: &'v mut Map<String, Value>, key: &str) -> impl Iterator<Item = &'v mut Map<String, Value>> {
    service.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Compose writes some numbers as text.
fn number(map: &mut Map<String, Value>, key: &str) {
    let Some(text) = map.get(key).and_then(Value::as_str) else { return };
    if let Ok(number) = text.parse::<u64>() {
        map.insert(key.to_owned(), json!(number));
    } else if text.is_empty() {
        map.remove(key);
    }
}

/// As a part of a JSON pointer.
fn pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
