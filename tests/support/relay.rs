//! What stands between a command and a server and is not to be relied upon: a TCP relay that is slow, stalls and resets, and a tap on the
//! daemon's socket that does something at a certain request.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc as blocking};
use std::time::Duration;

use socket2::SockRef;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::lan::{COMMANDS, Lan};

/// Listens where commands come from, and passes everything on to a host. Gone when dropped.
pub(crate) struct Relay {
    at: Ipv4Addr,
    port: u16,
    weather: watch::Sender<Weather>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Weather {
    /// Each way.
    delay: Duration,
    stalled: bool,
    /// Counts up.
    resets: u32,
}

impl Relay {
    pub(crate) fn start(lan: &Lan, to: (Ipv4Addr, u16)) -> Self {
        Self::start_in(Some(lan), COMMANDS, to, true)
    }

    /// On the loopback device of this machine.
    pub(crate) fn start_here(to: (Ipv4Addr, u16)) -> Self {
        Self::start_in(None, Ipv4Addr::LOCALHOST, to, false)
    }

    /// From the loopback device of this machine to a host.
    pub(crate) fn start_between(lan: &Lan, to: (Ipv4Addr, u16)) -> Self {
        Self::start_in(Some(lan), Ipv4Addr::LOCALHOST, to, false)
    }

    /// `there`: it listens on the host's network, and not on this machine's.
    fn start_in(lan: Option<&Lan>, at: Ipv4Addr, to: (Ipv4Addr, u16), there: bool) -> Self {
        let namespace = lan.map(|lan| File::open(lan.namespace()).unwrap());
        let (weather, seen) = watch::channel(Weather::default());
        let (started, port) = blocking::channel();
        // The namespace is the thread's own, and so is the runtime: sockets are made on no other thread.
        std::thread::spawn(move || {
            let listen = || std::net::TcpListener::bind((at, 0)).unwrap();
            let here = (!there).then(listen);
            if let Some(namespace) = namespace {
                rustix::thread::move_into_link_name_space(namespace.as_fd(), None).unwrap();
            }
            let listener = here.unwrap_or_else(listen);
            listener.set_nonblocking(true).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                started.send(listener.local_addr().unwrap().port()).unwrap();
                serve(listener, to.into(), seen).await;
            });
        });
        Self { at, port: port.recv().unwrap(), weather }
    }

    pub(crate) fn address(&self) -> (Ipv4Addr, u16) {
        (self.at, self.port)
    }

    /// From now on everything takes so long, each way.
    pub(crate) fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Takes what is sent and passes nothing on.
    pub(crate) fn stall(&self) {
        self.weather.send_modify(|weather| weather.stalled = true);
    }

    pub(crate) fn resume(&self) {
        self.weather.send_modify(|weather| weather.stalled = false);
    }

    /// Every connection is reset on both sides; new ones are taken.
    pub(crate) fn reset(&self) {
        self.weather.send_modify(|weather| weather.resets += 1);
    }
}

async fn serve(listener: TcpListener, to: SocketAddr, weather: watch::Receiver<Weather>) {
    let mut gone = weather.clone();
    let work = async {
        loop {
            let (theirs, _) = listener.accept().await.unwrap();
            let weather = weather.clone();
            tokio::spawn(async move {
                if let Ok(host) = TcpStream::connect(to).await {
                    pass_on(theirs, host, weather).await;
                }
            });
        }
    };
    tokio::select! {
        () = work => {}
        _ = gone.wait_for(|_| false) => {}
    }
}

async fn pass_on(one: TcpStream, other: TcpStream, mut weather: watch::Receiver<Weather>) {
    for stream in [&one, &other] {
        stream.set_nodelay(true).unwrap();
    }
    let sockets = [&one, &other].map(|stream| stream.as_fd().try_clone_to_owned().unwrap());
    let resets = weather.borrow().resets;
    let (one_read, one_write) = one.into_split();
    let (other_read, other_write) = other.into_split();
    let (there, back) = (pump(one_read, other_write, weather.clone()), pump(other_read, one_write, weather.clone()));
    tokio::select! {
        _ = async { tokio::join!(there, back) } => {}
        // Closed without a moment to linger: the kernel sends a reset.
        _ = weather.wait_for(|weather| weather.resets != resets) => {
            for socket in &sockets {
                SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
    }
}

async fn pump(mut read: OwnedReadHalf, mut write: OwnedWriteHalf, mut weather: watch::Receiver<Weather>) {
    let (queue, mut due) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let delays = weather.clone();
    let receive = async move {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(count @ 1..) = read.read(&mut buffer).await {
            let at = Instant::now() + delays.borrow().delay;
            if queue.send((at, buffer[..count].to_vec())).is_err() {
                break;
            }
        }
    };
    let send = async move {
        while let Some((at, data)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            if weather.wait_for(|weather| !weather.stalled).await.is_err() || write.write_all(&data).await.is_err() {
                break;
            }
        }
        let _ = write.shutdown().await;
    };
    tokio::join!(receive, send);
}

/// When a tap does what it is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The daemon never hears of the request.
    Before,
    /// The daemon has done it and answered, and the answer goes no further.
    After,
}

type Deed = Box<dyn FnOnce() + Send>;

/// A socket that leads to the daemon's.
pub(crate) struct Tap {
    plan: Arc<Mutex<Option<(String, Moment, Deed)>>>,
    directory: TempDir,
}

impl Tap {
    pub(crate) fn on(daemon: PathBuf) -> Self {
        let directory = tempfile::Builder::new().prefix("landfall-tap-").tempdir().unwrap();
        let tap = Self { plan: Arc::default(), directory };
        let listener = UnixListener::bind(tap.socket()).unwrap();
        let plan = Arc::clone(&tap.plan);
        // Ends with the test's process; nobody finds the socket any more once the tap is dropped.
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let (plan, daemon) = (Arc::clone(&plan), daemon.clone());
                std::thread::spawn(move || converse(&client, &daemon, &plan));
            }
        });
        tap
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    /// Once, at the first request whose first line contains `words`.
    pub(crate) fn at(&self, words: &str, moment: Moment, deed: impl FnOnce() + Send + 'static) {
        *self.plan.lock().unwrap() = Some((words.to_owned(), moment, Box::new(deed)));
    }

    /// Whether it was done. If not, it never will be.
    pub(crate) fn forget(&self) -> bool {
        self.plan.lock().unwrap().take().is_none()
    }
}

fn converse(client: &UnixStream, daemon: &Path, plan: &Mutex<Option<(String, Moment, Deed)>>) {
    let Ok(daemon) = UnixStream::connect(daemon) else { return };
    let due: Mutex<Option<Deed>> = Mutex::new(None);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A request begins with what is read at once: clients write the head in one piece and wait for the answer.
            let _ = copy(client, &daemon, |data| {
                let line =
                    String::from_utf8_lossy(data.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
                let mut plan = plan.lock().unwrap();
                if !plan.as_ref().is_some_and(|(words, ..)| line.contains(words.as_str())) {
                    return true;
                }
                let Some((_, moment, deed)) = plan.take() else { return true };
                if moment == Moment::Before {
                    deed();
                    return false;
                }
                *due.lock().unwrap() = Some(deed);
                true
            });
            hang_up(client, &daemon);
        });
        let _ = copy(&daemon, client, |_| match due.lock().unwrap().take() {
            Some(deed) => {
                deed();
                false
            }
            None => true,
        });
        hang_up(client, &daemon);
    });
}

fn copy(mut from: &UnixStream, mut to: &UnixStream, mut may_pass: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count if !may_pass(&buffer[..count]) => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
    }
}

fn hang_up(client: &UnixStream, daemon: &UnixStream) {
    for end in [client, daemon] {
        let _ = end.shutdown(Shutdown::Both);
    }
}
