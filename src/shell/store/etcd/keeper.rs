//! A controller's part in the fleet: its lease, its locks, and what it sees of the others.
//!
//! All of it runs on a thread of its own, so that nothing that a pass does can hold up a keepalive. The loop is told what it holds by [`Shares`];
//! what it may send is up to the [`Fence`] of each lock, whether or not it has been told yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{mpsc, oneshot, watch};

use super::client::{Client, EtcdError};
use super::live::Keys;
use super::share::{Holder, Live, Member, Own, Step, Tenure};
use super::wire::{Change, Compare};
use crate::core::api::ObjectKey;
use crate::shell::engine::fence::{Fence, Lease, boot_time};

/// How long a controller that has vanished keeps its locks, unless `--store-ttl` says otherwise.
pub const TTL: Duration = Duration::from_secs(5);
/// Locks that are taken or given up at once.
const AT_ONCE: usize = 16;
/// What has changed is looked at together, so often at most.
const GATHER: Duration = Duration::from_millis(20);
/// With nothing new.
const LOOK: Duration = Duration::from_secs(1);
/// After something that failed.
const AGAIN: Duration = Duration::from_millis(300);
/// For how long a command is there to be seen.
const COMMAND: Duration = Duration::from_secs(60);
/// How long giving everything up may take at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// A lock that this controller holds.
#[derive(Debug, Clone)]
pub struct Holding {
    pub fence: Fence,
    pub since: jiff::Timestamp,
    /// It is given up as soon as nothing of the loop's is under way there.
    pub leaving: bool,
}

pub type Held = Arc<BTreeMap<ObjectKey, Holding>>;

/// What every controller shows of all of them.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    pub own: String,
    pub live: Arc<Live>,
    /// Why the locks cannot be relied on, since when.
    pub trouble: Option<(String, jiff::Timestamp)>,
}

impl Fleet {
    /// Whether this controller has the server.
    pub fn is_own(&self, server: &ObjectKey) -> bool {
        self.live.locks.get(server).is_some_and(|lock| lock.holder.controller == self.own)
    }
}

/// The loop's end.
#[derive(Debug, Clone)]
pub struct Shares {
    held: watch::Receiver<Held>,
    fleet: watch::Receiver<Arc<Fleet>>,
    orders: mpsc::UnboundedSender<Order>,
}

#[derive(Debug)]
enum Order {
    /// The servers that the manifests declare.
    Declare(std::collections::BTreeSet<ObjectKey>),
    /// Nothing is under way any more on a server that is to be given up.
    Idle(ObjectKey, i64),
    /// To every controller.
    Tell(Vec<u8>),
    Stop(oneshot::Sender<()>),
}

impl Shares {
    pub fn held(&self) -> watch::Receiver<Held> {
        self.held.clone()
    }

    pub fn fleet(&self) -> watch::Receiver<Arc<Fleet>> {
        self.fleet.clone()
    }

    pub fn declare(&self, servers: impl IntoIterator<Item = ObjectKey>) {
        let _ = self.orders.send(Order::Declare(servers.into_iter().collect()));
    }

    pub fn idle(&self, server: &ObjectKey, token: i64) {
        let _ = self.orders.send(Order::Idle(server.clone(), token));
    }

    /// Has every controller hear it, this one included.
    pub fn tell(&self, command: Vec<u8>) {
        let _ = self.orders.send(Order::Tell(command));
    }

    /// Gives everything up and ends.
    pub async fn stop(&self) {
        let (sender, ended) = oneshot::channel();
        if self.orders.send(Order::Stop(sender)).is_ok() && tokio::time::timeout(FAREWELL * 2, ended).await.is_err() {
            tracing::warn!("the locks could not be given up in time; others take the servers when the lease ends");
        }
    }
}

/// How a controller takes part.
#[derive(Debug, Clone)]
pub struct Joining {
    pub client: Client,
    pub set: String,
    pub host: String,
    pub ttl: Duration,
}

/// How much of the time to live a holder leaves unused.
pub fn margin(ttl: Duration) -> Duration {
    ttl / 4
}

/// Begins, on a thread of its own. Commands of others are heard at the second value.
pub fn start(joining: Joining) -> std::io::Result<(Shares, mpsc::Receiver<Vec<u8>>)> {
    let (held_to, held) = watch::channel(Held::default());
    let (fleet_to, fleet) = watch::channel(Arc::default());
    let (orders, ordered) = mpsc::unbounded_channel();
    let (heard_to, heard) = mpsc::channel(64);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let keys = Keys::new(joining.client.base(&joining.set));
    // Connections are driven by the runtime that they were opened on.
    let joining = Joining { client: joining.client.beside(), ..joining };
    let keeper = Keeper {
        keys,
        joining,
        held: held_to,
        fleet: fleet_to,
        heard: heard_to,
        orders: ordered,
        own: Own::default(),
        live: Live::default(),
        mine: BTreeMap::new(),
        trouble: None,
    };
    std::thread::Builder::new().name("locks".to_owned()).spawn(move || runtime.block_on(keeper.run()))?;
    Ok((Shares { held, fleet, orders }, heard))
}

struct Keeper {
    keys: Keys,
    joining: Joining,
    held: watch::Sender<Held>,
    fleet: watch::Sender<Arc<Fleet>>,
    heard: mpsc::Sender<Vec<u8>>,
    orders: mpsc::UnboundedReceiver<Order>,
    own: Own,
    live: Live,
    mine: BTreeMap<ObjectKey, Holding>,
    trouble: Option<(String, jiff::Timestamp)>,
}

/// A lease and the task that keeps it.
struct Session {
    id: i64,
    lease: Arc<Lease>,
    /// What the last keepalive came to.
    health: watch::Receiver<Result<(), String>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.lease.lose();
        self.task.abort();
    }
}

/// How a session ended.
enum Ended {
    /// Its lease is gone.
    Lost,
    Stopped(oneshot::Sender<()>),
}

impl Keeper {
    async fn run(mut self) {
        loop {
            let session = match self.begin().await {
                Ok(session) => session,
                Err(stopped) => {
                    let _ = stopped.send(());
                    return;
                }
            };
            let ended = self.keep(&session).await;
            match ended {
                Ended::Stopped(told) => {
                    if tokio::time::timeout(FAREWELL, self.give_up_all(&session)).await.is_err() {
                        tracing::warn!("etcd does not answer: the locks end with the lease");
                    }
                    session.lease.lose();
                    let _ = told.send(());
                    return;
                }
                Ended::Lost => {
                    drop(session);
                    for holding in std::mem::take(&mut self.mine).into_values() {
                        holding.fence.revoke();
                    }
                    self.own.held.clear();
                    self.show(false);
                }
            }
        }
    }

    /// A lease, and this controller registered under it. Goes on trying; `Err`: it was told to stop.
    async fn begin(&mut self) -> Result<Session, oneshot::Sender<()>> {
        loop {
            match self.try_begin().await {
                Ok(session) => {
                    self.fine();
                    return Ok(session);
                }
                Err(error) => self.in_trouble(&error.to_string()),
            }
            let wait = tokio::time::sleep(AGAIN);
            tokio::pin!(wait);
            loop {
                tokio::select! {
                    () = &mut wait => break,
                    order = self.orders.recv() => match order {
                        Some(Order::Stop(told)) => return Err(told),
                        Some(Order::Declare(servers)) => self.own.declared = servers,
                        Some(Order::Idle(..) | Order::Tell(_)) => {}
                        None => return Err(oneshot::channel().0),
                    },
                }
            }
        }
    }

    async fn try_begin(&mut self) -> Result<Session, EtcdError> {
        let Joining { client, host, ttl, .. } = &self.joining;
        let sent = boot_time();
        let id = client.grant(*ttl).await?;
        if self.own.id.is_empty() {
            // For as long as the process runs, also where the lease is another later.
            self.own.id = format!("{host}-{:08x}", id & 0xffff_ffff);
        }
        let lease = Arc::new(Lease::default());
        lease.extend(sent + *ttl - margin(*ttl));
        let member = Member {
            host: host.clone(),
            pid: std::process::id(),
            started: jiff::Timestamp::now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let value = serde_json::to_vec(&member).unwrap_or_default();
        client.txn(&[], &[Change::Put { key: self.keys.member(&self.own.id), value, lease: id }]).await?;
        let (told, health) = watch::channel(Ok(()));
        let task = tokio::spawn(keep_alive(client.clone(), id, *ttl, Arc::clone(&lease), told));
        Ok(Session { id, lease, health, task })
    }

    async fn keep(&mut self, session: &Session) -> Ended {
        loop {
            match self.follow(session).await {
                Ok(ended) => return ended,
                Err(error) => {
                    if self.is_lost(session) {
                        return Ended::Lost;
                    }
                    if !matches!(error, EtcdError::Compacted) {
                        self.in_trouble(&error.to_string());
                    }
                    self.show(session.lease.left().is_some());
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    fn is_lost(&self, session: &Session) -> bool {
        session.task.is_finished()
    }

    /// Until the watch breaks.
    async fn follow(&mut self, session: &Session) -> Result<Ended, EtcdError> {
        let client = self.joining.client.clone();
        let (pairs, revision) = client.list(&self.keys.live()).await?;
        self.live.replace(&self.keys, &pairs, boot_time());
        self.reconcile(session);
        let mut watch = client.watch(&self.keys.live(), revision + 1).await?;
        let mut health = session.health.clone();
        let mut orders_ended = false;
        loop {
            let wake = self.act(session).await;
            self.show(session.lease.left().is_some());
            let wait = wake.map_or(LOOK, |at| at.saturating_sub(boot_time())).clamp(GATHER, LOOK);
            // A deadline that passes has to be told of.
            let wait = session.lease.left().map_or(wait, |left| wait.min(left + Duration::from_millis(1)));
            tokio::select! {
                changes = watch.next() => match changes? {
                    Some(changes) => {
                        self.fine();
                        for command in self.live.take(&self.keys, &changes, boot_time()) {
                            let _ = self.heard.try_send(command);
                        }
                        self.reconcile(session);
                    }
                    None => watch = client.watch(&self.keys.live(), watch.next_revision()).await?,
                },
                order = self.orders.recv(), if !orders_ended => match order {
                    Some(Order::Stop(told)) => return Ok(Ended::Stopped(told)),
                    Some(Order::Declare(servers)) => self.own.declared = servers,
                    Some(Order::Idle(server, token)) => self.give_up(session, &server, token).await,
                    Some(Order::Tell(command)) => self.tell(command).await,
                    None => orders_ended = true,
                },
                told = health.changed() => {
                    if told.is_err() || self.is_lost(session) {
                        return Ok(Ended::Lost);
                    }
                    let said = health.borrow_and_update().clone();
                    match said {
                        Ok(()) => self.fine(),
                        Err(error) => self.in_trouble(&error),
                    }
                }
                () = tokio::time::sleep(wait) => {
                    if self.is_lost(session) {
                        return Ok(Ended::Lost);
                    }
                }
            }
        }
    }

    /// Makes what is held here agree with what etcd has: a lock that is gone or another's is held no longer, and one that was taken by a request
    /// whose answer did not come is held.
    fn reconcile(&mut self, session: &Session) {
        let live = &self.live;
        self.mine.retain(|server, holding| {
            let there = live.locks.get(server).is_some_and(|lock| lock.token == holding.fence.token());
            if !there {
                holding.fence.revoke();
            }
            there
        });
        for (server, lock) in &live.locks {
            if lock.lease == session.id && lock.holder.controller == self.own.id && !self.mine.contains_key(server) {
                let fence = Fence::new(Arc::clone(&session.lease), lock.token);
                let holding = Holding { fence, since: lock.holder.since, leaving: false };
                self.mine.insert(server.clone(), holding);
            }
        }
        self.own.held = self.mine.keys().cloned().collect();
    }

    /// Does what there is to do; returns when there is more.
    async fn act(&mut self, session: &Session) -> Option<Duration> {
        // What is decided now rests on locks that may have ended meanwhile.
        session.lease.left()?;
        let (steps, wake) = self.own.steps(&self.live, boot_time());
        let mut claims = Vec::new();
        for step in steps {
            match step {
                Step::Claim(server) => claims.push(server),
                Step::GiveUp(server) => {
                    if let Some(holding) = self.mine.get_mut(&server) {
                        holding.leaving = true;
                    }
                }
            }
        }
        if claims.is_empty() {
            return wake;
        }
        let this = &*self;
        let taken: Vec<_> = futures::stream::iter(claims)
            .map(async |server| {
                let outcome = this.claim(session, &server).await;
                (server, outcome)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (server, outcome) in taken {
            match outcome {
                Ok(Some((token, since))) => {
                    let fence = Fence::new(Arc::clone(&session.lease), token);
                    self.mine.insert(server.clone(), Holding { fence, since, leaving: false });
                    self.own.held.insert(server.clone());
                    let holder = Holder { controller: self.own.id.clone(), since };
                    self.live.free.remove(&server);
                    self.live.locks.insert(server, super::share::Lock { holder, token, lease: session.id });
                }
                // Somebody else was first: the watch says who.
                Ok(None) => {}
                Err(error) => self.in_trouble(&error.to_string()),
            }
        }
        Some(boot_time() + GATHER)
    }

    async fn claim(&self, session: &Session, server: &ObjectKey) -> Result<Option<(i64, jiff::Timestamp)>, EtcdError> {
        let since = jiff::Timestamp::now();
        let known = self.live.tenures.get(server).map_or(0, |(_, revision)| *revision);
        let (lock, tenure) = (self.keys.lock(server), self.keys.tenure(server));
        let changes = taking(&self.own.id, since, self.joining.ttl, session.id, &lock, &tenure);
        let free = [Compare::Created(lock, 0), Compare::Modified(tenure, known)];
        Ok(self.joining.client.txn(&free, &changes).await?.map(|token| (token, since)))
    }

    /// After the last call: whoever comes next need not wait.
    async fn give_up(&mut self, session: &Session, server: &ObjectKey, token: i64) {
        let Some(holding) = self.mine.get(server).filter(|it| it.leaving && it.fence.token() == token) else { return };
        holding.fence.revoke();
        let since = holding.since;
        if let Err(error) = release(&self.joining, &self.keys, &self.own.id, server, token, since).await {
            tracing::warn!(server = %server.path(), %error, "a lock could not be given up");
            self.in_trouble(&error.to_string());
            // The watch tells of it where it was; else it is tried again, with a fence of its own.
            let fence = Fence::new(Arc::clone(&session.lease), token);
            self.mine.insert(server.clone(), Holding { fence, since, leaving: false });
            return;
        }
        self.mine.remove(server);
        self.own.held.remove(server);
        self.live.locks.remove(server);
        self.live.free.insert(server.clone(), boot_time());
    }

    async fn give_up_all(&mut self, session: &Session) {
        let mine = std::mem::take(&mut self.mine);
        mine.values().for_each(|holding| holding.fence.revoke());
        let this = &*self;
        futures::stream::iter(mine)
            .for_each_concurrent(AT_ONCE, async |(server, holding)| {
                let token = holding.fence.token();
                let released = release(&this.joining, &this.keys, &this.own.id, &server, token, holding.since).await;
                if let Err(error) = released {
                    tracing::warn!(server = %server.path(), %error, "a lock could not be given up");
                }
            })
            .await;
        if let Err(error) = self.joining.client.revoke(session.id).await {
            tracing::warn!(%error, "the lease could not be ended");
        }
    }

    async fn tell(&mut self, command: Vec<u8>) {
        let told = async {
            let lease = self.joining.client.grant(COMMAND).await?;
            let key = self.keys.command(lease);
            self.joining.client.txn(&[], &[Change::Put { key, value: command.clone(), lease }]).await
        };
        if let Err(error) = told.await {
            tracing::warn!(%error, "what was asked for is known to this controller only");
            let _ = self.heard.try_send(command);
        }
    }

    fn in_trouble(&mut self, error: &str) {
        if self.trouble.is_none() {
            tracing::warn!(error, "etcd does not do what is asked of it");
        }
        let since = self.trouble.take().map_or_else(jiff::Timestamp::now, |(_, since)| since);
        self.trouble = Some((error.to_owned(), since));
        self.show_fleet();
    }

    fn fine(&mut self) {
        if let Some((_, since)) = self.trouble.take() {
            tracing::info!(%since, "etcd answers again");
            self.show_fleet();
        }
    }

    /// `good`: the lease has not reached its deadline.
    fn show(&mut self, good: bool) {
        let held = if good { self.mine.clone() } else { BTreeMap::new() };
        self.held.send_if_modified(|shown| {
            let same = |(one, other): ((&ObjectKey, &Holding), (&ObjectKey, &Holding))| {
                one.0 == other.0 && one.1.fence.is_same(&other.1.fence) && one.1.leaving == other.1.leaving
            };
            let is_same = shown.len() == held.len() && shown.iter().zip(&held).all(same);
            if !is_same {
                *shown = Arc::new(held);
            }
            !is_same
        });
        self.show_fleet();
    }

    fn show_fleet(&self) {
        let fleet =
            Fleet { own: self.own.id.clone(), live: Arc::new(self.live.clone()), trouble: self.trouble.clone() };
        self.fleet.send_replace(Arc::new(fleet));
    }
}

/// What takes a lock, and notes who has it now.
pub(super) fn taking(
    id: &str,
    since: jiff::Timestamp,
    ttl: Duration,
    lease: i64,
    lock: &str,
    tenure: &str,
) -> [Change; 2] {
    let holder = Holder { controller: id.to_owned(), since };
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let noted = Tenure { controller: id.to_owned(), since, ttl_ms, given_up: false };
    [
        Change::Put { key: lock.to_owned(), value: serde_json::to_vec(&holder).unwrap_or_default(), lease },
        Change::put(tenure, serde_json::to_vec(&noted).unwrap_or_default()),
    ]
}

async fn release(
    joining: &Joining,
    keys: &Keys,
    id: &str,
    server: &ObjectKey,
    token: i64,
    since: jiff::Timestamp,
) -> Result<(), EtcdError> {
    let lock = keys.lock(server);
    let noted = Tenure { controller: id.to_owned(), since, ttl_ms: 0, given_up: true };
    let noted = Change::put(keys.tenure(server), serde_json::to_vec(&noted).unwrap_or_default());
    let held = [Compare::Created(lock.clone(), token)];
    joining.client.txn(&held, &[Change::Delete { key: lock }, noted]).await.map(|_| ())
}

/// Until the lease is gone. The deadline counts from when a keepalive was sent: etcd counts from when it came.
pub(super) async fn keep_alive(
    client: Client,
    id: i64,
    ttl: Duration,
    lease: Arc<Lease>,
    told: watch::Sender<Result<(), String>>,
) {
    let attempt = ttl / 6;
    loop {
        let sent = boot_time();
        let health = match client.keep_alive(id, attempt, attempt * 3).await {
            Ok(true) => {
                lease.extend(sent + ttl - margin(ttl));
                Ok(())
            }
            Ok(false) => {
                tracing::warn!("the lease has ended: every lock of this controller with it");
                lease.lose();
                return;
            }
            Err(error) => Err(error.to_string()),
        };
        let wait = if health.is_ok() { attempt } else { attempt / 4 };
        told.send_if_modified(|before| {
            let is_new = before.is_ok() != health.is_ok() || health.is_ok();
            *before = health;
            is_new
        });
        tokio::time::sleep(wait).await;
    }
}
