//! What a daemon says of a container that a resource runs in, and of its image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Healthcheck, Logging, Mount, Port, Resources};
use crate::core::api::RestartPolicy;

/// The configuration of one container, from its inspection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeenConfig {
    /// Full id of the image that it was made from: `sha256:…`.
    pub image_id: String,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub working_dir: String,
    pub user: String,
    pub hostname: String,
    pub init: Option<bool>,
    pub stop_signal: String,
    pub stop_grace: Option<u32>,
    /// Values are kept where Landfall gave a literal one, and as fingerprints otherwise.
    pub env: BTreeMap<String, SeenValue>,
    pub ports: Vec<Port>,
    pub mounts: Vec<SeenMount>,
    pub tmpfs: Vec<String>,
    pub restart: Option<RestartPolicy>,
    pub resources: Resources,
    pub healthcheck: Option<Healthcheck>,
    pub read_only: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub extra_hosts: Vec<String>,
    pub logging: Option<Logging>,
    /// How often the daemon has restarted it.
    pub restarts: u64,
    /// RFC 3339, as the daemon gives it.
    pub started: String,
}

/// A mount, and whether its volume was made for the container alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeenMount {
    #[serde(flatten)]
    pub mount: Mount,
    /// A volume that nobody named: it has the form of an id.
    pub anonymous: bool,
}

/// The value of a variable.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SeenValue {
    /// Keyed with the container's id. Not written out: what replays an observation takes it as unchanged.
    #[serde(skip)]
    pub fingerprint: Option<String>,
    /// Where the manifest had it written out; it may be a secret all the same.
    #[serde(skip)]
    pub literal: Option<String>,
}

/// An image that the daemon has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeenImage {
    /// `sha256:…`
    pub id: String,
    /// `repository@sha256:…`, as it was pulled.
    pub digests: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub working_dir: String,
    pub user: String,
    pub stop_signal: String,
    pub healthcheck: Option<Healthcheck>,
    pub labels: BTreeMap<String, String>,
    /// Paths that are volumes.
    pub volumes: Vec<String>,
    /// `80/tcp`
    pub exposed: Vec<String>,
}

/// An image reference that a resource declares, as it is on one server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageState {
    /// `None`: the daemon does not have it.
    pub local: Option<SeenImage>,
    /// Digest that the registry has for the tag now, where it was asked.
    pub remote: Option<String>,
    /// Why the registry could not say.
    pub problem: Option<String>,
}

impl ImageState {
    /// The tag has moved: the registry has another digest than what is here.
    pub fn has_moved(&self) -> bool {
        match (&self.local, &self.remote) {
            (Some(local), Some(remote)) => {
                // An image that was never pulled has no digest to compare.
                !local.digests.is_empty() && !local.digests.iter().any(|digest| digest.ends_with(remote.as_str()))
            }
            _ => false,
        }
    }
}

/// What a daemon keeps: images, volumes, and the containers that use them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Storage {
    pub images: Vec<StoredImage>,
    pub volumes: Vec<StoredVolume>,
    pub users: Vec<User>,
}

/// An image in the list of a daemon.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StoredImage {
    /// `sha256:…`
    pub id: String,
    /// `repository:tag`
    pub tags: Vec<String>,
    /// `repository@sha256:…`
    pub digests: Vec<String>,
    /// Bytes, layers that it shares with others included.
    pub size: u64,
    /// Seconds since the epoch.
    pub created: i64,
}

/// A volume in the list of a daemon.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StoredVolume {
    pub name: String,
    pub driver: String,
    pub labels: BTreeMap<String, String>,
    /// RFC 3339, as the daemon gives it.
    pub created: String,
}

/// What a container, in whichever state, keeps from being removed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct User {
    /// Of the container.
    pub id: String,
    pub image_id: String,
    /// Names of volumes.
    pub volumes: Vec<String>,
}

/// A Docker volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeenVolume {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

/// Whether the daemon gave a volume its name, because whoever made the container gave it none.
pub fn is_anonymous(volume: &str) -> bool {
    volume.len() == 64 && volume.bytes().all(|byte| byte.is_ascii_hexdigit())
}
