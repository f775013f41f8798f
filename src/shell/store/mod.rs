//! What is kept between runs. None of it is needed to converge: delete it and you lose history, and the way back from a forced deletion.
//!
//! The traits are what the rest of the program knows of it. Files in the state directory (`file`) are the first implementation of them.

pub mod etcd;
pub mod file;
pub mod known;
pub mod recorder;
pub mod records;
pub mod usage;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use thiserror::Error;

use self::records::{Batch, EventRecord, ObjectRecord, PassRecord};
use crate::core::api::ObjectKey;
use crate::core::plan::{Journal, UnreadableJournal};

/// Journals of changes that a crash must not leave half done.
///
/// A journal says who has to be connected to what, should nobody be left who knows. So one that cannot be read is no absence: its destination
/// is left as it is, and no other.
#[async_trait]
pub trait Journals: std::fmt::Debug + Send + Sync {
    /// Every journal. An error means that nothing is known of any.
    async fn load(&self) -> Result<Kept, JournalError>;

    /// Durable when it returns. Equal journals are one.
    async fn write(&self, journal: &Journal) -> Result<(), JournalError>;

    /// One that is not there is no error.
    async fn remove(&self, journal: &Journal) -> Result<(), JournalError>;
}

/// The journals that are kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    pub journals: Vec<Journal>,
    pub unreadable: Vec<UnreadableJournal>,
}

/// A journal that could not be written, read or removed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{attempted} {place}: {problem}")]
pub struct JournalError {
    pub attempted: &'static str,
    pub place: String,
    pub problem: String,
    /// What to do where one could not be written.
    pub hint: Option<&'static str>,
}

/// What a set's controllers and commands did and saw, and what was last known of every object. Nothing depends on it but the memory itself.
#[async_trait]
pub trait Records: Send + Sync {
    /// Where they are, for messages.
    fn place(&self) -> String;

    /// Gets them ready to be written to. `Some`: what was there could not be read, and is kept at that place.
    async fn prepare(&self) -> Result<Option<String>, StoreError>;

    /// Adds a batch, durably and as one.
    async fn record(&self, batch: &Batch) -> Result<(), StoreError>;

    /// Those after the one with the id `after`, newest first.
    async fn events(&self, after: u64, most: usize) -> Result<Vec<EventRecord>, StoreError>;

    /// Newest first.
    async fn passes(&self, most: usize) -> Result<Vec<PassRecord>, StoreError>;

    async fn pass(&self, number: u64) -> Result<Option<PassRecord>, StoreError>;

    /// What was last known of every object.
    async fn objects(&self) -> Result<BTreeMap<ObjectKey, ObjectRecord>, StoreError>;

    /// The same of what is on a server, and perhaps of others.
    async fn objects_on(&self, _server: &ObjectKey) -> Result<BTreeMap<ObjectKey, ObjectRecord>, StoreError> {
        self.objects().await
    }

    /// Differs once something else is known of any object. `None`: it cannot be told.
    async fn objects_revision(&self) -> Option<u64> {
        self.revision().await
    }

    /// Differs once there is something new to read. `None`: nothing is there yet, or it cannot be told.
    async fn revision(&self) -> Option<u64>;
}

/// The store cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    #[error("{place}: another process keeps it to itself")]
    Locked { place: String },
    #[error("{place}: written by a newer version of Landfall ({found}); it is left as it is")]
    Newer { place: String, found: String },
    #[error("{place}: no space is left on the device")]
    NoSpace { place: String },
    #[error("{place}: {message}")]
    NotWritable { place: String, message: String },
    #[error("{place}: not readable: {message}")]
    Corrupt { place: String, message: String },
    #[error("{place}: {message}")]
    Io { place: String, message: String },
}

impl StoreError {
    /// One word, as conditions have it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "Locked",
            Self::Newer { .. } => "NewerFormat",
            Self::NoSpace { .. } => "NoSpace",
            Self::NotWritable { .. } => "NotWritable",
            Self::Corrupt { .. } => "Corrupt",
            Self::Io { .. } => "IoError",
        }
    }
}

/// There is no directory to keep anything in.
#[derive(Debug, Error)]
#[error("neither XDG_STATE_HOME nor HOME is set, so there is no place for Landfall's state; name one with --state DIR")]
pub struct NoStateDirectory;

/// `--state DIR`, else `$XDG_STATE_HOME/landfall`, else `~/.local/state/landfall`.
pub fn state_directory(flag: Option<&Path>) -> Result<PathBuf, NoStateDirectory> {
    choose(flag, |variable| std::env::var_os(variable).map(PathBuf::from))
}

/// Takes from others what an earlier version, or whoever made it, has left them: new files are nobody else's from the start.
pub(crate) fn keep_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(mode) = std::fs::symlink_metadata(path).map(|it| it.permissions().mode()) else { return };
    if mode & 0o077 != 0 {
        // Somebody else's it stays.
        let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o700));
    }
}

/// Written beside its place and moved there: a reader sees all of it, or what was there before. The file comes back as `write` has left it, locked for
/// example.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<File> {
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = File::create(&beside)?;
    let written = write(&mut file).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written.map(|()| file)
}

/// Where a set's history, lock and socket are.
pub fn set_directory(state: &Path, set: &str) -> PathBuf {
    state.join("sets").join(set)
}

/// The command that agrees to what waits for an approval, as it is to be typed: for this set, and with the directory where it is not the usual one.
pub fn approval(fingerprint: &str, set: &str, state: Option<&Path>) -> String {
    format!("landfall approve{} {fingerprint}", options(set, state))
}

/// The options that lead to a set's directory, each with a space before it.
pub fn options(set: &str, state: Option<&Path>) -> String {
    let set = if set == "default" { String::new() } else { format!(" --set {set}") };
    let state = state.map(|state| format!(" --state {}", quoted(&state.display().to_string()))).unwrap_or_default();
    set + &state
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn choose(
    flag: Option<&Path>,
    variable: impl Fn(&'static str) -> Option<PathBuf>,
) -> Result<PathBuf, NoStateDirectory> {
    // The specification of the variable says to ignore a relative path.
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    flag.map(Path::to_path_buf)
        .or_else(|| absolute("XDG_STATE_HOME").map(|base| base.join("landfall")))
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state/landfall")))
        .ok_or(NoStateDirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_for_this_set_and_for_where_its_record_is() {
        assert_eq!(approval("0a1b", "default", None), "landfall approve 0a1b");
        assert_eq!(
            approval("0a1b", "shop", Some(Path::new("/var/lib/landfall"))),
            "landfall approve --set shop --state /var/lib/landfall 0a1b"
        );
        let odd = approval("0a1b", "default", Some(Path::new("/home/o'neil/my state")));
        assert_eq!(odd, r"landfall approve --state '/home/o'\''neil/my state' 0a1b");
    }

    #[test]
    fn the_flag_wins_then_the_variable_then_the_home_directory() {
        let both = |name| match name {
            "XDG_STATE_HOME" => Some(PathBuf::from("/x")),
            _ => Some(PathBuf::from("/home/u")),
        };
        let home = |name| (name == "HOME").then(|| PathBuf::from("/home/u"));
        let relative = |name| (name == "XDG_STATE_HOME").then(|| PathBuf::from("x"));
        assert_eq!(choose(Some(Path::new("here")), both).unwrap(), Path::new("here"));
        assert_eq!(choose(None, both).unwrap(), Path::new("/x/landfall"));
        assert_eq!(choose(None, home).unwrap(), Path::new("/home/u/.local/state/landfall"));
        assert!(choose(None, relative).is_err());
    }
}
