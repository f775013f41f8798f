//! Landfall keeps the destinations of your Docker servers the way your Git repository says they are.
//!
//! ```text
//! manifests ─ parse, resolve ─► DesiredState ┐
//!                                            ├─► plan ─► Plan ─► execute ─► Report ─► status
//! Docker servers ─ observe ───► ObservedState┘
//! ```
//!
//! [`core`] is synchronous and free of IO, clocks and randomness: values in, values out. [`shell`] around it does the IO.
//! `tests/architecture.rs` holds every module to its side.

pub mod core;
pub mod shell;
