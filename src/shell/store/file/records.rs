//! [`Records`](crate::shell::store::Records) in one redb file a set.
//!
//! The file is opened for each use and closed again, so nobody holds it: `run`, `apply` and whoever reads share it by turns of some
//! milliseconds, and an error of the disk is over as soon as the disk is well again.
//!
//! A file that cannot be read is moved aside and a new one begun: losing history is better than not reconciling. One that a newer version
//! wrote is left alone. Readers change nothing, whatever they find.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    StorageError, TableDefinition, TableError, WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::blocking;
use crate::core::api::{Condition, ObjectKey};
use crate::shell::store::records::{Batch, Bounds, EventRecord, ObjectRecord, PassRecord, bound_event, bound_pass};
use crate::shell::store::{Records, StoreError};

/// 2: everything about an object in one table. 1: only its conditions, whatever the server.
const FORMAT: u64 = 2;
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
const PASSES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("passes");
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
/// Of format 1.
const CONDITIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("conditions");

/// How long to wait for the turn of another process.
const TURN: Duration = Duration::from_secs(5);
const BETWEEN_TRIES: Duration = Duration::from_millis(10);
/// The file is some megabytes; pages are read once.
const CACHE: usize = 2 << 20;
/// Unreadable files that are kept beside the present one. What breaks this often is no accident, and nothing is moved any more.
const SET_ASIDE: usize = 10;
/// A file larger than any that the bounds allow is not read into memory.
const LARGEST: u64 = 512 << 20;

/// The file of one set. Having it says nothing about whether there is one on disk.
#[derive(Debug, Clone)]
pub struct FileRecords {
    path: PathBuf,
    bounds: Bounds,
}

impl FileRecords {
    /// `landfall.redb` in the set's directory.
    pub fn in_directory(directory: &Path) -> Self {
        Self::with_bounds(directory, Bounds::default())
    }

    pub fn with_bounds(directory: &Path, bounds: Bounds) -> Self {
        Self { path: directory.join("landfall.redb"), bounds }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    /// Verifies the whole file, or makes one, and brings an older format up to date. `Some`: where an unreadable file was moved.
    pub fn prepare(&self) -> Result<Option<PathBuf>, StoreError> {
        match self.written(true, |_| Ok(())) {
            Err(StoreError::Corrupt { message, .. }) => {
                let aside = self.set_aside(&message)?;
                self.written(true, |_| Ok(()))?;
                Ok(Some(aside))
            }
            outcome => outcome.map(|()| None),
        }
    }

    /// Adds a batch. One durable write.
    pub fn record(&self, batch: &Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.written(false, |transaction| write(transaction, batch, &self.bounds))
    }

    /// Newest first.
    pub fn events(&self, most: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.read(|transaction| events(transaction, 0, most))
    }

    /// Those after the one with that id, newest first.
    pub fn events_since(&self, id: u64, most: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.read(|transaction| events(transaction, id, most))
    }

    /// Newest first.
    pub fn passes(&self, most: usize) -> Result<Vec<PassRecord>, StoreError> {
        self.read(|transaction| Ok(newest(transaction, PASSES, 0, most)?.into_iter().map(numbered_pass).collect()))
    }

    pub fn pass(&self, id: u64) -> Result<Option<PassRecord>, StoreError> {
        self.read(|transaction| {
            let Some(table) = existing(transaction.open_table(PASSES))? else { return Ok(None) };
            let value = table.get(id)?;
            Ok(value.and_then(|value| serde_json::from_slice(value.value()).ok()).map(|pass| numbered_pass((id, pass))))
        })
    }

    /// What was last known of every object.
    pub fn objects(&self) -> Result<BTreeMap<ObjectKey, ObjectRecord>, StoreError> {
        self.read(|transaction| {
            let Some(table) = existing(transaction.open_table(OBJECTS))? else { return Ok(BTreeMap::new()) };
            let mut objects = BTreeMap::new();
            for entry in table.iter()? {
                let (key, value) = entry?;
                // An entry that cannot be read is one that was never written.
                if let (Ok(key), Ok(record)) = (key.value().parse(), serde_json::from_slice(value.value())) {
                    objects.insert(key, record);
                }
            }
            Ok(objects)
        })
    }

    fn written(
        &self,
        verify: bool,
        change: impl FnOnce(&WriteTransaction) -> Result<(), Failure>,
    ) -> Result<(), StoreError> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory).map_err(|error| self.refused(Failure::io(&error)))?;
        crate::shell::store::keep_private(&self.path);
        self.guarded(|| {
            let database = in_turn(|| self.create(verify))?;
            // A corrupt page is found when it is met.
            let transaction = database.begin_write()?;
            migrate(&transaction)?;
            change(&transaction)?;
            transaction.commit()?;
            database.close()?;
            Ok(())
        })
    }

    fn create(&self, verify: bool) -> Result<Database, DatabaseError> {
        Builder::new().set_cache_size(CACHE).set_check_integrity_on_open(verify).create(&self.path)
    }

    fn read<T: Default>(&self, look: impl Fn(&ReadTransaction) -> Result<T, Failure>) -> Result<T, StoreError> {
        if !self.path.exists() {
            return Ok(T::default());
        }
        self.guarded(|| {
            let opened = in_turn(|| Builder::new().set_cache_size(CACHE).open_read_only(&self.path));
            match opened {
                Ok(database) => look_at(&database, look),
                // Its writer was killed. Putting that right is for the next writer; a reader does it to a copy.
                Err(DatabaseError::RepairAborted) => look_at(&self.copy()?, look),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn copy(&self) -> Result<Database, Failure> {
        use redb::StorageBackend as _;
        let size = std::fs::metadata(&self.path).map_err(|error| Failure::io(&error))?.len();
        if size > LARGEST {
            return Err(Failure::Corrupt(format!("{size} bytes")));
        }
        let bytes = std::fs::read(&self.path).map_err(|error| Failure::io(&error))?;
        let memory = redb::backends::InMemoryBackend::new();
        memory.set_len(bytes.len() as u64).map_err(|error| Failure::Corrupt(error.to_string()))?;
        memory.write(0, &bytes).map_err(|error| Failure::Corrupt(error.to_string()))?;
        Ok(Builder::new().set_cache_size(CACHE).create_with_backend(memory)?)
    }

    /// Runs what uses the database, which panics on some kinds of damage.
    fn guarded<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, StoreError> {
        std::panic::catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Failure::Corrupt("the database is damaged".to_owned())))
            .map_err(|failure| self.refused(failure))
    }

    fn refused(&self, failure: Failure) -> StoreError {
        use std::io::ErrorKind;
        let place = self.place();
        match failure {
            Failure::Locked => StoreError::Locked { place },
            Failure::Newer(found) => StoreError::Newer { place, found },
            Failure::Corrupt(message) => StoreError::Corrupt { place, message },
            Failure::Io(ErrorKind::StorageFull | ErrorKind::QuotaExceeded, _) => StoreError::NoSpace { place },
            Failure::Io(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem, message) => {
                StoreError::NotWritable { place, message }
            }
            Failure::Io(_, message) => StoreError::Io { place, message },
        }
    }

    /// Moves the file aside, unless that has happened so often that it must be something else.
    fn set_aside(&self, why: &str) -> Result<PathBuf, StoreError> {
        let name = |number: usize| self.path.with_extension(format!("redb.unreadable-{number}"));
        let free = (1..=SET_ASIDE).map(name).find(|aside| !aside.exists());
        let Some(aside) = free else {
            let message = format!(
                "{why}; {SET_ASIDE} unreadable files have been moved aside before: look at them, and remove them"
            );
            return Err(StoreError::Corrupt { place: self.place(), message });
        };
        std::fs::rename(&self.path, &aside).map_err(|error| self.refused(Failure::io(&error)))?;
        Ok(aside)
    }
}

#[async_trait]
impl Records for FileRecords {
    fn place(&self) -> String {
        self.place()
    }

    async fn prepare(&self) -> Result<Option<String>, StoreError> {
        let this = self.clone();
        let aside = blocking(move || this.prepare()).await?;
        Ok(aside.map(|aside| aside.display().to_string()))
    }

    async fn record(&self, batch: &Batch) -> Result<(), StoreError> {
        let (this, batch) = (self.clone(), batch.clone());
        blocking(move || this.record(&batch)).await
    }

    async fn events(&self, after: u64, most: usize) -> Result<Vec<EventRecord>, StoreError> {
        let this = self.clone();
        blocking(move || this.events_since(after, most)).await
    }

    async fn passes(&self, most: usize) -> Result<Vec<PassRecord>, StoreError> {
        let this = self.clone();
        blocking(move || this.passes(most)).await
    }

    async fn pass(&self, number: u64) -> Result<Option<PassRecord>, StoreError> {
        let this = self.clone();
        blocking(move || this.pass(number)).await
    }

    async fn objects(&self) -> Result<BTreeMap<ObjectKey, ObjectRecord>, StoreError> {
        let this = self.clone();
        blocking(move || this.objects()).await
    }

    async fn revision(&self) -> Option<u64> {
        let modified = std::fs::metadata(&self.path).and_then(|metadata| metadata.modified()).ok()?;
        let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
        u64::try_from(since.as_nanos()).ok()
    }
}

/// Why a use of the database ended.
enum Failure {
    Locked,
    Newer(String),
    Corrupt(String),
    Io(std::io::ErrorKind, String),
}

impl Failure {
    fn io(error: &std::io::Error) -> Self {
        let text = error.to_string();
        let message = text.split(" (os error").next().unwrap_or(&text).to_owned();
        match error.kind() {
            // Files that end too early.
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData => Self::Corrupt(message),
            kind => Self::Io(kind, message),
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(error) => Self::io(&error),
            // By a later version of redb: its own words are all that tells it from damage.
            StorageError::Corrupted(message) if message.starts_with("Expected file format version") => {
                Self::Newer(message)
            }
            error => Self::Corrupt(error.to_string()),
        }
    }
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Self::Locked,
            DatabaseError::Storage(error) => error.into(),
            error => Self::Corrupt(error.to_string()),
        }
    }
}

impl From<redb::TransactionError> for Failure {
    fn from(error: redb::TransactionError) -> Self {
        match error {
            redb::TransactionError::Storage(error) => error.into(),
            error => Self::Corrupt(error.to_string()),
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            error => Self::Corrupt(error.to_string()),
        }
    }
}

impl From<redb::CommitError> for Failure {
    fn from(error: redb::CommitError) -> Self {
        match error {
            redb::CommitError::Storage(error) => error.into(),
            error => Self::Corrupt(error.to_string()),
        }
    }
}

/// Waits while another process has the file.
fn in_turn<D>(open: impl Fn() -> Result<D, DatabaseError>) -> Result<D, DatabaseError> {
    let deadline = Instant::now() + TURN;
    loop {
        match open() {
            Err(DatabaseError::DatabaseAlreadyOpen) if Instant::now() < deadline => std::thread::sleep(BETWEEN_TRIES),
            outcome => return outcome,
        }
    }
}

fn look_at<T>(
    database: &impl ReadableDatabase,
    look: impl FnOnce(&ReadTransaction) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let transaction = database.begin_read()?;
    known_format(&transaction)?;
    look(&transaction)
}

fn known_format(transaction: &ReadTransaction) -> Result<(), Failure> {
    let Some(meta) = existing(transaction.open_table(META))? else { return Ok(()) };
    match meta.get("format")?.map(|found| found.value()) {
        Some(found) if found > FORMAT => Err(newer(found)),
        _ => Ok(()),
    }
}

fn newer(found: u64) -> Failure {
    Failure::Newer(format!("format {found}, this version knows {FORMAT}"))
}

/// A table that was never written to is an empty one.
fn existing<T>(table: Result<T, TableError>) -> Result<Option<T>, Failure> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Brings the tables to the present format.
fn migrate(transaction: &WriteTransaction) -> Result<(), Failure> {
    let found = {
        let meta = transaction.open_table(META)?;
        meta.get("format")?.map(|found| found.value())
    };
    match found {
        Some(FORMAT) => return Ok(()),
        Some(found) if found > FORMAT => return Err(newer(found)),
        Some(1) => conditions_to_objects(transaction)?,
        None => {}
        Some(found) => return Err(Failure::Corrupt(format!("its format is {found}"))),
    }
    transaction.open_table(META)?.insert("format", FORMAT)?;
    Ok(())
}

fn conditions_to_objects(transaction: &WriteTransaction) -> Result<(), Failure> {
    {
        let conditions = transaction.open_table(CONDITIONS)?;
        let mut objects = transaction.open_table(OBJECTS)?;
        for entry in conditions.iter()? {
            let (key, value) = entry?;
            let Ok(conditions) = serde_json::from_slice::<Arc<[Condition]>>(value.value()) else { continue };
            let record = ObjectRecord {
                declared: true,
                conditions: BTreeMap::from([(Default::default(), conditions)]).into(),
                ..ObjectRecord::default()
            };
            objects.insert(key.value(), json(&record).as_slice())?;
        }
    }
    transaction.delete_table(CONDITIONS)?;
    Ok(())
}

fn write(transaction: &WriteTransaction, batch: &Batch, bounds: &Bounds) -> Result<(), Failure> {
    let times = batch.passes.iter().map(|pass| pass.time).chain(batch.events.iter().map(|event| event.time));
    if let Some(now) = times.max() {
        let oldest = now.checked_sub(bounds.age).unwrap_or(jiff::Timestamp::MIN);
        let mut passes = transaction.open_table(PASSES)?;
        let mut numbers = BTreeMap::new();
        for pass in &batch.passes {
            // Another process may have used the number in between: the next one then, for its events too.
            let next = passes.last()?.map_or(1, |(key, _)| key.value() + 1).max(pass.pass);
            passes.insert(next, json(&bound_pass(pass)).as_slice())?;
            numbers.insert((Some(pass.pass), Some(&pass.server)), next);
        }
        thin_out(&mut passes, bounds.passes, |value| {
            serde_json::from_slice::<PassRecord>(value).is_ok_and(|pass| pass.time >= oldest)
        })?;
        let mut events = transaction.open_table(EVENTS)?;
        let next = events.last()?.map_or(1, |(key, _)| key.value() + 1);
        for (id, event) in (next..).zip(&batch.events) {
            let number = numbers.get(&(event.pass, event.server.as_ref())).copied();
            let event = EventRecord { pass: number.or(event.pass), ..bound_event(event) };
            events.insert(id, json(&event).as_slice())?;
        }
        thin_out(&mut events, bounds.events, |value| {
            serde_json::from_slice::<EventRecord>(value).is_ok_and(|event| event.time >= oldest)
        })?;
    }
    if batch.objects.is_empty() {
        return Ok(());
    }
    let mut objects = transaction.open_table(OBJECTS)?;
    for (key, record) in &batch.objects {
        match record.as_ref().filter(|record| !record.is_forgettable()) {
            Some(record) => objects.insert(key.to_string().as_str(), json(record).as_slice())?,
            None => objects.remove(key.to_string().as_str())?,
        };
    }
    if batch.objects.values().flatten().all(|record| record.declared) {
        return Ok(());
    }
    let mut undeclared = 0;
    objects.retain(|_, value| match serde_json::from_slice::<ObjectRecord>(value) {
        Ok(record) if record.declared => true,
        Ok(_) => {
            undeclared += 1;
            undeclared <= bounds.undeclared
        }
        Err(_) => false,
    })?;
    Ok(())
}

/// Records are made of strings and numbers, which always serialize.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Removes the oldest: beyond `most`, and what is not to be kept.
fn thin_out(
    table: &mut redb::Table<'_, u64, &[u8]>,
    most: u64,
    keep: impl Fn(&[u8]) -> bool,
) -> Result<(), StorageError> {
    loop {
        let kept = match table.first()? {
            Some((_, value)) => keep(value.value()),
            None => return Ok(()),
        };
        if kept && table.len()? <= most {
            return Ok(());
        }
        table.pop_first()?;
    }
}

fn events(transaction: &ReadTransaction, after: u64, most: usize) -> Result<Vec<EventRecord>, Failure> {
    let found: Vec<(u64, EventRecord)> = newest(transaction, EVENTS, after, most)?;
    Ok(found.into_iter().map(|(id, event)| EventRecord { id, ..event }).collect())
}

fn numbered_pass((id, pass): (u64, PassRecord)) -> PassRecord {
    pass.numbered(id)
}

fn newest<T: DeserializeOwned>(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, u64, &[u8]>,
    after: u64,
    most: usize,
) -> Result<Vec<(u64, T)>, Failure> {
    let Some(table) = existing(transaction.open_table(table))? else { return Ok(Vec::new()) };
    let mut records = Vec::new();
    for entry in table.range(after.saturating_add(1)..)?.rev().take(most) {
        let (id, value) = entry?;
        records.extend(serde_json::from_slice(value.value()).ok().map(|record| (id.value(), record)));
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
