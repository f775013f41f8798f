//! Objects that the files no longer declare: for how long, before that is believed.
//!
//! Whoever copies manifests file by file, checks out another branch, or edits by moving a file away and back, leaves them incomplete for a moment.
//! A moment must not delete anything. A commit is whole, so what comes from a repository is believed at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::core::api::ObjectKey;

/// How long an object has to be gone.
pub(super) const SETTLE: Duration = Duration::from_secs(3);

/// Since when which objects are gone.
#[derive(Debug, Default)]
pub(super) struct Gone(BTreeMap<ObjectKey, Instant>);

impl Gone {
    /// How long to wait until all of them are gone for good; `None`: they are, or none is gone.
    pub(super) fn wait(&mut self, gone: &BTreeSet<ObjectKey>, now: Instant) -> Option<Duration> {
        self.0.retain(|key, _| gone.contains(key));
        let since = gone.iter().map(|key| *self.0.entry(key.clone()).or_insert(now)).max()?;
        let rest = (since + SETTLE).saturating_duration_since(now);
        (!rest.is_zero()).then_some(rest)
    }

    /// What is in force is what is declared.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::api::Kind;

    fn keys(names: &[&str]) -> BTreeSet<ObjectKey> {
        names.iter().map(|name| ObjectKey::new(Kind::Destination, "shop", name)).collect()
    }

    #[test]
    fn an_object_has_to_be_gone_for_a_while_without_a_break() {
        let (mut gone, began) = (Gone::default(), Instant::now());
        let after = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(gone.wait(&keys(&[]), began), None);
        assert_eq!(gone.wait(&keys(&["web"]), began), Some(SETTLE));
        assert_eq!(gone.wait(&keys(&["web"]), after(2)), Some(Duration::from_secs(1)));
        assert_eq!(gone.wait(&keys(&["web", "data"]), after(2)), Some(SETTLE), "the last to go counts");
        assert_eq!(gone.wait(&keys(&["web"]), after(3)), None, "one that came back is waited for no more");
        assert_eq!(gone.wait(&keys(&["web", "data"]), after(3)), Some(SETTLE), "it is gone anew");
        assert_eq!(gone.wait(&keys(&["web", "data"]), after(6)), None);
        gone.clear();
        assert_eq!(gone.wait(&keys(&["web"]), after(6)), Some(SETTLE));
    }
}
