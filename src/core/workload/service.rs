//! A managed resource on a Swarm: the definition of its service, from what a manifest declares to what a manager is asked for, and the comparison
//! of that with what a manager has.
//!
//! Files are Swarm secrets: only the nodes that run a task get them, and no inspection shows them. A secret never changes, so its name ends in
//! digits that stand for its content: other content is another secret.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::compare::{Declared, Difference, differences, is_own};
use super::identity::APPLIED;
use super::seen::SeenConfig;
use super::{ContainerTemplate, File, Mount, Order, Value, secret};
use crate::core::api::{ObjectKey, RestartPolicy};
use crate::core::observed::{ObservedService, ServiceAttachment};

/// Longest name of a service: tasks are reached by it.
pub const LONGEST_NAME: usize = 63;
/// The field of [`Applied`](super::identity::Applied) that says that Landfall has bound the tasks to a node.
pub const NODE: &str = "node";
/// Seconds after its start within which a task that fails has the update rolled back.
pub const MONITOR: u32 = 5;

/// The definition of a service, as far as Landfall has a say in it.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceCreate {
    pub name: String,
    pub image: String,
    /// All of them, Landfall's own included. They are the service's; its tasks' containers have none.
    pub labels: BTreeMap<String, String>,
    pub template: ContainerTemplate,
    /// Which secret each of the files is.
    pub files: BTreeMap<String, SecretFile>,
    /// Names of Landfall's own secrets for it that it may refer to and that are no longer declared.
    pub former_secrets: BTreeSet<String>,
    pub replicas: u64,
    pub order: Order,
    /// Where its volumes are.
    pub node: Option<Node>,
    /// Of the volumes that a node makes for its tasks.
    pub volume_labels: BTreeMap<String, String>,
    /// On the destination's network.
    pub attachment: ServiceAttachment,
}

/// A node of the Swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: String,
    /// Host name; the id where that is not known.
    pub name: String,
}

impl Node {
    /// As a placement constraint.
    pub fn constraint(&self) -> String {
        format!("node.id=={}", self.id)
    }
}

/// The node that a constraint binds tasks to.
pub fn bound_to(constraint: &str) -> Option<&str> {
    let (left, right) = constraint.split_once("==")?;
    (left.trim() == "node.id").then_some(right.trim())
}

/// A secret as a file of the tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFile {
    /// Of the secret.
    pub secret: String,
    /// Permission bits.
    pub mode: u32,
}

/// What a manager has of a service that Landfall runs, or may take over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeenService {
    /// Values of variables are fingerprints that are keyed with the service's id.
    pub config: SeenConfig,
    /// `name:tag`, or `name:tag@sha256:…`.
    pub image: String,
    /// By path.
    pub files: BTreeMap<String, SecretFile>,
    pub constraints: Vec<String>,
    /// `start-first` or `stop-first`.
    pub order: String,
    /// How its latest update went, and what the Swarm says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateStatus>,
}

/// From `UpdateStatus`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateStatus {
    /// `updating`, `paused`, `completed`, `rollback_started`, `rollback_paused`, `rollback_completed`.
    pub state: String,
    pub message: String,
}

/// A secret of a Swarm. What is in it, nobody is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenSecret {
    pub id: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

/// A task of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTask {
    pub id: String,
    /// Which of the replicas.
    pub slot: u64,
    /// Id of the node.
    pub node: String,
    /// `running`, `starting`, `failed`, `rejected`, …
    pub state: String,
    pub desired_state: String,
    /// What went wrong, or what it waits for.
    pub error: String,
    /// Since when it is in that state, RFC 3339.
    pub since: String,
    /// Of its container, where there is one.
    pub container: Option<String>,
}

impl ServiceTask {
    pub fn has_failed(&self) -> bool {
        matches!(self.state.as_str(), "failed" | "rejected")
    }

    /// It may hold addresses and volumes.
    pub fn is_there(&self) -> bool {
        !matches!(self.state.as_str(), "complete" | "shutdown" | "failed" | "rejected" | "orphaned" | "remove")
    }
}

impl Order {
    /// As a Swarm has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Order::StartFirst => "start-first",
            Order::StopFirst => "stop-first",
        }
    }
}

/// The names of the secrets that a resource's files are. They say nothing of what is in them to whoever does not know it already.
pub fn secret_files(template: &ContainerTemplate, service: &str, owner: &str) -> BTreeMap<String, SecretFile> {
    let named = |(path, file): (&String, &File)| {
        let File { content, mode } = file;
        let salt = format!("{owner}\n{path}");
        let digits = match content {
            Value::Literal(text) => secret::fingerprint(text, &salt),
            Value::Secret(secret) => secret.fingerprint(&salt).unwrap_or_default(),
        };
        let last = path.rsplit('/').next().unwrap_or_default();
        let plain = |text: &str, most: usize| -> String {
            let plain = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
            plain.take(most).collect::<String>().trim_matches('-').to_owned()
        };
        // 64 characters at most.
        let words = [plain(service, 30), plain(last, 14), digits.chars().take(16).collect()];
        let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
        (path.clone(), SecretFile { secret: words.join("-"), mode: *mode })
    };
    template.files.iter().map(named).collect()
}

/// What the labels of a resource's services and secrets are sealed for, in the place of a replica.
pub const NO_REPLICA: u32 = 0;

/// Stands for the owner of secrets: equal content of two resources has two names.
pub fn owner(set: &str, object: &ObjectKey, destination: &ObjectKey) -> String {
    format!("{set}\n{object}\n{}", destination.path())
}

/// A service against what is declared. `foreign`: something else made it. `own_secret`: whether a secret is one that Landfall made for it.
pub fn service_differences(
    create: &ServiceCreate,
    declared_labels: &BTreeMap<String, String>,
    seen: &Live<'_>,
    own_secret: impl Fn(&str) -> bool,
) -> Vec<Difference> {
    let Live { id, labels, definition, replicas, foreign } = *seen;
    let template = normalized(&create.template);
    let declared = Declared { template: &template, labels: declared_labels, foreign };
    // What a definition does not say is the image's: its defaults are nothing.
    let mut found = differences(declared, id, labels, &definition.config, None);
    for difference in found.iter_mut().filter(|it| it.field.starts_with("label ")) {
        difference.in_place = true;
    }
    found.extend(image_difference(&create.image, &definition.image));
    found.extend(file_differences(create, definition, own_secret));
    let differs = |field: &str, from: String, to: String, in_place: bool| {
        (from != to).then(|| Difference { field: field.to_owned(), from: Some(from), to: Some(to), in_place })
    };
    let number = |replicas: Option<u64>| replicas.map_or("global".to_owned(), |it| it.to_string());
    found.extend(differs("replicas", number(replicas), create.replicas.to_string(), true));
    let order = if definition.order.is_empty() { Order::StopFirst.as_str() } else { &definition.order };
    found.extend(differs("rollout", order.to_owned(), create.order.as_str().to_owned(), true));
    let bound = definition.constraints.iter().find_map(|it| bound_to(it));
    match &create.node {
        Some(node) if bound != Some(node.id.as_str()) => {
            found.extend(differs("node", bound.unwrap_or("any").to_owned(), node.id.clone(), false));
        }
        None if bound.is_some() && was_bound(labels) => {
            found.extend(differs("node", bound.unwrap_or_default().to_owned(), "any".to_owned(), false));
        }
        _ => {}
    }
    found
}

/// A service as it is.
#[derive(Debug, Clone, Copy)]
pub struct Live<'a> {
    pub id: &'a str,
    pub labels: &'a BTreeMap<String, String>,
    pub definition: &'a SeenService,
    pub replicas: Option<u64>,
    pub foreign: bool,
}

fn was_bound(labels: &BTreeMap<String, String>) -> bool {
    labels.contains_key(APPLIED) && super::identity::Applied::read(labels).fields.contains(NODE)
}

/// As a Swarm knows it: it has two ways to restart what ends, and files are secrets.
fn normalized(template: &ContainerTemplate) -> ContainerTemplate {
    ContainerTemplate {
        restart: template.restart.map(|policy| match policy {
            RestartPolicy::Always => RestartPolicy::UnlessStopped,
            other => other,
        }),
        files: BTreeMap::new(),
        ..template.clone()
    }
}

/// An image by the tag that is declared, whatever digest it was pinned to. `declared` has a digest where that one is to run.
fn image_difference(declared: &str, seen: &str) -> Option<Difference> {
    let name = |image: &str| image.split('@').next().unwrap_or_default().to_owned();
    let same = match (declared.split_once('@'), seen.split_once('@')) {
        (Some((_, declared)), Some((_, seen))) => declared == seen,
        // One that was made without asking the registry runs what the tag stood for.
        _ => name(declared) == name(seen),
    };
    (!same).then(|| Difference {
        field: "image".to_owned(),
        from: Some(seen.to_owned()),
        to: Some(declared.to_owned()),
        in_place: false,
    })
}

fn file_differences(create: &ServiceCreate, seen: &SeenService, own_secret: impl Fn(&str) -> bool) -> Vec<Difference> {
    let unread = create.template.files.values().any(|file| file.content.missing().is_some());
    if unread {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut differs = |path: &String, word: Option<&str>| {
        let to = word.map(str::to_owned);
        found.push(Difference { field: format!("file {path}"), from: None, to, in_place: false });
    };
    for (path, file) in &create.files {
        match seen.files.get(path) {
            None => differs(path, Some("added")),
            Some(seen) if seen != file => differs(path, None),
            Some(_) => {}
        }
    }
    for (path, file) in &seen.files {
        if !create.files.contains_key(path) && own_secret(&file.secret) {
            differs(path, Some("removed"));
        }
    }
    found
}

impl ServiceCreate {
    /// Whether a service is defined so.
    pub fn is_as(&self, service: &ObservedService, definition: &SeenService) -> bool {
        let mut labels = self.labels.clone();
        labels.retain(|key, _| !is_own(key));
        let live = Live {
            id: service.id.as_str(),
            labels: &service.labels,
            definition,
            replicas: service.replicas,
            foreign: false,
        };
        let own = |name: &str| self.former_secrets.contains(name);
        service_differences(self, &labels, &live, own).is_empty()
            && self.labels.iter().all(|(key, value)| service.labels.get(key) == Some(value))
    }

    /// Names of the volumes that stay when it goes.
    pub fn volumes(&self) -> impl Iterator<Item = &str> {
        volumes(&self.template.mounts)
    }
}

/// Names of Docker volumes.
pub fn volumes(mounts: &[Mount]) -> impl Iterator<Item = &str> {
    mounts.iter().filter_map(|mount| match &mount.source {
        super::MountSource::Volume(name) => Some(name.as_str()),
        super::MountSource::Path(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_after_what_is_in_it_and_whose_it_is() {
        let file = |text: &str| File { content: Value::Literal(text.to_owned()), mode: 0o400 };
        let named = |text: &str, owner: &str| {
            let files = [("/run/secrets/api_key.pem".to_owned(), file(text))].into();
            let template = ContainerTemplate { files, ..ContainerTemplate::default() };
            secret_files(&template, "shop-frontend", owner).into_values().next().unwrap().secret
        };
        let name = named("hunter2", "a");
        assert!(name.starts_with("shop-frontend-api-key-pem-") && !name.contains("hunter"), "{name}");
        assert_eq!(name, named("hunter2", "a"));
        assert_ne!(name, named("hunter3", "a"));
        assert_ne!(name, named("hunter2", "b"));
        let long = [(format!("/{}", "x".repeat(200)), file("y"))].into();
        let template = ContainerTemplate { files: long, ..ContainerTemplate::default() };
        let name = secret_files(&template, &"s".repeat(63), "a").into_values().next().unwrap().secret;
        assert!(name.len() <= 64, "{name}");
    }

    #[test]
    fn a_tag_is_the_same_image_whatever_digest_it_was_pinned_to() {
        assert_eq!(image_difference("web:1", "web:1@sha256:aa"), None);
        assert_eq!(image_difference("web:1@sha256:aa", "web:1@sha256:aa"), None);
        assert_eq!(image_difference("web:1@sha256:aa", "web:1"), None);
        assert!(image_difference("web:1@sha256:bb", "web:1@sha256:aa").is_some());
        assert!(image_difference("web:2", "web:1@sha256:aa").is_some());
    }

    #[test]
    fn a_constraint_binds_to_a_node_however_it_is_written() {
        assert_eq!(bound_to("node.id==abc"), Some("abc"));
        assert_eq!(bound_to("node.id == abc"), Some("abc"));
        assert_eq!(bound_to("node.id!=abc"), None);
        assert_eq!(bound_to("node.labels.disk==ssd"), None);
    }
}
