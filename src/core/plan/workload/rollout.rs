//! One slot: from the containers that are in it to the one that ought to be.

use super::attempt::{cause, existing, is_started, update};
use super::hindrance;
use super::managed::{Held, Managed};
use crate::core::observed::{ContainerState, Health, ObservedContainer};
use crate::core::plan::decide::run::{RunDecision, RunFacts, Spare, run as decide_run};
use crate::core::plan::document::cause::Cause;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::document::step::{Group, Operation};
use crate::core::plan::document::target::ContainerTarget;
use crate::core::plan::document::workload_call::{ContainerRef, WorkloadCall};
use crate::core::plan::emit::draft::Draft;
use crate::core::plan::world::ownership;
use crate::core::workload::{Order, identity};

impl<'a> Managed<'a, '_> {
    /// `prepare`: the image, the volumes and the hook have not been planned yet.
    pub(crate) fn slot(&self, replica: u32, held: Vec<Held<'a>>, prepare: bool, draft: &mut Draft) {
        let name = self.name(replica);
        let (mut next, mut base): (Vec<Held<'a>>, Vec<Held<'a>>) = held.into_iter().partition(Held::is_next);
        let (mut next, mut current, twin) = (next.pop(), base.pop(), base.pop());
        let under_way = next.as_ref().and_then(|next| self.under_way(next));
        let facts = RunFacts {
            current: current.as_ref().map(Held::as_holder),
            twin: twin.is_some(),
            next: next.as_ref().map(Held::as_holder),
            under_way: under_way.is_some(),
        };
        let (spare, decision) = decide_run(facts);
        match spare {
            Spare::Left => {}
            Spare::Removed => draft.groups.extend(next.take().map(|it| self.clear(it.container))),
            Spare::Promoted => {
                current = next.take();
                draft.groups.extend(current.as_ref().map(|it| self.called(it, &name)));
            }
        }
        match (decision, current, next) {
            (RunDecision::Refuse, Some(one), _) => {
                draft.notes.extend(twin.map(|other| self.claimed_twice(replica, &one, &other)))
            }
            (RunDecision::Await, ..) => draft.notes.extend(under_way),
            (RunDecision::Create, ..) => self.first(replica, &name, prepare, draft),
            (RunDecision::TakeOver, current, Some(next)) => {
                self.take_over(&name, current.as_ref(), &next, prepare, draft)
            }
            (RunDecision::Recreate, Some(current), _) => self.replace(replica, &name, &current, prepare, draft),
            (RunDecision::Keep { start }, Some(current), _) => self.keep(&current, start, prepare, draft),
            (RunDecision::Update { start }, Some(current), _) => {
                draft.groups.push(self.change_in_place(&current));
                self.keep(&current, start, prepare, draft);
            }
            // Decided only about what is there.
            _ => {}
        }
    }

    /// One of two that both claim a slot was made by hand from the other's labels.
    fn claimed_twice(&self, replica: u32, one: &Held<'a>, other: &Held<'a>) -> Note {
        let (one, other) = (&one.container.name, &other.container.name);
        let message = format!("{one:?} and {other:?} both are replica {replica} of it.");
        let note = Note::refused(Reason::NameAmbiguous, self.resource(), message);
        note.hint("remove the one that is not needed: docker rm -f NAME")
    }

    fn called(&self, held: &Held<'a>, name: &str) -> Group {
        let rename = WorkloadCall::RenameContainer { container: existing(held), to: name.to_owned() };
        self.group(vec![self.operation(rename, Cause::WorkloadDiffers, false, None)])
    }

    fn change_in_place(&self, current: &Held<'a>) -> Group {
        let update = WorkloadCall::UpdateContainer {
            container: ContainerTarget::of(current.container),
            update: update(&self.workload.container, &current.differences),
            differences: current.differences.clone(),
        };
        self.group(vec![self.operation(update, Cause::WorkloadDiffers, false, None)])
    }

    /// A container that is as declared: under its name, and running. `start`: it does not run.
    fn keep(&self, current: &Held<'a>, start: bool, prepare: bool, draft: &mut Draft) {
        if let Some(former) = self.ctx.host.identities.former_name(current.container) {
            match self.ctx.host.container_named(former) {
                Some(_) => draft.notes.push(self.renamed(current, former)),
                None => draft.groups.push(self.called(current, former)),
            }
        }
        if !start || is_started(draft, current) {
            return;
        }
        if let Some(note) = hindrance::held_stopped(self.ctx, self.resource(), [current.container]) {
            draft.notes.push(note);
            return;
        }
        let attempt = self.attempt(current.container.id.as_str());
        if let Some(note) = self.held_up(&attempt) {
            draft.notes.push(note);
            return;
        }
        let cause = Cause::WorkloadStopped;
        let container = existing(current);
        let mut operations = Vec::new();
        operations.extend(self.before_start(&container, cause, prepare && is_new(current)));
        let job = self.job_before();
        let start = WorkloadCall::StartContainer { container, ready: self.readiness(), attempt, job };
        operations.push(self.operation(start, cause, false, None));
        draft.groups.push(self.group(operations));
    }

    /// Waits for those that are as declared and do not serve, before any other one is replaced by the like of them.
    pub(crate) fn confirm<'h>(&self, held: impl Iterator<Item = &'h Held<'a>>, draft: &mut Draft)
    where
        'a: 'h,
    {
        let doubtful = held.filter(|it| {
            let state = it.container.state;
            !it.is_next() && it.changes_in_place() && state.is_live() && !it.container.has_settled()
        });
        for held in doubtful {
            let attempt = self.attempt(held.container.id.as_str());
            if let Some(note) = self.given_up(&attempt) {
                draft.notes.push(note);
                return;
            }
            let (container, ready) = (existing(held), self.readiness());
            let start = WorkloadCall::StartContainer { container, ready, attempt, job: None };
            draft.groups.push(self.group(vec![self.operation(start, Cause::WorkloadDiffers, false, None)]));
        }
    }

    /// Somebody has renamed it, and something else has its name by now.
    fn renamed(&self, current: &Held<'a>, former: &str) -> Note {
        let name = &current.container.name;
        let message =
            format!("The container {former:?} was renamed to {name:?}, and another container is called {former:?}.");
        Note::refused(Reason::NameTaken, self.resource(), message).hint(format!(
            "remove or rename that one, and Landfall gives {name:?} its name back; until then it serves on"
        ))
    }

    fn first(&self, replica: u32, name: &str, prepare: bool, draft: &mut Draft) {
        if let Some(other) = self.ctx.host.container_named(name) {
            draft.notes.push(self.name_taken(name, other));
            return;
        }
        let attempt = self.attempt("");
        if let Some(note) = self.held_up(&attempt) {
            draft.notes.push(note);
            return;
        }
        draft.notes.extend(self.may_have_run_it(replica));
        let cause = Cause::WorkloadMissing;
        let create = self.create(replica, name, name.to_owned(), None);
        let mut operations = self.beforehand(cause, prepare);
        operations.push(self.make(create, None, cause));
        operations.extend(self.before_start(&ContainerRef::Created(name.to_owned()), cause, prepare));
        operations.push(self.start(name, attempt, cause));
        draft.groups.push(self.group(operations));
    }

    fn name_taken(&self, name: &str, other: &ObservedContainer) -> Note {
        let labels = &other.labels;
        if let Some(identity) = self.ctx.host.identities.get(other).filter(|it| it.set != self.ctx.set) {
            let (set, object) = (&identity.set, &identity.object);
            let from = labels.get(ownership::SOURCE).map(|source| format!(", from {source}")).unwrap_or_default();
            let message = format!(
                "A container named {name:?} exists, which Landfall runs for {object} of the set {set:?}{from}."
            );
            return Note::refused(Reason::NameTaken, self.resource(), message).hint(format!(
                "give one of the two another `containerName`; if they are one and the same, apply with `--set {set}`"
            ));
        }
        let other = &other.name;
        Note::refused(
            Reason::NameTaken,
            self.resource(),
            format!("A container named {other:?} exists, and Landfall did not make it for this resource."),
        )
        .hint(format!(
            "remove or rename it, or declare another `containerName`; if it ran this resource until now, say that it is to be replaced: `metadata.annotations: \
             {{ landfall/replaces: {name} }}`"
        ))
    }

    /// A new container in the place of one that differs in what cannot be changed in place.
    fn replace(&self, replica: u32, name: &str, current: &Held<'a>, prepare: bool, draft: &mut Draft) {
        let called = format!("{name}{}", identity::NEXT);
        if let Some(former) = self.ctx.host.identities.former_name(current.container)
            && self.ctx.host.container_named(name).is_some()
        {
            draft.notes.push(self.renamed(current, former));
            return;
        }
        if let Some(other) = self.ctx.host.container_named(&called).filter(|it| self.identity(it).is_none()) {
            draft.notes.push(self.name_taken(&called, other));
            return;
        }
        let attempt = self.attempt(current.container.id.as_str());
        if let Some(note) = self.held_up(&attempt) {
            draft.notes.push(note);
            return;
        }
        draft.notes.extend(self.expectation(current));
        let cause = cause(&current.differences);
        let create = self.create(replica, name, called.clone(), Some(current));
        // Before anything is stopped: another that does the same finds the name taken.
        let mut operations = self.beforehand(cause, prepare);
        operations.push(self.make(create, Some(current), cause));
        operations.extend(self.before_start(&ContainerRef::Created(called.clone()), cause, prepare));
        let live = current.container.state.is_live();
        let stop_first = self.workload.rollout.order == Order::StopFirst || !self.inherited(current).is_empty();
        if stop_first && live {
            operations.push(self.make_room(current, cause));
        }
        operations.push(self.start(&called, attempt, cause));
        draft.groups.push(self.group(operations));
        draft.groups.push(self.handover(
            name,
            Some(current),
            ContainerRef::Created(called),
            live && !stop_first,
            cause,
        ));
    }

    /// Stops a container before its successor starts. It comes back if that does not get healthy.
    fn make_room(&self, current: &Held<'a>, cause: Cause) -> Operation {
        let undo = WorkloadCall::StartContainer {
            container: existing(current),
            ready: self.readiness(),
            attempt: String::new(),
            job: None,
        };
        let stop = WorkloadCall::StopContainer { container: ContainerTarget::of(current.container), drain: None };
        self.operation(stop, cause, true, Some(undo))
    }

    /// The rest of a rollout whose new container exists.
    fn take_over(&self, name: &str, current: Option<&Held<'a>>, next: &Held<'a>, prepare: bool, draft: &mut Draft) {
        let cause = current.map_or(Cause::WorkloadDiffers, |current| cause(&current.differences));
        let attempt = self.attempt(next.container.id.as_str());
        if let Some(note) = self.held_up(&attempt) {
            draft.notes.push(note);
            return;
        }
        let mut live = current.is_some_and(|current| current.container.state.is_live());
        let stop_first = self.workload.rollout.order == Order::StopFirst
            || current.is_some_and(|current| !self.inherited(current).is_empty());
        let mut operations = Vec::new();
        operations.extend(self.before_start(&existing(next), cause, prepare && is_new(next)));
        if let Some(current) = current.filter(|_| stop_first && live) {
            operations.push(self.make_room(current, cause));
            live = false;
        }
        if !next.container.has_settled() || !operations.is_empty() {
            // A container that runs already is waited for; one that never gets healthy goes.
            let undo = WorkloadCall::RemoveContainer { container: existing(next), force: true };
            let (container, ready, job) = (existing(next), self.readiness(), self.job_before());
            let start = WorkloadCall::StartContainer { container, ready, attempt, job };
            operations.push(self.operation(start, cause, false, current.map(|_| undo)));
            draft.groups.push(self.group(operations));
        }
        draft.groups.push(self.handover(name, current, existing(next), live, cause));
    }

    /// The old container goes, and the new one gets its name.
    fn handover(&self, name: &str, current: Option<&Held<'a>>, next: ContainerRef, stop: bool, cause: Cause) -> Group {
        let mut operations = Vec::new();
        if let Some(current) = current {
            let container = ContainerTarget::of(current.container);
            if stop {
                let drain = self.drain(current);
                let stop = WorkloadCall::StopContainer { container, drain };
                operations.push(self.operation(stop, cause, current.is_foreign(), None));
            }
            let remove = WorkloadCall::RemoveContainer { container: existing(current), force: false };
            operations.push(self.operation(remove, cause, current.is_foreign(), None));
        }
        let rename = WorkloadCall::RenameContainer { container: next, to: name.to_owned() };
        operations.push(self.operation(rename, cause, false, None));
        self.group(operations)
    }

    /// Takes a container out of service for good. Its volumes stay.
    pub(crate) fn retire(&self, held: &Held<'a>, cause: Cause) -> Group {
        let live = held.container.state.is_live();
        let mut operations = Vec::new();
        if live {
            let stop =
                WorkloadCall::StopContainer { container: ContainerTarget::of(held.container), drain: self.drain(held) };
            operations.push(self.operation(stop, cause, true, None));
        }
        let remove = WorkloadCall::RemoveContainer { container: existing(held), force: false };
        operations.push(self.operation(remove, cause, false, None));
        self.group(operations)
    }

    /// That another process is at work on having it take over, as far as can be seen; what was left behind goes. One that was made and not
    /// started does not tell since when: whoever is to remove it watches it for a while.
    fn under_way(&self, next: &Held<'_>) -> Option<Note> {
        let ObservedContainer { name, state, health, up, .. } = next.container;
        if is_new(next) {
            return self.job_under_way();
        }
        let gets_ready = *health == Some(Health::Starting) || up.is_some();
        if !state.is_live() || !gets_ready || *health == Some(Health::Unhealthy) || next.container.is_restarting() {
            return None;
        }
        let message =
            format!("Another process is about to have {name:?} take over, which is not what is declared here.");
        let hint = format!(
            "what is declared here follows when that is over: see to it that both have the same manifests; if no other process is at work: docker rm -f \
             {name}"
        );
        let left = up.map(|up| RECENT.saturating_sub(up).max(1));
        Some(Note::waiting(Reason::RolloutInProgress, self.resource(), message).hint(hint).again(left).for_turn())
    }

    /// What was left behind.
    pub(crate) fn clear(&self, left: &ObservedContainer) -> Group {
        let fresh = left.state == ContainerState::Created;
        let clear = WorkloadCall::ClearContainer { container: ContainerTarget::of(left), fresh };
        self.group(vec![self.operation(clear, Cause::WorkloadDiffers, false, None)])
    }
}

/// Seconds for which the list of containers tells how long one has run.
const RECENT: u32 = 60;

/// It was made and never started: what runs before that may not have run.
fn is_new(held: &Held<'_>) -> bool {
    held.container.state == ContainerState::Created
}
