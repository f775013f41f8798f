//! What Landfall put on an endpoint, remembered on the endpoint itself: so what the manifests no longer declare can be told from what people added.
//!
//! The record is in driver options, beside the mark of the set, for containers and Swarm services alike. It counts only where the mark is the
//! set's own. Endpoints that Landfall connected before it kept a record have a mark and no record: nothing is taken off them, and none is
//! reconnected to be given one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::ownership::{FOUND, SET};
use crate::core::observed::EndpointSettings;

/// Aliases, separated by commas: no alias contains one.
const ALIASES: &str = "landfall.aliases";

/// Static addresses.
const IPV4_ADDRESS: &str = "landfall.ipv4-address";

const IPV6_ADDRESS: &str = "landfall.ipv6-address";

const MAC_ADDRESS: &str = "landfall.mac-address";

const GW_PRIORITY: &str = "landfall.gw-priority";

/// Names of driver options, separated by commas: none contains one.
const DRIVER_OPTS: &str = "landfall.driver-opts";

/// Addresses, separated by commas, that Landfall chose in the place of some that are declared for others. No manifest declares them.
const PARKED: &str = "landfall.parked-addresses";

pub(crate) type DriverOptions = BTreeMap<String, String>;

/// Whether the set put it there.
pub(crate) fn is_own(options: &DriverOptions, set: &str) -> bool {
    options.get(SET).is_some_and(|marked| marked == set)
}

/// Remembers of an endpoint that is connected again who made it in the first place.
pub(crate) fn keep_found(before: &DriverOptions, options: &mut DriverOptions, set: &str) {
    if !is_own(before, set) {
        options.insert(FOUND.to_owned(), "true".to_owned());
    }
}

/// Whether somebody else made it in the first place, and Landfall has only connected it again.
pub(crate) fn is_found(options: &DriverOptions) -> bool {
    options.contains_key(FOUND)
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
pub(crate) fn is_own_alias(alias: &str, options: &DriverOptions, set: &str) -> bool {
    words(record(options, ALIASES, set)).contains(&alias)
}

/// Whether declared aliases are missing, or some are there that the set put there and that are no longer declared.
pub(crate) fn aliases_differ(aliases: &[String], options: &DriverOptions, declared: &[String], set: &str) -> bool {
    let is_left = |alias: &&str| !declared.iter().any(|it| it == alias) && aliases.iter().any(|it| it == alias);
    declared.iter().any(|alias| !aliases.contains(alias)) || words(record(options, ALIASES, set)).iter().any(is_left)
}

/// Makes the aliases those that are declared and those that people added, and remembers which of them the set put there. To be called before the
/// options are marked as the set's.
pub(crate) fn apply_aliases(aliases: &mut Vec<String>, options: &mut DriverOptions, declared: &[String], set: &str) {
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

/// Whether a single value is another than the declared one, or is the set's own and no longer declared.
fn differs<T: PartialEq + ToString>(
    key: &str,
    has: Option<&T>,
    options: &DriverOptions,
    declared: Option<&T>,
    set: &str,
) -> bool {
    match declared {
        Some(declared) => has != Some(declared),
        None => has.is_some_and(|has| record(options, key, set) == Some(has.to_string().as_str())),
    }
}

/// Makes a single value the declared one, as [`apply_address`] does.
fn apply<T: PartialEq + ToString + Clone>(
    key: &str,
    value: &mut Option<T>,
    options: &mut DriverOptions,
    declared: Option<&T>,
    set: &str,
) {
    let own = value.as_ref().is_some_and(|value| record(options, key, set) == Some(value.to_string().as_str()));
    let Some(declared) = declared else {
        if own {
            *value = None;
        }
        keep(options, key, None);
        return;
    };
    let put = value.as_ref() != Some(declared) || own || (is_own(options, set) && !options.contains_key(key));
    *value = Some(declared.clone());
    keep(options, key, put.then(|| declared.to_string()));
}

/// The hardware address that the endpoint has. One that is not running shows none; what the set asked for is on record.
fn mac_address(settings: &EndpointSettings, set: &str) -> Option<String> {
    let shown = settings.mac_address.as_deref().or_else(|| record(&settings.driver_opts, MAC_ADDRESS, set));
    shown.map(str::to_lowercase)
}

pub(crate) fn mac_address_differs(settings: &EndpointSettings, declared: Option<&String>, set: &str) -> bool {
    let has = mac_address(settings, set);
    match declared {
        Some(declared) => has.as_ref() != Some(declared),
        // On record, it is asked for at the next start too.
        None => record(&settings.driver_opts, MAC_ADDRESS, set).is_some(),
    }
}

pub(crate) fn apply_mac_address(settings: &mut EndpointSettings, declared: Option<&String>, set: &str) {
    settings.mac_address = mac_address(settings, set);
    apply(MAC_ADDRESS, &mut settings.mac_address, &mut settings.driver_opts, declared, set);
}

/// Whether the hardware address was declared: it is on record, of any set.
pub fn is_mac_address_on_record(settings: &EndpointSettings) -> bool {
    settings.mac_address.is_some() && settings.driver_opts.get(MAC_ADDRESS) == settings.mac_address.as_ref()
}

pub(crate) fn gw_priority_differs(settings: &EndpointSettings, declared: Option<i64>, set: &str) -> bool {
    differs(GW_PRIORITY, settings.gw_priority.as_ref(), &settings.driver_opts, declared.as_ref(), set)
}

/// Whether its priority was declared.
pub(crate) fn has_gw_priority(settings: &EndpointSettings) -> bool {
    settings.driver_opts.contains_key(GW_PRIORITY)
}

pub(crate) fn apply_gw_priority(settings: &mut EndpointSettings, declared: Option<i64>, set: &str) {
    apply(GW_PRIORITY, &mut settings.gw_priority, &mut settings.driver_opts, declared.as_ref(), set);
}

/// Options that the set put there and that are no longer declared.
fn left_options<'o>(options: &'o DriverOptions, declared: &DriverOptions, set: &str) -> Vec<&'o str> {
    let mut names = words(record(options, DRIVER_OPTS, set));
    names.retain(|name| !declared.contains_key(*name) && options.contains_key(*name));
    names
}

pub(crate) fn driver_opts_differ(options: &DriverOptions, declared: &DriverOptions, set: &str) -> bool {
    declared.iter().any(|(name, value)| options.get(name) != Some(value))
        || !left_options(options, declared, set).is_empty()
}

pub(crate) fn apply_driver_opts(options: &mut DriverOptions, declared: &DriverOptions, set: &str) {
    let left: Vec<String> = left_options(options, declared, set).into_iter().map(str::to_owned).collect();
    let recorded: Option<Vec<String>> =
        record(options, DRIVER_OPTS, set).map(|record| words(Some(record)).into_iter().map(str::to_owned).collect());
    let was_put = |name: &String| recorded.as_ref().map_or_else(|| is_own(options, set), |names| names.contains(name));
    let put = declared.iter().filter(|(name, value)| options.get(*name) != Some(*value) || was_put(name));
    let put: Vec<&str> = put.map(|(name, _)| name.as_str()).collect();
    let put = put.join(",");
    options.retain(|name, _| !left.contains(name));
    options.extend(declared.iter().map(|(name, value)| (name.clone(), value.clone())));
    keep(options, DRIVER_OPTS, Some(put));
}

/// A family of addresses, each with a static address of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
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
pub(crate) fn is_own_address(family: Family, address: &str, options: &DriverOptions, set: &str) -> bool {
    record(options, family.key(), set).is_some_and(|recorded| same(recorded, address))
}

/// As [`is_own_address`]; without a record, what is on an endpoint of the set's own may be the set's.
pub(crate) fn may_be_own_address(family: Family, address: &str, options: &DriverOptions, set: &str) -> bool {
    is_own_address(family, address, options, set) || (is_own(options, set) && !options.contains_key(family.key()))
}

/// A live endpoint on a network of a Swarm shows the address that the Swarm chose as if it had been asked for. One that Landfall connected was not
/// asked to have it, unless that is on record.
pub(crate) fn forget_given(settings: &mut EndpointSettings) {
    let EndpointSettings { ipv4_address, ipv6_address, driver_opts, .. } = settings;
    for (family, address) in [(Family::V4, ipv4_address), (Family::V6, ipv6_address)] {
        let on_record = driver_opts.contains_key(family.key()) || driver_opts.contains_key(PARKED);
        if driver_opts.contains_key(SET) && !on_record {
            *address = None;
        }
    }
}

/// The settings with a spare address in the place of one that is declared for another.
pub fn park(settings: &EndpointSettings, spare: IpAddr) -> EndpointSettings {
    let mut parked = settings.clone();
    let address = if spare.is_ipv4() { &mut parked.ipv4_address } else { &mut parked.ipv6_address };
    *address = Some(spare.to_string());
    let before = parked.driver_opts.get(PARKED).map(|before| format!("{before},"));
    keep(&mut parked.driver_opts, PARKED, Some(format!("{}{spare}", before.unwrap_or_default())));
    parked
}

/// Whether it has a spare address, in the place of one that is declared for another.
pub(crate) fn is_parked(options: &DriverOptions, set: &str) -> bool {
    record(options, PARKED, set).is_some()
}

/// Leaves the address to the daemon again.
pub(crate) fn unpark(settings: &mut EndpointSettings, set: &str) {
    let EndpointSettings { ipv4_address, ipv6_address, driver_opts, .. } = settings;
    let parked = words(record(driver_opts, PARKED, set));
    for address in [ipv4_address, ipv6_address] {
        if address.as_deref().is_some_and(|address| parked.iter().any(|parked| same(parked, address))) {
            *address = None;
        }
    }
    keep(driver_opts, PARKED, None);
}

fn same(one: &str, other: &str) -> bool {
    match (address(one), address(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// Makes the static address the declared one. Where none is declared one that people chose stays, and one that the set put there goes. To be called
/// before the options are marked as the set's.
pub(crate) fn apply_address(
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

/// Tolerates the prefix length that some engine versions append.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
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
    fn hardware_address_priority_and_driver_options_go_when_they_are_no_longer_declared_and_those_of_people_stay() {
        let mac = "02:00:00:00:00:01".to_owned();
        let declared = options(&[("com.example.one", "1")]);
        let people = EndpointSettings {
            mac_address: Some("02:00:00:00:00:09".to_owned()),
            gw_priority: Some(7),
            driver_opts: options(&[("com.example.two", "2")]),
            ..EndpointSettings::default()
        };
        let apply = |settings: &mut EndpointSettings, mac: Option<&String>, priority, options: &DriverOptions| {
            apply_mac_address(settings, mac, "default");
            apply_gw_priority(settings, priority, "default");
            apply_driver_opts(&mut settings.driver_opts, options, "default");
            settings.driver_opts.insert(SET.to_owned(), "default".to_owned());
        };
        let differ = |settings: &EndpointSettings, mac: Option<&String>, priority, options: &DriverOptions| {
            [
                mac_address_differs(settings, mac, "default"),
                gw_priority_differs(settings, priority, "default"),
                driver_opts_differ(&settings.driver_opts, options, "default"),
            ]
        };
        assert_eq!(differ(&people, None, None, &DriverOptions::new()), [false; 3]);
        let mut settings = people.clone();
        apply(&mut settings, None, None, &DriverOptions::new());
        assert_eq!((&settings.mac_address, settings.gw_priority), (&people.mac_address, Some(7)), "it is kept");

        assert_eq!(differ(&people, Some(&mac), Some(5), &declared), [true; 3]);
        apply(&mut settings, Some(&mac), Some(5), &declared);
        assert_eq!(differ(&settings, Some(&mac), Some(5), &declared), [false; 3]);
        assert!(is_mac_address_on_record(&settings));
        // It shows none while it is stopped.
        let stopped = EndpointSettings { mac_address: None, ..settings.clone() };
        assert_eq!(differ(&stopped, Some(&mac), Some(5), &declared), [false; 3]);

        assert_eq!(differ(&settings, None, None, &DriverOptions::new()), [true; 3]);
        apply(&mut settings, None, None, &DriverOptions::new());
        let left = options(&[("com.example.two", "2"), (SET, "default")]);
        assert_eq!((settings.mac_address, settings.gw_priority, settings.driver_opts), (None, None, left));
    }

    #[test]
    fn a_spare_address_is_given_back() {
        let mut settings =
            EndpointSettings { driver_opts: options(&[(SET, "default")]), ..EndpointSettings::default() };
        let before = settings.clone();
        for spare in ["10.0.0.254", "fd00::fffe"] {
            settings = park(&settings, spare.parse().unwrap());
        }
        assert!(is_parked(&settings.driver_opts, "default") && !is_parked(&settings.driver_opts, "other"));
        let addresses = (settings.ipv4_address.as_deref(), settings.ipv6_address.as_deref());
        assert_eq!(addresses, (Some("10.0.0.254"), Some("fd00::fffe")));
        unpark(&mut settings, "default");
        assert_eq!(settings, before);
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
        assert_eq!(after(&own, "10.0.0.8", None), (text("10.0.0.8"), None), "it was changed since");
        assert_eq!(after(&[], "10.0.0.9", None), (text("10.0.0.9"), None));
        assert_eq!(after(&own, "10.0.0.9", Some("10.0.0.7")), (text("10.0.0.7"), text("10.0.0.7")));
        assert_eq!(after(&[], "10.0.0.9", Some("10.0.0.9")), (text("10.0.0.9"), None), "it was there before");
    }
}
