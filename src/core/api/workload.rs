//! What a managed resource runs: the fields of an Application or a Database that Landfall turns into containers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::meta::{AGE_RECIPIENT_PATTERN, ARCHIVE_PLACE_PATTERN, ObjectRef, SECRET_KEY_PATTERN};

/// A value that is not in the manifest: exactly one of the fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValueFrom {
    /// Environment variable of the Landfall process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// File, relative to the manifest: with `--git` one of the commit, else of the machine that Landfall runs on, as is any absolute path. A trailing newline is not part of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Key of a file that is encrypted with SOPS, relative to the manifest. `sops` decrypts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sops: Option<SopsSource>,
    /// How a managed Database is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseSource>,
}

/// A key of a file that is encrypted with SOPS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SopsSource {
    /// The encrypted file, relative to the manifest.
    pub file: String,
    /// Name of the key; dots lead into nested mappings.
    #[schemars(length(min = 1), regex(pattern = SECRET_KEY_PATTERN))]
    pub key: String,
}

/// A part of how a managed Database is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseSource {
    /// The Database: `name`, or `namespace/name`.
    pub name: ObjectRef,
    /// Which part of its connection.
    pub field: DatabaseField,
}

/// A part of how a database is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DatabaseField {
    Url,
    Host,
    Port,
    Username,
    Password,
    Database,
}

/// A file within the containers. Its content is not visible in `docker inspect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSpec {
    /// Absolute path within the container.
    pub path: String,
    /// The content, written out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-secret" = true))]
    pub value: Option<String>,
    /// Where the content is read from when Landfall runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
    /// Permissions in octal digits.
    #[serde(default = "readable", skip_serializing_if = "is_readable")]
    #[schemars(regex(pattern = "^0?[0-7]{3}$"), extend("default" = "0444"))]
    pub mode: String,
}

fn readable() -> String {
    "0444".to_owned()
}

fn is_readable(mode: &str) -> bool {
    mode == "0444"
}

/// Limits of one container. Absent: none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourcesSpec {
    /// Processors, such as `"0.5"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]+(\\.[0-9]{1,3})?$"), example = &"0.5")]
    pub cpus: Option<String>,
    /// Memory with a unit: `64Mi`, `1Gi`, or bytes. Swap is not granted beyond it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]+(Ki|Mi|Gi|k|K|M|G)?$"), example = &"256Mi")]
    pub memory: Option<String>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub pids: Option<i64>,
}

/// How a new version takes over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutSpec {
    /// Whether the new container starts before the old one stops.
    #[serde(default, skip_serializing_if = "is_auto")]
    #[schemars(extend("default" = "Auto"))]
    pub strategy: RolloutStrategy,
    /// Seconds that a new container has to become healthy. Default: 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub health_timeout_seconds: Option<u32>,
    /// Seconds between the moment that the proxy lets go of the old container and its stop. Default: 10 behind a proxy, else 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 3600))]
    pub drain_seconds: Option<u32>,
}

fn is_auto(strategy: &RolloutStrategy) -> bool {
    *strategy == RolloutStrategy::Auto
}

/// Whether the new container starts before the old one stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutStrategy {
    /// StopFirst with a published host port, a static address, or a writable volume on one replica; else StartFirst.
    #[default]
    Auto,
    StartFirst,
    StopFirst,
}

/// Jobs around a rollout.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HooksSpec {
    /// A one-shot container of the new image on the destination, before anything is replaced. Its failure stops the rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_deploy: Option<HookSpec>,
}

/// A one-shot container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HookSpec {
    /// Command and arguments.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// Seconds that it may take. Default: 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub timeout_seconds: Option<u32>,
}

/// Copies of the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupSpec {
    /// Place for the archives: a directory, as an absolute path of the machine that `landfall run`, `apply` or `delete` runs on, `ssh://[user@]host[:port]/path`, or `s3://bucket/prefix?endpoint=https://host&region=name`.
    #[schemars(regex(pattern = ARCHIVE_PLACE_PATTERN), example = &"/srv/backups")]
    pub to: String,
    /// When `landfall run` makes one: five fields as for cron, or `@daily` and the like. Absent: it makes none by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), example = &"15 3 * * *")]
    pub schedule: Option<String>,
    /// Time zone of the schedule, as the IANA database names it. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100), example = &"Europe/Berlin")]
    pub time_zone: Option<String>,
    /// How many archives stay. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub keep: Option<u32>,
    /// Recipients of age that the archives are encrypted for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = AGE_RECIPIENT_PATTERN)))]
    pub encrypt_to: Vec<String>,
    /// Volumes are copied while containers write to them; otherwise those are stopped meanwhile. Dumps of databases stop nothing in either case.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub live: bool,
    /// Managed: `delete` and pruning make a backup first, and remove nothing where it fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub before_delete: bool,
}

/// Where the daemon sends what the containers write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoggingSpec {
    /// Log driver, such as `json-file` or `journald`.
    #[schemars(length(min = 1))]
    pub driver: String,
    /// Options of the driver.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    #[schemars(extend("x-secret" = true))]
    pub options: std::collections::BTreeMap<String, String>,
}
