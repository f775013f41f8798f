//! The dialer as hyper wants it, and what hyper does not tell about a connection that broke.
//!
//! A connection may break between being chosen for a request and being handed it. hyper then says that it was not ready, and drops what the
//! stream said of itself, such as that the daemon refuses our certificate. If the two meet exactly, the request lies in the queue of a
//! connection that is no more, and nobody ever answers it. So every connection remembers its last words, and that it ended.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Extensions, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{CaptureConnection, Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;

use crate::shell::engine::connect::{BoxedStream, DialError, Dialer};

/// A request whose connection has ended is answered within moments, or never.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Connector(pub(super) Arc<dyn Dialer>);

impl tower_service::Service<Uri> for Connector {
    type Response = PooledStream;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<PooledStream, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dialer = Arc::clone(&self.0);
        Box::pin(async move {
            let (ended, end) = watch::channel(());
            let memory = Memory { last_words: Arc::default(), end };
            Ok(PooledStream { io: TokioIo::new(dialer.dial().await?), memory, _ended: ended })
        })
    }
}

pub(super) struct PooledStream {
    io: TokioIo<BoxedStream>,
    memory: Memory,
    /// Dropped with the stream.
    _ended: watch::Sender<()>,
}

/// What remains of a connection.
#[derive(Debug, Clone)]
struct Memory {
    last_words: Arc<Mutex<Option<DialError>>>,
    end: watch::Receiver<()>,
}

impl Memory {
    fn of(connection: Option<&Connected>) -> Option<Self> {
        let mut extras = Extensions::new();
        connection?.get_extras(&mut extras);
        extras.remove()
    }

    fn listen<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && let Some(said) = error.get_ref().and_then(|inner| inner.downcast_ref::<DialError>())
        {
            *self.last_words.lock().unwrap_or_else(PoisonError::into_inner) = Some(said.clone());
        }
        result
    }
}

/// What the stream that the request was meant for said of itself when it broke.
pub(super) fn last_words(connection: &CaptureConnection) -> Option<DialError> {
    let memory = Memory::of(connection.connection_metadata().as_ref())?;
    memory.last_words.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Waits until the request cannot be answered any more: its connection has ended, and hyper has not moved it to another.
pub(super) async fn forsaken(connection: &mut CaptureConnection) {
    loop {
        let memory = Memory::of(connection.wait_for_connection_metadata().await.as_ref());
        let Some(Memory { last_words, mut end }) = memory else { return std::future::pending().await };
        // Nothing is ever sent: the wait ends with the sender.
        let _ = end.changed().await;
        tokio::time::sleep(GRACE).await;
        let now = Memory::of(connection.connection_metadata().as_ref());
        if now.is_some_and(|now| Arc::ptr_eq(&now.last_words, &last_words)) {
            return;
        }
    }
}

impl Connection for PooledStream {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.memory.clone())
    }
}

impl Read for PooledStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf).map(|result| self.memory.listen(result))
    }
}

impl Write for PooledStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf).map(|result| self.memory.listen(result))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx).map(|result| self.memory.listen(result))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;

    use http_body_util::Full;
    use hyper_util::client::legacy::Client;
    use hyper_util::client::legacy::connect::capture_connection;
    use hyper_util::rt::TokioExecutor;

    use super::*;
    use crate::shell::engine::EngineErrorKind;
    use crate::shell::engine::transport::Transport;

    /// Says after a moment why it is of no use, as a TLS daemon does that does not like the client's certificate.
    struct Refusing {
        polls: u32,
        moment: Duration,
    }

    impl tokio::io::AsyncRead for Refusing {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            self.polls += 1;
            if self.polls == 1 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let started = Instant::now();
            while started.elapsed() < self.moment {
                std::hint::spin_loop();
            }
            Poll::Ready(Err(std::io::Error::new(std::io::ErrorKind::ConnectionAborted, refusal())))
        }
    }

    impl tokio::io::AsyncWrite for Refusing {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
            Poll::Ready(Ok(data.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn refusal() -> DialError {
        DialError { kind: EngineErrorKind::PermissionDenied, message: "not you".to_owned(), hint: None }
    }

    struct RefusingDialer(AtomicU64);

    #[async_trait::async_trait]
    impl Dialer for RefusingDialer {
        async fn dial(&self) -> Result<BoxedStream, DialError> {
            let moment = Duration::from_nanos(self.0.fetch_add(1, Ordering::Relaxed) % 500 * 40);
            Ok(Box::new(Refusing { polls: 0, moment }))
        }

        fn endpoint(&self) -> String {
            "tcp://edge-1:2376".to_owned()
        }
    }

    /// The refusal comes before the request, or while it is handed over, or after it. hyper forgets the reason in the second case.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_stream_says_of_itself_is_never_lost_whenever_it_says_it() {
        let transport = Transport::new(Arc::new(RefusingDialer(AtomicU64::new(0))), Arc::default(), None);
        for _ in 0..5_000 {
            let request = http::Request::get("http://docker/_ping").body(Full::default()).unwrap();
            let error = transport.send(request).await.unwrap_err();
            let said = error.dial_error().unwrap_or_else(|| panic!("{error:?}"));
            assert_eq!(said.message, "not you");
        }
    }

    /// Gives streams that nobody answers on, and holds them to have ended.
    #[derive(Clone)]
    struct Forsaking(Arc<Mutex<Vec<tokio::io::DuplexStream>>>);

    impl tower_service::Service<Uri> for Forsaking {
        type Response = PooledStream;
        type Error = DialError;
        type Future = std::future::Ready<Result<PooledStream, DialError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Uri) -> Self::Future {
            let (ours, theirs) = tokio::io::duplex(64);
            self.0.lock().unwrap().push(theirs);
            let memory = Memory { last_words: Arc::default(), end: watch::channel(()).1 };
            let stream: BoxedStream = Box::new(ours);
            std::future::ready(Ok(PooledStream { io: TokioIo::new(stream), memory, _ended: watch::channel(()).0 }))
        }
    }

    /// That hyper forgets a request cannot be brought about at will; a stream that has ended without hyper seeing it is the same.
    #[tokio::test(start_paused = true)]
    async fn a_request_whose_connection_is_no_more_is_not_waited_for() {
        let client = Client::builder(TokioExecutor::new()).build(Forsaking(Arc::default()));
        let mut request = http::Request::get("http://docker/_ping").body(String::new()).unwrap();
        let mut captured = capture_connection(&mut request);
        let started = tokio::time::Instant::now();
        tokio::select! {
            answer = client.request(request) => panic!("{answer:?}"),
            () = forsaken(&mut captured) => {}
        }
        assert_eq!(started.elapsed().as_secs(), GRACE.as_secs());
    }
}
