//! What commands ask of all controllers.

use super::client::{Client, EtcdError};
use super::live::Keys;
use super::share::Live;
use super::wire::{Change, Compare};
use crate::shell::engine::fence::boot_time;

/// Who there is, and who has what.
pub async fn live(client: &Client, set: &str) -> Result<Live, EtcdError> {
    let keys = Keys::new(client.base(set));
    let (pairs, _) = client.list(&keys.live()).await?;
    let mut live = Live::default();
    live.replace(&keys, &pairs, boot_time());
    Ok(live)
}

/// How many servers a controller has. One that has ended has none.
pub async fn held_by(client: &Client, set: &str, id: &str) -> Result<usize, EtcdError> {
    let live = live(client, set).await?;
    Ok(live.locks.values().filter(|lock| lock.holder.controller == id).count())
}

/// What came of a drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drained {
    Asked,
    Unknown { controllers: Vec<String> },
}

/// Has a controller give up what it has, or lets it take servers again. What is asked of it ends with it.
pub async fn drain(client: &Client, set: &str, id: &str, undo: bool) -> Result<Drained, EtcdError> {
    let keys = Keys::new(client.base(set));
    let member = match id.contains('/') {
        true => None,
        false => client.get(&keys.member(id)).await?,
    };
    let unknown = async || {
        let controllers = live(client, set).await?.members.into_keys().collect();
        Ok(Drained::Unknown { controllers })
    };
    let Some(member) = member else { return unknown().await };
    let key = keys.drain(id);
    let change = match undo {
        true => Change::Delete { key },
        false => Change::Put { key, value: b"{}".to_vec(), lease: member.lease },
    };
    let there = Compare::Created(keys.member(id), member.create_revision);
    match client.txn(&[there], &[change]).await? {
        Some(_) => Ok(Drained::Asked),
        None => unknown().await,
    }
}
