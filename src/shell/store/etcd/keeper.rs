//! A controller's part in the fleet: its lease, its locks, and what it sees of the others.
//!
//! All of it runs on a thread of its own, so that nothing that a pass does can hold up a keepalive. The loop is told what it holds by [`Shares`];
//! what it may send is up to the [`Fence`] of each lock, whether or not it has been told yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};

use super::client::{Changes, Client, EtcdError, Found, Point, Watch};
use super::live::Keys;
use super::share::{Holder, Live, Lock, Member, Own, Step, Tenure};
use super::wire::{Change, Compare};
use crate::core::api::ObjectKey;
use crate::shell::engine::fence::{Fence, Lease, boot_time};

/// How long a controller that has vanished keeps its locks, unless `--store-ttl` says otherwise.
pub const TTL: Duration = Duration::from_secs(5);
/// Locks that are taken or given up at once.
const AT_ONCE: usize = 16;
/// Locks that are taken before what others have done meanwhile is looked at.
const ROUND: usize = 128;
/// What has changed is looked at together, so often at most.
const GATHER: Duration = Duration::from_millis(20);
/// Changes that are read before they are asked for.
const AHEAD: usize = 256;
/// With nothing new.
const LOOK: Duration = Duration::from_secs(1);
/// After something that failed.
const AGAIN: Duration = Duration::from_millis(300);
/// A lease is used if it can be kept within such a part of its time to live. What is held is given up later than that: at the deadline.
const PROOF: u32 = 3;
/// For how long a command is there to be seen.
const COMMAND: Duration = Duration::from_secs(60);
/// How long giving everything up may take at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// A lock that this controller holds.
#[derive(Debug, Clone)]
pub struct Holding {
    pub fence: Fence,
    /// The revision that created the lock, and the lease that it is under: no other lock of the server has both.
    pub created: i64,
    pub lease: i64,
    pub since: jiff::Timestamp,
    /// It is given up as soon as nothing of the loop's is under way there.
    pub leaving: bool,
}

impl Holding {
    fn new(lease: &Arc<Lease>, live: &Live, lock: &Lock) -> Self {
        let fence = Fence::new(Arc::clone(lease), live.token(lock));
        Self { fence, created: lock.created, lease: lock.lease, since: lock.holder.since, leaving: false }
    }

    /// What a write about the server has to find.
    pub(super) fn conditions(&self, keys: &Keys, server: &ObjectKey) -> [Compare; 2] {
        let lock = keys.lock(server);
        [Compare::Created(lock.clone(), self.created), Compare::Leased(lock, self.lease)]
    }
}

pub type Held = Arc<BTreeMap<ObjectKey, Holding>>;

/// What every controller shows of all of them.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    pub own: String,
    pub live: Arc<Live>,
    /// Why the locks cannot be relied on, since when.
    pub trouble: Option<(String, jiff::Timestamp)>,
    /// When etcd was found to have been brought back from an older state.
    pub set_back: Option<jiff::Timestamp>,
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
    /// Until it is taken back, and so for those that come later as well.
    Suspend {
        object: ObjectKey,
        suspend: bool,
        told: Vec<u8>,
    },
    /// For whoever has the server, until it is used up. `told` as above.
    Approve {
        server: ObjectKey,
        approval: Vec<u8>,
        told: Vec<u8>,
    },
    /// The approval that this revision wrote is used up, or void.
    Withdraw(ObjectKey, i64),
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

    /// Has the object left as it is by whoever has its server, or no longer. `told` is what this controller hears where etcd does not answer.
    pub fn suspend(&self, object: ObjectKey, suspend: bool, told: Vec<u8>) {
        let _ = self.orders.send(Order::Suspend { object, suspend, told });
    }

    /// Has whoever has the server do what is approved. `told` is what this controller hears where etcd does not answer.
    pub fn approve(&self, server: ObjectKey, approval: Vec<u8>, told: Vec<u8>) {
        let _ = self.orders.send(Order::Approve { server, approval, told });
    }

    /// Ends the approval that this revision wrote, and no later one.
    pub fn withdraw(&self, server: &ObjectKey, revision: i64) {
        let _ = self.orders.send(Order::Withdraw(server.clone(), revision));
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
        seen: Point::default(),
        highest: 0,
        set_back: None,
        stale: true,
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
    /// How far etcd had come.
    seen: Point,
    /// No token that was given is larger.
    highest: i64,
    set_back: Option<jiff::Timestamp>,
    /// What is shown of the fleet is older than what is known.
    stale: bool,
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

/// A watch that is read while other things are done: what it has told is there when it is asked for.
struct Followed {
    changes: mpsc::Receiver<Result<Changes, EtcdError>>,
    task: tokio::task::JoinHandle<()>,
}

impl Followed {
    fn start(client: Client, prefix: String, mut watch: Watch) -> Self {
        let (told, changes) = mpsc::channel(AHEAD);
        let task = tokio::spawn(async move {
            loop {
                let outcome = match watch.next().await {
                    Ok(Some(changes)) => Ok(changes),
                    Ok(None) => match client.watch(&prefix, watch.next_revision()).await {
                        Ok(next) => {
                            watch = next;
                            continue;
                        }
                        Err(error) => Err(error),
                    },
                    Err(error) => Err(error),
                };
                let failed = outcome.is_err();
                if told.send(outcome).await.is_err() || failed {
                    return;
                }
            }
        });
        Self { changes, task }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a session ended.
enum Ended {
    /// Its lease is gone.
    Lost,
    /// etcd knows an older state than was seen: neither its locks nor its leases say who is at work.
    SetBack,
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
                Ended::Lost | Ended::SetBack => {
                    let id = session.id;
                    drop(session);
                    for holding in std::mem::take(&mut self.mine).into_values() {
                        holding.fence.revoke();
                    }
                    self.own.held.clear();
                    self.show(false);
                    // Locks that it had in that state would be kept alive by nothing, but not at once.
                    if matches!(ended, Ended::SetBack)
                        && let Err(error) = self.joining.client.revoke(id).await
                    {
                        tracing::debug!(%error, "the lease ends by itself");
                    }
                }
            }
        }
    }

    /// A lease, and this controller registered under it. Goes on trying; `Err`: it was told to stop.
    async fn begin(&mut self) -> Result<Session, oneshot::Sender<()>> {
        loop {
            let pause = match self.try_begin().await {
                Ok(session) => {
                    self.fine();
                    return Ok(session);
                }
                Err(error) => {
                    let wait = if matches!(error, EtcdError::TooSlow { .. }) { self.joining.ttl } else { AGAIN };
                    self.in_trouble(&error.to_string());
                    wait
                }
            };
            let wait = tokio::time::sleep(pause);
            tokio::pin!(wait);
            loop {
                tokio::select! {
                    () = &mut wait => break,
                    order = self.orders.recv() => match order {
                        Some(Order::Stop(told)) => return Err(told),
                        Some(Order::Declare(servers)) => self.own.declared = servers,
                        Some(Order::Suspend { object, suspend, told }) => self.suspend(&object, suspend, told).await,
                        Some(Order::Approve { server, approval, told }) => self.approve(&server, approval, told).await,
                        Some(Order::Withdraw(server, revision)) => self.withdraw(&server, revision).await,
                        Some(Order::Idle(..) | Order::Tell(_)) => {}
                        None => return Err(oneshot::channel().0),
                    },
                }
            }
        }
    }

    async fn try_begin(&mut self) -> Result<Session, EtcdError> {
        let Joining { client, host, ttl, .. } = &self.joining;
        let id = client.grant(*ttl).await?;
        if self.own.id.is_empty() {
            // For as long as the process runs, also where the lease is another later.
            self.own.id = format!("{host}-{:08x}", id & 0xffff_ffff);
        }
        let lease = Arc::new(Lease::default());
        self.prove(id, &lease).await?;
        let Joining { client, host, ttl, .. } = &self.joining;
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

    /// Keeps the lease once, before anything is under it: with an etcd that is too slow for that, locks would be taken and lost again for ever.
    async fn prove(&self, id: i64, lease: &Lease) -> Result<(), EtcdError> {
        let Joining { client, ttl, .. } = &self.joining;
        let (sent, longest) = (boot_time(), *ttl / PROOF);
        let kept = client.keep_alive(id, longest, longest).await;
        let took = boot_time().saturating_sub(sent);
        match kept {
            Ok(true) => {
                lease.extend(sent + *ttl - margin(*ttl));
                Ok(())
            }
            Ok(false) => Err(EtcdError::LeaseEnded),
            Err(EtcdError::Unavailable(_)) if took >= longest => Err(EtcdError::TooSlow { ttl: *ttl, longest }),
            Err(error) => Err(error),
        }
    }

    async fn keep(&mut self, session: &Session) -> Ended {
        loop {
            match self.follow(session).await {
                Ok(ended) => return ended,
                Err(error) => {
                    if self.is_lost(session) {
                        return Ended::Lost;
                    }
                    if !matches!(error, EtcdError::Compacted | EtcdError::Behind) {
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
        let (pairs, point) = client.list_at(&self.keys.live()).await?;
        self.live.replace(&self.keys, &pairs, boot_time());
        self.stale = true;
        let before = std::mem::replace(&mut self.seen, point);
        if self.seen.is_set_back(&before) {
            self.take_set_back();
            return Ok(Ended::SetBack);
        }
        self.raise_base().await?;
        self.reconcile(session);
        let watch = client.watch(&self.keys.live(), self.seen.revision + 1).await?;
        let mut followed = Followed::start(client, self.keys.live(), watch);
        let mut health = session.health.clone();
        let mut orders_ended = false;
        loop {
            // All that has come: what is decided on an older state is refused, and there may be much of it.
            while let Ok(changes) = followed.changes.try_recv() {
                self.take(changes?);
                self.reconcile(session);
            }
            let wake = self.act(session).await;
            self.show(session.lease.left().is_some());
            let wait = wake.map_or(LOOK, |at| at.saturating_sub(boot_time())).clamp(GATHER, LOOK);
            // A deadline that passes has to be told of.
            let wait = session.lease.left().map_or(wait, |left| wait.min(left + Duration::from_millis(1)));
            tokio::select! {
                changes = followed.changes.recv() => {
                    let ended = || EtcdError::Unavailable("the watch ended".to_owned());
                    self.take(changes.ok_or_else(ended)??);
                    self.reconcile(session);
                }
                order = self.orders.recv(), if !orders_ended => match order {
                    Some(Order::Stop(told)) => return Ok(Ended::Stopped(told)),
                    Some(Order::Declare(servers)) => self.own.declared = servers,
                    Some(Order::Idle(server, token)) => self.give_up(session, &server, token).await,
                    Some(Order::Tell(command)) => self.tell(command).await,
                    Some(Order::Suspend { object, suspend, told }) => self.suspend(&object, suspend, told).await,
                    Some(Order::Approve { server, approval, told }) => self.approve(&server, approval, told).await,
                    Some(Order::Withdraw(server, revision)) => self.withdraw(&server, revision).await,
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

    fn take(&mut self, changes: Changes) {
        self.stale = true;
        self.fine();
        self.has_seen(changes.revision);
        for command in self.live.take(&self.keys, &changes, boot_time()) {
            let _ = self.heard.try_send(command);
        }
    }

    fn has_seen(&mut self, revision: i64) {
        self.seen.revision = self.seen.revision.max(revision);
        self.highest = self.highest.max(revision.saturating_add(self.live.base.0));
    }

    /// Whoever held a lock that etcd knows nothing of any more may be at work for as long as a lease lives.
    fn take_set_back(&mut self) {
        let longest = self.live.tenures.values().map(|(tenure, _)| Duration::from_millis(tenure.ttl_ms)).max();
        self.own.not_before = boot_time() + self.joining.ttl.max(longest.unwrap_or_default());
        self.set_back = Some(jiff::Timestamp::now());
        tracing::error!(
            revision = self.seen.revision,
            "etcd was brought back from an older state: what was written since is gone, and every lock is given up and taken anew"
        );
        self.show_fleet();
    }

    /// Sees to it that tokens go on growing where revisions do not.
    async fn raise_base(&mut self) -> Result<(), EtcdError> {
        let (base, known) = self.live.base;
        let lacking = self.highest.saturating_sub(self.seen.revision.saturating_add(base));
        if lacking > 0 {
            let raised = base.saturating_add(lacking);
            let key = self.keys.base();
            let value = serde_json::to_vec(&raised).unwrap_or_default();
            let unchanged = Compare::Modified(key.clone(), known);
            match self.joining.client.txn(&[unchanged], &[Change::put(key, value)]).await? {
                Some(revision) => self.live.base = (raised, revision),
                // Another one has raised it.
                None => return Err(EtcdError::Behind),
            }
        }
        self.has_seen(self.seen.revision);
        Ok(())
    }

    /// Makes what is held here agree with what etcd has: a lock that is gone or another's is held no longer, and one that was taken by a request
    /// whose answer did not come is held.
    fn reconcile(&mut self, session: &Session) {
        let live = &self.live;
        self.mine.retain(|server, holding| {
            let there = live
                .locks
                .get(server)
                .is_some_and(|lock| (lock.created, lock.lease) == (holding.created, holding.lease));
            if !there {
                holding.fence.revoke();
            }
            there
        });
        for (server, lock) in &live.locks {
            if lock.lease == session.id && lock.holder.controller == self.own.id && !self.mine.contains_key(server) {
                self.mine.insert(server.clone(), Holding::new(&session.lease, live, lock));
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
        claims.truncate(ROUND);
        self.stale = true;
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
                Ok(Ok((created, since))) => {
                    self.has_seen(created);
                    self.live.is_news(&server, created);
                    let holder = Holder { controller: self.own.id.clone(), since };
                    let lock = Lock { holder, created, lease: session.id };
                    self.mine.insert(server.clone(), Holding::new(&session.lease, &self.live, &lock));
                    self.own.held.insert(server.clone());
                    self.live.free.remove(&server);
                    self.live.locks.insert(server, lock);
                }
                // Another one was first. That is taken from here: the watch may be a long way behind.
                Ok(Err(found)) => {
                    let asked = [self.keys.lock(&server), self.keys.tenure(&server), self.keys.base()];
                    let asked = asked.each_ref().map(String::as_str);
                    self.live.take_found(&self.keys, &asked, &found, boot_time());
                    self.own.has_lost(&server, boot_time());
                }
                Err(error) => self.in_trouble(&error.to_string()),
            }
        }
        Some(boot_time() + GATHER)
    }

    /// `Err` in `Ok`: what the lock, its tenure and the base of tokens are instead.
    async fn claim(
        &self,
        session: &Session,
        server: &ObjectKey,
    ) -> Result<Result<(i64, jiff::Timestamp), Found>, EtcdError> {
        let since = jiff::Timestamp::now();
        let known = self.live.tenures.get(server).map_or(0, |(_, revision)| *revision);
        let (lock, tenure) = (self.keys.lock(server), self.keys.tenure(server));
        let changes = taking(&self.own.id, since, self.joining.ttl, session.id, &lock, &tenure);
        let base = self.keys.base();
        let asked = [lock.as_str(), &tenure, &base];
        let free = [
            Compare::Created(lock.clone(), 0),
            Compare::Modified(tenure.clone(), known),
            Compare::Modified(base.clone(), self.live.base.1),
        ];
        let taken = self.joining.client.txn_or_read(&free, &changes, &asked).await?;
        Ok(taken.map(|token| (token, since)))
    }

    /// After the last call: whoever comes next need not wait.
    async fn give_up(&mut self, session: &Session, server: &ObjectKey, token: i64) {
        let leaving = self.mine.get(server).filter(|it| it.leaving && it.fence.token() == token).cloned();
        let Some(holding) = leaving else { return };
        holding.fence.revoke();
        let released = match self.release(server, &holding).await {
            Ok(revision) => revision,
            Err(error) => {
                tracing::warn!(server = %server.path(), %error, "a lock could not be given up");
                self.in_trouble(&error.to_string());
                // The watch tells of it where it was; else it is tried again, with a fence of its own.
                let fence = Fence::new(Arc::clone(&session.lease), token);
                self.mine.insert(server.clone(), Holding { fence, leaving: false, ..holding });
                return;
            }
        };
        self.stale = true;
        // That it was taken may be told of only now.
        self.live.is_news(server, released);
        self.mine.remove(server);
        self.own.held.remove(server);
        self.live.locks.remove(server);
        self.live.free.insert(server.clone(), boot_time());
    }

    /// Returns as of which revision the lock is not this controller's any more.
    async fn release(&self, server: &ObjectKey, holding: &Holding) -> Result<i64, EtcdError> {
        let (lock, tenure) = (self.keys.lock(server), self.keys.tenure(server));
        let gone = |key: String| Change::Delete { key };
        let changes = if self.own.declared.contains(server) {
            let noted = Tenure { controller: self.own.id.clone(), since: holding.since, ttl_ms: 0, given_up: true };
            vec![gone(lock), Change::put(tenure, serde_json::to_vec(&noted).unwrap_or_default())]
        } else {
            // Nobody need wait for a holder who gave it up, and there is nothing more to be shown of it.
            vec![gone(lock), gone(tenure), gone(self.keys.view(server)), gone(self.keys.approval(server))]
        };
        let conditions = holding.conditions(&self.keys, server);
        let done = self.joining.client.txn_or_read(&conditions, &changes, &[]).await?;
        // It may be gone already, and another's.
        Ok(done.unwrap_or_else(|found| found.revision))
    }

    async fn give_up_all(&mut self, session: &Session) {
        let mine = std::mem::take(&mut self.mine);
        mine.values().for_each(|holding| holding.fence.revoke());
        let this = &*self;
        futures::stream::iter(mine)
            .for_each_concurrent(AT_ONCE, async |(server, holding)| {
                if let Err(error) = this.release(&server, &holding).await {
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

    async fn suspend(&mut self, object: &ObjectKey, suspend: bool, told: Vec<u8>) {
        let key = self.keys.suspended(object);
        let change = if suspend { Change::put(key, b"{}".to_vec()) } else { Change::Delete { key } };
        self.write_down(object, change, told).await;
    }

    async fn approve(&mut self, server: &ObjectKey, approval: Vec<u8>, told: Vec<u8>) {
        self.write_down(server, Change::put(self.keys.approval(server), approval), told).await;
    }

    /// What all controllers are to know of an object.
    async fn write_down(&mut self, object: &ObjectKey, change: Change, told: Vec<u8>) {
        if let Err(error) = self.joining.client.txn(&[], &[change]).await {
            tracing::warn!(%object, %error, "what was asked for is known to this controller only");
            let _ = self.heard.try_send(told);
        }
    }

    async fn withdraw(&mut self, server: &ObjectKey, revision: i64) {
        let key = self.keys.approval(server);
        let unchanged = Compare::Modified(key.clone(), revision);
        if let Err(error) = self.joining.client.txn(&[unchanged], &[Change::Delete { key }]).await {
            // The loop asks for it again when etcd answers.
            tracing::debug!(%server, %error, "an approval that has ended stays in etcd");
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
        // Whoever is shown it looks through a fleet each time.
        if self.stale {
            self.show_fleet();
        }
    }

    fn show_fleet(&mut self) {
        self.stale = false;
        let fleet = Fleet {
            own: self.own.id.clone(),
            live: Arc::new(self.live.clone()),
            trouble: self.trouble.clone(),
            set_back: self.set_back,
        };
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

/// Until the lease is gone. The deadline counts from when a keepalive was sent: etcd counts from when it came.
///
/// One that is slow to be answered is waited for, for half of the time to live, and meanwhile others are sent to the other members: so neither a slow
/// etcd nor a member that does not answer at all costs the lease. Those that were sent meanwhile are waited for too: with a slow etcd the next
/// answer would be a whole round trip away.
pub(super) async fn keep_alive(
    client: Client,
    id: i64,
    ttl: Duration,
    lease: Arc<Lease>,
    told: watch::Sender<Result<(), String>>,
) {
    let pause = ttl / 6;
    let mut under_way = FuturesUnordered::new();
    // When the latest one was sent, and the latest of those that were answered.
    let (mut last, mut answered) = (Duration::ZERO, Duration::ZERO);
    loop {
        if last > answered {
            client.turn();
        }
        last = boot_time();
        let (sent, client) = (last, client.clone());
        under_way.push(async move { (sent, client.keep_alive(id, ttl / 2, ttl / 2).await) });
        let mut next = std::pin::pin!(tokio::time::sleep(pause));
        loop {
            let outcome = tokio::select! {
                Some(outcome) = under_way.next() => outcome,
                () = &mut next => break,
            };
            let health = match outcome {
                (sent, Ok(true)) => {
                    lease.extend(sent + ttl - margin(ttl));
                    answered = answered.max(sent);
                    Ok(())
                }
                (_, Ok(false)) => {
                    tracing::warn!("the lease has ended: every lock of this controller with it");
                    lease.lose();
                    return;
                }
                // One that was sent later has been answered.
                (sent, Err(_)) if sent <= answered => continue,
                (_, Err(error)) if under_way.is_empty() => {
                    next.set(tokio::time::sleep(pause / 4));
                    Err(error.to_string())
                }
                // Another one may be answered still, unless none was for as long as this one has waited.
                (sent, Err(_)) if boot_time().saturating_sub(sent) < ttl / 3 => continue,
                (_, Err(error)) => Err(error.to_string()),
            };
            told.send_if_modified(|before| {
                let is_new = before.is_ok() != health.is_ok() || health.is_ok();
                *before = health;
                is_new
            });
        }
    }
}
