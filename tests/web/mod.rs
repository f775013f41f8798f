//! What `run` shows and takes over HTTP.

mod api;
pub(crate) mod client;
mod guards;
mod health;
pub(crate) mod live;
mod metrics;
mod page;
mod peers;
pub(crate) mod served;
mod start;
mod webhook;
