//! What `run` shows and takes over HTTP.

pub(crate) mod client;
mod guards;
mod health;
pub(crate) mod served;
mod start;
mod webhook;
