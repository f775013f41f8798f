//! A report for people, coloured, and the exit code that follows from it.

use std::fmt::Write;

use super::output::style::{BAD, BOLD, DIM, ERROR, GOOD, HINT, UNCERTAIN};
use super::{Context, Exit};
use crate::core::api::ObjectKey;
use crate::core::plan::{Note, NoteKind};
use crate::core::printable::one_line;
use crate::core::report::{OperationReport, Outcome, Report, ServerReport, Tally};

/// `differences`: operations that are only planned count as differences, as `diff` has it.
pub(crate) fn exit(report: &Report, differences: bool) -> Exit {
    let Tally { planned, done: _, failed, skipped, refused, unreachable } = report.tally();
    let mut exit = Exit::Done;
    if differences && planned > 0 {
        exit = exit.max(Exit::Differences);
    }
    if failed + skipped + unreachable > 0 {
        exit = exit.max(Exit::Failed);
    }
    if refused > 0 {
        exit = exit.max(Exit::Refused);
    }
    exit
}

/// What is neither different nor as declared: `; 2 objects are waited for`.
pub(crate) fn waited_for(report: &Report) -> String {
    let notes = report.servers.iter().flat_map(|server| &server.notes).chain(&report.notes);
    let waiting = notes.filter(|note| note.kind == NoteKind::Waiting).map(|note| &note.object);
    match waiting.collect::<std::collections::BTreeSet<_>>().len() {
        0 => String::new(),
        1 => "; 1 object is waited for".to_owned(),
        count => format!("; {count} objects are waited for"),
    }
}

/// Servers with their operations and notes, the layout of `Plan`'s own text; empty where there is nothing to say.
pub(crate) fn text(report: &Report, context: &Context) -> String {
    parts(report, context).collect()
}

/// The same server by server, for there may be a thousand.
pub(crate) fn parts(report: &Report, context: &Context) -> impl Iterator<Item = String> {
    let width = context.width();
    let servers = report.servers.iter().map(move |server| of_server(server, width));
    servers.chain(std::iter::once_with(move || of_all(report, width))).filter(|text| !text.is_empty())
}

fn of_server(server: &ServerReport, width: Option<usize>) -> String {
    let mut text = String::new();
    // Why a server was not observed is an error, and said on standard error.
    let unobserved = |note: &&Note| server.server_type.is_none() && note.object == server.server;
    let notes: Vec<&Note> = server.notes.iter().filter(|note| !unobserved(note)).collect();
    if server.operations.is_empty() && notes.is_empty() {
        return text;
    }
    let _ = writeln!(text, "{BOLD}{}{BOLD:#}", server.server.path());
    for operation in &server.operations {
        write_operation(&mut text, operation, server.manager.as_ref(), width);
    }
    for note in notes {
        write_note(&mut text, note, 2, width);
    }
    text
}

fn of_all(report: &Report, width: Option<usize>) -> String {
    let mut text = String::new();
    for note in &report.notes {
        write_note(&mut text, note, 0, width);
    }
    if !report.prune.is_empty() {
        let _ = writeln!(text, "{BOLD}only with --prune{BOLD:#}");
        for (server, operation) in &report.prune {
            let _ = writeln!(text, "  {DIM}{}: {}{DIM:#}", server.path(), one_line(&operation.to_string()));
        }
    }
    text
}

fn write_operation(text: &mut String, report: &OperationReport, manager: Option<&ObjectKey>, width: Option<usize>) {
    let OperationReport { operation, outcome } = report;
    let sign = operation.call.sign();
    let colour = match (outcome, sign) {
        (Outcome::Skipped, _) => DIM,
        (Outcome::Failed(_), _) => BAD,
        (_, '+') => GOOD,
        _ => BAD,
    };
    let because = operation.purpose();
    let call = operation.call.to_string();
    let call = one_line(&call);
    let disruptive = if operation.disruptive { format!("{UNCERTAIN}, disruptive{UNCERTAIN:#}") } else { String::new() };
    let manager = manager.filter(|_| operation.call.is_for_manager());
    let via = manager.map(|manager| format!("{DIM}, by way of {}{DIM:#}", manager.path())).unwrap_or_default();
    let _ = write!(text, "  {colour}{sign} {call}{colour:#} {DIM}{because}{DIM:#}{disruptive}{via}");
    let differences = operation.replaces();
    match outcome {
        Outcome::Planned | Outcome::Done => text.push('\n'),
        Outcome::Skipped => text.push_str(": skipped\n"),
        Outcome::Failed(failure) => {
            let reason = failure.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            let _ = writeln!(text, ": {ERROR}failed{ERROR:#}");
            paragraph(text, &format!("{}{reason}", failure.message), 6, width);
            hint(text, failure.hint.as_deref(), 6, width);
        }
    }
    for difference in differences {
        paragraph(text, &one_line(&difference.to_string()), 6, width);
    }
}

pub(super) fn write_note(text: &mut String, note: &Note, indent: usize, width: Option<usize>) {
    let (sign, word, style) = match note.kind {
        NoteKind::Refused => ('!', "refused", ERROR),
        NoteKind::Waiting => ('?', "waiting", UNCERTAIN),
        NoteKind::Unmanaged => ('.', "unmanaged", DIM),
        NoteKind::Suspended => ('.', "suspended", DIM),
        NoteKind::Warning => ('*', "warning", UNCERTAIN),
    };
    let message = format!("{sign} {word} {}: {} ({})", note.object, note.message, note.reason);
    let mut first = String::new();
    paragraph(&mut first, &message, indent, width.map(|width| width.max(40)));
    // Styled after it is broken into lines, so that colours don't count.
    let marked = format!("{sign} {word}");
    text.push_str(&first.replacen(&marked, &format!("{style}{marked}{style:#}"), 1));
    for blocker in &note.blockers {
        let _ = writeln!(text, "{:indent$}    {}", "", one_line(&blocker.to_string()));
    }
    hint(text, note.hint.as_deref(), indent + 4, width);
}

fn hint(text: &mut String, hint: Option<&str>, indent: usize, width: Option<usize>) {
    if let Some(hint) = hint {
        let mut lines = String::new();
        paragraph(&mut lines, &format!("hint: {hint}"), indent, width);
        text.push_str(&lines.replacen("hint:", &format!("{HINT}hint:{HINT:#}"), 1));
    }
}

/// Broken to the terminal's width, continued two columns further in.
fn paragraph(text: &mut String, content: &str, indent: usize, width: Option<usize>) {
    let available = width.map_or(usize::MAX, |width| width.saturating_sub(indent + 2).max(20));
    let mut first = true;
    for line in content.lines() {
        for line in super::output::wrap(line, available) {
            let indent = if first { indent } else { indent + 2 };
            first = false;
            let _ = writeln!(text, "{:indent$}{line}", "");
        }
    }
}
