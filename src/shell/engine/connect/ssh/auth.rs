//! User authentication by public key: the agent's keys and key files, in the order of OpenSSH.
//!
//! First the configured identities that the agent holds, then the agent's other keys (unless `IdentitiesOnly`), then the key files that
//! the agent does not hold.

use std::fmt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh2::{Agent, Session};

use super::error::SshError;
use super::known_hosts::HostKey;
use super::session::Hop;
use super::wire::{Wire, complete, more_input};

/// Larger files are no keys.
const KEY_FILE_LIMIT: u64 = 1 << 20;

/// What to authenticate with.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// Key files in their order.
    pub identities: Vec<Identity>,
    /// Of the agent's keys only those of the identities.
    pub identities_only: bool,
    pub passphrase: Option<Passphrase>,
}

/// A private key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub file: PathBuf,
    /// Named by the user: that it is missing is worth saying.
    pub explicit: bool,
}

/// Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(String);

impl Passphrase {
    pub fn new(passphrase: impl Into<String>) -> Self {
        Self(passphrase.into())
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// Tries everything, in order.
pub(super) async fn authenticate(session: &Session, wire: &mut Wire, hop: &Hop) -> Result<(), SshError> {
    let mut attempts = Attempts { session, hop, tried: Vec::new() };
    let keys: Vec<Key> = hop.credentials.identities.iter().map(Key::read).collect();
    let held = attempts.with_agent(wire, &keys).await?;
    let Some(held) = held else { return Ok(()) };
    for key in keys {
        if key.public().is_some_and(|public| held.iter().any(|blob| blob == public.blob())) {
            continue;
        }
        if attempts.with_file(wire, &key).await? {
            return Ok(());
        }
    }
    Err(attempts.exhausted(wire).await)
}

struct Attempts<'a> {
    session: &'a Session,
    hop: &'a Hop,
    /// What was tried and what became of it.
    tried: Vec<String>,
}

impl Attempts<'_> {
    /// `None`: authenticated. Else the keys of the agent that were tried.
    async fn with_agent(&mut self, wire: &mut Wire, keys: &[Key]) -> Result<Option<Vec<Vec<u8>>>, SshError> {
        let credentials = &self.hop.credentials;
        let Some(socket) = &credentials.agent else {
            return Ok(Some(Vec::new()));
        };
        let (mut agent, identities) = match open_agent(self.session, socket).await {
            Ok(opened) => opened,
            Err(problem) => {
                self.tried.push(format!("agent {}: {problem}", socket.display()));
                return Ok(Some(Vec::new()));
            }
        };
        let offered = in_order(identities, keys, credentials.identities_only);
        if offered.is_empty() {
            self.tried.push("agent: holds none of the keys".to_owned());
        }
        let mut held = Vec::new();
        for identity in offered {
            held.push(identity.blob().to_vec());
            let name = format!("agent key {}", describe(&identity));
            let (returned, outcome) = ask_agent(agent, wire, &self.hop.user, identity).await?;
            agent = returned;
            match outcome {
                Ok(()) => return Ok(None),
                Err(error) => self.failed(wire, &name, &error)?,
            }
        }
        Ok(Some(held))
    }

    async fn with_file(&mut self, wire: &mut Wire, key: &Key) -> Result<bool, SshError> {
        let name = key.file.display();
        let private = match &key.content {
            Ok(Content { private: Some(private), .. }) => private,
            Ok(Content { private: None, .. }) => {
                self.tried.push(format!("{name}: is a public key, and the agent does not hold its private key"));
                return Ok(false);
            }
            Err(problem) => {
                if key.explicit || problem != MISSING {
                    self.tried.push(format!("{name}: {problem}"));
                }
                return Ok(false);
            }
        };
        let passphrase = self.hop.credentials.passphrase.as_ref();
        if private.encrypted && passphrase.is_none() {
            self.tried.push(format!(
                "{name}: is protected by a passphrase (spec.ssh.passphraseFile or passphraseEnv can give it, or load the key into the agent)"
            ));
            return Ok(false);
        }
        // Never without a passphrase: OpenSSL would ask for one on the terminal.
        let passphrase = if private.encrypted { passphrase.map_or("", |passphrase| &passphrase.0) } else { "" };
        let (session, user) = (self.session, &self.hop.user);
        let attempt = complete(wire, || session.userauth_pubkey_memory(user, None, &private.pem, Some(passphrase)));
        match attempt.await {
            Ok(()) => Ok(true),
            Err(error) => {
                self.failed(wire, &name.to_string(), &error)?;
                Ok(false)
            }
        }
    }

    /// Notes a refusal; an error if the server ended the conversation.
    fn failed(&mut self, wire: &Wire, name: &str, error: &ssh2::Error) -> Result<(), SshError> {
        let refused = matches!(error.code(), ssh2::ErrorCode::Session(AUTHENTICATION_FAILED));
        let ended = wire.has_ended() || super::ends_session(error) || error.message() == NO_ANSWER;
        if ended && !refused {
            self.tried.push(format!(
                "at {name} the server closed the connection (too many keys for its MaxAuthTries, perhaps)"
            ));
            return Err(self.error());
        }
        self.tried.push(format!("{name}: {}", if refused { "refused" } else { error.message() }));
        Ok(())
    }

    async fn exhausted(mut self, wire: &mut Wire) -> SshError {
        if self.tried.is_empty() {
            self.tried.push("there is no agent (SSH_AUTH_SOCK) and no key file".to_owned());
        }
        let (session, user) = (self.session, &self.hop.user);
        let methods = complete(wire, || session.auth_methods(user).map(str::to_owned)).await;
        if let Ok(methods) = methods
            && !methods.split(',').any(|method| method == "publickey")
        {
            self.tried.push(format!("the server takes {methods} only, not public keys"));
        }
        self.error()
    }

    fn error(&mut self) -> SshError {
        SshError::Authentication {
            host: self.hop.host.clone(),
            user: self.hop.user.clone(),
            attempts: std::mem::take(&mut self.tried),
        }
    }
}

const AUTHENTICATION_FAILED: i32 = -18;
/// What libssh2 says, under the code of a key that cannot sign, when the server hangs up instead of answering.
const NO_ANSWER: &str = "Waiting for USERAUTH response";
const MISSING: &str = "does not exist";

/// libssh2 talks to the agent with blocking calls that know no timeout (a key may wait for the user to confirm). A thread of its own
/// rather than the runtime's pool, because the runtime waits for that at shutdown; whoever waits for us has a timeout.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("ssh-agent".to_owned())
        .spawn(move || {
            let _ = done.send(call());
        })
        .map_err(|error| error.to_string())?;
    result.await.map_err(|_| "the agent's thread failed".to_owned())
}

async fn open_agent(session: &Session, socket: &Path) -> Result<(Agent, Vec<ssh2::PublicKey>), String> {
    let mut agent = session.agent().map_err(|error| error.message().to_owned())?;
    agent.set_identity_path(socket).map_err(|error| error.message().to_owned())?;
    blocking(move || {
        agent.connect()?;
        agent.list_identities()?;
        let identities = agent.identities()?;
        Ok((agent, identities))
    })
    .await?
    .map_err(|error: ssh2::Error| error.message().to_owned())
}

async fn ask_agent(
    mut agent: Agent,
    wire: &mut Wire,
    user: &str,
    identity: ssh2::PublicKey,
) -> Result<(Agent, Result<(), ssh2::Error>), SshError> {
    let mut identity = identity;
    loop {
        let user = user.to_owned();
        let step = blocking(move || {
            let outcome = agent.userauth(&user, &identity);
            (agent, identity, outcome)
        });
        let outcome;
        (agent, identity, outcome) = step.await.map_err(SshError::SessionLost)?;
        match outcome {
            Err(error) if super::would_block(&error) => {}
            outcome => return Ok((agent, outcome)),
        }
        if let Err(error) = more_input(wire).await {
            return Ok((agent, Err(error)));
        }
    }
}

/// The agent's keys that are configured, in the order of the configuration, then the others.
fn in_order(mut held: Vec<ssh2::PublicKey>, keys: &[Key], identities_only: bool) -> Vec<ssh2::PublicKey> {
    let mut offered = Vec::new();
    for public in keys.iter().filter_map(Key::public) {
        if let Some(position) = held.iter().position(|key| key.blob() == public.blob()) {
            offered.push(held.remove(position));
        }
    }
    if !identities_only {
        offered.append(&mut held);
    }
    offered
}

fn describe(key: &ssh2::PublicKey) -> String {
    match HostKey::from_blob(key.blob()) {
        Some(public) if key.comment().is_empty() => public.to_string(),
        Some(public) => format!("{public} ({})", key.comment()),
        None => key.comment().to_owned(),
    }
}

/// A key file as it was found.
struct Key {
    file: PathBuf,
    explicit: bool,
    content: Result<Content, String>,
}

struct Content {
    private: Option<Private>,
    /// From the file itself or the `.pub` file beside it.
    public: Option<HostKey>,
}

struct Private {
    pem: String,
    encrypted: bool,
}

impl Key {
    fn read(identity: &Identity) -> Self {
        let Identity { file, explicit } = identity.clone();
        let content = read_key(&file);
        Self { file, explicit, content }
    }

    fn public(&self) -> Option<&HostKey> {
        self.content.as_ref().ok()?.public.as_ref()
    }
}

fn read_key(file: &Path) -> Result<Content, String> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".pub");
    let beside = read_small(Path::new(&beside)).ok().and_then(|text| HostKey::parse(&text).ok());
    let text = match read_small(file) {
        Ok(text) => text,
        // `IdentityFile key` with only `key.pub` there: the agent has the rest.
        Err(_) if beside.is_some() => return Ok(Content { private: None, public: beside }),
        Err(problem) => return Err(problem),
    };
    if let Ok(public) = HostKey::parse(&text) {
        return Ok(Content { private: None, public: Some(public) });
    }
    check_permissions(file)?;
    let (encrypted, public) = examine(&text)?;
    Ok(Content { private: Some(Private { pem: text, encrypted }), public: public.or(beside) })
}

fn read_small(file: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(file).map_err(|error| explain(&error))?;
    if !metadata.is_file() || metadata.len() > KEY_FILE_LIMIT {
        return Err("is not a key".to_owned());
    }
    std::fs::read_to_string(file).map_err(|error| explain(&error))
}

fn explain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => MISSING.to_owned(),
        std::io::ErrorKind::InvalidData => "is not a key".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// OpenSSH ignores keys that others can read; what works with `ssh` and what works here should be the same.
fn check_permissions(file: &Path) -> Result<(), String> {
    let metadata = std::fs::metadata(file).map_err(|error| explain(&error))?;
    let mode = metadata.permissions().mode() & 0o777;
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    if own && mode & 0o077 != 0 {
        return Err(format!("is open to others (mode {mode:04o}): `chmod 600 {}`", file.display()));
    }
    Ok(())
}

/// Whether a private key is encrypted, and its public key where the format tells.
fn examine(pem: &str) -> Result<(bool, Option<HostKey>), String> {
    const OPENSSH: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
    if let Some((_, rest)) = pem.split_once(OPENSSH) {
        let body: String = rest.split("-----END").next().unwrap_or_default().split_whitespace().collect();
        let body = STANDARD.decode(body).map_err(|_| "is damaged".to_owned())?;
        return examine_openssh(&body).ok_or_else(|| "is damaged".to_owned());
    }
    if pem.contains("-----BEGIN ") && pem.contains("PRIVATE KEY-----") {
        let encrypted = pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || pem.contains("Proc-Type: 4,ENCRYPTED");
        return Ok((encrypted, None));
    }
    Err("is not a private key that is understood".to_owned())
}

/// The head of the format is in the clear: magic, cipher, key derivation and its options, number of keys, public key.
fn examine_openssh(body: &[u8]) -> Option<(bool, Option<HostKey>)> {
    let rest = body.strip_prefix(b"openssh-key-v1\0")?;
    let (cipher, rest) = ssh_string(rest)?;
    let (_derivation, rest) = ssh_string(rest)?;
    let (_options, rest) = ssh_string(rest)?;
    let (_count, rest) = rest.split_first_chunk::<4>()?;
    let (public, _) = ssh_string(rest)?;
    Some((cipher != b"none", HostKey::from_blob(public)))
}

fn ssh_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}
