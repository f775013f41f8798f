//! Which manifests these are: what networks and endpoints are marked with, so that pruning tells its own from those of another repository.

use std::path::{Component, Path, PathBuf};

use super::Error;
use super::args::{ManifestArgs, StateArgs};
use super::repository::GitArgs;
use crate::core::digest::digest;
use crate::shell::git::origin;
use crate::shell::store::state_directory;

/// Which manifests these are.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct IdentityArgs {
    /// Which manifests these are: what is made from them is marked with it, and nothing else is pruned [default: the Git remote and the path in the
    /// repository; outside of Git this machine and the path]
    #[arg(long, value_name = "NAME", value_parser = parse)]
    source: Option<String>,
}

/// A label that people are to read.
const LONGEST: usize = 400;

fn parse(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.len() > LONGEST || text.chars().any(char::is_control) {
        return Err(format!("the name of a source has 1 to {LONGEST} characters, and no control characters"));
    }
    Ok(text.to_owned())
}

impl IdentityArgs {
    pub(super) fn given(&self) -> Option<String> {
        self.source.clone()
    }

    /// As given, or as the manifests are known by where they are.
    pub(super) fn identify(&self, files: &ManifestArgs, git: &GitArgs, state: &StateArgs) -> Result<String, Error> {
        if let Some(source) = self.given() {
            return Ok(source);
        }
        let machine = || machine(state);
        if let Some(wanted) = git.wanted(false)? {
            return Ok(bounded(within(&place(&wanted.address.place(), &machine), &wanted.path)));
        }
        let mut all: Vec<String> = files
            .paths()
            .iter()
            .map(|path| located(path, &machine))
            .collect::<Result<_, std::io::Error>>()
            .map_err(|error| Error::new("the current directory is not known").caused_by(&error))?;
        all.sort();
        all.dedup();
        Ok(bounded(all.join(", ")))
    }
}

/// One of the paths of `-f`. Standard input is of the directory that it is read in.
fn located(path: &Path, machine: &impl Fn() -> String) -> std::io::Result<String> {
    let path = plain(&std::path::absolute(path)?);
    let Some(tree) = origin::working_tree(&path) else { return Ok(format!("{}:{}", machine(), path.display())) };
    let inner = path.strip_prefix(&tree.root).unwrap_or(&path);
    Ok(within(&place(&origin::place(&tree.remote), machine), &inner.display().to_string()))
}

/// `.` and `..` taken out by the letter: links are not followed, for where they lead may change with every release.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// A repository on no host is on this machine.
fn place((host, path): &(Option<String>, String), machine: &impl Fn() -> String) -> String {
    match host {
        Some(host) => format!("{host}/{path}"),
        None => format!("{}:{path}", machine()),
    }
}

fn within(repository: &str, path: &str) -> String {
    let path = path.trim_matches('/');
    if path.is_empty() || path == "." { repository.to_owned() } else { format!("{repository}//{path}") }
}

fn bounded(text: String) -> String {
    let text: String = text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect();
    if text.len() <= LONGEST {
        return text;
    }
    let digits = digest(&text, 6);
    let mut start = String::new();
    for letter in text.chars() {
        if start.len() + letter.len_utf8() + digits.len() + 3 > LONGEST {
            break;
        }
        start.push(letter);
    }
    format!("{start}…{digits}")
}

/// What tells this machine from others. Its id is nobody's business: only a digest of it is written down. A container without one gets one that is
/// kept with the state.
fn machine(state: &StateArgs) -> String {
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path).ok()?;
        let id = text.trim().to_owned();
        (id.len() >= 16 && id.len() < 256 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(id)
    };
    let known = ["/etc/machine-id", "/var/lib/dbus/machine-id"].iter().find_map(|path| read(Path::new(path)));
    let id = known.or_else(|| {
        let directory = state_directory(state.state.as_deref()).ok()?;
        let file = directory.join("machine-id");
        read(&file).or_else(|| {
            let id = cuid2::create_id();
            std::fs::create_dir_all(&directory).ok()?;
            std::fs::write(&file, &id).ok()?;
            Some(id)
        })
    });
    match id {
        Some(id) => format!("machine-{}", digest(format!("landfall.source\n{id}"), 6)),
        None => "machine".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> String {
        "machine-1".to_owned()
    }

    #[test]
    fn paths_are_told_apart_by_where_they_are_and_not_by_how_they_are_written() {
        let at = |path: &str| located(Path::new(path), &here).unwrap();
        assert_eq!(at("/etc/landfall/manifests/"), "machine-1:/etc/landfall/manifests");
        assert_eq!(at("/etc/landfall/./x/../manifests"), "machine-1:/etc/landfall/manifests");
        assert_ne!(at("/etc/landfall/manifests"), at("/etc/landfall/manifests/web.yaml"));
    }

    #[test]
    fn a_directory_of_a_repository_is_the_same_wherever_it_is_checked_out() {
        let of = |remote: &str| {
            let home = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(home.path().join(".git")).unwrap();
            std::fs::write(home.path().join(".git/config"), format!("[remote \"origin\"]\n\turl = {remote}\n"))
                .unwrap();
            ["", "clusters/prod", "-"].map(|path| located(&home.path().join(path), &here).unwrap())
        };
        let expected = [
            "git.example.com/acme/infra",
            "git.example.com/acme/infra//clusters/prod",
            "git.example.com/acme/infra//-",
        ];
        assert_eq!(of("git@git.example.com:acme/infra.git"), expected);
        assert_eq!(of("https://x-token:s3cret@git.example.com/acme/infra"), expected);
        assert_eq!(of("/srv/git/infra.git")[1], "machine-1:/srv/git/infra//clusters/prod");
        assert_eq!(
            within(&place(&origin::place("https://git.example.com/acme/infra.git"), &here), "clusters/prod"),
            expected[1],
            "the same as by --git and --path"
        );
    }

    #[test]
    fn a_long_list_is_cut_and_stays_distinct() {
        let long = |last: &str| bounded(format!("{}{last}", "x/".repeat(LONGEST)));
        assert!(long("a").len() <= LONGEST + 2, "{}", long("a").len());
        assert_ne!(long("a"), long("b"));
        assert_eq!(bounded("a\nb".to_owned()), "a\u{fffd}b");
    }

    #[test]
    fn the_id_of_a_machine_without_one_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateArgs { state: Some(directory.path().to_owned()) };
        assert_eq!(machine(&state), machine(&state));
        assert!(parse("acme/infra").is_ok() && parse(" ").is_err() && parse("a\nb").is_err());
    }
}
