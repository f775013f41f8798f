//! The files of a commit that its manifests name: written out beside them, and no others.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use super::tree::{self, Entry, EntryKind, Place};
use super::{Checkout, Copy, Git, GitError, LOCAL_LIMIT, MAX_LISTING, MAX_PACK, short};
use crate::core::desired::DesiredState;
use crate::core::manifest::Base;
use crate::shell::compose;
use crate::shell::secrets;

/// Bytes of one file that is named: of a value, a compose file, or what such a file is made of.
const LARGEST: u64 = 1 << 20;
/// Files that are named, those that compose files name included.
const MOST: usize = 4096;
/// Words that may be names of files.
const MOST_ASKED: usize = 100_000;

/// Files that manifests name, by paths as the manifests' own names begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    values: BTreeSet<String>,
    stacks: BTreeSet<(String, Option<String>)>,
}

impl Named {
    pub fn by(desired: &DesiredState) -> Self {
        Self { values: secrets::files(desired), stacks: compose::files(desired) }
    }
}

impl Checkout {
    /// Where the files of this commit are, for as long as that value lives.
    pub fn base(self: &Arc<Self>) -> Base {
        Base::of_commit(
            self.root.clone(),
            self.shown.clone().into(),
            self.copy.directory.clone(),
            Some(Arc::<Self>::clone(self)),
        )
    }

    /// Writes out what is named, and what the compose files among it name in turn. What the commit does not have is left out: whoever reads it
    /// says so.
    pub async fn provide(self: &Arc<Self>, named: &Named) -> Result<(), GitError> {
        let base = self.base();
        let mut wanted = Wishes { base: &base, copy: &self.copy, asked: BTreeSet::new(), found: 0, next: Vec::new() };
        named.values.iter().for_each(|path| wanted.file(path, false));
        for (file, variables) in &named.stacks {
            wanted.file(file, true);
            variables.iter().for_each(|path| wanted.file(path, false));
        }
        let written = self.write_out(&mut wanted).await;
        self.provided.lock().unwrap_or_else(PoisonError::into_inner).extend(wanted.asked);
        written
    }

    async fn write_out(&self, wanted: &mut Wishes<'_>) -> Result<(), GitError> {
        let refused = |message: String| GitError::Refused {
            address: self.copy.wanted.address.to_string(),
            revision: short(&self.revision),
            message,
        };
        while !wanted.next.is_empty() {
            if wanted.found > MOST {
                return Err(refused(format!("its manifests and compose files name more than {MOST} files")));
            }
            let next = std::mem::take(&mut wanted.next);
            if let Some(large) = next.iter().find(|wish| wish.entry.size > LARGEST) {
                return Err(refused(format!(
                    "{} is larger than 1 MiB, the most that is read of a file that is named",
                    large.path
                )));
            }
            let output = self.copy.read(&next).await.map_err(refused)?;
            let contents = tree::objects(&output, next.len()).map_err(refused)?;
            for (wish, content) in next.iter().zip(contents) {
                self.write(wish, content).map_err(|error| GitError::State {
                    address: self.copy.wanted.address.to_string(),
                    message: error.to_string(),
                })?;
                if wish.compose {
                    wanted.beside(&wish.path, &String::from_utf8_lossy(content));
                }
            }
        }
        Ok(())
    }

    /// What was looked for so far, found or not; from the root of the part that is read.
    pub fn provided(&self) -> BTreeSet<String> {
        self.provided.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What tells one content of that file from another; `None`: there is none.
    pub fn object(&self, path: &str) -> Option<&str> {
        let Place::Inside(place) = tree::follow(path, &self.copy.links) else { return None };
        self.copy.tree.get(&place).map(|entry| entry.object.as_str())
    }

    /// The file where it is, and the link that it is named by.
    fn write(&self, wish: &Wish<'_>, content: &[u8]) -> io::Result<()> {
        let part = self.root.join(&self.shown);
        let directory = |path: &Path| path.parent().map_or(Ok(()), fs::create_dir_all);
        let place = part.join(&wish.place);
        directory(&place)?;
        if !place.exists() {
            fs::write(&place, content)?;
        }
        let path = part.join(&wish.path);
        if !path.exists() {
            directory(&path)?;
            std::os::unix::fs::symlink("../".repeat(wish.path.matches('/').count()) + &wish.place, path)?;
        }
        Ok(())
    }
}

/// A file that is to be written out. Paths are from the root of the part that is read.
struct Wish<'a> {
    path: String,
    /// Where links lead from there.
    place: String,
    entry: &'a Entry,
    /// What it names is needed as well.
    compose: bool,
}

struct Wishes<'a> {
    base: &'a Base,
    copy: &'a Copy,
    asked: BTreeSet<String>,
    found: usize,
    next: Vec<Wish<'a>>,
}

impl Wishes<'_> {
    /// By a path of the repository.
    fn file(&mut self, path: &str, compose: bool) {
        if !self.base.is_of_commit(path) {
            return;
        }
        let (root, part) = (self.base.root(), self.base.part().unwrap_or(Path::new("")));
        let Ok(place) = self.base.path(path) else { return };
        if let Some(path) = place.strip_prefix(root.join(part)).ok().and_then(Path::to_str) {
            self.ask(path, compose, u64::MAX);
        }
    }

    /// `most`: a file that is larger is none that is meant.
    fn ask(&mut self, path: &str, compose: bool, most: u64) {
        if self.found > MOST || self.asked.len() > MOST_ASKED || !self.asked.insert(path.to_owned()) {
            return;
        }
        let Place::Inside(place) = tree::follow(path, &self.copy.links) else { return };
        if let Some(entry) =
            self.copy.tree.get(&place).filter(|entry| entry.kind == EntryKind::File && entry.size <= most)
        {
            self.found += 1;
            self.next.push(Wish { path: path.to_owned(), place, entry, compose });
        }
    }

    /// What a compose file is made of: the files of variables beside it, and whatever it names, which may name more.
    fn beside(&mut self, compose_file: &str, text: &str) {
        let directory = compose_file.rsplit_once('/').map_or("", |(directory, _)| directory);
        let below = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let variables = |path: &&String| {
            path.strip_prefix(&below)
                .is_some_and(|name| !name.contains('/') && (name.starts_with(".env") || name.ends_with(".env")))
        };
        let tree = &self.copy.tree;
        let beside: Vec<&String> = tree
            .range(below.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&below))
            .filter(variables)
            .collect();
        self.ask(&format!("{below}.env"), false, LARGEST);
        beside.into_iter().for_each(|path| self.ask(path, false, LARGEST));
        for word in compose::words(text) {
            let Some(path) = within(&below, word) else { continue };
            let is_yaml = [".yaml", ".yml"].iter().any(|end| path.ends_with(end));
            self.ask(&path, is_yaml, LARGEST);
        }
    }
}

/// Without `.` and `..`; `None`: it leads out of what is read, or is a path of the machine.
fn within(below: &str, word: &str) -> Option<String> {
    if word.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).collect();
    for part in word.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

impl Copy {
    async fn read(&self, wishes: &[Wish<'_>]) -> Result<Vec<u8>, String> {
        let git =
            Git { directory: &self.directory, address: &self.wanted.address, config: Vec::new(), max_file: MAX_PACK };
        let most = usize::try_from(tree::MAX_BYTES).unwrap_or(usize::MAX) + MAX_LISTING;
        let input: String = wishes.iter().map(|wish| format!("{}\n", wish.entry.object)).collect();
        let output = git.run(&["cat-file", "--batch"], input.as_bytes(), most, LOCAL_LIMIT).await;
        output.map_err(|failure| failure.to_string())
    }
}
