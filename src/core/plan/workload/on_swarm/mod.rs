//! On a Swarm: one service for a resource.

pub(crate) mod definition;
pub(crate) mod hindrance;
pub(crate) mod rollout;
pub(crate) mod stack;
pub(crate) mod stack_leaving;
