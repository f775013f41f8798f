//! What people are told: which changes of a server's standing are worth a notice, how often, and in which form.
//!
//! Values in, values out; `controller::notify` does the sending.

mod pace;
mod payload;

use serde::Serialize;

use crate::core::api::{NotifierEvent, NotifierSpec, NotifierType, ObjectKey};
use crate::core::changes::Change;
use crate::core::plan::{NoteKind, Reason};
use crate::core::printable::capitalized;

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

/// What people are told of a change on a server, where it is worth that.
pub fn notice(server: &ObjectKey, change: &Change) -> Option<Notice> {
    let own = |event, reason: &str, message: String| Notice {
        event,
        object: Some(server.clone()),
        server: None,
        reason: reason.to_owned(),
        message,
    };
    let about = |event, object: &ObjectKey, reason: &str, message: String| match object == server {
        true => own(event, reason, message),
        false => Notice { object: Some(object.clone()), server: Some(server.clone()), ..own(event, reason, message) },
    };
    let notice = match change {
        Change::Down { reason, message, first: true } => own(NotifierEvent::ServerDown, reason, message.clone()),
        Change::Back => own(NotifierEvent::ServerBack, "Reachable", "The server can be looked at again.".to_owned()),
        Change::Drifted { operation, first: true } => {
            let (cause, message) = (operation.cause, format!("{}.", capitalized(operation.cause.explain())));
            about(NotifierEvent::DriftFound, &operation.object, cause.as_str(), message)
        }
        Change::Healed { object, cause, done } => {
            let message = match done.is_empty() {
                true => "It is as declared again.".to_owned(),
                false => format!("Done: {}.", done.join(", ")),
            };
            about(NotifierEvent::Healed, object, cause.as_str(), message)
        }
        Change::Noted { note, first: true, .. } if note.reason == Reason::AddressesLow => {
            about(NotifierEvent::AddressesLow, &note.object, note.reason.as_str(), note.message.clone())
        }
        Change::Noted { note, first: true, .. } if note.kind == NoteKind::Refused && note.object != *server => {
            about(NotifierEvent::Blocked, &note.object, note.reason.as_str(), note.message.clone())
        }
        Change::Down { .. }
        | Change::Drifted { .. }
        | Change::PutBack { .. }
        | Change::Noted { .. }
        | Change::Withheld(_) => return None,
    };
    Some(notice)
}
