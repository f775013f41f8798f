//! Landfall keeps the destinations of your Docker servers the way your Git repository says they are.
//!
//! ```text
//! manifests ─ parse, resolve ─► DesiredState ┐
//!                                            ├─► plan ─► Plan ─► execute ─► Report ─► status
//! Docker servers ─ observe ───► ObservedState┘
//! ```
//!
//! The core is synchronous and free of IO, clocks and randomness: values in, values out. The shell around it does the IO.
//! `tests/architecture.rs` holds every module to its side.

// core
pub mod annotations;
pub mod api;
pub mod backup;
pub mod desired;
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
pub mod references;
pub mod report;
pub mod scan;
pub mod scope;
pub mod selector;
pub mod standing;
pub mod status;
pub mod subnets;
pub mod usage;
pub mod workload;
// shell
pub mod cli;
pub mod compose;
pub mod controller;
pub mod engine;
pub mod execute;
pub mod git;
pub mod ids;
pub mod observe;
mod post;
mod program;
pub mod reconcile;
pub mod secrets;
pub mod sources;
pub mod store;
#[cfg(feature = "otel")]
mod traces;
pub mod transfer;
pub mod turns;
pub mod web;
