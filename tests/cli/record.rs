//! `events`, `history`, `wait` and `approve` where no controller runs and no server answers; and `run` whose record cannot be kept.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use landfall::core::api::{Kind, ObjectKey};
use landfall::shell::store::file::FileRecords;
use landfall::shell::store::records::{Batch, EventRecord, EventType, PassRecord};
use serde_json::json;

use super::run::command;
use super::world::{SHOP, World, server};

fn unreachable() -> World {
    World::new(&(server("unix:///nowhere/docker.sock") + SHOP))
}

fn directory(world: &World) -> PathBuf {
    world.path().join("state/landfall/sets/default")
}

fn event(reason: &str, event_type: EventType, object: Option<ObjectKey>) -> EventRecord {
    EventRecord {
        id: 0,
        time: jiff::Timestamp::now(),
        event_type,
        object,
        server: Some(ObjectKey::new(Kind::Server, "infra", "edge")),
        reason: reason.to_owned(),
        message: format!("about {reason}"),
        pass: Some(1),
    }
}

fn recorded() -> (World, FileRecords) {
    let world = unreachable();
    let store = FileRecords::in_directory(&directory(&world));
    let web = ObjectKey::new(Kind::Destination, "shop", "web");
    let frontend = ObjectKey::new(Kind::Application, "shop", "frontend");
    let operation = |outcome: &str| {
        json!({ "op": "ConnectEndpoint", "server": "infra/edge", "object": "Destination/shop/web", "network": "web-net",
            "container": "traefik", "cause": "ProxyDetached", "disruptive": false, "outcome": outcome })
    };
    let pass = PassRecord {
        time: jiff::Timestamp::now(),
        pass: 1,
        logged_as: None,
        by: "run".to_owned(),
        server: ObjectKey::new(Kind::Server, "infra", "edge"),
        revision: None,
        duration_ms: 12,
        operations: vec![operation("Done"), operation("Failed")],
        omitted: 0,
    };
    let events = vec![
        event("ProxyDetached", EventType::Normal, Some(web)),
        event("MemberDetached", EventType::Warning, Some(frontend)),
        event("ManifestInvalid", EventType::Warning, None),
    ];
    store.record(&Batch { passes: vec![pass], events, ..Batch::default() }).unwrap();
    (world, store)
}

fn reasons(table: &str) -> Vec<&str> {
    table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3)).collect()
}

#[test]
fn events_are_shown_as_kubectl_shows_them_the_latest_last() {
    let (world, _) = recorded();
    let shown = world.run("events").expect(0);
    let headings: Vec<&str> = shown.stdout.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(headings, ["NAMESPACE", "LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
    assert_eq!(reasons(&shown.stdout), ["ProxyDetached", "MemberDetached", "ManifestInvalid"], "{shown}");
    for (arguments, expected) in [
        ("events --for destination/web", &["ProxyDetached"][..]),
        ("events --for dest/shop/web", &["ProxyDetached"]),
        ("events --for destination/other/web", &[]),
        ("events --types warning", &["MemberDetached", "ManifestInvalid"]),
        ("events -n shop", &["ProxyDetached", "MemberDetached"]),
        ("events --limit 1", &["ManifestInvalid"]),
    ] {
        let shown = world.run(arguments).expect(0);
        assert_eq!(reasons(&shown.stdout), expected, "{arguments}: {shown}");
    }
    let list = world.run("events -o json").expect(0).json();
    assert_eq!((&list["kind"], &list["items"][0]["id"]), (&json!("List"), &json!(1)));
    assert_eq!(list["items"][1]["object"], json!("Application/shop/frontend"));
    assert!(world.run("events --for web").expect(2).stderr.contains("error:"));
    assert!(world.run("events --for destination").expect(2).stderr.contains("KIND/NAME"));
}

#[test]
fn history_lists_passes_and_shows_one() {
    let (world, _) = recorded();
    let table = world.run("history").expect(0).stdout;
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((row[0], row[2], row[3], row[4], row[5]), ("1", "run", "infra/edge", "1", "1"), "{table}");
    assert!(table.contains("ProxyDetached ×2"), "{table}");
    let page = world.run("history 1").expect(0).stdout;
    for expected in ["Server:", "infra/edge", "ConnectEndpoint", "web-net", "traefik", "Failed"] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    assert_eq!(world.run("history 1 -o json").expect(0).json()["pass"], json!(1));
    assert!(world.run("history 7").expect(2).stderr.contains("pass 7 is not in the history"));
    assert!(world.run("history --set other").expect(0).stderr.contains("No passes found."));
}

#[test]
fn without_a_record_there_is_nothing_and_an_unreadable_one_is_an_error_and_left_alone() {
    let world = unreachable();
    assert!(world.run("events").expect(0).stderr.contains("No events found."));
    assert_eq!(world.run("events -o json").expect(0).json()["items"], json!([]));
    assert!(!directory(&world).exists(), "looking makes nothing");
    let file = directory(&world).join("landfall.redb");
    std::fs::create_dir_all(directory(&world)).unwrap();
    std::fs::write(&file, "no database").unwrap();
    for arguments in ["events", "history", "history 1"] {
        let ran = world.run(arguments).expect(2);
        assert!(ran.stderr.contains("landfall.redb") && ran.stderr.contains("hint:"), "{ran}");
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "no database");
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn events_that_are_watched_come_as_they_happen_and_end_with_their_reader() {
    let (world, store) = recorded();
    let mut watch = command();
    watch.current_dir(world.path()).env("XDG_STATE_HOME", world.path().join("state"));
    watch.args(["events", "-w", "--no-headers"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut watching = Killed(watch.spawn().unwrap());
    let mut lines = BufReader::new(watching.0.stdout.take().unwrap()).lines();
    for expected in ["ProxyDetached", "MemberDetached", "ManifestInvalid"] {
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains(expected), "{line}");
    }
    let more =
        |reason| store.record(&Batch { events: vec![event(reason, EventType::Normal, None)], ..Batch::default() });
    more("Later").unwrap();
    assert!(lines.next().unwrap().unwrap().contains("Later"));
    drop(lines);
    let deadline = Instant::now() + Duration::from_secs(30);
    while watching.0.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it goes on without a reader");
        let _ = more("Unread");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn passes_that_are_watched_come_as_they_end_and_those_of_other_servers_do_not() {
    let (world, store) = recorded();
    let mut watch = command();
    watch.current_dir(world.path()).env("XDG_STATE_HOME", world.path().join("state"));
    watch.args(["history", "-w", "--server", "edge,far/other"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut watching = Killed(watch.spawn().unwrap());
    let mut lines = BufReader::new(watching.0.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert!(next().starts_with("PASS"));
    assert!(next().contains("infra/edge"));
    let first = store.passes(1).unwrap().remove(0);
    let later = |number: u64, namespace: &str, name: &str| {
        let pass = PassRecord { pass: number, server: ObjectKey::new(Kind::Server, namespace, name), ..first.clone() };
        store.record(&Batch { passes: vec![pass], ..Batch::default() }).unwrap();
    };
    later(first.pass + 1, "infra", "neither");
    later(first.pass + 2, "far", "other");
    let line = next();
    assert!(line.starts_with(&(first.pass + 2).to_string()) && line.contains("far/other"), "{line}");
}

#[test]
fn waiting_ends_with_the_condition_or_with_the_time() {
    let world = unreachable();
    let met = world.run("wait destination/web -n shop --for=condition=Ready=Unknown --timeout 10s").expect(0);
    assert_eq!(met.stdout, "destination/web condition met\n");
    let timed_out = world.run("wait destination web --for=condition=Ready --timeout 0").expect(2);
    assert!(timed_out.stderr.contains("timed out waiting for the condition on destination/web"), "{timed_out}");
    assert!(timed_out.stderr.contains("Ready is Unknown (ServerUnreachable)"), "{timed_out}");
    let all = world.run("wait destinations --all --for=condition=ready=unknown --timeout 10s").expect(0);
    assert_eq!(all.stdout.lines().count(), 2);
    for (arguments, said) in [
        ("wait destination/web --for=condition=Redy --timeout 10s", "no condition"),
        ("wait destination/nothing --for=condition=Ready", "no manifest declares"),
        ("wait destinations --for=condition=Ready", "--all"),
        ("wait application/frontend --for=delete", "only a destination"),
        ("wait destination/web --for=ready", "condition=TYPE"),
        ("wait destination/web", "--for"),
    ] {
        let ran = world.run(arguments).expect(2);
        assert!(ran.stderr.contains(said), "{arguments}: {ran}");
    }
    // Whoever does not answer may still have the network.
    world.run("wait destination/web --for=delete --timeout 0").expect(2);
}

#[test]
fn without_a_controller_there_is_nobody_to_approve_to() {
    let ran = unreachable().run("approve --yes").expect(2);
    assert!(ran.stderr.contains("no `landfall run` keeps the set \"default\""), "{ran}");
}

/// Runs `run` in a mount namespace of its own, after `prepare`, until its log says `expected`; and a moment later it still runs.
fn run_says(world: &World, prepare: &str, expected: &str) -> String {
    let state = world.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let script = format!("{prepare}\nexec \"$@\"");
    let binary = command();
    let mut unshared = Command::new("unshare");
    unshared.args(["--mount", "sh", "-ec", &script, "sh"]).arg(binary.get_program());
    unshared.args(["run", "--interval", "1h", "--listen", "none"]).current_dir(world.path());
    unshared.env("XDG_STATE_HOME", &state).env("STATE", &state);
    let mut running = Killed(unshared.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let (sender, log) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut all = String::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    // What it has to say of the record, and that it looked at the server all the same.
    while !(all.contains(expected) && all.contains("not reachable")) {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = log.recv_timeout(left).unwrap_or_else(|_| panic!("{expected:?} is not in the log:\n{all}"));
        all.push_str(&line);
        all.push('\n');
    }
    assert!(running.0.try_wait().unwrap().is_none(), "it has ended:\n{all}");
    all
}

#[test]
fn the_loop_goes_on_without_a_record_and_says_so() {
    // A full disk.
    run_says(
        &unreachable(),
        "mount -t tmpfs -o size=64k tmpfs \"$STATE\"; dd if=/dev/zero of=\"$STATE/full\" bs=1k count=60 status=none",
        "no space is left",
    );
    // A directory that cannot be written.
    let log = run_says(
        &unreachable(),
        "mount -t tmpfs tmpfs \"$STATE\"; mount -o remount,ro \"$STATE\"",
        "the history cannot be written; the loop goes on without",
    );
    assert!(log.contains("nothing keeps a second controller of this set away"), "{log}");
    // A file of a newer version.
    let world = unreachable();
    std::fs::create_dir_all(directory(&world)).unwrap();
    {
        let database = redb::Database::create(directory(&world).join("landfall.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        let meta = redb::TableDefinition::<&str, u64>::new("meta");
        transaction.open_table(meta).unwrap().insert("format", 99).unwrap();
        transaction.commit().unwrap();
    }
    run_says(&world, ":", "written by a newer version of Landfall");
    // A broken one.
    let world = unreachable();
    std::fs::create_dir_all(directory(&world)).unwrap();
    std::fs::write(directory(&world).join("landfall.redb"), "broken").unwrap();
    run_says(&world, ":", "a new one is begun");
    let aside = directory(&world).join("landfall.redb.unreadable-1");
    assert_eq!(std::fs::read_to_string(aside).unwrap(), "broken");
}

#[test]
fn describe_has_the_events_of_the_object_and_of_no_other() {
    let (world, _) = recorded();
    let shown = world.run("describe destination web -n shop").expect(2).stdout;
    let (_, events) = shown.split_once("Events:\n").unwrap_or_else(|| panic!("{shown}"));
    assert!(events.contains("ProxyDetached") && events.contains("about ProxyDetached"), "{shown}");
    assert!(!events.contains("MemberDetached") && !events.contains("ManifestInvalid"), "{shown}");
    assert!(!world.run("describe destination data -n shop").expect(2).stdout.contains("Events:"));
    // Without a record nothing is missing.
    assert!(!unreachable().run("describe destination web -n shop").expect(2).stdout.contains("Events:"));
}
