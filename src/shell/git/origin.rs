//! Which repository a directory is a working tree of, and by what name it is known everywhere.
//!
//! The configuration is read here and not by git: where git is not installed, or refuses a directory of another user's, the repository is the same.

use std::path::{Path, PathBuf};

/// A configuration beyond this is none.
const LONGEST: u64 = 1 << 20;

/// The working tree that a path lies in, by the path as it was given: links are not followed, for where they lead may change with every release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingTree {
    pub root: PathBuf,
    /// Address of the remote, with whatever credentials are in it.
    pub remote: String,
}

/// `None`: outside of any, or in one without a remote. `path` is absolute.
pub fn working_tree(path: &Path) -> Option<WorkingTree> {
    let (root, config) = path.ancestors().find_map(|root| Some((root, configuration(&root.join(".git"))?)))?;
    Some(WorkingTree { root: root.to_owned(), remote: remote(&config)? })
}

/// The configuration of the repository whose `.git` this is: a directory, or a file that says where it is.
fn configuration(git: &Path) -> Option<String> {
    if let Some(config) = read(&git.join("config")) {
        return Some(config);
    }
    let pointer = read(git)?;
    let base = git.parent()?.join(pointer.strip_prefix("gitdir:")?.trim());
    // A linked working tree shares the configuration of its repository; a submodule has its own.
    let common = read(&base.join("commondir")).map_or_else(|| base.clone(), |common| base.join(common.trim()));
    read(&common.join("config"))
}

fn read(path: &Path) -> Option<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path).ok()?;
    file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// `origin`, or the only one there is.
fn remote(config: &str) -> Option<String> {
    let mut remotes: Vec<(String, String)> = Vec::new();
    let mut section = None;
    // A line that ends in a backslash goes on.
    for line in config.replace("\\\n", "").lines() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let name = header.split_once(']').map_or(header, |(name, _)| name);
            let quoted = name.strip_prefix("remote ").map(|name| name.trim().trim_matches('"').to_owned());
            section = quoted;
        } else if let (Some(name), Some((key, value))) = (&section, line.split_once('='))
            && key.trim().eq_ignore_ascii_case("url")
            && !remotes.iter().any(|(known, _)| known == name)
        {
            remotes.push((name.clone(), value_of(value)));
        }
    }
    let origin = remotes.iter().position(|(name, _)| name == "origin");
    let at = origin.or_else(|| (remotes.len() == 1).then_some(0))?;
    Some(remotes.swap_remove(at).1)
}

/// Without quotes, escapes, and a comment behind it.
fn value_of(text: &str) -> String {
    let mut value = String::new();
    let mut quoted = false;
    let mut letters = text.trim().chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => quoted = !quoted,
            '\\' => value.extend(letters.next()),
            '#' | ';' if !quoted => break,
            letter => value.push(letter),
        }
    }
    value.trim().to_owned()
}

/// A remote as it is known by whatever way it is reached: host and path, without scheme, port, user, password, and `.git`. `None` for a host: it
/// is on this machine.
pub fn place(remote: &str) -> (Option<String>, String) {
    let (host, path) = match remote.split_once("://") {
        Some(("file", path)) => (None, path),
        Some((_, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            // An IPv6 address has colons of its own.
            let host = match host.rfind(':').filter(|at| !host[*at..].contains(']')) {
                Some(at) => &host[..at],
                None => host,
            };
            (Some(host), path)
        }
        // As git has it: with a slash before the colon it is a path.
        None => match remote.split_once(':').filter(|(host, _)| !host.contains('/')) {
            Some((host, path)) => (Some(host.rsplit_once('@').map_or(host, |(_, host)| host)), path),
            None => (None, remote),
        },
    };
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/');
    match host {
        Some(host) => (Some(host.to_lowercase()), path.trim_start_matches('/').to_owned()),
        None => (None, path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_the_same_by_whatever_way_it_is_reached() {
        for remote in [
            "https://git.example.com/acme/infra.git",
            "https://git.example.com/acme/infra",
            "https://git.example.com:8443/acme/infra/",
            "https://ci-token:s3cret@Git.Example.com/acme/infra.git",
            "ssh://git@git.example.com:2222/acme/infra.git",
            "git@git.example.com:acme/infra.git",
            "git.example.com:acme/infra",
            "git.example.com:/acme/infra.git/",
            "git://git.example.com/acme/infra.git",
        ] {
            assert_eq!(place(remote), (Some("git.example.com".to_owned()), "acme/infra".to_owned()), "{remote}");
        }
        assert_eq!(place("ssh://git@[fd00::1]:22/a.git"), (Some("[fd00::1]".to_owned()), "a".to_owned()));
        for remote in ["/srv/git/infra.git", "file:///srv/git/infra.git", "/srv/git/infra/"] {
            assert_eq!(place(remote), (None, "/srv/git/infra".to_owned()), "{remote}");
        }
    }

    #[test]
    fn the_remote_is_the_origin_or_the_only_one() {
        let both = "[core]\n\tbare = false\n[remote \"fork\"]\n\turl = https://a/fork.git\n[remote \"origin\"]\n\turl = \"https://a/b.git\" # ours\n";
        assert_eq!(remote(both).as_deref(), Some("https://a/b.git"));
        assert_eq!(remote("[remote \"up\"]\n  URL=git@a:b\n").as_deref(), Some("git@a:b"));
        assert_eq!(remote("[remote \"x\"]\nurl = a\n[remote \"y\"]\nurl = b\n"), None);
        assert_eq!(remote("[branch \"origin\"]\n\turl = a\n"), None);
    }

    #[test]
    fn working_trees_submodules_and_linked_ones_have_their_remotes() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("infra");
        let write = |path: &Path, text: &str| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(&root.join(".git/config"), "[remote \"origin\"]\n\turl = git@h:infra.git\n");
        write(&root.join(".git/modules/sub/config"), "[remote \"origin\"]\n\turl = git@h:sub.git\n");
        write(&root.join(".git/worktrees/next/commondir"), "../..\n");
        write(&root.join("sub/.git"), "gitdir: ../.git/modules/sub\n");
        write(&home.path().join("next/.git"), &format!("gitdir: {}\n", root.join(".git/worktrees/next").display()));
        let of = |path: PathBuf| working_tree(&path).map(|tree| (tree.root, tree.remote));
        assert_eq!(of(root.join("clusters/prod")), Some((root.clone(), "git@h:infra.git".to_owned())));
        assert_eq!(of(root.join("sub/web.yaml")), Some((root.join("sub"), "git@h:sub.git".to_owned())));
        let next = home.path().join("next");
        assert_eq!(of(next.join("x")), Some((next, "git@h:infra.git".to_owned())));
        assert_eq!(of(home.path().join("elsewhere")), None);
    }
}
