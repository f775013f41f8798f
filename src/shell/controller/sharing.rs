//! The loop as one of several controllers: it passes only over the servers whose locks it holds, begins with what was kept of them, and lets go of
//! them between two passes. Without a store that is shared there is none of this, and every declared server is the loop's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::board::{Board, ServerState};
use super::run::{Command, Message};
use crate::core::api::{Condition, ConditionStatus, ObjectKey};
use crate::core::report::Report;
use crate::core::status::Status;
use crate::shell::engine::fence::Fence;
use crate::shell::store::Records;
use crate::shell::store::etcd::keeper::{Fleet, Held, Shares};
use crate::shell::store::records::ObjectRecord;

/// Type of the controller's own condition about the store that it shares.
pub(super) const STORE_REACHABLE: &str = "StoreReachable";
/// Servers of which it is read at once what was kept.
const AT_ONCE: usize = 8;
/// Before that is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// Between two looks at what the others have found.
const LOOK: Duration = Duration::from_secs(5);

/// What of the commands every controller hears.
#[derive(Debug, Serialize, Deserialize)]
enum Told {
    Reconcile { server: Option<ObjectKey> },
    Approve { fingerprint: String },
    Restart { resource: ObjectKey },
    Suspend { object: ObjectKey, suspend: bool },
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
    told: bool,
}

/// What there is of the others.
pub(super) enum News {
    Held,
    Fleet,
    Heard(Command),
    Ended,
}

impl Sharing {
    pub(super) fn new(shares: Shares, heard: mpsc::Receiver<Vec<u8>>) -> Self {
        Self {
            changes: shares.held(),
            fleet: shares.fleet(),
            shares,
            heard,
            held: Held::default(),
            recalled: BTreeMap::new(),
            asked: BTreeMap::new(),
            idle: BTreeMap::new(),
            told: false,
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

    pub(super) fn declare(&self, servers: impl IntoIterator<Item = ObjectKey>) {
        self.shares.declare(servers);
    }

    /// Has it told to all. `false`: it is for this controller alone.
    pub(super) fn tell(&self, command: &Command) -> bool {
        let told = match command {
            Command::Reconcile { server } => Told::Reconcile { server: server.clone() },
            Command::Approve { fingerprint } => Told::Approve { fingerprint: fingerprint.clone() },
            Command::Restart { resource } => Told::Restart { resource: resource.clone() },
            Command::Suspend { object, suspend } => Told::Suspend { object: object.clone(), suspend: *suspend },
            Command::By { .. } | Command::BackedUp { .. } | Command::Reload | Command::Stop => return false,
        };
        self.shares.tell(serde_json::to_vec(&told).unwrap_or_default());
        true
    }

    /// Takes what is held now; returns the locks that are new.
    pub(super) fn take_held(&mut self) -> Vec<(ObjectKey, Fence)> {
        self.held = self.changes.borrow_and_update().clone();
        let held = Arc::clone(&self.held);
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

    /// Shows who has what, and says when etcd does not do what it should.
    pub(super) fn show(&mut self, board: &Board) {
        let fleet = Arc::clone(&self.fleet.borrow_and_update());
        match (&fleet.trouble, self.told) {
            (Some((error, _)), _) => {
                let message = format!(
                    "{error}. Locks that were kept lately hold for some seconds; then nothing is changed until etcd answers again."
                );
                board.set_condition(STORE_REACHABLE, ConditionStatus::False, "Unavailable", &message);
            }
            (None, _) => {
                board.set_condition(STORE_REACHABLE, ConditionStatus::True, "Answers", "");
            }
        }
        self.told = fleet.trouble.is_some();
        board.update(|content| content.fleet = Some(fleet));
    }
}

fn told_command(told: Told) -> Command {
    match told {
        Told::Reconcile { server } => Command::Reconcile { server },
        Told::Approve { fingerprint } => Command::Approve { fingerprint },
        Told::Restart { resource } => Command::Restart { resource },
        Told::Suspend { object, suspend } => Command::Suspend { object, suspend },
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

/// Reads now and then what the others have found.
pub(super) async fn look_at_others(store: Arc<dyn Records>, inbox: mpsc::Sender<Message>) {
    let mut known = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let revision = store.objects_revision().await;
        if revision.is_none() || revision == known {
            continue;
        }
        if let Ok(objects) = store.objects().await {
            known = revision;
            if inbox.send(Message::Others { objects }).await.is_err() {
                return;
            }
        }
    }
}

/// A server of another controller, as far as its records tell.
pub(super) fn of_others(
    set: &str,
    server: &ObjectKey,
    objects: &BTreeMap<ObjectKey, ObjectRecord>,
) -> Option<ServerState> {
    let path = server.path();
    let told = objects.iter().filter_map(|(key, record)| Some((key.clone(), record.conditions.get(&path)?.clone())));
    let conditions: BTreeMap<ObjectKey, Arc<[Condition]>> = told.collect();
    let own = conditions.get(server)?;
    let reachable = own.iter().find(|it| it.condition_type == "Reachable");
    let empty =
        Report { set: set.to_owned(), revision: None, servers: Vec::new(), notes: Vec::new(), prune: Vec::new() };
    let finished = own.iter().filter_map(|it| it.last_transition_time.as_ref()?.parse().ok()).max();
    let finished = finished.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let mut state = ServerState::new(
        server,
        0,
        finished,
        Status { servers: BTreeMap::new(), conditions: BTreeMap::new() },
        empty.document(),
    );
    state.reachable = reachable.is_some_and(|it| it.status == ConditionStatus::True);
    state.conditions = conditions;
    Some(state)
}
