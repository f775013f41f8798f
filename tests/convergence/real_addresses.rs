//! Addresses, aliases and routes on a real daemon, as people stumbled over them.

use landfall::core::api::Replacement;
use landfall::core::desired::DesiredState;
use landfall::core::observed::ApiVersion;
use landfall::core::plan::{NoteKind, Reason, Request};
use landfall::shell::engine::Reader;
use landfall::shell::reconcile::Applied;
use serde_json::{Value, json};

use super::real::{apply, engine};
use super::world::trouble;
use crate::support::Host;
use crate::support::scenario::{Scenario, application, destination};

/// Applies, and then again: the second time there is nothing to do.
async fn applied(host: &Host, desired: &DesiredState) -> Applied {
    let engine = engine(host);
    let done = apply(&engine, desired, &Request::default()).await;
    assert_eq!(trouble(&done), [""; 0]);
    let again = apply(&engine, desired, &Request::default()).await;
    assert_eq!(again.report.servers[0].operations, [], "a second apply does nothing");
    done
}

/// Whether the engine does what came with that version of the API.
async fn knows(host: &Host, feature: ApiVersion) -> bool {
    engine(host).info().await.unwrap().knows(feature)
}

fn address(host: &Host, container: &str) -> String {
    host.endpoint_of(container, "web-net")["IPAddress"].as_str().unwrap().to_owned()
}

/// Whether it has that address whenever it starts.
fn is_pinned(host: &Host, container: &str) -> bool {
    host.endpoint_of(container, "web-net")["IPAMConfig"]["IPv4Address"].is_string()
}

/// `second` and the proxy are given addresses, and `api` declares the one that Docker gives first.
fn web() -> Scenario {
    let web = destination("web").named("web-net").subnet("10.77.0.0/24");
    let web = web.member(application("second")).member(application("zapi").containers(&["api"]).address("10.77.0.2"));
    Scenario::new().destination(web)
}

#[tokio::test]
async fn members_that_declare_an_address_get_it_and_others_are_not_pinned() {
    let host = Host::start();
    for name in ["traefik", "second", "api"] {
        host.container(name).running();
    }
    applied(&host, &web().desired).await;
    assert_eq!(address(&host, "api"), "10.77.0.2");
    for name in ["traefik", "second"] {
        assert!(address(&host, name) != "10.77.0.2" && !is_pinned(&host, name), "{name}");
    }
}

#[tokio::test]
async fn the_address_of_a_stopped_member_is_kept_and_taken_back_where_it_was_given_away() {
    let host = Host::start();
    let second = host.container("second").running();
    host.container("traefik").running();
    let api = host.container("api").exited();
    let done = applied(&host, &web().desired).await;
    let given = done.report.servers[0].notes.iter().filter(|note| note.reason == Reason::AddressTaken).count();
    assert_eq!(given, 2, "{:?}", done.report.servers[0].notes);
    for name in ["traefik", "second"] {
        assert_ne!(address(&host, name), "10.77.0.2", "{name}");
    }
    host.start_container(&api);
    assert_eq!(address(&host, "api"), "10.77.0.2");
    // Started without its spare address, it is given the first one that is free.
    host.stop_container(&api);
    host.stop_container(&second);
    applied(&host, &web().desired).await;
    assert!(!is_pinned(&host, "second"));
    host.start_container(&second);
    assert_eq!(address(&host, "second"), "10.77.0.2");
    applied(&host, &web().desired).await;
    assert_ne!(address(&host, "second"), "10.77.0.2");
    host.start_container(&api);
    applied(&host, &web().desired).await;
}

/// Both kinds at once, on engines that know only the beginning of a range of IPv6, and that lose an address where the other one is taken.
#[tokio::test]
async fn addresses_of_both_kinds_are_kept_for_a_stopped_member() {
    let host = Host::start();
    let names = ["traefik", "one", "two", "three"];
    for name in names {
        host.container(name).running();
    }
    let api = host.container("api").exited();
    let web = destination("web")
        .named("web-net")
        .subnet("10.77.0.0/24")
        .subnet("fd77::/64")
        .with(|it| it.network.ipv6 = true);
    let web = names[1..].iter().fold(web, |web, name| web.member(application(name)));
    let web = web
        .member(application("api").address("10.77.0.2").with(|it| it.ipv6_address = Some("fd77::2".parse().unwrap())));
    applied(&host, &Scenario::new().destination(web).desired).await;
    host.start_container(&api);
    let kinds = |name: &str| {
        let endpoint = host.endpoint_of(name, "web-net");
        ["IPAddress", "GlobalIPv6Address"].map(|kind| endpoint[kind].as_str().unwrap().to_owned())
    };
    assert_eq!(kinds("api"), ["10.77.0.2", "fd77::2"]);
}

#[tokio::test]
async fn members_exchange_addresses_and_hand_them_over() {
    let host = Host::start();
    for name in ["traefik", "old", "new"] {
        host.container(name).running();
    }
    let declared = |old: Option<&str>, new: Option<&str>| {
        let member = |name: &str, address: Option<&str>| match address {
            Some(address) => application(name).address(address),
            None => application(name),
        };
        let web = destination("web").named("web-net").subnet("10.77.0.0/24");
        Scenario::new().destination(web.member(member("old", old)).member(member("new", new))).desired
    };
    let (ten, eleven) = ("10.77.0.10", "10.77.0.11");
    applied(&host, &declared(Some(ten), Some(eleven))).await;
    applied(&host, &declared(Some(eleven), Some(ten))).await;
    assert_eq!([address(&host, "old"), address(&host, "new")], [eleven, ten]);
    applied(&host, &declared(None, Some(eleven))).await;
    assert_eq!(address(&host, "new"), eleven);
    assert!(address(&host, "old") != eleven && !is_pinned(&host, "old"));
}

#[tokio::test]
async fn an_alias_that_changes_hands_answers_for_its_new_owner_only() {
    let host = Host::start();
    for name in ["traefik", "old", "new", "asking"] {
        host.container(name).running();
    }
    let declared = |old: &[&str], new: &[&str]| {
        let member = |name: &str, aliases: &[&str]| aliases.iter().fold(application(name), |it, alias| it.alias(alias));
        let web = destination("web").named("web-net").member(application("asking"));
        Scenario::new().destination(web.member(member("old", old)).member(member("new", new))).desired
    };
    applied(&host, &declared(&["api", "www"], &[])).await;
    applied(&host, &declared(&["www"], &["api"])).await;
    let answers = |name: &str| host.exec("asking", &["nslookup", name, "127.0.0.11"]);
    for (name, owner, other) in [("api", "new", "old"), ("www", "old", "new")] {
        let answer = answers(name);
        assert!(answer.contains(&address(&host, owner)) && !answer.contains(&address(&host, other)), "{answer}");
    }
}

#[tokio::test]
async fn a_stopped_leftover_does_not_keep_the_one_that_runs_from_its_address() {
    let host = Host::start();
    host.container("traefik").running();
    let leftover = host.container("api-1").label("app", "api").running();
    let web = destination("web").named("web-net").subnet("10.77.0.0/24");
    let web = web.member(application("api").labelled("app", "api").address("10.77.0.10"));
    let desired = Scenario::new().destination(web).desired;
    applied(&host, &desired).await;
    host.stop_container(&leftover);
    host.container("api-2").label("app", "api").running();
    applied(&host, &desired).await;
    assert_eq!(address(&host, "api-2"), "10.77.0.10");
}

#[tokio::test]
async fn a_dynamic_address_on_a_network_of_a_swarm_is_not_pinned_by_a_reconnect() {
    let host = Host::start();
    host.swarm_init();
    for name in ["traefik", "app"] {
        host.container(name).running();
    }
    let declared = |alias: &str| {
        let web = destination("web").named("web-net").subnet("10.77.0.0/24").member(application("app").alias(alias));
        Scenario::new().destination(web).desired
    };
    applied(&host, &declared("one")).await;
    applied(&host, &declared("two")).await;
    host.stop_container("app");
    assert!(!is_pinned(&host, "app"), "{}", host.endpoint_of("app", "web-net"));
}

#[tokio::test]
async fn auxiliary_addresses_are_made_and_kept() {
    let host = Host::start();
    host.container("traefik").running();
    let declared = |aux: &str| {
        let web = destination("web").named("web-net").subnet("10.77.0.0/24");
        let web = web.with(|it| {
            it.network.aux_addresses.insert("router".to_owned(), aux.parse().unwrap());
            it.replacement = Replacement::Reattach;
        });
        Scenario::new().destination(web).desired
    };
    let aux = || host.inspect_network("web-net")["IPAM"]["Config"][0]["AuxiliaryAddresses"].clone();
    applied(&host, &declared("10.77.0.2")).await;
    assert_eq!((aux(), address(&host, "traefik").as_str()), (json!({ "router": "10.77.0.2" }), "10.77.0.3"));
    applied(&host, &declared("10.77.0.3")).await;
    assert_eq!((aux(), address(&host, "traefik").as_str()), (json!({ "router": "10.77.0.3" }), "10.77.0.2"));
}

/// What the daemon refuses is refused in the plan: nothing is tried.
#[tokio::test]
async fn what_the_daemon_never_makes_is_not_asked_for() {
    let host = Host::start();
    host.container("traefik").running();
    let bridge = json!({ "com.docker.network.bridge.name": "br-there" });
    host.create_network_with(json!({ "Name": "there", "Options": bridge }));
    let named = |name: &str| {
        let name = name.to_owned();
        destination("web").named("web-net").with(move |it| {
            it.network.options.insert("com.docker.network.bridge.name".to_owned(), name);
        })
    };
    let cases = [
        destination("web").named("web-net").subnet("10.77.0.0/24").subnet("10.78.0.0/24"),
        named("br-there"),
        named("docker0"),
    ];
    let engine = engine(&host);
    for case in cases {
        let desired = Scenario::new().destination(case).desired;
        let done = apply(&engine, &desired, &Request::default()).await;
        assert!(refused(&done) && done.report.servers[0].operations.is_empty(), "{:?}", done.report.servers[0]);
    }
    assert_eq!(host.network_ids("web-net"), [""; 0]);
}

fn refused(done: &Applied) -> bool {
    done.report.servers[0].notes.iter().any(|note| note.kind == NoteKind::Refused)
}

/// Engines differ in what they can make, and the plan knows which: what it does not refuse is made.
#[tokio::test]
async fn kinds_of_addresses_are_refused_where_the_engine_cannot_give_them_and_made_where_it_can() {
    let host = Host::start();
    let cases = [("pooled", true, ApiVersion::IPV6_POOLS), ("alone", false, ApiVersion::WITHOUT_IPV4)];
    for (name, ipv4, feature) in cases {
        let six = destination(name).named(name).without_proxy().replacement(Replacement::Reattach);
        let declared = |mtu| {
            let six = six.clone().mtu(mtu).with(|it| (it.network.ipv4, it.network.ipv6) = (ipv4, true));
            Scenario::without_proxy().destination(six).desired
        };
        if !knows(&host, feature).await {
            let done = apply(&engine(&host), &declared(1400), &Request::default()).await;
            assert!(refused(&done) && done.report.servers[0].operations.is_empty(), "{:?}", done.report.servers[0]);
            continue;
        }
        // Made, and made anew as it was.
        for mtu in [1400, 1450] {
            applied(&host, &declared(mtu)).await;
            let seen = host.inspect_network(name);
            assert_eq!((&seen["EnableIPv4"], &seen["EnableIPv6"]), (&json!(ipv4), &json!(true)), "{seen}");
        }
    }
}

#[tokio::test]
async fn a_declared_priority_decides_on_the_default_route_where_the_engine_knows_priorities() {
    let host = Host::start();
    host.create_network("aa");
    let app = host.container("app").network("aa").running();
    let declared = |priority| {
        let web = destination("web").named("zz").without_proxy();
        let web = web.member(application("app").with(|it| it.gw_priority = priority));
        Scenario::without_proxy().destination(web).desired
    };
    let by = |network: &str| {
        let gateway = host.endpoint_of("app", network)["Gateway"].as_str().unwrap().to_owned();
        host.exec(&app, &["ip", "route"]).contains(&format!("default via {gateway} "))
    };
    let done = applied(&host, &declared(Some(10))).await;
    let known = knows(&host, ApiVersion::GATEWAY_PRIORITY).await;
    assert_eq!((refused(&done), by("zz")), (!known, known));
    let done = applied(&host, &declared(None)).await;
    assert!(!refused(&done) && by("aa"));
}

/// Newer engines choose MAC addresses by chance: losing an unconfigured one is no loss.
#[tokio::test]
async fn only_a_configured_mac_address_is_missed() {
    let host = Host::start();
    host.container("app").running();
    let declared = |alias: &str, mac: Option<&str>| {
        let web = destination("web").named("web-net").without_proxy();
        let app = application("app").alias(alias).with(|it| it.mac_address = mac.map(str::to_owned));
        Scenario::without_proxy().destination(web.member(app)).desired
    };
    applied(&host, &declared("one", None)).await;
    let done = applied(&host, &declared("two", None)).await;
    assert_eq!(done.report.servers[0].notes, []);
    let own = "02:42:aa:bb:cc:01";
    let done = applied(&host, &declared("two", Some(own))).await;
    let has = host.endpoint_of("app", "web-net")["MacAddress"] == own;
    assert_eq!(
        (refused(&done), has),
        match knows(&host, ApiVersion::MAC_ADDRESS).await {
            true => (false, true),
            false => (true, false),
        }
    );
}

/// The daemon goes by the names of the networks, and the plan says so before.
#[tokio::test]
async fn the_default_route_moves_as_the_plan_says() {
    let host = Host::start();
    let mut moved = Vec::new();
    for (number, (before, after, ipv6)) in
        [("zz", "aa", false), ("bb", "yy", false), ("cc", "xx", true)].iter().enumerate()
    {
        host.create_network(before);
        let name = format!("app-{number}");
        let app = host.container(&name).network(before).running();
        let route = || {
            let routes = host.exec(&app, &["ip", "route"]);
            routes.lines().find(|line| line.starts_with("default")).map(str::to_owned)
        };
        let first = route();
        let web = destination(after).named(after).without_proxy().member(application(&name));
        let web = if *ipv6 { web.subnet("fd77::/64").with(|it| it.network.ipv6 = true) } else { web };
        let desired = Scenario::without_proxy().destination(web).desired;
        let done = applied(&host, &desired).await;
        let said = done.report.servers[0].notes.iter().any(|note| note.reason == Reason::DefaultRouteMoves);
        assert_eq!(said, first != route(), "{before} and {after}: {first:?}, {:?}", route());
        moved.push(said);
    }
    // The first stays where it is on engines that know priorities.
    assert!(!moved[1] && moved[2], "{moved:?}");
}

#[tokio::test]
async fn driver_options_are_given_and_taken_back() {
    let host = Host::start();
    host.container("app").running();
    let declared = |options: &[(&str, &str)]| {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let web = destination("web").named("web-net").without_proxy();
        let web = web.member(application("app").with(|it| it.driver_opts = options));
        Scenario::without_proxy().destination(web).desired
    };
    let options = || match host.endpoint_of("app", "web-net")["DriverOpts"].clone() {
        Value::Object(options) => options.keys().filter(|name| !name.starts_with("landfall.")).cloned().collect(),
        _ => Vec::new(),
    };
    applied(&host, &declared(&[("com.example.one", "1"), ("com.example.two", "2")])).await;
    assert_eq!(options(), ["com.example.one", "com.example.two"]);
    applied(&host, &declared(&[("com.example.two", "2")])).await;
    assert_eq!(options(), ["com.example.two"]);
}
