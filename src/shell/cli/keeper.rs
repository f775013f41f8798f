//! Beside the loop of `run`: what a copy that was cut off has left stopped is started again.

use std::path::PathBuf;
use std::time::Duration;

use crate::shell::controller::board::Board;
use crate::shell::engine::connect::{self, ConnectOptions};
use crate::shell::transfer::halt::Record;

/// Between two looks at the records.
const LOOK: Duration = Duration::from_secs(2);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(30);

/// Never ends. What cannot be started is tried again.
pub(super) async fn keep(state: PathBuf, board: Board, options: ConnectOptions) {
    loop {
        let pause = if recover(&state, &board, &options).await { LOOK } else { AGAIN };
        tokio::time::sleep(pause).await;
    }
}

/// False where something could not be done.
async fn recover(state: &std::path::Path, board: &Board, options: &ConnectOptions) -> bool {
    let records = match Record::left_behind(state) {
        Ok(records) => records,
        Err(error) => {
            tracing::warn!(%error, "what was stopped for a copy cannot be read");
            return false;
        }
    };
    let mut all = true;
    for record in records {
        let server = board.read().declared.servers.get(&record.halted.server).cloned();
        // Not declared here: another controller's, or not read yet.
        let Some(server) = server else { continue };
        let names = record.halted.names();
        let (names, object) = (names.join(", "), record.halted.object.clone());
        let started = match connect::writer(&server, options) {
            Ok(writer) => record.start(&writer, &()).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match started {
            Ok(()) => {
                tracing::warn!(%object, names, "a copy was cut off; what had been stopped for it is started again")
            }
            Err(error) => {
                tracing::warn!(%object, names, error, "stopped for a copy that was cut off, and cannot be started");
                all = false;
            }
        }
    }
    all
}
