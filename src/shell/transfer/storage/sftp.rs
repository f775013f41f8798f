//! Archives on a server that is reached over SSH, by SFTP: no program of ours and no shell runs there.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper::body::Bytes;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::client::{Config, RawSftpSession, SftpSession};
use russh_sftp::protocol::{FileMode, OpenFlags, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use super::{Listing, OWNER, PIECE, Storage, begun, below, partial, store_small};
use crate::shell::engine::Chunks;
use crate::shell::engine::connect::ssh::{ChannelStream, SshDialer, SshEndpoint, Target};
use crate::shell::transfer::TransferError;

/// For one answer of the server, which may have a slow disk.
const ANSWER: u64 = 60;
/// Requests on their way: what fills a line to the other side of the earth.
const CONCURRENT: usize = 64;
/// Of a directory: more is not read.
const ENTRIES: usize = 100_000;

pub(super) struct Sftp {
    host: String,
    dialer: Arc<SshDialer>,
    session: Mutex<Option<Arc<SftpSession>>>,
}

impl Sftp {
    pub(super) fn new(host: &str) -> Result<Self, TransferError> {
        let target = Target::parse(host).map_err(|error| TransferError::failed(error.to_string(), "see `--to`"))?;
        let dialer = SshDialer::shared(SshEndpoint { target, socket: None, settings: None });
        Ok(Self { host: host.to_owned(), dialer, session: Mutex::default() })
    }

    async fn channel(&self) -> Result<ChannelStream, TransferError> {
        self.dialer.sftp().await.map_err(|error| {
            let message = format!("the backups on ssh://{} are not reached: {}", self.host, error.message);
            TransferError::Failed { message, hint: error.hint }
        })
    }

    fn config() -> Config {
        Config {
            max_concurrent_reads: CONCURRENT,
            max_concurrent_writes: CONCURRENT,
            request_timeout_secs: ANSWER,
            ..Config::default()
        }
    }

    async fn session(&self) -> Result<Arc<SftpSession>, TransferError> {
        let mut kept = self.session.lock().await;
        if let Some(session) = &*kept {
            return Ok(Arc::clone(session));
        }
        let session = SftpSession::new_with_config(self.channel().await?, Self::config()).await;
        let session = Arc::new(session.map_err(|error| self.failed("speaking SFTP with", "")(error))?);
        *kept = Some(Arc::clone(&session));
        Ok(session)
    }

    fn failed(&self, attempted: &'static str, path: &str) -> impl FnOnce(SftpError) -> TransferError {
        let path = PathBuf::from(format!("ssh://{}{path}", self.host));
        move |error| TransferError::File { attempted, path, cause: io::Error::other(said(&error)) }
    }

    /// What is tried over a session; one that has broken is not used again.
    async fn with<T, F>(&self, attempted: &'static str, path: &str, action: F) -> Result<T, TransferError>
    where
        F: AsyncFnOnce(&SftpSession) -> Result<T, SftpError>,
    {
        let session = self.session().await?;
        let outcome = action(&session).await;
        if outcome.as_ref().is_err_and(|error| !matches!(error, SftpError::Status(_))) {
            *self.session.lock().await = None;
        }
        outcome.map_err(|error| self.failed(attempted, path)(error))
    }

    /// With all that it is in.
    async fn make(&self, directory: &str) -> Result<(), TransferError> {
        self.with("making", directory, async |session| {
            if session.try_exists(remote(directory)).await? {
                return Ok(());
            }
            let path = remote(directory);
            let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
            for end in ends.chain([path.len()]) {
                // One that is there already is no failure, and SFTP does not tell what is.
                if let Err(error) = session.create_dir(&path[..end]).await
                    && !session.try_exists(&path[..end]).await?
                {
                    return Err(error);
                }
            }
            Ok(())
        })
        .await
    }

    /// All files of an archive, and the directory itself.
    async fn empty(&self, directory: &str) -> Result<(), TransferError> {
        let entries = self.entries(directory).await?;
        self.with("removing", directory, async |session| {
            for (name, _) in entries.unwrap_or_default() {
                session.remove_file(remote(&below(directory, &name))).await?;
            }
            match session.remove_dir(remote(directory)).await {
                Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(()),
                removed => removed,
            }
        })
        .await
    }

    /// Names, and whether they are directories. Over a channel of its own, for the listing of the session that has files has no bound.
    async fn entries(&self, directory: &str) -> Result<Option<Vec<(String, bool)>>, TransferError> {
        let session = RawSftpSession::new_with_config(self.channel().await?, Self::config());
        let list = async {
            session.init().await?;
            let handle = match session.opendir(remote(directory)).await {
                Ok(handle) => handle.handle,
                Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => return Ok(None),
                Err(error) => return Err(error),
            };
            let mut entries = Vec::new();
            loop {
                match session.readdir(handle.as_str()).await {
                    Ok(names) => entries.extend(names.files.into_iter().filter_map(|file| {
                        let is_directory = FileMode::from_bits_truncate(file.attrs.permissions.unwrap_or_default())
                            .contains(FileMode::DIR);
                        let is_plain = !matches!(file.filename.as_str(), "." | "..") && !file.filename.contains('/');
                        is_plain.then_some((file.filename, is_directory))
                    })),
                    Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => break,
                    Err(error) => return Err(error),
                }
                if entries.len() > ENTRIES {
                    return Err(SftpError::Limited(format!("the directory has more than {ENTRIES} entries")));
                }
            }
            Ok(Some(entries))
        };
        let listed = list.await;
        let _ = session.close_session();
        listed.map_err(|error| self.failed("listing", directory)(error))
    }
}

#[async_trait]
impl Storage for Sftp {
    async fn list(&self, directory: &str) -> Result<Listing, TransferError> {
        let mut listing = Listing::default();
        for (name, is_directory) in self.entries(directory).await?.unwrap_or_default() {
            if let Some(name) = begun(&name) {
                listing.begun.push(name.to_owned());
            } else if is_directory && !name.starts_with('.') {
                // It has its name, and so all of it is there.
                listing.complete.push(name);
            }
        }
        Ok(listing)
    }

    async fn open(&self, path: &str) -> Result<Option<Chunks>, TransferError> {
        let opened = self.with("reading", path, async |session| match session.open(remote(path)).await {
            Ok(file) => Ok(Some(file)),
            Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(None),
            Err(error) => Err(error),
        });
        let Some(file) = opened.await? else { return Ok(None) };
        // The session lives as long as the file is read.
        let session = self.session().await?;
        let read = |(mut file, session): (russh_sftp::client::fs::File, Arc<SftpSession>)| async move {
            let mut piece = vec![0; PIECE];
            match file.read(&mut piece).await {
                Ok(0) => None,
                Ok(count) => {
                    piece.truncate(count);
                    Some((Ok(Bytes::from(piece)), (file, session)))
                }
                Err(error) => Some((Err(error), (file, session))),
            }
        };
        Ok(Some(Box::pin(futures::stream::unfold((file, session), read))))
    }

    async fn store(&self, path: &str, mut from: mpsc::Receiver<Bytes>) -> Result<(), TransferError> {
        self.with("writing", path, async |session| {
            let flags = OpenFlags::CREATE | OpenFlags::EXCLUDE | OpenFlags::WRITE;
            let mut file = session.open_with_flags(remote(path), flags).await?;
            while let Some(piece) = from.recv().await {
                file.write_all(&piece).await?;
            }
            file.flush().await?;
            file.sync_all().await?;
            Ok(file.close().await?)
        })
        .await
    }

    async fn begin(&self, directory: &str, name: &str, owner: &str) -> Result<bool, TransferError> {
        self.make(directory).await?;
        let draft = partial(directory, name);
        let begun = self.with("making", &draft, async |session| {
            if session.try_exists(remote(&below(directory, name))).await? {
                return Ok(false);
            }
            match session.create_dir(remote(&draft)).await {
                Ok(()) => Ok(true),
                Err(_) if session.try_exists(remote(&draft)).await? => Ok(false),
                Err(error) => Err(error),
            }
        });
        if !begun.await? {
            return Ok(false);
        }
        store_small(self, &below(&draft, OWNER), owner.as_bytes().to_vec()).await?;
        Ok(true)
    }

    fn draft(&self, directory: &str, name: &str) -> String {
        partial(directory, name)
    }

    async fn publish(&self, directory: &str, name: &str) -> Result<(), TransferError> {
        let (draft, named) = (partial(directory, name), below(directory, name));
        self.with("naming", &named, async |session| {
            session.remove_file(remote(&below(&draft, OWNER))).await?;
            session.rename(remote(&draft), remote(&named)).await
        })
        .await
    }

    async fn discard(&self, directory: &str, name: &str) -> Result<(), TransferError> {
        self.empty(&partial(directory, name)).await
    }

    async fn remove(&self, directory: &str, name: &str) -> Result<(), TransferError> {
        let (aside, named) = (partial(directory, name), below(directory, name));
        self.with("removing", &named, async |session| session.rename(remote(&named), remote(&aside)).await).await?;
        self.empty(&aside).await
    }

    async fn free(&self, directory: &str) -> Option<u64> {
        let asked =
            self.with("asking for the space of", directory, async |session| session.fs_info(remote(directory)).await);
        let space = timeout(Duration::from_secs(ANSWER), asked).await.ok()?.ok()??;
        Some(space.blocks_avail.saturating_mul(space.fragment_size))
    }
}

/// As the server is told it: below the user's home, or absolute.
fn remote(path: &str) -> String {
    match path.strip_prefix("/~/") {
        Some(below) => below.to_owned(),
        None => path.to_owned(),
    }
}

fn said(error: &SftpError) -> String {
    match error {
        SftpError::Status(status) if status.status_code == StatusCode::Failure => {
            // All that version 3 of the protocol has for a full disk, a quota, or a file system that cannot be written to.
            "the server says only that it failed; is there room, and may it be written to?".to_owned()
        }
        SftpError::Status(status) => status.status_code.to_string(),
        SftpError::Timeout => format!("there was no answer within {ANSWER} seconds"),
        other => other.to_string(),
    }
}
