//! `drift -f PATH`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use super::args::{ScopeArgs, ServerArgs, SetArgs, StateArgs, desired};
use super::identity::IdentityArgs;
use super::output::style::{BAD, BOLD, DIM, GOOD, UNCERTAIN};
use super::output::{Cell, DataFormat, Table};
use super::repository::{Loaded, SourceArgs};
use super::{Context, Error, Exit, client, record, servers};
use crate::core::annotations;
use crate::core::api::ObjectKey;
use crate::core::desired::DesiredState;
use crate::core::drift::{Drift, DriftInput, DriftNote, Since, drift, junit, markdown, sarif, unused};
use crate::core::observed::{EngineEvent, Observations};
use crate::core::plan::{NoteKind, Reason, Request};
use crate::shell::engine::Reader;
use crate::shell::reconcile::Preview;
use crate::shell::slots::Turns;
use crate::shell::store::records::{CONTENDED, unused as unused_on_record};

/// Reports what moved away from the manifests, since when, and what no manifest declares
///
/// Changes nothing. Since when is known only where the daemon still remembers what happened: it keeps its latest 256 events.
/// Exits 1 when something drifted; what is merely unmanaged counts for nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    identity: IdentityArgs,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    state: StateArgs,
    /// Also report destinations that no container but the proxy is on; exits 1 where one has been so for as long as `--unused-for` says
    #[arg(long)]
    unused: bool,
    /// For how long no container has to have been on a destination; `landfall run` and `apply` keep since when that is so
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = super::args::parse_days, requires = "unused")]
    unused_for: Duration,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Yaml,
    /// For pull requests and job summaries
    Markdown,
    /// XML that CI systems read: a suite a server, a test case an object
    Junit,
    /// SARIF 2.1.0 for code scanning, located in the manifests
    Sarif,
    /// Annotations of GitHub Actions, at the lines of the manifests
    Github,
    /// The code quality report of GitLab
    Gitlab,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let Loaded { manifests, kept, identity, .. } = args.source.load(&args.state, &args.set, context)?;
    let selection = args.scope.select(&manifests, context);
    let mut desired = desired(&manifests, &args.set.set);
    desired.source = match kept {
        true => args.identity.given().or(identity),
        false => Some(args.identity.identify(&args.source.manifests, &args.source.git, &args.state)?),
    };
    if let Some(selection) = &selection {
        desired = selection.narrow(desired, false);
    }
    args.scope.narrow(&mut desired, &manifests)?;
    let kept = servers::kept(&args.state)?;
    let failed_attempts = context.block_on(client::failed_attempts(&args.state, &args.set))?;
    let request = Request { failed_attempts, ..Request::default() };
    let pass = servers::pass(&desired, &request, &kept, &args.servers);
    let Preview { observed, plan } = servers::preview(context, &pass, &args.servers)?;
    let events = context.block_on(remembered(&desired, &observed, &args.servers))?;
    let locations = manifests.objects().map(|it| (it.object.key(), it.location.clone())).collect();
    let mut report = drift(&DriftInput {
        desired: &desired,
        observed: &observed,
        plan: &plan,
        events: &events,
        locations: &locations,
    });
    let recorded = context.block_on(record::store(&args.state, &args.set)?.objects())?.unwrap_or_else(|error| {
        tracing::warn!("{error}; whether a controller repairs something in vain is not known");
        BTreeMap::new()
    });
    for (object, server, condition) in
        record::told_by_controller(&record::directory(&args.state, &args.set)?, &recorded)
    {
        let (reason, hint) = match condition.condition_type.as_str() {
            CONTENDED => {
                (Reason::Contended, Some("`landfall history` shows what was repaired and when; find what undoes it"))
            }
            _ => (Reason::MassDeletionRefused, None),
        };
        report.notes.push(DriftNote {
            kind: NoteKind::Warning,
            reason,
            server: Some(server),
            object,
            message: condition.message.to_string(),
            hint: hint.map(str::to_owned),
        });
    }
    if args.unused {
        let since = unused_on_record(&recorded);
        report.unused = Some(unused(&desired, &observed, &since, jiff::Timestamp::now(), args.unused_for));
    }
    if let Some(selection) = &selection {
        report = report.restrict(selection);
    }
    servers::complain(context, &observed);
    match args.output {
        Format::Table => context.print(&text(&report, context.width()))?,
        Format::Json => context.print_data(DataFormat::Json, &report)?,
        Format::Yaml => context.print_data(DataFormat::Yaml, &report)?,
        Format::Github => context.print(&annotations::github(&annotations::of_drift(&report)))?,
        Format::Gitlab => {
            context.print_data(DataFormat::Json, &annotations::gitlab(&annotations::of_drift(&report)))?;
        }
        Format::Markdown => context.print(&markdown(&report))?,
        Format::Junit => {
            let broken = |error| Error::new(format!("the report cannot be written as XML: {error}"));
            context.print(&junit(&report).map_err(broken)?)?;
        }
        Format::Sarif => context.print_data(DataFormat::Json, &sarif(&report, env!("CARGO_PKG_VERSION")))?,
    }
    Ok(exit(&report))
}

fn exit(report: &Drift) -> Exit {
    let mut exit = Exit::Done;
    if report.drifted || report.unused.iter().flatten().any(|unused| unused.due) {
        exit = exit.max(Exit::Differences);
    }
    if report.summary.unreachable > 0 {
        exit = exit.max(Exit::Failed);
    }
    if report.summary.refused > 0 {
        exit = exit.max(Exit::Refused);
    }
    exit
}

/// What the servers remember. Events that cannot be had cost the dates and nothing else.
async fn remembered(
    desired: &DesiredState,
    observed: &Observations,
    args: &ServerArgs,
) -> BTreeMap<ObjectKey, Vec<EngineEvent>> {
    let connect = servers::reader(servers::options(args));
    let readable = desired.servers.values().filter(|server| observed.get(&server.key).is_some_and(Result::is_ok));
    let histories = readable.map(|server| {
        let reader = connect(server);
        async move {
            let events = match reader {
                Ok(reader) => {
                    tokio::time::timeout(args.timeout, reader.recent_events(0)).await.ok().and_then(Result::ok)
                }
                Err(_) => None,
            };
            (server.key.clone(), events.unwrap_or_default())
        }
    });
    Turns::new(args.concurrency).all(histories).await.into_iter().collect()
}

fn text(report: &Drift, width: Option<usize>) -> String {
    let mut text = String::new();
    if !report.findings.is_empty() {
        let mut table = Table::new(["SERVER", "OBJECT", "REASON", "SINCE", "MESSAGE"]);
        for finding in &report.findings {
            let style = if finding.refused { BAD } else { UNCERTAIN };
            let mut message = finding.message.clone();
            if let Some(hint) = &finding.hint {
                let _ = write!(message, " Hint: {hint}.");
            }
            table.row([
                finding.server.clone().unwrap_or_default().into(),
                finding.object.to_string().into(),
                Cell::styled(finding.reason, style),
                since(finding.since.as_ref()).into(),
                message.into(),
            ]);
        }
        text.push_str(&table.render(width));
        text.push('\n');
    }
    if !report.unmanaged.is_empty() {
        let _ = writeln!(text, "{BOLD}Unmanaged{BOLD:#}");
        let mut table = Table::new(["SERVER", "KIND", "NAME", "NETWORK", "SINCE"]);
        for unmanaged in &report.unmanaged {
            table.row([
                unmanaged.server.clone().into(),
                format!("{:?}", unmanaged.kind).into(),
                unmanaged.name.clone().into(),
                unmanaged.network.clone().unwrap_or_default().into(),
                since(unmanaged.since.as_ref()).into(),
            ]);
        }
        text.push_str(&table.render(width));
        text.push('\n');
    }
    if let Some(unused) = report.unused.as_ref().filter(|unused| !unused.is_empty()) {
        let _ = writeln!(text, "{BOLD}Unused{BOLD:#}");
        let mut table = Table::new(["SERVER", "OBJECT", "NETWORK", "SINCE"]);
        for unused in unused {
            let since = unused.since.map_or_else(|| "not on record".to_owned(), |since| format!("{since:.0}"));
            table.row([
                unused.server.clone().into(),
                unused.object.to_string().into(),
                unused.network.clone().into(),
                Cell::styled(since, if unused.due { UNCERTAIN } else { DIM }),
            ]);
        }
        text.push_str(&table.render(width));
        text.push('\n');
    }
    for (kind, line) in report.note_lines() {
        let _ = writeln!(text, "{DIM}{kind}:{DIM:#} {line}");
    }
    let objects: usize =
        report.servers.iter().filter(|server| server.reachable).map(|server| server.objects.len()).sum();
    let unknown = match report.summary.unreachable {
        0 => String::new(),
        1 => "; 1 server could not be observed".to_owned(),
        count => format!("; {count} servers could not be observed"),
    };
    if report.drifted {
        let _ = writeln!(
            text,
            "{BAD}Drifted:{BAD:#} {} finding{}, {} refused{unknown}.",
            report.summary.findings,
            if report.summary.findings == 1 { "" } else { "s" },
            report.summary.refused
        );
    } else {
        let waiting = report.notes.iter().filter(|note| note.kind == NoteKind::Waiting).map(|note| &note.object);
        let waiting = match waiting.collect::<BTreeSet<_>>().len() {
            0 => String::new(),
            count => format!(", {count} of them not yet: see what is waited for"),
        };
        let _ = writeln!(
            text,
            "{GOOD}No drift:{GOOD:#} {objects} declared objects are as the manifests say{waiting}{unknown}."
        );
    }
    text
}

/// To the second, without a word for what is not known.
fn since(since: Option<&Since>) -> String {
    since.map(|since| format!("{:.0} {}", since.time, since.event)).unwrap_or_default()
}
