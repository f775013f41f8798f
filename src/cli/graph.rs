//! `graph -f PATH`

use super::args::{ScopeArgs, SetArgs, StateArgs};
use super::repository::{Loaded, SourceArgs};
use super::{Context, Error, Exit};
use crate::graph::{Graph, dot, mermaid, svg};

/// Draws the declared servers, destinations and members
///
/// Needs the manifests only: no server is asked. With `-n` or `-l`, draws the chosen objects and what they are on.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    set: SetArgs,
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
    let text = match args.output {
        Format::Mermaid => mermaid(&graph),
        Format::Dot => dot(&graph),
        Format::Svg => svg(&graph),
    };
    context.print(&text)?;
    Ok(Exit::Done)
}
