//! `get KIND [NAME]`

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use clap_complete::ArgValueCompleter;
use jiff::Timestamp;
use serde_json::json;

use super::args::{self, ScopeArgs, ServerArgs, SetArgs, StateArgs};
use super::completion::{complete_kinds, complete_names};
use super::follow::{FOR_EVER, Follower};
use super::jsonpath::{Columns, SortBy, Template};
use super::output::style::{BAD, GOOD, UNCERTAIN};
use super::output::{Cell, DataFormat, Table, TableColumns};
use super::repository::{Loaded, SourceArgs};
use super::seen::{self, Seen, age, display_name, short_name};
use super::shared::StoreArgs;
use super::storage::{self, Stored};
use super::target::{self, Target};
use super::{Context, Error, Exit, controllers, servers};
use crate::core::api::{Condition, ConditionStatus, Kind, Object, ObjectKey, Spec};
use crate::core::manifest::Manifests;
use crate::core::manifest::suggest::did_you_mean;
use crate::core::observed::Snapshot;
use crate::core::plan::facts::EndpointFacts;
use crate::core::printable::natural;
use crate::core::standing::Meaning;
use crate::shell::observe::Interest;

/// Shows declared objects with their status as observed now
///
/// KIND is server, destination, application, database or service, in the singular, the plural or short (dest, app, db, svc), several of
/// them with commas between (`dest,app`), or `all`. `images` and `volumes` are what the servers keep: who uses each, and which are unused.
/// `controllers` are those that share a store: `--store` says which.
/// A server that cannot be reached makes its objects Unknown, and the exit code 2.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Kind of object, several with commas between, KIND/NAME, or `all`
    #[arg(value_name = "KIND", add = ArgValueCompleter::new(complete_kinds))]
    kind: String,
    /// Name of the object, or NAMESPACE/NAME; repeats
    #[arg(value_name = "NAME", add = ArgValueCompleter::new(complete_names))]
    pub(super) names: Vec<String>,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    pub(super) scope: ScopeArgs,
    /// Save the complete observation of one server, for `diff --observed`; needs `-o json`
    #[arg(long)]
    pub(super) observed: bool,
    /// Go on with what changes, until interrupted: the objects that are declared now, whenever a server tells or every 5 s
    #[arg(short, long, conflicts_with = "observed")]
    pub(super) watch: bool,
    /// Of images and volumes, only those that no container uses and no manifest declares: what could be removed
    #[arg(long)]
    pub(super) unused: bool,
    /// Leave out the headings of tables
    #[arg(long)]
    pub(super) no_headers: bool,
    /// Order by this path into the objects, such as `.metadata.name` or `.status.network.created`; what lacks it comes first
    #[arg(long, value_name = "PATH", value_parser = SortBy::parse, conflicts_with_all = ["watch", "observed"])]
    pub(super) sort_by: Option<SortBy>,
    #[command(flatten)]
    pub(super) set: SetArgs,
    #[command(flatten)]
    pub(super) servers: ServerArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Output format: table (columns that fit the terminal), wide (more columns, however wide), json, yaml, name (KIND/NAME, one a line),
    /// jsonpath=TEMPLATE or custom-columns=HEADING:PATH,… as for kubectl
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_parser = Format::parse)]
    pub(super) output: Format,
}

#[derive(Debug, Clone)]
pub(super) enum Format {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
    /// `jsonpath={.items[*].metadata.name}`
    JsonPath(Template),
    /// `custom-columns=NAME:.metadata.name`
    Columns(Columns),
}

impl Format {
    /// The words that need nothing behind them.
    const WORDS: [&str; 5] = ["table", "wide", "json", "yaml", "name"];

    fn parse(text: &str) -> Result<Self, String> {
        let (word, rest) = text.split_once('=').map_or((text, None), |(word, rest)| (word, Some(rest)));
        match (word, rest) {
            ("table", None) => Ok(Self::Table),
            ("wide", None) => Ok(Self::Wide),
            ("json", None) => Ok(Self::Json),
            ("yaml", None) => Ok(Self::Yaml),
            ("name", None) => Ok(Self::Name),
            ("jsonpath", rest) => Template::parse(rest.unwrap_or_default()).map(Self::JsonPath),
            ("custom-columns", rest) => Columns::parse(rest.unwrap_or_default()).map(Self::Columns),
            _ => {
                let words = Self::WORDS.into_iter().chain(["jsonpath=TEMPLATE", "custom-columns=HEADING:PATH,…"]);
                let near = did_you_mean(word, Self::WORDS.into_iter().chain(["jsonpath", "custom-columns"]));
                let near = near.map(|near| format!("; {near}")).unwrap_or_default();
                Err(format!("there is no such format{near}; formats are {}", words.collect::<Vec<_>>().join(", ")))
            }
        }
    }

    fn is_name(&self) -> bool {
        matches!(self, Self::Name)
    }

    /// Made from what `-o json` prints.
    fn is_of_documents(&self) -> bool {
        matches!(self, Self::Json | Self::Yaml | Self::JsonPath(_) | Self::Columns(_))
    }

    pub(super) fn is_wide(&self) -> bool {
        matches!(self, Self::Wide)
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    if controllers::is_meant(&args.kind) {
        return controllers::run(args, context);
    }
    // A word that means nothing is told before manifests are read.
    if Stored::parse(&args.kind).is_none() {
        kinds(&args.kind, &args.names)?;
    }
    let Loaded { manifests, .. } = args.source.load(&args.state, &args.set, context)?;
    if let Some(stored) = Stored::parse(&args.kind) {
        return storage::run(args, stored, context, &manifests);
    }
    if args.unused {
        return Err(Error::new("`--unused` is for images and volumes").hint("landfall get volumes --unused"));
    }
    let kinds = kinds(&args.kind, &args.names)?;
    let Chosen { keys, unknown } = chosen(args, context, &manifests, &kinds)?;
    let exit = show(args, context, &manifests, &kinds, keys)?;
    // What is known is shown, and the rest named.
    unknown.iter().for_each(|unknown| context.error(unknown));
    Ok(if unknown.is_empty() { exit } else { exit.max(Exit::Failed) })
}

fn show(
    args: &Args,
    context: &Context,
    manifests: &Manifests,
    kinds: &[Target],
    keys: BTreeSet<ObjectKey>,
) -> Result<Exit, Error> {
    if args.observed {
        return observation(args, context, manifests, &keys);
    }
    if keys.is_empty() {
        print_documents(args, context, &[], None)?;
        let what = if kinds.len() == 1 { kinds[0].kind.plural() } else { "objects" };
        let place = args.scope.namespace.as_ref().map(|it| format!(" in the namespace {it:?}")).unwrap_or_default();
        context.say(&format!("No {what} found{place}."));
        return Ok(Exit::Done);
    }
    if args.watch {
        return watch(args, context, manifests, kinds, &keys);
    }
    if args.output.is_name() && args.sort_by.is_none() {
        // Declared is declared, whatever the servers say.
        let names: String = in_order(&keys).into_iter().map(|key| short_name(key) + "\n").collect();
        context.print(&names)?;
        return Ok(Exit::Done);
    }
    let seen = seen::look(context, manifests, &keys, &args.set, &args.servers, &args.state, false)?;
    let keys = in_order(&keys);
    let mut objects: Vec<&Object> =
        keys.iter().filter_map(|key| manifests.get(key)).map(|located| &located.object).collect();
    let mut documents = Vec::new();
    if args.sort_by.is_some() || args.output.is_of_documents() {
        documents = objects.iter().map(|object| seen.document(object)).collect::<Result<_, _>>()?;
    }
    if let Some(by) = &args.sort_by {
        let mut sorted: Vec<_> = objects.into_iter().zip(documents).collect();
        sorted.sort_by(|(_, a), (_, b)| by.compare(a, b));
        (objects, documents) = sorted.into_iter().unzip();
    }
    match args.output {
        Format::Name => {
            context.print(&objects.iter().map(|object| short_name(&object.key()) + "\n").collect::<String>())?;
        }
        Format::Table | Format::Wide => {
            let mut columns = BTreeMap::new();
            let tables = tables(args, context, &seen, kinds, &objects, !args.no_headers, &mut columns);
            context.print(&tables.join("\n"))?;
        }
        Format::Json | Format::Yaml | Format::JsonPath(_) | Format::Columns(_) => {
            let single = (kinds.len() == 1 && kinds[0].names.len() == 1).then(|| documents.first()).flatten();
            print_documents(args, context, &documents, single)?;
        }
    }
    servers::complain(context, &seen.observed);
    Ok(if seen.complete() { Exit::Done } else { Exit::Failed })
}

/// As people count.
fn in_order(keys: &BTreeSet<ObjectKey>) -> Vec<&ObjectKey> {
    let mut keys: Vec<&ObjectKey> = keys.iter().collect();
    keys.sort_by(|a, b| {
        a.kind.cmp(&b.kind).then_with(|| natural(&a.namespace, &b.namespace)).then_with(|| natural(&a.name, &b.name))
    });
    keys
}

/// One table for each kind, below the one that it has already.
fn tables(
    args: &Args,
    context: &Context,
    seen: &Seen,
    kinds: &[Target],
    objects: &[&Object],
    headings: bool,
    columns: &mut BTreeMap<Kind, TableColumns>,
) -> Vec<String> {
    let wide = args.output.is_wide();
    let width = if wide { None } else { context.width() };
    let mut sections = Vec::new();
    for target in kinds {
        let of_kind: Vec<&Object> =
            objects.iter().copied().filter(|object| object.spec.kind() == target.kind).collect();
        if !of_kind.is_empty() {
            let table = table(seen, target.kind, &of_kind, wide, kinds.len() > 1);
            let table = if headings { table } else { table.without_headings() };
            sections.push(table.render_below(columns.entry(target.kind).or_default(), width));
        }
    }
    sections
}

/// Everything once, then what differs from what was shown last.
fn watch(
    args: &Args,
    context: &Context,
    manifests: &Manifests,
    kinds: &[Target],
    keys: &BTreeSet<ObjectKey>,
) -> Result<Exit, Error> {
    let mut follower = Follower::new(manifests, keys, &args.set, &args.servers, &args.state)?;
    let keys = in_order(keys);
    let objects: Vec<&Object> =
        keys.iter().filter_map(|key| manifests.get(key)).map(|located| &located.object).collect();
    let mut shown: BTreeMap<ObjectKey, serde_json::Value> = BTreeMap::new();
    let (mut of_kinds, mut own_columns) = (BTreeMap::new(), TableColumns::default());
    context.block_on(async {
        loop {
            let seen = follower.look().await?;
            let first = shown.is_empty();
            if first {
                servers::complain(context, &seen.observed);
            }
            let mut changed = Vec::new();
            for object in objects.iter().copied() {
                let document = seen.document(object)?;
                if shown.get(&object.key()) != Some(&document) {
                    shown.insert(object.key(), document);
                    changed.push(object);
                }
            }
            let mut read = true;
            match &args.output {
                Format::JsonPath(template) => {
                    let lines: String =
                        changed.iter().map(|object| line(&template.render(&shown[&object.key()]))).collect();
                    read = context.print_while_read(&lines)?;
                }
                Format::Columns(columns) => {
                    let documents: Vec<_> = changed.iter().map(|object| shown[&object.key()].clone()).collect();
                    let table = columns.table(&documents);
                    let table = if first && !args.no_headers { table } else { table.without_headings() };
                    read = documents.is_empty()
                        || context.print_while_read(&table.render_below(&mut own_columns, None))?;
                }
                Format::Json | Format::Yaml => {
                    for object in &changed {
                        read &= context.print_data_while_read(data_format(args), &shown[&object.key()])?;
                    }
                }
                Format::Name => {
                    let names: String = changed.iter().map(|object| short_name(&object.key()) + "\n").collect();
                    read = context.print_while_read(&names)?;
                }
                Format::Table | Format::Wide => {
                    let headings = first && !args.no_headers;
                    let tables = tables(args, context, &seen, kinds, &changed, headings, &mut of_kinds);
                    read = context.print_while_read(&tables.concat())?;
                }
            }
            if !read {
                return Ok(Exit::Done);
            }
            follower.changed(FOR_EVER).await;
        }
    })?
}

/// What is asked for: a kind, several with commas between, or `all`. Names go with each of them, as for kubectl.
fn kinds(kinds: &str, names: &[String]) -> Result<Vec<Target>, Error> {
    let mut targets: Vec<Target> = Vec::new();
    for kind in kinds.split(',') {
        if kind.eq_ignore_ascii_case("all") {
            if !names.is_empty() {
                return Err(Error::new("`all` takes no name"));
            }
            targets.extend(Kind::ALL.into_iter().map(|kind| Target { kind, names: Vec::new() }));
        } else {
            targets.push(target::parse(kind, names).map_err(|error| unknown(kind).unwrap_or(error))?);
        }
    }
    let mut merged: Vec<Target> = Vec::new();
    for target in targets {
        match merged.iter_mut().find(|other| other.kind == target.kind) {
            // All of a kind includes the named ones.
            Some(other) if other.names.is_empty() || target.names.is_empty() => other.names.clear(),
            Some(other) => other.names.extend(target.names),
            None => merged.push(target),
        }
    }
    Ok(merged)
}

/// Beside the kinds of manifests there are some that only `get` knows. `None`: it is one of the former.
fn unknown(word: &str) -> Option<Error> {
    let word = word.split('/').next().unwrap_or(word).to_lowercase();
    if word.parse::<Kind>().is_ok() {
        return None;
    }
    if Stored::parse(&word).is_some() {
        return Some(
            Error::new(format!("{word} cannot be listed together with other kinds"))
                .hint(format!("landfall get {word}")),
        );
    }
    let kinds = || Kind::ALL.iter().map(|kind| kind.plural()).chain(["images", "volumes", "all"]);
    let error = Error::new(format!("unknown kind {word:?}; there are {}", kinds().collect::<Vec<_>>().join(", ")));
    let near = did_you_mean(&word, kinds().flat_map(|kind| [kind, kind.trim_end_matches('s')]));
    Some(match near {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

pub(super) fn data_format(args: &Args) -> DataFormat {
    if matches!(args.output, Format::Yaml) { DataFormat::Yaml } else { DataFormat::Json }
}

/// For the formats that are made from documents: a list of them, or the one that was asked for by its name.
pub(super) fn print_documents(
    args: &Args,
    context: &Context,
    documents: &[serde_json::Value],
    single: Option<&serde_json::Value>,
) -> Result<(), Error> {
    let list = || json!({ "apiVersion": crate::core::api::API_VERSION, "kind": "List", "items": documents });
    let document = single.map_or_else(|| Cow::Owned(list()), Cow::Borrowed);
    match &args.output {
        Format::Json | Format::Yaml => context.print_data(data_format(args), &document),
        Format::JsonPath(template) => context.print(&template.render(&document)),
        Format::Columns(columns) => {
            let table = columns.table(documents);
            context.print(&if args.no_headers { table.without_headings() } else { table }.render(None))
        }
        Format::Table | Format::Wide | Format::Name => Ok(()),
    }
}

/// Ended, for what is told one after the other.
fn line(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

/// The objects asked for: those that there are, and what to say of each that there is not.
struct Chosen {
    keys: BTreeSet<ObjectKey>,
    unknown: Vec<Error>,
}

fn chosen(args: &Args, context: &Context, manifests: &Manifests, kinds: &[Target]) -> Result<Chosen, Error> {
    let scope = args.scope.scope();
    let mut keys = BTreeSet::new();
    let mut unknown = Vec::new();
    for target in kinds {
        if target.names.is_empty() {
            let objects = manifests.objects().map(|located| &located.object);
            keys.extend(
                objects.filter(|object| object.spec.kind() == target.kind && scope.takes(object)).map(Object::key),
            );
        }
        for name in &target.names {
            match target.require(name, args.scope.namespace.as_deref(), manifests) {
                Ok(key) => drop(keys.insert(key)),
                Err(error) => unknown.push(error),
            }
        }
    }
    if keys.is_empty()
        && let Some(last) = unknown.pop()
    {
        unknown.iter().for_each(|unknown| context.error(unknown));
        return Err(last);
    }
    if let Some(servers) = args.scope.servers(manifests)? {
        let desired = args::desired(manifests, &args.set.set);
        let servers: Vec<_> = servers.iter().filter_map(|server| desired.servers.get(server)).collect();
        keys.retain(|key| servers.iter().any(|server| *key == server.key || server.has(key)));
    }
    Ok(Chosen { keys, unknown })
}

/// `get server NAME -o json --observed`
fn observation(
    args: &Args,
    context: &Context,
    manifests: &Manifests,
    keys: &BTreeSet<ObjectKey>,
) -> Result<Exit, Error> {
    let mut keys = keys.iter();
    let (Some(key), None) = (keys.next().filter(|key| key.kind == Kind::Server), keys.next()) else {
        return Err(Error::new("--observed saves the observation of one server")
            .hint("landfall get server NAME -o json --observed > NAME.json"));
    };
    if !matches!(args.output, Format::Json) {
        // `diff --observed` reads nothing else.
        return Err(Error::new("--observed needs `-o json`").hint(format!(
            "landfall get server {} -n {} -o json --observed > {}.json",
            key.name, key.namespace, key.name
        )));
    }
    let mut desired = args::desired(manifests, &args.set.set);
    desired.narrow(|server, _| server == key);
    let mut observed = servers::observe(context, &desired, &args.servers, |_| Interest::All)?;
    servers::complain(context, &observed);
    match observed.remove(key) {
        Some(Ok(state)) => {
            context.print_data(DataFormat::Json, &Snapshot::new(key, state))?;
            Ok(Exit::Done)
        }
        _ => Ok(Exit::Failed),
    }
}

pub(super) fn status_word(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    }
}

pub(super) fn status_cell(status: ConditionStatus) -> Cell {
    let style = match status {
        ConditionStatus::True => GOOD,
        ConditionStatus::False => BAD,
        ConditionStatus::Unknown => UNCERTAIN,
    };
    Cell::styled(status_word(status), style)
}

/// By what it means: of some conditions False is as it should be.
pub(super) fn condition_cell(condition: &Condition) -> Cell {
    let word = status_word(condition.status);
    match Meaning::of(condition) {
        Meaning::Good => Cell::styled(word, GOOD),
        Meaning::Neutral => word.into(),
        Meaning::Unsure => Cell::styled(word, UNCERTAIN),
        Meaning::Bad => Cell::styled(word, BAD),
    }
}

/// `2/3`, and what is not running: `(1 exited)`. A container that stands still is on its networks all the same.
fn count<'a>(connected: usize, expected: usize, endpoints: impl Iterator<Item = &'a EndpointFacts>) -> String {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for endpoint in endpoints.filter(|endpoint| !endpoint.is_running()) {
        *states.entry(endpoint.state).or_default() += 1;
    }
    let states: Vec<String> = states.into_iter().map(|(state, count)| format!("{count} {state}")).collect();
    let states = if states.is_empty() { String::new() } else { format!(" ({})", states.join(", ")) };
    format!("{connected}/{expected}{states}")
}

fn table(seen: &Seen, kind: Kind, objects: &[&Object], wide: bool, prefixed: bool) -> Table {
    let now = Timestamp::now();
    let (narrow, more): (&[&'static str], &[&'static str]) = match kind {
        Kind::Server => (
            &["NAMESPACE", "NAME", "TYPE", "ENGINE", "PROXY", "DESTINATIONS", "READY", "STATUS"],
            &["ENDPOINT", "NETWORKS", "CONTAINERS", "MESSAGE"],
        ),
        Kind::Destination => (
            &["NAMESPACE", "NAME", "SERVER", "NETWORK", "TYPE", "READY", "STATUS", "MEMBERS", "PROXY", "AGE"],
            &["SUBNETS", "ID", "DISPLAY NAME", "MESSAGE"],
        ),
        Kind::Notifier => (&["NAMESPACE", "NAME", "TYPE", "EVENTS"], &["NAMESPACES"]),
        Kind::Application | Kind::Database | Kind::Service => (
            &["NAMESPACE", "NAME", "DESTINATION", "CONTAINERS", "READY", "STATUS"],
            &["ADDRESSES", "SERVER", "MESSAGE"],
        ),
    };
    let dispensable: &[&'static str] = match kind {
        Kind::Server => &["ENGINE", "DESTINATIONS", "TYPE", "PROXY"],
        Kind::Destination => &["AGE", "TYPE", "PROXY", "MEMBERS", "SERVER", "NETWORK"],
        Kind::Application | Kind::Database | Kind::Service => &["DESTINATION", "CONTAINERS"],
        Kind::Notifier => &["EVENTS"],
    };
    let headings = narrow.iter().chain(more.iter().filter(|_| wide)).copied();
    let mut table = Table::new(headings).dispensable(dispensable);
    for object in objects {
        let key = object.key();
        let name = if prefixed { short_name(&key) } else { key.name.to_string() };
        let (ready, reason, message) = seen.ready(&key);
        let mut cells: Vec<Cell> = vec![key.namespace.as_str().into(), name.into()];
        let more: Vec<Cell> = match &object.spec {
            Spec::Server(spec) => {
                let facts = seen.server_facts(&key);
                let server = seen.desired.servers.get(&key);
                let proxy =
                    match (facts.and_then(|facts| facts.proxy.as_ref()), server.and_then(|it| it.proxy.as_ref())) {
                        (Some(proxy), _) => format!("{} ({})", proxy.name, proxy.state),
                        (None, Some(proxy)) => proxy.instance.name().to_owned(),
                        (None, None) => String::new(),
                    };
                let count = |count: Option<usize>| count.map(|count| count.to_string()).unwrap_or_default();
                cells.extend([
                    facts.map(|facts| word(&facts.server_type)).unwrap_or_default().into(),
                    facts.map(|facts| facts.engine.version.clone()).unwrap_or_default().into(),
                    proxy.into(),
                    server.map_or(0, |server| server.destinations.len()).to_string().into(),
                    status_cell(ready),
                    reason.into(),
                ]);
                vec![
                    spec.endpoint.as_str().into(),
                    count(facts.map(|facts| facts.networks)).into(),
                    count(facts.map(|facts| facts.containers)).into(),
                    message.into(),
                ]
            }
            Spec::Destination(_) => {
                let Some((server, destination)) = seen.destination(&key) else { continue };
                let facts = seen.destination_facts(&key);
                let network = facts.and_then(|facts| facts.network.as_ref());
                let name = network.map(|network| network.name.clone()).or_else(|| destination.network.name.clone());
                let proxy = match facts.and_then(|facts| facts.proxy.as_ref()) {
                    Some(proxy) if proxy.connected => "connected",
                    Some(_) => "disconnected",
                    None if facts.is_some() && server.proxy.is_some() && destination.proxy && destination.active => {
                        "missing"
                    }
                    None => "",
                };
                let members = facts.map(|facts| {
                    let expected = facts.members.iter().filter(|member| member.expected);
                    let connected = expected.clone().filter(|member| member.endpoint.connected).count();
                    let endpoints = expected.clone().map(|member| &member.endpoint);
                    count(connected, expected.count() + facts.missing.len(), endpoints)
                });
                cells.extend([
                    server.key.path().into(),
                    name.unwrap_or_default().into(),
                    facts.map(|facts| facts.destination_type.as_str()).unwrap_or_default().into(),
                    status_cell(ready),
                    reason.into(),
                    members.unwrap_or_default().into(),
                    proxy.into(),
                    network.map(|network| age(&network.created, now)).unwrap_or_default().into(),
                ]);
                vec![
                    network.map(|network| network.subnets.join(",")).unwrap_or_default().into(),
                    network.map(|network| network.id.get(..12).unwrap_or_default()).unwrap_or_default().into(),
                    display_name(server, destination, facts).unwrap_or_default().into(),
                    message.into(),
                ]
            }
            Spec::Notifier(spec) => {
                let events: Vec<&str> = spec.events.iter().map(|event| event.as_str()).collect();
                cells.extend([word(&spec.notifier_type).into(), events.join(",").into()]);
                vec![spec.namespaces.join(",").into()]
            }
            Spec::Application(_) | Spec::Database(_) | Spec::Service(_) => {
                let placements = seen.placements(&key);
                let containers = || placements.iter().filter_map(|placed| placed.containers.as_ref()).flatten();
                let connected = containers().filter(|(_, endpoint)| endpoint.connected).count();
                let expected = containers().filter(|(expected, _)| *expected).count();
                let missing = placements.iter().map(|placed| placed.missing).sum::<usize>();
                let number = match (expected, containers().count()) {
                    (0, 0) if placements.iter().all(|placed| placed.containers.is_none()) => String::new(),
                    // A stack that keeps to its own network: how many it has.
                    (0, all) if missing == 0 => all.to_string(),
                    (expected, _) => {
                        let endpoints = containers().filter(|(expected, _)| *expected).map(|(_, endpoint)| *endpoint);
                        count(connected.min(expected), expected + missing, endpoints)
                    }
                };
                let destinations: Vec<String> = placements
                    .iter()
                    .map(|placed| match placed.destination.namespace == key.namespace {
                        true => placed.destination.name.to_string(),
                        false => placed.destination.path(),
                    })
                    .collect();
                let servers: BTreeSet<String> = placements.iter().map(|placed| placed.server.path()).collect();
                let addresses: Vec<&str> = containers()
                    .flat_map(|(_, endpoint)| [endpoint.ipv4_address.as_str(), endpoint.ipv6_address.as_str()])
                    .filter(|address| !address.is_empty())
                    .collect();
                cells.extend([destinations.join(",").into(), number.into(), status_cell(ready), reason.into()]);
                vec![
                    addresses.join(",").into(),
                    servers.into_iter().collect::<Vec<_>>().join(",").into(),
                    message.into(),
                ]
            }
        };
        if wide {
            cells.extend(more);
        }
        table.row(cells);
    }
    table
}

/// As in the documents.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
