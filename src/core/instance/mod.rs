//! Another instance of a resource, or the same one elsewhere, as a manifest: what `clone` and `move` print.
//!
//! What two instances cannot share is made anew or left out, and said.

mod live;

use std::collections::BTreeMap;

use crate::core::api::{
    ApplicationSpec, DatabaseSpec, EndpointSpec, Kind, Object, ObjectKey, ObjectRef, ServiceSpec, Spec, StorageSpec,
};
use crate::core::workload::stack::PROJECT;

pub use live::{Live, LiveContainer};

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub object: &'a Object,
    /// The destination that it is on.
    pub from: &'a ObjectKey,
    pub to: &'a ObjectKey,
    /// Both destinations are on one server.
    pub same_server: bool,
    pub purpose: Purpose<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// A further instance of that name.
    Clone(&'a str),
    /// The same one, on another destination.
    Move,
}

/// A manifest, and what has to be known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    pub object: Object,
    /// Volumes of the original, and what the same data is called here; those that stay where they are, are not among them.
    pub volumes: BTreeMap<String, String>,
    /// For people: what was made anew or left out, and what is to be looked at before it is applied.
    pub findings: Vec<String>,
}

/// Why there can be none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstanceError {
    #[error("a {0} cannot be cloned or moved")]
    Kind(Kind),
    #[error("{0} has no container that its manifest could be read off")]
    NotThere(ObjectKey),
    #[error("the containers of {0} have different images: it is not one application")]
    Several(ObjectKey),
    #[error("{0} is run by a Swarm service, whose definition is not read")]
    Swarm(ObjectKey),
    #[error("the version of {0} cannot be told by its image {1:?}")]
    Version(ObjectKey, String),
    #[error("the image of {0} has no name, only the id {1}")]
    Image(ObjectKey, String),
}

impl InstanceError {
    /// What can be done about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Kind(_) => None,
            Self::NotThere(_) => Some("`landfall describe` shows what it looks for"),
            Self::Several(_) => Some("declare one Application for each image, and take them one by one"),
            Self::Swarm(_) => Some("deploy the service under another name, and adopt that one"),
            Self::Version(..) => Some("say it in the manifest: `spec.version`"),
            Self::Image(..) => Some("give the image a name on its server: docker tag"),
        }
    }
}

/// The manifest of the instance. `live`: what there is of the original.
pub fn instance(wanted: &Wanted<'_>, live: &Live) -> Result<Instance, InstanceError> {
    let mut making = Making { wanted, findings: Vec::new(), volumes: BTreeMap::new() };
    let spec = match &wanted.object.spec {
        Spec::Application(spec) => Spec::Application(Box::new(making.application(spec, live)?)),
        Spec::Database(spec) => Spec::Database(Box::new(making.database(spec, live)?)),
        Spec::Service(spec) => Spec::Service(Box::new(making.service(spec, live)?)),
        other => return Err(InstanceError::Kind(other.kind())),
    };
    let mut metadata = wanted.object.metadata.clone();
    wanted.name().clone_into(&mut metadata.name);
    if !wanted.is_move() {
        // What it was called before, and whose place it took, is the original's.
        metadata.annotations.retain(|key, _| !key.starts_with("landfall/"));
    }
    Ok(Instance { object: Object { metadata, spec }, volumes: making.volumes, findings: making.findings })
}

impl Wanted<'_> {
    fn name(&self) -> &str {
        match self.purpose {
            Purpose::Clone(name) => name,
            Purpose::Move => &self.object.metadata.name,
        }
    }

    fn is_move(&self) -> bool {
        self.purpose == Purpose::Move
    }

    /// Nothing but its network changes.
    fn stays(&self) -> bool {
        self.is_move() && self.same_server
    }

    /// A word in which the original's name is replaced by the new one, or added where it is not in it.
    fn renamed(&self, word: &str, separator: char) -> String {
        let (old, new) = (self.object.metadata.name.as_str(), self.name());
        let is_whole = |at: usize| {
            let before = word[..at].chars().next_back();
            let after = word[at + old.len()..].chars().next();
            [before, after].into_iter().flatten().all(|it| !it.is_ascii_alphanumeric())
        };
        match word.match_indices(old).map(|(at, _)| at).find(|at| is_whole(*at)) {
            Some(at) => format!("{}{new}{}", &word[..at], &word[at + old.len()..]),
            None => format!("{new}{separator}{word}"),
        }
    }
}

/// A manifest that is being made.
struct Making<'a> {
    wanted: &'a Wanted<'a>,
    findings: Vec<String>,
    volumes: BTreeMap<String, String>,
}

impl Making<'_> {
    fn find(&mut self, finding: impl Into<String>) {
        self.findings.push(finding.into());
    }

    /// The destination as the object names it.
    fn place(&self) -> ObjectRef {
        let ObjectKey { namespace, name, .. } = self.wanted.to;
        let own = *namespace == self.wanted.object.metadata.namespace;
        ObjectRef(if own { name.to_string() } else { format!("{namespace}/{name}") })
    }

    /// Puts it on the new destination.
    fn put(
        &mut self,
        destination: &mut Option<ObjectRef>,
        server: &mut Option<ObjectRef>,
        additional: &mut Vec<ObjectRef>,
    ) {
        let place = self.place();
        if self.wanted.is_move() {
            let namespace = self.wanted.object.metadata.namespace.as_str();
            let is_from = |it: &&mut ObjectRef| it.resolve(Kind::Destination, namespace) == *self.wanted.from;
            if let Some(further) = additional.iter_mut().find(is_from) {
                *further = place;
                return;
            }
        } else if !additional.is_empty() {
            let names: Vec<&str> = additional.iter().map(|it| it.0.as_str()).collect();
            let finding = format!("additionalDestinations are left out: {}", names.join(", "));
            additional.clear();
            self.find(finding);
        }
        (*destination, *server) = (Some(place), None);
    }

    /// What the data of a volume is called from now on.
    fn volume(&mut self, name: &str) -> String {
        if self.wanted.stays() {
            return name.to_owned();
        }
        let new = if self.wanted.is_move() { name.to_owned() } else { self.wanted.renamed(name, '-') };
        self.take(name, &new);
        new
    }

    fn take(&mut self, from: &str, to: &str) {
        if from != to {
            self.find(format!("the volume {to} is a new one, in place of {from}"));
        }
        self.volumes.insert(from.to_owned(), to.to_owned());
    }

    fn endpoint(&mut self, endpoint: &Option<EndpointSpec>) -> Option<EndpointSpec> {
        let mut endpoint = endpoint.clone()?;
        let addresses = [endpoint.ipv4_address.take(), endpoint.ipv6_address.take(), endpoint.mac_address.take()];
        let addresses: Vec<String> = addresses.into_iter().flatten().collect();
        if !addresses.is_empty() {
            self.find(format!(
                "endpoint addresses are left out, for they belong to {}: {}",
                self.wanted.from.path(),
                addresses.join(", ")
            ));
        }
        if !self.wanted.is_move() && self.wanted.from == self.wanted.to && !endpoint.aliases.is_empty() {
            self.find(format!(
                "endpoint.aliases are left out, for the original answers to them on the same destination: {}",
                endpoint.aliases.join(", ")
            ));
            endpoint.aliases.clear();
        }
        (endpoint != EndpointSpec::default()).then_some(endpoint)
    }

    fn domains(&mut self, domains: &mut Vec<String>) {
        if !self.wanted.is_move() && !domains.is_empty() {
            self.find(format!("domains are left out, for they lead to the original: {}", domains.join(", ")));
            domains.clear();
        }
    }

    /// A port of the server can be had once.
    fn port(&mut self, port: &mut Option<u32>) {
        let Some(number) = *port else { return };
        if self.wanted.stays() {
            return;
        }
        if self.wanted.same_server {
            self.find(format!(
                "port {number} of the server is the original's: another one has to be chosen, or none published"
            ));
            *port = None;
        } else {
            self.find(format!("port {number} is published on the other server as well: it has to be free there"));
        }
    }

    /// What chooses the containers that something else runs stays with them.
    fn application(&mut self, spec: &ApplicationSpec, live: &Live) -> Result<ApplicationSpec, InstanceError> {
        let is_adopted = spec.containers.is_some();
        let mut new = spec.clone();
        if is_adopted && !self.wanted.stays() {
            new = self.application_of(spec, live)?;
        }
        self.put(&mut new.destination, &mut new.server, &mut new.additional_destinations);
        new.endpoint = self.endpoint(&spec.endpoint);
        if self.wanted.stays() {
            return Ok(new);
        }
        self.domains(&mut new.domains);
        for port in &mut new.ports {
            self.port(&mut port.host_port);
        }
        if !is_adopted {
            for mount in &mut new.volumes {
                if let Some(name) = mount.volume.take() {
                    mount.volume = Some(self.volume(&name));
                }
            }
            for (target, _) in live.anonymous_volumes() {
                self.find(format!(
                    "what is in {target} is not copied, for its volume has no name: name one in `volumes`"
                ));
            }
        }
        for path in new.volumes.iter().filter_map(|mount| mount.host_path.as_ref()) {
            let shared = "is the same directory for both";
            let elsewhere = "is a directory of the server, whose content is not copied";
            let how = if self.wanted.same_server { shared } else { elsewhere };
            self.findings.push(format!("hostPath {path} {how}"));
        }
        if self.wanted.is_move() {
            return Ok(new);
        }
        if let Some(name) = new.container_name.take() {
            self.find(format!("containerName is left out, for the original is called {name}"));
        }
        let routes = |key: &String| key.starts_with("traefik.") || key.starts_with("caddy");
        if new.labels.keys().any(routes) {
            self.find("labels of the proxy are left out, for they lead to the original");
            new.labels.retain(|key, _| !routes(key));
        }
        for variable in &new.env {
            if let Some(database) = variable.value_from.as_ref().and_then(|from| from.database.as_ref()) {
                self.findings.push(format!(
                    "{} leads to the Database {}, whose data is then shared with the original",
                    variable.name, database.name.0
                ));
            }
        }
        Ok(new)
    }

    fn database(&mut self, spec: &DatabaseSpec, live: &Live) -> Result<DatabaseSpec, InstanceError> {
        let is_adopted = spec.containers.is_some();
        let mut new = spec.clone();
        if is_adopted && !self.wanted.stays() {
            new = self.database_of(spec, live)?;
        }
        self.put(&mut new.destination, &mut new.server, &mut new.additional_destinations);
        new.endpoint = self.endpoint(&spec.endpoint);
        if self.wanted.stays() {
            return Ok(new);
        }
        self.port(&mut new.host_port);
        if is_adopted {
            return Ok(new);
        }
        let ObjectKey { namespace, name, .. } = self.wanted.object.key();
        match &mut new.storage {
            Some(storage) => {
                let old = std::mem::take(&mut storage.volume);
                storage.volume = self.volume(&old);
            }
            None => {
                let usual = |name: &str| format!("{namespace}-{name}-data");
                self.take(&usual(&name), &usual(self.wanted.name()));
            }
        }
        if !self.wanted.is_move() {
            self.find(
                "the password is the original's, for it is in the data; without the data another one can be declared",
            );
        }
        Ok(new)
    }

    fn service(&mut self, spec: &ServiceSpec, live: &Live) -> Result<ServiceSpec, InstanceError> {
        let mut new = spec.clone();
        if !self.wanted.stays() && spec.compose.as_ref().is_none_or(|compose| compose.file.is_none()) {
            new.compose = Some(self.compose_of(spec, live)?);
            new.containers = None;
        }
        self.put(&mut new.destination, &mut new.server, &mut new.additional_destinations);
        new.endpoint = self.endpoint(&spec.endpoint);
        if self.wanted.stays() {
            return Ok(new);
        }
        let Some(compose) = &mut new.compose else { return Ok(new) };
        let old = compose.project.clone();
        if !self.wanted.is_move() {
            compose.project = self.wanted.renamed(&old, '-');
            compose.take_ownership = false;
        }
        let project = compose.project.clone();
        for (name, is_anonymous) in live.volumes() {
            match name.strip_prefix(&format!("{old}_")) {
                Some(rest) => self.take(name, &format!("{project}_{rest}")),
                None if is_anonymous => {}
                None if self.wanted.same_server => self.find(format!(
                    "the volume {name} has a fixed name in the compose file: both instances would write to it"
                )),
                None => self.take(name, name),
            }
        }
        for (target, container) in live.anonymous_volumes() {
            self.find(format!("what is in {target} of {container} is not copied, for its volume has no name"));
        }
        if !self.wanted.is_move() && !new.domains.is_empty() {
            let mut all: Vec<String> = new.domains.values().flatten().cloned().collect();
            self.domains(&mut all);
            new.domains.clear();
        }
        self.find("ports and names that the compose file fixes are the original's as well: `landfall validate` names those that clash on one server");
        Ok(new)
    }

    /// The project that an adopted stack's containers are of, with the file that it was brought up with.
    fn compose_of(&mut self, spec: &ServiceSpec, live: &Live) -> Result<crate::core::api::ComposeSpec, InstanceError> {
        let label = |key: &str| live.containers.iter().find_map(|it| it.labels.get(key)).cloned();
        let project = label(PROJECT).ok_or_else(|| InstanceError::NotThere(self.wanted.object.key()))?;
        let files = label("com.docker.compose.project.config_files").unwrap_or_default();
        let path = files.split(',').next().unwrap_or_default().to_owned();
        let file = path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("compose.yaml").to_owned();
        let from = if path.is_empty() {
            "it was brought up with".to_owned()
        } else {
            format!("{path} of the machine that brought it up")
        };
        self.find(format!("the compose file has to be beside this manifest as {file}: it is {from}"));
        let mut compose = spec.compose.clone().unwrap_or(crate::core::api::ComposeSpec {
            project: String::new(),
            file: None,
            env_file: None,
            take_ownership: false,
            health_timeout_seconds: None,
        });
        (compose.project, compose.file) = (project, Some(file));
        Ok(compose)
    }

    fn storage(&mut self, volume: &str) -> StorageSpec {
        StorageSpec { volume: self.volume(volume) }
    }
}
