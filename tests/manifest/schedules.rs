//! Schedules of backups: in their time zone, over the change of the clocks, and after an absence.

use jiff::{SignedDuration, Timestamp};
use landfall::core::api::{Kind, ObjectKey};
use landfall::core::backup::policy::{Schedule, ScheduleError};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_schedule_is_read_in_its_time_zone_and_over_the_change_of_the_clocks() {
    let daily = Schedule::parse("30 2 * * *", Some("Europe/Berlin")).unwrap();
    assert_eq!(daily.next(at("2026-07-01T00:00:00Z")), Some(at("2026-07-01T00:30:00Z")));
    assert_eq!(daily.next(at("2026-12-01T00:00:00Z")), Some(at("2026-12-01T01:30:00Z")));
    // The clock has no 02:30 that night, and still there is one backup, and not none.
    let spring = daily.next(at("2026-03-28T12:00:00Z")).unwrap();
    assert!(spring > at("2026-03-29T00:00:00Z") && spring < at("2026-03-29T02:00:00Z"), "{spring}");
    // It has 02:30 twice, and there is one.
    let autumn = daily.next(at("2026-10-24T12:00:00Z")).unwrap();
    let after = daily.next(autumn).unwrap();
    assert!(after.duration_since(autumn) > SignedDuration::from_hours(20), "{autumn} {after}");
    assert!(Schedule::parse("@daily", None).is_ok());
}

#[test]
fn nonsense_is_no_schedule() {
    for bad in ["", "daily", "61 * * * *", "* * * *", "0 0 31 2", "* * * * * *"] {
        assert!(matches!(Schedule::parse(bad, None), Err(ScheduleError::Pattern(..))), "{bad:?}");
    }
    assert_eq!(Schedule::parse("@daily", Some("Mars/Base")).unwrap_err(), ScheduleError::Zone("Mars/Base".to_owned()));
}

#[test]
fn missed_ones_are_made_up_for_once_and_not_all_begin_at_the_same_moment() {
    let schedule = Schedule::parse("0 3 * * *", None).unwrap();
    let object = |name: &str| ObjectKey::new(Kind::Database, "shop", name);
    // A week was missed: due since the first of them; made now, the next is that of tomorrow.
    let due = schedule.due(&object("orders"), at("2026-11-01T03:02:00Z")).unwrap();
    assert!(due >= at("2026-11-02T03:00:00Z") && due < at("2026-11-02T03:05:00Z"), "{due}");
    let next = schedule.due(&object("orders"), at("2026-11-08T12:00:00Z")).unwrap();
    assert!(next >= at("2026-11-09T03:00:00Z") && next < at("2026-11-09T03:05:00Z"), "{next}");
    let moments: std::collections::BTreeSet<_> =
        (0..20).map(|number| schedule.due(&object(&format!("db-{number}")), due)).collect();
    assert!(moments.len() > 10, "{moments:?}");
    // Every minute: within a tenth of it.
    let often = Schedule::parse("* * * * *", None).unwrap();
    let due = often.due(&object("orders"), at("2026-11-01T03:02:10Z")).unwrap();
    assert!(due >= at("2026-11-01T03:03:00Z") && due < at("2026-11-01T03:03:06Z"), "{due}");
}
