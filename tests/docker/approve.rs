//! Mass deletion waits for somebody to agree, and agreeing to one list is not agreeing to another.

use landfall::shell::controller::board::Content;
use landfall::shell::controller::run::{Command, Ended};

use super::running::Running;
use crate::cli::world::{World, server};
use crate::support::Host;

fn destinations(names: &[&str]) -> String {
    let one = |name: &&str| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name}, namespace: shop }}\n\
             spec: {{ server: infra/edge, network: {{ name: {name}-net }} }}\n"
        )
    };
    names.iter().map(one).collect()
}

fn pending(board: &Content) -> Option<(String, Vec<String>)> {
    let (_, withheld) = board.pending().next()?;
    let names = withheld.deletions.iter().map(|it| it.destination.name.to_string());
    Some((withheld.fingerprint.clone(), names.collect()))
}

#[tokio::test(flavor = "multi_thread")]
async fn mass_deletion_waits_and_what_is_agreed_to_is_exactly_what_goes() {
    let host = Host::start();
    let world = World::new(&server(&host.endpoint()));
    let declare = |names: &[&str]| {
        world.write("manifests/next.tmp", &destinations(names));
        let path = world.path().join("manifests");
        std::fs::rename(path.join("next.tmp"), path.join("shop.yaml")).unwrap();
    };
    let exist = |names: &[&str]| names.iter().all(|name| host.network_ids(&format!("{name}-net")).len() == 1);
    declare(&["a", "b", "c", "d"]);
    let running = Running::start(world.path());
    running.shows("convergence", |_| exist(&["a", "b", "c", "d"]).then_some(())).await;

    declare(&["c", "d"]);
    let (two, names) = running.shows("what is pending", pending).await;
    assert_eq!(names, ["a", "b"]);

    // The file coming back is an answer as well.
    declare(&["a", "b", "c", "d"]);
    running.shows("nothing pending", |board| pending(board).is_none().then_some(())).await;

    // Another list: what was agreed to for the first one is worth nothing.
    declare(&["d"]);
    let three = running
        .shows("what is pending", |board| pending(board).filter(|(_, names)| names.len() == 3).map(|it| it.0))
        .await;
    assert_ne!(two, three);
    running.send(Command::Approve { fingerprint: two }).await;
    running.another_pass().await;
    assert!(exist(&["a", "b", "c", "d"]));

    running.send(Command::Approve { fingerprint: three }).await;
    running.shows("nothing pending", |board| pending(board).is_none().then_some(())).await;
    running.another_pass().await;
    for gone in ["a-net", "b-net", "c-net"] {
        assert_eq!(host.network_ids(gone), Vec::<String>::new());
    }
    assert!(exist(&["d"]));
    assert_eq!(running.stop().await, Ended::Drained);
}
