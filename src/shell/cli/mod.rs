//! The command line: one file per command, whose doc comment is its help.
//!
//! A command is `pub(super) struct Args` and `pub(super) fn run(args, &Context) -> Result<Exit, Error>`, one variant of [`Command`] and one
//! line of [`dispatch`]. It prints its data with [`Context::print`], once and complete; whatever else there is to say goes to standard error.

mod apply;
mod approve;
mod args;
mod backup;
mod client;
mod clone;
mod completion;
mod controllers;
mod delete;
mod describe;
mod diff;
mod doctor;
mod drain;
mod drift;
mod error;
mod events;
mod explain;
mod follow;
mod get;
mod graph;
mod history;
mod identity;
mod jsonpath;
mod keeper;
mod listen;
mod logs;
mod man;
mod mcp;
mod output;
mod pause;
mod progress;
mod record;
mod relocate;
mod report;
mod repository;
mod restore;
mod rollout;
mod run;
mod scan;
mod schedule;
mod schema;
mod seen;
mod servers;
mod shared;
mod signals;
mod storage;
mod store;
mod subnets;
mod target;
mod top;
mod transfer;
mod validate;
mod version;
mod wait;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, Parser, Subcommand};

pub(crate) use error::Error;
pub(crate) use output::{ColorMode, Context};

/// Keeps the Docker networks of your servers the way your manifests say they are
///
/// A destination is a Docker network that applications, databases and service stacks are deployed to. Landfall reads YAML manifests,
/// observes every server, works out what differs, and converges: it creates networks, connects the reverse proxy and the members,
/// and refuses to delete a destination while anything still needs it.
#[derive(Debug, Parser)]
#[command(name = "landfall", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or no differences
  1  differences found (diff, drift), or a cause (doctor)
  2  an error: bad flags or manifests, a server that cannot be reached, an operation that failed
  3  something was refused: a blocked deletion, an adoption that no manifest asks for, an immutable field
  130  ended by Ctrl-C or SIGTERM, after completing what was under way
The larger one wins, and what could be done is done.";

/// What every command understands.
#[derive(Debug, clap::Args)]
struct GlobalArgs {
    /// Say more on standard error; repeat for more still
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    verbose: u8,
    /// When to use colours; NO_COLOR is honoured
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Global options")]
    color: ColorMode,
}

#[derive(Debug, Subcommand)]
enum Command {
    Validate(validate::Args),
    Diff(diff::Args),
    Apply(apply::Args),
    Run(run::Args),
    Drift(drift::Args),
    Get(get::Args),
    Describe(describe::Args),
    Wait(wait::Args),
    Logs(logs::Args),
    Rollout(rollout::Args),
    Events(events::Args),
    History(history::Args),
    Approve(approve::Args),
    Drain(drain::Args),
    Store(store::Args),
    Delete(delete::Args),
    Backup(Box<backup::Args>),
    Restore(restore::Args),
    Clone(clone::Args),
    Move(relocate::Args),
    Doctor(doctor::Args),
    Subnets(subnets::Args),
    Top(top::Args),
    Scan(scan::Args),
    Graph(graph::Args),
    Schema(schema::Args),
    Explain(explain::Args),
    Mcp(mcp::Args),
    Completion(completion::Args),
    Man(man::Args),
    Version(version::Args),
}

fn dispatch(command: Command, context: &Context) -> Result<Exit, Error> {
    match command {
        Command::Validate(args) => validate::run(&args, context),
        Command::Diff(args) => diff::run(&args, context),
        Command::Apply(args) => apply::run(&args, context),
        Command::Run(args) => run::run(&args, context),
        Command::Drain(args) => drain::run(&args, context),
        Command::Store(args) => store::run(&args, context),
        Command::Drift(args) => drift::run(&args, context),
        Command::Get(args) => get::run(&args, context),
        Command::Describe(args) => describe::run(&args, context),
        Command::Wait(args) => wait::run(&args, context),
        Command::Logs(args) => logs::run(&args, context),
        Command::Rollout(args) => rollout::run(&args, context),
        Command::Events(args) => events::run(&args, context),
        Command::History(args) => history::run(&args, context),
        Command::Approve(args) => approve::run(&args, context),
        Command::Delete(args) => delete::run(&args, context),
        Command::Backup(args) => backup::run(&args, context),
        Command::Restore(args) => restore::run(&args, context),
        Command::Clone(args) => clone::run(&args, context),
        Command::Move(args) => relocate::run(&args, context),
        Command::Doctor(args) => doctor::run(&args, context),
        Command::Subnets(args) => subnets::run(&args, context),
        Command::Top(args) => top::run(&args, context),
        Command::Scan(args) => scan::run(&args, context),
        Command::Graph(args) => graph::run(&args, context),
        Command::Schema(args) => schema::run(&args, context),
        Command::Explain(args) => explain::run(&args, context),
        Command::Mcp(args) => mcp::run(&args, context),
        Command::Completion(args) => completion::run(&args, context),
        Command::Man(args) => man::run(&args, context),
        Command::Version(args) => version::run(&args, context),
    }
}

/// How a command ended. The larger one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Done = 0,
    /// `diff`, `drift` and `doctor` found something.
    Differences = 1,
    Failed = 2,
    Refused = 3,
    /// Ctrl-C or SIGTERM, by the number of the former as a shell counts it.
    Interrupted = 130,
}

/// Runs one command line, program name included.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match completion::answered(&arguments) {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(Exit::Failed as u8);
        }
    }
    let parsed = Cli::command()
        .color(output::clap_color(&arguments))
        .try_get_matches_from(&arguments)
        .and_then(|matches| <Cli as clap::FromArgMatches>::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(mut error) => {
            suggest(&mut error);
            hide_password(&mut error);
            let error = number_expected(&error).unwrap_or(error);
            // Help and version on standard output, usage errors on standard error; a reader that went away is nobody's fault.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Failed as u8 } else { Exit::Done as u8 });
        }
    };
    let context = Context::new(cli.global.color, cli.global.verbose);
    let log = match &cli.command {
        // Nobody watches it: what it does has to be in the log, and when.
        Command::Run(args) => output::start_log(cli.global.verbose, args.log_format),
        _ => output::start_logging(cli.global.verbose),
    };
    if !matches!(cli.command, Command::Schema(_) | Command::Man(_)) {
        // State and what git checks out for it is nobody else's; no other command writes files.
        rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    }
    let exit = dispatch(cli.command, &context).unwrap_or_else(|error| {
        context.error(&error);
        error.exit()
    });
    log.end();
    ExitCode::from(exit as u8)
}

/// What other tools call a command, and what it is called here.
const ELSEWHERE: [(&[&str], &str); 9] = [
    (&["plan", "preview", "what-if"], "`landfall diff` shows what `apply` would do"),
    (
        &["status", "list", "ls", "ps", "show"],
        "`landfall get all` lists every object with its status, `landfall describe KIND NAME` shows one",
    ),
    (
        &["destroy", "down", "remove", "rm"],
        "`landfall delete -f DIR` deletes what the manifests declare, `landfall delete KIND NAME` one object",
    ),
    (&["import", "export"], "`landfall scan SERVER` writes manifests for what is there, with `adopt: true`"),
    (&["edit", "create", "set", "patch"], "`landfall apply -f FILE` brings about what a manifest says: edit the file"),
    (&["up", "deploy", "sync", "reconcile"], "`landfall apply` converges once, `landfall run` keeps it so"),
    (&["lint", "check", "config", "fmt"], "`landfall validate` checks manifests without talking to a server"),
    (&["restart"], "`landfall rollout restart KIND/NAME` replaces the containers of a resource"),
    (
        &["watch", "serve", "daemon", "controller", "server"],
        "`landfall run` keeps the servers the way the manifests say",
    ),
];

/// Who types the word of another tool is told the one of this tool.
fn suggest(error: &mut clap::Error) {
    use clap::error::{ContextKind, ContextValue};
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else { return };
    let known = ELSEWHERE.iter().find(|(words, _)| words.contains(&typed.to_lowercase().as_str()));
    if let Some((_, answer)) = known {
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![(*answer).into()]));
    }
}

/// Where a number is expected, in words instead of those of the parser.
fn number_expected(error: &clap::Error) -> Option<clap::Error> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    use std::num::{IntErrorKind, ParseIntError};
    let parsing = std::error::Error::source(error)?.downcast_ref::<ParseIntError>()?;
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    };
    let (argument, value) = (text(ContextKind::InvalidArg)?, text(ContextKind::InvalidValue)?);
    let expected = match parsing.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "the number is too large",
        _ => "a whole number is expected",
    };
    let message =
        format!("invalid value '{value}' for '{argument}': {expected}\n\nFor more information, try '--help'.\n");
    Some(clap::Error::raw(ErrorKind::ValueValidation, message))
}

/// A usage error repeats the value that is wrong, and is often kept in the log of a pipeline.
fn hide_password(error: &mut clap::Error) {
    use clap::error::{ContextKind, ContextValue};
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else { return };
    let shown = crate::core::manifest::mask::urls(value);
    error.insert(ContextKind::InvalidValue, ContextValue::String(shown));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
