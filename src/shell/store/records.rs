//! What is remembered: events, passes, and what was last known of every object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::core::api::{BackupSpec, Condition, DeletionPolicy, DestinationType, Kind, ObjectKey};
use crate::core::desired::DesiredState;
use crate::core::plan::facts::NetworkUse;
use crate::core::report::{OperationReport, Outcome, Report};
use crate::core::standing::{ConditionType, Meaning};

/// Type of the condition of what something keeps undoing. It is there only while that is so.
pub const CONTENDED: &str = ConditionType::Contended.as_str();

/// Type of the condition of a server on which deletions or disconnections wait for an approval. It is there only while they do.
pub const APPROVAL_PENDING: &str = ConditionType::ApprovalPending.as_str();

/// Operations of one pass that are kept. A pass that does more is a first `apply` of very much, and its log has the rest.
const OPERATIONS: usize = 200;
/// Bytes of a message that are kept.
const MESSAGE: usize = 2048;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub events: u64,
    pub passes: u64,
    /// Of events and passes.
    pub age: jiff::SignedDuration,
    /// Objects that no manifest declares any more and that are remembered because their policy protects them.
    pub undeclared: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { events: 10_000, passes: 1_000, age: jiff::SignedDuration::from_hours(30 * 24), undeclared: 10_000 }
    }
}

/// Something that happened to an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Grows with every event of the set; 0 until it is written.
    #[serde(default)]
    pub id: u64,
    pub time: jiff::Timestamp,
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// `None`: about the manifests as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ObjectKey>,
    /// One word in CamelCase: a cause, a reason or a condition's reason.
    pub reason: String,
    pub message: String,
    /// The pass that it happened in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// A pass that did, or failed to do, something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassRecord {
    /// When it ended.
    pub time: jiff::Timestamp,
    pub pass: u64,
    /// The number that the controller's log has for it, where another process had taken it before this was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logged_as: Option<u64>,
    /// What made it: `run`, `apply`, `delete`.
    #[serde(default = "run")]
    pub by: String,
    pub server: ObjectKey,
    /// Revision of the manifests, where they come from a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    pub duration_ms: u64,
    /// The operations as in the plan's JSON.
    pub operations: Vec<serde_json::Value>,
    /// Operations beyond those that are kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: u64,
}

fn run() -> String {
    "run".to_owned()
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What was last known of an object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectRecord {
    /// Counts the forms of the manifest that were seen; 0 where none was.
    #[serde(default)]
    pub generation: u64,
    /// Tells one form of the manifest from another.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub fingerprint: SmolStr,
    /// False once no manifest declares it any more.
    #[serde(default)]
    pub declared: bool,
    /// Of a destination, as last declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Of a resource that is removed only after a backup: what that is, as last declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_delete: Option<Box<BackupSpec>>,
    /// Of a destination whose network was seen: of which kind it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_type: Option<DestinationType>,
    /// Of a destination that nobody is on: since when at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_since: Option<jiff::Timestamp>,
    /// By the path of the server they were seen on: a resource may be on several.
    #[serde(default, skip_serializing_if = "Standings::is_empty")]
    pub conditions: Standings,
}

/// Conditions by the path of a server. Few, and of every object of a fleet: a sorted list, which a tree's smallest node is ten times as large as.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<SmolStr, Arc<[Condition]>>", into = "BTreeMap<SmolStr, Arc<[Condition]>>")]
pub struct Standings(Box<[(SmolStr, Arc<[Condition]>)]>);

impl Standings {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&SmolStr, &Arc<[Condition]>)> {
        self.0.iter().map(|(server, conditions)| (server, conditions))
    }

    pub fn get(&self, server: &str) -> Option<&Arc<[Condition]>> {
        self.iter().find_map(|(at, conditions)| (at == server).then_some(conditions))
    }

    /// In place of what there was of that server, and of none that is named.
    pub fn insert(&mut self, server: &str, conditions: Arc<[Condition]>) {
        let others = self.iter().filter(|(at, _)| *at != server && !at.is_empty());
        let others = others.map(|(at, conditions)| (at.clone(), Arc::clone(conditions)));
        *self = others.chain([(server.into(), conditions)]).collect::<BTreeMap<_, _>>().into();
    }
}

impl From<BTreeMap<SmolStr, Arc<[Condition]>>> for Standings {
    fn from(conditions: BTreeMap<SmolStr, Arc<[Condition]>>) -> Self {
        Self(conditions.into_iter().collect())
    }
}

impl From<Standings> for BTreeMap<SmolStr, Arc<[Condition]>> {
    fn from(Standings(conditions): Standings) -> Self {
        conditions.into_iter().collect()
    }
}

impl ObjectRecord {
    /// The conditions over all servers: the worst status of each, since when it is so.
    pub fn merged(&self) -> Vec<Condition> {
        let mut merged: Vec<Condition> = Vec::new();
        for condition in self.conditions.iter().flat_map(|(_, conditions)| conditions.iter()) {
            match merged.iter_mut().find(|it| it.condition_type == condition.condition_type) {
                None => merged.push(condition.clone()),
                Some(present) => {
                    let rank = |it: &Condition| (Meaning::rank(it), it.last_transition_time.clone());
                    if rank(condition) > rank(present) {
                        *present = condition.clone();
                    }
                }
            }
        }
        merged
    }

    /// Nothing is worth keeping of an object that no manifest declares, but what protects it.
    pub fn is_forgettable(&self) -> bool {
        !self.declared && self.deletion_policy != Some(DeletionPolicy::Orphan) && self.before_delete.is_none()
    }
}

/// What is written at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    pub passes: Vec<PassRecord>,
    pub events: Vec<EventRecord>,
    /// `None` forgets the object.
    pub objects: BTreeMap<ObjectKey, Option<ObjectRecord>>,
    /// The servers that objects are on, as far as whoever writes knows: where what is known of them is kept by server.
    pub homes: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.passes.is_empty() && self.events.is_empty() && self.objects.is_empty()
    }

    /// Adds what came later.
    pub fn merge(&mut self, later: Batch) {
        self.passes.extend(later.passes);
        self.events.extend(later.events);
        self.objects.extend(later.objects);
        self.homes.extend(later.homes);
    }

    /// Leaves out the oldest beyond `most` of each; returns how many.
    pub fn limit(&mut self, most: usize) -> usize {
        let passes = self.passes.len().saturating_sub(most);
        let events = self.events.len().saturating_sub(most);
        self.passes.drain(..passes);
        self.events.drain(..events);
        passes + events
    }
}

/// Cuts what has no bound of its own.
impl PassRecord {
    /// Under the number that it got when it was written down.
    pub(super) fn numbered(self, number: u64) -> Self {
        let logged_as = (self.by == "run" && self.pass != number).then_some(self.pass);
        Self { pass: number, logged_as, ..self }
    }
}

pub(super) fn bound_pass(pass: &PassRecord) -> PassRecord {
    let mut pass = pass.clone();
    let surplus = pass.operations.len().saturating_sub(OPERATIONS);
    pass.operations.truncate(OPERATIONS);
    pass.omitted += u64::try_from(surplus).unwrap_or(u64::MAX);
    for operation in &mut pass.operations {
        for (_, value) in operation.as_object_mut().into_iter().flatten() {
            if let serde_json::Value::String(text) = value {
                cut(text);
            }
        }
    }
    pass
}

pub(super) fn bound_event(event: &EventRecord) -> EventRecord {
    let mut event = event.clone();
    cut(&mut event.message);
    event
}

fn cut(text: &mut String) {
    if text.len() > MESSAGE {
        let end = (0..=MESSAGE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}

/// Keeps which destinations nobody is on, and since when; returns the records that change with it.
pub fn note_use(
    objects: &mut BTreeMap<ObjectKey, ObjectRecord>,
    uses: &[NetworkUse],
    now: jiff::Timestamp,
) -> BTreeMap<ObjectKey, Option<ObjectRecord>> {
    let mut changed = BTreeMap::new();
    for NetworkUse { destination: key, is_unused, .. } in uses {
        let Some(record) = objects.get_mut(key).filter(|record| record.declared) else { continue };
        let since = is_unused.then(|| record.unused_since.unwrap_or(now));
        if record.unused_since != since {
            record.unused_since = since;
            changed.insert(key.clone(), Some(record.clone()));
        }
    }
    changed
}

/// Since when nobody is on the destinations of which that is known.
pub fn unused(objects: &BTreeMap<ObjectKey, ObjectRecord>) -> BTreeMap<ObjectKey, jiff::Timestamp> {
    objects.iter().filter_map(|(key, record)| Some((key.clone(), record.unused_since?))).collect()
}

/// Destinations that their last known policy protects although no manifest declares them.
pub fn protected(objects: &BTreeMap<ObjectKey, ObjectRecord>) -> impl Iterator<Item = &ObjectKey> {
    objects
        .iter()
        .filter(|(key, record)| key.kind == Kind::Destination && record.deletion_policy == Some(DeletionPolicy::Orphan))
        .map(|(key, _)| key)
}

/// Resources that are removed only after a backup, declared or not.
pub fn guarded(objects: &BTreeMap<ObjectKey, ObjectRecord>) -> impl Iterator<Item = (&ObjectKey, &BackupSpec)> {
    objects.iter().filter_map(|(key, record)| Some((key, record.before_delete.as_deref()?)))
}

/// Destinations whose network was one of a Swarm when it was last seen.
pub fn overlays(objects: &BTreeMap<ObjectKey, ObjectRecord>) -> impl Iterator<Item = &ObjectKey> {
    objects.iter().filter(|(_, record)| record.network_type == Some(DestinationType::Swarm)).map(|(key, _)| key)
}

/// Takes manifests; returns what has changed of the objects. Where they are `complete`, what is not among them is not declared any more.
pub fn declare(
    objects: &mut BTreeMap<ObjectKey, ObjectRecord>,
    desired: &DesiredState,
    fingerprints: &BTreeMap<ObjectKey, String>,
    complete: bool,
) -> BTreeMap<ObjectKey, Option<ObjectRecord>> {
    let policies: BTreeMap<&ObjectKey, DeletionPolicy> =
        desired.destinations().map(|(_, destination)| (&destination.key, destination.deletion_policy)).collect();
    let members = desired.destinations().flat_map(|(_, destination)| &destination.members);
    let backups: BTreeMap<&ObjectKey, BackupSpec> = members
        .filter_map(|member| Some((&member.resource, member.backup.as_ref()?)))
        .filter(|(_, policy)| policy.spec.before_delete)
        .map(|(key, policy)| (key, policy.spec.clone()))
        .collect();
    let mut changed = BTreeMap::new();
    for (key, record) in objects.iter_mut().filter(|_| complete) {
        if record.declared && !fingerprints.contains_key(key) {
            record.declared = false;
            record.conditions = Standings::default();
            changed.insert(key.clone(), Some(record.clone()));
        }
    }
    for (key, fingerprint) in fingerprints {
        let record = objects.entry(key.clone()).or_default();
        let before = record.clone();
        if record.fingerprint != *fingerprint {
            record.generation += 1;
            record.fingerprint = fingerprint.into();
        }
        record.declared = true;
        record.deletion_policy = policies.get(key).copied();
        record.before_delete = backups.get(key).cloned().map(Box::new);
        if *record != before {
            changed.insert(key.clone(), Some(record.clone()));
        }
    }
    objects.retain(|_, record| !record.is_forgettable());
    changed
}

/// Data of an object that was copied, or put back.
#[derive(Debug, Clone)]
pub struct Transfer<'a> {
    /// What made it: `backup`, `restore`, `run`.
    pub by: &'a str,
    /// `BackUp`, `Restore`, `CopyVolume`.
    pub op: &'static str,
    pub cause: &'static str,
    /// The event's reason, in the case of success and of failure.
    pub reasons: (&'static str, &'static str),
    pub object: &'a ObjectKey,
    pub server: &'a ObjectKey,
    pub revision: Option<String>,
    pub took: std::time::Duration,
    /// What came of it, or why nothing did. An archive is named.
    pub outcome: Result<String, String>,
}

impl Transfer<'_> {
    /// As a pass of that number, and an event.
    pub fn batch(&self, pass: u64, now: jiff::Timestamp) -> Batch {
        let (outcome, event_type, reason, message) = match &self.outcome {
            Ok(message) => ("Done", EventType::Normal, self.reasons.0, message),
            Err(message) => ("Failed", EventType::Warning, self.reasons.1, message),
        };
        let operation = serde_json::json!({
            "op": self.op, "server": self.server.path(), "object": self.object.to_string(), "cause": self.cause,
            "disruptive": false, "outcome": outcome, "message": message,
        });
        let record = PassRecord {
            time: now,
            pass,
            logged_as: None,
            by: self.by.to_owned(),
            server: self.server.clone(),
            revision: self.revision.clone(),
            duration_ms: u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            operations: vec![operation],
            omitted: 0,
        };
        let event = EventRecord {
            id: 0,
            time: now,
            event_type,
            object: Some(self.object.clone()),
            server: Some(self.server.clone()),
            reason: reason.to_owned(),
            message: message.clone(),
            pass: Some(pass),
        };
        Batch { passes: vec![record], events: vec![event], ..Batch::default() }
    }
}

/// The operations of a pass as events.
pub fn operation_events(server: &ObjectKey, pass: u64, now: jiff::Timestamp, report: &Report) -> Vec<EventRecord> {
    let all = report.servers.iter().filter(|it| it.server == *server).flat_map(|it| &it.operations);
    let all = all.flat_map(OperationReport::parts);
    let event = |it: OperationReport| {
        let operation = &it.operation;
        let (event_type, message) = match &it.outcome {
            Outcome::Failed(failure) => (EventType::Warning, format!("{operation}: {}", failure.message)),
            Outcome::Done => (EventType::Normal, operation.to_string()),
            // Nothing has happened.
            Outcome::Planned | Outcome::Skipped => return None,
        };
        Some(EventRecord {
            id: 0,
            time: now,
            event_type,
            object: Some(operation.object.clone()),
            server: Some(server.clone()),
            reason: operation.cause.as_str().to_owned(),
            message,
            pass: Some(pass),
        })
    };
    all.filter_map(event).collect()
}
