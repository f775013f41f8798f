//! Answers that lie: what a list leaves out is there all the same, and a call that failed may have taken effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::guard::STACK;
use super::keep::is_on;
use crate::cli::world::{World, server};
use crate::support::Host;
use crate::support::faults::{Asked, Fate, Faulty};

/// A list without what `left_out` says.
fn without(left_out: impl Fn(&Value) -> bool + Send + 'static) -> Fate {
    Fate::Rewritten(Box::new(move |list: Value| match list {
        Value::Array(entries) => Value::Array(entries.into_iter().filter(|entry| !left_out(entry)).collect()),
        other => other,
    }))
}

fn hides_network(asked: &Asked, name: &'static str) -> Fate {
    match asked.is("GET", "/networks") {
        true => without(move |network| network["Name"] == name),
        false => Fate::Pass,
    }
}

fn changes(faulty: &Faulty) -> Vec<String> {
    let asked = faulty.take_asked();
    asked.into_iter().filter(Asked::changes).map(|it| format!("{} {}", it.method, it.path)).collect()
}

struct Stage {
    host: Host,
    faulty: Faulty,
    world: World,
}

/// A stack of two, one of which has ended, on their network.
fn stage(more: &str) -> Stage {
    let host = Host::start();
    let faulty = Faulty::before(host.socket());
    for number in 0..2 {
        host.container(&format!("shop-{number}")).label("com.docker.compose.project", "shop").running();
    }
    let world = World::new(&(server(&faulty.endpoint()) + &STACK.replace("proxy: false", more)));
    world.run("apply --yes").expect(0);
    host.stop_container("shop-1");
    faulty.take_asked();
    Stage { host, faulty, world }
}

/// Field case 21.
#[test]
fn a_network_that_is_hidden_from_the_list_is_neither_made_twice_nor_emptied() {
    let Stage { host, faulty, world } = stage("proxy: false");
    let ids = host.network_ids("web-net");
    faulty.rule(|asked| hides_network(asked, "web-net"));
    for _ in 0..3 {
        world.run("apply --yes").expect(0);
    }
    assert_eq!(changes(&faulty), Vec::<String>::new());
    assert_eq!(host.network_ids("web-net"), ids);
    // Also where nobody is on it to name it, and the engine makes a second one of the same name without a word.
    for name in ["shop-0", "shop-1"] {
        host.remove_container(name);
    }
    for _ in 0..2 {
        world.run("apply --yes").expect(0);
    }
    assert_eq!(host.network_ids("web-net"), ids);
    // One that was just made is not made again because the list leaves it out.
    faulty.heal();
    host.remove_network("web-net");
    faulty.rule(|asked| hides_network(asked, "web-net"));
    changes(&faulty);
    world.run("apply --yes").expect(0);
    assert_eq!(changes(&faulty), ["POST /networks/create"]);
    assert_eq!(host.network_ids("web-net").len(), 1);
}

/// A container that lists leave out, whatever they are asked for, keeps its network.
#[test]
fn what_is_hidden_from_lists_stands_in_the_way_of_a_deletion() {
    let Stage { host, faulty, world } = stage("proxy: false");
    let only =
        server(&faulty.endpoint()) + STACK.split("---\n").nth(1).map(|it| format!("---\n{it}")).unwrap().as_str();
    world.write("manifests/all.yaml", &only);
    for (lie, shown) in [("the running one", "shop-0"), ("endpoints", "shop-1"), ("the one that has ended", "shop-1")] {
        for name in ["shop-0", "shop-1"] {
            if name != shown && is_on(&host, name, "web-net") {
                host.disconnect("web-net", name);
            }
        }
        faulty.rule(move |asked| match asked.is("GET", "/containers/json") {
            true if lie == "endpoints" => Fate::Rewritten(Box::new(|mut list| {
                for container in list.as_array_mut().into_iter().flatten() {
                    container["NetworkSettings"]["Networks"] = json!({});
                }
                list
            })),
            true => without(move |container| container["Names"][0] == format!("/{shown}")),
            false => Fate::Pass,
        });
        let ran = world.run("delete destination web --yes");
        assert!(ran.code >= 2, "{lie}: {ran}");
        assert!(!changes(&faulty).iter().any(|change| change.starts_with("DELETE")), "{lie}");
        assert!(is_on(&host, shown, "web-net"), "{lie}");
        faulty.heal();
        world.write("manifests/all.yaml", &(server(&faulty.endpoint()) + STACK));
        host.start_container("shop-1");
        world.run("apply --yes").expect(0);
        host.stop_container("shop-1");
        world.write("manifests/all.yaml", &only);
        faulty.take_asked();
    }
}

/// Neither lists nor events tell of it, and it does not run: that it was there is remembered, and its id tells that it still is.
#[test]
fn a_stopped_container_that_is_hidden_from_lists_and_events_keeps_its_network() {
    let Stage { host, faulty, world } = stage("proxy: false");
    let only =
        server(&faulty.endpoint()) + STACK.split("---\n").nth(1).map(|it| format!("---\n{it}")).unwrap().as_str();
    world.write("manifests/all.yaml", &only);
    host.disconnect("web-net", "shop-0");
    let ids = host.network_ids("web-net");
    let hide = || {
        faulty.take_asked();
        faulty.rule(|asked| match asked.path.as_str() {
            "/containers/json" => without(|container| container["Names"][0] == "/shop-1"),
            "/events" => Fate::Refused(403),
            _ => Fate::Pass,
        });
    };
    hide();
    for command in ["delete destination web --yes", "apply --yes --prune --allow-mass-delete"] {
        if command.starts_with("apply") {
            // Whoever connected it is not asked: what no manifest declares any more is not Landfall's alone.
            host.start_container("shop-1");
            host.disconnect("web-net", "shop-1");
            host.connect("web-net", "shop-1");
            host.stop_container("shop-1");
            world.write("manifests/all.yaml", &server(&faulty.endpoint()));
        }
        let ran = world.run(command);
        assert!(ran.code >= 1 && ran.to_string().contains("shop-1"), "{ran}");
        assert_eq!(changes(&faulty), Vec::<String>::new(), "{command}: {ran}");
        assert_eq!(host.network_ids("web-net"), ids);
        assert!(is_on(&host, "shop-1", "web-net"));
    }
    // A list that is short once is asked for again.
    host.disconnect("web-net", "shop-1");
    world.write("manifests/all.yaml", &(server(&faulty.endpoint()) + STACK));
    let count = AtomicUsize::new(0);
    faulty.rule(move |asked| match asked.is("GET", "/containers/json") && count.fetch_add(1, Ordering::SeqCst) == 0 {
        true => without(|container| container["Names"][0] == "/shop-1"),
        false => Fate::Pass,
    });
    world.run("apply --yes").expect(0);
    assert!(is_on(&host, "shop-1", "web-net"));
    faulty.heal();
    world.write("manifests/all.yaml", &server(&faulty.endpoint()));
    // One that is gone is not waited for.
    host.remove_container("shop-1");
    world.run("apply --yes --prune --allow-mass-delete").expect(0);
    assert!(host.network_ids("web-net").is_empty());
}

/// The list is short once, right when the executor looks.
#[test]
fn a_network_that_one_list_leaves_out_is_not_said_to_be_removed() {
    let Stage { host, faulty, world } = stage("proxy: false");
    for name in ["shop-0", "shop-1"] {
        host.remove_container(name);
    }
    let only =
        server(&faulty.endpoint()) + STACK.split("---\n").nth(1).map(|it| format!("---\n{it}")).unwrap().as_str();
    world.write("manifests/all.yaml", &only);
    for nth in 1..=6 {
        let count = AtomicUsize::new(0);
        faulty.rule(move |asked| {
            match asked.is("GET", "/networks") && count.fetch_add(1, Ordering::SeqCst) + 1 == nth {
                true => without(|network| network["Name"] == "web-net"),
                false => Fate::Pass,
            }
        });
        faulty.take_asked();
        let ran = world.run("delete destination web --yes");
        let removed = changes(&faulty).iter().any(|change| change.starts_with("DELETE"));
        let gone = host.network_ids("web-net").is_empty();
        assert_eq!(removed, gone, "{nth}: {ran}");
        assert!(gone || ran.code != 0, "{nth}: {ran}");
        faulty.heal();
        world.run("apply --yes").expect(0);
    }
}

/// Field case 22: each call of a replacement is done and answered by 500, or not done.
#[test]
fn whatever_the_daemon_answers_to_a_replacement_members_are_on_a_network_with_their_aliases_in_the_end() {
    let Stage { host, faulty, world } = stage("proxy: false, replacement: Reattach");
    host.start_container("shop-1");
    host.disconnect("web-net", "shop-1");
    host.connect_with("web-net", "shop-1", json!({ "Aliases": ["by-hand"] }));
    let mut mtu = 1400;
    for done in [true, false] {
        for nth in 1..=8 {
            mtu += 1;
            let more = format!("proxy: false, replacement: Reattach, network: {{ name: web-net, mtu: {mtu} }}");
            let stack = STACK.replace("network: { name: web-net }, proxy: false", &more);
            world.write("manifests/all.yaml", &(server(&faulty.endpoint()) + &stack));
            let count = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&count);
            faulty.rule(move |asked| {
                if !asked.changes() || counted.fetch_add(1, Ordering::SeqCst) + 1 != nth {
                    return Fate::Pass;
                }
                if done { Fate::DoneAndRefused(500) } else { Fate::Refused(500) }
            });
            world.run("apply --yes");
            faulty.heal();
            world.run("apply --yes").expect(0);
            for name in ["shop-0", "shop-1"] {
                assert!(is_on(&host, name, "web-net"), "{done} {nth}: {name}");
            }
            let aliases = host.endpoint_of("shop-1", "web-net")["Aliases"].to_string();
            assert!(aliases.contains("by-hand"), "{done} {nth}: {aliases}");
            assert_eq!(host.network_ids("web-net").len(), 1, "{done} {nth}");
            if count.load(Ordering::SeqCst) < nth {
                break;
            }
        }
    }
}

#[test]
fn one_failure_of_a_connection_forgets_nothing_and_a_server_that_is_gone_is_said_to_be() {
    let Stage { host, faulty, world } = stage("proxy: false");
    for nth in 1..=6 {
        let count = AtomicUsize::new(0);
        faulty.rule(move |asked| {
            match asked.is("GET", "/networks") && count.fetch_add(1, Ordering::SeqCst) + 1 == nth {
                true => Fate::Refused(500),
                false => Fate::Pass,
            }
        });
        let ran = world.run("delete destination web --force --yes");
        assert!(host.network_ids("web-net").is_empty(), "{nth}: {ran}");
        faulty.heal();
        world.run("apply --yes").expect(0);
    }
    faulty.rule(|_| Fate::Cut);
    let by_name = world.run("delete destination web --force --yes").expect(0);
    assert!(by_name.stderr.contains("stayed unreachable"), "{by_name}");
    let by_file = world.run("delete -f manifests/all.yaml --force --yes");
    assert!(by_file.code >= 3 || by_file.code == 2, "{by_file}");
    faulty.rule(|_| Fate::Refused(403));
    let denied = world.run("delete destination web --force --yes");
    assert!(denied.code == 2 && !denied.stderr.contains("forgotten"), "{denied}");
}
