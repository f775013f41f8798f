//! The network of a declared destination, as far as there is one.

use crate::core::observed::ObservedNetwork;
use crate::core::plan::document::note::Note;

/// The network of a declared destination, as far as there is one.
#[derive(Debug)]
pub(crate) enum Located<'a> {
    Missing,
    /// Its labels name the set and this destination.
    Owned(&'a ObservedNetwork),
    /// Taken over: it carries no labels, and none can be added.
    Adopted(&'a ObservedNetwork),
    Refused(Note),
}

impl<'a> Located<'a> {
    pub(crate) fn network(&self) -> Option<&'a ObservedNetwork> {
        match self {
            Located::Owned(network) | Located::Adopted(network) => Some(network),
            Located::Missing | Located::Refused(_) => None,
        }
    }
}
