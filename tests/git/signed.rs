//! Commits signed with OpenPGP keys: real gpg, with keyrings of the test's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cli::world::{World, server};
use crate::support::repository::{Upstream, git};
use crate::support::wait_for;
use crate::web::live::Running;

/// A `GNUPGHOME`. Its agent ends with it.
struct Keyring {
    directory: tempfile::TempDir,
}

impl Keyring {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let keyring = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::set_permissions(keyring.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        // What git calls as its gpg.
        let program = format!("#!/bin/sh\nexec gpg --homedir '{}' \"$@\"\n", keyring.path().display());
        std::fs::write(keyring.program(), program).unwrap();
        std::fs::set_permissions(keyring.program(), std::fs::Permissions::from_mode(0o700)).unwrap();
        keyring
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn program(&self) -> PathBuf {
        self.path().join("gpg-here")
    }

    #[track_caller]
    fn gpg(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut child = Command::new("gpg")
            .args(["--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""])
            .args(arguments)
            .env("GNUPGHOME", self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("gpg starts (scripts/test installs it)");
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn make_key(&self, name: &str) {
        self.gpg(&["--quick-generate-key", &format!("{name} <{name}@example.com>"), "ed25519", "sign", "never"], b"");
    }

    fn trust(&self, other: &Keyring, name: &str) {
        self.gpg(&["--import"], &other.gpg(&["--export", name], b""));
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        let kill = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.path()).output();
        assert!(kill.is_ok() || std::thread::panicking(), "{kill:?}");
    }
}

/// Everything that is there, committed with a signature of that key; pushed.
fn signed(upstream: &Upstream, keyring: &Keyring, name: &str) -> String {
    upstream.work(&["add", "--all"]);
    upstream.work(&[
        "-c",
        "gpg.format=openpgp",
        "-c",
        &format!("gpg.program={}", keyring.program().display()),
        "commit",
        "--quiet",
        "--allow-empty",
        "--message=signed",
        &format!("--gpg-sign={name}"),
    ]);
    upstream.push(&[])
}

/// The newest commit with other content and the same signature; pushed.
fn tamper(upstream: &Upstream) -> String {
    let commit = upstream.work(&["cat-file", "commit", "HEAD"]) + "\n";
    assert!(commit.contains("\ngpgsig ") && commit.contains("\nsigned"));
    let parent = upstream.head();
    let former = commit.lines().find(|line| line.starts_with("parent ")).expect("a parent").to_owned();
    let tampered = commit.replace(&former, &format!("parent {parent}")).replace("\nsigned", "\nforged");
    std::fs::write(upstream.path().join("commit"), tampered).unwrap();
    let object = upstream.path().join("commit");
    let revision = upstream.work(&["hash-object", "-t", "commit", "-w", object.to_str().unwrap()]);
    upstream.work(&["reset", "--quiet", "--hard", &revision]);
    upstream.push(&[])
}

fn destination(name: &str) -> String {
    format!(
        "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name} }}\n\
         spec: {{ server: infra/edge, network: {{ name: {name}-net }}, proxy: false }}\n"
    )
}

#[test]
fn commits_signed_by_a_key_of_the_keyring_come_into_force_and_no_others() {
    let (people, ours) = (Keyring::new(), Keyring::new());
    people.make_key("ada");
    people.make_key("eve");
    ours.trust(&people, "ada");
    let upstream = Upstream::with(&[("README.md", "nothing yet")]);
    upstream.write(&[("server.yaml", &server("unix:///nonexistent/docker.sock")), ("web.yaml", &destination("web"))]);
    let good = signed(&upstream, &people, "ada");

    let world = World::new("");
    let mut command = crate::cli::run::command();
    command.env("GNUPGHOME", ours.path());
    let address = upstream.bare().display().to_string();
    let running = Running::start_in(command, &world, &["--git", &address, "--branch", "main", "--require-signed"]);
    let manifests = || running.get("/api/v1/manifests").expect(200).json();
    let until = |what: &str, condition: &dyn Fn(&Value) -> bool| {
        wait_for(what, || Some(manifests()).filter(|it| condition(it)))
    };
    until("the signed revision", &|it| it["revision"] == good);

    let refused = |revision: &str, says: &str| {
        running.reload();
        let short = &revision[..12];
        let said = until("the refusal", &|it| {
            it["source"]["problem"]["message"].as_str().is_some_and(|message| message.contains(short))
        });
        let problem = &said["source"]["problem"];
        assert_eq!(problem["reason"], "SignatureInvalid", "{problem:#}");
        assert!(problem["message"].as_str().unwrap().contains(says), "{problem:#}");
        assert!(problem["hint"].is_string());
        // What was good stays in force, and nothing is wrong with it.
        assert_eq!(
            (&said["revision"], &said["source"]["revision"]),
            (&Value::from(good.as_str()), &Value::from(good.as_str()))
        );
        assert_eq!(said["problems"], Value::Array(Vec::new()));
    };
    upstream.write(&[("web.yaml", &destination("other"))]);
    refused(&signed(&upstream, &people, "eve"), "No public key");
    refused(&upstream.commit(&[]), "it has no signature");
    // Only the newest has to be; what a person has looked at and signed is taken with what is below.
    signed(&upstream, &people, "ada");
    refused(&tamper(&upstream), "BAD signature");
    let served = running.get("/api/v1/destinations").json();
    assert_eq!(served["items"][0]["metadata"]["name"], "web", "{served:#}");

    let next = signed(&upstream, &people, "ada");
    running.reload();
    until("the next signed revision", &|it| it["revision"] == next && it["source"]["problem"].is_null());
    assert!(running.log().contains("SignatureInvalid"), "{}", running.log());
}

#[test]
fn apply_from_a_repository_takes_a_signed_revision_and_refuses_one_of_a_key_outside_the_keyring() {
    let (people, ours) = (Keyring::new(), Keyring::new());
    people.make_key("ada");
    people.make_key("eve");
    ours.trust(&people, "ada");
    let upstream = Upstream::with(&[("server.yaml", &server("unix:///nonexistent/docker.sock"))]);
    let world = World::new("");
    let apply = |keyring: &Keyring, more: &str| {
        let mut command = crate::cli::run::command();
        command.current_dir(world.path()).env("XDG_STATE_HOME", world.path().join("state"));
        command.env("GNUPGHOME", keyring.path()).args(["apply", "--git"]).arg(upstream.bare());
        command.args(["--branch", "main", "--require-signed", "-o", "json"]).args(more.split_whitespace());
        // Nobody answers at that address, which is an error of another kind.
        crate::cli::run::finish(&mut command, "").expect(2)
    };
    let unsigned = apply(&ours, "");
    assert!(unsigned.stderr.contains("is not signed as required: it has no signature"), "{unsigned}");
    let good = signed(&upstream, &people, "ada");
    assert_eq!(apply(&ours, "").json()["revision"], good);
    // The keyring of the machine is nobody's business where the keys are named.
    std::fs::write(world.path().join("signers"), "").unwrap();
    let named = apply(&ours, "--allowed-signers signers");
    assert!(named.stderr.contains("is not signed as required"), "{named}");
    signed(&upstream, &people, "eve");
    let foreign = apply(&ours, "");
    assert!(foreign.stderr.contains("No public key"), "{foreign}");
    assert_eq!(git(&upstream.bare(), &["rev-parse", "main"]), upstream.head());
}
