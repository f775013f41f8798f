//! Deletions and disconnections that wait for an approval: what would go, and the command that lets it go.

use std::path::Path;

use super::parts::{count, href};
use crate::core::plan::{Withheld, WithheldCounts};
use crate::shell::store::approval;
use crate::shell::web::{Shared, view::View};

/// Deletions of a server that are named, and as many disconnections and removals.
const NAMED: usize = 50;

/// What waits, on one server or on all.
pub(super) struct Pending {
    pub(super) text: String,
    pub(super) verb: &'static str,
    pub(super) servers: Vec<PendingPart>,
}

pub(super) struct PendingPart {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) server: String,
    pub(super) href: String,
    pub(super) deletions: Vec<DeletionLine>,
    pub(super) disconnections: Vec<DisconnectionLine>,
    pub(super) removals: Vec<RemovalLine>,
    /// How many are not named.
    pub(super) more: usize,
    pub(super) command: String,
    /// Of the request that agrees.
    pub(super) body: String,
}

pub(super) struct DeletionLine {
    pub(super) network: String,
    pub(super) destination: String,
}

pub(super) struct DisconnectionLine {
    pub(super) name: String,
    pub(super) network: String,
}

pub(super) struct RemovalLine {
    pub(super) name: String,
    pub(super) object: String,
}

impl Pending {
    /// On that server (`namespace/name`), or on all. `None`: nothing waits.
    pub(super) fn new(view: &View, shared: &Shared, server: Option<&str>) -> Option<Self> {
        let content = view.content();
        let all: Vec<_> = content.pending().filter(|(name, _)| server.is_none_or(|it| it == *name)).collect();
        (!all.is_empty()).then(|| Self {
            text: waiting(all.iter().map(|(_, withheld)| *withheld)),
            verb: verb(all.iter().map(|(_, withheld)| *withheld)),
            servers: all
                .into_iter()
                .map(|(name, withheld)| part(name, withheld, &content.set, shared.state.as_deref()))
                .collect(),
        })
    }
}

/// `3 deletions wait for your approval`
pub(super) fn waiting<'a>(all: impl Iterator<Item = &'a Withheld>) -> String {
    let counts: WithheldCounts = all.map(Withheld::counts).sum();
    let verb = if counts.total() == 1 { "waits" } else { "wait" };
    format!("{counts} {verb} for your approval")
}

fn verb<'a>(all: impl Iterator<Item = &'a Withheld>) -> &'static str {
    let counts: WithheldCounts = all.map(Withheld::counts).sum();
    match (counts.deletions + counts.removals > 0, counts.disconnections > 0) {
        (true, true) => "deleted or disconnected",
        (false, true) => "disconnected",
        (_, false) => "deleted",
    }
}

fn part(server: &str, withheld: &Withheld, set: &str, state: Option<&Path>) -> PendingPart {
    let line = |it: &crate::core::plan::WithheldDeletion| DeletionLine {
        network: it.network.clone(),
        destination: it.destination.to_string(),
    };
    let disconnection = |it: &crate::core::plan::WithheldDisconnection| DisconnectionLine {
        name: it.name.clone(),
        network: it.network.clone(),
    };
    let WithheldCounts { deletions, disconnections, removals } = withheld.counts();
    let deleted = (deletions > 0).then(|| format!("{} would be deleted", count(deletions, "network")));
    let off = (disconnections > 0).then(|| format!("{} would be disconnected", count(disconnections, "endpoint")));
    let removed = (removals > 0).then(|| format!("{} would be removed", count(removals, "container")));
    let removal =
        |it: &crate::core::plan::WithheldRemoval| RemovalLine { name: it.name.clone(), object: it.object.to_string() };
    PendingPart {
        id: format!("pending-{}", withheld.fingerprint),
        text: deleted.into_iter().chain(off).chain(removed).collect::<Vec<_>>().join(" and "),
        server: server.to_owned(),
        href: href(&format!("Server/{server}")),
        deletions: withheld.deletions.iter().take(NAMED).map(line).collect(),
        disconnections: withheld.disconnections.iter().take(NAMED).map(disconnection).collect(),
        removals: withheld.removals.iter().take(NAMED).map(removal).collect(),
        more: [deletions, disconnections, removals].iter().map(|count| count.saturating_sub(NAMED)).sum(),
        command: approval(&withheld.fingerprint, set, state),
        body: serde_json::json!({ "fingerprint": withheld.fingerprint }).to_string(),
    }
}
