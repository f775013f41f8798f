//! Where changes go: the log, the history, the metrics and the notifiers. What is new, and what was said before, is `core::changes`' to say.

use super::board::Counts;
use crate::core::api::ObjectKey;
use crate::core::changes::{Change, said};
use crate::core::notice::{Notice, notice};
use crate::core::plan::{NoteKind, Reason, Withheld};
use crate::shell::store::records::{EventRecord, EventType};

/// Of what waits for an approval, in a line of the log.
const NAMED: usize = 20;

/// The pass that the changes are of.
pub(super) struct Of<'a> {
    pub(super) server: &'a ObjectKey,
    pub(super) pass: u64,
    /// What the server says of itself, where it was looked at.
    pub(super) engine: &'a str,
    /// How an approval is given.
    pub(super) agree: &'a dyn Fn(&Withheld) -> String,
}

/// In the log: what is refused or waited for. What was done stands there anyway.
pub(super) fn log(of: &Of<'_>, change: &Change) {
    let (server, pass) = (of.server.path(), of.pass);
    match change {
        Change::Noted { note, .. } => {
            let (object, reason, message) = (note.object.to_string(), note.reason.as_str(), &note.message);
            match note.kind {
                NoteKind::Refused => tracing::warn!(server, pass, object, reason, "refused: {message}"),
                NoteKind::Waiting => tracing::info!(server, pass, object, reason, "waiting: {message}"),
                NoteKind::Unmanaged | NoteKind::Suspended | NoteKind::Warning => {}
            }
        }
        Change::Withheld(withheld) => {
            tracing::warn!(server, pass, fingerprint = withheld.fingerprint, "{}", asking(of, withheld));
        }
        Change::Down { .. }
        | Change::Back
        | Change::Drifted { .. }
        | Change::PutBack { .. }
        | Change::Healed { .. } => {}
    }
}

/// In the history: that a server goes and comes back, and what is refused. What was done is there as operations.
pub(super) fn event(of: &Of<'_>, change: &Change, time: jiff::Timestamp) -> Option<EventRecord> {
    let (event_type, object, reason, message) = match change {
        Change::Down { reason, message, .. } => (EventType::Warning, of.server, reason.as_str(), message.clone()),
        Change::Back => (EventType::Normal, of.server, "Reachable", of.engine.to_owned()),
        Change::Noted { note, first: true, shared: false } if note.kind == NoteKind::Refused => {
            (EventType::Warning, &note.object, note.reason.as_str(), said(note))
        }
        Change::Withheld(withheld) => {
            (EventType::Warning, of.server, Reason::MassDeletionRefused.as_str(), asking(of, withheld))
        }
        Change::Drifted { .. } | Change::PutBack { .. } | Change::Healed { .. } | Change::Noted { .. } => return None,
    };
    Some(EventRecord {
        id: 0,
        time,
        event_type,
        object: Some(object.clone()),
        server: Some(of.server.clone()),
        reason: reason.to_owned(),
        message,
        // Reachability is not of a pass.
        pass: (!matches!(change, Change::Down { .. } | Change::Back)).then_some(of.pass),
    })
}

/// In the metrics: what moved, and what was put back.
pub(super) fn count(counts: &mut Counts, change: &Change) {
    match change {
        Change::Drifted { operation, .. } => *counts.drift.entry(operation.cause.to_string()).or_default() += 1,
        Change::PutBack { cause, .. } => *counts.repairs.entry(cause.to_string()).or_default() += 1,
        Change::Down { .. } | Change::Back | Change::Healed { .. } | Change::Noted { .. } | Change::Withheld(_) => {}
    }
}

/// To the notifiers.
pub(super) fn notices(of: &Of<'_>, changes: &[Change]) -> Vec<Notice> {
    changes.iter().filter_map(|change| notice(of.server, change)).collect()
}

/// What waits for an approval, and how to give it.
fn asking(of: &Of<'_>, withheld: &Withheld) -> String {
    let deletions = withheld.deletions.iter().map(|it| it.destination.to_string());
    let disconnections = withheld.disconnections.iter().map(|it| format!("{:?} from {:?}", it.name, it.network));
    let removals = withheld.removals.iter().map(|it| format!("the container {:?}", it.name));
    let names: Vec<_> = deletions.chain(removals).chain(disconnections).take(NAMED).collect();
    let more = withheld.counts().total().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}: {}{more}. {}", waiting(withheld), names.join(", "), (of.agree)(withheld))
}

/// `3 deletions wait for an approval`
pub(super) fn waiting(withheld: &Withheld) -> String {
    let counts = withheld.counts();
    let verb = if counts.total() == 1 { "waits" } else { "wait" };
    format!("{counts} {verb} for an approval")
}
