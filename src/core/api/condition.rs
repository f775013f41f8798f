//! Conditions as in the Kubernetes API conventions.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

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

/// One aspect of an object's state. Clones share it: on most objects of a fleet the same is said.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Condition(Arc<Statement>);

/// What a condition says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Condition")]
pub struct Statement {
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

impl Condition {
    /// Whether nothing else shares it.
    pub fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl From<Statement> for Condition {
    fn from(statement: Statement) -> Self {
        Self(Arc::new(statement))
    }
}

impl Deref for Condition {
    type Target = Statement;

    fn deref(&self) -> &Statement {
        &self.0
    }
}

/// Of this one only: what shared it keeps what it was.
impl DerefMut for Condition {
    fn deref_mut(&mut self) -> &mut Statement {
        Arc::make_mut(&mut self.0)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
