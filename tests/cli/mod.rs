//! The built binary, as a user and a script meet it.

mod basics;
mod graph;
mod habits;
mod manifests;
mod mcp;
mod record;
mod reference;
pub(crate) mod run;
mod servers;
mod story;
mod teams;
#[cfg(feature = "otel")]
mod traces;
pub(crate) mod world;
