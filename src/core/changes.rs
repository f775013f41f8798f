//! What has changed on a server from one pass to the next: the one answer from which log, history, metrics and notifiers are made.
//!
//! Each thing is said once for as long as it lasts, and whatever was said to be so is said to be over.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::core::api::{Condition, ConditionStatus, ObjectKey};
use crate::core::observed::Unobserved;
use crate::core::plan::{Call, Cause, Note, NoteKind, Operation, Reason, Withheld};
use crate::core::report::{OperationReport, Outcome, Report};
use crate::core::standing::ConditionType;

/// What stands on a server after a pass over it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    /// Why it cannot be looked at, in one word.
    down: Option<String>,
    /// What has moved away and is not back yet, with its causes.
    drift: BTreeMap<ObjectKey, BTreeSet<Cause>>,
    /// What is refused or waited for, with what is said of it.
    notes: BTreeMap<(NoteKind, ObjectKey, Reason), BTreeSet<String>>,
    /// Fingerprint of the deletions and disconnections that wait for an approval.
    withheld: Option<String>,
}

impl Standing {
    /// As far as the conditions of the server tell, from before the controller was started.
    /// `withheld`: what another controller had wait for an approval.
    pub fn recalled(conditions: &[Condition], withheld: Option<&Withheld>) -> Self {
        let reachable = conditions.iter().find(|it| it.condition_type == ConditionType::Reachable.as_str());
        let down = reachable.filter(|it| it.status != ConditionStatus::True);
        Self {
            down: down.map(|it| it.reason.to_string()),
            withheld: withheld.map(|it| it.fingerprint.clone()),
            ..Self::default()
        }
    }
}

/// What a pass over a server saw and did.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub server: &'a ObjectKey,
    pub unobserved: Option<&'a Unobserved>,
    pub report: &'a Report,
    pub withheld: Option<&'a Withheld>,
    /// Objects that had been as declared before: what differs of them has moved.
    pub settled: &'a HashSet<ObjectKey>,
    /// Objects that the pass left alone, and with them whatever relies on them.
    pub held: &'a BTreeSet<ObjectKey>,
    /// The pass looked after one lane only: what it does not mention has not ended.
    pub partial: bool,
}

/// Something that is otherwise than it was after the pass before.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The server cannot be looked at, or for another reason than before.
    Down { reason: String, message: String, first: bool },
    /// It can be looked at again.
    Back,
    /// An object that was as declared is not any more. `first`: nothing of it was known to have moved.
    Drifted { operation: Box<Operation>, first: bool },
    /// Something of an object that had moved was put back.
    PutBack { object: ObjectKey, cause: Cause },
    /// All of an object is back. `done`: by these calls; none: it came back by itself, or somebody else has put it back.
    Healed { object: ObjectKey, cause: Cause, done: Vec<String> },
    /// Something is refused, or waited for, for a reason that is new of the object; `first` is false where only the words are. `shared`: it
    /// concerns no single server, and is said of each.
    Noted { note: Note, first: bool, shared: bool },
    /// Other deletions or disconnections than before wait for an approval.
    Withheld(Withheld),
}

/// What has changed with a pass, and what stands from there on.
pub fn changes(before: &Standing, seen: Seen<'_>) -> (Standing, Vec<Change>) {
    let mut changes = Vec::new();
    if let Some(unobserved) = seen.unobserved {
        let reason = Reason::from(unobserved.reason).as_str();
        if before.down.as_deref() != Some(reason) {
            let (first, message) = (before.down.is_none(), unobserved.message.clone());
            changes.push(Change::Down { reason: reason.to_owned(), message, first });
        }
        // What it was like otherwise is not known; it is compared with what stood before when the server is back.
        return (Standing { down: Some(reason.to_owned()), ..before.clone() }, changes);
    }
    if before.down.is_some() {
        changes.push(Change::Back);
    }
    let drift = moved(before, seen, &mut changes);
    let mut notes = noted(before, seen.report, &mut changes);
    if seen.partial {
        before.notes.iter().for_each(|(key, said)| notes.entry(key.clone()).or_default().extend(said.iter().cloned()));
        return (Standing { down: None, drift, notes, withheld: before.withheld.clone() }, changes);
    }
    if let Some(withheld) = seen.withheld.filter(|it| before.withheld.as_ref() != Some(&it.fingerprint)) {
        changes.push(Change::Withheld(withheld.clone()));
    }
    let withheld = seen.withheld.map(|it| it.fingerprint.clone());
    (Standing { down: None, drift, notes, withheld }, changes)
}

/// What has moved, and what of that is back; returns what is not.
fn moved(before: &Standing, seen: Seen<'_>, changes: &mut Vec<Change>) -> BTreeMap<ObjectKey, BTreeSet<Cause>> {
    let Seen { report, settled, held, partial, .. } = seen;
    let mut now: BTreeMap<ObjectKey, BTreeSet<Cause>> = BTreeMap::new();
    let mut healed: BTreeMap<ObjectKey, (Cause, Vec<String>)> = BTreeMap::new();
    let operations = report.servers.iter().flat_map(|server| &server.operations).flat_map(OperationReport::parts);
    for OperationReport { operation, outcome } in operations {
        let (object, cause) = (operation.object.clone(), operation.cause);
        // What follows from a repair, or undoes one that failed, has not moved.
        let follows = matches!(operation.call, Call::RefreshProxy { .. }) || operation.cause == Cause::Rollback;
        if follows || !settled.contains(&object) && !before.drift.contains_key(&object) {
            continue;
        }
        let known = before.drift.get(&object);
        if known.is_none_or(|causes| !causes.contains(&cause)) {
            let first = known.is_none() && !healed.contains_key(&object) && !now.contains_key(&object);
            changes.push(Change::Drifted { operation: Box::new(operation.clone()), first });
        }
        if outcome == Outcome::Done {
            changes.push(Change::PutBack { object: object.clone(), cause });
            healed.entry(object).or_insert((cause, Vec::new())).1.push(operation.call.to_string());
        } else {
            now.entry(object).or_default().insert(cause);
        }
    }
    healed.retain(|object, _| !now.contains_key(object));
    if partial || !held.is_empty() {
        // Not everything was looked after this time: that something is missing here does not say that it is well.
        for (object, causes) in before.drift.iter().filter(|(object, _)| !healed.contains_key(object)) {
            now.entry(object.clone()).or_insert_with(|| causes.clone());
        }
    }
    for (object, causes) in &before.drift {
        if let Some(cause) = causes.first().filter(|_| !now.contains_key(object) && !healed.contains_key(object)) {
            healed.insert(object.clone(), (*cause, Vec::new()));
        }
    }
    changes.extend(healed.into_iter().map(|(object, (cause, done))| Change::Healed { object, cause, done }));
    now
}

/// What is refused or waited for otherwise than before; returns all that is.
fn noted(
    before: &Standing,
    report: &Report,
    changes: &mut Vec<Change>,
) -> BTreeMap<(NoteKind, ObjectKey, Reason), BTreeSet<String>> {
    let mut now: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    let own = report.servers.iter().flat_map(|it| &it.notes).map(|note| (note, false));
    for (note, shared) in own.chain(report.notes.iter().map(|note| (note, true))) {
        let lasts = matches!(note.kind, NoteKind::Refused | NoteKind::Waiting) || note.reason == Reason::AddressesLow;
        // What waits for an approval is told with what it takes to give it.
        if !lasts || note.reason == Reason::MassDeletionRefused {
            continue;
        }
        let key = (note.kind, note.object.clone(), note.reason);
        let (said, known) = (said(note), before.notes.get(&key));
        if known.is_none_or(|known| !known.contains(&said)) {
            let first = known.is_none() && !now.contains_key(&key);
            changes.push(Change::Noted { note: note.clone(), first, shared });
        }
        now.entry(key).or_default().insert(said);
    }
    now
}

/// Everything that is said with a note: its message, and what stands in the way.
pub fn said(note: &Note) -> String {
    let blockers: Vec<String> = note.blockers.iter().map(ToString::to_string).collect();
    match blockers.is_empty() {
        true => note.message.clone(),
        false => format!("{} {}.", note.message, blockers.join("; ")),
    }
}
