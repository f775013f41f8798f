//! Against a real Docker daemon: what it does, and what the engine layer makes of it.

mod answers;
mod approve;
mod archives;
mod backup;
mod beside;
mod cluster;
mod compose;
mod controller;
mod coolify;
mod databases;
mod doctor;
mod doctor_causes;
mod drift;
mod expectations;
mod facts;
mod figures;
mod followed;
mod guard;
mod harm;
mod hidden;
mod host;
mod keep;
mod leaving;
mod lifecycle;
mod minimum;
mod moves;
mod notify;
mod observe;
mod on_swarm;
mod outage;
mod proxies;
mod reach;
mod recipe;
mod record;
mod registry;
mod remote;
mod removals;
mod rollout;
mod rollouts;
mod running;
mod scan;
mod sealed;
mod soak;
mod stand_ins;
mod subnets;
mod supervised;
mod swarm_nodes;
mod swarm_rollouts;
mod swarm_stacks;
mod sweep;
mod top;
mod traefik;
mod two;
mod workloads;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use landfall::shell::engine::connect::{BoxedStream, ConnectOptions, DialError, Dialer, UnixDialer};
use landfall::shell::engine::{DockerReader, DockerWriter};

use crate::support::Host;

fn dialer(host: &Host) -> UnixDialer {
    UnixDialer::new(host.socket().display().to_string())
}

fn reader(host: &Host, options: &ConnectOptions) -> DockerReader {
    DockerReader::new("default/test", Arc::new(dialer(host)), options)
}

fn writer(host: &Host) -> DockerWriter {
    DockerWriter::new("default/test", Arc::new(dialer(host)), &ConnectOptions::default())
}

/// Counts the connections.
struct CountingDialer {
    dialer: UnixDialer,
    dialled: AtomicUsize,
}

impl CountingDialer {
    fn new(host: &Host) -> Self {
        Self { dialer: dialer(host), dialled: AtomicUsize::new(0) }
    }

    fn dialled(&self) -> usize {
        self.dialled.load(Ordering::Relaxed)
    }
}

#[async_trait::async_trait]
impl Dialer for CountingDialer {
    async fn dial(&self) -> Result<BoxedStream, DialError> {
        self.dialled.fetch_add(1, Ordering::Relaxed);
        self.dialer.dial().await
    }

    fn endpoint(&self) -> String {
        self.dialer.endpoint()
    }
}
