//! What tests stand on: real Docker hosts and containers in every state, and small worlds for the planner.

// Each area of tests uses its own part of this.
#![allow(dead_code, unused_imports, unreachable_pub)]

pub(crate) mod authority;
pub(crate) mod browser;
pub(crate) mod bucket;
pub(crate) mod cluster;
pub(crate) mod container;
pub(crate) mod databases;
pub(crate) mod etcd;
pub(crate) mod faults;
pub(crate) mod host;
pub(crate) mod lan;
pub(crate) mod memory;
pub(crate) mod registry;
pub(crate) mod relay;
pub(crate) mod repository;
pub(crate) mod scenario;
pub(crate) mod simulator;
pub(crate) mod sshd;
pub(crate) mod workloads;

use std::time::{Duration, Instant};

pub(crate) use browser::{Browser, Scheme};
pub(crate) use cluster::Cluster;
pub(crate) use container::ContainerBuilder;
pub(crate) use host::{Answer, Engine, Host, HostBuilder};
pub(crate) use lan::Lan;

/// Waits until `condition` gives a value; panics with `what` when it takes longer than half a minute.
pub(crate) fn wait_for<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_for_at_most(Duration::from_secs(30), what, condition)
}

/// The same for what takes long by its nature.
pub(crate) fn wait_for_at_most<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
