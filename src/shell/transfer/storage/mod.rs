//! Where the files of archives are: a directory, a server that speaks SFTP, or a bucket. What an archive is, and when it is complete, is decided
//! above, in [`shelf`](super::shelf).

mod local;
mod s3;
mod sftp;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::TransferError;
use crate::core::backup::address::{Address, below};
use crate::shell::engine::Chunks;

/// What is not complete ends in this, and begins with a dot, where a directory can be renamed.
const PARTIAL: &str = ".partial";
/// Bytes that are put together before they go on.
const PIECE: usize = 64 << 10;

/// Archives directly in a directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) complete: Vec<String>,
    /// Begun, and not complete: being written, or left behind.
    pub(super) begun: Vec<String>,
}

/// A kind of storage. Paths are those of an [`Address`], as [`path`] has them.
#[async_trait]
pub(super) trait Storage: Send + Sync {
    /// Empty where there is no such directory.
    async fn list(&self, directory: &str) -> Result<Listing, TransferError>;
    /// A file as it is read; `None` where there is none.
    async fn open(&self, path: &str) -> Result<Option<Chunks>, TransferError>;
    /// Writes a new file. All of it is durably there when this returns without an error.
    async fn store(&self, path: &str, from: mpsc::Receiver<Bytes>) -> Result<(), TransferError>;
    /// Begins an archive of that name, and notes whose it is; false where there is one, begun or complete.
    async fn begin(&self, directory: &str, name: &str, owner: &str) -> Result<bool, TransferError>;
    /// Where the files of an archive that was begun go.
    fn draft(&self, directory: &str, name: &str) -> String;
    /// Gives it its name, once its files are there, the manifest last.
    async fn publish(&self, directory: &str, name: &str) -> Result<(), TransferError>;
    /// Removes one that was begun.
    async fn discard(&self, directory: &str, name: &str) -> Result<(), TransferError>;
    /// Removes one that is complete. Cut off halfway, it is none any more.
    async fn remove(&self, directory: &str, name: &str) -> Result<(), TransferError>;
    /// Bytes that can still be written there, where that is known.
    async fn free(&self, directory: &str) -> Option<u64>;
}

/// Below a draft: whose it is.
pub(super) const OWNER: &str = ".owner";

/// The storage that an address is in. Connects to nothing yet.
pub(super) fn of(address: &Address) -> Result<Arc<dyn Storage>, TransferError> {
    Ok(match address {
        Address::Directory(_) => Arc::new(local::Local),
        Address::Ssh { host, .. } => Arc::new(sftp::Sftp::new(host)?),
        Address::S3 { bucket, endpoint, region, .. } => {
            Arc::new(s3::S3::new(bucket, endpoint.as_deref(), region.as_deref())?)
        }
    })
}

/// An address within its storage.
pub(super) fn path(address: &Address) -> String {
    match address {
        // What is no UTF-8 was no argument either.
        Address::Directory(path) => path.to_string_lossy().into_owned(),
        Address::Ssh { path, .. } => path.clone(),
        Address::S3 { prefix, .. } => prefix.clone(),
    }
}

/// The name of an archive that a directory like this is the beginning of.
fn begun(name: &str) -> Option<&str> {
    name.strip_prefix('.')?.strip_suffix(PARTIAL)
}

/// As [`Storage::draft`] where a directory can be renamed.
fn partial(directory: &str, name: &str) -> String {
    below(directory, &format!(".{name}{PARTIAL}"))
}

/// Of a file that is not of this machine.
fn failed(attempted: &'static str, place: String) -> impl FnOnce(String) -> TransferError {
    move |problem| TransferError::File { attempted, path: PathBuf::from(place), cause: io::Error::other(problem) }
}

/// What is written goes on in pieces. Must not be used on a thread of the runtime.
pub(super) struct PieceWriter {
    to: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl PieceWriter {
    pub(super) fn new(to: mpsc::Sender<Bytes>) -> Self {
        Self { to, piece: Vec::with_capacity(PIECE) }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.to.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.pass_on()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()
    }
}

/// What comes in pieces is read. Must not be used on a thread of the runtime.
pub(super) struct PieceReader {
    from: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl PieceReader {
    /// The file at that path; an error where there is none.
    pub(super) fn open(storage: Arc<dyn Storage>, path: String, waiting: usize) -> Self {
        let (to, from) = mpsc::channel(waiting);
        tokio::spawn(async move {
            let mut chunks = match storage.open(&path).await {
                Ok(Some(chunks)) => chunks,
                Ok(None) => {
                    let missing = io::Error::new(io::ErrorKind::NotFound, format!("{path} is not there"));
                    let _ = to.send(Err(missing)).await;
                    return;
                }
                Err(error) => {
                    let _ = to.send(Err(io::Error::other(error))).await;
                    return;
                }
            };
            while let Some(chunk) = chunks.next().await {
                let ended = chunk.is_err();
                if to.send(chunk).await.is_err() || ended {
                    return;
                }
            }
        });
        Self { from, piece: Bytes::new() }
    }
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.from.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.piece = piece?,
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// Writes a file that is in memory.
pub(super) async fn store_small(storage: &dyn Storage, path: &str, content: Vec<u8>) -> Result<(), TransferError> {
    let (to, from) = mpsc::channel(1);
    let send = async move {
        let _ = to.send(content.into()).await;
    };
    futures::future::join(send, storage.store(path, from)).await.1
}

/// A whole file; `None` where there is none. One that is larger is an error.
pub(super) async fn read_small(
    storage: &dyn Storage,
    path: &str,
    limit: usize,
) -> Result<Option<Vec<u8>>, TransferError> {
    let Some(mut chunks) = storage.open(path).await? else { return Ok(None) };
    let mut content = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(TransferError::file("reading", path))?;
        if content.len() + chunk.len() > limit {
            return Err(failed("reading", path.to_owned())(format!("it has more than {limit} bytes")));
        }
        content.extend_from_slice(&chunk);
    }
    Ok(Some(content))
}
