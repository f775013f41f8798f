//! What only several objects together, or the meaning of a field, can get wrong; and the desired state, once nothing is.

mod circles;
mod networks;
mod pools;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::check::quoted;
use super::suggest::did_you_mean;
use super::text::{Problem, Span, Text};
use super::tree::{self, Node, Step};
use super::{Loaded, Problems, check, endpoint, range, workload};
use crate::core::api::{
    ApplicationSpec, ContainerSelector, DatabaseSpec, DestinationSpec, DestinationType, EndpointSpec, Kind,
    NotifierSpec, NotifierType, Object, ObjectKey, ObjectRef, Placement, ProxySpec, ProxyType, ServerRole, ServerSpec,
    ServiceSpec, Spec, SubnetSpec,
};
use crate::core::backup::address::Address;
use crate::core::backup::policy::{Policy, Schedule, ScheduleError};
use crate::core::desired::{
    DesiredDestination, DesiredEndpoint, DesiredMember, DesiredNetwork, DesiredServer, DesiredSubnet, Proxy,
    ProxyInstance, is_host,
};
use crate::core::notice::{Notifier, check_template};
use crate::core::workload::Workload;
use crate::core::workload::stack::Stack;

/// Networks that Docker makes itself, and a name that it reads as one of them.
const PREDEFINED: [&str; 6] = ["bridge", "host", "none", "ingress", "docker_gwbridge", "default"];

/// Driver options that have a field of their own.
const OPTION_FIELDS: [(&str, &str); 3] = [
    ("com.docker.network.driver.mtu", "mtu"),
    ("com.docker.network.bridge.enable_icc", "icc"),
    ("encrypted", "encrypted"),
];

/// Labels that only Landfall sets.
const OWN_LABELS: &str = "landfall.";

/// Looking for what was meant compares with every name; after this many misses in one run it is not worth the time.
const SUGGESTIONS: usize = 100;

pub(super) fn resolve(
    loaded: &[Loaded],
    broken: &HashSet<ObjectKey>,
    texts: &[Option<Text<'_>>],
    problems: &mut Problems,
) -> BTreeMap<ObjectKey, Arc<DesiredServer>> {
    let mut resolver = Resolver {
        loaded,
        broken,
        texts,
        problems,
        index: HashMap::with_capacity(loaded.len()),
        servers: BTreeMap::new(),
        destinations: BTreeMap::new(),
        needs: BTreeMap::new(),
        suggestions: SUGGESTIONS,
        quiet: false,
        parsed: None,
    };
    let unique = resolver.unique();
    let of = |kind: Kind| {
        unique.iter().copied().filter(move |at| loaded.get(*at).is_some_and(|one| one.object.spec.kind() == kind))
    };
    for at in of(Kind::Server) {
        resolver.server(at);
    }
    for at in of(Kind::Destination) {
        resolver.destination(at);
    }
    resolver.network_names();
    resolver.bridge_names();
    resolver.subnet_overlaps();
    resolver.own_addresses();
    resolver.pools();
    for at in of(Kind::Server) {
        resolver.default_destination(at);
    }
    for at in unique.iter().copied() {
        resolver.resource(at);
    }
    resolver.claims();
    resolver.circles();
    for at in of(Kind::Notifier) {
        resolver.notifier(at);
    }
    resolver.finish()
}

pub(super) struct Resolver<'a> {
    loaded: &'a [Loaded],
    /// Objects that are declared, but whose documents could not be read as such.
    broken: &'a HashSet<ObjectKey>,
    texts: &'a [Option<Text<'a>>],
    problems: &'a mut Problems,
    /// Where in `loaded` an object is.
    index: HashMap<ObjectKey, usize>,
    servers: BTreeMap<ObjectKey, DesiredServer>,
    destinations: BTreeMap<ObjectKey, Placed>,
    /// What managed resources wait for, with its number in `dependsOn`.
    pub(super) needs: BTreeMap<ObjectKey, Vec<(usize, ObjectKey)>>,
    suggestions: usize,
    /// What is wrong is reported where it is.
    quiet: bool,
    /// The part of a source that was parsed again last, and its documents: a part of many tends to have many problems.
    parsed: Option<((usize, usize), Vec<Node>)>,
}

/// A destination whose server is known.
struct Placed {
    at: usize,
    server: ObjectKey,
    destination: DesiredDestination,
    /// Of its subnets, which of those in the manifest they are.
    numbers: Vec<usize>,
    /// They are all of them: with none is anything wrong.
    whole: bool,
    /// Static addresses, and which resource has them.
    addresses: HashMap<IpAddr, usize>,
}

impl Placed {
    /// With their numbers in the manifest.
    fn subnets(&self) -> impl Iterator<Item = (usize, &DesiredSubnet)> {
        self.numbers.iter().copied().zip(&self.destination.network.subnets)
    }
}

/// Who runs a resource.
enum Run {
    /// Something else; its containers are found by these criteria.
    Adopted(ContainerSelector),
    /// Landfall.
    Managed(Arc<Workload>),
    /// Landfall, by way of Docker Compose.
    Stack(Arc<Stack>),
}

pub(super) enum Reference {
    Found(ObjectKey),
    /// It is declared, and what is wrong with it has been reported there.
    Broken,
    Missing,
}

impl<'a> Resolver<'a> {
    pub(super) fn get(&self, at: usize) -> Option<&'a Loaded> {
        self.loaded.get(at)
    }

    pub(super) fn report(&mut self, at: usize, path: &[Step<'_>], problem: impl FnOnce(Span) -> Problem) {
        if let Some(loaded) = self.get(at).filter(|_| !self.quiet) {
            let span = self.locate(loaded, path, Node::locate);
            self.problems.error(loaded.source, problem(span));
        }
    }

    /// About the field rather than its value.
    pub(super) fn report_key(&mut self, at: usize, path: &[Step<'_>], problem: impl FnOnce(Span) -> Problem) {
        if let Some(loaded) = self.get(at).filter(|_| !self.quiet) {
            let span = self.locate(loaded, path, Node::locate_key);
            self.problems.error(loaded.source, problem(span));
        }
    }

    /// Where something is in the document of an object, for which the document is parsed again.
    fn locate<'p>(
        &mut self,
        loaded: &'a Loaded,
        path: &[Step<'p>],
        locate: impl Fn(&Node, &[Step<'p>]) -> Span,
    ) -> Span {
        if let Some(root) = &loaded.partial {
            return locate(root, path);
        }
        let text = self.texts.get(loaded.source).and_then(Option::as_ref);
        let (Some(text), false) = (text, self.problems.is_full()) else { return loaded.span };
        let at = (loaded.source, loaded.part.start);
        if self.parsed.as_ref().is_none_or(|(parsed, _)| *parsed != at) {
            let mut roots = Vec::new();
            tree::documents_of(text.content, &loaded.part, |_, root, _| {
                roots.extend(root.into_iter().flat_map(|root| check::documents(root, &mut Vec::new())));
            });
            self.parsed = Some((at, roots));
        }
        let mut roots = self.parsed.iter().flat_map(|(_, roots)| roots);
        roots.find(|root| root.span == loaded.span).map_or(loaded.span, |root| locate(root, path))
    }

    /// About something that is not there; it may have been among what was wrong with the document.
    pub(super) fn report_absent(&mut self, at: usize, path: &[Step<'_>], problem: impl FnOnce(Span) -> Problem) {
        if self.get(at).is_some_and(|loaded| loaded.partial.is_none()) {
            self.report_key(at, path, problem);
        }
    }

    /// Where in the documents an object is.
    pub(super) fn at(&self, key: &ObjectKey) -> Option<usize> {
        self.index.get(key).copied()
    }

    /// The file that an object is declared in, as messages name it.
    pub(super) fn source_name(&self, at: usize) -> &'a str {
        let text = self.get(at).and_then(|loaded| self.texts.get(loaded.source)?.as_ref());
        text.map_or("", |text| text.name)
    }

    /// Every managed resource: its server, itself, its destination and what it runs.
    pub(super) fn managed(&self) -> Vec<(ObjectKey, ObjectKey, ObjectKey, Arc<Workload>)> {
        let members = self.destinations.iter().flat_map(|(key, placed)| {
            placed.destination.members.iter().filter_map(move |member| {
                let workload = member.workload.clone()?;
                Some((placed.server.clone(), member.resource.clone(), key.clone(), workload))
            })
        });
        members.collect()
    }

    /// What managed resources were called before, by what they are called now.
    pub(super) fn former_names(&self) -> BTreeMap<ObjectKey, ObjectKey> {
        let members = self.destinations.values().flat_map(|placed| &placed.destination.members);
        members.filter_map(|member| Some((member.resource.clone(), member.was.clone()?))).collect()
    }

    /// Every stack that Landfall brings up: its server, the resource and the stack, once for each destination.
    pub(super) fn stacks(&self) -> Vec<(ObjectKey, ObjectKey, Arc<Stack>)> {
        let members = self.destinations.values().flat_map(|placed| {
            let stacks = placed.destination.members.iter();
            stacks.filter_map(|it| Some((placed.server.clone(), it.resource.clone(), it.stack.clone()?)))
        });
        members.collect()
    }

    /// Whether the resource is on several destinations of the server.
    pub(super) fn is_apart(&self, server: &ObjectKey, resource: &ObjectKey) -> bool {
        let on = self.destinations.values().filter(|placed| placed.server == *server);
        on.filter(|placed| placed.destination.members.iter().any(|member| member.resource == *resource)).count() > 1
    }

    /// Does something whose problems are reported elsewhere.
    pub(super) fn quietly<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.quiet, true);
        let result = act(self);
        self.quiet = before;
        result
    }

    /// `Destination/shop/web (web.yaml:3:1)`
    fn name(&self, at: usize) -> String {
        let Some(loaded) = self.get(at) else { return String::new() };
        match super::locate(self.texts, loaded.source, loaded.span) {
            Some(location) => format!("{} ({location})", loaded.object.key()),
            None => loaded.object.key().to_string(),
        }
    }

    /// The objects that are the first of their key.
    fn unique(&mut self) -> Vec<usize> {
        let mut unique = Vec::with_capacity(self.loaded.len());
        for (at, loaded) in self.loaded.iter().enumerate() {
            let key = loaded.object.key();
            match self.index.get(&key) {
                None => {
                    self.index.insert(key, at);
                    unique.push(at);
                }
                Some(first) => {
                    let first = self.name(*first);
                    self.report(at, &["metadata".into(), "name".into()], |span| {
                        Problem::new(span, format!("{key} is declared twice"))
                            .hint(format!("the other declaration is {first}"))
                    });
                }
            }
        }
        unique
    }

    // Servers

    fn server(&mut self, at: usize) {
        let Some(Loaded { object: object @ Object { spec: Spec::Server(spec), .. }, .. }) = self.get(at) else {
            return;
        };
        let (endpoint, mistakes) = endpoint::resolve(spec);
        for mistake in mistakes {
            let path: Vec<Step<'_>> = std::iter::once("spec").chain(mistake.field.split('.')).map(Step::Key).collect();
            let problem = |span| Problem::new(span, mistake.message).hint_if(mistake.hint.map(str::to_owned));
            if mistake.absent {
                self.report_absent(at, &path, problem);
            } else {
                self.report(at, &path, problem);
            }
        }
        let proxy = spec.proxy.as_ref().and_then(|proxy| self.proxy(at, proxy));
        let ServerSpec { role, suspend, .. } = &**spec;
        let pool = spec.subnet_pool.as_ref().and_then(|pool| self.subnet_pool(at, pool));
        let reserved = self.reserved(at, &spec.reserved_ranges);
        if let Some(endpoint) = endpoint {
            let key = object.key();
            let server = DesiredServer {
                key: key.clone(),
                endpoint,
                role: *role,
                proxy,
                suspend: *suspend,
                pool,
                reserved,
                destinations: Vec::new(),
            };
            self.servers.insert(key, server);
        }
    }

    fn proxy(&mut self, at: usize, proxy: &ProxySpec) -> Option<Proxy> {
        let ProxySpec { container, service, proxy_type, refresh } = proxy;
        let instance = match (container, service) {
            (Some(container), None) => ProxyInstance::Container(container.clone()),
            (None, Some(service)) => ProxyInstance::Service(service.clone()),
            (Some(_), Some(_)) => {
                self.report_key(at, &["spec".into(), "proxy".into(), "service".into()], |span| {
                    Problem::new(span, "a proxy is a `container` or a `service`, not both")
                });
                return None;
            }
            (None, None) => {
                self.report_absent(at, &["spec".into(), "proxy".into()], |span| {
                    Problem::new(span, "the proxy needs a `container` or a `service`")
                        .hint("without a proxy leave `proxy` out")
                });
                return None;
            }
        };
        Some(Proxy { instance, proxy_type: *proxy_type, refresh: *refresh, run_by: None })
    }

    // Notifiers

    fn notifier(&mut self, at: usize) {
        let Some(Loaded { object: object @ Object { spec: Spec::Notifier(spec), .. }, .. }) = self.get(at) else {
            return;
        };
        let NotifierSpec { notifier_type, url, url_file, url_env, template, content_type, events: _, namespaces: _ } =
            &**spec;
        let given = [("url", url), ("urlFile", url_file), ("urlEnv", url_env)];
        let given: Vec<&str> = given.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| *name).collect();
        match given.as_slice() {
            [_] => {}
            [] => self.report_absent(at, &["spec".into()], |span| {
                Problem::new(span, "the notifier has no address").hint("give it one of `url`, `urlFile` and `urlEnv`")
            }),
            [first, second, ..] => self.report_key(at, &["spec".into(), Step::Key(second)], |span| {
                Problem::new(span, format!("the address is given by `{first}` already"))
            }),
        }
        if *notifier_type != NotifierType::Webhook {
            let fields = [("template", template), ("contentType", content_type)];
            for (field, _) in fields.iter().filter(|(_, value)| value.is_some()) {
                self.report_key(at, &["spec".into(), Step::Key(field)], |span| {
                    Problem::new(span, format!("`{field}` is for `type: webhook`; the others have a form of their own"))
                });
            }
            return;
        }
        let notifier = Notifier { key: object.key(), spec: (**spec).clone() };
        if let (Some(_), Err(error)) = (template, check_template(&notifier)) {
            let line = error.line.map(|line| format!(", line {line}")).unwrap_or_default();
            self.report(at, &["spec".into(), "template".into()], |span| {
                Problem::new(span, format!("the template{line}: {}", error.message)).hint_if(error.hint)
            });
        }
    }

    // References

    fn may_use(&self, server: &ObjectKey, namespace: &str) -> bool {
        let loaded = self.index.get(server).and_then(|at| self.get(*at));
        match loaded.map(|loaded| &loaded.object.spec) {
            Some(Spec::Server(spec)) => {
                server.namespace == namespace
                    || spec.allowed_namespaces.iter().any(|name| name == "*" || name == namespace)
            }
            _ => false,
        }
    }

    /// Whether an object in `namespace` may refer to that one: a server that allows it, a destination on such a server.
    fn may_refer(&self, key: &ObjectKey, namespace: &str) -> bool {
        match key.kind {
            Kind::Server => self.may_use(key, namespace),
            _ if key.namespace == namespace => true,
            Kind::Destination => {
                let loaded = self.index.get(key).and_then(|at| self.get(*at));
                match loaded.map(|loaded| &loaded.object.spec) {
                    Some(Spec::Destination(spec)) => {
                        self.may_use(&spec.server.resolve(Kind::Server, &key.namespace), namespace)
                    }
                    _ => false,
                }
            }
            Kind::Application | Kind::Database | Kind::Service | Kind::Notifier => false,
        }
    }

    pub(super) fn reference(&mut self, at: usize, path: &[Step<'_>], reference: &ObjectRef, kind: Kind) -> Reference {
        let Some(from) = self.get(at) else { return Reference::Broken };
        let namespace = from.object.metadata.namespace.as_str();
        let key = reference.resolve(kind, namespace);
        let declared = self.index.contains_key(&key);
        if declared && self.may_refer(&key, namespace) {
            return Reference::Found(key);
        }
        // A document that is partly wrong may have said what is missed here. The other team's errors are among the same diagnostics.
        let partial = self.index.get(&key).and_then(|at| self.get(*at)).is_some_and(|loaded| loaded.partial.is_some());
        if partial || key.namespace == namespace && self.broken.contains(&key) {
            return Reference::Broken;
        }
        let noun = kind.as_str().to_lowercase();
        let suggestion = self.suggest(&key, namespace);
        if key.namespace == namespace {
            self.report(at, path, |span| {
                Problem::new(span, format!("there is no {noun} `{}` in namespace `{namespace}`", key.name))
                    .hint_if(suggestion)
            });
        } else {
            // Whether it exists is the other team's business: one sentence for both.
            let hint = match kind {
                Kind::Server => format!("its owner allows that with `allowedNamespaces: [{namespace}]`"),
                _ => format!("the owner of its server allows that with `allowedNamespaces: [{namespace}]`"),
            };
            self.report(at, path, |span| {
                Problem::new(span, format!("there is no {noun} `{}` that namespace `{namespace}` may use", key.path()))
                    .hint(suggestion.unwrap_or(hint))
            });
        }
        Reference::Missing
    }

    /// Whether it is a server on which nothing can be.
    fn is_for_builds(&self, key: &ObjectKey) -> bool {
        let loaded = self.index.get(key).and_then(|at| self.get(*at));
        matches!(loaded.map(|loaded| &loaded.object.spec), Some(Spec::Server(spec)) if spec.role == ServerRole::Build)
    }

    /// A name that was probably meant, of what may be referred to.
    fn suggest(&mut self, wanted: &ObjectKey, namespace: &str) -> Option<String> {
        self.suggestions = self.suggestions.checked_sub(1)?;
        let visible = self
            .index
            .keys()
            .filter(|key| key.kind == wanted.kind && self.may_refer(key, namespace) && !self.is_for_builds(key));
        let mut spelt: Vec<(String, &ObjectKey)> = visible
            .map(|key| (if key.namespace == namespace { key.name.to_string() } else { key.path() }, key))
            .collect();
        spelt.sort();
        if let Some((spelling, _)) = spelt.iter().find(|(_, key)| key.name == wanted.name) {
            return Some(format!("did you mean `{spelling}`?"));
        }
        let word = if wanted.namespace == namespace { wanted.name.to_string() } else { wanted.path() };
        did_you_mean(&word, spelt.iter().map(|(spelling, _)| spelling.as_str()))
    }

    // Destinations

    fn destination(&mut self, at: usize) {
        let Some(Loaded { object: object @ Object { spec: Spec::Destination(spec), .. }, .. }) = self.get(at) else {
            return;
        };
        let DestinationSpec {
            server,
            display_name,
            network,
            destination_type,
            proxy,
            active,
            adopt,
            create_if_missing,
            take_ownership,
            membership,
            replacement,
            deletion_policy,
            suspend,
        } = &**spec;
        let (numbers, subnets): (Vec<usize>, Vec<DesiredSubnet>) = network
            .subnets
            .listed()
            .iter()
            .enumerate()
            .filter_map(|(number, subnet)| Some((number, self.subnet(at, number, subnet, spec)?)))
            .unzip();
        let whole = subnets.len() == network.subnets.listed().len();
        let aux_addresses = self.aux_addresses(at, network, &subnets);
        self.network(at, spec);
        self.families(at, spec);
        self.bridge_options(at, spec);
        let server_path = ["spec".into(), "server".into()];
        let Reference::Found(server) = self.reference(at, &server_path, server, Kind::Server) else { return };
        let role = match self.index.get(&server).and_then(|at| self.get(*at)).map(|server| &server.object.spec) {
            Some(Spec::Server(spec)) => spec.role,
            _ => return,
        };
        if role == ServerRole::Build {
            self.report(at, &server_path, |span| {
                Problem::new(span, format!("server `{}` is a build server and takes no destinations", server.name))
                    .hint("its `role` would have to be Deploy")
            });
        }
        let key = object.key();
        let destination = DesiredDestination {
            key: key.clone(),
            display_name: display_name.clone(),
            network: DesiredNetwork {
                name: network.name.clone(),
                subnets,
                auto: network.subnets.is_auto(),
                aux_addresses,
                internal: network.internal,
                ipv4: network.ipv4,
                ipv6: network.ipv6,
                icc: network.icc,
                mtu: network.mtu,
                encrypted: network.encrypted,
                options: network.options.clone(),
                labels: network.labels.clone(),
            },
            asserted_type: *destination_type,
            proxy: *proxy,
            active: *active,
            adopt: *adopt,
            create_if_missing: *create_if_missing,
            take_ownership: *take_ownership,
            membership: *membership,
            replacement: *replacement,
            deletion_policy: *deletion_policy,
            suspend: *suspend,
            members: Vec::new(),
        };
        self.destinations.insert(key, Placed { at, server, destination, numbers, whole, addresses: HashMap::new() });
    }

    fn network(&mut self, at: usize, spec: &DestinationSpec) {
        const NETWORK: [Step<'_>; 2] = [Step::Key("spec"), Step::Key("network")];
        let network = &spec.network;
        if let Some(name) = &network.name
            && PREDEFINED.contains(&name.as_str())
        {
            self.report(at, &[NETWORK[0], NETWORK[1], "name".into()], |span| {
                Problem::new(
                    span,
                    format!("`{name}` is a network that Docker makes itself; it cannot be a destination"),
                )
                .hint("choose another name")
            });
        }
        if spec.adopt && network.name.is_none() {
            self.report_absent(at, &["spec".into(), "adopt".into()], |span| {
                Problem::new(span, "`adopt` needs `network.name`: the name of the network to take over")
            });
        }
        for (field, set) in [("createIfMissing", spec.create_if_missing), ("takeOwnership", spec.take_ownership)] {
            if set && !spec.adopt {
                self.report_key(at, &["spec".into(), field.into()], |span| {
                    Problem::new(
                        span,
                        format!("`{field}` says what to do with an adopted network, and `adopt` is not set"),
                    )
                    .hint(format!("set `adopt: true`, or remove `{field}`: a network of Landfall's own needs neither"))
                });
            }
        }
        if network.encrypted && spec.destination_type == Some(DestinationType::Standalone) {
            self.report(at, &[NETWORK[0], NETWORK[1], "encrypted".into()], |span| {
                Problem::new(span, "only the network of a swarm destination can be encrypted")
            });
        }
        for option in network.options.keys() {
            let field = OPTION_FIELDS.iter().find(|(name, _)| name == option);
            if let Some((_, field)) = field {
                self.report_key(at, &[NETWORK[0], NETWORK[1], "options".into(), option.as_str().into()], |span| {
                    Problem::new(span, format!("the option `{option}` has a field of its own"))
                        .hint(format!("use `network.{field}`"))
                });
            }
        }
        for label in network.labels.keys().filter(|label| label.starts_with(OWN_LABELS)) {
            self.report_key(at, &[NETWORK[0], NETWORK[1], "labels".into(), label.as_str().into()], |span| {
                Problem::new(span, format!("labels that begin with `{OWN_LABELS}` are Landfall's own"))
            });
        }
    }

    fn subnet(
        &mut self,
        at: usize,
        number: usize,
        spec: &SubnetSpec,
        destination: &DestinationSpec,
    ) -> Option<DesiredSubnet> {
        let path = |field| [Step::Key("spec"), "network".into(), "subnets".into(), number.into(), Step::Key(field)];
        let subnet = self.range(at, &path("subnet"), &spec.subnet);
        let ip_range = spec.ip_range.as_ref().map(|range| self.range(at, &path("ipRange"), range));
        let gateway = spec.gateway.as_ref().map(|gateway| self.address(at, &path("gateway"), gateway));
        let subnet = subnet?;
        // An adopted network is there already, and its containers with it.
        if let Some(why) = range::unusable(&subnet).filter(|_| !destination.adopt) {
            self.report(at, &path("subnet"), |span| Problem::new(span, why));
            return None;
        }
        if matches!(subnet, IpNet::V6(_)) && !destination.network.ipv6 {
            self.report(at, &path("subnet"), |span| Problem::new(span, "an IPv6 subnet needs `network.ipv6: true`"));
        }
        if matches!(subnet, IpNet::V4(_)) && !destination.network.ipv4 {
            self.report(at, &path("subnet"), |span| Problem::new(span, "an IPv4 subnet needs a network with IPv4"));
        }
        if let Some(Some(gateway)) = gateway
            && !subnet.contains(&gateway)
        {
            self.report(at, &path("gateway"), |span| Problem::new(span, format!("{gateway} is not within {subnet}")));
        } else if let Some(Some(gateway)) = gateway
            && !is_host(&subnet, gateway)
        {
            self.report(at, &path("gateway"), |span| {
                Problem::new(span, format!("{gateway} is an address of the range {subnet} as a whole"))
            });
        }
        if let Some(Some(range)) = ip_range
            && !subnet.contains(&range)
        {
            self.report(at, &path("ipRange"), |span| Problem::new(span, format!("{range} is not within {subnet}")));
        }
        Some(DesiredSubnet { subnet, gateway: gateway.flatten(), ip_range: ip_range.flatten() })
    }

    pub(super) fn range(&mut self, at: usize, path: &[Step<'_>], text: &str) -> Option<IpNet> {
        if self.has_leading_zeros(at, path, text) {
            return None;
        }
        let Ok(range) = text.parse::<IpNet>() else {
            self.report(at, path, |span| {
                Problem::new(span, format!("{} is not an address range in CIDR notation", quoted(text)))
                    .hint("such as 10.42.0.0/24")
            });
            return None;
        };
        if range != range.trunc() {
            self.report(at, path, |span| {
                Problem::new(span, format!("{range} is an address within a range, not a range"))
                    .hint(format!("the range is {}", range.trunc()))
            });
        }
        Some(range.trunc())
    }

    fn has_leading_zeros(&mut self, at: usize, path: &[Step<'_>], text: &str) -> bool {
        let misspelt = range::leading_zeros(text);
        misspelt.is_some_and(|range::Misspelt { message, hint }| {
            self.report(at, path, |span| Problem::new(span, message).hint(hint));
            true
        })
    }

    pub(super) fn address(&mut self, at: usize, path: &[Step<'_>], text: &str) -> Option<IpAddr> {
        if self.has_leading_zeros(at, path, text) {
            return None;
        }
        let address = text.parse().ok();
        if address.is_none() {
            self.report(at, path, |span| {
                Problem::new(span, format!("{} is not an IP address", quoted(text))).hint_if(
                    text.split_once('/')
                        .filter(|(address, _)| address.parse::<IpAddr>().is_ok())
                        .map(|(address, _)| format!("write {address}, without the prefix length")),
                )
            });
        }
        address
    }

    fn network_names(&mut self) {
        let mut taken: HashMap<(&ObjectKey, &str), usize> = HashMap::new();
        let mut found = Vec::new();
        // In the order of the documents, so that the later one is complained about.
        let mut placed: Vec<&Placed> = self.destinations.values().collect();
        placed.sort_by_key(|placed| placed.at);
        for placed in placed {
            let Some(name) = &placed.destination.network.name else { continue };
            match taken.get(&(&placed.server, name.as_str())) {
                None => {
                    taken.insert((&placed.server, name), placed.at);
                }
                Some(first) => found.push((placed.at, *first, name.clone(), placed.server.name.clone())),
            }
        }
        for (at, first, name, server) in found {
            let first = self.name(first);
            self.report(at, &["spec".into(), "network".into(), "name".into()], |span| {
                Problem::new(span, format!("Network already added to this server: `{name}` on `{server}`"))
                    .hint(format!("it is the network of {first}"))
            });
        }
    }

    /// A network of which the server's own address is one takes the server away from whoever reaches it there.
    fn own_addresses(&mut self) {
        let mut found = Vec::new();
        for placed in self.destinations.values().filter(|placed| !placed.destination.adopt) {
            let Some(address) = self.servers.get(&placed.server).and_then(range::literal_address) else { continue };
            for (number, subnet) in placed.subnets() {
                if subnet.subnet.contains(&address) {
                    found.push((placed.at, number, subnet.subnet, address, placed.server.path()));
                }
            }
        }
        for (at, number, subnet, address, server) in found {
            self.report(at, &subnet_path(number), |span| {
                Problem::new(
                    span,
                    format!(
                        "{subnet} contains {address}, the address by which server `{server}` is reached (SubnetOverlap)"
                    ),
                )
                .hint("the server would be lost with the network; choose a range that is nowhere else in use")
            });
        }
    }

    fn subnet_overlaps(&mut self) {
        // By server and first address, wider ranges first: what overlaps then overlaps the range that reaches furthest so far.
        let mut ranges: Vec<Range<'_>> = Vec::new();
        for placed in self.destinations.values() {
            for (number, subnet) in placed.subnets() {
                let range = subnet.subnet;
                ranges.push((&placed.server, range.network(), range.broadcast(), range, placed.at, number));
            }
        }
        for (range, at, number, other, owner) in overlapping(ranges) {
            let hint = if owner == at {
                "both are of this destination".to_owned()
            } else {
                format!("{other} is of {}", self.name(owner))
            };
            self.report(at, &subnet_path(number), |span| {
                Problem::new(span, format!("{range} overlaps {other} on the same server")).hint(hint)
            });
        }
        self.swarm_overlaps();
    }

    // Resources

    fn resource(&mut self, at: usize) {
        let Some(loaded) = self.get(at) else { return };
        let static_address = loaded
            .object
            .spec
            .placement()
            .and_then(|placement| placement.endpoint)
            .is_some_and(|endpoint| endpoint.ipv4_address.is_some() || endpoint.ipv6_address.is_some());
        let run = match &loaded.object.spec {
            Spec::Server(_) | Spec::Destination(_) | Spec::Notifier(_) => {
                self.predecessors(at, loaded, false);
                return;
            }
            Spec::Application(spec) => self.application(at, spec, static_address),
            Spec::Database(spec) => self.database(at, spec),
            Spec::Service(spec) => self.service(at, spec),
        };
        let Some(placement) = loaded.object.spec.placement() else { return };
        let start_after_repair = match &loaded.object.spec {
            Spec::Application(spec) => spec.start_after_repair,
            Spec::Database(spec) => spec.start_after_repair,
            Spec::Service(spec) => spec.start_after_repair,
            Spec::Server(_) | Spec::Destination(_) | Spec::Notifier(_) => false,
        };
        let backup = self.backup(at, &loaded.object.spec);
        let (was, replaces) = self.predecessors(at, loaded, matches!(run, Some(Run::Managed(_))));
        let mut endpoint = placement.endpoint.map(|endpoint| self.endpoint(at, endpoint)).unwrap_or_default();
        let name = &loaded.object.metadata.name;
        if matches!(run, Some(Run::Managed(_))) && !endpoint.aliases.contains(name) {
            endpoint.aliases.insert(0, name.clone());
        }
        if placement.endpoint.is_some() && !placement.connect {
            self.report_key(at, &["spec".into(), "endpoint".into()], |span| {
                Problem::new(span, "`endpoint` needs `connectToDestination: true`: the stack keeps to its own network")
            });
        }
        let Some((first, destination)) = self.home(at, &placement) else { return };
        let further = placement.additional.iter().enumerate().map(|(number, reference)| {
            (vec![Step::Key("spec"), "additionalDestinations".into(), number.into()], reference)
        });
        let mut named: HashSet<ObjectKey> = HashSet::new();
        for (path, reference) in std::iter::once((first, &destination)).chain(further) {
            let Reference::Found(key) = self.reference(at, &path, reference, Kind::Destination) else { continue };
            if !named.insert(key.clone()) {
                self.report(at, &path, |span| {
                    Problem::new(span, format!("destination `{}` is named twice", reference.0))
                });
                continue;
            }
            self.static_addresses(at, &key, &endpoint);
            if let (Some(placed), Some(run)) = (self.destinations.get_mut(&key), &run) {
                let (selector, workload, stack) = match run {
                    Run::Adopted(selector) => (selector.clone(), None, None),
                    Run::Managed(run) => (workload::selector(&loaded.object.key(), &key), Some(Arc::clone(run)), None),
                    Run::Stack(stack) => {
                        let project = Some(stack.project.clone());
                        let own = workload::selector(&loaded.object.key(), &key);
                        (ContainerSelector { compose_project: project, ..own }, None, Some(Arc::clone(stack)))
                    }
                };
                // Most have one, and a vector that grows begins with room for four.
                if placed.destination.members.is_empty() {
                    placed.destination.members.reserve_exact(1);
                }
                placed.destination.members.push(DesiredMember {
                    resource: loaded.object.key(),
                    selector,
                    endpoint: endpoint.clone(),
                    connect: placement.connect,
                    start_after_repair,
                    workload,
                    was: was.clone(),
                    replaces: replaces.clone(),
                    backup: backup.clone(),
                    stack,
                });
            }
        }
    }

    /// A place for archives that there can be, and a schedule that can be read, in a time zone that there is.
    fn backup(&mut self, at: usize, spec: &Spec) -> Option<Arc<Policy>> {
        let (backup, engine) = match spec {
            Spec::Application(spec) => (spec.backup.as_deref(), None),
            Spec::Database(spec) => (spec.backup.as_ref(), spec.engine),
            Spec::Service(spec) => (spec.backup.as_ref(), None),
            Spec::Server(_) | Spec::Destination(_) | Spec::Notifier(_) => (None, None),
        };
        let backup = backup?;
        if let Err(problem) = Address::parse(&backup.to) {
            self.report(at, &["spec".into(), "backup".into(), "to".into()], |span| Problem::new(span, problem));
        }
        let is_read = backup.schedule.as_deref().map(|pattern| Schedule::parse(pattern, backup.time_zone.as_deref()));
        match is_read {
            Some(Err(error @ ScheduleError::Pattern(..))) => {
                self.report(at, &["spec".into(), "backup".into(), "schedule".into()], |span| {
                    Problem::new(span, error.to_string())
                        .hint("five fields as for cron: `15 3 * * *` is every night at 3:15")
                });
            }
            Some(Err(error @ ScheduleError::Zone(_))) => {
                self.report(at, &["spec".into(), "backup".into(), "timeZone".into()], |span| {
                    Problem::new(span, error.to_string()).hint("as the IANA database names it, such as Europe/Berlin")
                });
            }
            _ => {}
        }
        Some(Arc::new(Policy { spec: backup.clone(), engine }))
    }

    /// The destination that a resource is deployed to, and the field that says so.
    fn home(&mut self, at: usize, placement: &Placement<'_>) -> Option<(Vec<Step<'static>>, ObjectRef)> {
        let path = |field| vec![Step::Key("spec"), Step::Key(field)];
        let reference = match (placement.destination, placement.server) {
            (Some(destination), None) => return Some((path("destination"), destination.clone())),
            (None, Some(server)) => server,
            (Some(_), Some(_)) => {
                self.report_key(at, &path("server"), |span| {
                    Problem::new(span, "a resource names a `destination` or a `server`, not both")
                        .hint("with `server` it goes to the server's `defaultDestination`")
                });
                return None;
            }
            (None, None) => {
                self.report_absent(at, &path("destination"), |span| {
                    Problem::new(span, "`destination` is missing")
                        .hint("name one, or a `server` for the destination that is its default")
                });
                return None;
            }
        };
        let Reference::Found(key) = self.reference(at, &path("server"), reference, Kind::Server) else { return None };
        let server = self.at(&key).and_then(|at| self.get(at))?;
        let Spec::Server(spec) = &server.object.spec else { return None };
        let Some(default) = &spec.default_destination else {
            self.report(at, &path("server"), |span| {
                Problem::new(span, format!("server `{}` has no `defaultDestination`", reference.0))
                    .hint("name a `destination`, or give the server a default")
            });
            return None;
        };
        Some((path("server"), ObjectRef(default.resolve(Kind::Destination, &key.namespace).path())))
    }

    /// The proxy that an application with `role: Proxy` is to be: its name and what it is.
    pub(super) fn proxy_of(&mut self, at: usize, spec: &ApplicationSpec) -> Option<(String, ProxyType)> {
        let key = self.get(at)?.object.key();
        let placement = self.get(at)?.object.spec.placement()?;
        let found = self.quietly(|resolver| {
            let (path, reference) = resolver.home(at, &placement)?;
            Some(resolver.reference(at, &path, &reference, Kind::Destination))
        });
        let Some(Reference::Found(destination)) = found else { return None };
        let server = self.destinations.get(&destination)?.server.clone();
        let declared = self.servers.get(&server)?.proxy.clone();
        let problem = match &declared {
            Some(Proxy { run_by: Some(other), .. }) => {
                Some((format!("{other} is the proxy of {server} already"), "a server has one proxy"))
            }
            Some(Proxy { instance: ProxyInstance::Service(name), .. }) => Some((
                format!("the proxy of {server} is the Swarm service `{name}`"),
                "take out `spec.proxy` of the Server, or `role`",
            )),
            Some(Proxy { instance: ProxyInstance::Container(name), .. })
                if spec.container_name.as_ref().is_some_and(|own| own != name) =>
            {
                Some((
                    format!("the proxy of {server} is the container `{name}`"),
                    "give both the same name, or leave out `containerName`",
                ))
            }
            Some(Proxy { proxy_type: ProxyType::Nginx | ProxyType::Other, .. }) if spec.image.is_none() => Some((
                format!("the proxy of {server} is neither Traefik nor Caddy, and needs an `image`"),
                "give the `image` and what it needs",
            )),
            _ => None,
        };
        if let Some((message, hint)) = problem {
            self.report(at, &["spec".into(), "role".into()], |span| Problem::new(span, message).hint(hint));
            return None;
        }
        let is_caddy = spec.image.as_ref().is_some_and(|image| image.contains("caddy"));
        let (name, proxy_type, refresh) = match declared {
            Some(Proxy { instance, proxy_type, refresh, .. }) => (instance.name().to_owned(), proxy_type, refresh),
            None => {
                let name = spec.container_name.clone().unwrap_or_else(|| format!("{}-{}", key.namespace, key.name));
                (name, if is_caddy { ProxyType::Caddy } else { ProxyType::Traefik }, None)
            }
        };
        let instance = ProxyInstance::Container(name.clone());
        self.servers.get_mut(&server)?.proxy = Some(Proxy { instance, proxy_type, refresh, run_by: Some(key) });
        Some((name, proxy_type))
    }

    fn application(&mut self, at: usize, spec: &ApplicationSpec, static_address: bool) -> Option<Run> {
        let as_proxy = self.as_proxy(at, spec);
        let filled = as_proxy.as_ref().unwrap_or(spec);
        let ApplicationSpec {
            destination: _,
            server: _,
            additional_destinations: _,
            containers,
            endpoint: _,
            start_after_repair: _,
            backup: _,
            role,
            image,
            pull_policy,
            command,
            entrypoint,
            working_dir,
            user,
            hostname,
            init,
            stop_signal,
            stop_grace_period_seconds,
            env,
            files,
            ports,
            volumes,
            restart,
            healthcheck,
            replicas,
            resources,
            read_only_root_filesystem,
            tmpfs,
            cap_add,
            cap_drop,
            extra_hosts,
            labels,
            logging,
            domains,
            port,
            rollout,
            hooks,
            depends_on,
            container_name,
        } = spec;
        let managed = [
            ("image", image.is_some() || (role.is_some() && containers.is_none())),
            ("role", role.is_some()),
            ("pullPolicy", pull_policy.is_some()),
            ("command", !command.is_empty()),
            ("entrypoint", !entrypoint.is_empty()),
            ("workingDir", working_dir.is_some()),
            ("user", user.is_some()),
            ("hostname", hostname.is_some()),
            ("init", init.is_some()),
            ("stopSignal", stop_signal.is_some()),
            ("stopGracePeriodSeconds", stop_grace_period_seconds.is_some()),
            ("env", !env.is_empty()),
            ("files", !files.is_empty()),
            ("ports", !ports.is_empty()),
            ("volumes", !volumes.is_empty()),
            ("restart", restart.is_some()),
            ("healthcheck", healthcheck.is_some()),
            ("replicas", replicas.is_some()),
            ("resources", resources.is_some()),
            ("readOnlyRootFilesystem", *read_only_root_filesystem),
            ("tmpfs", !tmpfs.is_empty()),
            ("capAdd", !cap_add.is_empty()),
            ("capDrop", !cap_drop.is_empty()),
            ("extraHosts", !extra_hosts.is_empty()),
            ("labels", !labels.is_empty()),
            ("logging", logging.is_some()),
            ("domains", !domains.is_empty()),
            ("port", port.is_some()),
            ("rollout", rollout.is_some()),
            ("hooks", hooks.is_some()),
            ("dependsOn", !depends_on.is_empty()),
            ("containerName", container_name.is_some()),
        ];
        let workload = self.application_workload(at, filled, static_address);
        self.adopted_or_managed(at, "application", containers.as_ref(), "image", &managed, workload)
    }

    fn database(&mut self, at: usize, spec: &DatabaseSpec) -> Option<Run> {
        let DatabaseSpec {
            destination: _,
            server: _,
            additional_destinations,
            containers,
            endpoint: _,
            start_after_repair: _,
            backup: _,
            engine,
            version,
            storage,
            credentials,
            image,
            resources,
            host_port,
            args,
            config,
            stop_grace_period_seconds,
        } = spec;
        // Of an adopted database the engine and its version are worth knowing, and nothing else.
        let informative = containers.is_some();
        let managed = [
            ("engine", engine.is_some() && !informative),
            ("version", version.is_some() && !informative),
            ("storage", storage.is_some()),
            ("credentials", credentials.is_some()),
            ("image", image.is_some()),
            ("resources", resources.is_some()),
            ("hostPort", host_port.is_some()),
            ("args", !args.is_empty()),
            ("config", config.is_some()),
            ("stopGracePeriodSeconds", stop_grace_period_seconds.is_some()),
        ];
        let workload = if informative { None } else { self.database_workload(at, spec) };
        if let Some(credentials) = credentials.as_ref().filter(|_| informative || engine.is_none()) {
            self.password(at, &credentials.password);
        }
        if workload.is_some() && !additional_destinations.is_empty() {
            self.report_key(at, &["spec".into(), "additionalDestinations".into()], |span| {
                Problem::new(span, "a managed database is on one destination: two servers cannot share its data")
            });
        }
        self.adopted_or_managed(at, "database", containers.as_ref(), "engine", &managed, workload)
    }

    fn service(&mut self, at: usize, spec: &ServiceSpec) -> Option<Run> {
        let ServiceSpec {
            destination: _,
            server: _,
            additional_destinations: _,
            containers,
            endpoint,
            start_after_repair: _,
            backup: _,
            compose,
            connect_to_destination: _,
            domains,
            target_ports,
        } = spec;
        let managed = compose.as_ref().filter(|compose| compose.file.is_some());
        let given = [("domains", !domains.is_empty()), ("targetPorts", !target_ports.is_empty())];
        for (field, _) in given.iter().filter(|(_, given)| *given && managed.is_none()) {
            self.report_key(at, &["spec".into(), (*field).into()], |span| {
                Problem::new(span, format!("`{field}` is for a managed service, which needs `compose.file`"))
            });
        }
        let Some(compose) = compose else {
            return self.adopted_or_managed(at, "service", containers.as_ref(), "compose", &[], None);
        };
        let of_managed = [
            ("envFile", compose.env_file.is_some()),
            ("takeOwnership", compose.take_ownership),
            ("healthTimeoutSeconds", compose.health_timeout_seconds.is_some()),
        ];
        for (field, _) in of_managed.iter().filter(|(_, given)| *given && managed.is_none()) {
            self.report_key(at, &["spec".into(), "compose".into(), (*field).into()], |span| {
                Problem::new(span, format!("`{field}` is for a managed service, which needs `compose.file`"))
            });
        }
        if let Some(compose) = managed {
            if containers.is_some() {
                self.report_key(at, &["spec".into(), "compose".into(), "file".into()], |span| {
                    Problem::new(
                        span,
                        "`compose.file` is for a managed service, but `containers` says that something else runs it",
                    )
                });
                return None;
            }
            for field in ["ipv4Address", "ipv6Address", "macAddress"] {
                let given = endpoint.as_ref().is_some_and(|endpoint| match field {
                    "ipv4Address" => endpoint.ipv4_address.is_some(),
                    "ipv6Address" => endpoint.ipv6_address.is_some(),
                    _ => endpoint.mac_address.is_some(),
                });
                if given {
                    self.report_key(at, &["spec".into(), "endpoint".into(), field.into()], |span| {
                        Problem::new(span, "one address cannot be had by all containers of a stack")
                    });
                }
            }
            return self.stack(at, spec, compose).map(Run::Stack);
        }
        let project = Some(compose.project.clone());
        let Some(containers) = containers else {
            return Some(Run::Adopted(ContainerSelector { compose_project: project, ..ContainerSelector::default() }));
        };
        if containers.compose_project.is_some() && containers.compose_project != project {
            self.report(at, &["spec".into(), "containers".into(), "composeProject".into()], |span| {
                Problem::new(span, format!("`compose.project` says {}", quoted(&compose.project)))
                    .hint("one of them is enough")
            });
        }
        let selector = ContainerSelector { compose_project: project, ..containers.clone() };
        self.selector(at, &selector);
        Some(Run::Adopted(selector))
    }

    /// `managed`: the fields that only a managed resource has, and whether they are given; `essential`: what makes it managed.
    fn adopted_or_managed(
        &mut self,
        at: usize,
        noun: &str,
        containers: Option<&ContainerSelector>,
        essential: &str,
        managed: &[(&str, bool)],
        workload: Option<Arc<Workload>>,
    ) -> Option<Run> {
        let Some(selector) = containers else {
            let first = managed.iter().find(|(_, given)| *given);
            if managed.iter().any(|(field, given)| *given && *field == essential) {
                return workload.map(Run::Managed);
            } else if let Some((field, _)) = first {
                self.report_absent(at, &["spec".into(), (*field).into()], |span| {
                    Problem::new(span, format!("`{field}` is for a managed {noun}, which needs `{essential}`"))
                        .hint(format!("without `{essential}` the {noun} is adopted and needs `containers`"))
                });
            } else {
                let article = if noun == "application" { "an" } else { "a" };
                self.report_absent(at, &["spec".into()], |span| {
                    Problem::new(
                        span,
                        format!("{article} {noun} needs `containers` (something else runs it) or `{essential}`"),
                    )
                });
            }
            return None;
        };
        for (field, _) in managed.iter().filter(|(_, given)| *given) {
            self.report_key(at, &["spec".into(), (*field).into()], |span| {
                Problem::new(
                    span,
                    format!("`{field}` is for a managed {noun}, but `containers` says that something else runs it"),
                )
                .hint(format!("take out `{field}`, or `containers`"))
            });
        }
        self.selector(at, selector);
        Some(Run::Adopted(selector.clone()))
    }

    fn selector(&mut self, at: usize, selector: &ContainerSelector) {
        let path = [Step::Key("spec"), "containers".into()];
        let ContainerSelector { names, labels, compose_project, compose_service, swarm_services } = selector;
        if names.is_empty()
            && labels.is_empty()
            && compose_project.is_none()
            && compose_service.is_none()
            && swarm_services.is_empty()
        {
            self.report_absent(at, &path, |span| {
                Problem::new(span, "`containers` needs at least one criterion: it would choose every container")
                    .hint("one of `names`, `labels`, `composeProject` and `swarmServices`")
            });
        }
        if compose_service.is_some() && compose_project.is_none() {
            self.report_absent(at, &[path[0], path[1], "composeService".into()], |span| {
                Problem::new(
                    span,
                    "`composeService` needs `composeProject`: other projects may have a service of that name",
                )
            });
        }
    }

    pub(super) fn exactly_one(&mut self, at: usize, path: &[Step<'_>], fields: [&str; 2], given: [bool; 2]) {
        let problem = |span| Problem::new(span, format!("give one of `{}` and `{}`", fields[0], fields[1]));
        match given {
            [true, true] => self.report(at, path, problem),
            [false, false] => self.report_absent(at, path, problem),
            _ => {}
        }
    }

    fn endpoint(&mut self, at: usize, spec: &EndpointSpec) -> DesiredEndpoint {
        let path = |field| [Step::Key("spec"), "endpoint".into(), Step::Key(field)];
        let EndpointSpec { aliases, ipv4_address, ipv6_address, mac_address, gw_priority, driver_opts } = spec;
        for (number, alias) in aliases.iter().enumerate() {
            if aliases.iter().take(number).any(|earlier| earlier == alias) {
                self.report(at, &["spec".into(), "endpoint".into(), "aliases".into(), number.into()], |span| {
                    Problem::new(span, format!("the alias `{alias}` is given twice"))
                });
            }
        }
        let mut address = |field, text: &Option<String>| self.address(at, &path(field), text.as_ref()?);
        let v4 = address("ipv4Address", ipv4_address);
        let v6 = address("ipv6Address", ipv6_address);
        if let Some(IpAddr::V6(address)) = v4 {
            self.report(at, &path("ipv4Address"), |span| {
                Problem::new(span, format!("{address} is an IPv6 address")).hint("use `ipv6Address`")
            });
        }
        if let Some(IpAddr::V4(address)) = v6 {
            self.report(at, &path("ipv6Address"), |span| {
                Problem::new(span, format!("{address} is an IPv4 address")).hint("use `ipv4Address`")
            });
        }
        if mac_address.as_deref().is_some_and(|mac| !is_of_one_host(mac)) {
            self.report(at, &path("macAddress"), |span| {
                Problem::new(span, "the MAC address is of a group of hosts, or of none")
                    .hint("one of one's own begins with 02, 06, 0a or 0e")
            });
        }
        for (option, value) in driver_opts {
            let path = ["spec".into(), "endpoint".into(), "driverOpts".into(), option.as_str().into()];
            if option == networks::INTERFACE
                && let Some(why) = networks::not_an_interface(value, networks::INTERFACE_NAME)
            {
                self.report(at, &path, |span| Problem::new(span, why));
            }
            let message = if option.starts_with(OWN_LABELS) {
                format!("options that begin with `{OWN_LABELS}` are Landfall's own")
            } else if option.is_empty() || option.contains(',') || option.contains(char::is_whitespace) {
                format!("{} cannot be the name of an option", quoted(option))
            } else {
                continue;
            };
            self.report_key(at, &path, |span| Problem::new(span, message));
        }
        DesiredEndpoint {
            aliases: aliases.clone(),
            ipv4_address: v4.and_then(|address| if let IpAddr::V4(address) = address { Some(address) } else { None }),
            ipv6_address: v6.and_then(|address| if let IpAddr::V6(address) = address { Some(address) } else { None }),
            mac_address: mac_address.as_ref().map(|mac| mac.to_lowercase()),
            gw_priority: *gw_priority,
            driver_opts: driver_opts.clone(),
        }
    }

    fn static_addresses(&mut self, at: usize, key: &ObjectKey, endpoint: &DesiredEndpoint) {
        let v4 = endpoint.ipv4_address.map(|address| ("ipv4Address", IpAddr::V4(address)));
        let v6 = endpoint.ipv6_address.map(|address| ("ipv6Address", IpAddr::V6(address)));
        for (field, address) in v4.into_iter().chain(v6) {
            let Some(placed) = self.destinations.get(key) else { return };
            let partial = self.get(placed.at).is_some_and(|loaded| loaded.partial.is_some());
            let subnets = &placed.destination.network.subnets;
            let family: Vec<&DesiredSubnet> =
                subnets.iter().filter(|subnet| subnet.subnet.addr().is_ipv4() == address.is_ipv4()).collect();
            let within = family.iter().find(|subnet| subnet.subnet.contains(&address));
            let destination = key.path();
            let network = &placed.destination.network;
            let (name, has) = if address.is_ipv4() { ("IPv4", network.ipv4) } else { ("IPv6", network.ipv6) };
            let aux = network.aux_addresses.iter().find(|(_, aux)| **aux == address);
            let problem = match within {
                None if !has && !partial && !placed.destination.adopt => {
                    Some(format!("the network of destination `{destination}` has no {name}"))
                }
                // Whether an address of a range that Docker chooses can be asked for is up to the daemon.
                None if family.is_empty() => None,
                // What is wrong with the subnets has been said.
                None if !placed.whole => None,
                None => {
                    let subnets: Vec<String> = family.iter().map(|subnet| subnet.subnet.to_string()).collect();
                    Some(format!("{address} is not within {} of destination `{destination}`", subnets.join(", ")))
                }
                Some(_) if aux.is_some() => {
                    let name = aux.map(|(name, _)| name.as_str()).unwrap_or_default();
                    Some(format!("{address} is `auxAddresses.{name}` of destination `{destination}`"))
                }
                Some(subnet) if subnet.gateway == Some(address) => {
                    Some(format!("{address} is the gateway of destination `{destination}`"))
                }
                Some(subnet) if !is_host(&subnet.subnet, address) => {
                    Some(format!("{address} is an address of the range {} as a whole", subnet.subnet))
                }
                Some(subnet) if subnet.gateway.is_none() && subnet.implied_gateway() == address => Some(format!(
                    "{address} is the address that Docker gives the gateway of destination `{destination}`"
                )),
                Some(_) => None,
            };
            let taken = placed.addresses.get(&address).copied();
            if let Some(message) = problem {
                self.report(at, &["spec".into(), "endpoint".into(), field.into()], |span| Problem::new(span, message));
            } else if let Some(other) = taken {
                let hint = format!("it is the address of {}", self.name(other));
                self.report(at, &["spec".into(), "endpoint".into(), field.into()], |span| {
                    Problem::new(span, format!("{address} is taken on destination `{destination}`")).hint(hint)
                });
            } else if let Some(placed) = self.destinations.get_mut(key) {
                placed.addresses.insert(address, at);
            }
        }
    }

    fn finish(self) -> BTreeMap<ObjectKey, Arc<DesiredServer>> {
        let mut servers = self.servers;
        for placed in self.destinations.into_values() {
            let mut destination = placed.destination;
            destination.members.sort_by(|a, b| a.resource.cmp(&b.resource));
            destination.members.shrink_to_fit();
            if let Some(server) = servers.get_mut(&placed.server) {
                server.destinations.push(destination);
            }
        }
        servers.values_mut().for_each(|server| server.destinations.shrink_to_fit());
        servers.into_iter().map(|(key, server)| (key, Arc::new(server))).collect()
    }
}

/// Not multicast, and not all zero.
fn is_of_one_host(mac: &str) -> bool {
    let first = mac.get(..2).and_then(|octet| u8::from_str_radix(octet, 16).ok());
    first.is_some_and(|first| first & 1 == 0) && mac.chars().any(|digit| !matches!(digit, '0' | ':'))
}

fn subnet_path(number: usize) -> [Step<'static>; 5] {
    [Step::Key("spec"), "network".into(), "subnets".into(), number.into(), "subnet".into()]
}

/// A range with its group, its first and last address, its object and its number there.
type Range<'a> = (&'a ObjectKey, IpAddr, IpAddr, IpNet, usize, usize);

/// Of each two of a group that overlap, the later one and what it overlaps.
fn overlapping(mut ranges: Vec<Range<'_>>) -> Vec<(IpNet, usize, usize, IpNet, usize)> {
    ranges.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(b.2.cmp(&a.2)).then((a.4, a.5).cmp(&(b.4, b.5))));
    let mut found = Vec::new();
    let mut widest: Option<Range<'_>> = None;
    for range in ranges {
        match widest {
            Some(other) if other.0 == range.0 && other.2 >= range.1 && other.1.is_ipv4() == range.1.is_ipv4() => {
                let (later, earlier) =
                    if (range.4, range.5) > (other.4, other.5) { (range, other) } else { (other, range) };
                found.push((later.3, later.4, later.5, earlier.3, earlier.4));
                if range.2 > other.2 {
                    widest = Some(range);
                }
            }
            _ => widest = Some(range),
        }
    }
    found
}
