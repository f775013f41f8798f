//! Repositories that mean harm.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::{Copy, fetch, files, pairs};
use crate::support::repository::{Upstream, git};

#[test]
fn links_out_of_the_repository_are_refused() {
    for target in ["/etc/hostname", "../../../../etc/hostname", "sub/../../x"] {
        let upstream = Upstream::with(&[("web.yaml", "one")]);
        symlink(target, upstream.work_tree().join("stolen.yaml")).unwrap();
        upstream.commit(&[]);
        let error = fetch(&mut Copy::of_path(&upstream.bare()).repository()).unwrap_err();
        assert_eq!(error.reason(), "RevisionRefused");
        assert!(error.to_string().contains("stolen.yaml leads outside"), "{error}");
    }
}

#[test]
fn nothing_that_the_repository_holds_is_run() {
    let upstream = Upstream::with(&[("web.yaml", "one")]);
    let marker = upstream.path().join("was-run");
    let script = format!("#!/bin/sh\ntouch {}\n", marker.display());
    let command = format!("touch {}", marker.display());
    upstream.write(&[
        ("post-checkout", &script),
        (".gitattributes", "*.yaml filter=evil diff=evil\n"),
        (".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c touch%20x\n\tupdate = !touch x\n"),
        (".lfsconfig", "[lfs]\n\turl = http://127.0.0.1:1/\n"),
    ]);
    upstream.commit(&[]);
    // Configuration and hooks of the repository that is fetched from are its own business.
    for hook in ["post-checkout", "reference-transaction", "post-merge", "pre-auto-gc"] {
        let file = upstream.bare().join("hooks").join(hook);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &script).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    }
    git(&upstream.bare(), &["config", "filter.evil.smudge", &command]);
    git(&upstream.bare(), &["config", "core.fsmonitor", &command]);
    let copy = Copy::of_path(&upstream.bare());
    let checkout = fetch(&mut copy.repository()).unwrap();
    assert_eq!(files(&checkout), pairs(&[("web.yaml", "one")]));
    assert!(!marker.exists());
}

#[test]
fn a_submodule_is_not_followed() {
    let other = Upstream::with(&[("other.yaml", "elsewhere")]);
    let upstream = Upstream::with(&[("web.yaml", "one")]);
    let bare = other.bare();
    upstream.work(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", bare.to_str().unwrap(), "sub"]);
    upstream.commit(&[]);
    let copy = Copy::of_path(&upstream.bare());
    let checkout = fetch(&mut copy.repository()).unwrap();
    assert_eq!(files(&checkout), pairs(&[("web.yaml", "one")]));
}

#[test]
fn a_manifest_over_the_limit_is_refused_rather_than_left_out() {
    let upstream = Upstream::with(&[("web.yaml", "one"), ("video.mp4", &"x".repeat(9 << 20))]);
    let copy = Copy::of_path(&upstream.bare());
    let mut repository = copy.repository();
    fetch(&mut repository).unwrap();
    upstream.commit(&[("big.yaml", &"x".repeat(9 << 20))]);
    let error = fetch(&mut repository).unwrap_err();
    assert!(error.to_string().ends_with("big.yaml is larger than 8 MiB, the most that is read"), "{error}");
}

#[test]
fn the_environment_does_not_lead_to_another_repository() {
    let upstream = Upstream::with(&[("web.yaml", "one")]);
    let world = tempfile::tempdir().unwrap();
    let decoy = Upstream::with(&[("decoy.yaml", "{")]);
    let mut command = crate::cli::run::command();
    command
        .current_dir(world.path())
        .env("XDG_STATE_HOME", world.path().join("state"))
        .env("GIT_DIR", decoy.bare())
        .env("GIT_WORK_TREE", decoy.work_tree())
        .env("GIT_CONFIG_PARAMETERS", "'core.fsmonitor'='false'")
        .args(["diff", "--git", upstream.bare().to_str().unwrap()]);
    let ran = crate::cli::run::finish(&mut command, "").expect(2);
    assert!(ran.stderr.contains("web.yaml:1:1"), "{ran}");
}
