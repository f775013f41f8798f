//! The events of one server, drained as fast as they come: the daemon waits for whoever listens slowly.

use std::time::Duration;

use futures::StreamExt;
use tokio::sync::mpsc;

use super::run::Message;
use crate::api::{Kind, ObjectKey};
use crate::engine::{DockerWriter, Watcher};

/// Wait before a lost stream is opened again. The pass that the loss causes says whether the server is there at all.
const REOPEN: Duration = Duration::from_secs(1);

/// Drains the events of one server. Subscribes first, then has it listed: what happened in between is in the list.
pub(super) async fn listen(server: ObjectKey, writer: DockerWriter, inbox: mpsc::Sender<Message>) {
    debug_assert_eq!(server.kind, Kind::Server);
    loop {
        let error = match writer.subscribe().await {
            Ok(mut stream) => {
                let _ = inbox.try_send(Message::Hint { server: server.clone() });
                loop {
                    match stream.next().await {
                        // Never wait: a slow listener slows the daemon, and one hint that is underway stands for all.
                        Some(Ok(event)) => {
                            tracing::trace!(server = %server.path(), action = event.action, object = event.name, "event");
                            let _ = inbox.try_send(Message::Hint { server: server.clone() });
                        }
                        Some(Err(error)) => break Some(error),
                        None => break None,
                    }
                }
            }
            Err(error) => Some(error),
        };
        if inbox.send(Message::StreamLost { server: server.clone(), error }).await.is_err() {
            return;
        }
        tokio::time::sleep(REOPEN).await;
    }
}
