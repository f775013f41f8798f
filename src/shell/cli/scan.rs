//! `scan SERVER`

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::args::{ServerArgs, SetArgs, StateArgs, desired, invalid};
use super::output::DataFormat;
use super::repository::{Loaded, SourceArgs, in_force};
use super::{Context, Error, Exit, servers};
use crate::core::api::server::DEFAULT_ENDPOINT;
use crate::core::api::{API_VERSION, DEFAULT_NAMESPACE, Kind, ObjectKey, Spec};
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::manifest::{self, Manifests, Source};
use crate::core::observed::ObservedState;
use crate::core::scan::{ScanInput, ScannedServer, scan};
use crate::shell::observe::Interest;
use crate::shell::sources;

/// Writes manifests for the networks of a server that none declares yet
///
/// Every undeclared network becomes a Destination that adopts it, and the containers on it become adopted Applications, Databases and
/// Services. Applying them changes nothing. Networks of the Docker Engine itself and those that Landfall has created are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: landfall scan edge-1 > manifests/scanned.yaml && landfall diff")]
pub(super) struct Args {
    /// A declared server, `[namespace/]name`; or an endpoint such as `unix:///var/run/docker.sock`, which then gets a Server manifest too
    #[arg(value_name = "SERVER", add = clap_complete::ArgValueCompleter::new(super::completion::complete_servers))]
    server: String,
    #[command(flatten)]
    source: SourceArgs,
    /// Namespace of the manifests; default: the server's own
    #[arg(short, long, value_name = "NS", value_parser = namespace)]
    namespace: Option<String>,
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

fn namespace(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let edges = text.bytes().next().is_some_and(fits) && text.bytes().last().is_some_and(fits);
    if edges && text.len() <= 63 && text.bytes().all(|b| fits(b) || b == b'-') {
        Ok(text.to_owned())
    } else {
        Err("a namespace has 1 to 63 lower-case letters, digits and `-`, and begins and ends with a letter or digit"
            .to_owned())
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let endpoint = if args.server.contains("://") { Some(args.server.as_str()) } else { None };
    let manifests = declared(args, context)?;
    let known = manifests.as_ref().map(|manifests| desired(manifests, &args.set.set));
    let names: BTreeSet<ObjectKey> =
        manifests.iter().flat_map(Manifests::objects).map(|located| located.object.key()).collect();
    let found = match endpoint {
        Some(endpoint) => at(manifests.as_ref(), known.as_ref(), endpoint),
        None => named(known.as_ref(), &args.server)?,
    };
    let local = if args.server == "local" { DEFAULT_ENDPOINT } else { args.server.as_str() };
    let stranger;
    let (server, scanned_server) = match found {
        Some(server) => (server, ScannedServer::Declared(server)),
        None => {
            stranger = undeclared(local, &args.set.set)?;
            (&stranger, ScannedServer::Undeclared { endpoint: local })
        }
    };
    let namespace = args.namespace.as_deref();
    if let (Some(namespace), ScannedServer::Declared(server)) = (namespace, scanned_server)
        && !allows(manifests.as_ref(), &server.key, namespace)
    {
        // What it would write is not valid beside the server's manifest.
        return Err(Error::new(format!("{} may not be used by the namespace {namespace}", server.key))
            .hint(format!("add {namespace} to the server's `allowedNamespaces`, or scan without -n")));
    }
    let observed = observe(server, &args.set.set, &args.servers, context)?;
    let scanned = scan(&ScanInput {
        observed: &observed,
        server: scanned_server,
        namespace,
        set: &args.set.set,
        declared: &names,
    });
    for warning in &scanned.warnings {
        context.warn(warning);
    }
    let failed = |error: serde_yaml::Error| Error::new("cannot write the manifests as YAML").caused_by(&error);
    match args.output {
        DataFormat::Yaml => context.print(&scanned.to_yaml().map_err(failed)?)?,
        DataFormat::Json => context.print_data(DataFormat::Json, &scanned.objects().collect::<Vec<_>>())?,
    }
    Ok(Exit::Done)
}

/// The manifests, where there are any. Whoever starts with a scan has none, and the shell may just have made the file to write to.
fn declared(args: &Args, context: &Context) -> Result<Option<Manifests>, Error> {
    let SourceArgs { manifests, git } = &args.source;
    let absent = manifests.is_absent();
    if git.git.is_some() || absent && in_force(&args.state, &args.set, context)?.is_some() {
        let Loaded { manifests, .. } = args.source.load(&args.state, &args.set, context)?;
        return Ok(Some(manifests));
    }
    if absent {
        return Ok(None);
    }
    let paths = manifests.paths();
    let (sources, problems) = sources::read(&paths, &mut std::io::stdin().lock());
    if !problems.is_empty() {
        return Err(invalid(&problems));
    }
    let manifests = manifest::load(&sources).map_err(|problems| invalid(&problems))?;
    Ok(Some(manifests).filter(|manifests| manifests.objects().len() > 0))
}

/// The declared server with that very endpoint. `None` where there is none.
fn at<'a>(manifests: Option<&Manifests>, known: Option<&'a DesiredState>, endpoint: &str) -> Option<&'a DesiredServer> {
    let key = manifests?.objects().find_map(|located| match &located.object.spec {
        Spec::Server(spec) if spec.endpoint == endpoint => Some(located.object.key()),
        _ => None,
    });
    known?.servers.get(&key?).map(AsRef::as_ref)
}

/// The declared server of that name; `None` for `local` where no manifest declares such a one.
fn named<'a>(known: Option<&'a DesiredState>, name: &str) -> Result<Option<&'a DesiredServer>, Error> {
    let servers = || known.iter().flat_map(|known| known.servers.values().map(AsRef::as_ref));
    let found: Vec<&DesiredServer> =
        servers().filter(|server| server.key.name == name || server.key.path() == name).collect();
    match found.as_slice() {
        [server] => Ok(Some(server)),
        [] if name == "local" => Ok(None),
        [] => {
            let declared: Vec<String> = servers().map(|server| server.key.path()).collect();
            let hint = if declared.is_empty() {
                format!("without manifests, give an endpoint: landfall scan {DEFAULT_ENDPOINT}")
            } else {
                format!("declared servers: {}; or give an endpoint such as {DEFAULT_ENDPOINT}", declared.join(", "))
            };
            Err(Error::new(format!("no manifest declares a server {name:?}")).hint(hint))
        }
        several => {
            let paths: Vec<String> = several.iter().map(|server| server.key.path()).collect();
            Err(Error::new(format!("several servers are named {name:?}"))
                .hint(format!("say which: {}", paths.join(", "))))
        }
    }
}

/// A server that is given by its endpoint, checked as if a manifest had it.
fn undeclared(endpoint: &str, set: &str) -> Result<DesiredServer, Error> {
    let manifest = json!({
        "apiVersion": API_VERSION, "kind": Kind::Server, "metadata": { "name": "scanned" }, "spec": { "endpoint": endpoint },
    });
    let bytes = manifest.to_string().into_bytes();
    let manifests = manifest::load(&[Source { name: "SERVER".to_owned(), bytes }]).map_err(|problems| {
        let first = problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
        Error::new(format!("{endpoint:?} cannot be scanned: {first}"))
            .hint("declare the server in a manifest, with all that it takes to get in, and scan it by its name")
    })?;
    let mut known = desired(&manifests, set);
    let key = ObjectKey::new(Kind::Server, DEFAULT_NAMESPACE, "scanned");
    known
        .servers
        .remove(&key)
        .map(Arc::unwrap_or_clone)
        .ok_or_else(|| Error::new(format!("{endpoint:?} is not an endpoint")))
}

fn observe(server: &DesiredServer, set: &str, args: &ServerArgs, context: &Context) -> Result<ObservedState, Error> {
    let alone = DesiredState::new(set, [(server.key.clone(), Arc::new(server.clone()))].into());
    match servers::observe(context, &alone, args, |_| Interest::All)?.remove(&server.key) {
        Some(Ok(observed)) => Ok(observed),
        Some(Err(unobserved)) => Err(Error::new(unobserved.message).maybe_hint(unobserved.hint)),
        None => Err(Error::new(format!("{} was not observed", server.key))),
    }
}

fn allows(manifests: Option<&Manifests>, server: &ObjectKey, namespace: &str) -> bool {
    let located = manifests.and_then(|manifests| manifests.get(server));
    server.namespace == namespace
        || matches!(located.map(|located| &located.object.spec), Some(Spec::Server(spec))
            if spec.allowed_namespaces.iter().any(|allowed| allowed == "*" || allowed == namespace))
}
