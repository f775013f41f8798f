//! Trying an archive: it is restored to something that is thrown away, and asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::helpers::{SCRATCH, labels};
use super::part::{self, Identities};
use super::restore::check;
use super::script::Asker;
use super::shelf::Archive;
use super::volume::{Helper, compare, unread};
use super::{TransferError, Watch};
use crate::core::api::DatabaseEngine;
use crate::core::backup::database::{Tool, Verb};
use crate::core::backup::{Content, DatabaseFacts};
use crate::core::observed::{ContainerId, EndpointSettings};
use crate::core::workload::{ContainerCreate, ContainerTemplate, File, NOWHERE, Value};
use crate::shell::engine::Writer;

/// How long a database may take until it can be asked.
const READY: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(500);

/// What a restored archive has in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Rows by `database.schema.table`.
    pub tables: BTreeMap<String, u64>,
    /// Files, directories and links by volume.
    pub volumes: BTreeMap<String, u64>,
}

/// Restores the archive to a container or volumes of its own, asks what is there, and removes them. `image`: any that is on the server, for the
/// containers that reach volumes.
pub async fn verify(
    engine: &dyn Writer,
    archive: &Archive,
    image: Option<&str>,
    keys: &Identities,
    watch: &dyn Watch,
) -> Result<Found, TransferError> {
    check(archive, watch).await?;
    let mut found = Found::default();
    if let Some(facts) = &archive.manifest.database {
        let tool = Tool::of(facts.engine);
        watch.step("starting a database to try it in");
        let container = start(engine, facts).await?;
        let asked = ask(engine, &container, tool, archive, keys, watch).await;
        engine.discard_container(&container).await?;
        found.tables = asked?;
        let there: BTreeSet<&String> = found.tables.keys().collect();
        if let Some(lost) = facts.tables.iter().find(|table| !there.contains(table)) {
            return Err(TransferError::Damaged {
                what: archive.address.to_string(),
                problem: format!("the table {lost} was there when it was written, and is not restored"),
            });
        }
    }
    for part in &archive.manifest.parts {
        let Content::Volume { name, entries, tree, attributes } = &part.content else { continue };
        let Some(image) = image else {
            return Err(TransferError::failed(
                "there is no image on the server that a volume could be reached by",
                "verify on a server where the resource has a container",
            ));
        };
        watch.step(&format!("trying volume {name}"));
        let scratch = format!("{SCRATCH}{}", cuid2::create_id());
        engine.create_volume(&scratch, &labels("verify")).await?;
        let tried = async {
            let helper = Helper::equipped(engine, &scratch, image, true).await?;
            let read = async {
                helper.fill(part::read(archive, part, keys), watch).await?;
                let there = helper.tree().await?;
                if attributes.as_ref().is_some_and(|it| *it != there.full) && !helper.has_tar() {
                    watch.warn(&unread(name));
                }
                Ok::<_, TransferError>(compare(&there, &helper, tree, attributes.as_deref()))
            };
            let read = read.await;
            helper.remove().await?;
            read
        };
        let tried = tried.await;
        engine.remove_volume(&scratch).await?;
        tried?.map_err(|problem| TransferError::Damaged {
            what: format!("the volume {name} of {}, as it is restored", archive.address),
            problem,
        })?;
        found.volumes.insert(name.clone(), *entries);
    }
    Ok(found)
}

/// Starts whichever of them an image has, with the password that it is given, and keeps nothing.
const REDIS: &str = "if command -v dragonfly >/dev/null; then
    umask 077
    printf '%s\\n' \"--requirepass=$(cat /landfall/password)\" --dir=/tmp --dbfilename= --proactor_threads=1 >/tmp/flags
    exec dragonfly --logtostderr --flagfile=/tmp/flags
fi
for name in redis keydb valkey; do if command -v $name-server >/dev/null; then server=$name-server; fi; done
printf '%s\\n' \"requirepass $(cat /landfall/password)\" 'save \"\"' 'appendonly no' | exec \"$server\" -";

/// The same image with a password of its own, on no network and without a volume that would stay.
async fn start(engine: &dyn Writer, facts: &DatabaseFacts) -> Result<ContainerId, TransferError> {
    const PASSWORD: &str = "/landfall/password";
    let name = format!("landfall-verify-{}", cuid2::create_id());
    let env: &[(&str, &str)] = match facts.engine {
        DatabaseEngine::PostgreSQL => &[("POSTGRES_USER", "postgres"), ("POSTGRES_PASSWORD_FILE", PASSWORD)],
        DatabaseEngine::MariaDB => &[("MARIADB_ROOT_PASSWORD_FILE", PASSWORD), ("MARIADB_DATABASE", "landfall_verify")],
        DatabaseEngine::MySQL => &[("MYSQL_ROOT_PASSWORD_FILE", PASSWORD)],
        DatabaseEngine::MongoDB => {
            &[("MONGO_INITDB_ROOT_USERNAME", "root"), ("MONGO_INITDB_ROOT_PASSWORD_FILE", PASSWORD)]
        }
        DatabaseEngine::ClickHouse => &[("CLICKHOUSE_USER", "landfall"), ("CLICKHOUSE_PASSWORD_FILE", PASSWORD)],
        _ => &[],
    };
    let is_redis = matches!(facts.engine, DatabaseEngine::Redis | DatabaseEngine::KeyDB | DatabaseEngine::Dragonfly);
    let password = File { content: Value::Literal(cuid2::create_id()), mode: 0o444 };
    let create = ContainerCreate {
        name,
        image: facts.image.clone(),
        labels: labels("verify"),
        template: ContainerTemplate {
            entrypoint: is_redis.then(|| ["sh", "-c"].map(str::to_owned).to_vec()),
            command: is_redis.then(|| vec![REDIS.to_owned()]),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), Value::Literal((*value).to_owned()))).collect(),
            files: BTreeMap::from([(PASSWORD.to_owned(), password)]),
            ..ContainerTemplate::default()
        },
        inherited: Vec::new(),
        drainable: false,
    };
    if engine.image(&facts.image).await?.is_none() {
        engine.pull_image(&facts.image, &|_, _| {}).await?;
    }
    let id = engine.create_container(&create, NOWHERE, &EndpointSettings::default()).await?;
    if let Err(error) = engine.start_container(&id).await {
        engine.discard_container(&id).await?;
        return Err(error.into());
    }
    Ok(id)
}

async fn ask(
    engine: &dyn Writer,
    container: &ContainerId,
    tool: Tool,
    archive: &Archive,
    keys: &Identities,
    watch: &dyn Watch,
) -> Result<BTreeMap<String, u64>, TransferError> {
    let asker = Asker { engine, container, tool, name: "the container to try it in" };
    let deadline = Instant::now() + READY;
    while let Err(error) = asker.ask(Verb::Ready).await {
        let runs = engine.workload(container).await?.is_some_and(|it| it.container.state.is_live());
        if !runs || Instant::now() > deadline {
            let last = engine.log_tail(container, 5).await.unwrap_or_default().join("; ");
            return Err(TransferError::Failed {
                message: format!("the database to try it in did not come up ({error}); its log ends with: {last}"),
                hint: None,
            });
        }
        tokio::time::sleep(POLL).await;
    }
    for part in &archive.manifest.parts {
        let (verb, database) = match &part.content {
            Content::Globals => (Verb::RestoreGlobals, ""),
            Content::Dump { database } => (Verb::Restore, database.as_str()),
            Content::Volume { .. } => continue,
        };
        watch.step(&format!("trying {}", part.content.describe()));
        asker.feed(verb, database, part::read(archive, part, keys)).await?;
    }
    let counted = asker.ask(Verb::Count).await?;
    Ok(counted
        .iter()
        .filter_map(|line| {
            let (table, rows) = line.rsplit_once('\t')?;
            Some((table.to_owned(), rows.trim().parse().ok()?))
        })
        .collect())
}
