//! What happened: by commit and pass, with who did it, and equal repairs told once.

use std::collections::BTreeMap;

use super::parts::{ago, count, href, moment, short};
use crate::shell::store::records::{EventRecord, EventType, PassRecord};
use crate::shell::web::WebState;

/// Passes that are looked up.
const PASSES: usize = 300;

/// What happened to an object in a pass, or several times in passes that did nothing else.
pub(super) struct Row {
    pub(super) class: &'static str,
    /// The first of a pass.
    pub(super) begins: bool,
    pub(super) time: String,
    pub(super) time_text: String,
    pub(super) ago: String,
    /// Manifest, repair, command.
    pub(super) by: &'static str,
    /// Pass and commit.
    pub(super) within: String,
    pub(super) object: String,
    pub(super) href: Option<String>,
    pub(super) reason: String,
    pub(super) message: String,
    /// `12 times since …`, or nothing.
    pub(super) often: String,
}

/// What the history has of the latest passes; nothing, where it has none.
pub(super) async fn passes(state: &WebState) -> Vec<PassRecord> {
    state.store.passes(PASSES).await.unwrap_or_default()
}

/// Reasons of events that tell who has asked for something.
const ASKED: [&str; 5] = ["ReconcileRequested", "Approved", "RestartRequested", "SuspendRequested", "ResumeRequested"];
/// Causes of operations that put back what somebody or something took.
const REPAIRS: [&str; 8] = [
    "ProxyStale",
    "ProxyDetached",
    "MemberDetached",
    "EndpointStale",
    "StartAfterRepair",
    "WorkloadMissing",
    "WorkloadStopped",
    "JournalRestore",
];

/// Events of one pass.
struct Turn<'a> {
    pass: Option<u64>,
    events: Vec<&'a EventRecord>,
    times: usize,
    /// When it happened first.
    since: jiff::Timestamp,
}

impl Turn<'_> {
    fn same_as(&self, other: &Self) -> bool {
        let told = |it: &&EventRecord| (it.object.clone(), it.reason.clone(), it.message.clone());
        self.pass.is_some()
            && other.pass.is_some()
            && self.events.len() == other.events.len()
            && self.events.iter().map(told).eq(other.events.iter().map(told))
    }
}

/// The newest first, at most so many.
pub(super) fn rows<'a>(
    events: impl Iterator<Item = &'a EventRecord>,
    passes: &[PassRecord],
    most: usize,
    now: jiff::Timestamp,
    linked: impl Fn(&str) -> bool,
) -> Vec<Row> {
    let passes: BTreeMap<u64, &PassRecord> = passes.iter().map(|pass| (pass.pass, pass)).collect();
    let mut turns: Vec<Turn<'_>> = Vec::new();
    let mut open: Option<Turn<'_>> = None;
    let fold = |turns: &mut Vec<Turn<'a>>, turn: Turn<'a>| match turns.last_mut() {
        Some(last) if last.same_as(&turn) => {
            last.times += turn.times;
            last.since = turn.since;
        }
        _ => turns.push(turn),
    };
    for event in events {
        match &mut open {
            Some(turn) if turn.pass.is_some() && turn.pass == event.pass => {
                turn.events.push(event);
                turn.since = event.time;
            }
            _ => {
                let begun = Turn { pass: event.pass, events: vec![event], times: 1, since: event.time };
                if let Some(turn) = open.replace(begun) {
                    fold(&mut turns, turn);
                }
            }
        }
    }
    if let Some(turn) = open {
        fold(&mut turns, turn);
    }
    let mut rows = Vec::new();
    for turn in turns {
        let record = turn.pass.and_then(|pass| passes.get(&pass));
        let by = match record.map(|record| record.by.as_str()) {
            Some("run") | None if turn.pass.is_none() => {
                if turn.events.iter().all(|event| ASKED.contains(&event.reason.as_str())) { "command" } else { "seen" }
            }
            Some("run") | None if turn.events.iter().all(|event| REPAIRS.contains(&event.reason.as_str())) => "repair",
            Some("run") | None => "manifest",
            Some(_) => "command",
        };
        let mut within = Vec::new();
        within.extend(turn.pass.map(|pass| format!("pass {pass}")));
        within.extend(record.filter(|record| record.by != "run").map(|record| record.by.clone()));
        within.extend(record.and_then(|it| it.revision.as_deref()).map(|it| short(it).to_owned()));
        let within = within.join(" · ");
        for (index, event) in turn.events.iter().enumerate() {
            let object = event.object.as_ref().map(ToString::to_string);
            rows.push(Row {
                class: if event.event_type == EventType::Warning { "bad" } else { "plain" },
                begins: index == 0,
                time: event.time.to_string(),
                time_text: moment(event.time),
                ago: ago(event.time, now),
                by,
                within: within.clone(),
                href: object.as_deref().filter(|object| linked(object)).map(href),
                object: object.unwrap_or_else(|| "Manifests".to_owned()),
                reason: event.reason.clone(),
                message: event.message.clone(),
                often: match turn.times {
                    1 => String::new(),
                    times => format!("{} since {}", count(times, "time"), ago(turn.since, now)),
                },
            });
            if rows.len() == most {
                return rows;
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(pass: Option<u64>, second: i64, reason: &str, object: &str) -> EventRecord {
        EventRecord {
            id: 0,
            time: jiff::Timestamp::from_second(1_700_000_000 + second).unwrap(),
            event_type: EventType::Normal,
            object: object.parse().ok(),
            server: None,
            reason: reason.to_owned(),
            message: format!("connect {object}"),
            pass,
        }
    }

    #[test]
    fn equal_repairs_are_one_row_with_a_count_and_everything_else_is_told() {
        let web = "Destination/shop/web";
        let mut events = vec![event(None, 100, "Approved", web)];
        events.extend((0..12).map(|at| event(Some(20 - at), 90 - at as i64, "MemberDetached", web)));
        events.push(event(Some(2), 10, "NetworkMissing", web));
        events.push(event(Some(2), 10, "MemberDetached", web));
        let now = jiff::Timestamp::from_second(1_700_000_200).unwrap();
        let told = rows(events.iter(), &[], 30, now, |_| true);
        let said: Vec<_> =
            told.iter().map(|row| (row.by, row.reason.as_str(), row.often.as_str(), row.begins)).collect();
        assert_eq!(
            said,
            [
                ("command", "Approved", "", true),
                ("repair", "MemberDetached", "12 times since 2 min ago", true),
                ("manifest", "NetworkMissing", "", true),
                ("manifest", "MemberDetached", "", false),
            ]
        );
        assert_eq!(rows(events.iter(), &[], 3, now, |_| true).len(), 3);
    }
}
