//! Planning: a pure function from desired and observed state to operations, each with its cause, and notes on what is left undone.
#![allow(
    clippy::result_large_err,
    reason = "the other outcome of a decision is a note, which is kept, not an error that is passed up"
)]

mod decide;
mod destination;
mod document;
mod emit;
pub mod facts;
mod input;
pub mod lint;
mod server;
pub mod workload;
mod world;

pub use self::decide::differences::differences as immutable_differences;
pub use self::decide::findings::{named_twice, overridden_routes};
pub use self::decide::pool::wants_neighbours;
pub use self::decide::suitable::UNALLOCATED;
pub use self::document::call::*;
pub use self::document::cause::*;
pub use self::document::journal::*;
pub use self::document::note::*;
pub use self::document::plan::*;
pub use self::document::reason::*;
pub use self::document::step::*;
pub use self::document::target::*;
pub use self::document::withheld::*;
pub use self::document::{cut, display, order};
pub use self::emit::prune::left_over;
pub use self::emit::removal::RESOURCES_REMAIN;
pub use self::input::{DeleteMode, FreshId, FreshIds, PlanInput, Request};
pub use self::server::plan;
pub use self::world::applied::{is_mac_address_on_record, park};
pub use self::world::container::{SWARM_SERVICE, is_one_off, overlap, subnets as ranges};
pub use self::world::ownership;
pub use self::world::selector::selects;
pub use self::world::swarm::{is_of_another_node, makes_bridges, wants_elsewhere};
