//! `apply -f PATH`

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::args::{self, ManifestArgs, ScopeArgs, ServerArgs, SetArgs, StateArgs};
use super::client::failed_attempts;
use super::diff::{self, PruneArgs};
use super::identity::IdentityArgs;
use super::progress::Bars;
use super::repository::{GitArgs, Loaded};
use super::{Context, Error, Exit, record, report, servers, signals, transfer};
use crate::core::observed::Observations;
use crate::core::plan::{Call, Cause, NoteKind, Plan, Request};
use crate::core::printable::capitalized;
use crate::core::printable::printable;
use crate::core::report::{Outcome, Report};
use crate::core::scope::Selection;
use crate::shell::engine::connect;
use crate::shell::reconcile::{Applied, Pass, Preview};
use crate::shell::secrets::Generate;

/// Makes the servers what the manifests say, once
///
/// What cannot be done is left undone and said with the reason; everything else is done. A second `apply` does nothing.
/// On a terminal it asks before it removes networks or interrupts connections; `--yes` skips that, and so does a script.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    manifests: ManifestArgs,
    #[command(flatten)]
    git: GitArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    identity: IdentityArgs,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pruning: PruneArgs,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
    /// Go on until nothing is waited for any more, such as containers that do not exist yet; at most for `--timeout`
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    state: StateArgs,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// One line for each operation and note
    Table,
    Json,
    Yaml,
}

impl From<Format> for diff::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Table => diff::Format::Table,
            Format::Json => diff::Format::Json,
            Format::Yaml => diff::Format::Yaml,
        }
    }
}

/// Between two passes of `--wait`, and of what waits for its turn.
const PAUSE: Duration = Duration::from_secs(1);
/// How long another process that rolls out the same resource is waited for, without `--wait`.
const TURN: Duration = Duration::from_secs(120);

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let Loaded { manifests, revision, .. } = args.git.load(&args.manifests, &args.state, context)?;
    let selection = match args.pruning.prune {
        // What a namespace does not declare any more is there to be removed.
        true => args.scope.select(&manifests, context),
        false => args.scope.select_some(&manifests)?,
    };
    let store = record::store(&args.state, &args.set)?;
    let remembered = record::guarded(context, store.as_ref())?;
    let request = Request {
        guarded: Arc::new(remembered.keys().cloned().collect()),
        prune: args.pruning.prune,
        allow_mass_delete: args.pruning.allow_mass_delete,
        // As `diff` has it: a rollout that the controller has given up is not made again for being asked for the same.
        failed_attempts: context.block_on(failed_attempts(&args.state, &args.set))?,
        overlays: record::overlays(context, store.as_ref())?.into(),
        protected: if args.pruning.prune {
            record::protecting(context, store.as_ref())?.into()
        } else {
            Arc::default()
        },
        ..Request::default()
    };
    let generate = if args.dry_run { Generate::No } else { Generate::Yes };
    let mut desired = args::desired_with(&manifests, &args.set.set, generate);
    desired.source = Some(args.identity.identify(&args.manifests, &args.git, &args.state)?);
    if let Some(selection) = &selection {
        desired = selection.narrow(desired, request.prune);
    }
    args.scope.narrow(&mut desired, &manifests)?;
    let kept = servers::kept(&args.state)?;
    let pass = servers::pass(&desired, &request, &kept, &args.servers);
    if args.dry_run {
        let Preview { observed, plan } = servers::preview(context, &pass, &args.servers)?;
        let planned = Report { revision, ..Report::planned(restricted(plan, selection.as_ref())) };
        diff::show(context, &planned, &observed, args.output.into())?;
        context.say(&format!("{} (dry run).", capitalized(&planned.summary())));
        return Ok(report::exit(&planned, false));
    }

    let servers = desired.servers.values().map(AsRef::as_ref);
    transfer::recover(&transfer::state(&args.state)?, servers, &args.servers, context)?;
    let consent = |plan: &Plan| args.yes || !context.can_ask() || agreed(context, plan);
    let run = Run { pass, selection: selection.as_ref(), args: &args.servers, context, consent: &consent };
    let started = Instant::now();
    let Some(mut ended) = context.block_on(run.pass())?? else { return Ok(called_off(context)) };
    let unsaved = transfer::unsaved(ended.report.servers.iter().map(|it| (&it.server, it.notes.as_slice())));
    let saving = transfer::Saving {
        desired: &desired,
        observed: &ended.observed,
        remembered: &remembered,
        set: &args.set.set,
        servers: &args.servers,
        state: &args.state,
        records: store.as_ref(),
        context,
    };
    let saved = saving.save(&unsaved)?;
    let request = Request { saved, ..request.clone() };
    let run = Run { pass: servers::pass(&desired, &request, &kept, &args.servers), ..run };
    if !request.saved.is_empty() {
        let Some(next) = context.block_on(run.pass())?? else { return Ok(called_off(context)) };
        ended.add(next);
    }
    let deadline = Instant::now() + if args.wait { args.servers.timeout } else { TURN };
    let is_awaited = |report: &Report| if args.wait { waits(report) } else { has_no_turn(report) };
    if !args.wait && is_awaited(&ended.report) {
        context.say("Another process is rolling out a version of the same; waiting for its end.");
    }
    while !ended.interrupted && is_awaited(&ended.report) {
        if Instant::now() >= deadline {
            ended.gave_up = args.wait;
            break;
        }
        if context.block_on(interrupted_within(PAUSE))? {
            ended.interrupted = true;
            break;
        }
        let Some(next) = context.block_on(run.pass())?? else {
            finish(context, &ended, args.output.into(), args.servers.timeout)?;
            return Ok(called_off(context));
        };
        ended.add(next);
    }
    ended.report.revision = revision;
    record::record(context, store.as_ref(), "apply", Some(&manifests), &ended.report, started.elapsed())?;
    if ended.report.servers.iter().all(|server| server.operations.is_empty()) {
        // Seen before anything was done, it holds afterwards.
        record::note_use(context, store.as_ref(), &desired, &ended.observed)?;
    }
    finish(context, &ended, args.output.into(), args.servers.timeout)
}

/// Everything that one pass needs.
pub(super) struct Run<'a> {
    pub(super) pass: Pass<'a>,
    pub(super) selection: Option<&'a Selection>,
    pub(super) args: &'a ServerArgs,
    pub(super) context: &'a Context,
    /// Asked before anything is done.
    pub(super) consent: &'a dyn Fn(&Plan) -> bool,
}

/// What became of the passes.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) observed: Observations,
    pub(super) report: Report,
    /// By Ctrl-C.
    pub(super) interrupted: bool,
    /// Of waiting.
    pub(super) gave_up: bool,
}

impl Ended {
    /// The operations of both, and what the later one has to say.
    fn add(&mut self, next: Ended) {
        let mut report = next.report;
        for server in &mut report.servers {
            if let Some(before) = self.report.servers.iter_mut().find(|before| before.server == server.server) {
                let mut operations = std::mem::take(&mut before.operations);
                // What was skipped then is planned anew where it is still to be done.
                operations.retain(|it| !matches!(it.outcome, Outcome::Skipped));
                operations.append(&mut server.operations);
                server.operations = operations;
            }
        }
        *self = Self { observed: next.observed, report, interrupted: next.interrupted, gave_up: false };
    }
}

impl Run<'_> {
    /// `None`: there was no consent.
    pub(super) async fn pass(&self) -> Result<Option<Ended>, Error> {
        let bars = Bars::new(self.context.verbose() > 0);
        // Before anything is done a signal ends the process as ever, the question included.
        let begun = tokio::sync::Notify::new();
        let options = servers::options(self.args);
        let decide = |_: &Observations, plan: Plan| {
            let plan = restricted(plan, self.selection);
            (self.consent)(&plan).then(|| {
                begun.notify_one();
                bars.expect(&plan);
                plan
            })
        };
        let applying = self.pass.apply(|server| connect::writer(server, &options), decide, &bars);
        let mut applying = std::pin::pin!(applying);
        let mut interrupted = false;
        let applied = loop {
            let signal = async {
                if !interrupted {
                    begun.notified().await;
                }
                signals::interrupted().await;
            };
            tokio::select! {
                applied = &mut applying => break applied,
                () = signal => {
                    if interrupted {
                        return Err(Error::new("interrupted while an operation was under way")
                            .hint("what is half done is completed by the next `landfall apply`"));
                    }
                    interrupted = true;
                    bars.stop();
                    bars.suspend(|| self.context.warn("completing what is under way; Ctrl-C again to stop at once"));
                }
            }
        };
        bars.clear();
        let applied = applied.map_err(|error| servers::journal_error(&error))?;
        Ok(applied.map(|Applied { observed, report }| Ended { observed, report, interrupted, gave_up: false }))
    }
}

/// Waits, unless a signal comes first.
async fn interrupted_within(pause: Duration) -> bool {
    tokio::time::timeout(pause, signals::interrupted()).await.is_ok()
}

fn restricted(plan: Plan, selection: Option<&Selection>) -> Plan {
    match selection {
        Some(selection) => selection.restrict(plan),
        None => plan,
    }
}

/// Something may still come about by itself.
fn waits(report: &Report) -> bool {
    let notes = report.servers.iter().flat_map(|server| &server.notes);
    let operations = report.servers.iter().flat_map(|server| &server.operations);
    notes.into_iter().any(|note| note.kind == NoteKind::Waiting)
        || operations.into_iter().any(|it| matches!(it.outcome, Outcome::Skipped))
}

/// Another process rolls out what is to be rolled out here.
fn has_no_turn(report: &Report) -> bool {
    report.servers.iter().flat_map(|server| &server.notes).any(|note| note.turn)
}

/// Prints the report and what it comes to.
pub(super) fn finish(context: &Context, ended: &Ended, format: diff::Format, waited: Duration) -> Result<Exit, Error> {
    diff::show(context, &ended.report, &ended.observed, format)?;
    let exit = report::exit(&ended.report, false);
    context.say(&format!("{}.", capitalized(&ended.report.summary())));
    if ended.interrupted {
        context.warn("interrupted; what was not begun is skipped");
        return Ok(Exit::Interrupted);
    }
    if ended.gave_up {
        context.error(
            &Error::new(format!("something is still waited for after {waited:?}"))
                .hint("`--timeout` says how long to wait"),
        );
        return Ok(exit.max(Exit::Failed));
    }
    Ok(exit)
}

/// Asks whether to go on where networks go or connections break. Removal on request needs no question: it was the request.
pub(super) fn agreed(context: &Context, plan: &Plan) -> bool {
    let operations = || plan.servers.iter().flat_map(|server| &server.groups).flat_map(|group| &group.operations);
    let removals = operations()
        .filter(|it| matches!(it.call, Call::RemoveNetwork { .. }) && it.cause != Cause::DeletionRequested)
        .count();
    let disruptive = operations().filter(|it| it.disruptive).count();
    if removals + disruptive == 0 {
        return true;
    }
    let planned = Report::planned(plan.clone());
    // All of it, for a part is hard to judge; on the stream that the question is on.
    context.say(&report::text(&planned, context));
    context.say(&format!("{}.", capitalized(&planned.summary())));
    let removes = match removals {
        0 => None,
        1 => Some("removes 1 network".to_owned()),
        count => Some(format!("removes {count} networks")),
    };
    let interrupts = (disruptive > 0).then(|| "interrupts connections".to_owned());
    let parts: Vec<String> = removes.into_iter().chain(interrupts).collect();
    confirmed(&format!("This {}. Go on? [y/N] ", parts.join(" and ")))
}

/// Whether a person says yes.
pub(super) fn confirmed(question: &str) -> bool {
    ask(question).is_some_and(|answer| matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// No is an answer and no error, but neither is it done.
pub(super) fn called_off(context: &Context) -> Exit {
    context.say("Nothing was done.");
    Exit::Failed
}

/// One line from standard input; `None` where there is none.
pub(super) fn ask(question: &str) -> Option<String> {
    let mut stderr = std::io::stderr().lock();
    stderr.write_all(printable(question).as_bytes()).and_then(|()| stderr.flush()).ok()?;
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if !std::io::stdin().is_terminal() {
        // A terminal has echoed the end of the line.
        let _ = writeln!(stderr);
    }
    match read {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(answer),
    }
}
