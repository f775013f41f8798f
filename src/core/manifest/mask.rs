//! Lines of manifests as they may be shown: without the values of secrets, whatever is wrong on the line.
//!
//! Where the document could be read, its schema says which fields are secret, and the values of unknown fields beside them are taken for
//! secret too: `urll` may be a misspelt `url`. Where it could not, words stand in for fields: what follows `token:` is not shown.

use std::ops::Range;
use std::sync::OnceLock;

use super::text::Span;
use super::tree::{Content, Node};
use crate::core::api::Kind;
use crate::core::api::schema::{Form, Shape};

/// What stands in the place of a value.
pub(crate) const MASK: &str = "***";
/// Of a document that cannot be read no more of a line than this is looked through; longer ones are not shown.
const LONGEST_LINE: usize = 64 << 10;
/// Lines above that are looked at for the field that a line belongs to.
const LINES_ABOVE: usize = 200;
/// Within the name of a field of whichever program: a secret.
const WORDS: [&str; 8] = ["pass", "secret", "token", "credential", "apikey", "api_key", "api-key", "webhook"];
/// The whole name.
const NAMES: [&str; 3] = ["key", "auth", "authorization"];

/// Values of the document that are not to be shown.
pub(super) fn secrets(node: &Node, shape: &Shape, hidden: &mut Vec<Span>) {
    if shape.secret {
        return hidden.push(node.span);
    }
    if !shape.has_secrets {
        return;
    }
    match (&node.content, &shape.form) {
        (Content::Mapping(entries), Form::Object(fields)) => {
            for entry in entries {
                if let Some(field) = fields.iter().find(|field| field.name == entry.key) {
                    secrets(&entry.value, &field.shape, hidden);
                }
            }
        }
        (Content::Mapping(entries), Form::Map(values)) => {
            entries.iter().for_each(|entry| secrets(&entry.value, values, hidden));
        }
        (_, Form::WordOr(_, other)) => secrets(node, other, hidden),
        (Content::List(nodes), Form::List(entry)) => nodes.iter().for_each(|node| secrets(node, entry, hidden)),
        // Something else than there should be, and so it may be anything.
        _ => values(node, hidden),
    }
}

/// Everything in it but its keys, and but what every document says of itself.
pub(super) fn values(node: &Node, hidden: &mut Vec<Span>) {
    match &node.content {
        Content::Mapping(entries) => {
            let telling = entries.iter().filter(|entry| !matches!(entry.key.as_str(), "apiVersion" | "kind"));
            telling.for_each(|entry| values(&entry.value, hidden));
        }
        Content::List(nodes) => nodes.iter().for_each(|node| values(node, hidden)),
        Content::Null => {}
        Content::Boolean(_) | Content::Integer(_) | Content::Float | Content::Text(_) => hidden.push(node.span),
    }
}

/// What of the line, which begins at a byte of the text, is not to be shown where nothing is known of the document's structure. `None`: any
/// of it.
pub(super) fn by_words(text: &str, line: Range<usize>) -> Option<Vec<Range<usize>>> {
    let content = text.get(line.clone()).filter(|content| content.len() <= LONGEST_LINE)?;
    let mut hidden: Vec<Range<usize>> = Vec::new();
    if let Some(value) = secret_field(content) {
        hidden.push(value..content.len());
    } else if is_within_secret(text.get(..line.start).unwrap_or_default(), content) {
        let start = content.len() - content.trim_start().len();
        hidden.push(start..content.len());
    }
    Some(hidden)
}

/// Where the value of the first field of that kind begins: `url: …`, `"token": …`.
fn secret_field(line: &str) -> Option<usize> {
    line.match_indices(':').find_map(|(colon, _)| {
        let rest = line.get(colon + 1..)?;
        let name = line.get(..colon)?.trim_end().trim_end_matches(['"', '\'']);
        let begins =
            name.rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))).map_or(0, |at| at + 1);
        let gap = rest.len() - rest.trim_start().len();
        (is_secret_name(name.get(begins..)?) && !rest.trim().is_empty()).then_some(colon + 1 + gap)
    })
}

/// Whether what has that name is most likely a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_lowercase();
    known_names().contains(&name) || NAMES.contains(&name.as_str()) || WORDS.iter().any(|word| name.contains(word))
}

/// Names of the fields that a schema calls secret.
fn known_names() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut names = Vec::new();
        Kind::ALL.iter().for_each(|kind| collect(Shape::of(*kind), &mut names));
        names
    })
}

fn collect(shape: &Shape, names: &mut Vec<String>) {
    for field in shape.fields() {
        if field.shape.secret {
            names.push(field.name.to_lowercase());
        }
        collect(&field.shape, names);
    }
}

/// Whether the line continues the value of such a field: `password: |`, and what is indented below it.
fn is_within_secret(before: &str, line: &str) -> bool {
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '\t', '-']).len();
    let own = indent(line);
    let above = before.lines().rev().take(LINES_ABOVE).find(|above| !above.trim().is_empty() && indent(above) < own);
    above.is_some_and(|above| {
        let field = above.trim_start_matches([' ', '\t', '-']).split(':').next().unwrap_or_default();
        above.contains(':') && is_secret_name(field.trim().trim_matches(['"', '\'']))
    })
}

/// Credentials in URLs, and what follows the host of a web address: whoever knows that address may use it.
pub(crate) fn in_urls(text: &str) -> Vec<Range<usize>> {
    let mut hidden = Vec::new();
    for (at, _) in text.match_indices("://") {
        let scheme = text.get(..at).unwrap_or_default();
        let scheme_start = scheme.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '+').map_or(0, |start| {
            start + scheme.get(start..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
        });
        let scheme = scheme.get(scheme_start..).unwrap_or_default().to_ascii_lowercase();
        let start = at + 3;
        let rest = text.get(start..).unwrap_or_default();
        let end = rest.find(|c: char| c.is_whitespace() || c.is_control() || "\"'`<>|,;(){}[]".contains(c));
        let rest = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let user = rest.get(..authority).and_then(|authority| authority.rfind('@'));
        let secret = match user {
            // Of `user:password@` the password; for the web a token may stand in the place of the name.
            Some(user) if scheme == "ssh" || scheme == "git" => {
                rest.get(..user).and_then(|user| user.find(':')).map(|colon| colon + 1..user)
            }
            Some(user) => Some(0..user),
            None => None,
        };
        hidden.extend(secret.filter(|it| !it.is_empty()).map(|it| start + it.start..start + it.end));
        // `hxxps`, `htps`: what was meant is clear enough.
        let web = scheme.starts_with('h') && scheme.len() <= 6;
        if web && rest.len() > authority + 1 {
            hidden.push(start + authority + 1..start + rest.len());
        }
    }
    hidden
}

/// Text without what [`in_urls`] finds in it.
pub(crate) fn urls(text: &str) -> String {
    replaced(text, in_urls(text), 0..0).0
}

/// The text with masks in the place of the ranges; and where another range of it is afterwards.
pub(super) fn replaced(text: &str, mut hidden: Vec<Range<usize>>, marked: Range<usize>) -> (String, Range<usize>) {
    hidden.sort_by_key(|range| range.start);
    let mut shown = String::with_capacity(text.len());
    let (mut at, mut now) = (0, marked.clone());
    // Where a place of the text is in what is shown, once both have come as far.
    let place = |wanted: usize, at: usize, shown: &str| shown.len() - (at - wanted.min(at));
    let (mut start, mut end) = (None, None);
    for range in hidden {
        if range.end <= at || range.is_empty() {
            continue;
        }
        let from = range.start.max(at);
        shown.push_str(text.get(at..from).unwrap_or_default());
        if marked.start < from {
            start.get_or_insert_with(|| place(marked.start, from, &shown));
        }
        if marked.end <= from {
            end.get_or_insert_with(|| place(marked.end, from, &shown));
        }
        let masked = shown.len();
        shown.push_str(MASK);
        if marked.start < range.end {
            start.get_or_insert(masked);
        }
        if marked.end <= range.end {
            end.get_or_insert(if marked.is_empty() { masked } else { shown.len() });
        }
        at = range.end;
    }
    let rest = text.get(at..).unwrap_or_default();
    let base = shown.len();
    shown.push_str(rest);
    now.start = start.unwrap_or(base + marked.start.saturating_sub(at));
    now.end = end.unwrap_or(base + marked.end.saturating_sub(at)).max(now.start);
    (shown, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_words_shown(text: &str) -> String {
        let start = text.rfind('\n').map_or(0, |newline| newline + 1);
        let line = &text[start..];
        let mut hidden = by_words(text, start..text.len()).unwrap();
        hidden.extend(in_urls(line));
        replaced(line, hidden, 0..0).0
    }

    #[test]
    fn what_follows_a_secret_field_is_not_shown_however_broken_the_line_is() {
        for (line, shown) in [
            ("{type: slack, url: https://hooks.example.com/T0KEN, }}", "{type: slack, url: ***"),
            ("  \"password\" : \"T0KEN", "  \"password\" : ***"),
            ("- { name: A, value: T0KEN", "- { name: A, value: ***"),
            ("apiToken: !T0KEN", "apiToken: ***"),
            ("value: |\n    T0KEN\tx", "    ***"),
            ("url:\n  'T0KEN", "  ***"),
            ("see https://hooks.example.com/T0KEN", "see https://hooks.example.com/***"),
            ("subnet: 10.0.0.0/24: x", "subnet: 10.0.0.0/24: x"),
            ("spec:\n  server: [", "  server: ["),
        ] {
            assert_eq!(by_words_shown(line), shown, "{line}");
            assert!(!by_words_shown(line).contains("T0KEN"));
        }
    }

    #[test]
    fn addresses_are_shown_up_to_their_host_and_without_credentials() {
        for (text, shown) in [
            ("hxxps://hooks.example.com/T0KEN!", "hxxps://hooks.example.com/***"),
            ("`https://u:p@hooks.example.com`, no", "`https://***@hooks.example.com`, no"),
            ("ssh://deploy:p@edge-1:22/run/docker.sock", "ssh://deploy:***@edge-1:22/run/docker.sock"),
            ("ssh://deploy@edge-1/run/docker.sock", "ssh://deploy@edge-1/run/docker.sock"),
            ("tcp://u:p@edge-1:2376", "tcp://***@edge-1:2376"),
            ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
            ("https://example.com/ and http://example.com?q=T", "https://example.com/ and http://example.com?***"),
            ("://", "://"),
            ("ä://x@y", "ä://***@y"),
        ] {
            assert_eq!(urls(text), shown, "{text}");
        }
    }

    #[test]
    fn what_is_marked_stays_marked() {
        let shown = |marked: Range<usize>| {
            let (shown, now) = replaced("abc SECRET def", std::iter::once(4..10).collect(), marked);
            assert_eq!(shown, "abc *** def");
            shown[now].to_owned()
        };
        assert_eq!(shown(0..3), "abc");
        assert_eq!(shown(11..14), "def");
        assert_eq!(shown(4..10), "***");
        assert_eq!(shown(6..8), "***");
        assert_eq!(shown(2..12), "c *** d");
        assert_eq!(shown(6..6), "");
        assert_eq!(shown(14..14), "");
    }

    #[test]
    fn the_fields_that_the_schemas_call_secret_are_known_by_name() {
        assert!(is_secret_name("url") && is_secret_name("value") && is_secret_name("template"));
        assert!(!is_secret_name("server") && !is_secret_name("subnet") && !is_secret_name("name"));
        assert!(!is_secret_name("apiVersion") && !is_secret_name("hostKey") && !is_secret_name("identityFile"));
    }
}
