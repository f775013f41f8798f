//! `--git URL`: manifests from a repository.

use std::path::PathBuf;
use std::sync::Arc;

use super::args::{self, ManifestArgs, SetArgs, StateArgs};
use super::client::{self, Controller};
use super::{Context, Error, record};
use crate::core::manifest::{Diagnostic, Manifests, Source};
use crate::shell::git::{self, Address, GitError, Named, Repository, Signatures, Wanted};
use crate::shell::sources;
use crate::shell::store::state_directory;
use crate::shell::web::InForce;

/// Where manifests are fetched from.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Manifests from Git")]
pub(super) struct GitArgs {
    /// Fetch the manifests from this repository: a URL, `user@host:path` or a path on this machine
    #[arg(long, value_name = "URL", conflicts_with = "filename")]
    pub(super) git: Option<String>,
    /// Branch to follow [default: the repository's own]
    #[arg(long, value_name = "BRANCH", requires = "git", value_parser = git::parse_branch)]
    branch: Option<String>,
    /// Directory or file within the repository [default: all of it]
    #[arg(long, value_name = "PATH", requires = "git", value_parser = git::parse_path)]
    path: Option<String>,
    /// Take only commits that are signed with a known key
    #[arg(long, requires = "git")]
    require_signed: bool,
    /// The SSH keys that may sign, as in ssh-keygen's ALLOWED SIGNERS; without it the user's keyring and git configuration decide
    #[arg(long, value_name = "FILE", requires = "require_signed")]
    allowed_signers: Option<PathBuf>,
}

/// Manifests, or what is wrong with them.
type Read = Result<Manifests, Vec<Diagnostic>>;

/// Manifests, and the revision that they are from.
pub(super) struct Loaded {
    pub(super) manifests: Manifests,
    pub(super) revision: Option<String>,
    /// They are those that the controller on this machine keeps.
    pub(super) kept: bool,
    /// What the controller marks what it makes from them with; nothing where it is of a version that does not tell.
    pub(super) identity: Option<String>,
}

impl Loaded {
    fn of(manifests: Manifests, revision: Option<String>) -> Self {
        Self { manifests, revision, kept: false, identity: None }
    }
}

/// Where a command that only looks has its manifests from: files, a repository, or the controller beside it.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct SourceArgs {
    #[command(flatten)]
    pub(super) manifests: ManifestArgs,
    #[command(flatten)]
    pub(super) git: GitArgs,
}

impl SourceArgs {
    /// From the repository if one is given, else from files; where there are none, those that the controller of the set keeps.
    pub(super) fn load(&self, state: &StateArgs, set: &SetArgs, context: &Context) -> Result<Loaded, Error> {
        self.git.load_or_ask(&self.manifests, state, set, context)
    }

    /// As they are given on the command line, for a command that another one runs.
    pub(super) fn flags(&self) -> Result<Vec<String>, Error> {
        if self.git.git.is_some() || self.manifests.is_absent() {
            return self.git.flags();
        }
        self.manifests.paths().iter().map(|path| Ok(format!("--filename={}", args::text(path)?))).collect()
    }
}

impl GitArgs {
    /// From the repository if one is given, else from files.
    pub(super) fn load(&self, files: &ManifestArgs, state: &StateArgs, context: &Context) -> Result<Loaded, Error> {
        match self.fetch(state, context)? {
            Some(loaded) => Ok(loaded),
            None => Ok(Loaded::of(files.load()?, None)),
        }
    }

    /// The same, or those that the controller of the set keeps.
    pub(super) fn load_or_ask(
        &self,
        files: &ManifestArgs,
        state: &StateArgs,
        set: &SetArgs,
        context: &Context,
    ) -> Result<Loaded, Error> {
        if self.git.is_some() || !files.is_absent() {
            return self.load(files, state, context);
        }
        let Some(InForce { revision, sources, commit, identity, .. }) = in_force(state, set, context)? else {
            let [path] = files.paths().try_into().unwrap_or_else(|_| [PathBuf::new()]);
            return Err(client::none_found(state, set)
                .prefixed(format!("there is no {}, and ", path.display()))
                .more_hint("manifests are named with -f, --git or $LANDFALL_MANIFESTS"));
        };
        let read: Vec<Source> =
            sources.into_iter().map(|it| Source { name: it.name, bytes: it.text.into_bytes() }).collect();
        let manifests = sources::validate(&[], &read, Vec::new()).map_err(|problems| {
            args::invalid(&problems)
                .hint("they are good to the controller, which is of another version than this command")
        })?;
        let manifests = match commit {
            Some(commit) => manifests.with_base(commit.base()),
            None => manifests,
        };
        Ok(Loaded { manifests, revision, kept: true, identity })
    }

    /// From the repository if one is given.
    fn fetch(&self, state: &StateArgs, context: &Context) -> Result<Option<Loaded>, Error> {
        let Some((read, revision)) = self.read(state, context)? else { return Ok(None) };
        let manifests = read.map_err(|problems| args::invalid(&problems))?;
        Ok(Some(Loaded::of(manifests, Some(revision))))
    }

    /// From the repository if one is given, with the revision; what is wrong is the caller's data.
    pub(super) fn read(&self, state: &StateArgs, context: &Context) -> Result<Option<(Read, String)>, Error> {
        let Some(wanted) = self.wanted(false)? else { return Ok(None) };
        let mut repository = Repository::new(&directory(state)?, wanted);
        // Whoever asks for this once wants what is there now: an older revision would be a surprise.
        let checkout = context.block_on(repository.fetch())?.map_err(|error| failed(&error))?;
        tracing::info!(revision = checkout.revision, "fetched");
        let checkout = Arc::new(checkout);
        let (read, problems) = checkout.read();
        let revision = checkout.revision.clone();
        let manifests = match sources::validate(&[checkout.name()], &read, problems) {
            Ok(manifests) => manifests,
            Err(problems) => return Ok(Some((Err(problems), revision))),
        };
        let named = Named::by(&manifests.desired(""));
        context.block_on(checkout.provide(&named))?.map_err(|error| failed(&error))?;
        Ok(Some((Ok(manifests.with_base(checkout.base())), revision)))
    }

    /// As they are given on the command line.
    fn flags(&self) -> Result<Vec<String>, Error> {
        let Some(git) = &self.git else { return Ok(Vec::new()) };
        let mut flags = vec![format!("--git={git}")];
        flags.extend(self.branch.iter().map(|branch| format!("--branch={branch}")));
        flags.extend(self.path.iter().map(|path| format!("--path={path}")));
        flags.extend(self.require_signed.then(|| "--require-signed".to_owned()));
        if let Some(file) = &self.allowed_signers {
            flags.push(format!("--allowed-signers={}", args::text(file)?));
        }
        Ok(flags)
    }

    /// `only_forward`: a rewritten branch is not followed.
    pub(super) fn wanted(&self, only_forward: bool) -> Result<Option<Wanted>, Error> {
        let Some(text) = &self.git else { return Ok(None) };
        // Not by the parser of the command line, which would print it: it may hold a password.
        let address = Address::parse(text).map_err(|why| Error::new(format!("--git: {why}")))?;
        let allowed_signers = match &self.allowed_signers {
            None => None,
            Some(file) => {
                let readable = file.canonicalize().and_then(|file| std::fs::File::open(&file).map(|_| file));
                Some(readable.map_err(|error| {
                    Error::new(format!("the allowed signers cannot be read from {}", file.display())).caused_by(&error)
                })?)
            }
        };
        let signatures = match self.require_signed {
            true => Signatures::Required { allowed_signers },
            false => Signatures::Anybodys,
        };
        let path = self.path.clone().unwrap_or_default();
        Ok(Some(Wanted { address, branch: self.branch.clone(), path, signatures, only_forward }))
    }
}

/// What the controller of the set keeps; `None` where there is none.
pub(super) fn in_force(state: &StateArgs, set: &SetArgs, context: &Context) -> Result<Option<InForce>, Error> {
    let Ok(directory) = record::directory(state, set) else { return Ok(None) };
    let asked = context.block_on(async {
        match Controller::of(&directory).await {
            Some(controller) => controller.manifests().await.map(Some),
            None => Ok(None),
        }
    })??;
    let Some(kept) = asked else { return Ok(None) };
    let problem = kept.problems.first().or(kept.source_problem.as_ref());
    if kept.generation == 0 {
        let error = Error::new("the controller of this set has no manifests in force");
        return Err(match problem {
            Some(problem) => error.details(kept.problems.join("\n\n")).because(first_line(problem)),
            None => error.because("it has not read them yet"),
        });
    }
    if let Some(problem) = problem {
        context.warn(&format!(
            "the newest manifests are not in force, the last good ones are: {}",
            first_line(problem).trim_start_matches("error: ")
        ));
    }
    tracing::info!(directory = %directory.display(), revision = kept.revision, "the manifests are those that the controller keeps");
    Ok(Some(kept))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn directory(state: &StateArgs) -> Result<PathBuf, Error> {
    state_directory(state.state.as_deref())
        .map_err(|error| Error::new("there is no place for a copy of the repository").caused_by(&error))
}

fn failed(error: &GitError) -> Error {
    Error::new(error.to_string()).maybe_hint(error.hint().map(str::to_owned))
}
