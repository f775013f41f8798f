//! Manifests for what is on a server and in no manifest: Destinations that adopt the networks, resources that adopt the containers on them.
//!
//! The promise is that the next `diff` is empty. Whatever cannot be said in a manifest without planning a change is therefore left out,
//! and a comment or a warning says so. Nothing is chosen by chance or by time: the same server gives the same manifests.

mod image;
mod members;
mod names;
mod networks;

use std::collections::BTreeSet;

use crate::core::api::server::DEFAULT_ENDPOINT;
use crate::core::api::{Kind, Metadata, Object, ObjectKey, ProxySpec, ProxyType, ServerRole, ServerSpec, Spec};
use crate::core::desired::{DesiredServer, Proxy, ProxyInstance};
use crate::core::observed::{NetworkId, ObservedContainer, ObservedNetwork, ObservedState};
use crate::core::printable;
pub use image::recognise_proxy;

/// What is looked for, and where.
#[derive(Debug, Clone, Copy)]
pub struct ScanInput<'a> {
    pub observed: &'a ObservedState,
    pub server: ScannedServer<'a>,
    /// Namespace of the manifests; by default the server's own, which may always use it.
    pub namespace: Option<&'a str>,
    /// Whose networks are Landfall's own.
    pub set: &'a str,
    /// Every declared object: names that are not free any more.
    pub declared: &'a BTreeSet<ObjectKey>,
}

#[derive(Debug, Clone, Copy)]
pub enum ScannedServer<'a> {
    Declared(&'a DesiredServer),
    /// It gets a manifest too.
    Undeclared {
        endpoint: &'a str,
    },
}

/// The manifests, in the order in which a reader wants them: each destination followed by what lives on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scanned {
    /// What there is to say about the server as a whole; lines without `#`.
    pub comments: Vec<String>,
    pub documents: Vec<Document>,
    /// What is on the server and could not be declared, and why: sentences.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Lines without `#`.
    pub comments: Vec<String>,
    pub object: Object,
}

impl Scanned {
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.documents.iter().map(|document| &document.object)
    }

    /// Manifests to commit.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        let mut text = String::new();
        comment(&mut text, &self.comments);
        for document in &self.documents {
            text.push_str("---\n");
            comment(&mut text, &document.comments);
            text.push_str(&printable::yaml(&document.object)?);
        }
        Ok(text)
    }
}

/// Names come from the server: whatever could end a comment must not get into one.
fn comment(text: &mut String, lines: &[String]) {
    for line in lines {
        text.push_str("# ");
        text.push_str(&printable::one_line(line));
        text.push('\n');
    }
}

/// The proxy of the scanned server.
#[derive(Debug, Clone)]
struct KnownProxy {
    instance: ProxyInstance,
    proxy_type: ProxyType,
    /// Its manifest says so; else it only looks like one.
    declared: bool,
}

impl KnownProxy {
    fn name(&self) -> &str {
        match &self.instance {
            ProxyInstance::Container(name) | ProxyInstance::Service(name) => name,
        }
    }

    fn is(&self, container: &ObservedContainer) -> bool {
        match &self.instance {
            ProxyInstance::Container(name) => container.name == *name,
            ProxyInstance::Service(name) => container.labels.get(members::SWARM_SERVICE) == Some(name),
        }
    }

    fn is_on(&self, state: &ObservedState, network: &ObservedNetwork) -> bool {
        match &self.instance {
            ProxyInstance::Container(name) => {
                state.container_named(name).is_some_and(|container| is_attached(container, network))
            }
            ProxyInstance::Service(name) => {
                state.services.iter().any(|service| service.name == *name && service.is_on(network))
            }
        }
    }

    fn spec(&self) -> ProxySpec {
        let (container, service) = match &self.instance {
            ProxyInstance::Container(name) => (Some(name.clone()), None),
            ProxyInstance::Service(name) => (None, Some(name.clone())),
        };
        ProxySpec { container, service, proxy_type: self.proxy_type, refresh: None }
    }
}

/// Everything the parts of a scan share.
struct Context<'a> {
    state: &'a ObservedState,
    declared_server: Option<&'a DesiredServer>,
    set: &'a str,
    proxy: Option<KnownProxy>,
    namespace: String,
    server: ObjectKey,
}

/// A network with its destination, to be declared.
struct Found<'a> {
    network: &'a ObservedNetwork,
    document: Document,
}

/// Whether the container belongs to this very network: by id, or by name where it was never started.
fn is_attached(container: &ObservedContainer, network: &ObservedNetwork) -> bool {
    container.endpoints.iter().any(|endpoint| is_endpoint_of(endpoint, network) && !container.is_leftover(endpoint))
}

fn is_endpoint_of(endpoint: &crate::core::observed::ObservedEndpoint, network: &ObservedNetwork) -> bool {
    match &endpoint.network_id {
        Some(id) => *id == network.id,
        None => endpoint.network_name == network.name,
    }
}

/// Writes manifests for everything on the server that none declares.
pub fn scan(input: &ScanInput<'_>) -> Scanned {
    let mut names = names::Names::new(input.declared);
    let (server, declared_server) = match input.server {
        ScannedServer::Declared(server) => (server.key.clone(), Some(server)),
        ScannedServer::Undeclared { .. } => {
            let namespace = input.namespace.unwrap_or(crate::core::api::DEFAULT_NAMESPACE);
            (names.take(Kind::Server, namespace, &input.observed.engine.name, "server", &[]), None)
        }
    };
    let proxy = match declared_server.and_then(|server| server.proxy.as_ref()) {
        Some(Proxy { instance, proxy_type, .. }) => {
            Some(KnownProxy { instance: instance.clone(), proxy_type: *proxy_type, declared: true })
        }
        None => image::recognise_proxy(input.observed).map(|(instance, proxy_type)| KnownProxy {
            instance,
            proxy_type,
            declared: declared_server.is_none(),
        }),
    };
    let context = Context {
        state: input.observed,
        declared_server,
        set: input.set,
        proxy,
        namespace: input.namespace.unwrap_or(&server.namespace).to_owned(),
        server: server.clone(),
    };
    let mut scanned = Scanned { comments: Vec::new(), documents: Vec::new(), warnings: Vec::new() };
    if let ScannedServer::Undeclared { endpoint } = input.server {
        scanned.documents.push(server_document(&context, endpoint));
    }
    if declared_server.is_some_and(|server| server.role == ServerRole::Build) {
        scanned
            .warnings
            .push(format!("{server} is a build server and takes no destinations; nothing on it is declared."));
        return scanned;
    }
    let found = networks::destinations(&context, &mut names, &mut scanned.warnings);
    let members = members::members(&context, &found, &mut names);
    header(&context, &found, &mut scanned.comments);
    for Found { network, document } in found {
        scanned.documents.push(document);
        scanned
            .documents
            .extend(members.iter().filter(|member| member.home == network.id).map(|member| member.document.clone()));
    }
    scanned
}

fn header(context: &Context<'_>, found: &[Found<'_>], comments: &mut Vec<String>) {
    let path = context.server.path();
    if found.is_empty() {
        comments.push(format!("Every network on {path} that can be a destination is declared."));
    } else {
        comments.push(format!("Networks on {path} that no manifest declared, and who is on them."));
        comments.push("Landfall takes them over as they are: nothing is changed by applying this.".to_owned());
    }
    if let Some(proxy) = context.proxy.as_ref().filter(|proxy| !proxy.declared) {
        let field = match proxy.instance {
            ProxyInstance::Container(_) => "container",
            ProxyInstance::Service(_) => "service",
        };
        comments.push(format!(
            "{:?} looks like the reverse proxy of this server. To have it connected to destinations, add to the spec of {path}:",
            proxy.name()
        ));
        comments.push(format!("  proxy: {{ {field}: {}, type: {:?} }}", proxy.name(), proxy.proxy_type));
    }
}

fn server_document(context: &Context<'_>, endpoint: &str) -> Document {
    let mut comments = Vec::new();
    if let Some(proxy) = &context.proxy {
        comments.push(format!("{:?} looks like the reverse proxy; correct or remove it if it is not.", proxy.name()));
    }
    let spec = ServerSpec {
        endpoint: if endpoint.is_empty() { DEFAULT_ENDPOINT } else { endpoint }.to_owned(),
        ssh: None,
        tls: None,
        insecure: false,
        role: ServerRole::Deploy,
        proxy: context.proxy.as_ref().map(KnownProxy::spec),
        allowed_namespaces: Vec::new(),
        subnet_pool: None,
        reserved_ranges: Vec::new(),
        default_destination: None,
        suspend: false,
    };
    Document { comments, object: Object { metadata: metadata(&context.server), spec: Spec::Server(Box::new(spec)) } }
}

fn metadata(key: &ObjectKey) -> Metadata {
    Metadata {
        name: key.name.to_string(),
        namespace: key.namespace.to_string(),
        labels: std::collections::BTreeMap::new(),
        annotations: std::collections::BTreeMap::new(),
    }
}

/// A member and the network under which it is listed.
struct Member {
    home: NetworkId,
    document: Document,
}
