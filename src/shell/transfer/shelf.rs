//! Archives: `<root>/<kind>/<namespace>/<name>/<time>/`, each complete or not there, in whatever storage.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::TransferError;
use super::storage::{self, Storage, read_small, store_small};
use crate::core::api::ObjectKey;
use crate::core::backup::address::Address;
use crate::core::backup::retention::superseded;
use crate::core::backup::{MANIFEST, Manifest};
use crate::core::digest::digest;

const LARGEST_MANIFEST: usize = 64 << 20;
/// As the name of a directory: sorts by time.
const TIME: &str = "%Y%m%dT%H%M%SZ";
/// Within the shelf of an object: what a restore has replaced. Never taken for the newest backup, and no number of backups to keep counts it.
const BEFORE_RESTORE: &str = "before-restore";
/// Below the state directory: who writes to which storage that has no locks.
const LOCKS: &str = "backups";
/// What another machine has begun in a storage without locks, and not completed for so long, it has left behind.
const LEFT_BEHIND: SignedDuration = SignedDuration::from_hours(24);
/// Times that are tried for a name that nobody else has.
const NAMES: usize = 60;

/// The archives of one object.
#[derive(Clone)]
pub struct Shelf {
    address: Address,
    storage: Arc<dyn Storage>,
}

/// An archive that is complete.
#[derive(Clone)]
pub struct Archive {
    pub address: Address,
    pub manifest: Manifest,
    storage: Arc<dyn Storage>,
}

/// An archive that is being written, until it is completed or discarded.
pub struct Draft {
    shelf: Shelf,
    name: String,
    _lock: File,
}

impl Shelf {
    /// Connects to nothing yet.
    pub fn of(root: &Address, object: &ObjectKey) -> Result<Self, TransferError> {
        Ok(Self { address: root.join(&below(object)), storage: storage::of(root)? })
    }

    /// Beside the backups of that object: what restores have replaced.
    pub fn before_restore(&self) -> Self {
        Self { address: self.address.join(BEFORE_RESTORE), storage: Arc::clone(&self.storage) }
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    fn path(&self) -> String {
        storage::path(&self.address)
    }

    /// When the newest one that is complete was begun.
    pub async fn latest(&self) -> Result<Option<Timestamp>, TransferError> {
        Ok(self.names().await?.pop().and_then(|name| time(&name)))
    }

    /// Names of what is complete, oldest first.
    pub async fn names(&self) -> Result<Vec<String>, TransferError> {
        let mut names = self.storage.list(&self.path()).await?.complete;
        names.retain(|name| time(name).is_some());
        names.sort();
        Ok(names)
    }

    /// The newest one that is complete.
    pub async fn newest(&self) -> Result<Option<Archive>, TransferError> {
        let Some(name) = self.names().await?.pop() else { return Ok(None) };
        Archive::read(self.address.join(&name), Arc::clone(&self.storage)).await
    }

    /// Begins an archive. One at a time: what others have left unfinished is removed, and who is at work is not disturbed. `state`: the state directory.
    pub async fn begin(&self, state: &Path) -> Result<Draft, TransferError> {
        let (lock, owner) = self.lock(state)?;
        let path = self.path();
        self.clear(&owner).await?;
        let mut at = Timestamp::now();
        for _ in 0..NAMES {
            let name = at.strftime(TIME).to_string();
            if self.storage.begin(&path, &name, &owner).await? {
                return Ok(Draft { shelf: self.clone(), name, _lock: lock });
            }
            // Two within a second have two names.
            at = at.checked_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX);
        }
        Err(TransferError::failed(
            format!("no archive can be begun in {}: each name of this minute is taken", self.address),
            "look at what is there",
        ))
    }

    /// The lock, and by which name this machine goes in the storage.
    fn lock(&self, state: &Path) -> Result<(File, String), TransferError> {
        let path = match &self.address {
            Address::Directory(directory) => directory.join(".lock"),
            _ => state.join(LOCKS).join(format!("{}.lock", digest(self.address.to_string(), 16))),
        };
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(TransferError::file("making", directory))?;
        let lock = fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let mut lock = lock.map_err(TransferError::file("making", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(TransferError::refused(
                    format!("another backup is being written to {}", self.address),
                    "wait until that one has ended",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(TransferError::file("locking", &path)(error)),
        }
        let mut owner = String::new();
        let named = (&lock).take(64).read_to_string(&mut owner);
        named.map_err(TransferError::file("reading", &path))?;
        if owner.is_empty() && !matches!(self.address, Address::Directory(_)) {
            owner = cuid2::create_id();
            lock.write_all(owner.as_bytes()).map_err(TransferError::file("writing", &path))?;
        }
        Ok((lock, owner))
    }

    /// Removes what a process that is no more has left unfinished.
    async fn clear(&self, owner: &str) -> Result<(), TransferError> {
        let path = self.path();
        for name in self.storage.list(&path).await?.begun {
            let is_ours = match &self.address {
                // The lock is that of all who write there.
                Address::Directory(_) => true,
                _ => {
                    let file = format!("{}/{}", self.storage.draft(&path, &name), storage::OWNER);
                    let whose = read_small(self.storage.as_ref(), &file, 64).await?;
                    whose.is_some_and(|whose| whose == owner.as_bytes())
                }
            };
            let is_old = time(&name).is_some_and(|at| Timestamp::now().duration_since(at) > LEFT_BEHIND);
            if is_ours || is_old {
                self.storage.discard(&path, &name).await?;
            }
        }
        Ok(())
    }

    /// Removes all but the newest `keep`; answers with those that went.
    pub async fn prune(&self, keep: Option<u32>) -> Result<Vec<String>, TransferError> {
        if keep.is_none() {
            return Ok(Vec::new());
        }
        let gone = superseded(self.names().await?, keep);
        for name in &gone {
            self.storage.remove(&self.path(), name).await?;
        }
        Ok(gone)
    }
}

/// Below the directory of all archives.
fn below(object: &ObjectKey) -> String {
    format!("{}/{}/{}", object.kind.as_str().to_lowercase(), object.namespace, object.name)
}

fn time(name: &str) -> Option<Timestamp> {
    let at = jiff::civil::DateTime::strptime(TIME, name).ok()?;
    Some(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

impl Archive {
    /// The archive at that address; `None` where there is none.
    pub async fn at(address: &Address) -> Result<Option<Self>, TransferError> {
        Self::read(address.clone(), storage::of(address)?).await
    }

    async fn read(address: Address, storage: Arc<dyn Storage>) -> Result<Option<Self>, TransferError> {
        let place = address.join(MANIFEST);
        let bytes = read_small(storage.as_ref(), &storage::path(&place), LARGEST_MANIFEST).await?;
        let Some(bytes) = bytes else { return Ok(None) };
        let manifest = Manifest::parse(&bytes)
            .map_err(|error| TransferError::Damaged { what: place.to_string(), problem: error.to_string() })?;
        Ok(Some(Self { address, manifest, storage }))
    }

    /// The directory of the archives of all objects that it is among; `None` where it lies by itself.
    pub fn root(&self) -> Option<Address> {
        let object = self.object()?;
        let name = self.name()?;
        let shelf = self.address.strip(&name)?;
        let shelf = shelf.strip(BEFORE_RESTORE).unwrap_or(shelf);
        shelf.strip(&below(&object))
    }

    fn name(&self) -> Option<String> {
        storage::path(&self.address).rsplit('/').next().map(str::to_owned)
    }

    /// The key of the object that it is of.
    pub fn object(&self) -> Option<ObjectKey> {
        self.manifest.object.parse().ok()
    }

    pub(super) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// A file of it, within its storage.
    pub(super) fn file(&self, name: &str) -> String {
        storage::path(&self.address.join(name))
    }
}

impl Draft {
    pub(super) fn storage(&self) -> &Arc<dyn Storage> {
        &self.shelf.storage
    }

    /// Where the file of that name goes, within the storage.
    pub(super) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.shelf.storage.draft(&self.shelf.path(), &self.name))
    }

    pub(super) fn address(&self) -> &Address {
        &self.shelf.address
    }

    /// Bytes that can still be written there.
    pub async fn free(&self) -> Option<u64> {
        self.shelf.storage.free(&self.shelf.path()).await
    }

    /// Writes the manifest and gives it its name. From then on it is there.
    pub async fn complete(self, manifest: Manifest) -> Result<Archive, TransferError> {
        let path = self.file(MANIFEST);
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| TransferError::file("writing", &path)(std::io::Error::other(error)))?;
        let written = store_small(self.shelf.storage.as_ref(), &path, text).await;
        let published = match written {
            Ok(()) => self.shelf.storage.publish(&self.shelf.path(), &self.name).await,
            Err(error) => Err(error),
        };
        if let Err(error) = published {
            self.discard().await;
            return Err(error);
        }
        let Self { shelf: Shelf { address, storage }, name, .. } = self;
        Ok(Archive { address: address.join(&name), manifest, storage })
    }

    /// Removes it. Where that fails as well, the next backup does so.
    pub async fn discard(self) {
        if let Err(error) = self.shelf.storage.discard(&self.shelf.path(), &self.name).await {
            tracing::warn!("what was begun in {} stays until the next backup: {error}", self.shelf.address);
        }
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shelf({})", self.address)
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Archive({})", self.address)
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Draft({} in {})", self.name, self.shelf.address)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

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

    fn shelf(root: &Path) -> Shelf {
        Shelf::of(&Address::Directory(root.to_owned()), &ObjectKey::new(Kind::Application, "shop", "web")).unwrap()
    }

    #[tokio::test]
    async fn what_is_not_complete_is_never_found_and_goes_with_the_next() {
        let root = tempfile::tempdir().unwrap();
        let shelf = shelf(root.path());
        assert!(shelf.newest().await.unwrap().is_none());
        let draft = shelf.begin(root.path()).await.unwrap();
        assert!(shelf.begin(root.path()).await.unwrap_err().is_refusal(), "one at a time");
        // Cut off in the middle: nothing is run that would clean up but for the lock, which goes with the process.
        let left = PathBuf::from(draft.file("")).canonicalize().unwrap();
        drop(draft);
        assert!(left.is_dir() && shelf.names().await.unwrap().is_empty());
        let next = shelf.begin(root.path()).await.unwrap();
        assert!(!left.exists() || PathBuf::from(next.file("")).canonicalize().unwrap() == left);
        next.discard().await;
        assert!(!left.exists());
    }

    #[tokio::test]
    async fn the_newest_complete_one_is_found_and_older_ones_go() {
        let root = tempfile::tempdir().unwrap();
        let shelf = shelf(root.path());
        for _ in 0..3 {
            shelf.begin(root.path()).await.unwrap().complete(manifest()).await.unwrap();
        }
        shelf.begin(root.path()).await.unwrap().discard().await;
        let names = shelf.names().await.unwrap();
        assert_eq!(names.len(), 3);
        assert_eq!(shelf.newest().await.unwrap().unwrap().address, shelf.address().join(&names[2]));
        assert_eq!(shelf.prune(Some(1)).await.unwrap(), names[..2]);
        assert_eq!(shelf.names().await.unwrap(), names[2..]);
        let all = fs::read_dir(shelf.path()).unwrap().count();
        assert_eq!(all, 2, "the lock and the archive");
    }

    #[tokio::test]
    async fn what_a_restore_has_replaced_is_no_backup_whatever_its_time() {
        let root = tempfile::tempdir().unwrap();
        let shelf = shelf(root.path());
        let backup = shelf.begin(root.path()).await.unwrap().complete(manifest()).await.unwrap();
        let mut copies = Vec::new();
        for _ in 0..2 {
            let draft = shelf.before_restore().begin(root.path()).await.unwrap();
            copies.push(draft.complete(manifest()).await.unwrap());
        }
        assert_eq!(shelf.newest().await.unwrap().unwrap().address, backup.address);
        assert!(shelf.prune(Some(1)).await.unwrap().is_empty());
        for copy in &copies {
            assert!(Archive::at(&copy.address).await.unwrap().is_some());
        }
        for archive in [&backup, &copies[0]] {
            assert_eq!(archive.root(), Some(Address::Directory(root.path().to_owned())));
        }
        let address = Address::Directory("/srv/one".into());
        let elsewhere = Archive { address, manifest: manifest(), storage: backup.storage.clone() };
        assert_eq!(elsewhere.root(), None);
    }
}
