//! Manifests from a Git repository: fetched by the system's git, checked, and written out whole before anybody reads them.
//!
//! ```text
//! address ─ fetch ─► commit ─ signature, history ─► tree ─ limits, links ─► Checkout
//! ```
//!
//! A [`Checkout`] is one commit and never changes. Whatever goes wrong on the way to the next one leaves the last one as it is.
//!
//! By the system's git, not by gix or libgit2: credential helpers, SSH configuration, signatures and proxies are then those that a person has tried on the
//! command line; what git may do is bounded here.

mod address;
mod command;
mod named;
pub mod origin;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Serialize;
use thiserror::Error;

pub use address::Address;
use command::{Failure, Git, REMOTE};
pub use named::Named;
use tree::{Selection, Tree};

use crate::core::digest::{SHORT, digest};
use crate::core::manifest::{Diagnostic, Source};
use crate::core::printable::one_line;
use crate::shell::sources;

/// The longest fetch.
const FETCH_LIMIT: Duration = Duration::from_secs(300);
/// Everything else is about what is on this machine already.
const LOCAL_LIMIT: Duration = Duration::from_secs(60);
/// The largest pack that is taken.
const MAX_PACK: u64 = 1 << 30;
const MAX_LISTING: usize = 64 << 20;
/// What was fetched last.
const FETCHED: &str = "refs/landfall/fetched";
/// What was accepted last: its manifests have been in force.
const GOOD: &str = "refs/landfall/good";

/// Which part of which repository is wanted, and who must have signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub address: Address,
    /// `None`: what the repository's HEAD names.
    pub branch: Option<String>,
    /// Within the repository; empty: all of it.
    pub path: String,
    pub signatures: Signatures,
    /// A branch that no longer contains what it did before is not followed.
    pub only_forward: bool,
}

/// Whose commits are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signatures {
    Anybodys,
    /// Those that git verifies with the user's keyring and configuration, or, with a file, with the SSH keys in it and nothing else.
    Required {
        allowed_signers: Option<PathBuf>,
    },
}

/// Why there is no new revision.
#[derive(Debug, Error)]
pub enum GitError {
    #[error("{address}: {message}")]
    Fetch { address: String, message: String },
    #[error("{address}: there is no branch {branch:?}")]
    BranchMissing { address: String, branch: String },
    #[error("{address}: revision {revision} has no {path:?}")]
    PathMissing { address: String, revision: String, path: String },
    #[error("{address}: revision {revision} is not signed as required: {message}")]
    Signature { address: String, revision: String, message: String },
    #[error("{address}: the history was rewritten: revision {revision} does not contain {good}")]
    Rewritten { address: String, revision: String, good: String },
    #[error("{address}: revision {revision} is refused: {message}")]
    Refused { address: String, revision: String, message: String },
    #[error("the copy of {address} cannot be kept: {message}")]
    State { address: String, message: String },
}

impl GitError {
    /// One word in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            GitError::Fetch { .. } => "FetchFailed",
            GitError::BranchMissing { .. } => "BranchMissing",
            GitError::PathMissing { .. } => "PathMissing",
            GitError::Signature { .. } => "SignatureInvalid",
            GitError::Rewritten { .. } => "HistoryRewritten",
            GitError::Refused { .. } => "RevisionRefused",
            GitError::State { .. } => "StateUnusable",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            GitError::Fetch { .. } => Some("try `git ls-remote` with the same address as the same user"),
            GitError::BranchMissing { .. } => Some("--branch names a branch of the repository"),
            GitError::PathMissing { .. } => Some("--path names a directory or a file within the repository"),
            GitError::Signature { .. } => {
                Some("sign the newest commit with a key that is allowed, or add its key to the allowed signers")
            }
            GitError::Rewritten { .. } => {
                Some("push a commit that contains the former one, or start with --allow-rewrite to follow the branch")
            }
            GitError::Refused { .. } | GitError::State { .. } => None,
        }
    }

    /// As whoever reads the manifests reports it.
    pub fn diagnostic(&self) -> Diagnostic {
        let text = self.to_string();
        let (file, message) = text.split_once(": ").unwrap_or(("git", &text));
        let diagnostic = Diagnostic::of_file(file, message);
        match self.hint() {
            Some(hint) => diagnostic.with_hint(hint),
            None => diagnostic,
        }
    }
}

/// The copy of one repository on this machine.
#[derive(Debug)]
pub struct Repository {
    wanted: Wanted,
    directory: PathBuf,
    made: u64,
}

impl Repository {
    /// `state`: the directory that copies are kept in, one for each address, branch and path. Nothing is fetched yet.
    pub fn new(state: &Path, wanted: Wanted) -> Self {
        let Wanted { address, branch, path, .. } = &wanted;
        let name = digest(format!("{}\n{}\n{path}", address, branch.as_deref().unwrap_or_default()), SHORT);
        Self { directory: state.join("git").join(name), wanted, made: 0 }
    }

    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Fetches, and writes out what was fetched if it is as wanted.
    pub async fn fetch(&mut self) -> Result<Checkout, GitError> {
        let _lock = self.lock().await?;
        let good = self.revision(GOOD).await;
        self.fetch_branch().await?;
        let revision = self.revision(FETCHED).await.ok_or_else(|| self.failed("nothing was fetched"))?;
        if self.wanted.only_forward
            && let Some(good) = good.filter(|good| *good != revision)
            && self.git().run(&["merge-base", "--is-ancestor", &good, &revision], b"", 0, LOCAL_LIMIT).await.is_err()
        {
            let address = self.address();
            return Err(GitError::Rewritten { address, revision: short(&revision), good: short(&good) });
        }
        self.check_out(&revision).await
    }

    /// The manifests of that revision are in force: a rewritten history is one without it, and it is what [`Repository::last_good`] finds. A commit
    /// whose manifests were never in force may disappear from the branch again.
    pub async fn accept(&self, revision: &str) -> Result<(), GitError> {
        let update = self.git().run(&["update-ref", GOOD, revision], b"", 0, LOCAL_LIMIT).await;
        update.map(drop).map_err(|failure| self.unusable(&failure))
    }

    /// What was accepted last, by this process or one before it: for as long as there is nothing newer. Checked like what is new.
    pub async fn last_good(&mut self) -> Option<Result<Checkout, GitError>> {
        let _lock = match self.lock().await {
            Ok(lock) => lock,
            Err(error) => return Some(Err(error)),
        };
        let revision = self.revision(GOOD).await?;
        Some(self.check_out(&revision).await)
    }

    fn git(&self) -> Git<'_> {
        Git { directory: &self.directory, address: &self.wanted.address, config: Vec::new(), max_file: MAX_PACK }
    }

    fn address(&self) -> String {
        self.wanted.address.to_string()
    }

    fn failed(&self, message: impl ToString) -> GitError {
        GitError::Fetch { address: self.address(), message: message.to_string() }
    }

    fn unusable(&self, error: &impl ToString) -> GitError {
        GitError::State { address: self.address(), message: error.to_string() }
    }

    fn refused(&self, revision: &str, message: impl ToString) -> GitError {
        GitError::Refused { address: self.address(), revision: short(revision), message: message.to_string() }
    }

    /// One process at a time: git's own locks fail rather than wait.
    async fn lock(&self) -> Result<File, GitError> {
        let checkouts = self.directory.join("checkouts");
        let open = fs::create_dir_all(&checkouts)
            .and_then(|()| File::options().create(true).append(true).open(self.directory.join("landfall.lock")));
        let file = open.map_err(|error| self.unusable(&error))?;
        let deadline = Instant::now() + FETCH_LIMIT;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(self.unusable(&error)),
            }
        }
        sweep(&checkouts);
        if !self.directory.join("HEAD").exists() {
            let init = ["init", "--quiet", "--bare", "--template=", "--initial-branch=main"];
            self.git().run(&init, b"", 0, LOCAL_LIMIT).await.map_err(|failure| self.unusable(&failure))?;
        }
        Ok(file)
    }

    async fn revision(&self, reference: &str) -> Option<String> {
        let name = format!("{reference}^{{commit}}");
        let out = self.git().run(&["rev-parse", "--verify", "--quiet", &name], b"", 256, LOCAL_LIMIT).await.ok()?;
        let text = String::from_utf8(out).ok()?.trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    async fn fetch_branch(&self) -> Result<(), GitError> {
        let source = match &self.wanted.branch {
            Some(branch) => format!("refs/heads/{branch}"),
            None => "HEAD".to_owned(),
        };
        let refspec = format!("+{source}:{FETCHED}");
        let fetch = |depth: &'static [&'static str]| {
            let mut arguments =
                vec!["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
            arguments.extend(depth);
            arguments.extend(["--", REMOTE, &refspec]);
            let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
            async move { self.remote().await.run(&arguments, b"", 1 << 20, FETCH_LIMIT).await }
        };
        // The first time one commit will do. From then on what came since, so that one can see whether the history was rewritten.
        let mut fetched = match self.revision(FETCHED).await {
            None => fetch(&["--depth=1"]).await,
            Some(_) => fetch(&[]).await,
        };
        if matches!(&fetched, Err(Failure::Said(text)) if text.contains("does not support shallow")) {
            fetched = fetch(&[]).await;
        }
        match fetched {
            Ok(_) => Ok(()),
            Err(Failure::Said(text)) if text.contains("couldn't find remote ref") => Err(GitError::BranchMissing {
                address: self.address(),
                branch: self.wanted.branch.clone().unwrap_or_else(|| "HEAD".to_owned()),
            }),
            Err(failure) => Err(self.failed(failure)),
        }
    }

    /// For talking to the remote: ssh never asks anything, unless the user has chosen another ssh.
    async fn remote(&self) -> Git<'_> {
        let mut git = self.git();
        let chosen = ["GIT_SSH_COMMAND", "GIT_SSH"].iter().any(|name| std::env::var_os(name).is_some())
            || git.run(&["config", "--get", "core.sshCommand"], b"", 4096, LOCAL_LIMIT).await.is_ok();
        if !chosen {
            git.config.push(("core.sshCommand", "ssh -o BatchMode=yes -o ConnectTimeout=20".to_owned()));
        }
        git
    }

    async fn check_out(&mut self, revision: &str) -> Result<Checkout, GitError> {
        self.verify(revision).await?;
        let tree = self.tree(revision).await?;
        let (selection, links) = self.select(revision, &tree).await?;
        for path in &selection.submodules {
            tracing::warn!(address = %self.wanted.address, path, "a submodule is another repository, and not read");
        }
        let contents: Vec<&str> = selection.files.values().map(String::as_str).collect();
        let output = self.read(revision, &contents).await?;
        let objects = tree::objects(&output, contents.len()).map_err(|message| self.refused(revision, message))?;

        self.made += 1;
        let checkouts = self.directory.join("checkouts");
        // As programs will name it that are told of files in it.
        let checkouts = fs::canonicalize(checkouts).map_err(|error| self.unusable(&error))?;
        let root = checkouts.join(format!("{}-{}-{}", short(revision), std::process::id(), self.made));
        // A path that is a file is the only one in its directory.
        let shown = if tree.is_file { String::new() } else { self.wanted.path.clone() };
        let part = root.join(&shown);
        let write = || -> io::Result<File> {
            let lock = File::create(lock_of(&root))?;
            lock.lock()?;
            fs::create_dir_all(&part)?;
            for (path, content) in selection.files.keys().zip(objects) {
                let path = part.join(path);
                fs::create_dir_all(path.parent().unwrap_or(&part))?;
                fs::write(path, content)?;
            }
            for (path, target) in &selection.links {
                let path = part.join(path);
                fs::create_dir_all(path.parent().unwrap_or(&part))?;
                std::os::unix::fs::symlink(if target.is_empty() { "." } else { target }, path)?;
            }
            Ok(lock)
        };
        let lock = write().map_err(|error| self.unusable(&error))?;
        let log = ["log", "-1", "--no-show-signature", "--format=%an%x00%s%x00%ct", revision];
        let said = self.git().run(&log, b"", MAX_COMMIT, LOCAL_LIMIT).await.ok();
        let commit = said.and_then(|said| Commit::parse(revision, &said));
        let Listed { entries: tree, .. } = tree;
        let copy = Copy { wanted: self.wanted.clone(), directory: self.directory.clone(), tree, links };
        Ok(Checkout {
            revision: revision.to_owned(),
            commit,
            root,
            shown,
            copy,
            provided: Mutex::default(),
            _lock: lock,
        })
    }

    async fn verify(&self, revision: &str) -> Result<(), GitError> {
        let Signatures::Required { allowed_signers } = &self.wanted.signatures else { return Ok(()) };
        let mut git = self.git();
        if let Some(file) = allowed_signers {
            // A key in somebody's keyring is not one of these.
            git.config.push(("gpg.ssh.allowedSignersFile", file.display().to_string()));
            for program in ["gpg.program", "gpg.openpgp.program", "gpg.x509.program"] {
                git.config.push((program, "/bin/false".to_owned()));
            }
        }
        let verified = git.run(&["verify-commit", "--", revision], b"", 1 << 16, LOCAL_LIMIT).await;
        verified.map(drop).map_err(|failure| GitError::Signature {
            address: self.address(),
            revision: short(revision),
            message: match failure {
                Failure::Said(text) if text.starts_with("git ended with") => "it has no signature".to_owned(),
                failure => failure.to_string(),
            },
        })
    }

    /// Everything below the wanted path.
    async fn tree(&self, revision: &str) -> Result<Listed, GitError> {
        let path = &self.wanted.path;
        let name = format!("{revision}:{path}");
        let missing = || GitError::PathMissing {
            address: self.address(),
            revision: short(revision),
            path: if path.is_empty() { ".".to_owned() } else { path.clone() },
        };
        let kind = self.git().run(&["cat-file", "-t", &name], b"", 64, LOCAL_LIMIT).await.map_err(|_| missing())?;
        let is_file = kind == b"blob\n";
        let mut arguments = vec!["ls-tree", "-z", "-l"];
        match is_file {
            true => arguments.extend([revision, "--", path]),
            false => arguments.extend(["-r", &name]),
        }
        let listing = self.git().run(&arguments, b"", MAX_LISTING, LOCAL_LIMIT).await;
        let listing = listing.map_err(|failure| self.refused(revision, failure))?;
        let entries = tree::parse(&listing).map_err(|message| self.refused(revision, message))?;
        Ok(Listed { entries, is_file })
    }

    async fn select(&self, revision: &str, tree: &Listed) -> Result<(Selection, tree::Links), GitError> {
        let refused = |message: String| self.refused(revision, message);
        let links = tree::links(&tree.entries).map_err(refused)?;
        let objects: Vec<&str> = links.iter().map(|(_, object)| *object).collect();
        let output = self.read(revision, &objects).await?;
        let targets = tree::objects(&output, objects.len()).map_err(refused)?;
        let mut by_path = BTreeMap::new();
        for ((path, _), target) in links.iter().zip(targets) {
            let target = std::str::from_utf8(target).map_err(|_| refused(format!("{path} leads to no valid name")))?;
            by_path.insert((*path).to_owned(), target.to_owned());
        }
        let selection = tree::select(&tree.entries, &by_path).map_err(refused)?;
        Ok((selection, by_path))
    }

    /// The contents of objects, as `git cat-file --batch` has them.
    async fn read(&self, revision: &str, objects: &[&str]) -> Result<Vec<u8>, GitError> {
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        let most = usize::try_from(tree::MAX_BYTES).unwrap_or(usize::MAX) + MAX_LISTING;
        let input: String = objects.iter().map(|object| format!("{object}\n")).collect();
        let output = self.git().run(&["cat-file", "--batch"], input.as_bytes(), most, LOCAL_LIMIT).await;
        output.map_err(|failure| self.refused(revision, failure))
    }
}

/// Everything below the wanted path, or the one file that it names.
struct Listed {
    entries: Tree,
    is_file: bool,
}

/// The first twelve digits: what people compare.
fn short(revision: &str) -> String {
    revision.get(..12).unwrap_or(revision).to_owned()
}

/// What a commit says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Commit {
    pub revision: String,
    pub author: String,
    pub subject: String,
    /// When it was committed.
    pub time: jiff::Timestamp,
}

/// Bytes of an author and a subject together.
const MAX_COMMIT: usize = 16 << 10;
/// Characters that are kept of each.
const SHOWN: usize = 120;

impl Commit {
    /// `AUTHOR NUL SUBJECT NUL SECONDS`
    fn parse(revision: &str, output: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(output);
        let mut parts = text.trim_end().split('\0');
        let mut word = || Some(one_line(parts.next()?.trim()).chars().take(SHOWN).collect::<String>());
        let (author, subject, seconds) = (word()?, word()?, word()?);
        let time = jiff::Timestamp::from_second(seconds.parse().ok()?).ok()?;
        Some(Self { revision: revision.to_owned(), author, subject, time })
    }
}

/// Where the files of a commit come from.
#[derive(Debug)]
struct Copy {
    wanted: Wanted,
    directory: PathBuf,
    tree: Tree,
    links: tree::Links,
}

/// One commit's manifests on this machine, for as long as this value lives. Nothing changes it.
#[derive(Debug)]
pub struct Checkout {
    pub revision: String,
    /// `None`: git has nothing to say about it.
    pub commit: Option<Commit>,
    /// What is in here is named as in the repository.
    root: PathBuf,
    /// The directory within the repository that is read; empty: all of it.
    shown: String,
    copy: Copy,
    /// Files that were looked for to be written out, from the root of what is read.
    provided: Mutex<BTreeSet<String>>,
    /// Tells other processes that it is in use.
    _lock: File,
}

impl Checkout {
    /// Reads the manifests. They are named as in the repository.
    pub fn read(&self) -> (Vec<Source>, Vec<Diagnostic>) {
        let (mut sources, mut problems) = sources::read(&[self.root.join(&self.shown)], &mut io::empty());
        let named = |name: &mut String| {
            if let Ok(path) = Path::new(name.as_str()).strip_prefix(&self.root) {
                *name = if path.as_os_str().is_empty() { ".".to_owned() } else { path.display().to_string() };
            }
        };
        sources.iter_mut().for_each(|source| named(&mut source.name));
        problems.iter_mut().for_each(|problem| named(&mut problem.file));
        (sources, problems)
    }

    /// As messages name the whole of it.
    pub fn name(&self) -> PathBuf {
        PathBuf::from(if self.shown.is_empty() { "." } else { &self.shown })
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // What cannot be removed now is swept up by the next process.
        let _ = fs::remove_dir_all(&self.root);
        let _ = fs::remove_file(lock_of(&self.root));
    }
}

fn lock_of(root: &Path) -> PathBuf {
    root.with_extension("lock")
}

/// Removes the checkouts of processes that have ended without doing so.
fn sweep(checkouts: &Path) {
    let Ok(entries) = fs::read_dir(checkouts) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let lock = lock_of(&path);
        let used = File::open(&lock).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
        if !used {
            let _ = fs::remove_dir_all(&path);
            let _ = fs::remove_file(&lock);
        }
    }
}

/// A path within a repository as git writes it, or why it is none.
pub fn parse_path(text: &str) -> Result<String, String> {
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err("it leads out of the repository".to_owned()),
            part => parts.push(part),
        }
    }
    if text.starts_with('/') || text.chars().any(char::is_control) {
        return Err("a path within the repository does not begin with `/`".to_owned());
    }
    Ok(parts.join("/"))
}

/// The name of a branch, or why it is none. The rules are git's own (`git help check-ref-format`).
pub fn parse_branch(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("refs/heads/").unwrap_or(text);
    let forbidden = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let valid = !name.starts_with('-')
        && !name.contains(forbidden)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && name != "@"
        && name.split('/').all(part);
    if valid { Ok(name.to_owned()) } else { Err("not the name of a branch".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_within_the_repository() {
        assert_eq!(parse_path("./clusters//prod/"), Ok("clusters/prod".to_owned()));
        assert_eq!(parse_path("."), Ok(String::new()));
        for bad in ["/etc", "../x", "a/../../x", "a\nb"] {
            assert!(parse_path(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_branch_is_what_git_takes_for_one() {
        assert_eq!(parse_branch("refs/heads/main"), Ok("main".to_owned()));
        assert_eq!(parse_branch("team/release-1.0"), Ok("team/release-1.0".to_owned()));
        for bad in ["", "-x", "a..b", "a b", "a:b", "+a", "a.lock", ".a", "a//b", "@", "a@{1}", "a\\b", "a*"] {
            assert_eq!(parse_branch(bad).is_err(), bad != "+a", "{bad:?}");
        }
    }
}
