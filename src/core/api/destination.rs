//! `kind: Destination`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::meta::{DOCKER_NAME_PATTERN, ObjectRef};

/// A Docker network that applications, databases and service stacks are deployed to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DestinationSpec {
    /// The server the network is on: `name`, or `namespace/name` of another team's server that allows it.
    pub server: ObjectRef,
    /// What people call it; free to change. Default: `<server>-<network>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub display_name: Option<String>,
    /// The Docker network.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: NetworkSpec,
    /// What kind of network it is. Absent: an overlay where the server is part of a Swarm, else a bridge. `swarm` on a standalone server is refused;
    /// `standalone` on a node of a Swarm is a bridge of that node.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub destination_type: Option<DestinationType>,
    /// Connect the server's proxy to it.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    #[schemars(extend("default" = true))]
    pub proxy: bool,
    /// False deactivates it: the network is kept, the proxy disconnected, the declared resources stopped.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    #[schemars(extend("default" = true))]
    pub active: bool,
    /// Take over an existing network of that name. Without it an existing network is left alone and the destination refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub adopt: bool,
    /// With `adopt`: create the network where there is none. Without it a missing network is waited for, as the tool that made it would refuse
    /// one that Landfall made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub create_if_missing: bool,
    /// With `adopt`: make the network anew as Landfall's own, with labels, and reconnect every container that is on it, as `replacement: Reattach` does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub take_ownership: bool,
    /// What to do about containers on the network that no resource declares.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("default" = "Shared"))]
    pub membership: Membership,
    /// What to do when a field that Docker cannot change differs.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("default" = "Never"))]
    pub replacement: Replacement,
    /// What deleting the destination does to the network.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("default" = "Delete"))]
    pub deletion_policy: DeletionPolicy,
    /// Leaves the destination as it is until set back to false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub suspend: bool,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Properties of the Docker network. None of them can be changed after creation: Docker has no call for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// Name of the Docker network, unique per server, immutable. Absent: a CUID2 is generated once and found again by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = DOCKER_NAME_PATTERN), example = &"web-net")]
    pub name: Option<String>,
    /// Address ranges, or `auto`: a free one of the Server's `subnetPool`, which stays the same from then on. Absent: the daemon takes one from
    /// its pools.
    #[serde(default, skip_serializing_if = "Subnets::is_empty")]
    pub subnets: Subnets,
    /// Addresses that Docker gives to no container, by name: those of routers and other machines on the network. Each within one of `subnets`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(example = serde_json::json!({ "router": "10.42.0.5" }))]
    pub aux_addresses: BTreeMap<String, String>,
    /// No route to the outside.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub internal: bool,
    /// Enable IPv4 on the network. A network without it needs `ipv6: true`, and Docker 28 or newer.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    #[schemars(extend("default" = true))]
    pub ipv4: bool,
    /// Enable IPv6 on the network.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub ipv6: bool,
    /// Inter-container communication: containers on the network may talk to each other.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    #[schemars(extend("default" = true))]
    pub icc: bool,
    /// MTU in bytes. Absent: the daemon's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 68, max = 65535), example = 1450)]
    pub mtu: Option<u32>,
    /// Encrypt the traffic between nodes. Overlay networks only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub encrypted: bool,
    /// Further options of the network driver.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = { "type": ["string", "boolean", "integer"] }))]
    pub options: BTreeMap<String, String>,
    /// Labels on the Docker network, beside Landfall's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self {
            name: None,
            subnets: Subnets::default(),
            aux_addresses: BTreeMap::new(),
            internal: false,
            ipv4: true,
            ipv6: false,
            icc: true,
            mtu: None,
            encrypted: false,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// The address ranges of a network: written out, or left to Landfall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Subnets {
    Auto(Auto),
    Listed(Vec<SubnetSpec>),
}

/// The word `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    Auto,
}

impl Subnets {
    /// What is written out.
    pub fn listed(&self) -> &[SubnetSpec] {
        match self {
            Subnets::Auto(_) => &[],
            Subnets::Listed(listed) => listed,
        }
    }

    pub fn is_auto(&self) -> bool {
        matches!(self, Subnets::Auto(_))
    }

    fn is_empty(&self) -> bool {
        matches!(self, Subnets::Listed(listed) if listed.is_empty())
    }
}

impl Default for Subnets {
    fn default() -> Self {
        Subnets::Listed(Vec::new())
    }
}

impl From<Vec<SubnetSpec>> for Subnets {
    fn from(listed: Vec<SubnetSpec>) -> Self {
        Subnets::Listed(listed)
    }
}

impl JsonSchema for Subnets {
    fn schema_name() -> Cow<'static, str> {
        "Subnets".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let listed = generator.subschema_for::<Vec<SubnetSpec>>();
        json_schema!({ "anyOf": [{ "const": "auto" }, listed] })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// One address range of a network, IPv4 or IPv6.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubnetSpec {
    /// The range in CIDR notation.
    #[schemars(example = &"10.42.0.0/24")]
    pub subnet: String,
    /// Address of the gateway within the range. Absent: the daemon takes the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"10.42.0.1")]
    pub gateway: Option<String>,
    /// Part of the range that containers get addresses from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"10.42.0.128/25")]
    pub ip_range: Option<String>,
}

/// What a destination is on its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DestinationType {
    /// A bridge network on a server that is not an active Swarm manager.
    Standalone,
    /// An attachable overlay network on a Swarm.
    Swarm,
}

impl DestinationType {
    pub fn as_str(self) -> &'static str {
        match self {
            DestinationType::Standalone => "standalone",
            DestinationType::Swarm => "swarm",
        }
    }
}

/// What to do about containers that no resource declares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Membership {
    /// They are reported.
    #[default]
    Shared,
    /// They are disconnected.
    Exclusive,
}

/// What to do when a field that Docker cannot change differs from the manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Replacement {
    /// Refuse, and name the fields.
    #[default]
    Never,
    /// Replace the network when nothing but the proxy is on it.
    WhenEmpty,
    /// Replace the network and reconnect everyone, stopped containers included. Connections break for a moment; where only the name changes, everyone is
    /// on the new network before anyone leaves the old one.
    Reattach,
}

/// What deleting a destination does to its network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Removes it.
    #[default]
    Delete,
    /// Leaves it, with everything on it, to whoever wants it.
    Orphan,
}

impl DeletionPolicy {
    pub fn as_str(self) -> &'static str {
        match self {
            DeletionPolicy::Delete => "Delete",
            DeletionPolicy::Orphan => "Orphan",
        }
    }
}
