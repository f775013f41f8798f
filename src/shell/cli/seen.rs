//! The declared objects and what there is of them: what `get` and `describe` show.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::args::{self, ServerArgs, SetArgs, StateArgs};
use super::client::failed_attempts;
use super::{Context, Error, record, servers};
use crate::core::api::{Condition, ConditionStatus, Kind, Object, ObjectKey, Spec};
use crate::core::desired::{DesiredDestination, DesiredServer, DesiredState};
use crate::core::manifest::Manifests;
use crate::core::observed::Observations;
use crate::core::plan::facts::{DestinationFacts, EndpointFacts, ServerFacts};
use crate::core::plan::{Plan, Request, ownership};
use crate::core::report::Report;
use crate::core::status::Status;
use crate::core::workload::database::Connection;
use crate::shell::reconcile::Preview;
use crate::shell::store::records::{APPROVAL_PENDING, CONTENDED, ObjectRecord};

pub(super) struct Seen {
    pub(super) desired: DesiredState,
    pub(super) observed: Observations,
    pub(super) plan: Plan,
    pub(super) status: Status,
    /// What is on record.
    recorded: BTreeMap<ObjectKey, ObjectRecord>,
}

/// Looks at the servers that the objects are on, and at others as far as it takes to know what those may have. `whole_swarms`: whoever may be
/// on a network of a Swarm, on whichever node.
pub(super) fn look(
    context: &Context,
    manifests: &Manifests,
    objects: &BTreeSet<ObjectKey>,
    set: &SetArgs,
    server_args: &ServerArgs,
    state: &StateArgs,
    whole_swarms: bool,
) -> Result<Seen, Error> {
    let desired = relevant(manifests, objects, set)?;
    let kept = servers::kept(state)?;
    let failed_attempts = context.block_on(failed_attempts(state, set))?;
    let request = Request { whole_swarms, failed_attempts, ..Request::default() };
    let preview = servers::preview(context, &servers::pass(&desired, &request, &kept, server_args), server_args)?;
    context.block_on(Seen::new(desired, preview, set, state))?
}

/// What is declared on the servers that the objects are on. What nothing declares may be on any.
pub(super) fn relevant(
    manifests: &Manifests,
    objects: &BTreeSet<ObjectKey>,
    set: &SetArgs,
) -> Result<DesiredState, Error> {
    let mut desired = args::desired(manifests, &set.set);
    if objects.iter().all(|object| manifests.get(object).is_some()) {
        desired.narrow(|key, server| objects.contains(key) || objects.iter().any(|object| server.has(object)));
    }
    Ok(desired)
}

impl Seen {
    pub(super) async fn new(
        desired: DesiredState,
        Preview { observed, plan }: Preview,
        set: &SetArgs,
        state: &StateArgs,
    ) -> Result<Self, Error> {
        let mut status = Status::new(&desired, &observed, &Report::planned(plan.clone()));
        // Without a record nothing is missing but since when it is so.
        let recorded = record::store(state, set)?.objects().await.unwrap_or_else(|error| {
            tracing::warn!("{error}; since when conditions are as they are is not known");
            BTreeMap::new()
        });
        record::date(&mut status, &recorded);
        for (object, _, condition) in record::told_by_controller(&record::directory(state, set)?, &recorded) {
            if let Some(conditions) = status.conditions.get_mut(&object)
                && conditions.iter().all(|known| known.condition_type != condition.condition_type)
            {
                conditions.push(condition);
            }
        }
        Ok(Self { desired, observed, plan, status, recorded })
    }

    /// Whether a network of the destination is there, declared or not.
    pub(super) fn has_network(&self, destination: &ObjectKey) -> bool {
        let declared = self.destination_facts(destination).is_some_and(|facts| facts.network.is_some());
        declared
            || self.observed.values().flatten().flat_map(|state| &state.networks).any(|network| {
                ownership::of(network).is_some_and(|owner| {
                    owner.sealed && owner.set == self.desired.set && owner.destination.as_ref() == Some(destination)
                })
            })
    }

    pub(super) fn complete(&self) -> bool {
        self.desired.servers.keys().all(|server| matches!(self.observed.get(server), Some(Ok(_))))
    }

    pub(super) fn server_facts(&self, server: &ObjectKey) -> Option<&ServerFacts> {
        self.status.servers.get(server)?.as_ref()
    }

    pub(super) fn destination(&self, key: &ObjectKey) -> Option<(&DesiredServer, &DesiredDestination)> {
        self.desired.destination(key)
    }

    pub(super) fn destination_facts(&self, key: &ObjectKey) -> Option<&DestinationFacts> {
        let (server, _) = self.destination(key)?;
        self.status.destination(&server.key, key)
    }

    pub(super) fn conditions(&self, key: &ObjectKey) -> &[Condition] {
        self.status.conditions.get(key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn ready(&self, key: &ObjectKey) -> (ConditionStatus, &str, &str) {
        match self.status.condition(key, "Ready") {
            // As it should be at this moment, and not for long.
            Some(ready)
                if ready.status == ConditionStatus::True
                    && let Some(besides) = [CONTENDED, APPROVAL_PENDING]
                        .into_iter()
                        .find_map(|condition_type| self.status.condition(key, condition_type)) =>
            {
                (ConditionStatus::True, &besides.reason, &besides.message)
            }
            Some(ready) => (ready.status, &ready.reason, &ready.message),
            None => (ConditionStatus::Unknown, "NotObserved", ""),
        }
    }

    /// The destinations of a resource, with its containers there; `None` where the server was not observed.
    pub(super) fn placements(&self, resource: &ObjectKey) -> Vec<Placed<'_>> {
        self.desired
            .destinations()
            .filter(|(_, destination)| destination.members.iter().any(|member| member.resource == *resource))
            .map(|(server, destination)| {
                let facts = self.status.destination(&server.key, &destination.key);
                let containers = facts.map(|facts| {
                    let own = facts.members.iter().filter(|member| member.resource == *resource);
                    own.map(|member| (member.expected, &member.endpoint)).collect()
                });
                let missing = facts
                    .map_or(0, |facts| facts.missing.iter().filter(|missing| missing.resource == *resource).count());
                Placed { server: &server.key, destination: &destination.key, containers, missing }
            })
            .collect()
    }

    /// How a database that Landfall runs is reached.
    pub(super) fn connection(&self, database: &ObjectKey) -> Option<&Connection> {
        let mut members = self.desired.destinations().flat_map(|(_, destination)| &destination.members);
        members.find(|member| member.resource == *database)?.connection()
    }

    /// The object as a document with its status, as kubectl has it.
    pub(super) fn document(&self, object: &Object) -> Result<Value, Error> {
        let failed = |error| Error::new("cannot write the object").caused_by(&error);
        let mut document = serde_json::to_value(object).map_err(failed)?;
        let key = object.key();
        if let Some(record) = self.recorded.get(&key).filter(|record| record.generation > 0) {
            // A form that nobody has recorded yet is the next one.
            let newer = u64::from(record.fingerprint != object.fingerprint());
            document["metadata"]["generation"] = json!(record.generation + newer);
        }
        let mut status = Map::new();
        status.insert("conditions".to_owned(), serde_json::to_value(self.conditions(&key)).map_err(failed)?);
        match &object.spec {
            Spec::Server(_) => {
                extend(&mut status, self.server_facts(&key)).map_err(failed)?;
                let server = self.desired.servers.get(&key);
                let destinations = server.into_iter().flat_map(|server| &server.destinations);
                let destinations: Vec<String> = destinations.map(|destination| destination.key.path()).collect();
                status.insert("destinations".to_owned(), json!(destinations));
            }
            Spec::Destination(_) => {
                if let Some((server, destination)) = self.destination(&key) {
                    status.insert("server".to_owned(), json!(server.key.path()));
                    let display_name = display_name(server, destination, self.destination_facts(&key));
                    if let Some(display_name) = display_name {
                        status.insert("displayName".to_owned(), json!(display_name));
                    }
                }
                extend(&mut status, self.destination_facts(&key)).map_err(failed)?;
            }
            Spec::Notifier(_) => {}
            Spec::Application(_) | Spec::Database(_) | Spec::Service(_) => {
                let mut destinations = Vec::new();
                for placed in self.placements(&key) {
                    let containers = placed.containers.map(|containers| {
                        containers.into_iter().map(|(_, endpoint)| endpoint.clone()).collect::<Vec<EndpointFacts>>()
                    });
                    destinations.push(json!({
                        "destination": placed.destination.path(),
                        "server": placed.server.path(),
                        "containers": containers,
                    }));
                }
                status.insert("destinations".to_owned(), Value::Array(destinations));
                let url = self.connection(&key).map(|connection| json!(connection.masked_url()));
                status.extend(url.map(|url| ("connectionUrl".to_owned(), url)));
            }
        }
        if let Value::Object(document) = &mut document {
            document.insert("status".to_owned(), Value::Object(status));
        }
        Ok(document)
    }
}

/// A resource on one of its destinations.
pub(super) struct Placed<'a> {
    pub(super) server: &'a ObjectKey,
    pub(super) destination: &'a ObjectKey,
    /// Whether it belongs on the network, and how it is there.
    pub(super) containers: Option<Vec<(bool, &'a EndpointFacts)>>,
    /// How many that do not exist.
    pub(super) missing: usize,
}

fn extend(status: &mut Map<String, Value>, facts: Option<&impl serde::Serialize>) -> Result<(), serde_json::Error> {
    if let Some(facts) = facts
        && let Value::Object(facts) = serde_json::to_value(facts)?
    {
        status.extend(facts);
    }
    Ok(())
}

/// As declared, or `<server>-<network>` once the network has a name.
pub(super) fn display_name(
    server: &DesiredServer,
    destination: &DesiredDestination,
    facts: Option<&DestinationFacts>,
) -> Option<String> {
    destination.display_name.clone().or_else(|| {
        let present = facts.and_then(|facts| facts.network.as_ref()).map(|network| network.name.as_str());
        let network = present.or(destination.network.name.as_deref())?;
        Some(format!("{}-{network}", server.key.name))
    })
}

/// `5s`, `3m`, `4h`, `12d`: as kubectl shows ages. Empty where the time cannot be read.
pub(super) fn age(created: &str, now: Timestamp) -> String {
    let Ok(created) = created.parse::<Timestamp>() else { return String::new() };
    let seconds = now.as_second().saturating_sub(created.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `destination/web`: what kubectl prints for `-o name`, and what `describe` and `delete` take.
pub(super) fn short_name(key: &ObjectKey) -> String {
    format!("{}/{}", key.kind.as_str().to_lowercase(), key.name)
}

/// The keys of the declared objects of a kind.
pub(super) fn keys(manifests: &Manifests, kind: Kind) -> impl Iterator<Item = ObjectKey> {
    manifests.objects().map(|located| located.object.key()).filter(move |key| key.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let now: Timestamp = "2026-01-03T12:00:00Z".parse().unwrap();
        assert_eq!(age("2026-01-03T11:59:55.5Z", now), "5s");
        assert_eq!(age("2026-01-03T11:57:00Z", now), "3m");
        assert_eq!(age("2026-01-03T08:00:00+00:00", now), "4h");
        assert_eq!(age("2025-12-20T12:00:00Z", now), "14d");
        assert_eq!(age("2026-01-03T12:00:03Z", now), "0s", "clocks differ");
        assert_eq!(age("soon", now), "");
    }
}
