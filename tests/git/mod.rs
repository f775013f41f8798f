//! Manifests from a repository: real git on both sides.

mod fetch;
mod follow;
mod named;
mod pushed;
mod refusals;
mod signed;

use std::path::Path;

use landfall::shell::git::{Address, Checkout, GitError, Repository, Signatures, Wanted, parse_path};

/// What is wanted of a repository, and where its copy is kept.
pub(crate) struct Copy {
    state: tempfile::TempDir,
    wanted: Wanted,
}

impl Copy {
    pub(crate) fn of(address: impl AsRef<str>) -> Self {
        let address = Address::parse(address.as_ref()).unwrap();
        let wanted = Wanted {
            address,
            branch: Some("main".to_owned()),
            path: String::new(),
            signatures: Signatures::Anybodys,
            only_forward: true,
        };
        Self { state: tempfile::tempdir().unwrap(), wanted }
    }

    pub(crate) fn of_path(path: &Path) -> Self {
        Self::of(path.to_str().unwrap())
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Wanted)) -> Self {
        change(&mut self.wanted);
        self
    }

    pub(crate) fn at(self, path: &str) -> Self {
        self.with(|wanted| wanted.path = parse_path(path).unwrap())
    }

    pub(crate) fn repository(&self) -> Repository {
        Repository::new(self.state.path(), self.wanted.clone())
    }

    /// With what keeps its directory alive.
    pub(crate) fn repository_kept(self) -> (Self, Repository) {
        let repository = self.repository();
        (self, repository)
    }

    pub(crate) fn state(&self) -> &Path {
        self.state.path()
    }
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// And takes it for good.
pub(crate) fn fetch(repository: &mut Repository) -> Result<Checkout, GitError> {
    block_on(async {
        let checkout = repository.fetch().await?;
        repository.accept(&checkout.revision).await?;
        Ok(checkout)
    })
}

/// Names and contents, and what was wrong.
pub(crate) fn contents(checkout: &Checkout) -> (Vec<(String, String)>, Vec<String>) {
    let (sources, problems) = checkout.read();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        sources.into_iter().map(|source| (source.name, text(source.bytes))).collect(),
        problems.iter().map(ToString::to_string).collect(),
    )
}

/// Names and contents of what could be read; nothing was wrong.
#[track_caller]
pub(crate) fn files(checkout: &Checkout) -> Vec<(String, String)> {
    let (files, problems) = contents(checkout);
    assert_eq!(problems, [""; 0]);
    files
}

pub(crate) fn pairs(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
}
