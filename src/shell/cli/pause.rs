//! Destinations that the controller of this machine leaves as they are while a command changes them by hand: two that undo each other's work
//! both fail.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::Controller;
use super::{Context, Error};
use crate::core::api::ObjectKey;

/// For the pass that runs while it is asked.
const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Ends with [`Paused::end`].
pub(super) struct Paused {
    controller: Controller,
    pub(super) destinations: Vec<ObjectKey>,
}

impl Paused {
    /// Suspends those of the destinations that a controller with this directory keeps, and waits until it has taken note. `None`: there is no such
    /// controller, or it keeps none of them.
    pub(super) async fn of(
        directory: &Path,
        destinations: impl IntoIterator<Item = ObjectKey>,
        context: &Context,
    ) -> Result<Option<Self>, Error> {
        let Some(controller) = Controller::of(directory).await else { return Ok(None) };
        let mut paused = Self { controller, destinations: Vec::new() };
        for destination in destinations {
            let Some(suspended) = paused.is_suspended(&destination).await else { continue };
            if !suspended {
                paused.ask(&destination, true).await?;
                paused.destinations.push(destination);
            }
        }
        if paused.destinations.is_empty() {
            return Ok(None);
        }
        let deadline = Instant::now() + PATIENCE;
        while join_all(paused.destinations.iter().map(|it| paused.is_suspended(it))).await.contains(&Some(false)) {
            if Instant::now() >= deadline {
                context.warn(
                    "`landfall run` is still at work on what this command changes; the two may undo each other's work",
                );
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Ok(Some(paused))
    }

    /// Hands them back to the controller.
    pub(super) async fn end(self, context: &Context) {
        for destination in &self.destinations {
            if let Err(error) = self.ask(destination, false).await {
                context.warn(&format!(
                    "{destination} stays suspended in `landfall run` until it is resumed there: {error}"
                ));
            }
        }
    }

    async fn ask(&self, destination: &ObjectKey, suspend: bool) -> Result<Value, Error> {
        let body = json!({ "object": destination.to_string(), "suspend": suspend });
        self.controller.post("/api/v1/suspend", &body).await
    }

    /// `None`: the controller does not keep it.
    async fn is_suspended(&self, destination: &ObjectKey) -> Option<bool> {
        let object = self.controller.object(destination).await?;
        let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        Some(conditions.iter().any(|it| it["type"] == "Ready" && it["reason"] == "Suspended"))
    }
}
