//! `diff -f PATH`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{self, ScopeArgs, ServerArgs, SetArgs, StateArgs};
use super::client::failed_attempts;
use super::identity::IdentityArgs;
use super::output::DataFormat;
use super::repository::{Loaded, SourceArgs};
use super::{Context, Error, Exit, record, report, servers};
use crate::core::api::{Kind, ObjectKey};
use crate::core::desired::DesiredState;
use crate::core::manifest::Manifests;
use crate::core::observed::{Observations, Snapshot, Unobserved, UnobservedReason};
use crate::core::plan::{FreshIds, Journal, Note, NoteKind, Plan, PlanInput, Reason, Request, plan};
use crate::core::printable::capitalized;
use crate::core::report::Report;
use crate::core::scope::Selection;
use crate::shell::reconcile::Preview;

/// Shows what `apply` would do and why, and changes nothing
///
/// Exit code 0: nothing differs. 1: there are differences. 2: an error, such as a server that cannot be reached.
/// 3: something would be refused.
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
    pruning: PruneArgs,
    /// Plan from a saved observation instead of asking servers; one file for each server, made by
    /// `get server NAME -o json --observed`; repeats
    #[arg(long, value_name = "FILE")]
    observed: Vec<PathBuf>,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    state: StateArgs,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// What of the no longer declared is removed.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PruneArgs {
    /// Remove what the set owns and the manifests no longer declare
    // Labels of what is no longer declared are not known.
    #[arg(long, conflicts_with = "selector")]
    pub(super) prune: bool,
    /// Remove more than max(1, 20 %) of the set's destinations of a server at once, or all of them, or disconnect more than max(5, 20 %) of its
    /// endpoints
    #[arg(long, requires = "prune")]
    pub(super) allow_mass_delete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// One line for each operation and note
    Table,
    Json,
    Yaml,
    /// For the comment on a merge request
    Markdown,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let Loaded { manifests, revision, kept, identity, .. } = args.source.load(&args.state, &args.set, context)?;
    let selection = args.scope.select(&manifests, context);
    let mut request =
        Request { prune: args.pruning.prune, allow_mass_delete: args.pruning.allow_mass_delete, ..Request::default() };
    if args.observed.is_empty() {
        let store = record::store(&args.state, &args.set)?;
        request.overlays = record::overlays(context, store.as_ref())?.into();
        request.guarded = Arc::new(record::guarded(context, store.as_ref())?.into_keys().collect());
        request.failed_attempts = context.block_on(failed_attempts(&args.state, &args.set))?;
    }
    if request.prune && args.observed.is_empty() {
        request.protected = record::protecting(context, record::store(&args.state, &args.set)?.as_ref())?.into();
    }
    let mut desired = args::desired(&manifests, &args.set.set);
    desired.source = match kept {
        true => args.identity.given().or(identity),
        false => Some(args.identity.identify(&args.source.manifests, &args.source.git, &args.state)?),
    };
    if let Some(selection) = &selection {
        desired = selection.narrow(desired, request.prune);
    }
    args.scope.narrow(&mut desired, &manifests)?;
    let prunes = !request.prune && args.scope.selector.is_none();
    let pruning = prunes.then(|| Pruning::new(args, context, &request)).transpose()?;
    let mut found = Found { pruning, selection: selection.as_ref(), ..Found::of(&desired, revision) };
    if args.observed.is_empty() {
        // All that is needed of them is in the desired state, and there may be a hundred thousand.
        drop(manifests);
        let kept = servers::kept(&args.state)?;
        let pass = servers::pass(&desired, &request, &kept, &args.servers);
        servers::survey(context, &pass, &args.servers, |desired, preview| found.take(desired, preview))?;
    } else {
        // Nothing that is kept on this machine takes part: the plan is to come out the same everywhere.
        let observed = replay(&args.observed, &desired, &manifests)?;
        let input = PlanInput {
            desired: &desired,
            observed: &observed,
            request: &request,
            ids: &FreshIds::default(),
            journals: &[],
        };
        let plan = plan(&input);
        found.take(&desired, Preview { observed, plan });
    }
    let Found { report: planned, unobserved: observed, .. } = found;
    show(context, &planned, &observed, args.output)?;
    if planned.tally() == crate::core::report::Tally::default() {
        context.say(&format!("No differences{}{}.", report::waited_for(&planned), pruned(&planned)));
    } else {
        context.say(&format!("{}{}.", capitalized(&planned.summary()), pruned(&planned)));
    }
    Ok(report::exit(&planned, true))
}

/// What is to be shown of the servers that were looked at: little of each, for there may be a thousand.
struct Found<'a> {
    report: Report,
    unobserved: Observations,
    pruning: Option<Pruning>,
    selection: Option<&'a Selection>,
}

impl Found<'_> {
    fn of(desired: &DesiredState, revision: Option<String>) -> Self {
        let nothing = Plan { set: desired.set.clone(), servers: Vec::new(), notes: Vec::new() };
        let report = Report { revision, ..Report::planned(nothing) };
        Self { report, unobserved: Observations::new(), pruning: None, selection: None }
    }

    fn take(&mut self, desired: &DesiredState, Preview { observed, mut plan }: Preview) {
        let pruned = self.pruning.as_ref().map(|pruning| pruning.plan(desired, &observed));
        if let Some(Pruned { refused, .. }) = &pruned {
            unpromised(&mut plan, refused);
        }
        let mut report = Report::planned(self.restrict(plan));
        if let Some(Pruned { plan, .. }) = pruned {
            report = report.with_prune(self.restrict(plan));
        }
        self.report.extend(report);
        self.unobserved.extend(observed.into_iter().filter(|(_, seen)| seen.is_err()));
    }

    fn restrict(&self, plan: Plan) -> Plan {
        match self.selection {
            Some(selection) => selection.restrict(plan),
            None => plan,
        }
    }
}

/// A plan with everything removed that pruning would remove, however much that is.
struct Pruned {
    plan: Plan,
    /// What pruning says it would not do: too much at once, by server, and what was refused, by object.
    refused: Vec<Note>,
}

/// How to plan with everything removed that pruning would remove.
struct Pruning {
    request: Request,
    journals: Vec<Journal>,
}

impl Pruning {
    fn new(args: &Args, context: &Context, request: &Request) -> Result<Self, Error> {
        let (protected, journals) = match args.observed.is_empty() {
            true => (
                record::protecting(context, record::store(&args.state, &args.set)?.as_ref())?,
                servers::kept(&args.state)?.journals(context)?,
            ),
            false => (BTreeSet::new(), Vec::new()),
        };
        let request = Request { prune: true, protected: protected.into(), ..request.clone() };
        Ok(Self { request, journals })
    }

    fn plan(&self, desired: &DesiredState, observed: &Observations) -> Pruned {
        let plan = self.plan_for(&self.request, desired, observed);
        let mut refused: Vec<Note> = self::refused(&plan).collect();
        if plan.servers.iter().all(|server| server.withheld.is_none()) {
            return Pruned { plan, refused };
        }
        let unlimited = Request { allow_mass_delete: true, ..self.request.clone() };
        let plan = self.plan_for(&unlimited, desired, observed);
        refused.extend(self::refused(&plan));
        Pruned { plan, refused }
    }

    fn plan_for(&self, request: &Request, desired: &DesiredState, observed: &Observations) -> Plan {
        let journals = &self.journals;
        plan(&PlanInput { desired, observed, request, ids: &FreshIds::default(), journals })
    }
}

fn refused(plan: &Plan) -> impl Iterator<Item = Note> {
    let notes = plan.servers.iter().flat_map(|server| &server.notes).chain(&plan.notes);
    notes.filter(|note| note.kind == NoteKind::Refused).cloned()
}

/// What is said without `--prune` of what is left over promises nothing that `--prune` then refuses.
fn unpromised(plan: &mut Plan, unpruned: &[Note]) {
    for server in &mut plan.servers {
        let mass = unpruned.iter().find(|it| it.reason == Reason::MassDeletionRefused && it.object == server.server);
        for note in server.notes.iter_mut().filter(|it| it.reason == Reason::Undeclared) {
            // `apply --prune` makes the backup that is missed, which the note says.
            let is_final = |it: &&Note| !matches!(it.reason, Reason::MassDeletionRefused | Reason::BackupFailed);
            let own = unpruned.iter().find(|it| it.object == note.object && is_final(it));
            note.hint = match (own, mass) {
                (Some(own), _) => Some(format!("`--prune` would be refused: {}", own.message)),
                (None, Some(_)) => Some("`--prune` refuses as much at once without `--allow-mass-delete`".to_owned()),
                (None, None) => continue,
            };
        }
    }
}

fn pruned(report: &Report) -> String {
    match report.prune.len() {
        0 => String::new(),
        1 => "; `--prune` would do 1 operation more".to_owned(),
        count => format!("; `--prune` would do {count} operations more"),
    }
}

/// Data on standard output, and the servers that were not observed on standard error.
pub(super) fn show(context: &Context, planned: &Report, observed: &Observations, format: Format) -> Result<(), Error> {
    match format {
        Format::Table => report::parts(planned, context).try_for_each(|part| context.print(&part))?,
        Format::Json => context.print_data(DataFormat::Json, &planned.document())?,
        Format::Yaml => context.print_data(DataFormat::Yaml, &planned.document())?,
        Format::Markdown => context.print(&planned.markdown())?,
    }
    servers::complain(context, observed);
    Ok(())
}

/// The saved observations. A declared server without one is not observed: nobody knows what is on it.
fn replay(files: &[PathBuf], desired: &DesiredState, manifests: &Manifests) -> Result<Observations, Error> {
    let mut observed: Observations = BTreeMap::new();
    for file in files {
        let snapshot = read(file)?;
        let key = ObjectKey::new(Kind::Server, "", "");
        let key = match snapshot.server.split_once('/') {
            Some((namespace, name)) => ObjectKey { namespace: namespace.into(), name: name.into(), ..key },
            None => {
                return Err(Error::new(format!(
                    "{}: {:?} is not a server's namespace/name",
                    file.display(),
                    snapshot.server
                )));
            }
        };
        if manifests.get(&key).is_none() {
            return Err(Error::new(format!("{} was observed on {key}, which no manifest declares", file.display()))
                .hint("give the manifests that were in use with `-f`"));
        }
        if observed.insert(key.clone(), Ok(snapshot.observed)).is_some() {
            return Err(Error::new(format!("{key} has more than one observation")));
        }
    }
    for server in desired.servers.keys() {
        observed.entry(server.clone()).or_insert_with(|| {
            Err(Unobserved {
                reason: UnobservedReason::ServerUnreachable,
                message: format!("no observation of {server} was given with --observed"),
                hint: Some(format!(
                    "save one: landfall get server {} -n {} -o json --observed",
                    server.name, server.namespace
                )),
            })
        });
    }
    Ok(observed)
}

/// Larger files are not observations of anything that Landfall could look after.
const LARGEST: u64 = 256 << 20;

fn read(file: &Path) -> Result<Snapshot, Error> {
    use std::io::Read;
    let failed = |error: &dyn std::error::Error| {
        Error::new(format!("cannot read the observation {}", file.display())).caused_by(error)
    };
    let mut text = String::new();
    let open = if file.as_os_str() == "-" {
        std::io::stdin().lock().take(LARGEST).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|open| open.take(LARGEST).read_to_string(&mut text))
    };
    open.map_err(|error| failed(&error))?;
    // The version first: what another version wrote need not have the same fields.
    let document: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| failed(&error).hint("it is made by `landfall get server NAME -o json --observed`"))?;
    let word = |name: &str| document.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    if word("format") != Snapshot::FORMAT {
        return Err(Error::new(format!("{} is not a saved observation", file.display()))
            .hint("it is made by `landfall get server NAME -o json --observed`"));
    }
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    let version = word("format_version");
    if major(version) != major(Snapshot::FORMAT_VERSION) {
        return Err(Error::new(format!(
            "{} has the format version {version:?}, and this is {:?}",
            file.display(),
            Snapshot::FORMAT_VERSION
        ))
        .hint("save the observation anew with this version of Landfall"));
    }
    serde_json::from_value(document).map_err(|error| failed(&error))
}
