//! What `backup` and `restore` have in common: the resource and its server, archives and their keys, and how far it is.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::args::{self, ServerArgs, SetArgs, StateArgs};
use super::repository::{Loaded, SourceArgs};
use super::target;
use super::{Context, Error, record, servers};
use crate::api::{DatabaseEngine, Kind, ObjectKey, Spec};
use crate::desired::DesiredServer;
use crate::engine::{DockerReader, DockerWriter, connect};
use crate::printable::one_line;
use crate::store::records::Transfer;
use crate::store::{Records, state_directory};
use crate::transfer::directory::{Archive, Shelf};
use crate::transfer::halt::Record;
use crate::transfer::source::Resource;
use crate::transfer::{Identities, TransferError, Watch};

/// Where archives are unless something else is said.
pub(super) const ROOT: &str = "./backups";
/// The variable with the file of keys that `sops` uses as well.
const KEYS: &str = "SOPS_AGE_KEY_FILE";

/// A directory; an address would be taken for one, and the archive be where nobody looks for it.
pub(super) fn parse_directory(text: &str) -> Result<PathBuf, String> {
    let is_scheme = |scheme: &str| !scheme.is_empty() && scheme.chars().all(|it| it.is_ascii_alphanumeric());
    if text.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme)) {
        return Err("archives are read and written in directories of this machine; mount what is elsewhere (rclone, sshfs), or copy the archive there: it is a directory".to_owned());
    }
    Ok(text.into())
}

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
        recover(&state(state_args)?, desired.servers.values().map(AsRef::as_ref), server_args, context)?;
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
        Ok(Self { object, server, writer, revision, records, reader, set: set.set.clone(), engine })
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
        let names: Vec<String> = record.halted.containers.iter().map(|it| it.name.clone()).collect();
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

/// The archive that a directory is, or the newest of the object below it.
pub(super) fn archive(from: &Path, object: &ObjectKey) -> Result<Archive, Error> {
    let unreadable = |error: TransferError| failed(&error, "the backup cannot be read");
    if Archive::is_at(from) {
        return Archive::open(from).map_err(unreadable);
    }
    let shelf = Shelf::of(from, object);
    shelf.newest().map_err(unreadable)?.ok_or_else(|| {
        Error::new(format!("there is no backup of {object} in {}", shelf.path().display()))
            .hint("`--from` names an archive, or the directory with the archives of all objects")
    })
}

/// The keys that open it.
pub(super) fn keys(identity: Option<&Path>, archive: &Archive) -> Result<Identities, Error> {
    if !archive.manifest.is_encrypted() {
        return Ok(Identities::default());
    }
    let path = identity.map(Path::to_owned).or_else(|| std::env::var_os(KEYS).map(PathBuf::from));
    let Some(path) = path else {
        return Err(Error::new(format!("the backup {} is encrypted", archive.directory.display()))
            .hint(format!("name the file with the key of age with --identity or {KEYS}")));
    };
    Identities::read(&path).map_err(|error| failed(&error, "the backup cannot be opened"))
}

/// The error of a command.
pub(super) fn failed(error: &TransferError, what: &str) -> Error {
    Error::new(what).caused_by(error).maybe_hint(error.hint().map(str::to_owned))
}

/// Ctrl-C, and what asks a service to end.
pub(super) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
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

    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// What was warned of meanwhile.
    pub(super) fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Watch for Spinner {
    fn step(&self, text: &str) {
        tracing::info!("{text}");
        if let Some(bar) = &self.bar {
            bar.set_message(one_line(text).into_owned());
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
