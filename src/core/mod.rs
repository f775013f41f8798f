//! Values in, values out: no IO, clock, randomness or async. `tests/architecture.rs` holds every file here to that.

pub mod annotations;
pub mod api;
pub mod backup;
pub mod changes;
pub mod dependents;
pub mod desired;
pub mod digest;
pub mod doctor;
pub mod drift;
pub mod graph;
pub mod instance;
pub mod manifest;
pub mod notice;
pub mod observed;
pub mod plan;
pub mod printable;
pub mod reasons;
pub mod report;
pub mod scan;
pub mod scope;
pub mod selector;
pub mod standing;
pub mod status;
pub mod subnets;
pub mod usage;
pub mod workload;
