//! Operations and notes while they are being collected.

use std::collections::BTreeSet;

use crate::core::observed::ContainerId;
use crate::core::plan::decide::leaving::Departure;
use crate::core::plan::document::call::Call;
use crate::core::plan::document::journal::Journal;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::distinct;
use crate::core::plan::document::withheld::WithheldDisconnection;

/// Operations and notes while they are being collected.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) groups: Vec<Group>,
    /// Of those who are not needed any more; after everything that brings somebody else into their place.
    pub(crate) departures: Vec<Group>,
    /// Those of them that the limits of pruning count.
    pub(crate) counted: Vec<WithheldDisconnection>,
    pub(crate) settled: Vec<Journal>,
    pub(crate) notes: Vec<Note>,
}

impl Draft {
    pub(crate) fn add(&mut self, part: Draft) {
        let Draft { groups, departures, counted, settled, notes } = part;
        self.groups.extend(groups);
        self.departures.extend(departures);
        self.counted.extend(counted);
        self.settled.extend(settled);
        self.notes.extend(notes);
    }

    /// Takes over what replaces a network, and says who has been dealt with.
    pub(crate) fn replace<'a>(&mut self, replaced: Replaced<'a>) -> BTreeSet<&'a ContainerId> {
        let Replaced { groups, departure, handled, counted, notes } = replaced;
        self.groups.extend(groups);
        self.departures.extend(departure);
        self.counted.extend(counted);
        self.notes.extend(notes);
        handled
    }

    /// Takes somebody off a network.
    pub(crate) fn leave(&mut self, departure: Departure, call: Call, disruptive: bool) {
        let Departure { object, cause, needs, counted } = departure;
        self.counted.extend(counted);
        let needs = distinct(needs);
        let operations = vec![Operation { object: object.clone(), call, cause, disruptive, undo: None }];
        self.departures.push(Group::new(&object, operations).needs(needs));
    }

    /// The containers that the draft connects.
    pub(crate) fn connected(&self) -> BTreeSet<ContainerId> {
        let operations = self.groups.iter().flat_map(|group| &group.operations);
        operations
            .filter_map(|operation| match &operation.call {
                Call::ConnectEndpoint { container, .. } => Some(container.id.clone()),
                _ => None,
            })
            .collect()
    }
}

#[derive(Default)]
pub(crate) struct Replaced<'a> {
    pub(crate) groups: Vec<Group>,
    /// Of a network that is made beside the old one: everybody off that, and it away, after everybody is on the new one.
    pub(crate) departure: Option<Group>,
    /// Who the groups have dealt with.
    pub(crate) handled: BTreeSet<&'a ContainerId>,
    /// Who does not come back, as far as the limits of pruning count it.
    pub(crate) counted: Vec<WithheldDisconnection>,
    pub(crate) notes: Vec<Note>,
}
