//! YAML (and so JSON) documents as trees of located nodes.
//!
//! Own tree over the parser's events, since no library offers all of: every problem of a file instead of the first, locations of keys
//! and of values, duplicate keys refused, bounds on what aliases expand to, and the types of YAML 1.2 (`yes` is text).

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::check::quoted;
use super::text::{Problem, Span};
use super::{MAX_DEPTH, MAX_DOCUMENTS, MAX_NODES, json};

/// A value and where it is.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Null,
    Boolean(bool),
    Integer(i64),
    /// A number that is not an integer of 64 bits.
    Float,
    Text(String),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

/// One step down a tree.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(key: &'a str) -> Self {
        Step::Key(key)
    }
}

impl From<usize> for Step<'_> {
    fn from(index: usize) -> Self {
        Step::Index(index)
    }
}

impl Node {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// Where the value at a path is, or as much of the path as there is.
    pub(super) fn locate(&self, path: &[Step<'_>]) -> Span {
        self.walk(path, |entry| entry.value.span)
    }

    /// Where the key at the end of a path is.
    pub(super) fn locate_key(&self, path: &[Step<'_>]) -> Span {
        self.walk(path, |entry| entry.key_span)
    }

    fn walk(&self, path: &[Step<'_>], last: impl Fn(&Entry) -> Span) -> Span {
        let (mut node, mut span) = (self, self.span);
        for step in path {
            match (step, &node.content) {
                (Step::Key(key), _) => match node.get(key) {
                    // A mapping begins with its first entry; its key is the better place to point at.
                    Some(entry) if matches!(entry.value.content, Content::Mapping(_)) => {
                        (node, span) = (&entry.value, entry.key_span);
                    }
                    Some(entry) => (node, span) = (&entry.value, last(entry)),
                    None => return span,
                },
                (Step::Index(index), Content::List(entries)) => match entries.get(*index) {
                    Some(entry) => (node, span) = (entry, entry.span),
                    None => return span,
                },
                (Step::Index(_), _) => return span,
            }
        }
        span
    }
}

/// Parses the documents of a text, handing on each with the part of the text around it and the problems found in it; one that cannot be parsed
/// is `None`. Empty documents are skipped.
pub(super) fn documents(text: &str, mut each: impl FnMut(&Range<usize>, Option<Node>, Vec<Problem>)) {
    for (number, part) in chunks(text).enumerate() {
        if number == MAX_DOCUMENTS {
            let problem =
                Problem::new(Span::at(part.start), format!("the file has more than {MAX_DOCUMENTS} documents"))
                    .hint("split it into several files of one directory");
            each(&(part.start..part.start), None, vec![problem]);
            return;
        }
        documents_of(text, &part, &mut each);
    }
}

/// The documents of one part of a text, as [`documents`] hands them on.
pub(super) fn documents_of(
    text: &str,
    part: &Range<usize>,
    mut each: impl FnMut(&Range<usize>, Option<Node>, Vec<Problem>),
) {
    let Some(content) = text.get(part.clone()) else { return };
    let mut each = |builder: &mut Builder<'_>| {
        let (root, problems) = builder.take();
        if root.is_some() || !problems.is_empty() {
            each(part, root, problems);
        }
    };
    let mut builder = Builder::new(text, part);
    for event in &mut Parser::new_from_str(content) {
        match event {
            Ok((event, span)) => {
                let span = builder.cursor.span(span);
                if let Err(problem) = builder.event(event, span) {
                    builder.problems.push(*problem);
                    builder.broken = true;
                    break;
                }
                if builder.finished {
                    each(&mut builder);
                }
            }
            Err(error) => {
                if let Some(root) = json::document(text, part.start, part.end) {
                    builder = Builder::new(text, part);
                    builder.json(root);
                    break;
                }
                let at = builder.cursor.byte(*error.marker());
                let problem = builder.unclosed(at, part.end).unwrap_or_else(|| syntax_error(text, at, error.info()));
                builder.problems.push(problem);
                builder.broken = true;
                break;
            }
        }
    }
    each(&mut builder);
}

/// Cuts a text where documents begin, so that one that cannot be parsed does not take the others with it. A line that begins with
/// `---` begins a document wherever it stands: neither a block nor a quoted string can contain one.
fn chunks(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let is_marker = |line: &str| {
        line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
    };
    // `...` ends a document; `%` directives before the next `---` belong to that.
    let is_end = |line: &str| line.trim_end() == "...";
    let is_blank = |line: &str| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#')
    };
    let (mut at, mut done) = (0, false);
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let start = at;
        // Whether nothing but directives and comments has been seen, so that a marker continues the chunk instead of ending it.
        let mut preamble = true;
        for line in text.get(start..)?.split_inclusive('\n') {
            if is_marker(line) && !(preamble || at == start) {
                return Some(start..at);
            }
            at += line.len();
            if is_end(line) {
                return Some(start..at);
            }
            preamble &= is_blank(line) || line.starts_with('%');
        }
        done = true;
        Some(start..at)
    })
}

/// The parser speaks of its grammar; these are the mistakes people make.
fn syntax_error(text: &str, at: usize, info: &str) -> Problem {
    let before = text.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
    let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
    let in_indent = at <= line_start + indent;
    if let Some(tab) = line.get(..indent).filter(|_| in_indent).and_then(|indent| indent.find('\t')) {
        let span = Span { start: line_start + tab, end: line_start + tab + 1 };
        return Problem::new(span, "a tab cannot indent YAML").label("tab").hint("indent with spaces");
    }
    let problem = Problem::new(Span::at(at), format!("this is not YAML: {info}"));
    if info.contains("unknown anchor") {
        return Problem::new(Span::at(at), "the alias refers to an anchor that is not in this document before it")
            .hint("text that begins with `*` must be quoted");
    }
    if info.contains("mapping values are not allowed") {
        return problem.hint("text that contains `: ` must be quoted; otherwise check the indentation");
    }
    if info.contains("quoted scalar") {
        return Problem::new(Span::at(at), "this is not YAML: a quote is not closed");
    }
    if info.contains("recursion limit") {
        return too_deep(Span::at(at));
    }
    if info.contains("cannot start any token") {
        return problem.hint("text that begins with `@`, `` ` `` or `%` must be quoted");
    }
    problem
}

fn too_deep(span: Span) -> Problem {
    Problem::new(span, format!("nested more than {MAX_DEPTH} deep"))
}

/// Turns the parser's positions, which count characters, into bytes. They come nearly in order, so it walks instead of searching.
struct Cursor<'a> {
    text: &'a str,
    base: usize,
    end: usize,
    ascii: bool,
    characters: usize,
    bytes: usize,
}

impl Cursor<'_> {
    fn byte(&mut self, marker: Marker) -> usize {
        if self.ascii {
            return (self.base + marker.index()).min(self.end);
        }
        while self.characters < marker.index() {
            let next = self.text.get(self.base + self.bytes..self.end).and_then(|rest| rest.chars().next());
            let Some(next) = next else { break };
            self.bytes += next.len_utf8();
            self.characters += 1;
        }
        while self.characters > marker.index() {
            let before = self.text.get(..self.base + self.bytes).and_then(|before| before.chars().next_back());
            let Some(before) = before else { break };
            self.bytes -= before.len_utf8();
            self.characters -= 1;
        }
        self.base + self.bytes
    }

    fn span(&mut self, span: saphyr_parser::Span) -> Span {
        let start = self.byte(span.start);
        let end = self.byte(span.end);
        Span { start, end: end.max(start) }
    }
}

/// Assembles the events of one document.
struct Builder<'a> {
    cursor: Cursor<'a>,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchor>,
    /// Nodes made, the copies of aliases included.
    nodes: usize,
    problems: Vec<Problem>,
    broken: bool,
    finished: bool,
}

/// A collection whose end has not been seen.
struct Open {
    span: Span,
    anchor: usize,
    nodes_before: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Mapping { entries: Vec<Entry>, key: Option<Key> },
}

struct Key {
    text: String,
    span: Span,
    /// False for a key that has been complained about.
    usable: bool,
}

enum Anchor {
    /// Its end has not been seen: an alias to it here would contain itself.
    Open,
    Done {
        node: Node,
        nodes: usize,
    },
}

impl<'a> Builder<'a> {
    fn new(text: &'a str, chunk: &Range<usize>) -> Self {
        let ascii = text.get(chunk.clone()).is_some_and(str::is_ascii);
        Self {
            cursor: Cursor { text, base: chunk.start, end: chunk.end, ascii, characters: 0, bytes: 0 },
            open: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            nodes: 0,
            problems: Vec::new(),
            broken: false,
            finished: false,
        }
    }

    fn take(&mut self) -> (Option<Node>, Vec<Problem>) {
        let is_empty = |root: &Node| matches!(root.content, Content::Null) && root.span.start == root.span.end;
        let root = self.root.take().filter(|root| !self.broken && !is_empty(root));
        let problems = std::mem::take(&mut self.problems);
        self.open.clear();
        self.anchors.clear();
        (self.nodes, self.finished) = (0, false);
        (root, problems)
    }

    fn json(&mut self, mut root: Node) {
        self.refuse_duplicates(&mut root);
        self.root = Some(root);
    }

    fn refuse_duplicates(&mut self, node: &mut Node) {
        match &mut node.content {
            Content::Mapping(entries) => {
                *entries = self.without_duplicates(std::mem::take(entries));
                entries.iter_mut().for_each(|entry| self.refuse_duplicates(&mut entry.value));
            }
            Content::List(nodes) => nodes.iter_mut().for_each(|node| self.refuse_duplicates(node)),
            _ => {}
        }
    }

    /// An error at the very end, within brackets: the parser says what it expected there, but the bracket is what people look for.
    fn unclosed(&self, at: usize, end: usize) -> Option<Problem> {
        let rest = self.cursor.text.get(at..end)?;
        let innermost = self.open.last()?.span;
        let bracket = self.cursor.text.get(innermost.start..)?.chars().next().filter(|c| matches!(c, '[' | '{'))?;
        let span = Span { start: innermost.start, end: innermost.start + 1 };
        rest.trim().is_empty().then(|| Problem::new(span, format!("the `{bracket}` is not closed")))
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Box<Problem>> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(()),
            Event::DocumentEnd => {
                self.finished = true;
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::Scalar(value, style, anchor, tag) => {
                self.count(1, span)?;
                self.scalar(&value, style, anchor, tag.as_deref(), span);
                Ok(())
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", span);
                self.begin(span, anchor, Items::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", span);
                self.begin(span, anchor, Items::Mapping { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.end(span);
                Ok(())
            }
        }
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Box<Problem>> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let words = format!("the document has more than {MAX_NODES} values, its aliases expanded");
            return Err(Box::new(Problem::new(span, words)));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Box<Problem>> {
        match self.anchors.get(&anchor) {
            Some(Anchor::Done { node, nodes }) => {
                let (node, nodes) = (node.clone(), *nodes);
                self.count(nodes, span)?;
                self.add(node, span);
                Ok(())
            }
            Some(Anchor::Open) => Err(Box::new(Problem::new(span, "the alias is within what it refers to"))),
            // The parser keeps the anchors of earlier documents.
            None => Err(Box::new(syntax_error(self.cursor.text, span.start, "unknown anchor"))),
        }
    }

    fn begin(&mut self, span: Span, anchor: usize, items: Items) -> Result<(), Box<Problem>> {
        self.count(1, span)?;
        if self.open.len() == MAX_DEPTH {
            return Err(Box::new(too_deep(span)));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, Anchor::Open);
        }
        self.open.push(Open { span, anchor, nodes_before: self.nodes - 1, items });
        Ok(())
    }

    fn end(&mut self, end: Span) {
        let Some(open) = self.open.pop() else { return };
        let content = match open.items {
            Items::List(entries) => Content::List(entries),
            Items::Mapping { entries, .. } => Content::Mapping(self.without_duplicates(entries)),
        };
        let node = Node { span: Span { start: open.span.start, end: end.end.max(open.span.end) }, content };
        if open.anchor > 0 {
            let nodes = self.nodes - open.nodes_before;
            // The copy counts too: anchors within anchors would otherwise multiply unseen.
            self.nodes += nodes;
            self.anchors.insert(open.anchor, Anchor::Done { node: node.clone(), nodes });
        }
        let span = node.span;
        self.add(node, span);
    }

    fn without_duplicates(&mut self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by(|a, b| {
            entries.get(*a).map(|entry| &entry.key).cmp(&entries.get(*b).map(|entry| &entry.key)).then(a.cmp(b))
        });
        let mut repeated = vec![false; entries.len()];
        let mut first: Option<&Entry> = None;
        for index in order {
            let Some(entry) = entries.get(index) else { continue };
            match first {
                Some(first) if first.key == entry.key => {
                    let problem = Problem::new(entry.key_span, format!("duplicate key {}", quoted(&entry.key)));
                    self.problems.push(problem.first(first.key_span));
                    if let Some(repeated) = repeated.get_mut(index) {
                        *repeated = true;
                    }
                }
                _ => first = Some(entry),
            }
        }
        let mut repeated = repeated.into_iter();
        entries.retain(|_| !repeated.next().unwrap_or(false));
        entries
    }

    fn scalar(&mut self, value: &str, style: ScalarStyle, anchor: usize, tag: Option<&Tag>, span: Span) {
        let is_plain = style == ScalarStyle::Plain;
        let content = match tag {
            None if is_plain => plain(value),
            None => Content::Text(value.to_owned()),
            Some(tag) => self.tagged(value, tag, span),
        };
        // The parser places an empty value where the next token begins; what is meant is the key, or the dash, before it.
        let span = if is_plain && value.is_empty() { self.empty_value(span) } else { span };
        let node = Node { span, content };
        if anchor > 0 {
            self.anchors.insert(anchor, Anchor::Done { node: node.clone(), nodes: 1 });
        }
        let is_key = matches!(self.open.last(), Some(Open { items: Items::Mapping { key: None, .. }, .. }));
        if is_key {
            self.key(value, is_plain, span);
        } else {
            self.add(node, span);
        }
    }

    fn key(&mut self, value: &str, plain: bool, span: Span) {
        let merge = plain && value == "<<";
        if merge {
            let problem = Problem::new(span, "merge keys (`<<`) are not part of YAML 1.2")
                .hint("write the fields out, or repeat a whole value: `&name` marks it and `*name` repeats it");
            self.problems.push(problem);
        }
        if let Some(Open { items: Items::Mapping { key, .. }, .. }) = self.open.last_mut() {
            *key = Some(Key { text: value.to_owned(), span, usable: !merge });
        }
    }

    fn empty_value(&self, span: Span) -> Span {
        if let Some(Open { items: Items::Mapping { key: Some(key), .. }, .. }) = self.open.last() {
            return key.span;
        }
        if self.open.is_empty() {
            return Span::at(span.start);
        }
        let before = self.cursor.text.get(..span.start).unwrap_or_default().trim_end();
        match before.chars().next_back() {
            Some(last) if before.len() > self.cursor.base => {
                Span { start: before.len() - last.len_utf8(), end: before.len() }
            }
            _ => Span::at(span.start),
        }
    }

    /// Puts a finished node where it belongs: into the innermost open collection, or at the root.
    /// `place` is where it stands, which for what an alias repeats is not where it is written.
    fn add(&mut self, node: Node, place: Span) {
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.root = Some(node),
            Some(Items::List(entries)) => entries.push(node),
            Some(Items::Mapping { entries, key }) => match key.take() {
                Some(Key { text, span, usable: true }) => {
                    entries.push(Entry { key: text, key_span: span, value: node })
                }
                Some(_) => {}
                None => {
                    let (text, usable) = match node.content {
                        Content::Text(text) => (text, true),
                        _ => (String::new(), false),
                    };
                    *key = Some(Key { text, span: place, usable });
                    if !usable {
                        self.problems.push(Problem::new(place, "a key must be plain text"));
                    }
                }
            },
        }
    }

    fn check_tag(&mut self, tag: Option<&Tag>, expected: &str, span: Span) {
        let Some(tag) = tag else { return };
        let unspecific = tag.handle.is_empty() && tag.suffix == "!";
        if !(unspecific || tag.is_yaml_core_schema() && tag.suffix == expected) {
            self.problems.push(unsupported_tag(tag, span));
        }
    }

    fn tagged(&mut self, value: &str, tag: &Tag, span: Span) -> Content {
        if tag.handle.is_empty() && tag.suffix == "!" || tag.is_yaml_core_schema() && tag.suffix == "str" {
            return Content::Text(value.to_owned());
        }
        let content = plain(value);
        let suffix = if tag.is_yaml_core_schema() { tag.suffix.as_str() } else { "" };
        match (suffix, &content) {
            ("null", Content::Null) | ("bool", Content::Boolean(_)) | ("int", Content::Integer(_)) => {}
            ("float", Content::Float | Content::Integer(_)) => return Content::Float,
            ("null" | "bool" | "int" | "float", _) => {
                self.problems.push(Problem::new(span, format!("this is not a {suffix}, as its tag says")));
            }
            _ => self.problems.push(unsupported_tag(tag, span)),
        }
        content
    }
}

fn unsupported_tag(tag: &Tag, span: Span) -> Problem {
    // Not quoted: it may be the beginning of a password.
    let standard =
        if tag.is_yaml_core_schema() { format!("the tag `!!{}` is not supported", tag.suffix) } else { String::new() };
    let words = if standard.is_empty() { "tags are not supported".to_owned() } else { standard };
    Problem::new(span, words).hint("text that begins with `!` must be quoted")
}

/// The type of a plain scalar by the core schema of YAML 1.2.
pub(super) fn plain(text: &str) -> Content {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Content::Null,
        "true" | "True" | "TRUE" => return Content::Boolean(true),
        "false" | "False" | "FALSE" => return Content::Boolean(false),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Content::Text(text.to_owned());
    }
    let radix = |prefix, radix| {
        let digits = text.strip_prefix(prefix)?;
        let valid = !digits.is_empty() && digits.chars().all(|c| char::is_digit(c, radix));
        valid.then(|| i64::from_str_radix(digits, radix).map_or(Content::Float, Content::Integer))
    };
    if let Some(integer) = radix("0o", 8).or_else(|| radix("0x", 16)) {
        return integer;
    }
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_or(Content::Float, Content::Integer);
    }
    if is_float(unsigned) || matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Content::Float;
    }
    Content::Text(text.to_owned())
}

/// `[0-9]+(\.[0-9]*)?` or `\.[0-9]+`, and an exponent.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    !(whole.is_empty() && fraction.is_empty()) && digits(whole) && digits(fraction) && exponent
}
