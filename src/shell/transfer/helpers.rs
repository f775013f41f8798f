//! Whose helpers are, containers and the volumes that an archive is tried in: one that a process has left which is no more, because it was killed or interrupted, is removed by the next that looks.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use super::TransferError;
use crate::shell::engine::Writer;

/// Marks helpers, with what they are for.
pub(super) const HELPER: &str = "landfall.helper";
/// Which process has made it.
const OF: &str = "landfall.helper.of";
/// Those that have no use once their process is no more. One that holds or fills has.
const PURPOSES: [&str; 4] = ["files", "room", "empty", "verify"];
/// Volumes that an archive is tried in begin with it.
pub(super) const SCRATCH: &str = "landfall-verify-";
/// Below the state directory: a file for each process, locked as long as it lives.
const DIRECTORY: &str = "helpers";

const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);

/// This process, as the helpers that it makes name it.
struct Own {
    id: String,
    directory: PathBuf,
    _lock: File,
}

static OWN: OnceLock<Own> = OnceLock::new();

/// Before the first helper is made. `state`: the state directory.
pub fn register(state: &Path) -> Result<(), TransferError> {
    if OWN.get().is_some() {
        return Ok(());
    }
    let directory = state.join(DIRECTORY);
    fs::create_dir_all(&directory).map_err(TransferError::file("making", &directory))?;
    forget_old(&directory);
    let id = cuid2::create_id();
    let path = directory.join(&id);
    let lock = File::create_new(&path).map_err(TransferError::file("making", &path))?;
    lock.try_lock().map_err(|error| TransferError::file("locking", &path)(error.into()))?;
    // Another thread may have been first, and its file counts then.
    if OWN.set(Own { id, directory, _lock: lock }).is_err() {
        let _ = fs::remove_file(&path);
    }
    Ok(())
}

/// Of processes that ended so long ago that somebody has looked at their servers since.
fn forget_old(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|it| it.modified()).ok().and_then(|it| it.elapsed().ok());
        let is_free = || File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if age.is_some_and(|age| age > REMEMBERED) && is_free() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

pub(super) fn labels(purpose: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([(HELPER.to_owned(), purpose.to_owned())]);
    labels.extend(OWN.get().map(|own| (OF.to_owned(), own.id.clone())));
    labels
}

/// Removes what this process, or one with the same state directory that is no more, has left on the server. This process must be making no helper there.
pub async fn sweep(engine: &dyn Writer) -> Result<(), TransferError> {
    let Some(own) = OWN.get() else { return Ok(()) };
    let is_left = |labels: &BTreeMap<String, String>| {
        let is_helper = labels.get(HELPER).is_some_and(|it| PURPOSES.contains(&it.as_str()));
        let of = labels.get(OF).filter(|_| is_helper);
        of.is_some_and(|of| *of == own.id || is_gone(&own.directory, of))
    };
    for container in engine.containers().await?.iter().filter(|it| is_left(&it.labels)) {
        engine.discard_container(&container.id).await?;
    }
    // Where volumes may not be listed, dumps are made and restored all the same.
    for volume in engine.volumes().await.unwrap_or_default() {
        if volume.name.starts_with(SCRATCH)
            && is_left(&volume.labels)
            && let Err(error) = engine.remove_volume(&volume.name).await
        {
            // One that another container has been given. No backup waits for that.
            tracing::warn!(volume = volume.name, %error, "a volume that an archive was tried in stays");
        }
    }
    Ok(())
}

/// What has no file is of another machine, and may be at work.
fn is_gone(directory: &Path, id: &str) -> bool {
    // A label is what somebody wrote.
    id.chars().all(|it| it.is_ascii_alphanumeric())
        && File::open(directory.join(id)).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_gone_when_nobody_has_its_lock() {
        let state = tempfile::tempdir().unwrap();
        let file = File::create_new(state.path().join("abc")).unwrap();
        file.try_lock().unwrap();
        assert!(!is_gone(state.path(), "abc") && !is_gone(state.path(), "another"));
        drop(file);
        assert!(is_gone(state.path(), "abc") && !is_gone(state.path(), "../abc"));
    }
}
