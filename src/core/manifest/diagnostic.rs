//! What is wrong with the manifests, and where.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use crate::core::printable::one_line;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong with the manifests. Serializes without the shown line, which the reader has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    /// As the user named it; `<stdin>` for standard input.
    pub file: String,
    /// From 1; absent where the file as a whole is meant.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What the caret says.
    #[serde(skip)]
    pub(crate) label: Option<String>,
    #[serde(skip)]
    pub(crate) excerpt: Option<Excerpt>,
    /// How many problems it tells of.
    #[serde(skip)]
    pub(crate) stands_for: usize,
}

/// How many problems they tell of. A warning is none.
pub fn count(diagnostics: &[Diagnostic]) -> usize {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    errors.map(|diagnostic| diagnostic.stands_for).sum()
}

/// The line to show, and which part of it is meant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Excerpt {
    line: String,
    marked: Range<usize>,
    /// Whether that is the line from its beginning.
    whole: bool,
}

impl Excerpt {
    /// More of a line than this is not kept: a file may be one line of megabytes.
    const WIDTH: usize = 160;

    /// `whole`: the line is given from its beginning.
    pub(crate) fn cut(line: &str, marked: Range<usize>, whole: bool) -> Option<Self> {
        let Range { start, end } = marked;
        let from = if line.len() <= Self::WIDTH { 0 } else { floor(line, start.saturating_sub(Self::WIDTH / 2)) };
        let to = floor(line, from + Self::WIDTH);
        let marked = start.min(to) - from..end.clamp(start, to.max(start)).min(to) - from;
        Some(Self { line: line.get(from..to)?.to_owned(), marked, whole: whole && from == 0 })
    }
}

impl Diagnostic {
    /// About a file as a whole.
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            line: None,
            column: None,
            message: message.into(),
            hint: None,
            label: None,
            excerpt: None,
            stands_for: 1,
        }
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The message, the line with a caret under the place, and the hint.
    pub fn render(&self, colored: bool) -> String {
        let renderer = if colored { Renderer::styled() } else { Renderer::plain() };
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        // What is not a line of the file is shown as it is by the renderer.
        let message = one_line(&self.message);
        let (file, hint) = (one_line(&self.file), self.hint.as_deref().map(one_line));
        let label = self.label.as_deref().map(one_line);
        let title = level.primary_title(message.as_ref());
        let mut group = match (&self.excerpt, self.line, self.column) {
            (Some(excerpt), Some(line), column) => {
                let annotation = AnnotationKind::Primary.span(excerpt.marked.clone()).label(label.as_deref());
                let snippet = Snippet::source(excerpt.line.as_str()).line_start(line).annotation(annotation);
                if excerpt.whole {
                    title.element(snippet.path(file.as_ref()))
                } else {
                    // Counted from the part that is shown, the column would be wrong.
                    let origin = Origin::path(file.as_ref()).line(line);
                    title.element(origin.char_column(column.unwrap_or(1))).element(snippet)
                }
            }
            (None, Some(line), _) => title.element(Origin::path(file.as_ref()).line(line)),
            _ => title.element(Origin::path(file.as_ref())),
        };
        if let Some(hint) = &hint {
            group = group.element(Level::HELP.message(hint.as_ref()));
        }
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }
}

/// One line for a log: `file:line:column: error: message`.
impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}: {}", self.severity.as_str(), self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// The last boundary of a character at or before a byte.
pub(crate) fn floor(text: &str, byte: usize) -> usize {
    let byte = byte.min(text.len());
    (0..=byte).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
