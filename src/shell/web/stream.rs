//! The stream of changes: says that something changed, never what. Whoever wants to know reads it, and nothing can be missed.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream;

use super::{Problem, WebState};

/// Changes closer together than this are told as one.
const TOGETHER: Duration = Duration::from_millis(200);
/// An idle stream says that it lives, so that both ends and whoever is between them know.
const IDLE: Duration = Duration::from_secs(15);

pub(super) async fn changes(State(state): State<WebState>) -> Result<impl IntoResponse, Problem> {
    let place = state.streams.clone().try_acquire_owned().map_err(|_| {
        let message = "As many streams are open as there may be.";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "TooManyStreams", message)
    })?;
    let events = stream::unfold((state.board.changes(), place, true), |(mut changes, place, first)| async move {
        if !first {
            changes.changed().await.ok()?;
            tokio::time::sleep(TOGETHER).await;
        }
        let revision = *changes.borrow_and_update();
        let event = Event::default().event("change").data(format!("{{\"revision\":{revision}}}"));
        Some((Ok::<_, Infallible>(event), (changes, place, false)))
    });
    // Of reverse proxies that would rather collect than pass on.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((unbuffered, Sse::new(events).keep_alive(KeepAlive::new().interval(IDLE))))
}
