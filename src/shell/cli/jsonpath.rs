//! `-o jsonpath=TEMPLATE`, `-o custom-columns=SPEC` and `--sort-by=PATH`, in kubectl's words.
//!
//! A path is evaluated by serde_json_path (RFC 9535). kubectl's paths differ from the standard in three ways that are translated here: they
//! begin without `$`, names hold `-` and `/`, and `\.` is a dot within a name.

use std::cmp::Ordering;

use serde_json::Value;
use serde_json_path::JsonPath;

use super::output::Table;
use crate::core::printable::natural;

/// Text with paths between braces: `{range .items[*]}{.metadata.name}{"\n"}{end}`.
#[derive(Debug, Clone)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Values(JsonPath),
    /// What is written for each value, which paths begin at.
    Range(JsonPath, Vec<Part>),
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("the template is empty; for the names: `-o jsonpath='{.items[*].metadata.name}'`".to_owned());
        }
        // As for kubectl, a path alone needs no braces.
        if !text.contains('{') {
            return Ok(Self(vec![Part::Values(path(text)?)]));
        }
        // The innermost is last; the first is the template itself.
        let mut open: Vec<(JsonPath, Vec<Part>)> = Vec::new();
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            if at > 0 {
                parts.push(Part::Text(rest[..at].to_owned()));
            }
            rest = &rest[at + 1..];
            let end = closing(rest, '}').ok_or_else(|| format!("`{{{rest}` has no `}}`"))?;
            let inside = rest[..end].trim();
            rest = &rest[end + 1..];
            if let Some(of) = inside.strip_prefix("range").filter(|of| !of.starts_with(|it: char| it.is_alphanumeric()))
            {
                open.push((path(of)?, std::mem::take(&mut parts)));
            } else if inside == "end" {
                let (of, before) = open.pop().ok_or("`{end}` stands without `{range PATH}`")?;
                let each = std::mem::replace(&mut parts, before);
                parts.push(Part::Range(of, each));
            } else if inside.starts_with(['"', '\'']) {
                parts.push(Part::Text(quoted(inside)?));
            } else {
                parts.push(Part::Values(path(inside)?));
            }
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if open.is_empty() { Ok(Self(parts)) } else { Err("`{range}` has no `{end}`".to_owned()) }
    }

    /// What the template says of a document. A path that finds nothing writes nothing.
    pub(super) fn render(&self, document: &Value) -> String {
        let mut text = String::new();
        write(&self.0, document, &mut text);
        text
    }
}

fn write(parts: &[Part], at: &Value, text: &mut String) {
    for part in parts {
        match part {
            Part::Text(literal) => text.push_str(literal),
            Part::Values(path) => {
                let values: Vec<String> = path.query(at).iter().map(|value| plain(value)).collect();
                text.push_str(&values.join(" "));
            }
            Part::Range(path, each) => path.query(at).iter().for_each(|value| write(each, value, text)),
        }
    }
}

/// Columns of one's own: `NAME:.metadata.name,NETWORK:.status.network.name`.
#[derive(Debug, Clone)]
pub(super) struct Columns(Vec<(String, JsonPath)>);

impl Columns {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut columns = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = closing(rest, ',').unwrap_or(rest.len());
            let column = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            let (heading, of) = column
                .split_once(':')
                .filter(|(heading, of)| !heading.trim().is_empty() && !of.trim().is_empty())
                .ok_or_else(|| format!("{column:?} is not HEADING:PATH, such as `NAME:.metadata.name`"))?;
            columns.push((heading.trim().to_owned(), path(of)?));
        }
        if columns.is_empty() {
            return Err("no column is named: `-o custom-columns=NAME:.metadata.name`".to_owned());
        }
        Ok(Self(columns))
    }

    pub(super) fn table(&self, documents: &[Value]) -> Table {
        let mut table = Table::new(self.0.iter().map(|(heading, _)| heading.clone()));
        for document in documents {
            table.row(self.0.iter().map(|(_, path)| {
                let values: Vec<String> = path.query(document).iter().map(|value| plain(value)).collect();
                if values.is_empty() { "<none>".to_owned() } else { values.join(",") }.into()
            }));
        }
        table
    }
}

/// What documents are sorted by. What lacks it comes first, as for kubectl.
#[derive(Debug, Clone)]
pub(super) struct SortBy(JsonPath);

impl SortBy {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        path(inner).map(Self)
    }

    pub(super) fn compare(&self, a: &Value, b: &Value) -> Ordering {
        let first = |document| self.0.query(document).first();
        match (first(a), first(b)) {
            (Some(a), Some(b)) => match (a.as_f64(), b.as_f64()) {
                (Some(a), Some(b)) => a.total_cmp(&b),
                _ => natural(&plain(a), &plain(b)),
            },
            (a, b) => a.is_some().cmp(&b.is_some()),
        }
    }
}

/// A string as it is, anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Where the character stands outside of quotes and brackets.
fn closing(text: &str, wanted: char) -> Option<usize> {
    let (mut quote, mut depth, mut escaped) = (None, 0_usize, false);
    for (at, it) in text.char_indices() {
        match (quote, it) {
            _ if escaped => escaped = false,
            (_, '\\') => escaped = true,
            (Some(open), _) => quote = (it != open).then_some(open),
            (None, '"' | '\'') => quote = Some(it),
            (None, _) if it == wanted && depth == 0 => return Some(at),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// `"\n"` and the like.
fn quoted(text: &str) -> Result<String, String> {
    let mark = text.chars().next().unwrap_or('"');
    let inner = text
        .strip_prefix(mark)
        .and_then(|text| text.strip_suffix(mark))
        .ok_or_else(|| format!("{text} has no closing {mark}"))?;
    let mut plain = String::new();
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some('r') => plain.push('\r'),
                Some(other) => plain.push(other),
                None => return Err(format!("{text} ends in a backslash")),
            },
            letter => plain.push(letter),
        }
    }
    Ok(plain)
}

/// kubectl's path as the standard writes it.
fn path(text: &str) -> Result<JsonPath, String> {
    let text = text.trim();
    let standard = standard(text).ok_or_else(|| format!("`{text}`: a bracket is not closed"))?;
    JsonPath::parse(&standard).map_err(|error| {
        format!("`{text}` is not a path such as `.metadata.name` or `.status.conditions[?(@.type==\"Ready\")].status`: {error}")
    })
}

fn standard(text: &str) -> Option<String> {
    let mut standard = String::from("$");
    let mut rest = text.strip_prefix(['$', '@']).unwrap_or(text);
    while !rest.is_empty() {
        if rest.starts_with('[') {
            let end = 1 + closing(&rest[1..], ']')?;
            standard.push_str(&rest[..=end]);
            rest = &rest[end + 1..];
            continue;
        }
        if let Some(after) = rest.strip_prefix("..") {
            standard.push_str("..");
            rest = after;
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
        }
        let mut name = String::new();
        let mut end = rest.len();
        let mut letters = rest.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => name.extend(letters.next().map(|(_, letter)| letter)),
                '.' | '[' => {
                    end = at;
                    break;
                }
                letter => name.push(letter),
            }
        }
        rest = &rest[end..];
        match name.as_str() {
            // `.` alone is the document, and what stands before a bracket may be empty.
            "" => {}
            "*" => standard.push_str("[*]"),
            name => standard.push_str(&format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))),
        }
    }
    Some(standard)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list() -> Value {
        let item = |name: &str, ready: &str, count: u32| {
            json!({
                "metadata": { "name": name, "annotations": { "landfall/was": "old", "a.b": 1 } },
                "status": { "count": count, "conditions": [
                    { "type": "Active", "status": "True" },
                    { "type": "Ready", "status": ready },
                ]},
            })
        };
        json!({ "kind": "List", "items": [item("web-10", "True", 10), item("web-2", "False", 9)] })
    }

    fn rendered(template: &str) -> String {
        Template::parse(template).unwrap().render(&list())
    }

    #[test]
    fn templates_are_kubectl_s() {
        for (template, expected) in [
            ("{.items[*].metadata.name}", "web-10 web-2"),
            ("{$.items[0].metadata.name}", "web-10"),
            (".kind", "List"),
            ("kind={.kind}!", "kind=List!"),
            ("{range .items[*]}{.metadata.name}{\"\\t\"}{.status.count}{'\\n'}{end}.", "web-10\t10\nweb-2\t9\n."),
            ("{.items[?(@.metadata.name==\"web-2\")].status.count}", "9"),
            ("{.items[*].status.conditions[?(@.type=='Ready')].status}", "True False"),
            ("{.items[0].metadata.annotations.landfall/was}", "old"),
            (r"{.items[0].metadata.annotations.a\.b}", "1"),
            ("{.items[0].metadata.annotations['a.b']}", "1"),
            ("{..count}", "10 9"),
            ("{.items[-1:].metadata.name}", "web-2"),
            ("{.items[0].status.conditions[0]}", r#"{"type":"Active","status":"True"}"#),
            ("{range .items[*]}{range .status.conditions[*]}{@.type}{end};{end}", "ActiveReady;ActiveReady;"),
            ("{.items[*].nothing}", ""),
        ] {
            assert_eq!(rendered(template), expected, "{template}");
        }
    }

    #[test]
    fn what_is_no_template_is_told_with_the_part_that_is_wrong() {
        for (template, told) in [
            ("", "the template is empty"),
            ("{.items[*]", "`{.items[*]` has no `}`"),
            ("{range .items[*]}{.kind}", "`{range}` has no `{end}`"),
            ("{end}", "stands without `{range PATH}`"),
            ("{\"a}", "has no `}`"),
            ("{.items[}", "has no `}`"),
            ("{.items[?(@.a==)]}", "`.items[?(@.a==)]` is not a path"),
        ] {
            let error = Template::parse(template).expect_err(template);
            assert!(error.contains(told), "{template}: {error}");
        }
        assert!(Columns::parse("NAME").unwrap_err().contains("is not HEADING:PATH"));
        assert!(Columns::parse("").unwrap_err().contains("no column is named"));
    }

    #[test]
    fn columns_of_ones_own() {
        let columns = "NAME:.metadata.name, READY:.status.conditions[?(@.type=='Ready')].status,NONE:.spec['x','y']";
        let columns = Columns::parse(columns).unwrap();
        let documents = list()["items"].as_array().unwrap().clone();
        assert_eq!(
            columns.table(&documents).without_headings().render(None),
            "web-10   True    <none>\nweb-2    False   <none>\n"
        );
    }

    #[test]
    fn documents_are_sorted_as_people_count_and_what_lacks_the_field_comes_first() {
        let mut documents = list()["items"].as_array().unwrap().clone();
        documents.push(json!({ "metadata": { "name": "web-1" } }));
        let sorted = |path: &str, documents: &mut Vec<Value>| {
            let by = SortBy::parse(path).unwrap();
            documents.sort_by(|a, b| by.compare(a, b));
            documents.iter().map(|it| plain(&it["metadata"]["name"])).collect::<Vec<_>>()
        };
        assert_eq!(sorted(".metadata.name", &mut documents), ["web-1", "web-2", "web-10"]);
        assert_eq!(sorted("{.status.count}", &mut documents), ["web-1", "web-2", "web-10"]);
    }
}
