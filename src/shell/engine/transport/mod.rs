//! HTTP over whatever a [`Dialer`] opens: a pool of connections to one daemon, the version of its API, and a count of what was asked.

mod answer;
mod connection;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thiserror::Error;

pub(super) use self::answer::{Answer, BodyError};
use self::connection::{Connector, forsaken, last_words};
use super::connect::{DialError, Dialer};
use super::fence::{self, Fence};
use crate::core::observed::ApiVersion;

/// The newest API that the calls were written for. A newer daemon is spoken to in this one.
const NEWEST: ApiVersion = ApiVersion { major: 1, minor: 54 };
/// Docker 19.03. Older ones lack fields that decisions rest on.
pub(super) const OLDEST: ApiVersion = ApiVersion { major: 1, minor: 40 };
/// More connections than this are not kept; as many as are needed are opened. A look at a server takes three.
const IDLE_CONNECTIONS: usize = 3;
/// Bytes that are read at once. A buffer that adapts to the lists grows to some hundred thousand bytes and stays as large for as long as the
/// connection is kept, which times a thousand servers is half a gigabyte.
const READ_BUFFER: usize = 8 << 10;

/// How many requests of each kind were sent. Shared by everything that was made with the same options.
#[derive(Debug, Default)]
pub struct RequestCounter {
    reads: AtomicU64,
    writes: AtomicU64,
}

impl RequestCounter {
    /// `GET` and `HEAD`.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Everything else: requests that can change something.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    fn is_read(method: &Method) -> bool {
        matches!(*method, Method::GET | Method::HEAD)
    }

    fn count(&self, method: &Method) {
        let counter = if Self::is_read(method) { &self.reads } else { &self.writes };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum TransportError {
    #[error("the daemon speaks version {0} of the API; the oldest supported is {OLDEST} (Docker 19.03)")]
    TooOld(ApiVersion),
    #[error(transparent)]
    Client(#[from] hyper_util::client::legacy::Error),
    /// What the stream had to say when it broke.
    #[error("the connection broke")]
    Stream(#[source] DialError),
    #[error(transparent)]
    Fenced(DialError),
    #[error("the connection was closed just when the request was to be sent")]
    Forsaken,
    #[error(transparent)]
    Request(#[from] http::Error),
}

impl TransportError {
    /// What the dialer said, if no connection came about, or what its stream says of itself.
    pub(super) fn dial_error(&self) -> Option<&DialError> {
        if let Self::Fenced(error) = self {
            return Some(error);
        }
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            if let Some(dial_error) = error.downcast_ref() {
                return Some(dial_error);
            }
            // An IO error is not the source of its own content.
            let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            if let Some(dial_error) = inner.and_then(|inner| inner.downcast_ref()) {
                return Some(dial_error);
            }
            source = error.source();
        }
        None
    }
}

fn pool(dialer: Arc<dyn Dialer>) -> Client<Connector, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(dialer.idle_timeout())
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .http1_read_buf_exact_size(READ_BUFFER)
        .build(Connector(dialer))
}

/// A pool of connections to one daemon.
pub(super) struct Transport {
    client: Mutex<Client<Connector, Full<Bytes>>>,
    dialer: Arc<dyn Dialer>,
    /// Until when something may be changed.
    fence: Option<Fence>,
    counter: Arc<RequestCounter>,
    /// `major << 16 | minor` of the daemon's newest API; 0 until the first answer.
    version: AtomicU32,
    /// By how many seconds the daemon's clock is ahead of ours.
    clock_skew: AtomicI64,
    /// Podman answers, as Docker would.
    podman: AtomicBool,
}

impl Transport {
    /// Over a dialer whose streams end with the fence.
    pub(super) fn new(dialer: Arc<dyn Dialer>, counter: Arc<RequestCounter>, fence: Option<Fence>) -> Self {
        Self {
            fence,
            client: Mutex::new(pool(Arc::clone(&dialer))),
            dialer,
            counter,
            version: AtomicU32::new(0),
            clock_skew: AtomicI64::new(0),
            podman: AtomicBool::new(false),
        }
    }

    /// The same daemon, and what is known of it, with connections of its own.
    pub(super) fn beside(&self) -> Self {
        self.over(Arc::clone(&self.dialer), self.fence.clone())
    }

    /// The same daemon, and what is known of it, over another dialer to it.
    pub(super) fn over(&self, dialer: Arc<dyn Dialer>, fence: Option<Fence>) -> Self {
        let beside = Self::new(dialer, Arc::clone(&self.counter), fence);
        beside.version.store(self.version.load(Ordering::Relaxed), Ordering::Relaxed);
        beside.clock_skew.store(self.clock_skew.load(Ordering::Relaxed), Ordering::Relaxed);
        beside.podman.store(self.podman.load(Ordering::Relaxed), Ordering::Relaxed);
        beside
    }

    /// Keeps none of the connections that there are: what is sent from here on goes over new ones.
    pub(super) fn renew(&self) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = pool(Arc::clone(&self.dialer));
    }

    fn client(&self) -> Client<Connector, Full<Bytes>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The daemon's newest API version, once it has answered anything.
    pub(super) fn version(&self) -> Option<ApiVersion> {
        match self.version.load(Ordering::Relaxed) {
            0 => None,
            bits => Some(ApiVersion { major: (bits >> 16) as u16, minor: bits as u16 }),
        }
    }

    /// The version in which it is spoken to.
    pub(super) fn spoken(&self) -> Option<ApiVersion> {
        self.version().map(|version| version.min(NEWEST))
    }

    /// Whether the answers so far were Podman's.
    pub(super) fn is_podman(&self) -> bool {
        self.podman.load(Ordering::Relaxed)
    }

    /// The time by the daemon's clock, as well as its answers tell.
    pub(super) fn daemon_time(&self) -> Duration {
        let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match self.clock_skew.load(Ordering::Relaxed) {
            // The header has whole seconds: this is the same clock.
            -1..=1 => ours,
            skew => Duration::from_secs(ours.as_secs().saturating_add_signed(skew)),
        }
    }

    /// Sends a request whose path has no version yet.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, TransportError> {
        let spoken = self.spoken();
        let answer = self.send_in(spoken, request.clone()).await?;
        // Another version of the daemon is there since: it refuses what it does not speak, has done nothing, and says what it speaks.
        if spoken.is_some() && answer.status() == StatusCode::BAD_REQUEST && self.spoken() != spoken {
            return self.send_in(self.spoken(), request).await;
        }
        Ok(answer)
    }

    /// Sends a request in the daemon's own version of the API, however new: for what is passed on without being understood.
    pub(super) async fn send_as_is(&self, request: Request<Full<Bytes>>) -> Result<Answer, TransportError> {
        self.send_in(self.version(), request).await
    }

    async fn send_in(
        &self,
        version: Option<ApiVersion>,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, TransportError> {
        let (mut parts, body) = request.into_parts();
        if let Some(version) = version {
            parts.uri = versioned(&parts.uri, version)?;
        }
        self.admit(&mut parts)?;
        self.counter.count(&parts.method);
        let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
        let started = Instant::now();
        let answer = self.exchange(Request::from_parts(parts, body)).await;
        let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        tracing::debug!(%method, path, status, elapsed = ?started.elapsed(), "engine request");
        let answer = answer?;
        self.learn(answer.headers())?;
        Ok(answer)
    }

    /// A request of a connection outside of the pool: its path with the version, and counted.
    pub(super) fn addressed<B>(&self, request: Request<B>) -> Result<Request<B>, TransportError> {
        let (mut parts, body) = request.into_parts();
        if let Some(version) = self.spoken() {
            parts.uri = versioned(&parts.uri, version)?;
        }
        self.admit(&mut parts)?;
        self.counter.count(&parts.method);
        Ok(Request::from_parts(parts, body))
    }

    /// Lets nothing pass that changes something once the fence has closed, and marks what passes.
    fn admit(&self, parts: &mut Parts) -> Result<(), TransportError> {
        let Some(fence) = self.fence.as_ref().filter(|_| !RequestCounter::is_read(&parts.method)) else {
            return Ok(());
        };
        if !fence.admits() {
            return Err(TransportError::Fenced(Fence::error()));
        }
        parts.headers.insert(fence::HEADER, HeaderValue::from(fence.token()));
        Ok(())
    }

    /// Resolves once nothing may be sent any more.
    async fn closed(&self) {
        match &self.fence {
            Some(fence) => fence.closed().await,
            None => std::future::pending().await,
        }
    }

    async fn exchange(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, TransportError> {
        let mut connection = capture_connection(&mut request);
        let client = self.client();
        let answer = tokio::select! {
            answer = client.request(request) => answer.map_err(TransportError::Client),
            () = forsaken(&mut connection) => Err(TransportError::Forsaken),
            () = self.closed() => Err(TransportError::Fenced(Fence::error())),
        };
        answer.map(Answer::new).map_err(|error| match last_words(&connection) {
            Some(said) if error.dial_error().is_none() => TransportError::Stream(said),
            _ => error,
        })
    }

    fn learn(&self, headers: &HeaderMap) -> Result<(), TransportError> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(date) = header("date").and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) {
            let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            self.clock_skew.store(date.timestamp().as_second().saturating_sub_unsigned(ours), Ordering::Relaxed);
        }
        if header("libpod-api-version").is_some() {
            self.podman.store(true, Ordering::Relaxed);
        }
        if let Some(version) = header("api-version").and_then(ApiVersion::parse) {
            self.version.store(u32::from(version.major) << 16 | u32::from(version.minor), Ordering::Relaxed);
            if version < OLDEST {
                return Err(TransportError::TooOld(version));
            }
        }
        Ok(())
    }
}

fn versioned(uri: &Uri, version: ApiVersion) -> Result<Uri, http::Error> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("/v{version}{path}").try_into()?);
    Ok(Uri::from_parts(parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_compare_by_number() {
        let version = |text| ApiVersion::parse(text).unwrap();
        assert!(version("1.9") < version("1.40"));
        assert!(version("1.41") >= OLDEST);
        assert_eq!(version("1.60").min(NEWEST).to_string(), "1.54");
        assert_eq!(ApiVersion::parse("one"), None);
    }

    #[test]
    fn the_version_goes_in_front_of_the_path() {
        let uri = Uri::from_static("http://docker/containers/json?all=1");
        let versioned = versioned(&uri, ApiVersion { major: 1, minor: 41 }).unwrap();
        assert_eq!(versioned, "http://docker/v1.41/containers/json?all=1");
    }
}
