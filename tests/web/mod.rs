//! What `run` shows and takes over HTTP.

mod api;
pub(crate) mod client;
mod guards;
mod health;
mod live;
mod metrics;
mod page;
pub(crate) mod served;
mod start;
mod webhook;
