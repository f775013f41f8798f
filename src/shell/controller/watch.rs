//! Watches the manifests: says *that* something may have changed, never what.
//!
//! Flow: inotify events of the paths and of the directories they are in → quiet for a moment → one message.
//! Directories are watched instead of files, since editors and ConfigMaps replace files rather than write them, and a watch on
//! a replaced file watches nothing. When a path turns out to lead somewhere else (a symlink was swapped) the watches are laid anew.
//! Reading, comparing and judging are the receiver's business, who also looks now and then without being told (`files.rs`): network file
//! systems tell nobody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::EventKind;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Silence after the last event before the receiver is told: an editor's save and a `git checkout` are several events.
const QUIET: Duration = Duration::from_millis(50);
/// A source that never falls silent is reported this often all the same.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The manifests cannot be watched, most often because the limit on inotify watches is reached.
#[derive(Debug, Error)]
#[error("watching {}: {cause}", path.display())]
pub struct WatchError {
    path: PathBuf,
    cause: notify::Error,
}

/// Watches until dropped.
pub struct FileWatch {
    watcher: RecommendedWatcher,
    raw: mpsc::Receiver<()>,
    paths: Vec<PathBuf>,
    laid: BTreeMap<PathBuf, RecursiveMode>,
    /// What events have to be about, for the watcher's own thread.
    subjects: Arc<Mutex<Vec<PathBuf>>>,
    /// A change that has not been told yet.
    pending: Option<Pending>,
}

/// A change that is waited for to be over.
#[derive(Clone, Copy)]
struct Pending {
    /// Nothing has happened for long enough by then, as far as is known.
    quiet: Instant,
    /// It is told by then whether or not it is over.
    latest: Instant,
}

impl FileWatch {
    /// Watches files and directories, whether they exist at present or not.
    pub fn new(paths: &[PathBuf]) -> Result<Self, WatchError> {
        // One place is enough: the message carries no content, and one that is pending stands for all that follow.
        let (sender, raw) = mpsc::channel(1);
        let subjects = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&subjects);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !is_about(&event, &shared.lock().unwrap_or_else(PoisonError::into_inner))) {
                return;
            }
            // An error (an overflowing queue) is a reason to look, as every event is.
            let _ = sender.try_send(());
        })
        .map_err(|cause| WatchError { path: paths.first().cloned().unwrap_or_default(), cause })?;
        let mut watch = Self { watcher, raw, paths: paths.to_vec(), laid: BTreeMap::new(), subjects, pending: None };
        watch.lay()?;
        Ok(watch)
    }

    /// Waits for a change to be over. A wait that is given up loses nothing: the next one goes on where it was.
    pub async fn changed(&mut self) -> Result<(), WatchError> {
        loop {
            let happened = match self.pending {
                None => self.raw.recv().await,
                Some(Pending { quiet, latest }) => {
                    match tokio::time::timeout_at(quiet.min(latest), self.raw.recv()).await {
                        Err(_) => break,
                        Ok(happened) => happened,
                    }
                }
            };
            if happened.is_none() {
                std::future::pending::<()>().await;
            }
            let now = Instant::now();
            let latest = self.pending.map_or(now + LONGEST_WAIT, |pending| pending.latest);
            if now >= latest {
                break;
            }
            self.pending = Some(Pending { quiet: now + QUIET, latest });
        }
        self.pending = None;
        self.lay()
    }

    /// Lays watches where the paths lead now, and lifts those that lead nowhere.
    fn lay(&mut self) -> Result<(), WatchError> {
        *self.subjects.lock().unwrap_or_else(PoisonError::into_inner) = subjects(&self.paths);
        let wanted = places(&self.paths);
        let stale: Vec<PathBuf> = self.laid.keys().filter(|path| !wanted.contains_key(*path)).cloned().collect();
        for path in stale {
            // A directory that is gone has lost its watch already.
            let _ = self.watcher.unwatch(&path);
            self.laid.remove(&path);
        }
        for (path, mode) in wanted {
            if self.laid.get(&path) != Some(&mode) {
                match self.watcher.watch(&path, mode) {
                    Ok(()) => {
                        self.laid.insert(path, mode);
                    }
                    // It went away between looking and watching: its parent is watched and will tell.
                    Err(cause) if !path.exists() => drop(cause),
                    Err(cause) => return Err(WatchError { path, cause }),
                }
            }
        }
        Ok(())
    }
}

/// Where a change made on another machine is told to nobody on this one: NFS, SMB, Ceph, Lustre, AFS, Coda, GFS2, OCFS2, 9p, FUSE (sshfs, virtiofs
/// and the mounts of Docker Desktop), VirtualBox. Their magic numbers, as `statfs(2)` has them.
const REMOTE: [u32; 14] = [
    0x6969,
    0x517B,
    0xFF53_4D42,
    0xFE53_4D42,
    0x00C3_6400,
    0x0BD0_0BD0,
    0x5346_414F,
    0x6B41_4653,
    0x7375_7245,
    0x0116_1970,
    0x7461_636F,
    0x0102_1997,
    0x6573_5546,
    0x786F_4256,
];

/// The first of the paths that lies on a file system that other machines may write to.
pub fn remote(paths: &[PathBuf]) -> Option<&PathBuf> {
    let is_remote = |path: &Path| {
        // The number is 32 bits wide, in a field whose width and sign depend on the machine.
        rustix::fs::statfs(path).is_ok_and(|it| REMOTE.contains(&(it.f_type as u32)))
    };
    paths.iter().find(|path| path.ancestors().find(|it| it.exists()).is_some_and(is_remote))
}

/// A directory counts with all below it; for a file its whole directory does, since the file may be a link through another one there.
/// The directories above are watched as well but are full of other things: `/tmp` never falls silent.
fn subjects(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut subjects = Vec::new();
    for path in paths {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let real = absolute.canonicalize().ok();
        for path in real.into_iter().chain([absolute]) {
            if path.is_file() {
                subjects.extend(path.parent().map(Path::to_path_buf));
            }
            subjects.push(path);
        }
    }
    subjects
}

fn is_about(event: &notify::Event, subjects: &[PathBuf]) -> bool {
    // Our own reading causes access events.
    !matches!(event.kind, EventKind::Access(_))
        && (event.need_rescan()
            || event.paths.iter().any(|path| {
                // Something below a subject, or a directory on the way to one that was not there before.
                subjects.iter().any(|subject| path.starts_with(subject) || subject.starts_with(path))
            }))
}

/// What to watch for `paths`: the directory each is in, the directory it leads to, and the directory that directory is in.
fn places(paths: &[PathBuf]) -> BTreeMap<PathBuf, RecursiveMode> {
    let mut places = BTreeMap::new();
    for path in paths {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let real = absolute.canonicalize().ok();
        for parent in [existing_parent(&absolute), real.as_deref().and_then(existing_parent)].into_iter().flatten() {
            places.entry(parent).or_insert(RecursiveMode::NonRecursive);
        }
        if let Some(real) = real.filter(|real| real.is_dir()) {
            places.insert(real, RecursiveMode::Recursive);
        }
    }
    places
}

fn existing_parent(path: &Path) -> Option<PathBuf> {
    path.ancestors().skip(1).find(|ancestor| ancestor.is_dir()).map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    async fn told(watch: &mut FileWatch) {
        tokio::time::timeout(Duration::from_secs(10), watch.changed()).await.expect("told in time").expect("watched");
    }

    #[tokio::test]
    async fn a_file_saved_by_renaming_another_over_it_is_noticed_twice() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("web.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::new(std::slice::from_ref(&file)).unwrap();
        for text in ["b", "c"] {
            fs::write(dir.path().join(".web.yaml.swp"), text).unwrap();
            fs::rename(dir.path().join(".web.yaml.swp"), &file).unwrap();
            told(&mut watch).await;
        }
    }

    #[tokio::test]
    async fn a_configmap_whose_data_link_is_swapped_is_noticed_each_time() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("..1")).unwrap();
        fs::write(dir.path().join("..1/web.yaml"), "a").unwrap();
        std::os::unix::fs::symlink("..1", dir.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/web.yaml", dir.path().join("web.yaml")).unwrap();
        let mut watch = FileWatch::new(&[dir.path().to_path_buf()]).unwrap();
        for version in ["..2", "..3"] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("web.yaml"), version).unwrap();
            std::os::unix::fs::symlink(version, dir.path().join("..tmp")).unwrap();
            fs::rename(dir.path().join("..tmp"), dir.path().join("..data")).unwrap();
            told(&mut watch).await;
        }
    }

    #[tokio::test]
    async fn a_directory_reached_through_a_link_that_moves_on_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        for revision in ["one", "two"] {
            fs::create_dir(dir.path().join(revision)).unwrap();
        }
        let current = dir.path().join("current");
        std::os::unix::fs::symlink("one", &current).unwrap();
        let mut watch = FileWatch::new(std::slice::from_ref(&current)).unwrap();
        std::os::unix::fs::symlink("two", dir.path().join("next")).unwrap();
        fs::rename(dir.path().join("next"), &current).unwrap();
        told(&mut watch).await;
        fs::write(dir.path().join("two/web.yaml"), "in the new place").unwrap();
        told(&mut watch).await;
    }

    #[tokio::test]
    async fn a_directory_that_vanishes_and_comes_back_is_noticed_both_times() {
        let dir = tempfile::tempdir().unwrap();
        let manifests = dir.path().join("manifests");
        fs::create_dir(&manifests).unwrap();
        let mut watch = FileWatch::new(std::slice::from_ref(&manifests)).unwrap();
        fs::remove_dir(&manifests).unwrap();
        told(&mut watch).await;
        fs::create_dir(&manifests).unwrap();
        told(&mut watch).await;
        fs::write(manifests.join("web.yaml"), "a").unwrap();
        told(&mut watch).await;
    }

    #[tokio::test]
    async fn a_change_is_told_though_waiting_for_it_is_given_up_and_begun_again_all_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = FileWatch::new(&[dir.path().to_path_buf()]).unwrap();
        fs::write(dir.path().join("web.yaml"), "a").unwrap();
        let asked = Instant::now();
        while tokio::time::timeout(QUIET / 10, watch.changed()).await.is_err() {
            assert!(asked.elapsed() < Duration::from_secs(10), "the change was lost with a wait that was given up");
        }
    }

    #[test]
    fn a_local_file_system_tells_and_so_does_the_place_of_what_does_not_exist_yet() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(remote(&[dir.path().to_path_buf(), dir.path().join("not/yet")]), None);
    }

    #[tokio::test]
    async fn a_burst_of_writes_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = FileWatch::new(&[dir.path().to_path_buf()]).unwrap();
        for i in 0..200 {
            fs::write(dir.path().join(format!("{i}.yaml")), "a").unwrap();
        }
        told(&mut watch).await;
        assert!(tokio::time::timeout(QUIET * 4, watch.changed()).await.is_err(), "told again without a change");
    }
}
