//! `get images` and `get volumes`: what the servers keep, who uses it, and what nobody does.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::args;
use super::get::{Args, Format, print_documents};
use super::output::style::UNCERTAIN;
use super::output::{Cell, Table};
use super::seen::age;
use super::{Context, Error, Exit};
use crate::core::api::{API_VERSION, ObjectKey};
use crate::core::desired::{DesiredServer, DesiredState};
use crate::core::digest::short_id;
use crate::core::manifest::Manifests;
use crate::core::observed::ObservedContainer;
use crate::core::plan::selects;
use crate::core::plan::workload::identity_of;
use crate::core::printable::{bytes, natural};
use crate::core::workload::MountSource;
use crate::core::workload::identity::{DATA, OBJECT};
use crate::core::workload::seen::Storage;
use crate::shell::engine::connect;
use crate::shell::engine::{EngineError, Reader};
use crate::shell::observe::containers;

/// What is kept on a server and is no object of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Image,
    Volume,
}

impl Stored {
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "image" | "images" | "img" => Some(Self::Image),
            "volume" | "volumes" | "vol" => Some(Self::Volume),
            _ => None,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Image => "Image",
            Self::Volume => "Volume",
        }
    }
}

/// One image or one volume.
struct Item {
    server: ObjectKey,
    name: String,
    /// Resources, and containers of none.
    used_by: BTreeSet<String>,
    declared_by: BTreeSet<String>,
    created: Option<Timestamp>,
    more: More,
}

enum More {
    Image { id: String, tags: Vec<String>, digests: Vec<String>, size: u64 },
    Volume { driver: String, made_for: Option<String>, data: Option<String> },
}

impl Item {
    fn status(&self) -> &'static str {
        match (self.used_by.is_empty(), self.declared_by.is_empty()) {
            (false, _) => "InUse",
            // What is to be made will need it.
            (true, false) => "Declared",
            (true, true) => "Unused",
        }
    }

    fn document(&self) -> Value {
        let mut status = json!({
            "status": self.status(),
            "usedBy": self.used_by,
            "declaredBy": self.declared_by,
            "created": self.created.map(|created| created.to_string()),
        });
        match &self.more {
            More::Image { id, tags, digests, size } => {
                status["id"] = json!(id);
                status["tags"] = json!(tags);
                status["digests"] = json!(digests);
                status["size"] = json!(size);
            }
            More::Volume { driver, made_for, data } => {
                status["driver"] = json!(driver);
                status["madeFor"] = json!(made_for);
                status["data"] = json!(data);
            }
        }
        let kind = if matches!(self.more, More::Image { .. }) { "Image" } else { "Volume" };
        json!({
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": { "name": self.name, "server": self.server.path() },
            "status": status,
        })
    }
}

pub(super) fn run(args: &Args, stored: Stored, context: &Context, manifests: &Manifests) -> Result<Exit, Error> {
    if args.watch || args.observed {
        return Err(Error::new("images and volumes are listed once: `--watch` and `--observed` are for objects"));
    }
    let mut desired = args::desired(manifests, &args.set.set);
    args.scope.narrow(&mut desired, manifests)?;
    let namespace = args.scope.namespace.as_ref();
    desired.narrow(|key, server| {
        let in_namespace = |namespace: &String| {
            key.namespace == *namespace || server.destinations.iter().any(|it| it.key.namespace == *namespace)
        };
        namespace.is_none_or(in_namespace)
    });
    let (items, complete) = look(args, stored, context, &desired)?;
    let wanted = |item: &&Item| {
        (args.names.is_empty() || args.names.iter().any(|name| item.is_called(name)))
            && (!args.unused || item.status() == "Unused")
    };
    let mut items: Vec<&Item> = items.iter().filter(wanted).collect();
    if let Some(by) = &args.sort_by {
        items.sort_by(|a, b| by.compare(&a.document(), &b.document()));
    }
    match args.output {
        Format::Name => {
            let kind = stored.kind().to_ascii_lowercase();
            context.print(&items.iter().map(|item| format!("{kind}/{}\n", item.name)).collect::<String>())?;
        }
        Format::Table | Format::Wide if items.is_empty() => {
            context.say(&format!("No {}s found.", stored.kind().to_ascii_lowercase()));
        }
        Format::Table | Format::Wide => {
            let wide = args.output.is_wide();
            let table = table(stored, &items, wide);
            let table = if args.no_headers { table.without_headings() } else { table };
            context.print(&table.render(if wide { None } else { context.width() }))?;
        }
        Format::Json | Format::Yaml | Format::JsonPath(_) | Format::Columns(_) => {
            let documents: Vec<Value> = items.iter().map(|item| item.document()).collect();
            print_documents(args, context, &documents, None)?;
        }
    }
    Ok(if complete { Exit::Done } else { Exit::Failed })
}

impl Item {
    fn is_called(&self, name: &str) -> bool {
        let by_image = |id: &str, tags: &[String], digests: &[String]| {
            tags.iter().chain(digests).any(|it| it == name || *it == tagged(name))
                || id == name
                || (name.len() >= 12 && id.trim_start_matches("sha256:").starts_with(name))
        };
        match &self.more {
            More::Image { id, tags, digests, .. } => by_image(id, tags, digests),
            More::Volume { .. } => self.name == name,
        }
    }
}

/// As the daemon lists the image that a manifest names.
fn tagged(reference: &str) -> String {
    let short = reference.strip_prefix("docker.io/").unwrap_or(reference);
    let short = short.strip_prefix("library/").unwrap_or(short);
    let has_tag = short.contains('@') || short.rsplit('/').next().is_some_and(|name| name.contains(':'));
    if has_tag { short.to_owned() } else { format!("{short}:latest") }
}

/// Every server at once. The second value: all of them have answered.
fn look(args: &Args, stored: Stored, context: &Context, desired: &DesiredState) -> Result<(Vec<Item>, bool), Error> {
    let options = super::servers::options(&args.servers);
    let looks = desired.servers.values().map(|server| {
        let reader = connect::reader(server, &options);
        async move {
            let look = async {
                let reader = reader?;
                futures::try_join!(reader.storage(), containers(&reader))
            };
            let limit = args.servers.timeout;
            (server, tokio::time::timeout(limit, look).await)
        }
    });
    let mut items = Vec::new();
    let mut complete = true;
    for (server, seen) in context.block_on(join_all(looks))? {
        match seen {
            Ok(Ok((storage, containers))) => items.extend(of_server(stored, server, &storage, &containers)),
            Ok(Err(error)) => {
                complete = false;
                context.error(&unreachable(server, &error));
            }
            Err(_) => {
                complete = false;
                let message = format!("{} has not answered within {:?}", server.key, args.servers.timeout);
                context.error(&Error::new(message).hint("`--timeout` says how long to wait"));
            }
        }
    }
    items.sort_by(|a, b| a.server.cmp(&b.server).then_with(|| natural(&a.name, &b.name)));
    Ok((items, complete))
}

fn unreachable(server: &DesiredServer, error: &EngineError) -> Error {
    Error::new(format!("{} cannot be reached", server.key)).because(error.to_string()).maybe_hint(error.hint.clone())
}

fn of_server(stored: Stored, server: &DesiredServer, storage: &Storage, containers: &[ObservedContainer]) -> Vec<Item> {
    let mut by_image: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut by_volume: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for user in &storage.users {
        let container = containers.iter().find(|container| container.id.as_str() == user.id);
        let names = container.map_or_else(|| vec![user.id.clone()], |container| whose(server, container));
        by_image.entry(&user.image_id).or_default().extend(names.iter().cloned());
        for volume in &user.volumes {
            by_volume.entry(volume).or_default().extend(names.iter().cloned());
        }
    }
    let mut images: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut volumes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let members = server.destinations.iter().flat_map(|destination| &destination.members);
    for (resource, workload) in members.filter_map(|it| Some((&it.resource, it.workload.as_ref()?))) {
        images.entry(tagged(&workload.image)).or_default().insert(resource.to_string());
        for mount in &workload.container.mounts {
            if let MountSource::Volume(name) = &mount.source {
                volumes.entry(name.clone()).or_default().insert(resource.to_string());
            }
        }
    }
    let of = |known: &BTreeMap<&str, BTreeSet<String>>, name: &str| known.get(name).cloned().unwrap_or_default();
    match stored {
        Stored::Image => storage
            .images
            .iter()
            .map(|image| Item {
                server: server.key.clone(),
                name: image.tags.first().or(image.digests.first()).unwrap_or(&image.id).clone(),
                used_by: of(&by_image, &image.id),
                declared_by: image
                    .tags
                    .iter()
                    .chain(&image.digests)
                    .filter_map(|name| images.get(&tagged(name)))
                    .flatten()
                    .cloned()
                    .collect(),
                created: Timestamp::from_second(image.created).ok(),
                more: More::Image {
                    id: image.id.clone(),
                    tags: image.tags.clone(),
                    digests: image.digests.clone(),
                    size: image.size,
                },
            })
            .collect(),
        Stored::Volume => storage
            .volumes
            .iter()
            .map(|volume| Item {
                server: server.key.clone(),
                name: volume.name.clone(),
                used_by: of(&by_volume, &volume.name),
                declared_by: volumes.get(&volume.name).cloned().unwrap_or_default(),
                created: volume.created.parse().ok(),
                more: More::Volume {
                    driver: volume.driver.clone(),
                    made_for: volume.labels.get(OBJECT).cloned(),
                    data: volume.labels.get(DATA).cloned(),
                },
            })
            .collect(),
    }
}

/// The resources that a container is of; its own name where it is of none.
fn whose(server: &DesiredServer, container: &ObservedContainer) -> Vec<String> {
    if let Some(identity) = identity_of(container) {
        return vec![identity.object.to_string()];
    }
    let members = server.destinations.iter().flat_map(|destination| &destination.members);
    let adopted = members.filter(|member| member.workload.is_none() && selects(&member.selector, container));
    let names: BTreeSet<String> = adopted.map(|member| member.resource.to_string()).collect();
    if names.is_empty() { vec![container.name.clone()] } else { names.into_iter().collect() }
}

fn table(stored: Stored, items: &[&Item], wide: bool) -> Table {
    let now = Timestamp::now();
    let (narrow, more): (&[&'static str], &[&'static str]) = match stored {
        Stored::Image => (&["SERVER", "IMAGE", "ID", "SIZE", "AGE", "USED BY", "STATUS"], &["DIGESTS"]),
        Stored::Volume => (&["SERVER", "VOLUME", "DRIVER", "AGE", "USED BY", "STATUS"], &["MADE FOR", "DATA"]),
    };
    let headings = narrow.iter().chain(more.iter().filter(|_| wide)).copied();
    let mut table = Table::new(headings).dispensable(&["DRIVER", "AGE", "ID"]);
    for item in items {
        let users = if item.used_by.is_empty() { &item.declared_by } else { &item.used_by };
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        let age = item.created.map(|created| age(&created.to_string(), now)).unwrap_or_default();
        let status = match item.status() {
            "Unused" => Cell::styled("Unused", UNCERTAIN),
            status => status.into(),
        };
        let (mut cells, more): (Vec<Cell>, Vec<Cell>) = match &item.more {
            More::Image { id, tags, digests, size } => {
                let short = short_id(id);
                let name = if tags.is_empty() { item.name.clone() } else { tags.join(",") };
                let cells = vec![name.into(), short.into(), bytes(*size).into(), age.into()];
                (cells, vec![digests.join(",").into()])
            }
            More::Volume { driver, made_for, data } => {
                let cells = vec![item.name.as_str().into(), driver.as_str().into(), age.into()];
                let text = |text: &Option<String>| Cell::from(text.clone().unwrap_or_default());
                (cells, vec![text(made_for), text(data)])
            }
        };
        cells.insert(0, item.server.path().into());
        cells.extend([users.join(",").into(), status]);
        if wide {
            cells.extend(more);
        }
        table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_docker_s() {
        assert_eq!(tagged("nginx"), "nginx:latest");
        assert_eq!(tagged("docker.io/library/nginx:1"), "nginx:1");
        assert_eq!(tagged("localhost:5000/shop"), "localhost:5000/shop:latest");
    }
}
