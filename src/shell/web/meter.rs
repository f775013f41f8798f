//! What containers use, for the metrics: measured at intervals whether or not it is asked for, where the controller was started with `--usage`.
//!
//! Containers come and go under new names, so that what is kept is added up by what is declared.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;

use super::WebState;
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::usage::{ContainerUsage, Usage};
use crate::shell::engine::{EngineError, connect};
use crate::shell::inquiry::usage::of_server;

/// From the end of one round to the beginning of the next.
const EVERY: Duration = Duration::from_secs(30);
/// Between two looks at the counters of a container.
const INTERVAL: Duration = Duration::from_secs(1);
/// For a server.
const PATIENCE: Duration = Duration::from_secs(20);
/// Servers that are measured at the same time.
const AT_ONCE: usize = 8;
/// What is kept of the resources of all servers together.
const LARGEST: usize = 20_000;

/// The server, the destination, and the resource; an empty one is what no manifest declares.
pub(super) type Place = (String, String, String);

/// What was measured last.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) uses: BTreeMap<Place, Usage>,
    /// Places that were left out, for there are too many.
    pub(super) omitted: usize,
}

/// The latest round.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Arc<Measured>>);

impl Meter {
    pub(super) fn read(&self) -> Arc<Measured> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl WebState {
    /// Measures again and again, where that was asked for.
    pub async fn keep_measuring(self) {
        if !self.usage {
            return;
        }
        loop {
            self.measure().await;
            tokio::time::sleep(EVERY).await;
        }
    }

    /// One round over the servers that are this controller's. One that does not answer is without figures.
    pub async fn measure(&self) {
        let (desired, own) = {
            let board = self.board.read();
            let own = |server: &&Arc<DesiredServer>| board.is_own(&server.key.path());
            let own: Vec<Arc<DesiredServer>> = board.declared.servers.values().filter(own).map(Arc::clone).collect();
            (Arc::clone(&board.declared), own)
        };
        let asked = futures::stream::iter(own).map(|server| {
            let desired = Arc::clone(&desired);
            async move { tokio::time::timeout(PATIENCE, self.of(&desired, &server)).await }
        });
        let mut measured = Measured::default();
        let mut answers = asked.buffer_unordered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(Ok(containers)) => measured.add(&containers),
                Ok(Err(error)) => tracing::debug!(%error, "what containers use was not measured"),
                Err(_) => tracing::debug!("what containers use was not measured within {PATIENCE:?}"),
            }
        }
        *self.meter.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(measured);
    }

    async fn of(&self, desired: &DesiredState, server: &DesiredServer) -> Result<Vec<ContainerUsage>, EngineError> {
        let reader = connect::reader(server, &self.planner.connect)?;
        of_server(&reader, server, &desired.set, INTERVAL, |_, _| true).await
    }
}

impl Measured {
    fn add(&mut self, containers: &[ContainerUsage]) {
        for container in containers {
            let resource = container.resource.clone().unwrap_or_default();
            let place = (container.server.clone(), container.destination.clone(), resource);
            if let Some(usage) = self.uses.get_mut(&place) {
                usage.add(&container.usage);
            } else if self.uses.len() < LARGEST {
                self.uses.insert(place, container.usage);
            } else {
                self.omitted += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_what_is_left_out_is_counted() {
        let container = |number: usize, name: &str| ContainerUsage {
            server: "default/edge".to_owned(),
            destination: "default/web".to_owned(),
            resource: Some(format!("Application/default/a{number}")),
            container: name.to_owned(),
            memory_limit: None,
            usage: Usage { cpu: 0.5, ..Usage::default() },
        };
        let mut measured = Measured::default();
        let all: Vec<ContainerUsage> = (0..LARGEST + 3).map(|number| container(number, "one")).collect();
        measured.add(&all);
        measured.add(&[container(0, "two")]);
        assert_eq!((measured.uses.len(), measured.omitted), (LARGEST, 3));
        assert_eq!(measured.uses.values().map(|usage| usage.cpu).fold(0.0, f64::max), 1.0, "replicas are added up");
    }
}
