//! What inspections have told, kept so that the next command need not ask again; when it may rely on that is `observe/known.rs`'s to say.
//!
//! A file for each server. A file that cannot be read is as good as none, and one that cannot be written costs the next command some inspections.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::core::api::ObjectKey;
use crate::core::digest::hex;
use crate::core::observed::{
    ContainerId, ContainerState, EndpointSettings, EngineInfo, Exit, NetworkId, ObservedContainer, ObservedEndpoint,
};
use crate::shell::packed::Packed;

/// Bytes of one file to read at most: some ten thousand containers.
const BYTES: u64 = 16 << 20;
const FORMAT: &str = "2.0";
/// Containers to suspect by name at most. Where more happens between two looks, every container is suspected.
const SUSPECTS: usize = 256;
/// For how long a server that did not answer is not asked again on suspicion.
const SILENCE: Duration = Duration::from_secs(30);

/// What is known of the containers of one server.
pub type KnownContainers = BTreeMap<ContainerId, Inspected>;

/// What an inspection has told: compactly, for a controller keeps it of every container of a fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspected {
    /// Seconds since the epoch.
    pub at: u64,
    pub state: ContainerState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Arc<Exit>>,
    #[serde(default)]
    pub restarts: u64,
    /// Stands for what a list shows of the endpoints.
    shown: Fingerprint,
    /// What it does not show, as JSON: a list of [`Told`], in the order of the endpoints.
    told: Arc<str>,
}

/// What an inspection tells of an endpoint beyond the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Told {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gw_priority: Option<i64>,
    settings: Option<EndpointSettings>,
}

/// Half a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Fingerprint(u128);

impl Fingerprint {
    /// Of what a list shows of endpoints: which they are, and with what addresses.
    fn of(endpoints: &[ObservedEndpoint]) -> Self {
        let mut hasher = Sha256::new();
        for ObservedEndpoint {
            network_name,
            network_id,
            endpoint_id,
            ipv4_address,
            ipv6_address,
            gw_priority: _,
            settings: _,
        } in endpoints
        {
            let network_id = network_id.as_ref().map_or("", NetworkId::as_str);
            for field in [network_name, network_id, endpoint_id, ipv4_address, ipv6_address] {
                hasher.update((field.len() as u64).to_le_bytes());
                hasher.update(field);
            }
        }
        let digest: [u8; 32] = hasher.finalize().into();
        let (half, _) = digest.split_at(16);
        Self(half.iter().fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }
}

impl Inspected {
    /// `at`: seconds since the epoch.
    pub fn of(at: u64, container: &ObservedContainer) -> Self {
        let told = container
            .endpoints
            .iter()
            .map(|endpoint| Told { gw_priority: endpoint.gw_priority, settings: endpoint.settings.clone() });
        let told = serde_json::to_string(&told.collect::<Vec<_>>()).unwrap_or_default();
        Self {
            at,
            state: container.state,
            exit: container.exit.clone().map(Arc::new),
            restarts: container.restarts,
            shown: Fingerprint::of(&container.endpoints),
            told: told.into(),
        }
    }

    /// Whether it is about these endpoints, as a list shows them.
    pub fn is_of(&self, endpoints: &[ObservedEndpoint]) -> bool {
        self.shown == Fingerprint::of(endpoints)
    }

    /// Completes the endpoints of a list that it is about; `false`: it cannot be read.
    pub fn complete(&self, endpoints: &mut [ObservedEndpoint]) -> bool {
        let told: Vec<Told> = serde_json::from_str(&self.told).unwrap_or_default();
        if told.len() != endpoints.len() {
            return false;
        }
        for (endpoint, Told { gw_priority, settings }) in endpoints.iter_mut().zip(told) {
            (endpoint.gw_priority, endpoint.settings) = (gw_priority, settings);
        }
        true
    }
}

/// Containers about which more may have happened than the next list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suspects {
    /// Events were missed, or there were too many of them.
    pub all: bool,
    pub containers: BTreeSet<ContainerId>,
}

/// Ids of containers as the bytes that their digits stand for, in their order: a controller keeps those of every container of a fleet.
#[derive(Debug, Clone, Default, PartialEq)]
struct Ids(Box<[[u8; 32]]>);

impl Ids {
    fn of(ids: &BTreeSet<ContainerId>) -> Self {
        let bytes = |id: &ContainerId| {
            let mut bytes = [0; 32];
            for (byte, digits) in bytes.iter_mut().zip(id.as_str().as_bytes().chunks(2)) {
                *byte = std::str::from_utf8(digits).ok().and_then(|it| u8::from_str_radix(it, 16).ok())?;
            }
            Some(bytes)
        };
        Self(ids.iter().filter_map(bytes).collect())
    }

    fn all(&self) -> BTreeSet<ContainerId> {
        self.0.iter().filter_map(|bytes| hex(bytes).try_into().ok()).collect()
    }
}

/// Containers that no list shows, though they were not seen to be gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unlisted {
    /// They are there: the server tells of them where it is asked for them by id.
    pub hidden: BTreeSet<ContainerId>,
    /// Asking for them by id is forbidden.
    pub denied: BTreeSet<ContainerId>,
}

/// What an engine has told of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownEngine {
    /// Seconds since the epoch.
    pub at: u64,
    pub info: EngineInfo,
}

/// What is known of every server. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Known {
    memory: Arc<Mutex<BTreeMap<ObjectKey, Packed<KnownContainers>>>>,
    /// Never on disk: the next command may meet another engine at the same address.
    engines: Arc<Mutex<BTreeMap<ObjectKey, KnownEngine>>>,
    /// Whether each has a part in a Swarm, and whether it ever had.
    parts: Arc<Mutex<BTreeMap<ObjectKey, (bool, bool)>>>,
    unlisted: Arc<Mutex<BTreeMap<ObjectKey, Unlisted>>>,
    /// When servers did not answer that were asked on suspicion.
    silent: Arc<Mutex<BTreeMap<ObjectKey, Instant>>>,
    suspects: Arc<Mutex<BTreeMap<ObjectKey, Suspects>>>,
    learning: Arc<Mutex<BTreeSet<ObjectKey>>>,
    /// Containers that were on networks of interest, whatever their state.
    members: Arc<Mutex<BTreeMap<ObjectKey, Ids>>>,
    /// `None`: it ends with the process.
    directory: Option<PathBuf>,
    watched: bool,
}

#[derive(Serialize, Deserialize)]
struct Document<C> {
    format_version: String,
    containers: C,
}

impl Known {
    /// Under the state directory. Nothing is created before there is something to write.
    pub fn in_state(directory: &Path) -> Self {
        Self { directory: Some(directory.join("known")), ..Self::default() }
    }

    /// For a process that listens to the servers' events, and suspects what they are about. It may remember more: see [`Known::is_watched`].
    pub fn watched() -> Self {
        Self { watched: true, ..Self::default() }
    }

    /// A stopped container can be disconnected and connected again without a trace in any list. So what was told of one is remembered only
    /// where an event about it would be heard.
    pub fn is_watched(&self) -> bool {
        self.watched
    }

    pub fn of(&self, server: &ObjectKey) -> KnownContainers {
        let mut memory = self.memory();
        if let Some(kept) = memory.get(server).cloned() {
            drop(memory);
            return kept.unpack().unwrap_or_default();
        }
        let loaded = self.path(server).and_then(|path| read(&path).ok()).unwrap_or_default();
        memory.insert(server.clone(), Packed::new(&loaded));
        loaded
    }

    pub fn replace(&self, server: &ObjectKey, containers: KnownContainers) {
        let packed = Packed::new(&containers);
        // Held until it is written: two lanes look at one server, and the file is to say what the memory says.
        let mut memory = self.memory();
        if memory.get(server) != Some(&packed) {
            self.save(server, &containers);
            memory.insert(server.clone(), packed);
        }
    }

    /// Keeps what a look has learned that was not completed.
    pub fn learn(&self, server: &ObjectKey, containers: KnownContainers) {
        let mut known = self.of(server);
        // What was recalled was learned before.
        self.set_learning(server, containers.iter().any(|(id, told)| known.get(id) != Some(told)));
        if !containers.is_empty() {
            known.extend(containers);
            self.replace(server, known);
        }
    }

    /// Who was on a network of interest when the server was last looked at. One that no list shows any more is asked for by its id before it counts as gone.
    pub fn members(&self, server: &ObjectKey) -> BTreeSet<ContainerId> {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let load = || self.file(server, ",members").and_then(|path| read(&path).ok()).unwrap_or_default();
        members.entry(server.clone()).or_insert_with(|| Ids::of(&load())).all()
    }

    /// Somebody is about to be on one.
    pub fn expect_members<'a>(&self, server: &ObjectKey, connected: impl IntoIterator<Item = &'a ContainerId>) {
        let mut connected = connected.into_iter().peekable();
        if connected.peek().is_none() {
            return;
        }
        let mut members = self.members(server);
        members.extend(connected.cloned());
        self.keep_members(server, members);
    }

    pub fn keep_members(&self, server: &ObjectKey, seen: BTreeSet<ContainerId>) {
        let ids = Ids::of(&seen);
        if self.members.lock().unwrap_or_else(PoisonError::into_inner).get(server) == Some(&ids) {
            return;
        }
        if let Some(path) = self.file(server, ",members") {
            keep(&path, &seen);
        }
        self.members.lock().unwrap_or_else(PoisonError::into_inner).insert(server.clone(), ids);
    }

    /// Takes it out: a look that fails, for whatever reason, leaves nothing to rely on.
    pub fn take_engine(&self, server: &ObjectKey) -> Option<KnownEngine> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner).remove(server)
    }

    pub fn keep_engine(&self, server: &ObjectKey, engine: KnownEngine) {
        self.set_learning(server, false);
        // One that had a part in a Swarm may have one again at any moment, and nothing else need tell.
        if self.parts.lock().unwrap_or_else(PoisonError::into_inner).get(server).is_some_and(|(_, ever)| *ever) {
            return;
        }
        self.engines.lock().unwrap_or_else(PoisonError::into_inner).insert(server.clone(), engine);
    }

    /// Whether the server had a part in a Swarm when it was last looked at; `None` where it never was.
    pub fn was_in_swarm(&self, server: &ObjectKey) -> Option<bool> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).get(server).map(|(now, _)| *now)
    }

    pub fn keep_in_swarm(&self, server: &ObjectKey, part: bool) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, ever) = parts.entry(server.clone()).or_default();
        *now = part;
        *ever |= part;
    }

    /// Who was on a network of interest when the server was last looked at, and in no list.
    pub fn unlisted(&self, server: &ObjectKey) -> Unlisted {
        self.unlisted.lock().unwrap_or_else(PoisonError::into_inner).get(server).cloned().unwrap_or_default()
    }

    pub fn keep_unlisted(&self, server: &ObjectKey, unlisted: Unlisted) {
        let mut all = self.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
        if unlisted == Unlisted::default() {
            all.remove(server);
        } else {
            all.insert(server.clone(), unlisted);
        }
    }

    /// Whether the server was asked on suspicion a moment ago, and did not answer.
    pub fn was_silent(&self, server: &ObjectKey) -> bool {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.get(server).is_some_and(|at| at.elapsed() < SILENCE)
    }

    pub fn keep_silent(&self, server: &ObjectKey, answered: bool) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        if answered {
            silent.remove(server);
        } else {
            silent.insert(server.clone(), Instant::now());
        }
    }

    /// Something happens to the container just now: the next look asks about it, whatever is known.
    pub fn suspect(&self, server: &ObjectKey, container: ContainerId) {
        self.suspect_all(server, Suspects { all: false, containers: [container].into() });
    }

    /// Events were missed: the next look relies on nothing.
    pub fn doubt(&self, server: &ObjectKey) {
        self.suspect_all(server, Suspects { all: true, containers: BTreeSet::new() });
    }

    /// Also gives back what a look has taken that was not completed.
    pub fn suspect_all(&self, server: &ObjectKey, more: Suspects) {
        if more == Suspects::default() {
            return;
        }
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        let suspects = suspects.entry(server.clone()).or_default();
        suspects.all |= more.all;
        suspects.containers.extend(more.containers);
        while suspects.containers.len() > SUSPECTS {
            suspects.all = true;
            suspects.containers.pop_last();
        }
    }

    /// Who is suspected. Where all are, everything known is forgotten: what is learned from then on counts, whether or not the look is completed.
    pub fn take_suspects(&self, server: &ObjectKey) -> Suspects {
        let suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner).remove(server).unwrap_or_default();
        if suspects.all {
            self.replace(server, KnownContainers::new());
        }
        suspects
    }

    /// Whether the last look that was not completed has learned something: the server answers, if slowly.
    pub fn is_learning(&self, server: &ObjectKey) -> bool {
        self.learning.lock().unwrap_or_else(PoisonError::into_inner).contains(server)
    }

    fn set_learning(&self, server: &ObjectKey, learning: bool) {
        let mut all = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
        if learning {
            all.insert(server.clone());
        } else {
            all.remove(server);
        }
    }

    /// The next look inspects these containers.
    pub fn forget<'a>(&self, server: &ObjectKey, containers: impl IntoIterator<Item = &'a ContainerId>) {
        let mut containers = containers.into_iter().peekable();
        // Hardly any pass does anything.
        if containers.peek().is_none() {
            return;
        }
        let mut known = self.of(server);
        for container in containers {
            known.remove(container);
        }
        self.replace(server, known);
    }

    fn memory(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Packed<KnownContainers>>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, server: &ObjectKey) -> Option<PathBuf> {
        self.file(server, "")
    }

    fn file(&self, server: &ObjectKey, of: &str) -> Option<PathBuf> {
        // Neither part of the name has a comma.
        Some(self.directory.as_ref()?.join(format!("{},{}{of}.json", server.namespace, server.name)))
    }

    fn save(&self, server: &ObjectKey, containers: &KnownContainers) {
        if let Some(path) = self.path(server) {
            keep(&path, containers);
        }
    }
}

fn keep(path: &Path, containers: &impl Serialize) {
    if let Err(error) = write(path, containers) {
        tracing::debug!(path = %path.display(), %error, "what is known of the containers is not kept");
        // What is written there may be less true than nothing.
        let _ = fs::remove_file(path);
    }
}

fn read<C: DeserializeOwned>(path: &Path) -> io::Result<C> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(BYTES).read_to_end(&mut bytes)?;
    let document: Document<C> = serde_json::from_slice(&bytes)?;
    if document.format_version != FORMAT {
        return Err(io::Error::other("of another version"));
    }
    Ok(document.containers)
}

fn write(path: &Path, containers: &impl Serialize) -> io::Result<()> {
    let document = Document { format_version: FORMAT.to_owned(), containers };
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let content = serde_json::to_vec(&document)?;
    super::replace(path, |file| file.write_all(&content)).map(drop)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::api::Kind;

    fn server() -> ObjectKey {
        ObjectKey::new(Kind::Server, "default", "edge-1")
    }

    fn id(id: u8) -> ContainerId {
        format!("{id:064x}").try_into().unwrap()
    }

    fn containers() -> KnownContainers {
        [1, 2]
            .map(|number| {
                let container = json!({
                    "id": id(number), "name": "c", "image": "i", "state": "running", "labels": {}, "network_mode": "m", "endpoints": []
                });
                (id(number), Inspected::of(7, &serde_json::from_value(container).unwrap()))
            })
            .into()
    }

    #[test]
    fn what_one_process_knows_the_next_one_knows() {
        let state = tempfile::tempdir().unwrap();
        let known = Known::in_state(state.path());
        assert_eq!(known.of(&server()), KnownContainers::new());
        known.replace(&server(), containers());
        assert_eq!(Known::in_state(state.path()).of(&server()), containers());
    }

    #[test]
    fn what_is_forgotten_is_forgotten_by_the_next_process_too() {
        let state = tempfile::tempdir().unwrap();
        Known::in_state(state.path()).replace(&server(), containers());
        Known::in_state(state.path()).forget(&server(), [&id(1)]);
        let left: Vec<_> = Known::in_state(state.path()).of(&server()).into_keys().collect();
        assert_eq!(left, [id(2)]);
    }

    #[test]
    fn who_was_on_a_network_the_next_process_knows_too() {
        let state = tempfile::tempdir().unwrap();
        let members = BTreeSet::from([id(1), id(2)]);
        Known::in_state(state.path()).keep_members(&server(), members.clone());
        let known = Known::in_state(state.path());
        assert_eq!((known.members(&server()), known.of(&server())), (members, KnownContainers::new()));
        known.keep_members(&server(), BTreeSet::new());
        assert_eq!(Known::in_state(state.path()).members(&server()), BTreeSet::new());
    }

    #[test]
    fn a_file_that_is_broken_or_of_another_version_is_as_good_as_none() {
        let state = tempfile::tempdir().unwrap();
        Known::in_state(state.path()).replace(&server(), containers());
        let path = state.path().join("known/default,edge-1.json");
        let good = fs::read_to_string(&path).unwrap();
        for bad in [&good[..good.len() / 2], "", &good.replace(FORMAT, "9.0")] {
            fs::write(&path, bad).unwrap();
            assert_eq!(Known::in_state(state.path()).of(&server()), KnownContainers::new(), "{bad}");
        }
    }

    #[test]
    fn what_a_look_that_was_not_completed_has_learned_is_added_to_what_was_known() {
        let known = Known::default();
        known.learn(&server(), [(id(1), containers()[&id(1)].clone())].into());
        known.learn(&server(), [(id(2), containers()[&id(2)].clone())].into());
        assert_eq!(known.of(&server()), containers());
    }

    #[test]
    fn where_too_much_happens_to_be_named_everything_is_suspected() {
        let known = Known::default();
        for number in 0..=u8::MAX {
            known.suspect(&server(), id(number));
        }
        let named = known.take_suspects(&server());
        assert_eq!((named.all, named.containers.len()), (false, SUSPECTS));
        known.suspect_all(&server(), named);
        known.suspect(&server(), "f".repeat(64).try_into().unwrap());
        let suspects = known.take_suspects(&server());
        assert_eq!((suspects.all, suspects.containers.len()), (true, SUSPECTS));
        assert_eq!(known.take_suspects(&server()), Suspects::default(), "they are asked about once");
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_no_error() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("known"), "a file where the directory would be").unwrap();
        let known = Known::in_state(state.path());
        known.replace(&server(), containers());
        assert_eq!(known.of(&server()), containers(), "it knows until it ends");
    }
}
