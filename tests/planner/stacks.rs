//! Stacks of Docker Compose: when Compose is run, what is repaired without it, and whose a project is.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall::core::api::Kind;
use landfall::core::desired::DesiredMember;
use landfall::core::manifest::{self, Source};
use landfall::core::plan::{Call, Request};
use landfall::core::workload::stack::{self, Additions, Made, Model, Stack, Unmade};
use serde_json::json;

use crate::support::scenario::{Scenario, container, edge, network};
use crate::support::{simulator, workloads};

fn manifests(service: &str) -> String {
    format!(
        "apiVersion: landfall/v1
kind: Server
metadata: {{ name: edge-1 }}
spec: {{ endpoint: unix:///run/docker.sock, proxy: {{ container: traefik }}, allowedNamespaces: ['*'] }}
---
apiVersion: landfall/v1
kind: Destination
metadata: {{ name: web, namespace: shop }}
spec: {{ server: default/edge-1, network: {{ name: web-net }} }}
{service}"
    )
}

fn service(further: &str) -> String {
    format!(
        "---
apiVersion: landfall/v1
kind: Service
metadata: {{ name: cms, namespace: shop }}
spec:
  destination: web
  compose: {{ project: cms, file: cms.yaml }}
{further}"
    )
}

/// As the shell has it read: two services on the stack's own network. `image` is that of the first.
fn declare(scenario: &mut Scenario, manifests: &str, image: &str) {
    let sources = [Source { name: "m.yaml".to_owned(), bytes: manifests.as_bytes().to_vec() }];
    scenario.desired = manifest::load(&sources).unwrap_or_else(|found| panic!("{found:#?}")).desired("default");
    for server in scenario.desired.servers.values_mut().map(Arc::make_mut) {
        let proxy = server.proxy.as_ref().map(|proxy| proxy.proxy_type);
        for destination in &mut server.destinations {
            let key = destination.key.clone();
            for member in &mut destination.members {
                let Some(declared) = member.stack.clone() else { continue };
                member.stack = Some(Arc::new(Stack {
                    made: Ok(made(&declared, member, &key, proxy, image)),
                    ..(*declared).clone()
                }));
            }
        }
    }
}

fn made(
    stack: &Stack,
    member: &DesiredMember,
    destination: &landfall::core::api::ObjectKey,
    proxy: Option<landfall::core::api::ProxyType>,
    image: &str,
) -> Made {
    let home = format!("{}_default", stack.project);
    let model = json!({
        "services": {
            "web": { "image": image, "networks": { "default": null } },
            "db": { "image": "postgres", "networks": { "default": null } },
        },
        "networks": { "default": { "name": home } },
    });
    let additions = Additions {
        set: "default",
        object: &member.resource,
        destination,
        aliases: member.connect.then_some(member.endpoint.aliases.as_slice()),
        proxy: proxy.filter(|_| stack.is_routed()),
    };
    let on_swarm = Arc::new(stack.for_swarm("", &model, &additions, &|_| Err("none".to_owned())));
    let completed = stack.completed(model, &additions);
    let hash = |name: &str| (name.to_owned(), completed["services"][name].to_string().len().to_string() + image);
    let hashes: BTreeMap<String, String> = ["web", "db"].map(hash).into();
    Made {
        services: stack::services(&completed, &stack.project, &hashes),
        networks: stack::networks(&completed),
        volumes: stack::volumes(&completed),
        model: Model::new(&completed),
        findings: Vec::new(),
        version: "2.40.3".to_owned(),
        directory: "/".to_owned(),
        builds: false,
        on_swarm,
    }
}

fn world(service: &str) -> Scenario {
    let mut scenario = Scenario::new().network(network("web-net").of("shop/web"));
    scenario = scenario.container(container("traefik").on("bridge").on("web-net").marked());
    declare(&mut scenario, &manifests(service), "nginx");
    scenario
}

fn execute(scenario: &mut Scenario) -> String {
    let plan = scenario.plan();
    for operation in plan.servers.iter().flat_map(|it| &it.groups).flat_map(|it| &it.operations) {
        match &operation.call {
            Call::Workload(call) => workloads::perform(scenario.state(), call).unwrap(),
            call => simulator::call(scenario.state(), call),
        }
    }
    plan.to_string()
}

fn rests(scenario: &Scenario) {
    assert_eq!(scenario.plan().to_string(), "");
}

#[test]
fn a_stack_is_brought_up_once_with_the_proxy_at_its_home_and_only_what_differs_again() {
    let mut scenario = world(&service("  domains: { web: [cms.example.com] }\n"));
    assert_eq!(
        execute(&mut scenario),
        "default/edge-1
  + compose up cms (db containers: none -> 1; web containers: none -> 1) for Service/shop/cms (WorkloadMissing)
  + connect traefik to cms_default for Service/shop/cms (ProxyDetached)
"
    );
    rests(&scenario);
    let all = manifests(&service("  domains: { web: [cms.example.com] }\n"));
    declare(&mut scenario, &all, "caddy");
    let planned = execute(&mut scenario);
    assert!(planned.contains("web configuration: ") && planned.contains("(WorkloadDiffers), disruptive"), "{planned}");
    rests(&scenario);
    declare(&mut scenario, &manifests(&service("")), "caddy");
    let planned = execute(&mut scenario);
    assert!(
        planned.contains("- disconnect traefik from cms_default for Service/shop/cms (ProxyUnwanted)"),
        "{planned}"
    );
    rests(&scenario);
}

/// A manager on which the destination's network exists already. The proxy is a container or a service.
fn swarm(service: &str, proxy: &str) -> Scenario {
    let mut scenario = Scenario::without_proxy().swarm_manager().network(network("web-net").overlay().of("shop/web"));
    scenario = match proxy {
        "container" => scenario.container(container("traefik").on("bridge").on("web-net").marked()),
        _ => scenario.service("traefik", &["web-net"], 1).put_there("web-net", &[]),
    };
    declare(&mut scenario, &manifests(service).replace("container: traefik", &format!("{proxy}: traefik")), "nginx");
    scenario
}

#[test]
fn on_a_swarm_a_stack_is_deployed_and_fallen_services_are_put_back_without_that() {
    let mut scenario = swarm(&service("  connectToDestination: true\n"), "container");
    assert_eq!(
        execute(&mut scenario),
        "default/edge-1
  + deploy stack cms on web-net (db service: none -> made; web service: none -> made) for Service/shop/cms (WorkloadMissing)
"
    );
    rests(&scenario);
    let all = manifests(&service("  connectToDestination: true\n"));
    declare(&mut scenario, &all, "caddy");
    let planned = scenario.plan().to_string();
    assert!(planned.contains("~ deploy stack cms on web-net (web configuration: "), "{planned}");
    assert!(planned.contains("(WorkloadDiffers), disruptive"), "{planned}");
    // In the middle of a rollout nothing is deployed.
    scenario.state().services[0].rollout = Some(landfall::core::observed::Rollout::Updating);
    let planned = scenario.plan().to_string();
    assert!(planned.contains("(RolloutInProgress)") && !planned.contains("deploy stack"), "{planned}");
    scenario.state().services[0].rollout = None;
    execute(&mut scenario);
    rests(&scenario);
    let on = scenario.state().networks.iter().find(|it| it.name == "web-net").unwrap().id.to_string();
    for service in &mut scenario.state().services {
        service.networks.retain(|it| it.target != on || service.name != "cms_web");
    }
    let planned = execute(&mut scenario);
    assert!(
        planned.contains("cms_web") && planned.contains("as web-cms") && !planned.contains("deploy stack"),
        "{planned}"
    );
    rests(&scenario);
    scenario.state().services.iter_mut().find(|it| it.name == "cms_web").unwrap().replicas = Some(3);
    let planned = execute(&mut scenario);
    assert!(planned.contains("(web replicas: 3 -> 1)") && !planned.contains("disruptive"), "{planned}");
    rests(&scenario);
}

#[test]
fn on_a_swarm_the_proxy_comes_to_a_stack_that_keeps_to_its_own_network() {
    for proxy in ["container", "service"] {
        let routed = service("  domains: { web: [cms.example.com] }\n  targetPorts: { web: 80 }\n");
        let mut scenario = swarm(&routed, proxy);
        let planned = execute(&mut scenario);
        assert!(planned.contains("deploy stack cms (") && planned.contains("cms_default"), "{planned}");
        rests(&scenario);
        let web = scenario.state().services.iter().find(|it| it.name == "cms_web").unwrap();
        assert_eq!(web.labels["traefik.swarm.network"], "cms_default");
        let plain = manifests(&service("")).replace("container: traefik", &format!("{proxy}: traefik"));
        declare(&mut scenario, &plain, "nginx");
        let planned = execute(&mut scenario);
        assert!(planned.contains("traefik") && planned.contains("(ProxyUnwanted)"), "{planned}");
        rests(&scenario);
        // On the destination it is there already.
        let connected = manifests(&(routed + "  connectToDestination: true\n"));
        declare(&mut scenario, &connected.replace("container: traefik", &format!("{proxy}: traefik")), "nginx");
        let planned = execute(&mut scenario);
        assert!(!planned.contains("connect traefik") && !planned.contains("update service traefik"), "{planned}");
        rests(&scenario);
        let web = scenario.state().services.iter().find(|it| it.name == "cms_web").unwrap();
        assert_eq!(web.labels["traefik.swarm.network"], "web-net");
    }
}

#[test]
fn on_a_swarm_a_stack_is_removed_as_a_whole_by_prune_alone_and_those_of_others_are_left() {
    let mut scenario = swarm(&service(""), "container");
    execute(&mut scenario);
    let gone = manifests("");
    declare(&mut scenario, &gone, "nginx");
    let said = scenario.plan().to_string();
    assert!(said.contains("its stack \"cms\" exists. (Undeclared)") && !said.contains("remove stack"), "{said}");
    scenario.request = Request { prune: true, allow_mass_delete: true, ..Request::default() };
    let before = scenario.state().clone();
    let planned = execute(&mut scenario);
    assert!(planned.contains("- remove stack cms (cms_db, cms_web) for Service/shop/cms (Undeclared)"), "{planned}");
    rests(&scenario);
    // A service that somebody else has put into it.
    *scenario.state() = before;
    let mut other = scenario.state().services[0].clone();
    other.name = "cms_by-hand".to_owned();
    other.id = landfall::core::observed::ServiceId::try_from("z".repeat(25)).unwrap();
    other.labels.retain(|key, _| !key.starts_with("landfall."));
    scenario.state().services.push(other);
    let said = scenario.plan().to_string();
    assert!(said.contains("(OwnershipConflict)") && !said.contains("remove stack"), "{said}");
    scenario.request = Request::default();
    declare(&mut scenario, &manifests(&service("")), "nginx");
    let said = scenario.plan().to_string();
    assert!(said.contains("(AdoptionRequired)") && said.contains("cms_by-hand"), "{said}");
}

#[test]
fn what_fell_off_is_connected_without_compose() {
    let mut scenario = world(&service("  connectToDestination: true\n"));
    execute(&mut scenario);
    rests(&scenario);
    for container in &mut scenario.state().containers {
        if container.name == "cms-web-1" {
            container.endpoints.clear();
        }
        for endpoint in container.endpoints.iter_mut().filter(|it| it.network_name == "cms_default") {
            endpoint.settings.as_mut().unwrap().aliases.clear();
        }
    }
    assert_eq!(
        execute(&mut scenario),
        "default/edge-1
  + connect cms-web-1 to web-net as web-cms for Service/shop/cms (MemberDetached)
  - disconnect cms-db-1 from cms_default for Service/shop/cms (EndpointDiffers), disruptive
  + connect cms-db-1 to cms_default as db for Service/shop/cms (EndpointDiffers)
  + connect cms-web-1 to cms_default as web for Service/shop/cms (MemberDetached)
"
    );
    rests(&scenario);
}

#[test]
fn a_project_is_left_alone_where_another_set_or_a_person_has_brought_it_up() {
    let mut scenario = world(&service(""));
    execute(&mut scenario);
    declare(&mut scenario, &manifests(&service("")).replace("web-net", "other-net"), "nginx");
    scenario.desired.set = "other".to_owned();
    let said = scenario.plan().to_string();
    assert!(
        said.contains("is Service/shop/cms's of the set \"default\"") && said.contains("(OwnershipConflict)"),
        "{said}"
    );
    declare(&mut scenario, &manifests(&service("")), "nginx");
    for container in &mut scenario.state().containers {
        container.labels.retain(|key, _| !key.starts_with("landfall."));
    }
    let said = scenario.plan().to_string();
    assert!(said.contains("(AdoptionRequired)") && !said.contains("compose up"), "{said}");
    let taken = service("").replace("file:", "takeOwnership: true, file:");
    declare(&mut scenario, &manifests(&taken), "nginx");
    let planned = scenario.plan().to_string();
    assert!(planned.contains("db configuration: another tool's -> Landfall's"), "{planned}");
}

#[test]
fn an_undeclared_stack_is_reported_and_taken_down_by_prune_alone() {
    let mut scenario = world(&service("  domains: { web: [cms.example.com] }\n"));
    execute(&mut scenario);
    declare(&mut scenario, &manifests(""), "nginx");
    let said = scenario.plan().to_string();
    assert!(said.contains("its stack \"cms\" exists. (Undeclared)") && !said.contains("compose down"), "{said}");
    scenario.request = Request { prune: true, ..Request::default() };
    assert_eq!(
        execute(&mut scenario),
        "default/edge-1
  - disconnect traefik from cms_default for Service/shop/cms (ProxyUnwanted), disruptive
  - compose down cms (cms-db-1, cms-web-1) for Service/shop/cms (Undeclared), disruptive
"
    );
    rests(&scenario);
    assert_eq!(scenario.observed[&edge()].as_ref().unwrap().containers.len(), 1);
}

/// As `scan` writes it down: the stack's own network is an adopted destination, which others may be on by now.
#[test]
fn a_stack_is_not_taken_down_with_the_network_of_a_destination_that_stays() {
    let destination = "---
apiVersion: landfall/v1
kind: Destination
metadata: { name: home, namespace: shop }
spec: { server: default/edge-1, network: { name: cms_default }, adopt: true }
";
    let mut scenario = world(&service(""));
    execute(&mut scenario);
    for network in scenario.state().networks.iter_mut().filter(|it| it.name == "cms_default") {
        network.labels.insert("com.docker.compose.project".to_owned(), "cms".to_owned());
    }
    declare(&mut scenario, &manifests(destination), "");
    let mut scenario = scenario.prune();
    let said = scenario.plan().to_string();
    assert!(!said.contains("compose down"), "{said}");
    let why = "Compose would remove the network \"cms_default\" with the stack \"cms\", and Destination/shop/home declares it. (OwnershipConflict)";
    assert!(said.contains(why), "{said}");
    // With the destination gone there is nothing to be kept.
    declare(&mut scenario, &manifests(""), "");
    let said = scenario.plan().to_string();
    assert!(said.contains("compose down cms"), "{said}");
}

#[test]
fn what_compose_refuses_is_refused_and_a_failed_attempt_is_not_repeated() {
    let mut scenario = world(&service(""));
    let unmade = Unmade {
        reason: landfall::core::plan::Reason::ComposeMissing,
        message: "The stack cms needs Docker Compose.".to_owned(),
        hint: "install it".to_owned(),
        line: None,
        unread: false,
    };
    let first = scenario.plan();
    let attempt = first.attempts().next().unwrap().to_owned();
    scenario.request.failed_attempts = BTreeMap::from([(attempt, "It was sick.".to_owned())]);
    let said = scenario.plan().to_string();
    assert!(said.contains("is not tried again until something changes. It was sick. (HealthCheckFailed)"), "{said}");
    for server in scenario.desired.servers.values_mut().map(Arc::make_mut) {
        for member in server.destinations.iter_mut().flat_map(|it| &mut it.members) {
            let stack = (**member.stack.as_ref().unwrap()).clone();
            member.stack = Some(Arc::new(Stack { made: Err(unmade.clone()), ..stack }));
        }
    }
    assert_eq!(
        scenario.plan().to_string(),
        "default/edge-1
  ! refused Service/shop/cms: The stack cms needs Docker Compose. (ComposeMissing)
      hint: install it
"
    );
}

/// The stack is to be deleted, and with it goes what it runs; what somebody ran beside it stays, and blocks.
#[test]
fn a_stack_that_blocks_a_deletion_stands_for_its_containers() {
    let mut scenario = world(&service("  connectToDestination: true\n"));
    execute(&mut scenario);
    rests(&scenario);
    let mut once = container("cms-once").on("web-net").label("com.docker.compose.project", "cms");
    once = once.label("com.docker.compose.oneoff", "True");
    let scenario = scenario.container(once).container(container("guest").on("web-net"));
    let plan = scenario.delete(Kind::Destination, "shop/web").plan();
    let blockers: Vec<&str> =
        plan.servers[0].notes.iter().flat_map(|note| &note.blockers).map(|it| it.name.as_str()).collect();
    assert_eq!(blockers, ["cms", "cms-once", "guest"], "{plan}");
}
