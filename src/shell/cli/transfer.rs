//! What `backup` and `restore` have in common: the resource and its server, archives and their keys, and how far it is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::args::{self, ServerArgs, SetArgs, StateArgs};
use super::repository::{Loaded, SourceArgs};
use super::target;
use super::{Context, Error, record, servers, signals};
use crate::core::api::{BackupSpec, DatabaseEngine, Kind, ObjectKey, Spec};
use crate::core::backup::address::Address;
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::instance::{Live, LiveContainer};
use crate::core::manifest::Manifests;
use crate::core::observed::Observations;
use crate::core::plan::workload::identity_of;
use crate::core::plan::{Note, Reason};
use crate::core::printable::one_line;
use crate::core::workload::identity;
use crate::shell::engine::{DockerReader, DockerWriter, Reader, connect};
use crate::shell::store::records::Transfer;
use crate::shell::store::{Records, state_directory};
use crate::shell::transfer::halt::Record;
use crate::shell::transfer::helpers;
use crate::shell::transfer::shelf::{Archive, Shelf};
use crate::shell::transfer::source::Resource;
use crate::shell::transfer::{Encryption, Identities, TransferError, Watch, backup};

/// Where archives are unless something else is said.
pub(super) const ROOT: &str = "./backups";
/// The variable with the file of keys that `sops` uses as well.
const KEYS: &str = "SOPS_AGE_KEY_FILE";

/// The resource.
#[derive(Debug, clap::Args)]
pub(super) struct WhatArgs {
    /// Kind of the resource (application, database or service; plurals and short forms too), or KIND/NAME
    #[arg(value_name = "KIND")]
    kind: Option<String>,
    /// Name of the resource, or NAMESPACE/NAME
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Namespace of the resource
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
    /// The server, where the resource is on several
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
}

/// A resource on one server, and a way to it.
pub(super) struct Chosen {
    pub(super) object: ObjectKey,
    pub(super) server: Arc<DesiredServer>,
    pub(super) writer: DockerWriter,
    /// Of the manifests, where they are from a repository.
    revision: Option<String>,
    pub(super) manifests: Manifests,
    pub(super) desired: DesiredState,
    records: Arc<dyn Records>,
    reader: DockerReader,
    set: String,
    engine: Option<DatabaseEngine>,
}

impl Chosen {
    /// Also starts again what earlier commands have left stopped.
    pub(super) fn load(
        what: &WhatArgs,
        source: &SourceArgs,
        set: &SetArgs,
        server_args: &ServerArgs,
        state_args: &StateArgs,
        context: &Context,
    ) -> Result<Self, Error> {
        let Loaded { manifests, revision, .. } = source.load(state_args, set, context)?;
        let Some(kind) = &what.kind else {
            return Err(Error::new("no resource was named").hint("such as `database orders`"));
        };
        let target = target::parse(kind, &what.names)?;
        if !matches!(target.kind, Kind::Application | Kind::Database | Kind::Service) {
            let kind = target.kind.as_str().to_lowercase();
            return Err(
                Error::new(format!("a {kind} has no data")).hint("name an application, a database or a service")
            );
        }
        let [name] = target.names.as_slice() else {
            return Err(Error::new(format!("one resource has to be named, and {} were", target.names.len()))
                .hint("such as `database orders`"));
        };
        let object = target.require(name, what.namespace.as_deref(), &manifests)?;
        let desired = args::desired(&manifests, &set.set);
        let state = state(state_args)?;
        helpers::register(&state).map_err(|error| failed(&error, "there is no place to note what is made"))?;
        recover(&state, desired.servers.values().map(AsRef::as_ref), server_args, context)?;
        let has = |server: &DesiredServer| {
            server.destinations.iter().flat_map(|it| &it.members).any(|member| member.resource == object)
        };
        let wanted = match &what.server {
            Some(name) => {
                let servers = target::Target { kind: Kind::Server, names: Vec::new() };
                Some(servers.require(name, None, &manifests)?)
            }
            None => None,
        };
        let of_object = desired.servers.values().filter(|server| has(server));
        let found: Vec<_> = of_object.filter(|it| wanted.as_ref().is_none_or(|key| it.key == *key)).collect();
        let server = match found.as_slice() {
            [server] => Arc::clone(server),
            [] => return Err(Error::new(format!("{object} is on no such server"))),
            several => {
                let names: BTreeSet<String> = several.iter().map(|it| it.key.path()).collect();
                let names: Vec<String> = names.into_iter().collect();
                return Err(Error::new(format!("{object} is on {} servers", several.len()))
                    .hint(format!("choose one with --server: {}", names.join(", "))));
            }
        };
        let engine = manifests.objects().find_map(|located| match &located.object.spec {
            Spec::Database(spec) if located.object.key() == object => spec.engine,
            _ => None,
        });
        let options = servers::options(server_args);
        let (writer, reader) = (connect::writer(&server, &options)?, connect::reader(&server, &options)?);
        let records = record::store(state_args, set)?;
        let set = set.set.clone();
        Ok(Self { object, server, writer, revision, manifests, desired, records, reader, set, engine })
    }

    /// What its manifest could be read off.
    pub(super) async fn live(&self, resource: &Resource) -> Result<Live, TransferError> {
        let mut live = Live { containers: Vec::new(), engine: resource.engine };
        for detail in &resource.containers {
            let Some(inspected) = self.reader.container(&detail.container.id).await? else { continue };
            let of_image = self.reader.image(&detail.config.image_id).await?.unwrap_or_default();
            live.containers.push(LiveContainer {
                name: detail.container.name.clone(),
                image: detail.container.image.clone(),
                labels: detail.container.labels.clone(),
                config: detail.config.clone(),
                env: inspected.env,
                of_image,
            });
        }
        Ok(live)
    }

    pub(super) fn set(&self) -> &str {
        &self.set
    }

    /// Writes down what was done, or why it was not; a refusal, which touches nothing, is no part of the history.
    pub(super) fn record(
        &self,
        context: &Context,
        deed: &Deed,
        started: Instant,
        outcome: Result<String, &TransferError>,
    ) -> Result<(), Error> {
        let outcome = match outcome {
            Ok(message) => Ok(message),
            Err(error) if error.is_refusal() => return Ok(()),
            Err(error) => Err(error.to_string()),
        };
        let transfer = Transfer {
            by: deed.by,
            op: deed.op,
            cause: deed.cause,
            reasons: deed.reasons,
            object: &self.object,
            server: &self.server.key,
            revision: self.revision.clone(),
            took: started.elapsed(),
            outcome,
        };
        record::record_transfer(context, self.records.as_ref(), &transfer)
    }

    /// What it has on its server now.
    pub(super) async fn find(&self) -> Result<Resource, TransferError> {
        helpers::sweep(&self.writer).await?;
        Resource::find(&self.reader, &self.server, &self.object, &self.set, self.engine).await
    }
}

/// What a command does, in the words of the history.
pub(super) struct Deed {
    by: &'static str,
    op: &'static str,
    cause: &'static str,
    /// In the case of success and of failure.
    reasons: (&'static str, &'static str),
}

pub(super) const BACKUP: Deed =
    Deed { by: "backup", op: "BackUp", cause: "Requested", reasons: ("BackedUp", "BackupFailed") };
pub(super) const RESTORE: Deed =
    Deed { by: "restore", op: "Restore", cause: "Requested", reasons: ("Restored", "RestoreFailed") };
pub(super) const CLONE: Deed =
    Deed { by: "clone", op: "CopyVolume", cause: "Requested", reasons: ("Cloned", "CloneFailed") };
pub(super) const MOVE: Deed =
    Deed { by: "move", op: "CopyVolume", cause: "Requested", reasons: ("Moved", "MoveFailed") };

const BEFORE_DELETE: Deed = Deed { by: "delete", cause: "BeforeDelete", ..BACKUP };

/// Resources that a plan does not remove because there is no backup of them, with their servers.
pub(super) fn unsaved<'p>(plan: impl Iterator<Item = (&'p ObjectKey, &'p [Note])>) -> BTreeSet<(ObjectKey, ObjectKey)> {
    let notes = plan.flat_map(|(server, notes)| notes.iter().map(move |note| (server, note)));
    let unsaved = notes.filter(|(_, note)| note.reason == Reason::BackupFailed);
    unsaved.map(|(server, note)| (note.object.clone(), server.clone())).collect()
}

/// Backups of what is about to be removed, and what then may be. What cannot be backed up is said, and stays.
pub(super) struct Saving<'a> {
    pub(super) desired: &'a DesiredState,
    pub(super) observed: &'a Observations,
    /// As last declared.
    pub(super) remembered: &'a BTreeMap<ObjectKey, BackupSpec>,
    pub(super) set: &'a str,
    pub(super) servers: &'a ServerArgs,
    pub(super) state: &'a StateArgs,
    pub(super) records: &'a dyn Records,
    pub(super) context: &'a Context,
}

impl Saving<'_> {
    pub(super) fn save(&self, unsaved: &BTreeSet<(ObjectKey, ObjectKey)>) -> Result<BTreeSet<ObjectKey>, Error> {
        let mut saved: BTreeSet<ObjectKey> = unsaved.iter().map(|(object, _)| object.clone()).collect();
        for (object, server) in unsaved {
            let started = Instant::now();
            let done = self.one(object, server)?;
            let outcome = match &done {
                Ok(place) => {
                    self.context.say(&format!("{object} backed up to {place} before it is removed"));
                    Ok(format!("backed up to {place} before it is removed"))
                }
                Err(error) => {
                    saved.remove(object);
                    let what = format!("{object} was not backed up (BackupFailed), and is not removed");
                    self.context.error(&failed(error, &what));
                    Err(error.to_string())
                }
            };
            let Deed { by, op, cause, reasons } = BEFORE_DELETE;
            let took = started.elapsed();
            let transfer = Transfer { by, op, cause, reasons, object, server, revision: None, took, outcome };
            record::record_transfer(self.context, self.records, &transfer)?;
        }
        Ok(saved)
    }

    /// As its manifest says it, or as its last one did, or as its container does.
    fn policy(&self, object: &ObjectKey, server: &ObjectKey) -> Option<(BackupSpec, Option<DatabaseEngine>)> {
        let members = self.desired.all_servers().flat_map(|it| &it.destinations).flat_map(|it| &it.members);
        let mut declared = members.filter(|it| it.resource == *object).filter_map(|it| it.backup.as_ref());
        if let Some(policy) = declared.next() {
            return Some((policy.spec.clone(), policy.engine));
        }
        if let Some(spec) = self.remembered.get(object) {
            return Some((spec.clone(), None));
        }
        let state = self.observed.get(server)?.as_ref().ok()?;
        let containers = state.containers.iter().map(|it| (identity_of(it), &it.labels));
        let services = state.services.iter().map(|it| (identity::of(&it.name, &it.labels), &it.labels));
        let is_of = |of: Option<identity::Identity>| of.is_some_and(|it| it.object == *object && it.set == self.set);
        let mut of_object = containers.chain(services).filter_map(|(of, labels)| is_of(of).then_some(labels));
        let label = of_object.find_map(|labels| labels.get(identity::BEFORE_DELETE))?;
        Some((serde_json::from_str(label).ok()?, None))
    }

    fn one(&self, object: &ObjectKey, server: &ObjectKey) -> Result<Result<Address, TransferError>, Error> {
        let refused = |message: String| TransferError::Failed { message, hint: None };
        let Some((spec, engine)) = self.policy(object, server) else {
            return Ok(Err(refused("where its backups go is not known any more".to_owned())));
        };
        let Some(declared) = self.desired.all_servers().find(|it| it.key == *server) else {
            return Ok(Err(refused(format!("{server} is not declared"))));
        };
        let options = servers::options(self.servers);
        let (writer, reader) = (connect::writer(declared, &options)?, connect::reader(declared, &options)?);
        let encryption = match Encryption::parse(&spec.encrypt_to) {
            Ok(encryption) => encryption,
            Err(problem) => return Ok(Err(refused(problem))),
        };
        let root = match Address::parse(&spec.to) {
            Ok(root) => root,
            Err(problem) => return Ok(Err(refused(format!("{}: {problem}", spec.to)))),
        };
        let options = backup::Options {
            root,
            state: state(self.state)?,
            live: spec.live,
            encryption,
            keep: spec.keep,
            unmeasured: false,
            before_restore: false,
        };
        let spinner = Spinner::new(self.context);
        let done = self.context.block_on(async {
            helpers::register(&options.state)?;
            helpers::sweep(&writer).await?;
            let resource = Resource::find(&reader, declared, object, self.set, engine).await?;
            backup::backup(&writer, &resource, &options, &spinner, signals::interrupted()).await
        })?;
        spinner.end(self.context);
        for warning in done.iter().flat_map(|done| &done.archive.manifest.warnings) {
            self.context.warn(warning);
        }
        Ok(done.map(|done| done.archive.address))
    }
}

/// Starts what commands that are no more have stopped for a copy.
pub(super) fn recover<'a>(
    state: &Path,
    servers: impl Iterator<Item = &'a DesiredServer>,
    args: &ServerArgs,
    context: &Context,
) -> Result<(), Error> {
    let unreadable = |error: TransferError| failed(&error, "what was stopped for a copy cannot be read");
    let records = Record::left_behind(state).map_err(unreadable)?;
    if records.is_empty() {
        return Ok(());
    }
    let servers: Vec<&DesiredServer> = servers.collect();
    for record in records {
        let Some(server) = servers.iter().find(|server| server.key == record.halted.server) else { continue };
        let names = record.halted.names();
        let object = record.halted.object.clone();
        let writer = connect::writer(server, &super::servers::options(args))?;
        match context.block_on(record.start(&writer, &()))? {
            Ok(()) => context.warn(&format!(
                "a copy of {object} was cut off; what had been stopped for it is started again: {}",
                names.join(", ")
            )),
            Err(error) => context.error(&failed(
                &error,
                &format!("{} stopped for a copy of {object} that was cut off, and cannot be started", names.join(", ")),
            )),
        }
    }
    Ok(())
}

/// Where records of what is stopped are.
pub(super) fn state(args: &StateArgs) -> Result<PathBuf, Error> {
    state_directory(args.state.as_deref())
        .map_err(|error| Error::new("there is no place to note what is stopped").caused_by(&error))
}

/// The archive that is there, or the newest of the object below it.
pub(super) fn archive(from: &Address, object: &ObjectKey, context: &Context) -> Result<Archive, Error> {
    let found = context.block_on(async {
        match Archive::at(from).await? {
            Some(archive) => Ok(Some(archive)),
            None => Shelf::of(from, object)?.newest().await,
        }
    })?;
    found.map_err(|error: TransferError| failed(&error, "the backup cannot be read"))?.ok_or_else(|| {
        Error::new(format!("there is no backup of {object} in {from}"))
            .hint("`--from` names an archive, or the place with the archives of all objects")
    })
}

/// The keys that open it.
pub(super) fn keys(identity: Option<&Path>, archive: &Archive) -> Result<Identities, Error> {
    if !archive.manifest.is_encrypted() {
        return Ok(Identities::default());
    }
    let path = identity.map(Path::to_owned).or_else(|| std::env::var_os(KEYS).map(PathBuf::from));
    let Some(path) = path else {
        return Err(Error::new(format!("the backup {} is encrypted", archive.address))
            .hint(format!("name the file with the key of age with --identity or {KEYS}")));
    };
    Identities::read(&path).map_err(|error| failed(&error, "the backup cannot be opened"))
}

/// The error of a command.
pub(super) fn failed(error: &TransferError, what: &str) -> Error {
    Error::new(what).caused_by(error).maybe_hint(error.hint().map(str::to_owned)).refusal_if(error.is_refusal())
}

/// What is done, and how many bytes have passed: on standard error, and only where that is a terminal.
pub(super) struct Spinner {
    bar: Option<ProgressBar>,
    warnings: Mutex<Vec<String>>,
}

impl Spinner {
    pub(super) fn new(context: &Context) -> Self {
        let shown = std::io::stderr().is_terminal() && context.verbose() == 0;
        let bar = shown.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {bytes} {bytes_per_sec}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, warnings: Mutex::default() }
    }

    /// Shows what was warned of meanwhile.
    pub(super) fn end(&self, context: &Context) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let warnings = std::mem::take(&mut *self.warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for warning in warnings {
            context.warn(&warning);
        }
    }
}

impl Watch for Spinner {
    fn step(&self, text: &str) {
        tracing::info!("{text}");
        if let Some(bar) = &self.bar {
            bar.set_message(one_line(text).into_owned());
        }
    }

    fn expect(&self, bytes: u64) {
        let Some(bar) = self.bar.as_ref().filter(|_| bytes > 0) else { return };
        bar.set_length(bytes);
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {msg} {bar:24} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        {
            bar.set_style(style);
        }
    }

    fn moved(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    fn warn(&self, text: &str) {
        self.warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(text.to_owned());
    }
}
