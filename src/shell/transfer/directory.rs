//! Where archives are kept: `<root>/<kind>/<namespace>/<name>/<time>/`, each complete or not there.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::TransferError;
use crate::core::api::ObjectKey;
use crate::core::backup::retention::superseded;
use crate::core::backup::{MANIFEST, Manifest};

/// What is not complete ends in this, and begins with a dot.
const PARTIAL: &str = ".partial";
const LARGEST_MANIFEST: u64 = 64 << 20;
/// As the name of a directory: sorts by time.
const TIME: &str = "%Y%m%dT%H%M%SZ";
/// Within the shelf of an object: what a restore has replaced. Never taken for the newest backup, and no number of backups to keep counts it.
const BEFORE_RESTORE: &str = "before-restore";

/// The archives of one object.
#[derive(Debug, Clone)]
pub struct Shelf {
    directory: PathBuf,
}

/// An archive that is complete.
#[derive(Debug, Clone)]
pub struct Archive {
    pub directory: PathBuf,
    pub manifest: Manifest,
}

/// An archive that is being written. Dropped before it is complete, it is removed.
#[derive(Debug)]
pub struct Draft {
    shelf: PathBuf,
    partial: PathBuf,
    name: String,
    complete: bool,
    _lock: File,
}

impl Shelf {
    pub fn of(root: &Path, object: &ObjectKey) -> Self {
        let kind = object.kind.as_str().to_lowercase();
        Self { directory: root.join(kind).join(&object.namespace).join(&object.name) }
    }

    /// Beside the backups of that object: what restores have replaced.
    pub fn before_restore(&self) -> Self {
        Self { directory: self.directory.join(BEFORE_RESTORE) }
    }

    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// When the newest one that is complete was begun.
    pub fn latest(&self) -> Option<Timestamp> {
        let name = self.names().ok()?.pop()?;
        jiff::civil::DateTime::strptime(TIME, name)
            .ok()?
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
            .map(|it| it.timestamp())
    }

    /// Names of what is complete, oldest first.
    pub fn names(&self) -> Result<Vec<String>, TransferError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(TransferError::file("listing", &self.directory)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(TransferError::file("listing", &self.directory))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !name.starts_with('.') && entry.path().join(MANIFEST).is_file() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// The newest one that is complete.
    pub fn newest(&self) -> Result<Option<Archive>, TransferError> {
        self.names()?.pop().map(|name| Archive::open(&self.directory.join(name))).transpose()
    }

    /// Begins an archive. One at a time: what others have left unfinished is removed, and who is at work is not disturbed.
    pub fn begin(&self) -> Result<Draft, TransferError> {
        fs::create_dir_all(&self.directory).map_err(TransferError::file("making", &self.directory))?;
        let path = self.directory.join(".lock");
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(TransferError::file("making", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(TransferError::refused(
                    format!("another backup is being written to {}", self.directory.display()),
                    "wait until that one has ended",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(TransferError::file("locking", &path)(error)),
        }
        self.clear()?;
        let mut at = Timestamp::now();
        // Two within a second have two names.
        while self.directory.join(at.strftime(TIME).to_string()).exists() {
            at = at.checked_add(jiff::SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX);
        }
        let name = at.strftime(TIME).to_string();
        let partial = self.directory.join(format!(".{name}{PARTIAL}"));
        fs::create_dir(&partial).map_err(TransferError::file("making", &partial))?;
        Ok(Draft { shelf: self.directory.clone(), partial, name, complete: false, _lock: lock })
    }

    /// Removes what a process that is no more has left unfinished.
    fn clear(&self) -> Result<(), TransferError> {
        let entries = fs::read_dir(&self.directory).map_err(TransferError::file("listing", &self.directory))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(PARTIAL) {
                fs::remove_dir_all(entry.path()).map_err(TransferError::file("removing", entry.path()))?;
            }
        }
        Ok(())
    }

    /// Removes all but the newest `keep`; answers with those that went.
    pub fn prune(&self, keep: Option<u32>) -> Result<Vec<String>, TransferError> {
        let gone = superseded(self.names()?, keep);
        for name in &gone {
            let path = self.directory.join(name);
            // Out of the way first: what is removed halfway is no archive any more.
            let aside = self.directory.join(format!(".{name}{PARTIAL}"));
            fs::rename(&path, &aside).map_err(TransferError::file("removing", &path))?;
            fs::remove_dir_all(&aside).map_err(TransferError::file("removing", &aside))?;
        }
        Ok(gone)
    }
}

impl Archive {
    /// The archive in that directory.
    pub fn open(directory: &Path) -> Result<Self, TransferError> {
        let path = directory.join(MANIFEST);
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(TransferError::file("reading", &path))?;
        file.take(LARGEST_MANIFEST).read_to_end(&mut bytes).map_err(TransferError::file("reading", &path))?;
        let manifest = Manifest::parse(&bytes)
            .map_err(|error| TransferError::Damaged { what: path.display().to_string(), problem: error.to_string() })?;
        Ok(Self { directory: directory.to_owned(), manifest })
    }

    /// Whether there is one in that directory.
    pub fn is_at(directory: &Path) -> bool {
        directory.join(MANIFEST).is_file()
    }

    /// The directory of the archives of all objects that it is among; `None` where it lies by itself.
    pub fn root(&self) -> Option<PathBuf> {
        let object = self.object()?;
        let shelf = self.directory.parent()?;
        let shelf = if shelf.ends_with(BEFORE_RESTORE) { shelf.parent()? } else { shelf };
        let root = shelf.ancestors().nth(3)?;
        (Shelf::of(root, &object).path() == shelf).then(|| root.to_owned())
    }

    /// The key of the object that it is of.
    pub fn object(&self) -> Option<ObjectKey> {
        self.manifest.object.parse().ok()
    }
}

impl Draft {
    /// Where its files go.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Bytes that can still be written there.
    pub fn free(&self) -> Option<u64> {
        let space = rustix::fs::statvfs(&self.partial).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// Writes the manifest and gives it its name. From then on it is there, also after the power was cut.
    pub fn complete(mut self, manifest: Manifest) -> Result<Archive, TransferError> {
        let path = self.partial.join(MANIFEST);
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| TransferError::file("writing", &path)(io::Error::other(error)))?;
        let write = || {
            let mut file = File::create_new(&path)?;
            io::Write::write_all(&mut file, &text)?;
            file.sync_all()?;
            File::open(&self.partial)?.sync_all()
        };
        write().map_err(TransferError::file("writing", &path))?;
        let directory = self.shelf.join(&self.name);
        fs::rename(&self.partial, &directory).map_err(TransferError::file("naming", &directory))?;
        self.complete = true;
        let synced = File::open(&self.shelf).and_then(|it| it.sync_all());
        synced.map_err(TransferError::file("writing", &self.shelf))?;
        Ok(Archive { directory, manifest })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.complete {
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::api::Kind;
    use crate::core::backup::{Consistency, FORMAT};

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT.to_owned(),
            object: "Application/shop/web".to_owned(),
            server: "default/edge".to_owned(),
            created: "2026-11-29T12:00:00Z".to_owned(),
            version: String::new(),
            consistency: Consistency::Stopped,
            database: None,
            parts: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn what_is_not_complete_is_never_found_and_goes_with_the_next() {
        let root = tempfile::tempdir().unwrap();
        let shelf = Shelf::of(root.path(), &ObjectKey::new(Kind::Application, "shop", "web"));
        assert!(shelf.newest().unwrap().is_none());
        let draft = shelf.begin().unwrap();
        assert!(shelf.begin().unwrap_err().is_refusal(), "one at a time");
        // Cut off in the middle: nothing is run that would clean up.
        let left = draft.path().to_owned();
        std::mem::forget(draft);
        assert!(left.is_dir() && shelf.names().unwrap().is_empty());
    }

    #[test]
    fn the_newest_complete_one_is_found_and_older_ones_go() {
        let root = tempfile::tempdir().unwrap();
        let shelf = Shelf::of(root.path(), &ObjectKey::new(Kind::Application, "shop", "web"));
        for _ in 0..3 {
            shelf.begin().unwrap().complete(manifest()).unwrap();
        }
        drop(shelf.begin().unwrap());
        let names = shelf.names().unwrap();
        assert_eq!(names.len(), 3);
        assert!(shelf.newest().unwrap().unwrap().directory.ends_with(&names[2]));
        assert_eq!(shelf.prune(Some(1)).unwrap(), names[..2]);
        assert_eq!(shelf.names().unwrap(), names[2..]);
        let all = fs::read_dir(shelf.path()).unwrap().count();
        assert_eq!(all, 2, "the lock and the archive");
    }

    #[test]
    fn what_a_restore_has_replaced_is_no_backup_whatever_its_time() {
        let root = tempfile::tempdir().unwrap();
        let shelf = Shelf::of(root.path(), &ObjectKey::new(Kind::Application, "shop", "web"));
        let backup = shelf.begin().unwrap().complete(manifest()).unwrap();
        let copies: Vec<_> =
            (0..2).map(|_| shelf.before_restore().begin().unwrap().complete(manifest()).unwrap()).collect();
        assert_eq!(shelf.newest().unwrap().unwrap().directory, backup.directory);
        assert!(shelf.prune(Some(1)).unwrap().is_empty());
        assert!(copies.iter().all(|copy| Archive::open(&copy.directory).is_ok()));
        for archive in [&backup, &copies[0]] {
            assert_eq!(archive.root().as_deref(), Some(root.path()));
        }
        let elsewhere = Archive { directory: "/srv/one".into(), manifest: manifest() };
        assert_eq!(elsewhere.root(), None);
    }
}
