//! The set's record on this machine: what the commands read of it, and what they add to it.
//!
//! Whatever is wrong with it is said and gone without. Nothing that a command does relies on it, except that what protects a destination
//! after its manifest is gone may be known nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::args::{SetArgs, StateArgs};
use super::{Context, Error};
use crate::core::api::{BackupSpec, Condition, ConditionStatus, DestinationType, ObjectKey};
use crate::core::desired::DesiredState;
use crate::core::manifest::Manifests;
use crate::core::observed::Observations;
use crate::core::plan::facts::facts;
use crate::core::plan::{Call, OVERLAY};
use crate::core::report::{Outcome, Report};
use crate::core::status::Status;
use crate::shell::store::file::FileRecords;
use crate::shell::store::file::lock::is_kept;
use crate::shell::store::records::{
    self, APPROVAL_PENDING, Batch, CONTENDED, ObjectRecord, PassRecord, Transfer, declare, operation_events,
    overlays as overlays_of, protected,
};
use crate::shell::store::{Records, StoreError, set_directory, state_directory};

/// Between two looks at the store. It is read only if it has changed.
const LOOK: Duration = Duration::from_millis(300);

/// Where the set's record, lock and socket are.
pub(super) fn directory(state: &StateArgs, set: &SetArgs) -> Result<PathBuf, Error> {
    let state = state_directory(state.state.as_deref())
        .map_err(|error| Error::new("there is no place for Landfall's state").caused_by(&error))?;
    Ok(set_directory(&state, &set.set))
}

pub(super) fn store(state: &StateArgs, set: &SetArgs) -> Result<Arc<dyn Records>, Error> {
    Ok(Arc::new(FileRecords::in_directory(&directory(state, set)?)))
}

/// What is on record, for a command that consists of showing it.
pub(super) fn unreadable(error: &StoreError) -> Error {
    Error::new("the history cannot be read")
        .because(error.to_string())
        .hint("`landfall run` and `landfall apply` move an unreadable file aside and begin a new one")
}

/// Destinations that pruning leaves because of their last known policy.
pub(super) fn protecting(context: &Context, store: &dyn Records) -> Result<BTreeSet<ObjectKey>, Error> {
    Ok(match context.block_on(store.objects())? {
        Ok(objects) => protected(&objects).cloned().collect(),
        Err(error) => {
            context.warn(&format!("{error}; only labels and manifests protect from pruning now"));
            BTreeSet::new()
        }
    })
}

/// Resources that are removed only after a backup, as last declared.
pub(super) fn guarded(context: &Context, store: &dyn Records) -> Result<BTreeMap<ObjectKey, BackupSpec>, Error> {
    let objects = context.block_on(store.objects())?.unwrap_or_default();
    Ok(records::guarded(&objects).map(|(key, spec)| (key.clone(), spec.clone())).collect())
}

/// Destinations whose network was one of a Swarm when it was last seen. Without a record the servers alone tell.
pub(super) fn overlays(context: &Context, store: &dyn Records) -> Result<BTreeSet<ObjectKey>, Error> {
    let objects = context.block_on(store.objects())?;
    Ok(objects.map(|objects| overlays_of(&objects).cloned().collect()).unwrap_or_default())
}

/// Writes down what a command did.
pub(super) fn record(
    context: &Context,
    store: &dyn Records,
    by: &str,
    manifests: Option<&Manifests>,
    report: &Report,
    took: Duration,
) -> Result<(), Error> {
    context.block_on(async {
        let batch = batch(store, by, manifests, report, took).await;
        write(context, store, &batch).await;
    })
}

/// Writes down that a command has copied data, or put it back.
pub(super) fn record_transfer(context: &Context, store: &dyn Records, transfer: &Transfer<'_>) -> Result<(), Error> {
    context.block_on(async {
        let batch = transfer.batch(next_pass(store).await, jiff::Timestamp::now());
        write(context, store, &batch).await;
    })
}

async fn write(context: &Context, store: &dyn Records, batch: &Batch) {
    let mut written = store.record(batch).await;
    if matches!(written, Err(StoreError::Corrupt { .. })) {
        written = match store.prepare().await {
            Ok(aside) => {
                if let Some(aside) = aside {
                    context.warn(&format!("the history could not be read; it is now {aside}"));
                }
                store.record(batch).await
            }
            Err(error) => Err(error),
        };
    }
    if let Err(error) = written {
        context.warn(&format!("{error}; this is not in the history"));
    }
}

async fn next_pass(store: &dyn Records) -> u64 {
    store.passes(1).await.ok().and_then(|passes| passes.first().map(|it| it.pass + 1)).unwrap_or(1)
}

async fn batch(store: &dyn Records, by: &str, manifests: Option<&Manifests>, report: &Report, took: Duration) -> Batch {
    let now = jiff::Timestamp::now();
    let first = next_pass(store).await;
    let mut batch = Batch::default();
    let document = report.document();
    let servers = report.servers.iter().filter(|server| !server.operations.is_empty());
    for (next, server) in (first..).zip(servers) {
        let path = server.server.path();
        let of_server = document.operations.iter().filter(|operation| operation.server == path);
        batch.passes.push(PassRecord {
            time: now,
            pass: next,
            logged_as: None,
            by: by.to_owned(),
            server: server.server.clone(),
            revision: report.revision.clone(),
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            operations: of_server.filter_map(|it| serde_json::to_value(it).ok()).collect(),
            omitted: 0,
        });
        batch.events.extend(operation_events(&server.server, next, now, report));
    }
    if let Some(manifests) = manifests
        && let Ok(mut objects) = store.objects().await
    {
        let desired = manifests.desired(&report.set);
        // Other manifests of the set may be elsewhere: nothing is undeclared for not being among these.
        batch.objects = declare(&mut objects, &desired, &manifests.fingerprints(), false);
        for (key, made) in made(report) {
            if let Some(record) = objects.get_mut(key).filter(|record| record.network_type != Some(made)) {
                record.network_type = Some(made);
                batch.objects.insert(key.clone(), Some(record.clone()));
            }
        }
    }
    batch
}

/// Writes down which destinations nobody is on.
pub(super) fn note_use(
    context: &Context,
    store: &dyn Records,
    desired: &DesiredState,
    observed: &Observations,
) -> Result<(), Error> {
    context.block_on(async {
        let Ok(mut objects) = store.objects().await else { return };
        let now = jiff::Timestamp::now();
        let mut batch = Batch::default();
        for server in desired.servers.values() {
            if let Some(facts) = facts(desired, server, observed) {
                batch.objects.extend(records::note_use(&mut objects, &facts.uses(), now));
            }
        }
        if batch.is_empty() {
            return;
        }
        if let Err(error) = store.record(&batch).await {
            context.warn(&format!("{error}; since when destinations are unused is not in the history"));
        }
    })
}

/// The networks that were made, by the destinations that they are of.
fn made(report: &Report) -> impl Iterator<Item = (&ObjectKey, DestinationType)> {
    let operations = report.servers.iter().flat_map(|server| &server.operations);
    operations.filter_map(|it| match (&it.operation.call, &it.outcome) {
        (Call::CreateNetwork(create), Outcome::Done) => {
            let overlay = create.driver == OVERLAY;
            let made = if overlay { DestinationType::Swarm } else { DestinationType::Standalone };
            Some((&it.operation.object, made))
        }
        _ => None,
    })
}

/// Waits until there is something to read that was not there when it was at `seen`; returns where it is now.
pub(super) fn changed(context: &Context, store: &dyn Records, seen: Option<u64>) -> Result<Option<u64>, Error> {
    loop {
        std::thread::sleep(LOOK);
        let now = context.block_on(store.revision())?;
        if now != seen {
            return Ok(now);
        }
    }
}

/// What only the controller that keeps the set knows: what it finds undone again and again, and what waits for an approval; by object and by the
/// server it is about. Nothing, where none runs.
pub(super) fn told_by_controller(
    directory: &Path,
    objects: &BTreeMap<ObjectKey, ObjectRecord>,
) -> Vec<(ObjectKey, String, Condition)> {
    if !is_kept(directory) {
        return Vec::new();
    }
    let by_server = objects.iter().filter(|(_, record)| record.declared).flat_map(|(object, record)| {
        record.conditions.iter().flat_map(move |(server, all)| all.iter().map(move |it| (object, server, it)))
    });
    let own = [CONTENDED, APPROVAL_PENDING];
    let told =
        by_server.filter(|(_, _, it)| own.contains(&it.condition_type.as_str()) && it.status == ConditionStatus::True);
    told.map(|(object, server, condition)| (object.clone(), server.to_string(), condition.clone())).collect()
}

/// Fills in since when the conditions are so, as far as the record knows: where it says the same.
pub(super) fn date(status: &mut Status, objects: &BTreeMap<ObjectKey, ObjectRecord>) {
    for (key, conditions) in &mut status.conditions {
        let Some(record) = objects.get(key) else { continue };
        let known = record.merged();
        for condition in conditions {
            condition.observed_generation = Some(record.generation).filter(|generation| *generation > 0);
            let same = |it: &&Condition| it.condition_type == condition.condition_type && it.status == condition.status;
            condition.last_transition_time = known.iter().find(same).and_then(|it| it.last_transition_time.clone());
        }
    }
}
