//! What of a commit is written out: files that can be manifests, and the links that lead to them. Computes; `mod.rs` does the writing.
//!
//! `git checkout` is not used: filters, attributes and hooks would have a say, and a half-written directory could be read. A link may lead
//! anywhere within the part of the repository that is read, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::manifest::MAX_FILE_BYTES;

/// Entries of the part of a commit that is read.
pub(super) const MAX_ENTRIES: usize = 100_000;
/// Bytes of all files that are written out.
pub(super) const MAX_BYTES: u64 = 256 << 20;
/// As many links may follow one another.
const MAX_HOPS: usize = 40;
/// Longest target of a link.
const MAX_LINK: u64 = 4096;

/// One entry of a tree, by its path from the root of the part that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: EntryKind,
    pub(super) object: String,
    pub(super) size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Link,
    /// Never followed: it is another repository.
    Submodule,
}

pub(super) type Tree = BTreeMap<String, Entry>;

/// Where each symbolic link leads, as it is written in the tree.
pub(super) type Links = BTreeMap<String, String>;

/// Reads `git ls-tree -r -z -l`.
pub(super) fn parse(listing: &[u8]) -> Result<Tree, String> {
    let mut tree = Tree::new();
    for record in listing.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
        let record = std::str::from_utf8(record).map_err(|_| "it has a file name that is not UTF-8".to_owned())?;
        let unexpected = || format!("git lists an entry in a way that is not understood: {record:?}");
        let (fields, path) = record.split_once('\t').ok_or_else(unexpected)?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let [mode, _, object, size] = fields.as_slice() else { return Err(unexpected()) };
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.chars().any(char::is_control) {
            return Err(format!("it has an impossible file name: {path:?}"));
        }
        let kind = match *mode {
            "120000" => EntryKind::Link,
            "160000" => EntryKind::Submodule,
            _ => EntryKind::File,
        };
        let entry = Entry { kind, object: (*object).to_owned(), size: size.parse().unwrap_or(0) };
        tree.insert(path.to_owned(), entry);
        if tree.len() > MAX_ENTRIES {
            return Err(format!("it has more than {MAX_ENTRIES} files; choose a part of it with --path"));
        }
    }
    Ok(tree)
}

/// Whether a file of that name is read: as a manifest, or for what is none.
fn is_manifest(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name == crate::shell::sources::IGNORE_FILE
        || name.rsplit_once('.').is_some_and(|(_, extension)| {
            ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
        })
}

/// Where a link leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To an entry, or to nothing; within the part that is read.
    Inside(String),
    Outside,
    Loop,
}

/// Follows a path through the links of the tree, as the kernel would.
pub(super) fn follow(path: &str, links: &Links) -> Place {
    let mut ahead: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
    let mut here: Vec<String> = Vec::new();
    let mut hops = 0;
    while let Some(part) = ahead.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                if here.pop().is_none() {
                    return Place::Outside;
                }
                continue;
            }
            _ => here.push(part),
        }
        let Some(target) = links.get(&here.join("/")) else { continue };
        hops += 1;
        if hops > MAX_HOPS {
            return Place::Loop;
        }
        if target.starts_with('/') {
            return Place::Outside;
        }
        here.pop();
        ahead.extend(target.rsplit('/').map(str::to_owned));
    }
    Place::Inside(here.join("/"))
}

/// What has to be written out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// Paths with their objects.
    pub(super) files: BTreeMap<String, String>,
    /// Paths with where they lead, seen from the directory they are in.
    pub(super) links: BTreeMap<String, String>,
    pub(super) submodules: Vec<String>,
}

/// Links whose targets have to be read before [`select`] can choose.
pub(super) fn links(tree: &Tree) -> Result<Vec<(&str, &str)>, String> {
    let links = tree.iter().filter(|(_, entry)| entry.kind == EntryKind::Link);
    links
        .map(|(path, entry)| match entry.size <= MAX_LINK {
            true => Ok((path.as_str(), entry.object.as_str())),
            false => Err(format!("the symbolic link {path} is longer than {MAX_LINK} bytes")),
        })
        .collect()
}

/// Chooses what is written out. `targets`: of every link.
pub(super) fn select(tree: &Tree, targets: &Links) -> Result<Selection, String> {
    let mut files: BTreeSet<&str> = tree
        .iter()
        .filter(|(path, it)| it.kind == EntryKind::File && is_manifest(path))
        .map(|(p, _)| p.as_str())
        .collect();
    let mut links = BTreeMap::new();
    for (path, target) in targets {
        let place = match follow(path, targets) {
            Place::Inside(place) => place,
            Place::Outside => {
                return Err(format!("the symbolic link {path} leads outside of what is read (to {target})"));
            }
            Place::Loop => return Err(format!("the symbolic link {path} leads back to itself")),
        };
        match tree.get_key_value(&place) {
            // To something that is no manifest, under a name that is: then it is one.
            Some((file, entry)) if entry.kind == EntryKind::File && is_manifest(path) => drop(files.insert(file)),
            Some((_, entry)) if entry.kind == EntryKind::File => continue,
            // To a directory, or to nothing, which whoever reads the manifests will say.
            _ => {}
        }
        // Straight to where it ends: what lies between need not be written out.
        links.insert(path.clone(), "../".repeat(path.matches('/').count()) + &place);
    }
    let mut total = 0;
    let mut chosen = BTreeMap::new();
    for path in files {
        let Some(entry) = tree.get(path) else { continue };
        if entry.size > MAX_FILE_BYTES as u64 {
            return Err(format!("{path} is larger than {} MiB, the most that is read", MAX_FILE_BYTES >> 20));
        }
        total += entry.size;
        if total > MAX_BYTES {
            return Err(format!("it has more than {} MiB of manifests", MAX_BYTES >> 20));
        }
        chosen.insert(path.to_owned(), entry.object.clone());
    }
    let submodules = tree.iter().filter(|(_, entry)| entry.kind == EntryKind::Submodule);
    Ok(Selection { files: chosen, links, submodules: submodules.map(|(path, _)| path.clone()).collect() })
}

/// Splits the output of `git cat-file --batch` for these objects, in their order.
pub(super) fn objects(output: &[u8], count: usize) -> Result<Vec<&[u8]>, String> {
    let broken = || "git answered with something other than the objects that were asked for".to_owned();
    let mut rest = output;
    let mut objects = Vec::with_capacity(count);
    for _ in 0..count {
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(broken)?;
        let header = rest.get(..end).and_then(|line| std::str::from_utf8(line).ok()).ok_or_else(broken)?;
        let size: usize = header.rsplit(' ').next().and_then(|size| size.parse().ok()).ok_or_else(broken)?;
        let start = end + 1;
        objects.push(rest.get(start..start + size).ok_or_else(broken)?);
        rest = rest.get(start + size + 1..).ok_or_else(broken)?;
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: &[(&str, EntryKind)]) -> Tree {
        let entry = |kind| Entry { kind, object: "0".repeat(40), size: 1 };
        entries.iter().map(|(path, kind)| ((*path).to_owned(), entry(*kind))).collect()
    }

    type Selected = (Vec<String>, Vec<(String, String)>);

    fn selected(files: &[&str], links: &[(&str, &str)]) -> Result<Selected, String> {
        let mut entries: Vec<_> = files.iter().map(|path| (*path, EntryKind::File)).collect();
        entries.extend(links.iter().map(|(path, _)| (*path, EntryKind::Link)));
        let targets = links.iter().map(|(path, target)| ((*path).to_owned(), (*target).to_owned())).collect();
        let selection = select(&tree(&entries), &targets)?;
        Ok((selection.files.into_keys().collect(), selection.links.into_iter().collect()))
    }

    #[test]
    fn only_what_can_be_a_manifest_is_written_out() {
        let files = ["README.md", "a/web.yaml", "b/db.JSON", "b/logo.png", "Makefile"];
        assert_eq!(selected(&files, &[]).unwrap().0, ["a/web.yaml", "b/db.JSON"]);
    }

    #[test]
    fn links_within_lead_on_and_those_to_what_is_no_manifest_are_left_out() {
        let files = ["versions/1/web.yaml", "template.txt", "COPYING"];
        let links = [
            ("current", "versions/1"),
            ("edge.yaml", "by/way"),
            ("by/way", "../template.txt"),
            ("LICENSE", "COPYING"),
            ("v", "current/.."),
        ];
        let (files, links) = selected(&files, &links).unwrap();
        assert_eq!(files, ["template.txt", "versions/1/web.yaml"]);
        let links: Vec<String> = links.iter().map(|(path, place)| format!("{path} -> {place}")).collect();
        assert_eq!(links, ["current -> versions/1", "edge.yaml -> template.txt", "v -> versions"]);
    }

    #[test]
    fn a_link_that_leads_outside_is_refused_whichever_way_it_takes() {
        for links in [
            &[("a.yaml", "/etc/passwd")][..],
            &[("a.yaml", "../outside")],
            &[("d/a.yaml", "../../outside")],
            // Lexically inside, in truth outside: the way leads through another link.
            &[("d/e/f/top", "../../.."), ("x", "d/e/f/top/../etc/nothing-yet")],
        ] {
            let refused = selected(&["web.yaml"], links);
            assert!(refused.as_ref().is_err_and(|why| why.contains("outside")), "{links:?}: {refused:?}");
        }
        assert!(selected(&["web.yaml"], &[("a", "b"), ("b", "a")]).is_err_and(|why| why.contains("itself")));
    }

    #[test]
    fn a_listing_with_names_that_would_leave_the_directory_is_refused() {
        let line = |path: &str| format!("100644 blob {} {:>7}\t{path}\0", "0".repeat(40), 3).into_bytes();
        assert_eq!(parse(&line("a/b.yaml")).unwrap().len(), 1);
        for bad in ["../b.yaml", "a/../../b.yaml", "/etc/b.yaml", "a//b.yaml", "a/\u{1}.yaml"] {
            assert!(parse(&line(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn objects_are_split_by_their_sizes_whatever_they_hold() {
        assert_eq!(objects(b"aa blob 3\nx\ny\nbb blob 0\n\n", 2).unwrap(), [&b"x\ny"[..], b""]);
        assert!(objects(b"aa missing\n", 1).is_err());
        assert!(objects(b"aa blob 30\nx\n", 1).is_err());
    }
}
