//! On a Swarm: one service for a resource.

pub(crate) mod definition;
pub(crate) mod hindrance;
pub(crate) mod rollout;
