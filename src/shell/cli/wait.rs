//! `wait KIND/NAME --for=…`

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::args::{self, ServerArgs, SetArgs, StateArgs};
use super::follow::{FOR_EVER, Follower};
use super::repository::{Loaded, SourceArgs};
use super::seen::{Seen, short_name};
use super::target::{self, Target, article};
use super::{Context, Error, Exit};
use crate::core::api::{ConditionStatus, Kind, ObjectKey};
use crate::core::manifest::Manifests;
use crate::core::manifest::suggest::did_you_mean;

/// Waits until objects are in a certain state, as observed
///
/// Every object has to be in it at some time before the timeout; otherwise the exit code is 2. Looks for itself, whether `landfall run` runs or not,
/// and whenever a server tells that something happened.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "landfall wait KIND/NAME... --for=condition=TYPE[=STATUS]|delete [OPTIONS]\n       landfall wait KIND NAME... --for=condition=TYPE[=STATUS]|delete [OPTIONS]\n       landfall wait KIND --all --for=condition=TYPE[=STATUS] [OPTIONS]"
)]
pub(super) struct Args {
    /// Kind of object, or KIND/NAME, which repeats
    #[arg(value_name = "KIND", required = true, add = clap_complete::ArgValueCompleter::new(super::completion::complete_objects))]
    objects: Vec<String>,
    /// What to wait for: `condition=Ready`, `condition=Ready=False`, `condition=Ready=Unknown`, or `delete` for the network of a destination
    #[arg(long = "for", value_name = "STATE", value_parser = parse_goal)]
    goal: Goal,
    /// Every declared object of the kind
    #[arg(long)]
    all: bool,
    /// Namespace of the objects
    #[arg(short, long, value_name = "NS", add = clap_complete::ArgValueCompleter::new(super::completion::complete_namespaces))]
    namespace: Option<String>,
    /// How long to wait; 0 looks once, a negative time waits for ever
    #[arg(long, value_name = "DURATION", default_value = "30s", allow_hyphen_values = true, value_parser = parse_timeout)]
    timeout: Timeout,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Goal {
    Condition { condition_type: String, status: ConditionStatus },
    Deleted,
}

/// `None`: no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Timeout(Option<Duration>);

fn parse_goal(text: &str) -> Result<Goal, String> {
    if text.eq_ignore_ascii_case("delete") {
        return Ok(Goal::Deleted);
    }
    let form = "write `condition=TYPE`, `condition=TYPE=True|False|Unknown` or `delete`";
    let condition = text.strip_prefix("condition=").ok_or(form)?;
    let (condition_type, status) = condition.split_once('=').unwrap_or((condition, "True"));
    let status = match status.to_ascii_lowercase().as_str() {
        "true" => ConditionStatus::True,
        "false" => ConditionStatus::False,
        "unknown" => ConditionStatus::Unknown,
        _ => return Err(form.to_owned()),
    };
    if condition_type.is_empty() {
        return Err(form.to_owned());
    }
    Ok(Goal::Condition { condition_type: condition_type.to_owned(), status })
}

fn parse_timeout(text: &str) -> Result<Timeout, String> {
    match text.trim_start_matches('-') {
        "0" | "0s" => Ok(Timeout(Some(Duration::ZERO))),
        positive if positive == text => args::parse_duration(text).map(|duration| Timeout(Some(duration))),
        negative => args::parse_duration(negative).map(|_| Timeout(None)),
    }
}

/// For one look at a server.
const LOOK: Duration = Duration::from_secs(30);

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, Error> {
    let Loaded { manifests, .. } = args.source.load(&args.state, &args.set, context)?;
    let chosen = chosen(args, &manifests)?;
    if chosen.is_empty() {
        return Err(Error::new("there is no such object to wait for"));
    }
    let deadline = args.timeout.0.map(|timeout| Instant::now() + timeout);
    let left = || deadline.map_or(FOR_EVER, |deadline| deadline.saturating_duration_since(Instant::now()));
    // A server that does not answer must not outlast the whole.
    let look = args.timeout.0.map_or(LOOK, |timeout| timeout.clamp(Duration::from_secs(1), LOOK));
    let servers = ServerArgs { timeout: look, concurrency: args::SERVERS_AT_ONCE };
    let mut follower = Follower::new(&manifests, &chosen, &args.set, &servers, &args.state)?;
    let mut waiting = chosen;
    let mut known = false;
    context.block_on(async {
        loop {
            let seen = follower.look().await?;
            if !known {
                check(&args.goal, &waiting, &seen)?;
                known = seen.complete();
            }
            for key in waiting.clone() {
                if args.goal.is_met(&key, &seen) {
                    context.print(&format!("{} condition met\n", short_name(&key)))?;
                    waiting.remove(&key);
                }
            }
            if waiting.is_empty() {
                return Ok(Exit::Done);
            }
            if left().is_zero() {
                for key in &waiting {
                    context.error(&timed_out(&args.goal, key, &seen));
                }
                return Ok(Exit::Failed);
            }
            follower.changed(left()).await;
        }
    })?
}

/// As typed: `KIND/NAME...`, `KIND NAME...` or `KIND --all`.
fn chosen(args: &Args, manifests: &Manifests) -> Result<BTreeSet<ObjectKey>, Error> {
    let mut targets: Vec<Target> = Vec::new();
    match args.objects.split_first() {
        Some((kind, names)) if !kind.contains('/') => targets.push(target::parse(kind, names)?),
        _ => {
            for object in &args.objects {
                targets.push(target::parse(object, &[])?);
            }
        }
    }
    let mut keys = BTreeSet::new();
    for target in targets {
        if args.goal == Goal::Deleted && target.kind != Kind::Destination {
            return Err(Error::new("only a destination has something that can be deleted: its network"));
        }
        match (target.names.is_empty(), args.all) {
            (true, false) => {
                return Err(Error::new(format!("which of the {}?", target.kind.plural()))
                    .hint("give names, or --all for every one that is declared"));
            }
            (true, true) => {
                let namespace =
                    |key: &ObjectKey| args.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
                keys.extend(super::seen::keys(manifests, target.kind).filter(namespace));
            }
            (false, true) => return Err(Error::new("--all takes no names")),
            (false, false) => {
                for name in &target.names {
                    match target.find(name, args.namespace.as_deref(), manifests)? {
                        Some(key) => {
                            keys.insert(key);
                        }
                        // Deleting often begins with the manifest.
                        None if args.goal == Goal::Deleted => {
                            keys.insert(undeclared(args, &target, name)?);
                        }
                        None => return Err(target.not_found(name, args.namespace.as_deref(), manifests)),
                    }
                }
            }
        }
    }
    Ok(keys)
}

fn undeclared(args: &Args, target: &Target, name: &str) -> Result<ObjectKey, Error> {
    let (namespace, name) = match (name.split_once('/'), &args.namespace) {
        (Some((namespace, name)), _) => (namespace, name),
        (None, Some(namespace)) => (namespace.as_str(), name),
        (None, None) => {
            return Err(Error::new(format!("no manifest declares a destination {name:?}"))
                .hint("name its namespace with -n, to wait for the network of one that is no longer declared"));
        }
    };
    Ok(ObjectKey::new(target.kind, namespace, name))
}

/// A condition that no such object has would be waited for in vain.
fn check(goal: &Goal, keys: &BTreeSet<ObjectKey>, seen: &Seen) -> Result<(), Error> {
    let Goal::Condition { condition_type, .. } = goal else { return Ok(()) };
    for key in keys {
        let types: Vec<&str> = seen.conditions(key).iter().map(|it| it.condition_type.as_str()).collect();
        if !types.is_empty() && !types.iter().any(|it| it.eq_ignore_ascii_case(condition_type)) {
            let word = key.kind.as_str();
            let hint = did_you_mean(condition_type, types.iter().copied());
            return Err(Error::new(format!("{} {word} has no condition {condition_type:?}", article(word)))
                .hint(hint.unwrap_or_else(|| format!("it has {}", types.join(", ")))));
        }
    }
    Ok(())
}

impl Goal {
    fn is_met(&self, key: &ObjectKey, seen: &Seen) -> bool {
        match self {
            Goal::Condition { condition_type, status } => seen
                .conditions(key)
                .iter()
                .any(|it| it.condition_type.eq_ignore_ascii_case(condition_type) && it.status == *status),
            Goal::Deleted => seen.complete() && !seen.has_network(key),
        }
    }
}

fn timed_out(goal: &Goal, key: &ObjectKey, seen: &Seen) -> Error {
    let error = Error::new(format!("timed out waiting for the condition on {}", short_name(key)));
    let named = match goal {
        Goal::Condition { condition_type, .. } => condition_type,
        Goal::Deleted => "Deleting",
    };
    let present = seen.conditions(key).iter().find(|it| it.condition_type.eq_ignore_ascii_case(named));
    match present {
        Some(it) => {
            let status = super::get::status_word(it.status);
            let message = if it.message.is_empty() { String::new() } else { format!(": {}", it.message) };
            error.because(format!("{} is {status} ({}){message}", it.condition_type, it.reason))
        }
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_written_as_for_kubectl() {
        let condition =
            |condition_type: &str, status| Ok(Goal::Condition { condition_type: condition_type.to_owned(), status });
        assert_eq!(parse_goal("condition=Ready"), condition("Ready", ConditionStatus::True));
        assert_eq!(parse_goal("condition=ready=false"), condition("ready", ConditionStatus::False));
        assert_eq!(parse_goal("condition=Ready=Unknown"), condition("Ready", ConditionStatus::Unknown));
        assert_eq!(parse_goal("delete"), Ok(Goal::Deleted));
        for bad in ["Ready", "condition=", "condition=Ready=maybe", "jsonpath={.x}", ""] {
            assert!(parse_goal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_time_is_one_look_and_less_is_no_end() {
        assert_eq!(parse_timeout("0"), Ok(Timeout(Some(Duration::ZERO))));
        assert_eq!(parse_timeout("2m"), Ok(Timeout(Some(Duration::from_secs(120)))));
        assert_eq!(parse_timeout("-1s"), Ok(Timeout(None)));
        assert!(parse_timeout("soon").is_err());
    }
}
