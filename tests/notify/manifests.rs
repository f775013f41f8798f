//! People are told when the manifests cannot be used, and when they can be used again.

use super::receiver::Receiver;
use crate::cli::world::World;
use crate::support::wait_for;
use crate::web::live::Running;

const SERVER: &str = "apiVersion: landfall/v1
kind: Server
metadata: { name: edge, namespace: infra }
spec: { endpoint: 'unix:///nonexistent/docker.sock' }
";
const WRONG: &str = "---
{ apiVersion: landfall/v1, kind: Destination, metadata: { name: web, namespace: infra }, spec: { server: infra/edge, networc: { name: s3cr3t } } }
";

#[test]
fn that_manifests_are_invalid_and_that_they_are_valid_again_is_told_each_time() {
    let receiver = Receiver::start(&[]);
    let notifier = format!(
        "---\napiVersion: landfall/v1\nkind: Notifier\nmetadata: {{ name: hook, namespace: infra }}\n\
         spec: {{ type: webhook, url: '{}', events: [ManifestInvalid, ManifestValid] }}\n",
        receiver.url("/hook")
    );
    let good = format!("{SERVER}{notifier}");
    let world = World::new(&good);
    let running = Running::start_in(crate::cli::run::command(), &world, &[]);
    let told = |count: usize| -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let told = receiver.wait(count);
        assert_eq!(told.len(), count, "{told:?}");
        told.iter().map(|it| it.json()).map(|it| (text(&it["event"]), text(&it["message"]))).collect()
    };
    wait_for("the manifests are in force", || running.log().contains("manifests read").then_some(()));
    for round in 1..=2 {
        world.write("manifests/all.yaml", &format!("{good}{WRONG}"));
        running.reload();
        let (event, message) = told(2 * round - 1).pop().unwrap();
        assert_eq!(event, "ManifestInvalid");
        assert!(message.starts_with("1 problem in the manifests; the last good ones stay in force."), "{message}");
        assert!(message.contains("networc") && message.contains("all.yaml"), "what and where: {message}");
        assert!(!message.contains("s3cr3t"), "a value beside it: {message}");
        // As before it was wrong, which is no change of what is in force.
        world.write("manifests/all.yaml", &good);
        running.reload();
        let (event, message) = told(2 * round).pop().unwrap();
        assert_eq!(
            (event.as_str(), message.as_str()),
            ("ManifestValid", "The manifests are valid again, and in force.")
        );
    }
}
