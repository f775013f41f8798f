//! The files of a volume, through a container that has it.
//!
//! The daemon reads and writes files of a container that was never started, so nothing is needed of its image; but it reads no extended attributes
//! except capabilities, and knows no holes. Where an image has a GNU tar, that reads and writes them in the container.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::future::join;
use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::helpers::labels;
use super::inherited::without_default_acls;
use super::part::WAITING;
use super::tree::{Tree, TreeReader};
use super::{TransferError, Watch};
use crate::core::observed::{ContainerId, EndpointSettings};
use crate::core::printable::bytes;
use crate::core::workload::{ContainerCreate, ContainerTemplate, Mount, MountSource, NOWHERE};
use crate::shell::engine::{Chunks, EngineError, Writer};

/// Where a helper has the volume. In an archive everything is below a directory of that name, and unpacked from the root on: unpacked within the
/// volume, the daemon would refuse links that lead out of it.
const PLACE: &str = "/landfall-data";
/// Keeps a container running, and one that nobody removes not for good: a week, which no copy takes.
const WAIT: &str = "exec sleep 604800";
/// Whether there is one, asked without a shell: those of busybox take an applet of their own for it.
const VERSION: [&str; 2] = ["tar", "--version"];
/// It says nothing where it can do all that it will be asked for.
const ATTEMPT: [&str; 9] =
    ["tar", "--format=posix", "--xattrs", "--sparse", "--sort=name", "-cf", "/dev/null", "-T", "/dev/null"];
/// Those that may be set by a container and mean the same on another server.
const ATTRIBUTES: [&str; 5] = [
    "--xattrs",
    "--xattrs-include=user.*",
    "--xattrs-include=security.capability",
    "--xattrs-include=system.posix_acl_access",
    "--xattrs-include=system.posix_acl_default",
];
/// In the order in which the daemon reads, so that of several names of a file the same one is the first.
const READ: [&str; 9] = [
    "tar",
    "-C/",
    "--format=posix",
    "--sort=name",
    "--numeric-owner",
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
    "-c",
    "-f-",
    "landfall-data",
];
const WRITE: [&str; 6] = ["tar", "-C/", "--numeric-owner", "--same-owner", "--same-permissions", "-xf-"];
/// Images that have a GNU tar, by the last part of their names.
const TOOLS: [&str; 2] = ["debian", "ubuntu"];
/// What gets a server one.
pub(super) const GET_TAR: &str = "docker pull debian:stable-slim";
/// How GNU tar ends where files have changed while they were read.
const CHANGED: i64 = 1;

/// A container that was made to reach one volume.
pub(super) struct Helper<'a> {
    engine: &'a dyn Writer,
    id: ContainerId,
    volume: String,
    /// It runs, and has a GNU tar.
    has_tar: bool,
    /// What reads the stream knows holes.
    sparse: bool,
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
        let command = vec!["-c".to_owned(), WAIT.to_owned()];
        let id = make(engine, "files", image, vec![mount], Some(command)).await?;
        Ok(Self { engine, id, volume: volume.to_owned(), has_tar: false, sparse: true })
    }

    /// With a GNU tar, of that image or of one that is known to have it, if any of them is on the server.
    pub(super) async fn equipped(
        engine: &'a dyn Writer,
        volume: &str,
        image: &str,
        writes: bool,
    ) -> Result<Self, TransferError> {
        let mut helper = Self::make(engine, volume, image, writes).await?;
        if helper.looks_for_tar().await {
            return Ok(helper);
        }
        for image in engine.storage().await.map(|it| it.images).unwrap_or_default() {
            let is_known = image.tags.iter().any(|tag| {
                let name = tag.rsplit('/').next().unwrap_or_default();
                TOOLS.contains(&name.split(':').next().unwrap_or_default())
            });
            if !is_known {
                continue;
            }
            let mut other = Self::make(engine, volume, &image.id, writes).await?;
            if other.looks_for_tar().await {
                helper.remove().await?;
                return Ok(other);
            }
            other.remove().await?;
        }
        Ok(helper)
    }

    /// Whatever goes wrong, the daemon can read and write as well.
    async fn looks_for_tar(&mut self) -> bool {
        let asked = async {
            self.engine.start_container(&self.id).await?;
            let version = self.engine.exec_output(&self.id, &VERSION, 4096).await?;
            let is_gnu = version.contains("GNU tar");
            Ok::<_, EngineError>(is_gnu && self.engine.exec_output(&self.id, &ATTEMPT, 4096).await?.trim().is_empty())
        };
        self.has_tar = asked.await.unwrap_or_default();
        self.has_tar
    }

    /// What comes of it is read by something that may know no holes.
    pub(super) fn for_reader(&mut self, other: &Helper<'_>) {
        self.sparse = other.has_tar;
    }

    pub(super) fn has_tar(&self) -> bool {
        self.has_tar
    }

    /// What of files like these was not read, or will not be written.
    pub(super) fn loses(&self, tree: &Tree, reads: bool) -> Vec<String> {
        let mut lost = Vec::new();
        if self.has_tar {
            return lost;
        }
        let volume = &self.volume;
        if reads {
            lost.push(format!(
                "extended attributes of the files in the volume {volume}, ACLs and user.* for example, were not read: no image on the server is \
                 known to have a GNU tar, which `{GET_TAR}` gets it"
            ));
        } else if tree.attributed > 0 {
            lost.push(format!("{}: {}", unread(volume), files(tree.attributed)));
        }
        if tree.hollow.0 > 0 {
            lost.push(format!(
                "{} in the volume {volume} may have holes, which are written out: {} of zeros take space where they took none. With a GNU tar, which \
                 `{GET_TAR}` gets a server, holes are kept",
                files(tree.hollow.0),
                bytes(tree.hollow.1)
            ));
        }
        lost
    }

    pub(super) async fn remove(self) -> Result<(), EngineError> {
        self.engine.discard_container(&self.id).await
    }

    /// All files, as the daemon gives them.
    async fn read(&self) -> Result<Chunks, TransferError> {
        Ok(self.engine.archive(&self.id, PLACE).await?)
    }

    /// All files, to something that takes them; where it takes no more, it has failed, and says why.
    pub(super) async fn send(&self, to: mpsc::Sender<Bytes>, watch: &dyn Watch) -> Result<(), TransferError> {
        if self.has_tar {
            return self.pack(to, watch).await;
        }
        let mut chunks = self.read().await?;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|source| self.broken(source))?;
            watch.moved(chunk.len() as u64);
            if to.send(chunk).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn pack(&self, to: mpsc::Sender<Bytes>, watch: &dyn Watch) -> Result<(), TransferError> {
        let mut command = READ.to_vec();
        command.splice(2..2, ATTRIBUTES.into_iter().chain(self.sparse.then_some("--sparse")));
        let (on, mut through) = mpsc::channel::<Bytes>(WAITING);
        // Ends with what it takes from, so that the program learns that nobody takes what it prints.
        let count = async move {
            while let Some(chunk) = through.recv().await {
                watch.moved(chunk.len() as u64);
                if to.send(chunk).await.is_err() {
                    return true;
                }
            }
            false
        };
        let (ended, is_refused) = join(self.engine.pipe(&self.id, &command, None, on), count).await;
        if is_refused {
            return Ok(());
        }
        let ended = ended?;
        match ended.code {
            0 => Ok(()),
            CHANGED => {
                watch.warn(&format!("files in the volume {} changed while they were read", self.volume));
                Ok(())
            }
            code => Err(TransferError::Tool {
                attempted: format!("reading the volume {}", self.volume),
                code,
                complaint: ended.complaint,
            }),
        }
    }

    fn broken(&self, source: std::io::Error) -> TransferError {
        TransferError::Failed { message: format!("reading the volume {} broke off: {source}", self.volume), hint: None }
    }

    /// Unpacks an archive there.
    pub(super) async fn fill(&self, content: Chunks, watch: &dyn Watch) -> Result<(), TransferError> {
        if !self.has_tar {
            let (content, left_out) = without_default_acls(content);
            self.engine.unpack(&self.id, "/", content).await?;
            let left_out = left_out.load(std::sync::atomic::Ordering::Relaxed);
            if left_out > 0 {
                watch.warn(&format!(
                    "default ACLs ({left_out}) of directories in the volume {} are not written, for without a GNU tar, which `{GET_TAR}` gets the server, \
                     the files within would inherit them",
                    self.volume
                ));
            }
            return Ok(());
        }
        let mut command = WRITE.to_vec();
        command.splice(2..2, ATTRIBUTES);
        let (to, mut from) = mpsc::channel::<Bytes>(WAITING);
        let discard = async { while from.recv().await.is_some() {} };
        let ended = join(self.engine.pipe(&self.id, &command, Some(content), to), discard).await.0?;
        match ended.code {
            0 => Ok(()),
            code => Err(TransferError::Tool {
                attempted: format!("writing to the volume {}", self.volume),
                code,
                complaint: ended.complaint,
            }),
        }
    }

    /// What is there now.
    pub(super) async fn tree(&self) -> Result<Tree, TransferError> {
        let (to, mut from) = mpsc::channel::<Bytes>(WAITING);
        let read = tokio::task::spawn_blocking(move || {
            let mut tree = TreeReader::default();
            while let Some(piece) = from.blocking_recv() {
                tree.take(&piece)?;
            }
            tree.finish()
        });
        let (sent, tree) = join(self.send(to, &()), read).await;
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

/// Whether what is there now is what was written down, as far as both were read.
pub(super) fn compare(there: &Tree, helper: &Helper<'_>, tree: &str, attributes: Option<&str>) -> Result<(), String> {
    if there.digest != *tree {
        return Err("what is in it now is not what was written".to_owned());
    }
    match attributes {
        Some(attributes) if helper.has_tar && there.full != *attributes => {
            Err("its files are the same, but their extended attributes are not: its file system may not have them"
                .to_owned())
        }
        _ => Ok(()),
    }
}

/// They were set, but who has set them does not read them.
pub(super) fn unread(volume: &str) -> String {
    format!(
        "extended attributes in the volume {volume} were written and not compared, for no image on the server is known to have a GNU tar"
    )
}

fn files(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
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
    let command = vec!["-c".to_owned(), WAIT.to_owned()];
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
    let command = vec!["-c".to_owned(), WAIT.to_owned()];
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
