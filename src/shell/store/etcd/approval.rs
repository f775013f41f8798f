//! What was approved on a server, until it is used up: for whichever controller has the server.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::pack::{packed, unpacked};
use crate::core::desired::DesiredServer;
use crate::core::plan::Withheld;

/// Controllers read what all of them agree on as a whole, and that has to stay small: a longer list is left out. Then the approval is for that list
/// alone, and of one that is done in part the rest is asked for again.
const LARGEST: usize = 16 << 10;

/// One list on one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub fingerprint: String,
    /// What was declared on the server then, as [`DesiredServer::declares`] has it: with other manifests it is asked for again.
    pub declared: String,
    #[serde(default)]
    pub list: Option<Arc<Withheld>>,
}

/// An approval that is in etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    pub approval: Approval,
    /// It was written by that revision.
    pub revision: i64,
}

impl Approval {
    pub fn of(list: &Withheld) -> Self {
        let Withheld { fingerprint, declared, .. } = list;
        Self { fingerprint: fingerprint.clone(), declared: declared.clone(), list: Some(Arc::new(list.clone())) }
    }

    /// Whether it was for what is declared on the server.
    pub fn is_for(&self, server: &DesiredServer) -> bool {
        self.declared == server.declares()
    }

    /// `None`: it has no form in JSON.
    pub fn packed(&self) -> Option<Vec<u8>> {
        packed(self).filter(|value| value.len() <= LARGEST).or_else(|| packed(&Self { list: None, ..self.clone() }))
    }

    pub(super) fn unpacked(value: &[u8]) -> Option<Self> {
        unpacked(value).ok()
    }
}

#[cfg(test)]
mod tests {
    use crate::core::digest::digest;

    use super::*;
    use crate::core::api::{Kind, ObjectKey};
    use crate::core::observed::NetworkId;
    use crate::core::plan::WithheldDeletion;

    fn list(networks: usize) -> Withheld {
        let deletion = |number: usize| {
            // Ids do not compress.
            let id = digest(number.to_string(), 32);
            WithheldDeletion {
                destination: ObjectKey::new(Kind::Destination, "shop", &format!("net-{number}")),
                network: format!("net-{number}"),
                network_id: NetworkId::try_from(id).unwrap(),
            }
        };
        Withheld {
            fingerprint: "0a1b".to_owned(),
            declared: "2c3d".to_owned(),
            deletions: (0..networks).map(deletion).collect(),
            disconnections: Vec::new(),
            removals: Vec::new(),
        }
    }

    #[test]
    fn a_list_comes_back_whole_and_of_one_that_is_too_long_the_fingerprint() {
        let short = Approval::of(&list(100));
        assert_eq!(Approval::unpacked(&short.packed().unwrap()).unwrap(), short);
        let long = Approval::of(&list(2_000));
        let packed = long.packed().unwrap();
        assert!(packed.len() <= LARGEST);
        assert_eq!(Approval::unpacked(&packed).unwrap(), Approval { list: None, ..long });
        assert_eq!(Approval::unpacked(b"of a newer version"), None);
    }
}
