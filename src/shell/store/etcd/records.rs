//! [`Records`] in etcd.
//!
//! What was last known of the objects of a server is in a few values of the server's own, by a digit of the object's name, written by whoever holds
//! its lock. Events and passes are the set's: events in the order in which they came to etcd, passes by number. Both are bounded by number and age
//! as in a file; what etcd itself keeps of former revisions, its own compaction bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::sync::watch;

use super::client::{Client, EtcdError};
use super::keeper::Held;
use super::live::{Keys, server_of};
use super::pack::{LARGEST, packed, unpacked};
use super::wire::{Change, Compare, Pair};
use crate::core::api::{Kind, ObjectKey};
use crate::core::digest::digest;
use crate::shell::store::records::{
    Batch, Bounds, EventRecord, ObjectRecord, PassRecord, Standings, bound_event, bound_pass,
};
use crate::shell::store::{Records, StoreError};

/// Events in one value. A transaction has two conditions for each of their servers, and 128 at most.
const EVENTS: usize = 50;
/// Within one revision: events are numbered by the revision that brought them, and by their place.
const PLACES: u64 = 1 << 10;
/// Values of events to keep. Most have one or two.
const EVENT_KEYS: i64 = 5_000;
/// Between two looks for what is too old.
const WRITES: u64 = 64;
/// Values that are removed at once.
const REMOVED: usize = 100;
/// Tries for the number of a pass.
const NUMBERS: usize = 20;

type Objects = BTreeMap<ObjectKey, ObjectRecord>;

#[derive(Debug, Clone)]
pub struct EtcdRecords {
    client: Client,
    keys: Keys,
    /// `None`: for reading.
    held: Option<watch::Receiver<Held>>,
    bounds: Bounds,
    writes: std::sync::Arc<AtomicU64>,
}

impl EtcdRecords {
    pub fn new(client: Client, set: &str, held: Option<watch::Receiver<Held>>) -> Self {
        let keys = Keys::new(client.base(set));
        Self { client, keys, held, bounds: Bounds::default(), writes: std::sync::Arc::default() }
    }

    fn refused(&self, error: EtcdError) -> StoreError {
        let place = self.place();
        match error {
            EtcdError::NoSpace => StoreError::NoSpace { place },
            EtcdError::Denied(_) => StoreError::NotWritable { place, message: error.to_string() },
            error => StoreError::Io { place, message: error.to_string() },
        }
    }

    /// What a write about the server has to find. `None`: this controller has no say.
    fn fence(&self, server: &ObjectKey) -> Option<[Compare; 2]> {
        Some(self.held.as_ref()?.borrow().get(server)?.conditions(&self.keys, server))
    }

    async fn write_objects(&self, batch: &Batch) -> Result<(), EtcdError> {
        let mut of_servers: BTreeMap<ObjectKey, BTreeMap<&ObjectKey, Option<&ObjectRecord>>> = BTreeMap::new();
        let mut homeless = BTreeMap::new();
        for (key, record) in &batch.objects {
            let homes = homes(batch, key, record.as_ref());
            if homes.is_empty() {
                homeless.insert(key, record.as_ref());
            }
            for server in homes {
                of_servers.entry(server).or_default().insert(key, record.as_ref());
            }
        }
        if !homeless.is_empty() {
            // Nothing says any more where they were; what is kept of them does.
            for (server, objects) in self.by_server().await? {
                let found = homeless.iter().filter(|(key, _)| objects.contains_key(**key));
                let found: Vec<_> = found.map(|(key, record)| (*key, *record)).collect();
                if !found.is_empty() {
                    of_servers.entry(server).or_default().extend(found);
                }
            }
        }
        for (server, changed) in of_servers {
            if let Some(fence) = self.fence(&server) {
                self.write_server(&server, fence, &changed).await?;
            }
        }
        Ok(())
    }

    async fn write_server(
        &self,
        server: &ObjectKey,
        fence: [Compare; 2],
        changed: &BTreeMap<&ObjectKey, Option<&ObjectRecord>>,
    ) -> Result<(), EtcdError> {
        let prefix = self.keys.server(server);
        let (pairs, _) = self.client.list_large(&prefix).await?;
        let mut shards: BTreeMap<String, Objects> = BTreeMap::new();
        for pair in &pairs {
            shards.insert(pair.key().to_owned(), unpacked(&pair.value).unwrap_or_default());
        }
        let mut touched = BTreeSet::new();
        for (key, record) in changed {
            let name = format!("{prefix}{}", shard(key));
            let objects = shards.entry(name.clone()).or_default();
            let kept = record.filter(|record| !record.is_forgettable()).map(|record| part(record, server));
            let before = match &kept {
                Some(record) => objects.insert((*key).clone(), record.clone()),
                None => objects.remove(*key),
            };
            if before != kept {
                touched.insert(name);
            }
        }
        let mut changes = Vec::new();
        let mut size = 0;
        for name in touched {
            let objects = shards.remove(&name).unwrap_or_default();
            let change = match objects.is_empty() {
                true => Change::Delete { key: name },
                false => {
                    let value = packed(&objects).ok_or_else(|| {
                        EtcdError::Refused(format!("what is known of {} is too large", server.path()))
                    })?;
                    if size + value.len() > LARGEST {
                        self.fenced(&fence, std::mem::take(&mut changes)).await?;
                        size = 0;
                    }
                    size += value.len();
                    Change::put(name, value)
                }
            };
            changes.push(change);
        }
        self.fenced(&fence, changes).await
    }

    /// What is refused because the lock is another's now is not this controller's to say any more.
    async fn fenced(&self, fence: &[Compare], changes: Vec<Change>) -> Result<(), EtcdError> {
        if changes.is_empty() {
            return Ok(());
        }
        if self.client.txn(fence, &changes).await?.is_none() {
            tracing::debug!(?fence, "a record is left out: the server's lock is held by another controller");
        }
        Ok(())
    }

    /// In the order in which they happened, whatever servers they are about: that is the order in which they are read.
    async fn write_events(&self, events: &[EventRecord]) -> Result<(), EtcdError> {
        let is_own = |event: &&EventRecord| event.server.as_ref().is_none_or(|server| self.fence(server).is_some());
        let own: Vec<EventRecord> = events.iter().filter(is_own).map(bound_event).collect();
        for events in own.chunks(EVENTS) {
            if self.write_together(events).await? {
                continue;
            }
            // One of the locks is another's by now. That is no reason to lose what is about the others.
            let servers: BTreeSet<Option<&ObjectKey>> = events.iter().map(|event| event.server.as_ref()).collect();
            for server in servers {
                let of_server = events.iter().filter(|event| event.server.as_ref() == server).cloned();
                let of_server: Vec<EventRecord> = of_server.collect();
                if !self.write_together(&of_server).await? {
                    tracing::debug!(?server, "events are left out: the server's lock is held by another controller");
                }
            }
        }
        Ok(())
    }

    /// `false`: the lock of one of the servers is another's.
    async fn write_together(&self, events: &[EventRecord]) -> Result<bool, EtcdError> {
        let servers: BTreeSet<&ObjectKey> = events.iter().filter_map(|event| event.server.as_ref()).collect();
        let fences: Option<Vec<[Compare; 2]>> = servers.into_iter().map(|server| self.fence(server)).collect();
        let Some(fences) = fences else { return Ok(false) };
        let Some(value) = packed(&events) else { return Ok(true) };
        // By their content: what is written again because no answer came is the same.
        let digest = digest(value.as_slice(), 6);
        let time = events.first().map_or(0, |event| event.time.as_millisecond());
        let change = Change::put(format!("{}{time:015}-{digest}", self.keys.events()), value);
        Ok(self.client.txn(&fences.concat(), &[change]).await?.is_some())
    }

    /// Returns the number under which it is kept.
    async fn write_pass(&self, pass: &PassRecord) -> Result<u64, EtcdError> {
        let Some(fence) = self.fence(&pass.server) else { return Ok(pass.pass) };
        let mut bounded = bound_pass(pass);
        let value = loop {
            match packed(&bounded) {
                Some(value) => break value,
                None => {
                    let half = bounded.operations.len() / 2;
                    bounded.omitted += u64::try_from(bounded.operations.len() - half).unwrap_or_default();
                    bounded.operations.truncate(half);
                }
            }
        };
        let mut number = pass.pass;
        for _ in 0..NUMBERS {
            let key = self.pass_key(number);
            let free = Compare::Created(key.clone(), 0);
            let conditions = [fence.as_slice(), &[free]].concat();
            if self.client.txn(&conditions, &[Change::put(&key, value.clone())]).await?.is_some() {
                return Ok(number);
            }
            match self.client.get(&key).await? {
                // Written before, by a request whose answer did not come.
                Some(pair) if pair.value == value => return Ok(number),
                Some(_) => {
                    let last = self.client.last(&self.keys.passes(), None, 1).await?;
                    number = last.first().and_then(|pair| self.number(pair)).unwrap_or(number) + 1;
                }
                // The lock is another's.
                None => return Ok(number),
            }
        }
        Ok(number)
    }

    fn pass_key(&self, number: u64) -> String {
        format!("{}{number:020}", self.keys.passes())
    }

    fn number(&self, pair: &Pair) -> Option<u64> {
        pair.key().strip_prefix(&self.keys.passes())?.parse().ok()
    }

    /// Removes what is too old or too much.
    async fn thin_out(&self) -> Result<(), EtcdError> {
        let oldest = jiff::Timestamp::now().checked_sub(self.bounds.age).unwrap_or(jiff::Timestamp::MIN);
        let (events, passes) = (self.keys.events(), self.keys.passes());
        let to = format!("{events}{:015}", oldest.as_millisecond().max(0));
        self.client.txn(&[], &[Change::DeleteRange { from: events.clone(), to }]).await?;
        let (count, _) = self.client.changed(&events).await?;
        if count > EVENT_KEYS {
            let surplus = usize::try_from(count - EVENT_KEYS).unwrap_or_default().min(REMOVED);
            let keys = self.client.first_keys(&events, surplus).await?;
            let changes: Vec<Change> = keys.iter().map(|it| Change::Delete { key: it.key().to_owned() }).collect();
            self.client.txn(&[], &changes).await?;
        }
        let last = self.client.last(&passes, None, 1).await?;
        if let Some(number) = last.first().and_then(|pair| self.number(pair)).filter(|it| *it > self.bounds.passes) {
            let to = self.pass_key(number - self.bounds.passes + 1);
            self.client.txn(&[], &[Change::DeleteRange { from: passes, to }]).await?;
        }
        Ok(())
    }

    async fn by_server(&self) -> Result<BTreeMap<ObjectKey, Objects>, EtcdError> {
        let servers = self.keys.servers();
        let mut found: BTreeMap<ObjectKey, Objects> = BTreeMap::new();
        for pair in self.client.list_large(&servers).await?.0 {
            let server =
                pair.key().strip_prefix(&servers).and_then(|it| it.rsplit_once('/')).and_then(|it| server_of(it.0));
            let (Some(server), Ok(objects)) = (server, unpacked::<Objects>(&pair.value)) else { continue };
            found.entry(server).or_default().extend(objects);
        }
        Ok(found)
    }

    async fn record_all(&self, batch: &Batch) -> Result<(), EtcdError> {
        self.write_objects(batch).await?;
        let mut events = batch.events.clone();
        for pass in &batch.passes {
            let number = self.write_pass(pass).await?;
            let of_pass =
                |it: &&mut EventRecord| it.pass == Some(pass.pass) && it.server.as_ref() == Some(&pass.server);
            events.iter_mut().filter(of_pass).for_each(|event| event.pass = Some(number));
        }
        self.write_events(&events).await?;
        if self.writes.fetch_add(1, Ordering::Relaxed) % WRITES == WRITES - 1 {
            self.thin_out().await?;
        }
        Ok(())
    }
}

/// The servers that an object is on.
fn homes(batch: &Batch, key: &ObjectKey, record: Option<&ObjectRecord>) -> BTreeSet<ObjectKey> {
    let mut homes = batch.homes.get(key).cloned().unwrap_or_default();
    if key.kind == Kind::Server {
        homes.insert(key.clone());
    }
    let conditions = record.into_iter().flat_map(|record| record.conditions.iter());
    homes.extend(conditions.filter_map(|(path, _)| server_of(path)));
    homes
}

/// What of an object is about the server.
fn part(record: &ObjectRecord, server: &ObjectKey) -> ObjectRecord {
    let mut conditions = Standings::default();
    let path = server.path();
    if let Some(own) = record.conditions.get(&path) {
        conditions.insert(&path, own.clone());
    }
    ObjectRecord { conditions, ..record.clone() }
}

/// Of a resource that is on several servers.
fn merge(into: &mut Objects, key: ObjectKey, record: ObjectRecord) {
    let Some(known) = into.get_mut(&key) else {
        into.insert(key, record);
        return;
    };
    for (server, conditions) in record.conditions.iter() {
        known.conditions.insert(server, conditions.clone());
    }
    known.declared |= record.declared;
    if record.generation > known.generation {
        (known.generation, known.fingerprint) = (record.generation, record.fingerprint);
    }
    known.deletion_policy = known.deletion_policy.or(record.deletion_policy);
    known.network_type = known.network_type.or(record.network_type);
    known.unused_since = known.unused_since.or(record.unused_since);
}

/// One of sixteen.
fn shard(key: &ObjectKey) -> String {
    digest(key.to_string(), 1).chars().take(1).collect()
}

#[async_trait]
impl Records for EtcdRecords {
    fn place(&self) -> String {
        self.client.address().to_string()
    }

    async fn prepare(&self) -> Result<Option<String>, StoreError> {
        self.thin_out().await.map_err(|error| self.refused(error))?;
        Ok(None)
    }

    async fn record(&self, batch: &Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.record_all(batch).await.map_err(|error| self.refused(error))
    }

    async fn events(&self, after: u64, most: usize) -> Result<Vec<EventRecord>, StoreError> {
        let from = i64::try_from(after / PLACES).unwrap_or(i64::MAX - 1);
        let mut found = Vec::new();
        let mut before = None;
        while found.len() < most {
            let page = self.client.newest(&self.keys.events(), from, before, most - found.len()).await;
            let page = page.map_err(|error| self.refused(error))?;
            let Some(last) = page.last() else { break };
            before = Some(last.create_revision - 1);
            for pair in &page {
                let revision = u64::try_from(pair.create_revision).unwrap_or_default();
                let events: Vec<EventRecord> = unpacked(&pair.value).unwrap_or_default();
                let numbered = (revision * PLACES..).zip(events).map(|(id, event)| EventRecord { id, ..event });
                let numbered: Vec<EventRecord> = numbered.filter(|event| event.id > after).collect();
                found.extend(numbered.into_iter().rev());
            }
        }
        found.truncate(most);
        Ok(found)
    }

    async fn passes(&self, most: usize) -> Result<Vec<PassRecord>, StoreError> {
        let mut found = Vec::new();
        let mut below: Option<String> = None;
        while found.len() < most {
            let page = self.client.last(&self.keys.passes(), below.as_deref(), most - found.len()).await;
            let page = page.map_err(|error| self.refused(error))?;
            let Some(last) = page.last() else { break };
            below = Some(last.key().to_owned());
            for pair in &page {
                if let (Some(pass), Ok(record)) = (self.number(pair), unpacked::<PassRecord>(&pair.value)) {
                    found.push(record.numbered(pass));
                }
            }
        }
        found.truncate(most);
        Ok(found)
    }

    async fn pass(&self, number: u64) -> Result<Option<PassRecord>, StoreError> {
        let found = self.client.get(&self.pass_key(number)).await.map_err(|error| self.refused(error))?;
        let record = found.and_then(|pair| unpacked::<PassRecord>(&pair.value).ok());
        Ok(record.map(|record| record.numbered(number)))
    }

    async fn objects(&self) -> Result<Objects, StoreError> {
        let by_server = self.by_server().await.map_err(|error| self.refused(error))?;
        let mut objects = Objects::new();
        for (key, record) in by_server.into_values().flatten() {
            merge(&mut objects, key, record);
        }
        Ok(objects)
    }

    async fn objects_on(&self, server: &ObjectKey) -> Result<Objects, StoreError> {
        let pairs = self.client.list_large(&self.keys.server(server)).await.map_err(|error| self.refused(error))?.0;
        let found = pairs.iter().map(|pair| unpacked::<Objects>(&pair.value).unwrap_or_default());
        Ok(found.flatten().collect())
    }

    async fn objects_revision(&self) -> Option<u64> {
        let (_, revision) = self.client.changed(&self.keys.servers()).await.ok()?;
        u64::try_from(revision).ok()
    }

    async fn revision(&self) -> Option<u64> {
        let (_, revision) = self.client.changed(&self.keys.history()).await.ok()?;
        u64::try_from(revision).ok()
    }
}
