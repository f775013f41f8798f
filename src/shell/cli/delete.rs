//! `delete -f PATH` and `delete KIND NAME`

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::apply::{self, Ended, Format, Run};
use super::args::{self, ManifestArgs, ServerArgs, SetArgs, StateArgs};
use super::pause::Paused;
use super::repository::{GitArgs, Loaded, in_force};
use super::{Context, Error, Exit, diff, record, report, servers, target, transfer};
use crate::core::api::{Kind, ObjectKey, ProxyType};
use crate::core::dependents::{
    Inspected, Subject, declared_elsewhere, dns_names, in_configuration, references, routed, routes_through,
};
use crate::core::desired::{DesiredMember, DesiredServer, DesiredState, Endpoint, Proxy, ProxyInstance};
use crate::core::manifest::{Manifests, Source};
use crate::core::observed::{
    AddressOf, NetworkId, Observations, ObservedContainer, ObservedNetwork, ObservedState, Unobserved, UnobservedReason,
};
use crate::core::plan::facts::facts;
use crate::core::plan::{Call, DeleteMode, Operation, Plan, Reason, Request, SWARM_SERVICE, selects};
use crate::core::printable::capitalized;
use crate::core::report::{Outcome, Report};
use crate::core::workload::seen::SeenVolume;
use crate::core::workload::{identity, stack};
use crate::shell::engine::{ContainerDetail, EngineError, Reader, Writer, connect};
use crate::shell::observe::Interest;
use crate::shell::reconcile::Preview;
use crate::shell::sources;

/// Deletes objects, unless something still needs them
///
/// A destination is deleted only when no declared resource names it and no container, running or not, is attached to its network but the
/// proxy. Otherwise every blocker is named and the exit code is 3. Deleting a resource disconnects what Landfall connected for it.
/// The containers of what Landfall runs itself are stopped and removed; those of others, and volumes, never.
///
/// With KIND and NAME, the manifests say where the object is; without, everything in the manifests given with -f is deleted.
#[derive(Debug, clap::Args)]
#[command(override_usage = "landfall delete [OPTIONS] KIND NAME...\n       landfall delete [OPTIONS] -f PATH...")]
pub(super) struct Args {
    /// Kind of the object, or KIND/NAME
    #[arg(value_name = "KIND", required_unless_present = "filename", add = clap_complete::ArgValueCompleter::new(super::completion::complete_kinds))]
    kind: Option<String>,
    /// Name of the object, or NAMESPACE/NAME; repeats
    #[arg(value_name = "NAME", add = clap_complete::ArgValueCompleter::new(super::completion::complete_names))]
    names: Vec<String>,
    /// Manifests of what to delete; with KIND and NAME, the manifests that say where it is; repeats
    /// [default: $LANDFALL_MANIFESTS or ./manifests]
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    git: GitArgs,
    /// Namespace of the object
    #[arg(short, long, value_name = "NS", add = clap_complete::ArgValueCompleter::new(super::completion::complete_namespaces))]
    namespace: Option<String>,
    #[command(flatten)]
    set: SetArgs,
    /// Stop and disconnect what is attached, then remove the network; on a server that cannot be reached, forget the destination.
    /// Asks for the destination's name
    #[arg(long)]
    force: bool,
    /// Don't ask for the name
    #[arg(short, long)]
    yes: bool,
    /// What does not exist is no error
    #[arg(long)]
    ignore_not_found: bool,
    /// Configuration of a load balancer elsewhere, a Caddy's or a Traefik's, in which the destination may be named; repeats
    #[arg(long, value_name = "FILE")]
    proxy_config: Vec<PathBuf>,
    /// Remove what `backup.beforeDelete` protects without a backup
    #[arg(long)]
    no_backup: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    state: StateArgs,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let (Loaded { manifests, kept: by_controller, .. }, keys) = match &args.kind {
        Some(kind) => named(args, kind, context)?,
        None => in_files(args, context)?,
    };
    let desired = concerned(args::desired(&manifests, &args.set.set), &manifests, &keys);
    let kept = servers::kept(&args.state)?;

    let store = record::store(&args.state, &args.set)?;
    let remembered = record::guarded(context, store.as_ref())?;
    // A look first: to find out what is unknown, and to show what refers to what is about to go.
    let mut request = Request {
        delete: keys.iter().map(|key| (key.clone(), DeleteMode::Guarded)).collect(),
        only_delete: true,
        guarded: std::sync::Arc::new(remembered.keys().cloned().collect()),
        overlays: record::overlays(context, record::store(&args.state, &args.set)?.as_ref())?.into(),
        protected: record::protecting(context, record::store(&args.state, &args.set)?.as_ref())?.into(),
        ..Request::default()
    };
    let look = servers::preview(context, &servers::pass(&desired, &request, &kept, &args.servers), &args.servers)?;
    let unknown = unknown(&look.plan);
    let unsaved = transfer::unsaved(look.plan.servers.iter().map(|it| (&it.server, it.notes.as_slice())));
    request.saved = match args.dry_run || args.no_backup {
        // It will be backed up, or is not to be.
        true => unsaved.into_iter().map(|(object, _)| object).collect(),
        false => {
            let saving = transfer::Saving {
                desired: &desired,
                observed: &look.observed,
                remembered: &remembered,
                set: &args.set.set,
                servers: &args.servers,
                state: &args.state,
                records: store.as_ref(),
                context,
            };
            saving.save(&unsaved)?
        }
    };
    request.delete.retain(|key, _| !unknown.contains(key));
    if unknown.is_empty() || args.ignore_not_found {
        if request.delete.is_empty() {
            context.say("Nothing to delete.");
            return Ok(Exit::Done);
        }
        return known(args, context, &manifests, &desired, request, by_controller);
    }
    if request.delete.is_empty() {
        servers::complain(context, &look.observed);
        return Err(not_found(&unknown, args, &manifests));
    }
    // What is known goes, and the rest is named.
    let exit = known(args, context, &manifests, &desired, request, by_controller)?;
    context.error(&not_found(&unknown, args, &manifests));
    Ok(exit.max(Exit::Failed))
}

/// Deletes what there is.
fn known(
    args: &Args,
    context: &Context,
    manifests: &Manifests,
    desired: &DesiredState,
    mut request: Request,
    by_controller: bool,
) -> Result<Exit, Error> {
    let kept = servers::kept(&args.state)?;
    if args.force {
        for (_, mode) in request.delete.iter_mut().filter(|(key, _)| key.kind == Kind::Destination) {
            *mode = DeleteMode::Forced;
        }
    }
    let pass = servers::pass(desired, &request, &kept, &args.servers);
    let Preview { observed, plan } = servers::preview(context, &pass, &args.servers)?;
    let everything = args::desired(manifests, &args.set.set);
    let References { subjects, found } = references_to(args, context, &everything, desired, &request, &observed)?;
    let (going, staying): (Vec<_>, Vec<_>) = found.into_iter().partition(|(key, _)| removes(&plan, key));
    warn_of(context, &going, "also concerns");
    if args.dry_run {
        let planned = Report::planned(plan);
        diff::show(context, &planned, &observed, args.output.into())?;
        warn_of(context, &staying, "would also concern");
        context.say(&format!("{} (dry run).", capitalized(&planned.summary())));
        let forgotten = forgotten(desired, &request, &observed);
        return Ok(exit(args, &planned, &request, &observed, &forgotten));
    }
    if args.force && !args.yes && !all_confirmed(context, desired, &request, &plan, &observed)? {
        return Ok(apply::called_off(context));
    }
    let run = Run { pass, selection: None, args: &args.servers, context, consent: &|_| true };
    let started = std::time::Instant::now();
    let touched = touched(desired, &request);
    let directory = record::directory(&args.state, &args.set)?;
    let (ended, kept) = context.block_on(async {
        let paused = Paused::of(&directory, touched, context).await?;
        let ended = persistent(&run, &request).await;
        let kept = paused.is_some();
        if let Some(paused) = paused {
            paused.end(context).await;
        }
        Ok::<_, Error>((ended, kept))
    })??;
    let Some(mut ended) = ended? else {
        return Ok(apply::called_off(context));
    };
    let store = record::store(&args.state, &args.set)?;
    record::record(context, store.as_ref(), "delete", None, &ended.report, started.elapsed())?;
    let forgotten = forgotten(desired, &request, &ended.observed);
    let exit = exit(args, &ended.report, &request, &ended.observed, &forgotten);
    for (server, keys) in &forgotten {
        let names: Vec<String> = keys.iter().map(ToString::to_string).collect();
        context.warn(&format!(
            "{server} stayed unreachable, {LOOKS} looks in a row: {} is forgotten, and nothing was removed there",
            names.join(", ")
        ));
    }
    if exit == Exit::Done {
        // What is forgotten has no need of its server.
        ended.observed.clear();
    }
    let printed = apply::finish(context, &ended, args.output.into(), args.servers.timeout)?;
    warn_of(context, &staying, "would also concern");
    if args.kind.is_some() && exit == Exit::Done {
        for declared in request.delete.keys().filter_map(|key| manifests.get(key)) {
            let who = match (kept, by_controller) {
                (true, _) => "`landfall run`, which looks after it, makes it again at once",
                (false, true) => "`landfall run` brings it back",
                (false, false) => "the next apply brings it back",
            };
            context.warn(&format!(
                "{} is still declared in {}:{}; remove it there, or {who}",
                declared.object.key(),
                declared.location.file,
                declared.location.line
            ));
        }
    }
    verify(args, context, desired, &ended.report, &subjects)?;
    if exit == Exit::Done {
        remaining_volumes(args, context, desired, &request)?;
    }
    Ok(if ended.interrupted { printed } else { exit })
}

/// The destinations that are deleted, and those of the resources that are.
fn touched(desired: &DesiredState, request: &Request) -> BTreeSet<ObjectKey> {
    let deleted = |key: &ObjectKey| request.delete.contains_key(key);
    let destinations = desired.destinations().map(|(_, destination)| destination);
    let touched = destinations.filter(|it| deleted(&it.key) || it.members.iter().any(|it| deleted(&it.resource)));
    touched.map(|it| it.key.clone()).collect()
}

/// Looks at a server before a destination on it is forgotten by force, and the wait between two of them: one failure of a connection is no
/// server that is gone.
const LOOKS: usize = 3;
const BETWEEN: Duration = Duration::from_secs(2);

/// A pass; where what it should have deleted by force is on a server that does not answer, another one.
async fn persistent(run: &Run<'_>, request: &Request) -> Result<Option<Ended>, Error> {
    let mut looks = 1;
    loop {
        let ended = run.pass().await?;
        let again = ended.as_ref().is_some_and(|ended| {
            let untouched = ended.report.servers.iter().all(|server| server.operations.is_empty());
            let unreachable = ended.observed.values().any(is_unreachable);
            untouched && unreachable && !ended.interrupted
        });
        if !again || looks >= LOOKS || request.delete.values().all(|mode| *mode != DeleteMode::Forced) {
            return Ok(ended);
        }
        looks += 1;
        tokio::time::sleep(BETWEEN).await;
    }
}

fn is_unreachable(seen: &Result<ObservedState, Unobserved>) -> bool {
    matches!(seen, Err(unobserved) if unobserved.reason == UnobservedReason::ServerUnreachable)
}

/// Destinations that are forgotten by force, by the server that does not answer.
fn forgotten<'a>(
    desired: &'a DesiredState,
    request: &Request,
    observed: &Observations,
) -> BTreeMap<&'a ObjectKey, Vec<&'a ObjectKey>> {
    let mut forgotten: BTreeMap<&ObjectKey, Vec<&ObjectKey>> = BTreeMap::new();
    for (server, destination) in desired.destinations() {
        let forced = request.delete.get(&destination.key) == Some(&DeleteMode::Forced);
        if forced && observed.get(&server.key).is_some_and(is_unreachable) {
            forgotten.entry(&server.key).or_default().push(&destination.key);
        }
    }
    forgotten
}

/// As for `apply`, but that a destination which is forgotten by force has no need of its server. One that was not asked for by its name is refused.
fn exit(
    args: &Args,
    report: &Report,
    request: &Request,
    observed: &Observations,
    forgotten: &BTreeMap<&ObjectKey, Vec<&ObjectKey>>,
) -> Exit {
    let all = forgotten.values().flatten().count() == request.delete.len();
    if all && !request.delete.is_empty() && observed.values().all(Result::is_err) {
        return if args.kind.is_some() { Exit::Done } else { Exit::Refused };
    }
    let exit = report::exit(report, false);
    if args.kind.is_none() && !forgotten.is_empty() { exit.max(Exit::Refused) } else { exit }
}

/// `delete KIND NAME`: the manifests give the context.
fn named(args: &Args, kind: &str, context: &Context) -> Result<(Loaded, BTreeSet<ObjectKey>), Error> {
    let target = target::parse(kind, &args.names)?;
    if target.names.is_empty() {
        return Err(Error::new(format!("which {}? No name is given", target.kind.as_str().to_lowercase()))
            .hint(format!("`landfall get {}` lists them", target.kind.plural())));
    }
    if target.kind == Kind::Server {
        return Err(Error::new("a server is not Landfall's to delete").hint("take it out of the manifests"));
    }
    if target.kind == Kind::Notifier {
        return Err(Error::new("a notifier is on no server").hint("take it out of the manifests"));
    }
    let files = ManifestArgs::of(args.filename.clone());
    let loaded = args.git.load_or_ask(&files, &args.state, &args.set, context)?;
    let manifests = &loaded.manifests;
    let mut keys = BTreeSet::new();
    for name in &target.names {
        let key = match target.find(name, args.namespace.as_deref(), manifests)? {
            Some(key) => key,
            // It may be known to a server by its labels.
            None => {
                let (namespace, name) = name.split_once('/').unwrap_or_else(|| {
                    (args.namespace.as_deref().unwrap_or(crate::core::api::DEFAULT_NAMESPACE), name.as_str())
                });
                ObjectKey::new(target.kind, namespace, name)
            }
        };
        keys.insert(key);
    }
    Ok((loaded, keys))
}

/// `delete -f PATH`: everything declared there but servers and notifiers. The default manifests, where there are some, else those that the controller
/// keeps, say what else needs it.
fn in_files(args: &Args, context: &Context) -> Result<(Loaded, BTreeSet<ObjectKey>), Error> {
    let mut input = Vec::new();
    if args.filename.iter().any(|path| path.as_os_str() == "-") {
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut input)
            .map_err(|error| Error::new("cannot read standard input").caused_by(&error))?;
    }
    let (default, is_default) = args::unnamed();
    let with_context: Vec<PathBuf> = args.filename.iter().cloned().chain([default.clone()]).collect();
    let (sources, _) = sources::read(&args.filename, &mut input.as_slice());
    let names: BTreeSet<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    let kept = match is_default && !default.exists() {
        true => in_force(&args.state, &args.set, context)?,
        false => None,
    };
    let by_controller = kept.is_some();
    let in_context = match kept {
        None => default.exists().then(|| sources::load(&with_context, &mut input.as_slice()).ok()).flatten(),
        Some(kept) => {
            // A file that is one of those that it keeps declares what it does once.
            let known = |kept: &Source| sources.iter().any(|source| source.bytes == kept.bytes);
            let kept = kept.sources.into_iter().map(|it| Source { name: it.name, bytes: it.text.into_bytes() });
            let all: Vec<Source> = sources.iter().cloned().chain(kept.filter(|it| !known(it))).collect();
            sources::validate(&args.filename, &all, Vec::new()).ok()
        }
    };
    let manifests = match in_context {
        Some(manifests) => manifests,
        None => args::load_with(&args.filename, &mut input.as_slice())?,
    };
    let namespace = |key: &ObjectKey| args.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
    let keys: BTreeSet<ObjectKey> = manifests
        .objects()
        .filter(|located| names.contains(located.location.file.as_str()))
        .map(|located| located.object.key())
        .filter(|key| !matches!(key.kind, Kind::Server | Kind::Notifier) && namespace(key))
        .collect();
    if keys.is_empty() {
        return Err(Error::new("the manifests given with -f declare nothing that could be deleted"));
    }
    Ok((Loaded { manifests, revision: None, kept: by_controller, identity: None }, keys))
}

/// Without the servers that none of the objects is on. What is not declared may be on any.
fn concerned(mut desired: DesiredState, manifests: &Manifests, keys: &BTreeSet<ObjectKey>) -> DesiredState {
    if keys.iter().all(|key| manifests.get(key).is_some()) {
        desired.narrow(|_, server| {
            server.destinations.iter().any(|destination| {
                keys.contains(&destination.key)
                    || destination.members.iter().any(|member| keys.contains(&member.resource))
            })
        });
    }
    desired
}

/// Objects that neither a manifest nor a server knows.
fn unknown(plan: &Plan) -> Vec<ObjectKey> {
    let unknown = |reason| matches!(reason, Reason::NetworkNotFound | Reason::ContainerMissing);
    plan.notes.iter().filter(|note| unknown(note.reason)).map(|note| note.object.clone()).collect()
}

fn not_found(unknown: &[ObjectKey], args: &Args, manifests: &Manifests) -> Error {
    let names: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    let error = Error::new(format!("no manifest declares {}, and no server knows it", names.join(", ")));
    if let [only] = unknown
        && let Some(meant) = meant(only, args, manifests)
    {
        return error.hint(meant);
    }
    if args.namespace.is_none() {
        error.hint("`-n` names the namespace; `--ignore-not-found` makes this no error")
    } else {
        error.hint("`--ignore-not-found` makes this no error")
    }
}

fn operations<'p>(plan: &'p Plan, destination: &ObjectKey) -> impl Iterator<Item = &'p Operation> {
    let groups = plan.servers.iter().flat_map(|server| &server.groups);
    groups.filter(move |group| group.object == *destination).flat_map(|group| &group.operations)
}

fn removes(plan: &Plan, destination: &ObjectKey) -> bool {
    operations(plan, destination).any(|it| matches!(it.call, Call::RemoveNetwork { .. }))
}

/// Asks for the name of each destination to which force is applied. Where nothing is done, as to a network that is adopted, there is nothing to ask.
fn all_confirmed(
    context: &Context,
    desired: &DesiredState,
    request: &Request,
    plan: &Plan,
    observed: &Observations,
) -> Result<bool, Error> {
    let forgotten = forgotten(desired, request, observed);
    let forced = request.delete.iter().filter(|(_, mode)| **mode == DeleteMode::Forced);
    for (key, _) in forced {
        let unreachable = forgotten.iter().find(|(_, keys)| keys.contains(&key));
        let is_attached = operations(plan, key).any(|it| matches!(it.call, Call::DisconnectEndpoint { .. }));
        let what = match unreachable {
            Some((server, _)) => format!("{server} cannot be reached. This forgets {key}, and removes nothing there."),
            None if !removes(plan, key) => continue,
            None if is_attached => {
                format!("This stops and disconnects every container on {key}, and removes its network.")
            }
            None => format!("This removes the network of {key}, which no container is on."),
        };
        if !confirmed(context, key, &what)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A person may think better of it; a script that gives no name has a mistake.
fn confirmed(context: &Context, key: &ObjectKey, what: &str) -> Result<bool, Error> {
    context.say(what);
    let answer = apply::ask(&format!("Type the destination's name, {}, to go on: ", key.name));
    if answer.is_some_and(|answer| answer.trim() == key.name) {
        return Ok(true);
    }
    if context.can_ask() {
        return Ok(false);
    }
    Err(Error::new(format!("the name of {key} was not typed; nothing was done"))
        .hint("`--yes` skips the question in scripts"))
}

fn meant(unknown: &ObjectKey, args: &Args, manifests: &Manifests) -> Option<String> {
    // As it was typed.
    let typed = args.names.iter().chain(&args.kind).any(|it| it.ends_with(&unknown.path()));
    let name = if typed { unknown.path() } else { unknown.name.to_string() };
    target::suggestion(&[unknown.kind], &name, args.namespace.as_deref(), manifests)
}

/// Destinations that are to be deleted and have a network, by server, each with what others may know of it.
type Subjects = BTreeMap<ObjectKey, Vec<(ObjectKey, Subject)>>;

/// What refers to destinations from outside of them.
struct References {
    subjects: Subjects,
    found: Vec<(ObjectKey, Vec<String>)>,
}

fn warn_of(context: &Context, found: &[(ObjectKey, Vec<String>)], concerns: &str) {
    for (destination, references) in found {
        context.warn(&format!("removing {destination} {concerns}:"));
        references.iter().for_each(|reference| context.say(&format!("  {reference}")));
    }
}

/// Finds what refers to the destinations that are to go from outside of them, whether or not they can go now.
fn references_to(
    args: &Args,
    context: &Context,
    everything: &DesiredState,
    desired: &DesiredState,
    request: &Request,
    observed: &Observations,
) -> Result<References, Error> {
    let (mut subjects, mut all) = (Subjects::new(), Vec::new());
    let configurations = configurations(args)?;
    for server in desired.servers.values() {
        let Some(Ok(state)) = observed.get(&server.key) else { continue };
        let Some(seen) = facts(desired, server, observed) else { continue };
        let mut networks: Vec<(&ObjectKey, &ObservedNetwork)> = Vec::new();
        for (key, destination) in seen.destinations.iter().filter(|(key, _)| request.delete.contains_key(key)) {
            let id = destination.network.as_ref().map(|network| network.id.as_str());
            networks.extend(state.networks.iter().find(|it| Some(it.id.as_str()) == id).map(|it| (key, it)));
        }
        if networks.is_empty() {
            continue;
        }
        let details = context.block_on(inspect_all(args, server, state))??;
        for (destination, network) in networks {
            let (subject, members) = subject(server, destination, network, &details);
            let containers = details.iter().map(|detail| Inspected { container: &detail.container, env: &detail.env });
            let proxy = server.proxy.as_ref().map(|proxy| proxy.instance.name());
            let mut found: Vec<String> =
                references(&subject, containers, proxy).iter().map(ToString::to_string).collect();
            found.extend(declared_elsewhere(&subject, everything, destination));
            let own_names = names_of_server(server, state);
            for (file, text) in &configurations {
                let mentions = in_configuration(&subject, &own_names, text).into_iter();
                found.extend(mentions.map(|it| format!("{}:{}, which names {}", file.display(), it.line, it.mentions)));
            }
            let declared = server.destinations.iter().filter(|it| it.key == *destination).flat_map(|it| &it.members);
            let routes = declared.flat_map(|member| {
                let of_workload = member.workload.iter().flat_map(|workload| &workload.routes);
                of_workload.chain(member.stack.iter().flat_map(|stack| stack.routes.values().flatten()))
            });
            found.extend(
                dns_names(members, routes).into_iter().map(|name| format!("DNS name {name}, which leads to it")),
            );
            if !found.is_empty() {
                all.push((destination.clone(), found));
            }
            subjects.entry(server.key.clone()).or_default().push((destination.clone(), subject));
        }
    }
    Ok(References { subjects, found: all })
}

/// The files that `--proxy-config` names.
fn configurations(args: &Args) -> Result<Vec<(PathBuf, String)>, Error> {
    let read = |file: &PathBuf| {
        use std::io::Read;

        let mut text = String::new();
        let open =
            std::fs::File::open(file).and_then(|open| open.take(LARGEST_CONFIGURATION).read_to_string(&mut text));
        open.map_err(|error| Error::new(format!("{} cannot be read", file.display())).caused_by(&error))?;
        Ok((file.clone(), text))
    };
    args.proxy_config.iter().map(read).collect()
}

/// Bytes of a load balancer's configuration.
const LARGEST_CONFIGURATION: u64 = 8 << 20;

/// By which others may know the server.
fn names_of_server(server: &DesiredServer, state: &ObservedState) -> BTreeSet<String> {
    let host = match &server.endpoint {
        Endpoint::Tcp { host, .. } | Endpoint::Ssh { host, .. } => Some(host.trim_matches(['[', ']']).to_owned()),
        Endpoint::Unix { .. } | Endpoint::Context { .. } => None,
    };
    let addresses = state.engine.addresses.iter().filter(|own| own.of == AddressOf::Server);
    addresses.map(|own| own.address.to_string()).chain(host).collect()
}

/// Inspections at once.
const INSPECTIONS: usize = 16;

async fn inspect_all(
    args: &Args,
    server: &DesiredServer,
    state: &ObservedState,
) -> Result<Vec<ContainerDetail>, EngineError> {
    let reader = connect::reader(server, &servers::options(&args.servers))?;
    let reader = &reader;
    let details: Vec<Option<ContainerDetail>> = stream::iter(&state.containers)
        .map(|container| async move { reader.container(&container.id).await })
        .buffered(INSPECTIONS)
        .try_collect()
        .await?;
    Ok(details.into_iter().flatten().collect())
}

/// The destination as others may know it, and the containers that are on it or belong to it.
fn subject<'a>(
    server: &DesiredServer,
    destination: &ObjectKey,
    network: &ObservedNetwork,
    details: &'a [ContainerDetail],
) -> (Subject, Vec<&'a ObservedContainer>) {
    let proxy = server.proxy.as_ref().map(|proxy| proxy.instance.name());
    let declared = server.destinations.iter().find(|other| other.key == *destination);
    let resources = declared.map(|destination| destination.members.as_slice()).unwrap_or_default();
    let members = details.iter().map(|detail| &detail.container).filter(|container| {
        let attached = container.endpoints.iter().any(|endpoint| endpoint.network_id.as_ref() == Some(&network.id));
        let selected = resources.iter().any(|member| selects(&member.selector, container));
        (attached || selected) && proxy != Some(container.name.as_str())
    });
    let members: Vec<&ObservedContainer> = members.collect();
    let aliases = resources.iter().flat_map(|member| &member.endpoint.aliases);
    (Subject::new(network, members.iter().copied(), aliases), members)
}

/// Looks again: the networks are gone, nobody still refers to them, and no proxy label routes through them.
fn verify(
    args: &Args,
    context: &Context,
    desired: &DesiredState,
    report: &Report,
    subjects: &Subjects,
) -> Result<(), Error> {
    let mut removed: BTreeMap<&ObjectKey, Vec<(&str, &NetworkId)>> = BTreeMap::new();
    for server in &report.servers {
        for it in &server.operations {
            if let (Call::RemoveNetwork { network }, Outcome::Done) = (&it.operation.call, &it.outcome)
                && let Some(id) = &network.id
            {
                removed.entry(&server.server).or_default().push((&network.name, id));
            }
        }
    }
    if removed.is_empty() {
        return Ok(());
    }
    let mut again = desired.clone();
    again.servers.retain(|key, _| removed.contains_key(key));
    let none = |_: &DesiredServer| Interest::Names(BTreeSet::new());
    let observed = servers::observe(context, &again, &args.servers, none)?;
    servers::complain(context, &observed);
    for (key, networks) in removed {
        let Some(Ok(state)) = observed.get(key) else { continue };
        for (name, id) in networks {
            if state.network(id).is_some() {
                context.warn(&format!("the network {name} is still there on {key}"));
            }
            for container in &state.containers {
                let refers = container.endpoints.iter().any(|endpoint| endpoint.network_id.as_ref() == Some(id));
                // Swarm keeps tasks that have ended, and starts none of them again.
                let ended =
                    id.is_of_swarm() && container.labels.contains_key(SWARM_SERVICE) && !container.state.is_live();
                if refers && !ended {
                    context.warn(&format!("the container {} still refers to the network {name}", container.name));
                }
                if routes_through(name, container).next().is_some() {
                    context.warn(&format!(
                        "a label of the container {} still routes a proxy through the network {name}",
                        container.name
                    ));
                }
            }
        }
    }
    for (key, of_server) in subjects {
        let Some(server) = desired.servers.get(key) else { continue };
        let removed = report.servers.iter().filter(|it| it.server == *key).flat_map(|it| &it.operations);
        let removed: BTreeSet<&ObjectKey> = removed
            .filter(|it| matches!(it.operation.call, Call::RemoveNetwork { .. }) && it.outcome == Outcome::Done)
            .map(|it| &it.operation.object)
            .collect();
        let gone: Vec<&(ObjectKey, Subject)> = of_server.iter().filter(|(key, _)| removed.contains(key)).collect();
        if let (false, Some(Ok(state))) = (gone.is_empty(), observed.get(key)) {
            for (destination, address) in context.block_on(routes_left(args, server, state, &gone))? {
                context.warn(&format!(
                    "the proxy of {key} still sends requests to {address}, which was on {destination}: remove the route from its configuration"
                ));
            }
        }
    }
    Ok(())
}

/// How long the proxy has to notice, and the wait between two questions.
const NOTICES: Duration = Duration::from_secs(6);
const ASKS: Duration = Duration::from_millis(500);
/// Bytes of what it tells.
const LARGEST_ANSWER: usize = 4 << 20;

/// Where the proxy would still send requests to, as far as it tells: Traefik's API and Caddy's admin API answer within its own container.
async fn routes_left(
    args: &Args,
    server: &DesiredServer,
    state: &ObservedState,
    gone: &[&(ObjectKey, Subject)],
) -> BTreeSet<(ObjectKey, String)> {
    let none = BTreeSet::new();
    let Some(Proxy { instance: ProxyInstance::Container(name), proxy_type, .. }) = &server.proxy else { return none };
    let url = match proxy_type {
        ProxyType::Traefik => "http://127.0.0.1:8080/api/http/services",
        ProxyType::Caddy => "http://127.0.0.1:2019/config/",
        ProxyType::Nginx | ProxyType::Other => return none,
    };
    let Some(proxy) = state.container_named(name).filter(|container| container.state.is_live()) else { return none };
    let Ok(writer) = connect::writer(server, &servers::options(&args.servers)) else { return none };
    let deadline = tokio::time::Instant::now() + NOTICES;
    loop {
        let told = writer.exec_output(&proxy.id, &["wget", "-q", "-O", "-", url], LARGEST_ANSWER).await;
        let Some(configuration) = told.ok().and_then(|text| serde_json::from_str(text.trim()).ok()) else {
            return none;
        };
        let left: BTreeSet<(ObjectKey, String)> = gone
            .iter()
            .flat_map(|(key, subject)| {
                routed(subject, &configuration).into_iter().map(|address| (key.clone(), address))
            })
            .collect();
        if left.is_empty() || tokio::time::Instant::now() >= deadline {
            return left;
        }
        tokio::time::sleep(ASKS).await;
    }
}

/// Says which volumes of what was deleted are still there: nothing removes them but their owner.
fn remaining_volumes(args: &Args, context: &Context, desired: &DesiredState, request: &Request) -> Result<(), Error> {
    for server in desired.servers.values() {
        let members = server.destinations.iter().flat_map(|destination| {
            let whole = request.delete.contains_key(&destination.key);
            destination.members.iter().filter(move |it| whole || request.delete.contains_key(&it.resource))
        });
        let members: Vec<&DesiredMember> = members.collect();
        if members.is_empty() {
            continue;
        }
        let objects: BTreeSet<String> = members.iter().map(|member| member.resource.to_string()).collect();
        let projects: BTreeSet<&String> =
            members.iter().filter_map(|member| member.selector.compose_project.as_ref()).collect();
        let reader = connect::reader(server, &servers::options(&args.servers));
        let volumes = context.block_on(async {
            match reader {
                Ok(reader) => reader.volumes().await,
                Err(error) => Err(error),
            }
        })?;
        // What is only to be told is no reason to fail.
        let Ok(volumes) = volumes else { continue };
        let is_left = |volume: &SeenVolume| {
            volume.labels.get(identity::OBJECT).is_some_and(|object| objects.contains(object))
                || volume.labels.get(stack::PROJECT).is_some_and(|project| projects.contains(project))
        };
        let left: Vec<String> = volumes.into_iter().filter(is_left).map(|volume| volume.name).collect();
        if !left.is_empty() {
            context.say(&format!("Volumes remain on {}: {}.", server.key.path(), left.join(", ")));
        }
    }
    Ok(())
}
