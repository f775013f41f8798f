//! The files of a volume, through a container that has it and is never started: it needs nothing of its image.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::future::join;
use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::helpers::labels;
use super::part::WAITING;
use super::tree::{Tree, TreeReader};
use super::{TransferError, Watch};
use crate::core::observed::{ContainerId, EndpointSettings};
use crate::core::workload::{ContainerCreate, ContainerTemplate, Mount, MountSource, NOWHERE};
use crate::shell::engine::{Chunks, EngineError, Writer};

/// Where a helper has the volume. In an archive everything is below a directory of that name, and unpacked from the root on: unpacked within the
/// volume, the daemon would refuse links that lead out of it.
const PLACE: &str = "/landfall-data";

/// A container that was made to reach one volume.
pub(super) struct Helper<'a> {
    engine: &'a dyn Writer,
    id: ContainerId,
    volume: String,
}

impl<'a> Helper<'a> {
    /// `image`: any that is on the server.
    pub(super) async fn make(
        engine: &'a dyn Writer,
        volume: &str,
        image: &str,
        writes: bool,
    ) -> Result<Self, TransferError> {
        let mount =
            Mount { target: PLACE.to_owned(), source: MountSource::Volume(volume.to_owned()), read_only: !writes };
        let id = make(engine, "files", image, vec![mount], None).await?;
        Ok(Self { engine, id, volume: volume.to_owned() })
    }

    pub(super) async fn remove(self) -> Result<(), EngineError> {
        self.engine.discard_container(&self.id).await
    }

    /// All files, as they come.
    pub(super) async fn read(&self) -> Result<Chunks, TransferError> {
        Ok(self.engine.archive(&self.id, PLACE).await?)
    }

    /// All files, to a part that is written.
    pub(super) async fn send(&self, to: mpsc::Sender<Bytes>, watch: &dyn Watch) -> Result<(), TransferError> {
        let mut chunks = self.read().await?;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|source| self.broken(source))?;
            watch.moved(chunk.len() as u64);
            if to.send(chunk).await.is_err() {
                // Whoever writes has failed, and says why.
                return Ok(());
            }
        }
        Ok(())
    }

    pub(super) fn broken(&self, source: std::io::Error) -> TransferError {
        TransferError::Failed { message: format!("reading the volume {} broke off: {source}", self.volume), hint: None }
    }

    /// Unpacks an archive there.
    pub(super) async fn fill(&self, content: Chunks) -> Result<(), TransferError> {
        Ok(self.engine.unpack(&self.id, "/", content).await?)
    }

    /// What is there now.
    pub(super) async fn tree(&self) -> Result<Tree, TransferError> {
        let mut chunks = self.read().await?;
        let (to, mut from) = mpsc::channel::<Bytes>(WAITING);
        let read = tokio::task::spawn_blocking(move || {
            let mut tree = TreeReader::default();
            while let Some(piece) = from.blocking_recv() {
                tree.take(&piece)?;
            }
            tree.finish()
        });
        let send = async {
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(|source| self.broken(source))?;
                if to.send(chunk).await.is_err() {
                    break;
                }
            }
            drop(to);
            Ok::<_, TransferError>(())
        };
        let (sent, tree) = join(send, read).await;
        sent?;
        let damaged =
            |problem| TransferError::Damaged { what: format!("what the volume {} gives", self.volume), problem };
        tree.unwrap_or_else(|error| Err(error.to_string())).map_err(damaged)
    }

    /// Whether anything is below its root.
    pub(super) async fn is_empty(&self) -> Result<bool, TransferError> {
        // The root itself, and the two blocks at the end: what is longer has more in it.
        const ROOT_ALONE: usize = 3 * 512;
        let mut chunks = self.read().await?;
        let mut bytes = Vec::new();
        while bytes.len() <= 64 << 10 {
            let Some(chunk) = chunks.next().await else { break };
            bytes.extend_from_slice(&chunk.map_err(|source| self.broken(source))?);
        }
        if bytes.len() > 64 << 10 {
            return Ok(false);
        }
        let mut tree = TreeReader::default();
        let read = tree.take(&bytes).and_then(|()| tree.finish());
        Ok(bytes.len() <= ROOT_ALONE || read.is_ok_and(|tree| tree.entries == 0))
    }
}

/// A container that carries the mark of a helper. `command`: it will be started.
pub(super) async fn make(
    engine: &dyn Writer,
    purpose: &str,
    image: &str,
    mounts: Vec<Mount>,
    command: Option<Vec<String>>,
) -> Result<ContainerId, TransferError> {
    let name = format!("landfall-{purpose}-{}", cuid2::create_id());
    create(engine, name, labels(purpose), image, mounts, command).await
}

/// One of that name, with these labels.
pub(super) async fn create(
    engine: &dyn Writer,
    name: String,
    labels: BTreeMap<String, String>,
    image: &str,
    mounts: Vec<Mount>,
    command: Option<Vec<String>>,
) -> Result<ContainerId, TransferError> {
    let create = ContainerCreate {
        name,
        image: image.to_owned(),
        labels,
        template: ContainerTemplate {
            entrypoint: Some(vec!["sh".to_owned()]),
            command: Some(command.unwrap_or_default()),
            user: Some("0".to_owned()),
            mounts,
            ..ContainerTemplate::default()
        },
        inherited: Vec::new(),
        drainable: false,
    };
    Ok(engine.create_container(&create, NOWHERE, &EndpointSettings::default()).await?)
}

/// Bytes that can still be written to the volume, as `df` of the image says; `None` where it has none.
pub(super) async fn room(engine: &dyn Writer, volume: &str, image: &str) -> Result<Option<u64>, TransferError> {
    let mount = Mount { target: PLACE.to_owned(), source: MountSource::Volume(volume.to_owned()), read_only: true };
    let command = vec!["-c".to_owned(), "sleep 86400".to_owned()];
    let id = make(engine, "room", image, vec![mount], Some(command)).await?;
    let asked = async {
        engine.start_container(&id).await?;
        engine.exec_output(&id, &["df", "-Pk", PLACE], 4096).await
    };
    let asked = asked.await;
    engine.discard_container(&id).await?;
    // The line after the headings: file system, blocks, used, available.
    let available = |answer: String| answer.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok();
    Ok(asked.ok().and_then(available).map(|kibibytes| kibibytes << 10))
}

/// Removes everything in the volumes, by a shell of the image.
pub(super) async fn empty(engine: &dyn Writer, volume: &str, image: &str) -> Result<(), TransferError> {
    const EMPTY: &str = "cd /landfall-data && rm -rf -- ..?* .[!.]* * && [ -z \"$(ls -A)\" ]";
    let mount = Mount { target: PLACE.to_owned(), source: MountSource::Volume(volume.to_owned()), read_only: false };
    let command = vec!["-c".to_owned(), "sleep 86400".to_owned()];
    let id = make(engine, "empty", image, vec![mount], Some(command)).await?;
    let emptied = async {
        engine.start_container(&id).await?;
        engine.exec(&id, &["sh", "-c", EMPTY]).await
    };
    let emptied = emptied.await;
    engine.discard_container(&id).await?;
    match emptied {
        Ok(0) => Ok(()),
        Ok(code) => Err(TransferError::Tool {
            attempted: format!("emptying the volume {volume}"),
            code,
            complaint: String::new(),
        }),
        Err(error) => Err(TransferError::failed(
            format!("the volume {volume} cannot be emptied: {error}"),
            "its image has no shell; empty the volume by hand and restore without --replace",
        )),
    }
}
