//! What becomes of the container in a replica's place: one table.

/// How a container differs from what is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Differs {
    No,
    /// In what the daemon changes of a container that exists.
    InPlace,
    Anew,
}

/// A container of the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) differs: Differs,
    /// It was made or has ended, and nothing keeps it from being started.
    pub(crate) stopped: bool,
}

/// All that the decision follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunFacts {
    pub(crate) current: Option<Holder>,
    /// Another one claims the same place.
    pub(crate) twin: bool,
    /// A rollout has made it, and it has not taken over.
    pub(crate) next: Option<Holder>,
    /// Another process is about to have that one take over.
    pub(crate) under_way: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunDecision {
    /// As it is. `start`: it does not run.
    Keep {
        start: bool,
    },
    /// Changed in place.
    Update {
        start: bool,
    },
    Create,
    /// A new one takes its place.
    Recreate,
    /// The rest of a rollout whose container exists.
    TakeOver,
    /// Nothing before what another process does is over.
    Await,
    /// Neither of two is touched.
    Refuse,
}

/// What becomes of a container that has not taken over, before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spare {
    /// There is none, or the rollout goes on with it.
    Left,
    /// The manifest has changed again, or was taken back.
    Removed,
    /// Nothing else is there: it is what has to be replaced.
    Promoted,
}

/// The table.
pub(crate) fn run(facts: RunFacts) -> (Spare, RunDecision) {
    let fits = |holder: Holder| holder.differs == Differs::No;
    match (facts.current, facts.next) {
        _ if facts.twin => (Spare::Left, RunDecision::Refuse),
        (None, None) => (Spare::Left, RunDecision::Create),
        (None, Some(next)) if fits(next) => (Spare::Left, RunDecision::TakeOver),
        (None, Some(next)) => (Spare::Promoted, alone(next)),
        (Some(current), None) => (Spare::Left, alone(current)),
        (Some(current), Some(next)) if fits(current) || !fits(next) => match facts.under_way {
            true => (Spare::Left, RunDecision::Await),
            false => (Spare::Removed, alone(current)),
        },
        (Some(_), Some(_)) => (Spare::Left, RunDecision::TakeOver),
    }
}

fn alone(Holder { differs, stopped }: Holder) -> RunDecision {
    match differs {
        Differs::No => RunDecision::Keep { start: stopped },
        Differs::InPlace => RunDecision::Update { start: stopped },
        Differs::Anew => RunDecision::Recreate,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FITS: Holder = Holder { differs: Differs::No, stopped: false };
    const STOPPED: Holder = Holder { differs: Differs::No, stopped: true };
    const SMALL: Holder = Holder { differs: Differs::InPlace, stopped: false };
    const SMALL_STOPPED: Holder = Holder { differs: Differs::InPlace, stopped: true };
    const OLD: Holder = Holder { differs: Differs::Anew, stopped: false };
    const OLD_STOPPED: Holder = Holder { differs: Differs::Anew, stopped: true };

    #[test]
    fn each_row_of_the_table_decides_as_written() {
        use RunDecision::{Await, Create, Keep, Recreate, TakeOver, Update};
        use Spare::{Left, Promoted, Removed};
        let rows: &[(Option<Holder>, Option<Holder>, Spare, RunDecision)] = &[
            (None, None, Left, Create),
            (Some(FITS), None, Left, Keep { start: false }),
            (Some(STOPPED), None, Left, Keep { start: true }),
            (Some(SMALL), None, Left, Update { start: false }),
            (Some(SMALL_STOPPED), None, Left, Update { start: true }),
            (Some(OLD), None, Left, Recreate),
            (Some(OLD_STOPPED), None, Left, Recreate),
            (None, Some(FITS), Left, TakeOver),
            (None, Some(STOPPED), Left, TakeOver),
            (None, Some(SMALL), Promoted, Update { start: false }),
            (None, Some(OLD), Promoted, Recreate),
            (None, Some(OLD_STOPPED), Promoted, Recreate),
            (Some(FITS), Some(FITS), Removed, Keep { start: false }),
            (Some(STOPPED), Some(OLD), Removed, Keep { start: true }),
            (Some(SMALL), Some(FITS), Left, TakeOver),
            (Some(SMALL), Some(OLD), Removed, Update { start: false }),
            (Some(OLD), Some(STOPPED), Left, TakeOver),
            (Some(OLD), Some(OLD), Removed, Recreate),
        ];
        for (current, next, spare, decision) in rows.iter().copied() {
            let facts = RunFacts { current, twin: false, next, under_way: false };
            assert_eq!(run(facts), (spare, decision), "{facts:?}");
            // What another process is about to put in place is not removed; all else is done.
            let under_way = RunFacts { under_way: true, ..facts };
            let expected = if spare == Removed { (Left, Await) } else { (spare, decision) };
            assert_eq!(run(under_way), expected, "{under_way:?}");
            let twin = RunFacts { twin: true, ..facts };
            assert_eq!(run(twin), (Spare::Left, RunDecision::Refuse), "{twin:?}");
        }
    }

    fn any_holder() -> impl Strategy<Value = Option<Holder>> {
        let differs = prop::sample::select(vec![Differs::No, Differs::InPlace, Differs::Anew]);
        prop::option::of((differs, any::<bool>()).prop_map(|(differs, stopped)| Holder { differs, stopped }))
    }

    proptest! {
        /// Whatever is there: what is as declared is not made anew, and what a rollout goes on with fits and is not removed.
        #[test]
        fn nothing_that_fits_is_made_anew(
            current in any_holder(),
            next in any_holder(),
            twin in any::<bool>(),
            under_way in any::<bool>(),
        ) {
            let (spare, decision) = run(RunFacts { current, twin, next, under_way });
            let fits = |holder: Option<Holder>| holder.is_some_and(|it| it.differs == Differs::No);
            prop_assert!(!fits(current) || !matches!(decision, RunDecision::Recreate | RunDecision::TakeOver | RunDecision::Create));
            prop_assert!(decision != RunDecision::TakeOver || (fits(next) && spare == Spare::Left));
            prop_assert!(spare == Spare::Left || next.is_some());
            prop_assert!(decision != RunDecision::Create || (current, next) == (None, None));
        }
    }
}
