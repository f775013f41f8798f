//! `doctor [SERVER|DESTINATION|APPLICATION]`

use std::fmt::Write;
use std::time::{Duration, Instant};

use http::Uri;

use super::args::{ServerArgs, SetArgs, StateArgs, desired};
use super::output::DataFormat;
use super::output::style::{BAD, BOLD, DIM, GOOD, HINT, UNCERTAIN};
use super::repository::{Loaded, SourceArgs};
use super::{Context, Error, Exit, servers, target};
use crate::core::api::{Kind, ObjectKey};
use crate::core::doctor::Asked;
use crate::core::manifest::Manifests;
use crate::shell::http_client;
use crate::shell::inquiry::doctor::{Complaint, Diagnosis, diagnose};

/// Explains a 502, 503, 504 or 404 behind the proxy
///
/// Looks at the servers and names each cause that the Engine API shows, with what was seen and the command that fixes it. Changes nothing.
/// Exits 1 when a cause was found.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: landfall doctor shop --watch http://shop.example.com/")]
pub(super) struct Args {
    /// A declared server, destination, application or service: NAME, NAMESPACE/NAME or KIND/NAME. Default: all servers
    #[arg(value_name = "SERVER|DESTINATION|APPLICATION")]
    object: Option<String>,
    #[command(flatten)]
    source: SourceArgs,
    /// Namespace of the object
    #[arg(short, long, value_name = "NS", add = clap_complete::ArgValueCompleter::new(super::completion::complete_namespaces))]
    namespace: Option<String>,
    /// Ask the proxy itself for this address, and explain the answer
    #[arg(long, value_name = "URL", value_parser = parse_url)]
    watch: Option<Uri>,
    /// Where to connect for `--watch`, in place of the address's own host
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_place, requires = "watch")]
    via: Option<(String, u16)>,
    /// Also what may be a cause and may be none
    #[arg(long)]
    possible: bool,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    state: StateArgs,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

fn parse_url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| "not a URL".to_owned())?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(uri),
        _ => Err("write http:// or https:// and a host".to_owned()),
    }
}

fn parse_place(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text.rsplit_once(':').ok_or("write HOST:PORT")?;
    let port = port.parse().map_err(|_| "not a port".to_owned())?;
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let Loaded { manifests, .. } = args.source.load(&args.state, &args.set, context)?;
    let object = args.object.as_deref().map(|name| find(name, args.namespace.as_deref(), &manifests)).transpose()?;
    let desired = desired(&manifests, &args.set.set);
    let asked = match &args.watch {
        Some(uri) => Some(context.block_on(ask(uri, args.via.as_ref(), args.servers.timeout))?),
        None => None,
    };
    let complaint = Complaint { object: object.as_ref(), asked, possible: args.possible };
    let (connect, limits) = (servers::reader(servers::options(&args.servers)), servers::observation(&args.servers));
    let (diagnosis, observed) = context.block_on(diagnose(&desired, complaint, connect, limits))?;
    servers::complain(context, &observed);
    let mut exit = if diagnosis.findings.is_empty() { Exit::Done } else { Exit::Differences };
    if diagnosis.servers.iter().any(|server| !server.reachable) {
        exit = Exit::Failed;
    }
    match args.output {
        Format::Text => context.print(&text(&diagnosis))?,
        Format::Json => context.print_data(DataFormat::Json, &diagnosis)?,
    }
    Ok(exit)
}

/// The declared object of that name; of a server, a destination and a resource of the same name the first.
fn find(name: &str, namespace: Option<&str>, manifests: &Manifests) -> Result<ObjectKey, Error> {
    const KINDS: [Kind; 4] = [Kind::Server, Kind::Destination, Kind::Application, Kind::Service];
    if let Some((kind, rest)) = name.split_once('/')
        && kind.parse::<Kind>().is_ok()
    {
        return target::parse(kind, &[])?.require(rest, namespace, manifests);
    }
    for kind in KINDS {
        let target = target::Target { kind, names: Vec::new() };
        if let Some(key) = target.find(name, namespace, manifests)? {
            return Ok(key);
        }
    }
    Err(Error::new(format!("no manifest declares a server, destination, application or service {name:?}"))
        .hint("`landfall get all` lists what is declared")
        .maybe_hint(target::suggestion(&KINDS, name, namespace, manifests)))
}

/// One request, through the proxy.
async fn ask(uri: &Uri, via: Option<&(String, u16)>, limit: Duration) -> Asked {
    let since = Instant::now();
    // Traefik gives up on an address after 30 seconds, and its answer is what this is about.
    let limit = limit.max(Duration::from_secs(35));
    let via = via.map(|(host, port)| (host.as_str(), *port));
    let get = async {
        let url = uri.to_string().parse().map_err(|_| http_client::Failure::for_good("the address is not a URL"))?;
        http_client::get(url, via).await
    };
    let answer = match tokio::time::timeout(limit, get).await {
        Ok(Ok(answer)) => Ok(answer.status().as_u16()),
        Ok(Err(failure)) => Err(failure.message),
        Err(_) => Err(format!("no answer within {limit:?}")),
    };
    Asked {
        url: uri.to_string(),
        host: uri.host().unwrap_or_default().to_owned(),
        path: uri.path().to_owned(),
        tls: uri.scheme_str() == Some("https"),
        status: answer.as_ref().ok().copied(),
        problem: answer.err(),
        milliseconds: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

fn text(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    if let Some(asked) = &diagnosis.asked {
        let seconds = Duration::from_millis(asked.milliseconds).as_secs_f64();
        let _ = match (asked.status, &asked.problem) {
            (Some(status), _) => {
                let style = if asked.failed() { BAD } else { GOOD };
                writeln!(text, "{} answers {style}{status}{style:#} after {seconds:.1} s.\n", asked.url)
            }
            (None, problem) => {
                let problem = problem.as_deref().unwrap_or("no answer");
                writeln!(text, "{} {BAD}does not answer{BAD:#}: {problem}, after {seconds:.1} s.\n", asked.url)
            }
        };
    }
    for finding in &diagnosis.findings {
        let style = if finding.certain { BAD } else { UNCERTAIN };
        let _ = write!(text, "{style}{}{style:#}", finding.cause);
        if !finding.certain {
            text.push_str(" (possible)");
        }
        let about: Vec<&str> =
            [Some(&finding.server), finding.object.as_ref()].into_iter().flatten().map(String::as_str).collect();
        let _ = writeln!(text, " {DIM}{}{DIM:#}", about.join(", "));
        let _ = writeln!(text, "  {BOLD}{}{BOLD:#}", finding.message);
        let _ = writeln!(text, "  Seen through the proxy: {}", finding.seen);
        for evidence in &finding.evidence {
            let _ = writeln!(text, "  - {evidence}");
        }
        if let Some(advice) = &finding.advice {
            let _ = writeln!(text, "  {HINT}What to do:{HINT:#} {advice}");
        }
        for (at, command) in finding.fix.iter().enumerate() {
            let _ = writeln!(text, "  {HINT}{}{HINT:#} {command}", if at == 0 { "Fix:" } else { "    " });
        }
        text.push('\n');
    }
    let reachable = diagnosis.servers.iter().filter(|server| server.reachable).count();
    let containers: usize = diagnosis.servers.iter().map(|server| server.examined).sum();
    let examined = format!("{} examined on {}", count(containers, "container"), count(reachable, "server"));
    let certain = diagnosis.findings.iter().filter(|finding| finding.certain).count();
    let possible = diagnosis.findings.len() - certain;
    let unknown = match diagnosis.servers.len() - reachable {
        0 => String::new(),
        missing => format!("; {} could not be observed", count(missing, "server")),
    };
    let _ = match (certain, possible) {
        (0, 0) => writeln!(text, "{GOOD}Nothing found:{GOOD:#} {examined}{unknown}."),
        (0, possible) => {
            writeln!(text, "{UNCERTAIN}{}:{UNCERTAIN:#} {examined}{unknown}.", count(possible, "possible cause"))
        }
        (certain, 0) => writeln!(text, "{BAD}{} found:{BAD:#} {examined}{unknown}.", count(certain, "cause")),
        (certain, possible) => {
            writeln!(
                text,
                "{BAD}{} found{BAD:#}, {possible} more possible: {examined}{unknown}.",
                count(certain, "cause")
            )
        }
    };
    text
}

fn count(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}
