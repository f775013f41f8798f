//! The loop behind `landfall run`.

pub mod backoff;
pub mod board;
pub mod run;
pub mod state;
pub mod watch;
