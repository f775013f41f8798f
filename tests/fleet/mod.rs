//! Several controllers on one etcd.

mod controllers;
mod engines;
mod faults;
mod migrate;
mod store;
mod trouble;
mod views;
