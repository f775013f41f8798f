//! "Did you mean …?"

use std::cell::Cell;

/// Words that are compared with everything there is; whoever has so many wrong has something else wrong.
const MOST: usize = 10_000;

thread_local! {
    static LEFT: Cell<usize> = const { Cell::new(MOST) };
}

/// What is looked for from now on belongs to another reading.
pub(crate) fn begin() {
    LEFT.set(MOST);
}

/// The candidate that the user probably meant, as a question.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// The candidate that differs in case, `-` and `_` only, else the one fewest edits away, if these are few for the length of the word.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody mistypes a name into something of this length, and the comparison is quadratic.
    if word.len() > 128 || LEFT.get() == 0 {
        return None;
    }
    LEFT.set(LEFT.get() - 1);
    let squash = |text: &str| -> String {
        text.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
    };
    let squashed = squash(word);
    let limit = match squashed.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    let distance = |candidate: &str| strsim::damerau_levenshtein(&squashed, &squash(candidate));
    candidates
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= limit + 4)
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `one of A, B and C`
pub(crate) fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("one of {} and {last}", first.join(", ")),
    }
}
