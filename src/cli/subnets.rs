//! `subnets [SERVER...]`

use std::fmt::Write;

use super::args::{ManifestArgs, ServerArgs, SetArgs, desired};
use super::output::style::{BAD, BOLD, DIM, UNCERTAIN};
use super::output::{Cell, DataFormat, Table};
use super::{Context, Error, Exit, servers, target};
use crate::api::{Kind, ObjectKey};
use crate::observe::Interest;
use crate::subnets::{Map, map};

/// Shows which addresses and ranges are used, which are free, and which collide
///
/// Counts what the servers show: addresses of containers, gateways, and what networks keep back. Collisions between servers are told of
/// declared destinations; they matter where the servers route to each other.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Declared servers, NAME or NAMESPACE/NAME. Default: all
    #[arg(value_name = "SERVER")]
    names: Vec<String>,
    #[command(flatten)]
    manifests: ManifestArgs,
    /// Namespace of the servers
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    servers: ServerArgs,
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
    let manifests = args.manifests.load()?;
    let target = target::Target { kind: Kind::Server, names: Vec::new() };
    let names = args.names.iter().map(|name| target.require(name, args.namespace.as_deref(), &manifests));
    let chosen: Vec<ObjectKey> = names.collect::<Result<_, _>>()?;
    let mut desired = desired(&manifests, &args.set.set)?;
    desired.narrow(|key, _| {
        let in_namespace = args.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
        if chosen.is_empty() { in_namespace } else { chosen.contains(key) }
    });
    let nothing = |_: &_| Interest::Names([].into());
    let observed = servers::observe(context, &desired, &args.servers, nothing)?;
    let map = map(&desired, &observed);
    servers::complain(context, &observed);
    match args.output {
        Format::Text => context.print(&text(&map, context.width()))?,
        Format::Json => context.print_data(DataFormat::Json, &map)?,
    }
    Ok(if map.servers.iter().all(|server| server.reachable) { Exit::Done } else { Exit::Failed })
}

fn text(map: &Map, width: Option<usize>) -> String {
    let mut text = String::new();
    let mut networks = Table::new(["SERVER", "SUBNET", "NETWORK", "DESTINATION", "USED", "FREE"]);
    let mut pools = Table::new(["SERVER", "POOL", "CUT INTO", "USED", "FREE", "NEXT"]);
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
            ]);
        }
    }
    let _ = writeln!(text, "{BOLD}Networks{BOLD:#}");
    text.push_str(&networks.render(width));
    let _ = writeln!(text, "\n{BOLD}Address pools{BOLD:#}");
    text.push_str(&pools.render(width));
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

/// Marked where little is left.
fn free(free: Option<u64>, total: Option<u64>) -> Cell {
    match (free, total) {
        (Some(0), _) => Cell::styled("0", BAD),
        (Some(free), Some(total)) if free.saturating_mul(10) < total => Cell::styled(free.to_string(), UNCERTAIN),
        (Some(free), _) => free.to_string().into(),
        (None, _) => "many".into(),
    }
}
