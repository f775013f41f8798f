//! Where what the controllers agree on is in etcd, and what is made of it.

use std::sync::Arc;
use std::time::Duration;

use super::approval::{Approval, Given};
use super::client::Changes;
use super::share::{Holder, Live, Lock, Member, Tenure};
use super::wire::Pair;
use crate::core::api::{Kind, ObjectKey};

/// The keys of one set.
#[derive(Debug, Clone)]
pub struct Keys {
    base: String,
}

impl Keys {
    pub fn new(base: String) -> Self {
        Self { base }
    }

    /// What controllers watch.
    pub fn live(&self) -> String {
        format!("{}live/", self.base)
    }

    pub fn member(&self, id: &str) -> String {
        format!("{}live/controllers/{id}", self.base)
    }

    pub fn drain(&self, id: &str) -> String {
        format!("{}live/drains/{id}", self.base)
    }

    pub fn lock(&self, server: &ObjectKey) -> String {
        format!("{}live/locks/{}", self.base, server.path())
    }

    pub fn tenure(&self, server: &ObjectKey) -> String {
        format!("{}live/tenures/{}", self.base, server.path())
    }

    /// What is added to revisions to make tokens of them.
    pub fn base(&self) -> String {
        format!("{}live/base", self.base)
    }

    pub fn suspended(&self, object: &ObjectKey) -> String {
        format!("{}live/suspended/{}/{}", self.base, object.kind, object.path())
    }

    pub fn approval(&self, server: &ObjectKey) -> String {
        format!("{}live/approvals/{}", self.base, server.path())
    }

    pub fn command(&self, lease: i64) -> String {
        format!("{}live/commands/{lease}", self.base)
    }

    /// What is kept of servers.
    pub fn servers(&self) -> String {
        format!("{}servers/", self.base)
    }

    pub fn server(&self, server: &ObjectKey) -> String {
        format!("{}servers/{}/", self.base, server.path())
    }

    /// What there is to show of servers.
    pub fn views(&self) -> String {
        format!("{}views/", self.base)
    }

    pub fn view(&self, server: &ObjectKey) -> String {
        format!("{}views/{}", self.base, server.path())
    }

    pub fn journals(&self) -> String {
        format!("{}journals/", self.base)
    }

    pub fn events(&self) -> String {
        format!("{}history/events/", self.base)
    }

    pub fn passes(&self) -> String {
        format!("{}history/passes/", self.base)
    }

    /// Everything that tells of news.
    pub fn history(&self) -> String {
        format!("{}history/", self.base)
    }
}

/// `namespace/name` of a server.
pub fn server_of(path: &str) -> Option<ObjectKey> {
    let (namespace, name) = path.split_once('/')?;
    (!name.contains('/')).then(|| ObjectKey::new(Kind::Server, namespace, name))
}

/// `Kind/namespace/name` of an object.
fn object_of(path: &str) -> Option<ObjectKey> {
    let (kind, path) = path.split_once('/')?;
    let kind = Kind::ALL.into_iter().find(|it| it.as_str() == kind)?;
    server_of(path).map(|server| ObjectKey { kind, ..server })
}

impl Live {
    /// Takes what there is now; what is known of when is kept.
    pub(super) fn replace(&mut self, keys: &Keys, pairs: &[Pair], now: Duration) {
        let before = std::mem::take(self);
        for pair in pairs {
            self.put(keys, pair, now);
        }
        for (id, since) in before.joined {
            self.joined.entry(id).and_modify(|it| *it = since);
        }
        for (server, since) in before.free {
            if !self.locks.contains_key(&server) {
                self.free.insert(server, since);
            }
        }
        // Held before and free now: since when is not known, so since now. The same goes for those that were never seen held.
        let gone = before.locks.into_keys().chain(self.tenures.keys().cloned().collect::<Vec<_>>());
        for server in gone {
            if !self.locks.contains_key(&server) {
                self.free.entry(server).or_insert(now);
            }
        }
    }

    /// Returns the commands that were given.
    pub(super) fn take(&mut self, keys: &Keys, changes: &Changes, now: Duration) -> Vec<Vec<u8>> {
        for key in &changes.deleted {
            self.delete(keys, key, now);
        }
        changes.put.iter().filter_map(|pair| self.put(keys, pair, now)).collect()
    }

    fn put(&mut self, keys: &Keys, pair: &Pair, now: Duration) -> Option<Vec<u8>> {
        if pair.key() == keys.base() {
            self.base = (serde_json::from_slice(&pair.value).ok()?, pair.mod_revision);
            return None;
        }
        let (kind, name) = pair.key().strip_prefix(&keys.live())?.split_once('/')?;
        match kind {
            "controllers" => {
                let member: Member = serde_json::from_slice(&pair.value).ok()?;
                self.members.insert(name.to_owned(), member);
                self.joined.entry(name.to_owned()).or_insert(now);
            }
            "drains" => {
                self.drained.insert(name.to_owned());
            }
            "locks" => {
                let holder: Holder = serde_json::from_slice(&pair.value).ok()?;
                let server = server_of(name)?;
                self.free.remove(&server);
                self.locks.insert(server, Lock { holder, created: pair.create_revision, lease: pair.lease });
            }
            "tenures" => {
                let tenure: Tenure = serde_json::from_slice(&pair.value).ok()?;
                self.tenures.insert(server_of(name)?, (tenure, pair.mod_revision));
            }
            "suspended" => drop(self.suspended.insert(object_of(name)?)),
            "approvals" => {
                let approval = Approval::unpacked(&pair.value)?;
                self.approvals.insert(server_of(name)?, Arc::new(Given { approval, revision: pair.mod_revision }));
            }
            "commands" => return Some(pair.value.clone()),
            _ => {}
        }
        None
    }

    fn delete(&mut self, keys: &Keys, key: &str, now: Duration) {
        let found = key.strip_prefix(&keys.live()).and_then(|it| it.split_once('/'));
        match found {
            Some(("controllers", id)) => {
                self.members.remove(id);
                self.joined.remove(id);
            }
            Some(("drains", id)) => drop(self.drained.remove(id)),
            Some(("locks", path)) => {
                if let Some(server) = server_of(path) {
                    self.locks.remove(&server);
                    self.free.insert(server, now);
                }
            }
            Some(("suspended", path)) => drop(object_of(path).map(|object| self.suspended.remove(&object))),
            Some(("approvals", path)) => drop(server_of(path).and_then(|server| self.approvals.remove(&server))),
            Some(("tenures", path)) => drop(server_of(path).and_then(|server| self.tenures.remove(&server))),
            _ => {}
        }
    }
}
