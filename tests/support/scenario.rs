//! Small worlds: one server as the manifests want it and as it is, written so that a test reads as a sentence.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall::core::api::{
    ContainerSelector, DeletionPolicy, DestinationType, Kind, Membership, ObjectKey, ProxyType, Replacement, ServerRole,
};
use landfall::core::desired::{
    DesiredDestination, DesiredEndpoint, DesiredMember, DesiredNetwork, DesiredServer, DesiredState, DesiredSubnet,
    Endpoint, Proxy, ProxyInstance,
};
use landfall::core::observed::{
    ContainerId, ContainerState, EndpointSettings, EngineInfo, Exit, Health, NetworkId, NetworkScope, Observations,
    ObservedContainer, ObservedEndpoint, ObservedNetwork, ObservedService, ObservedState, ObservedSubnet,
    ServiceAttachment, ServiceId, ServiceNetwork, SwarmState, Unobserved, UnobservedReason,
};
use landfall::core::plan::ownership::Mark;
use landfall::core::plan::{
    Call, DeleteMode, FreshId, FreshIds, Journal, JournalPurpose, Plan, PlanInput, Request, Reserved,
    UnreadableJournal, lint, ownership, plan,
};
use landfall::core::workload::HostPort;
use sha2::{Digest, Sha256};

use super::simulator;

/// 64 hexadecimal digits that depend on nothing but `seed`.
pub fn hex_id(seed: &str) -> String {
    Sha256::digest(seed).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `shop/web`, or `web` in the namespace `shop`, where most tests take place.
pub fn key(kind: Kind, path: &str) -> ObjectKey {
    let (namespace, name) = path.split_once('/').unwrap_or(("shop", path));
    ObjectKey::new(kind, namespace, name)
}

pub fn edge() -> ObjectKey {
    ObjectKey::new(Kind::Server, "default", "edge-1")
}

/// One server, `default/edge-1`, with the proxy `traefik`; its manifests and its Docker Engine.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub desired: DesiredState,
    pub observed: Observations,
    pub request: Request,
    pub journals: Vec<Journal>,
}

impl Scenario {
    /// A server that declares a proxy which is running, and nothing else.
    pub fn new() -> Self {
        Self::without_proxy().proxy("traefik").container(container("traefik").on("bridge"))
    }

    /// A server without a proxy, freshly installed.
    pub fn without_proxy() -> Self {
        let server = DesiredServer {
            key: edge(),
            endpoint: Endpoint::Unix { path: "/var/run/docker.sock".to_owned() },
            role: ServerRole::Deploy,
            proxy: None,
            suspend: false,
            pool: None,
            reserved: Vec::new(),
            destinations: Vec::new(),
        };
        let engine = EngineInfo {
            id: "ENGINE".to_owned(),
            name: "edge-1".to_owned(),
            version: "20.10.24".to_owned(),
            api_version: None,
            swarm: SwarmState::Inactive,
            address_pools: Vec::new(),
            addresses: Vec::new(),
        };
        let state = ObservedState {
            networks: vec![network("bridge").subnet("172.17.0.0/16").build("bridge")],
            ..ObservedState::of(engine)
        };
        Self {
            desired: DesiredState::new("default", BTreeMap::from([(edge(), Arc::new(server))])),
            observed: BTreeMap::from([(edge(), Ok(state))]),
            request: Request::default(),
            journals: Vec::new(),
        }
    }

    pub fn server(&mut self) -> &mut DesiredServer {
        Arc::make_mut(self.desired.servers.get_mut(&edge()).unwrap())
    }

    pub fn state(&mut self) -> &mut ObservedState {
        self.observed.get_mut(&edge()).unwrap().as_mut().unwrap()
    }

    pub fn proxy(mut self, name: &str) -> Self {
        self.server().proxy = Some(Proxy {
            run_by: None,
            instance: ProxyInstance::Container(name.to_owned()),
            proxy_type: ProxyType::Traefik,
            refresh: None,
        });
        self
    }

    pub fn destination(mut self, destination: DestinationBuilder) -> Self {
        self.server().destinations.push(destination.0);
        self.server().destinations.sort_by(|a, b| a.key.cmp(&b.key));
        self
    }

    /// Changes what is declared about a destination.
    pub fn redeclare(mut self, path: &str, change: impl FnOnce(DestinationBuilder) -> DestinationBuilder) -> Self {
        let wanted = key(Kind::Destination, path);
        let destinations = &mut self.server().destinations;
        let at = destinations.iter().position(|it| it.key == wanted).unwrap();
        let changed = change(DestinationBuilder(destinations.remove(at)));
        self.destination(changed)
    }

    /// Takes a destination out of the manifests.
    pub fn undeclare(mut self, path: &str) -> Self {
        let gone = key(Kind::Destination, path);
        self.server().destinations.retain(|it| it.key != gone);
        self
    }

    pub fn network(mut self, network: NetworkBuilder) -> Self {
        let seed = format!("{} {}", network.0.name, self.state().networks.len());
        let network = network.build(&seed);
        self.state().networks.push(network);
        self
    }

    /// Networks must be there before the containers that are on them.
    pub fn container(mut self, container: ContainerBuilder) -> Self {
        let container = container.build(self.state());
        self.state().containers.retain(|it| it.name != container.name);
        self.state().containers.push(container);
        self
    }

    /// The version of the server's engine.
    pub fn engine(mut self, version: &str) -> Self {
        version.clone_into(&mut self.state().engine.version);
        self
    }

    /// The only manager of a Swarm that has no other nodes.
    pub fn swarm_manager(self) -> Self {
        self.swarm_manager_of(1)
    }

    /// The manager `node1` of a Swarm that has so many nodes.
    pub fn swarm_manager_of(self, nodes: u64) -> Self {
        self.swarm_manager_named("node1", nodes)
    }

    pub fn swarm_manager_named(mut self, node: &str, nodes: u64) -> Self {
        self.state().engine.swarm = SwarmState::Manager {
            node_id: node.to_owned(),
            cluster_id: "cluster1".to_owned(),
            nodes: Some(nodes),
            managers: ["node1".to_owned(), node.to_owned()].into(),
        };
        self
    }

    /// A worker of the Swarm that `node1` manages.
    pub fn swarm_worker(mut self, node: &str) -> Self {
        self.state().engine.swarm = SwarmState::Worker {
            node_id: node.to_owned(),
            manager_addresses: vec!["10.0.0.1:2377".to_owned()],
            managers: ["node1".to_owned()].into(),
        };
        self
    }

    /// Declares a further server, `default/NAME`: the one of another scenario.
    pub fn and(mut self, name: &str, mut other: Scenario) -> Self {
        let key = ObjectKey::new(Kind::Server, "default", name);
        let mut server = other.desired.servers.remove(&edge()).unwrap();
        Arc::make_mut(&mut server).key = key.clone();
        self.desired.servers.insert(key.clone(), server);
        let mut observed = other.observed.remove(&edge()).unwrap();
        if let Ok(state) = &mut observed {
            name.clone_into(&mut state.engine.name);
            state.engine.id = name.to_uppercase();
        }
        self.observed.insert(key, observed);
        self
    }

    /// Only what is on these servers is planned for.
    pub fn only(mut self, name: &str) -> Self {
        self.desired.narrow(|key, _| key.name == name);
        self
    }

    pub fn service(mut self, name: &str, networks: &[&str], replicas: u64) -> Self {
        let ids = networks
            .iter()
            .map(|name| ServiceNetwork {
                target: self.state().networks.iter().find(|it| it.name == *name).unwrap().id.to_string(),
                attachment: ServiceAttachment::default(),
            })
            .collect();
        self.state().services.push(ObservedService {
            id: ServiceId::try_from(hex_id(&format!("service {name}"))[..25].to_owned()).unwrap(),
            name: name.to_owned(),
            labels: BTreeMap::new(),
            networks: ids,
            replicas: Some(replicas),
            rollout: None,
            rollout_started: None,
            has_previous: false,
            tasks: None,
            failure: None,
            parallelism: 1,
            round_robin: false,
            ports: Vec::new(),
            definition: None,
        });
        self
    }

    /// The server's proxy is the Swarm service of that name.
    pub fn proxy_service(mut self, name: &str) -> Self {
        self.server().proxy = Some(Proxy {
            run_by: None,
            instance: ProxyInstance::Service(name.to_owned()),
            proxy_type: ProxyType::Traefik,
            refresh: None,
        });
        self
    }

    /// How the latest service is on a network, marked by this set.
    pub fn put_there(mut self, network: &str, aliases: &[&str]) -> Self {
        let id = self.state().networks.iter().find(|it| it.name == network).unwrap().id.clone();
        let set = self.desired.set.clone();
        let service = self.state().services.last_mut().unwrap();
        let known = service.networks.iter_mut().find(|known| known.is(&id, network)).unwrap();
        known.attachment = ServiceAttachment {
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            driver_opts: BTreeMap::from([(ownership::SET.to_owned(), set)]),
        };
        self
    }

    /// The latest service is on a network for a resource.
    pub fn put_there_for(mut self, network: &str, purpose: &str) -> Self {
        self = self.put_there(network, &[]);
        let made_for = &[purpose.parse().unwrap()].into();
        let known = self.state().services.last_mut().unwrap().networks.last_mut().unwrap();
        Mark { set: "default", source: None, made_for, name: None }.write(&mut known.attachment.driver_opts);
        self
    }

    pub fn unreachable(mut self) -> Self {
        let unobserved = Unobserved {
            reason: UnobservedReason::ServerUnreachable,
            message: "It does not answer.".to_owned(),
            hint: Some("start it".to_owned()),
        };
        self.observed.insert(edge(), Err(unobserved));
        self
    }

    pub fn suspended(mut self) -> Self {
        self.server().suspend = true;
        self
    }

    pub fn set(mut self, set: &str) -> Self {
        self.desired.set = set.to_owned();
        self
    }

    pub fn source(mut self, source: &str) -> Self {
        self.desired.source = Some(source.to_owned());
        self
    }

    pub fn prune(mut self) -> Self {
        self.request.prune = true;
        self
    }

    /// The destination's policy was last known to be Orphan.
    pub fn remembered_orphan(mut self, path: &str) -> Self {
        Arc::make_mut(&mut self.request.protected).insert(key(Kind::Destination, path));
        self
    }

    pub fn allow_mass_delete(mut self) -> Self {
        self.request.allow_mass_delete = true;
        self
    }

    pub fn approve(mut self, fingerprint: &str) -> Self {
        self.request.approved.insert(fingerprint.to_owned());
        self
    }

    pub fn delete(mut self, kind: Kind, path: &str) -> Self {
        self.request.delete.insert(key(kind, path), DeleteMode::Guarded);
        self.request.only_delete = true;
        self
    }

    pub fn force_delete(mut self, path: &str) -> Self {
        self.request.delete.insert(key(Kind::Destination, path), DeleteMode::Forced);
        self.request.only_delete = true;
        self
    }

    /// An ordinary pass after a deletion.
    pub fn converge(mut self) -> Self {
        self.request = Request::default();
        self
    }

    pub fn journal(mut self, journal: Journal) -> Self {
        self.journals.push(journal);
        self
    }

    /// A journal that cannot be read; of which destination may not be known.
    pub fn unreadable_journal(mut self, destination: Option<&str>) -> Self {
        let destination = destination.map(|path| key(Kind::Destination, path));
        self.request
            .unreadable
            .push(UnreadableJournal { destination, message: "Reading x.json: not a journal".to_owned() });
        self
    }

    /// Removes a network behind everyone's back, as `docker network rm` does: containers keep its id.
    pub fn vanish(mut self, name: &str) -> Self {
        self.state().networks.retain(|it| it.name != name);
        self
    }

    pub fn plan(&self) -> Plan {
        let ids = self.desired.destinations().map(|(_, it)| (it.key.clone(), fresh(&it.key))).collect();
        self.plan_with(&FreshIds::new(ids))
    }

    pub fn plan_with(&self, ids: &FreshIds) -> Plan {
        let input = PlanInput {
            desired: &self.desired,
            observed: &self.observed,
            request: &self.request,
            ids,
            journals: &self.journals,
        };
        let planned = plan(&input);
        let violations = lint::lint(&input, &planned);
        assert!(violations.is_empty(), "the plan breaks rules: {violations:#?}\n{planned}");
        assert_eq!(planned, plan(&input), "the same input gives the same plan");
        planned
    }

    /// Executes the plan, journals included.
    pub fn apply(&mut self) -> Plan {
        let planned = self.plan();
        for server in &planned.servers {
            simulator::apply(&mut self.observed, server);
            let done: Vec<&Journal> =
                server.settled.iter().chain(server.groups.iter().flat_map(|group| &group.completes)).collect();
            self.journals.retain(|journal| !done.contains(&journal));
            let kept = server.groups.iter().filter_map(|group| group.journal.clone());
            self.journals.extend(kept.filter(|journal| journal.purpose == JournalPurpose::Deactivated));
        }
        planned
    }

    /// The plan reads as `literal`; after it is executed, planning again gives no operation.
    #[track_caller]
    pub fn expect(mut self, literal: &str) -> Self {
        let planned = self.apply();
        assert_same(&planned.to_string(), literal);
        self.settled();
        self
    }

    /// The plan reads as `literal`. Nothing is done.
    #[track_caller]
    pub fn expect_plan(&self, literal: &str) {
        assert_same(&self.plan().to_string(), literal);
    }

    /// The plan has no operations, and notes that read as `literal`.
    #[track_caller]
    pub fn expect_nothing_but(self, literal: &str) -> Self {
        assert_eq!(operations(&self.plan()), 0, "{}", self.plan());
        self.expect(literal)
    }

    /// There is nothing to do.
    #[track_caller]
    pub fn settled(&self) {
        let again = self.plan();
        assert_eq!(operations(&again), 0, "planning again gives\n{again}");
    }
}

pub fn operations(plan: &Plan) -> usize {
    plan.servers.iter().flat_map(|server| &server.groups).map(|group| group.operations.len()).sum()
}

/// How the plan connects a container, and what it keeps it off.
#[track_caller]
pub fn connection(plan: &Plan, name: &str) -> (EndpointSettings, Reserved) {
    let operations = plan.servers.iter().flat_map(|server| &server.groups).flat_map(|group| &group.operations);
    let mut connections = operations.filter_map(|operation| match &operation.call {
        Call::ConnectEndpoint { container, settings, reserved, .. } if container.name == name => {
            Some((settings.clone(), reserved.clone()))
        }
        _ => None,
    });
    connections.next_back().unwrap_or_else(|| panic!("{name} is not connected by\n{plan}"))
}

/// The settings with which the plan connects a container.
#[track_caller]
pub fn connected(plan: &Plan, name: &str) -> EndpointSettings {
    connection(plan, name).0
}

fn fresh(destination: &ObjectKey) -> FreshId {
    FreshId { uid: format!("fresh{}", destination.name), network_name: format!("generated-{}", destination.name) }
}

/// Compares texts whatever the indentation of the literal.
#[track_caller]
pub fn assert_same(actual: &str, literal: &str) {
    let indent =
        literal.lines().filter(|line| !line.trim().is_empty()).map(|line| line.len() - line.trim_start().len());
    let indent = indent.min().unwrap_or(0);
    let literal: String = literal
        .lines()
        .skip_while(|line| line.trim().is_empty())
        .map(|line| format!("{}\n", line.get(indent..).unwrap_or("")))
        .collect();
    assert_eq!(actual.trim_end(), literal.trim_end(), "\n--- actual\n{actual}");
}

/// A declared destination; `web` is in the namespace `shop`.
#[derive(Debug, Clone)]
pub struct DestinationBuilder(pub DesiredDestination);

pub fn destination(path: &str) -> DestinationBuilder {
    DestinationBuilder(DesiredDestination {
        key: key(Kind::Destination, path),
        display_name: None,
        network: DesiredNetwork {
            name: None,
            subnets: Vec::new(),
            auto: false,
            aux_addresses: BTreeMap::new(),
            internal: false,
            ipv4: true,
            ipv6: false,
            icc: true,
            mtu: None,
            encrypted: false,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        },
        asserted_type: None,
        proxy: true,
        active: true,
        adopt: false,
        create_if_missing: false,
        take_ownership: false,
        membership: Membership::Shared,
        replacement: Replacement::Never,
        deletion_policy: DeletionPolicy::Delete,
        suspend: false,
        members: Vec::new(),
    })
}

impl DestinationBuilder {
    pub fn named(mut self, network: &str) -> Self {
        self.0.network.name = Some(network.to_owned());
        self
    }

    pub fn subnet(mut self, subnet: &str) -> Self {
        self.0.network.subnets.push(DesiredSubnet { subnet: subnet.parse().unwrap(), gateway: None, ip_range: None });
        self
    }

    pub fn with(mut self, change: impl FnOnce(&mut DesiredDestination)) -> Self {
        change(&mut self.0);
        self
    }

    pub fn mtu(self, mtu: u32) -> Self {
        self.with(|it| it.network.mtu = Some(mtu))
    }

    pub fn replacement(self, replacement: Replacement) -> Self {
        self.with(|it| it.replacement = replacement)
    }

    pub fn exclusive(self) -> Self {
        self.with(|it| it.membership = Membership::Exclusive)
    }

    pub fn create_if_missing(self) -> Self {
        self.with(|it| it.create_if_missing = true)
    }

    pub fn take_ownership(self) -> Self {
        self.with(|it| it.take_ownership = true)
    }

    pub fn adopt(self) -> Self {
        self.with(|it| it.adopt = true)
    }

    pub fn suspended(self) -> Self {
        self.with(|it| it.suspend = true)
    }

    pub fn deactivated(self) -> Self {
        self.with(|it| it.active = false)
    }

    pub fn without_proxy(self) -> Self {
        self.with(|it| it.proxy = false)
    }

    pub fn orphan(self) -> Self {
        self.with(|it| it.deletion_policy = DeletionPolicy::Orphan)
    }

    pub fn asserting(self, asserted: DestinationType) -> Self {
        self.with(|it| it.asserted_type = Some(asserted))
    }

    pub fn member(mut self, member: MemberBuilder) -> Self {
        self.0.members.push(member.0);
        self.0.members.sort_by(|a, b| a.resource.cmp(&b.resource));
        self
    }
}

/// A declared resource; its containers are the one that is named like it, until something else is said.
#[derive(Debug, Clone)]
pub struct MemberBuilder(pub DesiredMember);

fn member(kind: Kind, path: &str) -> MemberBuilder {
    let resource = key(kind, path);
    let selector = ContainerSelector { names: vec![resource.name.to_string()], ..ContainerSelector::default() };
    MemberBuilder(DesiredMember {
        was: None,
        replaces: Vec::new(),
        backup: None,
        resource,
        selector,
        endpoint: DesiredEndpoint::default(),
        connect: true,
        start_after_repair: false,
        workload: None,
        stack: None,
    })
}

pub fn application(path: &str) -> MemberBuilder {
    member(Kind::Application, path)
}

pub fn database(path: &str) -> MemberBuilder {
    member(Kind::Database, path)
}

pub fn service(path: &str) -> MemberBuilder {
    member(Kind::Service, path)
}

impl MemberBuilder {
    pub fn containers(mut self, names: &[&str]) -> Self {
        self.0.selector.names = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    pub fn labelled(mut self, key: &str, value: &str) -> Self {
        self.0.selector.names.clear();
        self.0.selector.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn swarm_service(mut self, name: &str) -> Self {
        self.0.selector.names.clear();
        self.0.selector.swarm_services.push(name.to_owned());
        self
    }

    pub fn alias(mut self, alias: &str) -> Self {
        self.0.endpoint.aliases.push(alias.to_owned());
        self
    }

    pub fn address(mut self, address: &str) -> Self {
        self.0.endpoint.ipv4_address = Some(address.parse().unwrap());
        self
    }

    pub fn with(mut self, change: impl FnOnce(&mut DesiredEndpoint)) -> Self {
        change(&mut self.0.endpoint);
        self
    }

    pub fn start_after_repair(mut self) -> Self {
        self.0.start_after_repair = true;
        self
    }

    pub fn apart(mut self) -> Self {
        self.0.connect = false;
        self
    }
}

/// A network on the server.
#[derive(Debug, Clone)]
pub struct NetworkBuilder(ObservedNetwork);

pub fn network(name: &str) -> NetworkBuilder {
    NetworkBuilder(ObservedNetwork {
        id: NetworkId::try_from(hex_id("placeholder")).unwrap(),
        name: name.to_owned(),
        driver: "bridge".to_owned(),
        scope: NetworkScope::Local,
        internal: false,
        attachable: false,
        ingress: false,
        ipv4: true,
        ipv6: false,
        subnets: Vec::new(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        created: "2025-12-31T23:59:59Z".to_owned(),
    })
}

impl NetworkBuilder {
    pub fn build(mut self, seed: &str) -> ObservedNetwork {
        if self.0.id.as_str() == hex_id("placeholder") {
            let mut id = hex_id(seed);
            if self.0.scope == NetworkScope::Swarm {
                id.truncate(25);
            }
            self.0.id = NetworkId::try_from(id).unwrap();
        }
        self.0
    }

    pub fn id(mut self, id: &str) -> Self {
        self.0.id = NetworkId::try_from(id.to_owned()).unwrap();
        self
    }

    /// Created by the set `default` for the destination.
    pub fn of(self, path: &str) -> Self {
        self.of_set("default", path)
    }

    pub fn of_set(mut self, set: &str, path: &str) -> Self {
        let destination = key(Kind::Destination, path);
        let id = format!("uid{}", destination.name);
        self.0.labels.extend(ownership::labels(&id, set, &destination, &self.0.name, DeletionPolicy::Delete, None));
        self
    }

    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.0.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn labels_of(mut self, other: NetworkBuilder) -> Self {
        self.0.labels = other.0.labels;
        self
    }

    pub fn option(mut self, key: &str, value: &str) -> Self {
        self.0.options.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn subnet(mut self, subnet: &str) -> Self {
        self.0.subnets.push(ObservedSubnet { subnet: subnet.to_owned(), ..ObservedSubnet::default() });
        self
    }

    pub fn gateway(mut self, gateway: &str) -> Self {
        self.0.subnets.last_mut().unwrap().gateway = Some(gateway.to_owned());
        self
    }

    /// Given to nobody.
    pub fn aux(mut self, name: &str, address: &str) -> Self {
        let subnet = self.0.subnets.last_mut().unwrap();
        subnet.aux_addresses.insert(name.to_owned(), address.to_owned());
        self
    }

    pub fn ipv6(mut self) -> Self {
        self.0.ipv6 = true;
        self
    }

    pub fn without_ipv4(mut self) -> Self {
        self.0.ipv4 = false;
        self
    }

    pub fn internal(mut self) -> Self {
        self.0.internal = true;
        self
    }

    pub fn mtu(self, mtu: &str) -> Self {
        self.option("com.docker.network.driver.mtu", mtu)
    }

    /// As a manager lists an overlay that it has just made.
    pub fn unallocated(mut self) -> Self {
        self = self.overlay();
        self.0.driver.clear();
        self
    }

    pub fn not_attachable(mut self) -> Self {
        self.0.attachable = false;
        self
    }

    pub fn overlay(mut self) -> Self {
        self.0.driver = "overlay".to_owned();
        self.0.scope = NetworkScope::Swarm;
        self.0.attachable = true;
        self
    }
}

/// A container on the server, running unless something else is said.
#[derive(Debug, Clone)]
pub struct ContainerBuilder {
    container: ObservedContainer,
    attachments: Vec<Attachment>,
}

#[derive(Debug, Clone)]
struct Attachment {
    network: String,
    pinned: bool,
    address: String,
    priority: Option<i64>,
    settings: Option<EndpointSettings>,
}

pub fn container(name: &str) -> ContainerBuilder {
    ContainerBuilder {
        container: ObservedContainer {
            id: ContainerId::try_from(hex_id(&format!("container {name}"))).unwrap(),
            name: name.to_owned(),
            image: "app:1".to_owned(),
            state: ContainerState::Running,
            exit: None,
            health: None,
            up: None,
            restarts: 0,
            labels: BTreeMap::new(),
            network_mode: "default".to_owned(),
            ports: Vec::new(),
            endpoints: Vec::new(),
        },
        attachments: Vec::new(),
    }
}

impl ContainerBuilder {
    pub fn image(mut self, image: &str) -> Self {
        self.container.image = image.to_owned();
        self
    }

    pub fn state(mut self, state: ContainerState) -> Self {
        self.container.state = state;
        self
    }

    pub fn exited(self) -> Self {
        self.state(ContainerState::Exited)
    }

    /// Exited with a code, and with what the daemon says where a start failed.
    pub fn ended(mut self, code: i64, error: &str) -> Self {
        self.container.exit = Some(Exit { code, error: error.to_owned(), oom_killed: false });
        self.exited()
    }

    pub fn created(self) -> Self {
        self.state(ContainerState::Created)
    }

    pub fn health(mut self, health: Health) -> Self {
        self.container.health = Some(health);
        self
    }

    /// It was started so many seconds ago.
    pub fn up(mut self, seconds: u32) -> Self {
        self.container.up = Some(seconds);
        self
    }

    /// The daemon has restarted it so many times.
    pub fn restarts(mut self, restarts: u64) -> Self {
        self.container.restarts = restarts;
        self
    }

    /// As deploy tools do with the old container before they start the new one.
    pub fn renamed(mut self, name: &str) -> Self {
        name.clone_into(&mut self.container.name);
        self
    }

    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.container.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// It has the port of the server, on all addresses or on one: `8080`, `127.0.0.1:8080`.
    pub fn publishes(mut self, port: &str) -> Self {
        let (address, number) = match port.rsplit_once(':') {
            Some((address, number)) => (Some(address.parse().unwrap()), number),
            None => (None, port),
        };
        let port = HostPort { address, number: number.parse().unwrap(), protocol: "tcp".to_owned() };
        self.container.ports.push(port);
        self
    }

    pub fn network_mode(mut self, mode: &str) -> Self {
        self.container.network_mode = mode.to_owned();
        self
    }

    pub fn recreated(mut self) -> Self {
        self.container.id = ContainerId::try_from(hex_id(&format!("container {} again", self.container.name))).unwrap();
        self
    }

    /// Made on a network of that name, whether it is there still.
    pub fn made_on(mut self, network: &str) -> Self {
        self.container.network_mode = network.to_owned();
        self
    }

    pub fn on(mut self, network: &str) -> Self {
        self.attachments.push(Attachment {
            network: network.to_owned(),
            pinned: false,
            address: String::new(),
            priority: None,
            settings: Some(EndpointSettings::default()),
        });
        self
    }

    /// On a network of that name that has been removed since.
    pub fn pinned(self, network: &str) -> Self {
        let mut this = self.on(network);
        this.attachments.last_mut().unwrap().pinned = true;
        this
    }

    pub fn settings(mut self, change: impl FnOnce(&mut EndpointSettings)) -> Self {
        change(self.attachments.last_mut().unwrap().settings.as_mut().unwrap());
        self
    }

    pub fn alias(self, alias: &str) -> Self {
        self.settings(|it| it.aliases.push(alias.to_owned()))
    }

    /// Given by the daemon.
    pub fn address(mut self, address: &str) -> Self {
        self.attachments.last_mut().unwrap().address = address.to_owned();
        self
    }

    pub fn static_address(self, address: &str) -> Self {
        self.settings(|it| it.ipv4_address = Some(address.to_owned())).address(address)
    }

    pub fn mac(self, mac: &str) -> Self {
        self.settings(|it| it.mac_address = Some(mac.to_owned()))
    }

    /// Connected by the set `default`, before it wrote down what for.
    pub fn marked(self) -> Self {
        self.settings(|it| {
            it.driver_opts.insert(ownership::SET.to_owned(), "default".to_owned());
        })
    }

    /// Connected by the set `default` for a resource, such as `Application/shop/app`, or for `Proxy`, under its present name.
    pub fn made_for(self, purpose: &str) -> Self {
        let name = self.container.name.clone();
        self.made_for_as(purpose, &name)
    }

    /// The same, while the container had another name.
    pub fn made_for_as(self, purpose: &str, name: &str) -> Self {
        let made_for = &[purpose.parse().unwrap()].into();
        let mark = Mark { set: "default", source: None, made_for, name: Some(name) };
        self.settings(|it| mark.write(&mut it.driver_opts))
    }

    /// As the list of containers shows it.
    pub fn listed_priority(mut self, priority: i64) -> Self {
        self.attachments.last_mut().unwrap().priority = Some(priority);
        self
    }

    pub fn not_inspected(mut self) -> Self {
        self.attachments.last_mut().unwrap().settings = None;
        self
    }

    fn build(mut self, state: &ObservedState) -> ObservedContainer {
        let live = self.container.state.is_live();
        for attachment in self.attachments {
            let existing = state.networks.iter().find(|it| it.name == attachment.network).map(|it| it.id.clone());
            let removed = NetworkId::try_from(hex_id(&format!("removed {}", attachment.network))).unwrap();
            let network_id = match (attachment.pinned, self.container.state) {
                (true, _) => Some(removed),
                (false, ContainerState::Created) => None,
                (false, _) => Some(existing.unwrap_or_else(|| panic!("no network {}", attachment.network))),
            };
            let mut settings = attachment.settings;
            if let Some(settings) = &mut settings {
                settings.aliases.push(self.container.id.short().to_owned());
            }
            self.container.endpoints.push(ObservedEndpoint {
                network_name: attachment.network,
                network_id,
                endpoint_id: if live { hex_id("endpoint") } else { String::new() },
                ipv4_address: if live { attachment.address } else { String::new() },
                ipv6_address: String::new(),
                gw_priority: attachment.priority,
                settings,
            });
        }
        self.container.endpoints.sort_by(|a, b| a.network_name.cmp(&b.network_name));
        self.container
    }
}
