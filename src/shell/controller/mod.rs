//! The loop behind `landfall run`.

mod attempts;
pub mod backoff;
pub mod board;
mod files;
mod gone;
pub mod kept;
pub mod memory;
pub mod notify;
mod outcome;
mod pass;
pub mod reported;
pub mod run;
pub mod sharing;
mod sinks;
pub mod source;
pub mod state;
mod stream;
pub mod subject;
mod supervisor;
mod told;
pub mod watch;
