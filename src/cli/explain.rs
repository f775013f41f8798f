//! `explain FIELD.PATH`

use super::{Context, Error, Exit};

/// Explains a kind or a field of a manifest
///
/// `landfall explain destination` lists the fields of a destination, `landfall explain destination.spec.network.mtu` explains one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Kind, and the names of fields, apart by dots
    #[arg(value_name = "FIELD.PATH")]
    path: String,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let explanation = crate::api::explain::explain(&args.path).map_err(Error::new)?;
    context.print(&explanation.to_string())?;
    Ok(Exit::Done)
}
