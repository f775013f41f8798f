//! The report of a pass, as it is kept of each server.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::core::plan::NoteKind;
use crate::core::report::json::{Document, NoteDocument, OperationDocument, ServerDocument, Summary};
use crate::shell::packed::Packed;

/// A report whose notes about what no manifest declares are packed: on most servers nearly all of it is those, and they are read seldom.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// Its notes are those that ask for something.
    document: Document,
    /// All notes, in their order; `None`: there are no others.
    all: Option<Packed<Vec<NoteDocument>>>,
}

impl Reported {
    pub fn new(mut document: Document) -> Self {
        let asks = |note: &NoteDocument| note.kind != NoteKind::Unmanaged;
        let all = document.notes.iter().any(|note| !asks(note)).then(|| Packed::new(&document.notes));
        document.notes.retain(asks);
        document.notes.shrink_to_fit();
        document.operations.shrink_to_fit();
        Self { document, all }
    }

    /// As `apply -o json` has it.
    pub fn whole(&self) -> Document {
        Document { notes: self.notes().into_owned(), ..self.document.clone() }
    }

    /// All notes.
    pub fn notes(&self) -> Cow<'_, [NoteDocument]> {
        match self.all.as_ref().and_then(Packed::unpack) {
            Some(all) => Cow::Owned(all),
            None => Cow::Borrowed(&self.document.notes),
        }
    }

    /// Notes that ask for something: all but those about what no manifest declares.
    pub fn asking(&self) -> &[NoteDocument] {
        &self.document.notes
    }

    pub fn servers(&self) -> &[ServerDocument] {
        &self.document.servers
    }

    pub fn operations(&self) -> &[OperationDocument] {
        &self.document.operations
    }

    pub fn summary(&self) -> Summary {
        self.document.summary
    }

    pub fn revision(&self) -> Option<&str> {
        self.document.revision.as_deref()
    }

    /// Each operation that is planned, and what `--prune` would do besides, as `diff` prints it.
    pub fn texts(&self) -> impl Iterator<Item = &String> {
        self.document.operations.iter().chain(&self.document.prune).map(|it| &it.text)
    }

    /// Gives back what the form in JSON leaves out.
    pub fn set_texts(&mut self, texts: Vec<String>) {
        for (operation, text) in self.document.operations.iter_mut().chain(&mut self.document.prune).zip(texts) {
            operation.text = text;
        }
    }
}

impl Serialize for Reported {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.whole().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Reported {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Document::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::plan::Reason;
    use crate::core::report::json::FORMAT_VERSION;

    fn note(kind: NoteKind, object: &str) -> NoteDocument {
        NoteDocument {
            kind,
            reason: Reason::MembershipForeign,
            server: Some("default/edge".to_owned()),
            object: object.to_owned(),
            message: format!("about {object}"),
            hint: None,
            blockers: Vec::new(),
        }
    }

    fn document(notes: Vec<NoteDocument>) -> Document {
        Document {
            format_version: FORMAT_VERSION.into(),
            set: "default".to_owned(),
            revision: None,
            servers: Vec::new(),
            operations: Vec::new(),
            notes,
            prune: Vec::new(),
            summary: Summary { operations: 0, refused: 1, unreachable: 0, failed: 0 },
        }
    }

    #[test]
    fn notes_come_out_in_their_order_and_those_that_ask_for_something_are_at_hand() {
        let notes = vec![
            note(NoteKind::Unmanaged, "Destination/default/a"),
            note(NoteKind::Refused, "Destination/default/b"),
            note(NoteKind::Unmanaged, "Destination/default/c"),
        ];
        let whole = document(notes.clone());
        let reported = Reported::new(whole.clone());
        assert_eq!(reported.asking(), &notes[1..2]);
        assert_eq!(reported.notes().as_ref(), notes);
        assert_eq!(reported.whole(), whole);
        let through: Reported = serde_json::from_value(serde_json::to_value(&reported).unwrap()).unwrap();
        assert_eq!(through, reported);
        let none = Reported::new(document(vec![notes[1].clone()]));
        assert_eq!((none.asking(), none.notes().as_ref()), (&notes[1..2], &notes[1..2]));
    }
}
