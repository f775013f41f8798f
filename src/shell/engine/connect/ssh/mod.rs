//! `ssh://`: one authenticated session a server, over which every request is a stream to the daemon's socket.
//!
//! ```text
//! SshDialer ── dial ──► Mux ── open ──► ChannelStream ┐
//!                        │                            │ pipes
//!                        └─ queue ──► Owner (one task: session, channels, wire) ──► TCP, or a stream of the hop before
//! ```
//!
//! No shell and no program runs on the far side, except where its sshd forbids the forwarding of sockets: there `docker system dial-stdio`
//! carries the streams, and [`Dialer::note`] says so.
//!
//! A session that dies takes its streams with it as errors, never as ends of streams: what became of a request in flight is unknown, and
//! nobody here tries it again. The next dial makes a new session.

mod auth;
mod channel;
mod config;
mod error;
pub mod known_hosts;
mod mux;
mod owner;
mod session;
mod stream;
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub use auth::{Credentials, Identity, Passphrase};
pub use channel::ChannelStream;
pub use config::{Environment, HostConfig, Target};
pub use error::{HostKeyError, HostKeyProblem, SshError};
pub use mux::{Destination, Mux, OpenError, Timing};
pub use session::{Hop, Trust, establish};

use self::error::Looked;
use self::known_hosts::{HostKey, HostName, KnownHosts};
use super::{BoxedStream, DialError, Dialer, Ends};
use crate::core::api::SshSpec;
use crate::core::observed::{AddressOf, OwnAddress};
use crate::shell::engine::EngineErrorKind;

/// Where Docker listens unless the endpoint says otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Hosts on the way, the last one included.
const HOP_LIMIT: usize = 8;
/// Larger known_hosts files are refused.
const KNOWN_HOSTS_LIMIT: u64 = 16 << 20;
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(15);

/// A client that is dropped and made again, as between a look and a change, finds its session.
const KEPT_UNUSED: Duration = Duration::from_secs(60);
/// Every dialer of this process, and when it was last asked for.
static DIALERS: std::sync::Mutex<Vec<(Arc<SshDialer>, std::time::Instant)>> = std::sync::Mutex::new(Vec::new());

/// An `ssh://` endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct SshEndpoint {
    pub target: Target,
    /// The daemon's socket on the server.
    pub socket: Option<String>,
    pub settings: Option<SshSpec>,
}

/// Bounds on waiting.
#[derive(Debug, Clone, Copy)]
pub struct SshTimeouts {
    /// Everything from the name lookup to the authenticated session, over all hops.
    pub connect: Duration,
    /// One stream.
    pub open: Duration,
    pub timing: Timing,
}

impl Default for SshTimeouts {
    fn default() -> Self {
        // Below the bound that callers put on a dial, so that they see which stage it was.
        Self { connect: Duration::from_secs(9), open: Duration::from_secs(8), timing: Timing::default() }
    }
}

/// Opens streams to the daemon over one session, which it makes when needed and again when it has died.
pub struct SshDialer {
    endpoint: SshEndpoint,
    environment: Environment,
    timeouts: SshTimeouts,
    link: Mutex<Link>,
    /// The server forbids forwarding; found out anew by each session.
    by_command: AtomicBool,
    ends: Ends,
}

/// The session and what became of attempts to make one.
#[derive(Default)]
struct Link {
    mux: Option<Mux>,
    setback: Option<Setback>,
}

/// After failures the next attempt waits, and callers get the last error meanwhile.
struct Setback {
    error: DialError,
    failures: u32,
    until: Instant,
}

impl SshDialer {
    pub fn new(endpoint: SshEndpoint) -> Self {
        Self::with(endpoint, Environment::of_process(), SshTimeouts::default())
    }

    /// The dialer that this process has for the endpoint: whoever asks, and whenever, there is one connection a server. One that nobody
    /// has had a use for in a while is forgotten.
    pub fn shared(endpoint: SshEndpoint) -> Arc<Self> {
        let mut dialers = DIALERS.lock().unwrap_or_else(PoisonError::into_inner);
        let now = std::time::Instant::now();
        dialers.retain(|(dialer, asked)| Arc::strong_count(dialer) > 1 || now.duration_since(*asked) < KEPT_UNUSED);
        if let Some((dialer, asked)) = dialers.iter_mut().find(|(dialer, _)| dialer.endpoint == endpoint) {
            *asked = now;
            return Arc::clone(dialer);
        }
        let dialer = Arc::new(Self::new(endpoint));
        dialers.push((Arc::clone(&dialer), now));
        dialer
    }

    /// What the dialer of the endpoint has to say, if this process has one.
    pub fn note_of(endpoint: &SshEndpoint) -> Option<String> {
        let dialers = DIALERS.lock().unwrap_or_else(PoisonError::into_inner);
        dialers.iter().find(|(dialer, _)| dialer.endpoint == *endpoint)?.0.note()
    }

    pub fn with(endpoint: SshEndpoint, environment: Environment, timeouts: SshTimeouts) -> Self {
        Self {
            endpoint,
            environment,
            timeouts,
            link: Mutex::default(),
            by_command: AtomicBool::new(false),
            ends: Ends::default(),
        }
    }

    fn socket(&self) -> &str {
        self.endpoint.socket.as_deref().unwrap_or(DEFAULT_SOCKET)
    }

    /// The live session, or a new one. Callers that come meanwhile wait for the same.
    pub async fn session(&self) -> Result<Mux, DialError> {
        let mut link = self.link.lock().await;
        if let Some(mux) = link.mux.as_ref().filter(|mux| mux.is_alive()) {
            return Ok(mux.clone());
        }
        if let Some(setback) = link.setback.as_ref().filter(|setback| Instant::now() < setback.until) {
            return Err(setback.error.clone());
        }
        self.by_command.store(false, Ordering::Relaxed);
        let limit = self.timeouts.connect;
        let connected = timeout(limit, self.connect())
            .await
            .unwrap_or_else(|_| Err(SshError::TimedOut { stage: format!("connecting to {}", self.endpoint()), limit }));
        match connected {
            Ok(mux) => {
                *link = Link { mux: Some(mux.clone()), setback: None };
                Ok(mux)
            }
            Err(error) => {
                let failures = link.setback.as_ref().map_or(0, |setback| setback.failures);
                let error = DialError::from(error);
                let until = Instant::now() + delay(failures);
                link.mux = None;
                link.setback = Some(Setback { error: error.clone(), failures: failures.saturating_add(1), until });
                Err(error)
            }
        }
    }

    /// Goes through every hop.
    async fn connect(&self) -> Result<Mux, SshError> {
        let hops = self.hops().await?;
        let mut mux: Option<Mux> = None;
        let jumps = hops.len() > 1;
        for hop in hops {
            let stream: BoxedStream = match &mux {
                None => {
                    let stream = stream::connect(&hop.address, hop.port).await?;
                    self.ends.keep(ends(Ends::of(stream.tcp()), jumps));
                    Box::new(stream)
                }
                Some(before) => {
                    self.ends.keep(self.ends.kept().into_iter().chain(named(&hop.address)).collect());
                    let destination = Destination::Port { host: hop.address.clone(), port: hop.port };
                    let opened = before.open(destination).await.map_err(|error| SshError::Connect {
                        address: format!("{}:{}", hop.address, hop.port),
                        problem: format!("the jump host says: {error}"),
                    })?;
                    // The session before lives as long as this stream does.
                    Box::new(opened)
                }
            };
            mux = Some(session::establish(stream, &hop, self.timeouts.timing).await?);
        }
        mux.ok_or_else(|| SshError::Configuration("no host to connect to".to_owned()))
    }

    /// The hosts on the way, the server last.
    async fn hops(&self) -> Result<Vec<Hop>, SshError> {
        let settings = self.endpoint.settings.as_ref();
        let mut config = config::host_config(&self.endpoint.target, &self.environment).await?;
        let mut way = vec![self.hop(&self.endpoint.target, &config, settings)?];
        // The nearest jump host may have a jump host of its own.
        while !config.jumps.is_empty() {
            for target in std::mem::take(&mut config.jumps).iter().rev() {
                if way.len() == HOP_LIMIT {
                    return Err(SshError::Configuration(format!(
                        "ProxyJump leads over more than {HOP_LIMIT} hosts: {}",
                        way.iter().map(|hop| hop.host.as_str()).collect::<Vec<_>>().join(", ")
                    )));
                }
                config = config::host_config(target, &self.environment).await?;
                way.push(self.hop(target, &config, None)?);
            }
        }
        way.reverse();
        Ok(way)
    }

    fn hop(&self, target: &Target, config: &HostConfig, settings: Option<&SshSpec>) -> Result<Hop, SshError> {
        if !config.ignored.is_empty() {
            tracing::warn!(
                host = target.host,
                "the ssh configuration sets what is not supported and has no effect: {}",
                config.ignored.join(", ")
            );
        }
        Ok(Hop {
            host: target.host.clone(),
            address: config.host_name.clone(),
            port: config.port,
            user: config.user.clone(),
            trust: self.trust(config, settings)?,
            credentials: self.credentials(config, settings)?,
        })
    }

    fn trust(&self, config: &HostConfig, settings: Option<&SshSpec>) -> Result<Trust, SshError> {
        if let Some(pinned) = settings.and_then(|settings| settings.host_key.as_deref()) {
            let key = HostKey::parse(pinned)
                .map_err(|problem| SshError::Configuration(format!("spec.ssh.hostKey: {problem}")))?;
            return Ok(Trust::Pinned(key));
        }
        let files = match settings.and_then(|settings| settings.known_hosts.as_deref()) {
            Some(file) => vec![config::expand_home(file, &self.environment)],
            None => config.user_known_hosts.iter().chain(&config.global_known_hosts).cloned().collect(),
        };
        let mut hosts = KnownHosts::default();
        let mut looked = Vec::new();
        for file in &files {
            let name = file.display().to_string();
            match read_known_hosts(file) {
                Ok(content) => {
                    hosts.add_file(&name, &content);
                    looked.push((name, true));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => looked.push((name, false)),
                Err(error) => return Err(SshError::Configuration(format!("{name} cannot be read: {error}"))),
            }
        }
        for bad in hosts.bad_lines() {
            tracing::warn!("{}: {}; the line is skipped", bad.place, bad.problem);
        }
        let name = match &config.host_key_alias {
            Some(alias) => HostName::alias(alias),
            None => HostName::new(&config.host_name, config.port),
        };
        let looked = Looked { name: name.to_string(), alias: config.host_key_alias.is_some(), files: looked };
        Ok(Trust::KnownHosts { hosts, name, looked })
    }

    fn credentials(&self, config: &HostConfig, settings: Option<&SshSpec>) -> Result<Credentials, SshError> {
        let declared = settings.and_then(|settings| settings.identity_file.as_deref());
        let (identities, identities_only) = match declared {
            Some(file) => {
                let file = config::expand_home(file, &self.environment);
                (vec![Identity { file, explicit: true }], true)
            }
            None => (config.identities.clone(), config.identities_only),
        };
        let passphrase = settings.map_or(Ok(None), |settings| self.passphrase(settings))?;
        Ok(Credentials { agent: config.agent.clone(), identities, identities_only, passphrase })
    }

    fn passphrase(&self, settings: &SshSpec) -> Result<Option<Passphrase>, SshError> {
        if let Some(file) = &settings.passphrase_file {
            let path = config::expand_home(file, &self.environment);
            let text = std::fs::read_to_string(&path)
                .map_err(|error| SshError::Configuration(format!("spec.ssh.passphraseFile {file}: {error}")))?;
            return Ok(Some(Passphrase::new(text.trim_end_matches(['\r', '\n']))));
        }
        match &settings.passphrase_env {
            Some(name) => std::env::var(name).map(|text| Some(Passphrase::new(text))).map_err(|_| {
                SshError::Configuration(format!("spec.ssh.passphraseEnv: the variable {name} is not set"))
            }),
            None => Ok(None),
        }
    }

    /// One stream over this session.
    async fn open(&self, mux: &Mux) -> Result<ChannelStream, SshError> {
        if self.by_command.load(Ordering::Relaxed) {
            return self.open_command(mux, self.command()?).await;
        }
        match self.open_one(mux, Destination::Socket(self.socket().to_owned())).await {
            Ok(stream) => Ok(stream),
            Err(OpenError::Refused(problem)) => self.fall_back(mux, &problem).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn open_one(&self, mux: &Mux, destination: Destination) -> Result<ChannelStream, OpenError> {
        let what = destination.to_string();
        match timeout(self.timeouts.open, mux.open(destination)).await {
            Ok(result) => result,
            Err(_) => {
                // A session in which a stream cannot be opened in this time is of no use to anybody.
                mux.kill();
                Err(OpenError::SessionLost(format!(
                    "the server did not open a stream to {what} in {:?}",
                    self.timeouts.open
                )))
            }
        }
    }

    /// One more process on the far side, when there may be one more.
    async fn open_command(&self, mux: &Mux, command: String) -> Result<ChannelStream, SshError> {
        let opening = mux.open_when_allowed(Destination::Command(command.clone()));
        match timeout(self.timeouts.open, opening).await {
            Ok(result) => Ok(result?),
            // Not the session's fault: a dead one is noticed by its owner.
            Err(_) => Err(SshError::Daemon(format!(
                "{} did not start another `{command}` in {:?}: as many as its sshd allows are in use (MaxSessions), or it does not answer",
                self.endpoint.target.host, self.timeouts.open
            ))),
        }
    }

    /// A stream that speaks SFTP.
    pub async fn sftp(&self) -> Result<ChannelStream, DialError> {
        let mux = self.session().await?;
        let opening = mux.open_when_allowed(Destination::Subsystem("sftp"));
        let opened = timeout(self.timeouts.open, opening).await;
        let opened = opened.unwrap_or_else(|_| Err(OpenError::Refused("there was no answer in time".to_owned())));
        opened.map_err(|error| match error {
            OpenError::Refused(problem) => DialError {
                kind: EngineErrorKind::Unreachable,
                message: format!("{} offers no SFTP: {problem}", self.endpoint.target.host),
                hint: Some(
                    "its sshd_config needs `Subsystem sftp internal-sftp`, and MaxSessions above what is in use"
                        .to_owned(),
                ),
            },
            error => SshError::from(error).into(),
        })
    }

    /// sshd gives the same answer for a missing socket, a denied one and forbidden forwarding. Docker's own relay, if it is there, tells
    /// them apart.
    async fn fall_back(&self, mux: &Mux, refusal: &str) -> Result<ChannelStream, SshError> {
        let command = self.command()?;
        match self.probe(mux, &command).await? {
            Ok(()) => {
                // Several dials may have found out at once.
                if !self.by_command.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        host = self.endpoint.target.host,
                        "sshd forbids the forwarding of sockets; every stream takes a process of `{command}` there"
                    );
                }
                self.open_command(mux, command).await
            }
            Err(said) => Err(self.explain_refusal(refusal, &command, &said)),
        }
    }

    /// Whether the daemon answers over the command; else what the command said.
    async fn probe(&self, mux: &Mux, command: &str) -> Result<Result<(), String>, SshError> {
        let mut stream =
            match timeout(self.timeouts.open, mux.open_when_allowed(Destination::Command(command.to_owned())))
                .await
                .unwrap_or_else(|_| Err(OpenError::Refused("no more sessions (MaxSessions)".to_owned())))
            {
                Ok(stream) => stream,
                Err(OpenError::Refused(problem)) => return Ok(Err(problem)),
                Err(error) => return Err(error.into()),
            };
        let exchange = async {
            stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n").await?;
            let mut head = [0; 7];
            stream.read_exact(&mut head).await?;
            Ok::<_, std::io::Error>(head == *b"HTTP/1.")
        };
        match timeout(self.timeouts.open, exchange).await {
            Ok(Ok(true)) => Ok(Ok(())),
            Ok(Ok(false)) => Ok(Err("something that is not Docker answered".to_owned())),
            Ok(Err(error)) if !mux.is_alive() => Err(SshError::SessionLost(error.to_string())),
            Ok(Err(_)) => Ok(Err(stream.stderr())),
            Err(_) => Ok(Err("no answer".to_owned())),
        }
    }

    fn explain_refusal(&self, refusal: &str, command: &str, said: &str) -> SshError {
        let (socket, host) = (self.socket(), &self.endpoint.target.host);
        let said_lower = said.to_lowercase();
        if said_lower.contains("permission denied") {
            return SshError::DaemonDenied(format!("{host} denies access to {socket}: {}", one_line(said)));
        }
        if said_lower.contains("is the docker daemon running") || said_lower.contains("no such file") {
            return SshError::Daemon(format!("Docker does not answer at {socket} on {host}: {}", one_line(said)));
        }
        let said = if said.is_empty() { "nothing".to_owned() } else { one_line(said) };
        SshError::Daemon(format!(
            "{host} refuses a stream to {socket} ({refusal}): there is no such socket, or the user may not open it, or sshd forbids the \
             forwarding of sockets; `{command}` says: {said}"
        ))
    }

    fn command(&self) -> Result<String, SshError> {
        let Some(socket) = self.endpoint.socket.as_deref().filter(|socket| *socket != DEFAULT_SOCKET) else {
            return Ok("docker system dial-stdio".to_owned());
        };
        // sshd hands commands to the user's shell.
        if socket.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_')) {
            Ok(format!("docker --host unix://{socket} system dial-stdio"))
        } else {
            Err(SshError::Daemon(format!(
                "{} refuses a stream to {socket}, and the path has characters that cannot be passed to `docker system dial-stdio`",
                self.endpoint.target.host
            )))
        }
    }
}

#[async_trait]
impl Dialer for SshDialer {
    async fn dial(&self) -> Result<BoxedStream, DialError> {
        let mux = self.session().await?;
        match self.open(&mux).await {
            // Nothing has been asked over this stream yet: a session found dead here may be replaced.
            Err(SshError::SessionLost(_)) => {
                let mux = self.session().await?;
                Ok(Box::new(self.open(&mux).await?))
            }
            result => Ok(Box::new(result?)),
        }
    }

    fn addresses(&self) -> Vec<OwnAddress> {
        self.ends.kept()
    }

    fn endpoint(&self) -> String {
        let Target { user, host, port } = &self.endpoint.target;
        let user = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        format!("ssh://{user}{host}{port}{}", self.endpoint.socket.as_deref().unwrap_or_default())
    }

    fn note(&self) -> Option<String> {
        self.by_command.load(Ordering::Relaxed).then(|| {
            "sshd forbids the forwarding of sockets: reached through `docker system dial-stdio`, one process a connection".to_owned()
        })
    }
}

/// Behind a jump host neither end of our connection is one that the server sees: it sees the jump host, whose address it may know by another
/// one than we do.
fn ends(ends: Vec<OwnAddress>, jumps: bool) -> Vec<OwnAddress> {
    if !jumps {
        return ends;
    }
    let jump_host = ends.into_iter().filter(|end| end.of == AddressOf::Server);
    jump_host.map(|end| OwnAddress { of: AddressOf::Client, ..end }).collect()
}

/// What the jump host connects to; a name means what it means there, and nothing is known of it here.
fn named(host: &str) -> Option<OwnAddress> {
    OwnAddress::new(host.trim_matches(['[', ']']).parse().ok()?, AddressOf::Server)
}

/// How long to leave a server alone after so many failures before this one.
fn delay(failures: u32) -> Duration {
    FIRST_DELAY.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_DELAY)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn read_known_hosts(file: &std::path::Path) -> std::io::Result<Vec<u8>> {
    let size = std::fs::metadata(file)?.len();
    if size > KNOWN_HOSTS_LIMIT {
        return Err(std::io::Error::other(format!("{size} bytes are too many")));
    }
    std::fs::read(file)
}

const WOULD_BLOCK: i32 = -37;
const DISCONNECTED: i32 = -13;
/// libssh2's errors of a single channel, from CHANNEL_OUTOFORDER to CHANNEL_EOF_SENT.
const CHANNEL_ERRORS: std::ops::RangeInclusive<i32> = -27..=-20;

fn session_code(error: &ssh2::Error) -> Option<i32> {
    match error.code() {
        ssh2::ErrorCode::Session(code) => Some(code),
        ssh2::ErrorCode::SFTP(_) => None,
    }
}

fn would_block(error: &ssh2::Error) -> bool {
    session_code(error) == Some(WOULD_BLOCK)
}

fn is_channel_error(error: &ssh2::Error) -> bool {
    session_code(error).is_some_and(|code| CHANNEL_ERRORS.contains(&code))
}

/// Whether the connection is gone: socket send, disconnect, socket receive.
fn ends_session(error: &ssh2::Error) -> bool {
    matches!(session_code(error), Some(-7 | DISCONNECTED | -43))
}

fn disconnected() -> ssh2::Error {
    ssh2::Error::new(ssh2::ErrorCode::Session(DISCONNECTED), "the server closed the connection")
}
