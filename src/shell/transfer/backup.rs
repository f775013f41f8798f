//! Writing an archive: dumps of a database by its own tools, or the files of volumes while nothing writes to them.

use std::path::PathBuf;

use futures::future::join;
use tokio::sync::mpsc;

use super::halt::{Halted, Record};
use super::helpers;
use super::part::{self, Encryption, WAITING, Written};
use super::script::Asker;
use super::shelf::{Archive, Draft, Shelf};
use super::source::Resource;
use super::tree::Tree;
use super::volume::Helper;
use super::{TransferError, Watch};
use crate::core::backup::address::Address;
use crate::core::backup::database::{Tool, Verb};
use crate::core::backup::{Consistency, Content, DatabaseFacts, FORMAT, Manifest, Part};
use crate::shell::engine::Writer;

/// How an archive is written.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the archives of all objects are.
    pub root: Address,
    /// The state directory, for what is stopped, and for locks.
    pub state: PathBuf,
    /// Volumes are copied while containers write to them.
    pub live: bool,
    pub encryption: Encryption,
    /// So many of the object's archives stay.
    pub keep: Option<u32>,
    /// Space is not measured first.
    pub unmeasured: bool,
    /// It is what a restore replaces, and no backup.
    pub before_restore: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Done {
    pub archive: Archive,
    /// Archives that were removed because there are newer ones.
    pub removed: Vec<String>,
}

/// Writes one archive of a resource. `interrupted`: ends when the user wants it to end; what was stopped is started all the same.
pub async fn backup(
    engine: &dyn Writer,
    resource: &Resource,
    options: &Options,
    watch: &dyn Watch,
    interrupted: impl Future<Output = ()>,
) -> Result<Done, TransferError> {
    if resource.is_absent() {
        return Err(resource.absent());
    }
    let shelf = Shelf::of(&options.root, &resource.object)?;
    let shelf = if options.before_restore { shelf.before_restore() } else { shelf };
    let draft = shelf.begin(&options.state).await?;
    let run = Run { engine, resource, options, watch, draft: &draft };
    let (tool, instead) = run.tool().await;
    let written = match tool {
        Some(tool) => tokio::select! {
            dumped = run.dump(tool) => dumped,
            () = interrupted => Err(TransferError::Interrupted),
        },
        None => run.copy(instead, interrupted).await,
    };
    let manifest = match written {
        Ok(manifest) => manifest,
        Err(error) => {
            draft.discard().await;
            if let Err(error) = helpers::sweep(engine).await {
                watch.warn(&format!("a container that was made for the copy stays: {error}"));
            }
            return Err(error);
        }
    };
    let archive = draft.complete(manifest).await?;
    let removed = shelf.prune(options.keep).await?;
    Ok(Done { archive, removed })
}

struct Run<'a> {
    engine: &'a dyn Writer,
    resource: &'a Resource,
    options: &'a Options,
    watch: &'a dyn Watch,
    draft: &'a Draft,
}

impl Run<'_> {
    /// What the database is dumped with. `None`: its volumes are copied, and why they are, where a dump would be better.
    async fn tool(&self) -> (Option<Tool>, Option<String>) {
        let Some(tool) = self.resource.engine.map(Tool::of) else { return (None, None) };
        if !tool.may_be_absent {
            return (Some(tool), None);
        }
        let container = match self.resource.database() {
            Ok(detail) => &detail.container,
            Err(error) => return (None, Some(format!("the files of its volumes instead of a dump: {error}"))),
        };
        let asker = Asker { engine: self.engine, container: &container.id, tool, name: &container.name };
        match asker.ask(Verb::Ready).await {
            Ok(_) => (Some(tool), None),
            Err(error) => (None, Some(format!("the files of its volumes instead of a dump: {error}"))),
        }
    }

    fn manifest(
        &self,
        consistency: Consistency,
        database: Option<DatabaseFacts>,
        parts: Vec<Part>,
        warnings: Vec<String>,
    ) -> Manifest {
        Manifest {
            format: FORMAT.to_owned(),
            object: self.resource.object.to_string(),
            server: self.resource.server.path(),
            created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            consistency,
            database,
            parts,
            warnings,
        }
    }

    async fn dump(&self, tool: Tool) -> Result<Manifest, TransferError> {
        let detail = self.resource.database()?;
        let container = &detail.container;
        let asker = Asker { engine: self.engine, container: &container.id, tool, name: &container.name };
        self.watch.step("asking the database");
        let server_version = asker.ask(Verb::Version).await?.into_iter().next().unwrap_or_default();
        let size = asker.ask(Verb::Size).await?.first().and_then(|line| line.trim().parse().ok());
        self.has_room(size).await?;
        let tables = asker.ask(Verb::Tables).await?;
        let databases = asker.ask(Verb::Databases).await?;
        let mut parts = Vec::new();
        if tool.has_globals {
            parts.push(self.dumped(&asker, Verb::Globals, "", "globals.sql.zst", Content::Globals).await?);
        }
        for (number, database) in databases.into_iter().enumerate() {
            let file = format!("database-{number}.{}.zst", tool.extension);
            let content = Content::Dump { database: database.clone() };
            parts.push(self.dumped(&asker, Verb::Dump, &database, &file, content).await?);
        }
        let facts = self.resource.engine.map(|engine| DatabaseFacts {
            engine,
            server_version,
            image: container.image.clone(),
            tables,
        });
        Ok(self.manifest(Consistency::Snapshot, facts, parts, Vec::new()))
    }

    async fn dumped(
        &self,
        asker: &Asker<'_>,
        verb: Verb,
        database: &str,
        file: &str,
        content: Content,
    ) -> Result<Part, TransferError> {
        self.watch.step(&format!("dumping {}", content.describe()));
        let (to, mut through) = mpsc::channel::<hyper::body::Bytes>(WAITING);
        let (on, from) = mpsc::channel(WAITING);
        let count = async {
            while let Some(piece) = through.recv().await {
                self.watch.moved(piece.len() as u64);
                if on.send(piece).await.is_err() {
                    break;
                }
            }
            drop(on);
            // The tool has to learn that nobody takes what it prints.
            drop(through);
        };
        let writing = part::write(self.draft, file, from, self.options.encryption.clone(), false);
        let ((dumped, ()), written) = join(join(asker.run(verb, database, None, to), count), writing).await;
        // Why the disk would not take it says more than that the tool was cut off.
        let written = written?;
        dumped?;
        Ok(written.part(file.to_owned(), content, &self.options.encryption))
    }

    async fn copy(
        &self,
        instead: Option<String>,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Manifest, TransferError> {
        let Resource { object, volumes, others, not_covered, elsewhere, .. } = self.resource;
        if volumes.is_empty() {
            if let Some(elsewhere) = elsewhere.first() {
                return Err(self.resource.out_of_reach(elsewhere));
            }
            return Err(TransferError::failed(
                format!("{object} has no volumes: there is no data to copy"),
                "what is written into a container itself goes with the container",
            ));
        }
        let mut warnings: Vec<String> = not_covered.iter().map(|what| format!("not in the archive: {what}")).collect();
        warnings.extend(elsewhere.iter().map(|what| format!("not in the archive: {what}")));
        warnings.extend(instead);
        if let Some((container, volume)) = others.first().filter(|_| !self.options.live) {
            return Err(TransferError::refused(
                format!("{container}, which is not of {object}, runs and writes to the volume {volume}"),
                "stop it, or copy while it writes with --live",
            ));
        }
        self.has_room(self.size().await).await?;
        let halted = Halted::of(self.resource);
        if self.options.live || halted.is_empty() {
            let consistency = if halted.is_empty() && others.is_empty() {
                Consistency::Stopped
            } else {
                warnings.push("copied while containers wrote: files may be of different moments".to_owned());
                Consistency::Live
            };
            let (parts, lost) = tokio::select! {
                parts = self.volumes() => parts?,
                () = interrupted => return Err(TransferError::Interrupted),
            };
            warnings.extend(lost);
            return Ok(self.manifest(consistency, None, parts, warnings));
        }
        self.resource.can_be_stopped()?;
        let record = Record::write(&self.options.state, halted)?;
        let copied = tokio::select! {
            copied = record.while_stopped(self.engine, self.watch, self.volumes()) => copied,
            () = interrupted => Err(TransferError::Interrupted),
        };
        record.start(self.engine, self.watch).await?;
        let (parts, lost) = copied?;
        warnings.extend(lost);
        Ok(self.manifest(Consistency::Stopped, None, parts, warnings))
    }

    /// And what of their files is not in it.
    async fn volumes(&self) -> Result<(Vec<Part>, Vec<String>), TransferError> {
        let mut parts = Vec::new();
        let mut lost = Vec::new();
        for (number, (name, volume)) in self.resource.volumes.iter().enumerate() {
            self.watch.step(&format!("copying volume {name}"));
            let file = format!("volume-{number}.tar.zst");
            let helper = Helper::equipped(self.engine, name, &volume.image, false).await?;
            let (to, from) = mpsc::channel(WAITING);
            let writing = part::write(self.draft, &file, from, self.options.encryption.clone(), true);
            let (sent, written) = join(helper.send(to, self.watch), writing).await;
            let has_tar = helper.has_tar();
            let unread = |tree: &Tree| helper.loses(tree, true);
            let tree = written.as_ref().ok().and_then(|it| it.tree.as_ref());
            lost.extend(tree.map(unread).unwrap_or_default());
            helper.remove().await?;
            sent?;
            let mut written: Written = written?;
            let tree = written.tree.take().unwrap_or_default();
            let attributes = has_tar.then_some(tree.full);
            let content = Content::Volume { name: name.clone(), entries: tree.entries, tree: tree.digest, attributes };
            parts.push(written.part(file, content, &self.options.encryption));
        }
        Ok((parts, lost))
    }

    /// Bytes that the volumes take.
    async fn size(&self) -> Option<u64> {
        if self.options.unmeasured {
            return None;
        }
        self.watch.step("measuring the volumes");
        // Without it the copy is tried.
        let sizes = self.engine.volume_sizes().await.ok()?;
        Some(self.resource.volumes.keys().filter_map(|name| sizes.get(name)).sum())
    }

    /// Compared with what the data takes uncompressed, which an archive does not exceed.
    async fn has_room(&self, size: Option<u64>) -> Result<(), TransferError> {
        let Some(size) = size.filter(|_| !self.options.unmeasured) else { return Ok(()) };
        let Some(free) = self.draft.free().await else { return Ok(()) };
        if size <= free {
            return Ok(());
        }
        let mebibytes = |bytes: u64| bytes >> 20;
        Err(TransferError::failed(
            format!(
                "there are {} MiB of data, and {} has room for {} MiB",
                mebibytes(size),
                self.draft.address(),
                mebibytes(free)
            ),
            "free some space, name another place with --to, or leave it to compression with --no-space-check, as for files with holes, which the daemon counts \
             whole",
        ))
    }
}
