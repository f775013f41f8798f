//! Everything that is planned for one server.

use super::draft::Draft;
use super::removal::Removal;
use crate::core::plan::document::journal::Journal;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::step::Group;

/// Everything that is planned for one server.
pub(crate) struct Parts<'a> {
    pub(crate) draft: Draft,
    pub(crate) requested: Vec<Group>,
    pub(crate) removals: Vec<Removal<'a>>,
    pub(crate) settled: Vec<Journal>,
    pub(crate) notes: Vec<Note>,
    /// Containers and stacks that Landfall runs for what is no longer declared, or is to be deleted.
    pub(crate) retired: Vec<Group>,
}
