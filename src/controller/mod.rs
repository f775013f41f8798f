//! The loop behind `landfall run`.

pub mod backoff;
pub mod state;
pub mod watch;
