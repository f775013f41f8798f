//! `subnets [SERVER...]`

use std::fmt::Write;
use std::time::Duration;

use super::args::{ServerArgs, SetArgs, StateArgs, desired};
use super::output::style::{BAD, BOLD, DIM, UNCERTAIN};
use super::output::{Cell, DataFormat, Table};
use super::repository::{Loaded, SourceArgs};
use super::{Context, Error, Exit, servers, target};
use crate::core::api::{Kind, ObjectKey};
use crate::core::desired::DesiredState;
use crate::core::observed::Observations;
use crate::core::subnets::{Map, SharedPool, days_left, is_low, map};
use crate::shell::observe::Interest;
use crate::shell::store::state_directory;
use crate::shell::store::usage::Usage;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(5);

/// Shows which addresses and ranges are used, which are free, and which collide
///
/// Counts what the servers show: addresses of containers, gateways, and what networks keep back. Collisions between servers are told of
/// declared destinations; they matter where the servers route to each other.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Declared servers, NAME or NAMESPACE/NAME. Default: all
    #[arg(value_name = "SERVER", add = clap_complete::ArgValueCompleter::new(super::completion::complete_servers))]
    names: Vec<String>,
    #[command(flatten)]
    source: SourceArgs,
    /// Namespace of the servers
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
    /// Go on, until interrupted: everything again whenever something has changed, as looked at every 5 s
    #[arg(short, long)]
    watch: bool,
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

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let Loaded { manifests, .. } = args.source.load(&args.state, &args.set, context)?;
    let target = target::Target { kind: Kind::Server, names: Vec::new() };
    let names = args.names.iter().map(|name| target.require(name, args.namespace.as_deref(), &manifests));
    let chosen: Vec<ObjectKey> = names.collect::<Result<_, _>>()?;
    let mut desired = desired(&manifests, &args.set.set);
    desired.narrow(|key, _| {
        let in_namespace = args.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
        if chosen.is_empty() { in_namespace } else { chosen.contains(key) }
    });
    let mut shown: Option<serde_json::Value> = None;
    loop {
        let (map, observed) = look(args, context, &desired)?;
        let document = serde_json::json!(map);
        if shown.as_ref() != Some(&document) {
            if shown.is_some() && args.output == Format::Text && !context.look_again()? {
                return Ok(Exit::Done);
            }
            servers::complain(context, &observed);
            let read_on = match args.output {
                Format::Text => context.print_while_read(&text(&map, context.width()))?,
                Format::Json => context.print_data_while_read(DataFormat::Json, &document)?,
            };
            if !read_on {
                return Ok(Exit::Done);
            }
        }
        if !args.watch {
            return Ok(if map.servers.iter().all(|server| server.reachable) { Exit::Done } else { Exit::Failed });
        }
        shown = Some(document);
        std::thread::sleep(PAUSE);
    }
}

/// What is used now, with how long what is free lasts.
fn look(args: &Args, context: &Context, desired: &DesiredState) -> Result<(Map, Observations), Error> {
    let nothing = |_: &_| Interest::Names([].into());
    let observed = servers::observe(context, desired, &args.servers, nothing)?;
    let mut map = map(desired, &observed);
    if let Ok(directory) = state_directory(args.state.state.as_deref()) {
        let usage = Usage::in_state(&directory);
        let now = jiff::Timestamp::now().as_second();
        for ((key, _), server) in desired.servers.iter().zip(&mut map.servers).filter(|(_, it)| it.reachable) {
            let levels: Vec<_> = server.levels().collect();
            server.forecast(&usage.add(Some(key), now, levels.into_iter()));
        }
        // Of some of the servers it would be less than is used.
        if desired.elsewhere().next().is_none() && map.servers.iter().all(|server| server.reachable) {
            let levels: Vec<_> = map.shared_pools.iter().map(|pool| (pool.usage.key(), pool.usage.used)).collect();
            usage.add(None, now, levels.into_iter());
        }
        let samples = usage.of(None);
        for SharedPool { usage, .. } in &mut map.shared_pools {
            usage.days_left = samples.get(&usage.key()).and_then(|samples| days_left(samples, usage.free));
        }
    }
    Ok((map, observed))
}

fn text(map: &Map, width: Option<usize>) -> String {
    let mut text = String::new();
    let mut networks = Table::new(["SERVER", "SUBNET", "NETWORK", "DESTINATION", "USED", "FREE", "LASTS"]);
    let mut pools = Table::new(["SERVER", "POOL", "CUT INTO", "USED", "FREE", "NEXT", "LASTS"]);
    let mut shared = Table::new(["POOL", "SERVERS", "CUT INTO", "USED", "FREE", "NEXT", "LASTS"]);
    for server in map.servers.iter().filter(|server| server.reachable) {
        for usage in &server.networks {
            let range = usage.ip_range.as_ref().map(|range| format!(", of it {range}")).unwrap_or_default();
            networks.row([
                server.server.clone().into(),
                format!("{}{range}", usage.subnet).into(),
                usage.network.clone().into(),
                usage.destination.clone().unwrap_or_default().into(),
                usage.used.to_string().into(),
                free(usage.free, usage.total),
                lasts(usage.days_left),
            ]);
        }
        for pool in &server.pools {
            pools.row([
                server.server.clone().into(),
                pool.base.clone().into(),
                format!("/{}", pool.size).into(),
                pool.used.to_string().into(),
                free(Some(pool.free), Some(pool.total)),
                pool.next.clone().unwrap_or_default().into(),
                lasts(pool.days_left),
            ]);
        }
    }
    for SharedPool { servers, usage } in &map.shared_pools {
        shared.row([
            usage.base.clone().into(),
            servers.join(", ").into(),
            format!("/{}", usage.size).into(),
            usage.used.to_string().into(),
            free(Some(usage.free), Some(usage.total)),
            usage.next.clone().unwrap_or_default().into(),
            lasts(usage.days_left),
        ]);
    }
    let _ = writeln!(text, "{BOLD}Networks{BOLD:#}");
    text.push_str(&networks.render(width));
    let _ = writeln!(text, "\n{BOLD}Address pools{BOLD:#}");
    text.push_str(&pools.render(width));
    if !map.shared_pools.is_empty() {
        let _ = writeln!(text, "\n{BOLD}Pools of servers{BOLD:#}");
        text.push_str(&shared.render(width));
    }
    if !map.collisions.is_empty() {
        let _ = writeln!(text, "\n{BOLD}Collisions{BOLD:#}");
    }
    for collision in &map.collisions {
        let (a, b) = (&collision.a, &collision.b);
        let style = if collision.same_server { BAD } else { UNCERTAIN };
        let place = if collision.same_server { "on one server" } else { "between servers" };
        let _ = writeln!(
            text,
            "{style}{}{style:#} of {} on {} and {style}{}{style:#} of {} on {} {DIM}({place}){DIM:#}",
            a.subnet, a.network, a.server, b.subnet, b.network, b.server
        );
    }
    text
}

/// Days until it is used up. A forecast for years ahead says nothing.
fn lasts(days: Option<u64>) -> Cell {
    match days {
        None => String::new().into(),
        Some(days) if days > 365 => "over a year".into(),
        Some(1) => Cell::styled("1 day", BAD),
        Some(days) if days < 14 => Cell::styled(format!("{days} days"), UNCERTAIN),
        Some(days) => format!("{days} days").into(),
    }
}

/// Marked where little is left.
fn free(free: Option<u64>, total: Option<u64>) -> Cell {
    match (free, total) {
        (Some(0), _) => Cell::styled("0", BAD),
        (Some(left), total) if is_low(free, total) => Cell::styled(left.to_string(), UNCERTAIN),
        (Some(free), _) => free.to_string().into(),
        (None, _) => "many".into(),
    }
}
