//! Who is to be on a destination's network: one table, for containers and Swarm services, members and the proxy.

use std::collections::BTreeSet;

use crate::core::desired::DesiredDestination;
use crate::core::plan::document::cause::Cause;
use crate::core::plan::world::ownership::Purpose;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeatDecision {
    /// As it is.
    Keep,
    Attach(Cause),
    /// Off the network, and on it again as declared.
    Reattach(Cause),
    Detach(Cause),
    /// It stays, and that is worth knowing.
    Report,
}

/// Whether somebody is to be on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// With the cause of connecting him where he is not there.
    Present(Cause),
    Absent(Cause),
    /// Nobody asked for him, and Landfall did not put him there.
    Tolerated,
}

/// Where he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Now {
    Off,
    On,
    /// Pinned to a network of that name that is gone.
    Stale,
}

/// All that the decision follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeatFacts {
    pub(crate) wish: Wish,
    pub(crate) now: Now,
    /// He lacks something that is declared, or has something of Landfall's that no longer is.
    pub(crate) differs: bool,
    /// He has an address that is declared for another.
    pub(crate) trespasses: bool,
}

/// The table.
pub(crate) fn seat(facts: SeatFacts) -> SeatDecision {
    use SeatDecision::{Attach, Detach, Keep, Reattach, Report};
    match (facts.wish, facts.now) {
        (Wish::Present(cause), Now::Off) => Attach(cause),
        (Wish::Present(_), Now::Stale) => Reattach(Cause::EndpointStale),
        (Wish::Present(_), Now::On) if facts.differs => Reattach(Cause::EndpointDiffers),
        (Wish::Present(_), Now::On) if facts.trespasses => Reattach(Cause::AddressReserved),
        (Wish::Present(_), Now::On) => Keep,
        (Wish::Absent(cause), Now::On) => Detach(cause),
        (Wish::Tolerated, Now::On) => Report,
        (Wish::Absent(_) | Wish::Tolerated, Now::Off | Now::Stale) => Keep,
    }
}

/// Whether the server's proxy is to be on the destination's network. `ours`: Landfall connected it; `member`: a resource means it as well, and it
/// belongs there in that capacity.
pub(crate) fn proxy(destination: &DesiredDestination, ours: bool, member: bool) -> Wish {
    match (destination.active, destination.proxy) {
        (true, true) => Wish::Present(Cause::ProxyDetached),
        (true, false) if member => Wish::Present(Cause::MemberDetached),
        (true, false) if !ours => Wish::Tolerated,
        (true, false) | (false, _) => Wish::Absent(Cause::ProxyUnwanted),
    }
}

/// The proxy may be declared as a member too.
pub(crate) fn made_for(declared: Option<&BTreeSet<Purpose>>) -> BTreeSet<Purpose> {
    declared.into_iter().flatten().cloned().chain([Purpose::Proxy]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::SeatDecision::{Attach, Detach, Keep, Reattach, Report};
    use super::*;

    #[test]
    fn each_row_of_the_table_decides_as_written() {
        let member = Wish::Present(Cause::MemberDetached);
        let unwanted = Wish::Absent(Cause::ProxyUnwanted);
        let rows: &[(Wish, Now, bool, bool, SeatDecision)] = &[
            (member, Now::Off, false, false, Attach(Cause::MemberDetached)),
            (member, Now::Stale, false, false, Reattach(Cause::EndpointStale)),
            (member, Now::Stale, true, true, Reattach(Cause::EndpointStale)),
            (member, Now::On, false, false, Keep),
            (member, Now::On, true, false, Reattach(Cause::EndpointDiffers)),
            (member, Now::On, true, true, Reattach(Cause::EndpointDiffers)),
            (member, Now::On, false, true, Reattach(Cause::AddressReserved)),
            (unwanted, Now::On, false, false, Detach(Cause::ProxyUnwanted)),
            (unwanted, Now::On, true, true, Detach(Cause::ProxyUnwanted)),
            (unwanted, Now::Off, false, false, Keep),
            (unwanted, Now::Stale, false, false, Keep),
            (Wish::Tolerated, Now::On, true, true, Report),
            (Wish::Tolerated, Now::Off, false, false, Keep),
            (Wish::Tolerated, Now::Stale, false, false, Keep),
        ];
        for (wish, now, differs, trespasses, expected) in rows.iter().copied() {
            let facts = SeatFacts { wish, now, differs, trespasses };
            assert_eq!(seat(facts), expected, "{facts:?}");
        }
    }

    fn any_wish() -> impl Strategy<Value = Wish> {
        prop::sample::select(vec![
            Wish::Present(Cause::MemberDetached),
            Wish::Present(Cause::ProxyDetached),
            Wish::Absent(Cause::ProxyUnwanted),
            Wish::Tolerated,
        ])
    }

    proptest! {
        /// Whatever is known, there is a decision, and nobody is taken off the network who is to be there or whom Landfall did not put there.
        #[test]
        fn nobody_is_cut_off_who_may_stay(
            wish in any_wish(),
            now in prop::sample::select(vec![Now::Off, Now::On, Now::Stale]),
            differs in any::<bool>(),
            trespasses in any::<bool>(),
        ) {
            let decision = seat(SeatFacts { wish, now, differs, trespasses });
            prop_assert!(!matches!(decision, Detach(_)) || matches!(wish, Wish::Absent(_)));
            prop_assert!(!matches!(decision, Attach(_) | Reattach(_)) || matches!(wish, Wish::Present(_)));
            prop_assert!(now != Now::Off || !matches!(decision, Reattach(_) | Detach(_) | Report));
            if matches!(wish, Wish::Present(_)) && now != Now::On {
                prop_assert!(matches!(decision, Attach(_) | Reattach(_)), "{:?}", decision);
            }
        }
    }
}
