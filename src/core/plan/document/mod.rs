//! The plan as a document: calls, steps, notes and journals as values. Nothing here decides.

pub(crate) mod call;
pub(crate) mod cause;
pub mod cut;
pub mod display;
pub(crate) mod journal;
pub(crate) mod note;
pub mod order;
pub(crate) mod plan;
pub(crate) mod reason;
pub(crate) mod step;
pub(crate) mod target;
pub(crate) mod updates;
pub(crate) mod withheld;
pub mod workload_call;
pub(crate) mod workload_display;
pub(crate) mod workload_effects;
