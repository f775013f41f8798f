//! Host keys: nothing is accepted that is not on file.

use landfall::shell::engine::EngineErrorKind;
use landfall::shell::engine::connect::DialError;

use super::{dialer_with, no_settings, refusal};
use crate::support::sshd::Sshd;

async fn refused(sshd: &Sshd, host_key: Option<String>) -> DialError {
    let error = refusal(&dialer_with(sshd, landfall::core::api::SshSpec { host_key, ..no_settings() })).await;
    assert_eq!(error.kind, EngineErrorKind::HostKeyMismatch, "{error}");
    error
}

async fn accepted(sshd: &Sshd, host_key: Option<String>) {
    let dialer = dialer_with(sshd, landfall::core::api::SshSpec { host_key, ..no_settings() });
    assert!(dialer.session().await.is_ok());
}

#[tokio::test]
async fn an_unknown_key_is_refused_with_its_fingerprint_and_the_keyscan_line() {
    let sshd = Sshd::start();
    sshd.client().set_known_hosts("");
    let error = refused(&sshd, None).await;
    let fingerprint = sshd.fingerprint("ed25519");
    let known = format!(
        "the host key of 127.0.0.1 is not known: it shows ssh-ed25519 {fingerprint}, and nothing is on file for {} in ",
        sshd.known_name()
    );
    assert!(error.message.starts_with(&known) && error.message.contains("/.ssh/known_hosts"), "{error}");
    let hint = error.hint.unwrap();
    let known_hosts = sshd.client().home().join(".ssh/known_hosts");
    let scan = format!("`ssh-keyscan -t ed25519 -p {} 127.0.0.1 >> {}`", sshd.port(), known_hosts.display());
    assert!(hint.contains(&scan), "{hint}");
    assert_eq!(sshd.client().known_hosts(), "", "nothing is written there");
}

#[tokio::test]
async fn a_changed_key_is_refused_with_both_fingerprints() {
    let mut sshd = Sshd::start();
    let before = sshd.fingerprint("ed25519");
    accepted(&sshd, None).await;
    sshd.change_host_key("ed25519");
    let after = sshd.fingerprint("ed25519");
    let error = refused(&sshd, None).await;
    let known_hosts = sshd.client().home().join(".ssh/known_hosts");
    assert_eq!(
        error.message,
        format!(
            "the host key of 127.0.0.1 has changed: it shows ssh-ed25519 {after}, on file is ssh-ed25519 {before} ({}:1)",
            known_hosts.display()
        )
    );
    assert!(error.hint.unwrap().starts_with("another machine may pose as the server"));
}

#[tokio::test]
async fn the_type_on_file_is_asked_for_first() {
    let sshd = Sshd::builder().host_keys(&["ed25519", "ecdsa", "rsa"]).start();
    for key_type in ["ed25519", "ecdsa", "rsa"] {
        sshd.client().set_known_hosts(&format!("{} {}\n", sshd.known_name(), sshd.host_key(key_type)));
        accepted(&sshd, None).await;
    }
}

#[tokio::test]
async fn a_server_without_the_type_on_file_is_not_called_changed() {
    let sshd = Sshd::start();
    let other = Sshd::builder().host_keys(&["ecdsa"]).start();
    sshd.client().set_known_hosts(&format!("{} {}\n", sshd.known_name(), other.host_key("ecdsa")));
    let error = refused(&sshd, None).await;
    assert!(error.message.contains("on file are only keys of other types: ecdsa-sha2-nistp256 SHA256:"), "{error}");
}

#[tokio::test]
async fn a_revoked_key_is_refused_though_it_is_on_file() {
    let sshd = Sshd::start();
    let lines = sshd.client().known_hosts();
    sshd.client().set_known_hosts(&format!("{lines}@revoked * {}\n", sshd.host_key("ed25519")));
    let error = refused(&sshd, None).await;
    assert!(error.message.contains("is revoked by") && error.message.contains("known_hosts:2"), "{error}");
}

#[tokio::test]
async fn a_certificate_authority_is_named_as_unsupported() {
    let sshd = Sshd::start();
    sshd.client().set_known_hosts(&format!("@cert-authority * {}\n", sshd.host_key("ed25519")));
    let error = refused(&sshd, None).await;
    assert!(error.message.contains("host certificates are not supported"), "{error}");
}

#[tokio::test]
async fn hashed_entries_and_garbage_are_no_obstacle() {
    let sshd = Sshd::start();
    let file = sshd.client().home().join(".ssh/known_hosts");
    let hashed = std::process::Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).output().unwrap();
    let lines = sshd.client().known_hosts();
    assert!(hashed.status.success() && lines.starts_with("|1|"), "{hashed:?} {lines}");
    sshd.client().set_known_hosts(&format!("garbage\n{lines}"));
    accepted(&sshd, None).await;
}

#[tokio::test]
async fn a_declared_key_replaces_known_hosts() {
    let sshd = Sshd::builder().host_keys(&["ed25519", "ecdsa"]).start();
    let other = Sshd::start();
    sshd.client().set_known_hosts("");
    for key_type in ["ed25519", "ecdsa"] {
        accepted(&sshd, Some(sshd.host_key(key_type))).await;
    }
    let error = refused(&sshd, Some(other.host_key("ed25519"))).await;
    assert_eq!(
        error.message,
        format!(
            "the host key of 127.0.0.1 is not the one of spec.ssh.hostKey: it shows ssh-ed25519 {}, declared is ssh-ed25519 {}",
            sshd.fingerprint("ed25519"),
            other.fingerprint("ed25519")
        )
    );
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_is_not_trusted() {
    let sshd = Sshd::start();
    sshd.client().set_known_hosts("");
    refused(&sshd, None).await;
    let log = sshd.log();
    assert!(!log.contains("publickey") && !log.contains("Accepted"), "no user name or key went out:\n{log}");
}

/// An error's message and hint.
async fn words(sshd: &Sshd, configuration: &str) -> (String, String) {
    sshd.client().configure(configuration);
    let error = refused(sshd, None).await;
    (error.message, error.hint.unwrap())
}

#[tokio::test]
async fn the_next_step_leads_somewhere_with_an_alias_and_without_a_file() {
    let sshd = Sshd::start();
    sshd.client().set_known_hosts("");
    let (message, hint) = words(&sshd, "Host *\n  HostKeyAlias edge-one\n").await;
    assert!(message.contains("nothing is on file for edge-one in "), "{message}");
    assert!(hint.contains("127.0.0.1 | sed 's/^[^ ]*/edge-one/' >> "), "{hint}");
    // As the hint says.
    sshd.client().set_known_hosts(&format!("edge-one {}\n", sshd.host_key("ed25519")));
    accepted(&sshd, None).await;
    let none = "Host *\n  UserKnownHostsFile /dev/null\n  GlobalKnownHostsFile /dev/null\n";
    let (message, hint) = words(&sshd, none).await;
    assert!(message.contains("in /dev/null and /dev/null"), "{message}");
    assert!(hint.contains("name it in spec.ssh.knownHosts") && !hint.contains(">> /dev/null"), "{hint}");
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_a_name() {
    let sshd = Sshd::start();
    let lines = sshd.client().known_hosts();
    sshd.client().set_known_hosts(&format!("\u{feff}{lines}"));
    accepted(&sshd, None).await;
}
