//! The daemon of a server as a socket of this machine, for a program that knows no other way: whatever comes in goes out over Landfall's own
//! connection, be that a socket, TLS or SSH. Nobody but this user can reach it, and it lasts as long as it is needed.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};

use crate::shell::engine::{EngineError, Writer};

/// Of the path of a socket, on every system.
const LONGEST_PATH: usize = 100;

pub(super) struct Socket {
    directory: PathBuf,
    listener: UnixListener,
    /// Why the last stream could not be opened.
    failed: Mutex<Option<EngineError>>,
}

impl Socket {
    pub(super) fn open() -> io::Result<Self> {
        let name = format!("landfall-{}", cuid2::CuidConstructor::new().with_length(12).create_id());
        let runtime =
            std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|it| it.is_absolute() && it.is_dir());
        let places = runtime.into_iter().chain([std::env::temp_dir(), PathBuf::from("/tmp")]).map(|it| it.join(&name));
        let mut problem = io::Error::other("every path is too long for a socket");
        for directory in places.filter(|it| it.as_os_str().len() + "/docker.sock".len() <= LONGEST_PATH) {
            match listen(&directory) {
                Ok(listener) => return Ok(Self { directory, listener, failed: Mutex::default() }),
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }

    /// As `DOCKER_HOST`.
    pub(super) fn address(&self) -> String {
        format!("unix://{}", self.directory.join("docker.sock").display())
    }

    /// Which nobody but this user can look into.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn failure(&self) -> Option<EngineError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Passes on what comes, for as long as it is waited for.
    pub(super) async fn serve(&self, engine: &dyn Writer) {
        let mut streams = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((near, _)) => streams.push(self.pass(near, engine)),
                    Err(error) => {
                        tracing::warn!(%error, "a stream to the daemon was not accepted");
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                },
                Some(()) = streams.next(), if !streams.is_empty() => {}
            }
        }
    }

    async fn pass(&self, mut near: UnixStream, engine: &dyn Writer) {
        match engine.stream().await {
            Ok(mut far) => {
                // Either end may end it; the program says what it makes of that.
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
            Err(error) => *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
        }
    }
}

fn listen(directory: &Path) -> io::Result<UnixListener> {
    DirBuilder::new().mode(0o700).create(directory)?;
    let path = directory.join("docker.sock");
    let listening = UnixListener::bind(&path).and_then(|listener| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    if listening.is_err() {
        let _ = std::fs::remove_dir_all(directory);
    }
    listening
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A directory that stays is empty but for a socket that nobody listens on.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
