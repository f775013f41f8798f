//! The manifests are followed however they come to be where they are. The server that they declare does not exist: it is about the files only.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use landfall::core::api::ConditionStatus;
use landfall::shell::controller::board::Content;
use landfall::shell::controller::run::Ended;

use super::running::Running;
use crate::support::host::Host;

fn manifest(destination: &str) -> String {
    format!(
        "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: edge }}\nspec: {{ endpoint: unix:///nonexistent/docker.sock }}\n\
         ---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {destination} }}\n\
         spec: {{ server: edge, network: {{ name: {destination}-net }} }}\n"
    )
}

fn declares(board: &Content, destination: &str) -> bool {
    board.declared.destinations().map(|(_, it)| it.key.name.as_str()).eq([destination])
}

async fn follows(running: &Running, destination: &str) {
    running.shows(destination, |board| declares(board, destination).then_some(())).await;
}

/// Waits until the manifests count as wrong; the last good ones have to stay.
async fn refuses(running: &Running, destination: &str, why: &str) {
    let message = running
        .shows("what is wrong", |board| {
            let stalled = board.manifests.conditions.iter().find(|it| it.condition_type == "Stalled")?;
            let wrong = stalled.status == ConditionStatus::True && stalled.reason == "ManifestInvalid";
            wrong.then(|| stalled.message.clone())
        })
        .await;
    assert!(message.contains(why), "{message}");
    assert!(declares(&running.board.read(), destination));
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_43_editors_git_and_configmaps_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let manifests = dir.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    let file = manifests.join("web.yaml");
    fs::write(&file, manifest("first")).unwrap();
    let running = Running::start(dir.path());
    follows(&running, "first").await;

    // Written in place.
    fs::write(&file, manifest("in-place")).unwrap();
    follows(&running, "in-place").await;

    // As vim does: the old one becomes the backup, a new one is written, the backup goes.
    fs::rename(&file, manifests.join("web.yaml~")).unwrap();
    fs::write(&file, manifest("vim")).unwrap();
    fs::remove_file(manifests.join("web.yaml~")).unwrap();
    follows(&running, "vim").await;

    // As most others do: written beside, renamed over it.
    fs::write(manifests.join(".web.yaml.tmp"), manifest("renamed")).unwrap();
    fs::rename(manifests.join(".web.yaml.tmp"), &file).unwrap();
    follows(&running, "renamed").await;

    // `git checkout` removes and creates.
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
        let ran = Command::new("git").current_dir(&manifests).args(identity).args(arguments).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "renamed"]);
    git(&["checkout", "-q", "-b", "other"]);
    fs::write(&file, manifest("other")).unwrap();
    git(&["commit", "-q", "-a", "-m", "other"]);
    follows(&running, "other").await;
    git(&["checkout", "-q", "main"]);
    follows(&running, "renamed").await;
    git(&["checkout", "-q", "other"]);
    follows(&running, "other").await;
    assert_eq!(running.stop().await, Ended::Drained);
}

/// The kubelet writes a new directory and swaps the link `..data` to it; what users see are links through that one.
#[tokio::test(flavor = "multi_thread")]
async fn a_configmap_is_followed_through_its_links() {
    let dir = tempfile::tempdir().unwrap();
    let manifests = dir.path().join("manifests");
    let publish = |version: &str| {
        fs::create_dir(manifests.join(version)).unwrap();
        fs::write(manifests.join(version).join("web.yaml"), manifest(&version[2..])).unwrap();
        symlink(version, manifests.join("..data_tmp")).unwrap();
        fs::rename(manifests.join("..data_tmp"), manifests.join("..data")).unwrap();
    };
    fs::create_dir(&manifests).unwrap();
    publish("..v1");
    symlink("..data/web.yaml", manifests.join("web.yaml")).unwrap();
    let running = Running::start(dir.path());
    follows(&running, "v1").await;
    for (version, before) in [("..v2", "..v1"), ("..v3", "..v2")] {
        publish(version);
        follows(&running, &version[2..]).await;
        fs::remove_dir_all(manifests.join(before)).unwrap();
    }
    assert_eq!(running.board.read().manifests.generation, 3);
    assert_eq!(running.stop().await, Ended::Drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_empty_and_vanished_manifests_leave_the_last_good_ones_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("manifests")).unwrap();
    fs::write(path("manifests/web.yaml"), manifest("good")).unwrap();
    let running = Running::start(dir.path());
    let back = async |destination: &str| {
        fs::write(path("manifests/web.yaml"), manifest(destination)).unwrap();
        follows(&running, destination).await;
        let board = running.board.read();
        assert!(board.manifests.conditions.iter().all(|it| it.reason == "ManifestValid"));
    };
    follows(&running, "good").await;

    fs::write(path("manifests/web.yaml"), "kind: Nothing\n").unwrap();
    refuses(&running, "good", "web.yaml").await;
    back("again").await;

    // Half written.
    let whole = manifest("half");
    fs::write(path("manifests/web.yaml"), &whole[..whole.len() - 10]).unwrap();
    refuses(&running, "again", "web.yaml").await;
    back("whole").await;

    fs::remove_file(path("manifests/web.yaml")).unwrap();
    refuses(&running, "whole", "no manifests").await;
    back("filled").await;

    fs::rename(path("manifests"), path("elsewhere")).unwrap();
    refuses(&running, "filled", "manifests").await;
    fs::create_dir(path("manifests")).unwrap();
    back("returned").await;
    assert_eq!(running.stop().await, Ended::Drained);
}

/// A server, and a destination of each name on it.
fn on(server: &str, endpoint: &str, destinations: &[&str]) -> String {
    let destination = |name: &&str| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name} }}\n\
             spec: {{ server: {server}, network: {{ name: {name}-net }} }}\n"
        )
    };
    format!(
        "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: {server} }}\nspec: {{ endpoint: \"{endpoint}\" }}\n{}",
        destinations.iter().map(destination).collect::<String>()
    )
}

/// The last pass over each server.
fn passes(board: &Content) -> [u64; 3] {
    let pass = |server| board.servers.get(server).map_or(0, |state| state.pass);
    ["default/one", "default/other", "default/gone"].map(pass)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_has_only_the_servers_looked_at_that_it_is_about_and_those_on_which_something_is_wrong() {
    let (one, other) = (Host::start(), Host::start());
    let dir = tempfile::tempdir().unwrap();
    let manifests = dir.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    let write = |server: &str, endpoint: &str, destinations: &[&str]| {
        let file = manifests.join(format!("{server}.yaml"));
        fs::write(manifests.join(".new"), on(server, endpoint, destinations)).unwrap();
        fs::rename(manifests.join(".new"), file).unwrap();
    };
    write("one", &one.endpoint(), &["web"]);
    write("other", &other.endpoint(), &["data"]);
    write("gone", "unix:///nonexistent/docker.sock", &["lost"]);
    let running = Running::start(dir.path());
    running.shows("a look at each", |board| passes(board).iter().all(|pass| *pass > 0).then_some(())).await;
    // What the first passes have changed is told of by the daemons, and looked at.
    running.another_pass().await;

    // While the first of these are made, what is under way elsewhere ends.
    let mut destinations = vec!["web"];
    let mut seen = Vec::new();
    for name in ["first", "second", "third"] {
        let before = passes(&running.board.read());
        destinations.push(name);
        write("one", &one.endpoint(), &destinations);
        running.shows(name, |board| is_ready(board, "default/one", name).then_some(())).await;
        running.shows("another try", |board| (passes(board)[2] > before[2]).then_some(())).await;
        seen.push(passes(&running.board.read()));
    }
    assert!(seen[2][0] > seen[0][0]);
    assert_eq!(seen[2][1], seen[0][1], "nothing about it has changed: {seen:?}");
    // It is known to have been as declared, as before.
    let removed = other.api("DELETE", "/networks/data-net", &serde_json::Value::Null);
    assert_eq!(removed.status, 204, "{removed:?}");
    running.shows("drift", |board| (board.counts.drift.values().sum::<u64>() > 0).then_some(())).await;
    assert_eq!(running.stop().await, Ended::Drained);
}

/// Whether it was found there.
fn is_ready(board: &Content, server: &str, destination: &str) -> bool {
    let conditions = board.servers.get(server).map(|state| &state.conditions);
    let ready =
        |it: &landfall::core::api::Condition| it.condition_type == "Ready" && it.status == ConditionStatus::True;
    conditions.is_some_and(|all| all.iter().any(|(key, said)| key.name == destination && said.iter().any(ready)))
}
