//! When each group of a server's plan is begun: as soon as all that it waits for has ended, which the plan says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use super::Progress;
use super::call::Caller;
use super::group::{GroupEnd, GroupRun};
use crate::core::api::ObjectKey;
use crate::core::observed::{NetworkId, ServiceId};
use crate::core::plan::order::{self, Waits};
use crate::core::plan::{ContainerTarget, Group, PartyId};
use crate::shell::store::Journals;

/// Groups of one server that are under way at the same time, beside the one whose turn it is: what they take is waiting, for images, for health and
/// for processes to end.
const SIDE_BY_SIDE: usize = 32;

/// One server's part of an execution.
pub(super) struct ServerRun<'a> {
    pub(super) server: &'a ObjectKey,
    pub(super) journals: &'a dyn Journals,
    pub(super) progress: &'a dyn Progress,
    pub(super) known: Mutex<Known>,
}

/// What execution brings to light. A group asks only for what groups have added that it waits for.
#[derive(Default)]
pub(super) struct Known {
    /// Networks that this plan has created, by name.
    pub(super) created: BTreeMap<String, NetworkId>,
    /// Connections that this plan has made, and that were seen in place.
    pub(super) connected: BTreeSet<(PartyId, NetworkId)>,
    /// Services that this plan has updated.
    pub(super) updated: BTreeSet<ServiceId>,
    /// Containers that this plan has made, by the name that they were made with.
    pub(super) made: BTreeMap<String, ContainerTarget>,
    /// Managed containers that this plan has seen ready, and whose they are.
    pub(super) ready: Vec<(ObjectKey, ContainerTarget)>,
}

/// Who does the calls.
#[derive(Clone, Copy)]
pub(super) struct Callers<'a> {
    /// `None` once the server does not answer: what is left is skipped instead of timing out call by call.
    pub(super) own: Option<Caller<'a>>,
    /// For the calls that go to a manager of the Swarm. `None`: there is none, or it does not answer.
    pub(super) manager: Option<Caller<'a>>,
}

impl<'a> ServerRun<'a> {
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the groups, and says how each has ended.
    pub(super) async fn all(&self, groups: &[Group], mut callers: Callers<'a>) -> Vec<GroupEnd> {
        let waits = order::waits(groups);
        let mut ends: Vec<Option<GroupEnd>> = groups.iter().map(|_| None).collect();
        let mut waiting: Vec<usize> = (0..groups.len()).collect();
        let mut running = FuturesUnordered::new();
        let in_turn = |at: usize| waits.get(at).is_some_and(|waits| waits.in_turn);
        let mut beside = 0;
        loop {
            // What is under way is completed, and nothing more is begun.
            if self.progress.stopped() {
                callers = Callers { own: None, manager: None };
            }
            let has_ended: Vec<bool> = ends.iter().map(Option::is_some).collect();
            let begun = ready(&waits, &has_ended, &waiting, SIDE_BY_SIDE.saturating_sub(beside));
            waiting.retain(|at| !begun.contains(at));
            beside += begun.iter().filter(|at| !in_turn(**at)).count();
            for (at, group) in begun.into_iter().filter_map(|at| Some((at, groups.get(at)?))) {
                let run = GroupRun::new(self, callers);
                let lacks_base = waits.get(at).is_some_and(|waits| lacks_base(group, waits, &ends));
                running.push(async move { (at, run.group(group, lacks_base).await) }.boxed());
            }
            let Some((at, (end, left))) = running.next().await else { break };
            beside -= usize::from(!in_turn(at));
            callers.own = callers.own.and(left.own);
            callers.manager = callers.manager.and(left.manager);
            if let Some(place) = ends.get_mut(at) {
                *place = Some(end);
            }
        }
        ends.into_iter().flatten().collect()
    }
}

/// Those of the waiting groups that wait for nothing any more, as many as there is room for beside the one whose turn it is.
fn ready(waits: &[Waits], has_ended: &[bool], waiting: &[usize], mut room: usize) -> BTreeSet<usize> {
    let first = has_ended.iter().take_while(|ended| **ended).count();
    let ended = |at: &usize| has_ended.get(*at).copied().unwrap_or_default();
    let mut ready = BTreeSet::new();
    for at in waiting {
        let Some(waits) = waits.get(*at).filter(|it| it.first <= first && it.others.iter().all(ended)) else {
            continue;
        };
        if waits.in_turn {
            ready.insert(*at);
        } else if room > 0 {
            room -= 1;
            ready.insert(*at);
        }
    }
    ready
}

/// The group goes on with what an earlier one of a managed resource was to bring about, and that failed.
fn lacks_base(group: &Group, waits: &Waits, ends: &[Option<GroupEnd>]) -> bool {
    let needed = order::needed(group);
    let mut base = waits.base.iter().filter_map(|at| ends.get(*at)?.as_ref());
    base.any(|end| end.lacking().any(|object| needed.contains(object)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_leaves_room_for_the_one_whose_turn_it_is() {
        let after = |at: usize| BTreeSet::from([at]);
        let slow = || Waits { others: after(0), ..Waits::default() };
        let repair = |at| Waits { others: after(at), in_turn: true, ..Waits::default() };
        // A repair, forty that it makes possible, two more repairs, and what waits for all before.
        let mut waits = vec![Waits { in_turn: true, ..Waits::default() }];
        waits.extend((0..40).map(|_| slow()));
        waits.extend([repair(0), repair(41), Waits { first: 43, ..Waits::default() }]);
        let mut ended = vec![false; waits.len()];
        let all: Vec<usize> = (0..waits.len()).collect();
        assert_eq!(ready(&waits, &ended, &all, SIDE_BY_SIDE), BTreeSet::from([0]));
        ended[0] = true;
        let begun = ready(&waits, &ended, &all[1..], SIDE_BY_SIDE);
        assert_eq!((begun.len(), begun.contains(&41), begun.contains(&42)), (SIDE_BY_SIDE + 1, true, false));
        ended[41] = true;
        let left: Vec<usize> = all[1..].iter().copied().filter(|at| !begun.contains(at)).collect();
        assert_eq!(ready(&waits, &ended, &left, 0), BTreeSet::from([42]));
        assert_eq!(ready(&waits, &vec![true; waits.len()], &[43], 1), BTreeSet::from([43]));
    }
}
