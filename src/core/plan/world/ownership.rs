//! Whose a network or an endpoint is. The record is on the Docker objects themselves.
//!
//! Labels can be copied, by people and by tools that recreate a network "as it was". The uid therefore ends in check digits over the set, the
//! destination and the network's name: on any other network they do not fit, and the labels count for nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::api::{DeletionPolicy, Kind, ObjectKey};
use crate::core::digest::digest;
use crate::core::observed::{EndpointSettings, ObservedNetwork, ServiceAttachment};

/// What Landfall's own labels and driver options begin with.
pub const OWN: &str = "landfall.";

/// The set an object belongs to: a label on networks, a driver option on endpoints.
pub const SET: &str = "landfall.set";

/// `namespace/name` of the destination whose network it is.
pub const DESTINATION: &str = "landfall.destination";

/// A CUID2 and its check digits.
pub const UID: &str = "landfall.uid";

/// The deletion policy at the time of creation: it protects the network after the manifest is gone.
pub const DELETION_POLICY: &str = "landfall.deletion-policy";

/// Driver option of an endpoint: the resources that it was made for, or the proxy.
pub const MADE_FOR: &str = "landfall.for";

/// Driver option of an endpoint: what its container was called then. Deploy tools rename the old one before they start the new.
pub const NAME: &str = "landfall.name";

/// Which manifests a network or an endpoint was made from: a label on networks, a driver option on endpoints. Nothing but pruning looks at it.
pub const SOURCE: &str = "landfall.source";

/// Driver option of an endpoint that somebody else had made before Landfall connected it again, for an alias or because the network was made anew.
pub const FOUND: &str = "landfall.found";

/// Driver options that only say where an endpoint comes from: one that another applier of the set has made for something else is as good.
pub const NOTES: [&str; 4] = [MADE_FOR, NAME, SOURCE, FOUND];

/// What Landfall writes on an endpoint that it makes.
#[derive(Debug, Clone)]
pub struct Mark<'a> {
    pub set: &'a str,
    pub source: Option<&'a str>,
    pub made_for: &'a BTreeSet<Purpose>,
    /// Of the container; a Swarm service keeps its name.
    pub name: Option<&'a str>,
}

/// What an endpoint is made for. Somebody may be several resources' at once, and the proxy as well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    Proxy,
    Resource(ObjectKey),
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Purpose::Proxy => f.write_str("Proxy"),
            Purpose::Resource(resource) => resource.fmt(f),
        }
    }
}

impl std::str::FromStr for Purpose {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "Proxy" => Ok(Purpose::Proxy),
            resource => resource.parse().map(Purpose::Resource).map_err(|_| ()),
        }
    }
}

impl Mark<'_> {
    /// The driver options. What an earlier mark says is gone with it.
    pub fn write(&self, options: &mut BTreeMap<String, String>) {
        for (key, value) in [(SOURCE, self.source), (NAME, self.name)] {
            match value {
                Some(value) => options.insert(key.to_owned(), value.to_owned()),
                None => options.remove(key),
            };
        }
        let made_for: Vec<String> = self.made_for.iter().map(ToString::to_string).collect();
        options.insert(MADE_FOR.to_owned(), made_for.join(","));
        options.insert(SET.to_owned(), self.set.to_owned());
    }
}

/// What the driver options of an endpoint say that it was made for; `None` where they do not say.
pub fn made_for(options: &BTreeMap<String, String>) -> Option<BTreeSet<Purpose>> {
    let text = options.get(MADE_FOR)?;
    text.split(',').map(str::parse).collect::<Result<_, _>>().ok()
}

/// What a network's labels say about its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    pub set: String,
    /// `None` where the label is missing or names nothing.
    pub destination: Option<ObjectKey>,
    pub uid: Option<String>,
    /// The check digits fit this very network. Uniqueness among the server's networks is not part of it.
    pub sealed: bool,
    pub deletion_policy: DeletionPolicy,
}

/// `None` for a network without the label `landfall.set`.
pub fn of(network: &ObservedNetwork) -> Option<Ownership> {
    let set = network.labels.get(SET)?.clone();
    let destination = network.labels.get(DESTINATION).and_then(|path| destination_key(path));
    let uid = network.labels.get(UID).cloned();
    let sealed = match (&destination, &uid) {
        (Some(destination), Some(uid)) => is_sealed(uid, &set, destination, &network.name),
        _ => false,
    };
    // An unknown word protects: whoever wrote it meant something by it.
    let deletion_policy = match network.labels.get(DELETION_POLICY).map(String::as_str) {
        None | Some("Delete") => DeletionPolicy::Delete,
        Some(_) => DeletionPolicy::Orphan,
    };
    Some(Ownership { set, destination, uid, sealed, deletion_policy })
}

fn destination_key(path: &str) -> Option<ObjectKey> {
    match path.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Some(ObjectKey::new(Kind::Destination, namespace, name))
        }
        _ => None,
    }
}

/// The value of the label `landfall.uid`: `id` with check digits for this set, destination and network name.
pub fn seal(id: &str, set: &str, destination: &ObjectKey, network_name: &str) -> String {
    format!("{id}-{}", check_digits(set, destination, network_name))
}

fn is_sealed(uid: &str, set: &str, destination: &ObjectKey, network_name: &str) -> bool {
    uid.rsplit_once('-')
        .is_some_and(|(id, digits)| !id.is_empty() && digits == check_digits(set, destination, network_name))
}

fn check_digits(set: &str, destination: &ObjectKey, network_name: &str) -> String {
    digest(format!("{set}\n{}\n{network_name}", destination.path()), 4)
}

/// All labels of a network that the set creates for a destination.
pub fn labels(
    id: &str,
    set: &str,
    destination: &ObjectKey,
    network_name: &str,
    deletion_policy: DeletionPolicy,
    source: Option<&str>,
) -> BTreeMap<String, String> {
    let source = source.map(|source| (SOURCE.to_owned(), source.to_owned()));
    let labels = [
        (SET.to_owned(), set.to_owned()),
        (DESTINATION.to_owned(), destination.path()),
        (UID.to_owned(), seal(id, set, destination, network_name)),
        (DELETION_POLICY.to_owned(), deletion_policy.as_str().to_owned()),
    ];
    labels.into_iter().chain(source).collect()
}

/// Whether the set connected this endpoint.
pub fn is_marked(settings: &EndpointSettings, set: &str) -> bool {
    settings.driver_opts.get(SET).is_some_and(|marked| marked == set)
}

/// Whether the set put the service's tasks on the network.
pub fn is_marked_service(attachment: &ServiceAttachment, set: &str) -> bool {
    attachment.driver_opts.get(SET).is_some_and(|marked| marked == set)
}
