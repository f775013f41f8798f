//! Flags, help, versions and completion: what works without manifests and servers.

use std::path::Path;
use std::process::Stdio;

use super::run::{command, finish, landfall};

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn usage_errors_exit_2_and_go_to_standard_error() {
    for arguments in [&["no-such-command"][..], &["version", "--no-such-flag"], &[], &["completion", "tcsh"]] {
        let ran = landfall(here(), arguments).expect(2);
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_goes_to_standard_output_and_exits_0() {
    let ran = landfall(here(), ["--help"]).expect(0);
    assert!(ran.stdout.contains("Exit codes:"), "{ran}");
    assert_eq!(ran.stderr, "");
}

#[test]
fn version_says_what_it_is() {
    let ran = landfall(here(), ["version"]).expect(0);
    assert_eq!(ran.stdout, concat!("landfall ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(landfall(here(), ["--version"]).expect(0).stdout, ran.stdout);
    assert!(landfall(here(), ["version", "-v"]).expect(0).stdout.contains("rustc: rustc 1."));
    let json = landfall(here(), ["version", "-o", "json"]).expect(0).json();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["api_version"], "landfall/v1");
    assert!(landfall(here(), ["version", "-o", "yaml"]).expect(0).stdout.starts_with("name: landfall\n"));
}

#[test]
fn completion_is_there_for_five_shells() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = landfall(here(), ["completion", shell]).expect(0);
        assert!(ran.stdout.contains("landfall"), "{shell}");
        assert_eq!(ran.stderr, "", "{shell}");
    }
}

#[test]
fn colours_are_for_terminals_and_for_those_who_ask() {
    let plain = landfall(here(), ["no-such-command"]);
    assert!(!plain.stderr.contains('\u{1b}'), "{plain}");
    let forced = landfall(here(), ["--color", "always", "no-such-command"]);
    assert!(forced.stderr.contains('\u{1b}'), "{forced}");
    let asked_and_told_not_to = finish(command().env("NO_COLOR", "1").args(["--color=always", "no-such-command"]), "");
    assert!(
        asked_and_told_not_to.stderr.contains('\u{1b}'),
        "a flag outranks the environment: {asked_and_told_not_to}"
    );
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let mut child = command()
        .args(["completion", "bash"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the binary ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_full_disk_is_an_error() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let output = command().arg("version").stdout(full).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"));
}
