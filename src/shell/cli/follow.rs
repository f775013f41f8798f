//! Looking again and again: whenever a server tells that something happened, and now and then without being told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, stream};

use super::Error;
use super::args::{ServerArgs, SetArgs, StateArgs};
use super::client::failed_attempts;
use super::seen::{self, Seen};
use super::servers::{self, Kept};
use crate::core::api::ObjectKey;
use crate::core::desired::DesiredState;
use crate::core::manifest::Manifests;
use crate::core::plan::Request;
use crate::shell::engine::{EngineError, EngineEvent, Watcher};

/// Without being told.
const UNTOLD: Duration = Duration::from_secs(5);
/// Until something changes.
pub(super) const FOR_EVER: Duration = Duration::from_secs(3600);
/// Events come several at once.
const TOGETHER: Duration = Duration::from_millis(100);

/// Looks at the servers that some objects are on.
pub(super) struct Follower<'a> {
    desired: DesiredState,
    kept: Kept,
    args: &'a ServerArgs,
    set: &'a SetArgs,
    state: &'a StateArgs,
    events: BTreeMap<ObjectKey, BoxStream<'static, Result<EngineEvent, EngineError>>>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(
        manifests: &Manifests,
        objects: &BTreeSet<ObjectKey>,
        set: &'a SetArgs,
        args: &'a ServerArgs,
        state: &'a StateArgs,
    ) -> Result<Self, Error> {
        let desired = seen::relevant(manifests, objects, set)?;
        let kept = servers::kept(state)?;
        Ok(Self { desired, kept, args, set, state, events: BTreeMap::new() })
    }

    /// The state of now. What happens from here on, [`Follower::changed`] tells.
    pub(super) async fn look(&mut self) -> Result<Seen, Error> {
        for (key, server) in &self.desired.servers {
            if !self.events.contains_key(key)
                && let Ok(reader) = crate::shell::engine::connect::reader(server, &servers::options(self.args))
                && let Ok(Ok(events)) = tokio::time::timeout(self.args.timeout, reader.subscribe()).await
            {
                self.events.insert(key.clone(), events);
            }
        }
        let failed_attempts = failed_attempts(self.state, self.set).await;
        let request = Request { failed_attempts, ..Request::default() };
        let pass = servers::pass(&self.desired, &request, &self.kept, self.args);
        let preview = pass.preview(servers::reader(servers::options(self.args))).await;
        let preview = preview.map_err(|error| servers::journal_error(&error))?;
        Seen::new(self.desired.clone(), preview, self.set, self.state).await
    }

    /// Resolves when it is time to look again; at the latest after `most`.
    pub(super) async fn changed(&mut self, most: Duration) {
        let next = async {
            let streams = self.events.iter_mut().map(|(key, events)| events.map(|event| (key.clone(), event.is_ok())));
            stream::select_all(streams).next().await
        };
        match tokio::time::timeout(most.min(UNTOLD), next).await {
            Ok(Some((_, true))) => tokio::time::sleep(TOGETHER.min(most)).await,
            // Opened again with the next look, and not too soon.
            Ok(Some((key, false))) => {
                self.events.remove(&key);
                tokio::time::sleep(Duration::from_millis(500).min(most)).await;
            }
            Ok(None) => tokio::time::sleep(UNTOLD.min(most)).await,
            Err(_) => {}
        }
    }
}
