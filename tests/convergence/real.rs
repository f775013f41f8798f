//! Whole passes against a real daemon.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall::core::api::Replacement;
use landfall::core::desired::DesiredState;
use landfall::core::observed::{EndpointSettings, ObservedContainer, ObservedEndpoint};
use landfall::core::plan::{Plan, Request};
use landfall::shell::engine::connect::{ConnectOptions, UnixDialer};
use landfall::shell::engine::{DockerWriter, Reader, Writer};
use landfall::shell::execute::Limits;
use landfall::shell::observe::ObserveLimits;
use landfall::shell::reconcile::{Applied, Pass, Preview};
use landfall::shell::store::file::FileJournals;
use landfall::shell::store::known::Known;

use super::world::trouble;
use crate::support::Host;
use crate::support::scenario::{Scenario, application, database, destination};

pub(super) fn engine(host: &Host) -> DockerWriter {
    let dialer = Arc::new(UnixDialer::new(host.socket().display().to_string()));
    DockerWriter::new("default/edge-1", dialer, &ConnectOptions::default())
}

pub(super) async fn apply(engine: &DockerWriter, desired: &DesiredState, request: &Request) -> Applied {
    let state = tempfile::tempdir().unwrap();
    let journals = FileJournals::in_state(state.path());
    let pass = Pass {
        desired,
        request,
        journals: &journals,
        known: &Known::default(),
        observe: ObserveLimits::default(),
        execute: Limits::default(),
    };
    pass.apply(|_| Ok(engine.clone()), |_, plan| Some(plan), &()).await.unwrap().unwrap()
}

pub(super) async fn preview(engine: &DockerWriter, desired: &DesiredState, request: &Request) -> Preview {
    let state = tempfile::tempdir().unwrap();
    let journals = FileJournals::in_state(state.path());
    let pass = Pass {
        desired,
        request,
        journals: &journals,
        known: &Known::default(),
        observe: ObserveLimits::default(),
        execute: Limits::default(),
    };
    pass.preview(|_| Ok(engine.clone())).await.unwrap()
}

fn web() -> Scenario {
    let web = destination("web").named("web-net").subnet("10.42.0.0/24");
    let web = web.member(application("app").alias("frontend")).member(database("db").address("10.42.0.10"));
    Scenario::new().destination(web).destination(destination("generated"))
}

async fn container(engine: &DockerWriter, name: &str) -> ObservedContainer {
    let listed = engine.containers().await.unwrap();
    let found = listed.into_iter().find(|container| container.name == name).expect("it is listed");
    engine.container(&found.id).await.unwrap().expect("it is there").container
}

async fn endpoint(engine: &DockerWriter, name: &str, network: &str) -> (ObservedEndpoint, EndpointSettings) {
    let container = container(engine, name).await;
    let endpoint = container.endpoints.into_iter().find(|it| it.network_name == network).expect("it is connected");
    let settings = endpoint.settings.clone().expect("it was inspected");
    (endpoint, settings)
}

#[tokio::test]
async fn a_replacement_keeps_everyone_with_all_they_had() {
    let host = Host::start();
    host.container("traefik").running();
    host.container("app").running();
    host.container("db").exited();
    host.container("foreign").created();
    let engine = engine(&host);
    let first = web();
    assert_eq!(trouble(&apply(&engine, &first.desired, &first.request).await), [""; 0]);
    let foreign = container(&engine, "foreign").await;
    let old = endpoint(&engine, "app", "web-net").await.0.network_id.expect("a running container has it");
    let settings = EndpointSettings { aliases: vec!["stranger".to_owned()], ..EndpointSettings::default() };
    engine.connect(&old, &foreign.id, &settings).await.unwrap();

    let second = web().redeclare("web", |web| web.mtu(1400).replacement(Replacement::Reattach));
    assert_eq!(trouble(&apply(&engine, &second.desired, &second.request).await), [""; 0]);
    let networks = engine.networks().await.unwrap();
    let new = networks.iter().find(|network| network.name == "web-net").expect("there is one");
    assert_ne!(new.id, old);
    assert_eq!(new.options["com.docker.network.driver.mtu"], "1400");
    for name in ["db", "foreign"] {
        engine.start_container(&container(&engine, name).await.id).await.unwrap();
    }
    let wanted = [("traefik", None), ("app", Some("frontend")), ("db", None), ("foreign", Some("stranger"))];
    for (name, alias) in wanted {
        let (endpoint, settings) = endpoint(&engine, name, "web-net").await;
        assert_eq!(endpoint.network_id.as_ref(), Some(&new.id), "{name}");
        assert!(alias.is_none_or(|alias| settings.aliases.iter().any(|it| it == alias)), "{name}: {settings:?}");
        let mut put = BTreeMap::from([("landfall.set", "default"), ("landfall.name", name)]);
        match name {
            "app" => put.extend([("landfall.aliases", "frontend"), ("landfall.for", "Application/shop/app")]),
            "db" => put.extend([("landfall.ipv4-address", "10.42.0.10"), ("landfall.for", "Database/shop/db")]),
            _ => put.extend([("landfall.for", "Proxy")]),
        }
        let options = settings.driver_opts.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        assert!(name == "foreign" || options.eq(put), "{name}: {settings:?}");
    }
    assert_eq!(endpoint(&engine, "db", "web-net").await.0.ipv4_address, "10.42.0.10");
    let third = apply(&engine, &second.desired, &second.request).await;
    assert_eq!(third.report.servers[0].operations, [], "a second apply does nothing");
}

/// The daemon tells in which order it went, and of what an interrupted pass has left, the next one makes the same.
#[tokio::test]
async fn under_another_name_everybody_is_on_the_new_network_before_anybody_leaves_the_old_one() {
    let host = Host::start();
    for name in ["traefik", "app", "foreign"] {
        host.container(name).running();
    }
    host.container("db").exited();
    let engine = engine(&host);
    let named = |name: &str| {
        let web = destination("web").named(name).replacement(Replacement::Reattach);
        Scenario::new().destination(web.member(application("app").alias("frontend")).member(database("db")))
    };
    for (former, name, kept) in [("one", "two", usize::MAX), ("two", "three", 2), ("three", "four", 5)] {
        let (before, after) = (named(former), named(name));
        assert_eq!(trouble(&apply(&engine, &before.desired, &before.request).await), [""; 0]);
        let old = endpoint(&engine, "app", former).await.0.network_id.expect("it runs");
        if !container(&engine, "foreign").await.endpoints.iter().any(|it| it.network_name == former) {
            let settings = EndpointSettings { aliases: vec!["stranger".to_owned()], ..EndpointSettings::default() };
            engine.connect(&old, &container(&engine, "foreign").await.id, &settings).await.unwrap();
        }
        apply_first(&engine, &after, kept).await;
        for name in ["traefik", "app", "foreign", "db"] {
            let on = container(&engine, name).await.endpoints;
            assert!(on.iter().any(|it| it.network_name != "bridge"), "{name} is on nothing: {on:?}");
        }
        assert_eq!(trouble(&apply(&engine, &after.desired, &after.request).await), [""; 0]);
        let networks = engine.networks().await.unwrap();
        assert!(networks.iter().all(|network| network.id != old), "{former} is still there");
        let new = networks.iter().find(|network| network.name == name).expect("it is there").id.clone();
        let events = engine.recent_events(0).await.unwrap();
        let at = |id: &str, action: &str, first: bool| {
            let mut at =
                events.iter().enumerate().filter(|(_, it)| it.id == id && it.action == action).map(|(at, _)| at);
            if first { at.next() } else { at.next_back() }.unwrap_or_else(|| panic!("no {action} of {name}"))
        };
        let (made, on) = (at(new.as_str(), "create", true), at(new.as_str(), "connect", false));
        let (off, away) = (at(old.as_str(), "disconnect", true), at(old.as_str(), "destroy", true));
        assert!(made < on && on < off && off < away, "{name}: {made}, {on}, {off}, {away}");
        for (who, alias) in [("traefik", None), ("app", Some("frontend")), ("db", None), ("foreign", Some("stranger"))]
        {
            let (_, settings) = endpoint(&engine, who, name).await;
            assert!(alias.is_none_or(|alias| settings.aliases.iter().any(|it| it == alias)), "{who}: {settings:?}");
        }
        let again = apply(&engine, &after.desired, &after.request).await;
        assert_eq!(again.report.servers[0].operations, [], "{name}");
    }
    engine.start_container(&container(&engine, "db").await.id).await.unwrap();
}

/// No more than the first groups of the plan, as of one that is interrupted.
async fn apply_first(engine: &DockerWriter, scenario: &Scenario, groups: usize) {
    let state = tempfile::tempdir().unwrap();
    let journals = FileJournals::in_state(state.path());
    let pass = Pass {
        desired: &scenario.desired,
        request: &scenario.request,
        journals: &journals,
        known: &Known::default(),
        observe: ObserveLimits::default(),
        execute: Limits::default(),
    };
    let first = |_: &_, mut plan: Plan| {
        plan.servers.iter_mut().for_each(|server| server.groups.truncate(groups));
        Some(plan)
    };
    let done = pass.apply(|_| Ok(engine.clone()), first, &()).await.unwrap().unwrap();
    assert_eq!(trouble(&done), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_appliers_at_once_leave_one_network_of_each_name() {
    let host = Host::start();
    host.container("traefik").running();
    host.container("app").running();
    host.container("db").exited();
    let one = engine(&host);
    let two = engine(&host);
    let scenario = web();
    for round in 0..4 {
        let (first, second) = tokio::join!(
            apply(&one, &scenario.desired, &scenario.request),
            apply(&two, &scenario.desired, &scenario.request)
        );
        assert_eq!([trouble(&first), trouble(&second)], [[""; 0]; 2], "round {round}");
        let networks = one.networks().await.unwrap();
        let ours: Vec<_> = networks.iter().filter(|network| network.labels.contains_key("landfall.set")).collect();
        assert_eq!(ours.len(), 2, "round {round}: {ours:#?}");
        let third = apply(&one, &scenario.desired, &scenario.request).await;
        assert_eq!(third.report.servers[0].operations, [], "round {round}");
        for network in ours {
            for container in one.containers().await.unwrap() {
                if container.endpoints.iter().any(|it| it.network_name == network.name) {
                    one.disconnect(&network.id, &container.id, true).await.unwrap();
                }
            }
            one.remove_network(&network.id).await.unwrap();
        }
    }
}
