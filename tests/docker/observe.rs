//! Observing a real daemon, and what it costs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use landfall::core::api::{Kind, ObjectKey, ServerRole};
use landfall::core::desired::{DesiredServer, Endpoint};
use landfall::core::observed::{ContainerState, UnobservedReason};
use landfall::shell::engine::Reader;
use landfall::shell::engine::connect::{self, ConnectOptions};
use landfall::shell::observe::{Interest, ObserveLimits, observe, observe_all};
use landfall::shell::store::known::Known;
use serde_json::json;

use super::reader;
use crate::cli::world::{World, server as declared_server};
use crate::support::Host;
use crate::support::faults::{Fate, Faulty};

fn server(name: &str, path: &str) -> DesiredServer {
    DesiredServer {
        key: ObjectKey::new(Kind::Server, "default", name),
        endpoint: Endpoint::Unix { path: path.to_owned() },
        role: ServerRole::Deploy,
        proxy: None,
        suspend: false,
        pool: None,
        reserved: Vec::new(),
        destinations: Vec::new(),
    }
}

#[tokio::test]
async fn a_server_is_observed_in_three_requests_and_an_inspection_a_member() {
    let host = Host::start();
    host.create_network("web");
    host.create_network("other");
    host.container("member").network_with("web", json!({ "Aliases": ["app"] })).running();
    host.container("created").network("web").created();
    host.container("exited").network("web").exited();
    host.container("stranger").network("other").running();
    let options = ConnectOptions::default();
    let reader = reader(&host, &options);
    let state = observe(&reader, &Interest::Names(BTreeSet::from(["web".to_owned()]))).await.unwrap();
    assert_eq!((options.requests.reads(), options.requests.writes()), (6, 0));
    assert_eq!(state.engine.name, host.name());
    let names: BTreeSet<&str> = state.networks.iter().map(|network| network.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["bridge", "host", "none", "other", "web"]));
    let states = |name| state.container_named(name).map(|container| container.state);
    assert_eq!(states("created"), Some(ContainerState::Created));
    assert_eq!(states("exited"), Some(ContainerState::Exited));
    let settings = |name| state.container_named(name).unwrap().endpoints[0].settings.clone();
    assert!(settings("member").unwrap().aliases.contains(&"app".to_owned()));
    assert!(settings("created").is_some());
    assert_eq!(settings("stranger"), None);
}

#[tokio::test]
async fn what_an_inspection_has_told_is_asked_again_only_where_an_endpoint_is_another() {
    let host = Host::start();
    let web = host.create_network("web");
    let member = host.container("member").network_with("web", json!({ "Aliases": ["old"] })).running();
    host.container("exited").network("web").exited();
    let servers = [server("here", &host.socket().display().to_string())];
    let known = Known::default();
    let look = async || {
        let options = ConnectOptions::default();
        let connect = |server: &_| connect::reader(server, &options);
        let mut all = observe_all(&servers, |_| Interest::All, connect, &known, ObserveLimits::default()).await;
        (all.remove(&servers[0].key).unwrap().unwrap(), options.requests.reads())
    };
    let (first, requests) = look().await;
    assert_eq!(requests, 5);
    let (second, requests) = look().await;
    assert_eq!(requests, 3, "a container that is not running has no endpoint that could be recognised");
    assert_eq!(second, first);

    host.disconnect(&web, &member);
    host.connect_with(&web, &member, json!({ "Aliases": ["new"] }));
    let (third, requests) = look().await;
    assert_eq!(requests, 4);
    let aliases = |name: &str| third.container_named(name).unwrap().endpoints[0].settings.clone().unwrap().aliases;
    assert!(aliases("member").contains(&"new".to_owned()) && !aliases("member").contains(&"old".to_owned()));
}

#[tokio::test]
async fn a_server_that_does_not_answer_neither_hides_nor_delays_the_others() {
    let host = Host::start();
    let directory = tempfile::tempdir().unwrap();
    // Accepts connections into its backlog and never says a word.
    let silent = directory.path().join("silent.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&silent).unwrap();
    let servers = [
        server("here", &host.socket().display().to_string()),
        server("silent", &silent.display().to_string()),
        server("missing", &directory.path().join("no.sock").display().to_string()),
    ];
    let options = ConnectOptions { read_timeout: Duration::from_millis(300), ..ConnectOptions::default() };
    let observations = observe_all(
        &servers,
        |_| Interest::All,
        |server| connect::reader(server, &options),
        &Known::default(),
        ObserveLimits::default(),
    )
    .await;
    assert!(observations[&servers[0].key].is_ok());
    let silent = observations[&servers[1].key].as_ref().unwrap_err();
    assert_eq!(silent.reason, UnobservedReason::ServerUnreachable);
    assert!(
        silent.message.contains("default/silent (unix://") && silent.message.ends_with("no answer within 300ms"),
        "{silent:?}"
    );
    let missing = observations[&servers[2].key].as_ref().unwrap_err();
    assert!(missing.message.contains("there is no socket at"), "{missing:?}");
    assert!(missing.hint.as_ref().unwrap().contains("systemctl start docker"));
}

#[tokio::test]
async fn the_whole_look_at_a_server_is_bounded_too() {
    let directory = tempfile::tempdir().unwrap();
    let silent = directory.path().join("silent.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&silent).unwrap();
    let servers = [server("silent", &silent.display().to_string())];
    let limits = ObserveLimits { per_server: Duration::from_millis(100), ..ObserveLimits::default() };
    let options = ConnectOptions::default();
    let observations =
        observe_all(&servers, |_| Interest::All, |server| connect::reader(server, &options), &Known::default(), limits)
            .await;
    let silent = observations[&servers[0].key].as_ref().unwrap_err();
    assert!(silent.message.contains("took longer than 100ms"), "{silent:?}");
}

#[tokio::test]
async fn connections_are_used_again() {
    let host = Host::start();
    let dialer = Arc::new(super::CountingDialer::new(&host));
    let options = ConnectOptions::default();
    let reader = landfall::shell::engine::DockerReader::new("default/test", dialer.clone(), &options);
    for _ in 0..20 {
        reader.networks().await.unwrap();
    }
    assert_eq!((options.requests.reads(), dialer.dialled()), (20, 1));
}

/// A proxy in front of the daemon that shows a part of the containers only.
#[tokio::test]
async fn whom_lists_leave_out_costs_a_look_one_request_and_whom_one_may_not_ask_about_none() {
    let host = Host::start();
    host.create_network("web");
    let ids: Vec<String> =
        (0..4).map(|number| host.container(&format!("m{number}")).network("web").running()).collect();
    let faulty = Faulty::before(host.socket());
    let servers = [server("here", &faulty.socket().display().to_string())];
    let known = Known::watched();
    // Which are in no list, how many lists of containers were asked for, and how many containers were asked for by their ids.
    let look = async || {
        let options = ConnectOptions::default();
        let connect = |server: &_| connect::reader(server, &options);
        let mut all = observe_all(&servers, |_| Interest::All, connect, &known, ObserveLimits::default()).await;
        let state = all.remove(&servers[0].key).unwrap().unwrap();
        let asked = faulty.take_asked();
        let lists = asked.iter().filter(|it| it.path == "/containers/json").count();
        let inspected = asked.iter().filter(|it| it.path.starts_with("/containers/") && it.path.ends_with("/json"));
        (state.unlisted.iter().map(|it| it.name.clone()).collect::<Vec<_>>(), lists, inspected.count() - lists)
    };
    let hidden = |may_ask: bool| {
        faulty.rule(move |asked| match asked.path.as_str() {
            "/containers/json" => Fate::Rewritten(Box::new(|mut list| {
                let entries = list.as_array_mut().unwrap();
                entries.retain(|entry| !["/m0", "/m1"].contains(&entry["Names"][0].as_str().unwrap()));
                list
            })),
            path if !may_ask && path.starts_with("/containers/") => Fate::Refused(403),
            _ => Fate::Pass,
        });
    };
    let both = || vec!["m0".to_owned(), "m1".to_owned()];
    let sorted = |(mut names, lists, inspected): (Vec<String>, usize, usize)| {
        names.sort();
        (names, lists, inspected)
    };
    assert_eq!(look().await, (vec![], 1, 4));
    hidden(true);
    assert_eq!(sorted(look().await), (both(), 2, 2), "a list may be short once");
    assert_eq!(sorted(look().await), (both(), 1, 2));
    hidden(false);
    assert_eq!(look().await, (vec![], 1, 2));
    assert_eq!(look().await, (vec![], 1, 0), "what is forbidden once is not tried at each look");
    assert!(ids[..2].iter().all(|id| known.members(&servers[0].key).iter().any(|it| it.as_str() == id)));
    // Something happens to one of them.
    hidden(true);
    known.suspect(&servers[0].key, ids[0].clone().try_into().unwrap());
    assert_eq!(look().await.0, ["m0"]);
    // After a gap in the events nothing that was remembered counts.
    known.doubt(&servers[0].key);
    assert_eq!(sorted(look().await).0, both());
    // Of those who are gone it is asked once.
    faulty.heal();
    look().await;
    ids.iter().for_each(|id| host.remove_container(id));
    assert_eq!(look().await, (vec![], 1, 4));
    assert_eq!(look().await, (vec![], 1, 0));
}

/// Docker keeps the word that a container was made with until it starts: a name, an id, or the beginning of one.
#[test]
fn one_that_was_never_started_is_on_the_network_that_it_was_made_for_by_whatever_word() {
    let host = Host::start();
    let destination = "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: { name: web }\nspec: { server: infra/edge, network: { name: web-net }, proxy: false }\n";
    let member = |name: &str| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: {name} }}\nspec: {{ destination: web, containers: {{ names: [{name}] }} }}\n"
        )
    };
    let names = ["named", "whole", "short"];
    let world = World::new(&(declared_server(&host.endpoint()) + destination));
    world.run("apply").expect(0);
    let id = host.network_ids("web-net").remove(0);
    for (name, word) in names.into_iter().zip(["web-net", id.as_str(), &id[..12]]) {
        host.container(name).network(word).created();
    }
    let members = names.map(member).concat();
    world.write("manifests/all.yaml", &(declared_server(&host.endpoint()) + destination + &members));
    world.run("diff").expect(0);
    // Nor are they overlooked where the network is to go.
    let refused = world.run("delete destination web --yes").expect(3).to_string();
    for name in names {
        assert!(refused.contains(&format!("Container {name}, created")), "{refused}");
        host.start_container(name);
        assert!(host.networks_of(name).contains(&"web-net".to_owned()));
    }
    world.run("diff").expect(0);
}
