//! How objects stand, by their conditions, and how many stand how.

use crate::core::api::{Condition, ConditionStatus};
use crate::core::status::NOT_WANTED;

/// The types of conditions, with what their statuses mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionType {
    Ready,
    Reconciling,
    Stalled,
    Healthy,
    Available,
    Progressing,
    Reachable,
    NetworkExists,
    ProxyConnected,
    MembersConnected,
    InSync,
    ApprovalPending,
    Contended,
    Deleting,
    Active,
}

/// Which status of a condition is good news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polarity {
    /// True; False is bad.
    Positive,
    /// False; True is bad.
    Negative,
    /// Neither: True says that something is under way or waited for, and False that nothing is.
    Transient,
    /// True; False is as it was declared.
    Declared,
}

impl ConditionType {
    pub const ALL: [Self; 15] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::Healthy,
        Self::Available,
        Self::Progressing,
        Self::Reachable,
        Self::NetworkExists,
        Self::ProxyConnected,
        Self::MembersConnected,
        Self::InSync,
        Self::ApprovalPending,
        Self::Contended,
        Self::Deleting,
        Self::Active,
    ];

    /// As in `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Healthy => "Healthy",
            Self::Available => "Available",
            Self::Progressing => "Progressing",
            Self::Reachable => "Reachable",
            Self::NetworkExists => "NetworkExists",
            Self::ProxyConnected => "ProxyConnected",
            Self::MembersConnected => "MembersConnected",
            Self::InSync => "InSync",
            Self::ApprovalPending => "ApprovalPending",
            Self::Contended => "Contended",
            Self::Deleting => "Deleting",
            Self::Active => "Active",
        }
    }

    pub fn polarity(self) -> Polarity {
        match self {
            Self::Stalled => Polarity::Negative,
            Self::Reconciling | Self::Progressing | Self::ApprovalPending | Self::Contended | Self::Deleting => {
                Polarity::Transient
            }
            Self::Active => Polarity::Declared,
            Self::Ready
            | Self::Healthy
            | Self::Available
            | Self::Reachable
            | Self::NetworkExists
            | Self::ProxyConnected
            | Self::MembersConnected
            | Self::InSync => Polarity::Positive,
        }
    }

    fn of(condition: &Condition) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == condition.condition_type)
    }
}

/// What a condition means to its reader: the one answer of command line, API and page. The order is that of attention, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meaning {
    Good,
    /// As it was declared, or nothing to speak of.
    Neutral,
    /// Unknown, under way or waited for.
    Unsure,
    Bad,
}

impl Meaning {
    pub fn of(condition: &Condition) -> Self {
        let condition_type = ConditionType::of(condition);
        // A proxy that is on a network where none is declared is not Landfall's to take off.
        if condition_type == Some(ConditionType::ProxyConnected) && condition.reason == NOT_WANTED {
            return if condition.status == ConditionStatus::False { Self::Neutral } else { Self::Unsure };
        }
        // What the controller says of itself is good where it holds.
        match (condition_type.map_or(Polarity::Positive, ConditionType::polarity), condition.status) {
            (_, ConditionStatus::Unknown) | (Polarity::Transient, ConditionStatus::True) => Self::Unsure,
            (Polarity::Transient | Polarity::Declared, ConditionStatus::False) => Self::Neutral,
            (Polarity::Positive | Polarity::Declared, ConditionStatus::True)
            | (Polarity::Negative, ConditionStatus::False) => Self::Good,
            (Polarity::Positive, ConditionStatus::False) | (Polarity::Negative, ConditionStatus::True) => Self::Bad,
        }
    }

    /// Of one object on several servers, the condition with the greatest stands for all.
    pub fn rank(condition: &Condition) -> (Self, bool) {
        (Self::of(condition), condition.status != ConditionStatus::Unknown)
    }
}

/// Whether an object is ready. The order is that of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    NotReady,
    Unknown,
    Ready,
}

impl Standing {
    pub const ALL: [Self; 3] = [Self::NotReady, Self::Unknown, Self::Ready];

    pub fn of(conditions: &[Condition]) -> Self {
        match conditions.iter().find(|it| it.condition_type == "Ready").map(|it| it.status) {
            Some(ConditionStatus::True) => Self::Ready,
            Some(ConditionStatus::False) => Self::NotReady,
            Some(ConditionStatus::Unknown) | None => Self::Unknown,
        }
    }

    /// As in filters and in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotReady => "false",
            Self::Unknown => "unknown",
            Self::Ready => "true",
        }
    }
}

/// How many stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally([usize; 3]);

impl Tally {
    /// Of those with these conditions.
    pub fn count<'a>(all: impl Iterator<Item = &'a [Condition]>) -> Self {
        let mut tally = Self::default();
        all.for_each(|conditions| tally.0[Standing::of(conditions) as usize] += 1);
        tally
    }

    pub fn of(&self, standing: Standing) -> usize {
        self.0[standing as usize]
    }

    pub fn add(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }

    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::api::Statement;

    fn meaning(condition_type: &str, status: ConditionStatus, reason: &str) -> Meaning {
        Meaning::of(&Condition::from(Statement {
            condition_type: condition_type.into(),
            status,
            reason: reason.into(),
            message: "".into(),
            observed_generation: None,
            last_transition_time: None,
        }))
    }

    #[test]
    fn each_type_and_status_has_one_meaning() {
        use ConditionStatus::{False, True, Unknown};
        use Meaning::{Bad, Good, Neutral, Unsure};
        for condition_type in ConditionType::ALL {
            let name = condition_type.as_str();
            let (yes, no) = match name {
                "Stalled" => (Bad, Good),
                "Reconciling" | "Progressing" | "Deleting" | "Contended" | "ApprovalPending" => (Unsure, Neutral),
                "Active" => (Good, Neutral),
                _ => (Good, Bad),
            };
            let all = [True, False, Unknown].map(|status| meaning(name, status, "Any"));
            assert_eq!(all, [yes, no, Unsure], "{name}");
        }
        assert_eq!([True, False].map(|it| meaning("ProxyConnected", it, NOT_WANTED)), [Unsure, Neutral]);
        assert_eq!([True, False].map(|it| meaning("HistoryKept", it, "Written")), [Good, Bad]);
    }
}
