//! `store migrate FROM TO`

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::args::SetArgs;
use super::drain::fleet_error;
use super::shared::StoreArgs;
use super::{Context, Error, Exit};
use crate::core::api::{Kind, ObjectKey};
use crate::shell::store::etcd::keeper::{self, Joining};
use crate::shell::store::etcd::live::server_of;
use crate::shell::store::etcd::{Client, EtcdJournals, EtcdRecords, fleet};
use crate::shell::store::file::lock::is_kept;
use crate::shell::store::file::{FileJournals, FileRecords};
use crate::shell::store::records::{Batch, ObjectRecord};
use crate::shell::store::{Journals, Records, set_directory};

/// How long the locks may take that writing to a shared store needs: whoever held them may have vanished just before.
const LOCKS: Duration = Duration::from_secs(90);
const TTL: Duration = Duration::from_secs(10);

/// Moves what is kept between runs from one store to another
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Migrate(Migrate),
}

/// Copies history, status and open journals of a set from one store to another, which has to be empty
///
/// FROM and TO are state directories or etcd://HOST:PORT addresses. No controller of the set may run with either. What is in FROM stays there.
#[derive(Debug, clap::Args)]
struct Migrate {
    /// State directory, or etcd://…
    #[arg(value_name = "FROM")]
    from: String,
    /// State directory, or etcd://…
    #[arg(value_name = "TO")]
    to: String,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    store: StoreArgs,
}

/// All there is.
struct Content {
    batch: Batch,
    journals: Vec<crate::core::plan::Journal>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let Command::Migrate(args) = &args.command;
    let content = context.block_on(read(args, &args.from))??;
    let (passes, events) = (content.batch.passes.len(), content.batch.events.len());
    let (objects, journals) = (content.batch.objects.len(), content.journals.len());
    context.block_on(write(args, &args.to, content))??;
    context.say(&format!("Copied: {objects} objects, {passes} passes, {events} events, {journals} open journals."));
    Ok(Exit::Done)
}

fn is_etcd(place: &str) -> bool {
    place.starts_with("etcd://") || place.starts_with("etcds://")
}

fn record_error(error: &dyn std::error::Error) -> Error {
    Error::new("nothing was moved").caused_by(error)
}

/// A client of a store with which no controller runs.
async fn unused(args: &Migrate, place: &str) -> Result<Client, Error> {
    let client = args.store.client_of(place)?;
    let live = fleet::live(&client, &args.set.set).await.map_err(|error| fleet_error(&error))?;
    if !live.members.is_empty() {
        let names: Vec<String> = live.members.into_keys().collect();
        return Err(Error::new(format!("controllers run with {}: {}", client.address(), names.join(", ")))
            .hint("end them first: what they write meanwhile would be left behind"));
    }
    Ok(client)
}

fn directory(args: &Migrate, place: &str) -> Result<std::path::PathBuf, Error> {
    let directory = set_directory(Path::new(place), &args.set.set);
    if is_kept(&directory) {
        return Err(Error::new(format!("a controller runs with {place}")).hint("end it first"));
    }
    Ok(directory)
}

async fn read(args: &Migrate, place: &str) -> Result<Content, Error> {
    let (records, journals): (Box<dyn Records>, Box<dyn Journals>) = if is_etcd(place) {
        let client = unused(args, place).await?;
        let held = tokio::sync::watch::channel(keeper::Held::default()).1;
        let journals = EtcdJournals::new(client.clone(), &args.set.set, held);
        (Box::new(EtcdRecords::new(client, &args.set.set, None)), Box::new(journals))
    } else {
        let directory = directory(args, place)?;
        (Box::new(FileRecords::in_directory(&directory)), Box::new(FileJournals::in_state(Path::new(place))))
    };
    let kept = journals.load().await.map_err(|error| record_error(&error))?;
    if let Some(unreadable) = kept.unreadable.first() {
        return Err(Error::new("nothing was moved: a journal cannot be read").because(&unreadable.message));
    }
    let objects = records.objects().await.map_err(|error| record_error(&error))?;
    let mut events = records.events(0, usize::MAX).await.map_err(|error| record_error(&error))?;
    let mut passes = records.passes(usize::MAX).await.map_err(|error| record_error(&error))?;
    events.reverse();
    passes.reverse();
    let homes = homes(&objects);
    let objects = objects.into_iter().map(|(key, record)| (key, Some(record))).collect();
    Ok(Content { batch: Batch { passes, events, objects, homes }, journals: kept.journals })
}

/// The servers that objects are on. Of what no manifest declares any more that is not known, and any may have it.
fn homes(objects: &BTreeMap<ObjectKey, ObjectRecord>) -> BTreeMap<ObjectKey, BTreeSet<ObjectKey>> {
    let all: BTreeSet<ObjectKey> = objects.keys().filter(|key| key.kind == Kind::Server).cloned().collect();
    let of = |record: &ObjectRecord| {
        record.conditions.iter().filter_map(|(path, _)| server_of(path)).collect::<BTreeSet<_>>()
    };
    let known = objects.iter().map(|(key, record)| (key.clone(), of(record)));
    known.map(|(key, homes)| (key, if homes.is_empty() { all.clone() } else { homes })).collect()
}

async fn write(args: &Migrate, place: &str, content: Content) -> Result<(), Error> {
    if !is_etcd(place) {
        let directory = directory(args, place)?;
        let records = FileRecords::in_directory(&directory);
        return fill(&records, &FileJournals::in_state(Path::new(place)), content).await;
    }
    let client = unused(args, place).await?;
    let set = args.set.set.clone();
    let joining = Joining { client: client.clone(), set, host: "migration".to_owned(), ttl: TTL };
    let started = keeper::start(joining).map_err(|error| Error::new("the locks have no thread").caused_by(&error))?;
    let (shares, _heard) = started;
    let passes = content.batch.passes.iter().map(|pass| &pass.server);
    let events = content.batch.events.iter().filter_map(|event| event.server.as_ref());
    let journals = content.journals.iter().map(|journal| &journal.server);
    let mut servers: BTreeSet<ObjectKey> = passes.chain(events).chain(journals).cloned().collect();
    servers.extend(content.batch.homes.values().flatten().cloned());
    shares.declare(servers.iter().cloned());
    let mut held = shares.held();
    let all = held.wait_for(|held| servers.iter().all(|server| held.contains_key(server)));
    // What is seen is locked for as long as it is looked at, and the locks could not be shown meanwhile.
    let seen = tokio::time::timeout(LOCKS, all).await.map(|seen| seen.map(drop));
    let outcome = match seen {
        Ok(Ok(())) => {
            let records = EtcdRecords::new(client.clone(), &args.set.set, Some(shares.held()));
            fill(&records, &EtcdJournals::new(client, &args.set.set, shares.held()), content).await
        }
        Ok(Err(_)) | Err(_) => {
            let trouble = shares.fleet().borrow().trouble.clone();
            let why = trouble.map_or_else(|| "another controller has them".to_owned(), |(trouble, _)| trouble);
            Err(Error::new(format!("the locks of the servers could not be had within {LOCKS:?}")).because(why))
        }
    };
    shares.stop().await;
    outcome
}

async fn fill(records: &dyn Records, journals: &dyn Journals, content: Content) -> Result<(), Error> {
    let is_empty = records.passes(1).await.is_ok_and(|it| it.is_empty())
        && records.objects().await.is_ok_and(|it| it.is_empty())
        && journals.load().await.is_ok_and(|it| it.journals.is_empty() && it.unreadable.is_empty());
    if !is_empty {
        return Err(Error::new(format!("{} is not empty, or cannot be read", records.place()))
            .hint("name another set, prefix or directory: two histories are not mixed"));
    }
    for journal in &content.journals {
        journals.write(journal).await.map_err(|error| record_error(&error))?;
    }
    records.record(&content.batch).await.map_err(|error| record_error(&error))
}
