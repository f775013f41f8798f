//! Several servers on one network, each with its own daemon and sshd, through the command line: what becomes of the others, and of the next
//! run, when one of them is in trouble.

mod access;
mod contexts;
mod cut_off;
mod fleet;
mod moves;
mod one_connection;
mod stacks;
mod swarm;
mod trouble;
