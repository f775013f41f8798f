//! `backup KIND NAME` and `backup verify KIND NAME`

use std::path::PathBuf;
use std::time::Instant;

use clap::Subcommand;
use serde_json::json;

use super::args::{ServerArgs, SetArgs, StateArgs};
use super::output::DataFormat;
use super::repository::SourceArgs;
use super::transfer::{self, Chosen, Spinner, failed};
use super::{Context, Error, Exit, signals};
use crate::core::backup::Consistency;
use crate::core::backup::address::Address;
use crate::core::printable::bytes;
use crate::shell::transfer::shelf::Archive;
use crate::shell::transfer::{Encryption, backup, verify};

/// Writes the data of an application, database or service to an archive
///
/// A database is dumped by its own tools within its container, from one snapshot and while it is used. Of everything else the volumes are
/// archived; the containers of the resource are stopped for that and started again, unless `--live` says to copy while they write. An archive has
/// checksums of everything, and gets its name when it is complete: one that failed or was interrupted is never there.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Example: landfall backup database orders --to /srv/backups --keep 14")]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    write: WriteArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
struct WriteArgs {
    #[command(flatten)]
    what: transfer::WhatArgs,
    /// Where the archives of all objects are: a directory, `ssh://[user@]host[:port]/path`, or `s3://bucket/prefix`
    #[arg(long, value_name = "PLACE", default_value = transfer::ROOT, value_parser = Address::parse)]
    to: Address,
    /// How many archives of the object stay: older ones are removed once the new one is complete
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Copy volumes while containers write to them: files may be of different moments
    #[arg(long)]
    live: bool,
    /// Encrypt for this recipient of age (`age1…`); repeats
    #[arg(long, value_name = "RECIPIENT")]
    encrypt_to: Vec<String>,
    /// Begin although the data may not fit uncompressed
    #[arg(long)]
    no_space_check: bool,
    #[command(flatten)]
    common: CommonArgs,
}

/// Restores an archive to a container or volume that is thrown away afterwards, and asks what is in it
///
/// Nothing of the resource is touched.
#[derive(Debug, clap::Args)]
struct VerifyArgs {
    #[command(flatten)]
    what: transfer::WhatArgs,
    /// The archive, or the place with the archives of all objects, of which the newest is taken
    #[arg(long, value_name = "PLACE", default_value = transfer::ROOT, value_parser = Address::parse)]
    from: Address,
    /// Key of age for an encrypted archive
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, clap::Args)]
struct CommonArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    state: StateArgs,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    /// The place of the archive alone
    Name,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    match &args.action {
        Some(Action::Verify(args)) => try_out(args, context),
        None => write(&args.write, context),
    }
}

fn write(args: &WriteArgs, context: &Context) -> Result<Exit, Error> {
    let CommonArgs { source, set, servers, state, output } = &args.common;
    let encryption = Encryption::parse(&args.encrypt_to)
        .map_err(|problem| Error::new(problem).hint("age-keygen prints one for each key"))?;
    let chosen = Chosen::load(&args.what, source, set, servers, state, context)?;
    let options = backup::Options {
        root: args.to.clone(),
        state: transfer::state(state)?,
        live: args.live,
        encryption,
        keep: args.keep,
        unmeasured: args.no_space_check,
        before_restore: false,
    };
    let started = Instant::now();
    let spinner = Spinner::new(context);
    let done = context.block_on(async {
        let resource = chosen.find().await?;
        backup::backup(&chosen.writer, &resource, &options, &spinner, signals::interrupted()).await
    })?;
    spinner.end(context);
    let outcome = done.as_ref().map(|done| format!("backed up to {}", done.archive.address));
    chosen.record(context, &transfer::BACKUP, started, outcome)?;
    let done = done.map_err(|error| failed(&error, &format!("{} was not backed up (BackupFailed)", chosen.object)))?;
    let Archive { address, manifest, .. } = &done.archive;
    for warning in &manifest.warnings {
        context.warn(warning);
    }
    match output {
        Format::Json => {
            let document = json!({ "path": address.to_string(), "removed": done.removed, "manifest": manifest });
            context.print_data(DataFormat::Json, &document)?;
        }
        Format::Name => context.print(&format!("{address}\n"))?,
        Format::Text => {
            let how = match manifest.consistency {
                Consistency::Snapshot => "from one snapshot of each database",
                Consistency::Stopped => "while it was stopped",
                Consistency::Live => "while it was running",
            };
            let parts: Vec<String> = manifest.parts.iter().map(|part| part.content.describe()).collect();
            context.print(&format!(
                "{} backed up {how}: {}; {} of {}\n{}\n",
                chosen.object,
                parts.join(", "),
                bytes(manifest.size()),
                bytes(manifest.content_size()),
                address
            ))?;
            for name in &done.removed {
                context.say(&format!("removed {name}, for there are {} newer ones", args.keep.unwrap_or_default()));
            }
        }
    }
    Ok(Exit::Done)
}

fn try_out(args: &VerifyArgs, context: &Context) -> Result<Exit, Error> {
    let CommonArgs { source, set, servers, state, output } = &args.common;
    let chosen = Chosen::load(&args.what, source, set, servers, state, context)?;
    let archive = transfer::archive(&args.from, &chosen.object, context)?;
    let keys = transfer::keys(args.identity.as_deref(), &archive)?;
    let spinner = Spinner::new(context);
    let found = context.block_on(async {
        let resource = chosen.find().await?;
        let image = resource.containers.first().map(|it| it.config.image_id.clone());
        verify::verify(&chosen.writer, &archive, image.as_deref(), &keys, &spinner).await
    })?;
    spinner.end(context);
    let what = format!("the backup {} is no good (BackupFailed)", archive.address);
    let found = found.map_err(|error| failed(&error, &what))?;
    match output {
        Format::Json => {
            let document = json!({
                "path": archive.address.to_string(), "manifest": archive.manifest,
                "found": { "tables": found.tables, "volumes": found.volumes },
            });
            context.print_data(DataFormat::Json, &document)?;
        }
        Format::Name => context.print(&format!("{}\n", archive.address))?,
        Format::Text => {
            let mut text = format!("{} is good: every checksum is right, and it was restored\n", archive.address);
            for (table, rows) in &found.tables {
                text.push_str(&format!("  {table}: {rows} row{}\n", if *rows == 1 { "" } else { "s" }));
            }
            for (volume, entries) in &found.volumes {
                let entries = if *entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") };
                text.push_str(&format!("  volume {volume}: {entries}, all as they were\n"));
            }
            context.print(&text)?;
        }
    }
    Ok(Exit::Done)
}
