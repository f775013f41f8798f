//! What a stack's containers are not as the stack file says.

use std::collections::{BTreeMap, BTreeSet};

use super::compose::Managed;
use crate::core::api::ObjectKey;
use crate::core::digest::{SHORT, digest, short_id};
use crate::core::observed::{ContainerState, ObservedContainer};
use crate::core::plan::world::context::Context;
use crate::core::workload::compare::Difference;
use crate::core::workload::stack::{self, Model, StackService};

impl<'a> Managed<'a, '_> {
    pub(crate) fn differences(&self, all: &[&ObservedContainer]) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut add = |field: String, from: Option<String>, to: Option<String>| {
            found.push(Difference { field, from, to, in_place: false });
        };
        let service_of = |it: &ObservedContainer| it.labels.get(stack::SERVICE).cloned().unwrap_or_default();
        let mut by_service: BTreeMap<String, Vec<&ObservedContainer>> = BTreeMap::new();
        for container in all {
            by_service.entry(service_of(container)).or_default().push(container);
        }
        for (name, service) in &self.made.services {
            let held = by_service.remove(name).unwrap_or_default();
            let count = u32::try_from(held.len()).unwrap_or(u32::MAX);
            if count != service.replicas {
                let word = |count: u32| if count == 0 { "none".to_owned() } else { count.to_string() };
                add(format!("{name} containers"), Some(word(count)), Some(service.replicas.to_string()));
            }
            if let Some((from, to)) = held.iter().find_map(|it| self.config_difference(it, service)) {
                add(format!("{name} configuration"), Some(from), Some(to));
            } else if let Some((from, to)) = held.iter().find_map(|it| self.image_difference(it, service)) {
                add(format!("{name} image"), Some(from), Some(to));
            }
            if let Some((container, called)) =
                held.iter().find_map(|it| Some((it, stack::name_of_replacement(&it.name)?)))
            {
                add(
                    format!("{name} state"),
                    Some(format!("{} left by a run that was cut off", container.name)),
                    Some(called.to_owned()),
                );
            } else if let Some(stopped) = held.iter().find(|it| is_stopped(it, service)) {
                add(format!("{name} state"), Some(stopped.state.as_str().to_owned()), Some("running".to_owned()));
            }
        }
        for (service, held) in by_service {
            let ours = held.iter().all(|it| stack::owner(&it.labels).is_some_and(|owner| owner.set == self.ctx.set));
            // What is somebody else's and not in the file is left.
            if ours {
                add(format!("{service} containers"), Some(held.len().to_string()), Some("none".to_owned()));
            }
        }
        if !all.is_empty() {
            let used: BTreeSet<&String> =
                self.made.services.values().flat_map(|service| service.networks.keys()).collect();
            for network in used.into_iter().filter_map(|key| self.made.networks.get(key)) {
                if self.ctx.host.networks_named(&network.name).is_empty() {
                    add(format!("network {}", network.name), Some("none".to_owned()), Some("made".to_owned()));
                }
            }
        }
        found
    }

    /// Compose's own record of what the service was like against what it is like.
    fn config_difference(&self, container: &ObservedContainer, service: &StackService) -> Option<(String, String)> {
        let label = |key: &str| container.labels.get(key).map(String::as_str).unwrap_or_default();
        let short = |hash: &str| hash.chars().take(7).collect::<String>();
        let hash = label(stack::CONFIG_HASH);
        if hash == service.hash && stack::owner(&container.labels).is_some() {
            return None;
        }
        if stack::owner(&container.labels).is_none() {
            return Some(("another tool's".to_owned(), "Landfall's".to_owned()));
        }
        let version = label(stack::VERSION);
        // A new version of Compose may tell apart what the file does not.
        Some(if version == self.made.version {
            (short(hash), short(&service.hash))
        } else {
            (
                format!("{} by Compose {version}", short(hash)),
                format!("{} by Compose {}", short(&service.hash), self.made.version),
            )
        })
    }

    fn image_difference(&self, container: &ObservedContainer, service: &StackService) -> Option<(String, String)> {
        let state = self.ctx.host.state.images.get(&service.image)?;
        let made_from = container.labels.get(stack::IMAGE).map(String::as_str).unwrap_or_default();
        let local = state.local.as_ref()?;
        if service.always_pulled && state.has_moved() {
            let to = state.remote.as_deref().unwrap_or_default();
            return Some((short_id(made_from), short_id(to)));
        }
        (!made_from.is_empty() && made_from != local.id).then(|| (short_id(made_from), short_id(&local.id)))
    }

    /// Stands for an attempt to have exactly this brought up.
    pub(crate) fn attempt(&self) -> String {
        let images = self.made.services.values().map(|service| &service.image);
        attempt(self.ctx, (self.resource(), &self.destination.key), &self.made.model, images)
    }
}

/// The same of a resource on a destination.
pub(crate) fn attempt<'i>(
    ctx: &Context<'_>,
    (resource, destination): (&ObjectKey, &ObjectKey),
    model: &Model,
    images: impl Iterator<Item = &'i String>,
) -> String {
    let image = |image: &String| {
        let state = ctx.host.state.images.get(image);
        let local = state.and_then(|state| state.local.as_ref()).map_or("", |local| local.id.as_str());
        format!("{image}={local}")
    };
    let images: Vec<String> = images.map(image).collect();
    let text = format!("{resource}\n{destination}\n{}\n{images:?}", model.fingerprint());
    digest(text, SHORT)
}

/// It is there and does not run, and has not ended by itself with success.
fn is_stopped(container: &ObservedContainer, service: &StackService) -> bool {
    match container.state {
        ContainerState::Created => true,
        ContainerState::Exited | ContainerState::Dead => {
            let code = container.exit.as_ref().map_or(0, |exit| exit.code);
            !(service.ends && code == 0)
        }
        _ => false,
    }
}
