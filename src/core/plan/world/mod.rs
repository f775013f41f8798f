//! What is: one observed server indexed for the questions that planning asks, its Swarm, whose things are, and who belongs where.

pub(crate) mod applied;
pub(crate) mod class;
pub(crate) mod container;
pub(crate) mod context;
pub(crate) mod elsewhere;
pub(crate) mod identities;
pub(crate) mod located;
pub(crate) mod members;
pub(crate) mod nodes;
pub mod ownership;
pub(crate) mod party;
pub(crate) mod predecessors;
pub(crate) mod reservations;
pub(crate) mod route;
pub(crate) mod selector;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod swarm;
pub(crate) mod target;
