//! Planning: a pure function from desired and observed state to operations, each with its cause, and notes on what is left undone.

pub mod operation;

use std::collections::BTreeMap;

pub use operation::*;

use crate::api::ObjectKey;
use crate::desired::DesiredState;
use crate::observed::Observations;

/// Everything the planner knows. Time, randomness and the user's consent come in as values.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    pub desired: &'a DesiredState,
    pub observed: &'a Observations,
    pub request: &'a Request,
    pub ids: &'a FreshIds,
    /// Replacements that were interrupted.
    pub journals: &'a [Journal],
}

/// What the user asked for beyond convergence.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// Remove what the set owns and the manifests no longer declare.
    pub prune: bool,
    /// Lift the limit on how much one pass may delete.
    pub allow_mass_delete: bool,
    /// Objects to delete. They are still in the desired state, which says where they are, unless they are known to the servers' labels only.
    pub delete: BTreeMap<ObjectKey, DeleteMode>,
    /// Plan for nothing but the objects in `delete`.
    pub only_delete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteMode {
    /// Refused while anything remains.
    Guarded,
    /// Stops and disconnects whatever is attached. The user has typed the destination's name or said `--yes`.
    Forced,
}

/// Random identities for networks that may have to be created: drawn before planning, so that planning stays pure.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FreshIds(BTreeMap<ObjectKey, FreshId>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshId {
    /// CUID2 for the label `landfall.uid`.
    pub uid: String,
    /// CUID2 for the name of a network that declares none.
    pub network_name: String,
}

impl FreshIds {
    pub fn new(ids: BTreeMap<ObjectKey, FreshId>) -> Self {
        Self(ids)
    }

    /// A dry run draws none: what it shows must not change from one run to the next.
    pub fn get(&self, destination: &ObjectKey) -> FreshId {
        self.0
            .get(destination)
            .cloned()
            .unwrap_or_else(|| FreshId { uid: "(generated)".to_owned(), network_name: "(generated)".to_owned() })
    }
}
