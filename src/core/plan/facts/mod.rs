//! What there is of the declared objects at present, seen as the planner sees it. It says what is, not what to make of it.

mod gather;
mod types;

pub use gather::facts;
pub use types::*;
