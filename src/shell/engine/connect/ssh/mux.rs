//! The handle on a connection: opens streams, says whether the session lives.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::channel::ChannelStream;
use super::owner::Owner;
use super::wire::Wire;

/// Requests to open a stream that wait for the owner; further callers wait to put theirs.
const REQUEST_QUEUE: usize = 32;
/// Until the server is asked again for a session that it refused.
const NEXT_TRY: Duration = Duration::from_millis(50);

/// What a stream leads to on the far side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A socket file (`direct-streamlocal@openssh.com`).
    Socket(String),
    /// A TCP port (`direct-tcpip`), for the next hop.
    Port { host: String, port: u16 },
    /// Standard input and output of a command.
    Command(String),
    /// A subsystem of the server's, such as `sftp`.
    Subsystem(&'static str),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{path}"),
            Self::Port { host, port } => write!(f, "{host}:{port}"),
            Self::Command(command) => write!(f, "`{command}`"),
            Self::Subsystem(name) => write!(f, "the subsystem {name}"),
        }
    }
}

/// Why a stream was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The server said no to this stream; the session lives on.
    #[error("{0}")]
    Refused(String),
    /// The session is dead: a new one may do.
    #[error("{0}")]
    SessionLost(String),
}

/// How long the owner waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two keepalive messages.
    pub keepalive: Duration,
    /// A peer that owes an answer and sends nothing at all for so long is dead.
    pub answer: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { keepalive: Duration::from_secs(15), answer: Duration::from_secs(10) }
    }
}

/// One authenticated session whose streams any number of callers share. The session ends when the last handle and the last stream are
/// gone, when it breaks, or when it is [killed](Mux::kill).
#[derive(Debug, Clone)]
pub struct Mux {
    requests: mpsc::Sender<OpenRequest>,
    shared: Arc<Shared>,
    owner: AbortHandle,
}

pub(super) struct OpenRequest {
    pub(super) destination: Destination,
    pub(super) reply: oneshot::Sender<Result<ChannelStream, OpenError>>,
}

impl Mux {
    /// Starts the owner of an authenticated session.
    pub(super) fn spawn(session: ssh2::Session, pump: Option<ssh2::Channel>, wire: Wire, timing: Timing) -> Self {
        let (requests, queue) = mpsc::channel(REQUEST_QUEUE);
        let shared = Arc::new(Shared::default());
        let owner = Owner::new(session, pump, wire, queue, shared.clone(), timing);
        let owner = tokio::spawn(owner.run()).abort_handle();
        Self { requests, shared, owner }
    }

    /// Opens a stream. Dropping the future is fine at any point.
    pub async fn open(&self, destination: Destination) -> Result<ChannelStream, OpenError> {
        let (reply, answer) = oneshot::channel();
        let request = OpenRequest { destination, reply };
        self.requests.send(request).await.map_err(|_| self.lost())?;
        answer.await.unwrap_or_else(|_| Err(self.lost()))
    }

    /// Opens a stream; where the server refuses one more than it has granted before, once it does not. For ever, if need be. Sessions (commands) are limited
    /// by sshd's `MaxSessions`, 10 by default.
    pub async fn open_when_allowed(&self, destination: Destination) -> Result<ChannelStream, OpenError> {
        loop {
            // Before the attempt: what is closed meanwhile must not be missed.
            let mut closed = pin!(self.shared.stream_closed.notified());
            closed.as_mut().enable();
            match self.open(destination.clone()).await {
                Err(OpenError::Refused(_))
                    if self.open_streams() > 0 || self.shared.has_run.load(Ordering::Relaxed) =>
                {
                    // sshd counts a session until its process has ended, a little longer than the stream is open.
                    let _ = tokio::time::timeout(NEXT_TRY, closed).await;
                }
                result => return result,
            }
        }
    }

    fn lost(&self) -> OpenError {
        OpenError::SessionLost(self.shared.death().unwrap_or_else(|| "the SSH session is closed".to_owned()))
    }

    /// False once the session is dead.
    pub fn is_alive(&self) -> bool {
        !self.requests.is_closed()
    }

    /// Ends the session and every stream at once: a health check failed.
    pub fn kill(&self) {
        self.owner.abort();
    }

    /// Streams that are open or being closed.
    pub fn open_streams(&self) -> usize {
        self.shared.open_streams.load(Ordering::Relaxed)
    }

    /// Passes of the owner over its channels. An idle connection makes none but for the keepalive.
    pub fn passes(&self) -> u64 {
        self.shared.passes.load(Ordering::Relaxed)
    }
}

/// What the owner, the handles and the streams share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    owner: AtomicWaker,
    pub(super) open_streams: AtomicUsize,
    pub(super) passes: AtomicU64,
    /// The server has run a command before: that it refuses one means that there are too many.
    pub(super) has_run: AtomicBool,
    /// A stream was closed on both sides, or all of them died.
    pub(super) stream_closed: Notify,
    death: Mutex<Option<String>>,
}

impl Shared {
    /// Why the session ended, if it has.
    pub(super) fn death(&self) -> Option<String> {
        self.death.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first reason stays.
    pub(super) fn set_death(&self, reason: impl FnOnce() -> String) {
        self.death.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(reason);
    }

    pub(super) fn wake_owner(&self) {
        self.owner.wake();
    }

    pub(super) fn register_owner(&self, waker: &std::task::Waker) {
        self.owner.register(waker);
    }
}
