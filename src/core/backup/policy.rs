//! What a manifest says of a resource's backups, and when the next one is due.

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::core::api::{BackupSpec, DatabaseEngine, ObjectKey};

/// Longest time by which a backup is put off, so that not all of a night begin in the same second.
const LONGEST_JITTER: SignedDuration = SignedDuration::from_secs(300);

/// `spec.backup`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub spec: BackupSpec,
    /// Of a database that something else runs, as its manifest has it.
    pub engine: Option<DatabaseEngine>,
}

/// Why a schedule is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("{0:?} is no schedule: {1}")]
    Pattern(String, String),
    #[error("there is no time zone {0:?}")]
    Zone(String),
}

/// When backups are made.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// Five fields, or `@daily` and the like. `zone`: a name of the IANA database; `None` is UTC.
    pub fn parse(pattern: &str, zone: Option<&str>) -> Result<Self, ScheduleError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
        let cron =
            parser.parse(pattern).map_err(|error| ScheduleError::Pattern(pattern.to_owned(), error.to_string()))?;
        let zone = match zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| ScheduleError::Zone(name.to_owned()))?,
        };
        Ok(Self { cron, zone })
    }

    /// The first one after that moment.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&after.to_zoned(self.zone.clone()), false).ok()?;
        Some(next.timestamp())
    }

    /// When the backup of an object is to begin that follows the one of that moment: the same for an object every time, and another one for others.
    /// One that was missed is due at once, and only once however many were.
    pub fn due(&self, object: &ObjectKey, last: Timestamp) -> Option<Timestamp> {
        let next = self.next(last)?;
        let gap = self.next(next).map_or(LONGEST_JITTER, |later| later.duration_since(next));
        let most = LONGEST_JITTER.min(gap / 10).as_secs().max(1);
        let hash = Sha256::digest(object.to_string());
        let number = i64::from(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]));
        next.checked_add(SignedDuration::from_secs(number % most)).ok()
    }
}

impl Policy {
    /// `None`: none is made by itself. A schedule that could not be read is reported with the manifest.
    pub fn schedule(&self) -> Option<Schedule> {
        Schedule::parse(self.spec.schedule.as_deref()?, self.spec.time_zone.as_deref()).ok()
    }
}
