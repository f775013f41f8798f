//! Several controllers on one etcd.

mod controllers;
mod engines;
mod faults;
mod store;
