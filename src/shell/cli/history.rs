//! `history [PASS]`

use std::collections::BTreeMap;
use std::fmt::Write;

use clap_complete::ArgValueCompleter;
use jiff::Timestamp;

use super::args::{SetArgs, StateArgs};
use super::completion::complete_servers;
use super::output::style::BOLD;
use super::output::{Cell, DataFormat, Table, TableColumns};
use super::seen::age;
use super::shared::StoreArgs;
use super::{Context, Error, Exit, record};
use crate::shell::store::Records;
use crate::shell::store::records::PassRecord;

/// Passes that are read at once to find those that are new.
const AT_ONCE: usize = 100;

/// Shows the passes that did something, the latest last; with PASS, everything that one did
///
/// A pass is one look at a server with what followed from it. `run`, `apply` and `delete` write down those that did, or failed to do, something,
/// in the state directory of the machine they run on: the latest 1,000, of at most 30 days.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of a pass
    #[arg(value_name = "PASS")]
    pass: Option<u64>,
    /// Only passes over this server; several with commas between
    #[arg(long, value_name = "SERVER", value_delimiter = ',', add = ArgValueCompleter::new(complete_servers))]
    server: Vec<String>,
    /// Go on with what is done from now on, until interrupted
    #[arg(short, long, conflicts_with = "pass")]
    watch: bool,
    /// Only the latest ones, this many
    #[arg(long, value_name = "COUNT", conflicts_with = "pass")]
    limit: Option<usize>,
    /// Leave out the headings of tables
    #[arg(long)]
    no_headers: bool,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// Output format; with `--watch`, one document for each pass
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Yaml,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let store = args.store.records(&args.state, &args.set)?;
    let unreadable = |error| record::unreadable(&error);
    if let Some(number) = args.pass {
        let pass = context.block_on(store.pass(number))?.map_err(unreadable)?.ok_or_else(|| {
            Error::new(format!("pass {number} is not in the history"))
                .hint("`landfall history` lists those that are; passes that did nothing are not kept")
        })?;
        match data_format(args) {
            Some(format) => context.print_data(format, &pass)?,
            None => context.print(&page(&pass))?,
        }
        return Ok(Exit::Done);
    }
    let mut latest = 0;
    let passes = read(args, context, store.as_ref(), &mut latest)?;
    if args.watch {
        return watch(args, context, store.as_ref(), passes, latest);
    }
    match data_format(args) {
        Some(format) => {
            let list =
                serde_json::json!({ "apiVersion": crate::core::api::API_VERSION, "kind": "List", "items": passes });
            context.print_data(format, &list)?;
        }
        None if passes.is_empty() => {}
        None => {
            let table = table(&passes);
            let table = if args.no_headers { table.without_headings() } else { table };
            context.print(&table.render(context.width()))?;
        }
    }
    if passes.is_empty() {
        context.say("No passes found.");
    }
    Ok(Exit::Done)
}

/// Those after `latest`, which moves on; the oldest first.
fn read(args: &Args, context: &Context, store: &dyn Records, latest: &mut u64) -> Result<Vec<PassRecord>, Error> {
    let passes = |most| context.block_on(store.passes(most))?.map_err(|error| record::unreadable(&error));
    let mut found = passes(if *latest == 0 { usize::MAX } else { AT_ONCE })?;
    // More have come than were asked for.
    if *latest > 0 && found.last().is_some_and(|oldest| oldest.pass > *latest + 1) {
        found = passes(usize::MAX)?;
    }
    found.retain(|pass| pass.pass > *latest);
    *latest = found.first().map_or(*latest, |newest| newest.pass);
    let is_on = |pass: &PassRecord, server: &String| pass.server.name == *server || pass.server.path() == *server;
    found.retain(|pass| args.server.is_empty() || args.server.iter().any(|server| is_on(pass, server)));
    found.truncate(args.limit.unwrap_or(usize::MAX));
    found.reverse();
    Ok(found)
}

/// What there is, and then what comes.
fn watch(
    args: &Args,
    context: &Context,
    store: &dyn Records,
    mut passes: Vec<PassRecord>,
    mut latest: u64,
) -> Result<Exit, Error> {
    let mut headings = !args.no_headers;
    let mut columns = TableColumns::default();
    let mut seen = None;
    loop {
        let read_on = match data_format(args) {
            _ if passes.is_empty() => true,
            Some(format) => {
                let mut shown = passes.iter().map(|pass| context.print_data_while_read(format, pass));
                shown.try_fold(true, |all, read| read.map(|read| all && read))?
            }
            None => {
                let table = table(&passes);
                let table = if headings { table } else { table.without_headings() };
                headings = false;
                context.print_while_read(&table.render_below(&mut columns, context.width()))?
            }
        };
        if !read_on {
            return Ok(Exit::Done);
        }
        seen = record::changed(context, store, seen)?;
        passes = read(args, context, store, &mut latest)?;
    }
}

fn data_format(args: &Args) -> Option<DataFormat> {
    match args.output {
        Format::Table => None,
        Format::Json => Some(DataFormat::Json),
        Format::Yaml => Some(DataFormat::Yaml),
    }
}

fn text<'a>(operation: &'a serde_json::Value, field: &str) -> &'a str {
    operation[field].as_str().unwrap_or_default()
}

fn with_outcome(pass: &PassRecord, outcome: &str) -> usize {
    pass.operations.iter().filter(|operation| text(operation, "outcome") == outcome).count()
}

fn took(pass: &PassRecord) -> String {
    match pass.duration_ms {
        ms @ 0..1_000 => format!("{ms}ms"),
        ms => format!("{:.1}s", std::time::Duration::from_millis(ms).as_secs_f64()),
    }
}

fn table(passes: &[PassRecord]) -> Table {
    let now = Timestamp::now();
    let headings = ["PASS", "AGE", "BY", "SERVER", "DONE", "FAILED", "TOOK", "REVISION", "CAUSES"];
    let mut table = Table::new(headings).dispensable(&["TOOK", "REVISION", "BY"]);
    for pass in passes {
        let mut causes: BTreeMap<&str, usize> = BTreeMap::new();
        for operation in &pass.operations {
            *causes.entry(text(operation, "cause")).or_default() += 1;
        }
        let causes: Vec<String> = causes
            .into_iter()
            .map(|(cause, count)| if count == 1 { cause.to_owned() } else { format!("{cause} ×{count}") })
            .collect();
        let more = if pass.omitted > 0 { "+" } else { "" };
        let cells: [Cell; 9] = [
            pass.pass.to_string().into(),
            age(&pass.time.to_string(), now).into(),
            pass.by.as_str().into(),
            pass.server.path().into(),
            format!("{}{more}", with_outcome(pass, "Done")).into(),
            (with_outcome(pass, "Failed") + with_outcome(pass, "Skipped")).to_string().into(),
            took(pass).into(),
            pass.revision.as_deref().map(|it| it.get(..12).unwrap_or(it)).unwrap_or_default().into(),
            causes.join(", ").into(),
        ];
        table.row(cells);
    }
    table
}

/// Everything about one pass.
fn page(pass: &PassRecord) -> String {
    let mut page = String::new();
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(page, "{BOLD}{:12}{BOLD:#}{value}", format!("{name}:"));
    };
    let in_log = pass.logged_as.map(|number| format!(" ({number} in the log)")).unwrap_or_default();
    field("Pass", &format!("{}{in_log}", pass.pass));
    field("By", &pass.by);
    field("Server", &pass.server.path());
    field("Ended", &format!("{:.0} ({} ago)", pass.time, age(&pass.time.to_string(), Timestamp::now())));
    field("Took", &took(pass));
    if let Some(revision) = &pass.revision {
        field("Revision", revision);
    }
    let _ = writeln!(page, "{BOLD}Operations:{BOLD:#}");
    let mut table = Table::new(["OPERATION", "NETWORK", "CONTAINER", "OBJECT", "CAUSE", "OUTCOME", "MESSAGE"]);
    for operation in &pass.operations {
        let fields = ["op", "network", "container", "object", "cause", "outcome", "message"];
        table.row(fields.map(|field| text(operation, field).into()));
    }
    for line in table.render(None).lines() {
        let _ = writeln!(page, "  {}", line.trim_end());
    }
    if pass.omitted > 0 {
        let _ = writeln!(page, "  and {} more, which only the log has", pass.omitted);
    }
    page
}
