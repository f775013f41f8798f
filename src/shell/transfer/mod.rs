//! Data in and out: archives of volumes and dumps of databases, streamed between servers and files with bounded memory.
//!
//! An archive is a directory, on this machine, a server or in a bucket, that counts when it is complete; nothing reads one that is not. What was stopped for a copy is on record
//! on disk before it is stopped, and is started again by whoever finds that record without its process.

pub mod backup;
pub mod copy;
mod fill;
pub mod halt;
pub mod helpers;
mod inherited;
mod part;
pub mod restore;
mod script;
pub mod shelf;
pub mod source;
mod sparse;
mod storage;
mod tree;
pub mod verify;
mod volume;

use std::path::PathBuf;

use thiserror::Error;

use crate::shell::engine::EngineError;

pub use fill::NewVolume;
pub use part::{Encryption, Identities};

/// Told how far a transfer is. Must not block.
pub trait Watch: Send + Sync {
    /// What is done now.
    fn step(&self, _text: &str) {}
    /// So many bytes are to pass in all.
    fn expect(&self, _bytes: u64) {}
    /// So many further bytes have passed.
    fn moved(&self, _bytes: u64) {}
    /// Something a user should know of.
    fn warn(&self, _text: &str) {}
}

/// Nobody watches.
impl Watch for () {}

/// Why data was not copied.
#[derive(Debug, Error)]
pub enum TransferError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Says its cause itself, in records too, and so names none as its source.
    #[error("{attempted} {}: {cause}", path.display())]
    File { attempted: &'static str, path: PathBuf, cause: std::io::Error },
    /// A tool of the engine did not do its work.
    #[error("{attempted}: it ended with code {code}{}", said(complaint))]
    Tool { attempted: String, code: i64, complaint: String },
    /// What was read is not what was written.
    #[error("{what} is damaged: {problem}")]
    Damaged { what: String, problem: String },
    #[error("{message}")]
    Refused { message: String, hint: Option<String> },
    #[error("{message}")]
    Failed { message: String, hint: Option<String> },
    #[error("it was interrupted")]
    Interrupted,
}

impl TransferError {
    fn failed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), hint: Some(hint.into()) }
    }

    fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), hint: Some(hint.into()) }
    }

    fn file(attempted: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| Self::File { attempted, path, cause }
    }

    /// It would have been harm, and nothing was done.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// What can be done about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Engine(error) => error.hint.as_deref(),
            Self::File { cause, .. } if cause.kind() == std::io::ErrorKind::StorageFull => {
                Some("free some space, or name another place with --to")
            }
            Self::Refused { hint, .. } | Self::Failed { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }
}

fn said(complaint: &str) -> String {
    let lines: Vec<&str> = complaint.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.len().saturating_sub(5);
    if lines.is_empty() { String::new() } else { format!(": {}", lines[last..].join("; ")) }
}
