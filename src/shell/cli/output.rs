//! Data on standard output, everything else on standard error; colours and widths only where a terminal is.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use anstream::AutoStream;
use serde::Serialize;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Error;
use crate::core::printable;
use style::Style;

/// Styles by meaning. Text is styled always; the stream takes the colours out where they are not wanted.
pub(crate) mod style {
    use std::fmt;
    use std::hash::{BuildHasher, RandomState};
    use std::sync::LazyLock;

    use anstyle::AnsiColor;

    pub(crate) const PLAIN: Style = Style('p');
    pub(crate) const BOLD: Style = Style('b');
    pub(crate) const DIM: Style = Style('d');
    pub(crate) const ERROR: Style = Style('e');
    pub(crate) const WARNING: Style = Style('w');
    pub(crate) const HINT: Style = Style('h');
    pub(crate) const GOOD: Style = Style('g');
    pub(crate) const BAD: Style = Style('r');
    pub(crate) const UNCERTAIN: Style = Style('y');

    /// Written as a mark that [`Context`](super::Context) turns into what the terminal obeys: whatever else it would obey is not from here.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Style(char);

    /// Another private character in each process: no server can have it in a name.
    static MARK: LazyLock<char> = LazyLock::new(|| {
        let drawn = u32::try_from(RandomState::new().hash_one("mark") % 0xfffe).unwrap_or_default();
        char::from_u32(0xf_0000 + drawn).unwrap_or('\u{f0000}')
    });
    const END: char = '0';
    /// What follows, up to `m`, is how something is rendered.
    const RENDERED: char = '[';

    impl fmt::Display for Style {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match *self {
                PLAIN => Ok(()),
                _ if f.alternate() => write!(f, "{}{END}", *MARK),
                Style(style) => write!(f, "{}{style}", *MARK),
            }
        }
    }

    impl Style {
        fn ansi(self) -> anstyle::Style {
            match self {
                BOLD => anstyle::Style::new().bold(),
                DIM => anstyle::Style::new().dimmed(),
                ERROR => AnsiColor::Red.on_default().bold(),
                WARNING => AnsiColor::Yellow.on_default().bold(),
                HINT => AnsiColor::Cyan.on_default().bold(),
                GOOD => AnsiColor::Green.on_default(),
                BAD => AnsiColor::Red.on_default(),
                UNCERTAIN => AnsiColor::Yellow.on_default(),
                _ => anstyle::Style::new(),
            }
        }
    }

    /// A problem with the colours of its renderer, in which there are no others.
    pub(crate) fn styled(problem: &crate::core::manifest::Diagnostic) -> String {
        problem.render(true).replace("\u{1b}[", &format!("{}{RENDERED}", *MARK))
    }

    /// The text as it goes to the terminal: styled by these marks, and by nothing that others have put into it.
    pub(crate) fn resolve(text: &str) -> String {
        let mut parts = text.split(*MARK);
        let mut resolved = crate::core::printable::printable(parts.next().unwrap_or_default()).into_owned();
        for part in parts {
            let mut rest = part.chars();
            match rest.next() {
                Some(RENDERED) => {
                    let codes = rest.as_str().split('m').next().unwrap_or_default();
                    if codes.chars().all(|it| it.is_ascii_digit() || it == ';') {
                        resolved.push_str(&format!("\u{1b}[{codes}m"));
                        rest = rest.as_str().get(codes.len() + 1..).unwrap_or_default().chars();
                    }
                }
                Some(END) => resolved.push_str(&anstyle::Reset.to_string()),
                Some(style) => resolved.push_str(&Style(style).ansi().to_string()),
                None => {}
            }
            resolved.push_str(&crate::core::printable::printable(rest.as_str()));
        }
        resolved
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorMode {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

/// `-o json` and `-o yaml` where the alternative is text for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DataFormat {
    Json,
    Yaml,
}

/// What every command is given: where its output goes and how it looks.
#[derive(Debug)]
pub(crate) struct Context {
    color: ColorMode,
    verbose: u8,
    runtime: OnceLock<tokio::runtime::Runtime>,
    /// In place of the standard streams.
    captured: Option<Mutex<Captured>>,
}

/// What a command wrote, without colours.
#[derive(Debug, Default)]
pub(super) struct Captured {
    pub(super) data: String,
    pub(super) said: String,
}

impl Context {
    pub(super) fn new(color: ColorMode, verbose: u8) -> Self {
        Self { color, verbose, runtime: OnceLock::new(), captured: None }
    }

    /// Keeps what is written, for [`into_captured`](Self::into_captured).
    pub(super) fn capturing() -> Self {
        Self { captured: Some(Mutex::default()), ..Self::new(ColorMode::Never, 0) }
    }

    pub(super) fn into_captured(self) -> Captured {
        let captured = self.captured.map(|captured| captured.into_inner().unwrap_or_else(PoisonError::into_inner));
        captured.unwrap_or_default()
    }

    /// True where it was kept.
    fn capture(&self, text: &str, of: impl Fn(&mut Captured) -> &mut String) -> bool {
        let Some(captured) = &self.captured else { return false };
        let plain = anstream::adapter::strip_str(&style::resolve(text)).to_string();
        of(&mut captured.lock().unwrap_or_else(PoisonError::into_inner)).push_str(&plain);
        true
    }

    /// How often `-v` was given.
    pub(crate) fn verbose(&self) -> u8 {
        self.verbose
    }

    /// Columns of the terminal that standard output is; `None` where it is none and nothing needs to fit.
    pub(crate) fn width(&self) -> Option<usize> {
        if self.captured.is_some() {
            return None;
        }
        terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0))
    }

    /// Whether a person can be asked: standard input is a terminal, and so is what the question is written to.
    pub(crate) fn can_ask(&self) -> bool {
        self.captured.is_none() && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Writes data to standard output. A reader that went away (`| head`) is no error.
    pub(crate) fn print(&self, text: &str) -> Result<(), Error> {
        self.print_while_read(text).map(|_| ())
    }

    /// For what goes on: false when the reader went away.
    pub(crate) fn print_while_read(&self, text: &str) -> Result<bool, Error> {
        if self.capture(text, |captured| &mut captured.data) {
            return Ok(true);
        }
        let mut stdout = AutoStream::new(io::stdout().lock(), self.choice(&io::stdout()));
        match stdout.write_all(style::resolve(text).as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Error::new("cannot write to standard output").caused_by(&error)),
        }
    }

    /// Between two looks that each show everything: a terminal is cleared, anything else gets an empty line. False when the reader went away.
    pub(crate) fn look_again(&self) -> Result<bool, Error> {
        if self.captured.is_some() || !io::stdout().is_terminal() {
            return self.print_while_read("\n");
        }
        let mut stdout = io::stdout().lock();
        Ok(stdout.write_all(b"\x1b[H\x1b[2J").and_then(|()| stdout.flush()).is_ok())
    }

    /// Writes one value to standard output as JSON, indented, or as YAML.
    pub(crate) fn print_data(&self, format: DataFormat, value: &impl Serialize) -> Result<(), Error> {
        self.print(&rendered(format, value)?)
    }

    /// One of several values, one after the other; false when the reader went away.
    pub(crate) fn print_data_while_read(&self, format: DataFormat, value: &impl Serialize) -> Result<bool, Error> {
        let between = if format == DataFormat::Yaml { "---\n" } else { "" };
        self.print_while_read(&format!("{between}{}", rendered(format, value)?))
    }

    /// Writes text that is not data to standard error; ends the line.
    pub(crate) fn say(&self, text: &str) {
        if self.capture(&format!("{}\n", text.trim_end()), |captured| &mut captured.said) {
            return;
        }
        let mut stderr = AutoStream::new(io::stderr().lock(), self.choice(&io::stderr()));
        // Nowhere is left to complain to.
        let _ = writeln!(stderr, "{}", style::resolve(text.trim_end()));
    }

    pub(crate) fn warn(&self, text: &str) {
        use style::WARNING;
        self.say(&format!("{WARNING}warning:{WARNING:#} {text}"));
    }

    pub(crate) fn error(&self, error: &Error) {
        self.say(&error.render());
    }

    /// Runs what talks to servers. Commands that need none of it don't pay for a runtime; those that look twice keep it, and with it the
    /// connections that were made.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        let runtime = match self.runtime.get() {
            Some(runtime) => runtime,
            None => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| Error::new("cannot start the runtime").caused_by(&error))?;
                self.runtime.get_or_init(|| runtime)
            }
        };
        Ok(runtime.block_on(future))
    }

    fn choice(&self, stream: &impl anstream::stream::RawStream) -> anstream::ColorChoice {
        match self.color {
            ColorMode::Auto => AutoStream::choice(stream),
            ColorMode::Always => anstream::ColorChoice::AlwaysAnsi,
            ColorMode::Never => anstream::ColorChoice::Never,
        }
    }
}

fn rendered(format: DataFormat, value: &impl Serialize) -> Result<String, Error> {
    match format {
        DataFormat::Json => serde_json::to_string_pretty(value)
            .map(|text| printable::json(text) + "\n")
            .map_err(|error| Error::new("cannot write the result as JSON").caused_by(&error)),
        DataFormat::Yaml => {
            printable::yaml(value).map_err(|error| Error::new("cannot write the result as YAML").caused_by(&error))
        }
    }
}

/// The colours of clap's own messages, which are written before the flags are known.
pub(super) fn clap_color(arguments: &[OsString]) -> clap::ColorChoice {
    let mut choice = clap::ColorChoice::Auto;
    let mut arguments = arguments.iter().filter_map(|argument| argument.to_str()).peekable();
    while let Some(argument) = arguments.next() {
        let value = match argument {
            "--" => break,
            "--color" => arguments.peek().copied(),
            _ => argument.strip_prefix("--color="),
        };
        match value {
            Some("always") => choice = clap::ColorChoice::Always,
            Some("never") => choice = clap::ColorChoice::Never,
            _ => {}
        }
    }
    choice
}

/// Sends the log to standard error. Bodies of requests carry secrets, so the HTTP client and what is beneath it never log below warnings.
pub(super) fn start_logging(verbose: u8) -> Log {
    let filter = log_filter(verbose);
    // Fails only when somebody has set a subscriber already, which is then as good.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Lines::of_log)
        .with_ansi(io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .try_init();
    Log::default()
}

/// Where the log goes, one event with each call: what others have put into one is neither obeyed nor taken for another event.
enum Lines {
    Text,
    /// With the log's own colours. Escape sequences of others it has made harmless itself.
    Coloured,
    Json,
}

impl Lines {
    fn of_log() -> Self {
        if io::stderr().is_terminal() { Self::Coloured } else { Self::Text }
    }

    fn of_json() -> Self {
        Self::Json
    }
}

impl Write for Lines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let mut shown = match self {
            Self::Text => printable::one_line(line).into_owned(),
            Self::Coloured => line.split('\u{1b}').map(printable::one_line).collect::<Vec<_>>().join("\u{1b}"),
            Self::Json => printable::json(line.to_owned()),
        };
        shown.push('\n');
        io::stderr().lock().write_all(shown.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// How the log of a long-running command is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    Text,
    /// One JSON object a line
    Json,
}

/// What a log leaves to do when its command is over.
#[derive(Default)]
pub(super) struct Log {
    #[cfg(feature = "otel")]
    traces: Option<crate::shell::telemetry::Traces>,
}

impl Log {
    /// Sends what waits to be sent.
    pub(super) fn end(self) {
        #[cfg(feature = "otel")]
        if let Some(traces) = self.traces {
            traces.end();
        }
    }
}

/// The log of a command that goes on: with times, and from what is done upwards.
pub(super) fn start_log(verbose: u8, format: LogFormat) -> Log {
    let log = tracing_subscriber::fmt::layer();
    let log = match format {
        LogFormat::Text => log.with_writer(Lines::of_log).with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => log.json().with_writer(Lines::of_json).boxed(),
    };
    let log = log.with_filter(log_filter(verbose.saturating_add(1)));
    let subscriber = tracing_subscriber::registry().with(log);
    #[cfg(feature = "otel")]
    let traces = crate::shell::telemetry::Traces::of(|name| std::env::var(name).ok());
    #[cfg(feature = "otel")]
    let subscriber =
        subscriber.with(traces.as_ref().ok().and_then(Option::as_ref).map(crate::shell::telemetry::Traces::layer));
    // Fails only when somebody has set a subscriber already, which is then as good.
    let _ = subscriber.try_init();
    #[cfg(feature = "otel")]
    let traces = traces.unwrap_or_else(|problem| {
        tracing::warn!(error = problem, "no traces are sent");
        None
    });
    Log {
        #[cfg(feature = "otel")]
        traces,
    }
}

/// Of other crates only what is wrong: the HTTP client logs whole bodies, secrets included.
fn log_filter(verbose: u8) -> tracing_subscriber::filter::EnvFilter {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    // What a client of `mcp` asks for in vain is answered to that client.
    tracing_subscriber::filter::EnvFilter::new(format!("warn,rmcp=error,landfall={level}"))
}

/// A table as kubectl prints it: headings in capitals, columns apart by three spaces, no lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    headings: Vec<Cow<'static, str>>,
    rows: Vec<Vec<Cell>>,
    dispensable: Vec<&'static str>,
    /// Without its headings.
    bare: bool,
    /// What the columns of the table above have, at the least.
    least: Vec<usize>,
}

/// The columns of a table, for the rows that are printed below it later; of none before the first.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableColumns {
    headings: Vec<Cow<'static, str>>,
    widths: Vec<usize>,
    gap: usize,
}

/// The content of one cell and how it looks.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: style::PLAIN }
    }
}

/// Spaces between two columns.
const GAP: usize = 3;
/// Where there are too many columns for the terminal.
const NARROW_GAP: usize = 2;
/// No column is made narrower than this: text below it is unreadable, and the terminal may as well wrap the line.
const NARROWEST: usize = 8;

impl Table {
    pub(crate) fn new<T: Into<Cow<'static, str>>>(headings: impl IntoIterator<Item = T>) -> Self {
        Self { headings: headings.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Columns to leave out, the first one first, where the terminal is too narrow for all.
    pub(crate) fn dispensable(mut self, headings: &[&'static str]) -> Self {
        self.dispensable = headings.to_vec();
        self
    }

    /// The rows alone, for scripts.
    pub(crate) fn without_headings(mut self) -> Self {
        self.bare = true;
        self
    }

    /// Adds a row; an empty cell is shown as `-`.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let mut cells: Vec<Cell> = cells.into_iter().collect();
        for cell in &mut cells {
            if let Cow::Owned(text) = printable::one_line(&cell.text) {
                cell.text = text;
            }
            if cell.text.is_empty() {
                cell.text.push('-');
            }
        }
        debug_assert_eq!(cells.len(), self.headings.len(), "a row has one cell for each heading");
        self.rows.push(cells);
    }

    /// Rendered to fit `width` columns, where given: with narrower gaps, then without what can be dispensed with, then by wrapping the
    /// widest cells.
    pub(crate) fn render(&self, width: Option<usize>) -> String {
        self.render_below(&mut TableColumns::default(), width)
    }

    /// The same below the table that had those columns. A cell that is wider widens its column from here on.
    pub(crate) fn render_below(&self, columns: &mut TableColumns, width: Option<usize>) -> String {
        let (table, gap) = match columns.headings.is_empty() {
            true => self.fitted(width),
            false => (self.in_columns(columns), columns.gap),
        };
        let widths = table.widths(width, gap);
        let text = table.render_with(&widths, gap);
        *columns = TableColumns { headings: table.headings, widths, gap };
        text
    }

    /// With narrower gaps and without some columns where it does not fit otherwise.
    fn fitted(&self, width: Option<usize>) -> (Self, usize) {
        let Some(width) = width.filter(|width| !self.fits(*width, GAP)) else { return (self.clone(), GAP) };
        let mut left = self.clone();
        for heading in &self.dispensable {
            if left.fits(width, NARROW_GAP) {
                break;
            }
            left.remove(heading);
        }
        (left, NARROW_GAP)
    }

    fn in_columns(&self, columns: &TableColumns) -> Self {
        let mut table = self.clone();
        for heading in self.headings.iter().filter(|heading| !columns.headings.contains(heading)) {
            table.remove(heading);
        }
        table.least.clone_from(&columns.widths);
        table
    }

    fn fits(&self, width: usize, gap: usize) -> bool {
        self.widths(None, gap).iter().sum::<usize>() + gap * self.headings.len().saturating_sub(1) <= width
    }

    fn remove(&mut self, heading: &str) {
        if let Some(column) = self.headings.iter().position(|other| *other == heading) {
            self.headings.remove(column);
            for row in &mut self.rows {
                row.remove(column);
            }
        }
    }

    fn render_with(&self, widths: &[usize], gap: usize) -> String {
        let mut text = String::new();
        let headings = self
            .headings
            .iter()
            .map(|heading| Cell::styled(printable::one_line(heading), style::BOLD))
            .collect::<Vec<_>>();
        for row in std::iter::once(&headings).filter(|_| !self.bare).chain(&self.rows) {
            let wrapped: Vec<Vec<Cow<'_, str>>> =
                row.iter().zip(widths).map(|(cell, width)| wrap(&cell.text, *width)).collect();
            let height = wrapped.iter().map(Vec::len).max().unwrap_or(0);
            for line in 0..height {
                let mut rendered = String::new();
                let mut pending = 0;
                for ((cell, lines), width) in row.iter().zip(&wrapped).zip(widths) {
                    let part = lines.get(line).map_or("", |part| part.as_ref());
                    if !part.is_empty() {
                        rendered.extend(std::iter::repeat_n(' ', pending));
                        pending = 0;
                        let style = cell.style;
                        rendered.push_str(&format!("{style}{part}{style:#}"));
                    }
                    pending += width.saturating_sub(columns(part)) + gap;
                }
                text.push_str(&rendered);
                text.push('\n');
            }
        }
        text
    }

    fn widths(&self, available: Option<usize>, gap: usize) -> Vec<usize> {
        let shown = |heading: &Cow<'static, str>| if self.bare { 0 } else { columns(heading) };
        let mut widths: Vec<usize> = self.headings.iter().map(shown).collect();
        let least: Vec<usize> = widths.iter().map(|heading| (*heading).max(NARROWEST)).collect();
        for (width, above) in widths.iter_mut().zip(&self.least) {
            *width = (*width).max(*above);
        }
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(columns(&cell.text));
            }
        }
        let Some(available) = available else { return widths };
        let gaps = gap * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > available {
            let widest = (0..widths.len()).filter(|i| widths[*i] > least[*i]).max_by_key(|i| widths[*i]);
            match widest {
                Some(column) => widths[column] -= 1,
                None => break,
            }
        }
        widths
    }
}

/// Columns that a terminal needs for it.
fn columns(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// Lines of at most `width` columns, broken at spaces where there are some. Not at hyphens: names of containers and options stay whole.
pub(super) fn wrap(text: &str, width: usize) -> Vec<Cow<'_, str>> {
    textwrap::wrap(text, textwrap::Options::new(width).word_splitter(textwrap::WordSplitter::NoHyphenation))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(["NAME", "STATUS", "MESSAGE"]);
        table.row(["web".into(), "Ready".into(), "the network exists and everybody is on it".into()]);
        table.row(["db".into(), "".into(), "short".into()]);
        table
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(&style::resolve(text)).to_string()
    }

    #[test]
    fn a_table_without_a_terminal_keeps_every_row_on_one_line() {
        assert_eq!(
            plain(&sample().render(None)),
            "NAME   STATUS   MESSAGE\n\
             web    Ready    the network exists and everybody is on it\n\
             db     -        short\n"
        );
    }

    #[test]
    fn a_table_fits_the_terminal_by_wrapping_its_widest_column() {
        let text = plain(&sample().render(Some(40)));
        assert_eq!(
            text,
            "NAME  STATUS  MESSAGE\n\
             web   Ready   the network exists and\n\
             \x20             everybody is on it\n\
             db    -       short\n"
        );
        assert!(text.lines().all(|line| line.len() <= 40));
    }

    #[test]
    fn a_narrow_terminal_first_costs_what_can_be_dispensed_with() {
        let table = sample().dispensable(&["STATUS"]);
        assert!(plain(&table.render(Some(60))).starts_with("NAME   STATUS   MESSAGE\n"));
        let narrow = "NAME  MESSAGE\n\
                      web   the network exists and everybody is on it\n\
                      db    short\n";
        assert_eq!(plain(&table.render(Some(50))), narrow);
    }

    #[test]
    fn rows_that_come_later_stand_below_those_that_there_are() {
        let mut columns = TableColumns::default();
        let first = plain(&sample().dispensable(&["STATUS"]).render_below(&mut columns, Some(50)));
        let row = |name: &str, message: &str| {
            let mut table = Table::new(["NAME", "STATUS", "MESSAGE"]).without_headings();
            table.row([name.into(), "Stalled".into(), message.into()]);
            table
        };
        let at = |text: &str| text.find("short").unwrap();
        let place = at(first.lines().last().unwrap());
        assert_eq!(place, at(&plain(&row("x", "short").render_below(&mut columns, Some(50)))));
        // A longer name moves what is right of it, there and below.
        let moved = at(&plain(&row("longer-name", "short").render_below(&mut columns, Some(50))));
        assert!(moved > place);
        assert_eq!(moved, at(&plain(&row("x", "short").render_below(&mut columns, Some(50)))));
    }

    #[test]
    fn a_word_longer_than_its_column_is_broken() {
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("a bcdefgh i", 4), ["a", "bcde", "fgh", "i"]);
        assert_eq!(wrap("run --force-new", 12), ["run", "--force-new"]);
    }

    /// Characters that are wider together than one by one.
    #[test]
    fn a_table_takes_text_of_any_width() {
        let mut table = Table::new(["NAME", "MESSAGE"]);
        table.row(["\u{2764}\u{fe0f}".repeat(20).into(), "\u{26a0}\u{fe0f} 長い名前 ".repeat(20).into()]);
        for width in 0..60 {
            let text = plain(&table.render(Some(width)));
            assert_eq!(text.matches('\u{2764}').count(), 20, "{text}");
            assert_eq!(text.matches('長').count(), 20, "{text}");
        }
    }
}
