//! What touches the world: engines, files, the network, the terminal. It does the IO and decides nothing.

pub mod cli;
pub mod compose;
pub mod controller;
pub mod engine;
pub mod execute;
pub mod git;
pub(crate) mod http_client;
pub mod ids;
pub mod inquiry;
pub mod observe;
pub mod packed;
pub(crate) mod program;
pub mod reconcile;
pub mod secrets;
pub mod slots;
pub mod sources;
pub mod store;
#[cfg(feature = "otel")]
pub(crate) mod telemetry;
pub mod transfer;
pub mod web;
