//! The bytes between libssh2 and the network.
//!
//! libssh2 gets one end of a socketpair, we hold the other and move bytes to and from the network ourselves. So input reaches libssh2 only
//! between two passes over the channels. With libssh2 on the raw socket any call reads packets for every channel, and one that arrives for
//! a channel already visited waits for the next traffic: stalls of many seconds.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::shell::engine::connect::BoxedStream;

/// Read from the network at once.
const INPUT_BUFFER: usize = 64 << 10;
/// Handed to libssh2 between two passes; must fit the socketpair.
const FEED_LIMIT: usize = 128 << 10;
/// Kernel buffers of the socketpair.
const PAIR_BUFFER: usize = 208 << 10;
/// Output kept for a slow network beyond which the channels are not asked for more.
const BACKLOG_LIMIT: usize = 512 << 10;

pub(super) struct Wire {
    network: BoxedStream,
    local: UnixStream,
    input: Box<[u8]>,
    input_start: usize,
    input_end: usize,
    output: Vec<u8>,
    output_start: usize,
    ended: bool,
    last_heard: Instant,
}

impl Wire {
    /// The wire and the end of the socketpair that libssh2 gets.
    pub(super) fn new(network: BoxedStream) -> io::Result<(Self, UnixStream)> {
        let (local, theirs) = UnixStream::pair()?;
        for end in [&local, &theirs] {
            end.set_nonblocking(true)?;
            let socket = socket2::SockRef::from(end);
            socket.set_send_buffer_size(PAIR_BUFFER)?;
            socket.set_recv_buffer_size(PAIR_BUFFER)?;
        }
        let wire = Self {
            network,
            local,
            input: vec![0; INPUT_BUFFER].into(),
            input_start: 0,
            input_end: 0,
            output: Vec::new(),
            output_start: 0,
            ended: false,
            last_heard: Instant::now(),
        };
        Ok((wire, theirs))
    }

    /// When the peer last sent anything.
    pub(super) fn last_heard(&self) -> Instant {
        self.last_heard
    }

    /// Whether the peer closed its side.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the network takes less than the channels give.
    pub(super) fn is_congested(&self) -> bool {
        self.output.len() - self.output_start > BACKLOG_LIMIT
    }

    /// Moves everything that can move without waiting and registers for the rest. Returns the number of bytes that libssh2 was fed;
    /// the end of the input counts as one, so that libssh2 gets to see it.
    pub(super) fn poll_shuttle(&mut self, cx: &mut Context<'_>) -> io::Result<usize> {
        self.collect()?;
        self.poll_send(cx)?;
        self.poll_feed(cx)
    }

    /// Takes what libssh2 has written. After each of these libssh2 finds room for whole packets, so none is ever half sent.
    pub(super) fn collect(&mut self) -> io::Result<()> {
        let mut chunk = [0; 32 << 10];
        loop {
            match self.local.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => self.output.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.output_start < self.output.len() {
            match Pin::new(&mut self.network).poll_write(cx, &self.output[self.output_start..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => self.output_start += count,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if self.output_start == self.output.len() {
            self.output.clear();
            // A burst must not stay allocated for the life of the connection.
            self.output.shrink_to(INPUT_BUFFER);
            self.output_start = 0;
            if let Poll::Ready(Err(error)) = Pin::new(&mut self.network).poll_flush(cx) {
                return Err(error);
            }
        } else if self.output_start > BACKLOG_LIMIT {
            self.output.drain(..self.output_start);
            self.output_start = 0;
        }
        Ok(())
    }

    fn poll_feed(&mut self, cx: &mut Context<'_>) -> io::Result<usize> {
        let mut fed = 0;
        while fed < FEED_LIMIT {
            if self.input_start == self.input_end {
                match self.poll_fill(cx)? {
                    Fill::Filled => {}
                    Fill::Ended => return Ok(fed + 1),
                    Fill::Nothing => return Ok(fed),
                }
            }
            match self.local.write(&self.input[self.input_start..self.input_end]) {
                Ok(count) => {
                    self.input_start += count;
                    fed += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(fed)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> io::Result<Fill> {
        if self.ended {
            return Ok(Fill::Nothing);
        }
        let mut buffer = ReadBuf::new(&mut self.input);
        match Pin::new(&mut self.network).poll_read(cx, &mut buffer) {
            Poll::Pending => Ok(Fill::Nothing),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                self.ended = true;
                self.local.shutdown(std::net::Shutdown::Write)?;
                Ok(Fill::Ended)
            }
            Poll::Ready(Ok(())) => {
                self.input_start = 0;
                self.input_end = buffer.filled().len();
                self.last_heard = Instant::now();
                Ok(Fill::Filled)
            }
        }
    }
}

impl Drop for Wire {
    /// Closing alone is not enough: a process that is just being started has a copy of every descriptor until it is well under way, and with
    /// that libssh2 would wait for a peer, give up, and leak the session.
    fn drop(&mut self) {
        let _ = self.local.shutdown(std::net::Shutdown::Both);
    }
}

enum Fill {
    Filled,
    Ended,
    Nothing,
}

/// Repeats a call to libssh2 until it no longer wants to wait, moving bytes in between.
pub(super) async fn complete<T>(
    wire: &mut Wire,
    mut call: impl FnMut() -> Result<T, ssh2::Error>,
) -> Result<T, ssh2::Error> {
    loop {
        match call() {
            Err(error) if super::would_block(&error) => {}
            result => {
                // What the call wrote still has to leave.
                let _ = std::future::poll_fn(|cx| Poll::Ready(wire.poll_shuttle(cx))).await;
                return result;
            }
        }
        more_input(wire).await?;
    }
}

/// Waits until libssh2 has something new to read.
pub(super) async fn more_input(wire: &mut Wire) -> Result<(), ssh2::Error> {
    std::future::poll_fn(|cx| match wire.poll_shuttle(cx) {
        Ok(0) if wire.has_ended() => Poll::Ready(Err(super::disconnected())),
        Ok(0) => Poll::Pending,
        Ok(_) => Poll::Ready(Ok(())),
        Err(_) => Poll::Ready(Err(super::disconnected())),
    })
    .await
}
