//! Deletions that wait for somebody to agree: what would go, and the command that lets it go.

use std::path::Path;

use super::parts::{count, href};
use crate::plan::Withheld;
use crate::web::{Shared, view::View};

/// Deletions of a server that are named.
const NAMED: usize = 50;

/// What waits, on one server or on all.
pub(super) struct Pending {
    pub(super) text: String,
    pub(super) servers: Vec<PendingPart>,
}

pub(super) struct PendingPart {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) server: String,
    pub(super) href: String,
    pub(super) deletions: Vec<DeletionLine>,
    /// How many are not named.
    pub(super) more: usize,
    pub(super) command: String,
}

pub(super) struct DeletionLine {
    pub(super) network: String,
    pub(super) destination: String,
}

impl Pending {
    /// On that server (`namespace/name`), or on all. `None`: nothing waits.
    pub(super) fn new(view: &View, shared: &Shared, server: Option<&str>) -> Option<Self> {
        let content = view.content();
        let all: Vec<_> = content.pending().filter(|(name, _)| server.is_none_or(|it| it == *name)).collect();
        let deletions = all.iter().map(|(_, withheld)| withheld.deletions.len()).sum();
        (deletions > 0).then(|| Self {
            text: waiting(deletions),
            servers: all
                .into_iter()
                .map(|(name, withheld)| part(name, withheld, &content.set, shared.state.as_deref()))
                .collect(),
        })
    }
}

/// `3 deletions wait for your approval`
pub(super) fn waiting(deletions: usize) -> String {
    format!("{} {} for your approval", count(deletions, "deletion"), if deletions == 1 { "waits" } else { "wait" })
}

fn part(server: &str, withheld: &Withheld, set: &str, state: Option<&Path>) -> PendingPart {
    let line = |it: &crate::plan::WithheldDeletion| DeletionLine {
        network: it.network.clone(),
        destination: it.destination.to_string(),
    };
    PendingPart {
        id: format!("pending-{}", withheld.fingerprint),
        text: count(withheld.deletions.len(), "network"),
        server: server.to_owned(),
        href: href(&format!("Server/{server}")),
        deletions: withheld.deletions.iter().take(NAMED).map(line).collect(),
        more: withheld.deletions.len().saturating_sub(NAMED),
        command: command(&withheld.fingerprint, set, state),
    }
}

/// As it is to be typed, for this set and where its record is.
fn command(fingerprint: &str, set: &str, state: Option<&Path>) -> String {
    let mut command = "landfall approve".to_owned();
    if set != "default" {
        command.push_str(&format!(" --set {set}"));
    }
    if let Some(state) = state {
        command.push_str(&format!(" --state {}", quoted(&state.display().to_string())));
    }
    format!("{command} {fingerprint}")
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_for_this_set_and_for_where_its_record_is() {
        assert_eq!(command("0a1b", "default", None), "landfall approve 0a1b");
        assert_eq!(
            command("0a1b", "shop", Some(Path::new("/var/lib/landfall"))),
            "landfall approve --set shop --state /var/lib/landfall 0a1b"
        );
        let odd = command("0a1b", "default", Some(Path::new("/home/o'neil/my state")));
        assert_eq!(odd, r"landfall approve --state '/home/o'\''neil/my state' 0a1b");
    }
}
