//! `rollout status|restart KIND/NAME`

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::json;

use super::apply::{self, Ended, Format, Run};
use super::args::{self, ServerArgs, SetArgs, StateArgs};
use super::client::Controller;
use super::follow::{FOR_EVER, Follower};
use super::repository::{Loaded, SourceArgs};
use super::seen::{Seen, short_name};
use super::target::{self, TargetArgs};
use super::{Context, Error, Exit, diff, record, servers};
use crate::core::api::{Kind, ObjectKey};
use crate::core::manifest::Manifests;
use crate::core::plan::workload::identity_of;
use crate::core::plan::{NoteKind, Plan, Request};
use crate::core::report::Report;
use crate::core::scope::Selection;
use crate::core::workload::identity::{self, NEXT};
use crate::shell::reconcile::Preview;
use crate::shell::store;

/// Follows the rollout of an application or database that Landfall runs, or has its containers replaced
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Status(StatusArgs),
    Restart(RestartArgs),
}

/// Waits until every container of the resource runs as declared
///
/// Looks for itself, whether `landfall run` runs or not. Exit code 2 when that has not come about in time, and 3 when it is refused.
#[derive(Debug, clap::Args)]
struct StatusArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// Say how far it is, and do not wait
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for a server before it counts as unreachable, and in all for the rollout, such as `90s` or `10m`
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = args::parse_duration)]
    timeout: Duration,
}

/// Replaces every container of the resource by a new one, one after another, as a rollout does: without an interruption where two can be there
///
/// Nothing else is changed. On a terminal it asks before it interrupts connections. Where `landfall run` keeps the resource it is asked to do so,
/// for two rollouts of one resource undo each other's work.
#[derive(Debug, clap::Args)]
struct RestartArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    servers: ServerArgs,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Debug, clap::Args)]
struct WhatArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    source: SourceArgs,
    /// Namespace of the resource
    #[arg(short, long, value_name = "NS", add = clap_complete::ArgValueCompleter::new(super::completion::complete_namespaces))]
    namespace: Option<String>,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    match &args.action {
        Action::Status(args) => status(args, context),
        Action::Restart(args) => restart(args, context),
    }
}

/// The resources that are named, all of them run by Landfall.
fn managed(what: &WhatArgs, manifests: &Manifests) -> Result<BTreeSet<ObjectKey>, Error> {
    let target = target::parse(&what.target.kind, &what.target.names)?;
    if !matches!(target.kind, Kind::Application | Kind::Database) {
        return Err(Error::new(format!(
            "a {} has no containers that Landfall runs",
            target.kind.as_str().to_lowercase()
        ))
        .hint("name an application or a database"));
    }
    if target.names.is_empty() {
        return Err(Error::new("no resource was named").hint("such as `landfall rollout status application/frontend`"));
    }
    let desired = args::desired(manifests, &what.set.set);
    let mut keys = BTreeSet::new();
    for name in &target.names {
        let key = target.require(name, what.namespace.as_deref(), manifests)?;
        let runs = |destination: &crate::core::desired::DesiredDestination| {
            destination.members.iter().any(|member| member.resource == key && member.workload.is_some())
        };
        if !desired.destinations().any(|(_, destination)| runs(destination)) {
            return Err(Error::new(format!("{key} is adopted: something else runs its containers"))
                .hint("docker restart NAME restarts one of them"));
        }
        keys.insert(key);
    }
    Ok(keys)
}

fn status(args: &StatusArgs, context: &Context) -> Result<Exit, Error> {
    let Loaded { manifests, .. } = args.what.source.load(&args.what.state, &args.what.set, context)?;
    let mut waiting = managed(&args.what, &manifests)?;
    let deadline = Instant::now() + args.timeout;
    let look = ServerArgs { timeout: args.timeout.min(Duration::from_secs(30)), concurrency: args::SERVERS_AT_ONCE };
    let mut follower = Follower::new(&manifests, &waiting, &args.what.set, &look, &args.what.state)?;
    let mut said = BTreeSet::new();
    context.block_on(async {
        loop {
            let seen = follower.look().await?;
            for key in waiting.clone() {
                let (line, ended) = match progress(&seen, &key) {
                    Progress::Done(line) => (line, true),
                    Progress::Refused(line) => {
                        context.error(&Error::new(line));
                        return Ok(Exit::Refused);
                    }
                    Progress::Under(line) => (line, false),
                };
                if said.insert(line.clone()) {
                    context.print(&(line + "\n"))?;
                }
                if ended {
                    waiting.remove(&key);
                }
            }
            if waiting.is_empty() {
                return Ok(Exit::Done);
            }
            servers::complain(context, &seen.observed);
            let left = deadline.saturating_duration_since(Instant::now());
            if args.no_wait || left.is_zero() {
                if !args.no_wait {
                    let names: Vec<String> = waiting.iter().map(short_name).collect();
                    let error = Error::new(format!("{} is not rolled out after {:?}", names.join(", "), args.timeout));
                    context.error(&error.hint(
                        "`landfall describe` shows what is outstanding; `landfall apply` or `landfall run` does it",
                    ));
                }
                return Ok(Exit::Failed);
            }
            follower.changed(left.min(FOR_EVER)).await;
        }
    })?
}

enum Progress {
    Done(String),
    Under(String),
    Refused(String),
}

fn progress(seen: &Seen, key: &ObjectKey) -> Progress {
    let name = short_name(key);
    let declared: u32 = seen
        .desired
        .destinations()
        .flat_map(|(_, destination)| &destination.members)
        .filter(|member| member.resource == *key)
        .filter_map(|member| member.workload.as_ref())
        .map(|workload| workload.replicas)
        .sum();
    let outstanding = operations(&seen.plan, key);
    let containers = seen.observed.values().flatten().flat_map(|state| &state.containers);
    let serving = containers.filter(|container| {
        let of = identity_of(container);
        of.is_some_and(|of| of.object == *key && of.set == seen.desired.set)
            && container.is_serving()
            && !container.name.ends_with(NEXT)
    });
    let serving = serving.count() + tasks_running(seen, key);
    let notes = || seen.plan.servers.iter().flat_map(|server| &server.notes).filter(|note| note.object == *key);
    if let Some(note) = notes().find(|note| note.kind == NoteKind::Refused) {
        return Progress::Refused(format!("{name}: {}", note.message));
    }
    if seen.complete() && outstanding == 0 && serving >= declared as usize && notes().next().is_none() {
        return Progress::Done(format!("{name} is rolled out: {serving} of {declared} run as declared"));
    }
    let why = notes().next().map(|note| format!(": {}", note.message)).unwrap_or_default();
    let calls = if outstanding == 1 { "1 operation".to_owned() } else { format!("{outstanding} operations") };
    Progress::Under(format!("{name}: {serving} of {declared} run, {calls} outstanding{why}"))
}

/// Tasks of its services. Each manager of a Swarm lists them.
fn tasks_running(seen: &Seen, key: &ObjectKey) -> usize {
    let services = seen.observed.values().flatten().flat_map(|state| &state.services);
    let own = services.filter(|service| {
        let of = identity::of(&service.name, &service.labels);
        of.is_some_and(|of| of.object == *key && of.set == seen.desired.set)
    });
    let running: BTreeMap<_, u64> =
        own.map(|service| (&service.id, service.tasks.map_or(0, |tasks| tasks.running))).collect();
    usize::try_from(running.into_values().sum::<u64>()).unwrap_or(usize::MAX)
}

fn operations(plan: &Plan, key: &ObjectKey) -> usize {
    let groups = plan.servers.iter().flat_map(|server| &server.groups).filter(|group| group.object == *key);
    groups.map(|group| group.operations.len()).sum()
}

/// The controller of this machine, where it keeps all of the resources.
async fn keeper(directory: &Path, keys: &BTreeSet<ObjectKey>) -> Option<Controller> {
    let controller = Controller::of(directory).await?;
    for key in keys {
        controller.object(key).await?;
    }
    Some(controller)
}

fn by_controller(
    controller: &Controller,
    keys: &BTreeSet<ObjectKey>,
    what: &WhatArgs,
    context: &Context,
    show: impl FnOnce(&Context) -> Result<(), Error>,
) -> Result<Exit, Error> {
    context.block_on(async {
        for key in keys {
            controller.post("/api/v1/restart", &json!({ "object": key.to_string() })).await?;
        }
        Ok::<(), Error>(())
    })??;
    show(context)?;
    let options = store::options(&what.set.set, what.state.state.as_deref());
    context.say(&format!("`landfall run` does it. `landfall events -w{options}` shows what becomes of it."));
    Ok(Exit::Done)
}

fn restart(args: &RestartArgs, context: &Context) -> Result<Exit, Error> {
    let RestartArgs { what, yes, servers: server_args, output } = args;
    let Loaded { manifests, .. } = what.source.load(&what.state, &what.set, context)?;
    let keys = managed(what, &manifests)?;
    let selection = Selection::only(keys.clone());
    let desired = selection.narrow(args::desired(&manifests, &what.set.set), false);
    let request = Request { restart: keys, ..Request::default() };
    let store = record::store(&what.state, &what.set)?;
    let kept = servers::kept(&what.state)?;
    let pass = servers::pass(&desired, &request, &kept, server_args);
    let consent = |plan: &Plan| *yes || !context.can_ask() || apply::agreed(context, plan);
    let run = Run { pass, selection: Some(&selection), args: server_args, context, consent: &consent };
    let started = Instant::now();
    let directory = record::directory(&what.state, &what.set)?;
    if let Some(controller) = context.block_on(keeper(&directory, &request.restart))? {
        let Preview { observed, plan } = servers::preview(context, &run.pass, server_args)?;
        let plan = selection.restrict(plan);
        if !consent(&plan) {
            return Ok(apply::called_off(context));
        }
        return by_controller(&controller, &request.restart, what, context, |context| {
            diff::show(context, &Report::planned(plan), &observed, (*output).into())
        });
    }
    let Some(ended): Option<Ended> = context.block_on(run.pass())?? else { return Ok(apply::called_off(context)) };
    record::record(context, store.as_ref(), "rollout restart", Some(&manifests), &ended.report, started.elapsed())?;
    apply::finish(context, &ended, (*output).into(), server_args.timeout)
}
