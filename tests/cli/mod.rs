//! The built binary, as a user and a script meet it.

mod basics;
mod graph;
pub(crate) mod run;
