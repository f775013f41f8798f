//! What the pages have in common: words and classes for what is so.

use crate::core::api::{Condition, ConditionStatus, ObjectKey};
use crate::core::plan::{BlockerKind, NoteKind};
use crate::core::report::json::{NoteDocument, OperationDocument};
use crate::core::standing::Meaning;
use crate::shell::controller::board::Content;
use crate::shell::web::view::Standing;

/// How something stands, as a class and as a sign: colours alone say nothing to many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
}

pub(super) const GOOD: Mark = Mark { class: "good", sign: "✓" };
pub(super) const BAD: Mark = Mark { class: "bad", sign: "✕" };
pub(super) const UNSURE: Mark = Mark { class: "unsure", sign: "?" };
pub(super) const PLAIN: Mark = Mark { class: "plain", sign: "·" };

impl From<Standing> for Mark {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Ready => GOOD,
            Standing::NotReady => BAD,
            Standing::Unknown => UNSURE,
        }
    }
}

pub(super) fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Ready => "Ready",
        Standing::NotReady => "Not ready",
        Standing::Unknown => "Unknown",
    }
}

/// To the second: whoever needs more has the attribute and the API.
pub(super) fn moment(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn moment_of(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_owned(), moment)
}

/// `5 s ago`, `3 min ago`, `4 h ago`, `12 days ago`.
pub(super) fn ago(time: jiff::Timestamp, now: jiff::Timestamp) -> String {
    match now.as_second().saturating_sub(time.as_second()).max(0) {
        0..5 => "just now".to_owned(),
        seconds @ 5..90 => format!("{seconds} s ago"),
        seconds @ 90..5_400 => format!("{} min ago", seconds / 60),
        seconds @ 5_400..172_800 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// Of a revision, what people read.
pub(super) fn short(revision: &str) -> &str {
    revision.get(..10).unwrap_or(revision)
}

/// `1 server`, `2 servers`.
pub(super) fn count(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

pub(super) struct NoteLine {
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
    pub(super) kind: &'static str,
    pub(super) reason: String,
    pub(super) object: String,
    pub(super) href: Option<String>,
    pub(super) server: String,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) blockers: Vec<BlockerLine>,
}

pub(super) struct BlockerLine {
    pub(super) name: String,
    pub(super) says: String,
}

impl NoteLine {
    pub(super) fn new(note: &NoteDocument, linked: bool) -> Self {
        let (mark, kind) = match note.kind {
            NoteKind::Refused => (BAD, "Refused"),
            NoteKind::Waiting => (UNSURE, "Waiting"),
            NoteKind::Warning => (UNSURE, "Warning"),
            NoteKind::Unmanaged => (PLAIN, "Unmanaged"),
            NoteKind::Suspended => (PLAIN, "Suspended"),
        };
        let blocker = |it: &crate::core::plan::Blocker| {
            let kind = match it.kind {
                BlockerKind::Container => "container",
                BlockerKind::SwarmService => "Swarm service",
                BlockerKind::SwarmTask => "Swarm task",
                BlockerKind::Destination => "destination",
                BlockerKind::Application => "application",
                BlockerKind::Database => "database",
                BlockerKind::Service => "service",
            };
            BlockerLine { name: it.name.clone(), says: format!("{kind}, {}", it.state) }
        };
        Self {
            class: mark.class,
            sign: mark.sign,
            kind,
            reason: note.reason.as_str().to_owned(),
            href: linked.then(|| href(&note.object)),
            object: note.object.clone(),
            server: note.server.clone().unwrap_or_default(),
            message: note.message.clone(),
            hint: note.hint.clone(),
            blockers: note.blockers.iter().map(blocker).collect(),
        }
    }
}

impl NoteLine {
    /// Something that is put back again and again.
    pub(super) fn contended(object: &str, server: &str, condition: &Condition) -> Self {
        Self::unsure("Contended", object, server, &condition.reason, &condition.message)
    }

    /// Something that is as declared and does not run well.
    pub(super) fn unhealthy(object: &str, server: &str, condition: &Condition) -> Self {
        Self::unsure("Not healthy", object, server, &condition.reason, &condition.message)
    }

    /// Something whose last backup that was due was not written.
    pub(super) fn unsaved(object: &str, server: &str, why: &str) -> Self {
        let message = format!("The last backup that was due was not written: {why}");
        Self::unsure("No backup", object, server, "BackupFailed", &message)
    }

    fn unsure(kind: &'static str, object: &str, server: &str, reason: &str, message: &str) -> Self {
        Self {
            class: UNSURE.class,
            sign: UNSURE.sign,
            kind,
            reason: reason.to_owned(),
            href: Some(href(object)),
            object: object.to_owned(),
            server: server.to_owned(),
            message: message.to_owned(),
            hint: None,
            blockers: Vec::new(),
        }
    }
}

/// The resources of which there is no backup that should be.
pub(super) fn unsaved(content: &Content, of: impl Fn(&ObjectKey) -> bool) -> impl Iterator<Item = NoteLine> {
    content.backups.iter().filter(move |((object, _), _)| of(object)).filter_map(|((object, server), state)| {
        Some(NoteLine::unsaved(&object.to_string(), &server.path(), state.problem.as_deref()?))
    })
}

/// The page of `Kind/namespace/name`.
pub(super) fn href(object: &str) -> String {
    format!("/objects/{object}")
}

pub(super) struct OperationLine {
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
    pub(super) text: String,
    pub(super) differences: Vec<String>,
    pub(super) server: String,
    pub(super) outcome: String,
    pub(super) message: Option<String>,
}

impl OperationLine {
    pub(super) fn new(operation: &OperationDocument) -> Self {
        let (sign, text) = operation.text.split_once(' ').unwrap_or(("~", &operation.text));
        let sign = match sign {
            "+" => "+",
            "-" => "−",
            _ => "~",
        };
        Self {
            class: if operation.outcome == "Failed" { "failed" } else { "outstanding" },
            sign,
            text: text.to_owned(),
            differences: operation.differences.iter().map(ToString::to_string).collect(),
            server: operation.server.clone(),
            outcome: operation.outcome.to_string(),
            message: operation.message.clone(),
        }
    }
}

pub(super) struct ConditionLine {
    pub(super) standing: Mark,
    pub(super) name: String,
    pub(super) status: &'static str,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) since: String,
    pub(super) since_text: String,
    pub(super) since_ago: String,
}

impl ConditionLine {
    pub(super) fn new(condition: &Condition) -> Self {
        let since = condition.last_transition_time.clone().unwrap_or_default();
        let status = match condition.status {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        };
        Self {
            standing: mark_of(condition),
            name: condition.condition_type.to_string(),
            status,
            reason: condition.reason.to_string(),
            message: condition.message.to_string(),
            since_ago: since.parse().map_or_else(|_| since.to_string(), |since| ago(since, jiff::Timestamp::now())),
            since_text: moment_of(&since),
            since: since.to_string(),
        }
    }
}

fn mark_of(condition: &Condition) -> Mark {
    match Meaning::of(condition) {
        Meaning::Good => GOOD,
        Meaning::Neutral => PLAIN,
        Meaning::Unsure => UNSURE,
        Meaning::Bad => BAD,
    }
}
