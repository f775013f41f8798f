//! What becomes of a destination's network: one table, for what is declared, what is to be deleted, and what no manifest declares any more.

use std::collections::BTreeSet;

use super::adoption;
use super::creation::{creation, placed};
use super::differences::{differences, is_default};
use super::feasible::{overlap, uncreatable};
use super::replaceable::{Why, replaceable};
use super::suitable::UNALLOCATED;
use crate::core::desired::DesiredDestination;
use crate::core::observed::{NetworkId, ObservedNetwork};
use crate::core::plan::document::note::{Note, NoteKind};
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::target::{FieldDifference, NetworkCreate};
use crate::core::plan::world::context::Context;
use crate::core::plan::world::located::Located;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NetworkDecision {
    /// It is as it should be, or there is none and none is needed.
    Keep,
    Create,
    /// Made anew: Docker cannot change a network.
    Replace,
    /// Something else makes it.
    Await,
    Refuse,
    Remove,
    /// Left as it is, and no concern of Landfall's any more.
    Forget,
}

/// What the manifests and the request have to say about the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Present,
    Suspended,
    /// To be deleted, or to be pruned.
    Absent,
    /// No manifest declares it, and nothing is pruned.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    None,
    Owned,
    Adopted,
    /// It cannot be told, or the server cannot carry it.
    Refused,
}

impl Found {
    pub(crate) fn of(located: &Located<'_>) -> Self {
        match located {
            Located::Missing => Found::None,
            Located::Owned(_) => Found::Owned,
            Located::Adopted(_) => Found::Adopted,
            Located::Refused(_) => Found::Refused,
        }
    }
}

/// All that the decision follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NetworkFacts {
    pub(crate) asked: Asked,
    pub(crate) found: Found,
    /// One that is missing is made by another node of the Swarm, or by the tool that made the one that is to be adopted.
    pub(crate) made_by_others: bool,
    /// The Swarm has given it a driver and addresses.
    pub(crate) allocated: bool,
    /// In a field that Docker cannot change, or in whose it is to be.
    pub(crate) differs: bool,
    /// Something speaks against making it, or against making it anew.
    pub(crate) hindered: bool,
    /// A policy has it outlive its destination.
    pub(crate) protected: bool,
}

impl NetworkFacts {
    pub(crate) fn new(asked: Asked, found: Found) -> Self {
        let (made_by_others, differs, hindered, protected) = (false, false, false, false);
        Self { asked, found, made_by_others, allocated: true, differs, hindered, protected }
    }
}

/// The table.
pub(crate) fn network(facts: NetworkFacts) -> NetworkDecision {
    use NetworkDecision::{Await, Create, Forget, Keep, Refuse, Remove, Replace};
    match (facts.asked, facts.found) {
        (Asked::Suspended | Asked::Nothing, _) => Keep,
        (_, Found::Refused) => Refuse,
        (Asked::Present, Found::None) if facts.made_by_others => Await,
        (Asked::Present, Found::None) if facts.hindered => Refuse,
        (Asked::Present, Found::None) => Create,
        // What it does not show yet is no difference.
        (Asked::Present, _) if !facts.allocated => Refuse,
        (Asked::Present, _) if !facts.differs => Keep,
        (Asked::Present, _) if facts.hindered => Refuse,
        (Asked::Present, _) => Replace,
        (Asked::Absent, Found::None) => Keep,
        (Asked::Absent, Found::Adopted) => Forget,
        (Asked::Absent, Found::Owned) if facts.protected => Forget,
        (Asked::Absent, Found::Owned) => Remove,
    }
}

/// What becomes of the network of a destination that is declared.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) decision: NetworkDecision,
    /// Why it is not as declared.
    pub(crate) note: Option<Note>,
    /// The members are left as they are, for this reason.
    pub(crate) rests: Option<&'static str>,
    pub(crate) create: Option<NetworkCreate>,
    pub(crate) differences: Vec<FieldDifference>,
}

pub(crate) fn declared(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    located: &Located<'_>,
    removed: &BTreeSet<&NetworkId>,
) -> Decided {
    let asked = if destination.suspend { Asked::Suspended } else { Asked::Present };
    let facts = NetworkFacts::new(asked, Found::of(located));
    let decided =
        |facts, note, rests| Decided { decision: network(facts), note, rests, create: None, differences: Vec::new() };
    if destination.suspend {
        return decided(facts, Some(suspended(destination)), Some("is suspended"));
    }
    match located {
        Located::Refused(note) => {
            let rests = if note.kind == NoteKind::Waiting { "waits" } else { "was refused" };
            decided(facts, Some(note.clone()), Some(rests))
        }
        Located::Missing => {
            if let Some(note) = made_elsewhere(ctx, destination).or_else(|| adoption::awaited(ctx, destination)) {
                return decided(NetworkFacts { made_by_others: true, ..facts }, Some(note), Some("has no network yet"));
            }
            match creatable(ctx, destination, removed) {
                Ok(create) => Decided { create: Some(create), ..decided(facts, None, None) },
                Err(note) => decided(NetworkFacts { hindered: true, ..facts }, Some(note), Some("was refused")),
            }
        }
        Located::Owned(current) | Located::Adopted(current) if current.is_unallocated() => {
            let facts = NetworkFacts { allocated: false, ..facts };
            decided(facts, Some(unallocated(destination, current)), Some("has no addresses"))
        }
        Located::Owned(current) | Located::Adopted(current) => {
            let mut differences = differences(&destination.network, current);
            if ctx.is_shared(destination, current) {
                // What the destination that made it declares need not be said again.
                differences.retain(|it| !is_default(it));
            }
            let differs = !differences.is_empty() || adoption::is_taken_over(destination, located);
            let adopted = matches!(located, Located::Adopted(_));
            if !differs {
                return decided(facts, None, None);
            }
            let why = Why { destination, network: current, differences: &differences, adopted };
            match replaceable(ctx, why, removed) {
                Ok(create) => {
                    let facts = NetworkFacts { differs, ..facts };
                    Decided { create: Some(create), differences, ..decided(facts, None, None) }
                }
                // It cannot be what the manifest says, and whoever belongs on it is looked after all the same.
                Err(note) => decided(NetworkFacts { differs, hindered: true, ..facts }, Some(note), None),
            }
        }
    }
}

fn suspended(destination: &DesiredDestination) -> Note {
    let message = format!("{} is suspended and left as it is.", destination.key);
    Note::new(NoteKind::Suspended, Reason::Suspended, &destination.key, message)
        .hint("remove `suspend: true` to have it looked after again")
}

fn made_elsewhere(ctx: &Context<'_>, destination: &DesiredDestination) -> Option<Note> {
    let other = ctx.made_for(destination)?;
    let message = format!("{other}, on another node of the Swarm, has not made the network yet.");
    let note = Note::waiting(Reason::NetworkNotFound, &destination.key, message);
    Some(note.hint("apply again when it has"))
}

fn unallocated(destination: &DesiredDestination, network: &ObservedNetwork) -> Note {
    let message = format!("The Swarm has given the network {:?} no driver and no addresses.", network.name);
    Note::refused(Reason::AddressPoolExhausted, &destination.key, message).hint(UNALLOCATED)
}

/// What the missing network is made as, or why it cannot be made.
fn creatable(
    ctx: &Context<'_>,
    destination: &DesiredDestination,
    removed: &BTreeSet<&NetworkId>,
) -> Result<NetworkCreate, Note> {
    let create = placed(ctx, destination, creation(ctx, destination, None))?;
    let refused = uncreatable(ctx, destination, &create, removed).or_else(|| overlap(ctx, destination, removed));
    refused.map_or(Ok(create), Err)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::NetworkDecision::{Await, Create, Forget, Keep, Refuse, Remove, Replace};
    use super::*;

    type Change = fn(&mut NetworkFacts);

    #[test]
    fn each_row_of_the_table_decides_as_written() {
        let as_is: Change = |_| ();
        let others: Change = |it| it.made_by_others = true;
        let hindered: Change = |it| it.hindered = true;
        let unallocated: Change = |it| (it.allocated, it.differs) = (false, true);
        let differs: Change = |it| it.differs = true;
        let unchangeable: Change = |it| (it.differs, it.hindered) = (true, true);
        let protected: Change = |it| it.protected = true;
        let rows: &[(Asked, Found, Change, NetworkDecision)] = &[
            (Asked::Present, Found::None, as_is, Create),
            (Asked::Present, Found::None, others, Await),
            (Asked::Present, Found::None, hindered, Refuse),
            (Asked::Present, Found::Owned, as_is, Keep),
            (Asked::Present, Found::Adopted, as_is, Keep),
            (Asked::Present, Found::Owned, differs, Replace),
            (Asked::Present, Found::Adopted, differs, Replace),
            (Asked::Present, Found::Owned, unchangeable, Refuse),
            (Asked::Present, Found::Owned, unallocated, Refuse),
            (Asked::Present, Found::Refused, as_is, Refuse),
            (Asked::Suspended, Found::None, as_is, Keep),
            (Asked::Suspended, Found::Owned, differs, Keep),
            (Asked::Suspended, Found::Refused, as_is, Keep),
            (Asked::Absent, Found::None, as_is, Keep),
            (Asked::Absent, Found::Owned, as_is, Remove),
            (Asked::Absent, Found::Owned, protected, Forget),
            (Asked::Absent, Found::Adopted, as_is, Forget),
            (Asked::Absent, Found::Refused, as_is, Refuse),
            (Asked::Nothing, Found::Owned, as_is, Keep),
            (Asked::Nothing, Found::Owned, protected, Keep),
        ];
        for (asked, found, change, expected) in rows {
            let mut facts = NetworkFacts::new(*asked, *found);
            change(&mut facts);
            assert_eq!(network(facts), *expected, "{facts:?}");
        }
    }

    fn any_facts() -> impl Strategy<Value = NetworkFacts> {
        let asked = prop::sample::select(vec![Asked::Present, Asked::Suspended, Asked::Absent, Asked::Nothing]);
        let found = prop::sample::select(vec![Found::None, Found::Owned, Found::Adopted, Found::Refused]);
        (asked, found, any::<[bool; 5]>()).prop_map(|(asked, found, flags)| {
            let [made_by_others, allocated, differs, hindered, protected] = flags;
            NetworkFacts { asked, found, made_by_others, allocated, differs, hindered, protected }
        })
    }

    proptest! {
        /// Whatever is known, there is a decision, and it never does more than what was asked for and what is there allow.
        #[test]
        fn no_decision_goes_beyond_what_was_asked(facts in any_facts()) {
            let decision = network(facts);
            let is_there = matches!(facts.found, Found::Owned | Found::Adopted);
            prop_assert!(decision != Remove || (facts.asked == Asked::Absent && facts.found == Found::Owned && !facts.protected));
            prop_assert!(decision != Create || (facts.asked == Asked::Present && facts.found == Found::None && !facts.hindered));
            prop_assert!(decision != Replace || (facts.asked == Asked::Present && is_there && facts.differs && !facts.hindered));
            prop_assert!(decision != Await || (facts.found == Found::None && facts.made_by_others));
            prop_assert!(decision != Forget || (facts.asked == Asked::Absent && is_there));
            if matches!(facts.asked, Asked::Suspended | Asked::Nothing) {
                prop_assert_eq!(decision, Keep);
            }
        }
    }
}
