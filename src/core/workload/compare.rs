//! A running container against what is declared: which fields differ, with both values, and whether the daemon can change them in place.
//!
//! What is compared is the live container over the image's own configuration, never a hash: a new version of Landfall must not recreate
//! anything. Only what is declared is compared, and what was declared when the container was made and no longer is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::identity::{Applied, FIELDS, FILES, UID, files_label};
use super::seen::{SeenConfig, SeenImage, SeenMount, SeenValue};
use super::{ContainerTemplate, Healthcheck, Mount, Port, Resources, Value};
use crate::core::api::RestartPolicy;
use crate::core::printable::shell_word;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// As in the manifest: `env LOG`, `resources.memory`.
    pub field: String,
    /// As it is; `None` where showing it would show a secret, which every variable may be.
    pub from: Option<String>,
    /// As it is to be; without `from`, what is done with it in a word.
    pub to: Option<String>,
    /// The daemon changes it on the running container.
    pub in_place: bool,
}

impl Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, "{}: {from} -> {to}", self.field),
            (None, Some(word)) => write!(f, "{}: {word}", self.field),
            (_, None) => write!(f, "{}: changed", self.field),
        }
    }
}

/// What is declared for a container, beside its template.
#[derive(Debug, Clone, Copy)]
pub struct Declared<'a> {
    pub template: &'a ContainerTemplate,
    /// All labels but Landfall's own: the user's and the routes'.
    pub labels: &'a BTreeMap<String, String>,
    /// The container was made by something else: all that it has counts as declared for it.
    pub foreign: bool,
}

/// The differences of one container, in the order of the fields. `id` is the container's; `image` is what the declared reference stands for, where
/// the daemon has it.
pub fn differences(
    declared: Declared<'_>,
    id: &str,
    labels: &BTreeMap<String, String>,
    seen: &SeenConfig,
    image: Option<&SeenImage>,
) -> Vec<Difference> {
    let image = image.unwrap_or(&NO_IMAGE);
    let applied = if declared.foreign { everything(labels, seen, image) } else { Applied::read(labels) };
    let mut compare = Comparison { template: declared.template, seen, image, applied: &applied, found: Vec::new() };
    compare.command();
    compare.environment(id);
    compare.files(labels);
    compare.mounts();
    compare.host();
    compare.health();
    compare.labels(declared.labels, labels);
    compare.found
}

/// What a service that something else made was given, by its labels and the names of its variables.
pub fn given_by_others<'n>(labels: &BTreeMap<String, String>, env: impl Iterator<Item = &'n str>) -> Applied {
    let env = env.map(|name| (name.to_owned(), SeenValue::default())).collect();
    everything(labels, &SeenConfig { env, ..SeenConfig::default() }, &NO_IMAGE)
}

/// What a container has that its image has not: whoever made it meant it. No value of it is shown.
fn everything(labels: &BTreeMap<String, String>, seen: &SeenConfig, image: &SeenImage) -> Applied {
    let own =
        |key: &&String| !image.labels.contains_key(*key) && !is_own(key) && !TOOLS.iter().any(|it| key.starts_with(it));
    Applied {
        env: BTreeSet::new(),
        secret: seen.env.keys().filter(|name| !image.env.contains_key(*name)).cloned().collect(),
        labels: labels.keys().filter(own).cloned().collect(),
        fields: FIELDS.iter().filter(|field| **field != "hostname").map(|field| (*field).to_owned()).collect(),
    }
}

/// Beginnings of labels by which other tools know their own containers.
const TOOLS: [&str; 3] = ["com.docker.", "org.opencontainers.", "coolify."];

static NO_IMAGE: SeenImage = SeenImage {
    id: String::new(),
    digests: Vec::new(),
    env: BTreeMap::new(),
    entrypoint: Vec::new(),
    command: Vec::new(),
    working_dir: String::new(),
    user: String::new(),
    stop_signal: String::new(),
    healthcheck: None,
    labels: BTreeMap::new(),
    volumes: Vec::new(),
    exposed: Vec::new(),
};

struct Comparison<'a> {
    template: &'a ContainerTemplate,
    seen: &'a SeenConfig,
    image: &'a SeenImage,
    applied: &'a Applied,
    found: Vec<Difference>,
}

impl Comparison<'_> {
    fn differs(&mut self, field: impl Into<String>, from: impl Display, to: impl Display, in_place: bool) {
        let (from, to) = (from.to_string(), to.to_string());
        if from != to {
            self.found.push(Difference { field: field.into(), from: Some(from), to: Some(to), in_place });
        }
    }

    /// A field that is declared, or was: then what stands in its place is `default`.
    fn field(&mut self, name: &'static str, declared: Option<String>, seen: String, default: String, in_place: bool) {
        match declared {
            Some(declared) => self.differs(name, seen, declared, in_place),
            None if self.applied.fields.contains(name) => self.differs(name, seen, default, in_place),
            None => {}
        }
    }

    fn command(&mut self) {
        let (template, seen, image) = (self.template, self.seen, self.image);
        let words = |words: &Vec<String>| list(words);
        self.field(
            "entrypoint",
            template.entrypoint.as_ref().map(words),
            words(&seen.entrypoint),
            words(&image.entrypoint),
            false,
        );
        // An entry point of one's own drops the image's command.
        let default = if template.entrypoint.is_some() { String::from("[]") } else { words(&image.command) };
        self.field("command", template.command.as_ref().map(words), words(&seen.command), default, false);
        self.field(
            "workingDir",
            template.working_dir.clone(),
            seen.working_dir.clone(),
            image.working_dir.clone(),
            false,
        );
        self.field("user", template.user.clone(), seen.user.clone(), image.user.clone(), false);
        self.field(
            "hostname",
            template.hostname.clone(),
            seen.hostname.clone(),
            "the container's id".to_owned(),
            false,
        );
        let init = |init: Option<bool>| init.map_or("unset".to_owned(), |init| init.to_string());
        self.field("init", template.init.map(|it| it.to_string()), init(seen.init), init(None), false);
        self.field(
            "stopSignal",
            template.stop_signal.as_deref().map(signal),
            signal(&seen.stop_signal),
            signal(&image.stop_signal),
            false,
        );
        let seconds = |seconds: Option<u32>| seconds.map_or("unset".to_owned(), |it| it.to_string());
        self.field(
            "stopGracePeriodSeconds",
            template.stop_grace.map(|it| it.to_string()),
            seconds(seen.stop_grace),
            seconds(None),
            false,
        );
    }

    fn environment(&mut self, id: &str) {
        let missing = SeenValue::default();
        for (name, value) in &self.template.env {
            let seen = self.seen.env.get(name);
            let differs = |to: Option<&str>| {
                let to = to.map(str::to_owned);
                Difference { field: format!("env {name}"), from: None, to, in_place: false }
            };
            match (value, seen) {
                (_, None) => self.found.push(differs(Some("added"))),
                (Value::Literal(text), Some(seen)) => {
                    let same = match (&seen.literal, &seen.fingerprint) {
                        (Some(literal), _) => literal == text,
                        (None, Some(known)) => *known == super::secret::fingerprint(text, id),
                        (None, None) => true,
                    };
                    if !same {
                        self.found.push(differs(None));
                    }
                }
                (Value::Secret(secret), Some(seen)) => {
                    let wanted = secret.fingerprint(id);
                    let known = match (&seen.fingerprint, &seen.literal) {
                        (Some(known), _) => Some(known.clone()),
                        (None, Some(literal)) => Some(super::secret::fingerprint(literal, id)),
                        (None, None) => None,
                    };
                    // A secret that could not be read is a note, and no difference.
                    if let (Some(wanted), Some(known)) = (wanted, known)
                        && wanted != known
                    {
                        self.found.push(differs(None));
                    }
                }
            }
        }
        let removed: Vec<&String> = self
            .applied
            .env
            .iter()
            .chain(&self.applied.secret)
            .filter(|name| !self.template.env.contains_key(*name) && self.seen.env.contains_key(*name))
            .collect();
        for name in removed {
            let seen = self.seen.env.get(name).unwrap_or(&missing);
            let from = seen.literal.clone().filter(|_| !self.applied.secret.contains(name));
            let default = self.image.env.get(name);
            if default.is_some() && default == from.as_ref() {
                continue;
            }
            let to = default.is_none().then(|| "removed".to_owned());
            self.found.push(Difference { field: format!("env {name}"), from: None, to, in_place: false });
        }
    }

    fn files(&mut self, labels: &BTreeMap<String, String>) {
        let Some(uid) = labels.get(UID) else { return };
        let unread = self.template.files.values().any(|file| file.content.missing().is_some());
        let read = |text: Option<&String>| -> BTreeMap<String, String> {
            text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
        };
        if unread {
            return;
        }
        let wanted = read(files_label(self.template, uid).as_ref());
        let have = read(labels.get(FILES));
        let paths: BTreeSet<&String> = wanted.keys().chain(have.keys()).collect();
        for path in paths {
            if wanted.get(path) != have.get(path) {
                self.found.push(Difference { field: format!("file {path}"), from: None, to: None, in_place: false });
            }
        }
    }

    fn mounts(&mut self) {
        // Volumes of the image that nobody named are carried over, and never a difference.
        let declared: BTreeSet<Mount> = self.template.mounts.iter().cloned().collect();
        // A manifest may name such a volume all the same: it is how the data of a container that had none other is kept.
        let is_named = |seen: &&SeenMount| !seen.anonymous || declared.contains(&seen.mount);
        let named = self.seen.mounts.iter().filter(is_named).map(|seen| seen.mount.clone());
        let seen: BTreeSet<Mount> = named.collect();
        self.differs("volumes", list(&seen), list(&declared), false);
        let set = |paths: &[String]| list(paths.iter().collect::<BTreeSet<_>>());
        let (seen, declared) = (set(&self.seen.tmpfs), set(&self.template.tmpfs));
        self.differs("tmpfs", seen, declared, false);
    }

    fn host(&mut self) {
        let (template, seen) = (self.template, self.seen);
        let ports = |ports: &[Port]| list(ports.iter().cloned().collect::<BTreeSet<_>>());
        // A port that the daemon chose stays what it is.
        let seen_ports: Vec<Port> = seen
            .ports
            .iter()
            .map(|port| {
                let dynamic = template.ports.iter().any(|it| it.host_port.is_none() && it.key() == port.key());
                if dynamic { Port { host_port: None, ..port.clone() } } else { port.clone() }
            })
            .collect();
        self.differs("ports", ports(&seen_ports), ports(&template.ports), false);
        let policy = |policy: RestartPolicy| restart_word(policy).to_owned();
        self.field(
            "restart",
            template.restart.map(policy),
            policy(seen.restart.unwrap_or(RestartPolicy::No)),
            policy(RestartPolicy::No),
            true,
        );
        self.limits(&template.resources, &seen.resources);
        let set = |words: &[String]| list(words.iter().map(|it| capability(it)).collect::<BTreeSet<_>>());
        self.differs("capAdd", set(&seen.cap_add), set(&template.cap_add), false);
        self.differs("capDrop", set(&seen.cap_drop), set(&template.cap_drop), false);
        let set = |words: &[String]| list(words.iter().collect::<BTreeSet<_>>());
        self.differs("extraHosts", set(&seen.extra_hosts), set(&template.extra_hosts), false);
        self.differs("readOnlyRootFilesystem", seen.read_only, template.read_only, false);
        if let Some(logging) = &template.logging {
            // Options may be secrets: drivers that send elsewhere take their tokens there.
            let driver = seen.logging.as_ref().map_or("unset", |it| it.driver.as_str());
            self.differs("logging.driver", driver, &logging.driver, false);
            if seen.logging.as_ref().is_some_and(|it| it.driver == logging.driver && !logging.same_options(it)) {
                let field = "logging.options".to_owned();
                self.found.push(Difference { field, from: None, to: None, in_place: false });
            }
        }
    }

    /// The daemon raises limits in place and answers 200 to taking one off without doing it; only that of processes goes.
    fn limits(&mut self, declared: &Resources, seen: &Resources) {
        let limit = |value: i64| if value <= 0 { "none".to_owned() } else { value.to_string() };
        let rows = [
            ("resources.cpus", declared.nano_cpus, seen.nano_cpus, false),
            ("resources.memory", declared.memory, seen.memory, false),
            ("resources.pids", declared.pids, seen.pids, true),
        ];
        for (field, declared, seen, clears) in rows {
            if declared != 0 || self.applied.fields.contains(field) {
                // Lowering the memory below what is in use fails in the runtime: a new container it is.
                let lowers = field == "resources.memory" && declared != 0 && seen != 0 && declared < seen;
                self.differs(field, limit(seen), limit(declared), (declared != 0 || clears) && !lowers);
            }
        }
    }

    fn health(&mut self) {
        let seen = self.seen.healthcheck.as_ref().map(unwrapped);
        let shown = |check: Option<&Healthcheck>| check.map_or("none".to_owned(), show_check);
        self.field(
            "healthcheck",
            self.template.healthcheck.as_ref().map(|check| shown(Some(check))),
            shown(seen.as_ref()),
            shown(self.image.healthcheck.as_ref()),
            false,
        );
    }

    fn labels(&mut self, declared: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) {
        for (key, value) in declared {
            let seen = labels.get(key).map_or("unset", String::as_str);
            self.differs(format!("label {key}"), seen, value, false);
        }
        let removed: Vec<&String> = self
            .applied
            .labels
            .iter()
            .filter(|key| !declared.contains_key(*key) && labels.contains_key(*key) && !is_own(key))
            .collect();
        for key in removed {
            let default = self.image.labels.get(key).map_or("unset", String::as_str);
            self.differs(format!("label {key}"), &labels[key], default, false);
        }
    }
}

/// A label that Landfall keeps its own record in.
pub fn is_own(key: &str) -> bool {
    key.starts_with("landfall.")
}

/// What a wrapped health check begins with; after it the check itself.
pub const WRAP: &str = "! test -e ";

/// A health check that fails as soon as the file at `drain` exists. `None` where there is nothing to wrap.
pub fn wrapped(check: &Healthcheck, drain: &str) -> Option<Healthcheck> {
    let line = match check.test.split_first() {
        Some((kind, [line])) if kind == "CMD-SHELL" => line.clone(),
        Some((kind, words)) if kind == "CMD" && !words.is_empty() => {
            words.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ")
        }
        _ => return None,
    };
    Some(Healthcheck { test: vec!["CMD-SHELL".to_owned(), format!("{WRAP}{drain} && {{ {line}\n}}")], ..check.clone() })
}

/// The check within a wrapped one, in the form of a shell line.
fn unwrapped(check: &Healthcheck) -> Healthcheck {
    let line = match check.test.as_slice() {
        [kind, line] if kind == "CMD-SHELL" => line.strip_prefix(WRAP).and_then(|rest| {
            let (_, line) = rest.split_once(" && { ")?;
            line.strip_suffix("\n}")
        }),
        _ => None,
    };
    match line {
        Some(line) => Healthcheck { test: vec!["CMD-SHELL".to_owned(), line.to_owned()], ..check.clone() },
        None => check.clone(),
    }
}

/// One line for a check, whichever of its two forms it has.
fn show_check(check: &Healthcheck) -> String {
    let line = match check.test.split_first() {
        None => "none".to_owned(),
        Some((kind, _)) if kind == "NONE" => "none".to_owned(),
        Some((kind, [line])) if kind == "CMD-SHELL" => line.clone(),
        Some((_, words)) => words.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" "),
    };
    let mut text = line;
    for (name, value) in [
        ("every", check.interval),
        ("timeout", check.timeout),
        ("retries", check.retries),
        ("after", check.start_period),
    ] {
        // Zero is the engine's default.
        if let Some(value) = value.filter(|value| *value > 0) {
            text.push_str(&format!(" {name} {value}"));
        }
    }
    text
}

fn signal(name: &str) -> String {
    let name = if name.is_empty() { "SIGTERM" } else { name };
    if name.starts_with("SIG") || name.chars().all(|c| c.is_ascii_digit()) {
        name.to_owned()
    } else {
        format!("SIG{name}")
    }
}

fn capability(name: &str) -> String {
    name.strip_prefix("CAP_").unwrap_or(name).to_owned()
}

pub fn restart_word(policy: RestartPolicy) -> &'static str {
    match policy {
        RestartPolicy::No => "no",
        RestartPolicy::Always => "always",
        RestartPolicy::OnFailure => "on-failure",
        RestartPolicy::UnlessStopped => "unless-stopped",
    }
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("[{}]", items.join(", "))
}

impl Display for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let source = match &self.source {
            super::MountSource::Volume(name) | super::MountSource::Path(name) => name,
        };
        write!(f, "{source}:{}{}", self.target, if self.read_only { ":ro" } else { "" })
    }
}

impl Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(address) = &self.host_address {
            write!(f, "{address}:")?;
        }
        match self.host_port {
            Some(port) => write!(f, "{port}->{}", self.key()),
            None => write!(f, "{}", self.key()),
        }
    }
}
