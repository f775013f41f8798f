//! Volumes of a resource to another place, on the same server or another one, through this machine: nothing of them is ever on its disk, and a
//! few pieces of a volume at a time are in its memory.

use std::path::PathBuf;

use futures::future::join4;
use hyper::body::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use super::fill::{Filling, NewVolume};
use super::halt::{Halted, Record};
use super::helpers::HELPER;
use super::part::WAITING;
use super::source::Resource;
use super::tree::{Tree, TreeReader};
use super::volume::{Helper, compare, room};
use super::{TransferError, Watch};
use crate::shell::engine::{Chunks, Writer};

/// How it is copied.
#[derive(Debug, Clone)]
pub struct Options {
    /// The state directory, for what is stopped.
    pub state: PathBuf,
    /// Volumes are copied while containers write to them.
    pub live: bool,
    /// What is stopped for the copy stays stopped where that succeeds, and this is where it has gone.
    pub moved_to: Option<String>,
    /// Begin without having measured.
    pub unmeasured: bool,
}

/// Where to.
pub struct Target<'a> {
    pub engine: &'a dyn Writer,
    /// Of the server, for messages.
    pub name: String,
    /// The resource's image as it is called, which the server will need in any case.
    pub image: String,
}

/// One volume of the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub from: String,
    pub to: NewVolume,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    pub from: String,
    pub to: String,
    /// Files, directories and links.
    pub entries: u64,
    /// Of the stream.
    pub bytes: u64,
    /// The same at both ends.
    pub digest: String,
}

/// Copies them. `interrupted`: ends when the user wants it to end; what was stopped is started then, and what was made is removed.
pub async fn copy(
    engine: &dyn Writer,
    resource: &Resource,
    target: &Target<'_>,
    pairs: &[Pair],
    options: &Options,
    watch: &dyn Watch,
    interrupted: impl Future<Output = ()>,
) -> Result<Vec<Copied>, TransferError> {
    let run = Run { engine, resource, target, pairs, options, watch };
    run.others()?;
    run.elsewhere()?;
    let image = run.image().await?;
    let volumes: Vec<NewVolume> = pairs.iter().map(|pair| pair.to.clone()).collect();
    run.is_free().await?;
    let filling = Filling::begin(target.engine, &options.state, &volumes, &image, watch).await?;
    let copied = async {
        run.are_empty(&image).await?;
        run.has_room(&image).await?;
        run.stopped(&image, interrupted).await
    };
    match copied.await {
        Ok((copied, record)) => {
            // Nothing is started or let go of before the other end may be used.
            let complete = filling.complete().await;
            if let Some(record) = record {
                match (&complete, &options.moved_to) {
                    (Ok(()), Some(_)) => record.forget()?,
                    _ => record.start(engine, watch).await?,
                }
            }
            complete.map(|()| copied)
        }
        Err(error) => {
            if let Err(left) = filling.undo().await {
                watch.warn(&format!(
                    "what was copied to {} is not removed ({left}); the next attempt does",
                    target.name
                ));
            }
            Err(error)
        }
    }
}

struct Run<'a> {
    engine: &'a dyn Writer,
    resource: &'a Resource,
    target: &'a Target<'a>,
    pairs: &'a [Pair],
    options: &'a Options,
    watch: &'a dyn Watch,
}

impl Run<'_> {
    /// A clone may do without; what is moved is taken to be whole.
    fn elsewhere(&self) -> Result<(), TransferError> {
        for elsewhere in &self.resource.elsewhere {
            if self.options.moved_to.is_some() {
                return Err(self.resource.out_of_reach(elsewhere));
            }
            self.watch.warn(&format!("not copied: {elsewhere}"));
        }
        Ok(())
    }

    fn others(&self) -> Result<(), TransferError> {
        let copied = |volume: &String| self.pairs.iter().any(|pair| pair.from == *volume);
        match self.resource.others.iter().find(|(_, volume)| copied(volume)) {
            Some((container, volume)) if !self.options.live => Err(TransferError::refused(
                format!(
                    "{container}, which is not of {}, runs and writes to the volume {volume}",
                    self.resource.object
                ),
                "stop it, or copy while it writes with --live",
            )),
            _ => Ok(()),
        }
    }

    /// One that is on the target, for the containers that reach volumes there: the resource's own, which will be needed, else any.
    async fn image(&self) -> Result<String, TransferError> {
        let Target { engine, name, image } = self.target;
        if let Some(there) = engine.image(image).await? {
            return Ok(there.id);
        }
        self.watch.step(&format!("pulling {image} to {name}"));
        let pulled = engine.pull_image(image, &|_, _| {}).await;
        if let Some(there) = engine.image(image).await? {
            return Ok(there.id);
        }
        if let Some(any) = engine.storage().await?.images.into_iter().next() {
            self.watch
                .warn(&format!("{name} has no image {image}, and cannot pull it: the resource cannot run there yet"));
            return Ok(any.id);
        }
        Err(TransferError::failed(
            match pulled {
                Err(error) => format!("{name} has no image, and {image} cannot be pulled: {error}"),
                Ok(()) => format!("{name} has no image {image} after it was pulled"),
            },
            "volumes are reached through a container, which needs an image: docker pull any, busybox for example",
        ))
    }

    /// Nothing runs on the volumes that are to be filled.
    async fn is_free(&self) -> Result<(), TransferError> {
        let storage = self.target.engine.storage().await?;
        let containers = self.target.engine.containers().await?;
        // What a copy that was cut off has left is cleared away before the next one begins, which is refused while another is at work.
        for container in containers.iter().filter(|it| it.state.is_live() && !it.labels.contains_key(HELPER)) {
            let user = storage.users.iter().find(|user| user.id == container.id.as_str());
            let volumes = user.into_iter().flat_map(|user| &user.volumes);
            let taken = volumes.into_iter().find(|volume| self.pairs.iter().any(|pair| pair.to.name == **volume));
            if let Some(volume) = taken {
                return Err(TransferError::refused(
                    format!(
                        "{} runs on {} with the volume {volume}, which was to be filled",
                        container.name, self.target.name
                    ),
                    "copy before the new instance is made",
                ));
            }
        }
        Ok(())
    }

    /// Data that is there is not written over.
    async fn are_empty(&self, image: &str) -> Result<(), TransferError> {
        for pair in self.pairs {
            let helper = Helper::make(self.target.engine, &pair.to.name, image, false).await?;
            let is_empty = helper.is_empty().await;
            helper.remove().await?;
            if !is_empty? {
                return Err(TransferError::refused(
                    format!("there is data already in the volume {} of {}", pair.to.name, self.target.name),
                    "choose another name, or look whether it can go: docker volume rm",
                ));
            }
        }
        Ok(())
    }

    /// Compared with what the volumes take now.
    async fn has_room(&self, image: &str) -> Result<(), TransferError> {
        let Some(first) = self.pairs.first().filter(|_| !self.options.unmeasured) else { return Ok(()) };
        self.watch.step("measuring the volumes");
        let sizes = self.engine.volume_sizes().await.unwrap_or_default();
        let size: u64 = self.pairs.iter().filter_map(|pair| sizes.get(&pair.from)).sum();
        self.watch.expect(size);
        match room(self.target.engine, &first.to.name, image).await? {
            Some(free) if free < size => Err(TransferError::failed(
                format!(
                    "there are {} MiB of data, and {} has room for {} MiB",
                    size >> 20,
                    self.target.name,
                    free >> 20
                ),
                "free some space there; --no-space-check begins all the same, as for files with holes, which the daemon counts whole",
            )),
            Some(_) => Ok(()),
            None => {
                self.watch.warn(&format!(
                    "whether there is room on {} is not known: the image has no shell to ask with",
                    self.target.name
                ));
                Ok(())
            }
        }
    }

    /// With everything that writes to the volumes stopped, unless it is to go on.
    async fn stopped(
        &self,
        image: &str,
        interrupted: impl Future<Output = ()>,
    ) -> Result<(Vec<Copied>, Option<Record>), TransferError> {
        let halted = Halted::of(self.resource);
        if self.options.live || halted.is_empty() {
            if !halted.is_empty() {
                self.watch.warn("copied while containers wrote: files may be of different moments");
            }
            return tokio::select! {
                copied = self.all(image) => Ok((copied?, None)),
                () = interrupted => Err(TransferError::Interrupted),
            };
        }
        self.resource.can_be_stopped()?;
        if let Some(service) = halted.services.first().filter(|_| self.options.moved_to.is_some()) {
            return Err(TransferError::refused(
                format!("{} is a Swarm service, which `move` does not leave stopped behind it", service.name),
                "scale it to 0 first, or move it while it runs with --live",
            ));
        }
        let halted = Halted { moved_to: self.options.moved_to.clone(), ..halted };
        let record = Record::write(&self.options.state, halted)?;
        let copied = tokio::select! {
            copied = record.while_stopped(self.engine, self.watch, self.all(image)) => copied,
            () = interrupted => Err(TransferError::Interrupted),
        };
        match copied {
            Ok(copied) => Ok((copied, Some(record))),
            Err(error) => {
                record.start(self.engine, self.watch).await?;
                Err(error)
            }
        }
    }

    async fn all(&self, image: &str) -> Result<Vec<Copied>, TransferError> {
        let mut copied = Vec::new();
        for pair in self.pairs {
            copied.push(self.one(pair, image).await?);
        }
        Ok(copied)
    }

    async fn one(&self, pair: &Pair, image: &str) -> Result<Copied, TransferError> {
        let Some(volume) = self.resource.volumes.get(&pair.from) else { return Err(self.resource.absent()) };
        let mut from = Helper::equipped(self.engine, &pair.from, &volume.image, false).await?;
        let copied = async {
            let to = Helper::equipped(self.target.engine, &pair.to.name, image, true).await?;
            from.for_reader(&to);
            let copied = async {
                self.watch.step(&format!("copying volume {} to {} on {}", pair.from, pair.to.name, self.target.name));
                let (tree, bytes) = self.stream(&from, &to).await?;
                self.watch.step(&format!("reading volume {} on {} again", pair.to.name, self.target.name));
                let arrived = to.tree().await?;
                let attributes = from.has_tar().then_some(tree.full.as_str());
                let compared = compare(&arrived, &to, &tree.digest, attributes);
                compared.map_err(|problem| TransferError::Damaged {
                    what: format!("the volume {} on {}", pair.to.name, self.target.name),
                    problem,
                })?;
                let lost = if from.has_tar() { to.loses(&tree, false) } else { from.loses(&tree, true) };
                for lost in lost {
                    self.watch.warn(&lost);
                }
                Ok::<_, TransferError>((arrived, bytes))
            };
            let copied = copied.await;
            to.remove().await?;
            copied
        };
        let copied = copied.await;
        from.remove().await?;
        let (Tree { entries, digest, .. }, bytes) = copied?;
        Ok(Copied { from: pair.from.clone(), to: pair.to.name.clone(), entries, bytes, digest })
    }

    /// From one helper to the other, hashed on the way.
    async fn stream(&self, from: &Helper<'_>, to: &Helper<'_>) -> Result<(Tree, u64), TransferError> {
        let (pass, mut passed) = mpsc::channel::<Bytes>(WAITING);
        let (hash, mut hashed) = mpsc::channel::<Bytes>(WAITING);
        let (send, sent) = mpsc::channel::<std::io::Result<Bytes>>(WAITING);
        let mut bytes = 0;
        let failure = send.clone();
        let read = async {
            let read = from.send(pass, self.watch).await;
            if let Err(error) = &read {
                // The other end must not take what has come for all of it.
                let _ = failure.send(Err(std::io::Error::other(error.to_string()))).await;
            }
            drop(failure);
            read
        };
        let pass = async {
            while let Some(chunk) = passed.recv().await {
                bytes += chunk.len() as u64;
                if hash.send(chunk.clone()).await.is_err() || send.send(Ok(chunk)).await.is_err() {
                    // Whoever takes no more says why.
                    break;
                }
            }
            drop((hash, send, passed));
        };
        let tree = tokio::task::spawn_blocking(move || {
            let mut tree = TreeReader::default();
            while let Some(piece) = hashed.blocking_recv() {
                tree.take(&piece)?;
            }
            tree.finish()
        });
        let taken = |mut from: mpsc::Receiver<std::io::Result<Bytes>>| async { from.recv().await.map(|it| (it, from)) };
        let content: Chunks = Box::pin(futures::stream::unfold(sent, taken));
        let (read, (), tree, filled) = join4(read, pass, tree, to.fill(content, self.watch)).await;
        read?;
        filled?;
        let damaged = |problem| TransferError::Damaged { what: "what the server sends".to_owned(), problem };
        let tree = tree.unwrap_or_else(|error| Err(error.to_string())).map_err(damaged)?;
        Ok((tree, bytes))
    }
}
