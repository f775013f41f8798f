//! How objects stand, by their conditions, and how many stand how.

use crate::core::api::{Condition, ConditionStatus};

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
