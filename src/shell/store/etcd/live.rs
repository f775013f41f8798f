//! Where what the controllers agree on is in etcd, and what is made of it.

use std::sync::Arc;
use std::time::Duration;

use super::approval::{Approval, Given};
use super::client::{Changes, Found};
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
        for pair in &changes.deleted {
            self.delete(keys, pair.key(), pair.mod_revision, now);
        }
        changes.put.iter().filter_map(|pair| self.put(keys, pair, now)).collect()
    }

    /// Takes what these keys were found to have: the watch may tell of it later.
    pub(super) fn take_found(&mut self, keys: &Keys, asked: &[&str], found: &Found, now: Duration) {
        for (key, pair) in asked.iter().zip(&found.pairs) {
            match pair {
                Some(pair) => drop(self.put(keys, pair, now)),
                None => self.delete(keys, key, found.revision, now),
            }
        }
    }

    /// Whether that revision says something newer of the server's lock than what is known, which it is from now on.
    pub(super) fn is_news(&mut self, server: &ObjectKey, revision: i64) -> bool {
        let known = self.known.entry(server.clone()).or_default();
        let is_news = revision > *known;
        *known = revision.max(*known);
        is_news
    }

    fn put(&mut self, keys: &Keys, pair: &Pair, now: Duration) -> Option<Vec<u8>> {
        if pair.key() == keys.base() {
            let base = serde_json::from_slice(&pair.value).ok()?;
            if pair.mod_revision > self.base.1 {
                self.base = (base, pair.mod_revision);
            }
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
                if !self.is_news(&server, pair.mod_revision) {
                    return None;
                }
                self.free.remove(&server);
                self.locks.insert(server, Lock { holder, created: pair.create_revision, lease: pair.lease });
            }
            "tenures" => {
                let tenure: Tenure = serde_json::from_slice(&pair.value).ok()?;
                let server = server_of(name)?;
                if self.tenures.get(&server).is_none_or(|(_, known)| *known < pair.mod_revision) {
                    self.tenures.insert(server, (tenure, pair.mod_revision));
                }
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

    fn delete(&mut self, keys: &Keys, key: &str, revision: i64, now: Duration) {
        let found = key.strip_prefix(&keys.live()).and_then(|it| it.split_once('/'));
        match found {
            Some(("controllers", id)) => {
                self.members.remove(id);
                self.joined.remove(id);
            }
            Some(("drains", id)) => drop(self.drained.remove(id)),
            Some(("locks", path)) => {
                if let Some(server) = server_of(path).filter(|server| self.is_news(server, revision)) {
                    self.locks.remove(&server);
                    self.free.insert(server, now);
                }
            }
            Some(("suspended", path)) => drop(object_of(path).map(|object| self.suspended.remove(&object))),
            Some(("approvals", path)) => drop(server_of(path).and_then(|server| self.approvals.remove(&server))),
            Some(("tenures", path)) => {
                let of_before = |server: &ObjectKey| self.tenures.get(server).is_some_and(|it| it.1 < revision);
                drop(server_of(path).filter(of_before).and_then(|server| self.tenures.remove(&server)));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::encoded;
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn pair(key: &str, value: &[u8], revision: i64) -> Pair {
        let text = serde_json::json!({
            "key": encoded(key.as_bytes()), "value": encoded(value), "create_revision": revision.to_string(),
            "mod_revision": revision.to_string(),
        });
        serde_json::from_value(text).unwrap()
    }

    fn keys() -> Keys {
        Keys::new("landfall/test/".to_owned())
    }

    fn server() -> ObjectKey {
        ObjectKey::new(Kind::Server, "default", "edge-1")
    }

    fn lock(controller: &str, revision: i64) -> Pair {
        let holder = Holder { controller: controller.to_owned(), since: jiff::Timestamp::UNIX_EPOCH };
        pair(&keys().lock(&server()), &serde_json::to_vec(&holder).unwrap(), revision)
    }

    fn put(pair: Pair) -> Changes {
        Changes { revision: pair.mod_revision, put: vec![pair], deleted: Vec::new() }
    }

    fn deleted(key: &str, revision: i64) -> Changes {
        Changes { revision, put: Vec::new(), deleted: vec![pair(key, &[], revision)] }
    }

    fn holder(live: &Live) -> Option<&str> {
        live.locks.get(&server()).map(|lock| lock.holder.controller.as_str())
    }

    #[test]
    fn what_a_watch_tells_late_takes_nothing_back_that_is_known_of_later() {
        let (keys, mut live) = (keys(), Live::default());
        let asked = keys.lock(&server());
        live.take_found(&keys, &[&asked], &Found { revision: 31, pairs: vec![Some(lock("b", 30))] }, NOW);
        assert_eq!(holder(&live), Some("b"));
        live.take(&keys, &put(lock("a", 10)), NOW);
        live.take(&keys, &deleted(&asked, 20), NOW);
        assert_eq!((holder(&live), live.free.contains_key(&server())), (Some("b"), false));
        live.take(&keys, &put(lock("b", 30)), NOW);
        live.take(&keys, &deleted(&asked, 40), NOW);
        assert_eq!((holder(&live), live.free.get(&server())), (None, Some(&NOW)));
        live.take(&keys, &put(lock("c", 50)), NOW);
        assert_eq!(holder(&live), Some("c"));
    }

    #[test]
    fn a_lock_that_is_found_gone_stays_so_until_it_is_taken_again() {
        let (keys, mut live) = (keys(), Live::default());
        let asked = keys.lock(&server());
        live.take_found(&keys, &[&asked], &Found { revision: 25, pairs: vec![None] }, NOW);
        live.take(&keys, &put(lock("a", 10)), NOW);
        assert_eq!(holder(&live), None);
        live.take(&keys, &put(lock("b", 26)), NOW);
        assert_eq!(holder(&live), Some("b"));
    }

    #[test]
    fn neither_the_base_of_tokens_nor_a_tenure_goes_back_unless_everything_is_read_anew() {
        let (keys, mut live) = (keys(), Live::default());
        let tenure = |controller: &str, revision: i64| {
            let since = jiff::Timestamp::UNIX_EPOCH;
            let noted = Tenure { controller: controller.to_owned(), since, ttl_ms: 5_000, given_up: false };
            pair(&keys.tenure(&server()), &serde_json::to_vec(&noted).unwrap(), revision)
        };
        for late in [put(pair(&keys.base(), b"70", 7)), put(pair(&keys.base(), b"0", 5)), put(tenure("b", 30))] {
            live.take(&keys, &late, NOW);
        }
        live.take(&keys, &put(tenure("a", 20)), NOW);
        live.take(&keys, &deleted(&keys.tenure(&server()), 25), NOW);
        let of = |live: &Live| live.tenures.get(&server()).map(|(it, revision)| (it.controller.clone(), *revision));
        assert_eq!((live.base, of(&live)), ((70, 7), Some(("b".to_owned(), 30))));
        live.take(&keys, &deleted(&keys.tenure(&server()), 35), NOW);
        assert_eq!(of(&live), None);
        // After etcd was set back, smaller revisions are what there is.
        live.replace(&keys, &[pair(&keys.base(), b"1", 2), lock("c", 3)], NOW);
        assert_eq!((live.base, holder(&live)), ((1, 2), Some("c")));
    }
}
