//! [`Journals`] on disk: one file each, complete or not there at all: it is written beside its place, synchronised and renamed.
//!
//! Commands and a controller may share the directory. Between the writing of a journal and the first change that it is for, another process finds
//! everybody in place, and would take it for one that is done with. So whoever has written one keeps its file locked for as long as it is at
//! work, and nobody else removes it; the lock ends with the process, however that ends.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::in_place;
use crate::core::api::{Kind, ObjectKey};
use crate::core::digest::{SHORT, digest};
use crate::core::plan::{Journal, JournalPurpose, UnreadableJournal};
use crate::shell::store::{JournalError, Journals, Kept};

/// Files to read at most. Interrupted replacements are few; this many say that something else is wrong.
const FILES: usize = 10_000;
/// Bytes of one file to read at most: some ten thousand endpoints.
const BYTES: u64 = 16 << 20;
/// Forced deletions to keep, the latest ones.
const FORCED: usize = 200;

const FORMAT: &str = "1.0";

/// The directory of journals. Clones are one and the same for locks.
#[derive(Debug, Clone)]
pub struct FileJournals {
    directory: PathBuf,
    /// Files of journals that were written here, locked until they are removed.
    at_work: Arc<Mutex<BTreeMap<PathBuf, File>>>,
}

#[derive(Debug, Error)]
enum Problem {
    #[error("{0}")]
    Io(io::Error),
    #[error("not a journal: {0}; it may say who has to be reconnected, so look at it before you move it away")]
    Corrupt(serde_json::Error),
    #[error("larger than {BYTES} bytes")]
    TooLarge,
    #[error("its format is {0}, which this version does not know; use the version that wrote it")]
    Format(String),
    #[error("more than {FILES} journals")]
    TooMany,
}

/// A file's content.
#[derive(Serialize, Deserialize)]
struct Document<J> {
    format_version: String,
    journal: J,
}

impl FileJournals {
    /// Under the state directory. Nothing is created before there is something to write.
    pub fn in_state(directory: &Path) -> Self {
        Self { directory: directory.join("journal"), at_work: Arc::default() }
    }

    /// Every journal, in the order of the files' names. An error is about the directory.
    pub fn load(&self) -> Result<Kept, JournalError> {
        let mut kept = Kept::default();
        for path in self.files()? {
            match read(&path) {
                Ok(journal) => kept.journals.push(journal),
                // Done with meanwhile, by another one at work here.
                Err(Problem::Io(io)) if io.kind() == io::ErrorKind::NotFound => {}
                Err(problem) => kept.unreadable.push(UnreadableJournal {
                    destination: destination_of(&path),
                    message: error("reading the journal", &path, problem).to_string(),
                }),
            }
        }
        Ok(kept)
    }

    /// Durable when it returns.
    pub fn write(&self, journal: &Journal) -> Result<(), JournalError> {
        let path = self.path(journal);
        let file = self.write_to(&path, journal).map_err(|io| error("writing the journal", &path, Problem::Io(io)))?;
        match journal.purpose {
            JournalPurpose::Reattach => drop(self.at_work(|files| files.insert(path, file))),
            JournalPurpose::ForcedDeletion => self.thin_out()?,
            JournalPurpose::Deactivated => {}
        }
        Ok(())
    }

    /// One that is not there is no error. One that another process is at work with stays: that process removes it.
    pub fn remove(&self, journal: &Journal) -> Result<(), JournalError> {
        let path = self.path(journal);
        self.at_work(|files| files.remove(&path));
        if journal.purpose == JournalPurpose::Reattach {
            let file = File::open(&path);
            if file.as_ref().is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock))) {
                tracing::debug!(path = %path.display(), "another process is at work with this journal");
                return Ok(());
            }
        }
        self.remove_file(&path)
    }

    fn at_work<T>(&self, act: impl FnOnce(&mut BTreeMap<PathBuf, File>) -> T) -> T {
        act(&mut self.at_work.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the file as it is in its place, locked where the file system knows locks.
    fn write_to(&self, path: &Path, journal: &Journal) -> io::Result<File> {
        fs::create_dir_all(&self.directory)?;
        crate::shell::store::keep_private(&self.directory);
        let document = Document { format_version: FORMAT.to_owned(), journal };
        let mut text = serde_json::to_string_pretty(&document)?;
        text.push('\n');
        let file = crate::shell::store::replace(path, |file| {
            // Before anybody can see it. A file system without locks is no reason to do without the journal.
            let _ = file.try_lock();
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all())
        })?;
        File::open(&self.directory)?.sync_all()?;
        Ok(file)
    }

    fn remove_file(&self, path: &Path) -> Result<(), JournalError> {
        match fs::remove_file(path) {
            Err(io) if io.kind() != io::ErrorKind::NotFound => {
                Err(error("removing the journal", path, Problem::Io(io)))
            }
            _ => Ok(()),
        }
    }

    fn files(&self) -> Result<Vec<PathBuf>, JournalError> {
        let failed = |problem| error("reading the directory", &self.directory, problem);
        let entries = match fs::read_dir(&self.directory) {
            Err(io) if io.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|io| failed(Problem::Io(io)))?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(|io| failed(Problem::Io(io)))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                files.push(path);
            }
            if files.len() > FILES {
                return Err(failed(Problem::TooMany));
            }
        }
        files.sort();
        Ok(files)
    }

    /// Named after the content: several journals of one destination may be open, and two that are equal are the same.
    fn path(&self, journal: &Journal) -> PathBuf {
        let purpose = match journal.purpose {
            JournalPurpose::Reattach => REATTACH_PREFIX,
            JournalPurpose::Deactivated => DEACTIVATED_PREFIX,
            JournalPurpose::ForcedDeletion => FORCED_PREFIX,
        };
        // A journal is made of strings, which always serialize.
        let content = serde_json::to_vec(journal).unwrap_or_default();
        let digest = digest(content, SHORT);
        let destination = &journal.destination;
        self.directory.join(format!("{purpose}-{}.{}-{digest}.json", destination.namespace, destination.name))
    }

    fn thin_out(&self) -> Result<(), JournalError> {
        let forced = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(FORCED_PREFIX))
        };
        let mut files: Vec<PathBuf> = self.files()?.into_iter().filter(forced).collect();
        files.sort_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
        let surplus = files.len().saturating_sub(FORCED);
        files.iter().take(surplus).try_for_each(|path| self.remove_file(path))
    }
}

#[async_trait]
impl Journals for FileJournals {
    async fn load(&self) -> Result<Kept, JournalError> {
        in_place(|| self.load())
    }

    async fn write(&self, journal: &Journal) -> Result<(), JournalError> {
        in_place(|| self.write(journal))
    }

    async fn remove(&self, journal: &Journal) -> Result<(), JournalError> {
        in_place(|| self.remove(journal))
    }
}

const FORCED_PREFIX: &str = "forced-deletion";
const REATTACH_PREFIX: &str = "reattach";
const DEACTIVATED_PREFIX: &str = "deactivated";

/// Whose journal a file is, by its name, where the planner would act on it.
fn destination_of(path: &Path) -> Option<ObjectKey> {
    let name = path.file_stem()?.to_str()?;
    let rest = [REATTACH_PREFIX, DEACTIVATED_PREFIX].iter().find_map(|it| name.strip_prefix(it)?.strip_prefix('-'))?;
    let (destination, digest) = rest.rsplit_once('-')?;
    let (namespace, name) = destination.split_once('.')?;
    let hex = digest.len() == 16 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| ObjectKey::new(Kind::Destination, namespace, name))
}

fn error(attempted: &'static str, path: &Path, problem: Problem) -> JournalError {
    JournalError {
        attempted,
        place: path.display().to_string(),
        problem: problem.to_string(),
        hint: Some("name a directory that can be written with --state DIR"),
    }
}

fn read(path: &Path) -> Result<Journal, Problem> {
    let mut text = String::new();
    let file = File::open(path).map_err(Problem::Io)?;
    file.take(BYTES + 1).read_to_string(&mut text).map_err(Problem::Io)?;
    if text.len() as u64 > BYTES {
        return Err(Problem::TooLarge);
    }
    let document: Document<serde_json::Value> = serde_json::from_str(&text).map_err(Problem::Corrupt)?;
    if !document.format_version.starts_with("1.") {
        return Err(Problem::Format(document.format_version));
    }
    serde_json::from_value(document.journal).map_err(Problem::Corrupt)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::api::{Kind, ObjectKey};
    use crate::core::plan::NetworkCreate;

    fn journal(purpose: JournalPurpose, network: &str) -> Journal {
        Journal {
            services: Vec::new(),
            server: ObjectKey::new(Kind::Server, "default", "edge-1"),
            destination: ObjectKey::new(Kind::Destination, "shop", "web"),
            purpose,
            network: NetworkCreate {
                replaces: Vec::new(),
                beside: Vec::new(),
                generated: false,
                name: network.to_owned(),
                driver: "bridge".to_owned(),
                attachable: false,
                internal: false,
                ipv4: true,
                ipv6: false,
                subnets: Vec::new(),
                options: BTreeMap::new(),
                labels: BTreeMap::new(),
            },
            endpoints: Vec::new(),
        }
    }

    #[test]
    fn what_is_written_is_loaded_until_it_is_removed() {
        let state = tempfile::tempdir().unwrap();
        let journals = FileJournals::in_state(state.path());
        assert_eq!(journals.load().unwrap(), Kept::default());
        let (one, two) = (journal(JournalPurpose::Reattach, "one"), journal(JournalPurpose::Reattach, "two"));
        for journal in [&one, &two, &one] {
            journals.write(journal).unwrap();
        }
        let loaded = journals.load().unwrap().journals;
        assert!(loaded.len() == 2 && loaded.contains(&one) && loaded.contains(&two), "{loaded:?}");
        journals.remove(&one).unwrap();
        journals.remove(&one).unwrap();
        assert_eq!(journals.load().unwrap().journals, [two]);
    }

    #[test]
    fn a_journal_that_another_one_is_at_work_with_stays_until_that_has_ended() {
        let state = tempfile::tempdir().unwrap();
        let [one, two] = [(); 2].map(|()| FileJournals::in_state(state.path()));
        let open = journal(JournalPurpose::Reattach, "one");
        one.write(&open).unwrap();
        two.remove(&open).unwrap();
        assert_eq!(two.load().unwrap().journals, std::slice::from_ref(&open));
        // Both are at work with equal ones: that one is through does not take it from the other.
        two.write(&open).unwrap();
        one.remove(&open).unwrap();
        assert_eq!(one.load().unwrap().journals, std::slice::from_ref(&open));
        // Whoever is killed holds nothing any more.
        drop(two);
        one.remove(&open).unwrap();
        assert_eq!(one.load().unwrap(), Kept::default());
        // What was stopped by a deactivation waits for the activation, by whomever.
        let stopped = journal(JournalPurpose::Deactivated, "one");
        one.write(&stopped).unwrap();
        FileJournals::in_state(state.path()).remove(&stopped).unwrap();
        assert_eq!(one.load().unwrap(), Kept::default());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_its_destination_and_keeps_no_other_from_being_read() {
        let state = tempfile::tempdir().unwrap();
        let journals = FileJournals::in_state(state.path());
        let (broken, other) = (journal(JournalPurpose::Reattach, "one"), journal(JournalPurpose::Reattach, "two"));
        journals.write(&broken).unwrap();
        journals.write(&other).unwrap();
        let file = journals.path(&broken);
        for (text, said) in [
            ("{ \"format_version\": \"1.0\", \"jour", "not a journal"),
            ("{ \"format_version\": \"1.0\", \"journal\": {} }", "not a journal"),
            ("{ \"format_version\": \"2.0\", \"journal\": {} }", "its format is 2.0"),
            ("", "not a journal"),
        ] {
            fs::write(&file, text).unwrap();
            let kept = journals.load().unwrap();
            assert_eq!(kept.journals, std::slice::from_ref(&other));
            let [unreadable] = kept.unreadable.as_slice() else { panic!("{kept:?}") };
            assert_eq!(unreadable.destination, Some(ObjectKey::new(Kind::Destination, "shop", "web")));
            let message = &unreadable.message;
            assert!(message.contains(file.to_str().unwrap()) && message.contains(said), "{message}");
        }
        // What a crash while writing leaves behind is no journal yet.
        fs::rename(&file, state.path().join("journal/x.1.tmp")).unwrap();
        assert_eq!(journals.load().unwrap().unreadable, []);
        // Nothing is restored from a forced deletion, and a name may tell nothing.
        for name in ["forced-deletion-shop.web-0123456789abcdef.json", "broken.json", "reattach-shop.web.json"] {
            fs::write(state.path().join("journal").join(name), "{").unwrap();
        }
        let unreadable = journals.load().unwrap().unreadable;
        assert_eq!(unreadable.iter().map(|it| &it.destination).collect::<Vec<_>>(), [&None, &None, &None]);
    }

    #[test]
    fn only_the_latest_forced_deletions_are_kept() {
        let state = tempfile::tempdir().unwrap();
        let journals = FileJournals::in_state(state.path());
        journals.write(&journal(JournalPurpose::Reattach, "open")).unwrap();
        for number in 0..FORCED + 5 {
            journals.write(&journal(JournalPurpose::ForcedDeletion, &format!("net-{number}"))).unwrap();
        }
        let loaded = journals.load().unwrap().journals;
        assert_eq!(loaded.len(), FORCED + 1);
        assert!(loaded.iter().any(|it| it.network.name == "open"));
    }
}
