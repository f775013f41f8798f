//! Questions to a database, by the tools in its own container.

use futures::future::join;
use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::TransferError;
use super::part::WAITING;
use crate::core::backup::database::{Tool, Verb};
use crate::core::observed::ContainerId;
use crate::shell::engine::{Chunks, Writer};

/// Of an answer that is kept: names of a hundred thousand tables.
const LARGEST_ANSWER: usize = 16 << 20;

/// What a tool is asked in which container.
pub(super) struct Asker<'a> {
    pub(super) engine: &'a dyn Writer,
    pub(super) container: &'a ContainerId,
    pub(super) tool: Tool,
    /// Of the container, for messages.
    pub(super) name: &'a str,
}

impl Asker<'_> {
    /// The lines of an answer.
    pub(super) async fn ask(&self, verb: Verb) -> Result<Vec<String>, TransferError> {
        let (to, mut from) = mpsc::channel::<Bytes>(WAITING);
        let collect = async {
            let mut answer = Vec::new();
            while let Some(piece) = from.recv().await {
                if answer.len() + piece.len() <= LARGEST_ANSWER {
                    answer.extend_from_slice(&piece);
                }
            }
            answer
        };
        let (run, answer) = join(self.run(verb, "", None, to), collect).await;
        run?;
        Ok(String::from_utf8_lossy(&answer).lines().map(str::to_owned).collect())
    }

    pub(super) async fn run(
        &self,
        verb: Verb,
        database: &str,
        input: Option<Chunks>,
        output: mpsc::Sender<Bytes>,
    ) -> Result<(), TransferError> {
        let command = self.tool.command(verb, database);
        let ended = self.engine.pipe(self.container, &command, input, output).await?;
        if ended.code == 0 {
            return Ok(());
        }
        let attempted = match verb {
            Verb::Dump | Verb::Globals => "dumping from",
            Verb::Restore | Verb::RestoreGlobals => "restoring into",
            _ => "asking",
        };
        Err(TransferError::Tool {
            attempted: format!("{attempted} the database in {}", self.name),
            code: ended.code,
            complaint: ended.complaint,
        })
    }

    /// What is read from `input`, and prints nothing that matters.
    pub(super) async fn feed(&self, verb: Verb, database: &str, input: Chunks) -> Result<(), TransferError> {
        let (to, mut from) = mpsc::channel::<Bytes>(WAITING);
        let discard = async { while from.recv().await.is_some() {} };
        join(self.run(verb, database, Some(input), to), discard).await.0
    }
}
