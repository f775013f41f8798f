//! The events of one server, drained as fast as they come: the daemon waits for whoever listens slowly.
//!
//! A connection that died without a word looks like a server on which nothing happens. So a silent stream is looked into: the daemon is
//! pinged, and after some more silence, or when a pass could not see the server, the stream is opened anew whatever it looks like.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout_at};

use super::board::Board;
use super::run::Message;
use super::subject::About;
use crate::core::api::{Kind, ObjectKey};
use crate::shell::engine::{EngineError, Watcher};

/// Wait before a lost stream is opened again; doubled with every attempt that fails, up to [`LONGEST`].
const REOPEN: Duration = Duration::from_secs(1);
/// A server that was away is noticed this late, however long it was: after a reboot everything waits for it, and an attempt costs little.
const LONGEST: Duration = Duration::from_secs(4);
/// Wait before the loop is told again that something happened.
const REPEAT: Duration = Duration::from_millis(100);
/// Silence after which the daemon of another machine is asked whether it is there. A socket of this one is closed with the daemon, and one that hangs
/// is noticed by the next look at everything: a thousand of them were asked thirty times a second for nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// A stream that has been silent for this long is opened anew.
const LONG_SILENCE: Duration = Duration::from_secs(300);

/// Why a stream is not listened to any longer.
enum Left {
    Lost(Option<EngineError>),
    /// Nothing is known to be wrong with it.
    Doubted,
}

/// Tells of the events of one server. Subscribes first, then has it listed: what happened in between is in the list.
///
/// A loss is told once, however long it lasts: the pass that it causes says whether the server is there at all.
///
/// `local`: its socket is one of this machine. `doubt`: notified when the stream may have died with the rest of the connection.
pub(super) async fn listen(
    server: ObjectKey,
    local: bool,
    watcher: impl Watcher,
    doubt: Arc<Notify>,
    inbox: mpsc::Sender<Message>,
    board: Board,
) {
    debug_assert_eq!(server.kind, Kind::Server);
    let silence = if local { LONG_SILENCE } else { SILENCE };
    // `Some`: the stream is lost, and this is the next wait.
    let mut wait = None;
    loop {
        if let Left::Lost(error) = follow(&server, silence, &watcher, &doubt, &inbox, &board, &mut wait).await {
            let pause = match wait {
                None => {
                    if inbox.send(Message::StreamLost { server: server.clone(), error }).await.is_err() {
                        return;
                    }
                    REOPEN
                }
                Some(pause) => {
                    let error = error.map(|error| error.to_string());
                    tracing::debug!(server = %server.path(), error, "the stream of events is still lost");
                    pause
                }
            };
            tokio::time::sleep(pause).await;
            wait = Some((pause * 2).min(LONGEST));
        }
    }
}

/// Until there is no point in listening. A stream that opens ends the `wait`.
async fn follow(
    server: &ObjectKey,
    silence: Duration,
    watcher: &impl Watcher,
    doubt: &Notify,
    inbox: &mpsc::Sender<Message>,
    board: &Board,
    wait: &mut Option<Duration>,
) -> Left {
    let mut stream = match watcher.subscribe().await {
        Ok(stream) => stream,
        Err(error) => return Left::Lost(Some(error)),
    };
    // Never wait: a slow listener slows the daemon. What finds no place is made up for by one hint that stands for all.
    let tell = |message| {
        let told = inbox.try_send(message).is_ok();
        if !told {
            board.count(|counts| counts.lost_events += 1);
        }
        told
    };
    let hint = |about, deed| tell(Message::Hint { server: server.clone(), about, deed });
    let mut told;
    if wait.take().is_some() {
        tracing::info!(server = %server.path(), "the stream of events is open again");
        // The server is back: whatever waits for its next attempt need not wait any longer.
        told = tell(Message::StreamBack { server: server.clone() });
    } else {
        told = hint(None, None);
    }
    let mut last = Instant::now();
    let mut asked = last;
    loop {
        let patience = if told { asked + silence } else { Instant::now() + REPEAT };
        let event = tokio::select! {
            event = timeout_at(patience, stream.next()) => event,
            () = doubt.notified() => return Left::Doubted,
        };
        match event {
            Ok(Some(Ok(event))) => {
                tracing::trace!(server = %server.path(), action = event.action, object = event.name, "event");
                let off = event.object_type == "network" && event.action == "disconnect";
                let deed = jiff::Timestamp::from_nanosecond(event.time_nanos.into()).ok().filter(|_| off);
                told = hint(Some(About::of(&event)).filter(|_| told), deed);
                last = Instant::now();
                asked = last;
            }
            Ok(Some(Err(error))) => return Left::Lost(Some(error)),
            Ok(None) => return Left::Lost(None),
            Err(_) if !told => told = hint(None, None),
            Err(_) if last.elapsed() >= LONG_SILENCE => return Left::Doubted,
            Err(_) => {
                if let Err(error) = watcher.ping().await {
                    return Left::Lost(Some(error));
                }
                asked = Instant::now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use futures::stream::BoxStream;

    use super::*;
    use crate::core::observed::{
        ContainerId, EngineInfo, ObservedContainer, ObservedNetwork, ObservedService, ObservedTask,
    };
    use crate::shell::engine::{ContainerDetail, EngineErrorKind, EngineEvent, Reader};

    /// A daemon on which nothing happens.
    #[derive(Default, Clone)]
    struct Silent {
        calls: Arc<Mutex<Vec<&'static str>>>,
        dead: bool,
    }

    fn error() -> EngineError {
        EngineError {
            kind: EngineErrorKind::Unreachable,
            attempted: "asking".to_owned(),
            message: "nobody answers".to_owned(),
            hint: None,
        }
    }

    #[async_trait]
    impl Reader for Silent {
        async fn info(&self) -> Result<EngineInfo, EngineError> {
            Err(error())
        }

        async fn networks(&self) -> Result<Vec<ObservedNetwork>, EngineError> {
            Err(error())
        }

        async fn containers(&self) -> Result<Vec<ObservedContainer>, EngineError> {
            Err(error())
        }

        async fn container(&self, _: &ContainerId) -> Result<Option<ContainerDetail>, EngineError> {
            Err(error())
        }

        async fn services(&self) -> Result<Vec<ObservedService>, EngineError> {
            Err(error())
        }

        async fn task(&self, _: &str) -> Result<Option<ObservedTask>, EngineError> {
            Err(error())
        }

        async fn recent_events(&self, _: i64) -> Result<Vec<EngineEvent>, EngineError> {
            Err(error())
        }
    }

    #[async_trait]
    impl Watcher for Silent {
        async fn subscribe(&self) -> Result<BoxStream<'static, Result<EngineEvent, EngineError>>, EngineError> {
            self.calls.lock().unwrap().push("subscribe");
            Ok(futures::stream::pending().boxed())
        }

        async fn ping(&self) -> Result<(), EngineError> {
            self.calls.lock().unwrap().push("ping");
            if self.dead { Err(error()) } else { Ok(()) }
        }
    }

    fn start(local: bool, watcher: &Silent) -> (Arc<Notify>, mpsc::Receiver<Message>) {
        let (inbox, messages) = mpsc::channel(16);
        let doubt = Arc::new(Notify::new());
        let server = ObjectKey::new(Kind::Server, "default", "edge");
        tokio::spawn(listen(server, local, watcher.clone(), Arc::clone(&doubt), inbox, Board::new("default")));
        (doubt, messages)
    }

    fn calls(watcher: &Silent) -> Vec<&'static str> {
        watcher.calls.lock().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_is_pinged_and_opened_anew_in_the_end() {
        let silent = Silent::default();
        let (_doubt, mut messages) = start(false, &silent);
        assert!(matches!(messages.recv().await, Some(Message::Hint { .. })));
        let begun = Instant::now();
        assert!(matches!(messages.recv().await, Some(Message::Hint { .. })), "what was missed is listed");
        assert_eq!(begun.elapsed(), LONG_SILENCE);
        let called = calls(&silent);
        assert_eq!(called.iter().filter(|call| **call == "ping").count(), 9);
        assert_eq!((called.first(), called.last()), (Some(&"subscribe"), Some(&"subscribe")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_of_this_machine_is_opened_anew_and_not_asked_before() {
        let silent = Silent::default();
        let (_doubt, mut messages) = start(true, &silent);
        assert!(matches!(messages.recv().await, Some(Message::Hint { .. })));
        let begun = Instant::now();
        assert!(matches!(messages.recv().await, Some(Message::Hint { .. })), "what was missed is listed");
        assert_eq!(begun.elapsed(), LONG_SILENCE);
        assert_eq!(calls(&silent), ["subscribe", "subscribe"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_does_not_answer_a_ping_is_a_lost_stream() {
        let silent = Silent { dead: true, ..Silent::default() };
        let (_doubt, mut messages) = start(false, &silent);
        assert!(matches!(messages.recv().await, Some(Message::Hint { .. })));
        let begun = Instant::now();
        assert!(matches!(messages.recv().await, Some(Message::StreamLost { error: Some(_), .. })));
        assert_eq!(begun.elapsed(), SILENCE);
        assert!(matches!(messages.recv().await, Some(Message::StreamBack { .. })), "it is opened again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_may_have_died_with_its_connection_is_opened_anew_at_once() {
        let silent = Silent::default();
        let (doubt, mut messages) = start(false, &silent);
        assert!(matches!(messages.recv().await, Some(Message::Hint { .. })));
        doubt.notify_one();
        assert!(matches!(messages.recv().await, Some(Message::Hint { .. })));
        assert_eq!(calls(&silent), ["subscribe", "subscribe"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_place_is_made_up_for_by_a_hint_that_stands_for_all() {
        let (inbox, mut messages) = mpsc::channel(1);
        let server = ObjectKey::new(Kind::Server, "default", "edge");
        inbox.send(Message::StreamBack { server: server.clone() }).await.unwrap();
        let (silent, board) = (Silent::default(), Board::new("default"));
        tokio::spawn(listen(server, false, silent, Arc::default(), inbox, board.clone()));
        tokio::time::sleep(REPEAT * 3).await;
        assert!(board.read().counts.lost_events > 0);
        assert!(matches!(messages.recv().await, Some(Message::StreamBack { .. })));
        assert!(matches!(messages.recv().await, Some(Message::Hint { about: None, .. })));
        assert!(tokio::time::timeout(REPEAT * 3, messages.recv()).await.is_err(), "once");
    }
}
