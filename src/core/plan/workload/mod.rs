//! Managed resources: which containers there ought to be, and what brings them about.
//!
//! A replica is a *slot*. What is planned for it follows from the containers that are in it now, by their labels, and from nothing else: a plan
//! that was interrupted anywhere is completed by the next one. A new container is called after the old one with `-next` behind it until the old
//! one is gone; the daemon gives a name once, so two appliers cannot both make it.

pub(crate) mod attempt;
pub(crate) mod compose;
pub(crate) mod compose_differences;
pub(crate) mod compose_leaving;
pub(crate) mod converge;
pub(crate) mod data;
pub(crate) mod dependencies;
pub(crate) mod hindrance;
pub(crate) mod leaving;
pub(crate) mod managed;
pub(crate) mod on_swarm;
pub(crate) mod ports;
pub(crate) mod rollout;

pub use super::document::workload_call as call;
pub use super::world::identities::identity_of;
pub use super::world::predecessors::{may_be_replaced, service_may_be_replaced};
