//! `approve [FINGERPRINT]`

use std::fmt::Write;

use serde_json::{Value, json};

use super::args::{SetArgs, StateArgs};
use super::client::{self, Controller};
use super::{Context, Error, Exit, apply, record};
use crate::shell::store;

/// Agrees to the deletions, disconnections and removals that `landfall run` withholds because they are many at once
///
/// Shows what would go, asks, and lets exactly that go: another list is not agreed to. Without FINGERPRINT, everything that waits.
/// Where nothing waits there is nothing to do. Bringing the manifests back is the other answer.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which of the lists, as `run` and `events` name it
    #[arg(value_name = "FINGERPRINT")]
    fingerprint: Option<String>,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let directory = record::directory(&args.state, &args.set)?;
    context.block_on(async {
        let Some(controller) = Controller::of(&directory).await else {
            return Err(client::none_found(&args.state, &args.set));
        };
        let pending = controller.get("/api/v1/pending").await?;
        let items = pending["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let chosen: Vec<&Value> = items
            .iter()
            .filter(|item| args.fingerprint.as_ref().is_none_or(|wanted| item["fingerprint"] == wanted.as_str()))
            .collect();
        if chosen.is_empty() {
            if let (Some(fingerprint), false) = (&args.fingerprint, items.is_empty()) {
                return Err(Error::new(format!("nothing that waits has the fingerprint {fingerprint:?}"))
                    .hint("`landfall approve` shows what waits now"));
            }
            context.say("Nothing waits for an approval.");
            return Ok(Exit::Done);
        }
        context.say(&listed(&chosen));
        if !args.yes {
            if !context.can_ask() && args.fingerprint.is_none() {
                return Err(Error::new("there is no terminal to ask on; nothing was approved")
                    .hint("--yes approves what is listed, FINGERPRINT one list of them"));
            }
            if context.can_ask() && !apply::confirmed("Approve? [y/N] ") {
                context.say("Nothing was approved.");
                return Ok(Exit::Failed);
            }
        }
        for item in &chosen {
            controller.post("/api/v1/approve", &json!({ "fingerprint": item["fingerprint"] })).await?;
        }
        let options = store::options(&args.set.set, args.state.state.as_deref());
        context.say(&format!("Approved. `landfall events -w{options}` shows what becomes of it."));
        Ok(Exit::Done)
    })?
}

fn listed(items: &[&Value]) -> String {
    let mut text = String::new();
    for item in items {
        let list = |name: &str| item[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let _ = writeln!(text, "{} ({}):", word(&item["server"]), word(&item["fingerprint"]));
        for deletion in list("deletions") {
            let _ = writeln!(
                text,
                "  - remove network {} of {}",
                word(&deletion["network"]),
                word(&deletion["destination"])
            );
        }
        for removal in list("removals") {
            let _ =
                writeln!(text, "  - remove the container {} of {}", word(&removal["name"]), word(&removal["object"]));
        }
        for disconnection in list("disconnections") {
            let _ = writeln!(
                text,
                "  - disconnect {} from {}",
                word(&disconnection["name"]),
                word(&disconnection["network"])
            );
        }
    }
    text
}
