//! A server that says what a test has it say.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

/// What a request is answered with.
pub(super) enum Answer {
    Body(u16, String),
    /// A stream on which nothing comes.
    Silence,
}

pub(super) fn ok(body: impl ToString) -> Answer {
    Answer::Body(200, body.to_string())
}

/// Answers pings, and everything else with what `answer` makes of the method and the path without the version.
pub(super) fn stand_in(socket: &Path, answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) {
    let listener = UnixListener::bind(socket).unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || serve(stream, &*answer));
        }
    });
}

fn serve(mut stream: UnixStream, answer: &dyn Fn(&str, &str) -> Answer) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let head: Vec<String> =
            reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let Some((method, path)) = head.first().and_then(|line| line.split_once(' ')) else { return };
        let length =
            head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let _ = reader.read_exact(&mut vec![0; length.unwrap_or(0)]);
        let path = path.split(' ').next().unwrap_or_default();
        let path = path.strip_prefix("/v1.41").unwrap_or(path);
        let (status, body) = match path {
            "/_ping" => (200, "OK".to_owned()),
            _ => match answer(method, path) {
                Answer::Body(status, body) => (status, body),
                Answer::Silence => {
                    let head =
                        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
                    let _ = stream.write_all(head);
                    // Until the other side goes away.
                    let _ = reader.read_to_end(&mut Vec::new());
                    return;
                }
            },
        };
        let head = format!(
            "HTTP/1.1 {status} Said\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}
