//! JSON that YAML cannot read: `\ud83d\udc33`, as many programs write what is beyond the basic plane.

use super::text::Span;
use super::tree::{Content, Entry, Node, plain};
use super::{MAX_DEPTH, MAX_NODES};

/// The document, if it is nothing but valid JSON. What is wrong with it otherwise the YAML parser can say.
pub(super) fn document(text: &str, start: usize, end: usize) -> Option<Node> {
    let mut reader = Reader { text: text.get(..end)?, at: start, nodes: 0 };
    reader.space();
    let node = reader.value(0)?;
    reader.space();
    (reader.at == end).then_some(node)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    nodes: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    /// Takes that character, and the space after it.
    fn take(&mut self, character: char) -> Option<()> {
        if !self.rest().starts_with(character) {
            return None;
        }
        self.at += character.len_utf8();
        self.space();
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return None;
        }
        let start = self.at;
        let content = match self.rest().chars().next()? {
            '{' => Content::Mapping(self.object(depth)?),
            '[' => Content::List(self.list(depth)?),
            '"' => Content::Text(self.string()?.0),
            _ => {
                let length = self.rest().find([',', ']', '}', ' ', '\t', '\r', '\n']).unwrap_or(self.rest().len());
                let word = self.rest().get(..length)?;
                // Any other word would be text in YAML.
                serde_json::from_str::<serde_json::Value>(word).ok()?;
                let content = plain(word);
                self.at += length;
                content
            }
        };
        let span = Span { start, end: self.at };
        self.space();
        Some(Node { span, content })
    }

    fn string(&mut self) -> Option<(String, Span)> {
        let start = self.at;
        let mut escaped = false;
        let closing = self.rest().char_indices().skip(1).find(|(_, c)| {
            let closes = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            closes
        });
        self.at += closing?.0 + 1;
        let text = serde_json::from_str(self.text.get(start..self.at)?).ok()?;
        Some((text, Span { start, end: self.at }))
    }

    fn list(&mut self, depth: usize) -> Option<Vec<Node>> {
        let mut nodes = Vec::new();
        self.take('[')?;
        while !self.rest().starts_with(']') {
            if !nodes.is_empty() {
                self.take(',')?;
            }
            nodes.push(self.value(depth + 1)?);
        }
        self.at += 1;
        Some(nodes)
    }

    fn object(&mut self, depth: usize) -> Option<Vec<Entry>> {
        let mut entries = Vec::new();
        self.take('{')?;
        while !self.rest().starts_with('}') {
            if !entries.is_empty() {
                self.take(',')?;
            }
            if !self.rest().starts_with('"') {
                return None;
            }
            let (key, key_span) = self.string()?;
            self.space();
            self.take(':')?;
            entries.push(Entry { key, key_span, value: self.value(depth + 1)? });
        }
        self.at += 1;
        Some(entries)
    }
}
