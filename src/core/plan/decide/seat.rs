//! Who is to be on a destination's network.

use std::collections::BTreeSet;

use crate::core::desired::DesiredDestination;
use crate::core::plan::world::context::Context;
use crate::core::plan::world::ownership::Purpose;

/// Whether the proxy is to be on the destination's network; `None`: it may stay where it is.
pub(crate) fn belongs(ctx: &Context<'_>, destination: &DesiredDestination, marked: bool) -> Option<bool> {
    debug_assert!(ctx.server.proxy.is_some());
    match (destination.active, destination.proxy) {
        (true, true) => Some(true),
        (true, false) if !marked => None,
        (true, false) | (false, _) => Some(false),
    }
}

/// The proxy may be declared as a member too.
pub(crate) fn made_for(declared: Option<&BTreeSet<Purpose>>) -> BTreeSet<Purpose> {
    declared.into_iter().flatten().cloned().chain([Purpose::Proxy]).collect()
}
