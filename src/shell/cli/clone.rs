//! `clone KIND NAME`, and what `move` has in common with it.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::args::{self, ServerArgs, SetArgs, StateArgs};
use super::output::DataFormat;
use super::repository::SourceArgs;
use super::target::Target;
use super::transfer::{self, Chosen, Spinner, failed};
use super::{Context, Error, Exit, servers, signals};
use crate::core::api::{Kind, Object, ObjectKey, ObjectRef};
use crate::core::desired::{DesiredMember, DesiredServer};
use crate::core::instance::{Instance, Purpose, Wanted, instance};
use crate::core::manifest::{self, Manifests, Source};
use crate::core::plan::ownership;
use crate::core::printable;
use crate::core::printable::bytes;
use crate::core::workload::database::Written;
use crate::core::workload::{identity, stack};
use crate::shell::engine::connect;
use crate::shell::transfer::copy::{self, Copied, Pair};
use crate::shell::transfer::source::Resource;
use crate::shell::transfer::{NewVolume, TransferError};

/// Prints the manifest of a new instance of an application, database or service on another destination
///
/// What two instances cannot share gets another name or is left out, and is listed above the manifest: volumes, ports, domains, addresses. An adopted one is read off its live
/// containers, and becomes one that Landfall runs. With `--with-volumes` the data is copied next: the original is stopped while that lasts, and started again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: landfall clone database orders --to staging/web --name orders-staging --with-volumes > manifests/orders-staging.yaml"
)]
pub(super) struct Args {
    #[command(flatten)]
    copy: CopyArgs,
    /// What the new instance is called [default: NAME-DESTINATION]
    #[arg(long, value_name = "NEW")]
    name: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct CopyArgs {
    #[command(flatten)]
    what: transfer::WhatArgs,
    /// The destination: NAME, or NAMESPACE/NAME
    #[arg(long, value_name = "DESTINATION")]
    to: String,
    /// Copy the data of the volumes as well
    #[arg(long)]
    with_volumes: bool,
    /// Copy while containers write: files may be of different moments
    #[arg(long, requires = "with_volumes")]
    live: bool,
    /// Begin although the data may not fit
    #[arg(long, requires = "with_volumes")]
    no_space_check: bool,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    servers: ServerArgs,
    #[command(flatten)]
    state: StateArgs,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    output: DataFormat,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    Work::new(&args.copy, Errand::Clone(args.name.clone()), context)?.run()
}

/// Which of the two it is.
pub(super) enum Errand {
    /// Under that name.
    Clone(Option<String>),
    Move,
}

/// A clone, or a move.
pub(super) struct Work<'a> {
    args: &'a CopyArgs,
    context: &'a Context,
    errand: Errand,
    chosen: Chosen,
    from: ObjectKey,
    to: ObjectKey,
    to_server: std::sync::Arc<DesiredServer>,
}

/// All of it, for programs.
#[derive(Serialize)]
struct Document<'a> {
    manifest: &'a Object,
    findings: &'a [String],
    copied: &'a [Copied],
}

impl<'a> Work<'a> {
    pub(super) fn new(args: &'a CopyArgs, errand: Errand, context: &'a Context) -> Result<Self, Error> {
        let chosen = Chosen::load(&args.what, &args.source, &args.set, &args.servers, &args.state, context)?;
        let to = destination(&args.to, &chosen.object, &chosen.manifests)?;
        let on = |server: &DesiredServer| -> Vec<ObjectKey> {
            let has = |it: &&crate::core::desired::DesiredDestination| {
                it.members.iter().any(|it| it.resource == chosen.object)
            };
            server.destinations.iter().filter(has).map(|it| it.key.clone()).collect()
        };
        if matches!(errand, Errand::Move) && chosen.desired.servers.values().any(|server| on(server).contains(&to)) {
            return Err(Error::new(format!("{} is on {} already", chosen.object, to.path())));
        }
        let from = on(&chosen.server).into_iter().next();
        let from = from.ok_or_else(|| Error::new(format!("{} is on no destination", chosen.object)))?;
        let to_server =
            chosen.desired.servers.values().find(|server| server.destinations.iter().any(|it| it.key == to));
        let to_server = to_server.ok_or_else(|| Error::new(format!("no server has the destination {}", to.path())))?;
        let to_server = std::sync::Arc::clone(to_server);
        Ok(Self { args, context, errand, chosen, from, to, to_server })
    }

    pub(super) fn run(&self) -> Result<Exit, Error> {
        let Self { args, context, chosen, .. } = self;
        let located = chosen.manifests.get(&chosen.object);
        let located = located.ok_or_else(|| Error::new(format!("{} is not declared", chosen.object)))?;
        let name = self.name()?;
        let same_server = chosen.server.key == self.to_server.key;
        let looked = context.block_on(async {
            let resource = chosen.find().await?;
            let live = chosen.live(&resource).await?;
            Ok::<_, TransferError>((resource, live))
        })?;
        let (resource, live) =
            looked.map_err(|error| failed(&error, &format!("{} cannot be looked at", chosen.object)))?;
        let purpose = if self.is_move() { Purpose::Move } else { Purpose::Clone(&name) };
        let wanted = Wanted { object: &located.object, from: &self.from, to: &self.to, same_server, purpose };
        let made = instance(&wanted, &live).map_err(|error| {
            Error::new(format!("there is no manifest for {}", chosen.object))
                .caused_by(&error)
                .maybe_hint(error.hint().map(str::to_owned))
        })?;
        let place = located.location.file.clone();
        let manifests = self.with(&made.object, &place)?;
        if args.output == DataFormat::Yaml {
            context.print(&self.page(&made, &place)?)?;
        }
        let pairs = self.pairs(&made, &resource, &manifests);
        let copied = match args.with_volumes && !pairs.is_empty() {
            true => self.copy(&resource, &pairs, &manifests, &made)?,
            false => Ok(Vec::new()),
        };
        let copied = match copied {
            Ok(copied) => copied,
            Err(exit) => return Ok(exit),
        };
        if args.output == DataFormat::Json {
            let document = Document { manifest: &made.object, findings: &made.findings, copied: &copied };
            context.print_data(DataFormat::Json, &document)?;
        }
        self.conclude(&made, &resource, &pairs, &copied, &place);
        Ok(Exit::Done)
    }

    fn is_move(&self) -> bool {
        matches!(self.errand, Errand::Move)
    }

    fn name(&self) -> Result<String, Error> {
        let Errand::Clone(name) = &self.errand else { return Ok(self.chosen.object.name.to_string()) };
        let ObjectKey { kind, namespace, name: old } = &self.chosen.object;
        let is_free = |name: &str| self.chosen.manifests.get(&ObjectKey::new(*kind, namespace, name)).is_none();
        match name {
            Some(name) if is_free(name) => Ok(name.clone()),
            Some(name) => Err(Error::new(format!("there is {} already", ObjectKey::new(*kind, namespace, name)))
                .hint("choose another --name")),
            None => {
                let usual = format!("{old}-{}", self.to.name);
                let mut names = std::iter::once(usual.clone()).chain((2..).map(|number| format!("{usual}-{number}")));
                Ok(names.find(|name| is_free(name)).unwrap_or(usual))
            }
        }
    }

    /// What is declared, with this.
    fn with(&self, object: &Object, place: &str) -> Result<Manifests, Error> {
        let chosen = &self.chosen;
        let others = chosen.manifests.objects().filter(|it| it.object.key() != object.key());
        let sources = others.map(|it| (it.location.file.clone(), &it.object)).chain([(place.to_owned(), object)]);
        let sources: Result<Vec<Source>, serde_json::Error> =
            sources.map(|(name, object)| Ok(Source { name, bytes: serde_json::to_vec(object)? })).collect();
        let sources = sources.map_err(|error| Error::new("the manifest cannot be written").caused_by(&error))?;
        let loaded = manifest::load(&sources).map_err(|problems| {
            let messages: Vec<String> = problems.iter().map(|it| it.message.clone()).collect();
            Error::new(format!("{} would not be valid beside what is declared", object.key()))
                .because(messages.join("; "))
        })?;
        Ok(loaded.with_base(chosen.manifests.base().clone()))
    }

    /// The manifest, below what is to be known of it.
    fn page(&self, made: &Instance, place: &str) -> Result<String, Error> {
        let text = printable::yaml(&made.object).map_err(|error| Error::new("cannot write YAML").caused_by(&error))?;
        let mut page = match self.is_move() {
            true => format!(
                "# {}, moved from {} to {}: in place of the one in {place}.\n",
                self.chosen.object,
                self.from.path(),
                self.to.path()
            ),
            false => {
                format!("# Cloned from {} on {}; its files are beside {place}.\n", self.chosen.object, self.from.path())
            }
        };
        for finding in &made.findings {
            page.push_str(&format!("# - {}\n", printable::one_line(finding)));
        }
        page.push_str(&text);
        Ok(page)
    }

    fn pairs(&self, made: &Instance, resource: &Resource, manifests: &Manifests) -> Vec<Pair> {
        let desired = args::desired(manifests, self.chosen.set());
        let server = desired.servers.get(&self.to_server.key);
        let destination = server.and_then(|it| it.destinations.iter().find(|it| it.key == self.to));
        let key = made.object.key();
        let member = destination.and_then(|it| it.members.iter().find(|it| it.resource == key));
        let known = made.volumes.iter().filter(|(from, _)| resource.volumes.contains_key(*from));
        known
            .map(|(from, to)| {
                let labels = member.map(|member| labels(member, self.chosen.set(), to)).unwrap_or_default();
                Pair { from: from.clone(), to: NewVolume { name: to.clone(), labels } }
            })
            .collect()
    }

    /// The inner error: it was refused.
    fn copy(
        &self,
        resource: &Resource,
        pairs: &[Pair],
        manifests: &Manifests,
        made: &Instance,
    ) -> Result<Result<Vec<Copied>, Exit>, Error> {
        let Self { args, context, chosen, to_server, .. } = self;
        let engine = connect::writer(to_server, &servers::options(&args.servers))?;
        let desired = args::desired(manifests, chosen.set());
        let members = desired.servers.values().flat_map(|it| &it.destinations).flat_map(|it| &it.members);
        let key = made.object.key();
        let workload = members.filter(|it| it.resource == key).find_map(|it| it.workload.as_ref());
        let first = resource.containers.first().map(|it| it.container.image.clone());
        let image = workload.map(|it| it.image.clone()).or(first).unwrap_or_default();
        let target = copy::Target { engine: &engine, name: to_server.key.path(), image };
        let options = copy::Options {
            state: transfer::state(&args.state)?,
            live: args.live,
            moved_to: self.is_move().then(|| self.to.path()),
            unmeasured: args.no_space_check,
        };
        let started = Instant::now();
        let spinner = Spinner::new(context);
        let copying = copy::copy(&chosen.writer, resource, &target, pairs, &options, &spinner, signals::interrupted());
        let copied = context.block_on(copying)?;
        spinner.end(context);
        let outcome = copied.as_ref().map(|copied| {
            let names: Vec<String> = copied.iter().map(|it| format!("{} to {}", it.from, it.to)).collect();
            format!("{} on {}: volumes {}", made.object.key(), to_server.key.path(), names.join(", "))
        });
        chosen.record(context, if self.is_move() { &transfer::MOVE } else { &transfer::CLONE }, started, outcome)?;
        match copied {
            Ok(copied) => Ok(Ok(copied)),
            Err(error) => {
                let error_is_refusal = error.is_refusal();
                let error = failed(
                    &error,
                    &format!("the data of {} was not copied, and the manifest is not to be applied yet", chosen.object),
                );
                if error_is_refusal {
                    context.error(&error);
                    return Ok(Err(Exit::Refused));
                }
                Err(error)
            }
        }
    }

    /// What was done, and what comes next.
    fn conclude(&self, made: &Instance, resource: &Resource, pairs: &[Pair], copied: &[Copied], place: &str) {
        let Self { args, context, chosen, to_server, .. } = self;
        let server = to_server.key.path();
        if args.output == DataFormat::Json {
            made.findings.iter().for_each(|finding| context.say(finding));
        }
        for it in copied {
            context.say(&format!(
                "volume {} copied to {} on {server}: {} in {} entries, the same at both ends",
                it.from,
                it.to,
                bytes(it.bytes),
                it.entries
            ));
        }
        for what in resource.not_covered.iter().filter(|_| args.with_volumes) {
            context.warn(&format!("not copied: {what}"));
        }
        if !pairs.is_empty() && !args.with_volumes {
            let names: Vec<&str> = pairs.iter().map(|it| it.from.as_str()).collect();
            context.say(&format!("the data of {} is not copied; --with-volumes does", names.join(", ")));
        }
        let names: Vec<&str> = resource.containers.iter().map(|it| it.container.name.as_str()).collect();
        if self.is_move() && !copied.is_empty() && !args.live {
            context.say(&format!(
                "left stopped on {}, and nothing of it deleted: {}",
                chosen.server.key.path(),
                names.join(", ")
            ));
        }
        match self.is_move() {
            true => context.say(&format!(
                "commit it in place of the {} in {place}; `landfall apply` does the rest",
                chosen.object
            )),
            false => context.say("commit it beside the others; `landfall apply` makes it"),
        }
    }
}

/// As a resource would name it: of its own namespace first.
fn destination(name: &str, object: &ObjectKey, manifests: &Manifests) -> Result<ObjectKey, Error> {
    let own = ObjectRef(name.to_owned()).resolve(Kind::Destination, &object.namespace);
    if manifests.get(&own).is_some() {
        return Ok(own);
    }
    Target { kind: Kind::Destination, names: Vec::new() }.require(name, None, manifests)
}

/// As the volume would have them if `apply` or Compose had made it.
fn labels(member: &DesiredMember, set: &str, volume: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    if let Some(workload) = &member.workload {
        labels.insert(ownership::SET.to_owned(), set.to_owned());
        labels.insert(identity::OBJECT.to_owned(), member.resource.to_string());
        let written = workload.database.as_ref().map(|it| Written { engine: it.engine, version: it.version.clone() });
        labels.extend(written.map(|it| (identity::DATA.to_owned(), it.label())));
    }
    if let Some(stack) = &member.stack
        && let Some(name) = volume.strip_prefix(&format!("{}_", stack.project))
    {
        labels.insert(stack::PROJECT.to_owned(), stack.project.clone());
        labels.insert("com.docker.compose.volume".to_owned(), name.to_owned());
    }
    labels
}
