//! Which servers are planned anew when the manifests say something else.
//!
//! A repository of a thousand servers changes in one place at a time. What has not changed is as declared, or is looked at again in its turn.

use std::collections::BTreeSet;

use crate::core::api::ObjectKey;
use crate::core::desired::{DesiredServer, DesiredState};

/// The servers of `after` that have something to do with what differs from `before`.
///
/// `objects`: those that the manifests declare in another form, also where nothing follows from that for a server: what is said of them names
/// the form that it is about. `alone`: whether a server is known to be part of no Swarm, in which servers are planned together.
pub fn concerned(
    before: &DesiredState,
    after: &DesiredState,
    objects: &BTreeSet<ObjectKey>,
    alone: impl Fn(&ObjectKey) -> bool,
) -> BTreeSet<ObjectKey> {
    let all = || after.servers.keys().cloned().collect();
    if (&before.set, &before.source) != (&after.set, &after.source) {
        return all();
    }
    let is_other = |server: &DesiredServer| {
        before.servers.get(&server.key).is_none_or(|known| **known != *server)
            || objects.contains(&server.key)
            || server.on_it().any(|object| objects.contains(object))
    };
    let mut concerned: BTreeSet<ObjectKey> =
        after.servers.values().filter(|server| is_other(server)).map(|server| server.key.clone()).collect();
    let gone = before.servers.keys().filter(|key| !after.servers.contains_key(*key));
    if gone.chain(&concerned).any(|server| !alone(server)) {
        concerned.extend(after.servers.keys().filter(|key| !alone(key)).cloned());
    }
    concerned
}
