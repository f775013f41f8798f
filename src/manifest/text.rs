//! The text of one file: decoding, limits, and where a byte is for people.

use std::cell::OnceCell;

use super::diagnostic::{Diagnostic, Excerpt, Severity, floor};
use super::{MAX_FILE_BYTES, Source};

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
}

impl Problem {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), label: None, hint: None, first: None }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
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
            return Err(Box::new(text.diagnose(Severity::Error, &problem.hint(hint))));
        }
        // The parser takes NUL for the end of the file, and YAML allows no control characters but tab and line breaks.
        let control = |c: char| c < ' ' && !matches!(c, '\t' | '\n' | '\r') || c == '\u{7f}';
        if let Some(at) = text.content.find(control) {
            let code = text.content.as_bytes().get(at).copied().unwrap_or_default();
            let problem = Problem::new(Span::at(at), format!("control character 0x{code:02x} is not allowed"))
                .hint("within a double-quoted string write it as an escape, such as \"\\x1b\"");
            return Err(Box::new(text.diagnose(Severity::Error, &problem)));
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

    pub(super) fn diagnose(&self, severity: Severity, problem: &Problem) -> Diagnostic {
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
            severity,
            file: self.name.to_owned(),
            line: Some(line),
            column: Some(column),
            message: problem.message.clone(),
            hint: problem.hint.clone(),
            label: match problem.first {
                Some(first) => Some(format!("already given in line {}", self.position(first.start).0)),
                None => problem.label.clone(),
            },
            excerpt: Excerpt::cut(
                self.content.get(line_start..line_end).unwrap_or_default(),
                start - line_start,
                end - line_start,
            ),
        }
    }
}
