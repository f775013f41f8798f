//! The store over a real etcd: locks and fences, journals and records, and what goes wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use landfall::core::api::{Condition, ConditionStatus, DeletionPolicy, Kind, ObjectKey, Statement};
use landfall::core::plan::{Journal, JournalPurpose, NetworkCreate};
use landfall::shell::store::etcd::keeper::{self, Joining};
use landfall::shell::store::etcd::live::Keys;
use landfall::shell::store::etcd::wire::Change;
use landfall::shell::store::etcd::{
    Client, EtcdAddress, EtcdError, EtcdJournals, EtcdRecords, Holding, Shares, TlsFiles,
};
use landfall::shell::store::records::{Batch, EventRecord, EventType, ObjectRecord, PassRecord};
use landfall::shell::store::{Journals, Records, StoreError};

use crate::support::etcd::{Etcd, Setup};

pub(super) const TTL: Duration = Duration::from_secs(3);
/// Of the members, as they are started.
const ELECTION: Duration = Duration::from_secs(1);
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn server(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Server, "default", name)
}

pub(super) fn join(client: &Client) -> Shares {
    join_for(client, TTL)
}

/// For what is not about leases that end: on a busy machine one of a few seconds is not kept at times.
fn join_at_leisure(client: &Client) -> Shares {
    join_for(client, Duration::from_secs(60))
}

pub(super) fn join_for(client: &Client, ttl: Duration) -> Shares {
    let joining = Joining { client: client.clone(), set: "test".to_owned(), host: "host".to_owned(), ttl };
    keeper::start(joining).unwrap().0
}

/// Until what is held is as wanted.
pub(super) async fn holds(shares: &Shares, wanted: &[&str]) -> BTreeMap<ObjectKey, Holding> {
    let wanted: BTreeSet<ObjectKey> = wanted.iter().map(|name| server(name)).collect();
    let mut held = shares.held();
    let found =
        tokio::time::timeout(PATIENCE, held.wait_for(|held| held.keys().cloned().collect::<BTreeSet<_>>() == wanted));
    let found = found.await.unwrap_or_else(|_| panic!("{wanted:?} are not held, but {:?}", shares.held().borrow()));
    (**found.unwrap()).clone()
}

pub(super) fn journal(network: &str) -> Journal {
    Journal {
        services: Vec::new(),
        server: server("edge-1"),
        destination: ObjectKey::new(Kind::Destination, "shop", "web"),
        purpose: JournalPurpose::Reattach,
        network: NetworkCreate {
            replaces: Vec::new(),
            beside: Vec::new(),
            generated: false,
            name: network.to_owned(),
            driver: "bridge".to_owned(),
            attachable: false,
            internal: false,
            ipv4: true,
            ipv6: false,
            subnets: Vec::new(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        },
        endpoints: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_given_up_is_taken_at_once_and_one_that_vanishes_after_the_holders_time() {
    let etcd = Etcd::start(1);
    let one = join(&etcd.client());
    one.declare([server("edge-1")]);
    let first = holds(&one, &["edge-1"]).await[&server("edge-1")].fence.clone();
    let other = join(&etcd.client());
    other.declare([server("edge-1")]);
    let began = Instant::now();
    one.stop().await;
    let second = holds(&other, &["edge-1"]).await[&server("edge-1")].fence.clone();
    assert!(began.elapsed() < TTL, "it was given up: nobody waits, {:?}", began.elapsed());
    assert!(second.token() > first.token());
    assert!(!first.is_open() && second.is_open());

    // Taken from its holder by somebody with etcdctl.
    let third = join(&etcd.client());
    third.declare([server("edge-1")]);
    let keys = Keys::new(etcd.client().base("test"));
    let began = Instant::now();
    etcd.client().txn(&[], &[Change::Delete { key: keys.lock(&server("edge-1")) }]).await.unwrap();
    tokio::time::timeout(PATIENCE, second.closed()).await.unwrap();
    assert!(began.elapsed() < TTL, "its holder hears of it: {:?}", began.elapsed());
    let both = async {
        tokio::select! {
            held = holds(&other, &["edge-1"]) => held,
            held = holds(&third, &["edge-1"]) => held,
        }
    };
    // The one that lost it had it in its view still.
    let mut lost = other.held();
    let _ = tokio::time::timeout(PATIENCE, lost.wait_for(|held| held.is_empty())).await.unwrap();
    let next = both.await[&server("edge-1")].fence.clone();
    assert!(began.elapsed() >= TTL, "whoever held it may have been at work: {:?}", began.elapsed());
    assert!(next.token() > second.token());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_holder_writes_and_the_next_one_finds_what_is_open() {
    let etcd = Etcd::start(1);
    let client = etcd.client();
    let one = join_at_leisure(&client);
    one.declare([server("edge-1")]);
    holds(&one, &["edge-1"]).await;
    let other = join_at_leisure(&client);
    let (ours, theirs) =
        (EtcdJournals::new(client.clone(), "test", one.held()), EtcdJournals::new(client, "test", other.held()));
    ours.write(&journal("web-net")).await.unwrap();
    let error = theirs.write(&journal("other-net")).await.unwrap_err();
    assert!(error.to_string().contains("does not hold the server's lock"), "{error}");
    assert_eq!(theirs.load().await.unwrap().journals, [journal("web-net")]);

    // The lock is another's, and this one has not heard of it: the transaction says so.
    let (held_to, held) = tokio::sync::watch::channel(one.held().borrow().clone());
    let late = EtcdJournals::new(etcd.client(), "test", held);
    one.stop().await;
    other.declare([server("edge-1")]);
    holds(&other, &["edge-1"]).await;
    let error = late.write(&journal("late-net")).await.unwrap_err();
    assert!(error.to_string().contains("another controller holds"), "{error}");
    assert!(late.remove(&journal("web-net")).await.is_err());
    assert_eq!(theirs.load().await.unwrap().journals, [journal("web-net")]);
    theirs.remove(&journal("web-net")).await.unwrap();
    assert!(theirs.load().await.unwrap().journals.is_empty());
    drop(held_to);
}

#[tokio::test(flavor = "multi_thread")]
async fn controllers_that_begin_together_with_many_servers_ask_etcd_for_nothing_once_they_are_shared_out() {
    const SERVERS: usize = 1000;
    let etcd = Etcd::start(1);
    let servers: Vec<ObjectKey> = (0..SERVERS).map(|number| server(&format!("edge-{number}"))).collect();
    let controllers: Vec<Shares> = (0..3).map(|_| join_at_leisure(&etcd.client())).collect();
    controllers.iter().for_each(|it| it.declare(servers.iter().cloned()));
    let held = || controllers.iter().map(|it| it.held().borrow().len()).collect::<Vec<_>>();
    let deadline = Instant::now() + PATIENCE;
    let (mut before, mut after) = (0, etcd.proposals());
    while held().iter().sum::<usize>() != SERVERS || before != after {
        let asked = after - before;
        assert!(Instant::now() < deadline, "{:?} of {SERVERS} servers are held, {asked} proposals a second", held());
        tokio::time::sleep(Duration::from_secs(1)).await;
        (before, after) = (after, etcd.proposals());
    }
    // Each lock was taken once, whoever else asked for it; a transaction that changes nothing is a proposal as well.
    assert!(after < 3 * u64::try_from(SERVERS).unwrap(), "{after} proposals for {SERVERS} servers");
    let mut fleet = controllers[0].fleet();
    assert_eq!(fleet.borrow_and_update().live.locks.len(), SERVERS);
    let told = tokio::time::timeout(Duration::from_secs(3), fleet.changed()).await;
    assert!(told.is_err(), "a fleet of which nothing is new is looked through again");
}

fn event(on: &ObjectKey, message: &str, pass: u64) -> EventRecord {
    EventRecord {
        id: 0,
        time: jiff::Timestamp::now(),
        event_type: EventType::Normal,
        object: None,
        server: Some(on.clone()),
        reason: "Any".to_owned(),
        message: message.to_owned(),
        pass: Some(pass),
    }
}

fn pass(on: &ObjectKey, number: u64) -> PassRecord {
    PassRecord {
        time: jiff::Timestamp::now(),
        pass: number,
        logged_as: None,
        by: "run".to_owned(),
        server: on.clone(),
        revision: None,
        duration_ms: 1,
        operations: Vec::new(),
        omitted: 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_two_controllers_is_one_and_what_is_known_of_an_object_is_put_together() {
    let etcd = Etcd::start(1);
    let client = etcd.client();
    let resource = ObjectKey::new(Kind::Application, "shop", "frontend");
    // One after the other: who gets a server of two controllers is their names' hashes' affair.
    for name in ["edge-1", "edge-2"] {
        let controller = join_at_leisure(&client);
        controller.declare([server(name)]);
        holds(&controller, &[name]).await;
        let store = EtcdRecords::new(client.clone(), "test", Some(controller.held()));
        let on = server(name);
        let mut record =
            ObjectRecord { declared: true, generation: 1, fingerprint: "f".into(), ..ObjectRecord::default() };
        let ready = Condition::from(Statement {
            condition_type: "Ready".into(),
            status: ConditionStatus::True,
            reason: "Fine".into(),
            message: name.into(),
            observed_generation: None,
            last_transition_time: None,
        });
        record.conditions.insert(&on.path(), vec![ready].into());
        let batch = Batch {
            passes: vec![pass(&on, 1)],
            events: vec![event(&on, &format!("on {name}"), 1)],
            objects: [(resource.clone(), Some(record))].into(),
            ..Batch::default()
        };
        store.record(&batch).await.unwrap();
        // Nothing is written about a server that is not its own.
        let foreign = server(if name == "edge-1" { "edge-2" } else { "edge-1" });
        store.record(&Batch { events: vec![event(&foreign, "forged", 2)], ..Batch::default() }).await.unwrap();
        controller.stop().await;
    }
    let reader = EtcdRecords::new(client.clone(), "test", None);
    let events = reader.events(0, 10).await.unwrap();
    let said: Vec<(&str, Option<u64>)> = events.iter().map(|it| (it.message.as_str(), it.pass)).collect();
    assert_eq!(
        said,
        [("on edge-2", Some(2)), ("on edge-1", Some(1))],
        "the second pass of that number got the next one"
    );
    assert!(reader.events(events[0].id, 10).await.unwrap().is_empty());
    assert_eq!(reader.events(events[1].id, 10).await.unwrap(), events[..1]);
    let passes: Vec<u64> = reader.passes(10).await.unwrap().iter().map(|it| it.pass).collect();
    assert_eq!(passes, [2, 1]);
    assert_eq!(reader.pass(2).await.unwrap().unwrap().server, server("edge-2"));
    let objects = reader.objects().await.unwrap();
    assert_eq!(objects[&resource].conditions.iter().count(), 2);
    assert_eq!(reader.objects_on(&server("edge-1")).await.unwrap()[&resource].conditions.iter().count(), 1);

    // No manifest declares it any more, and nothing says where it was; its policy protects it.
    let one = join_at_leisure(&client);
    one.declare([server("edge-1")]);
    holds(&one, &["edge-1"]).await;
    let ours = EtcdRecords::new(client.clone(), "test", Some(one.held()));
    let protected = ObjectRecord { deletion_policy: Some(DeletionPolicy::Orphan), ..ObjectRecord::default() };
    ours.record(&Batch { objects: [(resource.clone(), Some(protected))].into(), ..Batch::default() }).await.unwrap();
    assert!(!reader.objects_on(&server("edge-1")).await.unwrap()[&resource].declared);
    assert!(reader.objects_on(&server("edge-2")).await.unwrap()[&resource].declared, "that is for its holder to say");
    let before = reader.revision().await;
    ours.record(&Batch { events: vec![event(&server("edge-1"), "new", 3)], ..Batch::default() }).await.unwrap();
    assert_ne!(reader.revision().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_held_after_the_deadline_and_with_one_it_goes_on() {
    let mut etcd = Etcd::start(3);
    let one = join(&etcd.client());
    one.declare([server("edge-1"), server("edge-2")]);
    let fence = holds(&one, &["edge-1", "edge-2"]).await[&server("edge-1")].fence.clone();
    etcd.kill(0);
    // Two of three are a quorum.
    tokio::time::sleep(TTL).await;
    assert!(fence.is_open(), "a member that is gone costs no lock");
    etcd.kill(1);
    let began = Instant::now();
    tokio::time::timeout(PATIENCE, fence.closed()).await.unwrap();
    // A leader answers keepalives until it notices that it is alone, which takes it up to two election timeouts. No other leader gives the lock away
    // sooner: it begins with a whole time to live for every lease.
    assert!(began.elapsed() <= TTL + 2 * ELECTION, "{:?}", began.elapsed());
    holds(&one, &[]).await;
    // It is said as well, when the members have been asked in vain.
    let mut fleet = one.fleet();
    let _ = tokio::time::timeout(PATIENCE, fleet.wait_for(|fleet| fleet.trouble.is_some())).await.unwrap();
    etcd.run(1);
    let again = holds(&one, &["edge-1", "edge-2"]).await[&server("edge-1")].fence.clone();
    assert!(again.token() >= fence.token() && again.is_open());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_costs_the_history_and_not_the_locks_and_compaction_costs_nothing() {
    let etcd = Etcd::start_with(Setup { members: 1, quota: Some(2 << 20), ..Setup::default() });
    let client = etcd.client();
    let one = join(&client);
    one.declare([server("edge-1")]);
    let fence = holds(&one, &["edge-1"]).await[&server("edge-1")].fence.clone();
    let store = EtcdRecords::new(client.clone(), "test", Some(one.held()));
    let mut filled = Ok(Some(0));
    for number in 0..20 {
        filled = client.txn(&[], &[Change::put(format!("other/{number}"), vec![b'x'; 500_000])]).await;
        if filled.is_err() {
            break;
        }
    }
    assert_eq!(filled, Err(EtcdError::NoSpace));
    let batch = Batch { events: vec![event(&server("edge-1"), "kept", 1)], ..Batch::default() };
    let error = store.record(&batch).await.unwrap_err();
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
    tokio::time::sleep(TTL + Duration::from_secs(1)).await;
    assert!(fence.is_open(), "a lease is kept without room");

    assert!(etcd.ctl(&["del", "--prefix", "other/"]));
    let (_, revision) = client.list("nothing/").await.unwrap();
    assert!(etcd.ctl(&["compact", &revision.to_string()]));
    assert!(etcd.ctl(&["defrag"]) && etcd.ctl(&["alarm", "disarm"]));
    tokio::time::timeout(PATIENCE, async {
        while store.record(&batch).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap();
    // What was compacted was nothing that anybody waited for.
    one.declare([server("edge-1"), server("edge-2")]);
    holds(&one, &["edge-1", "edge-2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_needs_the_right_password_and_a_right_to_the_prefix() {
    let etcd = Etcd::start(1);
    for arguments in [
        &["user", "add", "root:secret"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "landfall"],
        &["role", "grant-permission", "landfall", "--prefix=true", "readwrite", "landfall/"],
        &["user", "add", "landfall:p@ss"],
        &["user", "grant-role", "landfall", "landfall"],
        &["auth", "enable"],
    ] {
        assert!(etcd.ctl(arguments), "{arguments:?}");
    }
    let at = |credentials: &str| {
        let url = etcd.url().replace("etcd://", &format!("etcd://{credentials}"));
        Client::new(EtcdAddress::parse(&url, TlsFiles::default(), None).unwrap())
    };
    let put = |key: &str| [Change::put(key, b"1".to_vec())];
    at("landfall:p%40ss@").txn(&[], &put("landfall/a")).await.unwrap();
    let denied = |outcome: Result<Option<i64>, EtcdError>| matches!(outcome, Err(EtcdError::Denied(_)));
    assert!(denied(at("landfall:p%40ss@").txn(&[], &put("other/a")).await));
    assert!(denied(at("landfall:wrong@").txn(&[], &put("landfall/a")).await));
    assert!(denied(at("").txn(&[], &put("landfall/a")).await));
    let one = join(&at("landfall:p%40ss@"));
    one.declare([server("edge-1")]);
    holds(&one, &["edge-1"]).await;
}
