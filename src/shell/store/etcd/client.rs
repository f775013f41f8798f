//! etcd over its JSON gateway, which every member serves on its client port: what the program speaks anyway, HTTP and JSON, in place of gRPC. The
//! crate for gRPC generates its messages with protoc, which a machine that builds Landfall from source would then need.
//!
//! Every exchange has a bound in time and size, and is tried at the next member where one does not answer. So what is sent has to bear being done
//! twice: changes are transactions that say of what they start.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, BodyStream, Full, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::address::EtcdAddress;
use super::wire::{
    Alive, Authenticated, Change, Compare, Event, Granted, Pair, Ranged, Refused, Streamed, Txned, Watched, encoded,
    end_of, txn,
};
use crate::shell::engine::connect::{BoxedStream, DialError, Dialer, TcpDialer, TlsDialer, TlsMaterial};

/// One member may take so long before the next is asked, and all of them together so long.
const ATTEMPT: Duration = Duration::from_millis(2500);
const TOTAL: Duration = Duration::from_secs(10);
/// Why a request was not sent, where nothing says more.
const CLOSED: &str = "the connection was closed before the request was sent";
/// Bytes of an answer. etcd takes values of 1.5 MB, and pages are asked for so that they stay far below.
const LARGEST: usize = 32 << 20;
/// Bytes of one message of a watch.
const LARGEST_MESSAGE: usize = 32 << 20;
/// Keys to a page: of small values, and of values that may be large.
const PAGE: usize = 500;
const LARGE_PAGE: usize = 16;
/// What is read in all at most.
const MOST_KEYS: usize = 200_000;
/// A watch that has said nothing for so long is begun anew: its connection may have died without a word.
const SILENCE: Duration = Duration::from_secs(30);

/// Why there is no answer, or none that helps.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EtcdError {
    /// No member answers, or none that has a leader. Of a change it is not known whether it was made.
    #[error("{0}")]
    Unavailable(String),
    #[error("user or password are wrong, or the user may not do this: {0}")]
    Denied(String),
    /// etcd takes no more until somebody makes room.
    #[error(
        "etcd's database is full (the alarm NOSPACE): compact and defragment it, then `etcdctl alarm disarm`; see --quota-backend-bytes"
    )]
    NoSpace,
    /// The member has not come as far as what was seen before.
    #[error("a member of etcd is behind")]
    Behind,
    /// What was asked for has been compacted away.
    #[error("the revision has been compacted")]
    Compacted,
    #[error("the lease has ended")]
    LeaseEnded,
    /// Locks would end before they could be kept.
    #[error(
        "etcd has not answered within {longest:.1?}, which locks with a time to live of {ttl:.1?} need: none are taken; a longer --store-ttl bears a slower etcd"
    )]
    TooSlow { ttl: Duration, longest: Duration },
    #[error("etcd refuses: {0}")]
    Refused(String),
    #[error("etcd's answer cannot be read: {0}")]
    Unreadable(String),
}

impl EtcdError {
    fn is_worth_another_member(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unreadable(_))
    }

    fn of(status: u16, refused: &Refused) -> Self {
        let text = if refused.message.is_empty() { &refused.error } else { &refused.message };
        let text: String = crate::core::printable::one_line(text).chars().take(300).collect();
        let says = |words: &str| text.contains(words);
        // The codes of gRPC.
        match refused.code {
            _ if says("space exceeded") => Self::NoSpace,
            _ if says("has been compacted") => Self::Compacted,
            _ if says("lease not found") => Self::LeaseEnded,
            _ if says("no leader") || says("timed out") || says("leader changed") || says("too many requests") => {
                Self::Unavailable(text)
            }
            7 | 16 => Self::Denied(text),
            _ if says("invalid user ID or password") || says("invalid auth token") || says("user name is empty") => {
                Self::Denied(text)
            }
            4 | 14 => Self::Unavailable(text),
            _ if text.is_empty() => Self::Unavailable(format!("it answers with status {status}")),
            _ => Self::Refused(text),
        }
    }
}

/// Connections to a cluster. Clones share them.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    address: EtcdAddress,
    members: Vec<Member>,
    /// The one that answered last.
    current: AtomicUsize,
    /// Of the user.
    token: Mutex<Option<HeaderValue>>,
}

struct Member {
    name: String,
    http: Http<Connector, Full<Bytes>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.shared.address)
    }
}

impl Client {
    /// Opens nothing yet.
    pub fn new(address: EtcdAddress) -> Self {
        let member = |(host, port): &(String, u16)| {
            let bare = host.trim_matches(['[', ']']);
            let tls = &address.tls;
            let dialer: Arc<dyn Dialer> = match &tls.ca {
                Some(ca) => {
                    let client = tls.certificate.clone().zip(tls.key.clone());
                    let material = TlsMaterial { ca: ca.clone(), client, server_name: None };
                    Arc::new(TlsDialer::new(bare, *port, material))
                }
                None => Arc::new(TcpDialer::new(bare, *port)),
            };
            let http = Http::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(Duration::from_secs(60))
                .pool_max_idle_per_host(4)
                .build(Connector(dialer));
            Member { name: format!("{host}:{port}"), http }
        };
        let members = address.endpoints.iter().map(member).collect();
        Self { shared: Arc::new(Shared { address, members, current: AtomicUsize::new(0), token: Mutex::default() }) }
    }

    /// The same cluster, over connections of its own.
    pub fn beside(&self) -> Self {
        Self::new(self.shared.address.clone())
    }

    /// Another member is asked first from now on.
    pub(super) fn turn(&self) {
        self.shared.current.fetch_add(1, Ordering::Relaxed);
    }

    pub fn address(&self) -> &EtcdAddress {
        &self.shared.address
    }

    /// A path of keys of the set.
    pub fn base(&self, set: &str) -> String {
        format!("{}/{set}/", self.shared.address.prefix)
    }

    pub async fn get(&self, key: &str) -> Result<Option<Pair>, EtcdError> {
        let ranged: Ranged = self.call("kv/range", &json!({ "key": encoded(key.as_bytes()) })).await?;
        Ok(ranged.kvs.into_iter().next())
    }

    /// Everything below the prefix as of one revision, which is returned as well.
    pub async fn list(&self, prefix: &str) -> Result<(Vec<Pair>, i64), EtcdError> {
        self.list_at(prefix).await.map(|(pairs, point)| (pairs, point.revision))
    }

    /// The same, with what tells whether it is the database that was asked before.
    pub async fn list_at(&self, prefix: &str) -> Result<(Vec<Pair>, Point), EtcdError> {
        self.pages(prefix, PAGE).await
    }

    /// The same, of values that may be large.
    pub async fn list_large(&self, prefix: &str) -> Result<(Vec<Pair>, i64), EtcdError> {
        self.pages(prefix, LARGE_PAGE).await.map(|(pairs, point)| (pairs, point.revision))
    }

    async fn pages(&self, prefix: &str, page: usize) -> Result<(Vec<Pair>, Point), EtcdError> {
        let end = encoded(&end_of(prefix));
        let mut from = prefix.as_bytes().to_vec();
        let (mut found, mut point) = (Vec::new(), Point::default());
        loop {
            let request = json!({
                "key": encoded(&from), "range_end": end, "limit": page.to_string(), "revision": point.revision.to_string(),
            });
            let ranged: Ranged = self.call("kv/range", &request).await?;
            if point.revision == 0 {
                point = Point { revision: ranged.header.revision, cluster: ranged.header.cluster_id };
            }
            let last = ranged.kvs.last().map(|pair| pair.key().as_bytes().to_vec());
            found.extend(ranged.kvs);
            match last.filter(|_| ranged.more) {
                Some(last) if found.len() < MOST_KEYS => {
                    from = last;
                    from.push(0);
                }
                Some(_) => {
                    return Err(EtcdError::Refused(format!("there are more than {MOST_KEYS} keys below {prefix}")));
                }
                None => return Ok((found, point)),
            }
        }
    }

    /// The latest below the prefix that were created by a revision or later, and no later than the other one, the newest first.
    pub async fn newest(&self, prefix: &str, from: i64, to: Option<i64>, most: usize) -> Result<Vec<Pair>, EtcdError> {
        let request = json!({
            "key": encoded(prefix.as_bytes()), "range_end": encoded(&end_of(prefix)), "sort_target": "CREATE",
            "sort_order": "DESCEND", "limit": most.min(PAGE).to_string(), "min_create_revision": from.to_string(),
            "max_create_revision": to.unwrap_or_default().to_string(),
        });
        Ok(self.call::<Ranged>("kv/range", &request).await?.kvs)
    }

    /// The last keys below the prefix, in the order of keys, without what is below `down_to`.
    pub async fn last(&self, prefix: &str, below: Option<&str>, most: usize) -> Result<Vec<Pair>, EtcdError> {
        let end = below.map_or_else(|| end_of(prefix), |key| key.as_bytes().to_vec());
        let request = json!({
            "key": encoded(prefix.as_bytes()), "range_end": encoded(&end), "sort_target": "KEY", "sort_order": "DESCEND",
            "limit": most.min(LARGE_PAGE).to_string(),
        });
        Ok(self.call::<Ranged>("kv/range", &request).await?.kvs)
    }

    /// How many keys there are, and when one was changed last.
    pub async fn changed(&self, prefix: &str) -> Result<(i64, i64), EtcdError> {
        let request = json!({
            "key": encoded(prefix.as_bytes()), "range_end": encoded(&end_of(prefix)), "sort_target": "MOD", "sort_order": "DESCEND",
            "limit": "1", "keys_only": true,
        });
        let ranged: Ranged = self.call("kv/range", &request).await?;
        Ok((ranged.count, ranged.kvs.first().map_or(0, |pair| pair.mod_revision)))
    }

    /// The oldest keys below the prefix, in the order of keys, without their values.
    pub async fn first_keys(&self, prefix: &str, most: usize) -> Result<Vec<Pair>, EtcdError> {
        let request = json!({
            "key": encoded(prefix.as_bytes()), "range_end": encoded(&end_of(prefix)), "limit": most.to_string(), "keys_only": true,
        });
        Ok(self.call::<Ranged>("kv/range", &request).await?.kvs)
    }

    /// `Some`: it was done, as that revision. `None`: a condition does not hold, and nothing was done.
    pub async fn txn(&self, compare: &[Compare], changes: &[Change]) -> Result<Option<i64>, EtcdError> {
        let done: Txned = self.call("kv/txn", &txn(compare, changes, &[])).await?;
        Ok(done.succeeded.then_some(done.header.revision))
    }

    /// The same; where a condition does not hold, what the keys have instead.
    pub async fn txn_or_read(
        &self,
        compare: &[Compare],
        changes: &[Change],
        keys: &[&str],
    ) -> Result<Result<i64, Found>, EtcdError> {
        let done: Txned = self.call("kv/txn", &txn(compare, changes, keys)).await?;
        let revision = done.header.revision;
        Ok(if done.succeeded { Ok(revision) } else { Err(Found { revision, pairs: done.read() }) })
    }

    pub async fn grant(&self, ttl: Duration) -> Result<i64, EtcdError> {
        let granted: Granted = self.call("lease/grant", &json!({ "TTL": ttl.as_secs().to_string() })).await?;
        Ok(granted.id)
    }

    /// Whether the lease is there still; each member is given so long.
    pub async fn keep_alive(&self, lease: i64, attempt: Duration, total: Duration) -> Result<bool, EtcdError> {
        let request = json!({ "ID": lease.to_string() });
        let answer: Streamed<Alive> = self.call_within("lease/keepalive", &request, attempt, total).await?;
        match answer {
            Streamed { result: Some(alive), .. } => Ok(alive.ttl > 0),
            Streamed { error: Some(refused), .. } => Err(EtcdError::of(200, &refused)),
            Streamed { .. } => Err(EtcdError::Unreadable("it is empty".to_owned())),
        }
    }

    /// Ends a lease, and all that is under it.
    pub async fn revoke(&self, lease: i64) -> Result<(), EtcdError> {
        match self.call::<Value>("lease/revoke", &json!({ "ID": lease.to_string() })).await {
            Ok(_) | Err(EtcdError::LeaseEnded) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What changes below the prefix from that revision on.
    pub async fn watch(&self, prefix: &str, from: i64) -> Result<Watch, EtcdError> {
        let request = json!({ "create_request": {
            "key": encoded(prefix.as_bytes()), "range_end": encoded(&end_of(prefix)), "start_revision": from.to_string(),
        } });
        let answer = self.attempts(ATTEMPT, TOTAL, |member| self.send(member, "watch", &request).boxed()).await?;
        let pieces = BodyStream::new(answer).filter_map(async |frame| match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(EtcdError::Unavailable(format!("the watch broke off: {error}")))),
        });
        Ok(Watch { pieces: pieces.boxed(), read: Vec::new(), from })
    }

    async fn call<T: DeserializeOwned>(&self, path: &str, request: &Value) -> Result<T, EtcdError> {
        self.call_within(path, request, ATTEMPT, TOTAL).await
    }

    async fn call_within<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &Value,
        attempt: Duration,
        total: Duration,
    ) -> Result<T, EtcdError> {
        let whole = self.attempts(attempt, total, |member| self.exchange(member, path, request).boxed()).await?;
        serde_json::from_slice(&whole).map_err(|error| EtcdError::Unreadable(error.to_string()))
    }

    async fn exchange(&self, member: &Member, path: &str, request: &Value) -> Result<Bytes, EtcdError> {
        let whole = Limited::new(self.send(member, path, request).await?, LARGEST).collect().await;
        Ok(whole.map_err(|error| EtcdError::Unreadable(error.to_string()))?.to_bytes())
    }

    /// Tries the member that answered last, and then the others by turns, until the time is up.
    async fn attempts<'a, T>(
        &'a self,
        attempt: Duration,
        total: Duration,
        exchange: impl Fn(&'a Member) -> BoxFuture<'a, Result<T, EtcdError>> + Send,
    ) -> Result<T, EtcdError> {
        let deadline = Instant::now() + total;
        let members = &self.shared.members;
        // The first that says why: a connection that a member closes at once, as for want of a certificate, may be closed before that is read.
        let mut first: Option<EtcdError> = None;
        for tried in 0.. {
            let current = self.shared.current.load(Ordering::Relaxed);
            let Some(member) = members.get(current % members.len()) else { break };
            let left = deadline.saturating_duration_since(Instant::now()).min(attempt);
            let outcome = tokio::time::timeout(left, exchange(member)).await;
            let outcome = outcome.unwrap_or_else(|_| Err(EtcdError::Unavailable(format!("no answer within {left:?}"))));
            let error = match outcome {
                Err(error) if error.is_worth_another_member() => error,
                outcome => return outcome,
            };
            tracing::debug!(member = member.name, %error, "etcd");
            // Whoever else has moved on already has done the same.
            let _ = self.shared.current.compare_exchange(current, current + 1, Ordering::Relaxed, Ordering::Relaxed);
            let error = EtcdError::Unavailable(format!("{}: {error}", member.name));
            let first = match &mut first {
                Some(first) if !first.to_string().ends_with(CLOSED) => first,
                vague => vague.insert(error),
            };
            if Instant::now() + Duration::from_millis(50) >= deadline {
                return Err(first.clone());
            }
            if (tried + 1) % members.len() == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Err(first.unwrap_or_else(|| EtcdError::Unavailable("no member is known".to_owned())))
    }

    /// With the user's token, and a new one where that is not taken any more.
    async fn send(&self, member: &Member, path: &str, request: &Value) -> Result<hyper::body::Incoming, EtcdError> {
        let Some((user, password)) = self.shared.address.credentials() else {
            return self.send_once(member, path, request, None).await;
        };
        let kept = || self.shared.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = kept() {
            match self.send_once(member, path, request, Some(token)).await {
                Err(EtcdError::Denied(text)) if text.contains("invalid auth token") => {}
                answer => return answer,
            }
        }
        let login = json!({ "name": user, "password": password });
        let answer = self.send_once(member, "auth/authenticate", &login, None).await;
        let answer = match answer {
            // The cluster asks for no user: then none is needed.
            Err(EtcdError::Refused(text)) if text.contains("authentication is not enabled") => {
                return self.send_once(member, path, request, None).await;
            }
            answer => answer?,
        };
        let whole = Limited::new(answer, LARGEST).collect().await;
        let whole = whole.map_err(|error| EtcdError::Unreadable(error.to_string()))?.to_bytes();
        let Authenticated { token } =
            serde_json::from_slice(&whole).map_err(|error| EtcdError::Unreadable(error.to_string()))?;
        let mut token =
            HeaderValue::try_from(token).map_err(|_| EtcdError::Unreadable("the token is odd".to_owned()))?;
        token.set_sensitive(true);
        *self.shared.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        self.send_once(member, path, request, Some(token)).await
    }

    async fn send_once(
        &self,
        member: &Member,
        path: &str,
        request: &Value,
        token: Option<HeaderValue>,
    ) -> Result<hyper::body::Incoming, EtcdError> {
        let mut request = Request::post(format!("http://{}/v3/{path}", member.name))
            .header(HOST, member.name.as_str())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(request.to_string())))
            .map_err(|error| EtcdError::Refused(error.to_string()))?;
        request.headers_mut().extend(token.map(|token| (AUTHORIZATION, token)));
        let answer = member.http.request(request).await.map_err(|error| EtcdError::Unavailable(said(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.into_body());
        }
        let whole = Limited::new(answer.into_body(), 64 << 10).collect().await;
        let whole = whole.map(|it| it.to_bytes()).unwrap_or_default();
        Err(EtcdError::of(status.as_u16(), &serde_json::from_slice(&whole).unwrap_or_default()))
    }
}

/// The innermost reason, and of a dialer its words alone.
fn said(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    loop {
        if let Some(dial) = innermost.downcast_ref::<DialError>() {
            return dial.message.clone();
        }
        let inner = innermost.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match inner.map(|it| it as &(dyn std::error::Error + 'static)).or_else(|| innermost.source()) {
            Some(next) => innermost = next,
            None if innermost.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) => {
                return CLOSED.to_owned();
            }
            None => return innermost.to_string(),
        }
    }
}

/// How far a database has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Point {
    pub revision: i64,
    /// Which one it is.
    pub cluster: String,
}

impl Point {
    /// Whether this is of a database that was brought back from an older state since that one was read, or is another altogether. A database
    /// that is read whole never has a smaller revision than before.
    pub fn is_set_back(&self, before: &Self) -> bool {
        self.revision < before.revision || (!before.cluster.is_empty() && self.cluster != before.cluster)
    }
}

/// What has changed, together.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    pub revision: i64,
    pub put: Vec<Pair>,
    /// Without values. The revision of each is the one that deleted it.
    pub deleted: Vec<Pair>,
}

/// What was there in the place of what a transaction relies on.
#[derive(Debug, Clone)]
pub struct Found {
    /// Of the database, when it was read.
    pub revision: i64,
    /// In the order of the keys; `None`: it is not there.
    pub pairs: Vec<Option<Pair>>,
}

/// A stream of changes.
pub struct Watch {
    pieces: BoxStream<'static, Result<Bytes, EtcdError>>,
    read: Vec<u8>,
    from: i64,
}

impl Watch {
    /// Where the next one goes on that is to miss nothing.
    pub fn next_revision(&self) -> i64 {
        self.from
    }

    /// `None`: it has ended, or nothing has been heard for a while, and another one is to be begun.
    pub async fn next(&mut self) -> Result<Option<Changes>, EtcdError> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                match self.taken(&line)? {
                    Some(changes) => return Ok(Some(changes)),
                    None => continue,
                }
            }
            let Ok(piece) = tokio::time::timeout(SILENCE, self.pieces.next()).await else { return Ok(None) };
            let Some(piece) = piece.transpose()? else { return Ok(None) };
            self.read.extend_from_slice(&piece);
            if self.read.len() > LARGEST_MESSAGE {
                return Err(EtcdError::Unreadable("a message of the watch is too large".to_owned()));
            }
        }
    }

    fn taken(&mut self, line: &[u8]) -> Result<Option<Changes>, EtcdError> {
        let message: Streamed<Watched> =
            serde_json::from_slice(line).map_err(|error| EtcdError::Unreadable(error.to_string()))?;
        let Some(watched) = message.result else {
            return Err(EtcdError::of(200, &message.error.unwrap_or_default()));
        };
        if watched.compact_revision > 0 {
            return Err(EtcdError::Compacted);
        }
        if watched.created && watched.header.revision + 1 < self.from {
            return Err(EtcdError::Behind);
        }
        if watched.canceled {
            return Err(EtcdError::Unavailable("the watch was cancelled".to_owned()));
        }
        if watched.events.is_empty() {
            return Ok(None);
        }
        // By the events: a watch that catches up is told in pieces, each with the revision that the database has by now.
        let last = watched.events.iter().map(|event| event.kv.mod_revision).max().unwrap_or_default();
        self.from = self.from.max(last + 1);
        let (deleted, put): (Vec<Event>, Vec<Event>) = watched.events.into_iter().partition(Event::is_deletion);
        // What was deleted and made again within one message is there.
        let put: Vec<Pair> = put.into_iter().map(|event| event.kv).collect();
        let gone =
            |event: &Event| !put.iter().any(|it| it.key() == event.kv.key() && it.mod_revision > event.kv.mod_revision);
        let deleted: Vec<Event> = deleted.into_iter().filter(gone).collect();
        let put = put.clone().into_iter().filter(|it| {
            !deleted.iter().any(|event| event.kv.key() == it.key() && event.kv.mod_revision > it.mod_revision)
        });
        Ok(Some(Changes {
            revision: watched.header.revision,
            put: put.collect(),
            deleted: deleted.into_iter().map(|event| event.kv).collect(),
        }))
    }
}

#[derive(Clone)]
struct Connector(Arc<dyn Dialer>);

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Dialled>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Dialled>, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dialer = Arc::clone(&self.0);
        Box::pin(async move { Ok(TokioIo::new(Dialled(dialer.dial().await?))) })
    }
}

struct Dialled(BoxedStream);

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Dialled {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
