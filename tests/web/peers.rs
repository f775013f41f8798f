//! Peers that are slow, that do not read, and that are too many: each is ended in time, and none of them keeps others waiting.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use landfall::shell::web::Limits;

use super::client::connect;
use super::page::{many, town};
use super::served::{Served, TOKEN};
use crate::support::wait_for;

const SOON: Duration = Duration::from_millis(300);
/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);
/// What an honest request may take while the machine is busy. Every limit that would let it through later is [`NEVER`].
const AT_ONCE: Duration = Duration::from_secs(10);

fn limits() -> Limits {
    Limits { connections: 8, head: NEVER, answer: NEVER, unread: NEVER }
}

/// Somebody else is answered.
#[track_caller]
fn others_are_served(served: &Served) {
    let begun = Instant::now();
    served.get("/healthz").expect(200);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}

/// The other side has closed it, having said that.
fn said(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let open = matches!(stream.peek(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    open
}

/// Takes a few kilobytes that nobody reads and no more.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

#[test]
fn the_documented_bounds_are_the_real_ones() {
    let Limits { connections, head, answer, unread } = Limits::default();
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md")).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let documented = format!(
        "{connections} connections a listener, 64 of them streams (where there are no more, the one that has been idle for longest makes room); 32 KiB of a request's head within {} s; 64 KiB of a body and {} s for \
         an answer; {} s for what is sent and not read",
        head.as_secs(),
        answer.as_secs(),
        unread.as_secs()
    );
    assert!(text.contains(&documented), "not in docs/operating.md: {documented}");
}

#[test]
fn a_head_that_does_not_come_ends_the_connection() {
    let served = Served::with_limits(Limits { head: SOON, ..limits() });
    for beginning in ["", "GET", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "] {
        let mut stream = connect(served.address);
        stream.write_all(beginning.as_bytes()).unwrap();
        others_are_served(&served);
        let said = said(stream);
        assert!(!said.contains("200 OK"), "{beginning:?}: {said}");
    }
    // One that was served and then has nothing to say is no better.
    let mut stream = connect(served.address);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(said(stream).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_body_that_does_not_come_is_answered_for() {
    let served = Served::with_limits(Limits { answer: SOON, ..limits() });
    let mut stream = connect(served.address);
    let head = format!(
        "POST /api/v1/approve HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: 30\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).unwrap();
    others_are_served(&served);
    let said = said(stream);
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("TooSlow"), "{said}");
}

#[test]
fn who_does_not_read_an_answer_is_cut_off() {
    let served = Served::with_limits(Limits { unread: SOON, ..limits() });
    served.show(&many(1000));
    let whole = served.get("/api/v1/destinations?limit=1000").expect(200).body.len();
    let mut stream = narrow(served.address);
    let request = b"GET /api/v1/destinations?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // More than the kernel keeps for whoever does not read.
    const TIMES: usize = 100;
    for _ in 0..TIMES {
        stream.write_all(request).unwrap();
    }
    others_are_served(&served);
    // A connection that is closed with requests unread is reset, which whoever writes is told.
    stream.set_nonblocking(true).unwrap();
    wait_for("it is cut off", || match stream.write(b"G") {
        Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => Some(()),
        _ => None,
    });
    others_are_served(&served);
    stream.set_nonblocking(false).unwrap();
    let got = said(stream).len();
    assert!(got < whole * TIMES, "{got} bytes of {TIMES} times {whole}");
}

#[test]
fn streams_that_nobody_reads_hold_up_neither_the_loop_nor_those_who_read() {
    let served = Served::with_limits(limits());
    let subscribe = |mut stream: TcpStream| {
        write!(stream, "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    };
    let _deaf: Vec<_> = (0..4).map(|_| subscribe(narrow(served.address))).collect();
    let mut lines = BufReader::new(subscribe(connect(served.address))).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "event: change"));
    let begun = Instant::now();
    for _ in 0..1000 {
        served.board.update(|_| {});
    }
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    assert!(lines.any(|line| line == "event: change"));
    served.show(&town());
    assert!(lines.any(|line| line == "event: change"));
    others_are_served(&served);
}

#[test]
fn connections_that_ask_for_nothing_make_room() {
    let served = Served::with_limits(limits());
    let idle: Vec<_> = (0..100)
        .map(|_| {
            let stream = connect(served.address);
            others_are_served(&served);
            stream
        })
        .collect();
    let left = wait_for("the others are closed", || {
        let left: Vec<bool> = idle.iter().map(open).collect();
        (left.iter().filter(|open| **open).count() < 8).then_some(left)
    });
    // Whoever has been idle for longest goes first.
    let oldest_left = left.iter().position(|open| *open).unwrap_or(left.len());
    assert!(left[oldest_left..].iter().all(|open| *open), "{left:?}");
}

#[test]
fn whoever_is_being_answered_keeps_the_place() {
    let served = Served::with_limits(Limits { connections: 3, ..limits() });
    let subscribe = || {
        let mut stream = connect(served.address);
        write!(stream, "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == "event: change"));
        lines
    };
    let mut streams = [subscribe(), subscribe()];
    for _ in 0..10 {
        let _idle = connect(served.address);
        others_are_served(&served);
    }
    served.board.update(|_| {});
    for stream in &mut streams {
        assert!(stream.any(|line| line == "event: change"), "a stream was ended for others");
    }
    // With all of them busy, the next one waits for the first that ends.
    let third = subscribe();
    let mut waiting = connect(served.address);
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    assert!(open(&waiting));
    drop(third);
    assert!(said(waiting).starts_with("HTTP/1.1 200"));
}
