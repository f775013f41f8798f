//! Whose a container is. The record is on the container itself, as it is on networks.
//!
//! Labels can be copied, with a container, by people and tools. The uid ends in check digits over the set, the object, the destination and the
//! container's name: on a container of another name they do not fit, and the labels count for nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ContainerTemplate, Value};
use crate::core::api::{Kind, ObjectKey};
use crate::core::digest::digest;

/// The set that made it.
pub const SET: &str = "landfall.set";
/// `Kind/namespace/name` of the resource that it is of.
pub const OBJECT: &str = "landfall.object";
/// `namespace/name` of the destination that it is on.
pub const DESTINATION: &str = "landfall.destination";
/// Which of the replicas, from 1.
pub const REPLICA: &str = "landfall.replica";
/// Random, and check digits.
pub const UID: &str = "landfall.uid";
/// Names, never values, of what was declared when it was made: [`Applied`] as JSON.
pub const APPLIED: &str = "landfall.applied";
/// Fingerprints of its files by path, as JSON; keyed with the uid.
pub const FILES: &str = "landfall.files";
/// What wrote the data of a database: `postgresql:17-alpine`.
pub const DATA: &str = "landfall.data";
/// Path of the file that makes its health check fail, where the check was wrapped.
pub const DRAIN: &str = "landfall.drain";
/// Stands for what it was made to run, and in whose place: the same of two that roll out the same at once.
pub const ROLLOUT: &str = "landfall.rollout";
/// On a container that is never started: ids of containers that are stopped while their volumes are copied, with commas between. Nobody starts
/// them meanwhile.
pub const HOLDS: &str = "landfall.holds";
/// Until when that counts, in seconds since the epoch: who copies may be no more.
pub const HELD_UNTIL: &str = "landfall.held-until";
/// Beside the ids of services among those: how many tasks each of them gets back, as `ID=3` with commas between.
pub const HELD_REPLICAS: &str = "landfall.held-replicas";
/// On a container that holds others stopped: the destination that the resource was moved to.
pub const MOVED_TO: &str = "landfall.moved-to";
/// On a container that is never started: names of volumes that are being filled, with commas between. Nothing is put on them meanwhile.
pub const FILLS: &str = "landfall.fills";
/// On a managed container: the backup that has to be made before it is removed, as JSON. Its manifest may be gone by then.
pub const BEFORE_DELETE: &str = "landfall.before-delete";
/// On what is managed: the resources that it depends on, with commas between. It goes before them, whether or not a manifest still says so.
pub const DEPENDS_ON: &str = "landfall.depends-on";
/// What a new container is called until the old one is gone.
pub const NEXT: &str = "-next";
/// What a one-shot container before a rollout is called, after the resource.
pub const JOB: &str = "-predeploy";
/// What a one-shot container that reads a database's volume is called, after the resource.
pub const READER: &str = "-readdata";

/// What a container's labels say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub set: String,
    pub object: ObjectKey,
    pub destination: ObjectKey,
    pub replica: u32,
    pub uid: String,
}

/// `None`: it carries no labels of a managed resource, or they are not its own.
pub fn of(name: &str, labels: &BTreeMap<String, String>) -> Option<Identity> {
    let replica = labels.get(REPLICA)?.parse().ok()?;
    sealed(name, labels, replica)
}

/// The same of a one-shot container, which is none of the replicas.
pub fn of_job(name: &str, labels: &BTreeMap<String, String>) -> Option<Identity> {
    if labels.contains_key(REPLICA) { None } else { sealed(name, labels, 0) }
}

fn sealed(name: &str, labels: &BTreeMap<String, String>, replica: u32) -> Option<Identity> {
    let set = labels.get(SET)?.clone();
    let object: ObjectKey = labels.get(OBJECT)?.parse().ok()?;
    let (namespace, destination) = labels.get(DESTINATION)?.split_once('/')?;
    let destination = ObjectKey::new(Kind::Destination, namespace, destination);
    let uid = labels.get(UID)?.clone();
    let (_, digits) = uid.rsplit_once('-')?;
    let base = base_name(name);
    let sealed = digits == check_digits(&set, &object, &destination, base)
        || digits == check_digits(&set, &object, &destination, name);
    sealed.then_some(Identity { set, object, destination, replica, uid })
}

/// The label that says what a resource depends on, where it depends on something.
pub fn depends_on_label(needs: &[ObjectKey]) -> Option<(String, String)> {
    let names: Vec<String> = needs.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| (DEPENDS_ON.to_owned(), names.join(",")))
}

/// What that label says.
pub fn depends_on(labels: &BTreeMap<String, String>) -> impl Iterator<Item = ObjectKey> {
    labels.get(DEPENDS_ON).into_iter().flat_map(|names| names.split(',')).filter_map(|name| name.parse().ok())
}

/// Whether that container keeps the other one stopped.
pub fn holds(labels: &BTreeMap<String, String>, id: &str) -> bool {
    labels.get(HOLDS).is_some_and(|held| held.split(',').any(|held| held == id))
}

/// How many tasks the service gets back that the container keeps at none.
pub fn held_replicas(labels: &BTreeMap<String, String>, id: &str) -> Option<u64> {
    let mut held = labels.get(HELD_REPLICAS)?.split(',').filter_map(|it| it.split_once('='));
    held.find(|(held, _)| *held == id)?.1.parse().ok()
}

/// Whether that container says that the volume is being filled.
pub fn fills(labels: &BTreeMap<String, String>, volume: &str) -> bool {
    labels.get(FILLS).is_some_and(|filled| filled.split(',').any(|filled| filled == volume))
}

/// Whether it kept others stopped, and counts no more. `now` in seconds since the epoch.
pub fn has_expired(labels: &BTreeMap<String, String>, now: u64) -> bool {
    labels.contains_key(HOLDS)
        && labels.get(HELD_UNTIL).and_then(|until| until.parse::<u64>().ok()).is_none_or(|until| until < now)
}

/// The name without what marks a container that has not taken over yet.
pub fn base_name(name: &str) -> &str {
    name.strip_suffix(NEXT).unwrap_or(name)
}

/// The labels of a container that will be called `name` once it has taken over.
pub fn labels(
    id: &str,
    set: &str,
    object: &ObjectKey,
    destination: &ObjectKey,
    replica: u32,
    name: &str,
) -> BTreeMap<String, String> {
    let uid = format!("{id}-{}", check_digits(set, object, destination, name));
    BTreeMap::from([
        (SET.to_owned(), set.to_owned()),
        (OBJECT.to_owned(), object.to_string()),
        (DESTINATION.to_owned(), destination.path()),
        (REPLICA.to_owned(), replica.to_string()),
        (UID.to_owned(), uid),
    ])
}

fn check_digits(set: &str, object: &ObjectKey, destination: &ObjectKey, name: &str) -> String {
    digest(format!("{set}\n{object}\n{}\n{name}", destination.path()), 4)
}

/// Names of what was declared when a container was made: what is there and no longer declared is then known as removed, and what the image
/// or a person brought is not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Applied {
    /// Variables with a literal value.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub env: BTreeSet<String>,
    /// Variables whose value is never shown.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secret: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<String>,
    /// Fields of the manifest.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub fields: BTreeSet<String>,
}

impl Applied {
    pub fn of(template: &ContainerTemplate, labels: &BTreeMap<String, String>) -> Self {
        let names = |secret: bool| {
            let of_kind = template.env.iter().filter(move |(_, value)| value.is_secret() == secret);
            of_kind.map(|(name, _)| name.clone()).collect()
        };
        Self {
            env: names(false),
            secret: names(true),
            labels: labels.keys().cloned().collect(),
            fields: template.declared().map(str::to_owned).collect(),
        }
    }

    /// What a container's labels tell. A container without the label, or with one that cannot be read, was given nothing.
    pub fn read(labels: &BTreeMap<String, String>) -> Self {
        labels.get(APPLIED).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    pub fn label(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Fields of the manifest whose names are kept.
pub const FIELDS: [&str; 15] = [
    "entrypoint",
    "command",
    "workingDir",
    "user",
    "hostname",
    "init",
    "stopSignal",
    "stopGracePeriodSeconds",
    "healthcheck",
    "restart",
    "resources.cpus",
    "resources.memory",
    "resources.pids",
    "readOnlyRootFilesystem",
    "logging",
];

impl ContainerTemplate {
    /// Names of the fields that are declared, as in a manifest. Variables, labels and files are not among them.
    pub fn declared(&self) -> impl Iterator<Item = &'static str> {
        let declared = [
            self.entrypoint.is_some(),
            self.command.is_some(),
            self.working_dir.is_some(),
            self.user.is_some(),
            self.hostname.is_some(),
            self.init.is_some(),
            self.stop_signal.is_some(),
            self.stop_grace.is_some(),
            self.healthcheck.is_some(),
            self.restart.is_some(),
            self.resources.nano_cpus != 0,
            self.resources.memory != 0,
            self.resources.pids != 0,
            self.read_only,
            self.logging.is_some(),
        ];
        FIELDS.into_iter().zip(declared).filter_map(|(name, declared)| declared.then_some(name))
    }
}

/// The label for a container's files.
pub fn files_label(template: &ContainerTemplate, uid: &str) -> Option<String> {
    if template.files.is_empty() {
        return None;
    }
    let files: BTreeMap<&String, String> = template
        .files
        .iter()
        .map(|(path, file)| {
            let content = match &file.content {
                Value::Literal(text) => super::secret::fingerprint(text, uid),
                Value::Secret(secret) => secret.fingerprint(uid).unwrap_or_default(),
            };
            (path, format!("{:04o} {content}", file.mode))
        })
        .collect();
    serde_json::to_string(&files).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str) -> BTreeMap<String, String> {
        let object = ObjectKey::new(Kind::Application, "shop", "frontend");
        let destination = ObjectKey::new(Kind::Destination, "shop", "web");
        labels("c0ffee", "default", &object, &destination, 2, name)
    }

    #[test]
    fn labels_name_the_resource_before_and_after_the_container_takes_over() {
        let labels = made("shop-frontend-2");
        let identity = of("shop-frontend-2", &labels).expect("its own labels");
        assert_eq!((identity.object.to_string(), identity.replica), ("Application/shop/frontend".to_owned(), 2));
        assert_eq!(of("shop-frontend-2-next", &labels), Some(identity));
    }

    #[test]
    fn copied_or_edited_labels_count_for_nothing() {
        let labels = made("shop-frontend-2");
        assert_eq!(of("copy-of-shop-frontend-2", &labels), None);
        for key in [SET, OBJECT, DESTINATION, UID] {
            let mut edited = labels.clone();
            edited.insert(key.to_owned(), "Application/shop/other".to_owned());
            assert_eq!(of("shop-frontend-2", &edited), None, "{key}");
            edited.remove(key);
            assert_eq!(of("shop-frontend-2", &edited), None, "{key}");
        }
    }
}
