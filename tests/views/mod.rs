//! The pure views: what `scan`, `drift` and `graph` make of given states, literally.

mod doctor;
mod drift;
mod graph;
mod observed;
mod roundtrip;
mod scan;
mod subnets;

use landfall::core::api::{Kind, Object, Spec};

/// Objects from manifests, without any of the checks that a user's manifests get.
fn objects(manifests: &str) -> Vec<Object> {
    use serde::de::Deserialize;
    serde_yaml::Deserializer::from_str(manifests)
        .map(|document| {
            let mut document = serde_yaml::Mapping::deserialize(document).unwrap();
            let kind: Kind = document["kind"].as_str().unwrap().parse().unwrap();
            let spec = document.remove("spec").unwrap();
            Object {
                metadata: serde_yaml::from_value(document.remove("metadata").unwrap()).unwrap(),
                spec: match kind {
                    Kind::Server => Spec::Server(serde_yaml::from_value(spec).unwrap()),
                    Kind::Destination => Spec::Destination(serde_yaml::from_value(spec).unwrap()),
                    Kind::Application => Spec::Application(serde_yaml::from_value(spec).unwrap()),
                    Kind::Database => Spec::Database(serde_yaml::from_value(spec).unwrap()),
                    Kind::Service => Spec::Service(serde_yaml::from_value(spec).unwrap()),
                    Kind::Notifier => Spec::Notifier(serde_yaml::from_value(spec).unwrap()),
                },
            }
        })
        .collect()
}
