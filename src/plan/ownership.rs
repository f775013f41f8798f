//! Whose a network or an endpoint is. The record is on the Docker objects themselves.
//!
//! Labels can be copied, by people and by tools that recreate a network "as it was". The uid therefore ends in check digits over the set, the
//! destination and the network's name: on any other network they do not fit, and the labels count for nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::api::{DeletionPolicy, Kind, ObjectKey};
use crate::observed::{EndpointSettings, ObservedNetwork, ServiceAttachment};

/// The set an object belongs to: a label on networks, a driver option on endpoints.
pub const SET: &str = "landfall.set";
/// `namespace/name` of the destination whose network it is.
pub const DESTINATION: &str = "landfall.destination";
/// A CUID2 and its check digits.
pub const UID: &str = "landfall.uid";
/// The deletion policy at the time of creation: it protects the network after the manifest is gone.
pub const DELETION_POLICY: &str = "landfall.deletion-policy";

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
    let hash = Sha256::digest(format!("{set}\n{}\n{network_name}", destination.path()));
    hash.iter().take(4).fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// All labels of a network that the set creates for a destination.
pub fn labels(
    id: &str,
    set: &str,
    destination: &ObjectKey,
    network_name: &str,
    deletion_policy: DeletionPolicy,
) -> BTreeMap<String, String> {
    BTreeMap::from([
        (SET.to_owned(), set.to_owned()),
        (DESTINATION.to_owned(), destination.path()),
        (UID.to_owned(), seal(id, set, destination, network_name)),
        (DELETION_POLICY.to_owned(), deletion_policy.as_str().to_owned()),
    ])
}

/// Whether the set connected this endpoint.
pub fn is_marked(settings: &EndpointSettings, set: &str) -> bool {
    settings.driver_opts.get(SET).is_some_and(|marked| marked == set)
}

/// Marks an endpoint as connected by the set.
pub fn mark(settings: &mut EndpointSettings, set: &str) {
    settings.driver_opts.insert(SET.to_owned(), set.to_owned());
}

/// Whether the set put the service's tasks on the network.
pub fn is_marked_service(attachment: &ServiceAttachment, set: &str) -> bool {
    attachment.driver_opts.get(SET).is_some_and(|marked| marked == set)
}

/// Marks a service's attachment as made by the set.
pub fn mark_service(attachment: &mut ServiceAttachment, set: &str) {
    attachment.driver_opts.insert(SET.to_owned(), set.to_owned());
}
