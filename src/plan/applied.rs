//! What Landfall put on an endpoint, remembered on the endpoint itself: so what the manifests no longer declare can be told from what people added.
//!
//! The record is in driver options, beside the mark of the set, for containers and Swarm services alike. It counts only where the mark is the
//! set's own. Endpoints that Landfall connected before it kept a record have a mark and no record: nothing is taken off them, and none is
//! reconnected to be given one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::ownership::SET;

/// Aliases, separated by commas: no alias contains one.
const ALIASES: &str = "landfall.aliases";
/// Static addresses.
const IPV4_ADDRESS: &str = "landfall.ipv4-address";
const IPV6_ADDRESS: &str = "landfall.ipv6-address";

pub(super) type DriverOptions = BTreeMap<String, String>;

/// Whether the set put it there.
pub(super) fn is_own(options: &DriverOptions, set: &str) -> bool {
    options.get(SET).is_some_and(|marked| marked == set)
}

/// The record under `key`; `None` where the set kept none.
fn record<'a>(options: &'a DriverOptions, key: &str, set: &str) -> Option<&'a str> {
    options.get(key).filter(|_| is_own(options, set)).map(String::as_str)
}

fn keep(options: &mut DriverOptions, key: &str, value: Option<String>) {
    match value.filter(|value| !value.is_empty()) {
        Some(value) => options.insert(key.to_owned(), value),
        None => options.remove(key),
    };
}

fn words(record: Option<&str>) -> Vec<&str> {
    record.into_iter().flat_map(|record| record.split(',')).filter(|word| !word.is_empty()).collect()
}

/// Whether the alias was put there by the set.
pub(super) fn is_own_alias(alias: &str, options: &DriverOptions, set: &str) -> bool {
    words(record(options, ALIASES, set)).contains(&alias)
}

/// Whether declared aliases are missing, or some are there that the set put there and that are no longer declared.
pub(super) fn aliases_differ(aliases: &[String], options: &DriverOptions, declared: &[String], set: &str) -> bool {
    let is_left = |alias: &&str| !declared.iter().any(|it| it == alias) && aliases.iter().any(|it| it == alias);
    declared.iter().any(|alias| !aliases.contains(alias)) || words(record(options, ALIASES, set)).iter().any(is_left)
}

/// Makes the aliases those that are declared and those that people added, and remembers which of them the set put there. To be called before the
/// options are marked as the set's.
pub(super) fn apply_aliases(aliases: &mut Vec<String>, options: &mut DriverOptions, declared: &[String], set: &str) {
    let recorded: Option<Vec<String>> =
        record(options, ALIASES, set).map(|record| words(Some(record)).into_iter().map(str::to_owned).collect());
    // Without a record, what is declared and on an endpoint of the set's own is taken to be the set's.
    let was_put = |alias: &String| match &recorded {
        Some(recorded) => recorded.contains(alias),
        None => is_own(options, set),
    };
    let put: Vec<String> =
        declared.iter().filter(|alias| !aliases.contains(alias) || was_put(alias)).cloned().collect();
    aliases.retain(|alias| declared.contains(alias) || !recorded.iter().flatten().any(|it| it == alias));
    for alias in declared {
        if !aliases.contains(alias) {
            aliases.push(alias.clone());
        }
    }
    keep(options, ALIASES, Some(put.join(",")));
}

/// A family of addresses, each with a static address of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    fn key(self) -> &'static str {
        match self {
            Family::V4 => IPV4_ADDRESS,
            Family::V6 => IPV6_ADDRESS,
        }
    }
}

/// Whether the static address was put there by the set.
pub(super) fn is_own_address(family: Family, address: &str, options: &DriverOptions, set: &str) -> bool {
    record(options, family.key(), set).is_some_and(|recorded| same(recorded, address))
}

fn same(one: &str, other: &str) -> bool {
    match (super::member::address(one), super::member::address(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// Makes the static address the declared one. Where none is declared one that people chose stays, and one that the set put there goes. To be called
/// before the options are marked as the set's.
pub(super) fn apply_address(
    family: Family,
    address: &mut Option<String>,
    options: &mut DriverOptions,
    declared: Option<IpAddr>,
    set: &str,
) {
    let own = address.as_deref().is_some_and(|address| is_own_address(family, address, options, set));
    let Some(declared) = declared.map(|address| address.to_string()) else {
        if own {
            *address = None;
        }
        // A record of an address that is not there any more says nothing.
        keep(options, family.key(), None);
        return;
    };
    let is_there = address.as_deref().is_some_and(|address| same(address, &declared));
    let unrecorded = is_own(options, set) && !options.contains_key(family.key());
    let put = !is_there || own || unrecorded;
    *address = Some(declared.clone());
    keep(options, family.key(), put.then_some(declared));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> DriverOptions {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// The aliases and the record after what is declared was applied.
    fn applied(aliases: &[&str], before: &[(&str, &str)], declared: &[&str]) -> (Vec<String>, Option<String>) {
        let (mut aliases, mut options) = (texts(aliases), options(before));
        apply_aliases(&mut aliases, &mut options, &texts(declared), "default");
        options.insert(SET.to_owned(), "default".to_owned());
        assert!(!aliases_differ(&aliases, &options, &texts(declared), "default"), "what was applied is no difference");
        (aliases, options.get(ALIASES).cloned())
    }

    #[test]
    fn what_was_put_there_goes_when_it_is_no_longer_declared_and_what_people_added_stays() {
        let own = [(SET, "default"), (ALIASES, "api,www")];
        assert!(aliases_differ(&texts(&["api", "www", "by-hand"]), &options(&own), &texts(&["www"]), "default"));
        assert_eq!(
            applied(&["api", "www", "by-hand"], &own, &["www"]),
            (texts(&["www", "by-hand"]), Some("www".to_owned()))
        );
        assert_eq!(applied(&["api", "www"], &own, &[]), (texts(&[]), None));
    }

    #[test]
    fn what_people_added_and_the_manifest_declares_later_stays_theirs() {
        let own = [(SET, "default"), (ALIASES, "api")];
        assert_eq!(applied(&["api", "www"], &own, &["api", "www"]), (texts(&["api", "www"]), Some("api".to_owned())));
        assert_eq!(applied(&["www"], &[], &["api", "www"]), (texts(&["www", "api"]), Some("api".to_owned())));
    }

    #[test]
    fn an_endpoint_without_a_record_keeps_its_aliases_and_is_no_difference() {
        let old = [(SET, "default")];
        assert!(!aliases_differ(&texts(&["api", "www"]), &options(&old), &texts(&["www"]), "default"));
        assert_eq!(applied(&["api", "www"], &old, &["www"]), (texts(&["api", "www"]), Some("www".to_owned())));
    }

    #[test]
    fn the_record_of_another_set_is_not_ours_to_act_on() {
        let theirs = [(SET, "other"), (ALIASES, "api")];
        assert!(!aliases_differ(&texts(&["api"]), &options(&theirs), &[], "default"));
        assert_eq!(applied(&["api"], &theirs, &["www"]), (texts(&["api", "www"]), Some("www".to_owned())));
    }

    #[test]
    fn a_static_address_goes_when_it_is_no_longer_declared_and_one_that_people_chose_stays() {
        let after = |before: &[(&str, &str)], address: &str, declared: Option<&str>| {
            let (mut address, mut options) = (Some(address.to_owned()), options(before));
            let declared = declared.map(|address| address.parse().unwrap());
            apply_address(Family::V4, &mut address, &mut options, declared, "default");
            (address, options.get(IPV4_ADDRESS).cloned())
        };
        let text = |text: &str| Some(text.to_owned());
        let own = [(SET, "default"), (IPV4_ADDRESS, "10.0.0.9")];
        assert_eq!(after(&own, "10.0.0.9", None), (None, None));
        assert_eq!(after(&own, "10.0.0.8", None), (text("10.0.0.8"), None), "somebody has changed it since");
        assert_eq!(after(&[], "10.0.0.9", None), (text("10.0.0.9"), None));
        assert_eq!(after(&own, "10.0.0.9", Some("10.0.0.7")), (text("10.0.0.7"), text("10.0.0.7")));
        assert_eq!(after(&[], "10.0.0.9", Some("10.0.0.9")), (text("10.0.0.9"), None), "it was there before");
    }
}
