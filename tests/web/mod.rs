//! What `run` shows and takes over HTTP.

mod api;
pub(crate) mod client;
mod guards;
mod health;
mod inquiry;
pub(crate) mod live;
mod metrics;
pub(crate) mod page;
mod peers;
mod plan;
pub(crate) mod served;
mod start;
mod webhook;
