//! One multiplexed stream: the channel in libssh2 on one side, the caller's end on the other.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::Instant;

use super::mux::Shared;

/// Bytes in flight between the caller and the owner, each way.
const PIPE: usize = 64 << 10;
/// Payload of one SSH packet: what a single call moves.
pub(super) const PACKET: usize = 32_000;
/// Given to libssh2 in one pass by one channel: must fit the socketpair.
const SEND_LIMIT: usize = 64 << 10;
/// Kept of what a remote command says on stderr.
const STDERR_LIMIT: usize = 4 << 10;

/// The caller's end of a channel. Dropping it closes the channel.
pub struct ChannelStream {
    pipe: DuplexStream,
    line: Arc<Line>,
    shared: Arc<Shared>,
}

/// What both ends of a channel know.
#[derive(Default)]
struct Line {
    /// The caller has dropped its end.
    abandoned: AtomicBool,
    stderr: Mutex<Vec<u8>>,
}

impl ChannelStream {
    /// What the remote command has said on stderr so far, cut at a few kilobytes. Always empty for a forwarded socket.
    pub fn stderr(&self) -> String {
        let stderr = self.line.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&stderr).trim().to_owned()
    }

    fn death(&self) -> Option<io::Error> {
        self.shared.death().map(|reason| io::Error::new(io::ErrorKind::ConnectionReset, reason))
    }
}

impl Drop for ChannelStream {
    fn drop(&mut self) {
        self.line.abandoned.store(true, Ordering::Release);
        self.shared.wake_owner();
    }
}

impl AsyncRead for ChannelStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.pipe).poll_read(cx, buffer));
        let at_end = result.is_ok() && buffer.filled().len() == before && buffer.remaining() > 0;
        if at_end && let Some(death) = self.death() {
            // The end of a session is not the end of the stream: what follows is unknown.
            return Poll::Ready(Err(death));
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for ChannelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.pipe).poll_write(cx, data));
        Poll::Ready(result.map_err(|error| self.death().unwrap_or(error)))
    }

    /// The owner sends as soon as it can. libssh2's own flush is never called: it throws unread *input* away.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// How far a channel has come in one pass.
pub(super) enum Progress {
    /// Something moved: another pass may move more.
    Moved,
    Idle,
    /// Closed on both sides: the channel may be dropped.
    Closed,
}

/// The owner's end of a channel.
pub(super) struct Channel {
    ssh: ssh2::Channel,
    /// `None` once the caller's end is gone: the channel is being closed.
    pipe: Option<DuplexStream>,
    closing_since: Option<Instant>,
    line: Arc<Line>,
    has_stderr: bool,
    /// Taken from the caller, not yet by libssh2.
    outgoing: Vec<u8>,
    caller_ended: bool,
    end_sent: bool,
    /// Taken from libssh2, not yet by the caller.
    incoming: Vec<u8>,
    peer_ended: bool,
}

impl Channel {
    /// Both ends of a channel that is open.
    pub(super) fn open(ssh: ssh2::Channel, has_stderr: bool, shared: Arc<Shared>) -> (Self, ChannelStream) {
        let (ours, callers) = tokio::io::duplex(PIPE);
        let line = Arc::new(Line::default());
        let stream = ChannelStream { pipe: callers, line: line.clone(), shared };
        (Self::with_pipe(ssh, Some(ours), line, has_stderr), stream)
    }

    /// A channel that nobody wants: all that is left is to close it.
    pub(super) fn unwanted(ssh: ssh2::Channel) -> Self {
        Self::with_pipe(ssh, None, Arc::default(), false)
    }

    fn with_pipe(ssh: ssh2::Channel, pipe: Option<DuplexStream>, line: Arc<Line>, has_stderr: bool) -> Self {
        Self {
            ssh,
            pipe,
            closing_since: None,
            line,
            has_stderr,
            outgoing: Vec::new(),
            caller_ended: false,
            end_sent: false,
            incoming: Vec::new(),
            peer_ended: false,
        }
    }

    /// Since when the peer has owed us an answer to our closing.
    pub(super) fn closing_since(&self) -> Option<Instant> {
        self.closing_since
    }

    /// Moves what can be moved now. An error is the session's: errors of this channel alone end only this channel.
    pub(super) fn drive(
        &mut self,
        session: &ssh2::Session,
        congested: bool,
        scratch: &mut [u8],
        cx: &mut Context<'_>,
    ) -> io::Result<Progress> {
        if self.pipe.is_some() && self.line.abandoned.load(Ordering::Acquire) {
            self.pipe = None;
        }
        if self.pipe.is_none() {
            return self.close();
        }
        let mut moved = false;
        let outcome = self
            .send(congested, scratch, cx, &mut moved)
            .and_then(|()| self.receive_stderr(scratch, &mut moved))
            .and_then(|()| self.receive(scratch, cx, &mut moved));
        match outcome {
            Ok(()) => {}
            Err(error) if concerns_channel(session) => {
                tracing::debug!(%error, "an SSH channel failed");
                self.pipe = None;
                moved = true;
            }
            Err(error) => return Err(error),
        }
        Ok(if moved { Progress::Moved } else { Progress::Idle })
    }

    /// libssh2 leaks a channel that is dropped before `close` has succeeded.
    fn close(&mut self) -> io::Result<Progress> {
        self.closing_since.get_or_insert_with(Instant::now);
        match self.ssh.close() {
            Ok(()) => Ok(Progress::Closed),
            Err(error) if super::would_block(&error) => Ok(Progress::Idle),
            Err(error) => Err(error.into()),
        }
    }

    /// Caller to libssh2.
    fn send(&mut self, congested: bool, scratch: &mut [u8], cx: &mut Context<'_>, moved: &mut bool) -> io::Result<()> {
        let mut sent = 0;
        while !congested && sent < SEND_LIMIT {
            if self.outgoing.is_empty() {
                if self.caller_ended {
                    return self.send_end(moved);
                }
                if !self.poll_take(scratch, cx) {
                    return Ok(());
                }
                *moved = true;
                continue;
            }
            match self.ssh.write(&self.outgoing) {
                Ok(count) => {
                    self.outgoing.drain(..count);
                    sent += count;
                    *moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes the next bytes, or the end, from the caller. False: there is nothing yet.
    fn poll_take(&mut self, scratch: &mut [u8], cx: &mut Context<'_>) -> bool {
        let Some(pipe) = self.pipe.as_mut() else { return false };
        let mut buffer = ReadBuf::new(scratch);
        match Pin::new(pipe).poll_read(cx, &mut buffer) {
            Poll::Pending => {
                // Idle channels hold no buffer.
                self.outgoing = Vec::new();
                false
            }
            Poll::Ready(result) => {
                self.outgoing.extend_from_slice(buffer.filled());
                self.caller_ended = result.is_err() || self.outgoing.is_empty();
                true
            }
        }
    }

    fn send_end(&mut self, moved: &mut bool) -> io::Result<()> {
        if self.end_sent {
            return Ok(());
        }
        match self.ssh.send_eof() {
            Ok(()) => {
                self.end_sent = true;
                *moved = true;
                Ok(())
            }
            Err(error) if super::would_block(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// libssh2 to caller. A caller that does not read fills its pipe, then the SSH window: the peer waits, the others don't.
    fn receive(&mut self, scratch: &mut [u8], cx: &mut Context<'_>, moved: &mut bool) -> io::Result<()> {
        loop {
            if !self.incoming.is_empty() {
                let Some(pipe) = self.pipe.as_mut() else { return Ok(()) };
                match Pin::new(pipe).poll_write(cx, &self.incoming) {
                    Poll::Ready(Ok(count)) => {
                        self.incoming.drain(..count);
                        *moved = true;
                        continue;
                    }
                    // The caller's end is gone; `abandoned` says so in the next pass.
                    Poll::Ready(Err(_)) => {
                        self.pipe = None;
                        *moved = true;
                        return Ok(());
                    }
                    Poll::Pending => return Ok(()),
                }
            }
            if self.peer_ended {
                return Ok(());
            }
            match self.ssh.read(scratch) {
                Ok(0) if self.ssh.eof() => {
                    self.peer_ended = true;
                    *moved = true;
                    self.incoming = Vec::new();
                    if let Some(pipe) = self.pipe.as_mut() {
                        let _ = Pin::new(pipe).poll_shutdown(cx);
                    }
                }
                Ok(0) => {
                    // The end is there, behind stderr that is still to be read.
                    *moved |= self.has_stderr;
                    return Ok(());
                }
                Ok(count) => {
                    self.incoming.extend_from_slice(&scratch[..count]);
                    *moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.incoming = Vec::new();
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn receive_stderr(&mut self, scratch: &mut [u8], moved: &mut bool) -> io::Result<()> {
        if !self.has_stderr || self.peer_ended {
            return Ok(());
        }
        loop {
            match self.ssh.stderr().read(scratch) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    *moved = true;
                    let mut kept = self.line.stderr.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = STDERR_LIMIT.saturating_sub(kept.len()).min(count);
                    kept.extend_from_slice(&scratch[..room]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether libssh2's last error is one of a single channel, which the session survives.
fn concerns_channel(session: &ssh2::Session) -> bool {
    ssh2::Error::last_session_error(session).is_some_and(|error| super::is_channel_error(&error))
}
