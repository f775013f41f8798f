//! A stack of Docker Compose: what is declared of it, what Compose makes of its file, and what is to be said about that.
//!
//! Compose itself reads the file (`docker compose config`); what it comes to, completed here by labels and the destination's network, is what it is
//! given to bring up. Nothing of the file is read a second time in between.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::identity::{DESTINATION, OBJECT, SET, UID};
use super::routes::{self, Route};
use super::stack_file::{NAMESPACE, StackFile};
use crate::core::api::{DestinationType, Kind, ObjectKey, ProxyType};
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::digest::{SHORT, digest};
use crate::core::manifest::{Diagnostic, Manifests, Severity};
use crate::core::observed::ObservedNetwork;
use crate::core::plan::Reason;

/// The project that a container, a network or a volume is of.
pub const PROJECT: &str = "com.docker.compose.project";
/// The service of the project that a container is of.
pub const SERVICE: &str = "com.docker.compose.service";
/// Digest of the service as it was when Compose made the container.
pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// Id of the image that Compose made the container from.
pub const IMAGE: &str = "com.docker.compose.image";
/// Of the Compose that made it.
pub const VERSION: &str = "com.docker.compose.version";
/// What the destination's network is called within the model.
pub(super) const ON_DESTINATION: &str = "landfall-destination";
/// The network that services are on that name none.
pub(super) const DEFAULT: &str = "default";

/// A stack as it is declared, and what Compose makes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    pub project: String,
    /// Paths from the working directory.
    pub file: String,
    pub env_file: Option<String>,
    /// Containers of the project that Landfall did not make are made anew.
    pub take_ownership: bool,
    /// Seconds that the services have to become healthy.
    pub health_timeout: u32,
    /// What the proxy routes to which service.
    pub routes: BTreeMap<String, Vec<Route>>,
    pub target_ports: BTreeMap<String, u16>,
    /// `Err` until it was read, too.
    pub made: Result<Made, Unmade>,
}

/// Why there is nothing to bring up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmade {
    pub reason: Reason,
    pub message: String,
    pub hint: String,
    /// In the compose file.
    pub line: Option<usize>,
    /// Nothing is wrong with the file: the manifest names one that cannot be read.
    pub unread: bool,
}

/// What Compose makes of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    pub model: Model,
    pub services: BTreeMap<String, StackService>,
    /// Real names of the networks, by those within the file. The destination's is not among them.
    pub networks: BTreeMap<String, StackNetwork>,
    /// Real names of the volumes.
    pub volumes: BTreeSet<String>,
    pub findings: Vec<Finding>,
    /// Version of the Compose that read it.
    pub version: String,
    /// Directory that relative paths of the file start from.
    pub directory: String,
    /// Images are built on the machine that Landfall runs on, for the daemon of the same machine.
    pub builds: bool,
    /// What a Swarm is given instead.
    pub on_swarm: Arc<StackFile>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackNetwork {
    pub name: String,
    /// Made by somebody else.
    pub external: bool,
}

/// One service of a stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StackService {
    pub hash: String,
    pub image: String,
    /// The registry is asked whether the tag has moved.
    pub always_pulled: bool,
    pub replicas: u32,
    /// Names within the file, each with the aliases beside the service's own name.
    pub networks: BTreeMap<String, Vec<String>>,
    /// `host`, `none`, `service:…`
    pub network_mode: Option<String>,
    pub container_name: Option<String>,
    /// `address:port/protocol` on the server.
    pub published: BTreeSet<String>,
    /// It may end by itself, with success.
    pub ends: bool,
}

/// The whole model as JSON. Values of variables are in it: it is never shown.
#[derive(Clone)]
pub struct Model(SecretString);

impl Model {
    pub fn new(model: &Value) -> Self {
        Self(SecretString::from(model.to_string()))
    }

    /// What Compose is given. `network`: the destination's, where the services are on it.
    pub fn expose(&self, network: Option<&str>) -> String {
        let text = self.0.expose_secret();
        let (Some(network), Ok(mut model)) = (network, serde_json::from_str::<Value>(text)) else {
            return text.to_owned();
        };
        if let Some(on) = model.pointer_mut(&format!("/networks/{ON_DESTINATION}")) {
            *on = json!({ "external": true, "name": network });
        }
        model.to_string()
    }

    /// Tells one model from another, and nothing about either.
    pub fn fingerprint(&self) -> String {
        digest(self.0.expose_secret(), SHORT)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({})", self.fingerprint())
    }
}

impl PartialEq for Model {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

/// Something about a stack that somebody should know, or that keeps it from being brought up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub reason: Reason,
    /// Nothing is brought up.
    pub refused: bool,
    pub message: String,
    pub hint: String,
    /// In the compose file.
    pub line: Option<usize>,
}

/// Whose a container of a stack is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub set: String,
    pub object: ObjectKey,
    pub destination: ObjectKey,
    pub project: String,
    pub service: String,
}

/// `None`: Landfall did not have it made, or the labels are not its own.
pub fn owner(labels: &BTreeMap<String, String>) -> Option<Owner> {
    let (project, service) = (labels.get(PROJECT)?.clone(), labels.get(SERVICE)?.clone());
    let set = labels.get(SET)?.clone();
    let object: ObjectKey = labels.get(OBJECT)?.parse().ok()?;
    let (namespace, name) = labels.get(DESTINATION)?.split_once('/')?;
    let destination = ObjectKey::new(Kind::Destination, namespace, name);
    (*labels.get(UID)? == seal(&set, &object, &destination, &project)).then_some(Owner {
        set,
        object,
        destination,
        project,
        service,
    })
}

/// Labels of every container of a stack.
pub fn labels(set: &str, object: &ObjectKey, destination: &ObjectKey, project: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (SET.to_owned(), set.to_owned()),
        (OBJECT.to_owned(), object.to_string()),
        (DESTINATION.to_owned(), destination.path()),
        (UID.to_owned(), seal(set, object, destination, project)),
    ])
}

/// Check digits: labels that were copied into another project count for nothing.
fn seal(set: &str, object: &ObjectKey, destination: &ObjectKey, project: &str) -> String {
    format!("stack-{}", digest(format!("{set}\n{object}\n{}\n{project}", destination.path()), 4))
}

/// The name by which a service of the stack is found on the destination, where other stacks may have a service of that name.
pub fn alias(service: &str, project: &str) -> String {
    format!("{service}-{project}")
}

/// What a container is called once it has taken the place of another: until then Compose puts the short id of that one before the name.
pub fn name_of_replacement(name: &str) -> Option<&str> {
    let (id, rest) = name.split_once('_')?;
    let is_id = id.len() == 12 && id.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    (is_id && !rest.is_empty()).then_some(rest)
}

/// Whether the network is one that a declared stack of the server has for itself.
pub fn is_home(server: &DesiredServer, network: &ObservedNetwork) -> bool {
    let project = network.labels.get(PROJECT).or_else(|| network.labels.get(NAMESPACE));
    let mut stacks = server.destinations.iter().flat_map(|it| &it.members).filter_map(|member| member.stack.as_ref());
    stacks.any(|stack| Some(&stack.project) == project)
}

/// What is added to a model.
#[derive(Debug, Clone, Copy)]
pub struct Additions<'a> {
    pub set: &'a str,
    pub object: &'a ObjectKey,
    pub destination: &'a ObjectKey,
    /// Further names on the destination; `None`: the services are not on it.
    pub aliases: Option<&'a [String]>,
    /// The kind of the proxy that routes.
    pub proxy: Option<ProxyType>,
}

impl Stack {
    /// The model that Compose is to bring up, from the one that it makes of the file.
    pub fn completed(&self, mut model: Value, additions: &Additions<'_>) -> Value {
        let own = labels(additions.set, additions.object, additions.destination, &self.project);
        let home = network_name(&model, DEFAULT).unwrap_or_else(|| format!("{}_{DEFAULT}", self.project));
        let mut needs_default = false;
        if let Some(services) = model.get_mut("services").and_then(Value::as_object_mut) {
            for (name, service) in services.iter_mut() {
                let Some(service) = service.as_object_mut() else { continue };
                let routes = self.routes.get(name).map(Vec::as_slice).unwrap_or_default();
                let mut given: BTreeMap<String, String> = additions.proxy.map_or_else(BTreeMap::new, |proxy| {
                    let id = ObjectKey {
                        name: format!("{}-{}", additions.object.name, plain(name)).into(),
                        ..additions.object.clone()
                    };
                    routes::labels(proxy, &id, &home, routes, self.target_ports.get(name).copied())
                });
                // What the file says of the routes is meant as it is.
                let declared = object(service, "labels");
                given.retain(|key, _| !declared.contains_key(key));
                declared.extend(
                    given.into_iter().chain(own.clone()).map(|(key, value)| (key, Value::String(escaped(&value)))),
                );
                if service.contains_key("network_mode") {
                    continue;
                }
                let networks = object(service, "networks");
                if !routes.is_empty() {
                    networks.entry(DEFAULT).or_insert(Value::Null);
                }
                needs_default |= networks.contains_key(DEFAULT);
                if let Some(further) = additions.aliases {
                    let aliases: Vec<String> =
                        std::iter::once(alias(name, &self.project)).chain(further.iter().cloned()).collect();
                    networks.insert(ON_DESTINATION.to_owned(), json!({ "aliases": aliases }));
                }
            }
        }
        if let Some(model) = model.as_object_mut() {
            let networks = object(model, "networks");
            if needs_default && !networks.contains_key(DEFAULT) {
                networks.insert(DEFAULT.to_owned(), json!({ "name": home }));
            }
            if additions.aliases.is_some() {
                networks.insert(ON_DESTINATION.to_owned(), json!({ "external": true, "name": ON_DESTINATION }));
            }
            model.insert("name".to_owned(), Value::String(self.project.clone()));
        }
        model
    }

    /// Whether a service has something that the proxy routes to it.
    pub fn is_routed(&self) -> bool {
        self.routes.values().any(|routes| !routes.is_empty())
    }

    /// `compose.yaml:12`, or the file alone.
    pub fn place(&self, line: Option<usize>) -> String {
        line.map_or_else(|| self.file.clone(), |line| format!("{}:{line}", self.file))
    }
}

impl Made {
    /// The networks of the stack's own that the service is on, by their real names, each with its aliases there.
    pub fn homes<'m>(&'m self, service: &'m str) -> impl Iterator<Item = (&'m StackNetwork, Vec<String>)> {
        let of = self.services.get(service).into_iter().flat_map(|service| &service.networks);
        of.filter_map(move |(key, aliases)| {
            let network = self.networks.get(key)?;
            let names = std::iter::once(service.to_owned()).chain(aliases.iter().cloned());
            Some((network, names.collect()))
        })
    }

    /// The network that the proxy comes to.
    pub fn home(&self) -> Option<&StackNetwork> {
        self.networks.get(DEFAULT)
    }
}

/// Reads a [completed](Stack::completed) model. `hashes`: what Compose says of each service.
pub fn services(model: &Value, project: &str, hashes: &BTreeMap<String, String>) -> BTreeMap<String, StackService> {
    let all = model.get("services").and_then(Value::as_object);
    all.into_iter().flatten().map(|(name, service)| (name.clone(), read(name, service, project, hashes))).collect()
}

fn read(name: &str, service: &Value, project: &str, hashes: &BTreeMap<String, String>) -> StackService {
    let text = |key: &str| service.get(key).and_then(Value::as_str).map(str::to_owned);
    let networks = service.get("networks").and_then(Value::as_object).into_iter().flatten();
    let aliases = |on: &Value| {
        let aliases = on.get("aliases").and_then(Value::as_array).into_iter().flatten();
        aliases.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let replicas = service.pointer("/deploy/replicas").or_else(|| service.get("scale")).and_then(Value::as_u64);
    let ports = service.get("ports").and_then(Value::as_array).into_iter().flatten();
    let published = |port: &Value| {
        let number = port.get("published").and_then(Value::as_str).filter(|number| !number.is_empty())?;
        let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("tcp");
        let address = port.get("host_ip").and_then(Value::as_str).unwrap_or_default();
        Some(if address.is_empty() { format!("{number}/{protocol}") } else { format!("{address}:{number}/{protocol}") })
    };
    StackService {
        hash: hashes.get(name).cloned().unwrap_or_default(),
        image: text("image").unwrap_or_else(|| format!("{project}-{name}")),
        always_pulled: text("pull_policy").is_some_and(|policy| policy == "always"),
        replicas: replicas.and_then(|replicas| u32::try_from(replicas).ok()).unwrap_or(1),
        networks: networks
            .filter(|(key, _)| *key != ON_DESTINATION)
            .map(|(key, on)| (key.clone(), aliases(on)))
            .collect(),
        network_mode: text("network_mode"),
        container_name: text("container_name"),
        published: ports.filter_map(published).collect(),
        ends: text("restart").is_none_or(|policy| policy == "no" || policy.starts_with("on-failure")),
    }
}

/// The networks of a completed model that are the stack's, by their names within the file.
pub fn networks(model: &Value) -> BTreeMap<String, StackNetwork> {
    let all = model.get("networks").and_then(Value::as_object).into_iter().flatten();
    let own = all.filter(|(key, _)| *key != ON_DESTINATION).map(|(key, network)| {
        let external = network.get("external").and_then(Value::as_bool).unwrap_or_default();
        (key.clone(), StackNetwork { name: network_name(model, key).unwrap_or_else(|| key.clone()), external })
    });
    own.collect()
}

/// Real names of the volumes that are the stack's.
pub fn volumes(model: &Value) -> BTreeSet<String> {
    let all = model.get("volumes").and_then(Value::as_object).into_iter().flatten();
    all.filter_map(|(_, volume)| volume.get("name")?.as_str().map(str::to_owned)).collect()
}

pub(super) fn network_name(model: &Value, key: &str) -> Option<String> {
    model.get("networks")?.get(key)?.get("name")?.as_str().map(str::to_owned)
}

/// The mapping under a key, made where it is missing.
pub(super) fn object<'v>(parent: &'v mut Map<String, Value>, key: &str) -> &'v mut Map<String, Value> {
    let value = parent.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made one"),
    }
}

/// Compose reads `$` as the beginning of a variable.
pub(super) fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}

/// As a part of a label's key.
pub(super) fn plain(service: &str) -> String {
    service.replace('.', "-")
}

/// What can be found out about a stack by itself. `model` is what Compose makes of the file, `paths` the same with paths as they are written,
/// where that matters; `said` is what Compose said meanwhile; `text` is the file.
pub fn findings(stack: &Stack, text: &str, model: &Value, paths: Option<Paths<'_>>, said: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let services = || model.get("services").and_then(Value::as_object).into_iter().flatten();
    let networks = model.get("networks").and_then(Value::as_object).into_iter().flatten();
    for (key, network) in networks {
        let external = network.get("external").and_then(Value::as_bool).unwrap_or_default();
        if key == DEFAULT && !external {
            continue;
        }
        let on: Vec<&str> = services()
            .filter(|(_, it)| it.pointer(&format!("/networks/{key}")).is_some())
            .map(|(name, _)| name.as_str())
            .collect();
        let message = if key == DEFAULT {
            "the stack's own network is one that others are on: the stack is not isolated".to_owned()
        } else {
            let on = if on.is_empty() { String::new() } else { format!(" ({} on it)", list(&on)) };
            format!(
                "the network `{key}` is defined within the file{on}: a proxy that takes a container's address on it answers 504 Gateway Timeout"
            )
        };
        found.push(Finding {
            reason: Reason::ComposeNetworks,
            refused: false,
            message,
            hint: "leave `networks` out: the services reach one another by name on the stack's own network, and others with `connectToDestination: true`".to_owned(),
            line: line_of(text, &["networks", key]).or_else(|| line_of(text, &["networks"])),
        });
    }
    for (name, service) in services() {
        if let Some(mode) = service.get("network_mode").and_then(Value::as_str) {
            found.push(Finding {
                reason: Reason::ComposeNetworks,
                refused: false,
                message: format!("the service `{name}` has `network_mode: {mode}`: it is on no network of the stack, and is put on no destination"),
                hint: "leave `network_mode` out, and publish what has to be reached from outside with `ports`".to_owned(),
                line: line_of(text, &["services", name, "network_mode"]),
            });
        }
    }
    if let Some(paths) = paths {
        found.extend(unreachable_paths(text, paths));
    }
    for variable in undefined(said) {
        let line = text.lines().position(|line| uses(line, &variable)).map(|at| at + 1);
        found.push(Finding {
            reason: Reason::ComposeInvalid,
            refused: false,
            message: format!("the variable `{variable}` is not set, and stands for nothing"),
            hint: format!("set it in `envFile`, or write `${{{variable}:-DEFAULT}}`, or `${{{variable}:?}}` to have its absence refused"),
            line,
        });
    }
    let named =
        text.lines().find_map(|line| line.strip_prefix("name:")).map(|name| name.trim().trim_matches(['"', '\'']));
    if let Some(name) = named.filter(|name| *name != stack.project && !name.contains('$')) {
        found.push(Finding {
            reason: Reason::ComposeInvalid,
            refused: false,
            message: format!(
                "the file has `name: {name}`, and the manifest says `project: {}`, which is what counts",
                stack.project
            ),
            hint: "take `name` out of the file, or make them the same".to_owned(),
            line: line_of(text, &["name"]),
        });
    }
    for service in stack.routes.keys().chain(stack.target_ports.keys()).collect::<BTreeSet<_>>() {
        if services().all(|(name, _)| name != service) {
            let known: Vec<&str> = services().map(|(name, _)| name.as_str()).collect();
            found.push(Finding {
                reason: Reason::ComposeInvalid,
                refused: true,
                message: format!("the file has no service `{service}`, for which the manifest has a domain or a port"),
                hint: format!("its services are {}", list(&known)),
                line: line_of(text, &["services"]),
            });
        }
    }
    found
}

/// The model with its paths as the file has them.
#[derive(Debug, Clone, Copy)]
pub struct Paths<'a> {
    pub model: &'a Value,
    /// They are of a commit, and not of this machine.
    pub of_commit: bool,
}

/// Directories and files that are on this machine, where the containers are on another, or of a commit.
fn unreachable_paths(text: &str, Paths { model, of_commit }: Paths<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let (of, directory, lacks) = match of_commit {
        true => {
            ("of the repository", "no directory of the repository stays on the server", "the server does not keep it")
        }
        false => (
            "of the machine that Landfall runs on",
            "the server has an empty directory there",
            "the server does not have it",
        ),
    };
    let relative = |path: &str| !path.starts_with('/');
    for (name, service) in model.get("services").and_then(Value::as_object).into_iter().flatten() {
        let mounts = service.get("volumes").and_then(Value::as_array).into_iter().flatten();
        for mount in mounts.filter(|mount| mount.get("type").and_then(Value::as_str) == Some("bind")) {
            let source = mount.get("source").and_then(Value::as_str).unwrap_or_default();
            if relative(source) {
                found.push(Finding {
                    reason: Reason::ComposeInvalid,
                    refused: true,
                    message: format!("the service `{name}` mounts `{source}`, a path {of}: {directory}"),
                    hint: "use a volume, or an absolute path of the server".to_owned(),
                    line: line_with(text, &["services", name, "volumes"], source),
                });
            }
        }
        if service.get("build").is_some_and(|build| !build.is_null()) {
            found.push(Finding {
                reason: Reason::ComposeInvalid,
                refused: true,
                message: format!("the service `{name}` is built from a directory {of}, and not on the server"),
                hint: "build the image elsewhere, push it to a registry, and name it with `image`".to_owned(),
                line: line_of(text, &["services", name, "build"]),
            });
        }
    }
    for kind in ["configs", "secrets"] {
        for (name, it) in model.get(kind).and_then(Value::as_object).into_iter().flatten() {
            if let Some(file) = it.get("file").and_then(Value::as_str).filter(|file| relative(file)) {
                found.push(Finding {
                    reason: Reason::ComposeInvalid,
                    refused: true,
                    message: format!("`{kind}` mounts `{file}` for `{name}`, a file {of}: {lacks}"),
                    hint: "give the content with `content` or `environment` instead of `file`".to_owned(),
                    line: line_of(text, &[kind, name, "file"]),
                });
            }
        }
    }
    found
}

/// Everything that is to be said about the stacks: what keeps them from being brought up as errors, the rest as warnings.
pub fn diagnostics(manifests: &Manifests, desired: &DesiredState) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    let diagnostic = |severity, file: &str, line, message: &str, hint: &str| Diagnostic {
        severity,
        line,
        column: line.map(|_| 1),
        ..Diagnostic::of_file(file, message).with_hint(hint)
    };
    for server in desired.servers.values() {
        let conflicts = conflicts(server);
        let members = server.destinations.iter().flat_map(|it| it.members.iter().map(move |member| (it, member)));
        for (destination, member) in members {
            let Some(stack) = &member.stack else { continue };
            // What the server is, is not known here; a destination may say it.
            let on_swarm = destination.asserted_type == Some(DestinationType::Swarm);
            match &stack.made {
                Err(unmade) => {
                    // What is not installed here may be where the manifests are applied.
                    let missing = unmade.reason == Reason::ComposeMissing;
                    let severity = if missing { Severity::Warning } else { Severity::Error };
                    let message = unmade.message.trim_end_matches('.');
                    let message = message.strip_prefix(&format!("{}: ", stack.place(unmade.line))).unwrap_or(message);
                    let declared = manifests.get(&member.resource).filter(|_| unmade.unread).map(|it| &it.location);
                    let (file, line) = declared.map_or((&stack.file, unmade.line), |it| (&it.file, Some(it.line)));
                    found.push(diagnostic(severity, file, line, message, &unmade.hint));
                }
                Ok(made) => {
                    let conflicts = conflicts.iter().filter(|(resource, _)| *resource == member.resource);
                    let conflicts = conflicts.map(|(_, finding)| finding);
                    let conflicts = conflicts.filter(|it| !on_swarm || it.reason != Reason::NameTaken);
                    let own = if on_swarm { &made.on_swarm.findings } else { &made.findings };
                    for finding in own.iter().chain(conflicts) {
                        let severity = if finding.refused { Severity::Error } else { Severity::Warning };
                        let message = format!("{} ({:?})", finding.message, finding.reason);
                        found.push(diagnostic(severity, &stack.file, finding.line, &message, &finding.hint));
                    }
                }
            }
        }
    }
    let mut distinct: Vec<Diagnostic> = Vec::new();
    for diagnostic in found {
        if !distinct.contains(&diagnostic) {
            distinct.push(diagnostic);
        }
    }
    distinct
}

/// What only one stack of a server can have, or one server, for each resource that has it as well.
pub fn conflicts(server: &DesiredServer) -> Vec<(ObjectKey, Finding)> {
    let mut found = Vec::new();
    let mut taken: BTreeMap<String, ObjectKey> = BTreeMap::new();
    let members = server.destinations.iter().flat_map(|destination| &destination.members);
    for member in members {
        let Some(stack) = &member.stack else { continue };
        let Ok(made) = &stack.made else { continue };
        let mut claims: Vec<(String, Reason, bool, String)> = Vec::new();
        for (name, service) in &made.services {
            if let Some(container) = &service.container_name {
                claims.push((
                    format!("the container name `{container}`"),
                    Reason::NameTaken,
                    true,
                    format!("leave `container_name` of `{name}` out: Compose names it after the project"),
                ));
            }
            for port in &service.published {
                claims.push((
                    format!("the port {port} of the server"),
                    Reason::PortTaken,
                    true,
                    format!("take the number from a variable in `ports` of `{name}`, or route to it with `domains`"),
                ));
            }
        }
        for network in made.networks.values().filter(|network| !network.external) {
            claims.push((
                format!("the network `{}`", network.name),
                Reason::ComposeNetworks,
                false,
                "leave its `name` out: each stack then has its own".to_owned(),
            ));
        }
        for volume in &made.volumes {
            claims.push((
                format!("the volume `{volume}`"),
                Reason::ComposeInvalid,
                false,
                "leave its `name` out: each stack then has its own".to_owned(),
            ));
        }
        for (what, reason, refused, hint) in claims {
            match taken.get(&what) {
                Some(other) if *other != member.resource => {
                    let message = format!("{what} is {other}'s as well: only one instance can have it");
                    found.push((member.resource.clone(), Finding { reason, refused, message, hint, line: None }));
                }
                Some(_) => {}
                None => {
                    taken.insert(what, member.resource.clone());
                }
            }
        }
    }
    found
}

/// `a`, `b` and `c`
pub(super) fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `The "TAG" variable is not set`, with the quotes as a log has them.
fn undefined(said: &str) -> BTreeSet<String> {
    let said = said.replace("\\\"", "\"");
    let parts = said.split("The \"").skip(1).filter_map(|rest| rest.split_once("\" variable is not set"));
    let name = |text: &str| text.len() <= 256 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    parts.map(|(variable, _)| variable).filter(|it| name(it)).map(str::to_owned).collect()
}

fn uses(line: &str, variable: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    line.match_indices('$').any(|(at, _)| {
        let rest = line[at + 1..].trim_start_matches('{');
        rest.strip_prefix(variable).is_some_and(ends)
    })
}

/// The line that Compose complains about: `services.web additional properties 'imagee' not allowed`.
pub fn line_of_complaint(text: &str, complaint: &str) -> Option<usize> {
    let path = complaint.split_whitespace().map(|word| word.trim_matches([':', '"', '\'', '`', ',']));
    let mut path = path.filter(|word| {
        ["services.", "networks.", "volumes.", "configs.", "secrets."].iter().any(|it| word.starts_with(it))
    });
    let quoted = complaint.split('\'').nth(1);
    if let Some(path) = path.next() {
        let mut steps: Vec<&str> = path.split('.').collect();
        if let Some(line) = quoted.and_then(|key| line_of(text, &[steps.as_slice(), &[key]].concat())) {
            return Some(line);
        }
        while !steps.is_empty() {
            if let Some(line) = line_of(text, &steps) {
                return Some(line);
            }
            steps.pop();
        }
    }
    line_of(text, &[quoted?])
}

/// The line of a key in block style, from 1. A key that is written otherwise is not found, and the message stands without a line.
pub(super) fn line_of(text: &str, path: &[&str]) -> Option<usize> {
    find(text, path).map(|(line, _)| line)
}

/// The first line below a key that holds a text, or the key's own.
fn line_with(text: &str, path: &[&str], needle: &str) -> Option<usize> {
    let (at, indent) = find(text, path)?;
    let below = text.lines().enumerate().skip(at);
    let mut within = below.take_while(|(_, line)| {
        let depth = line.len() - line.trim_start().len();
        line.trim().is_empty() || depth > indent || (depth == indent && line.trim_start().starts_with("- "))
    });
    within.find(|(_, line)| line.contains(needle)).map(|(line, _)| line + 1).or(Some(at))
}

/// The line from 1, and how far the key is indented.
fn find(text: &str, path: &[&str]) -> Option<(usize, usize)> {
    // How far the keys that have been found are indented, and how far their entries are.
    let mut open: Vec<(usize, Option<usize>)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let entry = line.trim_start();
        if entry.is_empty() || entry.starts_with('#') {
            continue;
        }
        let indent = line.len() - entry.len();
        while open.last().is_some_and(|(key, _)| indent <= *key && !(indent == *key && entry.starts_with("- "))) {
            open.pop();
        }
        let expected = match open.last_mut() {
            None => 0,
            Some((_, entries)) => *entries.get_or_insert(indent),
        };
        let wanted = path.get(open.len())?;
        let rest = entry.trim_start_matches(['"', '\'']).strip_prefix(wanted);
        let is_key = rest.is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'));
        if indent == expected && is_key {
            open.push((indent, None));
            if open.len() == path.len() {
                return Some((number + 1, indent));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "name: other
services:
  web:
    image: nginx
    networks: [front]
    volumes:
    - ./data:/data
  # network_mode: not here
  \"db\":
    image: postgres:${TAG}
    network_mode: host
networks:
  front: {}
";

    fn stack() -> Stack {
        Stack {
            project: "shop".to_owned(),
            file: "compose.yaml".to_owned(),
            env_file: None,
            take_ownership: false,
            health_timeout: 120,
            routes: BTreeMap::new(),
            target_ports: BTreeMap::new(),
            made: Err(Unmade {
                reason: Reason::ComposeInvalid,
                message: String::new(),
                hint: String::new(),
                line: None,
                unread: false,
            }),
        }
    }

    fn key(kind: Kind, name: &str) -> ObjectKey {
        ObjectKey::new(kind, "shop", name)
    }

    #[test]
    fn keys_are_found_where_they_are_and_not_where_they_are_not() {
        assert_eq!(line_of(FILE, &["networks", "front"]), Some(13));
        assert_eq!(line_of(FILE, &["services", "db", "network_mode"]), Some(11));
        assert_eq!(line_of(FILE, &["services", "web", "network_mode"]), None);
        assert_eq!(line_with(FILE, &["services", "web", "volumes"], "./data"), Some(7));
        assert_eq!(line_of(FILE, &["services", "web", "build"]), None);
    }

    #[test]
    fn what_compose_complains_about_is_found_in_the_file() {
        let text = "services:\n  web:\n    image: nginx\n    imagee: x\nx: 1\n";
        let line = |complaint| line_of_complaint(text, complaint);
        assert_eq!(line("services.web additional properties 'imagee' not allowed"), Some(4));
        assert_eq!(line("additional properties 'x' not allowed"), Some(5));
        assert_eq!(line("error while interpolating services.web.image: required variable X is missing"), Some(3));
        assert_eq!(line("service \"web\" depends on undefined service"), None);
    }

    #[test]
    fn what_hurts_is_found_with_its_line() {
        let model = json!({
            "services": {
                "web": { "networks": { "front": null } },
                "db": { "network_mode": "host" },
            },
            "networks": { "front": { "name": "shop_front" } },
        });
        let paths = json!({ "services": {
            "web": { "volumes": [{ "type": "bind", "source": "./data", "target": "/data" }], "build": { "context": "." } },
            "db": { "volumes": [{ "type": "bind", "source": "/srv/db", "target": "/data" }] },
        } });
        let said =
            "time=\"now\" level=warning msg=\"The \\\"TAG\\\" variable is not set. Defaulting to a blank string.\"";
        let found = findings(&stack(), FILE, &model, Some(Paths { model: &paths, of_commit: false }), said);
        let short: Vec<_> = found.iter().map(|it| (it.reason, it.refused, it.line)).collect();
        assert_eq!(
            short,
            [
                (Reason::ComposeNetworks, false, Some(13)),
                (Reason::ComposeNetworks, false, Some(11)),
                (Reason::ComposeInvalid, true, Some(7)),
                (Reason::ComposeInvalid, true, None),
                (Reason::ComposeInvalid, false, Some(10)),
                (Reason::ComposeInvalid, false, Some(1)),
            ]
        );
        assert!(found[0].message.contains("`front`") && found[0].message.contains("504"), "{}", found[0].message);
        assert_eq!(findings(&stack(), "", &json!({ "services": { "web": {} } }), None, ""), []);
    }

    #[test]
    fn a_model_is_completed_by_labels_and_the_destination_with_its_own_network_kept() {
        let model = json!({
            "name": "other",
            "services": {
                "web": { "image": "nginx", "labels": { "a": "b" }, "networks": { "default": null } },
                "host": { "image": "nginx", "network_mode": "host" },
            },
            "networks": { "default": { "name": "shop_default" } },
        });
        let mut stack = stack();
        stack.routes.insert("web".to_owned(), vec![routes::parse("shop.example.com").unwrap()]);
        stack.target_ports.insert("web".to_owned(), 8080);
        let (object, destination) = (key(Kind::Service, "cms"), key(Kind::Destination, "web"));
        let additions = Additions {
            set: "default",
            object: &object,
            destination: &destination,
            aliases: Some(&[]),
            proxy: Some(ProxyType::Traefik),
        };
        let completed = stack.completed(model, &additions);
        let web = &completed["services"]["web"];
        assert_eq!(web["networks"], json!({ "default": null, "landfall-destination": { "aliases": ["web-shop"] } }));
        assert_eq!(web["labels"]["traefik.docker.network"], "shop_default");
        assert_eq!(web["labels"]["traefik.http.services.shop-cms-web.loadbalancer.server.port"], "8080");
        assert!(completed["services"]["host"].get("networks").is_none());
        let read: BTreeMap<String, String> = serde_json::from_value(web["labels"].clone()).unwrap();
        let compose = [(PROJECT, "shop"), (SERVICE, "web")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let all: BTreeMap<String, String> = read.into_iter().chain(compose).collect();
        let owner_of = owner(&all).unwrap();
        assert_eq!((owner_of.object, owner_of.service.as_str()), (object, "web"));
        let copied = all.into_iter().chain([(PROJECT.to_owned(), "copy".to_owned())]).collect();
        assert_eq!(owner(&copied), None);

        let model = Model::new(&completed);
        assert!(model.expose(Some("web-net")).contains("\"name\":\"web-net\""));
        assert!(!format!("{model:?}").contains("nginx"));
        assert_eq!(networks(&completed).keys().collect::<Vec<_>>(), ["default"]);
        let read = services(&completed, "shop", &BTreeMap::new());
        assert_eq!((read["web"].replicas, read["web"].ends, read["web"].networks.len()), (1, true, 1));
    }
}
