//! Label selectors with the syntax of `kubectl -l`: `app=web,tier!=db,env in (a, b),!legacy`.
//!
//! By hand: kube-core, which has such selectors, brings the types of Kubernetes along.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use thiserror::Error;

/// Every requirement must hold; the empty selector takes everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operator {
    Exists,
    Absent,
    In(BTreeSet<String>),
    /// Holds for objects without the label too, as in Kubernetes.
    NotIn(BTreeSet<String>),
}

/// What is wrong with a selector.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct InvalidSelector {
    pub message: String,
}

impl Selector {
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.operator {
                Operator::Exists => value.is_some(),
                Operator::Absent => value.is_none(),
                Operator::In(values) => value.is_some_and(|value| values.contains(value)),
                Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            }
        })
    }
}

impl FromStr for Selector {
    type Err = InvalidSelector;

    fn from_str(text: &str) -> Result<Self, InvalidSelector> {
        let requirements = split(text)?;
        if requirements.iter().any(|requirement| requirement.is_empty()) {
            let message = if text.trim().is_empty() { "is empty" } else { "has nothing between two commas" };
            return Err(invalid(message));
        }
        requirements.into_iter().map(parse_requirement).collect::<Result<_, _>>().map(Selector)
    }
}

fn invalid(message: impl Into<String>) -> InvalidSelector {
    InvalidSelector { message: message.into() }
}

/// At the commas that are not within parentheses.
fn split(text: &str) -> Result<Vec<&str>, InvalidSelector> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut within = false;
    for (position, character) in text.char_indices() {
        match character {
            '(' if within => return Err(invalid("has a parenthesis within parentheses")),
            '(' => within = true,
            ')' if !within => return Err(invalid("has a closing parenthesis too many")),
            ')' => within = false,
            ',' if !within => {
                parts.push(text[start..position].trim());
                start = position + 1;
            }
            _ => {}
        }
    }
    if within {
        return Err(invalid("lacks a closing parenthesis"));
    }
    parts.push(text[start..].trim());
    Ok(parts)
}

fn parse_requirement(text: &str) -> Result<Requirement, InvalidSelector> {
    let one = |value: &str| -> Result<BTreeSet<String>, InvalidSelector> {
        let value = value.trim();
        check_value(value)?;
        Ok(BTreeSet::from([value.to_owned()]))
    };
    let (key, operator) = if let Some((key, value)) = text.split_once("!=") {
        (key, Operator::NotIn(one(value)?))
    } else if let Some((key, value)) = text.split_once('=') {
        (key, Operator::In(one(value.strip_prefix('=').unwrap_or(value))?))
    } else if let Some((head, list)) = text.split_once('(') {
        let Some(list) = list.strip_suffix(')') else {
            return Err(invalid(format!("has something after the parenthesis in {text:?}")));
        };
        let values = list.split(',').map(str::trim).map(|value| check_value(value).map(|()| value.to_owned()));
        let values = values.collect::<Result<BTreeSet<_>, _>>()?;
        match head.split_whitespace().collect::<Vec<_>>()[..] {
            [key, "in"] => (key, Operator::In(values)),
            [key, "notin"] => (key, Operator::NotIn(values)),
            _ => return Err(invalid(format!("expects `key in (…)` or `key notin (…)`, not {text:?}"))),
        }
    } else if let Some(key) = text.strip_prefix('!') {
        (key, Operator::Absent)
    } else {
        (text, Operator::Exists)
    };
    let key = key.trim();
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    if key.is_empty() || !key.bytes().all(fits) {
        return Err(invalid(format!("has no valid label name in {text:?}")));
    }
    Ok(Requirement { key: key.to_owned(), operator })
}

/// Values in manifests are free text; in a selector they must not contain what separates.
fn check_value(value: &str) -> Result<(), InvalidSelector> {
    match value.chars().find(|c| c.is_whitespace() || matches!(c, '=' | '!' | '(' | ')' | ',')) {
        Some(character) => Err(invalid(format!("has {character:?} within the value {value:?}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        selector.parse::<Selector>().expect("the selector is valid").matches(&labels)
    }

    #[test]
    fn equality_takes_one_or_two_signs() {
        for selector in ["app=web", "app==web", " app = web ", "app in (web)"] {
            assert!(matches(selector, &[("app", "web")]), "{selector}");
            assert!(!matches(selector, &[("app", "db")]), "{selector}");
            assert!(!matches(selector, &[]), "{selector}");
        }
    }

    #[test]
    fn inequality_holds_for_objects_without_the_label() {
        for selector in ["app!=web", "app notin (web)"] {
            assert!(!matches(selector, &[("app", "web")]), "{selector}");
            assert!(matches(selector, &[("app", "db")]), "{selector}");
            assert!(matches(selector, &[]), "{selector}");
        }
    }

    #[test]
    fn a_label_can_be_asked_for_by_name() {
        assert!(matches("app", &[("app", "")]));
        assert!(!matches("app", &[]));
        assert!(matches("!app", &[]));
        assert!(!matches("!app", &[("app", "")]));
    }

    #[test]
    fn all_requirements_must_hold() {
        let selector = "app in (web, api),tier!=test,!legacy,example.com/team";
        assert!(matches(selector, &[("app", "api"), ("example.com/team", "a")]));
        assert!(!matches(selector, &[("app", "api")]));
        assert!(!matches(selector, &[("app", "api"), ("example.com/team", "a"), ("tier", "test")]));
        assert!(!matches(selector, &[("app", "api"), ("example.com/team", "a"), ("legacy", "")]));
    }

    #[test]
    fn an_empty_value_is_a_value() {
        assert!(matches("app=", &[("app", "")]));
        assert!(!matches("app=", &[("app", "web")]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (selector, message) in [
            ("", "is empty"),
            ("a,,b", "has nothing between two commas"),
            ("a in (b", "lacks a closing parenthesis"),
            ("a in b)", "has a closing parenthesis too many"),
            ("a within (b)", "expects `key in (…)` or `key notin (…)`, not \"a within (b)\""),
            ("=b", "has no valid label name in \"=b\""),
            ("a=b=c", "has '=' within the value \"b=c\""),
            ("a b", "has no valid label name in \"a b\""),
        ] {
            assert_eq!(selector.parse::<Selector>(), Err(invalid(message)), "{selector}");
        }
    }
}
