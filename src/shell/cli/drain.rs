//! `drain CONTROLLER`

use std::time::{Duration, Instant};

use super::args::{self, SetArgs};
use super::shared::StoreArgs;
use super::{Context, Error, Exit};
use crate::shell::store::etcd::fleet::{self, Drained};

/// Between two looks at what it holds still.
const PAUSE: Duration = Duration::from_millis(200);

/// Has a controller give its servers to the others, each after the pass that runs on it, and take none
///
/// For maintenance of the machine that it runs on: what it does is ended, nothing is cut off, and the others go on at once. It stays so until `--undo`,
/// or until it ends. `landfall get controllers` shows who there is and who has how many servers. Ending a controller with SIGTERM drains it as well.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Id of the controller, as `landfall get controllers` has it
    #[arg(value_name = "CONTROLLER")]
    controller: String,
    /// Let it take servers again
    #[arg(long)]
    undo: bool,
    /// How long to wait until it has none
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = args::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    store: StoreArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let client = args.store.required()?;
    let unavailable = |error| fleet_error(&error);
    context.block_on(async {
        let outcome = fleet::drain(&client, &args.set.set, &args.controller, args.undo).await.map_err(unavailable)?;
        if let Drained::Unknown { controllers } = outcome {
            let error = Error::new(format!("there is no controller {:?}", args.controller));
            return Err(match controllers.is_empty() {
                true => error.hint("no controller of this set runs with this store"),
                false => error.hint(format!("there are {}", controllers.join(", "))),
            });
        }
        if args.undo {
            context.say(&format!("{} takes servers again.", args.controller));
            return Ok(Exit::Done);
        }
        let deadline = Instant::now() + args.timeout;
        loop {
            let held = fleet::held_by(&client, &args.set.set, &args.controller).await.map_err(unavailable)?;
            if held == 0 {
                context.say(&format!("{} has no servers any more.", args.controller));
                return Ok(Exit::Done);
            }
            if Instant::now() >= deadline {
                return Err(Error::new(format!("{} has {held} servers still", args.controller))
                    .hint("it goes on: passes that run are ended first, rollouts as well"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    })?
}

pub(super) fn fleet_error(error: &dyn std::error::Error) -> Error {
    Error::new("the store that the controllers share cannot be used").caused_by(error)
}
