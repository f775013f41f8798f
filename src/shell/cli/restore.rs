//! `restore KIND NAME`

use std::path::PathBuf;
use std::time::Instant;

use super::args::{ServerArgs, SetArgs, StateArgs};
use super::repository::SourceArgs;
use super::transfer::{self, Chosen, Spinner, failed};
use super::{Context, Error, Exit, signals};
use crate::core::backup::address::Address;
use crate::core::printable::shell_word;
use crate::shell::transfer::restore::{self, Present};
use crate::shell::transfer::shelf::Archive;
use crate::shell::transfer::source::Resource;
use crate::shell::transfer::{Encryption, TransferError, Watch, backup};

/// Puts the data of a backup back into an application, database or service
///
/// The resource has to be there: `landfall apply` makes it. Every checksum is compared before anything is touched. Data that is there is
/// replaced only with `--replace`, and is backed up before. The containers of the resource are stopped while volumes are filled.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: landfall restore database orders --from /srv/backups --replace")]
pub(super) struct Args {
    #[command(flatten)]
    what: transfer::WhatArgs,
    /// The archive, or the place with the archives of all objects, of which the newest is taken
    #[arg(long, value_name = "PLACE", default_value = transfer::ROOT, value_parser = Address::parse)]
    from: Address,
    /// Replace the data that is there
    #[arg(long)]
    replace: bool,
    /// With `--replace`: don't back up what is replaced
    #[arg(long, requires = "replace")]
    no_backup: bool,
    /// Take a backup of another object
    #[arg(long)]
    foreign: bool,
    /// Key of age for an encrypted archive
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let chosen = Chosen::load(&args.what, &args.source, &args.set, &args.servers, &args.state, context)?;
    let archive = transfer::archive(&args.from, &chosen.object, context)?;
    if archive.object().as_ref() != Some(&chosen.object) && !args.foreign {
        context.error(
            &Error::new(format!("the backup is of {}, not of {}", archive.manifest.object, chosen.object))
                .hint("`--foreign` restores it all the same"),
        );
        return Ok(Exit::Refused);
    }
    let started = Instant::now();
    let spinner = Spinner::new(context);
    let work = Work { args, chosen: &chosen, archive: &archive, spinner: &spinner };
    let restored = context.block_on(work.run())?;
    spinner.end(context);
    let outcome = restored.as_ref().map(|before| {
        let replaced = before.as_ref().map(|it| format!("; what was there before is in {}", it.address));
        format!("restored from {}{}", archive.address, replaced.unwrap_or_default())
    });
    chosen.record(context, &transfer::RESTORE, started, outcome)?;
    match restored {
        Ok(before) => {
            if let Some(before) = before {
                context.say(&work.way_back(&before));
            }
            context.print(&format!("{} restored from {}\n", chosen.object, archive.address))?;
            Ok(Exit::Done)
        }
        Err(error) if error.is_refusal() => {
            context.error(&failed(&error, &format!("{} was not restored; nothing was touched", chosen.object)));
            Ok(Exit::Refused)
        }
        Err(error) => Err(failed(&error, &format!("{} was not restored", chosen.object))),
    }
}

struct Work<'a> {
    args: &'a Args,
    chosen: &'a Chosen,
    archive: &'a Archive,
    spinner: &'a Spinner,
}

impl Work<'_> {
    /// Where the data is that was replaced, and how it comes back.
    fn way_back(&self, before: &Archive) -> String {
        let object = &self.chosen.object;
        let mut command = format!(
            "landfall restore {} {}/{} --from {} --replace",
            object.kind.as_str().to_lowercase(),
            object.namespace,
            object.name,
            shell_word(&before.address.to_string())
        );
        if let Some(file) = self.args.identity.as_ref().filter(|_| before.manifest.is_encrypted()) {
            command.push_str(&format!(" --identity {}", shell_word(&file.display().to_string())));
        }
        format!(
            "what was there before is in {}, and is no backup that `--keep` removes; `{command}` puts it back",
            before.address
        )
    }

    /// Answers with the backup of what was replaced.
    async fn run(&self) -> Result<Option<Archive>, TransferError> {
        let Self { args, chosen, archive, spinner } = self;
        let state =
            transfer::state(&args.state).map_err(|error| refused(error.to_string(), "name one with --state"))?;
        let keys = transfer::keys(args.identity.as_deref(), archive)
            .map_err(|error| refused(error.to_string(), "name the file with the key of age with --identity"))?;
        let resource = chosen.find().await?;
        if resource.is_absent() && !resource.elsewhere.is_empty() {
            return Err(resource.absent());
        }
        if resource.is_absent() {
            return Err(refused(
                format!("there is no container of {} to restore into", chosen.object),
                "`landfall apply` makes it; then restore",
            ));
        }
        restore::check(archive, *spinner).await?;
        let present = restore::present(&chosen.writer, &resource, archive, *spinner).await?;
        let mut before = None;
        if let Present::Data(data) = &present {
            if !args.replace {
                return Err(refused(
                    format!("there is data already: {}", data.join("; ")),
                    "`--replace` has it backed up and replaced",
                ));
            }
            if !args.no_backup {
                before = Some(self.back_up(&resource, &state, keys.recipients()).await?);
            }
        }
        let replace = present != Present::Nothing;
        let options = restore::Options { state, replace, keys };
        let interrupted = signals::interrupted();
        let restored = restore::restore(&chosen.writer, &resource, archive, &options, *spinner, interrupted).await;
        match (restored, &before) {
            (Ok(()), _) => Ok(before),
            (Err(error), Some(before)) => Err(self.put_back(error, &resource, before, options).await),
            (Err(error), None) => Err(error),
        }
    }

    async fn back_up(
        &self,
        resource: &Resource,
        state: &std::path::Path,
        encryption: Encryption,
    ) -> Result<Archive, TransferError> {
        // Beside the others, if that is where this one is from.
        let root = match self.archive.address == self.args.from {
            true => self.archive.root().unwrap_or_else(|| Address::Directory(transfer::ROOT.into())),
            false => self.args.from.clone(),
        };
        let options = backup::Options {
            root,
            state: state.to_owned(),
            live: false,
            // What came encrypted does not leave a plain copy behind.
            encryption,
            keep: None,
            unmeasured: false,
            before_restore: true,
        };
        let done = backup::backup(&self.chosen.writer, resource, &options, self.spinner, signals::interrupted());
        Ok(done.await?.archive)
    }

    /// The volumes hold half of one thing: they get back what they had. A database has done so by itself, or names what it has.
    async fn put_back(
        &self,
        error: TransferError,
        resource: &Resource,
        before: &Archive,
        options: restore::Options,
    ) -> TransferError {
        self.spinner.warn(&self.way_back(before));
        if before.manifest.database.is_some() {
            return error;
        }
        let options = restore::Options { replace: true, ..options };
        let back =
            restore::restore(&self.chosen.writer, resource, before, &options, self.spinner, std::future::pending());
        match back.await {
            Ok(()) => self.spinner.warn("the volumes have got back what they had before"),
            Err(error) => self.spinner.warn(&format!("the volumes could not be given back what they had: {error}")),
        }
        error
    }
}

fn refused(message: String, hint: &str) -> TransferError {
    TransferError::Refused { message, hint: Some(hint.to_owned()) }
}
