//! The report for a merge request's comment: `diff -o markdown`.

use std::fmt::Write;

use super::{OperationReport, Outcome, Report, ServerReport};
use crate::core::plan::{Note, NoteKind};
use crate::core::printable::{one_line, printable};

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
        if !self.prune.is_empty() {
            let lines: String = self
                .prune
                .iter()
                .map(|(server, it)| format!("{}\n", one_line(&format!("{}: {it}", server.path()))))
                .collect();
            text.push_str("\n#### Only with `--prune`\n\n");
            fenced(&mut text, &lines);
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
        let mut lines = String::new();
        for OperationReport { operation, outcome } in operations {
            let mut line = operation.to_string();
            if let Some(manager) = manager.as_ref().filter(|_| operation.call.is_for_manager()) {
                let _ = write!(line, ", by way of {}", manager.path());
            }
            match outcome {
                Outcome::Planned | Outcome::Done => {}
                Outcome::Skipped => line.push_str(": skipped"),
                Outcome::Failed(failure) => {
                    let _ = write!(line, ": failed: {}", failure.message.replace('\n', " "));
                }
            }
            lines.push_str(&one_line(&line));
            lines.push('\n');
            for difference in operation.replaces() {
                lines.push_str(&one_line(&format!("#   {difference}")));
                lines.push('\n');
            }
        }
        text.push('\n');
        fenced(text, &lines);
    }
    if !said.is_empty() {
        text.push('\n');
        notes(text, said);
    }
}

/// No name of a server's closes it.
fn fenced(text: &mut String, lines: &str) {
    let fence = "`".repeat(longest_run(lines).max(2) + 1);
    let _ = write!(text, "{fence}diff\n{lines}{fence}\n");
}

fn notes(text: &mut String, notes: &[Note]) {
    for Note { kind, reason, object, message, hint, blockers, .. } in notes {
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

/// Names and messages come from servers: they must not become links, mentions or markup. Code spans, which hints have, stay what they are to
/// CommonMark: between two runs of backticks of one length nothing is markup, and whatever stands outside of them is escaped.
fn escaped(text: &str) -> String {
    let text = text.replace('\n', " ");
    let text = printable(&text);
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(character) = rest.chars().next() {
        if character == '`' {
            let run = rest.len() - rest.trim_start_matches('`').len();
            let (ticks, after) = rest.split_at(run);
            match closing(after, run) {
                Some(end) => {
                    escaped.push_str(ticks);
                    escaped.push_str(&after[..end + run]);
                    rest = &after[end + run..];
                }
                None => {
                    escaped.push_str(&"\\`".repeat(run));
                    rest = after;
                }
            }
            continue;
        }
        let link = rest.starts_with("://") || rest.starts_with("www.");
        match character {
            '\\' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '@' | '~' | '&' | '$' | '!' => escaped.push('\\'),
            // What looks like an address becomes a link by itself.
            ':' if link => escaped.push('\\'),
            _ => {}
        }
        escaped.push(character);
        rest = &rest[character.len_utf8()..];
        if character == 'w' && link {
            escaped.push_str("ww\\.");
            rest = &rest[3..];
        }
    }
    escaped
}

/// Where the next run of exactly so many backticks begins.
fn closing(text: &str, run: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(begin) = text[at..].find('`').map(|found| at + found) {
        let length = text[begin..].len() - text[begin..].trim_start_matches('`').len();
        if length == run {
            return Some(begin);
        }
        at = begin + length;
    }
    None
}

/// Backticks in a row.
fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{escaped, longest_run};

    #[test]
    fn what_a_server_says_is_not_markup() {
        assert_eq!(escaped("@all see [x](y) <b>`a_b`</b>"), "\\@all see \\[x\\](y) \\<b\\>`a_b`\\</b\\>");
        assert_eq!(escaped("two\nlines"), "two lines");
        assert_eq!(escaped("https://evil.example www.evil.example"), "https\\://evil.example www\\.evil.example");
        assert_eq!(escaped("a: b. c &lt;"), "a: b. c \\&lt;");
    }

    #[test]
    fn backticks_that_belong_to_nothing_open_no_code_span_and_close_none() {
        let image = "<img src=x onerror=alert(1)>";
        assert_eq!(escaped(&format!("a`{image}")), "a\\`\\<img src=x onerror=alert(1)\\>");
        // One run of two, and one of one: neither closes the other.
        assert_eq!(escaped(&format!("``a`{image}")), "\\`\\`a\\`\\<img src=x onerror=alert(1)\\>");
        // Within a code span there is no markup, also no escape.
        assert_eq!(escaped(&format!("``a`{image}`` <b>")), format!("``a`{image}`` \\<b\\>"));
        assert_eq!(escaped("\\`<b>`"), "\\\\`<b>`");
        assert_eq!(longest_run("a```b``"), 3);
    }
}
