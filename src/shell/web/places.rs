//! Places for connections: so many at a time, and whoever does nothing with one gives it up when somebody else needs it.
//!
//! Without that, a few hundred connections that ask for nothing keep everybody else waiting until they time out, and again after that.
//! A connection is busy from a whole request until the last of the answer is on its way; only idle ones make room, and those that are still
//! sending.
//!
//! By hand, beyond hyper's timeouts and a semaphore: with these alone two tests in `tests/web/peers.rs` fail, for idle connections keep a request waiting
//! until their time is over, and again once they are opened anew.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

pub(super) struct Places {
    free: Arc<Semaphore>,
    idle: Arc<Mutex<Idle>>,
}

#[derive(Default)]
struct Idle {
    /// Numbers grow: the first has been idle for longest.
    connections: BTreeMap<u64, Arc<Notify>>,
    next: u64,
    /// Somebody waits for a place: the next to become idle is not to stay.
    wanted: bool,
}

/// Of one connection; free again when dropped.
pub(super) struct Place {
    connection: Arc<Connection>,
    _permit: OwnedSemaphorePermit,
}

struct Connection {
    idle: Arc<Mutex<Idle>>,
    close: Arc<Notify>,
    /// While it is idle.
    number: Mutex<Option<u64>>,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), idle: Arc::default() }
    }

    /// Waits for a place only where every other is busy.
    pub(super) async fn take(&self) -> Option<Place> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.make_room().await?,
        };
        let connection =
            Arc::new(Connection { idle: Arc::clone(&self.idle), close: Arc::default(), number: Mutex::default() });
        connection.rest();
        Some(Place { connection, _permit: permit })
    }

    async fn make_room(&self) -> Option<OwnedSemaphorePermit> {
        {
            let mut idle = locked(&self.idle);
            match idle.connections.pop_first() {
                Some((_, longest)) => longest.notify_one(),
                None => idle.wanted = true,
            }
        }
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        locked(&self.idle).wanted = false;
        permit
    }
}

impl Place {
    /// A request is coming: its body, which makes the connection busy once it is there.
    pub(super) fn arriving<B: HttpBody>(&self, body: B) -> Arriving<B> {
        let arriving = Arriving { body, connection: Arc::clone(&self.connection) };
        arriving.ended();
        arriving
    }

    /// It is there, or needed no more.
    pub(super) fn busy(&self) -> Busy {
        self.connection.work();
        Busy(Arc::clone(&self.connection))
    }

    /// Ends when somebody else needs the place.
    pub(super) async fn wanted(&self) {
        self.connection.close.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.work();
    }
}

impl Connection {
    fn rest(&self) {
        let mut idle = locked(&self.idle);
        if std::mem::take(&mut idle.wanted) {
            self.close.notify_one();
            return;
        }
        let number = idle.next;
        idle.next += 1;
        idle.connections.insert(number, Arc::clone(&self.close));
        *locked(&self.number) = Some(number);
    }

    fn work(&self) {
        let mut idle = locked(&self.idle);
        if let Some(number) = locked(&self.number).take() {
            idle.connections.remove(&number);
        }
    }
}

/// The body of a request.
pub(super) struct Arriving<B> {
    body: B,
    connection: Arc<Connection>,
}

impl<B: HttpBody> Arriving<B> {
    fn ended(&self) {
        if self.body.is_end_stream() {
            self.connection.work();
        }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Arriving<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => self.connection.work(),
            Poll::Ready(Some(_)) => self.ended(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request is being answered, until dropped.
pub(super) struct Busy(Arc<Connection>);

impl Busy {
    /// The body, which is busy for as long as there is something of it to send.
    pub(super) fn until_sent(self, body: Body) -> Sending {
        Sending { body, _busy: self }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.rest();
    }
}

pub(super) struct Sending {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
