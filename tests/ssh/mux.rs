//! The multiplexer: integrity, cancellation, rekeying, dead peers, idleness.

use std::time::{Duration, Instant};

use landfall::shell::engine::connect::ssh::known_hosts::HostKey;
use landfall::shell::engine::connect::ssh::{
    ChannelStream, Credentials, Hop, Identity, Mux, OpenError, SshDialer, SshTimeouts, Timing, Trust, establish,
};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;

use super::{Echo, TIMEOUTS, dialer, endpoint, to, until, until_no_streams};
use crate::support::sshd::Sshd;

/// Bytes that are different everywhere, and the same for the same seed.
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(count).collect()
    }
}

/// Sends noise in odd pieces, and reads in odd pieces that it comes back.
async fn echo_noise(stream: ChannelStream, seed: u64, size: usize) {
    let data = Noise::new(seed).bytes(size);
    let (mut read, mut write) = tokio::io::split(stream);
    let send = async {
        let mut pieces = Noise::new(seed + 1);
        let mut rest = data.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + pieces.below(40_000)).min(rest.len()));
            write.write_all(piece).await.unwrap();
            rest = after;
        }
        write.shutdown().await.unwrap();
    };
    let receive = async {
        let mut pieces = Noise::new(seed + 2);
        let mut received = Vec::with_capacity(size);
        loop {
            let mut buffer = vec![0; 1 + pieces.below(60_000)];
            match read.read(&mut buffer).await.unwrap() {
                0 => return received,
                count => received.extend_from_slice(&buffer[..count]),
            }
        }
    };
    let ((), received) = tokio::join!(send, receive);
    assert!(received == data, "{} of {size} bytes came back, or others", received.len());
}

async fn echo_in_parallel(mux: &Mux, echo: &Echo, streams: u64, size: usize) {
    let mut tasks = JoinSet::new();
    for seed in 0..streams {
        let (mux, destination) = (mux.clone(), to(echo.socket()));
        tasks.spawn(async move { echo_noise(mux.open(destination).await.unwrap(), seed * 7 + 1, size).await });
    }
    tasks.join_all().await;
    until_no_streams(mux).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_of_64_parallel_streams_arrives() {
    let (sshd, echo) = (Sshd::start(), Echo::start());
    let mux = dialer(&sshd, echo.socket()).session().await.unwrap();
    echo_in_parallel(&mux, &echo, 64, 300_000).await;
    assert_eq!(sshd.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_arrives_while_keys_are_renewed() {
    let sshd = Sshd::builder().option("RekeyLimit 256K").start();
    let echo = Echo::start();
    let mux = dialer(&sshd, echo.socket()).session().await.unwrap();
    echo_in_parallel(&mux, &echo, 16, 400_000).await;
    assert!(mux.is_alive());
}

/// A session over any stream that leads to the sshd.
async fn session_over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, sshd: &Sshd) -> Mux {
    let hop = Hop {
        host: "edge-1".to_owned(),
        address: "127.0.0.1".to_owned(),
        port: sshd.port(),
        user: sshd.client().environment().user,
        trust: Trust::Pinned(HostKey::parse(&sshd.host_key("ed25519")).unwrap()),
        credentials: Credentials {
            identities: vec![Identity { file: sshd.client().key(), explicit: true }],
            ..Credentials::default()
        },
    };
    establish(Box::new(stream), &hop, TIMEOUTS.timing).await.unwrap()
}

/// The wire takes and gives at most 997 bytes at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_arrives_through_small_pieces() {
    let (sshd, echo) = (Sshd::start(), Echo::start());
    let (ours, mut relay) = tokio::io::duplex(997);
    let mut tcp = tokio::net::TcpStream::connect(("127.0.0.1", sshd.port())).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    tokio::spawn(async move { tokio::io::copy_bidirectional_with_sizes(&mut relay, &mut tcp, 997, 997).await });
    let mux = session_over(ours, &sshd).await;
    echo_in_parallel(&mux, &echo, 16, 100_000).await;
}

/// The kernel takes a few kilobytes, and tells the peer of a window as small: both sides are full most of the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_arrives_through_the_smallest_buffers_of_the_kernel() {
    let (sshd, echo) = (Sshd::start(), Echo::start());
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // Before the connection: the window is agreed on with it. The kernel makes the least it allows of it.
    socket.set_send_buffer_size(1).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    let (sends, receives) = (socket.send_buffer_size().unwrap(), socket.recv_buffer_size().unwrap());
    assert!(sends < 8_192 && receives < 8_192, "{sends} and {receives} bytes");
    let tcp = socket.connect(([127, 0, 0, 1], sshd.port()).into()).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let mux = session_over(tcp, &sshd).await;
    echo_in_parallel(&mux, &echo, 8, 60_000).await;
}

/// Nor does sshd confirm its closing while the far end takes nothing. That is no sign of death.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_nobody_reads_does_not_hold_up_the_others() {
    let (sshd, echo) = (Sshd::start(), Echo::start());
    let mux = impatient(&sshd, &echo).session().await.unwrap();
    let mut stuck = mux.open(to(echo.socket())).await.unwrap();
    let full = tokio::time::timeout(Duration::from_millis(300), async {
        loop {
            stuck.write_all(&[7; 60_000]).await.unwrap();
        }
    });
    assert!(full.await.is_err(), "back-pressure reaches the writer");
    let idle = mux.open(to(echo.socket())).await.unwrap();
    echo_noise(mux.open(to(echo.socket())).await.unwrap(), 5, 3_000_000).await;
    drop(stuck);
    tokio::time::sleep(Duration::from_millis(800)).await;
    echo_noise(idle, 6, 1_000).await;
    assert!(mux.is_alive());
}

/// Takes a peer for dead after 300 ms of silence where it owes an answer.
fn impatient(sshd: &Sshd, echo: &Echo) -> SshDialer {
    let timing = Timing { answer: Duration::from_millis(300), ..TIMEOUTS.timing };
    let timeouts = SshTimeouts { timing, ..TIMEOUTS };
    SshDialer::with(endpoint(sshd, echo.socket(), None), sshd.client().environment(), timeouts)
}

/// Dropped before, while and after opening, writing and reading; what is left works and nothing leaks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancellation_at_every_point_harms_nobody() {
    let (sshd, echo) = (Sshd::start(), Echo::start());
    let mux = dialer(&sshd, echo.socket()).session().await.unwrap();
    let mut tasks = JoinSet::new();
    for seed in 0..600 {
        let (mux, destination) = (mux.clone(), to(echo.socket()));
        tasks.spawn(async move {
            let mut noise = Noise::new(seed + 99);
            let work = async {
                let stream = mux.open(destination).await.unwrap();
                echo_noise(stream, seed, 20_000).await;
            };
            if seed % 2 == 0 {
                work.await;
            } else {
                // From not at all to most of what it takes.
                let patience = Duration::from_micros(u64::try_from(noise.below(30_000)).unwrap());
                let _ = tokio::time::timeout(patience, work).await;
            }
        });
        if seed % 32 == 31 {
            tasks = drain(tasks).await;
        }
    }
    drain(tasks).await;
    until_no_streams(&mux).await;
    echo_noise(mux.open(to(echo.socket())).await.unwrap(), 1, 100_000).await;
    assert_eq!(sshd.connections(), 1);
}

async fn drain(tasks: JoinSet<()>) -> JoinSet<()> {
    tasks.join_all().await;
    JoinSet::new()
}

/// Polled once, twice, … and dropped: every state of an opening is abandoned once.
#[tokio::test]
async fn an_opening_may_be_dropped_in_any_state() {
    let (sshd, echo) = (Sshd::start(), Echo::start());
    let mux = dialer(&sshd, echo.socket()).session().await.unwrap();
    for yields in 0..40 {
        {
            let mut opening = std::pin::pin!(mux.open(to(echo.socket())));
            for _ in 0..yields {
                if futures::poll!(opening.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        echo_noise(mux.open(to(echo.socket())).await.unwrap(), 3, 1_000).await;
    }
    until_no_streams(&mux).await;
}

/// What this thread has used of a processor. The runtime of a test runs on the test's own thread, so this is all that a session takes.
fn processor_time() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec.try_into().unwrap(), used.tv_nsec.try_into().unwrap())
}

#[tokio::test]
async fn an_idle_connection_takes_no_cpu() {
    let (sshd, echo) = (Sshd::start(), Echo::start());
    let mux = dialer(&sshd, echo.socket()).session().await.unwrap();
    // As a stream of events: something has come, and then nothing for long.
    let mut open = mux.open(to(echo.socket())).await.unwrap();
    open.write_all(b"x").await.unwrap();
    open.read_exact(&mut [0]).await.unwrap();
    let reading = tokio::spawn(async move { open.read(&mut [0; 16]).await });
    // Settles: acknowledgements and window adjustments are through.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (before, used) = (mux.passes(), processor_time());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = processor_time() - used;
    assert_eq!(mux.passes() - before, 0, "passes of an idle connection");
    assert!(used < Duration::from_millis(2), "{used:?} of a processor in a second");
    assert!(!reading.is_finished() && mux.is_alive());
}

#[tokio::test]
async fn keepalives_are_sent_and_cost_a_pass_or_two() {
    let (sshd, echo) = (Sshd::start(), Echo::start());
    let timeouts =
        SshTimeouts { timing: Timing { keepalive: Duration::from_millis(1_000), ..TIMEOUTS.timing }, ..TIMEOUTS };
    let dialer = SshDialer::with(endpoint(&sshd, echo.socket(), None), sshd.client().environment(), timeouts);
    let mux = dialer.session().await.unwrap();
    let before = mux.passes();
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    let passes = mux.passes() - before;
    assert!((2..20).contains(&passes), "{passes} passes for two keepalives");
    assert!(mux.is_alive());
}

#[tokio::test]
async fn a_killed_session_is_an_error_for_every_stream_and_never_an_end() {
    let (sshd, echo) = (Sshd::start(), Echo::start());
    let mux = dialer(&sshd, echo.socket()).session().await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(mux.open(to(echo.socket())).await.unwrap());
    }
    let killed = Instant::now();
    sshd.kill_sessions();
    for stream in &mut streams {
        let error = stream
            .read(&mut [0; 16])
            .await
            .expect_err("an end of file would mean that the daemon had nothing more to say");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(error.to_string().contains("the SSH session ended"), "{error}");
    }
    assert!(killed.elapsed() < Duration::from_millis(500), "{:?}", killed.elapsed());
    until("the handle knows", || !mux.is_alive()).await;
    assert!(matches!(mux.open(to(echo.socket())).await, Err(OpenError::SessionLost(_))));
    assert!(streams[0].write_all(&[0; 100_000]).await.is_err());
}

#[tokio::test]
async fn an_aborted_session_is_an_error_too() {
    let (sshd, echo) = (Sshd::start(), Echo::start());
    let mux = dialer(&sshd, echo.socket()).session().await.unwrap();
    let mut stream = mux.open(to(echo.socket())).await.unwrap();
    mux.kill();
    let error = stream.read(&mut [0; 16]).await.unwrap_err();
    assert_eq!(error.to_string(), "the SSH session was closed");
}

/// A stopped sshd keeps its TCP connections; only that it owes an answer shows.
#[tokio::test]
async fn a_frozen_peer_is_noticed_when_it_owes_an_answer() {
    let (sshd, echo) = (Sshd::start(), Echo::start());
    let mux = impatient(&sshd, &echo).session().await.unwrap();
    let mut waiting = mux.open(to(echo.socket())).await.unwrap();
    let cancelled = mux.open(to(echo.socket())).await.unwrap();
    sshd.freeze();
    drop(cancelled);
    let error = waiting.read(&mut [0; 16]).await.unwrap_err();
    assert!(error.to_string().contains("no answer from the server for 300ms"), "{error}");
    sshd.thaw();
}

#[tokio::test]
async fn a_peer_that_is_only_slow_is_left_alone() {
    let (sshd, echo) = (Sshd::start(), Echo::start());
    let mux = dialer(&sshd, echo.socket()).session().await.unwrap();
    let stream = mux.open(to(echo.socket())).await.unwrap();
    sshd.freeze();
    let work = tokio::spawn(echo_noise(stream, 4, 200_000));
    tokio::time::sleep(Duration::from_millis(300)).await;
    sshd.thaw();
    work.await.unwrap();
}

#[tokio::test]
async fn the_session_outlives_its_handle_as_long_as_a_stream_does() {
    let (sshd, echo) = (Sshd::start(), Echo::start());
    let stream = {
        let dialer = dialer(&sshd, echo.socket());
        dialer.session().await.unwrap().open(to(echo.socket())).await.unwrap()
    };
    echo_noise(stream, 2, 50_000).await;
    until("sshd sees the end of the connection", || {
        let log = sshd.log();
        log.contains("Connection closed by") || log.contains("Connection reset by")
    })
    .await;
}

#[tokio::test]
async fn the_end_of_one_stream_is_an_end_of_file_for_it_alone() {
    let sshd = Sshd::start();
    let daemon = Echo::serve(|mut stream| async move {
        let _ = stream.write_all(b"bye").await;
    });
    let echo = Echo::start();
    let mux = dialer(&sshd, echo.socket()).session().await.unwrap();
    let mut short = mux.open(to(daemon.socket())).await.unwrap();
    let long = mux.open(to(echo.socket())).await.unwrap();
    let mut said = String::new();
    short.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "bye");
    // Writing to a peer that has gone is this stream's trouble only.
    let _ = short.write_all(&[1; 200_000]).await;
    drop(short);
    echo_noise(long, 8, 50_000).await;
    until_no_streams(&mux).await;
    assert!(mux.is_alive());
}
