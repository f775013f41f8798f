//! `describe KIND NAME`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use jiff::Timestamp;

use super::args::{ServerArgs, SetArgs, StateArgs};
use super::get::{condition_cell, status_cell, word};
use super::output::style::{BOLD, HINT};
use super::output::{Cell, Table};
use super::repository::{Loaded, SourceArgs};
use super::seen::{self, Seen, age, display_name};
use super::target::TargetArgs;
use super::{Context, Error, Exit, record, report, servers};
use crate::core::api::{ConditionStatus, Kind, Object, ObjectKey, Spec};
use crate::core::manifest::{Base, LocatedObject};
use crate::core::plan::facts::{EndpointFacts, NetworkFacts, SubnetFacts};
use crate::core::plan::{Blocker, DeleteMode, FreshIds, Note, NoteKind, Operation, PlanInput, Request, plan};
use crate::core::printable::{natural, one_line};
use crate::shell::engine::connect;
use crate::shell::secrets::reveal;
use crate::shell::store::records::EventRecord;

/// Shows everything about an object: what is declared, what there is, what is outstanding or blocked, and what to do next
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Show the connection URL of a database with its password
    #[arg(long)]
    show_secrets: bool,
    #[command(flatten)]
    source: SourceArgs,
    /// Namespace of the object
    #[arg(short, long, value_name = "NS", add = clap_complete::ArgValueCompleter::new(super::completion::complete_namespaces))]
    namespace: Option<String>,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let target = args.target.parse()?;
    let Loaded { manifests, .. } = args.source.load(&args.state, &args.set, context)?;
    let mut unknown: Vec<Error> = Vec::new();
    let keys: BTreeSet<ObjectKey> = if target.names.is_empty() {
        let namespace = |key: &ObjectKey| args.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
        seen::keys(&manifests, target.kind).filter(namespace).collect()
    } else {
        let named = target.names.iter().map(|name| target.require(name, args.namespace.as_deref(), &manifests));
        named.filter_map(|found| found.map_err(|error| unknown.push(error)).ok()).collect()
    };
    if let Some(last) = unknown.pop() {
        if keys.is_empty() {
            unknown.iter().for_each(|unknown| context.error(unknown));
            return Err(last);
        }
        unknown.push(last);
    }
    if keys.is_empty() {
        context.say(&format!("No {} found.", target.kind.plural()));
        return Ok(Exit::Done);
    }
    let seen = seen::look(context, &manifests, &keys, &args.set, &args.servers, &args.state, true)?;
    // Without a record there are none to show, and nothing else is missing.
    let events = match record::store(&args.state, &args.set) {
        Ok(store) => context.block_on(store.events(0, LOOKED_THROUGH))?.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let described: Vec<String> = keys
        .iter()
        .filter_map(|key| manifests.get(key))
        .map(|located| {
            let mut page = Page::new(&seen, context.width());
            page.reveal = args.show_secrets.then(|| manifests.base());
            let page = page.object(located);
            page + &Page::new(&seen, context.width()).events(&located.object.key(), &events)
        })
        .collect();
    context.print(&described.join("\n\n"))?;
    servers::complain(context, &seen.observed);
    // What is known is shown, and the rest named.
    unknown.iter().for_each(|unknown| context.error(unknown));
    Ok(if seen.complete() && unknown.is_empty() { Exit::Done } else { Exit::Failed })
}

/// The text about one object.
struct Page<'a> {
    seen: &'a Seen,
    width: Option<usize>,
    text: String,
    /// Secrets are shown: where their files are.
    reveal: Option<&'a Base>,
}

/// Of one object.
const EVENTS: usize = 10;
/// Of all objects, the latest.
const LOOKED_THROUGH: usize = 2_000;

/// Column at which the values begin.
const VALUES: usize = 18;

impl<'a> Page<'a> {
    fn new(seen: &'a Seen, width: Option<usize>) -> Self {
        Self { seen, width, text: String::new(), reveal: None }
    }

    fn object(mut self, located: &LocatedObject) -> String {
        let LocatedObject { object, location } = located;
        let key = object.key();
        self.field("Name", &key.name);
        self.field("Namespace", &key.namespace);
        self.field("Kind", key.kind.as_str());
        self.map("Labels", &object.metadata.labels);
        self.map("Annotations", &object.metadata.annotations);
        self.field("Declared in", &location.to_string());
        match &object.spec {
            Spec::Server(_) => self.server(object, &key),
            Spec::Destination(_) => self.destination(&key),
            Spec::Notifier(spec) => {
                self.field("Type", &word(&spec.notifier_type));
                let events: Vec<&str> = spec.events.iter().map(|event| event.as_str()).collect();
                self.field("Events", &events.join(", "));
                self.field("Namespaces", &spec.namespaces.join(", "));
                // Nothing of it is on any server.
                return self.text;
            }
            Spec::Application(_) | Spec::Database(_) | Spec::Service(_) => self.resource(&key),
        }
        self.conditions(&key);
        self.outstanding(&key);
        if key.kind == Kind::Destination {
            self.deletion(&key);
        }
        self.text
    }

    /// What happened to it last, the newest at the end; nothing where nothing is on record.
    fn events(mut self, key: &ObjectKey, events: &[EventRecord]) -> String {
        let own: Vec<_> = events.iter().filter(|event| event.object.as_ref() == Some(key)).take(EVENTS).collect();
        if own.is_empty() {
            return String::new();
        }
        self.heading("Events");
        let mut table = Table::new(["TYPE", "REASON", "AGE", "MESSAGE"]);
        let now = Timestamp::now();
        for event in own.into_iter().rev() {
            table.row([
                event.event_type.as_str().into(),
                event.reason.as_str().into(),
                age(&event.time.to_string(), now).into(),
                event.message.as_str().into(),
            ]);
        }
        self.table(&table);
        self.text
    }

    fn field(&mut self, name: &str, value: &str) {
        let value = if value.is_empty() { "<none>" } else { &one_line(value) };
        let _ = writeln!(self.text, "{BOLD}{:VALUES$}{BOLD:#}{value}", format!("{name}:"));
    }

    fn map(&mut self, name: &str, values: &BTreeMap<String, String>) {
        if values.is_empty() {
            return self.field(name, "");
        }
        for (at, (key, value)) in values.iter().enumerate() {
            let name = if at == 0 { format!("{name}:") } else { String::new() };
            let value = one_line(value);
            let _ = writeln!(self.text, "{BOLD}{name:VALUES$}{BOLD:#}{key}={value}");
        }
    }

    fn heading(&mut self, name: &str) {
        let _ = writeln!(self.text, "{BOLD}{name}:{BOLD:#}");
    }

    fn line(&mut self, name: &str, value: &str) {
        let width = VALUES - 2;
        let value = if value.is_empty() { "<none>" } else { &one_line(value) };
        let _ = writeln!(self.text, "  {:width$}{value}", format!("{name}:"));
    }

    fn table(&mut self, table: &Table) {
        for line in table.render(self.width.map(|width| width.saturating_sub(2))).lines() {
            let _ = writeln!(self.text, "  {line}");
        }
    }

    fn server(&mut self, object: &Object, key: &ObjectKey) {
        let Spec::Server(spec) = &object.spec else { return };
        self.field("Endpoint", &spec.endpoint);
        self.field("Role", &word(&spec.role));
        self.field("Allowed", &spec.allowed_namespaces.join(", "));
        if spec.suspend {
            self.field("Suspended", "yes");
        }
        let seen = self.seen;
        let Some(server) = seen.desired.servers.get(key) else { return };
        if let Some(note) = connect::note(server) {
            self.field("Connection", &note);
        }
        match seen.server_facts(key) {
            Some(facts) => {
                self.heading("Engine");
                self.line("Type", &word(&facts.server_type));
                self.line("Host", &facts.engine.name);
                self.line("Version", &facts.engine.version);
                self.line("Networks", &facts.networks.to_string());
                self.line("Containers", &facts.containers.to_string());
                let proxy = facts.proxy.as_ref().map(|proxy| format!("{} ({})", proxy.name, proxy.state));
                self.field("Proxy", &proxy.unwrap_or_default());
            }
            None => {
                self.field("Engine", "<unknown>");
                self.field("Proxy", server.proxy.as_ref().map(|proxy| proxy.instance.name()).unwrap_or_default());
            }
        }
        if server.destinations.is_empty() {
            return self.field("Destinations", "");
        }
        self.heading("Destinations");
        let mut table = Table::new(["DESTINATION", "NETWORK", "READY", "STATUS"]);
        for destination in &server.destinations {
            let (ready, reason, _) = seen.ready(&destination.key);
            let network = seen.destination_facts(&destination.key).and_then(|facts| facts.network.as_ref());
            let name = network.map(|network| network.name.clone()).or_else(|| destination.network.name.clone());
            table.row([
                destination.key.path().into(),
                name.unwrap_or_default().into(),
                status_cell(ready),
                reason.into(),
            ]);
        }
        self.table(&table);
    }

    fn destination(&mut self, key: &ObjectKey) {
        let seen = self.seen;
        let Some((server, destination)) = seen.destination(key) else { return };
        let facts = seen.destination_facts(key);
        let destination_type = facts.map_or("unknown type", |facts| facts.destination_type.as_str());
        self.field("Display name", &display_name(server, destination, facts).unwrap_or_default());
        self.field("Server", &format!("{} ({destination_type})", server.key.path()));
        let yes_no = |value| if value { "yes" } else { "no" };
        self.heading("Policy");
        self.line("Active", yes_no(destination.active));
        self.line("Proxy", yes_no(destination.proxy));
        self.line("Adopt", yes_no(destination.adopt));
        self.line("Membership", &word(&destination.membership));
        self.line("Replacement", &word(&destination.replacement));
        self.line("Deletion", destination.deletion_policy.as_str());
        if destination.suspend || server.suspend {
            self.line("Suspended", "yes");
        }
        match facts.and_then(|facts| facts.network.as_ref()) {
            Some(network) => self.network(network),
            None => {
                let declared = destination.network.name.as_deref().unwrap_or("a generated name");
                let exists = seen.status.condition(key, "NetworkExists").map(|it| it.status);
                let unknown = facts.is_none() || exists == Some(ConditionStatus::Unknown);
                let state = if unknown { "unknown" } else { "not there" };
                self.field("Network", &format!("{declared} ({state})"));
            }
        }
        let Some(facts) = facts else { return };
        match &facts.proxy {
            Some(proxy) => {
                self.heading("Proxy");
                self.endpoints(std::iter::once((None, true, proxy)));
            }
            None => self.field("Proxy", ""),
        }
        if facts.members.is_empty() {
            self.field("Members", "");
        } else {
            self.heading("Members");
            self.endpoints(
                facts.members.iter().map(|member| (Some(&member.resource), member.expected, &member.endpoint)),
            );
        }
        if !facts.missing.is_empty() {
            self.heading("Missing");
            for missing in &facts.missing {
                let container = missing.container.as_deref().unwrap_or("no container is selected");
                let _ = writeln!(
                    self.text,
                    "  {} {}: {}",
                    missing.resource.kind,
                    missing.resource.path(),
                    one_line(container)
                );
            }
        }
        let (kept, unmanaged): (Vec<_>, Vec<_>) = facts.unmanaged.iter().partition(|it| it.kept_for.is_some());
        for (heading, endpoints) in [("Kept until another takes its place", kept), ("Unmanaged", unmanaged)] {
            if !endpoints.is_empty() {
                self.heading(heading);
                self.endpoints(endpoints.into_iter().map(|endpoint| (None, true, endpoint)));
            }
        }
    }

    fn network(&mut self, network: &NetworkFacts) {
        self.heading("Network");
        self.line("Name", &network.name);
        self.line("Id", &network.id);
        self.line("Driver", &network.driver);
        let subnets = network.ipam.iter().map(|SubnetFacts { subnet, gateway, ip_range }| {
            let gateway = gateway.as_ref().map(|it| format!(", gateway {it}")).unwrap_or_default();
            let range = ip_range.as_ref().map(|it| format!(", addresses from {it}")).unwrap_or_default();
            format!("{subnet}{gateway}{range}")
        });
        self.line("Subnets", &subnets.collect::<Vec<_>>().join("; "));
        if network.internal {
            self.line("Internal", "yes");
        }
        if network.ipv6 {
            self.line("IPv6", "yes");
        }
        let age = age(&network.created, Timestamp::now());
        let created = match network.created.parse::<Timestamp>() {
            Ok(created) => format!("{created:.0} ({age} ago)"),
            Err(_) => network.created.clone(),
        };
        self.line("Created", &created);
        self.line("Owner", if network.adopted { "adopted: never removed" } else { "Landfall" });
    }

    fn resource(&mut self, key: &ObjectKey) {
        let seen = self.seen;
        if let Some(connection) = seen.connection(key) {
            let url = match self.reveal {
                None => connection.masked_url(),
                Some(base) => reveal(&connection.url(), base).unwrap_or_else(|why| format!("<unknown>: {why}")),
            };
            self.field("Connection URL", &url);
        }
        for placed in seen.placements(key) {
            self.heading(&format!("Destination {} on {}", placed.destination.path(), placed.server.path()));
            match placed.containers {
                None => self.line("Containers", "<unknown>"),
                Some(containers) if containers.is_empty() => self.line("Containers", ""),
                Some(containers) => {
                    self.endpoints(containers.into_iter().map(|(expected, endpoint)| (None, expected, endpoint)));
                }
            }
        }
    }

    fn endpoints<'e>(&mut self, endpoints: impl Iterator<Item = (Option<&'e ObjectKey>, bool, &'e EndpointFacts)>) {
        let mut rows: Vec<_> = endpoints.collect();
        rows.sort_by(|(a, _, one), (b, _, other)| a.cmp(b).then_with(|| natural(&one.container, &other.container)));
        let resources = rows.iter().any(|(resource, _, _)| resource.is_some());
        let images: Vec<Option<&str>> = rows.iter().map(|(_, _, endpoint)| endpoint.image.as_deref()).collect();
        let columns = ["CONTAINER", "ID", "STATE", "CONNECTED", "ADDRESS", "ALIASES"];
        let mut table = Table::new(["RESOURCE"].into_iter().filter(|_| resources).chain(columns)).dispensable(&["ID"]);
        for (resource, expected, endpoint) in rows {
            let addresses: Vec<&str> = [endpoint.ipv4_address.as_str(), endpoint.ipv6_address.as_str()]
                .into_iter()
                .filter(|address| !address.is_empty())
                .collect();
            let connected = match (endpoint.connected, expected) {
                (true, _) => "yes",
                (false, true) => "no",
                (false, false) => "isolated",
            };
            let cells: [Cell; 6] = [
                endpoint.container.as_str().into(),
                endpoint.container_id.get(..12).unwrap_or_default().into(),
                endpoint.state.into(),
                connected.into(),
                addresses.join(", ").into(),
                endpoint.aliases.join(", ").into(),
            ];
            let resource = resource.map(|key| Cell::from(format!("{} {}", key.kind, key.path())));
            table.row(resource.into_iter().chain(cells));
        }
        self.table(&table);
        let images: BTreeSet<&str> = images.into_iter().flatten().collect();
        if !images.is_empty() {
            self.line("Image", &images.into_iter().collect::<Vec<_>>().join(", "));
        }
    }

    fn conditions(&mut self, key: &ObjectKey) {
        self.heading("Conditions");
        let conditions = self.seen.conditions(key);
        // Without a record nobody knows.
        let dated = conditions.iter().any(|condition| condition.last_transition_time.is_some());
        let headings = ["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"];
        let mut table = Table::new(headings.into_iter().filter(|heading| dated || *heading != "SINCE"));
        let now = Timestamp::now();
        // Why a server was not observed is said on standard error, and the same sentence is said once.
        let unobserved = self.seen.observed.values().filter_map(|seen| seen.as_ref().err());
        let mut said: BTreeSet<&str> = unobserved.map(|unobserved| unobserved.message.as_str()).collect();
        for condition in conditions {
            let message = if said.insert(&condition.message) { condition.message.as_str() } else { "" };
            let since = condition.last_transition_time.as_deref().map(|time| age(time, now));
            let cells = [
                Some(Cell::from(condition.condition_type.as_str())),
                Some(condition_cell(condition)),
                dated.then(|| since.unwrap_or_default().into()),
                Some(condition.reason.as_str().into()),
                Some(message.into()),
            ];
            table.row(cells.into_iter().flatten());
        }
        self.table(&table);
    }

    /// Operations and notes about the object, and about a destination's members.
    fn outstanding(&mut self, key: &ObjectKey) {
        let seen = self.seen;
        let members: BTreeSet<&ObjectKey> = seen
            .destination(key)
            .map(|(_, destination)| destination.members.iter().map(|member| &member.resource).collect())
            .unwrap_or_default();
        let concerns = |object: &ObjectKey| object == key || members.contains(object);
        let operations: Vec<&Operation> = seen
            .plan
            .servers
            .iter()
            .flat_map(|server| &server.groups)
            .flat_map(|group| &group.operations)
            .filter(|operation| operation.objects().into_iter().any(concerns))
            .collect();
        let notes: Vec<&Note> = seen
            .plan
            .servers
            .iter()
            // Why a server was not observed is said on standard error.
            .flat_map(|server| server.notes.iter().filter(|_| server.server_type.is_some()))
            .filter(|note| concerns(&note.object))
            .collect();
        if !operations.is_empty() {
            self.heading("Outstanding");
            for operation in operations {
                let _ = writeln!(self.text, "  {}", one_line(&operation.to_string()));
            }
            let _ = writeln!(self.text, "  {HINT}next:{HINT:#} landfall apply");
        }
        if !notes.is_empty() {
            self.heading("Notes");
            for note in notes {
                report::write_note(&mut self.text, note, 2, self.width);
            }
        }
    }

    /// What would stand in the way of deleting it.
    fn deletion(&mut self, key: &ObjectKey) {
        let seen = self.seen;
        let Some((server, _)) = seen.destination(key) else { return };
        if seen.server_facts(&server.key).is_none() {
            return self.field("Deletion", "<unknown>");
        }
        let request = Request {
            delete: BTreeMap::from([(key.clone(), DeleteMode::Guarded)]),
            only_delete: true,
            ..Request::default()
        };
        let plan = plan(&PlanInput {
            desired: &seen.desired,
            observed: &seen.observed,
            request: &request,
            ids: &FreshIds::default(),
            journals: &[],
        });
        // What `delete` would do, and would not: the same plan.
        let notes: Vec<&Note> =
            plan.servers.iter().flat_map(|server| &server.notes).filter(|note| note.object == *key).collect();
        let removed = plan.servers.iter().flat_map(|server| &server.groups).any(|group| group.object == *key);
        let blockers: Vec<&Blocker> = notes.iter().flat_map(|note| &note.blockers).collect();
        if blockers.is_empty() {
            let told = notes.iter().find(|note| note.kind != NoteKind::Warning).or_else(|| notes.first());
            match told {
                None => self.field("Deletion", "nothing stands in the way"),
                Some(note) if removed => self.field("Deletion", &format!("possible; {}", note.message)),
                Some(note) => {
                    let word = if note.kind == NoteKind::Warning { "" } else { "refused: " };
                    self.field("Deletion", &format!("{word}{} ({})", note.message, note.reason));
                    if let Some(hint) = &note.hint {
                        let _ = writeln!(self.text, "  {HINT}hint:{HINT:#} {}", one_line(hint));
                    }
                }
            }
            return;
        }
        self.heading("Deletion blocked by");
        for blocker in blockers {
            let _ = writeln!(self.text, "  {}", one_line(&blocker.to_string()));
        }
        let _ = writeln!(
            self.text,
            "  {HINT}next:{HINT:#} move or delete these, then: landfall delete destination {} -n {}",
            key.name, key.namespace
        );
    }
}
