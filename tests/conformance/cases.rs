//! One sentence about engines each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use landfall::core::api::RestartPolicy;
use landfall::core::observed::{
    ContainerId, ContainerState, EndpointSettings, NetworkId, NetworkScope, ObservedContainer, ObservedEndpoint,
    ObservedNetwork, ObservedSubnet, ServiceAttachment, ServiceId,
};
use landfall::core::plan::NetworkCreate;
use landfall::core::workload::identity::Applied;
use landfall::core::workload::service::{Node, SecretFile, ServiceCreate};
use landfall::core::workload::{ContainerTemplate, Healthcheck, Logging, Mount, MountSource, Order, Resources, Value};
use landfall::shell::engine::{ContainerDetail, EngineErrorKind, ServiceNetworkUpdate, ServiceUpdate, Writer};

use super::{ContainerSpec, Subject};

fn bridge(name: &str) -> NetworkCreate {
    NetworkCreate {
        replaces: Vec::new(),
        beside: Vec::new(),
        generated: false,
        name: name.to_owned(),
        driver: "bridge".to_owned(),
        attachable: false,
        internal: false,
        ipv4: true,
        ipv6: false,
        subnets: Vec::new(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
    }
}

fn bridge_with_subnet(name: &str, subnet: &str) -> NetworkCreate {
    let subnets = vec![ObservedSubnet { subnet: subnet.to_owned(), ..ObservedSubnet::default() }];
    NetworkCreate { subnets, ..bridge(name) }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn aliases(aliases: &[&str]) -> EndpointSettings {
    let aliases = aliases.iter().map(|&alias| alias.to_owned()).collect();
    EndpointSettings { aliases, ..EndpointSettings::default() }
}

fn put<'a>(
    id: &'a NetworkId,
    name: &'a str,
    attachment: Option<&'a ServiceAttachment>,
) -> [ServiceNetworkUpdate<'a>; 1] {
    [ServiceNetworkUpdate { id, name, attachment }]
}

async fn network(engine: &dyn Writer, id: &NetworkId) -> ObservedNetwork {
    let networks = engine.networks().await.unwrap();
    networks.into_iter().find(|network| network.id == *id).expect("the network is listed")
}

async fn listed(engine: &dyn Writer, id: &ContainerId) -> ObservedContainer {
    let containers = engine.containers().await.unwrap();
    containers.into_iter().find(|container| container.id == *id).expect("the container is listed")
}

async fn inspected(engine: &dyn Writer, id: &ContainerId) -> ContainerDetail {
    engine.container(id).await.unwrap().expect("the container is there")
}

/// The endpoint on the network of that name, with its settings.
async fn endpoint(engine: &dyn Writer, id: &ContainerId, network_name: &str) -> Option<ObservedEndpoint> {
    let endpoints = inspected(engine, id).await.container.endpoints;
    endpoints.into_iter().find(|endpoint| endpoint.network_name == network_name)
}

async fn settings(engine: &dyn Writer, id: &ContainerId, network_name: &str) -> EndpointSettings {
    let endpoint = endpoint(engine, id, network_name).await.expect("the container is on the network");
    let settings = endpoint.settings.expect("inspection shows the settings");
    // Engines before API 1.45 add the container's short id.
    let aliases = settings.aliases.into_iter().filter(|alias| alias != id.short()).collect();
    EndpointSettings { aliases, ..settings }
}

fn kind<T: std::fmt::Debug>(result: Result<T, landfall::shell::engine::EngineError>) -> EngineErrorKind {
    result.expect_err("it is refused").kind
}

pub(crate) async fn a_created_network_is_listed_as_it_was_asked_for(subject: &impl Subject) {
    let engine = subject.engine();
    let wanted = NetworkCreate {
        internal: true,
        subnets: vec![ObservedSubnet {
            subnet: "10.42.0.0/24".to_owned(),
            gateway: Some("10.42.0.1".to_owned()),
            ip_range: Some("10.42.0.128/25".to_owned()),
            aux_addresses: map(&[("router", "10.42.0.5")]),
        }],
        options: map(&[("com.docker.network.driver.mtu", "1450")]),
        labels: map(&[("landfall.set", "default"), ("team", "shop")]),
        ..bridge("web-net")
    };
    let id = engine.create_network(&wanted).await.unwrap();
    let seen = network(engine, &id).await;
    assert_eq!((seen.name.as_str(), seen.driver.as_str(), seen.scope), ("web-net", "bridge", NetworkScope::Local));
    assert_eq!((seen.internal, seen.attachable, seen.ipv6, seen.ingress), (true, false, false, false));
    assert_eq!(seen.subnets, wanted.subnets);
    assert_eq!(seen.options, wanted.options);
    assert_eq!(seen.labels, wanted.labels);
}

pub(crate) async fn a_network_without_a_subnet_gets_one(subject: &impl Subject) {
    let engine = subject.engine();
    let id = engine.create_network(&bridge("web-net")).await.unwrap();
    let seen = network(engine, &id).await;
    assert_eq!(seen.subnets.len(), 1);
    assert!(seen.subnets[0].gateway.is_some());
}

pub(crate) async fn names_are_not_unique(subject: &impl Subject) {
    let engine = subject.engine();
    let first = engine.create_network(&bridge("web-net")).await.unwrap();
    match engine.create_network(&bridge("web-net")).await {
        Ok(second) => {
            assert_ne!(first, second);
            // Each is still reached by its id.
            engine.remove_network(&second).await.unwrap();
        }
        Err(error) => assert_eq!(error.kind, EngineErrorKind::NameTaken),
    }
    network(engine, &first).await;
}

pub(crate) async fn an_overlapping_subnet_is_refused(subject: &impl Subject) {
    let engine = subject.engine();
    engine.create_network(&bridge_with_subnet("one", "10.42.0.0/24")).await.unwrap();
    let two = engine.create_network(&bridge_with_subnet("two", "10.42.0.128/25")).await;
    assert_eq!(kind(two), EngineErrorKind::SubnetOverlap);
}

pub(crate) async fn predefined_networks_are_there_and_cannot_be_removed(subject: &impl Subject) {
    let engine = subject.engine();
    let networks = engine.networks().await.unwrap();
    for name in ["bridge", "host", "none"] {
        let network = networks.iter().find(|network| network.name == name).expect("predefined networks are listed");
        assert_eq!(kind(engine.remove_network(&network.id).await), EngineErrorKind::Forbidden, "{name}");
    }
    assert_eq!(kind(engine.create_network(&bridge("bridge")).await), EngineErrorKind::Forbidden);
}

pub(crate) async fn a_removed_network_is_gone_and_not_found_again(subject: &impl Subject) {
    let engine = subject.engine();
    let id = engine.create_network(&bridge("web-net")).await.unwrap();
    engine.remove_network(&id).await.unwrap();
    assert!(engine.networks().await.unwrap().iter().all(|network| network.id != id));
    assert_eq!(kind(engine.remove_network(&id).await), EngineErrorKind::NotFound);
}

pub(crate) async fn a_running_container_keeps_a_network_in_use(subject: &impl Subject) {
    let engine = subject.engine();
    let id = engine.create_network(&bridge("web-net")).await.unwrap();
    let container = subject.add_container(&ContainerSpec::new("app", ContainerState::Running).network("web-net"));
    assert_eq!(kind(engine.remove_network(&id).await), EngineErrorKind::NetworkInUse);
    subject.remove_container(&container);
    engine.remove_network(&id).await.unwrap();
}

pub(crate) async fn a_stopped_container_does_not_and_is_pinned_to_what_was_removed(subject: &impl Subject) {
    let engine = subject.engine();
    let id = engine.create_network(&bridge("web-net")).await.unwrap();
    let container = subject.add_container(&ContainerSpec::new("app", ContainerState::Exited).network("web-net"));
    engine.remove_network(&id).await.unwrap();
    let endpoints = listed(engine, &container).await.endpoints;
    assert_eq!(endpoints.len(), 1);
    assert_eq!((endpoints[0].network_name.as_str(), &endpoints[0].network_id), ("web-net", &Some(id)));
}

pub(crate) async fn a_pinned_container_does_not_start_until_it_is_reconnected(subject: &impl Subject) {
    let engine = subject.engine();
    let old = engine.create_network(&bridge("web-net")).await.unwrap();
    let wanted = aliases(&["app"]);
    let spec = ContainerSpec::new("app", ContainerState::Exited).network_with("web-net", wanted.clone());
    let container = subject.add_container(&spec);
    engine.remove_network(&old).await.unwrap();
    let new = engine.create_network(&bridge("web-net")).await.unwrap();
    // Not even a network of the same name helps.
    assert_eq!(kind(engine.start_container(&container).await), EngineErrorKind::Other);
    engine.disconnect(&new, &container, true).await.unwrap();
    engine.connect(&new, &container, &wanted).await.unwrap();
    engine.start_container(&container).await.unwrap();
    let endpoint = endpoint(engine, &container, "web-net").await.expect("it is on the network");
    assert_eq!(endpoint.network_id, Some(new));
}

pub(crate) async fn a_created_container_is_on_a_network_by_name(subject: &impl Subject) {
    let engine = subject.engine();
    engine.create_network(&bridge("web-net")).await.unwrap();
    let spec = ContainerSpec::new("app", ContainerState::Created).network_with("web-net", aliases(&["web"]));
    let container = subject.add_container(&spec);
    let seen = listed(engine, &container).await;
    assert_eq!(seen.state, ContainerState::Created);
    assert_eq!(seen.endpoints.len(), 1);
    let endpoint = &seen.endpoints[0];
    assert_eq!((endpoint.network_name.as_str(), endpoint.endpoint_id.as_str()), ("web-net", ""));
    assert_eq!(endpoint.network_id, None);
    assert_eq!(settings(engine, &container, "web-net").await.aliases, ["web"]);
}

pub(crate) async fn a_live_container_has_an_address_and_a_stopped_one_has_none(subject: &impl Subject) {
    let engine = subject.engine();
    let id = engine.create_network(&bridge_with_subnet("web-net", "10.42.0.0/24")).await.unwrap();
    for (name, state) in [("running", ContainerState::Running), ("paused", ContainerState::Paused)] {
        let container = subject.add_container(&ContainerSpec::new(name, state).network("web-net"));
        let seen = listed(engine, &container).await;
        assert_eq!(seen.state, state);
        assert_eq!(seen.endpoints[0].network_id, Some(id.clone()));
        assert!(seen.endpoints[0].ipv4_address.starts_with("10.42.0."), "{seen:?}");
        assert_ne!(seen.endpoints[0].endpoint_id, "");
    }
    let container = subject.add_container(&ContainerSpec::new("exited", ContainerState::Exited).network("web-net"));
    let mut seen = listed(engine, &container).await;
    // The list of Docker 26 says "running" for some milliseconds more.
    let deadline = Instant::now() + Duration::from_secs(5);
    while seen.state != ContainerState::Exited && Instant::now() < deadline {
        seen = listed(engine, &container).await;
    }
    assert_eq!(seen.state, ContainerState::Exited);
    assert_eq!((seen.endpoints[0].ipv4_address.as_str(), seen.endpoints[0].endpoint_id.as_str()), ("", ""));
}

pub(crate) async fn settings_are_kept_and_shown_by_inspection_alone(subject: &impl Subject) {
    let engine = subject.engine();
    let id = engine.create_network(&bridge_with_subnet("web-net", "10.42.0.0/24")).await.unwrap();
    let container = subject.add_container(&ContainerSpec::new("app", ContainerState::Running));
    let wanted = EndpointSettings {
        aliases: vec!["app".to_owned(), "web".to_owned()],
        ipv4_address: Some("10.42.0.10".to_owned()),
        driver_opts: map(&[("landfall.set", "default")]),
        ..EndpointSettings::default()
    };
    engine.connect(&id, &container, &wanted).await.unwrap();
    let seen = settings(engine, &container, "web-net").await;
    // A live endpoint has a MAC address, and newer engines a priority, whether asked for or not.
    assert_eq!(EndpointSettings { mac_address: None, gw_priority: None, ..seen }, wanted);
    let listed = listed(engine, &container).await;
    let names: Vec<&str> = listed.endpoints.iter().map(|endpoint| endpoint.network_name.as_str()).collect();
    assert_eq!(names, ["bridge", "web-net"]);
    assert!(listed.endpoints.iter().all(|endpoint| endpoint.settings.is_none()));
    assert_eq!(listed.endpoints[1].ipv4_address, "10.42.0.10");
}

pub(crate) async fn connecting_a_stopped_container_keeps_the_settings_until_it_starts(subject: &impl Subject) {
    let engine = subject.engine();
    let id = engine.create_network(&bridge_with_subnet("web-net", "10.42.0.0/24")).await.unwrap();
    let container = subject.add_container(&ContainerSpec::new("app", ContainerState::Exited));
    let wanted = EndpointSettings {
        aliases: vec!["web".to_owned()],
        ipv4_address: Some("10.42.0.10".to_owned()),
        driver_opts: map(&[("landfall.set", "default")]),
        ..EndpointSettings::default()
    };
    engine.connect(&id, &container, &wanted).await.unwrap();
    let before = endpoint(engine, &container, "web-net").await.expect("it is on the network");
    assert_eq!((before.endpoint_id.as_str(), before.ipv4_address.as_str()), ("", ""));
    engine.start_container(&container).await.unwrap();
    let after = endpoint(engine, &container, "web-net").await.expect("it is on the network");
    assert_eq!((after.ipv4_address.as_str(), after.network_id), ("10.42.0.10", Some(id)));
    let seen = settings(engine, &container, "web-net").await;
    assert_eq!(EndpointSettings { mac_address: None, gw_priority: None, ..seen }, wanted);
}

pub(crate) async fn connecting_twice_is_refused(subject: &impl Subject) {
    let engine = subject.engine();
    let id = engine.create_network(&bridge("web-net")).await.unwrap();
    let container = subject.add_container(&ContainerSpec::new("app", ContainerState::Running).network("web-net"));
    let again = engine.connect(&id, &container, &EndpointSettings::default()).await;
    assert_eq!(kind(again), EngineErrorKind::AlreadyConnected);
}

pub(crate) async fn disconnecting_twice_is_refused(subject: &impl Subject) {
    let engine = subject.engine();
    let id = engine.create_network(&bridge("web-net")).await.unwrap();
    for (name, state) in [("running", ContainerState::Running), ("exited", ContainerState::Exited)] {
        let container = subject.add_container(&ContainerSpec::new(name, state).network("web-net"));
        engine.disconnect(&id, &container, false).await.unwrap();
        assert!(listed(engine, &container).await.endpoints.is_empty());
        let again = engine.disconnect(&id, &container, false).await;
        assert_eq!(kind(again), EngineErrorKind::NotConnected, "{name}");
    }
}

pub(crate) async fn nothing_is_connected_to_what_is_missing(subject: &impl Subject) {
    let engine = subject.engine();
    let id = engine.create_network(&bridge("web-net")).await.unwrap();
    let container = subject.add_container(&ContainerSpec::new("app", ContainerState::Running));
    let nobody = ContainerId::try_from("0".repeat(64)).unwrap();
    let settings = EndpointSettings::default();
    assert_eq!(kind(engine.connect(&id, &nobody, &settings).await), EngineErrorKind::NotFound);
    assert_eq!(kind(engine.disconnect(&id, &nobody, false).await), EngineErrorKind::NotFound);
    engine.remove_network(&id).await.unwrap();
    assert_eq!(kind(engine.connect(&id, &container, &settings).await), EngineErrorKind::NotFound);
    assert_eq!(kind(engine.disconnect(&id, &container, false).await), EngineErrorKind::NotFound);
}

pub(crate) async fn a_static_address_needs_a_subnet_of_ones_own(subject: &impl Subject) {
    let engine = subject.engine();
    let automatic = engine.create_network(&bridge("automatic")).await.unwrap();
    let container = subject.add_container(&ContainerSpec::new("app", ContainerState::Running));
    let subnet = network(engine, &automatic).await.subnets.remove(0).subnet;
    let address = format!("{}.14", subnet.rsplit_once('.').unwrap().0);
    let settings = EndpointSettings { ipv4_address: Some(address), ..EndpointSettings::default() };
    let refused = engine.connect(&automatic, &container, &settings).await;
    assert_eq!(kind(refused), EngineErrorKind::AddressUnavailable);
}

pub(crate) async fn a_static_address_is_given_once(subject: &impl Subject) {
    let engine = subject.engine();
    let id = engine.create_network(&bridge_with_subnet("web-net", "10.42.0.0/24")).await.unwrap();
    let one = subject.add_container(&ContainerSpec::new("one", ContainerState::Running));
    let two = subject.add_container(&ContainerSpec::new("two", ContainerState::Running));
    let settings = EndpointSettings { ipv4_address: Some("10.42.0.10".to_owned()), ..EndpointSettings::default() };
    engine.connect(&id, &one, &settings).await.unwrap();
    assert_eq!(kind(engine.connect(&id, &two, &settings).await), EngineErrorKind::AddressTaken);
    assert_eq!(listed(engine, &two).await.endpoints.len(), 1);
}

pub(crate) async fn a_container_on_the_hosts_network_stays_there(subject: &impl Subject) {
    let engine = subject.engine();
    let id = engine.create_network(&bridge("web-net")).await.unwrap();
    let spec =
        ContainerSpec { network_mode: Some("host".to_owned()), ..ContainerSpec::new("app", ContainerState::Running) };
    let container = subject.add_container(&spec);
    assert_eq!(listed(engine, &container).await.network_mode, "host");
    let refused = engine.connect(&id, &container, &EndpointSettings::default()).await;
    assert_eq!(kind(refused), EngineErrorKind::Forbidden);
}

pub(crate) async fn starting_and_stopping_twice_is_no_error(subject: &impl Subject) {
    let engine = subject.engine();
    let container = subject.add_container(&ContainerSpec::new("app", ContainerState::Created));
    engine.start_container(&container).await.unwrap();
    engine.start_container(&container).await.unwrap();
    assert_eq!(listed(engine, &container).await.state, ContainerState::Running);
    engine.stop_container(&container).await.unwrap();
    engine.stop_container(&container).await.unwrap();
    assert_eq!(listed(engine, &container).await.state, ContainerState::Exited);
    subject.remove_container(&container);
    assert_eq!(kind(engine.start_container(&container).await), EngineErrorKind::NotFound);
    assert_eq!(kind(engine.stop_container(&container).await), EngineErrorKind::NotFound);
}

pub(crate) async fn a_missing_container_inspects_as_none(subject: &impl Subject) {
    let nobody = ContainerId::try_from("0".repeat(64)).unwrap();
    assert_eq!(subject.engine().container(&nobody).await.unwrap(), None);
}

pub(crate) async fn labels_and_environment_are_shown(subject: &impl Subject) {
    let engine = subject.engine();
    let mut spec = ContainerSpec::new("app", ContainerState::Created);
    spec.labels = map(&[("app", "frontend")]);
    spec.env = vec!["DATABASE=db:5432".to_owned()];
    let container = subject.add_container(&spec);
    assert_eq!(listed(engine, &container).await.labels, spec.labels);
    let detail = inspected(engine, &container).await;
    assert_eq!(detail.container.labels, spec.labels);
    assert!(detail.env.contains(&spec.env[0]), "{:?}", detail.env);
    assert_eq!(detail.container.name, "app");
}

pub(super) async fn a_service_is_on_the_networks_of_its_definition(subject: &impl Subject) {
    let (api, engine) = (subject.add_service("api"), subject.engine());
    let overlay = |name: &str| NetworkCreate { driver: "overlay".to_owned(), attachable: true, ..bridge(name) };
    let web = engine.create_network(&overlay("web-net")).await.unwrap();
    let other = engine.create_network(&overlay("other-net")).await.unwrap();
    let on = async || {
        let services = engine.services().await.unwrap();
        let service = services.into_iter().find(|service| service.id == api).expect("the service is listed");
        let networks = service.networks.into_iter().map(|it| (it.target, it.attachment));
        networks.collect::<BTreeMap<String, ServiceAttachment>>()
    };
    let attachment = |alias: &str| ServiceAttachment {
        aliases: vec![alias.to_owned()],
        driver_opts: map(&[("landfall.set", "default")]),
    };
    let expected = |pairs: &[(&NetworkId, &str)]| {
        pairs.iter().map(|(id, alias)| (id.to_string(), attachment(alias))).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(on().await, expected(&[]));
    engine
        .update_service(&api, ServiceUpdate::Networks(&put(&web, "web-net", Some(&attachment("www")))))
        .await
        .unwrap();
    engine
        .update_service(&api, ServiceUpdate::Networks(&put(&other, "other-net", Some(&attachment("api")))))
        .await
        .unwrap();
    assert_eq!(on().await, expected(&[(&web, "www"), (&other, "api")]));
    // Again, differently, off, and off once more.
    engine
        .update_service(&api, ServiceUpdate::Networks(&put(&web, "web-net", Some(&attachment("www")))))
        .await
        .unwrap();
    engine
        .update_service(&api, ServiceUpdate::Networks(&put(&web, "web-net", Some(&attachment("front")))))
        .await
        .unwrap();
    assert_eq!(on().await, expected(&[(&web, "front"), (&other, "api")]));
    assert_eq!(engine.remove_network(&web).await.unwrap_err().kind, EngineErrorKind::NetworkInUse);
    engine.update_service(&api, ServiceUpdate::Networks(&put(&web, "web-net", None))).await.unwrap();
    engine.update_service(&api, ServiceUpdate::Networks(&put(&web, "web-net", None))).await.unwrap();
    assert_eq!(on().await, expected(&[(&other, "api")]));
    engine.remove_network(&web).await.unwrap();
}

pub(super) async fn a_service_is_put_on_no_network_that_is_missing(subject: &impl Subject) {
    let (api, engine) = (subject.add_service("api"), subject.engine());
    let missing = NetworkId::try_from("0123456789abcdefghijklmno".to_owned()).unwrap();
    let attachment = ServiceAttachment::default();
    let refused = engine
        .update_service(&api, ServiceUpdate::Networks(&put(&missing, "missing", Some(&attachment))))
        .await
        .unwrap_err();
    assert_eq!(refused.kind, EngineErrorKind::NotFound, "{refused}");
    assert_eq!(engine.services().await.unwrap()[0].networks, []);
    engine.update_service(&api, ServiceUpdate::Networks(&put(&missing, "missing", None))).await.unwrap();
    subject.remove_service(&api);
    let gone = engine.update_service(&api, ServiceUpdate::Networks(&put(&missing, "missing", None))).await.unwrap_err();
    assert_eq!(gone.kind, EngineErrorKind::NotFound, "{gone}");
}

pub(super) async fn a_service_is_scaled(subject: &impl Subject) {
    let (api, engine) = (subject.add_service("api"), subject.engine());
    let replicas = async || engine.services().await.unwrap()[0].replicas;
    assert_eq!(replicas().await, Some(0));
    for count in [2, 2, 0] {
        engine.update_service(&api, ServiceUpdate::Replicas(count)).await.unwrap();
        assert_eq!(replicas().await, Some(count));
    }
}

/// What Landfall declares of one. Without tasks: what they do is the same on no two engines.
fn definition(name: &str, template: ContainerTemplate, secret: Option<&str>) -> ServiceCreate {
    let file = |secret: &str| ("/etc/key".to_owned(), SecretFile { secret: secret.to_owned(), mode: 0o400 });
    let applied = Applied::of(&template, &BTreeMap::new()).label();
    ServiceCreate {
        name: name.to_owned(),
        image: "landfall/busybox:test".to_owned(),
        labels: map(&[("landfall.object", "Application/shop/web"), ("landfall.applied", &applied)]),
        files: secret.map(file).into_iter().collect(),
        former_secrets: BTreeSet::new(),
        replicas: 0,
        order: Order::StartFirst,
        node: None,
        volume_labels: BTreeMap::new(),
        attachment: ServiceAttachment { aliases: vec!["www".to_owned()], ..ServiceAttachment::default() },
        template,
    }
}

pub(super) async fn a_service_is_what_it_was_asked_to_be(subject: &impl Subject) {
    let (_, engine) = (subject.add_service("api"), subject.engine());
    let overlay = NetworkCreate { driver: "overlay".to_owned(), attachable: true, ..bridge("web-net") };
    let network = engine.create_network(&overlay).await.unwrap();
    let seen = async |id: &ServiceId| {
        let listed = engine.services().await.unwrap();
        let listed = listed.into_iter().find(|service| service.id == *id).expect("the service is listed");
        let single = engine.service(id).await.unwrap().expect("the service is there");
        assert_eq!(single.definition, listed.definition, "one service, and one of a list");
        listed
    };
    let literal = |text: &str| Value::Literal(text.to_owned());
    let mount = |source: MountSource, target: &str| Mount { target: target.to_owned(), source, read_only: false };
    let mut template = ContainerTemplate {
        entrypoint: Some(vec!["/bin/sh".to_owned()]),
        command: Some(vec!["-c".to_owned(), "sleep 1".to_owned()]),
        working_dir: Some("/srv".to_owned()),
        user: Some("1000".to_owned()),
        hostname: Some("web".to_owned()),
        init: Some(true),
        stop_signal: Some("SIGINT".to_owned()),
        stop_grace: Some(7),
        env: [("LOG".to_owned(), literal("info")), ("OLD".to_owned(), literal("x"))].into(),
        mounts: vec![
            mount(MountSource::Volume("uploads".to_owned()), "/data"),
            mount(MountSource::Path("/tmp".to_owned()), "/host"),
        ],
        tmpfs: vec!["/run".to_owned()],
        restart: Some(RestartPolicy::OnFailure),
        resources: Resources { nano_cpus: 500_000_000, memory: 64 << 20, pids: 50 },
        healthcheck: Some(Healthcheck {
            test: vec!["CMD".to_owned(), "true".to_owned()],
            interval: Some(5),
            timeout: Some(4),
            retries: Some(3),
            start_period: Some(2),
        }),
        read_only: true,
        cap_add: vec!["NET_ADMIN".to_owned()],
        cap_drop: vec!["MKNOD".to_owned()],
        extra_hosts: vec!["db:10.0.0.1".to_owned()],
        logging: Some(Logging { driver: "json-file".to_owned(), options: map(&[("max-size", "1m")]) }),
        ..ContainerTemplate::default()
    };
    let mut create = definition("web", template.clone(), None);
    create.node = Some(Node { id: "0123456789abcdefghijklmno".to_owned(), name: "m1".to_owned() });
    let id = engine.create_service(&create, &network).await.unwrap();
    let service = seen(&id).await;
    assert!(create.is_as(&service, service.definition.as_ref().unwrap()), "{service:#?}");
    assert_eq!(service.networks[0].attachment.aliases, ["www"]);
    assert!(service.round_robin, "its name stands for its tasks");
    let taken = engine.create_service(&create, &network).await.unwrap_err();
    assert_eq!(taken.kind, EngineErrorKind::NameTaken, "{taken}");

    // Changed: what is declared no longer goes, and the rest is as before.
    template.env.remove("OLD");
    template.env.insert("LOG".to_owned(), literal("debug"));
    template.mounts.pop();
    template.read_only = false;
    let changed = definition("web", template, None);
    let update = ServiceUpdate::Definition { create: &changed, network: &network, anew: false };
    engine.update_service(&id, update).await.unwrap();
    let service = seen(&id).await;
    let definition = service.definition.as_ref().unwrap();
    assert!(changed.is_as(&service, definition), "{service:#?}");
    assert_eq!(definition.config.env.keys().collect::<Vec<_>>(), ["LOG"]);
    engine.remove_service(&id).await.unwrap();
    engine.remove_service(&id).await.unwrap();
    assert_eq!(engine.service(&id).await.unwrap(), None);
}

pub(super) async fn a_secret_stays_while_a_service_refers_to_it(subject: &impl Subject) {
    let (_, engine) = (subject.add_service("api"), subject.engine());
    let overlay = NetworkCreate { driver: "overlay".to_owned(), attachable: true, ..bridge("web-net") };
    let network = engine.create_network(&overlay).await.unwrap();
    let create = definition("web", ContainerTemplate::default(), Some("web-key"));
    let missing = engine.create_service(&create, &network).await.unwrap_err();
    assert_eq!(missing.kind, EngineErrorKind::NotFound, "{missing}");
    let labels = map(&[("landfall.set", "default")]);
    let content = Value::Literal("hunter2".to_owned());
    engine.create_secret("web-key", &labels, &content).await.unwrap();
    let taken = engine.create_secret("web-key", &labels, &content).await.unwrap_err();
    assert_eq!(taken.kind, EngineErrorKind::NameTaken, "{taken}");
    let secrets = engine.secrets().await.unwrap();
    assert_eq!((secrets[0].name.as_str(), &secrets[0].labels), ("web-key", &labels));
    let id = engine.create_service(&create, &network).await.unwrap();
    let service = engine.service(&id).await.unwrap().unwrap();
    assert_eq!(service.definition.unwrap().files["/etc/key"], create.files["/etc/key"]);
    assert!(!engine.remove_secret(&secrets[0].id).await.unwrap(), "it is in use");
    let without =
        ServiceCreate { files: BTreeMap::new(), former_secrets: ["web-key".to_owned()].into(), ..create.clone() };
    let update = ServiceUpdate::Definition { create: &without, network: &network, anew: false };
    engine.update_service(&id, update).await.unwrap();
    assert!(engine.remove_secret(&secrets[0].id).await.unwrap());
    assert!(engine.remove_secret(&secrets[0].id).await.unwrap(), "it is gone");
    assert_eq!(engine.secrets().await.unwrap(), []);
}
