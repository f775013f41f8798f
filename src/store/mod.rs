//! What is kept on disk between runs. None of it is needed to converge: delete it and you lose history, and the way back from a forced deletion.

pub mod history;
pub mod journal;
pub mod known;
pub mod lock;
pub mod recorder;
pub mod records;

use std::path::{Path, PathBuf};

/// There is no directory to keep anything in.
#[derive(Debug, thiserror::Error)]
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

/// Where a set's history, lock and socket are.
pub fn set_directory(state: &Path, set: &str) -> PathBuf {
    state.join("sets").join(set)
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
