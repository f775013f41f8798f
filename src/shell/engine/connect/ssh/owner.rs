//! The one task that touches libssh2: it owns the session, every channel and the wire.
//!
//! A poll moves bytes between network and libssh2, makes one pass over all channels, and sleeps only after a full pass in which nothing
//! moved. Having one owner matters: dropping a channel frees it inside libssh2 without the session's lock, and a packet half sent may
//! only be finished by the call that began it.

use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use super::channel::{Channel, PACKET, Progress};
use super::mux::{Destination, OpenError, OpenRequest, Shared, Timing};
use super::wire::Wire;
use super::{is_channel_error, would_block};

/// Streams at once, closing ones included; further requests stay in their queue.
const STREAM_LIMIT: usize = 512;
/// Passes before other tasks get their turn.
const PASSES_PER_POLL: usize = 64;

// Fields drop in this order, and it matters: once the wire is gone libssh2 finds its socket closed and frees channels and session
// at once. With the wire alive it would wait for the peer to confirm, give up, and leak all of it.
pub(super) struct Owner {
    wire: Wire,
    channels: Vec<Option<Channel>>,
    opening: Opening,
    /// libssh2 reads its socket only inside of channel calls; an idle session needs a channel to read from.
    /// `None` where the server allows no session channels (`MaxSessions 0`).
    pump: Option<ssh2::Channel>,
    session: ssh2::Session,
    requests: mpsc::Receiver<OpenRequest>,
    /// All handles are gone: ends with the last stream.
    closing: bool,
    shared: Arc<Shared>,
    timing: Timing,
    next_keepalive: Instant,
    keepalive_seconds: u32,
    /// Since when the peer has owed us an answer.
    waiting_since: Option<Instant>,
    probed_at: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
    scratch: Box<[u8]>,
}

/// libssh2 keeps the state of an opening in the session: one at a time, and each is finished even if its caller has left.
enum Opening {
    None,
    Channel(OpenRequest),
    /// The channel is open, its command or subsystem is being started.
    Process(OpenRequest, ssh2::Channel),
}

/// Has the server start what the channel is for.
fn start(channel: &mut ssh2::Channel, destination: &Destination) -> Result<(), ssh2::Error> {
    match destination {
        Destination::Command(command) => channel.exec(command),
        Destination::Subsystem(name) => channel.subsystem(name),
        Destination::Socket(_) | Destination::Port { .. } => Ok(()),
    }
}

impl Drop for Owner {
    /// Runs before any field is dropped, when the task is aborted too: no stream sees its end without the reason.
    fn drop(&mut self) {
        self.shared.set_death(|| "the SSH session was closed".to_owned());
        self.shared.open_streams.store(0, Ordering::Relaxed);
        self.shared.stream_closed.notify_waiters();
    }
}

impl Owner {
    pub(super) fn new(
        session: ssh2::Session,
        pump: Option<ssh2::Channel>,
        wire: Wire,
        requests: mpsc::Receiver<OpenRequest>,
        shared: Arc<Shared>,
        timing: Timing,
    ) -> Self {
        // A keepalive that wants a reply makes libssh2 keep every reply for ever.
        let keepalive_seconds = u32::try_from(timing.keepalive.as_secs().max(1)).unwrap_or(u32::MAX);
        session.set_keepalive(false, keepalive_seconds);
        let next_keepalive = Instant::now() + timing.keepalive;
        Self {
            wire,
            channels: Vec::new(),
            opening: Opening::None,
            pump,
            session,
            requests,
            closing: false,
            shared,
            timing,
            next_keepalive,
            keepalive_seconds,
            waiting_since: None,
            probed_at: None,
            alarm: Box::pin(tokio::time::sleep_until(next_keepalive)),
            scratch: vec![0; PACKET].into(),
        }
    }

    pub(super) async fn run(mut self) {
        match poll_fn(|cx| self.poll(cx)).await {
            Ok(()) => tracing::debug!("SSH session no longer needed"),
            Err(error) => {
                self.shared.set_death(|| format!("the SSH session ended: {error}"));
                tracing::debug!(%error, "SSH session ended");
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.register_owner(cx.waker());
        for _ in 0..PASSES_PER_POLL {
            let fed = self.wire.poll_shuttle(cx)?;
            let moved = self.pass(cx)?;
            if self.closing && self.is_unused() {
                return Poll::Ready(Ok(()));
            }
            if !moved && fed == 0 {
                return self.settle(cx);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// A full pass has seen every packet there is: what it wrote leaves, and we sleep.
    fn settle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.wire.poll_shuttle(cx)? > 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.wire.has_ended() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the server closed the connection",
            )));
        }
        let mut next = self.next_keepalive;
        if let Some(due) = self.answer_due() {
            next = next.min(due);
        }
        if self.alarm.deadline() != next {
            self.alarm.as_mut().reset(next);
        }
        if self.alarm.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// One look at everything. True if something moved.
    fn pass(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        self.shared.passes.fetch_add(1, Ordering::Relaxed);
        let mut moved = self.pump()?;
        moved |= self.drive_channels(cx)?;
        moved |= self.open(cx)?;
        self.watch_peer()?;
        self.keep_alive()?;
        Ok(moved)
    }

    fn pump(&mut self) -> io::Result<bool> {
        let Some(pump) = self.pump.as_mut() else { return Ok(false) };
        match pump.read(&mut self.scratch) {
            Ok(0) if pump.eof() => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server closed the session channel"))
            }
            Ok(count) => Ok(count > 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn drive_channels(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut moved = false;
        for slot in &mut self.channels {
            let Some(channel) = slot else { continue };
            match channel.drive(&self.session, self.wire.is_congested(), &mut self.scratch, cx)? {
                Progress::Idle if channel.closing_since().is_none() => continue,
                Progress::Idle => {}
                Progress::Moved => moved = true,
                Progress::Closed => {
                    moved = true;
                    *slot = None;
                    self.shared.open_streams.fetch_sub(1, Ordering::Relaxed);
                    self.shared.stream_closed.notify_waiters();
                }
            }
            // Only output: input waits for the next pass, so that every channel gets to see it.
            self.wire.collect()?;
        }
        Ok(moved)
    }

    /// Goes on with what is being opened, and with the next in the queue.
    fn open(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut moved = false;
        loop {
            match std::mem::replace(&mut self.opening, Opening::None) {
                Opening::None => match self.next_request(cx) {
                    Some(request) => self.opening = Opening::Channel(request),
                    None => return Ok(moved),
                },
                Opening::Channel(request) => match self.open_channel(&request.destination) {
                    Ok(channel) => {
                        moved = true;
                        match request.destination {
                            Destination::Command(_) | Destination::Subsystem(_) => {
                                self.opening = Opening::Process(request, channel);
                            }
                            Destination::Socket(_) | Destination::Port { .. } => self.deliver(request, channel, false),
                        }
                    }
                    Err(error) if would_block(&error) => {
                        self.opening = Opening::Channel(request);
                        return Ok(moved);
                    }
                    Err(error) => {
                        moved = true;
                        self.refuse(request, error)?;
                    }
                },
                Opening::Process(request, mut channel) => match start(&mut channel, &request.destination) {
                    Ok(()) => {
                        moved = true;
                        self.shared.has_run.store(true, Ordering::Relaxed);
                        self.deliver(request, channel, true);
                    }
                    Err(error) if would_block(&error) => {
                        self.opening = Opening::Process(request, channel);
                        return Ok(moved);
                    }
                    Err(error) => {
                        moved = true;
                        self.adopt(Channel::unwanted(channel));
                        self.refuse(request, error)?;
                    }
                },
            }
        }
    }

    /// The next request whose caller still waits.
    fn next_request(&mut self, cx: &mut Context<'_>) -> Option<OpenRequest> {
        while self.shared.open_streams.load(Ordering::Relaxed) < STREAM_LIMIT {
            match self.requests.poll_recv(cx) {
                Poll::Ready(Some(request)) if request.reply.is_closed() => {}
                Poll::Ready(Some(request)) => return Some(request),
                Poll::Ready(None) => {
                    self.closing = true;
                    return None;
                }
                Poll::Pending => return None,
            }
        }
        None
    }

    fn open_channel(&self, destination: &Destination) -> Result<ssh2::Channel, ssh2::Error> {
        match destination {
            Destination::Socket(path) => self.session.channel_direct_streamlocal(path, None),
            Destination::Port { host, port } => self.session.channel_direct_tcpip(host, *port, None),
            Destination::Command(_) | Destination::Subsystem(_) => self.session.channel_session(),
        }
    }

    /// A caller who has left drops the stream right here, and the channel is closed in the next pass.
    fn deliver(&mut self, request: OpenRequest, channel: ssh2::Channel, has_stderr: bool) {
        let (channel, stream) = Channel::open(channel, has_stderr, self.shared.clone());
        self.adopt(channel);
        let _ = request.reply.send(Ok(stream));
    }

    fn adopt(&mut self, channel: Channel) {
        self.shared.open_streams.fetch_add(1, Ordering::Relaxed);
        match self.channels.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(channel),
            None => self.channels.push(Some(channel)),
        }
    }

    fn refuse(&mut self, request: OpenRequest, error: ssh2::Error) -> io::Result<()> {
        if is_channel_error(&error) {
            let _ = request.reply.send(Err(OpenError::Refused(error.message().to_owned())));
            return Ok(());
        }
        let error = io::Error::from(error);
        let _ = request.reply.send(Err(OpenError::SessionLost(format!("the SSH session ended: {error}"))));
        Err(error)
    }

    /// A peer that is stopped keeps its TCP connection alive; that it owes an answer and sends nothing gives it away.
    fn watch_peer(&mut self) -> io::Result<()> {
        let opening = (!matches!(self.opening, Opening::None)).then(Instant::now);
        // A peer heard from since is alive: it may hold a closing back until the daemon has read what is buffered for it.
        let heard = self.wire.last_heard();
        let closing = self.channels.iter().flatten().filter_map(Channel::closing_since).filter(|since| *since >= heard);
        match (opening.into_iter().chain(closing).min(), self.waiting_since) {
            (None, _) => self.waiting_since = None,
            (Some(since), None) => self.waiting_since = Some(since),
            (Some(_), Some(_)) => {}
        }
        let Some(silent_since) = self.silent_since() else { return Ok(()) };
        let now = Instant::now();
        if now >= silent_since + self.timing.answer {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer from the server for {:?}", self.timing.answer),
            ));
        }
        if now >= silent_since + self.timing.answer / 2 && self.probed_at.is_none_or(|at| at < silent_since) {
            self.probed_at = Some(now);
            return self.probe();
        }
        Ok(())
    }

    /// Since when the peer has been silent although it owes an answer.
    fn silent_since(&self) -> Option<Instant> {
        self.waiting_since.map(|since| since.max(self.wire.last_heard()))
    }

    /// When to look at the peer again.
    fn answer_due(&self) -> Option<Instant> {
        let silent_since = self.silent_since()?;
        let probed = self.probed_at.is_some_and(|at| at >= silent_since);
        Some(silent_since + if probed { self.timing.answer } else { self.timing.answer / 2 })
    }

    /// Asks for something that every living sshd answers. libssh2 keeps such an answer for ever, so only in doubt.
    fn probe(&mut self) -> io::Result<()> {
        self.session.set_keepalive(true, 1);
        let sent = self.session.keepalive_send();
        self.session.set_keepalive(false, self.keepalive_seconds);
        ignore_would_block(sent)
    }

    fn keep_alive(&mut self) -> io::Result<()> {
        if Instant::now() < self.next_keepalive {
            return Ok(());
        }
        self.next_keepalive = Instant::now() + self.timing.keepalive;
        ignore_would_block(self.session.keepalive_send())
    }

    fn is_unused(&self) -> bool {
        matches!(self.opening, Opening::None) && self.channels.iter().all(Option::is_none)
    }
}

fn ignore_would_block<T>(result: Result<T, ssh2::Error>) -> io::Result<()> {
    match result {
        Err(error) if !would_block(&error) => Err(error.into()),
        _ => Ok(()),
    }
}
