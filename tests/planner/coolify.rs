//! The example of a migration against containers as Coolify labels them (`bootstrap/helpers/docker.php`).

use landfall::core::manifest::{self, Source};

use crate::support::scenario::{ContainerBuilder, Scenario, container, network};

const MANIFESTS: &str = include_str!("../../manifests/examples/coolify-migration/manifests.yaml");

/// Whatever Coolify deploys, as `defaultLabels` and `defaultDatabaseLabels` have it.
fn deployed(name: &str, project: &str, labels: &[(&str, &str)]) -> ContainerBuilder {
    let common =
        [("coolify.managed", "true"), ("coolify.projectName", project), ("coolify.environmentName", "production")];
    common.iter().chain(labels).fold(container(name), |container, (key, value)| container.label(key, value))
}

fn application(name: &str, project: &str, pull_request: &str) -> ContainerBuilder {
    let labels = [
        ("coolify.version", "4.3.11"),
        ("coolify.applicationId", "7"),
        ("coolify.type", "application"),
        // An id, and another one with each deployment.
        ("coolify.name", name),
        ("coolify.resourceName", "storefront"),
        ("coolify.serviceName", "storefront"),
        ("coolify.pullRequestId", pull_request),
    ];
    deployed(name, project, &labels)
}

#[test]
fn the_example_of_a_migration_matches_what_coolify_makes() {
    let database = [
        ("coolify.type", "database"),
        ("coolify.databaseId", "3"),
        ("coolify.resourceName", "storefront-db"),
        ("coolify.serviceName", "storefront-db"),
        ("coolify.database.subType", "standalone-postgresql"),
    ];
    let part = |id: &'static str, kind: &'static str, name: &'static str| {
        [
            ("coolify.version", "4.3.11"),
            ("coolify.serviceId", "2"),
            ("coolify.type", "service"),
            ("coolify.name", name),
            ("coolify.resourceName", "plausible"),
            ("coolify.serviceName", "plausible"),
            ("coolify.pullRequestId", "0"),
            ("coolify.service.subId", id),
            ("coolify.service.subType", kind),
            ("coolify.service.subName", name),
        ]
    };
    let mut scenario = Scenario::new()
        .network(network("coolify"))
        .container(
            container("coolify-proxy").label("coolify.proxy", "true").label("coolify.managed", "true").on("coolify"),
        )
        .container(application("hs0kkcw8kw4gw0c0c8sgw4o8-101010123456", "shop", "0"))
        .container(application("hs0kkcw8kw4gw0c0c8sgw4o8-pr-12", "shop", "12"))
        .container(application("wkw4gw0c0c8sgw4o8hs0kkc-101010123456", "another-project", "0"))
        .container(deployed("t8s0c4ssk4gwk0w0ggs8cswk", "shop", &database))
        .container(deployed("plausible-x4k8", "shop", &part("5", "application", "plausible")))
        .container(deployed("events-db-x4k8", "shop", &part("6", "database", "events-db")));
    let sources = [Source { name: "m.yaml".to_owned(), bytes: MANIFESTS.into() }];
    scenario.desired = manifest::load(&sources).unwrap().desired("default");
    let seen = scenario.observed.into_values().next().unwrap();
    let server = scenario.desired.servers.keys().next().unwrap().clone();
    scenario.observed = std::collections::BTreeMap::from([(server, seen)]);
    let plan = scenario.plan();
    assert_eq!(
        plan.to_string(),
        "default/coolify-1
  + connect hs0kkcw8kw4gw0c0c8sgw4o8-101010123456 to coolify for Application/default/storefront (MemberDetached)
  + connect t8s0c4ssk4gwk0w0ggs8cswk to coolify for Database/default/storefront-db (MemberDetached)
  + connect events-db-x4k8 to coolify for Service/default/plausible (MemberDetached)
  + connect plausible-x4k8 to coolify for Service/default/plausible (MemberDetached)
"
    );
}
