//! Deletions and disconnections that wait for an approval: what would go, and the command that lets it go.

use std::path::Path;

use super::parts::{count, href};
use crate::plan::Withheld;
use crate::store::approval;
use crate::web::{Shared, view::View};

/// Deletions of a server that are named, and disconnections.
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
    let (deletions, disconnections) = all.fold((0, 0), |(deletions, disconnections), withheld| {
        (deletions + withheld.deletions.len(), disconnections + withheld.disconnections.len())
    });
    let verb = if deletions + disconnections == 1 { "waits" } else { "wait" };
    format!("{} {verb} for your approval", Withheld::counts(deletions, disconnections))
}

fn verb<'a>(all: impl Iterator<Item = &'a Withheld> + Clone) -> &'static str {
    let deleted = all.clone().any(|withheld| !withheld.deletions.is_empty());
    match (deleted, all.into_iter().any(|withheld| !withheld.disconnections.is_empty())) {
        (true, true) => "deleted or disconnected",
        (false, true) => "disconnected",
        (_, false) => "deleted",
    }
}

fn part(server: &str, withheld: &Withheld, set: &str, state: Option<&Path>) -> PendingPart {
    let line = |it: &crate::plan::WithheldDeletion| DeletionLine {
        network: it.network.clone(),
        destination: it.destination.to_string(),
    };
    let disconnection = |it: &crate::plan::WithheldDisconnection| DisconnectionLine {
        name: it.name.clone(),
        network: it.network.clone(),
    };
    let (deletions, disconnections) = (withheld.deletions.len(), withheld.disconnections.len());
    let deleted = (deletions > 0).then(|| format!("{} would be deleted", count(deletions, "network")));
    let off = (disconnections > 0).then(|| format!("{} would be disconnected", count(disconnections, "endpoint")));
    PendingPart {
        id: format!("pending-{}", withheld.fingerprint),
        text: deleted.into_iter().chain(off).collect::<Vec<_>>().join(" and "),
        server: server.to_owned(),
        href: href(&format!("Server/{server}")),
        deletions: withheld.deletions.iter().take(NAMED).map(line).collect(),
        disconnections: withheld.disconnections.iter().take(NAMED).map(disconnection).collect(),
        more: deletions.saturating_sub(NAMED) + disconnections.saturating_sub(NAMED),
        command: approval(&withheld.fingerprint, set, state),
        body: serde_json::json!({ "fingerprint": withheld.fingerprint }).to_string(),
    }
}
