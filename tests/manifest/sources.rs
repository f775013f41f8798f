//! What `-f` reads.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use landfall::manifest::{Diagnostic, MAX_FILE_BYTES};
use landfall::sources;
use tempfile::TempDir;

fn server(name: &str) -> String {
    format!("apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: {name} }}\nspec: {{}}\n")
}

/// A directory with these files; a path that ends in `/` is a directory.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (path, content) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, content).expect("written");
    }
    directory
}

fn names(paths: &[PathBuf], stdin: &str) -> Result<Vec<String>, Vec<Diagnostic>> {
    let found = sources::load(paths, &mut stdin.as_bytes())?;
    Ok(found.objects().map(|found| found.object.metadata.name.clone()).collect())
}

fn messages(path: &Path) -> Vec<String> {
    let found = names(&[path.to_owned()], "").expect_err("a fault");
    found.iter().map(|one| one.message.clone()).collect()
}

#[test]
fn a_directory_stands_for_the_manifests_in_it_and_below() {
    let directory = directory(&[
        ("b.yaml", &server("b")),
        ("a/c.yml", &server("c")),
        ("a/deep/d.json", r#"{"apiVersion":"landfall/v1","kind":"Server","metadata":{"name":"d"},"spec":{}}"#),
        ("notes.txt", "not a manifest"),
        (".hidden.yaml", "not: looked at"),
        (".git/config.yaml", "not: looked at"),
    ]);
    assert_eq!(names(&[directory.path().to_owned()], ""), Ok(vec!["b".into(), "c".into(), "d".into()]));
}

#[test]
fn files_are_read_in_the_order_of_their_names() {
    let directory = directory(&[("b.yaml", "x"), ("a.yaml", "x"), ("a/z.yaml", "x"), ("c.yaml", "x")]);
    let found = names(&[directory.path().to_owned()], "").expect_err("faults");
    let files: Vec<&str> = found.iter().filter_map(|one| one.file.rsplit('/').next()).collect();
    assert_eq!(files, ["z.yaml", "a.yaml", "b.yaml", "c.yaml"]);
}

#[test]
fn standard_input_and_several_paths_make_one_set() {
    let directory = directory(&[("a.txt", &server("a"))]);
    let file = directory.path().join("a.txt");
    assert_eq!(names(&[file.clone(), "-".into()], &server("b")), Ok(vec!["a".into(), "b".into()]));
    // The same file by another name is not declared twice.
    assert_eq!(
        names(&[file, directory.path().join("../").join(directory.path()).join("a.txt")], ""),
        Ok(vec!["a".into()])
    );
    let found = names(&["-".into()], "kind: Serve").expect_err("a fault");
    assert_eq!(found[0].file, "<stdin>");
}

#[test]
fn a_directory_that_is_missing_or_holds_nothing_is_an_error() {
    let directory = directory(&[("notes.txt", ""), ("sub/.hidden.yaml", "")]);
    assert_eq!(messages(directory.path()), ["the directory holds no manifests"]);
    assert_eq!(messages(&directory.path().join("missing")), ["cannot read: no such file or directory"]);
    fs::write(directory.path().join("empty.yaml"), "# nothing\n---\n").expect("written");
    assert_eq!(messages(directory.path()), ["no objects are declared"]);
}

#[test]
fn what_is_named_twice_is_read_once() {
    let directory = directory(&[("sub/a.yaml", &server("a")), ("none/notes.txt", "")]);
    let path = |name: &str| directory.path().join(name);
    let both = [path(""), path("sub"), path("sub/a.yaml")];
    for first in &both {
        for second in &both {
            assert_eq!(names(&[first.clone(), second.clone()], ""), Ok(vec!["a".into()]), "{first:?} {second:?}");
        }
    }
    // What holds nothing is told all the same, though it has been looked into before.
    let found = names(&[path(""), path("none")], "").expect_err("a fault");
    assert_eq!(found[0].message, "the directory holds no manifests");
}

#[test]
fn symbolic_links_are_followed_and_loops_refused() {
    let directory = directory(&[("real/..data/a.yaml", &server("a"))]);
    let real = directory.path().join("real");
    // As Kubernetes mounts a ConfigMap.
    symlink("..data/a.yaml", real.join("a.yaml")).expect("linked");
    symlink("real", directory.path().join("link")).expect("linked");
    assert_eq!(names(&[directory.path().to_owned()], ""), Ok(vec!["a".into()]));
    symlink("..", real.join("back")).expect("linked");
    assert_eq!(messages(directory.path()), ["a symbolic link leads back to a directory that contains it"]);
    fs::remove_file(real.join("back")).expect("removed");
    symlink("self.yaml", real.join("self.yaml")).expect("linked");
    assert_eq!(messages(directory.path()), ["cannot read: too many levels of symbolic links"]);
    fs::remove_file(real.join("self.yaml")).expect("removed");
    symlink("nowhere", real.join("gone.yaml")).expect("linked");
    assert_eq!(messages(directory.path()), ["cannot read: no such file or directory"]);
}

#[test]
fn what_cannot_be_read_does_not_hide_what_is_wrong_elsewhere() {
    let directory = directory(&[("a.yaml", "kind: Serve"), ("z.yaml", &server("z"))]);
    fs::create_dir(directory.path().join("pipe")).expect("made");
    symlink("nowhere", directory.path().join("m.yaml")).expect("linked");
    assert_eq!(
        messages(directory.path()),
        ["cannot read: no such file or directory", "`apiVersion` is missing", "unknown kind `Serve`"]
    );
}

#[test]
fn ten_megabytes_are_refused_without_being_parsed() {
    let directory = directory(&[("a.yaml", &"a".repeat(10 << 20))]);
    let limit = MAX_FILE_BYTES >> 20;
    assert_eq!(messages(directory.path()), [format!("the file is larger than {limit} MiB, the most that is read")]);
}
