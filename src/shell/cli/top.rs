//! `top [destinations|resources|containers]`

use std::time::Duration;

use serde_json::json;

use super::args::{self, ScopeArgs, ServerArgs, SetArgs, StateArgs};
use super::output::{Cell, DataFormat, Table};
use super::repository::{Loaded, SourceArgs};
use super::{Context, Error, Exit, servers};
use crate::core::desired::DesiredState;
use crate::core::printable::bytes;
use crate::core::usage::{ContainerUsage, Total, totals};
use crate::shell::engine::connect;
use crate::shell::inquiry::usage::of_server;

/// Shows what is used: processors, memory, network and disks, by destination, resource or container
///
/// Each container is looked at twice, and what happened between is shown a second. Changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: landfall top resources -n shop")]
pub(super) struct Args {
    /// What is added up
    #[arg(value_enum, default_value = "destinations")]
    by: By,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Time between the two looks, such as `1s`
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = args::parse_duration)]
    interval: Duration,
    /// Go on looking, until interrupted
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    state: StateArgs,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum By {
    #[value(alias = "destination", alias = "dest")]
    Destinations,
    #[value(alias = "resource")]
    Resources,
    #[value(alias = "container")]
    Containers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Yaml,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let Loaded { manifests, .. } = args.source.load(&args.state, &args.set, context)?;
    let mut desired = args::desired(&manifests, &args.set.set);
    if let Some(selection) = args.scope.select(&manifests, context) {
        desired = selection.narrow(desired, false);
    }
    args.scope.narrow(&mut desired, &manifests)?;
    if !args.watch {
        let Looked { containers, errors } = look(args, context, &desired)?;
        errors.iter().for_each(|error| context.error(error));
        show(args, context, &containers)?;
        return Ok(if errors.is_empty() { Exit::Done } else { Exit::Failed });
    }
    let mut first = true;
    loop {
        let Looked { containers, errors } = look(args, context, &desired)?;
        if !first && args.output == Format::Table && !context.look_again()? {
            return Ok(Exit::Done);
        }
        first = false;
        errors.iter().for_each(|error| context.error(error));
        if !show(args, context, &containers)? {
            return Ok(Exit::Done);
        }
    }
}

/// What came of one look at all servers.
struct Looked {
    containers: Vec<ContainerUsage>,
    errors: Vec<Error>,
}

fn look(args: &Args, context: &Context, desired: &DesiredState) -> Result<Looked, Error> {
    let options = servers::options(&args.servers);
    let looks = desired.servers.values().map(|server| {
        let reader = connect::reader(server, &options);
        let set = args.set.set.as_str();
        async move {
            let look = async { of_server(&reader?, server, set, args.interval, |_, _| true).await };
            (server, look.await)
        }
    });
    let looked = context.block_on(futures::future::join_all(looks))?;
    let mut found = Looked { containers: Vec::new(), errors: Vec::new() };
    for (server, looked) in looked {
        match looked {
            Ok(containers) => found.containers.extend(containers),
            Err(error) => {
                found.errors.push(Error::from(error).prefixed(format!("{} was not looked at: ", server.key)));
            }
        }
    }
    Ok(found)
}

/// False: whoever reads the output has gone.
fn show(args: &Args, context: &Context, containers: &[ContainerUsage]) -> Result<bool, Error> {
    let (heading, added): (&str, Vec<Total>) = match args.by {
        By::Destinations => ("DESTINATION", totals(containers, |it| Some(it.destination.clone()))),
        By::Resources => ("RESOURCE", totals(containers, |it| it.resource.clone())),
        By::Containers => ("CONTAINER", totals(containers, |it| Some(it.container.clone()))),
    };
    let format = match args.output {
        Format::Json => DataFormat::Json,
        Format::Yaml => DataFormat::Yaml,
        Format::Table => {
            if added.is_empty() {
                context.say("Nothing runs there.");
                return Ok(true);
            }
            return context.print_while_read(&table(heading, &added).render(context.width()));
        }
    };
    let document = match args.by {
        By::Containers => json!({ "containers": containers }),
        By::Destinations => json!({ "destinations": added }),
        By::Resources => json!({ "resources": added }),
    };
    match args.watch {
        true => context.print_data_while_read(format, &document),
        false => context.print_data(format, &document).map(|()| true),
    }
}

fn table(heading: &'static str, rows: &[Total]) -> Table {
    let mut table = Table::new([heading, "SERVER", "CPU", "MEMORY", "RECEIVED/S", "SENT/S", "READ/S", "WRITTEN/S"]);
    for Total { name, server, usage, .. } in rows {
        let rate = |bytes_a_second: f64| bytes(bytes_a_second as u64);
        table.row([
            Cell::from(name.clone()),
            server.clone().into(),
            format!("{:.2}", usage.cpu).into(),
            bytes(usage.memory).into(),
            rate(usage.received).into(),
            rate(usage.sent).into(),
            rate(usage.read).into(),
            rate(usage.written).into(),
        ]);
    }
    table
}
