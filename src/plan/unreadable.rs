//! Journals that cannot be read. Each concerns its own destination, as far as its name tells which that is; everything else goes on.

use std::collections::BTreeSet;

use super::operation::{JournalPurpose, Note, Reason, UnreadableJournal};
use super::{Context, PlanInput};
use crate::api::ObjectKey;

/// Why a destination is left as it is: nobody can read who of it has to be connected again, and how.
pub(super) fn refusal(ctx: &Context<'_>, destination: &ObjectKey) -> Option<Note> {
    let unreadable =
        ctx.input.unreadable.iter().find(|it| it.holds() && it.destination.as_ref() == Some(destination))?;
    let UnreadableJournal { path, problem, .. } = unreadable;
    Some(
        Note::refused(
            Reason::JournalUnreadable,
            destination,
            format!(
                "{destination} is left as it is: the journal {path} may say who has to be connected again and how, and cannot be read: {problem}."
            ),
        )
        .hint("look at what the file says, and repair it or move it away; moved away, everyone is connected as the manifests say"),
    )
}

/// What is said of the others: they hold nothing up.
pub(super) fn warnings(input: &PlanInput<'_>) -> Vec<Note> {
    let declared_here = |key: &ObjectKey| {
        input.desired.servers.values().any(|server| server.destinations.iter().any(|it| it.key == *key))
    };
    let mut said = BTreeSet::new();
    let note = |unreadable: &UnreadableJournal| {
        let UnreadableJournal { destination, path, problem, .. } = unreadable;
        let hint = "look at what the file says, and repair it or move it away";
        match destination {
            // On another server, whose plan says so.
            Some(key) if !declared_here(key) && input.desired.destination(key).is_some() => None,
            Some(key) if declared_here(key) && unreadable.holds() => None,
            Some(key) => Some(
                Note::warning(
                    Reason::JournalUnreadable,
                    key,
                    format!("{} of {key} cannot be read: {path}: {problem}.", unreadable.what()),
                )
                .hint(hint),
            ),
            None => input.desired.servers.keys().next().map(|server| {
                Note::warning(
                    Reason::JournalUnreadable,
                    server,
                    format!("A journal cannot be read, and its name does not tell whose it is: {path}: {problem}."),
                )
                .hint(hint)
            }),
        }
    };
    input.unreadable.iter().filter_map(note).filter(|note| said.insert(note.message.clone())).collect()
}

impl UnreadableJournal {
    /// Whether the planner would act on it, and do harm without it. That of a deactivation says who is to be started again: without it nobody
    /// is, and nothing is lost. That of a forced deletion is for people.
    fn holds(&self) -> bool {
        !matches!(self.purpose, Some(JournalPurpose::Deactivated | JournalPurpose::ForcedDeletion))
    }

    fn what(&self) -> &'static str {
        match self.purpose {
            Some(JournalPurpose::Deactivated) => "The record of who was stopped with the deactivation",
            Some(JournalPurpose::ForcedDeletion) => "The record of a forced deletion",
            Some(JournalPurpose::Reattach) | None => "A journal",
        }
    }
}
