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
