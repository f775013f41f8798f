//! The built binary, as a user and a script meet it.

mod basics;
mod graph;
mod manifests;
pub(crate) mod run;
