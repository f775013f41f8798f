//! `explain FIELD.PATH` and `explain REASON`

use clap_complete::ArgValueCompleter;

use super::completion::complete_paths;
use super::{Context, Error, Exit};
use crate::core::api::explain;
use crate::core::reasons;

/// Explains a kind or a field of a manifest, or a reason or condition that a plan, a status or an event gives
///
/// `landfall explain destination` lists the fields of a destination, `landfall explain destination.spec.network.mtu` explains one,
/// `landfall explain MassDeletionRefused` says what that means and what to do about it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Kind, and the names of fields, apart by dots; or a reason
    #[arg(value_name = "FIELD.PATH|REASON", add = ArgValueCompleter::new(complete_paths))]
    path: String,
    /// All fields below it, with their types
    #[arg(long)]
    recursive: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    if let Some(reason) = reasons::explain(&args.path) {
        context.print(&reason.to_string())?;
        return Ok(Exit::Done);
    }
    let explanation = explain::explain(&args.path).map_err(|message| {
        let error = Error::new(message);
        match reasons::near(&args.path) {
            Some(near) if !args.path.contains('.') => {
                error.hint(format!("there is the reason {near}: `landfall explain {near}`"))
            }
            _ => error,
        }
    })?;
    let text = if args.recursive { explanation.recursive().to_string() } else { explanation.to_string() };
    context.print(&text)?;
    Ok(Exit::Done)
}
