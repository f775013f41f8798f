//! `completion SHELL`

use clap::CommandFactory;

use super::{Cli, Context, Error, Exit};

/// Prints a completion script for a shell
///
/// For bash: `source <(landfall completion bash)`, or write it to a file in `~/.local/share/bash-completion/completions/`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    shell: clap_complete::Shell,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "landfall", &mut script);
    context.print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
