//! What a plan is made from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::api::ObjectKey;
use crate::core::desired::DesiredState;
use crate::core::observed::{Observations, ObservedNetwork};
use crate::core::plan::document::journal::{Journal, UnreadableJournal};
use crate::core::plan::document::withheld::Withheld;

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
    /// Fingerprints of [`Withheld`] deletions that somebody has agreed to.
    pub approved: BTreeSet<String>,
    /// A list that was agreed to as a whole: what is left of it after a part was done is agreed to as well.
    pub agreed: Option<Arc<Withheld>>,
    /// Destinations whose policy was last known to be Orphan: undeclared, they are left, whatever their networks' labels say.
    pub protected: Arc<BTreeSet<ObjectKey>>,
    /// Destinations whose network was one of a Swarm when it was last seen.
    pub overlays: Arc<BTreeSet<ObjectKey>>,
    /// Objects to delete. They are still in the desired state, which says where they are, unless they are known to the servers' labels only.
    pub delete: BTreeMap<ObjectKey, DeleteMode>,
    /// Plan for nothing but the objects in `delete`.
    pub only_delete: bool,
    /// What other nodes of a Swarm have is of interest, although nothing is to be removed.
    pub whole_swarms: bool,
    /// Journals that say nothing: their destinations are left as they are.
    pub unreadable: Vec<UnreadableJournal>,
    /// Attempts to run something that have failed, with what was said of them: none is made again before something changes.
    pub failed_attempts: BTreeMap<String, String>,
    /// Networks of servers that were not looked at, as far as they are known: what is theirs of a pool is not given out again.
    pub neighbours: BTreeMap<ObjectKey, Vec<ObservedNetwork>>,
    /// Resources whose containers are replaced by new ones although nothing differs.
    pub restart: BTreeSet<ObjectKey>,
    /// Resources that are removed only after a backup, as far as that was known when a manifest last declared them.
    pub guarded: Arc<BTreeSet<ObjectKey>>,
    /// Those of which one was made, or that are removed without.
    pub saved: BTreeSet<ObjectKey>,
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

impl FreshIds {
    pub fn new(ids: BTreeMap<ObjectKey, FreshId>) -> Self {
        Self(ids)
    }

    /// A dry run draws none: what it shows must not change from one run to the next.
    pub fn get(&self, destination: &ObjectKey) -> FreshId {
        self.0
            .get(destination)
            .cloned()
            .unwrap_or_else(|| FreshId { uid: GENERATED.to_owned(), network_name: GENERATED.to_owned() })
    }
}

/// Stands for an identity that has not been drawn.
pub(crate) const GENERATED: &str = "(generated)";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshId {
    /// CUID2 for the label `landfall.uid`.
    pub uid: String,
    /// CUID2 for the name of a network that declares none.
    pub network_name: String,
}
