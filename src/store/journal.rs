//! Journals on disk: one file each, written durably before the first call that a crash must not leave half done.
//!
//! A journal says who has to be connected to what, should nobody be left who knows. So a file that cannot be read is told as such, and is no
//! absence: its name says which destination it concerns, and all others go on. A file is complete or not there at all: it is written beside
//! its place, synchronised and renamed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::api::{Kind, ObjectKey};
use crate::plan::{Journal, JournalPurpose, UnreadableJournal};

/// Files to read at most. Interrupted replacements are few; this many say that something else is wrong.
const FILES: usize = 10_000;
/// Bytes of one file to read at most: some ten thousand endpoints.
const BYTES: u64 = 16 << 20;
/// Forced deletions to keep, the latest ones.
const FORCED: usize = 200;

const FORMAT: &str = "1.0";

/// The directory of journals.
#[derive(Debug, Clone)]
pub struct Journals {
    directory: PathBuf,
}

/// What the directory holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    pub journals: Vec<Journal>,
    pub unreadable: Vec<UnreadableJournal>,
}

/// A journal that could not be written or removed, or a directory that cannot be read.
#[derive(Debug, Error)]
#[error("{attempted} {}: {problem}", path.display())]
pub struct JournalError {
    attempted: &'static str,
    pub path: PathBuf,
    problem: Problem,
}

#[derive(Debug, Error)]
enum Problem {
    #[error("{0}")]
    Io(io::Error),
    #[error("not a journal: {0}")]
    Corrupt(serde_json::Error),
    #[error("not a file")]
    NotAFile,
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

impl Journals {
    /// Under the state directory. Nothing is created before there is something to write.
    pub fn in_state(directory: &Path) -> Self {
        Self { directory: directory.join("journal") }
    }

    /// Every journal, in the order of the files' names.
    pub fn load(&self) -> Result<Loaded, JournalError> {
        let mut loaded = Loaded::default();
        for path in self.files()? {
            match read(&path) {
                Ok(journal) => loaded.journals.extend(journal),
                Err(problem) => {
                    let (purpose, destination) = named(&path);
                    let (path, problem) = (path.display().to_string(), problem.to_string());
                    loaded.unreadable.push(UnreadableJournal { purpose, destination, path, problem });
                }
            }
        }
        Ok(loaded)
    }

    /// Durable when it returns.
    pub fn write(&self, journal: &Journal) -> Result<(), JournalError> {
        let path = self.path(journal);
        self.write_to(&path, journal).map_err(|io| error("writing the journal", &path, Problem::Io(io)))?;
        if journal.purpose == JournalPurpose::ForcedDeletion {
            self.thin_out()?;
        }
        Ok(())
    }

    /// One that is not there is no error.
    pub fn remove(&self, journal: &Journal) -> Result<(), JournalError> {
        let path = self.path(journal);
        if path.exists() {
            return self.remove_file(&path);
        }
        // Another version may have written it differently, and so under another name.
        let same = |path: &PathBuf| matches!(read(path), Ok(Some(it)) if it == *journal);
        self.files()?.iter().filter(|path| same(path)).try_for_each(|path| self.remove_file(path))
    }

    fn write_to(&self, path: &Path, journal: &Journal) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let document = Document { format_version: FORMAT.to_owned(), journal };
        let mut text = serde_json::to_string_pretty(&document)?;
        text.push('\n');
        let beside = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = File::create(&beside)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| fs::rename(&beside, path)) {
            let _ = fs::remove_file(&beside);
            return Err(error);
        }
        File::open(&self.directory)?.sync_all()
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
        let purpose = prefix(journal.purpose);
        // A journal is made of strings, which always serialize.
        let content = serde_json::to_vec(journal).unwrap_or_default();
        let digest: String =
            Sha256::digest(content).iter().take(DIGEST / 2).map(|byte| format!("{byte:02x}")).collect();
        let destination = &journal.destination;
        self.directory.join(format!("{purpose}-{}.{}-{digest}.json", destination.namespace, destination.name))
    }

    fn thin_out(&self) -> Result<(), JournalError> {
        let forced = |path: &PathBuf| {
            let forced = prefix(JournalPurpose::ForcedDeletion);
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(forced))
        };
        let mut files: Vec<PathBuf> = self.files()?.into_iter().filter(forced).collect();
        files.sort_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
        let surplus = files.len().saturating_sub(FORCED);
        files.iter().take(surplus).try_for_each(|path| self.remove_file(path))
    }
}

const PURPOSES: [JournalPurpose; 3] =
    [JournalPurpose::Reattach, JournalPurpose::Deactivated, JournalPurpose::ForcedDeletion];
/// Digits at the end of a file's name.
const DIGEST: usize = 16;

fn prefix(purpose: JournalPurpose) -> &'static str {
    match purpose {
        JournalPurpose::Reattach => "reattach",
        JournalPurpose::Deactivated => "deactivated",
        JournalPurpose::ForcedDeletion => "forced-deletion",
    }
}

/// What the name of a file tells of its content.
fn named(path: &Path) -> (Option<JournalPurpose>, Option<ObjectKey>) {
    let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { return (None, None) };
    let of = |purpose: JournalPurpose| Some((purpose, name.strip_prefix(prefix(purpose))?.strip_prefix('-')?));
    let Some((purpose, rest)) = PURPOSES.into_iter().find_map(of) else { return (None, None) };
    let is_digest = |text: &str| text.len() == DIGEST && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let destination = rest.rsplit_once('-').filter(|(_, digest)| is_digest(digest)).map_or(rest, |(before, _)| before);
    let is_label = |text: &str| {
        let of_a_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !text.is_empty() && text.bytes().all(of_a_label)
    };
    let key = destination.split_once('.').filter(|(namespace, name)| is_label(namespace) && is_label(name));
    (Some(purpose), key.map(|(namespace, name)| ObjectKey::new(Kind::Destination, namespace, name)))
}

fn error(attempted: &'static str, path: &Path, problem: Problem) -> JournalError {
    JournalError { attempted, path: path.to_path_buf(), problem }
}

/// `None`: it has been removed meanwhile.
fn read(path: &Path) -> Result<Option<Journal>, Problem> {
    let mut text = String::new();
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        // What is no file may never end, or never begin.
        Ok(_) => return Err(Problem::NotAFile),
        Err(io) if io.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => return Ok(None),
        Err(io) => return Err(Problem::Io(io)),
    }
    let file = match File::open(path) {
        Err(io) if io.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(Problem::Io)?,
    };
    file.take(BYTES + 1).read_to_string(&mut text).map_err(Problem::Io)?;
    if text.len() as u64 > BYTES {
        return Err(Problem::TooLarge);
    }
    let document: Document<serde_json::Value> = serde_json::from_str(&text).map_err(Problem::Corrupt)?;
    if !document.format_version.starts_with("1.") {
        return Err(Problem::Format(document.format_version));
    }
    serde_json::from_value(document.journal).map(Some).map_err(Problem::Corrupt)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::NetworkCreate;

    fn journal(purpose: JournalPurpose, network: &str) -> Journal {
        Journal {
            services: Vec::new(),
            server: ObjectKey::new(Kind::Server, "default", "edge-1"),
            destination: ObjectKey::new(Kind::Destination, "shop", "web"),
            purpose,
            network: NetworkCreate {
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
        let journals = Journals::in_state(state.path());
        assert_eq!(journals.load().unwrap(), Loaded::default());
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
    fn a_file_that_cannot_be_read_is_named_and_hides_none_of_the_others() {
        let state = tempfile::tempdir().unwrap();
        let journals = Journals::in_state(state.path());
        let one = journal(JournalPurpose::Reattach, "one");
        journals.write(&one).unwrap();
        let file = state.path().join("journal/reattach-shop.web-0123456789abcdef.json");
        for (bytes, said) in [
            (&b"{"[..], "not a journal"),
            (b"", "not a journal"),
            (b"\xff\xfe", "UTF-8"),
            (b"{ \"format_version\": \"1.0\", \"jour", "not a journal"),
            (b"{ \"format_version\": \"1.0\", \"journal\": {} }", "not a journal"),
            (b"{ \"format_version\": \"2.0\", \"journal\": {} }", "its format is 2.0"),
        ] {
            fs::write(&file, bytes).unwrap();
            let loaded = journals.load().unwrap();
            assert_eq!(loaded.journals, std::slice::from_ref(&one));
            let [unreadable] = loaded.unreadable.as_slice() else { panic!("{:?}", loaded.unreadable) };
            assert!(unreadable.problem.contains(said), "{unreadable:?}");
            assert_eq!(unreadable.path, file.display().to_string());
            assert_eq!(unreadable.destination, Some(ObjectKey::new(Kind::Destination, "shop", "web")));
        }
        // What a crash while writing leaves behind is no journal yet.
        fs::rename(&file, state.path().join("journal/x.1.tmp")).unwrap();
        assert_eq!(journals.load().unwrap(), Loaded { journals: vec![one.clone()], unreadable: Vec::new() });
        // A directory, and a way that leads nowhere.
        fs::create_dir(&file).unwrap();
        std::os::unix::fs::symlink("nowhere", state.path().join("journal/deactivated-a.b.json")).unwrap();
        let loaded = journals.load().unwrap();
        assert_eq!((loaded.journals.as_slice(), loaded.unreadable.len()), (&[one][..], 2), "{:?}", loaded.unreadable);
    }

    #[test]
    fn a_name_tells_the_destination_if_it_is_one_that_is_written() {
        let told = |name: &str| named(Path::new(name));
        for purpose in PURPOSES {
            let journal = journal(purpose, "net");
            let path = Journals::in_state(Path::new("s")).path(&journal);
            assert_eq!(named(&path), (Some(purpose), Some(journal.destination)));
        }
        let web = ObjectKey::new(Kind::Destination, "my-team", "web-1-0123456789abcdeg");
        assert_eq!(told("reattach-my-team.web-1-0123456789abcdeg.json"), (Some(JournalPurpose::Reattach), Some(web)));
        for name in ["reattach-web.json", "reattach-.web.json", "reattach-shop.W\u{1b}b.json", "reattach-shop.a.b.json"]
        {
            assert_eq!(told(name), (Some(JournalPurpose::Reattach), None), "{name}");
        }
        for name in ["broken.json", ".json", "", "reattachshop.web.json"] {
            assert_eq!(told(name), (None, None), "{name}");
        }
    }

    #[test]
    fn a_journal_goes_also_if_it_was_written_under_another_name() {
        let state = tempfile::tempdir().unwrap();
        let journals = Journals::in_state(state.path());
        let (one, two) = (journal(JournalPurpose::Reattach, "one"), journal(JournalPurpose::Reattach, "two"));
        journals.write(&one).unwrap();
        journals.write(&two).unwrap();
        fs::rename(journals.path(&one), state.path().join("journal/reattach-shop.web-0123456789abcdef.json")).unwrap();
        journals.remove(&one).unwrap();
        assert_eq!(journals.load().unwrap().journals, [two]);
    }

    #[test]
    fn only_the_latest_forced_deletions_are_kept() {
        let state = tempfile::tempdir().unwrap();
        let journals = Journals::in_state(state.path());
        journals.write(&journal(JournalPurpose::Reattach, "open")).unwrap();
        for number in 0..FORCED + 5 {
            journals.write(&journal(JournalPurpose::ForcedDeletion, &format!("net-{number}"))).unwrap();
        }
        let loaded = journals.load().unwrap().journals;
        assert_eq!(loaded.len(), FORCED + 1);
        assert!(loaded.iter().any(|it| it.network.name == "open"));
    }
}
