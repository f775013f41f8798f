//! What the controller did and saw, and when the conditions last changed: one redb file. Nothing depends on it but the memory itself.
//!
//! A file that cannot be read is moved aside and a new one begun: losing history is better than not reconciling. A file that another
//! controller holds open is an error, since two controllers of one set on one machine is a mistake.

use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::api::{Condition, ObjectKey};

const FORMAT: u64 = 1;
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
const PASSES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("passes");
const CONDITIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("conditions");

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub events: u64,
    pub passes: u64,
    pub age: jiff::SignedDuration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { events: 10_000, passes: 1_000, age: jiff::SignedDuration::from_hours(30 * 24) }
    }
}

/// Something that happened to an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    pub time: jiff::Timestamp,
    #[serde(rename = "type")]
    pub event_type: EventType,
    pub object: ObjectKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ObjectKey>,
    /// One word in CamelCase: a cause, a reason or a condition's reason.
    pub reason: String,
    pub message: String,
    /// The pass that it happened in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventType {
    Normal,
    Warning,
}

/// A pass that did, or failed to do, something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassRecord {
    pub time: jiff::Timestamp,
    pub pass: u64,
    pub server: ObjectKey,
    /// Revision of the manifests, where they come from a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    pub duration_ms: u64,
    /// The operations as in the plan's JSON.
    pub operations: Vec<serde_json::Value>,
}

/// The store cannot be used.
#[derive(Debug, Error)]
pub enum HistoryError {
    #[error("{}: another controller has it open", path.display())]
    Locked { path: PathBuf },
    #[error("{}: written by a newer version of Landfall (format {found}, this version knows {FORMAT})", path.display())]
    Newer { path: PathBuf, found: u64 },
    #[error("{}: {message}", path.display())]
    Unusable { path: PathBuf, message: String },
}

/// The open store.
pub struct History {
    database: Database,
    path: PathBuf,
    bounds: Bounds,
    /// Where an unreadable file of before was moved.
    pub set_aside: Option<PathBuf>,
}

impl History {
    /// Opens `landfall.redb` in the directory, making both where they are missing.
    pub fn open(directory: &Path, bounds: Bounds) -> Result<Self, HistoryError> {
        let path = directory.join("landfall.redb");
        let unusable = |message: String| HistoryError::Unusable { path: path.clone(), message };
        std::fs::create_dir_all(directory).map_err(|error| unusable(error.to_string()))?;
        let mut set_aside = None;
        let database = match create(&path) {
            Ok(database) => database,
            Err(Refusal::Locked) => return Err(HistoryError::Locked { path }),
            Err(Refusal::Io(message)) => return Err(unusable(message)),
            Err(Refusal::Unreadable(message)) => {
                let aside = directory.join(format!("landfall.redb.unreadable-{}", std::process::id()));
                tracing::warn!(file = %path.display(), moved_to = %aside.display(), %message, "the history cannot be read; a new one is begun");
                std::fs::rename(&path, &aside).map_err(|error| unusable(error.to_string()))?;
                set_aside = Some(aside);
                create(&path).map_err(|refusal| match refusal {
                    Refusal::Locked => HistoryError::Locked { path: path.clone() },
                    Refusal::Io(message) | Refusal::Unreadable(message) => unusable(message),
                })?
            }
        };
        let history = Self { database, path, bounds, set_aside };
        history.check_format()?;
        Ok(history)
    }

    fn unusable(&self, error: impl std::fmt::Display) -> HistoryError {
        HistoryError::Unusable { path: self.path.clone(), message: error.to_string() }
    }

    fn check_format(&self) -> Result<(), HistoryError> {
        let transaction = self.database.begin_write().map_err(|error| self.unusable(error))?;
        let found = {
            let mut meta = transaction.open_table(META).map_err(|error| self.unusable(error))?;
            transaction.open_table(EVENTS).map_err(|error| self.unusable(error))?;
            transaction.open_table(PASSES).map_err(|error| self.unusable(error))?;
            transaction.open_table(CONDITIONS).map_err(|error| self.unusable(error))?;
            let found = meta.get("format").map_err(|error| self.unusable(error))?.map(|value| value.value());
            if found.is_none() {
                meta.insert("format", FORMAT).map_err(|error| self.unusable(error))?;
            }
            found.unwrap_or(FORMAT)
        };
        if found > FORMAT {
            return Err(HistoryError::Newer { path: self.path.clone(), found });
        }
        transaction.commit().map_err(|error| self.unusable(error))
    }

    /// Adds what one pass brought. One durable write.
    pub fn record(&self, passes: &[PassRecord], events: &[EventRecord]) -> Result<(), HistoryError> {
        let now = passes.iter().map(|pass| pass.time).chain(events.iter().map(|event| event.time)).max();
        let Some(now) = now else { return Ok(()) };
        let oldest = now.checked_sub(self.bounds.age).unwrap_or(jiff::Timestamp::MIN);
        let transaction = self.database.begin_write().map_err(|error| self.unusable(error))?;
        {
            let mut table = transaction.open_table(PASSES).map_err(|error| self.unusable(error))?;
            append(&mut table, passes, self.bounds.passes, oldest).map_err(|error| self.unusable(error))?;
            let mut table = transaction.open_table(EVENTS).map_err(|error| self.unusable(error))?;
            append(&mut table, events, self.bounds.events, oldest).map_err(|error| self.unusable(error))?;
        }
        transaction.commit().map_err(|error| self.unusable(error))
    }

    /// Newest first.
    pub fn events(&self, most: usize) -> Result<Vec<EventRecord>, HistoryError> {
        self.newest(EVENTS, most)
    }

    /// Newest first.
    pub fn passes(&self, most: usize) -> Result<Vec<PassRecord>, HistoryError> {
        self.newest(PASSES, most)
    }

    /// The conditions of every object as last recorded.
    pub fn conditions(&self) -> Result<Vec<(ObjectKey, Vec<Condition>)>, HistoryError> {
        let transaction = self.database.begin_read().map_err(|error| self.unusable(error))?;
        let table = transaction.open_table(CONDITIONS).map_err(|error| self.unusable(error))?;
        let mut all = Vec::new();
        for entry in table.iter().map_err(|error| self.unusable(error))? {
            let (key, value) = entry.map_err(|error| self.unusable(error))?;
            // An entry that cannot be read is one that was never written.
            if let (Ok(key), Ok(conditions)) = (key.value().parse(), serde_json::from_slice(value.value())) {
                all.push((key, conditions));
            }
        }
        Ok(all)
    }

    /// Replaces the recorded conditions: objects absent from `all` are forgotten.
    pub fn record_conditions(&self, all: &[(ObjectKey, Vec<Condition>)]) -> Result<(), HistoryError> {
        let transaction = self.database.begin_write().map_err(|error| self.unusable(error))?;
        {
            let mut table = transaction.open_table(CONDITIONS).map_err(|error| self.unusable(error))?;
            table.retain(|_, _| false).map_err(|error| self.unusable(error))?;
            for (key, conditions) in all {
                let value = serde_json::to_vec(conditions).map_err(|error| self.unusable(error))?;
                table.insert(key.to_string().as_str(), value.as_slice()).map_err(|error| self.unusable(error))?;
            }
        }
        transaction.commit().map_err(|error| self.unusable(error))
    }

    fn newest<T: DeserializeOwned>(
        &self,
        table: TableDefinition<'_, u64, &[u8]>,
        most: usize,
    ) -> Result<Vec<T>, HistoryError> {
        let transaction = self.database.begin_read().map_err(|error| self.unusable(error))?;
        let table = transaction.open_table(table).map_err(|error| self.unusable(error))?;
        let mut records = Vec::new();
        for entry in table.iter().map_err(|error| self.unusable(error))?.rev().take(most) {
            let (_, value) = entry.map_err(|error| self.unusable(error))?;
            records.extend(serde_json::from_slice(value.value()).ok());
        }
        Ok(records)
    }
}

enum Refusal {
    Locked,
    Unreadable(String),
    Io(String),
}

fn create(path: &Path) -> Result<Database, Refusal> {
    Database::create(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => Refusal::Locked,
        DatabaseError::Storage(redb::StorageError::Io(error)) if error.kind() != std::io::ErrorKind::InvalidData => {
            Refusal::Io(error.to_string())
        }
        error => Refusal::Unreadable(error.to_string()),
    })
}

/// What a record says of its own age.
trait Dated {
    fn time(&self) -> jiff::Timestamp;
}

impl Dated for EventRecord {
    fn time(&self) -> jiff::Timestamp {
        self.time
    }
}

impl Dated for PassRecord {
    fn time(&self) -> jiff::Timestamp {
        self.time
    }
}

fn append<T: Serialize + DeserializeOwned + Dated>(
    table: &mut redb::Table<'_, u64, &[u8]>,
    records: &[T],
    most: u64,
    oldest: jiff::Timestamp,
) -> Result<(), redb::StorageError> {
    let mut next = table.last()?.map_or(1, |(key, _)| key.value() + 1);
    for record in records {
        let Ok(value) = serde_json::to_vec(record) else { continue };
        table.insert(next, value.as_slice())?;
        next += 1;
    }
    loop {
        let expired = match table.first()? {
            None => break,
            Some((_, value)) => {
                serde_json::from_slice::<T>(value.value()).map_or(true, |record| record.time() < oldest)
            }
        };
        if !expired && table.len()? <= most {
            break;
        }
        table.pop_first()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;

    fn event(seconds: i64, message: &str) -> EventRecord {
        EventRecord {
            time: jiff::Timestamp::from_second(seconds).unwrap(),
            event_type: EventType::Normal,
            object: ObjectKey::new(Kind::Destination, "shop", "web"),
            server: None,
            reason: "ProxyDetached".to_owned(),
            message: message.to_owned(),
            pass: Some(1),
        }
    }

    fn messages(history: &History) -> Vec<String> {
        history.events(100).unwrap().into_iter().map(|event| event.message).collect()
    }

    #[test]
    fn events_survive_closing_and_come_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path(), Bounds::default()).unwrap();
        history.record(&[], &[event(1, "first"), event(2, "second")]).unwrap();
        drop(history);
        let history = History::open(dir.path(), Bounds::default()).unwrap();
        history.record(&[], &[event(3, "third")]).unwrap();
        assert_eq!(messages(&history), ["third", "second", "first"]);
    }

    #[test]
    fn history_is_bounded_by_count_and_by_age() {
        let dir = tempfile::tempdir().unwrap();
        let bounds = Bounds { events: 3, passes: 3, age: jiff::SignedDuration::from_secs(100) };
        let history = History::open(dir.path(), bounds).unwrap();
        let all: Vec<_> = (0..5).map(|i| event(i, &i.to_string())).collect();
        history.record(&[], &all).unwrap();
        assert_eq!(messages(&history), ["4", "3", "2"]);
        history.record(&[], &[event(104, "late")]).unwrap();
        assert_eq!(messages(&history), ["late", "4"]);
    }

    #[test]
    fn a_second_controller_is_told_that_the_store_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let _first = History::open(dir.path(), Bounds::default()).unwrap();
        assert!(matches!(History::open(dir.path(), Bounds::default()), Err(HistoryError::Locked { .. })));
    }

    #[test]
    fn an_unreadable_file_is_moved_aside_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("landfall.redb"), "this is not a database").unwrap();
        let history = History::open(dir.path(), Bounds::default()).unwrap();
        let aside = history.set_aside.clone().expect("set aside");
        assert_eq!(std::fs::read_to_string(aside).unwrap(), "this is not a database");
        history.record(&[], &[event(1, "begun anew")]).unwrap();
        assert_eq!(messages(&history), ["begun anew"]);
    }

    #[test]
    fn a_newer_format_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path(), Bounds::default()).unwrap();
        let transaction = history.database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("format", FORMAT + 1).unwrap();
        transaction.commit().unwrap();
        drop(history);
        let refused = History::open(dir.path(), Bounds::default());
        assert!(matches!(refused, Err(HistoryError::Newer { found: 2, .. })));
    }

    #[test]
    fn conditions_are_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path(), Bounds::default()).unwrap();
        let key = |name| ObjectKey::new(Kind::Destination, "shop", name);
        history.record_conditions(&[(key("a"), Vec::new()), (key("b"), Vec::new())]).unwrap();
        history.record_conditions(&[(key("b"), Vec::new())]).unwrap();
        assert_eq!(history.conditions().unwrap(), [(key("b"), Vec::new())]);
    }
}
