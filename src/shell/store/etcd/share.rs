//! Which controller takes which server: decided from values, by each controller for itself and by all of them alike.
//!
//! Every server ranks the controllers by a hash of both names. The first of those that are there and are not being drained takes it. A controller
//! that comes or goes changes the first place of its own share of the servers and of no others, so nothing else moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::approval::Given;
use crate::core::api::ObjectKey;

/// A controller has to have been there for so long before others give servers up to it: one that starts and fails again moves nothing.
pub const SETTLE: Duration = Duration::from_secs(5);
/// A free server is left so long to each controller that ranks before this one.
pub const TURN: Duration = Duration::from_secs(2);
/// Between two rounds of giving servers up to a controller that has come.
const ROUND: Duration = Duration::from_secs(1);
/// In one round, one in so many of those that are held.
const SHARE: usize = 20;
/// A server that was given up and that nobody took is kept for so long.
const KEEP: Duration = Duration::from_secs(600);

/// A controller, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub host: String,
    pub pid: u32,
    pub started: jiff::Timestamp,
    pub version: String,
}

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub controller: String,
    pub since: jiff::Timestamp,
}

/// A lock that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    pub holder: Holder,
    /// By which revision it was taken: grows with every holder.
    pub created: i64,
    pub lease: i64,
}

/// What stays of a lock when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenure {
    pub controller: String,
    pub since: jiff::Timestamp,
    /// How long its holder may have gone on after the lock has ended.
    pub ttl_ms: u64,
    /// The holder gave it up, after its last call.
    #[serde(default)]
    pub given_up: bool,
}

/// All of this, as etcd has it, and since when by this machine's clock.
#[derive(Debug, Clone, Default)]
pub struct Live {
    pub members: BTreeMap<String, Member>,
    pub drained: BTreeSet<String>,
    /// What is left as it is because somebody has asked for it, until that is taken back.
    pub suspended: BTreeSet<ObjectKey>,
    /// What was approved on servers, and is not used up.
    pub approvals: BTreeMap<ObjectKey, Arc<Given>>,
    pub locks: BTreeMap<ObjectKey, Lock>,
    /// With the revision of each.
    pub tenures: BTreeMap<ObjectKey, (Tenure, i64)>,
    /// Since when controllers have been seen.
    pub joined: BTreeMap<String, Duration>,
    /// Since when locks have been seen to be free.
    pub free: BTreeMap<ObjectKey, Duration>,
    /// By which revision that was so of each lock. What comes later and is older says nothing.
    pub known: BTreeMap<ObjectKey, i64>,
    /// What is added to revisions to make tokens of them, and the revision of that: more than nothing once etcd was set back to an older state.
    pub base: (i64, i64),
}

impl Live {
    /// The servers of a controller, since when it has each, and under which token.
    pub fn held_by<'a>(&'a self, id: &'a str) -> impl Iterator<Item = (&'a ObjectKey, &'a Lock)> {
        self.locks.iter().filter(move |(_, lock)| lock.holder.controller == id)
    }

    /// Grows with every holder of the lock, also when etcd's revisions do not.
    pub fn token(&self, lock: &Lock) -> i64 {
        lock.created.saturating_add(self.base.0)
    }

    /// A controller as JSON: what `get controllers` and the API have of it.
    pub fn document(&self, id: &str) -> serde_json::Value {
        let member = self.members.get(id);
        let held = self.held_by(id).map(|(server, lock)| {
            serde_json::json!({ "server": server.path(), "since": lock.holder.since, "token": self.token(lock) })
        });
        serde_json::json!({
            "apiVersion": crate::core::api::API_VERSION,
            "kind": "Controller",
            "metadata": { "name": id },
            "status": {
                "host": member.map(|it| &it.host),
                "pid": member.map(|it| it.pid),
                "started": member.map(|it| it.started),
                "version": member.map(|it| &it.version),
                "draining": self.drained.contains(id),
                "servers": held.collect::<Vec<_>>(),
            },
        })
    }
}

/// What this controller is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Claim(ObjectKey),
    /// After the passes that run.
    GiveUp(ObjectKey),
}

/// What this controller knows of itself.
#[derive(Debug, Default)]
pub struct Own {
    pub id: String,
    pub declared: BTreeSet<ObjectKey>,
    /// Locks that it holds.
    pub held: BTreeSet<ObjectKey>,
    /// Given up to another controller, and when.
    given: BTreeMap<ObjectKey, Duration>,
    /// Servers that nobody has and of which it is not known since when: since when this controller waits for its turn.
    waiting: BTreeMap<ObjectKey, Duration>,
    /// Servers that nobody else took, and until when they are kept.
    kept: BTreeMap<ObjectKey, Duration>,
    /// Locks that were not free when they were to be taken, and when that was.
    lost: BTreeMap<ObjectKey, Duration>,
    next_round: Duration,
    /// Nothing is taken before.
    pub not_before: Duration,
}

impl Own {
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }

    /// The lock was not free: it is not tried again at once, whatever is known of it.
    pub fn has_lost(&mut self, server: &ObjectKey, now: Duration) {
        self.lost.insert(server.clone(), now);
    }

    /// What is to be done now, and when there may be something else without anything new.
    pub fn steps(&mut self, live: &Live, now: Duration) -> (Vec<Step>, Option<Duration>) {
        let mut steps = Vec::new();
        let mut wake: Option<Duration> = None;
        let mut at = |time: Duration| wake = Some(wake.map_or(time, |wake| wake.min(time)));
        let drained = live.drained.contains(&self.id);
        let candidates: Vec<&String> = live.members.keys().filter(|id| !live.drained.contains(*id)).collect();
        let leaving = self.held.iter().filter(|server| drained || !self.declared.contains(*server));
        steps.extend(leaving.cloned().map(Step::GiveUp));
        if drained {
            return (steps, wake);
        }
        self.waiting.retain(|server, _| self.declared.contains(server) && !live.locks.contains_key(server));
        self.lost.retain(|_, at| *at + ROUND > now);
        let mut budget = (self.held.len() / SHARE).max(1);
        let mut gave = false;
        for server in &self.declared {
            let first = || ranked(server, &candidates, &self.id);
            match live.locks.get(server) {
                None if !self.held.contains(server) => {
                    let Some((place, _)) = first() else { continue };
                    let since = live.free.get(server).copied();
                    let since = since.unwrap_or_else(|| *self.waiting.entry(server.clone()).or_insert(now));
                    let due = self
                        .not_before
                        .max(since + outlasting(live, server) + TURN * u32::try_from(place).unwrap_or(u32::MAX))
                        .max(self.lost.get(server).map_or(Duration::ZERO, |at| *at + ROUND));
                    if due > now {
                        at(due);
                        continue;
                    }
                    if self.given.remove(server).is_some() {
                        self.kept.insert(server.clone(), now + KEEP);
                    }
                    steps.push(Step::Claim(server.clone()));
                }
                Some(lock) if lock.holder.controller == self.id => {
                    let Some((1.., best)) = first() else { continue };
                    if self.kept.get(server).is_some_and(|until| *until > now) {
                        continue;
                    }
                    let due = live.joined.get(best).map_or(now, |joined| *joined + SETTLE).max(self.next_round);
                    if due > now || budget == 0 {
                        at(due.max(now + ROUND));
                        continue;
                    }
                    budget -= 1;
                    gave = true;
                    self.given.insert(server.clone(), now);
                    steps.push(Step::GiveUp(server.clone()));
                }
                _ => {
                    self.given.remove(server);
                }
            }
        }
        if gave {
            self.next_round = now + ROUND;
            at(self.next_round);
        }
        (steps, wake)
    }
}

/// How long whoever held the lock before may still be at work after it has ended.
fn outlasting(live: &Live, server: &ObjectKey) -> Duration {
    match live.tenures.get(server) {
        Some((tenure, _)) if !tenure.given_up => Duration::from_millis(tenure.ttl_ms),
        _ => Duration::ZERO,
    }
}

/// The place of a controller among those that may have the server, and the first of them. `None`: it is not among them.
fn ranked<'a>(server: &ObjectKey, candidates: &[&'a String], id: &str) -> Option<(usize, &'a String)> {
    let own = candidates.iter().find(|it| **it == id).map(|it| weight(server, it))?;
    let before = candidates.iter().filter(|it| weight(server, it) > own).count();
    let best = candidates.iter().max_by_key(|it| weight(server, it))?;
    Some((before, *best))
}

fn weight(server: &ObjectKey, controller: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(controller.as_bytes());
    hasher.update([0]);
    hasher.update(server.path().as_bytes());
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::api::Kind;

    fn server(number: usize) -> ObjectKey {
        ObjectKey::new(Kind::Server, "default", &format!("edge-{number}"))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn member() -> Member {
        Member { host: "h".to_owned(), pid: 1, started: jiff::Timestamp::UNIX_EPOCH, version: "0".to_owned() }
    }

    /// Controllers that all see the same, at once.
    struct World {
        live: Live,
        owns: BTreeMap<String, Own>,
        now: Duration,
        servers: BTreeSet<ObjectKey>,
        moved: usize,
        revision: i64,
    }

    impl World {
        fn new(servers: usize) -> Self {
            let servers = (0..servers).map(server).collect();
            Self { live: Live::default(), owns: BTreeMap::new(), now: at(100), servers, moved: 0, revision: 1 }
        }

        fn join(&mut self, id: &str) {
            self.live.members.insert(id.to_owned(), member());
            self.live.joined.insert(id.to_owned(), self.now);
            let own = Own { declared: self.servers.clone(), ..Own::new(id) };
            self.owns.insert(id.to_owned(), own);
        }

        fn crash(&mut self, id: &str) {
            self.live.members.remove(id);
            let own = self.owns.remove(id).unwrap();
            for server in own.held {
                self.live.locks.remove(&server);
                self.live.free.insert(server, self.now);
            }
        }

        fn step(&mut self) {
            for (id, own) in &mut self.owns {
                for step in own.steps(&self.live, self.now).0 {
                    match step {
                        Step::Claim(server) => {
                            assert!(!self.live.locks.contains_key(&server), "{server} is taken twice");
                            self.revision += 1;
                            let holder = Holder { controller: id.clone(), since: jiff::Timestamp::UNIX_EPOCH };
                            let lock = Lock { holder, created: self.revision, lease: 1 };
                            let tenure = Tenure {
                                controller: id.clone(),
                                since: jiff::Timestamp::UNIX_EPOCH,
                                ttl_ms: 5_000,
                                given_up: false,
                            };
                            self.live.locks.insert(server.clone(), lock);
                            self.live.tenures.insert(server.clone(), (tenure, self.revision));
                            own.held.insert(server);
                            self.moved += 1;
                        }
                        Step::GiveUp(server) => {
                            self.live.locks.remove(&server);
                            self.live.free.insert(server.clone(), self.now);
                            self.live.tenures.get_mut(&server).unwrap().0.given_up = true;
                            own.held.remove(&server);
                        }
                    }
                }
            }
        }

        fn pass(&mut self, seconds: u64) {
            for _ in 0..seconds * 4 {
                self.step();
                self.now += Duration::from_millis(250);
            }
        }

        fn held(&self) -> BTreeMap<&str, usize> {
            self.owns.iter().map(|(id, own)| (id.as_str(), own.held.len())).collect()
        }
    }

    #[test]
    fn the_first_controller_takes_everything_at_once_and_a_second_gets_its_share_and_nothing_else_moves() {
        let mut world = World::new(300);
        world.join("a");
        world.step();
        assert_eq!(world.held()["a"], 300);
        world.join("b");
        world.pass(4);
        assert_eq!(world.held()["b"], 0, "it has to have been there for a while");
        let before = world.owns["a"].held.clone();
        world.moved = 0;
        world.pass(60);
        let share = world.held()["b"];
        assert!((100..200).contains(&share), "{share}");
        assert_eq!(world.moved, share, "what moved is its share");
        assert!(world.owns["a"].held.is_subset(&before));
        world.moved = 0;
        world.pass(60);
        assert_eq!(world.moved, 0);
    }

    #[test]
    fn a_rebalancing_is_spread_over_rounds() {
        let mut world = World::new(100);
        world.join("a");
        world.step();
        world.join("b");
        world.pass(5);
        world.moved = 0;
        world.pass(2);
        assert!((1..=15).contains(&world.moved), "{}", world.moved);
    }

    #[test]
    fn the_servers_of_one_that_crashed_are_taken_after_its_time_and_no_others_move() {
        let mut world = World::new(300);
        for id in ["a", "b", "c"] {
            world.join(id);
        }
        world.pass(60);
        let lost = world.held()["b"];
        let (a, c) = (world.owns["a"].held.clone(), world.owns["c"].held.clone());
        world.crash("b");
        world.moved = 0;
        world.pass(4);
        assert_eq!(world.moved, 0, "it may be at work still");
        world.pass(2);
        assert_eq!(world.moved, lost);
        assert!(a.is_subset(&world.owns["a"].held) && c.is_subset(&world.owns["c"].held));
    }

    #[test]
    fn one_that_is_drained_gives_up_everything_and_takes_nothing() {
        let mut world = World::new(50);
        world.join("a");
        world.join("b");
        world.pass(20);
        world.live.drained.insert("a".to_owned());
        world.pass(3);
        assert_eq!(world.held(), [("a", 0), ("b", 50)].into());
        world.live.drained.insert("b".to_owned());
        world.pass(3);
        assert_eq!(world.held(), [("a", 0), ("b", 0)].into());
    }

    #[test]
    fn what_the_first_in_rank_does_not_know_is_kept_by_the_next_and_does_not_go_to_and_fro() {
        let mut world = World::new(40);
        world.join("a");
        world.pass(1);
        world.join("b");
        world.owns.get_mut("b").unwrap().declared.clear();
        world.pass(60);
        world.moved = 0;
        world.pass(300);
        assert_eq!(world.held()["a"], 40);
        assert!(world.moved == 0, "{} went to and fro", world.moved);
    }

    #[test]
    fn a_server_that_was_never_held_and_that_the_first_in_rank_does_not_know_is_taken_by_the_next() {
        let mut world = World::new(40);
        world.join("a");
        world.join("b");
        world.owns.get_mut("b").unwrap().declared.clear();
        world.pass(5);
        assert_eq!(world.held()["a"], 40);
    }

    #[test]
    fn nothing_is_taken_before_the_time_that_others_may_be_at_work_for_has_passed() {
        let mut own = Own { declared: [server(1)].into(), not_before: at(7), ..Own::new("a") };
        let mut live = Live::default();
        live.members.insert("a".to_owned(), member());
        assert_eq!(own.steps(&live, at(6)), (Vec::new(), Some(at(7))));
        assert_eq!(own.steps(&live, at(7)).0, [Step::Claim(server(1))]);
    }

    #[test]
    fn what_is_no_longer_declared_is_given_up() {
        let mut own = Own::new("a");
        own.held.insert(server(1));
        let mut live = Live::default();
        live.members.insert("a".to_owned(), member());
        assert_eq!(own.steps(&live, at(1)).0, [Step::GiveUp(server(1))]);
    }

    #[test]
    fn a_lock_that_was_not_free_is_not_asked_for_again_at_once_though_nothing_is_known_of_its_holder() {
        let mut world = World::new(1);
        world.join("a");
        let mut own = world.owns.remove("a").unwrap();
        assert_eq!(own.steps(&world.live, at(100)).0, [Step::Claim(server(0))]);
        own.has_lost(&server(0), at(100));
        assert_eq!(own.steps(&world.live, at(100)), (Vec::new(), Some(at(101))));
        assert_eq!(own.steps(&world.live, at(101)).0, [Step::Claim(server(0))]);
    }
}
