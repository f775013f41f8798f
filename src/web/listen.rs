//! Where requests come in, and how many at a time.
//!
//! Every connection is bounded: in the time it may take to send a head, in the time it may leave what it is sent unread, in the memory of a
//! head, and in number. axum's own `serve` has none of these.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_io_timeout::TimeoutStream;

use super::{Via, WebState, router};

/// Name of the socket in the set's state directory.
pub const SOCKET: &str = "landfall.sock";
/// Connections of one listener at a time. Further ones wait in the kernel's queue.
const CONNECTIONS: usize = 256;
/// How long the head of a request may take to arrive; also how long an idle connection is kept.
const HEAD: Duration = Duration::from_secs(10);
/// How long a peer may leave what it is sent unread.
const UNREAD: Duration = Duration::from_secs(30);
/// Largest head of a request, and what is read of a body at a time.
const BUFFER: usize = 32 * 1024;
/// Wait after a connection could not be accepted: out of files, usually.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest path that fits the address of a socket.
const ADDRESS: usize = 107;

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on {address}")]
    Tcp {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("cannot listen on {}", path.display())]
    Socket {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}: another controller answers on it", path.display())]
    Taken { path: PathBuf },
}

/// The addresses of `HOST:PORT`, at least one.
pub fn resolve(text: &str) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = text.to_socket_addrs()?.collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(found)
}

/// Everything that is listened on. Ends with it, and takes its socket along.
#[derive(Default)]
pub struct Listeners {
    tasks: Vec<JoinHandle<()>>,
    socket: Option<PathBuf>,
}

impl Listeners {
    /// Listens on a TCP address; returns the one that was bound, where port 0 has become a number.
    pub async fn tcp(&mut self, state: &WebState, address: SocketAddr) -> Result<SocketAddr, BindError> {
        let failed = |source| BindError::Tcp { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let router = router(state.clone(), Via::Tcp);
        self.tasks.push(tokio::spawn(accept(listener, router)));
        Ok(bound)
    }

    /// Listens on the socket in that directory, which nobody but this user may open.
    pub async fn socket(&mut self, state: &WebState, directory: &Path) -> Result<PathBuf, BindError> {
        let path = directory.join(SOCKET);
        if connect_socket(directory).await.is_ok() {
            return Err(BindError::Taken { path });
        }
        let listener = bind_socket(directory).map_err(|source| BindError::Socket { path: path.clone(), source })?;
        let router = router(state.clone(), Via::Socket);
        self.tasks.push(tokio::spawn(accept(listener, router)));
        self.socket = Some(path.clone());
        Ok(path)
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// Opens the socket of the controller whose state is in `directory`.
pub async fn connect_socket(directory: &Path) -> io::Result<UnixStream> {
    let (path, _open) = addressable(directory, Path::new(SOCKET))?;
    UnixStream::connect(path).await
}

/// Made where nobody else can look, closed to others, then moved into place: at no moment can somebody else open it. What a controller that
/// was killed has left is replaced.
fn bind_socket(directory: &Path) -> io::Result<UnixListener> {
    std::fs::create_dir_all(directory)?;
    let private = directory.join(format!(".{SOCKET}.{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&private);
    std::fs::DirBuilder::new().mode(0o700).create(&private)?;
    let made = || {
        let (path, _open) = addressable(&private, Path::new("s"))?;
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(private.join("s"), std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(private.join("s"), directory.join(SOCKET))?;
        Ok(listener)
    };
    let listener = made();
    let _ = std::fs::remove_dir_all(&private);
    listener
}

/// The address of a socket holds 107 bytes. A directory deeper than that is entered through a file descriptor, open as long as the second value.
fn addressable(directory: &Path, name: &Path) -> io::Result<(PathBuf, Option<std::fs::File>)> {
    let path = directory.join(name);
    if path.as_os_str().len() <= ADDRESS {
        return Ok((path, None));
    }
    let open = std::fs::File::open(directory)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())).join(name), Some(open)))
}

/// Something that connections come from.
trait Door {
    type Stream: AsyncRead + AsyncWrite + Send + 'static;

    async fn next(&self) -> io::Result<Self::Stream>;
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        // Small events on an open stream are to arrive now.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Door for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

async fn accept(door: impl Door, router: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match door.next().await {
            Ok(stream) => {
                let router = router.clone();
                tokio::spawn(async move {
                    serve(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send, router: Router) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(UNREAD));
    let stream = TokioIo::new(Box::pin(stream));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(stream, TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}
