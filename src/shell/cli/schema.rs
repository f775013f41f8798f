//! `schema [KIND]`

use std::fs;
use std::path::PathBuf;

use super::{Context, Error, Exit};
use crate::core::api::{Kind, schema};

/// Prints the JSON Schema of a kind, or of any manifest document
///
/// Editors complete and check manifests with it: `# yaml-language-server: $schema=landfall.json`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Kind of object; the schema of any document if left out
    #[arg(conflicts_with = "write")]
    kind: Option<Kind>,
    /// Write the schemas of all kinds into this directory instead
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    if let Some(directory) = &args.write {
        let failed = |path: &PathBuf, error| Error::new(format!("cannot write {}", path.display())).caused_by(&error);
        fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
        for (name, content) in schema::files() {
            let path = directory.join(name);
            fs::write(&path, content).map_err(|error: std::io::Error| failed(&path, error))?;
        }
        return Ok(Exit::Done);
    }
    let schema = args.kind.map_or_else(schema::of_any_document, schema::of_kind);
    context.print(&format!("{schema:#}\n"))?;
    Ok(Exit::Done)
}
