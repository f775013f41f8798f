//! What the loop remembers over its restarts: since when conditions are as they are, which form of a manifest they are about, what protects
//! a destination after its manifest is gone; and what it did and saw.
//!
//! All of it is written by a [`Recorder`], which neither holds up the loop nor fails it: without a store the loop remembers as long as it runs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use smol_str::format_smolstr;

use super::board::{Board, RECENT};
use crate::core::api::{Condition, ConditionStatus, DestinationType, Kind, ObjectKey};
use crate::core::desired::DesiredState;
use crate::core::plan::facts::NetworkUse;
use crate::core::report::Report;
use crate::shell::store::Records;
use crate::shell::store::recorder::{Health, Recorder};
use crate::shell::store::records::{
    Batch, EventRecord, EventType, ObjectRecord, PassRecord, declare, guarded, note_use, operation_events, overlays,
    protected,
};

/// Type of the controller's own condition about its store.
pub const HISTORY_KEPT: &str = "HistoryKept";

pub(super) struct Memory {
    /// `None`: nothing is written.
    recorder: Option<Recorder>,
    /// Where what happens is shown too.
    board: Option<Board>,
    objects: BTreeMap<ObjectKey, ObjectRecord>,
    protected: Arc<BTreeSet<ObjectKey>>,
    overlays: Arc<BTreeSet<ObjectKey>>,
    guarded: Arc<BTreeSet<ObjectKey>>,
    said: Said,
}

impl Memory {
    /// Reads what was left by the controller before, and begins to write. The second value: number of the next pass.
    pub(super) async fn begin(store: Option<Arc<dyn Records>>, board: &Board) -> (Self, u64) {
        let Some(store) = store else {
            return (Self { board: Some(board.clone()), ..Self::forgetful() }, 1);
        };
        let mut before = store.events(0, RECENT).await.unwrap_or_default();
        before.reverse();
        board.tell(&before);
        let shown = Some(board.clone());
        // A file that cannot be read is the recorder's to report and to move aside.
        let objects = store.objects().await.unwrap_or_default();
        let next_pass = store.passes(1).await.ok().and_then(|passes| passes.first().map(|it| it.pass + 1)).unwrap_or(1);
        let board = board.clone();
        let place = store.place();
        let recorder = Some(Recorder::start(store, move |health| tell(&board, &place, &health)));
        let mut memory = Self { recorder, board: shown, objects, ..Self::forgetful() };
        memory.recall();
        (memory, next_pass)
    }

    fn forgetful() -> Self {
        Self {
            recorder: None,
            board: None,
            objects: BTreeMap::new(),
            protected: Arc::default(),
            overlays: Arc::default(),
            guarded: Arc::default(),
            said: Said::default(),
        }
    }

    /// Finds again what every pass asks for: looking through all objects for each would take a fleet the square of its size.
    fn recall(&mut self) {
        self.protected = Arc::new(protected(&self.objects).cloned().collect());
        self.overlays = Arc::new(overlays(&self.objects).cloned().collect());
        self.guarded = Arc::new(guarded(&self.objects).map(|(key, _)| key.clone()).collect());
    }

    /// Waits for what is still to be written, for a moment.
    pub(super) async fn close(&mut self) {
        if let Some(recorder) = self.recorder.take() {
            recorder.close().await;
        }
    }

    /// Resolves once everything is written that is known by now, or was given up.
    pub(super) fn written(&self) -> impl Future<Output = ()> + Send + 'static {
        let written = self.recorder.as_ref().map(Recorder::written);
        async move {
            if let Some(written) = written {
                written.await;
            }
        }
    }

    /// Takes what was kept of a server by whoever had it before.
    pub(super) fn recalled(&mut self, server: &ObjectKey, objects: BTreeMap<ObjectKey, ObjectRecord>) {
        let path = server.path();
        for (key, record) in objects {
            let Some(known) = self.objects.get_mut(&key) else {
                self.objects.insert(key, record);
                continue;
            };
            if let Some(conditions) = record.conditions.get(&path) {
                known.conditions.insert(&path, Arc::clone(conditions));
            }
            if known.fingerprint == record.fingerprint || !known.declared {
                known.generation = known.generation.max(record.generation);
            }
            known.network_type = record.network_type.or(known.network_type);
            known.unused_since = record.unused_since.or(known.unused_since);
            if !known.declared {
                known.deletion_policy = record.deletion_policy.or(known.deletion_policy);
            }
        }
        self.recall();
    }

    /// Destinations that no manifest need declare to be protected from pruning.
    pub(super) fn protected(&self) -> Arc<BTreeSet<ObjectKey>> {
        Arc::clone(&self.protected)
    }

    /// Destinations whose network was one of a Swarm when it was last seen.
    pub(super) fn guarded(&self) -> Arc<BTreeSet<ObjectKey>> {
        Arc::clone(&self.guarded)
    }

    pub(super) fn overlays(&self) -> Arc<BTreeSet<ObjectKey>> {
        Arc::clone(&self.overlays)
    }

    /// Keeps of which kind the networks are that were seen.
    pub(super) fn networks(&mut self, server: &ObjectKey, uses: &[NetworkUse]) {
        let mut batch = Batch::default();
        for NetworkUse { destination: key, network_type, .. } in uses {
            let seen = Some(*network_type);
            if let Some(record) = self.objects.get_mut(key).filter(|it| it.declared && it.network_type != seen) {
                record.network_type = seen;
                match seen {
                    Some(DestinationType::Swarm) => Arc::make_mut(&mut self.overlays).insert(key.clone()),
                    _ => self.overlays.contains(key) && Arc::make_mut(&mut self.overlays).remove(key),
                };
                batch.objects.insert(key.clone(), Some(record.clone()));
            }
        }
        batch.objects.extend(note_use(&mut self.objects, uses, jiff::Timestamp::now()));
        batch.homes = batch.objects.keys().map(|key| (key.clone(), BTreeSet::from([server.clone()]))).collect();
        self.write(batch);
    }

    /// Takes the manifests that are in force now. Returns the objects that they declare in another form than those before.
    pub(super) fn declared(
        &mut self,
        desired: &DesiredState,
        fingerprints: &BTreeMap<ObjectKey, String>,
    ) -> BTreeSet<ObjectKey> {
        let changed = declare(&mut self.objects, desired, fingerprints, true);
        // A tree that was filled in the order of its keys is half empty; one that is made of all at once is not.
        self.objects = std::mem::take(&mut self.objects).into_iter().collect();
        self.recall();
        let homes = homes(desired, changed.keys());
        let others = changed.keys().cloned().collect();
        self.write(Batch { objects: changed, homes, ..Batch::default() });
        others
    }

    /// Fills in what conditions say about time and generation, and keeps them.
    ///
    /// What comes back shares its memory with what is kept, and objects of which the same is said share theirs: on most servers that is most of them.
    pub(super) fn conditions(
        &mut self,
        server: &ObjectKey,
        now: jiff::Timestamp,
        conditions: BTreeMap<ObjectKey, Vec<Condition>>,
    ) -> BTreeMap<ObjectKey, Arc<[Condition]>> {
        let mut batch = Batch::default();
        let said = &mut self.said;
        said.tidy();
        let mut kept = Vec::with_capacity(conditions.len());
        let path = server.path();
        for (key, mut conditions) in conditions {
            // Not declared any more since the pass began.
            let Some(record) = self.objects.get_mut(&key).filter(|record| record.declared) else {
                stamp(&mut conditions, &[], None, now);
                kept.push((key, said.share(conditions)));
                continue;
            };
            let before = record.conditions.get(&path).or_else(|| record.conditions.get("")).cloned();
            let before = before.unwrap_or_default();
            stamp(&mut conditions, &before, Some(record.generation), now);
            let changed = *conditions != *before;
            let after = said.share(conditions);
            if !record.conditions.get(&path).is_some_and(|known| Arc::ptr_eq(known, &after)) {
                record.conditions.insert(&path, Arc::clone(&after));
            }
            if changed {
                batch.objects.insert(key.clone(), Some(record.clone()));
            }
            kept.push((key, after));
        }
        self.write(batch);
        // Of all at once: a tree that is filled in the order of its keys is half empty, and there is one of each server.
        kept.into_iter().collect()
    }

    /// Lets what another controller says share its memory with what is kept.
    pub(super) fn share(&mut self, conditions: &mut BTreeMap<ObjectKey, Arc<[Condition]>>) {
        self.said.tidy();
        conditions.values_mut().for_each(|said| *said = self.said.share(said.to_vec()));
    }

    /// Writes down what the pass did. A pass that did nothing leaves no trace.
    pub(super) fn pass(
        &self,
        server: &ObjectKey,
        pass: u64,
        took: Duration,
        revision: Option<String>,
        report: &Report,
    ) {
        let now = jiff::Timestamp::now();
        let mut batch = Batch { events: operation_events(server, pass, now, report), ..Batch::default() };
        if report.servers.iter().any(|it| !it.operations.is_empty()) {
            let document = report.document();
            batch.passes.push(PassRecord {
                time: now,
                pass,
                logged_as: None,
                by: "run".to_owned(),
                server: server.clone(),
                revision,
                duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                operations: document.operations.iter().filter_map(|it| serde_json::to_value(it).ok()).collect(),
                omitted: 0,
            });
        }
        self.write(batch);
    }

    /// What was said of the server when it was looked at last, by whichever controller.
    pub(super) fn said_of(&self, server: &ObjectKey) -> Arc<[Condition]> {
        let record = self.objects.get(server);
        record.and_then(|it| it.conditions.get(&server.path())).cloned().unwrap_or_default()
    }

    /// Writes down what happened.
    pub(super) fn events(&self, events: Vec<EventRecord>) {
        if !events.is_empty() {
            self.write(Batch { events, ..Batch::default() });
        }
    }

    /// Something that is no operation. About an object that is a server, it happened there.
    pub(super) fn event(
        &self,
        event_type: EventType,
        object: Option<&ObjectKey>,
        reason: &str,
        message: &str,
        pass: Option<u64>,
    ) {
        let event = EventRecord {
            id: 0,
            time: jiff::Timestamp::now(),
            event_type,
            object: object.cloned(),
            server: object.filter(|object| object.kind == Kind::Server).cloned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            pass,
        };
        self.write(Batch { events: vec![event], ..Batch::default() });
    }

    /// Something that happened to an object on a server.
    pub(super) fn happened(
        &self,
        event_type: EventType,
        server: &ObjectKey,
        object: &ObjectKey,
        reason: &str,
        message: &str,
    ) {
        self.happened_at(jiff::Timestamp::now(), event_type, server, object, reason, message);
    }

    /// The same, at a time that somebody else's clock has told.
    pub(super) fn happened_at(
        &self,
        time: jiff::Timestamp,
        event_type: EventType,
        server: &ObjectKey,
        object: &ObjectKey,
        reason: &str,
        message: &str,
    ) {
        let event = EventRecord {
            id: 0,
            time,
            event_type,
            object: Some(object.clone()),
            server: Some(server.clone()),
            reason: reason.to_owned(),
            message: message.to_owned(),
            pass: None,
        };
        self.write(Batch { events: vec![event], ..Batch::default() });
    }

    fn write(&self, batch: Batch) {
        if let Some(board) = &self.board {
            board.tell(&batch.events);
        }
        if let Some(recorder) = &self.recorder {
            recorder.record(batch);
        }
    }
}

/// The servers that objects are on.
fn homes<'a>(
    desired: &DesiredState,
    objects: impl Iterator<Item = &'a ObjectKey>,
) -> BTreeMap<ObjectKey, BTreeSet<ObjectKey>> {
    let mut homes: BTreeMap<ObjectKey, BTreeSet<ObjectKey>> = BTreeMap::new();
    for (server, destination) in desired.destinations() {
        for object in destination.members.iter().map(|member| &member.resource).chain([&destination.key]) {
            homes.entry(object.clone()).or_default().insert(server.key.clone());
        }
    }
    objects.filter_map(|object| homes.remove(object).map(|servers| (object.clone(), servers))).collect()
}

/// Conditions that were met, so that equal ones are one: those of objects on any server, and the lists of them.
#[derive(Default)]
struct Said {
    conditions: HashSet<Condition>,
    lists: HashSet<Arc<[Condition]>>,
    /// When there are so many, those that only this knows are forgotten.
    full: usize,
}

impl Said {
    const FULL: usize = 1024;

    fn share(&mut self, conditions: Vec<Condition>) -> Arc<[Condition]> {
        if let Some(known) = self.lists.get(conditions.as_slice()) {
            return Arc::clone(known);
        }
        let shared = conditions.into_iter().map(|condition| match self.conditions.get(&condition) {
            Some(known) => known.clone(),
            None => {
                self.conditions.insert(condition.clone());
                condition
            }
        });
        let list: Arc<[Condition]> = shared.collect();
        self.lists.insert(Arc::clone(&list));
        list
    }

    fn tidy(&mut self) {
        if self.conditions.len() + self.lists.len() > self.full.max(Self::FULL) {
            self.lists.retain(|list| Arc::strong_count(list) > 1);
            self.conditions.retain(|condition| !condition.is_alone());
            self.lists.shrink_to_fit();
            self.conditions.shrink_to_fit();
            self.full = 2 * (self.conditions.len() + self.lists.len());
        }
    }
}

/// A condition that says the same as before has changed when that one had.
fn stamp(conditions: &mut [Condition], before: &[Condition], generation: Option<u64>, now: jiff::Timestamp) {
    for condition in conditions {
        let same = before
            .iter()
            .find(|it| it.condition_type == condition.condition_type && it.status == condition.status)
            .and_then(|it| it.last_transition_time.clone());
        // To the second, as Kubernetes has it.
        condition.last_transition_time = same.or_else(|| Some(format_smolstr!("{now:.0}")));
        condition.observed_generation = generation.filter(|generation| *generation > 0);
    }
}

/// In the log and on the board.
fn tell(board: &Board, place: &str, health: &Health) {
    let (status, reason, message) = match health {
        Health::Good { set_aside, lost } => {
            if *lost > 0 {
                tracing::warn!(lost, "the history has a gap: it could not be written for too long");
            }
            match set_aside {
                Some(aside) => {
                    tracing::warn!(file = place, moved_to = aside, "the history could not be read; a new one is begun");
                    (ConditionStatus::True, "BegunAnew", format!("The file before could not be read; it is {aside}."))
                }
                None => (ConditionStatus::True, "Written", String::new()),
            }
        }
        Health::Bad(error) => {
            tracing::warn!(%error, "the history cannot be written; the loop goes on without");
            (ConditionStatus::False, error.reason(), format!("The loop goes on without history: {error}."))
        }
    };
    board.set_condition(HISTORY_KEPT, status, reason, &message);
}

#[cfg(test)]
mod tests {
    use smol_str::SmolStr;

    use super::*;
    use crate::core::api::Statement;

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    fn key(kind: Kind, name: &str) -> ObjectKey {
        ObjectKey::new(kind, "default", name)
    }

    fn ready(status: ConditionStatus) -> Vec<Condition> {
        vec![Condition::from(Statement {
            condition_type: "Ready".into(),
            status,
            reason: "Any".into(),
            message: SmolStr::default(),
            observed_generation: None,
            last_transition_time: None,
        })]
    }

    fn nothing() -> DesiredState {
        DesiredState::new("default", BTreeMap::new())
    }

    fn look(memory: &mut Memory, second: i64, status: ConditionStatus) -> (Option<u64>, String) {
        let web = key(Kind::Destination, "web");
        let conditions = BTreeMap::from([(web.clone(), ready(status))]);
        let conditions = memory.conditions(&key(Kind::Server, "edge"), at(second), conditions);
        let condition = &conditions[&web][0];
        (condition.observed_generation, condition.last_transition_time.clone().unwrap().to_string())
    }

    /// Rule 17.
    #[test]
    fn rule_17_the_time_moves_when_the_status_does_and_the_generation_when_the_manifest_does() {
        let mut memory = Memory::forgetful();
        let form = |text: &str| BTreeMap::from([(key(Kind::Destination, "web"), text.to_owned())]);
        memory.declared(&nothing(), &form("a"));
        assert_eq!(look(&mut memory, 1, ConditionStatus::False), (Some(1), "1970-01-01T00:00:01Z".to_owned()));
        assert_eq!(look(&mut memory, 2, ConditionStatus::False), (Some(1), "1970-01-01T00:00:01Z".to_owned()));
        memory.declared(&nothing(), &form("a"));
        assert_eq!(look(&mut memory, 3, ConditionStatus::True), (Some(1), "1970-01-01T00:00:03Z".to_owned()));
        memory.declared(&nothing(), &form("b"));
        assert_eq!(look(&mut memory, 4, ConditionStatus::True), (Some(2), "1970-01-01T00:00:03Z".to_owned()));
    }
}
