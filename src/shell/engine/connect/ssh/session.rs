//! From a byte stream to an authenticated session: key exchange, host key, user authentication.

use ssh2::{MethodType, Session};

use super::auth::{self, Credentials};
use super::error::{HostKeyError, HostKeyProblem, Looked, SshError};
use super::known_hosts::{HostKey, HostName, KnownHosts, Verdict};
use super::mux::{Mux, Timing};
use super::wire::{Wire, complete};
use crate::shell::engine::connect::BoxedStream;

/// What makes a host key trusted.
#[derive(Debug, Clone)]
pub enum Trust {
    KnownHosts {
        hosts: KnownHosts,
        name: HostName,
        looked: Looked,
    },
    /// `spec.ssh.hostKey`
    Pinned(HostKey),
}

/// Everything about one hop but the way to it.
#[derive(Debug, Clone)]
pub struct Hop {
    /// As the user wrote it, for messages.
    pub host: String,
    /// Name or address to connect to.
    pub address: String,
    pub port: u16,
    pub user: String,
    pub trust: Trust,
    pub credentials: Credentials,
}

/// Makes a session over a stream that leads to an SSH server. Dropping the future drops all of it.
pub async fn establish(stream: BoxedStream, hop: &Hop, timing: Timing) -> Result<Mux, SshError> {
    let failed = |problem: String| SshError::Handshake { host: hop.host.clone(), problem };
    let (mut wire, socket) = Wire::new(stream).map_err(|error| failed(error.to_string()))?;
    let mut session = Session::new().map_err(|error| failed(error.message().to_owned()))?;
    session.set_blocking(false);
    prefer_trusted_types(&session, &hop.trust).map_err(|error| failed(error.message().to_owned()))?;
    session.set_tcp_stream(socket);
    {
        let mut session = session.clone();
        complete(&mut wire, || session.handshake()).await.map_err(|error| failed(explain_handshake(&error)))?;
    }
    check_host_key(&session, hop)?;
    auth::authenticate(&session, &mut wire, hop).await?;
    let pump = match complete(&mut wire, || session.channel_session()).await {
        Ok(channel) => Some(channel),
        // `MaxSessions 0`: forwarding may work all the same.
        Err(error) if super::is_channel_error(&error) => None,
        Err(error) => return Err(failed(error.message().to_owned())),
    };
    Ok(Mux::spawn(session, pump, wire, timing))
}

fn explain_handshake(error: &ssh2::Error) -> String {
    if super::ends_session(error) {
        "the server closed the connection (MaxStartups or a firewall, perhaps, or it is no SSH server)".to_owned()
    } else {
        error.message().to_owned()
    }
}

/// Signature algorithms for a type of host key, best first. `ssh-rsa` signatures are SHA-1 and left out, as by OpenSSH.
fn algorithms(key_type: &str) -> &[&'static str] {
    match key_type {
        "ssh-ed25519" => &["ssh-ed25519"],
        "ecdsa-sha2-nistp256" => &["ecdsa-sha2-nistp256"],
        "ecdsa-sha2-nistp384" => &["ecdsa-sha2-nistp384"],
        "ecdsa-sha2-nistp521" => &["ecdsa-sha2-nistp521"],
        "ssh-rsa" => &["rsa-sha2-512", "rsa-sha2-256"],
        _ => &[],
    }
}

const ALL_TYPES: [&str; 5] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/// A server with several host keys shows the type that the client likes best: ask for the ones that can be compared.
fn prefer_trusted_types(session: &Session, trust: &Trust) -> Result<(), ssh2::Error> {
    let preferred = match trust {
        Trust::KnownHosts { hosts, name, .. } => hosts.key_types(name),
        Trust::Pinned(key) => vec![key.key_type()],
    };
    let supported = session.supported_algs(MethodType::HostKey)?;
    let mut wanted = Vec::new();
    for algorithm in preferred.into_iter().chain(ALL_TYPES).flat_map(algorithms) {
        if supported.contains(algorithm) && !wanted.contains(algorithm) {
            wanted.push(*algorithm);
        }
    }
    session.method_pref(MethodType::HostKey, &wanted.join(","))
}

fn check_host_key(session: &Session, hop: &Hop) -> Result<(), SshError> {
    let shown = session.host_key().and_then(|(blob, _)| HostKey::from_blob(blob)).ok_or_else(|| {
        SshError::Handshake { host: hop.host.clone(), problem: "the server showed no host key".to_owned() }
    })?;
    let problem = match &hop.trust {
        Trust::Pinned(pinned) if *pinned == shown => return Ok(()),
        Trust::Pinned(pinned) => HostKeyProblem::NotThePinned(pinned.clone()),
        Trust::KnownHosts { hosts, name, .. } => match hosts.check(name, &shown) {
            Verdict::Trusted(place) => {
                tracing::debug!(host = hop.host, %place, "host key is trusted");
                return Ok(());
            }
            Verdict::Revoked(place) => HostKeyProblem::Revoked(place),
            Verdict::Unknown => HostKeyProblem::Unknown,
            Verdict::Changed(keys) => HostKeyProblem::Changed(keys),
            Verdict::OtherTypes(keys) => HostKeyProblem::OtherTypes(keys),
            Verdict::OnlyAuthority(place) => HostKeyProblem::OnlyAuthority(place),
        },
    };
    let looked = match &hop.trust {
        Trust::KnownHosts { looked, .. } => Some(looked.clone()),
        Trust::Pinned(_) => None,
    };
    Err(SshError::HostKey(Box::new(HostKeyError {
        host: hop.host.clone(),
        address: hop.address.clone(),
        port: hop.port,
        shown,
        problem,
        looked,
    })))
}
