//! Names, namespaces and references: what every object has, whatever its kind.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// The only API version there is.
pub const API_VERSION: &str = "landfall/v1";
/// The namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";
/// RFC 1123 label: what a Kubernetes user expects of a name.
pub const NAME_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// `name` or `namespace/name`.
pub const REFERENCE_PATTERN: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A namespace, or `*` for all of them.
pub const NAMESPACE_OR_ALL_PATTERN: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?|\\*)$";
/// Docker's rule for the names of containers, networks and volumes.
pub const DOCKER_NAME_PATTERN: &str = "^[a-zA-Z0-9][a-zA-Z0-9_.-]*$";
/// What a container may be called on a network.
pub const HOST_NAME_PATTERN: &str = "^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$";
/// Docker Compose's rule for the names of projects.
pub const PROJECT_PATTERN: &str = "^[a-z0-9][a-z0-9_-]*$";
/// What a Server's endpoint begins with.
pub const ENDPOINT_PATTERN: &str = "^(unix:///.+|tcp://.+|ssh://.+|context://.+)$";
/// A line of known_hosts without the host.
pub const HOST_KEY_PATTERN: &str = "^(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]+=*( .*)?$";
/// What shells accept as the name of a variable.
pub const VARIABLE_PATTERN: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
/// The transport protocols that a port can be published for.
pub const PROTOCOL_PATTERN: &str = "^(tcp|udp|sctp)$";

/// A hardware address.
pub const MAC_PATTERN: &str = "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$";

/// A resource as `dependsOn` names it.
pub const RESOURCE_REFERENCE_PATTERN: &str =
    "^(Application|Database|Service)/([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A key of an encrypted file.
pub const SECRET_KEY_PATTERN: &str = "^[A-Za-z0-9_.-]+$";
/// What a notifier posts to.
pub const HTTP_URL_PATTERN: &str = "^https?://[^/?# ]+[^ ]*$";
/// Where archives are kept. What of it is wrong in detail is said when it is read.
pub const ARCHIVE_PLACE_PATTERN: &str = "^(/|ssh://[^/ ]+/|s3://[A-Za-z0-9._-]+).*$";
/// A public key of age.
pub const AGE_RECIPIENT_PATTERN: &str = "^age1[a-z0-9]{58}$";
/// A media type, with parameters or without.
pub const CONTENT_TYPE_PATTERN: &str = "^[a-z]+/[a-zA-Z0-9.+-]+(; ?[a-zA-Z0-9=_-]+)*$";

/// Every pattern above and what it means; `validate` and editors show that in place of the pattern.
pub const PATTERN_WORDS: [(&str, &str); 23] = [
    (NAME_PATTERN, "must be lower-case letters, digits and `-`, beginning and ending with a letter or digit"),
    (REFERENCE_PATTERN, "must be `name` or `namespace/name`, in lower-case letters, digits and `-`"),
    (NAMESPACE_OR_ALL_PATTERN, "must be a namespace, or `*` for all of them"),
    (DOCKER_NAME_PATTERN, "must be letters, digits, `_`, `.` and `-`, beginning with a letter or digit"),
    (HOST_NAME_PATTERN, "must be a host name: letters, digits, `_`, `.` and `-`"),
    (PROJECT_PATTERN, "must be lower-case letters, digits, `_` and `-`, beginning with a letter or digit"),
    (ENDPOINT_PATTERN, "must be `unix:///path`, `tcp://host:port`, `ssh://[user@]host[:port]` or `context://NAME`"),
    (HOST_KEY_PATTERN, "must be a key type and the key in base64, as in known_hosts"),
    (VARIABLE_PATTERN, "must be letters, digits and `_`, not beginning with a digit"),
    (MAC_PATTERN, "must be six pairs of hexadecimal digits, such as 02:42:0a:2a:00:0a"),
    (HTTP_URL_PATTERN, "must be `http://…` or `https://…`"),
    (CONTENT_TYPE_PATTERN, "must be a media type, such as `application/json`"),
    (
        ARCHIVE_PLACE_PATTERN,
        "must be a path that begins with `/`, `ssh://[user@]host[:port]/path`, or `s3://bucket/prefix`; what is elsewhere is mounted (rclone)",
    ),
    (AGE_RECIPIENT_PATTERN, "must be a recipient of age (`age1…`): age-keygen prints one for each key"),
    (PROTOCOL_PATTERN, "must be `tcp`, `udp` or `sctp`"),
    (
        RESOURCE_REFERENCE_PATTERN,
        "must be `Kind/name` or `Kind/namespace/name` of a resource, such as `Database/orders`",
    ),
    (SECRET_KEY_PATTERN, "must be the name of a key: letters, digits, `_`, `-` and dots"),
    ("^0?[0-7]{3}$", "must be permissions in octal digits, such as \"0400\""),
    ("^[0-9]+(\\.[0-9]{1,3})?$", "must be a number of processors, such as \"0.5\""),
    ("^[0-9]+(Ki|Mi|Gi|k|K|M|G)?$", "must be an amount of memory, such as 256Mi"),
    ("^(SIG)?[A-Z0-9+]+$", "must be the name or the number of a signal, such as SIGTERM"),
    ("^[A-Z_]+$", "must be the name of a Linux capability, such as NET_ADMIN"),
    ("^[A-Za-z0-9_.-]+:.+$", "must be `name:address`"),
];

/// The kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    Server,
    Destination,
    Application,
    Database,
    Service,
    Notifier,
}

impl Kind {
    /// In the order in which a reader meets them.
    pub const ALL: [Kind; 6] =
        [Kind::Server, Kind::Destination, Kind::Application, Kind::Database, Kind::Service, Kind::Notifier];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Server => "Server",
            Kind::Destination => "Destination",
            Kind::Application => "Application",
            Kind::Database => "Database",
            Kind::Service => "Service",
            Kind::Notifier => "Notifier",
        }
    }

    /// `servers`: what a user types after `get`.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Server => "servers",
            Kind::Destination => "destinations",
            Kind::Application => "applications",
            Kind::Database => "databases",
            Kind::Service => "services",
            Kind::Notifier => "notifiers",
        }
    }

    /// Application, Database or Service: something that lives on a destination.
    pub fn is_resource(self) -> bool {
        matches!(self, Kind::Application | Kind::Database | Kind::Service)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Accepts singular, plural and the usual short forms, in any case: `destination`, `destinations`, `dest`.
impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "server" | "servers" | "srv" => Kind::Server,
            "destination" | "destinations" | "dest" | "dst" => Kind::Destination,
            "application" | "applications" | "app" | "apps" => Kind::Application,
            "database" | "databases" | "db" | "dbs" => Kind::Database,
            "service" | "services" | "svc" => Kind::Service,
            "notifier" | "notifiers" => Kind::Notifier,
            _ => {
                return Err(format!(
                    "unknown kind {text:?}; the kinds are servers, destinations, applications, databases, services and notifiers"
                ));
            }
        })
    }
}

/// Name, namespace, labels and annotations of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The object's name: lower-case letters, digits and `-`, at most 63 (an RFC 1123 label). Unique for its kind within the namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = NAME_PATTERN), example = &"web")]
    pub name: String,
    /// The team the object belongs to.
    #[serde(default = "default_namespace")]
    #[schemars(length(min = 1, max = 63), regex(pattern = NAME_PATTERN), example = &"shop")]
    pub namespace: String,
    /// Labels of the object itself, for selecting with `-l`. They do not reach Docker; `spec.network.labels` does.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Free text for people and tools, which Landfall ignores, but for two on a managed application or database: `landfall/was` is the name, or
    /// `namespace/name`, that it had before, and `landfall/replaces` names the containers that ran it before, which something else made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Annotation: what the object was called before.
pub const WAS: &str = "landfall/was";
/// Annotation: the containers, separated by commas, that ran it before.
pub const REPLACES: &str = "landfall/replaces";

fn default_namespace() -> String {
    DEFAULT_NAMESPACE.to_owned()
}

/// Identity of an object: kind, namespace and name. Displays as `Destination/shop/web`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    pub kind: Kind,
    pub namespace: SmolStr,
    pub name: SmolStr,
}

impl ObjectKey {
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// `namespace/name`, as in the label `landfall.destination`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

impl FromStr for ObjectKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(kind), Some(namespace), Some(name), None) => Ok(Self::new(kind.parse()?, namespace, name)),
            _ => Err(format!("{text:?} is not of the form Kind/namespace/name")),
        }
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A reference to another object: `name` in the same namespace, or `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ObjectRef(#[schemars(length(min = 1), regex(pattern = REFERENCE_PATTERN))] pub String);

impl ObjectRef {
    /// The object meant, seen from an object in `namespace`.
    pub fn resolve(&self, kind: Kind, namespace: &str) -> ObjectKey {
        match self.0.split_once('/') {
            Some((namespace, name)) => ObjectKey::new(kind, namespace, name),
            None => ObjectKey::new(kind, namespace, &self.0),
        }
    }
}
