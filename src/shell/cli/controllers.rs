//! `get controllers`: who there is, and who has which server since when.

use jiff::Timestamp;

use super::drain::fleet_error;
use super::get::{Args, Format, print_documents};
use super::output::style::UNCERTAIN;
use super::output::{Cell, Table};
use super::seen::age;
use super::{Context, Error, Exit};
use crate::shell::store::etcd::fleet;
use crate::shell::store::etcd::share::Live;

/// Whether that is what is asked for.
pub(super) fn is_meant(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "controller" | "controllers")
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let client = args.store.required()?;
    let live = context.block_on(fleet::live(&client, &args.set.set))?.map_err(|error| fleet_error(&error))?;
    let wanted = |id: &String| args.names.is_empty() || args.names.contains(id);
    if let Some(unknown) = args.names.iter().find(|name| !live.members.contains_key(*name)) {
        return Err(Error::new(format!("there is no controller {unknown:?}")).hint("landfall get controllers"));
    }
    let ids: Vec<&String> = live.members.keys().filter(|id| wanted(id)).collect();
    match args.output {
        Format::Table | Format::Wide => {
            if ids.is_empty() {
                context.say("No controllers found.");
            } else {
                let table = table(&live, &ids, args.output.is_wide());
                let table = if args.no_headers { table.without_headings() } else { table };
                context.print(&table.render(context.width()))?;
            }
        }
        Format::Name => {
            let lines: String = ids.iter().map(|id| format!("controller/{id}\n")).collect();
            context.print(&lines)?;
        }
        _ => {
            let documents: Vec<_> = ids.iter().map(|id| live.document(id)).collect();
            let single = documents.first().filter(|_| args.names.len() == 1);
            print_documents(args, context, &documents, single)?;
        }
    }
    Ok(Exit::Done)
}

fn table(live: &Live, ids: &[&String], wide: bool) -> Table {
    let mut headings = vec!["NAME", "STATUS", "SERVERS", "VERSION", "AGE"];
    if wide {
        headings.extend(["PID", "HOLDS"]);
    }
    let mut table = Table::new(headings);
    let now = Timestamp::now();
    for id in ids {
        let Some(member) = live.members.get(*id) else { continue };
        let status = match live.drained.contains(*id) {
            true => Cell::styled("Draining", UNCERTAIN),
            false => Cell::from("Ready"),
        };
        let held: Vec<String> = live
            .held_by(id)
            .map(|(server, lock)| format!("{} ({})", server.path(), age(&lock.holder.since.to_string(), now)))
            .collect();
        let mut row = vec![
            Cell::from(id.as_str()),
            status,
            Cell::from(held.len().to_string()),
            Cell::from(member.version.as_str()),
            Cell::from(age(&member.started.to_string(), now)),
        ];
        if wide {
            row.extend([Cell::from(member.pid.to_string()), Cell::from(held.join(", "))]);
        }
        table.row(row);
    }
    table
}
