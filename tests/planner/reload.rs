//! Which servers are planned anew when the manifests say something else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use landfall::core::api::{Kind, ObjectKey};
use landfall::core::desired::{DesiredServer, DesiredState};
use landfall::core::reload::concerned;

use crate::support::scenario::{Scenario, application, destination, key};

fn server(name: &str) -> ObjectKey {
    key(Kind::Server, name)
}

/// Servers `s0` to `s4`, each with a destination `net-…` and an application `app-…` on it.
fn fleet() -> BTreeMap<ObjectKey, DesiredServer> {
    let one = |number: usize| {
        let members = destination(&format!("net-{number}")).member(application(&format!("app-{number}")));
        let mut scenario = Scenario::without_proxy().destination(members);
        let key = server(&format!("s{number}"));
        (key.clone(), DesiredServer { key, ..scenario.server().clone() })
    };
    (0..5).map(one).collect()
}

fn state(servers: &BTreeMap<ObjectKey, DesiredServer>) -> DesiredState {
    let servers = servers.iter().map(|(key, server)| (key.clone(), Arc::new(server.clone())));
    DesiredState::new("default", servers.collect())
}

/// `swarm`: the servers that are part of one.
#[track_caller]
fn expect(before: &DesiredState, after: &DesiredState, objects: &[ObjectKey], swarm: &[&str], expected: &[&str]) {
    let alone = |it: &ObjectKey| !swarm.contains(&it.name.as_str());
    let objects: BTreeSet<ObjectKey> = objects.iter().cloned().collect();
    let found = concerned(before, after, &objects, alone);
    assert_eq!(found.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), expected);
}

#[test]
fn only_the_servers_on_which_something_else_is_declared_are_planned_anew() {
    let fleet = fleet();
    let before = state(&fleet);
    expect(&before, &before, &[], &[], &[]);
    expect(&DesiredState::new("default", BTreeMap::new()), &before, &[], &[], &["s0", "s1", "s2", "s3", "s4"]);

    let mut changed = fleet.clone();
    changed.get_mut(&server("s3")).unwrap().destinations[0].members[0].endpoint.aliases.push("web".to_owned());
    expect(&before, &state(&changed), &[], &[], &["s3"]);

    let mut moved = fleet.clone();
    let member = moved.get_mut(&server("s1")).unwrap().destinations[0].members.remove(0);
    moved.get_mut(&server("s2")).unwrap().destinations[0].members.push(member);
    expect(&before, &state(&moved), &[], &[], &["s1", "s2"]);

    let mut gone = fleet.clone();
    gone.remove(&server("s0"));
    expect(&before, &state(&gone), &[], &[], &[]);
}

#[test]
fn of_what_has_another_form_with_the_same_meaning_it_is_said_that_it_is_as_declared() {
    let before = state(&fleet());
    let application = key(Kind::Application, "app-2");
    let network = key(Kind::Destination, "net-4");
    let nowhere = key(Kind::Application, "elsewhere");
    expect(&before, &before, &[application, network, server("s0"), nowhere], &[], &["s0", "s2", "s4"]);
}

#[test]
fn the_servers_of_swarms_are_planned_together_and_one_that_nobody_has_seen_may_be_one() {
    let fleet = fleet();
    let before = state(&fleet);
    let mut changed = fleet.clone();
    changed.get_mut(&server("s1")).unwrap().suspend = true;
    expect(&before, &state(&changed), &[], &["s1", "s3"], &["s1", "s3"]);
    expect(&before, &state(&changed), &[], &["s2", "s3"], &["s1"]);
    // What was declared on a node that has left the manifests matters to the others.
    let mut gone = fleet.clone();
    gone.remove(&server("s0"));
    expect(&before, &state(&gone), &[], &["s0", "s3"], &["s3"]);
}

#[test]
fn with_another_set_or_source_everything_is_planned_anew() {
    let before = state(&fleet());
    let all = ["s0", "s1", "s2", "s3", "s4"];
    let (mut set, mut source) = (before.clone(), before.clone());
    set.set = "other".to_owned();
    source.source = Some("repo".to_owned());
    expect(&before, &set, &[], &[], &all);
    expect(&before, &source, &[], &[], &all);
}
