//! `store migrate`: from a directory to etcd and back, with everything that is kept.

use std::fs;
use std::path::Path;

use landfall::shell::store::Journals;
use landfall::shell::store::etcd::{Client, EtcdAddress, EtcdJournals, TlsFiles, keeper};
use landfall::shell::store::file::FileJournals;
use serde_json::Value;

use super::controllers::{Fleet, healed};
use super::store::journal;
use crate::cli::run::landfall;
use crate::support::wait_for;

/// What commands print of what is kept.
fn kept(directory: &Path, place: &[&str]) -> (Value, Value) {
    let items = |command: &str| {
        let ran = landfall(directory, [&[command, "-o", "json"][..], place].concat()).expect(0);
        let mut items = ran.json()["items"].clone();
        // Numbers of events are the store's own.
        items.as_array_mut().unwrap().iter_mut().for_each(|it| drop(it.as_object_mut().unwrap().remove("id")));
        items
    };
    (items("history"), items("events"))
}

#[tokio::test(flavor = "multi_thread")]
async fn history_status_and_journals_go_to_etcd_and_back_and_are_what_they_were() {
    let mut fleet = Fleet::start(4, 1, 1);
    let (directory, url) = (fleet.directory.path(), fleet.etcd.url());
    wait_for("it has everything", || (fleet.share(0) == 4).then_some(()));
    for engine in &fleet.engines {
        healed(engine);
    }
    wait_for("it is on record", || {
        let (passes, _) = kept(directory, &["--store", &url]);
        (passes.as_array().unwrap().len() >= 4).then_some(())
    });
    let migrate = |from: &str, to: &str| landfall(directory, ["store", "migrate", from, to]);
    let running = migrate(&url, "first").expect(2);
    assert!(running.stderr.contains("controllers run with"), "{running}");
    fleet.stop(0);
    let (directory, url) = (fleet.directory.path(), fleet.etcd.url());
    let migrate = |from: &str, to: &str| landfall(directory, ["store", "migrate", from, to]);
    let before = kept(directory, &["--store", &url]);
    assert!(before.1.as_array().unwrap().len() >= 4, "{}", before.1);
    migrate(&url, "first").expect(0);
    assert_eq!(kept(directory, &["--state", "first"]), before);

    // A journal of something that was not finished goes along.
    let journals = FileJournals::in_state(&directory.join("first"));
    Journals::write(&journals, &journal("web-net")).await.unwrap();
    let other = url.replace("/landfall", "/other");
    let moved = migrate("first", &other).expect(0);
    assert!(moved.stderr.contains("1 open journal"), "{moved}");
    assert_eq!(kept(directory, &["--store", &other]), before);
    let client = Client::new(EtcdAddress::parse(&other, TlsFiles::default(), None).unwrap());
    let held = tokio::sync::watch::channel(keeper::Held::default()).1;
    let there = EtcdJournals::new(client, "default", held).load().await.unwrap();
    assert_eq!(there.journals, [journal("web-net")]);
    // Two histories are not mixed.
    let again = migrate("first", &other).expect(2);
    assert!(again.stderr.contains("is not empty"), "{again}");
    let into = migrate(&other, "first").expect(2);
    assert!(into.stderr.contains("is not empty"), "{into}");

    migrate(&other, "second").expect(0);
    assert_eq!(kept(directory, &["--state", "second"]), before);
    let back = Journals::load(&FileJournals::in_state(&directory.join("second"))).await.unwrap();
    assert_eq!(back.journals, [journal("web-net")]);
    assert!(fs::exists(directory.join("first/sets/default")).unwrap(), "what was copied stays where it was");
}
