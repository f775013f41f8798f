//! How much of the servers' addresses was used on earlier days: what forecasts are made of.
//!
//! A file for each server, read and written as a whole. One that cannot be read is as good as none.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::core::api::ObjectKey;
use crate::core::subnets::{Sample, Samples};

/// Seconds between two samples of the same thing.
const APART: i64 = 12 * 3600;
/// Samples of one thing: two months.
const MOST: usize = 120;
/// Things of one server.
const THINGS: usize = 4096;
const BYTES: u64 = 16 << 20;

/// Under the state directory.
#[derive(Debug)]
pub struct Usage {
    directory: PathBuf,
    /// When each server's was looked at last.
    looked: Mutex<BTreeMap<ObjectKey, i64>>,
}

impl Usage {
    pub fn in_state(directory: &Path) -> Self {
        Self { directory: directory.join("usage"), looked: Mutex::default() }
    }

    /// Neither part of a server's name has a comma, and the pools' has none.
    fn path(&self, of: Option<&ObjectKey>) -> PathBuf {
        let name = of.map_or("pools".to_owned(), |server| format!("{},{}", server.namespace, server.name));
        self.directory.join(format!("{name}.json"))
    }

    /// Whether another sample may be due, for who asks often.
    pub fn is_due(&self, server: &ObjectKey, now: i64) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = looked.get(server).is_none_or(|at| !(0..APART).contains(&(now - at)));
        if due {
            looked.insert(server.clone(), now);
        }
        due
    }

    pub fn of(&self, of: Option<&ObjectKey>) -> Samples {
        let read = || -> io::Result<Samples> {
            let mut bytes = Vec::new();
            fs::File::open(self.path(of))?.take(BYTES).read_to_end(&mut bytes)?;
            Ok(serde_json::from_slice(&bytes)?)
        };
        read().unwrap_or_default()
    }

    /// Adds what is used at `now`, where the last sample is old enough, and answers with all there are. `of`: a server; `None`: the pools that
    /// servers share.
    pub fn add(&self, of: Option<&ObjectKey>, now: i64, levels: impl Iterator<Item = (String, u64)>) -> Samples {
        let mut samples = self.of(of);
        let mut changed = false;
        let mut present = BTreeMap::new();
        for (key, used) in levels.take(THINGS) {
            let mut list = samples.remove(&key).unwrap_or_default();
            // A clock that was set back must not keep new ones away.
            list.retain(|it| it.at <= now);
            if list.last().is_none_or(|last| now - last.at >= APART) {
                list.push(Sample { at: now, used });
                list.drain(..list.len().saturating_sub(MOST));
                changed = true;
            }
            present.insert(key, list);
        }
        // What is there no more is not to be forecast.
        if changed && let Err(error) = self.write(of, &present) {
            tracing::debug!(path = %self.path(of).display(), %error, "the use of addresses is not kept");
        }
        present
    }

    fn write(&self, of: Option<&ObjectKey>, samples: &Samples) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        super::keep_private(&self.directory);
        let content = serde_json::to_vec(samples)?;
        super::replace(&self.path(of), |file| file.write_all(&content)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::api::Kind;

    #[test]
    fn a_sample_is_kept_twice_a_day_and_what_is_gone_is_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let server = ObjectKey::new(Kind::Server, "default", "edge-1");
        let usage = Usage::in_state(state.path());
        let add = |now, levels: &[(&str, u64)]| {
            let levels = levels.iter().map(|(key, used)| ((*key).to_owned(), *used));
            Usage::in_state(state.path()).add(Some(&server), now, levels)
        };
        add(0, &[("web", 3), ("old", 1)]);
        add(60, &[("web", 4), ("old", 1)]);
        let samples = add(APART, &[("web", 5)]);
        assert_eq!(samples["web"], [Sample { at: 0, used: 3 }, Sample { at: APART, used: 5 }]);
        assert_eq!(samples.len(), 1);
        assert_eq!(usage.of(Some(&server)), samples, "and the next process knows");
        for now in 2..200 {
            add(now * APART, &[("web", 6)]);
        }
        assert_eq!(usage.of(Some(&server))["web"].len(), MOST);
        fs::write(usage.path(Some(&server)), "{").unwrap();
        assert_eq!(usage.of(Some(&server)), Samples::new());
        assert_eq!(add(0, &[("web", 1)])["web"].len(), 1, "broken, it is begun anew");
    }
}
