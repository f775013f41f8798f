//! Where requests come in, and how many at a time.
//!
//! Every connection is bounded: in the time it may take to send a head, in the time it may leave what it is sent unread, in the memory of a
//! head, and in number. axum's own `serve` has none of these. Where there are as many as there may be, the one that has been idle for
//! longest makes room.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_io_timeout::TimeoutStream;
use tower_service::Service;

use super::guard::Peer;
use super::places::{Place, Places};
use super::{Via, WebState, router};

/// Name of the socket in the set's state directory.
pub const SOCKET: &str = "landfall.sock";
/// Largest head of a request, and what is read of a body at a time.
const BUFFER: usize = 32 * 1024;
/// Wait after a connection could not be accepted: out of files, usually.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest path that fits the address of a socket.
const ADDRESS: usize = 107;

/// What a peer may take, of time and of connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections of one listener at a time.
    pub connections: usize,
    /// How long the head of a request may take to arrive; also how long an idle connection is kept.
    pub head: Duration,
    /// How long an answer may take, reading the request's body included. Streams have begun by then.
    pub answer: Duration,
    /// How long a peer may leave what it is sent unread.
    pub unread: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            head: Duration::from_secs(10),
            answer: Duration::from_secs(15),
            unread: Duration::from_secs(30),
        }
    }
}

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
        self.tasks.push(tokio::spawn(accept(listener, router, state.limits)));
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
        self.tasks.push(tokio::spawn(accept(listener, router, state.limits)));
        self.socket = Some(path.clone());
        Ok(path)
    }

    /// Whether the socket that was listened on is not there any more.
    pub fn has_lost_socket(&self) -> bool {
        self.socket.as_ref().is_some_and(|path| matches!(path.try_exists(), Ok(false)))
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

/// The directories of the sets whose controllers listen on this machine, as far as the kernel's list of sockets tells: those of other users too.
pub fn controllers() -> Vec<PathBuf> {
    let listed = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    sockets(&listed).into_iter().filter(|directory| directory.join(SOCKET).exists()).collect()
}

/// A socket keeps the name that it was bound to: that of the private directory.
fn sockets(listed: &str) -> Vec<PathBuf> {
    let bound = listed.lines().filter_map(|line| Path::new(&line[line.find(" /")? + 1..]).parent());
    let private = format!(".{SOCKET}.");
    let own = |directory: &Path| directory.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&private));
    let mut found: Vec<PathBuf> = bound.filter(|it| own(it)).filter_map(Path::parent).map(Path::to_path_buf).collect();
    found.sort();
    found.dedup();
    found
}

/// Made where nobody else can look, closed to others, then moved into place: at no moment can somebody else open it. What a controller that
/// was killed has left is replaced.
fn bind_socket(directory: &Path) -> io::Result<UnixListener> {
    std::fs::create_dir_all(directory)?;
    let private = directory.join(format!(".{SOCKET}.{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&private);
    std::fs::DirBuilder::new().mode(0o700).create(&private)?;
    let made = || {
        // By the whole path, where it fits: the kernel's list shows it to whoever looks for a controller.
        let whole = std::path::absolute(&private).ok().filter(|path| path.as_os_str().len() + 2 <= ADDRESS);
        let (path, _open) = addressable(whole.as_deref().unwrap_or(&private), Path::new("s"))?;
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

    /// The next, and from where it comes.
    async fn next(&self) -> io::Result<(Self::Stream, Option<IpAddr>)>;
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Option<IpAddr>)> {
        let (stream, peer) = self.accept().await?;
        // Small events on an open stream are to arrive now.
        stream.set_nodelay(true)?;
        Ok((stream, Some(peer.ip().to_canonical())))
    }
}

impl Door for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Option<IpAddr>)> {
        self.accept().await.map(|(stream, _)| (stream, None))
    }
}

async fn accept(door: impl Door, router: Router, limits: Limits) {
    let places = Places::new(limits.connections);
    loop {
        match door.next().await {
            Ok((stream, peer)) => {
                let Some(place) = places.take().await else { return };
                tokio::spawn(serve(stream, peer, router.clone(), place, limits));
            }
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send,
    peer: Option<IpAddr>,
    router: Router,
    place: Place,
    limits: Limits,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.unread));
    let stream = TokioIo::new(Box::pin(stream));
    let service = service_fn(|request: http::Request<Incoming>| {
        let mut router = router.clone();
        let mut request = request.map(|body| place.arriving(body));
        if let Some(peer) = peer {
            request.extensions_mut().insert(Peer(peer));
        }
        let place = &place;
        async move { router.call(request).await.map(|response| response.map(|body| place.busy().until_sent(body))) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(BUFFER)
        .serve_connection(stream, service);
    tokio::select! {
        served = served => {
            if let Err(error) = served {
                tracing::debug!(%error, "a connection ended early");
            }
        }
        () = place.wanted() => tracing::debug!("an idle connection makes room for another"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_found_by_the_name_that_their_socket_was_bound_to() {
        let listed = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 50001 /var/lib/landfall/sets/default/.landfall.sock.812/s\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 50002 /var/lib/landfall/sets/default/.landfall.sock.812/s\n\
            0000000000000000: 00000002 00000000 00010000 0001 01   77 /home/o neil/sets/shop/.landfall.sock.9/s\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 50003 /run/docker.sock\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 50004 @abstract\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 50005 .landfall.sock.1/s\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 50006\n";
        assert_eq!(
            sockets(listed),
            [Path::new("/home/o neil/sets/shop"), Path::new("/var/lib/landfall/sets/default")].map(Path::to_path_buf)
        );
    }
}
