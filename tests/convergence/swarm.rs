//! Whole passes against a real Swarm.

use landfall::engine::Writer;
use landfall::plan::{Call, NoteKind};

use super::real::{apply, engine, preview};
use super::world::trouble;
use crate::support::Host;
use crate::support::scenario::{Scenario, destination};

/// A manager lists a network before it has given it a driver, options and subnets.
#[tokio::test]
async fn fact_11_an_apply_right_after_the_first_takes_the_network_for_what_it_is() {
    let host = Host::start();
    host.swarm_init();
    let engine = engine(&host);
    let scenario = Scenario::without_proxy().swarm_manager().destination(
        destination("web").named("web-net").subnet("10.42.0.0/24").mtu(1400).with(|it| it.network.encrypted = true),
    );
    for round in 0..5 {
        let planned = preview(&engine, &scenario.desired, &scenario.request).await.plan;
        let Call::CreateNetwork(create) = &planned.servers[0].groups[0].operations[0].call else { panic!("{planned}") };
        let id = engine.create_network(create).await.unwrap();
        let planned = preview(&engine, &scenario.desired, &scenario.request).await.plan;
        assert!(planned.servers[0].groups.is_empty(), "round {round}: {planned}");
        assert!(planned.servers[0].notes.iter().all(|note| note.kind == NoteKind::Waiting), "round {round}: {planned}");
        engine.remove_network(&id).await.unwrap();
        let first = apply(&engine, &scenario.desired, &scenario.request).await;
        assert_eq!(trouble(&first), [""; 0], "round {round}");
        let second = apply(&engine, &scenario.desired, &scenario.request).await.report;
        assert_eq!((second.servers[0].operations.len(), &second.servers[0].notes[..]), (0, &[][..]), "round {round}");
        host.remove_network("web-net");
    }
}
