//! `validate -f PATH`

use serde::Serialize;

use super::args::{ManifestArgs, wrong};
use super::output::DataFormat;
use super::output::style::styled;
use super::{Context, Error, Exit};
use crate::manifest::Diagnostic;

/// Checks manifests without talking to any server
///
/// Syntax, schema and references: every problem of all files is reported at once, each with its place.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    manifests: ManifestArgs,
    /// Output format
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<DataFormat>,
}

#[derive(Serialize)]
struct Verdict<'a> {
    valid: bool,
    /// How many objects are declared; absent where that cannot be told.
    objects: Option<usize>,
    diagnostics: &'a [Diagnostic],
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    match (args.manifests.read(), args.output) {
        (Ok(manifests), Some(format)) => {
            let diagnostics = manifests.unsupported();
            let verdict = Verdict { valid: true, objects: Some(manifests.objects().len()), diagnostics };
            context.print_data(format, &verdict)?;
        }
        (Ok(manifests), None) => {
            for diagnostic in manifests.unsupported() {
                context.say(&format!("{}\n", styled(diagnostic)));
            }
            let count = manifests.objects().len();
            context.print(&format!("{count} object{} valid\n", if count == 1 { " is" } else { "s are" }))?;
        }
        (Err(diagnostics), Some(format)) => {
            let verdict = Verdict { valid: false, objects: None, diagnostics: &diagnostics };
            context.print_data(format, &verdict)?;
            return Ok(Exit::Failed);
        }
        (Err(diagnostics), None) => return Err(wrong(&diagnostics, "")),
    }
    Ok(Exit::Done)
}
