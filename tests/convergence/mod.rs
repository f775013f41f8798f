//! Plans carried out on an engine in memory: what the world looks like afterwards, whatever goes wrong on the way and whoever else acts.

mod addresses;
mod by_hand;
mod crashes;
mod execution;
mod hints;
mod looks;
mod others;
mod real;
mod real_addresses;
mod survey;
mod swarm;
mod world;
