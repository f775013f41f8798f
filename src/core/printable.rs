//! Text of others, made harmless for a terminal: names, labels and messages come from servers, manifests and repositories.
//!
//! What a terminal obeys instead of showing it, and what makes text read as other text, is written as an escape. [`Context`](crate::shell::cli) and
//! the log let nothing past without.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::fmt::Write;

/// Whether a terminal does something else with it than to show it: control characters (C0 but for the end of a line and the tabulator, DEL,
/// C1), marks that change the direction of text, ends of lines that no editor shows, invisible characters, and what is no character.
pub fn is_obeyed(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        // Noncharacters.
        '\u{fdd0}'..='\u{fdef}' => true,
        other => other.is_control() || u32::from(other) & 0xfffe == 0xfffe,
    }
}

/// With escapes, as Rust and JavaScript have them, for what is [obeyed](is_obeyed).
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_obeyed)
}

/// With a capital letter at the beginning.
pub fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// `4.2 MB`, as `docker images` says it.
pub fn bytes(size: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut scale = 1_u64;
    while unit + 1 < units.len() && size / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    let (whole, tenth) = (size / scale, size % scale * 10 / scale);
    if unit == 0 || whole >= 100 {
        format!("{whole} {}", units[unit])
    } else {
        format!("{whole}.{tenth} {}", units[unit])
    }
}

/// A word of a command line, for a shell to read as one.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:=@%+,-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// [`printable`] for what is to stay on its line.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |character| matches!(character, '\n' | '\t') || is_obeyed(character))
}

fn escaped(text: &str, escape: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&escape) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            other if !escape(other) => shown.push(other),
            '\u{1b}' => shown.push_str("\\x1b"),
            other if other.is_ascii() => shown.extend(other.escape_default()),
            other => shown.extend(other.escape_unicode()),
        }
    }
    Cow::Owned(shown)
}

/// JSON text without any of it: within its strings, the only place where there can be some, by escapes. What it says stays the same.
pub fn json(text: String) -> String {
    if !text.chars().any(is_obeyed) {
        return text;
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_obeyed(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(character);
        }
    }
    safe
}

/// YAML of a value, without any of it: strings that have some are quoted, with escapes. What it says stays the same.
pub fn yaml(value: &impl serde::Serialize) -> Result<String, serde_yaml::Error> {
    let text = serde_yaml::to_string(value)?;
    if !text.chars().any(is_obeyed) {
        return Ok(text);
    }
    // The emitter quotes what has a control character, and leaves the others of these characters as they are. A mark that it has to quote,
    // and that the text does not have, is taken out again.
    let mark = (0_u32..).map(|number| format!("{number}\u{1}")).find(|mark| !text.contains(&emitted(mark)));
    let mark = mark.unwrap_or_default();
    let marked = serde_yaml::to_string(&quoted(serde_yaml::to_value(value)?, &mark))?.replace(&emitted(&mark), "");
    let mut safe = String::with_capacity(marked.len() + 8);
    for character in marked.chars() {
        match u32::from(character) {
            _ if !is_obeyed(character) => safe.push(character),
            code @ ..=0xffff => {
                let _ = write!(safe, "\\u{code:04X}");
            }
            code => {
                let _ = write!(safe, "\\U{code:08X}");
            }
        }
    }
    Ok(safe)
}

/// As the emitter writes the mark.
fn emitted(mark: &str) -> String {
    mark.replace('\u{1}', "\\x01")
}

fn quoted(value: serde_yaml::Value, mark: &str) -> serde_yaml::Value {
    use serde_yaml::Value;
    match value {
        Value::String(text) if text.chars().any(is_obeyed) => Value::String(format!("{mark}{text}")),
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(|item| quoted(item, mark)).collect()),
        Value::Mapping(fields) => {
            Value::Mapping(fields.into_iter().map(|(key, value)| (quoted(key, mark), quoted(value, mark))).collect())
        }
        other => other,
    }
}

/// `network-2` before `network-10`: numbers within names are compared as numbers, and whatever is alike then as text.
pub fn natural(one: &str, other: &str) -> Ordering {
    let digits = |text: &str| text.len() - text.trim_start_matches(|it: char| it.is_ascii_digit()).len();
    let (mut a, mut b) = (one, other);
    while let (Some(first), Some(second)) = (a.chars().next(), b.chars().next()) {
        let (left, right) = (digits(a), digits(b));
        let (ordering, left, right) = if left > 0 && right > 0 {
            let numbers = (a[..left].trim_start_matches('0'), b[..right].trim_start_matches('0'));
            (numbers.0.len().cmp(&numbers.1.len()).then_with(|| numbers.0.cmp(numbers.1)), left, right)
        } else {
            (first.cmp(&second), first.len_utf8(), second.len_utf8())
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
        (a, b) = (&a[left..], &b[right..]);
    }
    a.len().cmp(&b.len()).then_with(|| one.cmp(other))
}

const WIDTH: usize = 80;

/// Words in lines of at most 80 columns, each indented.
pub fn paragraph(f: &mut fmt::Formatter<'_>, indent: usize, text: &str) -> fmt::Result {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(f, "{:indent$}{line}", "")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if line.is_empty() { Ok(()) } else { writeln!(f, "{:indent$}{line}", "") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_as_docker_says_them() {
        assert_eq!(
            [999, 1000, 4_260_000, 187_000_000, 2_000_000_000_000].map(bytes),
            ["999 B", "1.0 kB", "4.2 MB", "187 MB", "2.0 TB"].map(str::to_owned)
        );
    }

    const HOSTILE: &[&str] = &[
        "a\u{1b}[31mb",
        "\u{1b}]0;title\u{7}",
        "\u{9b}2J",
        "web\u{202e}gnp",
        "\u{2066}x\u{2069}",
        "a\u{85}b\u{2028}c",
        "\u{feff}bom",
        "\u{7f}\u{8}\r",
        "zero\u{200b}width \u{e0041}",
        "0\u{1}: \"quoted\u{202e}\"",
        "'\u{202e}' # no comment",
        "two\nlines\u{202e}",
    ];

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        for text in HOSTILE {
            assert!(!printable(text).chars().any(is_obeyed), "{text:?}");
            assert!(!one_line(text).chars().any(|it| it == '\n' || is_obeyed(it)), "{text:?}");
        }
        assert_eq!(printable("a\u{1b}[1mb\u{202e}\r\n"), "a\\x1b[1mb\\u{202e}\\r\n");
        assert_eq!(one_line("a\nb"), "a\\nb");
        for plain in ["plain", "naïve — 日本語 👍🏽 é", "tab\there\nand there"] {
            assert!(matches!(printable(plain), Cow::Borrowed(_)), "{plain}");
        }
    }

    #[test]
    fn names_are_in_the_order_in_which_people_count() {
        let sorted = |mut names: Vec<&'static str>| {
            names.sort_by(|a, b| natural(a, b));
            names
        };
        assert_eq!(sorted(vec!["net-10", "net-2", "net", "net-1"]), ["net", "net-1", "net-2", "net-10"]);
        assert_eq!(sorted(vec!["a10b2", "a10b10", "a2b99", "b1"]), ["a2b99", "a10b2", "a10b10", "b1"]);
        assert_eq!(sorted(vec!["v1", "v01", "v001"]), ["v001", "v01", "v1"]);
        assert_eq!(natural("99999999999999999999999", "100000000000000000000000"), Ordering::Less);
        assert_eq!(natural("é2", "é10"), Ordering::Less);
    }

    #[test]
    fn data_stays_what_it_is() {
        for text in HOSTILE {
            let value = serde_json::json!({ "name": text, *text: [text, "plain", 1, null] });
            let safe = json(serde_json::to_string_pretty(&value).unwrap());
            assert!(!safe.chars().any(is_obeyed), "{safe:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
            let safe = yaml(&value).unwrap();
            assert!(!safe.chars().any(is_obeyed), "{safe:?}");
            assert_eq!(serde_yaml::from_str::<serde_json::Value>(&safe).unwrap(), value, "{safe}");
        }
    }
}
