//! Until when this process may change a server that others may change as well.
//!
//! A daemon knows nothing of locks: what keeps two controllers apart is that each stops by itself, before another can begin. A [`Lease`] has a
//! deadline on a clock that also runs while the machine sleeps, and whoever keeps the lease moves it on. A [`Fence`] is one lock under that lease.
//! Nothing that changes a server is sent once the deadline has passed, and no connection outlives it: what lies in one that is closed cannot arrive
//! late. Between the last look at the clock and the system call are some instructions; a process that is stopped exactly there is not caught.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::EngineErrorKind;
use super::connect::{BoxedStream, DialError, Dialer};
use crate::core::observed::OwnAddress;

/// What has less time left than this is not begun.
const LEAST: Duration = Duration::from_millis(300);
/// Between two looks at the clock: timers stand still while the machine sleeps.
const LOOK: Duration = Duration::from_millis(100);
/// The token of the lock, on every request that changes something. Docker ignores it; a log of requests tells by it who has sent what.
pub(crate) const HEADER: &str = "x-landfall-fence";

/// Time since the machine was started, times of sleep included.
pub fn boot_time() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// What all locks of this process end with.
#[derive(Debug, Default)]
pub struct Lease {
    /// Milliseconds of [`boot_time`].
    deadline: AtomicU64,
    lost: AtomicBool,
}

impl Lease {
    /// It is good until then; never moved back.
    pub fn extend(&self, deadline: Duration) {
        self.deadline.fetch_max(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// For good.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::SeqCst);
    }

    /// `None`: it has ended.
    pub fn left(&self) -> Option<Duration> {
        if self.lost.load(Ordering::SeqCst) {
            return None;
        }
        let deadline = Duration::from_millis(self.deadline.load(Ordering::SeqCst));
        deadline.checked_sub(boot_time()).filter(|left| !left.is_zero())
    }
}

/// One lock. Clones are the same.
#[derive(Debug, Clone)]
pub struct Fence {
    lease: Arc<Lease>,
    /// Grows with every holder of the lock.
    token: i64,
    taken: Arc<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    is: AtomicBool,
    told: Notify,
}

impl Fence {
    pub fn new(lease: Arc<Lease>, token: i64) -> Self {
        Self { lease, token, taken: Arc::default() }
    }

    pub fn token(&self) -> i64 {
        self.token
    }

    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.taken, &other.taken)
    }

    /// The lock is another's, or nobody's: for good.
    pub fn revoke(&self) {
        self.taken.is.store(true, Ordering::SeqCst);
        self.taken.told.notify_waiters();
    }

    pub fn is_open(&self) -> bool {
        self.left().is_some()
    }

    fn left(&self) -> Option<Duration> {
        self.lease.left().filter(|_| !self.taken.is.load(Ordering::SeqCst))
    }

    /// Whether something may be begun now that changes the server.
    pub(crate) fn admits(&self) -> bool {
        self.left().is_some_and(|left| left > LEAST)
    }

    /// Resolves once nothing may be sent any more.
    pub async fn closed(&self) {
        while let Some(left) = self.left() {
            let told = self.taken.told.notified();
            if !self.is_open() {
                return;
            }
            let _ = tokio::time::timeout(left.min(LOOK), told).await;
        }
    }

    pub(crate) fn error() -> DialError {
        DialError {
            kind: EngineErrorKind::Unreachable,
            message: "this controller does not hold the server's lock any more, so it changes nothing there".to_owned(),
            hint: Some(
                "the controller that holds it goes on: `landfall get controllers --store …` shows which".to_owned(),
            ),
        }
    }
}

/// Opens streams that end with the fence.
pub(crate) struct FencedDialer {
    pub(crate) inner: Arc<dyn Dialer>,
    pub(crate) fence: Fence,
}

#[async_trait]
impl Dialer for FencedDialer {
    async fn dial(&self) -> Result<BoxedStream, DialError> {
        let fence = &self.fence;
        if !fence.admits() {
            return Err(Fence::error());
        }
        let inner = tokio::select! {
            inner = self.inner.dial_abrupt() => inner?,
            () = fence.closed() => return Err(Fence::error()),
        };
        let (fence, waiting) = (fence.clone(), fence.clone());
        let end = Box::pin(async move { waiting.closed().await });
        Ok(Box::new(FencedStream { inner, fence, end }))
    }

    fn endpoint(&self) -> String {
        self.inner.endpoint()
    }

    fn idle_timeout(&self) -> Duration {
        self.inner.idle_timeout()
    }

    fn addresses(&self) -> Vec<OwnAddress> {
        self.inner.addresses()
    }

    fn note(&self) -> Option<String> {
        self.inner.note()
    }
}

struct FencedStream {
    inner: BoxedStream,
    fence: Fence,
    end: BoxFuture<'static, ()>,
}

impl FencedStream {
    /// The clock is asked each time; the wait is what wakes a stream on which nothing happens.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.fence.is_open() && self.end.as_mut().poll(cx).is_pending() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, Fence::error()))
    }
}

impl AsyncRead for FencedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Err(error) = self.check(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for FencedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if let Err(error) = self.check(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.inner).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn fence(left: Duration) -> (Arc<Lease>, Fence) {
        let lease = Arc::new(Lease::default());
        lease.extend(boot_time() + left);
        (Arc::clone(&lease), Fence::new(lease, 7))
    }

    struct Pipe(std::sync::Mutex<Option<tokio::io::DuplexStream>>);

    #[async_trait]
    impl Dialer for Pipe {
        async fn dial(&self) -> Result<BoxedStream, DialError> {
            Ok(Box::new(self.0.lock().unwrap().take().unwrap()))
        }

        fn endpoint(&self) -> String {
            "unix:///docker.sock".to_owned()
        }
    }

    async fn dialled(fence: &Fence) -> (BoxedStream, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(64);
        let dialer = FencedDialer { inner: Arc::new(Pipe(Some(ours).into())), fence: fence.clone() };
        (dialer.dial().await.unwrap_or_else(|error| panic!("{error}")), theirs)
    }

    #[tokio::test]
    async fn a_stream_ends_at_the_deadline_also_while_nothing_happens_on_it() {
        let (_, fence) = fence(Duration::from_millis(450));
        let (mut stream, mut other) = dialled(&fence).await;
        stream.write_all(b"in time").await.unwrap();
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert!(!fence.is_open());
        assert!(stream.write_all(b"late").await.is_err());
        drop(stream);
        let mut seen = Vec::new();
        other.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, b"in time");
    }

    #[tokio::test]
    async fn a_lease_that_is_extended_keeps_what_is_open_and_one_that_is_lost_ends_it_at_once() {
        let (lease, fence) = fence(Duration::from_millis(400));
        let (mut stream, _other) = dialled(&fence).await;
        lease.extend(boot_time() + Duration::from_secs(60));
        assert!(tokio::time::timeout(Duration::from_millis(600), stream.read_u8()).await.is_err(), "it is open");
        // Never moved back.
        lease.extend(boot_time());
        assert!(fence.admits());
        lease.lose();
        assert!(stream.read_u8().await.is_err());
        lease.extend(boot_time() + Duration::from_secs(60));
        assert!(!fence.is_open(), "lost is lost");
    }

    #[tokio::test]
    async fn what_has_next_to_no_time_left_is_not_begun() {
        let (_, fence) = fence(Duration::from_millis(200));
        assert!(fence.is_open() && !fence.admits());
        let dialer = FencedDialer { inner: Arc::new(Pipe(None.into())), fence };
        assert!(dialer.dial().await.is_err());
    }

    #[tokio::test]
    async fn a_lock_that_is_taken_ends_its_streams_and_no_others() {
        let (lease, one) = fence(Duration::from_secs(60));
        let other = Fence::new(lease, 8);
        let (mut stream, _theirs) = dialled(&one).await;
        let waiting = tokio::spawn(async move { stream.read_u8().await.is_err() });
        one.revoke();
        assert!(waiting.await.unwrap());
        assert!(!one.admits() && other.admits());
    }
}
