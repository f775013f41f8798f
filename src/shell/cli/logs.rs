//! `logs KIND/NAME`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use futures::stream::SelectAll;
use futures::{Stream, StreamExt};

use super::args::{self, ManifestArgs, ServerArgs, SetArgs, StateArgs};
use super::output::style::{BAD, GOOD, HINT, Style, UNCERTAIN, WARNING};
use super::repository::{GitArgs, Loaded};
use super::target;
use super::{Context, Error, Exit, seen, servers, signals};
use crate::core::api::{Kind, ObjectKey};
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::printable::one_line;
use crate::shell::engine::connect;
use crate::shell::engine::{DockerReader, LogLine, LogRequest};
use crate::shell::inquiry::logs::{Source, sources};

/// Shows what the containers of a resource have printed, of all replicas on all servers, each line with the name of its container
///
/// Resources that Landfall runs and adopted ones alike; of a destination, all of its members. `--follow` goes on with what is printed, containers that
/// are made later included, until interrupted.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Kind of object (application, database, service or destination), or KIND/NAME
    #[arg(value_name = "KIND", add = clap_complete::ArgValueCompleter::new(super::completion::complete_kinds))]
    kind: Option<String>,
    /// Name of the object, or NAMESPACE/NAME; repeats
    #[arg(value_name = "NAME", add = clap_complete::ArgValueCompleter::new(super::completion::complete_names))]
    names: Vec<String>,
    /// Manifest file, directory (searched recursively) or `-` for standard input; repeats. Without a path, or before KIND/NAME, the same as
    /// `--follow`, as other tools have it
    /// [default: $LANDFALL_MANIFESTS or ./manifests]
    #[arg(short = 'f', long = "filename", value_name = "PATH", num_args = 0..=1, default_missing_value = "")]
    filename: Vec<String>,
    /// Go on with what is printed, until interrupted
    #[arg(long)]
    follow: bool,
    /// How many of the latest lines of each container, or `all`
    #[arg(long, value_name = "LINES", default_value = "all", value_parser = parse_tail)]
    tail: Tail,
    /// Only what was printed since then, such as `10m`
    #[arg(long, value_name = "DURATION", value_parser = args::parse_duration)]
    since: Option<Duration>,
    /// When each line was printed
    #[arg(long)]
    timestamps: bool,
    /// Leave out the names of the containers
    #[arg(long)]
    no_prefix: bool,
    /// Namespace of the object
    #[arg(short, long, value_name = "NS", add = clap_complete::ArgValueCompleter::new(super::completion::complete_namespaces))]
    namespace: Option<String>,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    git: GitArgs,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    state: StateArgs,
}

/// `None`: all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tail(Option<u32>);

fn parse_tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" | "-1" => Ok(Tail(None)),
        number => {
            number.parse().map(|lines| Tail(Some(lines))).map_err(|_| "write a number of lines, or `all`".to_owned())
        }
    }
}

/// Between two looks for containers that were made since.
const LOOK: Duration = Duration::from_secs(2);

/// One for each container, in turn.
const COLOURS: [Style; 5] = [HINT, GOOD, UNCERTAIN, WARNING, BAD];

/// A line, and the container that it is of.
type Said = (usize, Result<LogLine, String>);

/// `-f` is the path of manifests everywhere, and "follow" where logs are shown: what follows it tells.
fn sorted_out(args: &Args) -> (Vec<PathBuf>, bool, Vec<String>) {
    let (mut paths, mut follow, mut words) = (Vec::new(), args.follow, Vec::new());
    for value in &args.filename {
        let is_target =
            !Path::new(value).exists() && value.split('/').next().is_some_and(|kind| kind.parse::<Kind>().is_ok());
        if value.is_empty() {
            follow = true;
        } else if is_target {
            follow = true;
            words.push(value.clone());
        } else {
            paths.push(PathBuf::from(value));
        }
    }
    words.extend(args.kind.iter().cloned());
    words.extend(args.names.iter().cloned());
    (paths, follow, words)
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let (paths, follow, words) = sorted_out(args);
    let Loaded { manifests, .. } = args.git.load_or_ask(&ManifestArgs::of(paths), &args.state, &args.set, context)?;
    let Some((kind, names)) = words.split_first() else {
        return Err(Error::new("no object was named").hint("such as `landfall logs application/frontend`"));
    };
    let target = target::parse(kind, names)?;
    if matches!(target.kind, Kind::Server | Kind::Notifier) {
        return Err(Error::new(format!("a {} has no containers", target.kind.as_str().to_lowercase())));
    }
    let found = target.names.iter().map(|name| target.require(name, args.namespace.as_deref(), &manifests));
    let mut keys: BTreeSet<ObjectKey> = found.collect::<Result<_, _>>()?;
    if target.names.is_empty() {
        let namespace = |key: &ObjectKey| args.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
        keys.extend(seen::keys(&manifests, target.kind).filter(namespace));
    }
    let desired = seen::relevant(&manifests, &keys, &args.set)?;
    context.block_on(show(args, context, &desired, &keys, follow))?
}

/// The containers whose logs are shown, on their servers.
struct Shown {
    name: String,
    style: Style,
}

async fn show(
    args: &Args,
    context: &Context,
    desired: &DesiredState,
    keys: &BTreeSet<ObjectKey>,
    follow: bool,
) -> Result<Exit, Error> {
    let options = servers::options(&args.servers);
    let mut exit = Exit::Done;
    let mut readers: Vec<(&DesiredServer, DockerReader)> = Vec::new();
    for server in desired.servers.values() {
        match connect::reader(server, &options) {
            Ok(reader) => readers.push((server, reader)),
            Err(error) => {
                context.error(&Error::new(format!("{} cannot be reached", server.key)).caused_by(&error));
                exit = Exit::Failed;
            }
        }
    }
    let several = readers.len() > 1;
    let mut known: BTreeSet<Source> = BTreeSet::new();
    let mut shown: Vec<Shown> = Vec::new();
    let mut streams: SelectAll<Pin<Box<dyn Stream<Item = Said> + Send>>> = SelectAll::new();
    let mut first = true;
    loop {
        for (server, reader) in &readers {
            let found = tokio::time::timeout(args.servers.timeout, sources(reader, &desired.set, server, keys)).await;
            let of = match found {
                Ok(Ok(of)) => of,
                failed => {
                    if first {
                        let why = match failed {
                            Ok(Err(error)) => error.to_string(),
                            _ => format!("no answer within {:?}", args.servers.timeout),
                        };
                        context.error(&Error::new(format!("{} cannot be reached", server.key)).because(&why));
                        exit = Exit::Failed;
                    }
                    continue;
                }
            };
            for (name, source) in of {
                if !known.insert(source.clone()) {
                    continue;
                }
                let at = shown.len();
                let prefix = if several { format!("{}/", server.key.name) } else { String::new() };
                shown.push(Shown { name: format!("{prefix}{name}"), style: COLOURS[at % COLOURS.len()] });
                let request = LogRequest {
                    follow,
                    // All of one that was made in the meantime.
                    tail: args.tail.0.filter(|_| first),
                    since: args.since,
                    timestamps: args.timestamps,
                };
                match source.open(reader, request).await {
                    Ok(lines) => {
                        let lines = lines.map(move |line| (at, line.map_err(|error| error.to_string())));
                        streams.push(Box::pin(lines));
                    }
                    Err(error) => {
                        context.error(&Error::new(format!("the log of {name} cannot be read")).caused_by(&error));
                        exit = Exit::Failed;
                    }
                }
            }
        }
        if first && shown.is_empty() && !follow {
            context.say("There are no such containers.");
        }
        first = false;
        let deadline = tokio::time::Instant::now() + LOOK;
        loop {
            let next = tokio::select! {
                next = streams.next(), if !streams.is_empty() => next,
                () = tokio::time::sleep_until(deadline), if follow => break,
                () = signals::interrupted() => return Ok(Exit::Interrupted),
                else => return Ok(exit),
            };
            match next {
                Some((at, Ok(line))) => {
                    if !context.print_while_read(&written(args, &shown, at, &line))? {
                        return Ok(exit);
                    }
                }
                // One that ends because its container is removed has nothing more to say.
                Some((at, Err(message))) if !follow => {
                    context.error(&Error::new(format!("the log of {} breaks off", shown[at].name)).because(&message));
                    exit = Exit::Failed;
                }
                Some((_, Err(_))) => {}
                None if follow => {
                    tokio::time::sleep_until(deadline).await;
                    break;
                }
                None => return Ok(exit),
            }
        }
    }
}

fn written(args: &Args, shown: &[Shown], at: usize, line: &LogLine) -> String {
    let text = one_line(&line.text);
    if args.no_prefix {
        return format!("{text}\n");
    }
    let width = shown.iter().map(|it| it.name.chars().count()).max().unwrap_or(0);
    let Shown { name, style } = &shown[at];
    format!("{style}{:width$} |{style:#} {text}\n", one_line(name))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn read(line: &str) -> (Vec<PathBuf>, bool, Vec<String>) {
        sorted_out(&Line::try_parse_from(["logs"].into_iter().chain(line.split_whitespace())).unwrap().args)
    }

    #[test]
    fn f_follows_as_in_other_tools_and_names_manifests_as_everywhere() {
        let target = |follow| (Vec::new(), follow, vec!["application/web".to_owned()]);
        assert_eq!(read("application/web"), target(false));
        assert_eq!(read("application/web -f"), target(true));
        assert_eq!(read("-f application/web"), target(true));
        assert_eq!(read("--follow application/web"), target(true));
        let (paths, follow, words) = read("-f manifests application/web");
        assert_eq!((paths, follow), (vec![PathBuf::from("manifests")], false));
        assert_eq!(words, ["application/web"]);
        assert_eq!(read("-f shop.yaml -f app web"), (vec!["shop.yaml".into()], true, vec!["app".into(), "web".into()]));
    }
}
