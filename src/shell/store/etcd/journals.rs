//! [`Journals`] in etcd: written and removed only by whoever holds the lock of the server that they are about, and found there by the next holder.

use async_trait::async_trait;
use tokio::sync::watch;

use super::client::{Client, EtcdError};
use super::keeper::Held;
use super::live::Keys;
use super::pack::{packed, unpacked};
use super::wire::{Change, Pair};
use crate::core::api::{Kind, ObjectKey};
use crate::core::digest::{SHORT, digest};
use crate::core::plan::{Journal, JournalPurpose, UnreadableJournal};
use crate::shell::store::{JournalError, Journals, Kept};

/// Forced deletions to keep of a server, the latest ones.
const FORCED: usize = 20;

#[derive(Debug, Clone)]
pub struct EtcdJournals {
    client: Client,
    keys: Keys,
    held: watch::Receiver<Held>,
}

impl EtcdJournals {
    pub fn new(client: Client, set: &str, held: watch::Receiver<Held>) -> Self {
        let keys = Keys::new(client.base(set));
        Self { client, keys, held }
    }

    fn key(&self, journal: &Journal) -> String {
        let content = serde_json::to_vec(journal).unwrap_or_default();
        let digest = digest(content, SHORT);
        let destination = journal.destination.path();
        format!("{}{}/{}/{destination}/{digest}", self.keys.journals(), journal.server.path(), purpose(journal.purpose))
    }

    fn error(&self, attempted: &'static str, problem: impl std::fmt::Display) -> JournalError {
        JournalError {
            attempted,
            place: self.client.address().to_string(),
            problem: problem.to_string(),
            hint: Some("without a journal nothing is taken apart: see that etcd answers, and has room"),
        }
    }

    async fn change(&self, attempted: &'static str, server: &ObjectKey, change: Change) -> Result<(), JournalError> {
        let held = self.held.borrow().get(server).map(|holding| holding.conditions(&self.keys, server));
        let Some(held) = held else {
            return Err(self.error(attempted, "this controller does not hold the server's lock"));
        };
        match self.client.txn(&held, &[change]).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(self.error(attempted, "another controller holds the server's lock now")),
            Err(error) => Err(self.error(attempted, error)),
        }
    }

    async fn thin_out(&self, server: &ObjectKey) -> Result<(), EtcdError> {
        let forced = format!("{}{}/{}/", self.keys.journals(), server.path(), purpose(JournalPurpose::ForcedDeletion));
        let (mut pairs, _) = self.client.list_large(&forced).await?;
        pairs.sort_by_key(|pair| pair.mod_revision);
        let surplus = pairs.len().saturating_sub(FORCED);
        let changes: Vec<Change> =
            pairs.iter().take(surplus).map(|pair| Change::Delete { key: pair.key().to_owned() }).collect();
        match changes.is_empty() {
            true => Ok(()),
            false => self.client.txn(&[], &changes).await.map(|_| ()),
        }
    }
}

fn purpose(purpose: JournalPurpose) -> &'static str {
    match purpose {
        JournalPurpose::Reattach => "reattach",
        JournalPurpose::Deactivated => "deactivated",
        JournalPurpose::ForcedDeletion => "forced-deletion",
    }
}

/// Whose journal it is, by its key, where the planner would act on it.
fn destination_of(journals: &str, pair: &Pair) -> Option<ObjectKey> {
    let parts: Vec<&str> = pair.key().strip_prefix(journals)?.split('/').collect();
    match parts.as_slice() {
        [_, _, "reattach" | "deactivated", namespace, name, _] => {
            Some(ObjectKey::new(Kind::Destination, namespace, name))
        }
        _ => None,
    }
}

#[async_trait]
impl Journals for EtcdJournals {
    async fn load(&self) -> Result<Kept, JournalError> {
        let journals = self.keys.journals();
        let listed = self.client.list_large(&journals).await;
        let (pairs, _) = listed.map_err(|error| self.error("reading the journals of", error))?;
        let mut kept = Kept::default();
        for pair in pairs {
            match unpacked::<Journal>(&pair.value) {
                Ok(journal) => kept.journals.push(journal),
                Err(problem) => kept.unreadable.push(UnreadableJournal {
                    destination: destination_of(&journals, &pair),
                    message: format!(
                        "{}: not a journal: {problem}; it may say who has to be reconnected, so look at it before you remove it",
                        pair.key()
                    ),
                }),
            }
        }
        Ok(kept)
    }

    async fn write(&self, journal: &Journal) -> Result<(), JournalError> {
        let attempted = "writing a journal to";
        let value = packed(journal).ok_or_else(|| self.error(attempted, "it is larger than etcd takes"))?;
        self.change(attempted, &journal.server, Change::put(self.key(journal), value)).await?;
        if journal.purpose == JournalPurpose::ForcedDeletion
            && let Err(error) = self.thin_out(&journal.server).await
        {
            tracing::debug!(%error, "old journals of forced deletions stay");
        }
        Ok(())
    }

    async fn remove(&self, journal: &Journal) -> Result<(), JournalError> {
        let gone = Change::Delete { key: self.key(journal) };
        self.change("removing a journal from", &journal.server, gone).await
    }
}
