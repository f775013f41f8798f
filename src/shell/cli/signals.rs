//! Signals that ask a command to end.

use tokio::signal::unix::{SignalKind, signal};

/// Ctrl-C, and SIGTERM, by which a CI system or `timeout` ends a command.
pub(super) async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
