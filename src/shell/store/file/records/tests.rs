use std::fs;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use super::*;
use crate::core::api::{ConditionStatus, DeletionPolicy, Kind, Statement};
use crate::shell::store::records::EventType;

fn event(seconds: i64, message: &str) -> EventRecord {
    EventRecord {
        id: 0,
        time: jiff::Timestamp::from_second(seconds).unwrap(),
        event_type: EventType::Normal,
        object: Some(destination("web")),
        server: None,
        reason: "ProxyDetached".to_owned(),
        message: message.to_owned(),
        pass: Some(1),
    }
}

fn pass(seconds: i64, number: u64, operations: usize) -> PassRecord {
    PassRecord {
        time: jiff::Timestamp::from_second(seconds).unwrap(),
        pass: number,
        logged_as: None,
        by: "run".to_owned(),
        server: ObjectKey::new(Kind::Server, "default", "edge"),
        revision: None,
        duration_ms: 1,
        operations: vec![serde_json::json!({ "op": "ConnectEndpoint", "message": "x".repeat(5000) }); operations],
        omitted: 0,
    }
}

fn destination(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Destination, "shop", name)
}

fn events_of(all: Vec<EventRecord>) -> Batch {
    Batch { events: all, ..Batch::default() }
}

fn messages(store: &FileRecords) -> Vec<String> {
    store.events(100).unwrap().into_iter().map(|event| event.message).collect()
}

#[test]
fn events_come_newest_first_with_growing_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileRecords::in_directory(dir.path());
    assert_eq!(store.events(100).unwrap(), [], "nothing is there, and nothing is made by looking");
    assert!(!store.path().exists());
    store.record(&events_of(vec![event(1, "first"), event(2, "second")])).unwrap();
    store.record(&events_of(vec![event(3, "third")])).unwrap();
    assert_eq!(messages(&store), ["third", "second", "first"]);
    let later: Vec<u64> = store.events_since(1, 100).unwrap().into_iter().map(|event| event.id).collect();
    assert_eq!(later, [3, 2]);
}

#[test]
fn history_is_bounded_by_count_and_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = Bounds { events: 3, passes: 3, age: jiff::SignedDuration::from_secs(100), ..Bounds::default() };
    let store = FileRecords::with_bounds(dir.path(), bounds);
    store.record(&events_of((0..5).map(|i| event(i, &i.to_string())).collect())).unwrap();
    assert_eq!(messages(&store), ["4", "3", "2"]);
    store.record(&events_of(vec![event(104, "late")])).unwrap();
    assert_eq!(messages(&store), ["late", "4"]);
    let passes = (1..10).map(|number| pass(105, number, 1)).collect();
    store.record(&Batch { passes, ..Batch::default() }).unwrap();
    let kept: Vec<u64> = store.passes(100).unwrap().into_iter().map(|pass| pass.pass).collect();
    assert_eq!(kept, [9, 8, 7]);
    assert_eq!(store.pass(8).unwrap().map(|pass| pass.pass), Some(8));
    assert_eq!(store.pass(1).unwrap(), None);
}

/// Ten times the bound: neither the records nor the file go on growing.
#[test]
fn the_file_stops_growing_however_much_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileRecords::with_bounds(dir.path(), Bounds { events: 200, passes: 20, ..Bounds::default() });
    let mut sizes = Vec::new();
    for round in 0..20 {
        let events = (0..100).map(|i| event(round, &format!("{round} {i} {}", "y".repeat(500)))).collect();
        let passes = (0..10).map(|i| pass(round, u64::try_from(round * 10 + i).unwrap(), 1)).collect();
        store.record(&Batch { events, passes, ..Batch::default() }).unwrap();
        sizes.push(fs::metadata(store.path()).unwrap().len());
    }
    assert_eq!((store.events(usize::MAX).unwrap().len(), store.passes(usize::MAX).unwrap().len()), (200, 20));
    assert!(sizes[19] < 4 << 20, "some 150 kB take {sizes:?}");
}

#[test]
fn the_operations_of_a_huge_pass_and_long_messages_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileRecords::in_directory(dir.path());
    let events = vec![event(1, &"ä".repeat(9000))];
    store.record(&Batch { events, passes: vec![pass(1, 1, 700)], ..Batch::default() }).unwrap();
    let pass = store.pass(1).unwrap().unwrap();
    assert_eq!((pass.operations.len(), pass.omitted), (200, 500));
    assert!(pass.operations[0]["message"].as_str().unwrap().len() < 2100);
    assert!(messages(&store)[0].len() < 2100);
}

#[test]
fn a_number_that_another_process_has_used_is_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileRecords::in_directory(dir.path());
    for by in ["run", "apply"] {
        let pass = PassRecord { by: by.to_owned(), ..pass(1, 7, 1) };
        let event = EventRecord { pass: Some(7), server: Some(pass.server.clone()), ..event(1, by) };
        store.record(&Batch { passes: vec![pass], events: vec![event], ..Batch::default() }).unwrap();
    }
    let kept: Vec<(u64, String)> = store.passes(9).unwrap().into_iter().map(|it| (it.pass, it.by)).collect();
    assert_eq!(kept, [(8, "apply".to_owned()), (7, "run".to_owned())]);
    let told: Vec<(Option<u64>, String)> =
        store.events(9).unwrap().into_iter().map(|it| (it.pass, it.message.to_string())).collect();
    assert_eq!(
        told,
        [(Some(8), "apply".to_owned()), (Some(7), "run".to_owned())],
        "an event names the pass of the history"
    );
    // The log of the controller has its own number for it.
    let late = PassRecord { by: "run".to_owned(), ..pass(2, 8, 1) };
    store.record(&Batch { passes: vec![late], ..Batch::default() }).unwrap();
    let numbers: Vec<(u64, Option<u64>)> =
        store.passes(9).unwrap().into_iter().map(|it| (it.pass, it.logged_as)).collect();
    assert_eq!(numbers, [(9, Some(8)), (8, None), (7, None)]);
}

fn protected_record() -> ObjectRecord {
    ObjectRecord { deletion_policy: Some(DeletionPolicy::Orphan), ..ObjectRecord::default() }
}

#[test]
fn objects_are_forgotten_with_their_manifest_unless_their_policy_protects_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileRecords::with_bounds(dir.path(), Bounds { undeclared: 3, ..Bounds::default() });
    let declared = ObjectRecord { declared: true, generation: 2, ..ObjectRecord::default() };
    let write = |objects: Vec<(ObjectKey, Option<ObjectRecord>)>| {
        store.record(&Batch { objects: objects.into_iter().collect(), ..Batch::default() }).unwrap();
        store.objects().unwrap().keys().map(|key| key.name.clone()).collect::<Vec<_>>()
    };
    let both = vec![(destination("a"), Some(declared.clone())), (destination("b"), Some(declared.clone()))];
    assert_eq!(write(both), ["a", "b"]);
    let undeclared = ObjectRecord { declared: false, ..declared.clone() };
    assert_eq!(write(vec![(destination("a"), Some(undeclared))]), ["b"]);
    assert_eq!(write(vec![(destination("b"), Some(protected_record()))]), ["b"]);
    // What no manifest declares is bounded.
    let many = (0..9).map(|i| (destination(&format!("x{i}")), Some(protected_record()))).collect();
    assert_eq!(write(many).len(), 3);
}

#[test]
fn a_corrupt_file_is_moved_aside_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileRecords::in_directory(dir.path());
    for content in ["this is not a database", "x", &"\0".repeat(100_000)] {
        fs::write(store.path(), content).unwrap();
        assert!(matches!(store.events(1), Err(StoreError::Corrupt { .. })), "a reader says so");
        assert_eq!(fs::read_to_string(store.path()).unwrap(), content, "and changes nothing");
        let aside = store.prepare().unwrap().expect("set aside");
        assert_eq!(fs::read_to_string(aside).unwrap(), content);
        store.record(&events_of(vec![event(1, "begun anew")])).unwrap();
        assert_eq!(messages(&store), ["begun anew"]);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "each is kept under a name of its own");
}

#[test]
fn what_is_corrupt_again_and_again_is_left_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileRecords::in_directory(dir.path());
    for _ in 0..SET_ASIDE {
        fs::write(store.path(), "broken").unwrap();
        store.prepare().unwrap().expect("set aside");
    }
    fs::write(store.path(), "broken").unwrap();
    let refused = store.prepare().unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
    assert_eq!(fs::read_to_string(store.path()).unwrap(), "broken");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), SET_ASIDE + 1);
}

/// Damage anywhere: found when the file is verified, and never the end of the process.
#[test]
fn a_damaged_page_is_found_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileRecords::in_directory(dir.path());
    store.record(&events_of((0..500).map(|i| event(1, &format!("{i} {}", "z".repeat(200)))).collect())).unwrap();
    let whole = fs::read(store.path()).unwrap();
    let mut found = 0;
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        fs::write(store.path(), &whole).unwrap();
        let file = fs::OpenOptions::new().write(true).open(store.path()).unwrap();
        file.write_all_at(&[0xA5; 300], at as u64).unwrap();
        // Whatever it answers, it answers.
        let _ = store.events(usize::MAX);
        let aside = store.prepare().unwrap();
        if let Some(aside) = aside {
            found += 1;
            fs::remove_file(aside).unwrap();
        }
        store.record(&events_of(vec![event(2, "after")])).unwrap();
        assert_eq!(store.events(1).unwrap()[0].message, "after", "damage at {at}");
    }
    assert!(found > 5, "{found} damages were found");
    // Cut short.
    fs::write(store.path(), &whole[..whole.len() / 2]).unwrap();
    assert!(store.prepare().unwrap().is_some());
}

fn with_format(path: &Path, format: u64) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("format", format).unwrap();
    transaction.commit().unwrap();
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileRecords::in_directory(dir.path());
    with_format(store.path(), FORMAT + 1);
    let before = fs::read(store.path()).unwrap();
    for refused in [store.prepare().err(), store.record(&events_of(vec![event(1, "x")])).err(), store.events(1).err()] {
        assert!(matches!(&refused, Some(StoreError::Newer { .. })), "{refused:?}");
    }
    let kept = (0..=1).all(|_| store.prepare().is_err()) && store.path().exists();
    assert!(kept && fs::read(store.path()).unwrap().len() == before.len());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// The version of redb's own format is a byte in each of the two headers of transactions.
#[test]
fn a_file_of_a_newer_redb_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileRecords::in_directory(dir.path());
    store.record(&events_of(vec![event(1, "x")])).unwrap();
    let file = fs::OpenOptions::new().write(true).open(store.path()).unwrap();
    for slot in [64, 192] {
        file.write_all_at(&[9], slot).unwrap();
    }
    let refused = store.prepare().unwrap_err();
    assert!(matches!(refused, StoreError::Newer { .. }), "{refused}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn an_older_format_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileRecords::in_directory(dir.path());
    let condition = Condition::from(Statement {
        condition_type: "Ready".into(),
        status: ConditionStatus::True,
        reason: "AsDeclared".into(),
        message: Default::default(),
        observed_generation: None,
        last_transition_time: Some("2026-01-01T00:00:00Z".into()),
    });
    {
        let database = Database::create(store.path()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("format", 1).unwrap();
        let old = serde_json::json!({
            "time": "2026-01-01T00:00:00Z", "type": "Normal", "object": "Destination/shop/web",
            "reason": "ProxyDetached", "message": "of old"
        });
        transaction.open_table(EVENTS).unwrap().insert(1, json(&old).as_slice()).unwrap();
        let conditions = json(&[&condition]);
        let mut table = transaction.open_table(CONDITIONS).unwrap();
        table.insert(destination("web").to_string().as_str(), conditions.as_slice()).unwrap();
        drop(table);
        transaction.commit().unwrap();
    }
    assert_eq!(messages(&store), ["of old"], "what has not changed can be read before");
    assert_eq!(store.prepare().unwrap(), None);
    assert_eq!(messages(&store), ["of old"]);
    assert_eq!(store.objects().unwrap()[&destination("web")].merged(), [condition]);
    // Older than anything that this version can read.
    let ancient = tempfile::tempdir().unwrap();
    let store = FileRecords::in_directory(ancient.path());
    with_format(store.path(), 0);
    assert!(store.prepare().unwrap().is_some());
}

#[test]
fn a_file_that_somebody_keeps_to_himself_is_waited_for_and_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileRecords::in_directory(dir.path());
    store.prepare().unwrap();
    let held = Database::open(store.path()).unwrap();
    let refused = store.record(&events_of(vec![event(1, "x")])).unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    let waiting = std::thread::spawn({
        let store = store.clone();
        move || store.record(&events_of(vec![event(1, "in turn")]))
    });
    drop(held);
    waiting.join().unwrap().unwrap();
    assert_eq!(messages(&store), ["in turn"]);
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let store = FileRecords::in_directory(&file);
    assert!(matches!(store.prepare(), Err(StoreError::Io { .. })));
    let store = FileRecords::in_directory(Path::new("/proc/landfall"));
    assert!(store.prepare().is_err());
}

/// The worst of all servers, and the latest of the worst.
#[test]
fn conditions_of_several_servers_are_merged() {
    let ready = |status, since: &str| {
        vec![Condition::from(Statement {
            condition_type: "Ready".into(),
            status,
            reason: since.into(),
            message: Default::default(),
            observed_generation: None,
            last_transition_time: Some(since.into()),
        })]
    };
    let conditions = [
        ("a/1", ready(ConditionStatus::True, "4")),
        ("a/2", ready(ConditionStatus::False, "2")),
        ("a/3", ready(ConditionStatus::False, "3")),
        ("a/4", ready(ConditionStatus::Unknown, "5")),
    ];
    let conditions = conditions.map(|(server, conditions)| (server.into(), conditions.into()));
    let conditions = BTreeMap::from(conditions).into();
    let merged = ObjectRecord { conditions, ..ObjectRecord::default() }.merged();
    assert_eq!(merged.iter().map(|it| it.reason.as_str()).collect::<Vec<_>>(), ["3"]);
}

/// Writes until it is killed, and says what is on disk. Run by [`what_was_written_survives_sigkill`] in a process of its own.
#[test]
#[ignore = "a part of another test"]
fn a_writer_that_is_killed() {
    let directory = std::env::var_os("LANDFALL_TEST_STORE").expect("the other test names a directory");
    let directory = Path::new(&directory);
    let store = FileRecords::with_bounds(directory, Bounds { events: 50, ..Bounds::default() });
    let next = store.events(1).unwrap().first().map_or(1, |event| event.id + 1);
    for number in next.. {
        store.record(&events_of(vec![event(1, &number.to_string())])).unwrap();
        fs::write(directory.join("next"), number.to_string()).unwrap();
        fs::rename(directory.join("next"), directory.join("written")).unwrap();
    }
}

#[test]
fn what_was_written_survives_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileRecords::in_directory(dir.path());
    let written = || fs::read_to_string(dir.path().join("written")).map_or(0, |text| text.parse::<u64>().unwrap());
    for round in 0..8_u64 {
        let before = written();
        // As the test runner knows it: without the name of the crate.
        let (_, here) = module_path!().split_once("::").unwrap();
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{here}::a_writer_that_is_killed"), "--ignored"])
            .env("LANDFALL_TEST_STORE", dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while written() <= before + round {
            assert!(Instant::now() < deadline && writer.try_wait().unwrap().is_none(), "it does not write");
            std::thread::sleep(Duration::from_millis(1));
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        // By a reader, before anybody has put it right.
        let events = store.events(usize::MAX).unwrap();
        assert!(events[0].id >= written(), "{} of {}", events[0].id, written());
        assert!(events.iter().all(|event| event.id.to_string() == event.message), "nothing is half written");
        assert!(events.windows(2).all(|pair| pair[0].id == pair[1].id + 1), "nothing in between is lost");
    }
    assert_eq!(store.prepare().unwrap(), None, "it is put right, not moved aside");
}

#[test]
fn readers_and_writers_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileRecords::in_directory(dir.path());
    store.record(&events_of(vec![event(1, "0")])).unwrap();
    let end = Instant::now() + Duration::from_secs(3);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut written = 0;
                    while Instant::now() < end {
                        store.record(&events_of(vec![event(1, "more")])).unwrap();
                        written += 1;
                    }
                    written
                })
            })
            .collect();
        for _ in 0..3 {
            scope.spawn(|| {
                let mut latest = 0;
                while Instant::now() < end {
                    let newest = store.events(1).unwrap()[0].id;
                    assert!(newest >= latest, "{newest} after {latest}");
                    latest = newest;
                }
            });
        }
        let written: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        assert_eq!(store.events(1).unwrap()[0].id, written + 1);
    });
}
