//! `graph -f PATH`

use std::collections::BTreeSet;

use super::args::{ScopeArgs, ServerArgs, SetArgs, StateArgs};
use super::repository::{Loaded, SourceArgs};
use super::seen::{self, Seen};
use super::{Context, Error, Exit, servers};
use crate::core::api::ObjectKey;
use crate::core::graph::{Drawn, Graph, Layout, Look, ServerShape, dot, mermaid, picture, svg};

/// Draws the declared servers, destinations and members
///
/// Needs the manifests only: no server is asked, unless `--observed` says so. With `-n` or `-l`, draws the chosen objects and what they are on.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Look at the servers, and draw how everything is: connected, detached, stopped, contended, unmanaged, with addresses
    #[arg(long)]
    observed: bool,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    state: StateArgs,
    /// Output format
    #[arg(short, long, visible_alias = "format", value_name = "FORMAT", default_value = "mermaid")]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A flowchart for Markdown on GitHub, GitLab and elsewhere
    Mermaid,
    /// For Graphviz
    Dot,
    /// A picture, complete in itself
    Svg,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let Loaded { manifests, .. } = args.source.load(&args.state, &args.set, context)?;
    let mut graph = Graph::new(manifests.objects().map(|located| &located.object));
    let scope = args.scope.scope();
    graph.narrow(|key| manifests.get(key).is_some_and(|located| scope.takes(&located.object)));
    if let Some(servers) = args.scope.servers(&manifests)? {
        graph.narrow_to(&servers);
    }
    let mut exit = Exit::Done;
    let mut shapes = Vec::new();
    if args.observed {
        let drawn: BTreeSet<ObjectKey> = graph
            .servers
            .iter()
            .flat_map(|server| std::iter::once(&server.key).chain(server.destinations.iter().map(|it| &it.key)))
            .cloned()
            .collect();
        let seen = seen::look(context, &manifests, &drawn, &args.set, &args.servers, &args.state, true)?;
        shapes = observed(&seen, &drawn);
        graph.observe(&shapes);
        servers::complain(context, &seen.observed);
        if !seen.complete() {
            exit = Exit::Failed;
        }
    }
    let text = match args.output {
        Format::Mermaid => mermaid(&graph),
        Format::Dot => dot(&graph),
        Format::Svg if args.observed => {
            picture(&shapes, Drawn { layout: Layout::Wide, alone: true, ends: usize::MAX, destinations: usize::MAX })
        }
        Format::Svg => svg(&graph),
    };
    context.print(&text)?;
    Ok(exit)
}

/// How the servers are, with those of their destinations that are drawn.
fn observed(seen: &Seen, drawn: &BTreeSet<ObjectKey>) -> Vec<ServerShape> {
    let servers = seen.desired.servers.iter().filter(|(key, _)| drawn.contains(key));
    servers
        .map(|(key, server)| {
            let look = seen.server_facts(key).map_or(Look::Failed { last: None }, Look::Done);
            ServerShape::new(server, look, |object| seen.conditions(object), |it| drawn.contains(&it.key))
        })
        .collect()
}
