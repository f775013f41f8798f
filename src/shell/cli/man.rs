//! `man`

use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::Man;

use super::{Cli, Context, Error, Exit};

/// Prints the manual page, or writes those of all commands into a directory
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory for landfall.1, landfall-apply.1 and so on
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(directory) = &args.write else {
        context.print(&page(command)?)?;
        return Ok(Exit::Done);
    };
    let failed = |error: std::io::Error| {
        Error::new(format!("cannot write manual pages to {}", directory.display())).caused_by(&error)
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    for (name, page) in pages(&command, "landfall")? {
        std::fs::write(directory.join(format!("{name}.1")), page).map_err(failed)?;
    }
    Ok(Exit::Done)
}

/// Of the command and of all below it.
fn pages(command: &clap::Command, name: &str) -> Result<Vec<(String, String)>, Error> {
    let mut pages = vec![(name.to_owned(), page(command.clone().name(name.to_owned()))?)];
    for below in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        pages.extend(pages_of(below, name)?);
    }
    Ok(pages)
}

fn pages_of(command: &clap::Command, above: &str) -> Result<Vec<(String, String)>, Error> {
    pages(command, &format!("{above}-{}", command.get_name()))
}

fn page(command: clap::Command) -> Result<String, Error> {
    let mut text = Vec::new();
    // Without a date: the same version has the same page.
    let man = Man::new(command).manual("Landfall").source(concat!("Landfall ", env!("CARGO_PKG_VERSION"))).date("");
    man.render(&mut text).map_err(|error| Error::new("cannot write the manual page").caused_by(&error))?;
    String::from_utf8(text).map_err(|error| Error::new("cannot write the manual page").caused_by(&error))
}
