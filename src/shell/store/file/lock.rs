//! One controller a set on one machine: an advisory lock that the kernel lets go of, however the process ends.
//!
//! The set's directory itself is locked, which also works where nothing can be written. Who holds it is noted beside, for people.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Who keeps a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub since: jiff::Timestamp,
    /// Where the manifests come from.
    pub manifests: Vec<String>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}, since {:.0}, with {}", self.pid, self.since, self.manifests.join(", "))
    }
}

/// The lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// `None`: the holder has not said who it is.
    #[error("it is {}", holder.as_ref().map_or("another process".to_owned(), ToString::to_string))]
    Held { holder: Option<Holder> },
    #[error("locking {}: {cause}", path.display())]
    Unavailable { path: PathBuf, cause: std::io::Error },
}

/// Held until dropped.
#[derive(Debug)]
pub struct ControllerLock {
    locked: File,
    directory: PathBuf,
    note: PathBuf,
}

impl ControllerLock {
    /// Locks the set's directory, and makes it where it is missing.
    pub fn acquire(directory: &Path, holder: &Holder) -> Result<Self, LockError> {
        let unavailable = |cause| LockError::Unavailable { path: directory.to_path_buf(), cause };
        fs::create_dir_all(directory).map_err(unavailable)?;
        crate::shell::store::keep_private(directory);
        let opened = File::open(directory).map_err(unavailable)?;
        let note = directory.join("controller.json");
        match opened.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held { holder: read(&note) }),
            Err(TryLockError::Error(cause)) => return Err(unavailable(cause)),
        }
        // Only for people: the lock holds without it.
        if let Ok(text) = serde_json::to_string(holder) {
            let _ = fs::write(&note, text + "\n");
        }
        Ok(Self { locked: opened, directory: directory.to_path_buf(), note })
    }

    /// The directory is not there any more, or another one is in its place: it keeps nobody away.
    pub fn is_lost(&self) -> bool {
        let identity = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
        let there = fs::metadata(&self.directory).ok().map(|metadata| identity(&metadata));
        // Of a directory that cannot be looked at just now nothing is known.
        let unknown = there.is_none() && self.directory.try_exists().is_err();
        !unknown && there != self.locked.metadata().ok().map(|metadata| identity(&metadata))
    }
}

/// Whether a controller keeps the set on this machine, as far as the set's directory tells.
pub fn is_kept(directory: &Path) -> bool {
    let alive = |holder: Holder| {
        let pid = i32::try_from(holder.pid).ok().and_then(rustix::process::Pid::from_raw);
        pid.is_some_and(
            |pid| !matches!(rustix::process::test_kill_process(pid), Err(error) if error == rustix::io::Errno::SRCH),
        )
    };
    read(&directory.join("controller.json")).is_some_and(alive)
}

impl Drop for ControllerLock {
    fn drop(&mut self) {
        // In another directory it is the note of somebody else.
        if !self.is_lost() {
            let _ = fs::remove_file(&self.note);
        }
    }
}

fn read(note: &Path) -> Option<Holder> {
    serde_json::from_str(&fs::read_to_string(note).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Holder {
        Holder { pid: 7, since: jiff::Timestamp::UNIX_EPOCH, manifests: vec!["./manifests".to_owned()] }
    }

    #[test]
    fn a_second_one_is_told_who_holds_it() {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join("sets/default");
        let first = ControllerLock::acquire(&directory, &me()).unwrap();
        let refused = ControllerLock::acquire(&directory, &Holder { pid: 8, ..me() }).unwrap_err();
        assert_eq!(refused.to_string(), "it is process 7, since 1970-01-01T00:00:00Z, with ./manifests");
        drop(first);
        ControllerLock::acquire(&directory, &me()).unwrap();
    }

    #[test]
    fn a_lock_is_lost_with_its_directory() {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join("sets/default");
        let lock = ControllerLock::acquire(&directory, &me()).unwrap();
        assert!(!lock.is_lost());
        fs::remove_dir_all(&directory).unwrap();
        assert!(lock.is_lost());
        let second = ControllerLock::acquire(&directory, &me()).unwrap();
        assert!(lock.is_lost() && !second.is_lost());
        drop(lock);
        assert!(directory.join("controller.json").exists(), "the note is the second one's");
    }

    #[test]
    fn a_set_is_kept_while_its_controller_lives() {
        let state = tempfile::tempdir().unwrap();
        assert!(!is_kept(state.path()));
        let here = Holder { pid: std::process::id(), ..me() };
        let lock = ControllerLock::acquire(state.path(), &here).unwrap();
        assert!(is_kept(state.path()));
        drop(lock);
        assert!(!is_kept(state.path()));
        // One that was killed has left its note.
        let gone = std::process::Command::new("true").spawn().and_then(|mut child| {
            let pid = child.id();
            child.wait().map(|_| pid)
        });
        fs::write(
            state.path().join("controller.json"),
            serde_json::to_string(&Holder { pid: gone.unwrap(), ..me() }).unwrap(),
        )
        .unwrap();
        assert!(!is_kept(state.path()));
    }

    #[test]
    fn a_place_that_cannot_be_made_is_not_a_lock_that_is_held() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("sets"), "a file").unwrap();
        let refused = ControllerLock::acquire(&state.path().join("sets/default"), &me());
        assert!(matches!(refused, Err(LockError::Unavailable { .. })));
    }
}
