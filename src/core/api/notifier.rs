//! `kind: Notifier`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::meta::{CONTENT_TYPE_PATTERN, HTTP_URL_PATTERN, NAMESPACE_OR_ALL_PATTERN, VARIABLE_PATTERN};

/// Where `landfall run` says that something happened: a chat channel, a phone, or any address that takes a POST. Other commands check it and
/// do nothing with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NotifierSpec {
    /// What is at the address, and so the form of what is sent.
    #[serde(rename = "type")]
    pub notifier_type: NotifierType,
    /// The address. Of most services the address alone lets its holder post: then keep it out of the repository, in `urlFile` or `urlEnv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = HTTP_URL_PATTERN), example = &"https://ntfy.sh/shop-alerts", extend("x-secret" = true))]
    pub url: Option<String>,
    /// File with the address, on the machine that Landfall runs on. Read for each notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub url_file: Option<String>,
    /// Environment variable of the Landfall process with the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = VARIABLE_PATTERN), example = &"SLACK_WEBHOOK")]
    pub url_env: Option<String>,
    /// Which events it is told of.
    #[serde(default = "all_events", skip_serializing_if = "is_all")]
    #[schemars(extend("default" = NotifierEvent::ALL))]
    pub events: Vec<NotifierEvent>,
    /// Namespaces of the objects and servers that it is told about; `*` for all. Default: its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = NAMESPACE_OR_ALL_PATTERN)))]
    pub namespaces: Vec<String>,
    /// `webhook` only: the body, a Jinja template with the variables `event`, `object`, `namespace`, `name`, `kind`, `server`, `reason`,
    /// `message`, `set`, `time`, `text` and `leftOut`. In JSON write `{{ message | tojson }}`. Absent: these variables as a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384), extend("x-secret" = true))]
    pub template: Option<String>,
    /// `webhook` only: what the template makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = CONTENT_TYPE_PATTERN), extend("default" = DEFAULT_CONTENT_TYPE))]
    pub content_type: Option<String>,
}

pub const DEFAULT_CONTENT_TYPE: &str = "application/json";

/// The forms that services document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotifierType {
    /// Any address that takes a POST, with a body of your own.
    Webhook,
    /// An incoming webhook of Slack, or of Mattermost, Rocket.Chat and others that take the same.
    Slack,
    /// A webhook of a Discord channel.
    Discord,
    /// A topic of ntfy.sh or of a server of your own: `https://ntfy.example.com/TOPIC`.
    Ntfy,
}

/// What a notifier can tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum NotifierEvent {
    /// Something that was as declared is no longer.
    DriftFound,
    /// It is again.
    Healed,
    /// Something is refused: a deletion that is blocked, an adoption that no manifest asks for, an immutable field.
    Blocked,
    /// Something else keeps undoing what is repaired.
    Contended,
    /// Few addresses of a network are left, or few ranges of a pool.
    AddressesLow,
    /// A backup that was due was not written.
    BackupFailed,
    /// A server cannot be looked at.
    ServerDown,
    /// It can again.
    ServerBack,
    /// The manifests as they are now cannot be used; the last good ones stay in force. Told for any value of `namespaces`.
    ManifestInvalid,
    /// They can again.
    ManifestValid,
}

impl NotifierEvent {
    pub const ALL: [NotifierEvent; 10] = [
        NotifierEvent::DriftFound,
        NotifierEvent::Healed,
        NotifierEvent::Blocked,
        NotifierEvent::Contended,
        NotifierEvent::AddressesLow,
        NotifierEvent::BackupFailed,
        NotifierEvent::ServerDown,
        NotifierEvent::ServerBack,
        NotifierEvent::ManifestInvalid,
        NotifierEvent::ManifestValid,
    ];

    /// And about no single object.
    pub fn is_about_manifests(self) -> bool {
        matches!(self, NotifierEvent::ManifestInvalid | NotifierEvent::ManifestValid)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            NotifierEvent::DriftFound => "DriftFound",
            NotifierEvent::Healed => "Healed",
            NotifierEvent::Blocked => "Blocked",
            NotifierEvent::Contended => "Contended",
            NotifierEvent::AddressesLow => "AddressesLow",
            NotifierEvent::BackupFailed => "BackupFailed",
            NotifierEvent::ServerDown => "ServerDown",
            NotifierEvent::ServerBack => "ServerBack",
            NotifierEvent::ManifestInvalid => "ManifestInvalid",
            NotifierEvent::ManifestValid => "ManifestValid",
        }
    }
}

fn all_events() -> Vec<NotifierEvent> {
    NotifierEvent::ALL.to_vec()
}

fn is_all(events: &[NotifierEvent]) -> bool {
    events == NotifierEvent::ALL
}
