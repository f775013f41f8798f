//! What people are told: which changes of a server's standing are worth a notice, how often, and in which form.
//!
//! Values in, values out; `controller::notify` does the sending.

mod pace;
mod payload;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Serialize;

use crate::core::api::{NotifierEvent, NotifierSpec, NotifierType, ObjectKey};
use crate::core::observed::Unobserved;
use crate::core::plan::{NoteKind, Reason};
use crate::core::report::{OperationReport, Outcome, Report};

pub use pace::{Bucket, Recent};
pub use payload::{Payload, TemplateError, check_template, payload};

/// A declared notifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Notifier {
    pub key: ObjectKey,
    pub spec: NotifierSpec,
}

impl Notifier {
    /// Whether it is told of that.
    pub fn takes(&self, notice: &Notice) -> bool {
        // What is wrong with the manifests holds up every namespace.
        let concerned = notice.object.as_ref().is_none_or(|ObjectKey { namespace, .. }| {
            let named = self.spec.namespaces.iter().any(|it| it == "*" || it == namespace);
            named || self.spec.namespaces.is_empty() && *namespace == self.key.namespace
        });
        self.spec.events.contains(&notice.event) && concerned
    }

    pub fn notifier_type(&self) -> NotifierType {
        self.spec.notifier_type
    }
}

/// Something that people may want to know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Notice {
    pub event: NotifierEvent,
    /// `None`: the manifests as a whole.
    pub object: Option<ObjectKey>,
    /// Where; `None` for what is about a server itself.
    pub server: Option<ObjectKey>,
    /// One word in CamelCase.
    pub reason: String,
    pub message: String,
}

/// What is remembered of a server between two passes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    /// Why it cannot be looked at.
    unreachable: Option<(String, String)>,
    /// What has moved away and is not back yet, with its cause.
    drift: BTreeMap<ObjectKey, String>,
    refused: BTreeMap<(ObjectKey, Reason), String>,
    /// Of which addresses are short.
    low: BTreeSet<ObjectKey>,
}

/// What a pass over a server saw and did.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub server: &'a ObjectKey,
    pub unobserved: Option<&'a Unobserved>,
    pub report: &'a Report,
    /// Objects that had been as declared before: what differs of them has moved.
    pub settled: &'a HashSet<ObjectKey>,
    /// Objects that the pass left alone, and with them whatever relies on them.
    pub held: &'a BTreeSet<ObjectKey>,
}

/// What is worth telling of a pass, and what to remember for the next. `before`: `None` for the first pass.
pub fn follow(before: Option<&Standing>, seen: Seen<'_>) -> (Standing, Vec<Notice>) {
    let Seen { server, unobserved, report, settled, held } = seen;
    let empty = Standing::default();
    let known = before.unwrap_or(&empty);
    let mut notices = Vec::new();
    let own = |event, reason: &str, message: String| Notice {
        event,
        object: Some(server.clone()),
        server: None,
        reason: reason.to_owned(),
        message,
    };
    if let Some(unobserved) = unobserved {
        let why = (format!("{:?}", unobserved.reason), unobserved.message.clone());
        if known.unreachable.is_none() {
            notices.push(own(NotifierEvent::ServerDown, &why.0, why.1.clone()));
        }
        // What it was like otherwise nobody knows; it is compared with what was known when it is back.
        return (Standing { unreachable: Some(why), ..known.clone() }, notices);
    }
    if known.unreachable.is_some() {
        notices.push(own(NotifierEvent::ServerBack, "Reachable", "The server can be looked at again.".to_owned()));
    }

    let about = |event, object: &ObjectKey, reason: &str, message: String| Notice {
        event,
        object: Some(object.clone()),
        server: Some(server.clone()),
        reason: reason.to_owned(),
        message,
    };
    let mut now = Standing::default();
    let mut healed: BTreeMap<ObjectKey, (&str, Vec<String>)> = BTreeMap::new();
    for it in report.servers.iter().flat_map(|server| &server.operations).flat_map(OperationReport::parts) {
        let operation = &it.operation;
        let (object, cause) = (&operation.object, operation.cause.as_str());
        if !settled.contains(object) && !known.drift.contains_key(object) {
            continue;
        }
        let is_told = known.drift.contains_key(object) || healed.contains_key(object) || now.drift.contains_key(object);
        if !is_told {
            let message = format!("{}.", capital(operation.cause.explain()));
            notices.push(about(NotifierEvent::DriftFound, object, cause, message));
        }
        match it.outcome {
            Outcome::Done => {
                healed.entry(object.clone()).or_insert((cause, Vec::new())).1.push(operation.call.to_string())
            }
            Outcome::Planned | Outcome::Failed(_) | Outcome::Skipped => {
                now.drift.insert(object.clone(), cause.to_owned());
            }
        }
    }
    healed.retain(|object, _| !now.drift.contains_key(object));
    for (object, (cause, done)) in &healed {
        notices.push(about(NotifierEvent::Healed, object, cause, format!("Done: {}.", done.join(", "))));
    }
    if !held.is_empty() {
        // Not everything was looked after this time, so of what is missing here nobody knows that it is well.
        for (object, cause) in known.drift.iter().filter(|(object, _)| !healed.contains_key(object)) {
            now.drift.entry(object.clone()).or_insert_with(|| cause.clone());
        }
    }
    let gone =
        known.drift.iter().filter(|(object, _)| !now.drift.contains_key(*object) && !healed.contains_key(object));
    for (object, cause) in gone {
        notices.push(about(NotifierEvent::Healed, object, cause, "It is as declared again.".to_owned()));
    }
    for note in report.servers.iter().flat_map(|it| &it.notes).chain(&report.notes) {
        if note.kind == NoteKind::Refused && note.object != *server {
            let key = (note.object.clone(), note.reason);
            if !known.refused.contains_key(&key) && !now.refused.contains_key(&key) {
                notices.push(about(NotifierEvent::Blocked, &note.object, note.reason.as_str(), note.message.clone()));
            }
            now.refused.insert(key, note.message.clone());
        }
        if note.reason == Reason::AddressesLow
            && now.low.insert(note.object.clone())
            && !known.low.contains(&note.object)
        {
            let (event, reason) = (NotifierEvent::AddressesLow, note.reason.as_str());
            notices.push(if note.object == *server {
                own(event, reason, note.message.clone())
            } else {
                about(event, &note.object, reason, note.message.clone())
            });
        }
    }
    (now, notices)
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
