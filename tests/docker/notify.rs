//! Somebody is told of what happens on a real daemon.

use landfall::shell::controller::run::Ended;

use super::running::Running;
use crate::cli::world::{SHOP, World, server};
use crate::notify::receiver::Receiver;
use crate::support::Host;

#[tokio::test(flavor = "multi_thread")]
async fn drift_that_is_healed_is_told_and_what_is_made_for_the_first_time_is_not() {
    let receiver = Receiver::start(&[]);
    let host = Host::start();
    for name in ["traefik", "frontend"] {
        host.container(name).running();
    }
    let world = World::new(&(server(&host.endpoint()) + SHOP));
    let notifier = format!(
        "apiVersion: landfall/v1\nkind: Notifier\nmetadata: {{ name: ops, namespace: shop }}\n\
         spec: {{ type: webhook, url: '{}' }}\n",
        receiver.url("/ops")
    );
    world.write("manifests/notifier.yaml", &notifier);
    let running = Running::start(world.path());
    let is_on = || host.networks_of("frontend").iter().any(|name| name == "web-net");
    running.shows("convergence", |_| is_on().then_some(())).await;
    running.another_pass().await;
    assert_eq!(receiver.all().len(), 0, "{:?}", receiver.all());

    host.disconnect("web-net", "frontend");
    running.shows("the notices", |board| (board.counts.notices.get("sent") == Some(&2)).then_some(())).await;
    let events: Vec<_> =
        receiver.all().iter().map(|it| (it.json()["event"].clone(), it.json()["object"].clone())).collect();
    assert_eq!(
        events,
        [
            ("DriftFound".into(), "Application/shop/frontend".into()),
            ("Healed".into(), "Application/shop/frontend".into())
        ]
    );
    assert!(is_on());
    assert_eq!(running.stop().await, Ended::Drained);
}
