//! Archives in a directory of this machine.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use async_trait::async_trait;
use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::{Listing, PIECE, Storage, begun, below, partial};
use crate::core::backup::MANIFEST;
use crate::shell::engine::Chunks;
use crate::shell::transfer::TransferError;

/// Pieces that were read and not taken yet.
const WAITING: usize = 16;

pub(super) struct Local;

#[async_trait]
impl Storage for Local {
    async fn list(&self, directory: &str) -> Result<Listing, TransferError> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
            Err(error) => return Err(TransferError::file("listing", directory)(error)),
        };
        let mut listing = Listing::default();
        for entry in entries {
            let entry = entry.map_err(TransferError::file("listing", directory))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if let Some(name) = begun(&name) {
                listing.begun.push(name.to_owned());
            } else if !name.starts_with('.') && entry.path().join(MANIFEST).is_file() {
                listing.complete.push(name);
            }
        }
        Ok(listing)
    }

    async fn open(&self, path: &str) -> Result<Option<Chunks>, TransferError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TransferError::file("reading", path)(error)),
        };
        let (to, from) = mpsc::channel(WAITING);
        tokio::task::spawn_blocking(move || send(file, &to));
        let received =
            |mut from: mpsc::Receiver<io::Result<Bytes>>| async { from.recv().await.map(|piece| (piece, from)) };
        Ok(Some(Box::pin(futures::stream::unfold(from, received))))
    }

    async fn store(&self, path: &str, mut from: mpsc::Receiver<Bytes>) -> Result<(), TransferError> {
        let place = path.to_owned();
        let written = tokio::task::spawn_blocking(move || {
            let file = fs::OpenOptions::new().write(true).create_new(true).open(place)?;
            let mut file = BufWriter::new(file);
            while let Some(piece) = from.blocking_recv() {
                file.write_all(&piece)?;
            }
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
        });
        written.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(TransferError::file("writing", path))
    }

    async fn begin(&self, directory: &str, name: &str, _owner: &str) -> Result<bool, TransferError> {
        if Path::new(directory).join(name).exists() {
            return Ok(false);
        }
        let draft = partial(directory, name);
        match fs::create_dir(&draft) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(TransferError::file("making", draft)(error)),
        }
    }

    fn draft(&self, directory: &str, name: &str) -> String {
        partial(directory, name)
    }

    /// There also after the power was cut.
    async fn publish(&self, directory: &str, name: &str) -> Result<(), TransferError> {
        let (draft, named) = (partial(directory, name), below(directory, name));
        let publish = || {
            File::open(&draft)?.sync_all()?;
            fs::rename(&draft, &named)?;
            File::open(directory)?.sync_all()
        };
        publish().map_err(TransferError::file("naming", &named))
    }

    async fn discard(&self, directory: &str, name: &str) -> Result<(), TransferError> {
        let draft = partial(directory, name);
        match fs::remove_dir_all(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(TransferError::file("removing", draft)(error)),
            _ => Ok(()),
        }
    }

    async fn remove(&self, directory: &str, name: &str) -> Result<(), TransferError> {
        let (aside, named) = (partial(directory, name), below(directory, name));
        fs::rename(&named, aside).map_err(TransferError::file("removing", &named))?;
        self.discard(directory, name).await
    }

    async fn free(&self, directory: &str) -> Option<u64> {
        let space = rustix::fs::statvfs(directory).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

fn send(mut file: File, to: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece);
        let ended = !matches!(read, Ok(1..));
        let piece = read.map(|count| {
            piece.truncate(count);
            Bytes::from(piece)
        });
        if to.blocking_send(piece).is_err() || ended {
            return;
        }
    }
}
