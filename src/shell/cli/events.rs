//! `events`

use jiff::Timestamp;

use super::args::{SetArgs, StateArgs};
use super::output::style::{GOOD, UNCERTAIN};
use super::output::{Cell, DataFormat, Table, TableColumns};
use super::seen::{age, short_name};
use super::shared::StoreArgs;
use super::{Context, Error, Exit, record, target};
use crate::core::api::ObjectKey;
use crate::shell::store::Records;
use crate::shell::store::records::{EventRecord, EventType};

/// Shows what Landfall did and saw, the latest last
///
/// `run`, `apply` and `delete` write it down in the state directory of the machine they run on: the latest 10,000 events, of at most 30 days.
/// Nothing needs to be running for it to be shown.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only events about this object
    #[arg(long = "for", value_name = "KIND/NAME")]
    about: Option<String>,
    /// Only events about objects of this namespace
    #[arg(short, long, value_name = "NS", add = clap_complete::ArgValueCompleter::new(super::completion::complete_namespaces))]
    namespace: Option<String>,
    /// Events of all namespaces: the default
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Only events of these types, with commas between
    #[arg(long, value_name = "TYPE", value_delimiter = ',', ignore_case = true)]
    types: Vec<Type>,
    /// Only the latest ones, this many
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Go on with those that are to come, until interrupted
    #[arg(short, long)]
    watch: bool,
    /// Leave out the headings of tables
    #[arg(long)]
    no_headers: bool,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// Output format; with `--watch`, one document for each event
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
enum Type {
    Normal,
    Warning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    /// With the time, the server and the pass
    Wide,
    Json,
    Yaml,
}

const ALL: usize = usize::MAX;

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let store = args.store.records(&args.state, &args.set)?;
    let wanted = Wanted::new(args)?;
    let mut latest = 0;
    let found = wanted.read(context, store.as_ref(), &mut latest)?;
    if found.is_empty() && !args.watch {
        if let Some(format) = data_format(args) {
            print_list(context, format, &[])?;
        }
        let place = args.namespace.as_ref().map(|it| format!(" in the namespace {it:?}")).unwrap_or_default();
        context.say(&format!("No events found{place}."));
        return Ok(Exit::Done);
    }
    if !args.watch {
        match data_format(args) {
            Some(format) => print_list(context, format, &found)?,
            None => context.print(&table(args, &found, !args.no_headers).render(width(args, context)))?,
        }
        return Ok(Exit::Done);
    }
    let mut headings = !args.no_headers;
    let mut columns = TableColumns::default();
    let mut found = found;
    let mut seen = None;
    loop {
        if !found.is_empty() && !show(args, context, &found, headings, &mut columns)? {
            return Ok(Exit::Done);
        }
        headings &= found.is_empty();
        seen = record::changed(context, store.as_ref(), seen)?;
        found = wanted.read(context, store.as_ref(), &mut latest)?;
    }
}

/// False: whoever reads the output has gone.
fn show(
    args: &Args,
    context: &Context,
    events: &[EventRecord],
    headings: bool,
    columns: &mut TableColumns,
) -> Result<bool, Error> {
    match data_format(args) {
        Some(format) => {
            for event in events {
                if !context.print_data_while_read(format, event)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        None => {
            let table = table(args, events, headings);
            context.print_while_read(&table.render_below(columns, width(args, context)))
        }
    }
}

fn width(args: &Args, context: &Context) -> Option<usize> {
    if args.output == Format::Wide { None } else { context.width() }
}

fn data_format(args: &Args) -> Option<DataFormat> {
    match args.output {
        Format::Table | Format::Wide => None,
        Format::Json => Some(DataFormat::Json),
        Format::Yaml => Some(DataFormat::Yaml),
    }
}

fn print_list(context: &Context, format: DataFormat, items: &[EventRecord]) -> Result<(), Error> {
    let list = serde_json::json!({ "apiVersion": crate::core::api::API_VERSION, "kind": "List", "items": items });
    context.print_data(format, &list)
}

/// Which events.
struct Wanted<'a> {
    args: &'a Args,
    about: Option<Subject>,
}

/// `KIND/NAME` or `KIND/NAMESPACE/NAME`. It need not be declared: what is gone has a history.
struct Subject {
    kind: crate::core::api::Kind,
    namespace: Option<String>,
    name: String,
}

impl<'a> Wanted<'a> {
    fn new(args: &'a Args) -> Result<Self, Error> {
        let about = args.about.as_deref().map(|text| {
            let target = target::parse(text, &[])?;
            let [name] = target.names.as_slice() else {
                return Err(Error::new(format!("--for {text}: this names no object"))
                    .hint("write KIND/NAME, such as destination/web"));
            };
            let (namespace, name) = match name.split_once('/') {
                Some((namespace, name)) => (Some(namespace.to_owned()), name),
                None => (None, name.as_str()),
            };
            Ok(Subject { kind: target.kind, namespace, name: name.to_owned() })
        });
        Ok(Self { args, about: about.transpose()? })
    }

    /// Those after `latest`, which moves on; the oldest first.
    fn read(&self, context: &Context, store: &dyn Records, latest: &mut u64) -> Result<Vec<EventRecord>, Error> {
        let found = context.block_on(store.events(*latest, ALL))?;
        let mut found = found.map_err(|error| record::unreadable(&error))?;
        if let Some(newest) = found.first() {
            *latest = newest.id;
        }
        found.retain(|event| self.takes(event));
        found.truncate(self.args.limit.unwrap_or(ALL));
        found.reverse();
        Ok(found)
    }

    fn takes(&self, event: &EventRecord) -> bool {
        let word = match event.event_type {
            EventType::Normal => Type::Normal,
            EventType::Warning => Type::Warning,
        };
        let namespace = |wanted: &String| event.object.as_ref().is_some_and(|object| object.namespace == *wanted);
        (self.args.types.is_empty() || self.args.types.contains(&word))
            && self.args.namespace.as_ref().is_none_or(namespace)
            && self.about.as_ref().is_none_or(|about| event.object.as_ref().is_some_and(|object| about.is(object)))
    }
}

impl Subject {
    fn is(&self, object: &ObjectKey) -> bool {
        self.kind == object.kind
            && self.name == object.name
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == object.namespace)
    }
}

fn table(args: &Args, events: &[EventRecord], headings: bool) -> Table {
    let now = Timestamp::now();
    let wide = args.output == Format::Wide;
    let narrow = ["NAMESPACE", "LAST SEEN", "TYPE", "REASON", "OBJECT"];
    let more = ["TIME", "SERVER", "PASS"];
    let mut table = Table::new(narrow.into_iter().chain(more.into_iter().filter(|_| wide)).chain(["MESSAGE"]))
        .dispensable(&["NAMESPACE"]);
    for event in events {
        let object = event.object.as_ref();
        let style = if event.event_type == EventType::Warning { UNCERTAIN } else { GOOD };
        let mut cells: Vec<Cell> = vec![
            object.map(|object| object.namespace.clone()).unwrap_or_default().into(),
            age(&event.time.to_string(), now).into(),
            Cell::styled(event.event_type.as_str(), style),
            event.reason.as_str().into(),
            object.map_or("manifests".to_owned(), short_name).into(),
        ];
        if wide {
            cells.extend([
                format!("{:.0}", event.time).into(),
                event.server.as_ref().map(ObjectKey::path).unwrap_or_default().into(),
                event.pass.map(|pass| pass.to_string()).unwrap_or_default().into(),
            ]);
        }
        cells.push(event.message.as_str().into());
        table.row(cells);
    }
    if headings { table } else { table.without_headings() }
}
