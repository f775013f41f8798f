//! Names of objects, made from whatever things are called on a server.

use std::collections::BTreeSet;

use crate::core::api::{Kind, ObjectKey};

const LONGEST: usize = 63;

/// Which names are taken.
pub(super) struct Names {
    taken: BTreeSet<ObjectKey>,
}

impl Names {
    pub(super) fn new(declared: &BTreeSet<ObjectKey>) -> Self {
        Self { taken: declared.clone() }
    }

    /// A free name like `text`; the first that is free of it alone, it with one of the `suffixes`, and it with a number.
    pub(super) fn take(
        &mut self,
        kind: Kind,
        namespace: &str,
        text: &str,
        fallback: &str,
        suffixes: &[&str],
    ) -> ObjectKey {
        let base = label(text).unwrap_or_else(|| fallback.to_owned());
        let suffixed = suffixes.iter().filter_map(|suffix| label(suffix)).map(|suffix| with_suffix(&base, &suffix));
        let numbered = (2u32..).map(|number| with_suffix(&base, &number.to_string()));
        let key = std::iter::once(base.clone())
            .chain(suffixed)
            .chain(numbered)
            .map(|name| ObjectKey::new(kind, namespace, &name))
            .find(|key| !self.taken.contains(key));
        // The numbers do not run out before the memory does.
        let key = key.unwrap_or_else(|| ObjectKey::new(kind, namespace, &base));
        self.taken.insert(key.clone());
        key
    }
}

/// An RFC 1123 label: lower-case letters, digits and `-`; `None` where nothing of the text can be in one.
pub(super) fn label(text: &str) -> Option<String> {
    let mut label = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            label.push(character.to_ascii_lowercase());
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
    }
    label.truncate(LONGEST);
    let label = label.trim_end_matches('-');
    (!label.is_empty()).then(|| label.to_owned())
}

fn with_suffix(base: &str, suffix: &str) -> String {
    let room = LONGEST.saturating_sub(suffix.len() + 1);
    let base = base[..base.len().min(room)].trim_end_matches('-');
    let mut name = format!("{base}-{suffix}");
    name.truncate(LONGEST);
    name.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_what_remains_of_a_name() {
        for (text, expected) in [
            ("web", Some("web")),
            ("blog_default", Some("blog-default")),
            ("My.App__v2-", Some("my-app-v2")),
            ("--x--", Some("x")),
            ("é", None),
            ("", None),
            ("_.-", None),
        ] {
            assert_eq!(label(text).as_deref(), expected, "{text:?}");
        }
        assert_eq!(label(&"a".repeat(200)).map(|label| label.len()), Some(63));
        assert_eq!(label(&format!("{}-b", "a".repeat(62))), Some("a".repeat(62)));
    }

    #[test]
    fn a_taken_name_gets_a_suffix_and_then_a_number() {
        let declared = BTreeSet::from([ObjectKey::new(Kind::Destination, "shop", "web")]);
        let mut names = Names::new(&declared);
        let mut take = |text: &str| names.take(Kind::Destination, "shop", text, "network", &["edge-1"]).name;
        assert_eq!(take("web"), "web-edge-1");
        assert_eq!(take("web"), "web-2");
        assert_eq!(take("WEB"), "web-3");
        assert_eq!(take("é"), "network");
        assert_eq!(take(&"a".repeat(63)), "a".repeat(63));
        assert_eq!(take(&"a".repeat(63)), format!("{}-edge-1", "a".repeat(56)));
        assert_eq!(take(&"a".repeat(63)), format!("{}-2", "a".repeat(61)));
    }
}
