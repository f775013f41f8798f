//! What containers use, between two looks at each: as rates, and added up by resource and destination.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counters of a container at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// Nanoseconds since the epoch, by the daemon's clock.
    pub at: i128,
    /// Nanoseconds of processors that it has used since it was started.
    pub cpu: u64,
    /// Bytes that it uses now, what can be given back left out.
    pub memory: u64,
    /// Bytes that it may use; 0: not limited.
    pub limit: u64,
    /// Bytes received and sent, over all networks.
    pub received: u64,
    pub sent: u64,
    /// Bytes read from and written to disks.
    pub read: u64,
    pub written: u64,
}

/// What is used, a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Processors: 1.0 is one that is never idle.
    pub cpu: f64,
    /// Bytes.
    pub memory: u64,
    /// Bytes a second.
    pub received: f64,
    pub sent: f64,
    pub read: f64,
    pub written: f64,
}

impl Usage {
    /// Of one container. `None`: no time has passed.
    pub fn between(before: &Sample, after: &Sample) -> Option<Self> {
        let seconds = (after.at - before.at) as f64 / 1e9;
        if seconds <= 0.0 {
            return None;
        }
        // A counter that went back is that of a container that was started anew.
        let rate = |before: u64, after: u64| after.checked_sub(before).unwrap_or(after) as f64 / seconds;
        Some(Self {
            cpu: rate(before.cpu, after.cpu) / 1e9,
            memory: after.memory,
            received: rate(before.received, after.received),
            sent: rate(before.sent, after.sent),
            read: rate(before.read, after.read),
            written: rate(before.written, after.written),
        })
    }

    pub fn add(&mut self, other: &Self) {
        self.cpu += other.cpu;
        self.memory += other.memory;
        self.received += other.received;
        self.sent += other.sent;
        self.read += other.read;
        self.written += other.written;
    }
}

/// A container, and where it belongs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerUsage {
    pub server: String,
    /// `namespace/name`
    pub destination: String,
    /// `Kind/namespace/name`; `None`: no manifest declares it.
    pub resource: Option<String>,
    pub container: String,
    pub memory_limit: Option<u64>,
    #[serde(flatten)]
    pub usage: Usage,
}

/// Of several containers together.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Total {
    pub name: String,
    pub server: String,
    pub containers: usize,
    #[serde(flatten)]
    pub usage: Usage,
}

/// Added up by what `key` says, in the order of the names.
pub fn totals(containers: &[ContainerUsage], key: impl Fn(&ContainerUsage) -> Option<String>) -> Vec<Total> {
    let mut totals: BTreeMap<(String, String), Total> = BTreeMap::new();
    for container in containers {
        let Some(name) = key(container) else { continue };
        let total = totals.entry((name.clone(), container.server.clone())).or_insert_with(|| Total {
            name,
            server: container.server.clone(),
            containers: 0,
            usage: Usage::default(),
        });
        total.containers += 1;
        total.usage.add(&container.usage);
    }
    totals.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_a_second_and_a_container_that_was_started_anew_begins_at_nothing() {
        let before =
            Sample { at: 1_000_000_000, cpu: 5_000_000_000, received: 1000, written: 900, ..Sample::default() };
        let after = Sample { at: 3_000_000_000, cpu: 6_000_000_000, memory: 7, received: 3000, written: 100, ..before };
        let usage = Usage::between(&before, &after).unwrap();
        assert_eq!((usage.cpu, usage.memory, usage.received, usage.written), (0.5, 7, 1000.0, 50.0));
        assert_eq!(Usage::between(&before, &before), None);
    }

    #[test]
    fn what_belongs_together_is_added_up() {
        let container = |resource: Option<&str>, cpu: f64| ContainerUsage {
            server: "default/edge".to_owned(),
            destination: "default/web".to_owned(),
            resource: resource.map(str::to_owned),
            container: "c".to_owned(),
            memory_limit: None,
            usage: Usage { cpu, memory: 10, ..Usage::default() },
        };
        let containers = [
            container(Some("Application/default/shop"), 0.5),
            container(Some("Application/default/shop"), 0.25),
            container(None, 1.0),
        ];
        let by_resource = totals(&containers, |it| it.resource.clone());
        assert_eq!((by_resource.len(), by_resource[0].containers, by_resource[0].usage.cpu), (1, 2, 0.75));
        let by_destination = totals(&containers, |it| Some(it.destination.clone()));
        assert_eq!((by_destination[0].usage.cpu, by_destination[0].usage.memory), (1.75, 30));
    }
}
