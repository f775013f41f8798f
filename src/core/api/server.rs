//! `kind: Server`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::meta::{DOCKER_NAME_PATTERN, ENDPOINT_PATTERN, HOST_KEY_PATTERN, NAMESPACE_OR_ALL_PATTERN, ObjectRef};

/// A machine with a Docker Engine: where it is reached, and which proxy serves it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerSpec {
    /// Where the Docker Engine listens: `unix:///path`, `tcp://host:port`, `ssh://[user@]host[:port][/path/docker.sock]` or
    /// `context://NAME` of the Docker CLI.
    #[serde(default = "default_endpoint")]
    #[schemars(regex(pattern = ENDPOINT_PATTERN), example = &"ssh://deploy@edge-1.example.com")]
    #[schemars(extend("default" = DEFAULT_ENDPOINT))]
    pub endpoint: String,
    /// How to authenticate to an `ssh://` endpoint, and which host key to expect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshSpec>,
    /// Client certificate for a `tcp://` endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// Allows a `tcp://` endpoint without TLS. Whoever reaches that port owns the machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub insecure: bool,
    /// What the server is for. A build server takes no destinations.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("default" = "Deploy"))]
    pub role: ServerRole,
    /// The reverse proxy that is connected to the server's destinations. Absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxySpec>,
    /// Other namespaces (teams) whose destinations may use this server; `*` for all. Its own namespace always may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = NAMESPACE_OR_ALL_PATTERN)))]
    pub allowed_namespaces: Vec<String>,
    /// Where `spec.network.subnets: auto` of this server's destinations takes ranges from. Servers whose pools have addresses in common share
    /// them: no range is given out twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet_pool: Option<SubnetPoolSpec>,
    /// Ranges that no destination of this server may have: the company's network, VPNs, other sites. Servers that share a pool respect each
    /// other's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = serde_json::json!(["10.8.0.0/16"]))]
    pub reserved_ranges: Vec<String>,
    /// The destination of resources that name this server in place of a destination; one of this server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_destination: Option<ObjectRef>,
    /// Leaves everything on this server as it is until set back to false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub suspend: bool,
}

/// The daemon of the machine that Landfall runs on.
pub const DEFAULT_ENDPOINT: &str = "unix:///var/run/docker.sock";

fn default_endpoint() -> String {
    DEFAULT_ENDPOINT.to_owned()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a server is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServerRole {
    /// Runs workloads on destinations.
    #[default]
    Deploy,
    /// Builds images only; takes no destinations.
    Build,
}

/// SSH settings of an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SshSpec {
    /// Private key file; `~` is the home directory of the user that runs Landfall. Absent: the agent and the user's ssh configuration decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"~/.ssh/id_ed25519")]
    pub identity_file: Option<String>,
    /// File that holds the passphrase of the private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase_file: Option<String>,
    /// Environment variable that holds the passphrase of the private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase_env: Option<String>,
    /// The server's host key as in known_hosts, type and base64. Absent: known_hosts decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = HOST_KEY_PATTERN))]
    pub host_key: Option<String>,
    /// known_hosts file to use instead of the user's own and the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<String>,
}

/// TLS material of a `tcp://` endpoint: PEM files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsSpec {
    /// Certificate of the authority that signed the daemon's certificate.
    pub ca_file: String,
    /// Client certificate.
    pub cert_file: String,
    /// Private key of the client certificate.
    pub key_file: String,
    /// Name to expect in the daemon's certificate where it differs from the endpoint's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// Address ranges that networks are cut from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubnetPoolSpec {
    /// The ranges, IPv4 and IPv6.
    #[schemars(length(min = 1), example = serde_json::json!(["10.64.0.0/12"]))]
    pub ranges: Vec<String>,
    /// Prefix length of the IPv4 networks that are cut from them.
    #[serde(default = "prefix_v4")]
    #[schemars(range(min = 8, max = 30), extend("default" = DEFAULT_PREFIX_V4))]
    pub prefix_length: u8,
    /// Prefix length of the IPv6 networks.
    #[serde(default = "prefix_v6", rename = "prefixLengthV6")]
    #[schemars(range(min = 16, max = 126), extend("default" = DEFAULT_PREFIX_V6))]
    pub prefix_length_v6: u8,
}

const DEFAULT_PREFIX_V4: u8 = 24;
const DEFAULT_PREFIX_V6: u8 = 64;

fn prefix_v4() -> u8 {
    DEFAULT_PREFIX_V4
}

fn prefix_v6() -> u8 {
    DEFAULT_PREFIX_V6
}

/// The reverse proxy of a server: one container, or one Swarm service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxySpec {
    /// Name of the proxy's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DOCKER_NAME_PATTERN), example = &"traefik")]
    pub container: Option<String>,
    /// Name of the proxy's Swarm service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DOCKER_NAME_PATTERN))]
    pub service: Option<String>,
    /// Which proxy it is: decides which routing labels are understood.
    #[serde(default, rename = "type", skip_serializing_if = "is_default")]
    #[schemars(extend("default" = "Traefik"))]
    pub proxy_type: ProxyType,
    /// Have Traefik look again after a member was connected that runs already, by a short-lived container of its own image: it reads addresses only
    /// when a container starts, dies or changes health. Absent: where its image is recognised as Traefik's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<bool>,
}

/// Known reverse proxies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProxyType {
    #[default]
    Traefik,
    Caddy,
    Nginx,
    Other,
}
