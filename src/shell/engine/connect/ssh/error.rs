//! Why an SSH connection was not made, in words for whoever has to act.

use std::fmt::Write as _;
use std::time::Duration;

use thiserror::Error;

use super::known_hosts::{HostKey, KeyOnFile, Place};
use super::mux::OpenError;
use crate::shell::engine::EngineErrorKind;
use crate::shell::engine::connect::DialError;

/// Why an SSH connection or a stream over it was not made.
#[derive(Debug, Clone, Error)]
pub enum SshError {
    /// The manifest or the ssh configuration asks for something that is wrong or not supported.
    #[error("{0}")]
    Configuration(String),
    #[error("cannot connect to {address}: {problem}")]
    Connect { address: String, problem: String },
    #[error("{stage} took longer than {limit:?}")]
    TimedOut { stage: String, limit: Duration },
    #[error("the SSH handshake with {host} failed: {problem}")]
    Handshake { host: String, problem: String },
    #[error("{0}")]
    HostKey(Box<HostKeyError>),
    #[error("{host} lets {user} in by none of the methods tried: {}", attempts.join("; "))]
    Authentication { host: String, user: String, attempts: Vec<String> },
    /// The daemon cannot be reached over a session that works.
    #[error("{0}")]
    Daemon(String),
    /// The user may not open the daemon's socket.
    #[error("{0}")]
    DaemonDenied(String),
    #[error("{0}")]
    SessionLost(String),
}

/// A host key that is not trusted.
#[derive(Debug, Clone)]
pub struct HostKeyError {
    /// As the user wrote it.
    pub host: String,
    /// What `ssh-keyscan` has to ask.
    pub address: String,
    pub port: u16,
    pub shown: HostKey,
    pub problem: HostKeyProblem,
    /// Where keys were looked for; `None` where that is a declared key.
    pub looked: Option<Looked>,
}

/// Where a key was looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// Under which name.
    pub name: String,
    /// It is the one of `HostKeyAlias`, which no other program writes by itself.
    pub alias: bool,
    /// In the order of reading, with whether each is there.
    pub files: Vec<(String, bool)>,
}

impl Looked {
    /// The first file that keeps what is written to it.
    fn file(&self) -> Option<&str> {
        self.files.iter().map(|(file, _)| file.as_str()).find(|file| !file.starts_with("/dev/"))
    }

    /// `~/.ssh/known_hosts (missing) and /etc/ssh/ssh_known_hosts`
    fn places(&self) -> String {
        let of = |(file, exists): &(String, bool)| if *exists { file.clone() } else { format!("{file} (missing)") };
        let files: Vec<String> = self.files.iter().map(of).collect();
        match files.as_slice() {
            [] => "no file at all, as the ssh configuration says".to_owned(),
            [only] => only.clone(),
            [most @ .., last] => format!("{} and {last}", most.join(", ")),
        }
    }
}

/// What is wrong with a host key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyProblem {
    Unknown,
    Changed(Vec<KeyOnFile>),
    OtherTypes(Vec<KeyOnFile>),
    Revoked(Place),
    OnlyAuthority(Place),
    /// It is not the key of `spec.ssh.hostKey`.
    NotThePinned(HostKey),
}

impl std::fmt::Display for HostKeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, shown, .. } = self;
        match &self.problem {
            HostKeyProblem::Unknown => {
                write!(f, "the host key of {host} is not known: it shows {shown}")?;
                match &self.looked {
                    Some(looked) => write!(f, ", and nothing is on file for {} in {}", looked.name, looked.places()),
                    None => Ok(()),
                }
            }
            HostKeyProblem::Changed(on_file) => {
                write!(f, "the host key of {host} has changed: it shows {shown}, on file is {}", list(on_file))
            }
            HostKeyProblem::OtherTypes(on_file) => write!(
                f,
                "the host key of {host} is not known: it shows {shown}, on file are only keys of other types: {}",
                list(on_file)
            ),
            HostKeyProblem::Revoked(place) => {
                write!(f, "the host key of {host} is revoked by {place}: it shows {shown}")
            }
            HostKeyProblem::OnlyAuthority(place) => write!(
                f,
                "the host key of {host} is not known: it shows {shown}, and on file is only the @cert-authority of {place}; \
                 host certificates are not supported"
            ),
            HostKeyProblem::NotThePinned(pinned) => {
                write!(
                    f,
                    "the host key of {host} is not the one of spec.ssh.hostKey: it shows {shown}, declared is {pinned}"
                )
            }
        }
    }
}

fn list(on_file: &[KeyOnFile]) -> String {
    let mut text = String::new();
    for (index, KeyOnFile { key, place }) in on_file.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let _ = write!(text, "{separator}{key} ({place})");
    }
    text
}

impl HostKeyError {
    fn hint(&self) -> String {
        let target = if self.port == super::known_hosts::DEFAULT_PORT {
            self.address.clone()
        } else {
            format!("-p {} {}", self.port, self.address)
        };
        let scan = format!("ssh-keyscan -t {} {target}", short_type(self.shown.key_type()));
        let looked = self.looked.clone().unwrap_or_default();
        // What it prints carries the host's name, and is looked for under another.
        let named = match looked.alias {
            true => format!("{scan} | sed 's/^[^ ]*/{}/'", looked.name),
            false => scan.clone(),
        };
        let write = match looked.file() {
            Some(file) => format!("`{named} >> {file}`"),
            None => format!(
                "write what `{named}` prints to a file of your own and name it in spec.ssh.knownHosts (the known_hosts of the ssh configuration, \
                 {}, keeps nothing)",
                looked.places()
            ),
        };
        let compare = "compare the fingerprint with the one that `ssh-keygen -lf` prints for the key in /etc/ssh on the server itself";
        match &self.problem {
            HostKeyProblem::Unknown | HostKeyProblem::OtherTypes(_) | HostKeyProblem::OnlyAuthority(_) => {
                format!("{compare}; if it is the same, {write}, or declare the key in spec.ssh.hostKey")
            }
            HostKeyProblem::Changed(on_file) => format!(
                "another machine may pose as the server, or the server was installed anew: {compare}; only if it is the same, remove {} and \
                 {write}",
                on_file.iter().map(|key| key.place.to_string()).collect::<Vec<_>>().join(", ")
            ),
            HostKeyProblem::NotThePinned(_) => format!(
                "another machine may pose as the server, or the server was installed anew: {compare}; only if it is the same, put what `{scan}` \
                 prints after the host name into spec.ssh.hostKey"
            ),
            HostKeyProblem::Revoked(_) => {
                format!("whoever holds a revoked key may pose as the server: give it a new host key, then {write}")
            }
        }
    }
}

/// The name that `ssh-keyscan -t` takes.
fn short_type(key_type: &str) -> &str {
    match key_type {
        "ssh-ed25519" => "ed25519",
        "ssh-rsa" => "rsa",
        other if other.starts_with("ecdsa-") => "ecdsa",
        other => other,
    }
}

impl From<OpenError> for SshError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Refused(problem) => Self::Daemon(problem),
            OpenError::SessionLost(problem) => Self::SessionLost(problem),
        }
    }
}

impl From<SshError> for DialError {
    fn from(error: SshError) -> Self {
        let message = error.to_string();
        let (kind, hint) = match error {
            SshError::HostKey(problem) => (EngineErrorKind::HostKeyMismatch, problem.hint()),
            SshError::Authentication { host, user, .. } => (
                EngineErrorKind::PermissionDenied,
                format!(
                    "add the public key to ~{user}/.ssh/authorized_keys on {host}, load the key into the agent (`ssh-add`), or name it in \
                     spec.ssh.identityFile"
                ),
            ),
            SshError::Connect { .. } | SshError::TimedOut { .. } => (
                EngineErrorKind::Unreachable,
                "check the server's `spec.endpoint`, that sshd runs there, and the firewall between".to_owned(),
            ),
            SshError::Handshake { .. } => (
                EngineErrorKind::Unreachable,
                "check that an SSH server listens there, and its log (`journalctl -u ssh`)".to_owned(),
            ),
            SshError::Daemon(_) => (
                EngineErrorKind::Unreachable,
                "on the server: `systemctl status docker`, membership of the user in the socket's group (`usermod -aG docker USER`), and \
                 AllowStreamLocalForwarding in sshd_config"
                    .to_owned(),
            ),
            SshError::DaemonDenied(_) => (
                EngineErrorKind::PermissionDenied,
                "add the user to the socket's group on the server (`usermod -aG docker USER`, then connect anew)".to_owned(),
            ),
            SshError::Configuration(_) => {
                (EngineErrorKind::Unreachable, "correct the server's manifest or ~/.ssh/config".to_owned())
            }
            SshError::SessionLost(_) => {
                (EngineErrorKind::Unreachable, "the next call connects anew; if it stays so, see sshd's log".to_owned())
            }
        };
        Self { kind, message, hint: Some(hint) }
    }
}
