//! Where manifests come from: the files, directories and standard input that `-f` names.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::core::manifest::{self, Diagnostic, MAX_FILE_BYTES, Manifests, Skipped, Source, foreign};

/// How messages name standard input.
pub const STDIN_NAME: &str = "<stdin>";
const MAX_FILES: usize = 100_000;
const MAX_TOTAL_BYTES: usize = 256 << 20;
/// In a directory: what below it is not read, in the syntax of `.gitignore`.
pub const IGNORE_FILE: &str = ".landfallignore";
const MAX_IGNORE_BYTES: u64 = 256 << 10;
/// A file with this in it has manifests, whatever it is called.
const OWN: &[u8] = b"landfall/v";
/// Directories within directories.
const MAX_DEPTH: usize = 32;

/// Reads and validates everything that the paths name. `-` is standard input, a directory stands for the manifests in it and below.
///
/// No objects at all is an error: they may have been there yesterday, and nothing must take their absence for a wish.
pub fn load(paths: &[PathBuf], stdin: &mut dyn Read) -> Result<Manifests, Vec<Diagnostic>> {
    let mut reader = read_all(paths, stdin);
    let problems = std::mem::take(&mut reader.problems);
    let mut manifests = validate(paths, &reader.sources, problems)?;
    manifests.skip(reader.skipped);
    Ok(manifests)
}

/// Validates what [`read`] has read of the paths; `problems` are those it came with.
pub fn validate(
    paths: &[PathBuf],
    sources: &[Source],
    mut problems: Vec<Diagnostic>,
) -> Result<Manifests, Vec<Diagnostic>> {
    match manifest::load(sources) {
        Ok(manifests) if problems.is_empty() => {
            if manifests.objects().len() > 0 {
                return Ok(manifests);
            }
            let name = paths.first().map_or_else(String::new, |path| display(path));
            let problem = Diagnostic::of_file(&name, "no objects are declared");
            Err(vec![match manifests.skipped() {
                [] => problem,
                [first, ..] => {
                    problem.with_hint(format!("what is there is for other tools: {} is {}", first.file, first.what))
                }
            }])
        }
        Ok(_) => Err(problems),
        Err(diagnostics) => {
            problems.extend(diagnostics);
            Err(problems)
        }
    }
}

/// Reads what the paths name, and says what could not be read.
pub fn read(paths: &[PathBuf], stdin: &mut dyn Read) -> (Vec<Source>, Vec<Diagnostic>) {
    let reader = read_all(paths, stdin);
    (reader.sources, reader.problems)
}

fn read_all(paths: &[PathBuf], stdin: &mut dyn Read) -> Reader {
    let mut reader = Reader::default();
    for path in paths {
        if path.as_os_str() == "-" {
            reader.stdin(stdin);
        } else {
            reader.named(path);
        }
    }
    reader
}

fn display(path: &Path) -> String {
    if path.as_os_str() == "-" { STDIN_NAME.to_owned() } else { path.display().to_string() }
}

/// Device and inode: the same file, by whatever name.
type Identity = (u64, u64);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

#[derive(Default)]
struct Reader {
    sources: Vec<Source>,
    problems: Vec<Diagnostic>,
    bytes: usize,
    stdin_read: bool,
    /// What has been read: the same file by another name, or named twice, is read once.
    seen: HashSet<Identity>,
    /// Manifests found in directories, those read before included.
    met: usize,
    /// Of the directories that have been read, those without any.
    empty: HashSet<Identity>,
    /// The directories that lead to the current one.
    above: Vec<Identity>,
    full: bool,
    /// What belongs to other tools.
    skipped: Vec<Skipped>,
    /// Of the directories that lead to the current one, those that say what is to be left out.
    ignores: Vec<Gitignore>,
}

impl Reader {
    fn problem(&mut self, path: &Path, message: impl Into<String>) {
        self.problems.push(Diagnostic::of_file(&display(path), message));
    }

    fn stdin(&mut self, stdin: &mut dyn Read) {
        if std::mem::replace(&mut self.stdin_read, true) {
            return;
        }
        self.content(Path::new("-"), stdin, 0);
    }

    /// A path that the user named: whatever it is, it must be there.
    fn named(&mut self, path: &Path) {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return self.io_problem(path, "read", &error),
        };
        if !metadata.is_dir() {
            if self.seen.insert(identity(&metadata)) {
                self.file(path, &metadata);
            }
            return;
        }
        let before = (self.met, self.problems.len());
        self.directory(path, &metadata, 0);
        if before == (self.met, self.problems.len()) {
            self.problems.push(
                Diagnostic::of_file(&display(path), "the directory holds no manifests")
                    .with_hint("manifests are files that end in .yaml, .yml or .json"),
            );
        }
    }

    fn directory(&mut self, path: &Path, metadata: &Metadata, depth: usize) {
        let own = identity(metadata);
        if self.above.contains(&own) {
            return self.problem(path, "a symbolic link leads back to a directory that contains it");
        }
        if !self.seen.insert(own) {
            self.met += usize::from(!self.empty.contains(&own));
            return;
        }
        let before = self.met;
        if depth == MAX_DEPTH {
            return self.problem(path, format!("directories are nested more than {MAX_DEPTH} deep"));
        }
        let mut names = Vec::new();
        match fs::read_dir(path) {
            Err(error) => return self.io_problem(path, "read", &error),
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => names.push(entry.file_name()),
                        Err(error) => return self.io_problem(path, "list", &error),
                    }
                }
            }
        }
        names.sort();
        let ignores = self.ignores.len();
        if names.iter().any(|name| name == IGNORE_FILE) {
            self.read_ignores(path);
        }
        self.above.push(own);
        for name in names {
            if self.full {
                break;
            }
            // Hidden: editors, git, and the versions behind a Kubernetes ConfigMap's links.
            if !name.as_encoded_bytes().starts_with(b".") {
                self.entry(&path.join(name), depth);
            }
        }
        self.above.pop();
        self.ignores.truncate(ignores);
        if self.met == before {
            self.empty.insert(own);
        }
    }

    fn entry(&mut self, path: &Path, depth: usize) {
        let is_manifest = path
            .extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known)));
        match fs::metadata(path) {
            Ok(metadata) if self.is_ignored(path, metadata.is_dir()) => {}
            Ok(metadata) if metadata.is_dir() => self.directory(path, &metadata, depth + 1),
            Ok(_) if !is_manifest => {}
            Ok(metadata) if !metadata.is_file() => self.problem(path, "not a file"),
            Ok(metadata) => {
                self.met += 1;
                if self.seen.insert(identity(&metadata)) {
                    self.found(path, &metadata);
                }
            }
            Err(_) if self.is_ignored(path, false) => {}
            // A link that leads nowhere might have been a directory of manifests.
            Err(error) if is_manifest || path.extension().is_none() => self.io_problem(path, "read", &error),
            Err(_) => {}
        }
    }

    /// A file that nobody named: it may be another tool's.
    fn found(&mut self, path: &Path, metadata: &Metadata) {
        self.file(path, metadata);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(tool) = foreign::tool_of_name(name) else { return };
        let own = |source: &Source| source.bytes.windows(OWN.len()).any(|window| window == OWN);
        if self.sources.last().is_some_and(|source| source.name == display(path) && !own(source))
            && let Some(Source { name: file, .. }) = self.sources.pop()
        {
            self.skipped.push(Skipped { file, line: None, what: format!("a file of {tool}") });
        }
    }

    /// Patterns as in a `.gitignore`, for the directory and what is below it.
    fn read_ignores(&mut self, directory: &Path) {
        let path = directory.join(IGNORE_FILE);
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_IGNORE_BYTES + 1).read_to_string(&mut text));
        if let Err(error) = read {
            return self.io_problem(&path, "read", &error);
        }
        if text.len() as u64 > MAX_IGNORE_BYTES {
            return self.problem(&path, format!("has more than {} KiB", MAX_IGNORE_BYTES >> 10));
        }
        let mut builder = GitignoreBuilder::new(directory);
        for (number, line) in (1..).zip(text.lines()) {
            if let Err(error) = builder.add_line(None, line) {
                self.problem(&path, format!("line {number}: {error}"));
            }
        }
        match builder.build() {
            Ok(ignores) => self.ignores.push(ignores),
            Err(error) => self.problem(&path, error.to_string()),
        }
    }

    /// The innermost directory that says something of it decides.
    fn is_ignored(&self, path: &Path, is_directory: bool) -> bool {
        let said = self.ignores.iter().rev().map(|ignores| ignores.matched(path, is_directory));
        said.into_iter().find(|said| !said.is_none()).is_some_and(|said| said.is_ignore())
    }

    fn file(&mut self, path: &Path, metadata: &Metadata) {
        match File::open(path) {
            Ok(mut file) => self.content(path, &mut file, usize::try_from(metadata.len()).unwrap_or(MAX_FILE_BYTES)),
            Err(error) => self.io_problem(path, "open", &error),
        }
    }

    fn content(&mut self, path: &Path, from: &mut dyn Read, expected: usize) {
        if self.sources.len() == MAX_FILES || self.bytes > MAX_TOTAL_BYTES {
            self.full = true;
            let limit = format!("{MAX_FILES} files or {} MiB", MAX_TOTAL_BYTES >> 20);
            return self
                .problem(path, format!("more than {limit} of manifests; this file and what follows it were not read"));
        }
        let mut bytes = Vec::with_capacity(expected.min(MAX_FILE_BYTES) + 1);
        // One byte too many is enough to know that there are too many.
        match from.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes) {
            Ok(_) => {
                self.bytes += bytes.len();
                self.sources.push(Source { name: display(path), bytes });
            }
            Err(error) => self.io_problem(path, "read", &error),
        }
    }

    fn io_problem(&mut self, path: &Path, verb: &str, error: &io::Error) {
        // Without the number of the error, which tells users nothing.
        let text = error.to_string();
        let reason = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
        let problem = Diagnostic::of_file(&display(path), format!("cannot {verb}: {reason}"));
        self.problems.push(match error.kind() {
            io::ErrorKind::NotFound => problem.with_hint("-f names a file, a directory or `-`"),
            io::ErrorKind::PermissionDenied => problem.with_hint("check who may read it"),
            _ => problem,
        });
    }
}
