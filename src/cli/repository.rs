//! `--git URL`: manifests from a repository.

use std::path::PathBuf;

use super::args::{self, ManifestArgs, StateArgs};
use super::{Context, Error};
use crate::git::{self, Address, GitError, Repository, Signatures, Wanted};
use crate::manifest::Manifests;
use crate::sources;
use crate::store::state_directory;

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

/// Manifests, and the revision that they are from.
pub(super) struct Loaded {
    pub(super) manifests: Manifests,
    pub(super) revision: Option<String>,
}

impl GitArgs {
    /// From the repository if one is given, else from files.
    pub(super) fn load(&self, files: &ManifestArgs, state: &StateArgs, context: &Context) -> Result<Loaded, Error> {
        let Some(wanted) = self.wanted(false)? else {
            return Ok(Loaded { manifests: files.load()?, revision: None });
        };
        let mut repository = Repository::new(&directory(state)?, wanted);
        // Whoever asks for this once wants what is there now: an older revision would be a surprise.
        let checkout = context.block_on(repository.fetch())?.map_err(|error| failed(&error))?;
        tracing::info!(revision = checkout.revision, "fetched");
        let (read, problems) = checkout.read();
        let manifests =
            sources::validate(&[checkout.name()], &read, problems).map_err(|problems| args::invalid(&problems))?;
        Ok(Loaded { manifests, revision: Some(checkout.revision.clone()) })
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

fn directory(state: &StateArgs) -> Result<PathBuf, Error> {
    state_directory(state.state.as_deref())
        .map_err(|error| Error::new("there is no place for a copy of the repository").caused_by(&error))
}

fn failed(error: &GitError) -> Error {
    Error::new(error.to_string()).maybe_hint(error.hint().map(str::to_owned))
}
