//! What the commands that talk to servers have in common: connecting, bounds, the journals, and saying which server did not answer.

use std::time::Duration;

use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::observed::{Observations, Unobserved, UnobservedReason};
use crate::core::plan::Journal;
use crate::core::plan::Request;
use crate::shell::engine::connect::{self, ConnectOptions};
use crate::shell::engine::{DockerReader, EngineError};
use crate::shell::execute::Limits;
use crate::shell::observe::{Interest, ObserveLimits, observe_all};
use crate::shell::reconcile::{Pass, Preview};
use crate::shell::store::file::FileJournals;
use crate::shell::store::known::Known;
use crate::shell::store::{Journals, state_directory};

use super::args::{ServerArgs, StateArgs};
use super::{Context, Error};

/// By which the executor's own bound on a call is longer than the transport's.
const SLACK: Duration = Duration::from_secs(30);

pub(super) fn options(args: &ServerArgs) -> ConnectOptions {
    ConnectOptions { read_timeout: args.timeout, write_timeout: args.timeout, ..ConnectOptions::default() }
}

pub(super) fn observation(args: &ServerArgs) -> ObserveLimits {
    ObserveLimits { per_server: args.timeout, concurrency: args.concurrency }
}

pub(super) fn execution(args: &ServerArgs) -> Limits {
    let limits = Limits::default();
    // What the transport bounds is not bounded by less.
    let call = limits.call.max(args.timeout.saturating_add(SLACK));
    Limits { servers_at_once: args.concurrency, call, ..limits }
}

/// Makes clients that cannot change anything.
pub(super) fn reader(options: ConnectOptions) -> impl Fn(&DesiredServer) -> Result<DockerReader, EngineError> {
    move |server| {
        tracing::info!(server = server.key.path(), "looking");
        connect::reader(server, &options)
    }
}

/// Looks at all servers of the desired state.
pub(crate) fn observe(
    context: &Context,
    desired: &DesiredState,
    args: &ServerArgs,
    interest: impl Fn(&DesiredServer) -> Interest,
) -> Result<Observations, Error> {
    let servers = desired.servers.values().map(AsRef::as_ref);
    context.block_on(observe_all(servers, interest, reader(options(args)), &Known::default(), observation(args)))
}

/// What earlier commands have left for this one.
pub(super) struct Kept {
    journals: Box<dyn Journals>,
    known: Known,
}

impl Kept {
    pub(super) fn journals(&self, context: &Context) -> Result<Vec<Journal>, Error> {
        context.block_on(self.journals.load())?.map(|kept| kept.journals).map_err(|error| journal_error(&error))
    }
}

pub(super) fn kept(args: &StateArgs) -> Result<Kept, Error> {
    let directory = state_directory(args.state.as_deref())
        .map_err(|error| Error::new("there is no place for journals").caused_by(&error))?;
    Ok(Kept { journals: Box::new(FileJournals::in_state(&directory)), known: Known::in_state(&directory) })
}

pub(super) fn pass<'a>(desired: &'a DesiredState, request: &'a Request, kept: &'a Kept, args: &ServerArgs) -> Pass<'a> {
    let Kept { journals, known } = kept;
    let journals = journals.as_ref();
    Pass { desired, request, journals, known, observe: observation(args), execute: execution(args) }
}

/// Observes and plans, by clients that cannot change anything.
pub(super) fn preview(context: &Context, pass: &Pass<'_>, args: &ServerArgs) -> Result<Preview, Error> {
    context.block_on(pass.preview(reader(options(args))))?.map_err(|error| journal_error(&error))
}

/// The same for one server after the other, as far as that is the same.
pub(super) fn survey(
    context: &Context,
    pass: &Pass<'_>,
    args: &ServerArgs,
    each: impl FnMut(&DesiredState, Preview),
) -> Result<(), Error> {
    context.block_on(pass.survey(reader(options(args)), each))?.map_err(|error| journal_error(&error))
}

pub(super) fn journal_error(error: &dyn std::error::Error) -> Error {
    Error::new("the journals of interrupted changes cannot be read; nothing was done").caused_by(error)
}

/// Says on standard error which servers were not observed and why, whatever the format of the output.
pub(crate) fn complain(context: &Context, observed: &Observations) {
    for (server, unobserved) in unobserved(observed) {
        context.error(&error(server, unobserved));
    }
}

pub(crate) fn unobserved(observed: &Observations) -> impl Iterator<Item = (&ObjectKey, &Unobserved)> {
    observed.iter().filter_map(|(server, seen)| seen.as_ref().err().map(|unobserved| (server, unobserved)))
}

fn error(server: &ObjectKey, unobserved: &Unobserved) -> Error {
    let what = match unobserved.reason {
        UnobservedReason::ServerUnreachable => "cannot be reached",
        UnobservedReason::PermissionDenied => "denies access",
        UnobservedReason::PassFailed => "was not looked at",
        UnobservedReason::HostKeyMismatch => "has a host key that is unknown, or another than expected",
    };
    Error::new(format!("{server} {what}")).because(&unobserved.message).maybe_hint(unobserved.hint.clone())
}
