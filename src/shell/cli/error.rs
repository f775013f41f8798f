//! Errors for whoever has to act: what went wrong, what came before it, and what to try.

use std::error::Error as StdError;
use std::fmt::{self, Write};

use super::Exit;
use crate::core::printable::one_line;
use crate::shell::engine::EngineError;

/// An error that ends the command, with exit code 2 unless it is a refusal.
#[derive(Debug)]
pub(crate) struct Error {
    /// What was attempted and failed: one sentence without full stop.
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    /// Text that is complete in itself, such as the diagnostics of manifests; printed before the message.
    details: Option<String>,
    is_refusal: bool,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), causes: Vec::new(), hint: None, details: None, is_refusal: false }
    }

    /// Nothing was done, for it would have been harm: exit code 3.
    pub(crate) fn refusal_if(mut self, is_refusal: bool) -> Self {
        self.is_refusal = is_refusal;
        self
    }

    pub(super) fn exit(&self) -> Exit {
        if self.is_refusal { Exit::Refused } else { Exit::Failed }
    }

    /// With the source and all of its sources.
    pub(crate) fn caused_by(mut self, source: &dyn StdError) -> Self {
        let mut next = Some(source);
        while let Some(cause) = next {
            self.causes.push(cause.to_string());
            next = cause.source();
        }
        self
    }

    /// With a cause that is text already.
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With words before the message.
    pub(crate) fn prefixed(mut self, words: impl std::fmt::Display) -> Self {
        self.message.insert_str(0, &words.to_string());
        self
    }

    /// With another hint after the one that there is.
    pub(crate) fn more_hint(mut self, hint: &str) -> Self {
        self.hint = Some(self.hint.map_or_else(|| hint.to_owned(), |first| format!("{first}; {hint}")));
        self
    }

    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    pub(crate) fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// As printed on standard error, coloured.
    pub(super) fn render(&self) -> String {
        use super::output::style::{BOLD, ERROR, HINT};
        let mut text = String::new();
        if let Some(details) = &self.details {
            text.push_str(details.trim_end());
            text.push_str("\n\n");
        }
        let _ = writeln!(text, "{ERROR}error:{ERROR:#} {BOLD}{}{BOLD:#}", one_line(&self.message));
        for cause in &self.causes {
            let _ = writeln!(text, "  caused by: {}", one_line(cause));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "{HINT}hint:{HINT:#} {hint}");
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        Self::new(error.to_string()).maybe_hint(error.hint)
    }
}
