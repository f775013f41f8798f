//! Decisions to operations, journals and their order.

pub(crate) mod arrange;
pub(crate) mod attachment;
mod bound;
pub(crate) mod crowd;
pub(crate) mod default_route;
pub(crate) mod deletion;
pub(crate) mod draft;
pub(crate) mod endpoint;
pub(crate) mod journals;
pub(crate) mod lifecycle;
pub(crate) mod limits;
pub(crate) mod parts;
pub(crate) mod proxy;
pub(crate) mod prune;
pub(crate) mod refresh;
pub(crate) mod removal;
pub(crate) mod replacement;
pub(crate) mod rollouts;
pub(crate) mod undeclared;
pub(crate) mod unreadable;
