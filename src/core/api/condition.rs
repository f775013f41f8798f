//! Conditions as in the Kubernetes API conventions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Whether a condition holds. Unknown is what an unreachable server makes of its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// One aspect of an object's state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `NetworkExists`, `ProxyConnected`, …
    #[serde(rename = "type")]
    pub condition_type: SmolStr,
    pub status: ConditionStatus,
    /// One word in CamelCase.
    pub reason: SmolStr,
    /// A sentence for people.
    pub message: SmolStr,
    /// Generation of the manifest that the condition was set for; absent where none is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<u64>,
    /// RFC 3339 time at which `status` last changed; absent where no history is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<SmolStr>,
}
