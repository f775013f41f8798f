#![doc = include_str!("../../docs/reference/reasons.md")]

use std::fmt;

use crate::core::printable::capitalized;
use crate::core::printable::paragraph;

/// The page that explains them, which is also this module's documentation.
const PAGE: &str = include_str!("../../docs/reference/reasons.md");
/// The table of causes of operations is in this one.
const PLAN_PAGE: &str = include_str!("../../docs/reference/plan-json.md");

/// What a reason or a cause means, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// `Contended`
    pub word: String,
    /// Markdown, one paragraph each.
    pub means: Vec<String>,
    /// What to do about it, where there is something to be done.
    pub remedy: Option<String>,
}

/// Conditions, and the words that only they have, are in this one.
const STATUS_PAGE: &str = include_str!("../../docs/reference/status.md");

/// Every word that is explained, reasons first.
pub fn all() -> impl Iterator<Item = Explained> {
    reasons().chain(causes()).chain(words()).chain(conditions())
}

/// A reason, a cause or a condition, however its letters are written. `None` where there is none of that name.
pub fn explain(word: &str) -> Option<Explained> {
    let called = |it: &Explained| it.word.eq_ignore_ascii_case(word);
    let (reason, cause) = (reasons().find(called), causes().find(called));
    match (reason, cause) {
        // Some words are both: the plan's row says what is repaired.
        (Some(mut reason), Some(cause)) => {
            reason.means.extend(cause.means.into_iter().map(|text| format!("As the cause of an operation: {text}")));
            Some(reason)
        }
        (reason, cause) => reason.or(cause).or_else(|| words().chain(conditions()).find(called)),
    }
}

/// Where it is explained to those who have no Landfall at hand, for tools that link to it.
pub fn address(word: &str, version: &str) -> String {
    let page = format!("https://docs.rs/landfall/{version}/landfall/reasons/index.html");
    match reasons().any(|it| it.word == word) {
        true => format!("{page}#{}", word.to_lowercase()),
        false => page,
    }
}

fn reasons() -> impl Iterator<Item = Explained> {
    PAGE.split("\n### ").skip(1).map(|section| {
        let (word, text) = section.split_once('\n').unwrap_or((section, ""));
        // The next part of the page is none of this section.
        let text = text.split("\n## ").next().unwrap_or(text);
        let (mut means, mut remedy) = (Vec::new(), None);
        for part in text.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")) {
            match part.strip_prefix("*What to do*: ") {
                Some(todo) => remedy = Some(todo.to_owned()),
                None if part.is_empty() => {}
                None => means.push(part),
            }
        }
        Explained { word: word.trim().to_owned(), means, remedy }
    })
}

fn causes() -> impl Iterator<Item = Explained> {
    rows(PLAN_PAGE, "| cause | |").filter_map(|row| {
        let (word, means) = row.split_once(" | ")?;
        Some(explained(word, sentence(means)))
    })
}

fn words() -> impl Iterator<Item = Explained> {
    rows(STATUS_PAGE, "| word | of | |").filter_map(|row| {
        let (word, rest) = row.split_once(" | ")?;
        let (of, means) = rest.split_once(" | ")?;
        Some(explained(word, format!("As the reason of {of}: {}", sentence(means))))
    })
}

fn conditions() -> impl Iterator<Item = Explained> {
    rows(STATUS_PAGE, "| condition | of | is True when |").filter_map(|row| {
        let (word, rest) = row.split_once(" | ")?;
        let (of, means) = rest.split_once(" | ")?;
        let of = if of == "every kind" { "all kinds" } else { of };
        Some(explained(word, format!("A condition of {of}. It is True when this holds: {means}.")))
    })
}

fn explained(word: &str, means: String) -> Explained {
    Explained { word: word.trim_matches('`').to_owned(), means: vec![means], remedy: None }
}

/// The rows of the table with that heading, without the lines at their ends.
fn rows(page: &'static str, heading: &str) -> impl Iterator<Item = &'static str> {
    let table = page.split(heading).nth(1).unwrap_or_default();
    let rows = table.lines().skip_while(|line| !line.starts_with("| `")).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches(['|', ' ']))
}

fn sentence(text: &str) -> String {
    format!("{}.", capitalized(text.trim().trim_end_matches('.')))
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.word)?;
        for means in &self.means {
            writeln!(f)?;
            paragraph(f, 2, means)?;
        }
        if let Some(remedy) = &self.remedy {
            writeln!(f, "\nWHAT TO DO")?;
            paragraph(f, 2, remedy)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_its_meaning_and_its_remedy() {
        let explained = explain("networkinuse").unwrap();
        assert_eq!(explained.word, "NetworkInUse");
        assert!(explained.means[0].starts_with("The network could not be removed because"), "{explained:?}");
        assert_eq!(explained.remedy.as_deref(), Some("run the command again; it will name the blocker."));
        assert_eq!(explain("NetworkNotFound").unwrap().remedy, None, "the next section's is not its own");
        let last = explain("Suspended").unwrap();
        assert_eq!(last.means, ["`suspend: true` on the destination or its server."]);
    }

    #[test]
    fn a_cause_is_what_the_plan_s_table_says() {
        let cause = explain("MemberDetached").unwrap();
        assert_eq!(cause.means, ["A declared member is not on the network."]);
        let both = explain("ProxyStale").unwrap();
        assert!(both.means.len() > 1 && both.means.last().unwrap().starts_with("As the cause of an operation: "));
    }

    #[test]
    fn what_conditions_say_is_explained_and_so_are_they() {
        let said = explain("notrunning").unwrap();
        assert!(said.means[0].starts_with("As the reason of `Healthy`, "), "{said:?}");
        let condition = explain("Ready").unwrap();
        assert!(condition.means[0].starts_with("A condition of all kinds. It is True when"), "{condition:?}");
        // Every word that the code has in conditions, so that one more does not go unexplained.
        let code =
            [include_str!("status.rs"), include_str!("plan/facts/types.rs"), include_str!("plan/facts/gather.rs")]
                .concat();
        let quoted = code.split('"').skip(1).step_by(2);
        let is_word = |text: &&str| {
            text.len() > 3
                && text.starts_with(|it: char| it.is_ascii_uppercase())
                && text.chars().all(char::is_alphanumeric)
        };
        let words: std::collections::BTreeSet<&str> = quoted.filter(is_word).collect();
        assert!(words.len() > 20, "{words:?}");
        for word in words {
            assert!(explain(word).is_some(), "{word}");
        }
    }

    #[test]
    fn an_address_leads_to_the_heading() {
        assert_eq!(
            address("Contended", "0.2.0"),
            "https://docs.rs/landfall/0.2.0/landfall/reasons/index.html#contended"
        );
        assert!(!address("MemberDetached", "0.2.0").contains('#'));
    }
}
