//! Where the files are that manifests name.

use std::any::Any;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The directory that relative paths in manifests are relative to.
#[derive(Clone, Default)]
pub struct Base {
    /// Empty: the working directory.
    root: PathBuf,
    repository: Option<Repository>,
    /// What has to live for as long as the files are needed.
    _kept: Option<Arc<dyn Any + Send + Sync>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Repository {
    /// The part of it that is read, from the root; empty: all of it.
    part: PathBuf,
    /// A directory that stays when the next commit is in force.
    lasting: PathBuf,
}

impl Base {
    /// Files of one commit, written out below `root`. `part`: what is read of the repository; `lasting`: a directory that stays when the commit
    /// is not in force any more; `kept`: lives for as long as this value.
    pub fn of_commit(root: PathBuf, part: PathBuf, lasting: PathBuf, kept: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        Self { root, repository: Some(Repository { part, lasting }), _kept: kept }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The part of the repository that is read; `None`: the files are this machine's.
    pub fn part(&self) -> Option<&Path> {
        self.repository.as_ref().map(|repository| repository.part.as_path())
    }

    /// Where a program may run that is to find no files of the commit: `None` where the files are this machine's.
    pub fn lasting(&self) -> Option<&Path> {
        self.repository.as_ref().map(|repository| repository.lasting.as_path())
    }

    /// Whether that path is one within the repository.
    pub fn is_of_commit(&self, path: &str) -> bool {
        self.repository.is_some() && !path.starts_with('/')
    }

    /// The path on this machine; the error says why a commit cannot have such a file.
    pub fn path(&self, path: &str) -> Result<PathBuf, String> {
        let Some(repository) = self.repository.as_ref().filter(|_| self.is_of_commit(path)) else {
            return Ok(self.root.join(path));
        };
        match normal(path) {
            Some(normal) if normal.starts_with(&repository.part) => Ok(self.root.join(normal)),
            Some(_) => Err(format!(
                "it is outside of `--path {}`, the part of the repository that is read",
                repository.part.display()
            )),
            None => Err("it is outside of the repository".to_owned()),
        }
    }
}

/// Without `.` and `..`; `None`: it leads further up than it came down.
fn normal(path: &str) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::CurDir => {}
            Component::ParentDir if normal.pop() => {}
            _ => return None,
        }
    }
    Some(normal)
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").field("root", &self.root).field("repository", &self.repository).finish_non_exhaustive()
    }
}

impl PartialEq for Base {
    fn eq(&self, other: &Self) -> bool {
        (&self.root, &self.repository) == (&other.root, &other.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_commit_names_is_within_the_part_of_it_that_is_read() {
        let base = |part: &str| Base::of_commit("/copy".into(), part.into(), "/".into(), None);
        assert_eq!(base("").path("a/../b/./c"), Ok("/copy/b/c".into()));
        assert_eq!(base("").path("/run/secrets/x"), Ok("/run/secrets/x".into()), "of the machine");
        assert!(base("").path("a/../../etc/passwd").unwrap_err().contains("outside of the repository"));
        assert_eq!(base("prod").path("prod/edge/../x"), Ok("/copy/prod/x".into()));
        assert!(base("prod").path("prod/../x").unwrap_err().contains("outside of `--path prod`"));
        assert!(base("prod").path("production/x").is_err());
        assert_eq!(Base::default().path("../x"), Ok("../x".into()));
    }
}
