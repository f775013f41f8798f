//! What is on a server, as its controller shows it: one value for each, written by whoever holds the lock, and followed by the others.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};

use super::client::{Client, EtcdError};
use super::keeper::Held;
use super::live::{Keys, server_of};
use super::pack::unpacked;
use super::wire::{Change, Pair};
use crate::core::api::ObjectKey;
use crate::shell::store::records::EventRecord;

/// After something that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// Values that are told at once.
const TOGETHER: usize = 16;

/// The views of a set.
#[derive(Debug, Clone)]
pub struct Views {
    client: Client,
    keys: Keys,
    held: watch::Receiver<Held>,
}

/// Servers, with what there is to show of each.
pub type Shown<T> = Vec<(ObjectKey, T)>;

impl Views {
    pub fn new(client: Client, set: &str, held: watch::Receiver<Held>) -> Self {
        let keys = Keys::new(client.base(set));
        Self { client, keys, held }
    }

    /// `false`: the lock is another's by now.
    pub async fn write(&self, server: &ObjectKey, value: Vec<u8>) -> Result<bool, EtcdError> {
        let held = self.held.borrow().get(server).map(|holding| holding.conditions(&self.keys, server));
        let Some(held) = held else { return Ok(false) };
        let change = Change::put(self.keys.view(server), value);
        Ok(self.client.txn(&held, &[change]).await?.is_some())
    }

    /// Of one server.
    pub async fn read<T: DeserializeOwned>(&self, server: &ObjectKey) -> Result<Option<T>, EtcdError> {
        Ok(self.client.get(&self.keys.view(server)).await?.and_then(|pair| unpacked(&pair.value).ok()))
    }

    /// Tells what happens from now on, whoever writes it down.
    pub async fn follow_events(self, told: mpsc::Sender<Vec<EventRecord>>) {
        while !told.is_closed() {
            if let Err(error) = self.follow_events_once(&told).await {
                tracing::debug!(%error, "what happens at other controllers is heard again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    async fn follow_events_once(&self, told: &mpsc::Sender<Vec<EventRecord>>) -> Result<(), EtcdError> {
        let events = self.keys.events();
        let (_, revision) = self.client.changed(&events).await?;
        let mut watch = self.client.watch(&events, revision + 1).await?;
        loop {
            tokio::select! {
                () = told.closed() => return Ok(()),
                changes = watch.next() => match changes? {
                    Some(changes) => {
                        let read = changes.put.iter().filter_map(|pair| unpacked::<Vec<EventRecord>>(&pair.value).ok());
                        let _ = told.send(read.flatten().collect()).await;
                    }
                    None => watch = self.client.watch(&events, watch.next_revision()).await?,
                },
            }
        }
    }

    /// Tells all that there are, and then those that change, but for those of this controller's own servers. Ends with the receiver.
    pub async fn follow<T: DeserializeOwned>(self, told: mpsc::Sender<Shown<T>>) {
        while !told.is_closed() {
            if let Err(error) = self.follow_once(&told).await {
                tracing::debug!(%error, "what other controllers show is read again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Until the watch ends.
    async fn follow_once<T: DeserializeOwned>(&self, told: &mpsc::Sender<Shown<T>>) -> Result<(), EtcdError> {
        let (pairs, revision) = self.client.list_large(&self.keys.views()).await?;
        self.tell(&pairs, told).await;
        drop(pairs);
        let mut watch = self.client.watch(&self.keys.views(), revision + 1).await?;
        loop {
            tokio::select! {
                () = told.closed() => return Ok(()),
                changes = watch.next() => match changes? {
                    Some(changes) => self.tell(&changes.put, told).await,
                    None => watch = self.client.watch(&self.keys.views(), watch.next_revision()).await?,
                },
            }
        }
    }

    async fn tell<T: DeserializeOwned>(&self, pairs: &[Pair], told: &mpsc::Sender<Shown<T>>) {
        for pairs in pairs.chunks(TOGETHER) {
            let held = Arc::clone(&self.held.borrow());
            let shown = pairs.iter().filter_map(|pair| {
                let server = server_of(pair.key().strip_prefix(&self.keys.views())?)?;
                // What a newer version shows in another way is left out.
                (!held.contains_key(&server)).then(|| Some((server, unpacked(&pair.value).ok()?)))?
            });
            let shown: Shown<T> = shown.collect();
            if !shown.is_empty() && told.send(shown).await.is_err() {
                return;
            }
        }
    }
}
