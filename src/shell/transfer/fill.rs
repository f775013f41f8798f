//! Volumes that are being filled, and that nothing may use before they are complete.
//!
//! A container that never runs says so on the server itself, from before the first of them is made until the last one was compared: the plan puts
//! nothing on a volume that it names. One that a process has left behind which is no more goes with the next attempt, and what it has made with it.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::helpers::HELPER;
use super::volume::create;
use super::{TransferError, Watch};
use crate::core::observed::ContainerId;
use crate::core::workload::identity::{self, FILLS};
use crate::shell::engine::{Reader, Writer};

const DIRECTORY: &str = "filling";
/// On the container: which attempt it is of. A file of that name, locked while the process lives, is in the state directory.
const ATTEMPT: &str = "landfall.attempt";
/// On the container: those of the volumes that were made for it.
const MADE: &str = "landfall.made";

/// Volumes of one server that are being filled.
pub(super) struct Filling<'a> {
    engine: &'a dyn Writer,
    marker: ContainerId,
    made: Vec<String>,
    path: PathBuf,
    _lock: File,
}

/// A volume to be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVolume {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

impl<'a> Filling<'a> {
    /// Makes the volumes that are not there yet. `image`: any that is on the server.
    pub(super) async fn begin(
        engine: &'a dyn Writer,
        state: &Path,
        volumes: &[NewVolume],
        image: &str,
        watch: &dyn Watch,
    ) -> Result<Self, TransferError> {
        let names: Vec<&str> = volumes.iter().map(|it| it.name.as_str()).collect();
        clear(engine, state, &names, watch).await?;
        let directory = state.join(DIRECTORY);
        let attempt = cuid2::create_id();
        let path = directory.join(&attempt);
        let open = || {
            fs::create_dir_all(&directory)?;
            let lock = File::create_new(&path)?;
            lock.try_lock().map_err(io::Error::from)?;
            lock.sync_all()?;
            Ok(lock)
        };
        let lock = open().map_err(TransferError::file("writing", &path))?;
        let there: Vec<String> = engine.volumes().await?.into_iter().map(|it| it.name).collect();
        let new: Vec<&NewVolume> = volumes.iter().filter(|it| !there.contains(&it.name)).collect();
        let made: Vec<String> = new.iter().map(|it| it.name.clone()).collect();
        let labels = BTreeMap::from([
            (HELPER.to_owned(), "filling".to_owned()),
            (FILLS.to_owned(), names.join(",")),
            (ATTEMPT.to_owned(), attempt.clone()),
            (MADE.to_owned(), made.join(",")),
        ]);
        let marker = create(engine, format!("landfall-filling-{attempt}"), labels, image, Vec::new(), None).await?;
        let filling = Self { engine, marker, made, path, _lock: lock };
        for volume in new {
            if let Err(error) = engine.create_volume(&volume.name, &volume.labels).await {
                filling.undo().await?;
                return Err(error.into());
            }
        }
        Ok(filling)
    }

    /// All of them are complete.
    pub(super) async fn complete(self) -> Result<(), TransferError> {
        self.engine.discard_container(&self.marker).await?;
        forget(&self.path)
    }

    /// They are not: those that were made go.
    pub(super) async fn undo(self) -> Result<(), TransferError> {
        for volume in &self.made {
            self.engine.remove_volume(volume).await?;
        }
        self.complete().await
    }
}

fn forget(path: &Path) -> Result<(), TransferError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(TransferError::file("removing", path)(error)),
        _ => Ok(()),
    }
}

/// Removes what an attempt that is no more has made for any of the volumes.
async fn clear(engine: &dyn Writer, state: &Path, volumes: &[&str], watch: &dyn Watch) -> Result<(), TransferError> {
    for container in engine.containers().await? {
        let Some(volume) = volumes.iter().find(|it| identity::fills(&container.labels, it)) else { continue };
        let attempt = container.labels.get(ATTEMPT).map(String::as_str).unwrap_or_default();
        let refused = |why: &str| {
            TransferError::refused(
                format!("the volume {volume} is being filled by another copy{why}"),
                format!(
                    "wait for it; if none runs any more: docker rm {}, and docker volume rm {volume}",
                    container.name
                ),
            )
        };
        if attempt.is_empty() || !attempt.chars().all(|it| it.is_ascii_alphanumeric()) {
            return Err(refused(""));
        }
        let path = state.join(DIRECTORY).join(attempt);
        match File::open(&path).map(|file| (file.try_lock(), file)) {
            // The lock is held until what was left is gone.
            Ok((Ok(()), _lock)) => {
                watch.step("removing what a copy that was cut off has left");
                remove_helpers(engine, volumes).await?;
                let made = container.labels.get(MADE).map(String::as_str).unwrap_or_default();
                for volume in made.split(',').filter(|it| !it.is_empty()) {
                    engine.remove_volume(volume).await?;
                }
                engine.discard_container(&container.id).await?;
                forget(&path)?;
            }
            Ok((Err(TryLockError::WouldBlock), _)) => return Err(refused("")),
            Ok((Err(TryLockError::Error(error)), _)) => return Err(TransferError::file("locking", &path)(error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(refused(", which another machine has begun"));
            }
            Err(error) => return Err(TransferError::file("reading", &path)(error)),
        }
    }
    Ok(())
}

/// Containers that were made to reach the volumes, and that would keep them from being removed.
async fn remove_helpers(engine: &dyn Writer, volumes: &[&str]) -> Result<(), TransferError> {
    let reader: &dyn Reader = engine;
    let users = reader.storage().await?.users;
    for container in engine.containers().await?.iter().filter(|it| it.labels.contains_key(HELPER)) {
        let of_these = |user: &crate::core::workload::seen::User| {
            user.id == container.id.as_str() && user.volumes.iter().any(|it| volumes.contains(&it.as_str()))
        };
        if users.iter().any(of_these) {
            engine.discard_container(&container.id).await?;
        }
    }
    Ok(())
}
