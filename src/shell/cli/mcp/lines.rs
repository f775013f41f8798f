//! Standard input and output as lines of JSON-RPC.
//!
//! The SDK's transport drops a line that is no JSON, and one that is too long, without an answer. JSON-RPC has an error for either, so that a client that
//! writes such a line learns of it instead of waiting for its answer. Lines are looked at before the SDK gets them; what they say is its part.

use std::io;

use rmcp::RoleServer;
use rmcp::model::{ErrorData, JsonRpcMessage};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use serde::de::IgnoredAny;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Bytes of one line of a client; the largest argument of a tool has a thousandth of it.
const LONGEST_LINE: usize = 1024 * 1024;
/// Lines that wait for their error.
const WAITING: usize = 4;

pub(super) struct Lines<W: AsyncWrite> {
    /// Over those lines that are JSON.
    rest: AsyncRwTransport<RoleServer, DuplexStream, W>,
    refused: mpsc::Receiver<ErrorData>,
    /// An error on its way to the client: the call that sends it may be given up for another message.
    sending: Option<JoinHandle<()>>,
}

impl<W: AsyncWrite + Send + Unpin + 'static> Lines<W> {
    pub(super) fn new(input: impl AsyncRead + Send + Unpin + 'static, output: W) -> Self {
        let (valid, rest) = tokio::io::duplex(64 * 1024);
        let (refuse, refused) = mpsc::channel(WAITING);
        tokio::spawn(sort(BufReader::new(input), valid, refuse));
        let rest = AsyncRwTransport::new_server(rest, output).with_max_line_length(LONGEST_LINE + 1);
        Self { rest, refused, sending: None }
    }
}

impl<W: AsyncWrite + Send + Unpin + 'static> Transport<RoleServer> for Lines<W> {
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        self.rest.send(message)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            if let Some(sending) = &mut self.sending {
                // A client that is gone is seen by the end of its input.
                let _ = sending.await;
                self.sending = None;
            }
            tokio::select! {
                biased;
                Some(error) = self.refused.recv() => {
                    let sent = self.rest.send(JsonRpcMessage::error(error, None));
                    self.sending = Some(tokio::spawn(async move { drop(sent.await) }));
                }
                message = self.rest.receive() => return message,
            }
        }
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        self.rest.close().await
    }
}

/// Hands on the lines that are JSON until the input ends, and refuses the others.
async fn sort(mut input: impl AsyncBufRead + Unpin, mut valid: DuplexStream, refuse: mpsc::Sender<ErrorData>) {
    let mut line = Vec::new();
    loop {
        line.clear();
        // The end of the line does not count.
        match (&mut input).take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut line).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        let whole = line.pop_if(|last| *last == b'\n').is_some() || line.len() <= LONGEST_LINE;
        let passed_on = match judged(&line) {
            Ok(()) => {
                line.push(b'\n');
                valid.write_all(&line).await.is_ok()
            }
            Err(error) => refuse.send(error).await.is_ok(),
        };
        if !passed_on || !whole && skip(&mut input).await.is_err() {
            return;
        }
    }
}

/// To the end of the line.
async fn skip(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<()> {
    loop {
        let read = input.fill_buf().await?;
        let (length, end) = match read.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (read.len(), read.is_empty()),
        };
        input.consume(length);
        if end {
            return Ok(());
        }
    }
}

fn judged(line: &[u8]) -> Result<(), ErrorData> {
    if line.len() > LONGEST_LINE {
        return Err(ErrorData::invalid_request(format!("a line is longer than {LONGEST_LINE} bytes"), None));
    }
    // A mark of the byte order is the SDK's to skip, and so are empty lines.
    let text = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    if text.trim_ascii().is_empty() {
        return Ok(());
    }
    match serde_json::from_slice::<IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(ErrorData::parse_error(format!("a line is not JSON: {error}"), None)),
    }
}
