//! What `-f` reads.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use landfall::core::manifest::{Diagnostic, MAX_FILE_BYTES};
use landfall::shell::sources;
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

/// Beside manifests there are others' files: what is for another tool is skipped and counted, and what may be a mistake is told.
#[test]
fn what_is_for_other_tools_is_skipped_and_counted() {
    let directory = directory(&[
        ("a.yaml", &server("a")),
        ("docker-compose.yml", "services: { web: { image: a, <<: *x } }"),
        ("compose.override.yaml", "x: [unclosed"),
        ("kustomization.yaml", "resources: [a.yaml]"),
        ("package.json", r#"{ "name": "shop" }"#),
        ("renovate.json", "{ // comments\n }"),
        ("Chart.yaml", "apiVersion: v2\nname: shop"),
        (
            "k8s/all.yaml",
            "apiVersion: apps/v1\nkind: Deployment\n---\napiVersion: v1\nkind: Service\nmetadata: { name: a }\n",
        ),
        ("k8s/template.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Name }}\n"),
        ("k8s/tagged.yaml", "apiVersion: cloud.example/v1\nkind: Stack\nspec: !Ref a\n"),
        ("ci/build.yaml", "on: push\njobs: { build: {} }\n"),
        ("stack.yml", "version: '3.8'\nservices: { web: { image: a } }\n"),
        // Its name is another tool's, and its content is not.
        ("compose.yaml", &server("b")),
    ]);
    let found = sources::load(&[directory.path().to_owned()], &mut "".as_bytes()).unwrap();
    let names: Vec<_> = found.objects().map(|it| it.object.metadata.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let mut skipped: Vec<String> = found
        .skipped()
        .iter()
        .map(|it| format!("{}: {}", it.file.strip_prefix(directory.path().to_str().unwrap()).unwrap(), it.what))
        .collect();
    skipped.sort();
    assert_eq!(
        skipped,
        [
            "/Chart.yaml: a file of Helm",
            "/ci/build.yaml: a workflow",
            "/compose.override.yaml: a file of Compose",
            "/docker-compose.yml: a file of Compose",
            "/k8s/all.yaml: Deployment of apps/v1",
            "/k8s/all.yaml: Service of v1",
            "/k8s/tagged.yaml: Stack of cloud.example/v1",
            "/k8s/template.yaml: Deployment of apps/v1",
            "/kustomization.yaml: a file of Kustomize",
            "/package.json: a file of another tool",
            "/renovate.json: a file of Renovate",
            "/stack.yml: a Compose file",
        ]
    );
    fs::write(directory.path().join("values.yaml"), "replicas: 2\n").unwrap();
    let problems = names_of(directory.path()).expect_err("not skipped");
    assert_eq!(problems[0].message, "`apiVersion` and `kind` are missing");
    assert!(problems[0].hint.as_ref().unwrap().contains("`.landfallignore`"), "{problems:?}");
}

fn names_of(path: &Path) -> Result<Vec<String>, Vec<Diagnostic>> {
    names(&[path.to_owned()], "")
}

#[test]
fn nothing_but_what_is_for_other_tools_is_no_set() {
    let directory = directory(&[("deploy.yaml", "apiVersion: apps/v1\nkind: Deployment\n")]);
    let found = names_of(directory.path()).expect_err("no objects");
    assert_eq!(found[0].message, "no objects are declared");
    assert!(found[0].hint.as_ref().unwrap().contains("Deployment of apps/v1"), "{found:?}");
}

#[test]
fn landfallignore_has_the_syntax_of_gitignore() {
    let directory = directory(&[
        (".landfallignore", "# not manifests\n/values*.yaml\ntemplates/\n*.tpl.yaml\n!keep.tpl.yaml\n"),
        ("a.yaml", &server("a")),
        ("values-prod.yaml", "x"),
        ("templates/x.yaml", "{{ x }}"),
        ("deep/templates/y.yaml", "{{ y }}"),
        ("deep/values.yaml", &server("values")),
        ("deep/b.tpl.yaml", "{{ b }}"),
        ("deep/keep.tpl.yaml", &server("keep")),
        ("own/.landfallignore", "!*.tpl.yaml\nb.yaml\n"),
        ("own/b.yaml", "x"),
        ("own/c.tpl.yaml", &server("c")),
    ]);
    assert_eq!(names_of(directory.path()), Ok(vec!["a".into(), "c".into(), "keep".into(), "values".into()]));
    // Named, it is wanted.
    names_of(&directory.path().join("values-prod.yaml")).expect_err("no manifest");
    // Only what is below the directory that it is in, and of the directories that are read.
    assert_eq!(names_of(&directory.path().join("own")), Ok(vec!["c".into()]));
    fs::write(directory.path().join(".landfallignore"), "a[z-a]\n").unwrap();
    let found = names_of(directory.path()).expect_err("no pattern");
    assert!(
        found.iter().any(|it| it.message.starts_with("line 1: ") && it.file.ends_with(".landfallignore")),
        "{found:?}"
    );
}

#[test]
fn what_get_and_scan_print_is_read_back() {
    let object = |name: &str| {
        serde_json::json!({
            "apiVersion": "landfall/v1", "kind": "Server", "metadata": { "name": name, "generation": 3 },
            "spec": { "endpoint": format!("unix:///{name}.sock") }, "status": { "conditions": [{ "type": "Ready" }] },
        })
    };
    let list = serde_json::json!({ "apiVersion": "landfall/v1", "kind": "List", "items": [object("a"), object("b")] });
    let array = serde_json::json!([object("a"), object("b")]);
    for text in [
        list.to_string(),
        serde_yaml::to_string(&list).unwrap(),
        array.to_string(),
        serde_json::to_string_pretty(&array).unwrap(),
        serde_yaml::to_string(&array).unwrap(),
        format!(
            "{}---\n{}",
            serde_yaml::to_string(&object("a")).unwrap(),
            serde_yaml::to_string(&object("b")).unwrap()
        ),
    ] {
        assert_eq!(names(&["-".into()], &text), Ok(vec!["a".into(), "b".into()]), "{text}");
    }
    // Of a list that is half right, what is wrong is told where it is.
    let text = "kind: List\napiVersion: landfall/v1\nitems:\n- apiVersion: landfall/v1\n  kind: Server\n  metadata: { name: a }\n  spec: {}\n- kind: Server\n- text\n";
    let found = names(&["-".into()], text).expect_err("faults");
    assert!(found.iter().any(|it| it.line == Some(8)) && found.iter().any(|it| it.line == Some(9)), "{found:?}");
    for (text, message) in [
        ("apiVersion: landfall/v1\nkind: List\n", "`items` is missing"),
        ("apiVersion: landfall/v1\nkind: List\nitems: []\n", "no objects are declared"),
        ("apiVersion: landfall/v1\nkind: List\nitems: text\n", "expected a list, found the text `text`"),
        ("[]", "no objects are declared"),
    ] {
        assert_eq!(names(&["-".into()], text).expect_err(text)[0].message, message, "{text}");
    }
}
