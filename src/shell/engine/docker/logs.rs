//! What a container prints, line by line as it comes.

use std::collections::VecDeque;
use std::time::SystemTime;

use futures::StreamExt;
use futures::stream::BoxStream;
use http::Method;

use super::classify::{Failure, Operation};
use super::{DockerReader, request, succeeded, within};
use crate::core::observed::ContainerId;
use crate::shell::engine::{EngineError, LogLine, LogRequest};

/// A longer line is cut into pieces of this size.
const LONGEST_LINE: usize = 64 << 10;
/// What a piece of a container without a terminal begins with: which stream, three zeros, and the length.
const HEADER: usize = 8;

pub(super) async fn logs(
    reader: &DockerReader,
    id: &ContainerId,
    wanted: LogRequest,
) -> Result<BoxStream<'static, Result<LogLine, EngineError>>, EngineError> {
    let what = format!("reading the log of container {}", id.short());
    of_path(reader, &format!("/containers/{id}/logs"), what, wanted).await
}

/// Those of a task, from whichever node it is on.
pub(super) async fn of_task(
    reader: &DockerReader,
    id: &str,
    wanted: LogRequest,
) -> Result<BoxStream<'static, Result<LogLine, EngineError>>, EngineError> {
    let what = format!("reading the log of the task {id}");
    super::service::checked(reader, id, &what)?;
    of_path(reader, &format!("/tasks/{id}/logs"), what, wanted).await
}

async fn of_path(
    reader: &DockerReader,
    path: &str,
    what: String,
    wanted: LogRequest,
) -> Result<BoxStream<'static, Result<LogLine, EngineError>>, EngineError> {
    let LogRequest { follow, tail, since, timestamps } = wanted;
    let mut path = format!("{path}?stdout=1&stderr=1&follow={}&timestamps={}", u8::from(follow), u8::from(timestamps));
    if let Some(lines) = tail {
        path.push_str(&format!("&tail={lines}"));
    }
    if let Some(since) = since {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        path.push_str(&format!("&since={}", now.saturating_sub(since).as_secs()));
    }
    let opened = async { succeeded(reader.transport.send(request(Method::GET, &path, &())?).await?).await };
    let answer = within(reader.options.read_timeout, opened)
        .await
        .map_err(|failure| failure.explain(Operation::Read, &reader.server, &what))?;
    let server = reader.server.clone();
    let state = (answer.pieces(), Lines::default(), VecDeque::new(), false);
    let stream = futures::stream::unfold(state, move |(mut body, mut lines, mut ready, ended)| {
        let (server, what) = (server.clone(), what.clone());
        async move {
            loop {
                if let Some(text) = ready.pop_front() {
                    return Some((Ok(LogLine { text }), (body, lines, ready, ended)));
                }
                if ended {
                    return None;
                }
                match body.next().await {
                    Some(Ok(bytes)) => ready.extend(lines.take(&bytes)),
                    Some(Err(error)) => {
                        let failure = Failure::Broken(error.to_string());
                        let error = failure.explain(Operation::Read, &server, &what);
                        return Some((Err(error), (body, lines, ready, true)));
                    }
                    None => {
                        ready.extend(lines.rest());
                        if ready.is_empty() {
                            return None;
                        }
                        let text = ready.pop_front().unwrap_or_default();
                        return Some((Ok(LogLine { text }), (body, lines, ready, true)));
                    }
                }
            }
        }
    });
    Ok(stream.boxed())
}

/// The lines of a log that has come as a whole.
pub(super) fn log_lines(bytes: &[u8]) -> Vec<String> {
    let mut lines = Lines::default();
    let mut all = lines.take(bytes);
    all.extend(lines.rest());
    all
}

/// Cuts what comes into lines. Each stream has its own line that has not ended.
#[derive(Default)]
struct Lines {
    /// Whether pieces have headers: those of a container with a terminal have none.
    framed: Option<bool>,
    header: Vec<u8>,
    /// Of the current piece: the stream, and the bytes that are to come.
    piece: (usize, usize),
    unended: [Vec<u8>; 3],
}

impl Lines {
    fn take(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        while !bytes.is_empty() {
            if self.framed == Some(false) {
                self.add(0, bytes, &mut lines);
                break;
            }
            if self.piece.1 > 0 {
                let (now, later) = bytes.split_at(self.piece.1.min(bytes.len()));
                self.piece.1 -= now.len();
                self.add(self.piece.0, now, &mut lines);
                bytes = later;
                continue;
            }
            let (now, later) = bytes.split_at((HEADER - self.header.len()).min(bytes.len()));
            self.header.extend_from_slice(now);
            bytes = later;
            if self.framed.is_none() && !could_be_header(&self.header) {
                self.framed = Some(false);
                let header = std::mem::take(&mut self.header);
                self.add(0, &header, &mut lines);
            } else if let [stream, _, _, _, a, b, c, d] = self.header[..] {
                self.framed = Some(true);
                self.piece = (usize::from(stream).min(2), u32::from_be_bytes([a, b, c, d]) as usize);
                self.header.clear();
            }
        }
        lines
    }

    fn add(&mut self, stream: usize, bytes: &[u8], lines: &mut Vec<String>) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let unended = &mut self.unended[stream];
            unended.extend_from_slice(part);
            while unended.len() > LONGEST_LINE {
                let later = unended.split_off(LONGEST_LINE);
                lines.push(text(&std::mem::replace(unended, later)));
            }
            if unended.last() == Some(&b'\n') {
                lines.push(text(&std::mem::take(unended)));
            }
        }
    }

    /// Lines that never ended.
    fn rest(&mut self) -> Vec<String> {
        let unended = std::mem::take(&mut self.unended);
        unended.iter().filter(|line| !line.is_empty()).map(|line| text(line)).collect()
    }
}

fn could_be_header(begun: &[u8]) -> bool {
    begun.iter().take(4).enumerate().all(|(at, byte)| if at == 0 { *byte <= 2 } else { *byte == 0 })
}

fn text(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(pieces: &[(u8, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (stream, text) in pieces {
            bytes.extend([*stream, 0, 0, 0]);
            bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    #[test]
    fn lines_are_whole_however_they_are_cut_on_the_way() {
        let bytes = framed(&[(1, "one\ntw"), (2, "error\n"), (1, "o\r\nthree")]);
        for size in 1..=bytes.len() {
            let mut lines = Lines::default();
            let mut all: Vec<String> = bytes.chunks(size).flat_map(|chunk| lines.take(chunk)).collect();
            all.extend(lines.rest());
            assert_eq!(all, ["one", "error", "two", "three"], "in pieces of {size}");
        }
    }

    #[test]
    fn a_terminal_has_no_headers_and_an_endless_line_is_cut() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"plain\nte"), ["plain"]);
        assert_eq!(lines.take(b"xt\n"), ["text"]);
        let long = vec![b'x'; LONGEST_LINE + 10];
        assert_eq!(lines.take(&long)[0].len(), LONGEST_LINE);
        assert_eq!(lines.rest()[0].len(), 10);
    }

    #[test]
    fn a_log_is_read_with_and_without_the_daemons_headers() {
        let mut framed = Vec::new();
        for (stream, text) in [(1_u8, "one\ntwo\n"), (2, "three\n")] {
            framed.extend([stream, 0, 0, 0]);
            framed.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            framed.extend(text.as_bytes());
        }
        assert_eq!(log_lines(&framed), ["one", "two", "three"]);
        assert_eq!(log_lines(b"plain\ntext"), ["plain", "text"]);
        assert_eq!(log_lines(&[1, 0, 0, 0, 0, 0, 0, 9, b'x']).len(), 1);
    }
}
