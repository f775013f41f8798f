//! Functions from what is to a decision. They build no operations.

pub(crate) mod addresses;
pub(crate) mod adoption;
pub(crate) mod aliases;
pub(crate) mod creation;
pub(crate) mod differences;
pub(crate) mod feasible;
pub(crate) mod findings;
pub(crate) mod leaving;
pub(crate) mod left_behind;
pub(crate) mod locate;
pub(crate) mod network;
pub(crate) mod obtainable;
pub(crate) mod pool;
pub(crate) mod proxy_note;
pub(crate) mod replaceable;
pub(crate) mod run;
pub(crate) mod seat;
pub(crate) mod settings;
pub(crate) mod standing;
pub(crate) mod suitable;
