//! The report for a merge request's comment: `diff -o markdown`.

use std::fmt::Write;

use super::{OperationReport, Outcome, Report, ServerReport};
use crate::plan::{Note, NoteKind};

impl Report {
    pub fn markdown(&self) -> String {
        let mut text = format!("### Landfall: {}\n", self.summary());
        for server in &self.servers {
            markdown_server(&mut text, server);
        }
        if !self.notes.is_empty() {
            text.push('\n');
            notes(&mut text, &self.notes);
        }
        text
    }
}

fn markdown_server(text: &mut String, report: &ServerReport) {
    let ServerReport { server, server_type, manager, operations, notes: said } = report;
    if operations.is_empty() && said.is_empty() && server_type.is_some() {
        return;
    }
    let state = if server_type.is_none() { ": not reachable" } else { "" };
    let _ = writeln!(text, "\n#### `{}`{state}", server.path());
    if !operations.is_empty() {
        text.push_str("\n```diff\n");
        for OperationReport { operation, outcome } in operations {
            let _ = write!(text, "{operation}");
            if let Some(manager) = manager.as_ref().filter(|_| operation.call.is_for_manager()) {
                let _ = write!(text, ", by way of {}", manager.path());
            }
            match outcome {
                Outcome::Planned | Outcome::Done => {}
                Outcome::Skipped => text.push_str(": skipped"),
                Outcome::Failed(failure) => {
                    let _ = write!(text, ": failed: {}", failure.message.replace('\n', " "));
                }
            }
            text.push('\n');
        }
        text.push_str("```\n");
    }
    if !said.is_empty() {
        text.push('\n');
        notes(text, said);
    }
}

fn notes(text: &mut String, notes: &[Note]) {
    for Note { kind, reason, object, message, hint, blockers } in notes {
        let word = match kind {
            NoteKind::Refused => "**Refused**",
            NoteKind::Waiting => "Waiting",
            NoteKind::Unmanaged => "Unmanaged",
            NoteKind::Suspended => "Suspended",
            NoteKind::Warning => "Warning",
        };
        let _ = writeln!(text, "- {word} `{object}`: {} (`{reason}`)", escaped(message));
        for blocker in blockers {
            let _ = writeln!(text, "  - {}", escaped(&blocker.to_string()));
        }
        if let Some(hint) = hint {
            let _ = writeln!(text, "  - Hint: {}", escaped(hint));
        }
    }
}

/// Names and messages come from servers: they must not become links, mentions or markup. Code spans, which hints have, stay.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut code = false;
    for character in text.chars() {
        match character {
            '`' => code = !code,
            '\n' => {
                escaped.push(' ');
                continue;
            }
            '\\' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '@' | '~' if !code => escaped.push('\\'),
            _ => {}
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn what_a_server_says_is_not_markup() {
        assert_eq!(escaped("@all see [x](y) <b>`a_b`</b>"), "\\@all see \\[x\\](y) \\<b\\>`a_b`\\</b\\>");
        assert_eq!(escaped("two\nlines"), "two lines");
    }
}
