//! User authentication: agent, key files, passphrases, the ssh configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use landfall::core::api::SshSpec;
use landfall::shell::engine::EngineErrorKind;
use landfall::shell::engine::connect::ssh::{SshDialer, SshTimeouts};

use super::{Echo, TIMEOUTS, dialer, dialer_with, endpoint, no_settings, refusal};
use crate::support::sshd::{Agent, Sshd, fingerprint, generate_key};

const NOWHERE: &str = "/nowhere";

fn authorize(sshd: &Sshd, key: &Path) {
    fs::copy(key.with_extension("pub"), sshd.path("authorized_keys")).unwrap();
}

fn with_agent(sshd: &Sshd, agent: &Agent) -> SshDialer {
    let mut environment = sshd.client().environment();
    environment.agent = Some(agent.socket());
    SshDialer::with(endpoint(sshd, Path::new(NOWHERE), None), environment, TIMEOUTS)
}

#[tokio::test]
async fn key_files_of_every_type_open_the_door() {
    let sshd = Sshd::start();
    for key_type in ["ed25519", "ecdsa", "rsa"] {
        let key = sshd.client().home().join(format!("key-{key_type}"));
        generate_key(&key, key_type, "");
        authorize(&sshd, &key);
        let settings = SshSpec { identity_file: Some(format!("~/key-{key_type}")), ..no_settings() };
        assert!(dialer_with(&sshd, settings).session().await.is_ok(), "{key_type}");
    }
}

#[tokio::test]
async fn keys_in_the_pem_format_too() {
    let sshd = Sshd::start();
    let key = sshd.client().home().join("pem");
    generate_key(&key, "rsa", "");
    authorize(&sshd, &key);
    let converted =
        std::process::Command::new("ssh-keygen").args(["-q", "-p", "-m", "PEM", "-N", "", "-f"]).arg(&key).output();
    assert!(converted.unwrap().status.success());
    assert!(fs::read_to_string(&key).unwrap().starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    let settings = SshSpec { identity_file: Some("~/pem".to_owned()), ..no_settings() };
    assert!(dialer_with(&sshd, settings).session().await.is_ok());
}

#[tokio::test]
async fn a_passphrase_comes_from_a_file() {
    let sshd = Sshd::start();
    let home = sshd.client().home();
    generate_key(&home.join("locked"), "ed25519", "open sesame");
    authorize(&sshd, &home.join("locked"));
    fs::write(home.join("passphrase"), "open sesame\n").unwrap();
    fs::write(home.join("wrong"), "open barley\n").unwrap();
    let settings = |passphrase_file: Option<&str>| SshSpec {
        identity_file: Some("~/locked".to_owned()),
        passphrase_file: passphrase_file.map(str::to_owned),
        ..no_settings()
    };
    assert!(dialer_with(&sshd, settings(Some("~/passphrase"))).session().await.is_ok());

    let error = refusal(&dialer_with(&sshd, settings(Some("~/wrong")))).await;
    assert_eq!(error.kind, EngineErrorKind::PermissionDenied);
    assert!(error.message.contains("locked: ") && !error.message.contains("barley"), "{error}");

    let error = refusal(&dialer_with(&sshd, settings(None))).await;
    assert!(error.message.contains("locked: is protected by a passphrase"), "{error}");

    let error = refusal(&dialer_with(&sshd, settings(Some("~/nothing")))).await;
    assert!(error.message.contains("spec.ssh.passphraseFile ~/nothing: No such file"), "{error}");
}

/// Through the binary, whose environment is the test's to set.
#[test]
fn a_passphrase_comes_from_an_environment_variable() {
    let sshd = Sshd::start();
    let home = sshd.client().home();
    generate_key(&home.join("locked"), "ed25519", "open sesame");
    authorize(&sshd, &home.join("locked"));
    let manifest = format!(
        "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: edge-1 }}\nspec:\n  endpoint: ssh://127.0.0.1:{}/nowhere/docker.sock\n  \
         ssh: {{ identityFile: {}, passphraseEnv: KEY_PASSPHRASE, hostKey: {} }}\n",
        sshd.port(),
        home.join("locked").display(),
        sshd.host_key("ed25519"),
    );
    fs::write(home.join("server.yaml"), manifest).unwrap();
    let run = |passphrase: Option<&str>| {
        let mut command = crate::cli::run::command();
        command.current_dir(home).env_remove("KEY_PASSPHRASE").args(["get", "servers", "-f", "server.yaml"]);
        command.envs(passphrase.map(|passphrase| ("KEY_PASSPHRASE", passphrase)));
        crate::cli::run::finish(&mut command, "").expect(2)
    };
    let inside = run(Some("open sesame"));
    assert!(inside.stderr.contains("/nowhere/docker.sock") && !inside.stderr.contains("locked"), "{inside}");
    let wrong = run(Some("open barley"));
    assert!(wrong.stderr.contains("locked: ") && !wrong.stderr.contains("barley"), "{wrong}");
    let missing = run(None);
    assert!(missing.stderr.contains("spec.ssh.passphraseEnv: the variable KEY_PASSPHRASE is not set"), "{missing}");
}

#[tokio::test]
async fn a_passphrase_for_the_pem_format_never_asks_the_terminal() {
    let sshd = Sshd::start();
    let home = sshd.client().home();
    generate_key(&home.join("pem"), "rsa", "");
    let locked = std::process::Command::new("ssh-keygen")
        .args(["-q", "-p", "-m", "PEM", "-N", "open sesame", "-f"])
        .arg(home.join("pem"))
        .output();
    assert!(locked.unwrap().status.success());
    authorize(&sshd, &home.join("pem"));
    fs::write(home.join("passphrase"), "open sesame").unwrap();
    let settings = SshSpec { identity_file: Some("~/pem".to_owned()), ..no_settings() };
    let error = refusal(&dialer_with(&sshd, settings.clone())).await;
    assert!(error.message.contains("is protected by a passphrase"), "{error}");
    let settings = SshSpec { passphrase_file: Some("~/passphrase".to_owned()), ..settings };
    assert!(dialer_with(&sshd, settings).session().await.is_ok());
}

#[tokio::test]
async fn the_agent_is_asked() {
    let (sshd, agent) = (Sshd::start(), Agent::start());
    for key_type in ["ed25519", "ecdsa", "rsa"] {
        let key = sshd.client().home().join(format!("held-{key_type}"));
        generate_key(&key, key_type, "");
        agent.add(&key);
        authorize(&sshd, &key);
        fs::remove_file(&key).unwrap();
        assert!(with_agent(&sshd, &agent).session().await.is_ok(), "{key_type}");
    }
}

/// As in OpenSSH: with six keys in the agent, the configured one comes first, or sshd would hang up before it is tried.
#[tokio::test]
async fn a_configured_key_is_the_first_of_the_agents() {
    let sshd = Sshd::builder().option("MaxAuthTries 2").start();
    let agent = Agent::start();
    let home = sshd.client().home();
    for number in 0..5 {
        generate_key(&home.join(format!("other-{number}")), "ed25519", "");
        agent.add(&home.join(format!("other-{number}")));
    }
    generate_key(&home.join("configured"), "ed25519", "");
    agent.add(&home.join("configured"));
    authorize(&sshd, &home.join("configured"));
    let error = refusal(&with_agent(&sshd, &agent)).await;
    assert!(error.message.contains("MaxAuthTries"), "{error}");
    fs::remove_file(home.join("configured")).unwrap();
    sshd.client().configure(&format!("Host 127.0.0.1\n  IdentityFile {}/configured\n", home.display()));
    assert!(with_agent(&sshd, &agent).session().await.is_ok());
}

#[tokio::test]
async fn identities_only_keeps_the_agents_other_keys_back() {
    let (sshd, agent) = (Sshd::start(), Agent::start());
    let held = sshd.client().home().join("held");
    generate_key(&held, "ed25519", "");
    agent.add(&held);
    authorize(&sshd, &held);
    sshd.client().configure("Host *\n  IdentitiesOnly yes\n");
    let error = refusal(&with_agent(&sshd, &agent)).await;
    assert!(error.message.contains("agent: holds none of the keys") && !error.message.contains("agent key"), "{error}");
}

#[tokio::test]
async fn every_method_tried_is_named() {
    let (sshd, agent) = (Sshd::start(), Agent::start());
    let home = sshd.client().home();
    generate_key(&home.join("held"), "ecdsa", "");
    agent.add(&home.join("held"));
    fs::write(sshd.path("authorized_keys"), "").unwrap();
    generate_key(&home.join("open"), "ed25519", "");
    fs::set_permissions(home.join("open"), fs::Permissions::from_mode(0o644)).unwrap();
    sshd.client()
        .configure(&format!("Host 127.0.0.1\n  IdentityFile {0}/open\n  IdentityFile {0}/missing\n", home.display()));
    let error = refusal(&with_agent(&sshd, &agent)).await;
    assert_eq!(error.kind, EngineErrorKind::PermissionDenied);
    for part in [
        format!("agent key ecdsa-sha2-nistp256 {} (test): refused", fingerprint(&home.join("held.pub"))),
        format!("{}/open: is open to others (mode 0644)", home.display()),
        format!("{}/missing: does not exist", home.display()),
        format!("{}/.ssh/id_ed25519: refused", home.display()),
    ] {
        assert!(error.message.contains(&part), "{part} is not in: {error}");
    }
    assert!(error.hint.unwrap().contains("authorized_keys"));
}

#[tokio::test]
async fn an_agent_that_never_answers_is_cut_off() {
    let sshd = Sshd::start();
    let silent = Echo::serve(|stream| async move {
        let _kept = stream;
        std::future::pending::<()>().await;
    });
    let mut environment = sshd.client().environment();
    environment.agent = Some(silent.socket().to_owned());
    let timeouts = SshTimeouts { connect: Duration::from_millis(700), ..TIMEOUTS };
    let dialer = SshDialer::with(endpoint(&sshd, Path::new(NOWHERE), None), environment, timeouts);
    let error = refusal(&dialer).await;
    assert_eq!(error.kind, EngineErrorKind::Unreachable);
    assert!(error.message.contains("took longer than 700ms"), "{error}");
}

#[tokio::test]
async fn a_missing_agent_is_no_obstacle_for_a_key_file() {
    let sshd = Sshd::start();
    let mut environment = sshd.client().environment();
    environment.agent = Some("/nowhere/agent".into());
    let dialer = SshDialer::with(endpoint(&sshd, Path::new(NOWHERE), None), environment, TIMEOUTS);
    assert!(dialer.session().await.is_ok());
}

#[tokio::test]
async fn the_ssh_configuration_decides_who_is_reached() {
    let sshd = Sshd::start();
    let user = sshd.client().environment().user;
    sshd.client().configure(&format!(
        "Host edge\n  HostName 127.0.0.1\n  Port {}\n  User {user}\n  HostKeyAlias the-edge\n",
        sshd.port()
    ));
    sshd.client().set_known_hosts(&format!("the-edge {}\n", sshd.host_key("ed25519")));
    let mut endpoint = endpoint(&sshd, Path::new(NOWHERE), None);
    endpoint.target.host = "edge".to_owned();
    endpoint.target.port = None;
    assert!(super::dialer_of(sshd.client(), endpoint.clone()).session().await.is_ok());

    sshd.client().set_known_hosts("");
    let error = refusal(&super::dialer_of(sshd.client(), endpoint)).await;
    assert!(error.message.starts_with("the host key of edge is not known"), "{error}");
    assert!(error.hint.unwrap().contains(&format!("ssh-keyscan -t ed25519 -p {} 127.0.0.1", sshd.port())));
}

#[tokio::test]
async fn an_unsupported_option_is_named() {
    let sshd = Sshd::start();
    sshd.client().configure("Host 127.0.0.1\n  ProxyCommand nc %h %p\n");
    let error = refusal(&dialer(&sshd, Path::new(NOWHERE))).await;
    assert!(error.message.contains("proxycommand nc %h %p") && error.message.contains("not supported"), "{error}");
    assert_eq!(sshd.connections(), 0);
}

#[tokio::test]
async fn without_an_ssh_program_the_defaults_will_do() {
    let sshd = Sshd::start();
    let mut environment = sshd.client().environment();
    environment.program = Some("/nowhere/ssh".into());
    let dialer = SshDialer::with(endpoint(&sshd, Path::new(NOWHERE), None), environment, TIMEOUTS);
    assert!(dialer.session().await.is_ok());
}
