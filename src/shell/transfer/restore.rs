//! Reading an archive back: nothing is touched before every checksum is right, and what is there is replaced only where that was asked for.

use std::cell::Cell;
use std::path::PathBuf;

use super::halt::{Halted, Record};
use super::part::{self, Identities};
use super::script::Asker;
use super::shelf::Archive;
use super::source::Resource;
use super::volume::{Helper, compare, empty, unread};
use super::{TransferError, Watch};
use crate::core::backup::database::{Tool, Verb};
use crate::core::backup::{Content, DatabaseFacts, Part};
use crate::core::workload::database::Written;
use crate::shell::engine::Writer;

/// How an archive is read back.
#[derive(Debug, Clone)]
pub struct Options {
    /// The state directory, for what is stopped.
    pub state: PathBuf,
    /// What is there goes.
    pub replace: bool,
    pub keys: Identities,
}

/// What is there, and would be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Present {
    Nothing,
    /// Named for people.
    Data(Vec<String>),
}

/// Checks that every file is what was written.
pub async fn check(archive: &Archive, watch: &dyn Watch) -> Result<(), TransferError> {
    for part in &archive.manifest.parts {
        watch.step(&format!("checking {}", part.content.describe()));
        part::check(archive, part).await?;
    }
    Ok(())
}

/// Looks at what would be replaced.
pub async fn present(
    engine: &dyn Writer,
    resource: &Resource,
    archive: &Archive,
    watch: &dyn Watch,
) -> Result<Present, TransferError> {
    watch.step("looking at what is there");
    let mut data = Vec::new();
    if archive.manifest.database.is_some() {
        let tool = tool_of(resource, archive)?;
        let container = &resource.database()?.container;
        let asker = Asker { engine, container: &container.id, tool, name: &container.name };
        let tables = asker.ask(Verb::Tables).await?;
        if !tables.is_empty() {
            data.push(format!("{} tables, among them {}", tables.len(), tables[0]));
        }
    }
    for (name, _) in volumes(archive) {
        resource.is_here(name)?;
        resource.can_be_stopped()?;
        let Some(image) = resource.image() else { return Err(resource.absent()) };
        let helper = Helper::make(engine, name, &image, false).await?;
        let is_empty = helper.is_empty().await;
        helper.remove().await?;
        if !is_empty? {
            data.push(format!("files in the volume {name}"));
        }
    }
    Ok(if data.is_empty() { Present::Nothing } else { Present::Data(data) })
}

/// Puts the data of the archive in the place of what is there. `interrupted`: see [`backup`](super::backup::backup).
pub async fn restore(
    engine: &dyn Writer,
    resource: &Resource,
    archive: &Archive,
    options: &Options,
    watch: &dyn Watch,
    interrupted: impl Future<Output = ()>,
) -> Result<(), TransferError> {
    let run = Run { engine, resource, archive, options, watch };
    if let Some(facts) = &archive.manifest.database {
        tokio::select! {
            restored = run.database(facts) => return restored,
            () = interrupted => return Err(TransferError::Interrupted),
        }
    }
    run.volumes(interrupted).await
}

fn volumes(archive: &Archive) -> impl Iterator<Item = (&String, &Part)> {
    archive.manifest.parts.iter().filter_map(|part| match &part.content {
        Content::Volume { name, .. } => Some((name, part)),
        _ => None,
    })
}

/// The tool of the engine that runs, if it reads what the archive's engine has written.
fn tool_of(resource: &Resource, archive: &Archive) -> Result<Tool, TransferError> {
    let incompatible = |message: String| {
        TransferError::refused(message, "restore into a database of the engine that the backup is from")
    };
    let Some(facts) = &archive.manifest.database else {
        return Err(incompatible(format!("{} holds no dump", archive.address)));
    };
    let same = |engine| engine == facts.engine || is_of_mysql(engine) && is_of_mysql(facts.engine);
    match resource.engine {
        Some(engine) if same(engine) => Ok(Tool::of(engine)),
        Some(engine) => Err(incompatible(format!(
            "the backup is of {}, and {} is {}",
            facts.engine.as_str(),
            resource.object,
            engine.as_str()
        ))),
        None => Err(incompatible(format!(
            "the backup is of {}, and {} is no database",
            facts.engine.as_str(),
            resource.object
        ))),
    }
}

fn is_of_mysql(engine: crate::core::api::DatabaseEngine) -> bool {
    matches!(engine, crate::core::api::DatabaseEngine::MySQL | crate::core::api::DatabaseEngine::MariaDB)
}

struct Run<'a> {
    engine: &'a dyn Writer,
    resource: &'a Resource,
    archive: &'a Archive,
    options: &'a Options,
    watch: &'a dyn Watch,
}

impl Run<'_> {
    fn content(&self, part: &Part) -> crate::shell::engine::Chunks {
        part::read(self.archive, part, &self.options.keys)
    }

    async fn database(&self, facts: &DatabaseFacts) -> Result<(), TransferError> {
        let tool = tool_of(self.resource, self.archive)?;
        let container = &self.resource.database()?.container;
        let asker = Asker { engine: self.engine, container: &container.id, tool, name: &container.name };
        let version = asker.ask(Verb::Version).await?.into_iter().next().unwrap_or_default();
        self.is_not_older(facts, version)?;
        for part in &self.archive.manifest.parts {
            let (verb, database) = match &part.content {
                Content::Globals => (Verb::RestoreGlobals, ""),
                Content::Dump { database } => (Verb::Restore, database.as_str()),
                Content::Volume { .. } => continue,
            };
            self.watch.step(&format!("restoring {}", part.content.describe()));
            asker.feed(verb, database, self.content(part)).await?;
        }
        Ok(())
    }

    /// A dump goes into the same or a newer major version.
    fn is_not_older(&self, facts: &DatabaseFacts, version: String) -> Result<(), TransferError> {
        let of = |version: &str| Written { engine: facts.engine, version: version.to_owned() }.major();
        match (of(&facts.server_version), of(&version)) {
            (Some(dumped), Some(here)) if dumped > here => Err(TransferError::refused(
                format!(
                    "the backup is of {} {}, and {} here is older",
                    facts.engine.as_str(),
                    facts.server_version,
                    version
                ),
                format!("declare version {dumped} or a newer one"),
            )),
            _ => Ok(()),
        }
    }

    async fn volumes(&self, interrupted: impl Future<Output = ()>) -> Result<(), TransferError> {
        if let Some((container, volume)) = self.resource.others.first() {
            return Err(TransferError::refused(
                format!(
                    "{container}, which is not of {}, runs and writes to the volume {volume}",
                    self.resource.object
                ),
                "stop it first",
            ));
        }
        self.resource.can_be_stopped()?;
        let halted = Halted::with_left(self.engine, self.resource).await?;
        let record = Record::write(&self.options.state, halted)?;
        let is_touched = Cell::new(false);
        let filled = async {
            record.stop(self.engine, self.watch).await?;
            is_touched.set(true);
            for (name, part) in volumes(self.archive) {
                self.volume(name, part).await?;
            }
            Ok(())
        };
        let filled = tokio::select! {
            filled = filled => filled,
            () = interrupted => Err(TransferError::Interrupted),
        };
        match filled {
            Ok(()) => record.start(self.engine, self.watch).await,
            Err(error) if !is_touched.get() => {
                record.start(self.engine, self.watch).await?;
                Err(error)
            }
            Err(error) => {
                // What is half there must not be used: the containers stay stopped, and the record with them is no promise any more.
                self.watch
                    .warn("the data is not complete, so the containers stay stopped until a restore has succeeded");
                record.forget()?;
                Err(error)
            }
        }
    }

    async fn volume(&self, name: &str, part: &Part) -> Result<(), TransferError> {
        let Content::Volume { tree, attributes, .. } = &part.content else { return Ok(()) };
        let Some(image) = self.resource.image() else { return Err(self.resource.absent()) };
        if self.options.replace {
            self.watch.step(&format!("emptying volume {name}"));
            empty(self.engine, name, &image).await?;
        }
        self.watch.step(&format!("filling volume {name}"));
        let helper = Helper::equipped(self.engine, name, &image, true).await?;
        let filled = async {
            helper.fill(self.content(part), self.watch).await?;
            self.watch.step(&format!("reading volume {name} again"));
            let there = helper.tree().await?;
            compare(&there, &helper, tree, attributes.as_deref())
                .map_err(|problem| TransferError::Damaged { what: format!("the volume {name}"), problem })?;
            for lost in helper.loses(&there, false) {
                self.watch.warn(&lost);
            }
            if attributes.as_ref().is_some_and(|it| *it != there.full) && !helper.has_tar() {
                self.watch.warn(&unread(name));
            }
            Ok(())
        };
        let filled = filled.await;
        helper.remove().await?;
        filled
    }
}
