//! Random identities, drawn before planning so that planning itself needs no randomness.

use crate::core::desired::DesiredState;
use crate::core::plan::{FreshId, FreshIds};

/// One identity for each destination, whether it will be needed or not.
pub fn fresh_ids(desired: &DesiredState) -> FreshIds {
    let draw = || FreshId { uid: cuid2::create_id(), network_name: cuid2::create_id() };
    FreshIds::new(desired.destinations().map(|(_, destination)| (destination.key.clone(), draw())).collect())
}
