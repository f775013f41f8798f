//! Bytes in and out of containers, as they come: what a command reads and prints, and directories as tar archives. None of it is ever held as
//! a whole.

use std::io;
use std::time::Duration;

use futures::StreamExt;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::classify::{Failure, Operation};
use super::{DockerReader, DockerWriter, LARGEST_OBJECT, LARGEST_RECEIPT, decoded, request, succeeded, within};
use crate::core::observed::ContainerId;
use crate::shell::engine::{Chunks, EngineError, Piped};

/// Longest time without a single byte before a transfer counts as stalled: a dump waits for locks, and sorts.
const STALLED: Duration = Duration::from_secs(30 * 60);
/// Of what a command prints on standard error, the last bytes are kept.
const LONGEST_COMPLAINT: usize = 16 << 10;
/// What a piece of output begins with: which stream, three zeros, and the length.
const HEADER: usize = 8;
/// Between two looks at a command whose output has ended.
const POLL: Duration = Duration::from_millis(50);
/// How long a command may go on after its output has ended.
const ENDING: Duration = Duration::from_secs(60);

impl DockerReader {
    /// `GET /containers/{id}/archive`. Also of a container that was never started.
    pub(super) async fn packed(&self, id: &ContainerId, path: &str) -> Result<Chunks, EngineError> {
        let what = format!("reading {path} of container {}", id.short());
        let opened = async {
            let path = format!("/containers/{id}/archive?path={}", encoded(path));
            succeeded(self.transport.send(request(Method::GET, &path, &())?).await?).await
        };
        let answer = within(self.options.read_timeout, opened)
            .await
            .map_err(|failure| failure.explain(Operation::Read, &self.server, &what))?;
        let pieces = answer.pieces().map(|piece| piece.map_err(io::Error::other));
        Ok(stalling(pieces.boxed()))
    }
}

impl DockerWriter {
    /// `PUT /containers/{id}/archive`.
    pub(super) async fn unpacked(&self, id: &ContainerId, path: &str, content: Chunks) -> Result<(), EngineError> {
        let what = format!("writing to {path} of container {}", id.short());
        let exchange = async {
            let body = StreamBody::new(content.map(|chunk| chunk.map(Frame::data)));
            let request = Request::put(format!("/containers/{id}/archive?path={}", encoded(path)))
                .header(header::CONTENT_TYPE, "application/x-tar")
                .body(body)
                .map_err(|error| Failure::Broken(error.to_string()))?;
            let answer = self.over_own_connection(request).await?;
            let status = answer.status();
            let body = beginning(answer.into_body(), LARGEST_RECEIPT).await?;
            if status.is_success() { Ok(()) } else { Err(Failure::refused(status, &body)) }
        };
        exchange
            .await
            .map_err(|failure: Failure| failure.explain(Operation::ChangeContainer, &self.reader.server, &what))
    }

    /// `POST /containers/{id}/exec` and its start. What is printed goes to `output` as fast as that is taken; `input` is what the command reads,
    /// to its end.
    pub(super) async fn piped(
        &self,
        id: &ContainerId,
        command: &[&str],
        input: Option<Chunks>,
        output: mpsc::Sender<Bytes>,
    ) -> Result<Piped, EngineError> {
        let what = format!("running a command in container {}", id.short());
        let run = async {
            let exec = within(self.reader.options.write_timeout, self.prepare(id, command, input.is_some())).await?;
            let start = json!({ "Detach": false, "Tty": false }).to_string();
            let request = Request::post(format!("/exec/{exec}/start"))
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::CONNECTION, "Upgrade")
                .header(header::UPGRADE, "tcp")
                .body(Full::new(Bytes::from(start)))
                .map_err(|error| Failure::Broken(error.to_string()))?;
            let answer = within(self.reader.options.write_timeout, self.over_own_connection(request)).await?;
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                let status = answer.status();
                return Err(Failure::refused(status, &beginning(answer.into_body(), LARGEST_RECEIPT).await?));
            }
            let stream = hyper::upgrade::on(answer).await.map_err(|error| Failure::Broken(error.to_string()))?;
            let complaint = converse(TokioIo::new(stream), input, output).await?;
            let code = within(ENDING, self.exit_code(&exec)).await?;
            Ok(Piped { code, complaint })
        };
        run.await.map_err(|failure: Failure| failure.explain(Operation::ChangeContainer, &self.reader.server, &what))
    }

    async fn prepare(&self, id: &ContainerId, command: &[&str], reads: bool) -> Result<String, Failure> {
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "Id")]
            id: String,
        }
        let body = json!({
            "Cmd": command, "User": "0", "AttachStdin": reads, "AttachStdout": true, "AttachStderr": true, "Tty": false,
        });
        let request = request(Method::POST, &format!("/containers/{id}/exec"), &body)?;
        let answer = succeeded(self.reader.transport.send(request).await?).await?;
        let created: Created = decoded(&answer.whole(LARGEST_OBJECT).await?)?;
        if created.id.is_empty() || !created.id.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(Failure::Unreadable(format!("{:?} is not the id of an exec", created.id)));
        }
        Ok(created.id)
    }

    async fn exit_code(&self, exec: &str) -> Result<i64, Failure> {
        #[derive(Deserialize)]
        struct Seen {
            #[serde(rename = "Running")]
            running: bool,
            #[serde(rename = "ExitCode")]
            code: Option<i64>,
        }
        loop {
            let request = request(Method::GET, &format!("/exec/{exec}/json"), &())?;
            let answer = succeeded(self.reader.transport.send(request).await?).await?;
            let seen: Seen = decoded(&answer.whole(LARGEST_OBJECT).await?)?;
            if !seen.running {
                return Ok(seen.code.unwrap_or(-1));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Over a connection that is closed afterwards: those of the pool take no streams.
    async fn over_own_connection<B>(&self, request: Request<B>) -> Result<Response<Incoming>, Failure>
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // Nothing is changed through an API that has not been heard to be new enough.
        if self.reader.transport.version().is_none() {
            self.reader.probe().await?;
        }
        let mut request = self.reader.transport.addressed(request)?;
        request.headers_mut().insert(header::HOST, http::HeaderValue::from_static("docker"));
        let broken = |error: &dyn std::error::Error| Failure::Broken(error.to_string());
        let dialled = tokio::time::timeout(self.reader.options.read_timeout, self.reader.dialer.dial()).await;
        let stream = dialled
            .map_err(|_| Failure::TimedOut(self.reader.options.read_timeout))?
            .map_err(|error| broken(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.map_err(|error| {
            // Why the body ended is the body's to say.
            let inner = std::error::Error::source(&error).map(ToString::to_string);
            Failure::Broken(inner.unwrap_or_else(|| error.to_string()))
        })
    }
}

/// Writes all of the input, and reads until the command has closed its output. What it says on standard error is the answer.
async fn converse(
    stream: TokioIo<hyper::upgrade::Upgraded>,
    input: Option<Chunks>,
    output: mpsc::Sender<Bytes>,
) -> Result<String, Failure> {
    let (mut from, mut to) = tokio::io::split(stream);
    let write = async {
        let Some(mut input) = input else { return std::future::pending().await };
        while let Some(chunk) = input.next().await {
            let chunk = chunk.map_err(|error| Failure::Broken(error.to_string()))?;
            if to.write_all(&chunk).await.is_err() {
                // It reads no more; what it says and how it ends tells why.
                return std::future::pending().await;
            }
        }
        // The end of the input has to arrive, or the command waits for more.
        let _ = to.flush().await;
        let _ = to.shutdown().await;
        std::future::pending().await
    };
    let read = async {
        let mut complaint = Vec::new();
        let mut header = [0; HEADER];
        loop {
            match timely(from.read_exact(&mut header)).await {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(Failure::Broken(error.to_string())),
            }
            let [stream, _, _, _, a, b, c, d] = header;
            let mut left = u32::from_be_bytes([a, b, c, d]) as usize;
            while left > 0 {
                let mut piece = vec![0; left.min(64 << 10)];
                timely(from.read_exact(&mut piece)).await.map_err(|error| Failure::Broken(error.to_string()))?;
                left -= piece.len();
                if stream == 2 {
                    complaint.extend_from_slice(&piece);
                    let surplus = complaint.len().saturating_sub(LONGEST_COMPLAINT);
                    complaint.drain(..surplus);
                } else if output.send(piece.into()).await.is_err() {
                    return Err(Failure::Broken("what it prints is not taken any more".to_owned()));
                }
            }
        }
        Ok(String::from_utf8_lossy(&complaint).trim().to_owned())
    };
    tokio::select! {
        ended = read => ended,
        failed = write => failed,
    }
}

async fn timely<T>(wait: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(STALLED, wait).await.unwrap_or_else(|_| Err(stalled()))
}

fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("nothing came for {} minutes", STALLED.as_secs() / 60))
}

/// The same stream, which fails where nothing comes any more.
fn stalling(chunks: Chunks) -> Chunks {
    futures::stream::unfold(Some(chunks), |chunks| async {
        let mut chunks = chunks?;
        match tokio::time::timeout(STALLED, chunks.next()).await {
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(chunks))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_) => Some((Err(stalled()), None)),
        }
    })
    .boxed()
}

async fn beginning(mut body: Incoming, most: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        bytes.extend_from_slice(&data[..data.len().min(most - bytes.len())]);
        if bytes.len() == most {
            break;
        }
    }
    Ok(bytes)
}

/// A path as part of a query.
fn encoded(path: &str) -> String {
    crate::core::workload::secret::Form::Url.write(path)
}
