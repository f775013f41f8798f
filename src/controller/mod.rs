//! The loop behind `landfall run`.

pub mod backoff;
pub mod board;
mod files;
pub mod run;
pub mod state;
pub mod watch;
