//! The text of one file: decoding, limits, and where a byte is for people.

use std::cell::OnceCell;
use std::ops::Range;

use super::diagnostic::{Diagnostic, Excerpt, Severity, floor};
use super::{MAX_FILE_BYTES, Source, mask};

/// Bytes of a line around the place that is meant.
const MARGIN: usize = 240;
/// Characters of a message; names in it may be as long as a file.
const LONGEST_SENTENCE: usize = 600;

/// A range of bytes within a file's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn at(start: usize) -> Self {
        Self { start, end: start }
    }
}

/// Something wrong at a place in one file.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) span: Span,
    pub(super) message: String,
    /// What the caret says.
    pub(super) label: Option<String>,
    /// What to do about it.
    pub(super) hint: Option<String>,
    /// Where what it repeats was given first, in the same file.
    pub(super) first: Option<Span>,
    /// Values that may be secrets, because of what is wrong.
    pub(super) hides: Vec<Span>,
    /// The document could not be read: which of its values are secrets is not known.
    pub(super) unread: bool,
}

impl Problem {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), label: None, hint: None, first: None, hides: Vec::new(), unread: false }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn hides(mut self, values: impl IntoIterator<Item = Span>) -> Self {
        self.hides.extend(values);
        self
    }

    pub(super) fn unread(mut self) -> Self {
        self.unread = true;
        self
    }

    pub(super) fn first(mut self, first: Span) -> Self {
        self.first = Some(first);
        self
    }

    pub(super) fn hint_if(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }
}

/// A file that can be parsed: UTF-8, within the limits, without control characters.
#[derive(Debug)]
pub(super) struct Text<'a> {
    pub(super) name: &'a str,
    pub(super) content: &'a str,
    /// Where each line begins; made when the first location is asked for.
    lines: OnceCell<Vec<usize>>,
}

impl<'a> Text<'a> {
    /// The text of a source. A byte order mark is left out of it, so that it counts neither as a column nor as content.
    pub(super) fn decode(source: &'a Source) -> Result<Self, Box<Diagnostic>> {
        let bytes = source.bytes.as_slice();
        if bytes.len() > MAX_FILE_BYTES {
            let message = format!("the file is larger than {} MiB, the most that is read", MAX_FILE_BYTES >> 20);
            let diagnostic = Diagnostic::of_file(&source.name, message);
            return Err(Box::new(
                diagnostic.with_hint("split it into several files of one directory, and give the directory to -f"),
            ));
        }
        let (content, invalid) = match std::str::from_utf8(bytes) {
            Ok(content) => (content, None),
            Err(error) => {
                let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
                (std::str::from_utf8(valid).unwrap_or_default(), bytes.get(valid.len()))
            }
        };
        let text = Text {
            name: &source.name,
            content: content.strip_prefix('\u{feff}').unwrap_or(content),
            lines: OnceCell::new(),
        };
        if let Some(byte) = invalid {
            let problem = Problem::new(
                Span::at(text.content.len()),
                format!("byte {} (0x{byte:02x}) is not UTF-8", content.len()),
            );
            let hint = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
                "the file is UTF-16: save it as UTF-8"
            } else {
                "save the file as UTF-8"
            };
            return Err(Box::new(text.diagnose(&problem.unread().hint(hint), &[])));
        }
        // The parser takes NUL for the end of the file, and YAML allows no control characters but tab and line breaks.
        let control = |c: char| c < ' ' && !matches!(c, '\t' | '\n' | '\r') || c == '\u{7f}';
        if let Some(at) = text.content.find(control) {
            let code = text.content.as_bytes().get(at).copied().unwrap_or_default();
            let problem = Problem::new(Span::at(at), format!("control character 0x{code:02x} is not allowed"))
                .unread()
                .hint("within a double-quoted string write it as an escape, such as \"\\x1b\"");
            return Err(Box::new(text.diagnose(&problem, &[])));
        }
        Ok(text)
    }

    /// Line and column of a byte, both from 1; columns count characters.
    pub(super) fn position(&self, byte: usize) -> (usize, usize) {
        let byte = floor(self.content, byte);
        let (number, start) = self.line_of(byte);
        (number, self.content.get(start..byte).map_or(0, |before| before.chars().count()) + 1)
    }

    fn line_of(&self, byte: usize) -> (usize, usize) {
        let lines = self.lines.get_or_init(|| {
            let bytes = self.content.as_bytes();
            // A lone CR is a line break in YAML.
            let ends = bytes.iter().enumerate().filter(|(at, byte)| match byte {
                b'\n' => true,
                b'\r' => bytes.get(at + 1) != Some(&b'\n'),
                _ => false,
            });
            std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect()
        });
        let number = lines.partition_point(|start| *start <= byte).max(1);
        (number, lines.get(number - 1).copied().unwrap_or_default())
    }

    /// `hidden`: values of the text that are not to be shown, in their order.
    pub(super) fn diagnose(&self, problem: &Problem, hidden: &[Span]) -> Diagnostic {
        let start = floor(self.content, problem.span.start);
        let (line, column) = self.position(start);
        let (_, line_start) = self.line_of(start);
        let line_end = self
            .content
            .get(start..)
            .and_then(|rest| rest.find(['\n', '\r']))
            .map_or(self.content.len(), |n| start + n);
        // A value over several lines is shown by its first, without what follows it.
        let end = floor(self.content, problem.span.end.clamp(start, line_end));
        let end = self.content.get(start..end).map_or(start, |marked| start + marked.trim_end().len());
        Diagnostic {
            severity: Severity::Error,
            file: self.name.to_owned(),
            line: Some(line),
            column: Some(column),
            message: sentence(&problem.message),
            hint: problem.hint.as_deref().map(sentence),
            label: match problem.first {
                Some(first) => Some(format!("already given in line {}", self.position(first.start).0)),
                None => problem.label.as_deref().map(sentence),
            },
            stands_for: 1,
            excerpt: self.excerpt(line_start..line_end, start..end, problem.unread, hidden),
        }
    }

    /// What is shown of a line.
    fn excerpt(&self, line: Range<usize>, marked: Range<usize>, unread: bool, hidden: &[Span]) -> Option<Excerpt> {
        let mut masks = if unread { mask::by_words(self.content, line.clone())? } else { Vec::new() };
        // No more of a line than around the place: a file may be one line of megabytes.
        let from = floor(self.content, marked.start.saturating_sub(MARGIN).max(line.start));
        let to = floor(self.content, marked.end.min(marked.start + MARGIN).saturating_add(MARGIN).min(line.end));
        let part = self.content.get(from..to)?;
        let within = |start: usize, end: usize| start.max(from)..end.min(to);
        let begin = hidden.partition_point(|span| span.end <= from);
        let hidden = hidden.get(begin..).unwrap_or_default().iter().take_while(|span| span.start < to);
        masks = masks.into_iter().map(|mask| within(line.start + mask.start, line.start + mask.end)).collect();
        masks.extend(hidden.map(|span| within(span.start, span.end)));
        for mask in &mut masks {
            let start = mask.start.saturating_sub(from);
            // The parser counts the space after a quoted value in.
            let value = part.get(start..mask.end.saturating_sub(from)).unwrap_or_default();
            *mask = start..start + value.trim_end().len();
        }
        masks.extend(mask::in_urls(part));
        let marked = within(marked.start, marked.end);
        let marked = marked.start - from..marked.end.max(marked.start) - from;
        let before = part.get(..marked.start);
        let (shown, marked) = mask::replaced(part, masks, marked);
        // Behind what is masked, the column would be counted wrong.
        Excerpt::cut(&shown, marked.clone(), from == line.start && shown.get(..marked.start) == before)
    }
}

/// What is said, cut where nobody reads on, and without the credentials of addresses that it quotes.
fn sentence(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SENTENCE) {
        Some((end, _)) => format!("{}…", mask::urls(text.get(..end).unwrap_or_default())),
        None => mask::urls(text),
    }
}
