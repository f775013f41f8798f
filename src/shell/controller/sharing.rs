//! The loop as one of several controllers: it passes only over the servers whose locks it holds, begins with what was kept of them, and lets go of
//! them between two passes. Without a store that is shared there is none of this, and every declared server is the loop's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::board::{Board, ServerState};
use super::run::{Command, Message};
use super::told::{Teller, Told};
use crate::core::api::{ConditionStatus, ObjectKey};
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::plan::Withheld;
use crate::shell::engine::fence::Fence;
use crate::shell::store::Records;
use crate::shell::store::etcd::Views;
use crate::shell::store::etcd::approval::{Approval, Given};
use crate::shell::store::etcd::keeper::{Fleet, Held, Shares};

/// Type of the controller's own condition about the store that it shares.
pub(super) const STORE_REACHABLE: &str = "StoreReachable";
/// Servers of which it is read at once what was kept.
const AT_ONCE: usize = 8;
/// Before that is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// What others show that waits to be taken.
const SHOWN: usize = 4;

/// What a controller has of the others.
pub struct Together {
    pub shares: Shares,
    /// Commands that are told to all.
    pub heard: mpsc::Receiver<Vec<u8>>,
    pub views: Views,
}

/// What of the commands every controller hears.
#[derive(Debug, Serialize, Deserialize)]
enum TellAll {
    Reconcile {
        server: Option<ObjectKey>,
    },
    Approve {
        fingerprint: String,
    },
    Restart {
        resource: ObjectKey,
    },
    /// Where it could not be written down for all.
    Suspend {
        object: ObjectKey,
        suspend: bool,
    },
}

/// With the other controllers.
pub(super) struct Sharing {
    shares: Shares,
    changes: watch::Receiver<Held>,
    fleet: watch::Receiver<Arc<Fleet>>,
    heard: mpsc::Receiver<Vec<u8>>,
    held: Held,
    /// Locks under which it is known what was kept of the server.
    recalled: BTreeMap<ObjectKey, Fence>,
    asked: BTreeMap<ObjectKey, Fence>,
    /// Let go of, once each.
    idle: BTreeMap<ObjectKey, Fence>,
    /// Servers that are declared, and what is suspended.
    declared: BTreeSet<ObjectKey>,
    suspended: BTreeSet<ObjectKey>,
    /// Approvals that the loop knows of, by the revisions that wrote them.
    approved: BTreeMap<ObjectKey, i64>,
    /// Those that the loop has ended: they are in etcd for a moment more.
    withdrawn: BTreeMap<ObjectKey, i64>,
    in_trouble: bool,
    views: Views,
    teller: Teller,
    /// Threads that do not hold up the loop.
    background: Handle,
    inbox: mpsc::Sender<Message>,
    /// Follows what others show. Begun anew with other servers: what was told of them before was left out.
    followers: JoinSet<()>,
    /// Tells others, and hears what happens there.
    _tasks: JoinSet<()>,
}

/// What etcd says since a moment ago.
pub(super) struct Learned {
    /// What is suspended, and what no longer.
    pub(super) suspended: Vec<Command>,
    /// Fingerprints.
    pub(super) approved: Vec<String>,
}

/// What there is of the others.
pub(super) enum News {
    Held,
    Fleet,
    Heard(Command),
    Ended,
}

impl Sharing {
    pub(super) fn new(together: Together, background: Handle, inbox: mpsc::Sender<Message>) -> Self {
        let Together { shares, heard, views } = together;
        let teller = Teller::default();
        let mut tasks = JoinSet::new();
        tasks.spawn_on(teller.clone().run(views.clone()), &background);
        tasks.spawn_on(hear_events(views.clone(), inbox.clone()), &background);
        Self {
            changes: shares.held(),
            fleet: shares.fleet(),
            shares,
            heard,
            held: Held::default(),
            recalled: BTreeMap::new(),
            asked: BTreeMap::new(),
            idle: BTreeMap::new(),
            declared: BTreeSet::new(),
            suspended: BTreeSet::new(),
            approved: BTreeMap::new(),
            withdrawn: BTreeMap::new(),
            in_trouble: false,
            views,
            teller,
            background,
            inbox,
            followers: JoinSet::new(),
            _tasks: tasks,
        }
    }

    /// May be dropped at any time.
    pub(super) async fn news(this: &mut Option<Self>) -> News {
        let Some(this) = this else { return std::future::pending().await };
        tokio::select! {
            changed = this.changes.changed() => if changed.is_ok() { News::Held } else { News::Ended },
            changed = this.fleet.changed() => if changed.is_ok() { News::Fleet } else { News::Ended },
            Some(command) = this.heard.recv() => match serde_json::from_slice(&command) {
                Ok(told) => News::Heard(told_command(told)),
                // Of a newer version.
                Err(_) => News::Fleet,
            },
        }
    }

    pub(super) fn declare(&mut self, servers: &BTreeSet<ObjectKey>) {
        self.shares.declare(servers.iter().cloned());
        if self.declared != *servers {
            self.declared.clone_from(servers);
            self.followers.abort_all();
            self.followers.spawn_on(follow(self.views.clone(), self.inbox.clone()), &self.background);
        }
    }

    /// Has the others show what a pass of this controller's came to.
    pub(super) fn show_to_others(&self, server: &ObjectKey, state: Arc<ServerState>) {
        if let Some(fence) = self.fence(server) {
            self.teller.tell(server, fence, state);
        }
    }

    /// Has whoever has the server do what was approved there, now or later.
    pub(super) fn approve(&self, server: &ObjectKey, list: &Withheld) {
        let told = TellAll::Approve { fingerprint: list.fingerprint.clone() };
        let told = serde_json::to_vec(&told).unwrap_or_default();
        match Approval::of(list).packed() {
            Some(approval) => self.shares.approve(server.clone(), approval, told),
            None => self.shares.tell(told),
        }
    }

    /// What is approved on the server, where that was for what is declared there now.
    pub(super) fn approval(&self, server: &DesiredServer) -> Option<Arc<Given>> {
        let fleet = self.fleet.borrow();
        let given = fleet.live.approvals.get(&server.key)?;
        let is_over = self.withdrawn.get(&server.key) == Some(&given.revision);
        (given.approval.is_for(server) && !is_over).then(|| Arc::clone(given))
    }

    /// Ends an approval, and no later one.
    pub(super) fn withdraw(&mut self, server: &ObjectKey, revision: i64) {
        self.withdrawn.insert(server.clone(), revision);
        self.shares.withdraw(server, revision);
    }

    /// Ends the approvals that were for what was declared before and are not for what is declared now.
    pub(super) fn withdraw_outdated(&mut self, before: &DesiredState, now: &DesiredState) {
        let approvals = self.fleet.borrow().live.approvals.clone();
        let is_for = |state: &DesiredState, server: &ObjectKey, given: &Given| {
            state.servers.get(server).is_some_and(|it| given.approval.is_for(it))
        };
        for (server, given) in approvals.iter().filter(|(server, given)| is_for(before, server, given)) {
            if !is_for(now, server, given) {
                self.withdraw(server, given.revision);
            }
        }
    }

    /// Has it told to all. `false`: it is for this controller alone.
    pub(super) fn tell(&self, command: &Command) -> bool {
        let told = match command {
            Command::Reconcile { server } => TellAll::Reconcile { server: server.clone() },
            Command::Restart { resource } => TellAll::Restart { resource: resource.clone() },
            Command::Suspend { object, suspend } => {
                let told = TellAll::Suspend { object: object.clone(), suspend: *suspend };
                self.shares.suspend(object.clone(), *suspend, serde_json::to_vec(&told).unwrap_or_default());
                return true;
            }
            Command::Approve { .. }
            | Command::By { .. }
            | Command::BackedUp { .. }
            | Command::Reload
            | Command::Stop => return false,
        };
        self.shares.tell(serde_json::to_vec(&told).unwrap_or_default());
        true
    }

    /// Takes what is held now; returns the locks that are new.
    pub(super) fn take_held(&mut self) -> Vec<(ObjectKey, Fence)> {
        self.held = self.changes.borrow_and_update().clone();
        let held = Arc::clone(&self.held);
        // Whoever has it now may have shown it before this one let go of it.
        let gone = self.asked.keys().filter(|server| !held.contains_key(*server)).cloned();
        let gone: Vec<ObjectKey> = gone.collect();
        if !gone.is_empty() {
            self.background.spawn(read(self.views.clone(), gone, self.inbox.clone()));
        }
        let is_held =
            |server: &ObjectKey, fence: &mut Fence| held.get(server).is_some_and(|it| it.fence.is_same(fence));
        self.recalled.retain(is_held);
        self.asked.retain(is_held);
        self.idle.retain(is_held);
        let new = held.iter().filter(|(server, _)| !self.asked.contains_key(*server));
        let new: Vec<_> = new.map(|(server, holding)| (server.clone(), holding.fence.clone())).collect();
        self.asked.extend(new.iter().cloned());
        new
    }

    pub(super) fn recalled(&mut self, server: &ObjectKey, fence: Fence) -> bool {
        let current = self.held.get(server).is_some_and(|it| it.fence.is_same(&fence));
        if current {
            self.recalled.insert(server.clone(), fence);
        }
        current
    }

    /// The lock on the server, once it may be worked under.
    pub(super) fn fence(&self, server: &ObjectKey) -> Option<&Fence> {
        self.recalled.get(server)
    }

    /// Servers that get passes, and those that only end what they have begun.
    pub(super) fn kept(&self) -> (BTreeSet<ObjectKey>, BTreeSet<ObjectKey>) {
        let (leaving, kept): (Vec<_>, Vec<_>) = self.held.iter().partition(|(_, holding)| holding.leaving);
        let kept = kept.into_iter().map(|(server, _)| server).filter(|it| self.recalled.contains_key(*it));
        (kept.cloned().collect(), leaving.into_iter().map(|(server, _)| server.clone()).collect())
    }

    /// Locks that are to be given up and on whose servers nothing is under way, each once.
    pub(super) fn let_go(&mut self, is_busy: impl Fn(&ObjectKey) -> bool) -> Vec<(ObjectKey, Fence)> {
        let leaving =
            self.held.iter().filter(|(server, it)| it.leaving && !self.idle.contains_key(*server) && !is_busy(server));
        let gone: Vec<_> = leaving.map(|(server, holding)| (server.clone(), holding.fence.clone())).collect();
        self.idle.extend(gone.iter().cloned());
        gone
    }

    pub(super) fn shares(&self) -> Shares {
        self.shares.clone()
    }

    /// Shows who has what, and says when etcd does not do what it should; returns what is new of it to the loop.
    pub(super) fn show(&mut self, board: &Board) -> Learned {
        let fleet = Arc::clone(&self.fleet.borrow_and_update());
        match (&fleet.trouble, fleet.set_back) {
            (Some((error, _)), _) => {
                let message = format!(
                    "{error}. Locks that were kept lately hold for some seconds; then nothing is changed until etcd answers again."
                );
                board.set_condition(STORE_REACHABLE, ConditionStatus::False, "Unavailable", &message);
            }
            (None, Some(since)) => {
                let message = format!(
                    "It was found at {since:.0} that etcd had been brought back from an older state. What was written since that state is gone; every lock was taken anew."
                );
                board.set_condition(STORE_REACHABLE, ConditionStatus::True, "SetBack", &message);
            }
            (None, None) => {
                board.set_condition(STORE_REACHABLE, ConditionStatus::True, "Answers", "");
            }
        }
        let now = &fleet.live.suspended;
        let change = |suspend| move |object: &ObjectKey| Command::Suspend { object: object.clone(), suspend };
        let changes = now.difference(&self.suspended).map(change(true));
        let suspended = changes.chain(self.suspended.difference(now).map(change(false))).collect();
        self.suspended.clone_from(now);
        let now_given = &fleet.live.approvals;
        let given = now_given.iter();
        let new = given.clone().filter(|(server, given)| self.approved.get(*server) != Some(&given.revision));
        let approved = new.map(|(_, given)| given.approval.fingerprint.clone()).collect();
        self.withdrawn.retain(|server, revision| now_given.get(server).is_some_and(|it| it.revision == *revision));
        // What could not be taken out of etcd meanwhile.
        if std::mem::replace(&mut self.in_trouble, fleet.trouble.is_some()) && fleet.trouble.is_none() {
            self.withdrawn.iter().for_each(|(server, revision)| self.shares.withdraw(server, *revision));
        }
        self.approved = given.map(|(server, given)| (server.clone(), given.revision)).collect();
        board.update(|content| content.fleet = Some(fleet));
        Learned { suspended, approved }
    }
}

fn told_command(told: TellAll) -> Command {
    match told {
        TellAll::Reconcile { server } => Command::Reconcile { server },
        TellAll::Approve { fingerprint } => Command::Approve { fingerprint },
        TellAll::Restart { resource } => Command::Restart { resource },
        TellAll::Suspend { object, suspend } => Command::Suspend { object, suspend },
    }
}

/// Reads what was kept of servers, until it is there or the lock has ended.
pub(super) async fn recall(store: Arc<dyn Records>, new: Vec<(ObjectKey, Fence)>, inbox: mpsc::Sender<Message>) {
    let read = futures::stream::iter(new).for_each_concurrent(AT_ONCE, |(server, fence)| {
        let (store, inbox) = (Arc::clone(&store), inbox.clone());
        async move {
            while fence.is_open() {
                match store.objects_on(&server).await {
                    Ok(objects) => {
                        let _ = inbox.send(Message::Recalled { server, fence, objects }).await;
                        return;
                    }
                    Err(error) => tracing::warn!(server = %server.path(), %error, "what was kept of it cannot be read"),
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    });
    read.await;
}

/// Takes in what others show, for as long as it is not dropped.
async fn follow(views: Views, inbox: mpsc::Sender<Message>) {
    let (sender, mut told) = mpsc::channel(SHOWN);
    let take = async {
        while let Some(shown) = told.recv().await {
            if inbox.send(others(shown)).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(views.follow::<Told>(sender), take);
}

async fn hear_events(views: Views, inbox: mpsc::Sender<Message>) {
    let (sender, mut told) = mpsc::channel(SHOWN);
    let take = async {
        while let Some(events) = told.recv().await {
            if inbox.send(Message::Happened { events }).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(views.follow_events(sender), take);
}

async fn read(views: Views, servers: Vec<ObjectKey>, inbox: mpsc::Sender<Message>) {
    for server in servers {
        // What cannot be read now is told by the watch, when it changes.
        if let Ok(Some(told)) = views.read::<Told>(&server).await {
            let _ = inbox.send(others(vec![(server, told)])).await;
        }
    }
}

fn others(shown: Vec<(ObjectKey, Told)>) -> Message {
    Message::Others { shown: shown.into_iter().map(|(server, told)| (server, told.state())).collect() }
}
